//! Reading with `hdf5-pure`, a window at a time, never the whole file at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_pure::{
    ChunkCacheConfig, Dataset, Datatype, DatatypeByteOrder, FileAccessProperties, Group, MetadataCacheConfig,
};
use rayon::prelude::*;
use scgraft_cells::Steps;

use super::decode::{attr, decode, describe_type, element_size};
use super::failure::{broken, not_hdf5, virtual_set};
use super::heap::Heap;
use super::links::{self, Links, Target};
use super::patched::Patched;
use super::raw::Fields;
use crate::error::{Error, Result};
use crate::input::{Bytes, Input};
use crate::store::{self, Attrs, Field, Info, Kind, LeftOut, Reader, Type, Values};

/// Elements decoded at once: large enough to be quick, small enough to cost little memory.
const WINDOW: usize = 1 << 20;
/// No compression that HDF5 knows shrinks data much more than deflate does (1032 : 1).
const MOST_COMPRESSED: u64 = 1100;
/// Datasets up to this size are read whatever their file's size says about them.
const SMALL: u64 = 64 << 20;
const WHOLE: &str = "/";

/// An open HDF5 file.
pub(super) struct PureReader {
    input: Input,
    /// Its bytes, for what the library does not read.
    bytes: Arc<dyn Bytes>,
    file: hdf5_pure::File,
    /// Bytes of values that may still be read.
    budget: AtomicU64,
    links: Links,
    /// Slots whose chunks were looked at.
    checked: Mutex<HashSet<String>>,
    /// What stands in the groups that were looked into. Opening one object by its path walks through all
    /// links of its group, so that a table of many columns would take a time that grows with their square.
    folders: Mutex<HashMap<String, Arc<Folder>>>,
    left_out: LeftOut,
}

type Folder = BTreeMap<String, Object>;

#[derive(Clone)]
enum Object {
    Group(Group),
    Dataset(Dataset),
}

/// A file as the library can read it, its links, and how the library sees it without that.
pub(super) fn view(input: &Input) -> Result<(Patched, Links, hdf5_pure::File)> {
    let bytes = input.open()?;
    let mut view = Patched { bytes: Arc::clone(&bytes), patches: BTreeMap::new(), tail: Vec::new() };
    let file = library(input.name(), view.clone())?;
    let top = file.superblock();
    let mut links = Links::default();
    // With bytes of something else before them, addresses count from elsewhere: such files have none of these links.
    if top.base_address.get() == 0 {
        links = links::scan(bytes, top.root_group_address, top.offset_size, top.length_size);
    }
    view.patches = std::mem::take(&mut links.patches);
    view.tail = std::mem::take(&mut links.tail);
    Ok((view, links, file))
}

pub(super) fn library(name: &Path, source: Patched) -> Result<hdf5_pure::File> {
    // Reading goes through the chunks once and in order: only where they are is worth keeping.
    let access = FileAccessProperties::new()
        .with_metadata_cache(MetadataCacheConfig::new(16 << 20))
        .with_chunk_cache(ChunkCacheConfig::from_h5p_cache(0, 0));
    hdf5_pure::File::from_source_with_options(source, access).map_err(|e| broken(name, WHOLE, e))
}

impl PureReader {
    pub fn open(input: &Input) -> Result<PureReader> {
        let mut reader = PureReader::open_quietly(input)?;
        reader.left_out = LeftOut::default();
        for slot in &reader.links.unread {
            let file = reader.input.name().display();
            tracing::warn!(
                "{file}: `/{slot}` has more entries than can be looked through for links: some may be left out"
            );
        }
        for slot in reader.lost() {
            match &reader.links.targets[&slot] {
                Target::External { file: other, path } => {
                    reader.leave_out(&slot, &format!("a link to `{path}` in another file, {other}"));
                }
                Target::Soft(to) => reader.leave_out(&slot, &format!("a link to `{to}`, which is not there")),
            }
        }
        Ok(reader)
    }

