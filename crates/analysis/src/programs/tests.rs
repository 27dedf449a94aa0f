use scgraft_cells::Dense;
use scgraft_golden::Golden;

use super::*;
use crate::programs::stratum::{compat_outcome, of_pairs, variance_of_mean};
use crate::programs::superiority::{Placements, Posteriors, by_grid, by_pairs, grid_of};
use crate::programs::{DirectionMethod, Pairs, ProgramTestRow, active_programs, directions, gene_importance};
use crate::testing::{coded, golden_matrix, normal_matrix, normals};

struct Fixture {
    golden: Golden,
    mean: Dense,
    variance: Dense,
    labels: Coded,
    names: Vec<String>,
    weights: Dense,
}

fn fixture() -> Fixture {
    let golden = Golden::read("expimap_program_test");
    let dense = |name: &str| golden_matrix(&golden, name);
    let blocks = [dense("weight.expr_L"), dense("weight.ext_L_m"), dense("weight.ext_L")];
    let mut weights = Dense::zeros(blocks[0].n_rows, 9);
    for gene in 0..weights.n_rows {
        let row: Vec<f32> = blocks.iter().flat_map(|b| b.row(gene).to_vec()).collect();
        weights.row_mut(gene).copy_from_slice(&row);
    }
    let mut labels = coded(&golden.codes("group"), 3);
    labels.levels = ["g0", "g1", "g2"].map(str::to_owned).to_vec();
    Fixture {
        mean: dense("latent.mean"),
        variance: dense("latent.var"),
        labels,
        names: (0..9).map(|i| format!("P{i}")).collect(),
        weights,
        golden,
    }
}

fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{what}: {found} against {expected}");
}

#[test]
fn equals_scarches_on_all_pairs() {
    let f = fixture();
    let signs = directions(&f.weights, DirectionMethod::Sum).unwrap().sign;
    for (tag, directions) in [("plain", None), ("directed", Some(signs.as_slice()))] {
        for versus in ["rest", "g2"] {
            let comparison = match versus {
                "rest" => Comparison::Rest,
                group => Comparison::Groups(vec![group.to_owned()]),
            };
            let options = ProgramTestOptions { comparison, ..ProgramTestOptions::default() };
            let latent = Latent { mean: &f.mean, variance: &f.variance, programs: &f.names, directions };
            let found = test_programs(latent, ("group", &f.labels), None, &options).unwrap();
            assert_eq!(found.rows.len(), 9 * if versus == "rest" { 3 } else { 2 });
            for row in &found.rows {
                let key = format!("{tag}.{versus}.{}", row.group);
                let expected = |name: &str| f.golden.values(&format!("{key}.{name}"))[row.program];
                // A program without direction (its weights are all zero) is tested as it is.
                if directions.is_some_and(|d| d[row.program] == 0) {
                    continue;
                }
                // The latent was rounded to f32.
                close(row.p_h0, expected("exact_p"), 2e-6, &key);
                close(row.log_bayes_factor, expected("exact_bf"), 2e-5, &key);
                close(row.p_h0 + row.p_h1, 1.0, 1e-12, &key);
            }
            let in_order = |pair: &[ProgramTestRow]| {
                pair[0].group < pair[1].group || pair[0].log_bayes_factor.abs() >= pair[1].log_bayes_factor.abs()
            };
            assert!(found.rows.windows(2).all(in_order));
        }
    }
}

#[test]
fn equals_scarches_on_its_own_draws() {
    let f = fixture();
    for versus in ["rest", "g2"] {
        for group in if versus == "rest" { vec!["g0", "g1", "g2"] } else { vec!["g0", "g1"] } {
            let key = format!("plain.{versus}.{group}");
            let (a, b) = (f.golden.codes(&format!("{key}.pick_a")), f.golden.codes(&format!("{key}.pick_b")));
            for program in 0..9 {
                let column = |m: &Dense| m.column(program).into_iter().map(f64::from).collect::<Vec<f64>>();
                let (mean, variance) = (column(&f.mean), column(&f.variance));
                let pairs = a.iter().zip(&b).map(|(&i, &j)| (i as usize, j as usize));
                let dead = a.iter().all(|&i| mean[i as usize] == 0.0);
                let found = compat_outcome(&of_pairs(&mean, &variance, pairs), dead);
                close(found.p, f.golden.values(&format!("{key}.p"))[program], 2e-6, &key);
                close(found.log_ratio, f.golden.values(&format!("{key}.bf"))[program], 2e-5, &key);
            }
        }
    }
}

