//! All metrics of several embeddings in one table, with the means of their categories.
//!
//! Source: Luecken et al., *Nat Methods* 2022; the metrics are those of Lotfollahi et al., *Nat
//! Biotechnol* 2022 and *Nat Cell Biol* 2023.

use scgraft_cells::{Coded, Dense, Steps};

use super::agreement::best_agreement;
use super::batch_entropy::batch_entropy;
use super::graph_connectivity::graph_connectivity;
use super::isolated::{isolated_label_f1, with_cell_type_asw};
use super::kbet::kbet_per_label;
use super::knn_accuracy::knn_accuracy;
use super::knn_purity::purity_within_batches;
use super::pc_regression::pc_regression_comparison;
use super::silhouette::{batch_asw, bras};
use super::{Groups, lisi, mean};
use crate::error::{Error, Result, check_matrix};
use crate::graph::cluster::{Algorithm, Clustering, RESOLUTIONS, check_resolution, sweep};
use crate::graph::connectivities;
use crate::neighbours::{Neighbours, Search};

/// Weights of the two categories in the overall score.
const BATCH_WEIGHT: f64 = 0.4;
const BIOLOGY_WEIGHT: f64 = 0.6;
/// The nine metrics that the expiMap paper takes the plain mean of.
const EXPIMAP: [&str; 9] = [
    "PC regression",
    "Batch ASW",
    "kBET",
    "Graph connectivity",
    "Graph iLISI",
    "Graph cLISI",
    "NMI",
    "ARI",
    "Cell-type ASW",
];
/// The ten metrics of the scArches paper: four of the batches, six of the biology.
const SCARCHES: [&str; 10] = [
    "PC regression",
    "Entropy of batch mixing",
    "Graph connectivity",
    "Batch ASW",
    "NMI",
    "ARI",
    "Cell-type ASW",
    "Isolated-label F1",
    "Isolated-label silhouette",
    "kNN accuracy",
];

/// What a metric judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Whether cell types stay recognisable.
    Biology,
    /// Whether batches are mixed.
    Batch,
}

/// One metric of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name to show.
    pub name: &'static str,
    /// What it judges.
    pub category: Category,
    /// Whether it is part of its category's mean. BRAS stands beside batch ASW, which measures the same;
    /// kNN purity falls with every correction, wanted or not.
    pub in_mean: bool,
    value: fn(&Subject<'_>) -> Result<f64>,
}

/// The columns of the table, in order: a metric is its file and its line here.
pub const METRICS: [Metric; 15] = {
    const fn metric(
        name: &'static str,
        category: Category,
        in_mean: bool,
        value: fn(&Subject<'_>) -> Result<f64>,
    ) -> Metric {
        Metric { name, category, in_mean, value }
    }
    use Category::{Batch, Biology};
    [
        metric("NMI", Biology, true, |s| best_agreement(s.clusterings()?, s.types).map(|a| a.nmi)),
        metric("ARI", Biology, true, |s| best_agreement(s.clusterings()?, s.types).map(|a| a.ari)),
        metric("Cell-type ASW", Biology, true, |s| s.silhouettes.clone().map(|(all, _)| all)),
        metric("Isolated-label F1", Biology, true, |s| isolated_label_f1(s.clusterings()?, s.types, s.batch)),
        metric("Isolated-label silhouette", Biology, true, |s| s.silhouettes.clone().map(|(_, isolated)| isolated)),
        metric("Graph cLISI", Biology, true, |s| s.lisi.clone().map(|(_, types)| types)),
        metric("kNN accuracy", Biology, true, |s| knn_accuracy(&s.around, s.types)),
        metric("kNN purity", Biology, false, |s| {
            purity_within_batches(s.before()?, s.x, s.batch, s.options.neighbours, &s.options.search).map(|p| p.0)
        }),
        metric("PC regression", Batch, true, |s| pc_regression_comparison(s.before()?, s.x, s.batch)),
        metric("Batch ASW", Batch, true, |s| batch_asw(s.x, s.types, s.batch)),
        metric("BRAS", Batch, false, |s| bras(s.x, s.types, s.batch)),
        metric("Graph connectivity", Batch, true, |s| graph_connectivity(&s.graph, s.types, s.options.directed)),
        metric("kBET", Batch, true, |s| kbet_per_label(&s.near.truncated(s.options.kbet_neighbours), s.batch, s.types)),
        metric("Graph iLISI", Batch, true, |s| s.lisi.clone().map(|(batches, _)| batches)),
        metric("Entropy of batch mixing", Batch, true, |s| batch_entropy(&s.around, s.batch)),
    ]
};

/// What metrics look at: an embedding, its neighbours and labels, and what several of them share.
struct Subject<'a> {
    x: &'a Dense,
    batch: &'a Coded,
    types: &'a Coded,
    before: Option<&'a Dense>,
    options: &'a EvaluateOptions,
    /// As many neighbours as any metric wants, the cell itself among them.
    near: &'a Neighbours,
    /// `options.neighbours` of them, the cell itself among them.
    graph: Neighbours,
    /// `options.neighbours` of them besides the cell.
    around: Neighbours,
    clusterings: Result<Vec<Clustering>>,
    /// Of the cell types, all and isolated ones.
    silhouettes: Result<(f64, f64)>,
    /// Of batches and of cell types.
    lisi: Result<(f64, f64)>,
}

