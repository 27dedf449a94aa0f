//! Files that are there whole or not at all.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// How the name of a temporary file ends.
const PARTIAL: &str = ".partial";

/// The temporary files of this process. Whoever holds it keeps files from being put in place.
static UNDER_WAY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn under_way() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives up all files that are being written: removes what there is of them, and lets none be put in place any more, so that
/// the process can end at any point of its work. Only for one that is about to end.
pub fn abandon() {
    let mut files = under_way();
    for file in std::mem::take(&mut *files) {
        // What cannot be removed now the next run that writes this file removes.
        let _ = std::fs::remove_file(file);
    }
    std::mem::forget(files);
}

/// A file written under a temporary name in the folder of its final one.
///
/// [`AtomicFile::commit`] puts it in place; when it is dropped before that, by an error or a panic,
/// the temporary file is removed. A process that is killed may leave a file `.<name>.<…>.partial`
/// behind, never one under the final name; the next run that writes the same file removes it. A file that stood there
/// before stays as it was until the new one is complete; the new one has its permissions, and a link stays a link.
///
/// # Example
/// ```
/// use std::io::Write;
/// # let folder = std::env::temp_dir().join(format!("scgraft-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let path = folder.join("result.txt");
/// let mut file = scgraft_io::AtomicFile::create(&path)?;
/// writeln!(file, "all of it").unwrap();
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "all of it\n");
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), scgraft_io::Error>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    /// The name the user gave, for messages.
    path: PathBuf,
    /// Where the file goes: `path`, or what it links to.
    target: PathBuf,
    temporary: PathBuf,
    writer: Option<BufWriter<File>>,
    committed: bool,
}

impl AtomicFile {
    /// Starts a file that will stand at `path`.
    ///
    /// # Errors
    /// When no file can be made in that folder, or a folder, device or pipe has that name.
    pub fn create(path: impl AsRef<Path>) -> Result<AtomicFile> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let path = path.as_ref();
        let target = place(path);
        if target.is_dir() {
            let source = io::Error::new(io::ErrorKind::IsADirectory, "a folder of that name exists");
            return Err(Error::io(path, "write")(source));
        }
        if target.exists() && !target.is_file() {
            // Renaming would put a file in its place, for everybody.
            let source =
                io::Error::new(io::ErrorKind::InvalidInput, "a device or pipe of that name exists, not a file");
            return Err(Error::io(path, "write")(source));
        }
        let Some(name) = target.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file");
            return Err(Error::io(path, "write")(source));
        };
        remove_leftovers(&target, name);
        loop {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{}-{}{PARTIAL}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
            let temporary = target.with_file_name(temporary);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => {
                    // Held until the file is closed: what nobody holds is what a killed run left. Where a file system
                    // has no locks, leftovers stay.
                    let _ = file.try_lock();
                    under_way().insert(temporary.clone());
                    let writer = Some(BufWriter::with_capacity(1 << 18, file));
                    return Ok(AtomicFile { path: path.to_owned(), target, temporary, writer, committed: false });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io(path, "create")(e)),
            }
        }
    }

    /// The temporary file, for a library that wants a path to write to. It exists and is empty.
    pub fn temporary_path(&self) -> &Path {
        &self.temporary
    }

    /// An error of the temporary file, under the name that the user gave.
    pub(crate) fn name(&self, error: Error) -> Error {
        match error {
            Error::Io { path, action, source } if path == self.temporary => Error::io(&self.path, action)(source),
            other => other,
        }
    }

    /// Brings what was written to the disk and puts the file in place.
    ///
    /// # Errors
    /// When the disk is full or the file cannot be renamed; nothing is left under the final name then.
    pub fn commit(mut self) -> Result<()> {
        let fail = |action| Error::io(&self.path, action);
        let file = match self.writer.take() {
            Some(writer) => writer.into_inner().map_err(|e| fail("write")(e.into_error()))?,
            None => return Ok(()),
        };
        file.sync_all().map_err(fail("write"))?;
        drop(file);
        if let Ok(before) = std::fs::metadata(&self.target) {
            std::fs::set_permissions(&self.temporary, before.permissions()).map_err(fail("write"))?;
        }
        HELD.with_borrow_mut(|held| match held {
            Some(held) => {
                held.push(self);
                Ok(())
            }
            None => self.place(&mut under_way()),
        })
    }

    fn place(mut self, under_way: &mut BTreeSet<PathBuf>) -> Result<()> {
        put_in_place(&self.temporary, &self.target).map_err(Error::io(&self.path, "rename"))?;
        under_way.remove(&self.temporary);
        self.committed = true;
        Ok(())
    }
}

thread_local! {
    /// Complete files that wait to be put in place, within [`together`].
    static HELD: RefCell<Option<Vec<AtomicFile>>> = const { RefCell::new(None) };
}

