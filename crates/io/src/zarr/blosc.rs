//! Blosc's container (<https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst>): blocks that are shuffled, then
//! packed, whole or split by the bytes of an element.

use flate2::bufread::ZlibDecoder;

use super::codec::{Problem, lz4, zstd};

type Outcome<T> = std::result::Result<T, Problem>;

/// Blocks are split for elements of at most so many bytes, where a part has at least so many.
const MOST_SPLITS: usize = 16;
const LEAST_PART: usize = 128;

fn damaged(what: &str) -> Problem {
    Problem::Damaged(format!("a Blosc chunk {what}"))
}

/// Undoes it, to at most so many bytes.
pub(super) fn unpack(bytes: &[u8], most: u64) -> Outcome<Vec<u8>> {
    let (head, body) = bytes.split_first_chunk::<16>().ok_or_else(|| damaged("is cut short"))?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let (flags, wide) = (head[2], usize::from(head[3]).max(1));
    let (size, block) = (number(4), number(8));
    if head[0] > 2 {
        return Err(Problem::Unknown(format!("Blosc of version {}", head[0])));
    }
    if size as u64 > most {
        return Err(damaged("claims more than it can hold"));
    }
    if flags & 2 != 0 {
        return body.get(..size).map(<[u8]>::to_vec).ok_or_else(|| damaged("is cut short"));
    }
    if size == 0 {
        return Ok(Vec::new());
    }
    // A block takes four bytes at least, for where it is.
    if block == 0 || size.div_ceil(block) > body.len() / 4 {
        return Err(damaged("has blocks of a size that cannot be"));
    }
    let mut out = Vec::with_capacity(size);
    for (i, start) in body.chunks_exact(4).take(size.div_ceil(block)).enumerate() {
        let start = u32::from_le_bytes([start[0], start[1], start[2], start[3]]) as usize;
        let length = block.min(size - i * block);
        let splits = flags & 0x10 == 0 && wide <= MOST_SPLITS && block / wide >= LEAST_PART && length == block;
        let parts = if splits { wide } else { 1 };
        let mut rest = bytes.get(start..).ok_or_else(|| damaged("is cut short"))?;
        let mut held = Vec::with_capacity(length);
        for _ in 0..parts {
            let (packed, after) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("is cut short"))?;
            let packed = u32::from_le_bytes(*packed) as usize;
            let (part, after) = after.split_at_checked(packed).ok_or_else(|| damaged("is cut short"))?;
            rest = after;
            let room = length / parts;
            let plain = if packed == room { part.to_vec() } else { inner(flags >> 5, part, room)? };
            if plain.len() != room {
                return Err(damaged("has a block of another size than it says"));
            }
            held.extend(plain);
        }
        if held.len() != length {
            return Err(damaged("has a block of another size than it says"));
        }
        out.extend(match flags & 5 {
            1 if wide > 1 => bytes_together(&held, wide),
            4 if (length / wide) % 8 == 0 => bits_together(&held, wide),
            _ => held,
        });
    }
    Ok(out)
}

/// Unpacks a part of a block.
fn inner(packer: u8, bytes: &[u8], room: usize) -> Outcome<Vec<u8>> {
    match packer {
        0 => blosclz(bytes, room).ok_or_else(|| damaged("is damaged within")),
        1 => lz4(bytes, room),
        3 => {
            use std::io::Read;
            let mut out = Vec::new();
            let read = ZlibDecoder::new(bytes).take(room as u64 + 1).read_to_end(&mut out);
            read.map(|_| out).map_err(|_| damaged("is damaged within"))
        }
        4 => zstd(bytes, room as u64),
        2 => Err(Problem::Unknown("Blosc with Snappy".to_owned())),
        other => Err(Problem::Unknown(format!("Blosc with packer {other}"))),
    }
}

/// BloscLZ: runs of letters, and repeats of what came before, as FastLZ has them. A first byte below 32 is a run of one more
/// letters; another one has three bits of length and five of distance, of which more may follow.
fn blosclz(bytes: &[u8], room: usize) -> Option<Vec<u8>> {
    const FAR: usize = 8191;
    let next = |rest: &mut &[u8]| {
        let (&first, after) = rest.split_first()?;
        *rest = after;
        Some(usize::from(first))
    };
    let (mut out, mut rest) = (Vec::with_capacity(room), bytes);
    let mut head = next(&mut rest)? & 31;
    loop {
        if head < 32 {
            let (letters, more) = rest.split_at_checked(head + 1)?;
            out.extend_from_slice(letters);
            rest = more;
        } else {
            let (mut length, high) = ((head >> 5) + 2, head & 31);
            if head >> 5 == 7 {
                loop {
                    let more = next(&mut rest)?;
                    length += more;
                    if more != 255 {
                        break;
                    }
                }
            }
            let low = next(&mut rest)?;
            let distance = if low == 255 && high == 31 {
                (next(&mut rest)? << 8) + next(&mut rest)? + FAR
            } else {
                (high << 8) + low
            };
            let from = out.len().checked_sub(distance + 1)?;
            if length > room.checked_sub(out.len())? {
                return None;
            }
            for i in from..from + length {
                out.push(out[i]);
            }
        }
        if out.len() > room {
            return None;
        }
        match next(&mut rest) {
            Some(byte) => head = byte,
            None => return Some(out),
        }
    }
}

/// Undoes the shuffle of bytes: first bytes of all elements, second bytes of all, and so on; what is over stands as it is.
fn bytes_together(held: &[u8], wide: usize) -> Vec<u8> {
    let count = held.len() / wide;
    let mut out = held.to_vec();
    for (byte, row) in held[..count * wide].chunks_exact(count.max(1)).enumerate() {
        for (element, &value) in row.iter().enumerate() {
            out[element * wide + byte] = value;
        }
    }
    out
}

/// The same of bits: a row for every bit of an element, eight elements to a byte.
fn bits_together(held: &[u8], wide: usize) -> Vec<u8> {
    let count = held.len() / wide;
    let mut out = held.to_vec();
    out[..count * wide].fill(0);
    for (row, bytes) in held[..count * wide].chunks_exact((count / 8).max(1)).enumerate() {
        for (eight, &byte) in bytes.iter().enumerate() {
            for bit in 0..8 {
                out[(8 * eight + bit) * wide + row / 8] |= (byte >> bit & 1) << (row % 8);
            }
        }
    }
    out
}
