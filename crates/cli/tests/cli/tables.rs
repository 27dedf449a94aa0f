//! The columns of every table are those that docs/tables.md lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use scgraft::cells::Column;
use scgraft::io::{ReadOptions, WriteOptions, read_h5ad, write_h5ad};

use super::analysis::mapped;
use super::scgraft;

/// The columns that the document lists, by the heading they stand under.
fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tables.md")).unwrap();
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            section = name.to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let names = row.split(" | ").next().unwrap().split(", ").map(|n| n.trim_matches('`').to_owned());
            out.entry(section.clone()).or_default().extend(names);
        }
    }
    out
}

/// The first line of a table.
fn header(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().next().unwrap().split('\t').map(str::to_owned).collect()
}

#[test]
fn every_column_is_listed_and_every_listed_one_written() {
    let folder = mapped();
    let at = folder.path();
    let path = at.join("mapped.h5ad");
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    cells.obs.set("donor", Column::categorical(&(0..100).map(|i| format!("d{}", i % 3)).collect::<Vec<_>>()));
    cells.obs.set("cluster", Column::categorical(&(0..100).map(|i| format!("c{}", i % 4)).collect::<Vec<_>>()));
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    let listed = listed();
    let pair = "--groups condition --versus control --donors donor";
    let runs = [
        ("enrich", format!("enrich mapped.h5ad {pair} --gene-sets programs.gmt --tsv")),
        ("differential", format!("differential mapped.scgraft query.h5ad --batch batch {pair} --samples 100 --tsv")),
        ("markers", "markers mapped.h5ad --groups condition --tsv".to_owned()),
        ("programs", "programs mapped.scgraft --cells query.h5ad --tsv".to_owned()),
        (
            "programs --against-tsv",
            "programs mapped.scgraft --program CELL_TYPE_1 --against programs.gmt --against-tsv".to_owned(),
        ),
        (
            "annotate",
            "annotate reference_out.h5ad mapped.h5ad --labels cell_type,lineage --nested --coverage 0.9 --majority cluster \
             --truth cell_type --numbers depth --tsv"
                .to_owned(),
        ),
        (
            "evaluate",
            "evaluate mapped.h5ad --reference reference_out.h5ad --batch batch --labels cell_type --tsv".to_owned(),
        ),
        (
            "trial",
            "trial reference_out.h5ad query.h5ad --batch batch --labels cell_type --programs programs.gmt --hidden=8 --seeds 1 \
             --epochs 1 --query-epochs 1 --rare type_1 --label-share 0.5 -o"
                .to_owned(),
        ),
    ];
    // `differential` reads the donors of the query itself.
    let mut query = read_h5ad(at.join("query.h5ad"), &ReadOptions::default()).unwrap();
    query.obs.set("donor", cells.obs.column("donor").unwrap().clone());
    write_h5ad(at.join("query.h5ad"), &query, &WriteOptions::default()).unwrap();
    for (section, command) in runs {
        let words: Vec<&str> = command.split_whitespace().chain(["t.tsv"]).collect();
        scgraft(at, &words).good();
        let plain = |name: String| match section {
            "annotate" => ["cell_type_", "lineage_"]
                .iter()
                .find_map(|l| name.strip_prefix(l).map(|end| format!("L_{end}")))
                .unwrap_or_else(|| name.replace("depth_", "N_")),
            _ => name,
        };
        let found: BTreeSet<String> = header(&at.join("t.tsv")).into_iter().map(plain).collect();
        let mut wanted = listed[section].clone();
        if section == "trial" {
            wanted.extend(listed["evaluate"].iter().filter(|name| *name != "embedding").cloned());
        }
        assert_eq!(found, wanted, "{section}");
        for name in &found {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(section == "annotate" || name.chars().all(is_plain), "{name}");
        }
    }
    for (what, file, first) in [
        ("correlation", "mapped.h5ad", "program"),
        ("overlap", "mapped.scgraft", "program"),
        ("members", "mapped.scgraft", "gene"),
    ] {
        scgraft(at, &["plot", what, file, "--tsv", "t.tsv", "-o", "t.svg"]).good();
        let text = std::fs::read_to_string(at.join("t.tsv")).unwrap();
        assert_eq!(text.split('\t').next(), Some(first), "{what}");
    }
}
