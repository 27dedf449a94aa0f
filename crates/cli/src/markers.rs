//! `scgraft markers`: genes that tell groups of cells apart.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use scgraft::analysis::markers::Marker;
use scgraft::cells::counted;
use scgraft::io::together;
use scgraft::markers::{MarkerPlan, markers, table};
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
    #[command(flatten)]
    pub of: OfGroups,
    /// Allow for ties in the variance of the rank sum
    #[arg(long)]
    pub tie_correct: bool,
    #[command(flatten)]
    pub expression: Expression,
    /// Where to write the file with the ranked genes in it [default: the file itself]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Leave the file as it is
    #[arg(long, conflicts_with = "output")]
    pub no_update: bool,
}

/// Groups whose genes are compared, and what is shown of them.
#[derive(Args, Clone, Debug)]
pub(crate) struct OfGroups {
    /// Column of obs with the groups
    #[arg(long, value_name = "COLUMN")]
    pub groups: String,
    /// Only these groups [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub group: Vec<String>,
    /// The group to compare with [default: all other cells]
    #[arg(long, value_name = "NAME")]
    pub versus: Option<String>,
    /// Genes to print of each group, and in each direction where directions stand apart
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub top: usize,
    /// Write all genes of all groups as a table
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
}

impl Markers {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        let output = (!self.no_update).then(|| self.output.clone().unwrap_or_else(|| self.data.clone()));
        files::check_update(&self.data, output.as_ref(), &self.of.tsv, &[])?;
        let mut cells = files::read_own(&self.data, output.is_some())?;
        let expression = self.expression.of(&cells)?;
        let OfGroups { groups, group, versus, top, tsv } = self.of;
        let plan = MarkerPlan { groups, group, versus, tie_correct: self.tie_correct };
        let found = markers((&cells, &self.data.display().to_string()), &expression, &plan)?;
        let versus = plan.versus();
        let mut told = Vec::new();
        for group in &found {
            out.line(format!(
                "{} ({}) versus {versus} ({})",
                group.group,
                counted(group.n_group, "cell", "cells"),
                group.n_reference
            ));
            let leading = || group.genes.iter().take(top).map(|m| (&expression.genes.index[m.gene], m));
            let row = |(gene, m): (&String, &Marker)| {
                let [own, other] = [m.share_group, m.share_reference].map(|s| fixed(100.0 * s, 0));
                let p = format!("{:.1e}", m.p_adjusted);
                [gene.clone(), fixed(m.score, 2), fixed(m.log2_fold_change, 2), p, own, other]
            };
            let header = ["gene", "score", "log2 fold", "adjusted p", "% in", "% out"];
            out.table(header, &leading().map(row).collect::<Vec<_>>());
            out.line("");
            let row = |(gene, m): (&String, &Marker)| {
                json!({"gene": gene, "score": number(m.score), "p_adjusted": number(m.p_adjusted),
                       "log2_fold_change": number(m.log2_fold_change)})
            };
            let genes = leading().map(row).collect::<Vec<_>>();
            told.push(json!({"group": group.group, "versus": versus, "cells": group.n_group, "genes": genes}));
        }
        let table = table(&found, &expression.genes.index, &plan);
        if output.is_some() {
            let genes = &expression.genes.index;
            slots::put_markers(&mut cells, genes, &plan, &self.expression.values.slot(), &found);
        }
        together(|| {
            files::write_table(tsv.as_ref(), &files::without_index(table))?;
            output.as_ref().map_or(Ok(()), |path| files::write(path, &cells))
        })?;
        out.put("markers", told);
        Ok(())
    }
}
