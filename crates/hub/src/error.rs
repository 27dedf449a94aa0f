//! What can go wrong with a published model.

use std::path::PathBuf;

/// An error of this crate: where, what was expected, what was found, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no model of a package that can be read, or is damaged.
    #[error("{place}: {what}")]
    Format {
        /// The file, or the part of it.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A model that this program has no equal of.
    #[error("this {class} cannot be imported: {why}")]
    Unsupported {
        /// What it is.
        class: String,
        /// Why not, and what to do instead.
        why: String,
    },
    /// The model that was made of it.
    #[error(transparent)]
    Model(#[from] scgraft_models::ModelError),
    /// The cells beside it.
    #[error(transparent)]
    Cells(#[from] scgraft_io::Error),
}

impl HubError {
    pub(crate) fn format(place: impl Into<String>, what: impl Into<String>) -> HubError {
        HubError::Format { place: place.into(), what: what.into() }
    }

    pub(crate) fn unsupported(class: &str, why: impl Into<String>) -> HubError {
        HubError::Unsupported { class: class.to_owned(), why: why.into() }
    }
}
