//! CVAE and trVAE against scArches 0.6.1 on fixed weights, batches and noise: every loss term to 1e-5, every
//! gradient to 1e-4, ten training steps to 1e-3 (all relative).
#![allow(missing_docs)]

mod scarches;
mod support;

use scgraft_models::import::scarches::settings;
use scgraft_models::{Known, Model, Newcomers, Surgery};
use serde_json::json;
use support::Golden;

fn model(g: &Golden) -> Model {
    let s = &g.settings;
    let compared = s["use_mmd"] == json!(true);
    let mut config = settings(if compared { "trvae" } else { "cvae" }, s).unwrap();
    config["dropout"] = json!(0.0);
    config["kl_weight"] = s["alpha_kl"].clone();
    let names: Vec<String> = serde_json::from_value(s["condition_names"].clone()).unwrap();
    let n_reference = s["conditions"].as_u64().unwrap() as usize;
    let known = Known {
        genes: (0..g.shape("data.x")[1]).map(|i| format!("gene{i}")).collect(),
        conditions: names[..n_reference].to_vec(),
        ..Known::default()
    };
    let model = Model::new(if compared { "trvae" } else { "cvae" }, &config, known.into(), 1).unwrap();
    let new = Newcomers { conditions: names[n_reference..].to_vec(), cells: Vec::new() };
    if new.is_empty() { model } else { model.surgery(&Surgery::adaptor("query"), &new, 3).unwrap() }
}

fn check(name: &str) {
    let g = Golden::read(&format!("trvae_{name}"));
    scarches::check(&g, || model(&g), &|model, prefix, name| scarches::ours(&g, model, prefix, name));
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
    let known = Known { genes: vec!["a".into()], conditions: vec!["x".into()], ..Known::default() };
    let error = Model::new("cvae", &json!({ "mmd_weight": 1.0 }), known.into(), 1).unwrap_err().to_string();
    assert!(error.contains("trvae"), "{error}");
}
