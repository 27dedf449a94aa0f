//! Options as Python gives them, and the plans of the library that they make.

use std::sync::Arc;

use scgraft::cells::{
    Cells, ConditionSource, Fractions, GeneCase, GeneChoice, GeneNames, HvgFlavor, HvgOptions, Kind, OrthologRule,
    Orthologs, PrepareOptions, ProgramOptions, ProteinSource, Slot,
};
use scgraft::io::read_orthologs;
use scgraft::models::{Granularity, Membership, Model, ModelEntry, Surgery, Training, find};
use scgraft::query::{QueryPlan, condition_of_reference, new_programs};
use scgraft::reference::{Genes, ReferencePlan};
use scgraft::train::{Anneal, Compat, EarlyStopping, TrainConfig};
use scgraft::{Error, cells::GeneSet};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Where things stand in the cells.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// The layer with the values, instead of X.
    pub layer: Option<String>,
    /// Whether the values stand in `raw`.
    pub use_raw: bool,
    /// The column of var with the gene names, instead of its row names.
    pub gene_key: Option<String>,
    /// Columns of obs, or none.
    pub batch_key: Vec<String>,
    /// One batch for all cells.
    pub batch_name: Option<String>,
    /// The column of obs with labels.
    pub labels_key: Option<String>,
    /// Its value that means unlabelled.
    pub unlabeled_category: Option<String>,
    /// The entry of obsm with protein counts.
    pub protein_key: Option<String>,
    /// The entry of uns with their names.
    pub protein_names_key: Option<String>,
    /// Columns of obs with further categorical covariates.
    pub categorical_covariate_keys: Vec<String>,
    /// Columns of obs with continuous covariates.
    pub continuous_covariate_keys: Vec<String>,
    /// The least share of the genes of the model that the cells must have.
    pub min_overlap: Option<f64>,
    /// A table of orthologs, for names of another species.
    pub orthologs: Option<String>,
    /// Which of its pairs count.
    pub ortholog_rule: Option<String>,
    /// What to do about counts that are not whole: "accept", "round", "refuse"; judged by how they look unless told.
    pub fractions: Option<String>,
    /// What to look past in names of genes.
    pub gene_names: Option<String>,
    /// Whether another slot than the one asked for holds whole numbers, which the cells do not show here: counts that are not
    /// whole are then refused.
    pub counts_elsewhere: bool,
}

impl Data {
    /// Where the expression stands.
    pub fn slot(&self) -> Slot {
        Slot::of(self.layer.as_ref(), self.use_raw)
    }

    /// The condition asked for; `None` where nothing was.
    pub fn condition(&self) -> Option<ConditionSource> {
        match &self.batch_name {
            Some(name) => Some(ConditionSource::Constant(name.clone())),
            None if self.batch_key.is_empty() => None,
            None => Some(ConditionSource::Columns(self.batch_key.clone())),
        }
    }

    /// The table of orthologs, where one was given.
    fn orthologs(&self) -> Result<Option<Orthologs>, Error> {
        let rule = self.ortholog_rule.as_deref().map_or(Ok(OrthologRule::default()), str::parse)?;
        Ok(self.orthologs.as_ref().map(|path| read_orthologs(path, rule)).transpose()?)
    }

    /// What counts that are not whole are taken as.
    fn fractions(&self) -> Result<Fractions, Error> {
        Ok(match self.fractions.as_deref() {
            None if self.counts_elsewhere => Fractions::Refuse,
            None => Fractions::default(),
            Some("accept") => Fractions::Accept,
            Some("round") => Fractions::Round,
            Some("refuse") => Fractions::Refuse,
            Some(other) => {
                return Err(Error::Slot {
                    slot: "fractions=".into(),
                    expected: "\"accept\", \"round\" or \"refuse\"".into(),
                    found: format!("{other:?}"),
                    remedy: "leave it out to have them judged".into(),
                });
            }
        })
    }

    /// What to take from the cells.
    pub fn prepare(&self, condition: ConditionSource, kind: Kind) -> Result<PrepareOptions, Error> {
        let usual = PrepareOptions::default();
        Ok(PrepareOptions {
            orthologs: self.orthologs()?.map(Arc::new),
            slot: self.slot(),
            gene_column: self.gene_key.clone(),
            condition,
            kind,
            label: self.labels_key.clone(),
            unlabelled: self.unlabeled_category.clone(),
            proteins: self
                .protein_key
                .clone()
                .map(|obsm| ProteinSource { obsm, names: self.protein_names_key.clone() }),
            covariates: self.categorical_covariate_keys.clone(),
            continuous: self.continuous_covariate_keys.clone(),
            min_overlap: self.min_overlap.unwrap_or(usual.min_overlap),
            fractions: self.fractions()?,
            gene_names: self.gene_names.as_deref().map_or(Ok(usual.gene_names.clone()), str::parse)?,
            ..usual
        })
    }

