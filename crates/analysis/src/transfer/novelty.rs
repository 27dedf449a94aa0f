//! Novelty: is a query cell of a type that the reference does not have?
//!
//! 1. x̃ᵢ = mean of x over the k nearest cells of i's own batch, itself among them: what neighbours share is kept, what is
//!    one cell's noise is not
//! 2. S = Σ_t Σ_{i ∈ t} (x̃ᵢ − m_t)(x̃ᵢ − m_t)ᵀ / n + s · (tr/d) I: the spread within types of the reference, shrunk to a
//!    sphere (Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4, with a fixed weight)
//! 3. dᵢ = min over types t of ‖S^(−1/2) (x̃ᵢ − c − m_t)‖: the Mahalanobis distance to the nearest type, less the shift c
//!    that the query's batch has as a whole
//! 4. c = median over types, coordinate by coordinate, of (mean of the cells nearest to t) − m_t: a batch moves all types,
//!    a new type only itself; 3 and 4 are repeated
//! 5. threshold = quartile of the batch's d times the median over the reference's studies of (quantile 1 − α of d) /
//!    (quartile of d), each study held against the others: of cells whose type is known, a share α lies beyond
//!
//! Distances to single cells of the reference, as in [`super::out_of_distribution`], mix up three things: noise of one
//! cell, the shift of a batch, and a type that is new.

use std::ops::Range;

use scgraft_cells::{Coded, Dense};
use scgraft_numeric::eigen::{self, Eigenpairs};
use scgraft_numeric::gemm::{Accum, Mat, MatRef, matmul};

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
    /// dᵢ over the threshold of its batch: above 1 is new.
    pub score: Vec<f64>,
    /// Studies of the reference that the threshold was learned from, each held against the others; 0 where the reference
    /// has one study and is held against itself.
    pub n_held_out: usize,
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
/// Fewest cells of a study that is held against the others.
const HELD_OUT: usize = 50;
/// A dimension with less than this of the largest standard deviation says nothing.
const SILENT: f64 = 0.01;

/// Scores query cells, whose batches are `batches`, in the same dimensions as the reference.
///
/// # Errors
/// Other dimensions; fewer than two types; labels or batches that are not one for each cell; a share of false alarms
/// outside 0 to 1.
pub fn novelty(
    reference: &Labelled<'_>,
    query: &Dense,
    batches: (&str, &Coded),
    options: &NoveltyOptions,
    search: &Search,
) -> Result<Novelty> {
    let Labelled { x, labels, studies } = *reference;
    if !(options.false_alarms > 0.0 && options.false_alarms < 1.0) {
        let value = options.false_alarms.to_string();
        return Err(Error::Parameter { name: "false alarms", value, expected: "a share between 0 and 1" });
    }
    if x.n_cols != query.n_cols {
        return Err(Error::Inconsistent {
            what: "dimensions of reference and query".into(),
            problem: format!("{} and {}", x.n_cols, query.n_cols),
        });
    }
    check_labels(labels.0, labels.1, x.n_rows)?;
    check_labels(studies.0, studies.1, x.n_rows)?;
    check_labels(batches.0, batches.1, query.n_rows)?;
    let active = active(x);
    let known = smoothed(&select(x, &active), studies.1, options.k, search)?;
    let asked = smoothed(&select(query, &active), batches.1, options.k, search)?;
    let all: Vec<usize> = (0..x.n_rows).collect();
    let types = Types::of(&known, &all, labels.1, options.shrinkage)?;
    let (ratio, n_held_out) = ratio(&known, &types, labels.1, studies.1, options)?;
    let mut score = vec![0.0; query.n_rows];
    for rows in groups(batches.1) {
        let distances: Vec<f64> = types.distances(&asked, &rows, true).into_iter().map(|d| d.0).collect();
        let threshold = (ratio * quantile(&distances, SCALE)).max(f64::MIN_POSITIVE);
        rows.iter().zip(distances).for_each(|(&i, d)| score[i] = d / threshold);
    }
    Ok(Novelty { score, n_held_out })
}

