//! `cargo xtask mapping`: a base model on real data, beside the published code with the same settings.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::data::Task;
use crate::quality;
use crate::times::{self, Time};
use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft_cells::{Cells, ConditionSource, Dense, PrepareOptions, Prepared};
use scgraft_engine::{Noise, Workspace};
use scgraft_models::{Anneal, Batch, Input, Known, Model, ModelEntry, Step, Surgery, Training, find};
use scgraft_train::{FitReport, Quiet, TrainConfig, fit, with_threads};
use serde_json::{Map, Value};

#[derive(Args)]
pub struct Options {
    /// Base model: scvi, scanvi (from a scvi), cvae, trvae.
    #[arg(long, default_value = "scvi")]
    model: String,
    /// Data: pbmc or scmixology.
    #[arg(long, default_value = "pbmc")]
    task: String,
    /// Python with the peer's packages.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Epochs of the reference.
    #[arg(long, default_value_t = 100)]
    epochs: usize,
    /// Further epochs of scanvi.
    #[arg(long, default_value_t = 10)]
    label_epochs: usize,
    /// Epochs of the query.
    #[arg(long, default_value_t = 100)]
    query_epochs: usize,
    #[arg(long, value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Every so many cells of the reference, one is held out.
const HELD_OUT: usize = 10;

pub fn run(options: &Options, folder: &Path) -> Result<()> {
    let task = Task::read(folder, &options.task)?;
    for &seed in &options.seeds {
        let settings = Settings {
            epochs: options.epochs,
            label_epochs: options.label_epochs,
            query_epochs: options.query_epochs,
            seed,
            threads: options.threads,
        };
        let (times, findings) = compare(&task, &options.model, options.peer.as_deref(), &settings)?;
        let title = format!("{} on {}, seed {seed}", options.model, options.task);
        println!("\n| {title} | scgraft | peer | difference |\n|---|---|---|---|");
        for f in &findings {
            let (peer, difference) =
                f.peer.map_or(("–".into(), "–".into()), |p| (format!("{p:.4}"), f.difference(p)));
            println!("| {} | {:.4} | {peer} | {difference} |", f.what, f.value);
        }
        times::print(&title, options.threads, &times);
    }
    Ok(())
}

/// How long and how both are trained.
pub struct Settings {
    pub epochs: usize,
    /// Further epochs of a model that reads labels.
    pub label_epochs: usize,
    pub query_epochs: usize,
    pub seed: u64,
    pub threads: usize,
}

/// A figure of ours and of the peer.
struct Finding {
    what: &'static str,
    value: f64,
    peer: Option<f64>,
}

impl Finding {
    /// Of an accuracy in points, of a loss in percent.
    fn difference(&self, peer: f64) -> String {
        if self.what.contains("accuracy") {
            format!("{:+.4}", self.value - peer)
        } else {
            format!("{:+.2} %", 100.0 * (self.value - peer) / peer)
        }
    }
}

/// Times of the parts of a mapping of the PBMC task.
pub fn times(folder: &Path, model: &str, python: Option<&Path>, settings: &Settings) -> Result<Vec<Time>> {
    Ok(compare(&Task::read(folder, "pbmc")?, model, python, settings)?.0)
}

/// Ours, and the peer's where its Python is given.
fn compare(task: &Task, model: &str, python: Option<&Path>, settings: &Settings) -> Result<(Vec<Time>, Vec<Finding>)> {
    let (times, findings) = with_threads(settings.threads, || ours(task, model, settings))??;
    let peer = python.map(|python| peer(python, task, model, settings)).transpose()?;
    let times = times.into_iter().map(|(time, at)| time.beside(peer.as_ref(), at)).collect::<Result<_>>()?;
    let findings = findings
        .into_iter()
        .map(|(what, value, at)| {
            let peer = peer.as_ref().map(|p| p.pointer(at).and_then(Value::as_f64).context("the peer lacks a figure"));
            Ok(Finding { what, value, peer: peer.transpose()? })
        })
        .collect::<Result<_>>()?;
    Ok((times, findings))
}

fn peer(python: &Path, task: &Task, model: &str, settings: &Settings) -> Result<Value> {
    let script = match model {
        "scvi" | "scanvi" => "scvi_tools.py",
        "cvae" | "trvae" => "trvae.py",
        other => bail!("there is no peer script for {other}"),
    };
    let folder = tempfile::tempdir()?;
    task.write(folder.path())?;
    let mut arguments = vec![
        ("--model", model.to_owned()),
        ("--epochs", settings.epochs.to_string()),
        ("--query-epochs", settings.query_epochs.to_string()),
        ("--threads", settings.threads.to_string()),
        ("--seed", settings.seed.to_string()),
    ];
    if model == "scanvi" {
        arguments.push(("--label-epochs", settings.label_epochs.to_string()));
    }
    times::peer(python, script, folder.path(), &arguments)
}

/// Prepared for a model; with labels where it reads them and `labelled`.
pub fn prepared(cells: &Cells, labelled: bool, known: Option<&Model>) -> Result<Prepared> {
    let condition = ConditionSource::Columns(vec!["study".into()]);
    let label = labelled.then(|| "cell_type".to_owned());
    let options = PrepareOptions { condition, label, ..PrepareOptions::default() };
    Ok(match known {
        Some(model) => Prepared::query(cells, &model.header.known, &options)?,
        None => Prepared::reference(cells, None, &options)?,
    })
}

/// A reference by default settings, some of the training replaced; a model that reads labels from a plain one.
pub fn reference(task: &Task, entry: &ModelEntry, replaced: &str, seed: u64) -> Result<(Model, FitReport)> {
    let labelled = entry.needs.contains(&Input::Labels);
    let data = prepared(&task.reference, labelled, None)?;
    let config = |training: &Training| -> Result<TrainConfig> {
        crate::arrival::with(TrainConfig { seed, ..TrainConfig::of(training, data.n_cells()) }, replaced)
    };
    let mut model = new_model(if labelled { "scvi" } else { entry.name }, &data, seed)?;
    let plain = config(&model.entry.training)?;
    let mut report = fit(&mut model, &data, &plain, &mut Quiet)?;
    if labelled {
        let mut with_labels = new_model(entry.name, &data, seed)?;
        with_labels.adopt(&model)?;
        report = fit(&mut with_labels, &data, &config(&entry.fitting(true).0)?, &mut Quiet)?;
        model = with_labels;
    }
    Ok((model, report))
}

fn new_model(name: &str, data: &Prepared, seed: u64) -> Result<Model> {
    let known = data.known();
    let labels = if find(name)?.needs.contains(&Input::Labels) { known.labels } else { Vec::new() };
    let (genes, conditions, cells) = (known.genes, known.conditions, known.cells);
    let known = Known { genes, conditions, labels, cells, ..Known::default() };
    Ok(Model::new(name, &Value::Object(Map::new()), known.into(), seed)?)
}

/// Fits for so many epochs on all cells.
fn fit_all(
    what: &'static str,
    model: &mut Model,
    data: &Prepared,
    training: &Training,
    epochs: usize,
    seed: u64,
) -> Result<Time> {
    let mut config = TrainConfig { epochs, seed, early_stopping: None, ..TrainConfig::of(training, data.n_cells()) };
    if model.entry.name.ends_with("vae") {
        // As the peer's script has it.
        config.anneal = Anneal::Epochs(0);
    }
    Ok(times::timed_fit(what, model, data, &config)?.time)
}

/// Mean over cells of −ln p(x | z) at the posterior mean.
fn reconstruction(model: &Model, data: &Prepared) -> Result<f64> {
    model.check(data)?;
    let (mut batch, mut workspace, mut total) = (Batch::default(), Workspace::new(), 0.0);
    let step = Step { epoch: 0, epochs: 1, learning_rate: 0.0, annealed: 1.0 };
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    for rows in rows.chunks(256) {
        batch.fill(data, rows, model.input_scale())?;
        let mut tape = model.tape(&mut workspace, Noise::Zero, false);
        let loss = model.network.loss(&mut tape, &batch, &step);
        let of_cells = loss.iter().find(|t| t.name == "reconstruction").and_then(|t| t.per_cell);
        total += tape.value(of_cells.context("no reconstruction")?).iter().map(|&v| f64::from(v)).sum::<f64>();
        tape.finish();
    }
    Ok(total / data.n_cells() as f64)
}

/// Share of the cells of known type that a model's own classifier labels right, where it has one.
pub fn own_accuracy(model: &Model, cells: &Prepared, known: &[(usize, String)]) -> Result<Option<f64>> {
    let Some(p) = model.label_probabilities(cells)? else { return Ok(None) };
    let best = |i: usize| (0..p.n_cols).fold(0, |best, k| if p.row(i)[k] > p.row(i)[best] { k } else { best });
    let right = known.iter().filter(|(i, truth)| model.header.labels[best(*i)] == *truth).count();
    Ok(Some(right as f64 / known.len() as f64))
}

/// Times and findings, each with its place in the peer's report.
type Ours = (Vec<(Time, &'static str)>, Vec<(&'static str, f64, &'static str)>);

fn ours(task: &Task, model: &str, settings: &Settings) -> Result<Ours> {
    let split =
        |held: bool| -> Vec<usize> { (0..task.reference.n_cells()).filter(|i| (i % HELD_OUT == 0) == held).collect() };
    let (train_cells, held_cells) =
        (task.reference.select_cells(&split(false)), task.reference.select_cells(&split(true)));
    let labelled = find(model)?.needs.contains(&Input::Labels);
    let train_data = prepared(&train_cells, labelled, None)?;
    let (mut times, mut findings) = (Vec::new(), Vec::new());
    let seed = settings.seed;

    let mut trained = new_model(if labelled { "scvi" } else { model }, &train_data, seed)?;
    let training = &trained.entry.training;
    let time = fit_all("training epoch", &mut trained, &train_data, training, settings.epochs, seed)?;
    times.push((time, "/reference/seconds_per_epoch"));
    if labelled {
        let mut with_labels = new_model(model, &train_data, seed)?;
        with_labels.adopt(&trained)?;
        let epochs = settings.label_epochs;
        let time = fit_all("training epoch with labels", &mut with_labels, &train_data, training, epochs, seed)?;
        times.push((time, "/labels/seconds_per_epoch"));
        trained = with_labels;
    }
    let held = prepared(&held_cells, false, Some(&trained))?;
    let loss = reconstruction(&trained, &held)?;
    findings.push(("reconstruction of held-out cells", loss, "/held_out_reconstruction"));

    let query = prepared(&task.query, false, Some(&trained))?;
    let mut grafted = trained.surgery(&Surgery::adaptor("query"), &trained.newcomers(&query), seed)?;
    let training = &trained.entry.mapping;
    let time = fit_all("surgery epoch", &mut grafted, &query, training, settings.query_epochs, seed)?;
    times.push((time, "/surgery/seconds_per_epoch"));
    findings.push(("reconstruction of the query", reconstruction(&grafted, &query)?, "/query_reconstruction"));

    let reference = prepared(&task.reference, false, Some(&grafted))?;
    let start = Instant::now();
    let (reference_mean, query_mean): (Dense, Dense) = (grafted.latent(&reference)?.0, grafted.latent(&query)?.0);
    times.push((Time::of("latent means of both sets", start.elapsed().as_secs_f64()), "/latent_seconds"));
    let known = task.truth();
    let (accuracy, _) = quality::accuracy(&task.reference, &known, &reference_mean, &query_mean)?;
    findings.push(("label accuracy, 15 neighbours", accuracy, "/label_accuracy"));
    if let Some(accuracy) = own_accuracy(&grafted, &query, &known)? {
        findings.push(("label accuracy, own prediction", accuracy, "/predicted_accuracy"));
    }
    Ok((times, findings))
}
