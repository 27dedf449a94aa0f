//! Analyses: cells with their slots in; slots, tables and arrays out.

use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use scgraft::analysis::graph::cluster::{Algorithm, sweep};
use scgraft::analysis::graph::connectivities;
use scgraft::analysis::metrics::scores::EvaluateOptions;
use scgraft::analysis::metrics::{agreement, silhouette};
use scgraft::analysis::neighbours::{ApproximateOptions, Search};
use scgraft::cells::{Cells, Coded, Column, Csr, Frame, HvgFlavor, HvgOptions, Slot, highly_variable};
use scgraft::evaluate::{Compared, EvaluatePlan, Evaluated, Part, Side};
use scgraft::labels::Renamed;
use scgraft::layout::{Layout, LayoutPlan, lay_out, place};
use scgraft::page::{PagePlan, Parts};
use scgraft::{Error, LogExpression, columns, log_expression, pictures, plain_expression, principal_components, slots};
use serde::Deserialize;

use crate::cells::{PyCells, Reasons};
use crate::error::{raise, refuse};
use crate::frame::{column, frame, frame_out};
use crate::json::options;
use crate::model::PyModel;
use crate::output::written;
use crate::plan::flavor;
use crate::run::run;
use crate::steps::direction;
use crate::uns::{csr_out, dense, dense_out};

/// How neighbours are searched for: exactly, or approximately until this share of the true ones is found.
pub fn search(approximate: Option<f64>, seed: u64) -> Search {
    match approximate {
        None => Search::Exact,
        Some(recall) => Search::Approximate(ApproximateOptions { recall, seed, ..ApproximateOptions::default() }),
    }
}

/// The neighbours of every cell among the cells: distances and connectivities as parts of sparse matrices, and the share
/// of the true neighbours found.
#[pyfunction]
#[pyo3(signature = (x, k, approximate, seed, threads))]
pub fn neighbours(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    k: usize,
    approximate: Option<f64>,
    seed: u64,
    threads: usize,
) -> PyResult<(Py<PyAny>, Py<PyAny>, f64)> {
    let x = dense(x)?;
    let (distances, graph, recall) = run(py, threads, None, move |_| {
        let found = search(approximate, seed).among(&x, k, true)?;
        let graph = connectivities(&found.neighbours)?;
        Ok((found.neighbours.to_csr(), graph, found.recall))
    })?;
    Ok((csr_out(py, distances)?, csr_out(py, graph)?, recall))
}

