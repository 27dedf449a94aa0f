//! The field's data: cells, gene programs, and what must happen to them before a model sees them.

mod advice;
mod data;
mod error;
mod frame;
mod hvg;
mod matrix;
mod normalize;
mod orthologs;
mod prepare;
mod programs;
mod rows;
mod simulate;
mod steps;
mod view;

pub use advice::{Hint, Setting, counted};
pub use data::{Array, Cells, Origin, Raw, Uns};
pub use error::{CellsError, shortened};
pub use frame::{Coded, Column, Frame, distinct, each_once, is_missing, means_unlabelled, missing_words_told};
pub use hvg::{HighlyVariable, HvgFlavor, HvgOptions, highly_variable};
pub use matrix::{Csr, Dense, Matrix};
pub use normalize::{log1p, normalize_total, size_factors};
pub use orthologs::{OrthologRule, Orthologs, Turned};
pub use prepare::{
    CONDITION_SEPARATOR, ConditionSource, Fractions, GeneChoice, GeneNames, Kind, Known, Labels, Minibatches, NameRule,
    PrepareOptions, PrepareReport, Prepared, ProteinSource, Proteins, Slot, Split, Warning, choose_genes, round, split,
    takes_fractions,
};
pub use programs::{
    DropReason, DroppedProgram, GeneCase, GenePrograms, GeneSet, PAPER_MIN_GENES, ProgramOptions, choose_names,
    choose_sets, is_of_pattern,
};
pub use rows::{Rows, for_rows};
pub use simulate::{Role, SimulateOptions, Simulated, TrueProgram, Truth, simulate};
pub use steps::{STEPS, Steps};
pub use view::{Number, Place, SparseView, ViewError};
