//! expiMap against scArches 0.6.1 on fixed weights, batches and noise: every loss term to 1e-5, every
//! gradient to 1e-4, ten training steps to 1e-3 (all relative).
#![allow(missing_docs)]

mod support;

use scgraft_engine::{Adam, AdamConfig, Codes, Grads, InputScale, Noise, Tape, Workspace};
use scgraft_models::{Batch, Granularity, Header, Membership, Model, NewPrograms, Program, Segment, Step, Surgery};
use serde_json::{Value, json};
use support::{Golden, assert_close, single, transpose};

/// Our tensor's values from upstream's tensors under `prefix` (`param`, `grad`, `curve.final`), in our layout.
/// `None` when the prefix lacks them.
fn ours(g: &Golden, model: &Model, prefix: &str, name: &str) -> Option<Vec<f64>> {
    let key = |n: &str| format!("{prefix}.{n}");
    let as_is = |n: &str| g.has(&key(n)).then(|| g.values(&key(n)).to_vec());
    let turned = |n: &str| g.has(&key(n)).then(|| g.transposed(&key(n)));
    // Heads: the mask's programs first, then the new ones.
    let heads = |a: &str, b: &str| {
        let mut out = as_is(a);
        if let Some(more) = as_is(b) {
            out.get_or_insert_with(Vec::new).extend(more);
        }
        out
    };
    let entries = |n: &str, segment: &Segment| {
        let w = turned(n)?;
        if segment.membership != Membership::Hard {
            return Some(w);
        }
        let genes = model.header.genes.len();
        let member =
            |(j, p): (usize, &Program)| p.members.iter().map(|&m| w[j * genes + m as usize]).collect::<Vec<_>>();
        Some(segment.programs.iter().enumerate().flat_map(member).collect())
    };
    match name {
        "encoder.input.weight" => turned("encoder.FC.L0.expr_L.weight"),
        "encoder.input.bias" => as_is("encoder.FC.L0.expr_L.bias"),
        "encoder.input.condition" => turned("encoder.FC.L0.cond_L.weight"),
        "encoder.mean.weight" => heads("encoder.mean_encoder.weight", "encoder.expand_mean_encoder.weight"),
        "encoder.mean.bias" => heads("encoder.mean_encoder.bias", "encoder.expand_mean_encoder.bias"),
        "encoder.log_variance.weight" => heads("encoder.log_var_encoder.weight", "encoder.expand_var_encoder.weight"),
        "encoder.log_variance.bias" => heads("encoder.log_var_encoder.bias", "encoder.expand_var_encoder.bias"),
        "decoder.condition" => turned("decoder.L0.cond_L.weight"),
        "dispersion" => turned("theta"),
        other => {
            if let Some(segment) = model.header.segments.iter().find(|s| s.tensor() == other) {
                let upstream = match (&segment.origin, segment.membership) {
                    (None, _) => "decoder.L0.expr_L.weight",
                    (Some(_), Membership::Free) => "decoder.L0.ext_L.weight",
                    (Some(_), _) => "decoder.L0.ext_L_m.weight",
                };
                return entries(upstream, segment);
            }
            if let Some((layer, what)) = other.strip_prefix("encoder.").and_then(|r| r.split_once(".norm.")) {
                let what = match what {
                    "mean" => "running_mean",
                    "variance" => "running_var",
                    affine => affine,
                };
                return as_is(&format!("encoder.FC.N{layer}.{what}"));
            }
            let (layer, what) = other.strip_prefix("encoder.").unwrap().split_once('.').unwrap();
            as_is(&format!("encoder.FC.L{layer}.{what}"))
        }
    }
}

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
        "hsic_joint": s["hsic_one_vs_all"] == json!(false),
    });
    if s["use_hsic"].is_null() {
        config["hsic_weight"] = json!(0.0);
    }
    let n_genes = g.shape("data.x")[1];
    let names: Vec<String> = serde_json::from_value(s["condition_names"].clone()).unwrap();
    let n_reference = s["conditions"].as_u64().unwrap() as usize;
    let membership = if soft { Membership::Soft } else { Membership::Hard };
    let header = Header {
        genes: (0..n_genes).map(|i| format!("gene{i}")).collect(),
        conditions: names[..n_reference].to_vec(),
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
            conditions: names[n_reference..].to_vec(),
            granularity,
            programs: with_programs.then_some(NewPrograms { constrained, soft, n_free: new }),
            settings: Value::Null,
        };
        model = model.surgery(&plan, 3).unwrap();
    }
    let values: Vec<_> = model.params.iter().map(|p| ours(g, &model, "param", &p.name)).collect();
    for (p, v) in model.params.iter_mut().zip(values) {
        let v = v.unwrap_or_else(|| panic!("{}: no weights for `{}`", g.name, p.name));
        assert_eq!(v.len(), p.values.len(), "{}: `{}`", g.name, p.name);
        p.values = single(&v);
    }
    model
}

