//! totalVI: a variational autoencoder of RNA and surface proteins measured together.
//!
//! Gayoso et al., *Joint probabilistic modeling of single-cell multi-omic data with totalVI*, Nature Methods 2021; for
//! mapping: Lotfollahi et al., *Mapping single-cell data to reference atlases by transfer learning*, Nature
//! Biotechnology 2022. Equations as scvi-tools 1.4 computes them.
//!
//! Use it for CITE-seq, and to impute proteins for cells that have RNA only. It needs raw counts of both. A condition
//! may lack some proteins or all: what all its cells have 0 of counts as not measured.
//!
//! Inference
//! 1. h = NN([ln(1 + x/(1 + x̄)), ln(1 + y/(1 + ȳ))], s, c),   x̄, ȳ the means over a cell's genes and proteins (0 in
//!    models of scvi-tools before 1.3.1)
//! 2. q(z) = N(m, exp(λ) + 10⁻⁴),   m = h Mᵀ + b_m,   λ = h Λᵀ + b_λ
//! 3. ℓ = Σ_g x_g, or q(ln ℓ) = N(m_ℓ, exp(λ_ℓ) + 10⁻⁴) from a network of its own
//!
//! Generation, each of four networks h_k = NN_k(z, s, c) with heads f(h_k, z, s, c)
//! 4. μ = ℓ softmax(f_ρ),   x ~ NB(μ, θ) or ZINB(μ, θ, π = f_π),   θ = exp(Θ)
//! 5. q(b) = N(α, β²),   α = f_α,   β = softplus(f_β) + 10⁻⁸     (log background; e^f_β before scvi-tools 1.2)
//! 6. background e^{b + e_s},   foreground e^{b + e_s} (1 + relu(f_γ) + 10⁻⁸),   e_s the log efficiency of a condition
//! 7. y ~ π NB(background, φ) + (1 − π) NB(foreground, φ),   π = logistic(f_m),   φ = exp(Φ)
//!
//! Loss, over the proteins that a cell's condition measured where M is written
//! 8. E[−ln p(x | z)] + w_kl E[−Σ_M ln p(y | z, b)] + w_kl KL(q(z) ‖ N(0, 1)) + KL(q(ln ℓ) ‖ N(a_s, v_s))
//!    + w_kl [Σ_M KL(q(b) ‖ N(a, e^{2r})) − Σ ln LogNormal(e^{e_s}; 0, 1) − 10⁻³ Σ ln π]
//!
//! | paper | meaning | tensor | shape | upstream name |
//! |---|---|---|---|---|
//! | – | encoder | `encoder.<i>.…`, `encoder.0.proteins` | see `layers`, hidden × protein | `encoder.encoder.fc_layers` |
//! | μ_z, σ_z | posterior | `encoder.mean.…`, `encoder.log_variance.…` | latent × hidden | `encoder.z_mean_encoder`, `z_var_encoder` |
//! | – | library encoder | `library.…` | as in `scvi` | `encoder.l_gene_encoder`, `l_gene_mean_encoder`, … |
//! | ρ | normalised expression | `decoder.expression.<i>.…`, `.scale.…` | gene × (hidden + latent) | `px_decoder`, `px_scale_decoder` |
//! | α, β | log background | `decoder.background.<i>.…`, `.mean.…`, `.deviation.…` | protein × (hidden + latent) | `py_back_decoder`, `py_back_mean_log_alpha`, `…_beta` |
//! | α | foreground | `decoder.foreground.<i>.…`, `.scale.…` | protein × (hidden + latent) | `py_fore_decoder`, `py_fore_scale_decoder` |
//! | π | mixing, dropout | `decoder.mixture.<i>.…`, `.background.…`, `.dropout.…` | protein, gene × (hidden + latent) | `sigmoid_decoder`, `py_background_decoder`, `px_dropout_decoder_gene` |
//! | c, d | background prior | `background.mean`, `background.log_deviation` | condition × protein | `background_pro_alpha`, `background_pro_log_beta` |
//! | – | log efficiency | `proteins.efficiency` | condition × protein | `log_per_batch_efficiency` |
//! | θ | log inverse dispersion, genes | `dispersion` | 1 or condition × gene | `px_r` |
//! | φ | log inverse dispersion, proteins | `proteins.dispersion` | 1 or condition × protein | `py_r` |
//! | – | 1 where measured | `proteins.measured` | condition × protein | `protein_batch_mask` |

