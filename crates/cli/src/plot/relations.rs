//! Pictures of how programs relate: correlation of scores, overlap of genes, which genes they share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::cells::distinct;
use scgraft::drawn::{self, Relation};
use scgraft::models::Model;
use scgraft::slots;

use super::{Canvas, results};
use crate::direction::Direction;
use crate::{encode, files, remote};

#[derive(Args)]
pub(crate) struct Correlation {
    /// A mapped query, or a reference with its embedding
    pub mapped: PathBuf,
    /// Programs; `*` stands for any text, `?` for any letter [default: all active ones]
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub program: Vec<String>,
    #[command(flatten)]
    pub enriched: Enriched,
    #[command(flatten)]
    pub direction: Direction,
    /// Write the correlations as a table
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

/// Programs of a test.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Enriched {
    /// Only programs that a test found enriched: the file that `enrich` wrote to
    #[arg(long, value_name = "FILE")]
    pub enriched: Option<PathBuf>,
    /// Name of that test [default: the one that a report shows first]
    #[arg(long, value_name = "NAME", requires = "enriched")]
    pub test: Option<String>,
}

#[derive(Args)]
pub(crate) struct Genes {
    /// A model
    pub model: PathBuf,
    /// Programs; `*` stands for any text, `?` for any letter [default: all active ones]
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub program: Vec<String>,
    #[command(flatten)]
    pub enriched: Enriched,
    /// Heaviest genes of a program that count [default: all for the overlap, 10 for the members]
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Write the numbers as a table
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

impl Enriched {
    /// Names of the programs that the test found enriched; `None` where none was asked for.
    fn read(&self) -> Result<Option<Vec<String>>> {
        let Some(path) = &self.enriched else { return Ok(None) };
        let (cells, _) = encode::stored(path, slots::LATENT)?;
        let (name, table) = results::test(path, &cells, self.test.as_deref())?;
        let file = path.display();
        let column = |name: &str| table.column(name).with_context(|| format!("{file}: the test has no column {name}"));
        let (programs, marks) = (column("program")?.texts(), column("enriched")?);
        let is_enriched = |i: usize| marks.text(i).is_some_and(|t| t == "true" || t == "True");
        let out = distinct(programs.into_iter().enumerate().filter_map(|(i, p)| p.filter(|_| is_enriched(i))));
        if out.is_empty() {
            bail!("{file}: the test `{name}` found no program enriched");
        }
        Ok(Some(out))
    }

    fn inputs(&self) -> Vec<&Path> {
        self.enriched.iter().map(PathBuf::as_path).collect()
    }
}

impl Correlation {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        let inputs = [&[self.mapped.as_path()][..], &self.enriched.inputs()].concat();
        files::check_outputs([&self.output].into_iter().chain(&self.tsv), &inputs)?;
        let (_, e) = encode::stored(&self.mapped, slots::LATENT)?;
        let e = self.direction.apply(e, &self.mapped)?;
        let found = drawn::correlation(&e, &self.program, self.enriched.read()?.as_deref())?;
        save(&found, (&self.tsv, &self.output), to)
    }
}

impl Genes {
    pub fn overlap(self, to: &mut Canvas) -> Result<()> {
        self.draw(drawn::overlap, to)
    }

    pub fn members(self, to: &mut Canvas) -> Result<()> {
        self.draw(drawn::members, to)
    }

    fn draw(&self, of: OfModel, to: &mut Canvas) -> Result<()> {
        let inputs = [&[self.model.as_path()][..], &self.enriched.inputs()].concat();
        files::check_outputs([&self.output].into_iter().chain(&self.tsv), &inputs)?;
        let model = remote::model(&self.model)?;
        let found = of(&model, &self.program, self.enriched.read()?.as_deref(), self.top)?;
        save(&found, (&self.tsv, &self.output), to)
    }
}

type OfModel = fn(&Model, &[String], Option<&[String]>, Option<usize>) -> Result<Relation, scgraft::Error>;

fn save(found: &Relation, (tsv, output): (&Option<PathBuf>, &Path), to: &mut Canvas) -> Result<()> {
    files::write_table(tsv.as_ref(), &found.table)?;
    to.save(&found.picture, output)
}
