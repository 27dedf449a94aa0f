//! `scgraft evaluate`: integration and mapping metrics of several embeddings in one table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::analysis::metrics::query::{QUERY_METRICS, QueryScores, Sides, evaluate_query};
use scgraft::analysis::metrics::scores::{Category, EvaluateOptions, METRICS, Row, Scores, evaluate};
use scgraft::cells::{Array, Cells, Coded, Column, Dense, Frame};
use scgraft::io::{ReadOptions, Select, read_h5ad, write_table};
use scgraft::report::Picture;
use scgraft::slots;
use serde_json::{Value, json};

use super::near::Near;
use super::output::{fixed, number};
use super::{Global, Output, files, input, pictures, stop};

const EXAMPLES: &str = "\
Biology: NMI, ARI (best of several clusterings), cell-type ASW, isolated labels, graph cLISI, kNN accuracy. Batches: PC
regression, batch ASW, graph connectivity, kBET, graph iLISI, entropy of batch mixing. Overall = 0.6 biology + 0.4 batch.
BRAS and kNN purity stand in the table but in no mean. A metric that one embedding cannot have is left out for all.
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
    /// Entry of obsm with the data before integration, for PC regression and kNN purity (`scgraft pca` makes one)
    #[arg(long, value_name = "KEY")]
    pub before: Option<String>,
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
    #[command(flatten)]
    pub near: Near,
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
        for path in [self.tsv.as_ref(), self.output.as_ref()].into_iter().flatten() {
            files::check_output(path, &inputs)?;
        }
        let (scores, query) = self.scores(global)?;
        show(&scores, query.as_ref(), out);
        let table = table(&scores, query.as_ref());
        if let Some(path) = &self.tsv {
            write_table(path, &table)?;
        }
        if let Some(path) = &self.output {
            pictures::metrics("", &table).context("nothing to draw")?.save(path)?;
            out.line(format!("wrote {}", path.display()));
            out.put("files", files::shown(std::slice::from_ref(path)));
        }
        Ok(())
    }

    /// The metrics, and those of a query where there is one.
    pub fn scores(&self, global: &Global) -> Result<(Scores, Option<QueryScores>)> {
        let data = self.read()?;
        let embeddings: Vec<(&str, &Dense)> = data.embeddings.iter().map(|(n, x)| (n.as_str(), x)).collect();
        let mut options =
            EvaluateOptions { seed: global.seed.unwrap_or(0), search: self.near.search(global), ..Default::default() };
        if !self.resolution.is_empty() {
            options.resolutions = self.resolution.clone();
        }
        tracing::info!("{} cells, {} embeddings", data.labels.codes.len(), embeddings.len());
        let before = data.before.as_ref();
        let scores = evaluate(&embeddings, &data.batch, &data.labels, before, &options)?;
        stop::check()?;
        for row in &scores.rows {
            self.near.tell(row.recall);
        }
        let sides = data.query.as_ref();
        let sides = sides.map(|query| Sides { query, batch: &data.batch, cell_types: &data.labels });
        let query = sides.map(|s| evaluate_query(&embeddings, s, before, &options.search)).transpose()?;
        Ok((scores, query))
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
        let before = self.before.as_ref().map(|key| first.embedding(key)).transpose()?;
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
        Ok(Data {
            embeddings,
            before: before.map(|b| b.select_rows(&columns.kept)),
            batch: columns.batch,
            labels: columns.labels,
            query: columns.query,
        })
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

/// What is compared.
struct Data {
    embeddings: Vec<(String, Dense)>,
    before: Option<Dense>,
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
        let options = ReadOptions { obsm: Select::All, uns: Select::All, ..ReadOptions::tables() };
        Ok(Part { path: path.to_owned(), cells: read_h5ad(path, &options)? })
    }

    fn embedding(&self, key: &str) -> Result<scgraft::Embedding> {
        slots::embedding(&self.cells, key).with_context(|| self.path.display().to_string())
    }

    fn texts(&self, column: &str) -> Option<Vec<Option<String>>> {
        self.cells.obs.column(column).map(Column::texts)
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
        let values = reference.mean.values.into_iter().chain(shared.mean.values).collect();
        Ok(Dense::new(reference.mean.n_rows + shared.mean.n_rows, shared.mean.n_cols, values))
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.reference.iter().chain([&self.query])
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
        for part in side.parts() {
            let n = part.cells.n_cells();
            let own = || vec![Some(files::stem(&part.path)); n];
            batch.extend(part.texts(&options.batch).unwrap_or_else(own));
            labels.extend(part.texts(&options.labels).ok_or_else(|| missing(part, &options.labels))?);
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
pub(crate) const MEANS: [&str; 3] = ["Biology", "Batch", "Overall"];

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
    let means = [|r: &Row| r.biology, |r: &Row| r.batch, |r: &Row| r.overall];
    for (name, mean) in MEANS.iter().zip(means) {
        out.set(name, real(&|i| mean(&scores.rows[i])));
    }
    if let Some(query) = query {
        for (m, name) in QUERY_METRICS.iter().enumerate() {
            out.set(name, real(&|i| query.rows[i].1[m]));
        }
    }
    out
}

fn show(scores: &Scores, query: Option<&QueryScores>, out: &mut Output) {
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
    let means = [|r: &Row| r.biology, |r: &Row| r.batch, |r: &Row| r.overall];
    for (name, mean) in MEANS.iter().zip(means) {
        let mut row = vec![(*name).to_owned(), "mean".to_owned()];
        row.extend(ranked.iter().map(|r| shown(mean(r))));
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
                "biology": r.biology, "batch": r.batch, "overall": r.overall, "neighbours_recall": number(r.recall),
                "query": query.map(|q| values(&mut QUERY_METRICS.iter().copied(), &q.1)),
            })
        })
        .collect();
    out.put("embeddings", told);
    let left: Vec<Value> = left.iter().map(|(m, r)| json!({"metric": m, "reason": r})).collect();
    out.put("left_out", left);
}
