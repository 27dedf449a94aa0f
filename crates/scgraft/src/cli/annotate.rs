//! `scgraft annotate`: labels of the reference for mapped cells.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use scgraft::analysis::transfer::{Kernel, TransferOptions};
use scgraft::cells::Coded;
use scgraft::io::write_table;
use scgraft::models::Model;
use scgraft::{pipeline, slots};
use serde_json::json;

use super::input::{self, Condition, Values};
use super::output::{fixed, number};
use super::{Global, Output, encode, files, stop};

const EXAMPLES: &str = "\
For each label column L writes obs[\"L_pred\"] (`Unknown` where too uncertain), obs[\"L_best\"], obs[\"L_uncertainty\"]
and obsm[\"L_probabilities\"]; obs[\"scgraft_distance\"] says how far outside the reference a cell lies (about 1 inside),
obs[\"scgraft_distance_quantile\"] which share of reference cells lies less far. Without --output the mapped file itself
gets them.

Examples:
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type
  scgraft annotate reference.h5ad mapped.h5ad --model reference.scgraft --labels cell_type,lineage --k 50
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type --unknown 0.3 --tsv labels.tsv -o annotated.h5ad";

/// Carry labels of the reference over to mapped cells.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Annotate {
    /// The reference with its embedding (`train --embed`); with --model, the cells it was trained on
    pub reference: PathBuf,
    /// The mapped query
    pub mapped: PathBuf,
    /// Columns of the reference's obs to carry over
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', required = true)]
    pub labels: Vec<String>,
    /// Encode the reference with this model
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Neighbours of each cell in the reference
    #[arg(long, default_value_t = 15, value_name = "N")]
    pub k: usize,
    /// How the weight of a neighbour falls with its distance
    #[arg(long, value_enum, default_value_t = Weighting::Paper)]
    pub kernel: Weighting,
    /// Cells more uncertain than this are `Unknown`; 1 labels all
    #[arg(long, default_value_t = 0.5, value_name = "X")]
    pub unknown: f64,
    /// Embedding to use, an entry of obsm
    #[arg(long, default_value = slots::LATENT, value_name = "KEY")]
    pub embedding: String,
    /// Where to write the annotated query [default: the mapped file itself]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the labels as a table as well
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
    #[command(flatten)]
    pub values: Values,
    #[command(flatten)]
    pub condition: Condition,
}

/// Weight of a neighbour by its distance.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Weighting {
    /// The scArches paper's
    Paper,
    /// The scArches code's
    Compat,
    /// All the same
    Uniform,
    /// exp(−d²/2s²), whatever the scale of the embedding
    Gaussian,
}

impl Weighting {
    pub fn kernel(self) -> Kernel {
        match self {
            Weighting::Paper => Kernel::Paper,
            Weighting::Compat => Kernel::Compat,
            Weighting::Uniform => Kernel::Uniform,
            Weighting::Gaussian => Kernel::Gaussian,
        }
    }
}

impl Annotate {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        files::check_input(&self.reference)?;
        files::check_input(&self.mapped)?;
        let output = self.output.as_ref().unwrap_or(&self.mapped);
        for path in [Some(output), self.tsv.as_ref()].into_iter().flatten() {
            files::check_output(path, &[&self.reference])?;
        }
        let (reference, known) = match &self.model {
            Some(path) => encode::encoded(&Model::load(path)?, &self.reference, &self.values, &self.condition)?,
            None => encode::stored(&self.reference, &self.embedding)?,
        };
        let file = self.reference.display().to_string();
        let mut cells = files::read_own(&self.mapped)?;
        let query =
            slots::embedding(&cells, &self.embedding).map_err(|e| anyhow::anyhow!("{}: {e}", self.mapped.display()))?;
        let options =
            TransferOptions { kernel: self.kernel.kernel(), unknown_above: self.unknown, probabilities: true };
        let mut told = Vec::new();
        for name in &self.labels {
            let (labels, rows) = input::coded(&reference, &file, name)?;
            let known = if rows.len() == reference.n_cells() { known.clone() } else { known.select_cells(&rows) };
            stop::check()?;
            let annotation = pipeline::annotate(&known, &[(name, &labels)], &query, self.k, &options)?;
            slots::put_annotation(&mut cells, &annotation);
            told.push(tell(&annotation, name, &labels, out));
        }
        if let Some(path) = &self.tsv {
            let mut table = cells.obs.clone();
            table.columns.retain(|(n, _)| {
                let of_label = |l: &String| n.strip_prefix(l.as_str()).is_some_and(|e| ENDINGS.contains(&e));
                self.labels.iter().any(of_label) || n.starts_with("scgraft_distance")
            });
            table.index_name = Some("cell".into());
            write_table(path, &table)?;
        }
        files::write(output, &cells)?;
        out.put("output", output.display().to_string());
        out.put("labels", told);
        Ok(())
    }
}

const ENDINGS: [&str; 3] = ["_pred", "_best", "_uncertainty"];

/// How many cells got each label.
fn tell(annotation: &pipeline::Annotation, name: &str, labels: &Coded, out: &mut Output) -> serde_json::Value {
    let t = &annotation.labels[0];
    let n = t.best.len();
    let unknown = t.unknown.iter().filter(|u| **u).count();
    let mut rows = Vec::new();
    let mut counts = Vec::new();
    for (level, level_name) in labels.levels.iter().enumerate() {
        let of: Vec<usize> = (0..n).filter(|&i| t.best[i] as usize == level).collect();
        if of.is_empty() {
            continue;
        }
        let uncertain = of.iter().filter(|&&i| t.unknown[i]).count();
        let mean = of.iter().map(|&i| t.uncertainty[i]).sum::<f64>() / of.len() as f64;
        rows.push([level_name.clone(), (of.len() - uncertain).to_string(), uncertain.to_string(), fixed(mean, 3)]);
        counts.push(json!({"label": level_name, "cells": of.len() - uncertain, "unknown": uncertain,
                           "mean_uncertainty": number(mean)}));
    }
    out.table([name, "cells", "unknown", "mean uncertainty"], &rows);
    let outside = annotation.distance.quantile.iter().filter(|q| **q > 0.99).count();
    out.line(format!("{unknown} of {n} cells are unknown; {outside} lie further out than 99 % of the reference\n"));
    json!({"column": name, "cells": n, "unknown": unknown, "far_outside": outside, "labels": counts})
}
