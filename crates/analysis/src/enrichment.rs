//! Gene lists and gene rankings against known gene sets: the classical tests beside the Bayes factor, and what a
//! program learnt from data resembles.

use scgraft_numeric::distributions::{chi_square, hypergeometric, student};

use crate::error::{Error, Result};
use crate::multiple_testing::benjamini_hochberg;

/// One gene set against a gene list.
#[derive(Clone, Debug, PartialEq)]
pub struct OverRepresentation {
    /// Index of the gene set.
    pub set: usize,
    /// Genes of the set among the universe.
    pub set_size: usize,
    /// Genes of the list in the set, in the order of the list.
    pub overlap: Vec<u32>,
    /// Their number over what chance gives, |overlap| / (|list| |set| / |universe|).
    pub fold: f64,
    /// |overlap| / |list ∪ set|.
    pub jaccard: f64,
    /// P(overlap at least this large) when the list is drawn at random from the universe.
    pub p_value: f64,
    /// Adjusted over the sets (Benjamini–Hochberg).
    pub p_adjusted: f64,
}

/// Tests whether a list of genes has more genes of each set than chance would give: the hypergeometric test, one-sided.
///
/// Genes are numbers below `n_genes`, the universe: all genes that *could* have been in the list (the model's genes), not
/// all genes there are. For a program learnt from data, give its most important genes: the rows say which known
/// programs it resembles. By rising p-value, then by falling Jaccard index.
///
/// # Errors
/// An empty list, an empty set of sets, a gene past the universe, a gene twice in the list or in a set.
pub fn over_representation(list: &[u32], sets: &[Vec<u32>], n_genes: usize) -> Result<Vec<OverRepresentation>> {
    check_genes("gene list", list, n_genes)?;
    if list.is_empty() || sets.is_empty() {
        let what = if list.is_empty() { "gene list" } else { "gene sets" };
        return Err(Error::Empty { what: what.to_owned(), n_rows: 0, n_cols: 1 });
    }
    let mut listed = vec![false; n_genes];
    list.iter().for_each(|&g| listed[g as usize] = true);
    let mut rows = Vec::with_capacity(sets.len());
    for (set, genes) in sets.iter().enumerate() {
        check_genes(&format!("gene set {set}"), genes, n_genes)?;
        let mut in_set = vec![false; n_genes];
        genes.iter().for_each(|&g| in_set[g as usize] = true);
        let overlap: Vec<u32> = list.iter().copied().filter(|&g| in_set[g as usize]).collect();
        let common = overlap.len();
        let expected = list.len() as f64 * genes.len() as f64 / n_genes as f64;
        rows.push(OverRepresentation {
            set,
            set_size: genes.len(),
            fold: if expected > 0.0 { common as f64 / expected } else { 0.0 },
            jaccard: common as f64 / (list.len() + genes.len() - common) as f64,
            p_value: hypergeometric::upper_p(common, list.len(), genes.len(), n_genes),
            p_adjusted: f64::NAN,
            overlap,
        });
    }
    let adjusted = benjamini_hochberg(&rows.iter().map(|r| r.p_value).collect::<Vec<_>>());
    rows.iter_mut().zip(adjusted).for_each(|(r, p)| r.p_adjusted = p);
    rows.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then(b.jaccard.total_cmp(&a.jaccard)));
    Ok(rows)
}

fn check_genes(what: &str, genes: &[u32], n_genes: usize) -> Result<()> {
    let mut seen = vec![false; n_genes];
    for &gene in genes {
        let problem = match seen.get_mut(gene as usize) {
            None => format!("gene {gene} is past the universe of {n_genes} genes"),
            Some(seen) if *seen => format!("gene {gene} occurs twice; give each gene once"),
            Some(seen) => {
                *seen = true;
                continue;
            }
        };
        return Err(Error::Inconsistent { what: what.to_owned(), problem });
    }
    Ok(())
}

/// One gene set against a ranking of all genes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankEnrichment {
    /// Index of the gene set.
    pub set: usize,
    /// Genes of the set.
    pub set_size: usize,
    /// P(a gene of the set ranks above one outside), ties half; 0.5 is chance.
    pub auroc: f64,
    /// CERNO statistic −2 Σ ln(rank / N) over the genes of the set.
    pub cerno: f64,
    /// P(χ² with 2 n degrees of freedom ≥ `cerno`): the set's genes gather near the top.
    pub cerno_p: f64,
    /// `cerno_p` adjusted over the sets (Benjamini–Hochberg).
    pub cerno_p_adjusted: f64,
    /// t of the mean score in the set against outside, allowing for correlated genes.
    pub camera_t: f64,
    /// Two-sided p-value of `camera_t`.
    pub camera_p: f64,
    /// `camera_p` adjusted over the sets (Benjamini–Hochberg).
    pub camera_p_adjusted: f64,
}

