//! Model and adaptor files: `safetensors`, with one JSON entry that says everything else.
//!
//! Nothing in a file is executed. What is written is bytes; who calls puts them on a disk. The entry ends with a hash of
//! itself and of every tensor, so that nothing in a file can change unseen; files from before it had one are read with a
//! warning. A model is built only when its names fit together and call for about as many numbers as the file has.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::size::{check_against, check_numbers};
use crate::{Adaptor, EpochRecord, Header, Model, ModelError, Origin, ReferenceCells, Segment, find};

/// The metadata entry.
const ENTRY: &str = "scgraft";
/// Raised when an older program could not read the file rightly.
const VERSION: u32 = 1;
/// The last key of the entry, with what stands around its value.
const HASH: &str = ",\"sha256\":\"";

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Meta {
    Model {
        version: u32,
        model: String,
        config: Value,
        header: Header,
        history: Vec<EpochRecord>,
        provenance: serde_json::Map<String, Value>,
        reference: String,
        /// SHA-256 of the cells, where there are some.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cells: Option<String>,
    },
    Adaptor {
        version: u32,
        model: String,
        origin: Origin,
        segments: Vec<Segment>,
        reference: String,
    },
}

impl Model {
    /// The model as a file's bytes; the same model gives the same bytes.
    ///
    /// # Errors
    /// When the names are too many for the format.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let cells = self.cells.as_ref().map(|c| c.to_bytes().map_err(wrong)).transpose()?;
        let meta = Meta::Model {
            version: VERSION,
            model: self.entry.name.to_owned(),
            config: self.network.config(),
            header: self.header.clone(),
            history: self.history.clone(),
            provenance: self.provenance.clone(),
            reference: self.reference_hash(),
            cells: cells.as_deref().map(sha256),
        };
        let tensors = self.params.iter().map(|p| (p.name.as_str(), (&p.shape[..], p.values())));
        write(&meta, tensors.collect(), cells.as_deref())
    }

    /// A model from a file's bytes.
    ///
    /// # Errors
    /// When they are no model of ours, were changed, do not fit together, or call for more than they hold.
    pub fn from_bytes(bytes: &[u8]) -> Result<Model, ModelError> {
        Model::read(bytes, Path::new(""))
    }

    /// Whether an error of loading says that the file is an adaptor.
    pub fn is_adaptor(error: &ModelError) -> bool {
        matches!(error, ModelError::Format { what, .. } if what == IS_ADAPTOR)
    }

    fn read(bytes: &[u8], path: &Path) -> Result<Model, ModelError> {
        let Parsed { meta, mut tensors, cells, hashed } = parse(bytes)?;
        let Meta::Model { version, model, config, header, history, provenance, reference, cells: of_cells } = meta
        else {
            return Err(wrong(IS_ADAPTOR));
        };
        check_version(version)?;
        let stored = tensors.values().map(|(_, values)| values.len()).sum();
        check_against(&config, &header, stored).map_err(wrong)?;
        let mut out = Model::declare(find(&model)?, &config, header)?;
        for p in out.params.iter_mut() {
            let (shape, values) =
                tensors.remove(&p.name).ok_or_else(|| wrong(format!("tensor `{}` is missing", p.name)))?;
            if shape != p.shape {
                let called = &p.shape;
                return Err(wrong(format!("tensor `{}` has shape {shape:?}, the names call for {called:?}", p.name)));
            }
            p.put(values);
        }
        if let Some(unread) = tensors.keys().next() {
            return Err(wrong(format!("tensor `{unread}` is none of a {model}'s")));
        }
        out.history = history;
        out.provenance = provenance;
        if cells.map(sha256) != of_cells {
            return Err(wrong("its cells do not match the checksum in it: they were changed, or the file is damaged"));
        }
        out.cells = cells.map(|c| ReferenceCells::from_bytes(c).map_err(wrong)).transpose()?;
        let added: usize = out.header.grafts.iter().map(|g| g.n_programs).sum();
        let n = out.n_latent().saturating_sub(added);
        if out.cells.as_ref().is_some_and(|c| c.mean.n_cols != n) {
            return Err(wrong(format!("its cells are not in the {n} dimensions of the reference")));
        }
        if out.reference_hash() != reference {
            return Err(wrong("its tensors do not match the hash in it: the file is damaged"));
        }
        tell_of_age(path, hashed);
        Ok(out)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// When the file cannot be read; of [`Model::from_bytes`], with the file's name.
    pub fn load(path: impl AsRef<Path>) -> Result<Model, ModelError> {
        let path = path.as_ref();
        Model::read(&read(path)?, path).map_err(|e| e.of_file(path))
    }
}

