//! Reading golden files: numbers that the published code gives, in `f64`.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors};
use scgraft_models::import::{Source, Used};
use serde_json::Value;

/// A golden file: settings, and every array as `f64` with its shape.
pub struct Golden {
    pub name: String,
    pub settings: Value,
    arrays: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    pub fn read(name: &str) -> Golden {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, head) = SafeTensors::read_metadata(&bytes).unwrap();
        let settings = serde_json::from_str(&head.metadata().as_ref().unwrap()["settings"]).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let arrays = file
            .iter()
            .map(|(name, view)| {
                let d = view.data();
                let values = match view.dtype() {
                    Dtype::F64 => d.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                    Dtype::F32 => d.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
                    Dtype::I32 => d.as_chunks::<4>().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
                    other => panic!("{other:?} in a golden file"),
                };
                (name.to_owned(), (view.shape().to_vec(), values))
            })
            .collect();
        Golden { name: name.to_owned(), settings, arrays }
    }

    pub fn has(&self, key: &str) -> bool {
        self.arrays.contains_key(key)
    }

    pub fn shape(&self, key: &str) -> &[usize] {
        &self.array(key).0
    }

    pub fn values(&self, key: &str) -> &[f64] {
        &self.array(key).1
    }

    pub fn scalar(&self, key: &str) -> f64 {
        self.values(key)[0]
    }

    /// A tensor of ours from upstream's under a prefix; `None` when they are not in the file.
    pub fn read_source(&self, prefix: &str, source: &Source) -> Option<Vec<f64>> {
        let of = |name: &str| self.arrays.get(&format!("{prefix}.{name}")).map(|(shape, v)| (&shape[..], &v[..]));
        source.read(&of, &mut Used::new())
    }

    /// Slice `t` along the first axis.
    pub fn slice(&self, key: &str, t: usize) -> &[f64] {
        let (shape, values) = self.array(key);
        let width: usize = shape[1..].iter().product();
        &values[t * width..(t + 1) * width]
    }

    fn array(&self, key: &str) -> &(Vec<usize>, Vec<f64>) {
        self.arrays.get(key).unwrap_or_else(|| panic!("{} has no `{key}`", self.name))
    }
}

pub fn transpose(values: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    (0..rows * cols).map(|i| values[(i % rows) * cols + i / rows]).collect()
}

pub fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// |got − want| within `tolerance` of the largest |want|.
pub fn assert_close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}: number of values");
    // Gradients that are zero in exact arithmetic (a bias before batch norm) leave the rounding of what cancelled,
    // which is of order one: 1e-2 is the least scale.
    let scale = want.iter().fold(1e-2f64, |m, v| m.max(v.abs()));
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(g) - w).abs() / scale;
        assert!(error <= tolerance, "{what}[{i}]: {g}, upstream {w} ({error:.1e} of the largest)");
    }
}
