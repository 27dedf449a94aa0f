//! A model: names, numbers and the network that joins them; and the surgery that grafts a query on.

use rayon::prelude::*;
use scgraft_cells::{Dense, Prepared};
use scgraft_engine::{Axis, Key, Noise, Params, Tape, Workspace, product};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Batch, EpochRecord, Header, Membership, ModelEntry, ModelError, Network, Origin, Program, Segment, find};

/// A base model with its tensors.
#[derive(Debug)]
pub struct Model {
    /// Which base model it is.
    pub entry: &'static ModelEntry,
    /// Names along the axes.
    pub header: Header,
    /// Every number.
    pub params: Params,
    /// What makes a latent space and a loss of them.
    pub network: Box<dyn Network>,
    /// How training went, epoch by epoch; of a graft, the graft's.
    pub history: Vec<EpochRecord>,
    /// How it came about: program version, settings, data. Free-form, sorted by key.
    pub provenance: serde_json::Map<String, Value>,
}

/// Which weights of a reference a query may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// The new conditions' own weights (and new programs): the reference stays bit-identical.
    Adaptor,
    /// Those, and the first layers of encoder and decoder.
    FirstLayers,
    /// Everything.
    All,
}

/// Programs to add in surgery.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPrograms {
    /// Programs with gene sets.
    pub constrained: Vec<Program>,
    /// Whether those gene sets are soft.
    pub soft: bool,
    /// Number of free programs, named `<graft>_new_<i>`.
    pub n_free: usize,
}

/// A graft: what a query adds to a reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Surgery {
    /// The name of the graft; unique among the grafts of a reference.
    pub name: String,
    /// The conditions that the reference does not know.
    pub conditions: Vec<String>,
    /// What may change.
    pub granularity: Granularity,
    /// New programs, for models that have programs.
    pub programs: Option<NewPrograms>,
    /// Settings that differ from the reference's, merged over its configuration.
    pub settings: Value,
}

/// Cells a task when a whole data set is encoded.
const ENCODE: usize = 256;

impl Model {
    /// A model with freshly drawn tensors; settings left out of `config` take their defaults.
    ///
    /// # Errors
    /// When there is no such model, a setting is wrong, or the header lacks what it needs.
    pub fn new(name: &str, config: &Value, header: Header, seed: u64) -> Result<Self, ModelError> {
        let entry = find(name)?;
        let (params, network) = (entry.build)(config, &header, Key::new(seed))?;
        Ok(Model { entry, header, params, network, history: Vec::new(), provenance: serde_json::Map::new() })
    }

    /// The same model again.
    ///
    /// # Errors
    /// None that [`Model::new`] did not give.
    pub fn duplicate(&self) -> Result<Model, ModelError> {
        self.with_settings(&Value::Null)
    }

    /// The same tensors under other settings, merged over the model's own.
    fn with_settings(&self, settings: &Value) -> Result<Model, ModelError> {
        let mut config = self.network.config();
        if let (Value::Object(old), Value::Object(new)) = (&mut config, settings) {
            old.extend(new.clone());
        }
        let mut out = Model::new(self.entry.name, &config, self.header.clone(), 0)?;
        out.params = self.params.clone();
        out.history = self.history.clone();
        out.provenance = self.provenance.clone();
        Ok(out)
    }

    /// Grafts a query on: new rows on the condition axis, new programs, everything else frozen
    /// according to the granularity. The result is to be trained on the query.
    ///
    /// # Errors
    /// When a condition is known already, a name is taken, or the model has no programs to add to.
    pub fn surgery(&self, plan: &Surgery, seed: u64) -> Result<Model, ModelError> {
        if let Some(known) = plan.conditions.iter().find(|c| self.header.conditions.contains(c)) {
            return Err(ModelError::Surgery(format!("condition `{known}` is known to the reference already")));
        }
        if self.header.grafts.iter().any(|g| g.name == plan.name) {
            return Err(ModelError::Surgery(format!("the model already has a graft named `{}`", plan.name)));
        }
        let key = Key::new(seed).fold(1);
        let mut out = self.with_settings(&plan.settings)?;
        out.network.without_dropout();
        out.history.clear();
        out.params.freeze();
        out.params.grow(Axis::Condition, plan.conditions.len(), key);
        out.header.conditions.extend_from_slice(&plan.conditions);
        let mut n_programs = 0;
        for segment in plan.segments() {
            if let Some(twice) = segment.programs.iter().find(|p| self.header.programs().any(|(_, q)| q.name == p.name))
            {
                return Err(ModelError::Surgery(format!(
                    "a program named `{}` exists already; give the new one another name",
                    twice.name
                )));
            }
            out.network.add_segment(&mut out.params, &segment, self.header.genes.len(), key)?;
            n_programs += segment.programs.len();
            out.header.segments.push(segment);
        }
        out.header.grafts.push(Origin { name: plan.name.clone(), conditions: plan.conditions.clone(), n_programs });
        out.params.train_only_new();
        match plan.granularity {
            Granularity::Adaptor => {}
            Granularity::FirstLayers => {
                for id in out.network.first_layers() {
                    let param = out.params.get_mut(id);
                    param.trainable = std::iter::once(0..param.rows()).collect();
                }
            }
            Granularity::All => out.params.train_all(),
        }
        Ok(out)
    }

