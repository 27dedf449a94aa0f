//! Does a difference between groups of cells hold from donor to donor?
//!
//! Cells of one donor are not independent, so a test over cells finds differences that other donors would not show
//! (Squair et al. 2021, doi:10.1038/s41467-021-25960-2). Here each donor counts once: its mean score over its cells.

use scgraft_cells::{Coded, Dense};
use scgraft_numeric::distributions::normal::cdf;
use scgraft_numeric::distributions::student::{critical, two_sided_p};

use crate::error::{Error, Result, check_labels, check_matrix, find_level};
use crate::multiple_testing::benjamini_hochberg;

/// How donors of the two sides belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Design {
    /// Told from the data: paired where two donors or more have cells on both sides, else unpaired.
    #[default]
    Detect,
    /// Every donor has cells on both sides (before and after, two cell types): differences within donors. Donors with
    /// one side only are left out.
    Paired,
    /// Each donor is on one side (patients and controls): Welch's comparison of donor means.
    Unpaired,
}

/// Fewest cells of a donor on a side; fewer are too few for a mean and left out.
pub const FEWEST_CELLS: usize = 10;
/// Level of the intervals.
const LEVEL: f64 = 0.95;

/// A donor's mean on one side.
#[derive(Clone, Debug, PartialEq)]
pub struct DonorMean {
    /// The donor.
    pub donor: String,
    /// Whether it is on the group's side (otherwise the comparison's).
    pub in_group: bool,
    /// Its cells there.
    pub n_cells: usize,
    /// Mean of each score over them.
    pub means: Vec<f64>,
}

/// Difference of one score between the two sides, over donors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DonorDifference {
    /// Column of the scores.
    pub score: usize,
    /// Mean over the donors of the group.
    pub mean_group: f64,
    /// Mean over the donors of the comparison.
    pub mean_comparison: f64,
    /// Their difference.
    pub difference: f64,
    /// Lower end of its t interval.
    pub low: f64,
    /// Upper end of its t interval.
    pub high: f64,
    /// Degrees of freedom: donors − 1 (paired), Welch–Satterthwaite (unpaired).
    pub df: f64,
    /// Two-sided p-value of no difference; 1 where nothing varies and nothing differs.
    pub p_value: f64,
    /// Adjusted over the scores (Benjamini–Hochberg).
    pub p_adjusted: f64,
    /// Two-sided p-value of Wilcoxon's signed-rank test of the differences within donors ([`signed_rank`]), a check that
    /// needs no normal distribution; NaN in an unpaired design. With n donors it is 2/2ⁿ at least.
    pub signed_rank_p: f64,
}

/// Donor means and the differences between the sides.
#[derive(Clone, Debug, PartialEq)]
pub struct DonorSummary {
    /// The design: paired or unpaired.
    pub design: Design,
    /// Donors with enough cells on one side only, which a paired design has no use for.
    pub one_sided: usize,
    /// Donors that were used, by name, the group's side first.
    pub donors: Vec<DonorMean>,
    /// One row a score, in the order of the columns.
    pub differences: Vec<DonorDifference>,
}

/// What each donor is summarised to on one side, in the order of the donors' levels: its cells there, and a value a score;
/// `None` where it has too few cells.
pub type Side = Vec<Option<(usize, Vec<f64>)>>;

/// Summarises the difference of scores between the cells of `group` and those of `comparison`, by donor.
///
/// `scores` are cells × scores (latent means, times their directions); `group` and `comparison` name levels of `groups`,
/// `comparison` = `None` all others. Each donor is summarised by its mean scores, and [`compare_donors`] tells the rest.
///
/// # Errors
/// Labels that do not fit, an unknown group; of [`compare_donors`].
pub fn donor_differences(
    scores: &Dense,
    groups: (&str, &Coded),
    (group, comparison): (&str, Option<&str>),
    donors: (&str, &Coded),
    design: Design,
) -> Result<DonorSummary> {
    check_matrix("scores", scores)?;
    check_labels(groups.0, groups.1, scores.n_rows)?;
    check_labels(donors.0, donors.1, scores.n_rows)?;
    let group_code = find_level(groups.0, groups.1, group)? as u32;
    let comparison_code = comparison.map(|name| find_level(groups.0, groups.1, name)).transpose()?.map(|c| c as u32);
    let in_comparison = |code: u32| comparison_code.map_or(code != group_code, |c| code == c);

    let side_means = |wanted: &dyn Fn(u32) -> bool| {
        let mut sums = vec![(0usize, vec![0f64; scores.n_cols]); donors.1.levels.len()];
        for (i, &donor) in donors.1.codes.iter().enumerate().filter(|(i, _)| wanted(groups.1.codes[*i])) {
            let (n, sum) = &mut sums[donor as usize];
            *n += 1;
            sum.iter_mut().zip(scores.row(i)).for_each(|(s, &v)| *s += f64::from(v));
        }
        let mean = |(n, sum): (usize, Vec<f64>)| {
            (n >= FEWEST_CELLS).then(|| (n, sum.into_iter().map(|s| s / n as f64).collect::<Vec<f64>>()))
        };
        sums.into_iter().map(mean).collect::<Vec<_>>()
    };
    let sides = (side_means(&|code| code == group_code), side_means(&in_comparison));
    compare_donors(sides, (group, comparison.unwrap_or("rest")), (donors.0, &donors.1.levels), design)
}