#[test]
fn directions_and_active_programs_equal_scarches() {
    let f = fixture();
    let signs = |name: &str| f.golden.values(name).iter().map(|&v| v as i8).collect::<Vec<i8>>();
    assert_eq!(directions(&f.weights, DirectionMethod::Sum).unwrap().sign, signs("directions.sum"));
    let counts = directions(&f.weights, DirectionMethod::Counts).unwrap();
    assert_eq!(counts.sign, signs("directions.counts"));
    for (a, b) in counts.confidence.iter().zip(f.golden.values("directions.counts_confidence")) {
        close(*a, *b, 1e-7, "confidence");
    }
    let active: Vec<u32> = active_programs(&f.weights).into_iter().map(u32::from).collect();
    assert_eq!(active, f.golden.codes("active"));
}

/// A program's posteriors in three groups that overlap, with widths over a range of ten.
fn three_groups(n: usize, widths: (f64, f64)) -> (Vec<f64>, Vec<f64>, Vec<std::ops::Range<usize>>) {
    let mean = normals(3 * n, 1).iter().enumerate().map(|(i, z)| z + 0.7 * (i / n) as f64).collect();
    let variance = normals(3 * n, 2)
        .iter()
        .map(|z| {
            (widths.0.ln() + (widths.1 / widths.0).ln() * scgraft_numeric::distributions::normal::cdf(*z)).exp().powi(2)
        })
        .collect();
    (mean, variance, (0..3).map(|g| g * n..(g + 1) * n).collect())
}

#[test]
fn grid_equals_all_pairs() {
    for widths in [(0.05, 0.5), (0.3, 0.3), (1.0, 10.0), (0.01, 1.0)] {
        let (mean, variance, groups) = three_groups(150, widths);
        let posteriors = Posteriors { mean: &mean, variance: &variance, groups: &groups };
        // The second and the third group are not compared.
        let compared = |g: usize, h: usize| g == 0 || h == 0;
        let pairs = by_pairs(&posteriors, &compared);
        let grid = by_grid(&posteriors, &compared, &grid_of(&mean, &variance).unwrap());
        for i in 0..450 {
            for h in 0..3 {
                let (a, b) = (pairs.above(i, h), grid.above(i, h));
                assert!((a - b).abs() < 1e-11, "{widths:?}, cell {i}, group {h}: {a} against {b}");
                let (a, b) = (pairs.below(i, h), grid.below(i, h));
                assert!((a - b).abs() < 1e-11, "{widths:?}, cell {i}, group {h}: {a} against {b}");
            }
        }
    }
}

#[test]
fn grid_keeps_the_tails() {
    // All cells of a far above all of b: what counts is the small probability, to its own precision.
    let (mut mean, variance, _) = three_groups(50, (0.2, 0.4));
    mean.iter_mut().enumerate().for_each(|(i, m)| *m = 0.1 * *m + if i < 75 { 2.3 } else { 0.0 });
    let groups = [0..75, 75..150];
    let posteriors = Posteriors { mean: &mean, variance: &variance, groups: &groups };
    let pairs = by_pairs(&posteriors, &|_, _| true);
    let grid = by_grid(&posteriors, &|_, _| true, &grid_of(&mean, &variance).unwrap());
    let total = |p: &Placements| (0..75).map(|i| p.below(i, 1)).sum::<f64>();
    let mean_probability = total(&pairs) / (75.0 * 75.0);
    assert!(mean_probability < 1e-6 && mean_probability > grid.floor, "{mean_probability}");
    assert!((total(&grid) / total(&pairs) - 1.0).abs() < 1e-6, "{} {}", total(&grid), total(&pairs));
}

