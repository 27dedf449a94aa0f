//! What the program test is asked, and what it answers.

use scgraft_cells::Dense;

/// |log Bayes factor| from which the paper calls a program enriched.
pub const ENRICHED: f64 = 2.3;

/// What each group is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Comparison {
    /// All other cells.
    #[default]
    Rest,
    /// The cells of these groups; they are not tested themselves.
    Groups(Vec<String>),
}

impl Comparison {
    /// `rest`, or the groups' names joined by a comma.
    pub(super) fn name(&self) -> String {
        match self {
            Comparison::Rest => "rest".to_owned(),
            Comparison::Groups(names) => names.join(","),
        }
    }
}

/// Which pairs of cells the mean runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pairs {
    /// Every cell of the group with every cell of the comparison, exact to 1e-13 at any number of cells.
    #[default]
    All,
    /// Pairs drawn with replacement, as upstream does, but with a seed.
    Sampled {
        /// Number of pairs.
        n: usize,
        /// The same seed draws the same pairs.
        seed: u64,
    },
}

/// Settings of the program test.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramTestOptions {
    /// What each group is compared with.
    pub comparison: Comparison,
    /// The groups tested; all of them when `None`.
    pub groups: Option<Vec<String>>,
    /// Which pairs of cells the mean runs over.
    pub pairs: Pairs,
    /// Fewest cells on either side.
    pub min_cells: usize,
    /// Bayes factors as the scArches code gives them: ln(p + 1e-12) − ln(1 − p + 1e-12), and 0 for a program whose means
    /// are all 0 on one side.
    pub compat: bool,
}

impl Default for ProgramTestOptions {
    fn default() -> Self {
        ProgramTestOptions {
            comparison: Comparison::Rest,
            groups: None,
            pairs: Pairs::All,
            min_cells: 2,
            compat: false,
        }
    }
}

/// One program in one comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramTestRow {
    /// The group tested.
    pub group: String,
    /// What it was compared with: `rest`, or the groups' names joined by a comma.
    pub comparison: String,
    /// The level within which both were taken, if any.
    pub stratum: Option<String>,
    /// The program, as an index into the columns of the latent.
    pub program: usize,
    /// The program's name.
    pub name: String,
    /// P(z_group > z_comparison), of scores times direction.
    pub p_h0: f64,
    /// 1 − p_h0, with its own precision.
    pub p_h1: f64,
    /// ln(p_h0 / p_h1); above 0: higher in the group, which means up where `direction` is not 0.
    pub log_bayes_factor: f64,
    /// Standard error of `p_h0`. All pairs: how far it would vary if other cells of the same populations had been
    /// measured (variance of the cells' mean probabilities over their number, both sides added; DeLong et al. 1988,
    /// doi:10.2307/2531595); NaN where a side has a single cell. Sampled pairs: of the sampling.
    pub standard_error: f64,
    /// The sign the scores were multiplied with; 0: unknown, scores as they are.
    pub direction: i8,
    /// Cells in the group.
    pub n_group: usize,
    /// Cells it was compared with.
    pub n_comparison: usize,
}

impl ProgramTestRow {
    /// Whether |log Bayes factor| reaches the paper's threshold.
    pub fn enriched(&self) -> bool {
        self.log_bayes_factor.abs() >= ENRICHED
    }

    /// Standard error of the log Bayes factor, to first order: SE(p) / (p (1 − p)).
    pub fn log_bayes_factor_error(&self) -> f64 {
        self.standard_error / (self.p_h0 * self.p_h1)
    }
}

/// A comparison that was left out for lack of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedComparison {
    /// The group.
    pub group: String,
    /// The stratum, where there are any.
    pub stratum: Option<String>,
    /// Cells of the group (in it).
    pub n_group: usize,
    /// Cells to compare with (in it).
    pub n_comparison: usize,
}

/// Result of the program test.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ProgramTest {
    /// By stratum, by group, then by falling |log Bayes factor|.
    pub rows: Vec<ProgramTestRow>,
    /// Comparisons left out because a side has too few cells.
    pub skipped: Vec<SkippedComparison>,
}

/// What the test looks at: posteriors of the latent programs, one row a cell.
#[derive(Clone, Copy, Debug)]
pub struct Latent<'a> {
    /// Posterior means μ, cells × programs.
    pub mean: &'a Dense,
    /// Posterior variances σ², cells × programs; zeros for scores that are known exactly.
    pub variance: &'a Dense,
    /// A name for each program.
    pub programs: &'a [String],
    /// −1, 0 or 1 for each program ([`super::directions`]); `None` tests the scores as they are.
    pub directions: Option<&'a [i8]>,
}
