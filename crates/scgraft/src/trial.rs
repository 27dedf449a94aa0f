//! Experiments: how a choice matters, on cells whose batches and labels are known.
//!
//! A reference is trained and a query mapped onto it, again and again, one thing varied ([`Vary`]): which weights the query
//! may change, how many cells or batches the reference has, how many cells the query has, a label that the reference is
//! denied, or the seed alone. Every run says how many weights trained, how long it took, and how good the mapping is. These
//! are the experiments of Lotfollahi et al., *Nat Biotechnol* 2022, figs 2 and 3, and *Nat Cell Biol* 2023, extended data
//! fig. 4.

use std::ops::ControlFlow;

use scgraft_analysis::auroc::auroc;
use scgraft_analysis::metrics::scores::{EvaluateOptions, Row, Scores};
use scgraft_cells::{Cells, Column, ConditionSource, Frame, GeneSet, Kind, PrepareOptions};
use scgraft_models::{Granularity, Surgery, find};
use scgraft_numeric::random::Key;
use scgraft_train::{FitReport, Progress, TrainConfig};

use crate::annotate::{AnnotatePlan, Annotation, Placed, annotate};
use crate::columns::{coded, level, wrong};
use crate::evaluate::{Before, Compared, EvaluatePlan, Evaluated, Part, Side};
use crate::labels::Agreement;
use crate::query::{QueryPlan, map_query};
use crate::reference::{Reference, ReferencePlan, train_reference};
use crate::{Embedding, Error, join, plain_expression, slots};

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
    /// Whether the query's fit had arrived ([`FitReport::arrived`]).
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

/// A setting with one seed: which cells, and how they come into one space.
struct Case {
    setting: String,
    seed: u64,
    way: Way,
    reference: Vec<usize>,
    query: Vec<usize>,
}

/// A reference that several cases share.
struct Trained {
    rows: Vec<usize>,
    seed: u64,
    cells: Cells,
    reference: Reference,
    seconds: f64,
}

/// Components of the counts of the cells of a case, or why there are none.
type Components = Option<([Vec<usize>; 2], Result<Before, String>)>;

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
        cases.extend(self::cases(reference, query, plan, seed)?);
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
        run.measures.push((snake("Overall (scArches)"), row.scarches_overall.unwrap_or(f64::NAN)));
    }
    Ok(Trial { vary: plan.vary.clone(), runs })
}

