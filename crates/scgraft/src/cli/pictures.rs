//! What `plot`, `report` and `demo` draw, made of what other steps computed.

use anyhow::Result;
use scgraft::Embedding;
use scgraft::analysis::umap::{UmapOptions, umap};
use scgraft::analysis::{knn, knn_self};
use scgraft::cells::{Cells, Column, Dense, Frame, Uns};
use scgraft::models::EpochRecord;
use scgraft::report::{BayesFactors, Coloring, LossCurve, ProgramBayesFactor, Training};
use scgraft::slots;

/// Neighbours of a picture.
const NEIGHBOURS: usize = 15;

/// A picture of the reference, and the query placed in it. Without a reference, a picture of the query.
pub(crate) fn layout(reference: Option<&Embedding>, query: &Embedding, seed: u64) -> Result<(Option<Dense>, Dense)> {
    let options = UmapOptions { seed, ..UmapOptions::default() };
    let picture = |e: &Embedding| {
        let k = NEIGHBOURS.min(e.mean.n_rows);
        umap(&e.mean, &knn_self(&e.mean, k, true)?, &options)
    };
    let shared = reference.and_then(|r| query.select(&r.names).map(|q| (r, q)));
    let Some((reference, shared)) = shared else {
        return Ok((None, picture(query)?.embedding));
    };
    let drawn = picture(reference)?;
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
        let title = format!("{group} versus {comparison}, {within}");
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

/// One column of a picture's coordinates.
pub(crate) fn coordinate(parts: &[&Dense], j: usize) -> Vec<f32> {
    parts.iter().flat_map(|m| m.column(j)).collect()
}
