//! Out-of-distribution score: is a query cell further from the reference than reference cells are from each other?

use crate::Neighbours;
use crate::error::{Error, Result};

use super::check_neighbours;

/// How far outside the reference each query cell lies.
#[derive(Clone, Debug, PartialEq)]
pub struct OutOfDistribution {
    /// Mean distance to the k neighbours over what is usual for those neighbours; about 1 inside the reference.
    pub score: Vec<f64>,
    /// Share of reference cells with a smaller score. Of cells that are like the reference, a share of about
    /// 1 − q lies above q, so 0.99 calls one such cell in a hundred new.
    pub quantile: Vec<f64>,
}

/// Scores query cells by their distance to the reference, on the scale of the reference's own distances there.
///
/// With m(c) the mean distance of a cell to its k nearest *other* reference cells,
/// score(c) = m(c) / (mean of m(n) over the neighbours n of c): the local density ratio of LOF (Breunig et al. 2000,
/// doi:10.1145/342009.335388) on plain distances. Dividing by what is usual among the neighbours keeps cells of a
/// loose population from being called new. The quantile is taken among the scores that the reference cells have
/// themselves.
///
/// `reference` are the neighbours of each reference cell among the others, `query` those of each query cell among the
/// reference, with the same k. With [`crate::knn_self`] (without self) for the reference, a change of study counts as new:
/// cells of another study lie a little further away than those of the own. With
/// [`crate::neighbours::knn_across`] over the studies of the reference the question is the one that is usually meant: new
/// beyond what a change of study does.
///
/// # Errors
/// Different k; query neighbours that point past the reference.
pub fn out_of_distribution(reference: &Neighbours, query: &Neighbours) -> Result<OutOfDistribution> {
    if reference.k != query.k {
        return Err(Error::Inconsistent {
            what: "neighbours for the out-of-distribution score".to_owned(),
            problem: format!(
                "the reference has k = {}, the query k = {}; find both with the same k",
                reference.k, query.k
            ),
        });
    }
    check_neighbours(reference, reference.n_rows(), "neighbours of the reference")?;
    check_neighbours(query, reference.n_rows(), "neighbours of the reference")?;
    let usual: Vec<f64> = (0..reference.n_rows()).map(|i| mean_distance(reference, i)).collect();
    let mut sorted = scores(reference, &usual);
    sorted.sort_unstable_by(f64::total_cmp);
    let score = scores(query, &usual);
    let n = sorted.len() as f64;
    let quantile = score.iter().map(|s| sorted.partition_point(|r| r < s) as f64 / n).collect();
    Ok(OutOfDistribution { score, quantile })
}

fn mean_distance(neighbours: &Neighbours, i: usize) -> f64 {
    neighbours.row(i).1.iter().map(|&d| f64::from(d)).sum::<f64>() / neighbours.k as f64
}

fn scores(neighbours: &Neighbours, usual: &[f64]) -> Vec<f64> {
    (0..neighbours.n_rows())
        .map(|i| {
            let here = mean_distance(neighbours, i);
            let there = neighbours.row(i).0.iter().map(|&j| usual[j as usize]).sum::<f64>() / neighbours.k as f64;
            match (here > 0.0, there > 0.0) {
                (_, true) => here / there,
                // Neighbours that are copies of each other have no scale: a further copy is one of them, any
                // other cell is infinitely far out.
                (false, false) => 1.0,
                (true, false) => f64::INFINITY,
            }
        })
        .collect()
}
