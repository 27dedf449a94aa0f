//! Soft and external links, which `hdf5-pure` passes over or stumbles on, and layouts that it does not know.
//!
//! A file's groups are walked once, by their structures on disk (HDF5 File Format Specification 3.0, III.A–C, F–G,
//! IV.A.2.c, g and r). In groups of the old format a soft link is an entry of a symbol table without an object:
//! [`Links::patches`] are those tables without such entries, for the library to read in their place; also the headers of
//! datasets whose layout is put into other words ([`layout`](super::layout)). Soft links are followed by path, as HDF5
//! follows them; external ones, which lead to other files, are only told of, and so are virtual datasets.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::btree2;
use super::checksum::checksum;
use super::layout::{Layout, virtual_list};
use super::raw::{Fields, Raw, little_endian};
use crate::input::Bytes;

/// Most groups that are walked, most structures of one group, most links followed to one object.
const MOST_GROUPS: usize = 1 << 17;
const MOST_NODES: usize = 1 << 16;
const MOST_HOPS: usize = 32;
/// Most times that the file is read over for it.
const MOST_TIMES: u64 = 16;

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A path in this file.
    Soft(String),
    /// A path in another file.
    External { file: String, path: String },
}

/// The links of a file, and what to read in place of structures that the library does not know.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By their own path.
    pub targets: BTreeMap<String, Target>,
    /// Bytes by where they belong in the file.
    pub patches: BTreeMap<u64, Vec<u8>>,
    /// What patches lead to, after the end of the file.
    pub tail: Vec<u8>,
    /// Virtual datasets by path: where the list of their sources is in the global heap.
    pub virtual_sets: BTreeMap<String, (u64, u32)>,
    /// The dataspaces without axes, by path: of one value, or of none.
    pub spaces: BTreeMap<String, Space>,
    /// Groups with links that could not be looked through.
    pub unread: Vec<String>,
    /// A link, hard or soft, that leads back to a group that it is in.
    pub back: Option<String>,
}

/// A dataspace without axes (version 2 of the message, IV.A.2.b).
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Whether it has no value at all ("null dataspace").
    pub is_null: bool,
    /// Where the byte stands that says so.
    at: u64,
    /// The block of the header that it is in, where that ends with a checksum.
    block: Option<(u64, u64)>,
}

impl Space {
    /// The bytes that make it one of no value, and where they belong.
    pub fn emptied(&self, file: &dyn Bytes) -> std::io::Result<(u64, Vec<u8>)> {
        const NULL: u8 = 2;
        let Some((start, stop)) = self.block else { return Ok((self.at, vec![NULL])) };
        let mut block = vec![0; (stop - start) as usize];
        file.read_at(start, &mut block)?;
        block[(self.at - start) as usize] = NULL;
        let sum = checksum(&block);
        block.extend_from_slice(&sum.to_le_bytes());
        Ok((start, block))
    }
}

impl Links {
    /// The path of what `at` leads to, links followed; `None` for a circle.
    pub fn resolve(&self, at: &str) -> Option<String> {
        if self.targets.is_empty() {
            return Some(at.to_owned());
        }
        let mut rest: Vec<String> = at.rsplit('/').map(str::to_owned).collect();
        let mut here: Vec<String> = Vec::new();
        let mut hops = 0;
        while let Some(part) = rest.pop() {
            if part.is_empty() || part == "." {
                continue;
            }
            here.push(part);
            if let Some(Target::Soft(target)) = self.targets.get(&here.join("/")) {
                hops += 1;
                if hops > MOST_HOPS {
                    return None;
                }
                here.pop();
                if target.starts_with('/') {
                    here.clear();
                }
                rest.extend(target.rsplit('/').map(str::to_owned));
            }
        }
        Some(here.join("/"))
    }

    /// The names of the links in a group.
    pub fn in_group<'l>(&'l self, group: &str) -> impl Iterator<Item = &'l str> {
        let group = group.to_owned();
        self.targets.keys().filter_map(move |at| {
            let (parent, name) = at.rsplit_once('/').unwrap_or(("", at));
            (parent == group).then_some(name)
        })
    }
}

