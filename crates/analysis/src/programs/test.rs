//! Which programs differ between groups of cells: the Bayes-factor test of the expiMap paper.

use scgraft_cells::Coded;

use super::options::{Comparison, Latent, Pairs, ProgramTest, ProgramTestOptions, SkippedComparison};
use super::stratum::Stratum;
use crate::error::{Error, Result, check_labels, check_levels, check_matrix, find_level, level_sizes};

/// Most pairs that are drawn.
const MOST_PAIRS: usize = 1 << 24;

/// Tests every program for a difference between groups of cells.
///
/// For group a, comparison b and program i
///
/// p(H₀) = mean over pairs of Φ((μₐ − μ_b) / √(σ²ₐ + σ²_b)), log K = ln p(H₀) − ln(1 − p(H₀))
///
/// (Lotfollahi et al. 2023, doi:10.1038/s41556-022-01072-x, *Differential testing for GPs*; |log K| ≥ 2.3 is called
/// enriched). Cells are not replicates: where there are donors, look at [`crate::donors`] as well.
///
/// `groups` names and labels the cells; with `within`, the test is made inside each level of that column.
///
/// # Errors
/// Arrays that disagree in shape, values that are not finite, a negative variance, labels with fewer than two groups,
/// more than 2²⁴ drawn pairs, an unknown group, a group asked for by name or a comparison with fewer than `min_cells`
/// cells, or no other. (Groups that nobody named, and with `within` all, are skipped and listed instead.)
///
/// ```
/// use scgraft_analysis::programs::{Latent, ProgramTestOptions, test_programs};
/// use scgraft_cells::{Coded, Dense};
///
/// // Two programs, of which the first differs between control and stimulated cells.
/// let mean = Dense::new(4, 2, vec![0.0, 0.3, 0.2, -0.1, 2.0, 0.1, 1.8, 0.2]);
/// let variance = Dense::new(4, 2, vec![0.05; 8]);
/// let programs = ["interferon".to_owned(), "cell cycle".to_owned()];
/// let condition = Coded { codes: vec![0, 0, 1, 1], levels: vec!["control".into(), "stimulated".into()] };
/// let latent = Latent { mean: &mean, variance: &variance, programs: &programs, directions: Some(&[1, 1]) };
/// let found = test_programs(latent, ("condition", &condition), None, &ProgramTestOptions::default())?;
/// let first = found.rows.iter().find(|row| row.group == "stimulated").unwrap();
/// assert!(first.name == "interferon" && first.enriched() && first.log_bayes_factor > 0.0);
/// # Ok::<(), scgraft_analysis::Error>(())
/// ```
pub fn test_programs(
    latent: Latent,
    groups: (&str, &Coded),
    within: Option<(&str, &Coded)>,
    options: &ProgramTestOptions,
) -> Result<ProgramTest> {
    check_latent(&latent)?;
    if let Pairs::Sampled { n, .. } = options.pairs
        && n > MOST_PAIRS
    {
        let expected = "at most 16,777,216 pairs; without a number, every pair counts, exactly";
        return Err(Error::Parameter { name: "pairs", value: n.to_string(), expected });
    }
    let n = latent.mean.n_rows;
    let (column, labels) = groups;
    check_labels(column, labels, n)?;
    check_levels(column, labels, 2)?;
    let against = match &options.comparison {
        Comparison::Rest => None,
        Comparison::Groups(names) => Some(find_levels(column, labels, names)?),
    };
    let mut tested = match &options.groups {
        None => (0..labels.levels.len()).collect(),
        Some(names) => find_levels(column, labels, names)?,
    };
    let sizes = level_sizes(labels);
    if options.groups.is_none() {
        tested.retain(|&g| sizes[g] > 0);
    }
    if let Some(against) = &against {
        tested.retain(|g| !against.contains(g));
    }
    let mut out = ProgramTest::default();
    let strata: Vec<(Option<String>, Vec<usize>)> = match within {
        None => vec![(None, (0..n).collect())],
        Some((name, strata)) => {
            check_labels(name, strata, n)?;
            let named = strata.levels.iter().cloned().map(Some).zip(strata.members());
            named.filter(|(_, cells)| !cells.is_empty()).collect()
        }
    };
    for (index, (stratum, cells)) in strata.iter().enumerate() {
        let mut comparisons = Vec::new();
        let in_stratum = |g: usize| cells.iter().filter(|&&i| labels.codes[i] as usize == g).count();
        for &g in &tested {
            let others: Vec<usize> = match &against {
                Some(a) => a.clone(),
                None => (0..labels.levels.len()).filter(|&h| h != g).collect(),
            };
            let (n_group, n_comparison) = (in_stratum(g), others.iter().map(|&h| in_stratum(h)).sum::<usize>());
            let least = options.min_cells.max(1);
            if n_group >= least && n_comparison >= least {
                comparisons.push((g, others));
            } else if stratum.is_some() || (options.groups.is_none() && n_comparison >= least) {
                let (group, stratum) = (labels.levels[g].clone(), stratum.clone());
                out.skipped.push(SkippedComparison { group, stratum, n_group, n_comparison });
            } else {
                let small_group = n_group < least;
                return Err(Error::SmallGroup {
                    column: column.to_owned(),
                    group: if small_group { labels.levels[g].clone() } else { options.comparison.name() },
                    found: if small_group { n_group } else { n_comparison },
                    needed: least,
                });
            }
        }
        let seed_of_stratum = index as u64;
        let stratum_cells = Stratum::new(&latent, labels, cells, comparisons);
        out.rows.extend(stratum_cells.test(stratum.as_deref(), seed_of_stratum, options));
    }
    match out.skipped.first() {
        Some(first) if out.rows.is_empty() && within.is_none() => Err(Error::SmallGroup {
            column: column.to_owned(),
            group: first.group.clone(),
            found: first.n_group,
            needed: options.min_cells.max(1),
        }),
        _ => Ok(out),
    }
}

fn check_latent(latent: &Latent) -> Result<()> {
    check_matrix("latent means", latent.mean)?;
    check_matrix("latent variances", latent.variance)?;
    let length = |what: &str, expected: usize, found: usize| {
        if expected == found { Ok(()) } else { Err(Error::Length { what: what.to_owned(), expected, found }) }
    };
    length("rows of the latent variances", latent.mean.n_rows, latent.variance.n_rows)?;
    length("columns of the latent variances", latent.mean.n_cols, latent.variance.n_cols)?;
    length("program names", latent.mean.n_cols, latent.programs.len())?;
    if let Some(directions) = latent.directions {
        length("directions", latent.mean.n_cols, directions.len())?;
    }
    match latent.variance.values.iter().position(|&v| v < 0.0) {
        None => Ok(()),
        Some(at) => Err(Error::Inconsistent {
            what: format!("latent variances, row {}, column {}", at / latent.mean.n_cols, at % latent.mean.n_cols),
            problem: format!("{} is negative; give variances, not their logarithms", latent.variance.values[at]),
        }),
    }
}

fn find_levels(column: &str, labels: &Coded, names: &[String]) -> Result<Vec<usize>> {
    names.iter().map(|name| find_level(column, labels, name)).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
