//! First layer on sparse input.  y = x W + b,  x: cells × genes (sparse), W: gene × hidden.
//!
//! Work is in proportion to the stored entries. A strip of [`STRIP`] hidden units is kept in
//! registers while one cell's entries (forward) or one gene's (gradient) pass by.

use rayon::prelude::*;

use crate::batch::{LANES, SparseBatch};
use crate::isa::kernel;
use crate::ops::linear::add_rows_into;
use crate::params::ParamId;
use crate::tape::{Back, Backward, Shape, Tape, Var};

const STRIP: usize = 64;
/// Cells a task.
const CELLS: usize = 64;
/// Genes a task.
const GENES: usize = 64;

struct SparseLinear<'a> {
    x: &'a SparseBatch,
    y: Var,
    weight: ParamId,
    bias: Option<ParamId>,
}

impl<'a> Tape<'a> {
    /// y = x W + b, [cell × hidden]. `weight` is [gene × hidden], `bias` [hidden].
    ///
    /// When the batch brings its product with frozen weights along
    /// ([`SparseBatch::set_product`]), that is used.
    pub fn sparse_linear(&mut self, x: &'a SparseBatch, weight: ParamId, bias: Option<ParamId>) -> Var {
        let w = self.params().get(weight);
        let hidden = w.row_len();
        let shape = Shape::by_cell(x.n_cells(), hidden);
        let mut out = self.buffer(shape.len());
        match x.product(weight) {
            Some(product) => out.copy_from_slice(product),
            None => product(x, &w.values, hidden, &mut out),
        }
        if let Some(b) = bias {
            let b = self.params().values(b);
            out.chunks_exact_mut(hidden).for_each(|row| row.iter_mut().zip(b).for_each(|(o, &v)| *o += v));
        }
        let needs = self.trains(weight) || bias.is_some_and(|b| self.trains(b));
        let y = self.push(shape, out, needs);
        if needs {
            self.record(SparseLinear { x, y, weight, bias });
        }
        y
    }
}

/// x W, [cell × hidden], for `weight` [gene × hidden]; what [`SparseBatch::set_product`] takes.
pub fn product(x: &SparseBatch, weight: &[f32], hidden: usize, out: &mut [f32]) {
    out.par_chunks_mut(CELLS * hidden).enumerate().for_each(|(task, rows)| {
        let first = task * CELLS;
        let starts = &x.indptr[first..first + rows.len() / hidden + 1];
        cells_forward(starts, &x.genes, &x.inputs, weight, hidden, rows);
    });
}

impl Backward for SparseLinear<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let hidden = back.shape(self.y).features;
        if back.trains(self.weight) {
            let (gw, fresh) = back.tensor_or_fresh(self.weight);
            gw.par_chunks_mut(GENES * hidden).enumerate().for_each(|(task, rows)| {
                genes_backward(self.x, task * GENES, &gy, hidden, fresh, rows);
            });
        }
        if let Some(b) = self.bias.filter(|&b| back.trains(b)) {
            add_rows_into(&gy, back.tensor(b));
        }
        back.recycle(gy);
    }
}

kernel! {
fn cells_forward(s, starts: &[u32], genes: &[u32], inputs: &[f32], weight: &[f32], hidden: usize, out: &mut [f32]) {
    let whole = hidden / STRIP * STRIP;
    // Strip by strip over all cells, so that a strip of W stays in cache.
    for first in (0..whole).step_by(STRIP) {
        for (cell, span) in starts.windows(2).enumerate() {
            let entries = span[0] as usize..span[1] as usize;
            let mut sum = [0f32; STRIP];
            for (&g, &x) in genes[entries.clone()].iter().zip(&inputs[entries]) {
                let at = g as usize * hidden + first;
                let w: &[f32; STRIP] = weight[at..at + STRIP].try_into().unwrap_or(&[0.0; STRIP]);
                for (o, &v) in sum.iter_mut().zip(w) {
                    *o = s.fma(x, v, *o);
                }
            }
            out[cell * hidden + first..][..STRIP].copy_from_slice(&sum);
        }
    }
    if whole < hidden {
        for (cell, span) in starts.windows(2).enumerate() {
            let entries = span[0] as usize..span[1] as usize;
            let rest = &mut out[cell * hidden + whole..(cell + 1) * hidden];
            rest.fill(0.0);
            for (&g, &x) in genes[entries.clone()].iter().zip(&inputs[entries]) {
                let w = &weight[g as usize * hidden + whole..(g as usize + 1) * hidden];
                for (o, &v) in rest.iter_mut().zip(w) {
                    *o = s.fma(x, v, *o);
                }
            }
        }
    }
}
}

kernel! {
fn genes_backward(s, x: &SparseBatch, first_gene: usize, gy: &[f32], hidden: usize, fresh: bool, out: &mut [f32]) {
    let whole = hidden / STRIP * STRIP;
    for (i, row) in out.chunks_exact_mut(hidden).enumerate() {
        for first in (0..whole).step_by(STRIP) {
            let mut sum = [0f32; STRIP];
            for block in 0..x.n_blocks() {
                let (lanes, _, inputs) = x.gene_in_block(block, first_gene + i);
                for (&lane, &v) in lanes.iter().zip(inputs) {
                    let at = (block * LANES + lane as usize) * hidden + first;
                    let g: &[f32; STRIP] = gy[at..at + STRIP].try_into().unwrap_or(&[0.0; STRIP]);
                    for (o, &d) in sum.iter_mut().zip(g) {
                        *o = s.fma(v, d, *o);
                    }
                }
            }
            let row = &mut row[first..first + STRIP];
            if fresh {
                row.copy_from_slice(&sum);
            } else {
                row.iter_mut().zip(&sum).for_each(|(o, &v)| *o += v);
            }
        }
        if whole < hidden {
            let rest = &mut row[whole..];
            if fresh {
                rest.fill(0.0);
            }
            for block in 0..x.n_blocks() {
                let (lanes, _, inputs) = x.gene_in_block(block, first_gene + i);
                for (&lane, &v) in lanes.iter().zip(inputs) {
                    let cell = block * LANES + lane as usize;
                    let g = &gy[cell * hidden + whole..(cell + 1) * hidden];
                    for (o, &d) in rest.iter_mut().zip(g) {
                        *o = s.fma(v, d, *o);
                    }
                }
            }
        }
    }
}
}

#[cfg(test)]
mod tests {
    use crate::ops::check::{Check, sparse_counts};
    use crate::params::Axis;

    #[test]
    fn gradients_with_whole_and_broken_strips() {
        for hidden in [5, 64, 70] {
            let (batch, dense) = sparse_counts(40, 6);
            let mut check = Check::new();
            let w = check.param("w", &[(Axis::Gene, 6), (Axis::Hidden, hidden)]);
            let b = check.param("b", &[(Axis::Hidden, hidden)]);
            check.twin(move |v| {
                let (ws, bs) = (v.param(w), v.param(b));
                (0..40 * hidden)
                    .map(|i| {
                        let (c, h) = (i / hidden, i % hidden);
                        bs[h] + (0..6).map(|g| dense[c * 6 + g].ln_1p() * ws[g * hidden + h]).sum::<f64>()
                    })
                    .collect()
            });
            check.run(|t, v| t.sparse_linear(&batch, v.param(w), Some(v.param(b))));
        }
    }
}
