//! `cargo xtask mapping`: a base model on real data, beside the published code with the same settings.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use scgraft_cells::{Cells, ConditionSource, Dense, PrepareOptions, Prepared};
use scgraft_engine::{Noise, Tape, Workspace};
use scgraft_models::{Batch, Header, Input, Model, Step, Surgery, find};
use scgraft_train::{TrainConfig, fit, with_threads};
use serde_json::{Map, Value, json};

use crate::data::{self, Task};
use crate::{floor, quality};

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
    /// Folder of the data.
    #[arg(long)]
    data: Option<PathBuf>,
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

pub fn run(options: &Options) -> Result<()> {
    let folder = data::folder(options.data.as_deref());
    if !folder.is_dir() {
        println!("skipped: no data in {} (give --data or SCGRAFT_DATA)", folder.display());
        return Ok(());
    }
    let task = Task::read(&folder, &options.task)?;
    let files = std::env::temp_dir().join(format!("scgraft-mapping-{}", std::process::id()));
    if options.peer.is_some() {
        task.write(&files)?;
    }
    for &seed in &options.seeds {
        let ours = with_threads(options.threads, || ours(&task, options, seed))??;
        let peer = options.peer.as_ref().map(|python| peer(python, &files, options, seed)).transpose()?;
        println!(
            "\n{} on {}, seed {seed}\n\n| what | scgraft | peer | ratio or difference | of the floor |\n|---|---|---|---|---|",
            options.model, options.task
        );
        let at = |v: &Value, path: &str| v.pointer(path).and_then(Value::as_f64);
        for (what, path, is_time) in [
            ("training epoch, s", "/reference/seconds_per_epoch", true),
            ("epoch with labels, s", "/labels/seconds_per_epoch", true),
            ("surgery epoch, s", "/surgery/seconds_per_epoch", true),
            ("latent means of both sets, s", "/latent_seconds", true),
            ("reconstruction of held-out cells", "/held_out_reconstruction", false),
            ("reconstruction of the query", "/query_reconstruction", false),
            ("label accuracy, 15 neighbours", "/label_accuracy", false),
            ("label accuracy, own prediction", "/predicted_accuracy", false),
        ] {
            let (mine, theirs) = (at(&ours, path), peer.as_ref().and_then(|p| at(p, path)));
            let Some(mine) = mine else { continue };
            let told = theirs.map_or_else(|| "–".into(), |t| format!("{t:.4}"));
            let compared = match theirs {
                Some(t) if is_time => format!("{:.1}×", t / mine),
                Some(t) if path.contains("accuracy") => format!("{:+.4}", mine - t),
                Some(t) => format!("{:+.2} %", 100.0 * (mine - t) / t),
                None => "–".into(),
            };
            let floor = path.strip_suffix("seconds_per_epoch").and_then(|parent| at(&ours, &format!("{parent}floor")));
            let floor = floor.map_or_else(String::new, |f| format!("{:.2}×", mine * options.threads as f64 / f));
            println!("| {what} | {mine:.4} | {told} | {compared} | {floor} |");
        }
    }
    if options.peer.is_some() {
        std::fs::remove_dir_all(&files)?;
    }
    Ok(())
}

