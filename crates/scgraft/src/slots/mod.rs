//! Where results stand in an AnnData file.
//!
//! | slot | what |
//! |---|---|
//! | `obsm["X_scgraft"]`, `obsm["X_scgraft_var"]` | posterior means and variances, cells × programs |
//! | `obsm["X_scgraft_umap"]` | a picture of the means; also in `obsm["X_umap"]` where that was free |
//! | `uns["rank_genes_groups"]` | marker genes, as scanpy keeps them |
//! | `obsm["scgraft_proteins"]`, `…_total`, `…_foreground` | proteins without and with background, foreground probability |
//! | `varm["scgraft_weights"]` | decoder weights, genes of the file × programs |
//! | `obs["<label>_pred"]`, `obs["<label>_uncertainty"]` | transferred labels |
//! | `obs["<label>_best"]` | the most probable label, also where it is too uncertain |
//! | `obs["<label>_nested"]`, `obs["<label>_nested_column"]` | the finest certain label of nested columns |
//! | `obs["<number>_pred"]`, `obs["<number>_sd"]` | transferred numbers |
//! | `obs["<label>_novelty"]` | above 1: of a type that the reference does not have |
//! | `obs["<label>_majority"]`, `obs["<label>_majority_share"]` | the label that most cells of a cell's cluster got, and their share |
//! | `obs["<label>_verdict"]` | whether a label is right, wrong or unknown, where it was to be compared |
//! | `obs["<label>_set"]` | the labels that a cell may have, nearest first, joined by ` | ` |
//! | `obs["scgraft_distance"]`, `obs["scgraft_distance_quantile"]` | how far outside the reference |
//! | `uns["<column>_colors"]` | colours of the labels and clusters written, as scanpy keeps them |
//! | `uns["scgraft"]["columns"]` | names of columns of `obsm` that HDF5 cannot hold, as they are |
//! | `uns["scgraft"]` | names of the programs, directions (by `direction_rule`, and by every rule), settings, history, tests |

mod colors;
mod labels;
mod scanpy;

use std::collections::BTreeMap;

use scgraft_analysis::programs::{DirectionMethod, Directions};
use scgraft_cells::{Array, Cells, Column, ConditionSource, Dense, Frame, Uns};
use scgraft_io::hdf5_names;
use scgraft_models::{EpochRecord, Model, ProteinEstimates};
use serde_json::Value;

use crate::embedding::program_weights;
use crate::enrich::Enrichment;
use crate::layout::Layout;
use crate::query::{QUERY_CONDITION, THIN, genes_of};
use crate::reference::CONDITION_COLUMNS;
use crate::{Embedding, Error};

pub use colors::colors;
pub(crate) use colors::colors_of;
pub use labels::{probabilities_key, put_annotation, put_clusters, put_prediction};
pub use scanpy::{RANKED, SCANPY_UMAP, put_components, put_graph, put_markers, put_scanpy_layout};

/// `obsm`: posterior means.
pub const LATENT: &str = "X_scgraft";
/// `uns["scgraft"]`: what novelty takes of a reference's counts, of a model that brings its cells.
pub(crate) const LEARNED: &str = "novelty";
/// Added to the name of an embedding for its variances.
pub const VARIANCE: &str = "_var";
/// `obsm`: a picture of the means.
pub const UMAP: &str = "X_scgraft_umap";
/// `varm`: decoder weights.
pub const WEIGHTS: &str = "scgraft_weights";
/// `obsm`: proteins without background; `_total` with it, `_foreground` the probability of foreground.
pub const PROTEINS: &str = "scgraft_proteins";
/// `uns`: everything else.
pub const NOTES: &str = "scgraft";

/// The names of genes in a column of `var`; the row names without such a column.
pub fn gene_names(cells: &Cells, column: Option<&str>) -> Vec<String> {
    match column.and_then(|c| cells.var.column(c)) {
        Some(column) => column.texts().into_iter().map(Option::unwrap_or_default).collect(),
        None => cells.var.index.clone(),
    }
}

