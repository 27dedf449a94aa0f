//! scANVI: scVI with cell labels, some of which may be missing.
//!
//! Xu et al., *Probabilistic harmonization and annotation of single-cell transcriptomics data with deep generative
//! models*, Molecular Systems Biology 2021.
//!
//! Use it when the reference has labels and the query is to get them from the model itself. The labels shape the latent
//! space, so types that no label tells apart lie together, and a type that the labels do not know is given one of them.
//!
//! Inference
//! 1. q(z₁ | x, s) and ℓ as in scVI, equations 1–3
//! 2. p(y = k | z₁) = softmax_k NN_y(z₁)
//! 3. q(z₂ | z₁, k) = N(m₂, exp(λ₂) + 10⁻⁴),   (m₂, λ₂) = NN₂(z₁, k)
//!
//! Generation
//! 4. p(z₁ | z₂, k) = N(μ₁, exp(λ₁)),   (μ₁, λ₁) = NN₁(z₂, k)
//! 5. p(x | z₁, s) as in scVI, equations 4–7
//!
//! Loss
//! 6. E[−ln p(x | z₁, ℓ)]
//! 7. + ln q(z₁ | x) − Σ_k p(k) ln p(z₁ | z₂, k)
//! 8. + w_kl [Σ_k p(k) KL(q(z₂ | z₁, k) ‖ N(0, 1)) + KL(p(y) ‖ uniform) + KL(q(ln ℓ) ‖ prior)]
//! 9. + w_c · mean over a minibatch of labelled cells of −ln p(y = label | E[z₁])
//!
//! In 7 and 8 p(k) is p(y = k | z₁) for every cell, as scvi-tools has it. With `label_in_bound` it is 1 at the label of a
//! labelled cell, as the papers write L_labelled; KL(p(y) ‖ uniform) then is −ln p(label).
//!
//! Besides the tensors of scVI:
//!
//! | paper | meaning | tensor | shape | upstream name |
//! |---|---|---|---|---|
//! | q(c \| z) | classifier | `classifier.<i>.…`, `classifier.logits.…` | label × hidden | `classifier.classifier` |
//! | q(u \| z, c) | encoder of z₂ | `z2_encoder.<i>.…`, `.mean.…`, `.log_variance.…` | latent × hidden | `encoder_z2_z1` |
//! | p(z \| u, c) | decoder of z₁ | `z1_decoder.<i>.…`, `.mean.…`, `.log_variance.…` | latent × hidden | `decoder_z1_z2` |

use scgraft_engine::{Axis, Layout, Ops, Params, Role, Shape, Var};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::layers::{Affine, Gaussian, Inject, Stack, StackPlan};
use crate::scvi::{self, Scvi};
use crate::settings::{check_weight, parse};
use crate::{
    Batch, Classifier, Decoded, Facts, Header, InferredLibrary, Input, Loss, ModelEntry, ModelError, Network,
    Posterior, Programs, ScviConfig, Statistics, Step, Term, VARIANCE_FLOOR,
};

pub(crate) const ENTRY: ModelEntry = ModelEntry {
    name: "scanvi",
    summary: "scVI with cell labels, some of which may be missing (scANVI)",
    needs: &[Input::Labels],
    takes: &[Input::Covariates],
    gives: "label probabilities, normalised expression, differential expression, likelihoods",
    when: "the reference has labels that the query is to get, and the latent space may follow them",
    cite: &[crate::citations::SCANVI, crate::citations::SCVI, crate::citations::SCARCHES],
    build,
    ..scvi::ENTRY
};

/// What scANVI adds to [`ScviConfig`]; in files and on the command line both stand side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScanviConfig {
    /// Weight of the classification (upstream `classification_ratio`).
    pub classification_weight: f64,
    /// A classifier without hidden layers (upstream `linear_classifier`).
    pub linear_classifier: bool,
    /// The classifier stays as it is in every surgery (upstream `freeze_classifier`).
    pub freeze_classifier: bool,
    /// The bound takes a labelled cell at its label, as the papers write it, instead of over all labels.
    pub label_in_bound: bool,
}

