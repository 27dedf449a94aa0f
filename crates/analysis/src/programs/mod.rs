//! Gene programs: which differ between groups of cells, in which direction, and through which genes.

mod direction;
mod importance;
mod options;
mod stratum;
mod superiority;
mod test;

pub use direction::{DirectionMethod, Directions, TOP_GENES, directions};
pub use importance::{GeneImportance, ProgramGenes, active_programs, gene_importance, stand_ins};
pub use options::{
    Comparison, ENRICHED, Latent, Pairs, ProgramTest, ProgramTestOptions, ProgramTestRow, SkippedComparison,
};
pub use test::test_programs;
