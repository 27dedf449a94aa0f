//! Products that exclude, and exact distances of what they cannot exclude.
//!
//! For a query q and a reference row r, d² = |q|² − 2 s with s = q·r − |r|²/2, the term −|r|²/2 riding along as one more
//! dimension. The s of a [`Tile`] of queries against a panel of rows are a small matrix product in `f32` that never
//! leaves the registers but to be compared. Rounding could misorder near neighbours, so s only *excludes*: every row
//! whose s could still be among the k largest, given a bound on the rounding error, is kept and measured again in `f64`
//! on the original values.

use std::ops::Range;

use scgraft_cells::Dense;
use scgraft_numeric::isa::{Isa, Level, kernel, level};

use super::layout::{LANES, Numbered, Panels, Placed, WIDE, padded};

/// Queries in a tile.
pub(super) const QUERIES: usize = 8;

/// How often the range of the candidates is halved in search of the threshold.
const HALVINGS: usize = 14;

/// Candidates that a query may hold; a panel's rows still fit when it is about to drop some.
fn room(k: usize) -> usize {
    3 * k + 2 * LANES
}

/// Squared Euclidean distance in `f64`, in eight partial sums.
#[inline(always)]
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0f64; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            let difference = f64::from(a[lane]) - f64::from(b[lane]);
            sums[lane] += difference * difference;
        }
    }
    let ((a, a_rest), (b, b_rest)) = (a_rest.as_chunks::<4>(), b_rest.as_chunks::<4>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..4 {
            let difference = f64::from(a[lane]) - f64::from(b[lane]);
            sums[lane] += difference * difference;
        }
    }
    for ((sum, &x), &y) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += (f64::from(x) - f64::from(y)).powi(2);
    }
    ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
}

/// A few queries that are compared with the same rows, and what they have found.
pub(super) struct Tile<'a> {
    reference: &'a Numbered,
    /// The queries' original values, each as long as a row of the reference.
    rows: Vec<f32>,
    /// The number of the row that each must not find.
    own: Vec<u32>,
    k: usize,
    /// The queries when placed, dimension after dimension.
    values: Vec<[f32; QUERIES]>,
    squared: [f32; QUERIES],
    norms: [f32; QUERIES],
    /// Of each query: k rows are known to reach this. Infinite where there is no query.
    thresholds: [f32; QUERIES],
    /// Of each query: all of its k nearest are at most that far.
    within: [f32; QUERIES],
    /// Rows that may be among the k nearest, as many of each query as `kept` says: the least (its [`key`]) and the most
    /// that their s can be, and their numbers, `[query × room(k)]`.
    least: Vec<i32>,
    most: Vec<f32>,
    numbers: Vec<u32>,
    kept: [usize; QUERIES],
    /// Rounding error of s for vectors of norm one.
    unit: f32,
}

