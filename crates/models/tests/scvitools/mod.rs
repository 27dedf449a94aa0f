//! What the golden tests of scvi-tools' models share: cells, names, and the comparison of loss terms, gradients and
//! ten training steps.

use scgraft_cells::{
    Array, Cells, Column, ConditionSource, Csr, Dense, Frame, Kind, Matrix, PrepareOptions, Prepared, ProteinSource,
};
use scgraft_engine::{Adam, AdamConfig, Grads, Noise};
use scgraft_models::import::scvi_tools;
use scgraft_models::{Batch, Known, Model, Newcomers, Surgery};
use serde_json::{Value, json};

use crate::support::{Golden, Ours, assert_close, read_source, single, transpose, with_weights};
pub use crate::support::{pass, relative};

/// The golden file's cells, prepared: for a reference, or for the model that a query is grafted on.
pub fn prepared(g: &Golden, reference: Option<&Model>) -> Prepared {
    let (cells, genes) = (g.shape("data.x")[0], g.shape("data.x")[1]);
    let mut x = Csr { n_rows: cells, n_cols: genes, indptr: vec![0], ..Csr::default() };
    for c in 0..cells {
        for (gene, &v) in g.slice("data.x", c).iter().enumerate().filter(|(_, v)| **v != 0.0) {
            x.indices.push(gene as u32);
            x.values.push(v as f32);
        }
        x.indptr.push(x.indices.len());
    }
    let mut obs = Frame::new((0..cells).map(|i| format!("cell{i}")).collect());
    let coded = |key: &str, column: usize| -> Vec<String> {
        let (values, width) = (g.values(key), g.values(key).len() / cells);
        (0..cells).map(|c| format!("{}", values[c * width + column])).collect()
    };
    obs.set("condition", Column::categorical(&coded("data.condition", 0)));
    obs.set("label", Column::categorical(&coded("data.label", 0)));
    let mut options = PrepareOptions {
        condition: ConditionSource::Columns(vec!["condition".into()]),
        label: Some("label".into()),
        unlabelled: g.settings["unlabelled_code"].as_u64().map(|k| k.to_string()),
        kind: if g.settings["gene_likelihood"] == "normal" { Kind::LogNormalised } else { Kind::Counts },
        ..PrepareOptions::default()
    };
    if g.has("data.categorical") {
        for j in 0..g.shape("data.categorical")[1] {
            obs.set(&format!("cat{j}"), Column::categorical(&coded("data.categorical", j)));
            options.covariates.push(format!("cat{j}"));
        }
        let width = g.shape("data.continuous")[1];
        for j in 0..width {
            let values = (0..cells).map(|c| g.values("data.continuous")[c * width + j]).collect();
            obs.set(&format!("cont{j}"), Column::Real(values));
            options.continuous.push(format!("cont{j}"));
        }
    }
    let var = Frame::new((0..genes).map(|i| format!("gene{i}")).collect());
    let mut cells = Cells::new(Matrix::Sparse(x), obs, var);
    if g.has("data.protein") {
        let shape = g.shape("data.protein");
        let counts = Dense::new(shape[0], shape[1], single(g.values("data.protein")));
        cells.obsm.insert("protein".into(), Array::Dense(counts));
        options.proteins = Some(ProteinSource { obsm: "protein".into(), names: None });
    }
    match reference {
        Some(model) => {
            if model.header.labels.is_empty() {
                options.label = None;
            }
            Prepared::query(&cells, &model.header.known, &options).unwrap()
        }
        None => Prepared::reference(&cells, None, &options).unwrap(),
    }
}

/// The settings of a class, in our names; dropout is off in golden files.
pub fn settings(g: &Golden, class: &str) -> Value {
    let mut out = scvi_tools::settings(class, (1, 4, 2), &g.settings).unwrap();
    out["dropout"] = json!(0.0);
    out["frozen_norm_by_batch"] = json!(true);
    out
}

/// Our tensor's values from upstream's under a prefix.
pub fn ours(g: &Golden, model: &Model, prefix: &str, name: &str) -> Option<Vec<f64>> {
    let source = scvi_tools::source(model, name).unwrap_or_else(|| panic!("`{name}` has no upstream name"));
    read_source(g, prefix, &source)
}

