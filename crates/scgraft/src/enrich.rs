//! Which gene programs differ between groups of cells: the Bayes test, and beside it what holds from donor to donor and the
//! classical tests of the same gene sets.

use std::ops::Range;

use scgraft_analysis::auroc::auroc;
use scgraft_analysis::donors::{Design, DonorDifference, DonorSummary, donor_differences};
use scgraft_analysis::enrichment::{RankEnrichment, over_representation, rank_enrichment};
use scgraft_analysis::markers::{MarkerReference, rank_markers};
use scgraft_analysis::programs::{Comparison, Latent, ProgramTest, ProgramTestOptions, ProgramTestRow, test_programs};
use scgraft_cells::{Cells, Coded, Column, Csr, Dense, Frame, GenePrograms, GeneSet, ProgramOptions};

use crate::columns::{coded, find, narrow, wrong};
use crate::{Ask, Embedding, Error, LogExpression, columns, goes_on};

/// What is tested.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnrichPlan {
    /// Column of obs with the groups.
    pub groups: String,
    /// Column of obs within each level of which groups are compared; cells that it calls unknown are left out.
    pub within: Option<String>,
    /// Which groups are compared with which, over which pairs of cells.
    pub test: ProgramTestOptions,
    /// Scores as they are, not turned to the programs' directions.
    pub undirected: bool,
    /// Column of obs with the donor (sample) of each cell, and whether donors have cells on both sides: adds differences over
    /// donors, since cells are not replicates.
    pub donors: Option<(String, Design)>,
}

/// What [`enrich`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Enrichment {
    /// The Bayes test: a row per program and comparison.
    pub test: ProgramTest,
    /// For each row, how clear the program's direction is, 0 to 1; NaN where it has none.
    pub clearness: Vec<f64>,
    /// For each row, the share of the program's genes that the query has where that is less than half, NaN otherwise: of such
    /// a program a score says little.
    pub thinness: Vec<f64>,
    /// The comparisons, in the order of the rows.
    pub comparisons: Vec<ProgramComparison>,
}

/// What stands beside the Bayes factors of one comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramComparison {
    /// Its rows of the test.
    pub rows: Range<usize>,
    /// Differences over donors, one per row, or why there are none; `None` where they were not asked for.
    pub donors: Option<Result<DonorSummary, scgraft_analysis::Error>>,
    /// For each row, how well the score tells the group's cells from those it is compared with: the area under the ROC
    /// curve of the directed score, 0.5 is chance.
    pub auroc: Vec<f64>,
    /// Classical tests, where there are gene sets.
    pub classical: Option<Classical>,
}

/// Classical tests of gene sets in one comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Classical {
    /// Genes that are higher in the group.
    pub n_up: usize,
    /// Genes that are lower.
    pub n_down: usize,
    /// All genes.
    pub n_genes: usize,
    /// For each row, the tests of the gene set of that name; `None` where there is no such set.
    pub sets: Vec<Option<SetTests>>,
}

/// Classical tests of one gene set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SetTests {
    /// Genes of the set that are higher in the group, and the adjusted p-value of so many.
    pub up: (usize, f64),
    /// The same of those that are lower.
    pub down: (usize, f64),
    /// The set among all genes, ranked by their difference.
    pub rank: RankEnrichment,
}

/// What a table says of a comparison that is not within a level of another column.
pub(crate) const ALL_CELLS: &str = "all cells";

/// Level of a gene to count as different, adjusted.
const DIFFERENT: f64 = 0.05;
/// Correlation of the genes of a set, camera's preset.
const CORRELATION: f64 = 0.01;

