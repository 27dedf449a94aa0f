//! `scgraft bundle`: the cells of a reference as a part of its model.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use scgraft::bundle::bundle;
use scgraft::io::{ReadOptions, read_h5ad};

use super::{Global, Output, files, remote};

const EXAMPLES: &str = "\
The model then brings where its cells lie (latent means and variances, the picture), the columns of obs named here and those
of its conditions, but no counts and no names of cells: `annotate`, `umap`, `plot` and `report` take it in place of the
reference's h5ad, with the same results. Adaptors fit the model as before. `scgraft inspect` says what is inside.

Examples:
  scgraft bundle atlas.scgraft atlas_out.h5ad --columns cell_type -o atlas_with_cells.scgraft
  scgraft annotate atlas_with_cells.scgraft mapped.h5ad --labels cell_type";

/// Make the cells of a reference, without their counts, a part of its model.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bundle {
    /// The model, or its address
    pub model: PathBuf,
    /// The reference with its embedding (`train --embed`), and a picture where `umap` made one
    pub reference: PathBuf,
    /// Columns of obs to bring: labels, numbers
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Where to write the model with its cells
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

impl Bundle {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        remote::check_input(&self.model)?;
        files::check_input(&self.reference)?;
        files::check_output(&self.output, &[&self.reference])?;
        let mut model = remote::model(&self.model)?;
        let cells = read_h5ad(&self.reference, &ReadOptions::without_pairs())?;
        let before = model.to_bytes()?.len();
        bundle(&mut model, &cells, &self.reference.display().to_string(), &self.columns)?;
        let bytes = model.to_bytes()?.len() - before;
        scgraft::save::model(&self.output, &model)?;
        let n = cells.n_cells();
        out.line(format!(
            "{n} cells in {:.2} MB, {:.0} bytes per cell; no counts",
            bytes as f64 / 1e6,
            bytes as f64 / n.max(1) as f64
        ));
        out.line(format!("wrote {}", self.output.display()));
        out.put("cells", n);
        out.put("bytes", bytes);
        out.put("output", self.output.display().to_string());
        Ok(())
    }
}
