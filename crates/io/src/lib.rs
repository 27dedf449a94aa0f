//! Single-cell files in and out.
//!
//! [`read_h5ad`] and [`write_h5ad`] exchange [`scgraft_cells::Cells`] with AnnData.
//! Every error names the file, the slot in it, what was expected, what was found and what to do. Nothing is
//! ever written half: see [`AtomicFile`].

mod atomic;
mod error;
mod gmt;
mod gzip;
mod h5ad;
mod hdf5;
mod sniff;

pub use atomic::{AtomicFile, atomic_write};
pub use error::{Error, Result};
pub use gmt::{DescriptionField, DuplicateSets, GmtOptions, read_gmt};
pub use h5ad::{
    ArrayInfo, ColumnInfo, Inspection, MatrixInfo, ReadOptions, Select, WriteOptions, inspect_h5ad, read_h5ad,
    write_h5ad,
};
