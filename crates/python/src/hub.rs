//! Models on their way: fetched, listed, sent.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use scgraft::Error;
use scgraft::hub::{Address, Card, Hub, HubError, Outgoing, Progress, Push, Settings, Target};
use scgraft::io::{copy, file_name};
use serde::Deserialize;
use serde_json::json;

use crate::error::{raise, refuse};
use crate::json::{options, to_python};
use crate::run::{Teller, run};

fn wrong(error: HubError) -> PyErr {
    refuse(error.to_string())
}

/// Asks the services, until Ctrl-C.
fn asked<T: Send + 'static>(
    py: Python<'_>,
    offline: bool,
    ask: impl FnOnce(&Hub, &Teller) -> Result<T, HubError> + Send + 'static,
) -> PyResult<T> {
    let found = run(py, 1, None, move |teller| {
        let asked = || {
            let mut settings = Settings::from_env()?;
            settings.offline |= offline;
            ask(&Hub::new(settings)?, teller)
        };
        Ok::<_, Error>(asked())
    })?;
    found.map_err(wrong)
}

/// What an address names, fetched (or kept from an earlier time): where it lies, its name, the address that will always name
/// these bytes, their SHA-256, how many they are. None for what is no address. `offline` looks among the kept ones alone.
#[pyfunction]
pub fn fetch(py: Python<'_>, address: &str, offline: bool) -> PyResult<Option<Py<PyAny>>> {
    let Some(address) = Address::parse(address).map_err(wrong)? else { return Ok(None) };
    let found = asked(py, offline, move |hub, teller| hub.fetch(&address, &mut |_: &Progress<'_>| teller.goes_on()))?;
    let told = json!({"path": found.path, "name": found.name, "pinned": found.pinned, "sha256": found.sha256,
                      "bytes": found.bytes, "from_cache": found.from_cache});
    Ok(Some(to_python(py, &told)?))
}

/// A file of the user's own of a fetched one, whole or not at all.
#[pyfunction]
pub fn copied(path: PathBuf, to: PathBuf) -> PyResult<()> {
    copy(&path, &to).map_err(raise)
}

/// What a record or a repository holds.
#[pyfunction]
pub fn listing(py: Python<'_>, address: &str) -> PyResult<Py<PyAny>> {
    let address: Address = address.parse().map_err(wrong)?;
    let found = asked(py, false, move |hub, teller| hub.list(&address, &mut |_: &Progress<'_>| teller.goes_on()))?;
    let files = found.files.iter().map(|f| json!({"name": f.name, "bytes": f.bytes, "checksum": f.checksum}));
    let told = json!({"title": found.title, "version": found.version, "published": found.date, "licence": found.licence,
                      "doi": found.doi, "pinned": found.pinned, "page": found.page, "files": files.collect::<Vec<_>>()});
    to_python(py, &told)
}

/// A card as text with markup, for the place where it will lie.
pub fn card_text(card: &Card, at: &str) -> PyResult<String> {
    Ok(card.markdown(&at.parse().map_err(wrong)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PushAsked {
    /// Models and adaptors: the name each is to have (None: what is usual), and its path.
    files: Vec<(Option<String>, PathBuf)>,
    also: Vec<PathBuf>,
    to: String,
    version: Option<String>,
    draft: bool,
    keep: bool,
    private: bool,
}

impl PushAsked {
    fn target(&self) -> PyResult<Target> {
        let mut target = Target::parse(&self.to).map_err(wrong)?;
        match &mut target {
            Target::Zenodo { .. } if self.private => {
                return Err(refuse(
                    "private=True is for Hugging Face; on Zenodo draft=True shows a record to its owner only",
                ));
            }
            Target::HuggingFace { .. } if self.draft || self.keep => {
                return Err(refuse(
                    "draft=True and keep=True are for Zenodo; on Hugging Face private=True hides a new repository, and \
                     files of other names stay",
                ));
            }
            Target::Zenodo { keep, publish, .. } => (*keep, *publish) = (self.keep, !self.draft),
            Target::HuggingFace { private, .. } => *private = self.private,
        }
        Ok(target)
    }

    /// Files under the names that they will have.
    fn named(&self, target: &Target) -> Vec<(String, PathBuf)> {
        let usual = |path: &Path| target.name_of(path, self.files.len() == 1);
        self.files.iter().map(|(named, path)| (named.clone().unwrap_or_else(|| usual(path)), path.clone())).collect()
    }
}

/// Sends models and adaptors with their card: the address by which others fetch them, the page, the DOI, whether it is
/// published.
#[pyfunction]
pub fn push(py: Python<'_>, plan: &str, card_words: &str) -> PyResult<Py<PyAny>> {
    let plan: PushAsked = options(plan)?;
    let target = plan.target()?;
    let named = plan.named(&target);
    let card = Card::of_files(&named, options(card_words)?)
        .map_err(wrong)?
        .ok_or_else(|| refuse("none of these files is a model or an adaptor of scgraft; give such ones too"))?;
    let also = plan.also.iter().map(|path| (file_name(path), path.clone()));
    let files = named.into_iter().chain(also).map(|(name, path)| Outgoing::new(name, path)).collect();
    let sent = Push { target, files, card, version: plan.version.clone() };
    let made = asked(py, false, move |hub, teller| hub.push(&sent, &mut |_: &Progress<'_>| teller.goes_on()))?;
    let told =
        json!({"address": made.address.to_string(), "page": made.page, "doi": made.doi, "published": made.published});
    to_python(py, &told)
}
