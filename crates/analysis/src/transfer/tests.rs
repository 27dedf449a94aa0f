use proptest::prelude::*;
use scgraft_cells::{Coded, Dense};
use scgraft_golden::Golden;

use super::*;
use crate::testing::{coded, golden_matrix, normal_matrix, normals};
use crate::{Error, Neighbours, knn, knn_self};

#[test]
fn equals_scarches_and_the_paper() {
    let golden = Golden::read("label_transfer");
    let dense = |name: &str| golden_matrix(&golden, name);
    let (reference, query) = (dense("reference.latent"), dense("query.latent"));
    let labels = coded(&golden.codes("reference.label"), 5);
    for k in [5, 15] {
        let neighbours = knn(&reference, &query, k).unwrap();
        assert_eq!(neighbours.indices, golden.codes(&format!("k{k}.index")));
        for (kernel, tag) in [(Kernel::Compat, "compat"), (Kernel::Paper, "paper")] {
            let options = TransferOptions { kernel, probabilities: true, ..TransferOptions::default() };
            let found = transfer_labels(&neighbours, &[("cell_type", &labels)], &options).unwrap().swap_remove(0);
            assert_eq!(found.best, golden.codes(&format!("k{k}.{tag}.label")));
            let close = |a: f64, b: f64| assert!((a - b).abs() < 2e-5, "k {k}, {tag}: {a} against {b}");
            let expected = golden.values(&format!("k{k}.{tag}.uncertainty"));
            found.uncertainty.iter().zip(expected).for_each(|(&a, &b)| close(a, b));
            let expected = golden.values(&format!("k{k}.{tag}.probability"));
            found.probabilities.unwrap().values.iter().zip(expected).for_each(|(&a, &b)| close(f64::from(a), b));
        }
    }
}

/// Two groups on a line: cells of "a" at 0, of "b" at 10.
fn line() -> (Dense, Coded) {
    let positions: Vec<f32> = (0..20).map(|i| if i < 10 { 0.1 * i as f32 } else { 10.0 + 0.1 * i as f32 }).collect();
    (Dense::new(20, 1, positions), coded(&(0..20).map(|i| u32::from(i >= 10)).collect::<Vec<_>>(), 2))
}

#[test]
fn several_columns_and_unknowns() {
    let (reference, labels) = line();
    let study = coded(&(0..20).map(|i| i % 2).collect::<Vec<_>>(), 2);
    let query = Dense::new(2, 1, vec![0.45, 11.0]);
    let neighbours = knn(&reference, &query, 4).unwrap();
    let options = TransferOptions { kernel: Kernel::Uniform, unknown_above: 0.4, probabilities: true };
    let found = transfer_labels(&neighbours, &[("type", &labels), ("study", &study)], &options).unwrap();
    assert_eq!(found[0].labels(), ["L0", "L1"]);
    assert_eq!(found[0].uncertainty, [0.0, 0.0]);
    // Half of the neighbours each: the first level is the best one, and it is uncertain.
    assert_eq!(found[1].best[0], 0);
    assert_eq!(found[1].uncertainty[0], 0.5);
    assert_eq!(found[1].labels()[0], UNKNOWN);
    assert_eq!(found[1].probabilities.as_ref().unwrap().row(0), [0.5, 0.5]);
}

#[test]
fn parent_where_the_child_is_uncertain() {
    let positions: Vec<f32> = (0..30).map(|i| if i < 20 { 0.01 * i as f32 } else { 10.0 + 0.01 * i as f32 }).collect();
    let reference = Dense::new(30, 1, positions);
    let fine = coded(&(0..30).map(|i| if i < 20 { i % 2 } else { 2 }).collect::<Vec<_>>(), 3);
    let coarse = coded(&(0..30).map(|i| u32::from(i >= 20)).collect::<Vec<_>>(), 2);
    let query = Dense::new(2, 1, vec![0.095, 10.25]);
    let neighbours = knn(&reference, &query, 4).unwrap();
    let options = TransferOptions { kernel: Kernel::Uniform, unknown_above: 0.3, probabilities: false };
    let columns = [("fine", &fine), ("coarse", &coarse)];
    let found = HierarchicalTransfer::of(transfer_labels(&neighbours, &columns, &options).unwrap());
    assert_eq!(found.depth, [Some(1), Some(0)]);
    assert_eq!((found.label(0), found.label(1)), ("L0", "L2"));
    assert_eq!([1, 0].map(|depth: usize| found.depths[depth].uncertainty[0]), [0.0, 0.5]);
    check_nested(&columns).unwrap();
    // The other way round the levels are not nested.
    assert!(matches!(check_nested(&[columns[1], columns[0]]), Err(Error::Inconsistent { .. })));
}

