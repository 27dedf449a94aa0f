//! `scgraft map`: queries onto a reference.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use scgraft::cells::{Cells, GeneCase, PrepareOptions, ProgramOptions, Turned, counted};
use scgraft::io::{ReadOptions, file_name, read_gmt, together};
use scgraft::models::{Granularity, Model, Surgery};
use scgraft::query::{Mapped, QueryPlan, map_query, new_programs};
use scgraft::slots;
use serde_json::{Value, json};

use super::fitted::{independence, told};
use super::input::{self, Condition, Measured, OrthologTable, Values};
use super::progress::{Checkpoints, Epochs};
use super::settings::{Fit, Weights, published};
use super::{Global, Output, files, remote, stop};

const EXAMPLES: &str = "\
Writes the query with obsm[\"X_scgraft\"] (latent means), obsm[\"X_scgraft_var\"], varm[\"scgraft_weights\"] and
uns[\"scgraft\"]; every slot of the input is kept. A query whose conditions the reference already knows is encoded
without training.

Examples:
  scgraft map reference.scgraft query.h5ad --condition study -o mapped.h5ad
  scgraft map reference.scgraft kang.h5ad --condition-name Kang
  scgraft map reference.scgraft kang.h5ad --condition-name Kang --new-programs 10 -o mapped.h5ad --save-model mapped.scgraft
  scgraft map reference.scgraft a.h5ad b.h5ad --condition study -o a_mapped.h5ad -o b_mapped.h5ad
  scgraft map reference.scgraft query.h5ad --new-constrained b_cells.gmt --reactivate INTERFERON_SIGNALING -o mapped.h5ad
  scgraft map reference.scgraft query.h5ad --adaptor-out query.adaptor -o mapped.h5ad
  scgraft map human.scgraft mouse.h5ad --condition donor --orthologs mart_export.txt -o mapped.h5ad
  scgraft map zenodo:1234567 query.h5ad --condition-name my_study -o mapped.h5ad
  scgraft map reference.scgraft same_batch.h5ad --attach query.adaptor -o mapped.h5ad";

/// Map queries onto a reference.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Map {
    /// The reference, as `train` wrote it, or its address
    pub reference: PathBuf,
    /// Queries; each gets an adaptor of its own
    #[arg(required = true)]
    pub queries: Vec<PathBuf>,
    /// Where to write each mapped query: as often as there are queries, in their order [default: NAME_mapped.h5ad here, with
    /// the name of the graft; a file that is there already is then left alone]
    #[arg(long = "output", short, value_name = "FILE")]
    pub outputs: Vec<PathBuf>,
    /// Write the reference with the grafts as a model
    #[arg(long, value_name = "FILE")]
    pub save_model: Option<PathBuf>,
    /// Write each graft as an adaptor: as often as there are queries, in their order
    #[arg(long, value_name = "FILE")]
    pub adaptor_out: Vec<PathBuf>,
    /// Adaptors to attach to the reference first, files or addresses
    #[arg(long, value_name = "FILE")]
    pub attach: Vec<PathBuf>,
    /// Names of the grafts, in the order of the queries: their new programs are NAME_new_1, … [default: of one query
    /// --condition-name, else names of the files]
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    #[command(flatten)]
    pub values: Values,
    #[command(flatten)]
    pub condition: Condition,
    #[command(flatten)]
    pub measured: Measured,
    /// The least share of the reference's genes that a query must have, 0 to 1
    #[arg(long, default_value_t = 0.5, value_name = "X", help_heading = "Data")]
    pub min_overlap: f64,
    #[command(flatten)]
    pub orthologs: OrthologTable,
    #[command(flatten)]
    pub graft: Graft,
    #[command(flatten)]
    pub weights: Weights,
    #[command(flatten)]
    pub fit: Fit,
    #[command(flatten)]
    pub checkpoints: Checkpoints,
}

