//! From the decoder's linear predictor h to the mean μ of the likelihood, [gene × cell] in lanes.
//!
//! softmax: μ = ℓ e^h / Σ_genes e^h (ℓ: library size); exp, softplus, ReLU: gene by gene.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::batch::LANES;
use crate::lanes::{lanes_from, rows, rows_mut};
use crate::tape::{Back, Backward, Layout, Tape, Var};

/// The output function of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// ℓ · softmax(h) over genes.
    Softmax,
    /// e^h
    Exp,
    /// ln(1 + e^h)
    Softplus,
    /// max(h, 0)
    Relu,
    /// h
    Identity,
}

struct Mean<'a> {
    h: Var,
    mu: Var,
    link: Link,
    library: &'a [f32],
}

impl<'a> Tape<'a> {
    /// μ = link(h), in lanes. `library` has one size a cell; only softmax reads it.
    ///
    /// μ takes h's place in memory: h itself cannot be read afterwards.
    pub fn mean_of(&mut self, h: Var, link: Link, library: &'a [f32]) -> Var {
        if link == Link::Identity {
            return h;
        }
        let shape = self.shape(h);
        debug_assert_eq!(shape.layout, Layout::Lanes);
        let mut out = self.consume(h);
        out.par_chunks_mut(shape.features * LANES).enumerate().for_each(|(block, h)| match link {
            Link::Softmax => softmax(h, &lanes_from(library, block)),
            Link::Exp => exp(h),
            Link::Softplus => softplus(h),
            Link::Relu => h.iter_mut().for_each(|h| *h = h.max(0.0)),
            Link::Identity => {}
        });
        let mu = self.push(shape, out, self.needs(h));
        if self.needs(mu) {
            self.record(Mean { h, mu, link, library });
        }
        mu
    }
}

impl Backward for Mean<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let taken = match self.link {
            Link::Softmax => back.take_unweighted(self.mu),
            _ => back.take(self.mu).map(|g| (g, None)),
        };
        let Some((mut g, weights)) = taken else { return };
        let weights = |block| weights.as_ref().map_or([1.0; LANES], |w| lanes_from(w, block));
        let size = back.shape(self.mu).features * LANES;
        let mu = back.value(self.mu);
        g.par_chunks_mut(size).zip(mu.par_chunks(size)).enumerate().for_each(|(block, (g, mu))| match self.link {
            Link::Softmax => softmax_backward(mu, &lanes_from(self.library, block), &weights(block), g),
            Link::Exp => g.iter_mut().zip(mu).for_each(|(g, &m)| *g *= m),
            Link::Softplus => softplus_backward(mu, g),
            Link::Relu => g.iter_mut().zip(mu).for_each(|(g, &m)| *g = if m > 0.0 { *g } else { 0.0 }),
            Link::Identity => {}
        });
        let (mut gh, fresh) = back.take_or_fresh(self.h);
        if fresh {
            back.recycle(gh);
            back.put(self.h, g);
        } else {
            gh.iter_mut().zip(&g).for_each(|(o, &v)| *o += v);
            back.put(self.h, gh);
            back.recycle(g);
        }
    }
}

/// Genes whose sums are kept apart before they are added up, for accuracy.
const GROUP: usize = 64;

kernel! {
fn softmax(s, h: &mut [f32], library: &[f32; LANES]) {
    let h = rows_mut(h);
    let mut top = [f32::NEG_INFINITY; LANES];
    for row in h.iter() {
        for l in 0..LANES {
            top[l] = if row[l] > top[l] { row[l] } else { top[l] };
        }
    }
    let mut total = [0f32; LANES];
    for h in h.chunks_mut(GROUP) {
        let mut sum = [0f32; LANES];
        for h in h {
            for l in 0..LANES {
                h[l] = math::exp(s, h[l] - top[l]);
            }
            for l in 0..LANES {
                sum[l] += h[l];
            }
        }
        for l in 0..LANES {
            total[l] += sum[l];
        }
    }
    let mut scale = [0f32; LANES];
    for l in 0..LANES {
        scale[l] = library[l] / total[l];
    }
    for h in h {
        for l in 0..LANES {
            h[l] *= scale[l];
        }
    }
}
}

kernel! {
/// dh = w μ (dμ − Σ_genes μ dμ / ℓ), w a weight of each cell; no gradient where ℓ = 0.
fn softmax_backward(s, mu: &[f32], library: &[f32; LANES], weights: &[f32; LANES], g: &mut [f32]) {
    let (mu, g) = (rows(mu), rows_mut(g));
    let mut total = [0f32; LANES];
    for (mu, g) in mu.chunks(GROUP).zip(g.chunks(GROUP)) {
        let mut sum = [0f32; LANES];
        for (mu, g) in mu.iter().zip(g) {
            for l in 0..LANES {
                sum[l] = s.fma(mu[l], g[l], sum[l]);
            }
        }
        for l in 0..LANES {
            total[l] += sum[l];
        }
    }
    let mut share = [0f32; LANES];
    for l in 0..LANES {
        share[l] = if library[l] > 0.0 { total[l] / library[l] } else { 0.0 };
    }
    for (mu, g) in mu.iter().zip(g) {
        for l in 0..LANES {
            g[l] = weights[l] * mu[l] * (g[l] - share[l]);
        }
    }
}
}

kernel! {
fn exp(s, h: &mut [f32]) {
    for h in h {
        *h = math::exp(s, *h);
    }
}
}

kernel! {
/// max(h, 0) + ln(1 + e^−|h|)
fn softplus(s, h: &mut [f32]) {
    for h in h {
        *h = h.max(0.0) + math::ln_1p(s, math::exp(s, -h.abs()));
    }
}
}

kernel! {
/// The slope is 1 − e^−μ.
fn softplus_backward(s, mu: &[f32], g: &mut [f32]) {
    for (g, &m) in g.iter_mut().zip(mu) {
        *g *= 1.0 - math::exp(s, -m);
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;
    use crate::tape::Shape;

    #[test]
    fn every_link_and_its_gradient() {
        let (cells, genes) = (40, 7);
        let library: Vec<f32> = (0..cells).map(|c| if c == 3 { 0.0 } else { 5.0 + c as f32 }).collect();
        for link in [Link::Softmax, Link::Exp, Link::Softplus, Link::Relu, Link::Identity] {
            let mut check = Check::new();
            let h = check.input("h", Shape::lanes(genes, cells));
            let sizes = library.clone();
            check.twin(move |v| {
                let h = v.input(h);
                let mut out = vec![0.0; h.len()];
                for at in 0..h.len() {
                    let (block, lane) = (at / (genes * LANES), at % LANES);
                    let cell = block * LANES + lane;
                    out[at] = match link {
                        Link::Softmax => {
                            let gene = |g: usize| h[block * genes * LANES + g * LANES + lane].exp();
                            let total: f64 = (0..genes).map(gene).sum();
                            f64::from(sizes.get(cell).copied().unwrap_or(0.0)) * h[at].exp() / total
                        }
                        Link::Exp => h[at].exp(),
                        Link::Softplus => h[at].exp().ln_1p(),
                        Link::Relu => h[at].max(0.0),
                        Link::Identity => h[at],
                    };
                }
                out
            });
            check.run(|t, v| t.mean_of(v.input(h), link, &library));
        }
    }
}
