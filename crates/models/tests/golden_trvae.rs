//! CVAE and trVAE against scArches 0.6.1 on fixed weights, batches and noise: every loss term to 1e-5, every
//! gradient to 1e-4, ten training steps to 1e-3 (all relative).
#![allow(missing_docs)]

mod scarches;
mod support;

use scgraft_models::{Header, Model, Surgery};
use serde_json::json;
use support::Golden;

/// Our tensor's values from upstream's, in our layout.
fn ours(g: &Golden, prefix: &str, name: &str) -> Option<Vec<f64>> {
    let as_is = |n: &str| scarches::as_is(g, prefix, n);
    let turned = |n: &str| scarches::turned(g, prefix, n);
    match name {
        "decoder.input.weight" => as_is("decoder.FirstL.L0.expr_L.weight"),
        "decoder.input.condition" => turned("decoder.FirstL.L0.cond_L.weight"),
        "decoder.mean.weight" | "decoder.mean.bias" => {
            let what = name.rsplit('.').next().unwrap();
            as_is(&format!("decoder.mean_decoder.0.{what}"))
                .or_else(|| as_is(&format!("decoder.recon_decoder.0.{what}")))
        }
        "decoder.dropout.weight" => as_is("decoder.dropout_decoder.weight"),
        "decoder.dropout.bias" => as_is("decoder.dropout_decoder.bias"),
        "dispersion" => turned("theta"),
        other => match other.strip_prefix("decoder.") {
            Some(rest) => {
                let (layer, what) = rest.split_once('.').unwrap();
                let part = if layer == "0" { "FirstL" } else { "HiddenL" };
                match what.strip_prefix("norm.") {
                    Some(what) => as_is(&format!("decoder.{part}.N{layer}.{}", scarches::norm(what))),
                    None => as_is(&format!("decoder.{part}.L{layer}.{what}")),
                }
            }
            None => scarches::encoder(g, prefix, other),
        },
    }
}

fn model(g: &Golden) -> Model {
    let s = &g.settings;
    let compared = s["use_mmd"] == json!(true);
    let mut config = json!({
        "hidden": s["hidden_layer_sizes"], "latent": s["latent_dim"], "dropout": 0.0,
        "likelihood": s["recon_loss"], "kl_weight": s["alpha_kl"],
        "norm": if s["use_bn"] == json!(true) { "batch" } else { "layer" },
    });
    if compared {
        config["mmd_weight"] = s["beta"].clone();
        config["mmd_boundary"] = s["mmd_boundary"].clone();
        config["mmd_on"] = json!(if s["mmd_on"] == json!("y") { "decoder" } else { "latent" });
    }
    let names: Vec<String> = serde_json::from_value(s["condition_names"].clone()).unwrap();
    let n_reference = s["conditions"].as_u64().unwrap() as usize;
    let header = Header {
        genes: (0..g.shape("data.x")[1]).map(|i| format!("gene{i}")).collect(),
        conditions: names[..n_reference].to_vec(),
        ..Header::default()
    };
    let model = Model::new(if compared { "trvae" } else { "cvae" }, &config, header, 1).unwrap();
    let new = names[n_reference..].to_vec();
    if new.is_empty() { model } else { model.surgery(&Surgery::adaptor("query", new), 3).unwrap() }
}

fn check(name: &str) {
    let g = Golden::read(&format!("trvae_{name}"));
    scarches::check(&g, || model(&g), &|_, prefix, name| ours(&g, prefix, name));
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => { $(#[test] fn $name() { check(stringify!($name)); })* };
}

scenarios!(
    cvae_nb,
    cvae_zinb,
    cvae_mse,
    mmd_z_nb,
    mmd_y_nb,
    mmd_y_zinb,
    mmd_y_mse,
    mmd_z_absent,
    mmd_y_boundary,
    batchnorm,
    surgery,
);

#[test]
fn a_cvae_compares_no_conditions() {
    let header = Header { genes: vec!["a".into()], conditions: vec!["x".into()], ..Header::default() };
    let error = Model::new("cvae", &json!({ "mmd_weight": 1.0 }), header, 1).unwrap_err().to_string();
    assert!(error.contains("trvae"), "{error}");
}
