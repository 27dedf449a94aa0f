//! Metrics of embeddings, side by side: of all cells of one file, or of a query with its reference.

use std::collections::HashMap;

use scgraft_analysis::metrics::query::{QUERY_METRICS, QueryScores, Sides, evaluate_query};
use scgraft_analysis::metrics::scores::{Category, EvaluateOptions, METRICS, Metric, Row, Scores, evaluate};
use scgraft_cells::{Array, Cells, Coded, Column, Dense, Frame, Uns};

use crate::joint::{JointComponents, centred_apart, joint_components};
use crate::{Embedding, Error, LogExpression, columns, slots};

/// Most variable genes that are taken where no model says which.
const VARIABLE: usize = 2000;

/// Which cells are compared, and how.
#[derive(Clone, Debug, Default)]
pub struct EvaluatePlan {
    /// Column of obs with the batch (study, condition); empty where a query and its reference are one batch each.
    pub batch: String,
    /// Column of obs with the cell type; the query's are named as the reference names them.
    pub labels: String,
    /// Batches that are the query, where one file holds query and reference; may be empty.
    pub query: Vec<String>,
    /// The metrics' settings.
    pub options: EvaluateOptions,
}

/// The cells of one file.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What errors call them.
    pub name: &'a str,
    /// The batch that they are, where obs does not say.
    pub batch: &'a str,
    /// The cells: obs, obsm, varm and uns are read.
    pub cells: &'a Cells,
}

/// A query with its reference, or all cells in one.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The reference.
    pub reference: Option<Part<'a>>,
    /// The query; without a reference, all cells.
    pub query: Part<'a>,
}

impl Part<'_> {
    fn embedding(&self, key: &str) -> Result<Embedding, Error> {
        slots::embedding(self.cells, key)
            .map_err(|source| Error::Of { cells: self.name.to_owned(), source: Box::new(source) })
    }

    /// The row of each cell of `first` here.
    fn rows_of(&self, first: &Part<'_>) -> Result<Vec<usize>, Error> {
        let (index, others) = (&first.cells.obs.index, &self.cells.obs.index);
        if index == others {
            return Ok((0..index.len()).collect());
        }
        let wrong = |expected: &str, found| Error::Slot {
            slot: format!("{}: names of cells", self.name),
            expected: expected.to_owned(),
            found,
            remedy: "compare files of the same cells".into(),
        };
        let mut at = HashMap::new();
        for (i, name) in others.iter().enumerate() {
            if at.insert(name.as_str(), i).is_some() {
                return Err(wrong("each name once, to match cells by it", format!("two cells `{name}`")));
            }
        }
        let row = |name: &String| at.get(name.as_str()).copied().ok_or_else(|| format!("no cell `{name}`"));
        let rows = index.iter().map(row).collect::<Result<_, String>>();
        let rows = rows.map_err(|found| wrong(&format!("the cells of {}", first.name), found))?;
        if others.len() > index.len() {
            tracing::warn!(
                "{}: {} cells that {} lacks are left out",
                self.name,
                others.len() - index.len(),
                first.name
            );
        }
        Ok(rows)
    }
}

