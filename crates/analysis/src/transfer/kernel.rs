//! Weights of a cell's neighbours from their distances.

use std::ops::Range;

use scgraft_engine::isa::{Isa, kernel};

use crate::Neighbours;

/// How a neighbour's weight falls with its distance d.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kernel {
    /// w = exp(−d / (2/s)²) with s = √(Σ d²/k), as the scArches paper prints it.
    ///
    /// Not free of scale: in an embedding with distances far below 1 all weights are nearly equal.
    #[default]
    Paper,
    /// The same with s the standard deviation of the k distances about their mean, as the scArches code has it.
    Compat,
    /// All neighbours weigh the same: p is a share of the k neighbours.
    Uniform,
    /// w = exp(−d² / (2 s²)) with s = √(Σ d²/k): the same weights whatever the unit of the embedding.
    Gaussian,
}

impl Kernel {
    /// Writes the weights of one cell's neighbours, which sum to one, from their ascending distances.
    ///
    /// The nearest distance is taken off first, which cancels in the normalisation: far from the reference the
    /// weights do not all underflow to zero.
    pub fn weights(self, distances: &[f32], weights: &mut [f64]) {
        let k = distances.len() as f64;
        let squares = |centre: f64| distances.iter().map(|&d| (f64::from(d) - centre).powi(2)).sum::<f64>() / k;
        let mean = || distances.iter().map(|&d| f64::from(d)).sum::<f64>() / k;
        // Weight of d: exp(−linear (d − nearest) − square (d² − nearest²)).
        let (linear, square) = match self {
            Kernel::Paper => (squares(0.0) / 4.0, 0.0),
            Kernel::Compat => (squares(mean()) / 4.0, 0.0),
            Kernel::Uniform => (0.0, 0.0),
            // All distances zero: all neighbours are the cell itself, and weigh the same.
            Kernel::Gaussian => (0.0, Some(2.0 * squares(0.0)).filter(|&s| s > 0.0).map_or(0.0, |s| 1.0 / s)),
        };
        exponentials(linear, square, distances, weights);
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= total);
    }

    /// Those of some rows, one row after the other.
    pub(super) fn weights_of_rows(self, neighbours: &Neighbours, rows: Range<usize>, weights: &mut Vec<f64>) {
        weights.resize(rows.len() * neighbours.k, 0.0);
        for (row, weights) in rows.zip(weights.chunks_exact_mut(neighbours.k)) {
            self.weights(neighbours.row(row).1, weights);
        }
    }
}

kernel! {
    fn exponentials(s, linear: f64, square: f64, distances: &[f32], out: &mut [f64]) {
        let Some(&nearest) = distances.first() else { return };
        let nearest = f64::from(nearest);
        for (out, &d) in out.iter_mut().zip(distances) {
            let d = f64::from(d);
            *out = exp(s, linear * (nearest - d) + square * (nearest * nearest - d * d));
        }
    }
}

/// e^x for x ≤ 0, within 2 ulp where it is above 1e-300; 0 below.
///
/// x = n ln 2 + r with |r| ≤ ½ ln 2; e^r by its Taylor polynomial of degree 13; 2^n by exponent bits.
#[inline(always)]
fn exp<I: Isa>(s: I, x: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²: adding it rounds to a whole number
    const LN2_HI: f64 = 6.931_471_803_691_238e-1; // its last 21 bits are zero
    const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
    const LEAST: f64 = -690.0;
    let clamped = if x > LEAST { x } else { LEAST };
    let shifted = s.fma64(clamped, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = s.fma64(n, -LN2_LO, s.fma64(n, -LN2_HI, clamped));
    let mut p = 1.0 / 6_227_020_800.0;
    p = s.fma64(p, r, 1.0 / 479_001_600.0);
    p = s.fma64(p, r, 1.0 / 39_916_800.0);
    p = s.fma64(p, r, 1.0 / 3_628_800.0);
    p = s.fma64(p, r, 1.0 / 362_880.0);
    p = s.fma64(p, r, 1.0 / 40_320.0);
    p = s.fma64(p, r, 1.0 / 5040.0);
    p = s.fma64(p, r, 1.0 / 720.0);
    p = s.fma64(p, r, 1.0 / 120.0);
    p = s.fma64(p, r, 1.0 / 24.0);
    p = s.fma64(p, r, 1.0 / 6.0);
    p = s.fma64(p, r, 0.5);
    p = s.fma64(p, r, 1.0);
    p = s.fma64(p, r, 1.0);
    // n as a whole number stands in the low bits of `shifted`.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let value = p * f64::from_bits(n.wrapping_add(1023) << 52);
    if x > LEAST { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::exponentials;

    #[test]
    fn exponentials_are_within_two_ulp() {
        let distances: Vec<f32> = (0..40_000).map(|i| i as f32 / 50.0).collect();
        let mut found = vec![0.0; distances.len()];
        exponentials(1.0, 0.0, &distances, &mut found);
        for (&d, &found) in distances.iter().zip(&found) {
            let expected = (-f64::from(d)).exp();
            if expected > 1e-299 {
                assert!((found - expected).abs() <= 2.0 * f64::EPSILON * expected, "{d}: {found} {expected}");
            } else {
                assert!(found < 1e-299);
            }
        }
    }
}
