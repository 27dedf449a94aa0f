//! Labels from logits, [cell × label]: softmax, and cross entropy with known labels.
//!
//! p_k = e^{l_k} / Σ e^l,  loss = −mean over labelled cells of ln p_target.

use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::ops::slope::Slope;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Softmax {
    x: Var,
    y: Var,
}

impl Tape<'_> {
    /// p = softmax of each cell's features, [cell × feature].
    pub fn softmax(&mut self, x: Var) -> Var {
        let shape = self.shape(x);
        debug_assert_eq!(shape.layout, Layout::ByCell);
        let mut out = self.buffer(shape.len());
        probabilities(self.value(x), shape.features, &mut out);
        let y = self.push(shape, out, self.needs(x));
        if self.needs(y) {
            self.record(Softmax { x, y });
        }
        y
    }

    /// −ln softmax(logits)[target], mean over the labelled cells, one value; 0 when there are none.
    ///
    /// `logits` are [cell × label]; a target at or past the number of labels means unlabelled.
    pub fn cross_entropy(&mut self, logits: Var, targets: &[u32]) -> Var {
        let Shape { cells, features: labels, layout } = self.shape(logits);
        debug_assert_eq!(layout, Layout::ByCell);
        debug_assert_eq!(targets.len(), cells);
        let mut slope = self.buffer(cells * labels);
        let x = self.value(logits);
        probabilities(x, labels, &mut slope);
        let labelled = targets.iter().filter(|&&t| (t as usize) < labels).count();
        let each = 1.0 / labelled.max(1) as f32;
        let mut total = 0f64;
        for ((p, x), &target) in slope.chunks_exact_mut(labels).zip(x.chunks_exact(labels)).zip(targets) {
            let Some(own) = x.get(target as usize) else {
                p.fill(0.0);
                continue;
            };
            let top = x.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
            total += x.iter().map(|&v| f64::from(v - top).exp()).sum::<f64>().ln() - f64::from(own - top);
            p[target as usize] -= 1.0;
            p.iter_mut().for_each(|v| *v *= each);
        }
        let mut out = self.buffer(1);
        out[0] = (total * f64::from(each)) as f32;
        let y = self.push(Shape::by_cell(1, 1), out, self.needs(logits));
        if self.needs(y) {
            self.record(Slope { x: logits, y, slope });
        } else {
            self.recycle(slope);
        }
        y
    }
}

impl Backward for Softmax {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let width = back.shape(self.y).features;
        let p = back.value(self.y);
        let mut g = back.take_or_zero(self.x);
        for ((g, p), gy) in g.chunks_exact_mut(width).zip(p.chunks_exact(width)).zip(gy.chunks_exact(width)) {
            let mean: f32 = p.iter().zip(gy).map(|(&p, &g)| p * g).sum();
            g.iter_mut().zip(p).zip(gy).for_each(|((o, &p), &g)| *o += p * (g - mean));
        }
        back.put(self.x, g);
        back.recycle(gy);
    }
}

kernel! {
fn probabilities(s, x: &[f32], width: usize, out: &mut [f32]) {
    for (x, o) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mut top = f32::NEG_INFINITY;
        for &v in x {
            top = if v > top { v } else { top };
        }
        for (o, &v) in o.iter_mut().zip(x) {
            *o = math::exp(s, v - top);
        }
        let total: f32 = o.iter().sum();
        o.iter_mut().for_each(|o| *o /= total);
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;

    fn softmax(x: &[f64]) -> Vec<f64> {
        let total: f64 = x.iter().map(|v| v.exp()).sum();
        x.iter().map(|v| v.exp() / total).collect()
    }

    #[test]
    fn probabilities_and_gradients() {
        let mut check = Check::new();
        let x = check.input("x", Shape::by_cell(6, 5));
        check.twin(move |v| v.input(x).chunks(5).flat_map(softmax).collect());
        check.run(|t, v| t.softmax(v.input(x)));
    }

    #[test]
    fn cross_entropy_skips_unlabelled_cells() {
        for targets in [[0u32, 5, 3, 1, 5, 3], [5; 6]] {
            let mut check = Check::new();
            let x = check.input("x", Shape::by_cell(6, 5));
            check.twin(move |v| {
                let known: Vec<_> = v.input(x).chunks(5).zip(targets).filter(|c| c.1 < 5).collect();
                let total: f64 = known.iter().map(|(x, t)| -softmax(x)[*t as usize].ln()).sum();
                vec![total / known.len().max(1) as f64]
            });
            check.run(|t, v| t.cross_entropy(v.input(x), &targets));
        }
    }
}
