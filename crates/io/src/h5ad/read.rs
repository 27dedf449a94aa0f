//! Reading an h5ad file, slot by slot.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use scgraft_cells::{Array, Cells, Csr, Dense, Matrix, Origin, Raw, Uns};

use super::frame::{chosen, old_categories, read_frame};
use super::matrix::{describe, read_matrix};
use super::options::{ReadOptions, Select};
use super::uns::read_uns;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::store::{self, Kind, Reader, Type, Values};

/// Everything this reader knows at the top of a file.
const SLOTS: [&str; 13] =
    ["X", "obs", "var", "layers", "obsm", "varm", "obsp", "varp", "uns", "raw", "raw.X", "raw.var", "raw.varm"];

/// Reads an `.h5ad` file written by any anndata from 0.5 to 0.13, or a folder that its `write_zarr` wrote (Zarr 2 or 3).
///
/// Matrices become `f32` (raw counts, or whatever the file holds: values are not changed); CSC
/// becomes CSR with sorted rows. What cannot be represented is left out with a warning through
/// `tracing` that names the file and the slot.
///
/// # Errors
/// When the file cannot be opened, is no HDF5 file, is damaged, is compressed with something other
/// than gzip, LZF, shuffle or scale-offset (Zarr: gzip, zlib, Zstandard, LZ4, Blosc), or when a slot that was asked for is missing or of the
/// wrong kind or shape.
///
/// # Example
/// ```no_run
/// use scgraft_io::{ReadOptions, read_h5ad};
/// let cells = read_h5ad("pbmc.h5ad", &ReadOptions::default())?;
/// assert_eq!(cells.n_cells(), cells.obs.len());
/// # Ok::<(), scgraft_io::Error>(())
/// ```
pub fn read_h5ad(from: impl Into<Input>, options: &ReadOptions) -> Result<Cells> {
    read_file(&*store::open(&from.into())?, options)
}

/// Reads an open h5ad file; cells of a whole file know where they come from.
pub(crate) fn read_file(r: &dyn Reader, options: &ReadOptions) -> Result<Cells> {
    let mut cells = read_anndata(r, "", options)?;
    r.left_out().tell(r.path());
    if *options == ReadOptions::default() {
        let absolute = |path| std::path::absolute(path).map_err(Error::io(r.path(), "find"));
        // A folder cannot be copied as a file is.
        let path = r.input().file().filter(|path| path.is_file()).map(absolute).transpose()?;
        let stamp = path.as_deref().map(stamp).transpose()?;
        cells.origin = Origin { stamp, path, left_out: r.left_out().slots(), lost: r.lost() };
    }
    Ok(cells)
}

/// What changes when a file does.
pub(crate) fn stamp(path: &Path) -> Result<(u64, SystemTime)> {
    let about = std::fs::metadata(path).map_err(Error::io(path, "open"))?;
    Ok((about.len(), about.modified().map_err(Error::io(path, "open"))?))
}

/// Whether a slot holds numbers, so that a matrix can be made of it.
fn is_numeric(r: &dyn Reader, at: &str) -> Result<bool> {
    let at = if r.kind(at)? == Some(Kind::Group) { format!("{at}/data") } else { at.to_owned() };
    if r.kind(&at)? != Some(Kind::Dataset) {
        return Ok(true);
    }
    Ok(matches!(r.info(&at)?.kind, Type::Float(2 | 4 | 8) | Type::Int(_) | Type::Uint(_) | Type::Bool))
}

/// Whether an entry can be read as a matrix; one that was not asked for by name is left out where it cannot.
fn readable(r: &dyn Reader, at: &str, select: &Select) -> Result<bool> {
    if *select == Select::All && !(describe(r, at)?.is_some() && is_numeric(r, at)?) {
        r.leave_out(at, "not a matrix of numbers");
        return Ok(false);
    }
    Ok(true)
}

