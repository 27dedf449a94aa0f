//! The way back: a model of ours as tensors and settings of scvi-tools, by the tables that importing reads.
//!
//! What scvi-tools has and models here do without is filled in, since its files must have every tensor: nothing reads it
//! under these settings. A batch, covariate or label of one level has no column there; what ours adds for it goes into
//! the bias beside it, which is the same function. A linear decoder beside an encoder that LinearSCVI cannot have becomes the
//! hidden layers of SCVI, which is the same function too ([`as_layers`]).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::scvi_tools::source;
use super::{Source, param};
use crate::layers::NORM_EPSILON;
use crate::{Model, find};

/// The version of scvi-tools whose files these are.
pub const VERSION: &str = "1.4.2";

/// A tensor of theirs: shape and values, row-major.
pub type Tensor = (Vec<usize>, Vec<f32>);

/// A model as a class of scvi-tools.
#[derive(Clone, Debug)]
pub struct Theirs {
    /// `SCVI`, `LinearSCVI`, `SCANVI` or `TOTALVI`.
    pub class: &'static str,
    /// Arguments of the class that stand in its signature.
    pub arguments: Map<String, Value>,
    /// Those that it passes on.
    pub passed_on: Map<String, Value>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Tensors among them that models here do without.
    pub filled: Vec<String>,
    /// Counters of batch norms, each one integer.
    pub counters: Vec<String>,
    /// Whether a linear decoder of ours is hidden layers there.
    pub as_layers: bool,
}

/// A model of ours as one of theirs.
///
/// # Errors
/// In words, why they have no equal: another model, or a setting.
pub fn theirs(model: &Model) -> Result<Theirs, String> {
    let config = model.network.config();
    let class = class_of(model, &config)?;
    if config["decoder"] == "linear" && class != "LinearSCVI" {
        return Ok(Theirs { as_layers: true, ..theirs(&as_layers(model, config)?)? });
    }
    let (arguments, mut passed_on) = match class {
        "TOTALVI" => totalvi(&config)?,
        _ => scvi(class, &config, model)?,
    };
    let mut written = Written::default();
    let folded = folded(model);
    for p in model.params.iter().filter(|p| p.name != "proteins.measured") {
        let none = || format!("`{}` has no place there", p.name);
        let mut values = p.values().to_vec();
        if let Some(more) = folded.get(&p.name) {
            values.iter_mut().zip(more).for_each(|(v, m)| *v += m);
        }
        written.put(&source(model, &p.name).ok_or_else(none)?, &p.shape, values).ok_or_else(none)?;
    }
    for (bias, values) in &folded {
        if param(model, bias).is_none() {
            let of =
                written.put(&source(model, bias).ok_or("a bias has no place there")?, &[values.len()], values.clone());
            of.ok_or("a bias has no place there")?;
            passed_on.insert("bias".into(), true.into());
        }
    }
    let mut tensors = written.finish()?;
    let filled = fill(&mut tensors, class, model, &config);
    let counters = tensors.keys().filter_map(|k| k.strip_suffix("running_mean"));
    let counters = counters.map(|k| format!("{k}num_batches_tracked")).collect();
    Ok(Theirs { class, arguments, passed_on, tensors, filled, counters, as_layers: false })
}

/// The same function with hidden layers in place of a linear decoder: a latent dimension v has two units, of which
/// max(0, v) − max(0, −v) = v, and a condition has one, which is 1 in its cells; further layers pass units on.
///
/// With factor f = γ / √(σ² + ε) of a batch norm (1 without), loadings W, conditions L and bias b become heads of the last layer
/// [f W, −f W, f Lᵀ] with bias f (b − m) + β.
fn as_layers(model: &Model, mut config: Value) -> Result<Model, String> {
    let (latent, conditions) = (model.n_latent(), model.header.conditions.len());
    let width = config["hidden"][0].as_u64().unwrap_or(0) as usize;
    let (condition, needed) = (2 * latent, 2 * latent + conditions);
    if width < needed {
        return Err(format!(
            "its linear decoder takes {needed} units of a hidden layer there (two for each latent dimension, one for each \
             condition), and its hidden layers have {width} (`hidden`)"
        ));
    }
    config["decoder"] = "network".into();
    config["decoder_norm"] = "none".into();
    let name = if model.entry.name == "scvi-linear" { "scvi" } else { model.entry.name };
    let entry = find(name).map_err(|e| e.to_string())?;
    let mut out = Model::declare(entry, &config, model.header.clone()).map_err(|e| e.to_string())?;
    for p in out.params.iter_mut() {
        let Some(rest) = p.name.strip_prefix("decoder.") else {
            *p = param(model, &p.name).ok_or_else(|| format!("`{}` is missing", p.name))?.clone();
            continue;
        };
        let columns = p.row_len();
        let values = match rest.split_once('.') {
            Some((head @ ("scale" | "dropout"), "weight")) => {
                let (w, f) = (of(model, head, "weight"), factor(model, head));
                let l = of(model, head, "condition");
                let genes = f.len();
                let unit = |g: usize, u: usize| match u {
                    u if u < latent => f[g] * w[g * latent + u],
                    u if u < condition => -f[g] * w[g * latent + u - latent],
                    u if u < needed => f[g] * l[(u - condition) * genes + g],
                    _ => 0.0,
                };
                (0..genes).flat_map(|g| (0..width).map(move |u| unit(g, u))).collect()
            }
            Some((head @ ("scale" | "dropout"), _)) => {
                let f = factor(model, head);
                let at = |what: &str, g: usize| of(model, head, what).get(g).copied().unwrap_or(0.0);
                let bias = |g: usize| f[g] * (at("bias", g) - at("norm.mean", g)) + at("norm.bias", g);
                (0..f.len()).map(bias).collect()
            }
            Some(("0", "weight")) => {
                let unit = |u: usize, d: usize| f32::from(u8::from(u == d)) - f32::from(u8::from(u == d + latent));
                (0..width).flat_map(|u| (0..latent).map(move |d| unit(u, d))).collect()
            }
            Some(("0", "condition")) => ones(conditions, columns, condition),
            Some((_, "weight")) => ones(width, columns, 0),
            // Biases, and conditions where they enter further layers.
            _ => vec![0.0; p.n_values()],
        };
        p.put(values);
    }
    Ok(out)
}