/// Puts an embedding and what it means into `cells`.
///
/// `gene_column` is the column of `var` with the model's gene names (`None`: the row names).
pub fn put_embedding(cells: &mut Cells, model: &Model, embedding: &Embedding, gene_column: Option<&str>) {
    cells.obsm.insert(LATENT.into(), Array::Dense(embedding.mean.clone()));
    if let Some(variance) = &embedding.variance {
        cells.obsm.insert(format!("{LATENT}{VARIANCE}"), Array::Dense(variance.clone()));
    }
    if let Some(weights) = program_weights(model) {
        let names = gene_names(cells, gene_column);
        let mut out = Dense::zeros(names.len(), weights.n_cols);
        for (row, gene) in genes_of(model, &names).into_iter().enumerate() {
            if let Some(gene) = gene {
                out.row_mut(row).copy_from_slice(weights.row(gene));
            }
        }
        cells.varm.insert(WEIGHTS.into(), Array::Dense(out));
    }
    let n = embedding.names.len();
    let notes = BTreeMap::from([
        ("version".to_owned(), Uns::Text(env!("CARGO_PKG_VERSION").into())),
        ("model".to_owned(), Uns::Text(model.entry.name.into())),
        ("reference".to_owned(), Uns::Text(model.reference_hash())),
        ("programs".to_owned(), Uns::Texts(embedding.names.clone())),
        ("direction".to_owned(), Uns::Ints(vec![n], embedding.direction.iter().map(|&d| i64::from(d)).collect())),
        ("direction_confidence".to_owned(), Uns::Floats(vec![n], embedding.confidence.clone())),
        ("active".to_owned(), Uns::Bools(vec![n], embedding.active.clone())),
        ("conditions".to_owned(), Uns::Texts(model.header.conditions.clone())),
        ("genes".to_owned(), Uns::Texts(model.header.genes.clone())),
        ("settings".to_owned(), to_uns(&model.network.config())),
        ("provenance".to_owned(), to_uns(&Value::Object(model.provenance.clone()))),
        ("history".to_owned(), Uns::Frame(history(model))),
    ]);
    let mut notes = notes;
    if !embedding.rules.is_empty() {
        notes.insert("direction_rule".to_owned(), Uns::Text(DirectionMethod::default().name().into()));
    }
    for (method, found) in &embedding.rules {
        let name = format!("direction_{}", method.name());
        notes.insert(format!("{name}_confidence"), Uns::Floats(vec![n], found.confidence.clone()));
        notes.insert(name, Uns::Ints(vec![n], found.sign.iter().map(|&d| i64::from(d)).collect()));
    }
    cells.uns.insert(NOTES.into(), Uns::Map(notes));
}

/// Training history as a table: one row an epoch, the terms of the loss as columns.
pub fn history(model: &Model) -> Frame {
    let records = &model.history;
    let mut out = Frame::new(records.iter().map(|r| r.epoch.to_string()).collect());
    out.index_name = Some("epoch".into());
    let real = |f: &dyn Fn(&EpochRecord) -> Option<f64>| {
        Column::Real(records.iter().map(|r| f(r).unwrap_or(f64::NAN)).collect())
    };
    out.set("learning_rate", real(&|r| Some(f64::from(r.learning_rate))));
    out.set("kl_weight", real(&|r| Some(f64::from(r.kl_weight))));
    let named = |terms: &[(String, f64)], name: &str| terms.iter().find(|t| t.0 == name).map(|t| t.1);
    let terms: Vec<String> = records.first().map(|r| r.train.iter().map(|t| t.0.clone()).collect()).unwrap_or_default();
    for term in terms {
        out.set(&format!("train_{term}"), real(&|r| named(&r.train, &term)));
        out.set(&format!("validation_{term}"), real(&|r| named(&r.validation, &term)));
    }
    out.set("validation_loss", real(&|r| r.validation_loss));
    out
}

