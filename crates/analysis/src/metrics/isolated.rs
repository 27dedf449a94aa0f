//! Isolated labels: cell types that few batches have, and whether they stay recognisable.
//!
//! Source: Luecken et al., *Nat Methods* 2022; Lotfollahi et al., *Nat Biotechnol* 2022.

use scgraft_cells::{Coded, Dense};

use super::silhouette::{Between, Distance, widths};
use super::{Groups, mean};
use crate::error::{Error, Result, check_matrix};
use crate::graph::cluster::Clustering;

/// The isolated labels: those of as few batches as any has. (When all types are in all batches, all are.)
fn find(types: &Groups, batch: &Coded) -> Result<Vec<usize>> {
    let batches = Groups::new("batch", batch, types.codes.len(), 1)?;
    let mut seen = vec![false; types.sizes.len() * batches.sizes.len()];
    for (&t, &b) in types.codes.iter().zip(&batches.codes) {
        seen[t as usize * batches.sizes.len() + b as usize] = true;
    }
    let counts: Vec<usize> =
        seen.chunks_exact(batches.sizes.len()).map(|row| row.iter().filter(|&&s| s).count()).collect();
    let fewest = counts.iter().min();
    Ok((0..counts.len()).filter(|&t| Some(&counts[t]) == fewest).collect())
}

/// Isolated-label silhouette: mean (s + 1) / 2 over the cells of each isolated label, then over the labels.
///
/// s is the silhouette among all cell types, Euclidean, nearest other type. 0 to 1.
///
/// # Errors
/// Lengths that differ; values that are not finite; a single cell type.
pub fn isolated_label_silhouette(x: &Dense, cell_types: &Coded, batch: &Coded) -> Result<f64> {
    Ok(with_cell_type_asw(x, cell_types, batch)?.1)
}

/// Cell-type ASW and isolated-label silhouette from one pass over the distances.
pub(crate) fn with_cell_type_asw(x: &Dense, cell_types: &Coded, batch: &Coded) -> Result<(f64, f64)> {
    check_matrix("embedding", x)?;
    let types = Groups::new("cell type", cell_types, x.n_rows, 2)?;
    let isolated = find(&types, batch)?;
    let s = widths(x, &types, Distance::Euclidean, Between::Nearest)?;
    let members = types.members();
    let of_isolated = isolated.iter().map(|&g| mean(members[g].iter().map(|&i| (s[i] + 1.0) / 2.0)));
    Ok(((mean(s.iter().copied()) + 1.0) / 2.0, mean(of_isolated)))
}

/// Isolated-label F₁: is there a cluster that is the label?
///
/// For each isolated label and clustering, the cluster that holds most of the label's cells is
/// taken (of several, the smallest), and F₁ = 2 · precision · recall / (precision + recall) of
/// that cluster for that label; the best over the clusterings counts, and the mean over the labels
/// is returned. 0 to 1. `clusterings` come from [`sweep`](crate::graph::cluster::sweep).
/// scib-metrics has only the silhouette form of this score; scib takes the cluster of largest F₁
/// instead of the one with most cells, which is the same cluster unless that cluster is a mixture.
///
/// # Errors
/// Lengths that differ; a single cell type; no clustering.
pub fn isolated_label_f1(clusterings: &[Clustering], cell_types: &Coded, batch: &Coded) -> Result<f64> {
    if clusterings.is_empty() {
        return Err(Error::Empty { what: "list of clusterings".to_owned(), n_rows: 0, n_cols: 0 });
    }
    let types = Groups::new("cell type", cell_types, clusterings[0].codes.len(), 2)?;
    let isolated = find(&types, batch)?;
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
    use crate::testing::coded;

    #[test]
    fn the_types_with_fewest_batches_are_isolated() {
        let found = |types: &[u32], batch: &[u32]| {
            find(&Groups::new("type", &coded(types, 3), types.len(), 1).unwrap(), &coded(batch, 2)).unwrap()
        };
        assert_eq!(found(&[0, 0, 1, 1, 2, 2], &[0, 1, 0, 0, 1, 1]), [1, 2]);
        assert_eq!(found(&[0, 0, 1, 1, 2, 2], &[0, 1, 0, 1, 0, 1]), [0, 1, 2]);
    }

    #[test]
    fn f1_by_hand() {
        // Label 1 (4 cells): cluster 0 holds 3 of them and 1 other.
        let types = coded(&[1, 1, 1, 1, 0, 0, 0, 0], 2);
        let batch = coded(&[0, 0, 0, 0, 0, 1, 0, 1], 2);
        let codes = vec![0, 0, 0, 1, 0, 1, 1, 1];
        let c = Clustering { codes, n_clusters: 2, modularity: 0.0, resolution: 1.0 };
        let (precision, recall) = (3.0 / 4.0, 3.0 / 4.0);
        let f = isolated_label_f1(&[c], &types, &batch).unwrap();
        assert!((f - 2.0 * precision * recall / (precision + recall)).abs() < 1e-15);
    }
}
