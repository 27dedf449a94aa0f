//! A minibatch: what a network reads of some prepared cells.

use scgraft_cells::Prepared;
use scgraft_engine::{Codes, InputScale, SparseBatch};

/// Some cells, ready for the tape.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Expression.
    pub x: SparseBatch,
    /// ℓ, the library size of each cell.
    pub library: Vec<f32>,
    /// Condition of each cell.
    pub condition: Codes,
    /// Label of each cell, `None` where unlabelled; empty when the data has no labels.
    pub labels: Vec<Option<u32>>,
    /// Further categorical covariates, one coding each.
    pub covariates: Vec<Codes>,
    /// Continuous covariates, one list each.
    pub continuous: Vec<Vec<f32>>,
    /// Protein counts [cell × protein]; empty when the data has none.
    pub proteins: Vec<f32>,
    /// The rows of the data that the cells are.
    pub rows: Vec<usize>,
}

impl Batch {
    /// Fills the batch with the rows named, in the order named; buffers are kept from call to call.
    pub fn fill(&mut self, data: &Prepared, rows: &[usize], scale: InputScale) {
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        self.x.fill(data.n_genes(), scale, rows.iter().map(|&r| data.expression.row(r)));
        self.library.clear();
        self.library.extend(rows.iter().map(|&r| data.library[r]));
        self.condition.refill(rows.iter().map(|&r| data.condition.codes[r]));
        self.labels.clear();
        if let Some(labels) = &data.labels {
            self.labels.extend(rows.iter().map(|&r| labels.codes[r]));
        }
        self.covariates.resize_with(data.covariates.len(), Codes::default);
        for (codes, (_, column)) in self.covariates.iter_mut().zip(&data.covariates) {
            codes.refill(rows.iter().map(|&r| column.codes[r]));
        }
        self.continuous.resize_with(data.continuous.len(), Vec::new);
        for (values, (_, column)) in self.continuous.iter_mut().zip(&data.continuous) {
            values.clear();
            values.extend(rows.iter().map(|&r| column[r]));
        }
        self.proteins.clear();
        if let Some(proteins) = &data.proteins {
            rows.iter().for_each(|&r| self.proteins.extend_from_slice(proteins.counts.row(r)));
        }
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.rows.len()
    }
}
