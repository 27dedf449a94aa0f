//! scVI and LDVAE against scvi-tools 1.4.2 on fixed weights, batches and noise: every loss term to 1e-5, every
//! gradient to 1e-4, ten training steps to 1e-3 (all relative).
#![allow(missing_docs)]

mod scvitools;
mod support;

use scgraft_cells::Prepared;
use scgraft_engine::{Grads, Noise};
use scgraft_models::{Granularity, Known, Model, Newcomers, Step, Surgery};
use scvitools::{batch, noise, pass, relative, rows};
use serde_json::json;
use support::Golden;

fn model(g: &Golden) -> (Model, Prepared) {
    let by_label = g.settings["dispersion"] == "gene-label";
    let ours = |model: &Model, prefix: &str, name: &str| scvitools::ours(g, model, prefix, name);
    let class = if g.settings["module"] == "LDVAE" { "LinearSCVI" } else { "SCVI" };
    scvitools::model(g, "scvi", &scvitools::settings(g, class), by_label, &ours)
}

fn draws(z: &[f64], library: Option<&[f64]>, latent: usize) -> Noise {
    let mut all = vec![(z, latent)];
    all.extend(library.map(|l| (l, 1)));
    noise(&all)
}

/// Values by upstream's names.
fn named(terms: Vec<(&'static str, f64, f64)>) -> Vec<(&'static str, f64)> {
    let upstream = |name| if name == "reconstruction" { "recon" } else { name };
    terms.into_iter().map(|(name, value, _)| (upstream(name), value)).collect()
}

fn check(name: &str) {
    let g = Golden::read(&format!("scvi_{name}"));
    let (model, data) = model(&g);
    let ours = |model: &Model, prefix: &str, name: &str| scvitools::ours(&g, model, prefix, name);
    let latent = g.settings["n_latent"].as_u64().unwrap() as usize;
    let kl_weight = g.settings["kl_weight"].as_f64().unwrap() as f32;
    let step = Step { epoch: 0, epochs: 1000, learning_rate: 1e-3, annealed: kl_weight };
    let mut grads = Grads::new(&model.params);
    let one = batch(&model, &data, &rows(g.values("input.rows")), None);
    let library = |key: &str| g.has(key).then(|| g.values(key));
    let eps = draws(g.values("input.eps"), library("input.eps_library"), latent);
    let terms = pass(&model, &one, eps.clone(), &step, Some(&mut grads));
    let total: f64 = terms.iter().map(|t| t.1 * t.2).sum();
    for (term, value) in named(terms) {
        relative(&format!("{name}: {term}"), value, g.scalar(&format!("loss.{term}")), 1e-5);
    }
    relative(&format!("{name}: total"), total, g.scalar("loss.total"), 1e-5);
    scvitools::gradients(&g, &model, &grads, &ours);
    if g.has("eval.loss.recon") {
        for (term, value) in named(pass(&model, &one, eps, &step, None)) {
            relative(&format!("{name}: {term} outside training"), value, g.scalar(&format!("eval.loss.{term}")), 1e-5);
        }
    }
    if g.has("library_log_means") || g.has("param.library_log_means") {
        // What is read off the data is what upstream was given.
        let mut fresh = model.duplicate().unwrap();
        fresh.read_data(&data).unwrap();
        for name in ["library.prior_mean", "library.prior_variance"] {
            let id = fresh.params.id(name).unwrap();
            support::assert_close(name, fresh.params.values(id), &ours(&model, "param", name).unwrap(), 1e-5);
        }
    }
    if g.has("curve.recon") {
        let mut model = model;
        if name == "surgery_gene_batch" {
            // scvi-tools leaves the new conditions' dispersion at its random start; ours trains it.
            let id = model.params.id("dispersion").unwrap();
            model.params.get_mut(id).trainable.clear();
        }
        scvitools::curve(&g, model, &ours, |model, t, kl_weight, grads| {
            let one = batch(model, &data, &rows(g.slice("curve.rows", t)), None);
            let library = g.has("curve.eps_library").then(|| g.slice("curve.eps_library", t));
            let step = Step { epoch: t, epochs: 1000, learning_rate: 1e-3, annealed: kl_weight };
            named(pass(model, &one, draws(g.slice("curve.eps", t), library, latent), &step, Some(grads)))
        });
    }
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => { $(#[test] fn $name() { check(stringify!($name)); })* };
}

scenarios!(
    default,
    mapping,
    nb_gene_batch_deep,
    poisson_batchnorm,
    normal,
    zinb_gene_label,
    zinb_gene_cell,
    nb_learned_library,
    nb_covariates,
    one_condition,
    logistic_normal,
    linear,
    linear_zinb,
    surgery,
    surgery_gene_batch,
);

#[test]
fn an_encoder_without_covariates_cannot_be_grafted_on() {
    let known = Known { genes: vec!["a".into()], conditions: vec!["x".into()], ..Known::default() };
    let model = Model::new("scvi", &json!({ "encode_covariates": false }), known.into(), 1).unwrap();
    let plan = Surgery::adaptor("query");
    let error = model.surgery(&plan, &Newcomers::of(["y"]), 1).unwrap_err().to_string();
    assert!(error.contains("encode_covariates") && error.contains("first-layers"), "{error}");
    let plan = Surgery { granularity: Granularity::FirstLayers, ..plan };
    assert!(model.surgery(&plan, &Newcomers::of(["y"]), 1).is_ok());
}
