//! Labels of reference cells carried over to query cells.

use std::ops::Range;

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
    for (at, (name, labels)) in columns.iter().enumerate() {
        check_neighbours(neighbours, labels.codes.len(), &format!("labels `{name}`"))?;
        check_labels(name, labels, labels.codes.len())?;
        // Columns after the first may be the top of a hierarchy, which has one level.
        check_levels(name, labels, if at == 0 { 2 } else { 1 })?;
    }
    let blocks = neighbours.n_rows().div_ceil(BLOCK);
    // All columns of a block of cells while its weights are at hand.
    let found: Vec<Vec<Found>> = (0..blocks)
        .into_par_iter()
        .map_init(Vec::new, |weights, block| {
            let cells = block * BLOCK..((block + 1) * BLOCK).min(neighbours.n_rows());
            options.kernel.weights_of_rows(neighbours, cells.clone(), weights);
            columns.iter().map(|(_, labels)| Found::of(neighbours, cells.clone(), weights, labels, options)).collect()
        })
        .collect();
    Ok(columns.iter().enumerate().map(|(at, &(name, labels))| joined(name, labels, &found, at, options)).collect())
}

/// What a block of cells found in one column.
#[derive(Default)]
struct Found {
    best: Vec<u32>,
    uncertainty: Vec<f64>,
    /// Cells × levels, if asked for.
    probabilities: Vec<f32>,
}

impl Found {
    fn of(
        neighbours: &Neighbours,
        cells: Range<usize>,
        weights: &[f64],
        labels: &Coded,
        options: &TransferOptions,
    ) -> Found {
        let mut out = Found::default();
        // One slot a level; only those of the levels that a cell meets are looked at and cleared again.
        let mut sums = vec![0f64; labels.levels.len()];
        let mut met: Vec<u32> = Vec::new();
        for (cell, weights) in cells.zip(weights.chunks_exact(neighbours.k)) {
            let indices = neighbours.row(cell).0;
            // Neighbours mostly have the label of the one before.
            let (mut code, mut run) = (labels.codes[indices[0] as usize], 0.0);
            for (&j, &w) in indices.iter().zip(weights) {
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
            out.best.push(top);
            out.uncertainty.push((1.0 - top_sum).max(0.0));
            if options.probabilities {
                out.probabilities.extend(sums.iter().map(|&sum| sum as f32));
            }
            met.drain(..).for_each(|code| sums[code as usize] = 0.0);
        }
        out
    }
}

/// Column `at` of all blocks.
fn joined(name: &str, labels: &Coded, blocks: &[Vec<Found>], at: usize, options: &TransferOptions) -> LabelTransfer {
    let best: Vec<u32> = blocks.iter().flat_map(|columns| columns[at].best.iter().copied()).collect();
    let uncertainty: Vec<f64> = blocks.iter().flat_map(|columns| columns[at].uncertainty.iter().copied()).collect();
    let probabilities = options.probabilities.then(|| {
        let values = blocks.iter().flat_map(|columns| columns[at].probabilities.iter().copied()).collect();
        Dense::new(best.len(), labels.levels.len(), values)
    });
    let unknown = uncertainty.iter().map(|&u| u > options.unknown_above).collect();
    LabelTransfer { column: name.to_owned(), levels: labels.levels.clone(), best, uncertainty, unknown, probabilities }
}
