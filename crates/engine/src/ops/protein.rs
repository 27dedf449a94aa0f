//! Likelihood of protein counts: a mixture of two negative binomials, background and foreground.
//!
//! μ₁ = e^{c + b} (b: log background of a cell's protein, c: log efficiency of its batch),
//! μ₂ = μ₁ (1 + max(f, 0) + 1e-8), mixing logits m of the background, NB as in `nb`:
//!
//! ln p(y) = ln(NB(y; μ₁, θ) + e^−m NB(y; μ₂, θ)) − ln(1 + e^−m), summed over observed proteins.
//!
//! All are [cell × protein]; what the two components share (ln Γ terms) is computed once.

use rayon::prelude::*;
use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::batch::Codes;
use crate::ops::counts::{EPSILON, LnFactorials};
use crate::ops::dispersion::Theta;
use crate::params::ParamId;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

/// What the protein likelihood reads.
#[derive(Clone, Copy, Debug)]
pub struct ProteinMixture<'a> {
    /// b, log background rates.
    pub log_background: Var,
    /// f, before the ReLU; the foreground is 1 + max(f, 0) times the background.
    pub foreground: Var,
    /// m, logits of the background.
    pub mixing: Var,
    /// Log inverse dispersions, [group × protein], with each cell's group.
    pub log_theta: (ParamId, &'a Codes),
    /// c, [batch × protein], with each cell's batch; none means zero.
    pub log_efficiency: Option<(ParamId, &'a Codes)>,
    /// Counts, [cell × protein]; those of proteins that were not measured are not read.
    pub counts: &'a [f32],
    /// 1 for proteins that were measured and 0 for others, [panel × protein], with each cell's panel.
    pub observed: (&'a [f32], &'a Codes),
}

/// Cells a task.
const CELLS: usize = 16;
/// Σ of slopes: by background (and efficiency), foreground, mixing, dispersion.
const SLOPES: usize = 4;

struct Protein<'a> {
    mixture: ProteinMixture<'a>,
    y: Var,
    slopes: [Vec<f32>; SLOPES],
}

impl<'a> Tape<'a> {
    /// −ln p(y) of each cell, summed over its observed proteins, [cell × 1].
    pub fn protein_mixture(&mut self, mixture: ProteinMixture<'a>) -> Var {
        let ProteinMixture { log_background, foreground, mixing, .. } = mixture;
        let shape = self.shape(log_background);
        let (cells, width) = (shape.cells, shape.features);
        debug_assert_eq!(shape.layout, Layout::ByCell);
        debug_assert_eq!((self.shape(foreground), self.shape(mixing)), (shape, shape));
        debug_assert_eq!(mixture.counts.len(), shape.len());
        let (log_theta, groups) = mixture.log_theta;
        let theta = Theta::new(self.params().values(log_theta), width, groups);
        let efficiency = mixture.log_efficiency.map(|(c, codes)| (self.params().values(c), codes));
        let none = vec![0f32; width];
        let mut loss = self.buffer(cells);
        let mut slopes = [0; SLOPES].map(|_| self.buffer(shape.len()));
        let [s0, s1, s2, s3] = &mut slopes;
        let size = CELLS * width;
        let first = s0.par_chunks_mut(size).zip(s1.par_chunks_mut(size));
        let second = s2.par_chunks_mut(size).zip(s3.par_chunks_mut(size));
        let inputs = (self.value(log_background), self.value(foreground), self.value(mixing));
        let tasks = first.zip(second).zip(loss.par_chunks_mut(CELLS)).enumerate();
        tasks.for_each(|(task, (((s0, s1), (s2, s3)), loss))| {
            for (i, loss) in loss.iter_mut().enumerate() {
                let cell = task * CELLS + i;
                let (all, own) = (cell * width..(cell + 1) * width, i * width..(i + 1) * width);
                let row = |codes: &Codes| codes.codes[cell] as usize * width..(codes.codes[cell] as usize + 1) * width;
                let c = efficiency.map_or(&none[..], |(values, codes)| &values[row(codes)]);
                let group = row(groups);
                *loss = cell_loss(
                    (&inputs.0[all.clone()], &inputs.1[all.clone()], &inputs.2[all.clone()]),
                    c,
                    (&theta.theta[group.clone()], &theta.gamma[group]),
                    &mixture.counts[all],
                    &mixture.observed.0[row(mixture.observed.1)],
                    (&mut s0[own.clone()], &mut s1[own.clone()], &mut s2[own.clone()], &mut s3[own]),
                );
            }
        });
        let needs = [log_background, foreground, mixing].iter().any(|&v| self.needs(v))
            || self.trains(log_theta)
            || mixture.log_efficiency.is_some_and(|e| self.trains(e.0));
        let y = self.push(Shape::by_cell(cells, 1), loss, needs);
        if self.needs(y) {
            self.record(Protein { mixture, y, slopes });
        } else {
            slopes.into_iter().for_each(|d| self.recycle(d));
        }
        y
    }
}

