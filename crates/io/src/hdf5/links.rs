//! Soft and external links, which `hdf5-pure` passes over or stumbles on.
//!
//! A file's groups are walked once, by their structures on disk (HDF5 File Format Specification 3.0, III.A–C, IV.A.2.c,
//! g and r). In groups of the old format a soft link is an entry of a symbol table without an object: [`Links::patches`]
//! are those tables without such entries, for the library to read in their place. Soft links are followed by path, as
//! HDF5 follows them; external ones, which lead to other files, are only told of.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

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

/// The links of a file, and what to read in place of symbol tables that hold some.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By their own path.
    pub targets: BTreeMap<String, Target>,
    /// Bytes by where they belong in the file.
    pub patches: BTreeMap<u64, Vec<u8>>,
    /// Groups with links that could not be looked through.
    pub unread: Vec<String>,
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
        raw: Raw::new(file, MOST_TIMES),
        offset: usize::from(offset_size),
        length: usize::from(length_size),
        found: Links::default(),
    };
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![(String::new(), root)];
    while let Some((at, address)) = waiting.pop() {
        let Some(children) = walk.group(&at, address) else { continue };
        for (name, child) in children {
            if seen.len() < MOST_GROUPS && seen.insert(child) {
                let at = if at.is_empty() { name } else { format!("{at}/{name}") };
                waiting.push((at, child));
            }
        }
    }
    walk.found
}

/// The messages of an object's header that say what a group holds.
#[derive(Default)]
struct GroupMessages {
    symbol_tables: Vec<(u64, u64)>,
    links: Vec<Vec<u8>>,
    dense: Vec<(u64, u64)>,
}

struct Walk {
    raw: Raw,
    offset: usize,
    length: usize,
    found: Links,
}

/// The objects that hard links of a group lead to.
type Children = Vec<(String, u64)>;

impl Walk {
    /// Walks one object: notes its links when it is a group, and gives its children.
    fn group(&mut self, at: &str, address: u64) -> Option<Children> {
        let messages = self.header(address)?;
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

    fn header(&mut self, address: u64) -> Option<GroupMessages> {
        let mut out = GroupMessages::default();
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
        let mut blocks = vec![first];
        let mut count = 0;
        while let Some((start, size)) = blocks.pop() {
            count += 1;
            if count > MOST_NODES {
                return None;
            }
            let bytes = self.raw.bytes(start, size).ok()?;
            let mut fields = Fields(&bytes);
            loop {
                let message = if new {
                    fields.number(1).zip(fields.number(2)).zip(fields.take(if flags & 4 != 0 { 3 } else { 1 }))
                } else {
                    fields.number(2).zip(fields.number(2)).zip(fields.take(4))
                };
                let Some(((kind, size), _)) = message else { break };
                let Some(data) = fields.take(size as usize) else { break };
                let mut data = Fields(data);
                match kind {
                    0x02 => {
                        let flags = data.take(2).map_or(0, |b| b[1]);
                        data.take(if flags & 1 != 0 { 8 } else { 0 });
                        let places = data.number(self.offset).zip(data.number(self.offset));
                        out.dense.extend(places.filter(|p| !self.undefined(p.0)));
                    }
                    0x06 => out.links.push(data.0.to_vec()),
                    0x10 => {
                        let (start, size) = data.number(self.offset).zip(data.number(self.length))?;
                        // Blocks of the new format begin with a signature and end with a checksum.
                        let (skip, end) = if new { (4, 4) } else { (0, 0) };
                        blocks.push((start.checked_add(skip)?, size.checked_sub(skip + end)?));
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

    /// A group with many links: messages in a fractal heap, found through a tree of their names. Trees and heaps of
    /// one block are read.
    fn dense(&mut self, at: &str, heap: u64, tree: u64, children: &mut Children) -> Option<()> {
        let (offset, length) = (self.offset, self.length);
        let head = self.raw.bytes(heap, (4 + 1 + 2 + 2 + 1 + 4 + 12 * length + 3 * offset + 10) as u64).ok()?;
        let mut fields = Fields(&head);
        if fields.take(4)? != b"FRHP" {
            return None;
        }
        fields.take(1)?;
        let id_length = fields.number(2)? as usize;
        fields.take(2 + 1 + 4 + length + offset + length + offset + 8 * length)?;
        fields.take(2)?;
        fields.take(2 * length)?;
        let offset_bytes = (fields.number(2)? as usize).div_ceil(8);
        fields.take(2)?;
        let (root, rows) = (fields.number(offset)?, fields.number(2)?);

        let head = self.raw.bytes(tree, (16 + offset + 2 + length) as u64).ok()?;
        if !head.starts_with(b"BTHD") {
            return None;
        }
        let (record, depth) = (little_endian(&head[10..12]) as usize, little_endian(&head[12..14]));
        let leaf = little_endian(&head[16..16 + offset]);
        let count = little_endian(&head[16 + offset..18 + offset]) as usize;
        if rows != 0 || depth != 0 || record != 4 + id_length || id_length <= 1 + offset_bytes {
            return None;
        }
        let records = self.raw.bytes(leaf.checked_add(6)?, (count * record) as u64).ok()?;
        for record in records.chunks_exact(record) {
            let id = &record[5..];
            let (start, size) = (little_endian(&id[..offset_bytes]), little_endian(&id[offset_bytes..]));
            let message = self.raw.bytes(root.checked_add(start)?, size).ok()?;
            self.link(at, &message, children)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
