//! Analyses on real cells: the scmixology mixture, whose cell lines are known. Skipped where the data is absent.

use std::path::PathBuf;

use scgraft::analysis::metrics::knn_purity::purity_within_batches;
use scgraft::analysis::metrics::pc_regression::pc_regression;
use scgraft::analysis::neighbours::Search;
use scgraft::cells::{Coded, Dense, Slot};
use scgraft::io::{ReadOptions, read_h5ad};
use scgraft::joint::joint_components;
use scgraft::plain_expression;

use super::scgraft;

/// The file, or `None` with a word about it.
fn mixture() -> Option<PathBuf> {
    let folder = std::env::var_os("SCGRAFT_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let file = folder.join("scmixology_celseq2_dropseq.h5ad");
    if file.is_file() {
        return Some(file);
    }
    assert!(std::env::var_os("CI").is_none(), "{} not found: with CI set, nothing is skipped", file.display());
    eprintln!("skipped: {} not found (SCGRAFT_DATA names the folder)", file.display());
    None
}

#[test]
fn cell_lines_of_a_real_mixture_are_found() {
    let Some(file) = mixture() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::copy(&file, at.join("mix.h5ad")).unwrap();
    let go = |arguments: &[&str]| scgraft(at, &[arguments, &["--json"]].concat()).good().json();
    go(&["pca", "mix.h5ad", "--components", "20", "--batch", "batch"]);
    let found = go(&["cluster", "mix.h5ad", "--embedding", "X_pca", "--resolution", "0.2,1", "--labels", "cell_line"]);
    let best = found["clusterings"].as_array().unwrap().iter().map(|c| c["nmi"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!(best > 0.5, "clusters follow the cell lines: {found}");
    let columns = ["--batch", "batch", "--labels", "cell_line", "--embedding", "X_pca", "--before", "X_pca"];
    let told = go(&[&["evaluate", "mix.h5ad", "--query", "Drop-seq"], &columns[..]].concat());
    let metrics = &told["embeddings"][0]["metrics"];
    assert!(metrics["kNN accuracy"].as_f64().unwrap() > 0.9, "{metrics}");
    assert_eq!(metrics["kNN purity"].as_f64().unwrap(), 1.0, "the data against itself");
    assert!(told["embeddings"][0]["query"]["Label accuracy"].is_number(), "{told}");
    let markers = go(&["markers", "mix.h5ad", "--groups", "cell_line", "--top", "5"]);
    for group in markers["markers"].as_array().unwrap() {
        assert!(group["genes"][0]["p_adjusted"].as_f64().unwrap() < 1e-6, "{group}");
    }
    go(&["umap", "mix.h5ad", "--embedding", "X_pca"]);
}

/// Two files whose components are made together, held against numpy and scikit-learn: CEL-seq2 cells as the reference and
/// Drop-seq cells as the query.
///
/// The expected values: counts of the 12,601 genes scaled to 10,000 a cell, log1p, the 1,000 listed genes (every twelfth,
/// from the first), sklearn.decomposition.PCA(50, svd_solver="full"); Σ over batches of n (mean − mean of all)² over the
/// total sum of squares; within each batch the mean Jaccard overlap of sklearn's 15 nearest neighbours.
#[test]
fn components_of_two_files_equal_those_of_scikit_learn() {
    let Some(file) = mixture() else { return };
    let cells = read_h5ad(&file, &ReadOptions::default()).unwrap();
    let batch = cells.obs.column("batch").unwrap().coded().unwrap();
    let code = |name: &str| batch.levels.iter().position(|l| l == name).unwrap() as u32;
    let (first, second) = (code("CEL-seq2"), code("Drop-seq"));
    let rows = |wanted: u32| (0..cells.n_cells()).filter(|&i| batch.codes[i] == wanted).collect::<Vec<_>>();
    let part =
        |rows: &[usize]| plain_expression(&cells.select_cells(rows), &Slot::X, false, Default::default()).unwrap();
    let genes: Vec<String> = cells.var.index.iter().step_by(12).take(1000).cloned().collect();
    let (a, b) = (rows(first), rows(second));
    let joint = joint_components(&[part(&a), part(&b)], false, Some(&genes), 0, 50).unwrap();
    let codes = a.iter().map(|_| 0).chain(b.iter().map(|_| 1)).collect();
    let batch = Coded { codes, levels: vec!["CEL-seq2".into(), "Drop-seq".into()] };
    let share = pc_regression(&joint.pca.scores, &batch, None).unwrap();
    assert!((share - 0.178_613_638_286_901_16).abs() < 1e-5, "{share}");
    let first = Dense::new(
        joint.pca.scores.n_rows,
        10,
        joint.pca.scores.values.chunks(50).flat_map(|r| r[..10].to_vec()).collect(),
    );
    let (purity, _) = purity_within_batches(&joint.pca.scores, &first, &batch, 15, &Search::Exact).unwrap();
    assert!((purity - 0.434_669_820_615_955_05).abs() < 1e-3, "{purity}");
}