/// Tests whether the genes of each set stand out in a score of all genes (a marker score, a log fold change, decoder
/// weights): higher scores first.
///
/// * CERNO: ranks r from the top over N genes, −2 Σ ln(r/N) against χ²₂ₙ (Zyla et al. 2019,
///   doi:10.1093/bioinformatics/btz447). Sees a few genes at the very top; takes genes for independent.
/// * Camera on given statistics: difference of means over √(s² (VIF/m + 1/(N − m))), VIF = 1 + (m − 1) ρ, s² the pooled
///   variance, Student's t with N − 2 degrees of freedom (Wu & Smyth 2012, doi:10.1093/nar/gks461). ρ =
///   `correlation` is the mean correlation between genes of a set; 0.01 is the usual preset, 0 takes genes for independent.
///
/// Sets in the order of the input. A set without a gene, or with all of them, has nothing to compare: its p-values are 1, its
/// statistics 0 and its AUROC 0.5.
///
/// # Errors
/// A score that is not a number, fewer than three genes, no sets, a gene past the scores or twice in a set, a correlation
/// outside 0 to 1.
pub fn rank_enrichment(scores: &[f64], sets: &[Vec<u32>], correlation: f64) -> Result<Vec<RankEnrichment>> {
    if let Some(row) = scores.iter().position(|s| !s.is_finite()) {
        return Err(Error::NotFinite { what: "gene scores".to_owned(), row, column: 0, value: scores[row] });
    }
    if scores.len() < 3 || sets.is_empty() {
        let what = if sets.is_empty() { "gene sets" } else { "gene scores (three needed)" };
        return Err(Error::Empty { what: what.to_owned(), n_rows: scores.len(), n_cols: 1 });
    }
    if !(0.0..=1.0).contains(&correlation) {
        return Err(Error::Parameter {
            name: "correlation",
            value: correlation.to_string(),
            expected: "a number between 0 and 1",
        });
    }
    let ranks = ranks_from_top(scores);
    let mut rows = Vec::with_capacity(sets.len());
    for (set, genes) in sets.iter().enumerate() {
        check_genes(&format!("gene set {set}"), genes, scores.len())?;
        rows.push(one_set(set, genes, scores, &ranks, correlation));
    }
    let adjust = |of: fn(&RankEnrichment) -> f64| benjamini_hochberg(&rows.iter().map(of).collect::<Vec<_>>());
    let (cerno, camera) = (adjust(|r| r.cerno_p), adjust(|r| r.camera_p));
    for (row, (cerno, camera)) in rows.iter_mut().zip(cerno.into_iter().zip(camera)) {
        (row.cerno_p_adjusted, row.camera_p_adjusted) = (cerno, camera);
    }
    Ok(rows)
}

/// Mid-ranks, 1 for the highest score.
fn ranks_from_top(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut ranks = vec![0.0; scores.len()];
    let mut above = 0;
    for ties in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let rank = above as f64 + 0.5 * (ties.len() as f64 + 1.0);
        ties.iter().for_each(|&i| ranks[i] = rank);
        above += ties.len();
    }
    ranks
}

