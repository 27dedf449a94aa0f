//! `scgraft annotate`: labels of the reference for mapped cells.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use scgraft::analysis::neighbours::{Neighbours, knn_across};
use scgraft::analysis::transfer::{
    Calibration, HierarchicalTransfer, Kernel, LabelTransfer, NoveltyOptions, TransferOptions, UNKNOWN, calibrate,
    check_nested, transfer_values,
};
use scgraft::cells::{Cells, Coded, Column, Dense, Uns};
use scgraft::io::write_table;
use scgraft::labels::{Match, Renamed};
use scgraft::{pictures, pipeline, slots};
use serde_json::{Value, json};

use super::input::{self, Condition, Values};
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
reference's own labels bear out; where the query has labels (--truth), it is told how often the new ones agree.

Examples:
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type
  scgraft annotate reference.h5ad mapped.h5ad --model reference.scgraft --labels cell_type,lineage --k 50
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type --unknown 0.3 --tsv labels.tsv -o annotated.h5ad
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type,lineage,compartment --nested
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type --calibrate temperature --calibrate-across study
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type --numbers pseudotime --truth author_type";

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
    /// Those of a type that the reference does not have: far from every type, the shift of their batch taken off
    Novelty,
    /// Those whose neighbours disagree, as in the scArches paper; a cell far from everything can be certain
    Paper,
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
            Weighting::Paper => Kernel::Paper,
            Weighting::Compat => Kernel::Compat,
            Weighting::Uniform => Kernel::Uniform,
            Weighting::Gaussian => Kernel::Gaussian,
        }
    }
}

impl Annotate {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        files::check_input(&self.reference)?;
        files::check_input(&self.mapped)?;
        let output = self.output.as_ref().unwrap_or(&self.mapped);
        let mut inputs: Vec<&Path> = vec![&self.reference];
        inputs.extend(self.model.as_deref());
        files::check_update(&self.mapped, Some(output), &self.tsv, &inputs)?;
        let (reference, known) = match &self.model {
            Some(path) => encode::encoded(&remote::model(path)?, &self.reference, &self.values, &self.condition)?,
            None => encode::stored(&self.reference, &self.embedding)?,
        };
        let file = self.reference.display().to_string();
        let mut cells = files::read_own(&self.mapped)?;
        let query = slots::embedding(&cells, &self.embedding).with_context(|| self.mapped.display().to_string())?;
        let rule = if self.unknown.is_some() { Rule::Paper } else { self.rule };
        let unknown_above = self.unknown.unwrap_or(0.5);
        let options = TransferOptions { kernel: self.kernel.kernel(), unknown_above, probabilities: true };
        let new = NoveltyOptions { false_alarms: self.false_alarms, ..NoveltyOptions::default() };
        let across = if self.across.is_empty() { condition_columns(&cells) } else { self.across.clone() };
        let (studies, batches) = (joined(&reference, &across), joined(&cells, &across));
        if studies.levels.len() < 2 && (rule == Rule::Novelty || self.coverage.is_some()) {
            tracing::warn!(
                "the reference is one study{}: what is new, and label sets, are judged by its own cells, which says little \
                 of another study",
                if across.is_empty() { " as far as is known; name its studies with --across" } else { "" }
            );
        }
        let columns: Vec<(&str, Coded, Vec<usize>)> = self
            .labels
            .iter()
            .map(|name| input::coded(&reference, &file, name).map(|(coded, rows)| (name.as_str(), coded, rows)))
            .collect::<Result<_>>()?;
        let whole = columns.iter().all(|c| c.2.len() == reference.n_cells());
        if self.nested && !whole {
            bail!("--nested needs every label column filled in every reference cell");
        }
        if self.truth.len() > self.labels.len() {
            bail!("--truth has {} columns, --labels {}", self.truth.len(), self.labels.len());
        }
        let renamed = self.label_map.read()?;
        let mut told = Vec::new();
        // Columns filled in all cells share their neighbours; one with gaps has its own.
        let groups = if whole { vec![&columns[..]] } else { columns.chunks(1).collect() };
        let search = self.near.search(global);
        for columns in groups {
            let rows = &columns[0].2;
            let known = if rows.len() == reference.n_cells() { known.clone() } else { known.select_cells(rows) };
            stop::check()?;
            let near = pipeline::neighbours(&known, &query, self.k, &search)?;
            self.near.tell(near.recall);
            let labels: Vec<(&str, &Coded)> = columns.iter().map(|(name, coded, _)| (*name, coded)).collect();
            let mut annotation = pipeline::annotate(&near, &labels, &options)?;
            if let Some(method) = self.calibrate {
                let across = self.across(&reference, rows, &known.mean, &file)?;
                let own = across.as_ref().unwrap_or(&near.reference);
                for (t, (_, coded)) in annotation.labels.iter_mut().zip(&labels) {
                    calibrate(t, own, coded, method.method(), &options)?;
                }
            }
            let own = Coded { codes: rows.iter().map(|&i| studies.codes[i]).collect(), levels: studies.levels.clone() };
            let (own, batches) = (("study", &own), ("batch", &batches));
            if rule == Rule::Novelty {
                pipeline::find_new(&mut annotation, (&known, own), &labels, (&query, batches), &new, &search)?;
            }
            if let Some(coverage) = self.coverage {
                pipeline::find_sets(&mut annotation, (&known, own), &labels, &query, coverage, &search)?;
            }
            slots::put_annotation(&mut cells, &annotation);
            for (t, (name, coded)) in annotation.labels.iter().zip(&labels) {
                let truth = self.truth_of(name);
                let truth = truth.as_deref().map(|truth| (truth, &renamed));
                told.push(tell(t, &annotation, coded, &cells, truth, out)?);
            }
            if self.nested {
                check_nested(&labels)?;
                let nested = HierarchicalTransfer::of(annotation.labels);
                slots::put_nested(&mut cells, &nested);
                let told = tell_nested(&nested, out);
                out.put("nested", told);
            }
        }
        if !self.numbers.is_empty() {
            let numbers = numbers(&reference, &self.numbers, &file)?;
            let near = pipeline::neighbours(&known, &query, self.k, &search)?;
            let values = transfer_values(&near.query, &numbers, options.kernel)?;
            slots::put_values(&mut cells, &self.numbers, &values);
        }
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
            write_table(path, &table)?;
        }
        files::write(output, &cells)?;
        out.put("output", output.display().to_string());
        out.put("labels", told);
        Ok(())
    }
}

