//! How often a draw from one cell's posterior exceeds a draw from another's, over whole groups.
//!
//! For cells i and j with posteriors N(μ, v) of one program, P(zᵢ > zⱼ) = Φ((μᵢ − μⱼ)/√(vᵢ + vⱼ)). Needed are the
//! sums of it over all cells j of a group, for every cell i. Two ways give them:
//!
//! * pairs: every Φ, O(n²);
//! * grid: the sum over j is ∫ N(x; μᵢ, vᵢ) F(x) dx with F(x) = Σⱼ Φ((x − μⱼ)/σⱼ), both kept on an even grid of step h and
//!   added by the trapezoid rule, O(n). For Gaussians that rule converges exponentially: its relative error is below
//!   2 exp(−2π² s²/h²) with s² = vᵢvⱼ/(vᵢ + vⱼ) ≥ v_min/2. With h = 0.55 σ_min that is 2e-14; windows of ±9 σ leave
//!   out less than 1e-18 a cell.

use std::ops::Range;

use scgraft_numeric::distributions::normal::{BothTails, log_cdf};

/// One program's posteriors, cells ordered by group.
pub(super) struct Posteriors<'a> {
    /// Posterior mean of each cell.
    pub mean: &'a [f64],
    /// Posterior variance of each cell.
    pub variance: &'a [f64],
    /// The cells of each group.
    pub groups: &'a [Range<usize>],
}

/// Sums over the cells of a group, for each cell and group.
pub(super) struct Placements {
    n_groups: usize,
    above: Vec<f64>,
    below: Vec<f64>,
    /// The smallest mean probability that is told apart from zero.
    pub floor: f64,
}

impl Placements {
    fn new(n_cells: usize, n_groups: usize, floor: f64) -> Self {
        let zeros = vec![0.0; n_cells * n_groups];
        Placements { n_groups, above: zeros.clone(), below: zeros, floor }
    }

    /// Σ over j in `group` of P(z_cell > zⱼ).
    pub fn above(&self, cell: usize, group: usize) -> f64 {
        self.above[cell * self.n_groups + group]
    }

    /// Σ over j in `group` of P(z_cell < zⱼ).
    pub fn below(&self, cell: usize, group: usize) -> f64 {
        self.below[cell * self.n_groups + group]
    }
}

/// Half the width of a cell's window, in its own standard deviations.
const WINDOW: f64 = 9.0;
/// Grid step in the smallest standard deviation.
const STEP: f64 = 0.55;
/// Grid values of all groups together that are held at most (1 GB would be 2²⁷).
const MOST_GRID_VALUES: f64 = 4e7;
/// Points after which a Gaussian's recurrence starts afresh, so that its rounding does not add up.
const FRESH_EVERY: usize = 32;

/// Sums for every cell of a group against every group it is compared with, the cheaper way.
///
/// `compared(g, h)` (symmetric) says which groups are.
pub(super) fn placements(posteriors: &Posteriors, compared: &dyn Fn(usize, usize) -> bool) -> Placements {
    match grid_plan(posteriors, compared) {
        Some(grid) => by_grid(posteriors, compared, &grid),
        None => by_pairs(posteriors, compared),
    }
}

/// z of a pair; a difference of two exactly known equal values is a tie.
#[inline]
pub(super) fn z_of(difference: f64, variance: f64) -> f64 {
    if variance > 0.0 {
        difference / variance.sqrt()
    } else if difference == 0.0 {
        0.0
    } else {
        difference * f64::INFINITY
    }
}

