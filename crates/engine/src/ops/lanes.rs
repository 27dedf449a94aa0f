//! Activations in lanes: their blocks, products with matrices block by block, and sums over cells.

use std::ops::Range;

use rayon::prelude::*;
use scgraft_numeric::gemm::{Accum, MatMut, MatRef, by_rows, matmul};
use scgraft_numeric::isa::kernel;

use crate::batch::{Codes, LANES};
use crate::lanes::{add_up, rows, rows_mut};
use crate::params::ParamId;
use crate::tape::Back;

/// Each feature's lanes start as b[feature] + L[code of the cell, feature]; lanes past the last cell as 0.
pub(crate) fn start(
    features: usize,
    cells: usize,
    bias: Option<&[f32]>,
    groups: Option<(&[f32], &Codes)>,
    out: &mut [f32],
) {
    out.par_chunks_mut((features * LANES).max(1)).enumerate().for_each(|(block, out)| {
        let count = LANES.min(cells - block * LANES);
        let runs: Vec<_> = match groups {
            Some((_, codes)) => codes.runs_within(block * LANES, block * LANES + count).collect(),
            None => vec![(0, count, 0)],
        };
        start_block(features, bias, groups.map(|g| g.0), &runs, out);
    });
}

/// A value, or 0 where there are none.
#[inline(always)]
fn at(values: Option<&[f32]>, i: usize) -> f32 {
    match values {
        Some(values) => values[i],
        None => 0.0,
    }
}

kernel! {
/// A block of [`start`]: `runs` are lanes from, to, and their code.
fn start_block(
    s,
    features: usize,
    bias: Option<&[f32]>,
    values: Option<&[f32]>,
    runs: &[(usize, usize, usize)],
    out: &mut [f32],
) {
    for (f, o) in rows_mut(out).iter_mut().enumerate() {
        let own = at(bias, f);
        // Cells of a condition stand together, so that most blocks have one.
        if let &[(0, LANES, code)] = runs {
            *o = [own + at(values, code * features + f); LANES];
            continue;
        }
        *o = [0.0; LANES];
        for &(from, to, code) in runs {
            o[from..to].fill(own + at(values, code * features + f));
        }
    }
}
}

/// out += W xᵀ, features × cells in lanes; W: features × inputs, x: cells × inputs.
pub(crate) fn product(out: &mut [f32], weights: MatRef<'_, f32>, x: MatRef<'_, f32>) {
    let (features, cells) = (weights.nrows(), x.nrows());
    out.par_chunks_mut((features * LANES).max(1)).enumerate().for_each(|(block, out)| {
        let own = cells_of(block, cells);
        let out = MatMut::from_row_major_slice_mut(out, features, LANES).subcols_mut(0, own.len());
        let x = x.subrows(own.start, own.len());
        matmul(out, Accum::Add, weights, x.transpose(), 1.0);
    });
}

/// dx += gᵀ W, cells × inputs (by rows; with `transposed`, its transpose), or = where nothing is there yet; g: features ×
/// cells in lanes.
pub(crate) fn product_back(
    dx: &mut [f32],
    transposed: bool,
    fresh: bool,
    weights: MatRef<'_, f32>,
    g: &[f32],
    cells: usize,
) {
    let (features, inputs) = (weights.nrows(), weights.ncols());
    let mut rest = if transposed {
        MatMut::from_row_major_slice_mut(dx, inputs, cells).transpose_mut()
    } else {
        MatMut::from_row_major_slice_mut(dx, cells, inputs)
    };
    let accum = if fresh { Accum::Replace } else { Accum::Add };
    let mut parts = Vec::with_capacity(cells.div_ceil(LANES));
    for block in 0..cells.div_ceil(LANES) {
        let (own, other) = rest.split_at_row_mut(cells_of(block, cells).len());
        parts.push(own);
        rest = other;
    }
    parts.into_par_iter().zip(g.par_chunks(features * LANES)).for_each(|(dx, g)| {
        let g = by_rows(g, features, LANES).subcols(0, dx.nrows());
        matmul(dx, accum, g.transpose(), weights, 1.0);
    });
}

/// Features whose share of a weight's gradient is computed together.
const TOGETHER: usize = 256;

