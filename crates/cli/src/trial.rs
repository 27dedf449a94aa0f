//! `scgraft trial`: how a choice matters, on cells whose batches and labels are known.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use scgraft::analysis::metrics::scores::EvaluateOptions;
use scgraft::cells::{Cells, Column, ConditionSource};
use scgraft::columns;
use scgraft::io::{ReadOptions, write_table};
use scgraft::models::{Granularity, Input, Surgery, find};
use scgraft::pictures;
use scgraft::train::Progress;
use scgraft::trial::{Run, TrialPlan, Vary, Watcher, Way, table, trial};
use serde_json::json;

use super::input::{self, Values};
use super::label_map::{self, LabelMap};
use super::near::Near;
use super::output::{fixed, number};
use super::progress::Epochs;
use super::settings::refuse_epochs;
use super::train::{Choice, ModelOptions};
use super::{Global, Output, files, stop};

const EXAMPLES: &str = "\
Trains references and maps the query onto them, one thing varied, every setting with every seed (the seed draws cells,
weights and noise): --surgery, --reference-share, --reference-batches, --query-cells, --hold-out, --label-share, or --seeds alone. The
query stands in a file of its own, or is some batches (--query) of the one file. Says of every run how many weights trained,
how long it took, how the labels that are carried over agree with the query's own, how well cells of labels that the
reference lacks are found, and all scores of `scgraft evaluate`. Measures that compare settings should be read over several
seeds. The table is written anew after every run.

Examples:
  scgraft trial all.h5ad --query Kang --batch study --labels cell_type --programs reactome.gmt \\
      --surgery adaptor,first-layers,all,together -o surgery.tsv --picture surgery.png
  scgraft trial reference.h5ad query.h5ad --batch study --labels cell_type --programs reactome.gmt \\
      --reference-share 0.1,0.25,0.5,1 --seeds 1,2,3,4,5 -o reference.tsv --picture reference.png
  scgraft trial reference.h5ad query.h5ad --batch study --labels cell_type --programs reactome.gmt \\
      --hold-out B,NK -o held_out.tsv
  scgraft trial reference.h5ad query.h5ad --batch study --labels cell_type --programs reactome.gmt \\
      --rare NK --label-share 0.001,0.005,0.01 -o rare.tsv --picture rare.png
  scgraft trial all.h5ad --query Kang --batch study --labels cell_type --model scvi --query-cells 100,500,2000 \\
      --epochs 50 --query-epochs 20 -o query.tsv";

/// Try how a choice matters: train and map again and again, one thing varied.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Trial {
    /// Cells of the reference (h5ad or another format), or of both
    pub reference: PathBuf,
    /// Cells of the query, where they stand in a file of their own; without the batch column they are one batch
    #[arg(conflicts_with = "query", required_unless_present = "query")]
    pub query_file: Option<PathBuf>,
    /// Batches that are the query, where one file holds both
    #[arg(long, value_name = "BATCH", value_delimiter = ',')]
    pub query: Vec<String>,
    /// Column of obs with the batch (study, condition)
    #[arg(long, value_name = "COLUMN")]
    pub batch: String,
    /// Column of obs with the cell type
    #[arg(long, value_name = "COLUMN")]
    pub labels: String,
    #[command(flatten)]
    pub label_map: LabelMap,
    #[command(flatten)]
    pub vary: Varied,
    /// The label whose share is varied
    #[arg(long, value_name = "LABEL", requires = "label_share", help_heading = "What is varied")]
    pub rare: Option<String>,
    /// Seeds; every setting is run with each [default: --seed]
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "What is varied")]
    pub seeds: Vec<u64>,
    /// Write the table, one row a run
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Draw the measures by setting (PNG or SVG)
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// Measures to draw and to print: columns of the table
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub show: Vec<String>,
    /// Components of the counts that PC regression and kNN purity compare with; 0 leaves both out
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub components: usize,
    #[command(flatten)]
    pub near: Near,
    #[command(flatten)]
    pub values: Values,
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub model: ModelOptions,
    /// Epochs of a reference at most [default: the model's]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub epochs: Option<usize>,
    /// Epochs of a mapping at most [default: the model's]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub query_epochs: Option<usize>,
}

/// What is varied.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
#[command(next_help_heading = "What is varied")]
pub(crate) struct Varied {
    /// Which weights the query may change; `together` trains one model on all cells from the start
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    pub surgery: Vec<How>,
    /// Shares of the cells of each batch that the reference has
    #[arg(long, value_name = "X", value_delimiter = ',')]
    pub reference_share: Vec<f64>,
    /// Numbers of batches that the reference has
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub reference_batches: Vec<usize>,
    /// Numbers of cells that the query has
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub query_cells: Vec<usize>,
    /// Labels that the reference is denied, one at a time: are their cells found unknown?
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    pub hold_out: Vec<String>,
    /// Shares of the cells of reference and query that are of the label --rare: is a rare type still found?
    #[arg(long, value_name = "X", value_delimiter = ',')]
    pub label_share: Vec<f64>,
}

