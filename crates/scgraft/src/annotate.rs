//! What mapped cells are: labels and numbers of the reference, carried over by nearest neighbours.

use std::collections::{BTreeMap, HashMap};

use scgraft_analysis::neighbours::{Neighbours, Search, knn_across};
use scgraft_analysis::transfer::{
    Calibration, HierarchicalTransfer, KnownTypes, LabelSets, LabelTransfer, Labelled, Novelty, NoveltyOptions,
    OutOfDistribution, TransferOptions, TransferredValues, UNKNOWN, calibrate, check_nested, label_sets,
    out_of_distribution, reliability, transfer_labels, transfer_values,
};
use scgraft_cells::{Cells, Coded, Column, Csr, Dense, Fractions, Slot, Uns};
use scgraft_models::mean_on_grid;
use serde::{Deserialize, Serialize};

use crate::columns::{coded, find, joined, narrow, types, wrong};
use crate::embedding::shared;
use crate::labels::{Agreement, Match, Renamed};
use crate::normalised::plain_expression;
use crate::pictures::RELIABILITY_BINS;
use crate::{Ask, Embedding, Error, goes_on, slots};

/// Cells and where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// What errors and warnings call them: a file, a data set.
    pub name: &'a str,
    /// The cells; of the reference their obs is read, of the query obs and uns.
    pub cells: &'a Cells,
    /// Their embedding.
    pub embedding: &'a Embedding,
}

/// What is carried over, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatePlan {
    /// Columns of the reference's obs with labels.
    pub labels: Vec<String>,
    /// The value of those columns that means that a cell has none.
    pub unlabelled: Option<String>,
    /// Columns of the reference's obs with numbers.
    pub numbers: Vec<String>,
    /// Neighbours of each cell in the reference.
    pub k: usize,
    /// How they are searched for.
    pub search: Search,
    /// Weights of neighbours, and above which uncertainty a label is unknown where `novelty` is `None`.
    pub transfer: TransferOptions,
    /// Cells of types that the reference does not have are unknown, and only those; `None`: those whose neighbours disagree.
    pub novelty: Option<NoveltyOptions>,
    /// Also find the labels that each cell may have, so many that the true one is among them in this share of the cells.
    pub coverage: Option<f64>,
    /// Columns of obs with study or donor: what novelty and coverage are learned across. Empty: the columns of the condition
    /// that the reference was trained with, as the query tells them.
    pub across: Vec<String>,
    /// Calibrate uncertainties on the reference's own labels.
    pub calibration: Option<Calibration>,
    /// Column of the reference's obs (study, donor): calibrate on neighbours in other studies, as a new study finds them.
    pub calibrate_across: Option<String>,
    /// The label columns are nested, finest first: fall back to the parent where a label is uncertain.
    pub nested: bool,
    /// Columns of the query's obs with labels to compare with, in the order of `labels`; empty: those of the same names. One
    /// that is not there is passed over.
    pub truth: Vec<String>,
    /// What those labels are called in the reference.
    pub renamed: Renamed,
    /// Column of the query's obs with clusters: each gets the label that most of its cells got.
    pub majority: Option<String>,
}

impl Default for AnnotatePlan {
    fn default() -> Self {
        AnnotatePlan {
            labels: Vec::new(),
            unlabelled: None,
            numbers: Vec::new(),
            k: 15,
            search: Search::Exact,
            transfer: TransferOptions { probabilities: true, ..TransferOptions::default() },
            novelty: Some(NoveltyOptions::default()),
            coverage: None,
            across: Vec::new(),
            calibration: None,
            calibrate_across: None,
            nested: false,
            truth: Vec::new(),
            renamed: Renamed::default(),
            majority: None,
        }
    }
}

/// What [`annotate`] found; every list by cell is in the order of the query's cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// One per label column.
    pub labels: Vec<AnnotatedLabels>,
    /// How far outside the reference each cell lies.
    pub distance: OutOfDistribution,
    /// The finest certain labels, of nested columns.
    pub nested: Option<HierarchicalTransfer>,
    /// The numbers carried over, by the names of their columns; columns filled in the same cells together.
    pub numbers: Vec<(Vec<String>, TransferredValues)>,
    /// Share of the true neighbours that the search found.
    pub recall: f64,
    /// The columns that novelty and coverage were learned across.
    pub across: Vec<String>,
    /// Studies of the reference by those columns.
    pub n_studies: usize,
}