use std::ops::Range;

use scgraft_cells::{Kind, Prepared};
use scgraft_engine::{Axis, Init, InputScale, Layout, Link, Ops, ParamId, Params, ProteinMixture, Role, Shape, Var};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::counts::{self, Library, LogDispersion};
use crate::layers::{ByCondition, Gaussian, Inject, Norm, NormPlan, Stack, StackPlan};
use crate::settings::{check_dropout, check_hidden, check_latent, no_settings, parse, published_norm, small};
use crate::{
    Anneal, Batch, Decoded, DecodedProteins, DispersionBy, Distribution, EarlyStopping, Epochs, Facts, Header,
    InferredLibrary, Input, LibrarySize, Loss, ModelEntry, ModelError, Network, Posterior, Proteins, Statistics, Step,
    Term, Training, VARIANCE_FLOOR, protein_prior,
};

/// Those of scvi-tools; 192 epochs of batches of 256 are its 0.75 steps a cell.
const TRAINING: Training = Training {
    batch_size: 256,
    learning_rate: 4e-3,
    anneal: Anneal::Epochs(192),
    early_stopping: Some(EarlyStopping { patience: 45, lr_patience: 30, lr_factor: 0.6 }),
    ..Training::SCVI
};

pub(crate) const ENTRY: ModelEntry = ModelEntry {
    name: "totalvi",
    summary: "conditional VAE of RNA and surface proteins (totalVI)",
    needs: &[Input::Proteins],
    takes: &[Input::Covariates],
    gives: "proteins without background, imputed proteins, foreground probability, normalised expression",
    when: "cells have RNA and surface proteins, or proteins are to be imputed from RNA",
    cite: &[crate::citations::TOTALVI, crate::citations::SCARCHES],
    values: |_| Kind::Counts,
    training: TRAINING,
    mapping: Training::SURGERY,
    mapping_settings: no_settings,
    published_training: (TRAINING, Training { epochs: Epochs::Fixed(200), weight_decay: 0.0, ..TRAINING }),
    published_settings: published_norm,
    small,
    build,
};

/// Settings of totalVI; the defaults are those published for reference mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TotalviConfig {
    /// Sizes of the encoder's hidden layers (upstream `n_hidden`, `n_layers_encoder`).
    pub hidden: Vec<usize>,
    /// Sizes of the hidden layers of each of the four decoders (upstream `n_hidden`, `n_layers_decoder`).
    pub decoder_hidden: Vec<usize>,
    /// Number of latent dimensions (upstream `n_latent`).
    pub latent: usize,
    /// Dropout rate of encoders and decoders; 0 in surgery (upstream `dropout_rate_encoder`, `dropout_rate_decoder`).
    pub dropout: f64,
    /// Normalisation of all hidden layers.
    pub norm: Norm,
    /// Distribution of the gene counts (upstream `gene_likelihood`).
    pub likelihood: GeneLikelihood,
    /// Whether each condition has gene dispersions of its own (upstream `gene_dispersion="gene-batch"`).
    pub dispersion_by_condition: bool,
    /// Whether each condition has protein dispersions of its own (upstream `protein_dispersion="protein-batch"`).
    pub protein_dispersion_by_condition: bool,
    /// What the encoder reads of the counts.
    pub input: CountInput,
    /// Where the library size comes from (upstream `use_observed_lib_size`).
    pub library: LibrarySize,
    /// How the standard deviation of the log background is kept positive (upstream `activation_function_bg`).
    pub background_deviation: Positive,
    /// Whether the background prior starts from the data (upstream `empirical_protein_background_prior`); by default
    /// with more than 10 proteins.
    pub empirical_prior: Option<bool>,
    /// Weight that the terms written with w_kl reach.
    pub kl_weight: f64,
    /// In surgery, frozen batch norms use the query batch's statistics, as the published code does. By default they use
    /// the reference's, so that what is frozen stays the same function.
    pub frozen_norm_by_batch: bool,
}

impl Default for TotalviConfig {
    fn default() -> Self {
        TotalviConfig {
            hidden: vec![256, 256],
            decoder_hidden: vec![256],
            latent: 20,
            dropout: 0.2,
            norm: Norm::Layer,
            likelihood: GeneLikelihood::Nb,
            dispersion_by_condition: false,
            protein_dispersion_by_condition: false,
            input: CountInput::Shares,
            library: LibrarySize::Observed,
            background_deviation: Positive::Softplus,
            empirical_prior: None,
            kl_weight: 1.0,
            frozen_norm_by_batch: false,
        }
    }
}