/// Finds the links of a file whose root group is at `root`. What cannot be read is left to the library to complain of.
pub(super) fn scan(file: Arc<dyn Bytes>, root: u64, offset_size: u8, length_size: u8) -> Links {
    let mut walk = Walk {
        end: file.len(),
        raw: Raw::new(file, MOST_TIMES),
        offset: usize::from(offset_size),
        length: usize::from(length_size),
        found: Links::default(),
    };
    let mut places = HashMap::from([(String::new(), root)]);
    let mut edges: Edges = HashMap::new();
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![(String::new(), root)];
    while let Some((at, address)) = waiting.pop() {
        let Some(children) = walk.group(&at, address) else { continue };
        for (name, child) in children {
            let at = if at.is_empty() { name } else { format!("{at}/{name}") };
            edges.entry(address).or_default().push((at.clone(), child));
            if seen.len() < MOST_GROUPS && seen.insert(child) {
                places.insert(at.clone(), child);
                waiting.push((at, child));
            }
        }
    }
    let mut found = walk.found;
    for at in found.targets.keys() {
        let parent = places.get(at.rsplit_once('/').map_or("", |(parent, _)| parent));
        if let (Some(&parent), Some(&to)) = (parent, found.resolve(at).and_then(|to| places.get(&to))) {
            edges.entry(parent).or_default().push((at.clone(), to));
        }
    }
    found.back = leads_back(root, &edges);
    found
}

/// The links of each object, and the objects that they lead to.
type Edges = HashMap<u64, Vec<(String, u64)>>;

/// A link to an object that it can be reached from.
fn leads_back(root: u64, edges: &Edges) -> Option<String> {
    // The way from the root to here, and which of its links each object on it tries next.
    let mut way = vec![(root, 0)];
    let (mut seen, mut on_way) = (HashSet::from([root]), HashSet::from([root]));
    while let Some((here, next)) = way.last_mut() {
        let link = edges.get(here).and_then(|links| links.get(*next));
        *next += 1;
        match link {
            Some((at, to)) if on_way.contains(to) => return Some(at.clone()),
            Some((_, to)) if seen.insert(*to) => {
                on_way.insert(*to);
                way.push((*to, 0));
            }
            Some(_) => {}
            None => {
                on_way.remove(here);
                way.pop();
            }
        }
    }
    None
}

/// The messages of an object's header that say what a group holds, and where the values of a dataset are.
#[derive(Default)]
struct Messages {
    symbol_tables: Vec<(u64, u64)>,
    links: Vec<Vec<u8>>,
    dense: Vec<(u64, u64)>,
    dims: Vec<u64>,
    most: Option<u64>,
    space: Option<Space>,
    layout: Option<Layout>,
}

struct Walk {
    raw: Raw,
    end: u64,
    offset: usize,
    length: usize,
    found: Links,
}

/// The objects that hard links of a group lead to.
type Children = Vec<(String, u64)>;

impl Walk {
    /// Walks one object: notes its links when it is a group, and gives its children; of a dataset, notes what to read in
    /// place of a layout.
    fn group(&mut self, at: &str, address: u64) -> Option<Children> {
        let messages = self.header(address)?;
        self.found.spaces.extend(messages.space.map(|space| (at.to_owned(), space)));
        if let Some(layout) = messages.layout {
            let layout = Layout { dims: messages.dims, most: messages.most, ..layout };
            if let Some(list) = virtual_list(&layout.data, self.offset) {
                self.found.virtual_sets.insert(at.to_owned(), list);
            }
            let widths = (self.offset, self.length);
            let patch = layout.patch(&mut self.raw, widths, self.end, &mut self.found.tail);
            self.found.patches.extend(patch);
        }
        let mut children = Children::new();
        for (tree, heap) in messages.symbol_tables {
            self.symbol_tables(at, tree, heap, &mut children);
        }
        for link in &messages.links {
            self.link(at, link, &mut children);
        }
        for (heap, tree) in messages.dense {
            if self.dense(at, heap, tree, &mut children).is_none() {
                self.found.unread.push(at.to_owned());
            }
        }
        Some(children)
    }

    fn note(&mut self, group: &str, name: &str, target: Target) {
        let at = if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") };
        self.found.targets.insert(at, target);
    }

