//! Base models, one file each, over one contract: a [`Network`] writes inference, generation and
//! loss on the tape; everything else (files, surgery, adaptors) is the same for all of them.

mod adaptor;
mod batch;
mod counts;
mod decoded;
mod encoder;
mod error;
mod expimap;
mod file;
mod header;
pub mod import;
mod layers;
mod model;
mod network;
mod outputs;
mod protein_prior;
mod proteins;
mod registry;
mod scanvi;
mod scvi;
mod settings;
mod surgery;
mod totalvi;
mod training;
mod trvae;

pub use adaptor::Adaptor;
pub use batch::Batch;
pub use counts::{DispersionBy, LibrarySize};
pub use decoded::{Decoded, DecodedProteins, Distribution};
pub use error::ModelError;
pub use expimap::{ExpimapConfig, Likelihood};
pub use header::{EpochRecord, Header, Membership, Origin, Program, Segment};
pub use layers::Norm;
pub use model::Model;
pub(crate) use network::VARIANCE_FLOOR;
pub use network::{Loss, Network, Posterior, Step, Term};
pub use outputs::{DecodedLibrary, Evidence, ExpressionOptions};
pub use proteins::{DecodeAs, ProteinEstimates};
pub use registry::{Input, ModelEntry, find, registry};
pub use scanvi::ScanviConfig;
pub use scvi::{CountLikelihood, DecoderKind, EncoderKind, LatentDistribution, ScviConfig};
pub use surgery::{Granularity, NewPrograms, Surgery};
pub use totalvi::{CountInput, GeneLikelihood, Positive, TotalviConfig};
pub use training::{EarlyStopping, Epochs, Training};
pub use trvae::{MmdOn, TrvaeConfig, TrvaeLikelihood};
