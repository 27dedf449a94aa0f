//! `scgraft inspect`: what a file holds, whatever it is.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::cells::{Frame, counted};
use scgraft::io::{ReadOptions, Select, inspect_h5ad, read_cells, read_gmt};
use scgraft::models::settings::shown;
use scgraft::models::{Adaptor, Model};
use scgraft::reference::{CONDITION_CELLS, DROPPED, LABEL_CELLS, Sizes, dropped_programs};
use scgraft::slots;
use serde_json::{Map, Value, json};

use super::output::{fixed, number};
use super::{Global, Output, files, remote};

const EXAMPLES: &str = "\
Tells by its content what a file is. Of cells it lists the levels of each column of obs with how many cells have them, of a
model its conditions and labels with their cells, its programs, and the gene sets that were left out (all with --json).

Examples:
  scgraft inspect reference.scgraft
  scgraft inspect query.h5ad
  scgraft inspect query.adaptor --json";

/// Say what a file holds: a model, an adaptor, an h5ad.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// Model or adaptor, also by its address; h5ad, another format of cells, or GMT
    pub file: PathBuf,
}

const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

impl Inspect {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        out.put("file", self.file.display().to_string());
        let path = &remote::file(&self.file)?;
        files::check_input(path)?;
        if path.is_dir() {
            return slots(path, out);
        }
        let mut head = Vec::new();
        let file = File::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
        file.take(16).read_to_end(&mut head).with_context(|| format!("{}: cannot be read", path.display()))?;
        if head.starts_with(HDF5) {
            return slots(path, out);
        }
        // safetensors: the length of the header, then the header, which is JSON.
        if head.get(8) == Some(&b'{') {
            return match Model::load(path) {
                Ok(model) => {
                    tell_model(&model, out);
                    Ok(())
                }
                Err(as_model) => match Adaptor::load(path) {
                    Ok(adaptor) => {
                        tell_adaptor(&adaptor, out);
                        Ok(())
                    }
                    Err(as_adaptor) if Model::is_adaptor(&as_model) => Err(as_adaptor.into()),
                    Err(_) => Err(as_model.into()),
                },
            };
        }
        // Any table with tabs would pass for gene sets, so the name must say it.
        let name = path.to_string_lossy().to_lowercase();
        if [".gmt", ".gmx", ".grp", ".xml", ".json"].iter().any(|e| name.trim_end_matches(".gz").ends_with(e)) {
            let sets = read_gmt(&[path])?;
            let sizes: Vec<usize> = sets.iter().map(|s| s.genes.len()).collect();
            let (least, most) = (sizes.iter().min().copied().unwrap_or(0), sizes.iter().max().copied().unwrap_or(0));
            out.put("kind", "gene sets");
            out.put("sets", sets.len());
            out.line(format!(
                "{}: {} of {least} to {most} genes",
                path.display(),
                counted(sets.len(), "gene set", "gene sets")
            ));
            return Ok(());
        }
        match read_cells(path, &ReadOptions::nothing()) {
            Ok(_) => cells(path, out),
            Err(error) => bail!(
                "{error}; nor is it a model or an adaptor, nor gene sets (.gmt, .gmx, .grp, .xml, .json) by its ending"
            ),
        }
    }
}

