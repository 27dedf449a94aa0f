//! The graph of neighbours: how strongly cells are tied, what hangs together, and its clusters.

pub mod cluster;
pub(crate) mod components;
pub(crate) mod fuzzy;
mod leiden;
pub(crate) mod product;

pub use fuzzy::connectivities;
