//! Operations against numbers of other programs: likelihoods and gamma functions computed with 60
//! digits, and trVAE's discrepancy as its authors' code gives it.

use scgraft_golden::Golden;
use scgraft_numeric::isa::{Fused, Separate};
use scgraft_numeric::math;
use scgraft_numeric::random::Key;

use crate::batch::{Codes, InputScale, LANES, SparseBatch};
use crate::ops::{Dispersion, ProteinMixture};
use crate::params::{Axis, Init, ParamId, Params};
use crate::tape::{Grads, Layout, Noise, Shape, Tape, Workspace};

#[test]
fn gamma_functions_have_all_digits() {
    let file = Golden::read("gamma_functions");
    let (x, lgamma, digamma) = (file.values("x"), file.values("lgamma"), file.values("digamma"));
    for ((&x, &l), &d) in x.iter().zip(lgamma).zip(digamma) {
        for (gl, gd) in [math::lgamma_digamma(Fused, x), math::lgamma_digamma(Separate, x)] {
            assert!((gl - l).abs() <= 2e-13 * l.abs().max(1.0), "lgamma({x}) = {gl}, {l}");
            assert!((gd - d).abs() <= 2e-13 * d.abs().max(1.0), "digamma({x}) = {gd}, {d}");
        }
    }
    let (x, theta) = (file.values("ratio.x"), file.values("ratio.theta"));
    let (lgamma, digamma) = (file.values("ratio.lgamma"), file.values("ratio.digamma"));
    for i in 0..x.len() {
        let (whole, part) = (math::lgamma_digamma(Fused, x[i] + theta[i]), math::lgamma_digamma(Fused, theta[i]));
        // A difference of two numbers cannot be closer than their last digits.
        let last = 1e-15 * whole.0.abs().max(part.0.abs()).max(1.0);
        assert!((whole.0 - part.0 - lgamma[i]).abs() <= 3e-13 * lgamma[i].abs() + 2.0 * last, "ratio {i}");
        assert!((whole.1 - part.1 - digamma[i]).abs() <= 1e-13 * digamma[i].abs().max(1.0), "ratio slope {i}");
    }
}

/// One gene, a cell a case.
struct Cases {
    params: Params,
    mu: ParamId,
    log_theta: ParamId,
    pi: Option<ParamId>,
    batch: SparseBatch,
    shape: Shape,
    theta: Vec<f64>,
}

impl Cases {
    fn new(file: &Golden, family: &str) -> Self {
        let read = |name: &str| file.values(&format!("{family}.{name}")).to_vec();
        let (x, theta) = (read("x"), read("theta"));
        let shape = Shape::lanes(1, x.len());
        let mut params = Params::new();
        let mut add = |name: &str, values: Vec<f64>, fill: f32| {
            let id = params.add(name, &[(Axis::Cell, shape.len())], Init::Constant(fill), Key::new(0));
            params.write(id).iter_mut().zip(values).for_each(|(o, v)| *o = v as f32);
            id
        };
        let mu = add("mu", read("mu"), 1.0);
        let log_theta = add("log_theta", theta.iter().map(|t| t.ln()).collect(), 0.0);
        let pi = (family == "zinb").then(|| add("pi", read("pi"), 0.0));
        let rows: Vec<(Vec<u32>, Vec<f32>)> =
            x.iter().map(|&x| if x == 0.0 { (vec![], vec![]) } else { (vec![0], vec![x as f32]) }).collect();
        let mut batch = SparseBatch::default();
        batch.fill(1, InputScale::Log1p, rows.iter().map(|r| (&r.0[..], &r.1[..])));
        Cases { params, mu, log_theta, pi, batch, shape, theta }
    }

