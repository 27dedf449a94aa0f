//! Tables: `obs`, `var`, and data frames in other slots.

use std::collections::HashSet;
use std::ops::Range;

use scgraft_cells::{Column, Frame};

use super::options::Select;
use crate::error::{Error, Result};
use crate::hdf5::Writer;
use crate::names::{hdf5_names, is_hdf5_name};
use crate::store::{Attr, Data, Field, Kind, Reader, Values};

/// Reads a table: a data frame of anndata 0.7 and later, or a dataset of records as before.
pub(crate) fn read_frame(r: &dyn Reader, at: &str, columns: &Select, rows: Option<Range<usize>>) -> Result<Frame> {
    match r.kind(at)? {
        Some(Kind::Group) => read_group(r, at, columns, rows),
        Some(Kind::Dataset) => read_records(r, at, columns, rows),
        None => Err(Error::missing(r.path(), "slot", at, &r.children("")?)),
    }
}

/// The attribute with the names of the columns, where HDF5 cannot hold some of them.
const MEANT: &str = "column-names";

/// The columns of a data frame: what they are called, and the name each is stored under.
pub(crate) struct Columns {
    pub index: String,
    pub stored: Vec<String>,
    pub names: Vec<String>,
}

/// The name of the index and the columns of a data frame, without their values.
pub(crate) fn frame_names(r: &dyn Reader, at: &str) -> Result<Columns> {
    let attrs = r.attrs(at)?;
    let index = attrs.text("_index").unwrap_or("_index").to_owned();
    let columns = match attrs.texts("column-order") {
        Some(columns) => columns,
        None => r.children(at)?.into_iter().filter(|name| *name != index && name != "__categories").collect(),
    };
    // Another program that changed the columns knows nothing of this attribute.
    let meant = attrs.texts(MEANT).filter(|meant| hdf5_names(meant) == hdf5_names(&columns));
    let names = meant.unwrap_or_else(|| columns.clone());
    Ok(Columns { index, stored: columns, names })
}

/// The columns to read, in the table's order.
pub(crate) fn chosen(r: &dyn Reader, at: &str, select: &Select, names: &[String]) -> Result<Vec<String>> {
    match select {
        Select::All => Ok(names.to_vec()),
        Select::Nothing => Ok(Vec::new()),
        Select::Only(wanted) => {
            if let Some(missing) = wanted.iter().find(|w| !names.contains(w)) {
                return Err(Error::missing(r.path(), format!("entry of `{at}`"), missing, names));
            }
            Ok(names.iter().filter(|n| wanted.contains(n)).cloned().collect())
        }
    }
}

fn read_group(r: &dyn Reader, at: &str, select: &Select, rows: Option<Range<usize>>) -> Result<Frame> {
    let Columns { index: index_name, stored, names } = frame_names(r, at)?;
    let index_at = format!("{at}/{index_name}");
    let index = match read_column(r, &index_at, rows.clone())? {
        Some(column) => index_of(r, &index_at, &column)?,
        None => return Err(Error::content(r.path(), index_at, "names of rows", "something else")),
    };
    let mut frame = Frame::new(index);
    frame.index_name = (index_name != "_index").then_some(index_name);
    let wanted = chosen(r, at, select, &names)?;
    for (stored, name) in stored.into_iter().zip(names).filter(|(_, name)| wanted.contains(name)) {
        let column_at = format!("{at}/{stored}");
        let old_categories = format!("{at}/__categories/{stored}");
        let column = if r.kind(&column_at)? == Some(Kind::Dataset) && r.kind(&old_categories)?.is_some() {
            Some(coded(r, &column_at, &old_categories, r.attrs(&old_categories)?.truth("ordered"), rows.clone())?)
        } else {
            read_column(r, &column_at, rows.clone())?
        };
        let Some(column) = column else { continue };
        if column.len() != frame.len() {
            let found = format!("{} for {} rows", column.len(), frame.len());
            return Err(Error::content(r.path(), column_at, "one value a row", found));
        }
        frame.columns.push((name, column));
    }
    Ok(frame)
}

fn index_of(r: &dyn Reader, at: &str, column: &Column) -> Result<Vec<String>> {
    let texts = column.texts().into_iter().enumerate().map(|(i, text)| {
        text.ok_or_else(|| Error::content(r.path(), at, "a name for every row", format!("none for row {i}")))
    });
    texts.collect()
}