#[test]
fn values_are_weighted_means() {
    let reference = Dense::new(3, 1, vec![0.0, 1.0, 5.0]);
    let values = Dense::new(3, 2, vec![1.0, 10.0, 3.0, 10.0, 100.0, 10.0]);
    let neighbours = knn(&reference, &Dense::new(1, 1, vec![0.5]), 2).unwrap();
    let found = transfer_values(&neighbours, &values, Kernel::Paper).unwrap();
    assert_eq!((found.mean.row(0), found.sd.row(0)), ([2.0, 10.0].as_slice(), [1.0, 0.0].as_slice()));
}

#[test]
fn far_cells_are_out_of_distribution_and_like_ones_are_uniform() {
    // A tight and a loose population: the loose one must not be called new.
    let mut reference = normal_matrix(2000, 5, 1);
    (0..1000).for_each(|i| reference.row_mut(i).iter_mut().for_each(|v| *v = 0.05 * *v + 20.0));
    let mut query = normal_matrix(600, 5, 2);
    (0..200).for_each(|i| query.row_mut(i).iter_mut().for_each(|v| *v = 0.05 * *v + 20.0));
    (400..600).for_each(|i| query.row_mut(i).iter_mut().for_each(|v| *v = 0.05 * *v - 9.0));
    let own = knn_self(&reference, 15, false).unwrap();
    let found = out_of_distribution(&own, &knn(&reference, &query, 15).unwrap()).unwrap();
    assert!(found.quantile[400..].iter().all(|&q| q == 1.0));
    for inside in [&found.quantile[..200], &found.quantile[200..400]] {
        let flagged = inside.iter().filter(|&&q| q > 0.95).count();
        assert!((1..=30).contains(&flagged), "{flagged} of 200 above 0.95");
        let mean = inside.iter().sum::<f64>() / 200.0;
        assert!((mean - 0.5).abs() < 0.1, "{mean}");
    }
    let other = knn(&reference, &query, 14).unwrap();
    assert!(matches!(out_of_distribution(&own, &other), Err(Error::Inconsistent { .. })));
}

#[test]
fn calibration_mends_overconfidence() {
    // Cells whose label is right with probability p² when the confidence says p.
    let n = 20_000;
    let uniform =
        |seed: u64, i: usize| (scgraft_numeric::random::mix(seed, i as u64) >> 11) as f64 / (1u64 << 53) as f64;
    let confidence: Vec<f64> = (0..n).map(|i| uniform(1, i)).collect();
    let correct: Vec<bool> = (0..n).map(|i| uniform(2, i) < confidence[i] * confidence[i]).collect();
    let before = reliability(&confidence, &correct, 10).unwrap();
    // ∫ p − p² = 1/6.
    assert!((before.expected_error - 1.0 / 6.0).abs() < 0.02, "{}", before.expected_error);
    assert_eq!(before.bins.iter().map(|b| b.n_cells).sum::<usize>(), n);
    let curve = Isotonic::fit(&confidence, &correct).unwrap();
    assert!((curve.apply(0.5) - 0.25).abs() < 0.05);
    let mended: Vec<f64> = confidence.iter().map(|&p| curve.apply(p)).collect();
    assert!(reliability(&mended, &correct, 10).unwrap().expected_error < 0.02);
}