/// A label column carried over.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatedLabels {
    /// The labels.
    pub transfer: LabelTransfer,
    /// Whether cells are of a type that the reference does not have, where that was looked for.
    pub novelty: Option<Novelty>,
    /// The labels that a cell may have, where they were asked for.
    pub sets: Option<LabelSets>,
    /// How they agree with labels that the query has.
    pub truth: Option<Truth>,
    /// The label of each cell's cluster, where there are clusters.
    pub majority: Option<Majority>,
}

/// The label that most cells of a cluster got, by cell; unknown ones vote for being unknown, and of equals the first by name
/// wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Majority {
    /// `None` of a cell without a cluster.
    pub labels: Vec<Option<String>>,
    /// The share of the cluster's cells that got it, 0 to 1; NaN of a cell without a cluster.
    pub share: Vec<f64>,
}

/// How labels carried over agree with given ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// The column of the query's obs with the given ones.
    pub column: String,
    /// How they meet the reference's.
    pub matched: Match,
    /// Over the cells whose given label the reference has: share whose most probable label it is, and the expected calibration
    /// error; `None` without such a cell.
    pub agreement: Option<(f64, f64)>,
    /// Accuracy, balanced accuracy and macro F1 of the most probable labels over these cells; NaN without one.
    pub by_label: Agreement,
    /// Names that were to be renamed and are no cell's.
    pub unused: Vec<String>,
    /// Of each cell with a given label [`RIGHT`], [`WRONG`] or [`NOT_SAID`]; where the given labels were named.
    pub verdict: Option<Vec<Option<&'static str>>>,
}

/// The label carried over is the given one.
pub const RIGHT: &str = "right";
/// It is another, be it that the reference lacks the given one.
pub const WRONG: &str = "wrong";
/// None was carried over.
pub const NOT_SAID: &str = "unknown";

/// How many cells got a label.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelCount {
    /// The label.
    pub label: String,
    /// Cells that got it.
    pub cells: usize,
    /// Cells whose most probable label it is, and that are unknown.
    pub unknown: usize,
    /// Mean uncertainty of both.
    pub mean_uncertainty: f64,
}

impl AnnotatedLabels {
    /// How many cells got each label, without the labels that are no cell's.
    pub fn counts(&self) -> Vec<LabelCount> {
        let t = &self.transfer;
        let count = |(level, label): (usize, &String)| {
            let of: Vec<usize> = (0..t.best.len()).filter(|&i| t.best[i] as usize == level).collect();
            let unknown = of.iter().filter(|&&i| t.unknown[i]).count();
            let mean_uncertainty = of.iter().map(|&i| t.uncertainty[i]).sum::<f64>() / of.len() as f64;
            LabelCount { label: label.clone(), cells: of.len() - unknown, unknown, mean_uncertainty }
        };
        t.levels.iter().enumerate().map(count).filter(|c| c.cells + c.unknown > 0).collect()
    }

    /// Cells without a certain label.
    pub fn n_unknown(&self) -> usize {
        self.transfer.unknown.iter().filter(|u| **u).count()
    }
}

