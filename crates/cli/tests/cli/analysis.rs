//! What a user does after mapping: clusters, pictures, markers, donors, classical enrichment, labels in several ways.

use scgraft::cells::{Array, Column, Uns};
use scgraft::io::{ReadOptions, WriteOptions, read_h5ad, read_table, write_h5ad};

use super::{Run, folder_with, scgraft};

/// A folder with a mapped and annotated query, and reference labels of a second level.
pub(crate) fn mapped() -> tempfile::TempDir {
    let folder = folder_with(&["reference_out.h5ad", "reference.scgraft", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    let path = at.join("reference_out.h5ad");
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    let types = cells.obs.column("cell_type").unwrap().texts();
    let lineage: Vec<&str> =
        types.iter().map(|t| if t.as_deref() == Some("type_1") { "one" } else { "other" }).collect();
    cells.obs.set("lineage", Column::categorical(&lineage));
    cells.obs.set("depth", Column::Real((0..240).map(|i| f64::from(i % 7)).collect()));
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    let mapping = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "3"];
    let more = ["--new-programs", "1", "-o", "mapped.h5ad", "--save-model", "mapped.scgraft"];
    scgraft(at, &[&mapping[..], &more].concat()).good();
    folder
}

fn obs(folder: &std::path::Path, name: &str) -> scgraft::cells::Cells {
    read_h5ad(folder.join(name), &ReadOptions::default()).unwrap()
}

#[test]
fn clusters_pictures_and_markers() {
    let folder = mapped();
    let at = folder.path();
    let go = |arguments: &[&str]| -> Run { scgraft(at, arguments).good() };
    let told =
        go(&["cluster", "reference_out.h5ad", "--resolution", "0.1,1", "--labels", "cell_type", "--graph", "--json"]);
    let clusterings = told.json()["clusterings"].clone();
    assert!(clusterings[0]["clusters"].as_u64() < clusterings[1]["clusters"].as_u64(), "{clusterings}");
    let louvain = go(&["cluster", "reference_out.h5ad", "--algorithm", "louvain", "--key", "groups", "--json"]).json();
    assert_eq!(louvain["clusterings"][0]["column"], "groups");
    let cells = obs(at, "reference_out.h5ad");
    assert!(cells.obs.column("leiden_0.1").is_some() && cells.obs.column("groups").is_some());
    assert_eq!(cells.obsp["distances"].indptr[1], 14);
    assert!(cells.uns.contains_key("neighbors"));

    go(&["umap", "reference_out.h5ad"]);
    go(&["umap", "mapped.h5ad", "--reference", "reference_out.h5ad"]);
    let (reference, query) = (obs(at, "reference_out.h5ad"), obs(at, "mapped.h5ad"));
    let (Array::Dense(below), Array::Dense(above)) = (&reference.obsm["X_scgraft_umap"], &query.obsm["X_scgraft_umap"])
    else {
        panic!("not plain")
    };
    // Query cells are placed within the reference's picture.
    for j in 0..2 {
        let (low, high) = below.column(j).iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        assert!(above.column(j).iter().all(|&v| v > low - 2.0 && v < high + 2.0));
    }
    // The picture drawn is the stored one.
    let draw = ["plot", "umap", "mapped.h5ad", "--reference", "reference_out.h5ad", "--color", "cell_type", "-o"];
    go(&[&draw[..], &["a.svg", "--size", "500x400"]].concat());
    go(&[&draw[..], &["b.svg", "--size", "500x400", "--seed", "9"]].concat());
    let read = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
    assert_eq!(read("a.svg"), read("b.svg"));
    assert!(read("a.svg").contains("500"));
    scgraft(at, &["umap", "mapped.h5ad", "--reference", "query.h5ad"]).says(&["X_scgraft"]);

    let told =
        go(&["markers", "mapped.h5ad", "--groups", "condition", "--versus", "control", "--tsv", "m.tsv", "--json"]);
    assert_eq!(told.json()["markers"][0]["group"], "stimulated");
    let table = read_table(at.join("m.tsv")).unwrap();
    assert_eq!(table.len(), 500);
    scgraft(at, &["markers", "mapped.h5ad", "--groups", "condition", "--group", "stim"]).says(&["`stimulated`"]);

    // Scanpy finds the ranked genes and the picture where it looks.
    let mapped = obs(at, "mapped.h5ad");
    let Some(Uns::Map(ranked)) = mapped.uns.get("rank_genes_groups") else { panic!("no ranked genes") };
    let Some(Uns::Map(params)) = ranked.get("params") else { panic!("no parameters") };
    assert_eq!(
        (&params["groupby"], &params["reference"]),
        (&Uns::Text("condition".into()), &Uns::Text("control".into()))
    );
    for (field, column) in
        [("names", "gene"), ("scores", "score"), ("pvals", "p_value"), ("logfoldchanges", "log2_fold_change")]
    {
        let Some(Uns::Records(groups)) = ranked.get(field) else { panic!("no {field}") };
        assert_eq!((groups.len(), groups[0].0.as_str()), (1, "stimulated"));
        let listed = table.column(column).unwrap();
        for i in [0, 1, 499] {
            assert_eq!(groups[0].1.text(i), listed.text(i), "{field}");
        }
    }
    let Some(Uns::Frame(shares)) = ranked.get("pts") else { panic!("no shares") };
    let gene = table.column("gene").unwrap().text(0).unwrap();
    let row = shares.index.iter().position(|g| *g == gene).unwrap();
    for (group, column) in [("stimulated", "share_group"), ("control", "share_comparison")] {
        assert_eq!(shares.column(group).unwrap().number(row), table.column(column).unwrap().number(0));
    }
    assert!(!ranked.contains_key("pts_rest"));
    assert_eq!(mapped.obsm["X_umap"], mapped.obsm["X_scgraft_umap"]);
    let bytes = std::fs::read(at.join("mapped.h5ad")).unwrap();
    go(&["markers", "mapped.h5ad", "--groups", "cell_type", "--no-update"]);
    assert_eq!(std::fs::read(at.join("mapped.h5ad")).unwrap(), bytes);
    // A picture of the file's own stays, one of ours follows.
    let mut own = obs(at, "reference_out.h5ad");
    go(&["umap", "reference_out.h5ad", "--seed", "5"]);
    let again = obs(at, "reference_out.h5ad");
    assert_ne!(again.obsm["X_scgraft_umap"], own.obsm["X_scgraft_umap"]);
    assert_eq!(again.obsm["X_umap"], again.obsm["X_scgraft_umap"]);
    own.uns.remove("scgraft");
    own.obsm.remove("X_scgraft_umap");
    let theirs = own.obsm["X_umap"].clone();
    write_h5ad(at.join("own.h5ad"), &own, &WriteOptions::default()).unwrap();
    let run = go(&["umap", "own.h5ad"]);
    assert!(run.stderr.contains("is the file's own and stays"), "{}", run.stderr);
    assert_eq!(obs(at, "own.h5ad").obsm["X_umap"], theirs);
}

#[test]
fn donors_and_classical_tests_stand_beside_the_bayes_factors() {
    let folder = mapped();
    let at = folder.path();
    let path = at.join("mapped.h5ad");
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    cells.obs.set("donor", Column::categorical(&(0..100).map(|i| format!("d{}", i % 3)).collect::<Vec<_>>()));
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    let test = ["enrich", "mapped.h5ad", "--groups", "condition", "--versus", "control"];
    let more = ["--donors", "donor", "--paired", "--gene-sets", "programs.gmt", "--tsv", "t.tsv"];
    let run = scgraft(at, &[&test[..], &more].concat()).good();
    assert!(
        run.stdout.contains("by donor (3 donors with cells on both sides, paired t test)")
            && run.stdout.contains("p CERNO"),
        "{}",
        run.stdout
    );
    let table = read_table(at.join("t.tsv")).unwrap();
    let number = |column: &str, i: usize| table.column(column).unwrap().number(i);
    for i in 0..table.len() {
        assert!(number("donor_low", i).unwrap() <= number("donor_high", i).unwrap());
    }
    // The strongest stimulated program by a rank test is one of those planted, and is up.
    let truth: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(super::WORLD.folder.join("truth.json")).unwrap()).unwrap();
    let strongest = (0..table.len())
        .max_by(|&a, &b| number("camera_t", a).unwrap_or(0.0).total_cmp(&number("camera_t", b).unwrap_or(0.0)))
        .unwrap();
    let name = table.column("program").unwrap().text(strongest).unwrap();
    assert!(truth.to_string().contains(&name) && number("set_auroc", strongest).unwrap() > 0.6, "{name}");
    let missing = [&test[..], &["--donors", "patient"]].concat();
    scgraft(at, &missing).says(&["`patient`", "`donor`"]);

    let told =
        scgraft(at, &["programs", "mapped.scgraft", "--program", "CELL_TYPE_1", "--against", "programs.gmt", "--json"]);
    let told = told.good().json();
    assert_eq!(told["against"][0]["sets"][0]["set"], "CELL_TYPE_1", "a program is closest to its own gene set");
}

