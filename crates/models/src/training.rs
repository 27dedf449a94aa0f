//! How a base model is fitted unless the user says otherwise.

use serde::{Deserialize, Serialize};

/// Defaults of a training run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Passes over the training cells.
    pub epochs: Epochs,
    /// Cells a step.
    pub batch_size: usize,
    /// Step size of Adam, at its largest.
    pub learning_rate: f32,
    /// How the step size goes over a run.
    pub schedule: Schedule,
    /// ε of Adam.
    pub adam_epsilon: f32,
    /// L2 weight decay, added to the gradient of what trains.
    pub weight_decay: f32,
    /// Over how long the KL weight, and what else a model anneals, rises from 0.
    pub anneal: Anneal,
    /// Whether what can be read off the data is ([`crate::Model::start_from_data`]), instead of trained from a random start.
    pub start_from_data: bool,
    /// Standard deviation of a normal prior of what trains about where it starts, so that few cells do not carry it far;
    /// `None` for no prior.
    pub prior_sd: Option<f32>,
    /// The least share of its counts that a training cell's encoder is shown ([`crate::Batch::fill_thinned`]); `None`
    /// shows all.
    pub thinning: Option<f64>,
    /// Cells of each condition that a query is fitted on at most, drawn with the seed; `None` for all.
    pub most_cells: Option<usize>,
    /// When to stop; `None` trains on all cells to the end.
    pub early_stopping: Option<EarlyStopping>,
    /// With fewer validating cells than these all cells train, to the end: so few judge badly, and are missed.
    pub least_validating: usize,
}

/// How the step size goes over a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The same throughout, but for what early stopping lowers.
    Constant,
    /// Up from 0 over the first twentieth of the steps, down to 0 along half a cosine over the last nine tenths: the
    /// run ends at rest, whatever the noise of its batches.
    WarmCosine,
    /// Down to 0 along half a cosine from the first step on, for few weights that start near where they belong.
    Cosine,
}

impl Schedule {
    /// The factor on the step size at a share of the run, 0 to 1.
    pub fn factor(self, share: f64) -> f64 {
        let down = |from: f64| {
            let along = ((share - from) / (1.0 - from)).clamp(0.0, 1.0);
            0.5 * (1.0 + (std::f64::consts::PI * along).cos())
        };
        match self {
            Schedule::Constant => 1.0,
            Schedule::WarmCosine => (share / 0.05).min(1.0) * down(0.1),
            Schedule::Cosine => down(0.0),
        }
    }
}

/// Over how long an annealed weight rises from 0 to its full value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// So many epochs, in steps of an epoch; 0 for at once.
    Epochs(usize),
    /// So many steps; 0 for at once.
    Steps(usize),
    /// This share of the run's steps, and at most so many epochs: few cells, each seen often, need the full weights sooner.
    Share {
        /// The share.
        share: f64,
        /// The most epochs.
        most: usize,
    },
}

impl Anneal {
    /// The factor on the weight in an epoch, at a step, at a share of the run.
    pub fn factor(self, epoch: usize, step: usize, share: f64) -> f32 {
        let risen = |at: f64, whole: f64| if whole > 0.0 { (at / whole).min(1.0) as f32 } else { 1.0 };
        match self {
            Anneal::Epochs(n) => risen(epoch as f64, n as f64),
            Anneal::Steps(n) => risen(step as f64, n as f64),
            Anneal::Share { share: whole, most } => risen(share, whole).max(risen(epoch as f64, most as f64)),
        }
    }
}

/// How many passes over the training cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epochs {
    /// So many.
    Fixed(usize),
    /// min(most, round(20,000 / cells · most)), at least 1: as many steps for large data as for 20,000 cells.
    ByCells(usize),
    /// A third of these, from 2 to 10: scvi-tools' for a model that starts from a trained one.
    ThirdByCells(usize),
    /// As many as make so many steps, whatever the number of cells, but at least `least` and at most so many that the steps
    /// are `most_steps`.
    BySteps {
        /// Steps of a run on few cells.
        steps: usize,
        /// Passes at least.
        least: usize,
        /// Passes at most.
        most: usize,
        /// Steps of a run on many cells.
        most_steps: usize,
    },
}

impl Epochs {
    /// The number for so many training cells, in batches of this size.
    pub fn count(self, n_cells: usize, batch_size: usize) -> usize {
        match self {
            Epochs::Fixed(n) => n,
            Epochs::ByCells(most) => {
                let wanted = (20_000.0 / n_cells.max(1) as f64 * most as f64).round_ties_even();
                (wanted as usize).clamp(1, most)
            }
            Epochs::ThirdByCells(most) => {
                let third = Epochs::ByCells(most).count(n_cells, batch_size) as f64 / 3.0;
                (third.round_ties_even() as usize).clamp(2, 10)
            }
            Epochs::BySteps { steps, least, most, most_steps } => {
                let a_pass = n_cells.div_ceil(batch_size.max(1)).max(1);
                steps.div_ceil(a_pass).min(most).max(least.min(most_steps.div_ceil(a_pass)))
            }
        }
    }
}

