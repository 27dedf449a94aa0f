//! `scgraft enrich`: which programs differ between groups of cells.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::analysis::neighbours::Search;
use scgraft::analysis::programs::{Comparison, Pairs, ProgramTestOptions, ProgramTestRow};
use scgraft::annotate::Placed;
use scgraft::cells::counted;
use scgraft::enrich::{EnrichPlan, Enrichment, ProgramComparison, enrich, gene_direction};
use scgraft::io::{read_gmt, together};
use scgraft::join::{Compared, Comparing, Joined, join};
use scgraft::slots;
use serde_json::{Value, json};

use super::beside::Beside;
use super::direction::Direction;
use super::output::{arrow, fixed, number};
use super::{Global, Output, encode, files, remote, stop};

const EXAMPLES: &str = "\
A log Bayes factor above 0 means a higher score in the group, and scores are turned so that higher means that the
program's genes are up (a program whose direction is unknown is tested as it is). `its genes` says so: up or down in the
group; `clear` how far the weights agree on it, from 0 (as much up as down) to 1 (all one way). |log BF| ≥ 2.3 counts as
enriched. Programs that the fit pruned are left out. The table's auroc says how well the score tells the group's cells from
the others.

With --reference the cells of the reference are there too. `--versus reference` compares with all of them; without --groups
the query is compared with them. In any other column both files have their own groups, but a label L that was carried over
is L_pred in both: `--within cell_type_pred` compares each type with the same type of the reference. scgraft_origin says
where a cell is from.

--unknown asks which programs set apart the cells that the reference does not know (`Unknown` in L_pred): against the known
cells of the query, which are of the same study and have its new programs too; or with --reference against the reference's
cells nearest to them, in the programs that the reference has. `--within L_best` compares with those of the type most like
them. What is new in such cells is often a program that the reference had no use for: map them with --new-programs or
--reactivate, so that there is one to find. For the reference to have it too, encode its cells with the mapped model
(`map mapped.scgraft reference.h5ad`: nothing is trained).

