//! Metrics of a query mapped onto a reference.
//!
//! Distances are Mahalanobis distances, in units of a group's own spread, so embeddings of
//! different scale can be compared. In many dimensions every cell is far from every other by that measure, most of all
//! where dimensions hardly vary (programs that were pruned): compare [`leading`] components. Source: Zappia et al.,
//! *Nat Methods* 2025 (label distance, unseen-population distances). Neither paper of scArches defines metrics of this kind.

use std::collections::BTreeMap;

use scgraft_cells::{Coded, Dense};
use scgraft_numeric::eigen::decompose;

use super::{Groups, mean};
use crate::error::{Error, Result, check_matrix};
use crate::pca::pca;
use crate::quantile::quantile;

/// Reference cells further from a centre than this share of the centre's own cells are outside it.
const INSIDE: f64 = 0.9;
/// The share of the variance that the components compared hold, and the most of them.
const HELD: f64 = 0.9;
const MOST_COMPONENTS: usize = 50;

/// An embedding of all cells (reference and query) on its leading principal components: as few as hold 90 % of the
/// variance, at most 50.
///
/// # Errors
/// Of [`pca`].
pub fn leading(x: &Dense) -> Result<Dense> {
    let p = pca(x, x.n_rows.min(x.n_cols).min(MOST_COMPONENTS))?;
    let mut held = 0.0;
    let before = p.variance_ratio.iter().take_while(|&&share| (held < HELD, held += share).0).count();
    let values = p.scores.values.chunks_exact(p.scores.n_cols).flat_map(|row| &row[..before]).copied();
    Ok(Dense::new(x.n_rows, before, values.collect()))
}

/// A group's centre and spread.
struct Cloud {
    centre: Vec<f64>,
    /// Covariance^(−1/2) as rows: distance = ‖W (x − centre)‖.
    whitening: Vec<f64>,
}

impl Cloud {
    /// From cells of `x`; directions without variance are ignored (pseudo-inverse).
    fn new(x: &Dense, cells: &[usize]) -> Result<Cloud> {
        let d = x.n_cols;
        let mut centre = vec![0f64; d];
        for &i in cells {
            centre.iter_mut().zip(x.row(i)).for_each(|(c, &v)| *c += f64::from(v));
        }
        centre.iter_mut().for_each(|c| *c /= cells.len() as f64);
        let mut covariance = vec![0f64; d * d];
        for &i in cells {
            let v: Vec<f64> = x.row(i).iter().zip(&centre).map(|(&v, c)| f64::from(v) - c).collect();
            for a in 0..d {
                for b in 0..=a {
                    covariance[a * d + b] += v[a] * v[b];
                    covariance[b * d + a] = covariance[a * d + b];
                }
            }
        }
        let divisor = (cells.len() - 1) as f64;
        covariance.iter_mut().for_each(|c| *c /= divisor);
        let (values, u) = decompose(&covariance, d)?;
        let least = values.last().map_or(0.0, |v| v * d as f64 * f64::EPSILON);
        let mut whitening = Vec::new();
        for (j, &value) in values.iter().enumerate().filter(|&(_, &v)| v > least) {
            whitening.extend((0..d).map(|i| u[(i, j)] / value.sqrt()));
        }
        Ok(Cloud { centre, whitening })
    }

    fn distance(&self, x: impl Iterator<Item = f64>) -> f64 {
        let v: Vec<f64> = x.zip(&self.centre).map(|(v, c)| v - c).collect();
        let along = |row: &[f64]| row.iter().zip(&v).map(|(w, v)| w * v).sum::<f64>().powi(2);
        self.whitening.chunks_exact(v.len()).map(along).sum::<f64>().sqrt()
    }

    fn of_row(&self, x: &Dense, i: usize) -> f64 {
        self.distance(x.row(i).iter().map(|&v| f64::from(v)))
    }
}

