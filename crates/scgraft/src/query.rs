//! A query: cells are prepared as the reference takes them, grafted onto it, and encoded.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use scgraft_cells::{
    Array, Cells, ConditionSource, Fractions, GeneNames, GenePrograms, GeneSet, OrthologRule, Orthologs,
    PrepareOptions, Prepared, ProgramOptions, ProteinSource, Setting, Turned, Warning, counted, shortened,
};
use scgraft_io::PROTEIN_SLOT;
use scgraft_models::{Input, Membership, Model, ModelEntry, NewPrograms, Program, Surgery};
use scgraft_train::{Grafted, Progress, TrainConfig, graft};
use serde_json::{Map, Value, json};

use crate::columns::joined;
use crate::programs::say_lost_sets;
use crate::reference::{condition_cells, condition_columns};
use crate::relations::{INDEPENDENCE, Independence, independence};
use crate::settings::complete;
use crate::{Embedding, Error, slots};

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
        QueryPlan::by(reference, Surgery::adaptor(name), condition, n_cells)
    }

    /// A surgery, with the model's defaults for it and for so many cells.
    pub fn by(reference: &Model, mut surgery: Surgery, condition: ConditionSource, n_cells: usize) -> Self {
        let entry = reference.entry;
        complete(&mut surgery.settings, (entry.mapping_settings)());
        let usual = entry.mapping_by(surgery.granularity, surgery.programs.is_some());
        QueryPlan {
            prepare: PrepareOptions { condition, kind: reference.values(), ..PrepareOptions::default() },
            surgery,
            train: TrainConfig::of(&usual, n_cells),
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
    /// Of each new program that the fit kept, how far its scores say what a program of before says already.
    pub independence: Vec<Independence>,
}

impl Mapped {
    /// The names of the programs that the query added: those with gene sets, then those without.
    pub fn new_programs(&self, graft: &str) -> Vec<&str> {
        let of = |membership: Membership| {
            let segments = self.grafted.model.header.segments.iter();
            let added = segments.filter(move |s| s.origin.as_deref() == Some(graft) && s.membership == membership);
            added.flat_map(|s| &s.programs).map(|p| p.name.as_str())
        };
        [Membership::Hard, Membership::Soft, Membership::Free].into_iter().flat_map(of).collect()
    }
}

/// Prepares a query, grafts it onto the reference and encodes it.
///
/// The model remembers the graft ([`Model::provenance`]): its name, how many cells, how it was fitted.
///
/// # Errors
/// Of [`Prepared::query`], [`graft`] and [`Embedding::of`].
pub fn map_query(
    reference: &Model,
    cells: &Cells,
    plan: &QueryPlan,
    progress: &mut dyn Progress,
) -> Result<Mapped, Error> {
    let options = usual_proteins(&remembered(&plan.prepare, reference, cells), reference.entry, cells);
    let prepared = Prepared::query(cells, &reference.header.known, &options)?;
    say(&prepared);
    say_proteins_elsewhere(reference, cells, &options);
    say_thin_programs(reference, &prepared);
    let grafted = graft(reference, &prepared, plan.surgery.clone(), &plan.train, progress)?;
    let embedding = Embedding::of(&grafted.model, &prepared)?;
    let mut mapped = Mapped { grafted, prepared, embedding, independence: Vec::new() };
    let new: Vec<String> = mapped.new_programs(&plan.surgery.name).into_iter().map(str::to_owned).collect();
    mapped.independence = independence(&mapped.embedding, &new, plan.train.seed)?;
    describe(&mut mapped, plan, &options);
    mapped.embedding.learn_thin(&mapped.grafted.model);
    say_lost_sets(&mapped.grafted.model, Some(&plan.surgery.name))?;
    Ok(mapped)
}

/// Settings as the field `settings` of an event: one a line, `name` or `name=value`. A front end spells them its own way.
fn written(settings: &[Setting]) -> String {
    let one = |s: &Setting| s.value.as_ref().map_or(s.name.to_owned(), |value| format!("{}={value}", s.name));
    settings.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Passes on what preparation wants the user to know.
pub(crate) fn say(prepared: &Prepared) {
    let report = &prepared.report;
    report.told().iter().for_each(|(warning, settings)| warn(warning, settings));
    let (missing, n) = (&report.missing_genes, report.n_model_genes);
    if !missing.is_empty() && report.overlap() >= PrepareOptions::GOOD_OVERLAP {
        tracing::info!(
            "{} of the model's {n} genes are not in the data and count as 0, as if no cell expressed them: {}",
            missing.len(),
            shortened(missing, missing.len())
        );
    }
}

/// Passes a warning on.
pub(crate) fn tell(warning: &Warning) {
    warn(&warning.to_string(), &warning.settings());
}

/// Passes a warning on, as an event with the settings that would change it, which every front end spells its own way.
pub fn warn(warning: &str, settings: &[Setting]) {
    match settings.is_empty() {
        true => tracing::warn!("{warning}"),
        false => tracing::warn!(settings = %written(settings), "{warning}"),
    }
}

/// Provenance: the programs that lack most of their genes in the last query, and the share of them that it has.
pub(crate) const THIN: &str = "thin_programs";

/// Programs of which the query lacks more than half of the genes, with the share that it has: their scores say little of it.
fn thin_programs(model: &Model, prepared: &Prepared) -> Vec<(String, f64)> {
    let missing: HashSet<&str> = prepared.report.missing_genes.iter().map(String::as_str).collect();
    let has = |&&g: &&u32| model.header.genes.get(g as usize).is_some_and(|g| !missing.contains(g.as_str()));
    (model.header.programs())
        .filter(|(_, p)| !p.members.is_empty())
        .map(|(_, p)| (p.name.clone(), p.members.iter().filter(has).count() as f64 / p.members.len() as f64))
        .filter(|(_, share)| *share < 0.5)
        .collect()
}

fn say_thin_programs(reference: &Model, prepared: &Prepared) {
    let thin = thin_programs(reference, prepared);
    if !thin.is_empty() {
        let names: Vec<&str> = thin.iter().map(|(name, _)| name.as_str()).collect();
        tracing::warn!(
            "the query lacks more than half of the genes of {}, whose scores say little of it: {}",
            counted(thin.len(), "program", "programs"),
            shortened(&names, names.len())
        );
    }
}

/// Provenance: what is looked past in names of genes, in the reference.
pub(crate) const GENE_NAMES: &str = "gene_names";
/// Provenance: how the cells of a reference, and those of the last query, were prepared where that was not the usual way.
pub(crate) const TAKEN: &str = "taken";
const QUERY_TAKEN: &str = "query_taken";
const MIN_OVERLAP: &str = "min_overlap";
/// Provenance: the columns that the condition of the last query is from, or its name where all cells are of one.
pub(crate) const QUERY_CONDITION: &str = "query_condition";
const FRACTIONS: &str = "fractions";
const NOT_WHOLE: [(&str, Fractions); 3] =
    [("accept", Fractions::Accept), ("round", Fractions::Round), ("refuse", Fractions::Refuse)];

/// What is looked past in the names of genes, as a model remembers it of its last query or its reference.
pub fn gene_names(model: &Model) -> GeneNames {
    let query = model.provenance.get(QUERY_TAKEN).and_then(|taken| taken.get(GENE_NAMES));
    let rules = |noted: &Value| noted.as_str().and_then(|rules| rules.parse().ok());
    query.and_then(rules).or_else(|| model.provenance.get(GENE_NAMES).and_then(rules)).unwrap_or_default()
}

/// In what is remembered of how cells were prepared: their genes and those of the model that they became (two lists as one
/// map; an empty text where a gene must not be matched by its name).
const ORTHOLOGS: &str = "orthologs";

/// What the genes of queries became in the model's species: of the last query, and of those whose grafts the model has.
fn ortholog_pairs(model: &Model) -> BTreeMap<String, String> {
    let last = model.provenance.get(QUERY_TAKEN).and_then(Value::as_object);
    let noted = last.into_iter().chain(model.header.grafts.iter().map(|g| &g.taken)).filter_map(|t| t.get(ORTHOLOGS));
    let texts = |noted: &Value, name: &str| -> Vec<String> {
        let list = noted.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    noted.flat_map(|n| texts(n, "from").into_iter().zip(texts(n, "to"))).collect()
}

/// The orthologs that a model remembers of its queries, as a table.
pub fn orthologs(model: &Model) -> Option<Orthologs> {
    let pairs = ortholog_pairs(model);
    if pairs.is_empty() {
        return None;
    }
    let (from, to) = pairs.into_iter().unzip();
    let columns = vec![("query".to_owned(), from), ("reference".to_owned(), to)];
    Some(Orthologs { columns, rule: OrthologRule::All, optional: true, ..Orthologs::default() })
}

/// The model's genes among names of a query, matched as the query was prepared.
pub(crate) fn genes_of(model: &Model, names: &[String]) -> Vec<Option<usize>> {
    let rules = gene_names(model);
    let pairs = ortholog_pairs(model);
    let genes: Vec<String> = model.header.genes.iter().map(|gene| rules.apply(gene)).collect();
    let at: HashMap<&str, usize> = genes.iter().enumerate().map(|(i, g)| (g.as_str(), i)).collect();
    let of = |name: &String| {
        let name = rules.apply(name);
        at.get(pairs.get(&name).unwrap_or(&name).as_str()).copied()
    };
    names.iter().map(of).collect()
}

/// How cells are prepared where that is not the usual way, by name of the setting.
pub(crate) fn taken(options: &PrepareOptions) -> Map<String, Value> {
    let mut out = Map::new();
    if !options.gene_names.is_empty() {
        out.insert(GENE_NAMES.into(), options.gene_names.to_string().into());
    }
    if let Some((name, _)) = NOT_WHOLE.iter().find(|(_, f)| *f == options.fractions) {
        out.insert(FRACTIONS.into(), (*name).into());
    }
    if options.min_overlap < PrepareOptions::default().min_overlap {
        out.insert(MIN_OVERLAP.into(), options.min_overlap.into());
    }
    out
}

/// Where the options say nothing, they say what was asked before.
fn fill(options: &mut PrepareOptions, taken: &Map<String, Value>) -> Vec<Setting> {
    let usual = PrepareOptions::default();
    let mut filled = Vec::new();
    let text = |name: &str| taken.get(name).and_then(Value::as_str);
    if let Some(rules) = text(GENE_NAMES).filter(|_| options.gene_names.is_empty())
        && let Ok(rules) = rules.parse::<GeneNames>()
    {
        filled.push(Setting::to(GENE_NAMES, rules.to_string()));
        options.gene_names = rules;
    }
    if let Some(&(name, fractions)) = NOT_WHOLE.iter().find(|(name, _)| text(FRACTIONS) == Some(name))
        && options.fractions == usual.fractions
    {
        filled.push(Setting::to(FRACTIONS, name));
        options.fractions = fractions;
    }
    if let Some(accepted) = taken.get(MIN_OVERLAP).and_then(Value::as_f64)
        && options.min_overlap == usual.min_overlap
    {
        filled.push(Setting::to(MIN_OVERLAP, accepted.to_string()));
        options.min_overlap = accepted;
    }
    filled
}

/// The conditions that cells are of.
fn conditions_of(source: &ConditionSource, cells: &Cells) -> HashSet<String> {
    match source {
        ConditionSource::Constant(name) => HashSet::from([name.clone()]),
        ConditionSource::Columns(columns) => joined(cells, columns).levels.into_iter().collect(),
    }
}

/// The options with what was asked of these cells before, where they say nothing: what their own file notes, then the grafts
/// of their conditions, then the reference where they are its own. Names of genes are looked at as for the reference.
fn remembered(options: &PrepareOptions, model: &Model, cells: &Cells) -> PrepareOptions {
    let mut options = options.clone();
    if options.orthologs.is_none() {
        options.orthologs = orthologs(model).map(Arc::new);
    }
    let conditions = conditions_of(&options.condition, cells);
    if conditions.iter().all(|c| model.header.conditions.contains(c)) {
        let grafts = &model.header.grafts;
        let own = || grafts.iter().filter(|g| g.conditions.iter().any(|c| conditions.contains(c)));
        let of_reference = model.provenance.get(TAKEN).and_then(Value::as_object).filter(|_| own().next().is_none());
        let noted = slots::noted_settings(cells, QUERY_TAKEN);
        let all = noted.iter().chain(own().map(|g| &g.taken)).chain(of_reference);
        let filled: Vec<Setting> = all.flat_map(|taken| fill(&mut options, taken)).collect();
        if !filled.is_empty() {
            tracing::info!(settings = %written(&filled), "prepared as these cells were before");
        }
    }
    if options.gene_names.is_empty() {
        options.gene_names = gene_names(model);
    }
    options
}

fn describe(mapped: &mut Mapped, plan: &QueryPlan, options: &PrepareOptions) {
    let thin = thin_programs(&mapped.grafted.model, &mapped.prepared);
    let p = &mut mapped.grafted.model.provenance;
    let mut taken = taken(options);
    if let Some(Turned { pairs, .. }) = &mapped.prepared.report.orthologs
        && !pairs.is_empty()
    {
        let (from, to): (Vec<&str>, Vec<&str>) =
            pairs.iter().map(|(from, to)| (from.as_str(), to.as_deref().unwrap_or_default())).unzip();
        taken.insert(ORTHOLOGS.into(), json!({"from": from, "to": to}));
    }
    p.remove(THIN);
    if !thin.is_empty() {
        let (names, shares): (Vec<String>, Vec<f64>) = thin.into_iter().unzip();
        p.insert(THIN.into(), json!({"names": names, "shares": shares}));
    }
    p.remove(QUERY_TAKEN);
    if !taken.is_empty() {
        p.insert(QUERY_TAKEN.into(), taken.clone().into());
    }
    if !mapped.independence.is_empty() {
        p.insert(INDEPENDENCE.into(), serde_json::to_value(&mapped.independence).unwrap_or_default());
    }
    let condition = match &options.condition {
        ConditionSource::Columns(columns) => columns.clone().into(),
        ConditionSource::Constant(name) => name.clone().into(),
    };
    p.insert(QUERY_CONDITION.into(), condition);
    p.insert("graft".into(), plan.surgery.name.clone().into());
    p.insert("query_cells".into(), mapped.prepared.n_cells().into());
    p.insert("missing_genes".into(), mapped.prepared.report.missing_genes.len().into());
    if let Some(report) = &mapped.grafted.report {
        p.insert("query_best_epoch".into(), (report.best_epoch as i64 - 1).into());
        if let Ok(config) = serde_json::to_value(&plan.train) {
            p.insert("query_training".into(), config);
        }
    }
    let grafted = &mut mapped.grafted;
    let origins = grafted.model.header.grafts.iter_mut().filter(|g| g.name == plan.surgery.name);
    for origin in origins.chain(grafted.adaptor.as_mut().map(|a| &mut a.origin)) {
        origin.n_cells = condition_cells(&mapped.prepared, &origin.conditions);
        origin.taken = taken.clone();
    }
}

/// Cells of conditions that a model knows, as it takes them.
///
/// # Errors
/// A condition that it does not know; of [`Prepared::query`].
pub fn prepare_known(model: &Model, cells: &Cells, options: &PrepareOptions) -> Result<Prepared, Error> {
    let options = usual_proteins(&remembered(options, model, cells), model.entry, cells);
    let prepared = Prepared::query(cells, &model.header.known, &options)?;
    say(&prepared);
    match &prepared.condition.levels[prepared.n_known_conditions..] {
        [] => Ok(prepared),
        new => Err(Error::NewConditions { new: new.to_vec(), known: model.header.conditions.clone() }),
    }
}

/// Where the conditions of cells are from that were mapped with a model, as their file notes it; else the columns of obs that
/// those of its reference are from, where these cells have them too.
///
/// # Errors
/// When the reference had no column, or the cells lack one.
pub fn condition_of_reference(model: &Model, cells: &Cells) -> Result<ConditionSource, Error> {
    let known = |source: &ConditionSource| {
        conditions_of(source, cells).iter().all(|condition| model.header.conditions.contains(condition))
    };
    if let Some(source) = slots::noted_condition(cells).filter(known) {
        tracing::info!("condition: as these cells were mapped with");
        return Ok(source);
    }
    let columns = condition_columns(model);
    if !columns.is_empty() && columns.iter().all(|c| cells.obs.column(c).is_some()) {
        tracing::info!("condition: column(s) {} of obs, as in the reference", columns.join(", "));
        return Ok(ConditionSource::Columns(columns));
    }
    let known = model.header.conditions.clone();
    Err(Error::WhichCondition { columns, known, there: cells.obs.names().iter().map(|n| (*n).to_owned()).collect() })
}

/// Takes proteins from where files usually have them, when the model reads them, no entry was named and the cells have
/// that one.
pub(crate) fn usual_proteins(options: &PrepareOptions, entry: &ModelEntry, cells: &Cells) -> PrepareOptions {
    let mut options = options.clone();
    if entry.reads(Input::Proteins) && options.proteins.is_none() && cells.obsm.contains_key(PROTEIN_SLOT) {
        options.proteins = Some(ProteinSource { obsm: PROTEIN_SLOT.to_owned(), names: None });
    }
    options
}

/// Says under which other key the proteins of a model are, where none are taken from these cells.
fn say_proteins_elsewhere(reference: &Model, cells: &Cells, options: &PrepareOptions) {
    if !reference.entry.reads(Input::Proteins) || options.proteins.is_some() {
        return;
    }
    let known = |(_, array): &(&String, &Array)| match array {
        Array::Frame(table) => table.columns.iter().any(|(name, _)| reference.header.proteins.contains(name)),
        Array::Dense(_) | Array::Sparse(_) => false,
    };
    let there: Vec<&str> = cells.obsm.iter().filter(known).map(|(key, _)| key.as_str()).collect();
    if let Some(first) = there.first() {
        let keys = there.iter().map(|key| format!("obsm[\"{key}\"]")).collect::<Vec<_>>().join(", ");
        warn(
            &format!(
                "no proteins are taken: there is no obsm[\"{PROTEIN_SLOT}\"]; proteins of the model are in {keys}"
            ),
            &[Setting::to("proteins", *first)],
        );
    }
}

/// New programs for surgery: gene sets laid over the model's genes, pruned programs of the reference to bring back
/// (as `<NAME>_reactivated`), and a number of free ones. `None` when there is nothing to add.
///
/// # Errors
/// A set without a gene of the model; a program to bring back that the model does not have; more free ones than genes.
pub fn new_programs(
    reference: &Model,
    sets: &[GeneSet],
    sizes: &ProgramOptions,
    soft: bool,
    reactivate: &[String],
    n_free: usize,
) -> Result<Option<NewPrograms>, Error> {
    let most = reference.header.genes.len();
    if n_free > most {
        return Err(Error::Beyond { name: "new_programs", value: n_free.to_string(), most });
    }
    let mut constrained = Vec::new();
    if !sets.is_empty() {
        let over = GenePrograms::new(sets, &reference.header.genes, sizes)?;
        constrained.extend(over.names.into_iter().zip(over.members).map(|(name, members)| Program { name, members }));
    }
    for name in reactivate {
        let Some((_, program)) = reference.header.programs().find(|(_, p)| p.name == *name) else {
            let known = reference.header.programs().map(|(_, p)| p.name.clone()).collect();
            return Err(Error::UnknownName { of: "the model".into(), what: "program", name: name.clone(), known });
        };
        constrained.push(Program { name: format!("{name}_reactivated"), members: program.members.clone() });
    }
    Ok((!constrained.is_empty() || n_free > 0).then_some(NewPrograms { constrained, soft, n_free }))
}
