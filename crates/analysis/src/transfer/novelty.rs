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

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;
use scgraft_cells::{Coded, Csr, Dense, Steps};
use scgraft_numeric::eigen::{self, Eigenpairs};
use scgraft_numeric::gemm::{Accum, Mat, matmul};
use serde::{Deserialize, Serialize};

use super::pools::Pools;
use crate::error::{Error, Result, check_labels};
use crate::neighbours::Search;

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

    /// How many cells are.
    pub fn n_new(&self) -> usize {
        self.score.iter().filter(|s| **s > 1.0).count()
    }
}

/// Rounds of 3 and 4.
const ROUNDS: usize = 3;
/// Fewest cells, and smallest share of a batch, whose mean says how far a type has moved.
const MOVED: (usize, usize) = (5, 100);
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
        let part = |c: &Coded| Coded { codes: rows.iter().map(|&i| c.codes[i]).collect(), levels: c.levels.clone() };
        let (labels, studies) = (part(labels.1), part(studies.1));
        let own = (rows.len() < x.n_rows).then(|| (x.select_rows(&rows), counts.map(|c| c.select_rows(&rows))));
        let (x, counts) = own.as_ref().map_or((x, counts), |(x, counts)| (x, counts.as_ref()));

        let dims = active(x);
        let x = select(x, &dims);
        let mut pools = Pools::zeros(x.n_rows, x.n_cols, counts.map_or(0, |c| c.n_cols));
        let groups = groups(&studies);
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
        let batches = groups(batches.1);
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

/// Types of some cells: their centroids, on axes in which their spread is a sphere.
struct Types {
    codes: Vec<u32>,
    /// S^(−1/2)/√a, dimension × axis.
    axes: Dense,
    /// 1/√(v_g b)
    weights: Vec<f32>,
    /// Type × (axes, genes).
    centroids: Dense,
}

impl Types {
    /// 2, and the means a and b.
    fn of(pools: &Pools, rows: &[usize], labels: &Coded, shrinkage: f64) -> Result<Self> {
        let (d, g) = (pools.x.n_cols, pools.genes.n_cols);
        let means = Means::of(pools, rows, labels);
        let codes: Vec<u32> = (0..means.n.len() as u32).filter(|&t| means.n[t as usize] > 0).collect();
        if codes.len() < 2 || d == 0 {
            return Err(Error::Inconsistent {
                what: "labels for a novelty score".into(),
                problem: format!("{} types; it takes two at least", codes.len()),
            });
        }
        let n = rows.len() as f64;
        let centred = Mat::from_fn(rows.len(), d, |r, j| {
            f64::from(pools.x.row(rows[r])[j]) - means.x[labels.codes[rows[r]] as usize][j]
        });
        let mut spread = Mat::<f64>::zeros(d, d);
        matmul(spread.as_mut(), Accum::Replace, centred.as_ref().transpose(), centred.as_ref(), 1.0 / n);
        let trace: f64 = (0..d).map(|j| spread[(j, j)]).sum::<f64>().max(f64::MIN_POSITIVE);
        let mut shrunk = spread.clone();
        (0..d).for_each(|j| shrunk[(j, j)] += shrinkage * trace / d as f64);
        let Eigenpairs { values, vectors, .. } = eigenpairs(&shrunk)?;
        let axis = |j: usize, a: usize| vectors[j * d + a] / values[a].max(f64::MIN_POSITIVE).sqrt();
        // a = tr(S₀ S⁻¹), S₀ the spread as it was.
        let of_axis = |a: usize| -> f64 {
            (0..d).map(|i| axis(i, a) * (0..d).map(|j| spread[(i, j)] * axis(j, a)).sum::<f64>()).sum()
        };
        let scale = 1.0 / (0..d).map(of_axis).sum::<f64>().max(f64::MIN_POSITIVE).sqrt();
        let axes = Dense::new(d, d, (0..d * d).map(|at| (axis(at / d, at % d) * scale) as f32).collect());

        let mut within = vec![0f64; g];
        for &i in rows {
            let mean = &means.genes[labels.codes[i] as usize];
            for ((w, &v), m) in within.iter_mut().zip(pools.genes.row(i)).zip(mean) {
                *w += (f64::from(v) - m).powi(2) / n;
            }
        }
        let usual = within.iter().sum::<f64>() / g.max(1) as f64;
        let spread_of = |w: f64| (w + usual).max(f64::MIN_POSITIVE);
        let b = within.iter().map(|&w| w / spread_of(w)).sum::<f64>().max(f64::MIN_POSITIVE);
        let weights: Vec<f32> = within.iter().map(|&w| (1.0 / (spread_of(w) * b).sqrt()) as f32).collect();

        let mut centroids = Dense::zeros(codes.len(), d + g);
        for (row, &t) in codes.iter().enumerate() {
            let mean: Vec<f32> = means.x[t as usize].iter().map(|&v| v as f32).collect();
            let genes: Vec<f32> = means.genes[t as usize].iter().map(|&v| v as f32).collect();
            place(&mean, &genes, &axes, &weights, centroids.row_mut(row));
        }
        Ok(Types { codes, axes, weights, centroids })
    }

