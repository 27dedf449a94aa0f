//! What this crate needs of HDF5, as two small traits, so that the library behind them can be changed.
//!
//! Objects are named by their path in the file (`obs/cell_type/codes`). The only implementations
//! are [`read::PureReader`] and [`write::PureWriter`], over `hdf5-pure`; nothing outside this folder
//! names them or that library.

mod blocks;
mod decode;
mod failure;
mod heap;
mod links;
mod patched;
mod raw;
mod read;
mod types;
mod write;

use std::ops::Range;
use std::path::Path;

use crate::error::Result;
use crate::input::Input;

pub(crate) use types::{Attr, Attrs, Data, Field, Info, Kind, RecordField, Type, Values};

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

/// A file that is being made. Nothing is on disk before it is finished.
pub(crate) struct NewFile<'a>(write::PureWriter<'a>);

impl<'a> NewFile<'a> {
    /// A new file, compressed with deflate at that level (1–9), or not. Numeric datasets of more elements than `block` are
    /// written in blocks of as many.
    pub fn at(path: &Path, compression: Option<u32>, block: usize) -> NewFile<'a> {
        NewFile(write::PureWriter::new(path, compression, block))
    }

    /// A new file from an older one: everything in that one stays as it stands there, bytes and types, but what is
    /// removed or written anew.
    pub fn on(base: &Path, path: &Path, compression: Option<u32>, block: usize) -> NewFile<'a> {
        NewFile(write::PureWriter::on(base, path, compression, block))
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

/// Reading one HDF5 file. Every error names the file and the object.
///
/// All values read of one file together have at most 2,200 times the bytes of the file, and 128 MiB besides: twice what
/// deflate can pack into it. What claims more is damaged, or made to harm.
pub(crate) trait Reader: Sync {
    /// What is read.
    fn input(&self) -> &Input;
    /// The name of the file.
    fn path(&self) -> &Path {
        self.input().name()
    }
    /// What stands at that path, if anything.
    fn kind(&self, at: &str) -> Result<Option<Kind>>;
    /// The names in a group.
    fn children(&self, at: &str) -> Result<Vec<String>>;
    /// Notes that a slot is left out of what is read, and why.
    fn leave_out(&self, slot: &str, why: &str);
    /// The slots left out so far.
    fn left_out(&self) -> Vec<String>;
    /// Says what was left out: one line a reason.
    fn tell_left_out(&self);
    /// Whether a path goes through a soft link.
    fn is_link(&self, at: &str) -> bool;
    /// Links that lead nowhere or into other files.
    fn lost(&self) -> Vec<String>;
    /// The attributes of a group or dataset.
    fn attrs(&self, at: &str) -> Result<Attrs>;
    /// Counts memory that a slot asks for beside its values against what a file of this size may have in all.
    fn claim(&self, at: &str, bytes: u64) -> Result<()>;
    /// Shape and type of a dataset, without its values.
    fn info(&self, at: &str) -> Result<Info>;
    /// Values of a dataset of any type; `rows` limits the first axis.
    fn values(&self, at: &str, rows: Option<Range<usize>>) -> Result<Values>;
    /// Numbers as `f32`, whatever their stored type.
    fn f32s(&self, at: &str, rows: Option<Range<usize>>) -> Result<Vec<f32>>;
    /// Whole numbers as `u32`; a value that does not fit is an error.
    fn u32s(&self, at: &str, rows: Option<Range<usize>>) -> Result<Vec<u32>>;
    /// Whole numbers as `usize`; a value that does not fit is an error.
    fn usizes(&self, at: &str, rows: Option<Range<usize>>) -> Result<Vec<usize>>;
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