/// Groups 0 and 1 differ in program 0 only, by two standard deviations, within both studies.
fn planted() -> (Dense, Dense, Coded, Coded, Vec<String>) {
    let mut mean = normal_matrix(400, 4, 5);
    let group: Vec<u32> = (0..400).map(|i| i % 2).collect();
    let study: Vec<u32> = (0..400).map(|i| u32::from(i >= 200)).collect();
    (0..400).filter(|i| i % 2 == 1).for_each(|i| mean.row_mut(i)[0] -= 6.0);
    let variance = Dense::new(400, 4, vec![0.1; 1600]);
    (mean, variance, coded(&group, 2), coded(&study, 3), (0..4).map(|i| format!("P{i}")).collect())
}

#[test]
fn finds_the_planted_program_in_its_direction() {
    let (mean, variance, group, study, names) = planted();
    let signs = [-1, 1, 0, 1];
    let latent = Latent { mean: &mean, variance: &variance, programs: &names, directions: Some(&signs) };
    for pairs in [Pairs::All, Pairs::Sampled { n: 5000, seed: 3 }] {
        let options = ProgramTestOptions { pairs, ..ProgramTestOptions::default() };
        let found = test_programs(latent, ("group", &group), Some(("study", &study)), &options).unwrap();
        assert_eq!(found.rows.len(), 2 * 2 * 4);
        for rows in found.rows.chunks(4) {
            assert_eq!((rows[0].name.as_str(), rows[0].n_group, rows[0].n_comparison), ("P0", 100, 100));
            assert!(rows[0].enriched() && rows[1..].iter().all(|r| !r.enriched()));
            // Lower in group 1, and a lower score means up.
            assert_eq!(rows[0].log_bayes_factor > 0.0, rows[0].group == "L1");
            // Sampled pairs: the error is that of the sampling alone, around what all pairs give.
            let all = pairs == Pairs::All;
            assert!(!all || rows[1..].iter().all(|r| (r.p_h0 - 0.5).abs() < 4.0 * r.standard_error));
        }
    }
}

#[test]
fn standard_error_is_the_spread_over_samples() {
    let options = ProgramTestOptions::default();
    let group = coded(&(0..80).map(|i| i % 2).collect::<Vec<_>>(), 2);
    let names = vec!["P".to_owned()];
    let variance = Dense::new(80, 1, vec![0.3; 80]);
    let (mut estimates, mut errors) = (Vec::new(), Vec::new());
    for seed in 0..300 {
        let mut mean = normal_matrix(80, 1, seed);
        (0..80).step_by(2).for_each(|i| mean.values[i] += 1.0);
        let latent = Latent { mean: &mean, variance: &variance, programs: &names, directions: None };
        let rows = test_programs(latent, ("group", &group), None, &options).unwrap().rows;
        estimates.push(rows[0].p_h0);
        errors.push(rows[0].standard_error);
    }
    let spread = (variance_of_mean(&estimates) * estimates.len() as f64).sqrt();
    let error = errors.iter().sum::<f64>() / errors.len() as f64;
    assert!((error / spread - 1.0).abs() < 0.15, "{error} against {spread}");
}

#[test]
fn far_apart_groups_have_a_finite_bayes_factor() {
    let mean = Dense::new(4, 1, vec![100.0, 100.0, 0.0, 0.0]);
    let variance = Dense::new(4, 1, vec![0.5; 4]);
    let group = coded(&[0, 0, 1, 1], 2);
    let names = vec!["P".to_owned()];
    let latent = Latent { mean: &mean, variance: &variance, programs: &names, directions: None };
    let rows = test_programs(latent, ("group", &group), None, &ProgramTestOptions::default()).unwrap().rows;
    // ln Φ(100) − ln Φ(−100), from scipy.special.log_ndtr.
    close(rows[0].log_bayes_factor, 5005.524208694205, 1e-9, "log Bayes factor");
    assert_eq!(rows[0].log_bayes_factor, -rows[1].log_bayes_factor);
}

#[test]
fn same_bits_on_one_and_many_threads() {
    let (mean, variance, group, _, names) = planted();
    let latent = Latent { mean: &mean, variance: &variance, programs: &names, directions: None };
    let run = |threads, pairs| {
        let options = ProgramTestOptions { pairs, ..ProgramTestOptions::default() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| test_programs(latent, ("group", &group), None, &options).unwrap())
    };
    for pairs in [Pairs::All, Pairs::Sampled { n: 500, seed: 1 }] {
        assert_eq!(run(1, pairs), run(3, pairs));
    }
}

