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
    /// A library size of 1 for each cell.
    pub unit: Vec<f32>,
    /// Condition of each cell.
    pub condition: Codes,
    /// One group for all cells.
    pub one: Codes,
    /// Label of each cell; the number of labels where unlabelled. Empty when the data has no labels.
    pub label: Codes,
    /// Every label for every cell: row k·n + i is label k of cell i. Empty when the data has no labels.
    pub every_label: Codes,
    /// Row of each cell on the cell axis of models that have a vector per cell.
    pub cell: Codes,
    /// Further categorical covariates, one coding each.
    pub covariates: Vec<Codes>,
    /// Continuous covariates, [cell × covariate].
    pub continuous: Vec<f32>,
    /// Protein counts [cell × protein]; empty when the data has none.
    pub proteins: Vec<f32>,
    /// The rows of the data that the cells are.
    pub rows: Vec<usize>,
    /// A second minibatch, of labelled cells, for networks that want one ([`crate::Network::wants_labelled`]).
    pub labelled: Option<Box<Batch>>,
}

impl Batch {
    /// Fills the batch with the rows named, in the order named; buffers are kept from call to call, the minibatch of
    /// labelled cells is left as it is.
    pub fn fill(&mut self, data: &Prepared, rows: &[usize], scale: InputScale) {
        self.fill_inputs(data, rows, scale);
        self.x.fill_values(data.n_genes(), rows.iter().map(|&r| data.expression.row(r)));
    }

    /// As [`Batch::fill`], without what likelihoods read.
    pub fn fill_inputs(&mut self, data: &Prepared, rows: &[usize], scale: InputScale) {
        self.x.fill_inputs(data.n_genes(), scale, rows.iter().map(|&r| data.expression.row(r)));
        self.fill_names(data, rows);
    }

    /// As [`Batch::fill`], without what encoders read of the expression: for encoders whose products with it are
    /// known ([`SparseBatch::set_product`]).
    pub fn fill_values(&mut self, data: &Prepared, rows: &[usize]) {
        self.x.fill_values(data.n_genes(), rows.iter().map(|&r| data.expression.row(r)));
        self.fill_names(data, rows);
    }

    /// Everything but the expression.
    fn fill_names(&mut self, data: &Prepared, rows: &[usize]) {
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        self.library.clear();
        self.library.extend(rows.iter().map(|&r| data.library[r]));
        self.unit.clear();
        self.unit.resize(rows.len(), 1.0);
        self.condition.refill(rows.iter().map(|&r| data.condition.codes[r]));
        self.one.refill(rows.iter().map(|_| 0));
        self.cell.refill(rows.iter().map(|&r| data.cell_rows[r]));
        if let Some(labels) = &data.labels {
            let n = labels.levels.len() as u32;
            self.label.refill(rows.iter().map(|&r| labels.codes[r].unwrap_or(n)));
            self.every_label.refill((0..n).flat_map(|k| rows.iter().map(move |_| k)));
        }
        self.covariates.resize_with(data.covariates.len(), Codes::default);
        for (codes, (_, column)) in self.covariates.iter_mut().zip(&data.covariates) {
            codes.refill(rows.iter().map(|&r| column.codes[r]));
        }
        self.continuous.clear();
        rows.iter().for_each(|&r| self.continuous.extend(data.continuous.iter().map(|(_, column)| column[r])));
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
