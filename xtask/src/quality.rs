//! Results on real PBMC data, by default settings: do interferon programs lead the test of stimulated against control
//! cells, are labels transferred, do new programs find what the reference was denied?

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use scgraft_analysis::auroc::auroc;
use scgraft_analysis::knn;
use scgraft_analysis::programs::{
    DirectionMethod, Latent, ProgramTestOptions, directions, gene_importance, test_programs,
};
use scgraft_analysis::transfer::{TransferOptions, transfer_labels};
use scgraft_cells::{Cells, Dense, GenePrograms, GeneSet, Prepared, ProgramOptions, log1p, normalize_total};
use scgraft_models::{Granularity, Model, NewPrograms, Program, Surgery, Training};
use scgraft_train::{Quiet, TrainConfig, fit, graft, with_threads};
use serde_json::json;

use crate::data::{self, Pair, known_control_cells};
use crate::mapping;

/// Options of the quality check.
#[derive(Args)]
pub struct Options {
    /// Seeds, one run each.
    #[arg(long, value_delimiter = ',', default_value = "2020")]
    seeds: Vec<u64>,
    /// Epochs of the reference at most [default: the model's]
    #[arg(long)]
    epochs: Option<usize>,
    /// Epochs of surgery at most [default: the model's]
    #[arg(long)]
    query_epochs: Option<usize>,
    /// Threads (0: all cores).
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Also the run in which the reference lacks interferon programs and B cells.
    #[arg(long)]
    new_programs: bool,
    /// Only that run.
    #[arg(long)]
    only_new_programs: bool,
    /// New unconstrained programs in that run (the paper's experiment had 3, it recommends 10).
    #[arg(long, default_value_t = 10)]
    free: usize,
    /// Draw as many cells of each study, as the published code does.
    #[arg(long)]
    stratified: bool,
}

const INTERFERON: &str = "REACTOME_INTERFERON_ALPHA_BETA_SIGNALING";
const B_RECEPTOR: &str = "REACTOME_SIGNALING_BY_THE_B_CELL_RECEPTOR_BCR";

/// Runs the check and prints what was found.
pub fn run(options: &Options, folder: &Path) -> Result<()> {
    let pair = data::read(folder)?;
    for &seed in &options.seeds {
        if !options.only_new_programs {
            with_threads(options.threads, || main_job(&pair, options, seed))??;
        }
        if options.new_programs || options.only_new_programs {
            with_threads(options.threads, || new_programs(&pair, options, seed))??;
        }
    }
    Ok(())
}

/// A model's own training, for so many cells.
fn config(options: &Options, training: &Training, n_cells: usize, seed: u64, epochs: Option<usize>) -> TrainConfig {
    let usual = TrainConfig::of(training, n_cells);
    TrainConfig { epochs: epochs.unwrap_or(usual.epochs), seed, stratified: options.stratified, ..usual }
}

fn of_reference(options: &Options, model: &Model, reference: &Prepared, seed: u64) -> TrainConfig {
    config(options, &model.entry.training, reference.n_cells(), seed, options.epochs)
}

/// The decoder's weights, genes × programs.
pub fn weights(model: &Model) -> Result<Dense> {
    let by_program = model.network.programs().context("no programs")?.weights(&model.params);
    let (programs, genes) = (model.header.n_programs(), model.header.genes.len());
    let values = (0..genes * programs).map(|i| by_program[(i % programs) * genes + i / programs]).collect();
    Ok(Dense::new(genes, programs, values))
}

