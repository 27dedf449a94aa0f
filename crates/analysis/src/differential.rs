//! Bayesian differential expression, from draws of each group's normalised expression.
//!
//! Draws are compared in pairs (i-th of one group, i-th of the other). `vanilla`: p = share of pairs with a > b (Lopez
//! et al., Nature Methods 2018). `change`: effect r = log₂(a + c) − log₂(b + c), p = the larger of the shares of r ≥ δ
//! and r < −δ, or their sum (Boyeau et al., *Deep generative models for detecting differential expression in single
//! cells*, 2019). In both the log Bayes factor is ln(p + ε) − ln(1 − p + ε), ε = 10⁻⁸. The pseudocount c, where not
//! given, is what the model says of genes that a group does not express: the 0.9 quantile, over those genes, of the
//! largest draw, the larger of both groups. Means and spreads of r are taken with c/1000, so that c does not shrink
//! them. As scvi-tools 1.4.2.
//!
//! In the `change` mode genes are called at a posterior expected false discovery rate: with genes in the order of
//! falling p, as many as have a mean of 1 − p of at most the rate.
//!
//! With some thousand draws many genes reach the largest p there is. Among genes of one p the order is that of the
//! effect, the mean of r with c itself: with c/1000 a gene that neither group expresses has the largest of all.

use rayon::prelude::*;
use scgraft_cells::Dense;

use crate::quantile::quantile;
use crate::{Error, Result};

/// What is compared, and when a gene differs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DifferentialMode {
    /// Whether expression in the first group is larger.
    Vanilla,
    /// Whether it differs by at least an effect size.
    Change {
        /// δ, the least |log₂ fold change| that counts.
        delta: f64,
        /// c; `None` estimates it.
        pseudocount: Option<f64>,
        /// Count both directions together, instead of taking the more probable one.
        both_directions: bool,
        /// Posterior expected false discovery rate at which genes are called.
        fdr: f64,
    },
}

impl Default for DifferentialMode {
    fn default() -> Self {
        DifferentialMode::Change { delta: 0.25, pseudocount: None, both_directions: false, fdr: 0.05 }
    }
}

/// Draws of normalised expression of a group.
#[derive(Clone, Copy, Debug)]
pub struct GroupDraws<'d> {
    /// Draw × gene.
    pub expression: &'d Dense,
    /// Genes that the group does not express (mean count below 0.01); used to estimate the pseudocount.
    pub silent: &'d [bool],
}

/// One gene's comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct DifferentialRow {
    /// The gene, a column of the draws.
    pub gene: usize,
    /// p
    pub probability: f64,
    /// ln p − ln(1 − p)
    pub log_bayes_factor: f64,
    /// Mean normalised expression of the first group.
    pub mean_a: f64,
    /// Mean normalised expression of the second group.
    pub mean_b: f64,
    /// The log₂ fold change: mean, median, standard deviation, smallest, largest; `None` in the vanilla mode.
    pub fold_change: Option<[f64; 5]>,
    /// The mean log₂ fold change with the pseudocount: what orders genes of one probability. Above 0: higher in the first
    /// group.
    pub effect: f64,
    /// Whether the gene is called at the false discovery rate; `None` in the vanilla mode.
    pub differs: Option<bool>,
}

impl DifferentialRow {
    /// Whether the gene is higher in the first group: by p in the vanilla mode, else by the effect.
    pub fn is_up(&self) -> bool {
        if self.fold_change.is_none() { self.probability > 0.5 } else { self.effect > 0.0 }
    }
}

/// A comparison of two groups.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Differential {
    /// One row a gene, by falling probability; of one probability, the larger effect first (in the vanilla mode, where a
    /// probability near 0 speaks for the second group, the effect with its sign).
    pub rows: Vec<DifferentialRow>,
    /// The pseudocount used; in the vanilla mode for the effect alone.
    pub pseudocount: f64,
}

impl Differential {
    /// The genes that are higher in the first group, and those that are lower, each the most evident first.
    pub fn by_direction(&self) -> [Vec<&DifferentialRow>; 2] {
        let (up, mut down): (Vec<_>, Vec<_>) = self.rows.iter().partition(|r| r.is_up());
        if self.rows.iter().all(|r| r.fold_change.is_none()) {
            // In the vanilla mode the last are the most evident.
            down.reverse();
        }
        [up, down]
    }
}

const EPSILON: f64 = 1e-8;
/// The pseudocount of a group that expresses every gene.
const SMALLEST: f64 = 1e-10;
const QUANTILE: f64 = 0.9;

