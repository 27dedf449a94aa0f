//! Size factors and log normalisation.

use crate::Csr;

/// The median of the library sizes above 0; 0 when there is none.
fn median_library(library: &[f32]) -> f32 {
    let mut filled: Vec<f32> = library.iter().copied().filter(|&l| l > 0.0).collect();
    filled.sort_by(f32::total_cmp);
    let half = filled.len() / 2;
    match filled.len() {
        0 => 0.0,
        n if n % 2 == 1 => filled[half],
        _ => 0.5 * (filled[half - 1] + filled[half]),
    }
}

/// Size factor of each cell: its library size over `target`, or over the median of those above 0.
///
/// A cell without counts has factor 1 / target, so that dividing by it is safe.
pub fn size_factors(library: &[f32], target: Option<f32>) -> Vec<f32> {
    let target = target.unwrap_or_else(|| median_library(library));
    if target == 0.0 {
        return vec![1.0; library.len()];
    }
    library.iter().map(|&l| if l > 0.0 { l } else { 1.0 } / target).collect()
}

/// Divides each row by its size factor, so that every cell's values add up to `target` (the median library size
/// when `None`). Raw counts in; empty cells stay empty.
///
/// ```
/// use scgraft_cells::{Dense, normalize_total};
///
/// let counts = Dense::new(2, 2, vec![1.0, 3.0, 2.0, 0.0]).to_csr();
/// let normalised = normalize_total(&counts, Some(100.0)).to_dense();
/// assert_eq!(normalised.values, [25.0, 75.0, 100.0, 0.0]);
/// ```
pub fn normalize_total(counts: &Csr, target: Option<f32>) -> Csr {
    let factors = size_factors(&counts.row_sums(), target);
    let mut out = counts.clone();
    for (i, factor) in factors.iter().enumerate() {
        out.values[counts.indptr[i]..counts.indptr[i + 1]].iter_mut().for_each(|v| *v /= factor);
    }
    out
}

/// Natural logarithm of 1 + each value.
pub fn log1p(x: &Csr) -> Csr {
    Csr { values: x.values.iter().map(|v| v.ln_1p()).collect(), ..x.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dense;

    #[test]
    fn the_median_cell_keeps_its_counts_and_empty_cells_stay_empty() {
        let counts = Dense::new(4, 2, vec![1.0, 1.0, 2.0, 2.0, 0.0, 0.0, 4.0, 4.0]).to_csr();
        let normalised = normalize_total(&counts, None);
        assert_eq!(normalised.row_sums(), [4.0, 4.0, 0.0, 4.0]);
        assert_eq!(size_factors(&counts.row_sums(), None), [0.5, 1.0, 0.25, 2.0]);
        assert_eq!(log1p(&normalised).row(0).1, [2f32.ln_1p(); 2]);
        assert_eq!(size_factors(&[0.0, 0.0], None), [1.0, 1.0]);
    }
}
