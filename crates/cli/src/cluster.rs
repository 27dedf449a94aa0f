//! `scgraft cluster`: Leiden and Louvain clusters of the neighbour graph.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use scgraft::analysis::graph::cluster as analysis;
use scgraft::cluster::{ClusterPlan, cluster};
use scgraft::slots;
use serde_json::json;

use super::near::Near;
use super::output::{fixed, number};
use super::{Global, Output, files, stop};

const EXAMPLES: &str = "\
Clusters are numbered by size, from 0, and written to obs[\"leiden\"] (obs[\"leiden_0.5\"] … for several resolutions).
With --labels, the clusters are compared with given labels, and the best resolution is named.

Examples:
  scgraft cluster mapped.h5ad
  scgraft cluster mapped.h5ad --resolution 0.2,0.5,1,2 --labels cell_type
  scgraft cluster data.h5ad --embedding X_scVI --algorithm louvain --key scvi_clusters --graph";

/// Cluster cells.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Cluster {
    /// A file with an embedding
    pub data: PathBuf,
    /// Embedding to use, an entry of obsm
    #[arg(long, default_value = slots::LATENT, value_name = "KEY")]
    pub embedding: String,
    /// Resolutions: higher gives more clusters
    #[arg(long, default_value = "1", value_name = "X", value_delimiter = ',')]
    pub resolution: Vec<f64>,
    /// How clusters are found
    #[arg(long, value_enum, default_value_t = Algorithm::Leiden)]
    pub algorithm: Algorithm,
    /// Neighbours of each cell, itself included
    #[arg(long, default_value_t = 15, value_name = "N", help_heading = "Neighbours")]
    pub k: usize,
    #[command(flatten)]
    pub near: Near,
    /// Column of obs to write [default: name of the algorithm]
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Column of obs with labels to compare the clusters with
    #[arg(long, value_name = "COLUMN")]
    pub labels: Option<String>,
    /// Also write the neighbour graph, where scanpy keeps it (obsp, uns["neighbors"])
    #[arg(long)]
    pub graph: bool,
    /// Where to write the file with the clusters [default: the file itself]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How clusters are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    /// Leiden: clusters are connected (Traag et al. 2019)
    Leiden,
    /// Louvain (Blondel et al. 2008)
    Louvain,
}

impl Algorithm {
    /// The analysis's own name for it.
    pub fn of_analysis(self) -> analysis::Algorithm {
        match self {
            Algorithm::Leiden => analysis::Algorithm::Leiden,
            Algorithm::Louvain => analysis::Algorithm::Louvain,
        }
    }
}

impl Cluster {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        let output = self.output.as_ref().unwrap_or(&self.data);
        files::check_update(&self.data, Some(output), [], &[])?;
        let mut cells = files::read_own(&self.data, true)?;
        let file = self.data.display().to_string();
        let x = slots::embedding(&cells, &self.embedding).with_context(|| file.clone())?.mean;
        let plan = ClusterPlan {
            k: self.k,
            search: self.near.search(global)?,
            algorithm: self.algorithm.of_analysis(),
            resolutions: self.resolution,
            labels: self.labels,
            seed: global.seed.unwrap_or(0),
        };
        let found = cluster((&cells, &file), &x, &plan, &mut stop::ask)?;
        self.near.tell(found.recall);
        let name = self.algorithm.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        let columns = slots::put_clusters(&mut cells, &self.key.unwrap_or(name), &found);
        let shown = |v: Option<f64>| v.map_or_else(|| "–".into(), |v| fixed(v, 3));
        let (mut rows, mut told) = (Vec::new(), Vec::new());
        for ((clustering, agreement), column) in found.clusterings.iter().zip(&columns) {
            let (nmi, ari) = (agreement.map(|a| a.nmi), agreement.map(|a| a.ari));
            rows.push([
                column.clone(),
                clustering.n_clusters.to_string(),
                fixed(clustering.modularity, 4),
                shown(nmi),
                shown(ari),
            ]);
            told.push(json!({
                "column": column, "resolution": clustering.resolution, "clusters": clustering.n_clusters,
                "modularity": number(clustering.modularity), "nmi": nmi, "ari": ari,
            }));
        }
        if self.graph {
            slots::put_graph(&mut cells, &found, &self.embedding);
        }
        files::write(output, &cells)?;
        out.table(["column", "clusters", "modularity", "NMI", "ARI"], &rows);
        if let Some(best) = found.closest().filter(|_| rows.len() > 1) {
            out.line(format!("closest to the labels: {}", columns[best]));
            out.put("closest", columns[best].clone());
        }
        out.put("output", output.display().to_string());
        out.put("neighbours_recall", number(found.recall));
        out.put("clusterings", told);
        Ok(())
    }
}
