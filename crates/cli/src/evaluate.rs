//! `scgraft evaluate`: integration and mapping metrics of several embeddings in one table.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::analysis::metrics::scores::{Category, EvaluateOptions};
use scgraft::cells::Cells;
use scgraft::evaluate::{ColumnKind, Compared, EvaluatePlan, Evaluated, Part, Side};
use scgraft::io::{ReadOptions, Select, read_h5ad, together};
use scgraft::labels::Match;
use scgraft::{pictures, slots};
use serde_json::{Map, Value, json};

use super::cluster::Algorithm;
use super::label_map::{self, LabelMap};
use super::near::{Expression, Near};
use super::output::{fixed, number, told};
use super::{Global, Output, files, stop};

const EXAMPLES: &str = "\
Biology: NMI, ARI (best of several clusterings), cell-type ASW, isolated labels, graph cLISI, kNN accuracy. Batches: PC
regression, batch ASW, graph connectivity, kBET, graph iLISI, entropy of batch mixing. Overall = 0.6 biology + 0.4 batch.
BRAS and kNN purity (within batches) stand in the table but in no mean. A metric that one embedding cannot have is left out
for all. Beside it the papers' own: `Overall (expiMap)` is the mean of its nine metrics, `Overall (scArches)` its ten, each
scaled from the worst to the best of the embeddings, 0.6 biology + 0.4 batch; both papers cluster by Louvain at one
resolution, and connectivity on an undirected graph (--algorithm louvain --resolution 1 --undirected). PC regression and kNN purity compare with the data before integration:
principal components of the counts, of all files together, on the genes of the model (else the most variable of those
that all files have).
Where reference and query are told apart, a second table has label accuracy (15 neighbours), label distance, unseen-label
and unseen-cell distance (of the principal components that hold 90 % of the variance), query kNN purity. All from 0 to 1, 1
is best.

Several embeddings of one file, or of several files of the same cells (matched by name):
  scgraft evaluate data.h5ad --embedding X_scgraft,X_scVI,X_pca --batch study --labels cell_type --before X_pca
  scgraft evaluate a.h5ad b.h5ad --batch study --labels cell_type --tsv metrics.tsv -o metrics.png
A query with its reference, which stands in a file of its own or is told by its batches:
  scgraft evaluate mapped.h5ad --reference reference_out.h5ad --batch study --labels cell_type
  scgraft evaluate all.h5ad --query Kang --batch study --labels cell_type";

