//! Zarr, versions 2 and 3, as folders: the other format that AnnData is written in.
//!
//! A group or array is a folder with its description in JSON: `zarr.json` (version 3) or `.zgroup`, `.zarray` and
//! `.zattrs` (version 2). The values of an array stand in chunks, a file each
//! (<https://zarr-specs.readthedocs.io>). A chunk without a file holds the fill value. Descriptions that stand together at
//! the root (consolidated metadata) say nothing that those of the folders do not, and are not read.

mod array;
mod blosc;
mod codec;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use scgraft_cells::Steps;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::input::Input;
use crate::store::{self, Attr, Attrs, Field, Info, Kind, LeftOut, Reader, Type, Values};
use array::{Array, Element};
use codec::{Chunk, Problem};

/// Most bytes of a description.
const MOST_TEXT: u64 = 256 << 20;
/// Arrays up to this size are read whatever the size of their files says about them: chunks of nothing but the fill value
/// have no files.
const SMALL: u64 = 256 << 20;
/// Bytes of values that any store may have.
const ANY: u64 = 1 << 30;
/// Most that values may be larger than the files that hold them.
const MOST_COMPRESSED: u64 = 1100;
/// Chunks unpacked at once, and most bytes of them.
const BATCH: usize = 32;
const BATCH_BYTES: u64 = 256 << 20;

/// Whether a folder is a Zarr group.
pub(crate) fn is_store(path: &Path) -> bool {
    ["zarr.json", ".zgroup"].iter().any(|name| path.join(name).is_file())
}

/// The bytes of all files of a folder, links not followed.
pub(crate) fn size(path: &Path) -> Result<u64> {
    let (mut all, mut waiting) = (0, vec![path.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder, "open"))? {
            let entry = entry.map_err(Error::io(&folder, "read"))?;
            let about = entry.metadata().map_err(Error::io(&entry.path(), "open"))?;
            if about.is_dir() {
                waiting.push(entry.path());
            }
            all += if about.is_file() { about.len() } else { 0 };
        }
    }
    Ok(all)
}

/// An open Zarr store.
pub(crate) struct Store {
    input: Input,
    root: PathBuf,
    nodes: Mutex<HashMap<String, Option<Arc<Node>>>>,
    budget: AtomicU64,
    left_out: LeftOut,
}

/// What stands in a folder.
struct Node {
    attrs: Map<String, Value>,
    array: Option<Arc<Stored>>,
}

/// An array and its chunks.
struct Stored {
    array: Array,
    /// The files of chunks by their place in the grid.
    chunks: BTreeMap<Vec<u64>, PathBuf>,
    /// Most bytes that its values may have.
    most: u64,
}

impl Store {
    pub fn open(input: &Input) -> Result<Store> {
        let root = input.name().to_owned();
        let (nodes, left_out) = (Mutex::default(), LeftOut::default());
        Ok(Store { input: input.clone(), root, nodes, budget: AtomicU64::new(ANY), left_out })
    }

    /// The folder of an object; none where the path would lead out of the store.
    fn folder(&self, at: &str) -> Option<PathBuf> {
        let mut folder = self.root.clone();
        for part in at.split('/').filter(|part| !part.is_empty()) {
            if matches!(part, "." | "..") || part.contains(['\\', '\0', ':']) {
                return None;
            }
            folder.push(part);
        }
        Some(folder)
    }

    fn node(&self, at: &str) -> Result<Option<Arc<Node>>> {
        let nodes = || self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes().get(at) {
            return Ok(node.clone());
        }
        let node = match self.folder(at) {
            Some(folder) => self.read_node(at, &folder)?.map(Arc::new),
            None => None,
        };
        nodes().insert(at.to_owned(), node.clone());
        Ok(node)
    }

