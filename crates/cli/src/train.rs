//! `scgraft train`: a reference from cells and gene sets.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use scgraft::cells::{
    Cells, ConditionSource, GeneCase, GeneChoice, HvgFlavor, HvgOptions, PAPER_MIN_GENES, Prepared, ProgramOptions,
};
use scgraft::io::{DuplicateSets, GmtOptions, ReadOptions, read_gmt, read_list};
use scgraft::models::{Input, Membership, Model, ModelEntry, find};
use scgraft::pipeline::{Genes, ReferencePlan, embed, header, prepare_reference};
use scgraft::slots;
use scgraft::train::{FitReport, fit};
use serde_json::{Map, Value, json};

use super::input::{self, Condition, Measured, Values};
use super::output::number;
use super::progress::Epochs;
use super::settings::{Fit, Weights, published};
use super::{Global, Output, files, stop};

const EXAMPLES: &str = "\
Genes are chosen as in the expiMap paper: those in gene sets, of these the most variable, then the gene sets that still
have enough of them. Raw counts are expected unless --likelihood mse.

Examples:
  scgraft train reference.h5ad --programs reactome.gmt --condition study -o reference.scgraft
  scgraft train reference.h5ad --programs reactome.gmt,hallmark.gmt --condition study --soft \\
      --embed reference_out.h5ad -o reference.scgraft
  scgraft train one_batch.h5ad --programs hallmark.gmt --condition-name batch1 --layer counts -o reference.scgraft
  scgraft train reference.h5ad --programs reactome.gmt --condition study --genes-from genes.txt --set norm=none \\
      -o reference.scgraft";

/// Train a reference.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Train {
    /// Cells of the reference: h5ad, 10x .h5, loom, h5mu or a folder with matrix.mtx
    pub reference: PathBuf,
    /// Where to write the model
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
    /// Write the cells with their embedding as well, for `annotate`, `enrich`, `plot`
    #[arg(long, value_name = "FILE")]
    pub embed: Option<PathBuf>,
    #[command(flatten)]
    pub values: Values,
    #[command(flatten)]
    pub condition: Condition,
    #[command(flatten)]
    pub measured: Measured,
    #[command(flatten)]
    pub covariates: Covariates,
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub model: ModelOptions,
    #[command(flatten)]
    pub fit: Fit,
}

/// Further covariates, which a query has to have as well.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Data")]
pub(crate) struct Covariates {
    /// Columns of obs with further categorical covariates
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub covariates: Vec<String>,
    /// Columns of obs with continuous covariates
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub continuous: Vec<String>,
}

/// Which genes and programs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Genes and programs")]
pub(crate) struct Choice {
    /// Gene sets (GMT); several files may be given
    #[arg(long, value_name = "GMT", value_delimiter = ',', num_args = 1..)]
    pub programs: Vec<PathBuf>,
    /// Fewest genes of the data that a program holds [upstream: min_genes, which is one less]
    #[arg(long, default_value_t = PAPER_MIN_GENES, value_name = "N")]
    pub min_genes: usize,
    /// Most genes of the data that a program holds
    #[arg(long, value_name = "N")]
    pub max_genes: Option<usize>,
    /// Take gene names as they are written: CD8A is not Cd8a
    #[arg(long)]
    pub exact_case: bool,
    /// How many of the most variable genes to keep
    #[arg(long, default_value_t = 2000, value_name = "N", conflicts_with_all = ["all_genes", "genes_from"])]
    pub hvg: usize,
    /// How variable genes are scored
    #[arg(long, value_enum, default_value_t = Flavor::Seurat, value_name = "FLAVOR")]
    pub hvg_flavor: Flavor,
    /// Keep all genes that are in programs, variable or not
    #[arg(long)]
    pub all_genes: bool,
    /// Take exactly the genes in this file, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "all_genes")]
    pub genes_from: Option<PathBuf>,
    /// Keep chosen genes that are in no program; the paper drops them
    #[arg(long)]
    pub keep_outside_programs: bool,
    /// Gene sets bind softly: other genes may join, held down by L1 [upstream: soft_mask]
    #[arg(long)]
    pub soft: bool,
}

