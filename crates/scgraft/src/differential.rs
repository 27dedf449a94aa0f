//! Which genes differ between groups of cells, by the model.

use std::collections::HashMap;

use scgraft_analysis::differential::{Differential, DifferentialMode, GroupDraws, differential_expression};
use scgraft_analysis::donors::{Design, DonorSummary, FEWEST_CELLS, Side, compare_donors};
use scgraft_cells::{Cells, Coded, Column, Frame, Kind, Prepared, counted, for_rows};
use scgraft_models::Model;

use crate::columns::{coded, find, level, wrong};
use crate::decode::conditions;
use crate::enrich::{ALL_CELLS, DONOR_COLUMNS, add, donor_columns};
use crate::{Ask, Error, columns, goes_on};

/// How groups are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct DifferentialPlan {
    /// Column of obs with the groups.
    pub groups: String,
    /// The groups tested; empty: all.
    pub group: Vec<String>,
    /// The group to compare with; `None`: all other cells.
    pub versus: Option<String>,
    /// Column of obs within each level of which groups are compared; a comparison with fewer than [`FEWEST`] cells on a side
    /// is left out there, with a word.
    pub within: Option<String>,
    /// Draws of normalised expression of each group.
    pub draws: usize,
    /// Decode both groups as of these conditions in turn (`all`: every condition of the model), so that batch effects do not
    /// tell them apart; empty decodes each cell as of its own.
    pub as_conditions: Vec<String>,
    /// What is compared.
    pub mode: DifferentialMode,
    /// Seed of the draws.
    pub seed: u64,
    /// Column of obs with the donor (sample) of each cell, and how donors belong together: adds a test over donors, each a
    /// pseudobulk, since cells are not replicates.
    pub donors: Option<(String, Design)>,
}

impl Default for DifferentialPlan {
    fn default() -> Self {
        let (group, within, as_conditions, mode, donors) = Default::default();
        DifferentialPlan {
            groups: String::new(),
            group,
            versus: None,
            within,
            draws: 5000,
            as_conditions,
            mode,
            seed: 0,
            donors,
        }
    }
}

/// A comparison of two groups; genes are numbered as the model's.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupDifference {
    /// The group.
    pub group: String,
    /// What it is compared with: a group, or `rest`.
    pub comparison: String,
    /// The level within which they are compared; `None`: all cells.
    pub stratum: Option<String>,
    /// The genes.
    pub found: Differential,
    /// Differences over donors, a row a gene of the model in its order, or why there are none; `None` where they were not
    /// asked for.
    pub donors: Option<Result<DonorSummary, scgraft_analysis::Error>>,
}

/// The fewest cells on a side of a comparison within a level of another column.
pub const FEWEST: usize = 10;

/// A gene whose mean count in a group is below this is not expressed there.
const SILENT: f64 = 0.01;

