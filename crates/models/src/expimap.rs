//! expiMap: a conditional variational autoencoder whose latent dimensions are gene programs.
//!
//! Lotfollahi et al., *Biologically informed deep learning to query gene programs in single-cell
//! atlases*, Nature Cell Biology 2023.
//!
//! Use it when the question is which programs differ. It needs gene sets that cover the biology of
//! interest; what they do not cover is lost, or goes into new programs. The decoder is linear, so
//! interactions between programs are not modelled.
//!
//! Inference
//! 1. a₁ = log(1 + X) Uᵀ + b + A[s],   aᵢ = hᵢ₋₁ Vᵢᵀ + bᵢ
//! 2. hᵢ = dropout(relu(norm(aᵢ)))
//! 3. m = h Mᵀ + b_m,   λ = h Λᵀ + b_λ,   q(z) = N(m, exp(λ) + 10⁻⁴)
//!
//! Generation
//! 4. h = W z + L[s]
//! 5. μ = ℓ softmax(h)   (or exp, softplus, relu of h; identity for squared error)
//! 6. x ~ NB(μ, θ),  θ = exp(Θ[s])   (or squared error)
//!
//! Loss
//! 7. E[−ln p(x | z)] + w_kl KL(q ‖ N(0, 1)) + w_hsic Σ_new √HSIC(z_new, z_rest)
//! 8. after each step of size η: soft threshold η·w_l1 outside soft gene sets; group lasso
//!    η·w_lasso on each reference program; soft threshold η·w_new on free programs
//!
//! With labels, some of which may be missing
//! 9. p(y | z) = softmax(C z + c);   the loss gains w_class times −ln p(y | z), mean over the labelled cells. C starts at 0,
//!    and no surgery trains it: new programs do not enter.
//!
//! Programs start apart from the published code, where they start with random signs under the whole lasso: within twenty
//! epochs most are pruned, and of gene sets that contain each other, such as those of interferon signalling, chance
//! picks the one that stays. Here each starts as its gene set, all genes in one direction, so that the set that fits a
//! variation best has the start of it; and w_lasso is annealed as w_kl is, so that it prunes what programs have come to
//! explain and not how they started.
//!
//! New programs in surgery: in the published code they start as the only columns of a layer of their own, with weights of
//! up to 1/√(their number), many times those of the reference: they shake all genes, and some never recover. And a
//! query's baseline is in L[s] alone, which starts at random and learns slowly, so that new programs stand in for it.
//! Here they start as columns of one layer with all others, with weights of up to 1/√(number of programs); L[s] starts
//! as the mean of those known, and trains alone for `new_wait` epochs before they join.
//!
//! | paper | meaning | tensor | shape | upstream name |
//! |---|---|---|---|---|
//! | – | first layer | `encoder.input.weight`, `.bias` | gene × hidden, hidden | `encoder.FC.L0.expr_L` |
//! | – | condition in the encoder | `encoder.input.condition` | condition × hidden | `encoder.FC.L0.cond_L` |
//! | – | further layers | `encoder.<i>.weight`, `.bias` | hidden × hidden | `encoder.FC.L<i>` |
//! | – | batch norm, where chosen | `encoder.<i>.norm…` | hidden | `encoder.FC.N<i>` |
//! | – | posterior mean | `encoder.mean.weight`, `.bias` | latent × hidden | `encoder.mean_encoder`, `expand_mean_encoder` |
//! | – | posterior log-variance | `encoder.log_variance.weight`, `.bias` | latent × hidden | `encoder.log_var_encoder`, `expand_var_encoder` |
//! | W | program weights | `decoder.programs…` | entry, or program × gene | `decoder.L0.expr_L`, `ext_L_m`, `ext_L` |
//! | L | condition in the decoder | `decoder.condition` | condition × gene | `decoder.L0.cond_L` |
//! | D | log inverse dispersion | `dispersion` | condition × gene | `theta` |
//! | – | classifier of labels, where there are any | `classifier.weight`, `.bias` | latent × label, label | none |

use std::ops::Range;

