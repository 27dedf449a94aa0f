//! Columns of obs as analyses take them.

use std::collections::HashMap;

use scgraft_analysis::transfer::UNKNOWN;
use scgraft_cells::{Cells, Coded, Column, Warning, means_unlabelled, missing_words_told};

use crate::Error;

/// A column of `obs`, coded; and the rows where it is filled. Errors and warnings call the cells `name`.
///
/// # Errors
/// When there is no such column, or it is empty.
pub fn coded(cells: &Cells, name: &str, column: &str) -> Result<(Coded, Vec<usize>), Error> {
    coded_of(find(cells, name, column)?, name, column)
}

/// The same of a column in which every cell has a value.
///
/// # Errors
/// When there is no such column, or a cell has none.
pub fn whole(cells: &Cells, name: &str, column: &str) -> Result<Coded, Error> {
    let lacking =
        |rows: Vec<usize>| wrong(name, column, format!("has no value in {} cells; fill it first", rows.len()));
    find(cells, name, column)?.coded().map_err(lacking)
}

/// The same of cell types, where `unlabelled` is none; of others that often mean none it is said that they are taken.
pub(crate) fn types(
    cells: &Cells,
    name: &str,
    column: &str,
    unlabelled: Option<&str>,
) -> Result<(Coded, Vec<usize>), Error> {
    let values = find(cells, name, column)?;
    if let Some(none) = unlabelled {
        let mut texts = values.texts();
        if !texts.iter().flatten().any(|text| text == none) {
            return coded_of(values, name, column);
        }
        texts.iter_mut().for_each(|text| *text = text.take().filter(|text| text != none));
        return coded_of(&Column::Text(texts), name, column);
    }
    let sizes = values.level_sizes().unwrap_or_default();
    for (label, n) in sizes.into_iter().filter(|(label, _)| means_unlabelled(label)) {
        let warning = Warning::LooksUnlabelled { column: column.to_owned(), label, n };
        crate::warn(&format!("{name}: {warning}"), &warning.settings());
    }
    coded_of(values, name, column)
}

fn coded_of(values: &Column, name: &str, column: &str) -> Result<(Coded, Vec<usize>), Error> {
    let rows: Vec<usize> = match values.coded() {
        Ok(coded) => {
            let rows = (0..coded.codes.len()).collect();
            return Ok((by_number(coded), rows));
        }
        Err(missing) => (0..values.len()).filter(|i| missing.binary_search(i).is_err()).collect(),
    };
    let wrong = |problem: &str| wrong(name, column, problem);
    if rows.is_empty() {
        return Err(wrong("is empty"));
    }
    let words = values.missing_words();
    let words =
        if words.is_empty() { String::new() } else { format!(" ({} count as none)", missing_words_told(&words)) };
    tracing::warn!("{name}: {} cells have no `{column}` and are left out{words}", values.len() - rows.len());
    let coded = values.select(&rows).coded().map_err(|_| wrong("cannot be read"))?;
    Ok((by_number(coded), rows))
}

/// Levels that are numbers in their order: clusters are 0, 1, 2, …, 10.
fn by_number(coded: Coded) -> Coded {
    let Ok(numbers) = coded.levels.iter().map(|l| l.parse::<f64>()).collect::<Result<Vec<f64>, _>>() else {
        return coded;
    };
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
    let mut place = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, &old)| place[old] = new as u32);
    Coded {
        codes: coded.codes.iter().map(|&c| place[c as usize]).collect(),
        levels: order.into_iter().map(|old| coded.levels[old].clone()).collect(),
    }
}

/// The same of what groups are compared within: unknown cells are of several types, and what differs among them may be these.
pub(crate) fn within(cells: &Cells, name: &str, column: &str) -> Result<(Coded, Vec<usize>), Error> {
    types(cells, name, column, Some(UNKNOWN))
}

/// A column of `obs` that does not hold what is needed.
pub(crate) fn wrong(name: &str, column: &str, problem: impl Into<String>) -> Error {
    Error::Column { cells: name.to_owned(), name: column.to_owned(), problem: problem.into() }
}

/// A column of `obs`.
///
/// # Errors
/// When there is none of that name.
pub fn find<'a>(cells: &'a Cells, name: &str, column: &str) -> Result<&'a Column, Error> {
    let known = || cells.obs.names().into_iter().map(str::to_owned).collect();
    cells.obs.column(column).ok_or_else(|| unknown(format!("{name}: obs"), "column", column, known()))
}

/// A name that there is not.
pub(crate) fn unknown(of: impl Into<String>, what: &'static str, name: &str, known: Vec<String>) -> Error {
    Error::UnknownName { of: of.into(), what, name: name.to_owned(), known }
}

