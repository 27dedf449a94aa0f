//! `scgraft demo`: the main job on simulated data, and what of the planted truth it finds.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use scgraft::analysis::auroc::auroc;
use scgraft::analysis::metrics::scores::EvaluateOptions;
use scgraft::analysis::programs::{Comparison, ProgramTest, ProgramTestOptions, gene_importance};
use scgraft::annotate::{AnnotatePlan, AnnotatedLabels, Annotation};
use scgraft::cells::{
    Cells, Coded, ConditionSource, PrepareOptions, Role, SimulateOptions, Simulated, Slot, Truth, simulate,
};
use scgraft::enrich::{EnrichPlan, Enrichment};
use scgraft::evaluate::{Compared, EvaluatePlan, Evaluated, Part, Side};
use scgraft::io::{together, write_table};
use scgraft::models::{NewPrograms, Surgery};
use scgraft::page::{self, PagePlan, Parts};
use scgraft::pipeline::{Story, StoryPlan, read_against};
use scgraft::query::Mapped;
use scgraft::reference::{Reference, ReferencePlan};
use scgraft::report::Embedding as Plane;
use scgraft::train::Progress;
use scgraft::{pictures, save, slots};
use serde_json::{Value, json};

use super::fitted::told;
use super::output::{fixed, number};
use super::progress::Epochs;
use super::settings::refuse_epochs;
use super::{Global, Output, files, input, stop};

const EXAMPLES: &str = "\
Simulates a reference (3 batches, 6 cell types) and a query (2 new batches, a type that the reference lacks, half of the
cells stimulated: two programs up, one down, and one that is in no gene set), trains, maps with new programs, carries
labels over, tests programs, and says what was planted and what is found. The same functions as in the other commands;
nothing in the simulation is known to them.

Examples:
  scgraft demo
  scgraft demo --out demo --seed 3 --json";

/// The whole job on simulated data with planted truth.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Demo {
    /// Folder for the files to look at; made if it is not there
    #[arg(long, short, default_value = "scgraft_demo", value_name = "DIR")]
    pub out: PathBuf,
    /// Epochs of the reference [default: the model's]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Epochs of the query [default: the model's for a query with new programs]
    #[arg(long, value_name = "N")]
    pub query_epochs: Option<usize>,
}

/// New programs offered to the query.
const NEW_PROGRAMS: usize = 3;
/// Weight of L1 on their weights. The published 0.7 moves a weight by more in a step than the likelihood of these
/// shallow counts does, and leaves nothing of them.
const NEW_L1_WEIGHT: f64 = 0.1;
/// Components of the counts that the embedding is compared with.
const COMPONENTS: usize = 50;
/// What is written besides the simulated data; pictures of cells have the names of what colours them.
const FILES: [&str; 10] = [
    "reference_out.h5ad",
    "mapped.h5ad",
    "reference.scgraft",
    "mapped.scgraft",
    "query.adaptor",
    "stimulated_versus_control.tsv",
    "metrics.tsv",
    "report.html",
    "training_reference.svg",
    "training_query.svg",
];
const BATCH: &str = "batch";
const TYPE: &str = "cell_type";
const STATE: &str = "condition";

impl Demo {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        refuse_epochs("--epochs", self.epochs)?;
        refuse_epochs("--query-epochs", self.query_epochs)?;
        std::fs::create_dir_all(&self.out).with_context(|| format!("{}: cannot be made", self.out.display()))?;
        let files = FILES.iter().chain(&save::SIMULATED).map(|name| self.out.join(name)).collect::<Vec<_>>();
        files::check_outputs(&files, &[])?;
        let plain = SimulateOptions::default();
        let options = SimulateOptions { seed: global.seed.unwrap_or(plain.seed), ..plain };
        tracing::info!("simulating {} + {} cells, {} genes", options.n_reference, options.n_query, options.n_genes);
        let simulated = simulate(&options)?;
        save::simulated(&self.out, simulated.clone())?;
        let Simulated { mut reference, mut query, gene_sets, truth } = simulated;

