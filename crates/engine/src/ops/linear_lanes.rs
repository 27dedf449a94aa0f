//! Dense layer to genes.  h = x Wᵀ + b + L[s],  x: cell × hidden, W: gene × hidden, b: gene,
//! L: condition × gene, h: gene × cell in lanes.
//!
//! A product for each block of lanes, which stays in cache for what comes after it.

use scgraft_numeric::gemm::by_rows;

use crate::batch::Codes;
use crate::ops::lanes::{product, product_back, product_weights, start, sum_all_cells, sum_cells};
use crate::ops::linear::cells_by_features;
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
        let shape = Shape { cells: from.cells, features: n_genes, layout: Layout::Lanes };
        let mut out = self.buffer(shape.len());
        let b = bias.map(|b| self.params().values(b));
        let offsets = groups.map(|(l, codes)| (self.params().values(l), codes));
        start(n_genes, from.cells, b, offsets, &mut out);
        product(&mut out, by_rows(w.values(), n_genes, n_in), cells_by_features(self.value(x), from));
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
        if back.trains(self.weight) {
            let x = cells_by_features(back.value(self.x), sx);
            let trainable = back.params.get(self.weight).trainable.clone();
            let (gw, mut fresh) = back.tensor_or_fresh(self.weight);
            if fresh && !matches!(&trainable[..], [all] if *all == (0..n_genes)) {
                gw.fill(0.0);
                fresh = false;
            }
            for r in trainable {
                let own = &mut gw[r.start * sx.features..r.end * sx.features];
                product_weights(own, false, fresh, &gh, (r, n_genes), x);
            }
        }
        if let Some(b) = self.bias {
            sum_all_cells(b, &gh, n_genes, cells, back);
        }
        if let Some((l, codes)) = self.groups {
            sum_cells(l, codes, &gh, None, n_genes, back);
        }
        if back.needs(self.x) {
            let (mut gx, fresh) = back.take_or_fresh(self.x);
            let w = by_rows(back.params.values(self.weight), n_genes, sx.features);
            product_back(&mut gx, sx.layout == Layout::ByFeature, fresh, w, &gh, cells);
            back.put(self.x, gx);
        }
        back.recycle(gh);
    }
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
