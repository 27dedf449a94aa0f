//! Steps of the library on embeddings: labels carried over, programs that differ, genes that differ, markers.

use numpy::IntoPyArray;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyList;
use scgraft::analysis::differential::DifferentialMode;
use scgraft::analysis::donors::Design;
use scgraft::analysis::markers::Marker;
use scgraft::analysis::neighbours::Search;
use scgraft::analysis::programs::{Comparison, DirectionMethod, Pairs, ProgramTestOptions};
use scgraft::analysis::transfer::{Calibration, Kernel, NoveltyOptions, TransferOptions};
use scgraft::annotate::{AnnotatePlan, Placed};
use scgraft::cells::{Cells, Frame, Slot};
use scgraft::differential::{DifferentialPlan, table};
use scgraft::enrich::EnrichPlan;
use scgraft::join::{Compared, Comparing, REST, join};
use scgraft::labels::Renamed;
use scgraft::markers::MarkerPlan;
use scgraft::{log_expression, slots};
use serde::Deserialize;

use crate::cells::PyCells;
use crate::error::refuse;
use crate::frame::frame_out;
use crate::json::options;
use crate::model::{PyModel, PyPrepared, gene_sets};
use crate::output::written;
use crate::run::run;
use crate::tools::search;

/// A choice by its name, or an error that names what there is.
pub fn choose<T: Copy>(argument: &str, asked: &str, known: &[(&str, T)]) -> PyResult<T> {
    known.iter().find(|(name, _)| *name == asked).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
        refuse(format!("{argument}={asked:?}: expected one of {}", names.join(", ")))
    })
}

/// A rule of directions by its name.
pub fn direction(asked: &str) -> PyResult<DirectionMethod> {
    choose("direction", asked, &DirectionMethod::ALL.map(|m| (m.name(), m)))
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
    unlabelled: Option<String>,
    numbers: Vec<String>,
    calibrate: Option<String>,
    calibrate_across: Option<String>,
    majority: Option<String>,
    truth: Vec<String>,
    renamed: Vec<(String, String)>,
    programs: Vec<String>,
    seed: u64,
    approximate: Option<f64>,
}

