//! What stands beside the Bayes test of programs: donors, and classical enrichment of their gene sets.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use scgraft::Embedding;
use scgraft::analysis::donors::{Design, DonorOptions, donor_differences};
use scgraft::analysis::enrichment::{over_representation, rank_enrichment};
use scgraft::analysis::markers::{MarkerReference, rank_markers};
use scgraft::analysis::programs::ProgramTestRow;
use scgraft::cells::{Cells, Coded, Column, Dense, Frame, GenePrograms, ProgramOptions};
use scgraft::io::{GmtOptions, read_gmt};

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
    pub expression: Expression,
}

/// Level of a gene to count as different, adjusted.
const DIFFERENT: f64 = 0.05;
/// Correlation of the genes of a set, camera's preset.
const CORRELATION: f64 = 0.01;

/// The cells of a test, in the order of its embedding.
pub(crate) struct Tested<'a> {
    pub cells: &'a Cells,
    /// Rows of `cells` that are in the test.
    pub kept: &'a [usize],
    pub embedding: &'a Embedding,
    pub groups: &'a Coded,
    pub within: Option<&'a Coded>,
    /// Groups compared with; empty: all others.
    pub versus: &'a [String],
    pub directed: bool,
}

/// The two sides of one comparison: positions among the tested cells, 0 the group and 1 the comparison.
struct Sides {
    rows: Vec<usize>,
    labels: Coded,
}

impl Tested<'_> {
    fn sides(&self, row: &ProgramTestRow) -> Sides {
        let here = |i: usize| match (&row.stratum, self.within) {
            (Some(stratum), Some(within)) => within.levels[within.codes[i] as usize] == *stratum,
            _ => true,
        };
        let side = |i: usize| {
            let level = &self.groups.levels[self.groups.codes[i] as usize];
            if *level == row.group {
                Some(0)
            } else if self.versus.is_empty() || self.versus.contains(level) {
                Some(1)
            } else {
                None
            }
        };
        let found = (0..self.groups.codes.len()).filter(|&i| here(i)).filter_map(|i| side(i).map(|s| (i, s)));
        let (rows, codes) = found.unzip();
        Sides { rows, labels: Coded { codes, levels: vec![row.group.clone(), row.comparison.clone()] } }
    }
}

impl Beside {
    pub fn wanted(&self) -> bool {
        self.donors.is_some() || !self.gene_sets.is_empty()
    }

    /// The files that are read.
    pub fn inputs(&self) -> Vec<&Path> {
        self.gene_sets.iter().map(PathBuf::as_path).collect()
    }

