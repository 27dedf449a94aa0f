//! Parts of a graph's matrix, and its products with dense ones.

use rayon::prelude::*;
use scgraft_cells::Csr;

/// Rows in a task.
const ROWS: usize = 512;

/// Rows and columns of some cells.
pub(crate) fn restrict(graph: &Csr, cells: &[usize]) -> Csr {
    let mut columns = vec![u32::MAX; graph.n_cols];
    cells.iter().enumerate().for_each(|(at, &i)| columns[i] = at as u32);
    let mut out = Csr::zeros(cells.len(), cells.len());
    for (at, &i) in cells.iter().enumerate() {
        let (js, ws) = graph.row(i);
        for (&j, &w) in js.iter().zip(ws) {
            // `cells` ascend, so columns stay sorted.
            if columns[j as usize] != u32::MAX {
                out.indices.push(columns[j as usize]);
                out.values.push(w);
            }
        }
        out.indptr[at + 1] = out.indices.len();
    }
    out
}

/// Sparse times dense: `values` on the pattern of `graph`, times `v` (n × p), into `out`.
pub(crate) fn multiply(graph: &Csr, values: &[f64], v: &[f64], p: usize, out: &mut [f64]) {
    match p {
        4 => multiply_by::<4>(graph, values, v, out),
        8 => multiply_by::<8>(graph, values, v, out),
        _ => out.par_chunks_mut(ROWS * p).enumerate().for_each(|(block, out)| {
            for (at, out) in out.chunks_exact_mut(p).enumerate() {
                let i = block * ROWS + at;
                out.fill(0.0);
                let row = graph.indptr[i]..graph.indptr[i + 1];
                for (&j, &w) in graph.indices[row.clone()].iter().zip(&values[row]) {
                    let j = j as usize;
                    out.iter_mut().zip(&v[j * p..(j + 1) * p]).for_each(|(o, x)| *o += w * x);
                }
            }
        }),
    }
}

/// [`multiply`] for a width the compiler knows: sums stay in registers.
fn multiply_by<const P: usize>(graph: &Csr, values: &[f64], v: &[f64], out: &mut [f64]) {
    let (v, _) = v.as_chunks::<P>();
    let (out, _) = out.as_chunks_mut::<P>();
    out.par_chunks_mut(ROWS).enumerate().for_each(|(block, out)| {
        for (at, out) in out.iter_mut().enumerate() {
            let span = graph.indptr[block * ROWS + at]..graph.indptr[block * ROWS + at + 1];
            let mut sum = [0f64; P];
            for (&j, &w) in graph.indices[span.clone()].iter().zip(&values[span]) {
                let x = &v[j as usize];
                for c in 0..P {
                    sum[c] += w * x[c];
                }
            }
            *out = sum;
        }
    });
}