/// The cell types of both sides.
fn sides(reference: (&Dense, &Coded), query: (&Dense, &Coded)) -> Result<[Groups; 2]> {
    check_matrix("reference embedding", reference.0)?;
    check_matrix("query embedding", query.0)?;
    if reference.0.n_cols != query.0.n_cols {
        return Err(Error::Dimensions {
            what: "query embedding".to_owned(),
            expected: reference.0.n_cols,
            found: query.0.n_cols,
        });
    }
    let there = Groups::new("reference cell type", reference.1, reference.0.n_rows, 1)?;
    Ok([there, Groups::new("query cell type", query.1, query.0.n_rows, 1)?])
}

fn centroid(x: &Dense, cells: &[usize]) -> Vec<f64> {
    let mut sum = vec![0f64; x.n_cols];
    for &i in cells {
        sum.iter_mut().zip(x.row(i)).for_each(|(s, &v)| *s += f64::from(v));
    }
    sum.iter().map(|s| s / cells.len() as f64).collect()
}

/// Query groups with at least 2 × dimensions cells: fewer do not give a covariance.
fn large_enough(groups: &Groups, d: usize) -> impl Iterator<Item = usize> + '_ {
    (0..groups.sizes.len()).filter(move |&g| groups.sizes[g] >= (2 * d).max(2))
}

/// Label distance: do query cells of a type land where the reference has that type?
///
/// For each type in both (matched by name) with at least 2 × dimensions query cells: the Mahalanobis distance
/// between its two centroids, by the covariance of the query cells, as a share of the largest distance of
/// such a query cell from the query centroid; at most 1. The score is 1 − the mean over the types. 1 is best.
///
/// # Errors
/// Values that are not finite, dimensions or lengths that differ, no such type.
pub fn label_distance(reference: &Dense, reference_labels: &Coded, query: &Dense, query_labels: &Coded) -> Result<f64> {
    let [there, here] = sides((reference, reference_labels), (query, query_labels))?;
    let centroids: BTreeMap<&str, Vec<f64>> =
        there.names.iter().map(String::as_str).zip(there.members().iter().map(|c| centroid(reference, c))).collect();
    let members = here.members();
    let mut shares = Vec::new();
    for g in large_enough(&here, query.n_cols) {
        let Some(target) = centroids.get(here.names[g].as_str()) else { continue };
        let cloud = Cloud::new(query, &members[g])?;
        shares.push(share(&cloud, query, &members[g], std::iter::once(target)));
    }
    if shares.is_empty() {
        return Err(none_left("no cell type is in both, with at least 2 × dimensions query cells"));
    }
    Ok(1.0 - mean(shares))
}

/// Unseen-population distance, by label: do query types the reference does not have stay away from its types?
///
/// For each query type that is not among the reference's types, with at least 2 × dimensions cells: the distance
/// from its centroid to the nearest centroid of a reference type, measured as in [`label_distance`]. The score
/// is the mean over these types: 1 is best (every unseen type is as far from all known types as its own
/// outermost cell), 0 is worst.
///
/// # Errors
/// As [`label_distance`]; no such unseen type.
pub fn unseen_label_distance(
    reference: &Dense,
    reference_labels: &Coded,
    query: &Dense,
    query_labels: &Coded,
) -> Result<f64> {
    let [there, here] = sides((reference, reference_labels), (query, query_labels))?;
    let centroids: Vec<Vec<f64>> = there.members().iter().map(|c| centroid(reference, c)).collect();
    let members = here.members();
    let mut shares = Vec::new();
    for g in large_enough(&here, query.n_cols).filter(|&g| !there.names.contains(&here.names[g])) {
        let cloud = Cloud::new(query, &members[g])?;
        shares.push(share(&cloud, query, &members[g], centroids.iter()));
    }
    if shares.is_empty() {
        let least = 2 * query.n_cols;
        let problem = format!("no cell type that the reference lacks has {least} cells in the query, two a dimension");
        return Err(none_left(&problem));
    }
    Ok(mean(shares))
}

/// Distance to the nearest target as a share of the cloud's own reach, at most 1.
fn share<'a>(cloud: &Cloud, x: &Dense, cells: &[usize], targets: impl Iterator<Item = &'a Vec<f64>>) -> f64 {
    let reach = cells.iter().map(|&i| cloud.of_row(x, i)).fold(0f64, f64::max);
    let nearest = targets.map(|t| cloud.distance(t.iter().copied())).fold(f64::INFINITY, f64::min);
    if reach > 0.0 { (nearest / reach).min(1.0) } else { 1.0 }
}