impl<'a> Subject<'a> {
    fn new(
        x: &'a Dense,
        near: &'a Neighbours,
        (batch, types): (&'a Coded, &'a Coded),
        before: Option<&'a Dense>,
        options: &'a EvaluateOptions,
        steps: &Steps,
    ) -> Self {
        let graph = near.truncated(options.neighbours);
        let clusterings =
            connectivities(&graph).and_then(|g| sweep(&g, options.algorithm, &options.resolutions, options.seed));
        steps.done();
        let silhouettes = with_cell_type_asw(x, types, batch);
        steps.done();
        let lisi = lisi::both(&near.truncated(options.lisi_neighbours), batch, types);
        steps.done();
        Subject {
            clusterings,
            silhouettes,
            lisi,
            around: near.truncated(options.neighbours + 1),
            graph,
            x,
            batch,
            types,
            before,
            options,
            near,
        }
    }

    fn clusterings(&self) -> Result<&[Clustering]> {
        self.clusterings.as_deref().map_err(Clone::clone)
    }

    fn before(&self) -> Result<&Dense> {
        self.before.ok_or_else(|| Error::Inconsistent {
            what: "data before integration".to_owned(),
            problem: "not given; this metric compares with it".to_owned(),
        })
    }
}

/// Settings of [`evaluate`].
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateOptions {
    /// Resolutions of the clusterings for NMI, ARI and isolated-label F1; of several the best counts. The scArches paper
    /// has one, 1.0.
    pub resolutions: Vec<f64>,
    /// How clusters are found; the scArches paper has Louvain.
    pub algorithm: Algorithm,
    /// Neighbours of the clusterings' graph and of graph connectivity (the cell itself is one of them), and, itself not
    /// counted, of kNN accuracy, kNN purity and the entropy of batch mixing.
    pub neighbours: usize,
    /// Neighbours of kBET, the cell itself among them.
    pub kbet_neighbours: usize,
    /// Neighbours of LISI, the cell itself among them.
    pub lisi_neighbours: usize,
    /// Whether graph connectivity asks for a way to and fro (scib-metrics); without, edges count both ways (the papers).
    pub directed: bool,
    /// Seed of the clusterings.
    pub seed: u64,
    /// How neighbours are searched for.
    pub search: Search,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        EvaluateOptions {
            resolutions: RESOLUTIONS.to_vec(),
            algorithm: Algorithm::Leiden,
            neighbours: 15,
            kbet_neighbours: 50,
            lisi_neighbours: 90,
            directed: true,
            seed: 0,
            search: Search::Exact,
        }
    }
}

/// The scores of one embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The embedding's name.
    pub embedding: String,
    /// One value for each of [`METRICS`]; `None` where [`Scores::left_out`] says why.
    pub values: Vec<Option<f64>>,
    /// Mean of the biology metrics.
    pub biology: Option<f64>,
    /// Mean of the batch metrics.
    pub batch: Option<f64>,
    /// 0.4 · batch + 0.6 · biology, of all metrics that are in the means. Neither paper's.
    pub overall: Option<f64>,
    /// The expiMap paper's overall score: the mean of its nine metrics (PC regression, batch ASW, kBET, graph connectivity,
    /// graph iLISI, graph cLISI, NMI, ARI, cell-type ASW). `None` where one of them is missing.
    pub expimap_overall: Option<f64>,
    /// The scArches paper's: each of its ten metrics scaled from 0 (the worst of these embeddings) to 1 (the best),
    /// 0.4 · mean of its four of the batches + 0.6 · mean of its six of the biology. It compares these embeddings and says
    /// nothing of one alone; a metric with one value in all of them is in neither mean. `None` with a single embedding, or
    /// where a metric is missing.
    pub scarches_overall: Option<f64>,
    /// Share of the true neighbours that the search found; 1 of an exact search.
    pub recall: f64,
}

