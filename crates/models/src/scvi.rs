//! scVI: a variational autoencoder of counts, conditioned on the batch.
//!
//! Lopez et al., *Deep generative modeling for single-cell transcriptomics*, Nature Methods 2018; with the settings
//! for reference mapping of Lotfollahi et al., *Mapping single-cell data to reference atlases by transfer learning*,
//! Nature Biotechnology 2022; linear decoder: Svensson et al., *Interpretable factor models of single-cell RNA-seq via
//! variational autoencoders*, Bioinformatics 2020.
//!
//! Use it when the question is where cells lie, and what they express once batches are taken out. It needs raw counts
//! (or log-normalised values with the normal likelihood). Its dimensions have no meaning of their own, save loadings on
//! genes with the linear decoder. A model with a vector per cell instead of an encoder has nothing to overfit an encoder
//! with, but grows with the data and must be fitted to every new cell.
//!
//! Inference
//! 1. h = NN(log(1 + x), s, c),   m = h Mᵀ + b_m,   λ = h Λᵀ + b_λ;   or m, λ of the cell's own
//! 2. q(z) = N(m, exp(λ) + 10⁻⁴);   logistic normal: z ← softmax(z)
//! 3. ℓ = Σ_g x_g, or q(ln ℓ) = N(m_ℓ, exp(λ_ℓ) + 10⁻⁴) from NN_ℓ(log(1 + x), s, c)
//!
//! Generation
//! 4. h = NN(z, s, c);   ρ = softmax(h Rᵀ + b_ρ);   linear: ρ = softmax(norm(W z + L[s]))
//! 5. μ = ℓ ρ
//! 6. π = h Pᵀ + b_π   (ZINB);   θ = exp(Θ) by gene, condition or label, or exp(h Dᵀ + b_θ) by cell
//! 7. x ~ ZINB(μ, θ, π), NB(μ, θ), Poisson(μ) or N(μ, θ²)
//!
//! Loss
//! 8. E[−ln p(x | z, ℓ)] + w_kl KL(q(z) ‖ N(0, 1)) + KL(q(ln ℓ) ‖ N(a_s, v_s)),   a_s and v_s the mean and variance
//!    of ln Σ_g x_g over the cells of condition s
//!
//! | paper | meaning | tensor | shape | upstream name |
//! |---|---|---|---|---|
//! | – | encoder | `encoder.<i>.…` | see `layers` | `z_encoder.encoder.fc_layers` |
//! | μ_z | posterior mean | `encoder.mean.weight`, `.bias` | latent × hidden | `z_encoder.mean_encoder` |
//! | σ_z | posterior log-variance | `encoder.log_variance.…` | latent × hidden | `z_encoder.var_encoder` |
//! | – | a cell's own mean, log-variance | `cells.mean`, `cells.log_variance` | cell × latent | – |
//! | – | library encoder | `library.0.…`, `library.mean.…`, `library.log_variance.…` | 1 × hidden | `l_encoder` |
//! | ℓ_μ, ℓ_σ² | library prior | `library.prior_mean`, `.prior_variance` | condition | `library_log_means`, `library_log_vars` |
//! | f_w | decoder | `decoder.<i>.…` | see `layers` | `decoder.px_decoder.fc_layers` |
//! | f_w | normalised expression | `decoder.scale.weight`, `.bias` | gene × hidden | `decoder.px_scale_decoder` |
//! | f_h | dropout logits | `decoder.dropout.weight`, `.bias` | gene × hidden | `decoder.px_dropout_decoder` |
//! | θ | dispersion by cell | `decoder.dispersion.weight`, `.bias` | gene × hidden | `decoder.px_r_decoder` |
//! | θ | log inverse dispersion | `dispersion` | 1, condition or label × gene | `px_r` |
//! | W | loadings | `decoder.scale.weight`, `.bias` | gene × latent | `decoder.factor_regressor` |
//! | L | condition beside the loadings | `decoder.scale.condition` | condition × gene | the same, last columns |
//!
//! With the linear decoder the dropout logits are linear in z and s as well.

use std::ops::Range;

