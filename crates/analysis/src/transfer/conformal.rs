//! Conformal sets: labels that hold the true one in as many cells as asked for.
//!
//! With d_y(c) the mean distance of cell c to its m nearest reference cells of label y,
//!
//! 1. r_y(c) = d_y(c) / min over labels of d(c): how much further y is than the nearest label
//! 2. q = quantile of r_true at the coverage, over reference cells held against those of other studies, every study with
//!    the same weight
//! 3. set(c) = { y : r_y(c) ≤ q }
//!
//! Were the query one more study like those of the reference, its sets would hold the true label in the share of cells
//! asked for (split conformal prediction with distances to neighbours: Vovk, Gammerman & Shafer 2005; Papadopoulos et al.
//! 2011, doi:10.1613/jair.3198). A set always holds the nearest label; how large it is says how sure.

use scgraft_cells::{Coded, Dense};

use super::Labelled;
use crate::error::{Error, Result, check_labels};
use crate::neighbours::Search;

/// m: cells of a label that its distance is the mean over.
const CELLS: usize = 5;

/// A set of labels for each query cell.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSets {
    /// Levels of the labels, nearest first.
    pub sets: Vec<Vec<u32>>,
    /// q: labels up to so many times as far as the nearest are in the set.
    pub ratio: f64,
    /// Studies of the reference that q was learned from; 0 where there is one, whose halves are held against each other.
    pub n_held_out: usize,
}

impl LabelSets {
    /// Mean number of labels in a set.
    pub fn mean_size(&self) -> f64 {
        self.sets.iter().map(Vec::len).sum::<usize>() as f64 / self.sets.len().max(1) as f64
    }
}

/// Sets of labels for query cells in the same dimensions as the reference, at a coverage between 0 and 1.
///
/// # Errors
/// A coverage outside 0 to 1; labels or studies that are not one for each reference cell; of [`Search::between`].
pub fn label_sets(reference: &Labelled<'_>, query: &Dense, coverage: f64, search: &Search) -> Result<LabelSets> {
    if !(coverage > 0.0 && coverage < 1.0) {
        let value = coverage.to_string();
        return Err(Error::Parameter { name: "coverage", value, expected: "a share between 0 and 1, such as 0.95" });
    }
    let Labelled { x, labels: (name, labels), studies: (study_name, studies) } = *reference;
    check_labels(name, labels, x.n_rows)?;
    check_labels(study_name, studies, x.n_rows)?;
    let held: Vec<u32> = match studies.levels.len() {
        0 | 1 => (0..x.n_rows as u32).map(|i| i % 2).collect(),
        _ => studies.codes.clone(),
    };
    let mut ratios: Vec<(f64, f64)> = Vec::new();
    let mut n_held_out = 0;
    for study in 0..=held.iter().copied().max().unwrap_or(0) {
        let own: Vec<usize> = (0..x.n_rows).filter(|&i| held[i] == study).collect();
        let others: Vec<usize> = (0..x.n_rows).filter(|&i| held[i] != study).collect();
        if own.is_empty() || others.is_empty() {
            continue;
        }
        let found = distances(x, &others, labels, &x.select_rows(&own), search)?;
        let of_true = own.iter().enumerate().map(|(r, &i)| ratio(found.row(r), labels.codes[i] as usize));
        let known: Vec<f64> = of_true.filter(|r| r.is_finite()).collect();
        n_held_out += usize::from(!known.is_empty());
        let weight = 1.0 / known.len().max(1) as f64;
        ratios.extend(known.into_iter().map(|r| (r, weight)));
    }
    let ratio_at = weighted_quantile(&mut ratios, coverage).ok_or_else(|| Error::Inconsistent {
        what: format!("`{name}` for label sets"),
        problem: "no label is in two studies".into(),
    })?;
    let all: Vec<usize> = (0..x.n_rows).collect();
    let found = distances(x, &all, labels, query, search)?;
    let set = |i: usize| {
        let row = found.row(i);
        let mut inside: Vec<u32> =
            (0..row.len() as u32).filter(|&y| ratio(row, y as usize) <= ratio_at.max(1.0)).collect();
        inside.sort_by(|&a, &b| row[a as usize].total_cmp(&row[b as usize]));
        inside
    };
    let n_held_out = if studies.levels.len() > 1 { n_held_out } else { 0 };
    Ok(LabelSets { sets: (0..query.n_rows).map(set).collect(), ratio: ratio_at, n_held_out })
}