impl Training {
    /// The same for a model that starts from a trained one: fewer steps, all weights of the loss at once, nothing read off
    /// the data. The published code anneals anew, over more epochs than it runs.
    pub fn adopted(self) -> Training {
        let kept = Training { start_from_data: false, ..self };
        match (self.schedule, self.epochs) {
            (Schedule::Constant, Epochs::ByCells(most)) => Training { epochs: Epochs::ThirdByCells(most), ..kept },
            (Schedule::Constant, Epochs::Fixed(n)) => Training { epochs: Epochs::Fixed((n / 3).clamp(2, 10)), ..kept },
            (Schedule::Constant, _) => kept,
            _ => Training {
                epochs: Epochs::BySteps { steps: 600, least: 10, most: 100, most_steps: 20_000 },
                schedule: Schedule::Cosine,
                anneal: Anneal::Steps(0),
                ..kept
            },
        }
    }

    /// Those of the published scArches models, save weight decay.
    pub const SCARCHES: Training = Training {
        epochs: Epochs::Fixed(400),
        batch_size: 128,
        learning_rate: 1e-3,
        schedule: Schedule::Constant,
        adam_epsilon: 0.01,
        weight_decay: 0.0,
        anneal: Anneal::Epochs(100),
        start_from_data: false,
        prior_sd: None,
        thinning: None,
        most_cells: None,
        early_stopping: Some(EarlyStopping::SCARCHES),
        least_validating: 0,
    };

    /// A reference by default: large steps that die down, over enough passes to arrive, the KL weight rising for most of them,
    /// an encoder that is shown thinned counts, and the best state of them all.
    pub const REFERENCE: Training = Training {
        epochs: Epochs::BySteps { steps: 2000, least: 80, most: 400, most_steps: 60_000 },
        learning_rate: 2e-3,
        schedule: Schedule::WarmCosine,
        anneal: Anneal::Share { share: 0.9, most: 100 },
        start_from_data: true,
        thinning: Some(0.3),
        early_stopping: Some(EarlyStopping::TO_THE_END),
        least_validating: 100,
        ..Training::SCARCHES
    };

    /// Surgery of weights of new conditions alone, which are few and start near where they belong: large steps that die
    /// down, as many whatever the number of cells, and the best state of them all.
    pub const SURGERY: Training = Training {
        epochs: Epochs::BySteps { steps: 600, least: 6, most: 600, most_steps: 600 },
        learning_rate: 0.1,
        schedule: Schedule::Cosine,
        anneal: Anneal::Steps(0),
        start_from_data: true,
        prior_sd: Some(0.5),
        most_cells: Some(10_000),
        early_stopping: Some(EarlyStopping::TO_THE_END),
        ..Training::SCARCHES
    };

    /// Those of scvi-tools: all cells train, the KL weight rises to the end.
    pub const SCVI: Training = Training {
        epochs: Epochs::ByCells(400),
        weight_decay: 1e-6,
        anneal: Anneal::Epochs(400),
        early_stopping: None,
        ..Training::SCARCHES
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

    /// None: the whole run, of which the best state is kept.
    pub const TO_THE_END: EarlyStopping = EarlyStopping { patience: usize::MAX, lr_patience: 0, lr_factor: 1.0 };
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
        let count = |n| Epochs::ByCells(400).count(n, 128);
        assert_eq!([count(0), count(9_000), count(20_000), count(32_484), count(100_000_000)], [400, 400, 400, 246, 1]);
    }

    #[test]
    fn epochs_by_the_number_of_steps() {
        let count = |n| Epochs::BySteps { steps: 3000, least: 50, most: 1000, most_steps: 60_000 }.count(n, 128);
        // 1, 20, 79, 782 and 7,813 batches.
        assert_eq!([count(20), count(2_500), count(10_000), count(100_000), count(1_000_000)], [1000, 150, 50, 50, 8]);
    }

    #[test]
    fn a_trained_start_takes_fewer_epochs_with_all_weights_at_once() {
        let (ours, published) = (Training::REFERENCE.adopted(), Training::SCVI.adopted());
        let counts = |t: Training| [200, 9_000, 1_000_000].map(|n| t.epochs.count(n, 128));
        assert_eq!((counts(ours), counts(published)), ([100, 10, 3], [10, 10, 3]));
        assert_eq!((ours.anneal, ours.start_from_data), (Anneal::Steps(0), false));
        assert_eq!(published.anneal, Training::SCVI.anneal);
        assert_eq!(counts(Training::SCARCHES.adopted()), [10, 10, 10]);
    }

    #[test]
    fn rates_rise_and_fall() {
        assert_eq!([0.0, 0.05, 0.1, 1.0].map(|x| Schedule::WarmCosine.factor(x)), [0.0, 1.0, 1.0, 0.0]);
        assert_eq!([0.0, 0.5, 1.0].map(|x| (Schedule::Cosine.factor(x) * 1e9).round() / 1e9), [1.0, 0.5, 0.0]);
        assert_eq!(Schedule::Constant.factor(0.7), 1.0);
    }

    #[test]
    fn weights_rise_by_epochs_steps_or_share() {
        assert_eq!(Anneal::Epochs(0).factor(0, 0, 0.0), 1.0);
        assert_eq!(Anneal::Epochs(10).factor(5, 999, 0.9), 0.5);
        assert_eq!(Anneal::Steps(10).factor(5, 2, 0.9), 0.2);
        let share = Anneal::Share { share: 0.8, most: 50 };
        assert_eq!([share.factor(5, 2, 0.4), share.factor(5, 2, 0.9), share.factor(50, 2, 0.4)], [0.5, 1.0, 1.0]);
    }
}
