//! Does "unknown" mean unknown? Each type held out of the reference in turn and looked for in the query, and each study held
//! out and labelled with sets: novelty beside the paper's rule and plain distances on the same embeddings, coverage.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;
use scgraft_analysis::auroc::auroc;
use scgraft_analysis::neighbours::Search;
use scgraft_analysis::transfer::{
    Labelled, NoveltyOptions, TransferOptions, label_sets, novelty, out_of_distribution, transfer_labels,
};
use scgraft_analysis::{knn, knn_self};
use scgraft_cells::{Cells, Coded, Csr, Dense};
use scgraft_models::{Model, Surgery, find};
use scgraft_train::{TrainConfig, fit, graft, with_threads};
use serde_json::json;

use crate::data::{self, Pair, Task};
use crate::mapping;

/// Options of the check.
#[derive(Args)]
pub struct Options {
    /// Seeds.
    #[arg(long, value_delimiter = ',', default_value = "2020")]
    seeds: Vec<u64>,
    /// Types to hold out.
    #[arg(long, value_delimiter = ',', default_value = "B,NK,CD8 T,CD14+ Monocytes,FCGR3A+ Monocytes,DC")]
    types: Vec<String>,
    /// Studies to hold out.
    #[arg(long, value_delimiter = ',', default_value = "10x_pbmc3k,Zheng_FACS,10x_pbmc4k,10x_8K,SCP424_pbmc2")]
    studies: Vec<String>,
    /// Coverage of the label sets.
    #[arg(long, default_value_t = 0.95)]
    coverage: f64,
    /// Threads (0: all cores).
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Runs the check and prints what was found.
pub fn run(options: &Options, folder: &Path) -> Result<()> {
    with_threads(options.threads, || -> Result<()> {
        let pair = data::read(folder)?;
        let task = Task::read(folder, "pbmc")?;
        for &seed in &options.seeds {
            types(options, &pair, &task, seed)?;
            studies(options, &pair, &task, seed)?;
        }
        Ok(())
    })?
}

/// A mapping by default settings: reference and query in one space.
struct Mapped {
    reference: Dense,
    query: Dense,
    /// Counts of the model's genes in both.
    counts: [Csr; 2],
}

fn mapped(pair: &Pair, reference: &Cells, query: &Cells, seed: u64) -> Result<Mapped> {
    let entry = find("expimap")?;
    let genes = data::genes(&pair.reference, &pair.sets);
    let known = data::reference(reference, &genes)?;
    let mut model = data::expimap(&known, &pair.sets, &json!({}), seed)?;
    let go_on = &mut |_: &_| ControlFlow::Continue(());
    fit(&mut model, &known, &TrainConfig { seed, ..TrainConfig::of(&entry.training, known.n_cells()) }, go_on)?;
    let asked = mapping::prepared(query, false, Some(&model))?;
    let mut plan = Surgery::adaptor("query");
    plan.settings = (entry.mapping_settings)();
    let config = TrainConfig { seed, ..TrainConfig::of(&entry.mapping, asked.n_cells()) };
    let model: Model = graft(&model, &asked, plan, &config, go_on)?.model;
    let again = mapping::prepared(reference, false, Some(&model))?;
    let counts = [counts(reference, &genes)?, counts(query, &genes)?];
    Ok(Mapped { reference: model.latent(&again)?.0, query: model.latent(&asked)?.0, counts })
}

fn counts(cells: &Cells, genes: &[String]) -> Result<Csr> {
    let columns: Vec<_> = genes.iter().map(|g| cells.var.index.iter().position(|n| n == g)).collect();
    Ok(cells.x.as_ref().context("no X")?.to_csr().select_columns(&columns))
}

fn types(options: &Options, pair: &Pair, task: &Task, seed: u64) -> Result<()> {
    println!(
        "\n| seed {seed}, held out | cells | novelty: AUROC | flagged | false alarms | paper's rule: AUROC | flagged | false | distance: AUROC | flagged at 5 % |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let (mut sums, mut n) = ([0f64; 8], 0usize);
    let known = data::coded(&task.reference, "cell_type")?;
    let truth = task.truth();
    let cells: Vec<usize> = truth.iter().map(|t| t.0).collect();
    let query = task.query.select_cells(&cells);
    for held in &options.types {
        let keep: Vec<usize> =
            (0..known.codes.len()).filter(|&i| known.levels[known.codes[i] as usize] != *held).collect();
        let reference = task.reference.select_cells(&keep);
        let full = pair.reference.select_cells(&keep);
        let m = mapped(pair, &full, &query, seed)?;
        let (labels, studies) = (data::coded(&reference, "cell_type")?, data::coded(&reference, "study")?);
        let new: Vec<bool> = truth.iter().map(|t| t.1 == *held).collect();
        ensure!(new.iter().any(|&n| n), "no query cell is of type `{held}`");
        let share = |flag: &dyn Fn(usize) -> bool, of: bool| {
            let own: Vec<usize> = (0..new.len()).filter(|&i| new[i] == of).collect();
            own.iter().filter(|&&i| flag(i)).count() as f64 / own.len() as f64
        };
        let one = Coded { codes: vec![0; new.len()], levels: vec!["query".into()] };
        let labelled = Labelled { x: &m.reference, labels: ("cell_type", &labels), studies: ("study", &studies) };
        let both = Some([&m.counts[0], &m.counts[1]]);
        let found = novelty(&labelled, &m.query, ("batch", &one), both, &NoveltyOptions::default(), &Search::Exact)?;
        let near = knn(&m.reference, &m.query, 15)?;
        let transfer = transfer_labels(&near, &[("cell_type", &labels)], &TransferOptions::default())?.remove(0);
        let far = out_of_distribution(&knn_self(&m.reference, 15, false)?, &near)?;
        let mut of_known: Vec<f64> = (0..new.len()).filter(|&i| !new[i]).map(|i| far.score[i]).collect();
        of_known.sort_unstable_by(f64::total_cmp);
        let ideal = of_known[of_known.len() * 95 / 100];
        let row = [
            auroc(&found.score, &new)?,
            share(&|i| found.is_new(i), true),
            share(&|i| found.is_new(i), false),
            auroc(&transfer.uncertainty, &new)?,
            share(&|i| transfer.unknown[i], true),
            share(&|i| transfer.unknown[i], false),
            auroc(&far.score, &new)?,
            share(&|i| far.score[i] > ideal, true),
        ];
        let cells: Vec<String> = row.iter().map(|v| format!("{v:.3}")).collect();
        println!("| {held} | {} | {} |", new.iter().filter(|n| **n).count(), cells.join(" | "));
        sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        n += 1;
    }
    let means: Vec<String> = sums.iter().map(|s| format!("{:.3}", s / n.max(1) as f64)).collect();
    println!("| mean | | {} |", means.join(" | "));
    Ok(())
}

fn studies(options: &Options, pair: &Pair, task: &Task, seed: u64) -> Result<()> {
    println!(
        "\n| seed {seed}, study held out | cells | coverage (asked {}) | labels per cell | nearest label right |",
        options.coverage
    );
    println!("|---|---|---|---|---|");
    let all = data::coded(&task.reference, "study")?;
    for held in &options.studies {
        let at = all.levels.iter().position(|l| l == held).with_context(|| format!("no study `{held}`"))?;
        let pick = |own: bool| -> Vec<usize> {
            (0..all.codes.len()).filter(|&i| (all.codes[i] as usize == at) == own).collect()
        };
        let (rest, own) = (pick(false), pick(true));
        let m = mapped(pair, &pair.reference.select_cells(&rest), &task.reference.select_cells(&own), seed)?;
        let reference = task.reference.select_cells(&rest);
        let (labels, studies) = (data::coded(&reference, "cell_type")?, data::coded(&reference, "study")?);
        let truth = data::coded(&task.reference.select_cells(&own), "cell_type")?;
        let labelled = Labelled { x: &m.reference, labels: ("cell_type", &labels), studies: ("study", &studies) };
        let found = label_sets(&labelled, &m.query, options.coverage, &Search::Exact)?;
        let name = |y: u32| labels.levels[y as usize].as_str();
        let of = |i: usize| truth.levels[truth.codes[i] as usize].as_str();
        let counted: Vec<usize> = (0..own.len()).filter(|&i| labels.levels.iter().any(|l| l == of(i))).collect();
        let share =
            |yes: &dyn Fn(usize) -> bool| counted.iter().filter(|&&i| yes(i)).count() as f64 / counted.len() as f64;
        println!(
            "| {held} | {} | {:.3} | {:.2} | {:.3} |",
            counted.len(),
            share(&|i| found.sets[i].iter().any(|&y| name(y) == of(i))),
            found.mean_size(),
            share(&|i| name(found.sets[i][0]) == of(i))
        );
    }
    Ok(())
}
