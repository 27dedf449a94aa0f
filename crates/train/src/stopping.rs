//! Early stopping, and lowering the learning rate, on the validation loss.

use scgraft_models::EarlyStopping;
use serde::{Deserialize, Serialize};

/// What to do after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Go on.
    pub carry_on: bool,
    /// Multiply the learning rate by the factor.
    pub lower_rate: bool,
    /// This epoch is the best so far: its state is the one to restore.
    pub best: bool,
}

/// Watches a validation loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stopper {
    rule: EarlyStopping,
    /// scArches looks at nothing before epoch `patience` − 1.
    blind: usize,
    seen: usize,
    /// The lowest loss so far; none before the first.
    lowest: Option<f64>,
    reference: Option<f64>,
    wait: usize,
    wait_rate: usize,
}

impl Stopper {
    /// Watches from the first epoch.
    pub fn new(rule: EarlyStopping) -> Self {
        Stopper { rule, blind: 0, seen: 0, lowest: None, reference: None, wait: 0, wait_rate: 0 }
    }

    /// Watches as scArches 0.6.1 does: stopping and learning rate are blind to the first
    /// `patience` − 1 epochs; the best epoch is not.
    pub fn scarches(rule: EarlyStopping) -> Self {
        Stopper { blind: rule.patience.saturating_sub(1), ..Stopper::new(rule) }
    }

    /// Takes the validation loss before the first epoch: a state is the best if it is lower.
    pub fn start(&mut self, loss: f64) {
        self.lowest = Some(loss);
    }

    /// Takes the validation loss of the next epoch.
    pub fn look(&mut self, loss: f64) -> Verdict {
        self.seen += 1;
        let best = loss < self.lowest.unwrap_or(f64::INFINITY);
        if best {
            self.lowest = Some(loss);
        }
        let mut verdict = Verdict { carry_on: true, lower_rate: false, best };
        if self.seen <= self.blind {
            return verdict;
        }
        if self.wait >= self.rule.patience {
            verdict.carry_on = false;
            return verdict;
        }
        if self.rule.lr_patience > 0 && self.wait_rate >= self.rule.lr_patience {
            verdict.lower_rate = true;
            self.wait_rate = 0;
        }
        let reference = self.reference.unwrap_or(f64::INFINITY);
        let improvement = reference - loss;
        self.reference = Some(reference.min(loss)).filter(|r| r.is_finite());
        if improvement < 0.0 || loss.is_nan() {
            self.wait += 1;
            self.wait_rate += 1;
        } else {
            self.wait = 0;
            self.wait_rate = 0;
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_after_the_patience_and_lowers_the_rate_on_the_way() {
        let mut stopper = Stopper::new(EarlyStopping { patience: 4, lr_patience: 2, lr_factor: 0.1 });
        let losses = [3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5];
        let verdicts: Vec<_> = losses.iter().map(|&l| stopper.look(l)).collect();
        assert!(verdicts[1].best && !verdicts[2].best);
        assert_eq!(verdicts.iter().position(|v| v.lower_rate), Some(4));
        assert_eq!(verdicts.iter().position(|v| !v.carry_on), Some(6));
    }

    #[test]
    fn an_improvement_resets_the_wait() {
        let mut stopper = Stopper::new(EarlyStopping { patience: 2, lr_patience: 0, lr_factor: 0.1 });
        for loss in [5.0, 6.0, 4.0, 6.0, 3.0, 4.0] {
            assert!(stopper.look(loss).carry_on);
        }
    }
}
