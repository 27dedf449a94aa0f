//! Bytes as the library reads them, some of them read as others.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdf5_pure::{FormatError, Source};

use crate::input::Bytes;

pub(super) struct Patched {
    pub bytes: Arc<dyn Bytes>,
    pub patches: BTreeMap<u64, Vec<u8>>,
}

impl Source for Patched {
    fn len(&self) -> u64 {
        self.bytes.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        let length = buffer.len() as u64;
        let end = offset.checked_add(length).ok_or(FormatError::OffsetOverflow { offset, length })?;
        if end > self.bytes.len() {
            return Err(FormatError::UnexpectedEof { expected: end as usize, available: self.bytes.len() as usize });
        }
        self.bytes.read_at(offset, buffer).map_err(|e| FormatError::Source(e.to_string()))?;
        for (&start, patch) in self.patches.range(..end) {
            let (from, to) = (start.max(offset), (start + patch.len() as u64).min(end));
            if from < to {
                let patch = &patch[(from - start) as usize..(to - start) as usize];
                buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(patch);
            }
        }
        Ok(())
    }
}
