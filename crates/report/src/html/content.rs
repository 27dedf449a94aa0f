//! What the report shows: plain data, readable and writable as JSON.

use serde::{Deserialize, Serialize};

use crate::error::same_length;
use crate::pictures::nullable;
use crate::{BayesFactors, Coloring, Confusion, GeneWeight, Heatmap, Metrics, Reliability, ReportError, Training};

/// Everything one report shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// What was run.
    pub run: RunInfo,
    /// Histories of the fits, each with its own title: reference, query.
    pub training: Vec<Training>,
    /// Cells in the plane, to be coloured and hovered.
    pub embeddings: Vec<CellMap>,
    /// Labels transferred from the reference.
    pub transfer: Option<Transfer>,
    /// The gene programs of the model.
    pub programs: Vec<Program>,
    /// Scores of programs in groups of cells.
    pub heatmaps: Vec<Heatmap>,
    /// Tests of programs between groups. Up to four of them are also columns of the table of programs.
    pub tests: Vec<BayesFactors>,
    /// Integration metrics.
    pub metrics: Option<Metrics>,
}

/// What was run, on what, how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// Name of the model.
    pub model: String,
    /// When, as the reader shall see it.
    pub date: String,
    /// The command line, if there was one.
    pub command: String,
    /// The seed.
    pub seed: Option<u64>,
    /// Files, numbers of cells and genes, conditions.
    pub data: Vec<Fact>,
    /// Settings of model and training.
    pub settings: Vec<Fact>,
    /// Versions of the program, the file format, the machine.
    pub versions: Vec<Fact>,
    /// The methods, one paragraph each, ready for a paper.
    pub methods: Vec<String>,
    /// What to cite.
    pub citations: Vec<Citation>,
}

/// A name and its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

impl Fact {
    /// A fact of anything that can be written.
    pub fn new(name: impl Into<String>, value: impl ToString) -> Fact {
        Fact { name: name.into(), value: value.to_string() }
    }
}

/// A work to cite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// Authors, title, journal, year.
    pub text: String,
    /// Its DOI without a prefix, such as `10.1038/s41556-022-01072-x`; may be empty.
    #[serde(default)]
    pub doi: String,
}

/// Cells in the plane with everything they can be coloured by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellMap {
    /// Its name: "UMAP of reference and query".
    pub name: String,
    /// Names of the two coordinates.
    pub axes: [String; 2],
    /// First coordinate, one a cell.
    #[serde(with = "nullable")]
    pub x: Vec<f32>,
    /// Second coordinate, one a cell.
    #[serde(with = "nullable")]
    pub y: Vec<f32>,
    /// Names of the cells, shown when pointed at; may be empty.
    #[serde(default)]
    pub cells: Vec<String>,
    /// What the cells can be coloured by; the first is shown at the start.
    pub colors: Vec<Coloring>,
}

/// Labels transferred from the reference to the query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transfer {
    /// The label column.
    pub label: String,
    /// In words: number of neighbours, kernel, threshold.
    pub method: String,
    /// Per label, how many cells got it and how certainly.
    pub labels: Vec<TransferredLabel>,
    /// Against the labels that the query came with, where it had any.
    pub confusion: Option<Confusion>,
    /// Calibration, where the truth is known.
    pub reliability: Option<Reliability>,
}

/// Cells that got one label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TransferredLabel {
    /// The label.
    pub name: String,
    /// Number of cells whose best label it is.
    pub cells: u64,
    /// How many of them are too uncertain and count as unknown.
    pub unknown: u64,
    /// Mean uncertainty of all of them, 0 to 1.
    pub uncertainty: f64,
}

/// A gene program of the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Program {
    /// Name. A colouring of an embedding with the same name is offered from the table.
    pub name: String,
    /// What kind of program: "annotated", "new".
    pub kind: String,
    /// Whether the fit kept it.
    pub active: bool,
    /// +1 when a higher latent score means higher expression of its genes, −1 when lower, 0 when unclear.
    pub direction: i8,
    /// How clear the direction is, from 0 (as much up as down) to 1 (all one way).
    pub confidence: f64,
    /// Genes with a weight; more than are listed, where the list is cut.
    pub n_genes: u64,
    /// Genes with their weights, the most important first: all, or the first of them.
    pub genes: Vec<GeneWeight>,
}

impl CellMap {
    pub(super) fn check(&self) -> Result<(), ReportError> {
        let what = format!("report, embedding {:?}", self.name);
        same_length(&format!("{what}, y"), "cell", self.x.len(), self.y.len())?;
        if !self.cells.is_empty() {
            same_length(&format!("{what}, cell names"), "cell", self.x.len(), self.cells.len())?;
        }
        for (axis, values) in [("x", &self.x), ("y", &self.y)] {
            if let Some(row) = values.iter().position(|v| !v.is_finite()) {
                return Err(ReportError::Value {
                    what: format!("{what}, {axis}"),
                    row,
                    value: values[row].into(),
                    expected: "a finite coordinate",
                });
            }
        }
        if self.x.is_empty() {
            return Err(ReportError::Empty { what, hint: "leave the embedding out or pass cells" });
        }
        if self.colors.is_empty() {
            return Err(ReportError::Empty { what, hint: "pass at least one column to colour by" });
        }
        self.colors.iter().try_for_each(|c| c.check(&what, self.x.len()))
    }
}
