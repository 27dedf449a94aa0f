//! What the library's errors mean for who has the file.

use std::path::Path;

use hdf5_pure::FormatError;

use crate::error::Error;
use crate::store::REWRITE;

/// What to do about a file that uses what only the newest HDF5 does.
const REPACK: &str = "that cannot be read here; rewrite it with `h5repack --low=0 --high=2 OLD NEW`, \
                      or in Python with `anndata.read_h5ad(OLD).write_h5ad(NEW)`";

/// What a file uses that this program cannot read, where that is why it failed.
fn newer_feature(error: &FormatError) -> Option<&'static str> {
    Some(match error {
        FormatError::InvalidLayoutVersion(_) => "a layout of values that is newer than this program",
        FormatError::UnsupportedVirtualLayout => "a virtual dataset, whose values stand in other places or files",
        FormatError::UnsupportedExternalStorage => "values stored outside of the file",
        FormatError::ChunkedReadError(what) if what.contains("version 2 B-tree") => {
            "chunks that can grow along several axes (a version 2 B-tree)"
        }
        FormatError::InvalidDatatypeVersion { .. }
        | FormatError::InvalidDataspaceVersion(_)
        | FormatError::InvalidObjectHeaderVersion(_)
        | FormatError::InvalidFilterPipelineVersion(_)
        | FormatError::UnsupportedVersion(_)
        | FormatError::UnsupportedFillValueVersion(_) => "a structure of a newer HDF5, or one that is damaged",
        _ => return None,
    })
}

/// Values that stand in other places: `source` is the first file that they stand in.
pub(super) fn virtual_set(path: &Path, slot: &str, source: Option<&str>) -> Error {
    let place = match source {
        None | Some(".") => "whose values stand in other places".to_owned(),
        Some(file) => format!("whose values stand in other files, such as {file}"),
    };
    Error::Damaged {
        path: path.to_owned(),
        slot: slot.to_owned(),
        reason: format!("it is a virtual dataset, {place}"),
        remedy: "that cannot be read here; bring them together with `h5repack -l CONTI OLD NEW`, or in Python with \
                 `anndata.read_h5ad(OLD).write_h5ad(NEW)`",
    }
}

pub(super) fn not_hdf5(path: &Path, found: String) -> Error {
    Error::Format { path: path.to_owned(), expected: "an HDF5 file (such as .h5ad)", found }
}

pub(super) fn broken(path: &Path, at: &str, error: hdf5_pure::Error) -> Error {
    let (path, slot) = (path.to_owned(), at.to_owned());
    match error {
        hdf5_pure::Error::Io(source) => Error::Io { path, action: "read", source },
        hdf5_pure::Error::Format(FormatError::UnsupportedFilter(id)) => {
            Error::Compression { path, slot, filter: filter_name(id) }
        }
        hdf5_pure::Error::Format(error) if newer_feature(&error).is_some() => {
            let feature = newer_feature(&error).unwrap_or_default();
            Error::Damaged { path, slot, reason: format!("it uses {feature} ({error})"), remedy: REPACK }
        }
        hdf5_pure::Error::FileMarkedInUse { .. } => Error::Damaged {
            path,
            slot,
            reason: "another program has the file open for writing, or stopped while writing it".to_owned(),
            remedy: "close that program, or run `h5clear -s` on the file if there is none",
        },
        other => Error::Damaged { path, slot, reason: other.to_string(), remedy: REWRITE },
    }
}

/// Filters registered with the HDF Group that single-cell files are met with.
fn filter_name(id: u16) -> String {
    let name = match id {
        4 => "SZIP",
        307 => "bzip2",
        32001 => "Blosc",
        32004 => "LZ4",
        32008 => "Bitshuffle",
        32013 => "ZFP",
        32015 => "Zstandard",
        32026 => "Blosc2",
        _ => return format!("HDF5 filter {id}"),
    };
    name.to_owned()
}
