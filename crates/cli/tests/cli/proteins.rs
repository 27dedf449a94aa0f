//! totalVI, trVAE and CVAE by command line.

use scgraft::cells::{Array, Column, Frame};
use scgraft::io::{ReadOptions, WriteOptions, read_h5ad, write_h5ad};

use super::{folder_with, scgraft};

const PROTEINS: usize = 6;

fn train<'a>(model: &'a str, cells: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["train", cells, "--batch", "batch", "--model", model, "--epochs", "3", "--hvg", "200"];
    fixed.into_iter().chain(["--hidden", "16,12", "--set", "latent=4"]).chain(more.iter().copied()).collect()
}

/// Gives cells of an h5ad a data frame of protein counts; the first batch lacks the last protein.
pub(crate) fn add_proteins(path: &std::path::Path) {
    let mut cells = read_h5ad(path, &ReadOptions::default()).unwrap();
    let batches = cells.obs.column("batch").unwrap().coded().unwrap();
    let mut table = Frame::new(cells.obs.index.clone());
    for p in 0..PROTEINS {
        let count = |i: usize| if p + 1 == PROTEINS && batches.codes[i] == 0 { 0 } else { (i * 7 + p * 5) % 23 };
        table.set(&format!("CD{p}"), Column::Integer((0..cells.n_cells()).map(|i| Some(count(i) as i64)).collect()));
    }
    cells.obsm.insert("protein_expression".into(), Array::Frame(table));
    write_h5ad(path, &cells, &WriteOptions::default()).unwrap();
}

#[test]
fn totalvi_imputes_the_proteins_of_a_query_without() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad"]);
    let at = folder.path();
    scgraft(at, &train("totalvi", "reference.h5ad", &["-o", "no.scgraft"])).says(&["totalvi needs protein counts"]);
    add_proteins(&at.join("reference.h5ad"));
    let mut elsewhere = read_h5ad(at.join("reference.h5ad"), &ReadOptions::default()).unwrap();
    let table = elsewhere.obsm.remove("protein_expression").unwrap();
    elsewhere.obsm.insert("adt".into(), table);
    write_h5ad(at.join("elsewhere.h5ad"), &elsewhere, &WriteOptions::default()).unwrap();
    scgraft(at, &train("totalvi", "elsewhere.h5ad", &["-o", "no.scgraft"]))
        .says(&["hold counts: adt", "--proteins adt"]);
    let wrong = train("totalvi", "reference.h5ad", &["-o", "no.scgraft", "--proteins", "adt"]);
    scgraft(at, &wrong).says(&["`adt`", "protein_expression"]);
    let settings = ["--set", "decoder_hidden=[12]", "-o", "totalvi.scgraft"];
    scgraft(at, &train("totalvi", "reference.h5ad", &settings)).good();
    let denoise = ["proteins", "totalvi.scgraft", "reference.h5ad", "--proteins", "protein_expression", "-o", "d.h5ad"];
    scgraft(at, &denoise).good();

    let map = ["map", "totalvi.scgraft", "query.h5ad", "--epochs", "2", "-o", "q.h5ad", "--save-model", "m.scgraft"];
    scgraft(at, &map).good();
    // A query with the proteins under another key: it is named, with the option that takes them.
    let mut query = read_h5ad(at.join("query.h5ad"), &ReadOptions::default()).unwrap();
    let mut table = Frame::new(query.obs.index.clone());
    table.set("CD1", Column::Integer((0..query.n_cells()).map(|i| Some(i as i64 % 7)).collect()));
    query.obsm.insert("adt".into(), Array::Frame(table));
    write_h5ad(at.join("adt.h5ad"), &query, &WriteOptions::default()).unwrap();
    let run = ["map", "totalvi.scgraft", "adt.h5ad", "--epochs", "1", "-o", "no.h5ad"];
    let said = scgraft(at, &run).good().stderr;
    assert!(said.contains("obsm[\"adt\"]") && said.contains("--proteins adt"), "{said}");
    let impute = ["proteins", "m.scgraft", "query.h5ad", "-o", "imputed.h5ad", "--json"];
    let told = scgraft(at, &impute).good().json();
    assert_eq!(told["proteins"][5], "CD5");
    let imputed = read_h5ad(at.join("imputed.h5ad"), &ReadOptions::default()).unwrap();
    let values = |slot: &str| match &imputed.obsm[slot] {
        Array::Frame(table) => {
            let numbers = |c: &Column| (0..imputed.n_cells()).map(|i| c.number(i).unwrap()).collect::<Vec<_>>();
            table.columns.iter().flat_map(|(_, c)| numbers(c)).collect::<Vec<f64>>()
        }
        other => panic!("{other:?}"),
    };
    let (foreground, total) = (values("scgraft_proteins"), values("scgraft_proteins_total"));
    assert_eq!(foreground.len(), PROTEINS * imputed.n_cells());
    assert!(foreground.iter().zip(&total).all(|(f, t)| 0.0 < *f && f <= t));
    assert!(values("scgraft_proteins_foreground").iter().all(|p| (0.0..=1.0).contains(p)));
    scgraft(at, &[&impute[..], &["--as-condition", "nowhere"]].concat()).says(&["`nowhere`"]);
}

