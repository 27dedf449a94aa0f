//! Speed of the main job: expiMap on the PBMC reference, surgery with the stimulated query, published settings.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use scgraft_analysis::programs::{Latent, ProgramTestOptions, test_programs};
use scgraft_cells::Prepared;
use scgraft_models::{Model, Surgery};
use scgraft_train::{TrainConfig, fit, with_threads};
use serde_json::{Value, json};

use crate::{data, floor};

/// Options of the bench.
#[derive(Args)]
pub struct Options {
    /// Folder of the real data (default: SCGRAFT_DATA, or ../shared/data).
    #[arg(long)]
    data: Option<PathBuf>,
    /// Python with scArches 0.6.1 (tools/peers/requirements-scarches.txt); without it only ours is timed.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Threads of both.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Epochs timed, of reference and of surgery; the first is left out of the mean.
    #[arg(long, default_value_t = 6)]
    epochs: usize,
    /// Write the figures here as JSON.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Seconds of the parts of our job.
struct Ours {
    train_epoch: f64,
    train_floor: f64,
    graft_epoch: f64,
    graft_floor: f64,
    latent: f64,
    test: f64,
    train_steps: usize,
    graft_steps: usize,
    peak_bytes: u64,
    sparse_bytes: usize,
    parameter_bytes: usize,
    workspace_bytes: usize,
}

/// Runs the bench and prints its table.
pub fn run(options: &Options) -> Result<()> {
    let folder = data::folder(options.data.as_deref());
    ensure!(folder.join("kang_ifnb_2800.h5ad").exists(), "no data in {}: give --data", folder.display());
    let ours = with_threads(options.threads, || ours(&folder, options.epochs))??;
    let rates = floor::measure();
    println!(
        "one thread multiplies {:.0} GFLOP/s and moves {:.1} GB/s; {} threads used",
        rates.flops_per_second / 1e9,
        rates.bytes_per_second / 1e9,
        options.threads
    );
    let mut figures = json!({
        "threads": options.threads,
        "gflops": rates.flops_per_second / 1e9, "gbytes_per_second": rates.bytes_per_second / 1e9,
        "train_epoch_seconds": ours.train_epoch, "graft_epoch_seconds": ours.graft_epoch,
        "latent_seconds": ours.latent, "test_seconds": ours.test,
        "train_step_ms": ours.train_epoch / ours.train_steps as f64 * 1e3, "train_floor_ms": ours.train_floor * 1e3,
        "graft_step_ms": ours.graft_epoch / ours.graft_steps as f64 * 1e3, "graft_floor_ms": ours.graft_floor * 1e3,
    });
    // With the validation on a tenth of the cells that ends each epoch, in both.
    for (what, epoch, steps, floor) in [
        ("training", ours.train_epoch, ours.train_steps, ours.train_floor),
        ("surgery", ours.graft_epoch, ours.graft_steps, ours.graft_floor),
    ] {
        let step = epoch / steps as f64;
        println!(
            "{what}: {epoch:.3} s an epoch, {:.2} ms a step with its share of validation, floor {:.2} ms on one thread: {:.2}×",
            step * 1e3,
            floor * 1e3,
            step * options.threads as f64 / floor
        );
    }
    println!("latent of 8,926 + 2,800 cells: {:.3} s; program test: {:.3} s", ours.latent, ours.test);
    let bound = ours.sparse_bytes + ours.parameter_bytes * 4 + ours.workspace_bytes;
    println!(
        "peak memory {:.0} MB; sparse data {:.0} + parameters × 4 {:.0} + workspace {:.0} = {:.0} MB: {:.2}×",
        ours.peak_bytes as f64 / 1e6,
        ours.sparse_bytes as f64 / 1e6,
        (ours.parameter_bytes * 4) as f64 / 1e6,
        ours.workspace_bytes as f64 / 1e6,
        bound as f64 / 1e6,
        ours.peak_bytes as f64 / bound as f64
    );
    figures["peak_bytes"] = json!(ours.peak_bytes);
    figures["bound_bytes"] = json!(bound);
    if let Some(python) = &options.peer {
        let peer = peer(python, &folder, options)?;
        let seconds = |path: &[&str]| path.iter().fold(&peer, |v, k| &v[*k]).as_f64();
        println!("\n| work | scgraft | scArches 0.6.1 | ratio |\n|---|---|---|---|");
        for (what, mine, theirs) in [
            ("training epoch", ours.train_epoch, seconds(&["reference", "seconds_per_epoch"])),
            ("surgery epoch", ours.graft_epoch, seconds(&["surgery", "seconds_per_epoch"])),
            (
                "latent inference",
                ours.latent,
                seconds(&["latent_seconds_reference"]).zip(seconds(&["latent_seconds_query"])).map(|(r, q)| r + q),
            ),
            ("program test", ours.test, seconds(&["test_seconds"])),
        ] {
            let theirs = theirs.with_context(|| format!("the peer printed no figure for {what}: {peer}"))?;
            println!("| {what} | {mine:.3} s | {theirs:.3} s | {:.1}× |", theirs / mine);
        }
        figures["peer"] = peer;
    }
    if let Some(out) = &options.out {
        std::fs::write(out, serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(())
}

/// scArches on the same data.
fn peer(python: &Path, folder: &Path, options: &Options) -> Result<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/peers/expimap.py");
    let epochs = options.epochs.to_string();
    let output = Command::new(python)
        .args([script.as_ref(), folder.as_os_str()])
        .args(["--epochs", &epochs, "--query-epochs", &epochs, "--threads", &options.threads.to_string()])
        .output()
        .with_context(|| format!("running {}", python.display()))?;
    ensure!(output.status.success(), "the peer failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn ours(folder: &Path, epochs: usize) -> Result<Ours> {
    let sets = data::sets(folder)?;
    let reference = {
        let cells = data::read_reference(folder)?;
        data::reference(&cells, &data::genes(&cells, &sets))?
    };
    let config = TrainConfig { epochs, ..TrainConfig::default() };
    let mut model = data::expimap(&reference, &sets, &json!({}), config.seed)?;
    let sparse_bytes = bytes(&reference);
    let rates = floor::measure();
    let train_floor = floor::step_of_epoch(&model, &reference, &config).seconds(rates);
    reset_peak();
    let (train_epoch, report) = timed_fit(&mut model, &reference, &config)?;
    let peak_bytes = peak();
    let query_cells = data::read_query(folder)?;
    let query = data::query(&query_cells, &model)?;
    let new = query.condition.levels[query.n_known_conditions..].to_vec();
    let mut plan = Surgery::adaptor("Kang", new);
    plan.settings = json!({ "kl_weight": 0.1 });
    let mut graft = model.surgery(&plan, config.seed)?;
    let graft_floor = floor::step_of_epoch(&graft, &query, &config).seconds(rates);
    let (graft_epoch, graft_report) = timed_fit(&mut graft, &query, &config)?;

    let start = Instant::now();
    let (mean, variance) = graft.latent(&query)?;
    let _ = graft.latent(&reference)?;
    let latent = start.elapsed().as_secs_f64();
    let names = graft.latent_names();
    let groups = query_cells.obs.column("condition").context("no `condition` in the query")?.coded();
    let groups = groups.map_err(|rows| anyhow::anyhow!("{} cells without a condition", rows.len()))?;
    let start = Instant::now();
    let scores = Latent { mean: &mean, variance: &variance, programs: &names, directions: None };
    test_programs(scores, ("condition", &groups), None, &ProgramTestOptions::default())?;
    let test = start.elapsed().as_secs_f64();
    Ok(Ours {
        train_epoch,
        train_floor,
        graft_epoch,
        graft_floor,
        latent,
        test,
        train_steps: report.steps / report.epochs,
        graft_steps: graft_report.steps / graft_report.epochs,
        peak_bytes,
        sparse_bytes,
        parameter_bytes: model.params.n_values() * 4,
        workspace_bytes: report.workspace_bytes,
    })
}

fn bytes(data: &Prepared) -> usize {
    data.expression.nnz() * 8 + data.expression.indptr.len() * 8
}

/// Fits, and gives the mean seconds of an epoch after the first.
fn timed_fit(model: &mut Model, data: &Prepared, config: &TrainConfig) -> Result<(f64, scgraft_train::FitReport)> {
    let (mut last, mut times) = (Instant::now(), Vec::new());
    let report = fit(model, data, config, &mut |_| {
        times.push(last.elapsed().as_secs_f64());
        last = Instant::now();
        ControlFlow::Continue(())
    })?;
    let later = &times[1.min(times.len() - 1)..];
    Ok((later.iter().sum::<f64>() / later.len() as f64, report))
}

/// Starts the high-water mark of memory anew, and empties the allocator's spare memory as far as Linux lets us.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Highest resident memory since [`reset_peak`], in bytes; 0 where the system does not say.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}
