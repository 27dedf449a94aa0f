//! HDF5, read and written with `hdf5-pure`. Nothing outside this folder names that library.
//!
//! Objects are named by their path in the file (`obs/cell_type/codes`).

mod blocks;
mod btree2;
mod checksum;
mod decode;
mod failure;
mod heap;
mod layout;
mod links;
mod patched;
mod raw;
mod read;
mod write;

use std::path::Path;

use crate::error::Result;
use crate::input::Input;
use crate::store::{Attr, Data, Reader};

/// Whether a file begins as an HDF5 file does.
pub(crate) fn is_hdf5(input: &Input) -> Result<bool> {
    read::is_hdf5(input)
}

/// Opens a file to read.
pub(crate) fn open(input: &Input) -> Result<impl Reader + use<>> {
    read::PureReader::open(input)
}

/// Opens a file that was read before, to look again: without telling again what is left out.
pub(crate) fn open_again(input: &Input) -> Result<impl Reader + use<>> {
    read::PureReader::open_quietly(input)
}

/// Why a file cannot be copied without these of its objects; `None` when it can be, or must be put into other words first.
/// Nothing is written.
pub(crate) fn refuses_copy(base: &Path, without: &[&str]) -> Result<Option<String>> {
    write::refuses_copy(base, without)
}

/// A file that is being made. Nothing is on disk before it is finished.
pub(crate) struct NewFile<'a>(write::PureWriter<'a>);

impl<'a> NewFile<'a> {
    /// A new file, compressed with deflate at that level (1–9), or not. Numeric datasets of more elements than `block` are
    /// written in blocks of as many.
    pub fn at(path: &Path, compression: Option<u32>, block: usize) -> NewFile<'a> {
        NewFile(write::PureWriter::new(path, compression, block))
    }

    /// A new file from an older one: everything in that one stays as it stands there, bytes and types, but what is
    /// removed or written anew; a soft link becomes a copy of what it leads to. `path` is the temporary name of `to`.
    pub fn on(base: &Path, path: &Path, to: &Path, compression: Option<u32>, block: usize) -> NewFile<'a> {
        NewFile(write::PureWriter::on(base, path, to, compression, block))
    }

    /// Leaves an object of the older file out, with all that is in it.
    pub fn remove(&mut self, at: &str) {
        self.0.remove(at);
    }

    /// Writes the file.
    pub fn finish(self) -> Result<()> {
        self.0.finish()
    }

    /// Writes the file over a copy of the older one. `Some` says why that cannot be taken over, and nothing was written
    /// then.
    pub fn finish_update(self) -> Result<Option<String>> {
        self.0.finish_update()
    }

    /// The bytes of the file, none of it in blocks; its path is for messages only.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        self.0.into_bytes()
    }
}

impl<'a> Writer<'a> for NewFile<'a> {
    fn group(&mut self, at: &str, attrs: Vec<(&str, Attr)>) -> Result<()> {
        self.0.group(at, attrs)
    }

    fn dataset(&mut self, at: &str, shape: Vec<usize>, data: Data<'a>, attrs: Vec<(&str, Attr)>) -> Result<()> {
        self.0.dataset(at, shape, data, attrs)
    }
}

/// Putting one new HDF5 file together.
///
/// `'a` is the life of the large arrays, which are borrowed until the file is finished rather than copied.
pub(crate) trait Writer<'a> {
    /// Adds a group. Groups on the way to it are added when they are missing.
    fn group(&mut self, at: &str, attrs: Vec<(&str, Attr)>) -> Result<()>;
    /// Adds a dataset. The empty shape is a scalar.
    fn dataset(&mut self, at: &str, shape: Vec<usize>, data: Data<'a>, attrs: Vec<(&str, Attr)>) -> Result<()>;
}
