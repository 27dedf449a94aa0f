//! Negative binomial likelihood of counts, mean μ and inverse dispersion θ = e^Θ, ε = 1e-8:
//!
//! −ln NB(x; μ, θ) = θ ln((θ+μ+ε)/(θ+ε)) − [ln Γ(x+θ) − ln Γ(θ) − ln Γ(x+1)]
//!                   − x [ln(μ+ε) − ln(θ+μ+ε)],   summed over genes.
//!
//! The first term is all that a zero count needs; the others are computed for stored counts only.
//! μ is [gene × cell] in lanes.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::batch::{LANES, SparseBatch};
use crate::lanes::{rows, rows_mut};
use crate::ops::counts::{CHUNK, EPSILON, LnFactorials};
use crate::ops::dispersion::{BlockThetas, Dispersion};
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Nb<'a> {
    mu: Var,
    y: Var,
    dispersion: Dispersion<'a>,
    /// d loss/dμ and d loss/dΘ of each gene and cell, in lanes.
    slopes: [Vec<f32>; 2],
}

impl<'a> Tape<'a> {
    /// −ln NB(x; μ, e^Θ) of each cell, summed over genes, [cell × 1]; `mu` in lanes.
    pub fn negative_binomial(&mut self, mu: Var, dispersion: Dispersion<'a>, x: &SparseBatch) -> Var {
        let shape = self.shape(mu);
        debug_assert_eq!(shape.layout, Layout::Lanes);
        let (n_genes, cells) = (shape.features, shape.cells);
        let needs = self.needs(mu) || dispersion.needs(self);
        let mut loss = self.buffer(cells);
        let mut slopes = [0; 2].map(|_| self.buffer(shape.len()));
        let thetas = dispersion.thetas(self, n_genes);
        let size = n_genes * LANES;
        let [d_mu, d_theta] = &mut slopes;
        let tasks = d_mu.par_chunks_mut(size).zip(d_theta.par_chunks_mut(size)).zip(loss.par_chunks_mut(LANES));
        tasks.zip(self.value(mu).par_chunks(size)).enumerate().for_each(|(block, (((d_mu, d_theta), loss), mu))| {
            let theta = thetas.block(block, n_genes, cells);
            let mut sums = [0f64; LANES];
            zeros(mu, &theta, d_mu, d_theta, &mut sums);
            let span = x.block(block);
            let entries = (&x.lane_genes[span.clone()], &x.lanes[span.clone()], &x.values[span]);
            stored(mu, &theta, entries, d_mu, d_theta, &mut sums);
            loss.iter_mut().zip(&sums).for_each(|(o, &v)| *o = v as f32);
        });
        drop(thetas);
        let y = self.push(Shape::by_cell(cells, 1), loss, needs);
        if self.needs(y) {
            self.record(Nb { mu, y, dispersion, slopes });
        } else {
            slopes.into_iter().for_each(|d| self.recycle(d));
        }
        y
    }
}

impl Backward for Nb<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let n_genes = back.shape(self.mu).features;
        let [d_mu, d_theta] = self.slopes;
        self.dispersion.backward(d_theta, &gy, n_genes, back);
        back.send_weighted(self.mu, d_mu, &gy);
        back.recycle(gy);
    }
}

