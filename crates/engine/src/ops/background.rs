//! The background of proteins: b = α + β · noise, and what its loss adds, all [cell × protein].
//!
//! β = link(head) + ε;
//! KL(N(α, β²) ‖ N(a, e^2r)) = r − ln β + (β² + (α − a)²)/(2 e^2r) − ½ for observed proteins, with
//! a and r [panel × protein];
//! −ln LogNormal(e^c; 0, 1) = c + ½ c² + ½ ln 2π with c [batch × protein];
//! weight · ln(1 + e^−m) for mixing logits m.

use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::batch::Codes;
use crate::ops::Link;
use crate::ops::protein::{gather_rows, send_rows};
use crate::params::ParamId;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Deviation {
    x: Var,
    y: Var,
    slope: Vec<f32>,
}

struct Sample {
    mean: Var,
    deviation: Var,
    y: Var,
    noise: Vec<f32>,
}

struct BackgroundKl<'a> {
    mean: Var,
    deviation: Var,
    y: Var,
    prior: (ParamId, ParamId),
    panels: &'a Codes,
    /// By the mean, the deviation and the prior's log deviation.
    slopes: [Vec<f32>; 3],
}

struct LogNormal<'a> {
    log: ParamId,
    codes: &'a Codes,
    y: Var,
}

struct LogisticPenalty {
    x: Var,
    y: Var,
    weight: f32,
}

impl<'a> Tape<'a> {
    /// β = link(x) + floor, value by value, in the layout of `x`; the link is softplus or exp.
    pub fn deviation(&mut self, x: Var, link: Link, floor: f32) -> Var {
        debug_assert!(matches!(link, Link::Softplus | Link::Exp));
        let shape = self.shape(x);
        let (mut out, mut slope) = (self.buffer(shape.len()), self.buffer(shape.len()));
        if link == Link::Exp {
            exp(self.value(x), floor, &mut out, &mut slope);
        } else {
            softplus(self.value(x), floor, &mut out, &mut slope);
        }
        let y = self.push(shape, out, self.needs(x));
        if self.needs(y) {
            self.record(Deviation { x, y, slope });
        } else {
            self.recycle(slope);
        }
        y
    }

    /// mean + deviation · noise, value by value, noise from N(0, 1).
    pub fn normal_sample(&mut self, mean: Var, deviation: Var) -> Var {
        let shape = self.shape(mean);
        debug_assert_eq!(self.shape(deviation), shape);
        let mut noise = self.buffer(shape.len());
        self.draw_normal(&mut noise);
        let mut out = self.buffer(shape.len());
        let terms = self.value(mean).iter().zip(self.value(deviation)).zip(&noise);
        out.iter_mut().zip(terms).for_each(|(o, ((&m, &d), &n))| *o = m + d * n);
        let y = self.push(shape, out, self.needs(mean) || self.needs(deviation));
        if self.needs(y) {
            self.record(Sample { mean, deviation, y, noise });
        } else {
            self.recycle(noise);
        }
        y
    }

    /// KL(N(mean, deviation²) ‖ N(a, e^2r)) of each cell, summed over the proteins its panel
    /// measured, [cell × 1]; `prior` is a and r, [panel × protein], `observed` the same shape, 1 or 0.
    pub fn background_kl(
        &mut self,
        mean: Var,
        deviation: Var,
        prior: (ParamId, ParamId),
        observed: &[f32],
        panels: &'a Codes,
    ) -> Var {
        let Shape { cells, features: width, layout } = self.shape(mean);
        debug_assert_eq!(layout, Layout::ByCell);
        let mut slopes = [0; 3].map(|_| self.buffer(cells * width));
        let mut out = self.buffer(cells);
        let (a, r) = (self.params().values(prior.0), self.params().values(prior.1));
        let (m, d) = (self.value(mean), self.value(deviation));
        let [by_mean, by_deviation, by_prior] = &mut slopes;
        for (cell, o) in out.iter_mut().enumerate() {
            let mut total = 0f64;
            for p in 0..width {
                let (at, row) = (cell * width + p, panels.codes[cell] as usize * width + p);
                if observed[row] == 0.0 {
                    (by_mean[at], by_deviation[at], by_prior[at]) = (0.0, 0.0, 0.0);
                    continue;
                }
                let precision = (-2.0 * r[row]).exp();
                let away = m[at] - a[row];
                let spread = (d[at] * d[at] + away * away) * precision;
                total += f64::from(r[row] - d[at].ln() + 0.5 * spread - 0.5);
                by_mean[at] = away * precision;
                by_deviation[at] = d[at] * precision - 1.0 / d[at];
                by_prior[at] = 1.0 - spread;
            }
            *o = total as f32;
        }
        let needs = self.needs(mean) || self.needs(deviation) || self.trains(prior.0) || self.trains(prior.1);
        let y = self.push(Shape::by_cell(cells, 1), out, needs);
        if self.needs(y) {
            self.record(BackgroundKl { mean, deviation, y, prior, panels, slopes });
        } else {
            slopes.into_iter().for_each(|s| self.recycle(s));
        }
        y
    }

