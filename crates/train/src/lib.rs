//! Fitting a model to prepared cells, and grafting a query onto a reference.

mod checkpoint;
mod config;
mod error;
mod fit;
mod graft;
mod passes;
mod progress;
mod stopping;

pub use checkpoint::is_checkpoint;
pub use config::{Compat, MOST_EPOCHS, TrainConfig};
pub use error::TrainError;
pub use fit::{FitReport, fit, with_threads};
pub use graft::{Grafted, graft};
pub use progress::{Progress, Quiet};
pub use scgraft_models::{Anneal, EarlyStopping, Schedule};
pub use stopping::{Stopper, Verdict};
