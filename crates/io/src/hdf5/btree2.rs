//! Version 2 B-trees: sorted records of one length (HDF5 File Format Specification 3.0, III.A.2).
//!
//! The header (`BTHD`) has the size of a node, the length of a record and the depth. A node is a signature, a version, a
//! type, its records, in nodes above the leaves (`BTIN`, else `BTLF`) a pointer before, between and after them, and a
//! checksum. A pointer is an address, the number of records of that node and, two levels above the leaves and higher,
//! the number of records below it; these numbers have as many bytes as the most that fits asks for.

use super::checksum::checksum;
use super::raw::{Fields, Raw, little_endian};

/// Most nodes of one tree.
const MOST_NODES: usize = 1 << 20;
/// Signature, version and type before the records of a node, a checksum after them.
const HEAD: usize = 6;
const END: usize = 4;

/// The records of the tree at `address`, in order, one after the other, and the length of one. `None` where it is damaged.
pub(super) fn records(raw: &mut Raw, address: u64, offset: usize, length: usize) -> Option<(Vec<u8>, usize)> {
    let size = 16 + offset + 2 + length;
    let head = raw.bytes(address, (size + END) as u64).ok()?;
    if !head.starts_with(b"BTHD") || u64::from(checksum(&head[..size])) != little_endian(&head[size..]) {
        return None;
    }
    let mut fields = Fields(&head[6..]);
    let node = fields.number(4)? as usize;
    let record = fields.number(2)? as usize;
    let depth = fields.number(2)? as usize;
    fields.take(2)?;
    let (root, count) = (fields.number(offset)?, fields.number(2)? as usize);
    if record == 0 || node <= HEAD + END + record {
        return None;
    }
    // By level, from the leaves up: the bytes of a pointer to a node of that level. No depth that a file can have fills
    // sixty-four bits.
    let most_in_leaf = (node - HEAD - END) / record;
    let count_bytes = bytes_of(most_in_leaf as u64);
    let (mut below, mut below_bytes) = (most_in_leaf as u64, 0);
    let mut pointers = Vec::with_capacity(depth.min(64));
    for _ in 0..depth {
        let pointer = offset + count_bytes + below_bytes;
        let most = (node - HEAD - END).checked_sub(pointer)? / (record + pointer);
        pointers.push((pointer, below_bytes));
        below = (most as u64).checked_add(1)?.checked_mul(below)?.checked_add(most as u64)?;
        below_bytes = bytes_of(below);
    }
    let mut tree = Tree { raw, node, record, offset, count_bytes, pointers, out: Vec::new(), nodes: 0 };
    if count > 0 {
        tree.walk(root, count, depth)?;
    }
    Some((tree.out, record))
}

/// The bytes that numbers up to `most` take.
fn bytes_of(most: u64) -> usize {
    most.max(1).ilog2() as usize / 8 + 1
}

struct Tree<'r> {
    raw: &'r mut Raw,
    node: usize,
    record: usize,
    offset: usize,
    count_bytes: usize,
    pointers: Vec<(usize, usize)>,
    out: Vec<u8>,
    nodes: usize,
}

impl Tree<'_> {
    fn walk(&mut self, address: u64, count: usize, level: usize) -> Option<()> {
        self.nodes += 1;
        let inner = level.checked_sub(1).map(|below| self.pointers[below]);
        let pointers = inner.map_or(0, |(pointer, _)| pointer * (count + 1));
        let end = HEAD + self.record.checked_mul(count)?.checked_add(pointers)?;
        if self.nodes > MOST_NODES || end + END > self.node {
            return None;
        }
        let bytes = self.raw.bytes(address, (end + END) as u64).ok()?;
        let signature: &[u8] = if inner.is_some() { b"BTIN" } else { b"BTLF" };
        if !bytes.starts_with(signature) || u64::from(checksum(&bytes[..end])) != little_endian(&bytes[end..]) {
            return None;
        }
        let mut fields = Fields(&bytes[HEAD..end]);
        let records = fields.take(self.record * count)?;
        let Some((_, below_bytes)) = inner else {
            self.out.extend_from_slice(records);
            return Some(());
        };
        let mut records = records.chunks_exact(self.record);
        for _ in 0..=count {
            let (child, held) = (fields.number(self.offset)?, fields.number(self.count_bytes)?);
            fields.take(below_bytes)?;
            self.walk(child, held as usize, level - 1)?;
            self.out.extend_from_slice(records.next().unwrap_or_default());
        }
        Some(())
    }
}
