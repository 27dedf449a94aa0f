//! How chunks are packed: a list of steps, each undone in turn.

use std::io::Read;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use serde_json::Value;

use super::array::{Array, Element, lengths, named};
use super::blosc;

/// Why an array cannot be read.
#[derive(Debug)]
pub(super) enum Problem {
    /// It is not what it has to be.
    Damaged(String),
    /// It is packed in a way that is not known.
    Unknown(String),
}

type Outcome<T> = std::result::Result<T, Problem>;

fn damaged(what: impl Into<String>) -> Problem {
    Problem::Damaged(what.into())
}

/// The values of a chunk.
pub(super) enum Chunk {
    /// As bytes, of elements of one size.
    Bytes(Vec<u8>),
    Texts(Vec<String>),
}

/// One step.
pub(super) enum Codec {
    /// The axes in another order.
    Transpose(Vec<usize>),
    /// Elements as bytes, one after the other.
    Bytes,
    /// Texts: their number, then the length and the letters of each.
    Texts,
    /// Bytes as other bytes.
    Step(Step),
    /// Smaller chunks in one, and where each is.
    Shards(Box<Shards>),
}

/// Bytes packed as other bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Gzip,
    Zlib,
    Zstd,
    Lz4,
    Blosc,
    /// Four bytes with a checksum at the end.
    Crc32c,
}

/// Smaller chunks, packed one by one, and a table of where each is.
pub(super) struct Shards {
    /// The shape of a smaller chunk.
    chunk: Vec<u64>,
    codecs: Vec<Codec>,
    index: Vec<Step>,
    index_big: bool,
    at_start: bool,
}

impl Step {
    pub fn named(name: &str) -> Outcome<Step> {
        Ok(match name.strip_prefix("numcodecs.").unwrap_or(name) {
            "gzip" => Step::Gzip,
            "zlib" => Step::Zlib,
            "zstd" => Step::Zstd,
            "lz4" => Step::Lz4,
            "blosc" => Step::Blosc,
            "crc32c" => Step::Crc32c,
            other => return Err(Problem::Unknown(other.to_owned())),
        })
    }

    /// Undoes it, to at most so many bytes.
    fn undo(self, bytes: &[u8], most: u64) -> Outcome<Vec<u8>> {
        match self {
            Step::Gzip => read(MultiGzDecoder::new(bytes), most),
            Step::Zlib => read(ZlibDecoder::new(bytes), most),
            Step::Zstd => zstd(bytes, most),
            Step::Lz4 => {
                let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| damaged("a chunk is cut short"))?;
                let size = u64::from(u32::from_le_bytes(*head));
                lz4(rest, usize::try_from(size.min(most)).unwrap_or(usize::MAX))
            }
            Step::Blosc => blosc::unpack(bytes, most),
            Step::Crc32c => {
                let (rest, sum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("a chunk is cut short"))?;
                if crc32c(rest) != u32::from_le_bytes(*sum) {
                    return Err(damaged("a checksum does not fit"));
                }
                Ok(rest.to_vec())
            }
        }
    }
}

fn read(reader: impl Read, most: u64) -> Outcome<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(most.saturating_add(1)).read_to_end(&mut out).map_err(|e| damaged(format!("a chunk: {e}")))?;
    if out.len() as u64 > most { Err(damaged("a chunk unfolds to more than it can hold")) } else { Ok(out) }
}

/// Frames of Zstandard, one after the other.
pub(super) fn zstd(bytes: &[u8], most: u64) -> Outcome<Vec<u8>> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while !rest.is_empty() {
        let left = most - out.len() as u64;
        // What is packed for less needs no more than its own size.
        let window = most.next_power_of_two().clamp(1 << 23, 1 << 27);
        let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut rest, window);
        let decoder = decoder.map_err(|e| damaged(format!("a chunk: {e}")))?;
        out.extend(read(decoder, left)?);
    }
    Ok(out)
}

/// A block of LZ4 of so many bytes.
pub(super) fn lz4(bytes: &[u8], size: usize) -> Outcome<Vec<u8>> {
    let mut out = vec![0; size];
    match lz4_flex::block::decompress_into(bytes, &mut out) {
        Ok(n) if n == size => Ok(out),
        Ok(n) => Err(damaged(format!("a chunk has {n} bytes where {size} belong"))),
        Err(e) => Err(damaged(format!("a chunk: {e}"))),
    }
}

