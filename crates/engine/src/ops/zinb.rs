//! Zero-inflated negative binomial likelihood of counts: mean μ, inverse dispersion θ, dropout
//! logits π, ε = 1e-8. With a = θ ln((θ+μ+ε)/(θ+ε)), t = −π − a and s(v) = ln(1 + e^v):
//!
//! −ln p(0) = s(−π) − s(t),
//! −ln p(x) = s(−π) − t − [ln Γ(x+θ) − ln Γ(θ) − ln Γ(x+1)] − x [ln(μ+ε) − ln(θ+μ+ε)].
//!
//! Every gene and cell is computed as a zero; a stored count adds s(−t) = s(t) − t and the terms of
//! the negative binomial. μ and π are [gene × cell] in lanes.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::batch::{LANES, SparseBatch};
use crate::ops::counts::{CHUNK, EPSILON, LnFactorials};
use crate::ops::dispersion::{BlockThetas, Dispersion};
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Zinb<'a> {
    mu: Var,
    pi: Var,
    y: Var,
    dispersion: Dispersion<'a>,
    /// d loss/dμ, d loss/dπ and d loss/dΘ of each gene and cell, in lanes.
    slopes: [Vec<f32>; 3],
}

impl<'a> Tape<'a> {
    /// −ln ZINB(x; μ, e^Θ, π) of each cell, summed over genes, [cell × 1].
    ///
    /// `mu` and the logits `pi` are in lanes.
    pub fn zero_inflated_negative_binomial(
        &mut self,
        mu: Var,
        pi: Var,
        dispersion: Dispersion<'a>,
        x: &SparseBatch,
    ) -> Var {
        let shape = self.shape(mu);
        debug_assert_eq!(shape.layout, Layout::Lanes);
        debug_assert_eq!(self.shape(pi), shape);
        let (n_genes, cells) = (shape.features, shape.cells);
        let needs = self.needs(mu) || self.needs(pi) || dispersion.needs(self);
        let mut loss = self.buffer(cells);
        let mut slopes = [0; 3].map(|_| self.buffer(shape.len()));
        let thetas = dispersion.thetas(self, n_genes);
        let size = n_genes * LANES;
        let [d_mu, d_pi, d_theta] = &mut slopes;
        let d = d_mu.par_chunks_mut(size).zip(d_pi.par_chunks_mut(size)).zip(d_theta.par_chunks_mut(size));
        let tasks = d.zip(loss.par_chunks_mut(LANES));
        let inputs = self.value(mu).par_chunks(size).zip(self.value(pi).par_chunks(size));
        tasks.zip(inputs).enumerate().for_each(|(block, ((((d_mu, d_pi), d_theta), loss), (mu, pi)))| {
            let theta = thetas.block(block, n_genes, cells);
            let mut sums = [0f64; LANES];
            zeros(mu, pi, &theta, d_mu, d_pi, d_theta, &mut sums);
            let span = x.block(block);
            let entries = (&x.lane_genes[span.clone()], &x.lanes[span.clone()], &x.values[span]);
            stored(mu, pi, &theta, entries, d_mu, d_pi, d_theta, &mut sums);
            loss.iter_mut().zip(&sums).for_each(|(o, &v)| *o = v as f32);
        });
        drop(thetas);
        let y = self.push(Shape::by_cell(cells, 1), loss, needs);
        if self.needs(y) {
            self.record(Zinb { mu, pi, y, dispersion, slopes });
        } else {
            slopes.into_iter().for_each(|d| self.recycle(d));
        }
        y
    }
}

impl Backward for Zinb<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let n_genes = back.shape(self.mu).features;
        let [d_mu, d_pi, d_theta] = self.slopes;
        self.dispersion.backward(d_theta, &gy, n_genes, back);
        back.send_weighted(self.mu, d_mu, &gy);
        back.send_weighted(self.pi, d_pi, &gy);
        back.recycle(gy);
    }
}

