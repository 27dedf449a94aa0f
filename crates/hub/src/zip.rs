//! Zip files as PyTorch writes them: entries stored, not compressed, and found by the central directory.
//!
//! Entries are slices of the file, so nothing grows: an entry that reaches past the file's end is an error. Names are
//! only looked up, never written to. Checksums are not looked at (PyTorch can be told to leave them out).

use std::collections::BTreeMap;

use flate2::Crc;

use crate::HubError;

/// What an entry of the central directory, its end, and a local header begin with.
const ENTRY: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const LOCAL: u32 = 0x0403_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
/// Length of the end record without its comment, and the longest comment.
const END_LENGTH: usize = 22;
const LONGEST_COMMENT: usize = 65_535;
/// Bytes of an entry of the central directory before its name.
const ENTRY_LENGTH: usize = 46;

/// What data starts at a multiple of, as PyTorch wants to map it; the extra field that fills up to it.
const ALIGNMENT: usize = 64;
const FILL: [u8; 2] = *b"FB";

/// A zip file of stored entries. `None` where it, or one of them, would be of 4 GiB or more.
pub(crate) fn write(entries: &[(&str, &[u8])]) -> Option<Vec<u8>> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let at = u32::try_from(out.len()).ok()?;
        let mut crc = Crc::new();
        crc.update(data);
        let size = u32::try_from(data.len()).ok()?.to_le_bytes();
        // Version, flags, method; the first time that there is; checksum, both sizes, length of the name.
        let mut fields = [10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0].to_vec();
        fields.extend([crc.sum().to_le_bytes(), size, size].as_flattened());
        fields.extend(u16::try_from(name.len()).ok()?.to_le_bytes());
        let fill = (out.len() + 30 + name.len() + 4).next_multiple_of(ALIGNMENT) - (out.len() + 30 + name.len() + 4);
        out.extend(LOCAL.to_le_bytes());
        out.extend(&fields);
        out.extend((fill as u16 + 4).to_le_bytes());
        out.extend(name.as_bytes());
        out.extend(FILL);
        out.extend((fill as u16).to_le_bytes());
        out.resize(out.len() + fill, b'Z');
        out.extend(*data);
        directory.extend(ENTRY.to_le_bytes());
        directory.extend([10, 0]);
        directory.extend(&fields);
        directory.extend([0; 12]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let from = u32::try_from(out.len()).ok()?.to_le_bytes();
    let count = u16::try_from(entries.len()).ok()?.to_le_bytes();
    let size = u32::try_from(directory.len()).ok()?.to_le_bytes();
    out.extend(&directory);
    out.extend(END.to_le_bytes());
    out.extend([0; 4]);
    out.extend([count, count].as_flattened());
    out.extend([size, from].as_flattened());
    out.extend([0; 2]);
    Some(out)
}

/// The entries of a zip file, by name.
#[derive(Debug)]
pub(crate) struct Zip<'a> {
    entries: BTreeMap<&'a str, &'a [u8]>,
}

/// Whether bytes begin as a zip file does.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    u32_at(bytes, 0) == Some(LOCAL)
}

impl<'a> Zip<'a> {
    /// Reads the directory; `place` names the file in errors.
    pub(crate) fn new(bytes: &'a [u8], place: &str) -> Result<Zip<'a>, HubError> {
        let broken = |what: &str| HubError::format(place, format!("not a readable zip file: {what}"));
        let end = find_end(bytes).ok_or_else(|| broken("its directory is missing; the file may be cut off"))?;
        let field = |at: usize| u16_at(bytes, end + at).map(u64::from);
        let wide = |at: usize| u32_at(bytes, end + at).map(u64::from);
        let (Some(mut count), Some(mut from)) = (field(10), wide(16)) else {
            return Err(broken("its directory is cut off"));
        };
        if count == u64::from(u16::MAX) || from == u64::from(u32::MAX) {
            (count, from) = end_64(bytes, end).ok_or_else(|| broken("its directory (zip64) is damaged"))?;
        }
        let mut at = usize::try_from(from).map_err(|_| broken("its directory lies past its end"))?;
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let ((name, data), next) = read_entry(bytes, at).map_err(broken)?;
            if entries.insert(name, data).is_some() {
                return Err(broken("two entries have the same name"));
            }
            at = next;
        }
        Ok(Zip { entries })
    }

    /// The bytes of an entry.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.entries.get(name).copied()
    }

    /// All entries, by name.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.entries.iter().map(|(name, data)| (*name, *data))
    }

    /// The folder of the one entry of that name.
    pub(crate) fn folder_of(&self, name: &str) -> Option<&'a str> {
        let mut folders = self.entries.keys().filter_map(|e| e.strip_suffix(name)?.strip_suffix('/'));
        folders.next().filter(|_| folders.next().is_none())
    }
}

