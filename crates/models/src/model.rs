//! A model: names, numbers and the network that joins them.

use std::ops::Range;

use rayon::prelude::*;
use scgraft_cells::{Coded, Dense, Kind, Prepared, Steps};
use scgraft_engine::{Axis, InputScale, Key, Noise, ParamId, Params, Tape, Workspace, product};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::size::{check_declared, check_most};
use crate::{
    Batch, EpochRecord, Header, ModelEntry, ModelError, Network, Origin, ReferenceCells, VARIANCE_FLOOR, find,
};

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
    /// The reference's cells, without their counts, where the model brings them: in the reference's latent dimensions.
    pub cells: Option<ReferenceCells>,
    /// How it came about: program version, settings, data. Free-form, sorted by key.
    pub provenance: serde_json::Map<String, Value>,
}

/// Cells a task when a whole data set is encoded.
const ENCODE: usize = 128;

/// The epoch, from 0, whose state the last fit kept, by what a provenance notes: of a mapped query, that of its mapping.
pub fn kept_epoch(noted: impl Fn(&'static str) -> Option<i64>) -> Option<usize> {
    noted("query_best_epoch").or_else(|| noted("best_epoch")).and_then(|epoch| usize::try_from(epoch).ok())
}

impl Model {
    /// A model with freshly drawn tensors; settings left out of `config` take their defaults.
    ///
    /// # Errors
    /// When there is no such model, a setting is wrong, or the header lacks what it needs.
    pub fn new(name: &str, config: &Value, header: Header, seed: u64) -> Result<Self, ModelError> {
        let mut out = Model::declare(find(name)?, config, header)?;
        out.params.draw(Key::new(seed));
        Ok(out)
    }

    /// A model whose tensors are still to be given values.
    pub(crate) fn declare(entry: &'static ModelEntry, config: &Value, mut header: Header) -> Result<Self, ModelError> {
        entry.check(&header)?;
        header.check().map_err(|what| ModelError::Names { model: entry.name, what })?;
        check_most(entry.name, config, &header)?;
        let (params, network) = (entry.build)(config, &header)?;
        check_declared(entry.name, params.n_values())?;
        if !params.iter().any(|p| p.axes[0] == Axis::Cell) {
            header.known.cells.clear();
        }
        let (history, provenance) = (Vec::new(), serde_json::Map::new());
        Ok(Model { entry, header, params, network, history, cells: None, provenance })
    }

    /// The same model again.
    ///
    /// # Errors
    /// None that [`Model::new`] did not give.
    pub fn duplicate(&self) -> Result<Model, ModelError> {
        let mut out = Model::declare(self.entry, &self.network.config(), self.header.clone())?;
        for p in out.params.iter_mut() {
            if let Some(id) = self.params.id(&p.name) {
                *p = self.params.get(id).clone();
            }
        }
        out.history = self.history.clone();
        out.provenance = self.provenance.clone();
        out.cells = self.cells.clone();
        Ok(out)
    }

    /// The epoch of its history, from 0, whose state it has; `None` where no epoch was better than the start.
    pub fn kept_epoch(&self) -> Option<usize> {
        kept_epoch(|key| self.provenance.get(key)?.as_i64())
    }

    /// A pass over the model's tensors. In a graft nothing is dropped, whatever the reference was trained with: what is
    /// frozen has to stay the same function.
    pub fn tape<'a>(&'a self, workspace: &'a mut Workspace, noise: Noise, training: bool) -> Tape<'a> {
        let tape = Tape::new(&self.params, workspace, noise, training);
        if self.header.grafts.is_empty() { tape } else { tape.without_dropout() }
    }

    /// What the encoder reads.
    pub fn input_scale(&self) -> InputScale {
        self.network.facts().input_scale
    }

    /// Takes over every tensor of a trained model that this one has too, by name and shape: a scANVI starts from a scVI
    /// of the same settings. Returns how many.
    ///
    /// # Errors
    /// When genes or conditions differ, or no tensor fits.
    pub fn adopt(&mut self, trained: &Model) -> Result<usize, ModelError> {
        let (own, other) = (&self.header, &trained.header);
        if own.genes != other.genes || own.conditions != other.conditions {
            return Err(ModelError::Output(format!(
                "a model of {} genes and conditions {} cannot start from one of {} genes and conditions {}; they must be \
                 the same",
                own.genes.len(),
                own.conditions.join(", "),
                other.genes.len(),
                other.conditions.join(", ")
            )));
        }
        let mut taken = 0;
        for p in self.params.iter_mut() {
            let Some(q) = trained.params.id(&p.name).map(|id| trained.params.get(id)) else { continue };
            if q.axes == p.axes && q.shape == p.shape {
                p.write().copy_from_slice(q.values());
                taken += 1;
            }
        }
        if taken == 0 {
            return Err(ModelError::Output(format!(
                "a {} has no tensor in common with a {} of these settings",
                self.entry.name, trained.entry.name
            )));
        }
        Ok(taken)
    }

    /// Whether the cells were prepared for this model.
    ///
    /// # Errors
    /// When genes, conditions, labels, covariates, proteins or the kind of values are not the model's, or a cell
    /// has no vector in a model with a vector per cell.
    pub fn check(&self, data: &Prepared) -> Result<(), ModelError> {
        const REMEDY: &str = "prepare the cells for this model, and map those of new conditions first";
        let h = &self.header;
        let fits = |what: &'static str, found: &[String], expected: &[String]| {
            if expected.starts_with(found) {
                return Ok(());
            }
            let told = |names: &[String]| match names.len() {
                0..=20 => names.join(", "),
                n => format!("{}, … ({n} in all)", names[..5].join(", ")),
            };
            Err(ModelError::Data { what, found: told(found), expected: told(expected), remedy: REMEDY })
        };
        if data.n_genes() != h.genes.len() {
            let (found, expected) = (data.n_genes().to_string(), h.genes.len().to_string());
            return Err(ModelError::Data { what: "genes:", found, expected, remedy: REMEDY });
        }
        fits("the genes", &data.genes, &h.genes)?;
        fits("the conditions", &data.condition.levels, &h.conditions)?;
        let names = |c: &[(String, Coded)]| c.iter().map(|c| c.0.clone()).collect::<Vec<_>>();
        fits(
            "the covariates",
            &names(&data.covariates),
            &h.covariates.iter().map(|c| c.0.clone()).collect::<Vec<_>>(),
        )?;
        for ((_, found), (_, expected)) in data.covariates.iter().zip(&h.covariates) {
            fits("a covariate with the levels", &found.levels, expected)?;
        }
        let continuous: Vec<String> = data.continuous.iter().map(|c| c.0.clone()).collect();
        fits("the continuous covariates", &continuous, &h.continuous)?;
        if let Some(labels) = data.labels.as_ref().filter(|_| !h.labels.is_empty()) {
            fits("the labels", &labels.levels, &h.labels)?;
        }
        match &data.proteins {
            _ if h.proteins.is_empty() => {}
            Some(proteins) => fits("the proteins", &proteins.names, &h.proteins)?,
            None => {
                let remedy = "prepare the cells for this model: proteins that they lack are then 0";
                let (found, expected) = ("none".into(), "has proteins".into());
                return Err(ModelError::Data { what: "proteins:", found, expected, remedy });
            }
        }
        if data.kind != self.values() {
            let told = |k: Kind| match k {
                Kind::Counts => "raw counts".to_owned(),
                Kind::LogNormalised => "log-normalised values".to_owned(),
            };
            let (found, expected) = (told(data.kind), told(self.values()));
            let remedy = "choose the likelihood that fits the values";
            return Err(ModelError::Data { what: "as values", found, expected, remedy });
        }
        if self.has_cells() && data.cell_rows.iter().any(|&r| r as usize >= h.cells.len()) {
            let (found, expected) = (data.n_cells().to_string(), h.cells.len().to_string());
            let remedy = "this model has a vector for each cell it was trained on: map new cells first";
            return Err(ModelError::Data { what: "some that are new, of", found, expected, remedy });
        }
        self.network.statistics().map_or(Ok(()), |s| s.accepts(data))
    }

    /// What the expression values must be.
    pub fn values(&self) -> Kind {
        (self.entry.values)(&self.network.config())
    }

    /// Whether the model has a vector per cell instead of an encoder.
    pub fn has_cells(&self) -> bool {
        self.params.iter().any(|p| p.axes[0] == Axis::Cell)
    }

    /// Sets what is read off the data before training ([`crate::Statistics`]), for the conditions that were added last.
    ///
    /// # Errors
    /// When the data lacks what is read.
    pub fn read_data(&mut self, data: &Prepared) -> Result<(), ModelError> {
        let conditions = self.header.latest_conditions();
        self.network.statistics().map_or(Ok(()), |s| s.read(&mut self.params, data, conditions))
    }

    /// Posterior mean and variance of every cell, [cell × latent] each.
    ///
    /// # Errors
    /// Of [`Model::check`].
    pub fn latent(&self, data: &Prepared) -> Result<(Dense, Dense), ModelError> {
        self.check(data)?;
        let dims = self.n_latent();
        let (mut means, mut variances) = (Dense::zeros(data.n_cells(), dims), Dense::zeros(data.n_cells(), dims));
        let tasks = means.values.par_chunks_mut(ENCODE * dims).zip(variances.values.par_chunks_mut(ENCODE * dims));
        let steps = Steps::new("encoding cells", tasks.len());
        tasks.enumerate().try_for_each_init(
            || (Batch::default(), Workspace::new()),
            |(batch, workspace), (task, (means, variances))| {
                let first = task * ENCODE;
                let rows: Vec<usize> = (first..first + means.len() / dims).collect();
                batch.fill_inputs(data, &rows, self.input_scale())?;
                let mut tape = self.tape(workspace, Noise::Zero, false);
                let q = self.network.inference(&mut tape, batch);
                let variance = tape.posterior_variance(q.log_variance, VARIANCE_FLOOR);
                by_cell(tape.value(q.mean), rows.len(), means);
                by_cell(tape.value(variance), rows.len(), variances);
                tape.finish();
                steps.done();
                Ok::<(), ModelError>(())
            },
        )?;
        Ok((means, variances))
    }

    /// The products of every cell's expression with each frozen weight that multiplies it, [cell × hidden]: what
    /// stays the same through a surgery that freezes them. None where they take more than so many bytes, 4 per cell and
    /// hidden unit of each weight: then a step computes them anew, to the same bits.
    ///
    /// # Errors
    /// When the expression cannot be read.
    pub fn frozen_products(&self, data: &Prepared, most_bytes: usize) -> Result<Vec<(ParamId, Dense)>, ModelError> {
        let frozen = |id: &ParamId| !self.params.get(*id).is_trainable();
        let weights: Vec<ParamId> = self.params.reading_expression().filter(frozen).collect();
        let units: usize = weights.iter().map(|&id| self.params.get(id).row_len()).sum();
        if data.n_cells().saturating_mul(4 * units) > most_bytes {
            return Ok(Vec::new());
        }
        let one = |id: ParamId| {
            let weight = self.params.get(id);
            let hidden = weight.row_len();
            let mut out = Dense::zeros(data.n_cells(), hidden);
            out.values.par_chunks_mut(ENCODE * hidden).enumerate().try_for_each_init(
                Batch::default,
                |batch, (task, out)| {
                    let first = task * ENCODE;
                    let rows: Vec<usize> = (first..first + out.len() / hidden).collect();
                    batch.fill_inputs(data, &rows, self.input_scale())?;
                    product(&batch.x, weight.values(), hidden, out);
                    Ok::<(), ModelError>(())
                },
            )?;
            Ok((id, out))
        };
        weights.into_iter().map(one).collect()
    }

    /// Whether every weight that multiplies the expression is frozen, or there is none: then the encoder reads the same of
    /// a cell in every step.
    pub fn reads_frozen(&self) -> bool {
        self.params.reading_expression().all(|id| !self.params.get(id).is_trainable())
    }

    /// Number of latent dimensions.
    pub fn n_latent(&self) -> usize {
        let axes = self.params.iter().flat_map(|p| p.axes.iter().zip(&p.shape));
        axes.into_iter().find(|(axis, _)| **axis == Axis::Latent).map_or(0, |(_, &n)| n)
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
        let base = self.base();
        for p in self.params.iter() {
            if self.grafted_tensor(&p.name).is_some() {
                continue;
            }
            let rows = base.rows(p.axes[0]).unwrap_or(p.rows());
            hash.update(&p.name);
            for v in &p.values()[..rows * p.row_len()] {
                hash.update(v.to_le_bytes());
            }
        }
        hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
    }

    /// How much of each axis that grows is the reference's.
    pub(crate) fn base(&self) -> Base {
        let grafts = &self.header.grafts;
        Base {
            conditions: self.header.n_reference_conditions(),
            latent: self.n_latent() - grafts.iter().map(|g| g.n_programs).sum::<usize>(),
            cells: self.header.cells.len() - grafts.iter().map(|g| g.cells.len()).sum::<usize>(),
        }
    }

    /// The graft that a whole tensor belongs to.
    pub(crate) fn grafted_tensor(&self, name: &str) -> Option<&str> {
        self.header.segments.iter().find(|s| s.tensor() == name).and_then(|s| s.origin.as_deref())
    }
}