    /// The same without a word.
    pub fn open_quietly(input: &Input) -> Result<PureReader> {
        let name = input.name();
        if input.file().is_some_and(Path::is_dir) {
            return Err(not_hdf5(name, "a folder".to_owned()));
        }
        if !is_hdf5(input)? {
            return Err(not_hdf5(name, crate::sniff::describe(input)?));
        }
        let (source, links, mut file) = view(input)?;
        if let Some(at) = &links.back {
            let found = "a link back to a group that it is in; remove it";
            return Err(Error::content(name, at, "groups and values", found));
        }
        let bytes = Arc::clone(&source.bytes);
        if source.differs() {
            file = library(name, source)?;
        }
        let budget = AtomicU64::new(2 * most_of(&bytes));
        Ok(PureReader {
            input: input.clone(),
            bytes,
            file,
            budget,
            links,
            checked: Mutex::default(),
            folders: Mutex::default(),
            left_out: LeftOut::quiet(),
        })
    }

    /// What stands in a group, read once.
    fn folder(&self, at: &str) -> Result<Option<Arc<Folder>>> {
        let Some(at) = &self.links.resolve(at) else { return Ok(None) };
        let folders = || self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folders().get(at) {
            return Ok(Some(Arc::clone(folder)));
        }
        let group = match self.find(at)? {
            Some(Object::Group(group)) => group,
            Some(Object::Dataset(_)) | None => return Ok(None),
        };
        let fail = self.fail(at);
        let mut folder = Folder::new();
        folder.extend(group.iter_groups().map_err(&fail)?.map(|(name, group)| (name, Object::Group(group))));
        folder.extend(group.iter_datasets().map_err(&fail)?.map(|(name, set)| (name, Object::Dataset(set))));
        let folder = Arc::new(folder);
        folders().insert(at.clone(), Arc::clone(&folder));
        Ok(Some(folder))
    }

    fn find(&self, at: &str) -> Result<Option<Object>> {
        if at.is_empty() {
            return Ok(Some(Object::Group(self.file.root())));
        }
        let Some(at) = &self.links.resolve(at) else { return Ok(None) };
        let (parent, name) = at.rsplit_once('/').unwrap_or(("", at));
        Ok(self.folder(parent)?.and_then(|folder| folder.get(name).cloned()))
    }

    fn dataset(&self, at: &str) -> Result<Dataset> {
        if let Some(&list) = self.links.resolve(at).and_then(|at| self.links.virtual_sets.get(&at)) {
            let source = self.first_source(list);
            return Err(virtual_set(self.path(), at, source.as_deref()));
        }
        match self.find(at)? {
            Some(Object::Dataset(dataset)) => Ok(dataset),
            Some(Object::Group(_)) => Err(Error::content(self.path(), at, "values", "a group")),
            None => Err(Error::content(self.path(), at, "values", "nothing")),
        }
    }

    fn heap(&self) -> Heap {
        let top = self.file.superblock();
        Heap::new(Arc::clone(&self.bytes), top.base_address.get(), top.offset_size, top.length_size)
    }

    /// The first file that a virtual dataset has its values from: its list (IV.A.2.i, "Virtual Dataset") is a version, the number
    /// of entries, and the entries, of which each begins with the name of a file.
    fn first_source(&self, (address, number): (u64, u32)) -> Option<String> {
        let mut heap = self.heap();
        let mut list = Fields(heap.object(address, number).ok()?);
        let version = list.number(1)?;
        list.take(usize::from(self.file.superblock().length_size))?;
        // An entry of version 1 says first whether it has a name: values of the same file have none.
        if version > 0 && list.number(1)? & 4 != 0 {
            return None;
        }
        let name = list.0.split(|&b| b == 0).next()?;
        String::from_utf8(name.to_vec()).ok().filter(|name| !name.is_empty())
    }

    fn fail(&self, at: &str) -> impl Fn(hdf5_pure::Error) -> Error {
        let (path, at) = (self.path().to_owned(), at.to_owned());
        move |e| broken(&path, &at, e)
    }

