//! Files: checked before the work begins, written whole.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use scgraft::cells::Cells;
use scgraft::io::{AtomicFile, ReadOptions, WriteOptions, read_cells, read_h5ad, write_h5ad};

use super::stop;

/// Refuses an output that could not be written, before hours are spent on what should go there.
pub(crate) fn check_output(path: &Path, inputs: &[&Path]) -> Result<()> {
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if let Some(input) = inputs.iter().find(|i| same(path, i)) {
        bail!("{}: the output would replace the input {}; give it another name", path.display(), input.display());
    }
    // Dropped at once: this only tries whether a file can be made there.
    AtomicFile::create(path).context("nothing can be written there")?;
    Ok(())
}

/// Refuses an input that is not there.
pub(crate) fn check_input(path: &Path) -> Result<()> {
    if !path.exists() {
        bail!("{}: there is no such file", path.display());
    }
    Ok(())
}

/// Reads cells of any format.
pub(crate) fn read(path: &Path, options: &ReadOptions) -> Result<Cells> {
    stop::check()?;
    tracing::info!("reading {}", path.display());
    let cells = read_cells(path, options)?;
    tracing::info!("{} cells × {} genes", cells.n_cells(), cells.n_genes());
    stop::check()?;
    Ok(cells)
}

/// Reads an h5ad that is to be written again with more in it.
pub(crate) fn read_own(path: &Path) -> Result<Cells> {
    stop::check()?;
    Ok(read_h5ad(path, &ReadOptions::default())?)
}

/// Writes an h5ad, whole or not at all.
pub(crate) fn write(path: &Path, cells: &Cells) -> Result<()> {
    stop::check()?;
    // Old versions of anndata cannot read a file with a `None` in it, but a user's own is kept.
    write_h5ad(path, cells, &WriteOptions::default())?;
    tracing::info!("wrote {}", path.display());
    Ok(())
}

/// The name of a file without folders and endings, to name a graft.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_stem().map_or_else(|| "query".into(), |s| s.to_string_lossy().into_owned());
    name.strip_suffix(".h5ad").unwrap_or(&name).to_owned()
}

/// Paths as JSON.
pub(crate) fn shown(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|p| p.display().to_string()).collect()
}