/// Tests which programs differ between groups of cells. Programs that the fit pruned are left out, as are cells without a
/// group. Errors and warnings call the cells `name`. With `sets` and the expression of the cells, the classical tests of the
/// gene sets that have the name of a program are added.
///
/// # Errors
/// A column that is not there, or donors that are not known of all tested cells; an embedding without variances; gene sets of
/// which none is a program; [`Error::Stopped`]; of [`test_programs`] and [`rank_markers`].
pub fn enrich(
    (cells, name): (&Cells, &str),
    embedding: &Embedding,
    plan: &EnrichPlan,
    sets: Option<(&[GeneSet], &LogExpression)>,
    ask: &mut Ask<'_>,
) -> Result<Enrichment, Error> {
    let groups = coded(cells, name, &plan.groups)?;
    let within = plan.within.as_ref().map(|column| columns::within(cells, name, column)).transpose()?;
    // Cells that lack either column are left out of both.
    let both = |r: &usize| within.as_ref().is_none_or(|(_, rows)| rows.binary_search(r).is_ok());
    let kept: Vec<usize> = groups.1.iter().copied().filter(both).collect();
    let (groups, within) = (narrow(&groups, &kept), within.map(|w| narrow(&w, &kept)));
    let some = (kept.len() < cells.n_cells()).then(|| embedding.select_cells(&kept));
    let embedding = some.as_ref().unwrap_or(embedding);
    let strata = plan.within.as_deref().zip(within.as_ref());
    let test = bayes_factors(embedding, (&plan.groups, &groups), strata, plan)?;

    let donors = plan.donors.as_ref().map(|(column, design)| {
        let donors = find(cells, name, column)?.select(&kept).coded().map_err(|missing| {
            wrong(name, column, format!("is empty in {} of the tested cells; fill it first", missing.len()))
        })?;
        Ok::<_, Error>((column.as_str(), donors, *design))
    });
    let donors = donors.transpose()?;
    let scores = if plan.undirected { embedding.mean.clone() } else { embedding.scores() };
    let sizes = ProgramOptions { min_genes: 1, ..ProgramOptions::default() };
    let of_genes = |(sets, expression)| {
        let (sets, LogExpression { x, genes }): (&[GeneSet], &LogExpression) = (sets, expression);
        let sets = GenePrograms::new(sets, &genes.index, &sizes)?;
        if embedding.names.iter().any(|n| sets.position(n).is_some()) {
            Ok((sets, x))
        } else {
            Err(Error::NoProgramSets)
        }
    };
    let sets = sets.map(of_genes).transpose()?;

    let mut comparisons = Vec::new();
    let mut start = 0;
    for rows in test.rows.chunk_by(|a, b| a.group == b.group && a.stratum == b.stratum) {
        goes_on(ask)?;
        let sides = Sides::of(&rows[0], &groups, within.as_ref(), &plan.test.comparison);
        let at: Vec<usize> = rows.iter().filter_map(|r| embedding.names.iter().position(|n| *n == r.name)).collect();
        let in_group: Vec<bool> = sides.labels.codes.iter().map(|&c| c == 0).collect();
        let area = |&j: &usize| {
            let values: Vec<f64> = sides.cells.iter().map(|&i| f64::from(scores.row(i)[j])).collect();
            auroc(&values, &in_group)
        };
        let auroc = at.iter().map(area).collect::<Result<Vec<f64>, _>>()?;
        let donors = donors.as_ref().map(|(column, donors, design)| {
            let values =
                sides.cells.iter().flat_map(|&i| at.iter().map(move |&j| (i, j))).map(|(i, j)| scores.row(i)[j]);
            let scores = Dense::new(sides.cells.len(), at.len(), values.collect());
            let donors = donors.select(&sides.cells);
            let pair = (rows[0].group.as_str(), Some(rows[0].comparison.as_str()));
            donor_differences(&scores, ("groups", &sides.labels), pair, (column, &donors), *design)
        });
        let classical = sets.as_ref().map(|(sets, x)| {
            let cells: Vec<usize> = sides.cells.iter().map(|&i| kept[i]).collect();
            classical(&x.select_rows(&cells), &sides.labels, rows, sets)
        });
        comparisons.push(ProgramComparison {
            rows: start..start + rows.len(),
            donors,
            auroc,
            classical: classical.transpose()?,
        });
        start += rows.len();
    }
    let clearness = test.rows.iter().map(|r| embedding.clearness(&r.name)).collect();
    let thinness = test.rows.iter().map(|r| embedding.thinness(&r.name)).collect();
    Ok(Enrichment { test, clearness, thinness, comparisons })
}

