//! From an address to a file in the cache, and what lies beside it.

use std::path::PathBuf;

use crate::cache::{Cache, Entry};
use crate::download::{Came, Checksum, Source, download};
use crate::http::{Http, Service, Watch};
use crate::layout::{CELLS, is_minified};
use crate::reply::lacking;
use crate::retry::now;
use crate::{Address, Files, HubError, Settings, huggingface, zenodo};

/// The way to models and adaptors on the network, by way of the user's cache.
///
/// # Example
/// ```no_run
/// use std::ops::ControlFlow;
/// use scgraft_hub::{Address, Hub, Settings};
///
/// let hub = Hub::new(Settings::from_env()?)?;
/// let address: Address = "zenodo:1234567/atlas.scgraft".parse()?;
/// let fetched = hub.fetch(&address, &mut |_| ControlFlow::Continue(()))?;
/// let model = scgraft_models::Model::load(&fetched.path)?;
/// # Ok::<(), scgraft_hub::HubError>(())
/// ```
#[derive(Debug)]
pub struct Hub {
    pub(crate) settings: Settings,
    pub(crate) http: Http,
    pub(crate) cache: Cache,
    pub(crate) zenodo: Service,
    pub(crate) huggingface: Service,
}

/// A file that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies in the cache. It is others' too: read it, and copy it to change it.
    pub path: PathBuf,
    /// What it is called where it came from, without folders.
    pub name: String,
    /// The address that will always name these bytes: of the version, or of the commit. For a file on a server, its
    /// address with its hash.
    pub pinned: String,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// How many they are.
    pub bytes: u64,
    /// Whether it was in the cache already.
    pub from_cache: bool,
}

/// What lies at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The address that will always name this state.
    pub pinned: String,
    /// The page for people.
    pub page: String,
    /// What it is called.
    pub title: Option<String>,
    /// Which version it is, in its authors' words.
    pub version: Option<String>,
    /// When it was published.
    pub date: Option<String>,
    /// Under which licence.
    pub licence: Option<String>,
    /// What to cite.
    pub doi: Option<String>,
    /// Its files.
    pub files: Vec<Listed>,
}

/// A file of a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, with folders.
    pub name: String,
    /// How many bytes it has, where that is known.
    pub bytes: Option<u64>,
    /// The service's checksum: `md5:`, `sha256:` or `git:` and hexadecimal digits.
    pub checksum: Option<String>,
    /// Where its bytes are.
    pub(crate) url: String,
}

impl Hub {
    /// With these settings. Nothing is asked yet, and no folder made.
    ///
    /// # Errors
    /// When the certificates that the settings name cannot be read.
    pub fn new(settings: Settings) -> Result<Hub, HubError> {
        let http = Http::new(&settings)?;
        let cache = Cache { folder: settings.cache.clone() };
        let zenodo = Service {
            name: "Zenodo",
            base: settings.zenodo.clone(),
            token: settings.zenodo_token.clone(),
            variable: "ZENODO_TOKEN",
            tokens: "Zenodo makes them under Account, Applications, Personal access tokens, with the scopes \
                     deposit:write and deposit:actions",
        };
        let huggingface = Service {
            name: "Hugging Face",
            base: settings.huggingface.clone(),
            token: settings.huggingface_token.clone(),
            variable: "HF_TOKEN",
            tokens: "Hugging Face makes them under Settings, Access Tokens, to read, or with leave to write to the \
                     repository",
        };
        Ok(Hub { settings, http, cache, zenodo, huggingface })
    }

    /// A file by its address: out of the cache if it is there and still what the address names, otherwise fetched. Where
    /// the address names no file, the one of ours that lies there, if there is just one.
    ///
    /// A download that broke is resumed, also by a later call. What came is held against the service's checksum; whether a
    /// model or an adaptor is whole, it says itself when it is loaded.
    ///
    /// # Errors
    /// When the service cannot be reached or says no, what comes is not what it promised, or, offline, the file is not in
    /// the cache.
    pub fn fetch(&self, address: &Address, watch: &mut Watch<'_>) -> Result<Fetched, HubError> {
        let key = self.key(address);
        let known = self.cache.entry(&key);
        if self.settings.offline {
            return self.cached(address, known, watch);
        }
        if let Address::Web { url, sha256 } = address {
            return self.fetch_web(address, url, sha256.as_deref(), known, watch);
        }
        let listing = self.list(address, watch)?;
        let listed = choose(address, &listing)?;
        self.fetch_listed(address, &listing, listed, known, watch)
    }

