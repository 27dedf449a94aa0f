//! The whole way, as in the help text.

use scgraft::cells::{Array, Cells, Matrix, Uns};
use scgraft::io::{ReadOptions, WriteOptions, read_h5ad, write_h5ad};
use scgraft::models::{Adaptor, Model};

use super::{WORLD, folder_with, names, scgraft, train};

/// A reference and a query without any column that says what they are: all cells of one study, also of the reference's own.
#[test]
fn one_study_without_a_column_is_one_condition() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad"]);
    let at = folder.path();
    let train = ["train", "reference.h5ad", "--model", "scvi", "--condition-name", "atlas", "--epochs", "1"];
    scgraft(at, &[&train[..], &["-o", "one.scgraft", "--embed", "one.h5ad"]].concat()).good();
    for name in ["atlas", "patients"] {
        let map = ["map", "one.scgraft", "query.h5ad", "--condition-name", name, "--epochs", "1", "-o", "mapped.h5ad"];
        scgraft(at, &map).good();
        let annotate = ["annotate", "one.h5ad", "mapped.h5ad", "--labels", "cell_type", "--coverage", "0.9", "--json"];
        let told = scgraft(at, &annotate).good().json();
        assert_eq!(told["labels"][0]["cells"], 100, "{told}");
        scgraft(at, &[&annotate[..], &["--across", "bacth"]].concat()).says(&["one.h5ad", "`bacth`", "`batch`"]);
        scgraft(at, &["enrich", "mapped.h5ad", "--reference", "one.h5ad", "--versus", "reference"]).good();
        let evaluate = ["evaluate", "mapped.h5ad", "--reference", "one.h5ad", "--labels", "cell_type", "--json"];
        let told = scgraft(at, &evaluate).good().json();
        assert!(told["embeddings"][0]["metrics"]["kBET"].is_number(), "{told}");
    }
}

