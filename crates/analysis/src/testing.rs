//! Random data for the tests of this crate.

use scgraft_cells::{Coded, Dense};

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

/// Labels from codes, the levels named `L0`, `L1`, …
pub(crate) fn coded(codes: &[u32], n_levels: usize) -> Coded {
    Coded { codes: codes.to_vec(), levels: (0..n_levels).map(|i| format!("L{i}")).collect() }
}

/// Numbers that another implementation gave, from a `safetensors` file.
pub(crate) struct Golden(Vec<u8>);

impl Golden {
    /// One of the files made from the published models.
    pub(crate) fn open(name: &str) -> Self {
        Golden::read(&format!("{}/../models/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR")))
    }

    /// One of the files of this crate.
    pub(crate) fn own(name: &str) -> Self {
        Golden::read(&format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR")))
    }

    fn read(path: &str) -> Self {
        Golden(std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}")))
    }

    /// A tensor of real numbers: shape and values in row order.
    pub(crate) fn reals(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(tensor.dtype(), safetensors::Dtype::F64, "{name}");
        let values = tensor.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
        (tensor.shape().to_vec(), values)
    }

    /// A tensor of codes.
    pub(crate) fn codes(&self, name: &str) -> Vec<u32> {
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(tensor.dtype(), safetensors::Dtype::I32, "{name}");
        tensor.data().chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()) as u32).collect()
    }
}
