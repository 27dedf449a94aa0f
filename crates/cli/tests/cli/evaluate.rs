//! `scgraft evaluate`: embeddings of one file, of several files, a query with its reference, and bad days.

use scgraft::cells::{Array, Cells, Column, Dense, Frame, Matrix};
use scgraft::io::{ReadOptions, WriteOptions, read_h5ad, read_table, write_h5ad};

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
    // Noise is worse than components.
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
    assert!(rows.is_sorted_by(|a, b| a["overall"].as_f64() >= b["overall"].as_f64()), "the best first: {told}");
    assert_eq!(rows[0]["metrics"].as_object().unwrap().len(), 15);
    let table = read_table(at.join("m.tsv")).unwrap();
    assert_eq!(table.index, ["X_noise", "X_pca", "X_scgraft"]);
    assert_eq!(table.column("overall").unwrap().number(0).unwrap(), overall("X_noise"));
    let svg = std::fs::read_to_string(at.join("m.svg")).unwrap();
    assert!(svg.contains("Graph connectivity") && svg.contains("X_noise"));
    // Drawn from the table again: the same picture.
    scgraft(at, &["plot", "metrics", "m.tsv", "-o", "again.svg"]).good();
    assert_eq!(std::fs::read_to_string(at.join("again.svg")).unwrap(), svg);
    // An approximate search that must find nearly all says what it found, and scores nearly the same.
    let approximate = ["reference_out.h5ad", "--embedding", "X_pca", "--approximate=0.99", "--json"];
    let told = scgraft(at, &evaluate(&approximate)).good().json();
    assert!(told["embeddings"][0]["neighbours_recall"].as_f64().unwrap() > 0.9);
    // One file: the components are made of its counts; not when they are not wanted, or when there are none.
    assert!(told["embeddings"][0]["metrics"]["PC regression"].is_number(), "{told}");
    let none = ["reference_out.h5ad", "--embedding", "X_pca", "--before", "none", "--json"];
    let told = scgraft(at, &evaluate(&none)).good().json();
    assert!(told["left_out"].to_string().contains("--before none") && told["before"].is_null(), "{told}");
    cells.x = None;
    cells.raw = None;
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    let told = scgraft(at, &evaluate(&["reference_out.h5ad", "--json"])).good().json();
    assert!(told["left_out"].to_string().contains("no counts in reference_out.h5ad"), "{told}");
}

#[test]
fn the_papers_overall_scores_and_clusterings_stand_beside() {
    let folder = folder_with(&["reference_out.h5ad"]);
    let at = folder.path();
    scgraft(at, &["pca", "reference_out.h5ad", "--components", "10"]).good();
    let two = ["reference_out.h5ad", "--embedding", "X_scgraft,X_pca", "--algorithm", "louvain", "--resolution", "1"];
    let told = scgraft(at, &[&evaluate(&two)[..], &["--k", "10", "--tsv", "m.tsv", "--json"]].concat()).good().json();
    let of = |row: usize, name: &str| told["embeddings"][row]["metrics"][name].as_f64().unwrap();
    // The expiMap paper's: the plain mean of its nine.
    let nine = ["PC regression", "Batch ASW", "kBET", "Graph connectivity", "Graph iLISI", "Graph cLISI", "NMI", "ARI"];
    for row in 0..2 {
        let mean = (nine.iter().map(|n| of(row, n)).sum::<f64>() + of(row, "Cell-type ASW")) / 9.0;
        assert!((told["embeddings"][row]["overall_expimap"].as_f64().unwrap() - mean).abs() < 1e-12, "{told}");
    }
    // Of two embeddings each scaled metric is 0 in one and 1 in the other.
    let scaled = |row: usize| told["embeddings"][row]["overall_scarches"].as_f64().unwrap();
    assert!((scaled(0) + scaled(1) - 1.0).abs() < 1e-12, "{told}");
    let table = read_table(at.join("m.tsv")).unwrap();
    assert!(table.column("overall_expimap").is_some() && table.column("overall_scarches").is_some());
    scgraft(at, &["plot", "metrics", "m.tsv", "-o", "m.svg"]).good();
    assert!(std::fs::read_to_string(at.join("m.svg")).unwrap().contains("Overall (scArches)"));
    let one = ["reference_out.h5ad", "--embedding", "X_pca"];
    let run = scgraft(at, &evaluate(&one)).good();
    assert!(run.stdout.contains("principal components of the file"), "{}", run.stdout);
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
    // What the metrics compare with was made of the counts of both files together.
    assert!(query["Query kNN purity"].is_number(), "{query}");
    let before = told["before"].as_str().unwrap();
    assert!(before.contains("both files together") && before.contains("genes of the model"), "{before}");
    let metrics = |told: &serde_json::Value| {
        ["PC regression", "kNN purity"].map(|m| told["embeddings"][0]["metrics"][m].as_f64().unwrap())
    };
    let [regression, purity] = metrics(&told);
    // The same from one file with the cells of both, of which the components are made by `pca`'s own steps.
    let (mut all, query) = (
        read_h5ad(at.join("reference_out.h5ad"), &ReadOptions::default()).unwrap(),
        read_h5ad(at.join("mapped.h5ad"), &ReadOptions::default()).unwrap(),
    );
    stack(&mut all, &query);
    write_h5ad(at.join("all.h5ad"), &all, &WriteOptions::default()).unwrap();
    let one = scgraft(at, &evaluate(&["all.h5ad", "--json"])).good().json();
    let [same, alike] = metrics(&one);
    assert!((same - regression).abs() < 1e-9, "{same} {regression}");
    assert!((alike - purity).abs() < 1e-9 && purity > 0.0, "{alike} {purity}");
    // Components of each file alone are refused, as data before and as an embedding.
    for file in ["reference_out.h5ad", "mapped.h5ad"] {
        scgraft(at, &["pca", file, "--components", "10"]).good();
    }
    let apart = ["mapped.h5ad", "--reference", "reference_out.h5ad"];
    let refused: &[&str] = &["X_pca", "reference_out.h5ad", "mapped.h5ad", "two decompositions"];
    scgraft(at, &evaluate(&[&apart[..], &["--before", "X_pca"]].concat())).says(refused);
    scgraft(at, &evaluate(&[&apart[..], &["--embedding", "X_pca"]].concat())).says(refused);
    assert!(read_table(at.join("m.tsv")).unwrap().column("label_accuracy").is_some());
}

