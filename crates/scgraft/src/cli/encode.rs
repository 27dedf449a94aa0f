//! Where an embedding comes from: a file that has one, or a model and the cells it is to encode.

use std::path::Path;

use anyhow::{Result, bail};
use scgraft::cells::{Cells, PrepareOptions, Prepared};
use scgraft::io::{ReadOptions, Select};
use scgraft::models::Model;
use scgraft::{Embedding, pipeline, slots};

use super::input::{self, Condition, Values};
use super::{files, map};

/// The embedding `key` of a file, with `obs`.
pub(crate) fn stored(path: &Path, key: &str) -> Result<(Cells, Embedding)> {
    files::check_input(path)?;
    let options = ReadOptions { obsm: Select::All, uns: Select::All, ..ReadOptions::tables() };
    let cells = scgraft::io::read_h5ad(path, &options)?;
    let embedding = slots::embedding(&cells, key).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
    Ok((cells, embedding))
}

/// Cells encoded by a model that knows their conditions.
pub(crate) fn encoded(
    model: &Model,
    path: &Path,
    values: &Values,
    condition: &Condition,
) -> Result<(Cells, Embedding)> {
    let cells =
        files::read(path, &ReadOptions { obsp: Select::Nothing, varp: Select::Nothing, ..ReadOptions::default() })?;
    let source = match condition.source() {
        Some(source) => source,
        None => map::from_reference(model, &cells, path)?,
    };
    let options = PrepareOptions { kind: model.values(), ..input::prepare(values, source) };
    let prepared = Prepared::query(&cells, &model.header.known(), &options)?;
    input::warn(&prepared);
    let new = &prepared.condition.levels[prepared.n_known_conditions..];
    if !new.is_empty() {
        bail!(
            "{}: the model does not know the condition(s) {}; it knows {}. Map these cells with `scgraft map`",
            path.display(),
            new.join(", "),
            model.header.conditions.join(", ")
        );
    }
    let embedding = pipeline::embed(model, &prepared)?;
    Ok((cells, embedding))
}
