//! Matrices: CSR, CSC or dense, in the encodings of every version of anndata.

use std::ops::Range;

use scgraft_cells::{Csr, Dense, Matrix};

use crate::error::{Error, Result};
use crate::hdf5::Writer;
use crate::store::{Attr, Data, Kind, Reader};

/// Turning CSC into CSR takes memory for every row, whether it has entries or not: a damaged shape
/// must not take all there is.
const MOST_ROWS_BY_COLUMN: usize = 1 << 27;

/// How a matrix is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Csr,
    Csc,
    Dense,
}

/// Storage and shape of the matrix at `at`; `None` when it is no matrix.
pub(crate) fn describe(r: &dyn Reader, at: &str) -> Result<Option<(Stored, usize, usize)>> {
    match r.kind(at)? {
        None => Ok(None),
        Some(Kind::Dataset) => {
            let shape = r.info(at)?.shape;
            Ok(match shape[..] {
                // Before 0.7 a matrix of one gene was written as a list.
                [rows] => Some((Stored::Dense, rows, 1)),
                [rows, columns] => Some((Stored::Dense, rows, columns)),
                _ => None,
            })
        }
        Some(Kind::Group) => {
            let attrs = r.attrs(at)?;
            let stored = match attrs.text("encoding-type").or(attrs.text("h5sparse_format")) {
                Some("csr_matrix" | "csr") => Stored::Csr,
                Some("csc_matrix" | "csc") => Stored::Csc,
                _ => return Ok(None),
            };
            let shape = attrs.ints("shape").or(attrs.ints("h5sparse_shape"));
            let size = |i: usize| shape.and_then(|s| s.get(i)).and_then(|&n| usize::try_from(n).ok());
            match (size(0), size(1)) {
                (Some(rows), Some(columns)) => Ok(Some((stored, rows, columns))),
                _ => Err(Error::content(r.path(), at, "a `shape` attribute of two numbers", format!("{shape:?}"))),
            }
        }
    }
}

/// Reads a matrix, all of it or a range of rows.
pub(crate) fn read_matrix(r: &dyn Reader, at: &str, rows: Option<Range<usize>>) -> Result<Matrix> {
    let Some((stored, n_rows, n_cols)) = describe(r, at)? else {
        return Err(Error::content(r.path(), at, "a matrix (dense, CSR or CSC)", "something else"));
    };
    match stored {
        Stored::Csr => Ok(Matrix::Sparse(read_compressed(r, at, n_rows, n_cols, rows)?)),
        Stored::Csc => {
            if n_rows > MOST_ROWS_BY_COLUMN {
                let expected = format!("at most {MOST_ROWS_BY_COLUMN} rows in a matrix stored by column (CSC)");
                return Err(Error::content(r.path(), at, expected, n_rows.to_string()));
            }
            // Two numbers a row, whether it has entries or not.
            r.claim(at, n_rows as u64 * 16)?;
            // Columns of a matrix are rows of its transpose.
            let m = read_compressed(r, at, n_cols, n_rows, None)?.transpose();
            Ok(Matrix::Sparse(match rows {
                Some(rows) => m.select_rows(&rows.collect::<Vec<_>>()),
                None => m,
            }))
        }
        Stored::Dense => {
            let values = r.f32s(at, rows.clone())?;
            let n_rows = rows.map_or(n_rows, |r| r.len());
            if n_rows.checked_mul(n_cols) != Some(values.len()) {
                let found = format!("{} values", values.len());
                return Err(Error::content(r.path(), at, format!("{n_rows} rows of {n_cols} values"), found));
            }
            Ok(Matrix::Dense(Dense::new(n_rows, n_cols, values)))
        }
    }
}