/// The settings of an experiment with one seed.
fn cases(reference: &Cells, query: &Cells, plan: &TrialPlan, seed: u64) -> Result<Vec<Case>, Error> {
    const NAME: &str = "the reference";
    let all = |cells: &Cells| (0..cells.n_cells()).collect::<Vec<_>>();
    let plain = |setting: String| Case {
        setting,
        seed,
        way: Way::Graft(plan.graft.granularity),
        reference: all(reference),
        query: all(query),
    };
    let shuffled = |n: usize, stream: u64| {
        let mut order: Vec<usize> = (0..n).collect();
        Key::new(seed).fold(stream).shuffle(&mut order);
        order
    };
    let sorted = |mut rows: Vec<usize>| {
        rows.sort_unstable();
        rows
    };
    let within = |numbers: &[usize], most: usize| match numbers.iter().find(|n| **n == 0 || **n > most) {
        Some(n) => Err(Error::Beyond { name: plan.vary.name(), value: n.to_string(), most }),
        None => Ok(()),
    };
    let (batch, rows) = coded(reference, NAME, &plan.batch)?;
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); batch.levels.len()];
    rows.iter().zip(&batch.codes).for_each(|(&i, &b)| members[b as usize].push(i));
    Ok(match &plan.vary {
        Vary::Seed => vec![plain("all".to_owned())],
        Vary::Way(ways) => ways.iter().map(|&way| Case { way, ..plain(way.name().to_owned()) }).collect(),
        Vary::ReferenceShare(shares) => {
            if let Some(share) = shares.iter().find(|s| !(**s > 0.0 && **s <= 1.0)) {
                return Err(Error::Beyond { name: plan.vary.name(), value: share.to_string(), most: 1 });
            }
            let case = |&share: &f64| {
                let of = |(b, own): (usize, &Vec<usize>)| -> Vec<usize> {
                    let kept = (own.len() as f64 * share).ceil() as usize;
                    shuffled(own.len(), b as u64).into_iter().take(kept).map(|i| own[i]).collect()
                };
                let chosen = members.iter().enumerate().flat_map(of).collect();
                Case { reference: sorted(chosen), ..plain(share.to_string()) }
            };
            shares.iter().map(case).collect()
        }
        Vary::ReferenceBatches(numbers) => {
            let most = batch.levels.len();
            within(numbers, most)?;
            let order = shuffled(most, 0);
            let case = |&n: &usize| {
                let chosen = order[..n].iter().flat_map(|&b| members[b].clone()).collect();
                Case { reference: sorted(chosen), ..plain(n.to_string()) }
            };
            numbers.iter().map(case).collect()
        }
        Vary::QueryCells(numbers) => {
            let most = query.n_cells();
            within(numbers, most)?;
            let order = shuffled(most, 0);
            let case = |&n: &usize| Case { query: sorted(order[..n].to_vec()), ..plain(n.to_string()) };
            numbers.iter().map(case).collect()
        }
        Vary::HoldOut(labels) => {
            let (types, rows) = coded(reference, NAME, &plan.labels)?;
            let (own, _) = coded(query, "the query", &plan.labels)?;
            let case = |label: &String| {
                let held = level(&types, &plan.labels, label)?;
                if !own.levels.contains(label) {
                    return Err(wrong(
                        "the query",
                        &plan.labels,
                        format!("is `{label}` of no cell: none would be new"),
                    ));
                }
                let kept = (0..rows.len()).filter(|&i| types.codes[i] != held).map(|i| rows[i]).collect();
                Ok(Case { reference: kept, ..plain(label.clone()) })
            };
            labels.iter().map(case).collect::<Result<_, Error>>()?
        }
        Vary::Rare(label, shares) => {
            if let Some(share) = shares.iter().find(|s| !(**s > 0.0 && **s < 1.0)) {
                let problem =
                    format!("cannot be `{label}` of a share of {share}: expected more than 0 and less than 1");
                return Err(wrong(NAME, &plan.labels, problem));
            }
            // The rows of the label, in the order in which they are drawn, and all others.
            let side = |cells: &Cells, name: &str| -> Result<[Vec<usize>; 2], Error> {
                let (types, rows) = coded(cells, name, &plan.labels)?;
                let rare = level(&types, &plan.labels, label)?;
                let (own, others): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|&i| types.codes[i] == rare);
                let own = shuffled(own.len(), 0).into_iter().map(|i| rows[own[i]]).collect();
                Ok([own, others.into_iter().map(|i| rows[i]).collect()])
            };
            let sides = [side(reference, NAME)?, side(query, "the query")?];
            let case = |&share: &f64| {
                let [known, asked] = sides.each_ref().map(|[own, others]| {
                    // share = n / (n + others), at least one cell.
                    let n = ((share / (1.0 - share) * others.len() as f64).round() as usize).max(1);
                    sorted([&own[..n.min(own.len())], &others[..]].concat())
                });
                Case { reference: known, query: asked, ..plain(share.to_string()) }
            };
            shares.iter().map(case).collect()
        }
    })
}

/// A case and what it is made of.
struct Lab<'a> {
    cells: [&'a Cells; 2],
    sets: &'a [GeneSet],
    plan: &'a TrialPlan,
    case: &'a Case,
}

/// Reference and query in one space.
struct Placement {
    known: (Cells, Embedding),
    asked: (Cells, Embedding),
    report: Option<FitReport>,
    /// Of the reference and of the query.
    seconds: [f64; 2],
}

