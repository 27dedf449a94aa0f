//! The largest eigenpairs of a symmetric operator.
//!
//! Block Lanczos with full orthogonalisation and thick restarts: the basis grows by blocks of A·V,
//! each orthogonalised twice against everything before it; from time to time the basis is
//! replaced by the best Ritz vectors and the last block. Source: Wu & Simon, *SIAM J. Matrix Anal.
//! Appl.* 2000; Stewart 2001. Rows are worked on in fixed blocks and partial sums are added in
//! order, so the bits do not depend on the number of threads.
//!
//! faer's `partial_self_adjoint_eigen` was measured and not taken. It needs several times the processor time: 0.31 s
//! against 0.06 s (50 pairs of a dense 1,500 × 1,500 matrix, 1e-8), 0.73 s against 0.20 s (20 pairs of a graph of 20,000
//! cells, 1e-3), minutes against 2.6 s (100 pairs of it). And of nearly equal values, which graphs have, it missed one of
//! three and gave another twice: it grows its basis by one vector, ours by a block.

use faer::{Accum, Mat, MatMut, MatRef, Side};
use rayon::prelude::*;

use crate::gemm::matmul;
use crate::isa::leave_wide;
use crate::random::Random;

/// Rows in a task.
const ROWS: usize = 4096;
/// Matrices up to this size are decomposed whole.
const SMALL: usize = 400;

/// The decomposition of a small matrix did not come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("eigenvalues: the decomposition did not converge; look for extreme values in the input")]
pub struct NotConverged;

/// What is asked of the solver.
pub struct Search {
    /// Number of eigenpairs.
    pub k: usize,
    /// Columns that are multiplied at once.
    pub block: usize,
    /// Residual ‖A v − λ v‖ at which a pair counts as found, relative to the largest |λ|.
    pub tolerance: f64,
    /// Restarts after which the best pairs so far are returned.
    pub most_restarts: usize,
    /// Seed of the starting block.
    pub seed: u64,
}

/// Eigenvalues, largest first, and their vectors.
pub struct Eigenpairs {
    /// The `k` values.
    pub values: Vec<f64>,
    /// `n × k`, row after row; columns are of unit length, their largest entry positive.
    pub vectors: Vec<f64>,
    /// Largest residual, relative to the largest |λ|.
    pub residual: f64,
}

/// Multiplies by a matrix: (v, p, out), with v and out `n × p`, row after row.
pub type Operator<'o> = dyn Fn(&[f64], usize, &mut [f64]) + 'o;

