//! Fitting a model to prepared cells, and grafting a query onto a reference.

mod config;
mod error;
mod fit;
mod graft;
mod stopping;

pub use config::{Compat, TrainConfig};
pub use error::TrainError;
pub use fit::{FitReport, Progress, fit, with_threads};
pub use graft::{Grafted, graft};
pub use scgraft_models::{Anneal, EarlyStopping, Schedule};
pub use stopping::{Stopper, Verdict};
