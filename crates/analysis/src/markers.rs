//! Marker genes of groups of cells, by the Wilcoxon rank-sum test.

use rayon::prelude::*;
use scgraft_cells::{Coded, Csr, Steps};
use scgraft_numeric::distributions::normal::cdf;

use crate::error::{Error, Result, check_labels, check_levels, level_sizes};
use crate::multiple_testing::benjamini_hochberg;

/// What each group is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum MarkerReference {
    /// All other cells.
    #[default]
    Rest,
    /// The cells of one group, which is not tested itself.
    Group(String),
}

/// One gene in one group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marker {
    /// Column of the expression matrix.
    pub gene: usize,
    /// z of the rank sum: (W − n (n + m + 1)/2) / √(T n m (n + m + 1)/12); 0 where it is undefined.
    pub score: f64,
    /// Two-sided p-value of the normal approximation.
    pub p_value: f64,
    /// Adjusted over the genes (Benjamini–Hochberg).
    pub p_adjusted: f64,
    /// log₂ of (e^mean − 1 + 1e-9) in the group over the same in the reference, as scanpy defines it.
    pub log2_fold_change: f64,
    /// Share of the group's cells that express the gene.
    pub share_group: f64,
    /// Share of the reference's cells that express the gene.
    pub share_reference: f64,
}

/// The genes of one group, by falling score.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMarkers {
    /// The group.
    pub group: String,
    /// Its cells.
    pub n_group: usize,
    /// The cells it was compared with.
    pub n_reference: usize,
    /// Every gene; equal scores in the order of the genes.
    pub genes: Vec<Marker>,
}

/// Ranks the genes of `x` (cells × genes, log1p of normalised counts) for each group of cells.
///
/// The numbers are those of scanpy's `rank_genes_groups(method="wilcoxon")`. With `tie_correct`, the variance is that of
/// tied ranks, T = 1 − Σ (t³ − t) / (N³ − N); without, as scanpy by default, T = 1, which with many zeros makes scores
/// smaller than they should be. One sort of each gene's non-zero entries serves all groups.
///
/// The p-values treat cells as independent replicates, which cells of one donor are not: use them to rank.
///
/// # Errors
/// Labels that do not fit, fewer than two groups, an unknown reference group, a group of a single cell (groups without
/// cells are left out), a value that is not finite.
pub fn rank_markers(
    x: &Csr,
    groups: (&str, &Coded),
    reference: &MarkerReference,
    tie_correct: bool,
) -> Result<Vec<GroupMarkers>> {
    let (column, labels) = groups;
    check_labels(column, labels, x.n_rows)?;
    check_levels(column, labels, 2)?;
    let sizes = level_sizes(labels);
    if let Some(g) = sizes.iter().position(|&n| n == 1) {
        return Err(Error::SmallGroup {
            column: column.to_owned(),
            group: labels.levels[g].clone(),
            found: 1,
            needed: 2,
        });
    }
    if let Some(at) = x.values.iter().position(|v| !v.is_finite()) {
        return Err(Error::NotFinite {
            what: "expression".to_owned(),
            row: x.indptr.partition_point(|&start| start <= at) - 1,
            column: x.indices[at] as usize,
            value: f64::from(x.values[at]),
        });
    }
    let against = match reference {
        MarkerReference::Rest => None,
        MarkerReference::Group(name) => {
            let found = labels.levels.iter().position(|l| l == name).filter(|&g| sizes[g] > 0);
            Some(found.ok_or_else(|| Error::UnknownGroup {
                column: column.to_owned(),
                group: name.clone(),
                levels: labels.levels.join(", "),
            })?)
        }
    };
    let tested: Vec<usize> = (0..sizes.len()).filter(|&g| sizes[g] > 0 && Some(g) != against).collect();
    let by_gene = x.transpose();
    let steps = Steps::new("ranking genes", x.n_cols);
    let rows: Vec<Vec<Marker>> = (0..x.n_cols)
        .into_par_iter()
        .map(|gene| {
            let (cells, values) = by_gene.row(gene);
            let entries = Entries::new(cells, values, labels, &sizes);
            let markers = tested.iter().map(|&g| entries.marker(gene, g, against, tie_correct)).collect();
            steps.done();
            markers
        })
        .collect();
    Ok(tested
        .iter()
        .enumerate()
        .map(|(at, &g)| {
            let mut genes: Vec<Marker> = rows.iter().map(|row| row[at]).collect();
            let adjusted = benjamini_hochberg(&genes.iter().map(|m| m.p_value).collect::<Vec<_>>());
            genes.iter_mut().zip(adjusted).for_each(|(m, p)| m.p_adjusted = p);
            genes.sort_by(|a, b| b.score.total_cmp(&a.score));
            let n_reference = against.map_or(x.n_rows - sizes[g], |r| sizes[r]);
            GroupMarkers { group: labels.levels[g].clone(), n_group: sizes[g], n_reference, genes }
        })
        .collect())
}

