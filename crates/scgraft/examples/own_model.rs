//! A base model of one's own: Poisson factors. `cargo run --release --example own_model`
//!
//! Inference
//! 1. m = log(1 + x) U + b + A[s],   λ = log(1 + x) V + c,   q(z) = N(m, exp(λ) + 10⁻⁴)
//!
//! Generation
//! 2. μ = ℓ softmax(W z + w + L[s]),   x ~ Poisson(μ)
//!
//! Loss
//! 3. E[−ln p(x | z)] + w_kl KL(q ‖ N(0, 1))
//!
//! | tensor | shape |
//! |---|---|
//! | `encoder.mean`, `.bias`, `.condition` | U gene × latent, b latent, A condition × latent |
//! | `encoder.log_variance`, `.offset` | V gene × latent, c latent |
//! | `decoder.weight`, `.bias`, `.condition` | W gene × latent, w gene, L condition × gene |
#![allow(clippy::print_stdout)]

use std::error::Error;

use scgraft::cells::{ConditionSource, PrepareOptions, Prepared, SimulateOptions, simulate};
use scgraft::engine::{Axis, Init, Layout, Link, Ops, ParamId, Params, Role, Var};
use scgraft::models::{
    Adaptor, Batch, Decoded, Distribution, Facts, Header, Known, Loss, Model, ModelEntry, ModelError, Network,
    Posterior, Step, Surgery, Term, VARIANCE_FLOOR, conformance, register, settings,
};
use scgraft::train::{Quiet, TrainConfig, fit, graft};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Settings, as they stand in the model's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Number of factors.
    latent: usize,
    /// w_kl
    kl_weight: f32,
}

impl Default for Config {
    fn default() -> Self {
        Config { latent: 8, kl_weight: 1.0 }
    }
}

#[derive(Debug)]
struct PoissonFactors {
    config: Config,
    /// U, b, A
    mean: (ParamId, ParamId, ParamId),
    /// V, c
    log_variance: (ParamId, ParamId),
    /// W, w, L
    decoder: (ParamId, ParamId, ParamId),
}

/// Declares the tensors; what grows with a query's conditions is a first axis.
fn build(config: &Value, header: &Header) -> Result<(Params, Box<dyn Network>), ModelError> {
    let config: Config = settings::parse("poisson-factors", config)?;
    let gene = (Axis::Gene, header.genes.len());
    let (latent, condition) = ((Axis::Latent, config.latent), (Axis::Condition, header.conditions.len()));
    let mut p = Params::new();
    let wide = || Init::FanIn(gene.1);
    let mean = (
        p.declare("encoder.mean", &[gene, latent], wide()),
        p.declare("encoder.bias", &[latent], wide()),
        p.declare("encoder.condition", &[condition, latent], Init::Normal(0.1)),
    );
    let log_variance =
        (p.declare("encoder.log_variance", &[gene, latent], wide()), p.declare("encoder.offset", &[latent], wide()));
    let decoder = (
        p.declare("decoder.weight", &[gene, latent], Init::FanIn(latent.1)),
        p.declare("decoder.bias", &[gene], Init::Constant(0.0)),
        p.declare("decoder.condition", &[condition, gene], Init::Normal(0.1)),
    );
    p.set_role(Role::FirstLayer, [mean.1, mean.2, log_variance.1, decoder.0]);
    p.set_role(Role::ReadsExpression, [mean.0, log_variance.0]);
    Ok((p, Box::new(PoissonFactors { config, mean, log_variance, decoder })))
}

impl Network for PoissonFactors {
    fn config(&self) -> Value {
        json!(self.config)
    }

    fn facts(&self) -> Facts {
        Facts { kl_weight: self.config.kl_weight, ..Facts::default() }
    }

    fn inference<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch) -> Posterior {
        let mean = t.sparse_linear(&batch.x, self.mean.0, Some(self.mean.1)); // 1
        let mean = t.add_rows(mean, self.mean.2, &batch.condition); // 1
        let log_variance = t.sparse_linear(&batch.x, self.log_variance.0, Some(self.log_variance.1)); // 1
        let [mean, log_variance] = [mean, log_variance].map(|v| t.to_layout(v, Layout::ByFeature));
        Posterior { mean, log_variance, library: None }
    }

    fn generative<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var, _: Option<Var>) -> Decoded<'a> {
        let condition = Some((self.decoder.2, &batch.condition));
        let f = t.linear_to_lanes(z, self.decoder.0, Some(self.decoder.1), condition); // 2
        let rate = t.mean_of(f, Link::Softmax, &batch.library); // 2
        Decoded { rate, distribution: Distribution::Poisson, normalised: true }
    }

    fn loss<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, step: &Step) -> Loss {
        let q = self.inference(t, batch);
        let (z, _) = q.sample(t); // 1
        let reconstruction = self.generative(t, batch, z, None).reconstruction(t, batch); // 3
        let kl = t.kl_standard_normal(q.mean, q.log_variance, VARIANCE_FLOOR); // 3
        let weight = self.config.kl_weight * step.annealed;
        vec![Term::of_cells(t, "reconstruction", reconstruction, 1.0), Term::of_cells(t, "kl", kl, weight)]
    }
}

/// Checks, trains, saves, grafts and attaches it.
pub fn main() -> Result<(), Box<dyn Error>> {
    let entry = register(ModelEntry {
        summary: "Poisson factors",
        when: "a model of one's own is wanted",
        small: || json!({ "latent": 4 }),
        ..ModelEntry::new("poisson-factors", build)
    })?;
    // What every base model must do, this one does.
    conformance::all(entry);

    let data = simulate(&SimulateOptions { n_reference: 300, n_query: 100, ..SimulateOptions::default() })?;
    let condition = ConditionSource::Columns(vec!["batch".into()]);
    let prepare = PrepareOptions { condition, ..PrepareOptions::default() };
    let reference = Prepared::reference(&data.reference, None, &prepare)?;
    let known = Known { cells: Vec::new(), ..reference.known() };
    let mut model = Model::new(entry.name, &json!({}), known.into(), 1)?;
    let training = TrainConfig { epochs: 5, ..TrainConfig::of(&entry.training, reference.n_cells()) };
    fit(&mut model, &reference, &training, &mut Quiet)?;

    // Through a file, onto a query, and back as an adaptor.
    let model = Model::from_bytes(&model.to_bytes()?)?;
    let query = Prepared::query(&data.query, &model.header.known, &prepare)?;
    let mapping = TrainConfig { epochs: 5, ..TrainConfig::of(&entry.mapping, query.n_cells()) };
    let grafted = graft(&model, &query, Surgery::adaptor("query"), &mapping, &mut Quiet)?;
    let adaptor = grafted.adaptor.ok_or("new conditions make an adaptor")?;
    let attached = model.attach(&[Adaptor::from_bytes(&adaptor.to_bytes()?)?])?;
    assert_eq!(attached.latent(&query)?, grafted.model.latent(&query)?);
    println!("{} query cells in {} factors", query.n_cells(), attached.n_latent());
    Ok(())
}
