//! What can be wrong with the arrays and labels handed to an analysis.

use scgraft_cells::{Coded, Dense};
use scgraft_numeric::eigen::NotConverged;

/// Why an analysis refused its input: where, what was expected, what was found, what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An array without a row or without a column.
    #[error("{what} is empty: it has {n_rows} rows and {n_cols} columns; give at least one of each")]
    Empty {
        /// Which array.
        what: String,
        /// Its rows.
        n_rows: usize,
        /// Its columns.
        n_cols: usize,
    },
    /// NaN or an infinity where a number is needed.
    #[error("{what}, row {row}, column {column}: {value} is not a finite number; drop that cell or repair its values")]
    NotFinite {
        /// Which array.
        what: String,
        /// Row (cell), counted from 0.
        row: usize,
        /// Column, counted from 0.
        column: usize,
        /// The value found.
        value: f64,
    },
    /// Two arrays that must agree in their number of columns do not.
    #[error("{what} has {found} dimensions, expected {expected}: both must come from the same embedding")]
    Dimensions {
        /// Which array.
        what: String,
        /// Columns expected.
        expected: usize,
        /// Columns found.
        found: usize,
    },
    /// An array or a list of labels that must have one entry for each row of another has not.
    #[error("{what} has {found} entries, expected {expected}: one for each row it describes")]
    Length {
        /// Which array or labels.
        what: String,
        /// Entries expected.
        expected: usize,
        /// Entries found.
        found: usize,
    },
    /// More neighbours asked for than there are cells.
    #[error("k = {k} neighbours asked for, {available} cells to choose from; lower k")]
    TooManyNeighbours {
        /// Neighbours asked for.
        k: usize,
        /// Cells that can be neighbours.
        available: usize,
    },
    /// A setting outside its range.
    #[error("{name} = {value}: expected {expected}")]
    Parameter {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A label column that does not tell groups apart.
    #[error("labels `{column}` have {found} levels with cells, at least {needed} needed; choose another column")]
    TooFewLevels {
        /// Name of the labels.
        column: String,
        /// Levels that have cells.
        found: usize,
        /// Levels needed.
        needed: usize,
    },
    /// A group without enough cells.
    #[error(
        "group `{group}` of `{column}` has {}, at least {needed} needed; leave it out or merge it",
        scgraft_cells::counted(*found, "cell", "cells")
    )]
    SmallGroup {
        /// Name of the labels.
        column: String,
        /// The group.
        group: String,
        /// Its cells.
        found: usize,
        /// Cells needed.
        needed: usize,
    },
    /// A group that is not among the levels.
    #[error("`{group}` is not a level of `{column}`; its levels are {levels}")]
    UnknownGroup {
        /// Name of the labels.
        column: String,
        /// What was asked for.
        group: String,
        /// The levels there are.
        levels: String,
    },
    /// A code that names no level.
    #[error("labels `{column}`, row {row}: code {code} but only {levels} levels")]
    Code {
        /// Name of the labels.
        column: String,
        /// Row (cell), counted from 0.
        row: usize,
        /// The code found.
        code: u32,
        /// Number of levels.
        levels: usize,
    },
    /// A decomposition that did not come to an end.
    #[error(transparent)]
    NotConverged(#[from] NotConverged),
    /// Values that contradict each other, told in words.
    #[error("{what}: {problem}")]
    Inconsistent {
        /// Which input.
        what: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// The result of an analysis, or why there is none.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses 0 neighbours.
pub fn check_k(k: usize) -> Result<()> {
    if k > 0 {
        Ok(())
    } else {
        Err(Error::Parameter { name: "k", value: "0".into(), expected: "at least one neighbour" })
    }
}

/// Refuses a matrix that is empty or has a value that is not finite.
///
/// # Errors
/// [`Error::Empty`], or [`Error::NotFinite`] with the first such row.
pub fn check_matrix(what: &str, matrix: &Dense) -> Result<()> {
    if matrix.n_rows == 0 || matrix.n_cols == 0 {
        return Err(Error::Empty { what: what.to_owned(), n_rows: matrix.n_rows, n_cols: matrix.n_cols });
    }
    match matrix.values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::NotFinite {
            what: what.to_owned(),
            row: at / matrix.n_cols,
            column: at % matrix.n_cols,
            value: f64::from(matrix.values[at]),
        }),
    }
}

/// Refuses labels that have not one valid code for each of `n_rows` rows.
///
/// # Errors
/// [`Error::Length`] or [`Error::Code`].
pub fn check_labels(column: &str, labels: &Coded, n_rows: usize) -> Result<()> {
    if labels.codes.len() != n_rows {
        return Err(Error::Length { what: format!("labels `{column}`"), expected: n_rows, found: labels.codes.len() });
    }
    match labels.codes.iter().position(|&c| c as usize >= labels.levels.len()) {
        None => Ok(()),
        Some(row) => {
            Err(Error::Code { column: column.to_owned(), row, code: labels.codes[row], levels: labels.levels.len() })
        }
    }
}

/// The number of a level by its name.
pub fn find_level(column: &str, labels: &Coded, name: &str) -> Result<usize> {
    labels.levels.iter().position(|level| level == name).ok_or_else(|| Error::UnknownGroup {
        column: column.to_owned(),
        group: name.to_owned(),
        levels: labels.levels.join(", "),
    })
}

/// Number of cells of each level.
pub fn level_sizes(labels: &Coded) -> Vec<usize> {
    let mut sizes = vec![0; labels.levels.len()];
    for &c in &labels.codes {
        sizes[c as usize] += 1;
    }
    sizes
}

/// Refuses labels with fewer than `needed` levels that have cells.
///
/// # Errors
/// [`Error::TooFewLevels`].
pub fn check_levels(column: &str, labels: &Coded, needed: usize) -> Result<()> {
    let found = level_sizes(labels).iter().filter(|&&n| n > 0).count();
    if found < needed {
        return Err(Error::TooFewLevels { column: column.to_owned(), found, needed });
    }
    Ok(())
}
