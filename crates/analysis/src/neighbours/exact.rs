//! Exact nearest neighbours, as fast as a matrix product.
//!
//! Every query meets every reference row, a block of each at a time; see [`super::scan`] for why the result is the exact
//! one, whatever the blocking, the instruction set and the number of threads.

use rayon::prelude::*;
use scgraft_cells::Dense;

use super::Neighbours;
use super::scan::{Candidates, QUERY_BLOCK, REFERENCE_BLOCK, check, prepare, products, with_self_first};
use crate::error::Result;

/// The `k` nearest rows of `reference` for each row of `query`, by Euclidean distance.
///
/// Exact; rows at equal distance in order of their index. Memory beyond the result: one `f32` copy of both
/// matrices and about 1 MB a thread.
///
/// # Errors
/// An empty matrix, a value that is not finite (with its row), different numbers of columns,
/// `k = 0`, or `k` larger than the number of reference rows.
///
/// ```
/// use scgraft_cells::Dense;
///
/// let reference = Dense::new(3, 2, vec![0.0, 0.0, 1.0, 0.0, 5.0, 5.0]);
/// let query = Dense::new(1, 2, vec![0.9, 0.0]);
/// let found = scgraft_analysis::knn(&reference, &query, 2)?;
/// assert_eq!(found.row(0).0, [1, 0]);
/// # Ok::<(), scgraft_analysis::Error>(())
/// ```
pub fn knn(reference: &Dense, query: &Dense, k: usize) -> Result<Neighbours> {
    check(reference, query, k, false)?;
    Ok(search(reference, query, k, false))
}

/// The `k` nearest rows of `data` for each of its own rows.
///
/// With `include_self`, each row's first neighbour is itself at distance 0 and `k − 1` others
/// follow; without, it is not among them. Otherwise as [`knn`].
///
/// # Errors
/// As [`knn`]; without `include_self`, `k` must be smaller than the number of rows.
pub fn knn_self(data: &Dense, k: usize, include_self: bool) -> Result<Neighbours> {
    check(data, data, k, !include_self)?;
    if !include_self {
        return Ok(search(data, data, k, true));
    }
    let others = (k > 1).then(|| search(data, data, k - 1, true));
    Ok(with_self_first(others, data.n_rows, k))
}

fn search(reference: &Dense, query: &Dense, k: usize, exclude_self: bool) -> Neighbours {
    let (r, q) = prepare(reference, query);
    let mut out = Neighbours { k, indices: vec![0; query.n_rows * k], distances: vec![0.0; query.n_rows * k] };
    out.indices
        .par_chunks_mut(QUERY_BLOCK * k)
        .zip(out.distances.par_chunks_mut(QUERY_BLOCK * k))
        .enumerate()
        .for_each(|(block, (indices, distances))| {
            let start = block * QUERY_BLOCK;
            let n = indices.len() / k;
            let mut candidates: Vec<Candidates> = (start..start + n)
                .map(|i| Candidates::new(reference, query.row(i), q.norms[i], k, exclude_self.then_some(i as u32)))
                .collect();
            let mut buffer = Vec::new();
            for first in (0..reference.n_rows).step_by(REFERENCE_BLOCK) {
                let rows = first..(first + REFERENCE_BLOCK).min(reference.n_rows);
                let largest = r.norms[rows.clone()].iter().copied().fold(0f32, f32::max);
                let s = products(&r, rows.clone(), q.rows(start..start + n), &mut buffer);
                for (candidates, s) in candidates.iter_mut().zip(s.chunks_exact(rows.len())) {
                    candidates.look_through(s, largest, |at| (first + at) as u32);
                }
            }
            for (i, candidates) in candidates.iter_mut().enumerate() {
                for (j, (squared, row)) in candidates.finish().into_iter().enumerate() {
                    indices[i * k + j] = row;
                    distances[i * k + j] = squared.sqrt() as f32;
                }
            }
        });
    out
}