/// Reads the AnnData at `at`, which is the whole file for h5ad and a modality for h5mu.
pub(crate) fn read_anndata(r: &dyn Reader, at: &str, options: &ReadOptions) -> Result<Cells> {
    let slot = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
    let names = r.children(at)?;
    for needed in ["obs", "var"] {
        if !names.iter().any(|n| n == needed) {
            return Err(Error::Missing {
                path: r.path().to_owned(),
                what: "slot".to_owned(),
                name: slot(needed),
                available: format!("this is no h5ad file, it holds {names:?}"),
            });
        }
    }
    for unknown in names.iter().filter(|n| !SLOTS.contains(&n.as_str())) {
        r.leave_out(&slot(unknown), "not a slot of AnnData");
    }
    let var = read_frame(r, &slot("var"), &options.var, None)?;
    let (obs, rows) = match &options.rows {
        None => (read_frame(r, &slot("obs"), &options.obs, None)?, None),
        Some(rows) => {
            let obs = read_frame(r, &slot("obs"), &options.obs, Some(rows.clone()))?;
            if rows.start > rows.end || obs.len() != rows.len() {
                let found = format!("rows {} to {} asked for", rows.start, rows.end);
                return Err(Error::content(r.path(), slot("obs"), "a range of rows within the table", found));
            }
            (obs, Some(rows.clone()))
        }
    };
    let (n_cells, n_genes) = (obs.len(), var.len());
    let mut cells = Cells::empty(obs, var);
    let x_at = slot("X");
    if options.x && r.kind(&x_at)?.is_some() && r.attrs(&x_at)?.text("encoding-type") != Some("null") {
        cells.x = Some(matrix_of(r, &x_at, n_cells, Some(n_genes), rows.clone())?);
    }
    cells.layers = matrices(r, &slot("layers"), &options.layers, (n_cells, Some(n_genes)), rows.clone())?;
    cells.obsm = arrays(r, &slot("obsm"), &options.obsm, n_cells, rows.clone())?;
    cells.varm = arrays(r, &slot("varm"), &options.varm, n_genes, None)?;
    cells.obsp = squares(r, &slot("obsp"), &options.obsp, n_cells, rows.clone())?;
    cells.varp = squares(r, &slot("varp"), &options.varp, n_genes, None)?;
    cells.uns = read_all_uns(r, &slot("uns"), &options.uns, &cells)?;
    if options.raw {
        cells.raw = read_raw(r, at, n_cells, rows)?;
    }
    Ok(cells)
}

/// The entries of a slot that were asked for.
fn entries(r: &dyn Reader, at: &str, select: &Select) -> Result<Vec<String>> {
    let names = if r.kind(at)? == Some(Kind::Group) { r.children(at)? } else { Vec::new() };
    chosen(r, at, select, &names)
}

fn matrix_of(
    r: &dyn Reader,
    at: &str,
    n_rows: usize,
    n_cols: Option<usize>,
    rows: Option<Range<usize>>,
) -> Result<Matrix> {
    if let Some((_, _, columns)) = describe(r, at)?
        && let Some(n_cols) = n_cols.filter(|&n| n != columns)
    {
        return Err(Error::content(r.path(), at, format!("{n_cols} columns, one a gene"), columns.to_string()));
    }
    let matrix = read_matrix(r, at, rows)?;
    if matrix.shape().0 != n_rows {
        return Err(Error::content(r.path(), at, format!("{n_rows} rows, one a cell"), matrix.shape().0.to_string()));
    }
    Ok(matrix)
}

/// The matrices of a slot that were asked for, of so many rows and columns.
fn matrices(
    r: &dyn Reader,
    at: &str,
    select: &Select,
    (n_rows, n_cols): (usize, Option<usize>),
    rows: Option<Range<usize>>,
) -> Result<BTreeMap<String, Matrix>> {
    let mut out = BTreeMap::new();
    for name in entries(r, at, select)? {
        let entry = format!("{at}/{name}");
        if readable(r, &entry, select)? {
            out.insert(name, matrix_of(r, &entry, n_rows, n_cols, rows.clone())?);
        }
    }
    Ok(out)
}

pub(crate) fn arrays(
    r: &dyn Reader,
    at: &str,
    select: &Select,
    n_rows: usize,
    rows: Option<Range<usize>>,
) -> Result<BTreeMap<String, Array>> {
    let mut out = BTreeMap::new();
    if r.kind(at)? == Some(Kind::Dataset) {
        return old_arrays(r, at, select, n_rows, rows);
    }
    for name in entries(r, at, select)? {
        let entry = format!("{at}/{name}");
        let is_frame = r.attrs(&entry)?.text("encoding-type") == Some("dataframe");
        let array = if is_frame {
            Array::Frame(read_frame(r, &entry, &Select::All, rows.clone())?)
        } else if describe(r, &entry)?.is_some() && (*select != Select::All || is_numeric(r, &entry)?) {
            match read_matrix(r, &entry, rows.clone())? {
                Matrix::Dense(m) => Array::Dense(m),
                Matrix::Sparse(m) => Array::Sparse(m),
            }
        } else {
            r.leave_out(&entry, "not a matrix or a table");
            continue;
        };
        if array.n_rows() != n_rows {
            return Err(Error::content(r.path(), entry, format!("{n_rows} rows"), array.n_rows().to_string()));
        }
        out.insert(name, array);
    }
    Ok(out)
}

