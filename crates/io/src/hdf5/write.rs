//! Writing with `hdf5-pure`, in bounded memory.
//!
//! A first pass lays out the file with everything small; large lists are then appended block by
//! block and large matrices added one at a time, so that never more than one copy of one matrix
//! stands in memory beside the data itself.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use hdf5_pure::{
    AttrValue, DType, DatasetBuilder, File, FileAccessProperties, FileBuilder, FileLocking, GroupBuilder, Layout,
    MaxExtent, RepackOptions, SyncPolicy,
};
use scgraft_cells::Steps;

use super::blocks::{blocks, bool_type, records};
use super::links::Target;
use super::read::{library, view};
use crate::atomic::AtomicFile;
use crate::error::{Error, Result};
use crate::store::{Attr, Data};

/// Elements in a chunk, and the longest axis of one. From 2^16 on, `hdf5-pure` 0.47 writes the length
/// of a chunk in a width that HDF5 2.0 refuses.
const CHUNK: usize = 1 << 15;
/// The most of a file that is copied to see whether it can be: of its structures, not of its numbers.
const MOST_COPIED: u64 = 1 << 30;
/// Most groups that are looked through for them: one may be in many.
const MOST_GROUPS: usize = 1 << 16;
/// A stretch of numbers that is not worth a hole in that copy.
const NO_HOLE: u64 = 1 << 12;

/// As [`super::refuses_copy`].
pub(super) fn refuses_copy(base: &Path, without: &[&str]) -> Result<Option<String>> {
    let (view, _, mut file) = view(&base.into())?;
    // What has to be put into other words is looked at in a copy.
    let mut copy = None;
    if view.differs() {
        let mut numbers = Vec::new();
        // What cannot be looked through is copied.
        let _ = numbers_of(&library(base, view.clone())?.root(), &mut numbers, &mut 0);
        numbers.sort_by_key(|stretch| stretch.start);
        let size = view.bytes.len().saturating_sub(numbers.iter().map(|n| n.end - n.start).sum());
        let place = std::env::temp_dir().join(base.file_name().unwrap_or_default());
        let small = size <= MOST_COPIED;
        let Some(mut new) = small.then(|| AtomicFile::create(&place).ok()).flatten() else { return Ok(None) };
        if view.write_to(&mut new, &numbers).is_err() {
            return Ok(None);
        }
        let Ok(other) = File::open(new.temporary_path()) else { return Ok(None) };
        (file, copy) = (other, Some(new));
    }
    let base = copy.as_ref().map_or(base, |copy| copy.temporary_path());
    let there = |at: &&&str| file.dataset(at).is_ok() || file.group(at).is_ok();
    let options = without.iter().filter(there).fold(RepackOptions::new(), |options, at| options.drop_path(at));
    drop(file);
    // The library looks at every object before it makes the copy, which below a file it cannot.
    match hdf5_pure::repack(base, base.join("copy"), &options) {
        Ok(()) | Err(hdf5_pure::Error::Io(_)) => Ok(None),
        Err(why) => Ok(Some(why.to_string())),
    }
}