pub(super) fn by_pairs(posteriors: &Posteriors, compared: &dyn Fn(usize, usize) -> bool) -> Placements {
    let Posteriors { mean, variance, groups } = *posteriors;
    let n_groups = groups.len();
    let tails = BothTails::table();
    let mut out = Placements::new(mean.len(), n_groups, 0.0);
    let (mut above, mut below) = (Vec::new(), Vec::new());
    for g in 0..n_groups {
        for h in (g + 1..n_groups).filter(|&h| compared(g, h)) {
            let others = groups[h].clone();
            above.clear();
            above.resize(others.len(), 0.0);
            below.clear();
            below.resize(others.len(), 0.0);
            for i in groups[g].clone() {
                let (m, v) = (mean[i], variance[i]);
                let (mut sum_p, mut sum_q) = (0.0, 0.0);
                let columns = mean[others.clone()].iter().zip(&variance[others.clone()]);
                for ((&mj, &vj), (a, b)) in columns.zip(above.iter_mut().zip(below.iter_mut())) {
                    let (p, q) = tails.at(z_of(m - mj, v + vj));
                    sum_p += p;
                    sum_q += q;
                    *a += q;
                    *b += p;
                }
                out.above[i * n_groups + h] = sum_p;
                out.below[i * n_groups + h] = sum_q;
            }
            for (j, (&a, &b)) in others.zip(above.iter().zip(&below)) {
                out.above[j * n_groups + g] = a;
                out.below[j * n_groups + g] = b;
            }
        }
    }
    out
}

/// ln of the mean over all pairs of P(zᵢ > zⱼ), without underflow.
pub(super) fn log_mean_superiority(posteriors: &Posteriors, a: Range<usize>, b: &[Range<usize>]) -> f64 {
    let Posteriors { mean, variance, .. } = *posteriors;
    log_mean_cdf(
        a.flat_map(|i| b.iter().cloned().flatten().map(move |j| z_of(mean[i] - mean[j], variance[i] + variance[j]))),
    )
}

/// ln of the mean of Φ(z), without underflow.
pub(super) fn log_mean_cdf(z: impl Iterator<Item = f64>) -> f64 {
    let (mut largest, mut sum, mut n) = (f64::NEG_INFINITY, 0.0, 0.0);
    for z in z {
        let log_p = log_cdf(z);
        n += 1.0;
        if log_p > largest {
            sum = sum * f64::exp(largest - log_p) + 1.0;
            largest = log_p;
        } else if log_p > f64::NEG_INFINITY {
            sum += f64::exp(log_p - largest);
        }
    }
    largest + f64::ln(sum) - f64::ln(n)
}

pub(super) struct Grid {
    start: f64,
    step: f64,
    len: usize,
}

impl Grid {
    /// The points within a cell's window.
    fn window(&self, mean: f64, sd: f64) -> Range<usize> {
        let at = |x: f64| ((x - self.start) / self.step).max(0.0);
        let from = (at(mean - WINDOW * sd).ceil() as usize).min(self.len);
        from..(at(mean + WINDOW * sd) as usize + 1).clamp(from, self.len)
    }
}

/// The grid, where it is cheaper than all pairs.
fn grid_plan(posteriors: &Posteriors, compared: &dyn Fn(usize, usize) -> bool) -> Option<Grid> {
    let Posteriors { mean, variance, groups } = *posteriors;
    let n_groups = groups.len();
    let mut pairs = 0.0;
    for g in 0..n_groups {
        for h in (g + 1..n_groups).filter(|&h| compared(g, h)) {
            pairs += groups[g].len() as f64 * groups[h].len() as f64;
        }
    }
    let grid = grid_of(mean, variance)?;
    let widths: f64 = variance.iter().map(|v| v.sqrt()).sum();
    // In units of one Φ: a deposit and a weight at every point of a window, a product for each group.
    let points = 2.0 * WINDOW * widths / grid.step + mean.len() as f64;
    let cost = points * (1.5 + 0.3 * n_groups as f64) + (grid.len * n_groups) as f64;
    let fits = (grid.len * n_groups) as f64 * 2.0 <= MOST_GRID_VALUES;
    (fits && cost < pairs).then_some(grid)
}

pub(super) fn grid_of(mean: &[f64], variance: &[f64]) -> Option<Grid> {
    let smallest = variance.iter().copied().fold(f64::INFINITY, f64::min).sqrt();
    let ends = |sign: f64| mean.iter().zip(variance).map(move |(m, v)| sign * m + WINDOW * v.sqrt());
    let (low, high) = (-ends(-1.0).fold(f64::NEG_INFINITY, f64::max), ends(1.0).fold(f64::NEG_INFINITY, f64::max));
    let step = STEP * smallest;
    let len = (high - low) / step;
    (step > 0.0 && len.is_finite() && len < MOST_GRID_VALUES).then(|| Grid { start: low, step, len: len as usize + 2 })
}

