//! What both searches share: inner products that exclude, and exact distances of what they cannot exclude.
//!
//! For a query q and a reference row r, d² = |q|² − 2 s with s = q·r − |r|²/2. All s of a block of queries against a
//! block of references are one matrix product in `f32`, the term −|r|²/2 riding along as one more dimension. Rounding
//! could misorder near neighbours, so s only *excludes*: every row whose s could still be among the k largest, given a
//! bound on the rounding error, is kept and measured again in `f64` on the original values.

use std::ops::Range;

use faer::{Accum, MatMut, MatRef};
use pulp::Arch;
use rayon::prelude::*;
use scgraft_cells::Dense;

use super::Neighbours;
use crate::error::{Error, Result, check_matrix};
use crate::gemm::matmul;

/// Queries in a block: one task for one thread.
pub(super) const QUERY_BLOCK: usize = 256;
/// References in a block: with the queries, 512 kB of products, which stay in the second-level cache.
pub(super) const REFERENCE_BLOCK: usize = 512;
/// Candidates of a query that are looked through in one step.
const LANES: usize = 64;
/// Places a neighbour in a query's table, at least.
const PLACES: usize = 2;
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

/// Squared Euclidean distance in `f64`, in four partial sums.
#[inline(always)]
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [0f64; 4];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..4 {
            let difference = f64::from(a[lane]) - f64::from(b[lane]);
            sums[lane] += difference * difference;
        }
    }
    for ((sum, &x), &y) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += (f64::from(x) - f64::from(y)).powi(2);
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
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
#[inline(always)]
fn any_reaches<const N: usize>(values: &[f32; N], threshold: f32) -> bool {
    values.iter().map(|&v| u32::from(v >= threshold)).sum::<u32>() > 0
}

/// A whole number that orders as the value does (not a NaN): selection among whole numbers is faster.
fn key(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// The rows that may still be among the k nearest of one query.
///
/// The s met so far go round a table, and each place of it keeps the largest of what it gets: the k-th largest place is
/// reached by k rows at least, and by few more, because the table has several places a neighbour.
pub(super) struct Candidates<'a> {
    reference: &'a Dense,
    row: &'a [f32],
    k: usize,
    excluded: Option<u32>,
    /// Largest certain s of each place: s less how far the true value can be from it.
    table: Vec<[f32; LANES]>,
    /// Chunks of s met, and from how many the threshold is raised again.
    met: usize,
    due: usize,
    /// (largest that s can be, row of the reference).
    kept: Vec<(f32, u32)>,
    /// k rows are known to reach this.
    threshold: f32,
    /// Rows kept from which those below the threshold are dropped.
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
            table: vec![[f32::NEG_INFINITY; LANES]; (PLACES * k).div_ceil(LANES)],
            met: 0,
            due: 1,
            kept: Vec::with_capacity(8 * k),
            threshold: f32::NEG_INFINITY,
            limit: MOST_CANDIDATES.max(16 * k),
            unit,
            norm,
        }
    }

    /// Keeps every row of a block that could be among the k nearest. `largest` is the largest norm in the block,
    /// `name` gives the reference row that stands at a place of it.
    pub fn look_through(&mut self, s: &[f32], largest: f32, name: impl Fn(usize) -> u32) {
        // The smallest normal number stands for what underflow may do.
        let error = self.unit * (self.norm * largest + largest * largest) + 64.0 * f32::MIN_POSITIVE;
        let (chunks, rest) = s.as_chunks::<LANES>();
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let chunks = chunks.iter().chain((!rest.is_empty()).then_some(&last));
        Arch::new().dispatch(|| self.enter(chunks.clone(), error));
        if self.met >= self.due {
            self.raise();
            self.due = 3 * self.met;
        }
        Arch::new().dispatch(|| self.keep(chunks, error, name));
        if self.kept.len() > self.limit {
            self.tighten();
        }
    }

    #[inline(always)]
    fn enter<'s>(&mut self, chunks: impl Iterator<Item = &'s [f32; LANES]>, error: f32) {
        for chunk in chunks {
            let at = self.met % self.table.len();
            for (place, &v) in self.table[at].iter_mut().zip(chunk) {
                let certain = v - error;
                *place = if certain > *place { certain } else { *place };
            }
            self.met += 1;
        }
    }

    #[inline(always)]
    fn keep<'s>(&mut self, chunks: impl Iterator<Item = &'s [f32; LANES]>, error: f32, name: impl Fn(usize) -> u32) {
        // Above what fills up the last chunk.
        let threshold = (self.threshold - error).max(f32::MIN);
        for (at, chunk) in chunks.enumerate().filter(|(_, chunk)| any_reaches(chunk, threshold)) {
            // Every lane is written where the next one that counts belongs: no branch a lane.
            let (mut lanes, mut found) = ([0u8; LANES], 0usize);
            for (lane, &v) in chunk.iter().enumerate() {
                lanes[found] = lane as u8;
                found += usize::from(v >= threshold);
            }
            for &lane in &lanes[..found] {
                let row = name(at * LANES + usize::from(lane));
                if self.excluded != Some(row) {
                    self.kept.push((chunk[usize::from(lane)] + error, row));
                }
            }
        }
    }

    /// Raises the threshold to the k-th largest of the table; the row left out may be one of its places.
    fn raise(&mut self) {
        let mut certain: Vec<i32> = self.table.as_flattened().iter().map(|&v| key(v)).collect();
        let above = self.k - 1 + usize::from(self.excluded.is_some());
        let rank = certain.len() - 1 - above;
        let (_, &mut kth, _) = certain.select_nth_unstable(rank);
        // `key` is its own inverse.
        self.threshold = self.threshold.max(f32::from_bits(key(f32::from_bits(kth as u32)) as u32));
    }

    /// Drops what is below the threshold, and all but the k nearest where too many rows cannot be told apart.
    fn tighten(&mut self) {
        self.raise();
        let threshold = self.threshold;
        self.kept.retain(|c| c.0 >= threshold);
        if self.kept.len() > MOST_CANDIDATES.max(16 * self.k) {
            let mut nearest: Vec<u32> = self.nearest().into_iter().map(|(_, row)| row).collect();
            nearest.sort_unstable();
            self.kept.retain(|c| nearest.binary_search(&c.1).is_ok());
        }
        // They are not gone through again for every few that come.
        self.limit = (2 * self.kept.len()).max(self.limit);
    }

    /// The k nearest, measured exactly: squared distance and row, nearest first, then by row.
    pub fn finish(&mut self) -> Vec<(f64, u32)> {
        self.tighten();
        self.nearest()
    }

    fn nearest(&self) -> Vec<(f64, u32)> {
        let mut exact = Vec::with_capacity(self.kept.len());
        Arch::new().dispatch(|| {
            for &(_, row) in &self.kept {
                exact.push((squared_distance(self.row, self.reference.row(row as usize)), row));
            }
        });
        // Numbers of at least 0 order as their bits do.
        exact.sort_unstable_by_key(|&(squared, row)| (squared.to_bits(), row));
        exact.truncate(self.k);
        exact
    }
}
