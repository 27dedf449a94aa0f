//! The contract of a base model.

use std::fmt::Debug;
use std::ops::Range;

use scgraft_cells::Prepared;
use scgraft_engine::{InputScale, Ops, ParamId, Params, Var};
use serde_json::Value;

use crate::{Baseline, Batch, Decoded, DecodedProteins, ModelError, ScoreHead};

/// ε in the variance exp(λ) + ε of every posterior.
pub const VARIANCE_FLOOR: f32 = 1e-4;

/// q(z | x, s), and q(ln ℓ | x, s) of models that learn the library size.
#[derive(Clone, Copy, Debug)]
pub struct Posterior {
    /// m, [latent × cell]
    pub mean: Var,
    /// λ, [latent × cell]; the variance is exp(λ) + 10⁻⁴.
    pub log_variance: Var,
    /// Mean and log-variance of ln ℓ, [1 × cell] each, as of z; `None` where ℓ is observed.
    pub library: Option<(Var, Var)>,
}

impl Posterior {
    /// A draw of z, [latent × cell], and of ln ℓ, [1 × cell], where it is learned.
    pub fn sample(&self, t: &mut dyn Ops<'_>) -> (Var, Option<Var>) {
        let z = t.gaussian_sample(self.mean, self.log_variance, VARIANCE_FLOOR);
        let library = self.library.map(|(mean, log_variance)| t.gaussian_sample(mean, log_variance, VARIANCE_FLOOR));
        (z, library)
    }
}

/// One term of a loss.
#[derive(Clone, Debug)]
pub struct Term {
    /// Its name in histories: `reconstruction`, `kl`, `hsic`, …
    pub name: &'static str,
    /// The term itself, one value, before weighting.
    pub value: Var,
    /// Its weight in the total.
    pub weight: f32,
    /// The same for each cell, [cell × 1], for the terms whose sum is −ELBO; `None` for the others.
    pub per_cell: Option<Var>,
}

impl Term {
    /// A term of the ELBO: the mean of `per_cell`, [cell × 1].
    pub fn of_cells(t: &mut dyn Ops<'_>, name: &'static str, per_cell: Var, weight: f32) -> Term {
        Term { name, value: t.mean(per_cell), weight, per_cell: Some(per_cell) }
    }

    /// A term that is one value for all cells of a batch, and no part of the ELBO.
    pub fn of_batch(name: &'static str, value: Var, weight: f32) -> Term {
        Term { name, value, weight, per_cell: None }
    }
}

/// A loss is the weighted sum of its terms.
pub type Loss = Vec<Term>;

/// Where training stands when a loss is computed or a step has been taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Epochs in all, if nothing stops training before.
    pub epochs: usize,
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// The annealing factor, 0 to 1: of the KL weight, and of what else a model anneals.
    pub annealed: f32,
}

/// What holds of a network under its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// What the encoder reads.
    pub input_scale: InputScale,
    /// The weight of the KL term that training reaches; in a step, that times the annealing factor.
    pub kl_weight: f32,
    /// Whether z has the standard normal prior, and nothing besides z and ln ℓ is latent.
    pub standard_prior: bool,
    /// Where the decoder has its genes' baseline, which can be read off the data; `None` where it has none.
    pub baseline: Option<Baseline>,
    /// Where the posterior mean of program scores is made, which can start as a factor analysis has it; `None` to leave it as
    /// drawn.
    pub scores: Option<ScoreHead>,
    /// Why weights of new conditions alone could not move a query in the latent space; `None` when they can.
    pub adaptor_obstacle: Option<&'static str>,
}

impl Default for Facts {
    /// log(1 + x), a KL weight of 1, a standard prior, no baseline, no scores and no obstacle.
    fn default() -> Self {
        let input_scale = InputScale::Log1p;
        Facts {
            input_scale,
            kl_weight: 1.0,
            standard_prior: true,
            baseline: None,
            scores: None,
            adaptor_obstacle: None,
        }
    }
}

