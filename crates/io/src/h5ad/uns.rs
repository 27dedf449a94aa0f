//! `uns`: a tree of anything.

use std::borrow::Cow;
use std::collections::BTreeMap;

use scgraft_cells::{Column, Uns};

use super::frame::{plain, read_column, read_frame, what_was_found, write_column, write_frame};
use super::matrix::{describe, read_matrix, write_csr};
use super::options::Select;
use crate::error::{Error, Result};
use crate::hdf5::Writer;
use crate::store::{Data, Kind, Reader, RecordField, Values};

/// Deepest nesting that is followed: a link to a group above it would lead on forever.
const MOST_DEPTH: usize = 32;
/// Most entries that are read, for the same reason.
const MOST_ENTRIES: usize = 200_000;

/// Reads one entry. `None` (after a warning) when it cannot be represented. `entries` counts those read.
pub(crate) fn read_uns(r: &dyn Reader, at: &str, entries: &mut usize) -> Result<Option<Uns>> {
    *entries += 1;
    if at.split('/').count() > MOST_DEPTH || *entries > MOST_ENTRIES {
        let found = format!("{} entries, this one {} deep; does a link lead back?", *entries, at.split('/').count());
        return Err(Error::content(r.path(), at, format!("at most {MOST_ENTRIES} entries, {MOST_DEPTH} deep"), found));
    }
    let attrs = r.attrs(at)?;
    let encoding = attrs.text("encoding-type").unwrap_or("");
    let left_out = |why: &str| {
        r.leave_out(at, why);
        Ok(None)
    };
    if encoding == "null" {
        return Ok(Some(Uns::Null));
    }
    match r.kind(at)? {
        None => left_out("a link that leads nowhere"),
        Some(Kind::Group) => match encoding {
            "dataframe" => Ok(Some(Uns::Frame(read_frame(r, at, &Select::All, None)?))),
            "categorical" | "nullable-integer" | "nullable-boolean" | "nullable-string-array" => {
                Ok(read_column(r, at, None)?.map(Uns::Column))
            }
            "" | "dict" | "csr_matrix" | "csc_matrix" => {
                if describe(r, at)?.is_some() {
                    return Ok(Some(Uns::Sparse(read_matrix(r, at, None)?.to_csr())));
                }
                let mut map = BTreeMap::new();
                for name in r.children(at)? {
                    if let Some(value) = read_uns(r, &format!("{at}/{name}"), entries)? {
                        map.insert(name, value);
                    }
                }
                Ok(Some(Uns::Map(map)))
            }
            _ => left_out(&format!("an encoding that is not known ({encoding})")),
        },
        Some(Kind::Dataset) => {
            let shape = r.info(at)?.shape;
            let values = match r.values(at, None) {
                Ok(values) => values,
                Err(error @ Error::Content { .. }) => {
                    return left_out(&format!("a value of a type that is not understood ({})", what_was_found(&error)));
                }
                Err(error) => return Err(error),
            };
            if shape.is_empty() && values.len() == 0 {
                // HDF5 has a dataset without even one value; before it had a name, None was written so.
                return Ok(Some(Uns::Null));
            }
            Ok(Some(match values {
                Values::Float(v) if shape.is_empty() => Uns::Float(v[0]),
                Values::Int(v) if shape.is_empty() => Uns::Int(v[0]),
                Values::Bool(v) if shape.is_empty() => Uns::Bool(v[0]),
                Values::Text(mut v) if shape.is_empty() => Uns::Text(v.swap_remove(0)),
                Values::Float(v) => Uns::Floats(shape, v),
                Values::Int(v) => Uns::Ints(shape, v),
                Values::Bool(v) => Uns::Bools(shape, v),
                // anndata before 0.7 wrote a text as a list of one.
                Values::Text(mut v) if encoding.is_empty() && shape == [1] => Uns::Text(v.swap_remove(0)),
                Values::Text(v) if shape.len() == 1 => Uns::Texts(v),
                Values::Text(_) => return left_out("texts in more than one dimension"),
                Values::Record(fields) if fields.iter().map(|f| f.name.as_str()).eq(["r", "i"]) => {
                    return left_out("complex numbers");
                }
                Values::Record(fields) => {
                    let mut columns = Vec::with_capacity(fields.len());
                    for field in fields {
                        match plain(field.values).filter(|_| field.shape.is_empty() && shape.len() == 1) {
                            Some(column) => columns.push((field.name, column)),
                            None => return left_out("records of arrays"),
                        }
                    }
                    Uns::Records(columns)
                }
            }))
        }
    }
}

/// Writes one entry.
pub(crate) fn write_uns<'a>(w: &mut impl Writer<'a>, at: &str, value: &'a Uns) -> Result<()> {
    use super::encoding;
    let array = || encoding("array", "0.2.0");
    let scalar = || encoding("numeric-scalar", "0.2.0");
    match value {
        Uns::Null => w.dataset(at, vec![], Data::Bool(vec![false]), encoding("null", "0.1.0")),
        Uns::Bool(v) => w.dataset(at, vec![], Data::Bool(vec![*v]), scalar()),
        Uns::Int(v) => w.dataset(at, vec![], Data::I64(Cow::Owned(vec![*v])), scalar()),
        Uns::Float(v) => w.dataset(at, vec![], Data::F64(Cow::Owned(vec![*v])), scalar()),
        Uns::Text(v) => w.dataset(at, vec![], Data::Text(vec![v]), encoding("string", "0.2.0")),
        Uns::Texts(v) => {
            let texts = v.iter().map(String::as_str).collect();
            w.dataset(at, vec![v.len()], Data::Text(texts), encoding("string-array", "0.2.0"))
        }
        Uns::Ints(shape, v) => w.dataset(at, shape.clone(), Data::I64(Cow::Borrowed(v)), array()),
        Uns::Floats(shape, v) => w.dataset(at, shape.clone(), Data::F64(Cow::Borrowed(v)), array()),
        Uns::Bools(shape, v) => w.dataset(at, shape.clone(), Data::Bool(v.clone()), array()),
        Uns::Frame(frame) => write_frame(w, at, frame),
        Uns::Sparse(m) => write_csr(w, at, m),
        Uns::Column(column) => write_column(w, at, column),
        Uns::Records(columns) => {
            let n = columns.first().map_or(0, |(_, c)| c.len());
            let fields = columns.iter().map(|(name, column)| (name.as_str(), record_field(column))).collect();
            w.dataset(at, vec![n], Data::Record(fields), encoding("rec-array", "0.2.0"))
        }
        Uns::Map(map) => {
            w.group(at, encoding("dict", "0.1.0"))?;
            map.iter().try_for_each(|(name, value)| write_uns(w, &super::child(at, name)?, value))
        }
    }
}

fn record_field(column: &Column) -> RecordField<'_> {
    match column {
        Column::Real(v) => RecordField::F64(v),
        Column::Integer(v) => RecordField::I64(v.iter().map(|v| v.unwrap_or(0)).collect()),
        Column::Boolean(v) => RecordField::Bool(v.iter().map(|v| v.unwrap_or(false)).collect()),
        Column::Text(v) => RecordField::Text(v.iter().map(|v| v.as_deref().unwrap_or("")).collect()),
        Column::Categorical { codes, categories, .. } => RecordField::Text(
            codes
                .iter()
                .map(|&c| usize::try_from(c).ok().and_then(|c| categories.get(c)).map_or("", String::as_str))
                .collect(),
        ),
    }
}