/// Unseen-population distance, by cell: the share of query cells of unseen types that lie outside every reference type.
///
/// Each cell of a query type that is not among the reference's types is compared with the nearest reference type
/// (Mahalanobis, by that type's covariance); it is outside when it is further away than 90 % of that type's own
/// cells. 1 is best. Reference types of fewer than 2 cells are left out.
///
/// # Errors
/// As [`label_distance`]; no unseen type.
pub fn unseen_cell_distance(
    reference: &Dense,
    reference_labels: &Coded,
    query: &Dense,
    query_labels: &Coded,
) -> Result<f64> {
    let [there, here] = sides((reference, reference_labels), (query, query_labels))?;
    let mut clouds = Vec::new();
    for cells in there.members().iter().filter(|c| c.len() > 1) {
        let cloud = Cloud::new(reference, cells)?;
        let own: Vec<f64> = cells.iter().map(|&i| cloud.of_row(reference, i)).collect();
        let limit = quantile(&own, INSIDE);
        clouds.push((cloud, limit));
    }
    let unseen: Vec<usize> =
        (0..query.n_rows).filter(|&i| !there.names.contains(&here.names[here.codes[i] as usize])).collect();
    if unseen.is_empty() || clouds.is_empty() {
        return Err(none_left("no query cell type is absent from the reference"));
    }
    let outside = unseen.iter().map(|&i| {
        let (distance, limit) = clouds
            .iter()
            .map(|(cloud, limit)| (cloud.of_row(query, i), *limit))
            .fold((f64::INFINITY, 0.0), |a, b| if b.0 < a.0 { b } else { a });
        f64::from(u8::from(distance > limit))
    });
    Ok(mean(outside))
}

fn none_left(problem: &str) -> Error {
    Error::Inconsistent { what: "mapping metric".to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::random::Random;

    use super::*;

    /// Clouds of 2-dimensional normal points around the given centres, one label a centre.
    fn clouds(centres: &[(&str, f32, f32)], each: usize, seed: u64) -> (Dense, Coded) {
        let mut s = Random::half_open(seed, 0);
        let mut values = Vec::new();
        for &(_, x, y) in centres {
            for _ in 0..each {
                values.push(x + s.normal() as f32);
                values.push(y + 2.0 * s.normal() as f32);
            }
        }
        let codes = (0..centres.len()).flat_map(|c| vec![c as u32; each]).collect();
        let levels = centres.iter().map(|c| c.0.to_owned()).collect();
        (Dense::new(centres.len() * each, 2, values), Coded { codes, levels })
    }

    #[test]
    fn a_good_mapping_scores_high_and_a_bad_one_low() {
        let (reference, r) = clouds(&[("B", 0.0, 0.0), ("T", 30.0, 0.0)], 400, 1);
        let (good, g) = clouds(&[("B", 0.0, 0.0), ("T", 30.0, 0.0), ("new", -20.0, 30.0)], 200, 2);
        let (bad, b) = clouds(&[("B", 30.0, 0.0), ("T", 0.0, 0.0), ("new", 0.0, 0.0)], 200, 3);
        assert!(label_distance(&reference, &r, &good, &g).unwrap() > 0.9);
        assert_eq!(label_distance(&reference, &r, &bad, &b).unwrap(), 0.0);
        assert_eq!(unseen_label_distance(&reference, &r, &good, &g).unwrap(), 1.0);
        assert!(unseen_label_distance(&reference, &r, &bad, &b).unwrap() < 0.15);
        assert_eq!(unseen_cell_distance(&reference, &r, &good, &g).unwrap(), 1.0);
        // Drawn from the same cloud: about one cell in ten is outside.
        let inside = unseen_cell_distance(&reference, &r, &bad, &b).unwrap();
        assert!(inside > 0.03 && inside < 0.2, "{inside}");
    }

    #[test]
    fn nothing_to_compare_is_an_error() {
        let (x, labels) = clouds(&[("a", 0.0, 0.0)], 50, 6);
        assert!(matches!(unseen_cell_distance(&x, &labels, &x, &labels), Err(Error::Inconsistent { .. })));
    }
}
