//! Principal components.

use rayon::prelude::*;
use scgraft_cells::{Dense, Steps};
use scgraft_numeric::eigen::{Search, fix_signs, largest};
use scgraft_numeric::gemm::{Accum, MatMut, MatRef, matmul};

use crate::error::{Error, Result, check_matrix};

/// Rows in a task, and in a partial sum.
const ROWS: usize = 512;

/// Principal components of a matrix: a rotation that gives the variance to as few axes as possible.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// Cells × components: the centred data on the components.
    pub scores: Dense,
    /// Components × variables: unit vectors, their entry of largest magnitude positive.
    pub components: Dense,
    /// Mean of each variable.
    pub mean: Vec<f32>,
    /// Variance along each component (divisor n − 1), descending.
    pub variance: Vec<f64>,
    /// The share of the total variance of each component.
    pub variance_ratio: Vec<f64>,
}

impl Pca {
    /// Other cells on the same components: (x − mean) · componentsᵀ.
    ///
    /// # Errors
    /// A different number of variables, or values that are not finite.
    pub fn project(&self, x: &Dense) -> Result<Dense> {
        check_matrix("data to project", x)?;
        if x.n_cols != self.components.n_cols {
            return Err(Error::Dimensions {
                what: "data to project".to_owned(),
                expected: self.components.n_cols,
                found: x.n_cols,
            });
        }
        let mean: Vec<f64> = self.mean.iter().map(|&m| f64::from(m)).collect();
        let components: Vec<f64> = self.components.values.iter().map(|&v| f64::from(v)).collect();
        Ok(scores(x, &mean, &components, self.components.n_rows))
    }
}

/// The first `k` principal components of `x` (cells × variables; log-normalised expression or an embedding).
///
/// Exact: eigenvectors of the covariance (or, with fewer cells than variables, of the Gram matrix of
/// the cells), computed in `f64`; only the k wanted are solved for. The sign is fixed by
/// the component's entry of largest magnitude, so the same data always gives the same picture.
///
/// ```
/// use scgraft_analysis::pca::pca;
/// use scgraft_cells::{Dense, Steps};
///
/// // Three cells on a line through two variables: one component holds everything.
/// let x = Dense::new(3, 2, vec![1.0, 2.0, 2.0, 4.0, 3.0, 6.0]);
/// let p = pca(&x, 1)?;
/// assert!((p.variance_ratio[0] - 1.0).abs() < 1e-12 && (p.variance[0] - 5.0).abs() < 1e-9);
/// # Ok::<(), scgraft_analysis::Error>(())
/// ```
///
/// # Errors
/// Values that are not finite; `k` of 0 or larger than min(cells, variables); a single cell.
pub fn pca(x: &Dense, k: usize) -> Result<Pca> {
    check_matrix("data", x)?;
    let (n, d) = (x.n_rows, x.n_cols);
    if n < 2 {
        return Err(Error::Inconsistent { what: "data".to_owned(), problem: "one cell has no variance".to_owned() });
    }
    if k == 0 || k > n.min(d) {
        return Err(Error::Parameter {
            name: "number of components",
            value: k.to_string(),
            expected: "at least 1, at most the smaller of cells and variables",
        });
    }
    let mean = means(x);
    let by_cells = n < d;
    let gram = if by_cells { gram_of_cells(x, &mean) } else { gram_of_variables(x, &mean) };
    let size = n.min(d);
    let total: f64 = (0..size).map(|i| gram[i * size + i]).sum();
    let search = Search { k, block: 8, tolerance: 1e-8, most_restarts: 300, seed: 0 };
    let found = largest(size, &search, &|v, p, out| multiply(&gram, size, v, p, out))?;
    // Of two components with nearly the same variance either may come first; what must not pass is a wrong direction.
    if found.residual > 1e-6 {
        return Err(Error::Inconsistent {
            what: "principal components".to_owned(),
            problem: format!(
                "not settled after many steps (residual {:.1e}); ask for fewer components",
                found.residual
            ),
        });
    }
    let mut components = vec![0f64; k * d];
    if by_cells {
        from_cells(x, &mean, &found.vectors, k, &mut components);
    } else {
        for (j, row) in found.vectors.chunks_exact(k).enumerate() {
            (0..k).for_each(|c| components[c * d + j] = row[c]);
        }
    }
    let mut columns: Vec<f64> =
        (0..d).flat_map(|j| (0..k).map(move |c| (c, j))).map(|(c, j)| components[c * d + j]).collect();
    fix_signs(&mut columns, k);
    for (j, row) in columns.chunks_exact(k).enumerate() {
        (0..k).for_each(|c| components[c * d + j] = row[c]);
    }
    let variance: Vec<f64> = found.values.iter().map(|v| v.max(0.0) / (n - 1) as f64).collect();
    let all = total / (n - 1) as f64;
    Ok(Pca {
        scores: scores(x, &mean, &components, k),
        components: Dense::new(k, d, components.iter().map(|&v| v as f32).collect()),
        mean: mean.iter().map(|&m| m as f32).collect(),
        variance_ratio: variance.iter().map(|v| if all > 0.0 { v / all } else { 0.0 }).collect(),
        variance,
    })
}

