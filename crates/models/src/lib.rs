//! Base models, one file each, over one contract: a [`Network`] writes inference, generation and
//! loss in the engine's operations; everything else (files, surgery, adaptors) is the same for all of them, and for a
//! model that a user [`register`]s. [`conformance`] says what every one of them must do.

mod adaptor;
mod batch;
mod cells;
mod citations;
pub mod conformance;
mod counts;
mod decoded;
mod encoder;
mod error;
mod expimap;
mod factors;
mod file;
mod header;
pub mod import;
mod layers;
mod model;
mod network;
mod outputs;
mod program_start;
mod protein_prior;
mod proteins;
mod registry;
mod scanvi;
mod scvi;
pub mod settings;
mod size;
mod start;
mod surgery;
mod totalvi;
mod training;
mod trvae;

pub use adaptor::Adaptor;
pub use batch::Batch;
pub use cells::{ReferenceCells, mean_on_grid, variance_on_grid};
pub use counts::{DispersionBy, LibrarySize};
pub use decoded::{Decoded, DecodedProteins, Distribution};
pub use error::ModelError;
pub use expimap::{ExpimapConfig, Likelihood};
pub use header::{EpochRecord, Header, Membership, Origin, Program, Segment};
pub use layers::Norm;
pub use model::{Model, kept_epoch};
pub use network::{
    Classifier, Facts, InferredLibrary, Loss, Network, Posterior, Programs, Proteins, Statistics, Step, Term,
    VARIANCE_FLOOR,
};
pub use outputs::{DecodedLibrary, Evidence, ExpressionOptions};
pub use program_start::ScoreHead;
pub use proteins::{DecodeAs, ProteinEstimates};
pub use registry::{Build, Input, ModelEntry, find, reading, register, registry};
pub use scanvi::ScanviConfig;
pub use scgraft_cells::Known;
pub use scvi::{CountLikelihood, DecoderKind, EncoderKind, LatentDistribution, ScviConfig};
pub use size::check_against;
pub use start::Baseline;
pub use surgery::{Granularity, NewPrograms, Newcomers, Surgery};
pub use totalvi::{CountInput, GeneLikelihood, Positive, TotalviConfig};
pub use training::{Anneal, EarlyStopping, Epochs, Schedule, Training};
pub use trvae::{MmdOn, TrvaeConfig, TrvaeLikelihood};
