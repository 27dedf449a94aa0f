//! What is read off a trained model: expression, likelihoods, draws, labels.
#![allow(missing_docs)]

use scgraft_cells::{Cells, Column, ConditionSource, Csr, Dense, Frame, Matrix, PrepareOptions, Prepared};
use scgraft_engine::{Key, Noise, Shape, Workspace};
use scgraft_models::{Batch, DecodedLibrary, ExpressionOptions, Known, Model};
use serde_json::{Value, json};

const GENES: usize = 12;
const CELLS: usize = 150;

fn data() -> Prepared {
    let key = Key::new(3);
    let mut x = Csr { n_rows: CELLS, n_cols: GENES, indptr: vec![0], ..Csr::default() };
    for c in 0..CELLS {
        for g in 0..GENES {
            let at = (c * GENES + g) as u64;
            if key.below(2 * at, 3) > 0 {
                x.indices.push(g as u32);
                x.values.push(1.0 + key.below(2 * at + 1, 9) as f32);
            }
        }
        x.indptr.push(x.indices.len());
    }
    let mut obs = Frame::new((0..CELLS).map(|i| format!("cell{i}")).collect());
    obs.set("batch", Column::categorical(&(0..CELLS).map(|i| ["a", "b"][i % 2]).collect::<Vec<_>>()));
    obs.set("kind", Column::categorical(&(0..CELLS).map(|i| ["T", "B", "?"][i % 3]).collect::<Vec<_>>()));
    let cells = Cells::new(Matrix::Sparse(x), obs, Frame::new((0..GENES).map(|g| format!("gene{g}")).collect()));
    let options = PrepareOptions {
        condition: ConditionSource::Columns(vec!["batch".into()]),
        label: Some("kind".into()),
        unlabelled: Some("?".into()),
        ..PrepareOptions::default()
    };
    Prepared::reference(&cells, None, &options).unwrap()
}

fn model(name: &str, more: &Value, data: &Prepared) -> Model {
    let mut settings = json!({ "hidden": [8], "latent": 2, "dropout": 0.0 });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let known = data.known();
    let labels = if name == "scanvi" { known.labels } else { Vec::new() };
    let known = Known { genes: known.genes, conditions: known.conditions, labels, ..Known::default() };
    let mut model = Model::new(name, &settings, known.into(), 5).unwrap();
    model.read_data(data).unwrap();
    model
}

fn rows_of(m: &Dense) -> impl Iterator<Item = &[f32]> {
    (0..m.n_rows).map(|i| m.row(i))
}

#[test]
fn normalised_expression_sums_to_one_and_averages_over_conditions() {
    let data = data();
    let model = model("scvi", &json!({}), &data);
    let with = |as_conditions: &[u32], library| {
        let options = ExpressionOptions { as_conditions: as_conditions.to_vec(), library, ..Default::default() };
        model.expression(&data, &options).unwrap()
    };
    let one = DecodedLibrary::Size(1.0);
    let plain = with(&[], one);
    assert!(rows_of(&plain).all(|r| (r.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    let own = with(&[], DecodedLibrary::Own);
    for c in 0..CELLS {
        for (o, p) in own.row(c).iter().zip(plain.row(c)) {
            assert!((o - p * data.library[c]).abs() <= 1e-4 * o.abs());
        }
    }
    let (a, b, both) = (with(&[0], one), with(&[1], one), with(&[0, 1], one));
    assert_ne!(a, b);
    for ((a, b), both) in a.values.iter().zip(&b.values).zip(&both.values) {
        assert!(((a + b) / 2.0 - both).abs() < 1e-6);
    }
    // A cell of condition a, decoded as of a, is as it was.
    assert_eq!(a.row(0), plain.row(0));
    let two = ExpressionOptions { genes: Some(vec![7, 2]), ..Default::default() };
    let two = model.expression(&data, &two).unwrap();
    assert_eq!(two.row(4), [plain.row(4)[7], plain.row(4)[2]]);
    for wrong in [
        ExpressionOptions { as_conditions: vec![2], ..Default::default() },
        ExpressionOptions { genes: Some(vec![GENES]), ..Default::default() },
    ] {
        assert!(model.expression(&data, &wrong).is_err());
    }
}

#[test]
fn draws_do_not_depend_on_threads() {
    let data = data();
    let model = model("scvi", &json!({ "library": "learned" }), &data);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let options = ExpressionOptions { samples: 3, library: DecodedLibrary::Own, ..Default::default() };
            let drawn = model.posterior_predictive(&data, 4).unwrap();
            (model.expression(&data, &options).unwrap(), drawn, model.evidence(&data, 2).unwrap())
        })
    };
    assert_eq!(run(1), run(3));
}

/// ln ∫ p(x | z) N(z; 0, 1) dz by the trapezoidal rule over one latent dimension.
fn integrated(model: &Model, data: &Prepared) -> Vec<f64> {
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    let mut batch = Batch::default();
    batch.fill(data, &rows, model.input_scale()).unwrap();
    let (step, mut sums) = (0.02, vec![Vec::new(); data.n_cells()]);
    for i in -400..=400 {
        let z = f64::from(i) * step;
        let mut workspace = Workspace::new();
        let mut t = model.tape(&mut workspace, Noise::Zero, false);
        let given = t.constant(Shape::by_feature(1, data.n_cells()), &vec![z as f32; data.n_cells()]);
        let x = model.network.generative(&mut t, &batch, given, None).reconstruction(&mut t, &batch);
        let prior = -0.5 * (z * z + (2.0 * std::f64::consts::PI).ln());
        sums.iter_mut().zip(t.value(x)).for_each(|(s, &x)| s.push(prior - f64::from(x)));
    }
    let log_sum = |s: &Vec<f64>| {
        let top = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + (s.iter().map(|v| (v - top).exp()).sum::<f64>() * step).ln()
    };
    sums.iter().map(log_sum).collect()
}