use scgraft_cells::{Kind, Prepared};
use scgraft_engine::{
    Axis, BatchNorm, Codes, Dispersion, Init, InputScale, Key, Layout, Link, ParamId, Params, Shape, Tape, Var,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::layers::{Head, Inject, NormPlan, Stack, StackPlan};
use crate::{
    Batch, Decoded, Distribution, Epochs, Header, Input, Loss, ModelEntry, ModelError, Network, Norm, Posterior, Step,
    Term, Training,
};

const MAPPING: Training = Training { epochs: Epochs::Fixed(200), weight_decay: 0.0, ..Training::SCVI };

pub(crate) const ENTRY: ModelEntry = ModelEntry {
    name: "scvi",
    summary: "conditional VAE of counts (scVI)",
    needs: &[],
    takes: &[Input::Labels, Input::Covariates],
    gives: "normalised expression, differential expression, likelihoods",
    when: "the question is where cells lie once batches are taken out, with no labels and no gene programs",
    values,
    training: Training::SCVI,
    mapping: MAPPING,
    mapping_settings: &[],
    published_settings: Value::default,
    build: |config, header, key| network("scvi", config, header, key),
};

pub(crate) const LINEAR: ModelEntry = ModelEntry {
    name: "scvi-linear",
    summary: "scVI whose decoder is linear in the latent dimensions (LDVAE)",
    gives: "loadings of the latent dimensions on genes, normalised expression, differential expression",
    when: "dimensions are to be read as weights on genes, without gene sets",
    build: |config, header, key| network("scvi-linear", &with(config, "decoder", "linear"), header, key),
    ..ENTRY
};

pub(crate) const PER_CELL: ModelEntry = ModelEntry {
    name: "scvi-per-cell",
    summary: "scVI with a vector per cell instead of an encoder (non-amortised)",
    gives: "normalised expression, differential expression; no encoder to blame for where a cell lies",
    when: "an encoder is to be ruled out; the model grows with the data, and each new cell has to be fitted",
    training: Training { learning_rate: 1e-2, adam_epsilon: 1e-8, ..Training::SCVI },
    mapping: Training { learning_rate: 1e-2, adam_epsilon: 1e-8, ..MAPPING },
    build: |config, header, key| network("scvi-per-cell", &with(config, "encoder", "per-cell"), header, key),
    ..ENTRY
};

/// Settings of scVI; the defaults are those published for reference mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScviConfig {
    /// Sizes of the encoder's hidden layers; the decoder has them in reverse order (upstream `n_hidden`, `n_layers`).
    pub hidden: Vec<usize>,
    /// Number of latent dimensions (upstream `n_latent`).
    pub latent: usize,
    /// Dropout rate of the encoders; 0 in surgery (upstream `dropout_rate`).
    pub dropout: f64,
    /// Distribution of the values (upstream `gene_likelihood`).
    pub likelihood: CountLikelihood,
    /// What the dispersion depends on besides the gene.
    pub dispersion: DispersionBy,
    /// Whether conditions and covariates enter the encoders. Without, surgery cannot move a query.
    pub encode_covariates: bool,
    /// Whether they enter every layer and not the first alone (upstream `deeply_inject_covariates`).
    pub deep_covariates: bool,
    /// Normalisation of the encoders' layers.
    pub encoder_norm: Norm,
    /// Normalisation of the decoder's layers.
    pub decoder_norm: Norm,
    /// Where the library size comes from (upstream `use_observed_lib_size`).
    pub library: LibrarySize,
    /// Distribution of the latent variables (upstream `latent_distribution`).
    pub latent_distribution: LatentDistribution,
    /// Where posteriors come from.
    pub encoder: EncoderKind,
    /// What maps latent dimensions to genes.
    pub decoder: DecoderKind,
    /// Whether a linear decoder has a bias for each gene.
    pub linear_bias: bool,
    /// Whether the encoder reads log(1 + x), also of log-normalised values (upstream `log_variational`).
    pub log_input: bool,
    /// Weight of the KL term.
    pub kl_weight: f64,
    /// In surgery, frozen batch norms use the query batch's statistics, as the published code does. By default they use
    /// the reference's, so that what is frozen stays the same function.
    pub frozen_norm_by_batch: bool,
}

