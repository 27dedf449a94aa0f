//! Model and adaptor files: `safetensors`, with one JSON entry that says everything else.
//!
//! Nothing in a file is executed. A file appears under its name whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Adaptor, EpochRecord, Header, Model, ModelError, Origin, Segment};

/// The metadata entry.
const ENTRY: &str = "scgraft";
/// Raised when an older program could not read the file rightly.
const VERSION: u32 = 1;

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
    /// Writes the model; the file appears whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        let meta = Meta::Model {
            version: VERSION,
            model: self.entry.name.to_owned(),
            config: self.network.config(),
            header: self.header.clone(),
            history: self.history.clone(),
            provenance: self.provenance.clone(),
            reference: self.reference_hash(),
        };
        let tensors = self.params.iter().map(|p| (p.name.as_str(), p.shape.clone(), &p.values[..]));
        write(path.as_ref(), &meta, tensors)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// When the file cannot be read, is no model of ours, or its tensors do not fit its names.
    pub fn load(path: impl AsRef<Path>) -> Result<Model, ModelError> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let (meta, tensors) = parse(path, &bytes)?;
        let Meta::Model { version, model, config, header, history, provenance, reference } = meta else {
            return Err(format_error(path, "it is an adaptor; attach it to its reference"));
        };
        check_version(path, version)?;
        let mut out = Model::new(&model, &config, header, 0)?;
        for p in out.params.iter_mut() {
            let (shape, values) =
                tensors.get(&p.name).ok_or_else(|| format_error(path, &format!("tensor `{}` is missing", p.name)))?;
            if *shape != p.shape {
                let what = format!("tensor `{}` has shape {shape:?}, the names call for {:?}", p.name, p.shape);
                return Err(format_error(path, &what));
            }
            p.values.copy_from_slice(values);
        }
        out.history = history;
        out.provenance = provenance;
        if out.reference_hash() != reference {
            return Err(format_error(path, "its tensors do not match the hash in it: the file is damaged"));
        }
        Ok(out)
    }
}

impl Adaptor {
    /// Writes the adaptor; the file appears whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        let meta = Meta::Adaptor {
            version: VERSION,
            model: self.model.clone(),
            origin: self.origin.clone(),
            segments: self.segments.clone(),
            reference: self.reference.clone(),
        };
        write(path.as_ref(), &meta, self.tensors.iter().map(|(n, v)| (n.as_str(), vec![v.len()], &v[..])))
    }

    /// Reads an adaptor.
    ///
    /// # Errors
    /// When the file cannot be read or is no adaptor of ours.
    pub fn load(path: impl AsRef<Path>) -> Result<Adaptor, ModelError> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let (meta, tensors) = parse(path, &bytes)?;
        let Meta::Adaptor { version, model, origin, segments, reference } = meta else {
            return Err(format_error(path, "it is a whole model, not an adaptor"));
        };
        check_version(path, version)?;
        let tensors = tensors.into_iter().map(|(n, (_, v))| (n, v)).collect();
        Ok(Adaptor { origin, segments, reference, model, tensors })
    }
}

fn format_error(path: &Path, what: &str) -> ModelError {
    ModelError::Format { path: path.to_owned(), what: what.to_owned() }
}

fn check_version(path: &Path, version: u32) -> Result<(), ModelError> {
    if version > VERSION {
        let what = format!("it has format version {version}, this program reads up to {VERSION}: update scgraft");
        return Err(format_error(path, &what));
    }
    Ok(())
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> ModelError + '_ {
    move |source| ModelError::Io { path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(io_error(path))
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn parse(path: &Path, bytes: &[u8]) -> Result<(Meta, Tensors), ModelError> {
    if bytes.starts_with(b"\x89HDF") {
        return Err(format_error(path, "it holds cells (HDF5), not a model"));
    }
    let (_, head) = SafeTensors::read_metadata(bytes).map_err(|e| format_error(path, &e.to_string()))?;
    let text = head.metadata().as_ref().and_then(|m| m.get(ENTRY));
    let text = text.ok_or_else(|| format_error(path, "it has no `scgraft` entry"))?;
    let meta = serde_json::from_str(text).map_err(|e| format_error(path, &e.to_string()))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| format_error(path, &e.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(format_error(path, &format!("tensor `{name}` is {:?}, expected F32", view.dtype())));
        }
        let chunks = view.data().as_chunks::<4>().0;
        let values = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
        tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
    }
    Ok((meta, tensors))
}

fn write<'t>(
    path: &Path,
    meta: &Meta,
    tensors: impl Iterator<Item = (&'t str, Vec<usize>, &'t [f32])>,
) -> Result<(), ModelError> {
    let meta = serde_json::to_string(meta).map_err(|e| format_error(path, &e.to_string()))?;
    let owned: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, shape, values)| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = owned
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| format_error(path, &e.to_string()))?;
    let bytes = safetensors::serialize(views, Some(HashMap::from([(ENTRY.to_owned(), meta)])))
        .map_err(|e| format_error(path, &e.to_string()))?;
    if path.exists() && !path.is_file() {
        let found = "a folder, device or pipe of that name exists, not a file";
        return Err(io_error(path)(std::io::Error::new(std::io::ErrorKind::InvalidInput, found)));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = temporary(folder).map_err(io_error(path))?;
    file.write_all(&bytes).map_err(io_error(path))?;
    file.as_file().sync_all().map_err(io_error(path))?;
    file.persist(path).map_err(|e| io_error(path)(e.error))?;
    Ok(())
}

/// A temporary file with the permissions that the user's mask gives a new file, so that a model can be shared.
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