impl Backward for Protein<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let m = self.mixture;
        let [by_background, by_foreground, by_mixing, by_theta] = &self.slopes;
        gather_rows(m.log_theta.0, m.log_theta.1, by_theta, &gy, back);
        if let Some((c, codes)) = m.log_efficiency {
            gather_rows(c, codes, by_background, &gy, back);
        }
        let vars = [(m.log_background, by_background), (m.foreground, by_foreground), (m.mixing, by_mixing)];
        for (var, slope) in vars {
            send_rows(var, slope, &gy, back);
        }
        back.recycle(gy);
        self.slopes.into_iter().for_each(|d| back.recycle(d));
    }
}

/// Adds each cell's row of slopes, times its gradient, to its group's row of a tensor.
pub(crate) fn gather_rows(tensor: ParamId, codes: &Codes, slopes: &[f32], gy: &[f32], back: &mut Back<'_>) {
    if !back.trains(tensor) {
        return;
    }
    let trainable = back.params.get(tensor).trainable.clone();
    let width = slopes.len() / gy.len().max(1);
    let out = back.tensor(tensor);
    for ((row, &g), &code) in slopes.chunks_exact(width.max(1)).zip(gy).zip(&codes.codes) {
        let code = code as usize;
        if trainable.iter().any(|r| r.contains(&code)) {
            out[code * width..(code + 1) * width].iter_mut().zip(row).for_each(|(o, &v)| *o += g * v);
        }
    }
}

/// Adds each cell's row of slopes, times its gradient, to the gradient of an activation by cell.
pub(crate) fn send_rows(var: Var, slopes: &[f32], gy: &[f32], back: &mut Back<'_>) {
    if !back.needs(var) {
        return;
    }
    let width = back.shape(var).features;
    let mut g = back.take_or_zero(var);
    for ((o, row), &gy) in g.chunks_exact_mut(width).zip(slopes.chunks_exact(width)).zip(gy) {
        o.iter_mut().zip(row).for_each(|(o, &v)| *o += gy * v);
    }
    back.put(var, g);
}

