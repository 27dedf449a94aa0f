//! totalVI on CITE-seq of PBMC, beside scvi-tools: the proteins of a third of the cells are hidden and imputed; then a
//! query without any protein is mapped.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use scgraft_cells::{Array, Cells, Column, ConditionSource, Dense, PrepareOptions, Prepared, ProteinSource};
use scgraft_io::{ReadOptions, read_h5ad};
use scgraft_models::{DecodeAs, Header, Model, Surgery, find};
use scgraft_train::{TrainConfig, fit, with_threads};
use serde_json::{Value, json};

use crate::{data, floor};

/// Options of the comparison.
#[derive(Args)]
pub struct Options {
    /// Folder of the real data (default: SCGRAFT_DATA, or ../shared/data).
    #[arg(long)]
    data: Option<PathBuf>,
    /// Python with scvi-tools (tools/peers/requirements-current.txt); without it only ours runs.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Epochs; the KL weight rises over half of them.
    #[arg(long, default_value_t = 100)]
    epochs: usize,
    /// Seeds, one run each.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// Threads of both.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Without the peer's classifier of batches, which ours does not have.
    #[arg(long)]
    no_adversary: bool,
    /// Also map the query without proteins, in so many epochs.
    #[arg(long, default_value_t = 0)]
    query_epochs: usize,
}

/// One cell in so many has its proteins hidden.
const HIDDEN: usize = 3;
const SLOT: &str = "protein_expression";

/// Correlations of imputed proteins with the truth over the hidden cells, and the time of an epoch.
struct Figures {
    with_background: Vec<f64>,
    foreground: Vec<f64>,
    seconds_per_epoch: f64,
    surgery_seconds_per_epoch: Option<f64>,
    /// Of the training and of the surgery epoch, on one thread.
    floors: (f64, f64),
}

/// Runs the comparison and prints its tables.
pub fn run(options: &Options) -> Result<()> {
    let folder = data::folder(options.data.as_deref());
    let path = folder.join("citeseq_pbmc10k_totalvi.h5ad");
    ensure!(path.exists(), "no {}: give --data", path.display());
    let cells = read_h5ad(&path, &ReadOptions::default())?;
    for &seed in &options.seeds {
        let (names, ours) = with_threads(options.threads, || ours(&cells, &folder, options, seed))??;
        let theirs = match &options.peer {
            Some(python) => Some(peer(python, &folder, options, seed, &names)?),
            None => None,
        };
        println!("seed {seed}: Pearson correlation of ln(1 + imputed) with ln(1 + counts), hidden cells");
        println!("| protein | scgraft | scvi-tools | without background | scvi-tools |\n|---|---|---|---|---|");
        let told = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.4}"));
        for (j, name) in names.iter().enumerate() {
            let (a, b) = (theirs.as_ref().map(|t| t.with_background[j]), theirs.as_ref().map(|t| t.foreground[j]));
            println!(
                "| {name} | {:.4} | {} | {:.4} | {} |",
                ours.with_background[j],
                told(a),
                ours.foreground[j],
                told(b)
            );
        }
        let (a, b) = (theirs.as_ref().map(|t| mean(&t.with_background)), theirs.as_ref().map(|t| mean(&t.foreground)));
        println!(
            "| mean | {:.4} | {} | {:.4} | {} |",
            mean(&ours.with_background),
            told(a),
            mean(&ours.foreground),
            told(b)
        );
        let peers = theirs.as_ref().map(|t| (Some(t.seconds_per_epoch), t.surgery_seconds_per_epoch));
        for (what, mine, peer, floor) in [
            ("an epoch", Some(ours.seconds_per_epoch), peers.and_then(|p| p.0), ours.floors.0),
            ("an epoch of surgery", ours.surgery_seconds_per_epoch, peers.and_then(|p| p.1), ours.floors.1),
        ] {
            let Some(mine) = mine else { continue };
            let ratio = peer.map_or(String::new(), |t| format!("; scvi-tools {t:.3} s: {:.1}×", t / mine));
            println!("{what}: {mine:.3} s, {:.2}× the floor{ratio}", mine * options.threads as f64 / floor);
        }
    }
    Ok(())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The same cells, with the proteins of every third hidden; and all counts of proteins, with their names.
