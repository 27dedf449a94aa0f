//! What stands beside the Bayes test of programs: donors, and classical enrichment of their gene sets.

use std::path::{Path, PathBuf};

use clap::Args;
use scgraft::analysis::donors::{Design, DonorSummary};
use scgraft::analysis::programs::ProgramTestRow;
use scgraft::enrich::{Classical, ProgramComparison};

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
    /// Every donor has cells on both sides: differences within donors
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
        let design = if self.paired { Design::Paired } else { Design::Unpaired };
        self.donors.clone().map(|column| (column, design))
    }

    /// Shows the leading programs of a comparison.
    pub fn show(&self, rows: &[ProgramTestRow], found: &ProgramComparison, top: usize, out: &mut Output) {
        let within = rows[0].stratum.as_ref().map(|s| format!(" within {s}")).unwrap_or_default();
        let title = format!("{} versus {}{within}", rows[0].group, rows[0].comparison);
        let shown = &rows[..top.min(rows.len())];
        match &found.donors {
            None => {}
            Some(Err(reason)) => tracing::warn!("{title}, by donor: {reason}"),
            Some(Ok(summary)) => self.show_donors(shown, summary, &title, out),
        }
        if let Some(classical) = &found.classical {
            show_sets(shown, classical, &title, out);
        }
    }

    fn show_donors(&self, rows: &[ProgramTestRow], found: &DonorSummary, title: &str, out: &mut Output) {
        let n = |inside: bool| found.donors.iter().filter(|m| m.in_group == inside).count();
        let name = self.donors.as_deref().unwrap_or("donor");
        out.line(format!("{title}, by {name}: {} and {} donors", n(true), n(false)));
        let shown = rows.iter().zip(&found.differences).map(|(r, d)| {
            let [a, b, c] = [d.difference, d.low, d.high].map(|v| fixed(v, 2));
            [r.name.clone(), a, b, c, format!("{:.1e}", d.p_adjusted)]
        });
        out.table(["program", "difference", "95 % from", "to", "adjusted p"], &shown.collect::<Vec<_>>());
        out.line("");
    }
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
