//! The training loop: the same for every model.

use std::cell::OnceCell;
use std::ops::Range;

use scgraft_cells::{Kind, Minibatches, Prepared, split};
use scgraft_engine::{Adam, AdamConfig, Grads, Key, Param, Params, Workspace};
use scgraft_models::{Anneal, Batch, EpochRecord, Input, Model, Schedule, Step, reading};

use crate::checkpoint::{self, Progressed};
use crate::passes::{Layout, Run, Terms};
use crate::{Compat, Progress, Stopper, TrainConfig, TrainError};

/// How a fit went.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Epochs run.
    pub epochs: usize,
    /// The model has the state after so many epochs; 0: the one it started from.
    pub best_epoch: usize,
    /// Validation loss of that state, where one was judged.
    pub best_loss: Option<f64>,
    /// Whether early stopping ended it.
    pub stopped_early: bool,
    /// What the last fifth of the run still gained of the loss, as a share of it; `None` for a run of fewer than five
    /// epochs, and where no cell judges steps that die down: what trains fits better to the end.
    pub last_gain: Option<f64>,
    /// The usual epochs, where this run had less than half of them and its steps died down: such a run ends flat wherever it
    /// stands, so that its last gain says nothing.
    pub short_of: Option<usize>,
    /// Cells that it was fitted on, those that validate among them.
    pub n_cells: usize,
    /// Steps taken.
    pub steps: usize,
    /// Values that trained.
    pub n_trainable: usize,
    /// Bytes of the workspace that every step reuses.
    pub workspace_bytes: usize,
}

impl FitReport {
    /// Whether the run had arrived: its last fifth gained next to nothing, and it was not cut short. One that was stopped
    /// early had. `None` where that cannot be told.
    pub fn arrived(&self) -> Option<bool> {
        match self.short_of {
            _ if self.stopped_early => Some(true),
            Some(_) => Some(false),
            None => self.last_gain.map(|gain| gain < ARRIVED),
        }
    }
}

/// The share of the loss that the last fifth of a run that has arrived gains at most.
const ARRIVED: f64 = 1e-3;

/// Most bytes that products of cells with frozen weights are kept in: 1 GiB, a million cells of 256 hidden units.
const MOST_PRODUCTS: usize = 1 << 30;

/// Apart from the seed of the order of all cells.
const LABELLED: u64 = 3;

/// Runs `work` with so many threads (0: one per core). Results do not depend on the number. In WebAssembly there is one.
/// Many more than there are cores would only wait for each other, all of them at work: four a core are the most, or 16.
///
/// # Errors
/// When the threads cannot be started.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, TrainError> {
    if cfg!(target_family = "wasm") {
        return Ok(work());
    }
    let most = std::thread::available_parallelism().map_or(1, usize::from).saturating_mul(4).max(16);
    if threads > most {
        tracing::warn!("{threads} threads were asked for, {most} are started: there are not more cores to use them");
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.min(most)).build();
    let pool = pool.map_err(|e| TrainError::Threads { threads, what: e.to_string() })?;
    Ok(pool.install(work))
}

