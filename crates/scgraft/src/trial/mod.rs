//! Experiments: how a choice matters, on cells whose batches and labels are known.
//!
//! A reference is trained and a query mapped onto it, again and again, one thing varied ([`Vary`]): which weights the query
//! may change, how many cells or batches the reference has, how many cells the query has, a label that the reference is
//! denied, or the seed alone. Every run says how many weights trained, how long it took, and how good the mapping is. These
//! are the experiments of Lotfollahi et al., *Nat Biotechnol* 2022, figs 2 and 3, and *Nat Cell Biol* 2023, extended data
//! fig. 4.

mod cases;
mod lab;

use std::ops::ControlFlow;

use scgraft_analysis::metrics::scores::{EvaluateOptions, Scores};
use scgraft_cells::{Cells, Column, Frame, GeneSet, each_once};
use scgraft_models::{Granularity, Surgery};
use scgraft_train::Progress;

use crate::Error;
use crate::evaluate::column_name;
use crate::reference::ReferencePlan;
use lab::Lab;

/// An experiment.
#[derive(Clone, Debug)]
pub struct TrialPlan {
    /// Column of obs with the batch (study, condition) of a cell; it is the model's condition.
    pub batch: String,
    /// Column of obs with the cell type; the query's are named as the reference names them.
    pub labels: String,
    /// How references are trained; conditions are the batches, and training is that for the cells of each run.
    pub reference: ReferencePlan,
    /// What the query adds.
    pub graft: Surgery,
    /// Epochs of a reference at most; `None`: as the model needs.
    pub epochs: Option<usize>,
    /// Epochs of a mapping at most; `None`: as the model needs.
    pub query_epochs: Option<usize>,
    /// What is varied.
    pub vary: Vary,
    /// Every setting is run with each of them: they draw cells, weights and noise.
    pub seeds: Vec<u64>,
    /// Settings of the metrics.
    pub metrics: EvaluateOptions,
    /// Components of the counts that PC regression and kNN purity compare with; `None` leaves both out.
    pub components: Option<usize>,
}

/// What is varied; the rest is as in the plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Vary {
    /// The seed alone.
    Seed,
    /// How reference and query come into one space.
    Way(Vec<Way>),
    /// The share of the cells of each batch that the reference has, above 0 and at most 1.
    ReferenceShare(Vec<f64>),
    /// How many batches the reference has, drawn with the seed; a larger number has those of a smaller one.
    ReferenceBatches(Vec<usize>),
    /// How many cells the query has, drawn with the seed.
    QueryCells(Vec<usize>),
    /// A label whose cells the reference lacks, so that those of the query are to be found unknown.
    HoldOut(Vec<String>),
    /// How rare a label is: its share of the cells of the reference and of those of the query, above 0 and below 1. Its
    /// cells are drawn with the seed; a side that has fewer keeps all of them.
    Rare(String, Vec<f64>),
}

/// How reference and query come into one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The query is grafted onto the reference and may change these weights.
    Graft(Granularity),
    /// One model is trained on all cells from the start: what mapping saves.
    Together,
}

impl Vary {
    /// What is varied, as a name.
    pub fn name(&self) -> &'static str {
        match self {
            Vary::Seed => "seed",
            Vary::Way(_) => "weights that train",
            Vary::ReferenceShare(_) => "share of the reference",
            Vary::ReferenceBatches(_) => "batches of the reference",
            Vary::QueryCells(_) => "cells of the query",
            Vary::HoldOut(_) => "label held out",
            Vary::Rare(..) => "share of the label",
        }
    }

    /// Whether settings are amounts, so that a line through them means something.
    pub fn is_amount(&self) -> bool {
        matches!(self, Vary::ReferenceShare(_) | Vary::ReferenceBatches(_) | Vary::QueryCells(_) | Vary::Rare(..))
    }
}

impl Way {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Way::Graft(Granularity::Adaptor) => "adaptor",
            Way::Graft(Granularity::FirstLayers) => "first-layers",
            Way::Graft(Granularity::All) => "all",
            Way::Together => "together",
        }
    }
}

/// Watches an experiment.
pub trait Watcher {
    /// A fit of so many epochs begins.
    fn fit(&mut self, what: &str, epochs: usize) -> Box<dyn Progress>;
    /// Asked between the parts of a run whether to go on.
    fn ask(&mut self) -> ControlFlow<()>;
    /// Seconds since some moment: the library has no clock of its own.
    fn seconds(&self) -> f64;
    /// A run is done: all of them so far, and how many there will be.
    fn done(&mut self, runs: &[Run], of: usize);
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What was varied, here.
    pub setting: String,
    /// The seed.
    pub seed: u64,
    /// Cells of the reference.
    pub reference_cells: usize,
    /// Cells of the query.
    pub query_cells: usize,
    /// Values that trained for the query.
    pub trained_values: usize,
    /// Seconds that the reference took to train; runs that share one have the same. NaN where there is none.
    pub reference_seconds: f64,
    /// Seconds that the query took to map, or all cells together to train.
    pub query_seconds: f64,
    /// Whether the query's fit had arrived ([`scgraft_train::FitReport::arrived`]).
    pub arrived: Option<bool>,
    /// What was measured, by name; NaN where a measure has no value. Each run has the same.
    pub measures: Vec<(String, f64)>,
}

