//! Negative binomial likelihood of counts, mean μ and inverse dispersion θ, ε = 1e-8:
//!
//! −ln NB(x; μ, θ) = θ ln((θ+μ+ε)/(θ+ε)) − [ln Γ(x+θ) − ln Γ(θ) − ln Γ(x+1)]
//!                   − x [ln(μ+ε) − ln(θ+μ+ε)],   summed over genes.
//!
//! The first term is all that a zero count needs; the others are computed for stored counts only.
//! μ is [gene × cell] in lanes, θ = e^Θ with Θ [condition × gene].

use rayon::prelude::*;

use crate::batch::{Codes, LANES, SparseBatch};
use crate::isa::kernel;
use crate::math;
use crate::ops::link::{lanes_from, rows, rows_mut};
use crate::ops::masked_linear::add_up;
use crate::params::ParamId;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

pub(crate) const EPSILON: f32 = 1e-8;

struct Nb<'a> {
    mu: Var,
    y: Var,
    log_theta: ParamId,
    codes: &'a Codes,
    /// d loss/dμ and d loss/dΘ of each gene and cell, in lanes.
    d_mu: Vec<f32>,
    d_log_theta: Vec<f32>,
}

/// What depends on a gene's dispersion alone, for each condition in the batch.
pub(crate) struct Theta {
    /// θ, [condition × gene]
    pub(crate) theta: Vec<f32>,
    /// 1/(θ + ε)
    pub(crate) inverse: Vec<f32>,
    /// ln Γ(θ), ψ(θ)
    pub(crate) gamma: Vec<(f64, f64)>,
}

impl Theta {
    /// Fills the rows of the conditions that occur.
    pub(crate) fn new(log_theta: &[f32], n_genes: usize, codes: &Codes) -> Self {
        let n = log_theta.len();
        let mut table = Theta { theta: vec![1.0; n], inverse: vec![1.0; n], gamma: vec![(0.0, 0.0); n] };
        let mut present: Vec<u32> = codes.runs.iter().map(|r| r.2).collect();
        present.sort_unstable();
        present.dedup();
        for code in present {
            let row = code as usize * n_genes..(code as usize + 1) * n_genes;
            let chunks =
                table.theta[row.clone()].par_chunks_mut(512).zip(table.inverse[row.clone()].par_chunks_mut(512));
            chunks
                .zip(table.gamma[row.clone()].par_chunks_mut(512))
                .zip(log_theta[row].par_chunks(512))
                .for_each(|(((theta, inverse), gamma), log_theta)| theta_row(log_theta, theta, inverse, gamma));
        }
        table
    }
}

impl<'a> Tape<'a> {
    /// −ln NB(x; μ, e^Θ) of each cell, summed over genes, [cell × 1].
    ///
    /// `mu` in lanes; `log_theta` is Θ, [condition × gene], with each cell's condition.
    pub fn negative_binomial(&mut self, mu: Var, log_theta: ParamId, codes: &'a Codes, x: &SparseBatch) -> Var {
        let shape = self.shape(mu);
        debug_assert_eq!(shape.layout, Layout::Lanes);
        let n_genes = shape.features;
        let theta = Theta::new(self.params().values(log_theta), n_genes, codes);
        let needs = self.needs(mu) || self.trains(log_theta);
        let mut loss = self.buffer(shape.cells);
        let mut d_mu = self.buffer(shape.len());
        let mut d_log_theta = self.buffer(shape.len());
        let size = n_genes * LANES;
        let tasks = d_mu.par_chunks_mut(size).zip(d_log_theta.par_chunks_mut(size)).zip(loss.par_chunks_mut(LANES));
        tasks.zip(self.value(mu).par_chunks(size)).enumerate().for_each(|(block, (((d_mu, d_lt), loss), mu))| {
            let last = shape.cells.min((block + 1) * LANES);
            let runs: Vec<_> = codes.runs_within(block * LANES, last).collect();
            let mut sums = [0f64; LANES];
            zeros(mu, &theta.theta, &theta.inverse, &runs, d_mu, d_lt, &mut sums);
            let mut rows = [0usize; LANES];
            runs.iter().for_each(|&(from, to, code)| rows[from..to].fill(code * n_genes));
            let span = x.block(block);
            let entries = (&x.lane_genes[span.clone()], &x.lanes[span.clone()], &x.values[span]);
            stored(mu, &theta, &rows, entries, d_mu, d_lt, &mut sums);
            loss.iter_mut().zip(&sums).for_each(|(o, &v)| *o = v as f32);
        });
        let y = self.push(Shape::by_cell(shape.cells, 1), loss, needs);
        if self.needs(y) {
            self.record(Nb { mu, y, log_theta, codes, d_mu, d_log_theta });
        } else {
            self.recycle(d_mu);
            self.recycle(d_log_theta);
        }
        y
    }
}

