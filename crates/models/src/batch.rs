//! A minibatch: what a network reads of some prepared cells.

use scgraft_cells::{Csr, Prepared};
use scgraft_engine::{Codes, InputScale, Key, SparseBatch};

use crate::ModelError;

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
    /// The expression of the cells as it was read, [cell × gene].
    pub expression: Csr,
    /// A second minibatch, of labelled cells, for networks that want one ([`crate::Classifier::wants_labelled`]).
    pub labelled: Option<Box<Batch>>,
}

impl Batch {
    /// Fills the batch with the rows named, in the order named; buffers are kept from call to call, the minibatch of
    /// labelled cells is left as it is.
    ///
    /// # Errors
    /// When the expression cannot be read ([`scgraft_cells::Rows::read`]).
    pub fn fill(&mut self, data: &Prepared, rows: &[usize], scale: InputScale) -> Result<(), ModelError> {
        self.fill_inputs(data, rows, scale)?;
        self.x.fill_values(data.n_genes(), cells(&self.expression));
        Ok(())
    }

    /// As [`Batch::fill`], without what likelihoods read.
    ///
    /// # Errors
    /// As [`Batch::fill`].
    pub fn fill_inputs(&mut self, data: &Prepared, rows: &[usize], scale: InputScale) -> Result<(), ModelError> {
        data.expression.read(rows, &mut self.expression)?;
        self.x.fill_inputs(data.n_genes(), scale, cells(&self.expression));
        self.fill_names(data, rows);
        Ok(())
    }

    /// As [`Batch::fill`], but the encoder is shown a part of each cell's counts: each cell draws a share between `least`
    /// and 1 (uniform in its logarithm) and keeps each of its counts with that probability.
    ///
    /// What the likelihood reads stays whole, so that the encoder learns to say of a cell sequenced less deeply what it
    /// says of the same cell sequenced more deeply: studies differ in depth, and a query's depth is none of theirs.
    ///
    /// # Errors
    /// As [`Batch::fill`].
    pub fn fill_thinned(
        &mut self,
        data: &Prepared,
        rows: &[usize],
        scale: InputScale,
        least: f64,
        key: Key,
    ) -> Result<(), ModelError> {
        self.fill_values(data, rows)?;
        let thinned: Vec<(Vec<u32>, Vec<f32>)> =
            cells(&self.expression).zip(rows).map(|(cell, &r)| thin(cell, least, key.fold(r as u64))).collect();
        self.x.fill_inputs(data.n_genes(), scale, thinned.iter().map(|(genes, values)| (&genes[..], &values[..])));
        Ok(())
    }

    /// As [`Batch::fill`], without what encoders read of the expression: for encoders whose products with it are
    /// known ([`SparseBatch::set_product`]).
    ///
    /// # Errors
    /// As [`Batch::fill`].
    pub fn fill_values(&mut self, data: &Prepared, rows: &[usize]) -> Result<(), ModelError> {
        data.expression.read(rows, &mut self.expression)?;
        self.x.fill_values(data.n_genes(), cells(&self.expression));
        self.fill_names(data, rows);
        Ok(())
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

/// Genes and values of each row.
fn cells(rows: &Csr) -> impl ExactSizeIterator<Item = (&[u32], &[f32])> + Clone {
    (0..rows.n_rows).map(|i| rows.row(i))
}

/// Up to this count, each of its molecules is drawn by itself; above, their number is drawn from the normal distribution
/// of the same mean and variance.
const ONE_BY_ONE: f32 = 64.0;

/// What is left of a row of counts when each count is kept with one probability, drawn for the row.
fn thin((genes, values): (&[u32], &[f32]), least: f64, key: Key) -> (Vec<u32>, Vec<f32>) {
    let share = least.powf(key.uniform(0));
    let below = (share * 4_294_967_296.0) as u64;
    let singly = values.iter().filter(|&&v| v <= ONE_BY_ONE).map(|&v| v as usize).sum();
    let mut words = vec![0; singly];
    key.fill_words(1, &mut words);
    let mut left = &words[..];
    let mut out = (Vec::with_capacity(genes.len()), Vec::with_capacity(genes.len()));
    for (at, (&gene, &value)) in genes.iter().zip(values).enumerate() {
        let n = if value <= ONE_BY_ONE {
            let (own, others) = left.split_at(value as usize);
            left = others;
            own.iter().filter(|&&word| u64::from(word) < below).count() as f32
        } else {
            let (mean, normal) = (f64::from(value) * share, &mut [0f32]);
            key.fold(at as u64).fill_normal(normal);
            (mean + f64::from(normal[0]) * (mean * (1.0 - share)).sqrt()).round().clamp(0.0, f64::from(value)) as f32
        };
        if n > 0.0 {
            out.0.push(gene);
            out.1.push(n);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_share_that_was_drawn() {
        let genes: Vec<u32> = (0..4000).collect();
        let values: Vec<f32> = (0..4000).map(|g| if g % 2 == 0 { 3.0 } else { 100.0 }).collect();
        for row in 0..20 {
            let key = Key::new(1).fold(row);
            let share = 0.2f64.powf(key.uniform(0));
            assert!((0.2..=1.0).contains(&share));
            let (kept, counts) = thin((&genes, &values), 0.2, key);
            assert!(kept.windows(2).all(|w| w[0] < w[1]) && counts.iter().all(|&c| c >= 1.0 && c.fract() == 0.0));
            for (parity, whole) in [(0, 2000.0 * 3.0), (1, 2000.0 * 100.0)] {
                let found: f64 =
                    kept.iter().zip(&counts).filter(|(g, _)| *g % 2 == parity).map(|(_, &c)| f64::from(c)).sum();
                let sd = (whole * share * (1.0 - share)).sqrt().max(1.0);
                assert!((found - whole * share).abs() < 5.0 * sd, "{found} of {whole} at {share}");
            }
        }
        assert_eq!(thin((&genes, &values), 1.0, Key::new(2)), (genes, values));
    }
}
