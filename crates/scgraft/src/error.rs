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
}