/// Compares the donors of two sides, each with one value a score.
///
/// Paired: d̄ ± t · s_d/√n over the differences d of the n donors with both sides (paired t test). Unpaired:
/// x̄ − ȳ ± t · √(s²ₓ/n + s²ᵧ/m), Welch's.
///
/// # Errors
/// Fewer than two donors on a side (or pairs), in an unpaired design a donor on both sides.
pub fn compare_donors(
    (mut left, mut right): (Side, Side),
    (group, comparison): (&str, &str),
    (column, names): (&str, &[String]),
    design: Design,
) -> Result<DonorSummary> {
    let pairs = left.iter().zip(&right).filter(|(l, r)| l.is_some() && r.is_some()).count();
    let design = match design {
        Design::Detect if pairs > 1 => Design::Paired,
        Design::Detect => Design::Unpaired,
        design => design,
    };
    let mut one_sided = 0;
    for donor in 0..left.len() {
        let both = left[donor].is_some() && right[donor].is_some();
        match design {
            Design::Paired if !both => {
                one_sided += usize::from(left[donor].is_some() || right[donor].is_some());
                (left[donor], right[donor]) = (None, None);
            }
            Design::Unpaired if both => {
                return Err(Error::Inconsistent {
                    what: format!("donor `{}` of `{column}`", names[donor]),
                    problem: "it has cells on both sides of an unpaired comparison; use the paired design".to_owned(),
                });
            }
            _ => {}
        }
    }
    for (side, name) in [(&left, group), (&right, comparison)] {
        let found = side.iter().flatten().count();
        if found < 2 {
            return Err(Error::Inconsistent {
                what: format!("donors `{column}` with cells of `{name}`"),
                problem: format!(
                    "{found} with at least {} cells{}, two needed for an interval",
                    FEWEST_CELLS,
                    if design == Design::Paired { " on both sides" } else { "" }
                ),
            });
        }
    }
    let n_scores = left.iter().flatten().next().map_or(0, |(_, values)| values.len());
    let mut differences: Vec<DonorDifference> =
        (0..n_scores).map(|score| difference(score, &left, &right, design)).collect();
    let adjusted = benjamini_hochberg(&differences.iter().map(|d| d.p_value).collect::<Vec<_>>());
    differences.iter_mut().zip(adjusted).for_each(|(d, p)| d.p_adjusted = p);
    let mut used = Vec::new();
    for (side, in_group) in [(left, true), (right, false)] {
        for (donor, mean) in side.into_iter().enumerate() {
            if let Some((n_cells, means)) = mean {
                used.push(DonorMean { donor: names[donor].clone(), in_group, n_cells, means });
            }
        }
    }
    Ok(DonorSummary { design, one_sided, donors: used, differences })
}

