//! The same activation in another order in memory.  y = x.

use rayon::prelude::*;

use crate::batch::LANES;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Relayout {
    x: Var,
    y: Var,
}

impl Tape<'_> {
    /// `x` in the layout asked for; `x` itself when it lies so already.
    pub fn to_layout(&mut self, x: Var, layout: Layout) -> Var {
        let from = self.shape(x);
        if from.layout == layout {
            return x;
        }
        let to = Shape { layout, ..from };
        let mut out = self.buffer(to.len());
        reorder(self.value(x), from, layout, &mut out);
        let y = self.push(to, out, self.needs(x));
        if self.needs(y) {
            self.record(Relayout { x, y });
        }
        y
    }
}

impl Backward for Relayout {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let (to, from) = (back.shape(self.x), back.shape(self.y));
        let (mut gx, fresh) = back.take_or_fresh(self.x);
        if fresh {
            reorder(&gy, from, to.layout, &mut gx);
        } else {
            let mut part = back.buffer(gx.len());
            reorder(&gy, from, to.layout, &mut part);
            gx.iter_mut().zip(&part).for_each(|(o, &v)| *o += v);
            back.recycle(part);
        }
        back.put(self.x, gx);
        back.recycle(gy);
    }
}

/// Copies between two different layouts; lanes past the last cell become zero.
pub(crate) fn reorder(x: &[f32], Shape { cells, features, layout }: Shape, to: Layout, out: &mut [f32]) {
    let size = (features * LANES).max(1);
    match (layout, to) {
        (Layout::ByCell, Layout::ByFeature) => transpose(x, features, cells, out, cells),
        (Layout::ByFeature, Layout::ByCell) => transpose(x, cells, features, out, features),
        (Layout::ByFeature, Layout::Lanes) => rows_to_lanes(x, features, cells, out),
        (Layout::Lanes, Layout::ByFeature) => lanes_to_rows(x, features, cells, out),
        (Layout::ByCell, Layout::Lanes) => {
            out.par_chunks_mut(size).zip(x.par_chunks(size)).for_each(|(o, x)| {
                let count = x.len() / features;
                if count < LANES {
                    o.fill(0.0);
                }
                transpose(x, features, count, o, LANES);
            });
        }
        (Layout::Lanes, Layout::ByCell) => {
            out.par_chunks_mut(size).zip(x.par_chunks(size)).for_each(|(o, x)| {
                transpose(x, LANES, features, o, features);
            });
        }
        (Layout::ByCell, Layout::ByCell) | (Layout::ByFeature, Layout::ByFeature) | (Layout::Lanes, Layout::Lanes) => {
            out.copy_from_slice(x)
        }
    }
}

/// out[c, r] = x[r, c] for the first `rows` rows of x (of width `from`); rows of `out` have width
/// `to`. Columns of x that `out` has no row for are left.
fn transpose(x: &[f32], from: usize, rows: usize, out: &mut [f32], to: usize) {
    const TILE: usize = 16;
    let columns = from.min(out.len() / to);
    for first in (0..rows).step_by(TILE) {
        let last = rows.min(first + TILE);
        for (c, o) in out.chunks_exact_mut(to).take(columns).enumerate() {
            for (r, o) in (first..last).zip(&mut o[first..last]) {
                *o = x[r * from + c];
            }
        }
    }
}

/// [feature × cell] to [block × feature × lane]; lanes past the last cell become zero.
pub(crate) fn rows_to_lanes(rows: &[f32], features: usize, cells: usize, out: &mut [f32]) {
    out.par_chunks_mut((features * LANES).max(1)).enumerate().for_each(|(block, out)| {
        let first = block * LANES;
        let count = LANES.min(cells - first);
        for (row, o) in rows.chunks_exact(cells).zip(out.chunks_exact_mut(LANES)) {
            o[..count].copy_from_slice(&row[first..first + count]);
            o[count..].fill(0.0);
        }
    });
}

/// [block × feature × lane] to [feature × cell].
fn lanes_to_rows(lanes: &[f32], features: usize, cells: usize, out: &mut [f32]) {
    const ROWS: usize = 64;
    out.par_chunks_mut(ROWS * cells).enumerate().for_each(|(part, out)| {
        for (block, lanes) in lanes.chunks_exact(features * LANES).enumerate() {
            let first = block * LANES;
            let count = LANES.min(cells - first);
            let own = &lanes[part * ROWS * LANES..];
            for (row, l) in out.chunks_exact_mut(cells).zip(own.chunks_exact(LANES)) {
                row[first..first + count].copy_from_slice(&l[..count]);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;

    #[test]
    fn every_pair_of_layouts() {
        let layouts = [Layout::ByCell, Layout::ByFeature, Layout::Lanes];
        let (cells, features) = (40, 70);
        let at = move |layout: Layout, c: usize, f: usize| match layout {
            Layout::ByCell => c * features + f,
            Layout::ByFeature => f * cells + c,
            Layout::Lanes => (c / LANES) * features * LANES + f * LANES + c % LANES,
        };
        for (from, to) in layouts.into_iter().flat_map(|a| layouts.into_iter().map(move |b| (a, b))) {
            let mut check = Check::new();
            let x = check.input("x", Shape { cells, features, layout: from });
            check.twin(move |v| {
                let mut y = vec![0.0; Shape { cells, features, layout: to }.len()];
                if from == to {
                    y.copy_from_slice(v.input(x));
                }
                for (c, f) in (0..cells).flat_map(|c| (0..features).map(move |f| (c, f))) {
                    y[at(to, c, f)] = v.input(x)[at(from, c, f)];
                }
                y
            });
            check.run(|t, v| t.to_layout(v.input(x), to));
        }
    }
}