        let condition = ConditionSource::Columns(vec![BATCH.into()]);
        let prepare = PrepareOptions { condition: condition.clone(), ..PrepareOptions::default() };
        let mut training = ReferencePlan::new("expimap", prepare, reference.n_cells())?;
        training.train.epochs = self.epochs.unwrap_or(training.train.epochs);
        training.train.seed = global.train_seed();
        let test = |name: &str, groups: &str, comparison| {
            let test = ProgramTestOptions { comparison, ..ProgramTestOptions::default() };
            (name.to_owned(), EnrichPlan { groups: groups.into(), test, ..EnrichPlan::default() })
        };
        let plan = StoryPlan {
            reference: training,
            graft: Surgery {
                settings: json!({ "new_l1_weight": NEW_L1_WEIGHT }),
                programs: Some(NewPrograms { constrained: Vec::new(), soft: false, n_free: NEW_PROGRAMS }),
                ..Surgery::adaptor("query")
            },
            condition,
            query_epochs: self.query_epochs,
            annotate: AnnotatePlan { labels: vec![TYPE.into()], across: vec![BATCH.into()], ..AnnotatePlan::default() },
            tests: vec![
                test("condition versus control", STATE, Comparison::Groups(vec!["control".into()])),
                test("cell_type versus rest", TYPE, Comparison::Rest),
            ],
        };
        let mut watch = |what: &str, epochs| Box::new(Epochs::watch(what, epochs, global, None)) as Box<dyn Progress>;
        let story = read_against(&mut reference, &mut query, &gene_sets, &plan, &mut watch, &mut stop::ask)?;
        let Story { reference: trained, mapped, annotation, tests, .. } = story;
        let (stimulation, by_type) = (&tests[0], &tests[1]);
        let states = input::coded(&query, "query", STATE)?.0;
        let types = input::coded(&query, "query", TYPE)?.0;

        let found = Found {
            genes: &query.var.index,
            truth: &truth,
            mapped: &mapped,
            annotation: &annotation,
            stimulation: &stimulation.test,
            by_type: &by_type.test,
            states: &states,
            types: &types,
        };
        let rows = found.rows()?;
        together(|| self.write(&reference, &query, &trained, &mapped, stimulation, global))?;
        self.tell(&rows, &trained, &mapped, out);
        Ok(())
    }

    /// Files to look at.
    fn write(
        &self,
        reference: &Cells,
        query: &Cells,
        trained: &Reference,
        mapped: &Mapped,
        stimulation: &Enrichment,
        global: &Global,
    ) -> Result<()> {
        let at = |name: &str| self.out.join(name);
        files::write(&at("reference_out.h5ad"), reference)?;
        files::write(&at("mapped.h5ad"), query)?;
        save::model(at("reference.scgraft"), &trained.model)?;
        save::model(at("mapped.scgraft"), &mapped.grafted.model)?;
        if let Some(adaptor) = &mapped.grafted.adaptor {
            save::adaptor(at("query.adaptor"), adaptor)?;
        }
        write_table(at("stimulated_versus_control.tsv"), &files::without_index(stimulation.table()))?;
        stop::check()?;

        let side = Side {
            reference: Some(Part { name: "the reference", batch: "reference", cells: reference }),
            query: Part { name: "the query", batch: "query", cells: query },
        };
        let options = EvaluateOptions { seed: global.seed.unwrap_or(0), ..EvaluateOptions::default() };
        let plan = EvaluatePlan { batch: BATCH.into(), labels: TYPE.into(), options, ..EvaluatePlan::default() };
        let mut compared = Compared::new(side, &plan)?;
        compared.before_is_of(false, COMPONENTS, |part| {
            scgraft::plain_expression(part.cells, &Slot::X, false, Default::default()).map(Ok)
        })?;
        compared.add(&side, slots::LATENT, "query on its reference".into())?;
        let scores = compared.scores(&plan)?;
        let found = Evaluated { scores, query: compared.query_scores(&plan)? };
        write_table(at("metrics.tsv"), &found.file_table())?;
        stop::check()?;

        let known = slots::embedding(reference, slots::LATENT)?;
        let plan = PagePlan {
            title: "Simulated query on its reference".into(),
            label: Some(TYPE.into()),
            truth: query.obs.column(TYPE).map(|given| (TYPE.into(), given.clone())),
            seed: global.seed.unwrap_or(0),
            ..PagePlan::default()
        };
        let parts = Parts {
            cells: query,
            query: &mapped.embedding,
            reference: Some((reference, &known)),
            model: Some(&mapped.grafted.model),
            metrics: pictures::metrics("", &found),
        };
        let page = page::page(&parts, &plan)?;
        save::page(at("report.html"), &page)?;
        for map in &page.embeddings {
            for color in map.colors.iter().filter(|c| [TYPE, STATE, "data"].contains(&c.name.as_str())) {
                let picture = Plane::umap(&color.name, &map.x, &map.y, color).over_reference(map.reference);
                save::picture(at(&format!("umap_{}.png", color.name)), &picture)?;
            }
        }
        for test in page.tests.iter().filter(|t| t.group == "stimulated" && t.comparison == "control") {
            save::picture(at("stimulated_versus_control.svg"), test)?;
        }
        for (fit, name) in page.training.iter().zip(["training_reference.svg", "training_query.svg"]) {
            save::picture(at(name), fit)?;
        }
        Ok(())
    }

    fn tell(&self, rows: &[Row], trained: &Reference, mapped: &Mapped, out: &mut Output) {
        let table: Vec<[String; 4]> = rows
            .iter()
            .map(|r| {
                let verdict = if r.passed { "yes" } else { "NO" };
                [r.planted.clone(), r.found.clone(), r.wanted.clone(), verdict.into()]
            })
            .collect();
        out.table(["planted", "found", "wanted", "found?"], &table);
        let n = rows.iter().filter(|r| r.passed).count();
        out.line(format!("\n{n} of {} planted things found", rows.len()));
        out.line(format!("reference: {}", told(&trained.report)));
        if let Some(fit) = &mapped.grafted.report {
            out.line(format!("query: {}, {} values trained", told(fit), fit.n_trainable));
        }
        out.line(format!("files to look at: {0}/report.html, {0}/mapped.h5ad, …", self.out.display()));
        let told = rows.iter().map(|r| {
            json!({"planted": r.planted, "found": r.found, "wanted": r.wanted, "value": r.value, "passed": r.passed})
        });
        out.put("rows", told.collect::<Vec<_>>());
        out.put("passed", n);
        out.put("folder", self.out.display().to_string());
    }
}

