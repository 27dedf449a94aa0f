//! What the description of an array says: shape, chunks, type of the elements, how chunks are packed.

use std::path::Path;

use serde_json::{Map, Value};

use super::codec::{Codec, Problem, Step};
use crate::store::Type;

/// Bytes that a text in memory has beside its letters.
const TEXT: usize = size_of::<String>();
/// Most bytes of one element.
const MOST: usize = 1 << 20;

type Outcome<T> = std::result::Result<T, Problem>;

/// The type of an element, and how its bytes stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    /// Numbers and truth values of so many bytes.
    Number { kind: Number, bytes: usize, big: bool },
    /// Text of so many bytes, in UTF-8 or one byte a letter, closed by zeros.
    Bytes(usize),
    /// Text of so many letters of 4 bytes.
    Letters { letters: usize, big: bool },
    /// Text of any length.
    Text,
    /// Fields: name, type, place of its first byte; and the bytes of all.
    Record(Vec<(String, Element, usize)>, usize),
    /// Anything else of so many bytes.
    Other(String, usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Bool,
    Int,
    Uint,
    Float,
}

impl Element {
    pub fn size(&self) -> usize {
        match self {
            Element::Number { bytes, .. } | Element::Bytes(bytes) | Element::Record(_, bytes) => *bytes,
            Element::Letters { letters, .. } => 4 * letters,
            Element::Text => TEXT,
            Element::Other(_, bytes) => *bytes,
        }
    }

    pub fn kind(&self) -> Type {
        match self {
            Element::Number { kind, bytes, .. } => match kind {
                Number::Bool => Type::Bool,
                Number::Int => Type::Int(*bytes as u32),
                Number::Uint => Type::Uint(*bytes as u32),
                Number::Float => Type::Float(*bytes as u32),
            },
            Element::Bytes(_) | Element::Letters { .. } | Element::Text => Type::Text,
            Element::Record(fields, _) => {
                Type::Record(fields.iter().map(|(name, field, _)| (name.clone(), field.kind())).collect())
            }
            Element::Other(what, _) => Type::Other(what.clone()),
        }
    }

    fn word(&self, bytes: &[u8]) -> u64 {
        let mut word = [0; 8];
        let n = bytes.len().min(8);
        word[..n].copy_from_slice(&bytes[..n]);
        if matches!(self, Element::Number { big: true, .. }) {
            word[..n].reverse();
        }
        u64::from_le_bytes(word)
    }

    /// A number as `f64`; whole ones above 2⁵³ are rounded.
    pub fn real(&self, bytes: &[u8]) -> f64 {
        let (word, unused) = (self.word(bytes), 64 - 8 * bytes.len().clamp(1, 8));
        match self {
            Element::Number { kind: Number::Float, bytes: 2, .. } => half::f16::from_bits(word as u16).to_f64(),
            Element::Number { kind: Number::Float, bytes: 4, .. } => f64::from(f32::from_bits(word as u32)),
            Element::Number { kind: Number::Float, .. } => f64::from_bits(word),
            Element::Number { kind: Number::Int, .. } => (((word << unused) as i64) >> unused) as f64,
            _ => word as f64,
        }
    }

    /// A whole number, where it is below 2⁶³.
    pub fn whole(&self, bytes: &[u8]) -> Option<i64> {
        let (word, unused) = (self.word(bytes), 64 - 8 * bytes.len().clamp(1, 8));
        match self {
            Element::Number { kind: Number::Int, .. } => Some(((word << unused) as i64) >> unused),
            _ => i64::try_from(word).ok(),
        }
    }

    /// A text of a fixed number of bytes or letters.
    pub fn text(&self, bytes: &[u8]) -> std::result::Result<String, String> {
        match self {
            Element::Letters { big, .. } => {
                let letters = bytes.chunks_exact(4).map(|b| {
                    let word = [b[0], b[1], b[2], b[3]];
                    if *big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
                });
                let letters: Vec<u32> = letters.collect();
                let end = letters.iter().rposition(|&letter| letter != 0).map_or(0, |last| last + 1);
                let text: Option<String> = letters[..end].iter().map(|&letter| char::from_u32(letter)).collect();
                text.ok_or_else(|| "a text is not Unicode".to_owned())
            }
            _ => {
                let end = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
                let text = std::str::from_utf8(&bytes[..end]);
                text.map(str::to_owned).map_err(|_| "a text is not UTF-8".to_owned())
            }
        }
    }

