//! totalVI on CITE-seq of PBMC, beside scvi-tools: the proteins of a third of the cells are hidden and imputed; then a
//! query without any protein is mapped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use scgraft_cells::{Array, Cells, Column, ConditionSource, Dense, PrepareOptions, Prepared, ProteinSource};
use scgraft_models::{Anneal, DecodeAs, Known, Model, Surgery};
use scgraft_train::{TrainConfig, with_threads};
use serde_json::{Value, json};

use crate::times::{self, Time};
use crate::{arrival, data};

/// Options of the comparison.
#[derive(Args)]
pub struct Options {
    /// Python with scvi-tools (tools/peers/requirements-current.txt); without it only ours runs.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Epochs; the KL weight rises over half of them. 0: the model's own defaults.
    #[arg(long, default_value_t = 100)]
    epochs: usize,
    /// Settings of the training in place of these, as JSON.
    #[arg(long, default_value = "{}")]
    train: String,
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
const REFERENCE: &str = "citeseq_pbmc10k_totalvi.h5ad";
const SLOT: &str = "protein_expression";

/// Correlations of imputed proteins with the truth over the hidden cells.
struct Figures {
    with_background: Vec<f64>,
    foreground: Vec<f64>,
}

/// Runs the comparison and prints its tables.
pub fn run(options: &Options, folder: &Path) -> Result<()> {
    let cells = data::cells(&folder.join(REFERENCE))?;
    for &seed in &options.seeds {
        let (names, ours, times) = with_threads(options.threads, || ours(&cells, folder, options, seed))??;
        let report = options.peer.as_ref().map(|python| peer(python, folder, options, seed)).transpose()?;
        let theirs = report.as_ref().map(|report| figures(report, &names)).transpose()?;
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
        times::print("totalvi", options.threads, &beside(times, report.as_ref())?);
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

/// Names of proteins, figures and times of one seed.
fn ours(cells: &Cells, folder: &Path, options: &Options, seed: u64) -> Result<(Vec<String>, Figures, Vec<Time>)> {
    let (hidden, truth, names) = hide(cells)?;
    let (model, prepared, training) = train(&hidden, options.epochs, &options.train, seed)?;
    let rows: Vec<usize> = (0..cells.n_cells()).step_by(HIDDEN).collect();
    let imputed =
        model.proteins(&prepared.select_cells(&rows), &DecodeAs::Conditions(vec!["measured".into()]), false)?;
    let truth = truth.select_rows(&rows);
    let each = |of: &Dense| (0..names.len()).map(|j| pearson(&of.column(j), &truth.column(j))).collect::<Vec<_>>();
    let figures = Figures { with_background: each(&imputed.total), foreground: each(&imputed.foreground) };
    let mut times = vec![training];
    if options.query_epochs > 0 {
        let (mapped, query, surgery) = map(&model, folder, options.query_epochs, seed)?;
        tell_pairs(&mapped, &query)?;
        times.push(surgery);
    }
    Ok((names, figures, times))
}

/// Times of an epoch of training and of surgery.
pub fn times(folder: &Path, python: Option<&Path>, epochs: usize, threads: usize) -> Result<Vec<Time>> {
    let cells = data::cells(&folder.join(REFERENCE))?;
    let times = with_threads(threads, || -> Result<_> {
        let (model, _, training) = train(&hide(&cells)?.0, epochs, "{}", 0)?;
        Ok(vec![training, map(&model, folder, epochs, 0)?.2])
    })??;
    let arguments = [
        ("--epochs", epochs.to_string()),
        ("--query-epochs", epochs.to_string()),
        ("--threads", threads.to_string()),
        ("--speed-only", String::new()),
    ];
    let peer = python.map(|python| times::peer(python, "totalvi.py", folder, &arguments)).transpose()?;
    beside(times, peer.as_ref())
}

/// Times of training and, if there is one, of surgery beside the peer's.
fn beside(times: Vec<Time>, peer: Option<&Value>) -> Result<Vec<Time>> {
    let pointers = ["/seconds_per_epoch", "/surgery_seconds_per_epoch"];
    times.into_iter().zip(pointers).map(|(time, at)| time.beside(peer, at)).collect()
}

fn train(hidden: &Cells, epochs: usize, replaced: &str, seed: u64) -> Result<(Model, Prepared, Time)> {
    let prepare = PrepareOptions {
        condition: ConditionSource::Columns(vec!["part".into()]),
        // The matrix without the hidden counts has no column names of its own.
        proteins: Some(ProteinSource { obsm: SLOT.into(), names: Some("protein_names".into()) }),
        ..PrepareOptions::default()
    };
    let prepared = Prepared::reference(hidden, None, &prepare)?;
    let known = prepared.known();
    let known =
        Known { genes: known.genes, conditions: known.conditions, proteins: known.proteins, ..Known::default() };
    let mut model = Model::new("totalvi", &json!({}), known.into(), seed)?;
    let usual = TrainConfig { seed, ..TrainConfig::of(&model.entry.training, prepared.n_cells()) };
    let config = match epochs {
        0 => usual,
        _ => TrainConfig { epochs, anneal: Anneal::Epochs(epochs / 2), early_stopping: None, ..usual },
    };
    let fitted = times::timed_fit("training epoch", &mut model, &prepared, &arrival::with(config, replaced)?)?;
    println!("reference: {}", arrival::told(&fitted.report));
    let time = fitted.time;
    Ok((model, prepared, time))
}

/// Grafts the query without proteins on.
fn map(model: &Model, folder: &Path, epochs: usize, seed: u64) -> Result<(Model, Prepared, Time)> {
    let query = data::cells(&folder.join("citeseq_pbmc5k_totalvi_rna_only.h5ad"))?;
    let prepare =
        PrepareOptions { condition: ConditionSource::Columns(vec!["batch".into()]), ..PrepareOptions::default() };
    let prepared = Prepared::query(&query, &model.header.known, &prepare)?;
    let training = TrainConfig::of(&model.entry.mapping, prepared.n_cells());
    let config = TrainConfig { epochs, early_stopping: None, seed, ..training };
    let mut mapped = model.surgery(&Surgery::adaptor("5k"), &model.newcomers(&prepared), seed)?;
    let time = times::timed_fit("surgery epoch", &mut mapped, &prepared, &config)?.time;
    Ok((mapped, prepared, time))
}

/// Imputes the query's proteins; there is no truth, so each is held against its own or its lineage's gene.
fn tell_pairs(mapped: &Model, query: &Prepared) -> Result<()> {
    let imputed = mapped.proteins(query, &DecodeAs::Measured, false)?;
    println!(
        "query without proteins, {} cells: correlation of imputed protein with its own or lineage gene",
        query.n_cells()
    );
    for (gene, protein) in [
        ("CD3D", "CD3"),
        ("CD4", "CD4"),
        ("CD8A", "CD8a"),
        ("CD14", "CD14"),
        ("MS4A1", "CD19"),
        ("FCGR3A", "CD16"),
        ("NCAM1", "CD56"),
    ] {
        let at = |names: &[String], name: &str| names.iter().position(|n| n == name);
        let (Some(g), Some(p)) = (at(&query.genes, gene), at(&mapped.header.proteins, protein)) else { continue };
        let counts = query.expression.whole()?.to_dense().column(g);
        println!("  {protein} and {gene}: {:.3}", pearson(&imputed.total.column(p), &counts));
    }
    Ok(())
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
fn peer(python: &Path, folder: &Path, options: &Options, seed: u64) -> Result<Value> {
    let mut arguments = vec![
        ("--epochs", options.epochs.to_string()),
        ("--threads", options.threads.to_string()),
        ("--seed", seed.to_string()),
        ("--query-epochs", options.query_epochs.to_string()),
    ];
    if options.no_adversary {
        arguments.push(("--no-adversary", String::new()));
    }
    times::peer(python, "totalvi.py", folder, &arguments)
}

/// The figures of its report.
fn figures(report: &Value, names: &[String]) -> Result<Figures> {
    let each = |key: &str| -> Result<Vec<f64>> {
        let one = |n: &String| report[key]["by_protein"][n.as_str()].as_f64();
        names.iter().map(|n| one(n).with_context(|| format!("no figure for {n}: {report}"))).collect()
    };
    Ok(Figures { with_background: each("with_background")?, foreground: each("foreground")? })
}