/// The `k` largest eigenpairs (by value, not magnitude) of the `n × n` operator `apply`.
///
/// `apply(v, p, out)` multiplies `v`, `n × p` row after row, into `out`.
///
/// # Errors
/// Values that a small decomposition does not converge on.
pub fn largest(n: usize, search: &Search, apply: &Operator<'_>) -> Result<Eigenpairs, NotConverged> {
    let k = search.k.min(n);
    if n <= SMALL.max(3 * k) {
        let mut identity = vec![0f64; n * n];
        (0..n).for_each(|i| identity[i * n + i] = 1.0);
        let mut whole = vec![0f64; n * n];
        apply(&identity, n, &mut whole);
        let (values, u) = decompose(&whole, n)?;
        let mut vectors = vec![0f64; n * k];
        (0..n).for_each(|i| (0..k).for_each(|j| vectors[i * k + j] = u[(i, n - 1 - j)]));
        fix_signs(&mut vectors, k);
        return Ok(Eigenpairs { values: values.iter().rev().take(k).copied().collect(), vectors, residual: 0.0 });
    }
    let p = search.block.clamp(1, k.max(1));
    let keep = k + (k / 4).max(p);
    // Room for at least as many new columns as are kept, in whole blocks.
    let width = (keep + p + (keep.max(32)).div_ceil(p) * p).min(n);
    let mut basis = Basis { width, values: vec![0f64; n * width], used: 0 };
    let mut stream = Random::half_open(search.seed, 0);
    let start: Vec<f64> = (0..n * p).map(|_| stream.normal()).collect();
    basis.append(start, p, &mut stream);
    let mut projected = vec![0f64; width * width];
    let mut next = 0;
    let mut restarts = 0;
    loop {
        let mut coupling = vec![0f64; p * p];
        let mut last = vec![0f64; 0];
        while next < basis.used {
            let q = p.min(basis.used - next);
            let v = basis.columns(next, q);
            let mut w = vec![0f64; n * q];
            apply(&v, q, &mut w);
            let h = basis.project_out(&mut w, q);
            for (i, row) in h.chunks_exact(q).enumerate() {
                for (j, &value) in row.iter().enumerate() {
                    projected[i * width + next + j] = value;
                    projected[(next + j) * width + i] = value;
                }
            }
            next += q;
            let full = basis.used + q > width;
            if full || next == basis.used && basis.used == n {
                last = w;
                break;
            }
            coupling = basis.append(w, q, &mut stream);
        }
        let m = next;
        let square: Vec<f64> = (0..m).flat_map(|i| projected[i * width..i * width + m].iter().copied()).collect();
        let (values, u) = decompose(&square, m)?;
        // What A does to the basis beyond the basis itself: the last block.
        let q = if last.is_empty() { 0 } else { last.len() / n };
        let mut rest = last.clone();
        let r = if q > 0 { orthonormalise(&mut rest, q, &mut stream).0 } else { coupling.clone() };
        let scale = values.iter().fold(0f64, |a, v| a.max(v.abs())).max(f64::MIN_POSITIVE);
        let residual_of = |column: usize| -> f64 {
            if q == 0 {
                return 0.0;
            }
            (0..q)
                .map(|i| (0..q).map(|j| r[i * q + j] * u[(m - q + j, column)]).sum::<f64>().powi(2))
                .sum::<f64>()
                .sqrt()
                / scale
        };
        let worst = (0..k).map(|j| residual_of(m - 1 - j)).fold(0f64, f64::max);
        let kept = if worst <= search.tolerance || restarts + 1 >= search.most_restarts || q == 0 { k } else { keep };
        let kept = kept.min(m);
        basis.rotate(&u, m, kept);
        if kept == k {
            let mut vectors = basis.columns(0, k);
            fix_signs(&mut vectors, k);
            return Ok(Eigenpairs { values: (0..k).map(|j| values[m - 1 - j]).collect(), vectors, residual: worst });
        }
        projected.fill(0.0);
        (0..kept).for_each(|j| projected[j * width + j] = values[m - 1 - j]);
        next = kept;
        basis.append(last, q, &mut stream);
        restarts += 1;
    }
}

/// Eigenvalues ascending and eigenvectors of a small symmetric matrix.
///
/// # Errors
/// Values that the decomposition does not converge on.
pub fn decompose(matrix: &[f64], n: usize) -> Result<(Vec<f64>, Mat<f64>), NotConverged> {
    let symmetric = Mat::from_fn(n, n, |i, j| 0.5 * (matrix[i * n + j] + matrix[j * n + i]));
    let eigen = symmetric.self_adjoint_eigen(Side::Lower).map_err(|_| NotConverged)?;
    leave_wide();
    let values = (0..n).map(|i| eigen.S()[i]).collect();
    Ok((values, eigen.U().to_owned()))
}

/// Makes the largest entry (by magnitude, the first of equals) of each column positive.
pub fn fix_signs(vectors: &mut [f64], k: usize) {
    for j in 0..k {
        let mut largest = 0f64;
        for row in vectors.chunks_exact(k) {
            if row[j].abs() > largest.abs() * (1.0 + 1e-9) {
                largest = row[j];
            }
        }
        if largest < 0.0 {
            vectors.chunks_exact_mut(k).for_each(|row| row[j] = -row[j]);
        }
    }
}