kernel! {
/// Every gene and cell as if its count were zero.
fn zeros(
    s, mu: &[f32], pi: &[f32], thetas: &BlockThetas<'_>,
    d_mu: &mut [f32], d_pi: &mut [f32], d_log_theta: &mut [f32], loss: &mut [f64; LANES],
) {
    const GROUP: usize = 64;
    let n_genes = mu.len() / LANES;
    let (mut th, mut inv) = ([1f32; LANES], [1f32; LANES]);
    for first in (0..n_genes).step_by(GROUP) {
        let mut sum = [0f32; LANES];
        for g in first..n_genes.min(first + GROUP) {
            thetas.lanes(s, g, &mut th, &mut inv);
            let row = g * LANES..(g + 1) * LANES;
            let (m, p) = (&mu[row.clone()], &pi[row.clone()]);
            let (dm, dp) = (&mut d_mu[row.clone()], &mut d_pi[row.clone()]);
            let dt = &mut d_log_theta[row];
            for l in 0..LANES {
                let r = m[l] * inv[l];
                let u = 1.0 + r;
                let inv_u = 1.0 / u;
                let ln_u = s.fma(r - (u - 1.0), inv_u, math::ln(s, u));
                let a = th[l] * ln_u;
                let t = -p[l] - a;
                let (e_pi, e_t) = (math::exp(s, -p[l].abs()), math::exp(s, -t.abs()));
                let both = 1.0 / ((1.0 + e_pi) * (1.0 + e_t));
                let (inv_pi, inv_t) = (both * (1.0 + e_t), both * (1.0 + e_pi));
                // s(−π) − s(t): the parts above zero differ by a or −π exactly, the rest is small.
                let above = (-p[l]).max(0.0).min(a);
                sum[l] += above + math::ln(s, (1.0 + e_pi) * inv_t);
                // The probability that this zero is the binomial's, and that of the component.
                let own = (if t > 0.0 { 1.0 } else { e_t }) * inv_t;
                let part = (if p[l] < 0.0 { 1.0 } else { e_pi }) * inv_pi;
                let share = th[l] * inv[l] * inv_u;
                dm[l] = own * share;
                dp[l] = own - part;
                dt[l] = own * th[l] * (ln_u - share * r);
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
    s, mu: &[f32], pi: &[f32], thetas: &BlockThetas<'_>, entries: (&[u32], &[u8], &[f32]),
    d_mu: &mut [f32], d_pi: &mut [f32], d_log_theta: &mut [f32], loss: &mut [f64; LANES],
) {
    let (genes, lanes, values) = entries;
    for ((genes, lanes), values) in genes.chunks(CHUNK).zip(lanes.chunks(CHUNK)).zip(values.chunks(CHUNK)) {
        let n = genes.len();
        // Gather. Places past the end repeat harmless numbers.
        let (mut m, mut p, mut th, mut x) = ([1f32; CHUNK], [0f32; CHUNK], [1f32; CHUNK], [1f32; CHUNK]);
        let mut gamma = [(0f64, 0f64); CHUNK];
        let mut lg_x = [0f64; CHUNK];
        thetas.gather(s, genes, lanes, &mut th, &mut gamma);
        for i in 0..n {
            let at = genes[i] as usize * LANES + lanes[i] as usize % LANES;
            m[i] = mu[at];
            p[i] = pi[at];
            x[i] = values[i];
            lg_x[i] = LnFactorials::table().of(x[i]);
        }
        let (mut lg, mut psi) = ([0f64; CHUNK], [0f64; CHUNK]);
        for i in 0..CHUNK {
            (lg[i], psi[i]) = math::lgamma_digamma(s, f64::from(x[i]) + f64::from(th[i]));
        }
        let mut add_loss = [0f64; CHUNK];
        let (mut add_mu, mut add_pi, mut add_theta) = ([0f32; CHUNK], [0f32; CHUNK], [0f32; CHUNK]);
        for i in 0..CHUNK {
            // The zero's part that this count does not have; a stored zero has all of it.
            let inv = 1.0 / (th[i] + EPSILON);
            let r = m[i] * inv;
            let ln_u = math::ln_1p(s, r);
            let share = th[i] * inv / (1.0 + r);
            let t = -p[i] - th[i] * ln_u;
            let present = if x[i] < 1e-8 { 0.0 } else { 1.0 };
            let rest = present * math::logistic(s, -t);
            let total = th[i] + m[i] + EPSILON;
            let me = m[i] + EPSILON;
            let ratio = -math::ln_1p(s, th[i] / me);
            add_loss[i] = (gamma[i].0 - lg[i]) + lg_x[i] + f64::from(present * math::softplus(s, -t))
                - f64::from(x[i] * ratio);
            add_mu[i] = s.fma(rest, share, -x[i] * (th[i] / (total * me)));
            add_pi[i] = rest;
            add_theta[i] = th[i] * (rest * (ln_u - share * r) + x[i] / total - (psi[i] - gamma[i].1) as f32);
        }
        for i in 0..n {
            let lane = lanes[i] as usize % LANES;
            let at = genes[i] as usize * LANES + lane;
            loss[lane] += add_loss[i];
            d_mu[at] += add_mu[i];
            d_pi[at] += add_pi[i];
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
    use crate::ops::Link;
    use crate::ops::check::{Check, sparse_counts};
    use crate::params::Axis;

    const CELLS: usize = 40;
    const GENES: usize = 5;

    fn softplus(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }

    fn zinb(x: f64, m: f64, t: f64, pi: f64) -> f64 {
        let (eps, lgamma) = (f64::from(EPSILON), |x: f64| math::lgamma_digamma(Fused, x).0);
        let log_t = (t + m + eps).ln();
        let at_zero = -pi + t * ((t + eps).ln() - log_t);
        if x == 0.0 {
            softplus(-pi) - softplus(at_zero)
        } else {
            let gammas = lgamma(x + t) - lgamma(t) - lgamma(x + 1.0);
            softplus(-pi) - at_zero - gammas - x * ((m + eps).ln() - log_t)
        }
    }

    fn check(per_cell: bool) {
        let (batch, dense) = sparse_counts(CELLS, GENES);
        let codes = Codes::new((0..CELLS as u32).map(|c| (c / 11) % 3).collect());
        let mut check = Check::new();
        let h = check.input("h", Shape::lanes(GENES, CELLS));
        let pi = check.input("pi", Shape::lanes(GENES, CELLS));
        let cell_theta = per_cell.then(|| check.input("theta", Shape::lanes(GENES, CELLS)));
        let log_theta = check.param("log_theta", &[(Axis::Condition, 3), (Axis::Gene, GENES)]);
        if per_cell {
            check.freeze(log_theta);
        } else {
            check.train_rows(log_theta, 1..3);
        }
        let twin_codes = codes.clone();
        check.twin(move |v| {
            let gene = |c: usize, g: usize| {
                let at = (c / LANES) * GENES * LANES + g * LANES + c % LANES;
                let t = match cell_theta {
                    Some(t) => v.input(t)[at],
                    None => v.param(log_theta)[twin_codes.codes[c] as usize * GENES + g],
                };
                zinb(dense[c * GENES + g], v.input(h)[at].exp(), t.exp(), v.input(pi)[at])
            };
            (0..CELLS).map(|c| (0..GENES).map(|g| gene(c, g)).sum()).collect()
        });
        check.run(|t, v| {
            let mu = t.mean_of(v.input(h), Link::Exp, &[]);
            let dispersion = match cell_theta {
                Some(theta) => Dispersion::PerCell(v.input(theta)),
                None => Dispersion::Grouped(v.param(log_theta), &codes),
            };
            t.zero_inflated_negative_binomial(mu, v.input(pi), dispersion, &batch)
        });
    }

    #[test]
    fn values_and_gradients() {
        check(false);
        check(true);
    }
}