/// Scores of variability; scanpy's flavours.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Flavor {
    /// Normalised dispersion of log-normalised values (the paper's)
    Seurat,
    /// Dispersion against the median of genes of like mean
    CellRanger,
    /// Standardised variance of counts
    SeuratV3,
    /// The same; batches counted before ranks
    SeuratV3Paper,
}

impl Choice {
    pub fn sizes(&self) -> ProgramOptions {
        let case = if self.exact_case { GeneCase::Exact } else { GeneCase::Upper };
        ProgramOptions { case, min_genes: self.min_genes, max_genes: self.max_genes }
    }

    fn genes(&self) -> Result<Genes> {
        if let Some(path) = &self.genes_from {
            return Ok(Genes::Listed(read_list(path)?, self.sizes()));
        }
        let flavor = match self.hvg_flavor {
            Flavor::Seurat => HvgFlavor::Seurat,
            Flavor::CellRanger => HvgFlavor::CellRanger,
            Flavor::SeuratV3 => HvgFlavor::SeuratV3,
            Flavor::SeuratV3Paper => HvgFlavor::SeuratV3Paper,
        };
        let variable = (!self.all_genes).then(|| HvgOptions { flavor, n_top: self.hvg, ..HvgOptions::default() });
        Ok(Genes::Chosen(GeneChoice {
            programs: self.sizes(),
            variable,
            keep_outside_programs: self.keep_outside_programs,
        }))
    }
}

/// Which model, and its settings. Options that a model does not have are refused by it.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelOptions {
    /// Base model; `scgraft models` lists them
    #[arg(long, default_value = "expimap", value_name = "NAME", help_heading = "Model")]
    pub model: String,
    /// Start from this trained model: its genes, its settings and the tensors that both have (scanvi from scvi)
    #[arg(long, value_name = "FILE", help_heading = "Model", conflicts_with_all = ["genes_from", "all_genes", "hvg"])]
    pub from: Option<PathBuf>,
    /// Sizes of the hidden layers [default: the model's; for expimap 256,256,256] [upstream: hidden_layer_sizes]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', help_heading = "Model")]
    pub hidden: Vec<usize>,
    /// Dropout rate of the hidden layers [default: the model's; for expimap 0.05] [upstream: dr_rate]
    #[arg(long, value_name = "X", help_heading = "Model")]
    pub dropout: Option<f32>,
    /// Likelihood, such as nb, zinb for raw counts, mse for log-normalised values [default: the model's; for expimap
    /// nb] [upstream: recon_loss, gene_likelihood]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub likelihood: Option<String>,
    /// Output function: softmax, softplus, exp, relu, identity [upstream: decoder_last_layer]
    #[arg(long = "output-function", value_name = "NAME", help_heading = "Model")]
    pub output_function: Option<String>,
    /// Weight of the group lasso that prunes programs [default: 0.7] [upstream: alpha]
    #[arg(long, value_name = "X", help_heading = "Model")]
    pub lasso_weight: Option<f32>,
    #[command(flatten)]
    pub weights: Weights,
}

impl ModelOptions {
    pub fn settings(&self) -> Result<Map<String, Value>> {
        let hidden = (!self.hidden.is_empty()).then(|| json!(self.hidden));
        self.weights.settings(vec![
            ("hidden", hidden),
            ("dropout", self.dropout.map(Value::from)),
            ("likelihood", self.likelihood.clone().map(Value::from)),
            ("output", self.output_function.clone().map(Value::from)),
            ("lasso_weight", self.lasso_weight.map(Value::from)),
        ])
    }
}

