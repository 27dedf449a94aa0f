//! Hilbert–Schmidt independence criterion between latent variables, as a penalty.
//!
//! For kernel matrices K of one group of variables and L of another over the n cells of a batch,
//! HSIC = mean(K ∘ L) + mean(K) mean(L) − 2 mean_i(K̄_i L̄_i) with row means K̄, L̄ (the biased
//! V-statistic), and the penalty is √HSIC, or HSIC itself. Kernels: k = exp(−σ d²), σ = 1/(2 g²),
//! g = 2 Γ((d+1)/2)/Γ(d/2) for d variables (Lopez et al., NeurIPS 2018).

use scgraft_numeric::isa::{Fused, kernel};
use scgraft_numeric::math;

use crate::ops::slope::Slope;
use crate::tape::{Layout, Shape, Tape, Var};

/// Below this HSIC the square root's slope is taken as at this value.
const FLOOR: f64 = 1e-12;

impl Tape<'_> {
    /// Σ over the last `n_new` variables of √HSIC(variable, all other variables), or with `joint`
    /// √HSIC(the last `n_new`, the others); without `root` HSIC itself. `z` is [latent × cell]; the result is one value.
    pub fn hsic(&mut self, z: Var, n_new: usize, joint: bool, root: bool) -> Var {
        let Shape { cells: n, features: d, layout } = self.shape(z);
        debug_assert_eq!(layout, Layout::ByFeature);
        let mut slope = self.buffer(n * d);
        slope.fill(0.0);
        let groups: Vec<std::ops::Range<usize>> =
            if joint { std::iter::once(d - n_new..d).collect() } else { (d - n_new..d).map(|k| k..k + 1).collect() };
        let z_values = self.value(z);
        let mut all = vec![0f32; n * n];
        squared_distances(z_values, n, &mut all);
        let (mut total, mut common) = (0.0, vec![0f32; n * n]);
        for group in groups {
            let own = group.start * n..group.end * n;
            let mut term = vec![0f32; n * n];
            squared_distances(&z_values[own.clone()], n, &mut term);
            let mut rest: Vec<f32> = all.iter().zip(&term).map(|(&a, &t)| (a - t).max(0.0)).collect();
            let (st, sr) = (bandwidth(group.len()), bandwidth(d - group.len()));
            kernel_of(st as f32, &mut term);
            kernel_of(sr as f32, &mut rest);
            let (value, to_term, to_rest) = statistic(&term, &rest, n, (st, sr), root);
            total += value;
            // Every variable moves the rest's distances, save the group's own, which move the term's.
            common.iter_mut().zip(&to_rest).for_each(|(c, &r)| *c += r);
            let correction: Vec<f32> = to_term.iter().zip(&to_rest).map(|(&t, &r)| t - r).collect();
            spread(&correction, &z_values[own.clone()], n, &mut slope[own]);
        }
        spread(&common, z_values, n, &mut slope);
        let mut out = self.buffer(1);
        out[0] = total as f32;
        let y = self.push(Shape::by_cell(1, 1), out, self.needs(z));
        if self.needs(y) {
            self.record(Slope { x: z, y, slope });
        } else {
            self.recycle(slope);
        }
        y
    }
}

/// σ = 1/(2 g²) of the kernel over `d` variables; by ln Γ, so that many variables do not overflow.
fn bandwidth(d: usize) -> f64 {
    let lgamma = |x: f64| math::lgamma_digamma(Fused, x).0;
    let g = 2.0 * (lgamma(0.5 * (d as f64 + 1.0)) - lgamma(0.5 * d as f64)).exp();
    1.0 / (2.0 * g * g)
}

