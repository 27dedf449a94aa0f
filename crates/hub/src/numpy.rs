//! NumPy's arrays and scalars in a pickle, as names and numbers.

use crate::HubError;
use crate::pickle::{Call, Node, Value};

/// Names: of a list, an array of any kind, or an index of pandas. Numbers become the text that a column of them has.
pub(crate) fn names(value: Value<'_, '_>) -> Result<Vec<String>, HubError> {
    let Some(call) = value.call() else {
        return value.items()?.into_iter().map(|v| name(v).ok_or_else(|| v.expected("a name"))).collect();
    };
    match call.name {
        "_reconstruct" => of_array(value, call),
        // pandas: the class, then what it holds.
        "_new_Index" => match call.arguments.item(1).and_then(|held| held.get("data")) {
            Some(data) => names(data),
            None => Err(value.expected("an index of names")),
        },
        _ => Err(value.expected("a list of names")),
    }
}

/// One name.
pub(crate) fn name(value: Value<'_, '_>) -> Option<String> {
    match value.node() {
        Node::Text(text) => Some((*text).to_owned()),
        Node::Int(v) => Some(v.to_string()),
        Node::Float(v) => Some(v.to_string()),
        Node::Bool(v) => Some(if *v { "True" } else { "False" }.to_owned()),
        // NumPy's scalars: their type, then their bytes.
        Node::Object(_) => {
            let call = value.call().filter(|c| c.name == "scalar")?;
            let kind = Kind::of(call.arguments.item(0)?)?;
            kind.one(call.arguments.item(1)?.bytes()?)
        }
        _ => None,
    }
}

/// An integer of at least 0, Python's or NumPy's.
pub(crate) fn size(value: Value<'_, '_>) -> Option<usize> {
    value.size().or_else(|| name(value)?.parse().ok())
}

/// Truth values of an array or list.
pub(crate) fn truths(value: Value<'_, '_>) -> Result<Vec<bool>, HubError> {
    Ok(names(value)?.iter().map(|n| n == "True" || n == "1").collect())
}

/// The rows of an array of two axes, or of a list of lists, as numbers.
pub(crate) fn rows(value: Value<'_, '_>) -> Result<Vec<Vec<f32>>, HubError> {
    let numbers = |names: Vec<String>| -> Result<Vec<f32>, HubError> {
        names.iter().map(|n| n.parse().map_err(|_| value.expected("a matrix of numbers"))).collect()
    };
    let Some(call) = value.call() else {
        return value.items()?.into_iter().map(|row| numbers(names(row)?)).collect();
    };
    let shape = call.state.and_then(|s| s.item(1)).ok_or_else(|| value.expected("a matrix"))?.items()?;
    let [_, width] = shape[..] else { return Err(value.expected("a matrix")) };
    let fortran = call.state.and_then(|s| s.item(3)).and_then(Value::truth).unwrap_or(false);
    let width = width.size().filter(|&n| n > 0 && !fortran).ok_or_else(|| value.expected("a matrix by rows"))?;
    Ok(numbers(of_array(value, call)?)?.chunks(width).map(<[f32]>::to_vec).collect())
}

/// What an array holds: its state is version, shape, type, order and data.
fn of_array(value: Value<'_, '_>, call: Call<'_, '_>) -> Result<Vec<String>, HubError> {
    let wrong = || value.expected("an array of names or numbers");
    let state = call.state.ok_or_else(wrong)?;
    let (kind, data) = (state.item(2).ok_or_else(wrong)?, state.item(4).ok_or_else(wrong)?);
    let kind = Kind::of(kind).ok_or_else(wrong)?;
    let Some(bytes) = data.bytes() else {
        // Python objects.
        return data.items()?.into_iter().map(|v| name(v).ok_or_else(wrong)).collect();
    };
    if kind.width == 0 || bytes.len() % kind.width != 0 {
        return Err(wrong());
    }
    bytes.chunks_exact(kind.width).map(|b| kind.one(b).ok_or_else(wrong)).collect()
}

/// The type of an array's values.
#[derive(Clone, Copy, Debug)]
struct Kind {
    letter: u8,
    width: usize,
    big_endian: bool,
}

impl Kind {
    /// `numpy.dtype("U12", …)`, filled with (version, order of bytes, …).
    fn of(value: Value<'_, '_>) -> Option<Kind> {
        let call = value.call().filter(|c| c.module == "numpy" && c.name == "dtype")?;
        let code = call.arguments.item(0)?.text()?;
        let (&letter, digits) = code.as_bytes().split_first()?;
        let width: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let width = if letter == b'U' { width.checked_mul(4)? } else { width };
        let order = call.state.and_then(|s| s.item(1)).and_then(Value::text);
        Some(Kind { letter, width, big_endian: order == Some(">") })
    }

