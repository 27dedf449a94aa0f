//! From what a published model's files hold to a model of ours.

mod assemble;
mod scarches;
mod scvi_tools;

use std::path::Path;

use scgraft_cells::{Array, Column, Setting};
use scgraft_io::{ReadOptions, Select, inspect_h5ad, read_h5ad};
use scgraft_models::{Model, ReferenceCells};
use serde_json::{Map, Value};

use crate::layout::{Saved, with_saved};
use crate::{Files, HubError, numpy, pickle};

/// What the files of a model do not say, or say otherwise.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Names of gene programs, in their order: the files have none.
    pub program_names: Option<Vec<String>>,
}

/// A published model as one of ours.
#[derive(Debug)]
pub struct Imported {
    /// The model.
    pub model: Model,
    /// The package it is of.
    pub package: &'static str,
    /// The version of the package, where the file says it.
    pub version: Option<String>,
    /// What it is called there.
    pub class: String,
    /// Tensors of the file that the model does without, and why.
    pub dropped: Vec<(String, &'static str)>,
    /// What a user has to know, each with the settings that it asks for.
    pub notes: Vec<(String, Vec<Setting>)>,
    /// The cells that were saved with it.
    pub cells: Option<CellsBeside>,
    /// Of a minified model: the entries of `obsm` of its cells with their latent means and variances.
    pub latents: Option<[String; 2]>,
}

/// What the file of cells beside a model holds.
#[derive(Clone, Debug, PartialEq)]
pub struct CellsBeside {
    /// Number of cells.
    pub cells: usize,
    /// Entries of `obsm`: embeddings and other arrays by cell.
    pub arrays: Vec<String>,
    /// Columns of `obs`.
    pub columns: Vec<String>,
}

/// Imports a model by its folder or by one of its files.
///
/// # Errors
/// When the files cannot be read, are no model's, or the model has no equal here.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported, HubError> {
    import_files(&Files::open(path)?, options)
}

/// Imports a model by its files. A minified one (saved without counts, with the latent means of its cells) brings its cells
/// along: [`Model::cells`].
///
/// # Errors
/// As [`import`].
pub fn import_files(files: &Files, options: &ImportOptions) -> Result<Imported, HubError> {
    let mut out = import_saved(files, options)?;
    match (&files.cells, out.latents.clone()) {
        (Some(cells), latents) => match beside(cells).and_then(|found| {
            out.cells = Some(found);
            latents.map_or(Ok(None), |latents| bring(&mut out.model, cells, &latents))
        }) {
            Ok(left_out) => out.notes.extend(left_out.into_iter().map(|what| (what, Vec::new()))),
            Err(e) => out.notes.push((format!("the cells beside the model could not be read: {e}"), Vec::new())),
        },
        (None, Some(_)) => {
            let what = "it was saved minified, and its cells (`adata.h5ad`) are not there: it comes without, and cannot \
                        annotate alone";
            out.notes.push((what.into(), Vec::new()));
        }
        (None, None) => {}
    }
    Ok(out)
}

fn import_saved(files: &Files, options: &ImportOptions) -> Result<Imported, HubError> {
    with_saved(files, |saved| {
        for name in &saved.others {
            tracing::debug!("{}: `{name}` is no tensor and is left out", files.place);
        }
        let mut out = match class_of(&saved)? {
            Class::ScviTools(class) => scvi_tools::import(&saved, &class)?,
            Class::ScArches(model) => scarches::import(&saved, model, options)?,
        };
        for (name, why) in &out.dropped {
            tracing::debug!("{}: `{name}` is left out: {why}", files.place);
        }
        let p = &mut out.model.provenance;
        p.insert("package".into(), out.package.into());
        p.insert("package_class".into(), out.class.clone().into());
        if let Some(version) = &out.version {
            p.insert("package_version".into(), version.clone().into());
        }
        Ok(out)
    })
}