fn bayes_factors(
    embedding: &Embedding,
    groups: (&str, &Coded),
    within: Option<(&str, &Coded)>,
    plan: &EnrichPlan,
) -> Result<ProgramTest, Error> {
    let kept = embedding.names.iter().zip(&embedding.active).filter(|(_, a)| **a).map(|(n, _)| n.clone());
    let Some(active) = embedding.select(&kept.collect::<Vec<_>>()) else { return Ok(ProgramTest::default()) };
    let Some(variance) = &active.variance else {
        return Err(Error::Slot {
            slot: "embedding".into(),
            expected: "posterior variances beside the means".into(),
            found: "means only".into(),
            remedy: "use an embedding that a model made".into(),
        });
    };
    let directions = (!plan.undirected).then_some(&active.direction[..]);
    let latent = Latent { mean: &active.mean, variance, programs: &active.names, directions };
    Ok(test_programs(latent, groups, within, &plan.test)?)
}

/// The two sides of one comparison: positions among the tested cells, 0 the group and 1 the comparison.
struct Sides {
    cells: Vec<usize>,
    labels: Coded,
}

impl Sides {
    fn of(row: &ProgramTestRow, groups: &Coded, within: Option<&Coded>, versus: &Comparison) -> Sides {
        let here = |i: usize| match (&row.stratum, within) {
            (Some(stratum), Some(within)) => within.levels[within.codes[i] as usize] == *stratum,
            _ => true,
        };
        let side = |i: usize| {
            let level = &groups.levels[groups.codes[i] as usize];
            let other = match versus {
                Comparison::Rest => true,
                Comparison::Groups(names) => names.contains(level),
            };
            if *level == row.group { Some(0) } else { other.then_some(1) }
        };
        let found = (0..groups.codes.len()).filter(|&i| here(i)).filter_map(|i| side(i).map(|s| (i, s)));
        let (cells, codes) = found.unzip();
        Sides { cells, labels: Coded { codes, levels: vec![row.group.clone(), row.comparison.clone()] } }
    }
}

fn classical(x: &Csr, sides: &Coded, rows: &[ProgramTestRow], sets: &GenePrograms) -> Result<Classical, Error> {
    let reference = MarkerReference::Group(sides.levels[1].clone());
    let genes = &rank_markers(x, ("groups", sides), &reference, true)?[0].genes;
    let list = |sign: f64| -> Vec<u32> {
        let different = genes.iter().filter(|m| m.p_adjusted < DIFFERENT && m.score * sign > 0.0);
        different.map(|m| m.gene as u32).collect()
    };
    let mut scores = vec![0f64; x.n_cols];
    genes.iter().for_each(|m| scores[m.gene] = m.score);
    let (up, down) = (list(1.0), list(-1.0));
    let counts = |list: &[u32]| -> Result<Vec<(usize, f64)>, Error> {
        let mut out = vec![(0, 1.0); sets.len()];
        if !list.is_empty() {
            for row in over_representation(list, &sets.members, x.n_cols)? {
                out[row.set] = (row.overlap.len(), row.p_adjusted);
            }
        }
        Ok(out)
    };
    let (rises, falls) = (counts(&up)?, counts(&down)?);
    let ranks = rank_enrichment(&scores, &sets.members, CORRELATION)?;
    let tests =
        |r: &ProgramTestRow| sets.position(&r.name).map(|s| SetTests { up: rises[s], down: falls[s], rank: ranks[s] });
    let sets = rows.iter().map(tests).collect();
    Ok(Classical { n_up: up.len(), n_down: down.len(), n_genes: x.n_cols, sets })
}

/// What the genes of a program do in the group: 1 up, −1 down, 0 unknown.
pub fn gene_direction(row: &ProgramTestRow) -> i8 {
    match (row.direction, row.log_bayes_factor > 0.0) {
        (0, _) => 0,
        (_, true) => 1,
        (_, false) => -1,
    }
}

/// The columns of the table of a program test.
const COLUMNS: [&str; 15] = [
    "group",
    "comparison",
    "within",
    "program",
    "log_bayes_factor",
    "log_bayes_factor_se",
    "probability",
    "probability_se",
    "enriched",
    "direction",
    "direction_confidence",
    "rank",
    "n_group",
    "n_comparison",
    "auroc",
];
/// The column with the share of a program's genes that the query has, where that is less than half.
pub const GENES_FOUND: &str = "genes_found";
/// The columns of what donors say: the design is in the number of donors, of pairs where `n_donors_comparison` is the same.
pub(crate) const DONOR_COLUMNS: [&str; 8] = [
    "donor_difference",
    "donor_low",
    "donor_high",
    "donor_p_value",
    "donor_p_adjusted",
    "donor_signed_rank_p_value",
    "n_donors_group",
    "n_donors_comparison",
];