impl Backward for Nb<'_> {
    fn backward(mut self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let Shape { cells, features: n_genes, .. } = back.shape(self.mu);
        if back.trains(self.log_theta) {
            dispersion_backward(self.log_theta, self.codes, &self.d_log_theta, &gy, n_genes, cells, back);
        }
        if back.needs(self.mu) {
            let mut d_mu = std::mem::take(&mut self.d_mu);
            d_mu.par_chunks_mut(n_genes * LANES).enumerate().for_each(|(block, d)| {
                scale_lanes(&lanes_from(&gy, block), d);
            });
            let (mut g, fresh) = back.take_or_fresh(self.mu);
            if fresh {
                back.recycle(g);
                back.put(self.mu, d_mu);
            } else {
                g.iter_mut().zip(&d_mu).for_each(|(o, &v)| *o += v);
                back.put(self.mu, g);
                back.recycle(d_mu);
            }
        }
        back.recycle(gy);
        back.recycle(self.d_mu);
        back.recycle(self.d_log_theta);
    }
}

/// Gathers d loss/dΘ over the cells of each condition that trains.
pub(crate) fn dispersion_backward(
    log_theta: ParamId,
    codes: &Codes,
    d_log_theta: &[f32],
    gy: &[f32],
    n_genes: usize,
    cells: usize,
    back: &mut Back<'_>,
) {
    let trainable = back.params.get(log_theta).trainable.clone();
    let out = back.tensor(log_theta);
    for (block, d) in d_log_theta.chunks_exact(n_genes * LANES).enumerate() {
        let last = cells.min((block + 1) * LANES);
        let weights = lanes_from(gy, block);
        for (from, to, code) in codes.runs_within(block * LANES, last) {
            if trainable.iter().any(|r| r.contains(&code)) {
                let mut own = [0f32; LANES];
                own[from..to].copy_from_slice(&weights[from..to]);
                let row = &mut out[code * n_genes..(code + 1) * n_genes];
                row.par_chunks_mut(512).zip(d.par_chunks(512 * LANES)).for_each(|(o, d)| weighted_lanes(d, &own, o));
            }
        }
    }
}

kernel! {
fn theta_row(s, log_theta: &[f32], theta: &mut [f32], inverse: &mut [f32], gamma: &mut [(f64, f64)]) {
    for (((&l, t), i), g) in log_theta.iter().zip(theta).zip(inverse).zip(gamma) {
        *t = math::exp(s, l).max(1e-30);
        *i = 1.0 / (*t + EPSILON);
        *g = math::lgamma_digamma(s, f64::from(*t));
    }
}
}

