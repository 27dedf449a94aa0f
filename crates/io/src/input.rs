//! What is read: a file, or bytes that lie elsewhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

/// Something to read: the path of a file, bytes in memory, or whatever can be read and sought in.
///
/// Every reader of this crate takes one; a path becomes one by itself. What is not a file has a name all the same: messages
/// say it, and formats that are told by the ending of a name (tables, gene sets) are told by it.
///
/// # Example
/// ```no_run
/// use scgraft_io::{Input, ReadOptions, read_cells};
/// let upload: Vec<u8> = std::fs::read("pbmc.h5ad")?;
/// let cells = read_cells(Input::bytes("pbmc.h5ad", upload), &ReadOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Input {
    name: PathBuf,
    bytes: Option<Arc<dyn Bytes>>,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("name", &self.name).field("is_file", &self.bytes.is_none()).finish()
    }
}

impl<P: AsRef<Path>> From<P> for Input {
    fn from(path: P) -> Input {
        Input { name: path.as_ref().to_owned(), bytes: None }
    }
}

impl Input {
    /// Bytes in memory, under a name.
    pub fn bytes(name: impl AsRef<Path>, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Input {
        Input { name: name.as_ref().to_owned(), bytes: Some(Arc::new(Held(bytes))) }
    }

    /// Whatever can be read and sought in, under a name. It is read from its start, wherever it stands.
    ///
    /// # Errors
    /// When its end cannot be sought.
    pub fn reader(name: impl AsRef<Path>, mut reader: impl Read + Seek + Send + 'static) -> Result<Input> {
        let len = reader.seek(SeekFrom::End(0)).map_err(Error::io(name.as_ref(), "read"))?;
        Ok(Input { name: name.as_ref().to_owned(), bytes: Some(Arc::new(Sought { reader: Mutex::new(reader), len })) })
    }

    /// The name of it, for messages.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// The file, where it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.bytes.is_none().then_some(&self.name)
    }

    /// The name without its folders, in small letters.
    pub(crate) fn file_name(&self) -> String {
        self.name.file_name().map_or_else(String::new, |n| n.to_string_lossy().to_lowercase())
    }

    /// Its bytes; a file is opened for it.
    pub(crate) fn open(&self) -> Result<Arc<dyn Bytes>> {
        if let Some(bytes) = &self.bytes {
            return Ok(Arc::clone(bytes));
        }
        let file = File::open(&self.name).map_err(Error::io(&self.name, "open"))?;
        let len = file.metadata().map_err(Error::io(&self.name, "open"))?.len();
        Ok(Arc::new(Sought { reader: Mutex::new(file), len }))
    }

    /// Its bytes from the first to the last, and how many they are.
    pub(crate) fn stream(&self) -> Result<(Box<dyn BufRead>, u64)> {
        const BUFFER: usize = 1 << 18;
        if let Some(bytes) = &self.bytes {
            let len = bytes.len();
            let stream = Stream { bytes: Arc::clone(bytes), at: 0 };
            return Ok((Box::new(BufReader::with_capacity(BUFFER, stream)), len));
        }
        // A pipe has no length and cannot be sought in, and is read all the same.
        let file = File::open(&self.name).map_err(Error::io(&self.name, "open"))?;
        let len = file.metadata().map_err(Error::io(&self.name, "open"))?.len();
        Ok((Box::new(BufReader::with_capacity(BUFFER, file)), len))
    }

    /// The first bytes, up to `n`.
    pub(crate) fn head(&self, n: usize) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(n);
        self.stream()?.0.take(n as u64).read_to_end(&mut out).map_err(Error::io(&self.name, "read"))?;
        Ok(out)
    }
}

/// Bytes of which any stretch can be read.
pub(crate) trait Bytes: Send + Sync {
    fn len(&self) -> u64;
    /// Fills `into` with the bytes from `start` on; where there are fewer, that is an error.
    fn read_at(&self, start: u64, into: &mut [u8]) -> io::Result<()>;
}

struct Held<B>(B);

impl<B: AsRef<[u8]> + Send + Sync> Bytes for Held<B> {
    fn len(&self) -> u64 {
        self.0.as_ref().len() as u64
    }

    fn read_at(&self, start: u64, into: &mut [u8]) -> io::Result<()> {
        let mut reader = Cursor::new(self.0.as_ref());
        reader.set_position(start);
        reader.read_exact(into)
    }
}

struct Sought<R> {
    reader: Mutex<R>,
    len: u64,
}

impl<R: Read + Seek + Send> Bytes for Sought<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, start: u64, into: &mut [u8]) -> io::Result<()> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.seek(SeekFrom::Start(start))?;
        reader.read_exact(into)
    }
}

struct Stream {
    bytes: Arc<dyn Bytes>,
    at: u64,
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = (self.bytes.len() - self.at).min(into.len() as u64) as usize;
        self.bytes.read_at(self.at, &mut into[..n])?;
        self.at += n as u64;
        Ok(n)
    }
}
