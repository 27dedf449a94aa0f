//! `scgraft markers`: genes that tell groups of cells apart.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use scgraft::io::{together, write_rows};
use scgraft::markers::{MarkerPlan, markers};
use scgraft::slots;
use serde_json::json;

use super::near::Expression;
use super::output::{fixed, number};
use super::{Global, Output, files};

const EXAMPLES: &str = "\
Wilcoxon rank sums on log-normalised expression, as scanpy's rank_genes_groups computes them; they stand in
uns[\"rank_genes_groups\"] of the file afterwards, where scanpy's readers and plots look. Cells of a sample are not
independent, so p-values rank genes; they do not say that a difference holds between donors (`enrich --donors` does).

Examples:
  scgraft markers mapped.h5ad --groups cell_type_pred
  scgraft markers mapped.h5ad --groups condition --versus control --tsv markers.tsv
  scgraft markers data.h5ad --groups leiden --group 0,3 --tie-correct --layer counts";

/// Rank marker genes of groups of cells.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Markers {
    /// An h5ad file
    pub data: PathBuf,
    /// Column of obs with the groups
    #[arg(long, value_name = "COLUMN")]
    pub groups: String,
    /// Only these groups
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub group: Vec<String>,
    /// Compare with this group instead of all other cells
    #[arg(long, value_name = "NAME")]
    pub versus: Option<String>,
    /// Allow for ties in the variance of the rank sum
    #[arg(long)]
    pub tie_correct: bool,
    #[command(flatten)]
    pub expression: Expression,
    /// Genes shown of each group
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub top: usize,
    /// Write all genes of all groups as a table
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
    /// Where to write the file with the ranked genes in it [default: the file itself]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Leave the file as it is
    #[arg(long, conflicts_with = "output")]
    pub no_update: bool,
}

/// The columns of the table.
const HEADER: [&str; 10] = [
    "group",
    "comparison",
    "rank",
    "gene",
    "score",
    "log2_fold_change",
    "p_value",
    "p_adjusted",
    "share_group",
    "share_comparison",
];

impl Markers {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        files::check_input(&self.data)?;
        let output = (!self.no_update).then(|| self.output.clone().unwrap_or_else(|| self.data.clone()));
        files::check_update(&self.data, output.as_ref(), &self.tsv, &[])?;
        let mut cells = files::read_own(&self.data, output.is_some())?;
        let expression = self.expression.of(&cells)?;
        let plan = MarkerPlan {
            groups: self.groups,
            group: self.group,
            versus: self.versus.clone(),
            tie_correct: self.tie_correct,
        };
        let found = markers((&cells, &self.data.display().to_string()), &expression, &plan)?;
        let versus = self.versus.as_deref().unwrap_or("rest");
        let mut table = Vec::new();
        let mut told = Vec::new();
        for group in &found {
            out.line(format!("{} ({} cells) versus {versus} ({})", group.group, group.n_group, group.n_reference));
            let name = |gene: usize| expression.genes.index[gene].clone();
            let rows: Vec<[String; 6]> = group
                .genes
                .iter()
                .take(self.top)
                .map(|m| {
                    let shares = [m.share_group, m.share_reference].map(|s| fixed(100.0 * s, 0));
                    let [own, other] = shares;
                    let p = format!("{:.1e}", m.p_adjusted);
                    [name(m.gene), fixed(m.score, 2), fixed(m.log2_fold_change, 2), p, own, other]
                })
                .collect();
            out.table(["gene", "score", "log2 fold", "adjusted p", "% in", "% out"], &rows);
            out.line("");
            for (rank, m) in group.genes.iter().enumerate() {
                let numbers = [m.score, m.log2_fold_change, m.p_value, m.p_adjusted, m.share_group, m.share_reference];
                let mut row = vec![group.group.clone(), versus.to_owned(), (rank + 1).to_string(), name(m.gene)];
                row.extend(numbers.map(|v| format!("{v:?}")));
                table.push(row);
            }
            let leading: Vec<_> = group
                .genes
                .iter()
                .take(self.top)
                .map(|m| {
                    json!({"gene": name(m.gene), "score": number(m.score), "p_adjusted": number(m.p_adjusted),
                                "log2_fold_change": number(m.log2_fold_change)})
                })
                .collect();
            told.push(json!({"group": group.group, "versus": versus, "cells": group.n_group, "genes": leading}));
        }
        if output.is_some() {
            let genes = &expression.genes.index;
            slots::put_markers(&mut cells, genes, &plan, &self.expression.values.slot(), &found);
        }
        together(|| {
            if let Some(path) = &self.tsv {
                write_rows(path, &HEADER, table)?;
                tracing::info!("wrote {}", path.display());
            }
            output.as_ref().map_or(Ok(()), |path| files::write(path, &cells))
        })?;
        out.put("markers", told);
        Ok(())
    }
}