const IS_ADAPTOR: &str = "it is an adaptor; attach it to its reference";

impl Adaptor {
    /// The adaptor as a file's bytes.
    ///
    /// # Errors
    /// When the names are too many for the format.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let meta = Meta::Adaptor {
            version: VERSION,
            model: self.model.clone(),
            origin: self.origin.clone(),
            segments: self.segments.clone(),
            reference: self.reference.clone(),
        };
        let lengths: Vec<[usize; 1]> = self.tensors.values().map(|v| [v.len()]).collect();
        let tensors = self.tensors.iter().zip(&lengths).map(|((n, v), l)| (n.as_str(), (&l[..], &v[..])));
        write(&meta, tensors.collect(), None)
    }

    /// An adaptor from a file's bytes.
    ///
    /// # Errors
    /// When they are no adaptor of ours, were changed, or do not fit together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Adaptor, ModelError> {
        Adaptor::read(bytes, Path::new(""))
    }

    fn read(bytes: &[u8], path: &Path) -> Result<Adaptor, ModelError> {
        let Parsed { meta, tensors, hashed, .. } = parse(bytes)?;
        let Meta::Adaptor { version, model, origin, segments, reference } = meta else {
            return Err(wrong("it is a whole model, not an adaptor"));
        };
        check_version(version)?;
        let tensors = tensors.into_iter().map(|(n, (_, v))| (n, v)).collect();
        let adaptor = Adaptor { origin, segments, reference, model, tensors };
        adaptor.check().map_err(wrong)?;
        tell_of_age(path, hashed);
        Ok(adaptor)
    }

    /// Reads an adaptor.
    ///
    /// # Errors
    /// When the file cannot be read; of [`Adaptor::from_bytes`], with the file's name.
    pub fn load(path: impl AsRef<Path>) -> Result<Adaptor, ModelError> {
        let path = path.as_ref();
        Adaptor::read(&read(path)?, path).map_err(|e| e.of_file(path))
    }
}

/// Bytes that are no file of ours; the file's name is added by who knows it.
fn wrong(what: impl Into<String>) -> ModelError {
    ModelError::Format { path: PathBuf::new(), what: what.into() }
}

fn check_version(version: u32) -> Result<(), ModelError> {
    if version > VERSION {
        let newer = format!("it has format version {version}, this program reads up to {VERSION}: update scgraft");
        return Err(wrong(newer));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Warns of a file that has no checksum.
fn tell_of_age(path: &Path, hashed: bool) {
    if !hashed {
        let file = path.display();
        tracing::warn!("{file}: from before such files had a checksum; what was changed in it would not show");
    }
}

/// What a file holds.
struct Parsed<'b> {
    meta: Meta,
    tensors: Tensors,
    /// The cells of a reference, as bytes.
    cells: Option<&'b [u8]>,
    /// Whether it was held against a checksum.
    hashed: bool,
}

/// The name under which cells stand among tensors.
const CELLS: &str = "cells";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn parse(bytes: &[u8]) -> Result<Parsed<'_>, ModelError> {
    if bytes.starts_with(b"\x89HDF") {
        return Err(wrong("it holds cells (HDF5), not a model"));
    }
    let (_, head) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(e.to_string()))?;
    let text = head.metadata().as_ref().and_then(|m| m.get(ENTRY));
    let text = text.ok_or_else(|| wrong("it has no `scgraft` entry"))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| wrong(e.to_string()))?;
    let mut tensors = Tensors::new();
    let mut cells = None;
    for (name, view) in file.iter() {
        if name == CELLS && view.dtype() == Dtype::U8 {
            cells = Some(view.data());
            continue;
        }
        if view.dtype() != Dtype::F32 {
            return Err(wrong(format!("tensor `{name}` is {:?}, expected F32", view.dtype())));
        }
        let chunks = view.data().as_chunks::<4>().0;
        let values = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
        tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
    }
    let sorted = || tensors.iter().map(|(name, (shape, values))| (name.as_str(), (&shape[..], &values[..])));
    let hashed = match split_hash(text) {
        Some((said, hash)) if digest(&said, sorted()) == hash => true,
        None if !text.contains("\"sha256\"") && !has_stray_hash(text) => false,
        _ => {
            let what = "it does not match the checksum in it: something was changed, or the file is damaged; copy it \
                        again from its source";
            return Err(wrong(what));
        }
    };
    let meta = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    check_numbers(tensors.iter().map(|(name, (_, values))| (name.as_str(), &values[..]))).map_err(wrong)?;
    Ok(Parsed { meta, tensors, cells, hashed })
}

