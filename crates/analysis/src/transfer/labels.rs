//! Labels of reference cells carried over to query cells.

use rayon::prelude::*;
use scgraft_cells::{Coded, Dense};

use super::{BLOCK, Kernel, check_neighbours};
use crate::Neighbours;
use crate::error::{Error, Result, check_labels, check_levels};

/// What a cell without a certain label is called.
pub const UNKNOWN: &str = "Unknown";

/// Settings of a label transfer.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferOptions {
    /// Weight of a neighbour by its distance.
    pub kernel: Kernel,
    /// A cell with a larger uncertainty is unknown; 1 keeps every label.
    pub unknown_above: f64,
    /// Whether to keep the probability of every level for every cell.
    pub probabilities: bool,
}

impl Default for TransferOptions {
    fn default() -> Self {
        TransferOptions { kernel: Kernel::default(), unknown_above: 0.5, probabilities: false }
    }
}

impl TransferOptions {
    pub(super) fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.unknown_above) {
            return Ok(());
        }
        Err(Error::Parameter {
            name: "unknown_above",
            value: self.unknown_above.to_string(),
            expected: "an uncertainty between 0 and 1",
        })
    }
}

/// One label column carried over to the query cells.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelTransfer {
    /// Name of the label column.
    pub column: String,
    /// Its levels, as in the reference.
    pub levels: Vec<String>,
    /// The most probable level of each cell, also of those that are unknown; the first of equals.
    pub best: Vec<u32>,
    /// 1 − probability of that level.
    pub uncertainty: Vec<f64>,
    /// Whether the uncertainty is above the threshold.
    pub unknown: Vec<bool>,
    /// Probability of each level, cells × levels, when asked for.
    pub probabilities: Option<Dense>,
}

impl LabelTransfer {
    /// The label of cell `i`: its most probable level, or [`UNKNOWN`].
    pub fn label(&self, i: usize) -> &str {
        if self.unknown[i] { UNKNOWN } else { &self.levels[self.best[i] as usize] }
    }

    /// The label of every cell.
    pub fn labels(&self) -> Vec<&str> {
        (0..self.best.len()).map(|i| self.label(i)).collect()
    }
}

/// Carries one or several label columns of the reference over to the cells that `neighbours` describes.
///
/// `neighbours` are those of the query among the reference cells ([`crate::knn`]); `columns` are names and
/// labels of all reference cells. Equations at the [module](super).
///
/// # Errors
/// Labels that are fewer than the reference cells the neighbours point to, a code without a level, a column
/// with a single level, a threshold outside 0 to 1.
///
/// ```
/// use scgraft_analysis::transfer::{TransferOptions, transfer_labels};
/// use scgraft_cells::{Coded, Dense};
///
/// let reference = Dense::new(4, 1, vec![0.0, 0.1, 5.0, 5.1]);
/// let types = Coded { codes: vec![0, 0, 1, 1], levels: vec!["B".into(), "T".into()] };
/// let query = Dense::new(2, 1, vec![0.05, 4.9]);
/// let neighbours = scgraft_analysis::knn(&reference, &query, 2)?;
/// let found = transfer_labels(&neighbours, &[("cell_type", &types)], &TransferOptions::default())?;
/// assert_eq!(found[0].labels(), ["B", "T"]);
/// # Ok::<(), scgraft_analysis::Error>(())
/// ```
pub fn transfer_labels(
    neighbours: &Neighbours,
    columns: &[(&str, &Coded)],
    options: &TransferOptions,
) -> Result<Vec<LabelTransfer>> {
    options.check()?;
    for (name, labels) in columns {
        check_neighbours(neighbours, labels.codes.len(), &format!("labels `{name}`"))?;
        check_labels(name, labels, labels.codes.len())?;
        check_levels(name, labels, 2)?;
    }
    let n = neighbours.n_rows();
    let weights = weights(neighbours, options.kernel);
    Ok(columns.iter().map(|(name, labels)| one_column(neighbours, &weights, name, labels, n, options)).collect())
}

/// Weights of all neighbours of all cells, laid out as the neighbours are.
pub(super) fn weights(neighbours: &Neighbours, kernel: Kernel) -> Vec<f64> {
    let k = neighbours.k;
    let mut weights = vec![0.0; neighbours.distances.len()];
    weights.par_chunks_mut(BLOCK * k).zip(neighbours.distances.par_chunks(BLOCK * k)).for_each(|(w, d)| {
        for (w, d) in w.chunks_exact_mut(k).zip(d.chunks_exact(k)) {
            kernel.weights(d, w);
        }
    });
    weights
}

fn one_column(
    neighbours: &Neighbours,
    weights: &[f64],
    name: &str,
    labels: &Coded,
    n: usize,
    options: &TransferOptions,
) -> LabelTransfer {
    let (k, n_levels) = (neighbours.k, labels.levels.len());
    let mut best = vec![0u32; n];
    let mut uncertainty = vec![0f64; n];
    let mut probabilities = options.probabilities.then(|| Dense::zeros(n, n_levels));
    let rows: Vec<Option<&mut [f32]>> = match probabilities.as_mut() {
        Some(p) => p.values.chunks_mut(BLOCK * n_levels).map(Some).collect(),
        None => (0..n.div_ceil(BLOCK)).map(|_| None).collect(),
    };
    best.par_chunks_mut(BLOCK).zip(uncertainty.par_chunks_mut(BLOCK)).zip(rows).enumerate().for_each(
        |(block, ((best, uncertainty), mut rows))| {
            // One slot a level; only those of the levels that a cell meets are looked at and cleared again.
            let mut sums = vec![0f64; n_levels];
            let mut met: Vec<u32> = Vec::new();
            for (at, (best, uncertainty)) in best.iter_mut().zip(uncertainty).enumerate() {
                let span = (block * BLOCK + at) * k..(block * BLOCK + at + 1) * k;
                // Neighbours mostly have the label of the one before.
                let (mut code, mut run) = (labels.codes[neighbours.indices[span.start] as usize], 0.0);
                for (&j, &w) in neighbours.indices[span.clone()].iter().zip(&weights[span]) {
                    let next = labels.codes[j as usize];
                    if next != code {
                        met.push(code);
                        sums[code as usize] += run;
                        (code, run) = (next, 0.0);
                    }
                    run += w;
                }
                met.push(code);
                sums[code as usize] += run;
                let (mut top, mut top_sum) = (u32::MAX, -1.0);
                for &code in &met {
                    let sum = sums[code as usize];
                    if sum > top_sum || (sum == top_sum && code < top) {
                        (top, top_sum) = (code, sum);
                    }
                }
                *best = top;
                *uncertainty = (1.0 - top_sum).max(0.0);
                if let Some(rows) = rows.as_mut() {
                    for (out, &sum) in rows[at * n_levels..(at + 1) * n_levels].iter_mut().zip(&sums) {
                        *out = sum as f32;
                    }
                }
                met.drain(..).for_each(|code| sums[code as usize] = 0.0);
            }
        },
    );
    let unknown = uncertainty.iter().map(|&u| u > options.unknown_above).collect();
    LabelTransfer { column: name.to_owned(), levels: labels.levels.clone(), best, uncertainty, unknown, probabilities }
}
