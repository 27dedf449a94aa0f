//! Exact nearest neighbours, as fast as a matrix product.
//!
//! For a query q and a reference row r, d² = |q|² − 2 s with s = q·r − |r|²/2. All s of a block
//! of queries against a block of references are one matrix product in `f32`, the term −|r|²/2
//! riding along as one more dimension. Rounding could misorder near neighbours, so s only
//! *excludes*: every row whose s could still be among the k largest, given a bound on the rounding
//! error, is kept and measured again in `f64` on the original values. The result is therefore the
//! exact one, whatever the blocking, the instruction set and the number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use scgraft_cells::Dense;

use super::Neighbours;
use crate::error::{Error, Result, check_matrix};

/// Queries in a block: one task for one thread.
const QUERY_BLOCK: usize = 128;
/// References in a block: with the queries, 512 kB of products, which stay in the second-level cache.
const REFERENCE_BLOCK: usize = 1024;
/// Candidates of a query that are looked through in one step.
const LANES: usize = 32;
/// Candidates a query may hold before they are measured exactly.
const MOST_CANDIDATES: usize = 8192;

/// The `k` nearest rows of `reference` for each row of `query`, by Euclidean distance.
///
/// Exact; rows at equal distance in order of their index. Memory beyond the result: one `f32` copy of both
/// matrices and about 1 MB a thread.
///
/// # Errors
/// An empty matrix, a value that is not finite (with its row), different numbers of columns,
/// `k = 0`, or `k` larger than the number of reference rows.
pub fn knn(reference: &Dense, query: &Dense, k: usize) -> Result<Neighbours> {
    check_matrix("reference embedding", reference)?;
    check_matrix("query embedding", query)?;
    if query.n_cols != reference.n_cols {
        return Err(Error::Dimensions {
            what: "query embedding".to_owned(),
            expected: reference.n_cols,
            found: query.n_cols,
        });
    }
    check_k(k, reference.n_rows)?;
    search(reference, query, k, false)
}

/// The `k` nearest rows of `data` for each of its own rows.
///
/// With `include_self`, each row's first neighbour is itself at distance 0 and `k − 1` others
/// follow; without, it is not among them. Otherwise as [`knn`].
///
/// # Errors
/// As [`knn`]; without `include_self`, `k` must be smaller than the number of rows.
pub fn knn_self(data: &Dense, k: usize, include_self: bool) -> Result<Neighbours> {
    check_matrix("embedding", data)?;
    if !include_self {
        check_k(k, data.n_rows - 1)?;
        return search(data, data, k, true);
    }
    check_k(k, data.n_rows)?;
    let others = if k > 1 { search(data, data, k - 1, true)? } else { Neighbours::default() };
    let mut out =
        Neighbours { k, indices: Vec::with_capacity(data.n_rows * k), distances: Vec::with_capacity(data.n_rows * k) };
    for i in 0..data.n_rows {
        out.indices.push(i as u32);
        out.distances.push(0.0);
        if k > 1 {
            let (indices, distances) = others.row(i);
            out.indices.extend_from_slice(indices);
            out.distances.extend_from_slice(distances);
        }
    }
    Ok(out)
}

fn check_k(k: usize, available: usize) -> Result<()> {
    if k == 0 {
        return Err(Error::Parameter { name: "k", value: "0".to_owned(), expected: "at least one neighbour" });
    }
    if k > available {
        return Err(Error::TooManyNeighbours { k, available });
    }
    Ok(())
}

/// Squared Euclidean distance in `f64`.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}

/// Both matrices, centred on the reference's mean, scaled to at most unit norm, with one dimension more.
struct Prepared {
    /// `[n × (d + 1)]`, row after row.
    values: Vec<f32>,
    /// Norm of each row, before the dimension was added.
    norms: Vec<f32>,
}

/// Centring takes the largest part of the rounding error away; scaling keeps squares in range.
fn centre_and_scale(reference: &Dense, query: &Dense) -> (Vec<f64>, f64) {
    let d = reference.n_cols;
    let mut centre = vec![0f64; d];
    for row in reference.values.chunks_exact(d) {
        for (c, &v) in centre.iter_mut().zip(row) {
            *c += f64::from(v);
        }
    }
    for c in &mut centre {
        *c /= reference.n_rows as f64;
    }
    let largest = [reference, query]
        .iter()
        .flat_map(|m| m.values.chunks_exact(d))
        .map(|row| row.iter().zip(&centre).map(|(&v, &c)| (f64::from(v) - c).powi(2)).sum::<f64>())
        .fold(0f64, f64::max)
        .sqrt();
    (centre, if largest > 0.0 { 1.0 / largest } else { 1.0 })
}

fn prepare(matrix: &Dense, centre: &[f64], scale: f64, last: impl Fn(f64) -> f32 + Sync) -> Prepared {
    let d = matrix.n_cols;
    let mut values = vec![0f32; matrix.n_rows * (d + 1)];
    let mut norms = vec![0f32; matrix.n_rows];
    values.par_chunks_mut(d + 1).zip(norms.par_iter_mut()).enumerate().for_each(|(i, (out, norm))| {
        let mut squared = 0f64;
        for ((o, &v), &c) in out.iter_mut().zip(matrix.row(i)).zip(centre) {
            let x = (f64::from(v) - c) * scale;
            squared += x * x;
            *o = x as f32;
        }
        out[d] = last(squared);
        *norm = squared.sqrt() as f32;
    });
    Prepared { values, norms }
}

