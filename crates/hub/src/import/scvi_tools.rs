//! SCVI, LinearSCVI, SCANVI and TOTALVI of scvi-tools: names stand in a registry of the data it was set up with.

use std::collections::{BTreeMap, HashSet};

use scgraft_cells::Setting;
use scgraft_io::PROTEIN_SLOT;
use scgraft_models::import::scvi_tools::{COUNTERS, DROPPED, Version, settings, source};
use scgraft_models::{Header, Known};
use serde_json::{Map, Value as Json};

use super::assemble::Plan;
use super::{Imported, json};
use crate::layout::Saved;
use crate::pickle::Value;
use crate::{HubError, numpy};

/// Models that can be imported: their class, and our name.
const MODELS: [(&str, &str); 4] =
    [("SCVI", "scvi"), ("LinearSCVI", "scvi-linear"), ("SCANVI", "scanvi"), ("TOTALVI", "totalvi")];

/// Models that cannot, and why.
const OTHERS: [(&str, &str); 9] = [
    ("MULTIVI", "it joins RNA, chromatin and proteins; models here read RNA, and proteins beside it"),
    ("PEAKVI", "it is a model of chromatin peaks; models here are of counts of RNA"),
    ("POISSONVI", "it is a model of chromatin fragments; models here are of counts of RNA"),
    ("AUTOZI", "it learns which genes have dropout; train scvi instead"),
    ("CondSCVI", "it is made for deconvolution of spots, with a latent space for each cell type"),
    ("DestVI", "it takes spatial spots apart into cell types"),
    ("AmortizedLDA", "it is a topic model"),
    ("JaxSCVI", "its tensors are of another framework; train SCVI instead"),
    ("MlxSCVI", "its tensors are of another framework; train SCVI instead"),
];

/// What the registry says.
#[derive(Debug, Default)]
struct Registry {
    version: Option<String>,
    /// Column and levels.
    batch: (Option<String>, Vec<String>),
    labels: (Option<String>, Vec<String>),
    unlabelled: Option<String>,
    covariates: Vec<(String, Vec<String>)>,
    continuous: Vec<String>,
    proteins: Vec<String>,
    /// Of each batch in the order of their levels, which proteins it measured.
    measured: Option<Vec<Vec<bool>>>,
    /// The entry of `obsm` that they stood in.
    protein_key: Option<String>,
    size_factor: bool,
    /// The column of protein panels, where it is not that of the batches.
    panel: Option<String>,
    layer: Option<String>,
    /// Of a model saved without counts: the entries of `obsm` with means and variances of its cells.
    latents: Option<[String; 2]>,
}

/// What stands for a column that was not given.
const NO_COLUMN: [&str; 3] = ["_scvi_batch", "_scvi_labels", "_scvi__indices"];
/// The condition of a model that was trained without batches.
const ONE_CONDITION: &str = "reference";

