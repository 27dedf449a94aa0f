//! JSON as Python's values, and options that come as JSON.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use serde::Deserialize;
use serde_json::Value;

use crate::error::refuse;

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

/// Options of a call, as JSON.
pub fn options<T: for<'d> Deserialize<'d>>(json: &str) -> PyResult<T> {
    serde_json::from_str(json).map_err(|e| refuse(misfit(json, &e)))
}

/// An option that does not fit, by the name of its argument: what the text was read up to ends with its value.
fn misfit(json: &str, error: &serde_json::Error) -> String {
    let read = &json.as_bytes()[..error.column().min(json.len())];
    let read = String::from_utf8_lossy(read);
    let name = read.rsplit("\": ").nth(1).and_then(|before| before.rsplit('"').next());
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or(&words);
    match (name, words.split_once(": ").and_then(|(_, w)| w.split_once(", expected "))) {
        (Some(name), Some((found, expected))) => {
            let expected = match expected {
                "usize" | "u32" | "u64" => "a whole number, 0 or more",
                "f32" | "f64" => "a number",
                "a sequence" => "a list",
                "a boolean" => "True or False",
                other => other,
            };
            format!("{name}: expected {expected}, found {found}")
        }
        _ => words.to_owned(),
    }
}
