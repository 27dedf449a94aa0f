//! Minibatches of sparse counts, in the two orders that the operations read them.

use crate::params::ParamId;

/// Cells handled together by operations that work gene by gene: their lanes.
pub const LANES: usize = 32;

/// A minibatch of sparse counts.
///
/// By gene, for products with the expression and their gradient; and by cell, in blocks of [`LANES`], for
/// likelihoods.
#[derive(Clone, Debug, Default)]
pub struct SparseBatch {
    n_cells: usize,
    n_genes: usize,
    /// First entry of each gene, and past the last.
    gene_starts: Vec<u32>,
    /// Cell of each entry, by gene.
    cells: Vec<u32>,
    /// What the encoder reads of each entry, by gene and by the batch's [`InputScale`].
    inputs: Vec<f32>,
    /// First entry of each block in the three lists below, and past the last.
    block_starts: Vec<u32>,
    /// Lane (cell within its block) of each entry, by cell.
    pub(crate) lanes: Vec<u8>,
    /// Gene of each entry, by cell.
    pub(crate) lane_genes: Vec<u32>,
    /// The value itself, by cell.
    pub(crate) values: Vec<f32>,
    /// Products of this batch with frozen weights, computed before; see [`SparseBatch::set_product`].
    products: Vec<(ParamId, Vec<f32>)>,
}

/// What the encoder reads of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputScale {
    /// log(1 + x), for raw counts.
    Log1p,
    /// log(1 + x/(1 + x̄)) with x̄ the mean over the cell's genes, for raw counts.
    Log1pOfShare,
    /// x itself, for values that are log-normalised already.
    Identity,
}

impl SparseBatch {
    /// Fills the batch with rows; each row is (genes in increasing order, values).
    ///
    /// Buffers are kept from call to call.
    pub fn fill<'r>(
        &mut self,
        n_genes: usize,
        scale: InputScale,
        rows: impl ExactSizeIterator<Item = (&'r [u32], &'r [f32])> + Clone,
    ) {
        self.fill_inputs(n_genes, scale, rows.clone());
        self.fill_values(n_genes, rows);
    }

    /// Fills what likelihoods read, and leaves what the encoder reads as it is.
    pub fn fill_values<'r>(&mut self, n_genes: usize, rows: impl ExactSizeIterator<Item = (&'r [u32], &'r [f32])>) {
        self.n_cells = rows.len();
        self.n_genes = n_genes;
        self.block_starts.clear();
        self.lanes.clear();
        self.lane_genes.clear();
        self.values.clear();
        for (cell, (genes, values)) in rows.enumerate() {
            if cell % LANES == 0 {
                self.block_starts.push(self.values.len() as u32);
            }
            self.lanes.resize(self.lanes.len() + genes.len(), (cell % LANES) as u8);
            self.lane_genes.extend_from_slice(genes);
            self.values.extend_from_slice(values);
        }
        self.block_starts.push(self.values.len() as u32);
    }

    /// Fills what the encoder reads, and leaves what likelihoods read as it is.
    pub fn fill_inputs<'r>(
        &mut self,
        n_genes: usize,
        scale: InputScale,
        rows: impl ExactSizeIterator<Item = (&'r [u32], &'r [f32])> + Clone,
    ) {
        self.n_cells = rows.len();
        self.n_genes = n_genes;
        self.products.clear();
        self.gene_starts.clear();
        self.gene_starts.resize(n_genes + 2, 0);
        for (genes, _) in rows.clone() {
            for &g in genes {
                self.gene_starts[g as usize + 2] += 1;
            }
        }
        for g in 2..n_genes + 2 {
            self.gene_starts[g] += self.gene_starts[g - 1];
        }
        // Place g + 1 walks gene g's span, and ends where the next begins.
        let nnz = self.gene_starts[n_genes + 1] as usize;
        self.cells.resize(nnz, 0);
        self.inputs.resize(nnz, 0.0);
        for (cell, (genes, values)) in rows.enumerate() {
            let share = match scale {
                InputScale::Log1pOfShare => {
                    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n_genes as f64;
                    1.0 / (1.0 + mean) as f32
                }
                InputScale::Log1p | InputScale::Identity => 1.0,
            };
            for (&g, &v) in genes.iter().zip(values) {
                let at = &mut self.gene_starts[g as usize + 1];
                let to = *at as usize;
                *at += 1;
                self.cells[to] = cell as u32;
                self.inputs[to] = match scale {
                    InputScale::Log1p => log1p_count(v),
                    InputScale::Log1pOfShare => (v * share).ln_1p(),
                    InputScale::Identity => v,
                };
            }
        }
        self.gene_starts.truncate(n_genes + 1);
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.n_cells
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        self.n_genes
    }

    /// Number of stored entries.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }

    /// The entries of gene `g`: cells and encoder inputs.
    #[inline(always)]
    pub(crate) fn gene(&self, g: usize) -> (&[u32], &[f32]) {
        let span = self.gene_starts[g] as usize..self.gene_starts[g + 1] as usize;
        (&self.cells[span.clone()], &self.inputs[span])
    }

    /// The entries of block `block`: their span in the lists by cell.
    pub(crate) fn block(&self, block: usize) -> std::ops::Range<usize> {
        self.block_starts[block] as usize..self.block_starts[block + 1] as usize
    }

    /// Gives the product of this batch's inputs with a weight that is frozen, [cell × hidden].
    ///
    /// `sparse_linear` with that weight then uses it instead of computing it again.
    pub fn set_product(&mut self, weight: ParamId, product: Vec<f32>) {
        self.products.push((weight, product));
    }

    /// The product with a weight, where it was given.
    pub(crate) fn product(&self, weight: ParamId) -> Option<&[f32]> {
        self.products.iter().find(|p| p.0 == weight).map(|p| &p.1[..])
    }

    /// Takes the products back, to fill them for the next batch.
    pub fn take_products(&mut self) -> Vec<Vec<f32>> {
        self.products.drain(..).map(|p| p.1).collect()
    }
}

