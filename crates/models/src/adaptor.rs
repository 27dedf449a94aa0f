//! Adaptors: what a graft added to a reference, as a small thing of its own.
//!
//! A reference and a set of adaptors make the same model in whatever order the adaptors are
//! attached: their rows stand in the order of their names.

use std::collections::BTreeMap;

use crate::header::{check_programs, once};
use crate::size::check_against;
use crate::{Model, ModelError, Origin, Segment};

/// The weights that one graft added.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptor {
    /// What the graft added.
    pub origin: Origin,
    /// Its segments of new programs.
    pub segments: Vec<Segment>,
    /// The reference it belongs to ([`Model::reference_hash`]).
    pub reference: String,
    /// The base model's name.
    pub model: String,
    /// New rows of each tensor that grew, and each new tensor whole, by name.
    pub tensors: BTreeMap<String, Vec<f32>>,
}

impl Model {
    /// All adaptors of the model, in the order of their names.
    ///
    /// # Errors
    /// When `reference`, the hash before surgery, is not this model's: then shared layers were trained,
    /// and only the whole model can be saved.
    pub fn adaptors(&self, reference: &str) -> Result<Vec<Adaptor>, ModelError> {
        let now = self.reference_hash();
        if now != reference {
            return Err(ModelError::Surgery(
                "shared layers were trained, so the graft is no adaptor of the reference; save the whole model".into(),
            ));
        }
        let mut base = self.base();
        let mut out = Vec::new();
        for origin in &self.header.grafts {
            let own_rows = base.pass(origin);
            let mut tensors = BTreeMap::new();
            for p in self.params.iter() {
                let rows = match own_rows(p.axes[0]) {
                    Some(rows) => rows,
                    None if self.grafted_tensor(&p.name) == Some(&origin.name) => 0..p.rows(),
                    None => continue,
                };
                if !rows.is_empty() {
                    let width = p.row_len();
                    tensors.insert(p.name.clone(), p.values()[rows.start * width..rows.end * width].to_vec());
                }
            }
            let own = |s: &&Segment| s.origin.as_deref() == Some(&origin.name);
            out.push(Adaptor {
                origin: origin.clone(),
                segments: self.header.segments.iter().filter(own).cloned().collect(),
                reference: now.clone(),
                model: self.entry.name.to_owned(),
                tensors,
            });
        }
        out.sort_by(|a, b| a.origin.name.cmp(&b.origin.name));
        Ok(out)
    }

    /// The reference with these adaptors and those it has, in the order of their names.
    ///
    /// # Errors
    /// When an adaptor belongs to another reference, two share a name or a condition, or one was trained onto new programs
    /// that are not there.
    pub fn attach(&self, adaptors: &[Adaptor]) -> Result<Model, ModelError> {
        let hash = self.reference_hash();
        let mut all = self.adaptors(&hash)?;
        for a in adaptors {
            let misfit = |what| ModelError::Surgery(format!("adaptor `{}`: {what}", a.origin.name));
            a.check().map_err(misfit)?;
            if a.reference != hash || a.model != self.entry.name {
                return Err(ModelError::OtherReference {
                    adaptor: a.origin.name.clone(),
                    wanted: a.reference.clone(),
                    found: hash,
                });
            }
            if let Some(twin) = all.iter().find(|b| b.origin.name == a.origin.name) {
                return Err(ModelError::Surgery(format!("the model already has a graft named `{}`", twin.origin.name)));
            }
            let known =
                |c: &&String| self.header.conditions.contains(c) || all.iter().any(|b| b.origin.conditions.contains(c));
            if let Some(c) = a.origin.conditions.iter().find(known) {
                return Err(ModelError::Surgery(format!(
                    "adaptor `{}` brings condition `{c}`, which the model or another adaptor has already",
                    a.origin.name
                )));
            }
            all.push(a.clone());
        }
        let there = |name: &String| all.iter().any(|b| b.origin.name == *name);
        if let Some((a, missing)) =
            all.iter().find_map(|a| a.origin.onto.iter().find(|n| !there(n)).map(|n| (&a.origin.name, n)))
        {
            return Err(ModelError::Surgery(format!(
                "adaptor `{a}` was trained with the new programs of `{missing}` in the decoder, and its weights mean \
                 something else without them; attach `{missing}` as well"
            )));
        }
        all.sort_by(|a, b| a.origin.name.cmp(&b.origin.name));

        let base = self.base();
        let mut header = self.header.clone();
        header.known.conditions.truncate(base.conditions);
        header.known.cells.truncate(base.cells);
        header.segments.retain(|s| s.origin.is_none());
        header.grafts.clear();
        for a in &all {
            header.known.conditions.extend_from_slice(&a.origin.conditions);
            header.known.cells.extend_from_slice(&a.origin.cells);
            header.segments.extend_from_slice(&a.segments);
            header.grafts.push(a.origin.clone());
        }
        let config = self.network.config();
        let of_adaptors: usize = all.iter().flat_map(|a| a.tensors.values()).map(Vec::len).sum();
        check_against(&config, &header, self.params.n_values() + of_adaptors)
            .map_err(|what| ModelError::Surgery(format!("the adaptors are damaged: {what}")))?;
        let mut out = Model::declare(self.entry, &config, header)?;
        out.provenance = self.provenance.clone();
        out.cells = self.cells.clone();
        for p in out.params.iter_mut() {
            let mut values = Vec::with_capacity(p.n_values());
            if let Some(id) = self.params.id(&p.name).filter(|_| !all.iter().any(|a| is_whole(a, &p.name))) {
                let rows = base.rows(p.axes[0]).unwrap_or(p.rows());
                values.extend_from_slice(&self.params.values(id)[..rows * p.row_len()]);
            }
            for a in &all {
                values.extend_from_slice(a.tensors.get(&p.name).map_or(&[][..], |v| v));
            }
            if values.len() != p.n_values() {
                return Err(ModelError::Surgery(format!(
                    "tensor `{}` has {} values where {} are needed: an adaptor is damaged",
                    p.name,
                    values.len(),
                    p.n_values()
                )));
            }
            p.put(values);
        }
        Ok(out)
    }
}

impl Adaptor {
    /// Whether what it says of itself fits together.
    ///
    /// # Errors
    /// In words, what does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        once("condition", self.origin.conditions.iter())?;
        once("cell", self.origin.cells.iter())?;
        once("graft", std::iter::once(&self.origin.name))?;
        if let Some(other) = self.segments.iter().find(|s| s.origin.as_deref() != Some(&self.origin.name)) {
            let theirs = other.origin.as_deref().unwrap_or("the reference");
            return Err(format!("it brings programs of `{theirs}`, and is `{}`", self.origin.name));
        }
        check_programs(&self.origin, &self.segments)?;
        // Members are below 2^32 by their type; how many genes there are says the reference.
        self.segments.iter().try_for_each(|s| s.check(usize::MAX))
    }
}

/// Whether a tensor is one that the adaptor brings whole.
fn is_whole(a: &Adaptor, name: &str) -> bool {
    a.segments.iter().any(|s| s.tensor() == name)
}
