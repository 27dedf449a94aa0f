//! Operations, one file each: what is computed, the fast way forward and back, an `f64` twin, and
//! a test that holds both against the twin and against finite differences.

mod activation;
mod add_rows;
mod alignment;
mod background;
mod batch_norm;
mod classify;
mod combine;
mod counts;
mod density;
mod dispersion;
mod gaussian;
mod hsic;
mod labels;
mod lanes;
mod linear;
mod linear_lanes;
mod link;
mod masked_linear;
mod mean;
mod mmd;
mod mse;
mod nb;
mod normal;
mod operations;
mod poisson;
mod protein;
mod relayout;
mod slope;
mod sparse_linear;
mod zinb;

pub use batch_norm::BatchNorm;
pub use dispersion::Dispersion;
pub use link::Link;
pub use masked_linear::{Mask, ProgramWeights};
pub use operations::Ops;
pub use protein::ProteinMixture;
pub use sparse_linear::product;

#[cfg(test)]
pub(crate) mod check;
#[cfg(test)]
mod golden;
