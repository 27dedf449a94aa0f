//! Pictures of what other steps computed: cells by colour, programs by group, tests, fits, labels, metrics.

use std::collections::HashSet;

use scgraft_analysis::auroc::auroc;
use scgraft_analysis::metrics::scores::Category;
use scgraft_analysis::transfer;
use scgraft_cells::{Cells, Coded, Column, Dense, Frame};
use scgraft_models::EpochRecord;
use scgraft_report::{
    BayesFactors, ColorValues, Coloring, Confusion, DotPlot, GeneWeight, Heatmap, LossCurve, Metric, MetricGroup,
    Metrics, ProgramBayesFactor, Reliability, ReliabilityBin, Training,
};

use crate::evaluate::{ColumnKind, Evaluated, ScoreColumn};
use crate::programs::ProgramSummary;
use crate::{Embedding, Error, slots};

/// Bins of a reliability curve.
pub(crate) const RELIABILITY_BINS: usize = 10;

/// A column to colour cells by: categories, or numbers.
pub fn coloring(name: &str, column: &Column) -> Coloring {
    match column {
        Column::Real(_) | Column::Integer(_) => {
            let values = (0..column.len()).map(|i| column.number(i).map_or(f32::NAN, |v| v as f32)).collect();
            Coloring::scores(name, values)
        }
        Column::Categorical { codes, categories, .. } => Coloring::categories(name, codes.clone(), categories.clone()),
        Column::Text(_) | Column::Boolean(_) => {
            let texts = column.texts();
            let mut levels: Vec<String> = texts.iter().flatten().cloned().collect();
            levels.sort_unstable();
            levels.dedup();
            let code =
                |t: &Option<String>| t.as_ref().and_then(|t| levels.binary_search(t).ok()).map_or(-1, |c| c as i32);
            Coloring::categories(name, texts.iter().map(code).collect(), levels.clone())
        }
    }
}

/// Two columns one below the other; a missing one is empty.
pub fn joined(name: &str, parts: &[(Option<&Column>, usize)]) -> Coloring {
    let numbers = parts.iter().all(|(c, _)| matches!(c, None | Some(Column::Real(_) | Column::Integer(_))));
    if numbers {
        let value = |c: Option<&Column>, i: usize| c.and_then(|c| c.number(i)).unwrap_or(f64::NAN);
        return coloring(
            name,
            &Column::Real(parts.iter().flat_map(|&(c, n)| (0..n).map(move |i| value(c, i))).collect()),
        );
    }
    let text = |c: Option<&Column>, i: usize| c.and_then(|c| c.text(i));
    coloring(name, &Column::Text(parts.iter().flat_map(|&(c, n)| (0..n).map(move |i| text(c, i))).collect()))
}

/// The curves of a history; `None` when there is none.
pub fn training(title: &str, history: &[EpochRecord]) -> Option<Training> {
    let first = history.first()?;
    let named = |terms: &[(String, f64)], name: &str| terms.iter().find(|t| t.0 == name).map_or(f64::NAN, |t| t.1);
    let sum = |terms: &[(String, f64)]| terms.iter().map(|t| t.1).sum::<f64>();
    let validated = history.iter().all(|r| !r.validation.is_empty());
    let total = LossCurve {
        name: "loss, unweighted".into(),
        train: history.iter().map(|r| sum(&r.train)).collect(),
        validation: if validated { history.iter().map(|r| sum(&r.validation)).collect() } else { Vec::new() },
    };
    let terms = first.train.iter().map(|(name, _)| LossCurve {
        name: name.clone(),
        train: history.iter().map(|r| named(&r.train, name)).collect(),
        validation: if validated { history.iter().map(|r| named(&r.validation, name)).collect() } else { Vec::new() },
    });
    let best = history.iter().filter_map(|r| r.validation_loss.map(|l| (r.epoch, l)));
    let best = best.min_by(|a, b| a.1.total_cmp(&b.1)).map(|b| b.0 + 1);
    Some(Training { title: title.into(), curves: std::iter::once(total).chain(terms).collect(), best_epoch: best })
}