impl AnnotateAsked {
    fn plan(self) -> PyResult<(AnnotatePlan, String, Vec<String>)> {
        let kernels = [
            ("adaptive", Kernel::Adaptive),
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
            unlabelled: self.unlabelled,
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
            truth: self.truth,
            renamed: Renamed(self.renamed.into_iter().collect()),
            majority: self.majority,
        };
        Ok((plan, self.key, self.programs))
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
    let (plan, key, patterns) = options::<AnnotateAsked>(plan)?.plan()?;
    let (reference, cells) = (reference.get()?, cells.get()?);
    let out = run(py, threads, None, move |teller| {
        let (mut known, mut query) = (slots::embedding(&reference, &key)?, slots::embedding(&cells, &key)?);
        if !patterns.is_empty() {
            (known, query) = (known.of_patterns(&patterns)?, query.of_patterns(&patterns)?);
        }
        let known = Placed { name: "reference", cells: &reference, embedding: &known };
        let query = Placed { name: "adata", cells: &cells, embedding: &query };
        let found = scgraft::annotate::annotate(&known, &query, &plan, &mut || teller.goes_on())?;
        for labels in &found.labels {
            if let Some(truth) = &labels.truth
                && !truth.unused.is_empty()
            {
                tracing::warn!("label_map: no cell of the query is labelled {}", truth.unused.join(", "));
            }
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
    groups: Option<String>,
    tested: Vec<String>,
    versus: Vec<String>,
    unknown: Option<Unknown>,
    k: usize,
    within: Option<String>,
    directed: bool,
    direction: Option<String>,
    min_cells: usize,
    samples: Option<usize>,
    published: bool,
    seed: u64,
    donors: Option<String>,
    paired: bool,
    use_raw: bool,
    layer: Option<String>,
    normalised: bool,
}

/// The cells that the reference does not know, by this label or the first that was carried over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unknown {
    label: Option<String>,
}

impl EnrichAsked {
    fn comparing(&self) -> Comparing {
        Comparing {
            groups: self.groups.clone(),
            group: self.tested.clone(),
            versus: self.versus.clone(),
            within: self.within.clone(),
            unknown: self.unknown.as_ref().map(|u| u.label.clone()),
            k: self.k,
        }
    }

    fn plan(&self, asked: &Compared) -> EnrichPlan {
        let comparison = match &asked.versus[..] {
            [rest] if rest == REST => Comparison::Rest,
            names => Comparison::Groups(names.to_vec()),
        };
        let design = if self.paired { Design::Paired } else { Design::Detect };
        EnrichPlan {
            groups: asked.groups.clone(),
            within: self.within.clone(),
            test: ProgramTestOptions {
                comparison,
                groups: (!asked.group.is_empty()).then(|| asked.group.clone()),
                pairs: match self.samples {
                    Some(n) => Pairs::Sampled { n, seed: self.seed },
                    None => Pairs::All,
                },
                min_cells: self.min_cells,
                compat: self.published,
            },
            undirected: !self.directed,
            donors: self.donors.clone().map(|column| (column, design)),
        }
    }
}

/// Which programs differ between groups of cells, of a query alone or with its reference: a table, and a name for the test.
/// With gene sets, the classical tests of the sets stand beside it, of the expression that the cells bring.
#[pyfunction]
#[pyo3(signature = (cells, reference, sets, plan, threads))]
pub fn enrich(
    py: Python<'_>,
    cells: &PyCells,
    reference: Option<&PyCells>,
    sets: Vec<(String, Vec<String>)>,
    plan: &str,
    threads: usize,
) -> PyResult<(Py<PyAny>, String)> {
    let asked: EnrichAsked = options(plan)?;
    let rule = asked.direction.as_deref().map(direction).transpose()?;
    if asked.versus.len() > 1 && asked.versus.iter().any(|n| n == REST) {
        return Err(refuse("versus: either \"rest\" or names of groups, not both"));
    }
    let (cells, reference) = (cells.get()?, reference.map(PyCells::get).transpose()?);
    let sets = gene_sets(sets);
    let (found, name) = run(py, threads, None, move |teller| {
        let slot = Slot::of(asked.layer.as_ref(), asked.use_raw);
        let embedding = slots::embedding(&cells, slots::LATENT)?;
        let query = Placed { name: "adata", cells: &cells, embedding: &embedding };
        let mut joined = match &reference {
            None => None,
            Some(reference) => {
                let known = slots::embedding(reference, slots::LATENT)?;
                let joined = join(&Placed { name: "reference", cells: reference, embedding: &known }, &query)?;
                let fewer = embedding.names.len() - joined.embedding.names.len();
                if fewer > 0 {
                    tracing::warn!("{fewer} programs of the query that the reference does not have are left out");
                }
                if !sets.is_empty() {
                    joined.has(&slot)?;
                }
                Some(joined)
            }
        };
        let compared = asked.comparing().of(&query, joined.as_mut(), &Search::Exact)?;
        let (tested, embedding) = match (&compared.some, &joined) {
            (Some((cells, embedding)), _) => (cells, embedding),
            (None, Some(joined)) => (&joined.cells, &joined.embedding),
            (None, None) => (&*cells, &embedding),
        };
        let embedding = match rule {
            Some(rule) => embedding.turned(rule)?,
            None => embedding.clone(),
        };
        let values = (!sets.is_empty()).then(|| log_expression(tested, &slot, asked.normalised, Default::default()));
        let values = values.transpose()?;
        let sets = values.as_ref().map(|values| (&sets[..], values));
        let plan = asked.plan(&compared);
        let found = scgraft::enrich::enrich((tested, "adata"), &embedding, &plan, sets, &mut || teller.goes_on())?;
        for s in &found.test.skipped {
            let within = s.stratum.as_ref().map(|s| format!(" in `{s}`")).unwrap_or_default();
            tracing::warn!("`{}`{within} was left out: {} cells against {}", s.group, s.n_group, s.n_comparison);
        }
        Ok((found.table(), compared.name(asked.within.as_deref())))
    })?;
    Ok((frame_out(py, found)?, name))
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
    use_raw: bool,
    layer: Option<String>,
    normalised: bool,
}

/// Genes ranked for each group: `[(group, genes, scores, p, adjusted p, log2 fold changes, shares in, shares out), …]`.
#[pyfunction]
pub fn markers(py: Python<'_>, cells: &PyCells, plan: &str, threads: usize) -> PyResult<Py<PyAny>> {
    let asked: MarkersAsked = options(plan)?;
    let cells = cells.get()?;
    let (found, genes) = run(py, threads, None, move |_| {
        let values = log_expression(
            &cells,
            &Slot::of(asked.layer.as_ref(), asked.use_raw),
            asked.normalised,
            Default::default(),
        )?;
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