fn main_job(pair: &Pair, options: &Options, seed: u64) -> Result<()> {
    let start = Instant::now();
    let genes = data::genes(&pair.reference, &pair.sets);
    let reference = data::reference(&pair.reference, &genes)?;
    let mut model = data::expimap(&reference, &pair.sets, &json!({}), seed)?;
    let training = of_reference(options, &model, &reference, seed);
    let trained = fit(&mut model, &reference, &training, &mut Quiet)?;
    let after_training = start.elapsed();
    let query = data::query(&pair.query, &model)?;
    let mut plan = Surgery::adaptor("Kang");
    plan.settings = json!({ "kl_weight": 0.1 });
    let training = model.entry.mapping_by(Granularity::Adaptor, false);
    let query_config = config(options, &training, query.n_cells(), seed, options.query_epochs);
    let grafted = graft(&model, &query, plan, &query_config, &mut Quiet)?;
    let after_graft = start.elapsed();
    let graft_report = grafted.report.context("the query was not grafted")?;
    let model = grafted.model;
    let w = weights(&model)?;
    let direction = directions(&w, DirectionMethod::Sum)?;
    let active = scgraft_analysis::programs::active_programs(&w).iter().filter(|&&a| a).count();

    let (mean, variance) = model.latent(&query)?;
    let names = model.latent_names();
    let scores = Latent { mean: &mean, variance: &variance, programs: &names, directions: Some(&direction.sign) };
    let test = |column: &str, group: &str| -> Result<Vec<(String, f64)>> {
        let groups = data::coded(&pair.query, column)?;
        let settings = ProgramTestOptions { groups: Some(vec![group.to_owned()]), ..ProgramTestOptions::default() };
        let test = test_programs(scores, (column, &groups), None, &settings)?;
        Ok(test.rows.into_iter().map(|r| (r.name, r.log_bayes_factor)).collect())
    };
    let stimulated = test("condition", "stimulated")?;
    let rank = |rows: &[(String, f64)], name: &str| rows.iter().position(|r| r.0 == name).map(|i| (i + 1, rows[i].1));
    println!(
        "seed {seed}: reference {} epochs (best {}), surgery {} (best {}), {active} of {} programs active; {:.0} s + {:.0} s",
        trained.epochs,
        trained.best_epoch,
        graft_report.epochs,
        graft_report.best_epoch,
        names.len(),
        after_training.as_secs_f64(),
        (after_graft - after_training).as_secs_f64()
    );
    println!(
        "  stimulated: {INTERFERON} (rank, log BF) {:?}; first five {:?}",
        rank(&stimulated, INTERFERON),
        &stimulated[..5]
    );
    let b = test("cell_type", "B")?;
    println!("  B cells: {B_RECEPTOR} {:?}; first five {:?}", rank(&b, B_RECEPTOR), &b[..5]);

    let (reference_mean, _) = model.latent(&mapping::prepared(&pair.reference, false, Some(&model))?)?;
    let (correct, macro_mean) = accuracy(&pair.reference, &known_control_cells(&pair.query)?, &reference_mean, &mean)?;
    println!("  label accuracy on control cells of known types: {correct:.3}, mean over types {macro_mean:.3}");
    Ok(())
}

/// Accuracy of transferred labels on cells whose type is known, k = 15; over cells, and the mean over types.
pub fn accuracy(labelled: &Cells, known: &[(usize, String)], reference: &Dense, query: &Dense) -> Result<(f64, f64)> {
    let rows: Vec<usize> = known.iter().map(|k| k.0).collect();
    let neighbours = knn(reference, &query.select_rows(&rows), 15)?;
    let labels = data::coded(labelled, "cell_type")?;
    let options = TransferOptions { unknown_above: 1.0, ..TransferOptions::default() };
    let transfer = transfer_labels(&neighbours, &[("cell_type", &labels)], &options)?;
    let mut by_type: std::collections::BTreeMap<&str, (usize, usize)> = std::collections::BTreeMap::new();
    for (i, (_, want)) in known.iter().enumerate() {
        let entry = by_type.entry(want.as_str()).or_default();
        entry.1 += 1;
        entry.0 += usize::from(transfer[0].label(i) == want.as_str());
    }
    let (right, all) = by_type.values().fold((0, 0), |t, v| (t.0 + v.0, t.1 + v.1));
    let macro_mean = by_type.values().map(|v| v.0 as f64 / v.1 as f64).sum::<f64>() / by_type.len() as f64;
    Ok((right as f64 / all as f64, macro_mean))
}

