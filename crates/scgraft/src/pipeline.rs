//! The whole story: prepare → train → graft → annotate → enrich.
//!
//! Every step takes plain values and returns a new one; reading and writing files is [`crate::io`]'s, where results
//! stand in an AnnData file [`crate::slots`]'s. The command line does nothing that is not here.

use scgraft_analysis::neighbours::{Neighbours, Search};
use scgraft_analysis::programs::{Latent, ProgramTest, ProgramTestOptions, test_programs};
use scgraft_analysis::transfer::{
    LabelSets, LabelTransfer, Labelled, Novelty, NoveltyOptions, OutOfDistribution, TransferOptions, label_sets,
    novelty, out_of_distribution, transfer_labels,
};
use scgraft_cells::{
    Cells, Coded, ConditionSource, GeneChoice, GenePrograms, GeneSet, HvgFlavor, HvgOptions, Kind, PrepareOptions,
    Prepared, ProgramOptions, choose_genes, highly_variable, log1p, normalize_total,
};
use scgraft_models::{Granularity, Header, Membership, Model, NewPrograms, Program, Segment, Surgery, find};
use scgraft_train::{FitReport, Grafted, Progress, TrainConfig, fit, graft};
use serde_json::Value;

pub use crate::embedding::program_weights;
use crate::{Embedding, Error};

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

/// Prepares a reference and trains it. `sets` may be empty for models without gene programs.
///
/// # Errors
/// Of [`prepare_reference`], [`Model::new`] and [`fit`].
pub fn train_reference(
    cells: &Cells,
    sets: &[GeneSet],
    plan: &ReferencePlan,
    progress: &mut Progress<'_>,
) -> Result<Reference, Error> {
    let (prepared, programs) = prepare_reference(cells, sets, plan)?;
    let mut model =
        Model::new(&plan.model, &plan.settings, header(&prepared, programs, plan.membership), plan.train.seed)?;
    let report = fit(&mut model, &prepared, &plan.train, progress)?;
    Ok(Reference { model, prepared, report })
}

/// Chooses genes and programs, and prepares the cells for them.
///
/// # Errors
/// Of [`choose_genes`], [`GenePrograms::new`] and [`Prepared::reference`].
pub fn prepare_reference(
    cells: &Cells,
    sets: &[GeneSet],
    plan: &ReferencePlan,
) -> Result<(Prepared, Option<GenePrograms>), Error> {
    let (genes, programs) = match &plan.genes {
        Genes::Listed(genes, _) if sets.is_empty() => (Some(genes.clone()), None),
        Genes::Listed(genes, sizes) => (Some(genes.clone()), Some(GenePrograms::new(sets, genes, sizes)?)),
        Genes::Chosen(choice) if sets.is_empty() => (variable_genes(cells, plan, choice)?, None),
        Genes::Chosen(choice) => {
            let (genes, programs) = choose_genes(cells, sets, &plan.prepare, choice)?;
            (Some(genes), Some(programs))
        }
    };
    Ok((Prepared::reference(cells, genes.as_deref(), &plan.prepare)?, programs))
}

/// The most variable of all genes, in the data's order; `None` for all of them.
fn variable_genes(cells: &Cells, plan: &ReferencePlan, choice: &GeneChoice) -> Result<Option<Vec<String>>, Error> {
    let Some(options) = &choice.variable else { return Ok(None) };
    let all = Prepared::reference(cells, None, &plan.prepare)?;
    let on_counts = matches!(options.flavor, HvgFlavor::SeuratV3 | HvgFlavor::SeuratV3Paper);
    let batches = (all.condition.levels.len() > 1).then_some(&all.condition);
    let chosen = if on_counts || all.kind == Kind::LogNormalised {
        highly_variable(&all.expression, batches, options)?.chosen
    } else {
        highly_variable(&log1p(&normalize_total(&all.expression, Some(1e4))), batches, options)?.chosen
    };
    Ok(Some(chosen.into_iter().map(|g| all.genes[g as usize].clone()).collect()))
}

/// What a model of these cells and programs knows.
pub fn header(prepared: &Prepared, programs: Option<GenePrograms>, membership: Membership) -> Header {
    let segment = programs.map(|p| {
        let programs = p.names.into_iter().zip(p.members).map(|(name, members)| Program { name, members }).collect();
        Segment { origin: None, membership, programs }
    });
    Header { known: prepared.known(), segments: segment.into_iter().collect(), grafts: Vec::new() }
}

/// How a query is mapped.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    /// What to take from the data.
    pub prepare: PrepareOptions,
    /// The surgery; its conditions are found in the query.
    pub surgery: Surgery,
    /// How the graft is fitted.
    pub train: TrainConfig,
}

