//! Models, adaptors and cells as a model takes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use numpy::IntoPyArray;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyFileNotFoundError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use scgraft::cells::{Cells, Column, Frame, GeneSet, Prepared};
use scgraft::decode::{Decode, decode};
use scgraft::expression::predict;
use scgraft::hub::{Card, ImportOptions, export};
use scgraft::io::file_name;
use scgraft::models::{Adaptor, DecodeAs, DecodedLibrary, Input, Model, registry};
use scgraft::programs::{Resemblance, resemblances};
use scgraft::query::prepare_known;
use scgraft::{Embedding, Error, program_weights, slots};
use serde_json::{Value, json};

use crate::cells::PyCells;
use crate::error::{raise, refuse};
use crate::frame::frame_out;
use crate::hub;
use crate::json::{options, to_python};
use crate::output::written;
use crate::plan::Data;
use crate::run::{briefly, run};
use crate::steps::direction;
use crate::uns::{csr_out, dense_out};

/// A trained model. It does not change: what trains gives a new one.
#[pyclass(frozen, name = "Model", module = "scgraft._native")]
pub struct PyModel {
    /// The model.
    pub inner: Arc<Model>,
}

/// What one graft added to a reference.
#[pyclass(frozen, name = "Adaptor", module = "scgraft._native")]
pub struct PyAdaptor {
    /// The adaptor.
    pub inner: Arc<Adaptor>,
}

/// Cells as a model takes them.
#[pyclass(frozen, name = "Prepared", module = "scgraft._native")]
pub struct PyPrepared {
    /// The cells.
    pub inner: Arc<Prepared>,
}

impl PyModel {
    /// As Python has it.
    pub fn of(model: Model) -> Self {
        PyModel { inner: Arc::new(model) }
    }
}

/// Refuses a file that is not there.
pub fn file(path: &Path) -> PyResult<()> {
    match path.exists() {
        true => Ok(()),
        false => Err(PyFileNotFoundError::new_err(format!("{}: there is no such file", path.display()))),
    }
}

