//! `scgraft trial`: its numbers are those of the commands it stands for.

use scgraft::cells::Frame;
use scgraft::io::{ReadOptions, read_h5ad, read_table};

use super::{folder_with, scgraft, train};

const CELLS: [&str; 10] = [
    "trial",
    "reference.h5ad",
    "query.h5ad",
    "--batch",
    "batch",
    "--labels",
    "cell_type",
    "--programs",
    "programs.gmt",
    "--hidden=32,32",
];

fn trial<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let epochs = ["--epochs", "4", "--query-epochs", "3", "-o", "runs.tsv"];
    CELLS.into_iter().chain(epochs).chain(more.iter().copied()).collect()
}

fn number(table: &Frame, name: &str, row: usize) -> f64 {
    table.column(name).unwrap_or_else(|| panic!("no {name}")).number(row).unwrap_or(f64::NAN)
}

#[test]
fn the_numbers_of_a_trial_are_those_of_the_commands() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    let ways = ["--surgery", "adaptor,all,together", "--seeds", "7", "--picture", "runs.svg", "--json"];
    let told = scgraft(at, &trial(&ways)).good().json();
    let table = read_table(at.join("runs.tsv")).unwrap();
    assert_eq!(table.index, ["adaptor", "all", "together"]);
    assert_eq!(told["runs"].as_array().unwrap().len(), 3);

    let more = ["-o", "r.scgraft", "--embed", "r.h5ad", "--seed", "7"];
    scgraft(at, &train("reference.h5ad", &more)).good();
    let map = ["map", "r.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "3", "--seed", "7", "--json"];
    let mapped = scgraft(at, &[&map[..], &["-o", "m.h5ad"]].concat()).good().json();
    assert_eq!(number(&table, "trained_values", 0), mapped["queries"][0]["trained_values"].as_f64().unwrap());
    let all = ["-o", "all.h5ad", "--surgery", "all", "--save-model", "all.scgraft"];
    let mapped = scgraft(at, &[&map[..], &all].concat()).good().json();
    assert_eq!(number(&table, "trained_values", 1), mapped["queries"][0]["trained_values"].as_f64().unwrap());
    // The reference lies elsewhere once all weights have trained.
    scgraft(at, &["map", "all.scgraft", "reference.h5ad", "--condition", "batch", "-o", "r_all.h5ad"]).good();

    for (row, reference, query) in [(0, "r.h5ad", "m.h5ad"), (1, "r_all.h5ad", "all.h5ad")] {
        let evaluate = ["evaluate", query, "--reference", reference, "--batch", "batch", "--labels", "cell_type"];
        let scores = scgraft(at, &[&evaluate[..], &["--seed", "7", "--json"]].concat()).good().json();
        let of = &scores["embeddings"][0];
        for (name, value) in [
            ("overall", &of["overall"]),
            ("pc_regression", &of["metrics"]["PC regression"]),
            ("overall_expimap", &of["overall_expimap"]),
            ("query_knn_purity", &of["query"]["Query kNN purity"]),
        ] {
            let (found, wanted) = (number(&table, name, row), value.as_f64().unwrap());
            assert!((found - wanted).abs() < 1e-9, "{row} {name}: {found}, {wanted}");
        }
    }
    scgraft(at, &["annotate", "r.h5ad", "m.h5ad", "--labels", "cell_type", "--across", "batch"]).good();
    let [given, best, unknown] = {
        let obs = read_h5ad(at.join("m.h5ad"), &ReadOptions::tables()).unwrap().obs;
        ["cell_type", "cell_type_best", "cell_type_pred"].map(|c| obs.column(c).unwrap().texts())
    };
    let known: Vec<String> = {
        let obs = read_h5ad(at.join("reference.h5ad"), &ReadOptions::tables()).unwrap().obs;
        obs.column("cell_type").unwrap().texts().into_iter().flatten().collect()
    };
    let cells: Vec<usize> = (0..given.len()).filter(|&i| known.contains(given[i].as_ref().unwrap())).collect();
    let right = cells.iter().filter(|&&i| given[i] == best[i]).count();
    let alarms = cells.iter().filter(|&&i| unknown[i].as_deref() == Some("Unknown")).count();
    assert!((number(&table, "label_accuracy_of_known", 0) - right as f64 / cells.len() as f64).abs() < 1e-9);
    assert!((number(&table, "false_alarms", 0) - alarms as f64 / cells.len() as f64).abs() < 1e-9);
    assert_eq!(number(&table, "new_cells", 0) as usize, given.len() - cells.len());
    assert!(number(&table, "new_cells", 0) > 0.0, "the simulated query has a type of its own");

    let svg = std::fs::read_to_string(at.join("runs.svg")).unwrap();
    assert!(svg.contains("trained values") && svg.contains("together"), "{svg}");
    // The best and the worst of the runs: scaled over all of them.
    let scaled: Vec<f64> = (0..3).map(|i| number(&table, "overall_scarches", i)).collect();
    assert!(scaled.iter().all(|s| (0.0..=1.0).contains(s)), "{scaled:?}");
}