    /// Describes a dataset, and refuses one that claims more bytes than its file can hold.
    fn describe(&self, at: &str, dataset: &Dataset) -> Result<Info> {
        let fail = self.fail(at);
        let dims = dataset.shape().map_err(&fail)?;
        let bytes = dims.iter().try_fold(dataset.element_size().map_err(&fail)?, |n, &d| n.checked_mul(d));
        let most = most_of(&self.bytes);
        if bytes.is_none_or(|b| b > most) {
            return Err(self.damaged(at, format!("it claims a shape of {dims:?}, more than its file can hold")));
        }
        let kind = describe_type(&dataset.datatype().map_err(&fail)?);
        let chunks = dataset.chunk_shape().map_err(&fail)?;
        let size = dataset.element_size().map_err(&fail)?;
        let chunk = chunks.iter().flatten().try_fold(size, |n, &d| n.checked_mul(d));
        if chunk.is_none_or(|b| b > most) {
            return Err(self.damaged(at, format!("it claims chunks of {chunks:?}, more than its file can hold")));
        }
        let chunk_rows = chunks.and_then(|c| c.first().map(|&rows| rows as usize));
        Ok(Info { shape: dims.iter().map(|&d| d as usize).collect(), kind, chunk_rows })
    }

    /// A dataset, with the bytes of some of its rows counted, stored as they are or as references to text elsewhere; in memory
    /// a value has at least `width` of them.
    fn claimed(&self, at: &str, rows: Option<&Range<usize>>, width: usize) -> Result<(Dataset, Info)> {
        let dataset = self.dataset(at)?;
        let info = self.describe(at, &dataset)?;
        let fail = self.fail(at);
        let all = info.shape.first().copied().unwrap_or(1) as u64;
        let rows = rows.map_or(all, |r| r.len() as u64).min(all);
        let per_row = info.shape.iter().skip(1).fold(1u64, |n, &d| n.saturating_mul(d as u64));
        let cells = rows.saturating_mul(per_row);
        self.check_chunks(at, &dataset, &info)?;
        self.claim(at, cells.saturating_mul(dataset.element_size().map_err(&fail)?.max(width as u64)))?;
        if cells > 0 && matches!(dataset.datatype().map_err(&fail)?, Datatype::VariableLength { is_string: true, .. }) {
            // Many references may lead to one long text.
            self.claim(at, dataset.vlen_string_payload_size().map_err(&fail)?)?;
        }
        Ok((dataset, info))
    }

    /// Refuses chunks that are said to lie past the end of the file: the library makes room for them first. Once a slot.
    fn check_chunks(&self, at: &str, dataset: &Dataset, info: &Info) -> Result<()> {
        let known = !self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(at.to_owned());
        if known || info.chunk_rows.is_none() {
            return Ok(());
        }
        // Those that cannot be listed are the library's to complain of.
        let (chunks, len) = (dataset.chunks().unwrap_or_default(), self.bytes.len());
        let lies = |c: &hdf5_pure::Chunk| c.address.checked_add(c.storage_size).is_none_or(|end| end > len);
        match chunks.iter().find(|c| lies(c)) {
            Some(chunk) => {
                Err(self.damaged(at, format!("a chunk of {} bytes runs past the end of the file", chunk.storage_size)))
            }
            None => Ok(()),
        }
    }

