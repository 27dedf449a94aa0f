//! What `inspect` and the first lines of a training say: levels with their cells, programs, gene sets left out.

use scgraft::cells::Column;
use scgraft::io::{ReadOptions, WriteOptions, read_h5ad, write_h5ad};

use super::{folder_with, scgraft, train};

/// How many rows of a column say `level`.
fn count(column: &Column, level: &str) -> u64 {
    column.texts().iter().filter(|t| t.as_deref() == Some(level)).count() as u64
}

#[test]
fn levels_have_their_cells() {
    let folder = folder_with(&["query.h5ad"]);
    let path = folder.path().join("query.h5ad");
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    let n = cells.n_cells();
    cells.obs.set("many", Column::Text((0..n).map(|i| (i % 4 != 0).then(|| format!("g{:02}", i % 25))).collect()));
    cells.obs.set("name", Column::Text((0..n).map(|i| Some(format!("cell {i}"))).collect()));
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    let told = scgraft(folder.path(), &["inspect", "query.h5ad", "--json"]).good().json();
    let types = cells.obs.column("cell_type").unwrap();
    let levels = told["levels"]["cell_type"]["levels"].as_array().unwrap();
    for level in levels {
        assert_eq!(level["cells"], count(types, level["level"].as_str().unwrap()), "{level}");
    }
    assert_eq!(levels.iter().map(|l| l["cells"].as_u64().unwrap()).sum::<u64>(), n as u64);
    assert_eq!((&told["levels"]["many"]["n"], &told["levels"]["many"]["missing"]), (&25.into(), &25.into()));
    let said = scgraft(folder.path(), &["inspect", "query.h5ad"]).good().stdout;
    let first =
        format!("cell_type ({}): {} ({})", levels.len(), levels[0]["level"].as_str().unwrap(), levels[0]["cells"]);
    assert!(said.contains(&first) && said.contains("and 5 more; 25 cells have none"), "{said}");
    assert!(said.contains("name: 100 different texts"), "{said}");
}

#[test]
fn a_model_knows_how_many_cells_it_saw_and_which_sets_it_left_out() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    // Two sets that are too small, one of them nearly large enough.
    let mut gmt = std::fs::read_to_string(at.join("programs.gmt")).unwrap();
    let genes: Vec<String> = gmt.lines().next().unwrap().split('\t').skip(2).map(str::to_owned).collect();
    gmt.push_str(&format!("FAR\t\t{}\tX1\tX2\nNEAR\t\t{}\n", genes[..1].join("\t"), genes[..4].join("\t")));
    std::fs::write(at.join("programs.gmt"), gmt).unwrap();
    let more = ["--labels", "cell_type", "--min-genes", "5", "--all-genes", "-o", "m.scgraft"];
    let run = scgraft(at, &train("reference.h5ad", &more)).good();
    assert!(run.stderr.contains("2 gene sets are left out: fewer than 5 of their genes"), "{}", run.stderr);
    assert!(run.stderr.contains("`NEAR (4 of 4)`, `FAR (1 of 3)`"), "{}", run.stderr);
    let map = ["map", "m.scgraft", "query.h5ad", "--condition-name", "Q/1", "--epochs", "1"];
    let more = ["--save-model", "both.scgraft", "--adaptor-out", "q.adaptor"];
    scgraft(at, &[&map[..], &more].concat()).good();
    let told = scgraft(at, &["inspect", "both.scgraft", "--json"]).good().json();
    let cells = read_h5ad(at.join("reference.h5ad"), &ReadOptions::default()).unwrap();
    let (batches, types) = (cells.obs.column("batch").unwrap(), cells.obs.column("cell_type").unwrap());
    let pairs = |names: &str, sizes: &str| -> Vec<(String, u64)> {
        let names = told[names].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned());
        names.zip(told[sizes].as_array().unwrap().iter().map(|n| n.as_u64().unwrap())).collect()
    };
    let conditions = pairs("conditions", "condition_cells");
    assert_eq!(conditions.last().unwrap(), &("Q/1".to_owned(), 100), "{told}");
    conditions[..conditions.len() - 1].iter().for_each(|(name, n)| assert_eq!(*n, count(batches, name), "{name}"));
    let labels = pairs("labels", "label_cells");
    assert!(!labels.is_empty());
    labels.iter().for_each(|(name, n)| assert_eq!(*n, count(types, name), "{name}"));
    assert_eq!(told["dropped_programs"], serde_json::json!(["FAR: 1 of 3 genes", "NEAR: 4 of 4 genes"]));
    assert!(scgraft(at, &["inspect", "q.adaptor"]).good().stdout.contains("conditions: Q/1 (100 cells)"));
    let mut changed = std::fs::read(at.join("q.adaptor")).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(at.join("changed.adaptor"), changed).unwrap();
    scgraft(at, &["inspect", "changed.adaptor"]).says(&["checksum"]);
    // The graft and the file have the condition's name; a second mapping does not replace what is there.
    assert_eq!(told["grafts"][0]["name"], "Q/1");
    assert!(at.join("Q_1_mapped.h5ad").exists());
    scgraft(at, &map).says(&["Q_1_mapped.h5ad", "--output"]);
}
