//! A row for each category.  y[c, :] = x[c, :] + R[code(c), :]: a one-hot input without its product.
//!
//! This is how conditions enter a layer: R is the condition's part of an adaptor.

use crate::batch::Codes;
use crate::params::ParamId;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct AddRows<'a> {
    x: Var,
    y: Var,
    rows: ParamId,
    codes: &'a Codes,
}

impl<'a> Tape<'a> {
    /// y = x + R[codes], [cell × hidden]; `rows` is [category × hidden].
    pub fn add_rows(&mut self, x: Var, rows: ParamId, codes: &'a Codes) -> Var {
        let shape = self.shape(x);
        debug_assert_eq!(shape.layout, Layout::ByCell);
        debug_assert_eq!(shape.cells, codes.codes.len());
        let r = self.params().values(rows);
        let width = shape.features;
        let mut out = self.buffer(shape.len());
        let cells = out.chunks_exact_mut(width).zip(self.value(x).chunks_exact(width));
        for ((o, x), &code) in cells.zip(&codes.codes) {
            let r = &r[code as usize * width..][..width];
            o.iter_mut().zip(x).zip(r).for_each(|((o, &x), &r)| *o = x + r);
        }
        let needs = self.needs(x) || self.trains(rows);
        let y = self.push(shape, out, needs);
        if self.needs(y) {
            self.record(AddRows { x, y, rows, codes });
        }
        y
    }
}

impl Backward for AddRows<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let Shape { features: width, .. } = back.shape(self.y);
        if back.trains(self.rows) {
            let trainable = back.params.get(self.rows).trainable.clone();
            let gr = back.tensor(self.rows);
            for (g, &code) in gy.chunks_exact(width).zip(&self.codes.codes) {
                let code = code as usize;
                if trainable.iter().any(|r| r.contains(&code)) {
                    gr[code * width..][..width].iter_mut().zip(g).for_each(|(o, &v)| *o += v);
                }
            }
        }
        if back.needs(self.x) {
            back.give(self.x, gy);
        } else {
            back.recycle(gy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;
    use crate::params::Axis;

    #[test]
    fn gradients_of_all_rows_and_of_new_rows_only() {
        for rows in [0..3usize, 2..3] {
            let codes = Codes::new(vec![0, 2, 2, 1, 0]);
            let mut check = Check::new();
            let x = check.input("x", Shape::by_cell(5, 4));
            let r = check.param("r", &[(Axis::Condition, 3), (Axis::Hidden, 4)]);
            check.train_rows(r, rows);
            let twin = codes.clone();
            check.twin(move |v| {
                let (xs, rs) = (v.input(x), v.param(r));
                (0..20).map(|i| xs[i] + rs[twin.codes[i / 4] as usize * 4 + i % 4]).collect()
            });
            check.run(|t, v| t.add_rows(v.input(x), v.param(r), &codes));
        }
    }
}
