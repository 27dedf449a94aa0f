//! Speed: the main job, which is expiMap on the PBMC reference and surgery with the stimulated query at published
//! settings, and an epoch of every other base model; beside the published code and the floor.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft_analysis::programs::{Latent, ProgramTestOptions, test_programs};
use scgraft_models::{EarlyStopping, Surgery};
use scgraft_train::{TrainConfig, with_threads};
use serde_json::{Value, json};

use crate::times::{Time, peer, print, timed_fit};
use crate::{data, floor, mapping, proteins};

/// Options of the bench.
#[derive(Args)]
pub struct Options {
    /// Base models to time.
    #[arg(long, value_delimiter = ',', default_value = "expimap,cvae,trvae,scvi,scanvi,totalvi")]
    models: Vec<String>,
    /// Python with scArches 0.6.1 (tools/peers/requirements-scarches.txt); without it only ours is timed.
    #[arg(long)]
    scarches: Option<PathBuf>,
    /// Python with scvi-tools (tools/peers/requirements-current.txt); without it only ours is timed.
    #[arg(long)]
    scvi_tools: Option<PathBuf>,
    /// Threads of both.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Epochs timed, of reference and of surgery.
    #[arg(long, default_value_t = 6)]
    epochs: usize,
}

/// Runs the bench and prints its tables.
pub fn run(options: &Options, folder: &Path) -> Result<()> {
    let rates = floor::measure();
    println!(
        "one thread multiplies {:.0} GFLOP/s and moves {:.1} GB/s; {} threads used",
        rates.flops_per_second / 1e9,
        rates.bytes_per_second / 1e9,
        options.threads
    );
    let pbmc = mapping::Settings {
        epochs: options.epochs,
        label_epochs: options.epochs,
        query_epochs: options.epochs,
        seed: 0,
        threads: options.threads,
    };
    for model in &options.models {
        let times = match model.as_str() {
            "expimap" => main_job(folder, options)?,
            "cvae" | "trvae" => mapping::times(folder, model, options.scarches.as_deref(), &pbmc)?,
            "scvi" | "scanvi" => mapping::times(folder, model, options.scvi_tools.as_deref(), &pbmc)?,
            "totalvi" => proteins::times(folder, options.scvi_tools.as_deref(), options.epochs, options.threads)?,
            other => bail!("`{other}` is not a model that the bench knows"),
        };
        print(model, options.threads, &times);
    }
    Ok(())
}

/// The main job, ours and scArches'.
fn main_job(folder: &Path, options: &Options) -> Result<Vec<Time>> {
    let [mut training, mut surgery, latent, test, whole] = with_threads(options.threads, || ours(folder, options))??;
    let Some(python) = &options.scarches else { return Ok(vec![training, surgery, latent, test, whole]) };
    let epochs = options.epochs.to_string();
    let settings = [
        ("--epochs", epochs.clone()),
        ("--query-epochs", epochs),
        ("--threads", options.threads.to_string()),
        ("--no-early-stopping", String::new()),
    ];
    let peer = peer(python, "expimap.py", folder, &settings)?;
    training = training.beside(Some(&peer), "/reference/seconds_per_epoch")?;
    surgery = surgery.beside(Some(&peer), "/surgery/seconds_per_epoch")?;
    let at = |pointers: &[&str]| -> Result<f64> {
        let one = |p: &&str| peer.pointer(p).and_then(Value::as_f64).with_context(|| format!("no {p} from the peer"));
        pointers.iter().map(one).sum()
    };
    let latents = ["/latent_seconds_reference", "/latent_seconds_query"];
    let latent = Time { peer: Some(at(&latents)?), ..latent };
    let test = test.beside(Some(&peer), "/test_seconds")?;
    let job = ["/reference/seconds", "/surgery/seconds", latents[0], latents[1], "/test_seconds"];
    Ok(vec![training, surgery, latent, test, Time { peer: Some(at(&job)?), ..whole }])
}

/// Epochs of training and of surgery, each with its validation on a tenth of the cells; latent means; program test; all.
fn ours(folder: &Path, options: &Options) -> Result<[Time; 5]> {
    let sets = data::sets(folder)?;
    let reference = {
        let cells = data::read_reference(folder)?;
        data::reference(&cells, &data::genes(&cells, &sets))?
    };
    // As many epochs as the peer, so it never stops before.
    let never = EarlyStopping { patience: options.epochs, ..EarlyStopping::default() };
    let config = TrainConfig { epochs: options.epochs, early_stopping: Some(never), ..TrainConfig::default() };
    let mut model = data::expimap(&reference, &sets, &json!({}), config.seed)?;
    let training = timed_fit("training epoch", &mut model, &reference, &config)?;
    let sparse = reference.expression.whole()?.nnz() * 8 + (reference.n_cells() + 1) * 8;
    tell_memory(training.peak_bytes, sparse, model.params.n_values() * 16, training.report.workspace_bytes);

    let query_cells = data::read_query(folder)?;
    let query = data::query(&query_cells, &model)?;
    let mut plan = Surgery::adaptor("Kang");
    plan.settings = json!({ "kl_weight": 0.1 });
    let mut graft = model.surgery(&plan, &model.newcomers(&query), config.seed)?;
    let surgery = timed_fit("surgery epoch", &mut graft, &query, &config)?.time;

    let start = Instant::now();
    let (mean, variance) = graft.latent(&query)?;
    let _ = graft.latent(&reference)?;
    let latent = Time::of("latent means and variances of both sets", start.elapsed().as_secs_f64());
    let names = graft.latent_names();
    let groups = data::coded(&query_cells, "condition")?;
    let start = Instant::now();
    let scores = Latent { mean: &mean, variance: &variance, programs: &names, directions: None };
    test_programs(scores, ("condition", &groups), None, &ProgramTestOptions::default())?;
    let test = Time::of("program test", start.elapsed().as_secs_f64());
    let (training, epochs) = (training.time, options.epochs as f64);
    let all = (training.seconds + surgery.seconds) * epochs + latent.seconds + test.seconds;
    Ok([training, surgery, latent, test, Time::of("all of it", all)])
}

/// Peak memory of training beside what it must hold.
fn tell_memory(peak: u64, sparse: usize, parameters: usize, workspace: usize) {
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    let bound = sparse + parameters + workspace;
    println!(
        "peak memory {:.0} MB; sparse data {:.0} + parameters × 4 {:.0} + workspace {:.0} = {:.0} MB: {:.2}×",
        peak as f64 / 1e6,
        megabytes(sparse),
        megabytes(parameters),
        megabytes(workspace),
        megabytes(bound),
        peak as f64 / bound as f64
    );
}
