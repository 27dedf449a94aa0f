//! CVAE and trVAE: conditional variational autoencoders with a dense decoder; trVAE also draws the
//! conditions together by their maximum mean discrepancy.
//!
//! Sohn et al., *Learning structured output representation using deep conditional generative models*, NeurIPS 2015.
//! Lotfollahi et al., *Conditional out-of-distribution generation for unpaired data using transfer VAE*,
//! Bioinformatics 2020; in surgery: Lotfollahi et al., *Mapping single-cell data to reference atlases by transfer
//! learning*, Nature Biotechnology 2022.
//!
//! Use CVAE for a plain latent space, trVAE where batch effects remain in it. The discrepancy pulls every pair of
//! conditions together, whatever their cell types: with very different compositions it mixes types, and a lower
//! `mmd_weight` helps. Its cost grows with the square of the batch.
//!
//! Inference
//! 1. q(z | x, s) = N(m, exp(λ) + 10⁻⁴) as in `encoder`, of log(1 + x) (of x with squared error)
//!
//! Generation
//! 2. y = dropout(relu(norm(z W₁ᵀ + L[s])))
//! 3. h = dropout(relu(norm(h Wᵢᵀ))) for each further layer, from h = y on
//! 4. μ = ℓ softmax(h Wᵀ + b), or relu(h Wᵀ + b) with squared error
//! 5. x ~ NB(μ, θ), or ZINB(μ, θ, π), π = h Pᵀ + b_π; θ = exp(Θ[s])   (or squared error)
//!
//! Loss
//! 6. E[−ln p(x | z)] + w_kl KL(q ‖ N(0, 1)) + w_mmd Σ_{s<t} MMD(a_s, a_t), a = z or y
//!
//! | paper | meaning | tensor | shape | upstream name |
//! |---|---|---|---|---|
//! | – | encoder | `encoder…` | see `encoder` | `encoder.FC…` |
//! | W₁ | first decoder layer | `decoder.input.weight` | hidden × latent | `decoder.FirstL.L0.expr_L` |
//! | L | condition in the decoder | `decoder.input.condition` | condition × hidden | `decoder.FirstL.L0.cond_L` |
//! | Wᵢ | further layers | `decoder.<i>.weight` | hidden × hidden | `decoder.HiddenL.L<i>` |
//! | – | batch norm, where chosen | `decoder.<i>.norm…` | hidden | `decoder.FirstL.N0`, `decoder.HiddenL.N<i>` |
//! | W, b | output | `decoder.mean.weight`, `.bias` | gene × hidden, gene | `decoder.mean_decoder.0`, `decoder.recon_decoder.0` |
//! | P, b_π | dropout logits | `decoder.dropout.weight`, `.bias` | gene × hidden, gene | `decoder.dropout_decoder` |
//! | Θ | log inverse dispersion | `dispersion` | condition × gene | `theta` |

use scgraft_engine::{Axis, Dispersion, Init, InputScale, Layout, Link, Ops, ParamId, Params, Role, Var};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::encoder::{Encoder, Hidden, Nonlinearity, scarches_values};
use crate::layers::{Affine, Norm};
use crate::settings::{check_latent, check_weight, no_settings, parse, published_norm, small};
use crate::{
    Anneal, Batch, Decoded, Distribution, Epochs, Facts, Header, Loss, ModelEntry, ModelError, Network, Posterior,
    Step, Term, Training, VARIANCE_FLOOR,
};

pub(crate) const CVAE: ModelEntry = ModelEntry {
    name: "cvae",
    summary: "conditional VAE with a dense decoder",
    needs: &[],
    takes: &[],
    gives: "a latent space",
    when: "a plain baseline is wanted",
    cite: &[crate::citations::CVAE, crate::citations::SCARCHES],
    values: scarches_values,
    training: REFERENCE,
    mapping: Training::SURGERY,
    mapping_settings: no_settings,
    published_training: (PUBLISHED, Training { epochs: Epochs::Fixed(200), ..PUBLISHED }),
    published_settings: published_norm,
    small,
    build: |config, header| build(CVAE.name, 0.0, config, header),
};

pub(crate) const TRVAE: ModelEntry = ModelEntry {
    name: "trvae",
    summary: "conditional VAE that draws conditions together by their maximum mean discrepancy",
    when: "batch effects remain in a plain conditional VAE",
    cite: &[crate::citations::TRVAE, crate::citations::SCARCHES],
    build: |config, header| build(TRVAE.name, 1.0, config, header),
    ..CVAE
};

