//! Random data for the tests of this crate.

use scgraft_cells::Dense;

/// Standard normal numbers from a counter: the same for the same seed, on any machine.
pub(crate) fn normals(n: usize, seed: u64) -> Vec<f64> {
    let uniform = |i: u64| (crate::random::mix(seed, i) >> 11) as f64 / (1u64 << 53) as f64;
    (0..n as u64)
        .map(|i| {
            let (u, v) = (uniform(2 * i).max(1e-300), uniform(2 * i + 1));
            (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
        })
        .collect()
}

/// A matrix of standard normal numbers.
pub(crate) fn normal_matrix(n_rows: usize, n_cols: usize, seed: u64) -> Dense {
    Dense::new(n_rows, n_cols, normals(n_rows * n_cols, seed).into_iter().map(|v| v as f32).collect())
}