/// 5: the quantile 1 − α of known cells' distances over their quartile; the median over studies.
fn ratio(
    known: &Dense,
    types: &Types,
    labels: &Coded,
    studies: &Coded,
    options: &NoveltyOptions,
) -> Result<(f64, usize)> {
    let of = |distances: &[(f64, u32)], rows: &[usize]| {
        let all: Vec<f64> = distances.iter().map(|d| d.0).collect();
        // A cell on another type's ground is a question of labels, not of novelty.
        let right = distances.iter().zip(rows).filter(|(d, i)| d.1 == labels.codes[**i]).map(|(d, _)| d.0);
        let right: Vec<f64> = right.collect();
        (!right.is_empty())
            .then(|| quantile(&right, 1.0 - options.false_alarms) / quantile(&all, SCALE).max(f64::MIN_POSITIVE))
    };
    let mut ratios = Vec::new();
    for (study, rows) in groups(studies).into_iter().enumerate() {
        let others: Vec<usize> = (0..known.n_rows).filter(|&i| studies.codes[i] as usize != study).collect();
        let Ok(types) = Types::of(known, &others, labels, options.shrinkage) else { continue };
        let rows: Vec<usize> = rows.into_iter().filter(|&i| types.has(labels.codes[i])).collect();
        if rows.len() >= HELD_OUT {
            ratios.extend(of(&types.distances(known, &rows, true), &rows));
        }
    }
    if ratios.is_empty() {
        let rows: Vec<usize> = (0..known.n_rows).collect();
        return Ok((of(&types.distances(known, &rows, false), &rows).unwrap_or(1.0), 0));
    }
    Ok((quantile(&ratios, 0.5), ratios.len()))
}

/// Types of some cells: their centroids, and the axes in which their spread is a unit sphere.
struct Types {
    codes: Vec<u32>,
    /// S^(−1/2), dimension × axis.
    axes: Mat<f64>,
    /// Type × axis.
    centroids: Vec<Vec<f64>>,
}

impl Types {
    /// 2.
    fn of(x: &Dense, rows: &[usize], labels: &Coded, shrinkage: f64) -> Result<Self> {
        let d = x.n_cols;
        let mut sums = vec![(0usize, vec![0f64; d]); labels.levels.len()];
        for &i in rows {
            let sum = &mut sums[labels.codes[i] as usize];
            sum.0 += 1;
            sum.1.iter_mut().zip(x.row(i)).for_each(|(s, &v)| *s += f64::from(v));
        }
        let means: Vec<Option<Vec<f64>>> =
            sums.into_iter().map(|(n, s)| (n > 0).then(|| s.into_iter().map(|v| v / n as f64).collect())).collect();
        let codes: Vec<u32> = (0..means.len() as u32).filter(|&t| means[t as usize].is_some()).collect();
        if codes.len() < 2 || d == 0 {
            return Err(Error::Inconsistent {
                what: "labels for a novelty score".into(),
                problem: format!("{} types; it takes two at least", codes.len()),
            });
        }
        let centred = Mat::from_fn(rows.len(), d, |r, j| {
            let mean = means[labels.codes[rows[r]] as usize].as_ref().map_or(0.0, |m| m[j]);
            f64::from(x.row(rows[r])[j]) - mean
        });
        let mut spread = Mat::<f64>::zeros(d, d);
        let scale = 1.0 / rows.len() as f64;
        matmul(spread.as_mut(), Accum::Replace, centred.as_ref().transpose(), centred.as_ref(), scale);
        let trace: f64 = (0..d).map(|j| spread[(j, j)]).sum::<f64>().max(f64::MIN_POSITIVE);
        (0..d).for_each(|j| spread[(j, j)] += shrinkage * trace / d as f64);
        let Eigenpairs { values, vectors, .. } = eigenpairs(&spread)?;
        let axes = Mat::from_fn(d, d, |j, a| vectors[j * d + a] / values[a].max(f64::MIN_POSITIVE).sqrt());
        let on_axes = |m: &[f64]| (0..d).map(|a| (0..d).map(|j| m[j] * axes[(j, a)]).sum()).collect();
        let centroids = codes.iter().filter_map(|&t| means[t as usize].as_deref()).map(on_axes).collect();
        Ok(Types { codes, axes, centroids })
    }

    fn has(&self, label: u32) -> bool {
        self.codes.contains(&label)
    }

