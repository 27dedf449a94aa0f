//! Batch normalisation.  y = w (x − m)/√(v + ε) + b for each feature.
//!
//! In training m and v are the mean and the biased variance of the batch, and the running
//! statistics move: r ← (1 − μ) r + μ m, and the same with the unbiased variance. Otherwise m and
//! v are the running statistics. x and y are [cell × hidden]; w, b, m and v [hidden].

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;

use crate::params::ParamId;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

/// The tensors and settings of a batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// w, [hidden]
    pub weight: ParamId,
    /// b, [hidden]
    pub bias: ParamId,
    /// Running mean, [hidden]; a statistic of the table.
    pub mean: ParamId,
    /// Running variance, [hidden]; a statistic of the table.
    pub variance: ParamId,
    /// ε
    pub epsilon: f32,
    /// Share μ of a batch in the running statistics; 0 leaves them.
    pub momentum: f32,
    /// Whether a layer whose w and b are both frozen still uses the batch's statistics in training.
    /// Without it a frozen layer stays the same function whatever the batch holds.
    pub batch_when_frozen: bool,
}

/// Cells a task.
const CELLS: usize = 64;

struct Normalise {
    x: Var,
    y: Var,
    weight: ParamId,
    bias: ParamId,
    /// Whether the statistics came from x, and so depend on it.
    from_batch: bool,
    mean: Vec<f32>,
    /// 1/√(v + ε)
    scale: Vec<f32>,
}

impl Tape<'_> {
    /// y = w (x − m)/√(v + ε) + b, [cell × hidden].
    ///
    /// In training the new running statistics wait in [`Grads::updates`](crate::Grads::updates). A
    /// batch of one cell has no unbiased variance and leaves the running variance alone.
    pub fn batch_norm(&mut self, x: Var, norm: &BatchNorm) -> Var {
        let shape = self.shape(x);
        debug_assert_eq!(shape.layout, Layout::ByCell);
        let width = shape.features;
        let affine = self.trains(norm.weight) || self.trains(norm.bias);
        let from_batch = self.training() && (affine || norm.batch_when_frozen);
        let (mut mean, mut scale) = (self.buffer(width), self.buffer(width));
        if from_batch {
            moments(self.value(x), width, &mut mean, &mut scale);
            // A frozen layer keeps its statistics: they are part of the reference.
            if norm.momentum > 0.0 && affine {
                let n = shape.cells as f32;
                move_towards(self.update(norm.mean), &mean, 1.0, norm.momentum);
                if shape.cells > 1 {
                    move_towards(self.update(norm.variance), &scale, n / (n - 1.0), norm.momentum);
                }
            }
        } else {
            mean.copy_from_slice(self.params().values(norm.mean));
            scale.copy_from_slice(self.params().values(norm.variance));
        }
        scale.iter_mut().for_each(|v| *v = 1.0 / (*v + norm.epsilon).sqrt());
        let mut out = self.buffer(shape.len());
        let (weight, bias) = (self.params().values(norm.weight), self.params().values(norm.bias));
        out.par_chunks_mut(CELLS * width)
            .zip(self.value(x).par_chunks(CELLS * width))
            .for_each(|(o, x)| normalise(x, &mean, &scale, weight, bias, o));
        let y = self.push(shape, out, self.needs(x) || affine);
        if self.needs(y) {
            self.record(Normalise { x, y, weight: norm.weight, bias: norm.bias, from_batch, mean, scale });
        } else {
            self.recycle(mean);
            self.recycle(scale);
        }
        y
    }
}