/// Before anndata 0.7 the arrays of a slot were fields of one dataset of records.
fn old_arrays(
    r: &dyn Reader,
    at: &str,
    select: &Select,
    n_rows: usize,
    rows: Option<Range<usize>>,
) -> Result<BTreeMap<String, Array>> {
    let Values::Record(fields) = r.values(at, rows)? else {
        return Err(Error::content(r.path(), at, "named arrays", "a plain dataset"));
    };
    let names: Vec<String> = fields.iter().map(|f| f.name.clone()).collect();
    let wanted = chosen(r, at, select, &names)?;
    let mut out = BTreeMap::new();
    for field in fields.into_iter().filter(|f| wanted.contains(&f.name)) {
        let values: Vec<f32> = match field.values {
            Values::Float(v) => v.into_iter().map(|v| v as f32).collect(),
            Values::Int(v) => v.into_iter().map(|v| v as f32).collect(),
            other => {
                let (slot, what) = (format!("{at}/{}", field.name), other.describe());
                r.leave_out(&slot, &format!("an array of {what}"));
                continue;
            }
        };
        let columns: usize = field.shape.iter().product();
        if values.len() != n_rows * columns {
            let found = format!("{} values", values.len());
            return Err(Error::content(r.path(), format!("{at}/{}", field.name), format!("{n_rows} rows"), found));
        }
        out.insert(field.name, Array::Dense(Dense::new(n_rows, columns, values)));
    }
    Ok(out)
}

pub(crate) fn squares(
    r: &dyn Reader,
    at: &str,
    select: &Select,
    n: usize,
    rows: Option<Range<usize>>,
) -> Result<BTreeMap<String, Csr>> {
    let columns: Option<Vec<_>> = rows.clone().map(|rows| rows.map(Some).collect());
    let square = |matrix: Matrix| match &columns {
        Some(columns) => matrix.to_csr().select_columns(columns),
        None => matrix.to_csr(),
    };
    let found = matrices(r, at, select, (n, None), rows)?;
    Ok(found.into_iter().map(|(name, matrix)| (name, square(matrix))).collect())
}

pub(crate) fn read_all_uns(r: &dyn Reader, at: &str, select: &Select, cells: &Cells) -> Result<BTreeMap<String, Uns>> {
    let mut out = BTreeMap::new();
    let mut count = 0;
    let old = matches!(r.kind("obs")?, Some(Kind::Dataset));
    for name in entries(r, at, select)? {
        let entry = format!("{at}/{name}");
        // These became the categories of a column.
        let spent = |f: &scgraft_cells::Frame| f.names().iter().any(|c| old_categories(c) == entry);
        if old && (spent(&cells.obs) || spent(&cells.var)) {
            continue;
        }
        if let Some(value) = read_uns(r, &entry, &mut count)? {
            out.insert(name, value);
        }
    }
    Ok(out)
}

pub(crate) fn read_raw(r: &dyn Reader, at: &str, n_cells: usize, rows: Option<Range<usize>>) -> Result<Option<Raw>> {
    let prefix = if at.is_empty() { String::new() } else { format!("{at}/") };
    // `raw/X` since anndata 0.7, `raw.X` before.
    for base in [format!("{prefix}raw/"), format!("{prefix}raw.")] {
        let (x_at, var_at, varm_at) = (format!("{base}X"), format!("{base}var"), format!("{base}varm"));
        if r.kind(&x_at)?.is_none() || r.kind(&var_at)?.is_none() {
            continue;
        }
        let var = read_frame(r, &var_at, &Select::All, None)?;
        let x = matrix_of(r, &x_at, n_cells, Some(var.len()), rows)?;
        let varm = arrays(r, &varm_at, &Select::All, var.len(), None)?;
        return Ok(Some(Raw { x, var, varm }));
    }
    Ok(None)
}
