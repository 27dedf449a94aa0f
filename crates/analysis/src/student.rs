//! Student's t distribution, for intervals and tests on few values.

/// ln of the beta function.
fn log_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// Regularised incomplete beta function I_x(a, b), by Lentz's method on its continued fraction (NIST DLMF 8.17.22).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let away = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut last = 1.0;
        for step in [even, odd] {
            d = 1.0 / away(1.0 + step * d);
            c = away(1.0 + step / c);
            last = c * d;
            fraction *= last;
        }
        if (last - 1.0).abs() < 1e-16 {
            break;
        }
    }
    (a * x.ln() + b * (1.0 - x).ln() - log_beta(a, b)).exp() / a * fraction
}

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
    use super::*;
    use crate::testing::Golden;

    #[test]
    fn equals_scipy() {
        let golden = Golden::own("analysis");
        let read = |name: &str| golden.reals(name).1;
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