    /// The bytes of a value in JSON, as a fill value has it; `None` where it is not understood.
    fn bytes(&self, value: &Value) -> Option<Vec<u8>> {
        let Element::Number { kind, bytes, big } = self else {
            // Empty texts and records of zeros are the only ones that are written.
            return Some(vec![0; self.size()]);
        };
        let mut word = match (value, kind) {
            (Value::Null, _) => vec![0; 8],
            (Value::Bool(truth), _) => u64::from(*truth).to_le_bytes().to_vec(),
            (Value::Number(n), Number::Float) => float_bytes(n.as_f64()?, *bytes),
            (Value::Number(n), _) => match n.as_i64() {
                Some(n) => n.to_le_bytes().to_vec(),
                None => n.as_u64()?.to_le_bytes().to_vec(),
            },
            (Value::String(text), Number::Float) => match text.as_str() {
                "NaN" => float_bytes(f64::NAN, *bytes),
                "Infinity" => float_bytes(f64::INFINITY, *bytes),
                "-Infinity" => float_bytes(f64::NEG_INFINITY, *bytes),
                hex => u64::from_str_radix(hex.strip_prefix("0x")?, 16).ok()?.to_le_bytes().to_vec(),
            },
            _ => return None,
        };
        word.truncate(*bytes);
        if *big {
            word.reverse();
        }
        Some(word)
    }

    /// A type of NumPy's: `<f4`, `|b1`, `<U5`, or a list of fields.
    fn numpy(value: &Value) -> Outcome<Element> {
        let unknown = || Problem::Damaged(format!("its type {value} is not understood"));
        if let Value::Array(list) = value {
            let fields = list.iter().map(|field| match field.as_array().map(Vec::as_slice) {
                Some([Value::String(name), kind]) => Ok((name.clone(), Element::numpy(kind)?)),
                _ => Err(unknown()),
            });
            return Element::record(fields.collect::<Outcome<_>>()?);
        }
        let text = value.as_str().ok_or_else(unknown)?;
        let (head, rest) = text.split_at_checked(2).ok_or_else(unknown)?;
        let big = head.starts_with('>');
        let size = || rest.parse::<usize>().ok().filter(|&n| n > 0 && n <= MOST).ok_or_else(unknown);
        let number = |kind| Ok(Element::Number { kind, bytes: size()?, big });
        match head.as_bytes().get(1) {
            Some(b'O') => Ok(Element::Text),
            Some(b'b') if rest == "1" => number(Number::Bool),
            Some(b'i') if matches!(rest, "1" | "2" | "4" | "8") => number(Number::Int),
            Some(b'u') if matches!(rest, "1" | "2" | "4" | "8") => number(Number::Uint),
            Some(b'f') if matches!(rest, "2" | "4" | "8") => number(Number::Float),
            Some(b'S') => Ok(Element::Bytes(size()?)),
            Some(b'U') => Ok(Element::Letters { letters: size()?, big }),
            Some(b'M' | b'm') => Ok(Element::Other(text.to_owned(), 8)),
            Some(b'c' | b'V' | b'f') => Ok(Element::Other(text.to_owned(), size()?)),
            _ => Err(unknown()),
        }
    }

    /// A type of version 3.
    fn named(value: &Value) -> Outcome<Element> {
        let unknown = || Problem::Damaged(format!("its type {value} is not understood"));
        let (name, about) = named(value).ok_or_else(unknown)?;
        let about = |key: &str| about.and_then(|about| about.get(key));
        let number = |kind, bits: &str| {
            let bits = bits.parse::<usize>().ok().filter(|bits| matches!(bits, 8 | 16 | 32 | 64));
            bits.map(|bits| Element::Number { kind, bytes: bits / 8, big: false })
        };
        let length = || {
            let bytes = about("length_bytes").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            bytes.filter(|&n| n > 0 && n <= MOST).ok_or_else(unknown)
        };
        if name == "bool" {
            return Ok(Element::Number { kind: Number::Bool, bytes: 1, big: false });
        }
        for (head, kind) in [("int", Number::Int), ("uint", Number::Uint), ("float", Number::Float)] {
            let found = name.strip_prefix(head).and_then(|bits| number(kind, bits));
            if let Some(element) = found.filter(|e| kind != Number::Float || e.size() > 1) {
                return Ok(element);
            }
        }
        match name {
            "string" | "variable_length_utf8" => Ok(Element::Text),
            "fixed_length_utf32" => Ok(Element::Letters { letters: length()? / 4, big: false }),
            "null_terminated_bytes" => Ok(Element::Bytes(length()?)),
            "raw_bytes" => Ok(Element::Other(name.to_owned(), length()?)),
            "complex64" | "numpy.datetime64" | "numpy.timedelta64" => Ok(Element::Other(name.to_owned(), 8)),
            "complex128" => Ok(Element::Other(name.to_owned(), 16)),
            "struct" | "structured" => {
                let fields = about("fields").and_then(Value::as_array).ok_or_else(unknown)?;
                let fields = fields.iter().map(|field| {
                    let (name, kind) = match field {
                        Value::Array(pair) => (pair.first(), pair.get(1)),
                        pair => (pair.get("name"), pair.get("data_type")),
                    };
                    let name = name.and_then(Value::as_str).ok_or_else(unknown)?;
                    Ok((name.to_owned(), Element::named(kind.ok_or_else(unknown)?)?))
                });
                Element::record(fields.collect::<Outcome<_>>()?)
            }
            _ => Err(unknown()),
        }
    }

