//! Proximal operators: what follows a gradient step when the penalty has a corner.

use crate::ops::Mask;

/// Soft threshold, the operator of t · |w|:  w ← sign(w) · max(|w| − t, 0).
pub(crate) fn soft_threshold(values: &mut [f32], threshold: f32) {
    for w in values {
        let kept = (w.abs() - threshold).max(0.0);
        *w = if kept > 0.0 { kept.copysign(*w) } else { 0.0 };
    }
}

/// Soft threshold on the weights of genes outside each program's gene set.
///
/// `values` is [program × gene]; `mask` lists the members, program by program.
pub(crate) fn soft_threshold_outside(values: &mut [f32], mask: &Mask, n_genes: usize, threshold: f32) {
    for (program, row) in values.chunks_exact_mut(n_genes).enumerate() {
        let mut from = 0;
        for &member in mask.genes(program) {
            soft_threshold(&mut row[from..member as usize], threshold);
            from = member as usize + 1;
        }
        soft_threshold(&mut row[from..], threshold);
    }
}

/// Group lasso, the operator of t · ‖w‖₂:  w ← w · max(0, 1 − t/‖w‖₂).
pub(crate) fn group_lasso(group: &mut [f32], threshold: f32) {
    let norm = group.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt();
    if norm <= f64::from(threshold) {
        group.fill(0.0);
    } else {
        let factor = (1.0 - f64::from(threshold) / norm) as f32;
        group.iter_mut().for_each(|w| *w *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A proximal operator minimises ½‖l − v‖² + t·penalty(l): no nearby point does better.
    fn is_minimum(at: &[f32], v: &[f32], objective: impl Fn(&[f64]) -> f64) -> bool {
        let full = |l: &[f64]| {
            let distance: f64 = l.iter().zip(v).map(|(a, &b)| (a - f64::from(b)).powi(2)).sum();
            0.5 * distance + objective(l)
        };
        let at: Vec<f64> = at.iter().map(|&x| f64::from(x)).collect();
        let best = full(&at);
        (0..at.len() * 2).all(|i| {
            let mut near = at.clone();
            near[i / 2] += if i % 2 == 0 { 1e-3 } else { -1e-3 };
            full(&near) >= best - 1e-6
        })
    }

    proptest! {
        #[test]
        fn soft_threshold_minimises(v in prop::collection::vec(-3f32..3.0, 1..8), t in 0f32..2.0) {
            let mut w = v.clone();
            soft_threshold(&mut w, t);
            prop_assert!(is_minimum(&w, &v, |l| f64::from(t) * l.iter().map(|x| x.abs()).sum::<f64>()));
        }

        #[test]
        fn group_lasso_minimises(v in prop::collection::vec(-3f32..3.0, 1..8), t in 0f32..4.0) {
            let mut w = v.clone();
            group_lasso(&mut w, t);
            let norm = |l: &[f64]| l.iter().map(|x| x * x).sum::<f64>().sqrt();
            prop_assert!(is_minimum(&w, &v, |l| f64::from(t) * norm(l)));
        }
    }

    #[test]
    fn only_outside_weights_shrink() {
        let mask = Mask::new(4, &[vec![1, 3], vec![]]);
        let mut w = vec![1.0, 1.0, -0.2, 1.0, 0.5, -2.0, 0.0, 1.0];
        soft_threshold_outside(&mut w, &mask, 4, 0.5);
        assert_eq!(w, [0.5, 1.0, 0.0, 1.0, 0.0, -1.5, 0.0, 0.5]);
    }
}
