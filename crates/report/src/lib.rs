//! scgraft report