/// Where the end record is: the last place that reads like one.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END_LENGTH)?;
    (last.saturating_sub(LONGEST_COMMENT)..=last).rev().find(|&at| u32_at(bytes, at) == Some(END))
}

/// Number of entries and start of the directory, from the records for large files.
fn end_64(bytes: &[u8], end: usize) -> Option<(u64, u64)> {
    let locator = end.checked_sub(20)?;
    if u32_at(bytes, locator)? != LOCATOR_64 {
        return None;
    }
    let at = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
    if u32_at(bytes, at)? != END_64 {
        return None;
    }
    Some((u64_at(bytes, at.checked_add(32)?)?, u64_at(bytes, at.checked_add(48)?)?))
}

/// An entry of the directory at a place, and where the next one is.
fn read_entry(bytes: &[u8], at: usize) -> Result<((&str, &[u8]), usize), &'static str> {
    const CUT: &str = "its directory is cut off";
    if u32_at(bytes, at) != Some(ENTRY) {
        return Err("its directory is damaged");
    }
    let short = |offset: usize| u16_at(bytes, at + offset).map(usize::from).ok_or(CUT);
    let long = |offset: usize| u32_at(bytes, at + offset).map(u64::from).ok_or(CUT);
    let (method, flags) = (short(10)?, short(8)?);
    let (mut packed, mut size, mut local) = (long(20)?, long(24)?, long(42)?);
    let (name, extra, comment) = (short(28)?, short(30)?, short(32)?);
    let from = at + ENTRY_LENGTH;
    let text = bytes.get(from..from + name).ok_or(CUT)?;
    let text = std::str::from_utf8(text).map_err(|_| "an entry has a name that is not text")?;
    let more = bytes.get(from + name..from + name + extra).ok_or(CUT)?;
    wide_fields(more, [&mut size, &mut packed, &mut local]);
    if method != 0 || flags & 1 != 0 {
        return Err("an entry is compressed or encrypted, which PyTorch never writes");
    }
    if packed != size {
        return Err("an entry has two sizes");
    }
    let outside = "an entry reaches past its end";
    let local = usize::try_from(local).map_err(|_| outside)?;
    let length = usize::try_from(size).map_err(|_| outside)?;
    let header = |offset: usize| local.checked_add(offset).and_then(|p| u16_at(bytes, p)).map(usize::from);
    if u32_at(bytes, local) != Some(LOCAL) {
        return Err("an entry is not where the directory says");
    }
    let (local_name, local_extra) = (header(26).ok_or(outside)?, header(28).ok_or(outside)?);
    let start = local + 30 + local_name + local_extra;
    let end = start.checked_add(length).ok_or(outside)?;
    let data = bytes.get(start..end).ok_or(outside)?;
    Ok(((text, data), from + name + extra + comment))
}

/// Fields of an entry that are too small for their values stand in an extra field, in this order.
fn wide_fields(mut extra: &[u8], fields: [&mut u64; 3]) {
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(body) = extra.get(4..4 + usize::from(length)) else { return };
        if id == 1 {
            let saturated = fields.into_iter().filter(|f| **f == u64::from(u32::MAX));
            saturated.zip(body.chunks_exact(8)).for_each(|(f, b)| *f = u64_at(b, 0).unwrap_or(u64::MAX));
            return;
        }
        extra = &extra[4 + usize::from(length)..];
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let b = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let b = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u32_at(bytes, at)?) | u64::from(u32_at(bytes, at.checked_add(4)?)?) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_behind_their_extra_fields() {
        let bytes = write(&[("model/data.pkl", b"abc"), ("model/data/0", b""), ("../../etc/passwd", b"x")]).unwrap();
        let read = Zip::new(&bytes, "f").unwrap();
        assert_eq!(read.folder_of("data.pkl"), Some("model"));
        assert_eq!(read.get("model/data.pkl"), Some(&b"abc"[..]));
        assert_eq!(read.get("model/data/0"), Some(&b""[..]));
        assert_eq!(read.get("model/data/1"), None);
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = write(&[("a/data.pkl", b"abcdef"), ("b/data.pkl", b"")]).unwrap();
        assert_eq!(Zip::new(&bytes, "f").unwrap().folder_of("data.pkl"), None, "two of the same name");
        for at in 0..bytes.len() {
            assert!(Zip::new(&bytes[..at], "f").is_err(), "cut off at {at}");
            for value in [0, 0xff, 0x7f] {
                let mut other = bytes.clone();
                other[at] = value;
                let _ = Zip::new(&other, "f");
            }
        }
    }
}
