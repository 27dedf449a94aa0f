//! A query against its reference: tests, pictures, one file of both.

use std::path::Path;

use scgraft::cells::{Cells, Column};
use scgraft::io::{ReadOptions, WriteOptions, read_h5ad, write_h5ad};

use super::{Run, folder_with, scgraft};

/// A folder with a mapped and annotated query, placed in the picture of its reference.
fn mapped() -> tempfile::TempDir {
    let folder =
        folder_with(&["reference.h5ad", "reference_out.h5ad", "reference.scgraft", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    let mapping = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "3"];
    scgraft(at, &[&mapping[..], &["--new-programs", "1", "-o", "mapped.h5ad"]].concat()).good();
    scgraft(at, &["cluster", "mapped.h5ad"]).good();
    let annotate = ["annotate", "reference_out.h5ad", "mapped.h5ad", "--labels", "cell_type", "--unknown", "0.3"];
    let told = scgraft(at, &[&annotate[..], &["--truth", "cell_type", "--majority", "leiden"]].concat()).good().stdout;
    assert!(told.contains("the label of most cells of their cluster is that of"), "{told}");
    scgraft(at, &["umap", "reference_out.h5ad"]).good();
    scgraft(at, &["umap", "mapped.h5ad", "--reference", "reference_out.h5ad"]).good();
    folder
}

fn read(at: &Path, name: &str) -> Cells {
    read_h5ad(at.join(name), &ReadOptions::default()).unwrap()
}

fn text(at: &Path, name: &str) -> String {
    std::fs::read_to_string(at.join(name)).unwrap()
}

#[test]
fn tests_across_both_files_are_those_of_the_joined_file() {
    let folder = mapped();
    let at = folder.path();
    let go = |arguments: &[&str]| -> Run { scgraft(at, arguments).good() };
    let told = go(&["join", "mapped.h5ad", "--reference", "reference_out.h5ad", "-o", "joined.h5ad", "--json"]).json();
    assert_eq!((&told["reference_cells"], &told["query_cells"]), (&240.into(), &100.into()));
    let joined = read(at, "joined.h5ad");
    assert_eq!((joined.n_cells(), joined.n_genes(), joined.obsm["X_scgraft_umap"].n_rows()), (340, 500, 340));
    let (reference, query) = (read(at, "reference_out.h5ad"), read(at, "mapped.h5ad"));
    let column = |of: &Cells, name: &str| of.obs.column(name).unwrap().texts();
    let pred = [column(&reference, "cell_type"), column(&query, "cell_type_pred")].concat();
    assert_eq!(column(&joined, "cell_type_pred"), pred);
    // What the query says of its labels, and of its clusters.
    let verdict = column(&query, "cell_type_verdict");
    let given = column(&query, "cell_type");
    for i in 0..100 {
        let expected = match query.obs.column("cell_type_pred").unwrap().text(i).unwrap() {
            unknown if unknown == "Unknown" => "unknown",
            label if Some(&label) == given[i].as_ref() => "right",
            _ => "wrong",
        };
        assert_eq!(verdict[i].as_deref(), Some(expected), "{i}");
    }
    let share = query.obs.column("cell_type_majority_share").unwrap();
    assert!((0..100).all(|i| (1.0 / 5.0..=1.0).contains(&share.number(i).unwrap())));

    let same = |ours: &[&str], of_joined: &[&str]| {
        let fixed = ["--min-cells", "3", "--no-update"];
        go(&[&["enrich", "mapped.h5ad", "--reference", "reference_out.h5ad", "--tsv", "a.tsv"], ours, &fixed].concat());
        go(&[&["enrich", "joined.h5ad", "--tsv", "b.tsv"], of_joined, &fixed].concat());
        assert!(text(at, "a.tsv").lines().count() > 10);
        assert_eq!(text(at, "a.tsv"), text(at, "b.tsv"));
    };
    let origin = ["--groups", "scgraft_origin", "--group", "query", "--versus", "reference"];
    same(&[], &origin);
    same(&["--within", "cell_type_pred"], &[&origin[..], &["--within", "cell_type_pred"]].concat());
    same(&["--gene-sets", "programs.gmt"], &[&origin[..], &["--gene-sets", "programs.gmt"]].concat());
    // Groups of both files, and the reference as one group: all its cells are controls.
    let condition = ["--groups", "condition", "--group", "stimulated"];
    same(&[&condition[..], &["--versus", "control"]].concat(), &[&condition[..], &["--versus", "control"]].concat());
    let mut alone = joined.clone();
    let names: Vec<String> = (0..340)
        .map(|i| if i < 240 { "reference".into() } else { joined.obs.column("condition").unwrap().text(i).unwrap() })
        .collect();
    alone.obs.set("condition", Column::categorical(&names));
    write_h5ad(at.join("joined.h5ad"), &alone, &WriteOptions::default()).unwrap();
    same(
        &[&condition[..], &["--versus", "reference"]].concat(),
        &[&condition[..], &["--versus", "reference"]].concat(),
    );

    // A test is stored in the mapped file, and a model that brings its cells serves as well.
    go(&["bundle", "reference.scgraft", "reference_out.h5ad", "--columns", "cell_type", "-o", "all.scgraft"]);
    let told = go(&["enrich", "mapped.h5ad", "--reference", "all.scgraft", "--json"]).json();
    assert_eq!((&told["tests"][0]["n_group"], &told["tests"][0]["n_comparison"]), (&100.into(), &240.into()));
    go(&["plot", "bayes", "mapped.h5ad", "--test", "query versus reference", "-o", "bayes.svg"]);
}

#[test]
fn what_the_reference_does_not_know_is_tested() {
    let folder = mapped();
    let at = folder.path();
    // The gene set of the type that the reference lacks says nothing there: the query learns it anew.
    let mapping = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "--reactivate", "CELL_NOVEL"];
    let more = ["--epochs", "400", "-o", "mapped.h5ad", "--save-model", "mapped.scgraft"];
    scgraft(at, &[&mapping[..], &more].concat()).good();
    let mut cells = read(at, "mapped.h5ad");
    let types = cells.obs.column("cell_type").unwrap().texts();
    let n = types.iter().filter(|t| t.as_deref() == Some("novel")).count();
    let named: Vec<&str> = types.iter().flatten().map(|t| if t == "novel" { "Unknown" } else { t }).collect();
    cells.obs.set("cell_type_pred", Column::categorical(&named));
    cells.obs.set("leiden", Column::categorical(&["0"; 100]));
    write_h5ad(at.join("mapped.h5ad"), &cells, &WriteOptions::default()).unwrap();
    let run = |more: &[&str]| scgraft(at, &[&["enrich", "mapped.h5ad", "--json"], more].concat()).good();
    let first = |told: &serde_json::Value| told["tests"][0]["programs"][0]["program"].clone();
    let own = run(&["--unknown"]).json();
    let sizes = |told: &serde_json::Value, side: &str| told["tests"][0][side].as_u64().unwrap() as usize;
    assert_eq!((sizes(&own, "n_group"), sizes(&own, "n_comparison")), (n, 100 - n));
    assert_eq!(first(&own), "CELL_NOVEL_reactivated");
    // Against the nearest cells of the reference: in its programs, or in all of the mapped model's.
    let near = run(&["--unknown=cell_type", "--reference", "reference_out.h5ad", "--k", "10"]);
    assert!(near.stderr.contains("1 programs of the query"), "{}", near.stderr);
    let near = near.json();
    assert_eq!(near["tests"][0]["comparison"], "nearest of the reference");
    assert!((10..=10 * n).contains(&sizes(&near, "n_comparison")) && sizes(&near, "n_group") == n);
    let programs = |told: &serde_json::Value| told["tests"][0]["programs"].as_array().unwrap().len();
    assert_eq!(programs(&near) + 1, programs(&own));
    scgraft(at, &["map", "mapped.scgraft", "reference.h5ad", "--condition", "batch", "-o", "again.h5ad"]).good();
    let near = run(&["--unknown", "--reference", "again.h5ad"]).json();
    // Which program leads against neighbours in a reference of eight steps is chance: that it is tested is what counts here.
    let tested = near["tests"][0]["programs"].as_array().unwrap().iter();
    assert!(tested.map(|p| &p["program"]).any(|p| p == "CELL_NOVEL_reactivated"), "{near}");
    assert_eq!(programs(&near), programs(&own));

    scgraft(at, &["enrich", "mapped.h5ad", "--unknown=lineage"]).says(&["lineage_pred", "cell_type_pred"]);
    let within = ["enrich", "mapped.h5ad", "--reference", "reference_out.h5ad", "--within", "leiden"];
    scgraft(at, &within).says(&["`leiden`", "takes no part", "leave --reference out"]);
    let own = ["enrich", "mapped.h5ad"];
    assert_eq!(scgraft(at, &own).code, 2, "neither groups nor a reference");
}