#[test]
fn temperature_flattens_probabilities_that_are_too_sharp() {
    // Truth drawn from p, shown as p³ normalised: T = 3 mends it.
    let n = 4000;
    let mut shown = Dense::zeros(n, 3);
    let mut truth = Vec::new();
    for i in 0..n {
        let p: Vec<f64> = (0..3).map(|j| normals(3, i as u64)[j].abs() + 0.2).collect();
        let total: f64 = p.iter().sum();
        let draw = (scgraft_numeric::random::mix(9, i as u64) >> 11) as f64 / (1u64 << 53) as f64 * total;
        truth.push(if draw < p[0] {
            0
        } else if draw < p[0] + p[1] {
            1
        } else {
            2
        });
        let cubed: f64 = p.iter().map(|p| p.powi(3)).sum();
        (0..3).for_each(|j| shown.row_mut(i)[j] = (p[j].powi(3) / cubed) as f32);
    }
    let found = Temperature::fit(&shown, &truth, 1_000_000).unwrap();
    assert!((found.temperature - 3.0).abs() < 0.3, "{found:?}");
    assert!(found.apply(&shown).values.chunks(3).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
}

#[test]
fn reference_labelled_by_itself() {
    let (reference, labels) = line();
    let own = knn_self(&reference, 3, false).unwrap();
    let (found, correct) = leave_one_out(&own, "type", &labels, &TransferOptions::default()).unwrap();
    assert!(correct.iter().all(|&c| c) && found.uncertainty.iter().all(|&u| u < 1e-12));
}

#[test]
fn bad_input_is_refused() {
    let (reference, labels) = line();
    let neighbours = knn(&reference, &reference, 3).unwrap();
    let options = TransferOptions::default();
    let run = |labels: &Coded| transfer_labels(&neighbours, &[("type", labels)], &options);
    let short = coded(&[0, 1], 2);
    assert!(matches!(run(&short), Err(Error::Length { expected: 20, found: 2, .. })));
    assert!(matches!(run(&coded(&[0; 20], 3)), Err(Error::TooFewLevels { found: 1, .. })));
    let mut broken = labels.clone();
    broken.codes[7] = 9;
    assert!(matches!(run(&broken), Err(Error::Code { row: 7, code: 9, .. })));
    let wrong = TransferOptions { unknown_above: f64::NAN, ..TransferOptions::default() };
    assert!(matches!(
        transfer_labels(&neighbours, &[("type", &labels)], &wrong),
        Err(Error::Parameter { name: "unknown_above", .. })
    ));
    let empty = Neighbours::default();
    assert!(matches!(transfer_labels(&empty, &[("type", &labels)], &options), Err(Error::Parameter { .. })));
    let nan = Dense::new(20, 1, vec![f32::NAN; 20]);
    assert!(matches!(transfer_values(&neighbours, &nan, Kernel::Paper), Err(Error::NotFinite { .. })));
    assert!(matches!(reliability(&[0.5, 1.5], &[true, false], 10), Err(Error::Inconsistent { .. })));
    assert!(matches!(reliability(&[0.5], &[true, false], 10), Err(Error::Length { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn weights_sum_to_one_and_never_rise(mut d in prop::collection::vec(0f32..1e6, 1..40)) {
        d.sort_by(f32::total_cmp);
        for kernel in [Kernel::Adaptive, Kernel::Paper, Kernel::Compat, Kernel::Uniform, Kernel::Gaussian] {
            let mut w = vec![0.0; d.len()];
            kernel.weights(&d, &mut w);
            prop_assert!((w.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(w.windows(2).all(|p| p[0] >= p[1]));
        }
    }

    #[test]
    fn isotonic_rises_and_keeps_the_mean(points in prop::collection::vec((0u8..20, any::<bool>()), 1..80)) {
        let confidence: Vec<f64> = points.iter().map(|p| f64::from(p.0) / 20.0).collect();
        let correct: Vec<bool> = points.iter().map(|p| p.1).collect();
        let curve = Isotonic::fit(&confidence, &correct).unwrap();
        prop_assert!(curve.accuracy.windows(2).all(|p| p[0] <= p[1]));
        let fitted: f64 = confidence.iter().map(|&p| curve.apply(p)).sum();
        let right = correct.iter().filter(|&&c| c).count() as f64;
        prop_assert!((fitted - right).abs() < 1e-9 * points.len() as f64, "{} against {}", fitted, right);
    }
}
