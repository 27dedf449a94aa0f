//! Bytes as the library reads them: some of them read as others, and some more after their end.

use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use hdf5_pure::{FormatError, Source};

use crate::input::Bytes;

#[derive(Clone)]
pub(super) struct Patched {
    pub bytes: Arc<dyn Bytes>,
    pub patches: BTreeMap<u64, Vec<u8>>,
    pub tail: Vec<u8>,
}

impl Patched {
    /// Whether the file has something in other words.
    pub fn differs(&self) -> bool {
        !self.patches.is_empty()
    }

    /// Writes all of it but some stretches, which are in order: nothing is written there, and they read as zeros.
    pub fn write_to(&self, out: &mut (impl Write + Seek), without: &[Range<u64>]) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        let mut without = without.iter().peekable();
        while at < Source::len(self) {
            if let Some(hole) = without.next_if(|hole| hole.start <= at) {
                // The last byte makes the length.
                let end = hole.end.min(Source::len(self) - 1);
                if end > at {
                    at = out.seek(SeekFrom::Start(end))?;
                }
                continue;
            }
            let end = without.peek().map_or(Source::len(self), |hole| hole.start.min(Source::len(self)));
            let n = (end - at).min(buffer.len() as u64);
            let part = &mut buffer[..n as usize];
            self.read_at(at, part).map_err(|e| io::Error::other(e.to_string()))?;
            out.write_all(part)?;
            at += n;
        }
        out.flush()
    }
}

impl Source for Patched {
    fn len(&self) -> u64 {
        self.bytes.len() + self.tail.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        let length = buffer.len() as u64;
        let end = offset.checked_add(length).ok_or(FormatError::OffsetOverflow { offset, length })?;
        if end > self.len() {
            return Err(FormatError::UnexpectedEof { expected: end as usize, available: self.len() as usize });
        }
        let file = self.bytes.len();
        let (within, after) = buffer.split_at_mut((file.clamp(offset, end) - offset) as usize);
        if !within.is_empty() {
            self.bytes.read_at(offset, within).map_err(|e| FormatError::Source(e.to_string()))?;
        }
        if !after.is_empty() {
            let from = (offset.max(file) - file) as usize;
            after.copy_from_slice(&self.tail[from..from + after.len()]);
        }
        // No two patches overlap: each is a structure of the file.
        for (&start, patch) in self.patches.range(..end).rev() {
            let (from, to) = (start.max(offset), (start + patch.len() as u64).min(end));
            if from >= to {
                break;
            }
            let patch = &patch[(from - start) as usize..(to - start) as usize];
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(patch);
        }
        Ok(())
    }
}