fn search(reference: &Dense, query: &Dense, k: usize, exclude_self: bool) -> Result<Neighbours> {
    if reference.n_rows > u32::MAX as usize {
        return Err(Error::Parameter {
            name: "number of reference cells",
            value: reference.n_rows.to_string(),
            expected: "at most 4,294,967,295",
        });
    }
    let d = reference.n_cols;
    let (centre, scale) = centre_and_scale(reference, query);
    let r = prepare(reference, &centre, scale, |squared| (-0.5 * squared) as f32);
    let q = prepare(query, &centre, scale, |_| 1.0);
    let mut out = Neighbours { k, indices: vec![0; query.n_rows * k], distances: vec![0.0; query.n_rows * k] };
    out.indices
        .par_chunks_mut(QUERY_BLOCK * k)
        .zip(out.distances.par_chunks_mut(QUERY_BLOCK * k))
        .enumerate()
        .for_each(|(block, (indices, distances))| {
            let start = block * QUERY_BLOCK;
            let n = indices.len() / k;
            let mut rows: Vec<Candidates> = (start..start + n)
                .map(|i| Candidates::new(i, k, exclude_self.then_some(i as u32), d, q.norms[i]))
                .collect();
            let mut products = vec![0f32; REFERENCE_BLOCK.min(reference.n_rows) * n];
            for first in (0..reference.n_rows).step_by(REFERENCE_BLOCK) {
                let m = REFERENCE_BLOCK.min(reference.n_rows - first);
                // Column i of the product (contiguous) belongs to query i.
                matmul(
                    MatMut::from_column_major_slice_mut(&mut products[..m * n], m, n),
                    Accum::Replace,
                    MatRef::from_row_major_slice(&r.values[first * (d + 1)..(first + m) * (d + 1)], m, d + 1),
                    MatRef::from_column_major_slice(&q.values[start * (d + 1)..(start + n) * (d + 1)], d + 1, n),
                    1f32,
                    Par::Seq,
                );
                let largest = r.norms[first..first + m].iter().copied().fold(0f32, f32::max);
                for (row, s) in rows.iter_mut().zip(products.chunks_exact(m)) {
                    row.look_through(s, first as u32, largest);
                    row.tighten(reference, query);
                }
            }
            for (i, row) in rows.iter_mut().enumerate() {
                let best = row.finish(reference, query);
                for (j, &(squared, index)) in best.iter().enumerate() {
                    indices[i * k + j] = index;
                    distances[i * k + j] = squared.sqrt() as f32;
                }
            }
        });
    Ok(out)
}

/// The rows that may still be among the k nearest of one query.
struct Candidates {
    query: usize,
    k: usize,
    excluded: Option<u32>,
    /// (s, how far the true value can be from it, row).
    kept: Vec<(f32, f32, u32)>,
    /// A row whose s is below cannot be among the k nearest, whatever the rounding did to *earlier* rows.
    threshold: f32,
    /// Rounding error of s for |r| = 1, from the length of the sum, and the query's norm.
    unit: f32,
    norm: f32,
}

impl Candidates {
    fn new(query: usize, k: usize, excluded: Option<u32>, d: usize, norm: f32) -> Self {
        // Worst case of a sum of d + 1 products in any order, plus the rounding of both factors; with a margin.
        let unit = 2.0 * (d as f32 + 6.0) * f32::EPSILON / 2.0;
        Candidates { query, k, excluded, kept: Vec::new(), threshold: f32::NEG_INFINITY, unit, norm }
    }

    /// Keeps every row of a block that could be among the k nearest.
    fn look_through(&mut self, s: &[f32], first: u32, largest: f32) {
        // The smallest normal number stands for what underflow may do.
        let error = self.unit * (self.norm * largest + largest * largest) + 64.0 * f32::MIN_POSITIVE;
        let threshold = self.threshold - error;
        for (chunk_index, chunk) in s.chunks(LANES).enumerate() {
            let best = chunk.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
            if best < threshold {
                continue;
            }
            for (lane, &v) in chunk.iter().enumerate() {
                let index = first + (chunk_index * LANES + lane) as u32;
                if v >= threshold && self.excluded != Some(index) {
                    self.kept.push((v, error, index));
                }
            }
        }
    }

    /// Raises the threshold to the k-th largest of what is certain, and drops what is below.
    fn tighten(&mut self, reference: &Dense, query: &Dense) {
        if self.kept.len() <= 2 * self.k {
            return;
        }
        // s − error is certain: k rows reach it, so a row whose s + error is below is out.
        let mut certain: Vec<f32> = self.kept.iter().map(|c| c.0 - c.1).collect();
        let (_, kth, _) = certain.select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
        self.threshold = self.threshold.max(*kth);
        let threshold = self.threshold;
        self.kept.retain(|c| c.0 + c.1 >= threshold);
        if self.kept.len() > MOST_CANDIDATES.max(4 * self.k) {
            let nearest: Vec<u32> = self.finish(reference, query).into_iter().map(|(_, index)| index).collect();
            self.kept.retain(|c| nearest.contains(&c.2));
        }
    }

    /// The k nearest of what is kept, measured exactly, nearest first.
    fn finish(&mut self, reference: &Dense, query: &Dense) -> Vec<(f64, u32)> {
        let row = query.row(self.query);
        let mut exact: Vec<(f64, u32)> =
            self.kept.iter().map(|c| (squared_distance(row, reference.row(c.2 as usize)), c.2)).collect();
        exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        exact.truncate(self.k);
        exact
    }
}
