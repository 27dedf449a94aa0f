//! Holds an operation against its `f64` twin: values, and gradients by central differences of the
//! twin.
//!
//! The scalar that is differentiated is Σ rᵢ yᵢ with fixed random weights r.

use std::ops::Range;

use scgraft_numeric::random::Key;

use crate::params::{Axis, Init, ParamId, Params};
use crate::tape::{Grads, Noise, Shape, Tape, Var, Workspace};

#[derive(Clone, Copy)]
pub(crate) struct In(usize);
#[derive(Clone, Copy)]
pub(crate) struct Pr(usize);

/// What a twin reads, in `f64`.
pub(crate) struct Doubles {
    inputs: Vec<Vec<f64>>,
    params: Vec<Vec<f64>>,
}

impl Doubles {
    pub(crate) fn input(&self, i: In) -> &[f64] {
        &self.inputs[i.0]
    }
    pub(crate) fn param(&self, p: Pr) -> &[f64] {
        &self.params[p.0]
    }
}

/// What the operation reads, on the tape.
pub(crate) struct Vars {
    inputs: Vec<Var>,
    params: Vec<ParamId>,
}

impl Vars {
    pub(crate) fn input(&self, i: In) -> Var {
        self.inputs[i.0]
    }
    pub(crate) fn param(&self, p: Pr) -> ParamId {
        self.params[p.0]
    }
}

type Twin = Box<dyn Fn(&Doubles) -> Vec<f64>>;

pub(crate) struct Check {
    params: Params,
    input_ids: Vec<(ParamId, Shape)>,
    param_ids: Vec<ParamId>,
    twin: Option<Twin>,
    pub(crate) noise: Noise,
    /// Largest allowed |difference| of a value, relative to the largest value.
    pub(crate) tolerance: f64,
    step: f64,
}

impl Check {
    pub(crate) fn new() -> Self {
        Check {
            params: Params::new(),
            input_ids: Vec::new(),
            param_ids: Vec::new(),
            twin: None,
            noise: Noise::Zero,
            tolerance: 2e-5,
            step: 1e-5,
        }
    }

    /// An activation of random normal values. (It is a tensor of the table that a helper
    /// operation puts on the tape, so that its gradient can be read.)
    pub(crate) fn input(&mut self, name: &str, shape: Shape) -> In {
        let id = self.params.add(name, &[(Axis::Cell, shape.len())], Init::Normal(1.0), Key::new(11));
        self.input_ids.push((id, shape));
        In(self.input_ids.len() - 1)
    }

    pub(crate) fn param(&mut self, name: &str, axes: &[(Axis, usize)]) -> Pr {
        let id = self.params.add(name, axes, Init::Normal(0.7), Key::new(12));
        self.param_ids.push(id);
        Pr(self.param_ids.len() - 1)
    }

    pub(crate) fn train_rows(&mut self, p: Pr, rows: Range<usize>) {
        self.params.get_mut(self.param_ids[p.0]).trainable = vec![rows];
    }

    pub(crate) fn freeze(&mut self, p: Pr) {
        self.params.get_mut(self.param_ids[p.0]).trainable.clear();
    }

    pub(crate) fn set_param(&mut self, p: Pr, values: &[f32]) {
        self.params.write(self.param_ids[p.0]).copy_from_slice(values);
    }

    pub(crate) fn set_input(&mut self, i: In, values: &[f32]) {
        self.params.write(self.input_ids[i.0].0).copy_from_slice(values);
    }

    pub(crate) fn twin(&mut self, twin: impl Fn(&Doubles) -> Vec<f64> + 'static) {
        self.twin = Some(Box::new(twin));
    }

