//! `scgraft simulate`: a reference and a query with planted truth.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use scgraft::cells::{Array, Role, SimulateOptions, Simulated, TrueProgram, simulate};
use scgraft::io::atomic_write;
use serde_json::{Value, json};

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
        std::fs::create_dir_all(&self.out).with_context(|| format!("{}: cannot be made", self.out.display()))?;
        let written = write(&self.out, simulate(&self.size.options(global))?)?;
        out.line(format!("wrote {}", written.join(", ")));
        out.put("files", written);
        Ok(())
    }
}

/// Writes the four files; gives their names.
pub(crate) fn write(folder: &Path, simulated: Simulated) -> Result<Vec<String>> {
    let Simulated { mut reference, mut query, gene_sets, truth } = simulated;
    let paths = ["reference.h5ad", "query.h5ad", "programs.gmt", "truth.json"].map(|n| folder.join(n));
    files::check_outputs(&paths, &[])?;
    let genes = reference.var.index.clone();
    reference.obsm.insert("true_activity".into(), Array::Dense(truth.reference_activity));
    query.obsm.insert("true_activity".into(), Array::Dense(truth.query_activity));
    files::write(&paths[0], &reference)?;
    files::write(&paths[1], &query)?;
    atomic_write(&paths[2], |w| {
        gene_sets.iter().try_for_each(|s| {
            let description = s.description.as_deref().unwrap_or("na");
            writeln!(w, "{}\t{description}\t{}", s.name, s.genes.join("\t"))
        })
    })?;
    let told = json!({
        "novel_type": truth.novel_type,
        "programs": truth.programs.iter().map(|p| program(p, &genes)).collect::<Vec<_>>(),
        "hidden": program(&truth.hidden, &genes),
        "true_activity": "obsm[\"true_activity\"] of both files: cells × (programs, then the hidden one)",
    });
    let text = serde_json::to_string_pretty(&told)?;
    atomic_write(&paths[3], |w| writeln!(w, "{text}"))?;
    Ok(files::shown(&paths))
}

fn program(p: &TrueProgram, genes: &[String]) -> Value {
    let (role, types) = role(&p.role);
    let loadings: Vec<Value> = p.loadings.iter().map(|&(g, w)| json!([genes[g as usize], w])).collect();
    json!({"name": p.name, "role": role, "cell_types": types, "loadings": loadings})
}

/// What a program does, in a word, and in which cell types.
pub(crate) fn role(role: &Role) -> (&'static str, Vec<String>) {
    match role {
        Role::CellType(t) => ("cell type", vec![t.clone()]),
        Role::Lineage(t) => ("lineage", t.clone()),
        Role::StimulationUp => ("stimulation, up", Vec::new()),
        Role::StimulationDown => ("stimulation, down", Vec::new()),
        Role::Background => ("background", Vec::new()),
        Role::Decoy => ("decoy", Vec::new()),
    }
}
