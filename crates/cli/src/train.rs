//! `scgraft train`: a reference from cells and gene sets.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use scgraft::bundle::bundle;
use scgraft::cells::{
    Cells, CellsError, ConditionSource, GeneCase, GeneChoice, GeneSet, HvgFlavor, HvgOptions, PAPER_MIN_GENES,
    PrepareOptions, ProgramOptions, choose_sets,
};
use scgraft::columns;
use scgraft::gather::{FILE, GatherPlan, GenesOf, gather};
use scgraft::io::{ReadOptions, file_name, read_gmt, read_list, together};
use scgraft::models::{Input, Membership, Model, ModelEntry, find};
use scgraft::reference::{Genes, Reference, ReferencePlan, prepare_reference, train_reference};
use scgraft::{Embedding, slots};
use serde_json::{Value, json};

use super::fitted::{summary, told};
use super::input::{self, Condition, Measured, OrthologTable, Values};
use super::progress::{Checkpoints, Epochs};
use super::settings::{Fit, Weights, published};
use super::{Global, Output, files, remote, stop};

const EXAMPLES: &str = "\
Genes are chosen as in the expiMap paper: those in gene sets, of these the most variable, then the gene sets that still
have enough of them. Raw counts are expected unless --likelihood mse. Several files are joined by the names of their genes; without
--condition each file is a condition, named after it (column scgraft_file of obs).

Examples:
  scgraft train reference.h5ad --programs reactome.gmt --condition study -o reference.scgraft
  scgraft train reference.h5ad --programs reactome.gmt,hallmark.gmt --condition study --soft \\
      --embed reference_out.h5ad -o reference.scgraft
  scgraft train reference.h5ad --programs reactome.gmt --exclude-program '*INTERFERON*' --free 5 --condition study \\
      -o reference.scgraft
  scgraft train pbmc3k.h5ad pbmc4k.h5ad pbmc8k.h5ad --programs hallmark.gmt --embed reference_out.h5ad -o reference.scgraft
  scgraft train one_batch.h5ad --programs hallmark.gmt --condition-name batch1 --layer counts -o reference.scgraft
  scgraft train reference.h5ad --programs reactome.gmt --condition study --genes-from genes.txt --set norm=none \\
      -o reference.scgraft";

