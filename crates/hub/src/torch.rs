//! PyTorch's files: a zip with a pickle that refers to stores of numbers, and tensors as windows on them.
//!
//! The older file of one stream is read too: four pickles (a magic number, the version, the machine, the values), the
//! keys of the stores, and the stores one after the other.

use std::collections::{BTreeMap, HashMap};

use crate::HubError;
use crate::pickle::{Pickle, Value, shown};
use crate::zip::{Zip, is_zip};

/// A tensor, its values in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A file of PyTorch: its pickle, and its stores by key.
#[derive(Debug)]
pub(crate) struct TorchFile<'a> {
    pub pickle: Pickle<'a>,
    stores: Stores<'a>,
    place: String,
    size: usize,
}

#[derive(Debug)]
enum Stores<'a> {
    Zip(Zip<'a>, &'a str),
    Stream(HashMap<String, &'a [u8]>),
}

/// What the older file begins with: a pickle of 0x1950a86a20f9469cfc6c.
const STREAM: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

impl<'a> TorchFile<'a> {
    /// Opens a file; `place` names it in errors.
    pub(crate) fn new(bytes: &'a [u8], place: &str) -> Result<TorchFile<'a>, HubError> {
        let (pickle, stores) = if is_zip(bytes) {
            let zip = Zip::new(bytes, place)?;
            let none = || HubError::format(place, "no file of PyTorch: it has no `data.pkl`");
            let folder = zip.folder_of("data.pkl").ok_or_else(none)?;
            let pickle = zip.get(&format!("{folder}/data.pkl")).ok_or_else(none)?;
            if zip.get(&format!("{folder}/byteorder")).is_some_and(|order| order != b"little") {
                return Err(HubError::format(place, "its numbers are big-endian; save it on another machine"));
            }
            (Pickle::new(pickle, place)?, Stores::Zip(zip, folder))
        } else if bytes.starts_with(STREAM) {
            stream(bytes, place)?
        } else {
            return Err(HubError::format(place, "no file of PyTorch: neither a zip file nor its older stream"));
        };
        Ok(TorchFile { pickle, stores, place: place.to_owned(), size: bytes.len() })
    }

    /// The tensors of a dictionary, by name; what is no tensor is named in the second list.
    pub(crate) fn tensors(&self, state: Value<'_, 'a>) -> Result<(BTreeMap<String, Tensor>, Vec<String>), HubError> {
        // Every number has a byte of its own at least, even where tensors share a store.
        let mut left = self.size;
        let (mut out, mut others) = (BTreeMap::new(), Vec::new());
        for (key, value) in state.entries()? {
            let name = key.text().ok_or_else(|| key.expected("the name of a tensor"))?;
            match self.tensor(name, value, &mut left)? {
                Some(tensor) => _ = out.insert(name.to_owned(), tensor),
                None => others.push(name.to_owned()),
            }
        }
        Ok((out, others))
    }

    /// A tensor: `_rebuild_tensor_v2(store, first, shape, strides, …)`, or a parameter around one.
    fn tensor(&self, name: &str, value: Value<'_, 'a>, left: &mut usize) -> Result<Option<Tensor>, HubError> {
        let mut call = value.call();
        if let Some(around) = call.filter(|c| c.module == "torch._utils" && c.name == "_rebuild_parameter") {
            call = around.arguments.item(0).and_then(Value::call);
        }
        let Some(call) = call.filter(|c| c.module == "torch._utils" && c.name == "_rebuild_tensor_v2") else {
            return Ok(None);
        };
        let wrong = |what: &str| HubError::format(&self.place, format!("tensor {}: {what}", shown(name)));
        let damaged = || wrong("its description is damaged");
        let argument = |at| call.arguments.item(at).ok_or_else(damaged);
        let key = argument(0)?.persistent().ok_or_else(damaged)?;
        let (_, class) = key.item(1).and_then(Value::global).ok_or_else(damaged)?;
        let number =
            Number::of(class).ok_or_else(|| wrong(&format!("numbers of kind {} are unknown", shown(class))))?;
        let key = key.item(2).and_then(Value::text).ok_or_else(damaged)?;
        let store = self.store(key).ok_or_else(|| wrong("its numbers are missing; the file may be cut off"))?;
        let sizes = |v: Value<'_, 'a>| -> Result<Vec<usize>, HubError> {
            v.items()?.into_iter().map(|n| n.size().ok_or_else(damaged)).collect()
        };
        let (shape, strides) = (sizes(argument(2)?)?, sizes(argument(3)?)?);
        let first = argument(1)?.size().ok_or_else(damaged)?;
        let outside = || wrong("it is larger than its numbers in the file");
        if shape.len() != strides.len() || shape.len() > 8 {
            return Err(damaged());
        }
        let n = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).ok_or_else(outside)?;
        *left = left.checked_sub(n).ok_or_else(outside)?;
        let stored = store.len() / number.width();
        if n > 0 {
            let reach = |sum: usize, (&s, &stride): (&usize, &usize)| sum.checked_add((s - 1).checked_mul(stride)?);
            let last = shape.iter().zip(&strides).try_fold(first, reach);
            last.filter(|&l| l < stored && n <= stored).ok_or_else(outside)?;
        }
        let mut values = Vec::with_capacity(n);
        let mut index = vec![0usize; shape.len()];
        let mut at = first;
        for _ in 0..n {
            values.push(number.at(store, at));
            // The next place in row-major order.
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                at += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                at -= strides[axis] * shape[axis];
                index[axis] = 0;
            }
        }
        Ok(Some(Tensor { shape, values }))
    }

    fn store(&self, key: &str) -> Option<&'a [u8]> {
        match &self.stores {
            Stores::Zip(zip, folder) => zip.get(&format!("{folder}/data/{key}")),
            Stores::Stream(stores) => stores.get(key).copied(),
        }
    }
}