/// How reference and query come into one space.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum How {
    /// The query's own weights train
    Adaptor,
    /// And the first layers of encoder and decoder
    FirstLayers,
    /// All weights of the trained reference
    All,
    /// No reference: all cells train one model
    Together,
}

impl Varied {
    fn of_plan(&self, rare: Option<&String>) -> Vary {
        let way = |how: &How| match how {
            How::Adaptor => Way::Graft(Granularity::Adaptor),
            How::FirstLayers => Way::Graft(Granularity::FirstLayers),
            How::All => Way::Graft(Granularity::All),
            How::Together => Way::Together,
        };
        if !self.surgery.is_empty() {
            Vary::Way(self.surgery.iter().map(way).collect())
        } else if !self.reference_share.is_empty() {
            Vary::ReferenceShare(self.reference_share.clone())
        } else if !self.reference_batches.is_empty() {
            Vary::ReferenceBatches(self.reference_batches.clone())
        } else if !self.query_cells.is_empty() {
            Vary::QueryCells(self.query_cells.clone())
        } else if !self.hold_out.is_empty() {
            Vary::HoldOut(self.hold_out.clone())
        } else if let Some(label) = rare {
            Vary::Rare(label.clone(), self.label_share.clone())
        } else {
            Vary::Seed
        }
    }
}

/// What is shown of a run where nothing is asked for.
fn shown(vary: &Vary) -> &'static [&'static str] {
    match vary {
        Vary::Way(_) => &[
            "trained_values",
            "query_seconds",
            "label_accuracy_of_known",
            "biology",
            "batch",
            "overall",
            "novelty_auroc",
        ],
        Vary::HoldOut(_) => {
            &["new_cells", "novelty_auroc", "new_found", "false_alarms", "uncertainty_auroc", "overall"]
        }
        Vary::Rare(..) => {
            &["rare_cells", "rare_recall", "rare_precision", "rare_f1", "label_accuracy_of_known", "overall"]
        }
        _ => &[
            "reference_cells",
            "query_cells",
            "label_accuracy_of_known",
            "label_f1_macro",
            "biology",
            "batch",
            "overall",
            "query_seconds",
        ],
    }
}