#[test]
fn settings_choose_cells() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    let obs = read_h5ad(at.join("reference.h5ad"), &ReadOptions::tables()).unwrap().obs;
    let count = |column: &str, level: &str| {
        obs.column(column).unwrap().texts().iter().filter(|t| t.as_deref() == Some(level)).count()
    };
    let levels = |column: &str| {
        let mut all: Vec<String> = obs.column(column).unwrap().texts().into_iter().flatten().collect();
        all.sort();
        all.dedup();
        all
    };
    let batches = levels("batch");
    let short = ["--components", "0", "--quiet"];
    let run = |more: &[&str]| {
        let quick = ["--epochs", "1", "--query-epochs", "1", "-o", "runs.tsv"];
        let all: Vec<&str> = CELLS.into_iter().chain(quick).chain(short).chain(more.iter().copied()).collect();
        scgraft(at, &all).good();
        read_table(at.join("runs.tsv")).unwrap()
    };
    let table = run(&["--reference-share", "0.5,1", "--seeds", "1,2"]);
    assert_eq!(table.index, ["0.5", "1", "0.5", "1"]);
    let half: usize = batches.iter().map(|b| count("batch", b).div_ceil(2)).sum();
    assert_eq!((number(&table, "reference_cells", 0) as usize, number(&table, "reference_cells", 1)), (half, 240.0));
    assert!(number(&table, "pc_regression", 0).is_nan(), "left out with --components 0");

    let table = run(&["--reference-batches", "2"]);
    let two = number(&table, "reference_cells", 0) as usize;
    let pairs = batches.iter().flat_map(|a| batches.iter().filter(move |b| *b > a).map(move |b| (a, b)));
    assert!(pairs.into_iter().any(|(a, b)| count("batch", a) + count("batch", b) == two), "{two}");

    let table = run(&["--query-cells", "50"]);
    assert_eq!(number(&table, "query_cells", 0), 50.0);

    let types = levels("cell_type");
    let table = run(&["--hold-out", &types[0]]);
    assert_eq!(number(&table, "reference_cells", 0) as usize, 240 - count("cell_type", &types[0]));
    assert!((0.0..=1.0).contains(&number(&table, "novelty_auroc", 0)));
    assert!((0.0..=1.0).contains(&number(&table, "new_found", 0)));

    let table = run(&["--rare", &types[1], "--label-share", "0.02,0.1"]);
    let others = (240 - count("cell_type", &types[1])) as f64;
    let kept = |share: f64| others + (share / (1.0 - share) * others).round();
    assert_eq!([0, 1].map(|i| number(&table, "reference_cells", i)), [kept(0.02), kept(0.1)]);
    let cells = [0, 1].map(|i| number(&table, "rare_cells", i));
    let all = number(&table, "query_cells", 1);
    assert_eq!(cells[1], (0.1 / 0.9 * (all - cells[1])).round());
    assert!(cells[0] >= 1.0 && (0.0..=1.0).contains(&number(&table, "rare_recall", 1)));
}

#[test]
fn what_cannot_be_tried_is_said() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    scgraft(at, &trial(&["--hold-out", "nothing"])).says(&["`cell_type` has no group `nothing`", "nearest name first"]);
    scgraft(at, &trial(&["--reference-share", "1.5"])).says(&["share of the reference 1.5", "at most 1"]);
    scgraft(at, &trial(&["--reference-batches", "9"])).says(&["batches of the reference 9", "at most 3"]);
    scgraft(at, &trial(&["--label-share", "0.5"])).says(&["--rare LABEL"]);
    let all = ["--rare", "type_1", "--label-share", "1"];
    scgraft(at, &trial(&all)).says(&["`type_1` of a share of 1", "less than 1"]);
    scgraft(at, &trial(&["--from", "reference.scgraft"])).says(&["--from"]);
    assert_eq!(scgraft(at, &trial(&["--query-cells", "5", "--hold-out", "a"])).code, 2, "one thing is varied");
    let one = ["trial", "reference.h5ad", "--query", "batch_0,batch_1,batch_2", "--batch", "batch"];
    let more = ["--labels", "cell_type", "--programs", "programs.gmt", "-o", "x.tsv"];
    let run = scgraft(at, &[&one[..], &more].concat());
    assert_eq!(run.code, 1);
}