fn means(x: &Dense) -> Vec<f64> {
    let mut mean = vec![0f64; x.n_cols];
    for row in x.values.chunks_exact(x.n_cols) {
        mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v));
    }
    mean.iter_mut().for_each(|m| *m /= x.n_rows as f64);
    mean
}

fn centred(x: &Dense, mean: &[f64], rows: std::ops::Range<usize>) -> Vec<f64> {
    let d = x.n_cols;
    let part = &x.values[rows.start * d..rows.end * d];
    part.chunks_exact(d).flat_map(|row| row.iter().zip(mean).map(|(&v, m)| f64::from(v) - m)).collect()
}

/// Xᵀ X of the centred data. Tasks own rows of the result; each adds the cells in fixed blocks.
fn gram_of_variables(x: &Dense, mean: &[f64]) -> Vec<f64> {
    let (n, d) = (x.n_rows, x.n_cols);
    let mut gram = vec![0f64; d * d];
    let steps = Steps::new("principal components", n.div_ceil(4 * ROWS));
    for start in (0..n).step_by(4 * ROWS) {
        let end = (start + 4 * ROWS).min(n);
        let part = centred(x, mean, start..end);
        let whole = MatRef::from_row_major_slice(&part, end - start, d);
        gram.par_chunks_mut(128 * d).enumerate().for_each(|(block, out)| {
            let (first, rows) = (block * 128, out.len() / d);
            // Only what is on or right of the diagonal; the rest is mirrored below.
            matmul(
                MatMut::from_row_major_slice_mut(out, rows, d).subcols_mut(first, d - first),
                Accum::Add,
                whole.subcols(first, rows).transpose(),
                whole.subcols(first, d - first),
                1f64,
            );
        });
        steps.done();
    }
    mirror(&mut gram, d);
    gram
}

/// X Xᵀ of the centred data.
fn gram_of_cells(x: &Dense, mean: &[f64]) -> Vec<f64> {
    let (n, d) = (x.n_rows, x.n_cols);
    let all = centred(x, mean, 0..n);
    let whole = MatRef::from_row_major_slice(&all, n, d);
    let mut gram = vec![0f64; n * n];
    gram.par_chunks_mut(128 * n).enumerate().for_each(|(block, out)| {
        let (first, rows) = (block * 128, out.len() / n);
        matmul(
            MatMut::from_row_major_slice_mut(out, rows, n).subcols_mut(first, n - first),
            Accum::Replace,
            whole.subrows(first, rows),
            whole.subrows(first, n - first).transpose(),
            1f64,
        );
    });
    mirror(&mut gram, n);
    gram
}

fn mirror(gram: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..i {
            gram[i * n + j] = gram[j * n + i];
        }
    }
}

fn multiply(matrix: &[f64], n: usize, v: &[f64], p: usize, out: &mut [f64]) {
    let v = MatRef::from_row_major_slice(v, n, p);
    out.par_chunks_mut(64 * p).zip(matrix.par_chunks(64 * n)).for_each(|(out, rows)| {
        let m = out.len() / p;
        matmul(
            MatMut::from_row_major_slice_mut(out, m, p),
            Accum::Replace,
            MatRef::from_row_major_slice(rows, m, n),
            v,
            1f64,
        );
    });
}

