//! The hypergeometric distribution.

/// P(X ≥ x) for the number of marked among `drawn` of `total`, of which `marked` are marked.
pub fn upper_p(x: usize, drawn: usize, marked: usize, total: usize) -> f64 {
    let log_factorial = |n: usize| libm::lgamma(n as f64 + 1.0);
    let log_choose = |n: usize, k: usize| log_factorial(n) - log_factorial(k) - log_factorial(n - k);
    let least = (drawn + marked).saturating_sub(total);
    if x <= least {
        return 1.0;
    }
    let all = log_choose(total, drawn);
    let most = drawn.min(marked);
    // From the smallest term up.
    let sum: f64 =
        (x..=most).rev().map(|k| (log_choose(marked, k) + log_choose(total - marked, drawn - k) - all).exp()).sum();
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use scgraft_golden::Golden;

    use super::*;

    #[test]
    fn equals_scipy() {
        let golden = Golden::of("analysis", "analysis");
        let cases = golden.codes("hypergeometric.cases");
        for (case, expected) in cases.chunks(4).zip(golden.values("hypergeometric.p")) {
            let [x, drawn, marked, total] = [0, 1, 2, 3].map(|i| case[i] as usize);
            let found = upper_p(x, drawn, marked, total);
            assert!((found / expected - 1.0).abs() < 1e-8, "{case:?}: {found} against {expected}");
        }
    }
}