    fn has(&self, label: u32) -> bool {
        self.codes.contains(&label)
    }

    /// 3 and 4: mean distance d̄ of each cell of one batch and which type is nearest; without the batch's shift where that is
    /// not wanted. Only pools of these cells enter the mean.
    fn distances(&self, pools: &Pools, rows: &[usize], shift: bool) -> Vec<(f64, u32)> {
        let width = self.centroids.n_cols;
        let mut placed = Dense::zeros(rows.len(), width);
        placed.values.par_chunks_mut(width).zip(rows.par_iter()).for_each(|(out, &i)| {
            place(pools.x.row(i), pools.genes.row(i), &self.axes, &self.weights, out);
        });
        let n_types = self.codes.len();
        let mut common = vec![0f32; width];
        let mut nearest = self.nearest(&placed, &common);
        for _ in 0..if shift { ROUNDS } else { 0 } {
            let mut sums = vec![(0usize, vec![0f64; width]); n_types];
            for (row, near) in placed.values.chunks_exact(width).zip(&nearest) {
                let sum = &mut sums[near.1];
                sum.0 += 1;
                sum.1.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
            }
            let fewest = MOVED.0.max(rows.len() / MOVED.1);
            let moved: Vec<usize> = (0..n_types).filter(|&t| sums[t].0 >= fewest).collect();
            if moved.is_empty() {
                break;
            }
            let shift_of = |t: usize, a: usize| sums[t].1[a] / sums[t].0 as f64 - f64::from(self.centroids.row(t)[a]);
            let median = |a: usize| quantile(&moved.iter().map(|&t| shift_of(t, a)).collect::<Vec<_>>(), 0.5) as f32;
            common = (0..width).map(median).collect();
            nearest = self.nearest(&placed, &common);
        }
        let distances: HashMap<usize, f64> = rows.iter().copied().zip(nearest.iter().map(|d| d.0)).collect();
        let mean = |i: &usize| {
            let near = pools.near[*i].iter().filter_map(|&j| distances.get(&(j as usize)));
            let (sum, n) = near.fold((0.0, 0), |(sum, n), d| (sum + d, n + 1));
            sum / f64::from(n)
        };
        rows.iter().zip(&nearest).map(|(i, d)| (mean(i), self.codes[d.1])).collect()
    }

    fn nearest(&self, placed: &Dense, common: &[f32]) -> Vec<(f64, usize)> {
        let mut there = self.centroids.clone();
        there.values.chunks_exact_mut(common.len()).for_each(|c| c.iter_mut().zip(common).for_each(|(c, s)| *c += s));
        let one = |row: &[f32]| {
            let to = |c: &[f32]| c.iter().zip(row).map(|(c, v)| f64::from(v - c).powi(2)).sum::<f64>();
            let squares = there.values.chunks_exact(common.len()).map(to).enumerate();
            let (t, square) = squares.fold((0, f64::INFINITY), |best, (t, d)| if d < best.1 { (t, d) } else { best });
            (square.sqrt(), t)
        };
        placed.values.par_chunks(common.len()).map(one).collect()
    }
}

/// A pool on the axes and weights of types.
fn place(x: &[f32], genes: &[f32], axes: &Dense, weights: &[f32], out: &mut [f32]) {
    let (on_axes, on_genes) = out.split_at_mut(x.len());
    on_axes.fill(0.0);
    for (j, v) in x.iter().enumerate() {
        on_axes.iter_mut().zip(axes.row(j)).for_each(|(o, a)| *o += v * a);
    }
    on_genes.iter_mut().zip(genes).zip(weights).for_each(|((o, v), w)| *o = v * w);
}

/// Means over the cells of each type.
struct Means {
    n: Vec<usize>,
    x: Vec<Vec<f64>>,
    genes: Vec<Vec<f64>>,
}

