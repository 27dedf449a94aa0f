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
use scgraft_engine::{Axis, BatchNorm, Dispersion, Init, InputScale, Layout, Ops, ParamId, Params, Role, Shape, Var};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::counts::{self, Library, LogDispersion};
use crate::layers::{Affine, ByCondition, Gaussian, Inject, Norm, NormPlan, Stack, StackPlan};
use crate::settings::{check_dropout, check_hidden, check_latent, no_settings, parse, published_norm, small};
use crate::{
    Anneal, Batch, Decoded, DispersionBy, Distribution, Epochs, Facts, Header, InferredLibrary, Input, LibrarySize,
    Loss, ModelEntry, ModelError, Network, Posterior, Programs, Statistics, Step, Term, Training, VARIANCE_FLOOR,
};

/// As scvi-tools' surgery.
const PUBLISHED: (Training, Training) =
    (Training::SCVI, Training { epochs: Epochs::Fixed(200), weight_decay: 0.0, ..Training::SCVI });

pub(crate) const ENTRY: ModelEntry = ModelEntry {
    name: "scvi",
    summary: "conditional VAE of counts (scVI)",
    needs: &[],
    takes: &[Input::Labels, Input::Covariates],
    gives: "normalised expression, differential expression, likelihoods",
    when: "the question is where cells lie once batches are taken out, with no labels and no gene programs",
    cite: &[crate::citations::SCVI, crate::citations::SCARCHES],
    values,
    // Half of the run under the whole KL weight mixes studies better; nothing is pruned that would have to come to explain first.
    training: Training { anneal: Anneal::Share { share: 0.5, most: 400 }, ..Training::REFERENCE },
    mapping: Training::SURGERY,
    mapping_settings: no_settings,
    published_training: PUBLISHED,
    published_settings: published_norm,
    small,
    build: |config, header| network("scvi", config, header),
};

pub(crate) const LINEAR: ModelEntry = ModelEntry {
    name: "scvi-linear",
    summary: "scVI whose decoder is linear in the latent dimensions (LDVAE)",
    gives: "loadings of the latent dimensions on genes, normalised expression, differential expression",
    when: "dimensions are to be read as weights on genes, without gene sets",
    cite: &[crate::citations::LINEAR, crate::citations::SCVI, crate::citations::SCARCHES],
    build: |config, header| network("scvi-linear", &with(config, "decoder", "linear"), header),
    ..ENTRY
};

