//! Novelty: is a query cell of a type that the reference does not have?
//!
//! 1. Each cell with its k − 1 nearest of the same batch, by that batch's own expression (20 principal components of
//!    ln(1 + 1000 · share)): a pool. x̃ᵢ = mean of x over the pool, eᵢ = ln(1 + 10,000 · (Σ counts / Σ library sizes)). What
//!    neighbours share is kept, what is one cell's noise is not; and cells that the map cannot tell from known ones are
//!    pooled with their own kind.
//! 2. S = Σ_t Σ_{i ∈ t} (x̃ᵢ − m_t)(x̃ᵢ − m_t)ᵀ / n + s · (tr/d) I: the spread within types of the reference, shrunk to a
//!    sphere (Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4, with a fixed weight); v_g: that of e_g, shrunk to its mean
//! 3. dᵢ² = min over types t of ‖S^(−1/2) (x̃ᵢ − c − m_t)‖² / a + Σ_g (eᵢ_g − c_g − e_t,g)² / (v_g b): how far the cell is from
//!    the nearest type in the map and in its expression, less the shift c that the query's batch has as a whole; a and b
//!    are the means of both sums over the reference
//! 4. c = median over types, coordinate by coordinate, of (mean of the cells nearest to t) − m_t: a batch moves all types,
//!    a new type only itself; 3 and 4 are repeated. Then d̄ᵢ = mean of d over the k nearest pools of i in its batch (20
//!    principal components of e), since cells of a new type are new together
//! 5. threshold = quartile of the batch's d̄ times the 0.6 quantile over the reference's studies of (quantile 1 − α of d̄) /
//!    (quartile of d̄), each study held against the others: of cells whose type is known, a share α lies beyond
//!
//! A map is blind to what its reference never had to tell apart, and an adaptor that is fitted to a query with a new type takes
//! a part of it for the batch: hence the expression beside the map. Where there are no counts, pools are made in the map and
//! the second sum is left out. Distances to single cells of the reference, as in [`super::out_of_distribution`], mix up three
//! things: noise of one cell, the shift of a batch, and a type that is new.

mod pools;
mod types;

use scgraft_cells::{Coded, Csr, Dense, Steps};
use serde::{Deserialize, Serialize};

use pools::Pools;
use types::Types;

use crate::error::{Error, Result, check_labels};
use crate::neighbours::Search;
use crate::quantile::{quantile, quantile_of_sorted};

/// Settings of a novelty score.
#[derive(Clone, Debug, PartialEq)]
pub struct NoveltyOptions {
    /// k: cells that are averaged; fewer in a batch of fewer than ten times as many.
    pub k: usize,
    /// α: the share of cells of known types that may be called new.
    pub false_alarms: f64,
    /// s
    pub shrinkage: f64,
}

impl Default for NoveltyOptions {
    fn default() -> Self {
        NoveltyOptions { k: 15, false_alarms: 0.05, shrinkage: 3.0 }
    }
}

impl NoveltyOptions {
    /// Whether what a reference says is learned as usual; the share of false alarms does not enter there.
    pub fn is_usual(&self) -> bool {
        let usual = NoveltyOptions::default();
        self.k == usual.k && self.shrinkage == usual.shrinkage
    }
}

/// Reference cells with their labels and studies.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'c> {
    /// Embedding, cells × dimensions.
    pub x: &'c Dense,
    /// Name and type of each.
    pub labels: (&'c str, &'c Coded),
    /// Name and study of each.
    pub studies: (&'c str, &'c Coded),
}

/// How new each query cell is.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    /// d̄ᵢ over the threshold of its batch: above 1 is new.
    pub score: Vec<f64>,
    /// Studies of the reference that the threshold was learned from, each held against the others; 0 where the reference
    /// has one study and is held against itself.
    pub n_held_out: usize,
    /// Genes whose expression was judged beside the map; 0: the map alone.
    pub n_genes: usize,
}

impl Novelty {
    /// Whether cell `i` is of a type that the reference does not have.
    pub fn is_new(&self, i: usize) -> bool {
        self.score[i] > 1.0
    }
}

/// The quantile that sets the scale of a batch's distances: most cells may be new.
const SCALE: f64 = 0.25;
/// Which of the studies' thresholds is taken: a new study is rather like those that are harder to place than the median.
const AMONG_STUDIES: f64 = 0.6;
/// Fewest cells of a study that is held against the others.
const HELD_OUT: usize = 50;
/// A dimension with less than this of the largest standard deviation says nothing.
const SILENT: f64 = 0.01;
/// Most cells that a reference is learned from, and that are judged at once: a larger batch is judged in parts.
const MOST: usize = 20_000;
/// Fewest cells of a type in a study that are kept where a reference has more than it is learned from.
const KEPT: usize = 50;
/// Steps of a calibration curve.
const CURVE: usize = 200;