/// The non-zero entries of one gene, ascending, and their sums over each group.
struct Entries<'a> {
    sizes: &'a [usize],
    sorted: Vec<(f32, u32)>,
    sums: Vec<f64>,
    expressing: Vec<usize>,
}

impl<'a> Entries<'a> {
    fn new(cells: &[u32], values: &[f32], labels: &Coded, sizes: &'a [usize]) -> Self {
        let mut sums = vec![0.0; sizes.len()];
        let mut expressing = vec![0; sizes.len()];
        let mut sorted = Vec::with_capacity(cells.len());
        for (&cell, &value) in cells.iter().zip(values).filter(|(_, v)| **v != 0.0) {
            let group = labels.codes[cell as usize];
            sums[group as usize] += f64::from(value);
            expressing[group as usize] += 1;
            sorted.push((value, group));
        }
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        Entries { sizes, sorted, sums, expressing }
    }

    fn marker(&self, gene: usize, group: usize, against: Option<usize>, tie_correct: bool) -> Marker {
        let others = |values: &dyn Fn(usize) -> f64| match against {
            Some(r) => values(r),
            None => (0..self.sizes.len()).filter(|&g| g != group).map(values).sum::<f64>(),
        };
        let n = self.sizes[group] as f64;
        let m = others(&|g| self.sizes[g] as f64);
        let (rank_sum, ties) = self.rank_sum(group, against);
        let total = n + m;
        let correction = if tie_correct { 1.0 - ties / (total.powi(3) - total) } else { 1.0 };
        let score = (rank_sum - n * (total + 1.0) / 2.0) / (correction * n * m * (total + 1.0) / 12.0).sqrt();
        // Undefined where all values are equal.
        let score = if score.is_nan() { 0.0 } else { score };
        let lifted = |mean: f64| mean.exp_m1() + 1e-9;
        Marker {
            gene,
            score,
            p_value: 2.0 * cdf(-score.abs()),
            p_adjusted: f64::NAN,
            log2_fold_change: (lifted(self.sums[group] / n) / lifted(others(&|g| self.sums[g]) / m)).log2(),
            share_group: self.expressing[group] as f64 / n,
            share_reference: others(&|g| self.expressing[g] as f64) / m,
        }
    }

    /// Sum of the group's mid-ranks, and Σ (t³ − t) over ties.
    fn rank_sum(&self, group: usize, against: Option<usize>) -> (f64, f64) {
        let counted = |g: usize| against.is_none_or(|r| g == group || g == r);
        let zeros_of = |g: usize| self.sizes[g] - self.expressing[g];
        let zeros: usize = (0..self.sizes.len()).filter(|&g| counted(g)).map(zeros_of).sum();
        let (mut below, mut rank_sum, mut ties) = (0.0, 0.0, 0.0);
        let mut tied = |n: f64, of_group: f64| {
            rank_sum += of_group * (below + 0.5 * (n + 1.0));
            ties += n * n * n - n;
            below += n;
        };
        let mut zeros_done = false;
        for run in self.sorted.chunk_by(|a, b| a.0 == b.0) {
            if run[0].0 > 0.0 && !zeros_done {
                tied(zeros as f64, zeros_of(group) as f64);
                zeros_done = true;
            }
            let n = run.iter().filter(|(_, g)| counted(*g as usize)).count();
            tied(n as f64, run.iter().filter(|(_, g)| *g as usize == group).count() as f64);
        }
        if !zeros_done {
            tied(zeros as f64, zeros_of(group) as f64);
        }
        (rank_sum, ties)
    }
}