--donors leads with what holds from donor to donor, each donor counted once by its mean score: a paired t test of differences
within donors where two or more have cells on both sides (with Wilcoxon's signed-rank test beside it), else Welch's t test
of donors. --gene-sets adds the classical tests of the same gene sets. The table goes into uns[\"scgraft\"][\"tests\"] of the
mapped file, and to --tsv.

Examples:
  scgraft enrich mapped.h5ad --groups condition --versus control
  scgraft enrich mapped.h5ad --groups cell_type_pred --tsv types.tsv
  scgraft enrich mapped.h5ad --groups condition --group stimulated --versus control --within cell_type_pred
  scgraft enrich mapped.h5ad --groups condition --versus control --donors patient
  scgraft enrich mapped.h5ad --groups condition --versus control --gene-sets reactome.gmt --tsv both.tsv
  scgraft enrich mapped.h5ad --groups condition --samples 5000 --seed 1
  scgraft enrich mapped.h5ad --reference reference_out.h5ad --within cell_type_pred
  scgraft enrich mapped.h5ad --reference reference_out.h5ad --groups condition --group stimulated --versus reference
  scgraft enrich mapped.h5ad --unknown";

/// Test which gene programs differ between groups of cells.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Enrich {
    /// A mapped query, or a reference with its embedding
    pub mapped: PathBuf,
    /// The reference with its embedding (`train --embed`), or a model that brings its cells (`bundle`): its cells take part
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Column of obs with the groups [default: with --reference where a cell is from]
    #[arg(long, value_name = "COLUMN", required_unless_present_any = ["reference", "unknown"])]
    pub groups: Option<String>,
    /// Test these groups only
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub group: Vec<String>,
    /// Compare with these groups, or with `rest`: all other cells; with --reference also `reference`: all of its cells
    /// [default: rest, or reference where no groups are named]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub versus: Vec<String>,
    /// Test the cells that the reference does not know, by this label column [default: the first that was carried over]
    #[arg(
        long,
        value_name = "LABEL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with_all = ["groups", "group", "versus"]
    )]
    pub unknown: Option<String>,
    /// Nearest cells of the reference that each unknown cell is compared with
    #[arg(long, default_value_t = 15, value_name = "N", requires_all = ["unknown", "reference"])]
    pub k: usize,
    /// Test within each level of this column of obs; cells that it calls `Unknown` are left out
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
        self.reference.iter().try_for_each(|path| remote::check_input(path))?;
        let output = (!self.no_update).then(|| self.output.as_ref().unwrap_or(&self.mapped));
        let mut inputs = self.beside.inputs();
        inputs.extend(self.reference.as_deref());
        files::check_update(&self.mapped, output, &self.tsv, &inputs)?;
        let mut cells = files::read_own(&self.mapped, output.is_some())?;
        let file = self.mapped.display().to_string();
        let embedding = slots::embedding(&cells, slots::LATENT).with_context(|| file.clone())?;
        let query = Placed { name: &file, cells: &cells, embedding: &embedding };
        let mut joined = self.reference.as_deref().map(|path| self.joined(path, &query)).transpose()?;
        let asked = self.comparing().of(&query, joined.as_mut(), &Search::Exact)?;
        let (tested, embedding) = match (&asked.some, &joined) {
            (Some((cells, embedding)), _) => (cells, embedding),
            (None, Some(joined)) => (&joined.cells, &joined.embedding),
            (None, None) => (&cells, &embedding),
        };
        let embedding = self.direction.apply(embedding.clone(), &self.mapped)?;
        let sets = match &self.beside.gene_sets[..] {
            [] => None,
            files => {
                let expression = self.beside.expression.of(tested)?;
                let sets = read_gmt(files)?;
                Some((self.beside.orthologs.turn_sets(sets, &expression.genes.index)?, expression))
            }
        };
        let sets = sets.as_ref().map(|(sets, expression)| (&sets[..], expression));
        let plan = self.plan(global, &asked)?;
        let found = enrich((tested, &file), &embedding, &plan, sets, &mut stop::ask)?;
        for s in &found.test.skipped {
            let (g, c) = (s.n_group, s.n_comparison);
            let within = s.stratum.as_ref().map(|s| format!(" in `{s}`")).unwrap_or_default();
            tracing::warn!("`{}`{within} was left out: {} against {c}", s.group, counted(g, "cell", "cells"));
        }
        // Cells are not replicates: where donors are known, they come first.
        self.beside.show_donors(&found, self.top, out);
        self.summary(&found, out);
        found.comparisons.iter().for_each(|c| self.show(&found, c, out));
        found.comparisons.iter().for_each(|c| self.beside.show(&found.test.rows[c.rows.clone()], c, self.top, out));
        if output.is_some() {
            slots::put_test(&mut cells, &self.test_name(&asked), &found);
        }
        together(|| {
            files::write_table(self.tsv.as_ref(), &files::without_index(found.table()))?;
            output.map_or(Ok(()), |path| files::write(path, &cells))
        })?;
        if let Some(path) = output {
            let name = self.test_name(&asked);
            out.line(format!("uns[\"scgraft\"][\"tests\"][\"{name}\"] of {}", path.display()));
            out.put("output", path.display().to_string());
        }
        out.put("tests", to_json(&found));
        Ok(())
    }

    /// The query with its reference.
    fn joined(&self, path: &Path, query: &Placed<'_>) -> Result<Joined> {
        let (mut cells, embedding) = encode::stored(path, slots::LATENT)?;
        let slot = self.beside.expression.values.slot();
        if !self.beside.gene_sets.is_empty() {
            encode::add_expression(path, &slot, &mut cells)?;
        }
        let name = path.display().to_string();
        let joined = join(&Placed { name: &name, cells: &cells, embedding: &embedding }, query)?;
        let fewer = query.embedding.names.len() - joined.embedding.names.len();
        if fewer > 0 {
            tracing::warn!(
                "{fewer} programs of the query that {name} does not have are left out; `scgraft map` encodes the reference \
                 with the mapped model, which has them"
            );
        }
        if !self.beside.gene_sets.is_empty() {
            joined.has(&slot).context("--gene-sets")?;
        }
        Ok(joined)
    }

    /// What the options ask for.
    fn comparing(&self) -> Comparing {
        Comparing {
            groups: self.groups.clone(),
            group: self.group.clone(),
            versus: self.versus.clone(),
            within: self.within.clone(),
            unknown: self.unknown.clone().map(|label| Some(label).filter(|l| !l.is_empty())),
            k: self.k,
        }
    }

    fn plan(&self, global: &Global, asked: &Compared) -> Result<EnrichPlan> {
        let comparison = match &asked.versus[..] {
            [rest] if rest == "rest" => Comparison::Rest,
            names if names.iter().any(|n| n == "rest") => bail!("--versus: either `rest` or names of groups"),
            names => Comparison::Groups(names.to_vec()),
        };
        let test = ProgramTestOptions {
            comparison,
            groups: (!asked.group.is_empty()).then(|| asked.group.clone()),
            pairs: match self.samples {
                Some(n) => Pairs::Sampled { n, seed: global.train_seed() },
                None => Pairs::All,
            },
            min_cells: self.min_cells,
            compat: self.compat,
        };
        let (groups, within, undirected) = (asked.groups.clone(), self.within.clone(), self.undirected);
        Ok(EnrichPlan { groups, within, test, undirected, donors: self.beside.donors() })
    }

    fn test_name(&self, asked: &Compared) -> String {
        self.name.clone().unwrap_or_else(|| asked.name(self.within.as_deref()))
    }

    /// The leading programs of all comparisons, one row each: in how many of them it is higher and lower, and its log Bayes
    /// factor in each where there are few. One comparison is its own summary.
    fn summary(&self, found: &Enrichment, out: &mut Output) {
        const COLUMNS: usize = 6;
        let comparisons: Vec<&[ProgramTestRow]> =
            found.comparisons.iter().map(|c| &found.test.rows[c.rows.clone()]).collect();
        if comparisons.len() < 2 {
            return;
        }
        let mut strongest: Vec<(&str, f64)> = Vec::new();
        for row in comparisons.iter().flat_map(|c| c.iter()).filter(|r| r.enriched()) {
            let size = row.log_bayes_factor.abs();
            match strongest.iter_mut().find(|s| s.0 == row.name) {
                Some(known) => known.1 = known.1.max(size),
                None => strongest.push((&row.name, size)),
            }
        }
        let in_one = |name: &str, c: &[ProgramTestRow]| c.iter().find(|r| r.name == name).map(|r| r.log_bayes_factor);
        let passes = |name: &str, sign: f64| {
            let of = |c: &&&[ProgramTestRow]| {
                c.iter().any(|r| r.name == name && r.enriched() && r.log_bayes_factor * sign > 0.0)
            };
            comparisons.iter().filter(of).count()
        };
        strongest.sort_by(|a, b| {
            let n = |name: &str| passes(name, 1.0) + passes(name, -1.0);
            n(b.0).cmp(&n(a.0)).then(b.1.total_cmp(&a.1)).then_with(|| a.0.cmp(b.0))
        });
        let n = comparisons.len();
        let found = match strongest.len() {
            0 => return out.line(format!("no program is enriched in any of {n} comparisons\n")),
            k => counted(k, "program is", "programs are"),
        };
        out.line(format!("{found} enriched in one of {n} comparisons or more"));
        let few = if comparisons.len() <= COLUMNS { &comparisons[..] } else { &[] };
        let names: Vec<String> = few
            .iter()
            .map(|c| c[0].stratum.clone().unwrap_or_else(|| format!("{} – {}", c[0].group, c[0].comparison)))
            .collect();
        let mut header = vec!["program", "higher in", "lower in"];
        header.extend(names.iter().map(String::as_str));
        let row = |(name, _): &(&str, f64)| {
            let mut cells = vec![(*name).to_owned(), passes(name, 1.0).to_string(), passes(name, -1.0).to_string()];
            cells.extend(few.iter().map(|c| fixed(in_one(name, c).unwrap_or(f64::NAN), 2)));
            cells
        };
        out.table(header, &strongest.iter().take(self.top).map(row).collect::<Vec<_>>());
        out.line("");
    }

    /// A comparison's leading programs.
    fn show(&self, found: &Enrichment, comparison: &ProgramComparison, out: &mut Output) {
        let rows = &found.test.rows[comparison.rows.clone()];
        let first = &rows[0];
        let within = first.stratum.as_ref().map(|s| format!(" within {s}")).unwrap_or_default();
        let n = rows.iter().filter(|r| r.enriched()).count();
        out.line(format!(
            "{} ({}) versus {} ({}){within}: {n} of {} programs enriched",
            first.group,
            counted(first.n_group, "cell", "cells"),
            first.comparison,
            first.n_comparison,
            rows.len()
        ));
        let thin = &found.thinness[comparison.rows.clone()];
        let leading = rows.iter().zip(&found.clearness[comparison.rows.clone()]).zip(thin).take(self.top);
        let table = leading.map(|((r, &clearness), &share)| {
            let mark = if r.enriched() { "*" } else { "" };
            let bf = fixed(r.log_bayes_factor, 2);
            let clear = if r.direction == 0 { f64::NAN } else { clearness };
            let se = fixed(r.log_bayes_factor_error(), 2);
            let few = if share.is_nan() { String::new() } else { format!("{:.0} %", 100.0 * share) };
            [r.name.clone(), bf, se, mark.into(), arrow(gene_direction(r)), fixed(clear, 2), few]
        });
        let mut rows: Vec<Vec<String>> = table.map(Vec::from).collect();
        let mut header = vec!["program", "log BF", "se", "≥2.3", "its genes", "clear", "genes found"];
        let few = thin.iter().filter(|share| !share.is_nan()).count();
        if few == 0 {
            header.pop();
            rows.iter_mut().for_each(|row| row.truncate(header.len()));
        }
        out.table(header, &rows);
        if few > 0 {
            out.line(format!(
                "the query lacks more than half of the genes of {} (genes found: what it has); their scores say little of it",
                counted(few, "program", "programs")
            ));
        }
        out.line("");
    }
}

fn to_json(found: &Enrichment) -> Vec<Value> {
    let row = |((r, &clearness), &share): ((&ProgramTestRow, &f64), &f64)| {
        json!({"program": r.name, "log_bayes_factor": number(r.log_bayes_factor),
               "se": number(r.log_bayes_factor_error()), "p": number(r.p_h0),
               "enriched": r.enriched(), "genes": arrow(gene_direction(r)), "direction": r.direction,
               "direction_confidence": number(clearness), "genes_found": number(share)})
    };
    let comparison = |c: &ProgramComparison| {
        let rows = &found.test.rows[c.rows.clone()];
        let programs = rows
            .iter()
            .zip(&found.clearness[c.rows.clone()])
            .zip(&found.thinness[c.rows.clone()])
            .map(row)
            .collect::<Vec<_>>();
        json!({"group": rows[0].group, "comparison": rows[0].comparison, "within": rows[0].stratum,
               "n_group": rows[0].n_group, "n_comparison": rows[0].n_comparison, "programs": programs})
    };
    found.comparisons.iter().map(comparison).collect()
}
