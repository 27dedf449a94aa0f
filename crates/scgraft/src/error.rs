//! What can go wrong between the stages.

use scgraft_cells::{CellsError, Setting};
use scgraft_models::ModelError;
use scgraft_train::TrainError;

/// An error of any stage, or of what lies between them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file.
    #[error(transparent)]
    Io(#[from] scgraft_io::Error),
    /// The data.
    #[error(transparent)]
    Cells(Box<CellsError>),
    /// The model.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// The training.
    #[error(transparent)]
    Train(Box<TrainError>),
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
    /// A column of obs that does not hold what is needed.
    #[error("{cells}: column `{name}` of obs {problem}")]
    Column {
        /// Whose obs.
        cells: String,
        /// The column.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An error about some cells, of several.
    #[error("{cells}: {source}")]
    Of {
        /// The cells: a file, or what they are called.
        cells: String,
        /// What is wrong with them.
        source: Box<Error>,
    },
    /// Cells that another model embedded.
    #[error("{cells}: its embedding is not this model's; embed the cells with this model")]
    OtherModel {
        /// Those cells.
        cells: String,
    },
    /// A query that was mapped onto another model than the one that embedded the reference.
    #[error("{}: its cells were not mapped onto the model of {}: their dimensions are not the same", cells[1], cells[0])]
    OtherReference {
        /// The reference and the query.
        cells: [String; 2],
    },
    /// A column that says something of the query's cells only.
    #[error("no cell of the reference has a `{column}`, so it takes no part")]
    ReferenceLacks {
        /// The column of obs.
        column: String,
    },
    /// A name of several things.
    #[error("`{name}` is several things; name one of {}", places.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Its places, each as it can be named alone.
        places: Vec<String>,
    },
    /// A value of cells that there is not.
    #[error("`{name}` is neither a column of obs, a program, a gene nor a column of obsm")]
    NoValue {
        /// The name asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Expression of one gene that is not on one scale.
    #[error("{slot}: counts in one file and other values in the other, so gene `{gene}` has no common scale")]
    TwoScales {
        /// Where.
        slot: String,
        /// The gene.
        gene: String,
    },
    /// A column of obs with numbers where groups are needed.
    #[error("{cells}: column `{name}` of obs holds numbers, not groups")]
    NotGroups {
        /// Whose obs.
        cells: String,
        /// The column.
        name: String,
    },
    /// An embedding that is not there.
    #[error("obsm[\"{key}\"]: expected an embedding, cells × dimensions, found {}", only(there))]
    NoEmbedding {
        /// The entry of obsm asked for.
        key: String,
        /// Those that there are.
        there: Vec<String>,
    },
    /// Directions that the dimensions of an embedding do not have by this rule.
    #[error("{}", if *programs {
        format!("the directions of its programs were kept by one rule, not by `{rule}`")
    } else {
        "its dimensions are no programs, so they have no direction".to_owned()
    })]
    NoDirection {
        /// The rule asked for.
        rule: &'static str,
        /// Whether the dimensions have directions by another rule.
        programs: bool,
    },
    /// Values that are no counts.
    #[error("{slot}: expected raw counts, found {value}")]
    NotCounts {
        /// Where.
        slot: String,
        /// The first that is none.
        value: f32,
    },
    /// Gene sets of which none is a program.
    #[error("none of the gene sets has the name of a program")]
    NoProgramSets,
    /// Free programs asked for of a model whose dimensions are none.
    #[error("the latent dimensions of a {model} model are no gene programs, so it takes no free ones")]
    NoPrograms {
        /// The model.
        model: &'static str,
    },
    /// Cells to which no labels were carried over.
    #[error("{cells}: no labels were carried over from a reference")]
    NotAnnotated {
        /// The cells.
        cells: String,
    },
    /// What needs gene programs, of a model whose dimensions are none.
    #[error("the dimensions of a {model} model are not gene programs")]
    NotPrograms {
        /// The model.
        model: &'static str,
    },
    /// A model that is no start for one of another kind.
    #[error(
        "a model {model} cannot start from a {start}: they have neither their settings nor their tensors in common"
    )]
    OtherStart {
        /// The model to train.
        model: &'static str,
        /// What it was to start from.
        start: &'static str,
    },
    /// Fewer programs than what relates them takes.
    #[error("two active programs or more are needed, {found} found")]
    FewPrograms {
        /// How many there are.
        found: usize,
    },
    /// Proteins that a model cannot be trained without.
    #[error("{model} needs protein counts, and obsm has no `{usual}`; {}", match &there[..] {
        [] => "no entry of obsm holds counts".to_owned(),
        some => format!("of its entries these hold counts: {}", some.join(", ")),
    })]
    NoProteins {
        /// The model.
        model: &'static str,
        /// The entry that is taken where none is named.
        usual: &'static str,
        /// The entries of obsm that hold counts.
        there: Vec<String>,
        /// The setting that takes the first of them; empty where there is none.
        settings: Vec<Setting>,
    },
    /// A file in the place of a checkpoint that is none.
    #[error("{}: the state of the fit would replace this file, which is none", file.display())]
    NoCheckpoint {
        /// The file.
        file: std::path::PathBuf,
    },
    /// Stopped where it was asked whether to go on.
    #[error("stopped")]
    Stopped,
    /// A batch that no cell is of.
    #[error("`{name}`: `{column}` has no such batch")]
    NoBatch {
        /// The batch asked for.
        name: String,
        /// The column of obs.
        column: String,
        /// The batches that there are.
        there: Vec<String>,
    },
    /// Embeddings of one name whose axes are not the same.
    #[error(
        "obsm[\"{key}\"] of {} and of {} are two decompositions: each is centred on its own cells or has loadings of its \
         own, so their axes are not the same and nothing between the files can be read off them", cells[0], cells[1]
    )]
    TwoDecompositions {
        /// Their name.
        key: String,
        /// The two files, or what their cells are called.
        cells: [String; 2],
    },
    /// It is not known which condition cells are of.
    #[error(
        "which condition (batch, study) are these cells of? The reference took it from {}; it knows {}",
        from(columns),
        some(known)
    )]
    WhichCondition {
        /// The columns of obs that the reference's conditions are from.
        columns: Vec<String>,
        /// The conditions that the model knows.
        known: Vec<String>,
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
    /// A setting beyond what the cells allow.
    #[error("{name} {value}: expected more than 0 and at most {most}")]
    Beyond {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The largest that would do.
        most: usize,
    },
    /// A name that there is not.
    #[error("{of} has no {what} `{name}`")]
    UnknownName {
        /// Where it was looked for: a model, a table, a column.
        of: String,
        /// What is so named: a gene, a condition, a column, a group.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

/// Entries of obsm in words.
fn only(there: &[String]) -> String {
    if there.is_empty() { "no entry in obsm".to_owned() } else { format!("only {}", there.join(", ")) }
}

impl Error {
    /// The settings that would help; may be none.
    pub fn settings(&self) -> &[Setting] {
        match self {
            Error::Cells(error) => error.settings(),
            Error::NoProteins { settings, .. } => settings,
            Error::Of { source, .. } => source.settings(),
            _ => &[],
        }
    }
}

impl Error {
    /// The name of the setting that is out of its range, where that is what is wrong.
    pub fn refused(&self) -> Option<&str> {
        match self {
            Error::Beyond { name, .. } | Error::Analysis(scgraft_analysis::Error::Parameter { name, .. }) => Some(name),
            Error::Analysis(scgraft_analysis::Error::TooManyNeighbours { .. }) => Some("k"),
            Error::Model(error) => match &**error {
                ModelError::Config { what, .. } => Some(what),
                _ => None,
            },
            Error::Train(error) => match **error {
                TrainError::Config { what, .. } => Some(what),
                _ => None,
            },
            Error::Of { source, .. } => source.refused(),
            _ => None,
        }
    }
}

impl From<CellsError> for Error {
    fn from(error: CellsError) -> Self {
        Error::Cells(Box::new(error))
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        Error::Model(Box::new(error))
    }
}

impl From<TrainError> for Error {
    /// A fit that was stopped is a step that was stopped.
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Stopped { .. } => Error::Stopped,
            TrainError::Model(error) => Error::Model(error),
            other => Error::Train(Box::new(other)),
        }
    }
}

/// The first of some names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let first = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN { format!("{first}, … ({})", names.len()) } else { first }
}

/// Columns of obs in words.
fn from(columns: &[String]) -> String {
    if columns.is_empty() { "no column".to_owned() } else { format!("obs column(s) {}", columns.join(", ")) }
}