use scgraft_engine::{
    Axis, Dispersion, Init, InputScale, Key, Layout, Link, Mask, Param, ParamId, Params, ProgramWeights, Tape, Var,
    group_lasso, soft_threshold, soft_threshold_outside,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::encoder::{Encoder, Hidden, scarches_values};
use crate::layers::Norm;
use crate::settings::parse;
use crate::{
    Anneal, Baseline, Batch, Decoded, Distribution, EarlyStopping, Epochs, Header, Input, Loss, Membership, ModelEntry,
    ModelError, Network, Posterior, Schedule, Segment, Step, Term, Training, VARIANCE_FLOOR,
};

pub(crate) const ENTRY: ModelEntry = ModelEntry {
    name: "expimap",
    summary: "conditional VAE whose latent dimensions are gene programs, with a masked linear decoder",
    needs: &[Input::Programs],
    takes: &[Input::Labels],
    gives: "program scores, program tests, gene importance, new programs in surgery",
    when: "the question is which biological programs differ",
    cite: &[crate::citations::EXPIMAP, crate::citations::SCARCHES],
    values: scarches_values,
    training: TRAINING,
    mapping: Training::SURGERY,
    mapping_settings: || json!({ "kl_weight": 0.1, "lasso_anneal": false }),
    published_training: (Training::SCARCHES, Training { epochs: Epochs::Fixed(200), ..Training::SCARCHES }),
    published_settings: || json!({ "gene_set_start": false, "lasso_anneal": false, "new_wait": 0, "frozen_norm_by_batch": true }),
    build,
};

/// The genes' baseline and dispersion are read off the data, so that programs learn variation from the first step; the KL
/// weight and the lasso rise over most of the run, so that programs are pruned by what they came to explain.
const TRAINING: Training = Training {
    epochs: Epochs::BySteps { steps: 2000, least: 80, most: 400, most_steps: 60_000 },
    learning_rate: 2e-3,
    schedule: Schedule::WarmCosine,
    anneal: Anneal::Share { share: 0.9, most: 100 },
    start_from_data: true,
    thinning: Some(0.3),
    early_stopping: Some(EarlyStopping::TO_THE_END),
    ..Training::SCARCHES
};

/// Settings of expiMap; the defaults are the published ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpimapConfig {
    /// Sizes of the encoder's hidden layers.
    pub hidden: Vec<usize>,
    /// Dropout rate of the hidden layers; 0 in surgery.
    pub dropout: f32,
    /// Normalisation of the hidden layers.
    pub norm: Norm,
    /// Likelihood of the data.
    pub likelihood: Likelihood,
    /// Output function; by default softmax for counts, identity for squared error.
    pub output: Option<Output>,
    /// Whether constrained programs start as their gene sets (nothing outside, and inside all in one direction), and all
    /// new ones as small as the reference's. The published code starts them with random signs, soft ones on all genes,
    /// new ones larger the fewer they are.
    pub gene_set_start: bool,
    /// Weight of the KL term (upstream `alpha_kl`).
    pub kl_weight: f32,
    /// Weight of the group lasso on reference programs (upstream `alpha`).
    pub lasso_weight: f32,
    /// Whether that weight is annealed as the KL weight is; the published code has it in full from the first step.
    pub lasso_anneal: bool,
    /// Weight of L1 outside soft gene sets (upstream `alpha_l1`).
    pub l1_weight: f32,
    /// Weight of L1 on free programs (upstream `gamma_ext`).
    pub new_l1_weight: f32,
    /// Epochs over which `new_l1_weight` rises from near 0 (upstream `gamma_epoch_anneal`); 0 for at once.
    pub new_l1_anneal: usize,
    /// Surgery that adds programs: epochs, at most a quarter of all, of the new conditions' weights alone, before new
    /// programs join. 0: at once, as in the published code.
    pub new_wait: usize,
    /// Weight of HSIC between free programs and the rest (upstream `beta`).
    pub hsic_weight: f32,
    /// Weight of the classification of labelled cells by their program scores, for a reference with labels.
    pub classification_weight: f32,
    /// HSIC of all free programs jointly, instead of one against all.
    pub hsic_joint: bool,
    /// In surgery, frozen batch norms use the query batch's statistics, as the published code does. By default
    /// they use the reference's, so that the frozen encoder stays the same function.
    pub frozen_norm_by_batch: bool,
}

