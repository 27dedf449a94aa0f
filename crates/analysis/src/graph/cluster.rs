//! Clusters of the neighbour graph: Leiden and Louvain, at one resolution or several.
//!
//! Both look for the partition with the largest modularity
//! Q = Σ_c [e_c / m − γ (K_c / 2m)²] (e_c: weight inside c, K_c: degree of c, m: all weight, γ: resolution).
//! Sources: Blondel et al. 2008 (Louvain); Traag, Waltman & van Eck, *Sci Rep* 2019 (Leiden, which
//! also keeps every cluster connected). The graph is that of
//! [`connectivities`](super::connectivities), as in scanpy.

use rayon::prelude::*;
use scgraft_cells::{Csr, Steps};

use super::leiden::{Network, Search};
use crate::error::{Error, Result};

/// The resolutions that metrics look through: 0.2, 0.4, … 2.0, as scib-metrics does.
pub const RESOLUTIONS: [f64; 10] = [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0];

/// Passes over the graph; each starts from the clusters of the one before.
const PASSES: usize = 2;

/// A partition of the cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// Cluster of each cell; numbered by size, the largest 0 (of equal size, the one with the first cell).
    pub codes: Vec<u32>,
    /// Number of clusters.
    pub n_clusters: usize,
    /// Modularity at this resolution.
    pub modularity: f64,
    /// Resolution γ.
    pub resolution: f64,
}

/// Which of the two algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// Leiden: every cluster is connected.
    #[default]
    Leiden,
    /// Louvain.
    Louvain,
}

/// Leiden clusters of a symmetric, weighted graph.
///
/// The same graph, resolution and seed give the same clusters, on any number of threads.
///
/// ```
/// use scgraft_analysis::{graph::{cluster::leiden, connectivities}, knn_self};
/// use scgraft_cells::Dense;
///
/// // Two groups of cells on a line.
/// let x = Dense::new(8, 1, vec![0.0, 0.1, 0.25, 0.3, 9.0, 9.2, 9.3, 9.45]);
/// let graph = connectivities(&knn_self(&x, 3, true)?)?;
/// assert_eq!(leiden(&graph, 0.5, 0)?.codes, [0, 0, 0, 0, 1, 1, 1, 1]);
/// # Ok::<(), scgraft_analysis::Error>(())
/// ```
///
/// # Errors
/// A matrix that is not square, an empty one, weights that are negative or not finite, a negative resolution.
pub fn leiden(graph: &Csr, resolution: f64, seed: u64) -> Result<Clustering> {
    Nodes::of(graph)?.run(graph, Algorithm::Leiden, resolution, seed)
}

/// Louvain clusters of a symmetric, weighted graph.
///
/// # Errors
/// As [`leiden`].
pub fn louvain(graph: &Csr, resolution: f64, seed: u64) -> Result<Clustering> {
    Nodes::of(graph)?.run(graph, Algorithm::Louvain, resolution, seed)
}

/// Clusters at each of several resolutions by either algorithm, computed in parallel; in the order given.
///
/// # Errors
/// As [`leiden`].
pub fn sweep(graph: &Csr, algorithm: Algorithm, resolutions: &[f64], seed: u64) -> Result<Vec<Clustering>> {
    let nodes = Nodes::of(graph)?;
    let steps = Steps::new("clustering cells", resolutions.len());
    let run = |&resolution: &f64| {
        let found = nodes.run(graph, algorithm, resolution, seed);
        steps.done();
        found
    };
    resolutions.par_iter().map(run).collect()
}

/// Modularity of a partition of a symmetric, weighted graph at resolution γ.
///
/// # Errors
/// As [`leiden`]; a partition of another length.
pub fn modularity(graph: &Csr, codes: &[u32], resolution: f64) -> Result<f64> {
    check(graph)?;
    if codes.len() != graph.n_rows {
        return Err(Error::Length { what: "clusters".to_owned(), expected: graph.n_rows, found: codes.len() });
    }
    let n = codes.iter().max().map_or(0, |&m| m as usize + 1);
    let (mut inside, mut degree) = (vec![0f64; n], vec![0f64; n]);
    for (i, &c) in codes.iter().enumerate() {
        let (at, weights) = graph.row(i);
        for (&j, &w) in at.iter().zip(weights) {
            degree[c as usize] += f64::from(w);
            if codes[j as usize] == c {
                inside[c as usize] += f64::from(w);
            }
        }
    }
    let all: f64 = degree.iter().sum();
    if all <= 0.0 {
        return Ok(0.0);
    }
    Ok(inside.iter().zip(&degree).map(|(e, k)| e / all - resolution * (k / all).powi(2)).sum())
}