/// Differential expression between groups of cells, which `data` holds as the model takes them. Cells without a group are left
/// out. Errors and warnings call the cells `name`.
///
/// # Errors
/// A column, a group or a condition that is not there, or one group only; [`Error::Stopped`]; of
/// [`Model::expression_samples`] and [`differential_expression`].
pub fn differential(
    model: &Model,
    (cells, name): (&Cells, &str),
    data: &Prepared,
    plan: &DifferentialPlan,
    ask: &mut Ask<'_>,
) -> Result<Vec<GroupDifference>, Error> {
    let (groups, rows) = coded(cells, name, &plan.groups)?;
    let as_conditions = conditions(&plan.as_conditions, model)?;
    // The rows of each level to compare within, by rank among the rows with a group.
    let strata: Vec<(Option<String>, Vec<usize>)> = match &plan.within {
        None => vec![(None, (0..rows.len()).collect())],
        Some(column) => {
            let (levels, filled) = columns::within(cells, name, column)?;
            let level: HashMap<usize, u32> = filled.into_iter().zip(levels.codes).collect();
            let here = |k: u32| (0..rows.len()).filter(|&i| level.get(&rows[i]) == Some(&k)).collect();
            levels.levels.into_iter().zip(0..).map(|(l, k)| (Some(l), here(k))).collect()
        }
    };
    let of = |here: &[usize], wanted: &dyn Fn(u32) -> bool| -> Vec<usize> {
        here.iter().filter(|&&i| wanted(groups.codes[i])).map(|&i| rows[i]).collect()
    };
    let donors = plan.donors.as_ref().map(|(column, design)| {
        let donors = find(cells, name, column)?.coded().map_err(|missing| {
            wrong(name, column, format!("is empty in {} of the cells; fill it first", missing.len()))
        })?;
        Ok::<_, Error>((column.as_str(), donors, *design))
    });
    let donors = donors.transpose()?;
    // Draws of the two groups are compared in pairs, so they must not share their noise.
    let [seed_a, seed_b] = [0, 1].map(|side| plan.seed.wrapping_mul(2).wrapping_add(side));
    let draws = |rows: &[usize], seed| model.expression_samples(data, rows, plan.draws, &as_conditions, seed);
    let mut out = Vec::new();
    let pairs = pairs(&groups, name, plan)?;
    let asked = strata.iter().flat_map(|stratum| pairs.iter().map(move |&pair| (stratum, pair)));
    for ((stratum, here), (a, b)) in asked {
        goes_on(ask)?;
        let (in_a, in_b) = (of(here, &|c| c == a), of(here, &|c| b.map_or(c != a, |b| c == b)));
        let name = |k: u32| groups.levels[k as usize].clone();
        let within = stratum.as_ref().map(|s| format!(" in `{s}`")).unwrap_or_default();
        if stratum.is_some() && in_a.len().min(in_b.len()) < FEWEST {
            tracing::warn!(
                "`{}`{within} is left out: {} against {}; {FEWEST} are needed on either side",
                name(a),
                counted(in_a.len(), "cell", "cells"),
                in_b.len()
            );
            continue;
        }
        tracing::info!("{}{within} ({} cells) against {} cells", name(a), in_a.len(), in_b.len());
        let (of_a, of_b) = (draws(&in_a, seed_a)?, draws(&in_b, seed_b)?);
        let (silent_a, silent_b) = (silent(data, &in_a)?, silent(data, &in_b)?);
        let one = GroupDraws { expression: &of_a, silent: &silent_a };
        let other = GroupDraws { expression: &of_b, silent: &silent_b };
        let found = differential_expression(one, other, &plan.mode)?;
        let (group, comparison) = (name(a), b.map_or_else(|| "rest".into(), name));
        let donors = donors.as_ref().map(|(column, donors, design)| {
            let sides = (pseudobulk(data, &in_a, donors)?, pseudobulk(data, &in_b, donors)?);
            Ok::<_, Error>(compare_donors(sides, (&group, &comparison), (column, &donors.levels), *design))
        });
        out.push(GroupDifference { donors: donors.transpose()?, group, comparison, stratum: stratum.clone(), found });
    }
    Ok(out)
}

/// Codes of the groups to compare; `None` is the rest.
fn pairs(groups: &Coded, name: &str, plan: &DifferentialPlan) -> Result<Vec<(u32, Option<u32>)>, Error> {
    let code = |name: &String| level(groups, &plan.groups, name);
    let versus = plan.versus.as_ref().map(code).transpose()?;
    let tested: Vec<u32> = match plan.group.len() {
        0 => (0..groups.levels.len() as u32).filter(|k| Some(*k) != versus).collect(),
        _ => plan.group.iter().map(code).collect::<Result<_, _>>()?,
    };
    if let [level] = &groups.levels[..] {
        return Err(wrong(name, &plan.groups, format!("has one value only, {level}; two groups are needed")));
    }
    Ok(tested.into_iter().map(|k| (k, versus)).collect())
}

/// The pseudobulk of each donor's cells among `rows`: of gene g log₂(10⁶ Σ x_g / Σ ℓ + 1), x the counts and ℓ the library size
/// over the model's genes; of values that are log-normalised already their mean.
fn pseudobulk(data: &Prepared, rows: &[usize], donors: &Coded) -> Result<Side, Error> {
    let mut sums = vec![(0usize, 0f64, vec![0f64; data.n_genes()]); donors.levels.len()];
    for_rows(&*data.expression, rows, |at, genes, values| {
        let (n, library, sum) = &mut sums[donors.codes[rows[at]] as usize];
        *n += 1;
        genes.iter().zip(values).for_each(|(&g, &v)| {
            *library += f64::from(v);
            sum[g as usize] += f64::from(v);
        });
    })?;
    let counts = data.kind == Kind::Counts;
    let summarised = |(n, library, sum): (usize, f64, Vec<f64>)| {
        let value =
            |s: f64| if counts { (1e6 * s / library.max(1.0)).ln_1p() / std::f64::consts::LN_2 } else { s / n as f64 };
        (n >= FEWEST_CELLS).then(|| (n, sum.into_iter().map(value).collect()))
    };
    Ok(sums.into_iter().map(summarised).collect())
}

