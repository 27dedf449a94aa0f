//! `scgraft proteins`: what a model of proteins says of cells.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use scgraft::models::DecodeAs;
use scgraft::slots;

use super::encode::Source;
use super::{Global, Output, files};

const EXAMPLES: &str = "\
Writes the cells with obsm[\"scgraft_proteins\"] (counts expected without background), obsm[\"scgraft_proteins_total\"] (the
same with background) and obsm[\"scgraft_proteins_foreground\"] (the probability that a count is
no background). Proteins that a cell's condition did not measure are imputed: decoded as the conditions that did.
Levels are those of an efficiency of 1, the same for all conditions, so that these can be compared; --efficiency gives what
each of them counts.

Examples:
  scgraft proteins reference.scgraft citeseq.h5ad --proteins protein_expression -o denoised.h5ad
  scgraft proteins mapped.scgraft rna_only.h5ad -o imputed.h5ad
  scgraft proteins reference.scgraft citeseq.h5ad --efficiency -o levels.h5ad
  scgraft proteins mapped.scgraft rna_only.h5ad --as-condition batch1,batch2 -o imputed.h5ad";

/// Denoise and impute proteins, with their foreground probability.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Proteins {
    #[command(flatten)]
    pub source: Source,
    /// Where to write the cells, an h5ad
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
    /// Decode as of these conditions and average [default: each cell's own, or those that measured the protein]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub as_condition: Vec<String>,
    /// Levels as the condition counted them, with the efficiency of its staining; without, as if all had the same
    #[arg(long)]
    pub efficiency: bool,
}

impl Proteins {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        files::check_output(&self.output, &self.source.inputs())?;
        let (model, mut cells, data) = self.source.read(Some(true))?;
        let decode_as =
            if self.as_condition.is_empty() { DecodeAs::Measured } else { DecodeAs::Conditions(self.as_condition) };
        let estimates = model.proteins(&data, &decode_as, self.efficiency)?;
        slots::put_proteins(&mut cells, &model.header.proteins, &estimates);
        files::write(&self.output, &cells)?;
        out.line(format!("{} proteins of {} cells", model.header.proteins.len(), data.n_cells()));
        out.put("cells", data.n_cells());
        out.put("proteins", model.header.proteins.clone());
        out.put("output", self.output.display().to_string());
        Ok(())
    }
}