/// Where the numbers of a group's datasets stand, and of those in groups within.
fn numbers_of(
    group: &hdf5_pure::Group,
    out: &mut Vec<Range<u64>>,
    groups: &mut usize,
) -> std::result::Result<(), hdf5_pure::Error> {
    use DType::{F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
    for name in group.datasets()? {
        let dataset = group.dataset(&name)?;
        if !matches!(dataset.dtype(), Ok(F32 | F64 | I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64)) {
            continue;
        }
        let mut add = |at: u64, size: u64| out.extend((size > NO_HOLE).then(|| at..at.saturating_add(size)));
        match dataset.layout() {
            Ok(Layout::Contiguous { address: Some(at), size }) => add(at, size),
            Ok(Layout::Chunked { .. }) => {
                dataset.chunks().unwrap_or_default().iter().for_each(|c| add(c.address, c.storage_size));
            }
            _ => {}
        }
    }
    *groups += 1;
    if *groups > MOST_GROUPS {
        return Ok(());
    }
    group.groups()?.iter().try_for_each(|name| numbers_of(&group.group(name)?, out, groups))
}

enum Node<'a> {
    Group { attrs: Vec<(String, Attr)>, children: BTreeMap<String, Node<'a>> },
    Dataset { shape: Vec<usize>, data: Data<'a>, attrs: Vec<(String, Attr)> },
}

/// A file being put together.
pub(super) struct PureWriter<'a> {
    path: PathBuf,
    compression: Option<u32>,
    /// Numeric datasets of more elements than this are written after the others, in blocks of as many.
    block: usize,
    root: Node<'a>,
    /// The older file that this one is made from, and the objects of it that are left out.
    base: Option<PathBuf>,
    removed: Vec<String>,
    /// The name that the file will have.
    to: PathBuf,
}

impl<'a> PureWriter<'a> {
    pub fn new(path: &Path, compression: Option<u32>, block: usize) -> PureWriter<'a> {
        let root = Node::Group { attrs: Vec::new(), children: BTreeMap::new() };
        let (path, to) = (path.to_owned(), path.to_owned());
        PureWriter { path, compression, block: block.max(1), root, base: None, removed: Vec::new(), to }
    }

    /// A file that is made from an older one, under the temporary name of one that will be `to`.
    pub fn on(base: &Path, path: &Path, to: &Path, compression: Option<u32>, block: usize) -> PureWriter<'a> {
        let new = PureWriter::new(path, compression, block);
        PureWriter { base: Some(base.to_owned()), to: to.to_owned(), ..new }
    }

    /// Leaves an object of the older file out.
    pub fn remove(&mut self, at: &str) {
        self.removed.push(at.to_owned());
    }

    /// Copies the older file, chunks as they are packed, then adds what is new. `Some` says why it cannot be copied.
    pub fn finish_update(self) -> Result<Option<String>> {
        let PureWriter { path, compression, block, root, base, removed, to } = self;
        let plan = Plan { path: &path, compression, block };
        let Some(base) = base else { return Ok(Some("there is no older file".to_owned())) };
        let mut scratch = None;
        let (view, links, _) = view(&(&base).into())?;
        // What the library cannot read stands in other words in a copy, which is gone when this is done.
        let copy = view.differs().then(|| AtomicFile::create(&to)).transpose()?;
        let base = match copy {
            None => base,
            Some(mut copy) => {
                view.write_to(&mut copy, &[]).map_err(|e| plan.fail("/", hdf5_pure::Error::Io(e)))?;
                scratch.insert(copy).temporary_path().to_owned()
            }
        };
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // Soft links become copies of what they lead to; what is removed cannot be led to before that.
        let soft = links.targets.iter().filter(|(_, target)| matches!(target, Target::Soft(_)));
        let free = soft.filter(|(at, _)| !removed.iter().any(|r| within(at, r)) && !is_met(&root, at));
        let led: Vec<(&str, String)> = free.filter_map(|(at, _)| Some((at.as_str(), links.resolve(at)?))).collect();
        // Neither can what is found through a link.
        let is_led_to = |at: &str| {
            links.resolve(at).as_deref() != Some(at) || led.iter().any(|(_, to)| within(to, at) || within(at, to))
        };
        let dropped = removed.iter().filter(|at| !links.targets.contains_key(*at));
        let (late, early): (Vec<&String>, Vec<&String>) = dropped.partition(|at| is_led_to(at));
        let options = early.iter().fold(RepackOptions::new(), |options, at| options.drop_path(at));
        match hdf5_pure::repack(&base, &path, &options) {
            Ok(()) => {}
            Err(hdf5_pure::Error::Io(source)) => {
                return Err(Error::Io { path: path.clone(), action: "write", source });
            }
            Err(other) => return Ok(Some(other.to_string())),
        }
        // The library makes one value of none.
        let nulls = links
            .spaces
            .iter()
            .filter(|(at, space)| space.is_null && !removed.iter().any(|r| within(at, r)) && !is_met(&root, at));
        let nulls: Vec<&str> = nulls.map(|(at, _)| at.as_str()).collect();
        let written = plan.follow(&led, &late).and_then(|()| plan.add_all(root));
        match written.and_then(|()| plan.empty_again(&nulls)) {
            Ok(()) => Ok(None),
            // What the library cannot edit, it can write anew.
            Err(Error::Damaged { slot, reason, .. }) => Ok(Some(format!("`{slot}`: {reason}"))),
            Err(other) => Err(other),
        }
    }

    /// Writes the file.
    pub fn finish(self) -> Result<()> {
        let PureWriter { path, compression, block, root, .. } = self;
        let plan = Plan { path: &path, compression, block };
        let (file, later) = plan.lay_out(root)?;
        file.write(&path).map_err(|e| plan.fail("/", e))?;
        if later.is_empty() { Ok(()) } else { plan.write_later(later) }
    }

    /// The bytes of the file, whole.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        let PureWriter { path, compression, root, .. } = self;
        let plan = Plan { path: &path, compression, block: usize::MAX };
        plan.lay_out(root)?.0.finish().map_err(|e| plan.fail("/", e))
    }

    fn place(&mut self, at: &str, node: Node<'a>) -> Result<()> {
        if at.is_empty() {
            if let (Node::Group { attrs, .. }, Node::Group { attrs: new, .. }) = (&mut self.root, node) {
                attrs.extend(new);
            }
            return Ok(());
        }
        let (folder, name) = at.rsplit_once('/').unwrap_or(("", at));
        let mut here = &mut self.root;
        for part in folder.split('/').filter(|p| !p.is_empty()) {
            let Node::Group { children, .. } = here else { return Err(self.clash(at)) };
            here = children
                .entry(part.to_owned())
                .or_insert_with(|| Node::Group { attrs: Vec::new(), children: BTreeMap::new() });
        }
        let Node::Group { children, .. } = here else { return Err(self.clash(at)) };
        match (children.get_mut(name), node) {
            (None, node) => {
                children.insert(name.to_owned(), node);
                Ok(())
            }
            (Some(Node::Group { attrs, .. }), Node::Group { attrs: new, .. }) if attrs.is_empty() => {
                attrs.extend(new);
                Ok(())
            }
            _ => Err(self.clash(at)),
        }
    }

    fn clash(&self, at: &str) -> Error {
        Error::Duplicate {
            path: self.path.clone(),
            what: "slot",
            name: at.to_owned(),
            also: String::new(),
            remedy: "rename one; a `/` in a name makes a folder in HDF5",
        }
    }
}

