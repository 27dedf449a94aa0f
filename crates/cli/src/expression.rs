//! `scgraft expression`: what a model says that cells express.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use scgraft::decode::{Decode, decode};
use scgraft::models::DecodedLibrary;

use super::encode::Source;
use super::{Global, Output, files};

const EXAMPLES: &str = "\
Writes cells × genes of the model: X holds the decoded expression, obs, obsm and uns are the input's. By default a cell's
genes sum to 1 (library size taken out); decoded as of one condition, or averaged over several, batch effects are taken
out as well. With --draw, X holds counts drawn from the posterior predictive distribution instead.

Examples:
  scgraft expression reference.scgraft reference.h5ad -o expression.h5ad
  scgraft expression mapped.scgraft query.h5ad --as-condition study1,study2 --library-size 10000 -o corrected.h5ad
  scgraft expression mapped.scgraft query.h5ad --own-library --samples 25 --genes CD3D,CD8A -o rates.h5ad
  scgraft expression mapped.scgraft query.h5ad --draw -o simulated.h5ad";

/// Decode cells: normalised expression, or draws of the data.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Expression {
    #[command(flatten)]
    pub source: Source,
    /// Where to write the result, an h5ad
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
    /// Decode as of these conditions and average; `all` for every condition of the model [default: each cell's own]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub as_condition: Vec<String>,
    /// Library size of the decoded cells
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    pub library_size: f32,
    /// Take each cell's own library size: the mean of its data
    #[arg(long, conflicts_with = "library_size")]
    pub own_library: bool,
    /// Average over so many draws from the posterior; 0 decodes its mean
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub samples: usize,
    /// Only these genes
    #[arg(long, value_name = "GENE", value_delimiter = ',')]
    pub genes: Vec<String>,
    /// Draw counts from the posterior predictive distribution
    #[arg(long, conflicts_with_all = ["as_condition", "library_size", "own_library", "samples", "genes"])]
    pub draw: bool,
}

impl Expression {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        files::check_output(&self.output, &self.source.inputs())?;
        let (model, cells, data) = self.source.read(Some(false))?;
        let library = if self.own_library { DecodedLibrary::Own } else { DecodedLibrary::Size(self.library_size) };
        let (as_conditions, samples, genes) = (self.as_condition, self.samples, self.genes);
        let what = match self.draw {
            true => Decode::Draws,
            false => Decode::Expression { as_conditions, library, samples, genes },
        };
        let cells = decode(&model, cells, &data, &what, global.seed.unwrap_or(0))?;
        files::write(&self.output, &cells)?;
        out.line(format!("{} cells × {} genes decoded", cells.n_cells(), cells.n_genes()));
        out.put("cells", cells.n_cells());
        out.put("genes", cells.n_genes());
        out.put("output", self.output.display().to_string());
        Ok(())
    }
}