/// Compare embeddings by integration and mapping metrics.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Evaluate {
    /// Files with the embeddings; the columns of obs are those of the first
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Entries of obsm to compare
    #[arg(long, value_name = "KEY", value_delimiter = ',', default_value = slots::LATENT)]
    pub embedding: Vec<String>,
    /// Names of the rows of the table [default: made of files and keys]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub name: Vec<String>,
    /// Column of obs with the batch (study, condition) [default: the reference is one, and the query another]
    #[arg(long, value_name = "COLUMN", required_unless_present = "reference")]
    pub batch: Option<String>,
    /// Column of obs with the cell type
    #[arg(long, value_name = "COLUMN")]
    pub labels: String,
    /// The data before integration, for PC regression and kNN purity: `counts` makes principal components of the counts of
    /// all files together, `none` leaves both metrics out, anything else is an entry of obsm
    #[arg(long, value_name = "counts|none|KEY", default_value = COUNTS)]
    pub before: String,
    /// Components that are made of the counts
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub components: usize,
    #[command(flatten)]
    pub expression: Expression,
    /// The reference with its embedding, for mapped queries; one for all files, or one each. A file without the batch
    /// column is one batch
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with = "query")]
    pub reference: Vec<PathBuf>,
    /// Batches that are the query, where one file holds both
    #[arg(long, value_name = "BATCH", value_delimiter = ',')]
    pub query: Vec<String>,
    /// Resolutions of the clusterings for NMI, ARI and isolated-label F1 [default: 0.2, 0.4 … 2]
    #[arg(long, value_name = "X", value_delimiter = ',')]
    pub resolution: Vec<f64>,
    /// How clusters are found
    #[arg(long, value_enum, default_value_t = Algorithm::Leiden)]
    pub algorithm: Algorithm,
    /// Neighbours of the clusterings, graph connectivity, kNN accuracy and purity, entropy and label accuracy
    #[arg(long, default_value_t = 15, value_name = "N", help_heading = "Neighbours")]
    pub k: usize,
    /// Neighbours of kBET
    #[arg(long, default_value_t = 50, value_name = "N", help_heading = "Neighbours")]
    pub kbet_k: usize,
    /// Neighbours of LISI
    #[arg(long, default_value_t = 90, value_name = "N", help_heading = "Neighbours")]
    pub lisi_k: usize,
    /// Graph connectivity on the graph whose edges count both ways, as the papers have it
    #[arg(long, help_heading = "Neighbours")]
    pub undirected: bool,
    #[command(flatten)]
    pub near: Near,
    #[command(flatten)]
    pub label_map: LabelMap,
    /// Write the table, one row an embedding
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
    /// Draw the table (PNG or SVG)
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Evaluate {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        let inputs: Vec<&Path> = self.files.iter().chain(&self.reference).map(PathBuf::as_path).collect();
        inputs.iter().try_for_each(|p| files::check_input(p))?;
        files::check_outputs(self.tsv.iter().chain(&self.output), &inputs)?;
        let mut options = EvaluateOptions {
            seed: global.seed.unwrap_or(0),
            algorithm: self.algorithm.of_analysis(),
            neighbours: self.k,
            kbet_neighbours: self.kbet_k,
            lisi_neighbours: self.lisi_k,
            directed: !self.undirected,
            search: self.near.search(global)?,
            ..Default::default()
        };
        if !self.resolution.is_empty() {
            options.resolutions = self.resolution.clone();
        }
        let (labels, query) = (self.labels.clone(), self.query.clone());
        let batch = self.batch.clone().unwrap_or_default();
        let plan = EvaluatePlan { batch, labels, query, options };
        self.check()?;
        let first = self.files(0)?;
        let comparison = self.comparison(&first, &plan)?;
        let scores = comparison.scores(&plan)?;
        stop::check()?;
        scores.rows.iter().for_each(|row| self.near.tell(row.recall));
        let found = Evaluated { scores, query: comparison.query_scores(&plan)? };
        show(&comparison, &found, out);
        together(|| -> Result<()> {
            files::write_table(self.tsv.as_ref(), &found.file_table())?;
            if let Some(path) = &self.output {
                scgraft::save::picture(path, &pictures::metrics("", &found).context("nothing to draw")?)?;
            }
            Ok(())
        })?;
        if let Some(path) = &self.output {
            out.line(format!("wrote {}", path.display()));
            out.put("files", files::shown(std::slice::from_ref(path)));
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let n_rows = self.files.len() * self.embedding.len();
        if !self.name.is_empty() && self.name.len() != n_rows {
            bail!("--name has {} names, there are {n_rows} embeddings", self.name.len());
        }
        let n_references = self.reference.len();
        if n_references > 1 && n_references != self.files.len() {
            bail!("{n_references} references for {} files: give one for all or one for each", self.files.len());
        }
        Ok(())
    }

    /// The name of the row of file `f` and key `key`.
    fn row_name(&self, f: usize, key: usize) -> String {
        if let Some(name) = self.name.get(f * self.embedding.len() + key) {
            return name.clone();
        }
        let stem = files::stem(&self.files[f]);
        match (self.files.len(), self.embedding.len()) {
            (1, _) => self.embedding[key].clone(),
            (_, 1) => stem,
            _ => format!("{stem} {}", self.embedding[key]),
        }
    }

    fn comparison<'a>(&self, first: &'a Files, plan: &EvaluatePlan) -> Result<Compared<'a>> {
        let mut comparison = Compared::new(first.side(), plan)?;
        match self.before.as_str() {
            "none" => comparison.before = Err("not wanted (--before none)".to_owned()),
            COUNTS => self.of_counts(&mut comparison)?,
            key => comparison.before_is(key)?,
        }
        for f in 0..self.files.len() {
            let other = if f == 0 { None } else { Some(self.files(f)?) };
            let side = other.as_ref().unwrap_or(first).side();
            for (key, name) in self.embedding.iter().enumerate() {
                comparison.add(&side, name, self.row_name(f, key))?;
            }
        }
        Ok(comparison)
    }

    /// Makes the data before integration of the counts of the first file and its reference; or says why there are none.
    fn of_counts(&self, comparison: &mut Compared<'_>) -> Result<()> {
        stop::check()?;
        let slots = ReadOptions { var: Select::All, ..ReadOptions::expression(&self.expression.values.slot()) };
        comparison.before_is_of(self.expression.log_normalised, self.components, |part| {
            Ok(self.expression.plain_of(&read_h5ad(part.name, &slots)?).map_err(|reason| told(&reason)))
        })
    }

    /// A file and its reference. Labels of the query, or of the one file that holds all cells, are renamed.
    fn files(&self, f: usize) -> Result<Files> {
        let reference = match &self.reference[..] {
            [] => None,
            [one] => Some(one),
            several => several.get(f),
        };
        let reference = reference.map(|r| File::read(r)).transpose()?;
        let mut query = File::read(&self.files[f])?;
        if let Some(column) = query.cells.obs.column(&self.labels) {
            let renamed = self.label_map.read()?;
            if f == 0 {
                label_map::warn_unused(&renamed.unused(column));
            }
            let column = renamed.column(column);
            query.cells.obs.set(&self.labels, column);
        }
        Ok(Files { reference, query })
    }
}

