//! What the golden tests of scvi-tools' models share: cells, names, and the comparison of loss terms, gradients and
//! ten training steps.

use std::ops::Range;

use scgraft_cells::{
    Array, Cells, Column, ConditionSource, Csr, Dense, Frame, Kind, Matrix, PrepareOptions, Prepared, ProteinSource,
};
use scgraft_engine::{Adam, AdamConfig, Grads, Noise, Tape, Workspace};
use scgraft_models::{Batch, Header, Model, Step, Surgery};
use serde_json::{Value, json};

use crate::support::{Golden, assert_close, single, transpose};

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
            Prepared::query(&cells, &model.header.known(), &options).unwrap()
        }
        None => Prepared::reference(&cells, None, &options).unwrap(),
    }
}

/// The settings of scVI, in our names.
pub fn settings(g: &Golden) -> Value {
    let s = &g.settings;
    let linear = s["module"] == "LDVAE";
    let text = |key: &str, default: &str| s[key].as_str().unwrap_or(default).to_owned();
    let flag = |key: &str, default: bool| s[key].as_bool().unwrap_or(default);
    let (batch, layer) = (text("use_batch_norm", "both"), text("use_layer_norm", "none"));
    let on = |which: &str, side: &str| which == "both" || which == side;
    let norm = |side: &str| match (on(&batch, side), on(&layer, side)) {
        (true, _) => "batch",
        (_, true) => "layer",
        _ => "none",
    };
    let layers = s["n_layers"].as_u64().or(s["n_layers_encoder"].as_u64()).unwrap_or(1);
    let units = s["n_hidden"].as_u64().unwrap();
    let (encoder_norm, decoder_norm) = match linear {
        false => (norm("encoder"), norm("decoder")),
        true => ("batch", if flag("use_batch_norm", true) { "batch" } else { "none" }),
    };
    let likelihood = text("gene_likelihood", if linear { "nb" } else { "zinb" });
    json!({
        "hidden": vec![units; layers as usize], "latent": s["n_latent"], "dropout": 0.0,
        "likelihood": likelihood, "dispersion": text("dispersion", "gene"),
        "encode_covariates": flag("encode_covariates", false),
        "deep_covariates": flag("deeply_inject_covariates", true),
        "encoder_norm": encoder_norm, "decoder_norm": decoder_norm,
        "library": if flag("use_observed_lib_size", !linear) { "observed" } else { "learned" },
        "latent_distribution": text("latent_distribution", "normal"),
        "decoder": if linear { "linear" } else { "network" }, "linear_bias": flag("bias", false),
        "frozen_norm_by_batch": true,
    })
}

/// The model with upstream's weights, and the golden file's cells prepared for it.
pub fn model(g: &Golden, name: &str, config: &Value, with_labels: bool, ours: &Ours<'_>) -> (Model, Prepared) {
    let n_reference = g.settings["n_batch"].as_u64().unwrap() as usize;
    let n_total = g.settings["n_batch_total"].as_u64().map_or(n_reference, |n| n as usize);
    let (mut model, data) = if n_total > n_reference {
        let header = Header {
            genes: (0..g.shape("data.x")[1]).map(|i| format!("gene{i}")).collect(),
            conditions: (0..n_reference).map(|i| i.to_string()).collect(),
            labels: if with_labels { (0..3).map(|i| i.to_string()).collect() } else { Vec::new() },
            proteins: (0..g.settings["n_input_proteins"].as_u64().unwrap_or(0))
                .map(|i| format!("protein_{i}"))
                .collect(),
            ..Header::default()
        };
        let reference = Model::new(name, config, header, 1).unwrap();
        let data = prepared(g, Some(&reference));
        let new = (n_reference..n_total).map(|i| i.to_string()).collect();
        (reference.surgery(&Surgery::adaptor("query", new), 3).unwrap(), data)
    } else {
        let data = prepared(g, None);
        let known = data.known();
        let labels = if with_labels { known.labels } else { Vec::new() };
        let (genes, conditions, covariates) = (known.genes, known.conditions, known.covariates);
        let (continuous, proteins) = (known.continuous, known.proteins);
        let header = Header { genes, conditions, labels, covariates, continuous, proteins, ..Header::default() };
        (Model::new(name, config, header, 1).unwrap(), data)
    };
    let values: Vec<_> = model.params.iter().map(|p| ours(&model, "param", &p.name)).collect();
    for (p, v) in model.params.iter_mut().zip(values) {
        let v = v.unwrap_or_else(|| panic!("{}: no weights for `{}`", g.name, p.name));
        assert_eq!(v.len(), p.values.len(), "{}: `{}`", g.name, p.name);
        p.values = single(&v);
    }
    (model, data)
}