/// Number, mean and sample variance.
fn moments(values: &[f64]) -> (f64, f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (n, mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

fn difference(
    score: usize,
    left: &[Option<(usize, Vec<f64>)>],
    right: &[Option<(usize, Vec<f64>)>],
    design: Design,
) -> DonorDifference {
    let of =
        |side: &[Option<(usize, Vec<f64>)>]| side.iter().flatten().map(|(_, means)| means[score]).collect::<Vec<f64>>();
    let (x, y) = (of(left), of(right));
    let ((n, mean_x, var_x), (m, mean_y, var_y)) = (moments(&x), moments(&y));
    let mut signed_rank_p = f64::NAN;
    let (error, df) = match design {
        Design::Paired => {
            let within: Vec<f64> = x.iter().zip(&y).map(|(a, b)| a - b).collect();
            signed_rank_p = signed_rank(&within);
            ((moments(&within).2 / n).sqrt(), n - 1.0)
        }
        Design::Unpaired | Design::Detect => {
            let (a, b) = (var_x / n, var_y / m);
            let df = (a + b).powi(2) / (a * a / (n - 1.0) + b * b / (m - 1.0));
            // Nothing varies: any number of degrees of freedom gives the same (empty) interval.
            ((a + b).sqrt(), if df.is_nan() { n + m - 2.0 } else { df })
        }
    };
    let difference = mean_x - mean_y;
    let half = critical(LEVEL, df) * error;
    let p_value = match (difference == 0.0, error == 0.0) {
        (true, _) => 1.0,
        (false, true) => 0.0,
        (false, false) => two_sided_p(difference / error, df),
    };
    DonorDifference {
        score,
        mean_group: mean_x,
        mean_comparison: mean_y,
        difference,
        low: difference - half,
        high: difference + half,
        df,
        p_value,
        p_adjusted: f64::NAN,
        signed_rank_p,
    }
}

/// Wilcoxon's signed-rank test: the two-sided p-value of the sum of the ranks of the positive differences.
///
/// Differences of 0 are left out, ranks of equal sizes are their mean. The p-value is exact, over all 2ⁿ ways to sign the
/// ranks as they are, twice the smaller tail; above 100 differences it is the normal approximation. 1 where no difference is
/// left.
pub fn signed_rank(differences: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    sizes.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Twice the ranks, so that means of ranks are whole.
    let mut ranks: Vec<(usize, bool)> = Vec::with_capacity(sizes.len());
    for ties in sizes.chunk_by(|a, b| a.abs() == b.abs()) {
        let twice = 2 * ranks.len() + ties.len() + 1;
        ranks.extend(ties.iter().map(|d| (twice, *d > 0.0)));
    }
    let (total, up) =
        ranks.iter().fold((0, 0), |(total, up), &(r, positive)| (total + r, up + if positive { r } else { 0 }));
    let tail = up.min(total - up);
    if ranks.len() > 100 {
        let variance = ranks.iter().map(|&(r, _)| (r * r) as f64).sum::<f64>() / 4.0;
        return (2.0 * cdf((tail as f64 - 0.5 * total as f64) / variance.sqrt())).min(1.0);
    }
    // The probability of every sum, rank by rank.
    let mut of_sum = vec![0f64; total + 1];
    of_sum[0] = 1.0;
    for &(r, _) in &ranks {
        for sum in (0..of_sum.len()).rev() {
            of_sum[sum] = 0.5 * (of_sum[sum] + if sum >= r { of_sum[sum - r] } else { 0.0 });
        }
    }
    (2.0 * of_sum[..=tail].iter().sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use scgraft_golden::Golden;

    use super::*;
    use crate::testing::{coded, normals};

    /// Cells whose donor means are given: each donor's cells are its mean ± 1.
    fn cells(donors: &[(u32, u32, f64)]) -> (Dense, Coded, Coded) {
        let mut values = Vec::new();
        let (mut group, mut donor) = (Vec::new(), Vec::new());
        for &(g, d, mean) in donors {
            for i in 0..20 {
                values.push(mean as f32 + if i % 2 == 0 { 1.0 } else { -1.0 });
                group.push(g);
                donor.push(d);
            }
        }
        let n = values.len();
        (Dense::new(n, 1, values), coded(&group, 2), coded(&donor, 12))
    }

    #[test]
    fn intervals_equal_scipy() {
        let golden = Golden::of("analysis", "analysis");
        let (x, y) = (golden.values("donors.x"), golden.values("donors.y"));
        for (design, tag) in [(Design::Paired, "paired"), (Design::Unpaired, "welch")] {
            let shift = if design == Design::Paired { 0 } else { 6 };
            let mut donors: Vec<(u32, u32, f64)> = x.iter().enumerate().map(|(i, &v)| (0, i as u32, v)).collect();
            donors.extend(y.iter().enumerate().map(|(i, &v)| (1, i as u32 + shift, v)));
            let (scores, group, donor) = cells(&donors);
            let found = donor_differences(&scores, ("g", &group), ("L0", None), ("donor", &donor), design);
            let row = found.unwrap().differences[0];
            let expected = golden.values(&format!("donors.{tag}"));
            for (a, b) in [row.difference, row.low, row.high, row.p_value, row.df].iter().zip(expected) {
                assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{tag}: {a} against {b}");
            }
        }
    }

    #[test]
    fn signed_ranks_equal_scipy() {
        let golden = Golden::of("analysis", "donors");
        for tag in ["few", "ties", "many"] {
            let found = signed_rank(golden.values(&format!("{tag}.differences")));
            let expected = golden.values(&format!("{tag}.p"))[0];
            assert!((found - expected).abs() < 1e-9, "{tag}: {found} against {expected}");
        }
        assert_eq!(signed_rank(&[0.0, 0.0]), 1.0);
        assert_eq!(signed_rank(&[1.0, 2.0, 3.0]), 0.25);
    }

    #[test]
    fn the_design_is_told_from_the_data() {
        let run = |donors: &[(u32, u32, f64)]| {
            let (scores, group, donor) = cells(donors);
            donor_differences(&scores, ("g", &group), ("L0", None), ("donor", &donor), Design::Detect)
        };
        // Donors differ by far more than the sides do: within donors the difference is certain.
        let pairs: Vec<(u32, u32, f64)> =
            (0..5).flat_map(|d| [(0, d, 10.0 * f64::from(d) + 1.0), (1, d, 10.0 * f64::from(d))]).collect();
        let within = [1.25, 1.0, 0.75, 1.0, 1.25];
        let pairs: Vec<_> =
            pairs.iter().map(|&(g, d, m)| (g, d, if g == 0 { m - 1.0 + within[d as usize] } else { m })).collect();
        let found = run(&[&pairs[..], &[(0, 7, 3.0)]].concat()).unwrap();
        assert_eq!((found.design, found.one_sided, found.donors.len()), (Design::Paired, 1, 10));
        let row = found.differences[0];
        assert!(row.p_value < 1e-3 && (row.difference - 1.05).abs() < 1e-6, "{row:?}");
        assert_eq!(row.signed_rank_p, 0.0625);
        let found = run(&[(0, 0, 1.0), (0, 1, 2.0), (1, 2, 0.0), (1, 3, 1.0)]).unwrap();
        assert_eq!((found.design, found.one_sided), (Design::Unpaired, 0));
        assert!(found.differences[0].signed_rank_p.is_nan());
        assert!(matches!(run(&[(0, 0, 1.0), (0, 1, 2.0), (1, 0, 0.0)]), Err(Error::Inconsistent { .. })));
    }

    #[test]
    fn interval_covers_the_truth_as_often_as_it_says() {
        // Donor effects far larger than the noise of cells: an interval over cells would hardly ever cover.
        let trials = 400;
        let covered = (0..trials)
            .filter(|&seed| {
                let z = normals(12, seed);
                let donors: Vec<(u32, u32, f64)> = (0..12)
                    .map(|i| (u32::from(i >= 6), i as u32, 3.0 * z[i] + if i < 6 { 2.0 } else { 0.0 }))
                    .collect();
                let (scores, group, donor) = cells(&donors);
                let pair = ("L0", Some("L1"));
                let found =
                    donor_differences(&scores, ("g", &group), pair, ("donor", &donor), Design::Unpaired).unwrap();
                (found.differences[0].low..found.differences[0].high).contains(&2.0)
            })
            .count();
        assert!((367..=393).contains(&covered), "{covered} of {trials} at a level of 0.95");
    }

    #[test]
    fn bad_input_is_refused() {
        let (scores, group, donor) = cells(&[(0, 0, 1.0), (0, 1, 2.0), (1, 0, 0.0), (1, 1, 1.0)]);
        let run = |design, name, rows: &[usize]| {
            let (scores, group, donor) = (scores.select_rows(rows), group.select(rows), donor.select(rows));
            donor_differences(&scores, ("g", &group), (name, None), ("donor", &donor), design)
        };
        let all: Vec<usize> = (0..80).collect();
        assert!(run(Design::Paired, "L0", &all).is_ok());
        assert!(matches!(run(Design::Unpaired, "L0", &all), Err(Error::Inconsistent { .. })));
        assert!(matches!(run(Design::Paired, "L7", &all), Err(Error::UnknownGroup { .. })));
        // Nine cells of a donor are too few, ten are not.
        assert!(matches!(run(Design::Paired, "L0", &all[11..]), Err(Error::Inconsistent { .. })));
        assert!(run(Design::Paired, "L0", &all[10..]).is_ok());
        let mut broken = scores.clone();
        broken.values[2] = f32::NAN;
        let found = donor_differences(&broken, ("g", &group), ("L0", None), ("donor", &donor), Design::Paired);
        assert!(matches!(found, Err(Error::NotFinite { row: 2, .. })));
    }
}
