//! `scgraft evaluate`: integration and mapping metrics of several embeddings in one table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::analysis::metrics::query::{QUERY_METRICS, QueryScores, Sides, evaluate_query};
use scgraft::analysis::metrics::scores::{Category, EvaluateOptions, METRICS, Row, Scores, evaluate};
use scgraft::cells::{Array, Cells, Coded, Column, Dense, Frame, Slot, Uns};
use scgraft::io::{ReadOptions, Select, read_h5ad, write_table};
use scgraft::joint::{centred_apart, joint_components};
use scgraft::slots;
use serde_json::{Value, json};

use super::cluster::Algorithm;
use super::label_map::{LabelMap, Match};
use super::near::{Expression, Near};
use super::output::{fixed, number};
use super::{Global, Output, files, input, pictures, stop};

const EXAMPLES: &str = "\
Biology: NMI, ARI (best of several clusterings), cell-type ASW, isolated labels, graph cLISI, kNN accuracy. Batches: PC
regression, batch ASW, graph connectivity, kBET, graph iLISI, entropy of batch mixing. Overall = 0.6 biology + 0.4 batch.
BRAS and kNN purity (within batches) stand in the table but in no mean. A metric that one embedding cannot have is left out
for all. Beside it the papers' own: `Overall (expiMap)` is the mean of its nine metrics, `Overall (scArches)` its ten, each
scaled from the worst to the best of the embeddings, 0.6 biology + 0.4 batch; both papers cluster by Louvain at one
resolution (--algorithm louvain --resolution 1). PC regression and kNN purity compare with the data before integration:
principal components of the counts, of all files together, on the genes of the model (else the most variable of those
that all files have).
Where reference and query are told apart, a second table has label accuracy (15 neighbours), label distance, unseen-label
and unseen-cell distance, query kNN purity. All from 0 to 1, 1 is best.

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
    /// Column of obs with the batch (study, condition)
    #[arg(long, value_name = "COLUMN")]
    pub batch: String,
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
        let found = self.scores(global)?;
        show(&found, out);
        let table = table(&found.scores, found.query.as_ref());
        if let Some(path) = &self.tsv {
            write_table(path, &table)?;
        }
        if let Some(path) = &self.output {
            scgraft::save::picture(path, &pictures::metrics("", &table).context("nothing to draw")?)?;
            out.line(format!("wrote {}", path.display()));
            out.put("files", files::shown(std::slice::from_ref(path)));
        }
        Ok(())
    }

    /// The metrics, and those of a query where there is one.
    pub fn scores(&self, global: &Global) -> Result<Evaluated> {
        let data = self.read()?;
        let embeddings: Vec<(&str, &Dense)> = data.embeddings.iter().map(|(n, x)| (n.as_str(), x)).collect();
        let mut options = EvaluateOptions {
            seed: global.seed.unwrap_or(0),
            algorithm: self.algorithm.of_analysis(),
            neighbours: self.k,
            kbet_neighbours: self.kbet_k,
            lisi_neighbours: self.lisi_k,
            search: self.near.search(global),
            ..Default::default()
        };
        if !self.resolution.is_empty() {
            options.resolutions = self.resolution.clone();
        }
        tracing::info!("{} cells, {} embeddings", data.labels.codes.len(), embeddings.len());
        let before = data.before.as_ref().ok().map(|b| &b.x);
        let mut scores = evaluate(&embeddings, &data.batch, &data.labels, before, &options)?;
        stop::check()?;
        for row in &scores.rows {
            self.near.tell(row.recall);
        }
        let sides = data.query.as_ref();
        let sides = sides.map(|query| Sides { query, batch: &data.batch, cell_types: &data.labels });
        let mut query = sides.map(|s| evaluate_query(&embeddings, s, before, self.k, &options.search)).transpose()?;
        if let Err(reason) = &data.before {
            let left = query.iter_mut().flat_map(|q| &mut q.left_out).chain(&mut scores.left_out);
            for (name, why) in left {
                if ["PC regression", "kNN purity", "Query kNN purity"].contains(name) {
                    why.clone_from(reason);
                }
            }
        }
        let labels = data.query.as_ref().map(|query| matched(query, &data.labels));
        Ok(Evaluated { scores, query, before: data.before.ok().map(|b| b.told), labels })
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

    fn read(&self) -> Result<Data> {
        let n_rows = self.files.len() * self.embedding.len();
        if !self.name.is_empty() && self.name.len() != n_rows {
            bail!("--name has {} names, there are {n_rows} embeddings", self.name.len());
        }
        let n_references = self.reference.len();
        if n_references > 1 && n_references != self.files.len() {
            bail!("{n_references} references for {} files: give one for all or one for each", self.files.len());
        }
        let first = self.side(0)?;
        let columns = Columns::of(self, &first)?;
        let before = match self.before.as_str() {
            "none" => Err("not wanted (--before none)".to_owned()),
            COUNTS => self.of_counts(&first, &columns.kept)?,
            key => {
                let x = first.embedding(key)?.select_rows(&columns.kept);
                Ok(Before { x, told: format!("before integration: obsm[\"{key}\"]") })
            }
        };
        let mut embeddings = Vec::new();
        for f in 0..self.files.len() {
            let other = if f == 0 { None } else { Some(self.side(f)?) };
            let side = other.as_ref().unwrap_or(&first);
            let order = if f == 0 { None } else { Some(first.order_in(side)?) };
            for (key, name) in self.embedding.iter().enumerate() {
                let x = side.embedding(name)?;
                let x = order.as_ref().map_or_else(|| x.clone(), |rows| x.select_rows(rows));
                embeddings.push((self.row_name(f, key), x.select_rows(&columns.kept)));
            }
        }
        Ok(Data { embeddings, before, batch: columns.batch, labels: columns.labels, query: columns.query })
    }

    /// Components of the counts of the cells compared, of the first file and its reference together; or why there are none.
    fn of_counts(&self, side: &Side, kept: &[usize]) -> Result<Result<Before, String>> {
        stop::check()?;
        let mut parts = Vec::new();
        let (mut start, mut kept) = (0, kept);
        for part in side.parts() {
            let n = part.cells.n_cells();
            let (own, rest) = kept.split_at(kept.partition_point(|&i| i < start + n));
            let rows: Vec<usize> = own.iter().map(|i| i - start).collect();
            (start, kept) = (start + n, rest);
            let cells = read_h5ad(&part.path, &self.slot_options())?;
            match self.expression.plain_of(&cells) {
                Ok(mut values) => {
                    if rows.len() < n {
                        values.x = values.x.select_rows(&rows);
                    }
                    parts.push(values);
                }
                Err(reason) => return Ok(Err(format!("no counts in {}: {reason:#}", part.path.display()))),
            }
        }
        let genes = side.genes_of_the_model();
        let normalised = self.expression.log_normalised;
        let found = joint_components(&parts, normalised, genes, VARIABLE, self.components);
        let found = match found {
            Ok(found) => found,
            Err(reason) => return Ok(Err(format!("no components of the counts: {reason}"))),
        };
        let files = if parts.len() == 1 { "the file".to_owned() } else { "both files together".to_owned() };
        let values = if normalised { "values as they are" } else { "counts scaled to 10,000 a cell, log1p" };
        let list: Vec<&String> = genes.iter().flat_map(|g| g.iter()).collect();
        let of_model = !found.genes.is_empty() && found.genes.iter().all(|g| list.contains(&g));
        let which = if of_model && found.genes.len() == list.len() {
            "genes of the model".to_owned()
        } else if of_model {
            format!("of {} genes of the model", list.len())
        } else {
            format!("most variable of the {} genes there", found.shared)
        };
        let told = format!(
            "before integration: {} principal components of {files} ({values}) on the {} {which}",
            found.pca.scores.n_cols,
            found.genes.len()
        );
        Ok(Ok(Before { x: found.pca.scores, told }))
    }

    /// What to read of a file for its counts.
    fn slot_options(&self) -> ReadOptions {
        let tables = ReadOptions { obs: Select::Nothing, ..ReadOptions::tables() };
        match self.expression.values.slot() {
            Slot::X => ReadOptions { x: true, ..tables },
            Slot::Raw => ReadOptions { raw: true, ..tables },
            Slot::Layer(_) => ReadOptions { layers: Select::All, ..tables },
        }
    }

    /// A file and its reference.
    fn side(&self, f: usize) -> Result<Side> {
        let reference = match &self.reference[..] {
            [] => None,
            [one] => Some(one),
            several => several.get(f),
        };
        Ok(Side { reference: reference.map(|r| Part::read(r)).transpose()?, query: Part::read(&self.files[f])? })
    }
}