/// The checksum of Castagnoli (polynomial 0x1EDC6F41, least bit first; RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut word, mut bit) = (i as u32, 0);
            while bit < 8 {
                word = (word >> 1) ^ if word & 1 == 1 { 0x82f6_3b78 } else { 0 };
                bit += 1;
            }
            table[i] = word;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum, &b| (sum >> 8) ^ TABLE[usize::from(sum as u8 ^ b)])
}

impl Codec {
    /// The steps of a list of version 3, for chunks of that shape; also whether numbers stand with their highest byte
    /// first.
    pub fn list(list: &[Value], chunk: &[u64], element: &Element) -> Outcome<(Vec<Codec>, bool)> {
        let mut big = false;
        let mut codecs = Vec::with_capacity(list.len());
        let mut shape = chunk.to_vec();
        for value in list {
            let (name, about) = named(value).ok_or_else(|| damaged("a codec without a name"))?;
            let setting = |key: &str| about.and_then(|about| about.get(key));
            let is_bytes = codecs.iter().any(|c| !matches!(c, Codec::Transpose(_)));
            codecs.push(match name {
                "transpose" if !is_bytes => {
                    let about = about.ok_or_else(|| damaged("a codec without its settings"))?;
                    let order: Vec<usize> = lengths(about, "order")?.iter().map(|&axis| axis as usize).collect();
                    let mut sorted = order.clone();
                    sorted.sort_unstable();
                    if !sorted.iter().copied().eq(0..shape.len()) {
                        return Err(damaged("an order of axes that is none"));
                    }
                    shape = order.iter().map(|&axis| shape[axis]).collect();
                    Codec::Transpose(order)
                }
                "bytes" if !is_bytes && *element != Element::Text => {
                    big = setting("endian").and_then(Value::as_str) == Some("big");
                    Codec::Bytes
                }
                "vlen-utf8" if !is_bytes && *element == Element::Text => Codec::Texts,
                "sharding_indexed" if !is_bytes => {
                    let about = about.ok_or_else(|| damaged("a codec without its settings"))?;
                    let inner = lengths(about, "chunk_shape")?;
                    let fits = |(&whole, &part): (&u64, &u64)| part > 0 && whole % part == 0;
                    if inner.len() != shape.len() || !shape.iter().zip(&inner).all(fits) {
                        return Err(damaged(format!("chunks of {inner:?} do not divide chunks of {shape:?}")));
                    }
                    let steps = |key: &str| {
                        let list = about.get(key).and_then(Value::as_array);
                        list.map(Vec::as_slice).ok_or_else(|| damaged(format!("shards without `{key}`")))
                    };
                    let (codecs, inner_big) = Codec::list(steps("codecs")?, &inner, element)?;
                    big = inner_big;
                    let number = Element::Other(String::new(), 8);
                    let (index_codecs, index_big) = Codec::list(steps("index_codecs")?, &[], &number)?;
                    let index = index_codecs.into_iter().skip(1).map(|codec| match codec {
                        Codec::Step(step) => Ok(step),
                        _ => Err(damaged("shards with an index that is not understood")),
                    });
                    Codec::Shards(Box::new(Shards {
                        chunk: inner,
                        codecs,
                        index: index.collect::<Outcome<_>>()?,
                        index_big,
                        at_start: about.get("index_location").and_then(Value::as_str) == Some("start"),
                    }))
                }
                name if is_bytes => Codec::Step(Step::named(name)?),
                other => return Err(Problem::Unknown(other.to_owned())),
            });
        }
        if codecs.iter().all(|c| matches!(c, Codec::Transpose(_))) {
            return Err(damaged("codecs that make no bytes"));
        }
        Ok((codecs, big))
    }
}

