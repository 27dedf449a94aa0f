//! scVI, its variants and scANVI by command line: train, map, and what is read off them.

use scgraft::cells::{Array, Column, Matrix};
use scgraft::io::{ReadOptions, read_h5ad};
use scgraft::models::Model;

use super::{folder_with, scgraft};

const SMALL: [&str; 8] = ["--hidden", "16,16", "--epochs", "3", "--set", "latent=4", "--hvg", "200"];

fn train<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["train", "reference.h5ad", "--batch", "batch", "--model", model];
    fixed.into_iter().chain(SMALL).chain(more.iter().copied()).collect()
}

#[test]
fn scvi_from_counts_to_differential_expression() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad"]);
    let at = folder.path();
    scgraft(at, &train("scvi", &["-o", "scvi.scgraft", "--embed", "out.h5ad"])).good();
    let map = ["map", "scvi.scgraft", "query.h5ad", "--epochs", "2", "-o", "mapped.h5ad", "--save-model", "m.scgraft"];
    let told = scgraft(at, &[&map[..], &["--adaptor-out", "a.adaptor", "--json"]].concat()).good().json();
    assert_eq!(told["queries"][0]["trained"], true);

    scgraft(at, &["expression", "scvi.scgraft", "reference.h5ad", "-o", "e.h5ad", "--as-condition", "all"]).good();
    let decoded = read_h5ad(at.join("e.h5ad"), &ReadOptions::default()).unwrap();
    let Some(Matrix::Dense(x)) = &decoded.x else { panic!("not a plain matrix") };
    assert_eq!((x.n_rows, x.n_cols, decoded.n_genes()), (240, 200, 200));
    assert!((0..x.n_rows).all(|i| (x.row(i).iter().sum::<f32>() - 1.0).abs() < 1e-4));
    let draw = ["expression", "m.scgraft", "query.h5ad", "--draw", "-o", "drawn.h5ad"];
    scgraft(at, &draw).good();
    let drawn = read_h5ad(at.join("drawn.h5ad"), &ReadOptions::default()).unwrap();
    let Some(Matrix::Sparse(x)) = &drawn.x else { panic!("not sparse") };
    assert!(x.values.iter().all(|v| v.fract() == 0.0 && *v > 0.0));

    let told =
        scgraft(at, &["likelihood", "scvi.scgraft", "reference.h5ad", "--marginal", "20", "--json"]).good().json();
    let of = |name: &str| told[name].as_f64().unwrap();
    assert!(of("elbo") < -of("reconstruction_error") && of("marginal_log_likelihood") > of("elbo"), "{told}");

    let differential = ["differential", "m.scgraft", "query.h5ad", "--attach", "a.adaptor", "--groups", "condition"];
    // The mapped model has that graft already.
    scgraft(at, &differential).says(&["already has a graft"]);
    let differential = ["differential", "scvi.scgraft", "query.h5ad", "--attach", "a.adaptor", "--groups", "condition"];
    let more = ["--versus", "control", "--samples", "200", "--tsv", "genes.tsv", "--json"];
    let told = scgraft(at, &[&differential[..], &more].concat()).good().json();
    assert_eq!(told["comparisons"][0]["group"], "stimulated");
    let table = std::fs::read_to_string(at.join("genes.tsv")).unwrap();
    assert_eq!(table.lines().count(), 201);
    assert!(table.starts_with("group\tcomparison\twithin\tgene\tprobability"), "{table}");
    // Up and down apart, and of genes that are equally certain the larger effect first.
    for (name, sign) in [("up", 1.0), ("down", -1.0)] {
        let rows = told["comparisons"][0][name].as_array().unwrap();
        let of = |r: &serde_json::Value| (r["probability"].as_f64().unwrap(), sign * r["effect"].as_f64().unwrap());
        let rows: Vec<(f64, f64)> = rows.iter().map(of).collect();
        assert!(rows.iter().all(|r| r.1 >= 0.0), "{rows:?}");
        assert!(rows.windows(2).all(|w| w[0].0 > w[1].0 || w[0].0 == w[1].0 && w[0].1 >= w[1].1), "{rows:?}");
    }
    scgraft(at, &[&differential[..], &["--mode", "vanilla", "--samples", "50", "--top", "3"]].concat()).good();
    scgraft(at, &[&differential[..], &["--versus", "nobody"]].concat()).says(&["`nobody`", "stimulated"]);
    scgraft(at, &["expression", "scvi.scgraft", "query.h5ad", "-o", "no.h5ad"]).says(&["scgraft map"]);
    let wrong = ["expression", "scvi.scgraft", "reference.h5ad", "-o", "no.h5ad", "--as-condition", "refrence_1"];
    scgraft(at, &wrong).says(&["no condition `refrence_1`", "`reference_1`"]);
    scgraft(at, &["predict", "scvi.scgraft", "reference.h5ad", "-o", "no.h5ad"]).says(&["scvi has no classifier"]);
}

