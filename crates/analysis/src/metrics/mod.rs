//! Integration metrics: how well an embedding keeps the biology and removes the batches.
//!
//! One file a metric. Each takes an embedding ([`Dense`](scgraft_cells::Dense), cells × dimensions)
//! or its [`Neighbours`](crate::Neighbours), and labels ([`Coded`]). Every score is scaled so that
//! 1 is best, unless its page says otherwise.
//!
//! | score | file | from | keeps / removes |
//! |---|---|---|---|
//! | NMI, ARI | [`agreement`] | clusterings of the graph | biology |
//! | cell-type ASW | [`silhouette`] | embedding | biology |
//! | isolated-label F1, isolated-label silhouette | [`isolated`] | clusterings, embedding | biology |
//! | graph cLISI | [`lisi`] | 90 neighbours | biology |
//! | kNN accuracy | [`knn_accuracy`](mod@knn_accuracy) | 15 neighbours | biology |
//! | PC regression comparison | [`pc_regression`](mod@pc_regression) | embeddings before and after | batch |
//! | batch ASW, BRAS | [`silhouette`] | embedding | batch |
//! | graph connectivity | [`graph_connectivity`](mod@graph_connectivity) | 15 neighbours | batch |
//! | kBET | [`kbet`](mod@kbet) | 50 neighbours | batch |
//! | graph iLISI | [`lisi`] | 90 neighbours | batch |
//! | entropy of batch mixing | [`batch_entropy`](mod@batch_entropy) | 15 neighbours | batch |
//! | kNN purity | [`knn_purity`](mod@knn_purity) | neighbours before and after, within batches | structure |
//! | label distance, unseen distances | [`mapping`] | reference and query | mapping |
//!
//! [`scores`] computes them all for several embeddings and puts them in one table, [`query`] those of a mapping.
//!
//! Neighbours may hold each cell as its own first neighbour or not: the cell itself is always set
//! aside. Where a published score counts the cell as one of its k neighbours (scib-metrics does),
//! it is counted here as well; so 90 neighbours "of scib-metrics" are 89 others.

use scgraft_cells::Coded;

use crate::error::{Result, check_labels, check_levels, level_sizes};

pub mod agreement;
pub mod batch_entropy;
pub mod graph_connectivity;
pub mod isolated;
pub mod kbet;
pub mod knn_accuracy;
pub mod knn_purity;
pub mod lisi;
pub mod mapping;
#[cfg(test)]
mod parity;
pub mod pc_regression;
pub mod query;
pub mod scores;
pub mod silhouette;

/// Labels of which every level has cells, and the cells in the order of their level.
pub(crate) struct Groups {
    /// One code a cell, `0..sizes.len()`.
    pub codes: Vec<u32>,
    /// Cells of each group.
    pub sizes: Vec<usize>,
    /// The name of each group.
    pub names: Vec<String>,
}

impl Groups {
    /// Drops the levels no cell has; refuses fewer than `needed` levels.
    pub fn new(column: &str, labels: &Coded, n_rows: usize, needed: usize) -> Result<Groups> {
        check_labels(column, labels, n_rows)?;
        check_levels(column, labels, needed)?;
        let all = level_sizes(labels);
        let mut renamed = vec![0u32; all.len()];
        let (mut sizes, mut names) = (Vec::new(), Vec::new());
        for (level, &size) in all.iter().enumerate() {
            if size > 0 {
                renamed[level] = sizes.len() as u32;
                sizes.push(size);
                names.push(labels.levels[level].clone());
            }
        }
        Ok(Groups { codes: labels.codes.iter().map(|&c| renamed[c as usize]).collect(), sizes, names })
    }

    /// The cells of each group, ascending.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members: Vec<Vec<usize>> = self.sizes.iter().map(|&n| Vec::with_capacity(n)).collect();
        for (i, &c) in self.codes.iter().enumerate() {
            members[c as usize].push(i);
        }
        members
    }
}

/// The mean, added in order.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0f64, 0usize);
    for v in values {
        sum += v;
        n += 1;
    }
    sum / n as f64
}