/// Distribution of gene counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GeneLikelihood {
    /// Negative binomial.
    Nb,
    /// Zero-inflated negative binomial.
    Zinb,
}

/// What an encoder reads of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountInput {
    /// ln(1 + x/(1 + x̄)), x̄ the cell's mean.
    Shares,
    /// ln(1 + x), as scvi-tools before 1.3.1.
    Counts,
}

/// How a value is kept positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positive {
    /// ln(1 + e^f)
    Softplus,
    /// e^f, as scvi-tools before 1.2.
    Exp,
}

/// ε of the background's standard deviation.
const DEVIATION_FLOOR: f32 = 1e-8;
/// The largest ln ℓ that is decoded.
const MOST_LOG_LIBRARY: f32 = 15.0;
/// Weight of −ln π, against mixtures without background.
const MIXING_PENALTY: f32 = 1e-3;
/// Proteins from which on the prior is read off the data.
const MANY_PROTEINS: usize = 10;
/// Start of the prior that is not read off the data.
const PRIOR_MEAN: f32 = 3.0;

#[derive(Debug)]
struct Totalvi {
    config: TotalviConfig,
    n_proteins: usize,
    /// Number of continuous covariates, and of levels of each categorical one.
    covariates: (usize, Vec<usize>),
    encoder: Gaussian,
    library: Option<Library>,
    expression: Expression,
    background: Background,
    foreground: Foreground,
    mixture: Mixture,
    prior_mean: ParamId,
    prior_log_deviation: ParamId,
    efficiency: ParamId,
    dispersion: LogDispersion,
    protein_dispersion: LogDispersion,
    measured: ParamId,
}

/// The decoder of equation 4.
#[derive(Debug)]
struct Expression {
    layers: Stack,
    scale: ByCondition,
}

/// The decoder of equation 5.
#[derive(Debug)]
struct Background {
    layers: Stack,
    mean: ByCondition,
    deviation: ByCondition,
}

/// The decoder of equation 6.
#[derive(Debug)]
struct Foreground {
    layers: Stack,
    scale: ByCondition,
}

/// The decoder of equation 7, and of the dropout of equation 4.
#[derive(Debug)]
struct Mixture {
    layers: Stack,
    background: ByCondition,
    dropout: Option<ByCondition>,
}

/// What the four decoders read.
#[derive(Clone, Copy, Debug)]
struct Latent {
    /// z, [latent × cell]
    z: Var,
    /// What heads read beside their decoder's last layer: z and covariates, [cell × …].
    skip: Var,
}

fn build(config: &Value, header: &Header) -> Result<(Params, Box<dyn Network>), ModelError> {
    let config: TotalviConfig = parse(ENTRY.name, config)?;
    check_hidden(ENTRY.name, "hidden", &config.hidden)?;
    check_hidden(ENTRY.name, "decoder_hidden", &config.decoder_hidden)?;
    check_latent(ENTRY.name, config.latent)?;
    check_dropout(ENTRY.name, config.dropout)?;
    let mut params = Params::new();
    let network = Totalvi::new(&mut params, config, header);
    Ok((params, Box::new(network)))
}

impl TotalviConfig {
    /// Hidden layers that read genes and proteins.
    fn encoder<'p>(&self, prefix: &'p str, hidden: &'p [usize], header: &Header) -> StackPlan<'p> {
        StackPlan {
            prefix,
            input: (Axis::Gene, header.genes.len()),
            hidden,
            norm: NormPlan::scvi(self.norm, self.frozen_norm_by_batch),
            dropout: self.dropout as f32,
            inject: Inject::Every,
            labels: false,
            proteins: header.proteins.len(),
            first: Role::FirstLayer,
        }
    }

    /// Hidden layers that read z.
    fn decoder(&self, p: &mut Params, name: &str, header: &Header) -> Stack {
        let plan = self.encoder(name, &self.decoder_hidden, header);
        Stack::new(p, &StackPlan { input: (Axis::Latent, self.latent), proteins: 0, ..plan }, header)
    }

