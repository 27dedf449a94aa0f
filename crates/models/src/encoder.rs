//! The encoder of scArches' models: expression and condition to a Gaussian posterior.
//!
//! 1. a₁ = x U + b + A[s],   aᵢ = hᵢ₋₁ Vᵢᵀ + bᵢ
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
use scgraft_engine::{Axis, BatchNorm, Init, Layout, Ops, ParamId, Params, Role, Var};
use serde_json::Value;

use crate::layers::{Affine, Norm, NormPlan, activate};
use crate::settings::{check_dropout, check_hidden};
use crate::{Batch, ModelError, Posterior, ScoreHead};

/// What the values must be: log-normalised for squared error, raw counts otherwise.
pub(crate) fn scarches_values(config: &Value) -> Kind {
    if config["likelihood"] == "mse" { Kind::LogNormalised } else { Kind::Counts }
}

/// What follows the linear part of each hidden layer: equation 2.
#[derive(Debug)]
pub(crate) struct Nonlinearity {
    norm: Norm,
    /// One per layer; empty without batch norm.
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

    /// What follows layers `<side>.0`, `<side>.1`, …
    pub fn nonlinearity(&self, p: &mut Params, side: &str) -> Nonlinearity {
        let plan =
            NormPlan { kind: self.norm, epsilon: 1e-5, momentum: 0.1, batch_when_frozen: self.frozen_norm_by_batch };
        let mut norm = |(i, &n): (usize, &usize)| plan.add(p, &format!("{side}.{i}.norm"), (Axis::Hidden, n));
        let norms: Vec<BatchNorm> = self.sizes.iter().enumerate().map_while(&mut norm).collect();
        p.set_role(Role::FirstLayer, norms.first().into_iter().flat_map(|n| [n.weight, n.bias]));
        Nonlinearity { norm: self.norm, norms, dropout: self.dropout }
    }
}

impl Nonlinearity {
    /// Equation 2.
    pub fn apply(&self, t: &mut dyn Ops<'_>, layer: usize, a: Var) -> Var {
        activate(t, (self.norms.get(layer), self.norm), self.dropout, a)
    }
}

/// The encoder's tensors.
#[derive(Debug)]
pub(crate) struct Encoder {
    input: Affine,
    condition: ParamId,
    layers: Vec<Affine>,
    nonlinearity: Nonlinearity,
    mean: Affine,
    log_variance: Affine,
}

impl Encoder {
    /// Declares an encoder of `genes` and `conditions` into `latent` dimensions.
    pub fn add(p: &mut Params, (genes, conditions, latent): (usize, usize, usize), hidden: &Hidden<'_>) -> Self {
        let (first, last) = (hidden.sizes[0], hidden.sizes[hidden.sizes.len() - 1]);
        let layer = |p: &mut Params, i: usize, w: &[usize]| {
            Affine::new(p, &format!("encoder.{}", i + 1), (Axis::Hidden, w[1]), w[0])
        };
        let layers = hidden.sizes.windows(2).enumerate().map(|(i, w)| layer(p, i, w)).collect();
        let mean = Affine::new(p, "encoder.mean", (Axis::Latent, latent), last);
        let log_variance = Affine::new(p, "encoder.log_variance", (Axis::Latent, latent), last);
        let to_first = (Axis::Hidden, first);
        let input = Affine {
            weight: p.declare("encoder.input.weight", &[(Axis::Gene, genes), to_first], Init::FanIn(genes)),
            bias: p.declare("encoder.input.bias", &[to_first], Init::FanIn(genes)),
        };
        let axes = [(Axis::Condition, conditions), to_first];
        let condition = p.declare("encoder.input.condition", &axes, Init::FanIn(conditions));
        let nonlinearity = hidden.nonlinearity(p, "encoder");
        p.set_role(Role::FirstLayer, [input.bias, condition]);
        p.set_role(Role::ReadsExpression, [input.weight]);
        Encoder { input, condition, layers, nonlinearity, mean, log_variance }
    }

    /// M and b_m.
    pub fn mean(&self) -> ScoreHead {
        ScoreHead { weight: self.mean.weight, bias: self.mean.bias }
    }

    /// q(z | x, s), equations 1 to 3.
    pub fn inference<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch) -> Posterior {
        let a = t.sparse_linear(&batch.x, self.input.weight, Some(self.input.bias)); // 1
        let a = t.add_rows(a, self.condition, &batch.condition); // 1
        let mut h = self.nonlinearity.apply(t, 0, a); // 2
        for (i, layer) in self.layers.iter().enumerate() {
            let a = layer.apply(t, h, Layout::ByCell); // 1
            h = self.nonlinearity.apply(t, i + 1, a); // 2
        }
        let mean = self.mean.apply(t, h, Layout::ByFeature); // 3
        let log_variance = self.log_variance.apply(t, h, Layout::ByFeature); // 3
        Posterior { mean, log_variance, library: None }
    }
}
