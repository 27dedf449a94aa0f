//! The base models there are. A new one of ours is its file and one line here; one of a user's own is [`register`]ed.

use std::sync::{PoisonError, RwLock};

use scgraft_cells::Kind;
use scgraft_engine::Params;
use serde_json::{Map, Value};

use crate::{Epochs, Granularity, Header, ModelError, Network, Training, expimap, scanvi, scvi, totalvi, trvae};

/// Makes a network for settings and names, and declares its tensors ([`Params::declare`]); nothing is drawn yet.
pub type Build = fn(config: &Value, header: &Header) -> Result<(Params, Box<dyn Network>), ModelError>;

/// One base model.
#[derive(Clone, Copy, Debug)]
pub struct ModelEntry {
    /// Its name on the command line and in files.
    pub name: &'static str,
    /// One sentence: what it is.
    pub summary: &'static str,
    /// What it needs beyond expression and conditions.
    pub needs: &'static [Input],
    /// What it can use besides; anything else is refused.
    pub takes: &'static [Input],
    /// What it gives beyond a latent space.
    pub gives: &'static str,
    /// When to use it.
    pub when: &'static str,
    /// What to cite when it was used, its own work first; a DOI stands at the end, after `doi:`.
    pub cite: &'static [&'static str],
    /// What the expression values must be, under these settings.
    pub values: fn(config: &Value) -> Kind,
    /// How a reference is fitted.
    pub training: Training,
    /// How a query is fitted.
    pub mapping: Training,
    /// Settings that surgery changes unless the user says otherwise.
    pub mapping_settings: fn() -> Value,
    /// How the published code fits a reference and a query.
    pub published_training: (Training, Training),
    /// Settings with which it does what the published code does.
    pub published_settings: fn() -> Value,
    /// Settings that make it small, for the conformance suite ([`crate::conformance`]); without dropout.
    pub small: fn() -> Value,
    /// Makes one; missing settings take their defaults.
    pub build: Build,
}

/// What a model may read besides expression and conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Gene programs.
    Programs,
    /// Cell labels.
    Labels,
    /// Protein counts.
    Proteins,
    /// Further covariates, categorical or continuous.
    Covariates,
}

impl Input {
    /// All of them.
    pub const ALL: [Input; 4] = [Input::Programs, Input::Labels, Input::Proteins, Input::Covariates];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Input::Programs => "gene programs",
            Input::Labels => "cell labels",
            Input::Proteins => "protein counts",
            Input::Covariates => "further covariates",
        }
    }

    /// How to give it.
    fn remedy(self) -> &'static str {
        match self {
            Input::Programs => "give a GMT file whose genes are among the data's",
            Input::Labels => "name a column of obs in which cells have labels",
            Input::Proteins => "name the entry of obsm with protein counts",
            Input::Covariates => "name columns of obs with covariates",
        }
    }

    fn given(self, header: &Header) -> bool {
        match self {
            Input::Programs => header.n_programs() > 0,
            Input::Labels => !header.labels.is_empty(),
            Input::Proteins => !header.proteins.is_empty(),
            Input::Covariates => !header.covariates.is_empty() || !header.continuous.is_empty(),
        }
    }
}

impl ModelEntry {
    /// A model of counts by its name, which reads expression and conditions alone and is fitted as scVI is; what differs
    /// is set with `..`.
    pub const fn new(name: &'static str, build: Build) -> ModelEntry {
        const fn none() -> fn() -> Value {
            || Value::Object(Map::new())
        }
        ModelEntry {
            name,
            summary: "",
            needs: &[],
            takes: &[],
            gives: "a latent space",
            when: "",
            cite: &[],
            values: |_| Kind::Counts,
            training: Training::REFERENCE,
            mapping: Training::SURGERY,
            mapping_settings: none(),
            published_training: (Training::SCVI, Training::SCVI),
            published_settings: none(),
            small: none(),
            build,
        }
    }

