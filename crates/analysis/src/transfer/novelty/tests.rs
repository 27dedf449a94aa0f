use super::*;
use crate::testing::{coded, normals};

/// Cells of types at corners of a cube; each study moved by its own step, each type seen in each.
fn cells(types: &[u32], per_type: usize, studies: u32, step: f32, seed: u64) -> (Dense, Coded, Coded) {
    let n = types.len() * per_type * studies as usize;
    let noise = normals(n * 6, seed);
    let (mut values, mut labels, mut study) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..n {
        let (s, t) = (i as u32 % studies, types[i / studies as usize % types.len()]);
        for d in 0..6 {
            let corner = if t >> d & 1 == 1 { 6.0 } else { 0.0 };
            values.push(corner + step * (s + 1) as f32 * if d == 5 { 1.0 } else { 0.3 } + noise[i * 6 + d] as f32);
        }
        labels.push(t);
        study.push(s);
    }
    (Dense::new(n, 6, values), coded(&labels, 8), coded(&study, studies as usize))
}

#[test]
fn a_new_type_is_new_and_a_moved_batch_is_not() {
    let called = |seed: u64| -> [f64; 2] {
        let (x, labels, studies) = cells(&[0, 1, 2, 3, 4], 60, 3, 0.5, 2 * seed);
        let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
        // A batch that moved further than any study, with a type that nobody knows.
        let (query, truth, _) = cells(&[0, 1, 2, 3, 4, 7], 100, 1, 3.0, 2 * seed + 1);
        let one = coded(&vec![0; query.n_rows], 1);
        let options = NoveltyOptions::default();
        let found = novelty(&reference, &query, ("batch", &one), None, &options, &Search::Exact).unwrap();
        assert_eq!(found.n_held_out, 3);
        [true, false].map(|new| {
            let own: Vec<usize> = (0..query.n_rows).filter(|&i| (truth.codes[i] == 7) == new).collect();
            own.iter().filter(|&&i| found.is_new(i)).count() as f64 / own.len() as f64
        })
    };
    // Cells of one type are called together, so that a single draw of 500 known cells says little: the mean of ten.
    let all: Vec<[f64; 2]> = (0..10).map(called).collect();
    let mean = |at: usize| all.iter().map(|c| c[at]).sum::<f64>() / 10.0;
    assert!(mean(0) > 0.95, "{all:?}");
    assert!((0.02..0.08).contains(&mean(1)), "{all:?}");
}

#[test]
fn a_reference_of_one_study_and_few_cells_are_enough() {
    let (x, labels, studies) = cells(&[0, 1, 2], 40, 1, 0.0, 3);
    let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
    let (query, _, batches) = cells(&[0, 6], 4, 1, 0.0, 4);
    let found =
        novelty(&reference, &query, ("batch", &batches), None, &NoveltyOptions::default(), &Search::Exact).unwrap();
    assert_eq!((found.n_held_out, found.score.len()), (0, 8));
    assert!((0..8).all(|i| found.score[i].is_finite()));
    let wrong = NoveltyOptions { false_alarms: 0.0, ..NoveltyOptions::default() };
    assert!(novelty(&reference, &query, ("batch", &batches), None, &wrong, &Search::Exact).is_err());
}

/// Counts of 30 genes; those of type t are 3t, 3t + 1 and 3t + 2.
fn counts(labels: &Coded, seed: u64) -> Csr {
    let noise = normals(labels.codes.len() * 30, seed);
    let of = |i: usize, g: usize| {
        let mean: f64 = if g / 3 == labels.codes[i] as usize { 30.0 } else { 5.0 };
        (mean + noise[i * 30 + g] * mean.sqrt()).round().max(0.0) as f32
    };
    let values = (0..labels.codes.len()).flat_map(|i| (0..30).map(move |g| (i, g))).map(|(i, g)| of(i, g)).collect();
    Dense::new(labels.codes.len(), 30, values).to_csr()
}

#[test]
fn a_type_that_the_map_does_not_tell_from_another_is_found_in_its_expression() {
    let (x, labels, studies) = cells(&[0, 1, 2, 3, 4, 5, 6], 60, 3, 0.5, 5);
    let reference = Labelled { x: &x, labels: ("type", &labels), studies: ("study", &studies) };
    // Type 7 lies where type 2 does.
    let (mut query, truth, batches) = cells(&[0, 1, 2, 3, 4, 5, 6, 7], 100, 1, 1.0, 6);
    let (like, _, _) = cells(&[0, 1, 2, 3, 4, 5, 6, 2], 100, 1, 1.0, 6);
    let new: Vec<bool> = truth.codes.iter().map(|&t| t == 7).collect();
    (0..query.n_rows).filter(|&i| new[i]).for_each(|i| query.row_mut(i).copy_from_slice(like.row(i)));
    let (known, asked) = (counts(&labels, 7), counts(&truth, 8));
    let options = NoveltyOptions::default();
    let share = |found: &Novelty, of: bool| {
        let own: Vec<usize> = (0..new.len()).filter(|&i| new[i] == of).collect();
        own.iter().filter(|&&i| found.is_new(i)).count() as f64 / own.len() as f64
    };
    let blind = novelty(&reference, &query, ("batch", &batches), None, &options, &Search::Exact).unwrap();
    assert!(blind.n_genes == 0 && share(&blind, true) < 0.3, "{}", share(&blind, true));
    let both = Some([&known, &asked]);
    let found = novelty(&reference, &query, ("batch", &batches), both, &options, &Search::Exact).unwrap();
    assert_eq!(found.n_genes, 30);
    assert!(share(&found, true) > 0.95, "{}", share(&found, true));
    assert!(share(&found, false) < 0.12, "{}", share(&found, false));

    // As it is carried by a model, and with a gene of no type lacking, it judges alike.
    let known = KnownTypes::learn(&reference, Some(&known), &options, &Search::Exact).unwrap();
    let carried: KnownTypes = serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
    assert_eq!(carried, known);
    assert!(carried.judges(6) && !carried.judges(5));
    assert!(!KnownTypes { dims: vec![99], ..carried.clone() }.judges(6), "a file may say anything");
    assert!(!KnownTypes { n_genes: usize::MAX, ..carried.clone() }.judges(6));
    let lacking: Vec<bool> = (0..30).map(|g| g == 29).collect();
    let judge =
        |lacking| carried.judge(&query, ("batch", &batches), Some((&asked, lacking)), 0.05, &Search::Exact).unwrap();
    assert_eq!(judge(None), found);
    let less = judge(Some(&lacking[..]));
    assert!(less.n_genes == 29 && share(&less, true) > 0.95 && share(&less, false) < 0.12);
    assert!(carried.judge(&query, ("batch", &batches), None, 0.05, &Search::Exact).is_err());
}