impl Default for ScanviConfig {
    fn default() -> Self {
        ScanviConfig {
            classification_weight: 50.0,
            linear_classifier: false,
            freeze_classifier: true,
            label_in_bound: false,
        }
    }
}

impl ScanviConfig {
    /// Own settings, and those of scVI.
    fn parse(config: &Value) -> Result<(ScanviConfig, ScviConfig), ModelError> {
        const OWN: [&str; 4] = ["classification_weight", "linear_classifier", "freeze_classifier", "label_in_bound"];
        let all = config.as_object().cloned().unwrap_or_default();
        let (own, others): (Map<_, _>, Map<_, _>) = all.into_iter().partition(|(name, _)| OWN.contains(&&name[..]));
        let own: ScanviConfig = parse(ENTRY.name, &Value::Object(own))?;
        check_weight(ENTRY.name, "classification_weight", own.classification_weight)?;
        Ok((own, parse(ENTRY.name, &Value::Object(others))?))
    }
}

/// NN_y
#[derive(Debug)]
struct LabelLayers {
    stack: Option<Stack>,
    logits: Affine,
}

#[derive(Debug)]
struct Scanvi {
    own: ScanviConfig,
    scvi: Scvi,
    classifier: LabelLayers,
    z2: Gaussian,
    z1: Gaussian,
    /// Prior of the labels.
    prior: Vec<f32>,
}

fn build(config: &Value, header: &Header) -> Result<(Params, Box<dyn Network>), ModelError> {
    let (own, config) = ScanviConfig::parse(config)?;
    let mut p = Params::new();
    let scvi = Scvi::new(&mut p, ENTRY.name, config, header)?;
    let c = &scvi.config;
    let (latent, labels) = ((Axis::Latent, c.latent), (Axis::Label, header.labels.len()));
    let plan = |prefix, hidden| StackPlan {
        prefix,
        input: latent,
        hidden,
        norm: c.norm(c.encoder_norm),
        dropout: c.dropout as f32,
        inject: Inject::Nowhere,
        labels: false,
        proteins: 0,
        first: Role::Inner,
    };
    let before = p.iter().count();
    let stack = (!own.linear_classifier).then(|| Stack::new(&mut p, &plan("classifier", &c.hidden), header));
    let inputs = if own.linear_classifier { c.latent } else { c.hidden[c.hidden.len() - 1] };
    let classifier = LabelLayers { stack, logits: Affine::new(&mut p, "classifier.logits", labels, inputs) };
    if own.freeze_classifier {
        p.set_role(Role::Kept, p.ids().skip(before));
    }
    let encoder = StackPlan { labels: true, ..plan("z2_encoder", &c.hidden) };
    let z2 = Gaussian::new(&mut p, &encoder, latent, header);
    let reversed: Vec<usize> = c.hidden.iter().rev().copied().collect();
    let decoder = StackPlan { norm: c.norm(c.decoder_norm), dropout: 0.0, ..plan("z1_decoder", &reversed) };
    let z1 = Gaussian::new(&mut p, &StackPlan { labels: true, ..decoder }, latent, header);
    let prior = vec![1.0 / labels.1 as f32; labels.1];
    Ok((p, Box::new(Scanvi { own, scvi, classifier, z2, z1, prior })))
}

impl Classifier for Scanvi {
    fn logits<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var) -> Var {
        let h = match &self.classifier.stack {
            Some(stack) => stack.of(t, batch, z),
            None => z,
        };
        self.classifier.logits.apply(t, h, Layout::ByCell) // 2
    }

    fn wants_labelled(&self) -> bool {
        true
    }
}

