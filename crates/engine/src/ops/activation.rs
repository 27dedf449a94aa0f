//! Hidden units.  h = dropout(relu(x)), or h = dropout(relu(n)) of the layer norm n = (x − m)/√(v + ε), m and v over a
//! cell's features, without affine terms.
//!
//! In one pass over a cell's features each way: what stands between is neither written nor read again.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;

use crate::tape::{Back, Backward, Layout, Tape, Var};

const EPSILON: f32 = 1e-5;
/// Cells a task.
const CELLS: usize = 64;

struct Activation {
    x: Var,
    y: Var,
    /// What dropout multiplies by where it keeps a value.
    keep: f32,
    /// Mean and 1/√(v + ε) of each cell; none without a norm.
    moments: Vec<f32>,
}

impl Tape<'_> {
    /// h = dropout(max(x, 0)), in x's layout.
    ///
    /// Dropout acts in training only, with noise from a key: it drops each value with probability `dropout` and divides
    /// the others by 1 − `dropout`.
    pub fn relu(&mut self, x: Var, dropout: f32) -> Var {
        self.activation(x, false, dropout)
    }

    /// h = dropout(max(n, 0)), n = (x − mean)/√(variance + 1e-5) for each cell, [cell × hidden]; dropout as in
    /// [`Tape::relu`].
    pub fn layer_norm_relu(&mut self, x: Var, dropout: f32) -> Var {
        debug_assert_eq!(self.shape(x).layout, Layout::ByCell);
        self.activation(x, true, dropout)
    }

    fn activation(&mut self, x: Var, norm: bool, dropout: f32) -> Var {
        let shape = self.shape(x);
        let len = shape.len();
        let key = if dropout > 0.0 { self.dropout_key() } else { None };
        let mut out = self.buffer(len);
        if let Some(key) = key {
            key.fill_dropout(dropout, &mut out);
        }
        let (drops, keep) = if key.is_some() { (true, 1.0 / (1.0 - dropout)) } else { (false, 1.0) };
        let mut moments = if norm { self.buffer(2 * shape.cells) } else { Vec::new() };
        let size = (CELLS * shape.features).max(1);
        let tasks = out.par_chunks_mut(size).zip(self.value(x).par_chunks(size));
        if norm {
            let tasks = tasks.zip(moments.par_chunks_mut(2 * CELLS));
            tasks.for_each(|((h, x), moments)| normalised(x, drops, shape.features, h, moments));
        } else {
            tasks.for_each(|(h, x)| rectified(x, drops, h));
        }
        let y = self.push(shape, out, self.needs(x));
        if self.needs(y) {
            self.record(Activation { x, y, keep, moments });
        } else {
            self.recycle(moments);
        }
        y
    }
}

impl Backward for Activation {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(mut g) = back.take(self.y) else { return };
        let width = back.shape(self.y).features;
        let size = (CELLS * width).max(1);
        let tasks = g.par_chunks_mut(size).zip(back.value(self.y).par_chunks(size));
        if self.moments.is_empty() {
            tasks.for_each(|(g, h)| through_relu(h, self.keep, g));
        } else {
            let tasks = tasks.zip(back.value(self.x).par_chunks(size)).zip(self.moments.par_chunks(2 * CELLS));
            tasks.for_each(|(((g, h), x), moments)| through_norm(h, x, moments, self.keep, width, g));
        }
        back.give(self.x, g);
        back.recycle(self.moments);
    }
}

/// Partial sums that a cell's features are added in, so that the compiler can vectorise.
const PARTS: usize = 32;

/// Σ of the partial sums, in `f64`.
#[inline(always)]
fn sum(parts: &[f32; PARTS]) -> f32 {
    let mut sums = [0f64; PARTS / 2];
    for i in 0..PARTS / 2 {
        sums[i] = f64::from(parts[i]) + f64::from(parts[i + PARTS / 2]);
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
    }
    sums[0] as f32
}

kernel! {
/// h becomes max(x, 0); times what it held, where it `drops`.
fn rectified(s, x: &[f32], drops: bool, h: &mut [f32]) {
    for (h, &x) in h.iter_mut().zip(x) {
        *h = if drops { *h } else { 1.0 } * if x > 0.0 { x } else { 0.0 };
    }
}
}

kernel! {
/// h becomes max(n, 0); times what it held, where it `drops`. `moments` become mean and scale of each cell.
fn normalised(s, x: &[f32], drops: bool, width: usize, h: &mut [f32], moments: &mut [f32]) {
    let n = width as f32;
    let cells = x.chunks_exact(width).zip(h.chunks_exact_mut(width));
    for ((x, h), moments) in cells.zip(moments.chunks_exact_mut(2)) {
        let mut parts = [0f32; PARTS];
        for chunk in x.chunks(PARTS) {
            for (p, &v) in parts.iter_mut().zip(chunk) {
                *p += v;
            }
        }
        let mean = sum(&parts) / n;
        let mut parts = [0f32; PARTS];
        for chunk in x.chunks(PARTS) {
            for (p, &v) in parts.iter_mut().zip(chunk) {
                *p = s.fma(v - mean, v - mean, *p);
            }
        }
        let scale = 1.0 / (sum(&parts) / n + EPSILON).sqrt();
        for (h, &x) in h.iter_mut().zip(x) {
            let n = (x - mean) * scale;
            *h = if drops { *h } else { 1.0 } * if n > 0.0 { n } else { 0.0 };
        }
        moments.copy_from_slice(&[mean, scale]);
    }
}
}