/// dW += g x for `features` out of `n_features`, features × inputs (by rows; with `transposed`, its transpose), or = where
/// nothing is there yet; g: features × cells in lanes, x: cells × inputs.
pub(crate) fn product_weights(
    dw: &mut [f32],
    transposed: bool,
    fresh: bool,
    g: &[f32],
    (features, n_features): (Range<usize>, usize),
    x: MatRef<'_, f32>,
) {
    let (cells, inputs) = (x.nrows(), x.ncols());
    let mut rest = if transposed {
        MatMut::from_row_major_slice_mut(dw, inputs, features.len()).transpose_mut()
    } else {
        MatMut::from_row_major_slice_mut(dw, features.len(), inputs)
    };
    let mut parts = Vec::with_capacity(features.len().div_ceil(TOGETHER));
    for first in features.clone().step_by(TOGETHER) {
        let (own, other) = rest.split_at_row_mut(TOGETHER.min(features.end - first));
        parts.push((first, own));
        rest = other;
    }
    parts.into_par_iter().for_each(|(first, mut dw)| {
        for (block, g) in g.chunks_exact(n_features * LANES).enumerate() {
            let own = cells_of(block, cells);
            let g = &g[first * LANES..(first + dw.nrows()) * LANES];
            let g = by_rows(g, dw.nrows(), LANES).subcols(0, own.len());
            let accum = if fresh && block == 0 { Accum::Replace } else { Accum::Add };
            matmul(dw.as_mut(), accum, g, x.subrows(own.start, own.len()), 1.0);
        }
    });
}

fn cells_of(block: usize, cells: usize) -> Range<usize> {
    block * LANES..cells.min((block + 1) * LANES)
}

/// Blocks, and what the cells of each count for in a sum.
type Weights = Vec<(usize, [f32; LANES])>;

/// The cells of `runs`, each with its weight, or with 1.
fn weights(runs: impl Iterator<Item = Range<usize>>, of_cells: Option<&[f32]>) -> Weights {
    let mut out = Weights::new();
    for cell in runs.flatten() {
        let block = cell / LANES;
        if out.last().is_none_or(|w| w.0 != block) {
            out.push((block, [0.0; LANES]));
        }
        if let Some(last) = out.last_mut() {
            last.1[cell % LANES] = of_cells.map_or(1.0, |w| w[cell]);
        }
    }
    out
}

/// out[feature] += Σ_cells weight · value
fn add_cells(values: &[f32], n_features: usize, weights: &Weights, out: &mut [f32]) {
    const PART: usize = 256;
    out.par_chunks_mut(PART).enumerate().for_each(|(part, out)| {
        weighted_sums(values, n_features, part * PART, weights, out);
    });
}

/// Adds up values over the cells of each group whose row trains: tensor[group, feature] += Σ_cells w[cell] · value.
pub(crate) fn sum_cells(
    tensor: ParamId,
    codes: &Codes,
    values: &[f32],
    of_cells: Option<&[f32]>,
    n_features: usize,
    back: &mut Back<'_>,
) {
    if !back.trains(tensor) {
        return;
    }
    let trainable = back.params.get(tensor).trainable.clone();
    let out = back.tensor(tensor);
    for code in trainable.into_iter().flatten() {
        let own = codes.runs.iter().filter(|r| r.2 as usize == code).map(|r| r.0 as usize..r.1 as usize);
        let weights = weights(own, of_cells);
        add_cells(values, n_features, &weights, &mut out[code * n_features..(code + 1) * n_features]);
    }
}

/// Adds up values over all cells, for each feature that trains: tensor[feature] += Σ_cells value.
pub(crate) fn sum_all_cells(tensor: ParamId, values: &[f32], n_features: usize, cells: usize, back: &mut Back<'_>) {
    if !back.trains(tensor) {
        return;
    }
    let mut sums = back.buffer(n_features);
    sums.fill(0.0);
    add_cells(values, n_features, &weights(std::iter::once(0..cells), None), &mut sums);
    let trainable = back.params.get(tensor).trainable.clone();
    let out = back.tensor(tensor);
    for f in trainable.into_iter().flatten() {
        out[f] += sums[f];
    }
    back.recycle(sums);
}

kernel! {
/// out[feature] += Σ_blocks Σ_lanes weight · value, for the features from `first` on.
fn weighted_sums(s, values: &[f32], n_features: usize, first: usize, weights: &[(usize, [f32; LANES])], out: &mut [f32]) {
    let values = rows(values);
    for (i, o) in out.iter_mut().enumerate() {
        let mut part = [0f32; LANES];
        for (block, w) in weights {
            let row = &values[block * n_features + first + i];
            for l in 0..LANES {
                part[l] = s.fma(w[l], row[l], part[l]);
            }
        }
        *o += add_up(&part);
    }
}
}
