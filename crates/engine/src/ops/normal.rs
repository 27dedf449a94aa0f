//! Normal likelihood.  −ln N(x; μ, σ²) = ½ ((x − μ)/σ)² + ln σ + ½ ln 2π, summed over genes.
//!
//! μ is [gene × cell] in lanes, σ = e^Θ with Θ as in [`Dispersion`]; x are the values as given.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::batch::{LANES, SparseBatch};
use crate::ops::dispersion::Dispersion;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Normal<'a> {
    mu: Var,
    y: Var,
    scale: Dispersion<'a>,
    /// d loss/dμ and d loss/dΘ of each gene and cell, in lanes.
    d_mu: Vec<f32>,
    d_log_scale: Vec<f32>,
}

/// ln σ of a block: a row of genes for runs of lanes, or every lane's own.
enum LogScales<'t> {
    Grouped(&'t [f32], Vec<(usize, usize, usize)>),
    PerCell(&'t [f32]),
}

impl<'a> Tape<'a> {
    /// −ln N(x; μ, e^2Θ) of each cell, summed over genes, [cell × 1]; `mu` in lanes.
    pub fn normal(&mut self, mu: Var, log_scale: Dispersion<'a>, x: &SparseBatch) -> Var {
        let shape = self.shape(mu);
        debug_assert_eq!(shape.layout, Layout::Lanes);
        let (n_genes, cells) = (shape.features, shape.cells);
        let mut loss = self.buffer(cells);
        let (mut d_mu, mut d_log_scale) = (self.buffer(shape.len()), self.buffer(shape.len()));
        let size = n_genes * LANES;
        let values = match log_scale {
            Dispersion::Grouped(tensor, _) => self.params().values(tensor),
            Dispersion::PerCell(var) => self.value(var),
        };
        let scales = |block: usize| match log_scale {
            Dispersion::Grouped(_, codes) => {
                let runs = codes.runs_within(block * LANES, cells.min((block + 1) * LANES)).collect();
                LogScales::Grouped(values, runs)
            }
            Dispersion::PerCell(_) => LogScales::PerCell(&values[block * size..(block + 1) * size]),
        };
        let tasks = d_mu.par_chunks_mut(size).zip(d_log_scale.par_chunks_mut(size)).zip(loss.par_chunks_mut(LANES));
        tasks.zip(self.value(mu).par_chunks(size)).enumerate().for_each(|(block, (((d_mu, d_ls), loss), mu))| {
            // The values, made dense, where their slopes will stand.
            d_mu.fill(0.0);
            let span = x.block(block);
            for ((&g, &lane), &x) in x.lane_genes[span.clone()].iter().zip(&x.lanes[span.clone()]).zip(&x.values[span])
            {
                d_mu[g as usize * LANES + lane as usize] = x;
            }
            let mut sums = [0f64; LANES];
            terms(mu, &scales(block), d_mu, d_ls, &mut sums);
            loss.iter_mut().zip(&sums).for_each(|(o, &v)| *o = v as f32);
        });
        let needs = self.needs(mu) || log_scale.needs(self);
        let y = self.push(Shape::by_cell(cells, 1), loss, needs);
        if self.needs(y) {
            self.record(Normal { mu, y, scale: log_scale, d_mu, d_log_scale });
        } else {
            self.recycle(d_mu);
            self.recycle(d_log_scale);
        }
        y
    }
}

impl Backward for Normal<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let n_genes = back.shape(self.mu).features;
        self.scale.backward(self.d_log_scale, &gy, n_genes, back);
        back.send_weighted(self.mu, self.d_mu, &gy);
        back.recycle(gy);
    }
}

kernel! {
/// `d_mu` holds x, and then the slope (μ − x)/σ²; dΘ is 1 − ((x − μ)/σ)².
fn terms(
    s, mu: &[f32], scales: &LogScales<'_>, d_mu: &mut [f32], d_log_scale: &mut [f32], loss: &mut [f64; LANES],
) {
    const GROUP: usize = 64;
    const HALF_LN_2PI: f32 = 0.918_938_5;
    let n_genes = mu.len() / LANES;
    let mut log_scale = [0f32; LANES];
    for first in (0..n_genes).step_by(GROUP) {
        let mut sum = [0f32; LANES];
        for g in first..n_genes.min(first + GROUP) {
            let row = g * LANES..(g + 1) * LANES;
            match scales {
                LogScales::Grouped(values, runs) => {
                    for &(from, to, code) in runs {
                        log_scale[from..to].fill(values[code * n_genes + g]);
                    }
                }
                LogScales::PerCell(all) => log_scale.copy_from_slice(&all[row.clone()]),
            }
            let m = &mu[row.clone()];
            let (dm, ds) = (&mut d_mu[row.clone()], &mut d_log_scale[row]);
            for l in 0..LANES {
                let inverse = math::exp(s, -log_scale[l]);
                let z = (dm[l] - m[l]) * inverse;
                sum[l] += s.fma(0.5 * z, z, log_scale[l] + HALF_LN_2PI);
                dm[l] = -z * inverse;
                ds[l] = s.fma(-z, z, 1.0);
            }
        }
        for l in 0..LANES {
            loss[l] += f64::from(sum[l]);
        }
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Codes;
    use crate::ops::check::{Check, sparse_counts};
    use crate::params::Axis;

    #[test]
    fn values_and_gradients() {
        let (cells, genes) = (40, 5);
        for per_cell in [false, true] {
            let (batch, dense) = sparse_counts(cells, genes);
            let codes = Codes::new((0..cells as u32).map(|c| (c / 11) % 3).collect());
            let mut check = Check::new();
            let mu = check.input("mu", Shape::lanes(genes, cells));
            let own = check.input("own", Shape::lanes(genes, cells));
            let scale = check.param("scale", &[(Axis::Condition, 3), (Axis::Gene, genes)]);
            let twin_codes = codes.clone();
            check.twin(move |v| {
                let gene = |c: usize, g: usize| {
                    let at = (c / LANES) * genes * LANES + g * LANES + c % LANES;
                    let grouped = v.param(scale)[twin_codes.codes[c] as usize * genes + g];
                    let ls = if per_cell { v.input(own)[at] } else { grouped };
                    let z = (dense[c * genes + g] - v.input(mu)[at]) / ls.exp();
                    0.5 * z * z + ls + 0.5 * std::f64::consts::TAU.ln()
                };
                (0..cells).map(|c| (0..genes).map(|g| gene(c, g)).sum()).collect()
            });
            check.run(|t, v| {
                let grouped = Dispersion::Grouped(v.param(scale), &codes);
                t.normal(v.input(mu), if per_cell { Dispersion::PerCell(v.input(own)) } else { grouped }, &batch)
            });
        }
    }
}