    fn header(&mut self, address: u64) -> Option<Messages> {
        let mut out = Messages::default();
        let head = self.raw.bytes(address, 16).or_else(|_| self.raw.bytes(address, 12)).ok()?;
        let new = head.starts_with(b"OHDR");
        let (flags, first) = if new {
            let flags = *head.get(5)?;
            let before = 6 + if flags & 0x20 != 0 { 16 } else { 0 } + if flags & 0x10 != 0 { 4 } else { 0 };
            let width = 1u64 << (flags & 3);
            let size = little_endian(&self.raw.bytes(address + before, width).ok()?);
            (flags, (address + before + width, size))
        } else {
            (0, (address.checked_add(16)?, little_endian(head.get(8..12)?)))
        };
        // Each with where it begins as a whole, signature and all.
        let mut blocks = vec![(address, first)];
        let mut count = 0;
        while let Some((whole, (start, size))) = blocks.pop() {
            count += 1;
            if count > MOST_NODES {
                return None;
            }
            let bytes = self.raw.bytes(start, size).ok()?;
            let mut fields = Fields(&bytes);
            loop {
                let here = start + (bytes.len() - fields.0.len()) as u64;
                let message = if new {
                    fields.number(1).zip(fields.number(2)).zip(fields.take(if flags & 4 != 0 { 3 } else { 1 }))
                } else {
                    fields.number(2).zip(fields.number(2)).zip(fields.take(4))
                };
                let Some(((kind, wide), _)) = message else { break };
                let Some(data) = fields.take(wide as usize) else { break };
                let mut data = Fields(data);
                match kind {
                    0x01 => {
                        let (version, rank) = data.number(1).zip(data.number(1))?;
                        let before = match (new, flags & 4 != 0) {
                            (false, _) => 8,
                            (true, true) => 6,
                            (true, false) => 4,
                        };
                        if version == 2 && data.0.first().is_some_and(|flags| flags & 1 != 0) {
                            out.most = Some(here + before + 4 + rank * self.length as u64);
                        }
                        if version == 2 && rank == 0 {
                            let block = new.then_some((whole, start + size));
                            out.space =
                                Some(Space { is_null: data.0.get(1) == Some(&2), at: here + before + 3, block });
                        }
                        data.take(if version == 1 { 6 } else { 2 })?;
                        out.dims = (0..rank).map(|_| data.number(self.length)).collect::<Option<_>>()?;
                    }
                    0x08 if new => {
                        out.layout = Some(Layout {
                            at: here,
                            data_at: here + if flags & 4 != 0 { 6 } else { 4 },
                            data: data.0.to_vec(),
                            block: (whole, start + size),
                            ordered: flags & 4 != 0,
                            dims: Vec::new(),
                            most: None,
                        });
                    }
                    0x02 => {
                        let flags = data.take(2).map_or(0, |b| b[1]);
                        data.take(if flags & 1 != 0 { 8 } else { 0 });
                        let places = data.number(self.offset).zip(data.number(self.offset));
                        out.dense.extend(places.filter(|p| !self.undefined(p.0)));
                    }
                    0x06 => out.links.push(data.0.to_vec()),
                    0x10 => {
                        let (whole, size) = data.number(self.offset).zip(data.number(self.length))?;
                        // Blocks of the new format begin with a signature and end with a checksum.
                        let (skip, end) = if new { (4, 4) } else { (0, 0) };
                        blocks.push((whole, (whole.checked_add(skip)?, size.checked_sub(skip + end)?)));
                    }
                    0x11 => out.symbol_tables.extend(data.number(self.offset).zip(data.number(self.offset))),
                    _ => {}
                }
            }
        }
        Some(out)
    }

    fn undefined(&self, address: u64) -> bool {
        address == u64::MAX >> (64 - 8 * self.offset.clamp(1, 8))
    }

