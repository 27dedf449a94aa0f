//! Sending models and adaptors, with a card.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::address::is_relative;
use crate::cache::{hex, read_through};
use crate::fetch::Hub;
use crate::http::{Body, Service, Watch};
use crate::{Address, Card, Contents, HubError, huggingface, zenodo};

/// Files to send, and what is to be said of them.
#[derive(Debug)]
pub struct Push {
    /// Where they go.
    pub target: Target,
    /// The files, each under the name that it is to have there. `README.md`, the card, is added.
    pub files: Vec<Outgoing>,
    /// What they are.
    pub card: Card,
    /// Which version it is, in the sender's words, as `1.0`. On Hugging Face it becomes a tag.
    pub version: Option<String>,
}

/// Where files are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A record of Zenodo.
    Zenodo {
        /// The record that a new version is made of; a new record without.
        before: Option<String>,
        /// Whether files of that version that are not sent stay in the new one.
        keep: bool,
        /// Whether it is published, for good, with a DOI; otherwise it is left as a draft to be looked at.
        publish: bool,
    },
    /// A model repository of Hugging Face; made if there is none. Files of other names stay.
    HuggingFace {
        /// `ORG/NAME`.
        repository: String,
        /// Whether one that is made is shown to its owners only.
        private: bool,
    },
}

impl Target {
    /// `zenodo` for a new record, `zenodo:RECORD` for a new version of one, `hf:ORG/NAME`. Published at once, for all.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Target, HubError> {
        if matches!(text, "zenodo" | "zenodo:") {
            return Ok(Target::Zenodo { before: None, keep: false, publish: true });
        }
        match Address::parse(text)? {
            Some(Address::Zenodo { record, file: None }) => {
                Ok(Target::Zenodo { before: Some(record), keep: false, publish: true })
            }
            Some(Address::HuggingFace { repository, revision: None, file: None }) => {
                Ok(Target::HuggingFace { repository, private: false })
            }
            _ => {
                let what = "files are sent to `zenodo` (a new record), `zenodo:RECORD` (a new version of it) or \
                            `hf:ORG/NAME`";
                Err(HubError::Address { address: crate::address::shown(text), what: what.to_owned() })
            }
        }
    }

    /// The name that a file is to have there unless told: its own; of a model that goes `alone` to Hugging Face, that which
    /// its viewer knows.
    pub fn name_of(&self, path: &Path, alone: bool) -> String {
        let is_model = path.extension().is_some_and(|e| e == "scgraft" || e == "safetensors");
        match self {
            Target::HuggingFace { .. } if alone && is_model => "model.safetensors".to_owned(),
            _ => scgraft_io::file_name(path),
        }
    }
}

/// A file to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The name that it is to have.
    pub name: String,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    File(PathBuf),
    Text(Arc<str>),
}

/// What was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The address by which others fetch it.
    pub address: Address,
    /// The page for people.
    pub page: String,
    /// What to cite, where the service gives one.
    pub doi: Option<String>,
    /// Whether it is published; a draft can be published on its page, or by sending again.
    pub published: bool,
}

/// The name of the card.
pub(crate) const CARD: &str = "README.md";

/// A push that is not finished.
#[derive(Serialize, Deserialize)]
struct Begun {
    draft: String,
}

impl Outgoing {
    /// A file under a name.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Outgoing {
        Outgoing { name: name.into(), content: Content::File(path.into()) }
    }

    pub(crate) fn text(name: &str, text: String) -> Outgoing {
        Outgoing { name: name.to_owned(), content: Content::Text(text.into()) }
    }

    pub(crate) fn bytes(&self) -> Result<u64, HubError> {
        match &self.content {
            Content::File(path) => {
                std::fs::metadata(path).map(|m| m.len()).map_err(|source| HubError::Io { path: path.clone(), source })
            }
            Content::Text(text) => Ok(text.len() as u64),
        }
    }

    /// A part of it, to be sent; of a text always all.
    pub(crate) fn body(&self, from: u64, bytes: u64, total: u64) -> Body<'_> {
        match &self.content {
            Content::File(path) => Body::File { path, name: &self.name, from, bytes, total },
            Content::Text(text) => Body::Bytes(text.as_bytes(), "application/octet-stream"),
        }
    }

    /// Its first bytes.
    pub(crate) fn beginning(&self, most: u64) -> Result<Vec<u8>, HubError> {
        match &self.content {
            Content::File(path) => {
                let fail = |source| HubError::Io { path: path.clone(), source };
                let mut out = Vec::new();
                File::open(path).map_err(fail)?.take(most).read_to_end(&mut out).map_err(fail)?;
                Ok(out)
            }
            Content::Text(text) => Ok(text.bytes().take(usize::try_from(most).unwrap_or(usize::MAX)).collect()),
        }
    }

    pub(crate) fn md5(&self, watch: &mut Watch<'_>) -> Result<String, HubError> {
        self.digest(Md5::new(), watch)
    }

    pub(crate) fn sha256(&self, watch: &mut Watch<'_>) -> Result<String, HubError> {
        self.digest(Sha256::new(), watch)
    }

    fn digest<D: Digest>(&self, mut sum: D, watch: &mut Watch<'_>) -> Result<String, HubError> {
        match &self.content {
            Content::File(path) => {
                let file = File::open(path).map_err(|source| HubError::Io { path: path.clone(), source })?;
                _ = read_through(file, path, &self.name, watch, &mut |bytes| sum.update(bytes))?;
            }
            Content::Text(text) => sum.update(text.as_bytes()),
        }
        Ok(hex(&sum.finalize()))
    }
}