/// A model's kind.
enum Class {
    /// By the name that scvi-tools has for it.
    ScviTools(String),
    /// By the name of ours.
    ScArches(&'static str),
}

/// Which model the files are of: by their name where they say it, by their tensors and settings otherwise.
fn class_of(saved: &Saved<'_, '_>) -> Result<Class, HubError> {
    let has = |name: &str| saved.attributes.get(name).is_some();
    let tensor = |prefix: &str| saved.state.keys().any(|k| k.starts_with(prefix));
    if let Some(name) = saved.attributes.path(&["registry_", "model_name"]).and_then(|v| v.text()) {
        return Ok(Class::ScviTools(name.to_owned()));
    }
    if has("registry_") || has("scvi_setup_dict_") {
        let by_tensors = [
            ("background_pro_alpha", "TOTALVI"),
            ("classifier.", "SCANVI"),
            ("decoder.factor_regressor.", "LinearSCVI"),
            ("decoder.px_decoder.", "SCVI"),
        ];
        // Models of other kinds share some of these; what they have besides is found later.
        let found = by_tensors.iter().find(|t| tensor(t.0));
        let Some((_, class)) = found else {
            let why = "its file does not say which model it is, and its tensors are of none that can be imported \
                       (SCVI, LinearSCVI, SCANVI, TOTALVI)";
            return Err(HubError::unsupported("model of scvi-tools", why));
        };
        return Ok(Class::ScviTools((*class).to_owned()));
    }
    if has("prototypes_labeled_") || has("embedding_dims_") || tensor("embeddings.") {
        let why = "conditions are learned embeddings and labels prototypes in it; no model here has them. Of scArches, \
                   EXPIMAP and TRVAE can be imported";
        return Err(HubError::unsupported("scPoli", why));
    }
    if has("x_dim_") && has("z_dim_") {
        let why = "it is an autoencoder of normalised values that knows no conditions; no query can be mapped on it. Of \
                   scArches, EXPIMAP and TRVAE can be imported";
        return Err(HubError::unsupported("scGen", why));
    }
    if has("mask_") && has("soft_mask_") || tensor("decoder.L0.expr_L.") {
        return Ok(Class::ScArches("expimap"));
    }
    if has("use_mmd_") && has("mmd_on_") {
        let compared = saved.attributes.get("use_mmd_").and_then(|v| v.truth()).unwrap_or(false);
        return Ok(Class::ScArches(if compared { "trvae" } else { "cvae" }));
    }
    let keys: Vec<String> = saved.attributes.entries()?.iter().filter_map(|e| e.0.text()).map(pickle::shown).collect();
    let shown = keys.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
    let why = format!(
        "of scvi-tools, SCVI, LinearSCVI, SCANVI and TOTALVI can be imported, of scArches EXPIMAP and TRVAE; its \
         settings are {shown}, …"
    );
    Err(HubError::unsupported("model", why))
}

/// How deep settings may lie in each other.
const DEEPEST: usize = 8;

/// Settings as JSON, a Python name as its text; what is neither number, text, name nor a collection of them becomes `null`.
fn json(value: pickle::Value<'_, '_>, depth: usize) -> Result<Value, HubError> {
    if depth > DEEPEST {
        return Ok(Value::Null);
    }
    Ok(match value.node() {
        pickle::Node::Bool(v) => (*v).into(),
        pickle::Node::Int(v) => (*v).into(),
        pickle::Node::Float(v) => (*v).into(),
        pickle::Node::Text(v) => (*v).into(),
        pickle::Node::Global(module, name) => format!("{module}.{name}").into(),
        pickle::Node::Dict(_) => {
            let mut out = Map::new();
            for (key, value) in value.entries()? {
                if let Some(key) = numpy::name(key) {
                    out.insert(key, json(value, depth + 1)?);
                }
            }
            Value::Object(out)
        }
        pickle::Node::List(_) | pickle::Node::Tuple(_) => {
            let items = value.items()?.into_iter().map(|v| json(v, depth + 1));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        pickle::Node::Object(_) => match numpy::size(value) {
            Some(size) => size.into(),
            None => attribute(value).map_or(Value::Null, Value::from),
        },
        _ => Value::Null,
    })
}

/// A Python name that is pickled as an attribute of another.
fn attribute(value: pickle::Value<'_, '_>) -> Option<String> {
    let call = value.call()?;
    let (module, name) = call.arguments.item(0).filter(|_| call.name == "getattr")?.global()?;
    Some(format!("{module}.{name}.{}", call.arguments.item(1)?.text()?))
}

/// Makes the cells of a minified model a part of it: their latent means and variances, and the columns of obs, save those
/// of the package's own and free text. What was left out, in words.
fn bring(model: &mut Model, path: &Path, [mean, variance]: &[String; 2]) -> Result<Option<String>, HubError> {
    let wrong = |what: String| HubError::format(path.display().to_string(), what);
    let obsm = Select::Only(vec![mean.clone(), variance.clone()]);
    let mut cells = read_h5ad(path, &ReadOptions { obsm, ..ReadOptions::tables() })?;
    let mut dense = |slot: &str| match cells.obsm.remove(slot) {
        Some(Array::Dense(found)) if found.n_cols == model.n_latent() => Ok(found),
        _ => Err(wrong(format!("obsm `{slot}` is no matrix of {} columns, the model's dimensions", model.n_latent()))),
    };
    let (mean, variance) = (dense(mean)?, dense(variance)?);
    let mut obs = cells.obs;
    let own = |name: &str| name.starts_with("_scvi") || name.ends_with("observed_lib_size");
    let text = |c: &Column| matches!(c, Column::Text(_));
    let left: Vec<String> = obs.columns.iter().filter(|c| text(&c.1)).map(|c| c.0.clone()).collect();
    obs.columns.retain(|(name, column)| !own(name) && !text(column));
    model.cells = Some(ReferenceCells::new(obs, &mean, Some(&variance), None).map_err(wrong)?);
    Ok((!left.is_empty()).then(|| format!("columns of free text were left out of its cells: {}", left.join(", "))))
}

/// What the cells beside a model are.
fn beside(path: &Path) -> Result<CellsBeside, HubError> {
    let found = inspect_h5ad(path)?;
    let arrays = found.arrays.into_iter().filter(|a| a.0 == "obsm").map(|a| a.1).collect();
    let columns = found.obs.into_iter().map(|c| c.name).collect();
    Ok(CellsBeside { cells: found.n_cells, arrays, columns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::write::dict;
    use crate::zip::{Zip, write};

    fn golden(name: &str) -> Files {
        Files::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
    }

    /// An SCVI of scvi-tools that calls itself otherwise.
    fn called(class: &str) -> Files {
        let mut files = golden("scvi_default");
        let whole = Zip::new(&files.model, "whole").unwrap();
        let mut parts: Vec<(String, Vec<u8>)> = whole.entries().map(|(n, d)| (n.to_owned(), d.to_vec())).collect();
        let pickle = &mut parts.iter_mut().find(|p| p.0.ends_with("data.pkl")).unwrap().1;
        // Its name follows the key, a memo in between; names are texts with their length.
        let find =
            |from: usize, what: &[u8]| from + pickle[from..].windows(what.len()).position(|w| w == what).unwrap();
        let at = find(find(0, b"model_name"), b"X\x04\0\0\0SCVI");
        let mut name = b"X".to_vec();
        name.extend((class.len() as u32).to_le_bytes());
        name.extend(class.as_bytes());
        pickle.splice(at..at + 9, name);
        files.model = write(&parts.iter().map(|(n, d)| (n.as_str(), &d[..])).collect::<Vec<_>>()).unwrap();
        files
    }

    #[test]
    fn python_names_in_settings_are_told() {
        use crate::pickle::write::Py;
        let exp = vec![Py::Global("torch._C", "_VariableFunctionsClass"), "exp".into()];
        let given = dict([
            ("activation_fn", Py::Global("torch.nn.modules.activation", "ELU")),
            ("var_activation", Py::Call("__builtin__", "getattr", exp, None)),
            ("optimizer", Py::Call("torch", "Adam", Vec::new(), None)),
        ])
        .pickled();
        let read = pickle::Pickle::new(&given, "settings").unwrap();
        let expected = serde_json::json!({
            "activation_fn": "torch.nn.modules.activation.ELU",
            "var_activation": "torch._C._VariableFunctionsClass.exp", "optimizer": null,
        });
        assert_eq!(json(read.root(), 0).unwrap(), expected);
    }

    #[test]
    fn foreign_models_are_refused_by_name() {
        assert_eq!(import_files(&called("SCVI"), &ImportOptions::default()).unwrap().class, "SCVI");
        let classes = [
            ("MULTIVI", "chromatin and proteins"),
            ("PEAKVI", "chromatin peaks"),
            ("POISSONVI", "chromatin fragments"),
            ("AUTOZI", "train scvi instead"),
            ("CondSCVI", "deconvolution"),
            ("DestVI", "spatial spots"),
            ("AmortizedLDA", "topic model"),
            ("JaxSCVI", "another framework"),
            ("SysVI", "no model here is its equal"),
            ("cell2location", "no model here is its equal"),
        ];
        for (class, why) in classes {
            let error = import_files(&called(class), &ImportOptions::default()).unwrap_err();
            assert!(matches!(error, HubError::Unsupported { .. }), "{error:?}");
            let error = error.to_string();
            assert!(error.contains(class) && error.contains(why) && error.contains("SCVI, LinearSCVI"), "{error}");
        }
        // Models of scArches say nowhere what they are: scPoli has prototypes of labels, scGen sizes and no conditions.
        use crate::pickle::write::Py;
        let known = [
            ("scPoli", dict([("prototypes_labeled_", Py::None)])),
            ("scGen", dict([("x_dim_", Py::None), ("z_dim_", Py::None)])),
        ];
        for (class, attributes) in known {
            let mut files = golden("expimap_hard");
            files.attributes = Some(attributes.pickled());
            let error = import_files(&files, &ImportOptions::default()).unwrap_err().to_string();
            assert!(error.contains(class) && error.contains("EXPIMAP and TRVAE"), "{error}");
        }
    }
}
