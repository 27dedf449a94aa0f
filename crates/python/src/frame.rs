//! Tables, column by column: what pandas keeps, as plain arrays and lists.
//!
//! A column is a tuple, its kind first: `("real", float64)`, `("integer", int64, missing or None)`,
//! `("boolean", bool, missing or None)`, `("text", list of str or None)`, `("categorical", int32 codes, categories, ordered)`.

use numpy::{IntoPyArray, PyArrayMethods, PyReadonlyArray1};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use scgraft::cells::{Column, Frame};

use crate::error::refuse;

/// A column of Python's.
pub fn column(given: &Bound<'_, PyAny>) -> PyResult<Column> {
    let tuple = given.cast::<PyTuple>()?;
    let kind: String = tuple.get_item(0)?.extract()?;
    let at = |i: usize| tuple.get_item(i);
    let missing = || -> PyResult<Option<Vec<bool>>> {
        let mask = at(2)?;
        if mask.is_none() {
            return Ok(None);
        }
        Ok(Some(mask.extract::<PyReadonlyArray1<'_, bool>>()?.to_vec()?))
    };
    Ok(match kind.as_str() {
        "real" => Column::Real(at(1)?.extract::<PyReadonlyArray1<'_, f64>>()?.to_vec()?),
        "integer" => {
            let values = at(1)?.extract::<PyReadonlyArray1<'_, i64>>()?.to_vec()?;
            Column::Integer(present(values, missing()?))
        }
        "boolean" => {
            let values = at(1)?.extract::<PyReadonlyArray1<'_, bool>>()?.to_vec()?;
            Column::Boolean(present(values, missing()?))
        }
        "text" => Column::Text(at(1)?.extract()?),
        "categorical" => Column::Categorical {
            codes: at(1)?.extract::<PyReadonlyArray1<'_, i32>>()?.to_vec()?,
            categories: at(2)?.extract()?,
            ordered: at(3)?.extract()?,
        },
        other => return Err(refuse(format!("a column of the kind {other}"))),
    })
}

fn present<T>(values: Vec<T>, missing: Option<Vec<bool>>) -> Vec<Option<T>> {
    match missing {
        None => values.into_iter().map(Some).collect(),
        Some(mask) => values.into_iter().zip(mask).map(|(v, m)| (!m).then_some(v)).collect(),
    }
}

/// A table of Python's: `{"index": [...], "name": ..., "columns": [(name, column), ...]}`.
pub fn frame(given: &Bound<'_, PyAny>) -> PyResult<Frame> {
    let given = given.cast::<PyDict>()?;
    let get = |name: &str| given.get_item(name)?.ok_or_else(|| refuse(format!("a table without {name}")));
    let mut out = Frame::new(get("index")?.extract()?);
    out.index_name = get("name")?.extract()?;
    for pair in get("columns")?.try_iter()? {
        let (name, values): (String, Bound<'_, PyAny>) = pair?.extract()?;
        let values = column(&values)?;
        if values.len() != out.len() {
            return Err(refuse(format!("column `{name}` has {} rows, its table {}", values.len(), out.len())));
        }
        out.set(&name, values);
    }
    Ok(out)
}

/// A column for Python; numbers move.
pub fn column_out(py: Python<'_>, column: Column) -> PyResult<Py<PyAny>> {
    fn mask<T>(values: &[Option<T>]) -> Option<Vec<bool>> {
        values.iter().any(Option::is_none).then(|| values.iter().map(Option::is_none).collect())
    }
    match column {
        Column::Real(v) => ("real", v.into_pyarray(py)).into_py_any(py),
        Column::Integer(v) => {
            let mask = mask(&v).map(|m| m.into_pyarray(py));
            let v: Vec<i64> = v.into_iter().map(Option::unwrap_or_default).collect();
            ("integer", v.into_pyarray(py), mask).into_py_any(py)
        }
        Column::Boolean(v) => {
            let mask = mask(&v).map(|m| m.into_pyarray(py));
            let v: Vec<bool> = v.into_iter().map(Option::unwrap_or_default).collect();
            ("boolean", v.into_pyarray(py), mask).into_py_any(py)
        }
        Column::Text(v) => ("text", v).into_py_any(py),
        Column::Categorical { codes, categories, ordered } => {
            ("categorical", codes.into_pyarray(py), categories, ordered).into_py_any(py)
        }
    }
}

/// A table for Python, as [`frame`] takes it.
pub fn frame_out(py: Python<'_>, frame: Frame) -> PyResult<Py<PyAny>> {
    let out = PyDict::new(py);
    out.set_item("index", frame.index)?;
    out.set_item("name", frame.index_name)?;
    let columns = PyList::empty(py);
    for (name, column) in frame.columns {
        columns.append((name, column_out(py, column)?))?;
    }
    out.set_item("columns", columns)?;
    out.into_py_any(py)
}