/// The values of a chunk of that shape, of at most so many bytes.
pub(super) fn unpack(codecs: &[Codec], bytes: &[u8], shape: &[u64], array: &Array, most: u64) -> Outcome<Chunk> {
    let orders = codecs.iter().map_while(|c| match c {
        Codec::Transpose(order) => Some(order),
        _ => None,
    });
    let orders: Vec<&Vec<usize>> = orders.collect();
    // The shape after each change of the order.
    let mut shapes = vec![shape.to_vec()];
    for order in &orders {
        let last = &shapes[shapes.len() - 1];
        shapes.push(order.iter().map(|&axis| last[axis]).collect());
    }
    let stored = &shapes[shapes.len() - 1];
    let count = stored.iter().product::<u64>();
    let size = count * array.element.size() as u64;
    let mut held = std::borrow::Cow::Borrowed(bytes);
    for (i, codec) in codecs[orders.len()..].iter().enumerate().rev() {
        if let Codec::Step(step) = codec {
            // Whatever is made of bytes has to fit; the last one is known to a byte.
            let room = if matches!(codecs[orders.len()], Codec::Bytes) && i == 1 { size } else { most };
            held = step.undo(&held, room.max(64))?.into();
        }
    }
    let mut chunk = match &codecs[orders.len()] {
        Codec::Texts => Chunk::Texts(texts(&held, count)?),
        Codec::Shards(shards) => shards.unpack(&held, stored, array, most)?,
        _ if held.len() as u64 == size => Chunk::Bytes(held.into_owned()),
        _ => return Err(damaged(format!("a chunk has {} bytes where {size} belong", held.len()))),
    };
    for (order, shape) in orders.iter().zip(&shapes).rev() {
        chunk = match chunk {
            Chunk::Bytes(bytes) => {
                let size = array.element.size();
                let elements: Vec<&[u8]> = bytes.chunks_exact(size).collect();
                Chunk::Bytes(ordered(&elements, shape, order).concat())
            }
            Chunk::Texts(texts) => Chunk::Texts(ordered(&texts, shape, order)),
        };
    }
    Ok(chunk)
}

/// Texts as `vlen-utf8` has them.
fn texts(bytes: &[u8], count: u64) -> Outcome<Vec<String>> {
    let short = || damaged("a chunk of texts is cut short");
    let (head, mut rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    if u64::from(u32::from_le_bytes(*head)) != count {
        return Err(damaged(format!("a chunk does not hold {count} texts")));
    }
    // Each has a length of four bytes.
    let mut out = Vec::with_capacity((count as usize).min(bytes.len() / 4));
    for _ in 0..count {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*head) as usize).ok_or_else(short)?;
        out.push(std::str::from_utf8(text).map_err(|_| damaged("a text is not UTF-8"))?.to_owned());
        rest = tail;
    }
    Ok(out)
}

