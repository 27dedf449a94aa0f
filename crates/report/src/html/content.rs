//! What the report shows: plain data, readable and writable as JSON.

use serde::{Deserialize, Serialize};

use crate::color::Rgb;
use crate::error::same_length;
use crate::pictures::nullable;
use crate::{BayesFactors, Coloring, Confusion, GeneWeight, Heatmap, Metrics, Reliability, ReportError, Training};

/// Everything one report shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// What the results say: the first screen.
    pub answers: Answers,
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
    /// How the labels are shared out among groups of cells, such as conditions or donors.
    pub compositions: Vec<Composition>,
    /// Integration metrics.
    pub metrics: Option<Metrics>,
}

/// The first screen: what the results say, in the order in which one asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answers {
    /// Which programs differ in the comparison that counts most.
    pub difference: Option<Difference>,
    /// Which types the cells are of, the most frequent first.
    pub types: Vec<TypeShare>,
    /// Cells of no type of the reference, and how that was found.
    pub unknown: String,
    /// How good the mapping is, one criterion each; the worst of them is the verdict.
    pub mapping: Vec<Criterion>,
    /// What to look at next.
    pub next: Vec<Next>,
}

/// Programs that differ between two groups of cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    /// The group.
    pub group: String,
    /// What it is compared with.
    pub comparison: String,
    /// Cells of both; 0 where it is not known.
    pub cells: [u64; 2],
    /// Programs tested.
    pub tested: u64,
    /// Programs that are higher in the group.
    pub higher: u64,
    /// Programs that are lower.
    pub lower: u64,
    /// The leading ones, the strongest first; where none passes, those that come nearest.
    pub programs: Vec<Leading>,
}

/// A program that leads a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Leading {
    /// Its name. A colouring of the cells with the same name is offered.
    pub program: String,
    /// Its log Bayes factor: above 0 its score is higher in the group.
    pub log_bf: f64,
    /// Whether that passes the threshold.
    pub passes: bool,
    /// What its genes do in the group: 1 up, −1 down, 0 not known.
    pub genes: i8,
    /// Those of its genes that weigh most, by name.
    pub heaviest: Vec<String>,
    /// In how many types of cells it differs the same way, and of how many that was tested.
    pub types: Option<[u64; 2]>,
    /// What its donors say, where they were asked.
    pub donors: Option<OverDonors>,
}

/// Whether a difference holds from donor to donor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OverDonors {
    /// p-value of the difference between the means of donors, adjusted for the number of programs.
    pub p: f64,
    /// Donors with cells in the group, and in what it is compared with.
    pub donors: [u64; 2],
}

/// How many of the cells are of a type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TypeShare {
    /// The type.
    pub name: String,
    /// Its cells.
    pub cells: u64,
    /// Its colour.
    pub color: Rgb,
}

/// How one criterion judges the mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Light {
    /// Nothing speaks against the results.
    #[default]
    Good,
    /// Results may be used, with this in mind.
    Look,
    /// Results should not be used before this is understood.
    Doubt,
}

/// One criterion of how good the mapping is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Criterion {
    /// What it says.
    pub light: Light,
    /// What was found, in words with its number.
    pub found: String,
    /// From where on it is [`Light::Look`] and [`Light::Doubt`].
    pub rule: String,
}

/// Something to look at next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Next {
    /// What and why.
    pub text: String,
    /// The section of the page where it is: `cells`, `tests`, `programs`, `transfer`, `composition`, `metrics`, `training`,
    /// `methods`.
    pub section: String,
    /// The colouring of the cells that shows it; may be empty.
    pub color: String,
}

/// How many cells of each group have each label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Composition {
    /// The column with the groups.
    pub by: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The labels, each with its colour.
    pub labels: Vec<(String, Rgb)>,
    /// Cells, groups × labels.
    pub cells: Vec<u64>,
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
    /// So many cells, the first ones, are the reference's: grey below the query's unless one asks for their colours.
    #[serde(default)]
    pub reference: usize,
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
    /// How many of them count as unknown.
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
    /// What kind of program where it is no gene set of the reference: "free", "new".
    pub kind: String,
    /// Whether the fit kept it.
    pub active: bool,
    /// How clearly its genes go up with the score, from 0 (as much up as down) to 1 (all one way).
    pub confidence: f64,
    /// The share of its genes that the query has, where that is less than half.
    pub genes_found: Option<f64>,
    /// Genes with a weight; more than are listed, where the list is cut.
    pub n_genes: u64,
    /// Genes with their weights on the score, the most important first: all, or the first of them.
    pub genes: Vec<GeneWeight>,
}

impl Composition {
    pub(super) fn check(&self) -> Result<(), ReportError> {
        let what = format!("report, composition by {:?}", self.by);
        same_length(&what, "entry", self.groups.len() * self.labels.len(), self.cells.len())
    }
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
        if self.reference > self.x.len() {
            let hint = "say how many of its cells are the reference's";
            return Err(ReportError::Empty { what: format!("{what}, reference"), hint });
        }
        self.colors.iter().try_for_each(|c| c.check(&what, self.x.len()))
    }
}