fn batch(g: &Golden, model: &Model, rows: &[f64]) -> Batch {
    let n_genes = model.header.genes.len();
    let sparse: Vec<(Vec<u32>, Vec<f32>)> = rows
        .iter()
        .map(|&r| {
            let row = g.slice("data.x", r as usize).iter().enumerate().filter(|(_, v)| **v != 0.0);
            row.map(|(i, &v)| (i as u32, v as f32)).unzip()
        })
        .collect();
    let mut batch = Batch { rows: rows.iter().map(|&r| r as usize).collect(), ..Batch::default() };
    let scale = model.network.input_scale();
    assert!(scale == InputScale::Log1p || g.settings["recon_loss"] == json!("mse"));
    batch.x.fill(n_genes, scale, sparse.iter().map(|r| (&r.0[..], &r.1[..])));
    batch.library = sparse.iter().map(|r| r.1.iter().sum()).collect();
    batch.condition = Codes::new(rows.iter().map(|&r| g.values("data.condition")[r as usize] as u32).collect());
    batch
}

/// Loss terms and gradients of one batch.
fn pass(model: &Model, batch: &Batch, eps: &[f64], step: &Step, grads: &mut Grads) -> Vec<(&'static str, f64, f64)> {
    let mut workspace = Workspace::new();
    // Ours is [latent × cell].
    let noise = single(&transpose(eps, batch.n_cells(), eps.len() / batch.n_cells()));
    let mut tape = Tape::new(&model.params, &mut workspace, Noise::Given(vec![noise]), true);
    let loss = model.network.loss(&mut tape, batch, step);
    let terms = loss.iter().map(|t| (t.name, f64::from(tape.scalar(t.value)), f64::from(t.weight))).collect();
    let roots: Vec<_> = loss.iter().map(|t| (t.value, t.weight)).collect();
    tape.backward(&roots, grads);
    terms
}

fn upstream_name(term: &str) -> &str {
    match term {
        "reconstruction" => "recon",
        other => other,
    }
}

fn relative(what: &str, got: f64, want: f64, tolerance: f64) {
    let error = (got - want).abs() / want.abs().max(1e-3);
    assert!(error <= tolerance, "{what}: {got}, upstream {want} ({error:.1e} relative)");
}

fn check(name: &str) {
    let g = Golden::read(&format!("expimap_{name}"));
    let model = model(&g);
    let kl_weight = model.network.kl_weight();
    let step = Step { epoch: 1000, learning_rate: 1e-3, kl_weight };
    let mut grads = Grads::new(&model.params);
    let one = batch(&g, &model, g.values("input.rows"));
    let terms = pass(&model, &one, g.values("input.eps"), &step, &mut grads);
    let total: f64 = terms.iter().map(|t| t.1 * t.2).sum();
    for (term, value, _) in &terms {
        relative(&format!("{name}: {term}"), *value, g.scalar(&format!("loss.{}", upstream_name(term))), 1e-5);
    }
    relative(&format!("{name}: total"), total, g.scalar("loss.total"), 1e-5);
    for (p, id) in model.params.iter().zip(model.params.ids()) {
        if p.statistic {
            continue;
        }
        let Some(want) = ours(&g, &model, "grad", &p.name) else { panic!("{name}: no gradient of `{}`", p.name) };
        for span in p.trainable_spans() {
            assert_close(&format!("{name}: d/d {}", p.name), &grads.get(id)[span.clone()], &want[span], 1e-4);
        }
    }
    if g.has("curve.recon") {
        curve(name, &g, "curve");
    }
    if g.has("curve_decay.total") && g.settings["query"].is_null() {
        curve(name, &g, "curve_decay");
    }
}

/// Ten steps: Adam, then the proximal operators.
fn curve(name: &str, g: &Golden, prefix: &str) {
    let mut model = model(g);
    let before = model.params.clone();
    let weight_decay = g.settings["weight_decay"][prefix].as_f64().unwrap() as f32;
    let mut adam = Adam::new(&model.params, AdamConfig { weight_decay, ..AdamConfig::default() });
    let mut grads = Grads::new(&model.params);
    let anneal = g.settings["alpha_epoch_anneal"].as_f64().unwrap() as f32;
    for t in 0..10 {
        let kl_weight = model.network.kl_weight() * (t as f32 / anneal).min(1.0);
        let step = Step { epoch: t, learning_rate: 1e-3, kl_weight };
        let one = batch(g, &model, g.slice("curve.rows", t));
        let terms = pass(&model, &one, g.slice("curve.eps", t), &step, &mut grads);
        for (term, value, _) in terms {
            let want = g.values(&format!("{prefix}.{}", upstream_name(term)))[t];
            relative(&format!("{name}: {prefix} {term} at step {t}"), value, want, 1e-3);
        }
        adam.step(&mut model.params, &grads, step.learning_rate);
        model.params.apply_updates(grads.updates());
        model.network.after_step(&mut model.params, &step);
    }
    for (p, b) in model.params.iter().zip(before.iter()) {
        if let Some(want) = ours(g, &model, &format!("{prefix}.final"), &p.name).filter(|w| w.len() == p.values.len()) {
            assert_close(&format!("{name}: {prefix} final {}", p.name), &p.values, &want, 1e-3);
            // What upstream's proximal operators set to zero is zero.
            let (ours, theirs) = (zeros(p.values.iter().map(|&v| f64::from(v))), zeros(want.into_iter()));
            assert!(ours.abs_diff(theirs) <= p.values.len() / 100, "{name}: {} has {ours} zeros, {theirs}", p.name);
        } else {
            let frozen = p.values.iter().zip(&b.values).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            assert!(p.is_trainable() || frozen == 0, "{name}: `{}` is frozen and moved", p.name);
        }
    }
}

fn zeros(values: impl Iterator<Item = f64>) -> usize {
    values.filter(|&v| v == 0.0).count()
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