/// Without annealing, as scArches has it for these two; larger steps, since few weights of theirs are driven by all cells.
const REFERENCE: Training = Training { learning_rate: 8e-3, anneal: Anneal::Epochs(0), ..Training::REFERENCE };
const PUBLISHED: Training = Training { anneal: Anneal::Epochs(0), ..Training::SCARCHES };

/// Settings of CVAE and trVAE; the defaults are scArches'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrvaeConfig {
    /// Sizes of the encoder's hidden layers; the decoder has them in reverse.
    pub hidden: Vec<usize>,
    /// Number of latent dimensions.
    pub latent: usize,
    /// Dropout rate of the hidden layers; 0 in surgery.
    pub dropout: f32,
    /// Normalisation of the hidden layers.
    pub norm: Norm,
    /// Likelihood of the data.
    pub likelihood: TrvaeLikelihood,
    /// Weight of the KL term (upstream `alpha_kl`).
    pub kl_weight: f32,
    /// Weight of the discrepancy between conditions (upstream `beta`); default 1 in trVAE, always 0 in CVAE.
    pub mmd_weight: Option<f32>,
    /// Where conditions are compared.
    pub mmd_on: MmdOn,
    /// Compare only conditions before this place in the order of conditions with those from it on: the number of
    /// the reference's conditions compares old with new ones. By default every pair is compared.
    pub mmd_boundary: Option<u32>,
    /// In surgery, frozen batch norms use the query batch's statistics, as the published code does. By default
    /// they use the reference's, so that the frozen layers stay the same function.
    pub frozen_norm_by_batch: bool,
}

impl Default for TrvaeConfig {
    fn default() -> Self {
        TrvaeConfig {
            hidden: vec![256, 64],
            latent: 10,
            dropout: 0.05,
            norm: Norm::Layer,
            likelihood: TrvaeLikelihood::Nb,
            kl_weight: 1.0,
            mmd_weight: None,
            mmd_on: MmdOn::Latent,
            mmd_boundary: None,
            frozen_norm_by_batch: false,
        }
    }
}

impl TrvaeConfig {
    fn layers<'s>(&self, sizes: &'s [usize]) -> Hidden<'s> {
        let frozen_norm_by_batch = self.frozen_norm_by_batch;
        Hidden { sizes, norm: self.norm, dropout: self.dropout, frozen_norm_by_batch }
    }
}

/// Likelihood of the data in CVAE and trVAE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrvaeLikelihood {
    /// Negative binomial, for raw counts.
    Nb,
    /// Zero-inflated negative binomial, for raw counts.
    Zinb,
    /// Squared error, for log-normalised values.
    Mse,
}

/// Where trVAE compares conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MmdOn {
    /// On z (upstream `z`).
    Latent,
    /// On the output of the first decoder layer, the paper's choice (upstream `y`).
    Decoder,
}

#[derive(Debug)]
struct Trvae {
    config: TrvaeConfig,
    /// `config.mmd_weight`, settled.
    mmd_weight: f32,
    encoder: Encoder,
    first: ParamId,
    condition: ParamId,
    layers: Vec<ParamId>,
    nonlinearity: Nonlinearity,
    output: Affine,
    zero_inflation: Option<Affine>,
    dispersion: Option<ParamId>,
}

fn build(
    model: &'static str,
    mmd_weight: f32,
    config: &Value,
    header: &Header,
) -> Result<(Params, Box<dyn Network>), ModelError> {
    let config: TrvaeConfig = parse(model, config)?;
    config.layers(&config.hidden).check(model)?;
    check_latent(model, config.latent)?;
    let mmd_weight = config.mmd_weight.unwrap_or(mmd_weight);
    check_weight(model, "mmd_weight", mmd_weight)?;
    if model == CVAE.name && mmd_weight > 0.0 {
        let expected = "0: a CVAE does not compare conditions; trvae does";
        return Err(ModelError::setting(model, "mmd_weight", expected, mmd_weight));
    }

    let mut p = Params::new();
    let (genes, conditions, latent) = (header.genes.len(), header.conditions.len(), config.latent);
    let encoder = Encoder::add(&mut p, (genes, conditions, latent), &config.layers(&config.hidden));
    let sizes: Vec<usize> = config.hidden.iter().rev().copied().collect();
    let weight = |p: &mut Params, name: &str, units: usize, from: (Axis, usize)| {
        p.declare(&format!("decoder.{name}.weight"), &[(Axis::Hidden, units), from], Init::FanIn(from.1))
    };
    let (by_condition, by_gene) = ((Axis::Condition, conditions), (Axis::Gene, genes));
    let first = weight(&mut p, "input", sizes[0], (Axis::Latent, latent));
    let axes = [by_condition, (Axis::Hidden, sizes[0])];
    let condition = p.declare("decoder.input.condition", &axes, Init::FanIn(conditions));
    let hidden = sizes.windows(2).enumerate();
    let layers = hidden.map(|(i, w)| weight(&mut p, &(i + 1).to_string(), w[1], (Axis::Hidden, w[0]))).collect();
    let nonlinearity = config.layers(&sizes).nonlinearity(&mut p, "decoder");
    let last = sizes[sizes.len() - 1];
    let output = Affine::new(&mut p, "decoder.mean", by_gene, last);
    let likelihood = config.likelihood;
    let zero_inflation =
        (likelihood == TrvaeLikelihood::Zinb).then(|| Affine::new(&mut p, "decoder.dropout", by_gene, last));
    let dispersion = (likelihood != TrvaeLikelihood::Mse)
        .then(|| p.declare("dispersion", &[by_condition, by_gene], Init::Normal(1.0)));
    p.set_role(Role::FirstLayer, [first, condition].into_iter().chain(dispersion));
    let network = Trvae {
        config,
        mmd_weight,
        encoder,
        first,
        condition,
        layers,
        nonlinearity,
        output,
        zero_inflation,
        dispersion,
    };
    Ok((p, Box::new(network)))
}