    fn read_node(&self, at: &str, folder: &Path) -> Result<Option<Node>> {
        if let Some(mut about) = self.json(at, &folder.join("zarr.json"))? {
            let attrs = match about.remove("attributes") {
                Some(Value::Object(attrs)) => attrs,
                _ => Map::new(),
            };
            return match about.get("node_type").and_then(Value::as_str) {
                Some("group") => Ok(Some(Node { attrs, array: None })),
                Some("array") => {
                    let array = Array::version3(&about).map_err(|p| self.fail(at, p))?;
                    Ok(Some(Node { attrs, array: Some(self.stored(at, folder, array)?.into()) }))
                }
                other => Err(self.damaged(at, format!("its `zarr.json` is of a node of type {other:?}"))),
            };
        }
        let attrs = self.json(at, &folder.join(".zattrs"))?.unwrap_or_default();
        if let Some(about) = self.json(at, &folder.join(".zarray"))? {
            let array = Array::version2(&about).map_err(|p| self.fail(at, p))?;
            return Ok(Some(Node { attrs, array: Some(self.stored(at, folder, array)?.into()) }));
        }
        let group = self.json(at, &folder.join(".zgroup"))?.is_some();
        Ok(group.then_some(Node { attrs, array: None }))
    }

    /// A description, where there is one.
    fn json(&self, at: &str, path: &Path) -> Result<Option<Map<String, Value>>> {
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = read(path, MOST_TEXT)?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(Some(map)),
            Ok(_) => Err(self.damaged(at, format!("{} is no JSON object", path.display()))),
            Err(e) => Err(self.damaged(at, format!("{} is no JSON: {e}", path.display()))),
        }
    }

    /// Finds the chunks of an array, and refuses one that claims more than they can hold.
    fn stored(&self, at: &str, folder: &Path, array: Array) -> Result<Stored> {
        let (mut chunks, mut bytes) = (BTreeMap::new(), 0u64);
        let mut waiting = vec![(folder.to_owned(), array.shape.len())];
        while let Some((inner, deep)) = waiting.pop() {
            for entry in std::fs::read_dir(&inner).map_err(Error::io(&inner, "open"))? {
                let path = entry.map_err(Error::io(&inner, "read"))?.path();
                let about = std::fs::metadata(&path).map_err(Error::io(&path, "open"))?;
                if about.is_dir() && deep > 0 {
                    waiting.push((path, deep - 1));
                } else if let Some(place) = path.strip_prefix(folder).ok().and_then(|name| array.place(name)) {
                    bytes = bytes.saturating_add(about.len());
                    chunks.insert(place, path);
                }
            }
        }
        let most = SMALL.max(bytes.saturating_mul(MOST_COMPRESSED));
        let size = |shape: &[u64]| shape.iter().try_fold(array.element.size() as u64, |n, &d| n.checked_mul(d));
        if size(&array.shape).is_none_or(|size| size > most) {
            let shape = &array.shape;
            return Err(self.damaged(at, format!("it claims a shape of {shape:?}, more than its files can hold")));
        }
        if size(&array.chunk).is_none_or(|size| size > most) {
            let shape = &array.chunk;
            return Err(self.damaged(at, format!("it claims chunks of {shape:?}, more than its files can hold")));
        }
        self.budget.fetch_add(bytes.saturating_mul(2 * MOST_COMPRESSED), Ordering::Relaxed);
        Ok(Stored { array, chunks, most })
    }

    fn fail(&self, at: &str, problem: Problem) -> Error {
        let (path, slot) = (self.path().to_owned(), at.to_owned());
        match problem {
            Problem::Damaged(reason) => self.damaged(at, reason),
            Problem::Unknown(filter) => Error::Compression { path, slot, filter },
        }
    }

    /// The array at a path.
    fn array(&self, at: &str) -> Result<Arc<Stored>> {
        let node = self.node(at)?;
        let found = if node.is_some() { "a group" } else { "nothing" };
        let array = node.and_then(|node| node.array.clone());
        array.ok_or_else(|| Error::content(self.path(), at, "values", found))
    }

    /// The values of some rows, each made by one of two functions: from the bytes of an element or from a text.
    fn read<T: Clone + Default + Send>(
        &self,
        at: &str,
        rows: Option<Range<usize>>,
        of: &(impl Fn(&[u8]) -> std::result::Result<T, String> + Sync),
        text: &(impl Fn(&str) -> T + Sync),
    ) -> Result<Vec<T>> {
        let stored = self.array(at)?;
        let Stored { array, chunks, most } = &*stored;
        let shape = &array.shape;
        let all = shape.first().copied().unwrap_or(1);
        let rows = rows.map_or(0..all, |r| (r.start as u64).min(all)..(r.end as u64).min(all));
        let rows = rows.start..rows.end.max(rows.start);
        let mut window = shape.clone();
        if let Some(first) = window.first_mut() {
            *first = rows.end - rows.start;
        }
        // `stored` saw to it that this fits, unless an axis is empty.
        let len = if window.contains(&0) { 0 } else { window.iter().product::<u64>() };
        self.claim(at, len.saturating_mul(size_of::<T>().max(array.element.size()) as u64))?;
        let fail = |reason: String| self.damaged(at, reason);
        let fill = || -> std::result::Result<T, String> {
            match &array.element {
                Element::Text => Ok(text(&array.fill_text)),
                _ => of(array.fill.as_ref().ok_or("chunks are missing, and its fill value is not understood")?),
            }
        };
        let rows_of = |place: &[u64]| {
            let step = array.chunk.first().copied().unwrap_or(1);
            let from = place.first().copied().unwrap_or(0).saturating_mul(step);
            from..from.saturating_add(step)
        };
        let wanted: Vec<(&Vec<u64>, &PathBuf)> = (chunks.iter())
            .filter(|(place, _)| rows_of(place).start < rows.end && rows.start < rows_of(place).end)
            .collect();
        let whole = array.chunks_in(&rows) == Some(wanted.len() as u64);
        // A store that was copied in part looks like one in which much is 0; of entries that are stored, none should be.
        let entries =
            at.strip_suffix("/data").map(|matrix| self.node(&format!("{matrix}/indptr"))).transpose()?.flatten();
        if !whole && len > 0 && entries.is_some() && !self.left_out.is_quiet() {
            let file = self.path().display();
            tracing::warn!("{file}: chunks of `{at}` are not there and count as 0; was all of the store copied?");
        }
        let mut out = if whole || len == 0 {
            vec![T::default(); len as usize]
        } else {
            vec![fill().map_err(fail)?; len as usize]
        };
        if len == 0 {
            return Ok(out);
        }
        let chunk = array.chunk.iter().product::<u64>() * array.element.size() as u64;
        self.claim(at, chunk.saturating_mul(wanted.len() as u64))?;
        let steps = Steps::new(store::reading(at), wanted.len());
        for batch in wanted.chunks((BATCH_BYTES / chunk.max(1)).clamp(1, BATCH as u64) as usize) {
            let unpacked: Vec<Result<Vec<T>>> = (batch.par_iter())
                .map(|(_, path)| {
                    let chunk = array.unpack(&read(path, *most)?, *most).map_err(|p| self.fail(at, p))?;
                    match chunk {
                        Chunk::Bytes(bytes) => {
                            let values: std::result::Result<Vec<T>, String> =
                                bytes.chunks_exact(array.element.size()).map(of).collect();
                            values.map_err(fail)
                        }
                        Chunk::Texts(texts) => {
                            self.claim(at, texts.iter().map(|t| t.len() as u64).sum())?;
                            Ok(texts.iter().map(|t| text(t)).collect())
                        }
                    }
                })
                .collect();
            for ((place, _), values) in batch.iter().zip(unpacked) {
                let start = place.iter().zip(&array.chunk).map(|(&p, &c)| p * c);
                let mut start: Vec<i64> = start.map(|at| at as i64).collect();
                if let Some(first) = start.first_mut() {
                    *first -= rows.start as i64;
                }
                codec::place(&values?, &array.chunk, &mut out, &window, &start);
                steps.done();
            }
        }
        Ok(out)
    }

    fn numbers<T: Clone + Default + Send>(
        &self,
        at: &str,
        rows: Option<Range<usize>>,
        of: impl Fn(&[u8]) -> std::result::Result<T, String> + Sync,
    ) -> Result<Vec<T>> {
        self.read(at, rows, &of, &|_| T::default())
    }

    fn whole(&self, at: &str, element: &Element, rows: Option<Range<usize>>, expected: &str) -> Result<Vec<i64>> {
        let info = self.info(at)?;
        let too_large = std::sync::atomic::AtomicBool::new(false);
        let values = self.numbers(at, rows, |bytes| {
            Ok(element.whole(bytes).unwrap_or_else(|| {
                too_large.store(true, Ordering::Relaxed);
                0
            }))
        })?;
        if too_large.into_inner() { Err(self.wrong(at, expected, &info)) } else { Ok(values) }
    }
}