impl Default for ExpimapConfig {
    fn default() -> Self {
        ExpimapConfig {
            hidden: vec![256, 256, 256],
            dropout: 0.05,
            norm: Norm::Layer,
            likelihood: Likelihood::Nb,
            output: None,
            gene_set_start: true,
            kl_weight: 0.5,
            lasso_weight: 0.7,
            lasso_anneal: true,
            l1_weight: 0.9,
            new_l1_weight: 0.7,
            new_l1_anneal: 50,
            new_wait: 20,
            hsic_weight: 3.0,
            classification_weight: CLASSIFICATION,
            hsic_joint: false,
            frozen_norm_by_batch: false,
        }
    }
}

impl ExpimapConfig {
    fn layers(&self) -> Hidden<'_> {
        Hidden {
            sizes: &self.hidden,
            norm: self.norm,
            dropout: self.dropout,
            frozen_norm_by_batch: self.frozen_norm_by_batch,
        }
    }
}

/// The default weight of the classification.
const CLASSIFICATION: f32 = 10.0;

/// Likelihood of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Likelihood {
    /// Negative binomial, for raw counts.
    Nb,
    /// Squared error, for log-normalised values.
    Mse,
}

/// Output function of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Library size times softmax over genes.
    Softmax,
    /// ln(1 + e^h)
    Softplus,
    /// e^h
    Exp,
    /// max(h, 0)
    Relu,
    /// h
    Identity,
}

impl Output {
    fn link(self) -> Link {
        match self {
            Output::Softmax => Link::Softmax,
            Output::Softplus => Link::Softplus,
            Output::Exp => Link::Exp,
            Output::Relu => Link::Relu,
            Output::Identity => Link::Identity,
        }
    }
}

/// Epochs between changes of the annealed L1 weight.
const ANNEAL_EVERY: usize = 5;

#[derive(Debug)]
struct Expimap {
    config: ExpimapConfig,
    n_genes: usize,
    encoder: Encoder,
    programs: Vec<Programs>,
    decoder_condition: ParamId,
    dispersion: Option<ParamId>,
    classifier: Option<Classifier>,
}

/// Labels told by program scores: equation 9.
#[derive(Debug)]
struct Classifier {
    /// C, program × label.
    weight: ParamId,
    /// c
    bias: ParamId,
    n_labels: usize,
}

impl Classifier {
    /// Logits of the labels, [cell × label], for z, [latent × cell].
    fn logits<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, z: Var) -> Var {
        let logits = t.decode_programs(
            z,
            self.n_labels,
            vec![ProgramWeights::Dense(self.weight)],
            Some((self.bias, &batch.one)),
        );
        t.to_layout(logits, Layout::ByCell) // 9
    }
}

/// A segment of the decoder: its weights, its gene sets, how these bind.
#[derive(Debug)]
struct Programs {
    weight: ParamId,
    mask: Mask,
    membership: Membership,
    of_reference: bool,
}

fn build(config: &Value, header: &Header, key: Key) -> Result<(Params, Box<dyn Network>), ModelError> {
    let config: ExpimapConfig = parse(ENTRY.name, config)?;
    config.layers().check(ENTRY.name)?;
    let wrong = |expected, found| Err(ModelError::setting(ENTRY.name, "output", expected, found));
    if config.likelihood == Likelihood::Mse && config.output == Some(Output::Softmax) {
        return wrong("softplus, exp, relu or identity with squared error", "softmax");
    }
    if config.likelihood == Likelihood::Nb && config.output == Some(Output::Identity) {
        return wrong("a positive mean (softmax, softplus, exp, relu) with nb", "identity");
    }

    let mut p = Params::new();
    let (genes, conditions) = (header.genes.len(), header.conditions.len());
    let encoder = Encoder::add(&mut p, (genes, conditions, header.n_programs()), &config.layers(), key);
    let by_condition = Init::FanIn(conditions);
    let condition = (Axis::Condition, conditions);
    let decoder_condition = p.add("decoder.condition", &[condition, (Axis::Gene, genes)], by_condition, key);
    let dispersion = (config.likelihood == Likelihood::Nb)
        .then(|| p.add("dispersion", &[condition, (Axis::Gene, genes)], Init::Normal(1.0), key));
    let add = |s: &Segment| add_programs(&mut p, s, genes, s.programs.len(), config.gene_set_start, key);
    let programs = header.segments.iter().map(add).collect();
    let classifier = (!header.labels.is_empty()).then(|| {
        let labels = (Axis::Label, header.labels.len());
        let weight =
            p.add("classifier.weight", &[(Axis::Latent, header.n_programs()), labels], Init::Constant(0.0), key);
        let bias = p.add("classifier.bias", &[(Axis::One, 1), labels], Init::Constant(0.0), key);
        Classifier { weight, bias, n_labels: labels.1 }
    });
    let network = Expimap { config, n_genes: genes, encoder, programs, decoder_condition, dispersion, classifier };
    Ok((p, Box::new(network)))
}

