use proptest::prelude::*;
use scgraft_cells::Dense;

use super::{ApproximateOptions, Neighbours, knn, knn_across, knn_approximate, knn_self, knn_self_approximate, recall};
use crate::Error;
use crate::testing::{coded, normal_matrix};

/// Every distance, sorted: what neighbours are by definition.
fn naive(reference: &Dense, query: &Dense, k: usize, exclude_self: bool) -> Neighbours {
    let mut out = Neighbours { k, ..Neighbours::default() };
    for i in 0..query.n_rows {
        let mut all: Vec<(f64, u32)> = (0..reference.n_rows)
            .filter(|&j| !(exclude_self && i == j))
            .map(|j| {
                let d2 =
                    query.row(i).iter().zip(reference.row(j)).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
                (d2.sum::<f64>(), j as u32)
            })
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        out.indices.extend(all[..k].iter().map(|x| x.1));
        out.distances.extend(all[..k].iter().map(|x| x.0.sqrt() as f32));
    }
    out
}

#[test]
fn equals_the_definition_across_blocks() {
    // More queries and references than one block of each.
    let reference = normal_matrix(2500, 17, 1);
    let query = normal_matrix(300, 17, 2);
    assert_eq!(knn(&reference, &query, 15).unwrap(), naive(&reference, &query, 15, false));
    assert_eq!(knn_self(&reference, 7, false).unwrap(), naive(&reference, &reference, 7, true));
}

#[test]
fn exact_far_from_the_origin_and_over_wild_scales() {
    let mut reference = normal_matrix(1500, 5, 3);
    for v in &mut reference.values {
        *v += 10_000.0;
    }
    // One row very far out: its norm must not blur the others.
    reference.row_mut(700).fill(3.0e18);
    let query = reference.select_rows(&(0..200).collect::<Vec<_>>());
    assert_eq!(knn(&reference, &query, 10).unwrap(), naive(&reference, &query, 10, false));
    let mut tiny = normal_matrix(300, 4, 4);
    for v in &mut tiny.values {
        *v *= 1e-30;
    }
    let found = knn_self(&tiny, 5, false).unwrap();
    assert_eq!(found.indices, naive(&tiny, &tiny, 5, true).indices);
}

#[test]
fn duplicates_come_in_order_of_their_index() {
    let same = Dense::new(10_000, 3, vec![1.5; 30_000]);
    let query = same.select_rows(&[0, 1]);
    let found = knn(&same, &query, 4).unwrap();
    assert_eq!(found.indices, [0, 1, 2, 3, 0, 1, 2, 3]);
    assert_eq!(found.distances, [0.0; 8]);
    assert_eq!(knn_self(&same.select_rows(&[0, 1, 2]), 2, true).unwrap().indices, [0, 1, 1, 0, 2, 0]);
}

