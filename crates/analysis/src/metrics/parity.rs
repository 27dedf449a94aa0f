//! Every metric against scib-metrics and scikit-learn, on a simulated embedding (`tools/golden/metrics.py`).

use scgraft_cells::{Coded, Dense};
use scgraft_golden::Golden;

use super::agreement::{ari, best_agreement, nmi};
use super::batch_entropy::batch_entropy;
use super::graph_connectivity::graph_connectivity;
use super::isolated::{isolated_label_f1, isolated_label_silhouette};
use super::kbet::{kbet, kbet_per_label};
use super::knn_accuracy::knn_accuracy;
use super::knn_purity::{knn_purity, purity_within_batches};
use super::lisi::{clisi, ilisi, lisi};
use super::mapping::{label_distance, unseen_cell_distance, unseen_label_distance};
use super::pc_regression::{pc_regression, pc_regression_comparison};
use super::silhouette::{Between, Distance, batch_asw, bras, cell_type_asw, silhouette_samples};
use crate::graph::cluster::{Algorithm, RESOLUTIONS, leiden, modularity, sweep};
use crate::graph::connectivities;
use crate::neighbours::Search;
use crate::testing::{coded, golden_matrix};
use crate::{knn_self, pca};

struct Case {
    golden: Golden,
    before: Dense,
    after: Dense,
    types: Coded,
    batch: Coded,
}

fn case() -> Case {
    let golden = Golden::of("analysis", "metrics");
    let matrix = |name| golden_matrix(&golden, name);
    let (before, after) = (matrix("before"), matrix("after"));
    let (types, batch) = (coded(&golden.codes("types"), 5), coded(&golden.codes("batch"), 3));
    Case { golden, before, after, types, batch }
}

impl Case {
    fn number(&self, name: &str) -> f64 {
        self.golden.values(name)[0]
    }

    #[track_caller]
    fn near(&self, name: &str, value: f64, tolerance: f64) {
        let expected = self.number(name);
        assert!((value - expected).abs() <= tolerance, "{name}: {value}, expected {expected}");
    }
}

#[test]
fn silhouettes() {
    let c = case();
    let s = silhouette_samples(&c.after, &c.types, Distance::Euclidean, Between::Nearest).unwrap();
    for (a, b) in s.iter().zip(c.golden.values("silhouette.types")) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
    c.near("cell_type_asw", cell_type_asw(&c.after, &c.types).unwrap(), 1e-6);
    c.near("cell_type_asw.scib", cell_type_asw(&c.after, &c.types).unwrap(), 1e-4);
    c.near("batch_asw", batch_asw(&c.after, &c.types, &c.batch).unwrap(), 1e-6);
    c.near("batch_asw.scib", batch_asw(&c.after, &c.types, &c.batch).unwrap(), 1e-4);
    c.near("bras.scib", bras(&c.after, &c.types, &c.batch).unwrap(), 1e-4);
    c.near("isolated.scib", isolated_label_silhouette(&c.after, &c.types, &c.batch).unwrap(), 1e-4);
}

#[test]
fn neighbourhoods() {
    let c = case();
    for include_self in [true, false] {
        // 90 of scib-metrics are the cell itself and 89 others.
        let near = knn_self(&c.after, if include_self { 90 } else { 89 }, include_self).unwrap();
        let first = |k: usize| near.truncated(if include_self { k } else { k - 1 });
        c.near("ilisi.scib", ilisi(&near, &c.batch).unwrap(), 1e-4);
        c.near("clisi.scib", clisi(&near, &c.types).unwrap(), 1e-4);
        let per_cell = &lisi(&near, &[&c.batch]).unwrap()[0];
        for (a, b) in per_cell.iter().zip(c.golden.values("lisi.batch.scib")) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
        c.near("connectivity.scib", graph_connectivity(&first(15), &c.types, true).unwrap(), 1e-12);
        c.near("connectivity.k4.scib", graph_connectivity(&first(4), &c.types, true).unwrap(), 1e-12);
        let k = kbet(&first(50), &c.batch).unwrap();
        c.near("kbet.scib", k.acceptance_rate, 1e-12);
        for (a, b) in k.statistics.iter().zip(c.golden.values("kbet.statistics.scib")) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b), "{a} {b}");
        }
        for (a, b) in k.p_values.iter().zip(c.golden.values("kbet.p_values.scib")) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        c.near("kbet_per_label.scib", kbet_per_label(&first(50), &c.batch, &c.types).unwrap(), 1e-4);
        c.near("knn_accuracy", knn_accuracy(&first(16), &c.types).unwrap(), 1e-12);
        c.near("batch_entropy", batch_entropy(&first(16), &c.batch).unwrap(), 1e-12);
        let earlier = knn_self(&c.before, 16, true).unwrap();
        c.near("knn_purity", knn_purity(&first(16), &earlier).unwrap(), 1e-12);
    }
}

