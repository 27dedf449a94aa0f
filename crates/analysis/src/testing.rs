//! Random data for the tests of this crate.

use scgraft_cells::{Coded, Dense};
use scgraft_golden::Golden;

/// Standard normal numbers from a counter: the same for the same seed, on any machine.
pub(crate) fn normals(n: usize, seed: u64) -> Vec<f64> {
    let uniform = |i: u64| (scgraft_numeric::random::mix(seed, i) >> 11) as f64 / (1u64 << 53) as f64;
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

/// Labels from codes, the levels named `L0`, `L1`, …
pub(crate) fn coded(codes: &[u32], n_levels: usize) -> Coded {
    Coded { codes: codes.to_vec(), levels: (0..n_levels).map(|i| format!("L{i}")).collect() }
}

/// A matrix of a golden file.
pub(crate) fn golden_matrix(golden: &Golden, name: &str) -> Dense {
    let shape = golden.shape(name);
    Dense::new(shape[0], shape[1], golden.singles(name))
}
