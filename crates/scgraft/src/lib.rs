//! scgraft scgraft