/// One planted thing.
struct Row {
    planted: String,
    found: String,
    wanted: String,
    value: Value,
    passed: bool,
}

/// Results, against what was planted.
struct Found<'a> {
    /// Genes of the data, which the truth numbers.
    genes: &'a [String],
    truth: &'a Truth,
    mapped: &'a Mapped,
    annotation: &'a Annotation,
    stimulation: &'a ProgramTest,
    by_type: &'a ProgramTest,
    states: &'a Coded,
    types: &'a Coded,
}

impl Found<'_> {
    fn rows(&self) -> Result<Vec<Row>> {
        let mut rows = self.stimulation_programs();
        rows.extend(self.type_programs());
        rows.push(self.hidden()?);
        rows.push(self.decoys());
        rows.extend(self.labels()?);
        Ok(rows)
    }

    /// Rank of a program among those with gene sets, and its log Bayes factor.
    fn rank(&self, test: &ProgramTest, group: &str, name: &str) -> Option<(usize, f64)> {
        let with_set = |n: &str| self.truth.programs.iter().any(|p| p.name == n);
        let rows = test.rows.iter().filter(|r| r.group == group && with_set(&r.name));
        rows.enumerate().find(|(_, r)| r.name == name).map(|(i, r)| (i + 1, r.log_bayes_factor))
    }

    fn stimulation_programs(&self) -> Vec<Row> {
        let planted: Vec<_> = self
            .truth
            .programs
            .iter()
            .filter(|p| matches!(p.role, Role::StimulationUp | Role::StimulationDown))
            .collect();
        let row = |p: &&scgraft::cells::TrueProgram| {
            let up = p.role == Role::StimulationUp;
            let rank = self.rank(self.stimulation, "stimulated", &p.name);
            ranked(
                format!("{} {} in stimulated cells", p.name, if up { "up" } else { "down" }),
                rank,
                planted.len(),
                up,
            )
        };
        planted.iter().map(row).collect()
    }

    fn type_programs(&self) -> Vec<Row> {
        let of_type = |p: &scgraft::cells::TrueProgram| match &p.role {
            Role::CellType(t) if *t != self.truth.novel_type => Some(t.clone()),
            _ => None,
        };
        let row = |p: &scgraft::cells::TrueProgram| {
            let t = of_type(p)?;
            let rank = self.rank(self.by_type, &t, &p.name);
            // Its lineage's program may come before it.
            Some(ranked(format!("{} up in {t}", p.name), rank, 2, true))
        };
        self.truth.programs.iter().filter_map(row).collect()
    }

    /// The best of the new programs for the program that is no gene set.
    fn hidden(&self) -> Result<Row> {
        let model = &self.mapped.grafted.model;
        let names = &self.mapped.embedding.names;
        let positive: Vec<bool> =
            self.states.codes.iter().map(|&c| self.states.levels[c as usize] == "stimulated").collect();
        let mut best = (0.5, 0);
        for j in names.len() - NEW_PROGRAMS..names.len() {
            let scores: Vec<f64> = self.mapped.embedding.mean.column(j).into_iter().map(f64::from).collect();
            let a = auroc(&scores, &positive)?;
            if a.max(1.0 - a) > best.0 {
                best = (a.max(1.0 - a), j);
            }
        }
        let mut overlap = 0;
        if let Some(weights) = scgraft::program_weights(model) {
            let top = &gene_importance(&weights, None)?[best.1].genes;
            let hidden: Vec<u32> = self.truth.hidden.loadings.iter().map(|l| l.0).collect();
            let hidden: Vec<&String> = hidden.iter().map(|&g| &self.genes[g as usize]).collect();
            overlap = top.iter().take(20).filter(|g| hidden.contains(&&model.header.genes[g.gene])).count();
        }
        Ok(Row {
            planted: "a program that is in no gene set".into(),
            found: format!(
                "{} (best of {NEW_PROGRAMS} new): AUROC {}, {overlap} of its 20 top genes",
                names[best.1],
                fixed(best.0, 3)
            ),
            wanted: "AUROC ≥ 0.95, ≥ 10 genes".into(),
            value: json!({"auroc": number(best.0), "genes": overlap}),
            passed: best.0 >= 0.95 && overlap >= 10,
        })
    }

    fn decoys(&self) -> Row {
        let decoys: Vec<&str> =
            self.truth.programs.iter().filter(|p| p.role == Role::Decoy).map(|p| p.name.as_str()).collect();
        let e = &self.mapped.embedding;
        let pruned =
            decoys.iter().filter(|d| e.names.iter().position(|n| n == *d).is_some_and(|j| !e.active[j])).count();
        let called = self
            .stimulation
            .rows
            .iter()
            .filter(|r| r.group == "stimulated" && r.enriched() && decoys.contains(&r.name.as_str()))
            .count();
        Row {
            planted: format!("{} programs that are never on", decoys.len()),
            found: format!("{pruned} pruned, {called} called enriched in stimulated cells"),
            wanted: "0 called".into(),
            value: json!({"pruned": pruned, "called": called}),
            passed: called == 0,
        }
    }

    fn labels(&self) -> Result<Vec<Row>> {
        let AnnotatedLabels { transfer: t, novelty, .. } = &self.annotation.labels[0];
        let truth = |i: usize| &self.types.levels[self.types.codes[i] as usize];
        let novel: Vec<bool> = (0..t.best.len()).map(|i| *truth(i) == self.truth.novel_type).collect();
        let known: Vec<usize> = (0..t.best.len()).filter(|&i| !novel[i]).collect();
        let right = known.iter().filter(|&&i| t.levels[t.best[i] as usize] == *truth(i)).count();
        let accuracy = right as f64 / known.len() as f64;
        let novelty = auroc(novelty.as_ref().map_or(&[], |n| &n.score), &novel)?;
        let false_alarms = known.iter().filter(|&&i| t.unknown[i]).count();
        let percent = |n: usize, of: usize| fixed(100.0 * n as f64 / of.max(1) as f64, 1);
        let flagged = (0..t.best.len()).filter(|&i| novel[i] && t.unknown[i]).count();
        let n_novel = novel.iter().filter(|n| **n).count();
        Ok(vec![
            Row {
                planted: format!("{} cells of known types", known.len()),
                found: format!("{} % labelled right", fixed(100.0 * accuracy, 1)),
                wanted: "≥ 90 %".into(),
                value: number(accuracy),
                passed: accuracy >= 0.9,
            },
            Row {
                planted: format!("{n_novel} cells of a type the reference lacks"),
                found: format!("{} % unknown, AUROC of the novelty {}", percent(flagged, n_novel), fixed(novelty, 3)),
                wanted: "≥ 80 %".into(),
                value: json!({"auroc": number(novelty), "flagged": flagged}),
                passed: flagged as f64 >= 0.8 * n_novel as f64,
            },
            Row {
                planted: format!("{} cells of known types", known.len()),
                found: format!("{} % called unknown", percent(false_alarms, known.len())),
                wanted: "≤ 5 %".into(),
                value: json!({"flagged": false_alarms}),
                passed: false_alarms as f64 <= 0.05 * known.len() as f64,
            },
        ])
    }
}

/// A program that should lead a test.
fn ranked(planted: String, rank: Option<(usize, f64)>, within: usize, up: bool) -> Row {
    let sign = if up { "> 0" } else { "< 0" };
    Row {
        planted,
        found: rank.map_or("pruned".into(), |(r, bf)| format!("rank {r}, log Bayes factor {}", fixed(bf, 2))),
        wanted: format!("rank ≤ {within}, {sign}"),
        value: rank.map_or(Value::Null, |(r, bf)| json!({"rank": r, "log_bayes_factor": number(bf)})),
        passed: rank.is_some_and(|(r, bf)| r <= within && (bf > 0.0) == up),
    }
}
