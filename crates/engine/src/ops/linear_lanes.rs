//! Dense layer to genes.  h = x Wᵀ + b + L[s],  x: cell × hidden, W: gene × hidden, b: gene,
//! L: condition × gene, h: gene × cell in lanes.
//!
//! One product for all cells, [gene × cell], which is then cut into blocks of lanes.

use rayon::prelude::*;

use crate::batch::Codes;
use crate::gemm::{View, gemm};
use crate::ops::linear::cells_by_features;
use crate::ops::relayout::{lanes_to_rows, rows_to_lanes};
use crate::params::ParamId;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct LinearLanes<'a> {
    x: Var,
    h: Var,
    weight: ParamId,
    bias: Option<ParamId>,
    groups: Option<(ParamId, &'a Codes)>,
}

impl<'a> Tape<'a> {
    /// h = x Wᵀ + b + L[s], in lanes.
    ///
    /// `x` lies by cell or by feature; `weight` is [gene × hidden], `bias` [gene], `groups` L,
    /// [condition × gene], with each cell's condition.
    pub fn linear_to_lanes(
        &mut self,
        x: Var,
        weight: ParamId,
        bias: Option<ParamId>,
        groups: Option<(ParamId, &'a Codes)>,
    ) -> Var {
        let w = self.params().get(weight);
        let (n_genes, n_in) = (w.rows(), w.row_len());
        let from = self.shape(x);
        debug_assert_eq!(from.features, n_in);
        let mut product = self.buffer(n_genes * from.cells);
        let xs = cells_by_features(self.value(x), from);
        gemm(&mut product, false, false, View::rows(&w.values, n_genes, n_in), xs.t());
        let shape = Shape { cells: from.cells, features: n_genes, layout: Layout::Lanes };
        let mut out = self.buffer(shape.len());
        let b = bias.map(|b| self.params().values(b));
        let offsets = groups.map(|(l, codes)| (self.params().values(l), codes));
        rows_to_lanes(&product, n_genes, from.cells, b, offsets, &mut out);
        self.recycle(product);
        let needs = self.needs(x)
            || self.trains(weight)
            || bias.is_some_and(|b| self.trains(b))
            || groups.is_some_and(|g| self.trains(g.0));
        let h = self.push(shape, out, needs);
        if self.needs(h) {
            self.record(LinearLanes { x, h, weight, bias, groups });
        }
        h
    }
}

impl Backward for LinearLanes<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gh) = back.take(self.h) else { return };
        let Shape { cells, features: n_genes, .. } = back.shape(self.h);
        let sx = back.shape(self.x);
        let mut rows = back.buffer(n_genes * cells);
        lanes_to_rows(&gh, n_genes, cells, &mut rows);
        if back.trains(self.weight) {
            let x = cells_by_features(back.value(self.x), sx);
            let param = back.params.get(self.weight);
            if param.trainable.len() == 1 && param.trainable[0] == (0..n_genes) {
                let (gw, fresh) = back.tensor_or_fresh(self.weight);
                gemm(gw, false, !fresh, View::rows(&rows, n_genes, cells), x);
            } else {
                for r in &param.trainable {
                    let gw = &mut back.tensor(self.weight)[r.start * sx.features..r.end * sx.features];
                    gemm(gw, false, true, View::rows(&rows[r.start * cells..r.end * cells], r.len(), cells), x);
                }
            }
        }
        if let Some(b) = self.bias.filter(|&b| back.trains(b)) {
            for r in back.params.get(b).trainable.clone() {
                let sums = rows[r.start * cells..r.end * cells].par_chunks(cells);
                back.tensor(b)[r].par_iter_mut().zip(sums).with_min_len(64).for_each(|(o, row)| *o += total(row));
            }
        }
        if let Some((l, codes)) = self.groups.filter(|g| back.trains(g.0)) {
            let trainable = back.params.get(l).trainable.clone();
            let out = back.tensor(l);
            for &(from, to, code) in codes.runs.iter().filter(|r| trainable.iter().any(|t| t.contains(&(r.2 as usize))))
            {
                let own = &mut out[code as usize * n_genes..][..n_genes];
                let sums = rows.par_chunks(cells);
                own.par_iter_mut().zip(sums).with_min_len(64).for_each(|(o, row)| {
                    *o += total(&row[from as usize..to as usize]);
                });
            }
        }
        if back.needs(self.x) {
            let (mut gx, fresh) = back.take_or_fresh(self.x);
            let w = View::rows(back.params.values(self.weight), n_genes, sx.features);
            let transposed = sx.layout == Layout::ByFeature;
            gemm(&mut gx, transposed, !fresh, View::rows(&rows, n_genes, cells).t(), w);
            back.put(self.x, gx);
        }
        back.recycle(rows);
        back.recycle(gh);
    }
}

fn total(row: &[f32]) -> f32 {
    row.iter().map(|&v| f64::from(v)).sum::<f64>() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::LANES;
    use crate::ops::check::Check;
    use crate::params::Axis;

    fn check(from: Layout, rows: std::ops::Range<usize>) {
        let (cells, genes) = (40, 5);
        let codes = Codes::new((0..cells as u32).map(|c| (c / 9) % 3).collect());
        let mut check = Check::new();
        let x = check.input("x", Shape { cells, features: 3, layout: from });
        let w = check.param("w", &[(Axis::Gene, genes), (Axis::Hidden, 3)]);
        let b = check.param("b", &[(Axis::Gene, genes)]);
        let l = check.param("l", &[(Axis::Condition, 3), (Axis::Gene, genes)]);
        if rows.len() < genes {
            check.train_rows(w, rows.clone());
            check.train_rows(b, rows);
            check.train_rows(l, 2..3);
        }
        let c = codes.clone();
        check.twin(move |v| {
            let mut h = vec![0.0; Shape::lanes(genes, cells).len()];
            for (cell, g) in (0..cells).flat_map(|c| (0..genes).map(move |g| (c, g))) {
                let x = |i: usize| v.input(x)[if from == Layout::ByCell { cell * 3 + i } else { i * cells + cell }];
                let sum: f64 = (0..3).map(|i| x(i) * v.param(w)[g * 3 + i]).sum();
                let offset = v.param(b)[g] + v.param(l)[c.codes[cell] as usize * genes + g];
                h[(cell / LANES) * genes * LANES + g * LANES + cell % LANES] = sum + offset;
            }
            h
        });
        check.run(|t, v| t.linear_to_lanes(v.input(x), v.param(w), Some(v.param(b)), Some((v.param(l), &codes))));
    }

    #[test]
    fn values_and_gradients_of_all_and_of_some_genes() {
        check(Layout::ByCell, 0..5);
        check(Layout::ByFeature, 0..5);
        check(Layout::ByCell, 1..3);
    }
}