/// Writes several files that appear together or not at all: those that `write` commits on this thread are put in place when
/// all of them are complete and on the disk, none when it fails or panics. Within `write` they do not stand under their names
/// yet. Only where a renaming fails, which no file system does for want of room, do those before it stay.
///
/// # Errors
/// What `write` returned; when a file cannot be renamed.
///
/// # Example
/// ```no_run
/// scgraft_io::together(|| {
///     scgraft_io::write_bytes("model.scgraft", b"...")?;
///     scgraft_io::write_bytes("model.txt", b"...")
/// })?;
/// # Ok::<(), scgraft_io::Error>(())
/// ```
pub fn together<T, E: From<Error>>(write: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<T, E> {
    if HELD.with_borrow(Option::is_some) {
        return write();
    }
    // Whatever happens, the next file is put in place by itself again.
    struct Group;
    impl Drop for Group {
        fn drop(&mut self) {
            HELD.take();
        }
    }
    let group = Group;
    HELD.set(Some(Vec::new()));
    let out = write()?;
    let held = HELD.take().unwrap_or_default();
    drop(group);
    let mut under_way = under_way();
    let placed: Result<Vec<()>> = held.into_iter().map(|file| file.place(&mut under_way)).collect();
    drop(under_way);
    placed?;
    Ok(out)
}

/// The name of a file, without its folders.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

/// Where a file of that name is really written: through links, also those that lead to nothing yet.
pub fn place(path: &Path) -> PathBuf {
    const MOST_LINKS: usize = 40;
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(next) = std::fs::read_link(&place) else { break };
        // A relative link counts from its own folder; an absolute one takes the place of all before it.
        place = place.parent().unwrap_or(Path::new("")).join(next);
    }
    let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.canonicalize(), place.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => place,
    }
}

/// Removes the temporary files of runs that were killed while they wrote this file.
fn remove_leftovers(target: &Path, name: &OsStr) {
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if let Some(process) = writer_of(&entry.file_name(), name)
            && !is_running(process)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && OpenOptions::new().write(true).open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
            && std::fs::remove_file(entry.path()).is_ok()
        {
            tracing::debug!(file = %entry.path().display(), "removed: what a killed run had left");
        }
    }
}

/// The process that wrote a temporary file for `name`, if it is one.
fn writer_of(temporary: &OsStr, name: &OsStr) -> Option<u32> {
    let middle = temporary.to_str()?.strip_prefix('.')?.strip_prefix(name.to_str()?)?.strip_prefix('.')?;
    let (process, number) = middle.strip_suffix(PARTIAL)?.split_once('-')?;
    number.parse::<u64>().ok()?;
    process.parse().ok()
}

/// Whether a process of that number runs here, as far as the system tells. (The lock tells of other machines.)
fn is_running(process: u32) -> bool {
    process == std::process::id() || Path::new("/proc").join(process.to_string()).exists()
}

/// Gives a file that is complete and on the disk the name of another in one step, which lasts through a power cut where the
/// system can do that.
///
/// # Errors
/// When the file cannot be renamed.
pub fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = File::open(folder).and_then(|f| f.sync_all()) {
        tracing::debug!(folder = %folder.display(), %error, "the folder could not be synchronised");
    }
    Ok(())
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open()?.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.open()?.seek(to)
    }
}

impl AtomicFile {
    fn open(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.writer.as_mut().ok_or_else(|| io::Error::other("the file was committed"))
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            self.writer = None;
            // Where somebody holds the list, one that is not there any more stays in it, which does no harm.
            if let Ok(mut files) = UNDER_WAY.try_lock() {
                files.remove(&self.temporary);
            }
            if let Err(error) = std::fs::remove_file(&self.temporary) {
                tracing::warn!(file = %self.temporary.display(), %error, "a temporary file could not be removed");
            }
        }
    }
}

/// Writes a file whole or not at all: `write` fills it, and only when it returns `Ok` is it put in place.
///
/// # Errors
/// What `write` returned, or what kept the file from being made; nothing is left under the final name.
///
/// # Example
/// ```no_run
/// use std::io::Write;
/// scgraft_io::atomic_write("scores.txt", |w| writeln!(w, "0.71"))?;
/// # Ok::<(), scgraft_io::Error>(())
/// ```
pub fn atomic_write<P, F>(path: P, write: F) -> Result<()>
where
    P: AsRef<Path>,
    F: FnOnce(&mut AtomicFile) -> io::Result<()>,
{
    let path = path.as_ref();
    let mut file = AtomicFile::create(path)?;
    write(&mut file).map_err(Error::io(path, "write"))?;
    file.commit()
}

/// Copies a file, whole or not at all.
///
/// # Errors
/// When one cannot be read or the other not be written; nothing is left under the final name.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut file = std::fs::File::open(from).map_err(Error::io(from, "open"))?;
    atomic_write(to, |w| io::copy(&mut file, w).map(|_| ()))
}

/// Writes bytes to a file, whole or not at all.
///
/// # Errors
/// What kept the file from being made; nothing is left under the final name.
pub fn write_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    atomic_write(path, |w| w.write_all(bytes))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = AtomicFile::create(folder.path().join("a.h5ad")).unwrap();
        let full = io::Error::new(io::ErrorKind::StorageFull, "full");
        let error = file.name(Error::io(file.temporary_path(), "write")(full)).to_string();
        assert!(error.contains("/a.h5ad: ") && !error.contains("partial"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = AtomicFile::create(&path).unwrap_err().to_string();
        assert!(error.contains("device or pipe") && !path.is_file(), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
