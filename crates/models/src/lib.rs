//! scgraft models
