//! `scgraft programs`: the gene programs of a model.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use scgraft::analysis::programs::{DirectionMethod, directions, gene_importance};
use scgraft::io::write_rows;
use scgraft::models::{Membership, Model};
use scgraft::pipeline::program_weights;
use serde_json::json;

use super::output::{arrow, fixed, number};
use super::{Global, Output, files, input};

const EXAMPLES: &str = "\
Direction: `up` means that a higher latent score goes with higher expression of the program's genes. `sum` is the sign of
the sum of its weights; `counts` the sign most of them have, with a confidence from 0 to 1. A gene marked + is not in the
program's gene set (soft gene sets, new programs).

Examples:
  scgraft programs reference.scgraft --top 10
  scgraft programs mapped.scgraft --program INTERFERON_SIGNALING --top 50
  scgraft programs reference.scgraft --tsv program_genes.tsv";

/// List the gene programs of a model, their directions and genes.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Programs {
    /// A model, as `train` or `map --save-model` wrote it
    pub model: PathBuf,
    /// Genes shown for each program
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub top: usize,
    /// Only these programs
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub program: Vec<String>,
    /// Also programs that the fit pruned
    #[arg(long)]
    pub all: bool,
    /// Write all genes of all programs as a table
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
}

impl Programs {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        files::check_input(&self.model)?;
        if let Some(path) = &self.tsv {
            files::check_output(path, &[&self.model])?;
        }
        let model = Model::load(&self.model)?;
        let Some(weights) = program_weights(&model) else {
            bail!("{}: the dimensions of a {} model are not gene programs", self.model.display(), model.entry.name);
        };
        let programs: Vec<_> = model.header.programs().collect();
        let names: Vec<&str> = programs.iter().map(|(_, p)| p.name.as_str()).collect();
        if let Some(unknown) = self.program.iter().find(|p| !names.contains(&p.as_str())) {
            bail!(
                "the model has no program `{unknown}`; nearest name first: {}",
                input::nearest_first(unknown, &names)
            );
        }
        let members: Vec<Vec<u32>> = programs.iter().map(|(_, p)| p.members.clone()).collect();
        let genes = gene_importance(&weights, Some(&members))?;
        let (sums, counts) =
            (directions(&weights, DirectionMethod::Sum)?, directions(&weights, DirectionMethod::Counts)?);
        let mut told = Vec::new();
        let mut rows = Vec::new();
        let mut table = Vec::new();
        for (j, (segment, program)) in programs.iter().enumerate() {
            let active = !genes[j].genes.is_empty();
            let asked = self.program.is_empty() && (active || self.all) || self.program.contains(&program.name);
            for (rank, g) in genes[j].genes.iter().enumerate() {
                let gene = model.header.genes[g.gene].clone();
                let (weight, share) = (g.weight.to_string(), format!("{:.6}", g.share));
                table.push(vec![
                    program.name.clone(),
                    (rank + 1).to_string(),
                    gene,
                    weight,
                    share,
                    g.in_set.to_string(),
                ]);
            }
            if !asked {
                continue;
            }
            let top = genes[j].genes.iter().take(self.top);
            let mark = |in_set: bool| if in_set || segment.membership == Membership::Free { "" } else { "+" };
            let list: Vec<String> =
                top.clone().map(|g| format!("{}{}", model.header.genes[g.gene], mark(g.in_set))).collect();
            rows.push([
                program.name.clone(),
                arrow(sums.sign[j]),
                format!("{} {}", arrow(counts.sign[j]), fixed(counts.confidence[j], 2)),
                format!("{}/{}", genes[j].genes.len(), program.members.len()),
                list.join(" "),
            ]);
            let list: Vec<_> = top
                .map(|g| {
                    json!({"gene": model.header.genes[g.gene], "weight": number(f64::from(g.weight)),
                                "share": number(g.share), "in_set": g.in_set})
                })
                .collect();
            told.push(json!({
                "name": program.name,
                "active": active,
                "origin": segment.origin.as_deref().unwrap_or("reference"),
                "direction": sums.sign[j],
                "direction_confidence": number(sums.confidence[j]),
                "direction_by_counts": counts.sign[j],
                "direction_by_counts_confidence": number(counts.confidence[j]),
                "genes_in_set": program.members.len(),
                "genes_with_weight": genes[j].genes.len(),
                "genes": list,
            }));
        }
        if let Some(path) = &self.tsv {
            write_rows(path, &["program", "rank", "gene", "weight", "share", "in_set"], table)?;
        }
        let n_active = genes.iter().filter(|g| !g.genes.is_empty()).count();
        out.table(["program", "sum", "counts", "genes", "top genes"], &rows);
        out.line(format!("{n_active} of {} programs are active", programs.len()));
        out.put("active", n_active);
        out.put("programs", told);
        Ok(())
    }
}
