//! scvi-tools: SCVI, LinearSCVI, SCANVI and TOTALVI, versions 0.8 to 1.4.
//!
//! | ours | theirs | how |
//! |---|---|---|
//! | `<stack>.<i>.weight`, `.condition`, … | `<stack>.fc_layers.Layer <i>.0.weight` | columns |
//! | `<stack>.<i>.bias` | `<stack>.fc_layers.Layer <i>.0.bias` | same |
//! | `<stack>.<i>.norm.…` | `<stack>.fc_layers.Layer <i>.1.…` | same |
//! | heads | see [`HEADS`] | same |
//! | `dispersion`, `proteins.dispersion` | `px_r`, `py_r` | same, or transposed where there are groups |
//! | `background.…`, `proteins.efficiency` | see [`BY_CONDITION`] | transposed |

use serde_json::{Value, json};

use super::{Source, norm, param, same, transposed};
use crate::Model;

/// Stacks of layers: ours, theirs.
const STACKS: [(&str, &[(&str, &str)]); 2] = [
    (
        "totalvi",
        &[
            ("encoder", "encoder.encoder"),
            ("library", "encoder.l_gene_encoder"),
            ("decoder.expression", "decoder.px_decoder"),
            ("decoder.background", "decoder.py_back_decoder"),
            ("decoder.foreground", "decoder.py_fore_decoder"),
            ("decoder.mixture", "decoder.sigmoid_decoder"),
        ],
    ),
    (
        "",
        &[
            ("encoder", "z_encoder.encoder"),
            ("library", "l_encoder.encoder"),
            ("decoder", "decoder.px_decoder"),
            ("classifier", "classifier.classifier.0"),
            ("z2_encoder", "encoder_z2_z1.encoder"),
            ("z1_decoder", "decoder_z1_z2.decoder"),
        ],
    ),
];

/// Dense layers after a stack: ours, theirs.
const HEADS: [(&str, &[(&str, &str)]); 2] = [
    (
        "totalvi",
        &[
            ("encoder.mean", "encoder.z_mean_encoder"),
            ("encoder.log_variance", "encoder.z_var_encoder"),
            ("library.mean", "encoder.l_gene_mean_encoder"),
            ("library.log_variance", "encoder.l_gene_var_encoder"),
        ],
    ),
    (
        "",
        &[
            ("encoder.mean", "z_encoder.mean_encoder"),
            ("encoder.log_variance", "z_encoder.var_encoder"),
            ("library.mean", "l_encoder.mean_encoder"),
            ("library.log_variance", "l_encoder.var_encoder"),
            ("decoder.scale", "decoder.px_scale_decoder.0"),
            ("decoder.dropout", "decoder.px_dropout_decoder"),
            ("decoder.dispersion", "decoder.px_r_decoder"),
            ("z2_encoder.mean", "encoder_z2_z1.mean_encoder"),
            ("z2_encoder.log_variance", "encoder_z2_z1.var_encoder"),
            ("z1_decoder.mean", "decoder_z1_z2.mean_decoder"),
            ("z1_decoder.log_variance", "decoder_z1_z2.var_decoder"),
        ],
    ),
];

/// Layers without activation that the condition enters: ours, theirs.
const CONDITIONED: [(&str, &[(&str, &str)]); 2] = [
    (
        "totalvi",
        &[
            ("decoder.expression.scale", "decoder.px_scale_decoder"),
            ("decoder.background.mean", "decoder.py_back_mean_log_alpha"),
            ("decoder.background.deviation", "decoder.py_back_mean_log_beta"),
            ("decoder.foreground.scale", "decoder.py_fore_scale_decoder"),
            ("decoder.mixture.background", "decoder.py_background_decoder"),
            ("decoder.mixture.dropout", "decoder.px_dropout_decoder_gene"),
        ],
    ),
    ("", &[("decoder.scale", "decoder.factor_regressor"), ("decoder.dropout", "decoder.px_dropout_decoder")]),
];

/// Matrices that have a column for each condition: ours, theirs.
const BY_CONDITION: [(&str, &str); 3] = [
    ("background.mean", "background_pro_alpha"),
    ("background.log_deviation", "background_pro_log_beta"),
    ("proteins.efficiency", "log_per_batch_efficiency"),
];

/// What their files have and models here do without: the beginning of their names, and why.
pub const DROPPED: [(&str, &str); 7] = [
    ("l_encoder.", "the library size is observed"),
    ("encoder.l_gene_", "the library size is observed"),
    ("decoder.px_r_decoder.", "the dispersion is not by cell"),
    ("decoder.px_dropout_decoder", "the likelihood has no dropout"),
    ("px_r", "the likelihood has no dispersion, or it is by cell"),
    ("library_log_", "the library size is observed"),
    ("y_prior", "labels are equally likely"),
];

