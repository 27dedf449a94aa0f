//! Cells on their way into a model, and where an embedding comes from: a file that has one, or a model and the cells
//! it is to encode.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::bundle::unbundle;
use scgraft::cells::{Cells, PrepareOptions, Prepared, Slot};
use scgraft::io::{ReadOptions, Select};
use scgraft::models::Model;
use scgraft::query::prepare_known;
use scgraft::{Embedding, slots};

use super::input::{self, Condition, Measured, OrthologTable, Values};
use super::{files, remote};

/// A trained model, and cells of conditions that it knows.
#[derive(Args, Clone, Debug)]
pub(crate) struct Source {
    /// The model, as `train` or `map --save-model` wrote it, or its address
    pub model: PathBuf,
    /// Cells of conditions that the model knows
    pub cells: PathBuf,
    /// Adaptors to attach to the model first, files or addresses
    #[arg(long, value_name = "FILE")]
    pub attach: Vec<PathBuf>,
    #[command(flatten)]
    pub values: Values,
    #[command(flatten)]
    pub condition: Condition,
    #[command(flatten)]
    pub measured: Measured,
    /// The least share of the model's genes that the cells must have, 0 to 1 [default: 0.5, or what they were mapped with]
    #[arg(long, value_name = "X", help_heading = "Data")]
    pub min_overlap: Option<f64>,
    #[command(flatten)]
    pub orthologs: OrthologTable,
}

impl Source {
    /// The files that are read.
    pub fn inputs(&self) -> Vec<&Path> {
        let inputs = [&self.model, &self.cells].into_iter().chain(&self.attach).chain(&self.orthologs.orthologs);
        inputs.map(PathBuf::as_path).collect()
    }

    /// The model, the cells, and the cells as the model takes them. `again` reads every slot, to write it again: of the same
    /// cells and genes, or of others.
    pub fn read(&self, again: Option<bool>) -> Result<(Model, Cells, Prepared)> {
        files::check_input(&self.cells)?;
        [&self.model].into_iter().chain(&self.attach).try_for_each(|p| remote::check_input(p))?;
        let model = remote::attached(&self.model, &self.attach)?;
        let slots = if again.is_some() { ReadOptions::default() } else { ReadOptions::without_pairs() };
        let cells = files::read(&self.cells, &slots)?;
        again.map_or(Ok(()), |same| files::can_keep(&cells, same))?;
        let prepared = prepared(&model, &cells, &self.cells, &self.values, &self.condition, Some(self))?;
        Ok((model, cells, prepared))
    }
}

/// Cells as a model that knows their conditions takes them.
fn prepared(
    model: &Model,
    cells: &Cells,
    path: &Path,
    values: &Values,
    condition: &Condition,
    more: Option<&Source>,
) -> Result<Prepared> {
    let source = input::condition(condition, model, cells, path)?;
    let mut options = PrepareOptions { kind: model.values(), ..input::prepare(values, source) };
    if let Some(more) = more {
        more.measured.apply(&mut options);
        options.orthologs = more.orthologs.read()?;
        options.min_overlap = more.min_overlap.unwrap_or(options.min_overlap);
    }
    let prepared = prepare_known(model, cells, &options).with_context(|| path.display().to_string())?;
    Ok(prepared)
}

/// The embedding `key` of a file, with `obs`; or that of the cells that a model brings.
pub(crate) fn stored(path: &Path, key: &str) -> Result<(Cells, Embedding)> {
    remote::check_input(path)?;
    let path = &remote::file(path)?;
    if files::is_model(path) {
        let model = remote::model(path)?;
        return match unbundle(&model).with_context(|| path.display().to_string())? {
            Some((cells, embedding)) if key == slots::LATENT => Ok((cells, embedding)),
            Some(_) => bail!("{}: a model brings its own embedding only, not obsm[\"{key}\"]", path.display()),
            None => bail!(
                "{}: the model does not bring its cells; name the reference's h5ad, or make them part of it with \
                 `scgraft bundle`",
                path.display()
            ),
        };
    }
    let options = ReadOptions { obsm: Select::All, uns: Select::All, ..ReadOptions::tables() };
    let cells = scgraft::io::read_h5ad(path, &options)?;
    let embedding = slots::embedding(&cells, key).with_context(|| path.display().to_string())?;
    Ok((cells, embedding))
}

/// As [`stored`], with the counts of a file that has up to this many cells.
pub(crate) fn stored_with_counts(path: &Path, key: &str, most: usize) -> Result<(Cells, Embedding)> {
    let (mut cells, embedding) = stored(path, key)?;
    if cells.x.is_none() && cells.n_cells() <= most && !files::is_model(&remote::file(path)?) {
        let nothing = ReadOptions { x: true, layers: Select::All, raw: true, ..ReadOptions::nothing() };
        let counts = scgraft::io::read_h5ad(&remote::file(path)?, &nothing)?;
        (cells.x, cells.layers, cells.raw) = (counts.x, counts.layers, counts.raw);
    }
    Ok((cells, embedding))
}

/// Adds what the genes of the file weigh in each program; a bundle has none.
pub(crate) fn add_weights(path: &Path, cells: &mut Cells) -> Result<()> {
    let path = remote::file(path)?;
    if !files::is_model(&path) {
        cells.varm = scgraft::io::read_h5ad(&path, &ReadOptions { varm: Select::All, ..ReadOptions::nothing() })?.varm;
    }
    Ok(())
}

/// Cells encoded by a model that knows their conditions.
pub(crate) fn encoded(
    model: &Model,
    path: &Path,
    values: &Values,
    condition: &Condition,
) -> Result<(Cells, Embedding)> {
    let cells = files::read(path, &ReadOptions::without_pairs())?;
    let prepared = prepared(model, &cells, path, values, condition, None)?;
    let embedding = Embedding::of(model, &prepared)?;
    Ok((cells, embedding))
}

/// Every slot of a file, with the embedding; of a model the cells that it brings.
pub(crate) fn whole(path: &Path) -> Result<(Cells, Embedding)> {
    let local = remote::file(path)?;
    if files::is_model(&local) {
        return stored(path, slots::LATENT);
    }
    let cells = files::read(&local, &ReadOptions::without_pairs())?;
    let embedding = slots::embedding(&cells, slots::LATENT).with_context(|| path.display().to_string())?;
    Ok((cells, embedding))
}

/// Reads the expression of a slot into cells whose tables were read; a model brings none.
pub(crate) fn add_expression(path: &Path, slot: &Slot, cells: &mut Cells) -> Result<()> {
    let path = &remote::file(path)?;
    if files::is_model(path) {
        return Ok(());
    }
    let read = scgraft::io::read_h5ad(path, &ReadOptions::expression(slot))?;
    (cells.x, cells.layers, cells.raw) = (read.x, read.layers, read.raw);
    Ok(())
}