#[test]
fn directions_by_every_rule_and_how_clear_they_are() {
    let folder = mapped();
    let at = folder.path();
    let test = ["enrich", "mapped.h5ad", "--groups", "condition", "--versus", "control", "--no-update"];
    let run = scgraft(at, &test).good();
    assert!(run.stdout.contains("its genes") && run.stdout.contains("clear"), "{}", run.stdout);
    let programs = scgraft(at, &["programs", "mapped.scgraft", "--json"]).good().json();
    for rule in ["top", "sum", "counts"] {
        let more = ["--direction", rule, "--tsv", "t.tsv", "--json"];
        let told = scgraft(at, &[&test[..], &more].concat()).good().json();
        let rows = told["tests"][0]["programs"].as_array().unwrap();
        for row in rows {
            let program =
                programs["programs"].as_array().unwrap().iter().find(|p| p["name"] == row["program"]).unwrap();
            let by = &program["directions"][rule];
            assert_eq!((&row["direction"], &row["direction_confidence"]), (&by["sign"], &by["confidence"]), "{rule}");
            let up = row["log_bayes_factor"].as_f64().unwrap() > 0.0;
            assert_eq!(row["genes"] == "up", up && by["sign"] != 0, "{row}");
        }
        let table = read_table(at.join("t.tsv")).unwrap();
        assert!(table.column("direction_confidence").unwrap().number(0).is_some());
        let draw = ["plot", "violin", "mapped.h5ad", "CELL_TYPE_1", "--groups", "cell_type", "--direction", rule];
        scgraft(at, &[&draw[..], &["-o", "v.svg"]].concat()).good();
    }
    // The list is as long as asked for and says how to see the rest; of a program that is named all is told.
    let list = scgraft(at, &["programs", "mapped.scgraft", "--rows", "3"]).good().stdout;
    assert!(list.lines().nth(5).is_some_and(|l| l.contains("--rows ") && l.contains("--all")), "{list}");
    let one = scgraft(at, &["programs", "mapped.scgraft", "--program", "CELL_TYPE_[1]"]);
    one.says(&["CELL_TYPE_[1]", "`CELL_TYPE_1`"]);
    let one = scgraft(at, &["programs", "mapped.scgraft", "--program", "*TYPE_1", "--top", "3"]).good().stdout;
    assert!(one.starts_with("CELL_TYPE_1\n  weight ") && one.contains("by sum") && one.contains("entropy"), "{one}");
    assert_eq!(one.lines().nth(2).unwrap().split_whitespace().count(), 3, "{one}");
    let one = scgraft(at, &["programs", "mapped.scgraft", "--direction", "counts"]).good();
    assert!(one.stdout.contains("by counts") && !one.stdout.contains("by sum"), "{}", one.stdout);
    // A file that holds one rule only.
    let path = at.join("mapped.h5ad");
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    let Some(Uns::Map(notes)) = cells.uns.get_mut("scgraft") else { panic!("no notes") };
    notes.remove("direction_sum");
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    scgraft(at, &[&test[..], &["--direction", "sum"]].concat()).says(&["mapped.h5ad", "`sum`", "again"]);
}

