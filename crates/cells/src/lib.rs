//! The field's data: cells, gene programs, and what must happen to them before a model sees them.

mod data;
mod frame;
mod matrix;

pub use data::{Array, Cells, Raw, Uns};
pub use frame::{Coded, Column, Frame};
pub use matrix::{Csr, Dense, Matrix};