impl Default for ScviConfig {
    fn default() -> Self {
        ScviConfig {
            hidden: vec![128, 128],
            latent: 10,
            dropout: 0.1,
            likelihood: CountLikelihood::Zinb,
            dispersion: DispersionBy::Gene,
            encode_covariates: true,
            deep_covariates: false,
            encoder_norm: Norm::Layer,
            decoder_norm: Norm::Layer,
            library: LibrarySize::Observed,
            latent_distribution: LatentDistribution::Normal,
            encoder: EncoderKind::Network,
            decoder: DecoderKind::Network,
            linear_bias: false,
            log_input: true,
            kl_weight: 1.0,
            frozen_norm_by_batch: false,
        }
    }
}

/// Distribution of a value around its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountLikelihood {
    /// Zero-inflated negative binomial.
    Zinb,
    /// Negative binomial.
    Nb,
    /// Poisson.
    Poisson,
    /// Normal, for log-normalised values.
    Normal,
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

/// Where the library size comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LibrarySize {
    /// The sum of the counts.
    Observed,
    /// A latent variable with an encoder of its own.
    Learned,
}

/// Distribution of the latent variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatentDistribution {
    /// Normal.
    Normal,
    /// The softmax of a normal; the latent space shown is the normal one.
    #[serde(alias = "ln")]
    LogisticNormal,
}

/// Where posteriors come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderKind {
    /// An encoder of the expression.
    Network,
    /// A mean and a variance that each cell has of its own.
    PerCell,
}

/// What maps latent dimensions to genes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecoderKind {
    /// Hidden layers.
    Network,
    /// One linear layer.
    Linear,
}

/// ε of the posterior variance.
pub(crate) const VARIANCE_FLOOR: f32 = 1e-4;
/// The largest ln ℓ that is decoded, against overflow.
const MOST_LOG_LIBRARY: f32 = 30.0;
/// Batch norm, as scvi-tools has it.
const NORM_EPSILON: f32 = 1e-3;
const NORM_MOMENTUM: f32 = 0.01;

fn values(config: &Value) -> Kind {
    if config["likelihood"] == "normal" { Kind::LogNormalised } else { Kind::Counts }
}

/// Settings with another default for one of them.
fn with(config: &Value, name: &str, default: &str) -> Value {
    let mut out = config.as_object().cloned().unwrap_or_default();
    out.entry(name).or_insert_with(|| default.into());
    Value::Object(out)
}

fn network(
    model: &'static str,
    config: &Value,
    header: &Header,
    key: Key,
) -> Result<(Params, Box<dyn Network>), ModelError> {
    let config = ScviConfig::parse(model, config)?;
    if config.dispersion != DispersionBy::GeneLabel && !header.labels.is_empty() {
        return Err(config.invalid(model, "dispersion", "gene-label, the only setting that reads labels", "labels"));
    }
    let mut params = Params::new();
    let scvi = Scvi::new(&mut params, model, config, header, key)?;
    Ok((params, Box::new(scvi)))
}

impl ScviConfig {
    pub(crate) fn parse(model: &'static str, config: &Value) -> Result<ScviConfig, ModelError> {
        serde_json::from_value(config.clone()).map_err(|e| ModelError::Config {
            model,
            what: "settings".into(),
            expected: "known names with fitting values".into(),
            found: e.to_string(),
        })
    }

    fn invalid(&self, model: &'static str, what: &str, expected: &str, found: impl Into<String>) -> ModelError {
        ModelError::Config { model, what: what.into(), expected: expected.into(), found: found.into() }
    }

    fn check(&self, model: &'static str, header: &Header) -> Result<(), ModelError> {
        let wrong = |what: &str, expected: &str, found: String| Err(self.invalid(model, what, expected, found));
        let linear = self.decoder == DecoderKind::Linear;
        if self.hidden.is_empty() || self.hidden.contains(&0) {
            return wrong("hidden", "at least one layer, each of at least one unit", format!("{:?}", self.hidden));
        }
        if self.latent == 0 {
            return wrong("latent", "at least one dimension", "0".into());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return wrong("dropout", "at least 0 and below 1", self.dropout.to_string());
        }
        if self.dispersion == DispersionBy::GeneLabel && header.labels.is_empty() {
            let what = "cell labels for dispersion `gene-label`".into();
            return Err(ModelError::Needs { model, what, remedy: "name a column of obs with cell labels".into() });
        }
        if linear && self.dispersion == DispersionBy::GeneCell {
            return wrong("dispersion", "gene, gene-condition or gene-label with a linear decoder", "gene-cell".into());
        }
        if linear && !(header.covariates.is_empty() && header.continuous.is_empty()) {
            return wrong("decoder", "network, with further covariates", "linear".into());
        }
        if self.encoder == EncoderKind::PerCell && self.library == LibrarySize::Learned {
            return wrong("library", "observed for a model with a vector per cell", "learned".into());
        }
        Ok(())
    }
}