impl Means {
    fn of(pools: &Pools, rows: &[usize], labels: &Coded) -> Means {
        let types = labels.levels.len();
        let mut means = Means {
            n: vec![0; types],
            x: vec![vec![0.0; pools.x.n_cols]; types],
            genes: vec![vec![0.0; pools.genes.n_cols]; types],
        };
        for &i in rows {
            let t = labels.codes[i] as usize;
            means.n[t] += 1;
            for (sum, row) in [(&mut means.x[t], pools.x.row(i)), (&mut means.genes[t], pools.genes.row(i))] {
                sum.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
            }
        }
        for t in 0..types {
            let n = means.n[t].max(1) as f64;
            means.x[t].iter_mut().chain(&mut means.genes[t]).for_each(|v| *v /= n);
        }
        means
    }
}

fn eigenpairs(m: &Mat<f64>) -> Result<Eigenpairs> {
    let n = m.nrows();
    let whole = eigen::Search { k: n, block: n, tolerance: 1e-9, most_restarts: 1, seed: 0 };
    Ok(eigen::largest(n, &whole, &|v, p, out| {
        for i in 0..n {
            for c in 0..p {
                out[i * p + c] = (0..n).map(|j| m[(i, j)] * v[j * p + c]).sum();
            }
        }
    })?)
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

/// Rows of each level.
fn groups(codes: &Coded) -> Vec<Vec<usize>> {
    let mut out = vec![Vec::new(); codes.levels.len()];
    codes.codes.iter().enumerate().for_each(|(i, &c)| out[c as usize].push(i));
    out
}

/// The quantile q of some values, between neighbours by interpolation; 0 of none.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    between(&sorted, q, |v| *v)
}

fn quantile_of_sorted(sorted: &[f32], q: f64) -> f64 {
    between(sorted, q, |v| f64::from(*v))
}

