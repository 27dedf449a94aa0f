//! Times and values of the metrics, the clustering and UMAP on arrays from a file; the peer scripts call it.
//!
//! `cargo run --release -p scgraft-analysis --example measure -- metrics arrays.safetensors`
//!
//! The file holds `x` (cells × dimensions, f32), and for `metrics` also `before` (f32), `types`
//! and `batch` (i32 codes), for `transfer` `types` and `query`. `umap` writes the picture to a second file, raw f32 in row
//! order. One line a result: name, seconds, seconds of processor time of all threads (Linux), value; separated by tabs.
//! Threads: `RAYON_NUM_THREADS`. Processor time is what to compare when the machine has other work.
#![allow(clippy::print_stdout)]

use std::fmt::Display;
use std::time::Instant;

use safetensors::SafeTensors;
use scgraft_analysis::graph::cluster::{Algorithm, RESOLUTIONS, leiden, louvain, sweep};
use scgraft_analysis::graph::connectivities;
use scgraft_analysis::metrics::agreement::best_agreement;
use scgraft_analysis::metrics::batch_entropy::batch_entropy;
use scgraft_analysis::metrics::graph_connectivity::graph_connectivity;
use scgraft_analysis::metrics::isolated::{isolated_label_f1, isolated_label_silhouette};
use scgraft_analysis::metrics::kbet::{kbet, kbet_per_label};
use scgraft_analysis::metrics::knn_accuracy::knn_accuracy;
use scgraft_analysis::metrics::lisi::{clisi, ilisi};
use scgraft_analysis::metrics::pc_regression::pc_regression_comparison;
use scgraft_analysis::metrics::scores::{EvaluateOptions, METRICS, evaluate};
use scgraft_analysis::metrics::silhouette::{batch_asw, bras, cell_type_asw};
use scgraft_analysis::neighbours::{ApproximateOptions, Search};
use scgraft_analysis::transfer::{TransferOptions, transfer_labels};
use scgraft_analysis::umap::{UmapOptions, trustworthiness, umap};
use scgraft_analysis::{knn_self, pca};
use scgraft_cells::{Coded, Dense};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, path, rest @ ..] = arguments.as_slice() else {
        return Err("usage: measure metrics|evaluate|umap|cluster|pca|transfer|neighbours FILE [OUT]".into());
    };
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let x = matrix(&file, "x")?;
    match what.as_str() {
        "metrics" => metrics(&file, &x),
        "evaluate" => {
            let (before, types, batch) = (matrix(&file, "before")?, labels(&file, "types")?, labels(&file, "batch")?);
            let table = timed("evaluate", || {
                evaluate(&[("x", &x)], &batch, &types, Some(&before), &EvaluateOptions::default())
            })?;
            for (metric, value) in METRICS.iter().zip(&table.rows[0].values) {
                println!("{}\t\t\t{value:?}", metric.name);
            }
            println!("overall\t\t\t{:?}\nleft out\t\t\t{:?}", table.rows[0].overall, table.left_out);
            Ok(())
        }
        "umap" => picture(&x, rest.first().ok_or("umap needs a file to write to")?),
        "cluster" => {
            let graph = connectivities(&timed("neighbours 15", || knn_self(&x, 15, true))?)?;
            for resolution in [0.5, 1.0, 2.0] {
                let found = timed(&format!("leiden {resolution}"), || leiden(&graph, resolution, 0))?;
                println!("leiden {resolution} modularity\t\t\t{}", found.modularity);
                let found = timed(&format!("louvain {resolution}"), || louvain(&graph, resolution, 0))?;
                println!("louvain {resolution} modularity\t\t\t{}", found.modularity);
            }
            Ok(())
        }
        "pca" => {
            let found = timed("pca 50", || pca::pca(&x, 50.min(x.n_cols)))?;
            println!("pca variance\t\t\t{:?}", found.variance);
            Ok(())
        }
        "transfer" => transfer(&file, &x, rest),
        "neighbours" => {
            for _ in 0..2 {
                timed("neighbours 15", || knn_self(&x, 15, true))?;
            }
            Ok(())
        }
        other => Err(format!("`{other}` is not metrics, evaluate, umap, cluster, pca, transfer or neighbours").into()),
    }
}

