//! What must happen to cells before a model sees them.
//!
//! [`Prepared`] is made here and nowhere else, so whatever holds one need not check again: its genes are the
//! model's, in the model's order; its counts are counts; every cell has a condition.
//!
//! - [`choose_genes`] to choose the genes and programs of a reference,
//! - [`Prepared::reference`] for training a reference,
//! - [`Prepared::query`] for mapping onto one, against what the model already knows ([`Known`]).

mod batches;
mod choose;
mod columns;
mod gene_names;
mod genes;
mod identities;
mod options;
mod proteins;
mod report;
mod split;
mod values;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::rows::Selected;
use crate::{Cells, CellsError, Coded, Dense, Rows};

pub use batches::Minibatches;
pub use choose::{GeneChoice, choose_genes};
pub use gene_names::{GeneNames, NameRule};
pub use options::{ConditionSource, Fractions, Kind, PrepareOptions, ProteinSource, Slot};
pub use report::{PrepareReport, Warning};
pub use split::{Split, split};
pub use values::{round, takes_fractions};

/// What stands between the values of several condition columns joined into one.
pub const CONDITION_SEPARATOR: &str = " | ";

/// Cells as a model takes them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prepared {
    /// Cells × genes of the model, without stored zeros: raw counts, or log-normalised values ([`Prepared::kind`]). It is
    /// read row by row, and need not be in memory.
    pub expression: Arc<dyn Rows>,
    /// What `expression` holds.
    pub kind: Kind,
    /// ℓ, the library size: the sum of `expression` over the genes of the model, one a cell. 0 for an empty cell.
    pub library: Vec<f32>,
    /// The genes of the model, in its order: the columns of `expression`.
    pub genes: Vec<String>,
    /// Cell names: the rows of `expression`.
    pub cells: Vec<String>,
    /// The row of each cell on the cell axis of a model with a vector per cell: that of a cell the model knows, then
    /// the new ones in their order. For a reference 0, 1, 2, …
    pub cell_rows: Vec<u32>,
    /// The condition (batch, study) of each cell. For a query the model's conditions come first, in its order,
    /// then the new ones, sorted; a level may be without a cell.
    pub condition: Coded,
    /// How many of the condition levels the model already knows: 0 for a reference.
    pub n_known_conditions: usize,
    /// Cell labels, where asked for.
    pub labels: Option<Labels>,
    /// Categorical covariates by name. For a query, known levels come first, as for conditions.
    pub covariates: Vec<(String, Coded)>,
    /// Continuous covariates by name, one value a cell, as given.
    pub continuous: Vec<(String, Vec<f32>)>,
    /// Protein counts, where asked for or where the model has proteins.
    pub proteins: Option<Proteins>,
    /// What was found on the way: genes filled in, warnings.
    pub report: PrepareReport,
}

/// Cell labels; some cells may have none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Labels {
    /// The label of each cell, an index into `levels`; `None` is unlabelled.
    pub codes: Vec<Option<u32>>,
    /// The names of the labels, the unlabelled category not among them.
    pub levels: Vec<String>,
    /// What the data calls the unlabelled category, where it names one.
    pub unlabelled: Option<String>,
}

/// Surface proteins measured beside the RNA.
#[derive(Clone, Debug, PartialEq)]
pub struct Proteins {
    /// Protein names: the columns of `counts`.
    pub names: Vec<String>,
    /// Cells × proteins, raw counts; 0 where a protein was not measured.
    pub counts: Dense,
    /// `present[condition][protein]`: whether that condition measured that protein. A protein that is 0 in every
    /// cell of a condition counts as not measured there, as does every protein of a condition without cells.
    pub present: Vec<Vec<bool>>,
}

/// What a trained model knows, which a query is prepared against.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Known {
    /// Genes, in the model's order.
    pub genes: Vec<String>,
    /// Conditions, in the model's order.
    pub conditions: Vec<String>,
    /// Labels; empty for a model without.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Proteins; empty for a model without.
    #[serde(default)]
    pub proteins: Vec<String>,
    /// Categorical covariates with their levels.
    #[serde(default)]
    pub covariates: Vec<(String, Vec<String>)>,
    /// Continuous covariates.
    #[serde(default)]
    pub continuous: Vec<String>,
    /// Cells, as [`Prepared::cell_identities`] names them; empty for a model without a vector per cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<String>,
}

impl Prepared {
    /// Prepares a reference.
    ///
    /// `genes` are the genes to model, in that order (the variable genes, usually); `None` takes every gene of the
    /// data in the data's order.
    ///
    /// # Errors
    /// See [`CellsError`]: a slot or column that is not there, names that are empty or stand for two genes, values
    /// that are not what [`PrepareOptions::kind`] says, cells without a condition, too few of `genes` in the data.
    pub fn reference(cells: &Cells, genes: Option<&[String]>, options: &PrepareOptions) -> Result<Self, CellsError> {
        prepare(cells, genes, None, options)
    }

