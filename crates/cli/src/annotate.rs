//! `scgraft annotate`: labels of the reference for mapped cells.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use scgraft::analysis::transfer::{
    Calibration, HierarchicalTransfer, Kernel, NoveltyOptions, TransferOptions, UNKNOWN,
};
use scgraft::annotate::{AnnotatePlan, AnnotatedLabels, Placed, Truth, annotate};
use scgraft::io::together;
use scgraft::slots;
use serde_json::{Value, json};

use super::input::{Condition, Values};
use super::label_map::{self, LabelMap};
use super::near::Near;
use super::output::{fixed, number};
use super::{Global, Output, encode, files, remote, stop};

const EXAMPLES: &str = "\
For each label column L writes obs[\"L_pred\"] (`Unknown` where the reference does not have the type), obs[\"L_best\"],
obs[\"L_novelty\"] (above 1: unknown), obs[\"L_uncertainty\"] (how much the neighbours disagree), with --coverage
obs[\"L_set\"] (the labels that a cell may have), and obsm[\"L_probabilities\"]; obs[\"scgraft_distance\"] says how far outside the reference a cell lies (about 1 inside),
obs[\"scgraft_distance_quantile\"] which share of reference cells lies less far. Without --output the mapped file itself
gets them. --nested takes the labels as nested, finest first, and writes obs[\"L_nested\"]: the finest label that is certain.
--numbers carries numeric columns N over as obs[\"N_pred\"] and obs[\"N_sd\"]. --calibrate makes uncertainties those that the
reference's own labels bear out; where the query has labels (--truth), it is told how often the new ones agree, and where
--truth names them obs[\"L_verdict\"] says of each cell `right`, `wrong` or `unknown`. --majority gives each cluster the label
that most of its cells got: obs[\"L_majority\"], and the share of them in obs[\"L_majority_share\"].

Examples:
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type
  scgraft annotate reference.h5ad mapped.h5ad --model reference.scgraft --labels cell_type,lineage --k 50
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type --unknown 0.3 --tsv labels.tsv -o annotated.h5ad
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type,lineage,compartment --nested
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type --calibrate temperature --calibrate-across study
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type --numbers pseudotime --truth author_type
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type --majority leiden";

/// Carry labels of the reference over to mapped cells.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Annotate {
    /// The reference with its embedding (`train --embed`), or a model that brings its cells (`bundle`); with --model, the
    /// cells it was trained on
    pub reference: PathBuf,
    /// The mapped query
    pub mapped: PathBuf,
    /// Columns of the reference's obs to carry over
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', required = true)]
    pub labels: Vec<String>,
    /// The value of those columns that means that a cell has none
    #[arg(long, value_name = "VALUE")]
    pub unlabelled: Option<String>,
    /// Encode the reference with this model
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Neighbours of each cell in the reference
    #[arg(long, default_value_t = 15, value_name = "N")]
    pub k: usize,
    /// How the weight of a neighbour falls with its distance
    #[arg(long, value_enum, default_value_t = Weighting::Adaptive)]
    pub kernel: Weighting,
    /// Which cells are `Unknown`
    #[arg(long, value_enum, default_value_t = Rule::Novelty)]
    pub rule: Rule,
    /// Share of the cells of known types that the rule `novelty` may call unknown
    #[arg(long, default_value_t = 0.05, value_name = "X")]
    pub false_alarms: f64,
    /// Cells more uncertain than this are `Unknown` by the rule `paper`; 1 labels all [default: 0.5] [implies --rule paper]
    #[arg(long, value_name = "X")]
    pub unknown: Option<f64>,
    /// Give the labels that a cell may have as well, so many that the true one is among them in this share of the cells
    #[arg(long, value_name = "X")]
    pub coverage: Option<f64>,
    /// Columns of obs with study or donor, of the reference and, where it has them, of the query: what novelty and coverage
    /// are learned across [default: the condition that the reference was trained with]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub across: Vec<String>,
    /// Embedding to use, an entry of obsm
    #[arg(long, default_value = slots::LATENT, value_name = "KEY")]
    pub embedding: String,
    /// Find neighbours by the scores of these programs only; `*` stands for any text, `?` for any letter
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub programs: Vec<String>,
    /// Where to write the annotated query [default: the mapped file itself]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the labels as a table as well
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
    /// The label columns are nested, finest first: fall back to the parent where a label is uncertain
    #[arg(long)]
    pub nested: bool,
    /// Numeric columns of the reference's obs to carry over
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub numbers: Vec<String>,
    /// Calibrate the uncertainties on the reference's own labels
    #[arg(long, value_enum, value_name = "METHOD")]
    pub calibrate: Option<Calibrate>,
    /// Column of the reference's obs (study, donor): calibrate on neighbours in other studies, as a new study finds them
    #[arg(long, value_name = "COLUMN", requires = "calibrate")]
    pub calibrate_across: Option<String>,
    /// Columns of the query's obs with labels to compare with, in the order of --labels [default: those of the same
    /// names, where they are]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub truth: Vec<String>,
    /// Column of the query's obs with clusters (`cluster`): each gets the label that most of its cells got
    #[arg(long, value_name = "COLUMN")]
    pub majority: Option<String>,
    #[command(flatten)]
    pub label_map: LabelMap,
    #[command(flatten)]
    pub near: Near,
    #[command(flatten)]
    pub values: Values,
    #[command(flatten)]
    pub condition: Condition,
}

/// Which cells are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rule {
    /// Those of a type that the reference does not have: far from every type in the map and, where there are counts, in
    /// expression, the shift of their batch taken off
    Novelty,
    /// Those whose neighbours disagree, as in the scArches paper; a cell far from everything can be certain
    Paper,
}

/// Weight of a neighbour by its distance.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Weighting {
    /// exp(−(d² − d₁²)/v), v the mean of d² − d₁² over the neighbours, d₁ the nearest distance: whatever the scale
    Adaptive,
    /// The scArches paper's
    Paper,
    /// The scArches code's
    Compat,
    /// All the same
    Uniform,
    /// exp(−d²/2s²), whatever the scale of the embedding
    Gaussian,
}

/// How uncertainties are calibrated.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Calibrate {
    /// All probabilities sharper or flatter by one temperature
    Temperature,
    /// A rising curve from confidence to accuracy
    Isotonic,
}

impl Weighting {
    pub fn kernel(self) -> Kernel {
        match self {
            Weighting::Adaptive => Kernel::Adaptive,
            Weighting::Paper => Kernel::Paper,
            Weighting::Compat => Kernel::Compat,
            Weighting::Uniform => Kernel::Uniform,
            Weighting::Gaussian => Kernel::Gaussian,
        }
    }
}

impl Annotate {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        remote::check_input(&self.reference)?;
        files::check_input(&self.mapped)?;
        let output = self.output.as_ref().unwrap_or(&self.mapped);
        let mut inputs: Vec<&Path> = vec![&self.reference];
        inputs.extend(self.model.as_deref());
        files::check_update(&self.mapped, Some(output), &self.tsv, &inputs)?;
        let plan = self.plan(global)?;
        let (reference, known) = match &self.model {
            Some(path) => encode::encoded(&remote::model(path)?, &self.reference, &self.values, &self.condition)?,
            None => encode::stored_with_counts(&self.reference, &self.embedding, COUNTS)?,
        };
        let mut cells = files::read_own(&self.mapped, true)?;
        let [file, mapped] = [&self.reference, &self.mapped].map(|path| path.display().to_string());
        let embedding = slots::embedding(&cells, &self.embedding).with_context(|| mapped.clone())?;
        let (known, embedding) = match self.programs.is_empty() {
            true => (known, embedding),
            false => (known.of_patterns(&self.programs)?, embedding.of_patterns(&self.programs)?),
        };
        let query = Placed { name: &mapped, cells: &cells, embedding: &embedding };
        let reference = Placed { name: &file, cells: &reference, embedding: &known };
        let found = annotate(&reference, &query, &plan, &mut stop::ask)?;
        self.near.tell(found.recall);
        if found.n_studies < 2 && (plan.novelty.is_some() || plan.coverage.is_some()) {
            tracing::warn!(
                "the reference is one study{}: what is new, and label sets, are judged by its own cells, which says little \
                 of another study",
                if found.across.is_empty() { " as far as is known; name its studies with --across" } else { "" }
            );
        }
        slots::put_annotation(&mut cells, &found);
        let told: Vec<Value> = found.labels.iter().map(|labels| tell(labels, out)).collect();
        if let Some(nested) = &found.nested {
            let told = tell_nested(nested, out);
            out.put("nested", told);
        }
        together(|| {
            if let Some(path) = &self.tsv {
                let mut table = cells.obs.clone();
                table.columns.retain(|(n, _)| {
                    let of_label = |l: &String| n.strip_prefix(l.as_str()).is_some_and(|e| ENDINGS.contains(&e));
                    let of_number = |l: &String| n.strip_prefix(l.as_str()).is_some_and(|e| e == "_pred" || e == "_sd");
                    self.labels.iter().any(of_label)
                        || self.numbers.iter().any(of_number)
                        || n.starts_with("scgraft_distance")
                });
                table.index_name = Some("cell".into());
                files::write_table(Some(path), &table)?;
            }
            files::write(output, &cells)
        })?;
        let carried = self.labels.iter().chain(&self.numbers);
        let columns: Vec<String> = carried.map(|name| format!("obs[\"{name}_pred\"]")).collect();
        out.line(format!("{} of {}", columns.join(", "), output.display()));
        out.put("output", output.display().to_string());
        out.put("labels", told);
        Ok(())
    }

    fn plan(&self, global: &Global) -> Result<AnnotatePlan> {
        if self.truth.len() > self.labels.len() {
            bail!("--truth has {} columns, --labels {}", self.truth.len(), self.labels.len());
        }
        let rule = if self.unknown.is_some() { Rule::Paper } else { self.rule };
        let novelty = NoveltyOptions { false_alarms: self.false_alarms, ..NoveltyOptions::default() };
        let usual = AnnotatePlan::default();
        Ok(AnnotatePlan {
            labels: self.labels.clone(),
            unlabelled: self.unlabelled.clone(),
            numbers: self.numbers.clone(),
            k: self.k,
            search: self.near.search(global)?,
            transfer: TransferOptions {
                kernel: self.kernel.kernel(),
                unknown_above: self.unknown.unwrap_or(usual.transfer.unknown_above),
                ..usual.transfer
            },
            novelty: (rule == Rule::Novelty).then_some(novelty),
            coverage: self.coverage,
            across: self.across.clone(),
            calibration: self.calibrate.map(Calibrate::method),
            calibrate_across: self.calibrate_across.clone(),
            nested: self.nested,
            truth: self.truth.clone(),
            renamed: self.label_map.read()?,
            majority: self.majority.clone(),
        })
    }
}

/// Most cells of a reference whose counts are read. A model brings what novelty takes of them, however many there were.
const COUNTS: usize = 200_000;

const ENDINGS: [&str; 10] = [
    "_pred",
    "_best",
    "_uncertainty",
    "_novelty",
    "_set",
    "_nested",
    "_nested_column",
    "_majority",
    "_majority_share",
    "_verdict",
];

impl Calibrate {
    fn method(self) -> Calibration {
        match self {
            Calibrate::Temperature => Calibration::Temperature,
            Calibrate::Isotonic => Calibration::Isotonic,
        }
    }
}

fn tell_nested(nested: &HierarchicalTransfer, out: &mut Output) -> Vec<Value> {
    let n = |depth: Option<u32>| nested.depth.iter().filter(|d| **d == depth).count();
    let mut told: Vec<Value> = Vec::new();
    let mut rows: Vec<[String; 2]> = Vec::new();
    for (d, t) in nested.depths.iter().enumerate() {
        rows.push([t.column.clone(), n(Some(d as u32)).to_string()]);
        told.push(json!({"column": t.column, "cells": n(Some(d as u32))}));
    }
    rows.push([UNKNOWN.to_owned(), n(None).to_string()]);
    told.push(json!({"column": Value::Null, "cells": n(None)}));
    out.line("nested: cells by the finest column that is certain");
    out.table(["column", "cells"], &rows);
    out.line("");
    told
}

/// How many cells got each label.
fn tell(labels: &AnnotatedLabels, out: &mut Output) -> Value {
    let (name, n, unknown) = (&labels.transfer.column, labels.transfer.best.len(), labels.n_unknown());
    let counts = labels.counts();
    let rows: Vec<[String; 4]> = counts
        .iter()
        .map(|c| [c.label.clone(), c.cells.to_string(), c.unknown.to_string(), fixed(c.mean_uncertainty, 3)])
        .collect();
    let counts = counts.iter().map(|c| {
        json!({"label": c.label, "cells": c.cells, "unknown": c.unknown, "mean_uncertainty": number(c.mean_uncertainty)})
    });
    out.table([name.as_str(), "cells", "unknown", "mean uncertainty"], &rows);
    let mut told = json!({"column": name, "cells": n, "unknown": unknown, "labels": counts.collect::<Vec<_>>()});
    match &labels.novelty {
        Some(novelty) => {
            let learned = match novelty.n_held_out {
                0 => {
                    "learned from the reference's own cells: no study of 50 cells to hold against the others".to_owned()
                }
                n => format!("learned from {n} studies of the reference, each held against the others"),
            };
            out.line(format!(
                "{unknown} of {n} cells are unknown: further from every type than known ones, {} ({learned})",
                match novelty.n_genes {
                    0 => "by the map alone, without counts of both".to_owned(),
                    genes => format!("in the map and in the expression of {genes} genes"),
                }
            ));
            told["studies_held_out"] = novelty.n_held_out.into();
            told["novelty_genes"] = novelty.n_genes.into();
        }
        None => out.line(format!("{unknown} of {n} cells are unknown: their neighbours disagree")),
    }
    if let Some(found) = &labels.sets {
        let one = found.sets.iter().filter(|s| s.len() == 1).count();
        out.line(format!("label sets: {} labels per cell on average, one in {one} cells", fixed(found.mean_size(), 2)));
        told["sets"] = json!({"mean_size": number(found.mean_size()), "of_one_label": one});
    }
    if let Some(found) = &labels.majority {
        let same = (0..n).filter(|&i| found.labels[i].as_deref() == Some(labels.transfer.label(i))).count();
        out.line(format!("the label of most cells of their cluster is that of {same} of {n} cells"));
        told["as_majority"] = same.into();
    }
    if let Some(Truth { column, matched, agreement, by_label, unused, .. }) = &labels.truth {
        label_map::warn_unused(unused);
        if let Some((right, error)) = *agreement {
            let of = matched.counted;
            let share = fixed(100.0 * right, 1);
            let too = if unknown > 0 { " (unknown or not)" } else { "" };
            out.line(format!(
                "the nearest label is right in {share} % of the {of} cells whose `{column}` the reference has{too}, mean over labels {} %, \
                 macro F1 {}; calibration error {}",
                fixed(100.0 * by_label.by_type, 1),
                fixed(by_label.f1, 3),
                fixed(error, 3)
            ));
            told["truth"] = json!({
                "column": column, "cells": of, "accuracy": number(right), "accuracy_by_label": number(by_label.by_type),
                "f1_macro": number(by_label.f1), "calibration_error": number(error),
            });
        }
        if matched.labelled > 0 {
            told["truth_labels"] = label_map::tell(matched, &format!("accuracy by `{column}`"), ", left out", out);
        }
    }
    out.line("");
    told
}