/// Components Xᵀ u, made of unit length; `u` is n × k.
fn from_cells(x: &Dense, mean: &[f64], u: &[f64], k: usize, components: &mut [f64]) {
    let d = x.n_cols;
    for (i, weights) in u.chunks_exact(k).enumerate() {
        for (c, &w) in components.chunks_exact_mut(d).zip(weights) {
            c.iter_mut().zip(x.row(i)).zip(mean).for_each(|((o, &v), m)| *o += w * (f64::from(v) - m));
        }
    }
    for c in components.chunks_exact_mut(d) {
        let norm = c.iter().map(|v| v * v).sum::<f64>().sqrt();
        // A component without variance has no direction: left at zero.
        if norm > 0.0 {
            c.iter_mut().for_each(|v| *v /= norm);
        }
    }
}

fn scores(x: &Dense, mean: &[f64], components: &[f64], k: usize) -> Dense {
    let (n, d) = (x.n_rows, x.n_cols);
    let mut out = Dense::zeros(n, k);
    out.values.par_chunks_mut(ROWS * k).enumerate().for_each(|(block, out)| {
        let rows = out.len() / k;
        let part = centred(x, mean, block * ROWS..block * ROWS + rows);
        let mut product = vec![0f64; rows * k];
        matmul(
            MatMut::from_row_major_slice_mut(&mut product, rows, k),
            Accum::Replace,
            MatRef::from_row_major_slice(&part, rows, d),
            MatRef::from_row_major_slice(components, k, d).transpose(),
            1f64,
        );
        out.iter_mut().zip(&product).for_each(|(o, &v)| *o = v as f32);
    });
    out
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::random::Random;

    use super::*;

    fn noise(n: usize, d: usize, seed: u64) -> Dense {
        let mut s = Random::half_open(seed, 0);
        let values = (0..n * d).map(|i| (s.normal() / (1.0 + (i % d) as f64) + 3.0) as f32).collect();
        Dense::new(n, d, values)
    }

    fn check(x: &Dense, k: usize) {
        let p = pca(x, k).unwrap();
        assert_eq!((p.scores.n_rows, p.scores.n_cols), (x.n_rows, k));
        for a in 0..k {
            let column: Vec<f64> = p.scores.column(a).iter().map(|&v| f64::from(v)).collect();
            let variance = column.iter().map(|v| v * v).sum::<f64>() / (x.n_rows - 1) as f64;
            assert!((variance / p.variance[a] - 1.0).abs() < 1e-4, "{variance} {}", p.variance[a]);
            for b in 0..a {
                let dot: f64 = column.iter().zip(p.scores.column(b)).map(|(v, w)| v * f64::from(w)).sum();
                assert!(dot.abs() < 1e-3 * (x.n_rows as f64) * p.variance[0], "{a} {b} {dot}");
            }
            let largest = p.components.row(a).iter().fold(0f32, |m, &v| if v.abs() > m.abs() { v } else { m });
            assert!(largest > 0.0);
        }
        assert_eq!(p.project(x).unwrap().n_cols, k);
        for (a, b) in p.project(x).unwrap().values.iter().zip(&p.scores.values) {
            assert!((a - b).abs() < 1e-4);
        }
    }

    #[test]
    fn more_cells_than_variables_and_fewer() {
        check(&noise(300, 20, 1), 20);
        check(&noise(60, 200, 2), 10);
        check(&noise(900, 600, 3), 5);
    }

    #[test]
    fn all_components_hold_all_variance() {
        let p = pca(&noise(100, 6, 5), 6).unwrap();
        assert!((p.variance_ratio.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(p.variance.windows(2).all(|w| w[0] >= w[1]));
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(pca(&noise(10, 4, 1), 5), Err(Error::Parameter { .. })));
        assert!(matches!(pca(&noise(1, 4, 1), 1), Err(Error::Inconsistent { .. })));
    }
}
