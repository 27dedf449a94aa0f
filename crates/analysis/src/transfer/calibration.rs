//! Is a confidence of 0.8 right in eight cells of ten? Measured, and put right.

use scgraft_cells::{Coded, Dense};

use super::{LabelTransfer, TransferOptions, transfer_labels};
use crate::Neighbours;
use crate::error::{Error, Result, check_k};

/// One bin of a reliability curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReliabilityBin {
    /// Confidences from here …
    pub from: f64,
    /// … to here.
    pub to: f64,
    /// Cells in the bin.
    pub n_cells: usize,
    /// Their mean confidence; NaN in an empty bin.
    pub confidence: f64,
    /// The share of them that is right; NaN in an empty bin.
    pub accuracy: f64,
}

/// Confidence against accuracy.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliability {
    /// Bins of equal width over 0 to 1.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error: Σ over bins of (share of cells) · |accuracy − confidence| (Naeini et al. 2015,
    /// doi:10.1609/aaai.v29i1.9602).
    pub expected_error: f64,
    /// Brier score of "the label is right": mean of (confidence − right)².
    pub brier: f64,
}

/// Labels each reference cell by the others: the transfer whose truth is known.
///
/// `reference` are the neighbours of each reference cell among the others ([`crate::knn_self`] without self), or among
/// those of other studies ([`crate::neighbours::knn_across`]): what to expect of a query from a new study.
/// Gives the transfer and whether each cell's most probable level is its own.
///
/// # Errors
/// As [`transfer_labels`]; labels that are not one for each row of `reference`.
pub fn leave_one_out(
    reference: &Neighbours,
    column: &str,
    labels: &Coded,
    options: &TransferOptions,
) -> Result<(LabelTransfer, Vec<bool>)> {
    crate::error::check_labels(column, labels, reference.n_rows())?;
    let mut transfers = transfer_labels(reference, &[(column, labels)], options)?;
    let transfer = transfers.swap_remove(0);
    let correct = transfer.best.iter().zip(&labels.codes).map(|(a, b)| a == b).collect();
    Ok((transfer, correct))
}

/// The reliability curve of confidences (1 − uncertainty) whose rightness is known.
///
/// # Errors
/// No cell, lists of different length, a confidence outside 0 to 1, no bin.
pub fn reliability(confidence: &[f64], correct: &[bool], n_bins: usize) -> Result<Reliability> {
    check_confidence(confidence, correct)?;
    if n_bins == 0 {
        return Err(Error::Parameter { name: "n_bins", value: "0".to_owned(), expected: "at least one bin" });
    }
    let mut sums = vec![(0usize, 0f64, 0usize); n_bins];
    let mut brier = 0.0;
    for (&p, &right) in confidence.iter().zip(correct) {
        let bin = ((p * n_bins as f64) as usize).min(n_bins - 1);
        sums[bin].0 += 1;
        sums[bin].1 += p;
        sums[bin].2 += usize::from(right);
        brier += (p - f64::from(u8::from(right))).powi(2);
    }
    let n = confidence.len() as f64;
    let bins: Vec<ReliabilityBin> = sums
        .iter()
        .enumerate()
        .map(|(i, &(cells, total, right))| ReliabilityBin {
            from: i as f64 / n_bins as f64,
            to: (i + 1) as f64 / n_bins as f64,
            n_cells: cells,
            confidence: total / cells as f64,
            accuracy: right as f64 / cells as f64,
        })
        .collect();
    let filled = bins.iter().filter(|b| b.n_cells > 0);
    let expected_error = filled.map(|b| b.n_cells as f64 / n * (b.accuracy - b.confidence).abs()).sum();
    Ok(Reliability { expected_error, brier: brier / n, bins })
}

fn check_confidence(confidence: &[f64], correct: &[bool]) -> Result<()> {
    if confidence.is_empty() {
        return Err(Error::Empty { what: "confidences".to_owned(), n_rows: 0, n_cols: 1 });
    }
    if confidence.len() != correct.len() {
        return Err(Error::Length {
            what: "whether each label is right".to_owned(),
            expected: confidence.len(),
            found: correct.len(),
        });
    }
    match confidence.iter().position(|p| !(0.0..=1.0).contains(p)) {
        None => Ok(()),
        Some(row) => Err(Error::Inconsistent {
            what: format!("confidence of row {row}"),
            problem: format!("{} is not between 0 and 1", confidence[row]),
        }),
    }
}

/// A rising curve from confidence to accuracy, fitted by isotonic regression: the least-squares rising function
/// (pool adjacent violators), linear between its points, constant outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Isotonic {
    /// Confidences at which the curve is given, ascending.
    pub confidence: Vec<f64>,
    /// Accuracy there, ascending.
    pub accuracy: Vec<f64>,
}

/// Confidences closer than this are the same: sums of weights in another order.
const ROUNDING: f64 = 1e-12;

