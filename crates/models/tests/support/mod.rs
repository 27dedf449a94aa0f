//! Golden files: numbers that the published code gives, in `f64`.

pub use scgraft_golden::Golden;
use scgraft_models::import::{Source, Used};

/// A tensor of ours from upstream's under a prefix; `None` when they are not in the file.
pub fn read_source(golden: &Golden, prefix: &str, source: &Source) -> Option<Vec<f64>> {
    source.read(&|name: &str| golden.get(&format!("{prefix}.{name}")), &mut Used::new())
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