/// Carries labels and numbers of reference cells over to query cells by their nearest neighbours, in the dimensions of the
/// reference (programs that only the query has are left out). Reference cells without a label are left out for its column.
///
/// # Errors
/// A column that is not there; a number that is not; a cell without a label where columns are nested, or without a study where
/// calibration goes across studies; labels that are not nested; a dimension of the reference that the query lacks;
/// [`Error::Stopped`]; of the analyses.
pub fn annotate(
    reference: &Placed<'_>,
    query: &Placed<'_>,
    plan: &AnnotatePlan,
    ask: &mut Ask<'_>,
) -> Result<Annotation, Error> {
    // As a model carries them, so that a reference annotates alike from its file and from its model.
    let on_grid = Embedding { mean: mean_on_grid(&reference.embedding.mean), ..reference.embedding.clone() };
    let reference = &Placed { embedding: &on_grid, ..*reference };
    let shared = shared(reference.embedding, query.embedding)?.mean;
    plan.across.iter().try_for_each(|column| find(reference.cells, reference.name, column).map(|_| ()))?;
    let across = if plan.across.is_empty() { slots::condition_columns(query.cells) } else { plan.across.clone() };
    let (studies, batches) = (joined(reference.cells, &across), joined(query.cells, &across));
    let of = |name: &String| types(reference.cells, reference.name, name, plan.unlabelled.as_deref());
    let columns = plan.labels.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    let all: Vec<usize> = (0..reference.cells.n_cells()).collect();
    let gaps = columns.iter().position(|c| c.1.len() < all.len());
    if plan.nested {
        if let Some(at) = gaps {
            let n = all.len() - columns[at].1.len();
            let problem = format!("is empty in {n} cells; nested labels need every label column filled in every cell");
            return Err(wrong(reference.name, &plan.labels[at], problem));
        }
        check_nested(&plan.labels.iter().zip(&columns).map(|(n, c)| (n.as_str(), &c.0)).collect::<Vec<_>>())?;
    }
    let numbers = numbers(reference, &plan.numbers)?;
    let genes = match slots::note(reference.cells, "genes") {
        Some(Uns::Texts(genes)) => genes.clone(),
        _ => Vec::new(),
    };
    let counts = [reference, query].map(|of| plan.novelty.as_ref().and_then(|_| Counts::of(of.cells, &genes)));
    let carried = learned(reference.cells);

    // Columns filled in all cells share their neighbours; one with gaps has its own.
    let together = if gaps.is_none() { columns.len().max(1) } else { 1 };
    let mut part = |at: usize| -> Result<(Vec<AnnotatedLabels>, Near), Error> {
        goes_on(ask)?;
        let rows = columns.get(at).map_or(&all, |c| &c.1);
        let some = (rows.len() < all.len()).then(|| reference.embedding.mean.select_rows(rows));
        let x = some.as_ref().unwrap_or(&reference.embedding.mean);
        let near = Near::of(x, &shared, plan)?;
        let named = at..(at + together).min(columns.len());
        let named: Vec<(&str, &Coded)> = named.map(|j| (plan.labels[j].as_str(), &columns[j].0)).collect();
        let transfers = transfer_labels(&near.query, &named, &plan.transfer)?;
        let own = studies.select(rows);
        let others = match (plan.calibration, &plan.calibrate_across) {
            (Some(_), Some(column)) => Some(in_other_studies(reference, column, rows, x, plan.k)?),
            _ => None,
        };
        let mut labels = Vec::new();
        for (mut transfer, labels_of) in transfers.into_iter().zip(named) {
            if let Some(method) = plan.calibration {
                let own = others.as_ref().unwrap_or(&near.reference);
                calibrate(&mut transfer, own, labels_of.1, method, &plan.transfer)?;
            }
            let known = Labelled { x, labels: labels_of, studies: ("study", &own) };
            let mut found = AnnotatedLabels { transfer, novelty: None, sets: None, truth: None, majority: None };
            let one = labels_of.1.levels.len() < 2;
            if one && plan.novelty.is_some() {
                tracing::warn!("`{}` has one label only: no cell is called new by it", labels_of.0);
            }
            if let Some(options) = plan.novelty.as_ref().filter(|_| !one) {
                goes_on(ask)?;
                let [own, asked] = &counts;
                let fits = |l: &&Learned| {
                    l.label == labels_of.0
                        && l.across == across
                        && l.types.judges(x.n_cols)
                        && l.types.n_genes() == genes.len()
                };
                let carried = carried.iter().find(|l| options.is_usual() && plan.unlabelled.is_none() && fits(l));
                let types = match (carried, own, asked) {
                    (Some(carried), _, Some(_)) => carried.types.clone(),
                    (_, Some(own), Some(_)) => own.learn(&known, rows, options)?,
                    _ => KnownTypes::learn(&known, None, options, &plan.search)?,
                };
                let asked = asked.as_ref().filter(|_| types.n_genes() > 0).map(|c| (&c.x, Some(&c.lacking[..])));
                let novelty = types.judge(&shared, ("batch", &batches), asked, options.false_alarms, &plan.search)?;
                found.transfer.unknown.iter_mut().enumerate().for_each(|(i, unknown)| *unknown = novelty.is_new(i));
                found.novelty = Some(novelty);
            }
            if let Some(coverage) = plan.coverage {
                goes_on(ask)?;
                found.sets = Some(label_sets(&known, &shared, coverage, &plan.search)?);
            }
            found.truth = truth(&found.transfer, query, plan)?;
            found.majority = plan.majority.as_ref().map(|c| majority(&found.transfer, query, c)).transpose()?;
            labels.push(found);
        }
        Ok((labels, near))
    };
    let (mut labels, mut near) = part(0)?;
    for at in (together..columns.len()).step_by(together) {
        let (more, last) = part(at)?;
        labels.extend(more);
        near = Near { recall: last.recall.min(near.recall), ..last };
    }
    let (distance, recall) = (out_of_distribution(&near.reference, &near.query)?, near.recall);
    let nested = plan.nested.then(|| HierarchicalTransfer::of(labels.iter().map(|l| l.transfer.clone()).collect()));
    let carried = |group: Numbers| -> Result<(Vec<String>, TransferredValues), Error> {
        goes_on(ask)?;
        let values = group.values(reference.cells);
        let mean = &reference.embedding.mean;
        let own = match group.rows.len() < all.len() {
            true => Some(plan.search.between(&mean.select_rows(&group.rows), &shared, plan.k)?.neighbours),
            false if gaps.is_some() => Some(plan.search.between(mean, &shared, plan.k)?.neighbours),
            false => None,
        };
        Ok((group.names, transfer_values(own.as_ref().unwrap_or(&near.query), &values, plan.transfer.kernel)?))
    };
    let values = numbers.into_iter().map(carried).collect::<Result<_, _>>()?;
    Ok(Annotation { labels, distance, nested, numbers: values, recall, across, n_studies: studies.levels.len() })
}

