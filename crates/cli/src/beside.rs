//! What stands beside the Bayes test of programs: donors, and classical enrichment of their gene sets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use scgraft::analysis::donors::{Design, DonorSummary};
use scgraft::analysis::programs::ProgramTestRow;
use scgraft::cells::counted;
use scgraft::enrich::{Classical, Enrichment, ProgramComparison};

use super::input::OrthologTable;
use super::near::Expression;
use super::output::{Output, fixed};

/// Tests that a user may want to see beside.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Beside the Bayes test")]
pub(crate) struct Beside {
    /// Column of obs with the donor (sample) of each cell: adds the mean difference over donors with its interval, since
    /// cells are not replicates
    #[arg(long, value_name = "COLUMN")]
    pub donors: Option<String>,
    /// Differences within donors, those with cells on one side only left out [default: where two donors or more have cells
    /// on both sides]
    #[arg(long, requires = "donors")]
    pub paired: bool,
    /// Gene sets (GMT) of the programs, matched by name: adds over-representation among the genes that differ, and rank
    /// tests (CERNO, camera) over all genes, from the expression in the file
    #[arg(long, value_name = "GMT", value_delimiter = ',')]
    pub gene_sets: Vec<PathBuf>,
    #[command(flatten)]
    pub orthologs: OrthologTable,
    #[command(flatten)]
    pub expression: Expression,
}

impl Beside {
    /// The files that are read.
    pub fn inputs(&self) -> Vec<&Path> {
        self.gene_sets.iter().chain(&self.orthologs.orthologs).map(PathBuf::as_path).collect()
    }

    /// The column of the donors and the design.
    pub fn donors(&self) -> Option<(String, Design)> {
        let design = if self.paired { Design::Paired } else { Design::Detect };
        self.donors.clone().map(|column| (column, design))
    }

    /// Shows what donors say of each comparison: the programs that differ most surely from donor to donor.
    pub fn show_donors(&self, found: &Enrichment, top: usize, out: &mut Output) {
        let column = self.donors.as_deref().unwrap_or("donor");
        // Comparisons without a test, by the reason: of many levels it is often one.
        let mut without: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for comparison in &found.comparisons {
            let rows = &found.test.rows[comparison.rows.clone()];
            let names: Vec<&str> = rows.iter().map(|r| r.name.as_str()).collect();
            match &comparison.donors {
                Some(Ok(summary)) => tell_donors((column, summary), &title(rows), ("program", &names), top, out),
                Some(Err(reason)) => without.entry(reason.to_string()).or_default().push(title(rows)),
                None => {}
            }
        }
        without.iter().for_each(|(reason, titles)| warn_no_donors(&titles.join("; "), reason));
    }

    /// Shows the classical tests of the leading programs of a comparison.
    pub fn show(&self, rows: &[ProgramTestRow], found: &ProgramComparison, top: usize, out: &mut Output) {
        let (title, shown) = (title(rows), &rows[..top.min(rows.len())]);
        if let Some(classical) = &found.classical {
            show_sets(shown, classical, &title, out);
        }
    }
}

fn title(rows: &[ProgramTestRow]) -> String {
    let within = rows[0].stratum.as_ref().map(|s| format!(" within {s}")).unwrap_or_default();
    format!("{} versus {}{within}", rows[0].group, rows[0].comparison)
}

/// Level of an adjusted p-value that counts.
const LEVEL: f64 = 0.05;
/// Pairs of donors below which no signed-rank test can reach that level.
const FEW: usize = 6;

/// Says why nothing is said of donors.
pub(crate) fn warn_no_donors(title: &str, reason: &dyn std::fmt::Display) {
    tracing::warn!("{title}: no test over donors, so that nothing here says what a new donor would show: {reason}");
}

/// Says what donors say: how many there are, of which design, and what differs most surely. `names` are those of the scores.
pub(crate) fn tell_donors(
    (column, summary): (&str, &DonorSummary),
    title: &str,
    (what, names): (&str, &[&str]),
    top: usize,
    out: &mut Output,
) {
    let n = |inside: bool| summary.donors.iter().filter(|m| m.in_group == inside).count();
    let paired = summary.design == Design::Paired;
    let donors = |n: usize| counted(n, "donor", "donors");
    let design = match (paired, summary.one_sided) {
        (true, 0) => format!("{} with cells on both sides, paired t test", donors(n(true))),
        (true, k) => format!("{} with cells on both sides, paired t test; {k} with one side left out", donors(n(true))),
        (false, _) => format!("{} and {}, Welch's t test", n(true), donors(n(false))),
    };
    let mut sure: Vec<_> = summary.differences.iter().collect();
    sure.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
    let k = sure.iter().filter(|d| d.p_adjusted < LEVEL).count();
    out.line(format!(
        "{title}, by {column} ({design}): {k} of {} {what}s differ at an adjusted p below {LEVEL}",
        sure.len()
    ));
    if paired && n(true) < FEW {
        let least = 2.0 / 2f64.powi(n(true) as i32);
        out.line(format!("{} donors are few: the signed-rank test cannot give a p below {}", n(true), fixed(least, 4)));
    }
    let rows = sure.iter().take(top).map(|d| {
        let [a, b, c] = [d.difference, d.low, d.high].map(|v| fixed(v, 2));
        let p = [d.p_value, d.p_adjusted].map(|p| format!("{p:.1e}"));
        let rank = if paired { format!("{:.1e}", d.signed_rank_p) } else { "–".to_owned() };
        [names[d.score].to_owned(), a, b, c, p[0].clone(), p[1].clone(), rank]
    });
    let header = [what, "difference", "95 % from", "to", "p", "adjusted p", "p signed rank"];
    out.table(header, &rows.collect::<Vec<_>>());
    out.line("");
}

fn show_sets(rows: &[ProgramTestRow], found: &Classical, title: &str, out: &mut Output) {
    let shown = rows.iter().zip(&found.sets).map(|(row, tests)| {
        let Some(t) = tests else { return [&row.name, "–/0", "–", "–", "–", "–"].map(str::to_owned) };
        let (n, size) = (t.up.0, t.rank.set_size);
        let [up, down, cerno, camera] =
            [t.up.1, t.down.1, t.rank.cerno_p_adjusted, t.rank.camera_p_adjusted].map(|p| format!("{p:.1e}"));
        [row.name.clone(), format!("{n}/{size}"), up, down, cerno, camera]
    });
    let shown: Vec<_> = shown.collect();
    out.line(format!("{title}, classical: {} genes up, {} down of {}", found.n_up, found.n_down, found.n_genes));
    out.table(["program", "genes up", "p up", "p down", "p CERNO", "p camera"], &shown);
    out.line("");
}