/// What a query adds to the reference.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Surgery")]
pub(crate) struct Graft {
    /// Which weights the query may change
    #[arg(long, value_enum, default_value_t = Change::Adaptor)]
    pub surgery: Change,
    /// Fit on so many cells of each condition at most, drawn with the seed; all cells are encoded. 0: on all [default:
    /// 10,000 where adaptors train]
    #[arg(long, value_name = "N")]
    pub fit_cells: Option<usize>,
    /// Add so many programs without gene set [upstream: new_n_ext]
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub new_programs: usize,
    /// Add programs with these gene sets [upstream: new_n_ext_m]
    #[arg(long, value_name = "GMT", value_delimiter = ',')]
    pub new_constrained: Vec<PathBuf>,
    /// Gene sets of added programs bind softly
    #[arg(long)]
    pub soft: bool,
    /// Fewest genes of the model that an added gene set holds
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub min_genes: usize,
    /// Add a program with the gene set of this one of the reference, as NAME_reactivated. May be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub reactivate: Vec<String>,
    /// Weight of HSIC between added programs and the rest [default: 3] [upstream: beta]
    #[arg(long, value_name = "X")]
    pub hsic_weight: Option<f32>,
    /// Weight of L1 on programs without gene set [default: 0.7] [upstream: gamma_ext]
    #[arg(long, value_name = "X")]
    pub new_l1_weight: Option<f32>,
    /// Epochs over which that weight rises [default: 50] [upstream: gamma_epoch_anneal]
    #[arg(long, value_name = "N")]
    pub new_l1_anneal: Option<usize>,
    /// Epochs in which the query's baseline is learned before added programs join; 0: at once, as published
    /// [default: 20, at most a quarter of all epochs]
    #[arg(long, value_name = "N")]
    pub new_wait: Option<usize>,
}

/// Which weights a query may change.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Change {
    /// Those of its own conditions and new programs; the reference stays bit-identical
    Adaptor,
    /// And the first layers of encoder and decoder
    FirstLayers,
    /// Everything
    All,
}

impl Change {
    fn granularity(self) -> Granularity {
        match self {
            Change::Adaptor => Granularity::Adaptor,
            Change::FirstLayers => Granularity::FirstLayers,
            Change::All => Granularity::All,
        }
    }
}

impl Map {
    pub fn run(mut self, global: &Global, out: &mut Output) -> Result<()> {
        self.settle_names()?;
        self.check()?;
        let reference = remote::attached(&self.reference, &self.attach)?;
        let mut adaptors = Vec::new();
        let mut told = Vec::new();
        for (at, ((query, output), name)) in self.queries.iter().zip(&self.outputs).zip(&self.name).enumerate() {
            let mut cells = files::read(query, &ReadOptions::default())?;
            files::can_keep(&cells, true)?;
            let plan = self.plan(&reference, &cells, query, name, global)?;
            stop::check()?;
            let (what, kept) = (format!("mapping {name}"), self.checkpoints.of(output)?);
            let mut epochs = Epochs::watch(&what, plan.train.epochs, global, kept);
            let mut mapped = map_query(&reference, &cells, &plan, &mut epochs)?;
            epochs.front.clear();
            describe(&mut mapped, query);
            told.push(self.tell(&mapped, name, output, out));
            let gene_column = self.values.gene_column.as_deref();
            slots::put_embedding(&mut cells, &mapped.grafted.model, &mapped.embedding, gene_column);
            adaptors.extend(mapped.grafted.adaptor.clone());
            // What is of one query appears together, with the last of them the model of all.
            let model = match &self.save_model {
                Some(path) if at + 1 == self.queries.len() => {
                    let model = if at == 0 { mapped.grafted.model } else { reference.attach(&adaptors)? };
                    Some((path, model))
                }
                _ => None,
            };
            together(|| -> Result<()> {
                files::write(output, &cells)?;
                match (&mapped.grafted.adaptor, self.adaptor_out.get(at)) {
                    (Some(adaptor), Some(path)) => {
                        scgraft::save::adaptor(path, adaptor)?;
                        files::wrote(path);
                    }
                    (None, Some(path)) => tracing::warn!("{}: not written, nothing was added", path.display()),
                    (_, None) => {}
                }
                if let Some((path, model)) = &model {
                    scgraft::save::model(path, model)?;
                    files::wrote(path);
                }
                Ok(())
            })?;
            epochs.done();
        }
        out.put("queries", told);
        Ok(())
    }