    /// A head, which reads a decoder's last layer, z and the covariates.
    fn head(&self, p: &mut Params, name: &str, out: (Axis, usize), header: &Header) -> ByCondition {
        let last = self.decoder_hidden[self.decoder_hidden.len() - 1];
        let levels: usize = header.covariates.iter().map(|(_, levels)| levels.len()).sum();
        let inputs = last + self.latent + header.continuous.len() + levels;
        ByCondition::new(p, name, (out, (Axis::Hidden, inputs)), true, header.conditions.len())
    }
}

impl Totalvi {
    fn new(p: &mut Params, config: TotalviConfig, header: &Header) -> Totalvi {
        let c = &config;
        let (genes, proteins) = ((Axis::Gene, header.genes.len()), (Axis::Protein, header.proteins.len()));
        let by_protein = [(Axis::Condition, header.conditions.len()), proteins];
        let groups = |by_condition| if by_condition { DispersionBy::GeneCondition } else { DispersionBy::Gene };
        let (of_genes, of_proteins) = ((genes, Init::Normal(1.0)), (proteins, Init::Constant(1.0)));
        Totalvi {
            n_proteins: proteins.1,
            covariates: (header.continuous.len(), header.covariates.iter().map(|(_, l)| l.len()).collect()),
            encoder: Gaussian::new(p, &c.encoder("encoder", &c.hidden, header), (Axis::Latent, c.latent), header),
            library: (c.library == LibrarySize::Learned)
                .then(|| Library::new(p, &c.encoder("library", &c.hidden[..1], header), header)),
            expression: Expression {
                layers: c.decoder(p, "decoder.expression", header),
                scale: c.head(p, "decoder.expression.scale", genes, header),
            },
            background: Background {
                layers: c.decoder(p, "decoder.background", header),
                mean: c.head(p, "decoder.background.mean", proteins, header),
                deviation: c.head(p, "decoder.background.deviation", proteins, header),
            },
            foreground: Foreground {
                layers: c.decoder(p, "decoder.foreground", header),
                scale: c.head(p, "decoder.foreground.scale", proteins, header),
            },
            mixture: Mixture {
                layers: c.decoder(p, "decoder.mixture", header),
                background: c.head(p, "decoder.mixture.background", proteins, header),
                dropout: (c.likelihood == GeneLikelihood::Zinb)
                    .then(|| c.head(p, "decoder.mixture.dropout", genes, header)),
            },
            prior_mean: p.declare("background.mean", &by_protein, Init::Constant(PRIOR_MEAN)),
            prior_log_deviation: p.declare("background.log_deviation", &by_protein, Init::Constant(0.0)),
            efficiency: p.declare("proteins.efficiency", &by_protein, Init::Constant(0.0)),
            dispersion: LogDispersion::new(p, "dispersion", groups(c.dispersion_by_condition), of_genes, header),
            protein_dispersion: LogDispersion::new(
                p,
                "proteins.dispersion",
                groups(c.protein_dispersion_by_condition),
                of_proteins,
                header,
            ),
            measured: p.declare_statistic("proteins.measured", &by_protein, 1.0),
            config,
        }
    }

    /// ln(1 + y/(1 + ȳ)), or ln(1 + y), [cell × protein].
    fn proteins_read(&self, t: &mut dyn Ops<'_>, batch: &Batch) -> Var {
        let n = self.n_proteins;
        let mut read = Vec::with_capacity(batch.n_cells() * n);
        for counts in batch.proteins.chunks_exact(n) {
            let mean = counts.iter().map(|&y| f64::from(y)).sum::<f64>() / n as f64;
            let share = if self.config.input == CountInput::Shares { 1.0 / (1.0 + mean) as f32 } else { 1.0 };
            read.extend(counts.iter().map(|&y| (y * share).ln_1p()));
        }
        t.constant(Shape::by_cell(batch.n_cells(), n), &read)
    }

    /// z with what heads read of it, and of the covariates.
    fn latent(&self, t: &mut dyn Ops<'_>, batch: &Batch, z: Var) -> Latent {
        let by_cell = t.to_layout(z, Layout::ByCell);
        let (n_continuous, levels) = &self.covariates;
        let width = n_continuous + levels.iter().sum::<usize>();
        if width == 0 {
            return Latent { z, skip: by_cell };
        }
        let mut values = vec![0.0; batch.n_cells() * width];
        for (cell, row) in values.chunks_exact_mut(width).enumerate() {
            let (continuous, mut one_hots) = row.split_at_mut(*n_continuous);
            continuous.copy_from_slice(&batch.continuous[cell * n_continuous..(cell + 1) * n_continuous]);
            for (codes, &n) in batch.covariates.iter().zip(levels) {
                one_hots[codes.codes[cell] as usize] = 1.0;
                one_hots = &mut one_hots[n..];
            }
        }
        let covariates = t.constant(Shape::by_cell(batch.n_cells(), width), &values);
        Latent { z, skip: t.concat(by_cell, covariates) }
    }