/// Those columns, a row a score.
pub(crate) fn donor_columns(found: &Result<DonorSummary, scgraft_analysis::Error>, n: usize) -> Vec<[f64; 8]> {
    let Ok(found) = found else { return vec![[f64::NAN; 8]; n] };
    let [a, b] = [true, false].map(|side| found.donors.iter().filter(|d| d.in_group == side).count() as f64);
    let row = |d: &DonorDifference| [d.difference, d.low, d.high, d.p_value, d.p_adjusted, d.signed_rank_p, a, b];
    found.differences.iter().map(row).collect()
}
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

impl Enrichment {
    /// The test as a table, one row per program and comparison, in the test's order.
    ///
    /// `direction` is the sign that scores were turned with (1: as they are, their genes up; −1: turned; 0: unknown, as they
    /// are), `direction_confidence` how clear it is. Where the query lacks most genes of some program tested, `genes_found` is the share
    /// that it has of each such program. Columns of donors and of gene sets follow where they were asked for.
    pub fn table(&self) -> Frame {
        let rows = &self.test.rows;
        let mut out = Frame::new((0..rows.len()).map(|i| i.to_string()).collect());
        let ranks = self.comparisons.iter().flat_map(|c| (1..=c.rows.len() as i64).map(Some));
        let text = |f: &dyn Fn(&ProgramTestRow) -> String| Column::categorical(&rows.iter().map(f).collect::<Vec<_>>());
        let real = |f: &dyn Fn(&ProgramTestRow) -> f64| Column::Real(rows.iter().map(f).collect());
        let whole = |f: &dyn Fn(&ProgramTestRow) -> i64| Column::Integer(rows.iter().map(|r| Some(f(r))).collect());
        let columns = [
            text(&|r| r.group.clone()),
            text(&|r| r.comparison.clone()),
            text(&|r| r.stratum.clone().unwrap_or_else(|| ALL_CELLS.into())),
            text(&|r| r.name.clone()),
            real(&|r| r.log_bayes_factor),
            real(&|r| r.log_bayes_factor_error()),
            real(&|r| r.p_h0),
            real(&|r| r.standard_error),
            Column::Boolean(rows.iter().map(|r| Some(r.enriched())).collect()),
            whole(&|r| i64::from(r.direction)),
            Column::Real(self.clearness.clone()),
            Column::Integer(ranks.collect()),
            whole(&|r| r.n_group as i64),
            whole(&|r| r.n_comparison as i64),
            Column::Real(self.comparisons.iter().flat_map(|c| c.auroc.iter().copied()).collect()),
        ];
        COLUMNS.iter().zip(columns).for_each(|(name, column)| out.set(name, column));
        if self.thinness.iter().any(|share| !share.is_nan()) {
            out.set(GENES_FOUND, Column::Real(self.thinness.clone()));
        }
        let donors = |c: &ProgramComparison| match &c.donors {
            None => Vec::new(),
            Some(found) => donor_columns(found, c.rows.len()),
        };
        add(&mut out, DONOR_COLUMNS, self.comparisons.iter().flat_map(donors).collect());
        let of_set = |s: &SetTests| {
            let (up, down) = ((s.up.0 as f64, s.up.1), (s.down.0 as f64, s.down.1));
            let SetTests { rank: r, .. } = s;
            [up.0, up.1, down.0, down.1, r.auroc, r.cerno_p_adjusted, r.camera_t, r.camera_p_adjusted]
        };
        let sets = self.comparisons.iter().flat_map(|c| &c.classical).flat_map(|c| &c.sets);
        add(&mut out, SET_COLUMNS, sets.map(|s| s.as_ref().map_or([f64::NAN; 8], of_set)).collect());
        out
    }
}

/// Adds columns of numbers, where there are any.
pub(crate) fn add<const N: usize>(table: &mut Frame, names: [&str; N], rows: Vec<[f64; N]>) {
    if !rows.is_empty() {
        let column = |j: usize| Column::Real(rows.iter().map(|r| r[j]).collect());
        names.iter().enumerate().for_each(|(j, name)| table.set(name, column(j)));
    }
}
