//! Weights of a cell's neighbours from their distances.

use std::ops::Range;

use scgraft_numeric::isa::kernel;
use scgraft_numeric::math::exp64;

use crate::Neighbours;

/// How a neighbour's weight falls with its distance d.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kernel {
    /// w = exp(−(d² − d₁²) / v) with d₁ the nearest distance and v = Σ (d² − d₁²)/k: the same weights whatever the unit of the
    /// embedding and the number of its dimensions, in many of which all distances are nearly equal.
    #[default]
    Adaptive,
    /// w = exp(−d / (2/s)²) with s = √(Σ d²/k), as the scArches paper prints it.
    ///
    /// Not free of scale: in an embedding with distances far below 1 all weights are nearly equal, and with distances of 5
    /// the nearest neighbour alone decides.
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
        // Where all distances are equal all weights are.
        let inverse = |scale: f64| if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let nearest = distances.first().map_or(0.0, |&d| f64::from(d));
        let (linear, square) = match self {
            Kernel::Adaptive => (0.0, inverse(squares(0.0) - nearest.powi(2))),
            Kernel::Paper => (squares(0.0) / 4.0, 0.0),
            Kernel::Compat => (squares(mean()) / 4.0, 0.0),
            Kernel::Uniform => (0.0, 0.0),
            Kernel::Gaussian => (0.0, inverse(2.0 * squares(0.0))),
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
            *out = exp64(s, linear * (nearest - d) + square * (nearest * nearest - d * d));
        }
    }
}