/// Clusters of a graph, at each resolution: codes by size, how many, modularity.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn clusters(
    py: Python<'_>,
    starts: PyReadonlyArray1<'_, i64>,
    indices: PyReadonlyArray1<'_, i32>,
    weights: PyReadonlyArray1<'_, f32>,
    resolutions: Vec<f64>,
    louvain: bool,
    seed: u64,
    threads: usize,
) -> PyResult<Py<PyAny>> {
    let starts: Vec<usize> = starts.as_slice()?.iter().map(|&p| p.max(0) as usize).collect();
    let n = starts.len().saturating_sub(1);
    let indices: Vec<u32> = indices.as_slice()?.iter().map(|&i| i.max(0) as u32).collect();
    let graph = Csr { n_rows: n, n_cols: n, indptr: starts, indices, values: weights.as_slice()?.to_vec() };
    let algorithm = if louvain { Algorithm::Louvain } else { Algorithm::Leiden };
    let found = run(py, threads, None, move |_| Ok(sweep(&graph, algorithm, &resolutions, seed)?))?;
    let list = PyList::empty(py);
    for c in found {
        let codes: Vec<i32> = c.codes.iter().map(|&k| k as i32).collect();
        list.append((codes.into_pyarray(py), c.n_clusters, c.modularity))?;
    }
    list.into_py_any(py)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UmapAsked {
    key: String,
    picture: String,
    k: usize,
    min_dist: Option<f64>,
    spread: Option<f64>,
    epochs: Option<usize>,
    seed: u64,
    approximate: Option<f64>,
}

/// Cells in the plane, or placed in the picture of a reference.
#[pyfunction]
#[pyo3(signature = (cells, reference, plan, threads))]
pub fn umap(
    py: Python<'_>,
    cells: &PyCells,
    reference: Option<&PyCells>,
    plan: &str,
    threads: usize,
) -> PyResult<Py<PyAny>> {
    let asked: UmapAsked = options(plan)?;
    let (cells, reference) = (cells.get()?, reference.map(PyCells::get).transpose()?);
    let found = run(py, threads, None, move |_| {
        let e = slots::embedding(&cells, &asked.key)?;
        let plan = LayoutPlan {
            k: asked.k,
            min_dist: asked.min_dist,
            spread: asked.spread,
            epochs: asked.epochs,
            seed: asked.seed,
            search: search(asked.approximate, asked.seed),
        };
        let layout = match reference {
            None => lay_out(&e, &plan.among(&e)?.neighbours, &plan)?,
            Some(reference) => {
                let known = slots::embedding(&reference, &asked.key)?;
                let drawn: Layout = slots::layout(&reference, &asked.picture).ok_or_else(|| Error::Slot {
                    slot: format!("reference: obsm[\"{}\"]", asked.picture),
                    expected: "a picture of the reference".into(),
                    found: "no such entry".into(),
                    remedy: "lay the reference out with scgraft.tl.umap first".into(),
                })?;
                place(&drawn, &plan.between(&known, &e)?.neighbours, &plan)?
            }
        };
        let mut out = Cells::empty(Frame::new(cells.obs.index.clone()), Frame::default());
        slots::put_layout(&mut out, &asked.picture, layout);
        Ok(out)
    })?;
    written(py, found)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpressionAsked {
    use_raw: bool,
    layer: Option<String>,
    normalised: bool,
    batch: Option<String>,
    n_top: usize,
    #[serde(default)]
    flavor: String,
    components: Option<usize>,
}

impl ExpressionAsked {
    fn slot(&self) -> Slot {
        Slot::of(self.layer.as_ref(), self.use_raw)
    }

    fn batch(&self, cells: &Cells) -> Result<Option<Coded>, Error> {
        self.batch.as_ref().map(|name| columns::whole(cells, "adata", name)).transpose()
    }
}

/// The most variable genes: a table with `highly_variable`, `score`, `n_batches`, and `rank`, one row a gene.
#[pyfunction]
pub fn variable_genes(py: Python<'_>, cells: &PyCells, plan: &str, threads: usize) -> PyResult<Py<PyAny>> {
    let asked: ExpressionAsked = options(plan)?;
    let flavor = flavor(&asked.flavor).map_err(refuse)?;
    let cells = cells.get()?;
    let table = run(py, threads, None, move |_| {
        let on_counts = matches!(flavor, HvgFlavor::SeuratV3 | HvgFlavor::SeuratV3Paper);
        let LogExpression { x, genes } = match on_counts {
            true => plain_expression(&cells, &asked.slot(), false, Default::default())?,
            false => log_expression(&cells, &asked.slot(), asked.normalised, Default::default())?,
        };
        let plan = HvgOptions { flavor, n_top: asked.n_top.min(x.n_cols), ..HvgOptions::default() };
        let found = highly_variable(&x, asked.batch(&cells)?.as_ref(), &plan)?;
        let mut table = Frame::new(genes.index.clone());
        let mut chosen = vec![Some(false); x.n_cols];
        found.chosen.iter().for_each(|&g| chosen[g as usize] = Some(true));
        table.set("highly_variable", Column::Boolean(chosen));
        table.set("highly_variable_score", Column::Real(found.score));
        let batches = found.n_batches.iter().map(|&n| Some(i64::from(n))).collect();
        table.set("highly_variable_nbatches", Column::Integer(batches));
        let rank = found.rank.iter().map(|r| r.unwrap_or(f64::NAN)).collect();
        table.set("highly_variable_rank", Column::Real(rank));
        Ok(table)
    })?;
    frame_out(py, table)
}

/// Principal components of log-normalised expression, in scanpy's slots, and the genes they are of.
#[pyfunction]
pub fn components(py: Python<'_>, cells: &PyCells, plan: &str, threads: usize) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
    let asked: ExpressionAsked = options(plan)?;
    let cells = cells.get()?;
    let (out, chosen) = run(py, threads, None, move |_| {
        let expression = log_expression(&cells, &asked.slot(), asked.normalised, Default::default())?;
        let batch = asked.batch(&cells)?;
        let (pca, chosen) = principal_components(&expression, batch.as_ref(), asked.n_top, asked.components)?;
        let mut out = Cells::empty(Frame::new(cells.obs.index.clone()), Frame::new(cells.var.index.clone()));
        slots::put_components(&mut out, pca, &chosen, expression.genes.len());
        Ok((out, chosen.chosen))
    })?;
    let chosen: Vec<i64> = chosen.into_iter().map(i64::from).collect();
    Ok((written(py, out)?, chosen.into_pyarray(py).into_py_any(py)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvaluateAsked {
    batch: String,
    labels: String,
    query: Vec<String>,
    embeddings: Vec<String>,
    before: Option<String>,
    counts: bool,
    use_raw: bool,
    layer: Option<String>,
    normalised: bool,
    components: usize,
    resolutions: Vec<f64>,
    louvain: bool,
    k: usize,
    kbet_k: usize,
    lisi_k: usize,
    seed: u64,
    approximate: Option<f64>,
}

/// Metrics of embeddings, one row an embedding, and what was left out and why.
#[pyfunction]
#[pyo3(signature = (cells, reference, plan, threads))]
pub fn evaluate(
    py: Python<'_>,
    cells: &PyCells,
    reference: Option<&PyCells>,
    plan: &str,
    threads: usize,
) -> PyResult<(Py<PyAny>, Reasons)> {
    let asked: EvaluateAsked = options(plan)?;
    let (cells, reference) = (cells.get()?, reference.map(PyCells::get).transpose()?);
    let (table, left_out) = run(py, threads, None, move |_| {
        let mut metrics = EvaluateOptions {
            seed: asked.seed,
            algorithm: if asked.louvain { Algorithm::Louvain } else { Algorithm::Leiden },
            neighbours: asked.k,
            kbet_neighbours: asked.kbet_k,
            lisi_neighbours: asked.lisi_k,
            search: search(asked.approximate, asked.seed),
            ..EvaluateOptions::default()
        };
        if !asked.resolutions.is_empty() {
            metrics.resolutions.clone_from(&asked.resolutions);
        }
        let (batch, labels, query) = (asked.batch.clone(), asked.labels.clone(), asked.query.clone());
        let plan = EvaluatePlan { batch, labels, query, options: metrics };
        let side = Side {
            reference: reference.as_ref().map(|cells| Part { name: "reference", batch: "reference", cells }),
            query: Part { name: "adata", batch: "query", cells: &cells },
        };
        let mut compared = Compared::new(side, &plan)?;
        match &asked.before {
            Some(key) => compared.before_is(key)?,
            None if asked.counts => {
                let slot = Slot::of(asked.layer.as_ref(), asked.use_raw);
                compared.before_is_of(asked.normalised, asked.components, |part| {
                    let counts = plain_expression(part.cells, &slot, asked.normalised, Default::default());
                    Ok::<_, Error>(counts.map_err(|reason| reason.to_string()))
                })?;
            }
            None => compared.before = Err("not wanted".to_owned()),
        }
        for key in &asked.embeddings {
            compared.add(&side, key, key.clone())?;
        }
        let scores = compared.scores(&plan)?;
        let found = Evaluated { scores, query: compared.query_scores(&plan)? };
        let left = found.scores.left_out.iter().chain(found.query.iter().flat_map(|q| &q.left_out));
        let left = left.map(|(name, why)| ((*name).to_owned(), why.clone())).collect();
        Ok((found.table(), left))
    })?;
    Ok((frame_out(py, table)?, left_out))
}

/// Agreement of two partitions: normalised mutual information and adjusted Rand index.
#[pyfunction]
pub fn agreements(a: PyReadonlyArray1<'_, i32>, b: PyReadonlyArray1<'_, i32>) -> PyResult<(f64, f64)> {
    let codes = |v: &PyReadonlyArray1<'_, i32>| -> PyResult<Vec<u32>> {
        v.as_slice()?
            .iter()
            .map(|&c| u32::try_from(c).map_err(|_| refuse("a cell has no label; leave it out")))
            .collect()
    };
    let (a, b) = (codes(&a)?, codes(&b)?);
    let nmi = agreement::nmi(&a, &b).map_err(raise)?;
    Ok((nmi, agreement::ari(&a, &b).map_err(raise)?))
}

/// Silhouette widths, scaled to 0 to 1: of labels, and of batches within labels where they are given.
#[pyfunction]
#[pyo3(signature = (x, labels, batches, threads))]
pub fn silhouettes(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    labels: &Bound<'_, PyAny>,
    batches: Option<&Bound<'_, PyAny>>,
    threads: usize,
) -> PyResult<f64> {
    let x = dense(x)?;
    let coded =
        |c: &Bound<'_, PyAny>| column(c)?.coded().map_err(|_| refuse("some cells have no label; leave them out"));
    let (labels, batches) = (coded(labels)?, batches.map(coded).transpose()?);
    run(py, threads, None, move |_| {
        Ok(match batches {
            None => silhouette::cell_type_asw(&x, &labels)?,
            Some(batches) => silhouette::batch_asw(&x, &labels, &batches)?,
        })
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageAsked {
    title: String,
    key: String,
    label: Option<String>,
    truth: Option<String>,
    groups: Option<String>,
    color: Vec<String>,
    genes: Vec<String>,
    direction: Option<String>,
    use_raw: bool,
    layer: Option<String>,
    gene_key: Option<String>,
    renamed: Vec<(String, String)>,
    /// Whether the map of the cells is all that is wanted.
    map: bool,
    seed: u64,
}

/// The report, an HTML page with an interactive map of the cells; or the map alone.
#[pyfunction]
#[pyo3(signature = (cells, reference, model, metrics, plan, threads))]
pub fn report(
    py: Python<'_>,
    cells: &PyCells,
    reference: Option<&PyCells>,
    model: Option<&PyModel>,
    metrics: Option<&Bound<'_, PyAny>>,
    plan: &str,
    threads: usize,
) -> PyResult<String> {
    let asked: PageAsked = options(plan)?;
    let rule = asked.direction.as_deref().map(direction).transpose()?;
    let (cells, reference) = (cells.get()?, reference.map(PyCells::get).transpose()?);
    let (model, metrics) = (model.map(|m| m.inner.clone()), metrics.map(frame).transpose()?);
    run(py, threads, None, move |_| {
        let query = slots::embedding(&cells, &asked.key)?;
        let known = reference.as_ref().map(|r| slots::embedding(r, &asked.key)).transpose()?;
        let label = asked.label.or_else(|| scgraft::page::carried_over(&cells));
        let truth = asked.truth.as_ref().or(label.as_ref());
        let renamed = Renamed(asked.renamed.into_iter().collect());
        let truth = truth.and_then(|t| cells.obs.column(t).map(|c| (t.clone(), renamed.column(c))));
        let plan = PagePlan {
            title: asked.title,
            label,
            truth,
            rule: rule.unwrap_or_default(),
            groups: asked.groups,
            color: asked.color,
            genes: asked.genes,
            slot: Slot::of(asked.layer.as_ref(), asked.use_raw),
            gene_column: asked.gene_key,
            seed: asked.seed,
        };
        let parts = Parts {
            cells: &cells,
            query: &query,
            reference: reference.as_deref().zip(known.as_ref()),
            model: model.as_deref(),
            metrics: metrics.and_then(|table| pictures::metrics("", &Evaluated::of_table(&table))),
        };
        Ok(match asked.map {
            true => scgraft::page::map(&parts, &plan)?.map_to_html()?,
            false => scgraft::page::page(&parts, &plan)?.to_html()?,
        })
    })
}

/// The name of the test of cells that a report shows first.
#[pyfunction]
pub fn main_test(cells: &PyCells) -> PyResult<Option<String>> {
    Ok(scgraft::page::main_test(&*cells.get()?))
}

/// Scores of an embedding turned to the directions of its programs, with their names and directions.
#[pyfunction]
pub fn scores(py: Python<'_>, cells: &PyCells, key: &str) -> PyResult<Py<PyAny>> {
    let cells = cells.get()?;
    let e = slots::embedding(&cells, key).map_err(raise)?;
    let out = PyDict::new(py);
    out.set_item("names", &e.names)?;
    out.set_item("direction", e.direction.iter().map(|&d| i64::from(d)).collect::<Vec<_>>())?;
    out.set_item("direction_confidence", e.confidence.clone())?;
    out.set_item("active", &e.active)?;
    out.set_item("scores", dense_out(py, e.scores())?)?;
    out.into_py_any(py)
}
