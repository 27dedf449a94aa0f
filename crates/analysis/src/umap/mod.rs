//! UMAP: a picture of an embedding, and of a query in the reference's picture.
//!
//! Cells are laid out so that the fuzzy graph of the picture resembles the one of the embedding:
//! edges pull with the gradient of ln φ, random pairs push with that of ln(1 − φ), where
//! φ = 1 / (1 + a d^{2b}). Source: McInnes, Healy & Melville 2018; settings and their defaults
//! are umap-learn's, `min_dist` is scanpy's.
//!
//! Seeded, and the same bits on any number of threads: cells are moved in eight interleaved
//! groups, in parallel within a group, each seeing the others where they were when its group's
//! turn began (umap-learn gives up either parallelism or reproducibility).

mod curve;
mod layout;
mod trust;

use scgraft_cells::{Csr, Dense};

pub use curve::curve;
pub use trust::trustworthiness;

use crate::Neighbours;
use crate::error::{Error, Result, check_k, check_matrix};
use crate::graph::components::strong_components;
use crate::graph::fuzzy::{connectivities, memberships};
use crate::graph::product::multiply;
use crate::pca::pca;
use scgraft_numeric::eigen::{Search, largest};
use scgraft_numeric::random::Random;

/// Epochs for up to this many cells, and for more.
const SMALL_DATA: usize = 10_000;
const EPOCHS: (usize, usize) = (500, 200);
const QUERY_EPOCHS: (usize, usize) = (100, 30);
/// Extent of the picture before it is optimised.
const EXTENT: f64 = 10.0;
const JITTER: f64 = 1e-4;
/// Dimensions of a picture.
const C: usize = 2;

/// Settings of [`umap`].
#[derive(Clone, Debug, PartialEq)]
pub struct UmapOptions {
    /// How tightly cells may be packed.
    pub min_dist: f64,
    /// The scale of the picture.
    pub spread: f64,
    /// Rounds over the edges; `None`: 500 for up to 10,000 cells, 200 for more.
    pub n_epochs: Option<usize>,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for UmapOptions {
    fn default() -> Self {
        UmapOptions { min_dist: 0.5, spread: 1.0, n_epochs: None, seed: 0 }
    }
}

/// A finished picture, in which other cells can be placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Umap {
    /// Cells × 2.
    pub embedding: Dense,
    /// The settings it was made with.
    pub options: UmapOptions,
    /// a and b of the curve 1 / (1 + a d^{2b}).
    pub curve: (f64, f64),
}

/// Lays out cells in the plane.
///
/// `data` is the embedding, cells × dimensions; `neighbours` those of its cells among themselves
/// (15, the cell itself counted, is usual).
///
/// ```
/// use scgraft_analysis::umap::{UmapOptions, umap};
/// use scgraft_analysis::{knn, knn_self};
/// use scgraft_cells::Dense;
///
/// let reference = Dense::new(40, 2, (0..80).map(|i| ((i * 37) % 41) as f32).collect());
/// let picture = umap(&reference, &knn_self(&reference, 10, true)?, &UmapOptions::default())?;
/// let query = Dense::new(2, 2, vec![3.0, 4.0, 30.0, 20.0]);
/// let placed = picture.transform(&knn(&reference, &query, 10)?)?;
/// assert_eq!((placed.n_rows, placed.n_cols), (2, 2));
/// # Ok::<(), scgraft_analysis::Error>(())
/// ```
///
/// # Errors
/// Values that are not finite, neighbours of other cells, settings out of range, fewer than 4 cells.
pub fn umap(data: &Dense, neighbours: &Neighbours, options: &UmapOptions) -> Result<Umap> {
    check_matrix("embedding", data)?;
    options.check()?;
    if neighbours.n_rows() != data.n_rows {
        return Err(Error::Length { what: "neighbours".to_owned(), expected: data.n_rows, found: neighbours.n_rows() });
    }
    if data.n_rows < 4 {
        return Err(Error::Inconsistent {
            what: "embedding".to_owned(),
            problem: format!("{} cells; a picture needs at least 4", data.n_rows),
        });
    }
    let graph = connectivities(neighbours)?;
    let (a, b) = curve(options.min_dist, options.spread)?;
    let start = start(data, &graph, options.seed)?;
    let n_epochs = options.n_epochs.unwrap_or(if data.n_rows <= SMALL_DATA { EPOCHS.0 } else { EPOCHS.1 });
    let settings = layout::Settings::new((a, b), 1.0, n_epochs, options.seed);
    let embedding = layout::fit(&graph, start, &settings);
    Ok(Umap { embedding, options: options.clone(), curve: (a, b) })
}

