//! Dense layer.  y = x Wᵀ + b,  x: cells × in, W: out × in, b: out.
//!
//! Source layouts and the result's layout are free: the product reads and writes either.

use scgraft_numeric::gemm::{MatRef, by_rows, gemm};
use scgraft_numeric::isa::kernel;

use crate::params::ParamId;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Linear {
    x: Var,
    y: Var,
    weight: ParamId,
    bias: Option<ParamId>,
}

/// An activation as cells × features, whatever its layout.
pub(crate) fn cells_by_features(values: &[f32], shape: Shape) -> MatRef<'_, f32> {
    match shape.layout {
        Layout::ByCell => by_rows(values, shape.cells, shape.features),
        Layout::ByFeature => by_rows(values, shape.features, shape.cells).transpose(),
        Layout::Lanes => unreachable!("dense products read by cell or by feature"),
    }
}

impl Tape<'_> {
    /// y = x Wᵀ + b, with the result in the layout asked for.
    ///
    /// `weight` is [out × in], `bias` [out].
    pub fn linear(&mut self, x: Var, weight: ParamId, bias: Option<ParamId>, layout: Layout) -> Var {
        let w = self.params().get(weight);
        let (n_out, n_in) = (w.rows(), w.row_len());
        let from = self.shape(x);
        debug_assert_eq!(from.features, n_in);
        let shape = Shape { cells: from.cells, features: n_out, layout };
        debug_assert!(layout != Layout::Lanes);
        let mut out = self.buffer(shape.len());
        if let Some(b) = bias {
            spread(self.params().values(b), layout, from.cells, &mut out);
        }
        gemm(
            &mut out,
            layout == Layout::ByFeature,
            bias.is_some(),
            cells_by_features(self.value(x), from),
            by_rows(w.values(), n_out, n_in).transpose(),
        );
        let needs = self.needs(x) || self.trains(weight) || bias.is_some_and(|b| self.trains(b));
        let y = self.push(shape, out, needs);
        if self.needs(y) {
            self.record(Linear { x, y, weight, bias });
        }
        y
    }
}

impl Backward for Linear {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let (sx, sy) = (back.shape(self.x), back.shape(self.y));
        if back.trains(self.weight) {
            // dW = dyᵀ x, for the trainable rows only
            let x = cells_by_features(back.value(self.x), sx);
            let param = back.params.get(self.weight);
            let whole = param.trainable.len() == 1 && param.trainable[0] == (0..param.rows());
            if whole {
                let (gw, fresh) = back.tensor_or_fresh(self.weight);
                gemm(gw, false, !fresh, cells_by_features(&gy, sy).transpose(), x);
            } else {
                for rows in &param.trainable {
                    let part = feature_rows(&gy, sy, rows.clone());
                    let gw = &mut back.tensor(self.weight)[rows.start * sx.features..rows.end * sx.features];
                    gemm(gw, false, true, by_rows(&part, rows.len(), sy.cells), x);
                }
            }
        }
        if let Some(b) = self.bias.filter(|&b| back.trains(b)) {
            sum_cells(&gy, sy, back.tensor(b));
        }
        if back.needs(self.x) {
            let (mut gx, fresh) = back.take_or_fresh(self.x);
            let w = by_rows(back.params.values(self.weight), sy.features, sx.features);
            gemm(&mut gx, sx.layout == Layout::ByFeature, !fresh, cells_by_features(&gy, sy), w);
            back.put(self.x, gx);
        }
        back.recycle(gy);
    }
}

/// Some features of an activation, [feature × cell].
fn feature_rows(values: &[f32], shape: Shape, rows: std::ops::Range<usize>) -> Vec<f32> {
    match shape.layout {
        Layout::ByFeature => values[rows.start * shape.cells..rows.end * shape.cells].to_vec(),
        Layout::ByCell => rows.flat_map(|f| (0..shape.cells).map(move |c| values[c * shape.features + f])).collect(),
        Layout::Lanes => unreachable!("as in `cells_by_features`"),
    }
}

/// Writes a row of features to every cell.
fn spread(row: &[f32], layout: Layout, cells: usize, out: &mut [f32]) {
    match layout {
        Layout::ByCell => out.chunks_exact_mut(row.len()).for_each(|o| o.copy_from_slice(row)),
        Layout::ByFeature => out.chunks_exact_mut(cells).zip(row).for_each(|(o, &b)| o.fill(b)),
        Layout::Lanes => unreachable!("as in `cells_by_features`"),
    }
}

/// out[f] += Σ over cells.
fn sum_cells(values: &[f32], shape: Shape, out: &mut [f32]) {
    match shape.layout {
        Layout::ByCell => add_rows_into(values, out),
        Layout::ByFeature => {
            for (o, row) in out.iter_mut().zip(values.chunks_exact(shape.cells)) {
                *o += row.iter().map(|&v| f64::from(v)).sum::<f64>() as f32;
            }
        }
        Layout::Lanes => unreachable!("as in `cells_by_features`"),
    }
}

kernel! {
/// out += the sum of the rows of `values`.
pub(crate) fn add_rows_into(s, values: &[f32], out: &mut [f32]) {
    for row in values.chunks_exact(out.len()) {
        for (o, &v) in out.iter_mut().zip(row) {
            *o += v;
        }
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;
    use crate::params::Axis;

    #[test]
    fn gradients_in_every_layout() {
        for (from, to) in [
            (Layout::ByCell, Layout::ByCell),
            (Layout::ByCell, Layout::ByFeature),
            (Layout::ByFeature, Layout::ByCell),
            (Layout::ByFeature, Layout::ByFeature),
        ] {
            let mut check = Check::new();
            let x = check.input("x", Shape { cells: 5, features: 3, layout: from });
            let w = check.param("w", &[(Axis::Hidden, 4), (Axis::Hidden, 3)]);
            let b = check.param("b", &[(Axis::Hidden, 4)]);
            check.twin(move |v| {
                // y[c, o] = Σ_i x[c, i] w[o, i] + b[o]
                let (xs, ws, bs) = (v.input(x), v.param(w), v.param(b));
                let mut y = vec![0.0; 20];
                for c in 0..5 {
                    for o in 0..4 {
                        let mut sum = bs[o];
                        for i in 0..3 {
                            let at = if from == Layout::ByCell { c * 3 + i } else { i * 5 + c };
                            sum += xs[at] * ws[o * 3 + i];
                        }
                        y[if to == Layout::ByCell { c * 4 + o } else { o * 5 + c }] = sum;
                    }
                }
                y
            });
            check.run(|t, v| t.linear(v.input(x), v.param(w), Some(v.param(b)), to));
        }
    }

    #[test]
    fn only_trainable_rows_get_a_gradient() {
        let mut check = Check::new();
        let x = check.input("x", Shape::by_cell(4, 3));
        let w = check.param("w", &[(Axis::Program, 4), (Axis::Hidden, 3)]);
        check.train_rows(w, 2..4);
        check.twin(move |v| {
            let (xs, ws) = (v.input(x), v.param(w));
            (0..16).map(|at| (0..3).map(|i| xs[(at % 4) * 3 + i] * ws[(at / 4) * 3 + i]).sum()).collect()
        });
        check.run(|t, v| t.linear(v.input(x), v.param(w), None, Layout::ByFeature));
    }
}
