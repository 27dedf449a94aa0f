//! What a model says of genes and labels: differential expression between groups of cells, labels of its own.

use scgraft_analysis::differential::{Differential, DifferentialMode, GroupDraws, differential_expression};
use scgraft_cells::{Column, Dense, Frame, Prepared, for_rows};
use scgraft_models::Model;

use crate::Error;

/// How groups are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct DifferentialPlan {
    /// Draws of normalised expression of each group.
    pub draws: usize,
    /// Decode both groups as of these conditions in turn, so that batch effects do not tell them apart; empty decodes
    /// each cell as of its own.
    pub as_conditions: Vec<u32>,
    /// What is compared.
    pub mode: DifferentialMode,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for DifferentialPlan {
    fn default() -> Self {
        DifferentialPlan { draws: 5000, as_conditions: Vec::new(), mode: DifferentialMode::default(), seed: 0 }
    }
}

/// A gene whose mean count in a group is below this is not expressed there.
const SILENT: f64 = 0.01;

/// Differential expression between two groups of cells, given by their rows.
///
/// # Errors
/// Of [`Model::expression_samples`] and [`differential_expression`].
pub fn differential(
    model: &Model,
    data: &Prepared,
    a: &[usize],
    b: &[usize],
    plan: &DifferentialPlan,
) -> Result<Differential, Error> {
    // Draws of the two groups are compared in pairs, so they must not share their noise.
    let draws = |rows, seed| model.expression_samples(data, rows, plan.draws, &plan.as_conditions, seed);
    let (of_a, of_b) = (draws(a, plan.seed.wrapping_mul(2))?, draws(b, plan.seed.wrapping_mul(2).wrapping_add(1))?);
    let (silent_a, silent_b) = (silent(data, a)?, silent(data, b)?);
    let a = GroupDraws { expression: &of_a, silent: &silent_a };
    let b = GroupDraws { expression: &of_b, silent: &silent_b };
    Ok(differential_expression(a, b, &plan.mode)?)
}

fn silent(data: &Prepared, rows: &[usize]) -> Result<Vec<bool>, Error> {
    let mut sums = vec![0f64; data.n_genes()];
    for_rows(&*data.expression, rows, |_, genes, values| {
        genes.iter().zip(values).for_each(|(&g, &v)| sums[g as usize] += f64::from(v));
    })?;
    Ok(sums.into_iter().map(|s| s < SILENT * rows.len() as f64).collect())
}

/// The columns of a table of differential expression.
pub const DIFFERENTIAL_COLUMNS: [&str; 16] = [
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

/// Differential expression as a table, one row a gene and comparison: first the genes that are higher in the group (`higher`
/// is true), then those that are lower, each ranked from 1. Fold changes are missing in the vanilla mode.
pub fn differential_table(model: &Model, found: &[(String, String, Differential)]) -> Frame {
    let rows: Vec<_> = found
        .iter()
        .flat_map(|(a, b, d)| {
            let ranked = d.by_direction().map(|rows| (1i64..).zip(rows).collect::<Vec<_>>());
            ranked.into_iter().flatten().map(move |(rank, row)| (a, b, rank, row))
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
    DIFFERENTIAL_COLUMNS.iter().zip(columns).for_each(|(name, column)| out.set(name, column));
    out
}

/// Labels that a model gives to cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The labels that the model knows.
    pub levels: Vec<String>,
    /// The most probable label of each cell.
    pub label: Vec<u32>,
    /// 1 − its probability.
    pub uncertainty: Vec<f64>,
    /// Cells × labels.
    pub probabilities: Dense,
}

impl Prediction {
    /// The most probable label of each cell, by name.
    pub fn names(&self) -> Vec<&str> {
        self.label.iter().map(|&k| self.levels[k as usize].as_str()).collect()
    }
}

/// The labels that the model's own classifier gives; `None` for a model without.
///
/// # Errors
/// Of [`Model::label_probabilities`].
pub fn predict(model: &Model, data: &Prepared) -> Result<Option<Prediction>, Error> {
    let Some(probabilities) = model.label_probabilities(data)? else { return Ok(None) };
    let best = |i: usize| {
        let row = probabilities.row(i).iter().zip(0u32..);
        row.fold((f32::NEG_INFINITY, 0), |best, (&p, k)| if p > best.0 { (p, k) } else { best })
    };
    let (p, label): (Vec<f32>, Vec<u32>) = (0..probabilities.n_rows).map(best).unzip();
    let uncertainty = p.into_iter().map(|p| 1.0 - f64::from(p)).collect();
    Ok(Some(Prediction { levels: model.header.labels.clone(), label, uncertainty, probabilities }))
}
