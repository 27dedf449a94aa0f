//! From a model of ours to the files of another package: scvi-tools.
//!
//! `model.pt` is a zip with a pickle of tensors, names of genes, and what the package keeps of itself: arguments of the
//! class, and a registry of the cells that it was set up with. Cells need what the registry names ([`CellsNeeded`]).

use std::path::{Path, PathBuf};

use scgraft_io::{PROTEIN_SLOT, write_bytes};
use scgraft_models::Model;
use scgraft_models::import::to_scvi_tools::{Theirs, VERSION, theirs};
use serde_json::{Map, Value};

use crate::pickle::write::{Py, dict};
use crate::{HubError, layout, zip};

/// A model as scvi-tools has it.
#[derive(Debug)]
pub struct Exported {
    /// Its class there: `SCVI`, `LinearSCVI`, `SCANVI` or `TOTALVI`.
    pub class: &'static str,
    /// The file.
    pub file: Vec<u8>,
    /// What cells must have for the class to load the model with them.
    pub cells: CellsNeeded,
    /// Tensors that the class has and no model here, filled in: under these settings nothing reads them.
    pub filled: Vec<String>,
    /// Whether a linear decoder of ours is hidden layers there: the same function, in a class that shows no loadings and
    /// whose training would not keep it linear.
    pub as_layers: bool,
}

/// What cells must have for scvi-tools to take them, beside the genes of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellsNeeded {
    /// Counts in this layer; `None`: in X.
    pub layer: Option<String>,
    /// The column of obs that names their batch, and its values; `None` of a model without batches.
    pub batch: Option<(String, Vec<String>)>,
    /// The column of obs that labels stand in, and the value of cells without.
    pub labels: Option<(String, Option<String>)>,
    /// Columns of obs: covariates.
    pub covariates: Vec<String>,
    /// The slot of obsm that proteins stand in.
    pub proteins: Option<String>,
}

/// What stands for a column that was not given.
const NO_BATCH: &str = "_scvi_batch";
const NO_LABELS: &str = "_scvi_labels";
/// Columns where the model does not say which they were.
const BATCH: &str = "condition";
const LABELS: &str = "label";
/// The value of cells without label, with so many of these in front that no label is called so.
const UNLABELLED: &str = "Unknown";

/// A model as scvi-tools loads it (held against 1.4 and 1.5). The conditions that grafts added become batches like the
/// reference's.
///
/// # Errors
/// When scvi-tools has no equal of the model, or the file would be of 4 GiB.
pub fn export(model: &Model) -> Result<Exported, HubError> {
    let unequal = |why: String| HubError::NoEqual { model: model.entry.name.to_owned(), package: "scvi-tools", why };
    let theirs = theirs(model).map_err(unequal)?;
    let cells = needed(model, theirs.class);
    let root = |state: Py| {
        dict([
            ("model_state_dict", state),
            ("var_names", names(&model.header.genes)),
            (
                "attr_dict",
                dict([
                    ("registry_", registry(model, theirs.class, &cells)),
                    ("init_params_", arguments(&theirs)),
                    ("is_trained_", Py::Bool(true)),
                    ("history_", Py::Dict(Vec::new())),
                ]),
            ),
        ])
    };
    let mut stores: Vec<(String, Vec<u8>)> = Vec::new();
    let mut tensor = |name: &str, kind: &'static str, shape: &[usize], bytes: Vec<u8>| {
        let (key, n) = (stores.len().to_string(), shape.iter().product::<usize>());
        let at =
            Py::Tuple(vec!["storage".into(), Py::Global("torch", kind), key.as_str().into(), "cpu".into(), n.into()]);
        let strides = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>().into()).collect();
        let shape = shape.iter().map(|&s| s.into()).collect();
        let hooks = Py::Call("collections", "OrderedDict", Vec::new(), None);
        let store = Py::Persistent(Box::new(at));
        let arguments = vec![store, 0.into(), Py::Tuple(shape), Py::Tuple(strides), Py::Bool(false), hooks];
        stores.push((format!("model/data/{key}"), bytes));
        (Py::from(name), Py::Call("torch._utils", "_rebuild_tensor_v2", arguments, None))
    };
    let mut state = Vec::new();
    for (name, (shape, values)) in &theirs.tensors {
        state.push(tensor(name, "FloatStorage", shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
    }
    for name in &theirs.counters {
        state.push(tensor(name, "LongStorage", &[], 0i64.to_le_bytes().to_vec()));
    }
    let pickle = root(Py::Dict(state)).pickled();
    let mut entries: Vec<(&str, &[u8])> = vec![("model/data.pkl", &pickle), ("model/byteorder", b"little")];
    entries.extend(stores.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])));
    entries.push(("model/version", b"3\n"));
    let too_large = || HubError::format("model.pt", "it would be of 4 GiB or more, which this program does not write");
    let file = zip::write(&entries).ok_or_else(too_large)?;
    Ok(Exported { class: theirs.class, file, cells, filled: theirs.filled, as_layers: theirs.as_layers })
}