/// √HSIC (HSIC without `root`), and its derivatives with respect to each squared distance of either group.
fn statistic(k: &[f32], l: &[f32], n: usize, (sk, sl): (f64, f64), root: bool) -> (f64, Vec<f32>, Vec<f32>) {
    let nf = n as f64;
    let row_means = |m: &[f32]| -> Vec<f64> {
        m.chunks_exact(n).map(|r| r.iter().map(|&v| f64::from(v)).sum::<f64>() / nf).collect()
    };
    let (kr, lr) = (row_means(k), row_means(l));
    let mean = |r: &[f64]| r.iter().sum::<f64>() / nf;
    let (km, lm) = (mean(&kr), mean(&lr));
    let joint = k.iter().zip(l).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() / (nf * nf);
    let cross = kr.iter().zip(&lr).map(|(a, b)| a * b).sum::<f64>() / nf;
    let h = (joint + km * lm - 2.0 * cross).max(0.0);
    let outer = if root { 0.5 / h.max(FLOOR).sqrt() } else { 1.0 };
    let (mut dk, mut dl) = (vec![0f32; n * n], vec![0f32; n * n]);
    for i in 0..n {
        for j in 0..n {
            let at = i * n + j;
            let (kij, lij) = (f64::from(k[at]), f64::from(l[at]));
            let by_k = (lij + lm - lr[i] - lr[j]) / (nf * nf);
            let by_l = (kij + km - kr[i] - kr[j]) / (nf * nf);
            dk[at] = (outer * by_k * -sk * kij) as f32;
            dl[at] = (outer * by_l * -sl * lij) as f32;
        }
    }
    (if root { h.sqrt() } else { h }, dk, dl)
}

kernel! {
/// d²(i, j) over the rows (variables) of z.
fn squared_distances(s, z: &[f32], n: usize, out: &mut [f32]) {
    for row in z.chunks_exact(n) {
        for (i, o) in out.chunks_exact_mut(n).enumerate() {
            let zi = row[i];
            for (o, &zj) in o.iter_mut().zip(row) {
                let d = zi - zj;
                *o = s.fma(d, d, *o);
            }
        }
    }
}
}

kernel! {
fn kernel_of(s, sigma: f32, d2: &mut [f32]) {
    for v in d2 {
        *v = math::exp(s, -sigma * *v);
    }
}
}

kernel! {
/// out[p, i] += Σ_j 4 a_ij (z_pi − z_pj): each pair stands twice in the symmetric sum.
fn spread(s, a: &[f32], z: &[f32], n: usize, out: &mut [f32]) {
    for (row, o) in z.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        for (i, a) in a.chunks_exact(n).enumerate() {
            // a is symmetric: row i tells what variable i's cell sends to all others.
            let zi = row[i];
            for ((o, &a), &zj) in o.iter_mut().zip(a).zip(row) {
                *o = s.fma(4.0 * a, zj - zi, *o);
            }
        }
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;

    fn twin(z: &[f64], n: usize, a: &[usize], b: &[usize]) -> f64 {
        let k = |group: &[usize], i: usize, j: usize| {
            let d2: f64 = group.iter().map(|&p| (z[p * n + i] - z[p * n + j]).powi(2)).sum();
            (-bandwidth(group.len()) * d2).exp()
        };
        let mean2 =
            |f: &dyn Fn(usize, usize) -> f64| (0..n * n).map(|at| f(at / n, at % n)).sum::<f64>() / (n * n) as f64;
        let row = |g: &[usize], i: usize| (0..n).map(|j| k(g, i, j)).sum::<f64>() / n as f64;
        let cross = (0..n).map(|i| row(a, i) * row(b, i)).sum::<f64>() / n as f64;
        let h = mean2(&|i, j| k(a, i, j) * k(b, i, j)) + mean2(&|i, j| k(a, i, j)) * mean2(&|i, j| k(b, i, j));
        h - 2.0 * cross
    }

    #[test]
    fn one_against_all_and_joint() {
        for (joint, root) in [(false, true), (true, true), (false, false), (true, false)] {
            let mut check = Check::new();
            check.tolerance = 1e-4;
            let z = check.input("z", Shape::by_feature(5, 12));
            check.twin(move |v| {
                let z = v.input(z);
                let of = |a: &[usize], b: &[usize]| {
                    let h = twin(z, 12, a, b);
                    if root { h.sqrt() } else { h }
                };
                let one = || of(&[3], &[0, 1, 2, 4]) + of(&[4], &[0, 1, 2, 3]);
                vec![if joint { of(&[3, 4], &[0, 1, 2]) } else { one() }]
            });
            check.run(|t, v| t.hsic(v.input(z), 2, joint, root));
        }
    }

    #[test]
    fn bandwidth_of_many_variables_is_finite() {
        assert!(bandwidth(1000) > 0.0 && bandwidth(1000).is_finite());
    }

    #[test]
    fn identical_cells_give_no_nan() {
        let mut check = Check::new();
        let z = check.input("z", Shape::by_feature(3, 4));
        check.set_input(z, &[1.0; 12]);
        check.twin(|_| vec![0.0]);
        check.run(|t, v| t.hsic(v.input(z), 1, false, true));
    }
}