impl Backward for Normalise {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let Shape { cells, features: width, .. } = back.shape(self.y);
        let x = back.value(self.x);
        // Σ dy and Σ dy x̂ over cells: the gradients of b and w, and what statistics send back.
        let (mut plain, mut along) = (back.buffer(width), back.buffer(width));
        if self.from_batch || back.trains(self.weight) || back.trains(self.bias) {
            sums(&gy, x, &self.mean, &self.scale, &mut plain, &mut along);
        }
        for (tensor, sum) in [(self.bias, &plain), (self.weight, &along)] {
            if back.trains(tensor) {
                for rows in back.params.get(tensor).trainable.clone() {
                    back.tensor(tensor)[rows.clone()].iter_mut().zip(&sum[rows]).for_each(|(o, &s)| *o += s);
                }
            }
        }
        if back.needs(self.x) {
            if self.from_batch {
                plain.iter_mut().chain(&mut along).for_each(|v| *v /= cells as f32);
            } else {
                plain.fill(0.0);
                along.fill(0.0);
            }
            let weight = back.params.values(self.weight);
            let (mut gx, fresh) = back.take_or_fresh(self.x);
            if fresh {
                gx.fill(0.0);
            }
            let tasks = gx.par_chunks_mut(CELLS * width).zip(gy.par_chunks(CELLS * width));
            tasks
                .zip(x.par_chunks(CELLS * width))
                .for_each(|((gx, gy), x)| gradient(gy, x, &self.mean, &self.scale, weight, &plain, &along, gx));
            back.put(self.x, gx);
        }
        for buffer in [gy, plain, along, self.mean, self.scale] {
            back.recycle(buffer);
        }
    }
}

/// r ← (1 − μ) r + μ · factor · value
fn move_towards(running: &mut [f32], values: &[f32], factor: f32, momentum: f32) {
    running.iter_mut().zip(values).for_each(|(r, &v)| *r += momentum * (factor * v - *r));
}

kernel! {
/// Mean and biased variance of each column; rows are added in groups, for accuracy.
fn moments(s, x: &[f32], width: usize, mean: &mut [f32], variance: &mut [f32]) {
    let n = (x.len() / width) as f32;
    let mut part = vec![0f32; width];
    mean.fill(0.0);
    for group in x.chunks(CELLS * width) {
        part.fill(0.0);
        for row in group.chunks_exact(width) {
            part.iter_mut().zip(row).for_each(|(p, &v)| *p += v);
        }
        mean.iter_mut().zip(&part).for_each(|(m, &p)| *m += p / n);
    }
    variance.fill(0.0);
    for group in x.chunks(CELLS * width) {
        part.fill(0.0);
        for row in group.chunks_exact(width) {
            part.iter_mut().zip(row).zip(mean.iter()).for_each(|((p, &v), &m)| *p = s.fma(v - m, v - m, *p));
        }
        variance.iter_mut().zip(&part).for_each(|(o, &p)| *o += p / n);
    }
}
}

kernel! {
fn normalise(s, x: &[f32], mean: &[f32], scale: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    let width = mean.len();
    for (x, o) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let terms = mean.iter().zip(scale).zip(weight).zip(bias);
        for ((o, &x), (((&m, &k), &w), &b)) in o.iter_mut().zip(x).zip(terms) {
            *o = s.fma((x - m) * k, w, b);
        }
    }
}
}

kernel! {
fn sums(s, gy: &[f32], x: &[f32], mean: &[f32], scale: &[f32], plain: &mut [f32], along: &mut [f32]) {
    let width = mean.len();
    plain.fill(0.0);
    along.fill(0.0);
    for (g, x) in gy.chunks_exact(width).zip(x.chunks_exact(width)) {
        plain.iter_mut().zip(g).for_each(|(p, &g)| *p += g);
        for ((a, (&g, &x)), &m) in along.iter_mut().zip(g.iter().zip(x)).zip(mean) {
            *a = s.fma(g, x - m, *a);
        }
    }
    along.iter_mut().zip(scale).for_each(|(a, &k)| *a *= k);
}
}

