//! Layer normalisation without affine terms.  y = (x − m)/√(v + ε), m and v over a cell's features.

use rayon::prelude::*;

use crate::isa::kernel;
use crate::tape::{Back, Backward, Layout, Tape, Var};

const EPSILON: f32 = 1e-5;
/// Cells a task.
const CELLS: usize = 64;

struct LayerNorm {
    x: Var,
    y: Var,
    /// 1/√(v + ε) of each cell.
    scales: Vec<f32>,
}

impl Tape<'_> {
    /// y = (x − mean)/√(variance + 1e-5) for each cell, [cell × hidden].
    pub fn layer_norm(&mut self, x: Var) -> Var {
        let shape = self.shape(x);
        debug_assert_eq!(shape.layout, Layout::ByCell);
        let mut out = self.buffer(shape.len());
        let mut scales = self.buffer(shape.cells);
        let width = shape.features;
        let tasks = out.par_chunks_mut(CELLS * width).zip(scales.par_chunks_mut(CELLS));
        tasks.zip(self.value(x).par_chunks(CELLS * width)).for_each(|((o, s), x)| normalise(x, width, o, s));
        let needs = self.needs(x);
        let y = self.push(shape, out, needs);
        if self.needs(y) {
            self.record(LayerNorm { x, y, scales });
        } else {
            self.recycle(scales);
        }
        y
    }
}

impl Backward for LayerNorm {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let width = back.shape(self.y).features;
        let (mut gx, fresh) = back.take_or_fresh(self.x);
        let y = back.value(self.y).par_chunks(CELLS * width);
        let tasks = gx.par_chunks_mut(CELLS * width).zip(gy.par_chunks(CELLS * width)).zip(y);
        tasks.zip(self.scales.par_chunks(CELLS)).for_each(|(((gx, gy), y), s)| gradient(gy, y, s, width, fresh, gx));
        back.put(self.x, gx);
        back.recycle(gy);
        back.recycle(self.scales);
    }
}

/// Partial sums a row is added in, so that the compiler can vectorise.
const PARTS: usize = 32;

#[inline(always)]
fn sum(parts: &[f32; PARTS]) -> f32 {
    parts.iter().map(|&p| f64::from(p)).sum::<f64>() as f32
}

kernel! {
fn normalise(s, x: &[f32], width: usize, out: &mut [f32], scales: &mut [f32]) {
    let n = width as f32;
    for ((x, o), scale) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(scales) {
        let mut parts = [0f32; PARTS];
        for chunk in x.chunks(PARTS) {
            parts.iter_mut().zip(chunk).for_each(|(p, &v)| *p += v);
        }
        let mean = sum(&parts) / n;
        let mut parts = [0f32; PARTS];
        for chunk in x.chunks(PARTS) {
            parts.iter_mut().zip(chunk).for_each(|(p, &v)| *p = s.fma(v - mean, v - mean, *p));
        }
        *scale = 1.0 / (sum(&parts) / n + EPSILON).sqrt();
        o.iter_mut().zip(x).for_each(|(o, &v)| *o = (v - mean) * *scale);
    }
}
}

kernel! {
/// dx = (dy − mean(dy) − y · mean(dy · y)) / √(v + ε)
fn gradient(s, gy: &[f32], y: &[f32], scales: &[f32], width: usize, fresh: bool, gx: &mut [f32]) {
    let n = width as f32;
    for (((gy, y), gx), &scale) in
        gy.chunks_exact(width).zip(y.chunks_exact(width)).zip(gx.chunks_exact_mut(width)).zip(scales)
    {
        let (mut plain, mut along) = ([0f32; PARTS], [0f32; PARTS]);
        for (g, y) in gy.chunks(PARTS).zip(y.chunks(PARTS)) {
            plain.iter_mut().zip(g).for_each(|(p, &v)| *p += v);
            along.iter_mut().zip(g).zip(y).for_each(|((p, &v), &y)| *p = s.fma(v, y, *p));
        }
        let (mean, slope) = (sum(&plain) / n, sum(&along) / n);
        if fresh {
            gx.iter_mut().zip(gy).zip(y).for_each(|((o, &g), &y)| *o = scale * (g - mean - y * slope));
        } else {
            gx.iter_mut().zip(gy).zip(y).for_each(|((o, &g), &y)| *o += scale * (g - mean - y * slope));
        }
    }
}
}

#[cfg(test)]
mod tests {
    use crate::ops::check::Check;
    use crate::tape::Shape;

    #[test]
    fn values_and_gradients() {
        for width in [7, 40] {
            let mut check = Check::new();
            let x = check.input("x", Shape::by_cell(5, width));
            check.twin(move |v| {
                v.input(x)
                    .chunks(width)
                    .flat_map(|row| {
                        let n = width as f64;
                        let mean = row.iter().sum::<f64>() / n;
                        let var = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                        row.iter().map(|x| (x - mean) / (var + 1e-5).sqrt()).collect::<Vec<_>>()
                    })
                    .collect()
            });
            check.run(|t, v| t.layer_norm(v.input(x)));
        }
    }
}