impl Umap {
    /// A picture made earlier (cells × 2), with the settings it was made with, to place other cells in.
    ///
    /// # Errors
    /// A value that is not finite, settings out of range, a picture that has not 2 dimensions.
    pub fn from_embedding(embedding: Dense, options: &UmapOptions) -> Result<Umap> {
        check_matrix("picture", &embedding)?;
        options.check()?;
        if embedding.n_cols != C {
            let problem = format!("{} columns; expected {C}", embedding.n_cols);
            return Err(Error::Inconsistent { what: "picture".to_owned(), problem });
        }
        let curve = curve(options.min_dist, options.spread)?;
        Ok(Umap { embedding, options: options.clone(), curve })
    }

    /// Places other cells in this picture; the picture itself does not move.
    ///
    /// `neighbours` are those of each new cell among the cells of the picture, in the embedding
    /// space ([`knn`](crate::knn)); 15 are usual. Each new cell starts where most of
    /// its neighbours are together, and is moved by the layout's own steps.
    ///
    /// # Errors
    /// Neighbours that are not cells of the picture.
    pub fn transform(&self, neighbours: &Neighbours) -> Result<Dense> {
        let n = self.embedding.n_rows;
        if let Some(at) = neighbours.indices.iter().position(|&j| j as usize >= n) {
            return Err(Error::Inconsistent {
                what: format!("neighbours of query cell {}", at / neighbours.k),
                problem: format!("index {} but the picture has {n} cells", neighbours.indices[at]),
            });
        }
        check_k(neighbours.k)?;
        let epochs = if neighbours.n_rows() <= SMALL_DATA { QUERY_EPOCHS.0 } else { QUERY_EPOCHS.1 };
        let n_epochs = self.options.n_epochs.map_or(epochs, |e| e / 3);
        // A new cell starts near its place: umap-learn's smaller first step.
        let settings = layout::Settings::new(self.curve, 0.25, n_epochs, self.options.seed);
        Ok(layout::place(&self.embedding, neighbours, &memberships(neighbours), &settings))
    }
}

impl UmapOptions {
    /// Checks the settings; those of the curve are checked where it is fitted.
    ///
    /// # Errors
    /// A setting outside its range.
    pub fn check(&self) -> Result<()> {
        match self.n_epochs.filter(|n| !(1..=1_000_000).contains(n)) {
            Some(n) => {
                let expected = "1 to 1,000,000 rounds";
                Err(Error::Parameter { name: "epochs", value: n.to_string(), expected })
            }
            None => Ok(()),
        }
    }
}

/// Starting positions, scaled to 0 … 10 along each axis, with a little noise to part equal cells: eigenvectors of the
/// graph, or principal components when it is not in one piece, since eigenvectors then say nothing about how the pieces lie.
fn start(data: &Dense, graph: &Csr, seed: u64) -> Result<Vec<f32>> {
    let connected = strong_components(&graph.indptr, &graph.indices).iter().all(|&x| x == 0);
    let mut at: Vec<f64> = if connected {
        spectral(graph, seed)?
    } else {
        let k = C.min(data.n_cols);
        let scores = pca(data, k)?.scores;
        (0..data.n_rows)
            .flat_map(|i| (0..C).map(move |j| (i, j)))
            .map(|(i, j)| if j < k { f64::from(scores.row(i)[j]) } else { 0.0 })
            .collect()
    };
    let largest = at.iter().fold(0f64, |m, v| m.max(v.abs()));
    let expansion = if largest > 0.0 { EXTENT / largest } else { 1.0 };
    let mut noise = Random::half_open(seed, 1);
    at.iter_mut().for_each(|v| *v = *v * expansion + JITTER * noise.normal());
    for j in 0..C {
        let column = || at.iter().skip(j).step_by(C);
        let (low, high) = column().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
        let scale = if high > low { EXTENT / (high - low) } else { 1.0 };
        at.iter_mut().skip(j).step_by(C).for_each(|v| *v = (*v - low) * scale);
    }
    Ok(at.into_iter().map(|v| v as f32).collect())
}