/// The comparisons of a stored test, each ready to draw.
pub fn comparisons(table: &Frame) -> Vec<BayesFactors> {
    let text = |name: &str, i: usize| table.column(name).and_then(|c| c.text(i)).unwrap_or_default();
    let number = |name: &str, i: usize| table.column(name).and_then(|c| c.number(i)).filter(|v| v.is_finite());
    let mut out: Vec<BayesFactors> = Vec::new();
    for i in 0..table.len() {
        let (group, comparison, within) = (text("group", i), text("comparison", i), text("within", i));
        let title = match within.as_str() {
            "" | "all cells" => format!("{group} versus {comparison}"),
            within => format!("{group} versus {comparison}, {within}"),
        };
        let Some(log_bf) = number("log_bayes_factor", i) else { continue };
        let n = |name: &str| number(name, i).map_or(0, |v| v as u64);
        let cells = [n("n_group"), n("n_comparison")];
        let program = ProgramBayesFactor { name: text("program", i), log_bf, se: number("log_bayes_factor_se", i) };
        match out.last_mut() {
            Some(last) if last.title == title => last.programs.push(program),
            _ => {
                let within = if within == "all cells" { String::new() } else { within };
                let programs = vec![program];
                out.push(BayesFactors { title, group, comparison, within, cells, programs, ..BayesFactors::default() })
            }
        }
    }
    out
}

/// Labels that cells were given (rows) against those carried over to them from the reference (columns), of the cells that
/// have both; `None` where there are none.
pub fn confusion(cells: &Cells, label: &str, given: &Column) -> Option<Confusion> {
    let codes = |column: &Column| match coloring("", column).values {
        ColorValues::Categories { codes, levels } => Some((codes, levels)),
        ColorValues::Scores { .. } => None,
    };
    let (given, pred) = (codes(given)?, codes(cells.obs.column(&format!("{label}_pred"))?)?);
    let table = Confusion::from_codes((&given.0, &given.1), (&pred.0, &pred.1)).ok()?;
    table.counts.iter().any(|&n| n > 0).then_some(table)
}

/// The labels that a transfer knows: those given to cells, and those with a probability.
fn known_labels(cells: &Cells, label: &str) -> HashSet<String> {
    let best = cells.obs.column(&format!("{label}_best")).map(Column::texts);
    let mut known: HashSet<String> = best.into_iter().flatten().flatten().collect();
    if let Some(names) = slots::table_names(cells, &slots::probabilities_key(label)) {
        // Older versions replaced `/` in the names of columns.
        let plain = |name: &String| !known.iter().any(|k| k.replace('/', "_") == *name);
        let more: Vec<String> = names.into_iter().filter(plain).collect();
        known.extend(more);
    }
    known
}

/// How often a transferred label is the one that a cell was given, by confidence, over the cells whose given label the
/// reference has; `None` where there is none. `truth` is the name of the given labels.
///
/// # Errors
/// Of [`transfer::reliability`].
pub fn reliability(cells: &Cells, label: &str, (truth, given): (&str, &Column)) -> Result<Option<Reliability>, Error> {
    let column = |name: String| cells.obs.column(&name);
    let (Some(best), Some(uncertainty)) = (column(format!("{label}_best")), column(format!("{label}_uncertainty")))
    else {
        return Ok(None);
    };
    let known = known_labels(cells, label);
    let given = given.labels();
    let is_known = |given: &str| known.contains(given) || known.contains(&given.replace('/', "_"));
    let (mut confidence, mut right) = (Vec::new(), Vec::new());
    for i in 0..cells.n_cells() {
        if let (Some(given), Some(best), Some(u)) = (&given[i], best.text(i), uncertainty.number(i))
            && is_known(given)
        {
            confidence.push((1.0 - u).clamp(0.0, 1.0));
            right.push(*given == best);
        }
    }
    if confidence.is_empty() {
        return Ok(None);
    }
    let curve = transfer::reliability(&confidence, &right, RELIABILITY_BINS)?;
    let bins = curve.bins.iter().filter(|b| b.n_cells > 0).map(|b| ReliabilityBin {
        confidence: b.confidence,
        accuracy: b.accuracy,
        cells: b.n_cells as u64,
    });
    let (title, ece) = (format!("{label}, against {truth}"), Some(curve.expected_error));
    Ok(Some(Reliability { title, bins: bins.collect(), ece }))
}

/// The `top` heaviest genes of a program; those that are not in its gene set are marked.
pub fn gene_weights(program: &ProgramSummary, top: usize) -> Vec<GeneWeight> {
    let genes = program.genes.iter().take(top).map(|g| GeneWeight {
        name: g.name.clone(),
        weight: f64::from(g.weight),
        added: program.set_size > 0 && !g.in_set,
    });
    genes.collect()
}