    /// Prepares a query for a model that knows `known`.
    ///
    /// Genes are aligned by name and put in the model's order whatever order they come in; genes the data lacks are
    /// 0 and listed in [`PrepareReport::missing_genes`]. A condition the model knows keeps its number; new ones
    /// follow, sorted. Covariates are the model's. Proteins are aligned as genes are.
    ///
    /// # Errors
    /// As [`Prepared::reference`], when covariates are asked for that are not the model's, and when a cell has a label
    /// that the model does not know.
    pub fn query(cells: &Cells, known: &Known, options: &PrepareOptions) -> Result<Self, CellsError> {
        prepare(cells, Some(&known.genes), Some(known), options)
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.cells.len()
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        self.genes.len()
    }

    /// The cells named, in the order named; every level stays, also those left without a cell.
    pub fn select_cells(&self, rows: &[usize]) -> Prepared {
        Prepared {
            expression: Arc::new(Selected { of: self.expression.clone(), rows: rows.to_vec() }),
            kind: self.kind,
            library: rows.iter().map(|&r| self.library[r]).collect(),
            genes: self.genes.clone(),
            cells: rows.iter().map(|&r| self.cells[r].clone()).collect(),
            cell_rows: rows.iter().map(|&r| self.cell_rows[r]).collect(),
            condition: self.condition.select(rows),
            n_known_conditions: self.n_known_conditions,
            labels: self.labels.as_ref().map(|l| Labels {
                codes: rows.iter().map(|&r| l.codes[r]).collect(),
                levels: l.levels.clone(),
                unlabelled: l.unlabelled.clone(),
            }),
            covariates: self.covariates.iter().map(|(n, c)| (n.clone(), c.select(rows))).collect(),
            continuous: self
                .continuous
                .iter()
                .map(|(n, v)| (n.clone(), rows.iter().map(|&r| v[r]).collect()))
                .collect(),
            proteins: self.proteins.as_ref().map(|p| Proteins {
                names: p.names.clone(),
                counts: p.counts.select_rows(rows),
                present: p.present.clone(),
            }),
            report: self.report.clone(),
        }
    }

    /// Condition and name of each cell: what tells it from the cells of other data. Cells alike in both are told
    /// apart by their order.
    pub fn cell_identities(&self) -> Vec<String> {
        identities::of(&self.cells, &self.condition)
    }

    /// What a model trained on this would know.
    pub fn known(&self) -> Known {
        Known {
            genes: self.genes.clone(),
            conditions: self.condition.levels.clone(),
            labels: self.labels.as_ref().map(|l| l.levels.clone()).unwrap_or_default(),
            covariates: self.covariates.iter().map(|(n, c)| (n.clone(), c.levels.clone())).collect(),
            continuous: self.continuous.iter().map(|(n, _)| n.clone()).collect(),
            proteins: self.proteins.as_ref().map(|p| p.names.clone()).unwrap_or_default(),
            cells: self.cell_identities(),
        }
    }
}

fn prepare(
    cells: &Cells,
    genes: Option<&[String]>,
    known: Option<&Known>,
    options: &PrepareOptions,
) -> Result<Prepared, CellsError> {
    if cells.n_cells() == 0 {
        return Err(CellsError::Nothing { what: "cells" });
    }
    let mut report = PrepareReport::default();
    let (matrix, var, slot) = options.slot.find(cells)?;
    let names = genes::names(var, &slot, options.gene_column.as_deref())?;
    let genes = match genes {
        Some(genes) => genes.to_vec(),
        None => genes::all(&genes::plain(&names, options), &slot)?,
    };
    if genes.is_empty() {
        return Err(CellsError::Nothing { what: "genes" });
    }
    let sources = genes::align(&genes, &names, var, &slot, cells, options, &mut report)?;
    let mut expression = genes::take(matrix, &sources);
    values::check(&expression, &genes, cells, options, &slot, &mut report)?;
    if options.kind == Kind::Counts && options.fractions == Fractions::Round {
        values::round(&mut expression);
    }
    values::note_repeated_cells(&cells.obs.index, &mut report);
    let library = expression.row_sums();
    values::note_empty_cells(&library, &expression, &cells.obs.index, &mut report);

    let none = Known::default();
    let context = columns::Context {
        obs: &cells.obs,
        known: known.unwrap_or(&none),
        is_query: known.is_some(),
        few_cells: options.few_cells,
    };
    let condition = context.condition(&options.condition, &mut report)?;
    let labels = context.labels(options, &mut report)?;
    let proteins = proteins::prepare(cells, known, &condition, options.proteins.as_ref(), &mut report)?;
    Ok(Prepared {
        kind: options.kind,
        library,
        genes,
        cell_rows: identities::rows(&cells.obs.index, &condition, &context.known.cells),
        cells: cells.obs.index.clone(),
        n_known_conditions: context.known.conditions.len(),
        labels,
        covariates: context.covariates(&options.covariates)?,
        continuous: context.continuous(&options.continuous)?,
        expression: Arc::new(expression),
        condition,
        proteins,
        report,
    })
}

#[cfg(test)]
mod tests;