impl Hub {
    /// Sends files with their card. Models and adaptors are loaded first, so that no damaged one is shared.
    ///
    /// What was sent before an interruption is not sent again: the same call goes on from there, with the same draft.
    ///
    /// # Errors
    /// When something is missing that the service asks for, a file is damaged, the service cannot be reached or says no;
    /// offline.
    pub fn push(&self, push: &Push, watch: &mut Watch<'_>) -> Result<Pushed, HubError> {
        check(push)?;
        let service = self.service(&push.target);
        if self.settings.offline {
            return Err(wrong("offline nothing is sent".to_owned()));
        }
        if service.token.is_none() {
            return Err(wrong(format!(
                "{} has to know who sends: put a token into {}. {}",
                service.name, service.variable, service.tokens
            )));
        }
        match &push.target {
            Target::HuggingFace { repository, private } => {
                let address =
                    Address::HuggingFace { repository: repository.clone(), revision: push.version.clone(), file: None };
                let mut files = push.files.clone();
                files.push(Outgoing::text(CARD, push.card.markdown(&address)));
                huggingface::push(self, repository, *private, push.version.as_deref(), &files, watch)
            }
            Target::Zenodo { before, keep, publish } => {
                let key = key(service, before.as_deref(), &push.files, watch)?;
                let draft = self.cache.note::<Begun>("pushes", &key).map(|b| b.draft);
                let plan = zenodo::Plan {
                    before: before.as_deref(),
                    keep: *keep,
                    publish: *publish,
                    version: push.version.as_deref(),
                    card: &push.card,
                };
                let mut begun = |id: &str| self.cache.keep_note("pushes", &key, &Begun { draft: id.to_owned() });
                let made = zenodo::push(self, &plan, &push.files, draft, &mut begun, watch)?;
                if made.published {
                    self.cache.drop_note("pushes", &key);
                }
                Ok(made)
            }
        }
    }

    fn service(&self, target: &Target) -> &Service {
        match target {
            Target::Zenodo { .. } => &self.zenodo,
            Target::HuggingFace { .. } => &self.huggingface,
        }
    }
}

/// What a push is known by while it is not finished: where it goes, and every byte of it.
fn key(service: &Service, before: Option<&str>, files: &[Outgoing], watch: &mut Watch<'_>) -> Result<String, HubError> {
    let mut key = format!("{} {before:?}", service.base);
    for file in files {
        key.push_str(&format!("\n{} {}", file.sha256(watch)?, file.name));
    }
    Ok(key)
}

fn wrong(what: String) -> HubError {
    HubError::Push { what }
}

/// Whether all is there, and every model and adaptor whole.
fn check(push: &Push) -> Result<(), HubError> {
    if push.files.is_empty() {
        return Err(wrong("no file is named to be sent".to_owned()));
    }
    let folders = matches!(push.target, Target::HuggingFace { .. });
    let mut names = HashSet::from([CARD]);
    for file in &push.files {
        let name = file.name.as_str();
        if !is_relative(name) || (!folders && name.contains('/')) {
            return Err(wrong(format!("`{name}` cannot be the name of a file there; give it another")));
        }
        if !names.insert(name) {
            return Err(wrong(format!("two files would have the name `{name}` there; give each its own")));
        }
        if let Content::File(path) = &file.content {
            // The name must say what it is: whoever fetches it goes by its ending.
            match Contents::read(path)? {
                Contents::Model(_) if ![".scgraft", ".safetensors"].iter().any(|e| name.ends_with(e)) => {
                    return Err(wrong(format!(
                        "`{name}` is a model; let its name end in `.scgraft` or `.safetensors`"
                    )));
                }
                Contents::Adaptor(_) if !name.ends_with(".adaptor") => {
                    return Err(wrong(format!("`{name}` is an adaptor; let its name end in `.adaptor`")));
                }
                _ => {}
            }
        }
    }
    let words = &push.card.words;
    if words.licence.as_deref().is_none_or(|l| l.trim().is_empty()) {
        return Err(wrong(
            "say under which licence others may use it, as `CC-BY-4.0` or `CC0-1.0`: without one nobody may".to_owned(),
        ));
    }
    if matches!(push.target, Target::Zenodo { .. }) && words.authors.is_empty() {
        return Err(wrong("Zenodo wants to know who made it: name the authors, as `Family, Given`".to_owned()));
    }
    if let Some(version) = &push.version
        && (version.is_empty() || !version.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b)))
    {
        return Err(wrong(format!("`{version}` cannot name a version; use letters, digits, `.`, `_`, `-` and `+`")));
    }
    Ok(())
}
