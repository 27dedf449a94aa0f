//! Passes over the cells: batches laid out, gradients and steps, means of the loss.

use scgraft_cells::{Dense, Minibatches, Prepared};
use scgraft_engine::{Adam, Grads, Key, Noise, ParamId, Tape, Workspace};
use scgraft_models::{Batch, Model, ModelError, Step};

use crate::{Progress, TrainError};

/// Keys of independent draws.
const NOISE: u64 = 1;
const VALIDATION: u64 = 2;
const THINNING: u64 = 4;

/// The mean of a loss term.
#[derive(Clone, Copy)]
pub(crate) struct Mean {
    pub name: &'static str,
    pub weight: f64,
    pub value: f64,
}

pub(crate) type Terms = Vec<Mean>;

/// What a run holds between steps.
pub(crate) struct Run<'d> {
    pub layout: Layout<'d>,
    pub labelled: Option<Minibatches>,
    pub grads: Grads,
    pub adam: Adam,
    pub workspace: Workspace,
    pub batch: Batch,
    pub next: Batch,
    pub key: Key,
    pub steps: usize,
}

impl Run<'_> {
    /// One pass over the training cells; the mean of each term. Labelled cells go round as often as it takes.
    pub fn train_epoch(
        &mut self,
        model: &mut Model,
        batches: &Minibatches,
        step_of: impl Fn(usize) -> Step,
        progress: &mut dyn Progress,
    ) -> Result<Terms, TrainError> {
        let mut step = step_of(self.steps);
        let order = batches.epoch(step.epoch as u64);
        let second = self.labelled.as_ref().map(|l| l.epoch(step.epoch as u64)).unwrap_or_default();
        let rounds: Vec<&[usize]> = second.chunks(batches.batch_size()).collect();
        let labelled = |i: usize| if rounds.is_empty() { &[][..] } else { rounds[i % rounds.len()] };
        let mut chunks = order.chunks(batches.batch_size()).enumerate().map(|(i, rows)| (rows, labelled(i)));
        let mut means = Means::default();
        if let Some(first) = chunks.next() {
            self.layout.fill(
                &mut self.batch,
                model,
                first.0,
                first.1,
                Some(self.key.fold(THINNING).fold(self.steps as u64)),
            )?;
        }
        loop {
            let upcoming = chunks.next();
            let (batch, next) = (&self.batch, &mut self.next);
            let noise = Noise::Key(self.key.fold(NOISE).fold(self.steps as u64));
            let (grads, workspace) = (&mut self.grads, &mut self.workspace);
            let (model_now, layout) = (&*model, &self.layout);
            step = step_of(self.steps);
            let thin = self.key.fold(THINNING).fold(self.steps as u64 + 1);
            // The next batch is laid out while this one is computed.
            let (terms, filled) = rayon::join(
                || gradient(model_now, batch, &step, noise, workspace, grads),
                || {
                    if let Some((rows, labelled)) = upcoming {
                        layout.fill(next, model_now, rows, labelled, Some(thin))?;
                    }
                    Ok::<(), ModelError>(())
                },
            );
            means.add(&terms?, self.batch.n_cells());
            filled?;
            self.adam.step(&mut model.params, &self.grads, step.learning_rate);
            model.params.apply_updates(self.grads.updates());
            model.network.after_step(&mut model.params, &step);
            self.steps += 1;
            if upcoming.is_none() {
                return Ok(means.terms());
            }
            if progress.step().is_break() {
                return Err(TrainError::Stopped { epoch: step.epoch });
            }
            std::mem::swap(&mut self.batch, &mut self.next);
        }
    }

    /// The mean of each term over the validation cells, without dropout; the noise is the same every epoch.
    pub fn validate(
        &mut self,
        model: &Model,
        rows: &[usize],
        size: usize,
        step: Step,
        progress: &mut dyn Progress,
    ) -> Result<Terms, TrainError> {
        let mut means = Means::default();
        for (i, chunk) in rows.chunks(size).enumerate() {
            let labelled: Vec<usize> = match &self.layout.data.labels {
                Some(labels) if self.labelled.is_some() => {
                    chunk.iter().copied().filter(|&r| labels.codes[r].is_some()).collect()
                }
                _ => Vec::new(),
            };
            self.layout.fill(&mut self.batch, model, chunk, &labelled, None)?;
            let noise = Noise::Key(self.key.fold(VALIDATION).fold(i as u64));
            let mut tape = model.tape(&mut self.workspace, noise, false);
            let loss = model.network.loss(&mut tape, &self.batch, &step);
            let terms = read(&tape, &loss, step.epoch)?;
            tape.finish();
            means.add(&terms, chunk.len());
            if progress.step().is_break() {
                return Err(TrainError::Stopped { epoch: step.epoch });
            }
        }
        Ok(means.terms())
    }
}