/// Fits what is trainable in `model` to `data`.
///
/// The model ends in the state of its best epoch, or of its last without early stopping, and has the run's history.
/// The best is that of the lowest objective on the validation cells, every term with the weight that training
/// reaches. (The published code adds the terms up without weights, as `compat` does: where the KL weight is small,
/// a latent dimension that learns something then looks like a loss.)
///
/// `progress` may keep checkpoints and give one back: the fit then goes on from it, to the same bits as in one go.
///
/// # Errors
/// When data and model do not fit, a setting is wrong, the loss is no number, a checkpoint is of another fit, or `progress`
/// stops it.
pub fn fit(
    model: &mut Model,
    data: &Prepared,
    config: &TrainConfig,
    progress: &mut dyn Progress,
) -> Result<FitReport, TrainError> {
    check(model, data, config)?;
    model.read_data(data)?;
    if config.start_from_data {
        model.start_from_data(data)?;
    }
    let split = split(data, if config.early_stopping.is_some() { config.train_fraction } else { 1.0 }, config.seed)?;
    let batches = if config.stratified {
        Minibatches::stratified(&split.train, &data.condition, config.batch_size, config.seed)?
    } else {
        Minibatches::shuffled(&split.train, config.batch_size, config.seed)?
    };
    let labelled = labelled(model, data, &split.train, config)?;
    let mut run = Run {
        layout: Layout {
            data,
            products: model.frozen_products(data, MOST_PRODUCTS)?,
            thinning: config.thinning.filter(|_| data.kind == Kind::Counts),
        },
        labelled,
        grads: Grads::new(&model.params),
        adam: Adam::new(
            &model.params,
            AdamConfig {
                epsilon: config.adam_epsilon,
                weight_decay: config.weight_decay,
                hold: config.prior_sd.map_or(0.0, |sd| 1.0 / (sd * sd * split.train.len() as f32)),
                ..AdamConfig::default()
            },
        ),
        workspace: Workspace::new(),
        batch: Batch::default(),
        next: Batch::default(),
        key: Key::new(config.seed),
        steps: 0,
    };
    let mut stopper = config.early_stopping.filter(|_| !split.validation.is_empty()).map(|rule| match config.compat {
        Some(Compat::Scarches) => Stopper::scarches(rule),
        None => Stopper::new(rule),
    });
    let whole_from = model.network.programs().map_or(0, |p| p.all_from(&model.params, config.epochs));
    // A state on the way to the full weights is not judged by them: the lowest loss could be that of having learned nothing.
    let judged_from = match config.anneal {
        Anneal::Share { share, most } => whole_from.max(((share * config.epochs as f64).ceil() as usize).min(most)),
        Anneal::Epochs(_) | Anneal::Steps(_) => whole_from,
    };
    let judged_from = judged_from.min(config.epochs.saturating_sub(1));
    let mut learning_rate = config.learning_rate;
    let total_steps = config.epochs as f64 * batches.per_epoch() as f64;
    let mut best = Best::default();
    let mut report = FitReport {
        epochs: 0,
        best_epoch: 0,
        best_loss: None,
        stopped_early: false,
        last_gain: None,
        short_of: (config.schedule != Schedule::Constant && 2 * config.epochs < config.usual_epochs)
            .then_some(config.usual_epochs),
        n_cells: data.n_cells(),
        steps: 0,
        n_trainable: model.params.n_trainable(),
        workspace_bytes: 0,
    };
    model.history.clear();
    let mut from = 0;
    let start = progress.keeps_checkpoints().then(|| checkpoint::start_of(model));
    // Read once, when the first checkpoint is wanted: cells may be many.
    let digest = OnceCell::new();
    let of = |model: &Model| {
        let new = || start.as_ref().map(|start| checkpoint::digest(start, model, data, config));
        digest.get_or_init(new).clone().unwrap_or_else(|| Err("there are none".to_owned()))
    };
    let made = checkpoint::made(model, data, config);
    if let Some(bytes) = progress.earlier() {
        let found = checkpoint::read(&bytes).ok().map(|(found, _)| found.made).filter(|was| !was.is_null());
        progress.compared(found.map(|was| checkpoint::differences(&was, &made)).as_deref());
    }
    if let Some(bytes) = progress.resume() {
        let own = of(model).map_err(|what| TrainError::Checkpoint { what })?;
        let found = checkpoint::from_bytes(&bytes, &own, &made, &mut model.params, &mut run.adam, &mut best)?;
        (from, run.steps, report.best_epoch, report.best_loss) =
            (found.epoch, found.steps, found.best_epoch, found.best_loss);
        learning_rate = f32::from_bits(found.learning_rate);
        stopper = found.stopper;
        report.epochs = from;
        model.history = found.history;
        tracing::info!("going on from epoch {} of {}", from + 1, config.epochs);
    }
    // What is read off few cells can be better than any state that they train.
    if let Some(stopper) = stopper.as_mut().filter(|_| from == 0 && judged_from == 0 && config.start_from_data) {
        let reached = Step { epoch: 0, epochs: config.epochs, learning_rate: 0.0, annealed: 1.0 };
        let terms = run.validate(model, &split.validation, config.batch_size, reached, progress)?;
        let loss = terms.iter().map(|t| t.weight * t.value).sum();
        stopper.start(loss);
        report.best_loss = Some(loss);
        best.keep(&model.params);
    }
    for epoch in from..config.epochs {
        let step_of = |steps: usize| {
            let share = steps as f64 / total_steps;
            Step {
                epoch,
                epochs: config.epochs,
                learning_rate: learning_rate * config.schedule.factor(share) as f32,
                annealed: config.anneal.factor(epoch, steps, share),
            }
        };
        let step = step_of(run.steps);
        // The whole state between two epochs.
        let state = |model: &Model, run: &Run, best: &Best, report: &FitReport, now: (usize, f32, &Option<Stopper>)| {
            of(model).and_then(|of| {
                let now = Progressed {
                    of,
                    made: made.clone(),
                    epoch: now.0,
                    steps: run.steps,
                    adam_steps: run.adam.steps(),
                    learning_rate: now.1.to_bits(),
                    best_epoch: report.best_epoch,
                    best_loss: report.best_loss,
                    stopper: now.2.clone(),
                    history: model.history.clone(),
                };
                checkpoint::to_bytes(&now, &model.params, &run.adam, best)
            })
        };
        let holds = epoch > 0 && progress.keeps_checkpoints() && progress.holds_start();
        let before = holds.then(|| state(model, &run, &best, &report, (epoch, learning_rate, &stopper)));
        let reached = Step { annealed: 1.0, ..step };
        let passed = run.train_epoch(model, &batches, step_of, progress).and_then(|train| {
            Ok((train, run.validate(model, &split.validation, config.batch_size, reached, progress)?))
        });
        if let (Err(TrainError::Stopped { .. }), Some(state)) = (&passed, before)
            && progress.wants_checkpoint()
        {
            save(progress, state);
        }
        let (train, validation) = passed?;
        let unweighted = config.compat == Some(Compat::Scarches);
        let record = EpochRecord {
            epoch,
            learning_rate: step.learning_rate,
            kl_weight: model.network.facts().kl_weight * step.annealed,
            train: named(&train),
            validation_loss: (!validation.is_empty())
                .then(|| validation.iter().map(|t| if unweighted { t.value } else { t.weight * t.value }).sum()),
            validation: named(&validation),
        };
        report.epochs = epoch + 1;
        let go_on = progress.epoch(&record);
        let judged = record.validation_loss.filter(|_| epoch >= judged_from);
        let verdict = judged.zip(stopper.as_mut()).map(|(loss, s)| s.look(loss));
        model.history.push(record);
        if verdict.is_none_or(|v| v.best) {
            (report.best_epoch, report.best_loss) = (epoch + 1, judged);
        }
        if verdict.is_some_and(|v| v.best) {
            best.keep(&model.params);
        }
        if verdict.is_some_and(|v| v.lower_rate) {
            learning_rate *= config.early_stopping.map_or(1.0, |e| e.lr_factor);
            tracing::debug!(epoch, learning_rate, "learning rate lowered");
        }
        if verdict.is_some_and(|v| !v.carry_on) {
            report.stopped_early = true;
            break;
        }
        if epoch + 1 < config.epochs && progress.wants_checkpoint() {
            save(progress, state(model, &run, &best, &report, (epoch + 1, learning_rate, &stopper)));
        }
        if go_on.is_break() {
            return Err(TrainError::Stopped { epoch });
        }
    }
    best.restore(&mut model.params);
    let tells = stopper.is_some() || config.schedule == Schedule::Constant;
    report.last_gain = if tells { last_gain(&model.history, whole_from) } else { None };
    report.steps = run.steps;
    report.workspace_bytes = run.workspace.bytes();
    Ok(report)
}

