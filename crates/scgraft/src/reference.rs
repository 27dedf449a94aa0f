//! A reference: genes and programs are chosen, cells prepared, a model is trained on them.

use scgraft_cells::{
    Array, Cells, Column, ConditionSource, DropReason, DroppedProgram, GeneChoice, GenePrograms, GeneSet, HvgFlavor,
    HvgOptions, Kind, PrepareOptions, Prepared, ProgramOptions, Setting, choose_genes, counted, highly_variable, log1p,
    normalize_total, shortened,
};
use scgraft_io::PROTEIN_SLOT;
use scgraft_models::{Header, Input, Membership, Model, Program, Segment, find};
use scgraft_train::{FitReport, Progress, TrainConfig, fit};
use serde_json::Value;

use crate::Error;
use crate::programs::say_lost_sets;
use crate::query::{GENE_NAMES, TAKEN, say, taken, usual_proteins};
use crate::settings::complete;

/// How a reference is trained. The defaults are those of the expiMap paper.
#[derive(Clone, Debug)]
pub struct ReferencePlan {
    /// The base model's name.
    pub model: String,
    /// Its settings, by name; those left out take the model's defaults.
    pub settings: Value,
    /// What to take from the data.
    pub prepare: PrepareOptions,
    /// Which genes and programs.
    pub genes: Genes,
    /// How gene sets bind: [`Membership::Hard`] or [`Membership::Soft`].
    pub membership: Membership,
    /// Programs without gene set beside them, named `free_1`, …: any gene may have a weight, held down by L1, and HSIC keeps
    /// them apart from the others. Chosen genes in no program are then kept.
    pub n_free: usize,
    /// How it is fitted.
    pub train: TrainConfig,
}

/// Which genes a reference is trained on.
#[derive(Clone, Debug)]
pub enum Genes {
    /// Those in programs, then the most variable of them.
    Chosen(GeneChoice),
    /// These; programs of the given sizes are laid over them.
    Listed(Vec<String>, ProgramOptions),
}

impl Default for ReferencePlan {
    fn default() -> Self {
        let variable = Some(HvgOptions { flavor: HvgFlavor::Seurat, ..HvgOptions::default() });
        ReferencePlan {
            model: "expimap".into(),
            settings: Value::Object(serde_json::Map::new()),
            prepare: PrepareOptions::default(),
            genes: Genes::Chosen(GeneChoice { variable, ..GeneChoice::default() }),
            membership: Membership::Hard,
            n_free: 0,
            train: TrainConfig::default(),
        }
    }
}

impl ReferencePlan {
    /// A model with its own defaults, for so many cells.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn new(model: &str, prepare: PrepareOptions, n_cells: usize) -> Result<Self, Error> {
        let entry = find(model)?;
        let settings = Value::Object(serde_json::Map::new());
        let prepare = PrepareOptions { kind: (entry.values)(&settings), ..prepare };
        let train = TrainConfig::of(&entry.training, n_cells);
        Ok(ReferencePlan { model: model.to_owned(), settings, prepare, train, ..ReferencePlan::default() })
    }

    /// Starts from a trained model: its genes, with programs of these sizes over them; its settings where the plan has none.
    pub fn start_from(&mut self, start: &Model, sizes: ProgramOptions) {
        complete(&mut self.settings, start.network.config());
        self.genes = Genes::Listed(start.header.genes.clone(), sizes);
    }
}

/// A trained reference with the cells it was trained on.
#[derive(Debug)]
pub struct Reference {
    /// The model.
    pub model: Model,
    /// The cells as the model took them.
    pub prepared: Prepared,
    /// How training went.
    pub report: FitReport,
}