/// The table.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// One row an embedding, in the order given.
    pub rows: Vec<Row>,
    /// Metrics that could not be computed for every embedding, and why; they are in no mean.
    pub left_out: Vec<(&'static str, String)>,
}

impl Scores {
    /// Rows of several tables as one; the scArches paper's overall score is scaled over all of them.
    pub fn gathered(mut rows: Vec<Row>) -> Scores {
        rows.iter_mut().for_each(|r| r.scarches_overall = None);
        overall_of_the_papers(&mut rows);
        Scores { rows, left_out: Vec::new() }
    }

    /// The value of a metric for an embedding.
    pub fn value(&self, embedding: &str, metric: &str) -> Option<f64> {
        let column = METRICS.iter().position(|m| m.name == metric)?;
        self.rows.iter().find(|r| r.embedding == embedding)?.values[column]
    }
}

/// Scores embeddings of the same cells by every metric of the papers.
///
/// `before` is the data before integration (PCA of log-normalised expression, say), for PC regression
/// and kNN purity (within batches); without it these two are left out. A metric that the data cannot have (no cell
/// type in two batches, say) is left out for all embeddings, with the reason in the table, so that means
/// compare like with like. Neighbours are exact unless asked otherwise: 15 for the graph metrics and accuracy, 50 for
/// kBET, 90 for LISI, fewer when there are fewer cells.
///
/// ```
/// use scgraft_analysis::metrics::scores::{EvaluateOptions, evaluate};
/// use scgraft_cells::{Coded, Dense};
///
/// // Two types far apart, two batches on each other.
/// let x = Dense::new(60, 2, (0..60).flat_map(|i| [100.0 * (i % 2) as f32, ((i * 7) % 30) as f32]).collect());
/// let labels = |codes: Vec<u32>| Coded { codes, levels: vec!["a".into(), "b".into()] };
/// let (types, batch) = (labels((0..60).map(|i| i % 2).collect()), labels((0..60).map(|i| (i / 2) % 2).collect()));
/// let table = evaluate(&[("latent", &x)], &batch, &types, None, &EvaluateOptions::default())?;
/// assert!(table.value("latent", "Cell-type ASW").is_some_and(|asw| asw > 0.9));
/// # Ok::<(), scgraft_analysis::Error>(())
/// ```
///
/// # Errors
/// Values that are not finite (with the row), lengths that differ, a single batch or cell type, no embedding,
/// two embeddings of one name, fewer than 5 cells.
pub fn evaluate(
    embeddings: &[(&str, &Dense)],
    batch: &Coded,
    cell_types: &Coded,
    before: Option<&Dense>,
    options: &EvaluateOptions,
) -> Result<Scores> {
    check(embeddings, batch, cell_types, before, options)?;
    let most = options.lisi_neighbours.max(options.kbet_neighbours).max(options.neighbours + 1);
    let mut columns = Vec::new();
    // What several metrics share is three parts.
    let steps = Steps::new("computing metrics", embeddings.len() * (METRICS.len() + 3));
    for &(name, x) in embeddings {
        let near = options.search.among(x, most.min(x.n_rows), true)?;
        let subject = Subject::new(x, &near.neighbours, (batch, cell_types), before, options, &steps);
        let values: Vec<_> = METRICS
            .iter()
            .map(|metric| {
                let value = (metric.value)(&subject);
                steps.done();
                value
            })
            .collect();
        columns.push((name, near.recall, values));
    }
    let names = METRICS.map(|m| m.name);
    let left_out = left_out_of(&names, columns.iter().map(|(name, _, values)| (*name, &values[..])));
    let rows = columns.into_iter().map(|(name, recall, values)| row(name, recall, values, &left_out));
    let mut scores = Scores { rows: rows.collect(), left_out };
    overall_of_the_papers(&mut scores.rows);
    Ok(scores)
}

/// The metrics that some embedding has no value for, each with the first reason met.
pub(super) fn left_out_of<'a>(
    metrics: &[&'static str],
    columns: impl Iterator<Item = (&'a str, &'a [Result<f64>])> + Clone,
) -> Vec<(&'static str, String)> {
    let reason = |m: usize| {
        columns.clone().find_map(|(name, values)| match &values[m] {
            Err(reason) => Some(format!("{name}: {reason}")),
            Ok(v) if !v.is_finite() => Some(format!("{name}: the value is not a number")),
            Ok(_) => None,
        })
    };
    metrics.iter().enumerate().filter_map(|(m, &name)| reason(m).map(|r| (name, r))).collect()
}