/// What an experiment found.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// What was varied.
    pub vary: Vary,
    /// The runs, in the order they were made.
    pub runs: Vec<Run>,
}

/// Runs an experiment.
///
/// Where reference and query are batches of one file, select their cells first. A query cell whose label the reference of a
/// run lacks is new: novelty is judged by these. The scArches overall score is scaled over all runs.
///
/// # Errors
/// A column that is not there; a share, a number or a label that the cells do not have; no seed; of the steps, with the
/// setting they failed for; [`Error::Stopped`].
pub fn trial(
    reference: &Cells,
    query: &Cells,
    sets: &[GeneSet],
    plan: &TrialPlan,
    watcher: &mut dyn Watcher,
) -> Result<Trial, Error> {
    let mut cases = Vec::new();
    for &seed in &plan.seeds {
        cases.extend(cases::cases(reference, query, plan, seed)?);
    }
    let (mut runs, mut rows) = (Vec::new(), Vec::new());
    let (mut trained, mut before) = (None, None);
    let n = cases.len();
    for case in cases {
        let inside = |source| match source {
            Error::Stopped => Error::Stopped,
            other => Error::Of { cells: format!("{} {}", plan.vary.name(), case.setting), source: Box::new(other) },
        };
        let lab = Lab { cells: [reference, query], sets, plan, case: &case };
        let (run, row) = lab.run(&mut trained, &mut before, watcher).map_err(inside)?;
        runs.push(run);
        rows.push(row);
        watcher.done(&runs, n);
    }
    let scaled = Scores::gathered(rows);
    for (run, row) in runs.iter_mut().zip(&scaled.rows) {
        run.measures.push((column_name("Overall (scArches)"), row.scarches_overall.unwrap_or(f64::NAN)));
    }
    Ok(Trial { vary: plan.vary.clone(), runs })
}

/// Mean and spread of a measure over the seeds of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Mean over the runs that have a value; NaN without one.
    pub mean: f64,
    /// Standard deviation (of n − 1); NaN of fewer than two.
    pub sd: f64,
    /// Runs with a value.
    pub n: usize,
}

impl Spread {
    /// Of values, those that are not finite left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        Spread { mean, sd: if n < 2 { f64::NAN } else { (square / (n - 1) as f64).sqrt() }, n }
    }
}

impl Run {
    /// A measure, or one of the run's own numbers, by the name of its column; NaN where there is none.
    pub fn value(&self, name: &str) -> f64 {
        match name {
            "reference_cells" => self.reference_cells as f64,
            "query_cells" => self.query_cells as f64,
            "trained_values" => self.trained_values as f64,
            "reference_seconds" => self.reference_seconds,
            "query_seconds" => self.query_seconds,
            _ => self.measures.iter().find(|(n, _)| n == name).map_or(f64::NAN, |m| m.1),
        }
    }
}

impl Trial {
    /// The settings, in the order they were first run.
    pub fn settings(&self) -> Vec<&str> {
        each_once(self.runs.iter().map(|run| run.setting.as_str()))
    }

    /// A measure over the seeds of a setting.
    pub fn spread(&self, setting: &str, name: &str) -> Spread {
        Spread::of(self.runs.iter().filter(|r| r.setting == setting).map(|r| r.value(name)))
    }

    /// The table: one row a run.
    pub fn table(&self) -> Frame {
        table(&self.runs)
    }
}

/// Runs as a table, one row each.
pub fn table(runs: &[Run]) -> Frame {
    let mut out = Frame::new(runs.iter().map(|r| r.setting.clone()).collect());
    out.index_name = Some("setting".into());
    let whole = |value: &dyn Fn(&Run) -> usize| Column::Integer(runs.iter().map(|r| Some(value(r) as i64)).collect());
    out.set("seed", Column::Integer(runs.iter().map(|r| Some(r.seed as i64)).collect()));
    out.set("reference_cells", whole(&|r| r.reference_cells));
    out.set("query_cells", whole(&|r| r.query_cells));
    out.set("trained_values", whole(&|r| r.trained_values));
    let real = |name: &str| Column::Real(runs.iter().map(|r| r.value(name)).collect());
    for name in ["reference_seconds", "query_seconds"] {
        out.set(name, real(name));
    }
    out.set("arrived", Column::Boolean(runs.iter().map(|r| r.arrived).collect()));
    for (name, _) in runs.first().map_or(&[][..], |r| &r.measures) {
        out.set(name, real(name));
    }
    out
}

#[cfg(test)]
mod tests {
    use scgraft_analysis::metrics::query::QUERY_METRICS;
    use scgraft_analysis::metrics::scores::METRICS;

    use super::*;

    #[test]
    fn spreads_leave_out_what_has_no_value() {
        let found = Spread::of([1.0, 2.0, f64::NAN, 6.0]);
        assert_eq!((found.mean, found.n), (3.0, 3));
        assert!((found.sd - 7f64.sqrt()).abs() < 1e-12);
        assert!(Spread::of([1.0]).sd.is_nan());
    }

    #[test]
    fn names_of_metrics_become_names_of_columns() {
        let names: Vec<String> =
            METRICS.iter().map(|m| column_name(m.name)).chain(QUERY_METRICS.map(column_name)).collect();
        assert!(names.contains(&"isolated_label_f1".to_owned()) && names.contains(&"knn_purity".to_owned()));
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }
}
