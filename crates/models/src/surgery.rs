//! Surgery: grafting a query onto a reference.

use scgraft_engine::{Axis, Key};
use serde_json::Value;

use crate::{Membership, Model, ModelError, Origin, Program, Segment};

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
    /// The cells that it does not know, for models that have a vector per cell; the others have no use for them.
    pub cells: Vec<String>,
    /// What may change.
    pub granularity: Granularity,
    /// New programs, for models that have programs.
    pub programs: Option<NewPrograms>,
    /// Settings that differ from the reference's, merged over its configuration.
    pub settings: Value,
}

impl Model {
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
        if let Some(obstacle) = self.network.adaptor_obstacle().filter(|_| plan.granularity == Granularity::Adaptor) {
            return Err(ModelError::Surgery(obstacle.into()));
        }
        let key = Key::new(seed).fold(1);
        let mut out = self.with_settings(&plan.settings)?;
        out.network.without_dropout();
        out.history.clear();
        out.params.freeze();
        out.params.grow(Axis::Condition, plan.conditions.len(), key);
        out.header.conditions.extend_from_slice(&plan.conditions);
        let cells = if self.has_cells() { plan.cells.clone() } else { Vec::new() };
        out.params.grow(Axis::Cell, cells.len(), key);
        out.header.cells.extend_from_slice(&cells);
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
        let (name, conditions) = (plan.name.clone(), plan.conditions.clone());
        let onto = self.header.grafts.iter().filter(|g| g.n_programs > 0).map(|g| g.name.clone()).collect();
        out.header.grafts.push(Origin { name, conditions, n_programs, cells, onto });
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
        for id in out.network.stays_frozen() {
            out.params.get_mut(id).trainable.clear();
        }
        for (id, rows) in out.network.frozen_rows(&out.params) {
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
}

impl Surgery {
    /// A graft of new conditions only, adaptors trained.
    pub fn adaptor(name: &str, conditions: Vec<String>) -> Self {
        Surgery {
            name: name.to_owned(),
            conditions,
            cells: Vec::new(),
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
