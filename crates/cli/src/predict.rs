//! `scgraft predict`: labels by the model's own classifier.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use scgraft::expression::predict;
use scgraft::labels::Match;
use scgraft::slots;
use serde_json::json;

use super::encode::Source;
use super::label_map::{self, LabelMap};
use super::output::fixed;
use super::{Global, Output, files, input};

const EXAMPLES: &str = "\
Writes obs[\"L_pred\"], obs[\"L_uncertainty\"] and obsm[\"L_probabilities\"], L the column that the reference was trained
on. Labels by neighbours in the latent space, for any model, are given by `annotate`.

Examples:
  scgraft predict mapped.scgraft query.h5ad -o labelled.h5ad
  scgraft predict mapped.scgraft query.h5ad --hard -o labelled.h5ad";

/// Label cells with the classifier of a model that has one (scanvi).
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Predict {
    #[command(flatten)]
    pub source: Source,
    /// Where to write the labelled cells, an h5ad
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
    /// Leave the probabilities out
    #[arg(long)]
    pub hard: bool,
    /// The name L of what is written [default: the column that the reference was trained on]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Column of obs with the labels the cells came with, to compare [default: the one of that name]
    #[arg(long, value_name = "COLUMN")]
    pub truth: Option<String>,
    #[command(flatten)]
    pub label_map: LabelMap,
}

impl Predict {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        files::check_output(&self.output, &self.source.inputs())?;
        let renamed = self.label_map.read()?;
        let (model, mut cells, data) = self.source.read(Some(true))?;
        let Some(prediction) = predict(&model, &data)? else {
            bail!(
                "{}: {} has no classifier of its own; train scanvi, or carry labels over with `scgraft annotate`",
                self.source.model.display(),
                model.entry.name
            );
        };
        let column = model.provenance.get("label_column").and_then(|v| v.as_str()).unwrap_or("label");
        let name = self.name.clone().unwrap_or_else(|| column.to_owned());
        slots::put_prediction(&mut cells, &name, &prediction, !self.hard);
        let mut counts = vec![0usize; prediction.levels.len()];
        prediction.label.iter().for_each(|&k| counts[k as usize] += 1);
        let mean = prediction.uncertainty.iter().sum::<f64>() / prediction.uncertainty.len().max(1) as f64;
        let rows: Vec<[String; 2]> =
            prediction.levels.iter().zip(&counts).map(|(l, n)| [l.clone(), n.to_string()]).collect();
        out.table(["label", "cells"], &rows);
        out.line(format!("mean uncertainty {}", fixed(mean, 3)));
        // Where the cells have labels, how many agree.
        let truth = self.truth.as_ref().unwrap_or(&name);
        if let Some(column) = cells.obs.column(truth) {
            label_map::warn_unused(&renamed.unused(column));
            let given = renamed.texts(column);
            let found = Match::of(&given, &prediction.levels);
            let agree = given.iter().zip(prediction.names()).filter(|(g, p)| g.as_deref() == Some(p)).count();
            if found.counted > 0 {
                out.line(format!("{agree} of {} cells with a known `{truth}` get that label", found.counted));
                out.put("agreement", agree as f64 / found.counted as f64);
            }
            if found.labelled > 0 {
                let told = label_map::tell(&found, &format!("agreement with `{truth}`"), ", left out", out);
                out.put("truth", told);
            }
        } else if self.truth.is_some() {
            let columns = input::nearest_first(truth, &cells.obs.names());
            bail!(
                "{}: obs has no column `{truth}`; its columns, nearest name first: {columns}",
                self.source.cells.display()
            );
        }
        files::write(&self.output, &cells)?;
        let told: Vec<_> =
            prediction.levels.iter().zip(&counts).map(|(l, n)| json!({"label": l, "cells": n})).collect();
        out.put("labels", told);
        out.put("mean_uncertainty", mean);
        Ok(())
    }
}
