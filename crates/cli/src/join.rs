//! `scgraft join`: a query and its reference as one file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use scgraft::annotate::Placed;
use scgraft::join::{ORIGIN, join};
use serde_json::json;

use super::{Global, Output, encode, files, remote};

const EXAMPLES: &str = "\
Writes the cells of the reference, then those of the query. obs[\"scgraft_origin\"] says where a cell is from; columns of obs
of both files are kept. A label L that was carried over is L_pred in both: the reference's cells have their own there. Of X,
the layers and raw the genes that both files have are kept, of obsm the entries that both have. What cannot be put together
(counts and normalised values, pictures and components made of each file alone) is left out and named. `enrich` and `plot`
take --reference and need no joined file.

Examples:
  scgraft join mapped.h5ad --reference reference_out.h5ad -o joined.h5ad
  scgraft join mapped.h5ad --reference atlas_with_cells.scgraft -o joined.h5ad";

/// Put a query and its reference into one file.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Join {
    /// The mapped query
    pub mapped: PathBuf,
    /// The reference with its embedding (`train --embed`), or a model that brings its cells (`bundle`)
    #[arg(long, value_name = "FILE")]
    pub reference: PathBuf,
    /// Where to write both, an h5ad
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

impl Join {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        remote::check_input(&self.reference)?;
        files::check_input(&self.mapped)?;
        let inputs: [&Path; 2] = [&self.mapped, &self.reference];
        files::check_output(&self.output, &inputs)?;
        let [(query, of_query), (reference, of_reference)] =
            [encode::whole(&self.mapped)?, encode::whole(&self.reference)?];
        let [mapped, file] = inputs.map(|path| path.display().to_string());
        let reference = Placed { name: &file, cells: &reference, embedding: &of_reference };
        let joined = join(&reference, &Placed { name: &mapped, cells: &query, embedding: &of_query })?;
        for (slot, reason) in &joined.left_out {
            tracing::warn!("{slot} is left out: {reason}");
        }
        files::write(&self.output, &joined.cells)?;
        let (n, all, genes) = (joined.n_reference, joined.cells.n_cells(), joined.cells.n_genes());
        out.line(format!("{n} cells of the reference and {} of the query, {genes} genes of both", all - n));
        out.line(format!("obs[\"{ORIGIN}\"] says which is which"));
        out.put("reference_cells", n);
        out.put("query_cells", all - n);
        out.put("genes", genes);
        let left = joined.left_out.iter().map(|(slot, reason)| json!({"slot": slot, "reason": reason}));
        out.put("left_out", left.collect::<Vec<_>>());
        out.put("output", self.output.display().to_string());
        Ok(())
    }
}
