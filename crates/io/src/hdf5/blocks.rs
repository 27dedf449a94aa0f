//! Values in the bytes they are stored as.

use hdf5_pure::{
    CharacterSet, CompoundTypeBuilder, DatasetBuilder, Datatype, EnumTypeBuilder, H5Element, StringPadding,
};

use crate::store::{Data, RecordField};

/// A stretch of numbers in the type they are stored as.
pub(super) enum Block<'b> {
    F32(&'b [f32]),
    F64(&'b [f64]),
    I64(&'b [i64]),
    I32(&'b [i32]),
    I16(&'b [i16]),
    I8(&'b [i8]),
}

impl Block<'_> {
    pub(super) fn put(&self, dataset: &mut DatasetBuilder) {
        fn put<T: H5Element>(dataset: &mut DatasetBuilder, values: &[T]) {
            dataset.with_data(values);
        }
        match self {
            Block::F32(v) => put(dataset, v),
            Block::F64(v) => put(dataset, v),
            Block::I64(v) => put(dataset, v),
            Block::I32(v) => put(dataset, v),
            Block::I16(v) => put(dataset, v),
            Block::I8(v) => put(dataset, v),
        }
    }

    pub(super) fn append(&self, dataset: &mut hdf5_pure::Dataset) -> std::result::Result<(), hdf5_pure::Error> {
        match self {
            Block::F32(v) => dataset.append(v),
            Block::F64(v) => dataset.append(v),
            Block::I64(v) => dataset.append(v),
            Block::I32(v) => dataset.append(v),
            Block::I16(v) => dataset.append(v),
            Block::I8(v) => dataset.append(v),
        }
    }
}

/// Hands the numbers of a range to `take`, converted to the type they are stored as.
pub(super) fn blocks(data: &Data, range: std::ops::Range<usize>, take: &mut dyn FnMut(Block)) {
    match data {
        Data::F32(v) => take(Block::F32(&v[range])),
        Data::F64(v) => take(Block::F64(&v[range])),
        Data::I64(v) => take(Block::I64(&v[range])),
        Data::Codes(v, n) if *n <= i8::MAX as usize => {
            take(Block::I8(&v[range].iter().map(|&c| c as i8).collect::<Vec<_>>()));
        }
        Data::Codes(v, n) if *n <= i16::MAX as usize => {
            take(Block::I16(&v[range].iter().map(|&c| c as i16).collect::<Vec<_>>()));
        }
        Data::Codes(v, _) => take(Block::I32(&v[range])),
        Data::Numbers32 { values, wide: true } => {
            take(Block::I64(&values[range].iter().map(|&c| i64::from(c)).collect::<Vec<_>>()));
        }
        Data::Numbers32 { values, wide: false } => {
            take(Block::I32(&values[range].iter().map(|&c| c as i32).collect::<Vec<_>>()));
        }
        Data::Offsets { values, wide: true } => {
            take(Block::I64(&values[range].iter().map(|&c| c as i64).collect::<Vec<_>>()));
        }
        Data::Offsets { values, wide: false } => {
            take(Block::I32(&values[range].iter().map(|&c| c as i32).collect::<Vec<_>>()));
        }
        Data::Bool(_) | Data::Text(_) | Data::Record(_) => {}
    }
}

/// h5py's truth values: an enumeration over `i8`.
pub(super) fn bool_type() -> std::result::Result<Datatype, hdf5_pure::FormatError> {
    EnumTypeBuilder::with_base(hdf5_pure::make_i8_type()).value("FALSE", 0).value("TRUE", 1).build()
}

/// Records row by row: numbers as 8 bytes, text as fixed-length strings as long as the longest.
pub(super) fn records(
    fields: &[(&str, RecordField)],
    len: usize,
) -> std::result::Result<(Datatype, Vec<u8>), hdf5_pure::FormatError> {
    let mut builder = CompoundTypeBuilder::new();
    for (name, field) in fields {
        builder = match field {
            RecordField::F64(_) => builder.f64_field(name),
            RecordField::I64(_) => builder.i64_field(name),
            RecordField::Bool(_) => builder.field(name, bool_type()?),
            RecordField::Text(v) => {
                let charset = if v.iter().all(|s| s.is_ascii()) { CharacterSet::Ascii } else { CharacterSet::Utf8 };
                builder.field(
                    name,
                    Datatype::String { size: text_width(v) as u32, padding: StringPadding::NullPad, charset },
                )
            }
        };
    }
    let mut bytes = Vec::new();
    for i in 0..len {
        for (_, field) in fields {
            match field {
                RecordField::F64(v) => bytes.extend_from_slice(&v[i].to_le_bytes()),
                RecordField::I64(v) => bytes.extend_from_slice(&v[i].to_le_bytes()),
                RecordField::Bool(v) => bytes.push(u8::from(v[i])),
                RecordField::Text(v) => {
                    bytes.extend_from_slice(v[i].as_bytes());
                    bytes.resize(bytes.len() + text_width(v) - v[i].len(), 0);
                }
            }
        }
    }
    Ok((builder.build()?, bytes))
}

fn text_width(values: &[&str]) -> usize {
    values.iter().map(|s| s.len()).max().unwrap_or(0).max(1)
}