fn peer(python: &Path, folder: &Path, options: &Options, seed: u64) -> Result<Value> {
    let script = match options.model.as_str() {
        "scvi" | "scanvi" => "scvi_tools.py",
        "cvae" | "trvae" => "trvae.py",
        other => bail!("there is no peer script for {other}"),
    };
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/peers")).join(script);
    let mut command = Command::new(python);
    command.arg(script).arg(folder).args(["--model", &options.model]);
    for (name, value) in [
        ("--epochs", options.epochs as u64),
        ("--query-epochs", options.query_epochs as u64),
        ("--threads", options.threads as u64),
        ("--seed", seed),
    ] {
        command.args([name, &value.to_string()]);
    }
    if options.model == "scanvi" {
        command.args(["--label-epochs", &options.label_epochs.to_string()]);
    }
    let output = command.output().with_context(|| format!("running {}", python.display()))?;
    ensure!(output.status.success(), "the peer failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Prepared for a model; with labels where it reads them and `labelled`.
fn prepared(cells: &Cells, labelled: bool, known: Option<&Model>) -> Result<Prepared> {
    let condition = ConditionSource::Columns(vec!["study".into()]);
    let label = labelled.then(|| "cell_type".to_owned());
    let options = PrepareOptions { condition, label, ..PrepareOptions::default() };
    Ok(match known {
        Some(model) => Prepared::query(cells, &model.header.known(), &options)?,
        None => Prepared::reference(cells, None, &options)?,
    })
}

fn new_model(name: &str, data: &Prepared, seed: u64) -> Result<Model> {
    let known = data.known();
    let labels = if find(name)?.needs.contains(&Input::Labels) { known.labels } else { Vec::new() };
    let (genes, conditions, cells) = (known.genes, known.conditions, known.cells);
    let header = Header { genes, conditions, labels, cells, ..Header::default() };
    Ok(Model::new(name, &Value::Object(Map::new()), header, seed)?)
}

/// Fits for so many epochs on all cells; seconds of an epoch, and its floor on one thread.
fn timed(model: &mut Model, data: &Prepared, mut config: TrainConfig, epochs: usize, seed: u64) -> Result<Value> {
    (config.epochs, config.seed, config.early_stopping) = (epochs, seed, None);
    if model.entry.name.ends_with("vae") {
        // As the peer's script has it.
        config.kl_anneal = 0;
    }
    let start = Instant::now();
    let report = fit(model, data, &config, &mut |_| ControlFlow::Continue(()))?;
    let seconds = start.elapsed().as_secs_f64();
    let steps = (report.steps / report.epochs) as f64;
    let floor = steps * floor::step_of_epoch(model, data, &config).seconds(floor::measure());
    Ok(json!({ "epochs": epochs, "seconds_per_epoch": seconds / epochs as f64, "floor": floor }))
}

/// Mean over cells of −ln p(x | z) at the posterior mean.
fn reconstruction(model: &Model, data: &Prepared) -> Result<f64> {
    model.check(data)?;
    let (mut batch, mut workspace, mut total) = (Batch::default(), Workspace::new(), 0.0);
    let step = Step { epoch: 0, epochs: 1, learning_rate: 0.0, kl_weight: 1.0, annealed: 1.0 };
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    for rows in rows.chunks(256) {
        batch.fill(data, rows, model.network.input_scale());
        let mut tape = Tape::new(&model.params, &mut workspace, Noise::Zero, false);
        let loss = model.network.loss(&mut tape, &batch, &step);
        let of_cells = loss.iter().find(|t| t.name == "reconstruction").and_then(|t| t.per_cell);
        total += tape.value(of_cells.context("no reconstruction")?).iter().map(|&v| f64::from(v)).sum::<f64>();
        tape.finish();
    }
    Ok(total / data.n_cells() as f64)
}

fn ours(task: &Task, options: &Options, seed: u64) -> Result<Value> {
    let split =
        |held: bool| -> Vec<usize> { (0..task.reference.n_cells()).filter(|i| (i % HELD_OUT == 0) == held).collect() };
    let (train_cells, held_cells) =
        (task.reference.select_cells(&split(false)), task.reference.select_cells(&split(true)));
    let labelled = find(&options.model)?.needs.contains(&Input::Labels);
    let train_data = prepared(&train_cells, labelled, None)?;
    let n = train_data.n_cells();

    let mut report = Map::new();
    let first = if labelled { "scvi" } else { &options.model };
    let mut model = new_model(first, &train_data, seed)?;
    let config = TrainConfig::of(&model.entry.training, n);
    report.insert("reference".into(), timed(&mut model, &train_data, config.clone(), options.epochs, seed)?);
    if labelled {
        let mut with_labels = new_model(&options.model, &train_data, seed)?;
        with_labels.adopt(&model)?;
        report.insert("labels".into(), timed(&mut with_labels, &train_data, config, options.label_epochs, seed)?);
        model = with_labels;
    }
    let held = prepared(&held_cells, false, Some(&model))?;
    report.insert("held_out_reconstruction".into(), reconstruction(&model, &held)?.into());

    let query = prepared(&task.query, false, Some(&model))?;
    let mut plan = Surgery::adaptor("query", query.condition.levels[query.n_known_conditions..].to_vec());
    plan.cells = query.cell_identities();
    let mut grafted = model.surgery(&plan, seed)?;
    let config = TrainConfig::of(&model.entry.mapping, query.n_cells());
    report.insert("surgery".into(), timed(&mut grafted, &query, config, options.query_epochs, seed)?);
    report.insert("query_reconstruction".into(), reconstruction(&grafted, &query)?.into());

    let reference = prepared(&task.reference, false, Some(&grafted))?;
    let start = Instant::now();
    let (reference_mean, query_mean): (Dense, Dense) = (grafted.latent(&reference)?.0, grafted.latent(&query)?.0);
    report.insert("latent_seconds".into(), start.elapsed().as_secs_f64().into());
    let known = task.truth();
    let (accuracy, _) = quality::accuracy(&task.reference, &known, &reference_mean, &query_mean)?;
    report.insert("label_accuracy".into(), accuracy.into());
    if let Some(p) = grafted.label_probabilities(&query)? {
        let best = |i: usize| {
            let row = p.row(i);
            (0..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best })
        };
        let right = known.iter().filter(|(i, truth)| grafted.header.labels[best(*i)] == **truth).count();
        report.insert("predicted_accuracy".into(), (right as f64 / known.len() as f64).into());
    }
    Ok(Value::Object(report))
}
