//! Neighbours in other studies: what a cell of a new study would find.

use scgraft_cells::{Coded, Dense};

use super::Neighbours;
use super::exact::knn;
use crate::error::{Result, check_k, check_labels, check_levels, check_matrix, level_sizes};

/// The `k` nearest rows of *other* groups (studies, batches, donors) for each row of `data`.
///
/// Leave-one-group-out: labels carried over these neighbours, their reliability and the distances to them are what to
/// expect of cells from a study that the reference has not seen. Exact, as [`knn`].
///
/// # Errors
/// As [`knn`]; labels that do not fit, fewer than two groups, a group outside of which there are fewer than `k` rows.
pub fn knn_across(data: &Dense, groups: (&str, &Coded), k: usize) -> Result<Neighbours> {
    check_matrix("embedding", data)?;
    let (column, labels) = groups;
    check_labels(column, labels, data.n_rows)?;
    check_levels(column, labels, 2)?;
    check_k(k)?;
    let mut out = Neighbours { k, indices: vec![0; data.n_rows * k], distances: vec![0.0; data.n_rows * k] };
    let sizes = level_sizes(labels);
    for group in (0..sizes.len()).filter(|&g| sizes[g] > 0) {
        let (own, others): (Vec<usize>, Vec<usize>) =
            (0..data.n_rows).partition(|&i| labels.codes[i] as usize == group);
        let found = knn(&data.select_rows(&others), &data.select_rows(&own), k)?;
        for (at, &i) in own.iter().enumerate() {
            let (indices, distances) = found.row(at);
            for (place, (&j, &d)) in (i * k..(i + 1) * k).zip(indices.iter().zip(distances)) {
                out.indices[place] = others[j as usize] as u32;
                out.distances[place] = d;
            }
        }
    }
    Ok(out)
}