#[test]
fn purity_within_batches_equals_scikit_learn() {
    let c = case();
    // For each batch, the Jaccard overlap of sklearn.neighbors.NearestNeighbors(n_neighbors=k).fit(x[batch]).kneighbors()
    // on the first three columns of `before` and on `after`, as sets; mean over cells, then over the batches.
    let n = c.types.codes.len();
    let first = Dense::new(n, 3, (0..n).flat_map(|i| c.before.row(i)[..3].to_vec()).collect());
    for (k, expected) in [(15, 0.327_639_263_470_981_1), (5, 0.207_645_843_725_844_83)] {
        let (found, recall) = purity_within_batches(&first, &c.after, &c.batch, k, &Search::Exact).unwrap();
        assert!((found - expected).abs() < 1e-12 && recall == 1.0, "{k}: {found}, expected {expected}");
    }
    // Batches moved as wholes: nothing is lost within them.
    assert_eq!(purity_within_batches(&c.before, &c.after, &c.batch, 15, &Search::Exact).unwrap().0, 1.0);
}

#[test]
fn regression_and_components() {
    let c = case();
    c.near("pcr.scib", pc_regression_comparison(&c.before, &c.after, &c.batch).unwrap(), 1e-4);
    c.near("pcr.before.scib", pc_regression(&c.before, &c.batch, None).unwrap(), 1e-5);
    c.near("pcr.before.first_3.scib", pc_regression(&c.before, &c.batch, Some(3)).unwrap(), 1e-4);
    let p = pca::pca(&c.before, 5).unwrap();
    let close = |a: &[f64], name: &str, tolerance: f64| {
        for (a, b) in a.iter().zip(c.golden.values(name)) {
            assert!((a - b).abs() < tolerance, "{name}: {a} {b}");
        }
    };
    let reals = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    close(&p.variance, "pca.variance", 1e-8);
    close(&p.variance_ratio, "pca.ratio", 1e-9);
    close(&reals(&p.components.values), "pca.components", 1e-6);
    close(&reals(&p.scores.values[..50 * 5]), "pca.scores", 1e-5);
}

#[test]
fn groupings_and_the_graph() {
    let c = case();
    let clusters = c.golden.codes("clusters");
    c.near("nmi", nmi(&c.types.codes, &clusters).unwrap(), 1e-12);
    c.near("ari", ari(&c.types.codes, &clusters).unwrap(), 1e-12);
    let graph = connectivities(&knn_self(&c.after, 15, true).unwrap()).unwrap();
    let indptr: Vec<u32> = graph.indptr.iter().map(|&i| i as u32).collect();
    assert_eq!(indptr, c.golden.codes("graph.indptr"));
    assert_eq!(graph.indices, c.golden.codes("graph.indices"));
    for (&a, b) in graph.values.iter().zip(c.golden.values("graph.values")) {
        assert!((f64::from(a) - b).abs() < 1e-5, "{a} {b}");
    }
    for resolution in [0.5, 1.0, 2.0] {
        let theirs = modularity(&graph, &c.golden.codes(&format!("leiden.{resolution:.1}")), resolution).unwrap();
        let ours = leiden(&graph, resolution, 1).unwrap();
        assert!(ours.modularity >= 0.99 * theirs, "{resolution}: {} against {theirs}", ours.modularity);
    }
    // Other clusterings, so only near: the types are found by both.
    let found = sweep(&graph, Algorithm::Leiden, &RESOLUTIONS, 42).unwrap();
    let best = best_agreement(&found, &c.types).unwrap();
    c.near("sweep.nmi.scib", best.nmi, 0.02);
    c.near("sweep.ari.scib", best.ari, 0.02);
    assert!(isolated_label_f1(&found, &c.types, &c.batch).unwrap() > 0.95);
}

#[test]
fn mapping_distances() {
    let c = case();
    let first_three = |rows: &[usize]| {
        let x = c.after.select_rows(rows);
        Dense::new(rows.len(), 3, x.values.chunks_exact(8).flat_map(|r| r[..3].to_vec()).collect())
    };
    let n = c.types.codes.len();
    let query: Vec<usize> = (0..n).filter(|&i| c.batch.codes[i] == 0).collect();
    let reference: Vec<usize> = (0..n).filter(|&i| c.batch.codes[i] != 0 && c.types.codes[i] < 3).collect();
    let (r, rl, q, ql) =
        (first_three(&reference), c.types.select(&reference), first_three(&query), c.types.select(&query));
    c.near("mapping.label", label_distance(&r, &rl, &q, &ql).unwrap(), 1e-9);
    c.near("mapping.unseen_label", unseen_label_distance(&r, &rl, &q, &ql).unwrap(), 1e-9);
    c.near("mapping.unseen_cell", unseen_cell_distance(&r, &rl, &q, &ql).unwrap(), 1e-12);
}