    /// A group of the old format: symbol tables at the leaves of a tree, names in a heap.
    fn symbol_tables(&mut self, at: &str, tree: u64, heap: u64, children: &mut Children) -> Option<()> {
        let head = self.raw.bytes(heap, (8 + 2 * self.length + self.offset) as u64).ok()?;
        let mut fields = Fields(&head);
        if fields.take(8)?.get(..4)? != b"HEAP" {
            return None;
        }
        let size = fields.number(self.length)?;
        fields.take(self.length)?;
        let names = self.raw.bytes(fields.number(self.offset)?, size).ok()?;
        let text = |from: u64| {
            let bytes = names.get(usize::try_from(from).ok()?..)?;
            let end = bytes.iter().position(|&b| b == 0)?;
            String::from_utf8(bytes[..end].to_vec()).ok()
        };
        let mut nodes = vec![tree];
        let mut seen = HashSet::new();
        while let Some(node) = nodes.pop() {
            if seen.len() > MOST_NODES || !seen.insert(node) {
                return None;
            }
            let head = self.raw.bytes(node, 8).ok()?;
            if head.starts_with(b"TREE") {
                let entries = little_endian(&head[6..8]);
                let wide = (self.offset + self.length) as u64;
                let body = self.raw.bytes(node + 8 + 2 * self.offset as u64, entries * wide).ok()?;
                let mut fields = Fields(&body);
                while let (Some(_), Some(child)) = (fields.number(self.length), fields.number(self.offset)) {
                    nodes.push(child);
                }
            } else if head.starts_with(b"SNOD") {
                let count = little_endian(&head[6..8]) as usize;
                let wide = 2 * self.offset + 24;
                let body = self.raw.bytes(node + 8, (count * wide) as u64).ok()?;
                let (mut kept, mut left) = (Vec::new(), 0u16);
                for entry in body.chunks_exact(wide) {
                    let mut fields = Fields(entry);
                    let (name, object) = (text(fields.number(self.offset)?)?, fields.number(self.offset)?);
                    self.raw.spend(name.len() as u64).ok()?;
                    let cached = fields.number(4)?;
                    if cached == 2 {
                        fields.take(4)?;
                        self.note(at, &name, Target::Soft(text(fields.number(4)?)?));
                        continue;
                    }
                    kept.extend_from_slice(entry);
                    left += 1;
                    children.push((name, object));
                }
                if usize::from(left) < count {
                    let mut table = [&head[..6], &left.to_le_bytes(), &kept].concat();
                    table.resize(8 + count * wide, 0);
                    self.found.patches.insert(node, table);
                }
            }
        }
        Some(())
    }

    /// A link message of a group of the new format.
    fn link(&mut self, at: &str, message: &[u8], children: &mut Children) -> Option<()> {
        let mut fields = Fields(message);
        let flags = fields.take(2)?[1];
        let kind = if flags & 8 != 0 { fields.number(1)? } else { 0 };
        fields.take(if flags & 4 != 0 { 8 } else { 0 } + usize::from(flags & 0x10 != 0))?;
        let length = fields.number(1 << (flags & 3))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let name = text(fields.take(usize::try_from(length).ok()?)?)?;
        match kind {
            0 => children.push((name, fields.number(self.offset)?)),
            1 => {
                let length = fields.number(2)? as usize;
                self.note(at, &name, Target::Soft(text(fields.take(length)?)?));
            }
            64 => {
                let length = fields.number(2)? as usize;
                let mut parts = fields.take(length)?.get(1..)?.split(|&b| b == 0);
                let (file, path) = (text(parts.next()?)?, text(parts.next()?)?);
                self.note(at, &name, Target::External { file, path });
            }
            _ => {}
        }
        Some(())
    }

    /// A group with many links: messages in a fractal heap, found through a tree of their names.
    fn dense(&mut self, at: &str, heap: u64, tree: u64, children: &mut Children) -> Option<()> {
        let mut heap = Heap::read(&mut self.raw, heap, self.offset, self.length)?;
        let (records, record) = btree2::records(&mut self.raw, tree, self.offset, self.length)?;
        // A hash of the name, and the number of the message in the heap.
        if record <= 5 + heap.offset_bytes {
            return None;
        }
        for record in records.chunks_exact(record) {
            let message = heap.object(&mut self.raw, &record[4..])?;
            self.link(at, &message, children)?;
        }
        Some(())
    }
}

/// A fractal heap (III.G): objects in blocks, which double in size from row to row of a table. A table may lead to tables.
struct Heap {
    /// Bytes of an address.
    offset: usize,
    /// Bytes of a place in the heap, which its blocks begin with too.
    offset_bytes: usize,
    width: u64,
    smallest: u64,
    largest: u64,
    root: u64,
    /// Rows of the table at the root; 0 where the root is a block of objects.
    rows: u64,
    /// Tables that were read: the addresses of what they lead to.
    tables: HashMap<u64, Vec<u64>>,
}

impl Heap {
    fn read(raw: &mut Raw, address: u64, offset: usize, length: usize) -> Option<Heap> {
        let head = raw.bytes(address, (4 + 1 + 2 + 2 + 1 + 4 + 12 * length + 3 * offset + 10) as u64).ok()?;
        let mut fields = Fields(&head);
        if fields.take(4)? != b"FRHP" {
            return None;
        }
        fields.take(1 + 2)?;
        let filters = fields.number(2)?;
        fields.take(1 + 4 + length + offset + length + offset + 8 * length)?;
        let width = fields.number(2)?;
        let (smallest, largest) = (fields.number(length)?, fields.number(length)?);
        let offset_bytes = (fields.number(2)? as usize).div_ceil(8);
        fields.take(2)?;
        let (root, rows) = (fields.number(offset)?, fields.number(2)?);
        let sizes = width > 0 && smallest.is_power_of_two() && largest.is_power_of_two() && smallest <= largest;
        (sizes && filters == 0 && offset_bytes <= 8).then(|| Heap {
            offset,
            offset_bytes,
            width,
            smallest,
            largest,
            root,
            rows,
            tables: HashMap::new(),
        })
    }

