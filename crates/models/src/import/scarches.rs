//! scArches' own models: EXPIMAP and TRVAE (CVAE without its discrepancy), version 0.5 to 0.6.
//!
//! | ours | theirs | how |
//! |---|---|---|
//! | `encoder.input.weight`, `.bias` | `encoder.FC.L0.expr_L` | transposed, same |
//! | `encoder.input.condition` | `encoder.FC.L0.cond_L.weight` | transposed |
//! | `encoder.<i>.…`, `.<i>.norm.…` | `encoder.FC.L<i>.…`, `N<i>.…` | same |
//! | `encoder.mean.…`, `.log_variance.…` | `encoder.mean_encoder`, `log_var_encoder`, then `expand_…` of new programs | same |
//! | `decoder.programs…` | `decoder.L0.expr_L`, `ext_L_m`, `ext_L` | members of a hard gene set, or transposed |
//! | `decoder.condition`, `dispersion` | `decoder.L0.cond_L`, `theta` | transposed |
//! | `decoder.input.…`, `decoder.<i>.…` | `decoder.FirstL.L0.…`, `decoder.HiddenL.L<i>.…` | same, conditions transposed |
//! | `decoder.mean.…`, `decoder.dropout.…` | `decoder.mean_decoder.0` or `recon_decoder.0`, `dropout_decoder` | same |

use serde_json::{Value, json};

use super::{Source, norm, param, same, transposed};
use crate::{Membership, Model};

/// What their files have and models here do without: the end of their names, and why.
pub const DROPPED: [(&str, &str); 2] = [
    (".num_batches_tracked", "averages with a fixed share count no batches"),
    (".mask", "gene sets stand in the header"),
];

/// Where a tensor of ours is; `None` for names that no model of theirs has.
pub fn source(model: &Model, name: &str) -> Option<Source> {
    if let Some(segment) = model.header.segments.iter().find(|s| s.tensor() == name) {
        let theirs = match (&segment.origin, segment.membership) {
            (None, _) => "decoder.L0.expr_L.weight",
            (Some(_), Membership::Free) => "decoder.L0.ext_L.weight",
            (Some(_), _) => "decoder.L0.ext_L_m.weight",
        };
        if segment.membership != Membership::Hard {
            return transposed(theirs);
        }
        let members = segment.programs.iter().map(|p| p.members.clone()).collect();
        return Some(Source::Members { name: theirs.to_owned(), members });
    }
    if let Some(rest) = name.strip_prefix("encoder.") {
        return encoder(model, rest);
    }
    let counts = param(model, "dispersion").is_some();
    match name {
        "dispersion" => return transposed("theta"),
        "decoder.condition" => return transposed("decoder.L0.cond_L.weight"),
        "decoder.input.weight" => return same("decoder.FirstL.L0.expr_L.weight"),
        "decoder.input.condition" => return transposed("decoder.FirstL.L0.cond_L.weight"),
        _ => {}
    }
    let (part, what) = name.strip_prefix("decoder.")?.split_once('.')?;
    match part {
        "mean" if counts => same(format!("decoder.mean_decoder.0.{what}")),
        "mean" => same(format!("decoder.recon_decoder.0.{what}")),
        "dropout" => same(format!("decoder.dropout_decoder.{what}")),
        layer => {
            let part = if layer == "0" { "FirstL" } else { "HiddenL" };
            same(match what.strip_prefix("norm.") {
                Some(what) => format!("decoder.{part}.N{layer}.{}", norm(what)),
                None => format!("decoder.{part}.L{layer}.{what}"),
            })
        }
    }
}

fn encoder(model: &Model, rest: &str) -> Option<Source> {
    let (part, what) = rest.split_once('.')?;
    // The reference's dimensions first, then those of new programs.
    let head = |theirs: [&str; 2]| {
        let part = |name: &str| Source::Same(format!("encoder.{name}.{what}"));
        let expanded = model.header.grafts.iter().any(|g| g.n_programs > 0);
        Some(if expanded { Source::Stacked(theirs.map(part).into()) } else { part(theirs[0]) })
    };
    match (part, what) {
        ("input", "weight") => transposed("encoder.FC.L0.expr_L.weight"),
        ("input", "condition") => transposed("encoder.FC.L0.cond_L.weight"),
        ("input", what) => same(format!("encoder.FC.L0.expr_L.{what}")),
        ("mean", _) => head(["mean_encoder", "expand_mean_encoder"]),
        ("log_variance", _) => head(["log_var_encoder", "expand_var_encoder"]),
        (layer, what) => same(match what.strip_prefix("norm.") {
            Some(what) => format!("encoder.FC.N{layer}.{}", norm(what)),
            None => format!("encoder.FC.L{layer}.{what}"),
        }),
    }
}

/// Our settings from theirs, by our name of the model and their names of settings; those left out have the defaults of
/// the package.
///
/// # Errors
/// A setting that no model here has.
pub fn settings(model: &str, given: &Value) -> Result<Value, String> {
    let flag = |key: &str| given[key].as_bool().unwrap_or(false);
    let norm = match (flag("use_bn"), flag("use_ln")) {
        (true, _) => "batch",
        (false, true) => "layer",
        (false, false) => "none",
    };
    if flag("use_l_encoder") {
        return Err("it has an encoder of library sizes (`use_l_encoder`)".into());
    }
    let mut out = json!({
        "hidden": given["hidden_layer_sizes"], "dropout": given["dr_rate"].as_f64().unwrap_or(0.05), "norm": norm,
        "likelihood": given["recon_loss"].as_str().unwrap_or("nb"),
    });
    if model == "expimap" {
        if let Some(output) = given["decoder_last_layer"].as_str() {
            // Squared error without an output function.
            out["output"] =
                if given["recon_loss"] == "mse" && output == "softmax" { "identity" } else { output }.into();
        }
        return Ok(out);
    }
    out["latent"] = given["latent_dim"].clone();
    if model == "trvae" {
        out["mmd_weight"] = given["beta"].as_f64().unwrap_or(1.0).into();
        out["mmd_boundary"] = given["mmd_boundary"].clone();
        out["mmd_on"] = if given["mmd_on"] == "y" { "decoder" } else { "latent" }.into();
    }
    Ok(out)
}
