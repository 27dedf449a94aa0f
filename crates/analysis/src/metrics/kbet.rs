//! kBET: do the batches around a cell have the frequencies they have everywhere?
//!
//! For cell i, Pearson's χ² of the batches of its k neighbours (itself counted) against their
//! expected numbers; a cell is accepted when p ≥ α. Source: Büttner et al., *Nat Methods* 2019;
//! per cell type on diffusion distances: Luecken et al., *Nat Methods* 2022.

use rayon::prelude::*;
use scgraft_cells::{Coded, Csr, Dense};
use scgraft_numeric::distributions::chi_square;
use scgraft_numeric::eigen::{Search, largest};

use super::{Groups, mean};
use crate::error::{Error, Result};
use crate::graph::components::strong_components;
use crate::graph::connectivities;
use crate::graph::product::{multiply, restrict};
use crate::neighbours::{Neighbours, knn_self};

/// Diffusion components in which neighbours are sought.
const COMPONENTS: usize = 100;
/// α, the level of the test.
const ALPHA: f64 = 0.05;
/// Types with fewer cells say nothing.
const LEAST_CELLS: usize = 10;
/// Added to eigenvalues, as in scib-metrics.
const EPSILON: f64 = 1e-8;

/// The test of every cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Kbet {
    /// Share of the cells with p ≥ α: 1 is well mixed.
    pub acceptance_rate: f64,
    /// χ² statistic of each cell.
    pub statistics: Vec<f64>,
    /// p-value of each cell, with (batches − 1) degrees of freedom.
    pub p_values: Vec<f64>,
}

/// kBET over all cells.
///
/// # Errors
/// Neighbours or labels of another length, a single batch.
pub fn kbet(neighbours: &Neighbours, batch: &Coded) -> Result<Kbet> {
    neighbours.check_among(neighbours.n_rows())?;
    Ok(test(neighbours, &Groups::new("batch", batch, neighbours.n_rows(), 2)?))
}

fn test(neighbours: &Neighbours, batches: &Groups) -> Kbet {
    let n = neighbours.n_rows();
    let levels = batches.sizes.len();
    let share: Vec<f64> = batches.sizes.iter().map(|&s| s as f64 / n as f64).collect();
    let statistics: Vec<f64> = (0..n)
        .into_par_iter()
        .map_init(
            || vec![0f64; levels],
            |counts, i| {
                counts.fill(0.0);
                counts[batches.codes[i] as usize] = 1.0;
                neighbours.others(i).for_each(|(j, _)| counts[batches.codes[j] as usize] += 1.0);
                let k: f64 = counts.iter().sum();
                counts.iter().zip(&share).map(|(c, p)| (c - p * k).powi(2) / (p * k)).sum()
            },
        )
        .collect();
    let p_values: Vec<f64> = statistics.iter().map(|&x| chi_square::upper_p(x, levels - 1)).collect();
    let accepted = p_values.iter().filter(|&&p| p >= ALPHA).count();
    Kbet { acceptance_rate: accepted as f64 / n as f64, statistics, p_values }
}

/// kBET within each cell type, averaged over the types: 1 is well mixed.
///
/// `neighbours` (50 of them, the cell itself counted, is scib-metrics' choice) make the
/// connectivities of all cells; those of one type are turned into up to 100 diffusion components,
/// component with eigenvalue λ scaled by λ / (1 − λ), in which the k₀ nearest cells are tested;
/// k₀ is a quarter of the mean batch size, between 10 and 70. Types with fewer than 10 cells or a
/// single batch are left out. Where a type is not in one piece, its pieces of at least 3 k₀ cells are
/// tested, and the type scores 0 when they hold less than three quarters of it.
///
/// Three differences from `kbet_per_label` of scib-metrics 0.5.10, all in favour of a value that means something:
/// neighbours in the diffusion space are exact (there: approximate, from pynndescent);
/// components of a stationary state (λ = 1, one for each piece) always get weight 1 (there: only when
/// rounding to `f32` makes λ exactly 1, else about 10⁷, which lets the stationary state decide
/// everything); and a small type does not reduce the number of components of the types after it.
/// With exact neighbours and the types named by size, largest first, both agree.
///
/// # Errors
/// As [`kbet`]; no type with two batches and 10 cells.
pub fn kbet_per_label(neighbours: &Neighbours, batch: &Coded, cell_types: &Coded) -> Result<f64> {
    let n = neighbours.n_rows();
    neighbours.check_among(n)?;
    let batches = Groups::new("batch", batch, n, 2)?;
    let types = Groups::new("cell type", cell_types, n, 1)?;
    let graph = connectivities(neighbours)?;
    let scores = types
        .members()
        .par_iter()
        .map(|cells| of_type(&graph, cells, &batches))
        .collect::<Result<Vec<Option<f64>>>>()?;
    let told: Vec<f64> = scores.into_iter().flatten().collect();
    if told.is_empty() {
        return Err(Error::Inconsistent {
            what: "kBET".to_owned(),
            problem: format!("no cell type has {LEAST_CELLS} cells of at least two batches; check both columns"),
        });
    }
    Ok(mean(told))
}

