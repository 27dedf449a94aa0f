//! Minibatches of sparse counts, in the two orders that the operations read them.

use crate::params::ParamId;

/// Cells handled together by operations that work gene by gene: their lanes.
pub const LANES: usize = 32;

/// A minibatch of sparse counts.
///
/// By cell (compressed rows) for products with the expression, and by gene within blocks of
/// [`LANES`] cells for likelihoods and for the gradient of those products.
#[derive(Clone, Debug, Default)]
pub struct SparseBatch {
    n_cells: usize,
    n_genes: usize,
    /// Row starts, `n_cells + 1`.
    pub(crate) indptr: Vec<u32>,
    /// Gene of each entry.
    pub(crate) genes: Vec<u32>,
    /// What the encoder reads, by the batch's [`InputScale`].
    pub(crate) inputs: Vec<f32>,
    /// For each block of lanes, `n_genes + 1` starts into the three lists below.
    pub(crate) block_starts: Vec<u32>,
    /// Lane (cell within its block) of each entry, by (block, gene).
    pub(crate) lanes: Vec<u8>,
    /// Gene of each entry, by (block, gene).
    pub(crate) lane_genes: Vec<u32>,
    /// The value itself, by (block, gene).
    pub(crate) values: Vec<f32>,
    /// What the encoder reads, by (block, gene).
    pub(crate) lane_inputs: Vec<f32>,
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
        self.n_cells = rows.len();
        self.n_genes = n_genes;
        self.products.clear();
        let nnz: usize = rows.clone().map(|r| r.0.len()).sum();
        self.indptr.clear();
        self.indptr.push(0);
        self.genes.clear();
        self.inputs.clear();
        self.lanes.resize(nnz, 0);
        self.lane_genes.resize(nnz, 0);
        self.values.resize(nnz, 0.0);
        self.lane_inputs.resize(nnz, 0.0);
        let n_blocks = self.n_blocks();
        let stride = n_genes + 1;
        self.block_starts.clear();
        self.block_starts.resize(n_blocks * stride, 0);

        // First pass: copy by cell, and count each gene in each block.
        for (cell, (genes, values)) in rows.clone().enumerate() {
            let counts = &mut self.block_starts[(cell / LANES) * stride..][..stride];
            for &g in genes {
                counts[g as usize + 1] += 1;
            }
            self.genes.extend_from_slice(genes);
            match scale {
                InputScale::Log1p => self.inputs.extend(values.iter().map(|&v| log1p_count(v))),
                InputScale::Log1pOfShare => {
                    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n_genes as f64;
                    let share = 1.0 / (1.0 + mean) as f32;
                    self.inputs.extend(values.iter().map(|&v| (v * share).ln_1p()));
                }
                InputScale::Identity => self.inputs.extend_from_slice(values),
            }
            self.indptr.push(self.genes.len() as u32);
        }
        let mut total = 0;
        for block in self.block_starts.chunks_mut(stride) {
            block[0] = total;
            for g in 0..n_genes {
                block[g + 1] += block[g];
            }
            total = block[n_genes];
        }
        // Second pass: scatter by (block, gene). `next` walks each gene's span.
        let mut next: Vec<u32> = Vec::with_capacity(n_genes);
        for (block, starts) in self.block_starts.chunks(stride).enumerate() {
            next.clear();
            next.extend_from_slice(&starts[..n_genes]);
            let first = block * LANES;
            let block_rows = rows.clone().skip(first).take(LANES);
            for (lane, (genes, values)) in block_rows.enumerate() {
                let inputs = &self.inputs[self.indptr[first + lane] as usize..];
                for ((&g, &v), &input) in genes.iter().zip(values).zip(inputs) {
                    let at = next[g as usize] as usize;
                    next[g as usize] += 1;
                    self.lanes[at] = lane as u8;
                    self.lane_genes[at] = g;
                    self.values[at] = v;
                    self.lane_inputs[at] = input;
                }
            }
        }
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
        self.genes.len()
    }

    /// Number of blocks of lanes.
    pub fn n_blocks(&self) -> usize {
        self.n_cells.div_ceil(LANES)
    }

    /// The entries of gene `g` in block `block`: lanes, values, encoder inputs.
    pub(crate) fn gene_in_block(&self, block: usize, g: usize) -> (&[u8], &[f32], &[f32]) {
        let at = block * (self.n_genes + 1) + g;
        let span = self.block_starts[at] as usize..self.block_starts[at + 1] as usize;
        (&self.lanes[span.clone()], &self.values[span.clone()], &self.lane_inputs[span])
    }

    /// The entries of block `block`, ordered by gene: their span in the lists by (block, gene).
    pub(crate) fn block(&self, block: usize) -> std::ops::Range<usize> {
        let at = block * (self.n_genes + 1);
        self.block_starts[at] as usize..self.block_starts[at + self.n_genes] as usize
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
        assert_eq!(batch.n_blocks(), 3);
        let mut seen = 0;
        for block in 0..3 {
            for g in 0..11 {
                let (lanes, values, inputs) = batch.gene_in_block(block, g);
                for ((&l, &v), &x) in lanes.iter().zip(values).zip(inputs) {
                    let (genes, row) = &rows[block * LANES + l as usize];
                    let at = genes.iter().position(|&h| h as usize == g).unwrap();
                    assert_eq!(row[at], v);
                    assert!((x - v.ln_1p()).abs() < 1e-6);
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, batch.nnz());
    }

    #[test]
    fn shares_of_a_cell() {
        let mut batch = SparseBatch::default();
        let rows = [(&[0u32, 3][..], &[2.0f32, 6.0][..]), (&[], &[])];
        batch.fill(4, InputScale::Log1pOfShare, rows.into_iter());
        assert_eq!(batch.inputs, [(2.0f32 / 3.0).ln_1p(), 2.0f32.ln_1p()]);
        assert_eq!(batch.lane_inputs, batch.inputs);
    }

    #[test]
    fn runs_are_cut_to_a_block() {
        let codes = Codes::new(vec![2, 2, 2, 0, 0, 1]);
        assert_eq!(codes.runs_within(1, 4).collect::<Vec<_>>(), [(0, 2, 2), (2, 3, 0)]);
        assert_eq!(codes.runs_within(4, 6).collect::<Vec<_>>(), [(0, 1, 0), (1, 2, 1)]);
    }
}