kernel! {
/// dx += w (dy − mean(dy) − x̂ mean(dy x̂)) / √(v + ε)
fn gradient(
    s, gy: &[f32], x: &[f32], mean: &[f32], scale: &[f32], weight: &[f32], plain: &[f32], along: &[f32],
    gx: &mut [f32],
) {
    let width = mean.len();
    for ((g, x), o) in gy.chunks_exact(width).zip(x.chunks_exact(width)).zip(gx.chunks_exact_mut(width)) {
        for f in 0..width {
            let hat = (x[f] - mean[f]) * scale[f];
            o[f] = s.fma(weight[f] * scale[f], g[f] - s.fma(hat, along[f], plain[f]), o[f]);
        }
    }
}
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::random::Key;

    use super::*;
    use crate::ops::check::{Check, Doubles, In, Pr};
    use crate::params::{Axis, Init, Params};
    use crate::tape::{Grads, Noise, Workspace};

    const WIDTH: usize = 7;

    fn twin(v: &Doubles, x: In, [w, b, m, var]: [Pr; 4], from_batch: bool) -> Vec<f64> {
        let x = v.input(x);
        let n = (x.len() / WIDTH) as f64;
        (0..x.len())
            .map(|at| {
                let f = at % WIDTH;
                let column: Vec<f64> = x.iter().skip(f).step_by(WIDTH).copied().collect();
                let mean = if from_batch { column.iter().sum::<f64>() / n } else { v.param(m)[f] };
                let own = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                let variance = if from_batch { own } else { v.param(var)[f] };
                v.param(w)[f] * (x[at] - mean) / (variance + 1e-3).sqrt() + v.param(b)[f]
            })
            .collect()
    }

    /// `affine`: whether w and b train; `batch_when_frozen`: the published behaviour.
    fn check(affine: bool, batch_when_frozen: bool) {
        let mut check = Check::new();
        check.tolerance = 5e-5;
        let x = check.input("x", Shape::by_cell(70, WIDTH));
        let tensors = ["w", "b", "m", "v"].map(|name| check.param(name, &[(Axis::Hidden, WIDTH)]));
        check.set_param(tensors[3], &[0.5, 1.0, 1.5, 2.0, 0.1, 1.0, 3.0]);
        tensors[2..].iter().for_each(|&p| check.freeze(p));
        if affine {
            check.train_rows(tensors[0], 2..5);
        } else {
            tensors[..2].iter().for_each(|&p| check.freeze(p));
        }
        check.twin(move |v| twin(v, x, tensors, affine || batch_when_frozen));
        check.run(|t, v| {
            let [weight, bias, mean, variance] = tensors.map(|p| v.param(p));
            let norm = BatchNorm { weight, bias, mean, variance, epsilon: 1e-3, momentum: 0.1, batch_when_frozen };
            t.batch_norm(v.input(x), &norm)
        });
    }

    #[test]
    fn values_and_gradients() {
        check(true, false);
        check(false, true);
        check(false, false);
    }

    #[test]
    fn running_statistics_move_in_training_only_and_twice_when_used_twice() {
        let mut params = Params::new();
        let mut add = |name, start| params.add(name, &[(Axis::Hidden, 2)], Init::Constant(start), Key::new(1));
        let (weight, bias) = (add("w", 1.0), add("b", 0.0));
        let mean = params.declare_statistic("m", &[(Axis::Hidden, 2)], 0.0);
        let variance = params.declare_statistic("v", &[(Axis::Hidden, 2)], 1.0);
        [mean, variance].into_iter().for_each(|id| params.get_mut(id).draw(Key::new(1)));
        params.train_all();
        assert_eq!(params.n_trainable(), 4);
        let norm = BatchNorm { weight, bias, mean, variance, epsilon: 1e-5, momentum: 0.1, batch_when_frozen: false };
        let x = [1.0, 5.0, 3.0, 5.0, 5.0, 8.0];
        let mut workspace = Workspace::new();
        let mut grads = Grads::new(&params);
        for training in [false, true] {
            let mut tape = Tape::new(&params, &mut workspace, Noise::Zero, training);
            let input = tape.constant(Shape::by_cell(3, 2), &x);
            tape.batch_norm(input, &norm);
            let y = tape.batch_norm(input, &norm);
            if training {
                // Means 3 and 6; unbiased variances 4 and 3; two steps of one tenth.
                let root = tape.weighted_total(y, &[1.0; 6]);
                tape.backward(&[(root, 1.0)], &mut grads);
            } else {
                assert!((tape.value(y)[1] - 5.0).abs() < 1e-4);
                tape.finish();
                assert!(grads.updates().is_empty());
            }
        }
        params.apply_updates(grads.updates());
        let close = |id, want: [f32; 2]| params.values(id).iter().zip(want).all(|(v, w)| (v - w).abs() < 1e-5);
        assert!(close(mean, [0.57, 1.14]), "{:?}", params.values(mean));
        assert!(close(variance, [1.57, 1.38]), "{:?}", params.values(variance));
    }
}