/// The slots of an h5ad or a Zarr store, or what any other format has.
fn slots(path: &Path, out: &mut Output) -> Result<()> {
    let Ok(found) = inspect_h5ad(path) else { return cells(path, out) };
    out.put("kind", if path.is_dir() { "zarr" } else { "h5ad" });
    out.put("cells", found.n_cells);
    out.put("genes", found.n_genes);
    let names =
        |columns: &[scgraft::io::ColumnInfo]| -> Vec<String> { columns.iter().map(|c| c.name.clone()).collect() };
    out.put("obs", names(&found.obs));
    out.put("var", names(&found.var));
    let arrays: Vec<String> = found.arrays.iter().map(|(s, n, _)| format!("{s}/{n}")).collect();
    out.put("arrays", arrays);
    out.put("uns", found.uns.iter().map(|u| u.0.clone()).collect::<Vec<_>>());
    out.line(found.to_string().trim_end());
    let ours = found.uns.iter().any(|u| u.0 == slots::NOTES);
    let uns = if ours { Select::only([slots::NOTES]) } else { Select::Nothing };
    let cells = read_cells(path, &ReadOptions { obs: Select::All, uns, ..ReadOptions::nothing() })?;
    tell_levels(&cells.obs, out);
    let tests: Vec<String> = slots::tests(&cells).into_iter().map(|t| t.0).collect();
    if !tests.is_empty() {
        out.line(format!("tests of programs: {}", tests.join(", ")));
    }
    out.put("tests", tests);
    Ok(())
}

/// Any other format of cells.
fn cells(path: &Path, out: &mut Output) -> Result<()> {
    let cells = read_cells(path, &ReadOptions::default())?;
    out.put("kind", "cells");
    out.put("cells", cells.n_cells());
    out.put("genes", cells.n_genes());
    out.put("obs", cells.obs.names());
    out.put("var", cells.var.names());
    out.line(format!("{}: {} cells × {} genes", path.display(), cells.n_cells(), cells.n_genes()));
    out.line(format!("obs: {}", cells.obs.names().join(", ")));
    out.line(format!("var: {}", cells.var.names().join(", ")));
    tell_levels(&cells.obs, out);
    Ok(())
}

/// Levels of a column that are shown; of a model, programs that are.
const LEVELS: usize = 20;
const PROGRAMS: usize = 5;

/// Says which levels the columns of obs have, and how many cells each.
fn tell_levels(obs: &Frame, out: &mut Output) {
    let levels = obs.columns.iter().filter_map(|(name, c)| c.level_sizes().map(|sizes| (name, sizes)));
    let (mut told, mut lines) = (Map::new(), Vec::new());
    for (name, sizes) in levels {
        let with: usize = sizes.iter().map(|(_, n)| n).sum();
        let none = match obs.len() - with {
            0 => String::new(),
            n => format!("; {}", counted(n, "cell has none", "cells have none")),
        };
        // Texts that are seldom the same, as barcodes are, name cells and not groups of them.
        let names_cells = sizes.len() > LEVELS && 2 * sizes.len() > with;
        lines.push(match names_cells {
            true => format!("  {name}: {} different texts{none}", sizes.len()),
            false => format!("  {name} ({}): {}{none}", sizes.len(), with_sizes(&sizes)),
        });
        let all: Vec<Value> = sizes.iter().map(|(level, n)| json!({"level": level, "cells": n})).collect();
        let all = if names_cells { Vec::new() } else { all };
        told.insert(name.clone(), json!({"n": sizes.len(), "missing": obs.len() - with, "levels": all}));
    }
    if !lines.is_empty() {
        out.line("levels of obs, each with its cells:");
        lines.iter().for_each(|line| out.line(line));
    }
    out.put("levels", told);
}

/// Names with a number each, the first of them, then how many more.
fn with_sizes(sizes: &[(String, usize)]) -> String {
    let mut shown: Vec<String> = sizes.iter().take(LEVELS).map(|(name, n)| format!("{name} ({n})")).collect();
    if sizes.len() > LEVELS {
        shown.push(format!("and {} more", sizes.len() - LEVELS));
    }
    shown.join(", ")
}

/// Names of a model with the cells that they had, where that is known.
fn with_cells(names: &[String], sizes: &[Option<usize>]) -> String {
    let one = |(name, n): (&String, &Option<usize>)| {
        n.map_or_else(|| name.clone(), |n| format!("{name} ({})", counted(n, "cell", "cells")))
    };
    names.iter().zip(sizes).map(one).collect::<Vec<_>>().join(", ")
}

