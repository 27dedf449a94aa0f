//! Maximum mean discrepancy between the conditions of a batch, as a penalty.
//!
//! MMD = Σ over pairs of conditions (i, j) of mean(K_ii) + mean(K_jj) − 2 mean(K_ij), means over all
//! pairs of cells with the diagonal, K = Σ_α exp(−d²/(2α)) over 19 widths α (Gretton et al., JMLR
//! 2012; the widths are trVAE's). A condition without cells in the batch takes part in no pair.
//!
//! All pairs of conditions together are one weighted sum Σ_ab w_ab k(d²_ab) over pairs of cells,
//! which is walked once. The narrow kernels are 0 in `f32` beyond d² = 176 α: a tile of pairs that
//! are all farther apart skips them. The wide ones (α ≥ 1000) are nearly 1 − d²/(2α); their ones
//! cancel since Σ w = 0.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::batch::{Codes, LANES};
use crate::ops::relayout::reorder;
use crate::ops::slope::Slope;
use crate::tape::{Layout, Shape, Tape, Var};

const WIDTHS: [f32; 19] =
    [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 100.0, 1e3, 1e4, 1e5, 1e6];
/// Cells a task.
const ROWS: usize = 4;

/// What each pair of cells weighs in the sum.
struct Weights {
    /// Place of each cell's condition among those present.
    places: Vec<usize>,
    /// For each condition present, the weight of a pair with each cell, `stride` values a row.
    columns: Vec<f32>,
    stride: usize,
}

impl Tape<'_> {
    /// The discrepancy between the conditions of the batch, one value; `x` by cell or by feature.
    ///
    /// With a `boundary` only pairs of a condition below it and one at or above it count, and only
    /// where both have two cells or more.
    pub fn mmd(&mut self, x: Var, codes: &Codes, boundary: Option<u32>) -> Var {
        let shape = self.shape(x);
        let (n, d) = (shape.cells, shape.features);
        debug_assert_eq!(codes.codes.len(), n);
        let weights = Weights::new(&codes.codes, boundary);
        let stride = weights.stride;
        let mut rows = self.buffer(d * n);
        reorder(self.value(x), shape, Layout::ByFeature, &mut rows);
        // Rows of a whole number of tiles.
        let mut padded = self.buffer(d * stride);
        for (p, row) in padded.chunks_exact_mut(stride).zip(rows.chunks_exact(n)) {
            p[..n].copy_from_slice(row);
            p[n..].fill(0.0);
        }
        let needs = self.needs(x);
        let mut pairs = self.buffer(if needs { n * stride } else { 0 });
        let mut parts = vec![0f64; n.div_ceil(ROWS)];
        if needs {
            let tasks = parts.par_iter_mut().zip(pairs.par_chunks_mut(ROWS * stride)).enumerate();
            tasks.for_each(|(i, (part, out))| *part = pairs_of(&padded, &weights, i * ROWS, n, out));
        } else {
            let tasks = parts.par_iter_mut().enumerate();
            tasks.for_each(|(i, part)| *part = pairs_of(&padded, &weights, i * ROWS, n, &mut []));
        }
        let mut out = self.buffer(1);
        out[0] = parts.iter().sum::<f64>() as f32;
        let y = self.push(Shape::by_cell(1, 1), out, needs);
        if self.needs(y) {
            rows.par_chunks_mut(n).zip(padded.par_chunks(stride)).for_each(|(o, x)| spread(&pairs, x, o));
            let mut slope = self.buffer(d * n);
            reorder(&rows, Shape::by_feature(d, n), shape.layout, &mut slope);
            self.record(Slope { x, y, slope });
        }
        for buffer in [rows, padded, pairs] {
            self.recycle(buffer);
        }
        y
    }
}

impl Weights {
    fn new(codes: &[u32], boundary: Option<u32>) -> Self {
        let mut present = codes.to_vec();
        present.sort_unstable();
        present.dedup();
        let places: Vec<usize> = codes.iter().map(|c| present.partition_point(|p| p < c)).collect();
        let mut counts = vec![0usize; present.len()];
        places.iter().for_each(|&p| counts[p] += 1);
        let m = present.len();
        let mut table = vec![0f64; m * m];
        for i in 0..m {
            for j in 0..i {
                let counted =
                    boundary.is_none_or(|b| (present[i] < b) != (present[j] < b) && counts[i].min(counts[j]) > 1);
                if counted {
                    let (ni, nj) = (counts[i] as f64, counts[j] as f64);
                    table[i * m + i] += 1.0 / (ni * ni);
                    table[j * m + j] += 1.0 / (nj * nj);
                    // Both orders of a mixed pair stand in the sum: each carries half of −2.
                    table[i * m + j] -= 1.0 / (ni * nj);
                    table[j * m + i] -= 1.0 / (ni * nj);
                }
            }
        }
        let stride = codes.len().next_multiple_of(LANES);
        let mut columns = vec![0f32; m * stride];
        for (row, table) in columns.chunks_exact_mut(stride.max(1)).zip(table.chunks_exact(m.max(1))) {
            row.iter_mut().zip(&places).for_each(|(o, &p)| *o = table[p] as f32);
        }
        Weights { places, columns, stride }
    }
}