    /// `condition`: the dispersion is a tensor with a row for each case.
    fn check(&self, file: &Golden, family: &str, condition: bool) {
        let n = self.shape.cells;
        let codes = Codes::new((0..n as u32).collect());
        let (mut workspace, mut grads) = (Workspace::new(), Grads::new(&self.params));
        let mut tape = Tape::new(&self.params, &mut workspace, Noise::Zero, true);
        let mu = tape.tensor_as_activation(self.mu, self.shape);
        let dispersion = if condition {
            Dispersion::Grouped(self.log_theta, &codes)
        } else {
            Dispersion::PerCell(tape.tensor_as_activation(self.log_theta, self.shape))
        };
        let y = match self.pi {
            Some(pi) => {
                let pi = tape.tensor_as_activation(pi, self.shape);
                tape.zero_inflated_negative_binomial(mu, pi, dispersion, &self.batch)
            }
            None => tape.negative_binomial(mu, dispersion, &self.batch),
        };
        let got = tape.value(y).to_vec();
        let root = tape.weighted_total(y, &vec![1.0; n]);
        tape.backward(&[(root, 1.0)], &mut grads);
        let read = |name: &str| file.values(&format!("{family}.{name}")).to_vec();
        let (by_mu, by_theta, mus, x) = (read("by_mu"), read("by_theta"), read("mu"), read("x"));
        for (i, want) in read("value").into_iter().enumerate() {
            let t = self.theta[i];
            let what = format!("{family} {i}: x {}, mu {}, theta {t}", x[i], mus[i]);
            // θ passes through its logarithm in `f32`, and θ + μ + ε has seven digits.
            let slack = 1e-6 * (t * by_theta[i]).abs() * (1.0 + t.ln().abs()) + 2e-6;
            let close = |got: f32, want: f64, slack: f64| (f64::from(got) - want).abs() <= 3e-6 * want.abs() + slack;
            assert!(close(got[i], -want, slack), "{what}: {}, {}", got[i], -want);
            let g = grads.get(self.mu)[i];
            assert!(close(g, -by_mu[i], 1e-6 * (1.0 + x[i] / mus[i])), "{what}: by mu {g}, {}", -by_mu[i]);
            let g = grads.get(self.log_theta)[i];
            assert!(
                close(g, -t * by_theta[i], 2e-6 * (1.0 + t + x[i])),
                "{what}: by log theta {g}, {}",
                -t * by_theta[i]
            );
            if let Some(pi) = self.pi {
                let (g, want) = (grads.get(pi)[i], -read("by_pi")[i]);
                assert!(close(g, want, 1e-6), "{what}: by pi {g}, {want}");
            }
        }
        assert!(n.is_multiple_of(LANES) || self.shape.len() > n);
    }
}

#[test]
fn likelihoods_at_the_corners() {
    let file = Golden::read("count_likelihoods");
    for family in ["nb", "zinb"] {
        let cases = Cases::new(&file, family);
        cases.check(&file, family, true);
        cases.check(&file, family, false);
    }
}

#[test]
fn discrepancy_as_published() {
    for (name, key) in [
        ("trvae_mmd_z_nb", "out.z"),
        ("trvae_mmd_z_absent", "out.z"),
        ("trvae_mmd_y_nb", "out.y"),
        ("trvae_mmd_y_boundary", "out.y"),
    ] {
        let file = Golden::read(name);
        let (x, rows, conditions) = (file.values(key), file.values("input.rows"), file.values("data.condition"));
        let codes = Codes::new(rows.iter().map(|&r| conditions[r as usize] as u32).collect());
        let values: Vec<f32> = x.iter().map(|&v| v as f32).collect();
        let boundary = file.settings["mmd_boundary"].as_f64().map(|b| b as u32);
        assert_eq!(boundary.is_some(), name.ends_with("boundary"));
        let (params, mut workspace) = (Params::new(), Workspace::new());
        let mut tape = Tape::new(&params, &mut workspace, Noise::Zero, false);
        let x = tape.constant(Shape::by_cell(rows.len(), x.len() / rows.len()), &values);
        let x = tape.to_layout(x, Layout::ByFeature);
        let mmd = tape.mmd(x, &codes, boundary);
        let (got, want) =
            (f64::from(tape.scalar(mmd)) * file.settings["beta"].as_f64().unwrap(), file.values("loss.mmd")[0]);
        assert!((got - want).abs() <= 3e-6 * want.abs().max(1.0), "{name}: {got}, {want}");
    }
}