impl<'a> super::Writer<'a> for PureWriter<'a> {
    fn group(&mut self, at: &str, attrs: Vec<(&str, Attr)>) -> Result<()> {
        self.place(at, Node::Group { attrs: owned(attrs), children: BTreeMap::new() })
    }

    fn dataset(&mut self, at: &str, shape: Vec<usize>, data: Data<'a>, attrs: Vec<(&str, Attr)>) -> Result<()> {
        self.place(at, Node::Dataset { shape, data, attrs: owned(attrs) })
    }
}

type Later<'a> = (String, Vec<usize>, Data<'a>, Vec<(String, Attr)>);

struct Plan<'p> {
    path: &'p Path,
    compression: Option<u32>,
    block: usize,
}

impl Plan<'_> {
    /// The file with everything small in it, and what is written after it.
    fn lay_out<'a>(&self, root: Node<'a>) -> Result<(FileBuilder, Vec<Later<'a>>)> {
        let plan = self;
        let mut later = Vec::new();
        let mut file = FileBuilder::new();
        let Node::Group { attrs, children } = root else { return Ok((file, later)) };
        for (name, value) in &attrs {
            file.set_attr(name, attr_value(value));
        }
        for (name, node) in children {
            match node {
                Node::Group { .. } => {
                    let group = file.create_group(&name);
                    file.add_group(plan.group(group, &name, node, &mut later)?.finish());
                }
                Node::Dataset { shape, data, attrs } if plan.is_later(&shape, &data) => {
                    if plan.appends(&shape) {
                        plan.empty(file.create_dataset(&name), &data, &attrs);
                    }
                    later.push((name, shape, data, attrs));
                }
                Node::Dataset { shape, data, attrs } => {
                    plan.whole(file.create_dataset(&name), &name, &shape, &data, &attrs)?;
                }
            }
        }
        Ok((file, later))
    }

    fn fail(&self, at: &str, error: hdf5_pure::Error) -> Error {
        match error {
            hdf5_pure::Error::Io(source) => Error::Io { path: self.path.to_owned(), action: "write", source },
            other => Error::Damaged {
                path: self.path.to_owned(),
                slot: at.to_owned(),
                reason: format!("it could not be written: {other}"),
                remedy: "leave the slot out",
            },
        }
    }

    fn is_later(&self, shape: &[usize], data: &Data) -> bool {
        let numeric = matches!(
            data,
            Data::F32(_)
                | Data::F64(_)
                | Data::I64(_)
                | Data::Codes(..)
                | Data::Numbers32 { .. }
                | Data::Offsets { .. }
        );
        numeric && shape.iter().product::<usize>() > self.block
    }

    /// Lists can be appended to; matrices are written whole.
    fn appends(&self, shape: &[usize]) -> bool {
        shape.len() == 1
    }

    fn group<'a>(
        &self,
        mut group: GroupBuilder,
        at: &str,
        node: Node<'a>,
        later: &mut Vec<Later<'a>>,
    ) -> Result<GroupBuilder> {
        let Node::Group { attrs, children } = node else { return Ok(group) };
        for (name, value) in &attrs {
            group.set_attr(name, attr_value(value));
        }
        for (name, node) in children {
            let path = format!("{at}/{name}");
            match node {
                Node::Group { .. } => {
                    let inner = group.create_group(&name);
                    group.add_group(self.group(inner, &path, node, later)?.finish());
                }
                Node::Dataset { shape, data, attrs } if self.is_later(&shape, &data) => {
                    if self.appends(&shape) {
                        self.empty(group.create_dataset(&name), &data, &attrs);
                    }
                    later.push((path, shape, data, attrs));
                }
                Node::Dataset { shape, data, attrs } => {
                    self.whole(group.create_dataset(&name), &path, &shape, &data, &attrs)?;
                }
            }
        }
        Ok(group)
    }

    /// A list of no elements yet.
    fn empty(&self, dataset: &mut DatasetBuilder, data: &Data, attrs: &[(String, Attr)]) {
        blocks(data, 0..0, &mut |block| block.put(dataset));
        dataset.with_shape(&[0]).with_maxshape(&[MaxExtent::Unlimited]);
        self.chunk(dataset, &[CHUNK as u64]);
        set_attrs(dataset, attrs);
    }

    fn chunk(&self, dataset: &mut DatasetBuilder, chunks: &[u64]) {
        dataset.with_chunks(chunks);
        if let Some(level) = self.compression {
            dataset.with_shuffle().with_deflate(level);
        }
    }

    fn whole(
        &self,
        dataset: &mut DatasetBuilder,
        at: &str,
        shape: &[usize],
        data: &Data,
        attrs: &[(String, Attr)],
    ) -> Result<()> {
        let len: usize = shape.iter().product();
        let mut compress = len > 16;
        match data {
            Data::Bool(values) => {
                let datatype = bool_type().map_err(|e| self.fail(at, e.into()))?;
                let bytes = values.iter().map(|&v| u8::from(v)).collect();
                dataset.with_raw_data(datatype, bytes, len as u64);
            }
            Data::Text(values) => {
                // Only references would be compressed, not the text.
                compress = false;
                dataset.with_vlen_strings(values);
            }
            Data::Record(fields) => {
                let (datatype, bytes) = records(fields, len).map_err(|e| self.fail(at, e.into()))?;
                dataset.with_raw_data(datatype, bytes, len as u64);
            }
            numbers => blocks(numbers, 0..len, &mut |block| block.put(dataset)),
        }
        let dims: Vec<u64> = shape.iter().map(|&d| d as u64).collect();
        dataset.with_shape(&dims);
        if compress && self.compression.is_some() {
            let mut room = CHUNK;
            let mut chunks = dims;
            for length in chunks.iter_mut().rev() {
                let taken = (*length as usize).min(room).max(1);
                *length = taken as u64;
                room /= taken;
            }
            self.chunk(dataset, &chunks);
        }
        set_attrs(dataset, attrs);
        Ok(())
    }

    fn open(&self) -> Result<File> {
        let access = FileAccessProperties::new()
            .with_sync_policy(SyncPolicy::OnClose)
            // The temporary file is locked already, by who made it.
            .with_locking(FileLocking::Disabled);
        File::open_rw_with_options(self.path, access).map_err(|e| self.fail("/", e))
    }

    /// Puts copies of objects, each from its place in the file, where links to them stood; then removes some objects.
    fn follow(&self, links: &[(&str, String)], remove: &[&String]) -> Result<()> {
        if links.is_empty() && remove.is_empty() {
            return Ok(());
        }
        let file = self.open()?;
        let there = |at: &str| file.dataset(at).is_ok() || file.group(at).is_ok();
        for (at, to) in links.iter().filter(|(at, to)| there(to) && !there(at)) {
            file.copy(to, at).and_then(|()| file.commit()).map_err(|e| self.fail(at, e))?;
        }
        for at in remove {
            file.root().delete(at).and_then(|()| file.commit()).map_err(|e| self.fail(at, e))?;
        }
        file.close().map_err(|e| self.fail("/", e))
    }

    /// Takes the value of datasets that had none.
    fn empty_again(&self, datasets: &[&str]) -> Result<()> {
        if datasets.is_empty() {
            return Ok(());
        }
        let (view, links, _) = view(&self.path.into())?;
        let mut file = OpenOptions::new().write(true).open(self.path).map_err(Error::io(self.path, "write"))?;
        for space in datasets.iter().filter_map(|at| links.spaces.get(*at)).filter(|space| !space.is_null) {
            let (start, bytes) = space.emptied(&*view.bytes).map_err(Error::io(self.path, "read"))?;
            let put = file.seek(SeekFrom::Start(start)).and_then(|_| file.write_all(&bytes));
            put.map_err(Error::io(self.path, "write"))?;
        }
        Ok(())
    }

    /// Adds a tree to a file that is there.
    fn add_all(&self, root: Node) -> Result<()> {
        let file = self.open()?;
        let (mut groups, mut datasets) = (Vec::new(), Vec::new());
        flatten(String::new(), root, &mut groups, &mut datasets);
        // Groups first: attributes can be set on what is there.
        for (at, _) in groups.iter().filter(|(at, _)| !at.is_empty() && file.group(at).is_err()) {
            file.root().create_group(at).map_err(|e| self.fail(at, e))?;
        }
        let mut later = Vec::new();
        for (at, shape, data, attrs) in datasets {
            if self.is_later(&shape, &data) {
                if self.appends(&shape) {
                    file.root()
                        .create_dataset(&at, |dataset| self.empty(dataset, &data, &attrs))
                        .map_err(|e| self.fail(&at, e))?;
                }
                later.push((at, shape, data, attrs));
            } else {
                self.add(&file, &(at, shape, data, attrs))?;
            }
        }
        file.commit().map_err(|e| self.fail("/", e))?;
        for (at, attrs) in groups.iter().filter(|(_, attrs)| !attrs.is_empty()) {
            let group = if at.is_empty() { file.root() } else { file.group(at).map_err(|e| self.fail(at, e))? };
            for (name, value) in attrs {
                group.set_attr(name, attr_value(value)).map_err(|e| self.fail(at, e))?;
            }
        }
        file.commit().map_err(|e| self.fail("/", e))?;
        file.close().map_err(|e| self.fail("/", e))?;
        if !later.is_empty() {
            self.write_later(later)?;
        }
        Ok(())
    }

    /// Adds a dataset to an open file, to be there with the next commit.
    fn add(&self, file: &File, (at, shape, data, attrs): &Later) -> Result<()> {
        let mut result = Ok(());
        file.root()
            .create_dataset(at, |dataset| result = self.whole(dataset, at, shape, data, attrs))
            .map_err(|e| self.fail(at, e))?;
        result
    }

    fn write_later(&self, later: Vec<Later>) -> Result<()> {
        let file = self.open()?;
        let values = |shape: &[usize]| shape.iter().product::<usize>();
        let steps = Steps::new("writing values", later.iter().map(|(_, shape, ..)| values(shape)).sum());
        let mut done = 0;
        for (at, shape, data, attrs) in &later {
            if self.appends(shape) {
                let mut dataset = file.dataset(at).map_err(|e| self.fail(at, e))?;
                let mut start = 0;
                while start < shape[0] {
                    let end = shape[0].min(start + self.block);
                    let mut result = Ok(());
                    blocks(data, start..end, &mut |block| result = block.append(&mut dataset));
                    result.map_err(|e| self.fail(at, e))?;
                    start = end;
                    steps.reach(done + end);
                }
            } else {
                self.add(&file, &(at.clone(), shape.clone(), data.clone(), attrs.clone()))?;
                file.commit().map_err(|e| self.fail(at, e))?;
            }
            done += values(shape);
            steps.reach(done);
        }
        file.close().map_err(|e| self.fail("/", e))
    }
}

