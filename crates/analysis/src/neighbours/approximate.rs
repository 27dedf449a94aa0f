//! Approximate nearest neighbours for millions of cells: an inverted file.
//!
//! The reference is split into lists, each around a centre (k-means; Sivic & Zisserman 2003,
//! doi:10.1109/ICCV.2003.1238663; Jégou et al. 2011, doi:10.1109/TPAMI.2010.57). A query is compared only with the
//! rows of the few lists whose centres are nearest. How many that takes is measured: on a sample of queries, against
//! the exact neighbours, until the recall asked for is reached. Within the lists the search is the exact one, so the same
//! seed gives the same bits on any number of threads.

use std::ops::Range;

use rayon::prelude::*;
use scgraft_cells::Dense;

use super::Neighbours;
use super::exact::{knn, knn_self};
use super::scan::{Candidates, Prepared, QUERY_BLOCK, REFERENCE_BLOCK, check, prepare, products, with_self_first};
use crate::error::{Error, Result};
use crate::random::{mix, sample};

/// Settings of the approximate search.
#[derive(Clone, Debug, PartialEq)]
pub struct ApproximateOptions {
    /// Share of the true neighbours that must be found, on average.
    pub recall: f64,
    /// Number of lists; `None` takes 2 √n.
    pub lists: Option<usize>,
    /// Queries on which the recall is measured; as many again choose the number of lists to look into.
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

/// Rounds of k-means, and rows a list on which it runs: the lists need not be perfect.
const ROUNDS: usize = 8;
const TRAINING_ROWS: usize = 128;

/// The `k` nearest rows of `reference` for each row of `query`, most of them.
///
/// # Errors
/// As [`knn`]; a recall outside 0 to 1, no sample, no lists or more lists than rows.
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

fn search(
    reference: &Dense,
    query: &Dense,
    k: usize,
    exclude_self: bool,
    options: &ApproximateOptions,
) -> Result<Approximate> {
    let refuse = |name, value: String, expected| Err(Error::Parameter { name, value, expected });
    if !(options.recall > 0.0 && options.recall <= 1.0) {
        return refuse("recall", options.recall.to_string(), "a share above 0, at most 1");
    }
    if options.sample == 0 {
        return refuse("sample", "0".to_owned(), "at least one query to measure the recall on");
    }
    let wanted = options.lists.unwrap_or((2.0 * (reference.n_rows as f64).sqrt()).round() as usize);
    if wanted == 0 || wanted > reference.n_rows {
        return refuse("lists", wanted.to_string(), "at least 1, at most as many as reference rows");
    }
    let index = Index::build(reference, wanted, options.seed)?;
    let lists = index.lists.len();

    // Half of the sampled queries choose the number of probes, the other half judge it.
    let sampled = sample(mix(options.seed, 1), 2 * options.sample, query.n_rows);
    let halves = [0, 1].map(|half| {
        // A single query must do both.
        let picked: Vec<usize> = sampled.iter().copied().skip(half).step_by(2).collect();
        if picked.is_empty() { sampled.clone() } else { picked }
    });
    let mut truth = Vec::new();
    for half in &halves {
        // One more, where the query itself is among the reference and must be set aside.
        let exact = knn(reference, &query.select_rows(half), (k + usize::from(exclude_self)).min(reference.n_rows))?;
        truth.push(kth_distances(&exact, half, k, exclude_self));
    }
    let recall = |half: usize, probes: usize| -> Result<f64> {
        let rows = &halves[half];
        let names = exclude_self.then_some(rows.as_slice());
        let found = index.search(reference, &query.select_rows(rows), k, names, probes)?;
        Ok(share_found(&found, &truth[half]))
    };
    let mut probes = 1;
    while probes < lists && recall(0, probes)? < options.recall {
        probes = (probes + probes.div_ceil(2)).min(lists);
    }
    let measured = recall(1, probes)?;
    let own: Vec<usize> = if exclude_self { (0..query.n_rows).collect() } else { Vec::new() };
    let neighbours = index.search(reference, query, k, exclude_self.then_some(own.as_slice()), probes)?;
    // Lists with too few rows: the few queries that got fewer than k neighbours are searched exactly.
    let neighbours = complete(neighbours, reference, query, exclude_self)?;
    Ok(Approximate { neighbours, recall: measured, probes, lists })
}

/// Distance of each query's k-th neighbour, itself set aside.
fn kth_distances(exact: &Neighbours, rows: &[usize], k: usize, exclude_self: bool) -> Vec<f32> {
    (0..rows.len())
        .map(|i| {
            let (indices, distances) = exact.row(i);
            let others = indices.iter().zip(distances).filter(|(j, _)| !(exclude_self && **j as usize == rows[i]));
            others.map(|(_, &d)| d).nth(k - 1).unwrap_or(f32::INFINITY)
        })
        .collect()
}

fn share_found(found: &Neighbours, kth: &[f32]) -> f64 {
    let hits: usize = kth.iter().enumerate().map(|(i, kth)| found.row(i).1.iter().filter(|d| *d <= kth).count()).sum();
    hits as f64 / (found.k * kth.len()) as f64
}

/// What stands where no neighbour was found.
const NONE: u32 = u32::MAX;

fn complete(mut found: Neighbours, reference: &Dense, query: &Dense, exclude_self: bool) -> Result<Neighbours> {
    let k = found.k;
    let short: Vec<usize> = (0..query.n_rows).filter(|&i| found.row(i).0[k - 1] == NONE).collect();
    if short.is_empty() {
        return Ok(found);
    }
    let wanted = (k + usize::from(exclude_self)).min(reference.n_rows);
    let exact = knn(reference, &query.select_rows(&short), wanted)?;
    for (at, &i) in short.iter().enumerate() {
        let (indices, distances) = exact.row(at);
        let others = indices.iter().zip(distances).filter(|(j, _)| !(exclude_self && **j as usize == i)).take(k);
        for (place, (&j, &d)) in (i * k..(i + 1) * k).zip(others) {
            (found.indices[place], found.distances[place]) = (j, d);
        }
    }
    Ok(found)
}

/// The reference, row numbers ordered by list.
struct Index {
    centres: Dense,
    /// Rows of the reference, list after list, ascending within a list.
    order: Vec<u32>,
    lists: Vec<Range<usize>>,
}

impl Index {
    fn build(reference: &Dense, lists: usize, seed: u64) -> Result<Self> {
        let training = reference.select_rows(&sample(mix(seed, 2), lists * TRAINING_ROWS, reference.n_rows));
        let mut centres = training.select_rows(&sample(mix(seed, 3), lists, training.n_rows));
        for _ in 0..ROUNDS {
            let nearest = knn(&centres, &training, 1)?.indices;
            let mut sums = vec![0f64; centres.values.len()];
            let mut counts = vec![0usize; lists];
            for (i, &list) in nearest.iter().enumerate() {
                counts[list as usize] += 1;
                let sum = &mut sums[list as usize * centres.n_cols..][..centres.n_cols];
                sum.iter_mut().zip(training.row(i)).for_each(|(s, &v)| *s += f64::from(v));
            }
            // A centre without rows stays where it is.
            for list in (0..lists).filter(|&l| counts[l] > 0) {
                let sum = &sums[list * centres.n_cols..][..centres.n_cols];
                centres.row_mut(list).iter_mut().zip(sum).for_each(|(c, s)| *c = (s / counts[list] as f64) as f32);
            }
        }
        let nearest = knn(&centres, reference, 1)?.indices;
        let mut order: Vec<u32> = (0..reference.n_rows as u32).collect();
        order.sort_by_key(|&row| nearest[row as usize]);
        let bounds: Vec<usize> =
            (0..=lists).map(|l| order.partition_point(|&row| (nearest[row as usize] as usize) < l)).collect();
        let lists = bounds.windows(2).map(|b| b[0]..b[1]).collect();
        Ok(Index { centres, order, lists })
    }

