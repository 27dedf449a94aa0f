//! A file with some of its bytes read as others.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use hdf5_pure::{FormatError, ReadSeekSource, Source};

pub(super) struct Patched {
    file: ReadSeekSource<File>,
    patches: BTreeMap<u64, Vec<u8>>,
}

impl Patched {
    pub fn open(path: &Path, patches: BTreeMap<u64, Vec<u8>>) -> Result<Patched, hdf5_pure::Error> {
        let file = File::open(path).map_err(hdf5_pure::Error::Io)?;
        Ok(Patched { file: ReadSeekSource::new(file)?, patches })
    }
}

impl Source for Patched {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        self.file.read_at(offset, buffer)?;
        let end = offset + buffer.len() as u64;
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
