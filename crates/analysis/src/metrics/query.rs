//! All metrics of a mapped query in one table, for several embeddings.
//!
//! Beside the distances of [`mapping`](super::mapping): the share of query cells that the labels of their nearest
//! reference cells name rightly, as both papers report it.

use scgraft_cells::{Coded, Dense};

use super::Groups;
use super::knn_purity::purity_within_batches;
use super::mapping::{label_distance, leading, unseen_cell_distance, unseen_label_distance};
use super::scores::left_out_of;
use crate::error::{Error, Result, check_labels, check_matrix};
use crate::neighbours::Search;
use crate::transfer::{TransferOptions, transfer_labels};

/// Neighbours of the label accuracy and of the purity in the papers.
pub const AROUND: usize = 15;

/// The columns of the table, in order. All are from 0 to 1, 1 is best.
pub const QUERY_METRICS: [&str; 5] =
    ["Label accuracy", "Label distance", "Unseen-label distance", "Unseen-cell distance", "Query kNN purity"];

/// The table.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryScores {
    /// One row an embedding: its name, and one value for each of [`QUERY_METRICS`].
    pub rows: Vec<(String, Vec<Option<f64>>)>,
    /// Metrics without a value for every embedding, and why.
    pub left_out: Vec<(&'static str, String)>,
}

/// Where the cells of a table come from.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// One entry a cell: whether it is of the query.
    pub query: &'a [bool],
    /// Batch of each cell.
    pub batch: &'a Coded,
    /// Cell type of each cell; types are matched by name.
    pub cell_types: &'a Coded,
}

/// Scores how a query lies on its reference, in embeddings that hold the cells of both.
///
/// `before` is the data before mapping, for the purity of the query's neighbourhoods within its batches; without it that
/// score is left out. Label accuracy is over query cells whose type the reference has: the share whose most probable
/// label (`k` neighbours in the reference, the paper's weights) is their own. [`AROUND`] is the papers' `k`. The distances
/// are between [`leading`] components.
///
/// # Errors
/// Lengths that differ, values that are not finite, no cell of the query or of the reference.
pub fn evaluate_query(
    embeddings: &[(&str, &Dense)],
    sides: Sides<'_>,
    before: Option<&Dense>,
    k: usize,
    search: &Search,
) -> Result<QueryScores> {
    let n = sides.query.len();
    for &(name, x) in embeddings {
        let what = format!("embedding `{name}`");
        check_matrix(&what, x)?;
        if x.n_rows != n {
            return Err(Error::Length { what, expected: n, found: x.n_rows });
        }
    }
    check_labels("batch", sides.batch, n)?;
    check_labels("cell type", sides.cell_types, n)?;
    let (there, here): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| !sides.query[i]);
    if there.is_empty() || here.is_empty() {
        let empty = if here.is_empty() { "query" } else { "reference" };
        return Err(Error::Inconsistent {
            what: "cells of reference and query".to_owned(),
            problem: format!("none of the {n} cells is of the {empty}; say which batches are the query"),
        });
    }
    let (known, own) = (sides.cell_types.select(&there), sides.cell_types.select(&here));
    let batch = sides.batch.select(&here);
    let before = before.map(|b| b.select_rows(&here));
    let mut columns = Vec::new();
    for &(name, x) in embeddings {
        let (reference, query) = (x.select_rows(&there), x.select_rows(&here));
        let purity = match &before {
            Some(before) => purity_within_batches(before, &query, &batch, k, search).map(|p| p.0),
            None => Err(Error::Inconsistent {
                what: "data before mapping".to_owned(),
                problem: "not given; this metric compares with it".to_owned(),
            }),
        };
        let components = leading(x)?;
        let (far, near) = (components.select_rows(&there), components.select_rows(&here));
        let values = vec![
            label_accuracy(&reference, &known, &query, &own, k, search),
            label_distance(&far, &known, &near, &own),
            unseen_label_distance(&far, &known, &near, &own),
            unseen_cell_distance(&far, &known, &near, &own),
            purity,
        ];
        columns.push((name, values));
    }
    let left_out = left_out_of(&QUERY_METRICS, columns.iter().map(|(name, values)| (*name, &values[..])));
    let plain = |v: Result<f64>| v.ok().filter(|v| v.is_finite());
    let rows = columns.into_iter().map(|(name, v)| (name.to_owned(), v.into_iter().map(plain).collect())).collect();
    Ok(QueryScores { rows, left_out })
}

