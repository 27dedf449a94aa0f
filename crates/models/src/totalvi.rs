//! totalVI: a variational autoencoder of RNA and surface proteins measured together.
//!
//! Gayoso et al., *Joint probabilistic modeling of single-cell multi-omic data with totalVI*, Nature Methods 2021; for
//! mapping: Lotfollahi et al., *Mapping single-cell data to reference atlases by transfer learning*, Nature
//! Biotechnology 2022. Equations as scvi-tools 1.4 computes them.
//!
//! Use it for CITE-seq, and to impute proteins for cells that have RNA only. It needs raw counts of both. A condition
//! may lack some proteins or all: what all its cells have 0 of counts as not measured. The published code then also
//! trains a classifier of conditions against the encoder, which this one does not have.
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
use scgraft_engine::{Axis, Init, InputScale, Key, Layout, Link, ParamId, Params, ProteinMixture, Shape, Tape, Var};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::counts::{self, Library, LogDispersion};
use crate::layers::{ByCondition, Gaussian, Inject, Norm, NormPlan, Stack, StackPlan};
use crate::settings::{check_dropout, check_hidden, check_latent, no_settings, parse, published_norm};
use crate::{
    Anneal, Batch, Decoded, DecodedProteins, DispersionBy, Distribution, EarlyStopping, Epochs, Header, Input,
    LibrarySize, Loss, ModelEntry, ModelError, Network, Posterior, Step, Term, Training, VARIANCE_FLOOR, protein_prior,
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
    expression: Stack,
    scale: ByCondition,
    background: Stack,
    background_mean: ByCondition,
    background_deviation: ByCondition,
    foreground: Stack,
    foreground_scale: ByCondition,
    mixture: Stack,
    mixing: ByCondition,
    dropout: Option<ByCondition>,
    prior_mean: ParamId,
    prior_log_deviation: ParamId,
    efficiency: ParamId,
    dispersion: LogDispersion,
    protein_dispersion: LogDispersion,
    measured: ParamId,
}

fn build(config: &Value, header: &Header, key: Key) -> Result<(Params, Box<dyn Network>), ModelError> {
    let config: TotalviConfig = parse(ENTRY.name, config)?;
    check_hidden(ENTRY.name, "hidden", &config.hidden)?;
    check_hidden(ENTRY.name, "decoder_hidden", &config.decoder_hidden)?;
    check_latent(ENTRY.name, config.latent)?;
    check_dropout(ENTRY.name, config.dropout)?;
    let mut params = Params::new();
    let network = Totalvi::new(&mut params, config, header, key);
    Ok((params, Box::new(network)))
}

impl Totalvi {
    fn new(p: &mut Params, config: TotalviConfig, header: &Header, key: Key) -> Totalvi {
        let c = &config;
        let (genes, proteins) = ((Axis::Gene, header.genes.len()), (Axis::Protein, header.proteins.len()));
        let (latent, condition) = ((Axis::Latent, c.latent), (Axis::Condition, header.conditions.len()));
        let levels: Vec<usize> = header.covariates.iter().map(|(_, l)| l.len()).collect();
        let last = c.decoder_hidden[c.decoder_hidden.len() - 1];
        let inputs = last + c.latent + header.continuous.len() + levels.iter().sum::<usize>();
        let encoder = |prefix, hidden| StackPlan {
            prefix,
            input: genes,
            hidden,
            norm: NormPlan::scvi(c.norm, c.frozen_norm_by_batch),
            dropout: c.dropout as f32,
            inject: Inject::Every,
            labels: false,
            proteins: proteins.1,
        };
        let stack = |p: &mut Params, name| {
            Stack::new(p, &StackPlan { input: latent, proteins: 0, ..encoder(name, &c.decoder_hidden) }, header, key)
        };
        // Of a decoder's last layer, z and the covariates.
        let head = |p: &mut Params, name, out| {
            ByCondition::new(p, name, (out, (Axis::Hidden, inputs)), true, condition.1, key)
        };
        let theta = |p: &mut Params, name: &str, by_condition, of| {
            let by = if by_condition { DispersionBy::GeneCondition } else { DispersionBy::Gene };
            LogDispersion::new(p, name, by, of, header, key)
        };
        Totalvi {
            n_proteins: proteins.1,
            covariates: (header.continuous.len(), levels),
            encoder: Gaussian::new(p, &encoder("encoder", &c.hidden), latent, header, key),
            library: (c.library == LibrarySize::Learned)
                .then(|| Library::new(p, &encoder("library", &c.hidden[..1]), header, key)),
            expression: stack(p, "decoder.expression"),
            scale: head(p, "decoder.expression.scale", genes),
            background: stack(p, "decoder.background"),
            background_mean: head(p, "decoder.background.mean", proteins),
            background_deviation: head(p, "decoder.background.deviation", proteins),
            foreground: stack(p, "decoder.foreground"),
            foreground_scale: head(p, "decoder.foreground.scale", proteins),
            mixture: stack(p, "decoder.mixture"),
            mixing: head(p, "decoder.mixture.background", proteins),
            dropout: (c.likelihood == GeneLikelihood::Zinb).then(|| head(p, "decoder.mixture.dropout", genes)),
            prior_mean: p.add("background.mean", &[condition, proteins], Init::Constant(PRIOR_MEAN), key),
            prior_log_deviation: p.add("background.log_deviation", &[condition, proteins], Init::Constant(0.0), key),
            efficiency: p.add("proteins.efficiency", &[condition, proteins], Init::Constant(0.0), key),
            dispersion: theta(p, "dispersion", c.dispersion_by_condition, (genes, Init::Normal(1.0))),
            protein_dispersion: theta(
                p,
                "proteins.dispersion",
                c.protein_dispersion_by_condition,
                (proteins, Init::Constant(1.0)),
            ),
            measured: p.add_statistic("proteins.measured", &[condition, proteins], 1.0),
            config,
        }
    }