/// What a base model is: how its tensors make a latent space, data and a loss.
///
/// A network owns handles and settings; the numbers are in the [`Params`] table of the pass. What only some models have,
/// they have as a trait of its own, reached by a method here.
pub trait Network: Debug + Send + Sync {
    /// The settings, as they are written to the model file.
    fn config(&self) -> Value;

    /// What holds under these settings.
    fn facts(&self) -> Facts;

    /// q(z | x, s).
    fn inference<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch) -> Posterior;

    /// p(x | z, s) for z, [latent × cell], as the posterior gives it. The library size is that of the batch, or
    /// e^`log_library` ([1 × cell]).
    ///
    /// With a library size of 1 the rate is the normalised expression, for models that have one
    /// ([`Decoded::normalised`]).
    fn generative<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var, log_library: Option<Var>)
    -> Decoded<'a>;

    /// Inference, a sample, generation, and what to minimise.
    fn loss<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, step: &Step) -> Loss;

    /// What follows an optimiser step: proximal operators.
    fn after_step(&self, params: &mut Params, step: &Step) {
        let _ = (params, step);
    }

    /// Latent dimensions that are weights on genes.
    fn programs(&self) -> Option<&dyn Programs> {
        None
    }

    /// Proteins beside the RNA.
    fn proteins(&self) -> Option<&dyn Proteins> {
        None
    }

    /// Labels that the latent space tells.
    fn classifier(&self) -> Option<&dyn Classifier> {
        None
    }

    /// A library size that is inferred.
    fn library(&self) -> Option<&dyn InferredLibrary> {
        None
    }

    /// What is read off the data before training.
    fn statistics(&self) -> Option<&dyn Statistics> {
        None
    }
}

/// A decoder that is linear in the latent dimensions, so that each has a weight on every gene.
pub trait Programs {
    /// The weights, [latent × gene].
    fn weights(&self, params: &Params) -> Vec<f32>;

    /// Rows of tensors that no surgery trains, whatever its granularity: programs that the reference pruned.
    fn pruned(&self, params: &Params) -> Vec<(ParamId, Range<usize>)> {
        let _ = params;
        Vec::new()
    }

    /// What the start of new programs asks of the other new rows, after a surgery that brought some.
    fn join(&self, params: &mut Params) {
        let _ = params;
    }

    /// The first epoch, of so many, in which all programs are decoded; early stopping looks from there.
    fn all_from(&self, params: &Params, epochs: usize) -> usize {
        let _ = (params, epochs);
        0
    }
}

/// Proteins beside the RNA.
pub trait Proteins {
    /// p(y | z, s) for z, [latent × cell].
    fn decode<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var) -> DecodedProteins;

    /// The statistic that says which proteins a condition measured, 1 or 0, [condition × protein].
    fn measured(&self) -> ParamId;

    /// ln of the share of its proteins that a condition counts, against the others: rates are times it in the loss,
    /// [condition × protein].
    fn efficiency(&self) -> ParamId;
}

/// Labels that the latent space tells.
pub trait Classifier {
    /// Logits of the labels, [cell × label], for z, [latent × cell].
    fn logits<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var) -> Var;

    /// Whether the loss wants a second minibatch, of labelled cells ([`Batch::labelled`]).
    fn wants_labelled(&self) -> bool {
        false
    }
}

/// A library size that is inferred.
pub trait InferredLibrary {
    /// Mean and variance of the prior of ln ℓ of each cell.
    fn prior(&self, params: &Params, batch: &Batch) -> (Vec<f32>, Vec<f32>);
}

/// What a network reads off the data before training, and asks of it.
pub trait Statistics {
    /// Whether cells can be used: what the names in the header do not say.
    ///
    /// # Errors
    /// When they cannot.
    fn accepts(&self, data: &Prepared) -> Result<(), ModelError> {
        let _ = data;
        Ok(())
    }

    /// Sets statistics, and starts that depend on the data. Only rows of these conditions change, so that a graft leaves
    /// those of the reference alone.
    ///
    /// # Errors
    /// When the data lacks what is read.
    fn read(&self, params: &mut Params, data: &Prepared, conditions: Range<usize>) -> Result<(), ModelError>;
}