    /// The same for cells that a model is to take.
    pub fn prepare_for(&self, model: &Model, cells: &Cells) -> Result<PrepareOptions, Error> {
        let condition = match self.condition() {
            Some(source) => source,
            None => condition_of_reference(model, cells)?,
        };
        self.prepare(condition, model.values())
    }
}

/// How a model is fitted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fit {
    /// Passes over the cells at most.
    pub max_epochs: Option<usize>,
    /// Cells a step.
    pub batch_size: Option<usize>,
    /// Step size of Adam, at its largest.
    pub lr: Option<f32>,
    /// L2 weight decay.
    pub weight_decay: Option<f32>,
    /// Epochs over which the KL weight rises.
    pub kl_anneal: Option<usize>,
    /// Steps over which it rises.
    pub kl_anneal_steps: Option<usize>,
    /// Share of the cells that trains.
    pub train_size: Option<f64>,
    /// Epochs without a better validation loss before the end.
    pub patience: Option<usize>,
    /// Whether to stop early; `None`: as the model does.
    pub early_stopping: Option<bool>,
    /// Whether to draw as many cells of each condition.
    pub stratified: bool,
    /// Cells of each label an epoch at most.
    pub samples_per_label: Option<usize>,
    /// The least share of its counts that the encoder is shown of a cell.
    pub thinning: Option<f64>,
    /// Whether to reproduce the numerics of the published code.
    pub published: bool,
    /// Seed of everything random.
    pub seed: u64,
}

impl Fit {
    /// The model's defaults for so many cells, with what the user says in their place.
    fn config(&self, ours: &Training, published: &Training, n_cells: usize) -> TrainConfig {
        let plain = TrainConfig::of(if self.published { published } else { ours }, n_cells);
        let anneal = self.kl_anneal.map(Anneal::Epochs).or(self.kl_anneal_steps.map(Anneal::Steps));
        let mut config = TrainConfig {
            epochs: self.max_epochs.unwrap_or(plain.epochs),
            batch_size: self.batch_size.unwrap_or(plain.batch_size),
            learning_rate: self.lr.unwrap_or(plain.learning_rate),
            weight_decay: self.weight_decay.unwrap_or(plain.weight_decay),
            anneal: anneal.unwrap_or(plain.anneal),
            train_fraction: self.train_size.unwrap_or(plain.train_fraction),
            stratified: self.stratified,
            samples_per_label: self.samples_per_label,
            seed: self.seed,
            ..plain
        };
        if let Some(patience) = self.patience {
            config.early_stopping = Some(EarlyStopping { patience, ..config.early_stopping.unwrap_or_default() });
        }
        match self.early_stopping {
            Some(true) if config.early_stopping.is_none() => config.early_stopping = Some(EarlyStopping::default()),
            Some(false) => config.early_stopping = None,
            _ => {}
        }
        if let Some(least) = self.thinning {
            // 1 shows the encoder all counts; the fit refuses what is no share.
            config.thinning = Some(least).filter(|&l| l != 1.0);
        }
        if self.published { config.compatible(Compat::Scarches) } else { config }
    }

    /// Settings of the model, with the published ones where the user has not said otherwise.
    fn settings(&self, entry: &ModelEntry, given: &Map<String, Value>) -> Value {
        let mut settings = Value::Object(given.clone());
        if self.published {
            scgraft::settings::complete(&mut settings, (entry.published_settings)());
        }
        settings
    }
}

/// A reference to train.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// The base model.
    pub model: String,
    /// Settings of the model by name.
    pub settings: Map<String, Value>,
    /// Where things stand.
    pub data: Data,
    /// How it is fitted.
    pub fit: Fit,
    /// Fewest genes of a program.
    pub min_genes: Option<usize>,
    /// Most genes of a program.
    pub max_genes: Option<usize>,
    /// Whether gene names are taken as they are written.
    pub exact_case: bool,
    /// How many variable genes; `None` keeps all.
    pub n_top_genes: Option<usize>,
    /// Scanpy's name of the score of variability.
    pub flavor: Option<String>,
    /// Exactly these genes.
    pub genes: Option<Vec<String>>,
    /// Whether chosen genes that are in no program stay.
    pub keep_outside_programs: bool,
    /// Whether gene sets bind softly.
    pub soft: bool,
    /// Programs without gene set.
    pub n_free_programs: usize,
    /// Patterns of the names of gene sets that are taken, and of those that are not.
    pub only_programs: Vec<String>,
    /// See above.
    pub exclude_programs: Vec<String>,
}

impl TrainOptions {
    fn sizes(&self) -> ProgramOptions {
        let case = if self.exact_case { GeneCase::Exact } else { GeneCase::Upper };
        let usual = ProgramOptions::default();
        ProgramOptions { case, min_genes: self.min_genes.unwrap_or(usual.min_genes), max_genes: self.max_genes }
    }

