//! What a training step needs at least: its arithmetic at the rate this machine multiplies matrices, and its bytes at
//! the rate this machine moves them. Both rates are measured here, on one thread.

use std::hint::black_box;
use std::time::Instant;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use scgraft_cells::Prepared;
use scgraft_engine::{Axis, Params};
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
pub fn step_of_epoch(params: &Params, data: &Prepared, config: &TrainConfig) -> Need {
    let nnz = data.expression.nnz() * config.batch_size / data.n_cells();
    let train = step(params, config.batch_size, nnz, data.n_genes());
    let validate = forward(params, config.batch_size, nnz, data.n_genes());
    let batches = (1.0 - config.train_fraction) / config.train_fraction;
    Need { flops: train.flops + batches * validate.flops, bytes: train.bytes + batches * validate.bytes }
}

/// What a batch of a model needs in validation, forward only: each weight is read once, the decoder's activations are
/// written and read once.
fn forward(params: &Params, cells: usize, nnz: usize, genes: usize) -> Need {
    let mut need = Need { flops: 0.0, bytes: 8.0 * (cells * genes) as f64 };
    for p in params.iter() {
        let is_matrix = p.shape.len() == 2;
        need.bytes += 4.0 * p.values.len() as f64;
        need.flops += match p.axes[0] {
            Axis::Gene if is_matrix && !p.is_trainable() => 0.0,
            Axis::Gene if is_matrix => 2.0 * (nnz * p.row_len()) as f64,
            Axis::Hidden | Axis::Latent | Axis::Program if is_matrix => 2.0 * p.values.len() as f64 * cells as f64,
            Axis::Entry => 2.0 * p.values.len() as f64 * cells as f64,
            _ => 0.0,
        };
    }
    need
}

/// What a step of a model needs: `cells` a batch with `nnz` counts, over `genes`.
///
/// Products: forward, gradient to the input (but for the first layer), gradient to the weights where they
/// train. Bytes: Adam reads and writes weight and two moments and reads the gradient that was written before
/// (32 a trained value); weights that do not train are read once; the decoder's activations [gene × cell] are
/// written and read once for the mean, once for the likelihood's gradient, in two directions (16 a value).
fn step(params: &Params, cells: usize, nnz: usize, genes: usize) -> Need {
    let mut need = Need { bytes: 16.0 * (cells * genes) as f64, ..Need::default() };
    for p in params.iter() {
        let (values, trained) = (p.values.len() as f64, p.trainable_spans().map(|s| s.len()).sum::<usize>() as f64);
        need.bytes += 32.0 * trained + if trained == 0.0 { 4.0 * values } else { 0.0 };
        let directions = 1.0 + f64::from(u8::from(trained > 0.0));
        let is_matrix = p.shape.len() == 2;
        need.flops += match p.axes[0] {
            // Frozen, its product with a cell's counts is known.
            Axis::Gene if is_matrix && trained == 0.0 => 0.0,
            Axis::Gene if is_matrix => 2.0 * directions * (nnz * p.row_len()) as f64,
            Axis::Hidden | Axis::Latent | Axis::Program if is_matrix => {
                2.0 * (1.0 + directions) * values * cells as f64
            }
            Axis::Entry => 2.0 * (1.0 + directions) * values * cells as f64,
            _ => 0.0,
        };
    }
    need
}