/// The word that makes the data before integration of the counts.
const COUNTS: &str = "counts";
/// Most variable genes that are taken where no model says which.
const VARIABLE: usize = 2000;

/// The metrics, and what they rest on.
pub(crate) struct Evaluated {
    pub scores: Scores,
    pub query: Option<QueryScores>,
    /// What was done for the data before integration.
    before: Option<String>,
    /// How the query's labels meet the reference's.
    labels: Option<Match>,
}

/// The data before integration.
struct Before {
    x: Dense,
    /// What it is.
    told: String,
}

/// How the labels of the query meet those of the other cells.
fn matched(query: &[bool], labels: &Coded) -> Match {
    let name = |i: usize| labels.levels[labels.codes[i] as usize].as_str();
    let mut known: Vec<&str> = (0..query.len()).filter(|&i| !query[i]).map(name).collect();
    known.sort_unstable();
    known.dedup();
    let own: Vec<Option<String>> = (0..query.len()).filter(|&i| query[i]).map(|i| Some(name(i).to_owned())).collect();
    Match::of(&own, &known)
}

/// What is compared.
struct Data {
    embeddings: Vec<(String, Dense)>,
    /// The data before integration, or why there is none.
    before: Result<Before, String>,
    batch: Coded,
    labels: Coded,
    query: Option<Vec<bool>>,
}

