//! The files that packages save a model in.
//!
//! | who | files |
//! |---|---|
//! | scvi-tools from 0.15 on | `model.pt`: tensors, gene names and settings; `adata.h5ad` where cells were saved with it |
//! | scvi-tools before, scArches | `model_params.pt`: tensors; `attr.pkl`: settings; `var_names.csv`: genes, one a line |
//!
//! Names may have a prefix, the same for all files of a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::HubError;
use crate::numpy::names;
use crate::pickle::{Pickle, Value};
use crate::torch::{Tensor, TorchFile};

/// The files of a model, as bytes.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// What the model is called in errors.
    pub place: String,
    /// `model.pt` or `model_params.pt`.
    pub model: Vec<u8>,
    /// `attr.pkl`, beside `model_params.pt`.
    pub attributes: Option<Vec<u8>>,
    /// `var_names.csv`, beside `model_params.pt`.
    pub genes: Option<Vec<u8>>,
    /// `adata.h5ad`, where there is one.
    pub cells: Option<PathBuf>,
}

pub(crate) const MODEL: &str = "model.pt";
const TENSORS: &str = "model_params.pt";
const ATTRIBUTES: &str = "attr.pkl";
const GENES: &str = "var_names.csv";
pub(crate) const CELLS: &str = "adata.h5ad";

impl Files {
    /// Finds the files of a model by its folder or by one of them, and reads them.
    ///
    /// # Errors
    /// When there is no such file, the folder holds none or several models, or a file cannot be read.
    pub fn open(path: &Path) -> Result<Files, HubError> {
        let (folder, prefix, whole) = find(path)?;
        let beside = |name: &str| folder.join(format!("{prefix}{name}"));
        let place = path.display().to_string();
        let cells = Some(beside(CELLS)).filter(|p| p.is_file());
        if let Some(file) = whole {
            return Ok(Files { place, model: read(&file)?, attributes: None, genes: None, cells });
        }
        Ok(Files {
            place,
            model: read(&beside(TENSORS))?,
            attributes: Some(read(&beside(ATTRIBUTES))?),
            genes: Some(read(&beside(GENES))?),
            cells,
        })
    }
}

/// The folder, the prefix of names, and the one file of a model that has one.
fn find(path: &Path) -> Result<(PathBuf, String, Option<PathBuf>), HubError> {
    let broken = |what: &str| HubError::format(path.display().to_string(), what);
    let folder = |p: &Path| p.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    if !path.exists() {
        return Err(broken("there is no such file or folder"));
    }
    if !path.is_dir() {
        let name = scgraft_io::file_name(path);
        if let Some(prefix) = [TENSORS, ATTRIBUTES, GENES].iter().find_map(|n| name.strip_suffix(n)) {
            return Ok((folder(path), prefix.to_owned(), None));
        }
        let prefix = name.strip_suffix(MODEL).unwrap_or_default().to_owned();
        return Ok((folder(path), prefix, Some(path.to_owned())));
    }
    let entries = std::fs::read_dir(path).map_err(|source| HubError::Io { path: path.to_owned(), source })?;
    let names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    for (suffix, whole) in [(MODEL, true), (TENSORS, false)] {
        let found: Vec<&str> = names.iter().filter_map(|n| n.strip_suffix(suffix)).collect();
        match found[..] {
            [] => {}
            [prefix] => {
                let file = whole.then(|| path.join(format!("{prefix}{suffix}")));
                return Ok((path.to_owned(), prefix.to_owned(), file));
            }
            _ => return Err(broken("it holds several models; name the file of one")),
        }
    }
    Err(broken(
        "no model of scvi-tools or scArches is in it: expected `model.pt`, or `model_params.pt` with `attr.pkl` and \
         `var_names.csv`",
    ))
}

fn read(path: &Path) -> Result<Vec<u8>, HubError> {
    std::fs::read(path).map_err(|source| HubError::Io { path: path.to_owned(), source })
}

/// What the files hold.
#[derive(Debug)]
pub(crate) struct Saved<'p, 'a> {
    /// Tensors by name.
    pub state: BTreeMap<String, Tensor>,
    /// What stands among them and is none.
    pub others: Vec<String>,
    /// Settings and registry.
    pub attributes: Value<'p, 'a>,
    /// Names of the genes.
    pub genes: Vec<String>,
    /// Of which modality, where cells had several.
    pub modality: Option<String>,
}

/// Reads the files and hands over what they hold.
pub(crate) fn with_saved<T>(
    files: &Files,
    work: impl FnOnce(Saved<'_, '_>) -> Result<T, HubError>,
) -> Result<T, HubError> {
    let torch = TorchFile::new(&files.model, &files.place)?;
    let root = torch.pickle.root();
    if let Some(state) = root.get("model_state_dict") {
        let missing = |what: &str| HubError::format(&files.place, format!("it has no `{what}`"));
        let (state, others) = torch.tensors(state)?;
        let attributes = root.get("attr_dict").ok_or_else(|| missing("attr_dict"))?;
        let (genes, modality) = genes_of(root.get("var_names").ok_or_else(|| missing("var_names"))?, attributes)?;
        return work(Saved { state, others, attributes, genes, modality });
    }
    let (Some(attributes), Some(genes)) = (&files.attributes, &files.genes) else {
        let what = "it holds tensors only; the model's `attr.pkl` and `var_names.csv` have to lie beside a \
                    `model_params.pt`, or it is no model of scvi-tools or scArches";
        return Err(HubError::format(&files.place, what));
    };
    let attributes = Pickle::new(attributes, &format!("{}, attr.pkl", files.place))?;
    let (state, others) = torch.tensors(root)?;
    let genes = std::str::from_utf8(genes).map_err(|_| HubError::format(GENES, "it is not text"))?;
    let genes = genes.lines().map(|l| l.split(',').next().unwrap_or(l).trim_matches('"').to_owned()).collect();
    work(Saved { state, others, attributes: attributes.root(), genes, modality: None })
}

/// Whether a model was saved minified: its cells have no counts. What is no model is not.
#[cfg(feature = "net")]
pub(crate) fn is_minified(files: &Files) -> bool {
    let slot = ["registry_", "field_registries", "latent_qzm", "data_registry", "attr_key"];
    with_saved(files, |saved| Ok(saved.attributes.path(&slot).is_some())).unwrap_or(false)
}

/// Names of genes; of cells with several modalities, of that which the expression is in.
fn genes_of(value: Value<'_, '_>, attributes: Value<'_, '_>) -> Result<(Vec<String>, Option<String>), HubError> {
    let Ok(modalities) = value.entries() else { return Ok((names(value)?, None)) };
    let key = attributes.path(&["registry_", "field_registries", "X", "data_registry", "mod_key"]);
    let key = key.and_then(Value::text).unwrap_or("rna");
    let found = modalities.iter().find(|(k, _)| k.text() == Some(key));
    let (_, genes) = found.ok_or_else(|| value.expected(&format!("gene names of modality `{key}`")))?;
    Ok((names(*genes)?, Some(key.to_owned())))
}
