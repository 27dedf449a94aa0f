//! Single-cell files in and out.
//!
//! [`read_h5ad`] and [`write_h5ad`] exchange [`scgraft_cells::Cells`] with AnnData; [`read_cells`] reads
//! every other format too; [`inspect_h5ad`] lists what a file holds without loading it; [`read_gmt`] reads
//! gene sets; [`read_table`] and [`write_table`] are for CSV and TSV.
//!
//! Readers take an [`Input`]: a path, bytes in memory, or anything that can be read and sought in.
//!
//! Every error names the file, the slot in it, what was expected, what was found and what to do. Nothing is
//! ever written half: see [`AtomicFile`].

mod atomic;
mod cells;
mod error;
mod gmt;
mod gzip;
mod h5ad;
mod h5mu;
mod hdf5;
mod input;
mod loom;
mod mtx;
mod names;
mod orthologs;
mod sets;
mod sniff;
mod spreadsheet;
mod store;
mod table;
mod tenx;
mod zarr;

pub use atomic::{AtomicFile, abandon, atomic_write, copy, file_name, place, put_in_place, together, write_bytes};
pub use cells::read_cells;
pub use error::{Error, Result};
pub use gmt::read_gmt;
pub use h5ad::{
    ArrayInfo, ColumnInfo, Inspection, MatrixInfo, ReadOptions, Select, WriteOptions, can_keep, h5ad_bytes,
    inspect_h5ad, read_h5ad, write_h5ad,
};
pub use input::Input;
pub use names::hdf5_names;
pub use orthologs::read_orthologs;
pub use table::{read_list, read_table, write_rows, write_table};
pub use tenx::PROTEIN_SLOT;
