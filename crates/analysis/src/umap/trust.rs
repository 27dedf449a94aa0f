//! Trustworthiness: are neighbours in the picture neighbours in the data?

use rayon::prelude::*;
use scgraft_cells::Dense;

use crate::error::{Error, Result, check_matrix};
use crate::knn_self;
use crate::neighbours::squared_distance;

/// T = 1 − 2 / (n k (2n − 3k − 1)) Σᵢ Σ_{j near i in the picture} max(0, r(i, j) − k). 0 to 1.
///
/// r(i, j) is the rank of j among the neighbours of i in the data. Source: Venna & Kaski 2001; equals
/// scikit-learn's `trustworthiness`. Costs cells² distances.
///
/// # Errors
/// Different cells, values that are not finite, `k` of 0 or at least half the cells.
pub fn trustworthiness(data: &Dense, picture: &Dense, k: usize) -> Result<f64> {
    check_matrix("data", data)?;
    let n = data.n_rows;
    if picture.n_rows != n {
        return Err(Error::Length { what: "picture".to_owned(), expected: n, found: picture.n_rows });
    }
    if 2 * k >= n {
        return Err(Error::TooManyNeighbours { k, available: (n.saturating_sub(1)) / 2 });
    }
    let near = knn_self(picture, k, false)?;
    let penalties: Vec<u64> = (0..n)
        .into_par_iter()
        .map_init(
            || vec![0f64; n],
            |distances, i| {
                let own = data.row(i);
                for (j, d) in distances.iter_mut().enumerate() {
                    *d = if j == i { f64::NEG_INFINITY } else { squared_distance(own, data.row(j)) };
                }
                let rank = |j: usize| distances.iter().filter(|&&d| d < distances[j]).count();
                near.row(i).0.iter().map(|&j| rank(j as usize).saturating_sub(k) as u64).sum()
            },
        )
        .collect();
    let total: u64 = penalties.iter().sum();
    let (n, k) = (n as f64, k as f64);
    Ok(1.0 - 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)) * total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_trustworthy_and_a_shuffle_is_not() {
        let x = crate::testing::normal_matrix(200, 4, 1);
        assert_eq!(trustworthiness(&x, &x, 10).unwrap(), 1.0);
        let other = crate::testing::normal_matrix(200, 2, 2);
        assert!(trustworthiness(&x, &other, 10).unwrap() < 0.6);
        assert!(matches!(trustworthiness(&x, &x, 100), Err(Error::TooManyNeighbours { .. })));
    }
}
