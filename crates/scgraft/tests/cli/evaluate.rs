//! `scgraft evaluate`: embeddings of one file, of several files, a query with its reference, and bad days.

use scgraft::cells::{Array, Column, Dense};
use scgraft::io::{ReadOptions, TableOptions, WriteOptions, read_h5ad, read_table, write_h5ad};

use super::{folder_with, scgraft};

const COLUMNS: [&str; 4] = ["--batch", "batch", "--labels", "cell_type"];

fn evaluate<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    ["evaluate"].into_iter().chain(arguments.iter().copied()).chain(COLUMNS).collect()
}

#[test]
fn embeddings_of_one_file_stand_in_one_table() {
    let folder = folder_with(&["reference_out.h5ad"]);
    let at = folder.path();
    scgraft(at, &["pca", "reference_out.h5ad", "--components", "10"]).good();
    // Noise is worse than a trained embedding.
    let path = at.join("reference_out.h5ad");
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    let noise = (0..240 * 5).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0).collect();
    cells.obsm.insert("X_noise".into(), Array::Dense(Dense::new(240, 5, noise)));
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    let arguments = ["reference_out.h5ad", "--embedding", "X_noise,X_pca,X_scgraft", "--before", "X_pca"];
    let more = ["--tsv", "m.tsv", "-o", "m.svg", "--json"];
    let told = scgraft(at, &[&evaluate(&arguments)[..], &more].concat()).good().json();
    let rows = told["embeddings"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    let overall = |name: &str| rows.iter().find(|r| r["embedding"] == name).unwrap()["overall"].as_f64().unwrap();
    assert!(overall("X_noise") < overall("X_pca"));
    assert_eq!(rows[2]["embedding"], "X_noise", "the best first");
    assert_eq!(rows[0]["metrics"].as_object().unwrap().len(), 15);
    let table = read_table(at.join("m.tsv"), &TableOptions::default()).unwrap();
    assert_eq!(table.index, ["X_noise", "X_pca", "X_scgraft"]);
    assert_eq!(table.column("Overall").unwrap().number(0).unwrap(), overall("X_noise"));
    let svg = std::fs::read_to_string(at.join("m.svg")).unwrap();
    assert!(svg.contains("Graph connectivity") && svg.contains("X_noise"));
    // Drawn from the table again: the same picture.
    scgraft(at, &["plot", "metrics", "m.tsv", "-o", "again.svg"]).good();
    assert_eq!(std::fs::read_to_string(at.join("again.svg")).unwrap(), svg);
    // An approximate search that must find nearly all says what it found, and scores nearly the same.
    let approximate = ["reference_out.h5ad", "--embedding", "X_pca", "--approximate=0.99", "--json"];
    let told = scgraft(at, &evaluate(&approximate)).good().json();
    assert!(told["embeddings"][0]["neighbours_recall"].as_f64().unwrap() > 0.9);
    assert!(told["left_out"].to_string().contains("PC regression"));
}

#[test]
fn files_of_the_same_cells_are_matched_by_name() {
    let folder = folder_with(&["reference_out.h5ad"]);
    let at = folder.path();
    let cells = read_h5ad(at.join("reference_out.h5ad"), &ReadOptions::default()).unwrap();
    let turned: Vec<usize> = (0..240).rev().collect();
    write_h5ad(at.join("turned.h5ad"), &cells.select_cells(&turned), &WriteOptions::default()).unwrap();
    let told = scgraft(at, &evaluate(&["reference_out.h5ad", "turned.h5ad", "--json"])).good().json();
    let rows = told["embeddings"].as_array().unwrap();
    assert_eq!(rows[0]["metrics"], rows[1]["metrics"]);
    let few: Vec<usize> = (0..100).collect();
    write_h5ad(at.join("few.h5ad"), &cells.select_cells(&few), &WriteOptions::default()).unwrap();
    scgraft(at, &evaluate(&["reference_out.h5ad", "few.h5ad"])).says(&["few.h5ad", "no cell", "same cells"]);
}

#[test]
fn a_query_is_judged_beside_its_reference() {
    let folder = folder_with(&["reference_out.h5ad", "reference.scgraft", "query.h5ad"]);
    let at = folder.path();
    let mapping = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "3"];
    scgraft(at, &[&mapping[..], &["-o", "mapped.h5ad"]].concat()).good();
    let arguments = ["mapped.h5ad", "--reference", "reference_out.h5ad", "--tsv", "m.tsv", "--json"];
    let told = scgraft(at, &evaluate(&arguments)).good().json();
    let query = &told["embeddings"][0]["query"];
    assert!(query["Label accuracy"].as_f64().unwrap() > 0.5, "{query}");
    assert!(query["Unseen-cell distance"].is_number(), "the type `novel` is not in the reference: {query}");
    assert!(query["Query kNN purity"].is_null());
    assert!(read_table(at.join("m.tsv"), &TableOptions::default()).unwrap().column("Label accuracy").is_some());
}

#[test]
fn what_cannot_be_evaluated_says_why() {
    let folder = folder_with(&["reference_out.h5ad"]);
    let at = folder.path();
    let path = at.join("reference_out.h5ad");
    scgraft(at, &evaluate(&["reference_out.h5ad", "--embedding", "X_scVI"])).says(&["X_scVI", "X_scgraft"]);
    let wrong = ["evaluate", "reference_out.h5ad", "--batch", "bach", "--labels", "cell_type"];
    scgraft(at, &wrong).says(&["`bach`", "`batch`"]);
    scgraft(at, &evaluate(&["reference_out.h5ad", "--query", "nobody"])).says(&["nobody", "no such batch"]);
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    cells.obs.set("one", Column::categorical(&vec!["all"; 240]));
    cells.obs.set("nothing", Column::Text(vec![None; 240]));
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    let by = |batch, labels| ["evaluate", "reference_out.h5ad", "--batch", batch, "--labels", labels];
    scgraft(at, &by("batch", "one")).says(&["reference_out.h5ad", "`one`", "two levels"]);
    scgraft(at, &by("one", "cell_type")).says(&["`one`", "two levels"]);
    scgraft(at, &by("batch", "nothing")).says(&["no cell has both", "`nothing`"]);
    let Some(Array::Dense(latent)) = cells.obsm.get_mut("X_scgraft") else { panic!("no embedding") };
    latent.row_mut(17)[3] = f32::NAN;
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    scgraft(at, &evaluate(&["reference_out.h5ad"])).says(&["row 17", "column 3", "expected a finite number"]);
}
