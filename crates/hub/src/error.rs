//! What can go wrong with a published model, and with models on their way.

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
    /// A model of ours that another package has no equal of.
    #[error("{model} cannot be exported to {package}: {why}")]
    NoEqual {
        /// What it is.
        model: String,
        /// The package.
        package: &'static str,
        /// Why not, and what to do instead.
        why: String,
    },
    /// The model that was made of it.
    #[error(transparent)]
    Model(#[from] scgraft_models::ModelError),
    /// A file beside it, or one that was to be written.
    #[error(transparent)]
    Cells(#[from] scgraft_io::Error),
    /// What was given as an address is none.
    #[error("{address}: {what}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it, and how addresses are spelt.
        what: String,
    },
    /// A service said no, or something that nobody expects of it.
    #[error("{place}: {said}; {remedy}")]
    Refused {
        /// What was asked for.
        place: String,
        /// The number of the answer (HTTP status); 0 where it was the answer's content.
        status: u16,
        /// What the service said.
        said: String,
        /// What to do.
        remedy: String,
    },
    /// A service could not be reached, or the connection broke every time.
    #[error("{place}: {said}; {remedy}")]
    Unreachable {
        /// What was asked for.
        place: String,
        /// What happened.
        said: String,
        /// What to do.
        remedy: String,
    },
    /// What came is not what the service said it would be.
    #[error("{place}: expected {expected}, found {found}; {remedy}")]
    Checksum {
        /// What was asked for.
        place: String,
        /// The checksum or the size that was promised.
        expected: String,
        /// That of what came.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// The network is not to be used, and what was asked for is not in the cache.
    #[error("{address}: it is not in the cache ({cache}), and offline nothing is fetched; run once with the network")]
    Offline {
        /// What was asked for.
        address: String,
        /// The folder of the cache.
        cache: String,
    },
    /// Who watches asked to stop. What came so far is kept, and the same call goes on from there.
    #[error("{place}: stopped; what was done is kept, and the same command goes on from there")]
    Stopped {
        /// What was under way.
        place: String,
    },
    /// What was to be sent lacks something, or is not what it should be.
    #[error("{what}")]
    Push {
        /// What is missing or wrong, and what to do.
        what: String,
    },
}

impl HubError {
    pub(crate) fn format(place: impl Into<String>, what: impl Into<String>) -> HubError {
        HubError::Format { place: place.into(), what: what.into() }
    }

    pub(crate) fn refused(
        place: impl Into<String>,
        status: u16,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> HubError {
        HubError::Refused { place: place.into(), status, said: said.into(), remedy: remedy.into() }
    }

    pub(crate) fn unsupported(class: &str, why: impl Into<String>) -> HubError {
        HubError::Unsupported { class: class.to_owned(), why: why.into() }
    }
}
