//! What a user gets with defaults: a reference, a query mapped onto it, labels, programs, by the steps of the library that the
//! command line takes, on pairs of real data with known labels.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use scgraft::annotate::{AnnotatePlan, Placed, annotate};
use scgraft::enrich::{EnrichPlan, enrich};
use scgraft::query::{Mapped, QueryPlan, map_query};
use scgraft::reference::{Reference, ReferencePlan, train_reference};
use scgraft::{Embedding, slots};
use scgraft_analysis::programs::{Comparison, ProgramTestOptions};
use scgraft_cells::{Cells, Column, ConditionSource, GeneSet, PrepareOptions, ProgramOptions};
use scgraft_engine::Key;
use scgraft_io::read_gmt;
use scgraft_models::{Input, ModelEntry, Surgery, Training, find};
use scgraft_train::{Compat, FitReport, Quiet, TrainConfig, with_threads};

use crate::arrival::with;
use crate::data;

/// Options of the check.
#[derive(Args)]
pub struct Options {
    /// Pairs: kang (PBMC of five studies; its control cells, then all of Kang), pbmc-N:D (draw D of N cells of that
    /// reference; control cells), islets (human; mouse), lines (CEL-seq2; Drop-seq).
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "kang,pbmc-200:1,pbmc-200:2,pbmc-500:1,pbmc-500:2,islets,lines"
    )]
    pairs: Vec<String>,
    /// Base models; expiMap is left out where there are no programs.
    #[arg(long, value_delimiter = ',', default_value = "expimap")]
    models: Vec<String>,
    /// Seeds, one reference each.
    #[arg(long, value_delimiter = ',', default_value = "2020,2021,2022")]
    seeds: Vec<u64>,
    /// The published settings instead.
    #[arg(long)]
    published: bool,
    /// expiMap that reads the labels of the reference.
    #[arg(long)]
    labels: bool,
    /// Settings of the reference's training in place of the defaults, as JSON.
    #[arg(long, default_value = "{}")]
    train: String,
    /// Settings of the model in place of the defaults, as JSON.
    #[arg(long, default_value = "{}")]
    set: String,
    /// Threads (0: all cores).
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// A reference with `study` and `cell_type`, and queries on it: name, cells with `study` and, in the reference's words or
/// missing, `cell_type`.
struct Pairing {
    reference: Cells,
    queries: Vec<(&'static str, Cells)>,
    sets: Vec<GeneSet>,
}

/// Runs the check and prints a row for each query.
pub fn run(options: &Options, folder: &Path) -> Result<()> {
    println!(
        "| pair | model | seed | reference | seconds | query | labels right | mean over types | mapping | seconds |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    with_threads(options.threads, || -> Result<()> {
        for pair in &options.pairs {
            let pairing = read(folder, pair)?;
            for model in options.models.iter().filter(|m| *m != "expimap" || !pairing.sets.is_empty()) {
                options.seeds.iter().try_for_each(|&seed| one(options, pair, &pairing, find(model)?, seed))?;
            }
        }
        Ok(())
    })?
}

fn read(folder: &Path, pair: &str) -> Result<Pairing> {
    if pair == "islets" {
        let mut all = data::cells(&folder.join("pancreas_baron_human_mouse_350.h5ad"))?;
        all.var.index.iter_mut().for_each(|gene| *gene = gene.to_uppercase());
        all.obs.set("study", all.obs.column("batch").context("no `batch`")?.clone());
        let species = data::coded(&all, "species")?;
        let of = |name: &str| -> Vec<usize> {
            (0..all.n_cells()).filter(|&i| species.levels[species.codes[i] as usize] == name).collect()
        };
        let sets = read_gmt(&[folder.join("c2.cp.reactome.v4.0.symbols.gmt")])?;
        let (reference, query) = (all.select_cells(&of("human")), all.select_cells(&of("mouse")));
        return Ok(Pairing { reference, queries: vec![("mouse", query)], sets });
    }
    if pair == "lines" {
        let mut task = data::Task::read(folder, "scmixology")?;
        task.query.obs.set("cell_type", task.query.obs.column("truth").context("no `truth`")?.clone());
        return Ok(Pairing { reference: task.reference, queries: vec![("Drop-seq", task.query)], sets: Vec::new() });
    }
    let data::Pair { mut reference, mut query, sets } = data::read(folder)?;
    let mut truth = vec![None; query.n_cells()];
    data::known_cells(&query)?.into_iter().for_each(|(i, kind)| truth[i] = Some(kind));
    let control: Vec<usize> = data::known_control_cells(&query)?.into_iter().map(|(i, _)| i).collect();
    query.obs.set("study", Column::categorical(&vec!["Kang"; query.n_cells()]));
    query.obs.set("cell_type", Column::Text(truth));
    let alone = query.select_cells(&control);
    if let Some((cells, draw)) = pair.strip_prefix("pbmc-").and_then(|rest| rest.split_once(':')) {
        let mut order: Vec<usize> = (0..reference.n_cells()).collect();
        Key::new(draw.parse()?).shuffle(&mut order);
        order.truncate(cells.parse()?);
        order.sort_unstable();
        reference = reference.select_cells(&order);
        return Ok(Pairing { reference, queries: vec![("control", alone)], sets });
    }
    ensure!(pair == "kang", "`{pair}` is no pair: kang, pbmc-N:D, islets, lines");
    Ok(Pairing { reference, queries: vec![("control", alone), ("all", query)], sets })
}

