//! Which cells train, and which validate.

use scgraft_numeric::random::Random;

use super::Prepared;
use crate::CellsError;

/// Streams of random numbers from here on are the split's; those below are the minibatches'.
const STREAMS: u64 = 1 << 60;

/// Rows for training and rows for validation; increasing, apart, together all.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Split {
    /// Rows to train on.
    pub train: Vec<usize>,
    /// Rows to watch the loss on.
    pub validation: Vec<usize>,
}

/// Splits cells at random within each condition, so that each condition has its share on both sides.
///
/// Of the n cells of a condition, round(n · (1 − `train_fraction`)) validate, but never all. The same seed gives
/// the same split.
///
/// # Errors
/// When `train_fraction` is not in (0, 1].
pub fn split(prepared: &Prepared, train_fraction: f64, seed: u64) -> Result<Split, CellsError> {
    if !(train_fraction > 0.0 && train_fraction <= 1.0) {
        return Err(CellsError::Option {
            what: "the training share",
            expected: "above 0 and at most 1",
            found: train_fraction.to_string(),
        });
    }
    let mut out = Split::default();
    for (stream, mut rows) in (STREAMS..).zip(prepared.condition.members()) {
        Random::new(seed, stream).shuffle(&mut rows);
        let n_validation = (rows.len() as f64 * (1.0 - train_fraction)).round() as usize;
        let (validation, train) = rows.split_at(n_validation.min(rows.len().saturating_sub(1)));
        out.validation.extend_from_slice(validation);
        out.train.extend_from_slice(train);
    }
    out.train.sort_unstable();
    out.validation.sort_unstable();
    Ok(out)
}
