//! `scgraft cluster`: Leiden and Louvain clusters of the neighbour graph.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use scgraft::analysis::Neighbours;
use scgraft::analysis::graph::cluster::{self as analysis, Clustering, sweep};
use scgraft::analysis::graph::connectivities;
use scgraft::analysis::metrics::agreement::{ari, nmi};
use scgraft::cells::{Cells, Column, Csr, Uns};
use scgraft::slots;
use serde_json::json;

use super::near::Near;
use super::output::{fixed, number};
use super::{Global, Output, files, input, stop};

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
        files::check_input(&self.data)?;
        let output = self.output.as_ref().unwrap_or(&self.data);
        files::check_update(&self.data, Some(output), [], &[])?;
        let mut cells = files::read_own(&self.data)?;
        let file = self.data.display().to_string();
        let x = slots::embedding(&cells, &self.embedding).with_context(|| file.clone())?.mean;
        let labels = self.labels.as_ref().map(|name| input::coded(&cells, &file, name)).transpose()?;
        let found = self.near.search(global).among(&x, self.k, true)?;
        self.near.tell(found.recall);
        let graph = connectivities(&found.neighbours)?;
        stop::check()?;
        let seed = global.seed.unwrap_or(0);
        let clusterings = sweep(&graph, self.algorithm.of_analysis(), &self.resolution, seed)?;
        let name = self.algorithm.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        let key = self.key.clone().unwrap_or(name);
        let mut rows = Vec::new();
        let mut told = Vec::new();
        for clustering in &clusterings {
            let column = if clusterings.len() == 1 { key.clone() } else { format!("{key}_{}", clustering.resolution) };
            cells.obs.set(&column, column_of(clustering));
            let agreement = match &labels {
                None => None,
                Some((coded, rows)) => {
                    let own: Vec<u32> = rows.iter().map(|&i| clustering.codes[i]).collect();
                    Some((nmi(&own, &coded.codes)?, ari(&own, &coded.codes)?))
                }
            };
            let shown = |v: Option<f64>| v.map_or_else(|| "–".into(), |v| fixed(v, 3));
            rows.push([
                column.clone(),
                clustering.n_clusters.to_string(),
                fixed(clustering.modularity, 4),
                shown(agreement.map(|a| a.0)),
                shown(agreement.map(|a| a.1)),
            ]);
            told.push(json!({
                "column": column, "resolution": clustering.resolution, "clusters": clustering.n_clusters,
                "modularity": number(clustering.modularity), "nmi": agreement.map(|a| a.0), "ari": agreement.map(|a| a.1),
            }));
        }
        if self.graph {
            put_graph(&mut cells, &found.neighbours, graph, &self.embedding);
        }
        files::write(output, &cells)?;
        out.table(["column", "clusters", "modularity", "NMI", "ARI"], &rows);
        if labels.is_some() && rows.len() > 1 {
            let best = told
                .iter()
                .max_by(|a, b| a["nmi"].as_f64().unwrap_or(0.0).total_cmp(&b["nmi"].as_f64().unwrap_or(0.0)));
            if let Some(best) = best {
                out.line(format!("closest to the labels: {}", best["column"].as_str().unwrap_or("")));
                out.put("closest", best["column"].clone());
            }
        }
        out.put("output", output.display().to_string());
        out.put("neighbours_recall", number(found.recall));
        out.put("clusterings", told);
        Ok(())
    }
}

/// Clusters as a categorical column in the order of their numbers.
fn column_of(clustering: &Clustering) -> Column {
    Column::Categorical {
        codes: clustering.codes.iter().map(|&c| c as i32).collect(),
        categories: (0..clustering.n_clusters).map(|c| c.to_string()).collect(),
        ordered: false,
    }
}

/// The graph as scanpy keeps it: distances and connectivities in `obsp`, what they are in `uns["neighbors"]`.
fn put_graph(cells: &mut Cells, near: &Neighbours, connectivities: Csr, key: &str) {
    let n = near.n_rows();
    let mut distances = Csr { n_rows: n, n_cols: n, indptr: vec![0], indices: Vec::new(), values: Vec::new() };
    for i in 0..n {
        let (indices, d) = near.row(i);
        let mut row: Vec<(u32, f32)> =
            indices.iter().copied().zip(d.iter().copied()).filter(|&(j, _)| j as usize != i).collect();
        row.sort_unstable_by_key(|e| e.0);
        distances.indices.extend(row.iter().map(|e| e.0));
        distances.values.extend(row.iter().map(|e| e.1));
        distances.indptr.push(distances.indices.len());
    }
    cells.obsp.insert("distances".into(), distances);
    cells.obsp.insert("connectivities".into(), connectivities);
    let text = |t: &str| Uns::Text(t.to_owned());
    let params = BTreeMap::from([
        ("n_neighbors".to_owned(), Uns::Int(near.k as i64)),
        ("method".to_owned(), text("umap")),
        ("metric".to_owned(), text("euclidean")),
        ("use_rep".to_owned(), text(key)),
    ]);
    let notes = BTreeMap::from([
        ("connectivities_key".to_owned(), text("connectivities")),
        ("distances_key".to_owned(), text("distances")),
        ("params".to_owned(), Uns::Map(params)),
    ]);
    cells.uns.insert("neighbors".into(), Uns::Map(notes));
}