impl<'a> Side<'a> {
    /// The reference, where there is one, and the query.
    pub fn parts(&self) -> impl Iterator<Item = &Part<'a>> {
        self.reference.iter().chain([&self.query])
    }

    /// Cells of the reference, then of the query, in the dimensions of the reference.
    fn embedding(&self, key: &str) -> Result<Dense, Error> {
        let query = self.query.embedding(key)?;
        let Some(part) = &self.reference else { return Ok(query.mean) };
        let reference = part.embedding(key)?;
        let plain = key != slots::LATENT;
        let shared = query.select(&reference.names);
        let Some(shared) = shared.filter(|s| !plain || s.mean.n_cols == query.mean.n_cols) else {
            return Err(Error::Slot {
                slot: format!("{}: obsm[\"{key}\"]", self.query.name),
                expected: format!("the {} dimensions of {}", reference.names.len(), part.name),
                found: format!("{}, not all of them the same", query.names.len()),
                remedy: "map the query onto this reference".into(),
            });
        };
        if plain {
            let cells = [part.name, self.query.name];
            if centred_apart(&reference.mean, &shared.mean) || (key == "X_pca" && self.other_loadings()) {
                return Err(Error::TwoDecompositions { key: key.to_owned(), cells: cells.map(str::to_owned) });
            }
            tracing::warn!(
                "obsm[\"{key}\"] of {} and of {} are taken as one embedding of all cells",
                cells[0],
                cells[1]
            );
        }
        let values = reference.mean.values.into_iter().chain(shared.mean.values).collect();
        Ok(Dense::new(reference.mean.n_rows + shared.mean.n_rows, shared.mean.n_cols, values))
    }

    /// Whether both parts have loadings of components, and not the same ones.
    fn other_loadings(&self) -> bool {
        let loadings = |p: &Part<'a>| match p.cells.varm.get("PCs") {
            Some(Array::Dense(m)) => Some((m, &p.cells.var.index)),
            _ => None,
        };
        let Some(((a, names), (b, index))) = self.reference.as_ref().and_then(loadings).zip(loadings(&self.query))
        else {
            return false;
        };
        let at: HashMap<&str, usize> = names.iter().enumerate().map(|(i, g)| (g.as_str(), i)).collect();
        let same = |(i, g): (usize, &String)| {
            at.get(g.as_str()).is_none_or(|&j| a.row(j).iter().zip(b.row(i)).all(|(x, y)| (x - y).abs() < 1e-4))
        };
        a.n_cols != b.n_cols || !index.iter().enumerate().all(same)
    }
}

/// The data before integration, which PC regression and kNN purity compare with.
#[derive(Clone, Debug)]
pub struct Before {
    /// Cells compared × dimensions.
    pub x: Dense,
    /// What it is, in words.
    pub what: String,
}

/// The cells that are compared (those with a batch and a label), and their embeddings.
#[derive(Clone, Debug)]
pub struct Compared<'a> {
    first: Side<'a>,
    /// Rows of the cells compared, counted from the reference's first cell on.
    kept: Vec<usize>,
    /// Their batches.
    pub batch: Coded,
    /// Their labels.
    pub labels: Coded,
    /// Which of them are of the query; `None` where no one said.
    pub query: Option<Vec<bool>>,
    /// Embeddings by name, cells compared × dimensions.
    pub embeddings: Vec<(String, Dense)>,
    /// The data before integration, or why there is none.
    pub before: Result<Before, String>,
}

impl<'a> Compared<'a> {
    /// Finds the cells to compare: the first side says which they are, and of which batch and label.
    ///
    /// # Errors
    /// A column that is not there, or has one level; no cell that has both; a batch that is to be the query and is not there.
    pub fn new(first: Side<'a>, plan: &EvaluatePlan) -> Result<Self, Error> {
        let name = first.query.name;
        let sides = plan.batch.is_empty() && first.reference.is_some();
        if !sides && first.parts().all(|p| p.cells.obs.column(&plan.batch).is_none()) {
            columns::find(first.query.cells, name, &plan.batch)?;
        }
        let (mut batch, mut labels) = (Vec::new(), Vec::new());
        for (part, side) in first.parts().zip(["reference", "query"]) {
            let own = || vec![Some(if sides { side } else { part.batch }.to_owned()); part.cells.n_cells()];
            batch.extend(part.cells.obs.column(&plan.batch).map_or_else(own, Column::labels));
            labels.extend(columns::find(part.cells, part.name, &plan.labels)?.labels());
        }
        let kept: Vec<usize> = (0..batch.len()).filter(|&i| batch[i].is_some() && labels[i].is_some()).collect();
        if kept.len() < batch.len() {
            let (n, b, l) = (batch.len() - kept.len(), &plan.batch, &plan.labels);
            tracing::warn!("{n} cells lack `{b}` or `{l}` and are left out");
        }
        if kept.is_empty() {
            return Err(Error::Slot {
                slot: format!("{name}: obs"),
                expected: "cells with a batch and a label".into(),
                found: format!("that no cell has both `{}` and `{}`", plan.batch, plan.labels),
                remedy: "choose other columns".into(),
            });
        }
        let coded = |column: &str, texts: &[Option<String>]| {
            let problem = match Column::Text(kept.iter().map(|&i| texts[i].clone()).collect()).coded() {
                Ok(own) => match &own.levels[..] {
                    [one] => format!("is `{one}` in all cells; choose one with two levels"),
                    _ => return Ok(own),
                },
                Err(_) => "cannot be read".to_owned(),
            };
            Err(Error::Column { cells: name.to_owned(), name: column.to_owned(), problem })
        };
        let (batch, labels) = (coded(&plan.batch, &batch)?, coded(&plan.labels, &labels)?);
        if let Some(unknown) = plan.query.iter().find(|q| !batch.levels.contains(q)) {
            let (name, column) = (unknown.clone(), plan.batch.clone());
            return Err(Error::NoBatch { name, column, there: batch.levels });
        }
        let query = match &first.reference {
            Some(part) => Some(kept.iter().map(|&i| i >= part.cells.n_cells()).collect()),
            None if plan.query.is_empty() => None,
            None => Some(batch.codes.iter().map(|&c| plan.query.contains(&batch.levels[c as usize])).collect()),
        };
        let before = Err("not given".to_owned());
        Ok(Compared { first, kept, batch, labels, query, embeddings: Vec::new(), before })
    }