fn label_accuracy(
    reference: &Dense,
    known: &Coded,
    query: &Dense,
    own: &Coded,
    k: usize,
    search: &Search,
) -> Result<f64> {
    let there = Groups::new("reference cell type", known, reference.n_rows, 2)?;
    let cells: Vec<usize> =
        (0..query.n_rows).filter(|&i| there.names.contains(&own.levels[own.codes[i] as usize])).collect();
    if cells.is_empty() {
        return Err(Error::Inconsistent {
            what: "cell types of the query".to_owned(),
            problem: "none is among those of the reference; name types alike on both sides".to_owned(),
        });
    }
    let near = search.between(reference, &query.select_rows(&cells), k.min(reference.n_rows))?;
    let found = transfer_labels(&near.neighbours, &[("cell type", known)], &TransferOptions::default())?;
    let right = cells.iter().zip(&found[0].best).filter(|&(&i, &best)| own.codes[i] == best).count();
    Ok(right as f64 / cells.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{coded, normals};

    /// Reference of types 0 and 1, query of types 0, 1 and 2; `lost` puts the query anywhere.
    fn world(lost: bool) -> (Dense, Vec<bool>, Coded, Coded) {
        let noise = normals(600 * 2, 3);
        let query: Vec<bool> = (0..600).map(|i| i >= 300).collect();
        let types: Vec<u32> = (0..600).map(|i| if i < 300 { i % 2 } else { i % 3 }).collect();
        let values = (0..600).flat_map(|i| {
            let place = if lost && i >= 300 { types[(i * 7) % 300] } else { types[i] };
            let centre = [[0.0, 0.0], [20.0, 0.0], [0.0, 40.0]][place as usize];
            [0, 1].map(|d| centre[d] + noise[2 * i + d] as f32)
        });
        let batch: Vec<u32> = (0..600).map(|i| if i < 300 { 0 } else { 1 + (i / 3) % 2 }).collect();
        (Dense::new(600, 2, values.collect()), query, coded(&batch, 3), coded(&types, 3))
    }

    #[test]
    fn a_query_in_its_place_scores_high_and_a_lost_one_low() {
        let (good, query, batch, types) = world(false);
        let (bad, ..) = world(true);
        let sides = Sides { query: &query, batch: &batch, cell_types: &types };
        let all = [("good", &good), ("bad", &bad)];
        let s = evaluate_query(&all, sides, Some(&good), AROUND, &Search::Exact).unwrap();
        assert!(s.left_out.is_empty(), "{:?}", s.left_out);
        let (good_row, bad_row) = (&s.rows[0].1, &s.rows[1].1);
        assert_eq!(good_row[0], Some(1.0));
        assert!(bad_row[0].unwrap() < 0.7, "{bad_row:?}");
        for (metric, (a, b)) in QUERY_METRICS.iter().zip(good_row.iter().zip(bad_row)) {
            assert!(a.unwrap() > b.unwrap(), "{metric}: {a:?} {b:?}");
        }
    }

    /// A hundred dimensions that hardly vary, and in which the query is elsewhere, say nothing of where its types are.
    #[test]
    fn silent_dimensions_do_not_count() {
        let (x, query, batch, types) = world(false);
        let noise = normals(600 * 100, 4);
        let row = |i: usize| {
            let shift = if query[i] { 0.02 } else { 0.0 };
            let silent = noise[100 * i..100 * (i + 1)].iter().map(move |v| 0.005 * *v as f32 + shift);
            x.row(i).iter().copied().chain(silent).collect::<Vec<f32>>()
        };
        let wide = Dense::new(600, 102, (0..600).flat_map(row).collect());
        let sides = Sides { query: &query, batch: &batch, cell_types: &types };
        let s = evaluate_query(&[("x", &x), ("wide", &wide)], sides, Some(&x), AROUND, &Search::Exact).unwrap();
        assert!(s.left_out.is_empty(), "{:?}", s.left_out);
        for (metric, (a, b)) in QUERY_METRICS.iter().zip(s.rows[0].1.iter().zip(&s.rows[1].1)) {
            assert!((a.unwrap() - b.unwrap()).abs() < 0.03, "{metric}: {a:?} {b:?}");
        }
    }

    #[test]
    fn a_query_without_reference_or_unseen_types_says_so() {
        let (x, query, batch, types) = world(false);
        let sides = Sides { query: &[true; 600], batch: &batch, cell_types: &types };
        let none = evaluate_query(&[("x", &x)], sides, None, AROUND, &Search::Exact);
        assert!(none.unwrap_err().to_string().contains("reference"));
        // Without the third type nothing is unseen; without data before there is no purity.
        let kept: Vec<usize> = (0..600).filter(|&i| types.codes[i] < 2).collect();
        let (query, batch, types): (Vec<bool>, _, _) =
            (kept.iter().map(|&i| query[i]).collect(), batch.select(&kept), types.select(&kept));
        let sides = Sides { query: &query, batch: &batch, cell_types: &types };
        let s = evaluate_query(&[("x", &x.select_rows(&kept))], sides, None, AROUND, &Search::Exact).unwrap();
        let names: Vec<&str> = s.left_out.iter().map(|l| l.0).collect();
        assert_eq!(names, ["Unseen-label distance", "Unseen-cell distance", "Query kNN purity"]);
    }
}
