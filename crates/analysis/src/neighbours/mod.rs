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
