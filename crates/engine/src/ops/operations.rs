//! The list of operations that networks are written in.

use super::{BatchNorm, Dispersion, Link, ProgramWeights, ProteinMixture};
use crate::batch::{Codes, SparseBatch};
use crate::params::{ParamId, Params};
use crate::tape::{Layout, Shape, Tape, Var};

/// The trait from the list, and its implementation by the methods of the same names of [`Tape`].
macro_rules! operations {
    ($a:lifetime $($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) -> Var;)*) => {
        /// The operations that networks are written in, one method each: what runs them is none of a network's business.
        /// [`Tape`] runs them on the processor.
        ///
        /// An activation is a number ([`Var`]); what it stands for lies where the operations run. [`Ops::value`] brings it
        /// to the host. Where nothing else is said, activations of cells are [cell × feature], latent variables
        /// [latent × cell], and what has a value for each gene lies in lanes.
        pub trait Ops<$a> {
            /// The parameter table.
            fn params(&self) -> &$a Params;

            /// Whether this pass trains: then dropout drops and batch statistics are the batch's.
            fn training(&self) -> bool;

            /// Size and layout of an activation.
            fn shape(&self, v: Var) -> Shape;

            /// The values of an activation.
            fn value(&self, v: Var) -> &[f32];

            /// Puts given values on the tape; no gradient flows into them.
            fn constant(&mut self, shape: Shape, values: &[f32]) -> Var;

            $($(#[$doc])* fn $name(&mut self, $($arg: $type),*) -> Var;)*
        }

        impl<$a> Ops<$a> for Tape<$a> {
            fn params(&self) -> &$a Params {
                Tape::params(self)
            }

            fn training(&self) -> bool {
                Tape::training(self)
            }

            fn shape(&self, v: Var) -> Shape {
                Tape::shape(self, v)
            }

            fn value(&self, v: Var) -> &[f32] {
                Tape::value(self, v)
            }

            fn constant(&mut self, shape: Shape, values: &[f32]) -> Var {
                Tape::constant(self, shape, values)
            }

            $(fn $name(&mut self, $($arg: $type),*) -> Var {
                Tape::$name(self, $($arg),*)
            })*
        }
    };
}

operations! { 'a
    /// y = x W + b of a batch's expression, [cell × hidden]; `weight` is [gene × hidden], `bias` [hidden]. Where the batch
    /// brings the product along ([`SparseBatch::set_product`]), that is used.
    fn sparse_linear(x: &'a SparseBatch, weight: ParamId, bias: Option<ParamId>) -> Var;

    /// y = x Wᵀ + b, in the layout asked for; `weight` is [out × in], `bias` [out].
    fn linear(x: Var, weight: ParamId, bias: Option<ParamId>, layout: Layout) -> Var;

    /// h = x Wᵀ + b + L[s], in lanes; `weight` is [gene × hidden], `bias` [gene], `groups` L, [condition × gene], with each
    /// cell's condition.
    fn linear_to_lanes(x: Var, weight: ParamId, bias: Option<ParamId>, groups: Option<(ParamId, &'a Codes)>) -> Var;

    /// h = Σ W z + L[s], in lanes; `z` is [program × cell], segments cover its programs in order, `condition` is L,
    /// [condition × gene], with each cell's condition.
    fn decode_programs(
        z: Var,
        n_genes: usize,
        segments: Vec<ProgramWeights<'a>>,
        condition: Option<(ParamId, &'a Codes)>,
    ) -> Var;

    /// y = x + R[codes], [cell × hidden]; `rows` is R, [category × hidden].
    fn add_rows(x: Var, rows: ParamId, codes: &'a Codes) -> Var;

    /// y[k·n + i, :] = x[i, :] + R[k, :] for every label k; `x` is [cell × hidden], `rows` R, [label × hidden].
    fn every_label(x: Var, rows: ParamId) -> Var;

    /// `x` in the layout asked for; `x` itself when it lies so already.
    fn to_layout(x: Var, layout: Layout) -> Var;

    /// y = a + b, of one shape.
    fn add(a: Var, b: Var) -> Var;

    /// y = factor · x
    fn times(x: Var, factor: f32) -> Var;

    /// The features of `a` and then those of `b`, [cell × (a + b)].
    fn concat(a: Var, b: Var) -> Var;

    /// y = (1/n) Σ x, one value; `x` is [cell × 1].
    fn mean(x: Var) -> Var;

    /// h = dropout(max(x, 0)), in x's layout; dropout in training only, where the noise comes from a key.
    fn relu(x: Var, dropout: f32) -> Var;

    /// h = dropout(max(n, 0)), n = (x − m)/√(v + 10⁻⁵), m and v over the features of a cell.
    fn layer_norm_relu(x: Var, dropout: f32) -> Var;

    /// y = w (x − m)/√(v + ε) + b, [cell × hidden]; m and v over the cells of the batch in training, running statistics
    /// otherwise.
    fn batch_norm(x: Var, norm: &BatchNorm) -> Var;

    /// p = softmax of each cell's features, [cell × feature].
    fn softmax(x: Var) -> Var;

    /// μ = link(h), in lanes; `library` has one size per cell, which softmax alone reads. μ takes h's place in memory: h
    /// cannot be read afterwards.
    fn mean_of(h: Var, link: Link, library: &'a [f32]) -> Var;

    /// y[gene, cell] = x[gene, cell] · e^min(l[cell], most), in lanes; `log_library` is l, [1 × cell].
    fn times_library(x: Var, log_library: Var, most: f32) -> Var;

    /// β = link(x) + floor; the link is softplus or exp.
    fn deviation(x: Var, link: Link, floor: f32) -> Var;

    /// z = m + √(exp(λ) + ε) · noise, noise ~ N(0, 1).
    fn gaussian_sample(mean: Var, log_var: Var, epsilon: f32) -> Var;

    /// mean + deviation · noise, noise ~ N(0, 1).
    fn normal_sample(mean: Var, deviation: Var) -> Var;

    /// v = exp(λ) + ε, to be read: no gradient flows through it.
    fn posterior_variance(log_var: Var, epsilon: f32) -> Var;

    /// −ln NB(x; μ, e^Θ) of each cell, summed over genes, [cell × 1].
    fn negative_binomial(mu: Var, dispersion: Dispersion<'a>, x: &SparseBatch) -> Var;

    /// −ln ZINB(x; μ, e^Θ, π) of each cell, summed over genes, [cell × 1]; `pi` are logits, in lanes.
    fn zero_inflated_negative_binomial(mu: Var, pi: Var, dispersion: Dispersion<'a>, x: &SparseBatch) -> Var;

    /// −ln Poisson(x; μ) of each cell, summed over genes, [cell × 1].
    fn poisson(mu: Var, x: &'a SparseBatch) -> Var;

    /// −ln N(x; μ, e^2Θ) of each cell, summed over genes, [cell × 1].
    fn normal(mu: Var, log_scale: Dispersion<'a>, x: &SparseBatch) -> Var;

    /// Σ (x − y)² of each cell over genes, [cell × 1].
    fn squared_error(y: Var, x: &'a SparseBatch) -> Var;

    /// −ln p(y) of each cell, summed over the proteins that its condition measured, [cell × 1].
    fn protein_mixture(mixture: ProteinMixture<'a>) -> Var;

    /// −ln softmax(logits)[target], mean over the labelled cells, one value; 0 when there are none. A target at or past the
    /// number of labels means unlabelled.
    fn cross_entropy(logits: Var, targets: &[u32]) -> Var;

    /// KL(N(m, exp(λ) + ε) ‖ N(0, 1)) of each cell, [cell × 1].
    fn kl_standard_normal(mean: Var, log_var: Var, epsilon: f32) -> Var;

    /// KL(N(m, exp(λ) + ε) ‖ N(m₀, v₀)) of each cell, [cell × 1]; m₀ and v₀ for each value, in the order of `mean`.
    fn kl_normal(mean: Var, log_var: Var, epsilon: f32, prior_mean: Vec<f32>, prior_var: Vec<f32>) -> Var;

    /// −ln N(x; m, exp(λ) + ε) of each cell, summed over features, [cell × 1]. `mean` and `log_var` may have a multiple of
    /// the cells of `x`: column k·n + i then is cell i under label k.
    fn negative_log_normal(x: Var, mean: Var, log_var: Var, epsilon: f32) -> Var;

    /// Σ_k p[i, k] v[k·n + i], [cell × 1]; `values` is [label · cell × 1].
    fn mix_labels(p: Var, values: Var) -> Var;

    /// KL(p ‖ prior) = Σ_k p_k (ln p_k − ln prior_k) of each cell, [cell × 1]; `p` is [cell × label].
    fn categorical_kl(p: Var, prior: &'a [f32]) -> Var;

    /// KL(N(mean, deviation²) ‖ N(a, e^2r)) of each cell, summed over the proteins that its condition measured, [cell × 1];
    /// `prior` is a and r, [condition × protein], `observed` the same shape, 1 or 0.
    fn background_kl(
        mean: Var,
        deviation: Var,
        prior: (ParamId, ParamId),
        observed: &[f32],
        panels: &'a Codes,
    ) -> Var;

    /// −ln LogNormal(e^c; 0, 1) of each cell, summed over features, [cell × 1]; `log` is c, [group × feature].
    fn log_normal_prior(log: ParamId, codes: &'a Codes) -> Var;

    /// −weight · ln(1/(1 + e^−x)) of each cell, summed over features, [cell × 1].
    fn logistic_penalty(x: Var, weight: f32) -> Var;

    /// Σ over the last `n_new` variables of √HSIC(variable, all others), or with `joint` √HSIC(the last `n_new`, the
    /// others), one value; without `root` HSIC itself.
    fn hsic(z: Var, n_new: usize, joint: bool, root: bool) -> Var;

    /// The variance between groups of cells of one label, beyond chance, as a share of the variance within groups, one value;
    /// a label at or past `n_labels` is missing.
    fn alignment(x: Var, labels: &[u32], n_labels: usize, groups: &Codes) -> Var;

    /// The maximum mean discrepancy between the conditions of the batch, summed over their pairs, one value; with a
    /// `boundary` only over pairs of a condition below it and one at or above it.
    fn mmd(x: Var, codes: &Codes, boundary: Option<u32>) -> Var;
}
