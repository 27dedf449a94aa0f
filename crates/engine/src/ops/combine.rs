//! Activations joined: a sum, a multiple, features side by side, and a decoder's mean times a learned library.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::batch::LANES;
use crate::lanes::{lanes_from, scale_lanes};
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Add {
    parts: [Var; 2],
    y: Var,
}

struct Times {
    x: Var,
    y: Var,
    factor: f32,
}

struct Concat {
    parts: [Var; 2],
    y: Var,
}

struct TimesLibrary {
    x: Var,
    log_library: Var,
    y: Var,
    most: f32,
}

impl Tape<'_> {
    /// y = a + b, of one shape.
    pub fn add(&mut self, a: Var, b: Var) -> Var {
        let shape = self.shape(a);
        debug_assert_eq!(self.shape(b), shape);
        let mut out = self.buffer(shape.len());
        out.iter_mut().zip(self.value(a)).zip(self.value(b)).for_each(|((o, &a), &b)| *o = a + b);
        let y = self.push(shape, out, self.needs(a) || self.needs(b));
        if self.needs(y) {
            self.record(Add { parts: [a, b], y });
        }
        y
    }

    /// y = factor · x
    pub fn times(&mut self, x: Var, factor: f32) -> Var {
        let mut out = self.buffer(self.shape(x).len());
        out.iter_mut().zip(self.value(x)).for_each(|(o, &x)| *o = factor * x);
        let y = self.push(self.shape(x), out, self.needs(x));
        if self.needs(y) {
            self.record(Times { x, y, factor });
        }
        y
    }

    /// The features of `a` and then those of `b`, [cell × (a + b)].
    pub fn concat(&mut self, a: Var, b: Var) -> Var {
        let (sa, sb) = (self.shape(a), self.shape(b));
        debug_assert_eq!((sa.layout, sb.layout, sa.cells), (Layout::ByCell, Layout::ByCell, sb.cells));
        let shape = Shape::by_cell(sa.cells, sa.features + sb.features);
        let mut out = self.buffer(shape.len());
        let parts = self.value(a).chunks_exact(sa.features).zip(self.value(b).chunks_exact(sb.features));
        for (o, (a, b)) in out.chunks_exact_mut(shape.features).zip(parts) {
            o[..sa.features].copy_from_slice(a);
            o[sa.features..].copy_from_slice(b);
        }
        let y = self.push(shape, out, self.needs(a) || self.needs(b));
        if self.needs(y) {
            self.record(Concat { parts: [a, b], y });
        }
        y
    }

    /// y[gene, cell] = x[gene, cell] · e^min(l[cell], most), in lanes; `log_library` has one value a
    /// cell.
    pub fn times_library(&mut self, x: Var, log_library: Var, most: f32) -> Var {
        let shape = self.shape(x);
        debug_assert_eq!(shape.layout, Layout::Lanes);
        debug_assert_eq!(self.shape(log_library).len(), shape.cells);
        let mut out = self.buffer(shape.len());
        let (size, library) = (shape.features * LANES, self.value(log_library));
        out.par_chunks_mut(size).zip(self.value(x).par_chunks(size)).enumerate().for_each(|(block, (o, x))| {
            o.copy_from_slice(x);
            scale_lanes(&sizes(&lanes_from(library, block), most), o);
        });
        let y = self.push(shape, out, self.needs(x) || self.needs(log_library));
        if self.needs(y) {
            self.record(TimesLibrary { x, log_library, y, most });
        }
        y
    }
}

impl Backward for Add {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        for part in self.parts {
            if back.needs(part) {
                let (mut g, fresh) = back.take_or_fresh(part);
                if fresh {
                    g.copy_from_slice(&gy);
                } else {
                    g.iter_mut().zip(&gy).for_each(|(o, &v)| *o += v);
                }
                back.put(part, g);
            }
        }
        back.recycle(gy);
    }
}

impl Backward for Times {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let mut g = back.take_or_zero(self.x);
        g.iter_mut().zip(&gy).for_each(|(o, &v)| *o += self.factor * v);
        back.put(self.x, g);
        back.recycle(gy);
    }
}

