//! Labels of a reference for mapped cells, and program tests.

use pyo3::prelude::*;
use scgraft::analysis::neighbours::knn_across;
use scgraft::analysis::transfer::{
    Calibration, HierarchicalTransfer, Kernel, NoveltyOptions, TransferOptions, calibrate, check_nested, transfer_values,
};
use scgraft::cells::{Cells, Coded, Column, Dense, Frame, Uns};
use scgraft::{Embedding, Error, columns, pipeline, slots};
use serde::Deserialize;

use crate::cells::{PyCells, written};
use crate::error::refuse;
use crate::model::options;
use crate::run::run;
use crate::tools::search;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    labels: Vec<String>,
    key: String,
    k: usize,
    kernel: String,
    rule: String,
    false_alarms: f64,
    unknown: f64,
    coverage: Option<f64>,
    across: Vec<String>,
    nested: bool,
    numbers: Vec<String>,
    calibrate: Option<String>,
    calibrate_across: Option<String>,
    seed: u64,
    approximate: Option<f64>,
}

impl Asked {
    fn kernel(&self) -> Result<Kernel, String> {
        match self.kernel.as_str() {
            "paper" => Ok(Kernel::Paper),
            "compat" => Ok(Kernel::Compat),
            "uniform" => Ok(Kernel::Uniform),
            "gaussian" => Ok(Kernel::Gaussian),
            other => Err(format!(
                "kernel={other:?}: expected \"paper\", \"compat\", \"uniform\" or \"gaussian\""
            )),
        }
    }

    fn method(&self) -> Result<Option<Calibration>, String> {
        match self.calibrate.as_deref() {
            None => Ok(None),
            Some("temperature") => Ok(Some(Calibration::Temperature)),
            Some("isotonic") => Ok(Some(Calibration::Isotonic)),
            Some(other) => Err(format!("calibrate={other:?}: expected \"temperature\" or \"isotonic\"")),
        }
    }
}

/// Carries labels of a reference over to mapped cells; the slots of the cells.
#[pyfunction]
pub fn annotate(
    py: Python<'_>,
    reference: &PyCells,
    cells: &PyCells,
    plan: &str,
    threads: usize,
) -> PyResult<Py<PyAny>> {
    let asked: Asked = options(plan)?;
    let (kernel, method) = (asked.kernel().map_err(refuse)?, asked.method().map_err(refuse)?);
    if !["novelty", "paper"].contains(&asked.rule.as_str()) {
        return Err(refuse(format!("rule={:?}: expected \"novelty\" or \"paper\"", asked.rule)));
    }
    let (reference, cells) = (reference.get()?, cells.get()?);
    let out = run(py, threads, None, move |_| annotated(&reference, &cells, &asked, kernel, method))?;
    written(py, out)
}

fn annotated(
    reference: &Cells,
    cells: &Cells,
    asked: &Asked,
    kernel: Kernel,
    method: Option<Calibration>,
) -> Result<Cells, Error> {
    let (known, query) = (slots::embedding(reference, &asked.key)?, slots::embedding(cells, &asked.key)?);
    let transfer = TransferOptions { kernel, unknown_above: asked.unknown, probabilities: true };
    let new = NoveltyOptions { false_alarms: asked.false_alarms, ..NoveltyOptions::default() };
    let across = if asked.across.is_empty() { condition_columns(cells) } else { asked.across.clone() };
    let (studies, batches) = (joined(reference, &across), joined(cells, &across));
    let by_novelty = asked.rule == "novelty";
    if studies.levels.len() < 2 && (by_novelty || asked.coverage.is_some()) {
        tracing::warn!(
            "the reference is one study{}: what is new, and label sets, are judged by its own cells, which says little of \
             another study",
            if across.is_empty() { " as far as is known; name its studies with across=" } else { "" }
        );
    }
    let mut found = Vec::new();
    for name in &asked.labels {
        let (coded, rows) = columns::coded(reference, "reference", name)?;
        found.push((name.as_str(), coded, rows));
    }
    let whole = found.iter().all(|c| c.2.len() == reference.n_cells());
    if asked.nested && !whole {
        return Err(slot("reference: label columns", "a value for every cell, to be nested", "gaps", "fill them"));
    }
    let groups = if whole { vec![&found[..]] } else { found.chunks(1).collect() };
    let search = search(asked.approximate, asked.seed);
    let mut out = Cells::empty(Frame::new(cells.obs.index.clone()), Frame::default());
    for columns in groups {
        let rows = &columns[0].2;
        let known: Embedding = if rows.len() == reference.n_cells() { known.clone() } else { known.select_cells(rows) };
        let near = pipeline::neighbours(&known, &query, asked.k, &search)?;
        let labels: Vec<(&str, &Coded)> = columns.iter().map(|(name, coded, _)| (*name, coded)).collect();
        let mut annotation = pipeline::annotate(&near, &labels, &transfer)?;
        if let Some(method) = method {
            let others = match &asked.calibrate_across {
                None => None,
                Some(name) => Some(other_studies(reference, rows, &known.mean, name, asked.k)?),
            };
            let own = others.as_ref().unwrap_or(&near.reference);
            for (t, (_, coded)) in annotation.labels.iter_mut().zip(&labels) {
                calibrate(t, own, coded, method, &transfer)?;
            }
        }
        let own = Coded { codes: rows.iter().map(|&i| studies.codes[i]).collect(), levels: studies.levels.clone() };
        let (own, batches) = (("study", &own), ("batch", &batches));
        if by_novelty {
            pipeline::find_new(&mut annotation, (&known, own), &labels, (&query, batches), &new, &search)?;
        }
        if let Some(coverage) = asked.coverage {
            pipeline::find_sets(&mut annotation, (&known, own), &labels, &query, coverage, &search)?;
        }
        slots::put_annotation(&mut out, &annotation);
        if asked.nested {
            check_nested(&labels)?;
            slots::put_nested(&mut out, &HierarchicalTransfer::of(annotation.labels));
        }
    }
    if !asked.numbers.is_empty() {
        let numbers = numbers(reference, &asked.numbers)?;
        let near = pipeline::neighbours(&known, &query, asked.k, &search)?;
        let values = transfer_values(&near.query, &numbers, kernel)?;
        slots::put_values(&mut out, &asked.numbers, &values);
    }
    Ok(out)
}

