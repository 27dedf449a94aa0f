//! A model of ours, filled with the tensors of a published one.

use std::collections::BTreeMap;

use scgraft_models::import::{Source, Used};
use scgraft_models::{Header, Model};
use serde_json::Value;

use crate::HubError;
use crate::torch::Tensor;

/// What a model is to be made of.
pub(super) struct Plan<'p> {
    /// Our name of it, and theirs.
    pub model: &'static str,
    pub class: &'p str,
    pub place: &'p str,
    pub config: &'p Value,
    pub header: Header,
    pub state: &'p BTreeMap<String, Tensor>,
    /// Where a tensor of ours is.
    pub source: fn(&Model, &str) -> Option<Source>,
    /// Values of ours that are no tensors of theirs.
    pub given: BTreeMap<&'static str, Vec<f32>>,
    /// Tensors of ours that keep what they start with when theirs is missing.
    pub optional: &'p [&'p str],
    /// Why one of theirs that nothing was read from is left out; `None` for those that may not be.
    pub dropped: &'p dyn Fn(&str) -> Option<&'static str>,
}

/// The model, and what of theirs was left out.
pub(super) type Assembled = (Model, Vec<(String, &'static str)>);

/// How many times the numbers of a file a model may have, and how many besides.
const LARGER: usize = 32;
const BESIDES: usize = 1 << 22;

impl Plan<'_> {
    pub(super) fn assemble(self) -> Result<Assembled, HubError> {
        self.check_size()?;
        let unsupported = |why: String| HubError::unsupported(self.class, why);
        let mut model = Model::new(self.model, self.config, self.header.clone(), 0)?;
        let mut used = Used::new();
        let names: Vec<String> = model.params.iter().map(|p| p.name.clone()).collect();
        for name in names {
            let Some(id) = model.params.id(&name) else { continue };
            let (shape, length) = (model.params.get(id).shape.clone(), model.params.get(id).values.len());
            let values = match self.given.get(name.as_str()) {
                Some(values) => values.clone(),
                None => {
                    let none = || unsupported(format!("its file has nothing that could be `{name}`"));
                    let source = (self.source)(&model, &name).ok_or_else(none)?;
                    let of = |n: &str| self.state.get(n).map(|t| (&t.shape[..], &t.values[..]));
                    match source.read(&of, &mut used) {
                        Some(values) => values,
                        None if self.optional.contains(&name.as_str()) => continue,
                        None => return Err(self.missing(&name, &source)),
                    }
                }
            };
            if values.len() != length {
                let found = values.len();
                return Err(unsupported(format!(
                    "`{name}` has {length} values ({shape:?}) by the names and settings in its file, and {found} by \
                     its tensors"
                )));
            }
            model.params.get_mut(id).values.copy_from_slice(&values);
        }
        let dropped = self.left(&used)?;
        Ok((model, dropped))
    }

    /// What was not read: knowingly, or an error.
    fn left(&self, used: &Used) -> Result<Vec<(String, &'static str)>, HubError> {
        let mut out = Vec::new();
        for (name, tensor) in self.state {
            let read = used.get(name).copied().unwrap_or(0);
            if read == tensor.values.len() && read > 0 {
                continue;
            }
            match (self.dropped)(name).filter(|_| read == 0) {
                Some(why) => out.push((name.clone(), why)),
                None => {
                    let why = format!(
                        "`{name}` {:?} is not what its settings call for: {read} of its {} values were understood",
                        tensor.shape,
                        tensor.values.len()
                    );
                    return Err(HubError::unsupported(self.class, why));
                }
            }
        }
        Ok(out)
    }

    fn missing(&self, name: &str, source: &Source) -> HubError {
        let told = |n: &&str| match self.state.get(*n) {
            Some(tensor) => format!("`{n}` is {:?}", tensor.shape),
            None => format!("`{n}` is missing"),
        };
        let found = source.names().iter().map(told).collect::<Vec<_>>().join(", ");
        HubError::format(self.place, format!("`{name}` cannot be read off its tensors: {found}"))
    }

    /// Whether a model of these names is of the size of its tensors, before it is made: names and settings are as
    /// easily written as large numbers.
    fn check_size(&self) -> Result<(), HubError> {
        let stored: usize = self.state.values().map(|t| t.values.len()).sum();
        let sizes = |key: &str| match &self.config[key] {
            Value::Array(sizes) => sizes.iter().filter_map(Value::as_u64).fold(0u64, u64::saturating_add),
            value => value.as_u64().unwrap_or(0),
        };
        let h = &self.header;
        let hidden = sizes("hidden").saturating_add(sizes("decoder_hidden")).saturating_add(sizes("latent"));
        let levels: usize = h.covariates.iter().map(|c| c.1.len()).sum();
        let programs = h.n_programs() as u64;
        let ends = [h.genes.len(), h.proteins.len(), h.conditions.len(), h.labels.len(), levels, h.continuous.len()];
        let inputs = ends.iter().fold(hidden + programs, |sum, &n| sum.saturating_add(n as u64));
        let by_group = (h.conditions.len() + h.labels.len()) as u64;
        let outputs = hidden.saturating_add(programs).saturating_add(by_group).saturating_add(1);
        let most = (stored * LARGER + BESIDES) as u64;
        if inputs.saturating_mul(outputs) > most {
            let what = format!(
                "its names and settings call for about {} numbers, its tensors have {stored}",
                inputs.saturating_mul(outputs)
            );
            return Err(HubError::format(self.place, what));
        }
        Ok(())
    }
}
