//! Cells with the nearest of their own batch: what they share, in the map and in their expression.

use rayon::prelude::*;
use scgraft_cells::{Csr, Dense, Steps, log1p};

use crate::error::Result;
use crate::neighbours::{Neighbours, Search};
use crate::pca::pca;

/// What a library is scaled to before principal components, and the share of a pool's counts before its logarithm.
const SCALED: (f32, f32) = (1e3, 1e4);
/// Principal components in which cells of one batch are neighbours, and most cells that they are computed from.
const COMPONENTS: usize = 20;
const LOOKED_AT: usize = 1024;
/// Cells projected at once.
const BLOCK: usize = 1024;

/// A pool a cell.
pub(super) struct Pools {
    /// Means of the embedding, cell × dimension.
    pub x: Dense,
    /// ln(1 + 10,000 · share of the counts), cell × gene; no gene without counts.
    pub genes: Dense,
    /// The cell's pool and the pools of its batch that are nearest to it, as many as it has cells.
    pub near: Vec<Vec<u32>>,
}

impl Pools {
    pub fn zeros(cells: usize, dims: usize, genes: usize) -> Pools {
        Pools { x: Dense::zeros(cells, dims), genes: Dense::zeros(cells, genes), near: vec![Vec::new(); cells] }
    }

    /// The pools of the cells of one batch, `k` cells each, or a tenth of the batch where that is less.
    pub fn fill(&mut self, rows: &[usize], x: &Dense, counts: Option<&Csr>, k: usize, search: &Search) -> Result<()> {
        let own = x.select_rows(rows);
        let counts = counts.map(|c| c.select_rows(rows));
        let k = k.min(rows.len() / 10).max(1);
        let place = match &counts {
            Some(counts) if k > 1 => Some(by_expression(counts)?),
            _ => None,
        };
        let near = nearest(place.as_ref(), &own, k, search)?;
        let library = counts.as_ref().map(Csr::row_sums);
        let pool = |at: usize| -> (Vec<f32>, Vec<f32>) {
            let others = near.as_ref().map_or(&[][..], |near| near.row(at).0);
            let members = || std::iter::once(at).chain(others.iter().map(|&j| j as usize));
            let mut sum = vec![0f64; own.n_cols];
            members().for_each(|j| sum.iter_mut().zip(own.row(j)).for_each(|(s, &v)| *s += f64::from(v)));
            let mean = sum.into_iter().map(|s| (s / (others.len() + 1) as f64) as f32).collect();
            let (Some(counts), Some(library)) = (&counts, &library) else { return (mean, Vec::new()) };
            let mut genes = vec![0f32; counts.n_cols];
            let mut total = 0f32;
            for j in members() {
                let (columns, values) = counts.row(j);
                columns.iter().zip(values).for_each(|(&g, v)| genes[g as usize] += v);
                total += library[j];
            }
            let scale = SCALED.1 / total.max(1.0);
            genes.iter_mut().for_each(|g| *g = (*g * scale).ln_1p());
            (mean, genes)
        };
        let steps = Steps::new("pooling cells", rows.len().div_ceil(BLOCK));
        for start in (0..rows.len()).step_by(BLOCK) {
            let end = (start + BLOCK).min(rows.len());
            let made: Vec<_> = (start..end).into_par_iter().map(pool).collect();
            for (&i, (mean, genes)) in rows[start..end].iter().zip(made) {
                self.x.row_mut(i).copy_from_slice(&mean);
                self.genes.row_mut(i).copy_from_slice(&genes);
            }
            steps.done();
        }
        let place = match place {
            Some(_) => Some(components(rows.len(), self.genes.n_cols, |some| {
                self.genes.select_rows(&some.iter().map(|&at| rows[at]).collect::<Vec<_>>())
            })?),
            None => None,
        };
        let near = nearest(place.as_ref(), &self.x.select_rows(rows), k, search)?;
        for (at, &i) in rows.iter().enumerate() {
            let others = near.as_ref().map_or(&[][..], |near| near.row(at).0);
            self.near[i] =
                std::iter::once(at).chain(others.iter().map(|&j| j as usize)).map(|j| rows[j] as u32).collect();
        }
        Ok(())
    }
}

/// The k − 1 nearest cells of each, in `place` or else in the map; `None` of one alone.
fn nearest(place: Option<&Dense>, map: &Dense, k: usize, search: &Search) -> Result<Option<Neighbours>> {
    // In so few dimensions and cells an exact search costs little, and is the same wherever it is made.
    Ok(match (k, place) {
        (1, _) => None,
        (_, Some(place)) => Some(Search::Exact.among(place, k - 1, false)?.neighbours),
        (_, None) => Some(search.among(map, k - 1, false)?.neighbours),
    })
}

/// Principal components of ln(1 + 1000 · share) of single cells.
fn by_expression(counts: &Csr) -> Result<Dense> {
    let mut x = counts.clone();
    for (row, library) in counts.row_sums().iter().enumerate() {
        let scale = SCALED.0 / library.max(1.0);
        x.values[counts.indptr[row]..counts.indptr[row + 1]].iter_mut().for_each(|v| *v *= scale);
    }
    let x = log1p(&x);
    components(x.n_rows, x.n_cols, |rows| x.select_rows(rows).to_dense())
}

/// Principal components of the cells of one batch, learned from cells that are evenly spaced.
fn components(cells: usize, genes: usize, of: impl Fn(&[usize]) -> Dense) -> Result<Dense> {
    let n = cells.min(LOOKED_AT);
    let looked: Vec<usize> = (0..n).map(|i| i * cells / n).collect();
    let found = pca(&of(&looked), COMPONENTS.min(n - 1).min(genes))?;
    let parts: Vec<Dense> = (0..cells)
        .step_by(BLOCK)
        .map(|start| found.project(&of(&(start..(start + BLOCK).min(cells)).collect::<Vec<_>>())))
        .collect::<Result<_>>()?;
    Ok(Dense::new(cells, found.scores.n_cols, parts.into_iter().flat_map(|p| p.values).collect()))
}