#[test]
fn genes_by_importance() {
    let weights = Dense::new(4, 2, vec![0.5, 0.0, -1.5, 0.0, 0.0, 0.0, 2.0, 0.0]);
    let found = gene_importance(&weights, Some(&[vec![0, 1, 2], vec![3]])).unwrap();
    let order: Vec<(usize, bool)> = found[0].genes.iter().map(|g| (g.gene, g.in_set)).collect();
    assert_eq!(order, [(3, false), (1, true), (0, true)]);
    close(found[0].genes[0].share, 0.5, 1e-12, "share");
    let entropy: f64 = [0.5f64, 0.375, 0.125].iter().map(|s| -s * s.ln()).sum();
    close(found[0].normalised_entropy, entropy / 4f64.ln(), 1e-12, "entropy");
    assert_eq!((found[1].genes.len(), found[1].normalised_entropy), (0, 0.0));
    let even = Dense::new(3, 1, vec![1.0, -1.0, 1.0]);
    close(gene_importance(&even, None).unwrap()[0].normalised_entropy, 1.0, 1e-12, "even");
    assert!(matches!(gene_importance(&weights, Some(&[vec![], vec![9]])), Err(Error::Inconsistent { .. })));
}

#[test]
fn bad_input_is_refused() {
    let (mean, variance, group, study, names) = planted();
    let latent = Latent { mean: &mean, variance: &variance, programs: &names, directions: None };
    let run = |latent: Latent, labels: &Coded, options: &ProgramTestOptions| {
        test_programs(latent, ("group", labels), None, options)
    };
    let options = ProgramTestOptions::default();
    assert!(matches!(run(latent, &coded(&[0; 400], 2), &options), Err(Error::TooFewLevels { found: 1, .. })));
    assert!(matches!(run(latent, &coded(&[0; 9], 2), &options), Err(Error::Length { .. })));
    let mut alone = coded(&[0; 400], 2);
    alone.codes[5] = 1;
    assert!(matches!(run(latent, &alone, &options), Err(Error::SmallGroup { found: 1, needed: 2, .. })));
    let unknown = ProgramTestOptions { comparison: Comparison::Groups(vec!["rest".into()]), ..options.clone() };
    assert!(matches!(run(latent, &group, &unknown), Err(Error::UnknownGroup { .. })));
    let negative = Dense::new(400, 4, vec![-1.0; 1600]);
    assert!(matches!(run(Latent { variance: &negative, ..latent }, &group, &options), Err(Error::Inconsistent { .. })));
    let mut broken = mean.clone();
    broken.row_mut(3)[1] = f32::INFINITY;
    assert!(matches!(run(Latent { mean: &broken, ..latent }, &group, &options), Err(Error::NotFinite { row: 3, .. })));
    // A group too small to test does not keep the others from it, unless it was asked for.
    let mut small = group.clone();
    small.levels.push("few".into());
    small.codes[5] = 2;
    let found = run(latent, &small, &options).unwrap();
    assert_eq!((found.rows.len(), found.skipped.len(), found.skipped[0].group.as_str()), (2 * 4, 1, "few"));
    let asked = ProgramTestOptions { groups: Some(vec!["few".into()]), ..options.clone() };
    assert!(matches!(run(latent, &small, &asked), Err(Error::SmallGroup { found: 1, .. })));
    // In a stratum where a side has no cells, the comparison is skipped and listed.
    let mut one_sided = study.clone();
    group.codes.iter().zip(&mut one_sided.codes).filter(|(g, s)| **g == 1 && **s == 1).for_each(|(_, s)| *s = 0);
    let found = test_programs(latent, ("group", &group), Some(("study", &one_sided)), &options).unwrap();
    assert_eq!(found.rows.len(), 2 * 4);
    assert_eq!(found.skipped.len(), 2);
    assert_eq!((found.skipped[0].stratum.as_deref(), found.skipped[0].n_comparison), (Some("L1"), 0));
}
