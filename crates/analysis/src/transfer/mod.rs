//! Label transfer: what a query cell is, told by the reference cells it lies next to.
//!
//! For a query cell c with its k nearest reference cells n at distances d, a [`Kernel`] gives weights w, and
//!
//! p(y | c) = Σₙ w(c, n) · 1[label(n) = y] / Σₙ w(c, n),  uncertainty = 1 − maxᵧ p(y | c).
//!
//! A cell whose uncertainty is above 0.5 is called unknown (Lotfollahi et al. 2022,
//! doi:10.1038/s41587-021-01001-7, *Cell type annotation*). The uncertainty says how mixed the neighbourhood is, not
//! how far away: a cell far from everything can be certain. [`out_of_distribution`] looks at the distance.

mod calibrate;
mod calibration;
mod conformal;
mod distance;
mod hierarchy;
mod kernel;
mod labels;
mod novelty;
mod values;

pub use calibrate::{Calibration, calibrate};
pub use calibration::{Isotonic, Reliability, ReliabilityBin, Temperature, leave_one_out, reliability};
pub use conformal::{LabelSets, label_sets};
pub use distance::{OutOfDistribution, out_of_distribution};
pub use hierarchy::{HierarchicalTransfer, check_nested};
pub use kernel::Kernel;
pub use labels::{LabelTransfer, TransferOptions, UNKNOWN, transfer_labels};
pub use novelty::{KnownTypes, Labelled, Novelty, NoveltyOptions, novelty};
pub use values::{TransferredValues, transfer_values};

use crate::Neighbours;
use crate::error::{Error, Result, check_k};

/// Cells in a block: one task for one thread.
const BLOCK: usize = 1024;

/// Refuses neighbours that point past the reference.
fn check_neighbours(neighbours: &Neighbours, n_reference: usize, what: &str) -> Result<()> {
    check_k(neighbours.k)?;
    match neighbours.indices.iter().max() {
        Some(&last) if last as usize >= n_reference => {
            Err(Error::Length { what: what.to_owned(), expected: last as usize + 1, found: n_reference })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
