//! Programs found in data before training: a factor analysis in which each program loads on its own genes alone.
//!
//! With y the expression of gene g in cell i, centred, of standard deviation d over the n cells, and s the score of program
//! k, of mean 0 and standard deviation 1 over cells,
//!
//! 1. s[i, k] ∝ Σ_{g in k} y[i, g] / max(d[g], 0.05)
//! 2. w[·, g] = argmin Σᵢ (y[i, g] − Σₖ s[i, k] w[k, g])² + 0.1 n Σₖ w[k, g]²,   w ≥ 0, and 0 where g is not in k
//! 3. ψ[g] = what that leaves of d[g]², at least 0.05²
//! 4. s[i, ·] ∝ (W Ψ⁻¹ Wᵀ + I)⁻¹ W Ψ⁻¹ y[i, ·]
//!
//! 1 is the mean expression of a program's genes; then 2 and 3, and three times 4, 2 and 3. Loadings tell the genes that vary
//! together from those that happen to be in the set, and 4 shares a signal out between programs that have genes in common.

use scgraft_numeric::gemm::{Accum, Mat, matmul};
use scgraft_numeric::linear::{NotPositive, solve_positive};

/// Times that scores follow from loadings.
const ROUNDS: usize = 3;
/// Penalty of a squared loading, per cell.
const PENALTY: f64 = 0.1;
/// The least standard deviation of a gene: those hardly expressed do not lead.
const LEAST: f64 = 0.05;

/// Expression of some cells, what is not zero of it.
#[derive(Debug, Default)]
pub(crate) struct Expressed {
    pub n_genes: usize,
    /// Past the last value of each cell.
    pub ends: Vec<usize>,
    /// Gene and value.
    pub values: Vec<(u32, f64)>,
}

impl Expressed {
    /// Values by cell.
    fn cells(&self) -> impl Iterator<Item = &[(u32, f64)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.values[start..end])
    }
}

/// What is found.
pub(crate) struct Factors {
    /// s, [program × cell]; a program that does not vary has 0.
    pub scores: Mat<f64>,
    /// w of each program's genes, in their order.
    pub loadings: Vec<Vec<f64>>,
}

/// Scores and loadings of programs with these genes.
///
/// # Errors
/// When expression is no number.
pub(crate) fn factors(y: &Expressed, sets: &[impl AsRef<[u32]>]) -> Result<Factors, NotPositive> {
    let n = y.ends.len() as f64;
    let (mut means, mut variances) = (vec![0f64; y.n_genes], vec![0f64; y.n_genes]);
    for &(g, y) in &y.values {
        means[g as usize] += y / n;
        variances[g as usize] += y * y / n;
    }
    variances.iter_mut().zip(&means).for_each(|(v, m)| *v = (*v - m * m).max(0.0));

    // Programs with each gene, and which of their genes it is.
    let mut of_gene: Vec<Vec<(usize, usize)>> = vec![Vec::new(); y.n_genes];
    for (k, set) in sets.iter().enumerate() {
        set.as_ref().iter().enumerate().for_each(|(j, &g)| of_gene[g as usize].push((k, j)));
    }
    let first = |g: u32| 1.0 / variances[g as usize].sqrt().max(LEAST);
    let mut loadings: Vec<Vec<f64>> = sets.iter().map(|set| set.as_ref().iter().map(|&g| first(g)).collect()).collect();
    let mut scores = weighted_sums(y, &of_gene, &loadings); // 1
    to_unit(&mut scores);
    let mut left = load(y, &scores, &of_gene, &variances, &mut loadings)?;
    for _ in 0..ROUNDS {
        let mut precision = Mat::<f64>::identity(sets.len(), sets.len());
        let mut weights = loadings.clone();
        for (g, programs) in of_gene.iter().enumerate() {
            for &(k, j) in programs {
                weights[k][j] /= left[g];
                programs.iter().for_each(|&(l, i)| precision[(k, l)] += weights[k][j] * loadings[l][i]);
            }
        }
        let mut sums = weighted_sums(y, &of_gene, &weights);
        centre(&mut sums);
        scores = solve_positive(&precision, &sums)?; // 4
        to_unit(&mut scores);
        left = load(y, &scores, &of_gene, &variances, &mut loadings)?;
    }
    Ok(Factors { scores, loadings })
}

/// Σ_{g in k} w[k, g] y[i, g], [program × cell].
fn weighted_sums(y: &Expressed, of_gene: &[Vec<(usize, usize)>], weights: &[Vec<f64>]) -> Mat<f64> {
    let mut sums = Mat::<f64>::zeros(weights.len(), y.ends.len());
    for (i, cell) in y.cells().enumerate() {
        for &(g, y) in cell {
            of_gene[g as usize].iter().for_each(|&(k, j)| sums[(k, i)] += weights[k][j] * y);
        }
    }
    sums
}

