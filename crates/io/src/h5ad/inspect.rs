//! What an h5ad file holds, without loading it.

use std::fmt;
use std::path::PathBuf;

use super::frame::{Columns, frame_names, old_categories};
use super::matrix::{Stored, describe};
use crate::error::{Error, Result};
use crate::input::Input;
use crate::store::{self, Kind, Reader, Type};
use crate::zarr;

/// What an h5ad file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub file_size: u64,
    /// Number of cells.
    pub n_cells: usize,
    /// Number of genes.
    pub n_genes: usize,
    /// The main matrix.
    pub x: Option<MatrixInfo>,
    /// Columns of `obs`.
    pub obs: Vec<ColumnInfo>,
    /// Columns of `var`.
    pub var: Vec<ColumnInfo>,
    /// Other matrices and arrays, by slot and name: `("layers", "counts", …)`, also `("raw", "X", …)`.
    pub arrays: Vec<(String, String, ArrayInfo)>,
    /// Entries at the top of `uns`, each with what it is.
    pub uns: Vec<(String, String)>,
}

/// What a matrix is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixInfo {
    /// Number of rows.
    pub n_rows: usize,
    /// Number of columns.
    pub n_cols: usize,
    /// `CSR`, `CSC` or `dense`.
    pub form: &'static str,
    /// Type of the numbers: `float32`, `int64`, …
    pub dtype: String,
    /// Stored entries of a sparse matrix.
    pub nnz: Option<usize>,
}

/// What an array of a slot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArrayInfo {
    /// A matrix.
    Matrix(MatrixInfo),
    /// A table, with its columns.
    Table(Vec<ColumnInfo>),
    /// Something that is left out on reading, described.
    Other(String),
}

/// What a column of a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its type: `categorical`, `text`, `float64`, `nullable-integer`, …
    pub dtype: String,
    /// Number of categories, of a categorical column.
    pub levels: Option<usize>,
}

/// Lists what an h5ad file or a Zarr store of AnnData's holds: shapes, types, columns. No matrix is loaded.
///
/// # Errors
/// When the file cannot be opened, is no HDF5 file, is damaged, or has no `obs` or `var`.
///
/// # Example
/// ```no_run
/// println!("{}", scgraft_io::inspect_h5ad("pbmc.h5ad")?);
/// # Ok::<(), scgraft_io::Error>(())
/// ```
pub fn inspect_h5ad(from: impl Into<Input>) -> Result<Inspection> {
    let input = from.into();
    let r = &*store::open(&input)?;
    let path = input.name();
    let file_size = if path.is_dir() { zarr::size(path)? } else { input.open()?.len() };
    let (n_cells, obs) = table(r, "obs")?;
    let (n_genes, var) = table(r, "var")?;
    let x = if r.kind("X")?.is_some() { matrix(r, "X")? } else { None };
    let mut arrays = Vec::new();
    for slot in ["layers", "obsm", "varm", "obsp", "varp", "raw/varm"] {
        for name in names(r, slot)? {
            let info = array(r, &format!("{slot}/{name}"))?;
            arrays.push((slot.to_owned(), name, info));
        }
    }
    // Before anndata 0.7 the arrays of a slot were fields of one dataset.
    for slot in ["obsm", "varm"] {
        if r.kind(slot)? == Some(Kind::Dataset)
            && let Type::Record(fields) = r.info(slot)?.kind
        {
            arrays.extend(
                fields.into_iter().map(|(name, kind)| (slot.to_owned(), name, ArrayInfo::Other(kind.to_string()))),
            );
        }
    }
    for (slot, name) in [("raw/X", "X"), ("raw.X", "X")] {
        if r.kind(slot)?.is_some() {
            arrays.push(("raw".to_owned(), name.to_owned(), array(r, slot)?));
        }
    }
    let mut uns = Vec::new();
    for name in names(r, "uns")? {
        let at = format!("uns/{name}");
        let what = match r.attrs(&at)?.text("encoding-type") {
            Some(encoding) if !matches!(encoding, "array" | "") => encoding.to_owned(),
            _ => match r.kind(&at)? {
                Some(Kind::Dataset) => {
                    let info = r.info(&at)?;
                    format!("{} {:?}", info.kind, info.shape)
                }
                _ => "dict".to_owned(),
            },
        };
        uns.push((name, what));
    }
    Ok(Inspection { path: path.to_owned(), file_size, n_cells, n_genes, x, obs, var, arrays, uns })
}

fn names(r: &dyn Reader, at: &str) -> Result<Vec<String>> {
    if r.kind(at)? == Some(Kind::Group) { r.children(at) } else { Ok(Vec::new()) }
}