/// Whether an entry has a hash under a name that none has: that of its checksum, were it not changed.
fn has_stray_hash(text: &str) -> bool {
    let Ok(Value::Object(entry)) = serde_json::from_str(text) else { return false };
    let is_hash =
        |v: &Value| v.as_str().is_some_and(|s| s.len() == 64 && s.bytes().filter(u8::is_ascii_hexdigit).count() > 60);
    entry.iter().any(|(key, value)| !["reference", "cells"].contains(&key.as_str()) && is_hash(value))
}

/// The entry as it was before its hash was put in, and the hash.
fn split_hash(text: &str) -> Option<(String, &str)> {
    let (said, rest) = text.rsplit_once(HASH)?;
    Some((format!("{said}}}"), rest.strip_suffix("\"}")?))
}

type Stored<'t> = (&'t str, (&'t [usize], &'t [f32]));

/// The hash of an entry and of tensors, in the order of their names.
fn digest<'t>(entry: &str, tensors: impl Iterator<Item = Stored<'t>>) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(entry.as_bytes());
    for (name, (shape, values)) in tensors {
        part(name.as_bytes());
        part(&shape.iter().flat_map(|&n| (n as u64).to_le_bytes()).collect::<Vec<u8>>());
        part(&little_endian(values));
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * 4];
    bytes.as_chunks_mut::<4>().0.iter_mut().zip(values).for_each(|(b, v)| *b = v.to_le_bytes());
    bytes
}

/// A tensor whose bytes are made when they are asked for, so that of a model one tensor is copied at a time.
struct Borrowed<'t> {
    shape: &'t [usize],
    data: Data<'t>,
}

enum Data<'t> {
    Numbers(&'t [f32]),
    Bytes(&'t [u8]),
}

impl View for Borrowed<'_> {
    fn dtype(&self) -> Dtype {
        match self.data {
            Data::Numbers(_) => Dtype::F32,
            Data::Bytes(_) => Dtype::U8,
        }
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.data {
            Data::Numbers(values) => Cow::Owned(little_endian(values)),
            Data::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }

    fn data_len(&self) -> usize {
        match self.data {
            Data::Numbers(values) => values.len() * 4,
            Data::Bytes(bytes) => bytes.len(),
        }
    }
}

fn write(
    meta: &Meta,
    tensors: BTreeMap<&str, (&[usize], &[f32])>,
    cells: Option<&[u8]>,
) -> Result<Vec<u8>, ModelError> {
    let mut meta = serde_json::to_string(meta).map_err(|e| wrong(e.to_string()))?;
    let hash = digest(&meta, tensors.iter().map(|(name, tensor)| (*name, *tensor)));
    meta.pop();
    meta.push_str(&format!("{HASH}{hash}\"}}"));
    let length = [cells.map_or(0, <[u8]>::len)];
    let cells = cells.map(|bytes| (CELLS, Borrowed { shape: &length, data: Data::Bytes(bytes) }));
    let numbers = |(name, (shape, values))| (name, Borrowed { shape, data: Data::Numbers(values) });
    let views = tensors.into_iter().map(numbers).chain(cells);
    safetensors::serialize(views, Some(HashMap::from([(ENTRY.to_owned(), meta)]))).map_err(|e| wrong(e.to_string()))
}