/// Values of a linear decoder's tensor; none where it has no such tensor.
fn of<'m>(model: &'m Model, head: &str, what: &str) -> &'m [f32] {
    param(model, &format!("decoder.{head}.{what}")).map_or(&[], |p| p.values())
}

/// What a linear decoder's batch norm multiplies each gene by outside training.
fn factor(model: &Model, head: &str) -> Vec<f32> {
    let (weight, variance) = (of(model, head, "norm.weight"), of(model, head, "norm.variance"));
    if weight.is_empty() {
        return vec![1.0; model.header.genes.len()];
    }
    weight.iter().zip(variance).map(|(w, v)| w / (v + NORM_EPSILON).sqrt()).collect()
}

/// A matrix of zeros with ones on the diagonal that begins in a column.
fn ones(rows: usize, columns: usize, from: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| f32::from(u8::from(i % columns == i / columns + from))).collect()
}

/// Which of their classes is its equal.
fn class_of(model: &Model, config: &Value) -> Result<&'static str, String> {
    // The encoder of LinearSCVI has batch norm and reads no condition.
    let as_theirs = config["encoder_norm"] == "batch" && config["encode_covariates"] == false;
    let linear = config["decoder"] == "linear" && as_theirs && config["dispersion"] != "gene-label";
    let class = match model.entry.name {
        "scvi" | "scvi-linear" if linear => "LinearSCVI",
        "scvi" | "scvi-linear" => "SCVI",
        "scanvi" => "SCANVI",
        "totalvi" => "TOTALVI",
        "scvi-per-cell" => return Err("it has a vector per cell, and no class there does without an encoder".into()),
        other => return Err(format!("no class there is {other}; scvi, scvi-linear, scanvi and totalvi have one")),
    };
    if class == "TOTALVI" && model.header.covariates.iter().any(|c| c.1.len() == 1) {
        return Err("it has a covariate of one level, which its TOTALVI has no weights for; train without it".into());
    }
    if config["encoder"] == "per-cell" {
        return Err(
            "it has a vector per cell (`encoder` is per-cell), and no class there does without an encoder".into()
        );
    }
    if class != "SCVI" && config["dispersion"] == "gene-label" {
        return Err(format!("its {class} has no dispersion by label (`dispersion` is gene-label)"));
    }
    Ok(class)
}

/// So many layers of one width.
fn layers(config: &Value, keys: &[&str]) -> Result<(u64, Vec<usize>), String> {
    let of = |key: &&str| config[*key].as_array().map_or(&[][..], Vec::as_slice);
    let widths: Vec<u64> = keys.iter().flat_map(of).filter_map(Value::as_u64).collect();
    let width = widths.first().copied().unwrap_or(0);
    if widths.iter().any(|&w| w != width) {
        return Err(format!("its hidden layers are {widths:?} wide; there all have one width (`n_hidden`)"));
    }
    Ok((width, keys.iter().map(|key| of(key).len()).collect()))
}

/// `use_batch_norm`, `use_layer_norm` by the norms of encoder and decoder.
fn norms(passed_on: &mut Map<String, Value>, encoder: &Value, decoder: &Value) {
    for norm in ["batch", "layer"] {
        let side = match (encoder == norm, decoder == norm) {
            (true, true) => "both",
            (true, false) => "encoder",
            (false, true) => "decoder",
            (false, false) => "none",
        };
        passed_on.insert(format!("use_{norm}_norm"), side.into());
    }
}