impl Backward for Concat {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let width = back.shape(self.y).features;
        let mut first = 0;
        for part in self.parts {
            let own = back.shape(part).features;
            if back.needs(part) {
                let mut g = back.take_or_zero(part);
                for (g, gy) in g.chunks_exact_mut(own).zip(gy.chunks_exact(width)) {
                    g.iter_mut().zip(&gy[first..first + own]).for_each(|(o, &v)| *o += v);
                }
                back.put(part, g);
            }
            first += own;
        }
        back.recycle(gy);
    }
}

impl Backward for TimesLibrary {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(mut gy) = back.take(self.y) else { return };
        let size = back.shape(self.y).features * LANES;
        let (library, y) = (back.value(self.log_library), back.value(self.y));
        if back.needs(self.log_library) {
            let mut g = back.take_or_zero(self.log_library);
            let tasks = g.par_chunks_mut(LANES).zip(gy.par_chunks(size).zip(y.par_chunks(size)));
            tasks.zip(library.par_chunks(LANES)).for_each(|((o, (gy, y)), library)| {
                let total = along(gy, y);
                for (l, o) in o.iter_mut().enumerate().filter(|(l, _)| library[*l] < self.most) {
                    *o += total[l];
                }
            });
            back.put(self.log_library, g);
        }
        if back.needs(self.x) {
            gy.par_chunks_mut(size).enumerate().for_each(|(block, g)| {
                scale_lanes(&sizes(&lanes_from(library, block), self.most), g);
            });
            let mut g = back.take_or_zero(self.x);
            g.iter_mut().zip(&gy).for_each(|(o, &v)| *o += v);
            back.put(self.x, g);
        }
        back.recycle(gy);
    }
}

kernel! {
fn sizes(s, library: &[f32; LANES], most: f32) -> [f32; LANES] {
    let mut out = [0f32; LANES];
    for l in 0..LANES {
        out[l] = math::exp(s, library[l].min(most));
    }
    out
}
}

kernel! {
/// Σ_genes dy · y of each lane.
fn along(s, gy: &[f32], y: &[f32]) -> [f32; LANES] {
    let mut total = [0f32; LANES];
    for (gy, y) in gy.chunks(64 * LANES).zip(y.chunks(64 * LANES)) {
        let mut part = [0f32; LANES];
        for (gy, y) in gy.chunks_exact(LANES).zip(y.chunks_exact(LANES)) {
            for l in 0..LANES {
                part[l] = s.fma(gy[l], y[l], part[l]);
            }
        }
        for l in 0..LANES {
            total[l] += part[l];
        }
    }
    total
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;

    #[test]
    fn sums_also_of_a_value_with_itself() {
        let mut check = Check::new();
        let a = check.input("a", Shape::by_cell(3, 4));
        let b = check.input("b", Shape::by_cell(3, 4));
        check.twin(move |v| v.input(a).iter().zip(v.input(b)).map(|(a, b)| 2.0 * a + b).collect());
        check.run(|t, v| {
            let twice = t.add(v.input(a), v.input(a));
            t.add(twice, v.input(b))
        });
    }

    #[test]
    fn multiples() {
        let mut check = Check::new();
        let a = check.input("a", Shape::by_cell(3, 4));
        check.twin(move |v| v.input(a).iter().map(|a| -2.5 * a).collect());
        check.run(|t, v| t.times(v.input(a), -2.5));
    }

    #[test]
    fn features_side_by_side() {
        let mut check = Check::new();
        let a = check.input("a", Shape::by_cell(3, 4));
        let b = check.input("b", Shape::by_cell(3, 2));
        check.twin(move |v| {
            let rows = v.input(a).chunks(4).zip(v.input(b).chunks(2));
            rows.flat_map(|(a, b)| a.iter().chain(b).copied().collect::<Vec<_>>()).collect()
        });
        check.run(|t, v| t.concat(v.input(a), v.input(b)));
    }

    #[test]
    fn times_a_library_up_to_the_most() {
        let (cells, genes) = (40, 5);
        let mut check = Check::new();
        let x = check.input("x", Shape::lanes(genes, cells));
        let l = check.input("l", Shape::by_feature(1, cells));
        check.twin(move |v| {
            let at = |i: usize| (i / (genes * LANES)) * LANES + i % LANES;
            let size = |i: usize| v.input(l).get(at(i)).copied().unwrap_or(0.0).min(0.5).exp();
            v.input(x).iter().enumerate().map(|(i, x)| x * size(i)).collect()
        });
        check.run(|t, v| t.times_library(v.input(x), v.input(l), 0.5));
    }
}