/// The weights of a segment, started as columns of a layer of so many.
fn add_programs(
    p: &mut Params,
    segment: &Segment,
    genes: usize,
    columns: usize,
    gene_set_start: bool,
    key: Key,
) -> Programs {
    let (mask, count) = (segment.mask(genes), segment.programs.len());
    let axes: &[(Axis, usize)] = match segment.membership {
        Membership::Hard => &[(Axis::Entry, mask.n_entries())],
        Membership::Soft | Membership::Free => &[(Axis::Program, count), (Axis::Gene, genes)],
    };
    let weight = p.add(&segment.tensor(), axes, Init::FanIn(columns), key);
    let values = &mut p.get_mut(weight).values;
    if gene_set_start && segment.membership == Membership::Soft {
        soft_threshold_outside(values, &mask, genes, f32::INFINITY);
    }
    if gene_set_start && segment.membership != Membership::Free {
        values.iter_mut().for_each(|w| *w = w.abs());
    }
    Programs { weight, mask, membership: segment.membership, of_reference: segment.origin.is_none() }
}

/// New conditions start as the mean of those known: where there is no bias, their rows hold the genes' baseline.
fn start_as_known(rows: &mut Param) {
    if rows.new_rows.is_empty() {
        return;
    }
    let (known, width) = (rows.new_rows.start, rows.row_len());
    let (old, new) = rows.values.split_at_mut(known * width);
    for (g, start) in (0..width).cycle().zip(new) {
        *start = old.iter().skip(g).step_by(width).sum::<f32>() / known as f32;
    }
}

impl Programs {
    fn weights(&self) -> ProgramWeights<'_> {
        match self.membership {
            Membership::Hard => ProgramWeights::Masked(self.weight, &self.mask),
            Membership::Soft | Membership::Free => ProgramWeights::Dense(self.weight),
        }
    }
}

impl Expimap {
    fn link(&self) -> Link {
        let default = match self.config.likelihood {
            Likelihood::Nb => Output::Softmax,
            Likelihood::Mse => Output::Identity,
        };
        self.config.output.unwrap_or(default).link()
    }

    /// Number of free programs, the last latent dimensions that are.
    fn n_free(&self) -> usize {
        self.programs.last().filter(|p| p.membership == Membership::Free).map_or(0, |p| p.mask.n_programs())
    }

    /// The epoch from which programs are decoded. Those that the latest surgery added wait for the new conditions'
    /// baseline, which they would learn instead of variation.
    fn joins(&self, programs: &Programs, params: &Params, epochs: usize) -> usize {
        if programs.of_reference || params.get(programs.weight).new_rows.is_empty() {
            return 0;
        }
        self.config.new_wait.min(epochs / 4)
    }

