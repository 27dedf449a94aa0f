//! `scgraft umap`: cells in the plane, and a query in the plane of its reference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use scgraft::analysis::umap::{Umap, UmapOptions, umap};
use scgraft::cells::{Array, Cells, Dense, Uns};
use scgraft::{Embedding, slots};

use super::near::Near;
use super::output::number;
use super::{Global, Output, encode, files, stop};

const EXAMPLES: &str = "\
Writes obsm[\"X_scgraft_umap\"]; `plot umap` and `report` draw what they find there. With --reference, cells are placed
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
        files::check_input(&self.data)?;
        let output = self.output.as_ref().unwrap_or(&self.data);
        let inputs: Vec<&Path> = self.reference.iter().map(PathBuf::as_path).collect();
        files::check_update(&self.data, Some(output), [], &inputs)?;
        let mut cells = files::read_own(&self.data)?;
        let file = self.data.display().to_string();
        let e = slots::embedding(&cells, &self.embedding).map_err(|e| anyhow::anyhow!("{file}: {e}"))?;
        let search = self.near.search(global);
        let mut options = UmapOptions {
            min_dist: self.min_dist.unwrap_or(UmapOptions::default().min_dist),
            spread: self.spread.unwrap_or(UmapOptions::default().spread),
            n_epochs: self.epochs,
            seed: global.seed.unwrap_or(0),
            ..UmapOptions::default()
        };
        let (picture, recall) = match &self.reference {
            None => {
                let found = search.among(&e.mean, self.k, true)?;
                stop::check()?;
                (umap(&e.mean, &found.neighbours, &options)?.embedding, found.recall)
            }
            Some(path) => {
                let (reference, known) = encode::stored(path, &self.embedding)?;
                let Some(Array::Dense(drawn)) = reference.obsm.get(&self.key) else {
                    bail!("{}: no picture in obsm[\"{}\"]; run `scgraft umap` on it first", path.display(), self.key);
                };
                let noted = noted(&reference, &self.key);
                options.min_dist = self.min_dist.or(noted.map(|n| n.0)).unwrap_or(options.min_dist);
                options.spread = self.spread.or(noted.map(|n| n.1)).unwrap_or(options.spread);
                let Some(shared) = e.select(&known.names) else {
                    bail!("{file}: the embedding lacks dimensions of {}; map it onto this reference", path.display());
                };
                place(drawn, &known, &shared, &options, self.k, &search)?
            }
        };
        self.near.tell(recall);
        note(&mut cells, &self.key, &options, self.reference.is_some());
        cells.obsm.insert(self.key.clone(), Array::Dense(picture));
        files::write(output, &cells)?;
        out.line(format!("obsm[\"{}\"] of {}", self.key, output.display()));
        out.put("output", output.display().to_string());
        out.put("key", self.key);
        out.put("neighbours_recall", number(recall));
        Ok(())
    }
}

fn place(
    drawn: &Dense,
    known: &Embedding,
    query: &Embedding,
    options: &UmapOptions,
    k: usize,
    search: &scgraft::analysis::neighbours::Search,
) -> Result<(Dense, f64)> {
    let picture = Umap::from_embedding(drawn.clone(), options)?;
    let found = search.between(&known.mean, &query.mean, k)?;
    stop::check()?;
    Ok((picture.transform(&found.neighbours)?, found.recall))
}

/// Where the settings of a picture stand.
fn name(key: &str) -> String {
    format!("umap {key}")
}

fn note(cells: &mut Cells, key: &str, options: &UmapOptions, placed: bool) {
    let notes = BTreeMap::from([
        ("min_dist".to_owned(), Uns::Float(options.min_dist)),
        ("spread".to_owned(), Uns::Float(options.spread)),
        ("placed_in_reference".to_owned(), Uns::Bool(placed)),
    ]);
    slots::put_note(cells, &name(key), Uns::Map(notes));
}

/// Closeness and scale of a stored picture.
fn noted(cells: &Cells, key: &str) -> Option<(f64, f64)> {
    let Some(Uns::Map(map)) = slots::note(cells, &name(key)) else { return None };
    let value = |name: &str| if let Some(Uns::Float(v)) = map.get(name) { Some(*v) } else { None };
    Some((value("min_dist")?, value("spread")?))
}

/// A stored picture, and whether it is one in the picture of a reference.
pub(crate) fn stored(cells: &Cells, key: &str) -> Option<(Dense, bool)> {
    let Some(Array::Dense(picture)) = cells.obsm.get(key) else { return None };
    let placed = match slots::note(cells, &name(key)) {
        Some(Uns::Map(map)) => matches!(map.get("placed_in_reference"), Some(Uns::Bool(true))),
        _ => false,
    };
    (picture.n_cols == 2).then(|| (picture.clone(), placed))
}
