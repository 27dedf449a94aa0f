//! Options of everything that starts from nearest neighbours, and of expression outside a model.

use anyhow::Result;
use clap::Args;
use scgraft::LogExpression;
use scgraft::analysis::neighbours::{ApproximateOptions, Search};
use scgraft::cells::Cells;

use super::Global;
use super::input::Values;
use super::output::fixed;

/// How neighbours are searched for.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Neighbours")]
pub(crate) struct Near {
    /// Search approximately (for more than about 100,000 cells) until this share of the true neighbours is found
    /// [default when given without a value: 0.95]
    #[arg(long, value_name = "RECALL", num_args = 0..=1, default_missing_value = "0.95", require_equals = true)]
    pub approximate: Option<f64>,
}

impl Near {
    /// # Errors
    /// A share that is none.
    pub fn search(&self, global: &Global) -> Result<Search> {
        let Some(recall) = self.approximate else { return Ok(Search::Exact) };
        let options = ApproximateOptions { recall, seed: global.seed.unwrap_or(0), ..ApproximateOptions::default() };
        options.check().map_err(scgraft::Error::from)?;
        Ok(Search::Approximate(options))
    }

    /// Says what an approximate search found.
    pub fn tell(&self, recall: f64) {
        if self.approximate.is_some() {
            tracing::info!("approximate neighbours: {} % of the true ones found", fixed(100.0 * recall, 1));
        }
    }
}

/// Expression that an analysis takes log-normalised.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Data")]
pub(crate) struct Expression {
    #[command(flatten)]
    pub values: Values,
    /// The values are log1p of normalised counts already
    #[arg(long)]
    pub log_normalised: bool,
}

impl Expression {
    pub fn of(&self, cells: &Cells) -> Result<LogExpression> {
        self.named(scgraft::log_expression(cells, &self.values.slot(), self.log_normalised, self.values.fractions())?)
    }

    /// The values as they are, with the names of the genes.
    pub fn plain_of(&self, cells: &Cells) -> Result<LogExpression> {
        self.named(scgraft::plain_expression(cells, &self.values.slot(), self.log_normalised, self.values.fractions())?)
    }

    fn named(&self, expression: LogExpression) -> Result<LogExpression> {
        Ok(expression.genes_named_by(self.values.gene_column.as_deref())?)
    }
}
