//! Protein counts, aligned with the model's proteins.

use std::collections::{HashMap, HashSet};

use scgraft_numeric::names::nearest_first;

use super::{Known, PrepareReport, ProteinSource, Proteins, Warning};
use crate::error::shortened;
use crate::{Array, Cells, CellsError, Coded, Dense, Hint, Setting, Uns};

/// Takes the proteins asked for, in the model's order where it has one.
pub(super) fn prepare(
    cells: &Cells,
    known: Option<&Known>,
    condition: &Coded,
    source: Option<&ProteinSource>,
    report: &mut PrepareReport,
) -> Result<Option<Proteins>, CellsError> {
    let model: &[String] = known.map_or(&[], |k| &k.proteins);
    let (names, counts) = match source {
        None if model.is_empty() => return Ok(None),
        None => (model.to_vec(), Dense::zeros(cells.n_cells(), model.len())),
        Some(source) => {
            let (names, mut counts) = read(cells, source)?;
            not_measured(&mut counts, &names, cells, condition, source)?;
            if model.is_empty() {
                (names, counts)
            } else {
                (model.to_vec(), align(model, &names, &counts, cells, source, report)?)
            }
        }
    };
    let present = in_conditions(&counts, condition, |count| count > 0.0);
    Ok(Some(Proteins { names, counts, present }))
}

/// Which proteins have such a count in a cell, by condition.
fn in_conditions(counts: &Dense, condition: &Coded, is: impl Fn(f32) -> bool) -> Vec<Vec<bool>> {
    let mut found = vec![vec![false; counts.n_cols]; condition.levels.len()];
    for (i, &c) in condition.codes.iter().enumerate() {
        found[c as usize].iter_mut().zip(counts.row(i)).for_each(|(found, &count)| *found |= is(count));
    }
    found
}

/// A protein without a value in any cell of a condition was not measured there, and is 0. One that some cells of a
/// condition have and others lack is refused.
fn not_measured(
    counts: &mut Dense,
    names: &[String],
    cells: &Cells,
    condition: &Coded,
    source: &ProteinSource,
) -> Result<(), CellsError> {
    if !counts.values.iter().any(|v| v.is_nan()) {
        return Ok(());
    }
    let measured = in_conditions(counts, condition, |count| !count.is_nan());
    let n_cols = counts.n_cols;
    for (at, value) in counts.values.iter_mut().enumerate().filter(|(_, v)| v.is_nan()) {
        let (i, j) = (at / n_cols, at % n_cols);
        let c = condition.codes[i] as usize;
        if measured[c][j] {
            return Err(CellsError::PartlyMeasured {
                slot: format!("obsm `{}`", source.obsm),
                protein: names[j].clone(),
                condition: condition.levels[c].clone(),
                cell: cells.obs.index[i].clone(),
            });
        }
        *value = 0.0;
    }
    Ok(())
}

/// The proteins of the model among those found; 0 where one is not. Where none is found though some differ by a trifle, that
/// is an error.
fn align(
    model: &[String],
    names: &[String],
    counts: &Dense,
    cells: &Cells,
    source: &ProteinSource,
    report: &mut PrepareReport,
) -> Result<Dense, CellsError> {
    let position: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let missing: Vec<String> = model.iter().filter(|n| !position.contains_key(n.as_str())).cloned().collect();
    if !missing.is_empty() {
        let none = missing.len() == model.len();
        let hint = if none { unnamed(model, cells, source) } else { Hint::default() };
        let alike = alike(&missing, names);
        if none && !alike.is_empty() {
            let slot = format!("obsm `{}`", source.obsm);
            return Err(CellsError::ProteinNames { slot, n: model.len(), alike });
        }
        report.warnings.push(Warning::MissingProteins { n: missing.len(), names: missing, alike, hint });
    }
    let known: HashSet<&str> = model.iter().map(String::as_str).collect();
    let extra: Vec<String> = names.iter().filter(|n| !known.contains(n.as_str())).cloned().collect();
    if !extra.is_empty() {
        report.warnings.push(Warning::ExtraProteins { n: extra.len(), names: extra });
    }
    let mut out = Dense::zeros(counts.n_rows, model.len());
    for (j, source) in model.iter().enumerate().filter_map(|(j, n)| position.get(n.as_str()).map(|&s| (j, s))) {
        for i in 0..counts.n_rows {
            out.row_mut(i)[j] = counts.row(i)[source];
        }
    }
    Ok(out)
}

