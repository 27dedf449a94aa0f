//! Graph connectivity: does each cell type hang together?
//!
//! Source: Luecken et al., *Nat Methods* 2022.

use rayon::prelude::*;
use scgraft_cells::Coded;

use super::{Groups, mean};
use crate::error::Result;
use crate::graph::components::strong_components;
use crate::neighbours::Neighbours;

/// Mean over cell types of (cells in the largest connected component) / (cells), in the type's own kNN graph.
///
/// 1: every type is in one piece. The graph is `directed` (an edge to each neighbour of the same type) with its strong
/// components, as in scib-metrics, so that values are equal for equal neighbours; or every edge counts both ways, as in
/// the papers and in scIB, which gives values as high or higher. 15 neighbours, the cell itself counted.
///
/// # Errors
/// Neighbours or labels of another length.
pub fn graph_connectivity(neighbours: &Neighbours, cell_types: &Coded, directed: bool) -> Result<f64> {
    let n = neighbours.n_rows();
    neighbours.check_among(n)?;
    let types = Groups::new("cell type", cell_types, n, 1)?;
    let shares: Vec<f64> = types
        .members()
        .par_iter()
        .enumerate()
        .map(|(t, cells)| {
            let mut local = vec![u32::MAX; n];
            for (at, &i) in cells.iter().enumerate() {
                local[i] = at as u32;
            }
            let mut edges: Vec<Vec<u32>> = vec![Vec::new(); cells.len()];
            for (at, &i) in cells.iter().enumerate() {
                for (j, _) in neighbours.others(i).filter(|&(j, _)| types.codes[j] as usize == t) {
                    edges[at].push(local[j]);
                    if !directed {
                        edges[local[j] as usize].push(at as u32);
                    }
                }
            }
            let mut starts = vec![0usize];
            starts.extend(edges.iter().scan(0, |sum, of| {
                *sum += of.len();
                Some(*sum)
            }));
            let targets = edges.concat();
            let components = strong_components(&starts, &targets);
            let mut sizes = vec![0usize; cells.len()];
            components.iter().for_each(|&c| sizes[c as usize] += 1);
            sizes.iter().copied().max().unwrap_or(0) as f64 / cells.len() as f64
        })
        .collect();
    Ok(mean(shares))
}

#[cfg(test)]
mod tests {
    use scgraft_golden::Golden;

    use super::*;

    #[test]
    fn components_are_those_of_scipy() {
        let golden = Golden::of("analysis", "options");
        let k = golden.shape("graph.neighbours")[1];
        let indices = golden.codes("graph.neighbours");
        let neighbours = Neighbours { k, distances: vec![1.0; indices.len()], indices };
        let codes = golden.codes("graph.types");
        let types = Coded { codes, levels: ["a", "b", "c", "d"].map(str::to_owned).to_vec() };
        for (directed, name) in [(false, "graph.weak"), (true, "graph.strong")] {
            let found = graph_connectivity(&neighbours, &types, directed).unwrap();
            assert!((found - golden.scalar(name)).abs() < 1e-12, "{name}: {found}");
        }
    }

    #[test]
    fn a_type_in_two_pieces_counts_its_larger_one() {
        let neighbours = Neighbours { k: 1, indices: vec![1, 0, 3, 2, 3, 4], distances: vec![1.0; 6] };
        let types = Coded { codes: vec![0, 0, 0, 0, 0, 1], levels: vec!["a".into(), "b".into()] };
        // Type a: {0, 1}, {2, 3}, {4} (4 → 3, not back); type b: one cell.
        assert!((graph_connectivity(&neighbours, &types, true).unwrap() - (2.0 / 5.0 + 1.0) / 2.0).abs() < 1e-15);
        // Both ways {2, 3, 4} hang together.
        assert!((graph_connectivity(&neighbours, &types, false).unwrap() - (3.0 / 5.0 + 1.0) / 2.0).abs() < 1e-15);
    }
}