pub(super) fn import(saved: &Saved<'_, '_>, class: &str) -> Result<Imported, HubError> {
    let unsupported = |why: &str| HubError::unsupported(class, why);
    let Some((_, model)) = MODELS.iter().find(|m| m.0 == class) else {
        let why = OTHERS.iter().find(|o| o.0 == class).map_or("no model here is its equal", |o| o.1);
        return Err(unsupported(&format!("{why}. SCVI, LinearSCVI, SCANVI and TOTALVI can be imported")));
    };
    let registry = match saved.attributes.get("registry_") {
        Some(registry) => of_registry(registry)?,
        None => of_setup(saved.attributes)?,
    };
    if registry.size_factor {
        return Err(unsupported(
            "it was trained with size factors of its own (`size_factor_key`), and its decoder ends in a softplus; \
             models here take the library size from the counts",
        ));
    }
    if let Some(panel) = registry.panel.as_ref().filter(|_| class == "TOTALVI") {
        let why = format!(
            "its proteins' background is learned for each panel (`{panel}`); models here learn it for each batch"
        );
        return Err(unsupported(&why));
    }
    let mut given = Map::new();
    flatten(saved.attributes, &mut given)?;
    sizes(class, saved, &mut given);
    let version = version(registry.version.as_deref());
    let config = settings(class, version, &Json::Object(given.clone())).map_err(|why| unsupported(&why))?;

    let mut notes = Vec::new();
    let header = header(class, saved, &registry, &given)?;
    uniform_prior(class, saved)?;
    let mut plan_given: BTreeMap<&'static str, Vec<f32>> = BTreeMap::new();
    if class == "TOTALVI" {
        plan_given.insert("proteins.measured", measured(&header, &registry, class)?);
    }
    let starts = |name: &str| {
        if name.ends_with(COUNTERS) {
            return Some("averages with a fixed share count no batches");
        }
        DROPPED.iter().find(|d| name.starts_with(d.0)).map(|d| d.1)
    };
    let plan = Plan {
        model,
        class,
        place: saved.attributes.place(),
        config: &config,
        header,
        state: &saved.state,
        source,
        given: plan_given,
        optional: &["library.prior_mean", "library.prior_variance", "proteins.efficiency"],
        dropped: &starts,
    };
    let (mut model, dropped) = plan.assemble()?;
    if model.params.id("library.prior_mean").is_some() && !saved.state.contains_key("library_log_means") {
        let what = "its files lack the prior of the library size (it stood with the cells): latents and expression are \
                    its own, likelihoods are not";
        notes.push((what.into(), Vec::new()));
    }
    let p = &mut model.provenance;
    if let Some(column) = &registry.batch.0 {
        p.insert("condition_columns".into(), vec![column.clone()].into());
    }
    if let Some(column) = registry.labels.0.as_ref().filter(|_| !model.header.labels.is_empty()) {
        p.insert("label_column".into(), column.clone().into());
        if let Some(unlabelled) = &registry.unlabelled {
            p.insert("unlabelled".into(), unlabelled.clone().into());
        }
    }
    if let Some(layer) = &registry.layer {
        p.insert("values".into(), format!("layers/{layer}").into());
        let what = format!("it was trained on layer `{layer}`: choose that layer where a query's counts stand there");
        notes.push((what, vec![Setting::to("layer", layer)]));
    }
    if let Some(key) = registry.protein_key.as_ref().filter(|k| *k != PROTEIN_SLOT) {
        p.insert("protein_slot".into(), key.clone().into());
        let what = format!("its proteins stood in obsm `{key}`: choose that entry where a query's do");
        notes.push((what, vec![Setting::to("proteins", key)]));
    }
    if let Some(modality) = &saved.modality {
        let what = format!("it was trained on several modalities; its genes are those of `{modality}`");
        notes.push((what, Vec::new()));
    }
    let (package, version) = ("scvi-tools", registry.version.clone().filter(|v| v != UNKNOWN_VERSION));
    Ok(Imported {
        model,
        package,
        version,
        class: class.to_owned(),
        dropped,
        notes,
        cells: None,
        latents: registry.latents,
    })
}

/// What versions before 0.9 wrote for all of them.
const UNKNOWN_VERSION: &str = "0.0.0";

/// A version as numbers; one that is not known is as old as any.
fn version(text: Option<&str>) -> Version {
    let mut parts = text.unwrap_or_default().split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    });
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Settings that were given, wherever the version has put them.
fn flatten(attributes: Value<'_, '_>, out: &mut Map<String, Json>) -> Result<(), HubError> {
    fn merge(from: Json, out: &mut Map<String, Json>) {
        let Json::Object(from) = from else { return };
        for (key, value) in from {
            match key.as_str() {
                "kwargs" | "non_kwargs" | "model_kwargs" | "vae_kwargs" | "module_kwargs" => merge(value, out),
                _ => _ = out.insert(key, value),
            }
        }
    }
    if let Some(given) = attributes.get("init_params_") {
        merge(json(given, 0)?, out);
    }
    Ok(())
}

/// Sizes are those of the tensors.
fn sizes(class: &str, saved: &Saved<'_, '_>, given: &mut Map<String, Json>) {
    let rows = |name: &str| saved.state.get(name).and_then(|t| t.shape.first().copied());
    let layers = |stack: &str| (0..).map_while(|i| rows(&format!("{stack}.fc_layers.Layer {i}.0.weight"))).count();
    let (encoder, mean) = match class {
        "TOTALVI" => ("encoder.encoder", "encoder.z_mean_encoder"),
        _ => ("z_encoder.encoder", "z_encoder.mean_encoder"),
    };
    if class != "TOTALVI" {
        given.remove("n_layers_encoder");
    }
    let mut set = |name: &str, size: Option<usize>| {
        if let Some(size) = size.filter(|&s| s > 0) {
            given.insert(name.to_owned(), size.into());
        }
    };
    set("n_hidden", rows(&format!("{encoder}.fc_layers.Layer 0.0.weight")));
    set("n_latent", rows(&format!("{mean}.weight")));
    if class == "TOTALVI" {
        set("n_layers_encoder", Some(layers(encoder)));
        set("n_layers_decoder", Some(layers("decoder.px_decoder")));
    } else {
        set("n_layers", Some(layers(encoder)));
    }
}