/// Values that stand with their axes in `order`, in the order of `shape`.
fn ordered<T: Clone>(values: &[T], shape: &[u64], order: &[usize]) -> Vec<T> {
    // How far apart neighbours along each axis of `shape` stand in `values`.
    let mut steps = vec![0; shape.len()];
    let mut step = 1;
    for &axis in order.iter().rev() {
        steps[axis] = step;
        step *= shape[axis] as usize;
    }
    let mut out = Vec::with_capacity(values.len());
    let mut at = vec![0u64; shape.len()];
    for _ in 0..values.len() {
        let from: usize = at.iter().zip(&steps).map(|(&at, &step)| at as usize * step).sum();
        out.push(values[from].clone());
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    out
}

impl Shards {
    fn unpack(&self, bytes: &[u8], shape: &[u64], array: &Array, most: u64) -> Outcome<Chunk> {
        let grid: Vec<u64> = shape.iter().zip(&self.chunk).map(|(&whole, &part)| whole / part).collect();
        let count = grid.iter().product::<u64>();
        let short = || damaged("a shard is cut short");
        // Only checksums make an index longer.
        let length = count.checked_mul(16).and_then(|n| n.checked_add(4 * self.index.len() as u64));
        let length = length.and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= bytes.len()).ok_or_else(short)?;
        let mut index = if self.at_start { &bytes[..length] } else { &bytes[bytes.len() - length..] }.to_vec();
        for step in self.index.iter().rev() {
            if *step != Step::Crc32c {
                return Err(Problem::Unknown("a packed index of shards".to_owned()));
            }
            index = step.undo(&index, most)?;
        }
        let total = shape.iter().product::<u64>() as usize;
        let fill = |what: Option<&Vec<u8>>| what.cloned().ok_or_else(|| damaged("its fill value is not understood"));
        let mut out = match array.element {
            Element::Text => Chunk::Texts(vec![array.fill_text.clone(); total]),
            _ => Chunk::Bytes(fill(array.fill.as_ref())?.repeat(total)),
        };
        let mut place = vec![0u64; grid.len()];
        for entry in index.chunks_exact(16) {
            let number = |b: &[u8]| {
                let word = [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]];
                if self.index_big { u64::from_be_bytes(word) } else { u64::from_le_bytes(word) }
            };
            let (from, size) = (number(entry), number(&entry[8..]));
            if (from, size) != (u64::MAX, u64::MAX) {
                let range =
                    usize::try_from(from).ok().zip(from.checked_add(size).and_then(|to| usize::try_from(to).ok()));
                let part = range.and_then(|(from, to)| bytes.get(from..to)).ok_or_else(short)?;
                let start: Vec<i64> = place.iter().zip(&self.chunk).map(|(&p, &c)| (p * c) as i64).collect();
                match (unpack(&self.codecs, part, &self.chunk, array, most)?, &mut out) {
                    (Chunk::Texts(values), Chunk::Texts(out)) => self::place(&values, &self.chunk, out, shape, &start),
                    (Chunk::Bytes(values), Chunk::Bytes(out)) => {
                        // The bytes of an element are one more axis.
                        let wide = array.element.size() as u64;
                        let more = |shape: &[u64]| [shape, &[wide]].concat();
                        let start = [start.as_slice(), &[0]].concat();
                        self::place(&values, &more(&self.chunk), out, &more(shape), &start);
                    }
                    _ => return Err(damaged("shards of another type")),
                }
            }
            for axis in (0..grid.len()).rev() {
                place[axis] += 1;
                if place[axis] < grid[axis] {
                    break;
                }
                place[axis] = 0;
            }
        }
        Ok(out)
    }
}

/// Puts a block of values of shape `from` into one of shape `into`, its first value at `start`; what lies outside is left out.
pub(super) fn place<T: Clone>(values: &[T], from: &[u64], out: &mut [T], into: &[u64], start: &[i64]) {
    let Some(last) = from.len().checked_sub(1) else {
        out.clone_from_slice(values);
        return;
    };
    // Along each axis: the first value that is within, and how many are.
    let span = |axis: usize| {
        let first = (-start[axis]).max(0);
        let end = (from[axis] as i64).min(into[axis] as i64 - start[axis]);
        (first as u64, (end - first).max(0) as u64)
    };
    let spans: Vec<(u64, u64)> = (0..=last).map(span).collect();
    if spans.iter().any(|&(_, n)| n == 0) {
        return;
    }
    let mut at = vec![0u64; last];
    loop {
        let (mut source, mut target) = (0, 0);
        for axis in 0..=last {
            let here = spans[axis].0 + at.get(axis).copied().unwrap_or(0);
            source = source * from[axis] as usize + here as usize;
            target = target * into[axis] as usize + (here as i64 + start[axis]) as usize;
        }
        let n = spans[last].1 as usize;
        out[target..target + n].clone_from_slice(&values[source..source + n]);
        let Some(axis) = (0..last).rev().find(|&axis| at[axis] + 1 < spans[axis].1) else { return };
        at[axis] += 1;
        at[axis + 1..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeros, and of 0 to 31.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn a_block_is_put_in_its_place_and_cut_at_the_edges() {
        let block: Vec<i32> = (0..6).collect();
        let mut out = vec![-1; 9];
        place(&block, &[2, 3], &mut out, &[3, 3], &[-1, 1]);
        assert_eq!(out, [-1, 3, 4, -1, -1, -1, -1, -1, -1]);
        place(&block, &[2, 3], &mut out, &[3, 3], &[3, 0]);
        assert_eq!(out[3..], [-1; 6]);
    }

    #[test]
    fn axes_are_put_in_order() {
        // A 2 × 3 block that stands column by column.
        assert_eq!(ordered(&[0, 3, 1, 4, 2, 5], &[2, 3], &[1, 0]), [0, 1, 2, 3, 4, 5]);
    }
}
