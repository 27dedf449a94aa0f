//! What a file looks like from its first bytes.

use crate::error::Result;
use crate::input::Input;

/// Describes a file that is not what it was taken for.
pub(crate) fn describe(input: &Input) -> Result<String> {
    let bytes = input.head(512)?;
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