#[test]
fn labels_nested_calibrated_and_compared() {
    let folder = mapped();
    let at = folder.path();
    let annotate = ["annotate", "reference_out.h5ad", "mapped.h5ad", "--labels"];
    let more = ["cell_type,lineage", "--nested", "--unknown", "0.2", "--numbers", "depth", "--truth", "cell_type"];
    let told = scgraft(at, &[&annotate[..], &more, &["--json"]].concat()).good().json();
    assert_eq!(told["labels"][0]["truth"]["column"], "cell_type");
    assert!(told["labels"][0]["truth"]["accuracy"].as_f64().unwrap() > 0.4);
    let total: u64 = told["nested"].as_array().unwrap().iter().map(|n| n["cells"].as_u64().unwrap()).sum();
    assert_eq!(total, 100);
    let cells = obs(at, "mapped.h5ad");
    for column in ["cell_type_nested", "cell_type_nested_column", "lineage_pred", "depth_pred", "depth_sd"] {
        assert!(cells.obs.column(column).is_some(), "{column}");
    }
    for method in ["temperature", "isotonic"] {
        let more = ["cell_type", "--calibrate", method, "--calibrate-across", "batch"];
        scgraft(at, &[&annotate[..], &more].concat()).good();
    }
    // Turned round, a lineage has several types as parents.
    let turned = [&annotate[..], &["lineage,cell_type", "--nested"]].concat();
    scgraft(at, &turned).says(&["two parents", "finest"]);
    scgraft(at, &[&annotate[..], &["cell_type", "--numbers", "batch"]].concat()).says(&["`batch`", "no number"]);

    for (what, more) in [
        ("violin", vec!["mapped.h5ad", "CELL_TYPE_1", "--groups", "cell_type", "--split", "condition"]),
        ("heatmap", vec!["mapped.h5ad", "--groups", "cell_type"]),
        ("dots", vec!["mapped.h5ad", "--groups", "cell_type", "--program", "CELL_TYPE_1,CELL_TYPE_2"]),
        ("confusion", vec!["mapped.h5ad", "--labels", "cell_type"]),
        ("sankey", vec!["mapped.h5ad", "--labels", "cell_type", "--truth", "cell_type"]),
        ("reliability", vec!["mapped.h5ad", "--labels", "cell_type"]),
    ] {
        let file = format!("{what}.svg");
        scgraft(at, &[&["plot", what][..], &more, &["-o", &file]].concat()).good();
        assert!(std::fs::metadata(at.join(file)).unwrap().len() > 2000, "{what}");
    }
    // In the colours that the file has for its labels.
    let mut cells = read_h5ad(at.join("mapped.h5ad"), &ReadOptions::default()).unwrap();
    let Some(Column::Categorical { categories, .. }) = cells.obs.column("cell_type") else { panic!("no labels") };
    let own: Vec<String> = (0..categories.len()).map(|i| format!("#a1b2c{i}")).collect();
    cells.uns.insert("cell_type_colors".into(), Uns::Texts(own));
    write_h5ad(at.join("mapped.h5ad"), &cells, &WriteOptions::default()).unwrap();
    for more in [["violin", "CELL_TYPE_1", "--groups"].as_slice(), &["sankey", "--labels"]] {
        let words = [&["plot", more[0], "mapped.h5ad"], &more[1..], &["cell_type", "-o", "own.svg"]].concat();
        scgraft(at, &words).good();
        assert!(std::fs::read_to_string(at.join("own.svg")).unwrap().contains("#a1b2c1"), "{more:?}");
    }
    scgraft(at, &["plot", "confusion", "query.h5ad", "--labels", "cell_type", "-o", "x.svg"]).says(&["annotate"]);
    let small = ["plot", "heatmap", "mapped.h5ad", "--groups", "cell_type", "-o", "x.svg", "--size", "20x20"];
    scgraft(at, &small).says(&["20"]);
    let report =
        ["report", "mapped.h5ad", "--reference", "reference_out.h5ad", "--groups", "condition", "-o", "r.html"];
    scgraft(at, &report).good();
    let page = std::fs::read_to_string(at.join("r.html")).unwrap();
    assert!(page.contains("How often a label is right"), "no reliability curve");
    assert!(page.contains("Programs by condition"), "no heat map of programs");
    assert!(page.contains("query gene programs") && !page.contains("Deep generative modeling"), "the model's citation");
}

