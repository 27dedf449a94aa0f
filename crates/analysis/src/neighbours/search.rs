//! Which search: the one choice that everything built on neighbours passes on.

use scgraft_cells::Dense;

use super::{ApproximateOptions, Neighbours, knn, knn_approximate, knn_self, knn_self_approximate};
use crate::error::Result;

/// How neighbours are searched for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Search {
    /// Every cell against every cell.
    #[default]
    Exact,
    /// In the nearest lists of an inverted file, with a measured recall; for hundreds of thousands of cells and more.
    Approximate(ApproximateOptions),
}

/// Neighbours, and how many of the true ones are among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The neighbours.
    pub neighbours: Neighbours,
    /// Share of the true neighbours found: 1 of an exact search, measured on a sample of an approximate one.
    pub recall: f64,
}

impl Search {
    /// The `k` nearest rows of `reference` for each row of `query`.
    ///
    /// # Errors
    /// As [`knn`] and [`knn_approximate`].
    pub fn between(&self, reference: &Dense, query: &Dense, k: usize) -> Result<Found> {
        Ok(match self {
            Search::Exact => Found { neighbours: knn(reference, query, k)?, recall: 1.0 },
            Search::Approximate(options) => {
                let found = knn_approximate(reference, query, k, options)?;
                Found { neighbours: found.neighbours, recall: found.recall }
            }
        })
    }

    /// The `k` nearest rows of `data` for each of its own rows; itself first with `include_self`, or left out.
    ///
    /// # Errors
    /// As [`knn_self`] and [`knn_self_approximate`].
    pub fn among(&self, data: &Dense, k: usize, include_self: bool) -> Result<Found> {
        Ok(match self {
            Search::Exact => Found { neighbours: knn_self(data, k, include_self)?, recall: 1.0 },
            Search::Approximate(options) => {
                let found = knn_self_approximate(data, k, include_self, options)?;
                Found { neighbours: found.neighbours, recall: found.recall }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal_matrix;

    #[test]
    fn both_searches_agree_where_the_approximate_one_must_find_all() {
        let (reference, query) = (normal_matrix(300, 5, 1), normal_matrix(40, 5, 2));
        let all = Search::Approximate(ApproximateOptions { recall: 1.0, ..ApproximateOptions::default() });
        let (exact, found) =
            (Search::Exact.between(&reference, &query, 7).unwrap(), all.between(&reference, &query, 7).unwrap());
        assert_eq!(exact.recall, 1.0);
        assert!(found.recall > 0.99, "{}", found.recall);
        let same = super::super::recall(&found.neighbours, &exact.neighbours).unwrap();
        assert!(same > 0.99, "{same}");
        let own = all.among(&reference, 4, true).unwrap().neighbours;
        assert!((0..300).all(|i| own.row(i).0[0] as usize == i));
    }
}
