//! kNN purity: is a cell's neighbourhood still the one it had before?
//!
//! Source: the preprint of scArches (Lotfollahi et al. 2020), after Xu et al., *Mol Syst Biol* 2021.

use rayon::prelude::*;

use super::{check_neighbours, mean, others};
use crate::Neighbours;
use crate::error::{Error, Result};

/// Mean over the cells of the Jaccard overlap |A ∩ B| / |A ∪ B| of their neighbours before and after. 0 to 1.
///
/// `before` and `after` hold neighbours of the same cells in the same order: in the original data
/// (within a batch, since only there is it undistorted) and in the embedding. For a query, take
/// its cells alone in both. The preprint does not give a number of neighbours; 15 are used elsewhere
/// in it. The cell itself is not counted.
///
/// # Errors
/// Neighbours of different cells, or no neighbours.
pub fn knn_purity(before: &Neighbours, after: &Neighbours) -> Result<f64> {
    let n = before.n_rows();
    check_neighbours(before, n)?;
    if after.n_rows() != n {
        return Err(Error::Length { what: "neighbours after".to_owned(), expected: n, found: after.n_rows() });
    }
    check_neighbours(after, n)?;
    let overlaps: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|i| {
            let sorted = |neighbours| {
                let mut v: Vec<usize> = others(neighbours, i).map(|(j, _)| j).collect();
                v.sort_unstable();
                v
            };
            let (a, b): (Vec<usize>, Vec<usize>) = (sorted(before), sorted(after));
            let shared = a.iter().filter(|j| b.binary_search(j).is_ok()).count();
            shared as f64 / (a.len() + b.len() - shared) as f64
        })
        .collect();
    Ok(mean(overlaps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_by_hand() {
        let before = Neighbours { k: 2, indices: vec![1, 2, 0, 2, 0, 1, 0, 1], distances: vec![1.0; 8] };
        assert_eq!(knn_purity(&before, &before).unwrap(), 1.0);
        let after = Neighbours { k: 2, indices: vec![1, 3, 0, 2, 0, 1, 2, 2], distances: vec![1.0; 8] };
        // Cell 0 shares 1 of 3, cells 1 and 2 all, cell 3 none.
        assert!((knn_purity(&before, &after).unwrap() - (1.0 / 3.0 + 2.0) / 4.0).abs() < 1e-15);
        assert!(matches!(knn_purity(&before, &after.truncated(0)), Err(Error::Length { .. })));
    }
}