/// Standardised mean scores of programs in groups, and how often a cell of the group scores higher than one outside.
///
/// Programs: those named, or the `top` of each group by that share.
///
/// # Errors
/// Of [`auroc`].
pub fn grid(e: &Embedding, column: &str, groups: &Coded, programs: &[String], top: usize) -> Result<DotPlot, Error> {
    let n_groups = groups.levels.len();
    let inside: Vec<Vec<bool>> =
        (0..n_groups).map(|g| groups.codes.iter().map(|&c| c as usize == g).collect()).collect();
    let shares_of = |scores: &[f64]| -> Result<Vec<f64>, Error> {
        // One group has no outside.
        if n_groups < 2 {
            return Ok(vec![0.5; n_groups]);
        }
        inside.iter().map(|own| Ok(auroc(scores, own)?)).collect()
    };
    let scores_of = |j: usize| -> Vec<f64> { e.score(j).into_iter().map(f64::from).collect() };
    let mut all: Vec<(usize, Vec<f64>)> = Vec::new();
    let wanted: Vec<usize> = if programs.is_empty() {
        (0..e.names.len()).filter(|&j| e.active[j]).collect()
    } else {
        programs.iter().filter_map(|p| e.names.iter().position(|n| n == p)).collect()
    };
    for j in wanted {
        all.push((j, shares_of(&scores_of(j))?));
    }
    if programs.is_empty() {
        let mut kept: Vec<usize> = Vec::new();
        for g in 0..n_groups {
            let mut order: Vec<usize> = (0..all.len()).collect();
            order.sort_by(|&a, &b| all[b].1[g].total_cmp(&all[a].1[g]));
            kept.extend(order.into_iter().filter(|at| !kept.contains(at)).take(top).collect::<Vec<_>>());
        }
        all = kept.into_iter().map(|at| all[at].clone()).collect();
    }
    let mut values = Vec::new();
    for &(j, _) in &all {
        let scores = scores_of(j);
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let sd = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n).sqrt();
        for own in &inside {
            let members = own.iter().filter(|o| **o).count() as f64;
            let sum: f64 = scores.iter().zip(own).filter(|(_, o)| **o).map(|(s, _)| s - mean).sum();
            values.push(if sd > 0.0 { sum / members / sd } else { 0.0 });
        }
    }
    let colors = Heatmap {
        title: format!("Programs by {column}"),
        rows: all.iter().map(|&(j, _)| e.names[j].clone()).collect(),
        columns: groups.levels.clone(),
        values,
        value: "mean score, in sd".into(),
        diverging: true,
    };
    let shares = all.into_iter().flat_map(|(_, s)| s).collect();
    Ok(DotPlot { colors, shares, share: "P(higher)".into() })
}

/// The papers' table of metrics: the best embedding first, means before metrics. `None` without a value.
pub fn metrics(title: &str, found: &Evaluated) -> Option<Metrics> {
    let group = |kind| match kind {
        ColumnKind::Mean => MetricGroup::Score,
        ColumnKind::Integration { category: Category::Biology, .. } => MetricGroup::Bio,
        ColumnKind::Integration { .. } => MetricGroup::Batch,
        ColumnKind::Mapping => MetricGroup::Query,
    };
    let order = found.ranked();
    let mut columns = found.columns();
    columns.retain(|c| c.values.iter().any(Option::is_some));
    columns.sort_by_key(|c| group(c.kind) as u8);
    if columns.is_empty() {
        return None;
    }
    let value = |c: &ScoreColumn, i: usize| c.values[i].unwrap_or(f64::NAN).clamp(0.0, 1.0);
    Some(Metrics {
        title: title.to_owned(),
        methods: order.iter().map(|&i| found.scores.rows[i].embedding.clone()).collect(),
        metrics: columns.iter().map(|c| Metric { name: c.name.to_owned(), group: group(c.kind) }).collect(),
        values: order.iter().flat_map(|&i| columns.iter().map(move |c| value(c, i))).collect(),
    })
}

/// Coordinate `j` of cells that stand in several parts, one below the other.
pub fn coordinate(parts: &[&Dense], j: usize) -> Vec<f32> {
    parts.iter().flat_map(|m| m.column(j)).collect()
}
