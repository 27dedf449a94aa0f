//! Do default runs arrive? A reference, and queries of several sizes mapped onto it by default and by long runs at several
//! rates: validation losses, label accuracy, interferon programs, times.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use scgraft_analysis::programs::{DirectionMethod, Latent, ProgramTestOptions, directions, test_programs};
use scgraft_cells::{Cells, ConditionSource, PrepareOptions, Prepared};
use scgraft_models::{Granularity, Model, Schedule, Surgery, find};
use scgraft_train::{EarlyStopping, FitReport, Quiet, TrainConfig, fit, graft, with_threads};

use crate::data::{self, Pair, Task};
use crate::{mapping, quality};

/// Options of the check.
#[derive(Args)]
pub struct Options {
    /// Base model.
    #[arg(long, default_value = "expimap")]
    model: String,
    /// Seeds, one reference each.
    #[arg(long, value_delimiter = ',', default_value = "2020")]
    seeds: Vec<u64>,
    /// Cells of the queries, drawn from the control cells of known type; 0 is all of these.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    sizes: Vec<usize>,
    /// Draws of each size.
    #[arg(long, default_value_t = 1)]
    draws: usize,
    /// Also long runs at these rates, to compare with.
    #[arg(long, value_delimiter = ',')]
    long: Vec<f32>,
    /// Settings of the reference's training in place of the defaults, as JSON.
    #[arg(long, default_value = "{}")]
    train: String,
    /// Settings of the model in place of the defaults, as JSON.
    #[arg(long, default_value = "{}")]
    set: String,
    /// Settings of the mapping in place of the defaults, as JSON.
    #[arg(long, default_value = "{}")]
    map: String,
    /// Threads (0: all cores).
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// expiMap that reads the labels of the reference.
    #[arg(long)]
    labels: bool,
    /// Leave the mapping of all cells and the interferon programs out.
    #[arg(long)]
    no_whole: bool,
}

const INTERFERON: [&str; 2] = ["REACTOME_INTERFERON_ALPHA_BETA_SIGNALING", "REACTOME_INTERFERON_SIGNALING"];

/// Runs the check and prints what was found.
pub fn run(options: &Options, folder: &Path) -> Result<()> {
    with_threads(options.threads, || -> Result<()> {
        let pair = data::read(folder)?;
        let task = Task::read(folder, "pbmc")?;
        options.seeds.iter().try_for_each(|&seed| one(options, &pair, &task, seed))
    })?
}

/// A configuration with some fields replaced.
pub fn with(config: TrainConfig, json: &str) -> Result<TrainConfig> {
    let usual_epochs = config.usual_epochs;
    let mut value = serde_json::to_value(config)?;
    let given: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)?;
    given.into_iter().for_each(|(name, v)| value[name] = v);
    Ok(TrainConfig { usual_epochs, ..serde_json::from_value(value)? })
}

fn one(options: &Options, pair: &Pair, task: &Task, seed: u64) -> Result<()> {
    let entry = find(&options.model)?;
    let start = Instant::now();
    let programs = entry.name == "expimap";
    let (model, report) = if programs {
        let genes = data::genes(&pair.reference, &pair.sets);
        let condition = ConditionSource::Columns(vec!["study".into()]);
        let label = options.labels.then(|| "cell_type".to_owned());
        let prepare = PrepareOptions { condition, label, ..PrepareOptions::default() };
        let reference = Prepared::reference(&pair.reference, Some(&genes), &prepare)?;
        let mut model = data::expimap(&reference, &pair.sets, &serde_json::from_str(&options.set)?, seed)?;
        let config = TrainConfig { seed, ..TrainConfig::of(&entry.training, reference.n_cells()) };
        let report = fit(&mut model, &reference, &with(config, &options.train)?, &mut Quiet)?;
        (model, report)
    } else {
        mapping::reference(task, entry, &options.train, seed)?
    };
    println!("{} seed {seed}: reference {}, {:.1} s", entry.name, told(&report), start.elapsed().as_secs_f64());
    let known = task.truth();
    for &size in &options.sizes {
        for draw in 0..if size == 0 { 1 } else { options.draws } {
            let picked = pick(&known, size, draw);
            let rows: Vec<usize> = picked.iter().map(|k| k.0).collect();
            let cells = task.query.select_cells(&rows);
            let truth: Vec<(usize, String)> = picked.into_iter().enumerate().map(|(i, k)| (i, k.1)).collect();
            map(
                options,
                task,
                &model,
                &cells,
                &truth,
                &format!("{} control cells, draw {draw}", cells.n_cells()),
                seed,
            )?;
        }
    }
    if !options.no_whole {
        let (mapped, query) = map(options, task, &model, &task.query, &known, "all cells", seed)?;
        if programs {
            interferon(&mapped, &query, pair)?;
        }
    }
    Ok(())
}

