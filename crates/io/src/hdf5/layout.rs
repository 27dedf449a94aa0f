//! Layouts of values that `hdf5-pure` does not know, made into ones that it does.
//!
//! The layout message of a dataset (HDF5 File Format Specification 3.0, IV.A.2.i) says where its values are. Version 5
//! (HDF5 2.0) differs from version 4 only in the width of a chunk's size within its indices, which those say themselves:
//! the number is changed to 4. Chunks found through a version 2 B-tree (several axes that can grow) get an index of the old
//! kind instead, a version 1 B-tree, which stands after the end of the file as the library sees it; the message is
//! replaced by one that leads there. Such a dataset reads as one that cannot grow, since no copy of it could be made to
//! grow along several axes. Nothing of the file itself changes.

use super::btree2;
use super::checksum::checksum;
use super::raw::{Fields, Raw};

/// Most entries of a node that is made.
const NODE: usize = 1 << 12;
/// Bits of a filter mask: none of the filters was applied.
const UNFILTERED: u32 = u32::MAX;

/// A layout message, and where it stands.
pub(super) struct Layout {
    /// Where the message begins, with its type.
    pub at: u64,
    /// Where its data begins.
    pub data_at: u64,
    pub data: Vec<u8>,
    /// The block of the header that it stands in, without the checksum after it.
    pub block: (u64, u64),
    /// Whether messages bear the order in which they were made.
    pub ordered: bool,
    /// The shape of the dataset.
    pub dims: Vec<u64>,
    /// Where it stands how long each axis may become, if it does.
    pub most: Option<u64>,
}

/// Where the values of a virtual dataset are listed: the address of a collection in the global heap, and the number within.
pub(super) fn virtual_list(data: &[u8], offset: usize) -> Option<(u64, u32)> {
    let mut fields = Fields(data);
    let (version, class) = (fields.number(1)?, fields.number(1)?);
    if !matches!(version, 4 | 5) || class != 3 {
        return None;
    }
    Some((fields.number(offset)?, fields.number(4)? as u32))
}

impl Layout {
    /// The block of the header as the library is to read it, and where it belongs; what it leads to is added to `tail`, which
    /// stands at `end`. `None` where nothing has to change, or the structures are not as they should be.
    pub fn patch(
        &self,
        raw: &mut Raw,
        (offset, length): (usize, usize),
        end: u64,
        tail: &mut Vec<u8>,
    ) -> Option<(u64, Vec<u8>)> {
        let (&version, &class) = (self.data.first()?, self.data.get(1)?);
        if !matches!(version, 4 | 5) {
            return None;
        }
        let tree = if class == 2 { self.tree(raw, offset, length) } else { None };
        if version == 4 && tree.is_none() {
            return None;
        }
        let (start, stop) = self.block;
        let mut block = raw.bytes(start, (stop - start).checked_add(4)?).ok()?;
        let sum = block.split_off((stop - start) as usize);
        // What is damaged must not pass for sound.
        if checksum(&block).to_le_bytes() != sum[..] {
            return None;
        }
        match tree {
            None => block[(self.data_at - start) as usize] = 4,
            Some(tree) => {
                if let Some(most) = self.most.filter(|at| (start..stop).contains(at)) {
                    let dims: Vec<u8> =
                        self.dims.iter().flat_map(|dim| dim.to_le_bytes().into_iter().take(length)).collect();
                    let from = (most - start) as usize;
                    block.get_mut(from..from + dims.len())?.copy_from_slice(&dims);
                }
                let root = tree.write(end, tail, offset)?;
                let message = tree.message(root, offset);
                let more = self.continued(&message);
                let at = end + tail.len() as u64;
                tail.extend_from_slice(&more);
                // A message that says where the header goes on takes less room than any layout in chunks.
                let leads = [&at.to_le_bytes()[..offset], &(more.len() as u64).to_le_bytes()[..length]].concat();
                block[(self.at - start) as usize] = 0x10;
                let data = (self.data_at - start) as usize;
                block
                    .get_mut(data..data + leads.len())
                    .filter(|_| leads.len() <= self.data.len())?
                    .copy_from_slice(&leads);
            }
        }
        let sum = checksum(&block);
        block.extend_from_slice(&sum.to_le_bytes());
        Some((start, block))
    }

