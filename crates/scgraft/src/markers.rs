//! Marker genes of groups of cells.

use scgraft_analysis::markers::{GroupMarkers, Marker, MarkerReference, rank_markers};
use scgraft_cells::{Cells, Coded, Column, Frame};

use crate::columns::{coded, level};
use crate::{Error, LogExpression};

/// What is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkerPlan {
    /// Column of obs with the groups.
    pub groups: String,
    /// The groups whose markers are wanted; empty: all.
    pub group: Vec<String>,
    /// The group to compare with; `None`: all other cells.
    pub versus: Option<String>,
    /// Whether ties count in the variance of the rank sum.
    pub tie_correct: bool,
}

impl MarkerPlan {
    /// What groups are compared with, by name.
    pub fn versus(&self) -> &str {
        self.versus.as_deref().unwrap_or("rest")
    }
}

/// Ranks the genes of `expression` (log-normalised, of the same cells) for each group wanted, as
/// [`rank_markers`] does; genes are columns of `expression`. Cells without a group are left out, and, against one group, those
/// of groups that are not wanted. Errors and warnings call the cells `name`.
///
/// # Errors
/// A column or a group that is not there; of [`rank_markers`].
pub fn markers(
    (cells, name): (&Cells, &str),
    expression: &LogExpression,
    plan: &MarkerPlan,
) -> Result<Vec<GroupMarkers>, Error> {
    let (groups, rows) = coded(cells, name, &plan.groups)?;
    plan.group.iter().try_for_each(|g| level(&groups, &plan.groups, g).map(|_| ()))?;
    let wanted = |name: &String| plan.group.is_empty() || plan.group.contains(name);
    let counts = |i: &usize| {
        let name = &groups.levels[groups.codes[*i] as usize];
        plan.versus.is_none() || wanted(name) || Some(name) == plan.versus.as_ref()
    };
    let kept: Vec<usize> = (0..rows.len()).filter(counts).collect();
    let some = (kept.len() < cells.n_cells())
        .then(|| expression.x.select_rows(&kept.iter().map(|&i| rows[i]).collect::<Vec<_>>()));
    let codes = kept.iter().map(|&i| groups.codes[i]).collect();
    let groups = Coded { codes, levels: groups.levels };
    let reference = plan.versus.clone().map_or(MarkerReference::Rest, MarkerReference::Group);
    let x = some.as_ref().unwrap_or(&expression.x);
    let mut found = rank_markers(x, (&plan.groups, &groups), &reference, plan.tie_correct)?;
    found.retain(|g| wanted(&g.group));
    Ok(found)
}

/// All genes of all groups as a table, each group's ranked from 1.
pub fn table(found: &[GroupMarkers], genes: &[String], plan: &MarkerPlan) -> Frame {
    let groups: Vec<&str> = found.iter().flat_map(|g| vec![g.group.as_str(); g.genes.len()]).collect();
    let rows: Vec<(i64, &Marker)> = found.iter().flat_map(|g| (1..).zip(&g.genes)).collect();
    let mut out = Frame::new((0..rows.len()).map(|i| i.to_string()).collect());
    out.set("group", Column::categorical(&groups));
    out.set("comparison", Column::categorical(&vec![plan.versus(); rows.len()]));
    out.set("rank", Column::Integer(rows.iter().map(|r| Some(r.0)).collect()));
    out.set("gene", Column::categorical(&rows.iter().map(|r| genes[r.1.gene].as_str()).collect::<Vec<_>>()));
    let mut number = |name: &str, of: fn(&Marker) -> f64| {
        out.set(name, Column::Real(rows.iter().map(|r| of(r.1)).collect()));
    };
    number("score", |m| m.score);
    number("log2_fold_change", |m| m.log2_fold_change);
    number("p_value", |m| m.p_value);
    number("p_adjusted", |m| m.p_adjusted);
    number("share_group", |m| m.share_group);
    number("share_comparison", |m| m.share_reference);
    out
}
