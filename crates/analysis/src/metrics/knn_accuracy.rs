//! kNN accuracy: are a cell's neighbours of its own type?
//!
//! Source: Lotfollahi et al., *Nat Biotechnol* 2022.

use rayon::prelude::*;
use scgraft_cells::Coded;

use super::{Groups, mean};
use crate::Neighbours;
use crate::error::Result;

/// The share of a cell's neighbours that have its type; mean over the cells of each type, then over types. 0 to 1.
///
/// The paper takes 15 neighbours, the cell itself not counted.
///
/// # Errors
/// Neighbours or labels of another length, or a single cell type.
pub fn knn_accuracy(neighbours: &Neighbours, cell_types: &Coded) -> Result<f64> {
    let n = neighbours.n_rows();
    neighbours.check_among(n)?;
    let types = Groups::new("cell type", cell_types, n, 2)?;
    let same: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|i| mean(neighbours.others(i).map(|(j, _)| f64::from(u8::from(types.codes[j] == types.codes[i])))))
        .collect();
    Ok(mean(types.members().iter().map(|cells| mean(cells.iter().map(|&i| same[i])))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_types_count_as_much_as_common_ones() {
        // Types 0, 0, 0, 1; cell 3 has only neighbours of type 0.
        let neighbours = Neighbours { k: 2, indices: vec![1, 2, 0, 2, 0, 3, 0, 1], distances: vec![1.0; 8] };
        let types = Coded { codes: vec![0, 0, 0, 1], levels: vec!["a".into(), "b".into()] };
        let expected = ((1.0 + 1.0 + 0.5) / 3.0 + 0.0) / 2.0;
        assert!((knn_accuracy(&neighbours, &types).unwrap() - expected).abs() < 1e-15);
    }
}
