//! Entropy of batch mixing: are all batches around a cell?
//!
//! Source: Haghverdi et al., *Nat Biotechnol* 2018; Lotfollahi et al., *Nat Biotechnol* 2022.

use rayon::prelude::*;
use scgraft_cells::Coded;

use super::{Groups, mean};
use crate::Neighbours;
use crate::error::Result;

/// Mean over the cells of −Σ p_b log_c p_b, with p_b the share of batch b among a cell's neighbours and c the batches.
///
/// 0: every neighbourhood is of one batch; 1: all batches equally everywhere (which unequal batch
/// sizes do not allow). The paper takes 15 neighbours, the cell itself not counted, and averages
/// over 100 cells drawn at random; here every cell counts, which is the value that sampling
/// estimates.
///
/// # Errors
/// Neighbours or labels of another length, or a single batch.
pub fn batch_entropy(neighbours: &Neighbours, batch: &Coded) -> Result<f64> {
    let n = neighbours.n_rows();
    neighbours.check_among(n)?;
    let batches = Groups::new("batch", batch, n, 2)?;
    let entropies: Vec<f64> = (0..n)
        .into_par_iter()
        .map_init(
            || vec![0usize; batches.sizes.len()],
            |counts, i| {
                counts.fill(0);
                let mut k = 0usize;
                for (j, _) in neighbours.others(i) {
                    counts[batches.codes[j] as usize] += 1;
                    k += 1;
                }
                let p = counts.iter().filter(|&&c| c > 0).map(|&c| c as f64 / k as f64);
                -p.map(|p| p * p.ln()).sum::<f64>()
            },
        )
        .collect();
    Ok(mean(entropies) / (batches.sizes.len() as f64).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_and_base() {
        let neighbours = Neighbours { k: 2, indices: vec![1, 2, 0, 2, 0, 1], distances: vec![1.0; 6] };
        let coded = |codes: Vec<u32>| Coded { codes, levels: vec!["a".into(), "b".into(), "c".into()] };
        let all = batch_entropy(&neighbours, &coded(vec![0, 1, 2])).unwrap();
        assert!((all - 2f64.ln() / 3f64.ln()).abs() < 1e-15);
        let some = batch_entropy(&neighbours, &coded(vec![0, 0, 1])).unwrap();
        assert!((some - 2.0 / 3.0).abs() < 1e-15);
    }
}