/// The paper's experiment of denying: the reference loses its interferon programs, its B cells and their programs;
/// the query must find them again in new programs.
fn new_programs(pair: &Pair, options: &Options, seed: u64) -> Result<()> {
    let genes = data::genes(&pair.reference, &pair.sets);
    // As in the paper: interferon programs and what contains one whole, cytokine signalling, the two of B cells.
    let named = |name: &str| {
        ["INTERFERON", "CYTOKINE_SIGNALING_IN_IMMUNE_SYSTEM", "B_CELL_RECEPTOR", "MHC_CLASS_II_ANTIGEN_PRESENTATION"]
            .iter()
            .any(|part| name.contains(part))
    };
    let interferon: Vec<HashSet<&String>> = pair
        .sets
        .iter()
        .filter(|s| s.name == INTERFERON || s.name == "REACTOME_INTERFERON_SIGNALING")
        .map(|s| s.genes.iter().collect())
        .collect();
    let denied = |set: &GeneSet| {
        let genes: HashSet<&String> = set.genes.iter().collect();
        named(&set.name) || interferon.iter().any(|i| i.is_subset(&genes))
    };
    let sets: Vec<_> = pair.sets.iter().filter(|s| !denied(s)).cloned().collect();
    let types = data::coded(&pair.reference, "cell_type")?;
    let kept: Vec<usize> =
        (0..pair.reference.n_cells()).filter(|&i| types.levels[types.codes[i] as usize] != "B").collect();
    let reference = data::reference(&pair.reference.select_cells(&kept), &genes)?;
    let mut model = data::expimap(&reference, &sets, &json!({}), seed)?;
    let training = of_reference(options, &model, &reference, seed);
    fit(&mut model, &reference, &training, &mut Quiet)?;

    let query = data::query(&pair.query, &model)?;
    let given = GenePrograms::new(&pair.sets, &genes, &ProgramOptions { min_genes: 1, ..ProgramOptions::default() })?;
    let at = given.position(B_RECEPTOR).context("no B-cell receptor program in the file")?;
    let constrained = vec![Program { name: B_RECEPTOR.to_owned(), members: given.members[at].clone() }];
    let plan = Surgery {
        programs: Some(NewPrograms { constrained, soft: true, n_free: options.free }),
        settings: json!({ "kl_weight": 0.1 }),
        ..Surgery::adaptor("Kang")
    };
    let training = model.entry.mapping_by(Granularity::Adaptor, true);
    let query_config = config(options, &training, query.n_cells(), seed, options.query_epochs);
    let grafted = graft(&model, &query, plan, &query_config, &mut Quiet)?;
    let (mean, _) = grafted.model.latent(&query)?;
    let names = grafted.model.latent_names();
    let first_new = names.len() - 1 - options.free;

    let condition = data::coded(&pair.query, "condition")?;
    let stimulated: Vec<bool> = condition.codes.iter().map(|&c| condition.levels[c as usize] == "stimulated").collect();
    let kinds = data::coded(&pair.query, "cell_type")?;
    let is_b: Vec<bool> = kinds.codes.iter().map(|&c| kinds.levels[c as usize].starts_with('B')).collect();
    let separation = |j: usize, group: &[bool]| -> Result<f64> {
        let scores: Vec<f64> = mean.column(j).into_iter().map(f64::from).collect();
        let a = auroc(&scores, group)?;
        Ok(a.max(1.0 - a))
    };
    let weights = weights(&grafted.model)?;
    let importance = gene_importance(&weights, None)?;
    let (mut best, mut best_at) = (0.0, first_new + 1);
    for j in first_new + 1..names.len() {
        let a = separation(j, &stimulated)?;
        if a > best {
            (best, best_at) = (a, j);
        }
    }
    let top: HashSet<&str> = stimulated_genes(pair, &genes, &stimulated)?.into_iter().take(50).collect();
    let leading: Vec<&str> = importance[best_at].genes.iter().take(20).map(|g| genes[g.gene].as_str()).collect();
    let shared = leading.iter().filter(|g| top.contains(*g)).count();
    println!("seed {seed}, reference without interferon programs and B cells:");
    println!(
        "  {}: stimulated against control AUROC {best:.3}; {shared} of its 20 first genes among the 50 most stimulated",
        names[best_at]
    );
    println!("  its genes: {}", leading.join(" "));
    println!("  constrained {B_RECEPTOR}: B cells against others AUROC {:.3}", separation(first_new, &is_b)?);
    Ok(())
}

/// Genes by rising mean log-expression in stimulated against control cells, most stimulated first.
fn stimulated_genes<'g>(pair: &Pair, genes: &'g [String], stimulated: &[bool]) -> Result<Vec<&'g str>> {
    let options = scgraft_cells::PrepareOptions {
        condition: scgraft_cells::ConditionSource::Constant("all".into()),
        ..scgraft_cells::PrepareOptions::default()
    };
    let counts = scgraft_cells::Prepared::reference(&pair.query, Some(genes), &options)?.expression;
    let values = log1p(&normalize_total(&*counts.whole()?, Some(1e4)));
    let mut sums = vec![[0f64; 2]; genes.len()];
    for (i, &s) in stimulated.iter().enumerate() {
        let (columns, row) = values.row(i);
        columns.iter().zip(row).for_each(|(&g, &v)| sums[g as usize][usize::from(s)] += f64::from(v));
    }
    let n = [stimulated.iter().filter(|&&s| !s).count() as f64, stimulated.iter().filter(|&&s| s).count() as f64];
    let mut order: Vec<usize> = (0..genes.len()).collect();
    let change = |g: usize| sums[g][1] / n[1] - sums[g][0] / n[0];
    order.sort_by(|&a, &b| change(b).total_cmp(&change(a)));
    Ok(order.into_iter().map(|g| genes[g].as_str()).collect())
}
