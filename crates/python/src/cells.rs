//! Cells on their way between AnnData and the library.

use std::sync::{Arc, Mutex};

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use scgraft::annotate::Placed;
use scgraft::cells::{Array, Cells, Column, Frame, GeneSet, Matrix, Raw, SimulateOptions};
use scgraft::slots;

use crate::counts::Counts;
use crate::error::refuse;
use crate::frame::{column, frame, frame_out};
use crate::json::to_python;
use crate::run::run;
use crate::uns::{array, csr_out, map, map_out};

/// Cells with what a call needs of them.
#[pyclass(frozen, name = "Cells", module = "scgraft._native")]
pub struct PyCells {
    inner: Mutex<Arc<Cells>>,
}

impl PyCells {
    /// Cells for Python to hold.
    pub fn of(cells: Cells) -> Self {
        PyCells { inner: Mutex::new(Arc::new(cells)) }
    }

    /// The cells, shared.
    pub fn get(&self) -> PyResult<Arc<Cells>> {
        Ok(self.inner.lock().map_err(|_| broken())?.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Cells) -> PyResult<T>) -> PyResult<T> {
        let mut inner = self.inner.lock().map_err(|_| broken())?;
        change(Arc::get_mut(&mut inner).ok_or_else(|| refuse("these cells are in use"))?)
    }
}

fn broken() -> PyErr {
    refuse("these cells were given up after an error; make them again")
}

/// Puts a column into a table, `of` which its rows are.
fn put(table: &mut Frame, (slot, of): (&str, &str), name: &str, values: Column) -> PyResult<()> {
    let (found, n) = (values.len(), table.len());
    if found != n {
        return Err(refuse(format!("column `{name}` of {slot} has {found} rows for {n} {of}")));
    }
    table.set(name, values);
    Ok(())
}

#[pymethods]
impl PyCells {
    /// Cells and genes by name, nothing else.
    #[new]
    fn new(cells: Vec<String>, genes: Vec<String>) -> Self {
        PyCells::of(Cells::empty(Frame::new(cells), Frame::new(genes)))
    }

    /// Puts expression into X (`slot` "X"), a layer of that name, or `raw`, which has genes of its own.
    #[pyo3(signature = (slot, counts, layer = None, raw_var = None))]
    fn set_expression(
        &self,
        slot: &str,
        counts: &Counts,
        layer: Option<String>,
        raw_var: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let var = raw_var.map(frame).transpose()?;
        let x = Matrix::Sparse(counts.take()?);
        self.change(|cells| {
            match (slot, layer, var) {
                ("layer", Some(name), _) => drop(cells.layers.insert(name, x)),
                ("raw", _, Some(var)) => cells.raw = Some(Raw { x, var, varm: Default::default() }),
                _ => cells.x = Some(x),
            }
            Ok(())
        })
    }

    /// A column of obs.
    fn set_obs(&self, name: &str, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = column(values)?;
        self.change(|cells| put(&mut cells.obs, ("obs", "cells"), name, values))
    }

    /// A column of var.
    fn set_var(&self, name: &str, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = column(values)?;
        self.change(|cells| put(&mut cells.var, ("var", "genes"), name, values))
    }

    /// An entry of obsm: a float32 array, or a table.
    fn set_obsm(&self, name: String, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = array(values)?;
        self.change(|cells| {
            if values.n_rows() != cells.n_cells() {
                let (n, m) = (values.n_rows(), cells.n_cells());
                return Err(refuse(format!("obsm[\"{name}\"] has {n} rows for {m} cells")));
            }
            cells.obsm.insert(name, values);
            Ok(())
        })
    }

    /// An entry of varm.
    fn set_varm(&self, name: String, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = array(values)?;
        self.change(|cells| {
            cells.varm.insert(name, values);
            Ok(())
        })
    }

    /// Everything of uns that can be read.
    fn set_uns(&self, values: &Bound<'_, PyDict>) -> PyResult<()> {
        let values = map(values)?;
        self.change(|cells| {
            cells.uns = values;
            Ok(())
        })
    }
}

/// Simulated cells: `{"reference": …, "query": …, "gene_sets": {name: genes}, "truth": …}`; options as JSON.
#[pyfunction]
pub fn simulate(py: Python<'_>, options: &str, threads: usize) -> PyResult<Py<PyAny>> {
    let options: SimulateOptions = crate::json::options(options)?;
    let found = run(py, threads, None, move |_| Ok(scgraft::cells::simulate(&options)?))?;
    let genes = found.reference.var.index.clone();
    let truth = scgraft::save::truth(&found.truth, &genes);
    let out = PyDict::new(py);
    let activity = [found.truth.reference_activity, found.truth.query_activity];
    for ((name, mut cells), activity) in
        [("reference", found.reference), ("query", found.query)].into_iter().zip(activity)
    {
        cells.obsm.insert("true_activity".into(), Array::Dense(activity));
        out.set_item(name, whole(py, cells)?)?;
    }
    let sets = PyDict::new(py);
    for GeneSet { name, genes, .. } in found.gene_sets {
        sets.set_item(name, genes)?;
    }
    out.set_item("gene_sets", sets)?;
    out.set_item("truth", to_python(py, &truth)?)?;
    out.into_py_any(py)
}

/// What was left out, and why.
pub type Reasons = Vec<(String, String)>;

/// A query and its reference as one: the parts of an AnnData, and which slots of both were left out and why.
#[pyfunction]
pub fn join(py: Python<'_>, reference: &PyCells, cells: &PyCells, threads: usize) -> PyResult<(Py<PyAny>, Reasons)> {
    let (reference, cells) = (reference.get()?, cells.get()?);
    let joined = run(py, threads, None, move |_| {
        let [known, query] = [&reference, &cells].map(|c| slots::embedding(c, slots::LATENT));
        let (known, query) = (known?, query?);
        let known = Placed { name: "reference", cells: &reference, embedding: &known };
        scgraft::join::join(&known, &Placed { name: "adata", cells: &cells, embedding: &query })
    })?;
    Ok((whole(py, joined.cells)?, joined.left_out))
}

/// Cells as the parts of an AnnData.
fn whole(py: Python<'_>, cells: Cells) -> PyResult<Py<PyAny>> {
    let out = PyDict::new(py);
    let sparse = |m: Matrix| match m {
        Matrix::Sparse(m) => csr_out(py, m),
        Matrix::Dense(m) => csr_out(py, m.to_csr()),
    };
    out.set_item("x", cells.x.map(sparse).transpose()?)?;
    let layers = PyDict::new(py);
    for (name, values) in cells.layers {
        layers.set_item(name, sparse(values)?)?;
    }
    out.set_item("layers", layers)?;
    let raw = cells.raw.map(|raw| Ok::<_, PyErr>((sparse(raw.x)?, frame_out(py, raw.var)?))).transpose()?;
    out.set_item("raw", raw)?;
    out.set_item("obs", frame_out(py, cells.obs)?)?;
    out.set_item("var", frame_out(py, cells.var)?)?;
    let obsm = PyDict::new(py);
    for (name, values) in cells.obsm {
        obsm.set_item(name, crate::uns::array_out(py, values)?)?;
    }
    out.set_item("obsm", obsm)?;
    out.set_item("uns", map_out(py, cells.uns)?)?;
    out.into_py_any(py)
}