/// Prepares a reference and trains it, from the start or from a trained model that the plan
/// [starts from](ReferencePlan::start_from). `sets` may be empty for models without gene programs.
///
/// The model remembers how it came about ([`Model::provenance`]): how many cells, which slot and columns, how it was fitted.
///
/// # Errors
/// Of [`prepare_reference`], [`Model::new`], [`Model::adopt`] and [`fit`].
pub fn train_reference(
    cells: &Cells,
    sets: &[GeneSet],
    start: Option<&Model>,
    plan: &ReferencePlan,
    progress: &mut dyn Progress,
) -> Result<Reference, Error> {
    let (prepared, programs) = prepare_reference(cells, sets, plan)?;
    say(&prepared);
    let of_programs = match (&programs, sets.len()) {
        (Some(programs), given) if given > 0 => format!(", {} of {given} programs", programs.names.len()),
        _ => String::new(),
    };
    if let Some(turned) = programs.as_ref().and_then(|p| p.turned.as_ref()) {
        tracing::info!("gene sets: {turned}");
    }
    let dropped = programs.as_ref().map(|p| p.dropped.clone()).unwrap_or_default();
    if !dropped.is_empty() {
        tracing::info!("{} left out: {}", counted(dropped.len(), "gene set is", "gene sets are"), left_out(&dropped));
    }
    let conditions = prepared.condition.levels.join(", ");
    tracing::info!("{} genes{of_programs}; conditions: {conditions}", prepared.n_genes());
    if prepared.condition.levels.len() == 1 && start.is_none() {
        tracing::warn!(
            "the reference is one condition: it cannot learn how studies differ, and takes queries in less well than one of \
             several studies"
        );
    }
    let entry = find(&plan.model)?;
    if plan.n_free > 0 && !entry.reads(Input::Programs) {
        return Err(Error::NoPrograms { model: entry.name });
    }
    if plan.n_free > prepared.n_genes() {
        return Err(Error::Beyond { name: "free", value: plan.n_free.to_string(), most: prepared.n_genes() });
    }
    let header = header(&prepared, programs, plan.membership, plan.n_free);
    let new = |settings| Model::new(&plan.model, settings, header.clone(), plan.train.seed);
    let mut model = match (new(&plan.settings), start) {
        (Err(_), Some(start)) if new(&start.network.config()).is_err() => {
            return Err(Error::OtherStart { model: entry.name, start: start.entry.name });
        }
        (made, _) => made?,
    };
    if let Some(start) = start {
        let taken = model.adopt(start)?;
        tracing::info!("{taken} tensors taken over from {}", start.entry.name);
    }
    let report = fit(&mut model, &prepared, &plan.train, progress)?;
    describe(&mut model, plan, &prepared, &report, &dropped);
    say_lost_sets(&model, None)?;
    Ok(Reference { model, prepared, report })
}

/// Writes into the model how it came about; nothing that differs between runs of the same settings.
fn describe(
    model: &mut Model,
    plan: &ReferencePlan,
    prepared: &Prepared,
    report: &FitReport,
    dropped: &[DroppedProgram],
) {
    let p = &mut model.provenance;
    p.insert(CONDITION_CELLS.into(), condition_cells(prepared, &model.header.conditions).into());
    if let Some(labels) = &prepared.labels {
        let sizes =
            labels.levels.iter().zip(0u32..).map(|(_, l)| labels.codes.iter().filter(|c| **c == Some(l)).count());
        p.insert(LABEL_CELLS.into(), sizes.collect::<Vec<_>>().into());
    }
    if !dropped.is_empty() {
        let told = dropped.iter().map(|d| format!("{}: {} of {} genes", d.name, d.n_found, d.n_genes));
        p.insert(DROPPED.into(), told.collect::<Vec<_>>().into());
    }
    p.insert("scgraft".into(), env!("CARGO_PKG_VERSION").into());
    p.insert("cells".into(), prepared.n_cells().into());
    p.insert("values".into(), plan.prepare.slot.to_string().into());
    let columns = match &plan.prepare.condition {
        ConditionSource::Columns(columns) => columns.clone(),
        ConditionSource::Constant(_) => Vec::new(),
    };
    p.insert(CONDITION_COLUMNS.into(), columns.into());
    if !plan.prepare.gene_names.is_empty() {
        p.insert(GENE_NAMES.into(), plan.prepare.gene_names.to_string().into());
    }
    let taken = taken(&plan.prepare);
    if !taken.is_empty() {
        p.insert(TAKEN.into(), taken.into());
    }
    if let Some(column) = &plan.prepare.label {
        p.insert(LABEL_COLUMN.into(), column.clone().into());
    }
    if let Some(proteins) = plan.prepare.proteins.as_ref().filter(|p| p.obsm != PROTEIN_SLOT) {
        p.insert("protein_slot".into(), proteins.obsm.clone().into());
    }
    p.insert("best_epoch".into(), (report.best_epoch as i64 - 1).into());
    if let Ok(config) = serde_json::to_value(&plan.train) {
        p.insert("training".into(), config);
    }
}

