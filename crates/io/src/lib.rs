//! scgraft io