pub(crate) const PER_CELL: ModelEntry = ModelEntry {
    name: "scvi-per-cell",
    summary: "scVI with a vector per cell instead of an encoder (non-amortised)",
    gives: "normalised expression, differential expression; no encoder to blame for where a cell lies",
    when: "an encoder is to be ruled out; the model grows with the data, and each new cell has to be fitted",
    cite: &[crate::citations::SCVI, crate::citations::SCARCHES],
    training: Training { learning_rate: 1e-2, adam_epsilon: 1e-8, ..Training::SCVI },
    mapping: Training { learning_rate: 1e-2, adam_epsilon: 1e-8, ..PUBLISHED.1 },
    build: |config, header| network("scvi-per-cell", &with(config, "encoder", "per-cell"), header),
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

/// The largest ln ℓ that is decoded, against overflow.
const MOST_LOG_LIBRARY: f32 = 30.0;

fn values(config: &Value) -> Kind {
    if config["likelihood"] == "normal" { Kind::LogNormalised } else { Kind::Counts }
}

/// Settings with another default for one of them.
fn with(config: &Value, name: &str, default: &str) -> Value {
    let mut out = config.as_object().cloned().unwrap_or_default();
    out.entry(name).or_insert_with(|| default.into());
    Value::Object(out)
}

fn network(model: &'static str, config: &Value, header: &Header) -> Result<(Params, Box<dyn Network>), ModelError> {
    let config: ScviConfig = parse(model, config)?;
    if config.dispersion != DispersionBy::GeneLabel && !header.labels.is_empty() {
        return Err(ModelError::setting(
            model,
            "dispersion",
            "gene-label, the only setting that reads labels",
            "labels",
        ));
    }
    let mut params = Params::new();
    let scvi = Scvi::new(&mut params, model, config, header)?;
    Ok((params, Box::new(scvi)))
}

impl ScviConfig {
    fn check(&self, model: &'static str, header: &Header) -> Result<(), ModelError> {
        let wrong = |what, expected, found| Err(ModelError::setting(model, what, expected, found));
        let linear = self.decoder == DecoderKind::Linear;
        check_hidden(model, "hidden", &self.hidden)?;
        check_latent(model, self.latent)?;
        check_dropout(model, self.dropout)?;
        if self.dispersion == DispersionBy::GeneLabel && header.labels.is_empty() {
            let what = "cell labels for dispersion `gene-label`".into();
            return Err(ModelError::Needs {
                model,
                what,
                remedy: "name a column of obs in which cells have labels".into(),
            });
        }
        if linear && self.dispersion == DispersionBy::GeneCell {
            return wrong("dispersion", "gene, gene-condition or gene-label with a linear decoder", "gene-cell");
        }
        if linear && !(header.covariates.is_empty() && header.continuous.is_empty()) {
            return wrong("decoder", "network, with further covariates", "linear");
        }
        if self.encoder == EncoderKind::PerCell && self.library == LibrarySize::Learned {
            return wrong("library", "observed for a model with a vector per cell", "learned");
        }
        Ok(())
    }

    fn inject(&self) -> Inject {
        if self.deep_covariates { Inject::Every } else { Inject::First }
    }

    pub(crate) fn norm(&self, kind: Norm) -> NormPlan {
        NormPlan::scvi(kind, self.frozen_norm_by_batch)
    }
}

/// Equations 1 and 2: where a posterior comes from.
#[derive(Debug)]
enum Source {
    Network(Gaussian),
    PerCell { mean: ParamId, log_variance: ParamId },
}

/// Equations 4 and 6: from latent dimensions to the linear predictors of genes.
#[derive(Debug)]
enum Decoder {
    Network { stack: Stack, scale: Affine, dropout: Option<Affine>, dispersion: Option<Affine> },
    Linear { scale: Loadings, dropout: Option<Loadings> },
}

/// norm(W z + b + L[s])
#[derive(Debug)]
struct Loadings {
    layer: ByCondition,
    norm: Option<BatchNorm>,
}

/// The network of scVI, and the part of scANVI that it shares.
#[derive(Debug)]
pub(crate) struct Scvi {
    pub(crate) config: ScviConfig,
    encoder: Source,
    library: Option<Library>,
    decoder: Decoder,
    dispersion: Option<LogDispersion>,
}

impl Scvi {
    pub(crate) fn new(
        p: &mut Params,
        model: &'static str,
        config: ScviConfig,
        header: &Header,
    ) -> Result<Scvi, ModelError> {
        config.check(model, header)?;
        let c = &config;
        let (genes, latent) = ((Axis::Gene, header.genes.len()), (Axis::Latent, c.latent));
        let plan = |prefix, hidden| StackPlan {
            prefix,
            input: genes,
            hidden,
            norm: c.norm(c.encoder_norm),
            dropout: c.dropout as f32,
            inject: if c.encode_covariates { c.inject() } else { Inject::Nowhere },
            labels: false,
            proteins: 0,
            first: Role::FirstLayer,
        };
        let encoder = match c.encoder {
            EncoderKind::Network => Source::Network(Gaussian::new(p, &plan("encoder", &c.hidden), latent, header)),
            EncoderKind::PerCell => {
                let axes = [(Axis::Cell, header.cells.len()), latent];
                Source::PerCell {
                    mean: p.declare("cells.mean", &axes, Init::Normal(0.1)),
                    log_variance: p.declare("cells.log_variance", &axes, Init::Constant(0.0)),
                }
            }
        };
        let learned = c.library == LibrarySize::Learned;
        let library = learned.then(|| Library::new(p, &plan("library", &c.hidden[..1]), header));
        let zero_inflated = c.likelihood == CountLikelihood::Zinb;
        let by_cell = c.dispersion == DispersionBy::GeneCell && c.likelihood != CountLikelihood::Poisson;
        let decoder = match c.decoder {
            DecoderKind::Network => {
                let hidden: Vec<usize> = c.hidden.iter().rev().copied().collect();
                let (norm, inject) = (c.norm(c.decoder_norm), c.inject());
                let plan = StackPlan { input: latent, norm, dropout: 0.0, inject, ..plan("decoder", &hidden) };
                let mut head = |name| Affine::new(p, name, genes, c.hidden[0]);
                let scale = head("decoder.scale");
                let dropout = zero_inflated.then(|| head("decoder.dropout"));
                let dispersion = by_cell.then(|| head("decoder.dispersion"));
                Decoder::Network { stack: Stack::new(p, &plan, header), scale, dropout, dispersion }
            }
            DecoderKind::Linear => {
                let conditions = header.conditions.len();
                let mut linear = |name: &str| Loadings {
                    layer: ByCondition::new(p, name, (genes, latent), c.linear_bias, conditions),
                    norm: c.norm(c.decoder_norm).add(p, &format!("{name}.norm"), genes),
                };
                let scale = linear("decoder.scale");
                let dropout = zero_inflated.then(|| linear("decoder.dropout"));
                p.set_role(Role::FirstLayer, scale.tensors().chain(dropout.iter().flat_map(Loadings::tensors)));
                Decoder::Linear { scale, dropout }
            }
        };
        let by_group = c.dispersion != DispersionBy::GeneCell && c.likelihood != CountLikelihood::Poisson;
        let theta = (genes, Init::Normal(1.0));
        let dispersion = by_group.then(|| LogDispersion::new(p, "dispersion", c.dispersion, theta, header));
        p.set_role(Role::FirstLayer, dispersion.iter().map(|theta| theta.tensor));
        Ok(Scvi { config, encoder, library, decoder, dispersion })
    }

    /// KL(q(ln ℓ) ‖ N(a_s, v_s)) of each cell, where the library size is learned.
    pub(crate) fn library_kl(&self, t: &mut dyn Ops<'_>, batch: &Batch, q: &Posterior) -> Option<Var> {
        self.library.as_ref().zip(q.library).map(|(library, q)| library.kl(t, batch, q)) // 8
    }
}

impl Loadings {
    fn apply<'a>(&self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var) -> Var {
        let h = self.layer.genes(t, batch, z);
        let Some(norm) = &self.norm else { return h };
        let h = t.to_layout(h, Layout::ByCell);
        let h = t.batch_norm(h, norm);
        t.to_layout(h, Layout::Lanes)
    }

    fn tensors(&self) -> impl Iterator<Item = ParamId> + use<> {
        let norm = self.norm.map(|n| [n.weight, n.bias]);
        let norm = norm.into_iter().flatten();
        [self.layer.weight, self.layer.condition].into_iter().chain(self.layer.bias).chain(norm)
    }
}