    /// Of each part of the first side, the rows of the cells compared.
    pub fn rows(&self) -> Vec<Vec<usize>> {
        let mut start = 0;
        let rows = self.first.parts().map(|part| {
            let here = start..start + part.cells.n_cells();
            start = here.end;
            self.kept.iter().filter(|i| here.contains(i)).map(|i| i - here.start).collect()
        });
        rows.collect()
    }

    /// Adds `obsm[key]` of a side to the embeddings, cells matched by name.
    ///
    /// # Errors
    /// Cells that the side lacks; no such embedding, or one of reference and query that are not the same dimensions.
    pub fn add(&mut self, side: &Side<'_>, key: &str, name: String) -> Result<(), Error> {
        let mut rows = Vec::new();
        let mut start = 0;
        for (mine, theirs) in self.first.parts().zip(side.parts()) {
            rows.extend(theirs.rows_of(mine)?.into_iter().map(|i| start + i));
            start += theirs.cells.n_cells();
        }
        let rows: Vec<usize> = self.kept.iter().map(|&i| rows[i]).collect();
        self.embeddings.push((name, side.embedding(key)?.select_rows(&rows)));
        Ok(())
    }

    /// Takes `obsm[key]` of the first side as the data before integration.
    ///
    /// # Errors
    /// No such embedding, or one of reference and query that are not the same dimensions.
    pub fn before_is(&mut self, key: &str) -> Result<(), Error> {
        let x = self.first.embedding(key)?.select_rows(&self.kept);
        self.before = Ok(Before { x, what: format!("before integration: obsm[\"{key}\"]") });
        Ok(())
    }

