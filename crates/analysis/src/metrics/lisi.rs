//! Graph iLISI and cLISI: how many batches, or cell types, a cell effectively has around it.
//!
//! The neighbours of a cell get weights p ∝ exp(−β d), β chosen so that their entropy is
//! ln(perplexity); LISI = 1 / Σ_levels (Σ_{neighbours of the level} p)², between 1 and the number
//! of levels. Source: Korsunsky et al., *Nat Methods* 2019; scaled as in Luecken et al. 2022.
//!
//! scib-metrics stops its bisection where the entropy is within 1e-5, here it is within 1e-6; values
//! agree to about 1e-5.

use rayon::prelude::*;
use scgraft_cells::Coded;
use scgraft_numeric::math::exp2;

use super::Groups;
use crate::Neighbours;
use crate::error::{Error, Result};

/// Cells in a task.
const BLOCK: usize = 256;
const TOLERANCE: f64 = 1e-6;
/// Partial sums in the innermost loop.
const LANES: usize = 8;
const MOST_STEPS: usize = 60;

/// The local inverse Simpson index of each cell for each of several label columns.
///
/// One list of values (one a cell) for each column. The perplexity, the effective number of neighbours, is a third of the
/// neighbours, the cell itself counted.
///
/// # Errors
/// Neighbours or labels of another length; fewer than three neighbours, the cell itself counted.
pub fn lisi(neighbours: &Neighbours, columns: &[&Coded]) -> Result<Vec<Vec<f64>>> {
    let n = neighbours.n_rows();
    neighbours.check_among(n)?;
    let groups = columns.iter().map(|c| Groups::new("LISI labels", c, n, 1)).collect::<Result<Vec<_>>>()?;
    let k = neighbours.others(0).count();
    if k < 2 {
        return Err(Error::Parameter {
            name: "neighbours of LISI",
            value: (k + 1).to_string(),
            expected: "at least 3, the cell itself counted",
        });
    }
    let perplexity = ((k + 1) / 3) as f64;
    let mut out = vec![vec![0f64; n]; columns.len()];
    let rows: Vec<Vec<f64>> = (0..n.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let mut values = Vec::with_capacity(BLOCK * groups.len());
            let (mut near, mut distances, mut weights) = (Vec::new(), Vec::new(), Vec::new());
            let mut shares = Vec::new();
            for i in block * BLOCK..((block + 1) * BLOCK).min(n) {
                near.clear();
                distances.clear();
                for (j, d) in neighbours.others(i) {
                    near.push(j);
                    distances.push(d);
                }
                weigh(&mut distances, perplexity, &mut weights);
                for g in &groups {
                    shares.clear();
                    shares.resize(g.sizes.len(), 0f64);
                    for (&j, &p) in near.iter().zip(&weights) {
                        shares[g.codes[j] as usize] += f64::from(p);
                    }
                    // The weights sum to 1 only as far as `f32` goes; dividing by their sum keeps LISI at least 1.
                    let all: f64 = shares.iter().sum();
                    values.push(all * all / shares.iter().map(|s| s * s).sum::<f64>());
                }
            }
            values
        })
        .collect();
    for (i, values) in rows.iter().flat_map(|r| r.chunks_exact(groups.len())).enumerate() {
        for (column, &v) in out.iter_mut().zip(values) {
            column[i] = v;
        }
    }
    Ok(out)
}

/// Weights p ∝ exp(−β d) with entropy ln(perplexity), by Newton steps kept inside a bracket.
///
/// H = ln Z + β ⟨d⟩ falls with β: dH/dβ = −β Var(d). `distances` become those beyond the nearest.
fn weigh(distances: &mut [f32], perplexity: f64, weights: &mut Vec<f32>) {
    let nearest = distances.iter().copied().fold(f32::INFINITY, f32::min);
    distances.iter_mut().for_each(|d| *d -= nearest);
    let target = perplexity.ln();
    let spread = distances.iter().map(|&d| f64::from(d)).sum::<f64>() / distances.len().max(1) as f64;
    weights.clear();
    weights.resize(distances.len(), 1.0);
    // All at the same distance: any β gives equal weights.
    let mut beta = if spread > 0.0 { 1.0 / spread } else { 0.0 };
    let (mut low, mut high) = (0f64, f64::INFINITY);
    for _ in 0..MOST_STEPS {
        let (z, first, second) = moments(distances, beta as f32, weights);
        let average = first / z;
        let difference = z.ln() + beta * average - target;
        if difference.abs() < TOLERANCE || spread == 0.0 {
            break;
        }
        if difference > 0.0 {
            low = beta;
        } else {
            high = beta;
        }
        let slope = beta * (second / z - average * average);
        let newton = beta + difference / slope;
        let middle = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * beta };
        beta = if slope > 0.0 && newton > low && newton < high { newton } else { middle };
        if high.is_finite() && high - low <= f64::from(f32::EPSILON) * high {
            break;
        }
    }
    let total: f32 = weights.iter().sum();
    weights.iter_mut().for_each(|p| *p /= total);
}

