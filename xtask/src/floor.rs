//! What a training step needs at least: its arithmetic at the rate this machine multiplies matrices, and its bytes at
//! the rate this machine moves them. Both rates are measured here, on one thread.

use std::hint::black_box;
use std::time::Instant;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use scgraft_cells::Prepared;
use scgraft_engine::Axis;
use scgraft_models::Model;
use scgraft_train::TrainConfig;

/// Rates of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// f32 multiply-adds count twice.
    pub flops_per_second: f64,
    /// Bytes read and written, from memory that the caches do not hold.
    pub bytes_per_second: f64,
}

/// Measures both, the best of several runs.
pub fn measure() -> Rates {
    const N: usize = 768;
    let (a, b, mut c) = (vec![0.5f32; N * N], vec![0.25f32; N * N], vec![0f32; N * N]);
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        let out = MatMut::from_row_major_slice_mut(&mut c, N, N);
        let (a, b) = (MatRef::from_row_major_slice(&a, N, N), MatRef::from_row_major_slice(&b, N, N));
        matmul(out, Accum::Replace, a, b, 1.0, Par::Seq);
        best = best.min(start.elapsed().as_secs_f64());
    }
    let flops_per_second = 2.0 * (N * N * N) as f64 / best;

    const LEN: usize = 16 << 20;
    let (x, mut y) = (vec![1f32; LEN], vec![2f32; LEN]);
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let start = Instant::now();
        y.iter_mut().zip(&x).for_each(|(y, &x)| *y += 0.5 * x);
        black_box(&mut y);
        best = best.min(start.elapsed().as_secs_f64());
    }
    Rates { flops_per_second, bytes_per_second: 12.0 * LEN as f64 / best }
}

/// Arithmetic and bytes of one step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Need {
    /// Dense products and the sparse first layer.
    pub flops: f64,
    /// What must move: weights, gradients, moments, and the decoder's activations.
    pub bytes: f64,
}

impl Need {
    /// Seconds at the machine's rates.
    pub fn seconds(&self, rates: Rates) -> f64 {
        self.flops / rates.flops_per_second + self.bytes / rates.bytes_per_second
    }
}

/// What a step of training needs with its share of the validation that ends the epoch.
pub fn step_of_epoch(model: &Model, data: &Prepared, config: &TrainConfig) -> Need {
    let nnz = data.expression.whole().map_or(0, |x| x.nnz()) * config.batch_size / data.n_cells();
    let (train, validate) = needs(model, config.batch_size, nnz, data.n_genes());
    let batches =
        if config.early_stopping.is_some() { (1.0 - config.train_fraction) / config.train_fraction } else { 0.0 };
    Need { flops: train.flops + batches * validate.flops, bytes: train.bytes + batches * validate.bytes }
}

/// What a step of training needs and what a batch of validation: `cells` a batch with `nnz` counts, over `genes`.
///
/// Products: forward, gradient to the input (but for the first layer), gradient to the weights where they train; each
/// weight meets each cell once, so that what a model does for every label, or between all cells, is not counted. A
/// frozen first layer needs none: its products are known. Bytes: Adam reads and writes weight and two moments and reads
/// the gradient that was written before (32 a trained value); weights that do not train are read once; the activations
/// [gene × cell] of each layer to genes are written and read once for the mean, once for the likelihood's gradient, in
/// two directions (16 a value). Validation goes forward only: weights are read once, activations written and read once.
fn needs(model: &Model, cells: usize, nnz: usize, genes: usize) -> (Need, Need) {
    let (mut train, mut validate) = (Need::default(), Need::default());
    let inputs: Vec<_> = model.params.reading_expression().collect();
    let mut heads: f64 = 0.0;
    for id in model.params.ids() {
        let p = model.params.get(id);
        let (values, trained) = (p.n_values() as f64, p.trainable_spans().map(|s| s.len()).sum::<usize>() as f64);
        train.bytes += 32.0 * trained + if trained == 0.0 { 4.0 * values } else { 0.0 };
        validate.bytes += 4.0 * values;
        let to_weights = f64::from(u8::from(trained > 0.0));
        if inputs.contains(&id) {
            let product = 2.0 * (nnz * p.row_len()) as f64;
            train.flops += 2.0 * to_weights * product;
            validate.flops += to_weights * product;
        } else if p.axes[0] == Axis::Entry
            || (p.shape.len() == 2 && !matches!(p.axes[0], Axis::Condition | Axis::Covariate | Axis::Cell))
        {
            let product = 2.0 * values * cells as f64;
            train.flops += (2.0 + to_weights) * product;
            validate.flops += product;
            heads += f64::from(u8::from(matches!(p.axes[0], Axis::Gene | Axis::Entry)));
        }
    }
    let activations = (cells * genes) as f64 * heads.max(1.0);
    train.bytes += 16.0 * activations;
    validate.bytes += 8.0 * activations;
    (train, validate)
}