/// Logits whose softmax is exactly 1 at the label of each labelled cell; no gradient reaches those of such a cell.
fn at_their_labels<'a>(t: &mut dyn Ops<'a>, batch: &Batch, logits: Var) -> Var {
    /// So far above all other logits that e^−x of the difference is 0.
    const SURE: f32 = 1e6;
    let shape = t.shape(logits);
    let mut known = vec![0.0; shape.len()];
    for (row, &label) in known.chunks_exact_mut(shape.features).zip(&batch.label.codes) {
        if let Some(at) = row.get_mut(label as usize) {
            *at = SURE;
        }
    }
    let known = t.constant(shape, &known);
    t.add(logits, known)
}

impl Network for Scanvi {
    fn config(&self) -> Value {
        let mut out = self.scvi.config();
        if let (Value::Object(all), Ok(Value::Object(own))) = (&mut out, serde_json::to_value(&self.own)) {
            all.extend(own);
        }
        out
    }

    fn facts(&self) -> Facts {
        Facts { standard_prior: false, ..self.scvi.facts() }
    }

    fn inference<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch) -> Posterior {
        self.scvi.inference(t, batch) // 1
    }

    fn generative<'a>(
        &'a self,
        t: &mut dyn Ops<'a>,
        batch: &'a Batch,
        z: Var,
        log_library: Option<Var>,
    ) -> Decoded<'a> {
        self.scvi.generative(t, batch, z, log_library) // 5
    }

    fn loss<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, step: &Step) -> Loss {
        let kl_weight = self.scvi.config.kl_weight as f32 * step.annealed;
        let q = self.inference(t, batch);
        let (z1, log_library) = q.sample(t); // 1
        let reconstruction = self.generative(t, batch, z1, log_library).reconstruction(t, batch); // 6

        let logits = self.logits(t, batch, z1);
        let logits = if self.own.label_in_bound { at_their_labels(t, batch, logits) } else { logits };
        let p = t.softmax(logits); // 2
        let (m2, l2) = self.z2.of(t, batch, z1); // 3, a row for each label and cell
        let z2 = t.gaussian_sample(m2, l2, VARIANCE_FLOOR); // 3
        let (m1, l1) = self.z1.of(t, batch, z2); // 4
        let under_labels = t.negative_log_normal(z1, m1, l1, 0.0); // 4
        let minus_log_prior = t.mix_labels(p, under_labels); // 7
        let minus_log_posterior = t.negative_log_normal(z1, q.mean, q.log_variance, VARIANCE_FLOOR);
        let log_posterior = t.times(minus_log_posterior, -1.0);
        let kl_z1 = t.add(minus_log_prior, log_posterior); // 7

        let kl_z2 = t.kl_standard_normal(m2, l2, VARIANCE_FLOOR);
        let kl_z2 = t.mix_labels(p, kl_z2); // 8
        let kl_label = t.categorical_kl(p, &self.prior); // 8
        let mut terms = vec![
            Term::of_cells(t, "reconstruction", reconstruction, 1.0),
            Term::of_cells(t, "kl_z1", kl_z1, 1.0),
            Term::of_cells(t, "kl_z2", kl_z2, kl_weight),
            Term::of_cells(t, "kl_label", kl_label, kl_weight),
        ];
        if let Some(kl) = self.scvi.library_kl(t, batch, &q) {
            terms.push(Term::of_cells(t, "kl_library", kl, kl_weight)); // 8
        }
        let classification = match &batch.labelled {
            Some(labelled) => {
                let q = self.inference(t, labelled);
                let logits = self.logits(t, labelled, q.mean);
                t.cross_entropy(logits, &labelled.label.codes) // 9
            }
            None => t.constant(Shape::by_cell(1, 1), &[0.0]),
        };
        terms.push(Term::of_batch("classification", classification, self.own.classification_weight as f32));
        terms
    }

    fn programs(&self) -> Option<&dyn Programs> {
        self.scvi.programs()
    }

    fn classifier(&self) -> Option<&dyn Classifier> {
        Some(self)
    }

    fn library(&self) -> Option<&dyn InferredLibrary> {
        self.scvi.library()
    }

    fn statistics(&self) -> Option<&dyn Statistics> {
        self.scvi.statistics()
    }
}