/// The history in `uns["scgraft"]`, as records again.
pub fn stored_history(cells: &Cells) -> Vec<EpochRecord> {
    let Some(Uns::Frame(table)) = note(cells, "history") else { return Vec::new() };
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

/// The epoch of that history, from 0, whose state was kept.
pub fn kept_epoch(cells: &Cells) -> Option<usize> {
    scgraft_models::kept_epoch(|key| match provenance(cells, key) {
        Some(Uns::Int(epoch)) => Some(*epoch),
        _ => None,
    })
}

/// JSON as `uns` holds it. Nulls are left out (old versions of anndata cannot read them).
pub fn to_uns(value: &Value) -> Uns {
    match value {
        Value::Null => Uns::Null,
        Value::Bool(b) => Uns::Bool(*b),
        Value::Number(n) => n.as_i64().map_or_else(|| Uns::Float(n.as_f64().unwrap_or(f64::NAN)), Uns::Int),
        Value::String(s) => Uns::Text(s.clone()),
        Value::Array(list) => {
            if let Some(texts) = list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>() {
                Uns::Texts(texts)
            } else if let Some(ints) = list.iter().map(Value::as_i64).collect::<Option<Vec<_>>>() {
                Uns::Ints(vec![ints.len()], ints)
            } else if let Some(floats) = list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>() {
                Uns::Floats(vec![floats.len()], floats)
            } else {
                Uns::Text(value.to_string())
            }
        }
        Value::Object(map) => {
            let entries = map.iter().filter(|(_, v)| !v.is_null());
            let (names, values): (Vec<&String>, Vec<Uns>) = entries.map(|(k, v)| (k, to_uns(v))).unzip();
            Uns::Map(hdf5_names(&names).into_iter().zip(values).collect())
        }
    }
}

/// Reads an embedding back: `key` in `obsm`, its variances beside it, what the dimensions mean from `uns`.
///
/// For an embedding that scgraft did not write, dimensions are numbered and have no direction.
///
/// # Errors
/// No such entry, or one that is no plain matrix; a value that is not finite; notes that do not fit it.
pub fn embedding(cells: &Cells, key: &str) -> Result<Embedding, Error> {
    let dense = |name: &str| match cells.obsm.get(name) {
        Some(Array::Dense(m)) => Some(m.clone()),
        Some(Array::Sparse(m)) => Some(m.to_dense()),
        Some(Array::Frame(_)) | None => None,
    };
    let Some(mean) = dense(key) else {
        return Err(Error::NoEmbedding { key: key.to_owned(), there: cells.obsm.keys().cloned().collect() });
    };
    let n = mean.n_cols;
    if let Some(at) = mean.values.iter().position(|v| !v.is_finite()) {
        let (row, column) = (at / n, at % n);
        let name = cells.obs.index.get(row).map_or("", String::as_str);
        return Err(Error::Slot {
            slot: format!("obsm[\"{key}\"], row {row} (cell `{name}`), column {column}"),
            expected: "a finite number".into(),
            found: mean.values[at].to_string(),
            remedy: "drop that cell or repair its values".into(),
        });
    }
    let plain = Embedding {
        variance: dense(&format!("{key}{VARIANCE}")),
        names: (0..n).map(|j| format!("dimension_{j}")).collect(),
        direction: vec![0; n],
        confidence: vec![0.0; n],
        rules: Vec::new(),
        active: vec![true; n],
        thin: Vec::new(),
        mean,
    };
    let Some(Uns::Map(notes)) = cells.uns.get(NOTES).filter(|_| key == LATENT) else { return Ok(plain) };
    let mut out = plain;
    if let Some(Uns::Texts(names)) = notes.get("programs") {
        out.names = names.clone();
    }
    if let Some(Uns::Ints(_, signs)) = notes.get("direction") {
        out.direction = signs.iter().map(|&s| s.signum() as i8).collect();
    }
    if let Some(Uns::Floats(_, values)) = notes.get("direction_confidence") {
        out.confidence = values.clone();
    }
    for method in DirectionMethod::ALL {
        let name = format!("direction_{}", method.name());
        if let (Some(Uns::Ints(_, signs)), Some(Uns::Floats(_, confidence))) =
            (notes.get(&name), notes.get(&format!("{name}_confidence")))
            && signs.len() == n
            && confidence.len() == n
        {
            let sign = signs.iter().map(|&s| s.signum() as i8).collect();
            out.rules.push((method, Directions { sign, confidence: confidence.clone() }));
        }
    }
    if let Some(Uns::Bools(_, active)) = notes.get("active") {
        out.active = active.clone();
    }
    if let Some(Uns::Map(provenance)) = notes.get("provenance")
        && let Some(Uns::Map(thin)) = provenance.get(THIN)
        && let (Some(Uns::Texts(names)), Some(Uns::Floats(_, shares))) = (thin.get("names"), thin.get("shares"))
    {
        out.set_thin(names, shares);
    }
    for (what, found) in [
        ("programs", out.names.len()),
        ("direction", out.direction.len()),
        ("direction_confidence", out.confidence.len()),
        ("active", out.active.len()),
    ] {
        if found != n {
            return Err(Error::Slot {
                slot: format!("uns[\"{NOTES}\"][\"{what}\"]"),
                expected: format!("{n} entries, one for each column of obsm[\"{key}\"]"),
                found: found.to_string(),
                remedy: "map the query again".into(),
            });
        }
    }
    Ok(out)
}

/// Puts cells in the plane into `obsm[key]`, and how they were laid out into `uns`.
pub fn put_layout(cells: &mut Cells, key: &str, layout: Layout) {
    let mut notes = BTreeMap::from([("placed_in_reference".to_owned(), Uns::Bool(layout.placed))]);
    if let Some((min_dist, spread)) = layout.scale {
        notes.insert("min_dist".to_owned(), Uns::Float(min_dist));
        notes.insert("spread".to_owned(), Uns::Float(spread));
    }
    put_note(cells, &format!("umap {key}"), Uns::Map(notes));
    cells.obsm.insert(key.to_owned(), Array::Dense(layout.coordinates));
}

/// Cells in the plane, of `obsm[key]`; `None` where there is no matrix.
pub fn layout(cells: &Cells, key: &str) -> Option<Layout> {
    let Some(Array::Dense(coordinates)) = cells.obsm.get(key) else { return None };
    let noted = |name: &str| match note(cells, &format!("umap {key}")) {
        Some(Uns::Map(notes)) => notes.get(name),
        _ => None,
    };
    let number = |name: &str| if let Some(Uns::Float(v)) = noted(name) { Some(*v) } else { None };
    let placed = matches!(noted("placed_in_reference"), Some(Uns::Bool(true)));
    Some(Layout { coordinates: coordinates.clone(), scale: number("min_dist").zip(number("spread")), placed })
}

/// Puts values into `obsm` as a table with named columns. Where HDF5 cannot hold a name (`T/x`), the column is stored
/// under one like it (`T_x`), and `uns["scgraft"]["columns"][key]` has the names as they are.
fn put_table(cells: &mut Cells, key: &str, names: &[String], values: &Dense) {
    let mut table = Frame::new(cells.obs.index.clone());
    let stored = hdf5_names(names);
    for (j, name) in stored.iter().enumerate() {
        table.columns.push((name.clone(), Column::Real(values.column(j).into_iter().map(f64::from).collect())));
    }
    let mut renamed = match note(cells, "columns") {
        Some(Uns::Map(renamed)) => renamed.clone(),
        _ => BTreeMap::new(),
    };
    let changed = match stored == names {
        true => renamed.remove(key).is_some(),
        false => renamed.insert(key.to_owned(), Uns::Texts(names.to_vec())).is_none(),
    };
    if changed || stored != names {
        put_note(cells, "columns", Uns::Map(renamed));
    }
    cells.obsm.insert(key.to_owned(), Array::Frame(table));
}

/// The names of the columns of a table in `obsm`, as they are meant where they could not be stored so.
pub fn table_names(cells: &Cells, key: &str) -> Option<Vec<String>> {
    let Some(Array::Frame(table)) = cells.obsm.get(key) else { return None };
    if let Some(Uns::Map(renamed)) = note(cells, "columns")
        && let Some(Uns::Texts(names)) = renamed.get(key)
        && names.len() == table.columns.len()
    {
        return Some(names.clone());
    }
    Some(table.names().into_iter().map(str::to_owned).collect())
}

/// Puts proteins into `cells`: without background, with background, and how probable it is that they are foreground.
pub fn put_proteins(cells: &mut Cells, names: &[String], estimates: &ProteinEstimates) {
    let slots = [("", &estimates.foreground), ("_total", &estimates.total), ("_foreground", &estimates.probability)];
    for (ending, values) in slots {
        put_table(cells, &format!("{PROTEINS}{ending}"), names, values);
    }
}

/// Puts a note of any kind into `uns["scgraft"][name]`, replacing one of that name.
pub fn put_note(cells: &mut Cells, name: &str, value: Uns) {
    let notes = cells.uns.entry(NOTES.into()).or_insert_with(|| Uns::Map(BTreeMap::new()));
    if !matches!(notes, Uns::Map(_)) {
        *notes = Uns::Map(BTreeMap::new());
    }
    if let Uns::Map(notes) = notes {
        notes.insert(name.to_owned(), value);
    }
}

/// A note in `uns["scgraft"]`.
pub fn note<'a>(cells: &'a Cells, name: &str) -> Option<&'a Uns> {
    match cells.uns.get(NOTES) {
        Some(Uns::Map(notes)) => notes.get(name),
        _ => None,
    }
}