/// Names along the axes.
fn header(
    class: &str,
    saved: &Saved<'_, '_>,
    registry: &Registry,
    given: &Map<String, Json>,
) -> Result<Header, HubError> {
    let wrong = |what: String| HubError::format(saved.attributes.place(), what);
    let genes = saved.genes.clone();
    if genes.iter().collect::<HashSet<_>>().len() != genes.len() {
        return Err(wrong("two genes have the same name".into()));
    }
    let mut conditions = registry.batch.1.clone();
    if registry.batch.0.is_none() || conditions.is_empty() {
        // Without a column all cells are of one batch.
        match conditions.len() {
            0 | 1 => conditions = vec![ONE_CONDITION.into()],
            _ => {}
        }
    }
    let by_label = given.get("dispersion").and_then(Json::as_str) == Some("gene-label");
    let labels = match class {
        "SCANVI" => {
            let mut labels = registry.labels.1.clone();
            if let Some(unlabelled) = &registry.unlabelled {
                labels.retain(|l| l != unlabelled);
            }
            labels
        }
        "SCVI" | "LinearSCVI" if by_label => registry.labels.1.clone(),
        _ => Vec::new(),
    };
    // A covariate of one level says nothing and has no weights.
    let covariates = registry.covariates.iter().filter(|c| c.1.len() > 1).cloned().collect();
    let known = Known {
        genes,
        conditions,
        labels,
        covariates,
        continuous: registry.continuous.clone(),
        // Registered with the data, and read by this model alone.
        proteins: if class == "TOTALVI" { registry.proteins.clone() } else { Vec::new() },
        ..Known::default()
    };
    Ok(known.into())
}

/// Labels are equally likely here.
fn uniform_prior(class: &str, saved: &Saved<'_, '_>) -> Result<(), HubError> {
    let Some(prior) = saved.state.get("y_prior") else { return Ok(()) };
    let share = 1.0 / prior.values.len().max(1) as f32;
    if prior.values.iter().all(|v| (v - share).abs() <= 1e-5 * share) {
        return Ok(());
    }
    Err(HubError::unsupported(class, "its labels have a prior of their own (`y_prior`); here they are equally likely"))
}

/// Which proteins each condition measured, [condition × protein]; all where the file does not say.
fn measured(header: &Header, registry: &Registry, class: &str) -> Result<Vec<f32>, HubError> {
    let (conditions, proteins) = (header.conditions.len(), header.proteins.len());
    let Some(rows) = &registry.measured else { return Ok(vec![1.0; conditions.saturating_mul(proteins)]) };
    if rows.len() != conditions || rows.iter().any(|r| r.len() != proteins) {
        let why = "which proteins were measured is not said for each of its batches and proteins";
        return Err(HubError::unsupported(class, why));
    }
    Ok(rows.iter().flatten().map(|&m| if m { 1.0 } else { 0.0 }).collect())
}

/// The registry of versions from 0.15 on.
fn of_registry(registry: Value<'_, '_>) -> Result<Registry, HubError> {
    let text = |keys: &[&str]| registry.path(keys).and_then(|v| v.text()).map(str::to_owned);
    let state = |field: &str, key: &str| registry.path(&["field_registries", field, "state_registry", key]);
    let column = |field: &str| {
        let key = state(field, "original_key").and_then(|v| v.text());
        key.filter(|k| !NO_COLUMN.contains(k)).map(str::to_owned)
    };
    let levels = |field: &str| match state(field, "categorical_mapping") {
        Some(mapping) => numpy::names(mapping),
        None => Ok(Vec::new()),
    };
    let mut out = Registry {
        version: text(&["scvi_version"]),
        batch: (column("batch"), levels("batch")?),
        labels: (column("labels"), levels("labels")?),
        layer: text(&["setup_args", "layer"]),
        ..Registry::default()
    };
    let unlabelled =
        state("labels", "unlabeled_category").or_else(|| registry.path(&["setup_args", "unlabeled_category"]));
    out.unlabelled = unlabelled.and_then(numpy::name);
    out.size_factor = registry.path(&["field_registries", "size_factor", "data_registry", "attr_key"]).is_some()
        || text(&["setup_args", "size_factor_key"]).is_some();
    out.panel = column("panel").filter(|panel| out.batch.0.as_ref() != Some(panel));
    if let Some(mappings) = state("extra_categorical_covs", "mappings") {
        out.covariates = covariates(mappings, state("extra_categorical_covs", "field_keys"))?;
    }
    if let Some(columns) = state("extra_continuous_covs", "columns") {
        out.continuous = numpy::names(columns)?;
    }
    if let Some(columns) = state("proteins", "column_names") {
        out.proteins = numpy::names(columns)?;
    }
    out.protein_key = text(&["field_registries", "proteins", "data_registry", "attr_key"]);
    let slot = |field: &str| text(&["field_registries", field, "data_registry", "attr_key"]);
    out.latents = slot("latent_qzm").zip(slot("latent_qzv")).map(|(mean, variance)| [mean, variance]);
    if let Some(mask) = state("proteins", "protein_batch_mask") {
        out.measured = mask_rows(mask, &out.batch.1)?;
    }
    Ok(out)
}

