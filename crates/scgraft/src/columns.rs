//! Columns of obs as analyses take them.

use scgraft_cells::{Cells, Coded, Column};

use crate::Error;

/// A column of `obs`, coded; and the rows where it is filled. Errors and warnings call the cells `name`.
///
/// # Errors
/// When there is no such column, or it is empty.
pub fn coded(cells: &Cells, name: &str, column: &str) -> Result<(Coded, Vec<usize>), Error> {
    let values = find(cells, name, column)?;
    let rows: Vec<usize> = match values.coded() {
        Ok(coded) => {
            let rows = (0..coded.codes.len()).collect();
            return Ok((coded, rows));
        }
        Err(missing) => (0..values.len()).filter(|i| missing.binary_search(i).is_err()).collect(),
    };
    let wrong =
        |problem: &str| Error::Column { cells: name.to_owned(), name: column.to_owned(), problem: problem.to_owned() };
    if rows.is_empty() {
        return Err(wrong("is empty"));
    }
    tracing::warn!("{name}: {} cells have no `{column}` and are left out", values.len() - rows.len());
    let coded = values.select(&rows).coded().map_err(|_| wrong("cannot be read"))?;
    Ok((coded, rows))
}

/// A column of `obs`.
///
/// # Errors
/// When there is none of that name.
pub fn find<'a>(cells: &'a Cells, name: &str, column: &str) -> Result<&'a Column, Error> {
    cells.obs.column(column).ok_or_else(|| Error::NoColumn {
        cells: name.to_owned(),
        name: column.to_owned(),
        there: cells.obs.names().into_iter().map(str::to_owned).collect(),
    })
}