    /// −ln LogNormal(e^c; 0, 1) of each cell, summed over features, [cell × 1]; `log` is c,
    /// [group × feature], with each cell's group.
    pub fn log_normal_prior(&mut self, log: ParamId, codes: &'a Codes) -> Var {
        const HALF_LN_2PI: f32 = 0.918_938_5;
        let width = self.params().get(log).row_len();
        let rows: Vec<f32> = self
            .params()
            .values(log)
            .chunks_exact(width)
            .map(|row| row.iter().map(|&c| c + 0.5 * c * c + HALF_LN_2PI).sum())
            .collect();
        let mut out = self.buffer(codes.codes.len());
        out.iter_mut().zip(&codes.codes).for_each(|(o, &code)| *o = rows[code as usize]);
        let y = self.push(Shape::by_cell(codes.codes.len(), 1), out, self.trains(log));
        if self.needs(y) {
            self.record(LogNormal { log, codes, y });
        }
        y
    }

    /// −weight · ln(1/(1 + e^−x)) of each cell, summed over features, [cell × 1]; `x` by cell.
    pub fn logistic_penalty(&mut self, x: Var, weight: f32) -> Var {
        let Shape { cells, features: width, layout } = self.shape(x);
        debug_assert_eq!(layout, Layout::ByCell);
        let mut out = self.buffer(cells);
        penalty(self.value(x), width, weight, &mut out);
        let y = self.push(Shape::by_cell(cells, 1), out, self.needs(x));
        if self.needs(y) {
            self.record(LogisticPenalty { x, y, weight });
        }
        y
    }
}

impl Backward for Deviation {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let mut g = back.take_or_zero(self.x);
        g.iter_mut().zip(&gy).zip(&self.slope).for_each(|((o, &g), &s)| *o += g * s);
        back.put(self.x, g);
        back.recycle(gy);
        back.recycle(self.slope);
    }
}

impl Backward for Sample {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        if back.needs(self.mean) {
            let mut g = back.take_or_zero(self.mean);
            g.iter_mut().zip(&gy).for_each(|(o, &g)| *o += g);
            back.put(self.mean, g);
        }
        if back.needs(self.deviation) {
            let mut g = back.take_or_zero(self.deviation);
            g.iter_mut().zip(&gy).zip(&self.noise).for_each(|((o, &g), &n)| *o += g * n);
            back.put(self.deviation, g);
        }
        back.recycle(gy);
        back.recycle(self.noise);
    }
}

impl Backward for BackgroundKl<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let [mut by_mean, by_deviation, by_prior] = self.slopes;
        send_rows(self.mean, &by_mean, &gy, back);
        send_rows(self.deviation, &by_deviation, &gy, back);
        gather_rows(self.prior.1, self.panels, &by_prior, &gy, back);
        by_mean.iter_mut().for_each(|v| *v = -*v);
        gather_rows(self.prior.0, self.panels, &by_mean, &gy, back);
        for buffer in [by_mean, by_deviation, by_prior, gy] {
            back.recycle(buffer);
        }
    }
}

impl Backward for LogNormal<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let param = back.params.get(self.log);
        let width = param.row_len();
        let mut by_row = vec![0f32; param.rows()];
        self.codes.codes.iter().zip(&gy).for_each(|(&code, &g)| by_row[code as usize] += g);
        for row in param.trainable.iter().cloned().flatten() {
            let span = row * width..(row + 1) * width;
            let out = &mut back.tensor(self.log)[span.clone()];
            out.iter_mut().zip(&param.values()[span]).for_each(|(o, &c)| *o += by_row[row] * (1.0 + c));
        }
        back.recycle(gy);
    }
}

impl Backward for LogisticPenalty {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let mut g = back.take_or_zero(self.x);
        penalty_backward(back.value(self.x), self.weight, &gy, &mut g);
        back.put(self.x, g);
        back.recycle(gy);
    }
}

kernel! {
fn exp(s, x: &[f32], floor: f32, out: &mut [f32], slope: &mut [f32]) {
    for ((o, d), &x) in out.iter_mut().zip(slope).zip(x) {
        *d = math::exp(s, x);
        *o = *d + floor;
    }
}
}

