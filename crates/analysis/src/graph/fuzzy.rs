//! The fuzzy neighbour graph: which cells are close, in units of what is close there.
//!
//! Cell i is tied to its neighbour j with strength exp(−max(0, d − ρᵢ) / σᵢ); ρᵢ is the distance
//! to its nearest neighbour and σᵢ makes the strengths add up to log₂ k. The two directions are
//! joined by w = a + b − a b. Source: McInnes, Healy & Melville 2018. scanpy's connectivities are
//! this graph.

use rayon::prelude::*;
use scgraft_cells::Csr;

use crate::Neighbours;
use crate::error::Result;

/// Steps and tolerance of the search for σ; the tolerance is umap-learn's, so that graphs agree closely.
const STEPS: usize = 64;
const TOLERANCE: f64 = 1e-5;
/// σ is at least this share of the mean distance.
const LEAST_SCALE: f64 = 1e-3;

/// The symmetric graph of cells among themselves, weights in 0 … 1.
///
/// k counts the cell itself as umap-learn and scanpy do: 14 neighbours besides the cell make
/// their `n_neighbors = 15`. Whether the neighbours hold the cell itself makes no difference.
///
/// # Errors
/// Neighbours that are not those of the cells among themselves.
pub fn connectivities(neighbours: &Neighbours) -> Result<Csr> {
    let n = neighbours.n_rows();
    neighbours.check_among(n)?;
    let k = neighbours.others(0).count();
    let all: f64 = neighbours
        .distances
        .par_chunks(4096)
        .map(|c| c.iter().map(|&d| f64::from(d)).sum::<f64>())
        .collect::<Vec<_>>()
        .iter()
        .sum();
    let mean = all / (n * (k + 1)) as f64;
    let rows: Vec<Vec<(u32, f32)>> = (0..n)
        .into_par_iter()
        .map(|i| {
            let (at, distances): (Vec<u32>, Vec<f32>) = neighbours.others(i).map(|(j, d)| (j as u32, d)).unzip();
            let nearest = distances.iter().copied().find(|&d| d > 0.0).unwrap_or(0.0);
            let own = distances.iter().map(|&d| f64::from(d)).sum::<f64>() / (distances.len() + 1) as f64;
            let least = LEAST_SCALE * if nearest > 0.0 { own } else { mean };
            let sigma = scale(&distances, nearest, ((k + 1) as f64).log2(), least);
            let mut row: Vec<(u32, f32)> = at
                .into_iter()
                .zip(distances.iter().map(|&d| strength(d, nearest, sigma)))
                .filter(|e| e.1 > 0.0)
                .collect();
            row.sort_unstable_by_key(|e| e.0);
            row
        })
        .collect();
    let directed = from_rows(n, n, &rows);
    let reverse = directed.transpose();
    let rows: Vec<Vec<(u32, f32)>> = (0..n).into_par_iter().map(|i| union(directed.row(i), reverse.row(i))).collect();
    Ok(from_rows(n, n, &rows))
}

/// Strengths of the ties of query cells to their reference neighbours, `n × k`.
///
/// Here every neighbour counts (no cell is its own) and ρ = 0, as in umap-learn's `transform`.
pub(crate) fn memberships(neighbours: &Neighbours) -> Vec<f32> {
    let n = neighbours.n_rows();
    let all: f64 = neighbours.distances.iter().map(|&d| f64::from(d)).sum();
    let mean = all / neighbours.distances.len().max(1) as f64;
    (0..n)
        .into_par_iter()
        .flat_map_iter(|i| {
            let (_, distances) = neighbours.row(i);
            let target = (neighbours.k as f64).log2();
            // The first neighbour is left out of the sum: it stands where the cell itself does in a fit.
            let sigma = scale(&distances[1..], 0.0, target, LEAST_SCALE * mean);
            distances.iter().map(move |&d| strength(d, 0.0, sigma))
        })
        .collect()
}