impl Train {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        let entry = find(&self.model.model)?;
        let mut settings = self.model.settings()?;
        published(self.fit.compat, entry, &mut settings);
        let from = self.model.from.as_ref().map(Model::load).transpose()?;
        if let Some(from) = &from {
            // What the user says comes before the trained model's.
            if let Value::Object(trained) = from.network.config() {
                trained.into_iter().for_each(|(name, value)| {
                    settings.entry(name).or_insert(value);
                });
            }
        }
        let settings = Value::Object(settings);
        let mut inputs: Vec<&Path> = vec![&self.reference];
        inputs.extend(self.model.from.as_deref());
        inputs.extend(self.choice.programs.iter().chain(&self.choice.genes_from).map(PathBuf::as_path));
        inputs.iter().try_for_each(|i| files::check_input(i))?;
        files::check_outputs(std::iter::once(&self.output).chain(&self.embed), &inputs)?;
        let Some(condition) = self.condition.source() else {
            bail!(
                "say what the condition (batch, study) of a cell is: --condition COLUMN, or --condition-name NAME for \
                 data that is one batch"
            );
        };
        let ungiven = entry.needs.iter().find_map(|input| match input {
            Input::Programs if self.choice.programs.is_empty() => Some("--programs FILE.gmt"),
            Input::Labels if self.measured.labels.is_none() => Some("--labels COLUMN"),
            _ => None,
        });
        if let Some(option) = ungiven {
            bail!("the model {} needs {option}", entry.name);
        }
        let gmt = GmtOptions { duplicates: DuplicateSets::PrefixFile, ..GmtOptions::default() };
        let sets = if self.choice.programs.is_empty() { Vec::new() } else { read_gmt(&self.choice.programs, &gmt)? };
        let mut cells = files::read(&self.reference, &self.slots(entry))?;
        let mut plan = self.plan(entry, settings, condition, cells.n_cells(), global)?;
        if let Some(from) = &from {
            plan.train.start_from_data = false;
            plan.genes = Genes::Listed(from.header.genes.clone(), self.choice.sizes());
            if self.fit.epochs.is_none() {
                plan.train.epochs = entry.training.epochs.of_adopted(cells.n_cells(), plan.train.batch_size);
            }
        }
        if entry.reads(Input::Proteins) {
            input::usual_proteins(&mut plan.prepare, &cells);
        }

