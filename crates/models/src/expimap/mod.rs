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
//! 1. a₁ = log(1 + x) U + b + A[s],   aᵢ = hᵢ₋₁ Vᵢᵀ + bᵢ
//! 2. hᵢ = dropout(relu(norm(aᵢ)))
//! 3. m = h Mᵀ + b_m,   λ = h Λᵀ + b_λ,   q(z) = N(m, exp(λ) + 10⁻⁴)
//!
//! Generation
//! 4. f = W z + L[s]
//! 5. μ = ℓ softmax(f)   (or exp, softplus, relu of f; identity for squared error)
//! 6. x ~ NB(μ, θ),  θ = exp(Θ[s])   (or squared error)
//!
//! Loss
//! 7. E[−ln p(x | z)] + w_kl KL(q ‖ N(0, 1)) + w_hsic Σ_new √HSIC(z_new, z_rest), new: free programs, of a reference in
//!    its training and of a query in surgery
//! 8. after each step of size η: soft threshold η·w_l1 outside soft gene sets; group lasso
//!    η·w_lasso on each reference program, free ones among them; soft threshold η·w_new on free programs
//!
//! With labels, some of which may be missing
//! 9. p(y | z) = softmax(C z + c);   the loss gains w_class times −ln p(y | z), mean over the labelled cells. C starts at 0,
//!    and no surgery trains it: new programs do not enter.
//! 10. w_align B/W, the variance of m between conditions within labels, beyond chance, as a share of that within both: what
//!    a study adds to the cells of one label is kept out of the scores
//!
//! | paper | meaning | tensor | shape | upstream name |
//! |---|---|---|---|---|
//! | U, b | first layer | `encoder.input.weight`, `.bias` | gene × hidden, hidden | `encoder.FC.L0.expr_L` |
//! | A | condition in the encoder | `encoder.input.condition` | condition × hidden | `encoder.FC.L0.cond_L` |
//! | Vᵢ, bᵢ | further layers | `encoder.<i>.weight`, `.bias` | hidden × hidden | `encoder.FC.L<i>` |
//! | – | batch norm, where chosen | `encoder.<i>.norm…` | hidden | `encoder.FC.N<i>` |
//! | M, b_m | posterior mean | `encoder.mean.weight`, `.bias` | latent × hidden | `encoder.mean_encoder`, `expand_mean_encoder` |
//! | Λ, b_λ | posterior log-variance | `encoder.log_variance.weight`, `.bias` | latent × hidden | `encoder.log_var_encoder`, `expand_var_encoder` |
//! | W | program weights | `decoder.programs…`, `decoder.free` of a reference | entry, or program × gene | `decoder.L0.expr_L`, `ext_L_m`, `ext_L` |
//! | L | condition in the decoder | `decoder.condition` | condition × gene | `decoder.L0.cond_L` |
//! | Θ | log inverse dispersion | `dispersion` | condition × gene | `theta` |
//! | C, c | classifier of labels, where there are any | `classifier.weight`, `.bias` | latent × label, label | none |

mod classifier;
mod programs;
mod start;

use scgraft_engine::{Axis, Dispersion, Init, InputScale, Link, Ops, ParamId, Params, Role, Var};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::classifier::LinearClassifier;
use self::programs::SegmentWeights;
use crate::encoder::{Encoder, Hidden, scarches_values};
use crate::layers::Norm;
use crate::settings::{check_weight, parse};
use crate::{
    Baseline, Batch, Classifier, Decoded, Distribution, Epochs, Facts, Header, Input, Loss, ModelEntry, ModelError,
    Network, Posterior, Programs, Step, Term, Training, VARIANCE_FLOOR,
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
    training: Training::REFERENCE,
    mapping: Training::SURGERY,
    mapping_settings: || json!({ "kl_weight": 0.1, "lasso_anneal": false }),
    published_training: (Training::SCARCHES, Training { epochs: Epochs::Fixed(200), ..Training::SCARCHES }),
    published_settings: || json!({ "gene_set_start": false, "lasso_anneal": false, "new_wait": 0, "frozen_norm_by_batch": true }),
    small: || json!({ "hidden": [10, 8], "dropout": 0.0 }),
    build,
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
    /// Whether constrained programs start as their gene sets (nothing outside, and inside all in one direction), a
    /// reference's with scores and weights of a factor analysis (unless its norm is batch norm), and all new ones as small
    /// as the reference's. The published code starts them with random signs, soft ones on all genes, new ones larger the
    /// fewer they are.
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
    /// Weight of the variance between conditions within labels, as a share of that within both, for a reference with labels.
    /// 30 mixes studies better, and programs tell less of what differs within a label.
    pub alignment_weight: f32,
    /// HSIC of all free programs jointly, instead of one against all.
    pub hsic_joint: bool,
    /// The penalty is √HSIC, as in the published code; without, HSIC itself, as the paper writes it.
    #[serde(skip_serializing_if = "is_on")]
    pub hsic_root: bool,
    /// In surgery, frozen batch norms use the query batch's statistics, as the published code does. By default
    /// they use the reference's, so that the frozen encoder stays the same function.
    pub frozen_norm_by_batch: bool,
}