/// The bytes of a file, at most so many.
fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let about = file.metadata().map_err(Error::io(path, "open"))?;
    if !about.is_file() || about.len() > most {
        let error = std::io::Error::other("it is no plain file, or larger than it can be");
        return Err(Error::io(path, "read")(error));
    }
    let mut bytes = Vec::with_capacity(about.len() as usize);
    file.take(about.len()).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    Ok(bytes)
}

fn attr(value: &Value) -> Attr {
    match value {
        Value::String(text) => Attr::Text(text.clone()),
        Value::Bool(truth) => Attr::Bool(*truth),
        Value::Number(number) => number.as_i64().map_or(Attr::Other, |n| Attr::Ints(vec![n])),
        Value::Array(list) if list.iter().all(Value::is_i64) => {
            Attr::Ints(list.iter().filter_map(Value::as_i64).collect())
        }
        Value::Array(list) if list.iter().all(Value::is_string) => {
            Attr::Texts(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => Attr::Other,
    }
}

impl Reader for Store {
    fn input(&self) -> &Input {
        &self.input
    }

    fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    fn kind(&self, at: &str) -> Result<Option<Kind>> {
        Ok(self.node(at)?.map(|node| if node.array.is_some() { Kind::Dataset } else { Kind::Group }))
    }

    fn children(&self, at: &str) -> Result<Vec<String>> {
        let folder = self.folder(at).filter(|_| matches!(self.kind(at), Ok(Some(Kind::Group))));
        let Some(folder) = folder else {
            return Err(Error::content(self.path(), at, "a group", "something else or nothing"));
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder, "open"))? {
            let entry = entry.map_err(Error::io(&folder, "read"))?;
            let described = |name: &str| entry.path().join(name).is_file();
            if ["zarr.json", ".zarray", ".zgroup"].into_iter().any(described) {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn attrs(&self, at: &str) -> Result<Attrs> {
        let node = self.node(at)?;
        let attrs = node.iter().flat_map(|node| &node.attrs).map(|(name, value)| (name.clone(), attr(value)));
        Ok(Attrs(attrs.collect()))
    }

    fn claim(&self, at: &str, bytes: u64) -> Result<()> {
        let left = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        match left {
            Ok(_) => Ok(()),
            Err(_) => Err(self.damaged(at, "its slots claim more than its files can hold".to_owned())),
        }
    }

    fn info(&self, at: &str) -> Result<Info> {
        let Stored { array, .. } = &*self.array(at)?;
        Ok(Info {
            shape: array.shape.iter().map(|&d| d as usize).collect(),
            kind: array.element.kind(),
            chunk_rows: array.chunk.first().map(|&rows| rows as usize),
        })
    }

    fn values(&self, at: &str, rows: Option<Range<usize>>) -> Result<Values> {
        let (stored, info) = (self.array(at)?, self.info(at)?);
        let element = &stored.array.element;
        Ok(match &info.kind {
            Type::Float(_) => Values::Float(self.numbers(at, rows, |b| Ok(element.real(b)))?),
            Type::Int(_) | Type::Uint(_) => Values::Int(self.whole(at, element, rows, "whole numbers below 2^63")?),
            Type::Bool => Values::Bool(self.numbers(at, rows, |b| Ok(b.iter().any(|&b| b != 0)))?),
            Type::Text => Values::Text(self.read(at, rows, &|b| element.text(b), &str::to_owned)?),
            Type::Record(_) => {
                let Element::Record(fields, _) = element else { return Ok(Values::Record(Vec::new())) };
                let records = self.numbers(at, rows, |bytes| Ok(bytes.to_vec()))?;
                let mut out = Vec::with_capacity(fields.len());
                for (name, field, from) in fields {
                    let cells = records.iter().map(|record| &record[*from..from + field.size()]);
                    let values = match field.kind() {
                        Type::Float(_) => Values::Float(cells.map(|b| field.real(b)).collect()),
                        Type::Bool => Values::Bool(cells.map(|b| b[0] != 0).collect()),
                        Type::Int(_) | Type::Uint(_) => {
                            let values: Option<Vec<i64>> = cells.map(|b| field.whole(b)).collect();
                            let wrong = || self.wrong(at, "whole numbers below 2^63", &info);
                            Values::Int(values.ok_or_else(wrong)?)
                        }
                        Type::Text => {
                            let texts: std::result::Result<_, String> = cells.map(|b| field.text(b)).collect();
                            Values::Text(texts.map_err(|reason| self.damaged(at, reason))?)
                        }
                        _ => return Err(self.wrong(at, "records of numbers, truth values and text", &info)),
                    };
                    out.push(Field { name: name.clone(), shape: Vec::new(), values });
                }
                Values::Record(out)
            }
            Type::Array(..) | Type::Other(_) => {
                return Err(self.wrong(at, "numbers, truth values, text or records", &info));
            }
        })
    }

    fn f32s(&self, at: &str, rows: Option<Range<usize>>) -> Result<Vec<f32>> {
        let (stored, info) = (self.array(at)?, self.info(at)?);
        let element = &stored.array.element;
        match info.kind {
            Type::Float(_) => self.numbers(at, rows, |b| Ok(element.real(b) as f32)),
            Type::Bool => self.numbers(at, rows, |b| Ok(f32::from(u8::from(b[0] != 0)))),
            Type::Int(_) | Type::Uint(_) => {
                let rounded = std::sync::atomic::AtomicBool::new(false);
                let values = self.numbers(at, rows, |b| {
                    let wide = element.real(b);
                    if f64::from(wide as f32) != wide {
                        rounded.store(true, Ordering::Relaxed);
                    }
                    Ok(wide as f32)
                })?;
                if rounded.into_inner() {
                    self.tell_rounded(at);
                }
                Ok(values)
            }
            _ => Err(self.wrong(at, "numbers", &info)),
        }
    }

    fn u32s(&self, at: &str, rows: Option<Range<usize>>) -> Result<Vec<u32>> {
        let values = self.usizes(at, rows)?;
        let bad = || Error::content(self.path(), at, "whole numbers from 0 to 2^32 - 1", "a larger one");
        values.into_iter().map(|v| u32::try_from(v).map_err(|_| bad())).collect()
    }

    fn usizes(&self, at: &str, rows: Option<Range<usize>>) -> Result<Vec<usize>> {
        let (stored, info) = (self.array(at)?, self.info(at)?);
        let bad = || self.wrong(at, "whole numbers from 0", &info);
        match info.kind {
            Type::Int(_) | Type::Uint(_) => {
                let values = self.whole(at, &stored.array.element, rows, "whole numbers from 0")?;
                values.into_iter().map(|v| usize::try_from(v).map_err(|_| bad())).collect()
            }
            _ => Err(bad()),
        }
    }
}