/// Some of the cells, drawn evenly; all of them for a size of 0.
fn pick(known: &[(usize, String)], size: usize, draw: usize) -> Vec<(usize, String)> {
    if size == 0 || size >= known.len() {
        return known.to_vec();
    }
    let mut order: Vec<usize> = (0..known.len()).collect();
    scgraft_engine::Key::new(draw as u64).shuffle(&mut order);
    order.into_iter().take(size).map(|i| known[i].clone()).collect()
}

pub fn told(report: &FitReport) -> String {
    format!(
        "{} epochs, {} steps, best validation {} in epoch {}, last fifth gained {:.3} %",
        report.epochs,
        report.steps,
        report.best_loss.map_or("–".into(), |l| format!("{l:.2}")),
        report.best_epoch,
        100.0 * report.last_gain.unwrap_or(f64::NAN)
    )
}

fn map(
    options: &Options,
    task: &Task,
    model: &Model,
    cells: &Cells,
    truth: &[(usize, String)],
    what: &str,
    seed: u64,
) -> Result<(Model, Prepared)> {
    let query = mapping::prepared(cells, false, Some(model))?;
    let mut plan = Surgery::adaptor("query");
    plan.settings = (model.entry.mapping_settings)();
    let training = model.entry.mapping_by(Granularity::Adaptor, false);
    let usual = with(TrainConfig { seed, ..TrainConfig::of(&training, query.n_cells()) }, &options.map)?;
    let mut runs = vec![("default".to_owned(), usual.clone())];
    for &rate in &options.long {
        // Long at one rate, lowered where the loss stands still.
        let stopping = EarlyStopping { patience: 600, lr_patience: 200, lr_factor: 0.3 };
        let epochs = 6_000usize.div_ceil(query.n_cells().div_ceil(usual.batch_size)).min(6000);
        let long = TrainConfig {
            epochs,
            learning_rate: rate,
            schedule: Schedule::Constant,
            early_stopping: Some(stopping),
            ..usual.clone()
        };
        runs.push((format!("long at {rate}"), long.clone()));
        runs.push((format!("long at {rate} from a random start"), TrainConfig { start_from_data: false, ..long }));
    }
    let mut first = None;
    for (name, config) in runs {
        let start = Instant::now();
        let grafted = graft(model, &query, plan.clone(), &config, &mut Quiet)?;
        let seconds = start.elapsed().as_secs_f64();
        let report = grafted.report.context("the query was not grafted")?;
        let mapped = grafted.model;
        let (mean, _) = mapped.latent(&query)?;
        let (reference, _) = mapped.latent(&mapping::prepared(&task.reference, false, Some(&mapped))?)?;
        let (right, by_type) = quality::accuracy(&task.reference, truth, &reference, &mean)?;
        let own = mapping::own_accuracy(&mapped, &query, truth)?;
        let own = own.map_or(String::new(), |own| format!(", by the classifier {own:.3}"));
        println!(
            "  {what}, {name}: {}; label accuracy {right:.3}, mean over types {by_type:.3}{own}; {seconds:.2} s",
            told(&report)
        );
        first.get_or_insert(mapped);
    }
    Ok((first.context("no run")?, query))
}

/// Ranks of the interferon programs for stimulated against control cells, and the leading ones.
fn interferon(mapped: &Model, query: &Prepared, pair: &Pair) -> Result<()> {
    let (mean, variance) = mapped.latent(query)?;
    let weights = quality::weights(mapped)?;
    let signs = directions(&weights, DirectionMethod::Sum)?.sign;
    let names = mapped.latent_names();
    let latent = Latent { mean: &mean, variance: &variance, programs: &names, directions: Some(&signs) };
    let groups = data::coded(&pair.query, "condition")?;
    let only = ProgramTestOptions { groups: Some(vec!["stimulated".to_owned()]), ..ProgramTestOptions::default() };
    let test = test_programs(latent, ("condition", &groups), None, &only)?;
    let active = scgraft_analysis::programs::active_programs(&weights).iter().filter(|&&a| a).count();
    let rank =
        |name: &str| test.rows.iter().position(|r| r.name == name).map_or("pruned".into(), |i| format!("{}", i + 1));
    let leading: Vec<String> = test
        .rows
        .iter()
        .take(4)
        .map(|r| format!("{} {:+.2}", r.name.trim_start_matches("REACTOME_"), r.log_bayes_factor))
        .collect();
    println!(
        "    interferon α/β {}, interferon {} of {active} active; {}",
        rank(INTERFERON[0]),
        rank(INTERFERON[1]),
        leading.join(", ")
    );
    Ok(())
}
