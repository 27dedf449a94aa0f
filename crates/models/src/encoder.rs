//! The encoder of scArches' models: expression and condition to a Gaussian posterior.
//!
//! 1. a₁ = x Uᵀ + b + A[s],   aᵢ = hᵢ₋₁ Vᵢᵀ + bᵢ
//! 2. hᵢ = dropout(relu(norm(aᵢ)))
//! 3. m = h Mᵀ + b_m,   λ = h Λᵀ + b_λ,   q(z) = N(m, exp(λ) + 10⁻⁴)
//!
//! | meaning | tensor | shape | upstream name |
//! |---|---|---|---|
//! | first layer | `encoder.input.weight`, `.bias` | gene × hidden, hidden | `encoder.FC.L0.expr_L` |
//! | condition | `encoder.input.condition` | condition × hidden | `encoder.FC.L0.cond_L` |
//! | further layers | `encoder.<i>.weight`, `.bias` | hidden × hidden, hidden | `encoder.FC.L<i>` |
//! | batch norm, where chosen | `encoder.<i>.norm…` | hidden | `encoder.FC.N<i>` |
//! | posterior mean | `encoder.mean.weight`, `.bias` | latent × hidden, latent | `encoder.mean_encoder` |
//! | posterior log-variance | `encoder.log_variance.weight`, `.bias` | latent × hidden, latent | `encoder.log_var_encoder` |

use scgraft_cells::Kind;
use scgraft_engine::{Axis, BatchNorm, Init, Key, Layout, ParamId, Params, Tape, Var};
use serde_json::Value;

use crate::layers::{Dense, Norm, NormPlan, activate};
use crate::settings::{check_dropout, check_hidden};
use crate::{Batch, ModelError, Posterior};

/// What the values must be: log-normalised for squared error, raw counts otherwise.
pub(crate) fn scarches_values(config: &Value) -> Kind {
    if config["likelihood"] == "mse" { Kind::LogNormalised } else { Kind::Counts }
}

/// What follows the linear part of each hidden layer: equation 2.
#[derive(Debug)]
pub(crate) struct Activation {
    norm: Norm,
    /// One a layer; empty without batch norm.
    norms: Vec<BatchNorm>,
    dropout: f32,
}

/// How hidden layers are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hidden<'s> {
    /// Units of each layer.
    pub sizes: &'s [usize],
    pub norm: Norm,
    pub dropout: f32,
    /// Whether frozen batch norms use the batch's statistics.
    pub frozen_norm_by_batch: bool,
}

impl Hidden<'_> {
    /// # Errors
    /// When there is no layer, a layer without units, or a dropout rate outside [0, 1).
    pub fn check(&self, model: &'static str) -> Result<(), ModelError> {
        check_hidden(model, "hidden", self.sizes)?;
        check_dropout(model, self.dropout)
    }

    /// The activations of layers `<side>.0`, `<side>.1`, …
    pub fn activation(&self, p: &mut Params, side: &str, key: Key) -> Activation {
        let plan =
            NormPlan { kind: self.norm, epsilon: 1e-5, momentum: 0.1, batch_when_frozen: self.frozen_norm_by_batch };
        let mut norm = |(i, &n): (usize, &usize)| plan.add(p, &format!("{side}.{i}.norm"), (Axis::Hidden, n), key);
        let norms = self.sizes.iter().enumerate().map_while(&mut norm).collect();
        Activation { norm: self.norm, norms, dropout: self.dropout }
    }
}

impl Activation {
    /// Equation 2.
    pub fn apply(&self, t: &mut Tape<'_>, layer: usize, a: Var) -> Var {
        activate(t, (self.norms.get(layer), self.norm), self.dropout, a)
    }

    /// The affine terms of the first layer's norm.
    pub fn first_norm(&self) -> impl Iterator<Item = ParamId> + '_ {
        self.norms.first().into_iter().flat_map(|n| [n.weight, n.bias])
    }

    pub fn without_dropout(&mut self) {
        self.dropout = 0.0;
    }
}

/// The encoder's tensors.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub input: Dense,
    condition: ParamId,
    layers: Vec<Dense>,
    activation: Activation,
    mean: Dense,
    log_variance: Dense,
}

impl Encoder {
    /// Draws an encoder of `genes` and `conditions` into `latent` dimensions.
    pub fn add(
        p: &mut Params,
        (genes, conditions, latent): (usize, usize, usize),
        hidden: &Hidden<'_>,
        key: Key,
    ) -> Self {
        let (first, last) = (hidden.sizes[0], hidden.sizes[hidden.sizes.len() - 1]);
        let layer = |p: &mut Params, i: usize, w: &[usize]| {
            Dense::new(p, &format!("encoder.{}", i + 1), (Axis::Hidden, w[1]), w[0], key)
        };
        let layers = hidden.sizes.windows(2).enumerate().map(|(i, w)| layer(p, i, w)).collect();
        let mean = Dense::new(p, "encoder.mean", (Axis::Latent, latent), last, key);
        let log_variance = Dense::new(p, "encoder.log_variance", (Axis::Latent, latent), last, key);
        let to_first = (Axis::Hidden, first);
        let input = Dense {
            weight: p.add("encoder.input.weight", &[(Axis::Gene, genes), to_first], Init::FanIn(genes), key),
            bias: p.add("encoder.input.bias", &[to_first], Init::FanIn(genes), key),
        };
        let axes = [(Axis::Condition, conditions), to_first];
        let condition = p.add("encoder.input.condition", &axes, Init::FanIn(conditions), key);
        let activation = hidden.activation(p, "encoder", key);
        Encoder { input, condition, layers, activation, mean, log_variance }
    }

    /// q(z | x, s), equations 1 to 3.
    pub fn inference<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch) -> Posterior {
        let a = t.sparse_linear(&batch.x, self.input.weight, Some(self.input.bias)); // 1
        let a = t.add_rows(a, self.condition, &batch.condition); // 1
        let mut h = self.activation.apply(t, 0, a); // 2
        for (i, layer) in self.layers.iter().enumerate() {
            let a = layer.apply(t, h, Layout::ByCell); // 1
            h = self.activation.apply(t, i + 1, a); // 2
        }
        let mean = self.mean.apply(t, h, Layout::ByFeature); // 3
        let log_variance = self.log_variance.apply(t, h, Layout::ByFeature); // 3
        Posterior { mean, log_variance, library: None }
    }

    /// What trains in surgery of granularity "first layers".
    pub fn first_layer(&self) -> impl Iterator<Item = ParamId> + '_ {
        [self.input.weight, self.input.bias, self.condition].into_iter().chain(self.activation.first_norm())
    }

    pub fn without_dropout(&mut self) {
        self.activation.without_dropout();
    }
}