/// Eigenvectors 2 and 3 of D^{-1/2} W D^{-1/2}, n × 2.
fn spectral(graph: &Csr, seed: u64) -> Result<Vec<f64>> {
    let n = graph.n_rows;
    let degree: Vec<f64> = (0..n).map(|i| graph.row(i).1.iter().map(|&w| f64::from(w)).sum()).collect();
    let mut values = Vec::with_capacity(graph.nnz());
    for i in 0..n {
        let (at, weights) = graph.row(i);
        values.extend(at.iter().zip(weights).map(|(&j, &w)| f64::from(w) / (degree[i] * degree[j as usize]).sqrt()));
    }
    let search = Search { k: C + 1, block: 4, tolerance: 1e-3, most_restarts: 12, seed };
    let found = largest(n, &search, &|v, p, out| multiply(graph, &values, v, p, out))?;
    Ok(found.vectors.chunks_exact(C + 1).flat_map(|row| row[1..].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{knn, knn_self};

    /// Five clouds in eight dimensions.
    fn clouds(n: usize, apart: f64, seed: u64) -> Dense {
        let mut s = Random::half_open(seed, 0);
        let values = (0..n).flat_map(|i| (0..8).map(move |j| (i, j)));
        let values = values.map(|(i, j)| (s.normal() + if i % 5 == j { apart } else { 0.0 }) as f32).collect();
        Dense::new(n, 8, values)
    }

    fn nearest_cloud(at: &[f32], centres: &[[f32; 2]]) -> usize {
        let d = |c: &[f32; 2]| (at[0] - c[0]).powi(2) + (at[1] - c[1]).powi(2);
        (0..centres.len()).min_by(|&a, &b| d(&centres[a]).total_cmp(&d(&centres[b]))).unwrap()
    }

    fn centres(picture: &Dense) -> Vec<[f32; 2]> {
        (0..5)
            .map(|c| {
                let rows: Vec<&[f32]> = (c..picture.n_rows).step_by(5).map(|i| picture.row(i)).collect();
                [0, 1].map(|d| rows.iter().map(|r| r[d]).sum::<f32>() / rows.len() as f32)
            })
            .collect()
    }

    #[test]
    fn clouds_stay_apart_and_queries_land_in_theirs() {
        // Graphs in one piece start from eigenvectors, those in five from components.
        for (apart, pieces) in [(4.5, 1), (9.0, 5)] {
            let x = clouds(500, apart, 1);
            let graph = connectivities(&knn_self(&x, 15, true).unwrap()).unwrap();
            assert_eq!(strong_components(&graph.indptr, &graph.indices).iter().max(), Some(&(pieces - 1)));
            let options = UmapOptions { n_epochs: Some(200), ..UmapOptions::default() };
            let u = umap(&x, &knn_self(&x, 15, true).unwrap(), &options).unwrap();
            let centres = centres(&u.embedding);
            let right = (0..500).filter(|&i| nearest_cloud(u.embedding.row(i), &centres) == i % 5).count();
            assert!(right > 495, "{right} of 500");
            assert!(trustworthiness(&x, &u.embedding, 15).unwrap() > 0.85);
            let query = clouds(100, apart, 2);
            let placed = u.transform(&knn(&x, &query, 15).unwrap()).unwrap();
            let right = (0..100).filter(|&i| nearest_cloud(placed.row(i), &centres) == i % 5).count();
            assert!(right > 98, "{right} of 100");
        }
    }

    #[test]
    fn a_query_with_neighbours_in_two_islands_goes_to_one_of_them() {
        let mut s = Random::half_open(4, 0);
        let islands = (0..400).flat_map(|i| [if i % 2 == 0 { 0.0 } else { 60.0 }, 0.0]);
        let picture = Dense::new(400, 2, islands.map(|v| v + s.normal() as f32).collect());
        let u = Umap::from_embedding(picture, &UmapOptions::default()).unwrap();
        // Seven neighbours in one island and eight in the other, all as near.
        let near = (0..50u32).flat_map(|i| (0..15).map(move |j| (i * 7 + j) % 400));
        let neighbours = Neighbours { k: 15, indices: near.collect(), distances: vec![1.0; 50 * 15] };
        let placed = u.transform(&neighbours).unwrap();
        for i in 0..50 {
            let x = placed.row(i)[0];
            assert!(x.abs() < 5.0 || (x - 60.0).abs() < 5.0, "cell {i} is at {x}, between islands at 0 and 60");
        }
    }

    #[test]
    fn bits_depend_on_the_seed_and_not_on_threads() {
        let x = clouds(600, 9.0, 3);
        let neighbours = knn_self(&x, 10, false).unwrap();
        let run = |threads, seed| {
            let options = UmapOptions { seed, n_epochs: Some(30), ..UmapOptions::default() };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let u = umap(&x, &neighbours, &options).unwrap();
                let placed = u.transform(&knn(&x, &clouds(50, 9.0, 9), 10).unwrap()).unwrap();
                (u, placed)
            })
        };
        assert_eq!(run(1, 5), run(3, 5));
        assert_ne!(run(1, 5).0, run(1, 6).0);
    }

    #[test]
    fn bad_input_is_named() {
        let x = clouds(20, 9.0, 4);
        assert!(
            Umap::from_embedding(x.clone(), &UmapOptions::default()).unwrap_err().to_string().contains("8 columns")
        );
        let fewer = knn_self(&clouds(19, 9.0, 4), 5, true).unwrap();
        assert!(matches!(
            umap(&x, &fewer, &UmapOptions::default()),
            Err(Error::Length { expected: 20, found: 19, .. })
        ));
    }
}