/// Puts the cells of `b` below those of `a`: counts, embedding, batch and type.
fn stack(a: &mut Cells, b: &Cells) {
    let counts = |cells: &Cells| cells.x.as_ref().unwrap().to_csr().to_dense();
    let Some(Array::Dense(first)) = a.obsm.remove("X_scgraft") else { panic!("no embedding") };
    let Some(Array::Dense(second)) = b.obsm.get("X_scgraft") else { panic!("no embedding") };
    let join = |x: &Dense, y: &Dense| {
        Dense::new(x.n_rows + y.n_rows, x.n_cols, x.values.iter().chain(&y.values).copied().collect())
    };
    assert_eq!(a.var.index, b.var.index);
    let x = join(&counts(a), &counts(b)).to_csr();
    let texts = |name: &str| -> Column {
        let [x, y] = [&*a, b].map(|c| c.obs.column(name).unwrap().texts());
        Column::Text(x.into_iter().chain(y).collect())
    };
    let columns = ["batch", "cell_type"].map(|name| (name.to_owned(), texts(name)));
    let names = (0..x.n_rows).map(|i| format!("cell {i}")).collect();
    let latent = join(&first, second);
    let uns = std::mem::take(&mut a.uns);
    *a = Cells::new(Matrix::Sparse(x), Frame::new(names), a.var.clone());
    a.uns = uns;
    columns.into_iter().for_each(|(name, column)| a.obs.set(&name, column));
    a.obsm.insert("X_scgraft".into(), Array::Dense(latent));
}

#[test]
fn labels_without_counterpart_are_named_and_can_be_mapped() {
    let folder = folder_with(&["reference_out.h5ad", "reference.scgraft", "query.h5ad"]);
    let at = folder.path();
    let mapping = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "3"];
    scgraft(at, &[&mapping[..], &["-o", "mapped.h5ad"]].concat()).good();
    let judged = evaluate(&["mapped.h5ad", "--reference", "reference_out.h5ad", "--before", "none", "--json"]);
    let accuracy = |told: &serde_json::Value| told["embeddings"][0]["query"]["Label accuracy"].as_f64();
    let right = scgraft(at, &judged).good().json();
    // The query's own names for two of the types.
    let path = at.join("mapped.h5ad");
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    let types = cells.obs.column("cell_type").unwrap().texts();
    let other = |t: &Option<String>| match t.as_deref() {
        Some("type_1") => Some("Type 1 late".to_owned()),
        Some("type_2") => Some("second".to_owned()),
        _ => t.clone(),
    };
    let n_first = types.iter().filter(|t| t.as_deref() == Some("type_1")).count();
    cells.obs.set("cell_type", Column::Text(types.iter().map(other).collect()));
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    let told = scgraft(at, &judged).good().json();
    let without = told["query_labels"]["without_counterpart"].as_array().unwrap();
    let late = without.iter().find(|w| w["label"] == "Type 1 late").unwrap();
    assert_eq!((&late["cells"], &late["nearest"][0]), (&n_first.into(), &"type_1".into()));
    assert!(told["query_labels"]["cells"].as_u64() < told["query_labels"]["labelled"].as_u64());
    // With a map, one pair on the command line and one in a file, all is as before.
    std::fs::write(at.join("names.tsv"), "second\ttype_2\n").unwrap();
    let map = ["--label-map", "Type 1 late=type_1", "--label-map", "names.tsv"];
    let mapped = scgraft(at, &[&judged[..], &map].concat()).good().json();
    assert_eq!(accuracy(&mapped), accuracy(&right));
    // The same of the labels that are carried over.
    let annotate = ["annotate", "reference_out.h5ad", "mapped.h5ad", "--labels", "cell_type", "-o", "a.h5ad"];
    let run = scgraft(at, &annotate).good();
    assert!(run.stdout.contains("`Type 1 late`") && run.stdout.contains("nearest `type_1`"), "{}", run.stdout);
    let few = scgraft(at, &[&annotate[..], &["--json"]].concat()).good().json();
    let all = scgraft(at, &[&annotate[..], &map, &["--json"]].concat()).good().json();
    assert!(all["labels"][0]["truth"]["cells"].as_u64() > few["labels"][0]["truth"]["cells"].as_u64());
    let nobody = [&annotate[..], &["--label-map", "nobody=type_1"]].concat();
    assert!(scgraft(at, &nobody).good().stderr.contains("`nobody`"));
    scgraft(at, &[&annotate[..], &["--label-map", "nothing.tsv"]].concat()).says(&["nothing.tsv", "OLD=NEW"]);
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
    let many = scgraft(at, &evaluate(&["reference_out.h5ad", "--lisi-k", "5000"])).good();
    assert!(many.stderr.contains("5000 neighbours for LISI are more than there are"), "{}", many.stderr);
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