    /// Reads numbers in parallel windows of whole chunks, straight into place.
    fn numbers<T, F>(&self, at: &str, info: &Info, rows: Option<Range<usize>>, read: F) -> Result<Vec<T>>
    where
        T: Copy + Default + Send,
        F: Fn(u64, u64) -> Result<Vec<T>> + Sync,
    {
        let all = info.shape.first().copied().unwrap_or(1);
        let rows = clamp(rows, all);
        // `describe` saw to it that this fits, unless there is no row.
        let per_row = info.shape.iter().skip(1).fold(1, |n: usize, &d| n.saturating_mul(d));
        if rows.is_empty() || per_row == 0 {
            return Ok(Vec::new());
        }
        let len = rows.len() * per_row;
        let chunk = info.chunk_rows.unwrap_or(1).max(1);
        let window = (WINDOW / per_row.max(1)).max(1).div_ceil(chunk).saturating_mul(chunk);
        // The first window ends where a chunk does, so that no chunk is decoded twice.
        let head = (window - rows.start % window).min(rows.len());
        let mut out = vec![T::default(); len];
        let (first, rest) = out.split_at_mut(head * per_row);
        let fill = |target: &mut [T], start: usize| -> Result<()> {
            let values = read(start as u64, (target.len() / per_row) as u64)?;
            if values.len() != target.len() {
                return Err(self.damaged(at, format!("{} values where {} belong", values.len(), target.len())));
            }
            target.copy_from_slice(&values);
            Ok(())
        };
        if info.shape.is_empty() && read(0, 1)?.is_empty() {
            // A dataset without even one value ("null dataspace").
            return Ok(Vec::new());
        }
        let steps = Steps::new(store::reading(at), (rows.len() - head).div_ceil(window) + 1);
        fill(first, rows.start)?;
        steps.done();
        rest.par_chunks_mut(window.saturating_mul(per_row)).enumerate().try_for_each(|(i, target)| {
            fill(target, rows.start + head + i * window)?;
            steps.done();
            Ok(())
        })?;
        Ok(out)
    }

    fn wide(&self, at: &str, dataset: &Dataset, info: &Info, rows: Option<Range<usize>>) -> Result<Vec<i64>> {
        let fail = self.fail(at);
        self.numbers(at, info, rows, |start, count| match info.kind {
            Type::Uint(8) => dataset
                .read_u64_rows(start, count)
                .map_err(&fail)?
                .into_iter()
                .map(|v| i64::try_from(v).map_err(|_| self.wrong(at, "whole numbers below 2^63", info)))
                .collect(),
            _ => dataset.read_i64_rows(start, count).map_err(&fail),
        })
    }

    fn records(&self, at: &str, dataset: &Dataset, rows: Option<Range<usize>>) -> Result<Values> {
        let fail = self.fail(at);
        let datatype = dataset.datatype().map_err(&fail)?;
        let Datatype::Compound { size, members } = &datatype else {
            return Err(self.damaged(at, "records without fields".to_owned()));
        };
        let raw = match rows {
            Some(rows) => dataset.read_raw_rows(rows.start as u64, rows.len() as u64),
            None => dataset.read_raw(),
        }
        .map_err(&fail)?;
        let mut heap = self.heap();
        let size = *size as usize;
        if size == 0 {
            return Err(self.damaged(at, "records of no bytes".to_owned()));
        }
        let mut fields = Vec::with_capacity(members.len());
        for member in members {
            let (datatype, shape) = match &member.datatype {
                Datatype::Array { base_type, dimensions } => {
                    (base_type.as_ref(), dimensions.iter().map(|&d| d as usize).collect())
                }
                plain => (plain, Vec::new()),
            };
            let count = shape.iter().fold(1, |n: usize, &d: &usize| n.saturating_mul(d));
            let from = member.byte_offset as usize;
            let width = element_size(datatype, &heap);
            let span = width.checked_mul(count).and_then(|w| from.checked_add(w)).filter(|&end| end <= size);
            let Some(end) = span else {
                return Err(self.damaged(at, format!("field `{}` runs past its record", member.name)));
            };
            let cells: Vec<&[u8]> =
                raw.chunks_exact(size).flat_map(|r| r[from..end].chunks_exact(width.max(1))).collect();
            let values = decode(datatype, &cells, &mut heap)
                .map_err(|reason| self.damaged(at, format!("field `{}`: {reason}", member.name)))?;
            fields.push(Field { name: member.name.clone(), shape, values });
        }
        Ok(Values::Record(fields))
    }
}

impl Reader for PureReader {
    fn input(&self) -> &Input {
        &self.input
    }

    fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    fn is_link(&self, at: &str) -> bool {
        !self.links.targets.is_empty() && self.links.resolve(at).as_deref() != Some(at)
    }