#[test]
fn trvae_and_cvae_train_and_map() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad"]);
    let at = folder.path();
    for model in ["cvae", "trvae"] {
        scgraft(at, &train(model, "reference.h5ad", &["-o", "model.scgraft"])).good();
        let map = ["map", "model.scgraft", "query.h5ad", "--epochs", "2", "-o", "mapped.h5ad"];
        scgraft(at, &map).good();
        let mapped = read_h5ad(at.join("mapped.h5ad"), &ReadOptions::default()).unwrap();
        let Array::Dense(latent) = &mapped.obsm["X_scgraft"] else { panic!("no latent means") };
        assert_eq!((latent.n_rows, latent.n_cols), (100, 4));
    }
    let plain = train("cvae", "reference.h5ad", &["-o", "no.scgraft", "--set", "mmd_weight=1"]);
    scgraft(at, &plain).says(&["mmd_weight", "trvae"]);
    scgraft(at, &["proteins", "model.scgraft", "reference.h5ad", "-o", "no.h5ad"]).says(&["totalvi"]);
}

/// Levels with the efficiency of staining are those of the counts, in conditions that were stained unequally; without it they
/// are not.
#[test]
fn levels_of_proteins_are_those_that_were_measured() {
    let folder = folder_with(&["reference.h5ad"]);
    let at = folder.path();
    let path = at.join("reference.h5ad");
    let mut cells = read_h5ad(&path, &ReadOptions::default()).unwrap();
    let types = cells.obs.column("cell_type").unwrap().coded().unwrap();
    let batches = cells.obs.column("batch").unwrap().coded().unwrap();
    // A protein is carried by the type of its number; the last batch is stained four times as weakly.
    let weak = batches.levels.len() as u32 - 1;
    let count = |i: usize, p: u32| {
        let level = if types.codes[i] == p { 120.0 } else { 12.0 };
        let stained = if batches.codes[i] == weak { 0.25 } else { 1.0 };
        let spread = 0.5 + ((i * 37 + p as usize * 11) % 101) as f64 / 100.0;
        (level * stained * spread).round() as i64
    };
    let n = cells.n_cells();
    let counts: Vec<Vec<i64>> = (0..3).map(|p| (0..n).map(|i| count(i, p)).collect()).collect();
    let mut table = Frame::new(cells.obs.index.clone());
    for (p, values) in counts.iter().enumerate() {
        table.set(&format!("CD{p}"), Column::Integer(values.iter().copied().map(Some).collect()));
    }
    cells.obsm.insert("protein_expression".into(), Array::Frame(table));
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    let train =
        ["train", "reference.h5ad", "--batch", "batch", "--model", "totalvi", "--epochs", "1000", "--hidden", "32"];
    let settings = ["--hvg", "200", "--set", "decoder_hidden=[32]", "--set", "latent=5", "-o", "m.scgraft"];
    scgraft(at, &[&train[..], &settings[..]].concat()).good();
    let levels = |name: &str, more: &[&str]| {
        let run = ["proteins", "m.scgraft", "reference.h5ad", "--proteins", "protein_expression", "-o", name];
        scgraft(at, &[&run[..], more].concat()).good();
        let read = read_h5ad(at.join(name), &ReadOptions::default()).unwrap();
        let Array::Frame(table) = &read.obsm["scgraft_proteins_total"] else { panic!("no table") };
        let mean = |p: usize, last: bool| {
            let own: Vec<usize> = (0..n).filter(|&i| (batches.codes[i] == weak) == last).collect();
            own.iter().map(|&i| table.columns[p].1.number(i).unwrap()).sum::<f64>() / own.len() as f64
        };
        (0..3).map(|p| [mean(p, false), mean(p, true)]).collect::<Vec<_>>()
    };
    let (plain, measured) = (levels("plain.h5ad", &[]), levels("levels.h5ad", &["--efficiency"]));
    for p in 0..3 {
        for (side, last) in [(0, false), (1, true)] {
            let own: Vec<usize> = (0..n).filter(|&i| (batches.codes[i] == weak) == last).collect();
            let truth = own.iter().map(|&i| counts[p][i] as f64).sum::<f64>() / own.len() as f64;
            let share = measured[p][side] / truth;
            assert!((share - 1.0).abs() < 0.1, "CD{p}: {share:.3} of the counts");
            assert!(plain[p][side] / truth > 1.5, "CD{p}: efficiency 1 is the counts' level already");
        }
    }
}
