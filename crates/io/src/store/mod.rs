//! A tree of groups and arrays, each with attributes: what the encodings of AnnData need of a file format.
//!
//! HDF5 and Zarr are two such formats; every slot is read from either by the same code, through [`Reader`]. Objects are
//! named by their path (`obs/cell_type/codes`).

mod types;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::input::Input;
use crate::{hdf5, zarr};

pub(crate) use types::{Attr, Attrs, Data, Field, Info, Kind, RecordField, Type, Values};

/// Slots named in a message.
const SHOWN: usize = 8;

/// Opens a file or a folder of either format to read.
pub(crate) fn open(input: &Input) -> Result<Box<dyn Reader>> {
    match input.file().filter(|path| zarr::is_store(path)) {
        Some(_) => Ok(Box::new(zarr::Store::open(input)?)),
        None => Ok(Box::new(hdf5::open(input)?)),
    }
}

/// Reading one tree. Every error names the file and the object.
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
    /// What is left out of what is read.
    fn left_out(&self) -> &LeftOut;
    /// Notes that a slot is left out of what is read, and why.
    fn leave_out(&self, slot: &str, why: &str) {
        self.left_out().add(slot, why);
    }
    /// Whether a path goes through a soft link.
    fn is_link(&self, _at: &str) -> bool {
        false
    }
    /// Links that lead nowhere or into other files.
    fn lost(&self) -> Vec<String> {
        Vec::new()
    }
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

    /// The error for values of a type that the slot cannot have.
    fn wrong(&self, at: &str, expected: &str, info: &Info) -> Error {
        Error::content(self.path(), at, expected, format!("{} of shape {:?}", info.kind, info.shape))
    }
    /// The error for a slot whose bytes are not what they have to be.
    fn damaged(&self, at: &str, reason: String) -> Error {
        let (path, slot) = (self.path().to_owned(), at.to_owned());
        Error::Damaged { path, slot, reason, remedy: REWRITE }
    }
    /// Says that numbers lose their last digits.
    fn tell_rounded(&self, at: &str) {
        if !self.left_out().quiet {
            tracing::warn!(file = %self.path().display(), slot = at, "whole numbers above 2^24 are rounded to f32");
        }
    }
}

/// What is going on while a slot's values are read: the two long lists of a sparse matrix are read at the same time.
pub(crate) fn reading(at: &str) -> &'static str {
    if at.ends_with("/indices") { "reading where values are" } else { "reading values" }
}

/// What to do about a file that is damaged.
pub(crate) const REWRITE: &str = "copy the file again from its source, or write it anew with anndata";

/// Slots left out, each with the reason.
#[derive(Default)]
pub(crate) struct LeftOut {
    slots: Mutex<Vec<(String, String)>>,
    /// Whether nothing is told.
    quiet: bool,
}

impl LeftOut {
    /// One that tells nothing.
    pub fn quiet() -> LeftOut {
        LeftOut { quiet: true, ..LeftOut::default() }
    }

    /// Whether nothing is told.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    fn all(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, slot: &str, why: &str) {
        self.all().push((slot.to_owned(), why.to_owned()));
    }

    /// The slots left out so far.
    pub fn slots(&self) -> Vec<String> {
        self.all().iter().map(|(slot, _)| slot.clone()).collect()
    }

    /// Says what was left out: one line a reason.
    pub fn tell(&self, path: &Path) {
        if self.quiet {
            return;
        }
        let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (slot, why) in self.all().iter() {
            by_reason.entry(why.clone()).or_default().push(slot.clone());
        }
        let file = path.display();
        for (why, slots) in by_reason {
            let shown = slots.iter().take(SHOWN).map(|s| format!("`{s}`")).collect::<Vec<_>>().join(", ");
            let more = if slots.len() > SHOWN { format!(" and {} more", slots.len() - SHOWN) } else { String::new() };
            tracing::warn!("{file}: left out on reading, {why}: {shown}{more}");
        }
    }
}