/// Adds the overall scores as the two papers have them.
fn overall_of_the_papers(rows: &mut [Row]) {
    let column = |name: &&str| METRICS.iter().position(|m| m.name == *name);
    let nine: Vec<usize> = EXPIMAP.iter().filter_map(column).collect();
    for row in rows.iter_mut() {
        let values: Option<Vec<f64>> = nine.iter().map(|&m| row.values[m]).collect();
        row.expimap_overall = values.map(mean);
    }
    if rows.len() < 2 {
        return;
    }
    let mut parts = [vec![Vec::new(); rows.len()], vec![Vec::new(); rows.len()]];
    for m in SCARCHES.iter().filter_map(column) {
        let Some(values) = rows.iter().map(|r| r.values[m]).collect::<Option<Vec<f64>>>() else { return };
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        if high > low {
            let part = &mut parts[usize::from(METRICS[m].category == Category::Biology)];
            values.iter().zip(part.iter_mut()).for_each(|(v, scaled)| scaled.push((v - low) / (high - low)));
        }
    }
    let [batch, biology] = parts;
    for ((row, batch), biology) in rows.iter_mut().zip(batch).zip(biology) {
        if !batch.is_empty() && !biology.is_empty() {
            row.scarches_overall = Some(BATCH_WEIGHT * mean(batch) + BIOLOGY_WEIGHT * mean(biology));
        }
    }
}

fn check(
    embeddings: &[(&str, &Dense)],
    batch: &Coded,
    cell_types: &Coded,
    before: Option<&Dense>,
    options: &EvaluateOptions,
) -> Result<()> {
    for (name, k) in [
        ("neighbours", options.neighbours),
        ("neighbours of kBET", options.kbet_neighbours),
        ("neighbours of LISI", options.lisi_neighbours),
    ] {
        if k < 2 {
            return Err(Error::Parameter { name, value: k.to_string(), expected: "at least 2" });
        }
    }
    options.resolutions.iter().try_for_each(|&r| check_resolution(r))?;
    let Some(&(_, first)) = embeddings.first() else {
        return Err(Error::Empty { what: "list of embeddings".to_owned(), n_rows: 0, n_cols: 0 });
    };
    let n = first.n_rows;
    let named = embeddings.iter().map(|&(name, x)| (format!("embedding `{name}`"), x));
    for (what, x) in named.chain(before.map(|x| ("data before integration".to_owned(), x))) {
        check_matrix(&what, x)?;
        if x.n_rows != n {
            return Err(Error::Length { what, expected: n, found: x.n_rows });
        }
    }
    for (i, &(name, _)) in embeddings.iter().enumerate() {
        if embeddings[..i].iter().any(|&(other, _)| other == name) {
            return Err(Error::Inconsistent {
                what: format!("embedding `{name}`"),
                problem: "two embeddings have this name; give each its own".to_owned(),
            });
        }
    }
    if n < 5 {
        return Err(Error::Inconsistent {
            what: "embeddings".to_owned(),
            problem: format!("{n} cells; metrics need at least 5"),
        });
    }
    Groups::new("batch", batch, n, 2)?;
    Groups::new("cell type", cell_types, n, 2)?;
    Ok(())
}