#[pymethods]
impl PyModel {
    /// Reads a model file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        file(&path)?;
        Ok(PyModel::of(briefly(py, || Model::load(&path))?))
    }

    /// A model from the bytes of its file.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        Ok(PyModel::of(briefly(py, || Model::from_bytes(bytes))?))
    }

    /// The bytes of its file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.inner.to_bytes().map_err(raise)?))
    }

    /// Writes the model, whole or not at all.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        briefly(py, || scgraft::save::model(&path, &self.inner))
    }

    /// Writes it as scvi-tools loads it; its class there and the file.
    fn export(&self, py: Python<'_>, folder: PathBuf) -> PyResult<(&'static str, PathBuf)> {
        let written = briefly(py, || {
            Ok::<_, Error>(export(&self.inner).and_then(|exported| Ok((exported.class, exported.write(&folder)?))))
        })?;
        written.map_err(|e| refuse(e.to_string()))
    }

    /// The model with the cells that it was trained on, without their counts: where they lie, these columns of obs and those
    /// of its conditions, and a picture where `cells` have one.
    fn bundle(&self, py: Python<'_>, data: &PyPrepared, cells: &PyCells, columns: Vec<String>) -> PyResult<PyModel> {
        let cells = cells.get()?;
        let made = briefly(py, || {
            let (mut model, mut cells) = (self.inner.duplicate()?, (*cells).clone());
            slots::put_embedding(&mut cells, &model, &Embedding::of(&model, &data.inner)?, None);
            scgraft::bundle::bundle(&mut model, &cells, "the cells", &columns)?;
            Ok::<_, Error>(model)
        })?;
        Ok(PyModel::of(made))
    }

    /// How many cells it brings; none of a model that was saved without.
    #[getter]
    fn n_reference_cells(&self) -> usize {
        self.inner.cells.as_ref().map_or(0, |c| c.n_cells())
    }

    /// The card that goes beside it, as text with markup: what its file says, and these words of its authors (JSON).
    fn card(&self, name: &str, at: &str, words: &str) -> PyResult<String> {
        hub::card_text(&Card::of_model(name, &self.inner, options(words)?), at)
    }

    /// The cells that it brings, as those of a reference with its embedding; None of a model that brings none.
    fn reference_cells(&self, py: Python<'_>) -> PyResult<Option<PyCells>> {
        let found = briefly(py, || scgraft::bundle::unbundle(&self.inner))?;
        Ok(found.map(|(cells, _)| PyCells::of(cells)))
    }

    /// The `top` heaviest genes of a program against gene sets, a table.
    fn resemblances(
        &self,
        py: Python<'_>,
        program: &str,
        sets: Vec<(String, Vec<String>)>,
        top: usize,
        threads: usize,
    ) -> PyResult<Py<PyAny>> {
        let (model, sets, name) = (self.inner.clone(), gene_sets(sets), program.to_owned());
        let found = run(py, threads, None, move |_| {
            let all = scgraft::programs::programs(&model, &[])?.unwrap_or_default();
            let Some(program) = all.iter().find(|p| p.name == name) else { return Ok(Vec::new()) };
            resemblances(&model, program, &sets, top)
        })?;
        let mut table = Frame::new(found.iter().map(|r| r.set.clone()).collect());
        table.index_name = Some("gene_set".into());
        let whole = |of: &dyn Fn(&Resemblance) -> usize| {
            Column::Integer(found.iter().map(|r| i64::try_from(of(r)).ok()).collect())
        };
        let real = |of: &dyn Fn(&Resemblance) -> f64| Column::Real(found.iter().map(of).collect());
        let columns = [
            ("overlap", whole(&|r| r.genes.len())),
            ("set_size", whole(&|r| r.overlap.set_size)),
            ("fold", real(&|r| r.overlap.fold)),
            ("jaccard", real(&|r| r.overlap.jaccard)),
            ("p", real(&|r| r.overlap.p_value)),
            ("p_adjusted", real(&|r| r.overlap.p_adjusted)),
            ("auroc", real(&|r| r.rank.auroc)),
            ("cerno_p_adjusted", real(&|r| r.rank.cerno_p_adjusted)),
            ("camera_t", real(&|r| r.rank.camera_t)),
            ("camera_p_adjusted", real(&|r| r.rank.camera_p_adjusted)),
            ("genes", Column::Text(found.iter().map(|r| Some(r.genes.join(" "))).collect())),
        ];
        columns.into_iter().for_each(|(name, column)| table.set(name, column));
        frame_out(py, table)
    }

    /// The model with adaptors of its reference.
    fn attach(&self, py: Python<'_>, adaptors: Vec<Bound<'_, PyAdaptor>>) -> PyResult<PyModel> {
        let adaptors: Vec<Adaptor> = adaptors.iter().map(|a| (*a.get().inner).clone()).collect();
        Ok(PyModel::of(briefly(py, || self.inner.attach(&adaptors))?))
    }

    /// The base model's name.
    #[getter]
    fn name(&self) -> &str {
        self.inner.entry.name
    }

    /// The genes, in order.
    #[getter]
    fn genes(&self) -> Vec<String> {
        self.inner.header.genes.clone()
    }

    /// The conditions, in order.
    #[getter]
    fn conditions(&self) -> Vec<String> {
        self.inner.header.conditions.clone()
    }

    /// The labels that it predicts.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.inner.header.labels.clone()
    }

    /// The proteins.
    #[getter]
    fn proteins(&self) -> Vec<String> {
        self.inner.header.proteins.clone()
    }

    /// Categorical covariates with their levels.
    #[getter]
    fn covariates(&self) -> Vec<(String, Vec<String>)> {
        self.inner.header.covariates.clone()
    }

    /// Continuous covariates.
    #[getter]
    fn continuous(&self) -> Vec<String> {
        self.inner.header.continuous.clone()
    }

    /// The names of the grafts.
    #[getter]
    fn grafts(&self) -> Vec<String> {
        self.inner.header.grafts.iter().map(|g| g.name.clone()).collect()
    }

    /// The names of the latent dimensions.
    #[getter]
    fn latent_names(&self) -> Vec<String> {
        self.inner.latent_names()
    }

    /// How many of them are gene programs.
    #[getter]
    fn n_programs(&self) -> usize {
        self.inner.header.n_programs()
    }

    /// What names the reference under all grafts.
    #[getter]
    fn reference_hash(&self) -> String {
        self.inner.reference_hash()
    }

    /// Its settings.
    #[getter]
    fn settings(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        to_python(py, &scgraft::models::settings::shown(&self.inner.network.config()))
    }

    /// How it came about.
    #[getter]
    fn provenance(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        to_python(py, &Value::Object(self.inner.provenance.clone()))
    }

    /// Training history, a table: one row an epoch.
    #[getter]
    fn history(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        frame_out(py, slots::history(&self.inner))
    }

    /// Names and shapes of the tensors.
    #[getter]
    fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        self.inner.params.iter().map(|p| (p.name.clone(), p.shape.clone())).collect()
    }

    /// A tensor, copied.
    fn parameter(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
        let Some(id) = self.inner.params.id(name) else {
            return Err(refuse(format!("the model has no tensor {name:?}")));
        };
        let p = self.inner.params.get(id);
        let array = numpy::ndarray::ArrayD::from_shape_vec(numpy::ndarray::IxDyn(&p.shape), p.values().to_vec());
        array.map_err(|e| refuse(e.to_string()))?.into_pyarray(py).into_py_any(py)
    }

    /// The decoder's weights, genes × programs; None for a model without programs.
    fn program_weights(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let weights = briefly(py, || Ok::<_, Error>(program_weights(&self.inner)))?;
        weights.map(|w| dense_out(py, w)).transpose()
    }

    /// The programs, one dictionary each; None for a model without.
    fn programs(&self, py: Python<'_>, rule: &str) -> PyResult<Option<Py<PyAny>>> {
        let rule = direction(rule)?;
        let found = briefly(py, || scgraft::programs::programs(&self.inner, &[rule]))?;
        let Some(found) = found else { return Ok(None) };
        let list = PyList::empty(py);
        for p in found {
            let d = PyDict::new(py);
            d.set_item("name", &p.name)?;
            d.set_item("graft", &p.graft)?;
            d.set_item("set_size", p.set_size)?;
            d.set_item("active", p.is_active())?;
            let (_, sign, confidence) = p.directions.first().map_or((rule, 0, f64::NAN), |d| *d);
            d.set_item("direction", sign)?;
            d.set_item("direction_confidence", confidence)?;
            let genes: Vec<(&str, f32, f64, bool)> =
                p.genes.iter().map(|g| (g.name.as_str(), g.weight, g.share, g.in_set)).collect();
            d.set_item("genes", genes)?;
            d.set_item("stand_in", p.stand_in.as_ref().map(|s| s.0.clone()))?;
            d.set_item("stands_for", &p.stands_for)?;
            d.set_item("entropy", p.entropy)?;
            d.set_item("switched_off", p.switched_off)?;
            list.append(d)?;
        }
        Ok(Some(list.into_py_any(py)?))
    }

    /// Posterior means and variances, cells × dimensions each.
    fn latent(&self, py: Python<'_>, data: &PyPrepared, threads: usize) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let (model, data) = (self.inner.clone(), data.inner.clone());
        let (mean, variance) = run(py, threads, None, move |_| Ok(model.latent(&data)?))?;
        Ok((dense_out(py, mean)?, dense_out(py, variance)?))
    }

    /// The embedding in the slots where it stands in an AnnData; genes as the cells name them.
    fn embed(&self, py: Python<'_>, data: &PyPrepared, genes: Vec<String>, threads: usize) -> PyResult<Py<PyAny>> {
        let (model, data) = (self.inner.clone(), data.inner.clone());
        let cells = run(py, threads, None, move |_| embedded(&model, &data, genes))?;
        written(py, cells)
    }

    /// Decoded expression, cells × genes.
    #[pyo3(signature = (data, as_conditions, library, samples, genes, seed, threads))]
    #[allow(clippy::too_many_arguments)]
    fn expression(
        &self,
        py: Python<'_>,
        data: &PyPrepared,
        as_conditions: Vec<String>,
        library: Option<f32>,
        samples: usize,
        genes: Vec<String>,
        seed: u64,
        threads: usize,
    ) -> PyResult<Py<PyAny>> {
        let library = library.map_or(DecodedLibrary::Own, DecodedLibrary::Size);
        let what = Decode::Expression { as_conditions, library, samples, genes };
        self.decoded(py, data, what, seed, threads)
    }

    /// Counts drawn from the posterior predictive distribution, as the parts of a sparse matrix.
    fn draws(&self, py: Python<'_>, data: &PyPrepared, seed: u64, threads: usize) -> PyResult<Py<PyAny>> {
        self.decoded(py, data, Decode::Draws, seed, threads)
    }

    /// Reconstruction error and evidence lower bound of each cell, and the marginal likelihood with so many draws.
    fn likelihood(
        &self,
        py: Python<'_>,
        data: &PyPrepared,
        marginal: usize,
        seed: u64,
        threads: usize,
    ) -> PyResult<Py<PyAny>> {
        let (model, data) = (self.inner.clone(), data.inner.clone());
        let (evidence, marginal) = run(py, threads, None, move |_| {
            let evidence = model.evidence(&data, seed)?;
            let marginal = (marginal > 0).then(|| model.marginal_log_likelihood(&data, marginal, seed)).transpose()?;
            Ok((evidence, marginal))
        })?;
        let marginal = marginal.map(|m| m.into_pyarray(py));
        (evidence.reconstruction.into_pyarray(py), evidence.elbo.into_pyarray(py), marginal).into_py_any(py)
    }

    /// Labels, their probabilities (cells × labels) and uncertainty; None for a model that predicts none.
    fn predict(&self, py: Python<'_>, data: &PyPrepared, threads: usize) -> PyResult<Option<Py<PyAny>>> {
        let (model, data) = (self.inner.clone(), data.inner.clone());
        let Some(found) = run(py, threads, None, move |_| predict(&model, &data))? else { return Ok(None) };
        let label = found.label.into_pyarray(py);
        let uncertainty = found.uncertainty.into_pyarray(py);
        Ok(Some((found.levels, label, dense_out(py, found.probabilities)?, uncertainty).into_py_any(py)?))
    }

    /// Proteins without background, with background, and the probability that they are foreground.
    fn protein_estimates(
        &self,
        py: Python<'_>,
        data: &PyPrepared,
        as_conditions: Vec<String>,
        efficiency: bool,
        threads: usize,
    ) -> PyResult<(Py<PyAny>, Py<PyAny>, Py<PyAny>)> {
        let (model, data) = (self.inner.clone(), data.inner.clone());
        let as_what = if as_conditions.is_empty() { DecodeAs::Measured } else { DecodeAs::Conditions(as_conditions) };
        let found = run(py, threads, None, move |_| Ok(model.proteins(&data, &as_what, efficiency)?))?;
        Ok((dense_out(py, found.foreground)?, dense_out(py, found.total)?, dense_out(py, found.probability)?))
    }
}