impl Exported {
    /// Writes `model.pt` into a folder, which is made where there is none. Gives its path.
    ///
    /// # Errors
    /// When the folder holds other files, which scvi-tools would take for the model's; when the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, HubError> {
        let failed = |source| HubError::Io { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if name != layout::MODEL {
                let what = format!(
                    "the folder already holds `{}`; name a new or an empty one, since scvi-tools reads what lies beside a model",
                    name.display()
                );
                return Err(HubError::format(folder.display().to_string(), what));
            }
        }
        let path = folder.join(layout::MODEL);
        write_bytes(&path, &self.file)?;
        Ok(path)
    }
}

/// What the model says about the cells that it was trained on.
fn needed(model: &Model, class: &str) -> CellsNeeded {
    let (h, p) = (&model.header, &model.provenance);
    let text = |key: &str| p.get(key).and_then(Value::as_str).map(str::to_owned);
    let columns = p.get("condition_columns").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let columns: Vec<&str> = columns.iter().filter_map(Value::as_str).collect();
    let batch = match columns[..] {
        [] if h.conditions.len() == 1 => None,
        // Several columns are one there.
        [column] => Some(column.to_owned()),
        _ => Some(BATCH.to_owned()),
    };
    let labels = (!h.labels.is_empty()).then(|| {
        let mut unlabelled = text("unlabelled").unwrap_or_else(|| UNLABELLED.to_owned());
        while h.labels.contains(&unlabelled) {
            unlabelled.insert(0, '_');
        }
        (text("label_column").unwrap_or_else(|| LABELS.to_owned()), (class == "SCANVI").then_some(unlabelled))
    });
    CellsNeeded {
        layer: text("values").and_then(|slot| slot.strip_prefix("layers/").map(str::to_owned)),
        batch: batch.map(|column| (column, h.conditions.clone())),
        labels,
        covariates: h.covariates.iter().map(|c| c.0.clone()).chain(h.continuous.iter().cloned()).collect(),
        proteins: (!h.proteins.is_empty()).then(|| text("protein_slot").unwrap_or_else(|| PROTEIN_SLOT.to_owned())),
    }
}

/// Arguments of the class.
fn arguments(theirs: &Theirs) -> Py {
    let passed_on = if theirs.class == "SCVI" { "kwargs" } else { "model_kwargs" };
    let of = |map: &Map<String, Value>| Py::from(&Value::Object(map.clone()));
    dict([("kwargs", dict([(passed_on, of(&theirs.passed_on))])), ("non_kwargs", of(&theirs.arguments))])
}

