//! Clusters of the neighbour graph of an embedding.

use scgraft_analysis::Neighbours;
use scgraft_analysis::graph::cluster::{Algorithm, Clustering, check_resolution, sweep};
use scgraft_analysis::graph::connectivities;
use scgraft_analysis::metrics::agreement::{ari, nmi};
use scgraft_analysis::neighbours::Search;
use scgraft_cells::{Cells, Csr, Dense};

use crate::columns::coded;
use crate::{Ask, Error, goes_on};

/// How cells are clustered.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterPlan {
    /// Neighbours of each cell, itself included.
    pub k: usize,
    /// How they are searched for.
    pub search: Search,
    /// How clusters are found.
    pub algorithm: Algorithm,
    /// Resolutions: higher gives more clusters.
    pub resolutions: Vec<f64>,
    /// Column of obs with labels to compare the clusters with.
    pub labels: Option<String>,
    /// Seed of the clusters.
    pub seed: u64,
}

impl Default for ClusterPlan {
    fn default() -> Self {
        let (search, algorithm) = (Search::Exact, Algorithm::Leiden);
        ClusterPlan { k: 15, search, algorithm, resolutions: vec![1.0], labels: None, seed: 0 }
    }
}

/// Clusters and the graph that they are of.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// One per resolution, and how it agrees with the labels, where there are any.
    pub clusterings: Vec<(Clustering, Option<Agreement>)>,
    /// The neighbours of each cell, itself first.
    pub neighbours: Neighbours,
    /// The weights of the graph, cells × cells.
    pub connectivities: Csr,
    /// Share of the true neighbours that the search found.
    pub recall: f64,
}

/// How clusters agree with labels, over the cells that have one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Normalised mutual information.
    pub nmi: f64,
    /// Adjusted Rand index.
    pub ari: f64,
}

impl Clusters {
    /// The clustering that is closest to the labels by mutual information; `None` without labels.
    pub fn closest(&self) -> Option<usize> {
        let by_nmi = self.clusterings.iter().enumerate().filter_map(|(i, (_, a))| a.map(|a| (i, a.nmi)));
        by_nmi.max_by(|a, b| a.1.total_cmp(&b.1)).map(|best| best.0)
    }
}

/// Clusters the rows of `x` (an embedding of the cells). Errors and warnings call the cells `name`.
///
/// # Errors
/// A column of labels that is not there; [`Error::Stopped`]; of [`Search::among`], [`connectivities`] and [`sweep`].
pub fn cluster(
    (cells, name): (&Cells, &str),
    x: &Dense,
    plan: &ClusterPlan,
    ask: &mut Ask<'_>,
) -> Result<Clusters, Error> {
    plan.resolutions.iter().try_for_each(|&r| check_resolution(r))?;
    let labels = plan.labels.as_ref().map(|column| coded(cells, name, column)).transpose()?;
    let found = plan.search.among(x, plan.k, true)?;
    goes_on(ask)?;
    let graph = connectivities(&found.neighbours)?;
    goes_on(ask)?;
    let agreement = |c: &Clustering| {
        let agreement = labels.as_ref().map(|(coded, rows)| {
            let own: Vec<u32> = rows.iter().map(|&i| c.codes[i]).collect();
            Ok::<_, Error>(Agreement { nmi: nmi(&own, &coded.codes)?, ari: ari(&own, &coded.codes)? })
        });
        agreement.transpose()
    };
    let clusterings = sweep(&graph, plan.algorithm, &plan.resolutions, plan.seed)?;
    let compared = |c| agreement(&c).map(|agreement| (c, agreement));
    Ok(Clusters {
        clusterings: clusterings.into_iter().map(compared).collect::<Result<_, _>>()?,
        neighbours: found.neighbours,
        connectivities: graph,
        recall: found.recall,
    })
}
