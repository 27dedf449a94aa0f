//! Isolated labels: cell types that few batches have, and whether they stay recognisable.
//!
//! Source: Luecken et al., *Nat Methods* 2022; Lotfollahi et al., *Nat Biotechnol* 2022.

use scgraft_cells::{Coded, Dense};

use super::silhouette::{Between, Distance, widths};
use super::{Groups, mean};
use crate::error::{Error, Result, check_matrix};
use crate::graph::cluster::Clustering;

/// The isolated labels: levels of `cell_types` that at most `most_batches` batches have.
///
/// `None` takes the smallest number of batches any type has, as the papers do; every type that
/// reaches it is isolated. (When all types are in all batches, all are.)
///
/// # Errors
/// Lengths that differ; no type with so few batches.
pub fn isolated_labels(cell_types: &Coded, batch: &Coded, most_batches: Option<usize>) -> Result<Vec<String>> {
    let types = Groups::new("cell type", cell_types, cell_types.codes.len(), 1)?;
    let isolated = find(&types, batch, most_batches)?;
    Ok(isolated.into_iter().map(|g| types.names[g].clone()).collect())
}

fn find(types: &Groups, batch: &Coded, most_batches: Option<usize>) -> Result<Vec<usize>> {
    let batches = Groups::new("batch", batch, types.codes.len(), 1)?;
    let mut seen = vec![false; types.sizes.len() * batches.sizes.len()];
    for (&t, &b) in types.codes.iter().zip(&batches.codes) {
        seen[t as usize * batches.sizes.len() + b as usize] = true;
    }
    let counts: Vec<usize> =
        seen.chunks_exact(batches.sizes.len()).map(|row| row.iter().filter(|&&s| s).count()).collect();
    let threshold = most_batches.unwrap_or_else(|| counts.iter().copied().min().unwrap_or(0));
    let isolated: Vec<usize> = (0..counts.len()).filter(|&t| counts[t] <= threshold).collect();
    if isolated.is_empty() {
        return Err(Error::Parameter {
            name: "most_batches",
            value: threshold.to_string(),
            expected: "a number of batches that some cell type does not exceed",
        });
    }
    Ok(isolated)
}

/// Isolated-label silhouette: mean (s + 1) / 2 over the cells of each isolated label, then over the labels.
///
/// s is the silhouette among all cell types, Euclidean, nearest other type. 0 to 1.
///
/// # Errors
/// As [`isolated_labels`]; values that are not finite; a single cell type.
pub fn isolated_label_silhouette(
    x: &Dense,
    cell_types: &Coded,
    batch: &Coded,
    most_batches: Option<usize>,
) -> Result<f64> {
    check_matrix("embedding", x)?;
    let types = Groups::new("cell type", cell_types, x.n_rows, 2)?;
    let isolated = find(&types, batch, most_batches)?;
    let s = widths(x, &types, Distance::Euclidean, Between::Nearest)?;
    Ok(mean_over_labels(&s, &types, &isolated))
}

/// Cell-type ASW and isolated-label silhouette from one pass over the distances.
pub(crate) fn with_cell_type_asw(x: &Dense, cell_types: &Coded, batch: &Coded) -> Result<(f64, f64)> {
    check_matrix("embedding", x)?;
    let types = Groups::new("cell type", cell_types, x.n_rows, 2)?;
    let isolated = find(&types, batch, None)?;
    let s = widths(x, &types, Distance::Euclidean, Between::Nearest)?;
    Ok(((mean(s.iter().copied()) + 1.0) / 2.0, mean_over_labels(&s, &types, &isolated)))
}

fn mean_over_labels(s: &[f64], types: &Groups, isolated: &[usize]) -> f64 {
    let members = types.members();
    mean(isolated.iter().map(|&g| mean(members[g].iter().map(|&i| (s[i] + 1.0) / 2.0))))
}

/// Isolated-label F₁: is there a cluster that is the label?
///
/// For each isolated label and clustering, the cluster that holds most of the label's cells is
/// taken (of several, the smallest), and F₁ = 2 · precision · recall / (precision + recall) of
/// that cluster for that label; the best over the clusterings counts, and the mean over the labels
/// is returned. 0 to 1. `clusterings` come from [`resolution_sweep`](crate::graph::cluster::resolution_sweep).
/// scib-metrics has only the silhouette form of this score; scib takes the cluster of largest F₁
/// instead of the one with most cells, which is the same cluster unless that cluster is a mixture.
///
/// # Errors
/// As [`isolated_labels`]; a single cell type; no clustering.
pub fn isolated_label_f1(
    clusterings: &[Clustering],
    cell_types: &Coded,
    batch: &Coded,
    most_batches: Option<usize>,
) -> Result<f64> {
    if clusterings.is_empty() {
        return Err(Error::Empty { what: "list of clusterings".to_owned(), n_rows: 0, n_cols: 0 });
    }
    let types = Groups::new("cell type", cell_types, clusterings[0].codes.len(), 2)?;
    let isolated = find(&types, batch, most_batches)?;
    let best = |label: usize| clusterings.iter().map(|c| f1(c, &types, label)).fold(0f64, f64::max);
    Ok(mean(isolated.into_iter().map(best)))
}

fn f1(clustering: &Clustering, types: &Groups, label: usize) -> f64 {
    let mut of_label = vec![0usize; clustering.n_clusters];
    let mut size = vec![0usize; clustering.n_clusters];
    for (&cluster, &t) in clustering.codes.iter().zip(&types.codes) {
        size[cluster as usize] += 1;
        of_label[cluster as usize] += usize::from(t as usize == label);
    }
    let most = of_label.iter().copied().max().unwrap_or(0);
    let smallest = (0..size.len()).filter(|&c| of_label[c] == most).map(|c| size[c]).min().unwrap_or(0);
    2.0 * most as f64 / (smallest + types.sizes[label]) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(codes: &[u32]) -> Coded {
        let levels = codes.iter().max().map_or(0, |&m| m + 1);
        Coded { codes: codes.to_vec(), levels: (0..levels).map(|l| format!("{l}")).collect() }
    }

    #[test]
    fn the_types_with_fewest_batches_are_isolated() {
        let (types, batch) = (coded(&[0, 0, 1, 1, 2, 2]), coded(&[0, 1, 0, 0, 1, 1]));
        assert_eq!(isolated_labels(&types, &batch, None).unwrap(), ["1", "2"]);
        assert_eq!(isolated_labels(&types, &batch, Some(2)).unwrap(), ["0", "1", "2"]);
        assert!(matches!(isolated_labels(&types, &batch, Some(0)), Err(Error::Parameter { .. })));
    }

    #[test]
    fn f1_by_hand() {
        // Label 1 (4 cells): cluster 0 holds 3 of them and 1 other.
        let types = coded(&[1, 1, 1, 1, 0, 0, 0, 0]);
        let batch = coded(&[0, 0, 0, 0, 0, 1, 0, 1]);
        let codes = vec![0, 0, 0, 1, 0, 1, 1, 1];
        let c = Clustering { codes, n_clusters: 2, modularity: 0.0, resolution: 1.0 };
        let (precision, recall) = (3.0 / 4.0, 3.0 / 4.0);
        let f = isolated_label_f1(&[c], &types, &batch, None).unwrap();
        assert!((f - 2.0 * precision * recall / (precision + recall)).abs() < 1e-15);
    }
}