impl Lab<'_> {
    fn run(
        &self,
        trained: &mut Option<Trained>,
        before: &mut Components,
        watcher: &mut dyn Watcher,
    ) -> Result<(Run, Row), Error> {
        let Placement { known, asked, report, seconds } = match self.case.way {
            Way::Graft(granularity) => self.grafted(granularity, trained, watcher)?,
            Way::Together => self.together(watcher)?,
        };
        let found = annotate(
            &Placed { name: "the reference", cells: &known.0, embedding: &known.1 },
            &Placed { name: "the query", cells: &asked.0, embedding: &asked.1 },
            &AnnotatePlan {
                labels: vec![self.plan.labels.clone()],
                across: vec![self.plan.batch.clone()],
                search: self.plan.metrics.search.clone(),
                ..AnnotatePlan::default()
            },
            &mut || watcher.ask(),
        )?;
        let mut measures = transferred(&found, &asked.0, &self.plan.labels)?;
        if let Vary::Rare(label, _) = &self.plan.vary {
            measures.extend(of_label(&found, &asked.0, &self.plan.labels, label)?);
        }
        crate::goes_on(&mut || watcher.ask())?;
        let scores = self.scores([&known, &asked], before)?;
        let row = scores.scores.rows[0].clone();
        let shown = scores.columns().into_iter().filter(|c| c.name != "Overall (scArches)");
        measures.extend(shown.map(|c| (snake(c.name), c.values[0].unwrap_or(f64::NAN))));
        let run = Run {
            setting: self.case.setting.clone(),
            seed: self.case.seed,
            reference_cells: known.0.n_cells(),
            query_cells: asked.0.n_cells(),
            trained_values: report.as_ref().map_or(0, |r| r.n_trainable),
            reference_seconds: seconds[0],
            query_seconds: seconds[1],
            arrived: report.as_ref().map_or(Some(true), FitReport::arrived),
            measures,
        };
        Ok((run, row))
    }

    /// How a reference of so many cells is trained.
    fn training(&self, n_cells: usize) -> Result<ReferencePlan, Error> {
        let plan = self.plan;
        let usual = TrainConfig::of(&find(&plan.reference.model)?.training, n_cells);
        let epochs = plan.epochs.unwrap_or(usual.epochs);
        Ok(ReferencePlan {
            prepare: PrepareOptions { condition: self.condition(), ..plan.reference.prepare.clone() },
            train: TrainConfig { epochs, seed: self.case.seed, ..usual },
            ..plan.reference.clone()
        })
    }

    fn condition(&self) -> ConditionSource {
        ConditionSource::Columns(vec![self.plan.batch.clone()])
    }

    fn grafted(
        &self,
        granularity: Granularity,
        trained: &mut Option<Trained>,
        watcher: &mut dyn Watcher,
    ) -> Result<Placement, Error> {
        let (case, plan) = (self.case, self.plan);
        if !trained.as_ref().is_some_and(|t| t.rows == case.reference && t.seed == case.seed) {
            let cells = self.cells[0].select_cells(&case.reference);
            let training = self.training(cells.n_cells())?;
            let start = watcher.seconds();
            let mut progress = watcher.fit("training", training.train.epochs);
            let reference = train_reference(&cells, self.sets, None, &training, &mut *progress)?;
            drop(progress);
            let (rows, seconds) = (case.reference.clone(), watcher.seconds() - start);
            *trained = Some(Trained { rows, seed: case.seed, cells, reference, seconds });
        }
        let Some(of) = trained.as_ref() else { return Err(Error::Stopped) };
        crate::goes_on(&mut || watcher.ask())?;
        let mut asked = self.cells[1].select_cells(&case.query);
        let surgery = Surgery { granularity, ..plan.graft.clone() };
        let mut mapping = QueryPlan::by(&of.reference.model, surgery, self.condition(), asked.n_cells());
        let taken = PrepareOptions { label: None, unlabelled: None, ..plan.reference.prepare.clone() };
        mapping.prepare = PrepareOptions { condition: self.condition(), kind: mapping.prepare.kind, ..taken };
        mapping.train.epochs = plan.query_epochs.unwrap_or(mapping.train.epochs);
        mapping.train.seed = case.seed;
        let start = watcher.seconds();
        let mut progress = watcher.fit("mapping", mapping.train.epochs);
        let mapped = map_query(&of.reference.model, &asked, &mapping, &mut *progress)?;
        drop(progress);
        let seconds = [of.seconds, watcher.seconds() - start];
        // Where more than an adaptor trained, the reference lies elsewhere than before.
        let model = &mapped.grafted.model;
        let known = Embedding::of(model, &of.reference.prepared)?;
        let mut cells = of.cells.clone();
        slots::put_embedding(&mut cells, model, &known, self.gene_column());
        slots::put_embedding(&mut asked, model, &mapped.embedding, self.gene_column());
        let report = mapped.grafted.report;
        Ok(Placement { known: (cells, known), asked: (asked, mapped.embedding), report, seconds })
    }

    /// All cells in one model from the start.
    fn together(&self, watcher: &mut dyn Watcher) -> Result<Placement, Error> {
        let mut known = self.cells[0].select_cells(&self.case.reference);
        let mut asked = self.cells[1].select_cells(&self.case.query);
        let (all, left_out) = join::counts(&known, &asked);
        for (slot, reason) in left_out {
            tracing::warn!("{slot}: not joined: {reason}");
        }
        let training = self.training(all.n_cells())?;
        let start = watcher.seconds();
        let mut progress = watcher.fit("training together", training.train.epochs);
        let trained = train_reference(&all, self.sets, None, &training, &mut *progress)?;
        drop(progress);
        let seconds = [f64::NAN, watcher.seconds() - start];
        let embedding = Embedding::of(&trained.model, &trained.prepared)?;
        let n = known.n_cells();
        let parts =
            [(0..n).collect::<Vec<_>>(), (n..all.n_cells()).collect()].map(|rows| embedding.select_cells(&rows));
        let [first, second] = parts;
        slots::put_embedding(&mut known, &trained.model, &first, self.gene_column());
        slots::put_embedding(&mut asked, &trained.model, &second, self.gene_column());
        Ok(Placement { known: (known, first), asked: (asked, second), report: Some(trained.report), seconds })
    }

    fn gene_column(&self) -> Option<&str> {
        self.plan.reference.prepare.gene_column.as_deref()
    }

    /// The metrics of integration and mapping.
    fn scores(&self, parts: [&(Cells, Embedding); 2], before: &mut Components) -> Result<Evaluated, Error> {
        let plan = self.plan;
        let side = Side {
            reference: Some(Part { name: "the reference", batch: "reference", cells: &parts[0].0 }),
            query: Part { name: "the query", batch: "query", cells: &parts[1].0 },
        };
        let (batch, labels) = (plan.batch.clone(), plan.labels.clone());
        let metrics = EvaluateOptions { seed: self.case.seed, ..plan.metrics.clone() };
        let of = EvaluatePlan { batch, labels, query: Vec::new(), options: metrics };
        let mut compared = Compared::new(side, &of)?;
        let rows = [&self.case.reference, &self.case.query];
        let there = before.as_ref().filter(|(of, _)| of.each_ref() == rows).map(|(_, found)| found.clone());
        compared.before = match (there, plan.components) {
            (Some(found), _) => found,
            (None, None) => Err("not wanted".to_owned()),
            (None, Some(components)) => {
                let prepare = &plan.reference.prepare;
                let normalised = prepare.kind == Kind::LogNormalised;
                let mut counts = Vec::new();
                for (part, rows) in parts.iter().zip(compared.rows()) {
                    let of = plain_expression(&part.0, &prepare.slot, normalised, prepare.fractions)?;
                    let of = match &prepare.gene_column {
                        Some(column) => of.genes_named_by(column)?,
                        None => of,
                    };
                    counts.push(of.select_cells(&rows));
                }
                compared.before_is_of(&counts, normalised, components);
                *before = Some((rows.map(Clone::clone), compared.before.clone()));
                compared.before
            }
        };
        let kept = compared.rows();
        let [known, asked] = [0, 1].map(|p| parts[p].1.mean.select_rows(&kept[p]));
        compared.embeddings.push((self.case.setting.clone(), join::below(&known, &asked)));
        Ok(Evaluated { scores: compared.scores(&of)?, query: compared.query_scores(&of)? })
    }
}