/// [dimension × cell] to [cell × dimension].
fn by_cell(values: &[f32], cells: usize, out: &mut [f32]) {
    let dims = values.len() / cells;
    for (d, row) in values.chunks_exact(cells).enumerate() {
        out[d..].iter_mut().step_by(dims).zip(row).for_each(|(o, &v)| *o = v);
    }
}

/// Rows of the axes that grow in surgery.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) conditions: usize,
    pub(crate) latent: usize,
    pub(crate) cells: usize,
}

impl Base {
    /// The number of rows of an axis; `None` for one that does not grow.
    pub(crate) fn rows(&self, axis: Axis) -> Option<usize> {
        match axis {
            Axis::Condition => Some(self.conditions),
            Axis::Latent => Some(self.latent),
            Axis::Cell => Some(self.cells),
            _ => None,
        }
    }

    /// The rows that a graft has, when its predecessors end at `self`; and moves on past it.
    pub(crate) fn pass(&mut self, graft: &Origin) -> impl Fn(Axis) -> Option<Range<usize>> + use<> {
        let start = self.clone();
        self.conditions += graft.conditions.len();
        self.latent += graft.n_programs;
        self.cells += graft.cells.len();
        let end = self.clone();
        move |axis| start.rows(axis).zip(end.rows(axis)).map(|(from, to)| from..to)
    }
}