/// Orthonormal columns, `n × width` row after row, of which the first `used` are filled.
struct Basis {
    width: usize,
    values: Vec<f64>,
    used: usize,
}

impl Basis {
    fn columns(&self, first: usize, q: usize) -> Vec<f64> {
        self.values.chunks_exact(self.width).flat_map(|row| row[first..first + q].iter().copied()).collect()
    }

    /// w ← w − V Vᵀ w, twice; returns Vᵀ w of the original, `used × q`.
    fn project_out(&self, w: &mut [f64], q: usize) -> Vec<f64> {
        let mut total = vec![0f64; self.used * q];
        for _ in 0..2 {
            let h = self.inner(w, q);
            self.values.par_chunks(ROWS * self.width).zip(w.par_chunks_mut(ROWS * q)).for_each(|(v, w)| {
                let rows = w.len() / q;
                matmul(
                    MatMut::from_row_major_slice_mut(w, rows, q),
                    Accum::Add,
                    MatRef::from_row_major_slice(v, rows, self.width).subcols(0, self.used),
                    MatRef::from_row_major_slice(&h, self.used, q),
                    -1f64,
                );
            });
            total.iter_mut().zip(&h).for_each(|(t, v)| *t += v);
        }
        total
    }

    /// Vᵀ w, `used × q`.
    fn inner(&self, w: &[f64], q: usize) -> Vec<f64> {
        let parts: Vec<Vec<f64>> = self
            .values
            .par_chunks(ROWS * self.width)
            .zip(w.par_chunks(ROWS * q))
            .map(|(v, w)| {
                let rows = w.len() / q;
                let mut out = vec![0f64; self.used * q];
                matmul(
                    MatMut::from_row_major_slice_mut(&mut out, self.used, q),
                    Accum::Replace,
                    MatRef::from_row_major_slice(v, rows, self.width).subcols(0, self.used).transpose(),
                    MatRef::from_row_major_slice(w, rows, q),
                    1f64,
                );
                out
            })
            .collect();
        add_in_order(parts, self.used * q)
    }

    /// Orthonormalises `w` (already orthogonal to the basis) and appends it; returns R of w = Q R.
    fn append(&mut self, mut w: Vec<f64>, q: usize, stream: &mut Random) -> Vec<f64> {
        let (r, replaced) = orthonormalise(&mut w, q, stream);
        if replaced {
            // A direction was lost: random ones took its place and must leave the basis too.
            self.project_out(&mut w, q);
            orthonormalise(&mut w, q, stream);
        }
        for (row, new) in self.values.chunks_exact_mut(self.width).zip(w.chunks_exact(q)) {
            row[self.used..self.used + q].copy_from_slice(new);
        }
        self.used += q;
        r
    }

    /// V ← V U over the last `kept` of `m` columns of `u`, largest first.
    fn rotate(&mut self, u: &Mat<f64>, m: usize, kept: usize) {
        let chosen: Vec<f64> = (0..m).flat_map(|i| (0..kept).map(move |j| u[(i, m - 1 - j)])).collect();
        let width = self.width;
        self.values.par_chunks_mut(ROWS * width).for_each(|v| {
            let rows = v.len() / width;
            let mut out = vec![0f64; rows * kept];
            matmul(
                MatMut::from_row_major_slice_mut(&mut out, rows, kept),
                Accum::Replace,
                MatRef::from_row_major_slice(v, rows, width).subcols(0, m),
                MatRef::from_row_major_slice(&chosen, m, kept),
                1f64,
            );
            for (row, new) in v.chunks_exact_mut(width).zip(out.chunks_exact(kept)) {
                row[..kept].copy_from_slice(new);
            }
        });
        self.used = kept;
    }
}