/// What is on unless one says otherwise is not written, so that files of before are the same bytes.
fn is_on(on: &bool) -> bool {
    *on
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
            alignment_weight: 0.0,
            hsic_joint: false,
            hsic_root: true,
            frozen_norm_by_batch: false,
        }
    }
}

impl ExpimapConfig {
    /// All weights of terms and penalties.
    fn weights(&self) -> [(&'static str, f32); 7] {
        [
            ("kl_weight", self.kl_weight),
            ("lasso_weight", self.lasso_weight),
            ("l1_weight", self.l1_weight),
            ("new_l1_weight", self.new_l1_weight),
            ("hsic_weight", self.hsic_weight),
            ("classification_weight", self.classification_weight),
            ("alignment_weight", self.alignment_weight),
        ]
    }

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

#[derive(Debug)]
struct Expimap {
    config: ExpimapConfig,
    n_genes: usize,
    encoder: Encoder,
    programs: Vec<SegmentWeights>,
    /// Number of free programs that HSIC is of: the last latent dimensions, but not a reference's in surgery.
    n_free: usize,
    decoder_condition: ParamId,
    dispersion: Option<ParamId>,
    classifier: Option<LinearClassifier>,
}

fn build(config: &Value, header: &Header) -> Result<(Params, Box<dyn Network>), ModelError> {
    let config: ExpimapConfig = parse(ENTRY.name, config)?;
    config.layers().check(ENTRY.name)?;
    for (name, weight) in config.weights() {
        check_weight(ENTRY.name, name, weight)?;
    }
    let wrong = |expected, found| Err(ModelError::setting(ENTRY.name, "output", expected, found));
    if config.likelihood == Likelihood::Mse && config.output == Some(Output::Softmax) {
        return wrong("softplus, exp, relu or identity with squared error", "softmax");
    }
    if config.likelihood == Likelihood::Nb && config.output == Some(Output::Identity) {
        return wrong("a positive mean (softmax, softplus, exp, relu) with nb", "identity");
    }

    let mut p = Params::new();
    let (genes, conditions) = (header.genes.len(), header.conditions.len());
    let encoder = Encoder::add(&mut p, (genes, conditions, header.n_programs()), &config.layers());
    let by_gene = [(Axis::Condition, conditions), (Axis::Gene, genes)];
    let decoder_condition = p.declare("decoder.condition", &by_gene, Init::FanIn(conditions));
    let counts = config.likelihood == Likelihood::Nb;
    let dispersion = counts.then(|| p.declare("dispersion", &by_gene, Init::Normal(1.0)));
    p.set_role(Role::FirstLayer, [decoder_condition].into_iter().chain(dispersion));
    let mut programs = Vec::with_capacity(header.segments.len());
    let mut before = 0;
    for segment in &header.segments {
        programs.push(SegmentWeights::new(&mut p, &config, segment, before, genes));
        before += segment.programs.len();
    }
    let classifier = LinearClassifier::new(&mut p, header);
    let of_graft = header.segments.last().is_some_and(|s| s.origin.is_some());
    let counts = of_graft || header.grafts.is_empty();
    let n_free = programs.last().filter(|_| counts).map_or(0, SegmentWeights::n_free);
    let network =
        Expimap { config, n_genes: genes, encoder, programs, n_free, decoder_condition, dispersion, classifier };
    Ok((p, Box::new(network)))
}

impl Expimap {
    fn link(&self) -> Link {
        let default = match self.config.likelihood {
            Likelihood::Nb => Output::Softmax,
            Likelihood::Mse => Output::Identity,
        };
        self.config.output.unwrap_or(default).link()
    }

    /// 4, 5 and 6 with the programs that have joined.
    fn decode<'a>(
        &'a self,
        t: &mut dyn Ops<'a>,
        batch: &'a Batch,
        z: Var,
        joined: impl Fn(&SegmentWeights) -> bool,
    ) -> Decoded<'a> {
        let weights = |s: &'a SegmentWeights| if joined(s) { s.weights() } else { s.absent() };
        let segments = self.programs.iter().map(weights).collect();
        let condition = Some((self.decoder_condition, &batch.condition));
        let f = t.decode_programs(z, self.n_genes, segments, condition); // 4
        let rate = t.mean_of(f, self.link(), &batch.library); // 5
        let distribution = match self.dispersion {
            Some(theta) => Distribution::NegativeBinomial(Dispersion::Grouped(theta, &batch.condition)), // 6
            None => Distribution::SquaredError,                                                          // 6
        };
        Decoded { rate, distribution, normalised: self.link() == Link::Softmax }
    }
}