    /// Gives every graft a name and every mapped query a file, where the user gave none.
    fn settle_names(&mut self) -> Result<()> {
        let n = self.queries.len();
        let (outputs, adaptors, names) = (self.outputs.len(), self.adaptor_out.len(), self.name.len());
        for (what, found) in [("--output", outputs), ("--adaptor-out", adaptors), ("--name", names)] {
            if found != n && found > 0 {
                let given = counted(found, "time", "times");
                bail!("{n} queries, but {what} was given {given}; give it once for each query, in their order");
            }
        }
        if names == 0 {
            self.name = match (&self.condition.condition_name, n) {
                (Some(name), 1) => vec![name.clone()],
                _ => self.queries.iter().map(|query| files::stem(query)).collect(),
            };
        }
        if outputs == 0 {
            let file = |name: &String| PathBuf::from(format!("{}_mapped.h5ad", name.replace(['/', '\\'], "_")));
            self.outputs = self.name.iter().map(file).collect();
            if let Some(there) = self.outputs.iter().find(|o| o.exists()) {
                bail!(
                    "{}: there already, perhaps of another mapping; name the output with --output (this file, to replace it)",
                    there.display()
                );
            }
        }
        Ok(())
    }

    /// What can be told to be wrong before anything is read.
    fn check(&self) -> Result<()> {
        let n = self.queries.len();
        let shared = !matches!(self.graft.surgery, Change::Adaptor);
        if shared && n > 1 {
            bail!("--surgery first-layers and all change the reference for one query at a time; map them one by one");
        }
        if shared && !self.adaptor_out.is_empty() {
            bail!(
                "--adaptor-out needs --surgery adaptor: otherwise the graft is more than an adaptor; use --save-model"
            );
        }
        let kept: Vec<PathBuf> = self.outputs.iter().filter_map(|o| self.checkpoints.file(o)).collect();
        if n > 1 && self.checkpoints.checkpoint.is_some() {
            bail!(
                "--checkpoint names one file, and there are {n} queries; leave it out: each has one beside its output"
            );
        }
        if self.checkpoints.resume && !kept.iter().any(|k| k.exists()) {
            bail!("--resume: there is no checkpoint to go on from; looked for {}", files::shown(&kept).join(", "));
        }
        let mut inputs: Vec<&Path> = vec![&self.reference];
        inputs.extend(self.queries.iter().chain(&self.attach).chain(&self.graft.new_constrained).map(PathBuf::as_path));
        inputs.extend(self.orthologs.orthologs.as_deref());
        self.queries
            .iter()
            .chain(&self.graft.new_constrained)
            .chain(&self.orthologs.orthologs)
            .try_for_each(|i| files::check_input(i))?;
        [&self.reference].into_iter().chain(&self.attach).try_for_each(|i| remote::check_input(i))?;
        files::check_outputs(self.outputs.iter().chain(&self.adaptor_out).chain(&self.save_model).chain(&kept), &inputs)
    }

