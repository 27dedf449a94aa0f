//! Rows of lanes: the values of a block of cells for one feature.

use scgraft_numeric::isa::kernel;

use crate::batch::LANES;

/// Rows of lanes.
#[inline(always)]
pub(crate) fn rows(values: &[f32]) -> &[[f32; LANES]] {
    values.as_chunks().0
}

/// Rows of lanes, to write to.
#[inline(always)]
pub(crate) fn rows_mut(values: &mut [f32]) -> &mut [[f32; LANES]] {
    values.as_chunks_mut().0
}

/// The values of a block's cells; 0 past the last.
pub(crate) fn lanes_from(values: &[f32], block: usize) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    let first = block * LANES;
    let last = values.len().min(first + LANES);
    if first < last {
        out[..last - first].copy_from_slice(&values[first..last]);
    }
    out
}

kernel! {
/// Multiplies the lanes of each row by those of `by`.
pub(crate) fn scale_lanes(s, by: &[f32; LANES], values: &mut [f32]) {
    for row in rows_mut(values) {
        for l in 0..LANES {
            row[l] *= by[l];
        }
    }
}
}

/// The sum of the lanes, halving.
#[inline(always)]
pub(crate) fn add_up(lanes: &[f32; LANES]) -> f32 {
    let (mut a, mut b, mut c) = ([0f32; 16], [0f32; 8], [0f32; 4]);
    for l in 0..16 {
        a[l] = lanes[l] + lanes[l + 16];
    }
    for l in 0..8 {
        b[l] = a[l] + a[l + 8];
    }
    for l in 0..4 {
        c[l] = b[l] + b[l + 4];
    }
    (c[0] + c[2]) + (c[1] + c[3])
}