    /// A block of a header with one message, a layout.
    fn continued(&self, message: &[u8]) -> Vec<u8> {
        let mut out = b"OCHK\x08".to_vec();
        out.extend_from_slice(&(message.len() as u16).to_le_bytes());
        out.resize(if self.ordered { 10 } else { 8 }, 0);
        out.extend_from_slice(message);
        let sum = checksum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// The chunks that a version 2 B-tree lists; `None` where there is no such tree.
    fn tree(&self, raw: &mut Raw, offset: usize, length: usize) -> Option<Tree> {
        let mut fields = Fields(self.data.get(2..)?);
        let (flags, axes, width) = (fields.number(1)?, fields.number(1)? as usize, fields.number(1)? as usize);
        let chunk: Option<Vec<u64>> = (0..axes).map(|_| fields.number(width)).collect();
        let (chunk, index) = (chunk?, fields.number(1)?);
        if index != 5 || axes != self.dims.len() + 1 || chunk.contains(&0) {
            return None;
        }
        fields.take(4 + 1 + 1)?;
        let address = fields.number(offset)?;
        let size = chunk.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).and_then(|n| u32::try_from(n).ok())?;
        let mut chunks = Vec::new();
        // A dataset of no chunk has no tree.
        if address != u64::MAX >> (64 - 8 * offset.clamp(1, 8)) {
            let (records, record) = btree2::records(raw, address, offset, length)?;
            // A record is an address, of packed chunks a size and a mask of filters, and the place of the chunk.
            let packed = record.checked_sub(offset + 8 * self.dims.len())?;
            for record in records.chunks_exact(record) {
                let mut fields = Fields(record);
                let address = fields.number(offset)?;
                let (mut stored, mut mask) = (size, 0);
                if packed > 4 {
                    (stored, mask) = (u32::try_from(fields.number(packed - 4)?).ok()?, fields.number(4)? as u32);
                }
                let mut at = Vec::with_capacity(axes);
                for (&dim, &length) in self.dims.iter().zip(&chunk) {
                    let from = fields.number(8)?.checked_mul(length)?;
                    if flags & 1 != 0 && from.checked_add(length).is_none_or(|to| to > dim) {
                        mask = UNFILTERED;
                    }
                    at.push(from);
                }
                at.push(0);
                chunks.push(Chunk { address, size: stored, mask, at });
            }
        }
        Some(Tree { chunk, chunks })
    }
}

/// Where a chunk is and what it holds.
#[derive(Clone)]
struct Chunk {
    address: u64,
    size: u32,
    mask: u32,
    /// Its first element, and a zero.
    at: Vec<u64>,
}

impl Chunk {
    fn key(&self) -> Vec<u8> {
        let mut out = [self.size.to_le_bytes(), self.mask.to_le_bytes()].concat();
        self.at.iter().for_each(|at| out.extend_from_slice(&at.to_le_bytes()));
        out
    }
}

/// The chunks of a dataset in order.
struct Tree {
    /// The length of a chunk along each axis, and the bytes of an element.
    chunk: Vec<u64>,
    chunks: Vec<Chunk>,
}

impl Tree {
    /// Writes a version 1 B-tree (III.A.1) of them, and says where its root is; of no chunk, none.
    fn write(&self, end: u64, tail: &mut Vec<u8>, offset: usize) -> Option<u64> {
        let Some(last) = self.chunks.last() else { return Some(u64::MAX) };
        // The key after the last: past every chunk.
        let past = Chunk { size: 0, mask: 0, at: last.at.iter().map(|_| u64::MAX).collect(), ..last.clone() };
        let mut below: Vec<(Vec<u8>, u64)> = self.chunks.iter().map(|c| (c.key(), c.address)).collect();
        for level in 0u8.. {
            let mut nodes = Vec::with_capacity(below.len().div_ceil(NODE));
            for (i, entries) in below.chunks(NODE).enumerate() {
                let at = end.checked_add(tail.len() as u64)?;
                tail.extend_from_slice(b"TREE\x01");
                tail.push(level);
                tail.extend_from_slice(&(entries.len() as u16).to_le_bytes());
                tail.resize(tail.len() + 2 * offset, 0xff);
                for (key, address) in entries {
                    tail.extend_from_slice(key);
                    tail.extend_from_slice(&address.to_le_bytes()[..offset]);
                }
                let next = below.get((i + 1) * NODE).map_or_else(|| past.key(), |(key, _)| key.clone());
                tail.extend_from_slice(&next);
                nodes.push((entries[0].0.clone(), at));
            }
            if let [(_, root)] = nodes[..] {
                return Some(root);
            }
            below = nodes;
        }
        None
    }

    /// A layout message of version 3 that leads to the tree.
    fn message(&self, root: u64, offset: usize) -> Vec<u8> {
        let mut out = vec![3, 2, self.chunk.len() as u8];
        out.extend_from_slice(&root.to_le_bytes()[..offset]);
        self.chunk.iter().for_each(|&length| out.extend_from_slice(&(length as u32).to_le_bytes()));
        out
    }
}