const ENDINGS: [&str; 7] = ["_pred", "_best", "_uncertainty", "_novelty", "_set", "_nested", "_nested_column"];

/// The columns of the condition that the reference was trained with, as a mapped file tells them.
fn condition_columns(cells: &Cells) -> Vec<String> {
    let inside = |uns: &Uns, name: &str| match uns {
        Uns::Map(entries) => entries.get(name).cloned(),
        _ => None,
    };
    let provenance = cells.uns.get(slots::NOTES).and_then(|notes| inside(notes, "provenance"));
    match provenance.and_then(|p| inside(&p, "condition_columns")) {
        Some(Uns::Texts(columns)) => columns,
        _ => Vec::new(),
    }
}

/// Columns of obs as one; one level for all cells where a column is not there.
fn joined(cells: &Cells, columns: &[String]) -> Coded {
    let found: Option<Vec<&Column>> = columns.iter().map(|c| cells.obs.column(c)).collect();
    let text = |i: usize| {
        let parts = found.iter().flatten().map(|c| c.text(i).unwrap_or_default());
        parts.collect::<Vec<_>>().join(" | ")
    };
    let texts: Vec<String> = (0..cells.n_cells()).map(text).collect();
    let mut levels = texts.clone();
    levels.sort_unstable();
    levels.dedup();
    let code = |t: &String| levels.binary_search(t).unwrap_or(0) as u32;
    Coded { codes: texts.iter().map(code).collect(), levels }
}

impl Calibrate {
    fn method(self) -> Calibration {
        match self {
            Calibrate::Temperature => Calibration::Temperature,
            Calibrate::Isotonic => Calibration::Isotonic,
        }
    }
}