/// Compares two groups gene by gene.
///
/// # Errors
/// Groups of different shapes, without draws, or with values that are negative or not finite; an effect size or rate
/// that makes no sense.
pub fn differential_expression(a: GroupDraws<'_>, b: GroupDraws<'_>, mode: &DifferentialMode) -> Result<Differential> {
    check(a, b, mode)?;
    let genes = a.expression.n_cols;
    let pseudocount = match *mode {
        DifferentialMode::Vanilla => None,
        DifferentialMode::Change { pseudocount, .. } => pseudocount,
    };
    let pseudocount = pseudocount.unwrap_or_else(|| artefact(a).max(artefact(b)));
    let mut rows: Vec<DifferentialRow> = (0..genes)
        .into_par_iter()
        .map(|gene| {
            let column = |d: &Dense| -> Vec<f64> { (0..d.n_rows).map(|i| f64::from(d.row(i)[gene])).collect() };
            compare(gene, &column(a.expression), &column(b.expression), mode, pseudocount)
        })
        .collect();
    let signed = matches!(mode, DifferentialMode::Vanilla);
    let size = |r: &DifferentialRow| if signed { r.effect } else { r.effect.abs() };
    rows.sort_by(|x, y| {
        let by_evidence = y.probability.total_cmp(&x.probability);
        by_evidence.then(size(y).total_cmp(&size(x))).then(x.gene.cmp(&y.gene))
    });
    if let DifferentialMode::Change { fdr, .. } = *mode {
        let (mut sum, mut called) = (0.0, 0);
        for (i, row) in rows.iter().enumerate() {
            sum += 1.0 - row.probability;
            // The mean of 1 − p grows with every further gene.
            called += usize::from(sum / (i + 1) as f64 <= fdr);
        }
        rows.iter_mut().enumerate().for_each(|(i, row)| row.differs = Some(i < called));
    }
    Ok(Differential { rows, pseudocount })
}

fn compare(gene: usize, a: &[f64], b: &[f64], mode: &DifferentialMode, c: f64) -> DifferentialRow {
    let n = a.len() as f64;
    let share = |count: usize| count as f64 / n;
    let pairs = || a.iter().zip(b);
    let effect = pairs().map(|(a, b)| (a + c).log2() - (b + c).log2()).sum::<f64>() / n;
    let (probability, fold_change) = match *mode {
        DifferentialMode::Vanilla => (share(pairs().filter(|(a, b)| a > b).count()), None),
        DifferentialMode::Change { delta, both_directions, .. } => {
            let change = |c: f64| pairs().map(move |(a, b)| (a + c).log2() - (b + c).log2());
            let up = share(change(c).filter(|&r| r >= delta).count());
            let down = share(change(c).filter(|&r| r < -delta).count());
            let p = if both_directions { up + down } else { up.max(down) };
            (p, Some(describe(change(1e-3 * c).collect())))
        }
    };
    DifferentialRow {
        gene,
        probability,
        log_bayes_factor: (probability + EPSILON).ln() - (1.0 - probability + EPSILON).ln(),
        mean_a: a.iter().sum::<f64>() / n,
        mean_b: b.iter().sum::<f64>() / n,
        fold_change,
        effect,
        differs: None,
    }
}

