//! Golden files: numbers that other programs gave, which the tests of every crate are held against.
//!
//! A file is `safetensors` in `tests/golden` of the crate that it is about; a script of `tools/golden` made it. Only tests
//! depend on this crate, so that what is missing or of the wrong type is a panic that says so.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;

/// A golden file: settings, and every array as `f64` with its shape.
pub struct Golden {
    /// The name of the file.
    pub name: String,
    /// What the numbers were made with; `Null` where the file does not say.
    pub settings: Value,
    arrays: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    /// A file about models.
    pub fn read(name: &str) -> Golden {
        Golden::of("models", name)
    }

    /// A file about the crate in the folder `crates/<folder>`.
    pub fn of(folder: &str, name: &str) -> Golden {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let path = crates.join(folder).join("tests/golden").join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, head) = SafeTensors::read_metadata(&bytes).unwrap();
        let settings = head.metadata().as_ref().and_then(|m| m.get("settings"));
        let settings = settings.map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let arrays = file
            .iter()
            .map(|(name, view)| {
                let d = view.data();
                let values = match view.dtype() {
                    Dtype::F64 => d.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                    Dtype::F32 => d.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
                    Dtype::I32 => d.as_chunks::<4>().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
                    other => panic!("{name}: {other:?} in a golden file"),
                };
                (name.to_owned(), (view.shape().to_vec(), values))
            })
            .collect();
        Golden { name: name.to_owned(), settings, arrays }
    }

    /// Whether there is an array of this name.
    pub fn has(&self, key: &str) -> bool {
        self.arrays.contains_key(key)
    }

    /// The shape and the values of an array, by rows; `None` where there is none.
    pub fn get(&self, key: &str) -> Option<(&[usize], &[f64])> {
        self.arrays.get(key).map(|(shape, values)| (&shape[..], &values[..]))
    }

    /// The shape of an array.
    pub fn shape(&self, key: &str) -> &[usize] {
        self.array(key).0
    }

    /// The values of an array, by rows.
    pub fn values(&self, key: &str) -> &[f64] {
        self.array(key).1
    }

    /// The values of an array of codes.
    pub fn codes(&self, key: &str) -> Vec<u32> {
        self.values(key).iter().map(|&v| v as u32).collect()
    }

    /// The values of an array in single precision.
    pub fn singles(&self, key: &str) -> Vec<f32> {
        self.values(key).iter().map(|&v| v as f32).collect()
    }

    /// The first value of an array.
    pub fn scalar(&self, key: &str) -> f64 {
        self.values(key)[0]
    }

    /// Slice `t` along the first axis of an array.
    pub fn slice(&self, key: &str, t: usize) -> &[f64] {
        let (shape, values) = self.array(key);
        let width: usize = shape[1..].iter().product();
        &values[t * width..(t + 1) * width]
    }

    fn array(&self, key: &str) -> (&[usize], &[f64]) {
        self.get(key).unwrap_or_else(|| panic!("{} has no `{key}`", self.name))
    }
}