/// What a reference says of its types: all that it takes to judge a query, without the reference's cells. Numbers stand on grids,
/// so that a model that carries this judges as the cells do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownTypes {
    /// Dimensions of the embedding, and those that are read.
    n_dims: usize,
    dims: Vec<usize>,
    /// Genes of the expression; 0 without.
    n_genes: usize,
    /// S^(−1/2)/√a, dimension × axis.
    axes: Grid,
    /// 1/√(v_g b)
    weights: Grid,
    /// Type × (axes, genes): m_t and e_t on those scales.
    centroids: Grid,
    n_types: usize,
    /// Quantiles of known cells' d over the quartile of d, of each study held against the others.
    curves: Vec<Vec<f32>>,
    n_held_out: usize,
    k: usize,
}

/// Numbers as whole steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Grid {
    step: f32,
    values: Vec<i16>,
}

impl Grid {
    fn of(values: &[f32]) -> Grid {
        let most = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        let step = if most > 0.0 { most / 32_000.0 } else { 1.0 };
        Grid { step, values: values.iter().map(|v| (v / step).round() as i16).collect() }
    }

    fn numbers(&self) -> Vec<f32> {
        self.values.iter().map(|&v| f32::from(v) * self.step).collect()
    }
}

/// Scores query cells, whose batches are `batches`, in the same dimensions as the reference; with the counts of both
/// (cells × the same genes) where they are known.
///
/// # Errors
/// Of [`KnownTypes::learn`] and [`KnownTypes::judge`].
pub fn novelty(
    reference: &Labelled<'_>,
    query: &Dense,
    batches: (&str, &Coded),
    counts: Option<[&Csr; 2]>,
    options: &NoveltyOptions,
    search: &Search,
) -> Result<Novelty> {
    let known = KnownTypes::learn(reference, counts.map(|c| c[0]), options, search)?;
    known.judge(query, batches, counts.map(|c| (c[1], None)), options.false_alarms, search)
}

impl KnownTypes {
    /// Learns what the types of a reference are (1, 2) and how far known cells of another study lie from them (5), from at
    /// most 20,000 of its cells.
    ///
    /// # Errors
    /// Fewer than two types; labels, studies or counts that are not one for each cell.
    pub fn learn(
        reference: &Labelled<'_>,
        counts: Option<&Csr>,
        options: &NoveltyOptions,
        search: &Search,
    ) -> Result<KnownTypes> {
        let Labelled { x, labels, studies } = *reference;
        check_labels(labels.0, labels.1, x.n_rows)?;
        check_labels(studies.0, studies.1, x.n_rows)?;
        check_counts(counts, x.n_rows)?;
        let rows = sample(labels.1, studies.1);
        let (labels, studies) = (labels.1.select(&rows), studies.1.select(&rows));
        let own = (rows.len() < x.n_rows).then(|| (x.select_rows(&rows), counts.map(|c| c.select_rows(&rows))));
        let (x, counts) = own.as_ref().map_or((x, counts), |(x, counts)| (x, counts.as_ref()));

        let dims = active(x);
        let x = select(x, &dims);
        let mut pools = Pools::zeros(x.n_rows, x.n_cols, counts.map_or(0, |c| c.n_cols));
        let groups = studies.members();
        // Each study is pooled, then held against the others.
        let steps = Steps::new("learning the known types", 2 * groups.len() + 1);
        for rows in &groups {
            pools.fill(rows, &x, counts, options.k, search)?;
            steps.done();
        }
        let all: Vec<usize> = (0..x.n_rows).collect();
        let types = Types::of(&pools, &all, &labels, options.shrinkage)?;
        steps.done();
        let (curves, n_held_out) = curves(&pools, &types, &labels, (&studies, groups), options, &steps)?;
        Ok(KnownTypes {
            n_dims: reference.x.n_cols,
            dims,
            n_genes: pools.genes.n_cols,
            axes: Grid::of(&types.axes.values),
            weights: Grid::of(&types.weights),
            centroids: Grid::of(&types.centroids.values),
            n_types: types.codes.len(),
            curves,
            n_held_out,
            k: options.k,
        })
    }

    /// Genes whose expression is a part of it.
    pub fn n_genes(&self) -> usize {
        self.n_genes
    }

