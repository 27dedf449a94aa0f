//! Options that say where values and conditions stand in a file.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use scgraft::cells::{Cells, Coded, ConditionSource, PrepareOptions, Prepared, ProteinSource, Slot};
use scgraft::models::Model;
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
}

impl Values {
    pub fn slot(&self) -> Slot {
        match (&self.layer, self.raw) {
            (Some(name), _) => Slot::Layer(name.clone()),
            (None, true) => Slot::Raw,
            (None, false) => Slot::X,
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
        condition,
        ..PrepareOptions::default()
    }
}

/// Passes on what preparation wants the user to know.
pub(crate) fn warn(prepared: &Prepared) {
    for warning in &prepared.report.warnings {
        tracing::warn!("{warning}");
    }
}

/// A column of `obs` of a file, coded; and the rows where it is filled.
pub(crate) fn coded(cells: &Cells, file: &str, name: &str) -> Result<(Coded, Vec<usize>)> {
    Ok(scgraft::columns::coded(cells, file, name)?)
}

/// The names shown in an error.
const SHOWN: usize = 12;

/// Names, those most like `name` first; of many the first, and how many more there are.
pub(crate) fn nearest_first(name: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    let wanted = name.to_lowercase();
    let mut ranked: Vec<(usize, &str)> = names.iter().map(|n| (distance(&wanted, &n.to_lowercase()), *n)).collect();
    ranked.sort_by_key(|r| r.0);
    let shown = ranked.iter().take(SHOWN).map(|r| format!("`{}`", r.1)).collect::<Vec<_>>().join(", ");
    match ranked.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_the_nearest_are_shown() {
        assert_eq!(nearest_first("batch", &["type", "Batch"]), "`Batch`, `type`");
        let names: Vec<String> = (0..30).map(|i| format!("program_{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let shown = nearest_first("program_17", &names);
        assert!(shown.starts_with("`program_17`, ") && shown.ends_with(" and 18 more"), "{shown}");
        assert_eq!(shown.matches('`').count(), 2 * SHOWN);
        assert_eq!(nearest_first("a", &[]), "none");
    }
}
