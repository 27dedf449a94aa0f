//! scgraft engine