kernel! {
/// Every gene and cell as if its count were zero.
fn zeros(
    s, mu: &[f32], theta: &[f32], inverse: &[f32], runs: &[(usize, usize, usize)],
    d_mu: &mut [f32], d_log_theta: &mut [f32], loss: &mut [f64; LANES],
) {
    const GROUP: usize = 64;
    let (mu, d_mu, d_log_theta) = (rows(mu), rows_mut(d_mu), rows_mut(d_log_theta));
    let n_genes = mu.len();
    let (mut th, mut inv) = ([1f32; LANES], [1f32; LANES]);
    for first in (0..n_genes).step_by(GROUP) {
        let mut sum = [0f32; LANES];
        for g in first..n_genes.min(first + GROUP) {
            if let [(_, _, code)] = runs {
                th = [theta[code * n_genes + g]; LANES];
                inv = [inverse[code * n_genes + g]; LANES];
            } else {
                for &(from, to, code) in runs {
                    th[from..to].fill(theta[code * n_genes + g]);
                    inv[from..to].fill(inverse[code * n_genes + g]);
                }
            }
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

/// Entries computed together.
pub(crate) const CHUNK: usize = 16;

kernel! {
/// What stored counts add to the zero terms.
fn stored(
    s, mu: &[f32], theta: &Theta, rows: &[usize; LANES], entries: (&[u32], &[u8], &[f32]),
    d_mu: &mut [f32], d_log_theta: &mut [f32], loss: &mut [f64; LANES],
) {
    let (genes, lanes, values) = entries;
    let factorials = LnFactorials::table();
    for ((genes, lanes), values) in genes.chunks(CHUNK).zip(lanes.chunks(CHUNK)).zip(values.chunks(CHUNK)) {
        let n = genes.len();
        // Gather. Places past the end repeat harmless numbers.
        let (mut m, mut th, mut x) = ([1f32; CHUNK], [1f32; CHUNK], [1f32; CHUNK]);
        let (mut lg_theta, mut psi_theta) = ([0f64; CHUNK], [0f64; CHUNK]);
        for i in 0..n {
            let lane = lanes[i] as usize % LANES;
            let at = rows[lane] + genes[i] as usize;
            m[i] = mu[genes[i] as usize * LANES + lane];
            th[i] = theta.theta[at];
            (lg_theta[i], psi_theta[i]) = theta.gamma[at];
            x[i] = values[i];
        }
        let (mut add_loss, mut add_mu, mut add_theta) = ([0f64; CHUNK], [0f32; CHUNK], [0f32; CHUNK]);
        let (mut lg, mut psi, mut lg_x) = ([0f64; CHUNK], [0f64; CHUNK], [0f64; CHUNK]);
        for i in 0..CHUNK {
            (lg[i], psi[i]) = math::lgamma_digamma(s, f64::from(x[i]) + f64::from(th[i]));
        }
        for i in 0..n {
            lg_x[i] = factorials.of(x[i]);
        }
        for i in 0..CHUNK {
            let t = th[i] + m[i] + EPSILON;
            let me = m[i] + EPSILON;
            // ln(μ+ε) − ln(θ+μ+ε), with its digits also where θ is small beside μ
            let ratio = -math::ln_1p(s, th[i] / me);
            add_loss[i] = (lg_theta[i] - lg[i]) + lg_x[i] - f64::from(x[i] * ratio);
            add_mu[i] = -x[i] * (th[i] / (t * me));
            add_theta[i] = th[i] * (x[i] / t - (psi[i] - psi_theta[i]) as f32);
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

/// ln Γ(x + 1); small whole numbers from a table.
#[derive(Clone, Copy)]
pub(crate) struct LnFactorials(&'static [f64; 1024]);

impl LnFactorials {
    pub(crate) fn table() -> Self {
        use std::sync::LazyLock;
        static SMALL: LazyLock<[f64; 1024]> = LazyLock::new(|| {
            let mut table = [0.0; 1024];
            for i in 1..1024 {
                table[i] = table[i - 1] + (i as f64).ln();
            }
            table
        });
        LnFactorials(&SMALL)
    }

    #[inline(always)]
    pub(crate) fn of(self, x: f32) -> f64 {
        let i = x as usize;
        if i < 1024 && i as f32 == x { self.0[i] } else { beyond_table(x) }
    }
}

#[cold]
fn beyond_table(x: f32) -> f64 {
    math::lgamma_digamma(crate::isa::Separate, f64::from(x) + 1.0).0
}

kernel! {
pub(crate) fn scale_lanes(s, by: &[f32; LANES], values: &mut [f32]) {
    for row in rows_mut(values) {
        for l in 0..LANES {
            row[l] *= by[l];
        }
    }
}
}

kernel! {
/// out[g] += Σ_lanes weight · value
fn weighted_lanes(s, values: &[f32], weights: &[f32; LANES], out: &mut [f32]) {
    for (o, row) in out.iter_mut().zip(rows(values)) {
        let mut part = [0f32; LANES];
        for l in 0..LANES {
            part[l] = row[l] * weights[l];
        }
        *o += add_up(&part);
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Fused;
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
            t.negative_binomial(mu, v.param(log_theta), &codes, &batch)
        });
    }
}
