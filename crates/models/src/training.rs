//! How a base model is fitted unless the user says otherwise.

use serde::{Deserialize, Serialize};

/// Defaults of a training run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Passes over the training cells.
    pub epochs: Epochs,
    /// Cells a step.
    pub batch_size: usize,
    /// Step size of Adam.
    pub learning_rate: f32,
    /// ε of Adam.
    pub adam_epsilon: f32,
    /// L2 weight decay, added to the gradient of what trains.
    pub weight_decay: f32,
    /// Epochs over which the KL weight rises from 0.
    pub kl_anneal: usize,
    /// When to stop; `None` trains on all cells to the end.
    pub early_stopping: Option<EarlyStopping>,
}

/// How many passes over the training cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epochs {
    /// So many.
    Fixed(usize),
    /// min(most, round(20,000 / cells · most)), at least 1: as many steps for large data as for 20,000 cells.
    ByCells(usize),
}

impl Epochs {
    /// The number for so many cells.
    pub fn count(self, n_cells: usize) -> usize {
        match self {
            Epochs::Fixed(n) => n,
            Epochs::ByCells(most) => {
                let wanted = (20_000.0 / n_cells.max(1) as f64 * most as f64).round_ties_even();
                (wanted as usize).clamp(1, most)
            }
        }
    }
}

impl Epochs {
    /// The number for a model that starts from a trained one: a third of it, from 2 to 10.
    pub fn of_adopted(self, n_cells: usize) -> usize {
        ((self.count(n_cells) as f64 / 3.0).round_ties_even() as usize).clamp(2, 10)
    }
}

impl Training {
    /// Those of the published scArches models, save weight decay.
    pub const SCARCHES: Training = Training {
        epochs: Epochs::Fixed(400),
        batch_size: 128,
        learning_rate: 1e-3,
        adam_epsilon: 0.01,
        weight_decay: 0.0,
        kl_anneal: 100,
        early_stopping: Some(EarlyStopping::SCARCHES),
    };

    /// Those of scvi-tools.
    pub const SCVI: Training = Training {
        epochs: Epochs::ByCells(400),
        batch_size: 128,
        learning_rate: 1e-3,
        adam_epsilon: 0.01,
        weight_decay: 1e-6,
        kl_anneal: 400,
        early_stopping: None,
    };
}

/// When to stop and when to lower the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopping {
    /// Stop after so many epochs without improvement.
    pub patience: usize,
    /// Lower the learning rate after so many; 0 never lowers it.
    pub lr_patience: usize,
    /// What the learning rate is multiplied by.
    pub lr_factor: f32,
}

impl EarlyStopping {
    /// The settings published with scArches.
    pub const SCARCHES: EarlyStopping = EarlyStopping { patience: 50, lr_patience: 13, lr_factor: 0.1 };
}

impl Default for EarlyStopping {
    fn default() -> Self {
        EarlyStopping::SCARCHES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_by_the_number_of_cells() {
        let count = |n| Epochs::ByCells(400).count(n);
        assert_eq!([count(0), count(9_000), count(20_000), count(32_484), count(100_000_000)], [400, 400, 400, 246, 1]);
    }
}