fn metrics(file: &SafeTensors, x: &Dense) -> Outcome<()> {
    let (before, types, batch) = (matrix(file, "before")?, labels(file, "types")?, labels(file, "batch")?);
    let clock = Clock::start();
    let near = timed("neighbours 90", || knn_self(x, 90, true))?;
    let (fifteen, fifty, around) = (near.truncated(15), near.truncated(50), near.truncated(16));
    show("isolated_labels", || isolated_label_silhouette(x, &types, &batch))?;
    let clusterings =
        timed("clusterings", || connectivities(&fifteen).and_then(|g| sweep(&g, Algorithm::Leiden, &RESOLUTIONS, 42)))?;
    show("nmi", || best_agreement(&clusterings, &types).map(|a| a.nmi))?;
    show("ari", || best_agreement(&clusterings, &types).map(|a| a.ari))?;
    show("isolated_f1", || isolated_label_f1(&clusterings, &types, &batch))?;
    show("silhouette_label", || cell_type_asw(x, &types))?;
    show("clisi_knn", || clisi(&near, &types))?;
    show("silhouette_batch", || batch_asw(x, &types, &batch))?;
    show("bras", || bras(x, &types, &batch))?;
    show("ilisi_knn", || ilisi(&near, &batch))?;
    show("kbet", || kbet(&fifty, &batch).map(|k| k.acceptance_rate))?;
    show("kbet_per_label", || kbet_per_label(&fifty, &batch, &types))?;
    show("graph_connectivity", || graph_connectivity(&fifteen, &types, true))?;
    show("pcr_comparison", || pc_regression_comparison(&before, x, &batch))?;
    show("knn_accuracy", || knn_accuracy(&around, &types))?;
    show("batch_entropy", || batch_entropy(&around, &batch))?;
    clock.show("all", "");
    Ok(())
}

/// Labels of `x` for the cells of `query`, with exact and with approximate neighbours.
fn transfer(file: &SafeTensors, x: &Dense, rest: &[String]) -> Outcome<()> {
    let (types, query) = (labels(file, "types")?, matrix(file, "query")?);
    let k = rest.get(1).map_or(Ok(50), |k| k.parse())?;
    for search in [Search::Exact, Search::Approximate(ApproximateOptions::default())] {
        let name = if search == Search::Exact { "exact" } else { "approximate" };
        for _ in 0..2 {
            for (columns, said) in [(1, "1 column"), (5, "5 columns")] {
                let clock = Clock::start();
                let near = timed(&format!("{name} search"), || search.between(x, &query, k))?;
                let columns = vec![("type", &types); columns];
                let found = transfer_labels(&near.neighbours, &columns, &TransferOptions::default())?;
                clock.show(&format!("{name} all, {said}"), near.recall);
                if let Some(out) = rest.first() {
                    std::fs::write(out, found[0].best.iter().flat_map(|c| c.to_le_bytes()).collect::<Vec<u8>>())?;
                }
            }
        }
    }
    Ok(())
}

fn picture(x: &Dense, out: &str) -> Outcome<()> {
    let clock = Clock::start();
    let near = timed("neighbours 15", || knn_self(x, 15, true))?;
    let options = UmapOptions { min_dist: 0.1, ..UmapOptions::default() };
    let found = timed("layout", || umap(x, &near, &options))?;
    clock.show("umap", "");
    if x.n_rows <= 20_000 {
        let trust = timed("trustworthiness 15", || trustworthiness(x, &found.embedding, 15))?;
        println!("trustworthiness\t\t\t{trust}");
    }
    std::fs::write(out, found.embedding.values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
    Ok(())
}

/// Wall and processor time since it was made.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Clock(Instant::now(), Self::processor())
    }

    /// Nanoseconds that the kernel says each thread has run, in seconds; 0 where it does not say.
    fn processor() -> f64 {
        let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
        let run = |path: std::path::PathBuf| -> Option<f64> {
            std::fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
        };
        threads.flatten().filter_map(|t| run(t.path())).sum::<f64>() / 1e9
    }

    fn show(&self, name: &str, value: impl Display) {
        println!("{name}\t{:.4}\t{:.4}\t{value}", self.0.elapsed().as_secs_f64(), Self::processor() - self.1);
    }
}

fn timed<T>(name: &str, f: impl FnOnce() -> scgraft_analysis::Result<T>) -> scgraft_analysis::Result<T> {
    let clock = Clock::start();
    let out = f()?;
    clock.show(name, "");
    Ok(out)
}

fn show(name: &str, f: impl FnOnce() -> scgraft_analysis::Result<f64>) -> Outcome<()> {
    let clock = Clock::start();
    match f() {
        Ok(value) => clock.show(name, value),
        Err(reason) => clock.show(name, format!("none: {reason}")),
    }
    Ok(())
}

fn matrix(file: &SafeTensors, name: &str) -> Outcome<Dense> {
    let tensor = file.tensor(name)?;
    let &[rows, columns] = tensor.shape() else { return Err(format!("`{name}` is not a matrix").into()) };
    let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(Dense::new(rows, columns, values))
}

fn labels(file: &SafeTensors, name: &str) -> Outcome<Coded> {
    let tensor = file.tensor(name)?;
    let codes: Vec<u32> = tensor.data().chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let levels = codes.iter().max().map_or(0, |&m| m + 1);
    Ok(Coded { codes, levels: (0..levels).map(|l| l.to_string()).collect() })
}