    /// What lies at an address. Of a file on a server only its name is known.
    ///
    /// # Errors
    /// When the service cannot be reached or says no; offline.
    pub fn list(&self, address: &Address, watch: &mut Watch<'_>) -> Result<Listing, HubError> {
        if self.settings.offline {
            let cache = self.cache.folder.display().to_string();
            return Err(HubError::Offline { address: address.to_string(), cache });
        }
        match address {
            Address::Zenodo { record, .. } => zenodo::list(self, address, record, watch),
            Address::HuggingFace { repository, revision, .. } => {
                huggingface::list(self, address, repository, revision.as_deref().unwrap_or("main"), watch)
            }
            Address::Web { url, sha256 } => {
                let name = last_part(address.file().unwrap_or_default());
                let checksum = sha256.as_ref().map(|h| format!("sha256:{h}"));
                let file = Listed { name, bytes: None, checksum, url: url.clone() };
                Ok(Listing { pinned: address.to_string(), page: url.clone(), files: vec![file], ..Listing::default() })
            }
        }
    }

    /// The files of a model of scvi-tools or scArches, for [`import_files`](crate::import_files). The address names the
    /// file of the model or the folder that it is in; `model_params.pt` brings its `attr.pkl` and `var_names.csv` along, and
    /// a model that was saved minified its cells, `adata.h5ad`, where they lie there. Cells with counts are not fetched.
    ///
    /// # Errors
    /// As [`Hub::fetch`]; when there is no such model, or there are several.
    pub fn fetch_published(&self, address: &Address, watch: &mut Watch<'_>) -> Result<Files, HubError> {
        const WHOLE: &str = "model.pt";
        const TENSORS: &str = "model_params.pt";
        let mut found = address.clone();
        let is_file = address.file().is_some_and(|f| f.ends_with(".pt"));
        if !is_file && !self.settings.offline && !matches!(address, Address::Web { .. }) {
            let listing = self.list(address, watch)?;
            let folder = address.file().map_or_else(String::new, |f| format!("{f}/"));
            let of = |ending: &str| -> Vec<&str> {
                let names = listing.files.iter().map(|f| f.name.as_str());
                names.filter(|n| n.starts_with(&folder) && n.ends_with(ending)).collect()
            };
            let (whole, tensors) = (of(WHOLE), of(TENSORS));
            let candidates = if whole.is_empty() { tensors } else { whole };
            let [one] = candidates[..] else {
                let what = match candidates.len() {
                    0 => "no `model.pt` or `model_params.pt` lies there".to_owned(),
                    _ => format!("several models lie there; name one of {}", candidates.join(", ")),
                };
                return Err(HubError::Address { address: address.to_string(), what });
            };
            found = address.with_file(one);
        } else if !is_file && !matches!(address, Address::Web { .. }) {
            let what = "offline the file of the model has to be named, as `…/model.pt`".to_owned();
            return Err(HubError::Address { address: address.to_string(), what });
        }
        let mut bytes = |address: &Address| {
            let path = self.fetch(address, watch)?.path;
            std::fs::read(&path).map_err(|source| HubError::Io { path, source })
        };
        let model = bytes(&found)?;
        let name = found.file().unwrap_or_default().to_owned();
        let folder = [WHOLE, TENSORS].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or_default();
        // On a server only the last part of the name is taken.
        let folder =
            if matches!(found, Address::Web { .. }) { folder.rsplit('/').next().unwrap_or(folder) } else { folder };
        let beside = |file: &str| found.with_file(&format!("{folder}{file}"));
        let (attributes, genes) = match name.ends_with(TENSORS) {
            true => (Some(bytes(&beside("attr.pkl"))?), Some(bytes(&beside("var_names.csv"))?)),
            false => (None, None),
        };
        let mut files = Files { place: found.to_string(), model, attributes, genes, cells: None };
        if is_minified(&files) {
            files.cells = match self.fetch(&beside(CELLS), watch) {
                Ok(cells) => Some(cells.path),
                // It was shared without.
                Err(HubError::Refused { status: 404, .. } | HubError::Address { .. } | HubError::Offline { .. }) => {
                    None
                }
                Err(e) => return Err(e),
            };
        }
        Ok(files)
    }

    /// What the cache knows an address by: the same record of another service is another.
    fn key(&self, address: &Address) -> String {
        match address {
            Address::Zenodo { .. } => format!("{} {address}", self.zenodo.base),
            Address::HuggingFace { .. } => format!("{} {address}", self.huggingface.base),
            Address::Web { .. } => address.to_string(),
        }
    }

