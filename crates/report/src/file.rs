//! Writing a file whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::ReportError;

/// Writes under a temporary name in the same folder, flushes to disk, renames: `path` never holds half a file.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let fail = |source| ReportError::Write { path: path.to_path_buf(), source };
    if path.exists() && !path.is_file() {
        let found = "a folder, device or pipe of that name exists, not a file";
        return Err(fail(std::io::Error::new(std::io::ErrorKind::InvalidInput, found)));
    }
    let mut name = path.file_name().ok_or_else(|| fail(std::io::ErrorKind::InvalidFilename.into()))?.to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&temporary, path)).map_err(|source| {
        // The first error is the one to report; the leftover may be gone already.
        let _ = fs::remove_file(&temporary);
        fail(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.svg");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = write_atomically(&path, b"x").unwrap_err();
        assert!(error.to_string().contains("device or pipe"), "{error}");
        assert!(path.exists() && !path.is_file());
    }

    #[test]
    fn a_missing_folder_is_an_error_with_the_path() {
        let error = write_atomically(Path::new("/nonexistent-folder/a.svg"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent-folder/a.svg"), "{error}");
    }
}