/// The registry of versions before 0.15.
fn of_setup(attributes: Value<'_, '_>) -> Result<Registry, HubError> {
    let missing = || HubError::format(attributes.place(), "it has no registry (`registry_` or `scvi_setup_dict_`)");
    let setup = attributes.get("scvi_setup_dict_").ok_or_else(missing)?;
    let field = |name: &str| setup.path(&["categorical_mappings", name]);
    let column = |name: &str| {
        let key = field(name)?.get("original_key")?.text()?;
        (!NO_COLUMN.contains(&key)).then(|| key.to_owned())
    };
    let levels = |name: &str| match field(name).and_then(|f| f.get("mapping")) {
        Some(mapping) => numpy::names(mapping),
        None => Ok(Vec::new()),
    };
    let mut out = Registry {
        version: setup.get("scvi_version").and_then(|v| v.text()).map(str::to_owned),
        batch: (column("_scvi_batch"), levels("_scvi_batch")?),
        labels: (column("_scvi_labels"), levels("_scvi_labels")?),
        unlabelled: attributes.get("unlabeled_category_").and_then(numpy::name),
        ..Registry::default()
    };
    let x = setup.path(&["data_registry", "X"]);
    let in_layer = x.and_then(|x| x.get("attr_name")).and_then(|v| v.text()) == Some("layers");
    out.layer = x.filter(|_| in_layer).and_then(|x| x.get("attr_key")).and_then(|v| v.text()).map(str::to_owned);
    if let Some(mappings) = setup.path(&["extra_categoricals", "mappings"]) {
        out.covariates = covariates(mappings, setup.path(&["extra_categoricals", "keys"]))?;
    }
    if let Some(keys) = setup.get("extra_continuous_keys") {
        out.continuous = numpy::names(keys)?;
    }
    if let Some(names) = setup.get("protein_names") {
        out.proteins = numpy::names(names)?;
    }
    if let Some(mask) = attributes.get("batch_mask").or_else(|| attributes.get("protein_batch_mask_")) {
        out.measured = mask_rows(mask, &out.batch.1)?;
    }
    Ok(out)
}

/// Categorical covariates in the order of their columns.
fn covariates(mappings: Value<'_, '_>, order: Option<Value<'_, '_>>) -> Result<Vec<(String, Vec<String>)>, HubError> {
    let mut out = Vec::new();
    for (name, levels) in mappings.entries()? {
        out.push((numpy::name(name).ok_or_else(|| name.expected("the name of a covariate"))?, numpy::names(levels)?));
    }
    if let Some(order) = order {
        let order = numpy::names(order)?;
        out.sort_by_key(|c| order.iter().position(|o| *o == c.0).unwrap_or(usize::MAX));
    }
    Ok(out)
}

/// Which proteins each batch measured: by the batch's place or its name, in the order of the batches.
fn mask_rows(mask: Value<'_, '_>, batches: &[String]) -> Result<Option<Vec<Vec<bool>>>, HubError> {
    let Ok(entries) = mask.entries() else { return Ok(None) };
    let mut rows = BTreeMap::new();
    for (batch, measured) in entries {
        let name = numpy::name(batch).ok_or_else(|| batch.expected("a batch"))?;
        let by_place = name.parse().ok().filter(|&i: &usize| i < batches.len());
        let place = by_place.or_else(|| batches.iter().position(|b| *b == name));
        rows.insert(place.ok_or_else(|| batch.expected("one of its batches"))?, numpy::truths(measured)?);
    }
    Ok(Some(rows.into_values().collect()))
}