#[test]
fn bad_input_of_every_analysis_is_named() {
    let folder = mapped();
    let at = folder.path();
    let path = at.join("mapped.h5ad");
    let bad = |arguments: &[&str], words: &[&str]| scgraft(at, arguments).says(words);
    // More neighbours than cells.
    bad(
        &["annotate", "reference_out.h5ad", "mapped.h5ad", "--labels", "cell_type", "--k", "500"],
        &["k = 500", "lower k"],
    );
    bad(&["cluster", "mapped.h5ad", "--k", "500"], &["500", "lower k"]);
    bad(&["umap", "mapped.h5ad", "--k", "500"], &["500", "lower k"]);
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    // Groups of one level, of one cell, without a cell, and an empty column.
    cells.obs.set("one", Column::categorical(&vec!["all"; 100]));
    cells.obs.set("alone", Column::categorical(&(0..100).map(|i| if i == 0 { "a" } else { "b" }).collect::<Vec<_>>()));
    cells.obs.set("nothing", Column::Text(vec![None; 100]));
    let codes = (0..100).map(|i| i % 2).collect();
    let categories = ["a", "b", "empty"].map(str::to_owned).to_vec();
    cells.obs.set("spare", Column::Categorical { codes, categories, ordered: false });
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    bad(&["markers", "mapped.h5ad", "--groups", "one"], &["`one`", "1 level"]);
    bad(&["markers", "mapped.h5ad", "--groups", "alone"], &["`a`", "1 cell"]);
    bad(&["markers", "mapped.h5ad", "--groups", "nothing"], &["`nothing`", "empty"]);
    bad(
        &["plot", "umap", "mapped.h5ad", "--color", "nothing", "-o", "u.svg"],
        &["`nothing`", "has no value in any cell"],
    );
    bad(&["plot", "metrics", "mapped.h5ad", "-o", "m.svg"], &["mapped.h5ad", "not a table", "evaluate --tsv"]);
    bad(&["enrich", "mapped.h5ad", "--groups", "one", "--no-update"], &["`one`", "1 level"]);
    bad(&["enrich", "mapped.h5ad", "--groups", "spare", "--versus", "empty", "--no-update"], &["empty", "spare"]);
    bad(&["enrich", "mapped.h5ad", "--groups", "alone", "--group", "a", "--no-update"], &["`a`"]);
    // A category that no cell has is no group.
    scgraft(at, &["enrich", "mapped.h5ad", "--groups", "spare", "--no-update"]).good();
    scgraft(at, &["plot", "heatmap", "mapped.h5ad", "--groups", "spare", "-o", "h.svg"]).good();
    // A latent mean that is not a number, wherever it is met first.
    let Some(Array::Dense(latent)) = cells.obsm.get_mut("X_scgraft") else { panic!("no embedding") };
    latent.row_mut(5)[2] = f32::NAN;
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    for arguments in [
        &["annotate", "reference_out.h5ad", "mapped.h5ad", "--labels", "cell_type"][..],
        &["enrich", "mapped.h5ad", "--groups", "condition", "--no-update"],
        &["cluster", "mapped.h5ad"],
        &["umap", "mapped.h5ad"],
    ] {
        bad(arguments, &["X_scgraft", "row 5", "column 2", "expected a finite number"]);
    }
}

