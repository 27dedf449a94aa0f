//! The base models there are. A new one is its file and one line here.

use scgraft_engine::{Key, Params};
use serde_json::Value;

use crate::{Header, ModelError, Network, expimap, trvae};

/// Makes a network and its freshly drawn tensors for a header.
pub type Build = fn(config: &Value, header: &Header, key: Key) -> Result<(Params, Box<dyn Network>), ModelError>;

/// One base model.
#[derive(Clone, Copy, Debug)]
pub struct ModelEntry {
    /// Its name on the command line and in files.
    pub name: &'static str,
    /// One sentence: what it is.
    pub summary: &'static str,
    /// What it needs beyond expression and conditions.
    pub needs: &'static str,
    /// What it gives beyond a latent space.
    pub gives: &'static str,
    /// When to use it.
    pub when: &'static str,
    /// Makes one; missing settings take their defaults.
    pub build: Build,
}

/// All base models.
pub fn registry() -> &'static [ModelEntry] {
    &[expimap::ENTRY, trvae::CVAE, trvae::TRVAE]
}

/// The base model of that name.
///
/// # Errors
/// When there is none.
pub fn find(name: &str) -> Result<&'static ModelEntry, ModelError> {
    registry().iter().find(|e| e.name == name).ok_or_else(|| ModelError::UnknownModel {
        name: name.to_owned(),
        known: registry().iter().map(|e| e.name).collect::<Vec<_>>().join(", "),
    })
}
