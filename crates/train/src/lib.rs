//! scgraft train