/// What label transfer and novelty are worth, by the query's own labels.
fn transferred(found: &Annotation, query: &Cells, column: &str) -> Result<Vec<(String, f64)>, Error> {
    let of = &found.labels[0];
    let t = &of.transfer;
    let given = crate::columns::find(query, "the query", column)?.labels();
    let at = |name: &String| t.levels.iter().position(|l| l == name);
    // Each cell with a label: its code in the reference, or that it is new there.
    let told: Vec<(usize, Option<usize>)> =
        given.iter().enumerate().filter_map(|(i, g)| g.as_ref().map(|g| (i, at(g)))).collect();
    let agreement = of.truth.as_ref().map_or_else(|| Agreement::of(&[]), |truth| truth.by_label);
    let new: Vec<bool> = told.iter().map(|(_, y)| y.is_none()).collect();
    let area = |score: &dyn Fn(usize) -> f64| -> Result<f64, Error> {
        if new.iter().all(|n| *n) || !new.contains(&true) {
            return Ok(f64::NAN);
        }
        Ok(auroc(&told.iter().map(|&(i, _)| score(i)).collect::<Vec<_>>(), &new)?)
    };
    let share = |of_new: bool| {
        let own: Vec<usize> = told.iter().zip(&new).filter(|(_, n)| **n == of_new).map(|(c, _)| c.0).collect();
        own.iter().filter(|&&i| t.unknown[i]).count() as f64 / own.len() as f64
    };
    let novelty = match &of.novelty {
        Some(novelty) => area(&|i| novelty.score[i])?,
        None => f64::NAN,
    };
    let measures = [
        ("label_accuracy_of_known", agreement.accuracy),
        ("label_accuracy_by_type", agreement.by_type),
        ("label_f1_macro", agreement.f1),
        ("new_cells", new.iter().filter(|n| **n).count() as f64),
        ("novelty_auroc", novelty),
        ("uncertainty_auroc", area(&|i| t.uncertainty[i])?),
        ("new_found", share(true)),
        ("false_alarms", share(false)),
    ];
    Ok(measures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// How many cells of the query have a label, and how well it is carried over: the share of them that get it, the share of
/// the cells that get it that have it, and the harmonic mean of both.
fn of_label(found: &Annotation, query: &Cells, column: &str, label: &str) -> Result<[(String, f64); 4], Error> {
    let t = &found.labels[0].transfer;
    let given = crate::columns::find(query, "the query", column)?.labels();
    let code = t.levels.iter().position(|l| l == label).map(|at| at as u32);
    let counted = |is: &dyn Fn(bool, bool) -> bool| {
        let cells = given.iter().zip(&t.best).filter(|(g, _)| g.is_some());
        cells.filter(|(g, b)| is(g.as_deref() == Some(label), Some(**b) == code)).count() as f64
    };
    let (has, gets, both) = (counted(&|h, _| h), counted(&|_, g| g), counted(&|h, g| h && g));
    let all = [
        ("rare_cells", has),
        ("rare_recall", both / has),
        ("rare_precision", both / gets),
        ("rare_f1", 2.0 * both / (has + gets)),
    ];
    Ok(all.map(|(name, value)| (name.to_owned(), value)))
}

/// A metric's name as that of a column.
fn snake(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
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
        let mut out: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !out.contains(&run.setting.as_str()) {
                out.push(&run.setting);
            }
        }
        out
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
        let names: Vec<String> = METRICS.iter().map(|m| snake(m.name)).chain(QUERY_METRICS.map(snake)).collect();
        assert!(names.contains(&"isolated_label_f1".to_owned()) && names.contains(&"knn_purity".to_owned()));
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }
}
