//! Surgery: grafting a query onto a reference.

use scgraft_cells::Prepared;
use scgraft_engine::{Axis, Key, Param, ParamId};
use serde_json::Value;

use crate::{Input, Membership, Model, ModelError, Origin, Program, Segment};

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

/// A graft, as a user asks for it. What it adds besides is in the data ([`Newcomers`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Surgery {
    /// The name of the graft; unique among the grafts of a reference.
    pub name: String,
    /// What may change.
    pub granularity: Granularity,
    /// New programs, for models that have programs.
    pub programs: Option<NewPrograms>,
    /// Settings that differ from the reference's, merged over its configuration.
    pub settings: Value,
}

/// What a query has that the reference does not know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Newcomers {
    /// Conditions.
    pub conditions: Vec<String>,
    /// Cells, for models that have a vector per cell; the others have no use for them.
    pub cells: Vec<String>,
}

impl Newcomers {
    /// These conditions, and no cells.
    pub fn of<'n>(conditions: impl IntoIterator<Item = &'n str>) -> Newcomers {
        Newcomers { conditions: conditions.into_iter().map(str::to_owned).collect(), cells: Vec::new() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.cells.is_empty()
    }
}

impl Model {
    /// What cells prepared for this model bring that it does not know.
    pub fn newcomers(&self, query: &Prepared) -> Newcomers {
        let conditions = query.condition.levels[query.n_known_conditions..].to_vec();
        if !self.has_cells() {
            return Newcomers { conditions, cells: Vec::new() };
        }
        let known = self.header.cells.len();
        let named = query.cell_identities().into_iter().zip(&query.cell_rows);
        Newcomers { conditions, cells: named.filter(|(_, row)| **row as usize >= known).map(|(c, _)| c).collect() }
    }

    /// Grafts a query on: new rows on the condition axis, new programs, everything else frozen
    /// according to the granularity. The result is to be trained on the query.
    ///
    /// # Errors
    /// When a condition is known already, a name is taken, a setting would change the reference's tensors, or the model
    /// has no programs to add to.
    pub fn surgery(&self, plan: &Surgery, new: &Newcomers, seed: u64) -> Result<Model, ModelError> {
        if let Some(known) = new.conditions.iter().find(|c| self.header.conditions.contains(c)) {
            return Err(ModelError::Surgery(format!("condition `{known}` is known to the reference already")));
        }
        if self.header.grafts.iter().any(|g| g.name == plan.name) {
            return Err(ModelError::Surgery(format!("the model already has a graft named `{}`", plan.name)));
        }
        let obstacle = self.network.facts().adaptor_obstacle;
        if let Some(obstacle) = obstacle.filter(|_| plan.granularity == Granularity::Adaptor) {
            return Err(ModelError::NoAdaptor(obstacle));
        }
        let segments = plan.segments();
        self.check_programs(&segments)?;
        let cells = if self.has_cells() { new.cells.clone() } else { Vec::new() };
        // How many rows each axis gains, one surgery's part after the other.
        let added: Vec<usize> = segments.iter().map(|s| s.programs.len()).collect();
        let gains = |axis: Axis| match axis {
            Axis::Condition => vec![new.conditions.len()],
            Axis::Cell => vec![cells.len()],
            Axis::Latent => added.clone(),
            _ => Vec::new(),
        };
        let mut header = self.header.clone();
        header.known.conditions.extend_from_slice(&new.conditions);
        header.known.cells.extend_from_slice(&cells);
        header.segments.extend_from_slice(&segments);
        header.grafts.push(Origin {
            name: plan.name.clone(),
            conditions: new.conditions.clone(),
            n_programs: added.iter().sum(),
            cells: cells.clone(),
            n_cells: Vec::new(),
            onto: self.header.grafts.iter().filter(|g| g.n_programs > 0).map(|g| g.name.clone()).collect(),
            taken: serde_json::Map::new(),
        });
        let mut config = self.network.config();
        if let (Value::Object(old), Value::Object(new)) = (&mut config, &plan.settings) {
            old.extend(new.clone());
        }
        let mut out = Model::declare(self.entry, &config, header)?;
        out.provenance = self.provenance.clone();
        // Where shared layers train, the reference's cells move.
        out.cells = self.cells.clone().filter(|_| plan.granularity == Granularity::Adaptor);
        out.params.freeze();
        let key = Key::new(seed).fold(1);
        for p in out.params.iter_mut() {
            match self.params.id(&p.name) {
                Some(id) => self.grow(p, id, &gains(p.axes[0]), key)?,
                None => {
                    p.draw(key);
                    p.new_rows = 0..p.rows();
                }
            }
        }
        if let Some(programs) = out.network.programs().filter(|_| !segments.is_empty()) {
            programs.join(&mut out.params);
        }
        out.params.train_only_new();
        match plan.granularity {
            Granularity::Adaptor => {}
            Granularity::FirstLayers => out.params.train_first_layers(),
            Granularity::All => out.params.train_all(),
        }
        let pruned = out.network.programs().map(|p| p.pruned(&out.params)).unwrap_or_default();
        for (id, rows) in pruned {
            let trainable = &mut out.params.get_mut(id).trainable;
            let left = trainable.iter().flat_map(|r| [r.start..r.end.min(rows.start), r.start.max(rows.end)..r.end]);
            *trainable = left.filter(|r| r.start < r.end).collect();
        }
        // Another query's cells, and the reference's, say nothing of this one.
        let new_cells = self.header.cells.len()..out.header.cells.len();
        for p in out.params.iter_mut().filter(|p| p.axes[0] == Axis::Cell && !p.statistic) {
            p.trainable = std::iter::once(new_cells.clone()).filter(|r| !r.is_empty()).collect();
        }
        Ok(out)
    }

    /// Whether programs can be added.
    fn check_programs(&self, segments: &[Segment]) -> Result<(), ModelError> {
        let Some(first) = segments.first() else { return Ok(()) };
        if !self.entry.reads(Input::Programs) {
            return Err(ModelError::Surgery(format!(
                "new programs (`{}`) need a model whose latent dimensions are programs; this one's are not",
                first.programs.first().map_or("", |p| &p.name)
            )));
        }
        let taken = |p: &&Program| self.header.programs().any(|(_, q)| q.name == p.name);
        match segments.iter().flat_map(|s| &s.programs).find(taken) {
            None => Ok(()),
            Some(twice) => Err(ModelError::Surgery(format!(
                "a program named `{}` exists already; give the new one another name",
                twice.name
            ))),
        }
    }

    /// A tensor as it is here, with new rows: `declared` says how many there are to be.
    fn grow(&self, declared: &mut Param, id: ParamId, gains: &[usize], key: Key) -> Result<(), ModelError> {
        let mut grown = self.params.get(id).clone();
        (grown.role, grown.trainable, grown.new_rows) = (declared.role, Vec::new(), 0..0);
        gains.iter().for_each(|&rows| grown.grow(rows, key));
        if grown.shape != declared.shape {
            return Err(ModelError::Surgery(format!(
                "the settings call for `{}` of shape {:?}, the reference has {:?}: a graft cannot change its layers",
                grown.name, declared.shape, grown.shape
            )));
        }
        *declared = grown;
        Ok(())
    }
}

impl Surgery {
    /// New conditions only, adaptors trained.
    pub fn adaptor(name: &str) -> Self {
        Surgery { name: name.to_owned(), granularity: Granularity::Adaptor, programs: None, settings: Value::Null }
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
