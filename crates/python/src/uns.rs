//! Arrays and `uns` of AnnData, in and out.

use std::collections::BTreeMap;

use numpy::ndarray::{Array2, ArrayD, IxDyn};
use numpy::{IntoPyArray, PyArray2, PyArrayMethods, PyReadonlyArray2, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};
use scgraft::cells::{Array, Csr, Dense, Frame, Uns};

use crate::error::refuse;
use crate::frame::{column_out, frame, frame_out};

/// A matrix for Python; the values move.
pub fn dense_out(py: Python<'_>, m: Dense) -> PyResult<Py<PyAny>> {
    let array = Array2::from_shape_vec((m.n_rows, m.n_cols), m.values).map_err(|e| refuse(e.to_string()))?;
    array.into_pyarray(py).into_py_any(py)
}

/// A sparse matrix for Python, as the parts of scipy's: `(shape, indptr, indices, data)`; the values move.
pub fn csr_out(py: Python<'_>, m: Csr) -> PyResult<Py<PyAny>> {
    let starts: Vec<i64> = m.indptr.iter().map(|&p| p as i64).collect();
    let indices: Vec<i32> = m.indices.iter().map(|&i| i as i32).collect();
    ((m.n_rows, m.n_cols), starts.into_pyarray(py), indices.into_pyarray(py), m.values.into_pyarray(py)).into_py_any(py)
}

/// An entry of `obsm` for Python: an array, or a table.
pub fn array_out(py: Python<'_>, array: Array) -> PyResult<Py<PyAny>> {
    match array {
        Array::Dense(m) => dense_out(py, m),
        Array::Sparse(m) => csr_out(py, m),
        Array::Frame(f) => frame_out(py, f),
    }
}

/// A matrix of Python's, float32 in rows.
pub fn dense(given: &Bound<'_, PyAny>) -> PyResult<Dense> {
    let array: PyReadonlyArray2<'_, f32> =
        given.cast::<PyArray2<f32>>()?.try_readonly().map_err(|e| refuse(e.to_string()))?;
    let shape = array.shape().to_vec();
    Ok(Dense::new(shape[0], shape[1], array.as_array().iter().copied().collect()))
}

/// An entry of `obsm`: a float32 array, or a table.
pub fn array(given: &Bound<'_, PyAny>) -> PyResult<Array> {
    if given.is_instance_of::<PyDict>() { Ok(Array::Frame(frame(given)?)) } else { Ok(Array::Dense(dense(given)?)) }
}

/// A value of `uns`; `None` for a kind that nothing here reads.
pub fn uns(given: &Bound<'_, PyAny>) -> PyResult<Option<Uns>> {
    if given.is_none() {
        return Ok(Some(Uns::Null));
    }
    if given.is_instance_of::<PyBool>() {
        return Ok(Some(Uns::Bool(given.extract()?)));
    }
    if given.is_instance_of::<PyInt>() {
        return Ok(given.extract().ok().map(Uns::Int));
    }
    if given.is_instance_of::<PyFloat>() {
        return Ok(Some(Uns::Float(given.extract()?)));
    }
    if given.is_instance_of::<PyString>() {
        return Ok(Some(Uns::Text(given.extract()?)));
    }
    if let Ok(dict) = given.cast::<PyDict>() {
        // The package marks tables, which look like dictionaries here.
        if let Some(table) = dict.get_item("\0table")? {
            return Ok(Some(Uns::Frame(frame(&table)?)));
        }
        return Ok(Some(Uns::Map(map(dict)?)));
    }
    if let Ok(array) = given.extract::<PyReadonlyArrayDyn<'_, f64>>() {
        return Ok(Some(Uns::Floats(array.shape().to_vec(), array.as_array().iter().copied().collect())));
    }
    if let Ok(array) = given.extract::<PyReadonlyArrayDyn<'_, i64>>() {
        return Ok(Some(Uns::Ints(array.shape().to_vec(), array.as_array().iter().copied().collect())));
    }
    if let Ok(array) = given.extract::<PyReadonlyArrayDyn<'_, bool>>() {
        return Ok(Some(Uns::Bools(array.shape().to_vec(), array.as_array().iter().copied().collect())));
    }
    Ok(given.extract().ok().map(Uns::Texts))
}

/// A dictionary of `uns`.
pub fn map(given: &Bound<'_, PyDict>) -> PyResult<BTreeMap<String, Uns>> {
    let mut out = BTreeMap::new();
    for (key, value) in given {
        if let (Ok(key), Some(value)) = (key.extract::<String>(), uns(&value)?) {
            out.insert(key, value);
        }
    }
    Ok(out)
}

/// A value of `uns` for Python. Tables come as `{"\0table": table}`, columns as `{"\0column": column}`, records as
/// `{"\0records": table}`, sparse matrices as `{"\0sparse": parts}`.
pub fn uns_out(py: Python<'_>, value: Uns) -> PyResult<Py<PyAny>> {
    let marked = |mark: &str, inner: Py<PyAny>| -> PyResult<Py<PyAny>> {
        let out = PyDict::new(py);
        out.set_item(mark, inner)?;
        out.into_py_any(py)
    };
    match value {
        Uns::Null => Ok(py.None()),
        Uns::Bool(b) => b.into_py_any(py),
        Uns::Int(i) => i.into_py_any(py),
        Uns::Float(f) => f.into_py_any(py),
        Uns::Text(s) => s.into_py_any(py),
        Uns::Texts(list) => list.into_py_any(py),
        Uns::Ints(shape, v) => shaped(py, shape, v),
        Uns::Floats(shape, v) => shaped(py, shape, v),
        Uns::Bools(shape, v) => shaped(py, shape, v),
        Uns::Frame(f) => marked("\0table", frame_out(py, f)?),
        Uns::Sparse(m) => marked("\0sparse", csr_out(py, m)?),
        Uns::Column(c) => marked("\0column", column_out(py, c)?),
        Uns::Records(fields) => {
            let n = fields.first().map_or(0, |f| f.1.len());
            let table = Frame { columns: fields, ..Frame::new((0..n).map(|i| i.to_string()).collect()) };
            marked("\0records", frame_out(py, table)?)
        }
        Uns::Map(map) => map_out(py, map),
    }
}

/// A dictionary of `uns` for Python.
pub fn map_out(py: Python<'_>, map: BTreeMap<String, Uns>) -> PyResult<Py<PyAny>> {
    let out = PyDict::new(py);
    for (key, value) in map {
        out.set_item(key, uns_out(py, value)?)?;
    }
    out.into_py_any(py)
}

fn shaped<T: numpy::Element>(py: Python<'_>, shape: Vec<usize>, values: Vec<T>) -> PyResult<Py<PyAny>> {
    let array = ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(|e| refuse(e.to_string()))?;
    array.into_pyarray(py).into_py_any(py)
}