/// Reads one column, of whatever encoding. `None` (after a warning) when it cannot be represented.
pub(crate) fn read_column(r: &dyn Reader, at: &str, rows: Option<Range<usize>>) -> Result<Option<Column>> {
    let attrs = r.attrs(at)?;
    match r.kind(at)? {
        None => Err(Error::content(r.path(), at, "a column, as `column-order` says", "nothing")),
        Some(Kind::Dataset) => match r.values(at, rows) {
            Ok(values) if values.len() == 0 && r.info(at)?.shape.is_empty() => {
                r.leave_out(at, "a column without values");
                Ok(None)
            }
            Ok(values) => Ok(plain(values).or_else(|| {
                r.leave_out(at, "a column of records");
                None
            })),
            Err(error @ Error::Content { .. }) => {
                r.leave_out(at, &format!("a column of a type that is not understood ({})", what_was_found(&error)));
                Ok(None)
            }
            Err(error) => Err(error),
        },
        Some(Kind::Group) => match attrs.text("encoding-type") {
            Some("categorical") => {
                let (codes, categories) = (format!("{at}/codes"), format!("{at}/categories"));
                coded(r, &codes, &categories, attrs.truth("ordered"), rows).map(Some)
            }
            Some("nullable-integer" | "nullable-boolean" | "nullable-string-array") => nullable(r, at, rows).map(Some),
            other => {
                let encoding = other.unwrap_or("none");
                r.leave_out(at, &format!("a column of an encoding that is not known ({encoding})"));
                Ok(None)
            }
        },
    }
}

/// What an error says was found.
pub(crate) fn what_was_found(error: &Error) -> String {
    match error {
        Error::Content { found, .. } => found.clone(),
        other => other.to_string(),
    }
}

/// Values as a column; `None` for records.
pub(crate) fn plain(values: Values) -> Option<Column> {
    Some(match values {
        Values::Float(v) => Column::Real(v),
        Values::Int(v) => Column::Integer(v.into_iter().map(Some).collect()),
        Values::Bool(v) => Column::Boolean(v.into_iter().map(Some).collect()),
        Values::Text(v) => Column::Text(v.into_iter().map(Some).collect()),
        Values::Record(_) => return None,
    })
}

fn nullable(r: &dyn Reader, at: &str, rows: Option<Range<usize>>) -> Result<Column> {
    let values = r.values(&format!("{at}/values"), rows.clone())?;
    let mask = match r.values(&format!("{at}/mask"), rows)? {
        Values::Bool(mask) => mask,
        Values::Int(mask) => mask.into_iter().map(|m| m != 0).collect(),
        other => return Err(Error::content(r.path(), format!("{at}/mask"), "truth values", other.describe())),
    };
    if mask.len() != values.len() {
        let found = format!("{} for {} values", mask.len(), values.len());
        return Err(Error::content(r.path(), format!("{at}/mask"), "one truth value for each value", found));
    }
    fn masked<T>(values: Vec<T>, mask: &[bool]) -> Vec<Option<T>> {
        values.into_iter().zip(mask).map(|(v, &missing)| (!missing).then_some(v)).collect()
    }
    Ok(match values {
        Values::Int(v) => Column::Integer(masked(v, &mask)),
        Values::Bool(v) => Column::Boolean(masked(v, &mask)),
        Values::Text(v) => Column::Text(masked(v, &mask)),
        Values::Float(v) => {
            Column::Real(v.into_iter().zip(&mask).map(|(v, &missing)| if missing { f64::NAN } else { v }).collect())
        }
        other => return Err(Error::content(r.path(), format!("{at}/values"), "plain values", other.describe())),
    })
}

fn coded(
    r: &dyn Reader,
    codes_at: &str,
    categories_at: &str,
    ordered: Option<bool>,
    rows: Option<Range<usize>>,
) -> Result<Column> {
    let categories = read_column(r, categories_at, None)?
        .ok_or_else(|| Error::content(r.path(), categories_at, "names of categories", "something else"))?;
    let codes = r.values(codes_at, rows)?;
    categorical(r, codes_at, codes, &categories, ordered.unwrap_or(false))
}

fn categorical(r: &dyn Reader, at: &str, codes: Values, categories: &Column, ordered: bool) -> Result<Column> {
    let categories = index_of(r, at, categories)?;
    let Values::Int(codes) = codes else {
        return Err(Error::content(r.path(), at, "codes of categories", codes.describe()));
    };
    let n = categories.len() as i64;
    let codes: Result<Vec<i32>> = codes
        .into_iter()
        .map(|c| match c {
            -1 => Ok(-1),
            c if (0..n).contains(&c) => Ok(c as i32),
            c => Err(Error::content(r.path(), at, format!("codes from -1 to {}", n - 1), c.to_string())),
        })
        .collect();
    Ok(Column::Categorical { codes: codes?, categories, ordered })
}