/// Sums of w = exp(−β d), w d and w d², over lanes that are added up in `f64`.
fn moments(distances: &[f32], beta: f32, weights: &mut [f32]) -> (f64, f64, f64) {
    for (w, &d) in weights.iter_mut().zip(distances) {
        *w = exp2(-beta * d * std::f32::consts::LOG2_E);
    }
    let mut lanes = [[0f32; LANES]; 3];
    for (w, d) in weights.chunks(LANES).zip(distances.chunks(LANES)) {
        for (l, (&w, &d)) in w.iter().zip(d).enumerate() {
            lanes[0][l] += w;
            lanes[1][l] += w * d;
            lanes[2][l] += w * d * d;
        }
    }
    let sum = |lane: &[f32; LANES]| lane.iter().map(|&v| f64::from(v)).sum::<f64>();
    (sum(&lanes[0]), sum(&lanes[1]), sum(&lanes[2]))
}

/// The median of the values that are not NaN.
fn median(values: &[f64]) -> f64 {
    let mut v: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    v.sort_unstable_by(f64::total_cmp);
    match v.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => v[n / 2],
        n => 0.5 * (v[n / 2 - 1] + v[n / 2]),
    }
}

/// Graph iLISI, scaled: (median LISI of the batches − 1) / (batches − 1). 1: all batches around every cell.
///
/// # Errors
/// As [`lisi`]; a single batch.
pub fn ilisi(neighbours: &Neighbours, batch: &Coded) -> Result<f64> {
    let groups = Groups::new("batch", batch, neighbours.n_rows(), 2)?;
    Ok(scale_ilisi(&lisi(neighbours, &[batch])?[0], groups.sizes.len()))
}

/// Graph cLISI, scaled: (types − median LISI of the types) / (types − 1). 1: one type around every cell.
///
/// # Errors
/// As [`lisi`]; a single cell type.
pub fn clisi(neighbours: &Neighbours, cell_types: &Coded) -> Result<f64> {
    let groups = Groups::new("cell type", cell_types, neighbours.n_rows(), 2)?;
    Ok(scale_clisi(&lisi(neighbours, &[cell_types])?[0], groups.sizes.len()))
}

/// Both scores from one pass: (iLISI, cLISI).
pub(crate) fn both(neighbours: &Neighbours, batch: &Coded, cell_types: &Coded) -> Result<(f64, f64)> {
    let batches = Groups::new("batch", batch, neighbours.n_rows(), 2)?;
    let types = Groups::new("cell type", cell_types, neighbours.n_rows(), 2)?;
    let values = lisi(neighbours, &[batch, cell_types])?;
    Ok((scale_ilisi(&values[0], batches.sizes.len()), scale_clisi(&values[1], types.sizes.len())))
}

fn scale_ilisi(values: &[f64], levels: usize) -> f64 {
    (median(values) - 1.0) / (levels - 1) as f64
}

fn scale_clisi(values: &[f64], levels: usize) -> f64 {
    (levels as f64 - median(values)) / (levels - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_reach_the_entropy_asked_for() {
        let distances: Vec<f32> = (0..40).map(|j| 3.0 + (j as f32).sqrt()).collect();
        for perplexity in [2.0, 10.0, 30.0] {
            let mut p = Vec::new();
            weigh(&mut distances.clone(), perplexity, &mut p);
            let entropy: f64 = -p.iter().map(|&x| f64::from(x)).filter(|&x| x > 0.0).map(|x| x * x.ln()).sum::<f64>();
            assert!((entropy - f64::ln(perplexity)).abs() < 3e-6, "{entropy}");
        }
    }

    #[test]
    fn extremes() {
        let neighbours = Neighbours {
            k: 4,
            indices: (0..8u32).flat_map(|i| (1..5).map(move |s| (i + s) % 8)).collect(),
            distances: vec![1.0; 32],
        };
        let coded = |codes: Vec<u32>| Coded { codes, levels: vec!["a".into(), "b".into()] };
        // Alternating batches: every cell sees two of each.
        let batch = coded((0..8).map(|i| i % 2).collect());
        assert!((ilisi(&neighbours, &batch).unwrap() - 1.0).abs() < 1e-12);
        assert!(clisi(&neighbours, &batch).unwrap().abs() < 1e-12);
        let one = coded(vec![0; 8]);
        assert!(matches!(ilisi(&neighbours, &one), Err(Error::TooFewLevels { .. })));
    }
}