impl PyModel {
    fn decoded(
        &self,
        py: Python<'_>,
        data: &PyPrepared,
        what: Decode,
        seed: u64,
        threads: usize,
    ) -> PyResult<Py<PyAny>> {
        let (model, data) = (self.inner.clone(), data.inner.clone());
        let decoded = run(py, threads, None, move |_| {
            let cells = Cells::empty(Frame::new(data.cells.clone()), Frame::default());
            decode(&model, cells, &data, &what, seed)
        })?;
        match decoded.x {
            Some(scgraft::cells::Matrix::Dense(m)) => dense_out(py, m),
            Some(scgraft::cells::Matrix::Sparse(m)) => csr_out(py, m),
            None => Err(refuse("nothing was decoded")),
        }
    }
}

#[pymethods]
impl PyAdaptor {
    /// Reads an adaptor file.
    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        file(&path)?;
        Ok(PyAdaptor { inner: Arc::new(Adaptor::load(&path).map_err(raise)?) })
    }

    /// An adaptor from the bytes of its file.
    #[staticmethod]
    fn from_bytes(bytes: &[u8]) -> PyResult<Self> {
        Ok(PyAdaptor { inner: Arc::new(Adaptor::from_bytes(bytes).map_err(raise)?) })
    }

    /// The bytes of its file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.inner.to_bytes().map_err(raise)?))
    }

    /// Writes the adaptor, whole or not at all.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        scgraft::save::adaptor(path, &self.inner).map_err(raise)
    }

    /// The card that goes beside it; see the model's.
    fn card(&self, name: &str, at: &str, words: &str) -> PyResult<String> {
        hub::card_text(&Card::of_adaptor(name, &self.inner, options(words)?), at)
    }

    /// The name of the graft.
    #[getter]
    fn name(&self) -> &str {
        &self.inner.origin.name
    }

    /// The conditions that it added.
    #[getter]
    fn conditions(&self) -> Vec<String> {
        self.inner.origin.conditions.clone()
    }

    /// The reference that it belongs to.
    #[getter]
    fn reference_hash(&self) -> &str {
        &self.inner.reference
    }

    /// How many numbers it holds.
    #[getter]
    fn n_values(&self) -> usize {
        self.inner.tensors.values().map(Vec::len).sum()
    }
}

