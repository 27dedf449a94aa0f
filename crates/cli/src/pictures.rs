//! What `plot`, `report` and `demo` draw, made of what other steps computed.

use std::collections::HashSet;

use anyhow::Result;
use scgraft::Embedding;
use scgraft::analysis::metrics::query::QUERY_METRICS;
use scgraft::analysis::metrics::scores::{Category, METRICS};
use scgraft::analysis::transfer;
use scgraft::analysis::umap::{Umap, UmapOptions, umap};
use scgraft::analysis::{knn, knn_self};
use scgraft::cells::{Cells, Column, Dense, Frame, Uns};
use scgraft::models::EpochRecord;
use scgraft::report::{
    BayesFactors, ColorValues, Coloring, Confusion, LossCurve, Metric, MetricGroup, Metrics, ProgramBayesFactor,
    Reliability, ReliabilityBin, Training,
};
use scgraft::slots;

use super::evaluate::MEANS;
use super::label_map::Renamed;
use super::umap::stored;

/// Neighbours of a picture.
const NEIGHBOURS: usize = 15;
/// Bins of a reliability curve.
const RELIABILITY_BINS: usize = 10;

/// A picture of the reference, and the query placed in it. Without a reference, a picture of the query.
///
/// Pictures that `scgraft umap` stored are taken as they are: that of the reference, and of the query one that was made
/// in it (without a reference: any).
pub(crate) fn layout(
    reference: Option<(&Cells, &Embedding)>,
    (cells, query): (&Cells, &Embedding),
    seed: u64,
) -> Result<(Option<Dense>, Dense)> {
    let options = UmapOptions { seed, ..UmapOptions::default() };
    let picture = |e: &Embedding| {
        let k = NEIGHBOURS.min(e.mean.n_rows);
        umap(&e.mean, &knn_self(&e.mean, k, true)?, &options)
    };
    let own = stored(cells, slots::UMAP);
    let shared = reference.and_then(|(c, r)| query.select(&r.names).map(|q| (c, r, q)));
    let Some((reference_cells, reference, shared)) = shared else {
        return Ok((None, own.map_or_else(|| picture(query).map(|u| u.embedding), |(drawn, _)| Ok(drawn))?));
    };
    let drawn = match stored(reference_cells, slots::UMAP) {
        Some((drawn, _)) => {
            if let Some((placed, true)) = own {
                return Ok((Some(drawn), placed));
            }
            Umap::from_embedding(drawn, &options)?
        }
        None => picture(reference)?,
    };
    let near = knn(&reference.mean, &shared.mean, NEIGHBOURS.min(reference.mean.n_rows))?;
    let placed = drawn.transform(&near)?;
    Ok((Some(drawn.embedding), placed))
}

