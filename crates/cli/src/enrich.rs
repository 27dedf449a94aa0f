//! `scgraft enrich`: which programs differ between groups of cells.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use scgraft::Embedding;
use scgraft::analysis::programs::{Comparison, Pairs, ProgramTest, ProgramTestOptions, ProgramTestRow};
use scgraft::cells::Coded;
use scgraft::io::write_table;
use scgraft::{pipeline, slots};
use serde_json::{Value, json};

use super::beside::{Beside, Tested};
use super::direction::Direction;
use super::output::{fixed, number};
use super::{Global, Output, files, input};

const EXAMPLES: &str = "\
A log Bayes factor above 0 means a higher score in the group, and scores are turned so that higher means that the
program's genes are up (a program whose direction is unknown is tested as it is). `its genes` says so: up or down in the
group; `clear` how far the weights agree on it, from 0 (as much up as down) to 1 (all one way). |log BF| ≥ 2.3 counts as
enriched. Programs that the fit pruned
are left out. --donors adds what holds from donor to donor, --gene-sets the classical tests of the same gene sets. The
table goes into uns[\"scgraft\"][\"tests\"] of the mapped file, and to --tsv.

Examples:
  scgraft enrich mapped.h5ad --groups condition --versus control
  scgraft enrich mapped.h5ad --groups cell_type_pred --tsv types.tsv
  scgraft enrich mapped.h5ad --groups condition --group stimulated --versus control --within cell_type_pred
  scgraft enrich mapped.h5ad --groups condition --versus control --donors patient --paired
  scgraft enrich mapped.h5ad --groups condition --versus control --gene-sets reactome.gmt --tsv both.tsv
  scgraft enrich mapped.h5ad --groups condition --samples 5000 --seed 1";

/// Test which gene programs differ between groups of cells.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Enrich {
    /// A mapped query, or a reference with its embedding
    pub mapped: PathBuf,
    /// Column of obs with the groups
    #[arg(long, value_name = "COLUMN")]
    pub groups: String,
    /// Test these groups only
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub group: Vec<String>,
    /// Compare with these groups, or with `rest`: all other cells
    #[arg(long, default_value = "rest", value_name = "NAME", value_delimiter = ',')]
    pub versus: Vec<String>,
    /// Test within each level of this column of obs
    #[arg(long, value_name = "COLUMN")]
    pub within: Option<String>,
    /// Draw so many random pairs of cells, as published code does [upstream: n_sample]
    #[arg(long, value_name = "N", conflicts_with = "all_pairs")]
    pub samples: Option<usize>,
    /// Take all pairs of cells, exactly (the default)
    #[arg(long)]
    pub all_pairs: bool,
    /// Test latent scores as they are, not turned to the programs' directions
    #[arg(long)]
    pub undirected: bool,
    #[command(flatten)]
    pub direction: Direction,
    /// Fewest cells on either side
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub min_cells: usize,
    /// Bayes factors as the scArches code computes them from p
    #[arg(long)]
    pub compat: bool,
    #[command(flatten)]
    pub beside: Beside,
    /// Programs shown for each comparison
    #[arg(long, default_value_t = 15, value_name = "N")]
    pub top: usize,
    /// Name of the test in uns [default: made of groups and comparison]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Write all rows as a table
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
    /// Where to write the file with the test in it [default: the mapped file itself]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Leave the mapped file as it is
    #[arg(long, conflicts_with = "output")]
    pub no_update: bool,
}