fn strength(distance: f32, nearest: f32, sigma: f32) -> f32 {
    let beyond = distance - nearest;
    if beyond <= 0.0 || sigma == 0.0 { 1.0 } else { (-(f64::from(beyond) / f64::from(sigma))).exp() as f32 }
}

/// σ with Σ exp(−max(0, d − ρ) / σ) = target; at least `least`.
///
/// Newton's method in 1/σ: the sum is convex and falls, so from the left of the root every step stays left of it. By
/// Jensen's inequality ln(n / target) / mean(x) is left of it.
fn scale(distances: &[f32], nearest: f32, target: f64, least: f64) -> f32 {
    let beyond = |d: f32| if d > nearest { f64::from(d - nearest) } else { 0.0 };
    let n = distances.len() as f64;
    let (total, ties) = distances.iter().fold((0f64, 0f64), |(total, ties), &d| {
        let x = beyond(d);
        (total + x, ties + f64::from(u8::from(x == 0.0)))
    });
    if n <= target {
        return f32::INFINITY;
    }
    // However small σ is, ties at the nearest distance add up to this.
    if ties >= target {
        return least as f32;
    }
    let mut inverse = (n / target).ln() * n / total;
    for _ in 0..STEPS {
        let (mut sum, mut slope) = (0f64, 0f64);
        for &d in distances {
            let x = beyond(d);
            let e = (-x * inverse).exp();
            sum += e;
            slope += x * e;
        }
        if sum - target < TOLERANCE {
            break;
        }
        inverse += (sum - target) / slope;
    }
    inverse.recip().max(least) as f32
}

/// a + b − a b over the union of two sorted rows.
fn union(a: (&[u32], &[f32]), b: (&[u32], &[f32])) -> Vec<(u32, f32)> {
    let mut out = Vec::with_capacity(a.0.len() + b.0.len());
    let (mut i, mut j) = (0, 0);
    while i < a.0.len() || j < b.0.len() {
        let (left, right) = (a.0.get(i).copied(), b.0.get(j).copied());
        match (left, right) {
            (Some(x), Some(y)) if x == y => {
                out.push((x, a.1[i] + b.1[j] - a.1[i] * b.1[j]));
                i += 1;
                j += 1;
            }
            (Some(x), y) if y.is_none_or(|y| x < y) => {
                out.push((x, a.1[i]));
                i += 1;
            }
            (_, Some(y)) => {
                out.push((y, b.1[j]));
                j += 1;
            }
            _ => break,
        }
    }
    out
}

fn from_rows(n_rows: usize, n_cols: usize, rows: &[Vec<(u32, f32)>]) -> Csr {
    let mut out = Csr::zeros(n_rows, n_cols);
    for (i, row) in rows.iter().enumerate() {
        out.indices.extend(row.iter().map(|e| e.0));
        out.values.extend(row.iter().map(|e| e.1));
        out.indptr[i + 1] = out.indices.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knn_self;
    use scgraft_cells::Dense;

    #[test]
    fn strengths_add_up_and_the_graph_is_symmetric() {
        let x = Dense::new(60, 2, (0..120).map(|i| ((i * 37) % 101) as f32 / 10.0).collect());
        let neighbours = knn_self(&x, 10, true).unwrap();
        let graph = connectivities(&neighbours).unwrap();
        assert_eq!(graph, graph.transpose());
        assert!(graph.values.iter().all(|&v| v > 0.0 && v <= 1.0));
        // Without the cell itself in the list: the same graph.
        assert_eq!(graph, connectivities(&knn_self(&x, 9, false).unwrap()).unwrap());
        let (_, d) = neighbours.row(0);
        let sigma = scale(&d[1..], d[1], 10f64.log2(), 0.0);
        let sum: f64 = d[1..].iter().map(|&v| f64::from(strength(v, d[1], sigma))).sum();
        assert!((sum - 10f64.log2()).abs() < 1e-4, "{sum}");
    }
}
