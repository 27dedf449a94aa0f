//! Elementwise non-linearities: ReLU, and dropout in training.

use crate::tape::{Back, Backward, Tape, Var};

/// dy is multiplied by a factor that the forward pass left for each value.
struct Masked {
    x: Var,
    y: Var,
    factors: Vec<f32>,
}

struct Relu {
    x: Var,
    y: Var,
}

impl Tape<'_> {
    /// y = max(x, 0)
    pub fn relu(&mut self, x: Var) -> Var {
        let mut out = self.buffer(self.shape(x).len());
        out.iter_mut().zip(self.value(x)).for_each(|(o, &v)| *o = v.max(0.0));
        let y = self.push(self.shape(x), out, self.needs(x));
        if self.needs(y) {
            self.record(Relu { x, y });
        }
        y
    }

    /// In training, drops each value with probability `rate` and divides the others by 1 − rate.
    ///
    /// Outside training, and when the tape's noise is given or zero, it is the identity.
    pub fn dropout(&mut self, x: Var, rate: f32) -> Var {
        if rate <= 0.0 {
            return x;
        }
        let Some(key) = self.dropout_key() else { return x };
        let len = self.shape(x).len();
        let mut factors = self.buffer(len);
        key.fill_dropout(rate, &mut factors);
        let mut out = self.buffer(len);
        out.iter_mut().zip(self.value(x)).zip(&factors).for_each(|((o, &v), &f)| *o = v * f);
        let y = self.push(self.shape(x), out, self.needs(x));
        if self.needs(y) {
            self.record(Masked { x, y, factors });
        } else {
            self.recycle(factors);
        }
        y
    }
}

impl Backward for Masked {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let mut gx = back.take_or_zero(self.x);
        gx.iter_mut().zip(&gy).zip(&self.factors).for_each(|((o, &g), &f)| *o += g * f);
        back.put(self.x, gx);
        back.recycle(gy);
        back.recycle(self.factors);
    }
}

impl Backward for Relu {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let y = back.value(self.y);
        let (mut gx, fresh) = back.take_or_fresh(self.x);
        let pairs = gx.iter_mut().zip(&gy).zip(y);
        if fresh {
            pairs.for_each(|((o, &g), &y)| *o = if y > 0.0 { g } else { 0.0 });
        } else {
            pairs.for_each(|((o, &g), &y)| *o += if y > 0.0 { g } else { 0.0 });
        }
        back.put(self.x, gx);
        back.recycle(gy);
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::check::Check;
    use crate::params::Params;
    use crate::rng::Key;
    use crate::tape::{Noise, Shape, Tape, Workspace};

    #[test]
    fn relu_values_and_gradients() {
        let mut check = Check::new();
        let x = check.input("x", Shape::by_cell(4, 6));
        check.twin(move |v| v.input(x).iter().map(|x| x.max(0.0)).collect());
        check.run(|t, v| t.relu(v.input(x)));
    }

    #[test]
    fn dropout_acts_in_training_only_and_keeps_the_mean() {
        let (params, mut workspace) = (Params::new(), Workspace::new());
        let ones = vec![1.0; 50_000];
        let shape = Shape::by_cell(100, 500);
        let mut tape = Tape::new(&params, &mut workspace, Noise::Key(Key::new(1)), true);
        let x = tape.constant(shape, &ones);
        let y = tape.dropout(x, 0.2);
        let mean = tape.value(y).iter().sum::<f32>() / 50_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(tape.value(y).contains(&0.0));
        tape.finish();
        let mut tape = Tape::new(&params, &mut workspace, Noise::Key(Key::new(1)), false);
        let x = tape.constant(shape, &ones);
        let y = tape.dropout(x, 0.2);
        assert_eq!(tape.value(y), ones);
    }
}
