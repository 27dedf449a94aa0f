//! From the types of `hdf5-pure` to ours, and the bytes of records to values.

use hdf5_pure::{AttrValue, Datatype, DatatypeByteOrder, FixedPointLayout, StringPadding};

use super::heap::Heap;
use crate::store::{Attr, Type, Values};

pub(super) fn attr(value: &AttrValue) -> Attr {
    if let Some(text) = value.as_str() {
        Attr::Text(text.to_owned())
    } else if let Some(texts) = value.as_strings() {
        Attr::Texts(texts.to_vec())
    } else if let Some(ints) = value.to_i64s() {
        Attr::Ints(ints)
    } else if value.to_f64s().is_some_and(|v| v.is_empty()) {
        // h5py writes an empty list as an empty array of float64.
        Attr::Ints(Vec::new())
    } else {
        Attr::Other
    }
}

pub(super) fn describe_type(datatype: &Datatype) -> Type {
    match datatype {
        Datatype::FloatingPoint { size, .. } => Type::Float(*size),
        Datatype::FixedPoint { size, layout: FixedPointLayout { signed: true, .. }, .. } => Type::Int(*size),
        Datatype::FixedPoint { size, .. } => Type::Uint(*size),
        Datatype::String { .. } | Datatype::VariableLength { is_string: true, .. } => Type::Text,
        Datatype::Enumeration { base_type, members, .. } => {
            let mut names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
            names.sort_unstable();
            if names == ["FALSE", "TRUE"] { Type::Bool } else { describe_type(base_type) }
        }
        Datatype::Compound { members, .. } => {
            Type::Record(members.iter().map(|m| (m.name.clone(), describe_type(&m.datatype))).collect())
        }
        Datatype::Array { base_type, dimensions } => {
            Type::Array(Box::new(describe_type(base_type)), dimensions.iter().map(|&d| d as usize).collect())
        }
        other => Type::Other(other.to_string()),
    }
}

pub(super) fn element_size(datatype: &Datatype, heap: &Heap) -> usize {
    match datatype {
        Datatype::FixedPoint { size, .. }
        | Datatype::FloatingPoint { size, .. }
        | Datatype::String { size, .. }
        | Datatype::Enumeration { size, .. } => *size as usize,
        Datatype::VariableLength { .. } => heap.reference_size(),
        _ => 0,
    }
}

/// Decodes the elements of one field of records.
pub(super) fn decode(datatype: &Datatype, cells: &[&[u8]], heap: &mut Heap) -> std::result::Result<Values, String> {
    use DatatypeByteOrder::LittleEndian;
    let word = |cell: &[u8], little: bool| {
        let mut bytes = [0u8; 8];
        bytes[..cell.len()].copy_from_slice(cell);
        if !little {
            bytes[..cell.len()].reverse();
        }
        u64::from_le_bytes(bytes)
    };
    match datatype {
        Datatype::FloatingPoint { size: 8, byte_order, .. } => {
            let little = matches!(byte_order, LittleEndian);
            Ok(Values::Float(cells.iter().map(|c| f64::from_bits(word(c, little))).collect()))
        }
        Datatype::FloatingPoint { size: 4, byte_order, .. } => {
            let little = matches!(byte_order, LittleEndian);
            Ok(Values::Float(cells.iter().map(|c| f64::from(f32::from_bits(word(c, little) as u32))).collect()))
        }
        Datatype::FixedPoint { size: size @ 1..=8, byte_order, layout } => {
            let little = matches!(byte_order, LittleEndian);
            let unused = 64 - 8 * size;
            let values = cells.iter().map(|c| {
                let bits = word(c, little) << unused;
                if layout.signed { Ok((bits as i64) >> unused) } else { i64::try_from(bits >> unused) }
            });
            let values: std::result::Result<Vec<i64>, _> = values.collect();
            values.map(Values::Int).map_err(|_| "a whole number above 2^63".to_owned())
        }
        Datatype::Enumeration { base_type, .. } => match (describe_type(datatype), decode(base_type, cells, heap)?) {
            (Type::Bool, Values::Int(v)) => Ok(Values::Bool(v.into_iter().map(|v| v != 0).collect())),
            (_, values) => Ok(values),
        },
        Datatype::String { padding, .. } => {
            let spaces = matches!(padding, StringPadding::SpacePad);
            let texts = cells.iter().map(|cell| {
                let end = cell.iter().position(|&b| b == 0).unwrap_or(cell.len());
                let text = std::str::from_utf8(&cell[..end]).map_err(|_| "a text is not UTF-8".to_owned())?;
                Ok(if spaces { text.trim_end_matches(' ') } else { text }.to_owned())
            });
            Ok(Values::Text(texts.collect::<std::result::Result<_, String>>()?))
        }
        Datatype::VariableLength { is_string: true, .. } => {
            let texts = cells.iter().map(|cell| heap.text(cell));
            Ok(Values::Text(texts.collect::<std::result::Result<_, String>>()?))
        }
        other => Err(format!("values of type {other}")),
    }
}