#[test]
fn scanvi_from_scvi_labels_a_query() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad"]);
    let at = folder.path();
    scgraft(at, &train("scvi", &["-o", "scvi.scgraft"])).good();
    let from = ["train", "reference.h5ad", "--batch", "batch", "--model", "scanvi", "--from", "scvi.scgraft"];
    let more = ["--labels", "cell_type", "--unlabelled", "type_1", "--epochs", "3", "-o", "scanvi.scgraft"];
    scgraft(at, &[&from[..], &more].concat()).good();
    let trained = Model::load(at.join("scanvi.scgraft")).unwrap();
    assert_eq!(trained.network.config()["latent"], 4);
    assert!(!trained.header.labels.contains(&"type_1".into()), "{:?}", trained.header.labels);

    let map = ["map", "scanvi.scgraft", "query.h5ad", "--epochs", "2", "-o", "q.h5ad", "--save-model", "m.scgraft"];
    scgraft(at, &map).good();
    let predict = ["predict", "m.scgraft", "query.h5ad", "-o", "labelled.h5ad"];
    let run = scgraft(at, &predict).good();
    assert!(run.stdout.contains("`type_1`") && run.stdout.contains("labelled cells count"), "{}", run.stdout);
    let told = scgraft(at, &[&predict[..], &["--label-map", "type_1=type_2", "--json"]].concat()).good().json();
    let without = told["truth"]["without_counterpart"].to_string();
    assert!(!without.contains("type_1") && without.contains("novel"), "{without}");
    scgraft(at, &[&predict[..], &["--truth", "cell_typ"]].concat()).says(&["`cell_typ`", "`cell_type`"]);
    let labelled = read_h5ad(at.join("labelled.h5ad"), &ReadOptions::default()).unwrap();
    let Some(Column::Categorical { .. }) = labelled.obs.column("cell_type_pred") else { panic!("no labels") };
    let Array::Frame(p) = &labelled.obsm["cell_type_probabilities"] else { panic!("no probabilities") };
    assert_eq!(p.columns.len(), trained.header.labels.len());

    // A query with labels: those that the reference does not know are named.
    scgraft(at, &[&map[..], &["--labels", "cell_type"]].concat()).says(&["type_1", "it knows"]);
}

#[test]
fn rare_labels_count_with_as_many_cells_as_common_ones() {
    let folder = folder_with(&["reference.h5ad"]);
    let at = folder.path();
    let bytes = ["1", "2"].map(|threads| {
        let few = ["--labels", "cell_type", "--samples-per-label", "5", "--threads", threads, "-o", threads];
        scgraft(at, &train("scanvi", &few)).good();
        std::fs::read(at.join(threads)).unwrap()
    });
    assert_eq!(bytes[0], bytes[1]);
    let few = Model::load(at.join("1")).unwrap();
    assert_eq!(few.provenance["training"]["samples_per_label"], 5);
    scgraft(at, &train("scanvi", &["--labels", "cell_type", "-o", "all.scgraft"])).good();
    let all = Model::load(at.join("all.scgraft")).unwrap();
    assert!(all.provenance["training"].get("samples_per_label").is_none());
    assert_ne!(few.reference_hash(), all.reference_hash());

    let none = ["--labels", "cell_type", "--samples-per-label", "0", "-o", "no.scgraft"];
    scgraft(at, &train("scanvi", &none)).says(&["the draws of a label", "at least 1"]);
    let blind = train("scvi", &["--samples-per-label", "5", "-o", "no.scgraft"]);
    scgraft(at, &blind).says(&["samples per label", "scanvi", "scvi without labels"]);
    assert!(!at.join("no.scgraft").exists());
}

