//! A value under every label, and the mean over labels.
//!
//! What depends on a cell and on a label it may have has rows in label order: row k·n + i is cell i
//! under label k. p[cell × label] are the labels' probabilities.

use crate::params::ParamId;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct EveryLabel {
    x: Var,
    y: Var,
    rows: ParamId,
}

struct MixLabels {
    p: Var,
    values: Var,
    y: Var,
}

struct CategoricalKl<'a> {
    p: Var,
    y: Var,
    prior: &'a [f32],
}

/// Probabilities below this have the logarithm of this.
const SMALLEST: f32 = 1e-30;

impl<'a> Tape<'a> {
    /// y[k·n + i, :] = x[i, :] + R[k, :]; `x` is [cell × hidden], `rows` R, [label × hidden].
    ///
    /// The first layer of a network that reads a cell and a one-hot label, for all labels at once.
    pub fn every_label(&mut self, x: Var, rows: ParamId) -> Var {
        let Shape { cells, features: width, layout } = self.shape(x);
        debug_assert_eq!(layout, Layout::ByCell);
        let labels = self.params().get(rows).rows();
        let shape = Shape::by_cell(labels * cells, width);
        let mut out = self.buffer(shape.len());
        let (values, r) = (self.value(x), self.params().values(rows));
        for (part, r) in out.chunks_exact_mut(cells * width).zip(r.chunks_exact(width)) {
            for (o, x) in part.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
                o.iter_mut().zip(x).zip(r).for_each(|((o, &x), &r)| *o = x + r);
            }
        }
        let y = self.push(shape, out, self.needs(x) || self.trains(rows));
        if self.needs(y) {
            self.record(EveryLabel { x, y, rows });
        }
        y
    }

    /// y[i] = Σ_k p[i, k] v[k·n + i], [cell × 1]; `values` is [label · cell × 1].
    pub fn mix_labels(&mut self, p: Var, values: Var) -> Var {
        let Shape { cells, features: labels, .. } = self.shape(p);
        debug_assert_eq!(self.shape(values).len(), labels * cells);
        let mut out = self.buffer(cells);
        let (probabilities, v) = (self.value(p), self.value(values));
        for (i, (o, p)) in out.iter_mut().zip(probabilities.chunks_exact(labels)).enumerate() {
            *o = p.iter().enumerate().map(|(k, &p)| p * v[k * cells + i]).sum();
        }
        let y = self.push(Shape::by_cell(cells, 1), out, self.needs(p) || self.needs(values));
        if self.needs(y) {
            self.record(MixLabels { p, values, y });
        }
        y
    }

    /// KL(p ‖ prior) = Σ_k p_k (ln p_k − ln prior_k) of each cell, [cell × 1]; `p` is [cell × label].
    pub fn categorical_kl(&mut self, p: Var, prior: &'a [f32]) -> Var {
        let Shape { cells, features: labels, .. } = self.shape(p);
        debug_assert_eq!(prior.len(), labels);
        let mut out = self.buffer(cells);
        for (o, p) in out.iter_mut().zip(self.value(p).chunks_exact(labels)) {
            *o = p.iter().zip(prior).map(|(&p, &u)| p * (p.max(SMALLEST) / u).ln()).sum();
        }
        let y = self.push(Shape::by_cell(cells, 1), out, self.needs(p));
        if self.needs(y) {
            self.record(CategoricalKl { p, y, prior });
        }
        y
    }
}

impl Backward for EveryLabel {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let Shape { cells, features: width, .. } = back.shape(self.x);
        if back.trains(self.rows) {
            let trainable = back.params.get(self.rows).trainable.clone();
            let out = back.tensor(self.rows);
            for k in trainable.into_iter().flatten() {
                let own = &gy[k * cells * width..(k + 1) * cells * width];
                crate::ops::linear::add_rows_into(own, &mut out[k * width..(k + 1) * width]);
            }
        }
        if back.needs(self.x) {
            let mut gx = back.take_or_zero(self.x);
            for part in gy.chunks_exact(cells * width) {
                gx.iter_mut().zip(part).for_each(|(o, &g)| *o += g);
            }
            back.put(self.x, gx);
        }
        back.recycle(gy);
    }
}

impl Backward for MixLabels {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let Shape { cells, features: labels, .. } = back.shape(self.p);
        let (p, v) = (back.value(self.p), back.value(self.values));
        if back.needs(self.p) {
            let mut g = back.take_or_zero(self.p);
            for (i, g) in g.chunks_exact_mut(labels).enumerate() {
                g.iter_mut().enumerate().for_each(|(k, o)| *o += gy[i] * v[k * cells + i]);
            }
            back.put(self.p, g);
        }
        if back.needs(self.values) {
            let mut g = back.take_or_zero(self.values);
            for (k, g) in g.chunks_exact_mut(cells).enumerate() {
                g.iter_mut().enumerate().for_each(|(i, o)| *o += gy[i] * p[i * labels + k]);
            }
            back.put(self.values, g);
        }
        back.recycle(gy);
    }
}

impl Backward for CategoricalKl<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let labels = self.prior.len();
        let p = back.value(self.p);
        let mut g = back.take_or_zero(self.p);
        for ((g, p), &gy) in g.chunks_exact_mut(labels).zip(p.chunks_exact(labels)).zip(&gy) {
            for ((o, &p), &u) in g.iter_mut().zip(p).zip(self.prior) {
                *o += gy * (1.0 + (p.max(SMALLEST) / u).ln());
            }
        }
        back.put(self.p, g);
        back.recycle(gy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;
    use crate::params::Axis;

    #[test]
    fn rows_under_every_label() {
        for train in [0..3usize, 1..2] {
            let mut check = Check::new();
            let x = check.input("x", Shape::by_cell(4, 5));
            let r = check.param("r", &[(Axis::Label, 3), (Axis::Hidden, 5)]);
            check.train_rows(r, train);
            check.twin(move |v| (0..60).map(|at| v.input(x)[at % 20] + v.param(r)[at / 20 * 5 + at % 5]).collect());
            check.run(|t, v| t.every_label(v.input(x), v.param(r)));
        }
    }

    #[test]
    fn mean_over_labels() {
        let mut check = Check::new();
        let p = check.input("p", Shape::by_cell(4, 3));
        let x = check.input("x", Shape::by_cell(12, 1));
        check.twin(move |v| {
            (0..4).map(|i| (0..3).map(|k| v.input(p)[i * 3 + k] * v.input(x)[k * 4 + i]).sum()).collect()
        });
        check.run(|t, v| t.mix_labels(v.input(p), v.input(x)));
    }

    #[test]
    fn divergence_of_labels_and_a_certain_one() {
        let prior = [0.5, 0.3, 0.2f32];
        let mut check = Check::new();
        let x = check.input("x", Shape::by_cell(4, 3));
        check.set_input(x, &[0.3, -1.0, 2.0, 0.0, 0.0, 0.0, 200.0, 0.0, -3.0, 1.0, 1.5, 0.1]);
        check.twin(move |v| {
            let cell = |x: &[f64]| {
                let total: f64 = x.iter().map(|v| v.exp()).sum();
                let term = |(x, u): (&f64, f32)| (x.exp() / total) * (x - total.ln() - f64::from(u).ln());
                x.iter().zip(prior).map(term).sum::<f64>()
            };
            v.input(x).chunks(3).map(cell).collect()
        });
        check.run(|t, v| {
            let p = t.softmax(v.input(x));
            t.categorical_kl(p, &prior)
        });
    }
}
