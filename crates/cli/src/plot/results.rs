//! Pictures of results: tests, training, genes, labels, metrics.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::cells::{Cells, Column, Frame};
use scgraft::evaluate::Evaluated;
use scgraft::io::{ReadOptions, Select, read_h5ad, read_table};
use scgraft::programs::programs;
use scgraft::report::{Confusion, GeneBars, Sankey};
use scgraft::{page, pictures, slots};

use super::Canvas;
use crate::label_map::LabelMap;
use crate::{encode, files, input, remote};

#[derive(Args)]
pub(crate) struct Bayes {
    /// A file that `enrich` wrote to
    pub mapped: PathBuf,
    /// Name of the test [default: the one that a report shows first]
    #[arg(long, value_name = "NAME")]
    pub test: Option<String>,
    /// Group to draw [default: the first]
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Training {
    /// A model, or a mapped query
    pub file: PathBuf,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Genes {
    /// A model
    pub model: PathBuf,
    /// The program
    pub program: String,
    /// Genes drawn
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub top: usize,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Labels {
    /// A file that `annotate` wrote to
    pub mapped: PathBuf,
    /// Label column that was carried over
    #[arg(long, value_name = "COLUMN")]
    pub labels: String,
    /// Column of obs with the labels the cells came with [default: that of --labels]
    #[arg(long, value_name = "COLUMN")]
    pub truth: Option<String>,
    #[command(flatten)]
    pub label_map: LabelMap,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct MetricTable {
    /// The table of `evaluate --tsv`, or with --ranks of `trial`
    pub table: PathBuf,
    /// As the scArches paper's overview: colours are ranks, circles as wide as scaled values, seconds beside them
    #[arg(long)]
    pub ranks: bool,
    /// Title
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub title: String,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

/// A test of a file: the one of that name, or the one that a report shows first.
pub(super) fn test(file: &Path, cells: &Cells, name: Option<&str>) -> Result<(String, Frame)> {
    let tests = slots::tests(cells);
    let names: Vec<&str> = tests.iter().map(|t| t.0.as_str()).collect();
    let main = if name.is_none() { page::main_test(cells) } else { None };
    let found = tests.iter().find(|t| Some(t.0.as_str()) == name.or(main.as_deref()));
    let file = file.display();
    let Some(found) = found else {
        match name {
            Some(name) if !names.is_empty() => {
                bail!("{file}: no test `{name}`; there are: {}", input::nearest_first(name, &names))
            }
            _ => bail!("{file}: no test in uns; run `scgraft enrich` first"),
        }
    };
    if name.is_none() && names.len() > 1 {
        let others: Vec<String> = names.iter().filter(|n| **n != found.0).map(|n| format!("`{n}`")).collect();
        tracing::info!("of the test `{}`; --test takes another: {}", found.0, others.join(", "));
    }
    Ok(found.clone())
}

impl Bayes {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        files::check_output(&self.output, &[&self.mapped])?;
        let (cells, _) = encode::stored(&self.mapped, slots::LATENT)?;
        let (_, table) = test(&self.mapped, &cells, self.test.as_deref())?;
        let all = pictures::comparisons(&table);
        let groups: Vec<&str> = all.iter().map(|c| c.group.as_str()).collect();
        let chosen = match &self.group {
            None => all.first(),
            Some(name) => all.iter().find(|c| c.group == *name),
        };
        let Some(chosen) = chosen else {
            bail!("there is no group `{}`; there are {}", self.group.unwrap_or_default(), groups.join(", "));
        };
        to.save(chosen, &self.output)
    }
}

impl Training {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        files::check_output(&self.output, &[&self.file])?;
        remote::check_input(&self.file)?;
        let picture = match remote::model(&self.file) {
            Ok(model) => pictures::training("", &model.history, model.kept_epoch()),
            Err(as_model) => match encode::stored(&self.file, slots::LATENT) {
                Ok((cells, _)) => pictures::training("", &slots::stored_history(&cells), slots::kept_epoch(&cells)),
                Err(_) => return Err(as_model),
            },
        };
        let Some(picture) = picture else {
            bail!("{}: no training history: it was not trained", self.file.display());
        };
        to.save(&picture, &self.output)
    }
}

impl Genes {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        files::check_output(&self.output, &[&self.model])?;
        let model = remote::model(&self.model)?;
        let Some(all) = programs(&model, &[])? else {
            bail!("the dimensions of a {} model are not gene programs", model.entry.name);
        };
        let Some(program) = all.iter().find(|p| p.name == self.program) else {
            let names: Vec<&str> = all.iter().map(|p| p.name.as_str()).collect();
            let near = input::nearest_first(&self.program, &names);
            bail!("the model has no program `{}`; nearest name first: {near}", self.program);
        };
        let genes = pictures::gene_weights(program, self.top);
        to.save(&GeneBars { title: self.program, genes }, &self.output)
    }
}

impl Labels {
    /// The cells, the name of the labels they came with, and those labels as the reference names them.
    fn read(&self) -> Result<(Cells, &str, Column)> {
        files::check_input(&self.mapped)?;
        files::check_output(&self.output, &[&self.mapped])?;
        let cells = read_h5ad(&self.mapped, &ReadOptions { uns: Select::All, ..ReadOptions::tables() })?;
        let file = self.mapped.display();
        let truth = self.truth.as_ref().unwrap_or(&self.labels);
        for (name, remedy) in [
            (&format!("{}_pred", self.labels), "run `scgraft annotate` first"),
            (truth, "name the column with --truth"),
        ] {
            if cells.obs.column(name).is_none() {
                let near = input::nearest_first(name, &cells.obs.names());
                bail!("{file}: obs has no column `{name}`; {remedy}; its columns, nearest name first: {near}");
            }
        }
        let given = self.label_map.read()?.column(cells.obs.column(truth).context("no column")?);
        Ok((cells, truth, given))
    }

    fn table(&self) -> Result<Confusion> {
        let (cells, truth, given) = self.read()?;
        pictures::confusion(&cells, &self.labels, &given)
            .with_context(|| format!("`{truth}` and `{}_pred` hold no labels of the same cells", self.labels))
    }

    pub fn confusion(self, to: &mut Canvas) -> Result<()> {
        to.save(&self.table()?, &self.output)
    }

    pub fn sankey(self, to: &mut Canvas) -> Result<()> {
        to.save(&Sankey(&self.table()?), &self.output)
    }

    pub fn reliability(self, to: &mut Canvas) -> Result<()> {
        let (cells, truth, given) = self.read()?;
        let Some(curve) = pictures::reliability(&cells, &self.labels, (truth, &given))? else {
            bail!("no cell has a label in `{truth}` that the reference has too; name them alike with --label-map");
        };
        to.save(&curve, &self.output)
    }
}

impl MetricTable {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        files::check_input(&self.table)?;
        files::check_output(&self.output, &[&self.table])?;
        let table = read_table(&self.table).context("not a table; give it that of `scgraft evaluate --tsv`")?;
        let found = match self.ranks {
            true => pictures::overview(&self.title, &table),
            false => pictures::metrics(&self.title, &Evaluated::of_table(&table)),
        };
        let Some(picture) = found else {
            bail!("{}: no column is a metric; give it the table of `scgraft evaluate --tsv`", self.table.display());
        };
        to.save(&picture, &self.output)
    }
}
