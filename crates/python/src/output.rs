//! What the library wrote into cells, for an AnnData.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use scgraft::cells::Cells;

use crate::frame::column_out;
use crate::uns::{array_out, csr_out, map_out};

/// All that cells hold besides their matrices and their `var`, for the package to put into an AnnData:
/// `{"obs": {…}, "obsm": {…}, "varm": {…}, "obsp": {…}, "uns": {…}}`; arrays move.
pub fn written(py: Python<'_>, cells: Cells) -> PyResult<Py<PyAny>> {
    let Cells { obs, obsm, varm, obsp, uns, .. } = cells;
    let out = PyDict::new(py);
    let slot = |name: &str| -> PyResult<Bound<'_, PyDict>> {
        let d = PyDict::new(py);
        out.set_item(name, &d)?;
        Ok(d)
    };
    let d = slot("obs")?;
    for (name, values) in obs.columns {
        d.set_item(name, column_out(py, values)?)?;
    }
    for (name, arrays) in [("obsm", obsm), ("varm", varm)] {
        let d = slot(name)?;
        for (name, values) in arrays {
            d.set_item(name, array_out(py, values)?)?;
        }
    }
    let d = slot("obsp")?;
    for (name, m) in obsp {
        d.set_item(name, csr_out(py, m)?)?;
    }
    out.set_item("uns", map_out(py, uns)?)?;
    out.into_py_any(py)
}