/// What a reference's expression says of the types of a label column, learned while its counts were there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Learned {
    label: String,
    across: Vec<String>,
    types: KnownTypes,
}

/// What judging novelty by these label columns takes of a reference's counts, for a model to carry; empty without counts.
///
/// # Errors
/// A column that is not there.
pub(crate) fn learn(
    reference: &Placed<'_>,
    genes: &[String],
    labels: &[String],
    across: &[String],
) -> Result<String, Error> {
    let Some(counts) = Counts::of(reference.cells, genes) else { return Ok(String::new()) };
    let (mean, studies) = (mean_on_grid(&reference.embedding.mean), joined(reference.cells, across));
    let mut learned = Vec::new();
    for name in labels {
        let (column, rows) = coded(reference.cells, reference.name, name)?;
        if column.levels.len() < 2 {
            continue;
        }
        let own = studies.select(&rows);
        let x = mean.select_rows(&rows);
        let known = Labelled { x: &x, labels: (name, &column), studies: ("study", &own) };
        let types = counts.learn(&known, &rows, &NoveltyOptions::default())?;
        learned.push(Learned { label: name.clone(), across: across.to_vec(), types });
    }
    serde_json::to_string(&learned).map_err(|e| wrong(reference.name, "counts", e.to_string()))
}