fn check(graph: &Csr) -> Result<()> {
    if graph.n_rows == 0 || graph.n_rows != graph.n_cols {
        return Err(Error::Inconsistent {
            what: "neighbour graph".to_owned(),
            problem: format!("{} × {}; expected cells × cells, at least one", graph.n_rows, graph.n_cols),
        });
    }
    Ok(())
}

/// The graph with nodes numbered breadth first, so that what a node's move looks at lies close in memory.
struct Nodes {
    network: Network,
    /// The number of each cell.
    number: Vec<u32>,
}

impl Nodes {
    fn of(graph: &Csr) -> Result<Nodes> {
        check(graph)?;
        if let Some(w) = graph.values.iter().find(|w| !w.is_finite() || **w < 0.0) {
            return Err(Error::Inconsistent {
                what: "neighbour graph".to_owned(),
                problem: format!("a weight is {w}; expected finite weights of at least 0"),
            });
        }
        let number = breadth_first(graph);
        let mut cells = vec![0u32; graph.n_rows];
        number.iter().enumerate().for_each(|(cell, &at)| cells[at as usize] = cell as u32);
        Ok(Nodes { network: Network::of(graph, &cells, &number), number })
    }

    fn run(&self, graph: &Csr, algorithm: Algorithm, resolution: f64, seed: u64) -> Result<Clustering> {
        check_resolution(resolution)?;
        let search = Search { network: &self.network, resolution, refine: algorithm == Algorithm::Leiden, seed };
        let found = search.run(PASSES);
        let own: Vec<u32> = self.number.iter().map(|&at| found[at as usize]).collect();
        let (codes, n_clusters) = by_size(&own);
        Ok(Clustering { modularity: modularity(graph, &codes, resolution)?, codes, n_clusters, resolution })
    }
}

/// Checks that it is a resolution.
///
/// # Errors
/// A number below 0, or none.
pub fn check_resolution(resolution: f64) -> Result<()> {
    if resolution.is_finite() && resolution >= 0.0 {
        return Ok(());
    }
    let (value, expected) = (resolution.to_string(), "a finite number of at least 0");
    Err(Error::Parameter { name: "resolution", value, expected })
}

/// The place of each node in a breadth-first walk from the first one; nodes out of its reach follow in walks of their own.
fn breadth_first(graph: &Csr) -> Vec<u32> {
    let mut number = vec![u32::MAX; graph.n_rows];
    let mut walked: Vec<u32> = Vec::with_capacity(graph.n_rows);
    for start in 0..graph.n_rows {
        if number[start] != u32::MAX {
            continue;
        }
        let mut next = walked.len();
        number[start] = next as u32;
        walked.push(start as u32);
        while let Some(&node) = walked.get(next) {
            next += 1;
            for &other in graph.row(node as usize).0 {
                if number[other as usize] == u32::MAX {
                    number[other as usize] = walked.len() as u32;
                    walked.push(other);
                }
            }
        }
    }
    number
}