kernel! {
/// dh becomes dx.
fn through_relu(s, h: &[f32], keep: f32, g: &mut [f32]) {
    for (g, &h) in g.iter_mut().zip(h) {
        *g = if h > 0.0 { *g * keep } else { 0.0 };
    }
}
}

kernel! {
/// dh becomes dx = (dn − mean(dn) − n · mean(dn · n))/√(v + ε), dn = dh · keep where h > 0; dn · n = dh · h.
fn through_norm(s, h: &[f32], x: &[f32], moments: &[f32], keep: f32, width: usize, g: &mut [f32]) {
    let n = width as f32;
    let cells = g.chunks_exact_mut(width).zip(h.chunks_exact(width)).zip(x.chunks_exact(width));
    for (((g, h), x), moments) in cells.zip(moments.chunks_exact(2)) {
        let (mut plain, mut along) = ([0f32; PARTS], [0f32; PARTS]);
        for (g, h) in g.chunks_mut(PARTS).zip(h.chunks(PARTS)) {
            for (((g, &h), plain), along) in g.iter_mut().zip(h).zip(&mut plain).zip(&mut along) {
                *along = s.fma(*g, h, *along);
                *g = if h > 0.0 { *g * keep } else { 0.0 };
                *plain += *g;
            }
        }
        let (centre, scale) = (moments[0], moments[1]);
        let (mean, slope) = (sum(&plain) / n, sum(&along) / n);
        for (g, &x) in g.iter_mut().zip(x) {
            *g = scale * (*g - mean - (x - centre) * scale * slope);
        }
    }
}
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::random::Key;

    use crate::ops::check::Check;
    use crate::params::Params;
    use crate::tape::{Noise, Shape, Tape, Workspace};

    #[test]
    fn relu_values_and_gradients() {
        let mut check = Check::new();
        let x = check.input("x", Shape::by_cell(4, 6));
        check.twin(move |v| v.input(x).iter().map(|x| x.max(0.0)).collect());
        check.run(|t, v| t.relu(v.input(x), 0.0));
    }

    /// The layer norm of rows.
    fn norm(x: &[f64], width: usize) -> Vec<f64> {
        let row = |row: &[f64]| {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let var = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            row.iter().map(|x| (x - mean) / (var + 1e-5).sqrt()).collect::<Vec<_>>()
        };
        x.chunks(width).flat_map(row).collect()
    }

    #[test]
    fn layer_norm_values_and_gradients() {
        for width in [7, 40] {
            let mut check = Check::new();
            let x = check.input("x", Shape::by_cell(5, width));
            check.twin(move |v| norm(v.input(x), width).iter().map(|n| n.max(0.0)).collect());
            check.run(|t, v| t.layer_norm_relu(v.input(x), 0.0));
        }
    }

    #[test]
    fn dropout_passes_gradients_where_it_keeps_values() {
        let (rate, width, key) = (0.3, 40, Key::new(5));
        let mut factors = vec![0.0; 5 * width];
        key.fold(0).fill_dropout(rate, &mut factors);
        assert!(factors.contains(&0.0));
        for normed in [false, true] {
            let mut check = Check::new();
            check.noise = Noise::Key(key);
            let x = check.input("x", Shape::by_cell(5, width));
            let f = factors.clone();
            check.twin(move |v| {
                let n = if normed { norm(v.input(x), width) } else { v.input(x).to_vec() };
                n.iter().zip(&f).map(|(n, &f)| n.max(0.0) * f64::from(f)).collect()
            });
            check.run(|t, v| if normed { t.layer_norm_relu(v.input(x), rate) } else { t.relu(v.input(x), rate) });
        }
    }

    #[test]
    fn dropout_acts_in_training_only_and_keeps_the_mean() {
        let (params, mut workspace) = (Params::new(), Workspace::new());
        let ones = vec![1.0; 50_000];
        let shape = Shape::by_cell(100, 500);
        let mut tape = Tape::new(&params, &mut workspace, Noise::Key(Key::new(1)), true);
        let x = tape.constant(shape, &ones);
        let y = tape.relu(x, 0.2);
        let mean = tape.value(y).iter().sum::<f32>() / 50_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(tape.value(y).contains(&0.0));
        tape.finish();
        let mut tape = Tape::new(&params, &mut workspace, Noise::Key(Key::new(1)), false);
        let x = tape.constant(shape, &ones);
        let y = tape.relu(x, 0.2);
        assert_eq!(tape.value(y), ones);
    }
}