impl Network for Expimap {
    fn config(&self) -> Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }

    fn facts(&self) -> Facts {
        let input_scale = match self.config.likelihood {
            Likelihood::Nb => InputScale::Log1p,
            Likelihood::Mse => InputScale::Identity,
        };
        let log = match self.link() {
            Link::Softmax | Link::Exp => Some(true),
            Link::Identity => Some(false),
            Link::Softplus | Link::Relu => None,
        };
        let (offset, dispersion) = (self.decoder_condition, self.dispersion);
        let baseline = log.map(|log| Baseline { offset, log, dispersion });
        // Running statistics of a batch norm that has seen nothing are not those of training.
        let scores = (self.config.gene_set_start && self.config.norm != Norm::Batch).then(|| self.encoder.mean());
        Facts { input_scale, kl_weight: self.config.kl_weight, baseline, scores, ..Facts::default() }
    }

    fn inference<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch) -> Posterior {
        self.encoder.inference(t, batch) // 1, 2, 3
    }

    fn generative<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var, _: Option<Var>) -> Decoded<'a> {
        self.decode(t, batch, z, |_| true)
    }

    fn loss<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, step: &Step) -> Loss {
        let kl_weight = self.config.kl_weight * step.annealed;
        let q = self.inference(t, batch);
        let z = t.gaussian_sample(q.mean, q.log_variance, VARIANCE_FLOOR); // 3
        let params = t.params();
        let joined = |s: &SegmentWeights| step.epoch >= self.joins(s, params, step.epochs);
        let reconstruction = self.decode(t, batch, z, joined).reconstruction(t, batch); // 6
        let kl = t.kl_standard_normal(q.mean, q.log_variance, VARIANCE_FLOOR); // 7
        let mut terms =
            vec![Term::of_cells(t, "reconstruction", reconstruction, 1.0), Term::of_cells(t, "kl", kl, kl_weight)];
        if self.n_free > 0 && self.config.hsic_weight > 0.0 {
            let value = t.hsic(z, self.n_free, self.config.hsic_joint, self.config.hsic_root); // 7
            terms.push(Term::of_batch("hsic", value, self.config.hsic_weight));
        }
        if let Some(classifier) = self.classifier.as_ref().filter(|_| !batch.label.codes.is_empty()) {
            let logits = classifier.logits(t, batch, z);
            let value = t.cross_entropy(logits, &batch.label.codes); // 9
            terms.push(Term::of_batch("classification", value, self.config.classification_weight));
            if self.config.alignment_weight > 0.0 {
                let value = t.alignment(q.mean, &batch.label.codes, classifier.n_labels(), &batch.condition); // 10
                terms.push(Term::of_batch("alignment", value, self.config.alignment_weight));
            }
        }
        terms
    }

    fn after_step(&self, params: &mut Params, step: &Step) {
        self.hold_down(params, step); // 8
    }

    fn programs(&self) -> Option<&dyn Programs> {
        Some(self)
    }

    fn classifier(&self) -> Option<&dyn Classifier> {
        self.classifier.as_ref().map(|c| c as &dyn Classifier)
    }
}

#[cfg(test)]
mod tests {
    use scgraft_cells::Known;
    use serde_json::{Value, json};

    use crate::{Granularity, Header, Membership, Model, NewPrograms, Newcomers, Program, Segment, Surgery};

    fn program(name: &str, members: &[u32]) -> Program {
        Program { name: name.into(), members: members.to_vec() }
    }

    /// A graft of a condition, a soft program of genes 1 and 3, and so many free ones.
    fn graft(new_wait: usize, n_free: usize) -> Model {
        graft_of(json!({ "new_wait": new_wait }), n_free)
    }

