//! p-values of many tests at once.

/// Benjamini and Hochberg's adjusted p-values: the smallest false discovery rate at which each test is kept.
///
/// q₍ᵢ₎ = min over j ≥ i of p₍ⱼ₎ n / j, at most 1 (1995, doi:10.1111/j.2517-6161.1995.tb02031.x). In the order of the input.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_unstable_by(|&a, &b| p[b].total_cmp(&p[a]));
    let mut adjusted = vec![0.0; p.len()];
    let mut least = 1f64;
    for (from_top, &i) in order.iter().enumerate() {
        let rank = (p.len() - from_top) as f64;
        least = least.min(p[i] * p.len() as f64 / rank);
        adjusted[i] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use scgraft_golden::Golden;

    use super::*;

    #[test]
    fn equals_statsmodels() {
        let golden = Golden::of("analysis", "analysis");
        let found = benjamini_hochberg(golden.values("bh.p"));
        for (a, b) in found.iter().zip(golden.values("bh.adjusted")) {
            assert!((a - b).abs() < 1e-14, "{a} against {b}");
        }
    }
}