    /// 4, 5 and 6 with the programs that have joined.
    fn decode<'a>(
        &'a self,
        t: &mut Tape<'a>,
        batch: &'a Batch,
        z: Var,
        joined: impl Fn(&Programs) -> bool,
    ) -> Decoded<'a> {
        let weights =
            |p: &'a Programs| if joined(p) { p.weights() } else { ProgramWeights::Absent(p.mask.n_programs()) };
        let segments = self.programs.iter().map(weights).collect();
        let condition = Some((self.decoder_condition, &batch.condition));
        let h = t.decode_programs(z, self.n_genes, segments, condition); // 4
        let rate = t.mean_of(h, self.link(), &batch.library); // 5
        let distribution = match self.dispersion {
            Some(theta) => Distribution::NegativeBinomial(Dispersion::Grouped(theta, &batch.condition)), // 6
            None => Distribution::SquaredError,                                                          // 6
        };
        Decoded { rate, distribution, normalised: self.link() == Link::Softmax }
    }

    /// The factor on the L1 weight of free programs: a staircase from 1/n to 1 over n epochs.
    fn new_l1_factor(&self, epoch: usize) -> f32 {
        let n = self.config.new_l1_anneal;
        if n == 0 {
            return 1.0;
        }
        // The change at the end of epoch e, a multiple of 5, acts from the next epoch on.
        let last_change = epoch.saturating_sub(1) / ANNEAL_EVERY * ANNEAL_EVERY;
        if last_change == 0 { 1.0 / n as f32 } else { (last_change as f32 / n as f32).min(1.0) }
    }
}

