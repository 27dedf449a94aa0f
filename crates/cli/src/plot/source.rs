//! The cells that pictures are drawn of: a query, alone or with its reference.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use scgraft::annotate::Placed;
use scgraft::cells::{Cells, Slot};
use scgraft::shown::{Place, Shown};
use scgraft::{Embedding, slots};

use crate::direction::Direction;
use crate::encode;

/// Which cells, and where their genes are.
#[derive(Args)]
pub(crate) struct Source {
    /// A mapped query, or a reference with its embedding
    pub mapped: PathBuf,
    /// The reference with its embedding, or a model that brings its cells: they are drawn too, and called `reference` where
    /// a column says nothing of them
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    #[command(flatten)]
    pub direction: Direction,
    #[command(flatten)]
    pub genes: Genes,
}

/// Where the expression of genes stands.
#[derive(Args)]
pub(crate) struct Genes {
    /// Take genes from this layer instead of X
    #[arg(long, value_name = "NAME", conflicts_with = "raw", help_heading = "Genes")]
    pub layer: Option<String>,
    /// Take genes from `raw` instead of X
    #[arg(long, help_heading = "Genes")]
    pub raw: bool,
    /// Column of var with the gene names, instead of its row names
    #[arg(long, value_name = "COLUMN", help_heading = "Genes")]
    pub gene_column: Option<String>,
}

impl Genes {
    pub fn slot(&self) -> Slot {
        Slot::of(self.layer.as_ref(), self.raw)
    }
}

/// Cells that were read, the reference's first.
pub(crate) struct Read(Vec<(String, Cells, Embedding)>);

impl Source {
    pub fn inputs(&self) -> Vec<&Path> {
        self.reference.iter().chain([&self.mapped]).map(PathBuf::as_path).collect()
    }

    /// Reads the cells; their expression only where one of the names is a gene.
    pub fn read<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Result<Read> {
        let mut parts = Vec::new();
        for path in self.inputs() {
            let (cells, embedding) = encode::stored(path, slots::LATENT)?;
            let embedding = self.direction.apply(embedding, path)?;
            parts.push((path.display().to_string(), cells, embedding));
        }
        let mut read = Read(parts);
        let slot = self.genes.slot();
        let needed = slot == Slot::Raw || {
            let shown = read.shown(self)?;
            let places = names.into_iter().map(|name| shown.place(name)).collect::<Result<Vec<_>, _>>()?;
            places.iter().any(|place| matches!(place, Place::Gene(_)))
        };
        if needed {
            let inputs = self.inputs();
            for (path, (_, cells, _)) in inputs.into_iter().zip(&mut read.0) {
                encode::add_expression(path, &slot, cells)?;
            }
        }
        Ok(read)
    }
}

impl Read {
    pub fn shown(&self, source: &Source) -> Result<Shown<'_>> {
        fn placed((name, cells, embedding): &(String, Cells, Embedding)) -> Placed<'_> {
            Placed { name, cells, embedding }
        }
        let (query, reference) = (self.query(), self.reference());
        Ok(Shown::new(reference.map(placed), placed(query), source.genes.slot(), source.genes.gene_column.clone())?)
    }

    pub fn query(&self) -> &(String, Cells, Embedding) {
        &self.0[self.0.len() - 1]
    }

    pub fn reference(&self) -> Option<&(String, Cells, Embedding)> {
        self.0.iter().rev().nth(1)
    }
}