    /// Nearest rows among those of the `probes` nearest lists; `own` names the reference row to leave out for each query.
    fn search(
        &self,
        reference: &Dense,
        query: &Dense,
        k: usize,
        own: Option<&[usize]>,
        probes: usize,
    ) -> Result<Neighbours> {
        let probed = knn(&self.centres, query, probes)?;
        let grouped = reference.select_rows(&self.order.iter().map(|&row| row as usize).collect::<Vec<_>>());
        let (r, q) = prepare(&grouped, query);
        drop(grouped);
        // Queries near the same centre look into the same lists, so they share products.
        let mut by_list: Vec<usize> = (0..query.n_rows).collect();
        by_list.sort_by_key(|&i| probed.row(i).0[0]);
        let blocks: Vec<Vec<Vec<(f64, u32)>>> = by_list
            .par_chunks(QUERY_BLOCK)
            .map(|block| {
                let excluded = |i: usize| own.map(|own| own[i] as u32);
                let mut candidates: Vec<Candidates> = block
                    .iter()
                    .map(|&i| Candidates::new(reference, query.row(i), q.norms[i], k, excluded(i)))
                    .collect();
                let mut visits: Vec<(u32, usize)> = block
                    .iter()
                    .enumerate()
                    .flat_map(|(at, &i)| probed.row(i).0.iter().map(move |&list| (list, at)))
                    .collect();
                visits.sort_unstable();
                self.visit(&visits, &r, &q, block, &mut candidates);
                candidates.iter_mut().map(Candidates::finish).collect()
            })
            .collect();
        let mut out =
            Neighbours { k, indices: vec![NONE; query.n_rows * k], distances: vec![f32::INFINITY; query.n_rows * k] };
        for (&i, nearest) in by_list.iter().zip(blocks.into_iter().flatten()) {
            for (place, (squared, row)) in (i * k..(i + 1) * k).zip(nearest) {
                out.indices[place] = row;
                out.distances[place] = squared.sqrt() as f32;
            }
        }
        Ok(out)
    }

    /// Looks into each list with all queries of a block that want it. `visits` are (list, place in block), by list.
    fn visit(
        &self,
        visits: &[(u32, usize)],
        r: &Prepared,
        q: &Prepared,
        block: &[usize],
        candidates: &mut [Candidates],
    ) {
        let (mut buffer, mut gathered) = (Vec::new(), Vec::new());
        for visitors in visits.chunk_by(|a, b| a.0 == b.0) {
            gathered.clear();
            for &(_, at) in visitors {
                gathered.extend_from_slice(q.rows(block[at]..block[at] + 1));
            }
            let list = self.lists[visitors[0].0 as usize].clone();
            for first in list.clone().step_by(REFERENCE_BLOCK) {
                let rows = first..(first + REFERENCE_BLOCK).min(list.end);
                let largest = r.norms[rows.clone()].iter().copied().fold(0f32, f32::max);
                let s = products(r, rows.clone(), &gathered, &mut buffer);
                for (&(_, at), s) in visitors.iter().zip(s.chunks_exact(rows.len())) {
                    candidates[at].look_through(s, largest, |place| self.order[first + place]);
                }
            }
        }
    }
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
    let kth: Vec<f32> = (0..exact.n_rows()).map(|i| exact.row(i).1[exact.k - 1]).collect();
    Ok(share_found(found, &kth))
}
