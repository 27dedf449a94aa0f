//! expiMap against scArches 0.6.1 on fixed weights, batches and noise: every loss term to 1e-5, every
//! gradient to 1e-4, ten training steps to 1e-3 (all relative).
#![allow(missing_docs)]

mod scarches;
mod support;

use scgraft_models::{
    Granularity, Header, Known, Membership, Model, NewPrograms, Newcomers, Program, Segment, Surgery,
};
use serde_json::{Value, json};
use support::Golden;

fn programs(g: &Golden, key: &str) -> Vec<Program> {
    let members = |row: &[f64]| (0..row.len() as u32).filter(|&i| row[i as usize] != 0.0).collect();
    let rows = g.values(key).chunks(g.shape(key)[1]);
    rows.enumerate().map(|(j, row)| Program { name: format!("{key}{j}"), members: members(row) }).collect()
}

fn model(g: &Golden) -> Model {
    let s = &g.settings;
    let number = |key: &str, default: f64| s["train"].get(key).and_then(Value::as_f64).unwrap_or(default);
    let soft = s["soft_mask"] == json!(true);
    let mut config = json!({
        "hidden": s["hidden_layer_sizes"], "dropout": 0.0, "likelihood": s["recon_loss"],
        "output": s["decoder_last_layer"], "kl_weight": s["alpha_kl"],
        "norm": match (s["use_bn"].as_bool(), s["use_ln"].as_bool()) {
            (Some(true), _) => "batch",
            (_, Some(true)) => "layer",
            _ => "none",
        },
        "frozen_norm_by_batch": true,
        "lasso_weight": number("alpha", 0.0), "l1_weight": number("alpha_l1", 0.0),
        "new_l1_weight": number("gamma_ext", 0.0), "new_l1_anneal": number("gamma_epoch_anneal", 0.0) as usize,
        "hsic_weight": if s["use_hsic"] == json!(true) { s["beta"].as_f64().unwrap_or(1.0) } else { 0.0 },
        "hsic_joint": s["hsic_one_vs_all"] == json!(false), "new_wait": 0, "lasso_anneal": false, "gene_set_start": false,
    });
    if s["use_hsic"].is_null() {
        config["hsic_weight"] = json!(0.0);
    }
    let n_genes = g.shape("data.x")[1];
    let names: Vec<String> = serde_json::from_value(s["condition_names"].clone()).unwrap();
    let n_reference = s["conditions"].as_u64().unwrap() as usize;
    let membership = if soft { Membership::Soft } else { Membership::Hard };
    let header = Header {
        known: Known {
            genes: (0..n_genes).map(|i| format!("gene{i}")).collect(),
            conditions: names[..n_reference].to_vec(),
            ..Known::default()
        },
        segments: vec![Segment { origin: None, membership, programs: programs(g, "mask") }],
        ..Header::default()
    };
    let mut model = Model::new("expimap", &config, header, 1).unwrap();
    if s["query"].is_object() {
        let query = &s["query"];
        let new = query["new_n_ext"].as_u64().unwrap_or(0) as usize;
        let constrained = if g.has("ext_mask") { programs(g, "ext_mask") } else { Vec::new() };
        let granularity = match &g.name {
            n if n.ends_with("everything") => Granularity::All,
            n if n.ends_with("first_layers") => Granularity::FirstLayers,
            _ => Granularity::Adaptor,
        };
        let with_programs = new > 0 || !constrained.is_empty();
        let soft = query["new_soft_ext_mask"] == json!(true);
        let plan = Surgery {
            name: "query".into(),
            granularity,
            programs: with_programs.then_some(NewPrograms { constrained, soft, n_free: new }),
            settings: Value::Null,
        };
        let new = Newcomers { conditions: names[n_reference..].to_vec(), cells: Vec::new() };
        model = model.surgery(&plan, &new, 3).unwrap();
    }
    model
}

fn check(name: &str) {
    let g = Golden::read(&format!("expimap_{name}"));
    scarches::check(&g, || model(&g), &|model, prefix, name| scarches::ours(&g, model, prefix, name));
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => { $(#[test] fn $name() { check(stringify!($name)); })* };
}

scenarios!(
    hard_nb,
    hard_nb_strong_lasso,
    soft_nb,
    soft_nb_strong_l1,
    hard_nb_softplus,
    hard_nb_exp,
    hard_mse_identity,
    hard_mse_softplus,
    hard_mse_exp,
    hard_mse_relu,
    nonorm_nb,
    batchnorm_nb,
    surgery_batchnorm,
    surgery_adaptors,
    surgery_first_layers,
    surgery_everything,
    surgery_new_programs_hard,
    surgery_new_programs_soft,
    surgery_hsic_joint,
    surgery_no_hsic,
);
