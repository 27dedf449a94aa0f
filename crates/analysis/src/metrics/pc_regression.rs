//! Principal-component regression: how much of the variance the batch explains, before and after.
//!
//! Source: Büttner et al., *Nat Methods* 2019.

use scgraft_cells::{Coded, Dense};

use super::Groups;
use crate::error::{Error, Result, check_matrix};
use crate::pca::pca;

/// Share of the variance that the batch explains: Σᵢ Var(PCᵢ) R²(PCᵢ | batch) / Σᵢ Var(PCᵢ). 0 to 1.
///
/// R² is that of a linear regression of the component on the batch (one indicator a batch), so it
/// is the variance between batch means over all variance. Summed over *all* components, the
/// weighted mean does not depend on the rotation and is computed without a decomposition, in
/// `f64`; `n_components` restricts it to the first ones (scib takes 50 of an expression matrix).
///
/// # Errors
/// Values that are not finite, a single batch, lengths that differ, no variance at all, or more
/// components than the matrix has.
pub fn pc_regression(x: &Dense, batch: &Coded, n_components: Option<usize>) -> Result<f64> {
    check_matrix("embedding", x)?;
    let batches = Groups::new("batch", batch, x.n_rows, 2)?;
    let (between, total) = match n_components {
        None => sums_of_squares(x, &batches),
        Some(k) => sums_of_squares(&pca(x, k)?.scores, &batches),
    };
    if total <= 0.0 {
        return Err(Error::Inconsistent {
            what: "embedding".to_owned(),
            problem: "all cells are at the same place, so no variance can be explained".to_owned(),
        });
    }
    Ok((between / total).min(1.0))
}

/// PC regression comparison: max(0, (before − after) / before). 1: the batch explains nothing any more.
///
/// `before` is the data that was integrated (its PCA, or expression), `after` the embedding; rows
/// are the same cells. All components of both are used, as in scib-metrics with its defaults.
///
/// # Errors
/// As [`pc_regression`]; different numbers of cells; a batch that explains nothing to begin with.
pub fn pc_regression_comparison(before: &Dense, after: &Dense, batch: &Coded) -> Result<f64> {
    if before.n_rows != after.n_rows {
        return Err(Error::Length {
            what: "embedding after integration".to_owned(),
            expected: before.n_rows,
            found: after.n_rows,
        });
    }
    let before = pc_regression(before, batch, None)?;
    let after = pc_regression(after, batch, None)?;
    if before <= 0.0 {
        return Err(Error::Inconsistent {
            what: "data before integration".to_owned(),
            problem: "the batch explains no variance, so nothing can be removed; leave this score out".to_owned(),
        });
    }
    Ok(((before - after) / before).max(0.0))
}

/// Sum of squares between batch means, and the total one, over all columns.
fn sums_of_squares(x: &Dense, batches: &Groups) -> (f64, f64) {
    let d = x.n_cols;
    let mut centre = vec![0f64; d];
    for row in x.values.chunks_exact(d) {
        centre.iter_mut().zip(row).for_each(|(c, &v)| *c += f64::from(v));
    }
    centre.iter_mut().for_each(|c| *c /= x.n_rows as f64);
    let mut sums = vec![0f64; batches.sizes.len() * d];
    let mut total = 0f64;
    for (row, &b) in x.values.chunks_exact(d).zip(&batches.codes) {
        let sum = &mut sums[b as usize * d..(b as usize + 1) * d];
        for ((s, &v), &c) in sum.iter_mut().zip(row).zip(&centre) {
            let v = f64::from(v) - c;
            *s += v;
            total += v * v;
        }
    }
    let between = sums
        .chunks_exact(d)
        .zip(&batches.sizes)
        .map(|(sum, &n)| sum.iter().map(|s| s * s).sum::<f64>() / n as f64)
        .sum();
    (between, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (Dense, Coded) {
        let values: Vec<f32> = (0..40)
            .flat_map(|i| {
                let b = (i % 3) as f32;
                [b + ((i * 37) % 11) as f32, 2.0 * b, ((i * 53) % 17) as f32]
            })
            .collect();
        let levels = vec!["a".into(), "b".into(), "c".into()];
        (Dense::new(40, 3, values), Coded { codes: (0..40).map(|i| i % 3).collect(), levels })
    }

    #[test]
    fn all_components_give_what_no_rotation_gives() {
        let (x, batch) = data();
        let plain = pc_regression(&x, &batch, None).unwrap();
        let rotated = pc_regression(&x, &batch, Some(3)).unwrap();
        assert!((plain - rotated).abs() < 1e-6, "{plain} {rotated}");
        assert!(plain > 0.02 && plain < 0.5);
    }

    #[test]
    fn comparison_is_clipped_and_checked() {
        let (x, batch) = data();
        let only_batch = Dense::new(40, 1, (0..40).map(|i| (i % 3) as f32).collect());
        assert_eq!(pc_regression_comparison(&x, &only_batch, &batch).unwrap(), 0.0);
        let flat = Dense::new(40, 1, vec![1.0; 40]);
        assert!(matches!(pc_regression_comparison(&x, &flat, &batch), Err(Error::Inconsistent { .. })));
        assert_eq!(pc_regression(&only_batch, &batch, None).unwrap(), 1.0);
    }
}
