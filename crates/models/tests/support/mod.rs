//! Golden files: numbers that the published code gives, in `f64`.

use scgraft_engine::{Grads, Noise, Workspace};
pub use scgraft_golden::Golden;
use scgraft_models::import::{Source, Used};
use scgraft_models::{Batch, Model, Step};

/// Our tensor's values from upstream's tensors under a prefix (`param`, `grad`, `curve.final`), in our layout;
/// `None` when the prefix lacks them.
pub type Ours<'g> = dyn Fn(&Model, &str, &str) -> Option<Vec<f64>> + 'g;

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

/// The model with upstream's weights in place of its own.
pub fn with_weights(g: &Golden, mut model: Model, ours: &Ours<'_>) -> Model {
    let values: Vec<_> = model.params.iter().map(|p| ours(&model, "param", &p.name)).collect();
    for (p, v) in model.params.iter_mut().zip(values) {
        let v = v.unwrap_or_else(|| panic!("{}: no weights for `{}`", g.name, p.name));
        assert_eq!(v.len(), p.n_values(), "{}: `{}`", g.name, p.name);
        p.put(single(&v));
    }
    model
}

/// Loss terms: name, value, weight; and gradients where they are wanted.
pub fn pass(
    model: &Model,
    batch: &Batch,
    noise: Noise,
    step: &Step,
    grads: Option<&mut Grads>,
) -> Vec<(&'static str, f64, f64)> {
    let mut workspace = Workspace::new();
    let mut tape = model.tape(&mut workspace, noise, grads.is_some());
    let loss = model.network.loss(&mut tape, batch, step);
    let terms = loss.iter().map(|t| (t.name, f64::from(tape.scalar(t.value)), f64::from(t.weight))).collect();
    let roots: Vec<_> = loss.iter().map(|t| (t.value, t.weight)).collect();
    match grads {
        Some(grads) => tape.backward(&roots, grads),
        None => tape.finish(),
    }
    terms
}

pub fn relative(what: &str, got: f64, want: f64, tolerance: f64) {
    let error = (got - want).abs() / want.abs().max(1e-3);
    assert!(error <= tolerance, "{what}: {got}, upstream {want} ({error:.1e} relative)");
}