    /// Equation 4; `mixture` is what the mixture's heads read.
    fn genes<'a>(
        &'a self,
        t: &mut dyn Ops<'a>,
        batch: &'a Batch,
        latent: Latent,
        mixture: Option<Var>,
        log_library: Option<Var>,
    ) -> Decoded<'a> {
        let h = hidden(t, batch, &self.expression.layers, latent);
        let scale = self.expression.scale.genes(t, batch, h);
        let rate = counts::rate(t, batch, scale, log_library, MOST_LOG_LIBRARY);
        let dropout = self.mixture.dropout.as_ref().zip(mixture).map(|(head, h)| head.genes(t, batch, h));
        let distribution = Distribution::of_counts(Some(self.dispersion.of(batch)), dropout);
        Decoded { rate, distribution, normalised: true }
    }

    /// Equations 5 to 7; `mixture` is what the mixture's heads read.
    fn decode_proteins<'a>(
        &'a self,
        t: &mut dyn Ops<'a>,
        batch: &'a Batch,
        latent: Latent,
        mixture: Var,
    ) -> DecodedProteins {
        let h = hidden(t, batch, &self.background.layers, latent);
        let mean = self.background.mean.apply(t, batch, h); // 5
        let deviation = self.background.deviation.apply(t, batch, h);
        let link = match self.config.background_deviation {
            Positive::Softplus => Link::Softplus,
            Positive::Exp => Link::Exp,
        };
        let deviation = t.deviation(deviation, link, DEVIATION_FLOOR); // 5
        let h = hidden(t, batch, &self.foreground.layers, latent);
        let foreground = self.foreground.scale.apply(t, batch, h); // 6
        let mixing = self.mixture.background.apply(t, batch, mixture); // 7
        DecodedProteins { log_background: (mean, deviation), foreground, mixing }
    }

    /// The second and third term of the loss that proteins bring: −ln p(y | z, b), and that of the background.
    fn protein_terms<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, decoded: &DecodedProteins) -> (Var, Var) {
        let (mean, deviation) = decoded.log_background;
        let log_background = t.normal_sample(mean, deviation); // 5
        let measured = t.params().values(self.measured);
        let reconstruction = t.protein_mixture(ProteinMixture {
            log_background,
            foreground: decoded.foreground,
            mixing: decoded.mixing,
            log_theta: self.protein_dispersion.rows(batch),
            log_efficiency: Some((self.efficiency, &batch.condition)),
            counts: &batch.proteins,
            observed: (measured, &batch.condition),
        }); // 7
        let prior = (self.prior_mean, self.prior_log_deviation);
        let kl = t.background_kl(mean, deviation, prior, measured, &batch.condition); // 8
        let efficiency = t.log_normal_prior(self.efficiency, &batch.condition); // 8
        let penalty = t.logistic_penalty(decoded.mixing, MIXING_PENALTY); // 8
        let sum = t.add(kl, efficiency);
        (reconstruction, t.add(sum, penalty))
    }
}

/// What a decoder's heads read, [cell × (hidden + latent + covariates)].
fn hidden<'a>(t: &mut dyn Ops<'a>, batch: &'a Batch, layers: &Stack, latent: Latent) -> Var {
    let h = layers.of(t, batch, latent.z);
    t.concat(h, latent.skip)
}

