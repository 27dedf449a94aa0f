//! Poisson likelihood of counts.  −ln p(x; μ) = μ − x ln μ + ln Γ(x+1), summed over genes.
//!
//! μ is [gene × cell] in lanes. A zero count needs μ alone. Where a count is stored, μ is held
//! above 1e-30, so that a gene of no expression gives a large loss and no infinite one.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;

use crate::batch::{LANES, SparseBatch};
use crate::lanes::lanes_from;
use crate::ops::counts::LnFactorials;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

const SMALLEST: f32 = 1e-30;

struct Poisson<'a> {
    mu: Var,
    y: Var,
    x: &'a SparseBatch,
}

impl<'a> Tape<'a> {
    /// −ln Poisson(x; μ) of each cell, summed over genes, [cell × 1]; `mu` in lanes.
    pub fn poisson(&mut self, mu: Var, x: &'a SparseBatch) -> Var {
        let shape = self.shape(mu);
        debug_assert_eq!(shape.layout, Layout::Lanes);
        let mut loss = self.buffer(shape.cells);
        let size = shape.features * LANES;
        loss.par_chunks_mut(LANES).zip(self.value(mu).par_chunks(size)).enumerate().for_each(|(block, (o, mu))| {
            let mut sums = [0f64; LANES];
            totals(mu, &mut sums);
            let span = x.block(block);
            for ((&g, &lane), &x) in x.lane_genes[span.clone()].iter().zip(&x.lanes[span.clone()]).zip(&x.values[span])
            {
                let m = mu[g as usize * LANES + lane as usize].max(SMALLEST);
                sums[lane as usize] += LnFactorials::table().of(x) - f64::from(x) * f64::from(m).ln();
            }
            o.iter_mut().zip(&sums).for_each(|(o, &v)| *o = v as f32);
        });
        let y = self.push(Shape::by_cell(shape.cells, 1), loss, self.needs(mu));
        if self.needs(y) {
            self.record(Poisson { mu, y, x });
        }
        y
    }
}

impl Backward for Poisson<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let size = back.shape(self.mu).features * LANES;
        let mu = back.value(self.mu);
        let (mut g, fresh) = back.take_or_fresh(self.mu);
        if fresh {
            g.fill(0.0);
        }
        let x = self.x;
        g.par_chunks_mut(size).zip(mu.par_chunks(size)).enumerate().for_each(|(block, (g, mu))| {
            let weights = lanes_from(&gy, block);
            for row in g.chunks_exact_mut(LANES) {
                row.iter_mut().zip(&weights).for_each(|(o, &w)| *o += w);
            }
            let span = x.block(block);
            for ((&gene, &lane), &x) in
                x.lane_genes[span.clone()].iter().zip(&x.lanes[span.clone()]).zip(&x.values[span])
            {
                let at = gene as usize * LANES + lane as usize;
                g[at] -= weights[lane as usize] * x / mu[at].max(SMALLEST);
            }
        });
        back.put(self.mu, g);
        back.recycle(gy);
    }
}

kernel! {
fn totals(s, mu: &[f32], sums: &mut [f64; LANES]) {
    for group in mu.chunks(64 * LANES) {
        let mut part = [0f32; LANES];
        for row in group.chunks_exact(LANES) {
            for l in 0..LANES {
                part[l] += row[l];
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
    use scgraft_numeric::isa::Fused;
    use scgraft_numeric::math;

    use super::*;
    use crate::ops::Link;
    use crate::ops::check::{Check, sparse_counts};

    #[test]
    fn values_and_gradients() {
        let (cells, genes) = (40, 5);
        let (batch, dense) = sparse_counts(cells, genes);
        let mut check = Check::new();
        let h = check.input("h", Shape::lanes(genes, cells));
        check.twin(move |v| {
            let gene = |c: usize, g: usize| {
                let log_mu = v.input(h)[(c / LANES) * genes * LANES + g * LANES + c % LANES];
                let x = dense[c * genes + g];
                log_mu.exp() - x * log_mu + math::lgamma_digamma(Fused, x + 1.0).0
            };
            (0..cells).map(|c| (0..genes).map(|g| gene(c, g)).sum()).collect()
        });
        check.run(|t, v| {
            let mu = t.mean_of(v.input(h), Link::Exp, &[]);
            t.poisson(mu, &batch)
        });
    }
}
