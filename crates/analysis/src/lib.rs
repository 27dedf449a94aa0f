//! Reading embeddings, whoever made them: neighbours, label transfer, program tests, metrics.
//!
//! Everything here takes arrays and labels and knows no model. Matrices are [`scgraft_cells::Dense`], one row a
//! cell; labels are [`scgraft_cells::Coded`]. What is wrong with an input is an [`Error`].

pub mod auroc;
pub mod differential;
pub mod donors;
pub mod enrichment;
pub mod error;
pub mod graph;
pub mod independence;
pub mod markers;
pub mod metrics;
mod multiple_testing;
pub mod neighbours;
pub mod pca;
pub mod programs;
mod quantile;
#[cfg(test)]
mod testing;
pub mod transfer;
pub mod umap;

pub use error::{Error, Result};
pub use multiple_testing::benjamini_hochberg;
pub use neighbours::{Neighbours, knn, knn_self};