/// Counters of batch norms, which averages with a fixed share do not need.
pub const COUNTERS: &str = ".num_batches_tracked";

fn of<'t>(tables: &[(&str, &'t [(&'t str, &'t str)]); 2], model: &Model) -> &'t [(&'t str, &'t str)] {
    let [totalvi, others] = tables;
    if model.entry.name == totalvi.0 { totalvi.1 } else { others.1 }
}

/// Where a tensor of ours is; `None` for names that no model of theirs has.
pub fn source(model: &Model, name: &str) -> Option<Source> {
    let groups = |theirs: &str| {
        let by_group = param(model, name)?.axes[0] != scgraft_engine::Axis::One;
        if by_group { transposed(theirs) } else { same(theirs) }
    };
    match name {
        "dispersion" => return groups("px_r"),
        "proteins.dispersion" => return groups("py_r"),
        "library.prior_mean" => return same("library_log_means"),
        "library.prior_variance" => return same("library_log_vars"),
        _ => {}
    }
    if let Some((_, theirs)) = BY_CONDITION.iter().find(|t| t.0 == name) {
        return transposed(*theirs);
    }
    if let Some(what) = name.strip_prefix("classifier.logits.") {
        let slot = if param(model, "classifier.0.weight").is_some() { 1 } else { 0 };
        return same(format!("classifier.classifier.{slot}.{what}"));
    }
    let rest = |prefix: &str| name.strip_prefix(prefix)?.strip_prefix('.');
    for (ours, theirs) in of(&CONDITIONED, model) {
        if let Some(what) = rest(ours).filter(|_| param(model, &format!("{ours}.condition")).is_some()) {
            return conditioned(model, ours, theirs, what);
        }
    }
    if let Some((what, theirs)) = of(&HEADS, model).iter().find_map(|t| Some((rest(t.0)?, t.1))) {
        return same(format!("{theirs}.{what}"));
    }
    let (what, ours, theirs) = of(&STACKS, model).iter().find_map(|t| Some((rest(t.0)?, t.0, t.1)))?;
    let (layer, what) = what.split_once('.')?;
    stacked(model, (ours, theirs), layer, what)
}

/// Columns of conditions and categorical covariates, of which those with one level have none.
fn one_hot(levels: usize) -> usize {
    if levels == 1 { 0 } else { levels }
}

/// Rows of ours that are columns of theirs.
fn rows(name: String, from: usize, levels: usize, width: usize) -> Option<Source> {
    if levels == 1 {
        return Some(Source::Constant(0.0, width));
    }
    Some(Source::Columns { name, columns: vec![from..from + levels], transposed: true })
}

/// A tensor of a layer of a stack.
fn stacked(model: &Model, (ours, theirs): (&str, &str), layer: &str, what: &str) -> Option<Source> {
    let slot = |slot: usize, what: &str| format!("{theirs}.fc_layers.Layer {layer}.{slot}.{what}");
    if let Some(what) = what.strip_prefix("norm.") {
        return same(slot(1, norm(what)));
    }
    if what == "bias" {
        return same(slot(0, "bias"));
    }
    let h = &model.header;
    let name = slot(0, "weight");
    let weight = param(model, &format!("{ours}.{layer}.weight"))?;
    // Ours is [gene × hidden] where genes are read, [hidden × input] elsewhere.
    let of_genes = weight.axes[0] == scgraft_engine::Axis::Gene;
    let (inputs, width) =
        if of_genes { (weight.shape[0], weight.shape[1]) } else { (weight.shape[1], weight.shape[0]) };
    let columns = |from: usize, n: usize, transposed| {
        Some(Source::Columns { name: name.clone(), columns: vec![from..from + n], transposed })
    };
    if what == "weight" {
        return columns(0, inputs, of_genes);
    }
    let n = |what: &str| param(model, &format!("{ours}.{layer}.{what}")).map_or(0, |p| p.shape[1]);
    let (proteins, continuous) = (n("proteins"), n("continuous"));
    let conditions = inputs + proteins + continuous;
    match what {
        "proteins" => return columns(inputs, proteins, false),
        "continuous" => return columns(inputs + proteins, continuous, false),
        "condition" => return rows(name, conditions, h.conditions.len(), width),
        // Models with labels read nothing else beside the input.
        "label" => return rows(name, inputs, h.labels.len(), width),
        _ => {}
    }
    let mut from = conditions + one_hot(h.conditions.len());
    for (covariate, levels) in &h.covariates {
        if what.strip_prefix("covariate.") == Some(covariate) {
            return rows(name, from, levels.len(), width);
        }
        from += one_hot(levels.len());
    }
    None
}

