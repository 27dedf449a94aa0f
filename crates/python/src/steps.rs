//! Steps of the library on embeddings: labels carried over, programs that differ, genes that differ, markers.

use numpy::IntoPyArray;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyList;
use scgraft::analysis::differential::DifferentialMode;
use scgraft::analysis::donors::Design;
use scgraft::analysis::markers::Marker;
use scgraft::analysis::programs::{Comparison, DirectionMethod, Pairs, ProgramTestOptions};
use scgraft::analysis::transfer::{Calibration, Kernel, NoveltyOptions, TransferOptions};
use scgraft::annotate::{AnnotatePlan, Placed};
use scgraft::cells::{Cells, Frame};
use scgraft::differential::{DifferentialPlan, table};
use scgraft::enrich::EnrichPlan;
use scgraft::labels::Renamed;
use scgraft::markers::MarkerPlan;
use scgraft::{log_expression, slots};
use serde::Deserialize;

use crate::cells::{PyCells, written};
use crate::error::refuse;
use crate::frame::frame_out;
use crate::model::{PyModel, PyPrepared, gene_sets, options};
use crate::run::run;
use crate::tools::{search, slot};

/// A choice by its name, or an error that names what there is.
fn choose<T: Copy>(argument: &str, asked: &str, known: &[(&str, T)]) -> PyResult<T> {
    known.iter().find(|(name, _)| *name == asked).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
        refuse(format!("{argument}={asked:?}: expected one of {}", names.join(", ")))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnnotateAsked {
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
    majority: Option<String>,
    seed: u64,
    approximate: Option<f64>,
}

impl AnnotateAsked {
    fn plan(self) -> PyResult<(AnnotatePlan, String)> {
        let kernels = [
            ("paper", Kernel::Paper),
            ("compat", Kernel::Compat),
            ("uniform", Kernel::Uniform),
            ("gaussian", Kernel::Gaussian),
        ];
        let kernel = choose("kernel", &self.kernel, &kernels)?;
        let by_novelty = choose("rule", &self.rule, &[("novelty", true), ("paper", false)])?;
        let methods = [("temperature", Calibration::Temperature), ("isotonic", Calibration::Isotonic)];
        let calibration = self.calibrate.map(|m| choose("calibrate", &m, &methods)).transpose()?;
        let new = NoveltyOptions { false_alarms: self.false_alarms, ..NoveltyOptions::default() };
        let plan = AnnotatePlan {
            labels: self.labels,
            numbers: self.numbers,
            k: self.k,
            search: search(self.approximate, self.seed),
            transfer: TransferOptions { kernel, unknown_above: self.unknown, probabilities: true },
            novelty: by_novelty.then_some(new),
            coverage: self.coverage,
            across: self.across,
            calibration,
            calibrate_across: self.calibrate_across,
            nested: self.nested,
            truth: Vec::new(),
            renamed: Renamed::default(),
            majority: self.majority,
        };
        Ok((plan, self.key))
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
    let (plan, key) = options::<AnnotateAsked>(plan)?.plan()?;
    let (reference, cells) = (reference.get()?, cells.get()?);
    let out = run(py, threads, None, move |teller| {
        let (known, query) = (slots::embedding(&reference, &key)?, slots::embedding(&cells, &key)?);
        let known = Placed { name: "reference", cells: &reference, embedding: &known };
        let query = Placed { name: "adata", cells: &cells, embedding: &query };
        let found = scgraft::annotate::annotate(&known, &query, &plan, &mut || teller.goes_on())?;
        for labels in &found.labels {
            if labels.novelty.as_ref().is_some_and(|n| n.n_genes == 0) {
                let name = &labels.transfer.column;
                tracing::warn!("`{name}`: what is new is judged by the embedding alone, without counts of both");
            }
        }
        if found.n_studies < 2 && (plan.novelty.is_some() || plan.coverage.is_some()) {
            tracing::warn!(
                "the reference is one study{}: what is new, and label sets, are judged by its own cells, which says little \
                 of another study",
                if found.across.is_empty() { " as far as is known; name its studies with across=" } else { "" }
            );
        }
        let mut out = Cells::empty(Frame::new(cells.obs.index.clone()), Frame::default());
        slots::put_annotation(&mut out, &found);
        Ok(out)
    })?;
    written(py, out)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrichAsked {
    groups: String,
    tested: Vec<String>,
    versus: Vec<String>,
    within: Option<String>,
    key: String,
    directed: bool,
    direction: Option<String>,
    min_cells: usize,
    samples: Option<usize>,
    published: bool,
    seed: u64,
    donors: Option<String>,
    paired: bool,
    slot: String,
    layer: Option<String>,
    gene_key: Option<String>,
    normalised: bool,
}

/// Which programs differ between groups of cells, a table; with the expression of the cells and gene sets, the classical tests
/// of the sets beside it.
#[pyfunction]
#[pyo3(signature = (cells, expression, sets, plan, threads))]
pub fn enrich(
    py: Python<'_>,
    cells: &PyCells,
    expression: Option<&PyCells>,
    sets: Vec<(String, Vec<String>)>,
    plan: &str,
    threads: usize,
) -> PyResult<Py<PyAny>> {
    let asked: EnrichAsked = options(plan)?;
    let rules: Vec<_> = DirectionMethod::ALL.into_iter().map(|m| (m.name(), m)).collect();
    let rule = asked.direction.as_ref().map(|d| choose("direction", d, &rules)).transpose()?;
    let comparison = match &asked.versus[..] {
        [rest] if rest == "rest" => Comparison::Rest,
        names if names.iter().any(|n| n == "rest") => {
            return Err(refuse("reference: either \"rest\" or names of groups, not both"));
        }
        names => Comparison::Groups(names.to_vec()),
    };
    let design = if asked.paired { Design::Paired } else { Design::Detect };
    let plan = EnrichPlan {
        groups: asked.groups,
        within: asked.within,
        test: ProgramTestOptions {
            comparison,
            groups: (!asked.tested.is_empty()).then_some(asked.tested),
            pairs: match asked.samples {
                Some(n) => Pairs::Sampled { n, seed: asked.seed },
                None => Pairs::All,
            },
            min_cells: asked.min_cells,
            compat: asked.published,
        },
        undirected: !asked.directed,
        donors: asked.donors.map(|column| (column, design)),
    };
    let (cells, expression) = (cells.get()?, expression.map(PyCells::get).transpose()?);
    let sets = gene_sets(sets);
    let found = run(py, threads, None, move |teller| {
        let embedding = slots::embedding(&cells, &asked.key)?;
        let embedding = match rule {
            Some(rule) => embedding.turned(rule)?,
            None => embedding,
        };
        let expression = match &expression {
            None => None,
            Some(cells) => {
                let values = log_expression(
                    cells,
                    &slot(&asked.slot, asked.layer.clone()),
                    asked.normalised,
                    Default::default(),
                )?;
                Some(match &asked.gene_key {
                    Some(column) => values.genes_named_by(column)?,
                    None => values,
                })
            }
        };
        let sets = expression.as_ref().map(|values| (&sets[..], values));
        let found = scgraft::enrich::enrich((&cells, "adata"), &embedding, &plan, sets, &mut || teller.goes_on())?;
        for s in &found.test.skipped {
            let within = s.stratum.as_ref().map(|s| format!(" in `{s}`")).unwrap_or_default();
            tracing::warn!("`{}`{within} was left out: {} cells against {}", s.group, s.n_group, s.n_comparison);
        }
        Ok(found.table())
    })?;
    frame_out(py, found)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DifferentialAsked {
    groups: String,
    group: Vec<String>,
    versus: Option<String>,
    within: Option<String>,
    draws: usize,
    as_conditions: Vec<String>,
    mode: String,
    delta: f64,
    pseudocount: Option<f64>,
    both_directions: bool,
    fdr: f64,
    seed: u64,
    donors: Option<String>,
}

/// Which genes differ between groups of cells, by a model; a table.
#[pyfunction]
pub fn differential(
    py: Python<'_>,
    model: &PyModel,
    cells: &PyCells,
    data: &PyPrepared,
    plan: &str,
    threads: usize,
) -> PyResult<Py<PyAny>> {
    let asked: DifferentialAsked = options(plan)?;
    let change = DifferentialMode::Change {
        delta: asked.delta,
        pseudocount: asked.pseudocount,
        both_directions: asked.both_directions,
        fdr: asked.fdr,
    };
    let mode = match choose("mode", &asked.mode, &[("change", false), ("vanilla", true)])? {
        true => DifferentialMode::Vanilla,
        false => change,
    };
    let plan = DifferentialPlan {
        groups: asked.groups,
        group: asked.group,
        versus: asked.versus,
        within: asked.within,
        draws: asked.draws,
        as_conditions: asked.as_conditions,
        mode,
        seed: asked.seed,
        donors: asked.donors.map(|column| (column, Design::Detect)),
    };
    let (model, cells, data) = (model.inner.clone(), cells.get()?, data.inner.clone());
    let found = run(py, threads, None, move |teller| {
        let ask = &mut || teller.goes_on();
        let found = scgraft::differential::differential(&model, (&cells, "adata"), &data, &plan, ask)?;
        Ok(table(&model, &found))
    })?;
    frame_out(py, found)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkersAsked {
    groups: String,
    group: Vec<String>,
    versus: Option<String>,
    tie_correct: bool,
    slot: String,
    layer: Option<String>,
    normalised: bool,
}

/// Genes ranked for each group: `[(group, genes, scores, p, adjusted p, log2 fold changes, shares in, shares out), …]`.
#[pyfunction]
pub fn markers(py: Python<'_>, cells: &PyCells, plan: &str, threads: usize) -> PyResult<Py<PyAny>> {
    let asked: MarkersAsked = options(plan)?;
    let cells = cells.get()?;
    let (found, genes) = run(py, threads, None, move |_| {
        let values =
            log_expression(&cells, &slot(&asked.slot, asked.layer.clone()), asked.normalised, Default::default())?;
        let (groups, group, versus) = (asked.groups, asked.group, asked.versus);
        let plan = MarkerPlan { groups, group, versus, tie_correct: asked.tie_correct };
        Ok((scgraft::markers::markers((&cells, "adata"), &values, &plan)?, values.genes.index))
    })?;
    let list = PyList::empty(py);
    for g in found {
        let of = |f: &dyn Fn(&Marker) -> f64| -> Vec<f64> { g.genes.iter().map(f).collect() };
        let names: Vec<&str> = g.genes.iter().map(|m| genes[m.gene].as_str()).collect();
        list.append((
            &g.group,
            names,
            of(&|m| m.score).into_pyarray(py),
            of(&|m| m.p_value).into_pyarray(py),
            of(&|m| m.p_adjusted).into_pyarray(py),
            of(&|m| m.log2_fold_change).into_pyarray(py),
            of(&|m| m.share_group).into_pyarray(py),
            of(&|m| m.share_reference).into_pyarray(py),
        ))?;
    }
    list.into_py_any(py)
}