#[test]
fn unknown_cells_are_no_type_to_compare_within() {
    let folder = mapped();
    let at = folder.path();
    let types: Vec<&str> = (0..100).map(|i| if i % 3 == 0 { "Unknown" } else { "known" }).collect();
    for name in ["mapped.h5ad", "query.h5ad"] {
        let mut cells = obs(at, name);
        cells.obs.set("type", Column::categorical(&types));
        write_h5ad(at.join(name), &cells, &WriteOptions::default()).unwrap();
    }
    for of in [&["enrich", "mapped.h5ad"][..], &["differential", "mapped.scgraft", "query.h5ad", "--batch", "batch"]] {
        let more = ["--groups", "condition", "--versus", "control", "--within", "type", "--tsv", "t.tsv"];
        let run = scgraft(at, &[of, &more].concat()).good();
        assert!(run.stderr.contains("34 cells have no `type` and are left out"), "{}", run.stderr);
        let text = std::fs::read_to_string(at.join("t.tsv")).unwrap();
        assert!(text.contains("\tknown\t") && !text.contains("Unknown"), "{text}");
    }
}

#[test]
fn differences_within_levels_are_those_of_their_cells_alone() {
    let folder = mapped();
    let at = folder.path();
    let cells = obs(at, "query.h5ad");
    let levels = cells.obs.column("cell_type").unwrap().texts();
    // A level of few cells beside one of many.
    let few: Vec<String> =
        (0..100).map(|i| if i % 20 == 0 { "few".to_owned() } else { levels[i].clone().unwrap() }).collect();
    let mut whole = cells.clone();
    whole.obs.set("level", Column::categorical(&few));
    write_h5ad(at.join("query.h5ad"), &whole, &WriteOptions::default()).unwrap();
    let test = ["differential", "mapped.scgraft", "query.h5ad", "--batch", "batch", "--groups", "condition"];
    let more = ["--versus", "control", "--samples", "200", "--within", "level", "--tsv", "all.tsv", "--json"];
    let run = scgraft(at, &[&test[..], &more].concat()).good();
    assert!(run.stderr.contains("in `few` is left out"), "{}", run.stderr);
    let told = run.json();
    let within: Vec<&str> =
        told["comparisons"].as_array().unwrap().iter().map(|c| c["within"].as_str().unwrap()).collect();
    let level = *within.first().unwrap();
    let kept: Vec<usize> = (0..100).filter(|&i| few[i] == level).collect();
    write_h5ad(at.join("query.h5ad"), &whole.select_cells(&kept), &WriteOptions::default()).unwrap();
    let more = ["--versus", "control", "--samples", "200", "--tsv", "some.tsv"];
    scgraft(at, &[&test[..], &more].concat()).good();
    let rows = |name: &str, within: &str| -> Vec<String> {
        let text = std::fs::read_to_string(at.join(name)).unwrap();
        let within = format!("\t{within}\t");
        text.lines().filter(|l| l.contains(&within)).map(|l| l.replacen(&within, "\t", 1)).collect()
    };
    assert_eq!(rows("all.tsv", level), rows("some.tsv", "all cells"));
    assert!(rows("some.tsv", "all cells").len() > 100);
}