        let (prepared, programs) = prepare_reference(&cells, &sets, &plan)?;
        input::warn(&prepared);
        let n_programs = programs.as_ref().map_or(0, |p| p.names.len());
        let of_programs = match sets.len() {
            0 => String::new(),
            given => format!(", {n_programs} of {given} programs"),
        };
        tracing::info!(
            "{} genes{of_programs}; conditions: {}",
            prepared.n_genes(),
            prepared.condition.levels.join(", ")
        );
        let header = header(&prepared, programs, plan.membership);
        let mut model = Model::new(&plan.model, &plan.settings, header, plan.train.seed)?;
        if let Some(from) = &from {
            let taken = model.adopt(from)?;
            tracing::info!("{taken} tensors taken over from {}", from.entry.name);
        }
        let report = train(&mut model, &prepared, &plan, global)?;
        self.describe(&mut model, &plan, &prepared, &report);
        stop::check()?;
        scgraft::save::model(&self.output, &model)?;
        tracing::info!("wrote {}", self.output.display());
        let embedding = embed(&model, &prepared)?;
        if let Some(path) = &self.embed {
            slots::put_embedding(&mut cells, &model, &embedding, self.values.gene_column.as_deref());
            files::write(path, &cells)?;
        }
        let active = embedding.active.iter().filter(|a| **a).count();
        summary(out, &report, &model);
        out.line(format!(
            "{} cells, {} genes, {active} of {} dimensions active; {}",
            prepared.n_cells(),
            prepared.n_genes(),
            embedding.names.len(),
            told(&report)
        ));
        out.put("model", self.output.display().to_string());
        out.put("cells", prepared.n_cells());
        out.put("genes", prepared.n_genes());
        out.put("conditions", prepared.condition.levels.clone());
        out.put("programs", n_programs);
        out.put("active_programs", active);
        Ok(())
    }

    fn plan(
        &self,
        entry: &ModelEntry,
        settings: Value,
        condition: ConditionSource,
        n_cells: usize,
        global: &Global,
    ) -> Result<ReferencePlan> {
        let mut prepare = input::prepare(&self.values, condition);
        self.measured.apply(&mut prepare);
        prepare.covariates = self.covariates.covariates.clone();
        prepare.continuous = self.covariates.continuous.clone();
        prepare.kind = (entry.values)(&settings);
        Ok(ReferencePlan {
            model: self.model.model.clone(),
            settings,
            prepare,
            genes: self.choice.genes()?,
            membership: if self.choice.soft { Membership::Soft } else { Membership::Hard },
            train: self.fit.config(&entry.training, &entry.published_training.0, n_cells, global.train_seed())?,
        })
    }

    /// What to read: all of it only when it is to be written again.
    fn slots(&self, entry: &ModelEntry) -> ReadOptions {
        let all = ReadOptions::default();
        if self.embed.is_some() || self.measured.proteins.is_some() || entry.reads(Input::Proteins) {
            return all;
        }
        let layers = self.values.layer.iter().cloned();
        ReadOptions {
            x: self.values.layer.is_none() && !self.values.raw,
            layers: scgraft::io::Select::only(layers),
            raw: self.values.raw,
            ..ReadOptions::tables()
        }
    }

    /// Writes into the model how it came about; nothing that differs between runs of the same settings.
    fn describe(&self, model: &mut Model, plan: &ReferencePlan, prepared: &Prepared, report: &FitReport) {
        let file = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let p = &mut model.provenance;
        p.insert("scgraft".into(), env!("CARGO_PKG_VERSION").into());
        p.insert("reference".into(), file(&self.reference).into());
        p.insert("programs".into(), self.choice.programs.iter().map(|p| file(p)).collect::<Vec<_>>().into());
        p.insert("cells".into(), prepared.n_cells().into());
        p.insert("values".into(), plan.prepare.slot.to_string().into());
        p.insert("condition_columns".into(), self.condition.condition.clone().into());
        if let Some(column) = &self.measured.labels {
            p.insert("label_column".into(), column.clone().into());
        }
        if let Some(from) = &self.model.from {
            p.insert("started_from".into(), file(from).into());
        }
        p.insert("best_epoch".into(), report.best_epoch.into());
        if let Ok(config) = serde_json::to_value(&plan.train) {
            p.insert("training".into(), config);
        }
    }
}

/// Fits with a bar over the epochs.
fn train(model: &mut Model, prepared: &Prepared, plan: &ReferencePlan, global: &Global) -> Result<FitReport> {
    stop::check()?;
    let mut epochs = Epochs::new("training", plan.train.epochs, global);
    Ok(fit(model, prepared, &plan.train, &mut |r| epochs.look(r))?)
}

/// How a fit went, in words.
pub(crate) fn told(report: &FitReport) -> String {
    let how = match (report.stopped_early, report.last_gain) {
        (true, _) => "arrived: no better state was found for a while".to_owned(),
        (false, None) => "too few to tell whether it arrived".to_owned(),
        (false, Some(gain)) if report.arrived() => {
            format!("arrived: the last fifth of them gained {:.3} % of the loss", 100.0 * gain)
        }
        (false, Some(gain)) => format!(
            "NOT ARRIVED: the last fifth of them still gained {:.2} % of the loss; give it more --epochs",
            100.0 * gain
        ),
    };
    format!("{} epochs, {} steps, state of epoch {}; {how}", report.epochs, report.steps, report.best_epoch + 1)
}

/// How a fit went, in the JSON summary.
pub(crate) fn summary(out: &mut Output, report: &FitReport, model: &Model) {
    out.put("epochs", report.epochs);
    out.put("best_epoch", report.best_epoch + 1);
    out.put("stopped_early", report.stopped_early);
    out.put("arrived", report.arrived());
    out.put("trained_values", report.n_trainable);
    let loss = model.history.get(report.best_epoch).and_then(|r| r.validation_loss);
    out.put("validation_loss", loss.map_or(Value::Null, number));
}

/// Whether cells hold a column.
pub(crate) fn has_column(cells: &Cells, name: &str) -> bool {
    cells.obs.column(name).is_some()
}