    /// Whether it judges an embedding of so many dimensions; `false` too of one from a file whose parts do not fit together.
    pub fn judges(&self, n_dims: usize) -> bool {
        let (d, g, t) = (self.dims.len(), self.n_genes, self.n_types);
        let of = |grid: &Grid, rows: usize, columns: Option<usize>| {
            grid.step.is_finite() && columns.and_then(|c| c.checked_mul(rows)) == Some(grid.values.len())
        };
        self.n_dims == n_dims
            && t > 1
            && d > 0
            && self.k > 0
            && self.dims.iter().all(|&j| j < n_dims)
            && of(&self.axes, d, Some(d))
            && of(&self.weights, g, Some(1))
            && of(&self.centroids, t, d.checked_add(g))
            && !self.curves.is_empty()
            && self.curves.iter().all(|c| c.len() == CURVE + 1 && c.iter().all(|v| v.is_finite()))
    }

    /// Scores query cells whose batches are `batches`; `counts` has a column for each gene that was learned from, and may say
    /// which of them the query lacks.
    ///
    /// # Errors
    /// Other dimensions or genes; no counts where they were learned from; batches that are not one for each cell; a share of
    /// false alarms outside 0 to 1.
    pub fn judge(
        &self,
        query: &Dense,
        batches: (&str, &Coded),
        counts: Option<(&Csr, Option<&[bool]>)>,
        false_alarms: f64,
        search: &Search,
    ) -> Result<Novelty> {
        if !(false_alarms > 0.0 && false_alarms < 1.0) {
            let value = false_alarms.to_string();
            return Err(Error::Parameter { name: "false alarms", value, expected: "a share between 0 and 1" });
        }
        let both = |what: &str, a: usize, b: usize| match a == b {
            true => Ok(()),
            false => Err(Error::Inconsistent {
                what: format!("{what} of reference and query"),
                problem: format!("{a} and {b}"),
            }),
        };
        both("dimensions", self.n_dims, query.n_cols)?;
        both("genes", self.n_genes, counts.map_or(0, |c| c.0.n_cols))?;
        check_labels(batches.0, batches.1, query.n_rows)?;
        check_counts(counts.map(|c| c.0), query.n_rows)?;
        let lacking = counts.and_then(|c| c.1).filter(|l| l.iter().any(|&l| l));
        let types = self.types(lacking);
        let at = 1.0 - false_alarms;
        let ratios: Vec<f64> = self.curves.iter().map(|c| quantile_of_sorted(c, at)).collect();
        let ratio = quantile(&ratios, AMONG_STUDIES);
        let x = select(query, &self.dims);
        let mut score = vec![0.0; query.n_rows];
        let parts_of = |batch: &Vec<usize>| batch.len().div_ceil(MOST).max(1);
        let batches = batches.1.members();
        let steps = Steps::new("judging how new cells are", batches.iter().map(parts_of).sum());
        for batch in batches {
            let parts = parts_of(&batch);
            for part in 0..parts {
                let rows: Vec<usize> = batch.iter().copied().skip(part).step_by(parts).collect();
                let inside: Vec<usize> = (0..rows.len()).collect();
                let own = (x.select_rows(&rows), counts.map(|c| c.0.select_rows(&rows)));
                let mut pools = Pools::zeros(rows.len(), x.n_cols, self.n_genes);
                pools.fill(&inside, &own.0, own.1.as_ref(), self.k, search)?;
                let distances: Vec<f64> = types.distances(&pools, &inside, true).into_iter().map(|d| d.0).collect();
                let threshold = (ratio * quantile(&distances, SCALE)).max(f64::MIN_POSITIVE);
                rows.iter().zip(distances).for_each(|(&i, d)| score[i] = d / threshold);
                steps.done();
            }
        }
        let n_genes = self.n_genes - lacking.map_or(0, |l| l.iter().filter(|l| **l).count());
        Ok(Novelty { score, n_held_out: self.n_held_out, n_genes })
    }

    /// As it judges: genes that are lacking weigh nothing, and the others as much more.
    fn types(&self, lacking: Option<&[bool]>) -> Types {
        let (d, g) = (self.dims.len(), self.n_genes);
        let mut types = Types {
            codes: (0..self.n_types as u32).collect(),
            axes: Dense::new(d, d, self.axes.numbers()),
            weights: self.weights.numbers(),
            centroids: Dense::new(self.n_types, d + g, self.centroids.numbers()),
        };
        if let Some(lacking) = lacking {
            let kept = lacking.iter().filter(|l| !**l).count();
            let more = if kept > 0 { (g as f32 / kept as f32).sqrt() } else { 0.0 };
            let factor = |j: usize| if lacking[j] { 0.0 } else { more };
            types.weights.iter_mut().enumerate().for_each(|(j, w)| *w *= factor(j));
            for t in 0..self.n_types {
                types.centroids.row_mut(t)[d..].iter_mut().enumerate().for_each(|(j, c)| *c *= factor(j));
            }
        }
        types
    }
}