#[test]
fn pictures_take_the_reference_genes_and_numbers() {
    let folder = mapped();
    let at = folder.path();
    let draw = |arguments: &[&str]| {
        scgraft(at, &[&["plot"], arguments, &["-o", "p.svg"]].concat()).good();
        text(at, "p.svg")
    };
    let both = ["--reference", "reference_out.h5ad"];
    let gene = read(at, "mapped.h5ad").var.index[0].clone();
    let of_gene = format!("{gene}, log1p of counts per 10,000");
    let umap = |more: &[&str]| draw(&[&["umap", "mapped.h5ad"], more].concat());
    assert!(umap(&["--color", &gene]).contains(&of_gene));
    assert!(umap(&[&both[..], &["--color", &format!("gene/{gene}")]].concat()).contains(&of_gene));
    assert!(umap(&[&both[..], &["--color", "leiden"]].concat()).contains(">reference<"));
    let typed =
        |more: &[&str]| umap(&[&both[..], &["--color", "cell_type_pred"], more].concat()).contains(">reference<");
    assert!(typed(&[]) && !typed(&["--color-reference"]));
    let scores = ["scores", "mapped.h5ad", "CELL_TYPE_1", "CELL_TYPE_2", "--color", "leiden"];
    assert!(draw(&[&scores[..], &both].concat()).contains(">reference<"));
    let violin = ["violin", "mapped.h5ad", "CELL_TYPE_1", "--groups", "cell_type_pred"];
    let drawn = draw(&[&violin[..], &both].concat());
    assert!(drawn.contains(">reference<") && drawn.contains(">query<"));
    let verdicts =
        draw(&["violin", "mapped.h5ad", "--color", "cell_type_uncertainty", "--groups", "cell_type_verdict"]);
    assert!(verdicts.contains(">cell_type_uncertainty<") && verdicts.contains(">right<"));
    let dots = ["dots", "mapped.h5ad", "--color", &gene, "--groups", "cell_type_pred", "--split", "scgraft_origin"];
    let drawn = draw(&[&dots[..], &both].concat());
    assert!(drawn.contains("Genes (log1p of counts per 10,000)") && drawn.contains("type_1, query"));
    assert!(draw(&[&["heatmap", "mapped.h5ad", "--groups", "leiden"], &both[..]].concat()).contains(">reference<"));
    assert!(umap(&["--color", "obsm/cell_type_probabilities:type_1"]).contains(">type_1<"));

    // A table of proteins with the name of a gene.
    let mut cells = read(at, "mapped.h5ad");
    let mut proteins = scgraft::cells::Frame::new(cells.obs.index.clone());
    proteins.set(&gene, Column::Real((0..100).map(f64::from).collect()));
    cells.obsm.insert("scgraft_proteins".into(), scgraft::cells::Array::Frame(proteins));
    write_h5ad(at.join("mapped.h5ad"), &cells, &WriteOptions::default()).unwrap();
    let fails = |name: &str| scgraft(at, &["plot", "umap", "mapped.h5ad", "--color", name, "-o", "p.svg"]);
    fails(&gene).says(&["several things", &format!("gene/{gene}"), &format!("obsm/scgraft_proteins:{gene}")]);
    umap(&["--color", &format!("obsm/scgraft_proteins:{gene}")]);
    fails("CELL_TYP").says(&["neither a column of obs, a program, a gene nor", "`CELL_TYPE_1`"]);
    scgraft(at, &["report", "mapped.h5ad", "--genes", &gene, "-o", "r.html"]).good();
    assert!(text(at, "r.html").contains(&of_gene));
    scgraft(at, &["report", "mapped.h5ad", "--genes", "no_gene", "-o", "r.html"]).says(&["no_gene"]);
}
