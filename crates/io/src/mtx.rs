//! Matrix Market coordinate files (<https://math.nist.gov/MatrixMarket/formats.html>), packed or not.

use std::path::Path;

use scgraft_cells::{Csr, Steps};

use crate::error::{Error, Result};
use crate::gzip::lines;

/// Entries after which it is said again how many were read.
const TOLD: usize = 1 << 16;

/// Reads a sparse matrix. Entries at one place are added; rows come out sorted.
///
/// `fits` says whether a matrix of so many rows and columns is expected: sizes are a file's word only, and memory is taken
/// for every row.
pub(crate) fn read_mtx(path: &Path, fits: impl Fn(usize, usize) -> Result<()>) -> Result<Csr> {
    let mut pattern = false;
    let mut size: Option<(usize, usize, usize)> = None;
    let mut steps = None;
    let (mut rows, mut columns, mut values) = (Vec::<u32>::new(), Vec::<u32>::new(), Vec::<f32>::new());
    lines(&path.into(), |line, text| {
        let bad = |expected: &str, found: &str| Error::Line {
            path: path.to_owned(),
            line,
            expected: expected.to_owned(),
            found: format!("`{}`", found.chars().take(60).collect::<String>()),
        };
        if line == 1 {
            pattern = is_pattern(text).ok_or_else(|| bad("`%%MatrixMarket matrix coordinate … general`", text))?;
            return Ok(true);
        }
        if text.starts_with('%') || text.trim().is_empty() {
            return Ok(true);
        }
        let mut fields = text.split_ascii_whitespace();
        let Some((n_rows, n_cols, nnz)) = size else {
            let mut number = || fields.next().and_then(|f| f.parse::<usize>().ok());
            let (Some(n_rows), Some(n_cols), Some(nnz)) = (number(), number(), number()) else {
                return Err(bad("numbers of rows, columns and entries", text));
            };
            if n_rows > u32::MAX as usize || n_cols > u32::MAX as usize {
                return Err(bad("fewer than 2^32 rows and columns", text));
            }
            fits(n_rows, n_cols)?;
            size = Some((n_rows, n_cols, nnz));
            steps = Some(Steps::new("reading values", nnz));
            // So is this number: no more memory is taken on it than a small file may fill.
            let room = nnz.min(1 << 20);
            rows.reserve(room);
            columns.reserve(room);
            values.reserve(room);
            return Ok(true);
        };
        let mut place = |most: usize| {
            fields
                .next()
                .and_then(|f| f.parse::<usize>().ok())
                .filter(|&i| (1..=most).contains(&i))
                .map(|i| i as u32 - 1)
        };
        let (Some(row), Some(column)) = (place(n_rows), place(n_cols)) else {
            return Err(bad(&format!("a row from 1 to {n_rows} and a column from 1 to {n_cols}"), text));
        };
        let value = if pattern { Some(1.0) } else { fields.next().and_then(|f| f.parse::<f32>().ok()) };
        let Some(value) = value else { return Err(bad("a number after row and column", text)) };
        if rows.len() == nnz {
            return Err(bad(&format!("{nnz} entries, as the line of sizes says"), "more"));
        }
        rows.push(row);
        columns.push(column);
        values.push(value);
        if values.len().is_multiple_of(TOLD) {
            steps.iter().for_each(|steps| steps.reach(values.len()));
        }
        Ok(true)
    })?;
    let Some((n_rows, n_cols, nnz)) = size else {
        return Err(Error::Format {
            path: path.to_owned(),
            expected: "a Matrix Market file (.mtx)",
            found: "no line of sizes; is the file complete?".to_owned(),
        });
    };
    if rows.len() != nnz {
        return Err(Error::Format {
            path: path.to_owned(),
            expected: "as many entries as the line of sizes says",
            found: format!("{} of {nnz}; the file is cut short", rows.len()),
        });
    }
    Ok(compress(n_rows, n_cols, &rows, &columns, &values))
}

/// Whether entries have no value; `None` when the header is of another kind of file.
fn is_pattern(header: &str) -> Option<bool> {
    let words: Vec<String> = header.split_ascii_whitespace().map(str::to_lowercase).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["%%matrixmarket", "matrix", "coordinate", "pattern", "general"] => Some(true),
        ["%%matrixmarket", "matrix", "coordinate", "integer" | "real" | "double", "general"] => Some(false),
        _ => None,
    }
}

fn compress(n_rows: usize, n_cols: usize, rows: &[u32], columns: &[u32], values: &[f32]) -> Csr {
    let mut indptr = vec![0usize; n_rows + 1];
    rows.iter().for_each(|&r| indptr[r as usize + 1] += 1);
    for i in 0..n_rows {
        indptr[i + 1] += indptr[i];
    }
    let mut next = indptr.clone();
    let mut out = Csr { n_rows, n_cols, indptr, indices: vec![0; rows.len()], values: vec![0.0; rows.len()] };
    for ((&row, &column), &value) in rows.iter().zip(columns).zip(values) {
        let at = next[row as usize];
        (out.indices[at], out.values[at]) = (column, value);
        next[row as usize] += 1;
    }
    crate::h5ad::sorted(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Csr> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("matrix.mtx");
        std::fs::write(&path, text).unwrap();
        read_mtx(&path, |_, _| Ok(()))
    }

    #[test]
    fn entries_in_any_order() {
        let m = read("%%MatrixMarket matrix coordinate integer general\n% note\n2 3 4\n2 3 5\n1 1 2\n2 1 1\n2 3 1\n");
        let dense = m.unwrap().to_dense();
        assert_eq!(dense.values, [2.0, 0.0, 0.0, 1.0, 0.0, 6.0]);
        let m = read("%%MatrixMarket matrix coordinate pattern general\n1 2 1\n1 2\n").unwrap();
        assert_eq!(m.to_dense().values, [0.0, 1.0]);
    }

    #[test]
    fn errors_name_the_line() {
        let head = "%%MatrixMarket matrix coordinate real general\n";
        let line = |text: &str| match read(&format!("{head}{text}")) {
            Err(Error::Line { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line("2 x 1\n"), 2);
        assert_eq!(line("2 2 1\n3 1 1\n"), 3);
        assert_eq!(line("2 2 1\n0 1 1\n"), 3);
        assert_eq!(line("2 2 1\n1 1 a\n"), 3);
        assert_eq!(line("2 2 1\n1 1 1\n2 2 1\n"), 4);
        assert!(matches!(read(&format!("{head}2 2 2\n1 1 1\n")), Err(Error::Format { .. })));
        assert!(matches!(read("%%MatrixMarket matrix array real general\n"), Err(Error::Line { line: 1, .. })));
        assert!(matches!(read(""), Err(Error::Format { .. })));
    }
}