/// One file.
struct Part {
    path: PathBuf,
    cells: Cells,
}

impl Part {
    fn read(path: &Path) -> Result<Part> {
        stop::check()?;
        let options = ReadOptions { obsm: Select::All, varm: Select::All, uns: Select::All, ..ReadOptions::tables() };
        Ok(Part { path: path.to_owned(), cells: read_h5ad(path, &options)? })
    }

    fn embedding(&self, key: &str) -> Result<scgraft::Embedding> {
        slots::embedding(&self.cells, key).with_context(|| self.path.display().to_string())
    }

    fn texts(&self, column: &str) -> Option<Vec<Option<String>>> {
        self.cells.obs.column(column).map(Column::labels)
    }
}

/// A query with its reference, or one file with all cells.
struct Side {
    reference: Option<Part>,
    query: Part,
}

impl Side {
    /// Cells of the reference, then of the query, in the dimensions of the reference.
    fn embedding(&self, key: &str) -> Result<Dense> {
        let query = self.query.embedding(key)?;
        let Some(part) = &self.reference else { return Ok(query.mean) };
        let reference = part.embedding(key)?;
        let shared = query.select(&reference.names);
        let plain = !matches!(self.query.cells.obsm.get(key), Some(Array::Frame(_))) && key != slots::LATENT;
        let Some(shared) = shared.filter(|s| !plain || s.mean.n_cols == query.mean.n_cols) else {
            bail!(
                "obsm[\"{key}\"]: {} has {} dimensions that are not all among the {} of {}; map the query onto this \
                 reference",
                part.path.display(),
                reference.names.len(),
                query.names.len(),
                self.query.path.display()
            );
        };
        if plain {
            let (a, b) = (part.path.display(), self.query.path.display());
            if centred_apart(&reference.mean, &shared.mean) || (key == "X_pca" && self.other_loadings()) {
                bail!(
                    "obsm[\"{key}\"] of {a} and of {b} are two decompositions: each is centred on its own cells or has \
                     loadings of its own, so their axes are not the same and nothing between the files can be read off \
                     them; leave --before out (components of the counts of both files are made), or put one embedding \
                     of all cells into both files"
                );
            }
            tracing::warn!("obsm[\"{key}\"] of {a} and of {b} are taken as one embedding of all cells");
        }
        let values = reference.mean.values.into_iter().chain(shared.mean.values).collect();
        Ok(Dense::new(reference.mean.n_rows + shared.mean.n_rows, shared.mean.n_cols, values))
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.reference.iter().chain([&self.query])
    }

    /// Whether both files have loadings of components, and not the same ones.
    fn other_loadings(&self) -> bool {
        let loadings = |p: &Part| match p.cells.varm.get("PCs") {
            Some(Array::Dense(m)) => Some(m.clone()),
            _ => None,
        };
        let Some((a, b)) = self.reference.as_ref().and_then(|r| loadings(r).zip(loadings(&self.query))) else {
            return false;
        };
        let names = self.reference.iter().flat_map(|r| &r.cells.var.index);
        let at: HashMap<&str, usize> = names.enumerate().map(|(i, g)| (g.as_str(), i)).collect();
        let same = |(i, g): (usize, &String)| {
            at.get(g.as_str()).is_none_or(|&j| a.row(j).iter().zip(b.row(i)).all(|(x, y)| (x - y).abs() < 1e-4))
        };
        a.n_cols != b.n_cols || !self.query.cells.var.index.iter().enumerate().all(same)
    }

