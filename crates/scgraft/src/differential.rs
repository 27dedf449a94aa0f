//! Which genes differ between groups of cells, by the model.

use scgraft_analysis::differential::{Differential, DifferentialMode, GroupDraws, differential_expression};
use scgraft_cells::{Cells, Coded, Column, Frame, Prepared, for_rows};
use scgraft_models::Model;

use crate::columns::{coded, level, wrong};
use crate::decode::conditions;
use crate::{Ask, Error, goes_on};

/// How groups are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct DifferentialPlan {
    /// Column of obs with the groups.
    pub groups: String,
    /// The groups tested; empty: all.
    pub group: Vec<String>,
    /// The group to compare with; `None`: all other cells.
    pub versus: Option<String>,
    /// Draws of normalised expression of each group.
    pub draws: usize,
    /// Decode both groups as of these conditions in turn (`all`: every condition of the model), so that batch effects do not
    /// tell them apart; empty decodes each cell as of its own.
    pub as_conditions: Vec<String>,
    /// What is compared.
    pub mode: DifferentialMode,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for DifferentialPlan {
    fn default() -> Self {
        let (group, as_conditions, mode) = Default::default();
        DifferentialPlan { groups: String::new(), group, versus: None, draws: 5000, as_conditions, mode, seed: 0 }
    }
}

/// A comparison of two groups; genes are numbered as the model's.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupDifference {
    /// The group.
    pub group: String,
    /// What it is compared with: a group, or `rest`.
    pub comparison: String,
    /// The genes.
    pub found: Differential,
}

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
    let of = |wanted: &dyn Fn(u32) -> bool| -> Vec<usize> {
        groups.codes.iter().zip(&rows).filter(|(c, _)| wanted(**c)).map(|(_, &r)| r).collect()
    };
    // Draws of the two groups are compared in pairs, so they must not share their noise.
    let [seed_a, seed_b] = [0, 1].map(|side| plan.seed.wrapping_mul(2).wrapping_add(side));
    let draws = |rows: &[usize], seed| model.expression_samples(data, rows, plan.draws, &as_conditions, seed);
    let mut out = Vec::new();
    for (a, b) in pairs(&groups, name, plan)? {
        goes_on(ask)?;
        let (in_a, in_b) = (of(&|c| c == a), of(&|c| b.map_or(c != a, |b| c == b)));
        let name = |k: u32| groups.levels[k as usize].clone();
        tracing::info!("{} ({} cells) against {} cells", name(a), in_a.len(), in_b.len());
        let (of_a, of_b) = (draws(&in_a, seed_a)?, draws(&in_b, seed_b)?);
        let (silent_a, silent_b) = (silent(data, &in_a)?, silent(data, &in_b)?);
        let one = GroupDraws { expression: &of_a, silent: &silent_a };
        let other = GroupDraws { expression: &of_b, silent: &silent_b };
        let found = differential_expression(one, other, &plan.mode)?;
        out.push(GroupDifference { group: name(a), comparison: b.map_or_else(|| "rest".into(), name), found });
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

fn silent(data: &Prepared, rows: &[usize]) -> Result<Vec<bool>, Error> {
    let mut sums = vec![0f64; data.n_genes()];
    for_rows(&*data.expression, rows, |_, genes, values| {
        genes.iter().zip(values).for_each(|(&g, &v)| sums[g as usize] += f64::from(v));
    })?;
    Ok(sums.into_iter().map(|s| s < SILENT * rows.len() as f64).collect())
}

/// The columns of a table of differential expression.
const COLUMNS: [&str; 16] = [
    "group",
    "comparison",
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
            ranked.into_iter().flatten().map(move |(rank, row)| (&d.group, &d.comparison, rank, row))
        })
        .collect();
    let mut out = Frame::new((0..rows.len()).map(|i| i.to_string()).collect());
    out.index_name = Some("row".into());
    let fold = |i: usize| Column::Real(rows.iter().map(|r| r.3.fold_change.map_or(f64::NAN, |f| f[i])).collect());
    let columns = [
        Column::categorical(&rows.iter().map(|r| r.0.as_str()).collect::<Vec<_>>()),
        Column::categorical(&rows.iter().map(|r| r.1.as_str()).collect::<Vec<_>>()),
        Column::categorical(&rows.iter().map(|r| model.header.genes[r.3.gene].as_str()).collect::<Vec<_>>()),
        Column::Real(rows.iter().map(|r| r.3.probability).collect()),
        Column::Real(rows.iter().map(|r| r.3.log_bayes_factor).collect()),
        fold(0),
        fold(1),
        fold(2),
        fold(3),
        fold(4),
        Column::Real(rows.iter().map(|r| r.3.mean_a).collect()),
        Column::Real(rows.iter().map(|r| r.3.mean_b).collect()),
        Column::Boolean(rows.iter().map(|r| r.3.differs).collect()),
        Column::Real(rows.iter().map(|r| r.3.effect).collect()),
        Column::Boolean(rows.iter().map(|r| Some(r.3.is_up())).collect()),
        Column::Integer(rows.iter().map(|r| Some(r.2)).collect()),
    ];
    COLUMNS.iter().zip(columns).for_each(|(name, column)| out.set(name, column));
    out
}
