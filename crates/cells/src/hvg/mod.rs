//! Highly variable genes: the genes worth modelling.
//!
//! With several batches, genes are scored within each batch and the batches vote, so that a gene is not chosen for
//! differing between batches only. The flavours and their rules are those of scanpy 1.10 and 1.11.

mod dispersion;
mod loess;
mod variance;

use crate::{CellsError, Coded, Csr, Steps};

/// How variability is scored, and how batches vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HvgFlavor {
    /// Variance of clipped, standardised **counts**, against a loess of log₁₀ variance on log₁₀ mean (Stuart et al.
    /// 2019). Batches: median rank, then number of batches.
    #[default]
    SeuratV3,
    /// The same score. Batches: number of batches, then median rank.
    SeuratV3Paper,
    /// Log dispersion of **log1p-normalised** values, standardised within 20 bins of equal width over the log mean
    /// (Satija et al. 2015). Batches: number of batches, then mean score.
    Seurat,
    /// Dispersion of **log1p-normalised** values against the median within bins at percentiles of the mean (Zheng
    /// et al. 2017). Batches: number of batches, then mean score.
    CellRanger,
}

/// How many genes to choose, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct HvgOptions {
    /// How variability is scored.
    pub flavor: HvgFlavor,
    /// How many genes to choose.
    pub n_top: usize,
    /// Share of the genes in a neighbourhood of the loess (`SeuratV3`).
    pub span: f64,
    /// Bins over the mean (`Seurat`).
    pub n_bins: usize,
}

impl Default for HvgOptions {
    fn default() -> Self {
        HvgOptions { flavor: HvgFlavor::SeuratV3, n_top: 2000, span: 0.3, n_bins: 20 }
    }
}

/// Scores of all genes, and the genes chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct HighlyVariable {
    /// Positions of the genes chosen, increasing. Without batches the dispersion flavours choose all genes that tie
    /// with the last.
    pub chosen: Vec<u32>,
    /// Score of each gene, the mean over batches: normalised variance, or normalised dispersion. NaN where a
    /// dispersion is not defined.
    pub score: Vec<f64>,
    /// In how many batches each gene is among the top.
    pub n_batches: Vec<u32>,
    /// Median over batches of the gene's rank among the top, from 0; `None` for a gene that is never among them, and
    /// for the dispersion flavours.
    pub rank: Vec<Option<f64>>,
}

/// Chooses highly variable genes.
///
/// Genes that tie go by position. (In scanpy the order of such genes, rare ones in small batches, depends on the sort
/// of the machine: two releases differ in several of 2,000 genes.)
///
/// `x` holds raw counts for `SeuratV3` and `SeuratV3Paper`, log1p-normalised values for `Seurat` and `CellRanger`
/// (see [`crate::normalize_total`] and [`crate::log1p`]). `batch` has one code a row of `x`.
///
/// # Errors
/// When `n_top` or `n_bins` is 0, `span` is not in (0, 1], or a batch is too small to score genes in.
pub fn highly_variable(x: &Csr, batch: Option<&Coded>, options: &HvgOptions) -> Result<HighlyVariable, CellsError> {
    let refuse = |what, expected, found: String| Err(CellsError::Option { what, expected, found });
    if options.n_top == 0 {
        return refuse("the number of variable genes", "at least 1", "0".into());
    }
    if options.n_bins == 0 {
        return refuse("the number of bins", "at least 1", "0".into());
    }
    if !(options.span > 0.0 && options.span <= 1.0) {
        return refuse("the span of the loess", "above 0 and at most 1", options.span.to_string());
    }
    let batches = match batch {
        Some(coded) => batches(coded),
        None => vec![("all cells".to_owned(), (0..x.n_rows).collect())],
    };
    let is_counts = matches!(options.flavor, HvgFlavor::SeuratV3 | HvgFlavor::SeuratV3Paper);
    let passes = if is_counts { 3 } else { 2 };
    let steps = Steps::new("choosing variable genes", batches.iter().map(|b| passes * b.1.len().div_ceil(BLOCK)).sum());
    match is_counts {
        true => variance::choose(x, &batches, options, &steps),
        false => dispersion::choose(x, &batches, batch.is_some(), options, &steps),
    }
}

/// Name and rows of each batch that has cells.
fn batches(coded: &Coded) -> Vec<(String, Vec<usize>)> {
    let mut out: Vec<(String, Vec<usize>)> = coded.levels.iter().map(|l| (l.clone(), Vec::new())).collect();
    for (row, &code) in coded.codes.iter().enumerate() {
        out[code as usize].1.push(row);
    }
    out.retain(|(_, rows)| !rows.is_empty());
    out
}

/// Cells after which it is said how far it is.
const BLOCK: usize = 1024;

/// Goes through the entries of some rows: gene and value of each.
fn entries(x: &Csr, rows: &[usize], steps: &Steps, mut take: impl FnMut(usize, f64)) {
    for rows in rows.chunks(BLOCK) {
        for &i in rows {
            let (genes, values) = x.row(i);
            genes.iter().zip(values).for_each(|(&g, &v)| take(g as usize, f64::from(v)));
        }
        steps.done();
    }
}

/// Mean and variance (n − 1) of each gene over some rows, in two passes.
fn moments(x: &Csr, rows: &[usize], steps: &Steps) -> (Vec<f64>, Vec<f64>) {
    let n = rows.len() as f64;
    let mut mean = vec![0.0; x.n_cols];
    let mut filled = vec![0u32; x.n_cols];
    entries(x, rows, steps, |g, v| {
        mean[g] += v;
        filled[g] += 1;
    });
    mean.iter_mut().for_each(|m| *m /= n);
    let mut variance: Vec<f64> = mean.iter().zip(&filled).map(|(m, &k)| m * m * (n - f64::from(k))).collect();
    entries(x, rows, steps, |g, v| variance[g] += (v - mean[g]).powi(2));
    variance.iter_mut().for_each(|v| *v /= (n - 1.0).max(1.0));
    (mean, variance)
}

#[cfg(test)]
mod tests;
