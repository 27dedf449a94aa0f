//! The curve 1 / (1 + a d^{2b}) of the picture's distances.

use crate::error::{Error, Result};

const POINTS: usize = 300;

/// a and b for a `min_dist` and a `spread`: least squares to 1 up to `min_dist` and exp(−(d − min_dist) / spread) beyond.
///
/// Fitted on 300 distances from 0 to 3 · spread, as umap-learn does; by Gauss–Newton steps with damping.
///
/// # Errors
/// A negative `min_dist`, a `spread` that is not positive, or `min_dist` above `3 · spread`.
pub fn curve(min_dist: f64, spread: f64) -> Result<(f64, f64)> {
    if !(spread > 0.0 && spread.is_finite()) {
        return Err(Error::Parameter { name: "spread", value: spread.to_string(), expected: "a positive number" });
    }
    if !(0.0..3.0 * spread).contains(&min_dist) {
        return Err(Error::Parameter {
            name: "min_dist",
            value: min_dist.to_string(),
            expected: "at least 0 and below 3 × spread",
        });
    }
    let points: Vec<(f64, f64)> = (1..POINTS)
        .map(|i| 3.0 * spread * i as f64 / (POINTS - 1) as f64)
        .map(|x| (x, if x < min_dist { 1.0 } else { (-(x - min_dist) / spread).exp() }))
        .collect();
    let loss =
        |a: f64, b: f64| points.iter().map(|&(x, y)| (1.0 / (1.0 + a * x.powf(2.0 * b)) - y).powi(2)).sum::<f64>();
    let (mut a, mut b, mut damping) = (1f64, 1f64, 1e-3);
    let mut now = loss(a, b);
    for _ in 0..500 {
        let (mut aa, mut ab, mut bb, mut ga, mut gb) = (0f64, 0f64, 0f64, 0f64, 0f64);
        for &(x, y) in &points {
            let power = x.powf(2.0 * b);
            let f = 1.0 / (1.0 + a * power);
            let (da, db) = (-f * f * power, -f * f * a * power * 2.0 * x.ln());
            let r = y - f;
            aa += da * da;
            ab += da * db;
            bb += db * db;
            ga += da * r;
            gb += db * r;
        }
        let (p, q) = (aa * (1.0 + damping), bb * (1.0 + damping));
        let determinant = p * q - ab * ab;
        let (step_a, step_b) = ((q * ga - ab * gb) / determinant, (p * gb - ab * ga) / determinant);
        let (next_a, next_b) = (a + step_a, b + step_b);
        let next = if next_a > 0.0 && next_b > 0.0 { loss(next_a, next_b) } else { f64::INFINITY };
        if next <= now {
            let settled = step_a.abs() < 1e-12 * a && step_b.abs() < 1e-12 * b;
            (a, b, now) = (next_a, next_b, next);
            damping *= 0.3;
            if settled {
                break;
            }
        } else {
            damping *= 4.0;
        }
    }
    Ok((a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_umap_learn() {
        // find_ab_params of umap-learn 0.5.12.
        for (min_dist, spread, a, b) in [
            (0.1, 1.0, 1.576_943_460_405_378, 0.895_060_878_123_042_2),
            (0.5, 1.0, 0.583_030_028_657_033_6, 1.334_166_992_455_648),
        ] {
            let (ours_a, ours_b) = curve(min_dist, spread).unwrap();
            assert!((ours_a - a).abs() < 1e-5 && (ours_b - b).abs() < 1e-5, "{ours_a} {ours_b}");
        }
        assert!(matches!(curve(-0.1, 1.0), Err(Error::Parameter { name: "min_dist", .. })));
        assert!(matches!(curve(0.1, 0.0), Err(Error::Parameter { name: "spread", .. })));
    }
}