    fn record(fields: Vec<(String, Element)>) -> Outcome<Element> {
        let mut size = 0;
        let mut out = Vec::with_capacity(fields.len());
        for (name, field) in fields {
            if matches!(field, Element::Text | Element::Record(..)) {
                return Err(Problem::Damaged(format!("its field `{name}` is of a type that no record has")));
            }
            let from = size;
            size += field.size();
            out.push((name, field, from));
        }
        if size == 0 || size > MOST {
            return Err(Problem::Damaged("its records have no bytes, or too many".to_owned()));
        }
        Ok(Element::Record(out, size))
    }

    /// The same with its bytes in the other order.
    fn big(self) -> Element {
        match self {
            Element::Number { kind, bytes, .. } => Element::Number { kind, bytes, big: true },
            Element::Letters { letters, .. } => Element::Letters { letters, big: true },
            Element::Record(fields, size) => {
                Element::Record(fields.into_iter().map(|(name, field, at)| (name, field.big(), at)).collect(), size)
            }
            other => other,
        }
    }
}

fn float_bytes(value: f64, bytes: usize) -> Vec<u8> {
    match bytes {
        2 => half::f16::from_f64(value).to_le_bytes().to_vec(),
        4 => (value as f32).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    }
}

/// A name with settings: a text, or an object with `name` and `configuration`.
pub(super) fn named(value: &Value) -> Option<(&str, Option<&Map<String, Value>>)> {
    match value {
        Value::String(name) => Some((name, None)),
        _ => Some((value.get("name")?.as_str()?, value.get("configuration").and_then(Value::as_object))),
    }
}

/// An array.
pub(super) struct Array {
    pub shape: Vec<u64>,
    /// The shape of a chunk.
    pub chunk: Vec<u64>,
    pub element: Element,
    /// The bytes of a value that is in no chunk.
    pub fill: Option<Vec<u8>>,
    pub fill_text: String,
    /// What comes before the numbers in the name of a chunk's file, and what stands between them.
    prefix: &'static str,
    separator: char,
    /// How a chunk is packed, in the order of writing.
    codecs: Vec<Codec>,
}

impl Array {
    /// From `.zarray`.
    pub fn version2(about: &Map<String, Value>) -> Outcome<Array> {
        let (shape, chunk) = (lengths(about, "shape")?, lengths(about, "chunks")?);
        let element = Element::numpy(about.get("dtype").unwrap_or(&Value::Null))?;
        let mut codecs = Vec::new();
        if about.get("order").and_then(Value::as_str) == Some("F") {
            codecs.push(Codec::Transpose((0..shape.len()).rev().collect()));
        }
        let mut texts = 0;
        for filter in about.get("filters").and_then(Value::as_array).into_iter().flatten() {
            match filter.get("id").and_then(Value::as_str) {
                Some("vlen-utf8") if element == Element::Text => texts += 1,
                other => return Err(Problem::Unknown(format!("the filter {}", other.unwrap_or("without a name")))),
            }
        }
        match (&element, texts) {
            (Element::Text, 1) => codecs.push(Codec::Texts),
            (Element::Text, _) => return Err(Problem::Unknown("Python objects that are not texts".to_owned())),
            _ => codecs.push(Codec::Bytes),
        }
        if let Some(packer) = about.get("compressor").filter(|packer| !packer.is_null()) {
            let name = packer.get("id").and_then(Value::as_str).unwrap_or_default();
            codecs.push(Codec::Step(Step::named(name)?));
        }
        let nested = about.get("dimension_separator").and_then(Value::as_str) == Some("/");
        let separator = if nested { '/' } else { '.' };
        Array::new(about, shape, chunk, element, ("", separator), codecs)
    }