/// Where posteriors come from.
#[derive(Debug)]
enum Encoder {
    Network { stack: Stack, mean: Head, log_variance: Head },
    PerCell { mean: ParamId, log_variance: ParamId },
}

/// The encoder of the library size, and its prior.
#[derive(Debug)]
struct LibraryEncoder {
    stack: Stack,
    mean: Head,
    log_variance: Head,
    prior_mean: ParamId,
    prior_variance: ParamId,
}

/// From latent dimensions to the linear predictors of genes.
#[derive(Debug)]
enum Decoder {
    Network { stack: Stack, scale: Head, dropout: Option<Head>, dispersion: Option<Head> },
    Linear { scale: Linear, dropout: Option<Linear> },
}

/// W z + b + L[s], normalised.
#[derive(Debug)]
struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
    condition: ParamId,
    norm: Option<BatchNorm>,
}

/// The network of scVI, and the part of scANVI that it shares.
#[derive(Debug)]
pub(crate) struct Scvi {
    pub(crate) config: ScviConfig,
    encoder: Encoder,
    library: Option<LibraryEncoder>,
    decoder: Decoder,
    dispersion: Option<ParamId>,
}

impl Scvi {
    pub(crate) fn new(
        p: &mut Params,
        model: &'static str,
        config: ScviConfig,
        header: &Header,
        key: Key,
    ) -> Result<Scvi, ModelError> {
        config.check(model, header)?;
        let c = &config;
        let (genes, latent) = ((Axis::Gene, header.genes.len()), (Axis::Latent, c.latent));
        let condition = (Axis::Condition, header.conditions.len());
        let encoder_plan = |prefix, hidden| StackPlan {
            prefix,
            input: genes,
            hidden,
            norm: c.norm(c.encoder_norm),
            dropout: c.dropout as f32,
            inject: if c.encode_covariates { c.inject() } else { Inject::Nowhere },
            labels: false,
        };
        let last = c.hidden[c.hidden.len() - 1];
        let encoder = match c.encoder {
            EncoderKind::Network => Encoder::Network {
                stack: Stack::new(p, &encoder_plan("encoder", &c.hidden), header, key),
                mean: Head::new(p, "encoder.mean", latent, last, key),
                log_variance: Head::new(p, "encoder.log_variance", latent, last, key),
            },
            EncoderKind::PerCell => {
                let axes = [(Axis::Cell, header.cells.len()), latent];
                Encoder::PerCell {
                    mean: p.add("cells.mean", &axes, Init::Normal(0.1), key),
                    log_variance: p.add("cells.log_variance", &axes, Init::Constant(0.0), key),
                }
            }
        };
        let library = (c.library == LibrarySize::Learned).then(|| LibraryEncoder {
            stack: Stack::new(p, &encoder_plan("library", &c.hidden[..1]), header, key),
            mean: Head::new(p, "library.mean", (Axis::One, 1), c.hidden[0], key),
            log_variance: Head::new(p, "library.log_variance", (Axis::One, 1), c.hidden[0], key),
            prior_mean: p.add_statistic("library.prior_mean", &[condition], 0.0),
            prior_variance: p.add_statistic("library.prior_variance", &[condition], 1.0),
        });
        let zero_inflated = c.likelihood == CountLikelihood::Zinb;
        let by_cell = c.dispersion == DispersionBy::GeneCell && c.likelihood != CountLikelihood::Poisson;
        let decoder = match c.decoder {
            DecoderKind::Network => {
                let hidden: Vec<usize> = c.hidden.iter().rev().copied().collect();
                let plan = StackPlan {
                    prefix: "decoder",
                    input: latent,
                    hidden: &hidden,
                    norm: c.norm(c.decoder_norm),
                    dropout: 0.0,
                    inject: c.inject(),
                    labels: false,
                };
                let mut head = |name| Head::new(p, name, genes, c.hidden[0], key);
                let scale = head("decoder.scale");
                let dropout = zero_inflated.then(|| head("decoder.dropout"));
                let dispersion = by_cell.then(|| head("decoder.dispersion"));
                Decoder::Network { stack: Stack::new(p, &plan, header, key), scale, dropout, dispersion }
            }
            DecoderKind::Linear => Decoder::Linear {
                scale: Linear::new(p, "decoder.scale", genes, latent, condition, c, key),
                dropout: zero_inflated.then(|| Linear::new(p, "decoder.dropout", genes, latent, condition, c, key)),
            },
        };
        let rows = match c.dispersion {
            DispersionBy::Gene => Some((Axis::One, 1)),
            DispersionBy::GeneCondition => Some(condition),
            DispersionBy::GeneLabel => Some((Axis::Label, header.labels.len())),
            DispersionBy::GeneCell => None,
        };
        let rows = rows.filter(|_| c.likelihood != CountLikelihood::Poisson);
        let dispersion = rows.map(|rows| p.add("dispersion", &[rows, genes], Init::Normal(1.0), key));
        Ok(Scvi { config, encoder, library, decoder, dispersion })
    }