impl Isotonic {
    /// Fits the curve to confidences whose rightness is known ([`leave_one_out`]).
    ///
    /// # Errors
    /// As [`reliability`].
    pub fn fit(confidence: &[f64], correct: &[bool]) -> Result<Self> {
        check_confidence(confidence, correct)?;
        let mut order: Vec<usize> = (0..confidence.len()).collect();
        order.sort_unstable_by(|&a, &b| confidence[a].total_cmp(&confidence[b]));
        // Blocks of (first confidence, last confidence, cells, right ones); equal confidences are one from the start.
        let mut blocks: Vec<(f64, f64, f64, f64)> = Vec::new();
        for run in order.chunk_by(|&a, &b| confidence[b] - confidence[a] < ROUNDING) {
            let (first, last) = (confidence[run[0]], confidence[run[run.len() - 1]]);
            blocks.push((first, last, run.len() as f64, run.iter().filter(|&&i| correct[i]).count() as f64));
            while let [.., (_, _, n0, r0), (_, to, n1, r1)] = blocks[..] {
                if r0 / n0 < r1 / n1 {
                    break;
                }
                blocks.pop();
                if let Some(last) = blocks.last_mut() {
                    *last = (last.0, to, n0 + n1, r0 + r1);
                }
            }
        }
        let mut curve = Isotonic { confidence: Vec::new(), accuracy: Vec::new() };
        for (from, to, n, right) in blocks {
            curve.confidence.push(from);
            curve.accuracy.push(right / n);
            if to > from {
                curve.confidence.push(to);
                curve.accuracy.push(right / n);
            }
        }
        Ok(curve)
    }

    /// The accuracy to expect at a confidence.
    pub fn apply(&self, confidence: f64) -> f64 {
        let above = self.confidence.partition_point(|&p| p < confidence);
        if above == 0 {
            return self.accuracy[0];
        }
        if above == self.confidence.len() {
            return self.accuracy[above - 1];
        }
        let (p0, p1) = (self.confidence[above - 1], self.confidence[above]);
        let (a0, a1) = (self.accuracy[above - 1], self.accuracy[above]);
        a0 + (a1 - a0) * (confidence - p0) / (p1 - p0)
    }
}

/// Probabilities made sharper or flatter: p ← (p + f)^(1/T), normalised (temperature scaling; Guo et al. 2017,
/// arXiv:1706.04599).
///
/// The floor f = 1/(2k) stands for what k neighbours cannot see: a level met by none of them is not impossible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    /// T; above 1 flattens, below 1 sharpens.
    pub temperature: f64,
    /// f.
    pub floor: f64,
}

impl Temperature {
    /// Finds the T between 0.05 and 20 with the largest likelihood of the true levels. `probabilities` are
    /// cells × levels, from [`leave_one_out`] with k neighbours.
    ///
    /// # Errors
    /// An empty or non-finite matrix, `truth` of another length or past the levels, `k = 0`.
    pub fn fit(probabilities: &Dense, truth: &[u32], k: usize) -> Result<Self> {
        crate::error::check_matrix("probabilities", probabilities)?;
        check_k(k)?;
        if truth.len() != probabilities.n_rows {
            return Err(Error::Length {
                what: "true levels".to_owned(),
                expected: probabilities.n_rows,
                found: truth.len(),
            });
        }
        if let Some(row) = truth.iter().position(|&t| t as usize >= probabilities.n_cols) {
            return Err(Error::Code {
                column: "true levels".to_owned(),
                row,
                code: truth[row],
                levels: probabilities.n_cols,
            });
        }
        let floor = 0.5 / k as f64;
        let loss = |log_t: f64| -> f64 {
            let power = (-log_t).exp();
            (0..truth.len())
                .map(|i| {
                    let row = probabilities.row(i);
                    let raised = |p: f32| power * (f64::from(p) + floor).ln();
                    let top = row.iter().map(|&p| raised(p)).fold(f64::NEG_INFINITY, f64::max);
                    let total: f64 = row.iter().map(|&p| (raised(p) - top).exp()).sum();
                    top + total.ln() - raised(row[truth[i] as usize])
                })
                .sum()
        };
        // The loss is convex in 1/T, so it has one valley in log T as well: golden-section search.
        let golden = (5f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = (0.05f64.ln(), 20f64.ln());
        let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
        let (mut loss_a, mut loss_b) = (loss(a), loss(b));
        while high - low > 1e-6 {
            if loss_a < loss_b {
                (high, b, loss_b) = (b, a, loss_a);
                a = high - golden * (high - low);
                loss_a = loss(a);
            } else {
                (low, a, loss_a) = (a, b, loss_b);
                b = low + golden * (high - low);
                loss_b = loss(b);
            }
        }
        Ok(Temperature { temperature: (0.5 * (low + high)).exp(), floor })
    }

    /// The probabilities at this temperature.
    pub fn apply(&self, probabilities: &Dense) -> Dense {
        let mut out = probabilities.clone();
        for row in out.values.chunks_exact_mut(probabilities.n_cols.max(1)) {
            let raised: Vec<f64> =
                row.iter().map(|&p| ((f64::from(p) + self.floor).ln() / self.temperature).exp()).collect();
            let total: f64 = raised.iter().sum();
            for (out, value) in row.iter_mut().zip(raised) {
                *out = (value / total) as f32;
            }
        }
        out
    }
}