    /// 3 and 4: distance to the nearest type and which it is, of cells of one batch; without the batch's shift where
    /// that is not wanted.
    fn distances(&self, x: &Dense, rows: &[usize], shift: bool) -> Vec<(f64, u32)> {
        let d = x.n_cols;
        let points = Mat::from_fn(rows.len(), d, |r, j| f64::from(x.row(rows[r])[j]));
        let mut placed = Mat::<f64>::zeros(rows.len(), d);
        matmul(placed.as_mut(), Accum::Replace, points.as_ref(), self.axes.as_ref(), 1.0);
        let mut common = vec![0f64; d];
        let mut nearest = self.nearest(placed.as_ref(), &common);
        for _ in 0..if shift { ROUNDS } else { 0 } {
            let mut moved = Vec::new();
            for (t, centroid) in self.centroids.iter().enumerate() {
                let own: Vec<usize> = (0..rows.len()).filter(|&r| nearest[r].1 == t).collect();
                if own.len() >= MOVED.0.max(rows.len() / MOVED.1) {
                    let mean = |a: usize| own.iter().map(|&r| placed[(r, a)]).sum::<f64>() / own.len() as f64;
                    moved.push((0..d).map(|a| mean(a) - centroid[a]).collect::<Vec<f64>>());
                }
            }
            if moved.is_empty() {
                break;
            }
            common = (0..d).map(|a| quantile(&moved.iter().map(|m| m[a]).collect::<Vec<_>>(), 0.5)).collect();
            nearest = self.nearest(placed.as_ref(), &common);
        }
        nearest.into_iter().map(|(distance, t)| (distance, self.codes[t])).collect()
    }

    fn nearest(&self, placed: MatRef<'_, f64>, common: &[f64]) -> Vec<(f64, usize)> {
        let one = |r: usize| {
            let to = |c: &Vec<f64>| {
                c.iter().zip(common).enumerate().map(|(a, (c, s))| (placed[(r, a)] - s - c).powi(2)).sum::<f64>()
            };
            let squares = self.centroids.iter().map(to).enumerate();
            squares.fold((f64::INFINITY, 0), |best, (t, d)| if d < best.0 { (d, t) } else { best })
        };
        (0..placed.nrows()).map(one).map(|(square, t)| (square.sqrt(), t)).collect()
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

/// 1.
fn smoothed(x: &Dense, batches: &Coded, k: usize, search: &Search) -> Result<Dense> {
    let mut out = x.clone();
    for rows in groups(batches) {
        let k = k.min(rows.len() / 10).max(1);
        if k == 1 {
            continue;
        }
        let own = x.select_rows(&rows);
        let near = search.among(&own, k - 1, false)?.neighbours;
        for (at, &i) in rows.iter().enumerate() {
            let mut sum: Vec<f64> = own.row(at).iter().map(|&v| f64::from(v)).collect();
            for &j in near.row(at).0 {
                sum.iter_mut().zip(own.row(j as usize)).for_each(|(s, &v)| *s += f64::from(v));
            }
            out.row_mut(i).iter_mut().zip(sum).for_each(|(o, s)| *o = (s / k as f64) as f32);
        }
    }
    Ok(out)
}

/// The quantile q of some values, between neighbours by interpolation; 0 of none.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = q * last as f64;
    let Range { start, end } = at.floor() as usize..at.ceil() as usize;
    sorted[start] + (at - start as f64) * (sorted[end] - sorted[start])
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
        let (x, labels, studies) = cells(&[0, 1, 2, 3, 4], 60, 3, 0.5, 1);
        let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
        // A batch that moved further than any study, with a type that nobody knows.
        let (query, truth, _) = cells(&[0, 1, 2, 3, 4, 7], 100, 1, 3.0, 2);
        let one = coded(&vec![0; query.n_rows], 1);
        let found = novelty(&reference, &query, ("batch", &one), &NoveltyOptions::default(), &Search::Exact).unwrap();
        let called = |new: bool| {
            let own: Vec<usize> = (0..query.n_rows).filter(|&i| (truth.codes[i] == 7) == new).collect();
            own.iter().filter(|&&i| found.is_new(i)).count() as f64 / own.len() as f64
        };
        assert_eq!(found.n_held_out, 3);
        assert!(called(true) > 0.95, "{}", called(true));
        assert!(called(false) < 0.12, "{}", called(false));
    }

    #[test]
    fn a_reference_of_one_study_and_few_cells_are_enough() {
        let (x, labels, studies) = cells(&[0, 1, 2], 40, 1, 0.0, 3);
        let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
        let (query, _, batches) = cells(&[0, 6], 4, 1, 0.0, 4);
        let found =
            novelty(&reference, &query, ("batch", &batches), &NoveltyOptions::default(), &Search::Exact).unwrap();
        assert_eq!((found.n_held_out, found.score.len()), (0, 8));
        assert!((0..8).all(|i| found.score[i].is_finite()));
        let wrong = NoveltyOptions { false_alarms: 0.0, ..NoveltyOptions::default() };
        assert!(novelty(&reference, &query, ("batch", &batches), &wrong, &Search::Exact).is_err());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|q| quantile(&[3.0, 1.0, 2.0], q)), [1.0, 1.5, 2.0, 3.0]);
    }
}
