//! totalVI against scvi-tools 1.4.2 on fixed weights, batches and noise: every loss term to 1e-5, every gradient to
//! 1e-4, ten training steps to 1e-3 (all relative); proteins decoded as every batch; the empirical background prior.
#![allow(missing_docs)]

// The names of scVI's tensors are not used here.
#[allow(dead_code)]
mod scvitools;
mod support;

use scgraft_cells::{
    Array, Cells, ConditionSource, Csr, Dense, Frame, Matrix, PrepareOptions, Prepared, ProteinSource,
};
use scgraft_engine::{Codes, Grads, Noise, Workspace};
use scgraft_models::{DecodeAs, Known, Model, Step};
use scvitools::{batch, pass, relative, rows, settings};
use serde_json::json;
use support::{Golden, assert_close, single, transpose};

/// Our tensor's values from upstream's, in our layout; which proteins were measured is no tensor there.
fn ours(g: &Golden, model: &Model, prefix: &str, name: &str) -> Option<Vec<f64>> {
    if name == "proteins.measured" {
        let n = model.header.conditions.len() * model.header.proteins.len();
        return Some(if g.has("protein_observed") { g.values("protein_observed").to_vec() } else { vec![1.0; n] });
    }
    scvitools::ours(g, model, prefix, name)
}

/// Noise in our order: z, library, background; [dimension × cell], but background [cell × protein].
fn noise(z: &[f64], library: Option<&[f64]>, background: &[f64], cells: usize) -> Noise {
    let turned = |v: &[f64]| single(&transpose(v, cells, v.len() / cells));
    Noise::Given([turned(z)].into_iter().chain(library.map(turned)).chain([single(background)]).collect())
}

