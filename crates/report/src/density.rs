//! The outline of a violin.

/// Quantile `q` of sorted values, linear between order statistics.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    match sorted {
        [] => f64::NAN,
        [only] => *only,
        _ => {
            let at = q * (sorted.len() - 1) as f64;
            let i = (at as usize).min(sorted.len() - 2);
            sorted[i] + (sorted[i + 1] - sorted[i]) * (at - i as f64)
        }
    }
}

/// Gaussian kernel density of sorted values on `points` places from the least to the greatest value.
///
/// Bandwidth 0.9 · min(sd, IQR/1.34) · n^(−1/5) (Silverman 1986, eq. 3.31). Values are first put on a fine grid, so
/// that a million cells cost as little as a thousand. Fewer than three values, or values all equal, have no outline.
pub(crate) fn density(sorted: &[f64], points: usize) -> Option<Vec<(f64, f64)>> {
    let n = sorted.len();
    let (lo, hi) = (*sorted.first()?, *sorted.last()?);
    if n < 3 || hi <= lo {
        return None;
    }
    let mean = sorted.iter().sum::<f64>() / n as f64;
    let sd = (sorted.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt();
    let iqr = (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 1.34;
    let spread = if iqr > 0.0 { sd.min(iqr) } else { sd };
    // A floor, or many equal values would make needles.
    let bandwidth = (0.9 * spread * (n as f64).powf(-0.2)).max((hi - lo) / 200.0);

    const BINS: usize = 512;
    let width = (hi - lo) / (BINS - 1) as f64;
    let mut bins = vec![0.0; BINS];
    for v in sorted {
        let at = (v - lo) / width;
        let i = (at as usize).min(BINS - 2);
        let share = at - i as f64;
        bins[i] += 1.0 - share;
        bins[i + 1] += share;
    }
    let norm = 1.0 / (n as f64 * bandwidth * (2.0 * std::f64::consts::PI).sqrt());
    let outline = (0..points).map(|p| {
        let y = lo + (hi - lo) * p as f64 / (points - 1) as f64;
        let sum: f64 = bins
            .iter()
            .enumerate()
            .filter(|(_, b)| **b > 0.0)
            .map(|(i, b)| b * (-0.5 * ((lo + i as f64 * width - y) / bandwidth).powi(2)).exp())
            .sum();
        (y, sum * norm)
    });
    Some(outline.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_of_normal_quantiles_is_near_the_normal() {
        // Quantiles of the logistic as a smooth sample: density at 0 is 1/4.
        let sorted: Vec<f64> = (1..2000).map(|i| f64::from(i) / 2000.0).map(|p| (p / (1.0 - p)).ln()).collect();
        let outline = density(&sorted, 201).unwrap();
        let middle = outline[100];
        assert!(middle.0.abs() < 1e-9 && (middle.1 - 0.25).abs() < 0.01, "{middle:?}");
        let area: f64 = outline.windows(2).map(|w| (w[1].0 - w[0].0) * (w[0].1 + w[1].1) / 2.0).sum();
        assert!((area - 1.0).abs() < 0.02, "{area}");
    }

    #[test]
    fn no_outline_without_spread() {
        assert!(density(&[1.0, 1.0, 1.0], 10).is_none());
        assert!(density(&[1.0, 2.0], 10).is_none());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 4.0], 0.5), 1.5);
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 4.0], 1.0), 4.0);
    }
}
