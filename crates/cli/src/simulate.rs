//! `scgraft simulate`: a reference and a query with planted truth.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use scgraft::cells::{SimulateOptions, simulate};
use scgraft::io::together;
use scgraft::save;

use super::{Global, Output, files};

const EXAMPLES: &str = "\
Writes reference.h5ad, query.h5ad, programs.gmt and truth.json. The query has a cell type that the reference lacks
(`novel`), and half of its cells are stimulated: two programs go up, one goes down, and one that is no gene set comes on.

Examples:
  scgraft simulate -o simulated
  scgraft simulate -o simulated --cells 10000 --query-cells 5000 --genes 2000 --seed 7";

/// Write a simulated reference and query with planted truth.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Simulate {
    /// Folder to write to; made if it is not there
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub size: Size,
}

/// Sizes and strengths; see `scgraft::cells::SimulateOptions`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Size {
    /// Cells of the reference
    #[arg(long, default_value_t = 3000, value_name = "N")]
    pub cells: usize,
    /// Cells of the query
    #[arg(long, default_value_t = 1500, value_name = "N")]
    pub query_cells: usize,
    /// Genes
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub genes: usize,
    /// Gene sets
    #[arg(long, default_value_t = 40, value_name = "N")]
    pub programs: usize,
    /// Cell types of the reference
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub cell_types: usize,
    /// Strength of batch effects (standard deviation, natural log scale)
    #[arg(long, default_value_t = 0.3, value_name = "X")]
    pub batch_effect: f64,
}

impl Size {
    pub fn options(&self, global: &Global) -> SimulateOptions {
        let plain = SimulateOptions::default();
        SimulateOptions {
            n_reference: self.cells,
            n_query: self.query_cells,
            n_genes: self.genes,
            n_programs: self.programs,
            n_cell_types: self.cell_types,
            batch_effect: self.batch_effect,
            seed: global.seed.unwrap_or(plain.seed),
            ..plain
        }
    }
}

impl Simulate {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        // Seconds at most: sizes that are refused leave no folder behind.
        let simulated = simulate(&self.size.options(global))?;
        std::fs::create_dir_all(&self.out).with_context(|| format!("{}: cannot be made", self.out.display()))?;
        files::check_outputs(&save::SIMULATED.map(|name| self.out.join(name)), &[])?;
        let written = files::shown(&together(|| save::simulated(&self.out, simulated))?);
        out.line(format!("wrote {}", written.join(", ")));
        out.put("files", written);
        Ok(())
    }
}