/// Mean, median, standard deviation, smallest, largest.
fn describe(mut r: Vec<f64>) -> [f64; 5] {
    let n = r.len() as f64;
    let mean = r.iter().sum::<f64>() / n;
    let sd = (r.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    r.sort_by(f64::total_cmp);
    let median = (r[(r.len() - 1) / 2] + r[r.len() / 2]) / 2.0;
    [mean, median, sd, r[0], r[r.len() - 1]]
}

/// What the model says of genes that the group does not express.
fn artefact(group: GroupDraws<'_>) -> f64 {
    let d = group.expression;
    let largest = |g: usize| (0..d.n_rows).fold(0f64, |m, i| m.max(f64::from(d.row(i)[g])));
    let values: Vec<f64> = (0..d.n_cols).filter(|&g| group.silent[g]).map(largest).collect();
    if values.is_empty() { SMALLEST } else { quantile(&values, QUANTILE) }
}

fn check(a: GroupDraws<'_>, b: GroupDraws<'_>, mode: &DifferentialMode) -> Result<()> {
    let (da, db) = (a.expression, b.expression);
    if (da.n_rows, da.n_cols) != (db.n_rows, db.n_cols) || da.n_rows == 0 {
        let what = "draws of expression".to_owned();
        let problem = format!(
            "{} × {} of one group and {} × {} of the other; give as many of each, at least one, of the same genes",
            da.n_rows, da.n_cols, db.n_rows, db.n_cols
        );
        return Err(Error::Inconsistent { what, problem });
    }
    for group in [a, b] {
        if group.silent.len() != da.n_cols {
            let what = "the genes that a group does not express".to_owned();
            return Err(Error::Length { what, expected: da.n_cols, found: group.silent.len() });
        }
        if let Some(v) = group.expression.values.iter().find(|v| !v.is_finite() || **v < 0.0) {
            let what = "draws of expression".to_owned();
            let problem = format!("{v} among them; normalised expression is finite and never negative");
            return Err(Error::Inconsistent { what, problem });
        }
    }
    let DifferentialMode::Change { delta, pseudocount, fdr, .. } = *mode else { return Ok(()) };
    let wrong = |name, value: f64, expected| Err(Error::Parameter { name, value: value.to_string(), expected });
    if !(delta >= 0.0 && delta.is_finite()) {
        return wrong("effect size", delta, "a log₂ fold change of at least 0");
    }
    if let Some(c) = pseudocount.filter(|c| !(*c > 0.0 && c.is_finite())) {
        return wrong("pseudocount", c, "a number above 0");
    }
    if !(0.0..=1.0).contains(&fdr) {
        return wrong("false discovery rate", fdr, "a number from 0 to 1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(rows: &[[f32; 3]]) -> Dense {
        Dense::new(rows.len(), 3, rows.concat())
    }

    #[test]
    fn shares_of_pairs_and_their_bayes_factors() {
        let a = draws(&[[0.4, 0.1, 0.5], [0.4, 0.2, 0.4], [0.4, 0.1, 0.5], [0.1, 0.4, 0.5]]);
        let b = draws(&[[0.1, 0.1, 0.8], [0.1, 0.2, 0.7], [0.1, 0.4, 0.5], [0.4, 0.1, 0.5]]);
        let group = |d| GroupDraws { expression: d, silent: &[false; 3] };
        let vanilla = differential_expression(group(&a), group(&b), &DifferentialMode::Vanilla).unwrap();
        assert_eq!(
            vanilla.rows.iter().map(|r| (r.gene, r.probability)).collect::<Vec<_>>(),
            [(0, 0.75), (1, 0.25), (2, 0.0)]
        );
        assert!((vanilla.rows[0].log_bayes_factor - 3f64.ln()).abs() < 1e-6);
        let change = DifferentialMode::Change { delta: 1.0, pseudocount: Some(1e-9), both_directions: false, fdr: 0.3 };
        let change = differential_expression(group(&a), group(&b), &change).unwrap();
        let first = &change.rows[0];
        assert_eq!((first.gene, first.probability, first.differs), (0, 0.75, Some(true)));
        // Fold changes 2, 2, 2, −2.
        let [mean, median, sd, low, high] = first.fold_change.unwrap();
        for (got, want) in [(mean, 1.0), (median, 2.0), (sd, 3f64.sqrt()), (low, -2.0), (high, 2.0)] {
            assert!((got - want).abs() < 1e-6, "{got}, not {want}");
        }
        // Gene 1: up once, down once.
        assert_eq!((change.rows[1].gene, change.rows[1].probability, change.rows[1].differs), (1, 0.25, Some(false)));
    }

    #[test]
    fn genes_of_one_probability_stand_by_their_effect_up_and_down_apart() {
        // Fold changes log₂ of 2, ½ and 8 in every draw: all three are certain.
        let (a, b) = (draws(&[[0.2, 0.1, 0.8]; 2]), draws(&[[0.1, 0.2, 0.1]; 2]));
        let group = |d| GroupDraws { expression: d, silent: &[false; 3] };
        let genes = |rows: &[&DifferentialRow]| rows.iter().map(|r| r.gene).collect::<Vec<_>>();
        for mode in [
            DifferentialMode::Vanilla,
            DifferentialMode::Change { delta: 0.25, pseudocount: Some(1e-9), both_directions: false, fdr: 0.05 },
        ] {
            let found = differential_expression(group(&a), group(&b), &mode).unwrap();
            let [up, down] = found.by_direction();
            assert_eq!((genes(&up), genes(&down)), (vec![2, 0], vec![1]), "{mode:?}");
            assert!((up[0].effect - 3.0).abs() < 1e-5 && (down[0].effect + 1.0).abs() < 1e-5);
        }
        // Turned round, the lower ones stand by their size too.
        for mode in [DifferentialMode::Vanilla, DifferentialMode::default()] {
            let found = differential_expression(group(&b), group(&a), &mode).unwrap();
            assert_eq!(found.by_direction().map(|d| genes(&d)), [vec![1], vec![2, 0]], "{mode:?}");
        }
    }

    #[test]
    fn the_pseudocount_is_read_off_genes_that_are_not_expressed() {
        let a = draws(&[[0.9, 0.05, 0.05], [0.9, 0.02, 0.08]]);
        let silent = [false, true, true];
        let group = GroupDraws { expression: &a, silent: &silent };
        let found = differential_expression(group, group, &DifferentialMode::default()).unwrap();
        // Largest draws 0.05 and 0.08; their 0.9 quantile.
        assert!((found.pseudocount - 0.077).abs() < 1e-7);
        assert!(found.rows.iter().all(|r| r.probability == 0.0 && r.differs == Some(false)));
    }

    #[test]
    fn nonsense_is_refused() {
        let (a, short) = (draws(&[[0.1, 0.2, 0.7]]), draws(&[[0.1, 0.2, 0.7], [0.1, 0.2, 0.7]]));
        let negative = draws(&[[-0.1, 0.2, 0.7]]);
        let group = |d| GroupDraws { expression: d, silent: &[false; 3] };
        for (x, y, word) in [(&a, &short, "draws"), (&a, &negative, "negative")] {
            let error = differential_expression(group(x), group(y), &DifferentialMode::Vanilla).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        let mode = DifferentialMode::Change { delta: -1.0, pseudocount: None, both_directions: false, fdr: 0.05 };
        assert!(differential_expression(group(&a), group(&a), &mode).unwrap_err().to_string().contains("effect size"));
    }
}
