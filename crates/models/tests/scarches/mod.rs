//! What the golden tests of scArches' models share: names of the encoder, a batch, and the comparison of loss
//! terms, gradients and ten training steps.

use scgraft_engine::{Adam, AdamConfig, Codes, Grads, InputScale, Noise};
use scgraft_models::import::scarches::source;
use scgraft_models::{Batch, Model, Step};
use serde_json::json;

use crate::support::{Golden, Ours, assert_close, pass, read_source, relative, single, transpose, with_weights};

/// Our tensor's values from upstream's, by the table that importing has.
pub fn ours(g: &Golden, model: &Model, prefix: &str, name: &str) -> Option<Vec<f64>> {
    let source = source(model, name).unwrap_or_else(|| panic!("`{name}` has no upstream name"));
    read_source(g, prefix, &source)
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
    let scale = model.input_scale();
    assert!(scale == InputScale::Log1p || g.settings["recon_loss"] == json!("mse"));
    batch.x.fill(n_genes, scale, sparse.iter().map(|r| (&r.0[..], &r.1[..])));
    batch.library = sparse.iter().map(|r| r.1.iter().sum()).collect();
    batch.condition = Codes::new(rows.iter().map(|&r| g.values("data.condition")[r as usize] as u32).collect());
    batch
}

/// Noise from [cell × dimension] to ours.
fn noise(eps: &[f64], batch: &Batch) -> Noise {
    Noise::Given(vec![single(&transpose(eps, batch.n_cells(), eps.len() / batch.n_cells()))])
}

/// A term as upstream reports it.
fn reported((name, value, weight): (&str, f64, f64)) -> f64 {
    if name == "mmd" { value * weight } else { value }
}

fn upstream_name(term: &str) -> &str {
    match term {
        "reconstruction" => "recon",
        other => other,
    }
}

/// `make` gives the model with any weights; they are replaced by upstream's.
pub fn check(g: &Golden, make: impl Fn() -> Model, ours: &Ours<'_>) {
    let name = &g.name;
    let model = with_weights(g, make(), ours);
    let step = Step { epoch: 1000, epochs: 1000, learning_rate: 1e-3, annealed: 1.0 };
    let mut grads = Grads::new(&model.params);
    let one = batch(g, &model, g.values("input.rows"));
    let terms = pass(&model, &one, noise(g.values("input.eps"), &one), &step, Some(&mut grads));
    let total: f64 = terms.iter().map(|t| t.1 * t.2).sum();
    for &term in &terms {
        let want = g.scalar(&format!("loss.{}", upstream_name(term.0)));
        relative(&format!("{name}: {}", term.0), reported(term), want, 1e-5);
    }
    relative(&format!("{name}: total"), total, g.scalar("loss.total"), 1e-5);
    for (p, id) in model.params.iter().zip(model.params.ids()) {
        if p.statistic {
            continue;
        }
        let Some(want) = ours(&model, "grad", &p.name) else { panic!("{name}: no gradient of `{}`", p.name) };
        for span in p.trainable_spans() {
            assert_close(&format!("{name}: d/d {}", p.name), &grads.get(id)[span.clone()], &want[span], 1e-4);
        }
    }
    if g.has("curve.recon") {
        curve(g, with_weights(g, make(), ours), ours, "curve");
    }
    if g.has("curve_decay.total") && g.settings["query"].is_null() {
        curve(g, with_weights(g, make(), ours), ours, "curve_decay");
    }
}

/// Ten steps: Adam, then the proximal operators.
fn curve(g: &Golden, mut model: Model, ours: &Ours<'_>, prefix: &str) {
    let name = &g.name;
    let before = model.params.clone();
    let decay = &g.settings["weight_decay"];
    let weight_decay = decay.as_f64().or(decay[prefix].as_f64()).unwrap() as f32;
    let mut adam = Adam::new(&model.params, AdamConfig { weight_decay, ..AdamConfig::default() });
    let mut grads = Grads::new(&model.params);
    let anneal = g.settings["alpha_epoch_anneal"].as_f64().unwrap() as f32;
    for t in 0..10 {
        let annealed = (t as f32 / anneal).min(1.0);
        let step = Step { epoch: t, epochs: 1000, learning_rate: 1e-3, annealed };
        let one = batch(g, &model, g.slice("curve.rows", t));
        let terms = pass(&model, &one, noise(g.slice("curve.eps", t), &one), &step, Some(&mut grads));
        for term in terms {
            let want = g.values(&format!("{prefix}.{}", upstream_name(term.0)))[t];
            relative(&format!("{name}: {prefix} {} at step {t}", term.0), reported(term), want, 1e-3);
        }
        adam.step(&mut model.params, &grads, step.learning_rate);
        model.params.apply_updates(grads.updates());
        model.network.after_step(&mut model.params, &step);
    }
    for (p, b) in model.params.iter().zip(before.iter()) {
        if let Some(want) = ours(&model, &format!("{prefix}.final"), &p.name).filter(|w| w.len() == p.n_values()) {
            assert_close(&format!("{name}: {prefix} final {}", p.name), p.values(), &want, 1e-3);
            // What upstream's proximal operators set to zero is zero.
            let (ours, theirs) = (zeros(p.values().iter().map(|&v| f64::from(v))), zeros(want.into_iter()));
            assert!(ours.abs_diff(theirs) <= p.n_values() / 100, "{name}: {} has {ours} zeros, {theirs}", p.name);
        } else {
            let frozen = p.values().iter().zip(b.values()).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            assert!(p.is_trainable() || frozen == 0, "{name}: `{}` is frozen and moved", p.name);
        }
    }
}

fn zeros(values: impl Iterator<Item = f64>) -> usize {
    values.filter(|&v| v == 0.0).count()
}