    /// Runs the operation, and compares values and every gradient with the twin.
    pub(crate) fn run<'a>(&'a self, operation: impl Fn(&mut Tape<'a>, &Vars) -> Var) {
        let twin = self.twin.as_ref().expect("a twin");
        let workspace = Box::leak(Box::new(Workspace::new()));
        let mut grads = Grads::new(&self.params);
        let mut tape = Tape::new(&self.params, workspace, self.noise.clone(), true);
        let inputs = self.input_ids.iter().map(|&(id, shape)| tape.tensor_as_activation(id, shape)).collect();
        let vars = Vars { inputs, params: self.param_ids.clone() };
        let y = operation(&mut tape, &vars);
        let got = tape.value(y).to_vec();

        let doubles = |shift: Option<(ParamId, usize, f64)>| {
            let read = |id: ParamId| {
                let mut v: Vec<f64> = self.params.values(id).iter().map(|&x| f64::from(x)).collect();
                if let Some((p, at, by)) = shift.filter(|s| s.0 == id) {
                    let _ = p;
                    v[at] += by;
                }
                v
            };
            Doubles {
                inputs: self.input_ids.iter().map(|i| read(i.0)).collect(),
                params: self.param_ids.iter().map(|&i| read(i)).collect(),
            }
        };
        let want = twin(&doubles(None));
        assert_eq!(got.len(), want.len(), "number of values");
        let scale = want.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
        for (i, (&g, &w)) in got.iter().zip(&want).enumerate() {
            assert!((f64::from(g) - w).abs() <= self.tolerance * scale, "value {i}: {g}, twin {w}");
        }

        // The root: Σ rᵢ yᵢ.
        let weights: Vec<f32> = (0..got.len()).map(|i| (Key::new(99).uniform(i as u64) * 2.0 - 1.0) as f32).collect();
        let root = tape.weighted_total(y, &weights);
        tape.backward(&[(root, 1.0)], &mut grads);
        let objective = |d: &Doubles| twin(d).iter().zip(&weights).map(|(v, &r)| v * f64::from(r)).sum::<f64>();
        for id in self.input_ids.iter().map(|i| i.0).chain(self.param_ids.iter().copied()) {
            let param = self.params.get(id);
            let mut differences = vec![0.0; param.n_values()];
            for span in param.trainable_spans() {
                for at in span {
                    let up = objective(&doubles(Some((id, at, self.step))));
                    let down = objective(&doubles(Some((id, at, -self.step))));
                    differences[at] = (up - down) / (2.0 * self.step);
                }
            }
            let grad = grads.get(id);
            if !param.is_trainable() {
                assert!(grad.is_empty(), "`{}` is frozen and yet has a gradient", param.name);
                continue;
            }
            let scale = differences.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
            for (i, (&g, &d)) in grad.iter().zip(&differences).enumerate() {
                let error = (f64::from(g) - d).abs();
                assert!(error <= 10.0 * self.tolerance * scale, "d/d{}[{i}]: {g}, difference {d}", param.name);
            }
        }
    }
}

/// Σ rᵢ yᵢ and its gradient, and a tensor used as an activation: for tests only.
mod helpers {
    use super::{ParamId, Shape, Tape, Var};
    use crate::tape::{Back, Backward};

    struct Total {
        x: Var,
        y: Var,
        weights: Vec<f32>,
    }

    impl Backward for Total {
        fn backward(self: Box<Self>, back: &mut Back<'_>) {
            let Some(gy) = back.take(self.y) else { return };
            let mut gx = back.take_or_zero(self.x);
            gx.iter_mut().zip(&self.weights).for_each(|(g, &w)| *g += gy[0] * w);
            back.put(self.x, gx);
            back.recycle(gy);
        }
    }

    struct Leaf {
        tensor: ParamId,
        y: Var,
    }

    impl Backward for Leaf {
        fn backward(self: Box<Self>, back: &mut Back<'_>) {
            let Some(gy) = back.take(self.y) else { return };
            back.tensor(self.tensor).iter_mut().zip(&gy).for_each(|(g, &v)| *g += v);
            back.recycle(gy);
        }
    }

    impl Tape<'_> {
        pub(crate) fn weighted_total(&mut self, x: Var, weights: &[f32]) -> Var {
            let total: f64 = self.value(x).iter().zip(weights).map(|(&v, &w)| f64::from(v) * f64::from(w)).sum();
            let y = self.push(Shape::by_cell(1, 1), vec![total as f32], true);
            self.record(Total { x, y, weights: weights.to_vec() });
            y
        }

        pub(crate) fn tensor_as_activation(&mut self, tensor: ParamId, shape: Shape) -> Var {
            let values = self.params().values(tensor).to_vec();
            let trains = self.trains(tensor);
            let y = self.push(shape, values, trains);
            if trains {
                self.record(Leaf { tensor, y });
            }
            y
        }
    }
}

/// A small batch of counts, half of them zeros, and the same as a dense matrix.
pub(crate) fn sparse_counts(cells: usize, genes: usize) -> (crate::batch::SparseBatch, Vec<f64>) {
    let key = Key::new(5);
    let dense: Vec<f64> = (0..cells * genes)
        .map(|i| if key.below(2 * i as u64, 2) == 0 { 0.0 } else { 1.0 + key.below(2 * i as u64 + 1, 30) as f64 })
        .collect();
    let rows: Vec<(Vec<u32>, Vec<f32>)> = dense
        .chunks(genes)
        .map(|row| {
            let kept = row.iter().enumerate().filter(|(_, v)| **v != 0.0);
            kept.map(|(g, &v)| (g as u32, v as f32)).unzip()
        })
        .collect();
    let mut batch = crate::batch::SparseBatch::default();
    batch.fill(genes, crate::batch::InputScale::Log1p, rows.iter().map(|r| (&r.0[..], &r.1[..])));
    (batch, dense)
}
