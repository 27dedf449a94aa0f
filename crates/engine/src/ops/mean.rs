//! Mean over cells of one value a cell.

use crate::tape::{Back, Backward, Shape, Tape, Var};

struct Mean {
    x: Var,
    y: Var,
}

impl Tape<'_> {
    /// y = (1/n) Σ x, one value; `x` is [cell × 1]. Added in `f64`.
    pub fn mean(&mut self, x: Var) -> Var {
        let values = self.value(x);
        let total: f64 = values.iter().map(|&v| f64::from(v)).sum();
        let mean = (total / values.len() as f64) as f32;
        let mut out = self.buffer(1);
        out[0] = mean;
        let y = self.push(Shape::by_cell(1, 1), out, self.needs(x));
        if self.needs(y) {
            self.record(Mean { x, y });
        }
        y
    }
}

impl Backward for Mean {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let mut gx = back.take_or_zero(self.x);
        let each = gy[0] / gx.len() as f32;
        gx.iter_mut().for_each(|o| *o += each);
        back.put(self.x, gx);
        back.recycle(gy);
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::check::Check;
    use crate::tape::Shape;

    #[test]
    fn value_and_gradient() {
        let mut check = Check::new();
        let x = check.input("x", Shape::by_cell(9, 1));
        check.twin(move |v| vec![v.input(x).iter().sum::<f64>() / 9.0]);
        check.run(|t, v| t.mean(v.input(x)));
    }
}