    /// The plan, for so many cells, from a trained model if one is given.
    pub fn plan(&self, n_cells: usize, start: Option<&Model>) -> Result<ReferencePlan, String> {
        let entry = find(&self.model).map_err(|e| e.to_string())?;
        let settings = self.fit.settings(entry, &self.settings);
        let Some(condition) = self.data.condition() else {
            return Err(
                "say what the batch (condition, study) of a cell is: batch_key=, a column of obs, or batch_name=, a \
                        name, for data that is one batch"
                    .into(),
            );
        };
        let flavor = flavor(self.flavor.as_deref().unwrap_or("seurat"))?;
        let variable = self.n_top_genes.map(|n_top| HvgOptions { flavor, n_top, ..HvgOptions::default() });
        let genes = match &self.genes {
            Some(genes) => Genes::Listed(genes.clone(), self.sizes()),
            None => Genes::Chosen(GeneChoice {
                programs: self.sizes(),
                variable,
                keep_outside_programs: self.keep_outside_programs,
            }),
        };
        let (ours, published) = entry.fitting(start.is_some());
        let mut plan = ReferencePlan {
            model: self.model.clone(),
            prepare: self.data.prepare(condition, (entry.values)(&settings)).map_err(|e| e.to_string())?,
            settings,
            genes,
            membership: if self.soft { Membership::Soft } else { Membership::Hard },
            n_free: self.n_free_programs,
            train: self.fit.config(&ours, &published, n_cells),
        };
        if let Some(start) = start {
            plan.start_from(start, self.sizes());
        }
        Ok(plan)
    }
}

/// A flavour of variable genes by scanpy's name.
pub fn flavor(name: &str) -> Result<HvgFlavor, String> {
    match name {
        "seurat" => Ok(HvgFlavor::Seurat),
        "cell_ranger" => Ok(HvgFlavor::CellRanger),
        "seurat_v3" => Ok(HvgFlavor::SeuratV3),
        "seurat_v3_paper" => Ok(HvgFlavor::SeuratV3Paper),
        other => {
            Err(format!("flavor={other:?}: expected \"seurat\", \"cell_ranger\", \"seurat_v3\" or \"seurat_v3_paper\""))
        }
    }
}

/// A query to map.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapOptions {
    /// The name of the graft.
    pub name: String,
    /// Settings of the model by name.
    pub settings: Map<String, Value>,
    /// Where things stand.
    pub data: Data,
    /// How it is fitted.
    pub fit: Fit,
    /// What may change.
    pub surgery: Option<String>,
    /// Cells of each condition to fit on at most; 0: all.
    pub fit_cells: Option<usize>,
    /// Programs without gene set to add.
    pub new_programs: usize,
    /// Whether gene sets bind softly.
    pub soft: bool,
    /// Fewest genes of a program.
    pub min_genes: Option<usize>,
    /// Pruned programs to bring back.
    pub reactivate: Vec<String>,
}

/// Fewest genes of the model that an added gene set holds.
const ADDED_GENES: usize = 5;

impl MapOptions {
    /// The plan, for these cells on this reference.
    pub fn plan(&self, reference: &Model, cells: &Cells, sets: &[GeneSet]) -> Result<QueryPlan, Error> {
        let condition = match self.data.condition() {
            Some(source) => source,
            None => condition_of_reference(reference, cells)?,
        };
        let turned = match self.data.orthologs()? {
            Some(table) if !sets.is_empty() => table.of_sets(sets, &reference.header.genes, &GeneNames::default())?.0,
            _ => sets.to_vec(),
        };
        let sets = &turned[..];
        let min_genes = self.min_genes.unwrap_or(ADDED_GENES);
        let sizes = ProgramOptions { case: GeneCase::Upper, min_genes, max_genes: None };
        let programs = new_programs(reference, sets, &sizes, self.soft, &self.reactivate, self.new_programs)?;
        let entry = reference.entry;
        let settings = self.fit.settings(entry, &self.settings);
        let granularity = self.granularity();
        let usual = entry.mapping_by(granularity, programs.is_some());
        let surgery = Surgery { granularity, programs, settings, ..Surgery::adaptor(&self.name) };
        let plan = QueryPlan::by(reference, surgery, condition.clone(), cells.n_cells());
        let prepare = self.data.prepare(condition, plan.prepare.kind)?;
        let mut train = self.fit.config(&usual, &entry.published_training.1, cells.n_cells());
        if let Some(most) = self.fit_cells {
            train.most_cells = Some(most).filter(|&n| n > 0);
        }
        Ok(QueryPlan { prepare, train, ..plan })
    }

    fn granularity(&self) -> Granularity {
        match self.surgery.as_deref() {
            Some("first_layers") => Granularity::FirstLayers,
            Some("all") => Granularity::All,
            _ => Granularity::Adaptor,
        }
    }

    /// Whether the surgery is one that there is.
    pub fn check(&self) -> Result<(), String> {
        match self.surgery.as_deref() {
            None | Some("adaptor" | "first_layers" | "all") => Ok(()),
            Some(other) => Err(format!("surgery={other:?}: expected \"adaptor\", \"first_layers\" or \"all\"")),
        }
    }
}
