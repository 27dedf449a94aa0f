//! Quantiles, between neighbours by interpolation.

use std::ops::Range;

/// The quantile q of some values; 0 of none.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    between(&sorted, q, |v| *v)
}

/// The same of values that are sorted.
pub(crate) fn quantile_of_sorted(sorted: &[f32], q: f64) -> f64 {
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

    #[test]
    fn quantiles_interpolate() {
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|q| quantile(&[3.0, 1.0, 2.0], q)), [1.0, 1.5, 2.0, 3.0]);
    }
}