/// Our tensor's values from upstream's under a prefix; `None` when the prefix lacks them.
pub type Ours<'g> = dyn Fn(&Model, &str, &str) -> Option<Vec<f64>> + 'g;

/// A block of columns of an upstream matrix; by rows, or transposed.
pub fn columns(g: &Golden, key: &str, columns: Range<usize>, turned: bool) -> Option<Vec<f64>> {
    if !g.has(key) {
        return None;
    }
    let width = g.shape(key)[1];
    let block: Vec<f64> = g.values(key).chunks(width).flat_map(|row| row[columns.clone()].to_vec()).collect();
    let rows = g.shape(key)[0];
    Some(if turned { transpose(&block, rows, columns.len()) } else { block })
}

/// The tensors of a stack of layers: `upstream` is what stands before `fc_layers`, `rest` is `<layer>.<what>`.
pub fn stack(g: &Golden, model: &Model, prefix: &str, upstream: &str, input: usize, rest: &str) -> Option<Vec<f64>> {
    let (layer, what) = rest.split_once('.').unwrap();
    let name = |slot: usize, what: &str| format!("{prefix}.{upstream}.fc_layers.Layer {layer}.{slot}.{what}");
    let as_is = |key: &str| g.has(key).then(|| g.values(key).to_vec());
    if let Some(what) = what.strip_prefix("norm.") {
        return as_is(&name(1, norm(what)));
    }
    let key = name(0, "weight");
    // Columns: input, continuous covariates, condition, categorical covariates, label.
    let h = &model.header;
    let first = layer == "0";
    let width = if g.has(&key) { g.shape(&key)[1] } else { 0 };
    let mut inputs = if first { input } else { g.settings["n_hidden"].as_u64().unwrap() as usize };
    let genes = first && input == h.genes.len();
    if what == "weight" {
        return columns(g, &key, 0..inputs, genes);
    }
    // Proteins follow the genes.
    let proteins = if genes { h.proteins.len() } else { 0 };
    if what == "proteins" {
        return columns(g, &key, inputs..inputs + proteins, false);
    }
    inputs += proteins;
    match what {
        "bias" => as_is(&name(0, "bias")),
        "continuous" => columns(g, &key, inputs..inputs + h.continuous.len(), false),
        "label" => columns(g, &key, width.saturating_sub(h.labels.len())..width, true),
        _ => {
            let mut from = inputs + if first { h.continuous.len() } else { 0 };
            let conditions = if h.conditions.len() == 1 { 0 } else { h.conditions.len() };
            if what == "condition" {
                // One condition has no column upstream.
                return if conditions == 0 {
                    let hidden = g.settings["n_hidden"].as_u64().unwrap() as usize;
                    Some(vec![0.0; hidden])
                } else {
                    columns(g, &key, from..from + conditions, true)
                };
            }
            from += conditions;
            for (name, levels) in &h.covariates {
                if what == format!("covariate.{name}") {
                    return columns(g, &key, from..from + levels.len(), true);
                }
                from += levels.len();
            }
            panic!("`{rest}`")
        }
    }
}

/// Upstream's name of a batch norm's tensor.
fn norm(what: &str) -> &str {
    match what {
        "mean" => "running_mean",
        "variance" => "running_var",
        affine => affine,
    }
}

