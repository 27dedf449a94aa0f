//! `scgraft expression`: what a model says that cells express.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use scgraft::cells::{Frame, Matrix};
use scgraft::models::{DecodedLibrary, ExpressionOptions};

use super::encode::Source;
use super::input::nearest_first;
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
        let (model, mut cells, data) = self.source.read(true)?;
        let seed = global.seed.unwrap_or(0);
        let genes: Vec<usize> = if self.genes.is_empty() {
            (0..model.header.genes.len()).collect()
        } else {
            self.genes.iter().map(|g| position("gene", g, &model.header.genes)).collect::<Result<_>>()?
        };
        let x = if self.draw {
            Matrix::Sparse(model.posterior_predictive(&data, seed)?)
        } else {
            let as_conditions = conditions(&self.as_condition, &model.header.conditions)?;
            let library = if self.own_library { DecodedLibrary::Own } else { DecodedLibrary::Size(self.library_size) };
            let options =
                ExpressionOptions { as_conditions, library, samples: self.samples, genes: Some(genes.clone()), seed };
            Matrix::Dense(model.expression(&data, &options)?)
        };
        cells.var = Frame::new(genes.iter().map(|&g| model.header.genes[g].clone()).collect());
        cells.x = Some(x);
        cells.layers.clear();
        cells.varm.clear();
        cells.varp.clear();
        cells.raw = None;
        files::write(&self.output, &cells)?;
        out.line(format!("{} cells × {} genes decoded", data.n_cells(), genes.len()));
        out.put("cells", data.n_cells());
        out.put("genes", genes.len());
        out.put("output", self.output.display().to_string());
        Ok(())
    }
}

/// Conditions by name; `all` for all.
pub(crate) fn conditions(names: &[String], known: &[String]) -> Result<Vec<u32>> {
    if names == ["all"] {
        return Ok((0..known.len() as u32).collect());
    }
    names.iter().map(|n| Ok(position("condition", n, known)? as u32)).collect()
}

fn position(what: &str, name: &str, known: &[String]) -> Result<usize> {
    if let Some(at) = known.iter().position(|k| k == name) {
        return Ok(at);
    }
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    bail!("the model has no {what} `{name}`; the nearest names: {}", nearest_first(name, &names))
}
