//! What both searches share: inner products that exclude, and exact distances of what they cannot exclude.
//!
//! For a query q and a reference row r, d² = |q|² − 2 s with s = q·r − |r|²/2. All s of a block of queries against a
//! block of references are one matrix product in `f32`, the term −|r|²/2 riding along as one more dimension. Rounding
//! could misorder near neighbours, so s only *excludes*: every row whose s could still be among the k largest, given a
//! bound on the rounding error, is kept and measured again in `f64` on the original values.

use std::ops::Range;

use faer::{Accum, MatMut, MatRef};
use rayon::prelude::*;
use scgraft_cells::Dense;

use super::Neighbours;
use crate::error::{Error, Result, check_matrix};
use crate::gemm::matmul;

/// Queries in a block: one task for one thread.
pub(super) const QUERY_BLOCK: usize = 256;
/// References in a block: with the queries, 512 kB of products, which stay in the second-level cache.
pub(super) const REFERENCE_BLOCK: usize = 512;
/// Candidates of a query that are looked through in one step, and those looked at singly where one of them counts.
const LANES: usize = 64;
const FEW: usize = 8;
/// Candidates a query may hold before they are measured exactly.
const MOST_CANDIDATES: usize = 8192;

/// Refuses a pair of matrices that cannot be searched, or not for `k` neighbours.
pub(super) fn check(reference: &Dense, query: &Dense, k: usize, exclude_self: bool) -> Result<()> {
    check_matrix("reference embedding", reference)?;
    check_matrix("query embedding", query)?;
    if query.n_cols != reference.n_cols {
        return Err(Error::Dimensions {
            what: "query embedding".to_owned(),
            expected: reference.n_cols,
            found: query.n_cols,
        });
    }
    if k == 0 {
        return Err(Error::Parameter { name: "k", value: "0".to_owned(), expected: "at least one neighbour" });
    }
    let available = reference.n_rows - usize::from(exclude_self);
    if k > available {
        return Err(Error::TooManyNeighbours { k, available });
    }
    if reference.n_rows > u32::MAX as usize {
        return Err(Error::Parameter {
            name: "number of reference cells",
            value: reference.n_rows.to_string(),
            expected: "at most 4,294,967,295",
        });
    }
    Ok(())
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

/// Squared Euclidean distance in `f64`.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}

/// A matrix centred on the reference's mean, scaled to at most unit norm, with one dimension more.
pub(super) struct Prepared {
    /// `[n × width]`, row after row.
    pub values: Vec<f32>,
    /// Norm of each row, before the dimension was added.
    pub norms: Vec<f32>,
    /// Dimensions and one.
    pub width: usize,
}

impl Prepared {
    /// The rows named, laid out as they are.
    pub fn rows(&self, rows: Range<usize>) -> &[f32] {
        &self.values[rows.start * self.width..rows.end * self.width]
    }
}

/// Both matrices ready for products: the reference with −|r|²/2 as its last column, the query with 1.
///
/// Centring takes the largest part of the rounding error away; scaling keeps squares in range.
pub(super) fn prepare(reference: &Dense, query: &Dense) -> (Prepared, Prepared) {
    let d = reference.n_cols;
    let mut centre = vec![0f64; d];
    for row in reference.values.chunks_exact(d) {
        for (c, &v) in centre.iter_mut().zip(row) {
            *c += f64::from(v);
        }
    }
    centre.iter_mut().for_each(|c| *c /= reference.n_rows as f64);
    let largest = [reference, query]
        .iter()
        .flat_map(|m| m.values.chunks_exact(d))
        .map(|row| row.iter().zip(&centre).map(|(&v, &c)| (f64::from(v) - c).powi(2)).sum::<f64>())
        .fold(0f64, f64::max)
        .sqrt();
    let scale = if largest > 0.0 { 1.0 / largest } else { 1.0 };
    let one = |matrix: &Dense, last: fn(f64) -> f64| {
        let mut values = vec![0f32; matrix.n_rows * (d + 1)];
        let mut norms = vec![0f32; matrix.n_rows];
        values.par_chunks_mut(d + 1).zip(norms.par_iter_mut()).enumerate().for_each(|(i, (out, norm))| {
            let mut squared = 0f64;
            for ((o, &v), &c) in out.iter_mut().zip(matrix.row(i)).zip(&centre) {
                let x = (f64::from(v) - c) * scale;
                squared += x * x;
                *o = x as f32;
            }
            out[d] = last(squared) as f32;
            *norm = squared.sqrt() as f32;
        });
        Prepared { values, norms, width: d + 1 }
    };
    (one(reference, |squared| -0.5 * squared), one(query, |_| 1.0))
}

/// The products s of reference rows with queries (rows as wide as the reference's); those of one query stand together.
pub(super) fn products<'a>(
    reference: &Prepared,
    rows: Range<usize>,
    queries: &[f32],
    out: &'a mut Vec<f32>,
) -> &'a [f32] {
    let (m, n, width) = (rows.len(), queries.len() / reference.width, reference.width);
    if out.len() < m * n {
        out.resize(m * n, 0.0);
    }
    matmul(
        MatMut::from_column_major_slice_mut(&mut out[..m * n], m, n),
        Accum::Replace,
        MatRef::from_row_major_slice(reference.rows(rows), m, width),
        MatRef::from_column_major_slice(queries, width, n),
        1f32,
    );
    &out[..m * n]
}

