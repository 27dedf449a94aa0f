//! Program scores before training: the mean expression of each program's genes.
//!
//! Programs that share genes can stand in for one another, and which of them comes to explain a signal is decided by the
//! first steps. From a random encoder that is chance: of two nested interferon programs one seed keeps the one and the
//! next seed the other. So the posterior means start as scores that the data give. With y the expression of gene g in cell
//! i (ln(1 + x · median of ℓ / ℓ) of counts, the value itself otherwise), of mean y̅ and standard deviation d over cells,
//!
//! 1. s[i, k] ∝ Σ_{g in k} (y[i, g] − y̅[g]) / max(d[g], 0.05),   standard deviation over cells 0.3
//! 2. M = Sᵀ H (Hᵀ H + ρ I)⁻¹,   ρ = 0.01 mean of diag(Hᵀ H),   b_m = −M h̅
//!
//! with S [cell × program] and H [cell × hidden] centred, H what the untrained layers make of the cells: a ridge regression
//! of scores on random features. Programs without genes keep the start that was drawn.

use scgraft_cells::{Kind, Prepared, for_rows};
use scgraft_engine::ParamId;
use scgraft_numeric::eigen;
use scgraft_numeric::gemm::{Accum, Mat, by_rows, matmul};

use crate::start::thinned_out;
use crate::{Model, ModelError};

/// Where the posterior mean of program scores is made of the last hidden layer: m = h Mᵀ + b_m.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreHead {
    /// M, [program × hidden].
    pub weight: ParamId,
    /// b_m, [program].
    pub bias: ParamId,
}

/// Cells that are looked at.
const LOOK: usize = 4096;
/// Standard deviation of a score at the start. Larger ones hold on to it: 1 costs two points of label accuracy.
const SPREAD: f64 = 0.3;
/// The least standard deviation of a gene: those hardly expressed do not lead.
const LEAST: f64 = 0.05;
/// ρ, as a share of the mean of Hᵀ H's diagonal.
const RIDGE: f64 = 0.01;

impl Model {
    /// Sets the head so that posterior means are near equation 1.
    pub(crate) fn start_scores(&mut self, head: ScoreHead, data: &Prepared) -> Result<(), ModelError> {
        let sample = data.select_cells(&thinned_out(&(0..data.n_cells()).collect::<Vec<_>>(), LOOK));
        let n = sample.n_cells();
        let drawn = [head.weight, head.bias].map(|id| self.params.get(id).values().to_vec());
        let (programs, hidden) = (self.params.get(head.weight).rows(), self.params.get(head.weight).row_len());
        let mut h = self.hidden_units(head, &sample, hidden)?;
        let mut s = self.mean_expression(&sample)?; // 1
        let centre = centre(&mut h, n, hidden);
        centre_and_scale(&mut s, n, programs);
        let slopes =
            ridge((&h, hidden), (&s, programs), n) // 2
                .map_err(|_| {
                    ModelError::Output("expimap: the untrained layers give no numbers for these cells".into())
                })?;
        let [mut weight, mut bias] = drawn;
        let constrained: Vec<bool> = self.header.programs().map(|(_, p)| !p.members.is_empty()).collect();
        for k in (0..programs).filter(|&k| constrained[k]) {
            let row = &mut weight[k * hidden..][..hidden];
            row.iter_mut().enumerate().for_each(|(u, w)| *w = slopes[(u, k)] as f32); // 2
            bias[k] = -centre.iter().enumerate().map(|(u, c)| c * slopes[(u, k)]).sum::<f64>() as f32; // 2
        }
        self.params.write(head.weight).copy_from_slice(&weight);
        self.params.write(head.bias).copy_from_slice(&bias);
        Ok(())
    }

    /// H: read through the head, which lets as many units pass at a time as there are programs.
    fn hidden_units(&mut self, head: ScoreHead, sample: &Prepared, hidden: usize) -> Result<Vec<f64>, ModelError> {
        let n = sample.n_cells();
        let programs = self.params.get(head.weight).rows();
        let mut h = vec![0f64; n * hidden];
        self.params.write(head.bias).fill(0.0);
        for first in (0..hidden).step_by(programs.max(1)) {
            let some = first..(first + programs).min(hidden);
            let weight = self.params.write(head.weight);
            weight.fill(0.0);
            some.clone().for_each(|u| weight[(u - first) * hidden + u] = 1.0);
            let means = self.latent(sample)?.0;
            for (i, h) in h.chunks_exact_mut(hidden).enumerate() {
                some.clone().for_each(|u| h[u] = f64::from(means.row(i)[u - first]));
            }
        }
        Ok(h)
    }