/// The tensors of scVI.
pub fn scvi(g: &Golden, model: &Model, prefix: &str, name: &str) -> Option<Vec<f64>> {
    let key = |n: &str| format!("{prefix}.{n}");
    let as_is = |n: &str| g.has(&key(n)).then(|| g.values(&key(n)).to_vec());
    let latent = g.settings["n_latent"].as_u64().unwrap() as usize;
    let genes = model.header.genes.len();
    let head = |ours: &str, theirs: &str| name.strip_prefix(ours).map(|what| as_is(&format!("{theirs}.{what}")));
    if let Some(found) = head("encoder.mean.", "z_encoder.mean_encoder")
        .or_else(|| head("encoder.log_variance.", "z_encoder.var_encoder"))
        .or_else(|| head("library.mean.", "l_encoder.mean_encoder"))
        .or_else(|| head("library.log_variance.", "l_encoder.var_encoder"))
        .or_else(|| head("decoder.dispersion.", "decoder.px_r_decoder"))
    {
        return found;
    }
    if g.settings["module"] == "LDVAE" {
        for (ours, theirs) in [("scale", "factor_regressor"), ("dropout", "px_dropout_decoder")] {
            if let Some(what) = name.strip_prefix(&format!("decoder.{ours}.")) {
                let slot = |slot: usize, what: &str| format!("decoder.{theirs}.fc_layers.Layer 0.{slot}.{what}");
                let weight = key(&slot(0, "weight"));
                return match what {
                    "weight" => columns(g, &weight, 0..latent, false),
                    "condition" => columns(g, &weight, latent..latent + model.header.conditions.len(), true),
                    "bias" => as_is(&slot(0, "bias")),
                    what => as_is(&slot(1, norm(what.strip_prefix("norm.").unwrap()))),
                };
            }
        }
    }
    let of_head = head("decoder.scale.", "decoder.px_scale_decoder.0");
    if let Some(found) = of_head.or_else(|| head("decoder.dropout.", "decoder.px_dropout_decoder")) {
        return found;
    }
    match name {
        "dispersion" => {
            let k = key("px_r");
            g.has(&k).then(|| if g.shape(&k).len() == 2 { g.transposed(&k) } else { g.values(&k).to_vec() })
        }
        "library.prior_mean" => as_is("library_log_means"),
        "library.prior_variance" => as_is("library_log_vars"),
        _ => {
            let (part, rest) = name.split_once('.').unwrap();
            let (upstream, input) = match part {
                "encoder" => ("z_encoder.encoder", genes),
                "library" => ("l_encoder.encoder", genes),
                "decoder" => ("decoder.px_decoder", latent),
                other => panic!("`{other}`"),
            };
            stack(g, model, prefix, upstream, input, rest)
        }
    }
}

/// Rows of a golden file's minibatch.
pub fn rows(values: &[f64]) -> Vec<usize> {
    values.iter().map(|&r| r as usize).collect()
}

/// A minibatch, and the labelled one beside it where there is one.
pub fn batch(model: &Model, data: &Prepared, rows: &[usize], labelled: Option<&[usize]>) -> Batch {
    let mut batch = Batch::default();
    batch.fill(data, rows, model.network.input_scale());
    if let Some(rows) = labelled {
        batch.labelled.get_or_insert_default().fill(data, rows, model.network.input_scale());
    }
    batch
}

/// Noise of each draw, from [cell × dimension] to ours.
pub fn noise(draws: &[(&[f64], usize)]) -> Noise {
    Noise::Given(draws.iter().map(|(v, width)| single(&transpose(v, v.len() / width, *width))).collect())
}

/// Loss terms: name, value, weight; and gradients where they are wanted.
pub fn pass(
    model: &Model,
    batch: &Batch,
    noise: Noise,
    step: &Step,
    grads: Option<&mut Grads>,
) -> Vec<(&'static str, f64, f64)> {
    let mut workspace = Workspace::new();
    let mut tape = Tape::new(&model.params, &mut workspace, noise, grads.is_some());
    let loss = model.network.loss(&mut tape, batch, step);
    let terms = loss.iter().map(|t| (t.name, f64::from(tape.scalar(t.value)), f64::from(t.weight))).collect();
    let roots: Vec<_> = loss.iter().map(|t| (t.value, t.weight)).collect();
    match grads {
        Some(grads) => tape.backward(&roots, grads),
        None => tape.finish(),
    }
    terms
}

pub fn relative(what: &str, got: f64, want: f64, tolerance: f64) {
    let error = (got - want).abs() / want.abs().max(1e-3);
    assert!(error <= tolerance, "{what}: {got}, upstream {want} ({error:.1e} relative)");
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
        if let Some(want) = ours(&model, "curve.final", &p.name).filter(|w| w.len() == p.values.len()) {
            assert_close(&format!("{}: final {}", g.name, p.name), &p.values, &want, 1e-3);
        }
    }
}