impl Trvae {
    /// y, equation 2.
    fn first_layer<'a>(&'a self, t: &mut dyn Ops<'a>, z: Var, batch: &'a Batch) -> Var {
        let a = t.linear(z, self.first, None, Layout::ByCell);
        let a = t.add_rows(a, self.condition, &batch.condition);
        self.nonlinearity.apply(t, 0, a)
    }

    /// The input of the output layer, equation 3.
    fn further_layers(&self, t: &mut dyn Ops<'_>, y: Var) -> Var {
        let mut h = y;
        for (i, &weight) in self.layers.iter().enumerate() {
            let a = t.linear(h, weight, None, Layout::ByCell);
            h = self.nonlinearity.apply(t, i + 1, a);
        }
        h
    }

    /// Equations 4 and 5.
    fn output<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, h: Var) -> Decoded<'a> {
        let link = if self.dispersion.is_some() { Link::Softmax } else { Link::Relu };
        let a = self.output.genes(t, h); // 4
        let rate = t.mean_of(a, link, &batch.library); // 4
        let dispersion = self.dispersion.map(|theta| Dispersion::Grouped(theta, &batch.condition));
        let distribution = match dispersion {
            Some(_) => Distribution::of_counts(dispersion, self.zero_inflation.as_ref().map(|zeros| zeros.genes(t, h))), // 5
            None => Distribution::SquaredError, // 5
        };
        Decoded { rate, distribution, normalised: link == Link::Softmax }
    }
}

impl Network for Trvae {
    fn config(&self) -> Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }

    fn facts(&self) -> Facts {
        let input_scale = match self.config.likelihood {
            TrvaeLikelihood::Nb | TrvaeLikelihood::Zinb => InputScale::Log1p,
            TrvaeLikelihood::Mse => InputScale::Identity,
        };
        Facts { input_scale, kl_weight: self.config.kl_weight, ..Facts::default() }
    }

    fn inference<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch) -> Posterior {
        self.encoder.inference(t, batch) // 1
    }

    fn generative<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var, _: Option<Var>) -> Decoded<'a> {
        let y = self.first_layer(t, z, batch); // 2
        let h = self.further_layers(t, y); // 3
        self.output(t, batch, h)
    }

    fn loss<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, step: &Step) -> Loss {
        let kl_weight = self.config.kl_weight * step.annealed;
        let q = self.inference(t, batch);
        let z = t.gaussian_sample(q.mean, q.log_variance, VARIANCE_FLOOR); // 1
        let y = self.first_layer(t, z, batch); // 2
        let h = self.further_layers(t, y); // 3
        let reconstruction = self.output(t, batch, h).reconstruction(t, batch); // 6
        let kl = t.kl_standard_normal(q.mean, q.log_variance, VARIANCE_FLOOR); // 6
        let mut terms =
            vec![Term::of_cells(t, "reconstruction", reconstruction, 1.0), Term::of_cells(t, "kl", kl, kl_weight)];
        if self.mmd_weight > 0.0 {
            let compared = match self.config.mmd_on {
                MmdOn::Latent => z,
                MmdOn::Decoder => y,
            };
            let value = t.mmd(compared, &batch.condition, self.config.mmd_boundary); // 6
            terms.push(Term::of_batch("mmd", value, self.mmd_weight));
        }
        terms
    }
}
