//! Dependence of scores on each other: correlation, HSIC, and an order in which alike ones stand together.

use rayon::prelude::*;
use scgraft_cells::Dense;

use crate::error::{Error, Result, check_matrix};

/// Pearson's correlations of all columns, by rows; NaN with a column that does not vary.
///
/// # Errors
/// An empty matrix, or a value that is not finite.
pub fn correlations(scores: &Dense) -> Result<Vec<f64>> {
    check_matrix("scores", scores)?;
    let n = scores.n_cols;
    let standard: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map(|j| {
            let column: Vec<f64> = scores.column(j).into_iter().map(f64::from).collect();
            let mean = column.iter().sum::<f64>() / column.len() as f64;
            let norm = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt();
            column.into_iter().map(|v| (v - mean) / norm).collect()
        })
        .collect();
    let upper = |i: usize| -> Vec<f64> {
        (i..n).map(|j| standard[i].iter().zip(&standard[j]).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0)).collect()
    };
    let upper: Vec<Vec<f64>> = (0..n).into_par_iter().map(upper).collect();
    Ok((0..n * n).map(|at| (at / n, at % n)).map(|(i, j)| upper[i.min(j)][i.max(j) - i.min(j)]).collect())
}

/// Normalised HSIC of a score x and others y: HSIC(x, y) / √(HSIC(x, x) HSIC(y, y)), from 0 (independent) to 1.
///
/// HSIC(x, y) = tr(K H L H) / n², the biased estimate with kernels exp(−d² / 2s²), s² the mean of the d² of all pairs of cells (so
/// that the scale of the scores does not matter), H = 1 − 1/n (Gretton et al. 2005, doi:10.1007/11564089_7). Takes time and
/// memory by the square of the cells: give it a draw of some hundred.
///
/// # Errors
/// Matrices of different numbers of rows, an empty one, a value that is not finite.
pub fn hsic(x: &Dense, y: &Dense) -> Result<f64> {
    check_matrix("scores", x)?;
    check_matrix("other scores", y)?;
    if x.n_rows != y.n_rows {
        return Err(Error::Length { what: "other scores".into(), expected: x.n_rows, found: y.n_rows });
    }
    let (k, l) = (centred_kernel(x), centred_kernel(y));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let scale = (product(&k, &k) * product(&l, &l)).sqrt();
    Ok(if scale > 0.0 { product(&k, &l) / scale } else { 0.0 })
}

/// H K H, by rows.
fn centred_kernel(x: &Dense) -> Vec<f64> {
    let n = x.n_rows;
    let squared = |i: usize, j: usize| -> f64 {
        x.row(i).iter().zip(x.row(j)).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    };
    let mut k: Vec<f64> = (0..n * n).into_par_iter().map(|at| squared(at / n, at % n)).collect();
    let mean = k.iter().sum::<f64>() / (n * (n - 1)).max(1) as f64;
    k.iter_mut().for_each(|d| *d = if mean > 0.0 { (-*d / (2.0 * mean)).exp() } else { 1.0 });
    let rows: Vec<f64> = k.chunks_exact(n).map(|row| row.iter().sum::<f64>() / n as f64).collect();
    let all = rows.iter().sum::<f64>() / n as f64;
    k.iter_mut().enumerate().for_each(|(at, v)| *v += all - rows[at / n] - rows[at % n]);
    k
}

/// An order in which alike items stand together: the leaves of average linkage over distances (n × n, by rows; NaN counts as
/// 1), in each join the half with the earlier item first.
pub fn linkage_order(distances: &[f64], n: usize) -> Vec<usize> {
    let mut d: Vec<f64> = distances.iter().map(|v| if v.is_nan() { 1.0 } else { *v }).collect();
    let mut clusters: Vec<Option<Vec<usize>>> = (0..n).map(|i| Some(vec![i])).collect();
    for _ in 1..n {
        let there: Vec<usize> = (0..n).filter(|&i| clusters[i].is_some()).collect();
        let pairs = there.iter().enumerate().flat_map(|(at, &i)| there[at + 1..].iter().map(move |&j| (i, j)));
        let Some((i, j)) = pairs.min_by(|a, b| d[a.0 * n + a.1].total_cmp(&d[b.0 * n + b.1])) else { break };
        let (Some(a), Some(b)) = (clusters[i].take(), clusters[j].take()) else { break };
        let (wa, wb) = (a.len() as f64, b.len() as f64);
        for &k in there.iter().filter(|&&k| k != i && k != j) {
            let joined = (wa * d[i * n + k] + wb * d[j * n + k]) / (wa + wb);
            (d[i * n + k], d[k * n + i]) = (joined, joined);
        }
        clusters[i] = Some(if a.iter().min() < b.iter().min() { [a, b].concat() } else { [b, a].concat() });
    }
    clusters.into_iter().flatten().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normals;

    #[test]
    fn correlations_are_those_of_the_formula() {
        let x = [1.0f32, 2.0, 4.0, 8.0];
        let y = [2.0f32, 1.0, 0.0, -3.0];
        let values = x.iter().zip(&y).flat_map(|(&x, &y)| [x, -2.0 * x, y, 7.0]).collect();
        let r = correlations(&Dense::new(4, 4, values)).unwrap();
        assert!((r[1] + 1.0).abs() < 1e-12 && (r[0] - 1.0).abs() < 1e-12);
        // numpy.corrcoef
        assert!((r[2] + 0.996_889_572_558).abs() < 1e-9, "{}", r[2]);
        assert_eq!(r[2], r[8]);
        assert!(r[3].is_nan());
    }

    #[test]
    fn hsic_sees_what_correlation_does_not() {
        let z: Vec<f32> = normals(400, 3).iter().map(|&v| v as f32).collect();
        let other: Vec<f32> = normals(400, 4).iter().map(|&v| v as f32).collect();
        let squares: Vec<f32> = z.iter().map(|v| v * v).collect();
        let column = |v: &[f32]| Dense::new(v.len(), 1, v.to_vec());
        let z = column(&z);
        let of = |y: &Dense| hsic(&z, y).unwrap();
        assert!((of(&z) - 1.0).abs() < 1e-12);
        assert!(of(&column(&squares)) > 0.1, "{}", of(&column(&squares)));
        assert!(of(&column(&other)) < 0.05, "{}", of(&column(&other)));
        // A score among others that mean nothing, and one that does not vary.
        let pair: Vec<f32> = z.values.iter().zip(&other).flat_map(|(&a, &b)| [a, b]).collect();
        assert!(of(&Dense::new(400, 2, pair)) > 0.2);
        assert_eq!(of(&column(&[1.0; 400])), 0.0);
        assert!(hsic(&z, &column(&[1.0])).is_err());
    }

    #[test]
    fn alike_items_stand_together() {
        // Two pairs, and one item alone.
        let at = [0.0f64, 5.0, 0.1, 20.0, 5.2];
        let d: Vec<f64> = at.iter().flat_map(|a| at.iter().map(move |b| (a - b).abs())).collect();
        assert_eq!(linkage_order(&d, 5), [0, 2, 1, 4, 3]);
        assert_eq!(linkage_order(&[0.0], 1), [0]);
        assert!(linkage_order(&[], 0).is_empty());
    }
}
