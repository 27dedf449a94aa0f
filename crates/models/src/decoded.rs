//! What a decoder says of some cells: the mean of their data, and its distribution around it.

use scgraft_engine::{Dispersion, Ops, Var};
use scgraft_numeric::random::Random;

use crate::Batch;

/// p(x | z, s) of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// μ, [gene × cell] in lanes.
    pub rate: Var,
    /// The distribution around it.
    pub distribution: Distribution<'a>,
    /// Whether μ at a library size of 1 sums to 1 over genes: the normalised expression.
    pub normalised: bool,
}

/// The distribution of a value around its mean μ.
#[derive(Clone, Copy, Debug)]
pub enum Distribution<'a> {
    /// NB(μ, θ)
    NegativeBinomial(Dispersion<'a>),
    /// NB(μ, θ), and zero with probability logistic(π).
    ZeroInflated {
        /// θ
        dispersion: Dispersion<'a>,
        /// π, [gene × cell] in lanes.
        dropout: Var,
    },
    /// Poisson(μ)
    Poisson,
    /// N(μ, e^2Θ)
    Normal(Dispersion<'a>),
    /// Squared error: N(μ, 1) up to factor and constant.
    SquaredError,
}

impl<'a> Distribution<'a> {
    /// ZINB(μ, θ, π), NB(μ, θ) without dropout logits, Poisson(μ) without dispersion.
    pub(crate) fn of_counts(dispersion: Option<Dispersion<'a>>, dropout: Option<Var>) -> Distribution<'a> {
        match (dispersion, dropout) {
            (Some(dispersion), Some(dropout)) => Distribution::ZeroInflated { dispersion, dropout },
            (Some(dispersion), None) => Distribution::NegativeBinomial(dispersion),
            (None, _) => Distribution::Poisson,
        }
    }
}

/// p(y | z, s) of the proteins of a batch, all [cell × protein].
#[derive(Clone, Copy, Debug)]
pub struct DecodedProteins {
    /// Mean and standard deviation of the log background.
    pub log_background: (Var, Var),
    /// f; the foreground is 1 + max(f, 0) times the background.
    pub foreground: Var,
    /// Logits of the background's share.
    pub mixing: Var,
}

impl<'a> Decoded<'a> {
    /// −ln p(x | z, s) of each cell, summed over genes, [cell × 1]; the squared error where that is the loss.
    pub fn reconstruction(&self, t: &mut dyn Ops<'a>, batch: &'a Batch) -> Var {
        match self.distribution {
            Distribution::NegativeBinomial(dispersion) => t.negative_binomial(self.rate, dispersion, &batch.x),
            Distribution::ZeroInflated { dispersion, dropout } => {
                t.zero_inflated_negative_binomial(self.rate, dropout, dispersion, &batch.x)
            }
            Distribution::Poisson => t.poisson(self.rate, &batch.x),
            Distribution::Normal(log_scale) => t.normal(self.rate, log_scale, &batch.x),
            Distribution::SquaredError => t.squared_error(self.rate, &batch.x),
        }
    }

    /// A draw of the value of one gene of one cell (`at` in lanes); `None` where there is no distribution.
    pub(crate) fn draw(
        &self,
        t: &dyn Ops<'_>,
        cell: usize,
        gene: usize,
        at: usize,
        random: &mut Random,
    ) -> Option<f32> {
        let genes = t.shape(self.rate).features;
        let mean = f64::from(t.value(self.rate)[at]);
        let scale = |dispersion: Dispersion<'_>| {
            let log = match dispersion {
                Dispersion::Grouped(tensor, codes) => {
                    t.params().values(tensor)[codes.codes[cell] as usize * genes + gene]
                }
                Dispersion::PerCell(var) => t.value(var)[at],
            };
            f64::from(log).exp()
        };
        Some(match self.distribution {
            Distribution::NegativeBinomial(dispersion) => random.negative_binomial(mean, scale(dispersion)) as f32,
            Distribution::ZeroInflated { dispersion, dropout } => {
                let zero = 1.0 / (1.0 + f64::from(-t.value(dropout)[at]).exp());
                if random.uniform() < zero { 0.0 } else { random.negative_binomial(mean, scale(dispersion)) as f32 }
            }
            Distribution::Poisson => random.poisson(mean) as f32,
            Distribution::Normal(log_scale) => (mean + scale(log_scale) * random.normal()) as f32,
            Distribution::SquaredError => return None,
        })
    }
}
