//! One run: reference and query brought into one space, and what that is worth.

use scgraft_analysis::auroc::auroc;
use scgraft_analysis::metrics::scores::{EvaluateOptions, Row};
use scgraft_cells::{Cells, ConditionSource, GeneSet, Kind, PrepareOptions};
use scgraft_models::{Granularity, Surgery, find};
use scgraft_train::{FitReport, TrainConfig};

use super::cases::Case;
use super::{Run, TrialPlan, Vary, Watcher, Way};
use crate::annotate::{AnnotatePlan, Annotation, Placed, annotate};
use crate::evaluate::{Before, Compared, EvaluatePlan, Evaluated, Part, Side, column_name};
use crate::labels::Agreement;
use crate::query::{QueryPlan, map_query};
use crate::reference::{Reference, ReferencePlan, train_reference};
use crate::{Embedding, Error, join, plain_expression, slots};

/// A reference that several cases share.
pub(super) struct Trained {
    rows: Vec<usize>,
    seed: u64,
    cells: Cells,
    reference: Reference,
    seconds: f64,
}

/// Components of the counts of the cells of a case, or why there are none.
pub(super) type Components = Option<([Vec<usize>; 2], Result<Before, String>)>;

/// A case and what it is made of.
pub(super) struct Lab<'a> {
    pub cells: [&'a Cells; 2],
    pub sets: &'a [GeneSet],
    pub plan: &'a TrialPlan,
    pub case: &'a Case,
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
    /// The run, and its metrics in one row.
    pub fn run(
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
        measures.extend(shown.map(|c| (column_name(c.name), c.values[0].unwrap_or(f64::NAN))));
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
                compared.before_is_of(normalised, components, |part| {
                    plain_expression(part.cells, &prepare.slot, normalised, prepare.fractions)?
                        .genes_named_by(prepare.gene_column.as_deref())
                        .map(Ok)
                })?;
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