#[pymethods]
impl PyPrepared {
    /// How many cells.
    #[getter]
    fn n_cells(&self) -> usize {
        self.inner.n_cells()
    }

    /// The cells named by their rows.
    fn select(&self, rows: Vec<usize>) -> PyResult<PyPrepared> {
        if let Some(row) = rows.iter().find(|&&r| r >= self.inner.n_cells()) {
            return Err(refuse(format!("indices: row {row} of {} cells", self.inner.n_cells())));
        }
        Ok(PyPrepared { inner: Arc::new(self.inner.select_cells(&rows)) })
    }
}

/// Cells that are nothing but their names, with an embedding in its slots.
fn embedded(model: &Model, data: &Prepared, genes: Vec<String>) -> Result<Cells, Error> {
    let embedding = Embedding::of(model, data)?;
    let mut cells = Cells::empty(Frame::new(data.cells.clone()), Frame::new(genes));
    slots::put_embedding(&mut cells, model, &embedding, None);
    Ok(cells)
}

/// Gene sets of Python's.
pub fn gene_sets(sets: Vec<(String, Vec<String>)>) -> Vec<GeneSet> {
    sets.into_iter().map(|(name, genes)| GeneSet { name, description: None, genes }).collect()
}

/// Cells of conditions that a model knows, as it takes them.
#[pyfunction]
pub fn prepare(py: Python<'_>, model: &PyModel, cells: &PyCells, data: &str, threads: usize) -> PyResult<PyPrepared> {
    let asked: Data = options(data)?;
    let (model, cells) = (model.inner.clone(), cells.get()?);
    let prepared = run(py, threads, None, move |_| prepare_known(&model, &cells, &asked.prepare_for(&model, &cells)?))?;
    Ok(PyPrepared { inner: Arc::new(prepared) })
}

