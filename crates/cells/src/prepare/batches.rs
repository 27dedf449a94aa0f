//! In which order cells are trained on.

use super::split::rows_by_level;
use crate::random::Random;
use crate::{CellsError, Coded};

/// Minibatches over some rows: a new seeded order every epoch, the same for the same seed and epoch.
#[derive(Clone, Debug)]
pub struct Minibatches {
    /// Rows by stratum; one stratum when sampling is not stratified.
    strata: Vec<Vec<usize>>,
    n_rows: usize,
    batch_size: usize,
    seed: u64,
}

impl Minibatches {
    /// Every row once an epoch, in random order.
    ///
    /// # Errors
    /// When `batch_size` is 0 or there is no row.
    pub fn shuffled(rows: &[usize], batch_size: usize, seed: u64) -> Result<Self, CellsError> {
        Minibatches::over(vec![rows.to_vec()], batch_size, seed)
    }

    /// As many rows an epoch as there are, each condition as often as every other (to one row), in random order.
    ///
    /// Within a condition a row comes again only after all others: small conditions repeat, large ones are seen in
    /// part, a different part each epoch.
    ///
    /// # Errors
    /// When `batch_size` is 0 or there is no row.
    pub fn stratified(rows: &[usize], condition: &Coded, batch_size: usize, seed: u64) -> Result<Self, CellsError> {
        let codes: Vec<u32> = rows.iter().map(|&r| condition.codes[r]).collect();
        let mut strata = rows_by_level(&codes, condition.levels.len());
        strata.retain(|s| !s.is_empty());
        for position in strata.iter_mut().flatten() {
            *position = rows[*position];
        }
        Minibatches::over(strata, batch_size, seed)
    }

    fn over(strata: Vec<Vec<usize>>, batch_size: usize, seed: u64) -> Result<Self, CellsError> {
        let n_rows = strata.iter().map(Vec::len).sum();
        if batch_size == 0 {
            return Err(CellsError::Option { what: "the batch size", expected: "at least 1", found: "0".into() });
        }
        if n_rows == 0 {
            return Err(CellsError::Nothing { what: "cells" });
        }
        Ok(Minibatches { strata, n_rows, batch_size, seed })
    }

    /// Cells in a batch; the last of an epoch may have fewer.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Batches in an epoch.
    pub fn per_epoch(&self) -> usize {
        self.n_rows.div_ceil(self.batch_size)
    }

    /// The rows of epoch `epoch` in training order; cut into batches with `chunks(batch_size)`.
    pub fn epoch(&self, epoch: u64) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.n_rows);
        let n = self.strata.len();
        for (s, rows) in self.strata.iter().enumerate() {
            // Which conditions get the odd rows moves on from epoch to epoch.
            let turn = (s + epoch as usize % n) % n;
            let quota = self.n_rows / n + usize::from(turn < self.n_rows % n);
            let mut random = Random::new(self.seed, (epoch << 20) + s as u64 + 1);
            let mut pass = rows.clone();
            let end = order.len() + quota;
            while order.len() < end {
                random.shuffle(&mut pass);
                let take = pass.len().min(end - order.len());
                order.extend_from_slice(&pass[..take]);
            }
        }
        Random::new(self.seed, epoch << 20).shuffle(&mut order);
        order
    }
}