/// Equations 2 and 3: writes the loadings, and gives ψ.
fn load(
    y: &Expressed,
    scores: &Mat<f64>,
    of_gene: &[Vec<(usize, usize)>],
    variances: &[f64],
    loadings: &mut [Vec<f64>],
) -> Result<Vec<f64>, NotPositive> {
    let (programs, n) = (scores.nrows(), scores.ncols() as f64);
    let mut gram = Mat::<f64>::zeros(programs, programs);
    matmul(gram.as_mut(), Accum::Replace, scores.as_ref(), scores.transpose(), 1.0);
    // Scores are centred, so expression need not be.
    let mut cross = Mat::<f64>::zeros(programs, y.n_genes);
    for (i, cell) in y.cells().enumerate() {
        let scores = scores.col_as_slice(i);
        for &(g, y) in cell {
            cross.col_as_slice_mut(g as usize).iter_mut().zip(scores).for_each(|(c, s)| *c += y * s);
        }
    }
    let mut left = variances.to_vec();
    for (g, programs) in of_gene.iter().enumerate() {
        programs.iter().for_each(|&(k, j)| loadings[k][j] = 0.0);
        let mut kept = programs.clone();
        while !kept.is_empty() {
            let squares = Mat::from_fn(kept.len(), kept.len(), |a, b| {
                gram[(kept[a].0, kept[b].0)] + if a == b { PENALTY * n } else { 0.0 }
            });
            let products = Mat::from_fn(kept.len(), 1, |a, _| cross[(kept[a].0, g)]);
            let found = solve_positive(&squares, &products)?;
            if (0..kept.len()).any(|a| found[(a, 0)] < 0.0) {
                let mut at = 0..;
                kept.retain(|_| at.next().is_some_and(|a| found[(a, 0)] >= 0.0));
                continue;
            }
            for (a, &(k, j)) in kept.iter().enumerate() {
                loadings[k][j] = found[(a, 0)]; // 2
                // Of a minimum, Σᵢ (y − ŷ)² = Σ y² − wᵀ (Sᵀ y + 0.1 n w).
                left[g] -= found[(a, 0)] * (products[(a, 0)] / n + PENALTY * found[(a, 0)]);
            }
            break;
        }
    }
    left.iter_mut().for_each(|left| *left = left.max(LEAST * LEAST)); // 3
    Ok(left)
}

/// Takes the rows' means away.
fn centre(values: &mut Mat<f64>) {
    let n = values.ncols() as f64;
    for k in 0..values.nrows() {
        let mean = values.row(k).iter().sum::<f64>() / n;
        values.row_mut(k).iter_mut().for_each(|v| *v -= mean);
    }
}

/// Rows of mean 0 and standard deviation 1; what does not vary becomes 0.
fn to_unit(values: &mut Mat<f64>) {
    centre(values);
    let n = values.ncols() as f64;
    for k in 0..values.nrows() {
        let square = values.row(k).iter().map(|v| v * v).sum::<f64>() / n;
        let factor = if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 };
        values.row_mut(k).iter_mut().for_each(|v| *v *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look drawn, in −1 … 1.
    fn noise(i: usize, j: usize) -> f64 {
        let x = (i as f64 * 12.9898 + j as f64 * 78.233).sin() * 43_758.545_3;
        2.0 * (x - x.floor()) - 1.0
    }

    /// 400 cells; genes 0 to 4 follow one signal, 5 to 9 another, 10 to 19 are noise.
    fn planted() -> (Expressed, Vec<f64>, Vec<f64>) {
        let signal = |i: usize, k: usize| noise(i, 100 + k).signum();
        let mut y = Expressed { n_genes: 20, ..Expressed::default() };
        for i in 0..400 {
            for g in 0..20 {
                let own = if g < 10 { 2.0 * signal(i, g / 5) } else { 0.0 };
                y.values.push((g as u32, 3.0 + own + noise(i, g)));
            }
            y.ends.push(y.values.len());
        }
        let of = |k: usize| (0..400).map(|i| signal(i, k)).collect();
        (y, of(0), of(1))
    }

    fn correlation(scores: &Mat<f64>, k: usize, signal: &[f64]) -> f64 {
        let mean = signal.iter().sum::<f64>() / signal.len() as f64;
        let square = signal.iter().map(|s| (s - mean).powi(2)).sum::<f64>();
        signal.iter().enumerate().map(|(i, s)| scores[(k, i)] * (s - mean)).sum::<f64>() / (square * 400.0).sqrt()
    }

    #[test]
    fn a_signal_is_found_beside_genes_that_do_not_follow_it() {
        let (y, first, second) = planted();
        // The second program shares two genes with the first, and has five of noise.
        let sets: [&[u32]; 3] = [&[0, 1, 2, 3, 4, 10, 11, 12], &[3, 4, 5, 6, 7, 13, 14, 15, 16, 17], &[18, 19]];
        let found = factors(&y, &sets).unwrap();
        assert!(correlation(&found.scores, 0, &first) > 0.99);
        assert!(correlation(&found.scores, 1, &second) > 0.97, "{}", correlation(&found.scores, 1, &second));
        let w = &found.loadings;
        assert!(w[0][..5].iter().all(|&w| w > 1.0) && w[0][5..].iter().all(|&w| w < 0.15), "{:?}", w[0]);
        assert!(w[1][..2].iter().all(|&w| w < 0.3) && w[1][2..5].iter().all(|&w| w > 1.0), "{:?}", w[1]);
        // The mean of the genes' expression follows both.
        let mut means = weighted_sums(&y, &[&[(0, 0)][..]; 20].map(<[_]>::to_vec), &[vec![1.0]]);
        to_unit(&mut means);
        assert!(correlation(&means, 0, &first) < 0.8);
    }

    #[test]
    fn what_does_not_vary_scores_nothing() {
        let y = Expressed { n_genes: 3, ends: vec![2, 4, 6], values: [(0, 1.0), (1, 2.0)].repeat(3) };
        let found = factors(&y, &[&[0u32, 1][..], &[2], &[]]).unwrap();
        assert!((0..3).all(|k| (0..3).all(|i| found.scores[(k, i)] == 0.0)));
        assert_eq!(found.loadings, [vec![0.0, 0.0], vec![0.0], vec![]]);
        let nan = Expressed { n_genes: 1, ends: vec![1, 2], values: vec![(0, f64::NAN), (0, 1.0)] };
        assert!(factors(&nan, &[[0u32]]).is_err());
    }
}