/// The registry: how cells are set up, and what was found in those of the reference.
fn registry(model: &Model, class: &'static str, cells: &CellsNeeded) -> Py {
    let h = &model.header;
    let text = |name: &Option<String>| name.as_deref().map_or(Py::None, Py::from);
    let list = |names: Vec<String>| if names.is_empty() { Py::None } else { Py::from(&Value::from(names)) };
    let covariates: Vec<String> = h.covariates.iter().map(|c| c.0.clone()).collect();
    let (batch, label) = (cells.batch.as_ref().map(|b| b.0.clone()), cells.labels.as_ref().map(|l| l.0.clone()));
    let unlabelled = cells.labels.as_ref().and_then(|l| l.1.clone());

    let mut setup = vec![("layer", text(&cells.layer)), ("batch_key", text(&batch))];
    if class != "TOTALVI" {
        setup.push(("labels_key", text(&label)));
    }
    if class != "LinearSCVI" {
        setup.push(("size_factor_key", Py::None));
        setup.push(("categorical_covariate_keys", list(covariates.clone())));
        setup.push(("continuous_covariate_keys", list(h.continuous.clone())));
    }
    if class == "SCANVI" {
        setup.push(("unlabeled_category", text(&unlabelled)));
    }
    if class == "TOTALVI" {
        setup.push(("protein_expression_obsm_key", text(&cells.proteins)));
        setup.push(("protein_names_uns_key", Py::None));
    }

    let x =
        [("attr_name", Py::from(if cells.layer.is_some() { "layers" } else { "X" })), ("attr_key", text(&cells.layer))];
    let genes = h.genes.len();
    let state = dict([("n_obs", 0.into()), ("n_vars", genes.into()), ("column_names", names(&h.genes))]);
    let mut fields = vec![
        ("X", field(dict(x), state, vec![("n_vars", genes.into()), ("n_cells", 0.into())])),
        (
            "batch",
            column("batch", batch.as_deref().unwrap_or(NO_BATCH), batch.as_ref().map(|_| &h.conditions[..]), None),
        ),
    ];
    let levels: Vec<String> = h.labels.iter().chain(&unlabelled).cloned().collect();
    let levels = label.as_ref().map(|_| &levels[..]);
    fields.push(("labels", column("labels", label.as_deref().unwrap_or(NO_LABELS), levels, unlabelled.as_deref())));
    if class != "LinearSCVI" {
        let nothing = || Py::Dict(Vec::new());
        fields
            .push(("size_factor", dict(["data_registry", "state_registry", "summary_stats"].map(|k| (k, nothing())))));
        let (mut data, mut state) = (nothing(), nothing());
        if !covariates.is_empty() {
            data = at_obsm("_scvi_extra_categorical_covs");
            let sizes = h.covariates.iter().map(|c| c.1.len().into()).collect();
            state = dict([
                ("mappings", dict(h.covariates.iter().map(|(name, levels)| (name.as_str(), names(levels))))),
                ("field_keys", list(covariates.clone())),
                ("n_cats_per_key", Py::List(sizes)),
            ]);
        }
        let n = vec![("n_extra_categorical_covs", covariates.len().into())];
        fields.push(("extra_categorical_covs", field(data, state, n)));
        let (mut data, mut state) = (nothing(), nothing());
        if !h.continuous.is_empty() {
            (data, state) = (at_obsm("_scvi_extra_continuous_covs"), dict([("columns", names(&h.continuous))]));
        }
        let n = vec![("n_extra_continuous_covs", h.continuous.len().into())];
        fields.push(("extra_continuous_covs", field(data, state, n)));
    }
    if let Some(slot) = &cells.proteins {
        let mut state = vec![("column_names", list(h.proteins.clone()))];
        if let Some(mask) = measured(model) {
            state.push(("protein_batch_mask", mask));
        }
        fields.push(("proteins", field(at_obsm(slot), dict(state), vec![("n_proteins", h.proteins.len().into())])));
    }
    dict([
        ("scvi_version", VERSION.into()),
        ("model_name", class.into()),
        ("setup_args", dict(setup)),
        ("field_registries", dict(fields)),
        ("setup_method_name", "setup_anndata".into()),
        ("_scvi_uuid", model.reference_hash().as_str().into()),
    ])
}

/// Which proteins each batch measured; `None` where all measured all.
fn measured(model: &Model) -> Option<Py> {
    let mask = model.params.get(model.params.id("proteins.measured")?).values();
    if mask.iter().all(|&m| m > 0.0) {
        return None;
    }
    let rows = mask.chunks(model.header.proteins.len()).enumerate();
    Some(dict(rows.map(|(batch, row)| {
        let bytes = row.iter().map(|&m| u8::from(m > 0.0)).collect();
        (batch.to_string(), array("b1", "|", 0, row.len(), Py::Bytes(bytes)))
    })))
}

fn field(data: Py, state: Py, summary: Vec<(&str, Py)>) -> Py {
    dict([("data_registry", data), ("state_registry", state), ("summary_stats", dict(summary))])
}

fn at_obsm(key: &str) -> Py {
    dict([("attr_name", Py::from("obsm")), ("attr_key", key.into())])
}

