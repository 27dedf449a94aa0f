//! Options that say where values and conditions stand in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use clap::ValueEnum;
use scgraft::cells::{
    Cells, Coded, ConditionSource, Fractions, GeneNames, GeneSet, OrthologRule, Orthologs, PrepareOptions,
    ProteinSource, Slot,
};
use scgraft::io::read_orthologs;
use scgraft::models::Model;
pub(crate) use scgraft::numeric::names::listed as nearest_first;
use scgraft::query::condition_of_reference;

/// Where the expression stands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Data")]
pub(crate) struct Values {
    /// Take the values from this layer instead of X
    #[arg(long, value_name = "NAME", conflicts_with = "raw")]
    pub layer: Option<String>,
    /// Take the values from `raw` instead of X
    #[arg(long)]
    pub raw: bool,
    /// Column of var with the gene names, instead of its row names
    #[arg(long, value_name = "COLUMN")]
    pub gene_column: Option<String>,
    /// What to look past in names of genes, here and in the model or the gene sets: trim, strip-prefix, symbol, id,
    /// strip-version, punctuation, upper; several with commas between [default: what the model was trained or mapped with]
    #[arg(long, value_name = "RULES")]
    pub gene_names: Option<GeneNames>,
    /// What to do about counts that are not whole, as after a correction [default: what these cells were trained or
    /// mapped with, else take what looks corrected and refuse what looks normalised]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub fractions: Option<NotWhole>,
}

/// Genes of another species.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Another species")]
pub(crate) struct OrthologTable {
    /// Names of another species: a table of orthologs (Ensembl BioMart, HCOP, or two columns of names) turns the cells' genes
    /// into the model's, and the genes of gene sets into the cells' or the model's
    #[arg(long, value_name = "TABLE")]
    pub orthologs: Option<PathBuf>,
    /// Which of its pairs count: one-to-one; best (each the other's best supported); all (counts of several genes that
    /// become one are summed, in gene sets every ortholog joins)
    #[arg(long, default_value = "one-to-one", value_name = "RULE", requires = "orthologs")]
    pub ortholog_rule: OrthologRule,
}

impl OrthologTable {
    /// The table, where one was given.
    pub fn read(&self) -> Result<Option<Arc<Orthologs>>> {
        let table = self.orthologs.as_ref().map(|path| read_orthologs(path, self.ortholog_rule)).transpose()?;
        Ok(table.map(Arc::new))
    }

    /// Gene sets turned to the names of these genes, where a table was given.
    pub fn turn_sets(&self, sets: Vec<GeneSet>, genes: &[String]) -> Result<Vec<GeneSet>> {
        let Some(table) = self.read()?.filter(|_| !sets.is_empty()) else { return Ok(sets) };
        let (sets, told) = table.of_sets(&sets, genes, &GeneNames::default()).map_err(scgraft::Error::from)?;
        tracing::info!("gene sets: {told}");
        Ok(sets)
    }
}

/// What to do about counts that are not whole.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum NotWhole {
    /// Take them as they are
    Accept,
    /// Round them
    Round,
    /// Refuse them
    Refuse,
}

impl Values {
    pub fn slot(&self) -> Slot {
        Slot::of(self.layer.as_ref(), self.raw)
    }

    pub fn fractions(&self) -> Fractions {
        match self.fractions {
            None => Fractions::Judge,
            Some(NotWhole::Accept) => Fractions::Accept,
            Some(NotWhole::Round) => Fractions::Round,
            Some(NotWhole::Refuse) => Fractions::Refuse,
        }
    }
}

/// Where the condition (batch, study) of a cell comes from.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Data")]
pub(crate) struct Condition {
    /// Columns of obs with the condition (batch, study) of each cell; several are joined [upstream: condition_key]
    #[arg(
        long,
        value_name = "COLUMN",
        value_delimiter = ',',
        conflicts_with = "condition_name",
        visible_alias = "batch"
    )]
    pub condition: Vec<String>,
    /// Give all cells this condition: the data is one batch
    #[arg(long, value_name = "NAME")]
    pub condition_name: Option<String>,
}

impl Condition {
    /// What was asked for; `None` when nothing was.
    pub fn source(&self) -> Option<ConditionSource> {
        match &self.condition_name {
            Some(name) => Some(ConditionSource::Constant(name.clone())),
            None if self.condition.is_empty() => None,
            None => Some(ConditionSource::Columns(self.condition.clone())),
        }
    }
}

/// What some models read besides the expression.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Data")]
pub(crate) struct Measured {
    /// Column of obs with cell labels, for models that learn them; an empty value means unlabelled
    #[arg(long, value_name = "COLUMN")]
    pub labels: Option<String>,
    /// The value of that column that means unlabelled
    #[arg(long, value_name = "VALUE", requires = "labels")]
    pub unlabelled: Option<String>,
    /// Entry of obsm with protein counts, for models that have proteins [default: protein_expression, where there is one]
    #[arg(long, value_name = "KEY")]
    pub proteins: Option<String>,
    /// Entry of uns with the protein names, when that of obsm has none
    #[arg(long, value_name = "KEY", requires = "proteins")]
    pub protein_names: Option<String>,
}

impl Measured {
    pub fn apply(&self, options: &mut PrepareOptions) {
        options.label = self.labels.clone();
        options.unlabelled = self.unlabelled.clone();
        options.proteins = self.proteins.clone().map(|obsm| ProteinSource { obsm, names: self.protein_names.clone() });
    }
}

/// The condition that was asked for, or the columns that the model's reference took it from.
///
/// # Errors
/// When nothing was asked for and the cells lack those columns.
pub(crate) fn condition(asked: &Condition, model: &Model, cells: &Cells, file: &Path) -> Result<ConditionSource> {
    match asked.source() {
        Some(source) => Ok(source),
        None => condition_of_reference(model, cells).with_context(|| file.display().to_string()),
    }
}

/// The options every preparation starts from.
pub(crate) fn prepare(values: &Values, condition: ConditionSource) -> PrepareOptions {
    PrepareOptions {
        slot: values.slot(),
        gene_column: values.gene_column.clone(),
        gene_names: values.gene_names.clone().unwrap_or_default(),
        fractions: values.fractions(),
        condition,
        ..PrepareOptions::default()
    }
}

/// A column of `obs` of a file, coded; and the rows where it is filled.
pub(crate) fn coded(cells: &Cells, file: &str, name: &str) -> Result<(Coded, Vec<usize>)> {
    Ok(scgraft::columns::coded(cells, file, name)?)
}