fn silent(data: &Prepared, rows: &[usize]) -> Result<Vec<bool>, Error> {
    let mut sums = vec![0f64; data.n_genes()];
    for_rows(&*data.expression, rows, |_, genes, values| {
        genes.iter().zip(values).for_each(|(&g, &v)| sums[g as usize] += f64::from(v));
    })?;
    Ok(sums.into_iter().map(|s| s < SILENT * rows.len() as f64).collect())
}

/// The columns of a table of differential expression.
const COLUMNS: [&str; 17] = [
    "group",
    "comparison",
    "within",
    "gene",
    "probability",
    "log_bayes_factor",
    "lfc_mean",
    "lfc_median",
    "lfc_sd",
    "lfc_min",
    "lfc_max",
    "mean_group",
    "mean_comparison",
    "differs",
    "effect",
    "higher",
    "rank",
];

/// Differential expression as a table, one row per gene and comparison: first the genes that are higher in the group (`higher`
/// is true), then those that are lower, each ranked from 1. Fold changes are missing in the vanilla mode.
pub fn table(model: &Model, found: &[GroupDifference]) -> Frame {
    let rows: Vec<_> = found
        .iter()
        .flat_map(|d| {
            let ranked = d.found.by_direction().map(|rows| (1i64..).zip(rows).collect::<Vec<_>>());
            ranked.into_iter().flatten().map(move |(rank, row)| (d, row, rank))
        })
        .collect();
    let mut out = Frame::new((0..rows.len()).map(|i| i.to_string()).collect());
    out.index_name = Some("row".into());
    let fold = |i: usize| Column::Real(rows.iter().map(|r| r.1.fold_change.map_or(f64::NAN, |f| f[i])).collect());
    let columns = [
        Column::categorical(&rows.iter().map(|r| r.0.group.as_str()).collect::<Vec<_>>()),
        Column::categorical(&rows.iter().map(|r| r.0.comparison.as_str()).collect::<Vec<_>>()),
        Column::categorical(&rows.iter().map(|r| r.0.stratum.as_deref().unwrap_or(ALL_CELLS)).collect::<Vec<_>>()),
        Column::categorical(&rows.iter().map(|r| model.header.genes[r.1.gene].as_str()).collect::<Vec<_>>()),
        Column::Real(rows.iter().map(|r| r.1.probability).collect()),
        Column::Real(rows.iter().map(|r| r.1.log_bayes_factor).collect()),
        fold(0),
        fold(1),
        fold(2),
        fold(3),
        fold(4),
        Column::Real(rows.iter().map(|r| r.1.mean_a).collect()),
        Column::Real(rows.iter().map(|r| r.1.mean_b).collect()),
        Column::Boolean(rows.iter().map(|r| r.1.differs).collect()),
        Column::Real(rows.iter().map(|r| r.1.effect).collect()),
        Column::Boolean(rows.iter().map(|r| Some(r.1.is_up())).collect()),
        Column::Integer(rows.iter().map(|r| Some(r.2)).collect()),
    ];
    COLUMNS.iter().zip(columns).for_each(|(name, column)| out.set(name, column));
    let of_donors = |d: &GroupDifference| {
        let by_gene = d.donors.as_ref().map(|found| donor_columns(found, model.header.genes.len()));
        let in_order = d.found.by_direction().into_iter().flatten().map(|r| r.gene).collect::<Vec<usize>>();
        by_gene.map(|by_gene| in_order.into_iter().map(|g| by_gene[g]).collect::<Vec<_>>()).unwrap_or_default()
    };
    add(&mut out, DONOR_COLUMNS, found.iter().flat_map(of_donors).collect());
    out
}
