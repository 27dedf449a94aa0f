//! JSON as Python's values.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use serde_json::Value;

/// A value as `json.loads` would give it.
pub fn to_python(py: Python<'_>, value: &Value) -> PyResult<Py<PyAny>> {
    match value {
        Value::Null => Ok(py.None()),
        Value::Bool(b) => b.into_py_any(py),
        Value::Number(n) => match n.as_i64() {
            Some(i) => i.into_py_any(py),
            None => n.as_f64().into_py_any(py),
        },
        Value::String(s) => s.into_py_any(py),
        Value::Array(list) => {
            let items = list.iter().map(|v| to_python(py, v)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_py_any(py)
        }
        Value::Object(map) => {
            let out = PyDict::new(py);
            for (key, value) in map {
                out.set_item(key, to_python(py, value)?)?;
            }
            out.into_py_any(py)
        }
    }
}