    /// A value as text.
    fn one(self, bytes: &[u8]) -> Option<String> {
        if bytes.len() != self.width || self.width > 1 << 16 {
            return None;
        }
        let ordered = |b: &[u8]| -> u64 {
            let join = |sum: u64, b: &u8| sum << 8 | u64::from(*b);
            if self.big_endian { b.iter().fold(0, join) } else { b.iter().rev().fold(0, join) }
        };
        match (self.letter, self.width) {
            (b'U', _) => {
                let characters = bytes.chunks_exact(4).map(|b| ordered(b) as u32).take_while(|&c| c != 0);
                characters.map(char::from_u32).collect()
            }
            (b'S', _) => {
                let n = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
                std::str::from_utf8(&bytes[..n]).ok().map(str::to_owned)
            }
            (b'b', 1) => Some(if bytes[0] != 0 { "True" } else { "False" }.to_owned()),
            (b'u', 1 | 2 | 4 | 8) => Some(ordered(bytes).to_string()),
            (b'i', 1 | 2 | 4 | 8) => {
                let unused = 64 - 8 * self.width as u32;
                Some(((ordered(bytes) << unused) as i64 >> unused).to_string())
            }
            (b'f', 4) => Some(f32::from_bits(ordered(bytes) as u32).to_string()),
            (b'f', 8) => Some(f64::from_bits(ordered(bytes)).to_string()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::Pickle;

    /// An array as NumPy pickles it: its shape, its type with the order of bytes, and its data.
    fn array(shape: &[u8], kind: &str, order: &str, data: &[u8]) -> Vec<u8> {
        let text = |t: &str| [&b"X"[..], &(t.len() as u32).to_le_bytes(), t.as_bytes()].concat();
        let mut out = b"\x80\x02cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85N\x87R(K\x01".to_vec();
        out.extend(shape);
        out.extend(b"cnumpy\ndtype\n");
        out.extend(text(kind));
        out.extend(b"\x89\x88\x87R(K\x03");
        out.extend(text(order));
        out.extend(b"tb\x89c_codecs\nencode\n");
        out.extend(text(&data.iter().map(|&b| char::from(b)).collect::<String>()));
        out.extend(text("latin1"));
        out.extend(b"\x86Rtb.");
        out
    }

    fn read(kind: &str, order: &str, data: &[u8]) -> Result<Vec<String>, HubError> {
        names(Pickle::new(&array(b"K\x02\x85", kind, order, data), "f")?.root())
    }

    #[test]
    fn arrays_of_every_kind() {
        assert_eq!(read("U2", "<", b"a\0\0\0b\0\0\0\xe9\0\0\0\0\0\0\0").unwrap(), ["ab", "é"]);
        assert_eq!(read("U1", ">", b"\0\0\0a\0\0\0b").unwrap(), ["a", "b"]);
        assert_eq!(read("S2", "|", b"abc\0").unwrap(), ["ab", "c"]);
        assert_eq!(read("i2", "<", b"\xfd\xff\x07\0").unwrap(), ["-3", "7"]);
        assert_eq!(read("i8", "<", &[(-3i64).to_le_bytes(), 7i64.to_le_bytes()].concat()).unwrap(), ["-3", "7"]);
        assert_eq!(read("u1", "|", b"\xff\x07").unwrap(), ["255", "7"]);
        assert_eq!(read("b1", "|", b"\x01\0").unwrap(), ["True", "False"]);
        assert_eq!(read("f4", "<", &[0.5f32.to_le_bytes(), 2f32.to_le_bytes()].concat()).unwrap(), ["0.5", "2"]);
        read("U2", "<", b"abc").unwrap_err();
        read("U0", "<", b"abc").unwrap_err();
        read("U99999999999999999999", "<", b"abc").unwrap_err();
        read("V8", "<", b"abcdefgh").unwrap_err();
    }

    #[test]
    fn matrices() {
        let bytes = array(b"K\x02K\x02\x86", "u1", "|", b"\x01\0\0\x01");
        assert_eq!(rows(Pickle::new(&bytes, "f").unwrap().root()).unwrap(), [[1.0, 0.0], [0.0, 1.0]]);
        let lists = b"\x80\x02](](K\x01K\0e](K\0K\x01ee.";
        assert_eq!(rows(Pickle::new(lists, "f").unwrap().root()).unwrap(), [[1.0, 0.0], [0.0, 1.0]]);
    }
}
