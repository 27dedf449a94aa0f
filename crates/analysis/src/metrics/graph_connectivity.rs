//! Graph connectivity: does each cell type hang together?
//!
//! Source: Luecken et al., *Nat Methods* 2022.

use rayon::prelude::*;
use scgraft_cells::Coded;

use super::{Groups, check_neighbours, mean, others};
use crate::Neighbours;
use crate::error::Result;

/// Mean over cell types of (cells in the largest strongly connected component) / (cells), in the type's own kNN graph.
///
/// 1: every type is in one piece. The graph is directed (an edge to each neighbour of the same
/// type) and its components are the strong ones, as in scib-metrics, so values are equal for equal
/// neighbours. 15 neighbours, the cell itself counted.
///
/// # Errors
/// Neighbours or labels of another length.
pub fn graph_connectivity(neighbours: &Neighbours, cell_types: &Coded) -> Result<f64> {
    let n = neighbours.n_rows();
    check_neighbours(neighbours, n)?;
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
            let mut starts = vec![0usize];
            let mut targets = Vec::new();
            for &i in cells {
                let same = others(neighbours, i).filter(|&(j, _)| types.codes[j] as usize == t);
                targets.extend(same.map(|(j, _)| local[j]));
                starts.push(targets.len());
            }
            let components = strong_components(&starts, &targets);
            let mut sizes = vec![0usize; cells.len()];
            components.iter().for_each(|&c| sizes[c as usize] += 1);
            sizes.iter().copied().max().unwrap_or(0) as f64 / cells.len() as f64
        })
        .collect();
    Ok(mean(shares))
}

/// The strongly connected component of each node (Tarjan 1972, without recursion).
///
/// Node `v` has edges to `targets[starts[v]..starts[v + 1]]`.
pub(crate) fn strong_components(starts: &[usize], targets: &[u32]) -> Vec<u32> {
    const NONE: u32 = u32::MAX;
    let n = starts.len() - 1;
    let mut component = vec![NONE; n];
    let (mut order, mut low) = (vec![NONE; n], vec![0u32; n]);
    let (mut open, mut path): (Vec<u32>, Vec<(u32, usize)>) = (Vec::new(), Vec::new());
    let (mut visited, mut found) = (0u32, 0u32);
    for root in 0..n {
        if order[root] != NONE {
            continue;
        }
        path.push((root as u32, starts[root]));
        while let Some(&mut (v, ref mut edge)) = path.last_mut() {
            let node = v as usize;
            if *edge == starts[node] && order[node] == NONE {
                order[node] = visited;
                low[node] = visited;
                visited += 1;
                open.push(v);
            }
            if *edge < starts[node + 1] {
                let w = targets[*edge] as usize;
                *edge += 1;
                if order[w] == NONE {
                    path.push((w as u32, starts[w]));
                } else if component[w] == NONE {
                    low[node] = low[node].min(order[w]);
                }
                continue;
            }
            path.pop();
            if let Some(&(parent, _)) = path.last() {
                low[parent as usize] = low[parent as usize].min(low[node]);
            }
            if low[node] == order[node] {
                while let Some(w) = open.pop() {
                    component[w as usize] = found;
                    if w == v {
                        break;
                    }
                }
                found += 1;
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_components_by_hand() {
        // 0 → 1 → 2 → 0, 2 → 3, 3 ⇄ 4, 5 alone.
        let (starts, targets) = ([0, 1, 2, 4, 5, 6, 6], [1, 2, 0, 3, 4, 3]);
        let c = strong_components(&starts, &targets);
        assert!(c[0] == c[1] && c[1] == c[2] && c[3] == c[4]);
        assert!(c[0] != c[3] && c[5] != c[0] && c[5] != c[3]);
    }

    #[test]
    fn a_type_in_two_pieces_counts_its_larger_one() {
        let neighbours = Neighbours { k: 1, indices: vec![1, 0, 3, 2, 3, 4], distances: vec![1.0; 6] };
        let types = Coded { codes: vec![0, 0, 0, 0, 0, 1], levels: vec!["a".into(), "b".into()] };
        // Type a: {0, 1}, {2, 3}, {4} (4 → 3, not back); type b: one cell.
        assert!((graph_connectivity(&neighbours, &types).unwrap() - (2.0 / 5.0 + 1.0) / 2.0).abs() < 1e-15);
    }
}