fn between<T>(sorted: &[T], q: f64, number: impl Fn(&T) -> f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = q * last as f64;
    let Range { start, end } = at.floor() as usize..at.ceil() as usize;
    let low = number(&sorted[start]);
    low + (at - start as f64) * (number(&sorted[end]) - low)
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{coded, normals};

    /// Cells of types at corners of a cube; each study moved by its own step, each type seen in each.
    fn cells(types: &[u32], per_type: usize, studies: u32, step: f32, seed: u64) -> (Dense, Coded, Coded) {
        let n = types.len() * per_type * studies as usize;
        let noise = normals(n * 6, seed);
        let (mut values, mut labels, mut study) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..n {
            let (s, t) = (i as u32 % studies, types[i / studies as usize % types.len()]);
            for d in 0..6 {
                let corner = if t >> d & 1 == 1 { 6.0 } else { 0.0 };
                values.push(corner + step * (s + 1) as f32 * if d == 5 { 1.0 } else { 0.3 } + noise[i * 6 + d] as f32);
            }
            labels.push(t);
            study.push(s);
        }
        (Dense::new(n, 6, values), coded(&labels, 8), coded(&study, studies as usize))
    }

    #[test]
    fn a_new_type_is_new_and_a_moved_batch_is_not() {
        let called = |seed: u64| -> [f64; 2] {
            let (x, labels, studies) = cells(&[0, 1, 2, 3, 4], 60, 3, 0.5, 2 * seed);
            let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
            // A batch that moved further than any study, with a type that nobody knows.
            let (query, truth, _) = cells(&[0, 1, 2, 3, 4, 7], 100, 1, 3.0, 2 * seed + 1);
            let one = coded(&vec![0; query.n_rows], 1);
            let options = NoveltyOptions::default();
            let found = novelty(&reference, &query, ("batch", &one), None, &options, &Search::Exact).unwrap();
            assert_eq!(found.n_held_out, 3);
            [true, false].map(|new| {
                let own: Vec<usize> = (0..query.n_rows).filter(|&i| (truth.codes[i] == 7) == new).collect();
                own.iter().filter(|&&i| found.is_new(i)).count() as f64 / own.len() as f64
            })
        };
        // Cells of one type are called together, so that a single draw of 500 known cells says little: the mean of ten.
        let all: Vec<[f64; 2]> = (0..10).map(called).collect();
        let mean = |at: usize| all.iter().map(|c| c[at]).sum::<f64>() / 10.0;
        assert!(mean(0) > 0.95, "{all:?}");
        assert!((0.02..0.08).contains(&mean(1)), "{all:?}");
    }

    #[test]
    fn a_reference_of_one_study_and_few_cells_are_enough() {
        let (x, labels, studies) = cells(&[0, 1, 2], 40, 1, 0.0, 3);
        let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
        let (query, _, batches) = cells(&[0, 6], 4, 1, 0.0, 4);
        let found =
            novelty(&reference, &query, ("batch", &batches), None, &NoveltyOptions::default(), &Search::Exact).unwrap();
        assert_eq!((found.n_held_out, found.score.len()), (0, 8));
        assert!((0..8).all(|i| found.score[i].is_finite()));
        let wrong = NoveltyOptions { false_alarms: 0.0, ..NoveltyOptions::default() };
        assert!(novelty(&reference, &query, ("batch", &batches), None, &wrong, &Search::Exact).is_err());
    }

    /// Counts of 30 genes; those of type t are 3t, 3t + 1 and 3t + 2.
    fn counts(labels: &Coded, seed: u64) -> Csr {
        let noise = normals(labels.codes.len() * 30, seed);
        let of = |i: usize, g: usize| {
            let mean: f64 = if g / 3 == labels.codes[i] as usize { 30.0 } else { 5.0 };
            (mean + noise[i * 30 + g] * mean.sqrt()).round().max(0.0) as f32
        };
        let values =
            (0..labels.codes.len()).flat_map(|i| (0..30).map(move |g| (i, g))).map(|(i, g)| of(i, g)).collect();
        Dense::new(labels.codes.len(), 30, values).to_csr()
    }

    #[test]
    fn a_type_that_the_map_does_not_tell_from_another_is_found_in_its_expression() {
        let (x, labels, studies) = cells(&[0, 1, 2, 3, 4, 5, 6], 60, 3, 0.5, 5);
        let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
        // Type 7 lies where type 2 does.
        let (mut query, truth, batches) = cells(&[0, 1, 2, 3, 4, 5, 6, 7], 100, 1, 1.0, 6);
        let (like, _, _) = cells(&[0, 1, 2, 3, 4, 5, 6, 2], 100, 1, 1.0, 6);
        let new: Vec<bool> = truth.codes.iter().map(|&t| t == 7).collect();
        (0..query.n_rows).filter(|&i| new[i]).for_each(|i| query.row_mut(i).copy_from_slice(like.row(i)));
        let (known, asked) = (counts(&labels, 7), counts(&truth, 8));
        let options = NoveltyOptions::default();
        let share = |found: &Novelty, of: bool| {
            let own: Vec<usize> = (0..new.len()).filter(|&i| new[i] == of).collect();
            own.iter().filter(|&&i| found.is_new(i)).count() as f64 / own.len() as f64
        };
        let blind = novelty(&reference, &query, ("batch", &batches), None, &options, &Search::Exact).unwrap();
        assert!(blind.n_genes == 0 && share(&blind, true) < 0.3, "{}", share(&blind, true));
        let both = Some([&known, &asked]);
        let found = novelty(&reference, &query, ("batch", &batches), both, &options, &Search::Exact).unwrap();
        assert_eq!(found.n_genes, 30);
        assert!(share(&found, true) > 0.95, "{}", share(&found, true));
        assert!(share(&found, false) < 0.12, "{}", share(&found, false));

        // As it is carried by a model, and with a gene of no type lacking, it judges alike.
        let known = KnownTypes::learn(&reference, Some(&known), &options, &Search::Exact).unwrap();
        let carried: KnownTypes = serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
        assert_eq!(carried, known);
        assert!(carried.judges(6) && !carried.judges(5));
        assert!(!KnownTypes { dims: vec![99], ..carried.clone() }.judges(6), "a file may say anything");
        assert!(!KnownTypes { n_genes: usize::MAX, ..carried.clone() }.judges(6));
        let lacking: Vec<bool> = (0..30).map(|g| g == 29).collect();
        let judge = |lacking| {
            carried.judge(&query, ("batch", &batches), Some((&asked, lacking)), 0.05, &Search::Exact).unwrap()
        };
        assert_eq!(judge(None), found);
        let less = judge(Some(&lacking[..]));
        assert!(less.n_genes == 29 && share(&less, true) > 0.95 && share(&less, false) < 0.12);
        assert!(carried.judge(&query, ("batch", &batches), None, 0.05, &Search::Exact).is_err());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|q| quantile(&[3.0, 1.0, 2.0], q)), [1.0, 1.5, 2.0, 3.0]);
    }
}