/// The word that makes the data before integration of the counts.
const COUNTS: &str = "counts";

/// A file.
struct File {
    path: String,
    stem: String,
    cells: Cells,
}

impl File {
    fn read(path: &Path) -> Result<File> {
        stop::check()?;
        let options = ReadOptions { obsm: Select::All, varm: Select::All, uns: Select::All, ..ReadOptions::tables() };
        let (name, stem) = (path.display().to_string(), files::stem(path));
        Ok(File { path: name, stem, cells: read_h5ad(path, &options)? })
    }

    fn part(&self) -> Part<'_> {
        Part { name: &self.path, batch: &self.stem, cells: &self.cells }
    }
}

/// A file with its reference.
struct Files {
    reference: Option<File>,
    query: File,
}

impl Files {
    fn side(&self) -> Side<'_> {
        Side { reference: self.reference.as_ref().map(File::part), query: self.query.part() }
    }
}

/// How the labels of the query meet those of the other cells.
fn matched(comparison: &Compared<'_>) -> Option<Match> {
    let labels = &comparison.labels;
    let name = |i: usize| labels.levels[labels.codes[i] as usize].as_str();
    let query = comparison.query.as_ref()?;
    let (own, other): (Vec<usize>, Vec<usize>) = (0..query.len()).partition(|&i| query[i]);
    let mut known: Vec<&str> = other.into_iter().map(name).collect();
    known.sort_unstable();
    known.dedup();
    let own: Vec<Option<String>> = own.into_iter().map(|i| Some(name(i).to_owned())).collect();
    Some(Match::of(&own, &known))
}

fn show(comparison: &Compared<'_>, found: &Evaluated, out: &mut Output) {
    let (scores, query) = (&found.scores, found.query.as_ref());
    let (ranked, columns) = (found.ranked(), found.columns());
    let mut header = vec!["metric", "of"];
    header.extend(ranked.iter().map(|&i| scores.rows[i].embedding.as_str()));
    let rows = columns.iter().map(|c| {
        let of = match c.kind {
            ColumnKind::Integration { in_mean: false, .. } => "",
            ColumnKind::Integration { category: Category::Biology, .. } => "biology",
            ColumnKind::Integration { .. } => "batch",
            ColumnKind::Mean => "mean",
            ColumnKind::Mapping => "query",
        };
        let mut row = vec![c.name.to_owned(), of.to_owned()];
        row.extend(ranked.iter().map(|&i| c.values[i].map_or_else(|| "–".to_owned(), |v| fixed(v, 3))));
        row
    });
    out.table(&header, &rows.collect::<Vec<_>>());
    let left = found.left_out();
    for (metric, reason) in &left {
        out.line(format!("{metric} is left out: {reason}"));
    }
    if let Ok(before) = &comparison.before {
        out.line(&before.what);
        out.put("before", before.what.as_str());
    }
    if let Some(labels) = matched(comparison) {
        let told =
            label_map::tell(&labels, "label accuracy and distance", ", taken for types the reference lacks", out);
        out.put("query_labels", told);
    }
    let values = |i: usize, of: &dyn Fn(ColumnKind) -> bool| -> Value {
        let values = columns.iter().filter(|c| of(c.kind));
        values.map(|c| (c.name.to_owned(), c.values[i].map_or(Value::Null, number))).collect::<Map<_, _>>().into()
    };
    let told = ranked.iter().map(|&i| {
        let r = &scores.rows[i];
        json!({
            "embedding": r.embedding,
            "metrics": values(i, &|kind| matches!(kind, ColumnKind::Integration { .. })),
            "biology": r.biology, "batch": r.batch, "overall": r.overall, "overall_expimap": r.expimap_overall,
            "overall_scarches": r.scarches_overall, "neighbours_recall": number(r.recall),
            "query": query.map(|_| values(i, &|kind| kind == ColumnKind::Mapping)),
        })
    });
    out.put("embeddings", told.collect::<Vec<_>>());
    let left: Vec<Value> = left.iter().map(|(m, r)| json!({"metric": m, "reason": r})).collect();
    out.put("left_out", left);
}
