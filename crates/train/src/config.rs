//! Settings of a training run.

use scgraft_models::{EarlyStopping, Training};
use serde::{Deserialize, Serialize};

/// How a model is fitted; the defaults are the published ones, save where those are at fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// At most so many passes over the training cells.
    pub epochs: usize,
    /// Cells a step.
    pub batch_size: usize,
    /// Step size of Adam.
    pub learning_rate: f32,
    /// ε of Adam.
    pub adam_epsilon: f32,
    /// L2 weight decay, added to the gradient of what trains. The published code uses 0.04, which shrinks
    /// conditions' weights for no reason; here it is off.
    pub weight_decay: f32,
    /// Epochs over which the KL weight rises from 0; 0 for at once.
    pub kl_anneal: usize,
    /// Steps over which it rises, instead of epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_anneal_steps: Option<usize>,
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

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig::of(&Training::SCARCHES, 0)
    }
}

impl TrainConfig {
    /// A model's own defaults, for so many cells.
    pub fn of(training: &Training, n_cells: usize) -> Self {
        TrainConfig {
            epochs: training.epochs.count(n_cells),
            batch_size: training.batch_size,
            learning_rate: training.learning_rate,
            adam_epsilon: training.adam_epsilon,
            weight_decay: training.weight_decay,
            kl_anneal: training.kl_anneal,
            kl_anneal_steps: None,
            train_fraction: 0.9,
            stratified: false,
            samples_per_label: None,
            early_stopping: training.early_stopping,
            seed: 2020,
            compat: None,
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

    /// The annealing factor, on the KL weight and what else a model anneals: min(epoch/anneal, 1), or the same of steps.
    pub fn anneal_factor(&self, epoch: usize, step: usize) -> f32 {
        let (at, anneal) = match self.kl_anneal_steps {
            Some(steps) => (step, steps),
            None => (epoch, self.kl_anneal),
        };
        if anneal == 0 { 1.0 } else { (at as f32 / anneal as f32).min(1.0) }
    }
}
