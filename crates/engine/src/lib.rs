//! Numbers only: fused, differentiable operations for small models on sparse counts.
//!
//! Knows no cells and no genes beyond the names of axes. A model writes its forward pass in the
//! operations of [`Ops`] on a [`Tape`]; the tape walks back and leaves gradients in [`Grads`]; an [`Adam`] changes the rows of
//! the [`Params`] table that may change. Same inputs, same bits, on any number of threads.

mod adam;
mod batch;
mod lanes;
mod ops;
mod params;
mod prox;
mod tape;

pub use adam::{Adam, AdamConfig};
pub use batch::{Codes, InputScale, LANES, SparseBatch};
pub use ops::{BatchNorm, Dispersion, Link, Mask, Ops, ProgramWeights, ProteinMixture, product};
pub use params::{Axis, Init, Param, ParamId, Params, Role};
pub use scgraft_numeric::random::Key;
pub use tape::{Grads, Layout, Noise, Shape, Tape, Var, Workspace};