/// 1; infinite for a label without cells.
fn ratio(distances: &[f32], label: usize) -> f64 {
    let nearest = distances.iter().copied().fold(f32::INFINITY, f32::min);
    if distances[label] == nearest { 1.0 } else { f64::from(distances[label]) / f64::from(nearest) }
}

/// Distance of each query cell to each label of the reference cells named, cells × labels.
fn distances(x: &Dense, rows: &[usize], labels: &Coded, query: &Dense, search: &Search) -> Result<Dense> {
    let n = labels.levels.len();
    let mut out = Dense::new(query.n_rows, n, vec![f32::INFINITY; query.n_rows * n]);
    for label in 0..n {
        let own: Vec<usize> = rows.iter().copied().filter(|&i| labels.codes[i] as usize == label).collect();
        if own.is_empty() {
            continue;
        }
        let k = CELLS.min(own.len());
        let near = search.between(&x.select_rows(&own), query, k)?.neighbours;
        for i in 0..query.n_rows {
            out.row_mut(i)[label] = near.row(i).1.iter().sum::<f32>() / k as f32;
        }
    }
    Ok(out)
}

/// The least value at or below which a share of the weight lies.
fn weighted_quantile(values: &mut [(f64, f64)], share: f64) -> Option<f64> {
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = values.iter().map(|v| v.1).sum();
    let mut below = 0.0;
    let at = values.iter().find(|v| {
        below += v.1;
        below >= share * total
    });
    at.or(values.last()).map(|v| v.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{coded, normals};

    /// Three types in a row that overlap, in studies that are moved a little.
    fn cells(n: usize, studies: u32, seed: u64) -> (Dense, Coded, Coded) {
        let noise = normals(2 * n, seed);
        let codes: Vec<u32> = (0..n as u32).map(|i| i / studies % 3).collect();
        let study: Vec<u32> = (0..n as u32).map(|i| i % studies).collect();
        let at = |i: usize| noise[2 * i] as f32 + 2.0 * codes[i] as f32 + 0.2 * study[i] as f32;
        let values = (0..n).flat_map(|i| [at(i), noise[2 * i + 1] as f32]).collect();
        (Dense::new(n, 2, values), coded(&codes, 3), coded(&study, studies as usize))
    }

    #[test]
    fn sets_cover_as_often_as_asked_for() {
        let (x, labels, studies) = cells(3000, 4, 1);
        let (query, truth, _) = cells(3000, 1, 2);
        let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
        let mut sizes = Vec::new();
        for coverage in [0.8, 0.95] {
            let found = label_sets(&reference, &query, coverage, &Search::Exact).unwrap();
            let right = (0..query.n_rows).filter(|&i| found.sets[i].contains(&truth.codes[i])).count();
            let share = right as f64 / query.n_rows as f64;
            assert!((share - coverage).abs() < 0.03, "{coverage}: {share}");
            assert!(found.sets.iter().all(|s| !s.is_empty()));
            sizes.push(found.mean_size());
        }
        assert!(sizes[0] < sizes[1] && sizes[1] < 3.0, "{sizes:?}");
    }

    #[test]
    fn one_study_is_held_against_its_own_half() {
        let (x, labels, studies) = cells(600, 1, 3);
        let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
        let found = label_sets(&reference, &x, 0.9, &Search::Exact).unwrap();
        assert_eq!(found.n_held_out, 0);
        assert!(found.ratio >= 1.0);
        assert!(label_sets(&reference, &x, 1.0, &Search::Exact).is_err());
    }

    #[test]
    fn quantiles_weigh() {
        let mut values = [(3.0, 1.0), (1.0, 1.0), (2.0, 8.0)];
        assert_eq!([0.05, 0.5, 0.95].map(|q| weighted_quantile(&mut values, q).unwrap()), [1.0, 2.0, 3.0]);
    }
}
