//! `scgraft pca`: principal components of the expression.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use scgraft::{columns, slots};

use super::near::Expression;
use super::output::{fixed, number};
use super::{Global, Output, files};

const EXAMPLES: &str = "\
Counts are scaled to 10,000 a cell, log1p, narrowed to the most variable genes. Writes obsm[\"X_pca\"], varm[\"PCs\"],
var[\"highly_variable\"] and uns[\"pca\"], where scanpy keeps them. What `evaluate --before X_pca` compares with.

Examples:
  scgraft pca data.h5ad
  scgraft pca data.h5ad --hvg 4000 --components 30 --batch study -o with_pca.h5ad";

/// Principal components of log-normalised expression.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pca {
    /// An h5ad file
    pub data: PathBuf,
    /// Components [default: 50, or as many as there are]
    #[arg(long, value_name = "N")]
    pub components: Option<usize>,
    /// Most variable genes to take
    #[arg(long, default_value_t = 2000, value_name = "N")]
    pub hvg: usize,
    /// Column of obs with batches: genes are scored within each
    #[arg(long, value_name = "COLUMN")]
    pub batch: Option<String>,
    #[command(flatten)]
    pub expression: Expression,
    /// Where to write the file with the components [default: the file itself]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Pca {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        let output = self.output.as_ref().unwrap_or(&self.data);
        files::check_update(&self.data, Some(output), [], &[])?;
        let mut cells = files::read_own(&self.data, true)?;
        let expression = self.expression.of(&cells)?;
        let file = self.data.display().to_string();
        let batch = self.batch.as_ref().map(|name| columns::whole(&cells, &file, name)).transpose()?;
        let (pca, chosen) = scgraft::principal_components(&expression, batch.as_ref(), self.hvg, self.components)?;
        let k = pca.components.n_rows;
        let ratio: Vec<_> = pca.variance_ratio.iter().map(|&v| number(v)).collect();
        let percent = fixed(100.0 * pca.variance_ratio.iter().sum::<f64>(), 1);
        slots::put_components(&mut cells, pca, &chosen, expression.genes.len());
        files::write(output, &cells)?;
        let genes = chosen.chosen.len();
        out.line(format!("{k} components of {genes} genes hold {percent} % of their variance: {}", output.display()));
        out.put("output", output.display().to_string());
        out.put("components", k);
        out.put("genes", genes);
        out.put("variance_ratio", ratio);
        Ok(())
    }
}
