//! Nearest neighbours: the object that label transfer, clustering, UMAP and the metrics share.

mod across;
mod approximate;
mod exact;
mod layout;
mod lists;
mod scan;
mod search;
#[cfg(test)]
mod tests;

pub use across::knn_across;
pub use approximate::{Approximate, ApproximateOptions, knn_approximate, knn_self_approximate, recall};
pub use exact::{knn, knn_self};
pub(crate) use scan::squared_distance;
pub use search::{Found, Search};

use scgraft_cells::Csr;

use crate::error::{Error, Result};

/// The `k` nearest neighbours of each row, nearest first.
///
/// Row `i` stands at `i * k..(i + 1) * k` of both arrays. Neighbours at the same distance are in
/// the order of their index, so the same data always gives the same neighbours.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Neighbours {
    /// Neighbours of each row.
    pub k: usize,
    /// Rows of the reference, `n × k`.
    pub indices: Vec<u32>,
    /// Euclidean distances, `n × k`, ascending within a row.
    pub distances: Vec<f32>,
}

/// Where the neighbours of one row and their distances stand.
type Place<'a> = (&'a mut [u32], &'a mut [f32]);

impl Neighbours {
    /// Number of rows that have neighbours here.
    pub fn n_rows(&self) -> usize {
        self.indices.len().checked_div(self.k).unwrap_or(0)
    }

    /// The neighbours of row `i` and their distances, nearest first.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let span = i * self.k..(i + 1) * self.k;
        (&self.indices[span.clone()], &self.distances[span])
    }

    /// The neighbours of cell `i` that are not the cell itself, with their distances, nearest first.
    pub(crate) fn others(&self, i: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let (indices, distances) = self.row(i);
        indices.iter().zip(distances).map(|(&j, &d)| (j as usize, d)).filter(move |&(j, _)| j != i)
    }

    /// Their distances as a matrix, row × row of the reference, without those of cells to themselves.
    pub fn to_csr(&self) -> Csr {
        let n = self.n_rows();
        let mut out = Csr { n_rows: n, n_cols: n, indptr: vec![0], indices: Vec::new(), values: Vec::new() };
        for i in 0..n {
            let mut row: Vec<(usize, f32)> = self.others(i).collect();
            row.sort_unstable_by_key(|e| e.0);
            out.indices.extend(row.iter().map(|e| e.0 as u32));
            out.values.extend(row.iter().map(|e| e.1));
            out.indptr.push(out.indices.len());
        }
        out
    }

    /// Refuses neighbours that are not those of `n` cells among themselves.
    pub(crate) fn check_among(&self, n: usize) -> Result<()> {
        if self.n_rows() != n || self.k == 0 {
            return Err(Error::Length { what: "neighbours".to_owned(), expected: n, found: self.n_rows() });
        }
        if let Some(at) = self.indices.iter().position(|&j| j as usize >= n) {
            return Err(Error::Inconsistent {
                what: format!("neighbours of cell {}", at / self.k),
                problem: format!(
                    "index {} but there are {n} cells; use the neighbours of the cells among themselves",
                    self.indices[at]
                ),
            });
        }
        if self.k == 1 && (0..n).all(|i| self.indices[i] as usize == i) {
            return Err(Error::Parameter {
                name: "k",
                value: "1".to_owned(),
                expected: "at least one neighbour besides the cell itself",
            });
        }
        Ok(())
    }

    /// Room for `k` neighbours of `n` rows.
    fn room(n: usize, k: usize) -> Neighbours {
        Neighbours { k, indices: vec![0; n * k], distances: vec![0.0; n * k] }
    }

    /// Where the neighbours of each of these rows, all different, are to be written.
    fn places(&mut self, rows: impl Iterator<Item = usize>) -> Vec<Place<'_>> {
        let all = self.indices.chunks_exact_mut(self.k).zip(self.distances.chunks_exact_mut(self.k));
        let mut all: Vec<Place> = all.collect();
        rows.map(|row| std::mem::take(&mut all[row])).collect()
    }

    /// The same rows with only their first `k` neighbours (all, where there are no more).
    pub fn truncated(&self, k: usize) -> Neighbours {
        let k = k.min(self.k);
        let n = self.n_rows();
        Neighbours {
            k,
            indices: (0..n).flat_map(|i| self.row(i).0[..k].iter().copied()).collect(),
            distances: (0..n).flat_map(|i| self.row(i).1[..k].iter().copied()).collect(),
        }
    }
}
