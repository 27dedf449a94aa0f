//! Plain descriptions of what HDF5 files hold.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Group,
    Dataset,
}

/// The type of a dataset's elements.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    /// Real numbers of so many bytes.
    Float(u32),
    /// Signed whole numbers of so many bytes.
    Int(u32),
    /// Unsigned whole numbers of so many bytes.
    Uint(u32),
    /// Truth values: an enumeration of FALSE and TRUE, as h5py writes them.
    Bool,
    /// Text, of fixed or variable length.
    Text,
    /// Records with named fields.
    Record(Vec<(String, Type)>),
    /// So many values of one type for each element.
    Array(Box<Type>, Vec<usize>),
    /// Anything else, described.
    Other(String),
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Type::Float(bytes) => write!(f, "float{}", u64::from(*bytes) * 8),
            Type::Int(bytes) => write!(f, "int{}", u64::from(*bytes) * 8),
            Type::Uint(bytes) => write!(f, "uint{}", u64::from(*bytes) * 8),
            Type::Bool => f.write_str("bool"),
            Type::Text => f.write_str("text"),
            Type::Record(fields) => write!(f, "records of {} fields", fields.len()),
            Type::Array(base, shape) => write!(f, "{base} × {shape:?}"),
            Type::Other(what) => f.write_str(what),
        }
    }
}

/// Shape and type of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Info {
    /// Length of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub kind: Type,
    /// Elements in one chunk, where the dataset is chunked.
    pub chunk_rows: Option<usize>,
}

/// Values of a dataset, in row order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    Float(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
    Record(Vec<Field>),
}

/// One field of a dataset of records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub name: String,
    /// Shape of the field in one record: empty, but for fields that are arrays.
    pub shape: Vec<usize>,
    pub values: Values,
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Values::Float(v) => v.len(),
            Values::Int(v) => v.len(),
            Values::Bool(v) => v.len(),
            Values::Text(v) => v.len(),
            Values::Record(fields) => fields.first().map_or(0, |f| f.values.len()),
        }
    }

    /// What they are, for a message.
    pub fn describe(&self) -> &'static str {
        match self {
            Values::Float(_) => "real numbers",
            Values::Int(_) => "whole numbers",
            Values::Bool(_) => "truth values",
            Values::Text(_) => "text",
            Values::Record(_) => "records",
        }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attr {
    Text(String),
    Texts(Vec<String>),
    Ints(Vec<i64>),
    Bool(bool),
    /// An attribute of some other type.
    Other,
}

/// The attributes of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attrs(pub BTreeMap<String, Attr>);

impl Attrs {
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Attr::Text(text)) => Some(text),
            Some(Attr::Texts(texts)) if texts.len() == 1 => Some(&texts[0]),
            _ => None,
        }
    }

    /// A list of texts; an empty list of any type counts as one.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        match self.0.get(name)? {
            Attr::Texts(texts) => Some(texts.clone()),
            Attr::Text(text) => Some(vec![text.clone()]),
            Attr::Ints(ints) if ints.is_empty() => Some(Vec::new()),
            _ => None,
        }
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.0.get(name) {
            Some(Attr::Ints(ints)) => Some(ints),
            _ => None,
        }
    }

    pub fn truth(&self, name: &str) -> Option<bool> {
        match self.0.get(name)? {
            Attr::Bool(truth) => Some(*truth),
            Attr::Ints(ints) if ints.len() == 1 => Some(ints[0] != 0),
            _ => None,
        }
    }
}

/// Values to write. Large arrays are borrowed.
#[derive(Clone, Debug)]
pub(crate) enum Data<'a> {
    F32(&'a [f32]),
    F64(Cow<'a, [f64]>),
    I64(Cow<'a, [i64]>),
    /// Category codes, written as the narrowest signed type that holds `n` categories.
    Codes(Cow<'a, [i32]>, usize),
    /// Column or row numbers, written as signed numbers of 4 bytes, or 8 where `wide`.
    Numbers32 {
        values: &'a [u32],
        wide: bool,
    },
    /// Offsets, written as signed numbers of 4 bytes, or 8 where `wide`.
    Offsets {
        values: &'a [usize],
        wide: bool,
    },
    Bool(Vec<bool>),
    Text(Vec<&'a str>),
    /// Records: fields of numbers, truth values or text, all of one length.
    Record(Vec<(&'a str, RecordField<'a>)>),
}

/// One field of records to write.
#[derive(Clone, Debug)]
pub(crate) enum RecordField<'a> {
    F64(&'a [f64]),
    I64(Vec<i64>),
    Bool(Vec<bool>),
    Text(Vec<&'a str>),
}
