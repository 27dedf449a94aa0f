//! Area under the receiver operating characteristic: how well a score tells two groups of cells apart.

use crate::error::{Error, Result};

/// P(score of a positive cell > score of a negative cell) + ½ P(equal), over all pairs; 0.5 is chance.
///
/// Mann and Whitney's statistic over the number of pairs, ties counted half.
///
/// # Errors
/// Lists of different length, a score that is not a number, no positive or no negative cell.
pub fn auroc(scores: &[f64], positive: &[bool]) -> Result<f64> {
    if scores.len() != positive.len() {
        return Err(Error::Length {
            what: "which cells are positive".to_owned(),
            expected: scores.len(),
            found: positive.len(),
        });
    }
    if let Some(row) = scores.iter().position(|s| s.is_nan()) {
        return Err(Error::NotFinite { what: "scores".to_owned(), row, column: 0, value: scores[row] });
    }
    let n_positive = positive.iter().filter(|&&p| p).count();
    let n_negative = scores.len() - n_positive;
    if n_positive == 0 || n_negative == 0 {
        let found = usize::from(n_positive > 0) + usize::from(n_negative > 0);
        return Err(Error::TooFewLevels { column: "positive or not".to_owned(), found, needed: 2 });
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut twice_wins = 0u128;
    let mut negatives_below = 0usize;
    for ties in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let up = ties.iter().filter(|&&i| positive[i]).count();
        let down = ties.len() - up;
        twice_wins += up as u128 * (2 * negatives_below + down) as u128;
        negatives_below += down;
    }
    Ok(twice_wins as f64 / (2.0 * n_positive as f64 * n_negative as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_count_of_pairs(points in prop::collection::vec((-5i8..5, any::<bool>()), 2..60)) {
            let scores: Vec<f64> = points.iter().map(|p| f64::from(p.0)).collect();
            let positive: Vec<bool> = points.iter().map(|p| p.1).collect();
            let (mut wins, mut pairs) = (0.0, 0.0);
            for a in points.iter().filter(|p| p.1) {
                for b in points.iter().filter(|p| !p.1) {
                    wins += if a.0 > b.0 { 1.0 } else if a.0 == b.0 { 0.5 } else { 0.0 };
                    pairs += 1.0;
                }
            }
            match auroc(&scores, &positive) {
                Ok(found) => prop_assert!((found - wins / pairs).abs() < 1e-12),
                Err(e) => prop_assert!(pairs == 0.0, "{}", e),
            }
        }
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(matches!(auroc(&[1.0, f64::NAN], &[true, false]), Err(Error::NotFinite { row: 1, .. })));
        assert!(matches!(auroc(&[1.0, 2.0], &[true, true]), Err(Error::TooFewLevels { found: 1, .. })));
        assert!(matches!(auroc(&[1.0], &[true, true]), Err(Error::Length { .. })));
    }
}