    /// Makes the data before integration: principal components of the counts of all parts together. They are of the genes of
    /// the model that the query was mapped with, else of the most variable ones. Values that are `normalised` are taken as they
    /// are. `counts` gives those of a part, or says why it has none; then there are no data before.
    ///
    /// # Errors
    /// Of `counts`.
    pub fn before_is_of<E>(
        &mut self,
        normalised: bool,
        components: usize,
        mut counts: impl FnMut(&Part<'_>) -> Result<Result<LogExpression, String>, E>,
    ) -> Result<(), E> {
        let mut parts = Vec::new();
        for (part, rows) in self.first.parts().zip(self.rows()) {
            match counts(part)? {
                Ok(values) => parts.push(values.select_cells(&rows)),
                Err(reason) => {
                    self.before = Err(format!("no counts in {}: {reason}", part.name));
                    return Ok(());
                }
            }
        }
        let genes = match slots::note(self.first.query.cells, "genes") {
            Some(Uns::Texts(genes)) => Some(&genes[..]),
            _ => None,
        };
        self.before = joint_components(&parts, normalised, genes, VARIABLE, components)
            .map(|found| {
                let what = words(&found, parts.len(), normalised, genes.unwrap_or_default());
                Before { x: found.pca.scores, what }
            })
            .map_err(|reason| format!("no components of the counts: {reason}"));
        Ok(())
    }

    /// The metrics of integration, with the reason why there are no data before where they lack them.
    ///
    /// # Errors
    /// Of [`evaluate`].
    pub fn scores(&self, plan: &EvaluatePlan) -> Result<Scores, Error> {
        let names: Vec<&str> = self.named().into_iter().map(|(name, _)| name).collect();
        let EvaluateOptions { neighbours, kbet_neighbours, lisi_neighbours, .. } = plan.options;
        let (n, others) = (self.kept.len(), self.kept.len() - 1);
        for (of, asked) in [("the graph", neighbours), ("kBET", kbet_neighbours), ("LISI", lisi_neighbours)] {
            if asked > n {
                tracing::warn!("{asked} neighbours for {of} are more than there are; all {others} others are taken");
            }
        }
        tracing::info!("{n} cells in {}", names.join(", "));
        let mut scores = evaluate(&self.named(), &self.batch, &self.labels, self.x_before(), &plan.options)?;
        self.say_why(&mut scores.left_out);
        Ok(scores)
    }

    /// The metrics of mapping; `None` where no one said which cells are the query's.
    ///
    /// # Errors
    /// Of [`evaluate_query`].
    pub fn query_scores(&self, plan: &EvaluatePlan) -> Result<Option<QueryScores>, Error> {
        let Some(query) = &self.query else { return Ok(None) };
        let sides = Sides { query, batch: &self.batch, cell_types: &self.labels };
        let EvaluateOptions { neighbours, search, .. } = &plan.options;
        let mut scores = evaluate_query(&self.named(), sides, self.x_before(), *neighbours, search)?;
        self.say_why(&mut scores.left_out);
        Ok(Some(scores))
    }

    fn named(&self) -> Vec<(&str, &Dense)> {
        self.embeddings.iter().map(|(name, x)| (name.as_str(), x)).collect()
    }

    fn x_before(&self) -> Option<&Dense> {
        self.before.as_ref().ok().map(|b| &b.x)
    }

    fn say_why(&self, left_out: &mut [(&str, String)]) {
        let Err(reason) = &self.before else { return };
        for (name, why) in left_out {
            if ["PC regression", "kNN purity", "Query kNN purity"].contains(name) {
                why.clone_from(reason);
            }
        }
    }
}

/// What the data before integration is, in words.
fn words(found: &JointComponents, parts: usize, normalised: bool, model: &[String]) -> String {
    let files = if parts == 1 { "the file" } else { "both files together" };
    let values = if normalised { "values as they are" } else { "counts scaled to 10,000 a cell, log1p" };
    let of_model = !found.genes.is_empty() && found.genes.iter().all(|g| model.contains(g));
    let which = if of_model && found.genes.len() == model.len() {
        "genes of the model".to_owned()
    } else if of_model {
        format!("of {} genes of the model", model.len())
    } else {
        format!("most variable of the {} genes there", found.shared)
    };
    let (components, genes) = (found.pca.scores.n_cols, found.genes.len());
    format!("before integration: {components} principal components of {files} ({values}) on the {genes} {which}")
}

/// The metrics of embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Of integration.
    pub scores: Scores,
    /// Of mapping, where query and reference are told apart.
    pub query: Option<QueryScores>,
}

/// What a column of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// A metric of integration.
    Integration {
        /// What it judges.
        category: Category,
        /// Whether it is part of its category's mean.
        in_mean: bool,
    },
    /// A mean of metrics.
    Mean,
    /// A metric of mapping.
    Mapping,
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreColumn {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: ColumnKind,
    /// One value an embedding, in the order given.
    pub values: Vec<Option<f64>>,
}