/// Renumbers clusters by size.
fn by_size(codes: &[u32]) -> (Vec<u32>, usize) {
    let n = codes.iter().max().map_or(0, |&m| m as usize + 1);
    let mut first = vec![usize::MAX; n];
    let mut size = vec![0usize; n];
    for (i, &c) in codes.iter().enumerate() {
        first[c as usize] = first[c as usize].min(i);
        size[c as usize] += 1;
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by_key(|&c| (std::cmp::Reverse(size[c]), first[c]));
    let mut renamed = vec![0u32; n];
    for (new, &old) in order.iter().enumerate() {
        renamed[old] = new as u32;
    }
    (codes.iter().map(|&c| renamed[c as usize]).collect(), n)
}

#[cfg(test)]
mod tests {
    use scgraft_golden::Golden;

    use super::*;
    use crate::graph::connectivities;
    use crate::knn_self;
    use crate::testing::normal_matrix;
    use scgraft_cells::Dense;

    /// `groups` complete graphs of `size` nodes in a ring, joined by one edge each.
    fn cliques(groups: usize, size: usize) -> Csr {
        let n = groups * size;
        let mut dense = scgraft_cells::Dense::zeros(n, n);
        for i in 0..n {
            for j in 0..n {
                if i != j && i / size == j / size {
                    dense.row_mut(i)[j] = 1.0;
                }
            }
        }
        for g in 0..groups {
            let (a, b) = (g * size, (g * size + size + 1) % n);
            dense.row_mut(a)[b] = 1.0;
            dense.row_mut(b)[a] = 1.0;
        }
        dense.to_csr()
    }

    #[test]
    fn cliques_are_found_by_both() {
        let graph = cliques(6, 8);
        let truth: Vec<u32> = (0..48).map(|i| i / 8).collect();
        for c in [leiden(&graph, 1.0, 1).unwrap(), louvain(&graph, 1.0, 1).unwrap()] {
            assert_eq!(c.codes, truth);
            assert_eq!(c.n_clusters, 6);
            // 6 (28 inside of 174 edges) and degree 58 of 348 each.
            let expected = 6.0 * (56.0 / 348.0 - (58.0f64 / 348.0).powi(2));
            assert!((c.modularity - expected).abs() < 1e-12);
        }
    }

    /// Zachary's karate club: the modularity of networkx's clusters is what it says, and Louvain finds clusters between the
    /// worst and the best of 50 runs of networkx, or better ones.
    #[test]
    fn the_karate_club_as_networkx_has_it() {
        let golden = Golden::of("analysis", "options");
        let mut dense = Dense::zeros(34, 34);
        for edge in golden.codes("karate.edges").chunks_exact(2) {
            let (a, b) = (edge[0] as usize, edge[1] as usize);
            dense.row_mut(a)[b] = 1.0;
            dense.row_mut(b)[a] = 1.0;
        }
        let graph = dense.to_csr();
        for (tag, resolution) in [("one", 1.0), ("half", 0.5)] {
            let of = |name: &str| format!("karate.{tag}.{name}");
            let best = golden.scalar(&of("modularity"));
            let theirs = modularity(&graph, &golden.codes(&of("codes")), resolution).unwrap();
            assert!((theirs - best).abs() < 1e-12, "{theirs}, {best}");
            for seed in 0..10 {
                let ours = louvain(&graph, resolution, seed).unwrap();
                assert_eq!(ours.modularity, modularity(&graph, &ours.codes, resolution).unwrap());
                let least = golden.scalar(&of("worst"));
                assert!(ours.modularity >= least - 1e-12, "seed {seed}: {}, {least} to {best}", ours.modularity);
            }
        }
    }

    #[test]
    fn resolution_orders_the_number_of_clusters() {
        let graph = cliques(12, 5);
        let sweep = sweep(&graph, Algorithm::Leiden, &[0.05, 1.0, 30.0], 4).unwrap();
        assert!(sweep[0].n_clusters < sweep[1].n_clusters && sweep[1].n_clusters < sweep[2].n_clusters);
        assert_eq!(sweep[1], leiden(&graph, 1.0, 4).unwrap());
    }

    #[test]
    fn every_cluster_hangs_together_and_no_node_gains_by_moving() {
        let graph = connectivities(&knn_self(&normal_matrix(400, 3, 5), 8, true).unwrap()).unwrap();
        for resolution in [0.3, 1.0, 4.0] {
            let found = leiden(&graph, resolution, 2).unwrap();
            for cluster in 0..found.n_clusters as u32 {
                let start = found.codes.iter().position(|&c| c == cluster).unwrap();
                let (mut reached, mut next) = (vec![start], 0);
                while let Some(&node) = reached.get(next) {
                    next += 1;
                    for &other in graph.row(node).0 {
                        if found.codes[other as usize] == cluster && !reached.contains(&(other as usize)) {
                            reached.push(other as usize);
                        }
                    }
                }
                assert_eq!(reached.len(), found.codes.iter().filter(|&&c| c == cluster).count());
            }
            for node in (0..400).step_by(7) {
                for to in 0..=found.n_clusters as u32 {
                    let mut moved = found.codes.clone();
                    moved[node] = to;
                    assert!(modularity(&graph, &moved, resolution).unwrap() <= found.modularity + 1e-9);
                }
            }
        }
    }

    #[test]
    fn nodes_without_edges_stay_alone() {
        let mut graph = cliques(2, 4);
        graph.values.fill(0.0);
        assert_eq!(leiden(&graph, 1.0, 0).unwrap().n_clusters, 8);
        assert_eq!(louvain(&Csr::zeros(3, 3), 1.0, 0).unwrap().codes, [0, 1, 2]);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(leiden(&Csr::zeros(3, 2), 1.0, 0), Err(Error::Inconsistent { .. })));
        assert!(matches!(leiden(&cliques(2, 3), -1.0, 0), Err(Error::Parameter { .. })));
        let mut graph = cliques(2, 3);
        graph.values[0] = f32::NAN;
        assert!(matches!(leiden(&graph, 1.0, 0), Err(Error::Inconsistent { .. })));
    }
}
