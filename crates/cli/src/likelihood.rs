//! `scgraft likelihood`: how well a model explains cells.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use scgraft::cells::Column;

use super::encode::Source;
use super::output::{fixed, number};
use super::{Global, Output, files};

const EXAMPLES: &str = "\
Reconstruction error: −E[ln p(x | z)] of a cell. ELBO: the lower bound of ln p(x) that training raises. Marginal: ln p(x)
by importance sampling; the more draws, the closer. With --output, obs gets a column of each.

Examples:
  scgraft likelihood reference.scgraft held_out.h5ad
  scgraft likelihood mapped.scgraft query.h5ad --marginal 1000 -o query_likelihood.h5ad";

/// Reconstruction error, ELBO and marginal likelihood of cells.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Likelihood {
    #[command(flatten)]
    pub source: Source,
    /// Estimate the marginal likelihood with so many draws a cell
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub marginal: usize,
    /// Write the cells with a figure for each, an h5ad
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Likelihood {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        if let Some(path) = &self.output {
            files::check_output(path, &self.source.inputs())?;
        }
        let (model, mut cells, data) = self.source.read(self.output.as_ref().map(|_| true))?;
        let seed = global.seed.unwrap_or(0);
        let evidence = model.evidence(&data, seed)?;
        let mut figures = vec![("reconstruction_error", evidence.reconstruction), ("elbo", evidence.elbo)];
        if self.marginal > 0 {
            let marginal = model.marginal_log_likelihood(&data, self.marginal, seed).map_err(scgraft::Error::from)?;
            figures.push(("marginal_log_likelihood", marginal));
        }
        let mut rows = Vec::new();
        for (name, values) in figures {
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            rows.push([name.replace('_', " "), fixed(mean, 4)]);
            out.put(name, number(mean));
            cells.obs.set(&format!("scgraft_{name}"), Column::Real(values));
        }
        out.table(["mean over cells", "nats"], &rows);
        out.put("cells", data.n_cells());
        if let Some(path) = &self.output {
            files::write(path, &cells)?;
        }
        Ok(())
    }
}