fn table(r: &dyn Reader, at: &str) -> Result<(usize, Vec<ColumnInfo>)> {
    match r.kind(at)? {
        None => Err(Error::missing(r.path(), "slot", at, &r.children("")?)),
        Some(Kind::Group) => {
            let Columns { index, stored, names } = frame_names(r, at)?;
            let index_at = format!("{at}/{index}");
            let values_at =
                if r.kind(&index_at)? == Some(Kind::Group) { format!("{index_at}/values") } else { index_at };
            let n = r.info(&values_at)?.shape.first().copied().unwrap_or(0);
            let columns = stored.iter().zip(names).map(|(stored, name)| column(r, at, stored, name));
            Ok((n, columns.collect::<Result<_>>()?))
        }
        Some(Kind::Dataset) => {
            let info = r.info(at)?;
            let Type::Record(fields) = info.kind else {
                return Err(Error::content(r.path(), at, "a table", info.kind.to_string()));
            };
            let mut columns = Vec::new();
            for (name, kind) in fields.into_iter().filter(|(name, _)| name != "index" && name != "_index") {
                let levels = length(r, &old_categories(&name))?;
                let dtype = if levels.is_some() { "categorical".to_owned() } else { kind.to_string() };
                columns.push(ColumnInfo { name, dtype, levels });
            }
            Ok((info.shape.first().copied().unwrap_or(0), columns))
        }
    }
}

fn length(r: &dyn Reader, at: &str) -> Result<Option<usize>> {
    let at = if r.kind(at)? == Some(Kind::Group) { format!("{at}/values") } else { at.to_owned() };
    Ok(if r.kind(&at)? == Some(Kind::Dataset) { r.info(&at)?.shape.first().copied() } else { None })
}

fn column(r: &dyn Reader, table: &str, stored: &str, name: String) -> Result<ColumnInfo> {
    let at = format!("{table}/{stored}");
    let (dtype, levels) = match r.kind(&at)? {
        None => ("missing".to_owned(), None),
        Some(Kind::Group) => {
            let encoding = r.attrs(&at)?.text("encoding-type").unwrap_or("group").to_owned();
            (encoding, length(r, &format!("{at}/categories"))?)
        }
        Some(Kind::Dataset) => match length(r, &format!("{table}/__categories/{stored}"))? {
            Some(levels) => ("categorical".to_owned(), Some(levels)),
            None => (r.info(&at)?.kind.to_string(), None),
        },
    };
    Ok(ColumnInfo { name, dtype, levels })
}

fn matrix(r: &dyn Reader, at: &str) -> Result<Option<MatrixInfo>> {
    let Some((stored, n_rows, n_cols)) = describe(r, at)? else { return Ok(None) };
    let (form, info) = match stored {
        Stored::Csr => ("CSR", r.info(&format!("{at}/data"))?),
        Stored::Csc => ("CSC", r.info(&format!("{at}/data"))?),
        Stored::Dense => ("dense", r.info(at)?),
    };
    let nnz = (stored != Stored::Dense).then(|| info.shape.first().copied().unwrap_or(0));
    Ok(Some(MatrixInfo { n_rows, n_cols, form, dtype: info.kind.to_string(), nnz }))
}

fn array(r: &dyn Reader, at: &str) -> Result<ArrayInfo> {
    let encoding = r.attrs(at)?.text("encoding-type").unwrap_or("").to_owned();
    if encoding == "dataframe" {
        return Ok(ArrayInfo::Table(table(r, at)?.1));
    }
    Ok(match matrix(r, at)? {
        Some(info) => ArrayInfo::Matrix(info),
        None => ArrayInfo::Other(if encoding.is_empty() { "unknown".to_owned() } else { encoding }),
    })
}

impl fmt::Display for MatrixInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {} {} {}", self.n_rows, self.n_cols, self.form, self.dtype)?;
        if let Some(nnz) = self.nnz {
            let share = nnz as f64 / (self.n_rows as f64 * self.n_cols as f64).max(1.0);
            write!(f, ", {nnz} stored ({:.1} %)", 100.0 * share)?;
        }
        Ok(())
    }
}

impl fmt::Display for ColumnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.dtype)?;
        self.levels.map_or(Ok(()), |n| write!(f, ", {n} levels"))
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.file_size as f64 / 1e6;
        writeln!(f, "{}: {} cells × {} genes, {megabytes:.1} MB", self.path.display(), self.n_cells, self.n_genes)?;
        match &self.x {
            Some(x) => writeln!(f, "X: {x}")?,
            None => writeln!(f, "X: none")?,
        }
        for (name, columns) in [("obs", &self.obs), ("var", &self.var)] {
            writeln!(f, "{name}: {} columns", columns.len())?;
            columns.iter().try_for_each(|column| writeln!(f, "  {column}"))?;
        }
        for (slot, name, array) in &self.arrays {
            match array {
                ArrayInfo::Matrix(m) => writeln!(f, "{slot}/{name}: {m}")?,
                ArrayInfo::Table(columns) => writeln!(f, "{slot}/{name}: table of {} columns", columns.len())?,
                ArrayInfo::Other(what) => writeln!(f, "{slot}/{name}: {what}")?,
            }
        }
        self.uns.iter().try_for_each(|(name, what)| writeln!(f, "uns/{name}: {what}"))
    }
}