/// Reads the three lists of a matrix stored by row.
pub(crate) fn read_compressed(
    r: &dyn Reader,
    at: &str,
    n_rows: usize,
    n_cols: usize,
    rows: Option<Range<usize>>,
) -> Result<Csr> {
    let rows = rows.unwrap_or(0..n_rows);
    let bad = |expected: &str, found: String| Error::content(r.path(), at, expected, found);
    if n_cols > u32::MAX as usize {
        return Err(bad("fewer than 2^32 columns", n_cols.to_string()));
    }
    let mut indptr = r.usizes(&format!("{at}/indptr"), Some(rows.start..rows.end + 1))?;
    if indptr.len() != rows.len() + 1 {
        return Err(bad("one row start for each row and one more", format!("{} for {n_rows} rows", indptr.len())));
    }
    if let Some(i) = indptr.windows(2).position(|w| w[1] < w[0]) {
        return Err(bad("row starts that increase", format!("{} after {}", indptr[i + 1], indptr[i])));
    }
    let start = indptr[0];
    if rows.start == 0 && start > 0 {
        return Err(bad("row starts from 0", format!("{start} first")));
    }
    let span = start..indptr[rows.len()];
    indptr.iter_mut().for_each(|p| *p -= start);
    let (data_at, indices_at) = (format!("{at}/data"), format!("{at}/indices"));
    let (values, indices) =
        rayon::join(|| r.f32s(&data_at, Some(span.clone())), || r.u32s(&indices_at, Some(span.clone())));
    let (values, indices) = (values?, indices?);
    if values.len() != span.len() || indices.len() != span.len() {
        let found = format!("{} values and {} indices", values.len(), indices.len());
        return Err(bad(&format!("{} entries, as the row starts say", span.len()), found));
    }
    if let Some(&out) = indices.iter().find(|&&i| i as usize >= n_cols) {
        return Err(bad(&format!("indices below {n_cols}"), out.to_string()));
    }
    Ok(sorted(Csr { n_rows: rows.len(), n_cols, indptr, indices, values }))
}

/// Sorts the entries of each row; entries at one place are added, as scipy takes them.
pub(crate) fn sorted(m: Csr) -> Csr {
    let increasing = |i: usize| m.row(i).0.windows(2).all(|w| w[0] < w[1]);
    if (0..m.n_rows).all(increasing) {
        return m;
    }
    let mut out = Csr { n_rows: m.n_rows, n_cols: m.n_cols, indptr: vec![0], indices: vec![], values: vec![] };
    let mut row: Vec<(u32, f32)> = Vec::new();
    for i in 0..m.n_rows {
        let (columns, values) = m.row(i);
        row.clear();
        row.extend(columns.iter().copied().zip(values.iter().copied()));
        row.sort_by_key(|&(column, _)| column);
        let from = out.indices.len();
        for &(column, value) in &row {
            if out.indices.len() > from && out.indices.last() == Some(&column) {
                if let Some(last) = out.values.last_mut() {
                    *last += value;
                }
            } else {
                out.indices.push(column);
                out.values.push(value);
            }
        }
        out.indptr.push(out.indices.len());
    }
    out
}

/// Writes a matrix in the form it has.
pub(crate) fn write_matrix<'a>(w: &mut impl Writer<'a>, at: &str, matrix: &'a Matrix) -> Result<()> {
    match matrix {
        Matrix::Sparse(m) => write_csr(w, at, m),
        Matrix::Dense(m) => write_dense(w, at, m),
    }
}

pub(crate) fn write_dense<'a>(w: &mut impl Writer<'a>, at: &str, m: &'a Dense) -> Result<()> {
    w.dataset(at, vec![m.n_rows, m.n_cols], Data::F32(&m.values), super::encoding("array", "0.2.0"))
}

pub(crate) fn write_csr<'a>(w: &mut impl Writer<'a>, at: &str, m: &'a Csr) -> Result<()> {
    let mut attrs = super::encoding("csr_matrix", "0.1.0");
    attrs.push(("shape", Attr::Ints(vec![m.n_rows as i64, m.n_cols as i64])));
    w.group(at, attrs)?;
    // scipy wants indices and row starts of one type.
    let wide = m.nnz() > i32::MAX as usize || m.n_cols > i32::MAX as usize;
    w.dataset(&format!("{at}/data"), vec![m.nnz()], Data::F32(&m.values), vec![])?;
    w.dataset(&format!("{at}/indices"), vec![m.nnz()], Data::Numbers32 { values: &m.indices, wide }, vec![])?;
    w.dataset(&format!("{at}/indptr"), vec![m.n_rows + 1], Data::Offsets { values: &m.indptr, wide }, vec![])
}