/// Whether a tree has a dataset at a path, or on the way to it.
fn is_met(root: &Node, at: &str) -> bool {
    let mut here = root;
    for part in at.split('/') {
        let Node::Group { children, .. } = here else { return true };
        match children.get(part) {
            Some(child) => here = child,
            None => return false,
        }
    }
    matches!(here, Node::Dataset { .. })
}

/// The groups of a tree, each before those in it, and its datasets.
fn flatten<'a>(
    at: String,
    node: Node<'a>,
    groups: &mut Vec<(String, Vec<(String, Attr)>)>,
    datasets: &mut Vec<Later<'a>>,
) {
    match node {
        Node::Dataset { shape, data, attrs } => datasets.push((at, shape, data, attrs)),
        Node::Group { attrs, children } => {
            groups.push((at.clone(), attrs));
            for (name, child) in children {
                let at = if at.is_empty() { name } else { format!("{at}/{name}") };
                flatten(at, child, groups, datasets);
            }
        }
    }
}

fn owned(attrs: Vec<(&str, Attr)>) -> Vec<(String, Attr)> {
    attrs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn set_attrs(dataset: &mut DatasetBuilder, attrs: &[(String, Attr)]) {
    for (name, value) in attrs {
        dataset.set_attr(name, attr_value(value));
    }
}

fn attr_value(value: &Attr) -> AttrValue {
    match value {
        Attr::Text(text) => AttrValue::VarLenString(text.clone()),
        Attr::Texts(texts) => AttrValue::VarLenStringArray(texts.clone()),
        Attr::Ints(ints) => AttrValue::I64Array(ints.clone()),
        Attr::Bool(truth) => AttrValue::U8(u8::from(*truth)),
        Attr::Other => AttrValue::I64Array(Vec::new()),
    }
}