/// What a model carried; nothing where it is of a version that reads otherwise.
fn learned(cells: &Cells) -> Vec<Learned> {
    match slots::note(cells, slots::LEARNED) {
        Some(Uns::Text(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Where genes stand among names, the first of several; nothing where fewer than half do.
fn half<'n>(genes: &[String], names: impl Iterator<Item = Option<&'n str>>) -> Option<Vec<Option<usize>>> {
    let mut at: HashMap<&str, usize> = HashMap::new();
    for (j, name) in names.enumerate() {
        if let Some(name) = name {
            at.entry(name).or_insert(j);
        }
    }
    let columns: Vec<Option<usize>> = genes.iter().map(|g| at.get(g.as_str()).copied()).collect();
    let there = columns.iter().flatten().count();
    (there > 0 && 2 * there >= genes.len()).then_some(columns)
}

/// Counts of the genes of a model.
struct Counts {
    /// Cells × genes, zero for a gene that is lacking.
    x: Csr,
    lacking: Vec<bool>,
}

impl Counts {
    /// From the first of X, the layers and raw that holds counts of at least half of the genes, by the names of its rows
    /// or else by a column that has them.
    fn of(cells: &Cells, genes: &[String]) -> Option<Counts> {
        let found = Slot::all(cells).into_iter().find_map(|slot| {
            let found = plain_expression(cells, &slot, false, Fractions::default()).ok()?;
            let columns = half(genes, found.genes.index.iter().map(|name| Some(name.as_str()))).or_else(|| {
                let texts =
                    found.genes.columns.iter().filter(|c| matches!(c.1, Column::Text(_) | Column::Categorical { .. }));
                texts.map(|c| c.1.texts()).find_map(|names| half(genes, names.iter().map(Option::as_deref)))
            })?;
            Some((found.x.select_columns(&columns), columns))
        });
        let (x, columns) = found?;
        Some(Counts { x, lacking: columns.iter().map(Option::is_none).collect() })
    }

    /// What the reference's types are, in its map and in these counts of all its cells; `rows` are those of `known`.
    fn learn(&self, known: &Labelled<'_>, rows: &[usize], options: &NoveltyOptions) -> Result<KnownTypes, Error> {
        let some = (rows.len() < self.x.n_rows).then(|| self.x.select_rows(rows));
        Ok(KnownTypes::learn(known, Some(some.as_ref().unwrap_or(&self.x)), options, &Search::Exact)?)
    }
}

/// The neighbours of a query in its reference, and those of the reference's cells among themselves.
struct Near {
    query: Neighbours,
    reference: Neighbours,
    recall: f64,
}

impl Near {
    fn of(reference: &Dense, query: &Dense, plan: &AnnotatePlan) -> Result<Near, Error> {
        let near = plan.search.between(reference, query, plan.k)?;
        let usual = plan.search.among(reference, plan.k, false)?;
        Ok(Near { query: near.neighbours, reference: usual.neighbours, recall: near.recall.min(usual.recall) })
    }
}

/// Neighbours of reference cells in other studies.
fn in_other_studies(
    reference: &Placed<'_>,
    column: &str,
    rows: &[usize],
    x: &Dense,
    k: usize,
) -> Result<Neighbours, Error> {
    let studies = coded(reference.cells, reference.name, column)?;
    let here = narrow(&studies, rows);
    if here.codes.len() < rows.len() {
        let n = rows.len() - here.codes.len();
        return Err(wrong(reference.name, column, format!("has {n} empty cells; fill it to calibrate across it")));
    }
    Ok(knn_across(x, (column, &here), k)?)
}

/// Numeric columns of the reference that have a number in the same cells.
struct Numbers {
    names: Vec<String>,
    /// Those cells.
    rows: Vec<usize>,
}

/// Numeric columns, those of the same cells together.
fn numbers(reference: &Placed<'_>, names: &[String]) -> Result<Vec<Numbers>, Error> {
    let mut groups: Vec<Numbers> = Vec::new();
    for name in names {
        let column = find(reference.cells, reference.name, name)?;
        let n = reference.cells.n_cells();
        let rows: Vec<usize> = (0..n).filter(|&i| column.number(i).is_some_and(f64::is_finite)).collect();
        if rows.is_empty() {
            return Err(wrong(reference.name, name, "has no number in any cell; choose one with numbers"));
        }
        if rows.len() < n {
            let of = reference.name;
            tracing::warn!("{of}: {} cells have no finite number in `{name}` and are left out", n - rows.len());
        }
        match groups.iter_mut().find(|g| g.rows == rows) {
            Some(group) => group.names.push(name.clone()),
            None => groups.push(Numbers { names: vec![name.clone()], rows }),
        }
    }
    Ok(groups)
}

impl Numbers {
    /// Side by side, cells × columns.
    fn values(&self, cells: &Cells) -> Dense {
        let mut out = Dense::zeros(self.rows.len(), self.names.len());
        for (j, column) in self.names.iter().filter_map(|name| cells.obs.column(name)).enumerate() {
            for (at, &i) in self.rows.iter().enumerate() {
                out.row_mut(at)[j] = column.number(i).unwrap_or(f64::NAN) as f32;
            }
        }
        out
    }
}

/// How labels agree with those that the query has; `None` where it has none.
fn truth(t: &LabelTransfer, query: &Placed<'_>, plan: &AnnotatePlan) -> Result<Option<Truth>, Error> {
    let at = plan.labels.iter().position(|l| *l == t.column);
    let column = if plan.truth.is_empty() { Some(&t.column) } else { at.and_then(|at| plan.truth.get(at)) };
    let Some((name, column)) = column.and_then(|c| query.cells.obs.column(c).map(|column| (c, column))) else {
        return Ok(None);
    };
    let given = plan.renamed.texts(column);
    let mut codes = Vec::new();
    let mut confidence = Vec::new();
    for (i, given) in given.iter().enumerate() {
        if let Some(at) = given.as_ref().and_then(|g| t.levels.iter().position(|l| l == g)) {
            confidence.push((1.0 - t.uncertainty[i]).clamp(0.0, 1.0));
            codes.push((at, t.best[i] as usize));
        }
    }
    let right: Vec<bool> = codes.iter().map(|(given, got)| given == got).collect();
    let agreement = if confidence.is_empty() {
        None
    } else {
        let curve = reliability(&confidence, &right, RELIABILITY_BINS)?;
        let bins = curve.bins.iter().filter(|b| b.n_cells > 0);
        let sum = bins.map(|b| b.accuracy * b.n_cells as f64).sum::<f64>();
        Some((sum / confidence.len() as f64, curve.expected_error))
    };
    let unused = plan.renamed.unused(column).into_iter().map(str::to_owned).collect();
    let verdict = |i: usize| {
        given[i].as_ref().map(|given| match t.label(i) {
            UNKNOWN => NOT_SAID,
            label if label == given => RIGHT,
            _ => WRONG,
        })
    };
    let verdict = (!plan.truth.is_empty()).then(|| (0..given.len()).map(verdict).collect());
    let (column, matched, by_label) = (name.clone(), Match::of(&given, &t.levels), Agreement::of(&codes));
    Ok(Some(Truth { column, matched, agreement, by_label, unused, verdict }))
}

/// The label that most cells of each cluster got.
fn majority(t: &LabelTransfer, query: &Placed<'_>, column: &str) -> Result<Majority, Error> {
    let clusters = find(query.cells, query.name, column)?.labels();
    let mut votes: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (i, cluster) in clusters.iter().enumerate() {
        if let Some(cluster) = cluster {
            *votes.entry(cluster).or_default().entry(t.label(i)).or_default() += 1;
        }
    }
    let most = |of: &BTreeMap<&str, usize>| {
        let all: usize = of.values().sum();
        // The last of equals is taken: from the back, the first by name.
        let most = of.iter().rev().max_by_key(|(_, n)| **n).map(|(label, n)| ((*label).to_owned(), *n));
        most.map(|(label, n)| (label, n as f64 / all as f64))
    };
    let winners: BTreeMap<&str, Option<(String, f64)>> = votes.iter().map(|(c, of)| (*c, most(of))).collect();
    let of_cell = |cluster: &Option<String>| cluster.as_deref().and_then(|c| winners[c].clone());
    let (labels, share) =
        clusters.iter().map(of_cell).map(|w| w.map_or((None, f64::NAN), |(l, s)| (Some(l), s))).unzip();
    Ok(Majority { labels, share })
}

#[cfg(test)]
mod tests {
    use super::*;
    use scgraft_cells::{Frame, Matrix};

    #[test]
    fn counts_are_found_by_a_column_of_gene_names() {
        let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let x = Dense::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).to_csr();
        let mut var = Frame::new(named(&["ENSG1", "ENSG2", "ENSG3"]));
        var.set("chromosome", Column::categorical(&["1", "X", "1"]));
        var.set("symbol", Column::categorical(&["B", "A", "A"]));
        let cells = Cells::new(Matrix::Sparse(x), Frame::new(named(&["c0", "c1"])), var);
        let found = Counts::of(&cells, &named(&["A", "lost", "B"])).unwrap();
        // The first of two genes of one name is taken.
        assert_eq!(found.x.to_dense().values, [2.0, 0.0, 1.0, 5.0, 0.0, 4.0]);
        assert_eq!(found.lacking, [false, true, false]);
        assert!(Counts::of(&cells, &named(&["A", "lost", "gone"])).is_none());
    }

    #[test]
    fn clusters_get_the_label_of_most_of_their_cells() {
        let mut obs = Frame::new((0..8).map(|i| i.to_string()).collect());
        let clusters = ["0", "0", "0", "1", "1", "2", "2", ""];
        obs.set("leiden", Column::categorical(&clusters));
        let cells = Cells::empty(obs, Frame::default());
        let embedding = Embedding {
            mean: Dense::zeros(8, 1),
            variance: None,
            names: vec!["d".into()],
            direction: vec![0],
            confidence: vec![0.0],
            rules: Vec::new(),
            active: vec![true],
            thin: Vec::new(),
        };
        let query = Placed { name: "q", cells: &cells, embedding: &embedding };
        let t = LabelTransfer {
            column: "type".into(),
            levels: vec!["A".into(), "B".into()],
            best: vec![0, 1, 1, 0, 0, 1, 0, 0],
            uncertainty: vec![0.0; 8],
            unknown: vec![false, false, false, true, true, false, false, false],
            probabilities: None,
        };
        let found = majority(&t, &query, "leiden").unwrap();
        let labels: Vec<&str> = found.labels.iter().map(|l| l.as_deref().unwrap_or("-")).collect();
        // Two of three; both unknown; of equals the first by name; no cluster.
        assert_eq!(labels, ["B", "B", "B", UNKNOWN, UNKNOWN, "A", "A", "-"]);
        assert_eq!(found.share[..7], [2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 1.0, 1.0, 0.5, 0.5]);
        assert!(found.share[7].is_nan());
        assert!(majority(&t, &query, "louvain").is_err());
    }
}
