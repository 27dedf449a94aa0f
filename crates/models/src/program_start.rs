//! Programs before training.
//!
//! Programs that share genes can stand in for one another, and which of them comes to explain a signal is decided by the
//! first steps. From a random start that is chance: of two nested interferon programs one seed keeps the one and the
//! next seed the other. And a program whose genes start with one weight each learns the few that tell types apart late, or not
//! at all where cells are few. So the posterior means start as the scores S that a factor analysis finds (`factors.rs`), and the
//! decoder as its loadings W, in expression y of ln(1 + x · median of ℓ / ℓ) of counts, the value itself otherwise:
//!
//! 1. posterior mean 0.3 s[i, k],   decoder's weight w[k, g] / 0.3
//! 2. M = 0.3 Sᵀ H (Hᵀ H + ρ I)⁻¹,   ρ = 0.01 mean of diag(Hᵀ H),   b_m = −M h̅
//!
//! with S [cell × program] and H [cell × hidden] centred, H what the untrained layers make of the cells: a ridge regression
//! of scores on random features. Programs without genes keep the start that was drawn.

use scgraft_cells::{Kind, Prepared, for_rows};
use scgraft_engine::ParamId;
use scgraft_numeric::gemm::{Accum, Mat, matmul};
use scgraft_numeric::linear::{NotPositive, solve_positive};

use crate::factors::{Expressed, factors};
use crate::start::thinned_out;
use crate::{Membership, Model, ModelError};

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
/// Values that are looked at, of expression without zeros.
const VALUES: usize = 1 << 25;
/// Standard deviation of a score at the start. Larger ones hold on to it: 1 costs two points of label accuracy.
const SPREAD: f64 = 0.3;
/// ρ, as a share of the mean of Hᵀ H's diagonal.
const RIDGE: f64 = 0.01;

impl Model {
    /// Sets posterior means and decoder as above.
    pub(crate) fn start_programs(&mut self, head: ScoreHead, data: &Prepared) -> Result<(), ModelError> {
        let look = LOOK.min(VALUES / data.n_genes().max(1));
        let sample = data.select_cells(&thinned_out(&(0..data.n_cells()).collect::<Vec<_>>(), look));
        let sets: Vec<Vec<u32>> = self.header.programs().map(|(_, p)| p.members.clone()).collect();
        let constrained: Vec<bool> = sets.iter().map(|set| !set.is_empty()).collect();
        let none =
            |_| ModelError::Output("expimap: these cells give the untrained layers and programs no numbers".into());
        let found = factors(&expressed(&sample)?, &sets).map_err(none)?;

        let [mut weight, mut bias] = [head.weight, head.bias].map(|id| self.params.values(id).to_vec());
        let (programs, hidden) = (constrained.len(), self.params.get(head.weight).row_len());
        let mut h = self.hidden_units(head, &sample, hidden)?;
        let means: Vec<f64> = (0..hidden).map(|u| h.col(u).iter().sum::<f64>() / h.nrows() as f64).collect();
        (0..hidden).for_each(|u| h.col_mut(u).iter_mut().for_each(|h| *h -= means[u]));
        let slopes = ridge(&h, &found.scores).map_err(none)?; // 2
        for k in (0..programs).filter(|&k| constrained[k]) {
            let slope = |u: usize| SPREAD * slopes[(u, k)];
            weight[k * hidden..][..hidden].iter_mut().enumerate().for_each(|(u, w)| *w = slope(u) as f32);
            bias[k] = -means.iter().enumerate().map(|(u, mean)| mean * slope(u)).sum::<f64>() as f32;
        }
        self.params.write(head.weight).copy_from_slice(&weight);
        self.params.write(head.bias).copy_from_slice(&bias);

        let start = |w: f64| (w / SPREAD) as f32; // 1
        let mut from = 0;
        for segment in &self.header.segments {
            let own = from..from + segment.programs.len();
            from = own.end;
            let weights = self.params.id(&segment.tensor()).map(|id| self.params.write(id));
            let Some(weights) = weights.filter(|_| segment.membership != Membership::Free) else { continue };
            let loadings = &found.loadings[own.clone()];
            if segment.membership == Membership::Hard {
                weights.iter_mut().zip(loadings.iter().flatten()).for_each(|(value, &w)| *value = start(w));
                continue;
            }
            for ((row, set), w) in weights.chunks_exact_mut(data.n_genes()).zip(&sets[own]).zip(loadings) {
                set.iter().zip(w).for_each(|(&g, &w)| row[g as usize] = start(w));
            }
        }
        Ok(())
    }