/// Where anndata before 0.7 kept the categories of a column of `obs` or `var`.
pub(crate) fn old_categories(column: &str) -> String {
    format!("uns/{column}_categories")
}

fn read_records(r: &dyn Reader, at: &str, select: &Select, rows: Option<Range<usize>>) -> Result<Frame> {
    let Values::Record(fields) = r.values(at, rows)? else {
        return Err(Error::content(r.path(), at, "a table", "a plain dataset"));
    };
    let index_at = fields.iter().position(|f| f.name == "index" || f.name == "_index").unwrap_or(0);
    let names: Vec<String> = fields.iter().map(|f| f.name.clone()).collect();
    let columns: Vec<String> =
        names.iter().enumerate().filter(|&(i, _)| i != index_at).map(|(_, n)| n.clone()).collect();
    let wanted = chosen(r, at, select, &columns)?;
    let mut frame = Frame::default();
    let mut rest = Vec::new();
    for (i, Field { name, shape, values }) in fields.into_iter().enumerate() {
        let slot = format!("{at}/{name}");
        let Some(column) = plain(values).filter(|_| shape.is_empty()) else {
            r.leave_out(&slot, "a column of arrays");
            continue;
        };
        if i == index_at {
            frame.index = index_of(r, &slot, &column)?;
            frame.index_name = (name != "_index").then_some(name);
        } else if wanted.contains(&name) {
            rest.push((name, column));
        }
    }
    for (name, column) in rest {
        let categories_at = old_categories(&name);
        let column = match column {
            Column::Integer(codes) if matches!(at, "obs" | "var") && r.kind(&categories_at)?.is_some() => {
                let categories = read_column(r, &categories_at, None)?.unwrap_or(Column::Text(Vec::new()));
                let codes = Values::Int(codes.into_iter().map(|c| c.unwrap_or(-1)).collect());
                categorical(r, &format!("{at}/{name}"), codes, &categories, false)?
            }
            column => column,
        };
        frame.columns.push((name, column));
    }
    Ok(frame)
}

/// The names under which the index and the columns of a table are stored. A name with a `/` stands in a folder, as
/// anndata has it; what HDF5 cannot hold, or would take for the folder of another, gets a name of its own.
pub(crate) fn stored_names(frame: &Frame) -> (String, Vec<String>) {
    let names = frame.names();
    let plain = hdf5_names(&names);
    // A column may bear the name of the index: then the index takes another.
    let free = |name: &&str| {
        let taken = names.iter().zip(&plain).any(|(n, plain)| n.split('/').next() == Some(*name) || plain == name);
        is_hdf5_name(name) && !taken
    };
    let index = frame.index_name.as_deref().filter(free).unwrap_or("_index").to_owned();
    let folders: HashSet<&str> = names.iter().flat_map(|n| n.match_indices('/').map(|(end, _)| &n[..end])).collect();
    let whole: HashSet<&str> = names.iter().copied().collect();
    let fits = |name: &str| {
        let outside = name.match_indices('/').all(|(end, _)| !whole.contains(&name[..end]));
        outside && !folders.contains(name) && name.split('/').all(is_hdf5_name)
    };
    let mut taken: HashSet<&str> = HashSet::new();
    let stored = names.iter().zip(&plain).map(|(name, plain)| {
        let nested = name.contains('/') && fits(name) && taken.insert(name);
        if nested { (*name).to_owned() } else { plain.clone() }
    });
    (index, stored.collect())
}

/// Writes a table in the encoding of anndata 0.8 and later.
pub(crate) fn write_frame<'a>(w: &mut impl Writer<'a>, at: &str, frame: &'a Frame) -> Result<()> {
    let (index, stored) = stored_names(frame);
    let names: Vec<String> = frame.names().into_iter().map(str::to_owned).collect();
    w.group(at, frame_attrs(at, &names, &index, &stored))?;
    write_index(w, at, &index, frame)?;
    let columns = frame.columns.iter().zip(&stored);
    columns.into_iter().try_for_each(|((_, column), stored)| write_column(w, &format!("{at}/{stored}"), column))
}