#[test]
fn the_marginal_likelihood_is_the_integral_and_lies_above_the_bound() {
    let data = data();
    for likelihood in ["nb", "zinb", "poisson"] {
        let mut model = model("scvi", &json!({ "latent": 1, "likelihood": likelihood }), &data);
        // Draws must be wider than the posterior, or the variance of their weights is infinite: q = N(m, 2).
        for (name, value) in [("encoder.log_variance.weight", 0.0), ("encoder.log_variance.bias", 2f32.ln())] {
            let id = model.params.id(name).unwrap();
            model.params.write(id).fill(value);
        }
        let want = integrated(&model, &data);
        let got = model.marginal_log_likelihood(&data, 3000, 1).unwrap();
        for (c, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!((got - want).abs() < 0.15, "{likelihood}, cell {c}: {got}, integral {want}");
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        assert!((mean(&got) - mean(&want)).abs() < 0.01, "{likelihood}: {} and {}", mean(&got), mean(&want));
        let evidence = model.evidence(&data, 1).unwrap();
        assert!(mean(&evidence.elbo) < mean(&want), "{likelihood}");
        assert!(evidence.elbo.iter().zip(&evidence.reconstruction).all(|(e, r)| *e <= -r + 1e-6));
    }
}

#[test]
fn draws_of_the_data_have_the_mean_that_the_model_says() {
    let data = data();
    for likelihood in ["nb", "zinb", "poisson"] {
        let mut model = model("scvi", &json!({ "likelihood": likelihood }), &data);
        if let Some(id) = model.params.id("decoder.dropout.bias") {
            // Hardly any dropout: the mean is the rate.
            model.params.write(id).fill(-9.0);
        }
        let options = ExpressionOptions { samples: 200, library: DecodedLibrary::Own, ..Default::default() };
        let rates = model.expression(&data, &options).unwrap();
        let mut mean = [0f64; GENES];
        for seed in 0..200 {
            let drawn = model.posterior_predictive(&data, seed).unwrap();
            for (&g, &v) in drawn.indices.iter().zip(&drawn.values) {
                assert!(v > 0.0 && v.fract() == 0.0);
                mean[g as usize] += f64::from(v) / 200.0;
            }
        }
        for (g, drawn) in mean.iter().enumerate() {
            let rate: f64 = rows_of(&rates).map(|r| f64::from(r[g])).sum();
            // Five standard errors of the most dispersed gene.
            assert!((drawn / rate - 1.0).abs() < 0.08, "{likelihood}, gene {g}: {drawn} drawn, {rate} expected");
        }
    }
}

#[test]
fn labels_come_from_models_that_have_them() {
    let data = data();
    let p = model("scanvi", &json!({}), &data).label_probabilities(&data).unwrap().unwrap();
    assert_eq!((p.n_rows, p.n_cols), (CELLS, 2));
    assert!(rows_of(&p).all(|r| (r.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    assert!(model("scvi", &json!({}), &data).label_probabilities(&data).unwrap().is_none());
}

#[test]
fn what_a_model_does_not_give_is_refused() {
    let mut data = data();
    let error = model("scanvi", &json!({}), &data).marginal_log_likelihood(&data, 5, 0).unwrap_err().to_string();
    assert!(error.contains("prior"), "{error}");
    let counts = model("scvi", &json!({}), &data);
    data.kind = scgraft_cells::Kind::LogNormalised;
    let error = counts.latent(&data).unwrap_err().to_string();
    assert!(error.contains("raw counts") && error.contains("log-normalised"), "{error}");
    let cvae = model("cvae", &json!({ "likelihood": "mse" }), &data);
    let error = cvae.posterior_predictive(&data, 0).unwrap_err().to_string();
    assert!(error.contains("squared error"), "{error}");
    let error = cvae.expression(&data, &ExpressionOptions::default()).unwrap_err().to_string();
    assert!(error.contains("library size"), "{error}");
}

#[test]
fn a_scanvi_starts_from_a_scvi() {
    let data = data();
    let scvi = model("scvi", &json!({}), &data);
    let mut scanvi = model("scanvi", &json!({}), &data);
    scanvi.params.iter_mut().filter(|p| !p.statistic).for_each(|p| p.write().fill(0.5));
    assert_eq!(scanvi.adopt(&scvi).unwrap(), scvi.params.iter().count());
    assert_eq!(scanvi.latent(&data).unwrap(), scvi.latent(&data).unwrap());
    let other = data.select_cells(&[0, 1, 2]);
    let mut header = scvi.header.clone();
    header.known.conditions.push("c".into());
    let mut wider = Model::new("scvi", &scvi.network.config(), header, 1).unwrap();
    assert!(wider.adopt(&scvi).unwrap_err().to_string().contains("conditions a, b, c"));
    assert!(scvi.latent(&other).is_ok());
}
