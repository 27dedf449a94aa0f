//! What trains: a reference, and a query onto it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use scgraft::cells::{Cells, Frame, choose_sets};
use scgraft::query::map_query;
use scgraft::reference::train_reference;
use scgraft::slots;
use scgraft::train::{FitReport, TrainConfig};
use scgraft::watch::Kept;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cells::PyCells;
use crate::error::{raise, refuse};
use crate::json::{options, to_python};
use crate::model::{PyAdaptor, PyModel, PyPrepared, file, gene_sets};
use crate::output::written;
use crate::plan::{MapOptions, TrainOptions};
use crate::run::run;

fn told(report: &FitReport) -> Value {
    json!({
        "epochs": report.epochs,
        "best_epoch": report.best_epoch.checked_sub(1),
        "stopped_early": report.stopped_early,
        "arrived": report.arrived(),
        "last_gain": report.last_gain,
        "n_cells": report.n_cells,
        "steps": report.steps,
        "n_trained_values": report.n_trainable,
    })
}

/// Where a fit keeps its state: the file, seconds between two, whether to go on from it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoints {
    file: PathBuf,
    every: u64,
    resume: bool,
}

fn checkpoints(asked: Option<&str>) -> PyResult<Option<Kept>> {
    let Some(asked) = asked else { return Ok(None) };
    let asked: Checkpoints = options(asked)?;
    if asked.resume {
        file(&asked.file)?;
    }
    Kept::new(asked.file, Duration::from_secs(asked.every), asked.resume).map(Some).map_err(raise)
}

fn passes(callback: Option<&Bound<'_, PyAny>>, train: &TrainConfig) -> PyResult<()> {
    // The bar has to know how far it goes.
    match callback {
        Some(callback) if callback.hasattr("total")? => callback.setattr("total", train.epochs),
        _ => Ok(()),
    }
}

/// Trains a reference: the model, and how the fit went.
#[pyfunction]
#[pyo3(signature = (cells, sets, start, options, threads, callback, checkpoint))]
#[allow(clippy::too_many_arguments)]
pub fn train(
    py: Python<'_>,
    cells: &PyCells,
    sets: Vec<(String, Vec<String>)>,
    start: Option<&PyModel>,
    options: &str,
    threads: usize,
    callback: Option<&Bound<'_, PyAny>>,
    checkpoint: Option<&str>,
) -> PyResult<(PyModel, Py<PyAny>)> {
    let asked: TrainOptions = crate::json::options(options)?;
    let (cells, sets, start) = (cells.get()?, gene_sets(sets), start.map(|s| s.inner.clone()));
    let sets = choose_sets(sets, &asked.only_programs, &asked.exclude_programs).map_err(raise)?;
    let plan = asked.plan(cells.n_cells(), start.as_deref()).map_err(refuse)?;
    passes(callback, &plan.train)?;
    let kept = checkpoints(checkpoint)?;
    let trained = run(py, threads, callback, move |teller| {
        let mut watch = teller.watch(kept);
        let trained = train_reference(&cells, &sets, start.as_deref(), &plan, &mut watch)?;
        watch.done();
        Ok((trained.model, told(&trained.report)))
    })?;
    Ok((PyModel::of(trained.0), to_python(py, &trained.1)?))
}

/// Maps a query: the model with the graft, the adaptor if there is one, the cells as the model took them, the slots of an
/// AnnData, and how the fit went.
#[pyfunction]
#[pyo3(signature = (reference, cells, sets, options, threads, callback, checkpoint))]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
pub fn map_cells(
    py: Python<'_>,
    reference: &PyModel,
    cells: &PyCells,
    sets: Vec<(String, Vec<String>)>,
    options: &str,
    threads: usize,
    callback: Option<&Bound<'_, PyAny>>,
    checkpoint: Option<&str>,
) -> PyResult<(PyModel, Option<PyAdaptor>, PyPrepared, Py<PyAny>, Py<PyAny>)> {
    let asked: MapOptions = crate::json::options(options)?;
    asked.check().map_err(refuse)?;
    let (reference, cells, sets) = (reference.inner.clone(), cells.get()?, gene_sets(sets));
    let plan = asked.plan(&reference, &cells, &sets).map_err(raise)?;
    passes(callback, &plan.train)?;
    let kept = checkpoints(checkpoint)?;
    let (mapped, slots) = run(py, threads, callback, move |teller| {
        let mut watch = teller.watch(kept);
        let mapped = map_query(&reference, &cells, &plan, &mut watch)?;
        watch.done();
        let genes = slots::gene_names(&cells, asked.data.gene_key.as_deref());
        let mut out = Cells::empty(Frame::new(cells.obs.index.clone()), Frame::new(genes));
        slots::put_embedding(&mut out, &mapped.grafted.model, &mapped.embedding, None);
        Ok((mapped, out))
    })?;
    let report = &mapped.prepared.report;
    let how = json!({
        "cells": mapped.prepared.n_cells(),
        "genes_found": report.n_model_genes - report.missing_genes.len(),
        "genes_missing": report.missing_genes.len(),
        "known_conditions": report.known_conditions,
        "new_conditions": report.new_conditions,
        "fit": mapped.grafted.report.as_ref().map(told),
    });
    let (model, adaptor) = (mapped.grafted.model, mapped.grafted.adaptor);
    let adaptor = adaptor.map(|a| PyAdaptor { inner: Arc::new(a) });
    let prepared = PyPrepared { inner: Arc::new(mapped.prepared) };
    Ok((PyModel::of(model), adaptor, prepared, written(py, slots)?, to_python(py, &how)?))
}