impl Annotate {
    /// Neighbours of reference cells in other studies, where that is asked for.
    fn across(&self, reference: &Cells, rows: &[usize], x: &Dense, file: &str) -> Result<Option<Neighbours>> {
        let Some(name) = &self.calibrate_across else { return Ok(None) };
        let (studies, filled) = input::coded(reference, file, name)?;
        let at: Option<Vec<usize>> = rows.iter().map(|r| filled.binary_search(r).ok()).collect();
        let Some(at) = at else {
            bail!("{file}: column `{name}` of obs has empty cells; fill it to calibrate across it")
        };
        let studies = Coded { codes: at.iter().map(|&i| studies.codes[i]).collect(), levels: studies.levels };
        Ok(Some(knn_across(x, (name, &studies), self.k)?))
    }

    /// The column of the query that has the truth of a label column.
    fn truth_of(&self, label: &str) -> Option<String> {
        let at = self.labels.iter().position(|l| l == label)?;
        if self.truth.is_empty() { Some(label.to_owned()) } else { self.truth.get(at).cloned() }
    }
}

/// Numeric columns of the reference side by side.
fn numbers(reference: &Cells, names: &[String], file: &str) -> Result<Dense> {
    let mut out = Dense::zeros(reference.n_cells(), names.len());
    for (j, name) in names.iter().enumerate() {
        let Some(column) = reference.obs.column(name) else {
            let columns = input::nearest_first(name, &reference.obs.names());
            bail!("{file}: obs has no column `{name}`; its columns, nearest name first: {columns}");
        };
        for i in 0..out.n_rows {
            let Some(value) = column.number(i) else {
                bail!("{file}: column `{name}` of obs has no number for cell `{}`", reference.obs.index[i]);
            };
            out.row_mut(i)[j] = value as f32;
        }
    }
    Ok(out)
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
fn tell(
    t: &LabelTransfer,
    annotation: &pipeline::Annotation,
    labels: &Coded,
    cells: &Cells,
    truth: Option<(&str, &Renamed)>,
    out: &mut Output,
) -> Result<Value> {
    let name = t.column.as_str();
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
    let at = annotation.labels.iter().position(|l| l.column == t.column).unwrap_or(0);
    let mut told = json!({"column": name, "cells": n, "unknown": unknown, "labels": counts});
    match annotation.novelty.get(at) {
        Some(novelty) => {
            let learned = match novelty.n_held_out {
                0 => "learned from the reference's one study".to_owned(),
                n => format!("learned from {n} studies of the reference, each held against the others"),
            };
            out.line(format!(
                "{unknown} of {n} cells are unknown: further from every type than known ones ({learned})"
            ));
            told["studies_held_out"] = novelty.n_held_out.into();
        }
        None => out.line(format!("{unknown} of {n} cells are unknown: their neighbours disagree")),
    }
    if let Some(found) = annotation.sets.get(at) {
        let one = found.sets.iter().filter(|s| s.len() == 1).count();
        out.line(format!("label sets: {} labels per cell on average, one in {one} cells", fixed(found.mean_size(), 2)));
        told["sets"] = json!({"mean_size": number(found.mean_size()), "of_one_label": one});
    }
    let given = truth.and_then(|(truth, renamed)| cells.obs.column(truth).map(|c| (truth, renamed, c)));
    if let Some((truth, renamed, column)) = given {
        label_map::warn_unused(&renamed.unused(column));
        let known: Vec<&str> = labels.levels.iter().map(String::as_str).collect();
        let found = Match::of(&renamed.texts(column), &known);
        let curve = pictures::reliability(cells, name, (truth, &renamed.column(column)))?;
        let of = curve.iter().flat_map(|c| &c.bins).map(|b| b.cells).sum::<u64>();
        let sum = curve.iter().flat_map(|c| &c.bins).map(|b| b.accuracy * b.cells as f64).sum::<f64>();
        if of > 0 {
            let right = sum / of as f64;
            let error = curve.and_then(|c| c.ece).unwrap_or(f64::NAN);
            let share = fixed(100.0 * right, 1);
            out.line(format!(
                "{share} % of the {of} cells whose `{truth}` the reference has got it; calibration error {}",
                fixed(error, 3)
            ));
            told["truth"] =
                json!({"column": truth, "cells": of, "accuracy": number(right), "calibration_error": number(error)});
        }
        if found.labelled > 0 {
            told["truth_labels"] = label_map::tell(&found, &format!("accuracy by `{truth}`"), ", left out", out);
        }
    }
    out.line("");
    Ok(told)
}