/// [column × row] of a matrix [row × column].
fn transposed(values: &[f64], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..values.len()).map(|at| values[(at % rows) * columns + at / rows] as f32).collect()
}

#[test]
fn proteins_as_published() {
    for name in ["totalvi_missing_proteins", "totalvi_layernorm"] {
        let file = Golden::read(name);
        let rows: Vec<usize> = file.values("input.rows").iter().map(|&r| r as usize).collect();
        let of_batch = |key: &str, width: usize| -> Vec<f32> {
            let all = file.values(key);
            rows.iter().flat_map(|&r| all[r * width..(r + 1) * width].iter().map(|&v| v as f32)).collect()
        };
        let theta: Vec<f32> = file.singles("param.py_r");
        let width = theta.len();
        let batches = Codes::new(of_batch("data.condition", 1).iter().map(|&c| c as u32).collect());
        let efficiency = file.values("param.log_per_batch_efficiency");
        let n_batches = efficiency.len() / width;
        let observed: Vec<f32> =
            if name.contains("missing") { file.singles("protein_observed") } else { vec![1.0; n_batches * width] };
        let mut params = Params::new();
        let mut add = |name: &str, n: usize, values: Vec<f32>| {
            let id =
                params.add(name, &[(Axis::Condition, n), (Axis::Protein, width)], Init::Constant(0.0), Key::new(0));
            params.get_mut(id).put(values);
            id
        };
        let theta = add("theta", 1, theta);
        let efficiency = add("efficiency", n_batches, transposed(efficiency, n_batches));
        let alpha = add("alpha", n_batches, transposed(file.values("param.background_pro_alpha"), n_batches));
        let beta = add("beta", n_batches, transposed(file.values("param.background_pro_log_beta"), n_batches));
        let (back, fore) = (file.values("out.rate_back"), file.values("out.rate_fore"));
        let log_back: Vec<f32> = back.iter().map(|v| v.ln() as f32).collect();
        let above: Vec<f32> = fore.iter().zip(back).map(|(f, b)| (f / b - 1.0 - 1e-8) as f32).collect();
        let (counts, group) = (of_batch("data.protein", width), Codes::new(vec![0; rows.len()]));
        let mut workspace = Workspace::new();
        let mut tape = Tape::new(&params, &mut workspace, Noise::Zero, false);
        let shape = Shape::by_cell(rows.len(), width);
        let mut put = |values: &[f32]| tape.constant(shape, values);
        let (log_background, foreground) = (put(&log_back), put(&above));
        let mut read = |key: &str| put(&file.singles(key));
        let (mixing, mean, deviation) = (read("out.mixing"), read("out.back_alpha"), read("out.back_beta"));
        let likelihood = tape.protein_mixture(ProteinMixture {
            log_background,
            foreground,
            mixing,
            log_theta: (theta, &group),
            log_efficiency: Some((efficiency, &batches)),
            counts: &counts,
            observed: (&observed, &batches),
        });
        let divergence = tape.background_kl(mean, deviation, (alpha, beta), &observed, &batches);
        let prior = tape.log_normal_prior(efficiency, &batches);
        let penalty = tape.logistic_penalty(mixing, 1e-3);
        let sum = tape.add(divergence, prior);
        let background = tape.add(sum, penalty);
        for (var, key) in [(likelihood, "loss.recon_protein"), (background, "loss.kl_background")] {
            let mean = tape.mean(var);
            let (got, want) = (f64::from(tape.scalar(mean)), file.values(key)[0]);
            assert!((got - want).abs() <= 3e-6 * want.abs(), "{name} {key}: {got}, {want}");
        }
    }
}
