//! A published model by command line: import it, encode its own cells, map others on it.

use std::path::Path;

use scgraft::cells::{Cells, Column, Csr, Frame, Matrix};
use scgraft::io::{ReadOptions, WriteOptions, read_h5ad, write_h5ad};
use scgraft::models::Model;

use super::{folder_with, names, scgraft};

/// The folder of a tiny model that scvi-tools saved.
fn published(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hub/tests/golden").join(name);
    folder.to_string_lossy().into_owned()
}

/// Cells with the genes of those models.
fn cells(path: &Path, batch: &str) {
    let (n, genes) = (40, 20);
    let values: Vec<f32> = (0..n * genes).map(|i| 1.0 + (i * 7 % 5) as f32).collect();
    let indices = (0..n).flat_map(|_| 0..genes as u32).collect();
    let x = Csr { n_rows: n, n_cols: genes, indptr: (0..=n).map(|i| i * genes).collect(), indices, values };
    let mut obs = Frame::new((0..n).map(|i| format!("c{i}")).collect());
    obs.set("tech", Column::categorical(&vec![batch.to_owned(); n]));
    let var = Frame::new((0..genes).map(|i| format!("gene{i}")).collect());
    write_h5ad(path, &Cells::new(Matrix::Sparse(x), obs, var), &WriteOptions::default()).unwrap();
}

#[test]
fn a_model_of_scvi_tools_becomes_a_reference() {
    let folder = folder_with(&[]);
    let at = folder.path();
    cells(&at.join("query.h5ad"), "new");
    cells(&at.join("known.h5ad"), "v3");
    let told = scgraft(at, &["import", &published("scvi_covariates_deep"), "-o", "m.scgraft", "--json"]).good().json();
    assert_eq!(told["model"], "scvi");
    assert_eq!(told["package"], "scvi-tools");
    assert_eq!(told["covariates"].as_array().map(Vec::len), Some(4), "{told}");

    // Without covariates in the encoder, surgery could not move the query.
    scgraft(at, &["import", &published("scvi_default"), "-o", "plain.scgraft"]).good();
    scgraft(at, &["map", "plain.scgraft", "query.h5ad", "-o", "out.h5ad"]).says(&["encode_covariates"]);
    let known = ["map", "plain.scgraft", "known.h5ad", "-o", "out.h5ad", "--json"];
    assert_eq!(scgraft(at, &known).good().json()["queries"][0]["trained"], false);

    let told = scgraft(at, &["import", &published("scanvi_mapping"), "-o", "s.scgraft", "--json"]).good().json();
    assert_eq!(told["condition_columns"][0], "tech");
    // The fifth is `unkn`: numpy cut the name of the unlabelled category when these cells were made.
    assert_eq!(told["labels"].as_array().map(Vec::len), Some(5), "{told}");
    let map =
        ["map", "s.scgraft", "query.h5ad", "--epochs", "2", "-o", "mapped.h5ad", "--save-model", "mapped.scgraft"];
    scgraft(at, &map).good();
    let (before, after) = (Model::load(at.join("s.scgraft")).unwrap(), Model::load(at.join("mapped.scgraft")).unwrap());
    assert_eq!(before.reference_hash(), after.reference_hash());
    assert_eq!(after.header.conditions.last().map(String::as_str), Some("new"));
    let mapped = read_h5ad(at.join("mapped.h5ad"), &ReadOptions::default()).unwrap();
    assert!(mapped.obsm.contains_key("X_scgraft"));
}

#[test]
fn a_minified_model_annotates_alone() {
    let folder = folder_with(&[]);
    let at = folder.path();
    cells(&at.join("query.h5ad"), "new");
    let told = scgraft(at, &["import", &published("scvi_minified"), "-o", "m.scgraft", "--json"]).good().json();
    assert_eq!((&told["cells"]["cells"], &told["cells"]["in_model"]), (&24.into(), &true.into()), "{told}");
    scgraft(at, &["map", "m.scgraft", "query.h5ad", "--epochs", "2", "-o", "mapped.h5ad"]).good();
    scgraft(at, &["annotate", "m.scgraft", "mapped.h5ad", "--labels", "type", "--rule", "paper", "--k", "5"]).good();
    let mapped = read_h5ad(at.join("mapped.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!(mapped.obs.column("type_best").unwrap().len(), 40);
}

#[test]
fn a_mapped_model_is_exported_to_scvi_tools_and_comes_back() {
    let folder = folder_with(&["reference.scgraft"]);
    let at = folder.path();
    cells(&at.join("query.h5ad"), "new");
    scgraft(at, &["import", &published("scanvi_mapping"), "-o", "s.scgraft"]).good();
    let map = ["map", "s.scgraft", "query.h5ad", "--epochs", "2", "-o", "mapped.h5ad", "--save-model", "g.scgraft"];
    scgraft(at, &map).good();
    let export = |model: &str, to: &str| scgraft(at, &["export", model, "--to", "scvi-tools", "-o", to, "--json"]);
    let told = export("g.scgraft", "out").good().json();
    assert_eq!(told["class"], "SCANVI");
    let python = told["python"].to_string();
    assert!(python.contains("drop, v2, v3, new") && python.contains("unknown"), "{python}");
    assert_eq!(names(&at.join("out")), ["model.pt"]);
    // The graft's conditions are the model's own now, and cells lie where they lay.
    scgraft(at, &["import", "out", "-o", "back.scgraft"]).good();
    let (grafted, back) = (Model::load(at.join("g.scgraft")).unwrap(), Model::load(at.join("back.scgraft")).unwrap());
    assert_eq!(grafted.header.conditions, back.header.conditions);
    assert!(back.header.grafts.is_empty());
    scgraft(at, &["map", "back.scgraft", "query.h5ad", "-o", "again.h5ad"]).good();
    let read = |file: &str| read_h5ad(at.join(file), &ReadOptions::default()).unwrap().obsm["X_scgraft"].clone();
    assert_eq!(read("mapped.h5ad"), read("again.h5ad"));

    // Again into the same folder, but beside no other file.
    export("s.scgraft", "out").good();
    std::fs::write(at.join("out/adata.h5ad"), "").unwrap();
    export("s.scgraft", "out").says(&["adata.h5ad", "empty"]);
    export("reference.scgraft", "none").says(&["expimap", "scvi-tools", "scanvi"]);
    assert!(!at.join("none").exists());
}

#[test]
fn what_is_no_published_model_says_so() {
    let folder = folder_with(&["reference.scgraft"]);
    let at = folder.path();
    scgraft(at, &["import", "nothing", "-o", "out"]).says(&["nothing"]);
    scgraft(at, &["import", ".", "-o", "out"]).says(&["model.pt", "var_names.csv"]);
    scgraft(at, &["import", "reference.scgraft", "-o", "out"]).says(&["no file of PyTorch"]);
    assert_eq!(names(at), ["reference.scgraft"]);
}