fn row(name: &str, recall: f64, values: Vec<Result<f64>>, left_out: &[(&'static str, String)]) -> Row {
    let category = |category: Category| {
        let counted: Vec<f64> = METRICS
            .iter()
            .zip(&values)
            .filter(|(m, _)| m.category == category && m.in_mean && left_out.iter().all(|(n, _)| *n != m.name))
            .filter_map(|(_, v)| v.as_ref().ok().copied())
            .collect();
        (!counted.is_empty()).then(|| mean(counted))
    };
    let (biology, batch) = (category(Category::Biology), category(Category::Batch));
    Row {
        embedding: name.to_owned(),
        overall: biology.zip(batch).map(|(bio, batch)| BATCH_WEIGHT * batch + BIOLOGY_WEIGHT * bio),
        expimap_overall: None,
        scarches_overall: None,
        biology,
        batch,
        recall,
        values: values.into_iter().map(|v| v.ok().filter(|x| x.is_finite())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{coded, normals};

    /// Three types in two batches; `shift` parts the batches.
    fn cells(n: usize, shift: f32, seed: u64) -> (Dense, Coded, Coded) {
        let noise = normals(n * 4, seed);
        let (types, batch): (Vec<u32>, Vec<u32>) = (0..n as u32).map(|i| (i % 3, (i / 3) % 2)).unzip();
        let values = (0..n * 4)
            .map(|at| {
                let (i, j) = (at / 4, at % 4);
                let centre = if j as u32 == types[i] { 8.0 } else { 0.0 };
                noise[at] as f32 + centre + if j == 3 { shift * batch[i] as f32 } else { 0.0 }
            })
            .collect();
        (Dense::new(n, 4, values), coded(&batch, 2), coded(&types, 3))
    }

    #[test]
    fn the_better_embedding_wins_and_means_are_means() {
        let (mixed, batch, types) = cells(360, 0.0, 1);
        let (apart, _, _) = cells(360, 12.0, 2);
        let noise = crate::testing::normal_matrix(360, 4, 3);
        let all = [("apart", &apart), ("noise", &noise), ("mixed", &mixed)];
        let s = evaluate(&all, &batch, &types, Some(&apart), &EvaluateOptions::default()).unwrap();
        assert!(s.left_out.is_empty(), "{:?}", s.left_out);
        let best = s.rows.iter().max_by(|a, b| a.overall.partial_cmp(&b.overall).unwrap()).unwrap();
        assert_eq!(best.embedding, "mixed");
        assert!(best.values.iter().flatten().all(|v| (-1e-9..=1.0 + 1e-9).contains(v)), "{:?}", best.values);
        assert!(best.biology.unwrap() > 0.9 && best.batch.unwrap() > 0.8, "{best:?}");
        let bio = (0..7).map(|i| best.values[i].unwrap()).sum::<f64>() / 7.0;
        assert!((bio - best.biology.unwrap()).abs() < 1e-12);
        let weighed = 0.4 * best.batch.unwrap() + 0.6 * best.biology.unwrap();
        assert!((best.overall.unwrap() - weighed).abs() < 1e-12);
        assert!(s.value("noise", "NMI").unwrap() < 0.2 && s.value("apart", "kBET").unwrap() < 0.1);
        // Alone, each embedding has the scores it has in company, but for the one that compares.
        let alone = evaluate(&all[2..], &batch, &types, Some(&apart), &EvaluateOptions::default()).unwrap();
        assert_eq!(alone.rows[0], Row { scarches_overall: None, ..best.clone() });
    }

    /// A row of which every metric is `value`, save those named.
    fn made(value: f64, but: &[(&str, f64)]) -> Row {
        let of = |m: &Metric| Some(but.iter().find(|b| b.0 == m.name).map_or(value, |b| b.1));
        Row {
            embedding: String::new(),
            values: METRICS.iter().map(of).collect(),
            biology: None,
            batch: None,
            overall: None,
            expimap_overall: None,
            scarches_overall: None,
            recall: 1.0,
        }
    }

    #[test]
    fn overall_scores_of_the_papers_by_hand() {
        // kNN purity, BRAS and the entropy are in none of the nine; kBET and the two LISI in none of the ten.
        let outside = [("kNN purity", 0.9), ("BRAS", 0.9), ("Entropy of batch mixing", 0.8)];
        let mut rows = vec![
            made(0.5, &[&outside[..], &[("NMI", 0.95), ("kBET", 0.05)]].concat()),
            made(0.5, &[("PC regression", 0.7), ("kBET", 1.0), ("Graph iLISI", 1.0)]),
            made(0.5, &[("PC regression", 0.6), ("Isolated-label F1", 0.1), ("ARI", 0.9)]),
        ];
        overall_of_the_papers(&mut rows);
        let expimap: Vec<f64> = rows.iter().map(|r| r.expimap_overall.unwrap()).collect();
        let wanted = [(7.0 * 0.5 + 0.95 + 0.05) / 9.0, (6.0 * 0.5 + 0.7 + 2.0) / 9.0, (7.0 * 0.5 + 0.6 + 0.9) / 9.0];
        // Scaled: PC regression 0, 1, 0.5; entropy 1, 0, 0; NMI 1, 0, 0; ARI 0, 0, 1; F1 1, 1, 0; the rest is the same in all.
        let scarches: Vec<f64> = rows.iter().map(|r| r.scarches_overall.unwrap()).collect();
        let scaled = [
            0.4 * (0.0 + 1.0) / 2.0 + 0.6 * (1.0 + 0.0 + 1.0) / 3.0,
            0.4 * (1.0 + 0.0) / 2.0 + 0.6 * (0.0 + 0.0 + 1.0) / 3.0,
            0.4 * (0.5 + 0.0) / 2.0 + 0.6 * (0.0 + 1.0 + 0.0) / 3.0,
        ];
        for (found, wanted) in expimap.iter().chain(&scarches).zip(wanted.iter().chain(&scaled)) {
            assert!((found - wanted).abs() < 1e-12, "{found}, not {wanted}");
        }
        // A published row (the first of the expiMap paper's table of results): the mean of its nine values.
        let names = ["PC regression", "Batch ASW", "kBET", "Graph connectivity", "Graph iLISI", "Graph cLISI", "NMI"];
        let values = [0.830916, 0.849592, 0.692612, 0.950481, 0.080352, 0.984566, 0.749592];
        let but: Vec<(&str, f64)> =
            names.into_iter().zip(values).chain([("ARI", 0.792801), ("Cell-type ASW", 0.476635)]).collect();
        let mut rows = vec![made(0.0, &but)];
        overall_of_the_papers(&mut rows);
        assert!((rows[0].expimap_overall.unwrap() - 0.711950).abs() < 1e-6);
        assert_eq!(rows[0].scarches_overall, None, "one embedding alone");
        rows[0].values[0] = None;
        overall_of_the_papers(&mut rows);
        assert_eq!(rows[0].expimap_overall, None, "one of the nine is missing");
    }

    #[test]
    fn the_algorithm_and_the_neighbours_are_those_asked_for() {
        let (x, batch, types) = cells(240, 1.0, 6);
        let x = Dense::new(240, 4, x.values.iter().map(|v| v / 3.0).collect());
        let options = EvaluateOptions {
            resolutions: vec![1.0],
            algorithm: Algorithm::Louvain,
            neighbours: 20,
            ..EvaluateOptions::default()
        };
        let s = evaluate(&[("x", &x)], &batch, &types, Some(&x), &options).unwrap();
        let near = crate::knn_self(&x, 21, true).unwrap();
        let graph = connectivities(&near.truncated(20)).unwrap();
        let clusters = crate::graph::cluster::louvain(&graph, 1.0, 0).unwrap();
        let nmi = super::super::agreement::nmi(&types.codes, &clusters.codes).unwrap();
        assert!((s.value("x", "NMI").unwrap() - nmi).abs() < 1e-12);
        assert_eq!(s.value("x", "kNN accuracy").unwrap(), knn_accuracy(&near, &types).unwrap());
        assert_eq!(s.value("x", "kNN purity").unwrap(), 1.0);
        let none = EvaluateOptions { neighbours: 1, ..EvaluateOptions::default() };
        assert!(matches!(evaluate(&[("x", &x)], &batch, &types, None, &none), Err(Error::Parameter { .. })));
    }

    #[test]
    fn what_cannot_be_computed_is_left_out_with_its_reason() {
        let (x, _, types) = cells(120, 0.0, 4);
        // Every type in a batch of its own: nothing about mixing within types.
        let batch = coded(&types.codes, 3);
        let s = evaluate(&[("x", &x)], &batch, &types, None, &EvaluateOptions::default()).unwrap();
        let names: Vec<&str> = s.left_out.iter().map(|l| l.0).collect();
        assert_eq!(names, ["kNN purity", "PC regression", "Batch ASW", "BRAS", "kBET"]);
        assert!(s.value("x", "kBET").is_none() && s.rows[0].batch.is_some());
    }

    #[test]
    fn bad_input_is_named() {
        let (mut x, batch, types) = cells(60, 0.0, 5);
        let options = EvaluateOptions::default();
        let one = coded(&[0; 60], 1);
        assert!(matches!(evaluate(&[("x", &x)], &one, &types, None, &options), Err(Error::TooFewLevels { .. })));
        assert!(matches!(evaluate(&[], &batch, &types, None, &options), Err(Error::Empty { .. })));
        let twice = [("x", &x), ("x", &x)];
        assert!(matches!(evaluate(&twice, &batch, &types, None, &options), Err(Error::Inconsistent { .. })));
        x.row_mut(7)[2] = f32::INFINITY;
        let found = evaluate(&[("x", &x)], &batch, &types, None, &options);
        assert!(matches!(found, Err(Error::NotFinite { row: 7, column: 2, .. })));
    }
}
