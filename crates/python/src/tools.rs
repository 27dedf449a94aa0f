//! Analyses on embeddings and expression: arrays and columns in, tables and arrays out.

use pyo3::prelude::*;

/// The instruction set that kernels use on this processor.
#[pyfunction]
pub fn instruction_set() -> String {
    scgraft::instruction_set()
}