impl Network for Scvi {
    fn config(&self) -> Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }

    fn facts(&self) -> Facts {
        let moves = self.config.encode_covariates || self.config.encoder == EncoderKind::PerCell;
        Facts {
            input_scale: if self.config.log_input { InputScale::Log1p } else { InputScale::Identity },
            kl_weight: self.config.kl_weight as f32,
            adaptor_obstacle: (!moves).then_some(
                "the encoder does not read the condition (encode_covariates is off), so weights of new conditions \
                 cannot move the query in the latent space; train the reference with encode_covariates, or map with \
                 first-layers or all",
            ),
            ..Facts::default()
        }
    }

    fn inference<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch) -> Posterior {
        let (mean, log_variance) = match &self.encoder {
            Source::Network(network) => network.of_expression(t, batch, None), // 1
            Source::PerCell { mean, log_variance } => {
                let shape = Shape::by_cell(batch.n_cells(), self.config.latent);
                let mut own = |rows| {
                    let zero = t.constant(shape, &vec![0.0; shape.len()]);
                    let row = t.add_rows(zero, rows, &batch.cell); // 1
                    t.to_layout(row, Layout::ByFeature)
                };
                (own(*mean), own(*log_variance))
            }
        };
        let library = self.library.as_ref().map(|l| l.encoder.of_expression(t, batch, None)); // 3
        Posterior { mean, log_variance, library }
    }

    fn generative<'a>(
        &'a self,
        t: &mut dyn Ops<'a>,
        batch: &'a Batch,
        z: Var,
        log_library: Option<Var>,
    ) -> Decoded<'a> {
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
                let mut genes = |head: &Affine| head.genes(t, h);
                (genes(scale), dropout.as_ref().map(&mut genes), dispersion.as_ref().map(genes)) // 4, 6
            }
            Decoder::Linear { scale, dropout } => {
                (scale.apply(t, batch, z), dropout.as_ref().map(|d| d.apply(t, batch, z)), None) // 4, 6
            }
        };
        let rate = counts::rate(t, batch, scale, log_library, MOST_LOG_LIBRARY); // 4, 5
        let by_group = self.dispersion.map(|theta| theta.of(batch));
        let distribution = match (self.config.likelihood, by_cell.map(Dispersion::PerCell).or(by_group)) {
            (CountLikelihood::Normal, Some(dispersion)) => Distribution::Normal(dispersion), // 7
            (_, dispersion) => Distribution::of_counts(dispersion, dropout),                 // 7
        };
        Decoded { rate, distribution, normalised: true }
    }

    fn loss<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, step: &Step) -> Loss {
        let kl_weight = self.config.kl_weight as f32 * step.annealed;
        let q = self.inference(t, batch);
        let (z, log_library) = q.sample(t); // 2, 3
        let reconstruction = self.generative(t, batch, z, log_library).reconstruction(t, batch); // 8
        let kl = t.kl_standard_normal(q.mean, q.log_variance, VARIANCE_FLOOR); // 8
        let mut terms =
            vec![Term::of_cells(t, "reconstruction", reconstruction, 1.0), Term::of_cells(t, "kl", kl, kl_weight)];
        if let Some(kl) = self.library_kl(t, batch, &q) {
            terms.push(Term::of_cells(t, "kl_library", kl, 1.0));
        }
        terms
    }

    fn programs(&self) -> Option<&dyn Programs> {
        match &self.decoder {
            Decoder::Linear { scale, .. } => Some(scale),
            Decoder::Network { .. } => None,
        }
    }

    fn library(&self) -> Option<&dyn InferredLibrary> {
        self.library.as_ref().map(|l| l as &dyn InferredLibrary)
    }

    fn statistics(&self) -> Option<&dyn Statistics> {
        Some(self)
    }
}

impl Statistics for Scvi {
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

    fn read(&self, params: &mut Params, data: &Prepared, conditions: Range<usize>) -> Result<(), ModelError> {
        if let Some(library) = &self.library {
            conditions.for_each(|s| library.read_prior(params, data, s));
        }
        Ok(())
    }
}

impl Programs for Loadings {
    fn weights(&self, params: &Params) -> Vec<f32> {
        let (weight, latent) = (params.get(self.layer.weight), params.get(self.layer.weight).row_len());
        let (genes, w) = (weight.rows(), weight.values());
        // What batch norm multiplies a gene by, outside training.
        let factor = |g: usize| {
            self.norm
                .as_ref()
                .map_or(1.0, |n| params.values(n.weight)[g] / (params.values(n.variance)[g] + n.epsilon).sqrt())
        };
        (0..latent * genes).map(|i| w[(i % genes) * latent + i / genes] * factor(i % genes)).collect()
    }
}