impl QueryPlan {
    /// New conditions only, adaptors trained, with the model's defaults for so many cells.
    pub fn new(reference: &Model, name: &str, condition: ConditionSource, n_cells: usize) -> Self {
        let entry = reference.entry;
        QueryPlan {
            prepare: PrepareOptions { condition, kind: reference.values(), ..PrepareOptions::default() },
            surgery: Surgery { settings: (entry.mapping_settings)(), ..Surgery::adaptor(name) },
            train: TrainConfig::of(&entry.mapping, n_cells),
        }
    }
}

/// A query on its reference.
#[derive(Debug)]
pub struct Mapped {
    /// The reference with the graft, and how it was fitted.
    pub grafted: Grafted,
    /// The cells as the model took them.
    pub prepared: Prepared,
    /// Where they lie.
    pub embedding: Embedding,
}

/// Prepares a query, grafts it onto the reference and encodes it.
///
/// # Errors
/// Of [`Prepared::query`], [`graft`] and [`embed`].
pub fn map_query(
    reference: &Model,
    cells: &Cells,
    plan: &QueryPlan,
    progress: &mut Progress<'_>,
) -> Result<Mapped, Error> {
    let prepared = Prepared::query(cells, &reference.header.known, &plan.prepare)?;
    let grafted = graft(reference, &prepared, plan.surgery.clone(), &plan.train, progress)?;
    let embedding = embed(&grafted.model, &prepared)?;
    Ok(Mapped { grafted, prepared, embedding })
}

/// Encodes cells with a model that knows their conditions.
///
/// # Errors
/// Of [`Embedding::of`].
pub fn embed(model: &Model, prepared: &Prepared) -> Result<Embedding, Error> {
    Embedding::of(model, prepared)
}

/// New programs for surgery: gene sets laid over the model's genes, pruned programs of the reference to bring back
/// (as `<NAME>_reactivated`), and a number of free ones. `None` when there is nothing to add.
///
/// # Errors
/// A set without a gene of the model; a program to bring back that the model does not have.
pub fn new_programs(
    reference: &Model,
    sets: &[GeneSet],
    sizes: &ProgramOptions,
    soft: bool,
    reactivate: &[String],
    n_free: usize,
) -> Result<Option<NewPrograms>, Error> {
    let mut constrained = Vec::new();
    if !sets.is_empty() {
        let over = GenePrograms::new(sets, &reference.header.genes, sizes)?;
        constrained.extend(over.names.into_iter().zip(over.members).map(|(name, members)| Program { name, members }));
    }
    for name in reactivate {
        let Some((_, program)) = reference.header.programs().find(|(_, p)| p.name == *name) else {
            let names: Vec<&str> = reference.header.programs().map(|(_, p)| p.name.as_str()).collect();
            return Err(Error::UnknownProgram { name: name.clone(), nearest: nearest(name, &names) });
        };
        constrained.push(Program { name: format!("{name}_reactivated"), members: program.members.clone() });
    }
    Ok((!constrained.is_empty() || n_free > 0).then_some(NewPrograms { constrained, soft, n_free }))
}

/// A few names that share the most with one.
fn nearest(name: &str, names: &[&str]) -> String {
    let words = |n: &str| n.to_uppercase().split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect::<Vec<_>>();
    let wanted = words(name);
    let mut ranked: Vec<(usize, &str)> =
        names.iter().map(|n| (words(n).iter().filter(|w| wanted.contains(w)).count(), *n)).collect();
    ranked.sort_by_key(|r| std::cmp::Reverse(r.0));
    ranked.iter().take(5).map(|r| format!("`{}`", r.1)).collect::<Vec<_>>().join(", ")
}

/// The neighbours of a query in its reference, and those of the reference's cells among themselves.
#[derive(Clone, Debug)]
pub struct Near {
    /// Of each query cell among the reference cells.
    pub query: Neighbours,
    /// Of each reference cell among the others.
    pub reference: Neighbours,
    /// Share of the true neighbours that the search found.
    pub recall: f64,
}

/// Searches for the `k` nearest reference cells, in the dimensions of the reference (programs that only the query has
/// are left out).
///
/// # Errors
/// A dimension of the reference that the query lacks; of [`Search::between`] and [`Search::among`].
pub fn neighbours(reference: &Embedding, query: &Embedding, k: usize, search: &Search) -> Result<Near, Error> {
    let shared = shared(reference, query)?;
    let near = search.between(&reference.mean, &shared.mean, k)?;
    let usual = search.among(&reference.mean, k, false)?;
    Ok(Near { query: near.neighbours, reference: usual.neighbours, recall: near.recall.min(usual.recall) })
}

