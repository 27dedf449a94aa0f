//! Variable-length text inside records.
//!
//! `hdf5-pure` resolves variable-length text of whole datasets, not that of fields of records
//! (which is how scanpy's ranked genes are stored). A field holds a length, the address of a
//! collection in the file's global heap, and a number within it; a collection is a header of
//! `GCOL`, version 1, and its size, followed by numbered objects, each padded to 8 bytes
//! (HDF5 File Format Specification 3.0, III.E).

use std::collections::HashMap;
use std::sync::Arc;

use super::raw::{Raw, little_endian};
use crate::input::Bytes;

/// Most times that the file is read over for texts: many references may lead to one long text.
const MOST_TIMES: u64 = 1024;

/// Reads objects of the global heap, each collection once.
pub(super) struct Heap {
    raw: Raw,
    base: u64,
    offset_size: usize,
    length_size: usize,
    collections: HashMap<u64, HashMap<u32, Vec<u8>>>,
}

impl Heap {
    pub fn new(file: Arc<dyn Bytes>, base: u64, offset_size: u8, length_size: u8) -> Heap {
        Heap {
            raw: Raw::new(file, MOST_TIMES),
            base,
            offset_size: usize::from(offset_size),
            length_size: usize::from(length_size),
            collections: HashMap::new(),
        }
    }

    /// Bytes of one reference as stored in a field.
    pub fn reference_size(&self) -> usize {
        4 + self.offset_size + 4
    }

    /// The text a reference points at; empty for a null reference.
    pub fn text(&mut self, reference: &[u8]) -> Result<String, String> {
        let length = little_endian(reference.get(..4).ok_or("a reference is cut short")?) as usize;
        let address = little_endian(&reference[4..4 + self.offset_size]);
        let number = little_endian(&reference[4 + self.offset_size..]) as u32;
        if length == 0 || address == 0 {
            return Ok(String::new());
        }
        let bytes = self.object(address, number)?.get(..length).ok_or("a text is longer than its heap object")?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())?;
        self.raw.spend(length as u64)?;
        Ok(text)
    }

    /// The bytes of one object of a collection.
    pub fn object(&mut self, address: u64, number: u32) -> Result<&[u8], String> {
        if !self.collections.contains_key(&address) {
            let collection = self.collection(address)?;
            self.collections.insert(address, collection);
        }
        let object = self.collections[&address].get(&number);
        object.map(Vec::as_slice).ok_or_else(|| format!("the global heap at {address} has no object {number}"))
    }

    fn collection(&mut self, address: u64) -> Result<HashMap<u32, Vec<u8>>, String> {
        let bad = |what: &str| format!("global heap at {address}: {what}");
        let start = address.checked_add(self.base).ok_or_else(|| bad("address out of range"))?;
        let head_len = 8 + self.length_size;
        let head = self.raw.bytes(start, head_len as u64).map_err(|e| bad(&e))?;
        if &head[..4] != b"GCOL" || head[4] != 1 {
            return Err(bad("no collection there"));
        }
        let size = little_endian(&head[8..]);
        let body = self.raw.bytes(start, size).map_err(|e| bad(&e))?;
        let mut objects = HashMap::new();
        let mut at = head_len;
        // An object: number (2 bytes), references (2), reserved (4), size, bytes up to a multiple of 8.
        while at + head_len <= body.len() {
            let number = little_endian(&body[at..at + 2]) as u32;
            if number == 0 {
                break;
            }
            let size = little_endian(&body[at + 8..at + head_len]) as usize;
            let from = at + head_len;
            let to = from.checked_add(size).filter(|&to| to <= body.len()).ok_or_else(|| bad("object too long"))?;
            objects.insert(number, body[from..to].to_vec());
            at = from + size.div_ceil(8) * 8;
        }
        Ok(objects)
    }
}