/// A column to colour cells by: categories, or numbers.
pub(crate) fn coloring(name: &str, column: &Column) -> Coloring {
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
pub(crate) fn joined(name: &str, parts: &[(Option<&Column>, usize)]) -> Coloring {
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
pub(crate) fn training(title: &str, history: &[EpochRecord]) -> Option<Training> {
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

/// The history in `uns["scgraft"]`, as records again.
pub(crate) fn stored_history(cells: &Cells) -> Vec<EpochRecord> {
    let Some(Uns::Map(notes)) = cells.uns.get(slots::NOTES) else { return Vec::new() };
    let Some(Uns::Frame(table)) = notes.get("history") else { return Vec::new() };
    let value = |name: &str, i: usize| table.column(name).and_then(|c| c.number(i));
    let terms = |prefix: &str, i: usize| -> Vec<(String, f64)> {
        let columns = table.columns.iter().filter_map(|(n, c)| n.strip_prefix(prefix).map(|n| (n, c)));
        columns.filter(|(n, _)| *n != "loss").filter_map(|(n, c)| c.number(i).map(|v| (n.to_owned(), v))).collect()
    };
    let record = |i: usize| EpochRecord {
        epoch: i,
        learning_rate: value("learning_rate", i).unwrap_or(0.0) as f32,
        kl_weight: value("kl_weight", i).unwrap_or(0.0) as f32,
        train: terms("train_", i),
        validation: terms("validation_", i),
        validation_loss: value("validation_loss", i),
    };
    (0..table.len()).map(record).collect()
}

/// The comparisons of a stored test, each ready to draw.
pub(crate) fn comparisons(table: &Frame) -> Vec<BayesFactors> {
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
        let program = ProgramBayesFactor { name: text("program", i), log_bf, se: number("log_bayes_factor_se", i) };
        match out.last_mut() {
            Some(last) if last.title == title => last.programs.push(program),
            _ => {
                out.push(BayesFactors { title, group, comparison, programs: vec![program], ..BayesFactors::default() })
            }
        }
    }
    out
}

/// Transferred against given labels; `None` where a column is missing or no cell has both.
pub(crate) fn confusion(cells: &Cells, label: &str, truth: &str, renamed: &Renamed) -> Option<Confusion> {
    let codes = |column: &Column| match coloring("", column).values {
        ColorValues::Categories { codes, levels } => Some((codes, levels)),
        ColorValues::Scores { .. } => None,
    };
    let given = cells.obs.column(truth)?;
    let given = if renamed.is_empty() { codes(given)? } else { codes(&Column::Text(renamed.texts(given)))? };
    let pred = codes(cells.obs.column(&format!("{label}_pred"))?)?;
    let table = Confusion::from_codes((&given.0, &given.1), (&pred.0, &pred.1)).ok()?;
    table.counts.iter().any(|&n| n > 0).then_some(table)
}

/// The labels that a transfer knows: those given to cells, and those with a probability.
pub(crate) fn known_labels(cells: &Cells, label: &str) -> HashSet<String> {
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

/// How often a transferred label is the given one, by confidence, over the cells whose given label the reference has;
/// `None` where there is none.
pub(crate) fn reliability(cells: &Cells, label: &str, truth: &str, renamed: &Renamed) -> Result<Option<Reliability>> {
    let column = |name: String| cells.obs.column(&name);
    let (Some(given), Some(best), Some(uncertainty)) =
        (column(truth.to_owned()), column(format!("{label}_best")), column(format!("{label}_uncertainty")))
    else {
        return Ok(None);
    };
    let known = known_labels(cells, label);
    let given = renamed.texts(given);
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

/// The papers' table of metrics, from what `evaluate` writes: the best first, scores before metrics. `None` without a
/// value.
pub(crate) fn metrics(title: &str, table: &Frame) -> Option<Metrics> {
    let column = |name: &str| table.column(name);
    let group = |name: &str| match METRICS.iter().find(|m| m.name == name).map(|m| m.category) {
        Some(Category::Biology) => Some(MetricGroup::Bio),
        Some(Category::Batch) => Some(MetricGroup::Batch),
        None if QUERY_METRICS.contains(&name) => Some(MetricGroup::Query),
        None if MEANS.contains(&name) => Some(MetricGroup::Score),
        None => None,
    };
    let overall = |i: usize| column("Overall").and_then(|c| c.number(i)).unwrap_or(f64::NEG_INFINITY);
    let mut order: Vec<usize> = (0..table.len()).collect();
    order.sort_by(|&a, &b| overall(b).total_cmp(&overall(a)));
    let mut names: Vec<(MetricGroup, &str)> =
        table.names().into_iter().filter_map(|name| group(name).map(|g| (g, name))).collect();
    names.retain(|(_, name)| column(name).is_some_and(|c| (0..c.len()).any(|i| c.number(i).is_some())));
    names.sort_by_key(|(g, _)| *g as u8);
    if names.is_empty() || order.is_empty() {
        return None;
    }
    let value = |i: usize, name: &str| column(name).and_then(|c| c.number(i)).unwrap_or(f64::NAN).clamp(0.0, 1.0);
    Some(Metrics {
        title: title.to_owned(),
        methods: order.iter().map(|&i| table.index[i].clone()).collect(),
        metrics: names.iter().map(|&(group, name)| Metric { name: name.to_owned(), group }).collect(),
        values: order.iter().flat_map(|&i| names.iter().map(move |(_, name)| value(i, name))).collect(),
    })
}

/// One column of a picture's coordinates.
pub(crate) fn coordinate(parts: &[&Dense], j: usize) -> Vec<f32> {
    parts.iter().flat_map(|m| m.column(j)).collect()
}