/// A published model of another package, and what to know of it.
#[pyfunction]
#[pyo3(signature = (path, program_names = None))]
pub fn import_model(
    py: Python<'_>,
    path: PathBuf,
    program_names: Option<Vec<String>>,
) -> PyResult<(PyModel, Py<PyAny>)> {
    file(&path)?;
    let imported = briefly(py, || Ok::<_, Error>(scgraft::hub::import(&path, &ImportOptions { program_names })))?;
    let mut imported = imported.map_err(|e| refuse(e.to_string()))?;
    imported.notes.iter().for_each(|(note, settings)| scgraft::warn(note, settings));
    let name = path.canonicalize().unwrap_or_else(|_| path.clone());
    let p = &mut imported.model.provenance;
    p.insert("scgraft".into(), env!("CARGO_PKG_VERSION").into());
    p.insert("reference".into(), file_name(&name).into());
    let about = json!({
        "package": imported.package,
        "version": imported.version,
        "class": imported.class,
        "notes": imported.notes.iter().map(|n| &n.0).collect::<Vec<_>>(),
        "left_out": imported.dropped.iter().map(|(n, why)| json!({"tensor": n, "why": why})).collect::<Vec<_>>(),
        "cells": imported.cells.as_ref().map(|c| json!({"cells": c.cells, "obsm": c.arrays, "obs": c.columns})),
    });
    crate::log::pass_on(py)?;
    Ok((PyModel::of(imported.model), to_python(py, &about)?))
}

/// Gene sets of GMT files: names and genes.
#[pyfunction]
pub fn read_gmt(paths: Vec<PathBuf>) -> PyResult<Vec<(String, Vec<String>)>> {
    paths.iter().try_for_each(|p| file(p))?;
    let sets = scgraft::io::read_gmt(&paths).map_err(raise)?;
    Ok(sets.into_iter().map(|s| (s.name, s.genes)).collect())
}

/// The base models.
#[pyfunction]
pub fn models(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let inputs = |list: &[Input]| list.iter().map(|i| i.name()).collect::<Vec<_>>();
    let all: Vec<Value> = registry()
        .iter()
        .map(|e| {
            json!({"name": e.name, "summary": e.summary, "needs": inputs(e.needs), "takes": inputs(e.takes),
                   "gives": e.gives, "when": e.when, "cite": e.cite})
        })
        .collect();
    to_python(py, &Value::Array(all))
}