    /// The cells' groups that the dispersion tensor has rows for.
    fn groups<'a>(&self, batch: &'a Batch) -> &'a Codes {
        match self.config.dispersion {
            DispersionBy::GeneCondition => &batch.condition,
            DispersionBy::GeneLabel => &batch.label,
            DispersionBy::Gene | DispersionBy::GeneCell => &batch.one,
        }
    }

    /// A sample of the latent variables, and of the library size where it is learned.
    pub(crate) fn sample(&self, t: &mut Tape<'_>, q: &Posterior) -> (Var, Option<Var>) {
        let z = t.gaussian_sample(q.mean, q.log_variance, VARIANCE_FLOOR); // 2
        let library = q.library.map(|(mean, log_variance)| t.gaussian_sample(mean, log_variance, VARIANCE_FLOOR)); // 3
        (z, library)
    }

    /// KL(q(ln ℓ) ‖ N(a_s, v_s)) of each cell, where the library size is learned.
    pub(crate) fn library_kl(&self, t: &mut Tape<'_>, batch: &Batch, q: &Posterior) -> Option<Var> {
        let (mean, log_variance) = q.library?;
        let (a, v) = self.library_prior(t.params(), batch)?;
        Some(t.kl_normal(mean, log_variance, VARIANCE_FLOOR, a, v)) // 8
    }
}

/// Mean and variance of ln ℓ over cells; an empty cell counts as 0.
pub(crate) fn library_prior(sizes: impl Iterator<Item = f32>) -> (f32, f32) {
    let logs: Vec<f64> = sizes.map(|l| if l > 0.0 { f64::from(l).ln() } else { 0.0 }).collect();
    let n = logs.len().max(1) as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n;
    // One cell, or cells all alike, say nothing of the spread.
    (mean as f32, if variance > 0.0 { variance as f32 } else { 1.0 })
}

impl ScviConfig {
    fn inject(&self) -> Inject {
        if self.deep_covariates { Inject::Every } else { Inject::First }
    }

    pub(crate) fn norm(&self, kind: Norm) -> NormPlan {
        NormPlan { kind, epsilon: NORM_EPSILON, momentum: NORM_MOMENTUM, batch_when_frozen: self.frozen_norm_by_batch }
    }
}

impl Linear {
    fn new(
        p: &mut Params,
        name: &str,
        genes: (Axis, usize),
        latent: (Axis, usize),
        condition: (Axis, usize),
        config: &ScviConfig,
        key: Key,
    ) -> Linear {
        let init = Init::FanIn(latent.1 + condition.1);
        let named = |what: &str| format!("{name}.{what}");
        Linear {
            weight: p.add(&named("weight"), &[genes, latent], init, key),
            bias: config.linear_bias.then(|| p.add(&named("bias"), &[genes], init, key)),
            condition: p.add(&named("condition"), &[condition, genes], init, key),
            norm: config.norm(config.decoder_norm).add(p, &named("norm"), genes, key),
        }
    }