fn named(terms: &Terms) -> Vec<(String, f64)> {
    terms.iter().map(|t| (t.name.to_owned(), t.value)).collect()
}

/// Hands a checkpoint over; a fit goes on without.
fn save(progress: &mut dyn Progress, state: Result<Vec<u8>, String>) {
    if let Err(reason) = state.and_then(|bytes| progress.save(&bytes)) {
        tracing::warn!("no checkpoint was kept: {reason}");
    }
}

/// What the last fifth of the judged epochs gained: of the lowest validation loss, or of the mean training loss of as many
/// epochs before where nothing validates.
fn last_gain(history: &[EpochRecord], judged_from: usize) -> Option<f64> {
    let judged = history.get(judged_from..)?;
    let tail = judged.len() / 5;
    if tail == 0 {
        return None;
    }
    let (before, last) = judged.split_at(judged.len() - tail);
    let lowest = |records: &[EpochRecord]| records.iter().filter_map(|r| r.validation_loss).reduce(f64::min);
    let mean = |records: &[EpochRecord]| {
        let losses = records.iter().map(|r| r.train.iter().map(|t| t.1).sum::<f64>());
        losses.sum::<f64>() / records.len() as f64
    };
    let (was, is) = match (lowest(before), lowest(last)) {
        (Some(was), Some(is)) => (was, is),
        _ => (mean(&before[before.len().saturating_sub(tail)..]), mean(last)),
    };
    Some(((was - is) / is.abs().max(f64::MIN_POSITIVE)).max(0.0))
}

