//! `scgraft predict`: labels by the model's own classifier.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use scgraft::cells::Column;
use scgraft::expression::predict;
use scgraft::slots;
use serde_json::json;

use super::encode::Source;
use super::output::fixed;
use super::{Global, Output, files};

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
}

impl Predict {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        files::check_output(&self.output, &[&self.source.model, &self.source.cells])?;
        let (model, mut cells, data) = self.source.read(true)?;
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
        if let Some(given) = cells.obs.column(&name).map(Column::texts) {
            let known = |t: &&Option<String>| t.as_ref().is_some_and(|t| prediction.levels.contains(t));
            let n = given.iter().filter(known).count();
            let agree = given.iter().zip(prediction.names()).filter(|(g, p)| g.as_deref() == Some(p)).count();
            if n > 0 {
                out.line(format!("{agree} of {n} cells with a known `{name}` get that label"));
                out.put("agreement", agree as f64 / n as f64);
            }
        }
        files::write(&self.output, &cells)?;
        let told: Vec<_> =
            prediction.levels.iter().zip(&counts).map(|(l, n)| json!({"label": l, "cells": n})).collect();
        out.put("labels", told);
        out.put("mean_uncertainty", mean);
        Ok(())
    }
}