/// The attributes of a table; says which columns are stored under other names.
pub(crate) fn frame_attrs(at: &str, names: &[String], index: &str, stored: &[String]) -> Vec<(&'static str, Attr)> {
    let mut attrs = super::encoding("dataframe", "0.2.0");
    attrs.push(("_index", Attr::Text(index.to_owned())));
    attrs.push(("column-order", Attr::Texts(stored.to_vec())));
    let renamed: Vec<String> = (names.iter().zip(stored))
        .filter(|(name, stored)| name != stored)
        .map(|(name, stored)| format!("`{name}` as `{stored}`"))
        .collect();
    if !renamed.is_empty() {
        attrs.push((MEANT, Attr::Texts(names.to_vec())));
        let shown = renamed.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        tracing::warn!(slot = at, count = renamed.len(), "columns whose names HDF5 cannot hold: {shown}");
    }
    attrs
}

/// Writes the names of the rows.
pub(crate) fn write_index<'a>(w: &mut impl Writer<'a>, at: &str, index: &str, frame: &'a Frame) -> Result<()> {
    let names = frame.index.iter().map(String::as_str).collect();
    let encoding = super::encoding("string-array", "0.2.0");
    w.dataset(&format!("{at}/{index}"), vec![frame.len()], Data::Text(names), encoding)
}

/// Writes a column. Text of which some is missing becomes categorical, since anndata before 0.12
/// has no other way to write a missing text.
pub(crate) fn write_column<'a>(w: &mut impl Writer<'a>, at: &str, column: &'a Column) -> Result<()> {
    use super::encoding;
    use std::borrow::Cow;
    let (n, array) = (vec![column.len()], || encoding("array", "0.2.0"));
    let (values_at, mask_at) = (format!("{at}/values"), format!("{at}/mask"));
    match column {
        Column::Real(v) => w.dataset(at, n, Data::F64(Cow::Borrowed(v)), array()),
        Column::Integer(v) if v.iter().all(Option::is_some) => {
            w.dataset(at, n, Data::I64(v.iter().flatten().copied().collect()), array())
        }
        Column::Integer(v) => {
            w.group(at, encoding("nullable-integer", "0.1.0"))?;
            w.dataset(&values_at, n.clone(), Data::I64(v.iter().map(|v| v.unwrap_or(1)).collect()), array())?;
            w.dataset(&mask_at, n, Data::Bool(v.iter().map(Option::is_none).collect()), array())
        }
        Column::Boolean(v) if v.iter().all(Option::is_some) => {
            w.dataset(at, n, Data::Bool(v.iter().flatten().copied().collect()), array())
        }
        Column::Boolean(v) => {
            w.group(at, encoding("nullable-boolean", "0.1.0"))?;
            w.dataset(&values_at, n.clone(), Data::Bool(v.iter().map(|v| v.unwrap_or(false)).collect()), array())?;
            w.dataset(&mask_at, n, Data::Bool(v.iter().map(Option::is_none).collect()), array())
        }
        Column::Text(v) if v.iter().all(Option::is_some) => {
            let texts = v.iter().flatten().map(String::as_str).collect();
            w.dataset(at, n, Data::Text(texts), encoding("string-array", "0.2.0"))
        }
        Column::Text(v) => {
            let mut categories: Vec<&str> = v.iter().flatten().map(String::as_str).collect();
            categories.sort_unstable();
            categories.dedup();
            let code = |t: &Option<String>| match t {
                Some(t) => categories.binary_search(&t.as_str()).map_or(-1, |c| c as i32),
                None => -1,
            };
            let codes = v.iter().map(code).collect();
            write_categorical(w, at, Cow::Owned(codes), categories, false)
        }
        Column::Categorical { codes, categories, ordered } => {
            write_categorical(w, at, Cow::Borrowed(codes), categories.iter().map(String::as_str).collect(), *ordered)
        }
    }
}

fn write_categorical<'a>(
    w: &mut impl Writer<'a>,
    at: &str,
    codes: std::borrow::Cow<'a, [i32]>,
    categories: Vec<&'a str>,
    ordered: bool,
) -> Result<()> {
    let mut attrs = super::encoding("categorical", "0.2.0");
    attrs.push(("ordered", Attr::Bool(ordered)));
    w.group(at, attrs)?;
    let (n_codes, n) = (codes.len(), categories.len());
    w.dataset(&format!("{at}/codes"), vec![n_codes], Data::Codes(codes, n), super::encoding("array", "0.2.0"))?;
    w.dataset(&format!("{at}/categories"), vec![n], Data::Text(categories), super::encoding("string-array", "0.2.0"))
}
