//! The upstream names in the headers of model files are those that importing reads.
#![allow(missing_docs)]

use std::collections::BTreeSet;

use scgraft_models::import::{Source, scarches, scvi_tools};
use scgraft_models::{
    Header, Input, Known, Membership, Model, NewPrograms, Newcomers, Program, Segment, Surgery, find,
};
use serde_json::{Value, json};

fn model(name: &str, settings: Value) -> Model {
    let names = |what: &str, n: usize| (0..n).map(|i| format!("{what}{i}")).collect::<Vec<_>>();
    let entry = find(name).unwrap();
    let given = |input, names| if entry.needs.contains(&input) { names } else { Vec::new() };
    let known = Known {
        genes: names("gene", 6),
        conditions: names("batch", 2),
        labels: given(Input::Labels, names("type", 2)),
        proteins: given(Input::Proteins, names("protein", 2)),
        ..Known::default()
    };
    let programs = vec![Program { name: "p".into(), members: vec![0, 2] }];
    let segment = Segment { origin: None, membership: Membership::Hard, programs };
    let segments = if entry.needs.contains(&Input::Programs) { vec![segment] } else { Vec::new() };
    Model::new(name, &settings, Header { known, segments, grafts: Vec::new() }, 1).unwrap()
}

/// The names of their tensors that a model is read from.
fn read_from(model: &Model, source: fn(&Model, &str) -> Option<Source>) -> BTreeSet<String> {
    let sources: Vec<Source> = model.params.iter().filter_map(|p| source(model, &p.name)).collect();
    sources.iter().flat_map(|s| s.names()).map(str::to_owned).collect()
}

/// The names in the last column of a header's table.
fn written(text: &str) -> Vec<String> {
    let rows = text.lines().filter_map(|l| l.strip_prefix("//! |")).map(|row| row.trim_end_matches('|'));
    let cells = rows.filter_map(|row| row.rsplit('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn hold(file: &str, text: &str, read: &BTreeSet<String>) {
    let names = written(text);
    assert!(names.len() >= 3, "{file}: {names:?}");
    for name in names {
        let part = name.replace('…', "");
        let layers = (0..3).map(|i| part.replace("<i>", &i.to_string()));
        let found = layers.into_iter().any(|part| read.iter().any(|theirs| theirs.contains(&part)));
        assert!(found, "{file}: `{name}` is none of the tensors that are read: {read:?}");
    }
}

#[test]
fn of_scarches() {
    let small = |more: Value| {
        let mut all = json!({ "hidden": [4, 3], "norm": "batch" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let expimap = model("expimap", small(json!({})));
    let new = NewPrograms { constrained: vec![Program { name: "q".into(), members: vec![1] }], soft: true, n_free: 1 };
    let plan = Surgery { programs: Some(new), ..Surgery::adaptor("c") };
    let grafted = expimap.surgery(&plan, &Newcomers::of(["c"]), 1).unwrap();
    let read = read_from(&grafted, scarches::source);
    hold("expimap", include_str!("../src/expimap/mod.rs"), &read);
    hold("encoder", include_str!("../src/encoder.rs"), &read);
    let mut read = read_from(&model("trvae", small(json!({ "likelihood": "zinb" }))), scarches::source);
    read.extend(read_from(&model("trvae", small(json!({ "likelihood": "mse" }))), scarches::source));
    hold("trvae", include_str!("../src/trvae.rs"), &read);
}

#[test]
fn of_scvi_tools() {
    let scvi = json!({ "hidden": [4], "library": "learned", "likelihood": "zinb" });
    let mut by_cell = scvi.clone();
    by_cell["dispersion"] = "gene-cell".into();
    let mut read = read_from(&model("scvi", scvi.clone()), scvi_tools::source);
    read.extend(read_from(&model("scvi", by_cell), scvi_tools::source));
    read.extend(read_from(&model("scvi-linear", scvi.clone()), scvi_tools::source));
    hold("scvi", include_str!("../src/scvi.rs"), &read);
    hold("counts", include_str!("../src/counts.rs"), &read);
    hold("scanvi", include_str!("../src/scanvi.rs"), &read_from(&model("scanvi", scvi), scvi_tools::source));
    let totalvi = json!({ "hidden": [4], "decoder_hidden": [3], "library": "learned", "likelihood": "zinb" });
    let mut read = read_from(&model("totalvi", totalvi), scvi_tools::source);
    // Kept with the data that the model was set up with, not among its tensors.
    read.insert("protein_batch_mask".into());
    hold("totalvi", include_str!("../src/totalvi.rs"), &read);
}