    /// Adds columns to the table of a test, whose rows are `rows`, and shows the leading programs of each comparison.
    pub fn add(
        &self,
        tested: &Tested<'_>,
        rows: &[ProgramTestRow],
        table: &mut Frame,
        top: usize,
        out: &mut Output,
    ) -> Result<()> {
        let mut columns = Columns::default();
        let donors = self.donors.as_ref().map(|name| donors_of(tested, name)).transpose()?;
        let classical = if self.gene_sets.is_empty() { None } else { Some(Classical::new(self, tested)?) };
        for chunk in rows.chunk_by(|a, b| a.group == b.group && a.stratum == b.stratum) {
            let sides = tested.sides(&chunk[0]);
            let within = chunk[0].stratum.as_ref().map(|s| format!(" within {s}")).unwrap_or_default();
            let title = format!("{} versus {}{within}", chunk[0].group, chunk[0].comparison);
            if let Some((name, donors)) = &donors {
                self.by_donor(tested, (name, donors), &sides, chunk, &title, top, &mut columns, out);
            }
            if let Some(classical) = &classical {
                classical.add(&sides, chunk, &title, top, &mut columns, out)?;
            }
        }
        for (name, values) in columns.0 {
            table.set(name, Column::Real(values));
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn by_donor(
        &self,
        tested: &Tested<'_>,
        (name, donors): (&str, &Coded),
        sides: &Sides,
        chunk: &[ProgramTestRow],
        title: &str,
        top: usize,
        columns: &mut Columns,
        out: &mut Output,
    ) {
        let design = if self.paired { Design::Paired } else { Design::Unpaired };
        let at: Vec<usize> =
            chunk.iter().filter_map(|r| tested.embedding.names.iter().position(|n| *n == r.name)).collect();
        let turned = if tested.directed { tested.embedding.scores() } else { tested.embedding.mean.clone() };
        let scores = sides.rows.iter().flat_map(|&i| at.iter().map(move |&j| (i, j))).map(|(i, j)| turned.row(i)[j]);
        let scores = Dense::new(sides.rows.len(), at.len(), scores.collect());
        let donors =
            Coded { codes: sides.rows.iter().map(|&i| donors.codes[i]).collect(), levels: donors.levels.clone() };
        let pair = (chunk[0].group.as_str(), Some(chunk[0].comparison.as_str()));
        let found =
            donor_differences(&scores, ("groups", &sides.labels), pair, (name, &donors), &DonorOptions::new(design));
        match found {
            Err(reason) => {
                tracing::warn!("{title}, by donor: {reason}");
                for name in DONOR_COLUMNS {
                    columns.extend(name, std::iter::repeat_n(f64::NAN, chunk.len()));
                }
            }
            Ok(summary) => {
                let d = &summary.differences;
                let n = |inside: bool| summary.donors.iter().filter(|m| m.in_group == inside).count();
                out.line(format!("{title}, by {name}: {} and {} donors", n(true), n(false)));
                let shown: Vec<[String; 5]> = chunk
                    .iter()
                    .zip(d)
                    .take(top)
                    .map(|(r, d)| {
                        let [a, b, c] = [d.difference, d.low, d.high].map(|v| fixed(v, 2));
                        [r.name.clone(), a, b, c, format!("{:.1e}", d.p_adjusted)]
                    })
                    .collect();
                out.table(["program", "difference", "95 % from", "to", "adjusted p"], &shown);
                out.line("");
                columns.extend(DONOR_COLUMNS[0], d.iter().map(|d| d.difference));
                columns.extend(DONOR_COLUMNS[1], d.iter().map(|d| d.low));
                columns.extend(DONOR_COLUMNS[2], d.iter().map(|d| d.high));
                columns.extend(DONOR_COLUMNS[3], d.iter().map(|d| d.p_adjusted));
            }
        }
    }
}

const DONOR_COLUMNS: [&str; 4] = ["donor_difference", "donor_low", "donor_high", "donor_p_adjusted"];
const SET_COLUMNS: [&str; 8] = [
    "up_genes_in_set",
    "up_p_adjusted",
    "down_genes_in_set",
    "down_p_adjusted",
    "set_auroc",
    "cerno_p_adjusted",
    "camera_t",
    "camera_p_adjusted",
];

/// Columns that grow comparison by comparison.
#[derive(Default)]
struct Columns(Vec<(&'static str, Vec<f64>)>);

impl Columns {
    fn extend(&mut self, name: &'static str, values: impl Iterator<Item = f64>) {
        match self.0.iter_mut().find(|c| c.0 == name) {
            Some(column) => column.1.extend(values),
            None => self.0.push((name, values.collect())),
        }
    }
}

fn donors_of<'a>(tested: &Tested<'_>, name: &'a str) -> Result<(&'a str, Coded)> {
    let Some(column) = tested.cells.obs.column(name) else {
        let near = super::input::nearest_first(name, &tested.cells.obs.names());
        bail!("obs has no column `{name}`; its columns, nearest name first: {near}");
    };
    match column.select(tested.kept).coded() {
        Ok(coded) => Ok((name, coded)),
        Err(missing) => bail!("{} of the tested cells have no `{name}`; fill the column first", missing.len()),
    }
}

/// The expression of the tested cells and the gene sets over its genes.
struct Classical {
    x: scgraft::cells::Csr,
    sets: GenePrograms,
}

impl Classical {
    fn new(options: &Beside, tested: &Tested<'_>) -> Result<Classical> {
        let expression = options.expression.of(tested.cells)?;
        let sets = read_gmt(&options.gene_sets, &GmtOptions::default())?;
        let sizes = ProgramOptions { min_genes: 1, ..ProgramOptions::default() };
        let sets = GenePrograms::new(&sets, &expression.genes.index, &sizes)?;
        if !tested.embedding.names.iter().any(|n| sets.position(n).is_some()) {
            bail!("none of the gene sets has the name of a program; give the file that the model was trained with");
        }
        let all = tested.kept.len() == tested.cells.n_cells();
        let x = if all { expression.x } else { expression.x.select_rows(tested.kept) };
        Ok(Classical { x, sets })
    }

    fn add(
        &self,
        sides: &Sides,
        chunk: &[ProgramTestRow],
        title: &str,
        top: usize,
        columns: &mut Columns,
        out: &mut Output,
    ) -> Result<()> {
        let x = self.x.select_rows(&sides.rows);
        let reference = MarkerReference::Group(sides.labels.levels[1].clone());
        let found = rank_markers(&x, ("groups", &sides.labels), &reference, true)?;
        let genes = &found[0].genes;
        let list = |sign: f64| -> Vec<u32> {
            let different = genes.iter().filter(|m| m.p_adjusted < DIFFERENT && m.score * sign > 0.0);
            different.map(|m| m.gene as u32).collect()
        };
        let mut scores = vec![0f64; x.n_cols];
        genes.iter().for_each(|m| scores[m.gene] = m.score);
        let (up, down) = (list(1.0), list(-1.0));
        let counts = |list: &[u32]| -> Result<Vec<(f64, f64)>> {
            if list.is_empty() {
                return Ok(vec![(0.0, 1.0); self.sets.len()]);
            }
            let mut out = vec![(0.0, 1.0); self.sets.len()];
            for row in over_representation(list, &self.sets.members, x.n_cols)? {
                out[row.set] = (row.overlap.len() as f64, row.p_adjusted);
            }
            Ok(out)
        };
        let (rises, falls) = (counts(&up)?, counts(&down)?);
        let ranks = rank_enrichment(&scores, &self.sets.members, CORRELATION)?;
        let mut shown: Vec<[String; 6]> = Vec::new();
        for row in chunk {
            let values = match self.sets.position(&row.name) {
                None => [f64::NAN; 8],
                Some(s) => [
                    rises[s].0,
                    rises[s].1,
                    falls[s].0,
                    falls[s].1,
                    ranks[s].auroc,
                    ranks[s].cerno_p_adjusted,
                    ranks[s].camera_t,
                    ranks[s].camera_p_adjusted,
                ],
            };
            for (name, value) in SET_COLUMNS.iter().zip(values) {
                columns.extend(name, std::iter::once(value));
            }
            if shown.len() < top {
                let p = |v: f64| if v.is_nan() { "–".to_owned() } else { format!("{v:.1e}") };
                let size = self.sets.position(&row.name).map_or(0, |s| self.sets.members[s].len());
                shown.push([
                    row.name.clone(),
                    format!("{}/{size}", fixed(values[0], 0)),
                    p(values[1]),
                    p(values[3]),
                    p(values[5]),
                    p(values[7]),
                ]);
            }
        }
        out.line(format!("{title}, classical: {} genes up, {} down of {}", up.len(), down.len(), x.n_cols));
        out.table(["program", "genes up", "p up", "p down", "p CERNO", "p camera"], &shown);
        out.line("");
        Ok(())
    }
}
