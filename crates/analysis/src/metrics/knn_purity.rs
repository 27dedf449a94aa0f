//! kNN purity: is a cell's neighbourhood still the one it had before?
//!
//! Source: the preprint of scArches (Lotfollahi et al. 2020), after Xu et al., *Mol Syst Biol* 2021. There it is asked
//! within each batch, among the batch's own cells before and after, so that bringing batches together costs nothing:
//! [`purity_within_batches`].

use rayon::prelude::*;
use scgraft_cells::{Coded, Dense};

use super::{Groups, mean};
use crate::Neighbours;
use crate::error::{Error, Result, check_matrix};
use crate::neighbours::Search;

/// Mean over the cells of the Jaccard overlap |A ∩ B| / |A ∪ B| of their neighbours before and after. 0 to 1.
///
/// `before` and `after` hold neighbours of the same cells in the same order: in the original data and in the embedding.
/// The cell itself is not counted.
///
/// # Errors
/// Neighbours of different cells, or no neighbours.
pub fn knn_purity(before: &Neighbours, after: &Neighbours) -> Result<f64> {
    let n = before.n_rows();
    before.check_among(n)?;
    if after.n_rows() != n {
        return Err(Error::Length { what: "neighbours after".to_owned(), expected: n, found: after.n_rows() });
    }
    after.check_among(n)?;
    let overlaps: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|i| {
            let sorted = |neighbours: &Neighbours| {
                let mut v: Vec<usize> = neighbours.others(i).map(|(j, _)| j).collect();
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

/// Purity within batches: for each batch the mean Jaccard overlap of the `k` nearest of the batch's own cells before and
/// after, then the mean over the batches. 0 to 1, 1 is best.
///
/// `before` (PCA of the expression, say) and `after` hold the same cells in the same order, cells × dimensions. The cell
/// itself is not counted; the preprint has k = 15. Batches of at most `k` cells are left out. The share of the true
/// neighbours that the search found comes second (1 of an exact search).
///
/// # Errors
/// Lengths that differ, values that are not finite, no batch of more than `k` cells.
pub fn purity_within_batches(
    before: &Dense,
    after: &Dense,
    batch: &Coded,
    k: usize,
    search: &Search,
) -> Result<(f64, f64)> {
    check_matrix("data before", before)?;
    check_matrix("embedding after", after)?;
    if before.n_rows != after.n_rows {
        return Err(Error::Length { what: "embedding after".to_owned(), expected: before.n_rows, found: after.n_rows });
    }
    let batches = Groups::new("batch", batch, before.n_rows, 1)?;
    let largest = batches.sizes.iter().copied().max().unwrap_or(0);
    if k == 0 || k + 1 > largest {
        return Err(Error::TooManyNeighbours { k, available: largest.saturating_sub(1) });
    }
    let (mut scores, mut recall) = (Vec::new(), 1f64);
    for cells in batches.members().iter().filter(|c| c.len() > k) {
        let near = |x: &Dense| search.among(&x.select_rows(cells), k, false);
        let (before, after) = (near(before)?, near(after)?);
        recall = recall.min(before.recall).min(after.recall);
        scores.push(knn_purity(&before.neighbours, &after.neighbours)?);
    }
    Ok((mean(scores), recall))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{coded, normal_matrix};

    #[test]
    fn bringing_batches_together_costs_nothing_within_them() {
        let after = normal_matrix(90, 3, 1);
        let batch = coded(&(0..90).map(|i| i % 3).collect::<Vec<_>>(), 3);
        // Before: the same cells, each batch moved away as a whole and one turned.
        let values = (0..90).flat_map(|i| {
            let (r, far) = (after.row(i), 50.0 * (i % 3) as f32);
            if i % 3 == 1 { [-r[1] + far, r[0], r[2]] } else { [r[0] + far, r[1], r[2]] }
        });
        let before = Dense::new(90, 3, values.collect());
        let (within, _) = purity_within_batches(&before, &after, &batch, 10, &Search::Exact).unwrap();
        assert!(within > 0.999, "{within}");
        let near = |x: &Dense| Search::Exact.among(x, 10, false).unwrap().neighbours;
        assert!(knn_purity(&near(&before), &near(&after)).unwrap() < 0.4);
        // Noise keeps few neighbours; a batch of 30 cells has no 30 others.
        let noise = normal_matrix(90, 3, 2);
        assert!(purity_within_batches(&before, &noise, &batch, 5, &Search::Exact).unwrap().0 < 0.3);
        let few = purity_within_batches(&before, &after, &batch, 30, &Search::Exact);
        assert!(matches!(few, Err(Error::TooManyNeighbours { k: 30, available: 29 })));
    }

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