type Given = (Map<String, Value>, Map<String, Value>);

fn map(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

fn scvi(class: &str, config: &Value, model: &Model) -> Result<Given, String> {
    let (width, counts) = layers(config, &["hidden"])?;
    let dispersion =
        if config["dispersion"] == "gene-condition" { json!("gene-batch") } else { config["dispersion"].clone() };
    let latent = if config["latent_distribution"] == "normal" { "normal" } else { "ln" };
    let mut arguments = map(json!({
        "n_hidden": width, "n_latent": model.n_latent(), "n_layers": counts[0],
        "dropout_rate": config["dropout"], "dispersion": dispersion, "gene_likelihood": config["likelihood"],
        "use_observed_lib_size": config["library"] == "observed",
    }));
    let mut passed_on = map(json!({ "log_variational": config["log_input"] }));
    match class {
        "LinearSCVI" => {
            // Layer norm of ours is none where there is no hidden layer.
            passed_on.insert("use_batch_norm".into(), (config["decoder_norm"] == "batch").into());
            passed_on.insert("bias".into(), config["linear_bias"].clone());
        }
        _ => {
            norms(&mut passed_on, &config["encoder_norm"], &config["decoder_norm"]);
            passed_on.insert("encode_covariates".into(), config["encode_covariates"].clone());
            passed_on.insert("deeply_inject_covariates".into(), config["deep_covariates"].clone());
        }
    }
    if class == "SCANVI" {
        arguments.insert("linear_classifier".into(), config["linear_classifier"].clone());
        passed_on.insert("latent_distribution".into(), latent.into());
    } else {
        arguments.insert("latent_distribution".into(), latent.into());
    }
    Ok((arguments, passed_on))
}

fn totalvi(config: &Value) -> Result<Given, String> {
    if config["input"] != "shares" {
        return Err(
            "its encoder reads counts as scvi-tools before 1.3.1 gave them (`input` is counts), and TOTALVI of today \
                    reads shares of their mean"
                .into(),
        );
    }
    let (width, counts) = layers(config, &["hidden", "decoder_hidden"])?;
    let by = |key: &str, alone: &str| if config[key] == true { format!("{alone}-batch") } else { alone.to_owned() };
    let arguments = map(json!({
        "n_latent": config["latent"], "latent_distribution": "normal",
        "gene_dispersion": by("dispersion_by_condition", "gene"),
        "protein_dispersion": by("protein_dispersion_by_condition", "protein"),
        "gene_likelihood": config["likelihood"],
        "empirical_protein_background_prior": config["empirical_prior"], "override_missing_proteins": false,
    }));
    let mut passed_on = map(json!({
        "n_hidden": width, "n_layers_encoder": counts[0], "n_layers_decoder": counts[1],
        "dropout_rate_encoder": config["dropout"], "dropout_rate_decoder": config["dropout"],
        "use_observed_lib_size": config["library"] == "observed",
    }));
    norms(&mut passed_on, &config["norm"], &config["norm"]);
    if config["background_deviation"] == "exp" {
        passed_on.insert("extra_decoder_kwargs".into(), json!({ "activation_function_bg": "exp" }));
    }
    Ok((arguments, passed_on))
}

/// What ours adds for the one level of a batch, covariate or label: by the bias that it goes into.
fn folded(model: &Model) -> BTreeMap<String, Vec<f32>> {
    let mut out: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for p in model.params.iter() {
        if !matches!(source(model, &p.name), Some(Source::Constant(..))) || p.values().iter().all(|&v| v == 0.0) {
            continue;
        }
        let layer = [".condition", ".covariate.", ".label"].iter().find_map(|what| p.name.split_once(what));
        let Some((layer, _)) = layer else { continue };
        let into = out.entry(format!("{layer}.bias")).or_insert_with(|| vec![0.0; p.n_values()]);
        into.iter_mut().zip(p.values()).for_each(|(sum, v)| *sum += v);
    }
    out
}

/// Their tensors while they are put together: whole ones, and matrices by columns.
#[derive(Default)]
struct Written {
    whole: BTreeMap<String, Tensor>,
    columns: BTreeMap<String, Vec<Vec<f32>>>,
}

impl Written {
    /// Puts a tensor of ours where it was read from. `None` where a source has no way back.
    fn put(&mut self, at: &Source, shape: &[usize], values: Vec<f32>) -> Option<()> {
        match at {
            Source::Same(name) => {
                // A dispersion of one group is a row here and a vector there, a prior of the library size a row there.
                let shape = match (name.as_str(), shape) {
                    ("px_r" | "py_r", &[1, n]) => vec![n],
                    ("library_log_means" | "library_log_vars", &[n]) => vec![1, n],
                    _ => shape.to_vec(),
                };
                self.whole.insert(name.clone(), (shape, values));
            }
            Source::Transposed(name) => {
                let &[rows, columns] = shape else { return None };
                self.whole.insert(name.clone(), (vec![columns, rows], transposed(&values, rows, columns)));
            }
            Source::Columns { name, columns, transposed: by_rows } => {
                let &[first, second] = shape else { return None };
                let ours = if *by_rows { values } else { transposed(&values, first, second) };
                let height = if *by_rows { second } else { first };
                let matrix = self.columns.entry(name.clone()).or_default();
                for (at, column) in columns.iter().cloned().flatten().zip(ours.chunks(height)) {
                    matrix.resize(matrix.len().max(at + 1), Vec::new());
                    matrix[at] = column.to_vec();
                }
            }
            Source::Constant(..) => {}
            Source::Stacked(_) | Source::Members { .. } => return None,
        }
        Some(())
    }

    fn finish(self) -> Result<BTreeMap<String, Tensor>, String> {
        let mut out = self.whole;
        for (name, columns) in self.columns {
            let height = columns.first().map_or(0, Vec::len);
            if columns.iter().any(|c| c.len() != height) {
                return Err(format!("not every column of `{name}` is known"));
            }
            let width = columns.len();
            out.insert(name, (vec![height, width], transposed(&columns.concat(), width, height)));
        }
        Ok(out)
    }
}

/// A matrix [rows × columns] by columns.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect()
}