impl<'a> Tile<'a> {
    /// For at most [`QUERIES`] rows of a query (the matrix, and the same placed), each with the number of the row that it
    /// must not find.
    pub fn new(
        reference: &'a Numbered,
        (query, placed): (&'a Dense, &Placed),
        rows: &[(usize, u32)],
        k: usize,
    ) -> Self {
        let mut tile = Tile {
            reference,
            rows: padded(query, rows.iter().map(|q| q.0)).values,
            own: rows.iter().map(|q| q.1).collect(),
            k,
            values: vec![[0.0; QUERIES]; placed.width],
            squared: [0.0; QUERIES],
            norms: [0.0; QUERIES],
            thresholds: [f32::INFINITY; QUERIES],
            within: [0.0; QUERIES],
            least: vec![0; QUERIES * room(k)],
            most: vec![0.0; QUERIES * room(k)],
            numbers: vec![0; QUERIES * room(k)],
            kept: [0; QUERIES],
            // Worst case of a sum of d + 1 products in any order, plus the rounding of both factors; with a margin.
            unit: (query.n_cols as f32 + 6.0) * f32::EPSILON,
        };
        for (at, &(i, _)) in rows.iter().enumerate() {
            for (dimension, &v) in tile.values.iter_mut().zip(&placed.values[i * placed.width..]) {
                dimension[at] = v;
            }
            tile.squared[at] = placed.squared[i];
            tile.norms[at] = placed.squared[i].sqrt();
            (tile.thresholds[at], tile.within[at]) = (f32::NEG_INFINITY, f32::INFINITY);
        }
        tile
    }

    /// Whether no row within `radius` of a centre can be among the k nearest of any query.
    ///
    /// `away` are the squared distances of the queries to that centre, infinite where there is no query.
    pub fn excludes(&self, away: &[f32; QUERIES], radius: f32) -> bool {
        away.iter().zip(&self.within).all(|(away, within)| *away > (within + radius).powi(2))
    }

    /// Raises the thresholds by what is in these panels, without keeping any of it.
    pub fn raise(&mut self, panels: &[&Panels]) {
        let n = panels.iter().map(|p| p.n_rows()).sum::<usize>();
        let mut least = vec![0i32; QUERIES * n];
        let mut from = 0;
        for panels in panels {
            bounds(panels, self, n, from, &mut least);
            from += panels.n_rows();
        }
        for (at, least) in least.chunks_exact(n.max(1)).enumerate().take(self.own.len()) {
            // One of them may be the row that the query must not find.
            let k = self.k + usize::from(self.own[at] != u32::MAX);
            if n >= k {
                self.thresholds[at] = value(reached_by(least, k, k / 8));
            }
        }
    }

    #[inline(always)]
    fn meet<I: Isa>(&mut self, s: I, wide: bool, panel: &[[[f32; WIDE]; 2]], norm: f32, first: u32) {
        let (mut errors, mut thresholds) = ([0f32; QUERIES], [0f32; QUERIES]);
        for at in 0..QUERIES {
            errors[at] = self.error(at, norm);
            // Above what fills up the last panel.
            thresholds[at] = (self.thresholds[at] - errors[at]).max(f32::MIN);
        }
        let mut found = [[[0f32; WIDE]; 2]; QUERIES];
        if !products(s, wide, panel, &self.values, &thresholds, &mut found) {
            return;
        }
        for at in 0..self.own.len() {
            let mut lanes = reached(&found[at], thresholds[at]);
            let found = found[at].as_flattened();
            let part = self.part(at);
            let (least, most) = (&mut self.least[part.clone()], &mut self.most[part.clone()]);
            let (numbers, mut kept) = (&mut self.numbers[part], self.kept[at]);
            while lanes != 0 {
                let lane = lanes.trailing_zeros() as usize;
                lanes &= lanes - 1;
                least[kept] = key(found[lane] - errors[at]);
                most[kept] = found[lane] + errors[at];
                numbers[kept] = first + lane as u32;
                // Written, but not counted.
                kept += usize::from(self.own[at] != first + lane as u32);
            }
            self.kept[at] = kept;
            if kept + LANES >= numbers.len() {
                self.tighten(at);
            }
        }
    }

    /// How far s can be from what it is computed to be, for rows of at most this norm.
    #[inline(always)]
    fn error(&self, at: usize, norm: f32) -> f32 {
        // The smallest normal number stands for what underflow may do.
        self.unit * (self.norms[at] * norm + norm * norm) + 64.0 * f32::MIN_POSITIVE
    }

    /// Where the candidates of a query stand.
    fn part(&self, at: usize) -> Range<usize> {
        at * room(self.k)..(at + 1) * room(self.k)
    }

    /// Raises the threshold of a query and drops what is below it, and all but the k nearest where too many rows cannot
    /// be told apart.
    fn tighten(&mut self, at: usize) {
        let (part, kept) = (self.part(at), self.kept[at]);
        if kept >= self.k {
            let reached = value(reached_by(&self.least[part][..kept], self.k, LANES / 8));
            self.thresholds[at] = self.thresholds[at].max(reached);
        }
        let threshold = self.thresholds[at];
        // Norms are at most one; with all that rounding can do to both sides of a comparison of squared distances.
        let rounding = 16.0 * self.unit * (1.0 + self.norms[at]).powi(2);
        self.within[at] = ((self.squared[at] - 2.0 * threshold).max(0.0) + rounding).sqrt();
        self.retain(at, |most, _| most >= threshold);
        if self.kept[at] > self.k + LANES {
            let mut nearest = Vec::new();
            self.nearest(at, &mut nearest);
            let reference = self.reference;
            self.retain(at, |_, number| nearest.iter().any(|n| n.1 == reference.rows[number as usize]));
        }
    }

    /// Keeps the candidates of which this is true, given the most that their s can be and their number.
    #[inline(always)]
    fn retain(&mut self, at: usize, stays: impl Fn(f32, u32) -> bool) {
        let part = self.part(at);
        let (least, most) = (&mut self.least[part.clone()], &mut self.most[part.clone()]);
        let (numbers, mut still) = (&mut self.numbers[part], 0);
        for i in 0..self.kept[at] {
            let (l, m, number) = (least[i], most[i], numbers[i]);
            (least[still], most[still], numbers[still]) = (l, m, number);
            still += usize::from(stays(m, number));
        }
        self.kept[at] = still;
    }

    /// The k nearest of each query among all rows met, measured exactly: squared distance and row of the reference, nearest
    /// first, then by row.
    pub fn finish(mut self, mut put: impl FnMut(&[(f64, u32)])) {
        let mut nearest = Vec::with_capacity(room(self.k));
        for at in 0..self.own.len() {
            self.tighten(at);
            self.nearest(at, &mut nearest);
            put(&nearest);
        }
    }

    fn nearest(&self, at: usize, out: &mut Vec<(f64, u32)>) {
        let width = self.reference.values.n_cols;
        let numbers = &self.numbers[self.part(at)][..self.kept[at]];
        let mut squared = vec![0f64; numbers.len()];
        measure(&self.rows[at * width..(at + 1) * width], &self.reference.values, numbers, &mut squared);
        // Numbers of at least 0 order as their bits do; in single precision first, which a whole number beside a place
        // sorts quickly, then what that cannot tell apart.
        let mut order: Vec<u64> =
            squared.iter().zip(0u64..).map(|(&s, i)| u64::from((s as f32).to_bits()) << 32 | i).collect();
        order.sort_unstable();
        out.clear();
        for i in order.into_iter().map(|o| o as u32 as usize) {
            out.push((squared[i], self.reference.rows[numbers[i] as usize]));
        }
        for i in 1..out.len() {
            let mut j = i;
            while j > 0 && out[j] < out[j - 1] {
                out.swap(j, j - 1);
                j -= 1;
            }
        }
        out.truncate(self.k);
    }
}

/// The s of a tile's queries with a panel's rows, and whether any of them reaches its query's threshold.
///
/// As many queries at once as keep their sums in registers: `wide`, there are 32 that hold half a panel's rows, otherwise
/// 16 half as wide.
#[inline(always)]
fn products<I: Isa>(
    s: I,
    wide: bool,
    panel: &[[[f32; WIDE]; 2]],
    queries: &[[f32; QUERIES]],
    thresholds: &[f32; QUERIES],
    out: &mut [[[f32; WIDE]; 2]; QUERIES],
) -> bool {
    let mut signs = [u32::MAX; WIDE];
    if wide {
        // Loops over more than four queries are not unrolled, and their sums then go through memory.
        const HALF: usize = QUERIES / 2;
        let (mut left, mut right) = ([[0f32; WIDE]; HALF], [[0f32; WIDE]; HALF]);
        let (mut left2, mut right2) = ([[0f32; WIDE]; HALF], [[0f32; WIDE]; HALF]);
        for ([l, r], queries) in panel.iter().zip(queries) {
            for i in 0..HALF {
                add_product(s, queries[i], l, &mut left[i]);
                add_product(s, queries[i], r, &mut right[i]);
            }
            for i in 0..HALF {
                add_product(s, queries[HALF + i], l, &mut left2[i]);
                add_product(s, queries[HALF + i], r, &mut right2[i]);
            }
        }
        for i in 0..HALF {
            out[i] = compared(&left[i], &right[i], thresholds[i], &mut signs);
            out[HALF + i] = compared(&left2[i], &right2[i], thresholds[HALF + i], &mut signs);
        }
    } else {
        for first in (0..QUERIES).step_by(2) {
            let (mut left, mut right) = ([[0f32; WIDE]; 2], [[0f32; WIDE]; 2]);
            for ([l, r], queries) in panel.iter().zip(queries) {
                for i in 0..2 {
                    add_product(s, queries[first + i], l, &mut left[i]);
                    add_product(s, queries[first + i], r, &mut right[i]);
                }
            }
            for i in 0..2 {
                out[first + i] = compared(&left[i], &right[i], thresholds[first + i], &mut signs);
            }
        }
    }
    signs.iter().fold(u32::MAX, |all, s| all & s) >> 31 == 0
}

#[inline(always)]
fn add_product<I: Isa>(s: I, q: f32, rows: &[f32; WIDE], sums: &mut [f32; WIDE]) {
    for lane in 0..WIDE {
        sums[lane] = s.fma(q, rows[lane], sums[lane]);
    }
}

/// Both halves, leaving the sign bit of each lane only where their values are below the threshold.
#[inline(always)]
fn compared(left: &[f32; WIDE], right: &[f32; WIDE], threshold: f32, signs: &mut [u32; WIDE]) -> [[f32; WIDE]; 2] {
    for lane in 0..WIDE {
        signs[lane] &= (left[lane] - threshold).to_bits() & (right[lane] - threshold).to_bits();
    }
    [*left, *right]
}

/// Which lanes reach the threshold, one bit each.
#[inline(always)]
fn reached(products: &[[f32; WIDE]; 2], threshold: f32) -> u32 {
    let mut bits = [0u32; WIDE];
    for lane in 0..WIDE {
        let (left, right) = (products[0][lane] >= threshold, products[1][lane] >= threshold);
        bits[lane] = (u32::from(left) | u32::from(right) << WIDE) << lane;
    }
    bits.iter().fold(0, |all, b| all | b)
}

kernel! {
    /// Keeps, for every query of every tile, the rows of the panels that could be among its k nearest.
    pub(super) fn look_through(s, panels: &Panels, tiles: &mut [&mut Tile<'_>]) {
        let wide = level() == Level::Avx512;
        let Some(width) = tiles.first().map(|t| t.values.len()) else { return };
        for ((panel, &norm), first) in
            panels.values.chunks_exact(width).zip(&panels.norms).zip((panels.first..).step_by(LANES))
        {
            for tile in tiles.iter_mut() {
                tile.meet(s, wide, panel, norm, first);
            }
        }
    }
}

kernel! {
    /// The least that the s of a tile's queries with the panels' rows can be, as its [`key`]: those of a query together, `n`
    /// of them, these rows from `from` on.
    fn bounds(s, panels: &Panels, tile: &Tile<'_>, n: usize, from: usize, least: &mut [i32]) {
        let wide = level() == Level::Avx512;
        let panels = panels.values.chunks_exact(tile.values.len()).zip(&panels.norms);
        for ((panel, &norm), from) in panels.zip((from..).step_by(LANES)) {
            let mut found = [[[0f32; WIDE]; 2]; QUERIES];
            let any = [f32::MIN; QUERIES];
            products(s, wide, panel, &tile.values, &any, &mut found);
            for at in 0..QUERIES {
                let error = tile.error(at, norm);
                let least = &mut least[at * n + from..at * n + from + LANES];
                for (least, &v) in least.iter_mut().zip(found[at].as_flattened()) {
                    *least = key(v - error);
                }
            }
        }
    }
}

kernel! {
    /// Squared distances of a query to rows of the reference.
    fn measure(s, query: &[f32], reference: &Dense, numbers: &[u32], out: &mut [f64]) {
        for (&number, out) in numbers.iter().zip(out) {
            *out = squared_distance(query, &reference.values[number as usize * query.len()..][..query.len()]);
        }
    }
}

kernel! {
    /// A value that at least `k` of these reach, and hardly more than `spare` others: by halving between the least and the
    /// largest.
    fn reached_by(s, values: &[i32], k: usize, spare: usize) -> i32 {
        let (mut low, mut high) = (i32::MAX, i32::MIN);
        for &v in values {
            low = low.min(v);
            high = high.max(v);
        }
        for _ in 0..HALVINGS {
            let middle = low.midpoint(high);
            let mut reached = 0u32;
            for &v in values {
                reached += u32::from(v >= middle);
            }
            if (reached as usize) < k {
                high = middle;
            } else {
                low = middle;
                if reached as usize <= k + spare {
                    break;
                }
            }
        }
        low
    }
}

/// A whole number that orders as the value does (not a NaN).
#[inline(always)]
fn key(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// The value of a [`key`].
fn value(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) as u32 >> 1) as i32) as u32)
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::isa::Separate;

    use super::*;
    use crate::testing::normal_matrix;

    #[test]
    fn products_are_the_same_in_wide_and_in_narrow_registers() {
        let (rows, queries) = (normal_matrix(LANES, 7, 1), normal_matrix(QUERIES, 7, 2));
        let panel: Vec<[[f32; WIDE]; 2]> =
            (0..7).map(|d| [0, WIDE].map(|half| std::array::from_fn(|lane| rows.row(half + lane)[d]))).collect();
        let tile: Vec<[f32; QUERIES]> = (0..7).map(|d| std::array::from_fn(|q| queries.row(q)[d])).collect();
        let exact = |q: usize, lane: usize| -> f32 { (0..7).map(|d| queries.row(q)[d] * rows.row(lane)[d]).sum() };
        let largest = (0..LANES).map(|lane| exact(5, lane)).fold(f32::MIN, f32::max);
        for wide in [true, false] {
            let mut found = [[[0f32; WIDE]; 2]; QUERIES];
            // Only query 5 can reach its threshold.
            let mut thresholds = [f32::MAX; QUERIES];
            for (threshold, reached) in [(largest + 1e-3, false), (largest - 1e-3, true)] {
                thresholds[5] = threshold;
                assert_eq!(products(Separate, wide, &panel, &tile, &thresholds, &mut found), reached);
            }
            for (q, found) in found.iter().enumerate() {
                for (lane, &s) in found.as_flattened().iter().enumerate() {
                    assert!((s - exact(q, lane)).abs() < 1e-5);
                }
            }
            let lanes = reached(&found[5], largest - 1e-3);
            assert!(
                (0..LANES).all(|lane| (lanes >> lane & 1 == 1) == (found[5].as_flattened()[lane] >= largest - 1e-3))
            );
        }
    }

    #[test]
    fn k_values_reach_what_is_found() {
        let values: Vec<f32> = normal_matrix(200, 1, 3).values;
        let keys: Vec<i32> = values.iter().map(|&v| key(v)).collect();
        assert!(keys.iter().zip(&values).all(|(&k, &v)| value(k) == v));
        for (k, spare) in [(1, 0), (7, 0), (100, 0), (200, 0), (50, 4), (100, 12)] {
            let threshold = value(reached_by(&keys, k, spare));
            let reached = values.iter().filter(|&&v| v >= threshold).count();
            assert!((k..k + spare + 3).contains(&reached), "{reached} for {k}");
        }
    }
}
