//! The contract of a base model.

use std::fmt::Debug;
use std::ops::Range;

use scgraft_cells::Prepared;
use scgraft_engine::Key;
use scgraft_engine::{InputScale, ParamId, Params, Tape, Var};

use crate::{Baseline, Batch, Decoded, DecodedProteins, Header, ModelError, Segment};

/// ε in the variance exp(λ) + ε of every posterior.
pub(crate) const VARIANCE_FLOOR: f32 = 1e-4;

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
    pub fn sample(&self, t: &mut Tape<'_>) -> (Var, Option<Var>) {
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
    pub fn of_cells(t: &mut Tape<'_>, name: &'static str, per_cell: Var, weight: f32) -> Term {
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

/// What a base model is: how its tensors make a latent space, data and a loss.
///
/// A network owns handles and settings; the numbers are in the [`Params`] table that the tape holds.
pub trait Network: Debug + Send + Sync {
    /// The settings, as they are written to the model file.
    fn config(&self) -> serde_json::Value;

    /// What the encoder reads.
    fn input_scale(&self) -> InputScale;

    /// The weights that multiply the expression, [gene × hidden], one for each encoder; none for a model without
    /// encoder. The product with one that is frozen is computed once per cell.
    fn input_weights(&self) -> Vec<ParamId>;

    /// The weight of the KL term that training reaches; in a step, that times the annealing factor.
    fn kl_weight(&self) -> f32;

    /// q(z | x, s).
    fn inference<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch) -> Posterior;

    /// p(x | z, s) for z, [latent × cell], as the posterior gives it. The library size is that of the batch, or
    /// e^`log_library` ([1 × cell]).
    ///
    /// With a library size of 1 the rate is the normalised expression, for models that have one
    /// ([`Decoded::normalised`]).
    fn generative<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, z: Var, log_library: Option<Var>) -> Decoded<'a>;

    /// p(y | z, s) of proteins; `None` for models without.
    fn generate_proteins<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, z: Var) -> Option<DecodedProteins> {
        let _ = (t, batch, z);
        None
    }

    /// The statistic that says which proteins a condition measured, 1 or 0, [condition × protein]; `None` for models
    /// without.
    fn measured_proteins(&self) -> Option<ParamId> {
        None
    }

    /// Inference, a sample, generation, and what to minimise.
    fn loss<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, step: &Step) -> Loss;

    /// Logits of the labels, [cell × label], for z, [latent × cell]; `None` for models that predict none.
    fn classify<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, z: Var) -> Option<Var> {
        let _ = (t, batch, z);
        None
    }

    /// Mean and variance of the prior of ln ℓ of each cell, where it is inferred.
    fn library_prior(&self, params: &Params, batch: &Batch) -> Option<(Vec<f32>, Vec<f32>)> {
        let _ = (params, batch);
        None
    }

    /// Whether z has the standard normal prior, and nothing besides z and ln ℓ is latent.
    fn has_standard_prior(&self) -> bool {
        true
    }

    /// Whether the loss wants a second minibatch, of labelled cells ([`Batch::labelled`]).
    fn wants_labelled(&self) -> bool {
        false
    }

    /// Whether cells can be used: what the names in the header do not say.
    ///
    /// # Errors
    /// When they cannot.
    fn accepts(&self, data: &Prepared) -> Result<(), ModelError> {
        let _ = data;
        Ok(())
    }

    /// Sets what is read off the data before training: statistics, and starts that depend on the data. Only rows of
    /// these conditions change, so that a graft leaves those of the reference alone.
    ///
    /// # Errors
    /// When the data lacks what is read.
    fn read_data(&self, params: &mut Params, data: &Prepared, conditions: Range<usize>) -> Result<(), ModelError> {
        let _ = (params, data, conditions);
        Ok(())
    }

    /// The first epoch, of so many, whose loss is that of the whole model; early stopping looks from there.
    fn whole_from(&self, params: &Params, epochs: usize) -> usize {
        let _ = (params, epochs);
        0
    }

    /// What follows an optimiser step: proximal operators.
    fn after_step(&self, params: &mut Params, step: &Step) {
        let _ = (params, step);
    }

    /// Tensors that train in surgery of granularity "first layers", besides the new rows.
    fn first_layers(&self) -> Vec<ParamId>;

    /// Tensors that no surgery trains, whatever its granularity.
    fn stays_frozen(&self) -> Vec<ParamId> {
        Vec::new()
    }

    /// Why weights of new conditions alone could not move a query in the latent space; `None` when they can.
    fn adaptor_obstacle(&self) -> Option<&'static str> {
        None
    }

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

    /// Where the decoder has its genes' baseline, which can be read off the data; `None` where it has none.
    fn baseline(&self) -> Option<Baseline> {
        None
    }

    /// Rows that no surgery trains, whatever its granularity: of a tensor's first axis.
    fn frozen_rows(&self, params: &Params) -> Vec<(ParamId, Range<usize>)> {
        let _ = params;
        Vec::new()
    }

    /// Turns dropout off, as surgery does.
    fn without_dropout(&mut self);

    /// The decoder's weights [latent × gene], for models whose decoder is linear in the latent dimensions.
    fn program_weights(&self, params: &Params, header: &Header) -> Option<Vec<f32>> {
        let _ = (params, header);
        None
    }
}
