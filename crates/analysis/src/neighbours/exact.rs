//! Exact nearest neighbours, at the rate of a matrix product.
//!
//! A query meets every list of the reference that could hold one of its k nearest; see [`super::lists`] and
//! [`super::scan`] for why the result is the exact one, whatever the lists, the instruction set and the number of threads.

use scgraft_cells::Dense;

use super::Neighbours;
use super::layout::{check, place};
use super::lists::Lists;
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

fn search(reference: &Dense, query: &Dense, k: usize, own: bool) -> Neighbours {
    let (r, q) = place(reference, query);
    let lists = Lists::build((reference, &r), (reference.n_rows as f64).sqrt().round() as usize, 0);
    let rows = lists.order(&q);
    let mut out = Neighbours::room(query.n_rows, k);
    lists.search_into((query, &q), &rows, out.places(rows.iter().copied()), own, lists.len());
    out
}

/// Puts each row itself before its other neighbours.
pub(super) fn with_self_first(others: Option<Neighbours>, n: usize, k: usize) -> Neighbours {
    let mut out = Neighbours { k, indices: Vec::with_capacity(n * k), distances: Vec::with_capacity(n * k) };
    for i in 0..n {
        out.indices.push(i as u32);
        out.distances.push(0.0);
        if let Some(others) = &others {
            out.indices.extend_from_slice(others.row(i).0);
            out.distances.extend_from_slice(others.row(i).1);
        }
    }
    out
}