    fn cached(&self, address: &Address, known: Option<Entry>, watch: &mut Watch<'_>) -> Result<Fetched, HubError> {
        if let Some(entry) = known
            && let Some((path, _)) = self.cache.file(&entry.sha256, &entry.name, watch)?
        {
            return Ok(fetched(entry, path, true));
        }
        let cache = self.cache.folder.display().to_string();
        Err(HubError::Offline { address: address.to_string(), cache })
    }

    /// A file of a record or repository.
    fn fetch_listed(
        &self,
        address: &Address,
        listing: &Listing,
        listed: &Listed,
        known: Option<Entry>,
        watch: &mut Watch<'_>,
    ) -> Result<Fetched, HubError> {
        let name = last_part(&listed.name);
        let pinned = format!("{}/{}", listing.pinned, listed.name);
        let exact = address.with_file(&listed.name);
        let by_name = self.cache.entry(&self.key(&exact));
        let checksum = listed.checksum.as_deref().and_then(Checksum::parse);
        let keep = |entry: Entry| -> Result<Entry, HubError> {
            // Under the address as it was given, with the file's name, and as it is pinned.
            let pinned_address = Address::parse(&entry.pinned)?;
            let keys = [Some(self.key(address)), Some(self.key(&exact)), pinned_address.map(|a| self.key(&a))];
            for key in keys.into_iter().flatten() {
                self.cache.keep_entry(&Entry { address: key, ..entry.clone() })?;
            }
            Ok(entry)
        };
        let entry = |sha256: String, bytes: u64| Entry {
            address: String::new(),
            pinned: pinned.clone(),
            name: name.clone(),
            sha256,
            bytes,
            checksum: listed.checksum.clone(),
            validator: None,
            when: now(),
        };
        let here = match &checksum {
            Some(Checksum::Sha256(hash)) => Some(hash.clone()),
            Some(_) => {
                let same = |e: &&Entry| e.checksum == listed.checksum && listed.bytes.is_none_or(|b| b == e.bytes);
                known.iter().chain(&by_name).find(same).map(|e| e.sha256.clone())
            }
            None => None,
        };
        if let Some(hash) = here
            && let Some((path, bytes)) = self.cache.file(&hash, &name, watch)?
        {
            return Ok(fetched(keep(entry(hash, bytes))?, path, true));
        }
        let service = match address {
            Address::Zenodo { .. } => &self.zenodo,
            _ => &self.huggingface,
        };
        let place = address.to_string();
        let source = Source {
            place: &place,
            url: listed.url.clone(),
            service: Some(service),
            name: &name,
            bytes: listed.bytes,
            checksum,
            known: None,
        };
        match download(&self.http, &self.cache, &source, watch)? {
            Came::File { path, sha256, bytes, .. } => Ok(fetched(keep(entry(sha256, bytes))?, path, false)),
            Came::Unchanged => Err(lacking(&place, "content")),
        }
    }

    /// A file on a server that says nothing of it beforehand.
    fn fetch_web(
        &self,
        address: &Address,
        url: &str,
        sha256: Option<&str>,
        known: Option<Entry>,
        watch: &mut Watch<'_>,
    ) -> Result<Fetched, HubError> {
        let place = address.to_string();
        let name = Some(last_part(address.file().unwrap_or_default())).filter(|n| !n.is_empty());
        let name = name.unwrap_or_else(|| "file".to_owned());
        let mut here = None;
        if let Some(hash) = sha256.map(str::to_owned).or_else(|| known.as_ref().map(|e| e.sha256.clone())) {
            here = self.cache.file(&hash, &name, watch)?.map(|(path, bytes)| (hash, path, bytes));
        }
        let entry = |sha256: String, bytes: u64, validator| Entry {
            address: self.key(address),
            pinned: format!("{url}#sha256={sha256}"),
            name: name.clone(),
            sha256,
            bytes,
            checksum: None,
            validator,
            when: now(),
        };
        if let (Some(_), Some((hash, path, bytes))) = (sha256, &here) {
            let entry = entry(hash.clone(), *bytes, None);
            self.cache.keep_entry(&entry)?;
            return Ok(fetched(entry, path.clone(), true));
        }
        let source = Source {
            place: &place,
            url: url.to_owned(),
            service: None,
            name: &name,
            bytes: None,
            checksum: sha256.and_then(|h| Checksum::of("sha256", h)),
            known: known.as_ref().filter(|_| here.is_some()).and_then(|e| e.validator.as_ref()),
        };
        match (download(&self.http, &self.cache, &source, watch)?, known, here) {
            (Came::Unchanged, Some(mut entry), Some((_, path, _))) => {
                entry.when = now();
                self.cache.keep_entry(&entry)?;
                Ok(fetched(entry, path, true))
            }
            (Came::Unchanged, _, _) => Err(lacking(&place, "content")),
            (Came::File { path, sha256, bytes, validator }, _, _) => {
                let entry = entry(sha256.clone(), bytes, validator);
                self.cache.keep_entry(&entry)?;
                self.cache.keep_entry(&Entry { address: entry.pinned.clone(), ..entry.clone() })?;
                Ok(fetched(entry, path, false))
            }
        }
    }
}