fn slot(slot: &str, expected: &str, found: &str, remedy: &str) -> Error {
    Error::Slot { slot: slot.into(), expected: expected.into(), found: found.into(), remedy: remedy.into() }
}

/// Neighbours of reference cells in other studies.
fn other_studies(
    reference: &Cells,
    rows: &[usize],
    x: &Dense,
    name: &str,
    k: usize,
) -> Result<scgraft::analysis::Neighbours, Error> {
    let (studies, filled) = columns::coded(reference, "reference", name)?;
    let at: Option<Vec<usize>> = rows.iter().map(|r| filled.binary_search(r).ok()).collect();
    let at = at.ok_or_else(|| slot(name, "a study for every cell, to calibrate across them", "gaps", "fill it"))?;
    let studies = Coded { codes: at.iter().map(|&i| studies.codes[i]).collect(), levels: studies.levels };
    Ok(knn_across(x, (name, &studies), k)?)
}

/// The columns of the condition that the reference was trained with, as mapped cells tell them.
fn condition_columns(cells: &Cells) -> Vec<String> {
    let inside = |uns: &Uns, name: &str| match uns {
        Uns::Map(entries) => entries.get(name).cloned(),
        _ => None,
    };
    let provenance = cells.uns.get(slots::NOTES).and_then(|notes| inside(notes, "provenance"));
    match provenance.and_then(|p| inside(&p, "condition_columns")) {
        Some(Uns::Texts(columns)) => columns,
        _ => Vec::new(),
    }
}

/// Columns of obs as one; one level for all cells where a column is not there.
fn joined(cells: &Cells, columns: &[String]) -> Coded {
    let found: Option<Vec<&Column>> = columns.iter().map(|c| cells.obs.column(c)).collect();
    let text = |i: usize| {
        let parts = found.iter().flatten().map(|c| c.text(i).unwrap_or_default());
        parts.collect::<Vec<_>>().join(" | ")
    };
    let texts: Vec<String> = (0..cells.n_cells()).map(text).collect();
    let mut levels = texts.clone();
    levels.sort_unstable();
    levels.dedup();
    let code = |t: &String| levels.binary_search(t).unwrap_or(0) as u32;
    Coded { codes: texts.iter().map(code).collect(), levels }
}

/// Numeric columns of the reference side by side.
fn numbers(reference: &Cells, names: &[String]) -> Result<Dense, Error> {
    let mut out = Dense::zeros(reference.n_cells(), names.len());
    for (j, name) in names.iter().enumerate() {
        let column = columns::find(reference, "reference", name)?;
        for i in 0..out.n_rows {
            let at = format!("reference: obs[\"{name}\"] of cell `{}`", reference.obs.index[i]);
            let value = column.number(i).ok_or_else(|| slot(&at, "a number", "none", "fill it"))?;
            out.row_mut(i)[j] = value as f32;
        }
    }
    Ok(out)
}