/// A tensor of a layer without activation: its columns are the input with continuous covariates, the condition, and
/// categorical covariates, which ours has with the input.
fn conditioned(model: &Model, ours: &str, theirs: &str, what: &str) -> Option<Source> {
    let slot = |slot: usize, what: &str| format!("{theirs}.fc_layers.Layer 0.{slot}.{what}");
    if let Some(what) = what.strip_prefix("norm.") {
        return same(slot(1, norm(what)));
    }
    let h = &model.header;
    let weight = param(model, &format!("{ours}.weight"))?;
    let covariates: usize = h.covariates.iter().map(|c| c.1.len()).sum();
    let before = weight.shape[1] - covariates;
    match what {
        "bias" => same(slot(0, "bias")),
        "condition" => rows(slot(0, "weight"), before, h.conditions.len(), weight.shape[0]),
        "weight" => {
            let after = before + one_hot(h.conditions.len());
            let columns = vec![0..before, after..after + covariates];
            Some(Source::Columns { name: slot(0, "weight"), columns, transposed: false })
        }
        _ => None,
    }
}

/// A setting of theirs that has no equal here.
fn unequal(what: &str, found: &Value, why: &str) -> String {
    format!("`{what}` is {found}: {why}")
}

/// Which side norms are on, by their settings: of the encoders, of the decoders.
fn norms(given: &Value) -> Result<[&'static str; 2], String> {
    let on = |key: &str, default: &str, side: &str| match &given[key] {
        Value::Bool(both) => *both,
        value => {
            let which = value.as_str().unwrap_or(default);
            which == "both" || which == side
        }
    };
    let mut out = ["none"; 2];
    for (norm, side) in out.iter_mut().zip(["encoder", "decoder"]) {
        let (batch, layer) = (on("use_batch_norm", "both", side), on("use_layer_norm", "none", side));
        *norm = match (batch, layer) {
            (true, true) => return Err(format!("the {side} has batch norm and layer norm one after the other")),
            (true, false) => "batch",
            (false, true) => "layer",
            (false, false) => "none",
        };
    }
    Ok(out)
}

/// A version of the package: major, minor, patch.
pub type Version = (u32, u32, u32);

/// The first in which totalVI reads counts as shares of the cell's mean.
const SHARES_SINCE: Version = (1, 3, 1);
/// The first in which the deviation of totalVI's background is a softplus and not an exponential.
const SOFTPLUS_SINCE: Version = (1, 2, 0);

/// Our settings from theirs, by their class, the version it was saved by, and their names; those left out have the
/// defaults of the package.
///
/// # Errors
/// A setting that no model here has.
pub fn settings(class: &str, version: Version, given: &Value) -> Result<Value, String> {
    let refused = [
        ("batch_representation", "embedding", "conditions enter as rows of weights here, not as a learned embedding"),
        ("gene_likelihood", "bernoulli", "no model here has it"),
    ];
    for (what, value, why) in refused {
        if given[what] == value {
            return Err(unequal(what, &given[what], why));
        }
    }
    for what in ["var_activation", "extra_encoder_kwargs", "extra_decoder_kwargs", "classifier_parameters"] {
        let plain = match given.get(what) {
            None | Some(Value::Null) => true,
            Some(Value::Object(parts)) => parts.iter().all(|(name, value)| usual(given, name, value)),
            Some(value) => value == "torch._C._VariableFunctionsClass.exp",
        };
        if !plain {
            return Err(unequal(what, &given[what], "networks here have no such part"));
        }
    }
    if class == "TOTALVI" { totalvi(version, given) } else { scvi(class, given) }
}

/// Whether a part of a network is as in all of them, or acts in training alone.
fn usual(given: &Value, name: &str, value: &Value) -> bool {
    match name {
        "activation_fn" => value == "torch.nn.modules.activation.ReLU",
        "activation_function_bg" => true, // totalVI's, read there
        "n_layers" | "n_hidden" => *value == given[name],
        "dropout_rate" | "logits" => true,
        _ => value.is_null(),
    }
}

fn flag(given: &Value, key: &str, default: bool) -> bool {
    given[key].as_bool().unwrap_or(default)
}

fn text(given: &Value, key: &str, default: &str) -> String {
    given[key].as_str().unwrap_or(default).to_owned()
}

/// So many layers of so many units.
fn hidden(given: &Value, layers: &str, default: u64, units: u64) -> Vec<u64> {
    let units = given["n_hidden"].as_u64().unwrap_or(units);
    vec![units; given[layers].as_u64().unwrap_or(default).min(64) as usize]
}

