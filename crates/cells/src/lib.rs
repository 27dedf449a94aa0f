//! The field's data: cells, gene programs, and what must happen to them before a model sees them.

mod data;
mod error;
mod frame;
mod matrix;
mod programs;

pub use data::{Array, Cells, Raw, Uns};
pub use error::CellsError;
pub use frame::{Coded, Column, Frame};
pub use matrix::{Csr, Dense, Matrix};
pub use programs::{DropReason, DroppedProgram, GeneCase, GenePrograms, GeneSet, PAPER_MIN_GENES, ProgramOptions};