/// Values by upstream's names.
fn named(terms: Vec<(&'static str, f64, f64)>) -> Vec<(&'static str, f64)> {
    let upstream = |name| match name {
        "reconstruction" => "recon_gene",
        "reconstruction_protein" => "recon_protein",
        "kl" => "kl_z",
        other => other,
    };
    terms.into_iter().map(|(name, value, _)| (upstream(name), value)).collect()
}

fn check(name: &str) {
    let g = Golden::read(&format!("totalvi_{name}"));
    let ours = |model: &Model, prefix: &str, name: &str| ours(&g, model, prefix, name);
    let (model, data) = scvitools::model(&g, "totalvi", &settings(&g, "TOTALVI"), false, &ours);
    let kl_weight = g.settings["kl_weight"].as_f64().unwrap() as f32;
    let step = Step { epoch: 0, epochs: 1000, learning_rate: 1e-3, annealed: kl_weight };
    let mut grads = Grads::new(&model.params);
    let one = batch(&model, &data, &rows(g.values("input.rows")), None);
    let draws = |key: &str, of: &dyn Fn(&str) -> Vec<f64>| {
        let learned = g.has(&format!("{key}_library")).then(|| of(&format!("{key}_library")));
        noise(&of(key), learned.as_deref(), &of(&format!("{key}_background")), one.n_cells())
    };
    let eps = draws("input.eps", &|key| g.values(key).to_vec());
    let terms = pass(&model, &one, eps, &step, Some(&mut grads));
    let total: f64 = terms.iter().map(|t| t.1 * t.2).sum();
    for (term, value) in named(terms) {
        relative(&format!("{name}: {term}"), value, g.scalar(&format!("loss.{term}")), 1e-5);
    }
    relative(&format!("{name}: total"), total, g.scalar("loss.total"), 1e-5);
    scvitools::gradients(&g, &model, &grads, &ours);
    decoded(&g, &model, &one);
    read_off(&g, &model, &data);
    if g.has("curve.total") {
        let mut model = model;
        if name == "surgery" {
            // scvi-tools leaves the new batch's efficiency at its start; ours trains it.
            let id = model.params.id("proteins.efficiency").unwrap();
            model.params.get_mut(id).trainable.clear();
        }
        scvitools::curve(&g, model, &ours, |model, t, kl_weight, grads| {
            let one = batch(model, &data, &rows(g.slice("curve.rows", t)), None);
            let step = Step { epoch: t, epochs: 1000, learning_rate: 1e-3, annealed: kl_weight };
            let eps = draws("curve.eps", &|key| g.slice(key, t).to_vec());
            named(pass(model, &one, eps, &step, Some(grads)))
        });
    }
}

/// Decoding as each batch, from the latent mean and the median background.
fn decoded(g: &Golden, model: &Model, one: &scgraft_models::Batch) {
    let mut workspace = Workspace::new();
    for s in 0..model.header.conditions.len() {
        let as_batch = scgraft_models::Batch { condition: Codes::new(vec![s as u32; one.n_cells()]), ..one.clone() };
        let mut tape = model.tape(&mut workspace, Noise::Zero, false);
        let q = model.network.inference(&mut tape, one);
        let p = model.network.proteins().unwrap().decode(&mut tape, &as_batch, q.mean);
        let logits = tape.value(p.mixing);
        let probability: Vec<f32> = logits.iter().map(|m| 1.0 / (1.0 + m.exp())).collect();
        let rate = tape.value(p.log_background.0).iter().zip(tape.value(p.foreground));
        let protein: Vec<f32> = rate.zip(&probability).map(|((b, f), p)| b.exp() * (1.0 + f.max(0.0)) * p).collect();
        let want = |what: &str| g.values(&format!("eval.as{s}.{what}")).to_vec();
        assert_close("foreground probability", &probability, &want("foreground_probability"), 1e-5);
        assert_close("protein without background", &protein, &want("protein"), 1e-5);
        tape.finish();
    }
}

/// What is read off the data is what upstream was given.
fn read_off(g: &Golden, model: &Model, data: &Prepared) {
    let mut fresh = model.duplicate().unwrap();
    fresh.read_data(data).unwrap();
    for name in ["proteins.measured", "library.prior_mean", "library.prior_variance"] {
        let Some(id) = fresh.params.id(name) else { continue };
        assert_close(name, fresh.params.values(id), &ours(g, model, "param", name).unwrap(), 1e-5);
    }
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => { $(#[test] fn $name() { check(stringify!($name)); })* };
}

scenarios!(layernorm, default_batchnorm, missing_proteins, zinb_dispersions, learned_library, covariates, surgery,);

#[test]
fn the_prior_of_the_background() {
    let g = Golden::read("totalvi_background_prior");
    let (n, proteins) = (g.shape("protein")[0], g.shape("protein")[1]);
    let x = Csr { n_rows: n, n_cols: 1, indptr: (0..=n).collect(), indices: vec![0; n], values: vec![1.0; n] };
    let obs = Frame::new((0..n).map(|i| format!("cell{i}")).collect());
    let mut cells = Cells::new(Matrix::Sparse(x), obs, Frame::new(vec!["gene".into()]));
    let counts = Dense::new(n, proteins, single(g.values("protein")));
    cells.obsm.insert("protein".into(), Array::Dense(counts));
    let options = PrepareOptions {
        condition: ConditionSource::Constant("all".into()),
        proteins: Some(ProteinSource { obsm: "protein".into(), names: None }),
        ..PrepareOptions::default()
    };
    let data = Prepared::reference(&cells, None, &options).unwrap();
    let known = data.known();
    let mut model = Model::new("totalvi", &json!({}), Known { cells: Vec::new(), ..known }.into(), 1).unwrap();
    model.read_data(&data).unwrap();
    let values = |name: &str| model.params.values(model.params.id(name).unwrap()).to_vec();
    let want = vec![g.scalar("converged.prior_mean"); proteins];
    assert_close("prior mean", &values("background.mean"), &want, 1e-4);
    let want = vec![g.scalar("converged.prior_sd").ln(); proteins];
    assert_close("prior log deviation", &values("background.log_deviation"), &want, 1e-4);
}

#[test]
fn a_reference_without_proteins_is_refused() {
    let known = Known { genes: vec!["a".into()], conditions: vec!["x".into()], ..Known::default() };
    let error = Model::new("totalvi", &json!({}), known.into(), 1).unwrap_err().to_string();
    assert!(error.contains("protein counts"), "{error}");
}

#[test]
fn proteins_are_decoded_as_the_conditions_that_measured_them() {
    let g = Golden::read("totalvi_missing_proteins");
    let ours = |model: &Model, prefix: &str, name: &str| ours(&g, model, prefix, name);
    let (model, data) = scvitools::model(&g, "totalvi", &settings(&g, "TOTALVI"), false, &ours);
    let own = model.proteins(&data, &DecodeAs::Measured, false).unwrap();
    let conditions = &model.header.conditions;
    let decode = |c: usize| model.proteins(&data, &DecodeAs::Conditions(vec![conditions[c].clone()]), false).unwrap();
    let (first, last) = (decode(0), decode(1));
    let both = model.proteins(&data, &DecodeAs::Conditions(conditions.clone()), false).unwrap();
    // Only the first condition measured proteins 1 and 3.
    for (cell, &code) in data.condition.codes.iter().enumerate() {
        for p in 0..model.header.proteins.len() {
            let imputed = code == 1 && (p == 1 || p == 3);
            let source = if imputed || code == 0 { &first } else { &last };
            assert_eq!(own.total.row(cell)[p], source.total.row(cell)[p], "cell {cell}, protein {p}");
            let (a, b) = (first.foreground.row(cell)[p], last.foreground.row(cell)[p]);
            let mean = if p == 1 || p == 3 { a } else { 0.5 * (a + b) };
            assert!((both.foreground.row(cell)[p] - mean).abs() <= 1e-5 * mean, "cell {cell}, protein {p}");
            assert!(own.foreground.row(cell)[p] <= own.total.row(cell)[p]);
            assert!((0.0..=1.0).contains(&own.probability.row(cell)[p]));
        }
    }
    let error = model.proteins(&data, &DecodeAs::Conditions(vec!["nowhere".into()]), false).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}