fn one(options: &Options, pair: &str, pairing: &Pairing, entry: &ModelEntry, seed: u64) -> Result<()> {
    let start = Instant::now();
    let trained = reference(options, pairing, entry, seed)?;
    let seconds = start.elapsed().as_secs_f64();
    let known = Embedding::of(&trained.model, &trained.prepared)?;
    for (name, cells) in &pairing.queries {
        let start = Instant::now();
        let condition = ConditionSource::Columns(vec!["study".into()]);
        let mut plan = QueryPlan::by(&trained.model, Surgery::adaptor("query"), condition, cells.n_cells());
        if options.published {
            plan.train = published(&entry.published_training.1, cells.n_cells());
        }
        plan.train.seed = seed;
        let mapped = map_query(&trained.model, cells, &plan, &mut Quiet)?;
        let mapping = start.elapsed().as_secs_f64();
        let mut cells = cells.clone();
        slots::put_embedding(&mut cells, &mapped.grafted.model, &mapped.embedding, None);
        let (right, by_type) = labels(pairing, &known, &cells, &mapped)?;
        println!(
            "| {pair} | {} | {seed} | {} | {seconds:.1} | {name} | {right:.3} | {by_type:.3} | {} | {mapping:.1} |",
            entry.name,
            told(&trained.report),
            mapped.grafted.report.as_ref().map_or("nothing trains".into(), told),
        );
        if entry.reads(Input::Programs) && *name == "all" {
            interferon(&cells, &mapped)?;
        }
    }
    Ok(())
}

/// A reference by default; a model that cannot do without labels starts from a plain one.
fn reference(options: &Options, pairing: &Pairing, entry: &ModelEntry, seed: u64) -> Result<Reference> {
    let n_cells = pairing.reference.n_cells();
    let plan = |entry: &ModelEntry, labelled: bool, started: bool| -> Result<ReferencePlan> {
        let prepare = PrepareOptions {
            condition: ConditionSource::Columns(vec!["study".into()]),
            label: labelled.then(|| "cell_type".to_owned()),
            ..PrepareOptions::default()
        };
        let mut plan = ReferencePlan::new(entry.name, prepare, n_cells)?;
        plan.settings = serde_json::from_str(&options.set)?;
        let (ours, theirs) = entry.fitting(started);
        plan.train = TrainConfig::of(&ours, n_cells);
        if options.published {
            plan.settings = (entry.published_settings)();
            plan.train = published(&theirs, n_cells);
        }
        plan.train.seed = seed;
        Ok(ReferencePlan { train: with(plan.train, &options.train)?, ..plan })
    };
    let sets: &[GeneSet] = if entry.reads(Input::Programs) { &pairing.sets } else { &[] };
    if !entry.needs.contains(&Input::Labels) {
        return Ok(train_reference(&pairing.reference, sets, None, &plan(entry, options.labels, false)?, &mut Quiet)?);
    }
    let plain = train_reference(&pairing.reference, sets, None, &plan(find("scvi")?, false, false)?, &mut Quiet)?.model;
    let mut second = plan(entry, true, true)?;
    second.start_from(&plain, ProgramOptions::default());
    Ok(train_reference(&pairing.reference, sets, Some(&plain), &second, &mut Quiet)?)
}

fn published(training: &Training, n_cells: usize) -> TrainConfig {
    TrainConfig::of(training, n_cells).compatible(Compat::Scarches)
}

/// Share of labels right among those known, and its mean over types, by the most probable label.
fn labels(pairing: &Pairing, known: &Embedding, query: &Cells, mapped: &Mapped) -> Result<(f64, f64)> {
    let plan = AnnotatePlan { labels: vec!["cell_type".into()], novelty: None, ..AnnotatePlan::default() };
    let of = Placed { name: "reference", cells: &pairing.reference, embedding: known };
    let to = Placed { name: "query", cells: query, embedding: &mapped.embedding };
    let found = annotate(&of, &to, &plan, &mut scgraft::go_on)?;
    let truth = found.labels[0].truth.as_ref().context("the query has no labels")?;
    Ok((truth.by_label.accuracy, truth.by_label.by_type))
}

/// The programs that lead for stimulated against control cells.
fn interferon(query: &Cells, mapped: &Mapped) -> Result<()> {
    let groups = Some(vec!["stimulated".to_owned()]);
    let test = ProgramTestOptions {
        groups,
        comparison: Comparison::Groups(vec!["control".into()]),
        ..ProgramTestOptions::default()
    };
    let plan = EnrichPlan { groups: "condition".into(), test, ..EnrichPlan::default() };
    let found = enrich((query, "query"), &mapped.embedding, &plan, None, &mut scgraft::go_on)?;
    let leading = found.test.rows.iter().take(4);
    let told = leading.map(|r| format!("{} {:+.1}", r.name.trim_start_matches("REACTOME_"), r.log_bayes_factor));
    println!("  stimulated against control: {}", told.collect::<Vec<_>>().join(", "));
    Ok(())
}

fn told(report: &FitReport) -> String {
    format!(
        "{} epochs, {}, last fifth {}",
        report.epochs,
        report.arrived().map_or("not judged", |arrived| if arrived { "arrived" } else { "NOT arrived" }),
        report.last_gain.map_or("–".into(), |gain| format!("{:.3} %", 100.0 * gain)),
    )
}
