//! `scgraft enrich`: which programs differ between groups of cells.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::analysis::programs::{Comparison, Pairs, ProgramTestOptions, ProgramTestRow};
use scgraft::enrich::{EnrichPlan, Enrichment, ProgramComparison, enrich, gene_direction};
use scgraft::io::{GmtOptions, read_gmt, together, write_table};
use scgraft::slots;
use serde_json::{Value, json};

use super::beside::Beside;
use super::direction::Direction;
use super::output::{arrow, fixed, number};
use super::{Global, Output, files, stop};

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
        let embedding = slots::embedding(&cells, slots::LATENT).with_context(|| file.clone())?;
        let embedding = self.direction.apply(embedding, &self.mapped)?;
        let sets = match &self.beside.gene_sets[..] {
            [] => None,
            files => Some((read_gmt(files, &GmtOptions::default())?, self.beside.expression.of(&cells)?)),
        };
        let sets = sets.as_ref().map(|(sets, expression)| (&sets[..], expression));
        let found = enrich((&cells, &file), &embedding, &self.plan(global)?, sets, &mut stop::ask)?;
        for s in &found.test.skipped {
            let (g, c) = (s.n_group, s.n_comparison);
            let within = s.stratum.as_ref().map(|s| format!(" in `{s}`")).unwrap_or_default();
            tracing::warn!("`{}`{within} was left out: {g} cells against {c}", s.group);
        }
        found.comparisons.iter().for_each(|c| self.show(&found, c, out));
        found.comparisons.iter().for_each(|c| self.beside.show(&found.test.rows[c.rows.clone()], c, self.top, out));
        slots::put_test(&mut cells, &self.test_name(), &found);
        together(|| {
            if let Some(path) = &self.tsv {
                write_table(path, &files::without_index(found.table()))?;
            }
            output.map_or(Ok(()), |path| files::write(path, &cells))
        })?;
        if let Some(path) = output {
            out.put("output", path.display().to_string());
        }
        out.put("tests", to_json(&found));
        Ok(())
    }

    fn plan(&self, global: &Global) -> Result<EnrichPlan> {
        let comparison = match &self.versus[..] {
            [rest] if rest == "rest" => Comparison::Rest,
            names if names.iter().any(|n| n == "rest") => bail!("--versus: either `rest` or names of groups"),
            names => Comparison::Groups(names.to_vec()),
        };
        let test = ProgramTestOptions {
            comparison,
            groups: (!self.group.is_empty()).then(|| self.group.clone()),
            pairs: match self.samples {
                Some(n) => Pairs::Sampled { n, seed: global.train_seed() },
                None => Pairs::All,
            },
            min_cells: self.min_cells,
            compat: self.compat,
        };
        let (groups, within, undirected) = (self.groups.clone(), self.within.clone(), self.undirected);
        Ok(EnrichPlan { groups, within, test, undirected, donors: self.beside.donors() })
    }

    fn test_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let within = self.within.as_ref().map(|w| format!(" within {w}")).unwrap_or_default();
            format!("{} versus {}{within}", self.groups, self.versus.join(","))
        })
    }

    /// A comparison's leading programs.
    fn show(&self, found: &Enrichment, comparison: &ProgramComparison, out: &mut Output) {
        let rows = &found.test.rows[comparison.rows.clone()];
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
        let leading = rows.iter().zip(&found.clearness[comparison.rows.clone()]).take(self.top);
        let table = leading.map(|(r, &clearness)| {
            let mark = if r.enriched() { "*" } else { "" };
            let bf = fixed(r.log_bayes_factor, 2);
            let clear = if r.direction == 0 { f64::NAN } else { clearness };
            let se = fixed(r.log_bayes_factor_error(), 2);
            [r.name.clone(), bf, se, mark.into(), arrow(gene_direction(r)), fixed(clear, 2)]
        });
        out.table(["program", "log BF", "se", "≥2.3", "its genes", "clear"], &table.collect::<Vec<_>>());
        out.line("");
    }
}

fn to_json(found: &Enrichment) -> Vec<Value> {
    let row = |(r, &clearness): (&ProgramTestRow, &f64)| {
        json!({"program": r.name, "log_bayes_factor": number(r.log_bayes_factor),
               "se": number(r.log_bayes_factor_error()), "p": number(r.p_h0),
               "enriched": r.enriched(), "genes": arrow(gene_direction(r)), "direction": r.direction,
               "direction_confidence": number(clearness)})
    };
    let comparison = |c: &ProgramComparison| {
        let rows = &found.test.rows[c.rows.clone()];
        let programs = rows.iter().zip(&found.clearness[c.rows.clone()]).map(row).collect::<Vec<_>>();
        json!({"group": rows[0].group, "comparison": rows[0].comparison, "within": rows[0].stratum,
               "n_group": rows[0].n_group, "n_comparison": rows[0].n_comparison, "programs": programs})
    };
    found.comparisons.iter().map(comparison).collect()
}