fn one_set(set: usize, genes: &[u32], scores: &[f64], ranks: &[f64], correlation: f64) -> RankEnrichment {
    let (n, m) = (scores.len() as f64, genes.len() as f64);
    let outside = n - m;
    let mut row = RankEnrichment {
        set,
        set_size: genes.len(),
        auroc: 0.5,
        cerno: 0.0,
        cerno_p: 1.0,
        cerno_p_adjusted: 1.0,
        camera_t: 0.0,
        camera_p: 1.0,
        camera_p_adjusted: 1.0,
    };
    if genes.is_empty() || outside == 0.0 {
        return row;
    }
    let rank_sum: f64 = genes.iter().map(|&g| ranks[g as usize]).sum();
    row.auroc = 1.0 - (rank_sum - 0.5 * m * (m + 1.0)) / (m * outside);
    row.cerno = -2.0 * genes.iter().map(|&g| (ranks[g as usize] / n).ln()).sum::<f64>();
    row.cerno_p = chi_square::even_upper_p(genes.len(), 0.5 * row.cerno);

    let mut in_set = vec![false; scores.len()];
    genes.iter().for_each(|&g| in_set[g as usize] = true);
    let mean_of = |inside: bool| {
        let (sum, count) = scores
            .iter()
            .zip(&in_set)
            .filter(|(_, is)| **is == inside)
            .fold((0.0, 0.0), |(sum, count), (s, _)| (sum + s, count + 1.0));
        sum / count
    };
    let (mean_in, mean_out) = (mean_of(true), mean_of(false));
    let squares: f64 =
        scores.iter().zip(&in_set).map(|(s, is)| (s - if *is { mean_in } else { mean_out }).powi(2)).sum();
    let inflation = 1.0 + (m - 1.0) * correlation;
    let error = (squares / (n - 2.0) * (inflation / m + 1.0 / outside)).sqrt();
    if error > 0.0 {
        row.camera_t = (mean_in - mean_out) / error;
        row.camera_p = 2.0 * student::upper_p(row.camera_t.abs(), n - 2.0);
    }
    row
}

#[cfg(test)]
mod tests {
    use scgraft_golden::Golden;

    use super::*;

    #[test]
    fn overlaps_and_their_order() {
        let sets = [vec![0, 1, 2, 3], vec![10, 11, 12], vec![4, 5, 6, 20, 21]];
        let rows = over_representation(&[3, 2, 1, 4], &sets, 100).unwrap();
        assert_eq!(rows.iter().map(|r| r.set).collect::<Vec<_>>(), [0, 2, 1]);
        assert_eq!(rows[0].overlap, [3, 2, 1]);
        assert!((rows[0].fold - 3.0 / 0.16).abs() < 1e-12 && (rows[0].jaccard - 0.6).abs() < 1e-12);
        assert_eq!(rows[2].p_value, 1.0);
    }

    #[test]
    fn rank_tests_equal_scipy() {
        let golden = Golden::of("analysis", "analysis");
        let scores = golden.values("ranks.scores");
        let sizes = golden.codes("ranks.sizes");
        let members = golden.codes("ranks.members");
        let mut start = 0;
        let sets: Vec<Vec<u32>> = sizes
            .iter()
            .map(|&n| {
                start += n as usize;
                members[start - n as usize..start].to_vec()
            })
            .collect();
        let independent = rank_enrichment(scores, &sets, 0.0).unwrap();
        let correlated = rank_enrichment(scores, &sets, 0.01).unwrap();
        for (i, row) in independent.iter().enumerate() {
            let close = |found: f64, name: &str| {
                let expected = golden.values(&format!("ranks.{name}"))[i];
                assert!(
                    (found - expected).abs() <= 1e-9 * expected.abs(),
                    "{name}, set {i}: {found} against {expected}"
                );
            };
            close(row.auroc, "auroc");
            close(row.cerno, "cerno");
            close(row.cerno_p, "cerno_p");
            close(row.camera_t, "t");
            close(row.camera_p, "t_p");
            let m = f64::from(sizes[i]);
            let n = scores.len() as f64;
            let narrower = ((1.0 / m + 1.0 / (n - m)) / ((1.0 + 0.01 * (m - 1.0)) / m + 1.0 / (n - m))).sqrt();
            assert!((correlated[i].camera_t - row.camera_t * narrower).abs() < 1e-12);
        }
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(matches!(over_representation(&[], &[vec![1]], 5), Err(Error::Empty { .. })));
        assert!(matches!(over_representation(&[7], &[vec![1]], 5), Err(Error::Inconsistent { .. })));
        assert!(matches!(over_representation(&[1], &[vec![2, 2]], 5), Err(Error::Inconsistent { .. })));
        assert!(matches!(
            rank_enrichment(&[1.0, f64::NAN, 0.0], &[vec![0]], 0.01),
            Err(Error::NotFinite { row: 1, .. })
        ));
        assert!(matches!(rank_enrichment(&[1.0, 2.0, 3.0], &[vec![0]], 2.0), Err(Error::Parameter { .. })));
        let all = rank_enrichment(&[1.0, 2.0, 3.0], &[vec![], vec![0, 1, 2]], 0.01).unwrap();
        assert!(all.iter().all(|r| r.cerno_p == 1.0 && r.camera_p == 1.0 && r.auroc == 0.5));
    }
}