fn check_counts(counts: Option<&Csr>, cells: usize) -> Result<()> {
    match counts.filter(|c| c.n_rows != cells) {
        Some(c) => Err(Error::Inconsistent {
            what: "counts beside an embedding".into(),
            problem: format!("{} and {cells} cells", c.n_rows),
        }),
        None => Ok(()),
    }
}

/// Cells to learn from, at most about 20,000: of each type in each study its share, evenly spaced, or the few that it has.
fn sample(labels: &Coded, studies: &Coded) -> Vec<usize> {
    let n = labels.codes.len();
    if n <= MOST {
        return (0..n).collect();
    }
    let n_types = labels.levels.len().max(1);
    let mut of = vec![Vec::new(); n_types * studies.levels.len().max(1)];
    (0..n).for_each(|i| of[studies.codes[i] as usize * n_types + labels.codes[i] as usize].push(i));
    let mut rows: Vec<usize> = of
        .iter()
        .flat_map(|own| {
            let kept = (own.len() * MOST / n).max(KEPT).min(own.len());
            (0..kept).map(move |j| own[j * own.len() / kept])
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// 5: quantiles of known cells' distances over the quartile of all, of each study held against the others.
fn curves(
    pools: &Pools,
    types: &Types,
    labels: &Coded,
    (studies, groups): (&Coded, Vec<Vec<usize>>),
    options: &NoveltyOptions,
    steps: &Steps,
) -> Result<(Vec<Vec<f32>>, usize)> {
    let of = |distances: &[(f64, u32)], rows: &[usize]| {
        let all: Vec<f64> = distances.iter().map(|d| d.0).collect();
        // A cell on another type's ground is a question of labels, not of novelty.
        let right = distances.iter().zip(rows).filter(|(d, i)| d.1 == labels.codes[**i]).map(|(d, _)| d.0);
        let mut right: Vec<f64> = right.collect();
        right.sort_unstable_by(f64::total_cmp);
        let scale = quantile(&all, SCALE).max(f64::MIN_POSITIVE);
        let right: Vec<f32> = right.into_iter().map(|d| (d / scale) as f32).collect();
        let curve = (0..=CURVE).map(|q| quantile_of_sorted(&right, q as f64 / CURVE as f64) as f32);
        (!right.is_empty()).then(|| curve.collect::<Vec<f32>>())
    };
    let mut found = Vec::new();
    for (study, rows) in groups.into_iter().enumerate() {
        let others: Vec<usize> = (0..labels.codes.len()).filter(|&i| studies.codes[i] as usize != study).collect();
        if let Ok(types) = Types::of(pools, &others, labels, options.shrinkage) {
            let rows: Vec<usize> = rows.into_iter().filter(|&i| types.has(labels.codes[i])).collect();
            if rows.len() >= HELD_OUT {
                found.extend(of(&types.distances(pools, &rows, true), &rows));
            }
        }
        steps.done();
    }
    if found.is_empty() {
        let rows: Vec<usize> = (0..labels.codes.len()).collect();
        let own = of(&types.distances(pools, &rows, false), &rows);
        return Ok((vec![own.unwrap_or_else(|| vec![1.0; CURVE + 1])], 0));
    }
    let n = found.len();
    Ok((found, n))
}

/// Dimensions in which cells differ.
fn active(x: &Dense) -> Vec<usize> {
    let sd = |j: usize| {
        let column: Vec<f64> = x.column(j).into_iter().map(f64::from).collect();
        let mean = column.iter().sum::<f64>() / column.len().max(1) as f64;
        (column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / column.len().max(1) as f64).sqrt()
    };
    let sds: Vec<f64> = (0..x.n_cols).map(sd).collect();
    let largest = sds.iter().copied().fold(0.0, f64::max);
    (0..x.n_cols).filter(|&j| sds[j] > SILENT * largest).collect()
}

fn select(x: &Dense, dims: &[usize]) -> Dense {
    let values = (0..x.n_rows).flat_map(|i| dims.iter().map(move |&j| x.row(i)[j])).collect();
    Dense::new(x.n_rows, dims.len(), values)
}

#[cfg(test)]
mod tests;