/// Loss terms of a batch, and the gradient of their weighted sum.
fn gradient(
    model: &Model,
    batch: &Batch,
    step: &Step,
    noise: Noise,
    workspace: &mut Workspace,
    grads: &mut Grads,
) -> Result<Terms, TrainError> {
    let mut tape = model.tape(workspace, noise, true);
    let loss = model.network.loss(&mut tape, batch, step);
    let terms = read(&tape, &loss, step.epoch)?;
    let roots: Vec<_> = loss.iter().map(|t| (t.value, t.weight)).collect();
    tape.backward(&roots, grads);
    Ok(terms)
}

fn read(tape: &Tape<'_>, loss: &[scgraft_models::Term], epoch: usize) -> Result<Terms, TrainError> {
    let mut terms = Vec::with_capacity(loss.len());
    for term in loss {
        let value = tape.scalar(term.value);
        if !value.is_finite() {
            return Err(TrainError::Diverged { epoch, term: term.name, value });
        }
        terms.push(Mean { name: term.name, weight: f64::from(term.weight), value: f64::from(value) });
    }
    Ok(terms)
}

/// Lays out batches of cells.
pub(crate) struct Layout<'d> {
    pub data: &'d Prepared,
    pub products: Vec<(ParamId, Dense)>,
    pub thinning: Option<f64>,
}

impl Layout<'_> {
    /// A batch of these rows, with a second one of labelled rows where there are any; what encoders read is thinned by
    /// the key, where there is one.
    fn fill(
        &self,
        batch: &mut Batch,
        model: &Model,
        rows: &[usize],
        labelled: &[usize],
        thin: Option<Key>,
    ) -> Result<(), ModelError> {
        self.fill_one(batch, model, rows, thin)?;
        if labelled.is_empty() {
            batch.labelled = None;
            return Ok(());
        }
        self.fill_one(batch.labelled.get_or_insert_default(), model, labelled, thin)
    }

    /// Cells of a condition stand together, so that its weights are read once. A frozen encoder is shown all counts, whether
    /// its products are kept or not.
    fn fill_one(&self, batch: &mut Batch, model: &Model, rows: &[usize], thin: Option<Key>) -> Result<(), ModelError> {
        let mut rows = rows.to_vec();
        rows.sort_by_key(|&r| self.data.condition.codes[r]);
        let mut kept = batch.x.take_products();
        let thinning = self.thinning.zip(thin).filter(|_| !model.reads_frozen());
        if self.products.len() == model.params.reading_expression().count() {
            batch.fill_values(self.data, &rows)?;
        } else if let Some((least, key)) = thinning {
            batch.fill_thinned(self.data, &rows, model.input_scale(), least, key)?;
        } else {
            batch.fill(self.data, &rows, model.input_scale())?;
        }
        for (weight, product) in &self.products {
            let mut own = kept.pop().unwrap_or_default();
            own.clear();
            rows.iter().for_each(|&r| own.extend_from_slice(product.row(r)));
            batch.x.set_product(*weight, own);
        }
        Ok(())
    }
}

/// Running means, weighted by the number of cells.
#[derive(Default)]
struct Means {
    sums: Terms,
    cells: usize,
}

impl Means {
    fn add(&mut self, terms: &Terms, cells: usize) {
        if self.sums.is_empty() {
            self.sums = terms.iter().map(|t| Mean { value: 0.0, ..*t }).collect();
        }
        for (sum, term) in self.sums.iter_mut().zip(terms) {
            sum.value += term.value * cells as f64;
        }
        self.cells += cells;
    }

    fn terms(&self) -> Terms {
        self.sums.iter().map(|t| Mean { value: t.value / self.cells as f64, ..*t }).collect()
    }
}