kernel! {
/// Every gene and cell as if its count were zero.
fn zeros(
    s, mu: &[f32], thetas: &BlockThetas<'_>, d_mu: &mut [f32], d_log_theta: &mut [f32], loss: &mut [f64; LANES],
) {
    const GROUP: usize = 64;
    let (mu, d_mu, d_log_theta) = (rows(mu), rows_mut(d_mu), rows_mut(d_log_theta));
    let n_genes = mu.len();
    let (mut th, mut inv) = ([1f32; LANES], [1f32; LANES]);
    for first in (0..n_genes).step_by(GROUP) {
        let mut sum = [0f32; LANES];
        for g in first..n_genes.min(first + GROUP) {
            thetas.lanes(s, g, &mut th, &mut inv);
            let (m, dm, dt) = (&mu[g], &mut d_mu[g], &mut d_log_theta[g]);
            for l in 0..LANES {
                let r = m[l] * inv[l];
                let u = 1.0 + r;
                let inv_u = 1.0 / u;
                // ln(1 + r), with the digits that 1 + r lost put back
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
    let factorials = LnFactorials::table();
    for ((genes, lanes), values) in genes.chunks(CHUNK).zip(lanes.chunks(CHUNK)).zip(values.chunks(CHUNK)) {
        let n = genes.len();
        // Gather. Places past the end repeat harmless numbers.
        let (mut m, mut th, mut x) = ([1f32; CHUNK], [1f32; CHUNK], [1f32; CHUNK]);
        let (mut gamma, mut lg_x) = ([(0f64, 0f64); CHUNK], [0f64; CHUNK]);
        thetas.gather(s, genes, lanes, &mut th, &mut gamma);
        for i in 0..n {
            m[i] = mu[genes[i] as usize * LANES + lanes[i] as usize % LANES];
            x[i] = values[i];
            lg_x[i] = factorials.of(x[i]);
        }
        let (mut lg, mut psi) = ([0f64; CHUNK], [0f64; CHUNK]);
        for i in 0..CHUNK {
            (lg[i], psi[i]) = math::lgamma_digamma(s, f64::from(x[i]) + f64::from(th[i]));
        }
        let (mut add_loss, mut add_mu, mut add_theta) = ([0f64; CHUNK], [0f32; CHUNK], [0f32; CHUNK]);
        for i in 0..CHUNK {
            let t = th[i] + m[i] + EPSILON;
            let me = m[i] + EPSILON;
            // ln(μ+ε) − ln(θ+μ+ε), with its digits also where θ is small beside μ
            let ratio = -math::ln_1p(s, th[i] / me);
            add_loss[i] = (gamma[i].0 - lg[i]) + lg_x[i] - f64::from(x[i] * ratio);
            add_mu[i] = -x[i] * (th[i] / (t * me));
            add_theta[i] = th[i] * (x[i] / t - (psi[i] - gamma[i].1) as f32);
        }
        for i in 0..n {
            let lane = lanes[i] as usize % LANES;
            let at = genes[i] as usize * LANES + lane;
            loss[lane] += add_loss[i];
            d_mu[at] += add_mu[i];
            d_log_theta[at] += add_theta[i];
        }
    }
}
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::isa::Fused;

    use super::*;
    use crate::batch::Codes;
    use crate::ops::check::{Check, sparse_counts};
    use crate::params::Axis;

    fn lgamma(x: f64) -> f64 {
        math::lgamma_digamma(Fused, x).0
    }

    #[test]
    fn values_and_gradients() {
        let (cells, genes) = (40, 5);
        let (batch, dense) = sparse_counts(cells, genes);
        let codes = Codes::new((0..cells as u32).map(|c| (c / 11) % 3).collect());
        let mut check = Check::new();
        let h = check.input("h", Shape::lanes(genes, cells));
        let log_theta = check.param("log_theta", &[(Axis::Condition, 3), (Axis::Gene, genes)]);
        let twin_codes = codes.clone();
        check.twin(move |v| {
            let eps = f64::from(EPSILON);
            let cell = |c: usize| {
                let gene = |g: usize| {
                    let m = v.input(h)[(c / LANES) * genes * LANES + g * LANES + c % LANES].exp();
                    let t = v.param(log_theta)[twin_codes.codes[c] as usize * genes + g].exp();
                    let x = dense[c * genes + g];
                    let log_t = (t + m + eps).ln();
                    let gammas = lgamma(x + t) - lgamma(t) - lgamma(x + 1.0);
                    -(gammas + t * ((t + eps).ln() - log_t) + x * ((m + eps).ln() - log_t))
                };
                (0..genes).map(gene).sum::<f64>()
            };
            (0..cells).map(cell).collect()
        });
        check.run(|t, v| {
            let mu = t.mean_of(v.input(h), crate::ops::Link::Exp, &[]);
            t.negative_binomial(mu, Dispersion::Grouped(v.param(log_theta), &codes), &batch)
        });
    }

    #[test]
    fn values_and_gradients_with_a_dispersion_of_each_cell() {
        let (cells, genes) = (40, 5);
        let (batch, dense) = sparse_counts(cells, genes);
        let mut check = Check::new();
        let h = check.input("h", Shape::lanes(genes, cells));
        let log_theta = check.input("log_theta", Shape::lanes(genes, cells));
        check.twin(move |v| {
            let gene = |c: usize, g: usize| {
                let at = (c / LANES) * genes * LANES + g * LANES + c % LANES;
                let (m, t, x) = (v.input(h)[at].exp(), v.input(log_theta)[at].exp(), dense[c * genes + g]);
                lgamma(t) + lgamma(x + 1.0) - lgamma(x + t) + t * ((t + m) / t).ln() - x * (m / (t + m)).ln()
            };
            (0..cells).map(|c| (0..genes).map(|g| gene(c, g)).sum()).collect()
        });
        check.run(|t, v| {
            let mu = t.mean_of(v.input(h), crate::ops::Link::Exp, &[]);
            t.negative_binomial(mu, Dispersion::PerCell(v.input(log_theta)), &batch)
        });
    }
}
