//! `scgraft report`: one HTML file about a run.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use scgraft::cells::Uns;
use scgraft::evaluate::Evaluated;
use scgraft::io::read_table;
use scgraft::page::{self, PagePlan, Parts};
use scgraft::{pictures, slots};

use super::direction::Direction;
use super::label_map::LabelMap;
use super::plot::Genes;
use super::{Global, Output, encode, files, remote};

const EXAMPLES: &str = "\
One file that needs no network: cells to zoom and colour, transferred labels, program tests, genes of programs, losses.
Its first screen says what differs (the first test of conditions), which types the cells are of, how good the mapping is
and what to look at next. The mapping is as good as the worst of: genes of the model in the query (caution below 80 %, doubt
below 50 %), how far out the middle cell lies (above 1.5 times the reference's own cells, 2), the mean of the batch metrics
of --metrics (below 0.5, 0.4), cells of no type of the reference (above 10 %, 50 %), cells whose neighbours disagree on the
label (above 20 %, 50 %), agreement with labels that the cells came with, or the label accuracy of --metrics (below 80 %,
60 %). It is all read off the file: run `annotate`, `enrich`, and `enrich --within` for the number of types, before.

Examples:
  scgraft report mapped.h5ad -o report.html
  scgraft report mapped.h5ad --reference reference_out.h5ad --model mapped.scgraft --labels cell_type -o report.html
  scgraft report mapped.h5ad --reference reference_out.h5ad --genes ISG15,CD3D -o report.html
  scgraft report mapped.h5ad --metrics metrics.tsv --groups condition -o report.html";

/// Write an HTML report.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Report {
    /// A mapped query, annotated and tested
    pub mapped: PathBuf,
    /// The reference with its embedding: the query is placed in its picture
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// The model with the graft (`map --save-model`): adds the genes of programs
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Label column that was carried over [default: the first with `_pred`]
    #[arg(long, value_name = "COLUMN")]
    pub labels: Option<String>,
    /// Column of obs with the labels the cells came with [default: that of --labels]
    #[arg(long, value_name = "COLUMN")]
    pub truth: Option<String>,
    #[command(flatten)]
    pub label_map: LabelMap,
    #[command(flatten)]
    pub direction: Direction,
    /// Column of obs whose groups the programs are shown for, as a heat map [default: the transferred labels]
    #[arg(long, value_name = "COLUMN")]
    pub groups: Option<String>,
    /// The table of `evaluate --tsv`
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// What else the cells can be coloured by: programs, columns, genes, `obsm/KEY:COLUMN`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub color: Vec<String>,
    /// Genes the cells can be coloured by
    #[arg(long = "genes", value_name = "GENE", value_delimiter = ',')]
    pub gene: Vec<String>,
    #[command(flatten)]
    pub expression: Genes,
    /// Title of the page
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// The page
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

impl Report {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        let inputs = [Some(&self.mapped), self.reference.as_ref(), self.metrics.as_ref()];
        let mut inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
        inputs.iter().try_for_each(|path| files::check_input(path))?;
        self.model.iter().try_for_each(|path| remote::check_input(path))?;
        inputs.extend(self.model.as_deref());
        files::check_output(&self.output, &inputs)?;
        let turned = |file: &Path| -> Result<_> {
            let (mut cells, e) = encode::stored(file, slots::LATENT)?;
            if !self.gene.is_empty() {
                encode::add_expression(file, &self.expression.slot(), &mut cells)?;
            }
            Ok((cells, self.direction.apply(e, file)?))
        };
        let (mut cells, query) = turned(&self.mapped)?;
        encode::add_weights(&self.mapped, &mut cells)?;
        let reference = self.reference.as_ref().map(|r| turned(r)).transpose()?;
        let renamed = self.label_map.read()?;
        let model = self.model.as_ref().map(remote::model).transpose()?;
        let label = self.labels.clone().or_else(|| page::carried_over(&cells));
        let truth = self.truth.as_ref().or(label.as_ref());
        let truth = truth.and_then(|t| cells.obs.column(t).map(|column| (t.clone(), renamed.column(column))));
        let metrics = self.metrics.as_ref().map(read_table).transpose()?;
        let plan = PagePlan {
            title: self.title.unwrap_or_else(|| match slots::provenance(&cells, "query") {
                Some(Uns::Text(query)) => format!("{}, mapped", files::stem(Path::new(query))),
                _ => files::stem(&self.mapped),
            }),
            label,
            truth,
            rule: self.direction.method(),
            groups: self.groups,
            color: self.color,
            genes: self.gene,
            slot: self.expression.slot(),
            gene_column: self.expression.gene_column,
            seed: global.seed.unwrap_or(0),
        };
        let parts = Parts {
            cells: &cells,
            query: &query,
            reference: reference.as_ref().map(|(c, e)| (c, e)),
            model: model.as_ref(),
            metrics: metrics.and_then(|table| pictures::metrics("", &Evaluated::of_table(&table))),
        };
        scgraft::save::page(&self.output, &page::page(&parts, &plan)?)?;
        out.line(format!("wrote {}: the report", self.output.display()));
        out.put("files", files::shown(&[self.output]));
        Ok(())
    }
}
