//! Variable genes by dispersion within bins of the mean (Satija et al. 2015; Zheng et al. 2017).
//!
//! The dispersion of a gene is variance / mean of its values: `seurat` undoes the log first and takes logs of
//! dispersion and mean after. It is centred and scaled within a bin of genes of like mean: mean and standard
//! deviation in bins of equal width (`seurat`), or median and median absolute deviation in bins at percentiles
//! (`cell_ranger`). With batches, genes without a count in a batch score 0 there.

use super::{HighlyVariable, HvgFlavor, HvgOptions, moments};
use crate::{CellsError, Csr, Steps};

/// 1 / Φ⁻¹(3/4): makes a median absolute deviation estimate a standard deviation.
const MAD_SCALE: f64 = 1.482_602_218_505_602;

pub(super) fn choose(
    x: &Csr,
    batches: &[(String, Vec<usize>)],
    is_batched: bool,
    options: &HvgOptions,
    steps: &Steps,
) -> Result<HighlyVariable, CellsError> {
    let unlogged;
    let x = if options.flavor == HvgFlavor::Seurat {
        let values = x.values.iter().map(|v| v.exp_m1()).collect();
        unlogged = Csr { values, ..x.clone() };
        &unlogged
    } else {
        x
    };
    let mut n_batches = vec![0u32; x.n_cols];
    let mut sums = vec![(0.0, 0u32); x.n_cols];
    let mut selected_alone = Vec::new();
    for (name, rows) in batches {
        let (mean, variance) = moments(x, rows, steps);
        let genes: Vec<usize> = (0..x.n_cols).filter(|&g| !is_batched || mean[g] > 0.0).collect();
        if rows.len() < 2 || genes.len() < 2 {
            let (n_cells, n_genes) = (rows.len(), genes.len());
            return Err(CellsError::TooSmallToRank { batch: name.clone(), n_cells, n_genes });
        }
        let pick = |v: &[f64]| genes.iter().map(|&g| v[g]).collect::<Vec<f64>>();
        let scores = scores(pick(&mean), &pick(&variance), options);
        let cutoff = nth_highest(&scores, options.n_top);
        // A gene that the batch lacks counts as 0.
        sums.iter_mut().for_each(|s| s.1 += u32::from(is_batched));
        for (&g, &score) in genes.iter().zip(&scores) {
            sums[g].1 -= u32::from(is_batched);
            if !score.is_nan() {
                sums[g].0 += score;
                sums[g].1 += 1;
            }
            if score >= cutoff {
                n_batches[g] += 1;
                selected_alone.push(g as u32);
            }
        }
    }
    let score: Vec<f64> = sums.iter().map(|&(sum, n)| sum / f64::from(n)).collect();
    let mut chosen = if is_batched {
        let mut order: Vec<u32> = (0..x.n_cols as u32).collect();
        let or_last = |g: u32| if score[g as usize].is_nan() { f64::NEG_INFINITY } else { score[g as usize] };
        order.sort_by(|&a, &b| {
            n_batches[b as usize].cmp(&n_batches[a as usize]).then(or_last(b).total_cmp(&or_last(a)))
        });
        order.truncate(options.n_top);
        order
    } else {
        selected_alone
    };
    chosen.sort_unstable();
    Ok(HighlyVariable { chosen, score, n_batches, rank: vec![None; x.n_cols] })
}

/// Normalised dispersions of the genes of one batch; NaN where a dispersion or the spread of its bin is not defined.
fn scores(mut mean: Vec<f64>, variance: &[f64], options: &HvgOptions) -> Vec<f64> {
    mean.iter_mut().filter(|m| **m == 0.0).for_each(|m| *m = 1e-12);
    let mut dispersion: Vec<f64> = variance.iter().zip(&mean).map(|(v, m)| v / m).collect();
    let edges = if options.flavor == HvgFlavor::Seurat {
        dispersion.iter_mut().for_each(|d| *d = if *d == 0.0 { f64::NAN } else { d.ln() });
        mean.iter_mut().for_each(|m| *m = m.ln_1p());
        equal_edges(&mean, options.n_bins)
    } else {
        percentile_edges(&mean)
    };
    // Bin b holds what is above edge b and not above edge b + 1.
    let bins: Vec<usize> = mean.iter().map(|m| edges.partition_point(|e| e < m)).collect();
    let mut members: Vec<Vec<f64>> = vec![Vec::new(); edges.len() + 1];
    for (&bin, &d) in bins.iter().zip(&dispersion).filter(|(_, d)| !d.is_nan()) {
        members[bin].push(d);
    }
    let statistics: Vec<(f64, f64)> = members
        .into_iter()
        .map(|m| if options.flavor == HvgFlavor::Seurat { mean_and_sd(&m) } else { median_and_mad(m) })
        .collect();
    dispersion.iter().zip(&bins).map(|(d, &bin)| (d - statistics[bin].0) / statistics[bin].1).collect()
}

/// Centre and spread of a bin. A gene alone in its bin gets the score 1.
fn mean_and_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() == 1 {
        return (0.0, mean);
    }
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

fn median_and_mad(values: Vec<f64>) -> (f64, f64) {
    let centre = median(values.clone());
    (centre, median(values.into_iter().map(|v| (v - centre).abs()).collect()) * MAD_SCALE)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[half],
        _ => 0.5 * (values[half - 1] + values[half]),
    }
}

/// `n` bins of equal width over the range; the lowest edge is 0.1 % of the range below, to hold the least value.
fn equal_edges(values: &[f64], n: usize) -> Vec<f64> {
    let (mut low, mut high) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    if low == high {
        let margin = if low == 0.0 { 0.001 } else { 0.001 * low.abs() };
        (low, high) = (low - margin, high + margin);
        return (0..=n).map(|i| low + (high - low) * i as f64 / n as f64).collect();
    }
    let mut edges: Vec<f64> = (0..=n).map(|i| low + (high - low) / n as f64 * i as f64).collect();
    edges[0] -= 0.001 * (high - low);
    edges[n] = high;
    edges
}

/// The percentiles 10, 15, …, 100 (linear between order statistics); repeated edges make one.
fn percentile_edges(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = (10..=100)
        .step_by(5)
        .map(|p| {
            let at = f64::from(p) / 100.0 * (sorted.len() - 1) as f64;
            let below = at.floor() as usize;
            let above = (below + 1).min(sorted.len() - 1);
            sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
        })
        .collect();
    edges.dedup();
    edges
}

/// The n-th highest score, those that are NaN aside; the lowest where there are fewer.
fn nth_highest(scores: &[f64], n: usize) -> f64 {
    let mut sorted: Vec<f64> = scores.iter().copied().filter(|s| !s.is_nan()).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.get(n.min(sorted.len()).saturating_sub(1)).copied().unwrap_or(f64::INFINITY)
}
