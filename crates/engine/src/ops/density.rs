//! Normal densities and divergences with means and variances from a network, v = exp(λ) + ε.
//!
//! −ln N(x; m, v) = ½ Σ (ln 2π + ln v + (x − m)²/v),
//! KL(N(m, v) ‖ N(m₀, v₀)) = ½ Σ (ln v₀ − ln v + (v + (m − m₀)²)/v₀ − 1); all [feature × cell].

use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Density {
    x: Var,
    mean: Var,
    log_var: Var,
    y: Var,
    epsilon: f32,
}

struct Divergence {
    mean: Var,
    log_var: Var,
    y: Var,
    epsilon: f32,
    prior: (Vec<f32>, Vec<f32>),
}

impl Tape<'_> {
    /// −ln N(x; m, exp(λ) + ε) of each cell, summed over features, [cell × 1].
    ///
    /// `mean` and `log_var` may have a multiple of the cells of `x`: column k·n + i is then the
    /// density of cell i under label k.
    pub fn negative_log_normal(&mut self, x: Var, mean: Var, log_var: Var, epsilon: f32) -> Var {
        let shape = self.shape(mean);
        debug_assert_eq!((shape.layout, self.shape(x).layout), (Layout::ByFeature, Layout::ByFeature));
        debug_assert_eq!(shape.cells % self.shape(x).cells, 0);
        let mut out = self.buffer(shape.cells);
        let n = self.shape(x).cells;
        density(self.value(x), n, self.value(mean), self.value(log_var), epsilon, &mut out);
        let needs = self.needs(x) || self.needs(mean) || self.needs(log_var);
        let y = self.push(Shape::by_cell(shape.cells, 1), out, needs);
        if self.needs(y) {
            self.record(Density { x, mean, log_var, y, epsilon });
        }
        y
    }

    /// KL(N(m, exp(λ) + ε) ‖ N(m₀, v₀)) of each cell, [cell × 1]; the prior's mean and variance are
    /// given for each value, in the order of `mean`.
    pub fn kl_normal(
        &mut self,
        mean: Var,
        log_var: Var,
        epsilon: f32,
        prior_mean: Vec<f32>,
        prior_var: Vec<f32>,
    ) -> Var {
        let shape = self.shape(mean);
        debug_assert_eq!(shape.layout, Layout::ByFeature);
        debug_assert_eq!((prior_mean.len(), prior_var.len()), (shape.len(), shape.len()));
        let mut out = self.buffer(shape.cells);
        divergence(self.value(mean), self.value(log_var), epsilon, &prior_mean, &prior_var, &mut out);
        let needs = self.needs(mean) || self.needs(log_var);
        let y = self.push(Shape::by_cell(shape.cells, 1), out, needs);
        if self.needs(y) {
            self.record(Divergence { mean, log_var, y, epsilon, prior: (prior_mean, prior_var) });
        }
        y
    }
}

impl Backward for Density {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let n = back.shape(self.x).cells;
        let inputs = (back.value(self.x), back.value(self.mean), back.value(self.log_var));
        let len = inputs.1.len();
        let (mut by_mean, mut by_log_var) = (back.buffer(len), back.buffer(len));
        density_slopes(inputs.0, n, inputs.1, inputs.2, self.epsilon, &gy, &mut by_mean, &mut by_log_var);
        if back.needs(self.x) {
            let mut g = back.take_or_zero(self.x);
            for (g, row) in g.chunks_exact_mut(n).zip(by_mean.chunks_exact(gy.len())) {
                for part in row.chunks_exact(n) {
                    g.iter_mut().zip(part).for_each(|(o, &v)| *o -= v);
                }
            }
            back.put(self.x, g);
        }
        for (var, slope) in [(self.mean, &by_mean), (self.log_var, &by_log_var)] {
            if back.needs(var) {
                let mut g = back.take_or_zero(var);
                g.iter_mut().zip(slope).for_each(|(o, &v)| *o += v);
                back.put(var, g);
            }
        }
        for buffer in [by_mean, by_log_var, gy] {
            back.recycle(buffer);
        }
    }
}

impl Backward for Divergence {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let (prior_mean, prior_var) = &self.prior;
        let cells = gy.len();
        if back.needs(self.mean) {
            let mean = back.value(self.mean);
            let mut g = back.take_or_zero(self.mean);
            for (at, o) in g.iter_mut().enumerate() {
                *o += gy[at % cells] * (mean[at] - prior_mean[at]) / prior_var[at];
            }
            back.put(self.mean, g);
        }
        if back.needs(self.log_var) {
            let mut g = back.take_or_zero(self.log_var);
            divergence_slope(back.value(self.log_var), self.epsilon, prior_var, &gy, &mut g);
            back.put(self.log_var, g);
        }
        back.recycle(gy);
    }
}

