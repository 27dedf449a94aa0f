//! Does a difference between groups of cells hold from donor to donor?
//!
//! Cells of one donor are not independent, so a test over cells finds differences that other donors would not show
//! (Squair et al. 2021, doi:10.1038/s41467-021-25960-2). Here each donor counts once: its mean score over its cells.

use scgraft_cells::{Coded, Dense};
use scgraft_numeric::distributions::student::{critical, two_sided_p};

use crate::error::{Error, Result, check_labels, check_matrix};
use crate::multiple_testing::benjamini_hochberg;

/// How donors of the two sides belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// Every donor has cells on both sides (before and after, two cell types): differences within donors. Donors with
    /// one side only are left out.
    Paired,
    /// Each donor is on one side (patients and controls): Welch's comparison of donor means.
    Unpaired,
}

/// Settings of the donor summary.
#[derive(Clone, Debug, PartialEq)]
pub struct DonorOptions {
    /// How donors of the two sides belong together.
    pub design: Design,
    /// Fewest cells of a donor on a side; fewer are too few for a mean and left out.
    pub min_cells: usize,
    /// Level of the interval, e.g. 0.95.
    pub level: f64,
}

impl DonorOptions {
    /// The usual settings: at least 10 cells of a donor, a 95 % interval.
    pub fn new(design: Design) -> Self {
        DonorOptions { design, min_cells: 10, level: 0.95 }
    }
}

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
}

/// Donor means and the differences between the sides.
#[derive(Clone, Debug, PartialEq)]
pub struct DonorSummary {
    /// Donors that were used, by name, the group's side first.
    pub donors: Vec<DonorMean>,
    /// One row a score, in the order of the columns.
    pub differences: Vec<DonorDifference>,
}

/// Summarises the difference of scores between the cells of `group` and those of `comparison`, by donor.
///
/// `scores` are cells × scores (latent means, times their directions); `group` and `comparison` name levels of `groups`,
/// `comparison` = `None` all others.
///
/// Paired: d̄ ± t · s_d/√n over the n donors with both sides. Unpaired: x̄ − ȳ ± t · √(s²ₓ/n + s²ᵧ/m), Welch.
///
/// # Errors
/// Labels that do not fit, an unknown group, fewer than two donors on a side (or pairs) after `min_cells`, in an unpaired
/// design a donor on both sides, a level outside 0 to 1.
pub fn donor_differences(
    scores: &Dense,
    groups: (&str, &Coded),
    (group, comparison): (&str, Option<&str>),
    donors: (&str, &Coded),
    options: &DonorOptions,
) -> Result<DonorSummary> {
    check_matrix("scores", scores)?;
    check_labels(groups.0, groups.1, scores.n_rows)?;
    check_labels(donors.0, donors.1, scores.n_rows)?;
    if !(options.level > 0.0 && options.level < 1.0) {
        return Err(Error::Parameter {
            name: "level",
            value: options.level.to_string(),
            expected: "a level between 0 and 1, such as 0.95",
        });
    }
    let find = |name: &str| {
        groups.1.levels.iter().position(|l| l == name).map(|p| p as u32).ok_or_else(|| Error::UnknownGroup {
            column: groups.0.to_owned(),
            group: name.to_owned(),
            levels: groups.1.levels.join(", "),
        })
    };
    let group_code = find(group)?;
    let comparison_code = comparison.map(find).transpose()?;
    let in_comparison = |code: u32| comparison_code.map_or(code != group_code, |c| code == c);

    let side_means = |wanted: &dyn Fn(u32) -> bool| {
        let mut sums = vec![(0usize, vec![0f64; scores.n_cols]); donors.1.levels.len()];
        for (i, &donor) in donors.1.codes.iter().enumerate().filter(|(i, _)| wanted(groups.1.codes[*i])) {
            let (n, sum) = &mut sums[donor as usize];
            *n += 1;
            sum.iter_mut().zip(scores.row(i)).for_each(|(s, &v)| *s += f64::from(v));
        }
        let enough = options.min_cells.max(1);
        let mean = |(n, sum): (usize, Vec<f64>)| {
            (n >= enough).then(|| (n, sum.into_iter().map(|s| s / n as f64).collect::<Vec<f64>>()))
        };
        sums.into_iter().map(mean).collect::<Vec<_>>()
    };
    let (mut left, mut right) = (side_means(&|code| code == group_code), side_means(&in_comparison));
    for donor in 0..left.len() {
        let both = left[donor].is_some() && right[donor].is_some();
        match options.design {
            Design::Paired if !both => (left[donor], right[donor]) = (None, None),
            Design::Unpaired if both => {
                return Err(Error::Inconsistent {
                    what: format!("donor `{}` of `{}`", donors.1.levels[donor], donors.0),
                    problem: "it has cells on both sides of an unpaired comparison; use the paired design".to_owned(),
                });
            }
            _ => {}
        }
    }
    for (side, name) in [(&left, group), (&right, comparison.unwrap_or("rest"))] {
        let found = side.iter().flatten().count();
        if found < 2 {
            return Err(Error::Inconsistent {
                what: format!("donors `{}` with cells of `{name}`", donors.0),
                problem: format!(
                    "{found} with at least {} cells{}, two needed for an interval",
                    options.min_cells,
                    if options.design == Design::Paired { " on both sides" } else { "" }
                ),
            });
        }
    }
    let mut differences: Vec<DonorDifference> =
        (0..scores.n_cols).map(|score| difference(score, &left, &right, options)).collect();
    let adjusted = benjamini_hochberg(&differences.iter().map(|d| d.p_value).collect::<Vec<_>>());
    differences.iter_mut().zip(adjusted).for_each(|(d, p)| d.p_adjusted = p);
    let mut used = Vec::new();
    for (side, in_group) in [(left, true), (right, false)] {
        for (donor, mean) in side.into_iter().enumerate() {
            if let Some((n_cells, means)) = mean {
                used.push(DonorMean { donor: donors.1.levels[donor].clone(), in_group, n_cells, means });
            }
        }
    }
    Ok(DonorSummary { donors: used, differences })
}

