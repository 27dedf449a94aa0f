//! A model of ours, filled with the tensors of a published one.

use std::collections::BTreeMap;

use scgraft_models::import::{Source, Used};
use scgraft_models::{Header, Model, check_against};
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

impl Plan<'_> {
    pub(super) fn assemble(self) -> Result<Assembled, HubError> {
        // Names and settings are as easily written as large numbers.
        let stored = self.state.values().map(|t| t.values.len()).sum();
        check_against(self.config, &self.header, stored).map_err(|what| HubError::format(self.place, what))?;
        let unsupported = |why: String| HubError::unsupported(self.class, why);
        let mut model = Model::new(self.model, self.config, self.header.clone(), 0)?;
        let mut used = Used::new();
        let names: Vec<String> = model.params.iter().map(|p| p.name.clone()).collect();
        for name in names {
            let Some(id) = model.params.id(&name) else { continue };
            let (shape, length) = (model.params.get(id).shape.clone(), model.params.get(id).n_values());
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
            model.params.get_mut(id).put(values);
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
}
