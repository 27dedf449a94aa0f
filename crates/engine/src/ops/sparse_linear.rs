//! First layer on sparse input.  y = x W + b,  x: cells × genes (sparse), W: gene × hidden.
//!
//! Work is in proportion to the stored entries. Hidden units are taken in strips of [`STRIP`]: a gene's strip of W
//! is in registers while its cells pass by, and a strip of all cells' results stays in the first-level cache.
//! Strips lie one after another, [strip × cell × unit]; the last is padded.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;

use crate::batch::SparseBatch;
use crate::ops::linear::add_rows_into;
use crate::params::ParamId;
use crate::tape::{Back, Backward, Shape, Tape, Var};

const STRIP: usize = 64;
/// Genes a task.
const GENES: usize = 128;

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
            None => {
                let mut strips = self.buffer(strips_len(x.n_cells(), hidden));
                product_by(x, w.values(), hidden, &mut strips, &mut out);
                self.recycle(strips);
            }
        }
        if let Some(b) = bias {
            add_to_rows(self.params().values(b), &mut out);
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
    let mut strips = vec![0.0; strips_len(x.n_cells(), hidden)];
    product_by(x, weight, hidden, &mut strips, out);
}

fn strips_len(cells: usize, hidden: usize) -> usize {
    hidden.div_ceil(STRIP) * STRIP * cells
}

fn product_by(x: &SparseBatch, weight: &[f32], hidden: usize, strips: &mut [f32], out: &mut [f32]) {
    strips.par_chunks_mut(x.n_cells() * STRIP).enumerate().for_each(|(strip, sums)| {
        forward(x, weight, hidden, strip * STRIP, sums);
    });
    from_strips(strips, x.n_cells(), hidden, out);
}

/// [strip × cell × unit] to [cell × hidden].
fn from_strips(strips: &[f32], cells: usize, hidden: usize, out: &mut [f32]) {
    for (cell, row) in out.chunks_exact_mut(hidden).enumerate() {
        for (strip, part) in row.chunks_mut(STRIP).enumerate() {
            let from = (strip * cells + cell) * STRIP;
            part.copy_from_slice(&strips[from..from + part.len()]);
        }
    }
}

/// [cell × hidden] to [strip × cell × unit].
fn to_strips(rows: &[f32], cells: usize, hidden: usize, strips: &mut [f32]) {
    for (cell, row) in rows.chunks_exact(hidden).enumerate() {
        for (strip, part) in row.chunks(STRIP).enumerate() {
            let to = (strip * cells + cell) * STRIP;
            strips[to..to + part.len()].copy_from_slice(part);
            strips[to + part.len()..to + STRIP].fill(0.0);
        }
    }
}

impl Backward for SparseLinear<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let Shape { cells, features: hidden, .. } = back.shape(self.y);
        if back.trains(self.weight) {
            let mut strips = back.buffer(strips_len(cells, hidden));
            to_strips(&gy, cells, hidden, &mut strips);
            let (gw, fresh) = back.tensor_or_fresh(self.weight);
            gw.par_chunks_mut(GENES * hidden).enumerate().for_each(|(task, rows)| {
                genes_backward(self.x, task * GENES, &strips, hidden, fresh, rows);
            });
            back.recycle(strips);
        }
        if let Some(b) = self.bias.filter(|&b| back.trains(b)) {
            add_rows_into(&gy, back.tensor(b));
        }
        back.recycle(gy);
    }
}

kernel! {
fn add_to_rows(s, row: &[f32], out: &mut [f32]) {
    for out in out.chunks_exact_mut(row.len()) {
        for (o, &v) in out.iter_mut().zip(row) {
            *o += v;
        }
    }
}
}

kernel! {
/// One strip of every cell's sum over its genes.
fn forward(s, x: &SparseBatch, weight: &[f32], hidden: usize, first: usize, sums: &mut [f32]) {
    sums.fill(0.0);
    let sums = sums.as_chunks_mut::<STRIP>().0;
    let width = STRIP.min(hidden - first);
    for g in 0..x.n_genes() {
        let (cells, inputs) = x.gene(g);
        if cells.is_empty() {
            continue;
        }
        let mut w = [0f32; STRIP];
        let row = &weight[g * hidden + first..g * hidden + first + width];
        if let Ok(row) = <&[f32; STRIP]>::try_from(row) {
            w = *row;
        } else {
            w[..width].copy_from_slice(row);
        }
        for (&cell, &v) in cells.iter().zip(inputs) {
            let sum = &mut sums[cell as usize];
            for u in 0..STRIP {
                sum[u] = s.fma(v, w[u], sum[u]);
            }
        }
    }
}
}

kernel! {
/// The gradient of some genes' rows of W.
fn genes_backward(s, x: &SparseBatch, first_gene: usize, strips: &[f32], hidden: usize, fresh: bool, out: &mut [f32]) {
    let n = x.n_cells();
    for (strip, gy) in strips.as_chunks::<STRIP>().0.chunks_exact(n).enumerate() {
        let first = strip * STRIP;
        let width = STRIP.min(hidden - first);
        for (i, row) in out.chunks_exact_mut(hidden).enumerate() {
            let (cells, inputs) = x.gene(first_gene + i);
            let mut sum = [0f32; STRIP];
            for (&cell, &v) in cells.iter().zip(inputs) {
                let g = &gy[cell as usize];
                for u in 0..STRIP {
                    sum[u] = s.fma(v, g[u], sum[u]);
                }
            }
            let row = &mut row[first..first + width];
            if !fresh {
                row.iter_mut().zip(&sum).for_each(|(o, &v)| *o += v);
            } else if let Ok(row) = <&mut [f32; STRIP]>::try_from(&mut *row) {
                *row = sum;
            } else {
                row.copy_from_slice(&sum[..width]);
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
