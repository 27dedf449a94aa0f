//! What can go wrong with a model or its file.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// An error of this crate: where, what was expected, what was found, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A model name that is not registered.
    #[error("no model is called `{name}`; there are: {known}")]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The registered names.
        known: String,
    },
    /// A setting outside what the model can do.
    #[error("{model}: {what}: expected {expected}, found {found}")]
    Config {
        /// The model.
        model: &'static str,
        /// The setting.
        what: String,
        /// What would do.
        expected: String,
        /// What was given.
        found: String,
    },
    /// Names along the axes that do not fit together.
    #[error("{model}: the names of the model do not fit together: {what}")]
    Names {
        /// The model.
        model: &'static str,
        /// What does not fit.
        what: String,
    },
    /// The data lacks something the model needs.
    #[error("{model} needs {what}: {remedy}")]
    Needs {
        /// The model.
        model: &'static str,
        /// What is missing.
        what: String,
        /// How to give it.
        remedy: String,
    },
    /// The model would leave unread what it was given.
    #[error("{model} cannot use {what}; leave them out, or choose another model")]
    Unread {
        /// The model.
        model: &'static str,
        /// What it was given.
        what: String,
    },
    /// Cells that were not prepared for this model.
    #[error("the cells have {what} {found}, the model {expected}; {remedy}")]
    Data {
        /// What was compared.
        what: &'static str,
        /// The data's.
        found: String,
        /// The model's.
        expected: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not a scgraft model or adaptor, or is damaged.
    #[error("{}not a readable scgraft file: {what}", shown(path))]
    Format {
        /// The file; empty where it is not known.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Cells that could not be read.
    #[error(transparent)]
    Cells(#[from] scgraft_cells::CellsError),
    /// Something asked of a model that it does not give.
    #[error("{0}")]
    Output(String),
    /// Normalised expression of a decoder that gives no shares.
    #[error(
        "the decoder of this model knows no library size (its output function is not softmax); ask for the mean of the \
         data instead"
    )]
    NoLibrarySize,
    /// Surgery that makes no sense.
    #[error("surgery: {0}")]
    Surgery(String),
    /// Surgery whose new weights would do nothing by themselves.
    #[error("surgery: {0}")]
    NoAdaptor(&'static str),
    /// An adaptor that does not belong to this reference.
    #[error(
        "adaptor `{adaptor}` was made for another reference (its hash {wanted}, this reference's {found}); attach it \
         to the reference it was trained on"
    )]
    OtherReference {
        /// The adaptor's name.
        adaptor: String,
        /// The hash it was made for.
        wanted: String,
        /// The hash of the reference at hand.
        found: String,
    },
}

/// A file's name before what is said of it.
fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { String::new() } else { format!("{}: ", path.display()) }
}

impl ModelError {
    /// The error of a file's bytes, with the file's name.
    pub fn of_file(self, file: &Path) -> ModelError {
        let path = file.to_owned();
        match self {
            ModelError::Format { what, .. } => ModelError::Format { path, what },
            ModelError::Io { source, .. } => ModelError::Io { path, source },
            other => ModelError::Format { path, what: other.to_string() },
        }
    }

    /// A setting outside what the model can do.
    pub(crate) fn setting(model: &'static str, what: &str, expected: &str, found: impl Display) -> ModelError {
        ModelError::Config { model, what: what.into(), expected: expected.into(), found: found.to_string() }
    }
}