/// Names that mean a protein of the model but for a trifle, in words; empty where there are none.
fn alike(wanted: &[String], names: &[String]) -> String {
    let mut by_core: HashMap<String, &str> = names.iter().rev().map(|n| (core(n), n.as_str())).collect();
    by_core.remove("");
    let pair = |w: &String| Some(format!("{}` for `{w}", by_core.get(&core(w))?));
    let pairs: Vec<String> = wanted.iter().filter_map(pair).collect();
    shortened(&pairs, pairs.len())
}

/// A protein's name without case, punctuation and what catalogues, programs and modalities add to it.
fn core(name: &str) -> String {
    const ADDED: [&str; 7] = ["adt", "anti", "antibody", "human", "mouse", "prot", "protein"];
    let name = name.to_lowercase();
    let words = name.trim_end_matches("-1").split(|c: char| !c.is_alphanumeric());
    words.filter(|w| !ADDED.contains(w) && !w.starts_with("totalseq")).collect()
}

/// What to do where none of a model's proteins is found since the columns have no names.
fn unnamed(model: &[String], cells: &Cells, source: &ProteinSource) -> Hint {
    if source.names.is_some() || matches!(cells.obsm.get(&source.obsm), None | Some(Array::Frame(_))) {
        return Hint::default();
    }
    let what = format!("The columns of obsm `{}` have no names", source.obsm);
    let theirs = |list: &Uns| matches!(list, Uns::Texts(texts) if texts.iter().any(|name| model.contains(name)));
    match cells.uns.iter().find(|(_, list)| theirs(list)) {
        Some((key, _)) => {
            let told = format!("{what}; uns `{key}` has names of the model's proteins: choose it");
            Hint::setting(told, Setting::to("protein_names", key))
        }
        None => {
            let told = format!("{what}: store a table with the proteins' names there, or name a list of them in uns");
            Hint::setting(told, Setting::of("protein_names"))
        }
    }
}

/// Reads names and counts, and checks that these are counts.
fn read(cells: &Cells, source: &ProteinSource) -> Result<(Vec<String>, Dense), CellsError> {
    let slot = format!("obsm `{}`", source.obsm);
    let array = cells.obsm.get(&source.obsm).ok_or_else(|| {
        let available: Vec<&str> = cells.obsm.keys().map(String::as_str).collect();
        CellsError::MissingColumn {
            table: "obsm".into(),
            name: source.obsm.clone(),
            available: nearest_first(&source.obsm, &available),
        }
    })?;
    let (mut names, counts) = match array {
        Array::Dense(m) => (None, m.clone()),
        Array::Sparse(m) => (None, m.to_dense()),
        Array::Frame(frame) => {
            let names: Vec<String> = frame.columns.iter().map(|(n, _)| n.clone()).collect();
            let mut counts = Dense::zeros(frame.len(), names.len());
            for (j, (_, column)) in frame.columns.iter().enumerate() {
                for i in 0..frame.len() {
                    counts.row_mut(i)[j] = column.number(i).map_or(f32::NAN, |v| v as f32);
                }
            }
            (Some(names), counts)
        }
    };
    if let Some(key) = &source.names {
        names = Some(match cells.uns.get(key) {
            Some(Uns::Texts(texts)) => texts.clone(),
            _ => {
                let available = cells.uns.keys().cloned().collect();
                let slot = format!("list of protein names uns `{key}`");
                return Err(CellsError::MissingSlot { slot, available, hint: Hint::default() });
            }
        });
    }
    let names = names.unwrap_or_else(|| (0..counts.n_cols).map(|j| format!("protein_{j}")).collect());
    let expected = (cells.n_cells(), names.len());
    if (counts.n_rows, counts.n_cols) != expected {
        return Err(CellsError::Shape { slot, expected, found: (counts.n_rows, counts.n_cols) });
    }
    // NaN says that nothing was measured.
    let bad = |v: &f32| v.is_infinite() || *v < 0.0 || (!v.is_nan() && v.fract() != 0.0);
    if let Some(first) = counts.values.iter().position(bad) {
        let value = counts.values[first];
        let cell = cells.obs.index[first / counts.n_cols].clone();
        let gene = names[first % counts.n_cols].clone();
        let n = counts.values.iter().filter(|v| bad(v)).count();
        let n_stored = counts.values.len();
        let remedy = Box::new(Hint::words("give raw protein counts, with no normalisation"));
        return Err(CellsError::NotCounts { slot, cell, gene, value, n, n_stored, remedy });
    }
    Ok((names, counts))
}
