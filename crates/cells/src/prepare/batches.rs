//! In which order cells are trained on.

use scgraft_numeric::random::Random;

use crate::{CellsError, Coded, Labels};

/// Minibatches over some rows: a new seeded order every epoch, the same for the same seed and epoch.
#[derive(Clone, Debug)]
pub struct Minibatches {
    /// Rows by stratum; one stratum when sampling is not stratified.
    strata: Vec<Vec<usize>>,
    /// At most so many rows of each stratum an epoch; without, each has an equal share of as many rows as there are.
    most: Option<usize>,
    /// Rows in an epoch.
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
        Minibatches::over(vec![rows.to_vec()], None, batch_size, seed)
    }

    /// As many rows an epoch as there are, each condition as often as every other (to one row), in random order.
    ///
    /// Within a condition a row comes again only after all others: small conditions repeat, large ones are seen in
    /// part, a different part each epoch.
    ///
    /// # Errors
    /// When `batch_size` is 0 or there is no row.
    pub fn stratified(rows: &[usize], condition: &Coded, batch_size: usize, seed: u64) -> Result<Self, CellsError> {
        let mut strata = condition.select(rows).members();
        strata.retain(|s| !s.is_empty());
        for position in strata.iter_mut().flatten() {
            *position = rows[*position];
        }
        Minibatches::over(strata, None, batch_size, seed)
    }

    /// The rows that have a label, in random order: all of them once an epoch, or of each label at most `most`, drawn
    /// anew each epoch, so that rare labels are not drowned by common ones.
    ///
    /// # Errors
    /// When `batch_size` or `most` is 0, or no row has a label.
    pub fn labelled(
        rows: &[usize],
        labels: &Labels,
        most: Option<usize>,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self, CellsError> {
        let mut strata = vec![Vec::new(); if most.is_some() { labels.levels.len() } else { 1 }];
        for (&row, label) in rows.iter().filter_map(|r| Some((r, labels.codes[*r]?))) {
            strata[if most.is_some() { label as usize } else { 0 }].push(row);
        }
        Minibatches::over(strata, most, batch_size, seed)
    }

    fn over(strata: Vec<Vec<usize>>, most: Option<usize>, batch_size: usize, seed: u64) -> Result<Self, CellsError> {
        if most == Some(0) {
            return Err(CellsError::Option { what: "the draws of a label", expected: "at least 1", found: "0".into() });
        }
        let n_rows = strata.iter().map(|s| s.len().min(most.unwrap_or(usize::MAX))).sum();
        if batch_size == 0 {
            return Err(CellsError::Option { what: "the batch size", expected: "at least 1", found: "0".into() });
        }
        if n_rows == 0 {
            return Err(CellsError::Nothing { what: "cells" });
        }
        Ok(Minibatches { strata, most, n_rows, batch_size, seed })
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
            let share = self.n_rows / n + usize::from(turn < self.n_rows % n);
            let quota = self.most.map_or(share, |most| rows.len().min(most));
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