/// Whether a value reaches the threshold. A count needs no branch a value, so that it runs in vector lanes.
fn any_reaches<const N: usize>(values: &[f32; N], threshold: f32) -> bool {
    values.iter().map(|&v| u32::from(v >= threshold)).sum::<u32>() > 0
}

/// The rows that may still be among the k nearest of one query.
pub(super) struct Candidates<'a> {
    reference: &'a Dense,
    row: &'a [f32],
    k: usize,
    excluded: Option<u32>,
    /// (s, how far the true value can be from it, row of the reference).
    kept: Vec<(f32, f32, u32)>,
    /// k rows are known to reach this.
    threshold: f32,
    /// Rows kept from which the threshold is raised again.
    limit: usize,
    /// Rounding error of s for vectors of norm one.
    unit: f32,
    norm: f32,
}

impl<'a> Candidates<'a> {
    /// For a query (its original values, and its norm when prepared) against `reference`.
    pub fn new(reference: &'a Dense, row: &'a [f32], norm: f32, k: usize, excluded: Option<u32>) -> Self {
        // Worst case of a sum of d + 1 products in any order, plus the rounding of both factors; with a margin.
        let unit = (row.len() as f32 + 6.0) * f32::EPSILON;
        Candidates {
            reference,
            row,
            k,
            excluded,
            kept: Vec::new(),
            threshold: f32::NEG_INFINITY,
            limit: 4 * k,
            unit,
            norm,
        }
    }

    /// Keeps every row of a block that could be among the k nearest. `largest` is the largest norm in the block,
    /// `name` gives the reference row that stands at a place of it.
    pub fn look_through(&mut self, s: &[f32], largest: f32, name: impl Fn(usize) -> u32) {
        // The smallest normal number stands for what underflow may do.
        let error = self.unit * (self.norm * largest + largest * largest) + 64.0 * f32::MIN_POSITIVE;
        let mut threshold = self.threshold - error;
        let (chunks, rest) = s.as_chunks::<LANES>();
        for (at, chunk) in chunks.iter().enumerate() {
            if !any_reaches(chunk, threshold) {
                continue;
            }
            for (part, few) in chunk.as_chunks::<FEW>().0.iter().enumerate() {
                if any_reaches(few, threshold) {
                    self.keep(few, threshold, error, |lane| name(at * LANES + part * FEW + lane));
                    threshold = self.threshold - error;
                }
            }
        }
        self.keep(rest, threshold, error, |lane| name(chunks.len() * LANES + lane));
    }

    fn keep(&mut self, s: &[f32], threshold: f32, error: f32, name: impl Fn(usize) -> u32) {
        for (lane, &v) in s.iter().enumerate().filter(|(_, v)| **v >= threshold) {
            let row = name(lane);
            if self.excluded != Some(row) {
                self.kept.push((v, error, row));
            }
        }
        if self.kept.len() > self.limit {
            self.tighten();
        }
    }

    /// Raises the threshold to the k-th largest of what is certain, and drops what is below.
    fn tighten(&mut self) {
        // s − error is certain: k rows reach it, so a row whose s + error is below is out.
        let mut certain: Vec<f32> = self.kept.iter().map(|c| c.0 - c.1).collect();
        let (_, kth, _) = certain.select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
        self.threshold = self.threshold.max(*kth);
        let threshold = self.threshold;
        self.kept.retain(|c| c.0 + c.1 >= threshold);
        if self.kept.len() > MOST_CANDIDATES.max(16 * self.k) {
            let mut nearest: Vec<u32> = self.nearest().into_iter().map(|(_, row)| row).collect();
            nearest.sort_unstable();
            self.kept.retain(|c| nearest.binary_search(&c.2).is_ok());
        }
        // Where many rows cannot be told apart, they are not gone through again for every few that come.
        self.limit = (2 * self.kept.len()).max(4 * self.k);
    }

    /// The k nearest, measured exactly: squared distance and row, nearest first, then by row.
    pub fn finish(&mut self) -> Vec<(f64, u32)> {
        if self.kept.len() > self.k {
            self.tighten();
        }
        self.nearest()
    }

    fn nearest(&self) -> Vec<(f64, u32)> {
        let mut exact: Vec<(f64, u32)> =
            self.kept.iter().map(|c| (squared_distance(self.row, self.reference.row(c.2 as usize)), c.2)).collect();
        exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        exact.truncate(self.k);
        exact
    }
}
