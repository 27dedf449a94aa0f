//! What can go wrong in training.

use scgraft_cells::CellsError;
use scgraft_models::ModelError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting that makes no sense.
    #[error("training: {what}: expected {expected}, found {found}")]
    Config {
        /// The setting.
        what: &'static str,
        /// What would do.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// The loss is not a number.
    #[error(
        "training diverged in epoch {epoch}: the {term} term is {value}; lower the learning rate, and check that the \
         values are what the likelihood expects"
    )]
    Diverged {
        /// The epoch, from 0.
        epoch: usize,
        /// The loss term.
        term: &'static str,
        /// Its value.
        value: f32,
    },
    /// The data does not fit the model.
    #[error("the data has {found} {what}, the model {expected}; prepare the data for this model")]
    Mismatch {
        /// What was compared.
        what: &'static str,
        /// The data's.
        found: String,
        /// The model's.
        expected: String,
    },
    /// The user stopped the training.
    #[error("stopped by the user in epoch {epoch}")]
    Stopped {
        /// The epoch, from 0.
        epoch: usize,
    },
    /// A checkpoint that this fit cannot go on from.
    #[error("the checkpoint cannot be used: {what}; train from the start, or give it what it was made with")]
    Checkpoint {
        /// Why not.
        what: String,
    },
    /// From preparing batches or splitting.
    #[error(transparent)]
    Cells(Box<CellsError>),
    /// From the model.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// Threads could not be started.
    #[error("could not start {threads} threads: {what}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        what: String,
    },
}

impl From<CellsError> for TrainError {
    fn from(error: CellsError) -> Self {
        TrainError::Cells(Box::new(error))
    }
}

impl From<ModelError> for TrainError {
    fn from(error: ModelError) -> Self {
        TrainError::Model(Box::new(error))
    }
}
