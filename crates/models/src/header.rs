//! What a model knows about the world: names, in the order of its tensors' axes.

use std::collections::HashSet;
use std::ops::{Deref, Range};

use scgraft_cells::Known;
use scgraft_engine::Mask;
use serde::{Deserialize, Serialize};

/// Names of a model's genes, conditions and programs, and how they came to it.
///
/// What the model knows of the data reads as the header's own: `header.genes` is `header.known.genes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// What a query is prepared against; of conditions and cells, the reference's come first.
    #[serde(flatten)]
    pub known: Known,
    /// Gene programs by segment, in the order of the latent dimensions; empty for models without.
    #[serde(default)]
    pub segments: Vec<Segment>,
    /// The grafts: what each surgery added, in the order of the axes.
    #[serde(default)]
    pub grafts: Vec<Origin>,
}

impl Deref for Header {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl From<Known> for Header {
    /// Without programs and grafts.
    fn from(known: Known) -> Header {
        Header { known, ..Header::default() }
    }
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
    /// How many cells each of its conditions had, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub n_cells: Vec<usize>,
    /// The grafts whose new programs were in the decoder when it was trained: without them its weights mean something
    /// else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub onto: Vec<String>,
    /// How its cells were prepared where that was not the usual way, by name of the setting: those cells may come again.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub taken: serde_json::Map<String, serde_json::Value>,
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

/// Whether a graft brings as many programs as it says.
pub(crate) fn check_programs(graft: &Origin, segments: &[Segment]) -> Result<(), String> {
    let found: usize = segments.iter().map(|s| s.programs.len()).sum();
    if found != graft.n_programs {
        return Err(format!("graft `{}` is said to add {} programs, and brings {found}", graft.name, graft.n_programs));
    }
    Ok(())
}

/// Refuses two of one name, and one without a name.
pub(crate) fn once<'n>(what: &str, names: impl Iterator<Item = &'n String>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        if name.is_empty() {
            return Err(format!("it has a {what} without a name"));
        }
        if !seen.insert(name) {
            return Err(format!("it has two of the {what} `{name}`"));
        }
    }
    Ok(())
}

/// What is left of an axis before the names that a graft put at its end.
fn ends_with<'n>(graft: &str, what: &str, axis: &'n [String], own: &[String]) -> Result<&'n [String], String> {
    axis.strip_suffix(own).ok_or_else(|| format!("the {what} of graft `{graft}` are not where grafts put them"))
}

impl Segment {
    /// Whether every program's members are genes, in increasing order.
    pub(crate) fn check(&self, n_genes: usize) -> Result<(), String> {
        for program in &self.programs {
            if let Some(&out) = program.members.iter().find(|&&g| g as usize >= n_genes) {
                return Err(format!("program `{}` has gene number {out} of {n_genes} as a member", program.name));
            }
            if program.members.windows(2).any(|w| w[0] >= w[1]) {
                return Err(format!("the members of program `{}` are not in increasing order", program.name));
            }
        }
        Ok(())
    }

    /// The name of its weight tensor.
    pub fn tensor(&self) -> String {
        let kind = match self.membership {
            Membership::Free => "free",
            Membership::Hard | Membership::Soft => "constrained",
        };
        match &self.origin {
            None if self.membership == Membership::Free => "decoder.free".to_owned(),
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
    /// Whether the names fit together: no two alike on an axis, program members among the genes, grafts within their
    /// axes and in the order of their segments. Nothing may be built of a header from a file before this.
    ///
    /// # Errors
    /// In words, what does not fit.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.genes.is_empty() || self.conditions.is_empty() {
            return Err("it names no genes, or no conditions".into());
        }
        once("gene", self.genes.iter())?;
        once("condition", self.conditions.iter())?;
        once("label", self.labels.iter())?;
        once("protein", self.proteins.iter())?;
        once("cell", self.cells.iter())?;
        once("covariate", self.covariates.iter().map(|c| &c.0).chain(&self.continuous))?;
        self.covariates.iter().try_for_each(|(name, levels)| once(&format!("level of `{name}`"), levels.iter()))?;
        once("program", self.programs().map(|(_, p)| &p.name))?;
        let tensors: Vec<String> = self.segments.iter().map(Segment::tensor).collect();
        once("segment with the tensor", tensors.iter())?;
        once("graft", self.grafts.iter().map(|g| &g.name))?;
        self.segments.iter().try_for_each(|s| s.check(self.genes.len()))?;

        let of_reference = self.segments.iter().take_while(|s| s.origin.is_none()).count();
        let mut rest = &self.segments[of_reference..];
        let (mut conditions, mut cells) = (&self.conditions[..], &self.cells[..]);
        // Grafts are the ends of their axes, the last one last.
        for graft in self.grafts.iter().rev() {
            conditions = ends_with(&graft.name, "conditions", conditions, &graft.conditions)?;
            if !self.cells.is_empty() {
                cells = ends_with(&graft.name, "cells", cells, &graft.cells)?;
            }
            let own = rest.iter().rev().take_while(|s| s.origin.as_deref() == Some(&graft.name)).count();
            let (before, own) = rest.split_at(rest.len() - own);
            check_programs(graft, own)?;
            rest = before;
        }
        if let Some(stray) = rest.first() {
            return Err(format!("its programs of {:?} stand where no graft of that name is", stray.origin));
        }
        if conditions.is_empty() {
            return Err("every condition in it is a graft's: none is left for the reference".into());
        }
        Ok(())
    }

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