impl Trial {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        let entry = find(&self.model.model)?;
        let mut inputs: Vec<&Path> = vec![&self.reference];
        inputs.extend(self.query_file.iter().chain(&self.choice.programs).map(PathBuf::as_path));
        inputs.iter().try_for_each(|p| files::check_input(p))?;
        files::check_outputs(std::iter::once(&self.output).chain(&self.picture), &inputs)?;
        if !self.vary.label_share.is_empty() && self.rare.is_none() {
            bail!("--label-share: say of which label, --rare LABEL");
        }
        if self.model.from.is_some() {
            bail!("--from: every run of a trial trains its own reference; leave it out");
        }
        for (option, epochs) in [("--epochs", self.epochs), ("--query-epochs", self.query_epochs)] {
            refuse_epochs(option, epochs)?;
        }
        self.choice.enough_for(entry)?;
        let sets = self.choice.sets()?;
        let [reference, query] = self.cells()?;
        let mut plan = self.plan(global)?;
        if entry.needs.contains(&Input::Labels) {
            plan.reference.prepare.label = Some(self.labels.clone());
        }
        let mut watcher = Watching { start: Instant::now(), global, output: &self.output, failed: None };
        let found = trial(&reference, &query, &sets, &plan, &mut watcher);
        if let Some(error) = watcher.failed {
            return Err(error);
        }
        let found = found?;
        write_table(&self.output, &found.table())?;
        let show: Vec<&str> = match self.show.is_empty() {
            true => shown(&found.vary).to_vec(),
            false => self.show.iter().map(String::as_str).collect(),
        };
        if let Some(path) = &self.picture {
            let Some(picture) = pictures::trial(&found, &show) else {
                bail!("{}: no run has one of {}", path.display(), show.join(", "));
            };
            scgraft::save::picture(path, &picture)?;
        }
        self.tell(&found, &show, out);
        Ok(())
    }

    /// The reference and the query.
    fn cells(&self) -> Result<[Cells; 2]> {
        let first = files::read(&self.reference, &ReadOptions::default())?;
        let renamed = self.label_map.read()?;
        let (reference, mut query) = match &self.query_file {
            Some(path) => {
                let mut query = files::read(path, &ReadOptions::default())?;
                if query.obs.column(&self.batch).is_none() {
                    let one = vec![Some(files::stem(path)); query.n_cells()];
                    query.obs.set(&self.batch, Column::Text(one));
                }
                (first, query)
            }
            None => {
                let name = self.reference.display().to_string();
                let (batch, rows) = input::coded(&first, &name, &self.batch)?;
                let codes = self.query.iter().map(|q| columns::level(&batch, &self.batch, q));
                let codes = codes.collect::<Result<Vec<u32>, _>>()?;
                let (own, others): (Vec<usize>, Vec<usize>) =
                    (0..rows.len()).partition(|&i| codes.contains(&batch.codes[i]));
                if others.is_empty() {
                    bail!("--query names all batches of {name}: nothing is left for the reference");
                }
                let select = |at: Vec<usize>| first.select_cells(&at.into_iter().map(|i| rows[i]).collect::<Vec<_>>());
                (select(others), select(own))
            }
        };
        let file = self.query_file.as_ref().unwrap_or(&self.reference).display().to_string();
        let column = columns::find(&query, &file, &self.labels)?;
        label_map::warn_unused(&renamed.unused(column));
        let column = renamed.column(column);
        query.obs.set(&self.labels, column);
        Ok([reference, query])
    }

    fn plan(&self, global: &Global) -> Result<TrialPlan> {
        let prepare = input::prepare(&self.values, ConditionSource::Columns(vec![self.batch.clone()]));
        Ok(TrialPlan {
            batch: self.batch.clone(),
            labels: self.labels.clone(),
            reference: self.choice.plan(&self.model.model, self.model.settings()?, prepare)?,
            graft: Surgery::adaptor("query"),
            epochs: self.epochs,
            query_epochs: self.query_epochs,
            vary: self.vary.of_plan(self.rare.as_ref()),
            seeds: if self.seeds.is_empty() { vec![global.train_seed()] } else { self.seeds.clone() },
            metrics: EvaluateOptions { search: self.near.search(global)?, ..EvaluateOptions::default() },
            components: (self.components > 0).then_some(self.components),
        })
    }

    fn tell(&self, found: &scgraft::trial::Trial, show: &[&str], out: &mut Output) {
        let mut header = vec![found.vary.name(), "runs"];
        header.extend(show);
        let settings = found.settings();
        let spread = |setting: &str, name: &str| {
            let of = found.spread(setting, name);
            let counts = name.ends_with("_cells") || of.mean.abs() >= 100.0;
            let digits = if counts { 0 } else { 3 };
            let mean = fixed(of.mean, digits);
            if of.sd.is_finite() { format!("{mean} ± {}", fixed(of.sd, digits)) } else { mean }
        };
        let rows = settings.iter().map(|s| {
            let n = found.runs.iter().filter(|r| r.setting == *s).count();
            let mut row = vec![(*s).to_owned(), n.to_string()];
            row.extend(show.iter().map(|name| spread(s, name)));
            row
        });
        out.table(&header, &rows.collect::<Vec<_>>());
        let late = found.runs.iter().filter(|r| r.arrived == Some(false)).count();
        if late > 0 {
            out.line(format!("{late} of {} mappings had not arrived: give them more --query-epochs", found.runs.len()));
        }
        let written: Vec<PathBuf> = std::iter::once(&self.output).chain(&self.picture).cloned().collect();
        out.line(format!("wrote {}", files::shown(&written).join(", ")));
        out.put("vary", found.vary.name());
        let told = found.runs.iter().map(|r| {
            let mut run = json!({
                "setting": r.setting, "seed": r.seed, "reference_cells": r.reference_cells, "query_cells": r.query_cells,
                "trained_values": r.trained_values, "reference_seconds": number(r.reference_seconds),
                "query_seconds": number(r.query_seconds), "arrived": r.arrived,
            });
            r.measures.iter().for_each(|(name, value)| run[name] = number(*value));
            run
        });
        out.put("runs", told.collect::<Vec<_>>());
        out.put("files", files::shown(&written));
    }
}

/// Bars for the fits, how long it will take, and the table so far.
struct Watching<'a> {
    start: Instant,
    global: &'a Global,
    output: &'a Path,
    failed: Option<anyhow::Error>,
}

impl Watcher for Watching<'_> {
    fn fit(&mut self, what: &str, epochs: usize) -> Box<dyn Progress> {
        Box::new(Epochs::watch(what, epochs, self.global, None))
    }

    fn ask(&mut self) -> ControlFlow<()> {
        if self.failed.is_some() { ControlFlow::Break(()) } else { stop::ask() }
    }

    fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn done(&mut self, runs: &[Run], of: usize) {
        let Some(last) = runs.last() else { return };
        let left = self.seconds() / runs.len() as f64 * (of - runs.len()) as f64;
        let left = match (left / 60.0).round() as u64 {
            _ if of == runs.len() => String::new(),
            0 => ", less than a minute left".to_owned(),
            minutes => format!(", about {minutes} min left"),
        };
        tracing::info!("run {} of {of} done: {}, seed {}{left}", runs.len(), last.setting, last.seed);
        match write_table(self.output, &table(runs)) {
            Ok(()) => stop::note_table(self.output),
            Err(error) => _ = self.failed.get_or_insert(error.into()),
        }
    }
}