fn scvi(class: &str, given: &Value) -> Result<Value, String> {
    let linear = class == "LinearSCVI";
    let [encoder_norm, decoder_norm] = match linear {
        false => norms(given)?,
        true => ["batch", if flag(given, "use_batch_norm", true) { "batch" } else { "none" }],
    };
    let layers = if given["n_layers"].is_null() { "n_layers_encoder" } else { "n_layers" };
    let likelihood = text(given, "gene_likelihood", if linear { "nb" } else { "zinb" });
    let latent = text(given, "latent_distribution", "normal");
    let library = if flag(given, "use_observed_lib_size", !linear) { "observed" } else { "learned" };
    let mut out = json!({
        "hidden": hidden(given, layers, 1, 128), "latent": given["n_latent"].as_u64().unwrap_or(10),
        "dropout": given["dropout_rate"].as_f64().unwrap_or(0.1),
        "likelihood": likelihood, "dispersion": text(given, "dispersion", "gene"),
        "encode_covariates": flag(given, "encode_covariates", false) && !linear,
        "deep_covariates": flag(given, "deeply_inject_covariates", true),
        "encoder_norm": encoder_norm, "decoder_norm": decoder_norm,
        "library": library, "latent_distribution": latent, "log_input": flag(given, "log_variational", true),
        "decoder": if linear { "linear" } else { "network" }, "linear_bias": flag(given, "bias", false),
    });
    if class == "SCANVI" {
        out["linear_classifier"] = flag(given, "linear_classifier", false).into();
    }
    Ok(out)
}

fn totalvi(version: Version, given: &Value) -> Result<Value, String> {
    let [encoder_norm, decoder_norm] = norms(given)?;
    if encoder_norm != decoder_norm {
        return Err(format!("its encoder has norm `{encoder_norm}` and its decoders `{decoder_norm}`"));
    }
    for what in ["encode_covariates", "log_variational"] {
        if !flag(given, what, true) {
            return Err(unequal(what, &given[what], "totalVI here always does"));
        }
    }
    if text(given, "latent_distribution", "normal") != "normal" {
        return Err(unequal("latent_distribution", &given["latent_distribution"], "it is normal here"));
    }
    let by_batch = |what: &str, alone: &str| match given[what].as_str().unwrap_or(alone) {
        s if s == alone => Ok(false),
        s if s.ends_with("-batch") => Ok(true),
        _ => Err(unequal(what, &given[what], "dispersions of totalVI are by gene or protein, or by batch too, here")),
    };
    let dropout = given["dropout_rate_encoder"].as_f64().unwrap_or(0.2);
    let exponential = version < SOFTPLUS_SINCE || given["extra_decoder_kwargs"]["activation_function_bg"] == "exp";
    Ok(json!({
        "hidden": hidden(given, "n_layers_encoder", 2, 256),
        "decoder_hidden": hidden(given, "n_layers_decoder", 1, 256),
        "latent": given["n_latent"].as_u64().unwrap_or(20), "dropout": dropout, "norm": encoder_norm,
        "likelihood": text(given, "gene_likelihood", "nb"),
        "dispersion_by_condition": by_batch("gene_dispersion", "gene")?,
        "protein_dispersion_by_condition": by_batch("protein_dispersion", "protein")?,
        "library": if flag(given, "use_observed_lib_size", true) { "observed" } else { "learned" },
        "input": if version < SHARES_SINCE { "counts" } else { "shares" },
        "background_deviation": if exponential { "exp" } else { "softplus" },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_other_parts_are_refused() {
        let given = |what: &str, value: Value| {
            settings("SCANVI", (1, 4, 2), &json!({"n_layers": 2, "n_hidden": 24, what: value}))
        };
        let relu = json!({"activation_fn": "torch.nn.modules.activation.ReLU"});
        let tanh = json!({"activation_fn": "torch.nn.modules.activation.Tanh"});
        for what in ["extra_encoder_kwargs", "extra_decoder_kwargs", "classifier_parameters"] {
            assert!(given(what, relu.clone()).is_ok() && given(what, Value::Null).is_ok(), "{what}");
            let error = given(what, tanh.clone()).unwrap_err();
            assert!(error.contains(what) && error.contains("Tanh"), "{error}");
        }
        assert!(given("var_activation", json!("torch._C._VariableFunctionsClass.exp")).is_ok());
        assert!(given("var_activation", json!("torch._C._nn.softplus")).unwrap_err().contains("softplus"));
        assert!(given("classifier_parameters", json!({"n_layers": 2, "dropout_rate": 0.3})).is_ok());
        assert!(given("classifier_parameters", json!({"n_layers": 1})).is_err());
    }
}
