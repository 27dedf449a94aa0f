//! Adam (Kingma & Ba, ICLR 2015), with optional L2 weight decay added to the gradient.

use rayon::prelude::*;
use scgraft_numeric::isa::{Isa, kernel};

use crate::params::Params;
use crate::tape::Grads;

/// What does not change from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of squared gradients.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// L2 weight decay: `weight_decay · w` is added to the gradient.
    pub weight_decay: f32,
    /// Pull towards where the weights started: `hold · (w − w₀)` is added to the gradient, the gradient of
    /// (w − w₀)² · hold/2. 0: none.
    pub hold: f32,
}

impl Default for AdamConfig {
    /// β = (0.9, 0.999), ε = 0.01, neither weight decay nor pull: the settings of the published models.
    fn default() -> Self {
        AdamConfig { beta1: 0.9, beta2: 0.999, epsilon: 0.01, weight_decay: 0.0, hold: 0.0 }
    }
}

/// Moments of the trainable values, and only of those.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    steps: i32,
    /// For each tensor and trainable span: first and second moments.
    moments: Vec<Vec<(Vec<f32>, Vec<f32>)>>,
    /// The same values as they were at the start; empty where nothing pulls them back.
    starts: Vec<Vec<Vec<f32>>>,
}

/// Values a task.
const CHUNK: usize = 16 * 1024;

impl Adam {
    /// Zero moments for what is trainable now.
    pub fn new(params: &Params, config: AdamConfig) -> Self {
        let moments = params
            .iter()
            .map(|p| p.trainable_spans().map(|s| (vec![0.0; s.len()], vec![0.0; s.len()])).collect())
            .collect();
        let of = |p: &crate::Param| p.trainable_spans().map(|s| p.values()[s].to_vec()).collect();
        let starts = if config.hold > 0.0 { params.iter().map(of).collect() } else { Vec::new() };
        Adam { config, steps: 0, moments, starts }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.moments.iter().flatten().map(|m| (m.0.len() + m.1.len()) * 4).sum()
    }

    /// Steps taken.
    pub fn steps(&self) -> i32 {
        self.steps
    }

    /// Goes on as after so many steps.
    pub fn set_steps(&mut self, steps: i32) {
        self.steps = steps;
    }

    /// Everything that it remembers, in an order that depends on the trainable values alone.
    pub fn arrays(&self) -> impl Iterator<Item = &[f32]> {
        let moments = self.moments.iter().flatten().flat_map(|(m, v)| [&m[..], &v[..]]);
        moments.chain(self.starts.iter().flatten().map(|s| &s[..]))
    }

    /// The same, to be written.
    pub fn arrays_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let moments = self.moments.iter_mut().flatten().flat_map(|(m, v)| [&mut m[..], &mut v[..]]);
        moments.chain(self.starts.iter_mut().flatten().map(|s| &mut s[..]))
    }

    /// One step: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − η m̂/(√v̂ + ε).
    pub fn step(&mut self, params: &mut Params, grads: &Grads, learning_rate: f32) {
        self.steps += 1;
        let c = self.config;
        let correct1 = 1.0 - f64::from(c.beta1).powi(self.steps);
        let correct2 = 1.0 - f64::from(c.beta2).powi(self.steps);
        let rate = (f64::from(learning_rate) / correct1) as f32;
        let root = (1.0 / correct2.sqrt()) as f32;
        let ids: Vec<_> = params.ids().collect();
        for (tensor, (id, moments)) in ids.into_iter().zip(&mut self.moments).enumerate() {
            let g = grads.get(id);
            let param = params.get_mut(id);
            let spans: Vec<_> = param.trainable_spans().collect();
            for (at, (span, (m, v))) in spans.into_iter().zip(moments).enumerate() {
                let starts = self.starts.get(tensor).map(|s| &s[at][..]);
                let w = param.write()[span.clone()].par_chunks_mut(CHUNK);
                let state = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
                w.zip(g[span].par_chunks(CHUNK)).zip(state).enumerate().for_each(
                    |(at, ((w, g), (m, v)))| match starts {
                        Some(start) => {
                            let start = &start[at * CHUNK..][..w.len()];
                            update_held(w, g, m, v, start, c, rate, root);
                        }
                        None => update(w, g, m, v, c, rate, root),
                    },
                );
            }
        }
    }
}

