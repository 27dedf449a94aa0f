//! The types of a reference as places in the map and in expression, and how far cells lie from them.

use std::collections::HashMap;

use rayon::prelude::*;
use scgraft_cells::{Coded, Dense};
use scgraft_numeric::eigen::{self, Eigenpairs};
use scgraft_numeric::gemm::{Accum, Mat, matmul};

use super::pools::Pools;
use crate::error::{Error, Result};
use crate::quantile::quantile;

/// Rounds of 3 and 4.
const ROUNDS: usize = 3;
/// Fewest cells, and smallest share of a batch, whose mean says how far a type has moved.
const MOVED: (usize, usize) = (5, 100);

/// Types of some cells: their centroids, on axes in which their spread is a sphere.
pub(super) struct Types {
    pub codes: Vec<u32>,
    /// S^(−1/2)/√a, dimension × axis.
    pub axes: Dense,
    /// 1/√(v_g b)
    pub weights: Vec<f32>,
    /// Type × (axes, genes).
    pub centroids: Dense,
}

impl Types {
    /// 2, and the means a and b.
    pub fn of(pools: &Pools, rows: &[usize], labels: &Coded, shrinkage: f64) -> Result<Self> {
        let (d, g) = (pools.x.n_cols, pools.genes.n_cols);
        let means = Means::of(pools, rows, labels);
        let codes: Vec<u32> = (0..means.n.len() as u32).filter(|&t| means.n[t as usize] > 0).collect();
        if codes.len() < 2 || d == 0 {
            return Err(Error::Inconsistent {
                what: "labels for a novelty score".into(),
                problem: format!("{} types; it takes two at least", codes.len()),
            });
        }
        let n = rows.len() as f64;
        let centred = Mat::from_fn(rows.len(), d, |r, j| {
            f64::from(pools.x.row(rows[r])[j]) - means.x[labels.codes[rows[r]] as usize][j]
        });
        let mut spread = Mat::<f64>::zeros(d, d);
        matmul(spread.as_mut(), Accum::Replace, centred.as_ref().transpose(), centred.as_ref(), 1.0 / n);
        let trace: f64 = (0..d).map(|j| spread[(j, j)]).sum::<f64>().max(f64::MIN_POSITIVE);
        let mut shrunk = spread.clone();
        (0..d).for_each(|j| shrunk[(j, j)] += shrinkage * trace / d as f64);
        let Eigenpairs { values, vectors, .. } = eigenpairs(&shrunk)?;
        let axis = |j: usize, a: usize| vectors[j * d + a] / values[a].max(f64::MIN_POSITIVE).sqrt();
        // a = tr(S₀ S⁻¹), S₀ the spread as it was.
        let of_axis = |a: usize| -> f64 {
            (0..d).map(|i| axis(i, a) * (0..d).map(|j| spread[(i, j)] * axis(j, a)).sum::<f64>()).sum()
        };
        let scale = 1.0 / (0..d).map(of_axis).sum::<f64>().max(f64::MIN_POSITIVE).sqrt();
        let axes = Dense::new(d, d, (0..d * d).map(|at| (axis(at / d, at % d) * scale) as f32).collect());

        let mut within = vec![0f64; g];
        for &i in rows {
            let mean = &means.genes[labels.codes[i] as usize];
            for ((w, &v), m) in within.iter_mut().zip(pools.genes.row(i)).zip(mean) {
                *w += (f64::from(v) - m).powi(2) / n;
            }
        }
        let usual = within.iter().sum::<f64>() / g.max(1) as f64;
        let spread_of = |w: f64| (w + usual).max(f64::MIN_POSITIVE);
        let b = within.iter().map(|&w| w / spread_of(w)).sum::<f64>().max(f64::MIN_POSITIVE);
        let weights: Vec<f32> = within.iter().map(|&w| (1.0 / (spread_of(w) * b).sqrt()) as f32).collect();

        let mut centroids = Dense::zeros(codes.len(), d + g);
        for (row, &t) in codes.iter().enumerate() {
            let mean: Vec<f32> = means.x[t as usize].iter().map(|&v| v as f32).collect();
            let genes: Vec<f32> = means.genes[t as usize].iter().map(|&v| v as f32).collect();
            place(&mean, &genes, &axes, &weights, centroids.row_mut(row));
        }
        Ok(Types { codes, axes, weights, centroids })
    }

    pub fn has(&self, label: u32) -> bool {
        self.codes.contains(&label)
    }

