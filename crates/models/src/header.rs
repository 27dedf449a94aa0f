//! What a model knows about the world: names, in the order of its tensors' axes.

use std::ops::Range;

use scgraft_cells::Known;
use scgraft_engine::Mask;
use serde::{Deserialize, Serialize};

/// Names of a model's genes, conditions and programs, and how they came to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Genes, in order.
    pub genes: Vec<String>,
    /// Conditions, in order; the reference's first.
    pub conditions: Vec<String>,
    /// Cell-type labels of models that learn them.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Proteins of models that have them.
    #[serde(default)]
    pub proteins: Vec<String>,
    /// Further categorical covariates with their levels.
    #[serde(default)]
    pub covariates: Vec<(String, Vec<String>)>,
    /// Continuous covariates.
    #[serde(default)]
    pub continuous: Vec<String>,
    /// Cells of models that have a vector per cell ([`scgraft_cells::Prepared::cell_identities`]); empty for the
    /// others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<String>,
    /// Gene programs by segment, in the order of the latent dimensions; empty for models without.
    #[serde(default)]
    pub segments: Vec<Segment>,
    /// The grafts: what each surgery added, in the order of the axes.
    #[serde(default)]
    pub grafts: Vec<Origin>,
}

/// A surgery, and how much of each axis it added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The name of the graft.
    pub name: String,
    /// The conditions it added.
    pub conditions: Vec<String>,
    /// How many programs it added.
    pub n_programs: usize,
    /// The cells it added, for models that have a vector per cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<String>,
    /// The grafts whose new programs were in the decoder when it was trained: without them its weights mean something
    /// else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub onto: Vec<String>,
}

/// How the gene sets of a segment bind its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Membership {
    /// Only member genes have a weight.
    Hard,
    /// Every gene has a weight; those outside the set are held down by L1.
    Soft,
    /// No gene set: every weight is free, held down by L1.
    Free,
}

/// Programs whose weights are stored together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The graft that brought it; `None` for the reference.
    pub origin: Option<String>,
    /// How gene sets bind it.
    pub membership: Membership,
    /// Its programs, in order.
    pub programs: Vec<Program>,
}

/// A gene program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Full name.
    pub name: String,
    /// Member genes, as increasing indices into the model's genes; empty for a free program.
    pub members: Vec<u32>,
}

impl Segment {
    /// The name of its weight tensor.
    pub fn tensor(&self) -> String {
        let kind = match self.membership {
            Membership::Free => "free",
            Membership::Hard | Membership::Soft => "constrained",
        };
        match &self.origin {
            None => "decoder.programs".to_owned(),
            Some(origin) => format!("decoder.programs.{origin}.{kind}"),
        }
    }

    /// Its gene sets as a pattern of weights.
    pub fn mask(&self, n_genes: usize) -> Mask {
        let members: Vec<Vec<u32>> = self.programs.iter().map(|p| p.members.clone()).collect();
        Mask::new(n_genes, &members)
    }
}

impl Header {
    /// All programs in the order of the latent dimensions, each with its segment.
    pub fn programs(&self) -> impl Iterator<Item = (&Segment, &Program)> {
        self.segments.iter().flat_map(|s| s.programs.iter().map(move |p| (s, p)))
    }

    /// Number of programs.
    pub fn n_programs(&self) -> usize {
        self.segments.iter().map(|s| s.programs.len()).sum()
    }

    /// Number of conditions the reference was trained on.
    pub fn n_reference_conditions(&self) -> usize {
        self.conditions.len() - self.grafts.iter().map(|g| g.conditions.len()).sum::<usize>()
    }

    /// Rows of the conditions that were added last: the latest graft's, or all of a reference.
    pub fn latest_conditions(&self) -> Range<usize> {
        let n = self.conditions.len();
        self.grafts.last().map_or(0..n, |g| n - g.conditions.len()..n)
    }

    /// What a query is prepared against.
    pub fn known(&self) -> Known {
        Known {
            genes: self.genes.clone(),
            conditions: self.conditions.clone(),
            labels: self.labels.clone(),
            covariates: self.covariates.clone(),
            continuous: self.continuous.clone(),
            proteins: self.proteins.clone(),
            cells: self.cells.clone(),
        }
    }
}

/// One line of a training history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Learning rate in this epoch.
    pub learning_rate: f32,
    /// Weight of the KL term in this epoch.
    pub kl_weight: f32,
    /// Mean of each loss term over the training cells, by name.
    pub train: Vec<(String, f64)>,
    /// The same over the validation cells; empty without validation.
    pub validation: Vec<(String, f64)>,
    /// The validation loss by which training stops: every term with the weight that training reaches.
    pub validation_loss: Option<f64>,
}