/// Says which programs a model has, and which gene sets became none.
fn tell_programs(model: &Model, out: &mut Output) {
    let mut sizes: Vec<(String, usize)> = (model.header.programs())
        .filter(|(_, p)| !p.members.is_empty())
        .map(|(_, p)| (p.name.clone(), p.members.len()))
        .collect();
    sizes.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    if let ([.., least], [most, ..]) = (&sizes[..], &sizes[..]) {
        out.line(format!("programs with a gene set: {}, of {} to {} genes", sizes.len(), least.1, most.1));
        if sizes.len() > 2 * PROGRAMS {
            out.line(format!("  most: {}", with_sizes(&sizes[..PROGRAMS])));
            sizes.reverse();
            out.line(format!("  least: {}", with_sizes(&sizes[..PROGRAMS])));
        } else {
            out.line(format!("  {}", with_sizes(&sizes)));
        }
    }
    let free: Vec<&str> =
        model.header.programs().filter(|(_, p)| p.members.is_empty()).map(|(_, p)| p.name.as_str()).collect();
    if !free.is_empty() {
        out.line(format!("programs without a gene set: {}", free.join(", ")));
    }
    let dropped = dropped_programs(model);
    if !dropped.is_empty() {
        let shown = dropped.iter().take(PROGRAMS).cloned().collect::<Vec<_>>().join(", ");
        let more = match dropped.len().saturating_sub(PROGRAMS) {
            0 => String::new(),
            n => format!(", and {n} more (--json lists them)"),
        };
        out.line(format!("gene sets left out, with too few or too many genes: {}: {shown}{more}", dropped.len()));
    }
    out.put("program_genes", Value::Object(sizes.into_iter().map(|(name, n)| (name, n.into())).collect()));
    out.put("dropped_programs", dropped);
}

fn tell_model(model: &Model, out: &mut Output) {
    let h = &model.header;
    let n_reference = h.n_reference_conditions();
    let active = slots_active(model);
    out.line(format!("{}: {}", model.entry.name, model.entry.summary));
    out.line(format!(
        "genes: {} ({}, …)",
        h.genes.len(),
        h.genes.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
    ));
    let sizes = Sizes::of(model);
    let of_reference = with_cells(&h.conditions[..n_reference], &sizes.conditions);
    out.line(format!("conditions of the reference: {of_reference}"));
    out.line(format!("dimensions: {}{active}", model.n_latent()));
    tell_programs(model, out);
    let mut at = n_reference;
    for g in &h.grafts {
        let conditions = with_cells(&g.conditions, &sizes.conditions[at..]);
        out.line(format!(
            "graft `{}`: conditions {conditions}; {}",
            g.name,
            counted(g.n_programs, "program", "programs")
        ));
        at += g.conditions.len();
    }
    if !h.labels.is_empty() {
        out.line(format!("labels: {}", with_cells(&h.labels, &sizes.labels)));
    }
    if !h.proteins.is_empty() {
        out.line(format!("proteins: {}", h.proteins.join(", ")));
    }
    out.line(format!("weights: {}", model.params.n_values()));
    if let Some(cells) = &model.cells {
        let picture = if cells.picture.is_some() { ", a picture" } else { "" };
        let columns = cells.obs.names().join(", ");
        out.line(format!("cells: {}, latent means and variances{picture}; obs: {columns}; no counts", cells.n_cells()));
    }
    out.put("cells", model.cells.as_ref().map(|c| json!({"cells": c.n_cells(), "obs": c.obs.names()})));
    out.line(format!("reference: {}", model.reference_hash()));
    tell_entries("settings", &shown(&model.network.config()), out);
    // What is told above is not told again.
    let mut provenance = model.provenance.clone();
    provenance.retain(|name, _| ![CONDITION_CELLS, LABEL_CELLS, DROPPED].contains(&name.as_str()));
    if !provenance.is_empty() {
        tell_entries("provenance", &shown(&Value::Object(provenance)), out);
    }
    if let (Some(first), Some(last)) = (model.history.first(), model.history.last()) {
        let sum = |t: &[(String, f64)]| t.iter().map(|t| t.1).sum::<f64>();
        let kept = model.kept_epoch().and_then(|epoch| model.history.get(epoch));
        let loss = kept.and_then(|r| r.validation_loss);
        let validation = loss.map(|l| format!(", validation loss {}", fixed(l, 2))).unwrap_or_default();
        out.line(format!(
            "history: {}, training loss {} → {}{}",
            counted(model.history.len(), "epoch", "epochs"),
            fixed(sum(&first.train), 2),
            fixed(sum(&last.train), 2),
            kept.map(|r| format!("; state of epoch {}{validation}", r.epoch + 1)).unwrap_or_default()
        ));
        out.put("best_validation_loss", loss.map_or(Value::Null, number));
    }
    out.put("kind", "model");
    out.put("model", model.entry.name);
    out.put("genes", h.genes.len());
    out.put("dimensions", model.n_latent());
    out.put("conditions", h.conditions.clone());
    out.put("reference_conditions", n_reference);
    out.put("condition_cells", sizes.conditions);
    out.put("labels", h.labels.clone());
    out.put("label_cells", sizes.labels);
    let graft =
        |g: &scgraft::models::Origin| json!({"name": g.name, "conditions": g.conditions, "programs": g.n_programs});
    out.put("grafts", h.grafts.iter().map(graft).collect::<Vec<_>>());
    out.put("weights", model.params.n_values());
    out.put("reference", model.reference_hash());
    out.put("settings", shown(&model.network.config()));
    out.put("provenance", shown(&Value::Object(model.provenance.clone())));
    out.put("epochs", slots::history(model).len());
}