fn fetched(entry: Entry, path: PathBuf, from_cache: bool) -> Fetched {
    let Entry { name, pinned, sha256, bytes, .. } = entry;
    Fetched { path, name, pinned, sha256, bytes, from_cache }
}

/// The name of a file without folders, fit to be a file's name here.
fn last_part(name: &str) -> String {
    let name = crate::address::decode(name).unwrap_or_else(|| name.to_owned());
    let part = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = part.chars().map(|c| if c.is_control() || ":*?\"<>|".contains(c) { '_' } else { c }).collect();
    if matches!(clean.as_str(), "." | "..") { "file".to_owned() } else { clean }
}

/// The file that an address means of those that lie there.
fn choose<'l>(address: &Address, listing: &'l Listing) -> Result<&'l Listed, HubError> {
    const SHOWN: usize = 20;
    let wrong = |what: String| HubError::Address { address: address.to_string(), what };
    let all = || {
        let mut names: Vec<String> = listing.files.iter().take(SHOWN).map(|f| format!("`{}`", f.name)).collect();
        if listing.files.len() > SHOWN {
            names.push(format!("… ({} in all)", listing.files.len()));
        }
        names.join(", ")
    };
    if listing.files.is_empty() {
        return Err(wrong("no file lies there that you may read".to_owned()));
    }
    if let Some(name) = address.file() {
        let found = listing.files.iter().find(|f| f.name == name);
        return found.ok_or_else(|| wrong(format!("there is no `{name}`; there are {}", all())));
    }
    let ending = |endings: &[&str]| -> Vec<&Listed> {
        listing.files.iter().filter(|f| endings.iter().any(|e| f.name.ends_with(e))).collect()
    };
    let (models, adaptors) = (ending(&[".scgraft", ".safetensors"]), ending(&[".adaptor"]));
    match (&models[..], &adaptors[..]) {
        ([one], _) | ([], [one]) => Ok(one),
        ([], []) => Err(wrong(format!(
            "no file of scgraft lies there; there are {}. A model of scvi-tools or scArches has to be imported first",
            all()
        ))),
        _ => Err(wrong(format!("several files of scgraft lie there; name one of {}", all()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let file = |n: &&str| Listed { name: (*n).to_owned(), bytes: None, checksum: None, url: String::new() };
        Listing { files: names.iter().map(file).collect(), ..Listing::default() }
    }

    #[test]
    fn the_one_file_of_ours_is_meant() {
        let bare: Address = "zenodo:1".parse().unwrap();
        let name = |names: &[&str]| choose(&bare, &listing(names)).map(|f| f.name.clone()).map_err(|e| e.to_string());
        assert_eq!(name(&["README.md", "a.scgraft", "b.adaptor", "c.adaptor"]).unwrap(), "a.scgraft");
        assert_eq!(name(&["b.adaptor"]).unwrap(), "b.adaptor");
        assert!(name(&["a.scgraft", "model.safetensors"]).unwrap_err().contains("`model.safetensors`"));
        assert!(name(&["model.pt"]).unwrap_err().contains("imported first"));
        assert!(name(&[]).is_err());
        let named = bare.with_file("x");
        assert!(choose(&named, &listing(&["a"])).unwrap_err().to_string().contains("there are `a`"));
    }

    #[test]
    fn names_from_elsewhere_stay_names() {
        assert_eq!(last_part("a/b/model.scgraft"), "model.scgraft");
        assert_eq!(last_part("a%2F..%2Fb%20c"), "b c");
        assert_eq!(last_part("x/.."), "file");
        assert_eq!(last_part("C:\\x\\y:z"), "y_z");
    }
}