kernel! {
fn update(s, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], c: AdamConfig, rate: f32, root: f32) {
    let (a1, a2) = (1.0 - c.beta1, 1.0 - c.beta2);
    for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        let g = s.fma(c.weight_decay, *w, g);
        *m = s.fma(c.beta1, *m, a1 * g);
        *v = s.fma(c.beta2, *v, a2 * g * g);
        *w -= rate * *m / s.fma(*v * inverse_root(s, *v), root, c.epsilon);
    }
}
}

kernel! {
fn update_held(
    s, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], start: &[f32], c: AdamConfig, rate: f32, root: f32
) {
    let (a1, a2) = (1.0 - c.beta1, 1.0 - c.beta2);
    for ((((w, &g), m), v), &start) in w.iter_mut().zip(g).zip(m).zip(v).zip(start) {
        let g = s.fma(c.hold, *w - start, s.fma(c.weight_decay, *w, g));
        *m = s.fma(c.beta1, *m, a1 * g);
        *v = s.fma(c.beta2, *v, a2 * g * g);
        *w -= rate * *m / s.fma(*v * inverse_root(s, *v), root, c.epsilon);
    }
}
}

/// 1/√v to a unit in the last place or two: a first guess from the exponent and three of Newton's steps, which
/// take a third of the time of the processor's root. Any large number for v = 0.
#[inline(always)]
fn inverse_root(s: impl Isa, v: f32) -> f32 {
    let half = 0.5 * v;
    let mut y = f32::from_bits(0x5f37_5a86 - (v.to_bits() >> 1));
    for _ in 0..3 {
        y *= s.fma(-half * y, y, 1.5);
    }
    y
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::random::Key;

    use super::*;
    use crate::params::{Axis, Init};
    use crate::tape::{Layout, Noise, Shape, Tape, Workspace};

    /// Without another gradient a held weight goes back to where it started.
    #[test]
    fn what_is_held_returns() {
        let mut params = Params::new();
        let w = params.add("w", &[(Axis::Condition, 2), (Axis::Hidden, 2)], Init::Normal(1.0), Key::new(1));
        let start = params.values(w).to_vec();
        let mut adam = Adam::new(&params, AdamConfig { hold: 0.5, epsilon: 1.0, ..AdamConfig::default() });
        params.write(w).iter_mut().for_each(|v| *v += 1.0);
        let grads = Grads::new(&params);
        (0..2000).for_each(|_| adam.step(&mut params, &grads, 0.01));
        for (now, start) in params.values(w).iter().zip(start) {
            assert!((now - start).abs() < 1e-3, "{now} {start}");
        }
    }

    /// Three steps against the textbook formula in `f64`, with weight decay, on a range of rows.
    #[test]
    #[expect(clippy::needless_range_loop, reason = "the same place in several arrays")]
    fn follows_the_formula_and_touches_trainable_rows_only() {
        let mut params = Params::new();
        let w = params.add("w", &[(Axis::Condition, 3), (Axis::Hidden, 2)], Init::Normal(1.0), Key::new(1));
        params.get_mut(w).trainable = vec![1..3];
        let config = AdamConfig { weight_decay: 0.04, ..AdamConfig::default() };
        let mut adam = Adam::new(&params, config);
        let (mut grads, mut workspace) = (Grads::new(&params), Workspace::new());
        let before: Vec<f64> = params.values(w).iter().map(|&v| f64::from(v)).collect();
        let mut want = before.clone();
        let (mut m, mut v) = ([0.0f64; 6], [0.0f64; 6]);
        for t in 1..=3 {
            let mut tape = Tape::new(&params, &mut workspace, Noise::Zero, true);
            let x = tape.constant(Shape::by_cell(1, 2), &[1.5, -0.5]);
            let y = tape.linear(x, w, None, Layout::ByCell);
            let root = tape.weighted_total(y, &[1.0, 2.0, 3.0]);
            tape.backward(&[(root, 1.0)], &mut grads);
            adam.step(&mut params, &grads, 0.1);
            for i in 2..6 {
                let g = [1.5, -0.5][i % 2] * (i / 2 + 1) as f64 + 0.04 * want[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                want[i] -= 0.1 * mh / (vh.sqrt() + 0.01);
            }
        }
        for i in 0..6 {
            assert!((f64::from(params.values(w)[i]) - want[i]).abs() < 1e-5, "value {i}");
        }
        assert_eq!(f64::from(params.values(w)[0]), before[0]);
    }
}