/// Settings or notes, each with its value; those that have entries of their own stand on a line below.
fn tell_entries(title: &str, entries: &Value, out: &mut Output) {
    let Some(entries) = entries.as_object() else { return };
    let (below, here): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, value)| value.is_object());
    let one = |(name, value): &(&String, &Value)| match value {
        Value::String(text) => format!("{name} {text}"),
        Value::Null => format!("{name} none"),
        other => format!("{name} {other}"),
    };
    out.line(format!("{title}: {}", here.iter().map(one).collect::<Vec<_>>().join(", ")).trim_end());
    let deeper = " ".repeat(title.len() - title.trim_start().len() + 2);
    below.into_iter().for_each(|(name, value)| tell_entries(&format!("{deeper}{name}"), value, out));
}

fn slots_active(model: &Model) -> String {
    let weights = scgraft::program_weights(model);
    let active = weights.map(|w| scgraft::analysis::programs::active_programs(&w).iter().filter(|a| **a).count());
    active.map(|n| format!(", gene programs of which {n} are active")).unwrap_or_default()
}

fn tell_adaptor(adaptor: &Adaptor, out: &mut Output) {
    let values: usize = adaptor.tensors.values().map(Vec::len).sum();
    out.line(format!("an adaptor of a reference ({}), named `{}`", adaptor.model, adaptor.origin.name));
    let sizes: Vec<Option<usize>> =
        (0..adaptor.origin.conditions.len()).map(|i| adaptor.origin.n_cells.get(i).copied()).collect();
    out.line(format!("conditions: {}", with_cells(&adaptor.origin.conditions, &sizes)));
    let programs: Vec<&str> = adaptor.segments.iter().flat_map(|s| &s.programs).map(|p| p.name.as_str()).collect();
    if !programs.is_empty() {
        out.line(format!("programs: {}", programs.join(", ")));
    }
    out.line(format!("weights: {values}"));
    out.line(format!("reference: {}", adaptor.reference));
    out.put("kind", "adaptor");
    out.put("model", adaptor.model.clone());
    out.put("name", adaptor.origin.name.clone());
    out.put("conditions", adaptor.origin.conditions.clone());
    out.put("programs", programs);
    out.put("weights", values);
    out.put("reference", adaptor.reference.clone());
}
