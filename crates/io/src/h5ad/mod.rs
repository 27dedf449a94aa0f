//! h5ad: AnnData in HDF5.
//!
//! The on-disk format is described in the documentation of anndata
//! (<https://anndata.readthedocs.io/en/stable/fileformat-prose.html>): every group and dataset says
//! what it is in the attributes `encoding-type` and `encoding-version`. Files from before 0.8 lack
//! some of these, files from before 0.7 all of them; what they hold is told from its shape and place.

mod frame;
mod inspect;
mod keep;
mod matrix;
mod options;
mod read;
mod uns;
mod write;

pub(crate) use frame::read_frame;
pub use inspect::{ArrayInfo, ColumnInfo, Inspection, MatrixInfo, inspect_h5ad};
pub(crate) use matrix::{read_compressed, sorted};
pub use options::{ReadOptions, Select, WriteOptions};
pub use read::read_h5ad;
pub(crate) use read::{read_anndata, read_file};
pub use write::{can_keep, h5ad_bytes, write_h5ad};

use crate::error::{Error, Result};
use crate::store::Attr;

/// The attributes that say what an object is.
pub(crate) fn encoding(kind: &str, version: &str) -> Vec<(&'static str, Attr)> {
    vec![("encoding-type", Attr::Text(kind.to_owned())), ("encoding-version", Attr::Text(version.to_owned()))]
}

/// The path of an entry of a dictionary; a name with a `/` would become something else when read again.
pub(crate) fn child(at: &str, name: &str) -> Result<String> {
    if name.is_empty() || name == "." || name.contains('/') {
        return Err(Error::content(
            "".as_ref(),
            at,
            "names that are not empty and hold no `/`, which HDF5 takes for folders",
            format!("`{name}`; rename it"),
        ));
    }
    Ok(format!("{at}/{name}"))
}
