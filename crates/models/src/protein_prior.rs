//! The empirical prior of the protein background: two normal distributions fitted to the log counts
//! ln(1 + y) of each cell, of which the lower one is the background.
//!
//! Gayoso et al., *Joint probabilistic modeling of single-cell multi-omic data with totalVI*, Nature Methods 2021.

/// Cells of a condition that are looked at: as many, evenly spaced, where there are more.
const CELLS: usize = 100;
/// Fewer proteins say nothing of two components.
const FEWEST_PROTEINS: usize = 5;
/// What stands in for a fit that cannot be made.
const NO_FIT: Normal = Normal { mean: 0.0, deviation: 0.05 };
/// Added to every variance.
const LEAST_VARIANCE: f64 = 1e-6;
const MOST_ITERATIONS: usize = 10_000;
const TOLERANCE: f64 = 1e-10;

/// A normal distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Normal {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
}

/// The prior of a condition, the same for every protein: the mean of the cells' backgrounds, and the standard error
/// √(Σ sd²)/n of it. `cells` are the counts of its cells, `measured` says which proteins count.
pub(crate) fn of_condition(cells: &[&[f32]], measured: &[bool]) -> Normal {
    if cells.is_empty() {
        return Normal { mean: 0.0, deviation: 1.0 };
    }
    if measured.iter().filter(|m| **m).count() < FEWEST_PROTEINS {
        return NO_FIT;
    }
    let n = cells.len().min(CELLS);
    let fits = (0..n).map(|i| {
        let counts = cells[i * cells.len() / n];
        background(counts.iter().zip(measured).filter(|(_, m)| **m).map(|(&y, _)| f64::from(y).ln_1p()).collect())
    });
    let (mut mean, mut variance) = (0.0, 0.0);
    for fit in fits {
        mean += fit.mean;
        variance += fit.deviation * fit.deviation;
    }
    Normal { mean: mean / n as f64, deviation: variance.sqrt() / n as f64 }
}

/// The lower of two normal distributions fitted to the values by expectation maximisation, from the best split in two.
fn background(mut values: Vec<f64>) -> Normal {
    values.sort_by(f64::total_cmp);
    if values.first() == values.last() {
        return NO_FIT;
    }
    let split = best_split(&values);
    let mut shares: Vec<f64> = (0..values.len()).map(|i| if i < split { 1.0 } else { 0.0 }).collect();
    let mut before = f64::NEG_INFINITY;
    let mut components = maximise(&values, &shares);
    for _ in 0..MOST_ITERATIONS {
        let likelihood = expect(&values, components, &mut shares);
        if (likelihood - before).abs() < TOLERANCE {
            break;
        }
        before = likelihood;
        components = maximise(&values, &shares);
    }
    let [a, b] = components;
    let lower = if a.1 <= b.1 { a } else { b };
    Normal { mean: lower.1, deviation: lower.2.sqrt() }
}

/// How many of the sorted values make the lower group, for the least squares within two groups.
fn best_split(values: &[f64]) -> usize {
    let total: f64 = values.iter().sum();
    let (mut below, mut best) = (0.0, (f64::NEG_INFINITY, 1));
    for (i, v) in values.iter().enumerate().take(values.len() - 1) {
        below += v;
        let (n, m) = ((i + 1) as f64, (values.len() - i - 1) as f64);
        let between = below * below / n + (total - below) * (total - below) / m;
        if between > best.0 {
            best = (between, i + 1);
        }
    }
    best.1
}

/// Weight, mean and variance.
type Component = (f64, f64, f64);

/// Both components from each value's share in the first.
fn maximise(values: &[f64], shares: &[f64]) -> [Component; 2] {
    let component = |share: &dyn Fn(usize) -> f64| {
        let n = (0..values.len()).map(share).sum::<f64>() + 10.0 * f64::EPSILON;
        let mean = values.iter().enumerate().map(|(i, v)| share(i) * v).sum::<f64>() / n;
        let spread = values.iter().enumerate().map(|(i, v)| share(i) * (v - mean) * (v - mean)).sum::<f64>();
        (n / values.len() as f64, mean, spread / n + LEAST_VARIANCE)
    };
    [component(&|i| shares[i]), component(&|i| 1.0 - shares[i])]
}

/// Each value's share in the first component; the mean log-likelihood.
fn expect(values: &[f64], components: [Component; 2], shares: &mut [f64]) -> f64 {
    let log = |(weight, mean, variance): Component, v: f64| {
        weight.ln() - 0.5 * ((std::f64::consts::TAU * variance).ln() + (v - mean) * (v - mean) / variance)
    };
    let mut total = 0.0;
    for (share, &v) in shares.iter_mut().zip(values) {
        let (a, b) = (log(components[0], v), log(components[1], v));
        let both = a.max(b) + (-(a - b).abs()).exp().ln_1p();
        *share = (a - both).exp();
        total += both;
    }
    total / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clear_groups() {
        let fit = background(vec![5.0, 1.0, 5.2, 1.2, 4.8, 0.8]);
        assert!((fit.mean - 1.0).abs() < 1e-9, "{fit:?}");
        assert!((fit.deviation - (0.08f64 / 3.0 + LEAST_VARIANCE).sqrt()).abs() < 1e-9, "{fit:?}");
    }

    #[test]
    fn what_cannot_be_fitted() {
        assert_eq!(background(vec![2.0; 7]), NO_FIT);
        assert_eq!(of_condition(&[&[1.0, 9.0]], &[true, true]), NO_FIT);
        assert_eq!(of_condition(&[], &[true; 9]), Normal { mean: 0.0, deviation: 1.0 });
    }
}
