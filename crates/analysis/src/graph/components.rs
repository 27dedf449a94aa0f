//! Components of a graph.

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
}