/// What a file with an embedding notes of how it came about.
pub fn provenance<'a>(cells: &'a Cells, entry: &str) -> Option<&'a Uns> {
    match note(cells, "provenance") {
        Some(Uns::Map(provenance)) => provenance.get(entry),
        _ => None,
    }
}

/// The settings in an entry of the provenance that a mapped file has; `None` where it has none.
pub(crate) fn noted_settings(cells: &Cells, entry: &str) -> Option<serde_json::Map<String, Value>> {
    let Some(Uns::Map(settings)) = provenance(cells, entry) else { return None };
    let plain = |value: &Uns| match value {
        Uns::Text(text) => Some(Value::from(text.clone())),
        Uns::Float(x) => Some(Value::from(*x)),
        Uns::Int(x) => Some(Value::from(*x)),
        _ => None,
    };
    Some(settings.iter().filter_map(|(name, value)| Some((name.clone(), plain(value)?))).collect())
}

/// Where the conditions of mapped cells are from, as their file tells it and where they still have it.
pub(crate) fn noted_condition(cells: &Cells) -> Option<ConditionSource> {
    let Some(Uns::Map(provenance)) = note(cells, "provenance") else { return None };
    match provenance.get(QUERY_CONDITION)? {
        Uns::Text(name) => Some(ConditionSource::Constant(name.clone())),
        Uns::Texts(columns) if !columns.is_empty() && columns.iter().all(|c| cells.obs.column(c).is_some()) => {
            Some(ConditionSource::Columns(columns.clone()))
        }
        _ => None,
    }
}

/// The columns of the condition that the reference was trained with, as a mapped file tells them; empty where it does not.
pub fn condition_columns(cells: &Cells) -> Vec<String> {
    match provenance(cells, CONDITION_COLUMNS) {
        Some(Uns::Texts(columns)) => columns.clone(),
        _ => Vec::new(),
    }
}

/// Puts the table of a program test into `uns["scgraft"]["tests"][name]`, replacing one of that name.
pub fn put_test(cells: &mut Cells, name: &str, found: &Enrichment) {
    let mut tests = match note(cells, "tests") {
        Some(Uns::Map(tests)) => tests.clone(),
        _ => BTreeMap::new(),
    };
    tests.insert(hdf5_names(&[name]).swap_remove(0), Uns::Frame(found.table()));
    put_note(cells, "tests", Uns::Map(tests));
}

/// The tests in `uns["scgraft"]["tests"]`, by name.
pub fn tests(cells: &Cells) -> Vec<(String, Frame)> {
    let Some(Uns::Map(tests)) = note(cells, "tests") else { return Vec::new() };
    tests.iter().filter_map(|(n, t)| if let Uns::Frame(f) = t { Some((n.clone(), f.clone())) } else { None }).collect()
}