fn check(model: &Model, data: &Prepared, config: &TrainConfig) -> Result<(), TrainError> {
    config.check()?;
    model.check(data)?;
    if model.has_cells() && config.early_stopping.is_some() {
        return Err(TrainError::Config {
            what: "early stopping",
            expected: "none for a model with a vector per cell: cells held out have no vector to be judged by",
            found: "early stopping".into(),
        });
    }
    if data.condition.levels != model.header.conditions {
        let (found, expected) = (data.condition.levels.join(", "), model.header.conditions.join(", "));
        return Err(TrainError::Mismatch { what: "conditions", found, expected });
    }
    Ok(())
}

/// Minibatches of the labelled among the training cells, for a network that wants them.
fn labelled(
    model: &Model,
    data: &Prepared,
    train: &[usize],
    config: &TrainConfig,
) -> Result<Option<Minibatches>, TrainError> {
    let labels = data.labels.as_ref().filter(|l| train.iter().any(|&r| l.codes[r].is_some()));
    let labels = labels.filter(|_| model.network.classifier().is_some_and(|c| c.wants_labelled()));
    let (most, seed) = (config.samples_per_label, config.seed ^ (LABELLED << 60));
    match (labels, most) {
        (Some(labels), _) => Ok(Some(Minibatches::labelled(train, labels, most, config.batch_size, seed)?)),
        (None, None) => Ok(None),
        (None, Some(n)) => Err(TrainError::Config {
            what: "samples per label",
            expected: "a model that learns from labels, and cells that have some",
            found: format!(
                "{n} for {} without labels; models that learn from them: {}",
                model.entry.name,
                reading(Input::Labels)
            ),
        }),
    }
}

/// A copy of what training changes, at the best epoch.
#[derive(Default)]
pub(crate) struct Best {
    /// Of each span that changes; none before a state was judged.
    pub values: Vec<Vec<f32>>,
}

impl Best {
    fn keep(&mut self, params: &Params) {
        self.values.clear();
        for p in params.iter() {
            self.values.extend(changing(p).into_iter().map(|s| p.values()[s].to_vec()));
        }
    }

    fn restore(self, params: &mut Params) {
        let mut kept = self.values.into_iter();
        for p in params.iter_mut() {
            for (span, values) in changing(p).into_iter().zip(&mut kept) {
                p.write()[span].copy_from_slice(&values);
            }
        }
    }
}

/// The spans of a tensor that training changes: trainable rows, or all of a running statistic.
pub(crate) fn changing(p: &Param) -> Vec<Range<usize>> {
    if p.statistic { std::iter::once(0..p.n_values()).collect() } else { p.trainable_spans().collect() }
}