kernel! {
/// Σ_b w_ab k(d²_ab) of up to [`ROWS`] cells a from `first` on, and in `out`, unless it is empty,
/// 4 w_ab k'(d²_ab). `x` is [feature × cell], in rows of `weights.stride`.
fn pairs_of(s, x: &[f32], weights: &Weights, first: usize, n: usize, out: &mut [f32]) -> f64 {
    let stride = weights.stride;
    let count = ROWS.min(n - first);
    let mut total = 0f64;
    for tile in (0..stride).step_by(LANES) {
        for (r, a) in (first..first + count).enumerate() {
            let mut d2 = [0f32; LANES];
            for row in x.chunks_exact(stride) {
                let (xa, xb) = (row[a], &row[tile..tile + LANES]);
                for l in 0..LANES {
                    d2[l] = s.fma(xa - xb[l], xa - xb[l], d2[l]);
                }
            }
            let nearest = d2.iter().fold(f32::INFINITY, |m, &v| if v < m { v } else { m });
            let (mut k, mut slope) = ([0f32; LANES], [0f32; LANES]);
            for width in WIDTHS {
                let rate = 0.5 / width;
                if nearest * rate > 88.0 {
                    continue;
                }
                for l in 0..LANES {
                    let e = math::exp(s, -rate * d2[l]);
                    k[l] += e;
                    slope[l] = s.fma(-rate, e, slope[l]);
                }
            }
            let w = &weights.columns[weights.places[a] * stride + tile..][..LANES];
            let mut sum = [0f32; LANES];
            for l in 0..LANES {
                sum[l] = w[l] * k[l];
            }
            total += sum.iter().map(|&v| f64::from(v)).sum::<f64>();
            if let Some(o) = out.chunks_exact_mut(stride).nth(r) {
                for l in 0..LANES {
                    o[tile + l] = 4.0 * w[l] * slope[l];
                }
                // A cell does not move away from itself; its slope would drown the others'.
                if (tile..tile + LANES).contains(&a) {
                    o[a] = 0.0;
                }
            }
        }
    }
    total
}
}

kernel! {
/// out[b] = Σ_a A_ab (x_b − x_a); A is symmetric.
fn spread(s, pairs: &[f32], x: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (&xa, row) in x.iter().zip(pairs.chunks_exact(x.len())) {
        for ((o, &p), &xb) in out.iter_mut().zip(row).zip(x) {
            *o = s.fma(p, xb - xa, *o);
        }
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;

    fn twin(x: &[f64], d: usize, codes: &[u32], boundary: Option<u32>, at: &dyn Fn(usize, usize) -> usize) -> f64 {
        let mean = |i: u32, j: u32| {
            let cells = |c: u32| (0..codes.len()).filter(move |&a| codes[a] == c);
            let pairs: Vec<_> = cells(i).flat_map(|a| cells(j).map(move |b| (a, b))).collect();
            let k = |&(a, b): &(usize, usize)| -> f64 {
                let d2: f64 = (0..d).map(|f| (x[at(a, f)] - x[at(b, f)]).powi(2)).sum();
                WIDTHS.iter().map(|&w| (-d2 / (2.0 * f64::from(w))).exp()).sum()
            };
            pairs.iter().map(k).sum::<f64>() / pairs.len() as f64
        };
        let size = |c: u32| codes.iter().filter(|&&v| v == c).count();
        let mut total = 0.0;
        for i in 0..5u32 {
            for j in 0..i {
                let counted = match boundary {
                    None => size(i) > 0 && size(j) > 0,
                    Some(b) => j < b && i >= b && size(i) > 1 && size(j) > 1,
                };
                if counted {
                    total += mean(i, i) + mean(j, j) - 2.0 * mean(i, j);
                }
            }
        }
        total
    }

    #[test]
    fn values_and_gradients() {
        // Condition 1 is absent, condition 4 has one cell.
        let list: Vec<u32> = (0..45).map(|c| if c == 20 { 4 } else { [0, 2, 3][c * c % 3] }).collect();
        for (layout, boundary) in
            [(Layout::ByCell, None), (Layout::ByFeature, None), (Layout::ByCell, Some(3)), (Layout::ByFeature, Some(2))]
        {
            let (cells, d) = (list.len(), 6);
            let codes = Codes::new(list.clone());
            let own = list.clone();
            let mut check = Check::new();
            check.tolerance = 1e-4;
            let x = check.input("x", Shape { cells, features: d, layout });
            check.twin(move |v| {
                let at = move |c: usize, f: usize| if layout == Layout::ByCell { c * d + f } else { f * cells + c };
                vec![twin(v.input(x), d, &own, boundary, &at)]
            });
            check.run(|t, v| t.mmd(v.input(x), &codes, boundary));
        }
    }

    #[test]
    fn one_condition_and_equal_cells_give_zero() {
        for codes in [vec![1; 8], vec![0, 1, 0, 1, 0, 1, 0, 1]] {
            let codes = Codes::new(codes);
            let mut check = Check::new();
            let x = check.input("x", Shape::by_feature(3, 8));
            check.set_input(x, &[1.0; 24]);
            check.twin(|_| vec![0.0]);
            check.run(|t, v| t.mmd(v.input(x), &codes, None));
        }
    }
}
