//! Numbers of reference cells (pseudotime, protein levels, scores) carried over to query cells.

use rayon::prelude::*;
use scgraft_cells::Dense;

use super::{BLOCK, Kernel, check_neighbours};
use crate::Neighbours;
use crate::error::{Result, check_matrix};

/// Numbers carried over, and how much the neighbours disagree.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferredValues {
    /// Weighted mean over the neighbours, cells × values.
    pub mean: Dense,
    /// Weighted standard deviation over the neighbours, cells × values.
    pub sd: Dense,
}

/// Carries numbers over: mean(c) = Σₙ w(c, n) v(n) with the weights of label transfer, and the spread
/// √(Σₙ w(c, n) (v(n) − mean(c))²).
///
/// `values` has a row for every reference cell and a column for every quantity.
///
/// # Errors
/// Fewer rows than the neighbours point to; a value that is not finite.
pub fn transfer_values(neighbours: &Neighbours, values: &Dense, kernel: Kernel) -> Result<TransferredValues> {
    check_matrix("values to carry over", values)?;
    check_neighbours(neighbours, values.n_rows, "values to carry over")?;
    let (n, m, k) = (neighbours.n_rows(), values.n_cols, neighbours.k);
    let mut out = TransferredValues { mean: Dense::zeros(n, m), sd: Dense::zeros(n, m) };
    let blocks = out.mean.values.par_chunks_mut(BLOCK * m).zip(out.sd.values.par_chunks_mut(BLOCK * m)).enumerate();
    blocks.for_each_init(Vec::new, |weights, (block, (means, sds))| {
        let cells = block * BLOCK..block * BLOCK + means.len() / m;
        kernel.weights_of_rows(neighbours, cells.clone(), weights);
        let places = means.chunks_exact_mut(m).zip(sds.chunks_exact_mut(m));
        for ((cell, w), (mean, sd)) in cells.zip(weights.chunks_exact(k)).zip(places) {
            let found = neighbours.row(cell).0;
            for column in 0..m {
                let value = |j: u32| f64::from(values.row(j as usize)[column]);
                let centre: f64 = found.iter().zip(w).map(|(&j, w)| w * value(j)).sum();
                let spread: f64 = found.iter().zip(w).map(|(&j, w)| w * (value(j) - centre).powi(2)).sum();
                mean[column] = centre as f32;
                sd[column] = spread.sqrt() as f32;
            }
        }
    });
    Ok(out)
}
