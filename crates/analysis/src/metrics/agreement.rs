//! How far two groupings of the same cells agree: NMI and ARI.
//!
//! Source: Luecken et al., *Nat Methods* 2022 (clusters against cell types, the clustering's
//! resolution chosen to make NMI largest); Hubert & Arabie 1985 for the adjusted index.

use scgraft_cells::Coded;

use super::Groups;
use crate::error::{Error, Result};
use crate::graph::cluster::Clustering;

/// Agreement of a clustering with the labels, at the resolution where NMI is largest.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// Normalised mutual information, 0 to 1.
    pub nmi: f64,
    /// Adjusted Rand index, −0.5 to 1; 0 expected by chance.
    pub ari: f64,
    /// Resolution of the clustering that was chosen.
    pub resolution: f64,
    /// Its number of clusters.
    pub n_clusters: usize,
}

/// Cells in each pair of groups, with both margins.
struct Contingency {
    cells: Vec<f64>,
    rows: Vec<f64>,
    columns: Vec<f64>,
    n: f64,
}

fn contingency(a: &[u32], b: &[u32]) -> Result<Contingency> {
    if a.len() != b.len() || a.is_empty() {
        return Err(Error::Length { what: "second grouping".to_owned(), expected: a.len(), found: b.len() });
    }
    let size = |codes: &[u32]| codes.iter().max().map_or(0, |&m| m as usize + 1);
    let (n_rows, n_columns) = (size(a), size(b));
    let mut table = Contingency {
        cells: vec![0.0; n_rows * n_columns],
        rows: vec![0.0; n_rows],
        columns: vec![0.0; n_columns],
        n: a.len() as f64,
    };
    for (&i, &j) in a.iter().zip(b) {
        table.cells[i as usize * n_columns + j as usize] += 1.0;
        table.rows[i as usize] += 1.0;
        table.columns[j as usize] += 1.0;
    }
    Ok(table)
}

fn entropy(counts: &[f64], n: f64) -> f64 {
    -counts.iter().filter(|&&c| c > 0.0).map(|&c| c / n * (c / n).ln()).sum::<f64>()
}

/// Normalised mutual information of two groupings.
///
/// NMI = I(a; b) / ((H(a) + H(b)) / 2), natural logarithms; 1 when both have a single group, as
/// scikit-learn has it. Inputs: one group number a cell.
///
/// # Errors
/// Different lengths, or no cell.
pub fn nmi(a: &[u32], b: &[u32]) -> Result<f64> {
    let t = contingency(a, b)?;
    let groups = |counts: &[f64]| counts.iter().filter(|&&c| c > 0.0).count();
    if groups(&t.rows) == 1 && groups(&t.columns) == 1 {
        return Ok(1.0);
    }
    let mut information = 0f64;
    for (i, &row) in t.rows.iter().enumerate() {
        for (j, &column) in t.columns.iter().enumerate() {
            let c = t.cells[i * t.columns.len() + j];
            if c > 0.0 {
                information += c / t.n * (c * t.n / (row * column)).ln();
            }
        }
    }
    let scale = 0.5 * (entropy(&t.rows, t.n) + entropy(&t.columns, t.n));
    Ok((information / scale).clamp(0.0, 1.0))
}

/// Adjusted Rand index of two groupings.
///
/// ARI = (Σ C(nᵢⱼ,2) − E) / (½ (Σ C(aᵢ,2) + Σ C(bⱼ,2)) − E) with E = Σ C(aᵢ,2) Σ C(bⱼ,2) / C(n,2):
/// the share of pairs of cells on which both agree, corrected for chance. Inputs: one group number
/// a cell.
///
/// # Errors
/// Different lengths, or no cell.
pub fn ari(a: &[u32], b: &[u32]) -> Result<f64> {
    let t = contingency(a, b)?;
    let pairs = |counts: &[f64]| counts.iter().map(|&c| c * (c - 1.0) / 2.0).sum::<f64>();
    let (together, in_a, in_b) = (pairs(&t.cells), pairs(&t.rows), pairs(&t.columns));
    let all = t.n * (t.n - 1.0) / 2.0;
    let expected = if all > 0.0 { in_a * in_b / all } else { 0.0 };
    let most = 0.5 * (in_a + in_b);
    // Both trivial (all apart, or all together): perfect agreement by convention.
    Ok(if most == expected { 1.0 } else { (together - expected) / (most - expected) })
}

/// NMI and ARI of the clustering, of several, that agrees best with the labels (by NMI).
///
/// `clusterings` come from [`sweep`](crate::graph::cluster::sweep). On equal NMI the
/// first wins. scib-metrics chooses in the same way; its clusterings come from igraph's Leiden with
/// two passes, ours run to convergence, so the values differ by the clusterings only.
///
/// # Errors
/// Labels with one level, labels of another length, or no clustering.
pub fn best_agreement(clusterings: &[Clustering], labels: &Coded) -> Result<Agreement> {
    let n = clusterings.first().map_or(0, |c| c.codes.len());
    let groups = Groups::new("cell type", labels, n, 2)?;
    let mut best: Option<Agreement> = None;
    for c in clusterings {
        let score = nmi(&groups.codes, &c.codes)?;
        if best.as_ref().is_none_or(|b| score > b.nmi) {
            best = Some(Agreement {
                nmi: score,
                ari: ari(&groups.codes, &c.codes)?,
                resolution: c.resolution,
                n_clusters: c.n_clusters,
            });
        }
    }
    best.ok_or_else(|| Error::Empty { what: "list of clusterings".to_owned(), n_rows: 0, n_cols: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_groupings_under_other_names_agree_fully() {
        let (a, b) = ([0, 0, 1, 1, 2], [5, 5, 0, 0, 3]);
        assert!((nmi(&a, &b).unwrap() - 1.0).abs() < 1e-15);
        assert_eq!(ari(&a, &b).unwrap(), 1.0);
    }

    #[test]
    fn values_worked_by_hand() {
        // Contingency [[2, 1], [0, 1]]: pairs together 1, in a 3, in b 1 + 1, all 6.
        let (a, b) = ([0, 0, 0, 1], [0, 0, 1, 1]);
        let expected: f64 = 3.0 * 2.0 / 6.0;
        assert!((ari(&a, &b).unwrap() - (1.0 - expected) / (2.5 - expected)).abs() < 1e-15);
        let h_a = -(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        let h_b = 2f64.ln();
        let h_ab = -(0.5 * 0.5f64.ln() + 2.0 * 0.25 * 0.25f64.ln());
        assert!((nmi(&a, &b).unwrap() - 2.0 * (h_a + h_b - h_ab) / (h_a + h_b)).abs() < 1e-14);
    }

    #[test]
    fn lengths_must_agree() {
        assert!(matches!(nmi(&[0, 1], &[0]), Err(Error::Length { expected: 2, found: 1, .. })));
        assert!(matches!(ari(&[], &[]), Err(Error::Length { .. })));
    }
}