pub(super) fn by_grid(posteriors: &Posteriors, compared: &dyn Fn(usize, usize) -> bool, grid: &Grid) -> Placements {
    let Posteriors { mean, variance, groups } = *posteriors;
    let n_groups = groups.len();
    let tails = BothTails::table();
    // Below the floor the windows' ends show.
    let mut out = Placements::new(mean.len(), n_groups, 1e-15);
    let involved = |g: usize| (0..n_groups).any(|h| h != g && compared(g, h));
    let mixtures: Vec<Option<(Vec<f64>, Vec<f64>)>> = (0..n_groups)
        .map(|h| {
            let cells = groups[h].clone();
            involved(h).then(|| mixture(grid, &mean[cells.clone()], &variance[cells], tails))
        })
        .collect();
    let mut weights = Vec::new();
    for g in (0..n_groups).filter(|&g| involved(g)) {
        for i in groups[g].clone() {
            let window = grid.window(mean[i], variance[i].sqrt());
            gaussian_weights(grid, window.clone(), mean[i], variance[i], &mut weights);
            for (h, mixture) in mixtures.iter().enumerate() {
                let Some((left, right)) = mixture.as_ref().filter(|_| h != g && compared(g, h)) else { continue };
                out.above[i * n_groups + h] = dot(&weights, &left[window.clone()]);
                out.below[i * n_groups + h] = dot(&weights, &right[window.clone()]);
            }
        }
    }
    out
}

/// Inner product in eight lanes, so that additions need not wait for each other.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Σⱼ P(zⱼ ≤ x) and Σⱼ P(zⱼ > x) at every point of the grid.
fn mixture(grid: &Grid, mean: &[f64], variance: &[f64], tails: BothTails) -> (Vec<f64>, Vec<f64>) {
    let (mut left, mut right) = (vec![0.0; grid.len], vec![0.0; grid.len]);
    // Cells whose window has been passed, and cells whose window is still to come.
    let (mut ended, mut begun) = (vec![0u32; grid.len + 1], vec![0u32; grid.len + 1]);
    for (&m, &v) in mean.iter().zip(variance) {
        let sd = v.sqrt();
        let window = grid.window(m, sd);
        ended[window.end] += 1;
        begun[window.start] += 1;
        let (scale, offset) = (grid.step / sd, (grid.start - m) / sd);
        let columns = left[window.clone()].iter_mut().zip(&mut right[window.clone()]);
        for (k, (l, r)) in window.zip(columns) {
            let (p, q) = tails.at(k as f64 * scale + offset);
            *l += p;
            *r += q;
        }
    }
    let (mut passed, mut waiting) = (0.0, mean.len() as f64);
    for k in 0..grid.len {
        passed += f64::from(ended[k]);
        waiting -= f64::from(begun[k]);
        left[k] += passed;
        right[k] += waiting;
    }
    (left, right)
}

/// h N(xₖ; mean, variance) over a window.
fn gaussian_weights(grid: &Grid, window: Range<usize>, mean: f64, variance: f64, out: &mut Vec<f64>) {
    out.clear();
    let scale = grid.step / (variance.sqrt() * (2.0 * std::f64::consts::PI).sqrt());
    let decay = (-grid.step * grid.step / variance).exp();
    let (mut value, mut ratio) = (0.0, 0.0);
    for (n, k) in window.enumerate() {
        if n % FRESH_EVERY == 0 {
            let d = grid.start + k as f64 * grid.step - mean;
            value = scale * (-0.5 * d * d / variance).exp();
            ratio = (-(d * grid.step + 0.5 * grid.step * grid.step) / variance).exp();
        }
        out.push(value);
        // N(x + h) / N(x) falls by the same factor at every point.
        value *= ratio;
        ratio *= decay;
    }
}
