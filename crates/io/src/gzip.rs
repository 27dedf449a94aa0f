//! Text files, packed with gzip or not.
//!
//! A packed file may unfold to [`MOST_UNFOLDED`] times its size and [`BESIDES`] more: gzip packs a thousand like lines
//! into the room of one, text that means something seldom into less than a twentieth.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::input::Input;
use crate::sniff::describe;

/// Most times its size that a packed file may unfold to, and how many bytes more.
const MOST_UNFOLDED: u64 = 100;
const BESIDES: u64 = 64 << 20;

/// Reads no more than so many bytes: what has more is an error, not its end.
struct Bounded<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            let what = format!(
                "it unfolds to more than {MOST_UNFOLDED} times its size, as no text does that means something; if it is \
                 right, unpack it first"
            );
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        Ok(n)
    }
}

/// Opens a text file; it is unpacked on the way when its first bytes say that it is gzip.
pub(crate) fn open_text(input: &Input) -> Result<Box<dyn BufRead>> {
    let (mut reader, size) = input.stream()?;
    let packed = reader.fill_buf().map_err(Error::io(input.name(), "read"))?.starts_with(&[0x1f, 0x8b]);
    if packed {
        let left = size.saturating_mul(MOST_UNFOLDED).saturating_add(BESIDES);
        let unfolded = Bounded { reader: MultiGzDecoder::new(reader), left };
        return Ok(Box::new(BufReader::with_capacity(1 << 18, unfolded)));
    }
    Ok(reader)
}

/// Calls `take` with each line, its number from 1, and its text without the line end (LF, CRLF or CR)
/// or a byte order mark. `take` says whether to go on.
pub(crate) fn lines(input: &Input, mut take: impl FnMut(usize, &str) -> Result<bool>) -> Result<()> {
    let path = input.name();
    let mut reader = open_text(input)?;
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(Error::io(path, "read"))? == 0 {
            return Ok(());
        }
        let mut stretch = bytes.as_slice();
        stretch = stretch.strip_suffix(b"\n").unwrap_or(stretch);
        stretch = stretch.strip_suffix(b"\r").unwrap_or(stretch);
        // Old editors end lines with CR alone.
        for mut line in stretch.split(|&b| b == b'\r') {
            number += 1;
            if number == 1 {
                line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
            }
            let Ok(text) = std::str::from_utf8(line) else {
                return Err(Error::Line {
                    path: path.to_owned(),
                    line: number,
                    expected: "UTF-8 text".to_owned(),
                    found: format!("other bytes: the file looks like {}", describe(input)?),
                });
            };
            if !take(number, text)? {
                return Ok(());
            }
        }
    }
}