/// The query in the dimensions of the reference.
fn shared(reference: &Embedding, query: &Embedding) -> Result<Embedding, Error> {
    query.select(&reference.names).ok_or_else(|| {
        let missing = reference.names.iter().find(|n| !query.names.contains(n)).cloned().unwrap_or_default();
        Error::Slot {
            slot: "embedding of the query".into(),
            expected: format!("the {} dimensions of the reference", reference.names.len()),
            found: format!("{} dimensions, `{missing}` not among them", query.names.len()),
            remedy: "map the query onto this reference".into(),
        }
    })
}

/// Labels carried over to query cells.
#[derive(Clone, Debug)]
pub struct Annotation {
    /// One a label column.
    pub labels: Vec<LabelTransfer>,
    /// How far outside the reference each cell lies.
    pub distance: OutOfDistribution,
    /// For each label column, whether cells are of a type that the reference does not have; empty until
    /// [`find_new`] has looked.
    pub novelty: Vec<Novelty>,
    /// For each label column, the labels that a cell may have; empty unless asked for.
    pub sets: Vec<LabelSets>,
}

/// Carries labels of reference cells over to query cells by their nearest neighbours.
///
/// # Errors
/// Of [`transfer_labels`] and [`out_of_distribution`].
pub fn annotate(near: &Near, columns: &[(&str, &Coded)], options: &TransferOptions) -> Result<Annotation, Error> {
    Ok(Annotation {
        labels: transfer_labels(&near.query, columns, options)?,
        distance: out_of_distribution(&near.reference, &near.query)?,
        novelty: Vec::new(),
        sets: Vec::new(),
    })
}

/// Calls cells of types that the reference does not have unknown, and only those, in every label column.
///
/// `studies` are those of the reference's cells, `batches` the query's.
///
/// # Errors
/// Of [`novelty`]; a dimension of the reference that the query lacks.
pub fn find_new(
    annotation: &mut Annotation,
    (reference, studies): (&Embedding, (&str, &Coded)),
    columns: &[(&str, &Coded)],
    (query, batches): (&Embedding, (&str, &Coded)),
    options: &NoveltyOptions,
    search: &Search,
) -> Result<(), Error> {
    let shared = shared(reference, query)?;
    for (transfer, &labels) in annotation.labels.iter_mut().zip(columns) {
        let known = Labelled { x: &reference.mean, labels, studies };
        let found = novelty(&known, &shared.mean, batches, options, search)?;
        transfer.unknown.iter_mut().enumerate().for_each(|(i, unknown)| *unknown = found.is_new(i));
        annotation.novelty.push(found);
    }
    Ok(())
}

/// The labels that each cell may have, at a coverage.
///
/// # Errors
/// Of [`label_sets`]; a dimension of the reference that the query lacks.
pub fn find_sets(
    annotation: &mut Annotation,
    (reference, studies): (&Embedding, (&str, &Coded)),
    columns: &[(&str, &Coded)],
    query: &Embedding,
    coverage: f64,
    search: &Search,
) -> Result<(), Error> {
    let shared = shared(reference, query)?;
    for &labels in columns {
        let known = Labelled { x: &reference.mean, labels, studies };
        annotation.sets.push(label_sets(&known, &shared.mean, coverage, search)?);
    }
    Ok(())
}

/// Tests which programs differ between groups of cells; scores are turned to the programs' directions if `directed`.
/// Programs that the fit pruned are left out.
///
/// # Errors
/// An embedding without variances; of [`test_programs`].
pub fn enrich(
    embedding: &Embedding,
    groups: (&str, &Coded),
    within: Option<(&str, &Coded)>,
    directed: bool,
    options: &ProgramTestOptions,
) -> Result<ProgramTest, Error> {
    let kept = embedding.names.iter().zip(&embedding.active).filter(|(_, a)| **a).map(|(n, _)| n.clone());
    let Some(active) = embedding.select(&kept.collect::<Vec<_>>()) else { return Ok(ProgramTest::default()) };
    let Some(variance) = &active.variance else {
        return Err(Error::Slot {
            slot: "embedding".into(),
            expected: "posterior variances beside the means".into(),
            found: "means only".into(),
            remedy: "use an embedding that `map` or `train --embed` wrote".into(),
        });
    };
    let directions = directed.then_some(&active.direction[..]);
    let latent = Latent { mean: &active.mean, variance, programs: &active.names, directions };
    Ok(test_programs(latent, groups, within, options)?)
}

/// What a query may change, by the name the command line has for it.
pub fn granularity(name: &str) -> Option<Granularity> {
    match name {
        "adaptor" => Some(Granularity::Adaptor),
        "first-layers" => Some(Granularity::FirstLayers),
        "all" => Some(Granularity::All),
        _ => None,
    }
}