/// A column of obs with its levels; without, that of one level which scvi-tools makes itself.
fn column(what: &str, key: &str, levels: Option<&[String]>, unlabelled: Option<&str>) -> Py {
    let own = format!("_scvi_{what}");
    let data = dict([("attr_name", Py::from("obs")), ("attr_key", own.as_str().into())]);
    let mapping = match levels {
        Some(levels) => names(levels),
        None => array("i8", "<", 0, 1, Py::Bytes(vec![0; 8])),
    };
    let mut state = vec![("categorical_mapping", mapping), ("original_key", key.into())];
    if let Some(unlabelled) = unlabelled {
        state.push(("unlabeled_category", unlabelled.into()));
    }
    let n = format!("n_{what}");
    field(data, dict(state), vec![(&n, levels.map_or(1, <[String]>::len).into())])
}

/// An array of names, as NumPy has it: of Python objects.
fn names(names: &[String]) -> Py {
    array("O8", "|", 63, names.len(), Py::List(names.iter().map(|n| n.as_str().into()).collect()))
}

/// An array of one axis. The name of the function is that of NumPy 1, which all versions read.
fn array(kind: &str, order: &str, flags: i64, n: usize, data: Py) -> Py {
    let of_kind =
        Py::Tuple(vec![3.into(), order.into(), Py::None, Py::None, Py::None, Py::Int(-1), Py::Int(-1), Py::Int(flags)]);
    let kind = Py::Call("numpy", "dtype", vec![kind.into(), Py::Bool(false), Py::Bool(true)], Some(Box::new(of_kind)));
    let state = Py::Tuple(vec![1.into(), Py::Tuple(vec![n.into()]), kind, Py::Bool(false), data]);
    let arguments = vec![Py::Global("numpy", "ndarray"), Py::Tuple(vec![0.into()]), Py::Bytes(b"b".to_vec())];
    Py::Call("numpy.core.multiarray", "_reconstruct", arguments, Some(Box::new(state)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use scgraft_cells::{
        Array, Cells, Column, ConditionSource, Csr, Dense, Frame, Matrix, PrepareOptions, Prepared, ProteinSource,
    };
    use scgraft_models::ExpressionOptions;
    use serde_json::json;

    use super::*;
    use crate::layout::with_saved;
    use crate::torch::Tensor;
    use crate::{Files, ImportOptions, import, import_files};

    fn state(files: &Files) -> BTreeMap<String, Tensor> {
        with_saved(files, |saved| Ok(saved.state)).unwrap()
    }

    /// Cells of one condition `a`, with labels, a covariate of one level and one of two, and proteins.
    fn cells() -> Cells {
        let (n, genes) = (30, 10);
        let values = (0..n * genes).map(|i| (1 + i * 7 % 5) as f32).collect();
        let indices = (0..n).flat_map(|_| 0..genes as u32).collect();
        let x = Csr { n_rows: n, n_cols: genes, indptr: (0..=n).map(|i| i * genes).collect(), indices, values };
        let mut obs = Frame::new((0..n).map(|i| format!("c{i}")).collect());
        obs.set("batch", Column::categorical(&vec!["a"; n]));
        obs.set("plate", Column::categorical(&vec!["p"; n]));
        obs.set("sex", Column::categorical(&(0..n).map(|i| ["f", "m"][i % 2]).collect::<Vec<_>>()));
        obs.set("type", Column::categorical(&vec!["T"; n]));
        let var = Frame::new((0..genes).map(|i| format!("g{i}")).collect());
        let mut cells = Cells::new(Matrix::Sparse(x), obs, var);
        cells.obsm.insert("adt".into(), Array::Dense(Dense::new(n, 3, (0..n * 3).map(|i| (i % 4) as f32).collect())));
        cells
    }

    fn close(what: &str, a: &Dense, b: &Dense) {
        let largest = a.values.iter().fold(0f32, |m, v| m.max(v.abs()));
        let off = a.values.iter().zip(&b.values).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(off <= 1e-5 * largest, "{what}: {off} of {largest}");
    }

    /// What ours adds for the one level of a condition, a covariate or a label is in a bias there: the same function.
    #[test]
    fn one_level_goes_into_the_bias() {
        let two = "sex";
        let linear = json!({ "encode_covariates": false, "encoder_norm": "batch", "decoder_norm": "none" });
        let models = [
            ("scvi", json!({ "deep_covariates": true }), &["plate", two][..], false),
            ("scvi-linear", linear, &[][..], false),
            ("scanvi", json!({ "encoder_norm": "batch" }), &[two][..], false),
            ("totalvi", json!({ "decoder_hidden": [4] }), &[two][..], true),
        ];
        for (name, mut settings, covariates, proteins) in models {
            settings
                .as_object_mut()
                .unwrap()
                .extend(json!({ "hidden": [4, 4], "latent": 2 }).as_object().unwrap().clone());
            let options = PrepareOptions {
                condition: ConditionSource::Columns(vec!["batch".into()]),
                covariates: covariates.iter().map(|c| (*c).to_owned()).collect(),
                label: (name == "scanvi").then(|| "type".into()),
                proteins: proteins.then(|| ProteinSource { obsm: "adt".into(), names: None }),
                ..PrepareOptions::default()
            };
            let data = Prepared::reference(&cells(), None, &options).unwrap();
            let model = Model::new(name, &settings, data.known().into(), 9).unwrap();
            let exported = export(&model).unwrap();
            let files = Files { place: name.into(), model: exported.file, ..Files::default() };
            let back = import_files(&files, &ImportOptions::default()).unwrap().model;
            // A condition without a column is called otherwise there, and a covariate of one level is left out.
            let condition = ConditionSource::Constant(back.header.conditions[0].clone());
            let covariates = back.header.covariates.iter().map(|c| c.0.clone()).collect();
            let options = PrepareOptions { condition, covariates, ..options };
            let theirs = Prepared::query(&cells(), &back.header.known, &options).unwrap();
            close(name, &model.latent(&data).unwrap().0, &back.latent(&theirs).unwrap().0);
            let as_is = ExpressionOptions::default();
            close(name, &model.expression(&data, &as_is).unwrap(), &back.expression(&theirs, &as_is).unwrap());
            let folded =
                model.params.iter().any(|p| p.name.ends_with(".condition") && p.values().iter().any(|&v| v != 0.0));
            assert!(folded, "{name}: nothing was put into a bias");
        }
    }

    /// A linear decoder that LinearSCVI cannot have beside its encoder is layers of SCVI: the same function, also of tensors
    /// that no training gave, of a batch norm, of the dropout of ZINB, and of every condition.
    #[test]
    fn a_linear_decoder_becomes_layers() {
        let mut cells = cells();
        cells.obs.set("batch", Column::categorical(&(0..30).map(|i| ["a", "b", "c"][i % 3]).collect::<Vec<_>>()));
        cells.obs.set("type", Column::categorical(&(0..30).map(|i| ["T", "B"][i / 15]).collect::<Vec<_>>()));
        let models = [
            ("scvi-linear", json!({}), None, "SCVI"),
            ("scvi-linear", json!({ "hidden": [9], "decoder_norm": "batch", "linear_bias": true }), None, "SCVI"),
            ("scvi-linear", json!({ "deep_covariates": true, "latent_distribution": "logistic-normal" }), None, "SCVI"),
            ("scvi-linear", json!({ "dispersion": "gene-label", "decoder_norm": "batch" }), Some("type"), "SCVI"),
            ("scanvi", json!({ "decoder": "linear", "decoder_norm": "batch" }), Some("type"), "SCANVI"),
        ];
        for (name, given, label, class) in models {
            let mut settings = json!({ "hidden": [9, 9], "latent": 3 });
            settings.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
            let options = PrepareOptions {
                condition: ConditionSource::Columns(vec!["batch".into()]),
                label: label.map(str::to_owned),
                ..PrepareOptions::default()
            };
            let data = Prepared::reference(&cells, None, &options).unwrap();
            let mut model = Model::new(name, &settings, data.known().into(), 9).unwrap();
            for p in model.params.iter_mut().filter(|p| p.name.contains(".norm.")) {
                let n = p.n_values();
                p.put((0..n).map(|i| 0.3 + (i * 7 % 11) as f32 / 5.0).collect());
            }
            let exported = export(&model).unwrap();
            assert_eq!((exported.class, exported.as_layers), (class, true), "{name} {given}");
            let files = Files { place: name.into(), model: exported.file, ..Files::default() };
            let back = import_files(&files, &ImportOptions::default()).unwrap().model;
            assert_eq!(back.network.config()["decoder"], "network");
            let theirs = Prepared::query(&cells, &back.header.known, &options).unwrap();
            let close = |what: &str, a: &Dense, b: &Dense| close(&format!("{name} {given}: {what}"), a, b);
            close("latent", &model.latent(&data).unwrap().0, &back.latent(&theirs).unwrap().0);
            for as_conditions in [vec![], vec![2]] {
                let options = ExpressionOptions { as_conditions, ..ExpressionOptions::default() };
                let (ours, back) = (model.expression(&data, &options), back.expression(&theirs, &options));
                close("expression", &ours.unwrap(), &back.unwrap());
            }
            // The dropout of ZINB and the dispersion are in the likelihood.
            let (a, b) = (model.evidence(&data, 1).unwrap(), back.evidence(&theirs, 1).unwrap());
            let all =
                |e: &scgraft_models::Evidence| Dense::new(1, 30, e.reconstruction.iter().map(|&v| v as f32).collect());
            close("reconstruction", &all(&a), &all(&b));
        }
    }

    #[test]
    fn what_has_no_equal_is_named() {
        let data = |label: Option<&str>| {
            let condition = ConditionSource::Columns(vec!["batch".into()]);
            let options = PrepareOptions { condition, label: label.map(str::to_owned), ..PrepareOptions::default() };
            Prepared::reference(&cells(), None, &options).unwrap().known()
        };
        let small = json!({ "hidden": [4], "latent": 2 });
        let with = |more: Value| {
            let mut all = small.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let cases = [
            ("scvi-per-cell", small.clone(), None, "vector per cell"),
            ("cvae", small.clone(), None, "no class there is cvae"),
            ("scvi-linear", small.clone(), None, "takes 5 units"),
            ("scvi", with(json!({ "hidden": [4, 3] })), None, "[4, 3]"),
            ("scanvi", with(json!({ "dispersion": "gene-label" })), Some("type"), "by label"),
        ];
        for (name, settings, label, why) in cases {
            let model = Model::new(name, &settings, data(label).into(), 1).unwrap();
            let error = export(&model).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("scvi-tools") && error.contains(why), "{error}");
        }
    }

    /// What scvi-tools saved, imported and exported again, has the same tensors, and is the same model when it comes back.
    #[test]
    fn models_of_scvi_tools_come_back_to_the_bit() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let more = std::env::var_os("SCGRAFT_PUBLISHED").map(PathBuf::from);
        let folders = std::iter::once(golden).chain(more).flat_map(|f| std::fs::read_dir(f).unwrap());
        let mut seen = Vec::new();
        for folder in folders.map(|e| e.unwrap().path()).filter(|p| p.join("model.pt").exists()) {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let imported = import(&folder, &ImportOptions::default()).unwrap();
            if imported.model.network.config()["input"] == "counts" {
                assert!(export(&imported.model).unwrap_err().to_string().contains("1.3.1"), "{name}");
                continue;
            }
            let exported = export(&imported.model).unwrap();
            assert_eq!(exported.class, imported.class, "{name}");
            let files = Files { place: name.clone(), model: exported.file, ..Files::default() };
            let (theirs, ours) = (state(&Files::open(&folder).unwrap()), state(&files));
            assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "{name}");
            for (tensor, ours) in &ours {
                let theirs = &theirs[tensor];
                assert_eq!(theirs.shape, ours.shape, "{name}: {tensor}");
                let counter = tensor.ends_with("num_batches_tracked");
                if counter || exported.filled.contains(tensor) {
                    continue;
                }
                let bits = |t: &Tensor| t.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert!(bits(theirs) == bits(ours), "{name}: {tensor}");
            }
            let again = import_files(&files, &ImportOptions::default()).unwrap();
            assert_eq!(again.class, imported.class, "{name}");
            let (a, b) = (&imported.model, &again.model);
            assert_eq!(a.header, b.header, "{name}");
            assert_eq!(a.network.config(), b.network.config(), "{name}");
            for p in a.params.iter() {
                assert!(p.values() == b.params.get(b.params.id(&p.name).unwrap()).values(), "{name}: {}", p.name);
            }
            for key in ["condition_columns", "label_column", "unlabelled", "values"] {
                assert_eq!(a.provenance.get(key), b.provenance.get(key), "{name}: {key}");
            }
            seen.push(name);
        }
        assert!(seen.len() >= 6, "{seen:?}");
    }
}