type Side = [Option<(usize, Vec<f64>)>];

/// Number, mean and sample variance.
fn moments(values: &[f64]) -> (f64, f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (n, mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

fn difference(score: usize, left: &Side, right: &Side, options: &DonorOptions) -> DonorDifference {
    let of = |side: &Side| side.iter().flatten().map(|(_, means)| means[score]).collect::<Vec<f64>>();
    let (x, y) = (of(left), of(right));
    let ((n, mean_x, var_x), (m, mean_y, var_y)) = (moments(&x), moments(&y));
    let (error, df) = match options.design {
        Design::Paired => {
            let within: Vec<f64> = x.iter().zip(&y).map(|(a, b)| a - b).collect();
            ((moments(&within).2 / n).sqrt(), n - 1.0)
        }
        Design::Unpaired => {
            let (a, b) = (var_x / n, var_y / m);
            let df = (a + b).powi(2) / (a * a / (n - 1.0) + b * b / (m - 1.0));
            // Nothing varies: any number of degrees of freedom gives the same (empty) interval.
            ((a + b).sqrt(), if df.is_nan() { n + m - 2.0 } else { df })
        }
    };
    let difference = mean_x - mean_y;
    let half = critical(options.level, df) * error;
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
    }
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
            let found =
                donor_differences(&scores, ("g", &group), ("L0", None), ("donor", &donor), &DonorOptions::new(design));
            let row = found.unwrap().differences[0];
            let expected = golden.values(&format!("donors.{tag}"));
            for (a, b) in [row.difference, row.low, row.high, row.p_value, row.df].iter().zip(expected) {
                assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{tag}: {a} against {b}");
            }
        }
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
                let options = DonorOptions { level: 0.8, ..DonorOptions::new(Design::Unpaired) };
                let found =
                    donor_differences(&scores, ("g", &group), ("L0", Some("L1")), ("donor", &donor), &options).unwrap();
                (found.differences[0].low..found.differences[0].high).contains(&2.0)
            })
            .count();
        assert!((290..=350).contains(&covered), "{covered} of {trials} at a level of 0.8");
    }

    #[test]
    fn bad_input_is_refused() {
        let (scores, group, donor) = cells(&[(0, 0, 1.0), (0, 1, 2.0), (1, 0, 0.0), (1, 1, 1.0)]);
        let run = |design, names, min_cells| {
            let options = DonorOptions { min_cells, ..DonorOptions::new(design) };
            donor_differences(&scores, ("g", &group), names, ("donor", &donor), &options)
        };
        assert!(run(Design::Paired, ("L0", None), 10).is_ok());
        assert!(matches!(run(Design::Unpaired, ("L0", None), 10), Err(Error::Inconsistent { .. })));
        assert!(matches!(run(Design::Paired, ("L0", None), 30), Err(Error::Inconsistent { .. })));
        assert!(matches!(run(Design::Paired, ("L7", None), 10), Err(Error::UnknownGroup { .. })));
        let mut broken = scores.clone();
        broken.values[2] = f32::NAN;
        let options = DonorOptions::new(Design::Paired);
        let found = donor_differences(&broken, ("g", &group), ("L0", None), ("donor", &donor), &options);
        assert!(matches!(found, Err(Error::NotFinite { row: 2, .. })));
    }
}
