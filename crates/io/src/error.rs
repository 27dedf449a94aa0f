//! What can go wrong with a file: where, what was expected, what was found, what to do.

use std::path::{Path, PathBuf};

use scgraft_cells::counted;
use scgraft_numeric::names;

/// How Python reads files that are compressed otherwise.
const HDF5: &str = "import hdf5plugin, anndata; anndata.read_h5ad(old)";
const ZARR: &str = "import anndata; anndata.read_zarr(old)";

/// An error about a file that was read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: could not {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a verb: `open`, `read`, `write`, `rename`.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not of the format it was opened as, or of none that is known.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that was expected.
        expected: &'static str,
        /// What the file looks like, and what to do.
        found: String,
    },
    /// The file is damaged or cut short, or it uses the format in a way that cannot be read.
    #[error("{}: slot `{slot}` cannot be read: {reason}; {remedy}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, `/` for the file as a whole.
        slot: String,
        /// What the reader met.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A slot is compressed with a filter that is not built in.
    #[error(
        "{}: slot `{slot}` is compressed with {filter}, which is not supported; rewrite the file with gzip, \
         in Python: `{}.write_h5ad(new, compression=\"gzip\")`",
        path.display(),
        if path.is_dir() { ZARR } else { HDF5 }
    )]
    Compression {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        slot: String,
        /// The name or number of the filter.
        filter: String,
    },
    /// Something that was asked for is not there.
    #[error("{}: no {what} `{name}`; {available}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was looked for: a column of `obs`, a layer.
        what: String,
        /// The name that was looked for.
        name: String,
        /// What there is instead, close matches first.
        available: String,
    },
    /// A slot is there but is not what it has to be.
    #[error("{}: slot `{slot}`: expected {expected}, found {found}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        slot: String,
        /// What the slot has to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A line of a text file is not what it has to be.
    #[error("{}:{line}: expected {expected}, found {found}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the line has to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Slots of the input that the output would lack.
    #[error(
        "{}: {}{} cannot be kept: {slots}; {reason}. Remove them from the input, or have them left out",
        path.display(),
        counted(*n, "slot", "slots"),
        if path == input { String::new() } else { format!(" of {}", input.display()) }
    )]
    Unkept {
        /// The file that was to be written.
        path: PathBuf,
        /// The file that has them.
        input: PathBuf,
        /// How many.
        n: usize,
        /// The first of them.
        slots: String,
        /// Why.
        reason: String,
    },
    /// Two things of one name.
    #[error("{}: {what} `{name}` occurs more than once{also}; {remedy}", path.display())]
    Duplicate {
        /// The file with the second occurrence.
        path: PathBuf,
        /// What kind of thing.
        what: &'static str,
        /// The name.
        name: String,
        /// Where else, when that is another file: ` (also in …)`.
        also: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    }

    pub(crate) fn content(
        path: &Path,
        slot: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Error::Content { path: path.to_owned(), slot: slot.into(), expected: expected.into(), found: found.into() }
    }

    pub(crate) fn missing<S: AsRef<str>>(path: &Path, what: impl Into<String>, name: &str, names: &[S]) -> Error {
        Error::Missing {
            path: path.to_owned(),
            what: what.into(),
            name: name.to_owned(),
            available: available(name, names),
        }
    }
}

/// Says what there is when `name` is not: close matches first, then the rest, up to a dozen.
fn available<S: AsRef<str>>(name: &str, names: &[S]) -> String {
    let listed = names::listed(name, names);
    match names::nearest_first(name, names).first() {
        None => "there is none".to_owned(),
        Some(nearest) if names::alike(name, nearest) => format!("did you mean `{nearest}`? There are {listed}"),
        Some(_) => format!("there are {listed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_name_is_answered_with_the_closest_first() {
        let message =
            Error::missing(Path::new("a.h5ad"), "column of obs", "cell_typ", &["batch", "cell_type", "n"]).to_string();
        assert_eq!(
            message,
            "a.h5ad: no column of obs `cell_typ`; did you mean `cell_type`? There are `cell_type`, `batch`, `n`"
        );
        let message = Error::missing(Path::new("a.h5ad"), "layer", "counts", &[] as &[&str]).to_string();
        assert_eq!(message, "a.h5ad: no layer `counts`; there is none");
    }
}