fn hide(cells: &Cells) -> Result<(Cells, Dense, Vec<String>)> {
    let options = PrepareOptions {
        condition: ConditionSource::Constant("all".into()),
        proteins: Some(ProteinSource { obsm: SLOT.into(), names: None }),
        ..PrepareOptions::default()
    };
    let all = Prepared::reference(cells, None, &options)?.proteins.context("no proteins")?;
    let mut hidden = cells.clone();
    let mut counts = all.counts.clone();
    (0..cells.n_cells()).step_by(HIDDEN).for_each(|i| counts.row_mut(i).fill(0.0));
    hidden.obsm.insert(SLOT.into(), Array::Dense(counts));
    let parts: Vec<&str> = (0..cells.n_cells()).map(|i| if i % HIDDEN == 0 { "hidden" } else { "measured" }).collect();
    hidden.obs.set("part", Column::categorical(&parts));
    Ok((hidden, all.counts, all.names))
}

fn ours(cells: &Cells, folder: &Path, options: &Options, seed: u64) -> Result<(Vec<String>, Figures)> {
    let (hidden, truth, names) = hide(cells)?;
    let prepare = PrepareOptions {
        condition: ConditionSource::Columns(vec!["part".into()]),
        // The matrix without the hidden counts has no column names of its own.
        proteins: Some(ProteinSource { obsm: SLOT.into(), names: Some("protein_names".into()) }),
        ..PrepareOptions::default()
    };
    let prepared = Prepared::reference(&hidden, None, &prepare)?;
    let known = prepared.known();
    let header =
        Header { genes: known.genes, conditions: known.conditions, proteins: known.proteins, ..Header::default() };
    let mut model = Model::new("totalvi", &json!({}), header, seed)?;
    let entry = find("totalvi")?;
    let config = TrainConfig {
        epochs: options.epochs,
        kl_anneal: options.epochs / 2,
        early_stopping: None,
        seed,
        ..TrainConfig::of(&entry.training, prepared.n_cells())
    };
    let (seconds_per_epoch, floor) = timed(&mut model, &prepared, &config)?;
    let rows: Vec<usize> = (0..cells.n_cells()).step_by(HIDDEN).collect();
    let imputed = model.proteins(&prepared.select_cells(&rows), &DecodeAs::Conditions(vec!["measured".into()]))?;
    let truth = truth.select_rows(&rows);
    let each = |of: &Dense| (0..names.len()).map(|j| pearson(&of.column(j), &truth.column(j))).collect::<Vec<_>>();
    let mut figures = Figures {
        with_background: each(&imputed.total),
        foreground: each(&imputed.foreground),
        seconds_per_epoch,
        surgery_seconds_per_epoch: None,
        floors: (floor, f64::NAN),
    };
    if options.query_epochs > 0 {
        let (seconds, floor) = map(&model, folder, options.query_epochs, seed)?;
        (figures.surgery_seconds_per_epoch, figures.floors.1) = (Some(seconds), floor);
    }
    Ok((names, figures))
}

/// Seconds of an epoch, and its floor.
fn timed(model: &mut Model, data: &Prepared, config: &TrainConfig) -> Result<(f64, f64)> {
    let start = Instant::now();
    let report = fit(model, data, config, &mut |_| ControlFlow::Continue(()))?;
    let seconds = start.elapsed().as_secs_f64() / report.epochs as f64;
    let steps = (report.steps / report.epochs) as f64;
    Ok((seconds, steps * floor::step_of_epoch(model, data, config).seconds(floor::measure())))
}