    /// Σ_{g in k} y[i, g] / max(d[g], 0.05), [cell × program].
    fn mean_expression(&self, sample: &Prepared) -> Result<Vec<f64>, ModelError> {
        let (n, genes, programs) = (sample.n_cells(), sample.n_genes(), self.header.n_programs());
        let all: Vec<usize> = (0..n).collect();
        let mut sizes = sample.library.clone();
        sizes.sort_by(f32::total_cmp);
        let median = f64::from(sizes[n / 2]);
        let y = |i: usize, x: f32| match sample.kind {
            Kind::Counts => (f64::from(x) * median / f64::from(sample.library[i]).max(1.0)).ln_1p(),
            Kind::LogNormalised => f64::from(x),
        };
        let (mut sums, mut squares) = (vec![0f64; genes], vec![0f64; genes]);
        for_rows(&*sample.expression, &all, |i, columns, values| {
            for (&g, &x) in columns.iter().zip(values) {
                sums[g as usize] += y(i, x);
                squares[g as usize] += y(i, x).powi(2);
            }
        })?;
        let deviation = |g: usize| (squares[g] / n as f64 - (sums[g] / n as f64).powi(2)).max(0.0).sqrt().max(LEAST);
        let deviations: Vec<f64> = (0..genes).map(deviation).collect();
        let mut of_gene = vec![Vec::new(); genes];
        for (k, (_, program)) in self.header.programs().enumerate() {
            program.members.iter().for_each(|&g| of_gene[g as usize].push(k));
        }
        let mut s = vec![0f64; n * programs];
        for_rows(&*sample.expression, &all, |i, columns, values| {
            for (&g, &x) in columns.iter().zip(values) {
                let part = y(i, x) / deviations[g as usize];
                of_gene[g as usize].iter().for_each(|&k| s[i * programs + k] += part);
            }
        })?;
        Ok(s)
    }
}

/// Takes the columns' means away, and gives them.
fn centre(values: &mut [f64], rows: usize, cols: usize) -> Vec<f64> {
    let mut means = vec![0f64; cols];
    values.chunks_exact(cols).for_each(|row| means.iter_mut().zip(row).for_each(|(m, v)| *m += v / rows as f64));
    values.chunks_exact_mut(cols).for_each(|row| row.iter_mut().zip(&means).for_each(|(v, m)| *v -= m));
    means
}

/// Columns of mean 0 and standard deviation 0.3; what does not vary stays at 0.
fn centre_and_scale(values: &mut [f64], rows: usize, cols: usize) {
    centre(values, rows, cols);
    let mut squares = vec![0f64; cols];
    values.chunks_exact(cols).for_each(|row| squares.iter_mut().zip(row).for_each(|(s, v)| *s += v * v));
    let factors: Vec<f64> =
        squares.iter().map(|s| if *s > 0.0 { SPREAD / (s / rows as f64).sqrt() } else { 0.0 }).collect();
    values.chunks_exact_mut(cols).for_each(|row| row.iter_mut().zip(&factors).for_each(|(v, f)| *v *= f));
}

/// (Hᵀ H + ρ I)⁻¹ Hᵀ S, [hidden × program].
fn ridge(
    (h, hidden): (&[f64], usize),
    (s, programs): (&[f64], usize),
    n: usize,
) -> Result<Mat<f64>, eigen::NotConverged> {
    let (h, s) = (by_rows(h, n, hidden), by_rows(s, n, programs));
    let product = |a, b, rows, cols| {
        let mut c = Mat::<f64>::zeros(rows, cols);
        matmul(c.as_mut(), Accum::Replace, a, b, 1.0);
        c
    };
    let gram = product(h.transpose(), h, hidden, hidden);
    let rho = RIDGE * (0..hidden).map(|u| gram[(u, u)]).sum::<f64>() / hidden as f64;
    let flat: Vec<f64> = (0..hidden * hidden).map(|i| gram[(i / hidden, i % hidden)]).collect();
    let (values, vectors) = eigen::decompose(&flat, hidden)?;
    let cross = product(h.transpose(), s, hidden, programs);
    let mut rotated = product(vectors.transpose(), cross.as_ref(), hidden, programs);
    for k in 0..programs {
        (0..hidden).for_each(|u| rotated[(u, k)] /= values[u].max(0.0) + rho.max(f64::MIN_POSITIVE));
    }
    Ok(product(vectors.as_ref(), rotated.as_ref(), hidden, programs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_finds_planted_slopes() {
        // 200 cells, 4 units, 2 scores that are sums of units.
        let n = 200;
        let unit = |i: usize, u: usize| ((i * (u + 3) * 37 + u * 11) % 101) as f64 / 50.0 - 1.0;
        let mut h: Vec<f64> = (0..n * 4).map(|i| unit(i / 4, i % 4)).collect();
        centre(&mut h, n, 4);
        let s: Vec<f64> = h.chunks_exact(4).flat_map(|h| [h[0] + 2.0 * h[1], -h[3]]).collect();
        let slopes = ridge((&h, 4), (&s, 2), n).unwrap();
        for (u, k, expected) in [(0, 0, 1.0), (1, 0, 2.0), (2, 0, 0.0), (3, 0, 0.0), (3, 1, -1.0), (0, 1, 0.0)] {
            assert!((slopes[(u, k)] - expected).abs() < 0.05, "{u} {k}: {}", slopes[(u, k)]);
        }
    }

    #[test]
    fn columns_have_the_deviation_asked_for() {
        let mut s = vec![1.0, 5.0, 2.0, 5.0, 6.0, 5.0];
        centre_and_scale(&mut s, 3, 2);
        let square: f64 = s.iter().step_by(2).map(|v| v * v).sum();
        assert!((square / 3.0 - SPREAD * SPREAD).abs() < 1e-12 && s.iter().skip(1).step_by(2).all(|&v| v == 0.0));
    }
}