    /// The size of a block of that row.
    fn size(&self, row: u64) -> Option<u64> {
        self.smallest.checked_mul(1u64.checked_shl(u32::try_from(row.saturating_sub(1)).ok()?)?)
    }

    /// The object of that number: a byte of flags, its place and its length. Only those within blocks are read.
    fn object(&mut self, raw: &mut Raw, id: &[u8]) -> Option<Vec<u8>> {
        let mut fields = Fields(id);
        if fields.number(1)? & 0x30 != 0 {
            return None;
        }
        let mut place = fields.number(self.offset_bytes)?;
        let size = little_endian(fields.0.get(..fields.0.len().min(8))?);
        let (mut table, mut rows) = (self.root, self.rows);
        while rows > 0 {
            // Rows of blocks of objects; those after them lead to tables.
            let direct = u64::from((self.largest / self.smallest).ilog2()) + 2;
            let mut row = 0;
            loop {
                let whole = self.size(row)?.checked_mul(self.width)?;
                if place < whole {
                    break;
                }
                place -= whole;
                row += 1;
            }
            if row >= rows {
                return None;
            }
            let size = self.size(row)?;
            let entry = row * self.width + place / size;
            let child = *self.table(raw, table, rows)?.get(usize::try_from(entry).ok()?)?;
            (table, place) = (child, place % size);
            // A table that covers as much as a block of that row would: its rows up to where they add up to it.
            rows = if row < direct {
                0
            } else {
                u64::from((size / self.smallest.checked_mul(self.width)?).checked_ilog2()?) + 1
            };
        }
        raw.bytes(table.checked_add(place)?, size).ok()
    }

    /// What a table leads to: a signature, a version, the heap's address and the table's place come before.
    fn table(&mut self, raw: &mut Raw, address: u64, rows: u64) -> Option<&Vec<u64>> {
        if !self.tables.contains_key(&address) {
            let before = 5 + self.offset + self.offset_bytes;
            let count = (rows * self.width).checked_mul(self.offset as u64)?;
            let bytes = raw.bytes(address, count.checked_add(before as u64)?).ok()?;
            if !bytes.starts_with(b"FHIB") {
                return None;
            }
            let children = bytes[before..].chunks_exact(self.offset).map(little_endian).collect();
            self.tables.insert(address, children);
        }
        self.tables.get(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_back_is_found_and_two_ways_to_one_object_are_none() {
        let edges = |list: &[(u64, &str, u64)]| {
            list.iter().fold(Edges::new(), |mut edges, &(from, at, to)| {
                edges.entry(from).or_default().push((at.to_owned(), to));
                edges
            })
        };
        let tree = [(0, "a", 1), (0, "b", 2), (1, "a/c", 3), (2, "b/c", 3), (0, "d", 3)];
        assert_eq!(leads_back(0, &edges(&tree)), None);
        for (from, to) in [(3, 3), (3, 0), (3, 1)] {
            let back = [&tree[..], &[(from, "x", to)]].concat();
            assert_eq!(leads_back(0, &edges(&back)).as_deref(), Some("x"), "{from} to {to}");
        }
    }

    #[test]
    fn paths_are_followed_through_links_but_not_in_circles() {
        let soft = |target: &str| Target::Soft(target.to_owned());
        let targets = [("a", "/b/c"), ("b/c/up", "../x"), ("b/rel", "c/d"), ("l", "m"), ("m", "l")];
        let links = Links {
            targets: targets.iter().map(|(at, to)| ((*at).to_owned(), soft(to))).collect(),
            ..Links::default()
        };
        assert_eq!(links.resolve("a/z").as_deref(), Some("b/c/z"));
        assert_eq!(links.resolve("b/rel").as_deref(), Some("b/c/d"));
        assert_eq!(links.resolve("plain").as_deref(), Some("plain"));
        // HDF5 has no `..`: it is a name like any other.
        assert_eq!(links.resolve("b/c/up").as_deref(), Some("b/c/../x"));
        assert_eq!(links.resolve("l"), None);
        assert_eq!(links.in_group("b").collect::<Vec<_>>(), ["rel"]);
    }
}