/// Maps the query without proteins and imputes them; there is no truth, so the proteins that go together are shown.
/// Seconds of an epoch, and its floor.
fn map(model: &Model, folder: &Path, epochs: usize, seed: u64) -> Result<(f64, f64)> {
    let query = read_h5ad(folder.join("citeseq_pbmc5k_totalvi_rna_only.h5ad"), &ReadOptions::default())?;
    let prepare =
        PrepareOptions { condition: ConditionSource::Columns(vec!["batch".into()]), ..PrepareOptions::default() };
    let prepared = Prepared::query(&query, &model.header.known(), &prepare)?;
    let config = TrainConfig { epochs, early_stopping: None, seed, ..TrainConfig::of(&model.entry.mapping, 4000) };
    let new = prepared.condition.levels[prepared.n_known_conditions..].to_vec();
    let mut mapped = model.surgery(&Surgery::adaptor("5k", new), seed)?;
    let times = timed(&mut mapped, &prepared, &config)?;
    let imputed = mapped.proteins(&prepared, &DecodeAs::Measured)?;
    let genes = ["CD3D", "CD4", "CD8A", "CD14", "MS4A1", "FCGR3A", "NCAM1"];
    let proteins = ["CD3", "CD4", "CD8a", "CD14", "CD19", "CD16", "CD56"];
    println!(
        "query without proteins, {} cells: correlation of imputed protein with its own or lineage gene",
        prepared.n_cells()
    );
    for (gene, protein) in genes.iter().zip(proteins) {
        let at = |names: &[String], name: &str| names.iter().position(|n| n == name);
        let (Some(g), Some(p)) = (at(&prepared.genes, gene), at(&mapped.header.proteins, protein)) else { continue };
        let counts: Vec<f32> = (0..prepared.n_cells())
            .map(|i| {
                let (columns, values) = prepared.expression.row(i);
                columns.iter().position(|&c| c as usize == g).map_or(0.0, |k| values[k])
            })
            .collect();
        println!("  {protein} and {gene}: {:.3}", pearson(&imputed.total.column(p), &counts));
    }
    Ok(times)
}

/// Pearson correlation of ln(1 + a) with ln(1 + b).
fn pearson(a: &[f32], b: &[f32]) -> f64 {
    let logs = |v: &[f32]| v.iter().map(|&x| f64::from(x).ln_1p()).collect::<Vec<_>>();
    let (a, b) = (logs(a), logs(b));
    let (ma, mb) = (mean(&a), mean(&b));
    let product =
        |x: &[f64], mx: f64, y: &[f64], my: f64| x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>();
    product(&a, ma, &b, mb) / (product(&a, ma, &a, ma) * product(&b, mb, &b, mb)).sqrt()
}

/// scvi-tools on the same cells.
fn peer(python: &Path, folder: &Path, options: &Options, seed: u64, names: &[String]) -> Result<Figures> {
    let mut command = Command::new(python);
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/peers/totalvi.py"))
        .arg(folder)
        .args(["--epochs", &options.epochs.to_string(), "--threads", &options.threads.to_string()])
        .args(["--seed", &seed.to_string(), "--query-epochs", &options.query_epochs.to_string()]);
    if options.no_adversary {
        command.arg("--no-adversary");
    }
    let output = command.output().with_context(|| format!("running {}", python.display()))?;
    ensure!(output.status.success(), "the peer failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let each = |key: &str| -> Result<Vec<f64>> {
        let one = |n: &String| found[key]["by_protein"][n.as_str()].as_f64();
        names.iter().map(|n| one(n).with_context(|| format!("no figure for {n}: {found}"))).collect()
    };
    Ok(Figures {
        with_background: each("with_background")?,
        foreground: each("foreground")?,
        seconds_per_epoch: found["seconds_per_epoch"].as_f64().context("no time")?,
        surgery_seconds_per_epoch: found["surgery_seconds_per_epoch"].as_f64(),
        floors: (f64::NAN, f64::NAN),
    })
}