    fn lost(&self) -> Vec<String> {
        let leads_nowhere = |(slot, target): (&String, &Target)| match target {
            Target::External { .. } => Some(slot.clone()),
            Target::Soft(_) => matches!(self.find(slot), Ok(None) | Err(_)).then(|| slot.clone()),
        };
        self.links.targets.iter().filter_map(leads_nowhere).collect()
    }

    fn kind(&self, at: &str) -> Result<Option<Kind>> {
        Ok(self.find(at)?.map(|object| match object {
            Object::Group(_) => Kind::Group,
            Object::Dataset(_) => Kind::Dataset,
        }))
    }

    fn children(&self, at: &str) -> Result<Vec<String>> {
        match self.folder(at)? {
            Some(folder) => {
                let mut names: Vec<String> = folder.keys().cloned().collect();
                let group = self.links.resolve(at).unwrap_or_default();
                for name in self.links.in_group(&group) {
                    let full = if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") };
                    if self.find(&full)?.is_some() {
                        names.push(name.to_owned());
                    }
                }
                names.sort_unstable();
                names.dedup();
                Ok(names)
            }
            None => Err(Error::content(self.path(), at, "a group", "something else or nothing")),
        }
    }

    fn attrs(&self, at: &str) -> Result<Attrs> {
        let raw = match self.find(at)? {
            Some(Object::Dataset(dataset)) => dataset.attrs(),
            Some(Object::Group(group)) => group.attrs(),
            None => return Ok(Attrs::default()),
        }
        .map_err(self.fail(at))?;
        Ok(Attrs(raw.into_iter().map(|(name, value)| (name, attr(&value))).collect()))
    }

    fn claim(&self, at: &str, bytes: u64) -> Result<()> {
        let left = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        match left {
            Ok(_) => Ok(()),
            Err(_) => Err(self.damaged(at, "the slots of the file claim more than it can hold".to_owned())),
        }
    }

    fn info(&self, at: &str) -> Result<Info> {
        self.describe(at, &self.dataset(at)?)
    }

    fn values(&self, at: &str, rows: Option<Range<usize>>) -> Result<Values> {
        let (dataset, info) = self.claimed(at, rows.as_ref(), 8)?;
        let fail = self.fail(at);
        let rows = rows.map(|r| clamp(Some(r), info.shape.first().copied().unwrap_or(1)));
        Ok(match &info.kind {
            Type::Float(2) => Values::Float(self.numbers(at, &info, rows, |s, n| {
                Ok(halves(&dataset, s, n).map_err(&fail)?.into_iter().map(f64::from).collect())
            })?),
            Type::Float(4 | 8) => {
                Values::Float(self.numbers(at, &info, rows, |s, n| dataset.read_f64_rows(s, n).map_err(&fail))?)
            }
            Type::Int(_) | Type::Uint(_) => Values::Int(self.wide(at, &dataset, &info, rows)?),
            Type::Bool => Values::Bool(self.numbers(at, &info, rows, |s, n| {
                Ok(dataset.read_i64_rows(s, n).map_err(&fail)?.into_iter().map(|v| v != 0).collect())
            })?),
            Type::Text => Values::Text(
                match rows {
                    Some(r) if !info.shape.is_empty() => dataset.read_string_rows(r.start as u64, r.len() as u64),
                    _ => dataset.read_string(),
                }
                .map_err(&fail)?,
            ),
            Type::Record(_) => self.records(at, &dataset, rows)?,
            Type::Float(_) | Type::Array(..) | Type::Other(_) => {
                return Err(self.wrong(at, "numbers, truth values, text or records", &info));
            }
        })
    }

