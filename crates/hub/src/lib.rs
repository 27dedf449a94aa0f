//! Published models of other packages, read without running anything.
//!
//! Their files are pickles, programs that may call anything. Here they are read as values: [`pickle`] builds what a
//! pickle would build and calls nothing, [`torch`] and [`numpy`] say what tensors and arrays look like among them,
//! [`layout`] which files belong together, and [`import`](mod@import) makes a model of ours of them. What is read is
//! bounded by the size of the files.

mod error;
#[cfg(test)]
mod hostile;
mod import;
mod layout;
mod numpy;
mod pickle;
mod torch;
mod zip;

pub use error::HubError;
pub use import::{CellsBeside, ImportOptions, Imported, import, import_files};
pub use layout::Files;
