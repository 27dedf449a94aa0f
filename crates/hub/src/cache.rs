//! What was fetched, kept in the user's cache folder.
//!
//! | in the folder | what |
//! |---|---|
//! | `files/SHA256` | a file that came whole, under the hash of its bytes |
//! | `addresses/HASH.json` | which file an address named when it was last asked for |
//! | `partial/HASH`, `HASH.json` | a file that has not come whole, and what it was the beginning of |
//! | `pushes/HASH.json` | a push that is not finished |
//!
//! Names that come from elsewhere never become names of files here.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use scgraft_io::{put_in_place, write_bytes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::HubError;
use crate::http::{Progress, TICK, Watch};

/// Which file an address names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The address, with the service that it was asked of.
    pub address: String,
    /// The address that will always name these bytes, where the service has such.
    pub pinned: String,
    /// The file's name.
    pub name: String,
    /// The hash of its bytes.
    pub sha256: String,
    /// How many they are.
    pub bytes: u64,
    /// The service's own checksum.
    pub checksum: Option<String>,
    /// What a server that has no checksums calls this state of the file.
    pub validator: Option<Validator>,
    /// When it was asked for, in seconds since 1970.
    pub when: u64,
}

/// By what a server knows a state of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Validator {
    ETag(String),
    LastModified(String),
}

/// A file that has not come whole.
pub(crate) struct Partial {
    pub path: PathBuf,
    /// Open for reading and for adding to its end.
    pub file: File,
    _lock: File,
}

#[derive(Debug)]
pub(crate) struct Cache {
    pub folder: PathBuf,
}

impl Cache {
    /// The entry of an address.
    pub fn entry(&self, address: &str) -> Option<Entry> {
        self.note::<Entry>("addresses", address).filter(|e| e.address == address && is_hash(&e.sha256))
    }

    pub fn keep_entry(&self, entry: &Entry) -> Result<(), HubError> {
        self.keep_note("addresses", &entry.address, entry)
    }

    /// A file by its hash, and how many bytes it has; one that is not what its name says is thrown away.
    pub fn file(&self, sha256: &str, name: &str, watch: &mut Watch<'_>) -> Result<Option<(PathBuf, u64)>, HubError> {
        if !is_hash(sha256) {
            return Ok(None);
        }
        let path = self.folder.join("files").join(sha256);
        let Ok(file) = File::open(&path) else { return Ok(None) };
        let mut sum = Sha256::new();
        let bytes = read_through(file, &path, name, watch, &mut |bytes| sum.update(bytes))?;
        if hex(&sum.finalize()) == sha256 {
            return Ok(Some((path, bytes)));
        }
        tracing::warn!("{}: damaged in the cache, fetched again", path.display());
        std::fs::remove_file(&path).map_err(|source| HubError::Io { path, source })?;
        Ok(None)
    }

    /// Puts a whole file in its place.
    pub fn keep_file(&self, from: &Path, sha256: &str) -> Result<PathBuf, HubError> {
        let path = self.folder_of("files")?.join(sha256);
        put_in_place(from, &path).map_err(|source| HubError::Io { path: path.clone(), source })?;
        Ok(path)
    }

    /// Something small that was kept under a key.
    pub fn note<T: DeserializeOwned>(&self, kind: &str, key: &str) -> Option<T> {
        let text = std::fs::read(self.note_path(kind, key)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub fn keep_note<T: Serialize>(&self, kind: &str, key: &str, note: &T) -> Result<(), HubError> {
        self.folder_of(kind)?;
        let path = self.note_path(kind, key);
        let text =
            serde_json::to_vec_pretty(note).map_err(|e| HubError::format(path.display().to_string(), e.to_string()))?;
        Ok(write_bytes(&path, &text)?)
    }

    pub fn drop_note(&self, kind: &str, key: &str) {
        // What is not there need not be removed, and what cannot be is found outdated when it is read.
        let _ = std::fs::remove_file(self.note_path(kind, key));
    }

    /// The place of a file that has not come whole, with what keeps other processes from writing it at the same time.
    pub fn partial(&self, key: &str, name: &str, watch: &mut Watch<'_>) -> Result<Partial, HubError> {
        let path = self.folder_of("partial")?.join(hash(key.as_bytes()));
        let open = |path: &Path| {
            let file = OpenOptions::new().read(true).append(true).create(true).open(path);
            file.map_err(|source| HubError::Io { path: path.to_owned(), source })
        };
        let lock = open(&path.with_extension("lock"))?;
        // On a file system without locks, two at a time would be noticed by the checksum.
        while let Err(TryLockError::WouldBlock) = lock.try_lock() {
            let why = "another process fetches the same file";
            if watch(&Progress::Waiting { why, left: TICK }).is_break() {
                return Err(HubError::Stopped { place: name.to_owned() });
            }
            std::thread::sleep(TICK);
        }
        let file = open(&path)?;
        Ok(Partial { path, file, _lock: lock })
    }

    fn folder_of(&self, kind: &str) -> Result<PathBuf, HubError> {
        let path = self.folder.join(kind);
        std::fs::create_dir_all(&path).map_err(|source| HubError::Io { path: path.clone(), source })?;
        Ok(path)
    }

    fn note_path(&self, kind: &str, key: &str) -> PathBuf {
        self.folder.join(kind).join(format!("{}.json", hash(key.as_bytes())))
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hands over what is left of a file, a piece at a time; how long it is.
pub(crate) fn read_through(
    mut file: impl Read,
    path: &Path,
    name: &str,
    watch: &mut Watch<'_>,
    take: &mut dyn FnMut(&[u8]),
) -> Result<u64, HubError> {
    let (mut done, mut buffer) = (0, vec![0; 1 << 18]);
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(done),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(HubError::Io { path: path.to_owned(), source }),
        };
        take(&buffer[..n]);
        done += n as u64;
        if watch(&Progress::Checking { name, done }).is_break() {
            return Err(HubError::Stopped { place: name.to_owned() });
        }
    }
}
