//! The story of a query, from its reference on.

pub use crate::embedding::program_weights;
pub use crate::query::{Mapped, QueryPlan, map_query, new_programs};
pub use crate::reference::{Genes, Reference, ReferencePlan, prepare_reference, train_reference};
