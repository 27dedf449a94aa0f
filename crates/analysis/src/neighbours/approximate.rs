//! Approximate nearest neighbours for millions of cells.
//!
//! A query is compared only with the rows of the few lists of the reference whose centres are nearest; see
//! [`super::lists`]. How many that takes is measured: on a sample of queries, against the exact neighbours, until the
//! recall asked for is reached. Within the lists the search is the exact one, so the same seed gives the same bits on any
//! number of threads.

use scgraft_cells::Dense;
use scgraft_numeric::random::{mix, sample};

use super::Neighbours;
use super::exact::{knn_self, with_self_first};
use super::layout::{check, place};
use super::lists::{Lists, NONE};
use super::scan::QUERIES;
use crate::error::{Error, Result};

/// Settings of the approximate search.
#[derive(Clone, Debug, PartialEq)]
pub struct ApproximateOptions {
    /// Share of the true neighbours that must be found, on average.
    pub recall: f64,
    /// Number of lists; `None` takes √n.
    pub lists: Option<usize>,
    /// Queries, or a few more, on which the recall is measured; as many again choose the number of lists to look into.
    pub sample: usize,
    /// Chooses the centres and the samples.
    pub seed: u64,
}

impl Default for ApproximateOptions {
    fn default() -> Self {
        ApproximateOptions { recall: 0.95, lists: None, sample: 500, seed: 0 }
    }
}

/// Neighbours found approximately, and how good they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Approximate {
    /// The neighbours found; their distances are exact.
    pub neighbours: Neighbours,
    /// Mean share of the true k nearest that was found, on queries that did not choose `probes`. (A neighbour as near as
    /// the k-th true one counts as true.)
    pub recall: f64,
    /// Lists that each query looked into.
    pub probes: usize,
    /// Lists in all.
    pub lists: usize,
}

/// The `k` nearest rows of `reference` for each row of `query`, most of them.
///
/// # Errors
/// As [`knn`](crate::knn); a recall outside 0 to 1, no sample, no lists or more lists than rows.
pub fn knn_approximate(
    reference: &Dense,
    query: &Dense,
    k: usize,
    options: &ApproximateOptions,
) -> Result<Approximate> {
    check(reference, query, k, false)?;
    search(reference, query, k, false, options)
}

/// The `k` nearest rows of `data` for each of its own rows, most of them; itself first with `include_self`, or left out.
///
/// # Errors
/// As [`knn_approximate`] and [`knn_self`].
pub fn knn_self_approximate(
    data: &Dense,
    k: usize,
    include_self: bool,
    options: &ApproximateOptions,
) -> Result<Approximate> {
    check(data, data, k, !include_self)?;
    if !include_self {
        return search(data, data, k, true, options);
    }
    if k == 1 {
        return Ok(Approximate { neighbours: knn_self(data, 1, true)?, recall: 1.0, probes: 0, lists: 0 });
    }
    let mut found = search(data, data, k - 1, true, options)?;
    found.neighbours = with_self_first(Some(found.neighbours), data.n_rows, k);
    Ok(found)
}

fn refuse<T>(name: &'static str, value: impl ToString, expected: &'static str) -> Result<T> {
    Err(Error::Parameter { name, value: value.to_string(), expected })
}

impl ApproximateOptions {
    /// Checks what can be checked without data.
    ///
    /// # Errors
    /// A setting outside its range.
    pub fn check(&self) -> Result<()> {
        if !(self.recall > 0.0 && self.recall <= 1.0) {
            return refuse("recall", self.recall, "a share above 0, at most 1");
        }
        if self.sample == 0 {
            return refuse("sample", 0, "at least one query to measure the recall on");
        }
        Ok(())
    }
}

fn search(reference: &Dense, query: &Dense, k: usize, own: bool, options: &ApproximateOptions) -> Result<Approximate> {
    options.check()?;
    let wanted = options.lists.unwrap_or((reference.n_rows as f64).sqrt().round() as usize);
    if wanted == 0 || wanted > reference.n_rows {
        return refuse("lists", wanted, "at least 1, at most as many as reference rows");
    }
    let (r, q) = place(reference, query);
    let lists = Lists::build((reference, &r), wanted, options.seed);
    let search = |rows: &[usize], probes| lists.search((query, &q), rows, k, own, probes);

    // Queries look through lists a tile together, so tiles are drawn. Half of them choose the number of probes, the other
    // half judge it.
    let order = lists.order(&q);
    let tiles: Vec<&[usize]> = order.chunks(QUERIES).collect();
    let sampled = sample(mix(options.seed, 1), 2 * options.sample.div_ceil(QUERIES), tiles.len());
    let halves = [0, 1].map(|half| {
        // A single tile must do both.
        let skipped = half.min(sampled.len() - 1);
        sampled.iter().skip(skipped).step_by(2).flat_map(|&tile| tiles[tile]).copied().collect::<Vec<usize>>()
    });
    let truth = [0, 1].map(|half| search(&halves[half], lists.len()));
    let found = |half: usize, probes| share_found(&search(&halves[half], probes), &truth[half]);
    // The fewest that reach it: more and more of them, then between the last two numbers tried.
    let (mut few, mut probes) = (0, 1);
    while probes < lists.len() && found(0, probes) < options.recall {
        (few, probes) = (probes, (2 * probes).min(lists.len()));
    }
    while probes - few > 1 + few / 32 {
        let middle = few.midpoint(probes);
        *(if found(0, middle) < options.recall { &mut few } else { &mut probes }) = middle;
    }
    let recall = found(1, probes);
    let mut neighbours = Neighbours::room(query.n_rows, k);
    lists.search_into((query, &q), &order, neighbours.places(order.iter().copied()), own, probes);
    // Lists with too few rows: the few queries that got fewer than k neighbours are searched exactly.
    let short: Vec<usize> = (0..query.n_rows).filter(|&i| neighbours.row(i).0[k - 1] == NONE).collect();
    if !short.is_empty() {
        lists.search_into((query, &q), &short, neighbours.places(short.iter().copied()), own, lists.len());
    }
    Ok(Approximate { neighbours, recall, probes, lists: lists.len() })
}

/// Share of the neighbours found that are as near as the k-th true one.
fn share_found(found: &Neighbours, exact: &Neighbours) -> f64 {
    let kth = |i: usize| exact.row(i).1[exact.k - 1];
    let hits: usize = (0..exact.n_rows()).map(|i| found.row(i).1.iter().filter(|d| **d <= kth(i)).count()).sum();
    hits as f64 / found.indices.len() as f64
}

/// Share of the neighbours in `found` that are as near as the k-th of `exact`: the recall of one search against another.
///
/// # Errors
/// Searches of different shape.
pub fn recall(found: &Neighbours, exact: &Neighbours) -> Result<f64> {
    if found.k != exact.k || found.n_rows() != exact.n_rows() {
        return Err(Error::Length {
            what: "neighbours to compare".to_owned(),
            expected: exact.indices.len(),
            found: found.indices.len(),
        });
    }
    Ok(share_found(found, exact))
}