    /// ln(1 + y/(1 + ȳ)), or ln(1 + y), [cell × protein].
    fn proteins_read(&self, t: &mut Tape<'_>, batch: &Batch) -> Var {
        let n = self.n_proteins;
        let mut read = Vec::with_capacity(batch.n_cells() * n);
        for counts in batch.proteins.chunks_exact(n) {
            let mean = counts.iter().map(|&y| f64::from(y)).sum::<f64>() / n as f64;
            let share = if self.config.input == CountInput::Shares { 1.0 / (1.0 + mean) as f32 } else { 1.0 };
            read.extend(counts.iter().map(|&y| (y * share).ln_1p()));
        }
        t.constant(Shape::by_cell(batch.n_cells(), n), &read)
    }

    /// What heads read beside a decoder's last layer: z and covariates, [cell × …].
    fn beside(&self, t: &mut Tape<'_>, batch: &Batch, z: Var) -> Var {
        let z = t.to_layout(z, Layout::ByCell);
        let (n_continuous, levels) = &self.covariates;
        let width = n_continuous + levels.iter().sum::<usize>();
        if width == 0 {
            return z;
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
        t.concat(z, covariates)
    }

    /// What a stack's heads read.
    fn skip<'a>(&self, t: &mut Tape<'a>, batch: &'a Batch, stack: &Stack, z: Var, beside: Var) -> Var {
        let h = stack.of(t, batch, z);
        t.concat(h, beside)
    }

