//! Settings of a training run.

use scgraft_models::{Anneal, EarlyStopping, Schedule, Training};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// How a model is fitted; the defaults are the published ones, save where those are at fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// At most so many passes over the training cells.
    pub epochs: usize,
    /// The passes that the model's defaults have for so many cells: by these a run is called short. No setting of a run.
    #[serde(skip)]
    pub usual_epochs: usize,
    /// Cells a step.
    pub batch_size: usize,
    /// Step size of Adam, at its largest.
    pub learning_rate: f32,
    /// How the step size goes over the run.
    pub schedule: Schedule,
    /// ε of Adam.
    pub adam_epsilon: f32,
    /// L2 weight decay, added to the gradient of what trains. The published code uses 0.04, which shrinks
    /// conditions' weights for no reason; here it is off.
    pub weight_decay: f32,
    /// Over how long the KL weight, and what else a model anneals, rises from 0.
    pub anneal: Anneal,
    /// Whether what can be read off the data before training is ([`scgraft_models::Model::start_from_data`]).
    pub start_from_data: bool,
    /// Standard deviation of a normal prior of what trains about where it starts: adds Σ (w − w₀)²/(2 sd²) over the number
    /// of training cells to the loss, so that few cells do not carry new weights far. `None` for no prior.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_sd: Option<f32>,
    /// The least share of its counts that a training cell's encoder is shown, for counts ([`scgraft_models::Batch::fill_thinned`]);
    /// `None` shows all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinning: Option<f64>,
    /// In a graft: cells of each new condition that its adaptor is fitted on at most, drawn with the seed; all cells are
    /// encoded. `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_cells: Option<usize>,
    /// Share of each condition's cells that trains; the others validate.
    pub train_fraction: f64,
    /// Draw as many cells of each condition, whatever its size.
    pub stratified: bool,
    /// For models that learn from labels: at most so many cells of each label an epoch in the classification, drawn
    /// anew each epoch, so that rare labels count; `None` takes all labelled cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples_per_label: Option<usize>,
    /// When to stop; `None` runs all epochs and keeps the last state.
    pub early_stopping: Option<EarlyStopping>,
    /// Seed of everything random.
    pub seed: u64,
    /// Reproduce the published code's numerics.
    pub compat: Option<Compat>,
}

/// Published code whose numerics can be reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// scArches 0.6.1: weight decay 0.04, stratified draws, early stopping blind to the first epochs.
    Scarches,
}

/// The most epochs of a fit: what is said to run longer is a slip of the pen.
pub const MOST_EPOCHS: usize = 1_000_000;

/// Share of the cells that trains, where early stopping wants some to judge by.
const TRAIN_FRACTION: f64 = 0.9;

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig::of(&Training::SCARCHES, 0)
    }
}

impl TrainConfig {
    /// A model's own defaults, for so many cells.
    pub fn of(training: &Training, n_cells: usize) -> Self {
        let cells = n_cells.min(training.most_cells.unwrap_or(n_cells)) as f64 * TRAIN_FRACTION;
        let epochs = training.epochs.count(cells.ceil() as usize, training.batch_size);
        let validating = (n_cells as f64 * (1.0 - TRAIN_FRACTION)).round() as usize;
        TrainConfig {
            epochs,
            usual_epochs: epochs,
            batch_size: training.batch_size,
            learning_rate: training.learning_rate,
            adam_epsilon: training.adam_epsilon,
            weight_decay: training.weight_decay,
            schedule: training.schedule,
            anneal: training.anneal,
            start_from_data: training.start_from_data,
            prior_sd: training.prior_sd,
            most_cells: training.most_cells,
            thinning: training.thinning,
            train_fraction: TRAIN_FRACTION,
            stratified: false,
            samples_per_label: None,
            early_stopping: training.early_stopping.filter(|_| validating >= training.least_validating),
            seed: 2020,
            compat: None,
        }
    }

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`TrainError::Config`].
    pub fn check(&self) -> Result<(), TrainError> {
        let above_zero = |v: f32| v > 0.0 && v.is_finite();
        let share = |s: f64| s > 0.0 && s <= 1.0;
        let all = [
            ("epochs", (1..=MOST_EPOCHS).contains(&self.epochs), "1 to 1,000,000", self.epochs.to_string()),
            ("batch size", self.batch_size > 0, "at least 1", self.batch_size.to_string()),
            ("learning rate", above_zero(self.learning_rate), "a number above 0", self.learning_rate.to_string()),
            (
                "weight decay",
                self.weight_decay == 0.0 || above_zero(self.weight_decay),
                "0 or a number above it",
                self.weight_decay.to_string(),
            ),
            (
                "train fraction",
                share(self.train_fraction),
                "a share above 0 and at most 1",
                self.train_fraction.to_string(),
            ),
            (
                "thinning",
                self.thinning.is_none_or(share),
                "a share above 0 and at most 1",
                self.thinning.unwrap_or_default().to_string(),
            ),
            (
                "prior sd",
                self.prior_sd.is_none_or(above_zero),
                "a number above 0",
                self.prior_sd.unwrap_or_default().to_string(),
            ),
        ];
        match all.into_iter().find(|(_, holds, ..)| !holds) {
            Some((what, _, expected, found)) => Err(TrainError::Config { what, expected, found }),
            None => Ok(()),
        }
    }

    /// These settings with the published code's in place of ours where they differ in numerics.
    pub fn compatible(mut self, compat: Compat) -> Self {
        match compat {
            Compat::Scarches => {
                self.weight_decay = 0.04;
                self.stratified = true;
            }
        }
        self.compat = Some(compat);
        self
    }
}