/// The code of a level of a column of `obs`.
///
/// # Errors
/// When no cell has it.
pub fn level(coded: &Coded, column: &str, name: &str) -> Result<u32, Error> {
    let at = coded.levels.iter().position(|l| l == name);
    at.map(|at| at as u32).ok_or_else(|| unknown(format!("`{column}`"), "group", name, coded.levels.clone()))
}

/// Columns of `obs` as one, their values joined; one level for all cells where a column is not there.
pub fn joined(cells: &Cells, columns: &[String]) -> Coded {
    let found: Option<Vec<&Column>> = columns.iter().map(|c| cells.obs.column(c)).collect();
    let text = |i: usize| {
        let parts = found.iter().flatten().map(|c| c.text(i).unwrap_or_default());
        parts.collect::<Vec<_>>().join(" | ")
    };
    Coded::of((0..cells.n_cells()).map(text).collect())
}

/// The same of some of the rows that were coded: codes of `kept`, from codes of `rows`, which rise.
pub(crate) fn narrow((coded, rows): &(Coded, Vec<usize>), kept: &[usize]) -> Coded {
    let at = kept.iter().filter_map(|k| rows.binary_search(k).ok());
    Coded { codes: at.map(|i| coded.codes[i]).collect(), levels: coded.levels.clone() }
}

/// Columns of several parts, one below the other; a part without one is empty. Numbers stay numbers where all parts have
/// them, truth values and categories likewise (the first part's first); anything else is text.
pub fn stacked(parts: &[(Option<&Column>, usize)]) -> Column {
    let all = |is: fn(&Column) -> bool| parts.iter().all(|(c, _)| c.is_none_or(is));
    let rows = || parts.iter().flat_map(|&(c, n)| (0..n).map(move |i| (c, i)));
    if all(|c| matches!(c, Column::Integer(_))) {
        let whole = |(c, i): (Option<&Column>, usize)| if let Some(Column::Integer(v)) = c { v[i] } else { None };
        return Column::Integer(rows().map(whole).collect());
    }
    if all(|c| matches!(c, Column::Real(_) | Column::Integer(_))) {
        return Column::Real(rows().map(|(c, i)| c.and_then(|c| c.number(i)).unwrap_or(f64::NAN)).collect());
    }
    if all(|c| matches!(c, Column::Boolean(_))) {
        return Column::Boolean(rows().map(|(c, i)| c.and_then(|c| c.number(i)).map(|v| v > 0.0)).collect());
    }
    if !all(|c| matches!(c, Column::Categorical { .. })) {
        return Column::Text(rows().map(|(c, i)| c.and_then(|c| c.text(i))).collect());
    }
    let (mut levels, mut ordered) = (Vec::<String>::new(), true);
    for column in parts.iter().filter_map(|(c, _)| *c) {
        if let Column::Categorical { categories, ordered: own, .. } = column {
            ordered &= *own && (levels.is_empty() || levels == *categories);
            levels.extend(categories.iter().filter(|c| !levels.contains(c)).cloned().collect::<Vec<_>>());
        }
    }
    let at: HashMap<String, i32> = levels.iter().cloned().zip(0..).collect();
    let code = |(c, i): (Option<&Column>, usize)| c.and_then(|c| c.text(i)).map_or(-1, |text| at[&text]);
    Column::Categorical { codes: rows().map(code).collect(), categories: levels, ordered }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_are_numbers_stand_in_their_order() {
        let names = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<String>>();
        let clusters = by_number(Coded::of(names(&["10", "2", "0", "10"])));
        assert_eq!((clusters.codes, clusters.levels), (vec![2, 1, 0, 2], names(&["0", "2", "10"])));
        let mixed = Coded::of(names(&["10", "2", "B"]));
        assert_eq!(by_number(mixed.clone()), mixed);
    }

    #[test]
    fn columns_below_each_other_keep_their_kind() {
        let categories = |values: &[&str]| Column::categorical(values);
        let (a, b) = (categories(&["y", "x"]), categories(&["z", "x"]));
        let both = stacked(&[(Some(&a), 2), (None, 1), (Some(&b), 2)]);
        let levels = ["x", "y", "z"].map(str::to_owned).to_vec();
        assert_eq!(both, Column::Categorical { codes: vec![1, 0, -1, 2, 0], categories: levels, ordered: false });
        let (whole, real) = (Column::Integer(vec![Some(9_007_199_254_740_993)]), Column::Real(vec![0.5]));
        assert_eq!(stacked(&[(None, 1), (Some(&whole), 1)]), Column::Integer(vec![None, Some(9_007_199_254_740_993)]));
        let Column::Real(values) = stacked(&[(Some(&real), 1), (None, 1)]) else { panic!() };
        assert!(values[0] == 0.5 && values[1].is_nan());
        assert_eq!(stacked(&[(Some(&a), 2), (Some(&real), 1)]).texts(), ["y", "x", "0.5"].map(|t| Some(t.to_owned())));
    }
}