/// log(1 + x); small whole numbers, nearly all counts, from a table.
#[inline]
fn log1p_count(x: f32) -> f32 {
    use std::sync::LazyLock;
    static SMALL: LazyLock<[f32; 256]> = LazyLock::new(|| std::array::from_fn(|i| (i as f32).ln_1p()));
    let i = x as usize;
    if i < 256 && i as f32 == x { SMALL[i] } else { x.ln_1p() }
}

/// One category a cell, with the runs of equal neighbours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Codes {
    /// One code a cell.
    pub codes: Vec<u32>,
    /// (first cell, past the last cell, code) of each run.
    pub(crate) runs: Vec<(u32, u32, u32)>,
}

impl Codes {
    /// Codes in the order of the batch's cells.
    pub fn new(codes: Vec<u32>) -> Self {
        let mut out = Codes { codes, runs: Vec::new() };
        out.find_runs();
        out
    }

    /// Replaces the codes, keeping the buffers.
    pub fn refill(&mut self, codes: impl Iterator<Item = u32>) {
        self.codes.clear();
        self.codes.extend(codes);
        self.find_runs();
    }

    fn find_runs(&mut self) {
        self.runs.clear();
        for (i, &code) in self.codes.iter().enumerate() {
            match self.runs.last_mut() {
                Some(run) if run.2 == code => run.1 = i as u32 + 1,
                _ => self.runs.push((i as u32, i as u32 + 1, code)),
            }
        }
    }

    /// The runs that meet cells `first..last`, cut to them and counted from `first`.
    pub(crate) fn runs_within(&self, first: usize, last: usize) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        self.runs
            .iter()
            .filter(move |r| (r.0 as usize) < last && (r.1 as usize) > first)
            .map(move |r| ((r.0 as usize).max(first) - first, (r.1 as usize).min(last) - first, r.2 as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_hold_the_same_entries() {
        let rows: Vec<(Vec<u32>, Vec<f32>)> = (0..70u32)
            .map(|i| {
                let genes: Vec<u32> = (0..11).filter(|g| (i * 7 + g * 3) % 4 == 0).collect();
                let values = genes.iter().map(|g| (i + g) as f32 + 1.0).collect();
                (genes, values)
            })
            .collect();
        let mut batch = SparseBatch::default();
        batch.fill(11, InputScale::Log1p, rows.iter().map(|r| (&r.0[..], &r.1[..])));
        let value = |cell: usize, gene: u32| {
            let (genes, row) = &rows[cell];
            genes.iter().position(|&h| h == gene).map(|at| row[at])
        };
        let mut seen = 0;
        for block in 0..3 {
            for at in batch.block(block) {
                let (gene, lane) = (batch.lane_genes[at], batch.lanes[at] as usize);
                assert_eq!(value(block * LANES + lane, gene), Some(batch.values[at]));
                seen += 1;
            }
        }
        assert_eq!(seen, batch.nnz());
        seen = 0;
        for gene in 0..11 {
            let (cells, inputs) = batch.gene(gene);
            for (&cell, &x) in cells.iter().zip(inputs) {
                let v = value(cell as usize, gene as u32).unwrap();
                assert!((x - v.ln_1p()).abs() < 1e-6);
                seen += 1;
            }
        }
        assert_eq!(seen, batch.nnz());
    }

    #[test]
    fn shares_of_a_cell() {
        let mut batch = SparseBatch::default();
        let rows = [(&[0u32, 3][..], &[2.0f32, 6.0][..]), (&[], &[])];
        batch.fill(4, InputScale::Log1pOfShare, rows.into_iter());
        assert_eq!(batch.gene(0), (&[0u32][..], &[(2.0f32 / 3.0).ln_1p()][..]));
        assert_eq!(batch.gene(3), (&[0u32][..], &[2.0f32.ln_1p()][..]));
    }

    #[test]
    fn runs_are_cut_to_a_block() {
        let codes = Codes::new(vec![2, 2, 2, 0, 0, 1]);
        assert_eq!(codes.runs_within(1, 4).collect::<Vec<_>>(), [(0, 2, 2), (2, 3, 0)]);
        assert_eq!(codes.runs_within(4, 6).collect::<Vec<_>>(), [(0, 1, 0), (1, 2, 1)]);
    }
}