/// The model with upstream's weights, and the golden file's cells prepared for it.
pub fn model(g: &Golden, name: &str, config: &Value, with_labels: bool, ours: &Ours<'_>) -> (Model, Prepared) {
    let n_reference = g.settings["n_batch"].as_u64().unwrap() as usize;
    let n_total = g.settings["n_batch_total"].as_u64().map_or(n_reference, |n| n as usize);
    let (model, data) = if n_total > n_reference {
        let known = Known {
            genes: (0..g.shape("data.x")[1]).map(|i| format!("gene{i}")).collect(),
            conditions: (0..n_reference).map(|i| i.to_string()).collect(),
            labels: if with_labels { (0..3).map(|i| i.to_string()).collect() } else { Vec::new() },
            proteins: (0..g.settings["n_input_proteins"].as_u64().unwrap_or(0))
                .map(|i| format!("protein_{i}"))
                .collect(),
            ..Known::default()
        };
        let reference = Model::new(name, config, known.into(), 1).unwrap();
        let data = prepared(g, Some(&reference));
        let conditions = (n_reference..n_total).map(|i| i.to_string()).collect();
        let new = Newcomers { conditions, cells: Vec::new() };
        (reference.surgery(&Surgery::adaptor("query"), &new, 3).unwrap(), data)
    } else {
        let data = prepared(g, None);
        let known = data.known();
        let labels = if with_labels { known.labels } else { Vec::new() };
        (Model::new(name, config, Known { labels, ..known }.into(), 1).unwrap(), data)
    };
    (with_weights(g, model, ours), data)
}

/// Rows of a golden file's minibatch.
pub fn rows(values: &[f64]) -> Vec<usize> {
    values.iter().map(|&r| r as usize).collect()
}

/// A minibatch, and the labelled one beside it where there is one.
pub fn batch(model: &Model, data: &Prepared, rows: &[usize], labelled: Option<&[usize]>) -> Batch {
    let mut batch = Batch::default();
    batch.fill(data, rows, model.input_scale()).unwrap();
    if let Some(rows) = labelled {
        batch.labelled.get_or_insert_default().fill(data, rows, model.input_scale()).unwrap();
    }
    batch
}

/// Noise of each draw, from [cell × dimension] to ours.
pub fn noise(draws: &[(&[f64], usize)]) -> Noise {
    Noise::Given(draws.iter().map(|(v, width)| single(&transpose(v, v.len() / width, *width))).collect())
}

/// Gradients of everything that trains against upstream's.
///
/// A bias before batch norm has no gradient in exact arithmetic (1e-15 upstream); what single precision leaves there is
/// the rounding of sums that cancel, held below 1e-6 of the largest gradient.
pub fn gradients(g: &Golden, model: &Model, grads: &Grads, ours: &Ours<'_>) {
    let top = |values: &[f64]| values.iter().fold(0f64, |m, v| m.max(v.abs()));
    let largest = model.params.iter().filter_map(|p| ours(model, "grad", &p.name)).fold(0f64, |m, v| m.max(top(&v)));
    for (p, id) in model.params.iter().zip(model.params.ids()) {
        if p.statistic || (model.header.conditions.len() == 1 && p.name.ends_with(".condition")) {
            continue;
        }
        let Some(want) = ours(model, "grad", &p.name) else { panic!("{}: no gradient of `{}`", g.name, p.name) };
        if p.is_trainable() && top(&want) < 1e-12 {
            let left = grads.get(id).iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(f64::from(left) < 1e-6 * largest, "{}: d/d {}: {left}, zero upstream", g.name, p.name);
            continue;
        }
        for span in p.trainable_spans() {
            assert_close(&format!("{}: d/d {}", g.name, p.name), &grads.get(id)[span.clone()], &want[span], 1e-4);
        }
    }
}

/// Ten steps of Adam: `terms` gives the loss terms of a step by upstream's names, and the gradients.
pub fn curve(
    g: &Golden,
    mut model: Model,
    ours: &Ours<'_>,
    terms: impl Fn(&Model, usize, f32, &mut Grads) -> Vec<(&'static str, f64)>,
) {
    let weight_decay = g.settings["weight_decay"].as_f64().unwrap() as f32;
    let learning_rate = g.settings["lr"].as_f64().unwrap_or(1e-3) as f32;
    let mut adam = Adam::new(&model.params, AdamConfig { weight_decay, ..AdamConfig::default() });
    let mut grads = Grads::new(&model.params);
    for t in 0..10 {
        let kl_weight = (t as f32 / 8.0).min(1.0);
        for (term, value) in terms(&model, t, kl_weight, &mut grads) {
            relative(&format!("{}: {term} at step {t}", g.name), value, g.values(&format!("curve.{term}"))[t], 1e-3);
        }
        adam.step(&mut model.params, &grads, learning_rate);
        model.params.apply_updates(grads.updates());
    }
    for p in model.params.iter() {
        if let Some(want) = ours(&model, "curve.final", &p.name).filter(|w| w.len() == p.n_values()) {
            assert_close(&format!("{}: final {}", g.name, p.name), p.values(), &want, 1e-3);
        }
    }
}
