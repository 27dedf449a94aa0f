//! `scgraft differential`: genes that differ between groups of cells, by the model.

use anyhow::Result;
use clap::{Args, ValueEnum};
use scgraft::analysis::differential::{DifferentialMode, DifferentialRow};
use scgraft::analysis::donors::Design;
use scgraft::cells::counted;
use scgraft::differential::{DifferentialPlan, GroupDifference, differential, table};
use serde_json::{Value, json};

use super::beside::{tell_donors, warn_no_donors};
use super::encode::Source;
use super::markers::OfGroups;
use super::output::{fixed, number};
use super::{Global, Output, files, stop};

const EXAMPLES: &str = "\
Compares draws of normalised expression, as scvi-tools does. Mode change: the probability that the log₂ fold change is at
least --delta, in the more probable direction; genes are called at a posterior expected false discovery rate. Mode
vanilla: the probability that expression in the group is larger. Genes higher and lower in the group stand apart; where
evidence ties (with 5,000 draws many genes are certain) they stand by log2 FC, with the pseudocount. Cells are the unit here: where samples of several donors
are compared, small effects will look certain that a new donor would not show: --donors leads with a t test of donors, on
log2(10⁶ · sum of counts / sum of all + 1) of the donor's cells.

Examples:
  scgraft differential reference.scgraft reference.h5ad --groups cell_type --tsv genes.tsv
  scgraft differential mapped.scgraft query.h5ad --groups condition --versus control --delta 0.5 --tsv genes.tsv
  scgraft differential mapped.scgraft query.h5ad --groups condition --versus control --donors patient --tsv genes.tsv
  scgraft differential mapped.scgraft query.h5ad --groups condition --versus control --within cell_type --tsv genes.tsv
  scgraft differential reference.scgraft reference.h5ad --groups cell_type --group B --as-condition all --mode vanilla";

/// Bayesian differential expression between groups of cells.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Differential {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub of: OfGroups,
    /// Compare within each level of this column of obs; cells that it calls `Unknown` are left out
    #[arg(long, value_name = "COLUMN")]
    pub within: Option<String>,
    /// What is compared
    #[arg(long, value_enum, default_value_t = Mode::Change)]
    pub mode: Mode,
    /// The least |log₂ fold change| that counts
    #[arg(long, default_value_t = 0.25, value_name = "X")]
    pub delta: f64,
    /// Added to expression before logarithms [default: read off genes that a group does not express]
    #[arg(long, value_name = "X")]
    pub pseudocount: Option<f64>,
    /// Count both directions together
    #[arg(long)]
    pub both_directions: bool,
    /// False discovery rate at which genes are called
    #[arg(long, default_value_t = 0.05, value_name = "X")]
    pub fdr: f64,
    /// Draws of each group
    #[arg(long, default_value_t = 5000, value_name = "N")]
    pub samples: usize,
    /// Decode both groups as of these conditions in turn; `all` for every condition [default: each cell's own]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub as_condition: Vec<String>,
    /// Column of obs with the donor (sample) of each cell: adds a test over donors, each the sum of its cells, paired where two
    /// or more have cells on both sides, since cells are not replicates
    #[arg(long, value_name = "COLUMN")]
    pub donors: Option<String>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Whether expression is larger
    Vanilla,
    /// Whether it differs by an effect size
    Change,
}

impl Differential {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        if let Some(path) = &self.of.tsv {
            files::check_output(path, &self.source.inputs())?;
        }
        let (model, cells, data) = self.source.read(None)?;
        let plan = DifferentialPlan {
            groups: self.of.groups.clone(),
            group: self.of.group.clone(),
            versus: self.of.versus.clone(),
            within: self.within.clone(),
            draws: self.samples,
            as_conditions: self.as_condition.clone(),
            mode: match self.mode {
                Mode::Vanilla => DifferentialMode::Vanilla,
                Mode::Change => DifferentialMode::Change {
                    delta: self.delta,
                    pseudocount: self.pseudocount,
                    both_directions: self.both_directions,
                    fdr: self.fdr,
                },
            },
            seed: global.seed.unwrap_or(0),
            donors: self.donors.clone().map(|column| (column, Design::Detect)),
        };
        let file = self.source.cells.display().to_string();
        let found = differential(&model, (&cells, &file), &data, &plan, &mut stop::ask)?;
        files::write_table(self.of.tsv.as_ref(), &files::without_index(table(&model, &found)))?;
        let told: Vec<Value> = found.iter().map(|f| self.tell(f, &model.header.genes, out)).collect();
        out.put("comparisons", told);
        Ok(())
    }

    fn tell(&self, found: &GroupDifference, genes: &[String], out: &mut Output) -> Value {
        let GroupDifference { group: a, comparison: b, stratum, found, donors } = found;
        let versus = b;
        let b = &stratum.as_ref().map_or_else(|| b.clone(), |s| format!("{b}, {s}"));
        if let (Some(column), Some(donors)) = (&self.donors, donors) {
            let names: Vec<&str> = genes.iter().map(String::as_str).collect();
            let title = format!("{a} versus {b}");
            match donors {
                Ok(summary) => tell_donors((column, summary), &title, ("gene", &names), self.of.top, out),
                Err(reason) => warn_no_donors(&title, reason),
            }
        }
        let called = found.rows.iter().filter(|r| r.differs == Some(true)).count();
        match self.mode {
            Mode::Change => out.line(format!("{a} versus {b}: {called} of {} genes differ", found.rows.len())),
            Mode::Vanilla => out.line(format!("{a} versus {b}")),
        }
        let mut told = json!({"group": a, "comparison": versus, "within": stratum, "called": called});
        for (rows, (name, what)) in found.by_direction().iter().zip([("up", "higher"), ("down", "lower")]) {
            let called = |r: &&&DifferentialRow| matches!(self.mode, Mode::Vanilla) || r.differs == Some(true);
            out.line(format!("{what} in {a}: {}", counted(rows.iter().filter(called).count(), "gene", "genes")));
            let leading = &rows[..rows.len().min(self.of.top)];
            let shown: Vec<[String; 7]> = leading.iter().map(|r| shown(r, &genes[r.gene])).collect();
            out.table(["gene", "p", "log BF", "log2 FC", "mean", "mean, others", "differs"], &shown);
            let top = leading.iter().map(|r| {
                json!({
                    "gene": genes[r.gene], "probability": number(r.probability),
                    "log_bayes_factor": number(r.log_bayes_factor), "effect": number(r.effect),
                    "lfc_mean": number(r.fold_change.map_or(f64::NAN, |f| f[0])),
                })
            });
            told[name] = top.collect();
        }
        out.line("");
        told
    }
}

/// A row of the printed table. The fold change is that with the pseudocount, which orders genes of one probability.
fn shown(r: &DifferentialRow, gene: &str) -> [String; 7] {
    [
        gene.to_owned(),
        fixed(r.probability, 3),
        fixed(r.log_bayes_factor, 2),
        fixed(r.effect, 2),
        format!("{:.2e}", r.mean_a),
        format!("{:.2e}", r.mean_b),
        if r.differs == Some(true) { "*" } else { "" }.to_owned(),
    ]
}