/// Train a reference.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Train {
    /// Cells of the reference: h5ad, 10x .h5, loom, h5mu or a folder with matrix.mtx; several files are one reference
    #[arg(required = true)]
    pub references: Vec<PathBuf>,
    /// Where to write the model
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
    /// Write the cells with their embedding as well, for `annotate`, `enrich`, `plot`
    #[arg(long, value_name = "FILE")]
    pub embed: Option<PathBuf>,
    /// Make the cells, without their counts, a part of the model, with these columns of obs: it then annotates by itself
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub with_cells: Vec<String>,
    #[command(flatten)]
    pub values: Values,
    #[command(flatten)]
    pub condition: Condition,
    /// Of several files take the genes that any of them has, 0 where a file lacks one [default: those that all have]
    #[arg(long, help_heading = "Data")]
    pub union: bool,
    #[command(flatten)]
    pub measured: Measured,
    #[command(flatten)]
    pub covariates: Covariates,
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub orthologs: OrthologTable,
    #[command(flatten)]
    pub model: ModelOptions,
    #[command(flatten)]
    pub fit: Fit,
    #[command(flatten)]
    pub checkpoints: Checkpoints,
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
    /// Only gene sets of these names; `*` stands for any text, `?` for any letter
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub only_program: Vec<String>,
    /// Leave gene sets of these names out; `*` stands for any text, `?` for any letter
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub exclude_program: Vec<String>,
    /// Add so many programs without gene set, free_1, …: what the gene sets do not cover; implies --keep-outside-programs
    /// [upstream: n_ext]
    #[arg(long, default_value_t = 0, value_name = "N", visible_alias = "new-programs")]
    pub free: usize,
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

    /// Refuses a model of gene programs without gene sets.
    pub fn enough_for(&self, entry: &ModelEntry) -> Result<()> {
        if entry.needs.contains(&Input::Programs) && self.programs.is_empty() {
            bail!("the model {} needs --programs FILE.gmt", entry.name);
        }
        Ok(())
    }

    /// The gene sets that are asked for; none where there are no files of them.
    pub fn sets(&self) -> Result<Vec<GeneSet>> {
        let sets = if self.programs.is_empty() { Vec::new() } else { read_gmt(&self.programs)? };
        Ok(choose_sets(sets, &self.only_program, &self.exclude_program)?)
    }

    /// A reference of these genes and programs, trained as usual.
    pub fn plan(&self, model: &str, settings: Value, prepare: PrepareOptions) -> Result<ReferencePlan> {
        Ok(ReferencePlan {
            model: model.to_owned(),
            prepare: PrepareOptions { kind: (find(model)?.values)(&settings), ..prepare },
            settings,
            genes: self.genes()?,
            membership: if self.soft { Membership::Soft } else { Membership::Hard },
            n_free: self.free,
            ..ReferencePlan::default()
        })
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
    pub fn settings(&self) -> Result<Value> {
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
        let from = self.model.from.as_ref().map(remote::model).transpose()?;
        let mut inputs: Vec<&Path> = self.references.iter().map(PathBuf::as_path).collect();
        let tables = self.choice.genes_from.iter().chain(&self.orthologs.orthologs);
        inputs.extend(self.choice.programs.iter().chain(tables).map(PathBuf::as_path));
        inputs.iter().try_for_each(|i| files::check_input(i))?;
        inputs.extend(self.model.from.as_deref());
        let kept = self.checkpoints.file(&self.output);
        if let Some(file) = kept.as_ref().filter(|k| self.checkpoints.resume && !k.exists()) {
            bail!("--resume: there is no checkpoint to go on from; looked for {}", file.display());
        }
        files::check_outputs(std::iter::once(&self.output).chain(&self.embed).chain(&kept), &inputs)?;
        let condition = match self.condition.source() {
            Some(condition) => condition,
            None if self.references.len() > 1 => ConditionSource::Columns(vec![FILE.to_owned()]),
            None => bail!(
                "say what the condition (batch, study) of a cell is: --condition COLUMN, or --condition-name NAME for \
                 data that is one batch"
            ),
        };
        self.choice.enough_for(entry)?;
        if entry.needs.contains(&Input::Labels) && self.measured.labels.is_none() {
            bail!("the model {} needs --labels COLUMN", entry.name);
        }
        let sets = self.choice.sets()?;
        let mut cells = self.read(&self.slots(entry))?;
        let file = files::shown(&self.references).join(", ");
        self.with_cells.iter().try_for_each(|column| columns::find(&cells, &file, column).map(|_| ()))?;
        let mut plan = self.plan(entry, settings, condition, cells.n_cells(), global)?;
        if let Some(from) = &from {
            plan.start_from(from, self.choice.sizes());
        }
        stop::check()?;
        let mut epochs = Epochs::watch("training", plan.train.epochs, global, self.checkpoints.of(&self.output)?);
        let trained = match train_reference(&cells, &sets, from.as_ref(), &plan, &mut epochs) {
            Err(scgraft::Error::Cells(error)) => return Err(self.with_all_slots(*error, &sets, &plan)),
            other => other?,
        };
        epochs.front.clear();
        let Reference { mut model, prepared, report } = trained;
        self.describe(&mut model);
        stop::check()?;
        let embedding = Embedding::of(&model, &prepared)?;
        if self.embed.is_some() || !self.with_cells.is_empty() {
            slots::put_embedding(&mut cells, &model, &embedding, self.values.gene_column.as_deref());
        }
        if !self.with_cells.is_empty() {
            bundle(&mut model, &cells, &file, &self.with_cells)?;
        }
        together(|| {
            scgraft::save::model(&self.output, &model)?;
            files::wrote(&self.output);
            self.embed.as_ref().map_or(Ok(()), |path| files::write(path, &cells))
        })?;
        let active = embedding.active.iter().filter(|a| **a).count();
        summary(out, &report);
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
        epochs.done();
        out.put("programs", model.header.n_programs());
        out.put("active_programs", active);
        Ok(())
    }

    /// The same error with all slots of the file in sight, so that it can say which of them would do.
    fn with_all_slots(&self, error: CellsError, sets: &[GeneSet], plan: &ReferencePlan) -> anyhow::Error {
        let again = self.read(&ReadOptions::default()).ok();
        match again.map(|cells| prepare_reference(&cells, sets, plan)) {
            Some(Err(better)) => better.into(),
            _ => scgraft::Error::from(error).into(),
        }
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
        prepare.orthologs = self.orthologs.read()?;
        let (ours, published) = entry.fitting(self.model.from.is_some());
        let train = self.fit.config(&ours, &published, n_cells, global.train_seed())?;
        Ok(ReferencePlan { train, ..self.choice.plan(&self.model.model, settings, prepare)? })
    }

    /// The cells of all files.
    fn read(&self, options: &ReadOptions) -> Result<Cells> {
        let read = |path: &PathBuf| {
            let cells = files::read(path, options)?;
            if self.embed.is_some() {
                files::can_keep(&cells, true)?;
            }
            Ok(cells)
        };
        let mut parts = self.references.iter().map(read).collect::<Result<Vec<_>>>()?;
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let mut names: Vec<String> = self.references.iter().map(|path| files::stem(path)).collect();
        if (1..names.len()).any(|i| names[..i].contains(&names[i])) {
            names = files::shown(&self.references);
        }
        let named: Vec<(String, &Cells)> = names.into_iter().zip(&parts).collect();
        let plan = GatherPlan {
            genes: if self.union { GenesOf::Any } else { GenesOf::All },
            gene_column: self.values.gene_column.clone(),
            gene_names: self.values.gene_names.clone().unwrap_or_default(),
        };
        let found = gather(&named, &plan)?;
        for (slot, reason) in &found.left_out {
            tracing::warn!("{slot} is left out: {reason}");
        }
        found.has(&self.values.slot())?;
        let (each, all) = &found.n_genes;
        let each: Vec<String> = each.iter().map(usize::to_string).collect();
        let which = if self.union {
            "that any file has; where a file lacks one its cells have 0"
        } else {
            "that all files have"
        };
        tracing::info!(
            "{} cells of {} files, of {} genes; {all} genes are taken: those {which}",
            found.cells.n_cells(),
            each.len(),
            each.join(" and ")
        );
        Ok(found.cells)
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

    /// Writes into the model which files it is from.
    fn describe(&self, model: &mut Model) {
        let p = &mut model.provenance;
        let files: Vec<String> = self.references.iter().map(|p| file_name(p)).collect();
        p.insert("reference".into(), files.join(", ").into());
        p.insert("programs".into(), self.choice.programs.iter().map(|p| file_name(p)).collect::<Vec<_>>().into());
        if let Some(from) = &self.model.from {
            p.insert("started_from".into(), file_name(from).into());
        }
    }
}