    /// The genes of the model that both files were encoded by, or the query's alone.
    fn genes_of_the_model(&self) -> Option<&[String]> {
        match slots::note(&self.query.cells, "genes") {
            Some(Uns::Texts(genes)) => Some(genes),
            _ => None,
        }
    }

    /// For each cell here its row in `other`, which must have all of them.
    fn order_in(&self, other: &Side) -> Result<Vec<usize>> {
        let mut rows = Vec::new();
        let mut before = 0;
        for (mine, theirs) in self.parts().zip(other.parts()) {
            let (index, others) = (&mine.cells.obs.index, &theirs.cells.obs.index);
            if index == others {
                rows.extend((0..index.len()).map(|i| before + i));
            } else {
                let mut at = HashMap::new();
                for (i, name) in others.iter().enumerate() {
                    if at.insert(name.as_str(), before + i).is_some() {
                        bail!("{}: two cells are named `{name}`, so cells cannot be matched", theirs.path.display());
                    }
                }
                for name in index {
                    let Some(&row) = at.get(name.as_str()) else {
                        bail!(
                            "{}: no cell `{name}`, which {} has; files to compare hold the same cells",
                            theirs.path.display(),
                            mine.path.display()
                        );
                    };
                    rows.push(row);
                }
                if others.len() > index.len() {
                    let more = others.len() - index.len();
                    tracing::warn!("{}: {more} cells that the first file lacks are left out", theirs.path.display());
                }
            }
            before += others.len();
        }
        Ok(rows)
    }
}

/// The labels of the cells that have both.
struct Columns {
    kept: Vec<usize>,
    batch: Coded,
    labels: Coded,
    query: Option<Vec<bool>>,
}

impl Columns {
    fn of(options: &Evaluate, side: &Side) -> Result<Columns> {
        let mut batch: Vec<Option<String>> = Vec::new();
        let mut labels: Vec<Option<String>> = Vec::new();
        let missing = |part: &Part, name: &str| {
            let columns = input::nearest_first(name, &part.cells.obs.names());
            anyhow::anyhow!(
                "{}: obs has no column `{name}`; its columns, nearest name first: {columns}",
                part.path.display()
            )
        };
        if side.parts().all(|p| p.cells.obs.column(&options.batch).is_none()) {
            return Err(missing(&side.query, &options.batch));
        }
        let renamed = options.label_map.read()?;
        for part in side.parts() {
            let n = part.cells.n_cells();
            let own = || vec![Some(files::stem(&part.path)); n];
            batch.extend(part.texts(&options.batch).unwrap_or_else(own));
            let mut given = part.texts(&options.labels).ok_or_else(|| missing(part, &options.labels))?;
            // Names are those of the reference; where one file holds both, all cells are renamed.
            if std::ptr::eq(part, &side.query) {
                renamed.warn_unused(&given);
                renamed.apply(&mut given);
            }
            labels.extend(given);
        }
        let kept: Vec<usize> = (0..batch.len()).filter(|&i| batch[i].is_some() && labels[i].is_some()).collect();
        if kept.len() < batch.len() {
            let (n, b, l) = (batch.len() - kept.len(), &options.batch, &options.labels);
            tracing::warn!("{n} cells lack `{b}` or `{l}` and are left out");
        }
        let file = side.query.path.display();
        if kept.is_empty() {
            bail!("{file}: no cell has both `{}` and `{}`; choose other columns", options.batch, options.labels);
        }
        let coded = |name: &str, texts: &[Option<String>]| {
            let own = Column::Text(kept.iter().map(|&i| texts[i].clone()).collect()).coded();
            let own = own.map_err(|_| anyhow::anyhow!("{file}: column `{name}` of obs cannot be read"))?;
            match &own.levels[..] {
                [one] => bail!("{file}: all cells have `{one}` in column `{name}` of obs; choose one with two levels"),
                _ => Ok(own),
            }
        };
        let (batch, labels) = (coded(&options.batch, &batch)?, coded(&options.labels, &labels)?);
        let query = if let Some(part) = &side.reference {
            let n = part.cells.n_cells();
            Some(kept.iter().map(|&i| i >= n).collect())
        } else if options.query.is_empty() {
            None
        } else {
            if let Some(unknown) = options.query.iter().find(|q| !batch.levels.contains(q)) {
                let levels: Vec<&str> = batch.levels.iter().map(String::as_str).collect();
                let near = input::nearest_first(unknown, &levels);
                bail!("--query {unknown}: `{}` has no such batch; nearest name first: {near}", options.batch);
            }
            Some(batch.codes.iter().map(|&c| options.query.contains(&batch.levels[c as usize])).collect())
        };
        Ok(Columns { kept, batch, labels, query })
    }
}