    fn plan(&self, reference: &Model, cells: &Cells, file: &Path, name: &str, global: &Global) -> Result<QueryPlan> {
        let condition = input::condition(&self.condition, reference, cells, file)?;
        let graft = &self.graft;
        let sets = if graft.new_constrained.is_empty() { Vec::new() } else { read_gmt(&graft.new_constrained)? };
        let sets = self.orthologs.turn_sets(sets, &reference.header.genes)?;
        let sizes = ProgramOptions { case: GeneCase::Upper, min_genes: graft.min_genes, max_genes: None };
        let programs = new_programs(reference, &sets, &sizes, graft.soft, &graft.reactivate, graft.new_programs)?;
        let mut settings = self.weights.settings(vec![
            ("hsic_weight", graft.hsic_weight.map(Value::from)),
            ("new_l1_weight", graft.new_l1_weight.map(Value::from)),
            ("new_l1_anneal", graft.new_l1_anneal.map(Value::from)),
            ("new_wait", graft.new_wait.map(Value::from)),
        ])?;
        let entry = reference.entry;
        published(self.fit.compat, entry, &mut settings);
        let granularity = graft.surgery.granularity();
        let usual = entry.mapping_by(granularity, programs.is_some());
        let surgery = Surgery { granularity, programs, settings, ..Surgery::adaptor(name) };
        let plan = QueryPlan::by(reference, surgery, condition.clone(), cells.n_cells());
        let mut prepare = PrepareOptions {
            min_overlap: self.min_overlap,
            kind: plan.prepare.kind,
            orthologs: self.orthologs.read()?,
            ..input::prepare(&self.values, condition)
        };
        self.measured.apply(&mut prepare);
        let mut train = self.fit.config(&usual, &entry.published_training.1, cells.n_cells(), global.train_seed())?;
        if let Some(most) = graft.fit_cells {
            train.most_cells = Some(most).filter(|&n| n > 0);
        }
        Ok(QueryPlan { prepare, train, ..plan })
    }

    fn tell(&self, mapped: &Mapped, name: &str, output: &Path, out: &mut Output) -> Value {
        let report = &mapped.prepared.report;
        let (found, n) = (report.n_model_genes - report.missing_genes.len(), report.n_model_genes);
        let how = mapped.grafted.report.as_ref().map_or_else(
            || "the reference knows all its conditions: encoded without training".to_owned(),
            |fit| {
                let on = match fit.n_cells < mapped.prepared.n_cells() {
                    true => format!(" on {} of the cells (--fit-cells)", fit.n_cells),
                    false => String::new(),
                };
                format!("{} trained{on}, {}", counted(fit.n_trainable, "value", "values"), told(fit))
            },
        );
        out.line(format!(
            "{name}: {}, {found} of {n} genes; {how}",
            counted(mapped.prepared.n_cells(), "cell", "cells")
        ));
        if let Some(turned) = report.orthologs.as_ref().filter(|_| self.orthologs.orthologs.is_some()) {
            out.line(format!("{name}: of the reference's genes, {turned}"));
        }
        let turned = |t: &Turned| json!({"turned": t.turned, "as_written": t.as_written, "ambiguous": t.ambiguous, "lost": t.lost});
        for i in &mapped.independence {
            out.line(independence(i));
        }
        json!({
            "independence": mapped.independence,
            "orthologs": report.orthologs.as_ref().map(turned),
            "name": name,
            "output": output.display().to_string(),
            "cells": mapped.prepared.n_cells(),
            "genes_found": found,
            "genes_missing": report.missing_genes.len(),
            "known_conditions": report.known_conditions,
            "new_conditions": report.new_conditions,
            "new_programs": mapped.new_programs(name),
            "trained": mapped.grafted.report.is_some(),
            "epochs": mapped.grafted.report.as_ref().map(|r| r.epochs),
            "best_epoch": mapped.grafted.report.as_ref().map(|r| r.best_epoch),
            "trained_values": mapped.grafted.report.as_ref().map(|r| r.n_trainable),
        })
    }
}

/// Notes which file was mapped.
fn describe(mapped: &mut Mapped, query: &Path) {
    let file = file_name(query);
    mapped.grafted.model.provenance.insert("query".into(), file.into());
}
