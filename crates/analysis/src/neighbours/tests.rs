use proptest::prelude::*;
use scgraft_cells::Dense;

use super::{Neighbours, knn, knn_self};
use crate::Error;
use crate::testing::normal_matrix;

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