    /// Posterior mean and variance of every cell, [cell × latent] each.
    ///
    /// # Panics
    /// When the data was not prepared for this model's genes.
    pub fn latent(&self, data: &Prepared) -> (Dense, Dense) {
        assert_eq!(data.genes, self.header.genes, "data prepared for this model");
        let dims = self.n_latent();
        let (mut means, mut variances) = (Dense::zeros(data.n_cells(), dims), Dense::zeros(data.n_cells(), dims));
        let floor = self.network.variance_floor();
        let tasks = means.values.par_chunks_mut(ENCODE * dims).zip(variances.values.par_chunks_mut(ENCODE * dims));
        tasks.enumerate().for_each_init(
            || (Batch::default(), Workspace::new()),
            |(batch, workspace), (task, (means, variances))| {
                let first = task * ENCODE;
                let rows: Vec<usize> = (first..first + means.len() / dims).collect();
                batch.fill(data, &rows, self.network.input_scale());
                let mut tape = Tape::new(&self.params, workspace, Noise::Zero, false);
                let q = self.network.inference(&mut tape, batch);
                let (m, l) = (tape.value(q.mean), tape.value(q.log_variance));
                for c in 0..rows.len() {
                    for d in 0..dims {
                        means[c * dims + d] = m[d * rows.len() + c];
                        variances[c * dims + d] = l[d * rows.len() + c].exp() + floor;
                    }
                }
                tape.finish();
            },
        );
        (means, variances)
    }

    /// The product of every cell's expression with the encoder's first weights, [cell × hidden]:
    /// what stays the same through a surgery that freezes them. `None` when they train.
    pub fn frozen_product(&self, data: &Prepared) -> Option<Dense> {
        let weight = self.params.get(self.network.input_weight());
        if weight.is_trainable() {
            return None;
        }
        let hidden = weight.row_len();
        let mut out = Dense::zeros(data.n_cells(), hidden);
        out.values.par_chunks_mut(ENCODE * hidden).enumerate().for_each_init(Batch::default, |batch, (task, out)| {
            let first = task * ENCODE;
            let rows: Vec<usize> = (first..first + out.len() / hidden).collect();
            batch.fill(data, &rows, self.network.input_scale());
            product(&batch.x, &weight.values, hidden, out);
        });
        Some(out)
    }

    /// Number of latent dimensions.
    pub fn n_latent(&self) -> usize {
        self.params.iter().find(|p| p.axes[0] == Axis::Latent).map_or(0, |p| p.rows())
    }

    /// The names of the latent dimensions: programs where they are programs.
    pub fn latent_names(&self) -> Vec<String> {
        if self.header.n_programs() > 0 {
            self.header.programs().map(|(_, p)| p.name.clone()).collect()
        } else {
            (0..self.n_latent()).map(|i| format!("latent_{i}")).collect()
        }
    }

    /// What names the reference under all grafts: a hash of its model, settings-independent names and tensors.
    pub fn reference_hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.entry.name);
        for gene in &self.header.genes {
            hash.update(gene);
            hash.update([0]);
        }
        let base = self.base_rows();
        for p in self.params.iter() {
            let rows = match p.axes[0] {
                Axis::Condition => base.0,
                Axis::Latent => base.1,
                _ if self.grafted_tensor(&p.name).is_some() => continue,
                _ => p.rows(),
            };
            hash.update(&p.name);
            for v in &p.values[..rows * p.row_len()] {
                hash.update(v.to_le_bytes());
            }
        }
        hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
    }

    /// Rows of the condition and latent axes that are the reference's.
    pub(crate) fn base_rows(&self) -> (usize, usize) {
        let programs: usize = self.header.grafts.iter().map(|g| g.n_programs).sum();
        (self.header.n_reference_conditions(), self.n_latent() - programs)
    }

    /// The graft that a whole tensor belongs to.
    pub(crate) fn grafted_tensor(&self, name: &str) -> Option<&str> {
        self.header.segments.iter().find(|s| s.tensor() == name).and_then(|s| s.origin.as_deref())
    }
}

impl Surgery {
    /// A graft of new conditions only, adaptors trained.
    pub fn adaptor(name: &str, conditions: Vec<String>) -> Self {
        Surgery {
            name: name.to_owned(),
            conditions,
            granularity: Granularity::Adaptor,
            programs: None,
            settings: Value::Null,
        }
    }

    /// The segments it adds: constrained programs first, free ones last.
    fn segments(&self) -> Vec<Segment> {
        let Some(new) = &self.programs else { return Vec::new() };
        let origin = Some(self.name.clone());
        let mut out = Vec::new();
        if !new.constrained.is_empty() {
            let membership = if new.soft { Membership::Soft } else { Membership::Hard };
            out.push(Segment { origin: origin.clone(), membership, programs: new.constrained.clone() });
        }
        if new.n_free > 0 {
            let named = |i| Program { name: format!("{}_new_{i}", self.name), members: Vec::new() };
            let programs = (1..=new.n_free).map(named).collect();
            out.push(Segment { origin, membership: Membership::Free, programs });
        }
        out
    }
}