/// Gene sets that became no programs, in words: the reason, and those that were nearest to staying.
fn left_out(dropped: &[DroppedProgram]) -> String {
    let mut few: Vec<_> = dropped.iter().filter(|d| matches!(d.reason, DropReason::TooFew { .. })).collect();
    let mut many: Vec<_> = dropped.iter().filter(|d| matches!(d.reason, DropReason::TooMany { .. })).collect();
    few.sort_by_key(|d| std::cmp::Reverse(d.n_found));
    many.sort_by_key(|d| d.n_found);
    let told = [few, many].into_iter().filter_map(|some| {
        let limit = match some.first()?.reason {
            DropReason::TooFew { min_genes } => format!("fewer than {min_genes}"),
            DropReason::TooMany { max_genes } => format!("more than {max_genes}"),
        };
        let names: Vec<String> = some.iter().map(|d| format!("{} ({} of {})", d.name, d.n_found, d.n_genes)).collect();
        Some(format!("{limit} of their genes are among those chosen: {}", shortened(&names, names.len())))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Cells of each of these conditions.
pub(crate) fn condition_cells(prepared: &Prepared, conditions: &[String]) -> Vec<usize> {
    let of = |name: &String| {
        let code = prepared.condition.levels.iter().position(|l| l == name);
        prepared.condition.codes.iter().filter(|c| Some(**c as usize) == code).count()
    };
    conditions.iter().map(of).collect()
}

/// Provenance: how many cells each condition of the reference has, in the order of the header.
pub const CONDITION_CELLS: &str = "condition_cells";
/// Provenance: how many cells each of its labels has.
pub const LABEL_CELLS: &str = "label_cells";
/// Provenance: the gene sets that had too few or too many genes to be programs, and how many.
pub const DROPPED: &str = "dropped_programs";

/// Cells of each condition of a model, and of each label; `None` where the model does not know (of imported models, and where
/// a condition came with an adaptor made before they were counted).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Of each condition, in the header's order.
    pub conditions: Vec<Option<usize>>,
    /// Of each label of the reference, in the header's order.
    pub labels: Vec<Option<usize>>,
}

impl Sizes {
    /// What a model knows of the cells that it was made of.
    pub fn of(model: &Model) -> Sizes {
        let noted = |name: &str| -> Vec<Option<usize>> {
            let list = model.provenance.get(name).and_then(Value::as_array);
            list.into_iter().flatten().map(|n| n.as_u64().map(|n| n as usize)).collect()
        };
        let h = &model.header;
        let mut conditions = noted(CONDITION_CELLS);
        conditions.resize(h.n_reference_conditions(), None);
        for graft in &h.grafts {
            conditions.extend((0..graft.conditions.len()).map(|i| graft.n_cells.get(i).copied()));
        }
        let mut labels = noted(LABEL_CELLS);
        labels.resize(h.labels.len(), None);
        Sizes { conditions, labels }
    }
}

/// The gene sets that had too few or too many genes to be programs of a model, each with how many.
pub fn dropped_programs(model: &Model) -> Vec<String> {
    let list = model.provenance.get(DROPPED).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Provenance: the columns of obs that the reference's conditions are from.
pub(crate) const CONDITION_COLUMNS: &str = "condition_columns";
/// The columns of obs that the conditions of a model's reference are from; none where all cells were given one condition.
pub fn condition_columns(model: &Model) -> Vec<String> {
    let columns = model.provenance.get(CONDITION_COLUMNS).and_then(Value::as_array);
    columns.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Provenance: the column of obs that the reference's labels are from.
pub(crate) const LABEL_COLUMN: &str = "label_column";

/// Chooses genes and programs, and prepares the cells for them.
///
/// # Errors
/// Of [`choose_genes`], [`GenePrograms::new`] and [`Prepared::reference`].
pub fn prepare_reference(
    cells: &Cells,
    sets: &[GeneSet],
    plan: &ReferencePlan,
) -> Result<(Prepared, Option<GenePrograms>), Error> {
    let plan = &ReferencePlan { prepare: usual_proteins(&plan.prepare, find(&plan.model)?, cells), ..plan.clone() };
    let entry = find(&plan.model)?;
    if entry.needs.contains(&Input::Proteins) && plan.prepare.proteins.is_none() {
        let there: Vec<String> =
            cells.obsm.iter().filter(|(_, array)| holds_counts(array)).map(|(key, _)| key.clone()).collect();
        let settings = there.first().map(|key| Setting::to("proteins", key)).into_iter().collect();
        return Err(Error::NoProteins { model: entry.name, usual: PROTEIN_SLOT, there, settings });
    }
    let (genes, programs) = match &plan.genes {
        Genes::Listed(genes, _) if sets.is_empty() => (Some(genes.clone()), None),
        Genes::Listed(genes, sizes) => {
            let (sets, turned) = plan.prepare.name_sets(sets, genes)?;
            let programs = GenePrograms { turned, ..GenePrograms::new(&sets, genes, sizes)? };
            (Some(genes.clone()), Some(programs))
        }
        Genes::Chosen(choice) if sets.is_empty() => (variable_genes(cells, plan, choice)?, None),
        Genes::Chosen(choice) => {
            // Free programs are there for the genes that gene sets do not have.
            let keep_outside_programs = choice.keep_outside_programs || plan.n_free > 0;
            let choice = &GeneChoice { keep_outside_programs, ..choice.clone() };
            let (genes, programs) = choose_genes(cells, sets, &plan.prepare, choice)?;
            (Some(genes), Some(programs))
        }
    };
    Ok((Prepared::reference(cells, genes.as_deref(), &plan.prepare)?, programs))
}

/// Whether all values of an array are whole and none is negative, as counts are.
fn holds_counts(array: &Array) -> bool {
    let is_count = |v: f64| v.is_nan() || v >= 0.0 && v.fract() == 0.0;
    match array {
        Array::Dense(m) => m.values.iter().all(|&v| is_count(f64::from(v))),
        Array::Sparse(m) => m.values.iter().all(|&v| is_count(f64::from(v))),
        Array::Frame(f) => {
            let counts = |c: &Column| (0..c.len()).all(|i| c.number(i).is_some_and(is_count));
            !f.columns.is_empty() && f.columns.iter().all(|(_, c)| counts(c))
        }
    }
}

/// The most variable of all genes, in the data's order; `None` for all of them.
fn variable_genes(cells: &Cells, plan: &ReferencePlan, choice: &GeneChoice) -> Result<Option<Vec<String>>, Error> {
    let Some(options) = &choice.variable else { return Ok(None) };
    let all = Prepared::reference(cells, None, &plan.prepare)?;
    let on_counts = matches!(options.flavor, HvgFlavor::SeuratV3 | HvgFlavor::SeuratV3Paper);
    let batches = (all.condition.levels.len() > 1).then_some(&all.condition);
    let expression = all.expression.whole()?;
    let chosen = if on_counts || all.kind == Kind::LogNormalised {
        highly_variable(&expression, batches, options)?.chosen
    } else {
        highly_variable(&log1p(&normalize_total(&expression, Some(1e4))), batches, options)?.chosen
    };
    Ok(Some(chosen.into_iter().map(|g| all.genes[g as usize].clone()).collect()))
}

/// What a model of these cells, programs, and so many free programs knows.
pub fn header(prepared: &Prepared, programs: Option<GenePrograms>, membership: Membership, n_free: usize) -> Header {
    let segment = programs.map(|p| {
        let programs = p.names.into_iter().zip(p.members).map(|(name, members)| Program { name, members }).collect();
        Segment { origin: None, membership, programs }
    });
    let free = (n_free > 0).then(|| {
        let programs = (1..=n_free).map(|i| Program { name: format!("free_{i}"), members: Vec::new() }).collect();
        Segment { origin: None, membership: Membership::Free, programs }
    });
    Header { known: prepared.known(), segments: segment.into_iter().chain(free).collect(), grafts: Vec::new() }
}