    fn apply<'a>(&self, t: &mut Tape<'a>, batch: &'a Batch, z: Var) -> Var {
        let h = t.linear_to_lanes(z, self.weight, self.bias, Some((self.condition, &batch.condition)));
        let Some(norm) = &self.norm else { return h };
        let h = t.to_layout(h, Layout::ByCell);
        let h = t.batch_norm(h, norm);
        t.to_layout(h, Layout::Lanes)
    }

    fn tensors(&self) -> impl Iterator<Item = ParamId> {
        let norm = self.norm.iter().flat_map(|n| [n.weight, n.bias]);
        [self.weight, self.condition].into_iter().chain(self.bias).chain(norm)
    }
}

impl Network for Scvi {
    fn config(&self) -> Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }

    fn input_scale(&self) -> InputScale {
        if self.config.log_input { InputScale::Log1p } else { InputScale::Identity }
    }

    fn input_weights(&self) -> Vec<ParamId> {
        let encoder = match &self.encoder {
            Encoder::Network { stack, .. } => Some(stack.input_weight()),
            Encoder::PerCell { .. } => None,
        };
        encoder.into_iter().chain(self.library.as_ref().map(|l| l.stack.input_weight())).collect()
    }

    fn variance_floor(&self) -> f32 {
        VARIANCE_FLOOR
    }

    fn kl_weight(&self) -> f32 {
        self.config.kl_weight as f32
    }

    fn inference<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch) -> Posterior {
        let (mean, log_variance) = match &self.encoder {
            Encoder::Network { stack, mean, log_variance } => {
                let h = stack.of_expression(t, batch); // 1
                (mean.apply(t, h, Layout::ByFeature), log_variance.apply(t, h, Layout::ByFeature)) // 1
            }
            Encoder::PerCell { mean, log_variance } => {
                let shape = Shape::by_cell(batch.n_cells(), self.config.latent);
                let mut own = |rows| {
                    let zero = t.constant(shape, &vec![0.0; shape.len()]);
                    let row = t.add_rows(zero, rows, &batch.cell); // 1
                    t.to_layout(row, Layout::ByFeature)
                };
                (own(*mean), own(*log_variance))
            }
        };
        let library = self.library.as_ref().map(|l| {
            let h = l.stack.of_expression(t, batch); // 3
            (l.mean.apply(t, h, Layout::ByFeature), l.log_variance.apply(t, h, Layout::ByFeature)) // 3
        });
        Posterior { mean, log_variance, library }
    }

    fn generative<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, z: Var, log_library: Option<Var>) -> Decoded<'a> {
        let z = match self.config.latent_distribution {
            LatentDistribution::Normal => z,
            LatentDistribution::LogisticNormal => {
                let z = t.to_layout(z, Layout::ByCell);
                t.softmax(z) // 2
            }
        };
        let (scale, dropout, by_cell) = match &self.decoder {
            Decoder::Network { stack, scale, dropout, dispersion } => {
                let h = stack.of(t, batch, z); // 4
                let mut genes = |head: &Head| head.genes(t, h);
                (genes(scale), dropout.as_ref().map(&mut genes), dispersion.as_ref().map(genes)) // 4, 6
            }
            Decoder::Linear { scale, dropout } => {
                (scale.apply(t, batch, z), dropout.as_ref().map(|d| d.apply(t, batch, z)), None) // 4, 6
            }
        };
        let rate = match log_library {
            None => t.mean_of(scale, Link::Softmax, &batch.library), // 5
            Some(log_library) => {
                let rho = t.mean_of(scale, Link::Softmax, &batch.unit); // 4
                t.times_library(rho, log_library, MOST_LOG_LIBRARY) // 5
            }
        };
        let by_group = self.dispersion.map(|tensor| Dispersion::Grouped(tensor, self.groups(batch)));
        let dispersion = by_cell.map(Dispersion::PerCell).or(by_group);
        let distribution = match (self.config.likelihood, dispersion, dropout) {
            (CountLikelihood::Zinb, Some(dispersion), Some(dropout)) => {
                Distribution::ZeroInflated { dispersion, dropout } // 7
            }
            (CountLikelihood::Normal, Some(dispersion), _) => Distribution::Normal(dispersion), // 7
            (_, Some(dispersion), _) => Distribution::NegativeBinomial(dispersion),             // 7
            (_, None, _) => Distribution::Poisson,                                              // 7
        };
        Decoded { rate, distribution, normalised: true }
    }

    fn loss<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, step: &Step) -> Loss {
        let q = self.inference(t, batch);
        let (z, log_library) = self.sample(t, &q);
        let reconstruction = self.generative(t, batch, z, log_library).reconstruction(t, batch); // 8
        let kl = t.kl_standard_normal(q.mean, q.log_variance, VARIANCE_FLOOR); // 8
        let mut terms =
            vec![Term::of_cells(t, "reconstruction", reconstruction, 1.0), Term::of_cells(t, "kl", kl, step.kl_weight)];
        if let Some(kl) = self.library_kl(t, batch, &q) {
            terms.push(Term::of_cells(t, "kl_library", kl, 1.0));
        }
        terms
    }

    fn library_prior(&self, params: &Params, batch: &Batch) -> Option<(Vec<f32>, Vec<f32>)> {
        let library = self.library.as_ref()?;
        let of_cells = |id: ParamId| {
            let by_condition = params.values(id);
            batch.condition.codes.iter().map(|&s| by_condition[s as usize]).collect()
        };
        Some((of_cells(library.prior_mean), of_cells(library.prior_variance)))
    }

    fn accepts(&self, data: &Prepared) -> Result<(), ModelError> {
        if self.config.dispersion != DispersionBy::GeneLabel {
            return Ok(());
        }
        let without = data.labels.as_ref().map_or(data.n_cells(), |l| l.codes.iter().filter(|c| c.is_none()).count());
        if without == 0 {
            return Ok(());
        }
        Err(ModelError::Data {
            what: "cells without label:",
            found: without.to_string(),
            expected: "needs a label of every cell for dispersion `gene-label`".into(),
            remedy: "label them, leave them out, or take another dispersion",
        })
    }

    fn read_data(&self, params: &mut Params, data: &Prepared, conditions: Range<usize>) -> Result<(), ModelError> {
        let Some(library) = &self.library else { return Ok(()) };
        for s in conditions {
            let own = data.library.iter().zip(&data.condition.codes).filter(|(_, c)| **c as usize == s);
            let (mean, variance) = library_prior(own.map(|(&l, _)| l));
            params.get_mut(library.prior_mean).values[s] = mean;
            params.get_mut(library.prior_variance).values[s] = variance;
        }
        Ok(())
    }

    fn first_layers(&self) -> Vec<ParamId> {
        let mut out = match &self.encoder {
            Encoder::Network { stack, .. } => stack.first_layer(),
            Encoder::PerCell { .. } => Vec::new(),
        };
        out.extend(self.library.iter().flat_map(|l| l.stack.first_layer()));
        match &self.decoder {
            Decoder::Network { stack, .. } => out.extend(stack.first_layer()),
            Decoder::Linear { scale, dropout } => {
                out.extend(scale.tensors());
                out.extend(dropout.iter().flat_map(Linear::tensors));
            }
        }
        out.extend(self.dispersion);
        out
    }

    fn adaptor_obstacle(&self) -> Option<&'static str> {
        if self.config.encode_covariates || self.config.encoder == EncoderKind::PerCell {
            return None;
        }
        Some(
            "the encoder does not read the condition (encode_covariates is off), so weights of new conditions cannot \
             move the query in the latent space; train the reference with encode_covariates, or map with first-layers \
             or all",
        )
    }

    fn without_dropout(&mut self) {
        self.config.dropout = 0.0;
        if let Encoder::Network { stack, .. } = &mut self.encoder {
            stack.dropout = 0.0;
        }
        if let Some(library) = &mut self.library {
            library.stack.dropout = 0.0;
        }
    }

    fn program_weights(&self, params: &Params, header: &Header) -> Option<Vec<f32>> {
        let Decoder::Linear { scale, .. } = &self.decoder else { return None };
        let (genes, latent) = (header.genes.len(), self.config.latent);
        let w = params.values(scale.weight);
        // What batch norm multiplies a gene by, outside training.
        let factor = |g: usize| {
            scale
                .norm
                .as_ref()
                .map_or(1.0, |n| params.values(n.weight)[g] / (params.values(n.variance)[g] + n.epsilon).sqrt())
        };
        Some((0..latent * genes).map(|i| w[(i % genes) * latent + i / genes] * factor(i % genes)).collect())
    }
}