    /// How a query is fitted by a surgery like this: [`ModelEntry::mapping`] when only new conditions' weights train.
    /// What shared layers and new programs learn takes many small steps, as published.
    pub fn mapping_by(&self, granularity: Granularity, new_programs: bool) -> Training {
        if granularity == Granularity::Adaptor && !new_programs {
            return self.mapping;
        }
        let epochs = Epochs::BySteps { steps: 8000, least: 100, most: 1000, most_steps: 60_000 };
        let published = self.published_training.1;
        // New programs grow slowly, while the validation loss stands still for long.
        let early_stopping = published.early_stopping.filter(|_| !new_programs);
        Training { epochs, start_from_data: true, early_stopping, ..published }
    }

    /// How a reference is fitted, by default and by the published code; `started` where it starts from a trained model.
    pub fn fitting(&self, started: bool) -> (Training, Training) {
        let both = (self.training, self.published_training.0);
        if started { (both.0.adopted(), both.1.adopted()) } else { both }
    }

    /// Whether the model reads this.
    pub fn reads(&self, input: Input) -> bool {
        self.needs.contains(&input) || self.takes.contains(&input)
    }

    /// Whether the header has what the model needs and nothing that it would leave unread.
    pub(crate) fn check(&self, header: &Header) -> Result<(), ModelError> {
        for input in Input::ALL {
            let (what, given) = (input.name().to_owned(), input.given(header));
            if !given && self.needs.contains(&input) {
                return Err(ModelError::Needs { model: self.name, what, remedy: input.remedy().into() });
            }
            if given && !self.reads(input) {
                return Err(ModelError::Unread { model: self.name, what });
            }
        }
        Ok(())
    }
}

/// Those of ours.
static OURS: [ModelEntry; 8] = [
    expimap::ENTRY,
    trvae::CVAE,
    trvae::TRVAE,
    scvi::ENTRY,
    scvi::LINEAR,
    scvi::PER_CELL,
    scanvi::ENTRY,
    totalvi::ENTRY,
];

/// Those of users, in the order they were registered.
static THEIRS: RwLock<Vec<&'static ModelEntry>> = RwLock::new(Vec::new());

/// Adds a base model to those there are: files, training, surgery and adaptors then know it by its name.
///
/// # Errors
/// When the name is taken.
pub fn register(entry: ModelEntry) -> Result<&'static ModelEntry, ModelError> {
    let mut theirs = THEIRS.write().unwrap_or_else(PoisonError::into_inner);
    if OURS.iter().chain(theirs.iter().copied()).any(|e| e.name == entry.name) {
        return Err(ModelError::setting(entry.name, "the model's name", "one that no other model has", entry.name));
    }
    let entry: &'static ModelEntry = Box::leak(Box::new(entry));
    theirs.push(entry);
    Ok(entry)
}

/// All base models, those of users last.
pub fn registry() -> Vec<&'static ModelEntry> {
    let theirs = THEIRS.read().unwrap_or_else(PoisonError::into_inner);
    OURS.iter().chain(theirs.iter().copied()).collect()
}

/// The base model of that name.
///
/// # Errors
/// When there is none.
pub fn find(name: &str) -> Result<&'static ModelEntry, ModelError> {
    let all = registry();
    all.iter().find(|e| e.name == name).copied().ok_or_else(|| ModelError::UnknownModel {
        name: name.to_owned(),
        known: all.iter().map(|e| e.name).collect::<Vec<_>>().join(", "),
    })
}

/// The names of the models that read this.
pub fn reading(input: Input) -> String {
    registry().iter().filter(|e| e.reads(input)).map(|e| e.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_cites_its_own_work_and_the_mapping() {
        for entry in &OURS {
            assert!(entry.cite.contains(&crate::citations::SCARCHES), "{}", entry.name);
            for work in entry.cite {
                let (text, doi) = work.split_once(" doi:").unwrap_or((work, ""));
                assert!(text.ends_with(").") && !text.contains("  "), "{work}");
                assert!(doi.is_empty() || doi.starts_with("10."), "{work}");
            }
        }
        let first: Vec<&str> = OURS.iter().map(|e| e.cite[0]).collect();
        assert!(first[0].contains("gene programs") && !first[3].contains("gene programs"), "{first:?}");
    }
}