    /// From `zarr.json`.
    pub fn version3(about: &Map<String, Value>) -> Outcome<Array> {
        let damaged = |what: &str| Problem::Damaged(format!("its description has no {what} that is understood"));
        let shape = lengths(about, "shape")?;
        let grid = about.get("chunk_grid").and_then(named).filter(|(name, _)| *name == "regular");
        let chunk = lengths(grid.and_then(|(_, about)| about).ok_or_else(|| damaged("regular grid"))?, "chunk_shape")?;
        let mut element = Element::named(about.get("data_type").unwrap_or(&Value::Null))?;
        let keys = about.get("chunk_key_encoding").and_then(named).ok_or_else(|| damaged("names of chunks"))?;
        let separator = keys.1.and_then(|about| about.get("separator")).and_then(Value::as_str);
        let (prefix, separator) = match (keys.0, separator) {
            ("default", Some("/") | None) => ("c", '/'),
            ("default", Some(".")) => ("c", '.'),
            ("v2", Some("/")) => ("", '/'),
            ("v2", Some(".") | None) => ("", '.'),
            _ => return Err(damaged("names of chunks")),
        };
        let list = about.get("codecs").and_then(Value::as_array).ok_or_else(|| damaged("codecs"))?;
        let (codecs, big) = Codec::list(list, &chunk, &element)?;
        if big {
            element = element.big();
        }
        Array::new(about, shape, chunk, element, (prefix, separator), codecs)
    }

    fn new(
        about: &Map<String, Value>,
        shape: Vec<u64>,
        chunk: Vec<u64>,
        element: Element,
        (prefix, separator): (&'static str, char),
        codecs: Vec<Codec>,
    ) -> Outcome<Array> {
        if shape.len() != chunk.len() || chunk.contains(&0) {
            return Err(Problem::Damaged(format!("chunks of {chunk:?} do not fit a shape of {shape:?}")));
        }
        let fill = about.get("fill_value").unwrap_or(&Value::Null);
        let fill_text = fill.as_str().unwrap_or_default().to_owned();
        let fill = element.bytes(fill);
        Ok(Array { shape, chunk, element, fill, fill_text, prefix, separator, codecs })
    }

    /// The place in the grid of the chunk in a file of that name.
    pub fn place(&self, name: &Path) -> Option<Vec<u64>> {
        let parts: Option<Vec<&str>> = name.iter().map(|part| part.to_str()).collect();
        let name = parts?.join("/");
        let mut parts = name.split(self.separator).peekable();
        if !self.prefix.is_empty() && parts.next() != Some(self.prefix) {
            return None;
        }
        if self.shape.is_empty() {
            let rest: Vec<&str> = parts.collect();
            return (rest == if self.prefix.is_empty() { vec!["0"] } else { vec![] }).then(Vec::new);
        }
        let number = |part: &str| part.parse::<u64>().ok().filter(|n| n.to_string() == part);
        let place: Vec<u64> = parts.map(number).collect::<Option<_>>()?;
        let within = |((&place, &chunk), &length): ((&u64, &u64), &u64)| {
            place.checked_mul(chunk).is_some_and(|start| start < length)
        };
        let fits = place.len() == self.shape.len() && place.iter().zip(&self.chunk).zip(&self.shape).all(within);
        fits.then_some(place)
    }

    /// How many chunks those rows have.
    pub fn chunks_in(&self, rows: &std::ops::Range<u64>) -> Option<u64> {
        let mut all = 1u64;
        for (axis, (&length, &chunk)) in self.shape.iter().zip(&self.chunk).enumerate() {
            let n = match axis {
                0 if rows.is_empty() => 0,
                0 => (rows.end - 1) / chunk - rows.start / chunk + 1,
                _ => length.div_ceil(chunk),
            };
            all = all.checked_mul(n)?;
        }
        Some(all)
    }

    /// The values of a chunk, in the order of its axes.
    pub fn unpack(&self, bytes: &[u8], most: u64) -> Outcome<super::codec::Chunk> {
        super::codec::unpack(&self.codecs, bytes, &self.chunk, self, most)
    }
}

/// A list of lengths.
pub(super) fn lengths(about: &Map<String, Value>, key: &str) -> Outcome<Vec<u64>> {
    let list = about.get(key).and_then(Value::as_array).filter(|list| list.len() <= 32);
    let list: Option<Vec<u64>> = list.and_then(|list| list.iter().map(Value::as_u64).collect());
    let small = |list: &Vec<u64>| list.iter().all(|&n| n < 1 << 48);
    list.filter(small).ok_or_else(|| Problem::Damaged(format!("its `{key}` is no list of lengths")))
}
