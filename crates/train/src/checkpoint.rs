//! The state of a fit between two epochs, as bytes: a fit that goes on from it ends in the very bits of an unbroken one.
//!
//! A checkpoint is a line that says what it is, the length of a JSON text, that text, values (`f32`, little-endian: weights
//! that change, moments and starts of the optimiser, the best state), and the SHA-256 of all before. It belongs to one model,
//! one set of cells and one configuration; their digest is in it.

use scgraft_cells::{Prepared, for_rows};
use scgraft_engine::{Adam, Params};
use scgraft_models::{EpochRecord, Model};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fit::{Best, changing};
use crate::{Stopper, TrainConfig, TrainError};

const MAGIC: &[u8] = b"scgraft checkpoint 1\n";

/// Whether bytes are a checkpoint, of this version or another.
pub fn is_checkpoint(bytes: &[u8]) -> bool {
    bytes.starts_with(b"scgraft checkpoint ")
}

/// What a fit knows between two epochs, besides values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Progressed {
    /// Digest of model, cells and configuration.
    pub of: String,
    /// The same in short, to say in what two fits differ.
    #[serde(default)]
    pub made: Value,
    /// The epoch that comes next.
    pub epoch: usize,
    /// Steps taken.
    pub steps: usize,
    /// Steps that the optimiser counts.
    pub adam_steps: i32,
    /// Bits of the learning rate.
    pub learning_rate: u32,
    pub best_epoch: usize,
    pub best_loss: Option<f64>,
    pub stopper: Option<Stopper>,
    pub history: Vec<EpochRecord>,
}

/// The checkpoint's bytes.
///
/// # Errors
/// In words.
pub(crate) fn to_bytes(now: &Progressed, params: &Params, adam: &Adam, best: &Best) -> Result<Vec<u8>, String> {
    let text = serde_json::to_vec(now).map_err(|e| e.to_string())?;
    let mut out = MAGIC.to_vec();
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
    let weights = params.iter().flat_map(|p| changing(p).into_iter().map(|s| &p.values()[s]));
    let best = best.values.iter().map(Vec::as_slice);
    for values in weights.chain(adam.arrays()).chain(best) {
        out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    let hash = Sha256::digest(&out);
    out.extend(hash);
    Ok(out)
}

/// What a checkpoint says, and its values.
///
/// # Errors
/// Bytes that are none.
pub(crate) fn read(bytes: &[u8]) -> Result<(Progressed, &[u8]), TrainError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| wrong("it is no checkpoint of this version"))?;
    let body = bytes.len().checked_sub(32).filter(|_| rest.len() >= 40).ok_or_else(|| wrong("it is cut short"))?;
    if Sha256::digest(&bytes[..body])[..] != bytes[body..] {
        return Err(wrong("it does not match the checksum in it: it is damaged"));
    }
    let (length, rest) = rest[..rest.len() - 32].split_at(8);
    let length = length.iter().rev().fold(0usize, |n, &b| (n << 8) | usize::from(b));
    let (text, values) = rest.split_at_checked(length).ok_or_else(|| wrong("it is cut short"))?;
    Ok((serde_json::from_slice(text).map_err(|e| wrong(&e.to_string()))?, values))
}

fn wrong(what: &str) -> TrainError {
    TrainError::Checkpoint { what: what.to_owned() }
}

/// Puts a checkpoint's values back; gives the rest.
///
/// # Errors
/// A checkpoint of another fit, or bytes that are none.
pub(crate) fn from_bytes(
    bytes: &[u8],
    of: &str,
    made: &Value,
    params: &mut Params,
    adam: &mut Adam,
    best: &mut Best,
) -> Result<Progressed, TrainError> {
    let (found, values) = read(bytes)?;
    if found.of != of {
        let of_another = "it is of another model, other cells or other settings";
        return Err(wrong(&match &differences(&found.made, made)[..] {
            [] if found.made.is_null() => of_another.to_owned(),
            [] => format!("{of_another}: these have its names and sizes, but other values"),
            some => format!("{of_another}: {}", some.join("; ")),
        }));
    }
    let mut values = values.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    let mut fill = |to: &mut [f32]| to.iter_mut().try_for_each(|v| values.next().map(|next| *v = next));
    let mut kept = Vec::new();
    let mut whole = Some(());
    for p in params.iter_mut() {
        for span in changing(p) {
            kept.push(vec![0.0; span.len()]);
            whole = whole.and_then(|()| fill(&mut p.write()[span]));
        }
    }
    for array in adam.arrays_mut() {
        whole = whole.and_then(|()| fill(array));
    }
    adam.set_steps(found.adam_steps);
    // There is a best state as soon as one was judged.
    let any_best = kept.iter_mut().try_for_each(|array| fill(array)).is_some();
    best.values = if any_best { kept } else { Vec::new() };
    if whole.is_none() || values.next().is_some() {
        return Err(wrong("it has not as many values as the model"));
    }
    Ok(found)
}

/// What a fit is of in short: model, settings, training, cells.
pub(crate) fn made(model: &Model, data: &Prepared, config: &TrainConfig) -> Value {
    json!({
        "model": model.entry.name,
        "settings": model.network.config(),
        "training": config,
        "cells": data.n_cells(),
        "genes": model.header.genes.len(),
        "programs": model.header.programs().count(),
        "conditions": model.header.conditions,
    })
}

/// In what two fits differ, in words.
pub(crate) fn differences(was: &Value, is: &Value) -> Vec<String> {
    let mut out = Vec::new();
    if let (Value::Object(was), Value::Object(is)) = (was, is) {
        for (name, is) in is {
            let was = was.get(name).unwrap_or(&Value::Null);
            match (was, is) {
                (Value::Object(_), Value::Object(_)) => out.extend(differences(was, is)),
                _ if was != is => out.push(format!("{name} was {was}, is {is}")),
                _ => {}
            }
        }
    }
    out
}

/// Digest of where a fit starts: the model with all its weights.
pub(crate) fn start_of(model: &Model) -> Sha256 {
    let mut hash = Sha256::new();
    for p in model.params.iter() {
        let bytes: Vec<u8> = p.values().iter().flat_map(|v| v.to_le_bytes()).collect();
        hash.update(bytes);
    }
    hash
}

/// Digest of what a fit is of: its start, the model's names and settings, the cells, the configuration.
pub(crate) fn digest(start: &Sha256, model: &Model, data: &Prepared, config: &TrainConfig) -> Result<String, String> {
    let mut hash = start.clone();
    let named = (model.entry.name, model.network.config(), &model.header, config);
    hash.update(serde_json::to_vec(&named).map_err(|e| e.to_string())?);
    data.condition.codes.iter().for_each(|c| hash.update(c.to_le_bytes()));
    let more = (data.labels.as_ref().map(|l| &l.codes), &data.cells, &data.continuous);
    hash.update(serde_json::to_vec(&more).map_err(|e| e.to_string())?);
    data.covariates.iter().flat_map(|(_, c)| &c.codes).for_each(|c| hash.update(c.to_le_bytes()));
    if let Some(proteins) = &data.proteins {
        proteins.counts.values.iter().for_each(|v| hash.update(v.to_le_bytes()));
    }
    let all: Vec<usize> = (0..data.n_cells()).collect();
    let read = for_rows(&*data.expression, &all, |_, genes, values| {
        let genes = genes.iter().flat_map(|g| g.to_le_bytes());
        let row: Vec<u8> = genes.chain(values.iter().flat_map(|v| v.to_le_bytes())).collect();
        hash.update((row.len() as u64).to_le_bytes());
        hash.update(row);
    });
    read.map_err(|e| e.to_string())?;
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
