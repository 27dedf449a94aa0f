//! One stratum of the program test: all programs, all comparisons.

use std::ops::Range;

use rayon::prelude::*;
use scgraft_cells::{Coded, Dense, Steps};
use scgraft_numeric::distributions::normal::cdf;
use scgraft_numeric::random::{below, mix};

use super::options::{Latent, Pairs, ProgramTestOptions, ProgramTestRow};
use super::superiority::{Placements, Posteriors, log_mean_cdf, log_mean_superiority, placements, z_of};

/// The cells of one stratum, ordered by group, and what is compared.
pub(super) struct Stratum<'a> {
    latent: &'a Latent<'a>,
    levels: &'a [String],
    cells: Vec<usize>,
    ranges: Vec<Range<usize>>,
    comparisons: Vec<(usize, Vec<usize>)>,
}

/// What one program gives in one comparison, before direction and names.
pub(super) struct Outcome {
    pub p: f64,
    pub q: f64,
    pub log_ratio: f64,
    pub standard_error: f64,
}

impl<'a> Stratum<'a> {
    pub fn new(
        latent: &'a Latent<'a>,
        labels: &'a Coded,
        cells: &[usize],
        comparisons: Vec<(usize, Vec<usize>)>,
    ) -> Self {
        let mut cells = cells.to_vec();
        cells.sort_by_key(|&i| labels.codes[i]);
        let start = |g: usize| cells.partition_point(|&i| (labels.codes[i] as usize) < g);
        let ranges = (0..labels.levels.len()).map(|g| start(g)..start(g + 1)).collect();
        Stratum { latent, levels: &labels.levels, cells, ranges, comparisons }
    }

    pub fn test(&self, stratum: Option<&str>, stream: u64, options: &ProgramTestOptions) -> Vec<ProgramTestRow> {
        let steps = Steps::new("testing programs", self.latent.mean.n_cols);
        let one = |j: usize| {
            let outcomes = self.program(j, stream, options);
            steps.done();
            outcomes
        };
        let outcomes: Vec<Vec<Outcome>> = (0..self.latent.mean.n_cols).into_par_iter().map(one).collect();
        let mut rows = Vec::new();
        for (at, (g, others)) in self.comparisons.iter().enumerate() {
            let mut of_group: Vec<ProgramTestRow> = outcomes
                .iter()
                .enumerate()
                .map(|(program, outcomes)| {
                    let o = &outcomes[at];
                    let direction = self.latent.directions.map_or(0, |d| d[program].signum());
                    let flip = direction < 0;
                    ProgramTestRow {
                        group: self.levels[*g].clone(),
                        comparison: options.comparison.name(),
                        stratum: stratum.map(str::to_owned),
                        program,
                        name: self.latent.programs[program].clone(),
                        p_h0: if flip { o.q } else { o.p },
                        p_h1: if flip { o.p } else { o.q },
                        log_bayes_factor: if flip { -o.log_ratio } else { o.log_ratio },
                        standard_error: o.standard_error,
                        direction,
                        n_group: self.ranges[*g].len(),
                        n_comparison: others.iter().map(|&h| self.ranges[h].len()).sum(),
                    }
                })
                .collect();
            // Stable: equal Bayes factors stay in the order of the programs.
            of_group.sort_by(|a, b| b.log_bayes_factor.abs().total_cmp(&a.log_bayes_factor.abs()));
            rows.extend(of_group);
        }
        rows
    }

    fn program(&self, j: usize, stream: u64, options: &ProgramTestOptions) -> Vec<Outcome> {
        let column = |m: &Dense| self.cells.iter().map(|&i| f64::from(m.row(i)[j])).collect::<Vec<f64>>();
        let (mean, variance) = (column(self.latent.mean), column(self.latent.variance));
        let posteriors = Posteriors { mean: &mean, variance: &variance, groups: &self.ranges };
        let mut outcomes: Vec<Outcome> = match options.pairs {
            Pairs::All => {
                let compared = |g: usize, h: usize| {
                    self.comparisons.iter().any(|(a, b)| (*a == g && b.contains(&h)) || (*a == h && b.contains(&g)))
                };
                let sums = placements(&posteriors, &compared);
                self.comparisons.iter().map(|(g, others)| self.all_pairs(&posteriors, &sums, *g, others)).collect()
            }
            Pairs::Sampled { n, seed } => self
                .comparisons
                .iter()
                .map(|(g, others)| {
                    let seed = mix(mix(seed, stream), *g as u64);
                    self.sampled_pairs(&posteriors, *g, others, n.max(1), seed)
                })
                .collect(),
        };
        if options.compat {
            for (outcome, (g, others)) in outcomes.iter_mut().zip(&self.comparisons) {
                let flat = |range: &Range<usize>| mean[range.clone()].iter().all(|&m| m == 0.0);
                let dead = flat(&self.ranges[*g]) || others.iter().all(|&h| flat(&self.ranges[h]));
                *outcome = compat_outcome(outcome, dead);
            }
        }
        outcomes
    }

