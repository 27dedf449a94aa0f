//! scgraft analysis
