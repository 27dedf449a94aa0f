//! EXPIMAP and TRVAE of scArches: settings are attributes of the saved object.

use std::collections::{BTreeMap, HashSet};

use scgraft_cells::Setting;
use scgraft_models::import::scarches::{DROPPED, settings, source};
use scgraft_models::{Header, Known, Membership, Program, Segment};
use serde_json::{Map, Value};

use super::assemble::Plan;
use super::{ImportOptions, Imported, json};
use crate::layout::Saved;
use crate::{HubError, numpy};

/// Attributes that are settings, without the underscore at their end.
const SETTINGS: [&str; 12] = [
    "hidden_layer_sizes",
    "latent_dim",
    "dr_rate",
    "use_bn",
    "use_ln",
    "use_l_encoder",
    "recon_loss",
    "decoder_last_layer",
    "use_mmd",
    "mmd_on",
    "mmd_boundary",
    "beta",
];

pub(super) fn import(
    saved: &Saved<'_, '_>,
    model: &'static str,
    options: &ImportOptions,
) -> Result<Imported, HubError> {
    let class = if model == "expimap" { "EXPIMAP" } else { "TRVAE" };
    let unsupported = |why: String| HubError::unsupported(class, why);
    let attribute = |name: &str| saved.attributes.get(&format!("{name}_"));
    let mut given = Map::new();
    for name in SETTINGS {
        if let Some(value) = attribute(name) {
            given.insert(name.to_owned(), json(value, 0)?);
        }
    }
    // Sizes are those of the tensors.
    let rows = |name: &str| saved.state.get(name).and_then(|t| t.shape.first().copied());
    let layer = |i: usize| rows(&format!("encoder.FC.L{i}{}.weight", if i == 0 { ".expr_L" } else { "" }));
    let hidden: Vec<usize> = (0..).map_while(layer).collect();
    let latent = rows("encoder.mean_encoder.weight").unwrap_or(0);
    given.insert("hidden_layer_sizes".into(), hidden.into());
    given.insert("latent_dim".into(), latent.into());
    let config = settings(model, &Value::Object(given)).map_err(unsupported)?;

    if saved.state.keys().any(|n| n.contains(".expand_") || n.starts_with("decoder.L0.ext_L")) {
        let why = "new programs were added to it when a query was mapped; import the reference it was made from, and \
                   map the query with new programs";
        return Err(unsupported(why.into()));
    }
    let conditions = conditions(saved)?;
    let mut notes = Vec::new();
    let known = Known { genes: saved.genes.clone(), conditions, ..Known::default() };
    let mut header = Header::from(known);
    if model == "expimap" {
        header.segments = vec![programs(saved, latent, options, &mut notes)?];
    }
    let key = attribute("condition_key").and_then(|v| v.text());
    let ends = |name: &str| DROPPED.iter().find(|d| name.ends_with(d.0)).map(|d| d.1);
    let plan = Plan {
        model,
        class,
        place: saved.attributes.place(),
        config: &config,
        header,
        state: &saved.state,
        source,
        given: BTreeMap::new(),
        optional: &[],
        dropped: &ends,
    };
    let (mut model, dropped) = plan.assemble()?;
    if let Some(key) = key {
        model.provenance.insert("condition_columns".into(), vec![key.to_owned()].into());
    }
    Ok(Imported {
        model,
        package: "scarches",
        version: None,
        class: class.into(),
        dropped,
        notes,
        cells: None,
        latents: None,
    })
}

/// Names of the conditions, in the order of their columns: a list, or a dictionary of places.
fn conditions(saved: &Saved<'_, '_>) -> Result<Vec<String>, HubError> {
    let none =
        || HubError::format(saved.attributes.place(), "it does not say which conditions it knows (`conditions_`)");
    let value = saved.attributes.get("conditions_").ok_or_else(none)?;
    let Ok(entries) = value.entries() else { return numpy::names(value) };
    let place = |(name, at): (_, _)| Some((numpy::size(at)?, numpy::name(name)?));
    let mut out: Vec<(usize, String)> = entries.into_iter().map(place).collect::<Option<_>>().ok_or_else(none)?;
    out.sort();
    Ok(out.into_iter().map(|c| c.1).collect())
}

/// The gene sets: the mask beside a hard decoder's weights, [gene × program]; the settings' mask, by program, otherwise.
fn programs(
    saved: &Saved<'_, '_>,
    latent: usize,
    options: &ImportOptions,
    notes: &mut Vec<(String, Vec<Setting>)>,
) -> Result<Segment, HubError> {
    let wrong = |what: &str| HubError::format(saved.attributes.place(), what);
    let soft = saved.attributes.get("soft_mask_").and_then(|v| v.truth()).unwrap_or(false);
    let genes = saved.genes.len();
    let no_mask = "its gene sets (`mask_`) do not fit its genes and dimensions";
    let sets: Vec<Vec<u32>> = match saved.state.get("decoder.L0.expr_L.mask") {
        Some(mask) if !soft => {
            if mask.shape != [genes, latent] {
                return Err(wrong(no_mask));
            }
            let member = |p: usize| (0..genes as u32).filter(move |&g| mask.values[g as usize * latent + p] != 0.0);
            (0..latent).map(|p| member(p).collect()).collect()
        }
        _ => {
            let mask = saved.attributes.get("mask_").ok_or_else(|| wrong("it has no gene sets (`mask_`)"))?;
            let rows = numpy::rows(mask)?;
            if rows.len() != latent || rows.iter().any(|r| r.len() != genes) {
                return Err(wrong(no_mask));
            }
            let members = |row: &Vec<f32>| (0..genes as u32).filter(|&g| row[g as usize] != 0.0).collect();
            rows.iter().map(members).collect()
        }
    };
    let names = match &options.program_names {
        Some(names) if names.len() == latent => names.clone(),
        Some(names) => {
            let what = format!("{} names of programs were given, it has {latent} programs", names.len());
            return Err(wrong(&what));
        }
        None => {
            let what = format!(
                "its files have no names of programs: they are called program_1 to program_{latent}; their names can be \
                 given, in order"
            );
            notes.push((what, vec![Setting::of("program_names")]));
            (1..=latent).map(|i| format!("program_{i}")).collect()
        }
    };
    if names.iter().collect::<HashSet<_>>().len() != names.len() {
        return Err(wrong("two programs have the same name"));
    }
    let programs = names.into_iter().zip(sets).map(|(name, members)| Program { name, members }).collect();
    Ok(Segment { origin: None, membership: if soft { Membership::Soft } else { Membership::Hard }, programs })
}
