//! From normalised expression to data, as scVI, scANVI and totalVI do it: library size, dispersion, likelihood.
//!
//! 1. ℓ = Σ_g x_g, or q(ln ℓ) = N(m_ℓ, exp(λ_ℓ) + 10⁻⁴) from NN_ℓ of the expression
//! 2. KL(q(ln ℓ) ‖ N(a_s, v_s)),   a_s and v_s the mean and variance of ln Σ_g x_g over the cells of condition s
//! 3. μ = ℓ ρ,   ρ the softmax over genes
//! 4. θ = exp(Θ) by gene, and by condition or label
//!
//! | meaning | tensor | shape | upstream name |
//! |---|---|---|---|
//! | library encoder | `library.0.…`, `library.mean.…`, `library.log_variance.…` | 1 × hidden | `l_encoder` |
//! | a_s, v_s | `library.prior_mean`, `library.prior_variance` | condition | `library_log_means`, `library_log_vars` |

use scgraft_cells::Prepared;
use scgraft_engine::{Axis, Codes, Dispersion, Init, Link, Ops, ParamId, Params, Var};
use serde::{Deserialize, Serialize};

use crate::layers::{Gaussian, StackPlan};
use crate::{Batch, Header, InferredLibrary, VARIANCE_FLOOR};

/// Where the library size comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LibrarySize {
    /// The sum of the counts.
    Observed,
    /// A latent variable with an encoder of its own.
    Learned,
}

/// What a dispersion depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DispersionBy {
    /// The gene.
    Gene,
    /// Gene and condition.
    #[serde(alias = "gene-batch")]
    GeneCondition,
    /// Gene and label; every cell must have one.
    GeneLabel,
    /// Gene and cell: it comes from the decoder.
    GeneCell,
}

/// A library size that is learned: its encoder and its prior.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) encoder: Gaussian,
    prior_mean: ParamId,
    prior_variance: ParamId,
}

impl Library {
    pub(crate) fn new(p: &mut Params, plan: &StackPlan<'_>, header: &Header) -> Library {
        let condition = (Axis::Condition, header.conditions.len());
        Library {
            encoder: Gaussian::new(p, plan, (Axis::One, 1), header),
            prior_mean: p.declare_statistic("library.prior_mean", &[condition], 0.0),
            prior_variance: p.declare_statistic("library.prior_variance", &[condition], 1.0),
        }
    }

    /// Equation 2 of each cell, for q(ln ℓ) by its mean and log-variance.
    pub(crate) fn kl(&self, t: &mut dyn Ops<'_>, batch: &Batch, (mean, log_variance): (Var, Var)) -> Var {
        let (a, v) = self.prior(t.params(), batch);
        t.kl_normal(mean, log_variance, VARIANCE_FLOOR, a, v)
    }

    /// Reads the prior of a condition off its cells.
    pub(crate) fn read_prior(&self, params: &mut Params, data: &Prepared, condition: usize) {
        let own = data.library.iter().zip(&data.condition.codes).filter(|(_, c)| **c as usize == condition);
        let (mean, variance) = log_moments(own.map(|(&l, _)| l));
        params.write(self.prior_mean)[condition] = mean;
        params.write(self.prior_variance)[condition] = variance;
    }
}

impl InferredLibrary for Library {
    /// a_s and v_s of each cell.
    fn prior(&self, params: &Params, batch: &Batch) -> (Vec<f32>, Vec<f32>) {
        let of_cells = |id: ParamId| {
            let by_condition = params.values(id);
            batch.condition.codes.iter().map(|&s| by_condition[s as usize]).collect()
        };
        (of_cells(self.prior_mean), of_cells(self.prior_variance))
    }
}

/// Mean and variance of ln ℓ over cells; an empty cell counts as 0.
fn log_moments(sizes: impl Iterator<Item = f32>) -> (f32, f32) {
    let logs: Vec<f64> = sizes.map(|l| if l > 0.0 { f64::from(l).ln() } else { 0.0 }).collect();
    let n = logs.len().max(1) as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n;
    // One cell, or cells all alike, say nothing of the spread.
    (mean as f32, if variance > 0.0 { variance as f32 } else { 1.0 })
}

/// Equation 3: ρ from its linear predictor, times the batch's library size, or e^`log_library` (at most e^`most`).
pub(crate) fn rate<'a>(t: &mut dyn Ops<'a>, batch: &'a Batch, scale: Var, log_library: Option<Var>, most: f32) -> Var {
    match log_library {
        None => t.mean_of(scale, Link::Softmax, &batch.library),
        Some(log_library) => {
            let rho = t.mean_of(scale, Link::Softmax, &batch.unit);
            t.times_library(rho, log_library, most)
        }
    }
}

/// Θ: log inverse dispersions, a row for each group of cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogDispersion {
    pub(crate) tensor: ParamId,
    by: DispersionBy,
}

impl LogDispersion {
    /// A tensor [1, condition or label × `of`].
    pub(crate) fn new(
        p: &mut Params,
        name: &str,
        by: DispersionBy,
        (of, init): ((Axis, usize), Init),
        header: &Header,
    ) -> LogDispersion {
        let rows = match by {
            DispersionBy::GeneCondition => (Axis::Condition, header.conditions.len()),
            DispersionBy::GeneLabel => (Axis::Label, header.labels.len()),
            DispersionBy::Gene | DispersionBy::GeneCell => (Axis::One, 1),
        };
        LogDispersion { tensor: p.declare(name, &[rows, of], init), by }
    }

    /// The tensor, and the row of each cell.
    pub(crate) fn rows<'a>(&self, batch: &'a Batch) -> (ParamId, &'a Codes) {
        let groups = match self.by {
            DispersionBy::GeneCondition => &batch.condition,
            DispersionBy::GeneLabel => &batch.label,
            DispersionBy::Gene | DispersionBy::GeneCell => &batch.one,
        };
        (self.tensor, groups)
    }

    /// Equation 4.
    pub(crate) fn of<'a>(&self, batch: &'a Batch) -> Dispersion<'a> {
        let (tensor, groups) = self.rows(batch);
        Dispersion::Grouped(tensor, groups)
    }
}