    /// Equation 4; `mixture` is what the mixture's heads read.
    fn genes<'a>(
        &'a self,
        t: &mut Tape<'a>,
        batch: &'a Batch,
        (z, beside, mixture): (Var, Var, Option<Var>),
        log_library: Option<Var>,
    ) -> Decoded<'a> {
        let h = self.skip(t, batch, &self.expression, z, beside);
        let scale = self.scale.genes(t, batch, h);
        let rate = counts::rate(t, batch, scale, log_library, MOST_LOG_LIBRARY);
        let dropout = self.dropout.as_ref().zip(mixture).map(|(head, h)| head.genes(t, batch, h));
        let distribution = Distribution::of_counts(Some(self.dispersion.of(batch)), dropout);
        Decoded { rate, distribution, normalised: true }
    }

    /// Equations 5 to 7.
    fn proteins<'a>(
        &'a self,
        t: &mut Tape<'a>,
        batch: &'a Batch,
        (z, beside, mixture): (Var, Var, Var),
    ) -> DecodedProteins {
        let h = self.skip(t, batch, &self.background, z, beside);
        let mean = self.background_mean.apply(t, batch, h); // 5
        let deviation = self.background_deviation.apply(t, batch, h);
        let link = match self.config.background_deviation {
            Positive::Softplus => Link::Softplus,
            Positive::Exp => Link::Exp,
        };
        let deviation = t.deviation(deviation, link, DEVIATION_FLOOR); // 5
        let h = self.skip(t, batch, &self.foreground, z, beside);
        let foreground = self.foreground_scale.apply(t, batch, h); // 6
        let mixing = self.mixing.apply(t, batch, mixture); // 7
        DecodedProteins { log_background: (mean, deviation), foreground, mixing }
    }

    /// The second and third term of the loss that proteins bring: −ln p(y | z, b), and that of the background.
    fn protein_terms<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, decoded: &DecodedProteins) -> (Var, Var) {
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

impl Network for Totalvi {
    fn config(&self) -> Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }

    fn input_scale(&self) -> InputScale {
        match self.config.input {
            CountInput::Shares => InputScale::Log1pOfShare,
            CountInput::Counts => InputScale::Log1p,
        }
    }

    fn input_weights(&self) -> Vec<ParamId> {
        let library = self.library.iter().map(|l| l.encoder.stack.input_weight());
        [self.encoder.stack.input_weight()].into_iter().chain(library).collect()
    }

    fn kl_weight(&self) -> f32 {
        self.config.kl_weight as f32
    }

    fn inference<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch) -> Posterior {
        let proteins = Some(self.proteins_read(t, batch)); // 1
        let (mean, log_variance) = self.encoder.of_expression(t, batch, proteins); // 1, 2
        let library = self.library.as_ref().map(|l| l.encoder.of_expression(t, batch, proteins)); // 3
        Posterior { mean, log_variance, library }
    }

    fn generative<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, z: Var, log_library: Option<Var>) -> Decoded<'a> {
        let beside = self.beside(t, batch, z);
        let mixture = self.dropout.is_some().then(|| self.skip(t, batch, &self.mixture, z, beside));
        self.genes(t, batch, (z, beside, mixture), log_library)
    }

    fn generate_proteins<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, z: Var) -> Option<DecodedProteins> {
        let beside = self.beside(t, batch, z);
        let mixture = self.skip(t, batch, &self.mixture, z, beside);
        Some(self.proteins(t, batch, (z, beside, mixture)))
    }

    fn measured_proteins(&self) -> Option<ParamId> {
        Some(self.measured)
    }

    fn loss<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, step: &Step) -> Loss {
        let kl_weight = self.kl_weight() * step.annealed;
        let q = self.inference(t, batch);
        let (z, log_library) = q.sample(t); // 2, 3
        let beside = self.beside(t, batch, z);
        let mixture = self.skip(t, batch, &self.mixture, z, beside);
        let genes = self.genes(t, batch, (z, beside, Some(mixture)), log_library);
        let proteins = self.proteins(t, batch, (z, beside, mixture));
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

    fn has_standard_prior(&self) -> bool {
        false
    }

    fn accepts(&self, data: &Prepared) -> Result<(), ModelError> {
        if data.proteins.is_some() {
            return Ok(());
        }
        let remedy = "prepare the cells for this model: proteins that they lack are then 0";
        Err(ModelError::Data { what: "proteins:", found: "none".into(), expected: "has proteins".into(), remedy })
    }

    fn read_data(&self, params: &mut Params, data: &Prepared, conditions: Range<usize>) -> Result<(), ModelError> {
        let Some(proteins) = &data.proteins else { return self.accepts(data) };
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
            params.get_mut(self.measured).values[row.clone()].iter_mut().zip(flags).for_each(|(o, m)| *o = m);
            if empirical {
                let counts: Vec<&[f32]> = own.iter().map(|&i| proteins.counts.row(i)).collect();
                let prior = protein_prior::of_condition(&counts, measured);
                params.get_mut(self.prior_mean).values[row.clone()].fill(prior.mean as f32);
                params.get_mut(self.prior_log_deviation).values[row].fill(prior.deviation.ln() as f32);
            }
            if let Some(library) = &self.library {
                library.read_prior(params, data, s);
            }
        }
        Ok(())
    }

    fn first_layers(&self) -> Vec<ParamId> {
        let stacks = [&self.expression, &self.background, &self.foreground, &self.mixture];
        let library = self.library.iter().map(|l| &l.encoder.stack);
        stacks.into_iter().chain([&self.encoder.stack]).chain(library).flat_map(Stack::first_layer).collect()
    }

    fn without_dropout(&mut self) {
        self.config.dropout = 0.0;
        let decoders = [&mut self.expression, &mut self.background, &mut self.foreground, &mut self.mixture];
        let library = self.library.iter_mut().map(|l| &mut l.encoder.stack);
        decoders.into_iter().chain([&mut self.encoder.stack]).chain(library).for_each(|s| s.dropout = 0.0);
    }
}