kernel! {
/// The loss of one cell, and its slopes.
fn cell_loss(
    s, inputs: (&[f32], &[f32], &[f32]), efficiency: &[f32], theta: (&[f32], &[(f64, f64)]),
    counts: &[f32], observed: &[f32],
    slopes: (&mut [f32], &mut [f32], &mut [f32], &mut [f32]),
) -> f32 {
    let (log_background, foreground, mixing) = inputs;
    let (by_background, by_foreground, by_mixing, by_theta) = slopes;
    let eps = f64::from(EPSILON);
    let mut total = 0f64;
    for p in 0..counts.len() {
        if observed[p] == 0.0 {
            (by_background[p], by_foreground[p], by_mixing[p], by_theta[p]) = (0.0, 0.0, 0.0, 0.0);
            continue;
        }
        let (y, t, (lg_t, psi_t)) = (f64::from(counts[p]), f64::from(theta.0[p]), theta.1[p]);
        let m1 = f64::from(math::exp(s, log_background[p] + efficiency[p]));
        let m2 = m1 * (1.0 + f64::from(foreground[p].max(0.0)) + eps);
        let (lg, psi) = math::lgamma_digamma(s, y + t);
        let ln_te = math::ln64(s, t + eps);
        let (sum1, sum2) = (t + m1 + eps, t + m2 + eps);
        let (ln_sum1, ln_sum2) = (math::ln64(s, sum1), math::ln64(s, sum2));
        let shared = lg - lg_t - LnFactorials::table().of(counts[p]);
        let nb1 = shared + t * (ln_te - ln_sum1) + y * (math::ln64(s, m1 + eps) - ln_sum1);
        let nb2 = shared + t * (ln_te - ln_sum2) + y * (math::ln64(s, m2 + eps) - ln_sum2);
        // ln(e^nb1 + e^(nb2 − m)) = nb1 + s(gap); the share of the foreground is its slope.
        let gap = (nb2 - nb1) as f32 - mixing[p];
        let r2 = math::logistic(s, gap);
        let r1 = math::logistic(s, -gap);
        let high = if gap > 0.0 { nb2 - f64::from(mixing[p]) } else { nb1 };
        let small = f64::from(math::ln_1p(s, math::exp(s, -gap.abs())));
        total -= high + small - f64::from(math::softplus(s, -mixing[p]));
        // d ln NB/dμ, times μ; d ln NB/dΘ.
        let by_mu = |m: f64, sum: f64| m * (y / (m + eps) - (y + t) / sum);
        let by_t = |ln_sum: f64, sum: f64| t * (psi - psi_t + ln_te - ln_sum + t / (t + eps) - (y + t) / sum);
        let (g1, g2) = (by_mu(m1, sum1) as f32, by_mu(m2, sum2) as f32);
        by_background[p] = -(r1 * g1 + r2 * g2);
        by_foreground[p] = if foreground[p] > 0.0 { -r2 * g2 * (m1 / m2) as f32 } else { 0.0 };
        by_mixing[p] = r2 - math::logistic(s, -mixing[p]);
        by_theta[p] = -(r1 * by_t(ln_sum1, sum1) as f32 + r2 * by_t(ln_sum2, sum2) as f32);
    }
    total as f32
}
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::isa::Fused;

    use super::*;
    use crate::ops::check::Check;
    use crate::params::Axis;

    #[test]
    fn values_and_gradients() {
        const CELLS: usize = 20;
        const WIDTH: usize = 4;
        let counts: Vec<f32> = (0..CELLS * WIDTH).map(|i| [0.0, 3.0, 1.0, 250.0, 12.0, 40.0, 7.0][i % 7]).collect();
        let observed: Vec<f32> = (0..3 * WIDTH).map(|i| if i == 5 || i == 8 { 0.0 } else { 1.0 }).collect();
        let groups = Codes::new(vec![0; CELLS]);
        let batches = Codes::new((0..CELLS as u32).map(|c| c % 3).collect());
        for with_efficiency in [true, false] {
            let mut check = Check::new();
            check.tolerance = 1e-4;
            let shape = Shape::by_cell(CELLS, WIDTH);
            let (b, f, m) = (check.input("b", shape), check.input("f", shape), check.input("m", shape));
            let theta = check.param("theta", &[(Axis::One, 1), (Axis::Protein, WIDTH)]);
            let c = check.param("c", &[(Axis::Condition, 3), (Axis::Protein, WIDTH)]);
            check.train_rows(c, 1..3);
            let (ys, seen) = (counts.clone(), observed.clone());
            check.twin(move |v| {
                let lgamma = |x: f64| math::lgamma_digamma(Fused, x).0;
                let term = |at: usize| {
                    let (p, batch) = (at % WIDTH, (at / WIDTH) % 3);
                    if seen[batch * WIDTH + p] == 0.0 {
                        return 0.0;
                    }
                    let e = if with_efficiency { v.param(c)[batch * WIDTH + p] } else { 0.0 };
                    let m1 = (v.input(b)[at] + e).exp();
                    let m2 = m1 * (1.0 + v.input(f)[at].max(0.0));
                    let (t, y, mix) = (v.param(theta)[p].exp(), f64::from(ys[at]), v.input(m)[at]);
                    let nb = |mu: f64| {
                        lgamma(y + t) - lgamma(t) - lgamma(y + 1.0) + t * (t / (t + mu)).ln() + y * (mu / (t + mu)).ln()
                    };
                    let background = 1.0 / (1.0 + (-mix).exp());
                    -(background * nb(m1).exp() + (1.0 - background) * nb(m2).exp()).ln()
                };
                (0..CELLS).map(|i| (0..WIDTH).map(|p| term(i * WIDTH + p)).sum()).collect()
            });
            check.run(|t, v| {
                t.protein_mixture(ProteinMixture {
                    log_background: v.input(b),
                    foreground: v.input(f),
                    mixing: v.input(m),
                    log_theta: (v.param(theta), &groups),
                    log_efficiency: with_efficiency.then_some((v.param(c), &batches)),
                    counts: &counts,
                    observed: (&observed, &batches),
                })
            });
        }
    }
}