    /// 3 and 4: mean distance d̄ of each cell of one batch and which type is nearest; without the batch's shift where that is
    /// not wanted. Only pools of these cells enter the mean.
    pub fn distances(&self, pools: &Pools, rows: &[usize], shift: bool) -> Vec<(f64, u32)> {
        let width = self.centroids.n_cols;
        let mut placed = Dense::zeros(rows.len(), width);
        placed.values.par_chunks_mut(width).zip(rows.par_iter()).for_each(|(out, &i)| {
            place(pools.x.row(i), pools.genes.row(i), &self.axes, &self.weights, out);
        });
        let n_types = self.codes.len();
        let mut common = vec![0f32; width];
        let mut nearest = self.nearest(&placed, &common);
        for _ in 0..if shift { ROUNDS } else { 0 } {
            let mut sums = vec![(0usize, vec![0f64; width]); n_types];
            for (row, near) in placed.values.chunks_exact(width).zip(&nearest) {
                let sum = &mut sums[near.1];
                sum.0 += 1;
                sum.1.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
            }
            let fewest = MOVED.0.max(rows.len() / MOVED.1);
            let moved: Vec<usize> = (0..n_types).filter(|&t| sums[t].0 >= fewest).collect();
            if moved.is_empty() {
                break;
            }
            let shift_of = |t: usize, a: usize| sums[t].1[a] / sums[t].0 as f64 - f64::from(self.centroids.row(t)[a]);
            let median = |a: usize| quantile(&moved.iter().map(|&t| shift_of(t, a)).collect::<Vec<_>>(), 0.5) as f32;
            common = (0..width).map(median).collect();
            nearest = self.nearest(&placed, &common);
        }
        let distances: HashMap<usize, f64> = rows.iter().copied().zip(nearest.iter().map(|d| d.0)).collect();
        let mean = |i: &usize| {
            let near = pools.near[*i].iter().filter_map(|&j| distances.get(&(j as usize)));
            let (sum, n) = near.fold((0.0, 0), |(sum, n), d| (sum + d, n + 1));
            sum / f64::from(n)
        };
        rows.iter().zip(&nearest).map(|(i, d)| (mean(i), self.codes[d.1])).collect()
    }

    fn nearest(&self, placed: &Dense, common: &[f32]) -> Vec<(f64, usize)> {
        let mut there = self.centroids.clone();
        there.values.chunks_exact_mut(common.len()).for_each(|c| c.iter_mut().zip(common).for_each(|(c, s)| *c += s));
        let one = |row: &[f32]| {
            let to = |c: &[f32]| c.iter().zip(row).map(|(c, v)| f64::from(v - c).powi(2)).sum::<f64>();
            let squares = there.values.chunks_exact(common.len()).map(to).enumerate();
            let (t, square) = squares.fold((0, f64::INFINITY), |best, (t, d)| if d < best.1 { (t, d) } else { best });
            (square.sqrt(), t)
        };
        placed.values.par_chunks(common.len()).map(one).collect()
    }
}

/// A pool on the axes and weights of types.
fn place(x: &[f32], genes: &[f32], axes: &Dense, weights: &[f32], out: &mut [f32]) {
    let (on_axes, on_genes) = out.split_at_mut(x.len());
    on_axes.fill(0.0);
    for (j, v) in x.iter().enumerate() {
        on_axes.iter_mut().zip(axes.row(j)).for_each(|(o, a)| *o += v * a);
    }
    on_genes.iter_mut().zip(genes).zip(weights).for_each(|((o, v), w)| *o = v * w);
}

/// Means over the cells of each type.
struct Means {
    n: Vec<usize>,
    x: Vec<Vec<f64>>,
    genes: Vec<Vec<f64>>,
}

impl Means {
    fn of(pools: &Pools, rows: &[usize], labels: &Coded) -> Means {
        let types = labels.levels.len();
        let mut means = Means {
            n: vec![0; types],
            x: vec![vec![0.0; pools.x.n_cols]; types],
            genes: vec![vec![0.0; pools.genes.n_cols]; types],
        };
        for &i in rows {
            let t = labels.codes[i] as usize;
            means.n[t] += 1;
            for (sum, row) in [(&mut means.x[t], pools.x.row(i)), (&mut means.genes[t], pools.genes.row(i))] {
                sum.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
            }
        }
        for t in 0..types {
            let n = means.n[t].max(1) as f64;
            means.x[t].iter_mut().chain(&mut means.genes[t]).for_each(|v| *v /= n);
        }
        means
    }
}

fn eigenpairs(m: &Mat<f64>) -> Result<Eigenpairs> {
    let n = m.nrows();
    let whole = eigen::Search { k: n, block: n, tolerance: 1e-9, most_restarts: 1, seed: 0 };
    Ok(eigen::largest(n, &whole, &|v, p, out| {
        for i in 0..n {
            for c in 0..p {
                out[i * p + c] = (0..n).map(|j| m[(i, j)] * v[j * p + c]).sum();
            }
        }
    })?)
}