kernel! {
fn softplus(s, x: &[f32], floor: f32, out: &mut [f32], slope: &mut [f32]) {
    for ((o, d), &x) in out.iter_mut().zip(slope).zip(x) {
        *o = math::softplus(s, x) + floor;
        *d = math::logistic(s, x);
    }
}
}

kernel! {
fn penalty(s, x: &[f32], width: usize, weight: f32, out: &mut [f32]) {
    for (o, x) in out.iter_mut().zip(x.chunks_exact(width)) {
        *o = 0.0;
        for &x in x {
            *o = s.fma(weight, math::softplus(s, -x), *o);
        }
    }
}
}

kernel! {
fn penalty_backward(s, x: &[f32], weight: f32, gy: &[f32], out: &mut [f32]) {
    let width = x.len() / gy.len();
    for ((o, x), &g) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(gy) {
        for (o, &x) in o.iter_mut().zip(x) {
            *o -= g * weight * math::logistic(s, -x);
        }
    }
}
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::random::Key;

    use super::*;
    use crate::ops::check::Check;
    use crate::params::Axis;
    use crate::tape::Noise;

    #[test]
    fn sample_with_either_deviation() {
        for link in [Link::Softplus, Link::Exp] {
            let mut noise = vec![0f32; 12];
            Key::new(4).fill_normal(&mut noise);
            let mut check = Check::new();
            check.noise = Noise::Given(vec![noise.clone()]);
            let m = check.input("m", Shape::by_cell(4, 3));
            let h = check.input("h", Shape::by_cell(4, 3));
            check.twin(move |v| {
                let beta = |h: f64| if link == Link::Exp { h.exp() } else { h.exp().ln_1p() };
                (0..12).map(|i| v.input(m)[i] + (beta(v.input(h)[i]) + 1e-8) * f64::from(noise[i])).collect()
            });
            check.run(|t, v| {
                let deviation = t.deviation(v.input(h), link, 1e-8);
                t.normal_sample(v.input(m), deviation)
            });
        }
    }

    #[test]
    fn divergence_of_observed_proteins() {
        let (cells, width) = (7, 3);
        let panels = Codes::new((0..cells as u32).map(|c| c % 2).collect());
        let observed = [1.0, 0.0, 1.0, 1.0, 1.0, 1.0];
        let mut check = Check::new();
        let m = check.input("m", Shape::by_cell(cells, width));
        let h = check.input("h", Shape::by_cell(cells, width));
        let a = check.param("a", &[(Axis::Condition, 2), (Axis::Protein, width)]);
        let r = check.param("r", &[(Axis::Condition, 2), (Axis::Protein, width)]);
        check.train_rows(a, 1..2);
        check.twin(move |v| {
            let term = |at: usize| {
                let row = (at / width) % 2 * width + at % width;
                let (beta, r, away) = (v.input(h)[at].exp(), v.param(r)[row], v.input(m)[at] - v.param(a)[row]);
                let kl = r - beta.ln() + (beta * beta + away * away) / (2.0 * (2.0 * r).exp()) - 0.5;
                if observed[row] > 0.0 { kl } else { 0.0 }
            };
            (0..cells).map(|c| (0..width).map(|p| term(c * width + p)).sum()).collect()
        });
        check.run(|t, v| {
            let deviation = t.deviation(v.input(h), Link::Exp, 0.0);
            t.background_kl(v.input(m), deviation, (v.param(a), v.param(r)), &observed, &panels)
        });
    }

    #[test]
    fn efficiency_prior_and_mixing_penalty() {
        let codes = Codes::new(vec![0, 2, 2, 1]);
        let mut check = Check::new();
        let x = check.input("x", Shape::by_cell(4, 3));
        let c = check.param("c", &[(Axis::Condition, 3), (Axis::Protein, 3)]);
        check.train_rows(c, 1..3);
        let own = codes.codes.clone();
        check.twin(move |v| {
            let cell = |i: usize| {
                let prior = |c: &f64| c + 0.5 * c * c + 0.5 * std::f64::consts::TAU.ln();
                let row = own[i] as usize * 3..own[i] as usize * 3 + 3;
                let penalty = |x: &f64| 0.3 * (-x).exp().ln_1p();
                v.param(c)[row].iter().map(prior).sum::<f64>()
                    + v.input(x)[i * 3..i * 3 + 3].iter().map(penalty).sum::<f64>()
            };
            (0..4).map(cell).collect()
        });
        check.run(|t, v| {
            let prior = t.log_normal_prior(v.param(c), &codes);
            let penalty = t.logistic_penalty(v.input(x), 0.3);
            t.add(prior, penalty)
        });
    }
}