    fn f32s(&self, at: &str, rows: Option<Range<usize>>) -> Result<Vec<f32>> {
        let (dataset, info) = self.claimed(at, rows.as_ref(), 4)?;
        let fail = self.fail(at);
        match info.kind {
            Type::Float(4 | 8) | Type::Bool | Type::Int(1 | 2) | Type::Uint(1 | 2) => {
                self.numbers(at, &info, rows, |s, n| dataset.read_f32_rows(s, n).map_err(&fail))
            }
            Type::Float(2) => self.numbers(at, &info, rows, |s, n| halves(&dataset, s, n).map_err(&fail)),
            Type::Int(_) | Type::Uint(_) => {
                // Whole numbers past 2^24 are rounded: say so once, rather than not at all.
                let rounded = std::sync::atomic::AtomicBool::new(false);
                let out = self.numbers(at, &info, rows, |s, n| {
                    let values = dataset.read_f64_rows(s, n).map_err(&fail)?;
                    if values.iter().any(|&v| f64::from(v as f32) != v) {
                        rounded.store(true, Ordering::Relaxed);
                    }
                    Ok(values.into_iter().map(|v| v as f32).collect())
                })?;
                if rounded.into_inner() {
                    self.tell_rounded(at);
                }
                Ok(out)
            }
            _ => Err(self.wrong(at, "numbers", &info)),
        }
    }

    fn u32s(&self, at: &str, rows: Option<Range<usize>>) -> Result<Vec<u32>> {
        let (dataset, info) = self.claimed(at, rows.as_ref(), 4)?;
        let fail = self.fail(at);
        let bad = || self.wrong(at, "whole numbers from 0 to 2^32 - 1", &info);
        match info.kind {
            Type::Int(4) => self.numbers(at, &info, rows, |s, n| {
                let values = dataset.read_i32_rows(s, n).map_err(&fail)?;
                values.into_iter().map(|v| u32::try_from(v).map_err(|_| bad())).collect()
            }),
            Type::Int(_) | Type::Uint(_) => self.numbers(at, &info, rows, |s, n| {
                let values = dataset.read_i64_rows(s, n).map_err(&fail)?;
                values.into_iter().map(|v| u32::try_from(v).map_err(|_| bad())).collect()
            }),
            _ => Err(bad()),
        }
    }

    fn usizes(&self, at: &str, rows: Option<Range<usize>>) -> Result<Vec<usize>> {
        let (dataset, info) = self.claimed(at, rows.as_ref(), 8)?;
        let bad = || self.wrong(at, "whole numbers from 0", &info);
        match info.kind {
            Type::Int(_) | Type::Uint(_) => self
                .wide(at, &dataset, &info, rows)?
                .into_iter()
                .map(|v| usize::try_from(v).map_err(|_| bad()))
                .collect(),
            _ => Err(bad()),
        }
    }
}

/// Most bytes that a file's values can have.
fn most_of(bytes: &Arc<dyn Bytes>) -> u64 {
    SMALL.max(bytes.len().saturating_mul(MOST_COMPRESSED))
}

/// HDF5 looks for its signature at the start of the file, then at 512 bytes and at every power of two after it.
pub(super) fn is_hdf5(input: &Input) -> Result<bool> {
    const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
    let bytes = input.open()?;
    let places = std::iter::once(0).chain((9..).map(|power| 1 << power));
    for start in places.take_while(|start| start + 8 <= bytes.len()) {
        let mut found = [0; 8];
        bytes.read_at(start, &mut found).map_err(Error::io(input.name(), "read"))?;
        if found == *SIGNATURE {
            return Ok(true);
        }
    }
    Ok(false)
}

fn clamp(rows: Option<Range<usize>>, all: usize) -> Range<usize> {
    rows.map_or(0..all, |r| r.start.min(all)..r.end.min(all).max(r.start.min(all)))
}

/// Reads rows of 2-byte floats, which the library does not decode.
fn halves(dataset: &Dataset, start: u64, count: u64) -> std::result::Result<Vec<f32>, hdf5_pure::Error> {
    let little =
        !matches!(dataset.datatype()?, Datatype::FloatingPoint { byte_order: DatatypeByteOrder::BigEndian, .. });
    let raw = dataset.read_raw_rows(start, count)?;
    let word = |b: &[u8]| if little { u16::from_le_bytes([b[0], b[1]]) } else { u16::from_be_bytes([b[0], b[1]]) };
    Ok(raw.chunks_exact(2).map(|b| half::f16::from_bits(word(b)).to_f32()).collect())
}
