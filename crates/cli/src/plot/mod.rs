//! `scgraft plot`: single pictures.

mod cells;
mod relations;
mod results;
mod source;

pub(crate) use source::Genes;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use scgraft::drawn;
use scgraft::report::Picture;
use scgraft::report::scene::{Scene, Size};

use super::{Global, Output, files};

const EXAMPLES: &str = "\
The format follows the name: .png or .svg. Scores of programs are turned to the programs' directions: up means that the
genes are up. A name is a column of obs, a program, a gene or a column of obsm (a protein); one that is several things is
said in full: obs/NAME, program/NAME, gene/NAME, obsm/KEY:COLUMN. Genes are log1p of counts per 10,000 where X (--layer,
--raw) holds counts, else as they are; the picture says which. With --reference the cells of the reference are drawn too: a
label L is L_pred in both files, scgraft_origin says where a cell is from.

Examples:
  scgraft plot umap mapped.h5ad --reference reference_out.h5ad --color cell_type,condition -o umap.png
  scgraft plot umap mapped.h5ad --color INTERFERON_SIGNALING -o interferon.svg
  scgraft plot scores mapped.h5ad INTERFERON_SIGNALING TCR_SIGNALING --color condition -o scores.png
  scgraft plot violin mapped.h5ad INTERFERON_SIGNALING --groups cell_type --split condition -o violin.svg
  scgraft plot heatmap mapped.h5ad --groups cell_type --top 3 -o programs.png
  scgraft plot dots mapped.h5ad --groups cell_type --program TCR_SIGNALING,INTERFERON_SIGNALING -o dots.png
  scgraft plot umap mapped.h5ad --color ISG15,obsm/scgraft_proteins:CD4 -o umap.png
  scgraft plot umap mapped.h5ad --reference reference_out.h5ad --color condition -o on_the_atlas.png
  scgraft plot violin mapped.h5ad ISG15 --reference reference_out.h5ad --groups cell_type_pred -o violin.png
  scgraft plot violin mapped.h5ad --color cell_type_uncertainty --groups cell_type_verdict -o uncertainty.png
  scgraft plot bayes mapped.h5ad --test \"condition versus control\" -o bayes.svg
  scgraft plot genes reference.scgraft INTERFERON_SIGNALING -o genes.svg
  scgraft plot training reference.scgraft -o training.png
  scgraft plot confusion mapped.h5ad --labels cell_type -o confusion.svg
  scgraft plot sankey mapped.h5ad --labels cell_type --truth given_type -o flows.svg
  scgraft plot reliability mapped.h5ad --labels cell_type -o reliability.svg
  scgraft plot correlation mapped.h5ad --program 'REACTOME_*' --tsv correlations.tsv -o correlation.png
  scgraft plot overlap reference.scgraft --enriched mapped.h5ad -o overlap.png
  scgraft plot members reference.scgraft --enriched mapped.h5ad --top 10 --tsv members.tsv -o members.png
  scgraft plot metrics metrics.tsv -o metrics.png --size 1600x700
  scgraft plot metrics surgery.tsv --ranks -o overview.png";

/// Draw a picture (PNG or SVG).
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Plot {
    #[command(subcommand)]
    pub what: What,
    /// Width and height in px, such as 800x600 [default: what suits the picture]
    #[arg(long, global = true, value_name = "WxH", value_parser = size)]
    pub size: Option<Size>,
}

fn size(text: &str) -> Result<Size, String> {
    let parts = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match parts {
        Some((w, h)) if w > 0.0 && h > 0.0 && w <= 20_000.0 && h <= 20_000.0 => Ok(Size::new(w, h)),
        _ => Err("expected width and height up to 20000, such as 800x600".into()),
    }
}

/// Where pictures go.
pub(crate) struct Canvas {
    size: Option<Size>,
    written: Vec<PathBuf>,
}

impl Canvas {
    /// Draws a picture at the size asked for, and writes it.
    fn save(&mut self, picture: &impl Picture, path: &Path) -> Result<()> {
        self.write(&drawn::drawn(picture, self.size)?, path)
    }

    /// Writes what is drawn.
    fn write(&mut self, scene: &Scene, path: &Path) -> Result<()> {
        scgraft::save::scene(path, scene)?;
        self.written.push(path.to_owned());
        Ok(())
    }
}

/// The pictures.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Mapped cells in the plane, with the reference or alone
    Umap(cells::Umap),
    /// The scores of one program against those of another, or genes, or numbers
    Scores(cells::Scores),
    /// Programs, genes, proteins or numbers of obs by group of cells
    Violin(cells::Violin),
    /// Mean scores of programs (genes, numbers) in groups of cells, as colours
    Heatmap(cells::Grid),
    /// The same as dots: colour is the mean, size how often a cell of the group scores higher than one outside
    Dots(cells::Grid),
    /// Programs ranked by log Bayes factor, of a test that `enrich` made
    Bayes(results::Bayes),
    /// Losses by epoch
    Training(results::Training),
    /// The genes of a program by weight
    Genes(results::Genes),
    /// Transferred against given labels, as a matrix
    Confusion(results::Labels),
    /// Transferred against given labels, as flows
    Sankey(results::Labels),
    /// Confidence of transferred labels against how often they are right
    Reliability(results::Labels),
    /// Correlation of the scores of programs, alike ones together
    Correlation(relations::Correlation),
    /// Overlap of the genes of programs (Jaccard), alike ones together
    Overlap(relations::Genes),
    /// Which genes programs share: decoder weights over the program's largest, gene by program
    Members(relations::Genes),
    /// The metric table that `evaluate --tsv` wrote
    Metrics(results::MetricTable),
}

impl Plot {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        let mut canvas = Canvas { size: self.size, written: Vec::new() };
        let to = &mut canvas;
        match self.what {
            What::Umap(p) => p.draw(global, to)?,
            What::Scores(p) => p.draw(to)?,
            What::Violin(p) => p.draw(to)?,
            What::Heatmap(p) => p.draw(false, to)?,
            What::Dots(p) => p.draw(true, to)?,
            What::Bayes(p) => p.draw(to)?,
            What::Training(p) => p.draw(to)?,
            What::Genes(p) => p.draw(to)?,
            What::Confusion(p) => p.confusion(to)?,
            What::Sankey(p) => p.sankey(to)?,
            What::Reliability(p) => p.reliability(to)?,
            What::Correlation(p) => p.draw(to)?,
            What::Overlap(p) => p.overlap(to)?,
            What::Members(p) => p.members(to)?,
            What::Metrics(p) => p.draw(to)?,
        }
        let written = files::shown(&canvas.written);
        out.line(format!("wrote {}", written.join(", ")));
        out.put("files", written);
        Ok(())
    }
}