#[test]
fn train_map_annotate_enrich_look() {
    let folder = folder_with(&["reference.h5ad", "reference_out.h5ad", "query.h5ad", "reference.scgraft"]);
    let at = folder.path();
    let mapping = [
        "map",
        "reference.scgraft",
        "query.h5ad",
        "--condition",
        "batch",
        "--new-programs",
        "2",
        "--reactivate",
        "CELL_TYPE_1",
        "--epochs",
        "3",
        "-o",
        "mapped.h5ad",
        "--save-model",
        "mapped.scgraft",
        "--adaptor-out",
        "query.adaptor",
        "--json",
    ];
    let told = scgraft(at, &mapping).good().json();
    assert_eq!(told["queries"][0]["trained"], true);
    assert_eq!(told["queries"][0]["new_conditions"], serde_json::json!(["query_1", "query_2"]));
    let new = serde_json::json!(["CELL_TYPE_1_reactivated", "query_new_1", "query_new_2"]);
    assert_eq!(told["queries"][0]["new_programs"], new);

    let annotate = ["annotate", "reference_out.h5ad", "mapped.h5ad", "--labels", "cell_type", "--tsv", "labels.tsv"];
    let run = scgraft(at, &annotate).good();
    assert!(run.stdout.contains("cells are unknown"), "{}", run.stdout);
    assert!(std::fs::read_to_string(at.join("labels.tsv")).unwrap().starts_with("cell\tcell_type_pred"));
    let enrich =
        ["enrich", "mapped.h5ad", "--groups", "condition", "--versus", "control", "--tsv", "test.tsv", "--json"];
    let told = scgraft(at, &enrich).good().json();
    assert_eq!(told["tests"][0]["group"], "stimulated");
    scgraft(at, &["enrich", "mapped.h5ad", "--groups", "cell_type", "--within", "batch", "--min-cells", "2"]).good();

    // All slots are there, and those of the query as they were.
    let mapped = read_h5ad(at.join("mapped.h5ad"), &ReadOptions::default()).unwrap();
    let query = read_h5ad(at.join("query.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!(mapped.x, query.x);
    assert_eq!(mapped.obsm["true_activity"], query.obsm["true_activity"]);
    for (name, column) in &query.obs.columns {
        assert_eq!(mapped.obs.column(name), Some(column));
    }
    let Array::Dense(latent) = &mapped.obsm["X_scgraft"] else { panic!("not a plain matrix") };
    let Array::Dense(weights) = &mapped.varm["scgraft_weights"] else { panic!("not a plain matrix") };
    assert_eq!((latent.n_rows, weights.n_rows), (100, query.n_genes()));
    assert_eq!(latent.n_cols, weights.n_cols);
    let Uns::Map(notes) = &mapped.uns["scgraft"] else { panic!("no notes") };
    let Uns::Texts(programs) = &notes["programs"] else { panic!("no names") };
    assert_eq!(programs.len(), latent.n_cols);
    let Uns::Map(tests) = &notes["tests"] else { panic!("no tests") };
    assert_eq!(tests.keys().collect::<Vec<_>>(), ["cell_type versus rest within batch", "condition versus control"]);
    for column in ["cell_type_pred", "cell_type_best", "cell_type_uncertainty", "scgraft_distance"] {
        assert!(mapped.obs.column(column).is_some(), "{column}");
    }

    // The adaptor on the reference is the mapped model.
    let reference = Model::load(at.join("reference.scgraft")).unwrap();
    let adaptor = Adaptor::load(at.join("query.adaptor")).unwrap();
    let attached = reference.attach(&[adaptor]).unwrap();
    let saved = Model::load(at.join("mapped.scgraft")).unwrap();
    assert_eq!(attached.reference_hash(), saved.reference_hash());
    assert_eq!(attached.header, saved.header);

    for (file, word) in [
        ("mapped.scgraft", "graft `query`"),
        ("query.adaptor", "an adaptor of a reference (expimap)"),
        ("mapped.h5ad", "X_scgraft"),
        ("labels.tsv", ""),
    ] {
        let run = scgraft(at, &["inspect", file]);
        match word {
            "" => run.says(&["nor is it a model or an adaptor"]),
            word => assert!(run.good().stdout.contains(word), "{file}"),
        }
    }
    let told = scgraft(at, &["programs", "mapped.scgraft", "--all", "--json", "--tsv", "genes.tsv"]).good().json();
    assert_eq!(told["programs"].as_array().unwrap().len(), programs.len());

    let umap = ["plot", "umap", "mapped.h5ad", "--reference", "reference_out.h5ad", "--color", "cell_type,query_new_1"];
    // The reference is grey where only the query has the program.
    scgraft(at, &[&umap[..], &["-o", "umap.png"]].concat()).good();
    scgraft(at, &["plot", "bayes", "mapped.h5ad", "--test", "condition versus control", "-o", "b.svg"]).good();
    // Of several tests the one that a report shows first, and it is said that there are others.
    let first = scgraft(at, &["plot", "bayes", "mapped.h5ad", "-o", "first.svg"]).good();
    assert!(first.stderr.contains("of the test `condition versus control`; --test takes another"), "{}", first.stderr);
    assert_eq!(std::fs::read(at.join("first.svg")).unwrap(), std::fs::read(at.join("b.svg")).unwrap());
    scgraft(at, &["plot", "training", "mapped.h5ad", "-o", "t.svg"]).good();
    scgraft(
        at,
        &["plot", "scores", "mapped.h5ad", "CELL_TYPE_1", "CELL_TYPE_2", "--color", "condition", "-o", "s.png"],
    )
    .good();
    scgraft(at, &["plot", "genes", "mapped.scgraft", "CELL_TYPE_1", "-o", "g.svg"]).good();
    let report =
        ["report", "mapped.h5ad", "--reference", "reference_out.h5ad", "--model", "mapped.scgraft", "-o", "r.html"];
    scgraft(at, &report).good();
    for name in ["umap_cell_type.png", "umap_query_new_1.png", "b.svg", "t.svg", "s.png", "g.svg", "r.html"] {
        assert!(std::fs::metadata(at.join(name)).unwrap().len() > 1000, "{name}");
    }
    assert!(names(at).iter().all(|n| !n.contains("partial") && !n.contains("tmp")), "{:?}", names(at));
    // The first screen names genes of each leading program, of its own gene set.
    let page = std::fs::read_to_string(at.join("r.html")).unwrap();
    let sets = std::fs::read_to_string(WORLD.folder.join("programs.gmt")).unwrap();
    let (_, leading) = page.split_once("class=\"leading\"").unwrap();
    let mut named = 0;
    for line in leading.split_once("</ul>").unwrap().0.split("</li>") {
        let Some((_, line)) = line.split_once("data-color=\"") else { continue };
        let (program, said) = line.split_once('"').unwrap();
        let Some(set) = sets.lines().find(|l| l.starts_with(&format!("{program}\t"))) else { continue };
        let genes = said.rsplit_once(": ").unwrap().1.split('<').next().unwrap();
        let of_set: Vec<&str> = set.split('\t').skip(2).collect();
        assert!(genes.split(", ").count() == 5 && genes.split(", ").all(|g| of_set.contains(&g)), "{program}: {genes}");
        named += 1;
    }
    assert!(named > 0, "{leading:.500}");
}

#[test]
fn a_query_that_the_reference_knows_is_encoded_without_training() {
    let folder = folder_with(&["reference.h5ad", "reference_out.h5ad", "reference.scgraft"]);
    let told = scgraft(folder.path(), &["map", "reference.scgraft", "reference.h5ad", "-o", "again.h5ad", "--json"]);
    let told = told.good().json();
    assert_eq!(told["queries"][0]["trained"], false);
    let read = |name: &str| read_h5ad(folder.path().join(name), &ReadOptions::default()).unwrap();
    assert_eq!(read("again.h5ad").obsm["X_scgraft"], read("reference_out.h5ad").obsm["X_scgraft"]);
}

#[test]
fn compat_takes_the_published_settings_but_for_those_given() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let at = folder.path();
    let published = ["-o", "m.scgraft", "--compat", "scarches", "--set", "lasso_anneal=true"];
    scgraft(at, &train("reference.h5ad", &published)).good();
    let told = scgraft(at, &["inspect", "m.scgraft", "--json"]).good().json();
    assert_eq!(told["settings"]["gene_set_start"], false);
    assert_eq!(told["settings"]["lasso_anneal"], true);
    assert_eq!(told["provenance"]["training"]["stratified"], true);
}

#[test]
fn several_queries_get_an_adaptor_each() {
    let folder = folder_with(&["reference.scgraft", "query.h5ad"]);
    let at = folder.path();
    std::fs::copy(at.join("query.h5ad"), at.join("other.h5ad")).unwrap();
    let both = [
        "map",
        "reference.scgraft",
        "query.h5ad",
        "other.h5ad",
        "-o",
        "a.h5ad",
        "-o",
        "b.h5ad",
        "--epochs",
        "1",
        "--condition",
        "batch",
    ];
    // Twice the same conditions: each file is written, but together they make no model.
    scgraft(at, &[&both[..], &["--save-model", "both.scgraft"]].concat()).says(&["query_1"]);
    scgraft(at, &both).good();
    scgraft(at, &both[..6]).says(&["2 queries"]);
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    for threads in ["1", "3"] {
        scgraft(folder.path(), &train("reference.h5ad", &["-o", threads, "--threads", threads])).good();
    }
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(bytes("1") == bytes("3"));
    assert!(bytes("1") == std::fs::read(WORLD.folder.join("reference.scgraft")).unwrap());
}

#[test]
fn several_files_are_one_reference() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let at = folder.path();
    let all = read_h5ad(at.join("reference.h5ad"), &ReadOptions::default()).unwrap();
    let batch: Vec<String> = all.obs.column("batch").unwrap().texts().into_iter().flatten().collect();
    let mut levels = batch.clone();
    levels.sort();
    levels.dedup();
    let rows: Vec<Vec<usize>> =
        levels.iter().map(|level| (0..batch.len()).filter(|&i| batch[i] == *level).collect()).collect();
    let write = |name: &str, cells: &Cells| write_h5ad(at.join(name), cells, &WriteOptions::default()).unwrap();
    write("one.h5ad", &all.select_cells(&rows.concat()));
    let files: Vec<String> = levels.iter().map(|level| format!("{level}.h5ad")).collect();
    rows.iter().zip(&files).for_each(|(rows, file)| write(file, &all.select_cells(rows)));
    // The same cells in the same order: the same model, to the bit.
    scgraft(at, &train("one.h5ad", &["-o", "one.scgraft", "--embed", "one_out.h5ad"])).good();
    let others: Vec<&str> = files[1..].iter().map(String::as_str).collect();
    let more = [&others[..], &["-o", "many.scgraft", "--embed", "many_out.h5ad"]].concat();
    let told = scgraft(at, &train(&files[0], &more)).good().stderr;
    assert!(told.contains(&format!("{} cells of 3 files", batch.len())), "{told}");
    let [one, many] =
        ["one_out.h5ad", "many_out.h5ad"].map(|f| read_h5ad(at.join(f), &ReadOptions::default()).unwrap());
    assert_eq!(one.obsm["X_scgraft"], many.obsm["X_scgraft"]);
    assert_eq!(many.obs.column("scgraft_file").unwrap().texts(), one.obs.column("batch").unwrap().texts());
    // Without a column each file is a condition.
    let fixed = ["--programs", "programs.gmt", "--hidden", "32,32", "--epochs", "1", "-o", "each.scgraft", "--json"];
    let of: Vec<&str> = ["train"].into_iter().chain(files.iter().map(String::as_str)).chain(fixed).collect();
    assert_eq!(scgraft(at, &of).good().json()["conditions"], serde_json::json!(levels));
    // Counts and other values are no one slot.
    let mut half = all.select_cells(&rows[0]);
    half.x = half.x.map(|x| {
        let mut x = x.to_csr();
        x.values.iter_mut().for_each(|v| *v /= 2.0);
        Matrix::Sparse(x)
    });
    write("half.h5ad", &half);
    let more = ["half.h5ad", "-o", "bad.scgraft"];
    scgraft(at, &train(&files[1], &more)).says(&["X: expected expression in every file", "other values in half"]);
}