/// Name of the column of a category's mean.
pub(crate) const MEANS: [&str; 5] = ["Biology", "Batch", "Overall", "Overall (expiMap)", "Overall (scArches)"];

/// The means of a row, in the order of their names.
fn means(row: &Row) -> [Option<f64>; 5] {
    [row.biology, row.batch, row.overall, row.expimap_overall, row.scarches_overall]
}

/// One row an embedding, in the order given: every metric, the means, the metrics of the query.
pub(crate) fn table(scores: &Scores, query: Option<&QueryScores>) -> Frame {
    let mut out = Frame::new(scores.rows.iter().map(|r| r.embedding.clone()).collect());
    out.index_name = Some("embedding".into());
    let real = |f: &dyn Fn(usize) -> Option<f64>| {
        Column::Real((0..scores.rows.len()).map(|i| f(i).unwrap_or(f64::NAN)).collect())
    };
    for (m, metric) in METRICS.iter().enumerate() {
        out.set(metric.name, real(&|i| scores.rows[i].values[m]));
    }
    for (at, name) in MEANS.iter().enumerate() {
        out.set(name, real(&|i| means(&scores.rows[i])[at]));
    }
    if let Some(query) = query {
        for (m, name) in QUERY_METRICS.iter().enumerate() {
            out.set(name, real(&|i| query.rows[i].1[m]));
        }
    }
    out
}

fn show(found: &Evaluated, out: &mut Output) {
    let (scores, query) = (&found.scores, found.query.as_ref());
    let shown = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| fixed(v, 3));
    let ranked = scores.ranked();
    let mut header = vec!["metric", "of"];
    header.extend(ranked.iter().map(|r| r.embedding.as_str()));
    let mut rows = Vec::new();
    for (m, metric) in METRICS.iter().enumerate() {
        let of = match (metric.category, metric.in_mean) {
            (_, false) => "",
            (Category::Biology, _) => "biology",
            (Category::Batch, _) => "batch",
        };
        let mut row = vec![metric.name.to_owned(), of.to_owned()];
        row.extend(ranked.iter().map(|r| shown(r.values[m])));
        rows.push(row);
    }
    for (at, name) in MEANS.iter().enumerate() {
        let mut row = vec![(*name).to_owned(), "mean".to_owned()];
        row.extend(ranked.iter().map(|r| shown(means(r)[at])));
        rows.push(row);
    }
    if let Some(query) = query {
        for (m, name) in QUERY_METRICS.iter().enumerate() {
            let mut row = vec![(*name).to_owned(), "query".to_owned()];
            let of = |name: &str| query.rows.iter().find(|r| r.0 == name).and_then(|r| r.1[m]);
            row.extend(ranked.iter().map(|r| shown(of(&r.embedding))));
            rows.push(row);
        }
    }
    out.table(&header, &rows);
    let left: Vec<&(&str, String)> =
        scores.left_out.iter().chain(query.into_iter().flat_map(|q| &q.left_out)).collect();
    for (metric, reason) in &left {
        out.line(format!("{metric} is left out: {reason}"));
    }
    if let Some(before) = &found.before {
        out.line(before);
        out.put("before", before.as_str());
    }
    if let Some(labels) = &found.labels {
        let told = labels.tell("label accuracy and distance", ", taken for types the reference lacks", out);
        out.put("query_labels", told);
    }
    let values = |names: &mut dyn Iterator<Item = &'static str>, values: &[Option<f64>]| -> Value {
        names
            .zip(values)
            .map(|(n, v)| (n.to_owned(), v.map_or(Value::Null, number)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let told: Vec<Value> = ranked
        .iter()
        .map(|r| {
            let query = query.and_then(|q| q.rows.iter().find(|row| row.0 == r.embedding));
            json!({
                "embedding": r.embedding,
                "metrics": values(&mut METRICS.iter().map(|m| m.name), &r.values),
                "biology": r.biology, "batch": r.batch, "overall": r.overall,
                "overall_expimap": r.expimap_overall, "overall_scarches": r.scarches_overall, "neighbours_recall": number(r.recall),
                "query": query.map(|q| values(&mut QUERY_METRICS.iter().copied(), &q.1)),
            })
        })
        .collect();
    out.put("embeddings", told);
    let left: Vec<Value> = left.iter().map(|(m, r)| json!({"metric": m, "reason": r})).collect();
    out.put("left_out", left);
}