    /// H: read through the head, which lets as many units pass at a time as there are programs.
    fn hidden_units(&mut self, head: ScoreHead, sample: &Prepared, hidden: usize) -> Result<Mat<f64>, ModelError> {
        let programs = self.params.get(head.weight).rows();
        let mut h = Mat::<f64>::zeros(sample.n_cells(), hidden);
        self.params.write(head.bias).fill(0.0);
        for first in (0..hidden).step_by(programs.max(1)) {
            let some = first..(first + programs).min(hidden);
            let weight = self.params.write(head.weight);
            weight.fill(0.0);
            some.clone().for_each(|u| weight[(u - first) * hidden + u] = 1.0);
            let means = self.latent(sample)?.0;
            for i in 0..sample.n_cells() {
                some.clone().for_each(|u| h[(i, u)] = f64::from(means.row(i)[u - first]));
            }
        }
        Ok(h)
    }
}

/// y, what is not zero of it.
fn expressed(sample: &Prepared) -> Result<Expressed, ModelError> {
    let n = sample.n_cells();
    let mut sizes = sample.library.clone();
    sizes.sort_by(f32::total_cmp);
    let median = f64::from(sizes[n / 2]);
    let mut found = Expressed { n_genes: sample.n_genes(), ..Expressed::default() };
    for_rows(&*sample.expression, &(0..n).collect::<Vec<_>>(), |i, genes, values| {
        let y = |x: f32| match sample.kind {
            Kind::Counts => (f64::from(x) * median / f64::from(sample.library[i]).max(1.0)).ln_1p(),
            Kind::LogNormalised => f64::from(x),
        };
        found.values.extend(genes.iter().zip(values).map(|(&g, &x)| (g, y(x))));
        found.ends.push(found.values.len());
    })?;
    Ok(found)
}

/// (Hᵀ H + ρ I)⁻¹ Hᵀ S of H [cell × hidden] and Sᵀ [program × cell]: [hidden × program].
fn ridge(h: &Mat<f64>, s: &Mat<f64>) -> Result<Mat<f64>, NotPositive> {
    let product = |right, cols| {
        let mut c = Mat::<f64>::zeros(h.ncols(), cols);
        matmul(c.as_mut(), Accum::Replace, h.transpose(), right, 1.0);
        c
    };
    let mut gram = product(h.as_ref(), h.ncols());
    let rho = RIDGE * (0..h.ncols()).map(|u| gram[(u, u)]).sum::<f64>() / h.ncols() as f64;
    (0..h.ncols()).for_each(|u| gram[(u, u)] += rho.max(f64::MIN_POSITIVE));
    solve_positive(&gram, &product(s.transpose(), s.nrows()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_finds_planted_slopes() {
        // 200 cells, 4 units, 2 scores that are sums of units.
        let unit = |i: usize, u: usize| ((i * (u + 3) * 37 + u * 11) % 101) as f64 / 50.0 - 1.0;
        let mut h = Mat::from_fn(200, 4, unit);
        for u in 0..4 {
            let mean = h.col(u).iter().sum::<f64>() / 200.0;
            h.col_mut(u).iter_mut().for_each(|h| *h -= mean);
        }
        let s = Mat::from_fn(2, 200, |k, i| if k == 0 { h[(i, 0)] + 2.0 * h[(i, 1)] } else { -h[(i, 3)] });
        let slopes = ridge(&h, &s).unwrap();
        for (u, k, expected) in [(0, 0, 1.0), (1, 0, 2.0), (2, 0, 0.0), (3, 0, 0.0), (3, 1, -1.0), (0, 1, 0.0)] {
            assert!((slopes[(u, k)] - expected).abs() < 0.05, "{u} {k}: {}", slopes[(u, k)]);
        }
    }
}