#[test]
fn the_table_of_models_in_the_documents_is_the_registrys() {
    let folder = folder_with(&[]);
    let told = scgraft(folder.path(), &["models", "--markdown"]).good().stdout;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/models.md");
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(told, written, "write it anew: scgraft models --markdown > docs/models.md");
}

#[test]
fn variants_and_what_they_refuse() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    scgraft(at, &train("scvi-linear", &["-o", "linear.scgraft", "--embed", "out.h5ad"])).good();
    let out = read_h5ad(at.join("out.h5ad"), &ReadOptions::default()).unwrap();
    let Array::Dense(loadings) = &out.varm["scgraft_weights"] else { panic!("no loadings") };
    assert_eq!(loadings.n_cols, 4);
    // The same by gene, heaviest first.
    let told = scgraft(at, &["programs", "linear.scgraft", "--json"]).good().json();
    assert_eq!(told["programs"].as_array().unwrap().len(), 4);
    let heaviest = (0..loadings.n_rows).map(|g| loadings.row(g)[1].abs()).fold(0f32, f32::max);
    let name = &Model::load(at.join("linear.scgraft")).unwrap().latent_names()[1];
    let second = told["programs"].as_array().unwrap().iter().find(|p| p["name"] == name.as_str()).unwrap();
    let first = second["genes"][0]["weight"].as_f64().unwrap() as f32;
    assert!((first.abs() - heaviest).abs() <= 1e-6, "{first} {heaviest}");

    scgraft(at, &train("scvi-per-cell", &["-o", "cells.scgraft"])).good();
    let known = Model::load(at.join("cells.scgraft")).unwrap();
    assert_eq!(known.header.cells.len(), 240);
    let map = ["map", "cells.scgraft", "query.h5ad", "--epochs", "2", "-o", "q.h5ad", "--save-model", "m.scgraft"];
    scgraft(at, &map).good();
    assert_eq!(Model::load(at.join("m.scgraft")).unwrap().header.cells.len(), 340);
    let stop = train("scvi-per-cell", &["-o", "no.scgraft", "--patience", "5"]);
    scgraft(at, &stop).says(&["early stopping", "vector per cell"]);

    scgraft(at, &train("scanvi", &["-o", "no.scgraft"])).says(&["scanvi needs --labels COLUMN"]);
    let labelled = train("scvi", &["-o", "no.scgraft", "--labels", "cell_type"]);
    scgraft(at, &labelled).says(&["dispersion", "gene-label"]);
    scgraft(at, &train("scvi", &["-o", "no.scgraft", "--programs", "programs.gmt"])).says(&["gene programs"]);
    let normal = scgraft(at, &train("scvi", &["-o", "normal.scgraft", "--likelihood", "normal"])).good();
    assert!(normal.stderr.contains("look like raw counts"), "{}", normal.stderr);
    scgraft(at, &train("scvi", &["-o", "no.scgraft", "--likelihood", "gauss"])).says(&["gauss", "zinb"]);
    scgraft(at, &train("scvi", &["-o", "no.scgraft", "--lasso-weight", "1"])).says(&["lasso_weight"]);
    let blind = train("scvi", &["-o", "blind.scgraft", "--set", "encode_covariates=false"]);
    scgraft(at, &blind).good();
    scgraft(at, &["map", "blind.scgraft", "query.h5ad", "-o", "no.h5ad"]).says(&["encode_covariates", "first-layers"]);
    assert!(!at.join("no.scgraft").exists() && !at.join("no.h5ad").exists());
}
