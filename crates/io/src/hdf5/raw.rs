//! Bytes of a file, where it says that structures are: never past its end, never more than it has.

use std::sync::Arc;

use crate::input::Bytes;

/// The bytes of a file.
pub(super) struct Raw {
    file: Arc<dyn Bytes>,
    /// Bytes that may still be read: structures can share their parts, and a small file ask for a thousand times itself.
    budget: u64,
}

impl Raw {
    /// So many times the file may be read, and some more, and no more than that.
    pub fn new(file: Arc<dyn Bytes>, times: u64) -> Raw {
        let budget = file.len().saturating_mul(times).saturating_add(1 << 20);
        Raw { file, budget }
    }

    /// Counts bytes that are kept as if they were read.
    pub fn spend(&mut self, bytes: u64) -> Result<(), String> {
        self.budget = self.budget.checked_sub(bytes).ok_or("its parts are read too often")?;
        Ok(())
    }

    /// So many bytes from there.
    pub fn bytes(&mut self, start: u64, len: u64) -> Result<Vec<u8>, String> {
        if start.checked_add(len).is_none_or(|end| end > self.file.len()) {
            return Err("runs past the end of the file".to_owned());
        }
        self.spend(len)?;
        let mut out = vec![0; len as usize];
        self.file.read_at(start, &mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }
}

/// A number as HDF5 stores it: the least byte first.
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| (n << 8) | u64::from(b))
}

/// Reads numbers and stretches of bytes one after the other.
pub(super) struct Fields<'b>(pub &'b [u8]);

impl<'b> Fields<'b> {
    pub fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    pub fn number(&mut self, bytes: usize) -> Option<u64> {
        self.take(bytes).map(little_endian)
    }
}