/// A mean of a row, by name.
type Mean = (&'static str, fn(&Row) -> Option<f64>);

/// The means of a row.
const MEANS: [Mean; 5] = [
    ("Biology", |r| r.biology),
    ("Batch", |r| r.batch),
    ("Overall", |r| r.overall),
    ("Overall (expiMap)", |r| r.expimap_overall),
    ("Overall (scArches)", |r| r.scarches_overall),
];

/// A name in lower case, its words joined by `_`.
pub(crate) fn column_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

impl Evaluated {
    /// The embeddings by overall score, the best first.
    pub fn ranked(&self) -> Vec<usize> {
        let rows = &self.scores.rows;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let key = |i: usize| rows[i].overall.unwrap_or(f64::NEG_INFINITY);
        order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
        order
    }

    /// The metrics and means that some embedding has no value for, and why.
    pub fn left_out(&self) -> Vec<(&'static str, String)> {
        let rows = &self.scores.rows;
        let of_query = self.query.iter().flat_map(|q| &q.left_out);
        let mut all: Vec<(&'static str, String)> = self.scores.left_out.iter().chain(of_query).cloned().collect();
        if rows.iter().any(|r| r.expimap_overall.is_none()) {
            all.push(("Overall (expiMap)", "some of its nine metrics are".to_owned()));
        }
        if rows.len() < 2 {
            all.push(("Overall (scArches)", "it ranks embeddings against each other, and here is one".to_owned()));
        } else if rows.iter().any(|r| r.scarches_overall.is_none()) {
            all.push(("Overall (scArches)", "some of its ten metrics are, or alike in all embeddings".to_owned()));
        }
        all
    }

    /// Every metric of integration, the means, the metrics of mapping.
    pub fn columns(&self) -> Vec<ScoreColumn> {
        let rows = &self.scores.rows;
        let column = |name, kind, value: &dyn Fn(usize) -> Option<f64>| ScoreColumn {
            name,
            kind,
            values: (0..rows.len()).map(value).collect(),
        };
        let metric = |(m, metric): (usize, &Metric)| {
            column(metric.name, ColumnKind::Integration { category: metric.category, in_mean: metric.in_mean }, &|i| {
                rows[i].values[m]
            })
        };
        let mut all: Vec<ScoreColumn> = METRICS.iter().enumerate().map(metric).collect();
        all.extend(MEANS.iter().map(|(name, mean)| column(name, ColumnKind::Mean, &|i| mean(&rows[i]))));
        if let Some(query) = &self.query {
            let mapping =
                |(m, name): (usize, &&'static str)| column(name, ColumnKind::Mapping, &|i| query.rows[i].1[m]);
            all.extend(QUERY_METRICS.iter().enumerate().map(mapping));
        }
        all
    }

    /// The table: one row an embedding, in the order given.
    pub fn table(&self) -> Frame {
        let mut out = Frame::new(self.scores.rows.iter().map(|r| r.embedding.clone()).collect());
        out.index_name = Some("embedding".into());
        for c in self.columns() {
            out.set(c.name, Column::Real(c.values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect()));
        }
        out
    }

    /// The same with the names of columns as tables in files have them: `overall_expimap` for `Overall (expiMap)`.
    pub fn file_table(&self) -> Frame {
        let mut out = self.table();
        out.columns.iter_mut().for_each(|(name, _)| *name = column_name(name));
        out
    }

    /// Reads a table back, with names of either kind; columns that are no metric are passed over, metrics that it lacks have
    /// no value.
    pub fn of_table(table: &Frame) -> Evaluated {
        let value = |name: &str, i: usize| {
            let column = table.columns.iter().find(|(n, _)| column_name(n) == column_name(name));
            column.and_then(|(_, c)| c.number(i))
        };
        let row = |(i, embedding): (usize, &String)| Row {
            embedding: embedding.clone(),
            values: METRICS.iter().map(|m| value(m.name, i)).collect(),
            biology: value("Biology", i),
            batch: value("Batch", i),
            overall: value("Overall", i),
            expimap_overall: value("Overall (expiMap)", i),
            scarches_overall: value("Overall (scArches)", i),
            recall: f64::NAN,
        };
        let query = |(i, name): (usize, &String)| (name.clone(), QUERY_METRICS.map(|m| value(m, i)).to_vec());
        let names = || table.index.iter().enumerate();
        let query = QueryScores { rows: names().map(query).collect(), left_out: Vec::new() };
        Evaluated { scores: Scores { rows: names().map(row).collect(), left_out: Vec::new() }, query: Some(query) }
    }
}
