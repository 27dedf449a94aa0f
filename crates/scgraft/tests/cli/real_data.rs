//! Analyses on real cells: the scmixology mixture, whose cell lines are known. Skipped where the data is absent.

use std::path::PathBuf;

use super::scgraft;

/// The file, or `None` with a word about it.
fn mixture() -> Option<PathBuf> {
    let folder = std::env::var_os("SCGRAFT_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let file = folder.join("scmixology_celseq2_dropseq.h5ad");
    if file.is_file() {
        return Some(file);
    }
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
