//! The real files, where they are.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use scgraft_cells::{Array, Column};
use scgraft_io::{ReadOptions, WriteOptions, inspect_h5ad, read_cells, read_gmt, read_h5ad, write_h5ad};

/// The folder of the real data, or `None` with a word about it.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("SCGRAFT_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    if folder.join("kang_ifnb_2800.h5ad").is_file() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "real data not found: with CI set, nothing is skipped");
    println!("skipped: real data not found (set SCGRAFT_DATA)");
    None
}

#[test]
fn every_file_opens_and_a_copy_is_equal() {
    let Some(folder) = data() else { return };
    let copies = tempfile::tempdir().unwrap();
    for (name, n_cells, n_genes) in [
        ("pbmc_reference_merged", 8926, 13500),
        ("kang_ifnb_2800", 2800, 14053),
        ("citeseq_pbmc10k_totalvi", 6855, 4000),
        ("citeseq_pbmc5k_totalvi_rna_only", 3994, 4000),
        ("scmixology_celseq2_dropseq", 499, 12601),
        ("pancreas_baron_human_mouse_350", 350, 12474),
        ("endocrinogenesis_veloviz_739", 739, 7192),
        ("pbmc68k_reduced_counts", 700, 765),
        ("scanpy_2018_10x_pbmc68k_reduced", 724, 221),
    ] {
        let path = folder.join(format!("{name}.h5ad"));
        let cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
        assert_eq!((cells.n_cells(), cells.n_genes()), (n_cells, n_genes), "{name}");
        let found = inspect_h5ad(&path).unwrap();
        assert_eq!((found.n_cells, found.n_genes), (n_cells, n_genes), "{name}");
        let rows = ReadOptions { rows: Some(100..300), ..ReadOptions::default() };
        assert!(read_cells(&path, &rows).unwrap() == cells.select_cells(&(100..300).collect::<Vec<_>>()), "{name}");
        let copy = copies.path().join("copy.h5ad");
        write_h5ad(&copy, &cells, &WriteOptions { compression: Some(1), ..WriteOptions::default() }).unwrap();
        assert!(read_h5ad(&copy, &ReadOptions::default()).unwrap() == cells, "{name}");
    }
}

#[test]
fn slots_hold_what_the_data_are_described_with() {
    let Some(folder) = data() else { return };
    let levels = |column: Option<&Column>| match column {
        Some(Column::Categorical { categories, .. }) => categories.len(),
        other => panic!("{other:?}"),
    };
    let reference = read_h5ad(folder.join("pbmc_reference_merged.h5ad"), &ReadOptions::tables()).unwrap();
    assert_eq!((levels(reference.obs.column("study")), levels(reference.obs.column("cell_type"))), (5, 9));
    let query = read_h5ad(folder.join("kang_ifnb_2800.h5ad"), &ReadOptions::default()).unwrap();
    assert!(query.x.unwrap().stored().iter().all(|&v| v > 0.0 && v.fract() == 0.0), "raw counts");
    let cite = read_h5ad(folder.join("citeseq_pbmc10k_totalvi.h5ad"), &ReadOptions::default()).unwrap();
    assert!(matches!(&cite.obsm["protein_expression"], Array::Frame(f) if f.columns.len() == 14));
    let old = read_h5ad(folder.join("scanpy_2018_10x_pbmc68k_reduced.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!(levels(old.obs.column("bulk_labels")), 10);
    assert_eq!(old.raw.unwrap().x.shape(), (724, 2956));
    assert!(matches!(&old.obsm["X_pca"], Array::Dense(m) if m.n_cols == 50));
}

#[test]
fn gene_sets_are_all_read() {
    let Some(folder) = data() else { return };
    for (name, sets, described) in [
        ("c2.cp.reactome.v4.0.symbols", 674, true),
        ("h.all.v7.0.symbols", 50, true),
        ("PanglaoDB_markers_27_Mar_2020", 178, true),
        ("expimap_ref_model_fig3_mask", 282, true),
        ("scLucid_mouse_hallmark_v2025", 50, true),
    ] {
        let found = read_gmt(&[folder.join(format!("{name}.gmt"))]).unwrap();
        assert_eq!(found.len(), sets, "{name}");
        assert!(found.iter().all(|s| s.description.is_some() == described && !s.genes.is_empty()), "{name}");
    }
}
