//! Variable genes by the variance of standardised counts (Stuart et al. 2019, "Seurat v3").
//!
//! In each batch: σ_g from a loess of log₁₀ variance on log₁₀ mean; z = (x − μ_g)/σ_g with x clipped from above at
//! μ_g + σ_g √n; the score is Σ z²/(n − 1). Genes are ranked in each batch; a rank counts where it is below `n_top`.

use super::loess::loess;
use super::{HighlyVariable, HvgFlavor, HvgOptions, entries, moments};
use crate::{CellsError, Csr, Steps};

pub(super) fn choose(
    x: &Csr,
    batches: &[(String, Vec<usize>)],
    options: &HvgOptions,
    steps: &Steps,
) -> Result<HighlyVariable, CellsError> {
    let mut score = vec![0.0; x.n_cols];
    let mut ranks: Vec<Vec<f64>> = vec![Vec::new(); x.n_cols];
    for (name, rows) in batches {
        let scores = scores(x, rows, options.span, steps).map_err(|n_genes| CellsError::TooSmallToRank {
            batch: name.clone(),
            n_cells: rows.len(),
            n_genes,
        })?;
        let mut order: Vec<usize> = (0..x.n_cols).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        for (rank, &gene) in order.iter().take(options.n_top).enumerate() {
            ranks[gene].push(rank as f64);
        }
        score.iter_mut().zip(&scores).for_each(|(sum, s)| *sum += s / batches.len() as f64);
    }
    let n_batches: Vec<u32> = ranks.iter().map(|r| r.len() as u32).collect();
    let rank: Vec<Option<f64>> = ranks.into_iter().map(median).collect();
    let mut order: Vec<usize> = (0..x.n_cols).collect();
    order.sort_by(|&a, &b| {
        let by_rank = rank[a].unwrap_or(f64::INFINITY).total_cmp(&rank[b].unwrap_or(f64::INFINITY));
        let by_votes = n_batches[b].cmp(&n_batches[a]);
        match options.flavor {
            HvgFlavor::SeuratV3Paper => by_votes.then(by_rank),
            _ => by_rank.then(by_votes),
        }
    });
    let mut chosen: Vec<u32> = order.into_iter().take(options.n_top).map(|g| g as u32).collect();
    chosen.sort_unstable();
    Ok(HighlyVariable { chosen, score, n_batches, rank })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { 0.5 * (values[values.len() / 2 - 1] + upper) })
}

/// The score of each gene in one batch; how many genes vary, where these are too few.
fn scores(x: &Csr, rows: &[usize], span: f64, steps: &Steps) -> Result<Vec<f64>, usize> {
    let (mean, variance) = moments(x, rows, steps);
    let varying: Vec<usize> = (0..x.n_cols).filter(|&g| rows.len() > 1 && variance[g] > 0.0).collect();
    let log_mean: Vec<f64> = varying.iter().map(|&g| mean[g].log10()).collect();
    let log_variance: Vec<f64> = varying.iter().map(|&g| variance[g].log10()).collect();
    let fitted = loess(&log_mean, &log_variance, span).ok_or(varying.len())?;
    let mut sd = vec![1.0; x.n_cols];
    for (&g, f) in varying.iter().zip(fitted) {
        sd[g] = 10f64.powf(f).sqrt();
    }
    let n = rows.len() as f64;
    let clip: Vec<f64> = mean.iter().zip(&sd).map(|(m, s)| m + s * n.sqrt()).collect();
    // Σ (x − μ)² over all cells = n μ² + Σ x² − 2 μ Σ x, the sums over what is stored.
    let mut sum = vec![0.0; x.n_cols];
    let mut squares = vec![0.0; x.n_cols];
    entries(x, rows, steps, |g, v| {
        let v = v.min(clip[g]);
        sum[g] += v;
        squares[g] += v * v;
    });
    Ok((0..x.n_cols)
        .map(|g| (n * mean[g] * mean[g] + squares[g] - 2.0 * sum[g] * mean[g]) / ((n - 1.0) * sd[g] * sd[g]))
        .collect())
}
