//! Files: checked before the work begins, written whole.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use scgraft::cells::{Cells, Frame};
use scgraft::io::{AtomicFile, ReadOptions, WriteOptions, place, read_cells, read_h5ad, write_h5ad};

use super::stop;

/// Refuses outputs that could not be written, that would take each other's place, or that of an input, before hours are
/// spent on what should go there. A file that is read to be written again with more in it is an output, not an input.
pub(crate) fn check_outputs<'p>(outputs: impl IntoIterator<Item = &'p PathBuf>, inputs: &[&Path]) -> Result<()> {
    let mut places: HashMap<PathBuf, &Path> = HashMap::new();
    for path in outputs {
        if path.extension().is_some_and(|e| e == "zarr") {
            bail!("{}: Zarr stores are read, not written; end the name in .h5ad", path.display());
        }
        let place = place(path);
        if let Some(input) = inputs.iter().find(|i| is_in(&place, i)) {
            bail!("{}: the output would replace the input {}; give it another name", path.display(), input.display());
        }
        if let Some(other) = places.insert(place, path) {
            let (a, b) = (path.display(), other.display());
            bail!(
                "{a}: two outputs would be this file (also {b}), and the second would replace the first; give each a name of its own"
            );
        }
        // Dropped at once: this only tries whether a file can be made there.
        AtomicFile::create(path).context("nothing can be written there")?;
    }
    Ok(())
}

/// The same for a command that writes a file again with more in it, to `output`, and `more` besides: the file has to be there,
/// and is an input where it is not what is written.
pub(crate) fn check_update<'p>(
    own: &'p Path,
    output: Option<&'p PathBuf>,
    more: impl IntoIterator<Item = &'p PathBuf>,
    inputs: &[&'p Path],
) -> Result<()> {
    check_input(own)?;
    let mut inputs = inputs.to_vec();
    if output.is_none_or(|output| place(output) != place(own)) {
        inputs.push(own);
    }
    check_outputs(output.into_iter().chain(more), &inputs)
}

/// The same for one output.
pub(crate) fn check_output(path: &PathBuf, inputs: &[&Path]) -> Result<()> {
    check_outputs([path], inputs)
}

/// Whether a file is this input, also by another name of it, or in it where it is a folder.
fn is_in(file: &Path, input: &Path) -> bool {
    let input = place(input);
    if input.is_dir() { file.parent() == Some(&input) && file.exists() } else { file == input || same(file, &input) }
}

/// Whether two names are of one file: hard links, and letters of another case where those make no difference.
fn same(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let number = |path: &Path| std::fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
        number(one).is_some_and(|n| number(other) == Some(n))
    }
    #[cfg(not(unix))]
    {
        one.exists() && one.canonicalize().ok() == other.canonicalize().ok()
    }
}

/// Whether a file is a model (safetensors: the length of the header, then the header, which is JSON), not cells.
pub(crate) fn is_model(path: &Path) -> bool {
    let mut head = [0; 9];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
    read.is_ok() && head[8] == b'{'
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

/// Reads an h5ad that is to be written again with more in it, where it is.
pub(crate) fn read_own(path: &Path, written: bool) -> Result<Cells> {
    stop::check()?;
    let cells = read_h5ad(path, &ReadOptions::default())?;
    if written {
        can_keep(&cells, true)?;
    }
    Ok(cells)
}

/// Whether slots of an input that cannot be kept are left out.
static DROP: AtomicBool = AtomicBool::new(false);

/// Lets slots of inputs that cannot be kept be left out, for the rest of the run.
pub(crate) fn drop_unreadable() {
    DROP.store(true, Ordering::Relaxed);
}

/// Refuses, before the work, cells that are to be written again with slots that are sure to be lost.
/// `same`: they will be the same cells with the same genes.
pub(crate) fn can_keep(cells: &Cells, same: bool) -> Result<()> {
    if DROP.load(Ordering::Relaxed) {
        Ok(())
    } else {
        Ok(scgraft::io::can_keep(cells, same).map_err(scgraft::Error::from)?)
    }
}

/// Writes an h5ad, whole or not at all.
pub(crate) fn write(path: &Path, cells: &Cells) -> Result<()> {
    stop::check()?;
    let options = WriteOptions { drop_unreadable: DROP.load(Ordering::Relaxed), ..WriteOptions::default() };
    write_h5ad(path, cells, &options).map_err(scgraft::Error::from)?;
    wrote(path);
    Ok(())
}

/// Says that a file is written.
pub(crate) fn wrote(path: &Path) {
    tracing::info!("wrote {}", path.display());
}

/// Writes a table for people and spreadsheets, where one is wanted.
pub(crate) fn write_table(path: Option<&PathBuf>, table: &Frame) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    scgraft::io::write_table(path, table)?;
    wrote(path);
    Ok(())
}

/// The same of rows of text.
pub(crate) fn write_rows<S: AsRef<str>>(path: &Path, header: &[S], rows: Vec<Vec<String>>) -> Result<()> {
    scgraft::io::write_rows(path, header, rows)?;
    wrote(path);
    Ok(())
}

/// The name of a file without folders and endings, to name a graft.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_stem().map_or_else(|| "query".into(), |s| s.to_string_lossy().into_owned());
    name.strip_suffix(".h5ad").unwrap_or(&name).to_owned()
}

/// A table for a text file: the first column names the rows.
pub(crate) fn without_index(mut table: Frame) -> Frame {
    if !table.columns.is_empty() {
        let (name, column) = table.columns.remove(0);
        table.index = column.texts().into_iter().map(Option::unwrap_or_default).collect();
        table.index_name = Some(name);
    }
    table
}

/// Paths as JSON.
pub(crate) fn shown(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|p| p.display().to_string()).collect()
}