/// The older file: its values, and its stores, whose kinds of number stand in the values.
fn stream<'a>(bytes: &'a [u8], place: &str) -> Result<(Pickle<'a>, Stores<'a>), HubError> {
    let cut = || HubError::format(place, "it is cut off");
    let mut at = STREAM.len();
    let mut next = || -> Result<Pickle<'a>, HubError> {
        let pickle = Pickle::new(bytes.get(at..).ok_or_else(cut)?, place)?;
        at += pickle.end;
        Ok(pickle)
    };
    let (_version, _machine, values, keys) = (next()?, next()?, next()?, next()?);
    let width = |key: Value<'_, 'a>| {
        let (_, class) = key.item(1)?.global()?;
        Some((key.item(2)?.text()?, Number::of(class)?.width()))
    };
    let widths: HashMap<&str, usize> = values.references().filter_map(width).collect();
    let mut stores = HashMap::new();
    for key in keys.root().items()? {
        let key = key.text().ok_or_else(|| key.expected("the key of a store"))?;
        let count = bytes.get(at..).and_then(|b| b.first_chunk::<8>()).ok_or_else(cut)?;
        let count = usize::try_from(u64::from_le_bytes(*count)).map_err(|_| cut())?;
        let width = widths.get(key).copied().unwrap_or(1);
        let end = count.checked_mul(width).and_then(|n| n.checked_add(at + 8)).ok_or_else(cut)?;
        stores.insert(key.to_owned(), bytes.get(at + 8..end).ok_or_else(cut)?);
        at = end;
    }
    Ok((values, Stores::Stream(stores)))
}

/// A kind of number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    U8,
    I16,
    I32,
    I64,
}

impl Number {
    /// The kind of a store's class.
    pub(crate) fn of(class: &str) -> Option<Number> {
        Some(match class {
            "HalfStorage" => Number::F16,
            "BFloat16Storage" => Number::Bf16,
            "FloatStorage" => Number::F32,
            "DoubleStorage" => Number::F64,
            "CharStorage" => Number::I8,
            "ByteStorage" | "BoolStorage" => Number::U8,
            "ShortStorage" => Number::I16,
            "IntStorage" => Number::I32,
            "LongStorage" => Number::I64,
            _ => return None,
        })
    }

    pub(crate) fn width(self) -> usize {
        match self {
            Number::I8 | Number::U8 => 1,
            Number::F16 | Number::Bf16 | Number::I16 => 2,
            Number::F32 | Number::I32 => 4,
            Number::F64 | Number::I64 => 8,
        }
    }

    /// The value at a place; 0 past the end.
    fn at(self, store: &[u8], at: usize) -> f32 {
        let width = self.width();
        let bytes = store.get(at * width..(at + 1) * width).unwrap_or(&[]);
        let bits = bytes.iter().rev().fold(0u64, |sum, &b| sum << 8 | u64::from(b));
        match self {
            Number::F16 => half::f16::from_bits(bits as u16).to_f32(),
            Number::Bf16 => f32::from_bits((bits as u32) << 16),
            Number::F32 => f32::from_bits(bits as u32),
            Number::F64 => f64::from_bits(bits) as f32,
            Number::I8 => f32::from(bits as u8 as i8),
            Number::U8 => f32::from(bits as u8),
            Number::I16 => f32::from(bits as u16 as i16),
            Number::I32 => bits as u32 as i32 as f32,
            Number::I64 => bits as i64 as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_file_of_one_stream() {
        let mut bytes = STREAM.to_vec();
        bytes.extend(b"\x80\x02M\xe9\x03.\x80\x02}.");
        bytes.extend(
            b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n",
        );
        bytes.extend(
            b"X\x01\0\0\x000X\x03\0\0\0cpuK\x04NtQK\x01K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.",
        );
        bytes.extend(b"\x80\x02]X\x01\0\0\x000a.");
        bytes.extend(4u64.to_le_bytes());
        [1f32, 2.0, 3.0, 4.0].iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        let file = TorchFile::new(&bytes, "f").unwrap();
        let (tensors, others) = file.tensors(file.pickle.root()).unwrap();
        assert_eq!(tensors["w"], Tensor { shape: vec![3], values: vec![2.0, 3.0, 4.0] });
        assert!(others.is_empty());
        for cut in 0..bytes.len() {
            let read = TorchFile::new(&bytes[..cut], "f").and_then(|f| f.tensors(f.pickle.root()).map(|t| t.0.len()));
            assert!(read.is_err(), "cut at {cut}");
        }
    }
}