impl Network for Expimap {
    fn config(&self) -> Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }

    fn input_scale(&self) -> InputScale {
        match self.config.likelihood {
            Likelihood::Nb => InputScale::Log1p,
            Likelihood::Mse => InputScale::Identity,
        }
    }

    fn input_weights(&self) -> Vec<ParamId> {
        vec![self.encoder.input.weight]
    }

    fn kl_weight(&self) -> f32 {
        self.config.kl_weight
    }

    fn inference<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch) -> Posterior {
        self.encoder.inference(t, batch) // 1, 2, 3
    }

    fn generative<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, z: Var, _: Option<Var>) -> Decoded<'a> {
        self.decode(t, batch, z, |_| true)
    }

    fn loss<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, step: &Step) -> Loss {
        let kl_weight = self.kl_weight() * step.annealed;
        let q = self.inference(t, batch);
        let z = t.gaussian_sample(q.mean, q.log_variance, VARIANCE_FLOOR); // 3
        let params = t.params();
        let joined = |p: &Programs| step.epoch >= self.joins(p, params, step.epochs);
        let reconstruction = self.decode(t, batch, z, joined).reconstruction(t, batch); // 6
        let kl = t.kl_standard_normal(q.mean, q.log_variance, VARIANCE_FLOOR); // 7
        let mut terms =
            vec![Term::of_cells(t, "reconstruction", reconstruction, 1.0), Term::of_cells(t, "kl", kl, kl_weight)];
        if self.n_free() > 0 && self.config.hsic_weight > 0.0 {
            let value = t.hsic(z, self.n_free(), self.config.hsic_joint); // 7
            terms.push(Term::of_batch("hsic", value, self.config.hsic_weight));
        }
        if let Some(classifier) = self.classifier.as_ref().filter(|_| !batch.label.codes.is_empty()) {
            let logits = classifier.logits(t, batch, z);
            let value = t.cross_entropy(logits, &batch.label.codes); // 9
            terms.push(Term::of_batch("classification", value, self.config.classification_weight));
        }
        terms
    }

    fn classify<'a>(&'a self, t: &mut Tape<'a>, batch: &'a Batch, z: Var) -> Option<Var> {
        self.classifier.as_ref().map(|c| c.logits(t, batch, z)) // 9
    }

    fn stays_frozen(&self) -> Vec<ParamId> {
        self.classifier.iter().flat_map(|c| [c.weight, c.bias]).collect()
    }

    fn whole_from(&self, params: &Params, epochs: usize) -> usize {
        self.programs.iter().map(|p| self.joins(p, params, epochs)).max().unwrap_or(0)
    }

    fn after_step(&self, params: &mut Params, step: &Step) {
        let (rate, c) = (step.learning_rate, &self.config);
        for programs in &self.programs {
            let joins = self.joins(programs, params, step.epochs);
            let tensor = params.get_mut(programs.weight);
            if !tensor.is_trainable() || step.epoch < joins {
                continue;
            }
            let values = &mut tensor.values;
            match programs.membership {
                Membership::Soft => soft_threshold_outside(values, &programs.mask, self.n_genes, c.l1_weight * rate), // 8
                Membership::Free => {
                    let factor = self.new_l1_factor(step.epoch - joins);
                    soft_threshold(values, c.new_l1_weight * rate * factor); // 8
                }
                Membership::Hard => {}
            }
            if programs.of_reference {
                let weight = c.lasso_weight * if c.lasso_anneal { step.annealed } else { 1.0 };
                for j in 0..programs.mask.n_programs() {
                    let span = match programs.membership {
                        Membership::Hard => programs.mask.entries(j),
                        Membership::Soft | Membership::Free => j * self.n_genes..(j + 1) * self.n_genes,
                    };
                    group_lasso(&mut values[span], weight * rate); // 8
                }
            }
        }
    }

    fn first_layers(&self) -> Vec<ParamId> {
        let decoder = self.programs.iter().map(|p| p.weight);
        self.encoder.first_layer().chain([self.decoder_condition]).chain(self.dispersion).chain(decoder).collect()
    }

    fn add_segment(
        &mut self,
        params: &mut Params,
        segment: &Segment,
        n_genes: usize,
        key: Key,
    ) -> Result<(), ModelError> {
        let own = segment.programs.len();
        let known: usize = self.programs.iter().map(|p| p.mask.n_programs()).sum();
        let columns = if self.config.gene_set_start { known + own } else { own };
        let added = add_programs(params, segment, n_genes, columns, self.config.gene_set_start, key);
        let tensor = params.get_mut(added.weight);
        tensor.new_rows = 0..tensor.rows();
        if self.config.new_wait > 0 {
            start_as_known(params.get_mut(self.decoder_condition));
        }
        self.programs.push(added);
        params.grow(Axis::Latent, own, key);
        Ok(())
    }

    fn baseline(&self) -> Option<Baseline> {
        let log = match self.link() {
            Link::Softmax | Link::Exp => true,
            Link::Identity => false,
            Link::Softplus | Link::Relu => return None,
        };
        Some(Baseline { offset: self.decoder_condition, log, dispersion: self.dispersion })
    }

    /// What the reference pruned stays pruned, whatever else a query may change.
    fn frozen_rows(&self, params: &Params) -> Vec<(ParamId, Range<usize>)> {
        let mut out = Vec::new();
        for programs in self.programs.iter().filter(|p| p.of_reference) {
            let values = params.values(programs.weight);
            for j in 0..programs.mask.n_programs() {
                let (rows, span) = match programs.membership {
                    Membership::Hard => (programs.mask.entries(j), programs.mask.entries(j)),
                    Membership::Soft | Membership::Free => (j..j + 1, j * self.n_genes..(j + 1) * self.n_genes),
                };
                if values[span].iter().all(|&w| w == 0.0) {
                    out.push((programs.weight, rows));
                }
            }
        }
        out
    }

    fn without_dropout(&mut self) {
        self.config.dropout = 0.0;
        self.encoder.without_dropout();
    }

    fn program_weights(&self, params: &Params, _header: &Header) -> Option<Vec<f32>> {
        let mut out = Vec::new();
        for programs in &self.programs {
            let values = params.values(programs.weight);
            match programs.membership {
                Membership::Soft | Membership::Free => out.extend_from_slice(values),
                Membership::Hard => {
                    for j in 0..programs.mask.n_programs() {
                        let first = out.len();
                        out.resize(first + self.n_genes, 0.0);
                        for (&g, &w) in programs.mask.genes(j).iter().zip(&values[programs.mask.entries(j)]) {
                            out[first + g as usize] = w;
                        }
                    }
                }
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Granularity, Header, Membership, Model, NewPrograms, Program, Segment, Surgery};

    fn program(name: &str, members: &[u32]) -> Program {
        Program { name: name.into(), members: members.to_vec() }
    }

    /// A graft of a condition, a soft program of genes 1 and 3, and so many free ones.
    fn graft(new_wait: usize, n_free: usize) -> Model {
        graft_of(json!({ "new_wait": new_wait }), n_free)
    }

    fn graft_of(mut settings: Value, n_free: usize) -> Model {
        let header = Header {
            genes: (0..5).map(|g| format!("g{g}")).collect(),
            conditions: vec!["a".into(), "b".into()],
            segments: vec![Segment {
                origin: None,
                membership: Membership::Hard,
                programs: vec![program("p", &[0, 1, 2])],
            }],
            ..Header::default()
        };
        settings["hidden"] = json!([4]);
        let plan = Surgery {
            programs: Some(NewPrograms { constrained: vec![program("q", &[1, 3])], soft: true, n_free }),
            ..Surgery::adaptor("c", vec!["c".into()])
        };
        Model::new("expimap", &settings, header, 1).unwrap().surgery(&plan, 2).unwrap()
    }

    fn values(model: &Model, name: &str) -> Vec<f32> {
        model.params.values(model.params.id(name).unwrap()).to_vec()
    }

    #[test]
    fn new_programs_wait_for_the_baseline() {
        let whole_from = |model: &Model, epochs| model.network.whole_from(&model.params, epochs);
        assert_eq!([400, 40].map(|n| whole_from(&graft(20, 2), n)), [20, 10]);
        assert_eq!(whole_from(&graft(0, 2), 400), 0);
    }

    #[test]
    fn a_graft_with_programs_starts_from_what_is_known() {
        let model = graft(20, 2);
        let w = values(&model, "decoder.programs.c.constrained");
        assert!((0..5).all(|g| if g % 2 == 1 { w[g] > 0.0 } else { w[g] == 0.0 }), "{w:?}");
        // One reference program, one new constrained one: a column of two.
        assert!(w.iter().all(|w| w.abs() <= 0.5f32.sqrt()), "{w:?}");
        let l = values(&model, "decoder.condition");
        assert!((0..5).all(|g| (l[10 + g] - 0.5 * (l[g] + l[5 + g])).abs() < 1e-6), "{l:?}");
        assert!(values(&model, "decoder.programs").iter().all(|&w| w > 0.0));
    }

    #[test]
    fn an_adaptor_trained_onto_new_programs_needs_them() {
        let first = graft(0, 2);
        let reference = first.reference_hash();
        let second = first.surgery(&Surgery::adaptor("d", vec!["d".into()]), 3).unwrap();
        let adaptors = second.adaptors(&reference).unwrap();
        assert_eq!(adaptors[1].origin.onto, ["c"]);
        let header = Header { segments: vec![first.header.segments[0].clone()], ..first.header.clone() };
        let header = Header { conditions: header.conditions[..2].to_vec(), grafts: Vec::new(), ..header };
        let bare = Model::new("expimap", &first.network.config(), header, 1).unwrap();
        assert_eq!(bare.reference_hash(), reference);
        let refused = bare.attach(&adaptors[1..]).unwrap_err().to_string();
        assert!(refused.contains("new programs of `c`"), "{refused}");
        assert_eq!(bare.attach(&adaptors).unwrap().header.grafts.len(), 2);
    }

    #[test]
    fn what_was_pruned_stays_pruned_in_every_surgery() {
        let mut reference = graft(0, 0);
        reference.header.grafts.clear();
        let header = Header { segments: vec![reference.header.segments[0].clone()], ..reference.header.clone() };
        let mut pruned = Model::new("expimap", &json!({ "hidden": [4] }), header, 1).unwrap();
        let id = pruned.params.id("decoder.programs").unwrap();
        pruned.params.get_mut(id).values.fill(0.0);
        let plan = Surgery { granularity: Granularity::All, ..Surgery::adaptor("e", vec!["e".into()]) };
        let all = pruned.surgery(&plan, 2).unwrap();
        assert!(!all.params.get(id).is_trainable());
        assert!(all.params.iter().filter(|p| p.name != "decoder.programs").all(|p| p.is_trainable()));
    }

    #[test]
    fn published_programs_start_with_random_signs_on_all_genes() {
        let model = graft_of((super::ENTRY.published_settings)(), 2);
        let all = ["decoder.programs", "decoder.programs.c.constrained"].map(|tensor| values(&model, tensor)).concat();
        assert!(all.iter().all(|&w| w != 0.0) && all.iter().any(|&w| w < 0.0), "{all:?}");
    }
}
