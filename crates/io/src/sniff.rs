//! What a file looks like from its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// The first bytes of a file, up to `n`.
pub(crate) fn head(path: &Path, n: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(n);
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    file.take(n as u64).read_to_end(&mut out).map_err(Error::io(path, "read"))?;
    Ok(out)
}

/// Describes a file that is not what it was taken for.
pub(crate) fn describe(path: &Path) -> Result<String> {
    let bytes = head(path, 512)?;
    Ok(match bytes.as_slice() {
        [] => "an empty file".to_owned(),
        [0x1f, 0x8b, ..] => "a gzip file; unpack it first".to_owned(),
        [b'P', b'K', 3, 4, ..] => "a zip file (a zarr store in a zip?)".to_owned(),
        _ if bytes.starts_with(b"%%MatrixMarket") => "a Matrix Market file (.mtx)".to_owned(),
        _ if bytes.starts_with(b"<!DOCTYPE") || bytes.starts_with(b"<html") => {
            "a web page; the download did not give the file itself".to_owned()
        }
        _ if std::str::from_utf8(&bytes).is_ok_and(|t| !t.contains('\0')) => "a text file".to_owned(),
        _ => "a file of some other format, or one that is damaged from its first byte".to_owned(),
    })
}
