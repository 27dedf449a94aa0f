//! scANVI against scvi-tools 1.4.2 on fixed weights, batches and noise: every loss term to 1e-5, every gradient to 1e-4,
//! ten training steps to 1e-3 (all relative); and what it gives: probabilities of labels.
#![allow(missing_docs)]

mod scvitools;
mod support;

use scgraft_cells::Prepared;
use scgraft_engine::{Grads, Noise};
use scgraft_models::{Model, Step};
use scvitools::{batch, noise, pass, relative, rows};
use support::{Golden, assert_close};

fn model(g: &Golden) -> (Model, Prepared) {
    let mut config = scvitools::settings(g, "SCANVI");
    config["classification_weight"] = g.settings["classification_ratio"].clone();
    scvitools::model(g, "scanvi", &config, true, &|model, prefix, name| scvitools::ours(g, model, prefix, name))
}

fn draws(g: &Golden, step: Option<usize>) -> Noise {
    let latent = g.settings["n_latent"].as_u64().unwrap() as usize;
    let of = |name: &str| {
        let key = format!("{}.eps{name}", if step.is_some() { "curve" } else { "input" });
        g.has(&key).then(|| step.map_or_else(|| g.values(&key), |t| g.slice(&key, t)))
    };
    let mut all = vec![(of("").unwrap(), latent)];
    all.extend(of("_library").map(|l| (l, 1)));
    all.push((of("_z2").unwrap(), latent));
    noise(&all)
}

/// Terms as upstream reports them.
fn reported(g: &Golden, terms: &[(&'static str, f64, f64)]) -> Vec<(&'static str, f64)> {
    let of = |names: &[&str]| terms.iter().filter(|t| names.contains(&t.0)).map(|t| t.1).sum::<f64>();
    let mut out = vec![
        ("likelihood", of(&["reconstruction"])),
        ("recon", of(&["reconstruction", "kl_z1"])),
        ("kl", of(&["kl_z2", "kl_label", "kl_library"])),
        ("total", terms.iter().map(|t| t.1 * t.2).sum()),
    ];
    if g.has("loss.classification") {
        out.push(("classification", of(&["classification"])));
    }
    out
}

fn check(name: &str) {
    let g = Golden::read(&format!("scanvi_{name}"));
    let (model, data) = model(&g);
    let ours = |model: &Model, prefix: &str, name: &str| scvitools::ours(&g, model, prefix, name);
    let kl_weight = g.settings["kl_weight"].as_f64().unwrap() as f32;
    let step = Step { epoch: 0, epochs: 1000, learning_rate: 1e-3, annealed: kl_weight };
    let mut grads = Grads::new(&model.params);
    let labelled = g.has("input.labelled_rows").then(|| rows(g.values("input.labelled_rows")));
    let one = batch(&model, &data, &rows(g.values("input.rows")), labelled.as_deref());
    let terms = pass(&model, &one, draws(&g, None), &step, Some(&mut grads));
    for (term, value) in reported(&g, &terms) {
        relative(&format!("{name}: {term}"), value, g.scalar(&format!("loss.{term}")), 1e-5);
    }
    scvitools::gradients(&g, &model, &grads, &ours);
    let probabilities = model.label_probabilities(&data.select_cells(&rows(g.values("input.rows")))).unwrap().unwrap();
    assert_close(&format!("{name}: probabilities"), &probabilities.values, g.values("eval.probability"), 1e-5);
    if g.has("curve.recon") {
        scvitools::curve(&g, model, &ours, |model, t, kl_weight, grads| {
            let labelled = g.has("curve.labelled_rows").then(|| rows(g.slice("curve.labelled_rows", t)));
            let one = batch(model, &data, &rows(g.slice("curve.rows", t)), labelled.as_deref());
            let step = Step { epoch: t, epochs: 1000, learning_rate: 1e-3, annealed: kl_weight };
            reported(&g, &pass(model, &one, draws(&g, Some(t)), &step, Some(grads)))
        });
    }
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => { $(#[test] fn $name() { check(stringify!($name)); })* };
}

scenarios!(
    mapping,
    default_batchnorm,
    unlabelled_only,
    nb_gene_batch,
    linear_classifier,
    learned_library,
    covariates_deep,
    surgery,
);

/// Terms of the bound, by name: all but the classification.
fn bound(model: &Model, data: &Prepared, g: &Golden, rows: &[usize]) -> Vec<(&'static str, f64)> {
    let step = Step { epoch: 0, epochs: 1000, learning_rate: 1e-3, annealed: 0.7 };
    let one = batch(model, data, rows, None);
    let terms = pass(model, &one, draws(g, None), &step, Some(&mut Grads::new(&model.params)));
    terms.into_iter().map(|t| (t.0, t.1)).filter(|t| t.0 != "classification").collect()
}

/// With `label_in_bound` a labelled cell is where it would be if the classifier were sure of its label; the others are where
/// they were.
#[test]
fn a_labelled_cell_at_its_label() {
    let g = Golden::read("scanvi_mapping");
    let (usual, data) = model(&g);
    // The same weights, with a setting, and so much more of the classifier's second logit.
    let with = |label_in_bound: bool, sure: f32| {
        let mut config = usual.network.config();
        config["label_in_bound"] = label_in_bound.into();
        let mut out = Model::new("scanvi", &config, usual.header.clone(), 1).unwrap();
        for (to, from) in out.params.iter_mut().zip(usual.params.iter()) {
            let mut values = from.values().to_vec();
            if from.name == "classifier.logits.bias" {
                values[1] += sure;
            }
            to.put(values);
        }
        out
    };
    let (at_label, sure) = (with(true, 0.0), with(false, 1e6));
    let labels = data.labels.as_ref().unwrap();
    let n = rows(g.values("input.rows")).len();
    let of = |label: Option<u32>| -> Vec<usize> {
        let own: Vec<usize> = (0..data.n_cells()).filter(|&i| labels.codes[i] == label).collect();
        own.into_iter().cycle().take(n).collect()
    };
    let (labelled, unlabelled) = (of(Some(1)), of(None));
    assert_eq!(bound(&at_label, &data, &g, &labelled), bound(&sure, &data, &g, &labelled));
    assert_ne!(bound(&at_label, &data, &g, &labelled), bound(&usual, &data, &g, &labelled));
    // −ln p(label) of a uniform prior.
    let kl = bound(&at_label, &data, &g, &labelled).iter().find(|t| t.0 == "kl_label").unwrap().1;
    assert!((kl - (usual.header.labels.len() as f64).ln()).abs() < 1e-6, "{kl}");
    assert_eq!(unlabelled.len(), n);
    assert_eq!(bound(&at_label, &data, &g, &unlabelled), bound(&usual, &data, &g, &unlabelled));
}