kernel! {
fn density(s, x: &[f32], n: usize, mean: &[f32], log_var: &[f32], epsilon: f32, out: &mut [f32]) {
    const LN_2PI: f32 = 1.837_877_1;
    let cells = out.len();
    out.fill(0.0);
    for ((x, m), l) in x.chunks_exact(n).zip(mean.chunks_exact(cells)).zip(log_var.chunks_exact(cells)) {
        for ((o, m), l) in out.chunks_exact_mut(n).zip(m.chunks_exact(n)).zip(l.chunks_exact(n)) {
            for i in 0..n {
                let v = math::exp(s, l[i]) + epsilon;
                let d = x[i] - m[i];
                o[i] += 0.5 * (LN_2PI + math::ln(s, v) + d * d / v);
            }
        }
    }
}
}

kernel! {
/// d/dm = −(x − m)/v, d/dλ = ½ exp(λ)/v (1 − (x − m)²/v), each times the cell's gradient.
fn density_slopes(
    s, x: &[f32], n: usize, mean: &[f32], log_var: &[f32], epsilon: f32, gy: &[f32],
    by_mean: &mut [f32], by_log_var: &mut [f32],
) {
    let cells = gy.len();
    for (f, x) in x.chunks_exact(n).enumerate() {
        for (k, gy) in gy.chunks_exact(n).enumerate() {
            let at = f * cells + k * n..f * cells + (k + 1) * n;
            let (m, l) = (&mean[at.clone()], &log_var[at.clone()]);
            let (dm, dl) = (&mut by_mean[at.clone()], &mut by_log_var[at]);
            for i in 0..n {
                let e = math::exp(s, l[i]);
                let inverse = 1.0 / (e + epsilon);
                let z = (x[i] - m[i]) * inverse;
                dm[i] = -gy[i] * z;
                dl[i] = gy[i] * 0.5 * e * (inverse - z * z);
            }
        }
    }
}
}

kernel! {
fn divergence(s, mean: &[f32], log_var: &[f32], epsilon: f32, m0: &[f32], v0: &[f32], out: &mut [f32]) {
    let cells = out.len();
    out.fill(0.0);
    for first in (0..mean.len()).step_by(cells) {
        let row = first..first + cells;
        let (m, l, m0, v0) = (&mean[row.clone()], &log_var[row.clone()], &m0[row.clone()], &v0[row]);
        for (i, o) in out.iter_mut().enumerate() {
            let v = math::exp(s, l[i]) + epsilon;
            let d = m[i] - m0[i];
            *o += 0.5 * (math::ln(s, v0[i]) - math::ln(s, v) + s.fma(d, d, v) / v0[i] - 1.0);
        }
    }
}
}

kernel! {
/// d/dλ = ½ exp(λ) (1/v₀ − 1/v)
fn divergence_slope(s, log_var: &[f32], epsilon: f32, v0: &[f32], gy: &[f32], out: &mut [f32]) {
    let cells = gy.len();
    for ((o, l), v0) in out.chunks_exact_mut(cells).zip(log_var.chunks_exact(cells)).zip(v0.chunks_exact(cells)) {
        for i in 0..cells {
            let e = math::exp(s, l[i]);
            o[i] += gy[i] * 0.5 * e * (1.0 / v0[i] - 1.0 / (e + epsilon));
        }
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;

    #[test]
    fn density_of_cells_under_every_label() {
        let (n, d, cells) = (4, 3, 12);
        let mut check = Check::new();
        let x = check.input("x", Shape::by_feature(d, n));
        let m = check.input("m", Shape::by_feature(d, cells));
        let l = check.input("l", Shape::by_feature(d, cells));
        check.twin(move |v| {
            let term = |f: usize, c: usize| {
                let var = v.input(l)[f * cells + c].exp() + 1e-4;
                let z = v.input(x)[f * n + c % n] - v.input(m)[f * cells + c];
                0.5 * (std::f64::consts::TAU.ln() + var.ln() + z * z / var)
            };
            (0..cells).map(|c| (0..d).map(|f| term(f, c)).sum()).collect()
        });
        check.run(|t, v| t.negative_log_normal(v.input(x), v.input(m), v.input(l), 1e-4));
    }

    #[test]
    fn divergence_from_a_given_prior() {
        let (d, cells) = (2, 5);
        let m0: Vec<f32> = (0..10).map(|i| i as f32 * 0.3 - 1.0).collect();
        let v0: Vec<f32> = (0..10).map(|i| 0.4 + i as f32 * 0.2).collect();
        let mut check = Check::new();
        let m = check.input("m", Shape::by_feature(d, cells));
        let l = check.input("l", Shape::by_feature(d, cells));
        let (tm, tv) = (m0.clone(), v0.clone());
        check.twin(move |v| {
            let term = |at: usize| {
                let (var, v0) = (v.input(l)[at].exp() + 1e-4, f64::from(tv[at]));
                let z = v.input(m)[at] - f64::from(tm[at]);
                0.5 * ((v0 / var).ln() + (var + z * z) / v0 - 1.0)
            };
            (0..cells).map(|c| (0..d).map(|f| term(f * cells + c)).sum()).collect()
        });
        check.run(|t, v| t.kl_normal(v.input(m), v.input(l), 1e-4, m0.clone(), v0.clone()));
    }
}
