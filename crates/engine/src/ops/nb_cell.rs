//! Negative binomial likelihood with an inverse dispersion for each gene and cell: the formula of
//! `nb`, with Θ an activation [gene × cell] in lanes.

use rayon::prelude::*;

use crate::batch::{LANES, SparseBatch};
use crate::isa::kernel;
use crate::math;
use crate::ops::dispersion::{BlockThetas, Dispersion, send_lanes};
use crate::ops::nb::{CHUNK, EPSILON, LnFactorials};
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct NbCell {
    mu: Var,
    log_theta: Var,
    y: Var,
    /// d loss/dμ and d loss/dΘ of each gene and cell, in lanes.
    d_mu: Vec<f32>,
    d_log_theta: Vec<f32>,
}

impl Tape<'_> {
    /// −ln NB(x; μ, e^Θ) of each cell, summed over genes, [cell × 1]; `mu` and `log_theta` in lanes.
    pub fn negative_binomial_per_cell(&mut self, mu: Var, log_theta: Var, x: &SparseBatch) -> Var {
        let shape = self.shape(mu);
        debug_assert_eq!(shape.layout, Layout::Lanes);
        debug_assert_eq!(self.shape(log_theta), shape);
        let (n_genes, cells) = (shape.features, shape.cells);
        let mut loss = self.buffer(cells);
        let (mut d_mu, mut d_log_theta) = (self.buffer(shape.len()), self.buffer(shape.len()));
        let size = n_genes * LANES;
        let thetas = Dispersion::PerCell(log_theta).thetas(self, n_genes);
        let tasks = d_mu.par_chunks_mut(size).zip(d_log_theta.par_chunks_mut(size)).zip(loss.par_chunks_mut(LANES));
        tasks.zip(self.value(mu).par_chunks(size)).enumerate().for_each(|(block, (((d_mu, d_lt), loss), mu))| {
            let theta = thetas.block(block, n_genes, cells);
            let mut sums = [0f64; LANES];
            zeros(mu, &theta, d_mu, d_lt, &mut sums);
            let span = x.block(block);
            let entries = (&x.lane_genes[span.clone()], &x.lanes[span.clone()], &x.values[span]);
            stored(mu, &theta, entries, d_mu, d_lt, &mut sums);
            loss.iter_mut().zip(&sums).for_each(|(o, &v)| *o = v as f32);
        });
        drop(thetas);
        let needs = self.needs(mu) || self.needs(log_theta);
        let y = self.push(Shape::by_cell(cells, 1), loss, needs);
        if self.needs(y) {
            self.record(NbCell { mu, log_theta, y, d_mu, d_log_theta });
        } else {
            self.recycle(d_mu);
            self.recycle(d_log_theta);
        }
        y
    }
}

impl Backward for NbCell {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let n_genes = back.shape(self.mu).features;
        send_lanes(self.log_theta, self.d_log_theta, &gy, n_genes, back);
        send_lanes(self.mu, self.d_mu, &gy, n_genes, back);
        back.recycle(gy);
    }
}

kernel! {
/// Every gene and cell as if its count were zero.
fn zeros(
    s, mu: &[f32], thetas: &BlockThetas<'_>, d_mu: &mut [f32], d_log_theta: &mut [f32], loss: &mut [f64; LANES],
) {
    const GROUP: usize = 64;
    let n_genes = mu.len() / LANES;
    let (mut th, mut inv) = ([1f32; LANES], [1f32; LANES]);
    for first in (0..n_genes).step_by(GROUP) {
        let mut sum = [0f32; LANES];
        for g in first..n_genes.min(first + GROUP) {
            thetas.lanes(s, g, &mut th, &mut inv);
            let row = g * LANES..(g + 1) * LANES;
            let m = &mu[row.clone()];
            let (dm, dt) = (&mut d_mu[row.clone()], &mut d_log_theta[row]);
            for l in 0..LANES {
                let r = m[l] * inv[l];
                let u = 1.0 + r;
                let inv_u = 1.0 / u;
                let ln_u = s.fma(r - (u - 1.0), inv_u, math::ln(s, u));
                let share = th[l] * inv[l] * inv_u;
                sum[l] = s.fma(th[l], ln_u, sum[l]);
                dm[l] = share;
                dt[l] = th[l] * (ln_u - share * r);
            }
        }
        for l in 0..LANES {
            loss[l] += f64::from(sum[l]);
        }
    }
}
}

