//! What can go wrong between the stages.

/// An error of any stage, or of what lies between them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file.
    #[error(transparent)]
    Io(#[from] scgraft_io::Error),
    /// The data.
    #[error(transparent)]
    Cells(#[from] scgraft_cells::CellsError),
    /// The model.
    #[error(transparent)]
    Model(#[from] scgraft_models::ModelError),
    /// The training.
    #[error(transparent)]
    Train(#[from] scgraft_train::TrainError),
    /// An analysis.
    #[error(transparent)]
    Analysis(#[from] scgraft_analysis::Error),
    /// A picture or the report.
    #[error(transparent)]
    Report(#[from] scgraft_report::ReportError),
    /// A file lacks the result of an earlier step.
    #[error("{slot}: expected {expected}, found {found}; {remedy}")]
    Slot {
        /// Where.
        slot: String,
        /// What has to be there.
        expected: String,
        /// What is.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A program that the model does not have.
    #[error("the model has no program `{name}`; the nearest names: {nearest}")]
    UnknownProgram {
        /// The name asked for.
        name: String,
        /// Names like it.
        nearest: String,
    },
    /// It is not known which condition cells are of.
    #[error("which condition (batch, study) are these cells of? The reference took it from {}", from(columns))]
    WhichCondition {
        /// The columns of obs that the reference's conditions are from.
        columns: Vec<String>,
        /// The columns that these cells have.
        there: Vec<String>,
    },
    /// Cells of conditions that a model does not know.
    #[error("the model does not know the condition(s) {}; it knows {}", new.join(", "), known.join(", "))]
    NewConditions {
        /// Those.
        new: Vec<String>,
        /// The model's.
        known: Vec<String>,
    },
    /// A name that the model does not have.
    #[error("the model has no {what} `{name}`")]
    UnknownName {
        /// What is so named: a gene, a condition.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

/// Columns of obs in words.
fn from(columns: &[String]) -> String {
    if columns.is_empty() { "no column".to_owned() } else { format!("obs column(s) {}", columns.join(", ")) }
}
