//! Squared error.  Σ_genes (x − y)², x sparse, y [gene × cell] in lanes.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;

use crate::batch::{LANES, SparseBatch};
use crate::lanes::lanes_from;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Mse<'a> {
    y: Var,
    loss: Var,
    x: &'a SparseBatch,
}

impl<'a> Tape<'a> {
    /// Σ_genes (x − y)² of each cell, [cell × 1]; x are the batch's values as given.
    pub fn squared_error(&mut self, y: Var, x: &'a SparseBatch) -> Var {
        let shape = self.shape(y);
        debug_assert_eq!(shape.layout, Layout::Lanes);
        let mut out = self.buffer(shape.cells);
        let size = shape.features * LANES;
        out.par_chunks_mut(LANES).zip(self.value(y).par_chunks(size)).enumerate().for_each(|(block, (o, y))| {
            let mut sums = [0f64; LANES];
            squares(y, &mut sums);
            let span = x.block(block);
            let lists = x.lane_genes[span.clone()].iter().zip(&x.lanes[span.clone()]).zip(&x.values[span]);
            for ((&g, &lane), &v) in lists {
                let y = f64::from(y[g as usize * LANES + lane as usize]);
                sums[lane as usize] += f64::from(v) * (f64::from(v) - 2.0 * y);
            }
            o.iter_mut().zip(&sums).for_each(|(o, &v)| *o = v as f32);
        });
        let needs = self.needs(y);
        let loss = self.push(Shape::by_cell(shape.cells, 1), out, needs);
        if self.needs(loss) {
            self.record(Mse { y, loss, x });
        }
        loss
    }
}

impl Backward for Mse<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gl) = back.take(self.loss) else { return };
        let size = back.shape(self.y).features * LANES;
        let (mut g, fresh) = back.take_or_fresh(self.y);
        if fresh {
            g.fill(0.0);
        }
        let y = back.value(self.y);
        g.par_chunks_mut(size).zip(y.par_chunks(size)).enumerate().for_each(|(block, (g, y))| {
            let weights = lanes_from(&gl, block);
            for (g, y) in g.chunks_exact_mut(LANES).zip(y.chunks_exact(LANES)) {
                for l in 0..LANES {
                    g[l] += 2.0 * weights[l] * y[l];
                }
            }
            let span = self.x.block(block);
            let lists = self.x.lane_genes[span.clone()].iter().zip(&self.x.lanes[span.clone()]);
            for ((&gene, &lane), &v) in lists.zip(&self.x.values[span]) {
                g[gene as usize * LANES + lane as usize] -= 2.0 * weights[lane as usize] * v;
            }
        });
        back.put(self.y, g);
        back.recycle(gl);
    }
}

kernel! {
fn squares(s, y: &[f32], sums: &mut [f64; LANES]) {
    for group in y.chunks(64 * LANES) {
        let mut part = [0f32; LANES];
        for row in group.chunks_exact(LANES) {
            for l in 0..LANES {
                part[l] = s.fma(row[l], row[l], part[l]);
            }
        }
        for l in 0..LANES {
            sums[l] += f64::from(part[l]);
        }
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{Check, sparse_counts};

    #[test]
    fn values_and_gradients() {
        let (cells, genes) = (40, 5);
        let (batch, dense) = sparse_counts(cells, genes);
        let mut check = Check::new();
        let y = check.input("y", Shape::lanes(genes, cells));
        check.twin(move |v| {
            let at = |c: usize, g: usize| v.input(y)[(c / LANES) * genes * LANES + g * LANES + c % LANES];
            (0..cells).map(|c| (0..genes).map(|g| (dense[c * genes + g] - at(c, g)).powi(2)).sum()).collect()
        });
        check.run(|t, v| t.squared_error(v.input(y), &batch));
    }
}