kernel! {
/// What stored counts add to the zero terms.
fn stored(
    s, mu: &[f32], thetas: &BlockThetas<'_>, entries: (&[u32], &[u8], &[f32]),
    d_mu: &mut [f32], d_log_theta: &mut [f32], loss: &mut [f64; LANES],
) {
    let (genes, lanes, values) = entries;
    for ((genes, lanes), values) in genes.chunks(CHUNK).zip(lanes.chunks(CHUNK)).zip(values.chunks(CHUNK)) {
        let n = genes.len();
        let (mut m, mut th, mut x) = ([1f32; CHUNK], [1f32; CHUNK], [1f32; CHUNK]);
        let mut gamma = [(0f64, 0f64); CHUNK];
        thetas.gather(s, genes, lanes, &mut th, &mut gamma);
        for i in 0..n {
            m[i] = mu[genes[i] as usize * LANES + lanes[i] as usize % LANES];
            x[i] = values[i];
        }
        let (mut lg, mut psi) = ([0f64; CHUNK], [0f64; CHUNK]);
        for i in 0..CHUNK {
            (lg[i], psi[i]) = math::lgamma_digamma(s, f64::from(x[i]) + f64::from(th[i]));
        }
        let (mut ratio, mut add_mu, mut add_theta) = ([0f32; CHUNK], [0f32; CHUNK], [0f32; CHUNK]);
        for i in 0..CHUNK {
            let total = th[i] + m[i] + EPSILON;
            let me = m[i] + EPSILON;
            ratio[i] = -math::ln_1p(s, th[i] / me);
            add_mu[i] = -x[i] * (th[i] / (total * me));
            add_theta[i] = th[i] * (x[i] / total - (psi[i] - gamma[i].1) as f32);
        }
        for i in 0..n {
            let lane = lanes[i] as usize % LANES;
            let at = genes[i] as usize * LANES + lane;
            loss[lane] += (gamma[i].0 - lg[i]) + LnFactorials::table().of(x[i]) - f64::from(x[i] * ratio[i]);
            d_mu[at] += add_mu[i];
            d_log_theta[at] += add_theta[i];
        }
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Fused;
    use crate::ops::Link;
    use crate::ops::check::{Check, sparse_counts};

    #[test]
    fn values_and_gradients() {
        let (cells, genes) = (40, 5);
        let (batch, dense) = sparse_counts(cells, genes);
        let mut check = Check::new();
        let h = check.input("h", Shape::lanes(genes, cells));
        let log_theta = check.input("log_theta", Shape::lanes(genes, cells));
        check.twin(move |v| {
            let lgamma = |x: f64| math::lgamma_digamma(Fused, x).0;
            let gene = |c: usize, g: usize| {
                let at = (c / LANES) * genes * LANES + g * LANES + c % LANES;
                let (m, t, x) = (v.input(h)[at].exp(), v.input(log_theta)[at].exp(), dense[c * genes + g]);
                lgamma(t) + lgamma(x + 1.0) - lgamma(x + t) + t * ((t + m) / t).ln() - x * (m / (t + m)).ln()
            };
            (0..cells).map(|c| (0..genes).map(|g| gene(c, g)).sum()).collect()
        });
        check.run(|t, v| {
            let mu = t.mean_of(v.input(h), Link::Exp, &[]);
            t.negative_binomial_per_cell(mu, v.input(log_theta), &batch)
        });
    }
}
