//! Student's t distribution, for intervals and tests on few values.

use super::beta::incomplete_beta;

/// P(|T| > |t|) with `df` degrees of freedom (any positive number).
pub fn two_sided_p(t: f64, df: f64) -> f64 {
    if t.is_infinite() { 0.0 } else { incomplete_beta(0.5 * df, 0.5, df / (df + t * t)) }
}

/// P(T > t) with `df` degrees of freedom.
pub fn upper_p(t: f64, df: f64) -> f64 {
    let half = 0.5 * two_sided_p(t, df);
    if t >= 0.0 { half } else { 1.0 - half }
}

/// The t with P(|T| ≤ t) = `level`, for intervals; by bisection on the logarithm of t.
pub fn critical(level: f64, df: f64) -> f64 {
    let (mut low, mut high) = (1e-12f64.ln(), 1e12f64.ln());
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if two_sided_p(middle.exp(), df) > 1.0 - level { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).exp()
}

#[cfg(test)]
mod tests {
    use scgraft_golden::Golden;

    use super::*;

    #[test]
    fn equals_scipy() {
        let golden = Golden::of("analysis", "analysis");
        let read = |name: &str| golden.values(name);
        let (t, df, p, level, quantile) =
            (read("t.t"), read("t.df"), read("t.two_sided"), read("t.level"), read("t.critical"));
        for i in 0..t.len() {
            let found = two_sided_p(t[i], df[i]);
            assert!((found / p[i] - 1.0).abs() < 1e-10, "t {}, df {}: {found} against {}", t[i], df[i], p[i]);
            let found = critical(level[i], df[i]);
            assert!((found / quantile[i] - 1.0).abs() < 1e-9, "{found} against {}", quantile[i]);
        }
    }
}
