//! What to take from the data, and where it stands.

use std::fmt;
use std::sync::Arc;

use super::gene_names::GeneNames;
use super::values;
use crate::{Cells, CellsError, Frame, GeneSet, Matrix, Orthologs, Turned};

/// What the expression values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// Raw counts: whole numbers, none negative. For NB, ZINB and Poisson models.
    #[default]
    Counts,
    /// Log-normalised values, used as given. For MSE models.
    LogNormalised,
}

/// What to do about counts that are not whole, as programs leave them that take ambient RNA off or share reads among
/// genes. Likelihoods of counts take real values too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fractions {
    /// Accept them with a warning when they look like corrected counts, and refuse what looks normalised.
    #[default]
    Judge,
    /// Accept them with a warning.
    Accept,
    /// Round them to whole counts.
    Round,
    /// Refuse them.
    Refuse,
}

/// Where the expression values stand.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Slot {
    /// The main matrix.
    #[default]
    X,
    /// A layer, by name.
    Layer(String),
    /// `raw.X`, with the genes of `raw.var`.
    Raw,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::X => f.write_str("X"),
            Slot::Layer(name) => write!(f, "layer `{name}`"),
            Slot::Raw => f.write_str("raw.X"),
        }
    }
}

impl Slot {
    /// A layer where one is named, else `raw` or the main matrix.
    pub fn of(layer: Option<&String>, raw: bool) -> Slot {
        match layer {
            Some(name) => Slot::Layer(name.clone()),
            None if raw => Slot::Raw,
            None => Slot::X,
        }
    }

    /// The slots that hold a matrix, `X` first.
    pub fn all(cells: &Cells) -> Vec<Slot> {
        let x = cells.x.iter().map(|_| Slot::X);
        let raw = cells.raw.iter().map(|_| Slot::Raw);
        x.chain(cells.layers.keys().cloned().map(Slot::Layer)).chain(raw).collect()
    }

    /// The matrix in this slot with its table of genes and its name.
    ///
    /// # Errors
    /// When it is not there, or does not fit its tables.
    pub fn find<'a>(&self, cells: &'a Cells) -> Result<(&'a Matrix, &'a Frame, String), CellsError> {
        let found = match self {
            Slot::X => cells.x.as_ref().map(|m| (m, &cells.var)),
            Slot::Layer(name) => cells.layers.get(name).map(|m| (m, &cells.var)),
            Slot::Raw => cells.raw.as_ref().map(|r| (&r.x, &r.var)),
        };
        let Some((matrix, var)) = found else {
            let available = Slot::all(cells).iter().map(ToString::to_string).collect();
            let hint = values::counts_elsewhere(cells, self, None).map(|found| found.hint).unwrap_or_default();
            return Err(CellsError::MissingSlot { slot: self.to_string(), available, hint });
        };
        let expected = (cells.n_cells(), var.len());
        if matrix.shape() != expected {
            return Err(CellsError::Shape { slot: self.to_string(), expected, found: matrix.shape() });
        }
        Ok((matrix, var, self.to_string()))
    }
}

/// Where a cell's condition (batch, study) comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionSource {
    /// One or several columns of `obs`, joined with [`super::CONDITION_SEPARATOR`].
    Columns(Vec<String>),
    /// Every cell has this condition: a data set that is one batch.
    Constant(String),
}

/// Where protein counts stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProteinSource {
    /// The `obsm` entry, cells × proteins.
    pub obsm: String,
    /// The `uns` entry with the protein names, for an `obsm` entry without column names.
    pub names: Option<String>,
}

/// What to take from the data.
///
/// ```
/// use scgraft_cells::{ConditionSource, PrepareOptions, Slot};
///
/// let options = PrepareOptions {
///     slot: Slot::Layer("counts".into()),
///     condition: ConditionSource::Columns(vec!["study".into()]),
///     ..PrepareOptions::default()
/// };
/// assert_eq!(options.min_overlap, 0.5);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareOptions {
    /// Where the values stand.
    pub slot: Slot,
    /// What they must be.
    pub kind: Kind,
    /// The column of `var` with the gene names; `None` takes the row names of `var`.
    pub gene_column: Option<String>,
    /// What is looked past when names of genes are matched. For a reference the model's genes are named so.
    pub gene_names: GeneNames,
    /// Orthologs, where names are of another species: of a query its genes become the model's, for a reference the genes of
    /// gene sets become the data's.
    pub orthologs: Option<Arc<Orthologs>>,
    /// What to do about counts that are not whole, as corrected ones are.
    pub fractions: Fractions,
    /// Where the condition comes from.
    pub condition: ConditionSource,
    /// The column of `obs` with cell labels.
    pub label: Option<String>,
    /// The value of the label column that means "unlabelled". Empty values mean it always.
    pub unlabelled: Option<String>,
    /// Columns of `obs` with categorical covariates. For a query: none (the model's are taken) or the model's.
    pub covariates: Vec<String>,
    /// Columns of `obs` with continuous covariates. For a query: none (the model's are taken) or the model's.
    pub continuous: Vec<String>,
    /// Protein counts.
    pub proteins: Option<ProteinSource>,
    /// The least share of the model's genes that the data must have, 0 to 1. Below it the data is refused, below
    /// [`PrepareOptions::GOOD_OVERLAP`] there is a warning. Data without any of the genes is refused always.
    pub min_overlap: f64,
    /// A condition with fewer cells than this gives a warning.
    pub few_cells: usize,
}

impl PrepareOptions {
    /// A smaller share of the model's genes in the data than this gives a warning.
    pub const GOOD_OVERLAP: f64 = 0.8;

    /// Gene sets as these genes are named: without what is looked past, turned to their species.
    ///
    /// # Errors
    /// Of [`Orthologs::of_sets`].
    pub fn name_sets(&self, sets: &[GeneSet], genes: &[String]) -> Result<(Vec<GeneSet>, Option<Turned>), CellsError> {
        let Some(orthologs) = &self.orthologs else { return Ok((self.gene_names.of_sets(sets), None)) };
        let genes: Vec<String> = genes.iter().map(|g| self.gene_names.apply(g)).collect();
        orthologs.of_sets(sets, &genes, &self.gene_names).map(|(sets, told)| (sets, Some(told)))
    }
}

impl Default for PrepareOptions {
    fn default() -> Self {
        PrepareOptions {
            slot: Slot::X,
            kind: Kind::Counts,
            gene_column: None,
            gene_names: GeneNames::default(),
            orthologs: None,
            fractions: Fractions::default(),
            condition: ConditionSource::Constant("all".into()),
            label: None,
            unlabelled: None,
            covariates: Vec::new(),
            continuous: Vec::new(),
            proteins: None,
            min_overlap: 0.5,
            few_cells: 10,
        }
    }
}