fn of_type(graph: &Csr, cells: &[usize], batches: &Groups) -> Result<Option<f64>> {
    let Some(own) = recode(batches, cells) else { return Ok(None) };
    if cells.len() < LEAST_CELLS {
        return Ok(None);
    }
    let quarter = cells.len() / own.sizes.len() / 4;
    let k0 = quarter.clamp(10, 70);
    let part = restrict(graph, cells);
    let components = strong_components(&part.indptr, &part.indices);
    let mut sizes = vec![0usize; components.iter().max().map_or(0, |&c| c as usize + 1)];
    components.iter().for_each(|&c| sizes[c as usize] += 1);
    if sizes.len() == 1 {
        return on_diffusion(&part, 1, k0, &own).map(Some);
    }
    let kept: Vec<usize> = (0..cells.len()).filter(|&i| sizes[components[i] as usize] >= 3 * k0).collect();
    if (kept.len() as f64) < 0.75 * cells.len() as f64 {
        return Ok(Some(0.0));
    }
    let pieces = sizes.iter().filter(|&&s| s >= 3 * k0).count();
    let chosen: Vec<usize> = kept.iter().map(|&i| cells[i]).collect();
    // One batch is left: nothing can be rejected, and nothing was mixed either.
    let Some(own) = recode(batches, &chosen) else { return Ok(Some(0.0)) };
    on_diffusion(&restrict(&part, &kept), pieces, k0, &own).map(Some)
}

/// The batches of some cells; `None` when they are all of one.
fn recode(batches: &Groups, cells: &[usize]) -> Option<Groups> {
    let own = Coded { codes: cells.iter().map(|&i| batches.codes[i]).collect(), levels: batches.names.clone() };
    Groups::new("batch", &own, cells.len(), 2).ok()
}

fn on_diffusion(graph: &Csr, pieces: usize, k0: usize, batches: &Groups) -> Result<f64> {
    let n = graph.n_rows;
    let k = COMPONENTS.min(n - 1);
    let transitions = normalise(graph);
    let image = |v: &[f64], p: usize, out: &mut [f64]| multiply(graph, &transitions, v, p, out);
    // The eigenvalues of largest magnitude are the largest of the square.
    let search = Search { k, block: 8, tolerance: 1e-3, most_restarts: 40, seed: 0 };
    let found = largest(n, &search, &|v, p, out| {
        let mut once = vec![0f64; v.len()];
        image(v, p, &mut once);
        image(&once, p, out);
    })?;
    let mut mapped = vec![0f64; n * k];
    image(&found.vectors, k, &mut mapped);
    let mut values = vec![0f64; k];
    for (v, m) in found.vectors.chunks_exact(k).zip(mapped.chunks_exact(k)) {
        values.iter_mut().zip(v.iter().zip(m)).for_each(|(value, (v, m))| *value += v * m);
    }
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let mut scales: Vec<f64> = values.iter().map(|&v| (v + EPSILON) / (1.0 - v - EPSILON)).collect();
    order[..pieces.min(k)].iter().for_each(|&j| scales[j] = 1.0);
    let points = found.vectors.chunks_exact(k).flat_map(|row| row.iter().zip(&scales).map(|(v, s)| (v * s) as f32));
    let space = Dense::new(n, k, points.collect());
    let neighbours = knn_self(&space, (k0 + 1).min(n), true)?;
    Ok(test(&neighbours, batches).acceptance_rate)
}

/// Weights of D^{-1/2} Q W Q D^{-1/2}: density taken out by the degrees Q⁻¹, then made symmetric.
fn normalise(graph: &Csr) -> Vec<f64> {
    let sums = |weight: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        (0..graph.n_rows).map(|i| (graph.indptr[i]..graph.indptr[i + 1]).map(|e| weight(i, e)).sum()).collect()
    };
    let value = |e: usize| f64::from(graph.values[e]);
    let q = sums(&|_, e| value(e));
    let kernel = |i: usize, e: usize| value(e) / (q[i] * q[graph.indices[e] as usize]);
    let z = sums(&|i, e| kernel(i, e));
    let mut out = vec![0f64; graph.nnz()];
    for i in 0..graph.n_rows {
        for e in graph.indptr[i]..graph.indptr[i + 1] {
            out[e] = kernel(i, e) / (z[i] * z[graph.indices[e] as usize]).sqrt();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_and_separate() {
        let n = 200;
        let neighbours = |step: u32| Neighbours {
            k: 20,
            indices: (0..n).flat_map(|i| (1..21).map(move |s| (i + s * step) % n)).collect(),
            distances: vec![1.0; 20 * n as usize],
        };
        let batch = Coded { codes: (0..n).map(|i| i % 2).collect(), levels: vec!["a".into(), "b".into()] };
        assert_eq!(kbet(&neighbours(1), &batch).unwrap().acceptance_rate, 1.0);
        // Steps of two stay in the batch.
        assert_eq!(kbet(&neighbours(2), &batch).unwrap().acceptance_rate, 0.0);
    }
}