#[cfg(test)]
mod tests {
    use scgraft_golden::Golden;

    use super::*;
    use crate::testing::{coded, golden_matrix};

    fn expression(golden: &Golden) -> (Csr, Coded) {
        (golden_matrix(golden, "markers.x").to_csr(), coded(&golden.codes("markers.group"), 3))
    }

    #[test]
    fn equals_scanpy() {
        let golden = Golden::of("analysis", "analysis");
        let (x, labels) = expression(&golden);
        for (tag, tie_correct) in [("plain", false), ("ties", true)] {
            for (versus, reference) in
                [("rest", MarkerReference::Rest), ("L1", MarkerReference::Group("L1".to_owned()))]
            {
                let found = rank_markers(&x, ("group", &labels), &reference, tie_correct).unwrap();
                assert_eq!(found.len(), if versus == "rest" { 3 } else { 2 });
                for group in found {
                    assert!(group.genes.windows(2).all(|w| w[0].score >= w[1].score));
                    let expected =
                        |name: &str| golden.values(&format!("markers.{tag}.{versus}.{}.{name}", group.group));
                    let (score, p, adjusted, fold) =
                        (expected("scores"), expected("pvals"), expected("pvals_adj"), expected("logfoldchanges"));
                    for m in &group.genes {
                        let close = |a: f64, b: f64, what: &str| {
                            assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{what}, gene {}: {a} against {b}", m.gene);
                        };
                        close(m.score, score[m.gene], "score");
                        assert!((m.p_value.ln() - p[m.gene].ln()).abs() < 1e-9, "{} {}", m.p_value, p[m.gene]);
                        close(m.p_adjusted, adjusted[m.gene], "adjusted p");
                        close(m.log2_fold_change, fold[m.gene], "fold change");
                    }
                }
            }
        }
    }

    #[test]
    fn negative_values_rank_below_zeros() {
        let x = scgraft_cells::Dense::new(6, 1, vec![-1.0, -2.0, 0.0, 0.0, 1.0, 1.0]).to_csr();
        let labels = coded(&[0, 0, 0, 1, 1, 1], 2);
        let found = rank_markers(&x, ("group", &labels), &MarkerReference::Rest, true).unwrap();
        // Ranks 2, 1, 3.5 | 3.5, 5.5, 5.5; two pairs of ties.
        let correction: f64 = 1.0 - 12.0 / 210.0;
        let expected = (6.5 - 10.5) / (correction * 9.0 * 7.0 / 12.0).sqrt();
        assert!((found[0].genes[0].score - expected).abs() < 1e-12);
        assert_eq!(found[0].genes[0].score, -found[1].genes[0].score);
    }

    #[test]
    fn bad_input_is_refused() {
        let golden = Golden::of("analysis", "analysis");
        let (x, labels) = expression(&golden);
        let run = |labels: &Coded, reference: MarkerReference| rank_markers(&x, ("group", labels), &reference, false);
        let unknown = run(&labels, MarkerReference::Group("L9".to_owned()));
        assert!(matches!(unknown, Err(Error::UnknownGroup { .. })));
        assert!(matches!(
            run(&coded(&vec![0; x.n_rows], 2), MarkerReference::Rest),
            Err(Error::TooFewLevels { found: 1, .. })
        ));
        let mut alone = coded(&vec![0; x.n_rows], 2);
        alone.codes[0] = 1;
        assert!(matches!(run(&alone, MarkerReference::Rest), Err(Error::SmallGroup { found: 1, .. })));
        let mut broken = x.clone();
        broken.values[4] = f32::NAN;
        let (row, column) = (broken.indptr.iter().rposition(|&s| s <= 4).unwrap(), broken.indices[4] as usize);
        let found = rank_markers(&broken, ("group", &labels), &MarkerReference::Rest, false);
        assert!(matches!(found, Err(Error::NotFinite { row: r, column: c, .. }) if r == row && c == column));
    }
}
