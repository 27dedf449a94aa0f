//! Labels told by program scores: equation 9.

use scgraft_engine::{Axis, Init, Layout, Ops, ParamId, Params, ProgramWeights, Role, Var};

use crate::{Batch, Classifier, Header};

/// p(y | z) = softmax(C z + c); no surgery trains it.
#[derive(Debug)]
pub(super) struct LinearClassifier {
    /// C, program × label.
    weight: ParamId,
    /// c
    bias: ParamId,
    n_labels: usize,
}

impl LinearClassifier {
    /// Declares the tensors; `None` for a header without labels.
    pub(super) fn new(p: &mut Params, header: &Header) -> Option<LinearClassifier> {
        let labels = (Axis::Label, header.labels.len());
        if labels.1 == 0 {
            return None;
        }
        let zero = Init::Constant(0.0);
        let weight = p.declare("classifier.weight", &[(Axis::Latent, header.n_programs()), labels], zero.clone());
        let bias = p.declare("classifier.bias", &[(Axis::One, 1), labels], zero);
        p.set_role(Role::Kept, [weight, bias]);
        Some(LinearClassifier { weight, bias, n_labels: labels.1 })
    }
}

impl LinearClassifier {
    pub(super) fn n_labels(&self) -> usize {
        self.n_labels
    }
}

impl Classifier for LinearClassifier {
    fn logits<'a>(&'a self, t: &mut dyn Ops<'a>, batch: &'a Batch, z: Var) -> Var {
        let weight = vec![ProgramWeights::Dense(self.weight)];
        let logits = t.decode_programs(z, self.n_labels, weight, Some((self.bias, &batch.one)));
        t.to_layout(logits, Layout::ByCell) // 9
    }
}
