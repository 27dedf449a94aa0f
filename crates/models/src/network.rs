//! The contract of a base model.

use std::fmt::Debug;

use scgraft_engine::Key;
use scgraft_engine::{InputScale, ParamId, Params, Tape, Var};

use crate::{Batch, Header, ModelError, Segment};

/// q(z | x, s): mean and log-variance, [latent × cell].
#[derive(Clone, Copy, Debug)]
pub struct Posterior {
    /// m
    pub mean: Var,
    /// λ; the variance is exp(λ) + [`Network::variance_floor`].
    pub log_variance: Var,
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
}

/// A loss is the weighted sum of its terms.
pub type Loss = Vec<Term>;

/// Where training stands when a loss is computed or a step has been taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// Weight of the KL term: its final weight times the annealing factor.
    pub kl_weight: f32,
}

/// What a base model is: how its tensors make a latent space, data and a loss.
///
/// A network owns handles and settings; the numbers are in the [`Params`] table that the tape holds.
pub trait Network: Debug + Send + Sync {
    /// The settings, as they are written to the model file.
    fn config(&self) -> serde_json::Value;

    /// What the encoder reads.
    fn input_scale(&self) -> InputScale;

    /// The weights that multiply the expression, [gene × hidden]: when they are frozen the product is
    /// computed once per cell.
    fn input_weight(&self) -> ParamId;

    /// ε in the posterior variance exp(λ) + ε.
    fn variance_floor(&self) -> f32;

    /// The weight of the KL term that training reaches.
    fn kl_weight(&self) -> f32;

    /// q(z | x, s).
    fn inference<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch) -> Posterior;

    /// Inference, a sample, generation, and what to minimise.
    fn loss<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, step: &Step) -> Loss;

    /// What follows an optimiser step: proximal operators.
    fn after_step(&self, params: &mut Params, step: &Step) {
        let _ = (params, step);
    }

    /// Tensors that train in surgery of granularity "first layers", besides the new rows.
    fn first_layers(&self) -> Vec<ParamId>;

    /// Makes room for a segment of new programs (surgery of interpretable models).
    ///
    /// # Errors
    /// For models whose latent dimensions are not programs.
    fn add_segment(
        &mut self,
        params: &mut Params,
        segment: &Segment,
        n_genes: usize,
        key: Key,
    ) -> Result<(), ModelError> {
        let _ = (params, n_genes, key);
        Err(ModelError::Surgery(format!(
            "new programs (`{}`) need a model whose latent dimensions are programs; this one's are not",
            segment.programs.first().map_or("", |p| &p.name)
        )))
    }

    /// Turns dropout off, as surgery does.
    fn without_dropout(&mut self);

    /// The decoder's weights [program × gene], for models whose decoder is linear in named programs.
    fn program_weights(&self, params: &Params, header: &Header) -> Option<Vec<f32>> {
        let _ = (params, header);
        None
    }
}