impl Network for Totalvi {
    fn config(&self) -> Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }

    fn facts(&self) -> Facts {
        let input_scale = match self.config.input {
            CountInput::Shares => InputScale::Log1pOfShare,
            CountInput::Counts => InputScale::Log1p,
        };
        Facts { input_scale, kl_weight: self.config.kl_weight as f32, standard_prior: false, ..Facts::default() }
    }

    fn inference<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch) -> Posterior {
        let proteins = Some(self.proteins_read(t, batch)); // 1
        let (mean, log_variance) = self.encoder.of_expression(t, batch, proteins); // 1, 2
        let library = self.library.as_ref().map(|l| l.encoder.of_expression(t, batch, proteins)); // 3
        Posterior { mean, log_variance, library }
    }

    fn generative<'a>(
        &'a self,
        t: &mut dyn Ops<'a>,
        batch: &'a Batch,
        z: Var,
        log_library: Option<Var>,
    ) -> Decoded<'a> {
        let latent = self.latent(t, batch, z);
        let mixture = self.mixture.dropout.is_some().then(|| hidden(t, batch, &self.mixture.layers, latent));
        self.genes(t, batch, latent, mixture, log_library)
    }

    fn loss<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, step: &Step) -> Loss {
        let kl_weight = self.config.kl_weight as f32 * step.annealed;
        let q = self.inference(t, batch);
        let (z, log_library) = q.sample(t); // 2, 3
        let latent = self.latent(t, batch, z);
        let mixture = hidden(t, batch, &self.mixture.layers, latent);
        let genes = self.genes(t, batch, latent, Some(mixture), log_library);
        let proteins = self.decode_proteins(t, batch, latent, mixture);
        let of_genes = genes.reconstruction(t, batch); // 8
        let (of_proteins, of_background) = self.protein_terms(t, batch, &proteins); // 8
        let kl = t.kl_standard_normal(q.mean, q.log_variance, VARIANCE_FLOOR); // 8
        let mut terms = vec![
            Term::of_cells(t, "reconstruction", of_genes, 1.0),
            Term::of_cells(t, "reconstruction_protein", of_proteins, kl_weight),
            Term::of_cells(t, "kl", kl, kl_weight),
            Term::of_cells(t, "kl_background", of_background, kl_weight),
        ];
        if let Some((library, q)) = self.library.as_ref().zip(q.library) {
            let kl = library.kl(t, batch, q); // 8
            terms.push(Term::of_cells(t, "kl_library", kl, 1.0));
        }
        terms
    }

    fn proteins(&self) -> Option<&dyn Proteins> {
        Some(self)
    }

    fn library(&self) -> Option<&dyn InferredLibrary> {
        self.library.as_ref().map(|l| l as &dyn InferredLibrary)
    }

    fn statistics(&self) -> Option<&dyn Statistics> {
        Some(self)
    }
}

impl Proteins for Totalvi {
    fn decode<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var) -> DecodedProteins {
        let latent = self.latent(t, batch, z);
        let mixture = hidden(t, batch, &self.mixture.layers, latent);
        self.decode_proteins(t, batch, latent, mixture)
    }

    fn measured(&self) -> ParamId {
        self.measured
    }

    fn efficiency(&self) -> ParamId {
        self.efficiency
    }
}

impl Statistics for Totalvi {
    fn read(&self, params: &mut Params, data: &Prepared, conditions: Range<usize>) -> Result<(), ModelError> {
        let Some(proteins) = &data.proteins else { return Ok(()) };
        let nothing = proteins.present.iter().flatten().all(|p| !p);
        if nothing && conditions.start == 0 {
            return Err(ModelError::Needs {
                model: ENTRY.name,
                what: "protein counts, but all of them are 0".into(),
                remedy: "name the entry of obsm with raw protein counts".into(),
            });
        }
        let n = self.n_proteins;
        let empirical = self.config.empirical_prior.unwrap_or(n > MANY_PROTEINS);
        for s in conditions {
            let of_condition = |(_, c): &(usize, &u32)| **c as usize == s;
            let own: Vec<usize> = data.condition.codes.iter().enumerate().filter(of_condition).map(|c| c.0).collect();
            let row = s * n..(s + 1) * n;
            let measured = &proteins.present[s];
            let flags = measured.iter().map(|&m| if m { 1.0 } else { 0.0 });
            params.write(self.measured)[row.clone()].iter_mut().zip(flags).for_each(|(o, m)| *o = m);
            if empirical {
                let counts: Vec<&[f32]> = own.iter().map(|&i| proteins.counts.row(i)).collect();
                let prior = protein_prior::of_condition(&counts, measured);
                params.write(self.prior_mean)[row.clone()].fill(prior.mean as f32);
                params.write(self.prior_log_deviation)[row].fill(prior.deviation.ln() as f32);
            }
            if let Some(library) = &self.library {
                library.read_prior(params, data, s);
            }
        }
        Ok(())
    }
}