#[test]
fn same_bits_on_one_and_many_threads() {
    let data = normal_matrix(1200, 10, 5);
    let run = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(|| knn_self(&data, 9, false).unwrap())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn bad_input_is_refused() {
    let data = normal_matrix(20, 3, 6);
    assert_eq!(knn(&data, &data, 21), Err(Error::TooManyNeighbours { k: 21, available: 20 }));
    assert_eq!(knn_self(&data, 20, false), Err(Error::TooManyNeighbours { k: 20, available: 19 }));
    assert!(knn_self(&data, 20, true).is_ok());
    assert!(matches!(knn(&data, &data, 0), Err(Error::Parameter { name: "k", .. })));
    assert!(matches!(knn(&data, &normal_matrix(5, 4, 7), 3), Err(Error::Dimensions { expected: 3, found: 4, .. })));
    assert!(matches!(knn(&Dense::zeros(0, 3), &data, 1), Err(Error::Empty { .. })));
    let mut broken = data.clone();
    broken.row_mut(13)[2] = f32::NAN;
    assert!(matches!(knn_self(&broken, 3, false), Err(Error::NotFinite { row: 13, column: 2, .. })));
}

#[test]
fn neighbours_across_groups_are_the_nearest_of_the_others() {
    let data = normal_matrix(120, 3, 8);
    let groups = coded(&(0..120).map(|i| (i * 7 / 5) % 3).collect::<Vec<u32>>(), 4);
    let found = knn_across(&data, ("study", &groups), 6).unwrap();
    let everyone = naive(&data, &data, 120, false);
    for i in 0..120 {
        let (indices, distances) = everyone.row(i);
        let others: Vec<usize> =
            (0..120).filter(|&j| groups.codes[indices[j] as usize] != groups.codes[i]).take(6).collect();
        assert_eq!(found.row(i).0, others.iter().map(|&j| indices[j]).collect::<Vec<_>>());
        assert_eq!(found.row(i).1, others.iter().map(|&j| distances[j]).collect::<Vec<_>>());
    }
    assert!(matches!(knn_across(&data, ("study", &coded(&[0; 120], 2)), 6), Err(Error::TooFewLevels { .. })));
    assert!(matches!(knn_across(&data, ("study", &groups), 100), Err(Error::TooManyNeighbours { .. })));
}

/// Thirty populations, some of few cells.
fn populations(n: usize, seed: u64) -> Dense {
    let mut data = normal_matrix(n, 8, seed);
    let centres = normal_matrix(30, 8, 99);
    for i in 0..n {
        let population = (i * i) % 30;
        data.row_mut(i).iter_mut().zip(centres.row(population)).for_each(|(v, c)| *v += 4.0 * c);
    }
    data
}

#[test]
fn approximate_search_keeps_its_promise() {
    let (reference, query) = (populations(4000, 1), populations(400, 2));
    for wanted in [0.8, 0.95] {
        let options = ApproximateOptions { recall: wanted, sample: 200, ..ApproximateOptions::default() };
        let found = knn_approximate(&reference, &query, 10, &options).unwrap();
        let truth = recall(&found.neighbours, &knn(&reference, &query, 10).unwrap()).unwrap();
        assert!(truth > wanted - 0.03, "{truth} at {wanted}");
        assert!((truth - found.recall).abs() < 0.03, "{truth} against the estimate {}", found.recall);
        assert!(found.probes <= found.lists && found.probes * 3 < found.lists, "{found:?}");
        let found = knn_self_approximate(&reference, 10, false, &options).unwrap();
        assert!((0..4000).all(|i| !found.neighbours.row(i).0.contains(&(i as u32))));
        let truth = recall(&found.neighbours, &knn_self(&reference, 10, false).unwrap()).unwrap();
        assert!(truth > wanted - 0.03, "{truth} at {wanted}, among themselves");
    }
}

#[test]
fn approximate_search_of_all_lists_is_exact() {
    let (reference, query) = (populations(900, 3), populations(50, 4));
    let options = ApproximateOptions { recall: 1.0, lists: Some(1), ..ApproximateOptions::default() };
    let found = knn_approximate(&reference, &query, 12, &options).unwrap();
    assert_eq!((found.neighbours, found.recall), (knn(&reference, &query, 12).unwrap(), 1.0));
    // As many neighbours as there are rows: one list never has them, and none is missing.
    let few = populations(40, 5);
    let options = ApproximateOptions { recall: 0.01, lists: Some(20), ..ApproximateOptions::default() };
    let found = knn_self_approximate(&few, 40, true, &options).unwrap();
    assert_eq!(found.neighbours, knn_self(&few, 40, true).unwrap());
}

#[test]
fn approximate_search_has_the_same_bits_on_any_threads() {
    let data = populations(3000, 6);
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = ApproximateOptions { recall: 0.7, seed, ..ApproximateOptions::default() };
        pool.install(|| knn_self_approximate(&data, 5, true, &options).unwrap())
    };
    assert_eq!(run(1, 4), run(3, 4));
    assert_ne!(run(1, 4), run(1, 5));
}

#[test]
fn approximate_search_refuses_bad_settings() {
    let data = normal_matrix(20, 3, 6);
    let run = |options: ApproximateOptions| knn_approximate(&data, &data, 3, &options);
    let base = ApproximateOptions::default();
    assert!(matches!(
        run(ApproximateOptions { recall: 1.5, ..base.clone() }),
        Err(Error::Parameter { name: "recall", .. })
    ));
    assert!(matches!(
        run(ApproximateOptions { lists: Some(21), ..base.clone() }),
        Err(Error::Parameter { name: "lists", .. })
    ));
    assert!(matches!(run(ApproximateOptions { sample: 0, ..base }), Err(Error::Parameter { name: "sample", .. })));
    assert!(matches!(
        knn_self_approximate(&data, 20, false, &ApproximateOptions::default()),
        Err(Error::TooManyNeighbours { k: 20, available: 19 })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Coordinates on a coarse grid, so that ties and duplicates are everywhere.
    #[test]
    fn equals_the_definition_with_ties(
        n in 1usize..60, m in 1usize..20, d in 1usize..4, k in 1usize..8, grid in prop::collection::vec(-2i8..3, 80 * 4),
        offset in -1e6f32..1e6,
    ) {
        let values = |from: usize, rows: usize| {
            let of = |i: usize| f32::from(grid[(from + i) % grid.len()]) + offset;
            Dense::new(rows, d, (0..rows * d).map(of).collect())
        };
        let (reference, query) = (values(0, n), values(n * d, m));
        let k = k.min(n);
        prop_assert_eq!(knn(&reference, &query, k).unwrap(), naive(&reference, &query, k, false));
    }
}
