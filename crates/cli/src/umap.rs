//! `scgraft umap`: cells in the plane, and a query in the plane of its reference.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::layout::{LayoutPlan, lay_out, place};
use scgraft::slots;

use super::near::Near;
use super::output::number;
use super::{Global, Output, encode, files, stop};

const EXAMPLES: &str = "\
Writes obsm[\"X_scgraft_umap\"], and obsm[\"X_umap\"], where scanpy looks, unless the file has a picture of its own there;
`plot umap` and `report` draw what they find in the first. With --reference, cells are placed
among those of the reference, whose picture stays as it is: first `umap` the reference, then each query on it.

Examples:
  scgraft umap reference_out.h5ad
  scgraft umap mapped.h5ad --reference reference_out.h5ad
  scgraft umap data.h5ad --embedding X_scVI --key X_umap --min-dist 0.3 --approximate";

/// Lay cells out in the plane, or place a query in its reference's picture.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UmapCommand {
    /// A file with an embedding
    pub data: PathBuf,
    /// A reference that has its picture: the cells are placed in it
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Embedding to use, an entry of obsm
    #[arg(long, default_value = slots::LATENT, value_name = "KEY")]
    pub embedding: String,
    /// Entry of obsm to write, and to find the reference's picture in
    #[arg(long, default_value = slots::UMAP, value_name = "KEY")]
    pub key: String,
    /// How tightly cells may be packed [default: 0.5; with --reference that of its picture]
    #[arg(long, value_name = "X")]
    pub min_dist: Option<f64>,
    /// The scale of the picture [default: 1; with --reference that of its picture]
    #[arg(long, value_name = "X")]
    pub spread: Option<f64>,
    /// Rounds over the edges [default: 500 up to 10,000 cells, else 200; a third of it to place a query]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Neighbours of each cell, itself included
    #[arg(long, default_value_t = 15, value_name = "N", help_heading = "Neighbours")]
    pub k: usize,
    #[command(flatten)]
    pub near: Near,
    /// Where to write the file with the picture [default: the file itself]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl UmapCommand {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        let output = self.output.as_ref().unwrap_or(&self.data);
        let inputs: Vec<&Path> = self.reference.iter().map(PathBuf::as_path).collect();
        files::check_update(&self.data, Some(output), [], &inputs)?;
        let mut cells = files::read_own(&self.data, true)?;
        let file = self.data.display().to_string();
        let e = slots::embedding(&cells, &self.embedding).with_context(|| file.clone())?;
        let plan = LayoutPlan {
            k: self.k,
            min_dist: self.min_dist,
            spread: self.spread,
            epochs: self.epochs,
            seed: global.seed.unwrap_or(0),
            search: self.near.search(global)?,
        };
        let (layout, recall) = match &self.reference {
            None => {
                let found = plan.among(&e)?;
                stop::check()?;
                (lay_out(&e, &found.neighbours, &plan)?, found.recall)
            }
            Some(path) => {
                let (reference, known) = encode::stored(path, &self.embedding)?;
                let Some(drawn) = slots::layout(&reference, &self.key) else {
                    bail!("{}: no picture in obsm[\"{}\"]; run `scgraft umap` on it first", path.display(), self.key);
                };
                let found = plan.between(&known, &e).context(file)?;
                stop::check()?;
                (place(&drawn, &found.neighbours, &plan)?, found.recall)
            }
        };
        self.near.tell(recall);
        let mut written = vec![self.key.clone()];
        if self.key == slots::UMAP {
            match slots::put_scanpy_layout(&mut cells, layout.clone()) {
                true => written.push(slots::SCANPY_UMAP.to_owned()),
                false => tracing::info!("obsm[\"{}\"] is the file's own and stays", slots::SCANPY_UMAP),
            }
        }
        slots::put_layout(&mut cells, &self.key, layout);
        files::write(output, &cells)?;
        let slots: Vec<String> = written.iter().map(|key| format!("obsm[\"{key}\"]")).collect();
        out.line(format!("{} of {}", slots.join(", "), output.display()));
        out.put("output", output.display().to_string());
        out.put("key", self.key);
        out.put("slots", written);
        out.put("neighbours_recall", number(recall));
        Ok(())
    }
}
