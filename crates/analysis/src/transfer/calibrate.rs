//! A transfer made honest: its uncertainties are those that the reference's own labels bear out.

use scgraft_cells::Coded;

use super::{Isotonic, LabelTransfer, Temperature, TransferOptions, leave_one_out};
use crate::Neighbours;
use crate::error::{Error, Result};

/// How uncertainties are calibrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibration {
    /// All probabilities sharper or flatter by one temperature ([`Temperature`]).
    Temperature,
    /// The confidence of the best label along a rising curve ([`Isotonic`]); probabilities stay as they are.
    Isotonic,
}

/// Calibrates a transfer on the reference, whose cells are labelled by each other ([`leave_one_out`]).
///
/// `reference` are the neighbours of the reference's cells among themselves, of as many neighbours as the transfer had, or
/// among those of other studies ([`crate::neighbours::knn_across`]): what to expect of a query from a new study.
/// Probabilities (for a temperature), uncertainties and what is unknown change; the best label stays.
///
/// # Errors
/// As [`leave_one_out`]; for a temperature, a transfer that kept no probabilities.
pub fn calibrate(
    transfer: &mut LabelTransfer,
    reference: &Neighbours,
    labels: &Coded,
    method: Calibration,
    options: &TransferOptions,
) -> Result<()> {
    let own = TransferOptions { probabilities: method == Calibration::Temperature, ..options.clone() };
    let (known, correct) = leave_one_out(reference, &transfer.column, labels, &own)?;
    match method {
        Calibration::Isotonic => {
            let confidence: Vec<f64> = known.uncertainty.iter().map(|u| 1.0 - u).collect();
            let curve = Isotonic::fit(&confidence, &correct)?;
            transfer.uncertainty.iter_mut().for_each(|u| *u = 1.0 - curve.apply(1.0 - *u));
        }
        Calibration::Temperature => {
            let (Some(own), Some(probabilities)) = (&known.probabilities, &transfer.probabilities) else {
                return Err(Error::Parameter {
                    name: "probabilities",
                    value: "false".to_owned(),
                    expected: "true, for a calibration by temperature",
                });
            };
            let scaled = Temperature::fit(own, &labels.codes, reference.k)?.apply(probabilities);
            for (i, u) in transfer.uncertainty.iter_mut().enumerate() {
                *u = (1.0 - f64::from(scaled.row(i)[transfer.best[i] as usize])).clamp(0.0, 1.0);
            }
            transfer.probabilities = Some(scaled);
        }
    }
    for (unknown, u) in transfer.unknown.iter_mut().zip(&transfer.uncertainty) {
        *unknown = *u > options.unknown_above;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{coded, normals};
    use crate::transfer::{Kernel, reliability, transfer_labels};
    use crate::{knn, knn_self};
    use scgraft_cells::Dense;

    /// Two types that overlap, so that no neighbour is a sure guide.
    fn cells(n: usize, seed: u64) -> (Dense, Coded) {
        let noise = normals(2 * n, seed);
        let types: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
        let values = (0..2 * n).map(|at| noise[at] as f32 + if at % 2 == 0 { types[at / 2] as f32 } else { 0.0 });
        (Dense::new(n, 2, values.collect()), coded(&types, 2))
    }

    #[test]
    fn both_calibrations_bring_confidence_to_accuracy() {
        let ((reference, labels), (query, truth)) = (cells(1200, 1), cells(1200, 2));
        let near = knn(&reference, &query, 5).unwrap();
        let own = knn_self(&reference, 5, false).unwrap();
        // Five neighbours are overconfident here.
        let options = TransferOptions { kernel: Kernel::Uniform, unknown_above: 0.45, probabilities: true };
        let plain = transfer_labels(&near, &[("type", &labels)], &options).unwrap().swap_remove(0);
        let error = |t: &LabelTransfer| {
            let confidence: Vec<f64> = t.uncertainty.iter().map(|u| 1.0 - u).collect();
            let right: Vec<bool> = t.best.iter().zip(&truth.codes).map(|(a, b)| a == b).collect();
            reliability(&confidence, &right, 10).unwrap().expected_error
        };
        let before = error(&plain);
        for method in [Calibration::Temperature, Calibration::Isotonic] {
            let mut t = plain.clone();
            calibrate(&mut t, &own, &labels, method, &options).unwrap();
            assert_eq!(t.best, plain.best);
            let after = error(&t);
            assert!(after < 0.6 * before && after < 0.06, "{method:?}: {before} {after}");
            assert!(t.unknown.iter().zip(&t.uncertainty).all(|(unknown, u)| *unknown == (*u > 0.45)));
        }
        let mut bare = LabelTransfer { probabilities: None, ..plain };
        let refused = calibrate(&mut bare, &own, &labels, Calibration::Temperature, &options);
        assert!(matches!(refused, Err(Error::Parameter { .. })));
    }
}