fn add_in_order(parts: Vec<Vec<f64>>, len: usize) -> Vec<f64> {
    let mut sum = vec![0f64; len];
    for part in &parts {
        sum.iter_mut().zip(part).for_each(|(s, v)| *s += v);
    }
    sum
}

/// w = Q R by Gram–Schmidt, twice; columns that vanish become random. Returns R and whether any did.
fn orthonormalise(w: &mut [f64], q: usize, stream: &mut Random) -> (Vec<f64>, bool) {
    let mut r = vec![0f64; q * q];
    let mut replaced = false;
    for j in 0..q {
        let before = column_dot(w, q, j, j).sqrt();
        for _ in 0..2 {
            for i in 0..j {
                let h = column_dot(w, q, i, j);
                w.chunks_exact_mut(q).for_each(|row| row[j] -= h * row[i]);
                r[i * q + j] += h;
            }
        }
        let mut norm = column_dot(w, q, j, j).sqrt();
        r[j * q + j] = norm;
        if norm <= 1e-13 * before.max(1e-280) || norm == 0.0 {
            r[j * q + j] = 0.0;
            replaced = true;
            w.chunks_exact_mut(q).for_each(|row| row[j] = stream.normal());
            for i in 0..j {
                let h = column_dot(w, q, i, j);
                w.chunks_exact_mut(q).for_each(|row| row[j] -= h * row[i]);
            }
            norm = column_dot(w, q, j, j).sqrt();
        }
        w.chunks_exact_mut(q).for_each(|row| row[j] /= norm);
    }
    (r, replaced)
}

fn column_dot(w: &[f64], q: usize, i: usize, j: usize) -> f64 {
    w.chunks(ROWS * q).map(|part| part.chunks_exact(q).map(|row| row[i] * row[j]).sum::<f64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path graph's adjacency matrix has eigenvalues 2 cos(π j / (n + 1)).
    fn path(v: &[f64], p: usize, out: &mut [f64]) {
        let n = v.len() / p;
        for i in 0..n {
            for c in 0..p {
                let left = if i > 0 { v[(i - 1) * p + c] } else { 0.0 };
                let right = if i + 1 < n { v[(i + 1) * p + c] } else { 0.0 };
                out[i * p + c] = left + right;
            }
        }
    }

    fn check(n: usize, k: usize, block: usize, apply: &Operator<'_>, expected: &dyn Fn(usize) -> f64) {
        let search = Search { k, block, tolerance: 1e-8, most_restarts: 400, seed: 3 };
        let e = largest(n, &search, apply).unwrap();
        assert!(e.residual <= 1e-8, "residual {}", e.residual);
        for j in 0..k {
            assert!((e.values[j] - expected(j)).abs() < 1e-7, "{j}: {} against {}", e.values[j], expected(j));
        }
        let mut image = vec![0f64; n * k];
        apply(&e.vectors, k, &mut image);
        for (a, v) in image.chunks_exact(k).zip(e.vectors.chunks_exact(k)) {
            for j in 0..k {
                assert!((a[j] - e.values[j] * v[j]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn path_graphs_small_and_large() {
        for n in [50, 600] {
            let value = move |j: usize| 2.0 * (std::f64::consts::PI * (j + 1) as f64 / (n + 1) as f64).cos();
            check(n, 4, 3, &path, &value);
        }
    }

    #[test]
    fn repeated_eigenvalues() {
        // Diagonal: 5 ones of value 3, the rest spread below 1.
        let diagonal = |i: usize| if i % 200 == 7 { 3.0 } else { (i % 97) as f64 / 100.0 };
        let apply = move |v: &[f64], p: usize, out: &mut [f64]| {
            for (i, (o, v)) in out.chunks_exact_mut(p).zip(v.chunks_exact(p)).enumerate() {
                o.iter_mut().zip(v).for_each(|(o, v)| *o = diagonal(i) * v);
            }
        };
        check(1000, 6, 2, &apply, &|j| if j < 5 { 3.0 } else { 0.96 });
    }
}