impl Enrich {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        files::check_input(&self.mapped)?;
        let output = (!self.no_update).then(|| self.output.as_ref().unwrap_or(&self.mapped));
        files::check_update(&self.mapped, output, &self.tsv, &self.beside.inputs())?;
        let mut cells = files::read_own(&self.mapped)?;
        let file = self.mapped.display().to_string();
        let embedding = slots::embedding(&cells, slots::LATENT).map_err(|e| anyhow::anyhow!("{file}: {e}"))?;
        let mut embedding = self.direction.apply(embedding, &self.mapped)?;
        let (mut groups, rows) = input::coded(&cells, &file, &self.groups)?;
        let mut within = match &self.within {
            Some(name) => Some((name.as_str(), input::coded(&cells, &file, name)?)),
            None => None,
        };
        // Cells that lack either column are left out of both.
        let kept: Vec<usize> = match &within {
            None => rows.clone(),
            Some((_, (_, other))) => rows.iter().copied().filter(|r| other.binary_search(r).is_ok()).collect(),
        };
        if kept.len() < cells.n_cells() {
            embedding = embedding.select_cells(&kept);
            groups = narrow(&groups, &rows, &kept);
            if let Some((_, (coded, rows))) = &mut within {
                *coded = narrow(coded, rows, &kept);
            }
        }
        let options = self.options(global)?;
        let strata = within.as_ref().map(|(name, (coded, _))| (*name, coded));
        let test = pipeline::enrich(&embedding, (&self.groups, &groups), strata, !self.undirected, &options)?;
        for s in &test.skipped {
            let (g, c) = (s.n_group, s.n_comparison);
            let within = s.stratum.as_ref().map(|s| format!(" in `{s}`")).unwrap_or_default();
            tracing::warn!("`{}`{within} was left out: {g} cells against {c}", s.group);
        }
        let mut table = slots::test_table(&test, &embedding);
        show(&test, &embedding, self.top, out);
        if self.beside.wanted() {
            let versus = if matches!(options.comparison, Comparison::Rest) { &[][..] } else { &self.versus };
            let within = within.as_ref().map(|(_, (coded, _))| coded);
            let (cells, directed) = (&cells, !self.undirected);
            let tested =
                Tested { cells, kept: &kept, embedding: &embedding, groups: &groups, within, versus, directed };
            self.beside.add(&tested, &test.rows, &mut table, self.top, out)?;
        }
        if let Some(path) = &self.tsv {
            write_table(path, &files::without_index(table.clone()))?;
        }
        if let Some(path) = output {
            slots::put_test_table(&mut cells, &self.test_name(), table);
            files::write(path, &cells)?;
            out.put("output", path.display().to_string());
        }
        out.put("tests", to_json(&test, &embedding));
        Ok(())
    }

    fn options(&self, global: &Global) -> Result<ProgramTestOptions> {
        let comparison = match &self.versus[..] {
            [rest] if rest == "rest" => Comparison::Rest,
            names if names.iter().any(|n| n == "rest") => bail!("--versus: either `rest` or names of groups"),
            names => Comparison::Groups(names.to_vec()),
        };
        Ok(ProgramTestOptions {
            comparison,
            groups: (!self.group.is_empty()).then(|| self.group.clone()),
            pairs: match self.samples {
                Some(n) => Pairs::Sampled { n, seed: global.train_seed() },
                None => Pairs::All,
            },
            min_cells: self.min_cells,
            compat: self.compat,
        })
    }

    fn test_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let within = self.within.as_ref().map(|w| format!(" within {w}")).unwrap_or_default();
            format!("{} versus {}{within}", self.groups, self.versus.join(","))
        })
    }
}

/// The codes of `kept` rows, from codes of `rows`.
fn narrow(coded: &Coded, rows: &[usize], kept: &[usize]) -> Coded {
    let at = kept.iter().filter_map(|k| rows.binary_search(k).ok());
    Coded { codes: at.map(|i| coded.codes[i]).collect(), levels: coded.levels.clone() }
}

/// Each comparison's leading programs.
pub(crate) fn show(test: &ProgramTest, embedding: &Embedding, top: usize, out: &mut Output) {
    let comparisons = test.rows.chunk_by(|a, b| a.group == b.group && a.stratum == b.stratum);
    for rows in comparisons {
        let first = &rows[0];
        let within = first.stratum.as_ref().map(|s| format!(" within {s}")).unwrap_or_default();
        let n = rows.iter().filter(|r| r.enriched()).count();
        out.line(format!(
            "{} ({} cells) versus {} ({}){within}: {n} of {} programs enriched",
            first.group,
            first.n_group,
            first.comparison,
            first.n_comparison,
            rows.len()
        ));
        let table: Vec<[String; 6]> = rows
            .iter()
            .take(top)
            .map(|r| {
                let mark = if r.enriched() { "*" } else { "" };
                let bf = fixed(r.log_bayes_factor, 2);
                let clear = if r.direction == 0 { f64::NAN } else { embedding.clearness(&r.name) };
                let se = fixed(r.log_bayes_factor_error(), 2);
                [r.name.clone(), bf, se, mark.into(), genes(r).into(), fixed(clear, 2)]
            })
            .collect();
        out.table(["program", "log BF", "se", "≥2.3", "its genes", "clear"], &table);
        out.line("");
    }
}

/// What the genes of a program do in the group: the sign of the factor, where the score was turned to the genes.
fn genes(row: &ProgramTestRow) -> &'static str {
    match (row.direction, row.log_bayes_factor > 0.0) {
        (0, _) => "?",
        (_, true) => "up",
        (_, false) => "down",
    }
}

fn to_json(test: &ProgramTest, embedding: &Embedding) -> Vec<Value> {
    let comparisons = test.rows.chunk_by(|a, b| a.group == b.group && a.stratum == b.stratum);
    let row = |r: &ProgramTestRow| {
        json!({"program": r.name, "log_bayes_factor": number(r.log_bayes_factor),
               "se": number(r.log_bayes_factor_error()), "p": number(r.p_h0),
               "enriched": r.enriched(), "genes": genes(r), "direction": r.direction,
               "direction_confidence": number(embedding.clearness(&r.name))})
    };
    comparisons
        .map(|rows| {
            json!({"group": rows[0].group, "comparison": rows[0].comparison, "within": rows[0].stratum,
                   "n_group": rows[0].n_group, "n_comparison": rows[0].n_comparison,
                   "programs": rows.iter().map(row).collect::<Vec<_>>()})
        })
        .collect()
}