    fn all_pairs(&self, posteriors: &Posteriors, sums: &Placements, g: usize, others: &[usize]) -> Outcome {
        let n_group = self.ranges[g].len() as f64;
        let n_others: f64 = others.iter().map(|&h| self.ranges[h].len() as f64).sum();
        let over = |i: usize, of: &dyn Fn(usize, usize) -> f64| others.iter().map(|&h| of(i, h)).sum::<f64>();
        let mut p = 0.0;
        let mut q = 0.0;
        let mut of_cells = Vec::with_capacity(self.ranges[g].len());
        for i in self.ranges[g].clone() {
            let above = over(i, &|i, h| sums.above(i, h));
            p += above;
            q += over(i, &|i, h| sums.below(i, h));
            of_cells.push(above / n_others);
        }
        let of_others: Vec<f64> =
            others.iter().flat_map(|&h| self.ranges[h].clone()).map(|i| sums.below(i, g) / n_group).collect();
        let total = n_group * n_others;
        let (p, q) = ((p / total).max(sums.floor), (q / total).max(sums.floor));
        let others: Vec<Range<usize>> = others.iter().map(|&h| self.ranges[h].clone()).collect();
        let negated: Vec<f64> = posteriors.mean.iter().map(|m| -m).collect();
        let log = |probability: f64, mean: &[f64]| {
            if probability > 1e-280 {
                probability.ln()
            } else {
                let posteriors = Posteriors { mean, ..*posteriors };
                log_mean_superiority(&posteriors, self.ranges[g].clone(), &others)
            }
        };
        Outcome {
            p,
            q,
            log_ratio: log(p, posteriors.mean) - log(q, &negated),
            standard_error: (variance_of_mean(&of_cells) + variance_of_mean(&of_others)).sqrt(),
        }
    }

    fn sampled_pairs(&self, posteriors: &Posteriors, g: usize, others: &[usize], n: usize, seed: u64) -> Outcome {
        let group: Vec<usize> = self.ranges[g].clone().collect();
        let rest: Vec<usize> = others.iter().flat_map(|&h| self.ranges[h].clone()).collect();
        let draw = |from: &[usize], counter: u64| from[below(seed, counter, from.len() as u64) as usize];
        let pairs = (0..n as u64).map(|c| (draw(&group, 2 * c), draw(&rest, 2 * c + 1)));
        of_pairs(posteriors.mean, posteriors.variance, pairs)
    }
}

/// Mean over given pairs.
pub(super) fn of_pairs(mean: &[f64], variance: &[f64], pairs: impl Iterator<Item = (usize, usize)>) -> Outcome {
    let z: Vec<f64> = pairs.map(|(i, j)| z_of(mean[i] - mean[j], variance[i] + variance[j])).collect();
    let above: Vec<f64> = z.iter().map(|&z| cdf(z)).collect();
    let n = z.len() as f64;
    Outcome {
        p: above.iter().sum::<f64>() / n,
        q: z.iter().map(|&z| cdf(-z)).sum::<f64>() / n,
        log_ratio: log_mean_cdf(z.iter().copied()) - log_mean_cdf(z.iter().map(|z| -z)),
        standard_error: variance_of_mean(&above).sqrt(),
    }
}

pub(super) fn compat_outcome(outcome: &Outcome, dead: bool) -> Outcome {
    if dead {
        return Outcome { p: 0.0, q: 0.0, log_ratio: 0.0, standard_error: outcome.standard_error };
    }
    let (p, q) = (outcome.p, 1.0 - outcome.p);
    let log_ratio = (p + 1e-12).ln() - (q + 1e-12).ln();
    Outcome { p, q, log_ratio, standard_error: outcome.standard_error }
}

/// Sample variance over the number of values; NaN for a single one, whose spread is not known.
pub(super) fn variance_of_mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / ((n - 1.0) * n)
}