/// Adds what their class has and ours does without; the names.
fn fill(tensors: &mut BTreeMap<String, Tensor>, class: &str, model: &Model, config: &Value) -> Vec<String> {
    let mut new: BTreeMap<String, Tensor> = BTreeMap::new();
    // Parts of the same shapes as another part.
    let twins: &[(&str, &str)] = match class {
        "TOTALVI" => &[
            ("encoder.encoder.fc_layers.Layer 0.", "encoder.l_gene_encoder.fc_layers.Layer 0."),
            ("decoder.px_scale_decoder.", "decoder.px_dropout_decoder_gene."),
        ],
        "LinearSCVI" => &[
            ("z_encoder.encoder.fc_layers.Layer 0.", "l_encoder.encoder.fc_layers.Layer 0."),
            ("decoder.factor_regressor.", "decoder.px_dropout_decoder."),
        ],
        _ => &[
            ("z_encoder.encoder.fc_layers.Layer 0.", "l_encoder.encoder.fc_layers.Layer 0."),
            ("decoder.px_scale_decoder.0.", "decoder.px_r_decoder."),
            ("decoder.px_scale_decoder.0.", "decoder.px_dropout_decoder."),
        ],
    };
    for (known, twin) in twins {
        let of =
            tensors.iter().filter_map(|(name, (shape, values))| Some((name.strip_prefix(known)?, shape, values.len())));
        for (rest, shape, n) in of {
            let value = if rest.ends_with("running_var") { 1.0 } else { 0.0 };
            new.insert(format!("{twin}{rest}"), (shape.clone(), vec![value; n]));
        }
    }
    let hidden = |bias: &str| tensors.get(bias).map_or(0, |t| t.1.len());
    let mut head = |name: &str, hidden: usize| {
        new.insert(format!("{name}.weight"), (vec![1, hidden], vec![0.0; hidden]));
        new.insert(format!("{name}.bias"), (vec![1], vec![0.0]));
    };
    if class == "TOTALVI" {
        let h = hidden("encoder.encoder.fc_layers.Layer 0.0.bias");
        ["encoder.l_gene_mean_encoder", "encoder.l_gene_var_encoder"].iter().for_each(|name| head(name, h));
    } else {
        let h = hidden("z_encoder.encoder.fc_layers.Layer 0.0.bias");
        ["l_encoder.mean_encoder", "l_encoder.var_encoder"].iter().for_each(|name| head(name, h));
        let (genes, h) = (model.header.genes.len(), &model.header);
        let shape = match config["dispersion"].as_str() {
            Some("gene-condition") => Some(vec![genes, h.conditions.len()]),
            Some("gene-label") => Some(vec![genes, h.labels.len()]),
            Some("gene-cell") => None,
            _ => Some(vec![genes]),
        };
        if let Some(shape) = shape {
            let n = shape.iter().product();
            new.insert("px_r".into(), (shape, vec![0.0; n]));
        }
    }
    if class == "SCANVI" {
        let n = model.header.labels.len();
        new.insert("y_prior".into(), (vec![1, n], vec![1.0 / n as f32; n]));
    }
    new.retain(|name, _| !tensors.contains_key(name));
    let names = new.keys().cloned().collect();
    tensors.extend(new);
    names
}
