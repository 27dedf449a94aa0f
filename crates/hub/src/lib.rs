//! Models that travel: published models of other packages, and ours by Zenodo, Hugging Face and plain addresses.
//!
//! **Read without running anything.** Published files are pickles, programs that may call anything. Here they are read as
//! values: [`pickle`] builds what a pickle would build and calls nothing, [`torch`] and [`numpy`] say what tensors and
//! arrays look like among them, [`layout`] which files belong together, and [`import`](mod@import) makes a model of ours of
//! them. What is read is bounded by the size of the files.
//!
//! **Written.** [`export`](fn@export) makes a file of scvi-tools of a model of ours.
//!
//! **Fetched and sent.** An [`Address`] says where a model or an adaptor lies; [`Hub::fetch`] brings it into the user's
//! cache, [`Hub::list`] says what else lies there, [`Hub::push`] sends files with a [`Card`] that says what they are. What
//! comes is held against the service's checksum, and our own files against the one in them. All that needs the network is
//! the feature `net`; addresses and cards do without.

mod address;
#[cfg(feature = "net")]
mod aside;
#[cfg(feature = "net")]
mod cache;
mod card;
#[cfg(feature = "net")]
mod download;
mod error;
mod export;
#[cfg(feature = "net")]
mod fetch;
#[cfg(test)]
mod hostile;
#[cfg(feature = "net")]
mod http;
#[cfg(feature = "net")]
mod huggingface;
mod import;
mod layout;
mod numpy;
mod pickle;
#[cfg(feature = "net")]
mod push;
#[cfg(feature = "net")]
mod reply;
#[cfg(feature = "net")]
mod retry;
#[cfg(feature = "net")]
mod settings;
mod torch;
#[cfg(feature = "net")]
mod url;
#[cfg(feature = "net")]
mod zenodo;
mod zip;

pub use address::Address;
pub use card::{Card, CardWords, Contents};
pub use error::HubError;
pub use export::{CellsNeeded, Exported, export};
#[cfg(feature = "net")]
pub use fetch::{Fetched, Hub, Listed, Listing};
#[cfg(feature = "net")]
pub use http::{Progress, Watch};
pub use import::{CellsBeside, ImportOptions, Imported, import, import_files};
pub use layout::Files;
#[cfg(feature = "net")]
pub use push::{Outgoing, Push, Pushed, Target};
#[cfg(feature = "net")]
pub use settings::{Patience, Proxy, Settings, Token};
