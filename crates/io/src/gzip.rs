//! Text files, packed with gzip or not.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// Opens a text file; it is unpacked on the way when its first bytes say that it is gzip.
pub(crate) fn open_text(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let packed = reader.fill_buf().map_err(Error::io(path, "read"))?.starts_with(&[0x1f, 0x8b]);
    if packed {
        return Ok(Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(reader))));
    }
    Ok(Box::new(reader))
}

/// Calls `take` with each line, its number from 1, and its text without the line end (LF or CRLF)
/// or a byte order mark. `take` says whether to go on.
pub(crate) fn lines(path: &Path, mut take: impl FnMut(usize, &str) -> Result<bool>) -> Result<()> {
    let mut reader = open_text(path)?;
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(Error::io(path, "read"))? == 0 {
            return Ok(());
        }
        number += 1;
        let mut line = bytes.as_slice();
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if number == 1 {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        let text = std::str::from_utf8(line).map_err(|_| Error::Line {
            path: path.to_owned(),
            line: number,
            expected: "UTF-8 text".to_owned(),
            found: "other bytes; is this the right file?".to_owned(),
        })?;
        if !take(number, text)? {
            return Ok(());
        }
    }
}