    fn graft_of(mut settings: Value, n_free: usize) -> Model {
        let genes = (0..5).map(|g| format!("g{g}")).collect();
        let header = Header {
            known: Known { genes, conditions: vec!["a".into(), "b".into()], ..Known::default() },
            segments: vec![Segment {
                origin: None,
                membership: Membership::Hard,
                programs: vec![program("p", &[0, 1, 2])],
            }],
            ..Header::default()
        };
        settings["hidden"] = json!([4]);
        let new = NewPrograms { constrained: vec![program("q", &[1, 3])], soft: true, n_free };
        let plan = Surgery { programs: Some(new), ..Surgery::adaptor("c") };
        Model::new("expimap", &settings, header, 1).unwrap().surgery(&plan, &Newcomers::of(["c"]), 2).unwrap()
    }

    fn values(model: &Model, name: &str) -> Vec<f32> {
        model.params.values(model.params.id(name).unwrap()).to_vec()
    }

    #[test]
    fn new_programs_wait_for_the_baseline() {
        let whole_from = |model: &Model, epochs| model.network.programs().unwrap().all_from(&model.params, epochs);
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
    fn a_reference_may_have_free_programs() {
        let genes = (0..5).map(|g| format!("g{g}")).collect();
        let segment = |membership, programs| Segment { origin: None, membership, programs };
        let header = Header {
            known: Known { genes, conditions: vec!["a".into(), "b".into()], ..Known::default() },
            segments: vec![
                segment(Membership::Hard, vec![program("p", &[0, 1, 2])]),
                segment(Membership::Free, vec![program("free_1", &[]), program("free_2", &[])]),
            ],
            ..Header::default()
        };
        let made = || Model::new("expimap", &json!({ "hidden": [4] }), header.clone(), 1).unwrap();
        let model = made();
        let free = values(&model, "decoder.free");
        assert_eq!(free.len(), 10);
        assert!(free.iter().all(|w| *w != 0.0 && w.abs() <= 1.0 / 3f32.sqrt()), "{free:?}");
        // It is part of the reference: of its hash, of every surgery, and no surgery trains it.
        let graft = model.surgery(&Surgery::adaptor("c"), &Newcomers::of(["c"]), 2).unwrap();
        assert_eq!(graft.reference_hash(), model.reference_hash());
        assert!(!graft.params.get(graft.params.id("decoder.free").unwrap()).is_trainable());
        let mut other = made();
        let id = other.params.id("decoder.free").unwrap();
        other.params.write(id)[3] += 1.0;
        assert_ne!(other.reference_hash(), model.reference_hash());
        let attached = model.attach(&graft.adaptors(&model.reference_hash()).unwrap()).unwrap();
        assert_eq!(values(&attached, "decoder.free"), free);
    }

    #[test]
    fn an_adaptor_trained_onto_new_programs_needs_them() {
        let first = graft(0, 2);
        let reference = first.reference_hash();
        let second = first.surgery(&Surgery::adaptor("d"), &Newcomers::of(["d"]), 3).unwrap();
        let adaptors = second.adaptors(&reference).unwrap();
        assert_eq!(adaptors[1].origin.onto, ["c"]);
        let header = Header { segments: vec![first.header.segments[0].clone()], ..first.header.clone() };
        let known = Known { conditions: header.conditions[..2].to_vec(), ..header.known };
        let header = Header { known, grafts: Vec::new(), segments: header.segments };
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
        pruned.params.write(id).fill(0.0);
        let plan = Surgery { granularity: Granularity::All, ..Surgery::adaptor("e") };
        let all = pruned.surgery(&plan, &Newcomers::of(["e"]), 2).unwrap();
        assert!(!all.params.get(id).is_trainable());
        assert!(all.params.iter().filter(|p| p.name != "decoder.programs").all(|p| p.is_trainable()));
    }

    #[test]
    fn weights_below_zero_are_refused() {
        let mut header = graft(0, 0).header;
        header.grafts.clear();
        header.segments.truncate(1);
        for name in ["kl_weight", "hsic_weight", "alignment_weight"] {
            let error = Model::new("expimap", &json!({ name: -1.0 }), header.clone(), 1).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("at least 0"), "{error}");
        }
    }

    #[test]
    fn published_programs_start_with_random_signs_on_all_genes() {
        let model = graft_of((super::ENTRY.published_settings)(), 2);
        let all = ["decoder.programs", "decoder.programs.c.constrained"].map(|tensor| values(&model, tensor)).concat();
        assert!(all.iter().all(|&w| w != 0.0) && all.iter().any(|&w| w < 0.0), "{all:?}");
    }
}
