//! Moving the cells: stochastic gradient steps along edges and away from random cells.

use rayon::prelude::*;
use scgraft_cells::{Csr, Dense};

use super::UmapOptions;
use crate::Neighbours;
use crate::random::mix;

/// Groups of cells that move in turn. Fixed: results must not depend on the machine.
const GROUPS: usize = 8;
/// Cells in a task.
const BLOCK: usize = 256;
/// Random cells whose push is computed at once.
const LANES: usize = 8;
/// Longest step along an axis, before the step size.
const LONGEST: f32 = 4.0;

/// What every step needs.
pub(super) struct Settings {
    a: f32,
    b: f32,
    repulsion: f32,
    pub learning_rate: f32,
    negative_samples: usize,
    n_epochs: usize,
    seed: u64,
}

impl Settings {
    pub fn new(a: f64, b: f64, options: &UmapOptions, n_epochs: usize) -> Self {
        Settings {
            a: a as f32,
            b: b as f32,
            repulsion: options.repulsion as f32,
            learning_rate: options.learning_rate as f32,
            negative_samples: options.negative_samples,
            n_epochs,
            seed: options.seed,
        }
    }

    fn step_size(&self, epoch: usize) -> f32 {
        self.learning_rate * (1.0 - epoch as f32 / self.n_epochs as f32)
    }

    /// Pulls `own` towards `other`: 2ab d^{2(b−1)} / (1 + a d^{2b}) along the difference.
    fn pull<const C: usize>(&self, own: &mut [f32; C], other: &[f32; C], step: f32) {
        let squared = squared_distance(own, other);
        if squared > 0.0 {
            let power = power(squared, self.b);
            let strength = -2.0 * self.a * self.b * power / (squared * (self.a * power + 1.0));
            for c in 0..C {
                own[c] += (strength * (own[c] - other[c])).clamp(-LONGEST, LONGEST) * step;
            }
        }
    }

    /// Pushes `own` away from random cells: 2b / ((0.001 + d²)(1 + a d^{2b})) along the difference.
    ///
    /// Up to [`LANES`] pushes are computed from the same position.
    fn push<const C: usize>(&self, own: &mut [f32; C], all: &[[f32; C]], random: &mut Draws, step: f32) {
        let mut left = self.negative_samples;
        while left > 0 {
            let n = left.min(LANES);
            left -= n;
            let mut others = [[0f32; LANES]; C];
            for lane in 0..n {
                let other = &all[random.below(all.len())];
                for c in 0..C {
                    others[c][lane] = own[c] - other[c];
                }
            }
            let mut squared = [0f32; LANES];
            for other in &others {
                for lane in 0..LANES {
                    squared[lane] += other[lane] * other[lane];
                }
            }
            let mut strength = [0f32; LANES];
            for lane in 0..LANES {
                // A cell meeting itself (or its double) has no direction: its differences are 0.
                let s = squared[lane].max(1e-30);
                strength[lane] = 2.0 * self.repulsion * self.b / ((0.001 + s) * (self.a * power(s, self.b) + 1.0));
            }
            for c in 0..C {
                let mut sum = 0f32;
                for lane in 0..LANES {
                    sum += (strength[lane] * others[c][lane]).clamp(-LONGEST, LONGEST);
                }
                own[c] += sum * step;
            }
        }
    }
}

/// Random indices of one cell in one epoch.
struct Draws {
    key: u64,
    counter: u64,
    spare: Option<u32>,
}

impl Draws {
    fn new(seed: u64, epoch: usize, cell: usize) -> Self {
        Draws { key: mix(mix(seed, epoch as u64), cell as u64), counter: 0, spare: None }
    }

    fn below(&mut self, n: usize) -> usize {
        let bits = match self.spare.take() {
            Some(bits) => bits,
            None => {
                let word = mix(self.key, self.counter);
                self.counter += 1;
                self.spare = Some((word >> 32) as u32);
                word as u32
            }
        };
        ((u64::from(bits) * n as u64) >> 32) as usize
    }
}

fn squared_distance<const C: usize>(a: &[f32; C], b: &[f32; C]) -> f32 {
    let mut sum = 0f32;
    for c in 0..C {
        sum += (a[c] - b[c]) * (a[c] - b[c]);
    }
    sum
}

/// x^y for x > 0, to about 1e-5: enough for a random step, and free of branches.
fn power(x: f32, y: f32) -> f32 {
    // x = m 2^e with m in [√½, √2).
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_add(0x3f80_0000 - ROOT_HALF);
    let exponent = (shifted >> 23) as i32 - 127;
    let m = f32::from_bits((shifted & 0x007f_ffff) + ROOT_HALF);
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let ln_m = 2.0 * t * (1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0))));
    let log2 = (exponent as f32 + ln_m * std::f32::consts::LOG2_E) * y;
    let log2 = log2.clamp(-125.0, 125.0);
    // Adding and taking away 1.5 · 2²³ rounds to a whole number.
    let whole = (log2 + 12_582_912.0) - 12_582_912.0;
    let f = (log2 - whole) * std::f32::consts::LN_2;
    let fraction = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0)))));
    fraction * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// Whether an edge that is due in a share `rate` of the epochs is due in this one.
fn due(rate: f32, epoch: usize) -> bool {
    let rate = f64::from(rate);
    ((epoch + 1) as f64 * rate).floor() > (epoch as f64 * rate).floor()
}

/// Shares of the epochs in which edges are due: weight / largest; 0 for edges that would never be.
fn rates(weights: &[f32], n_epochs: usize) -> Vec<f32> {
    let largest = weights.iter().copied().fold(0f32, f32::max);
    let least = largest / n_epochs as f32;
    weights.iter().map(|&w| if w < least { 0.0 } else { w / largest }).collect()
}

/// Optimises the positions `start` (n × C) of the cells of a symmetric graph.
pub(super) fn fit<const C: usize>(graph: &Csr, start: Vec<f32>, settings: &Settings) -> Dense {
    let n = graph.n_rows;
    let rates = rates(&graph.values, settings.n_epochs);
    let mut at: Vec<[f32; C]> = start.chunks_exact(C).map(|p| std::array::from_fn(|c| p[c])).collect();
    let mut moved: Vec<[f32; C]> = vec![[0.0; C]; n.div_ceil(GROUPS)];
    for epoch in 0..settings.n_epochs {
        let step = settings.step_size(epoch);
        for group in 0..GROUPS {
            let cells = n.saturating_sub(group).div_ceil(GROUPS);
            let (all, moved) = (&at, &mut moved[..cells]);
            moved.par_chunks_mut(BLOCK).enumerate().for_each(|(block, moved)| {
                for (i, new) in moved.iter_mut().enumerate() {
                    let cell = (block * BLOCK + i) * GROUPS + group;
                    let mut own = all[cell];
                    let mut random = Draws::new(settings.seed, epoch, cell);
                    for e in graph.indptr[cell]..graph.indptr[cell + 1] {
                        if due(rates[e], epoch) {
                            // Each edge is in the graph in both directions and moves both ends: two pulls a cell.
                            let other = &all[graph.indices[e] as usize];
                            settings.pull(&mut own, other, step);
                            settings.pull(&mut own, other, step);
                            settings.push(&mut own, all, &mut random, step);
                        }
                    }
                    *new = own;
                }
            });
            for (i, new) in moved.iter().enumerate() {
                at[i * GROUPS + group] = *new;
            }
        }
    }
    Dense::new(n, C, at.iter().flatten().copied().collect())
}

/// Places query cells among the fixed cells of `reference`; `weights` as `neighbours`, n × k.
pub(super) fn place<const C: usize>(
    reference: &Dense,
    neighbours: &Neighbours,
    weights: &[f32],
    settings: &Settings,
) -> Dense {
    let all: Vec<[f32; C]> = reference.values.chunks_exact(C).map(|p| std::array::from_fn(|c| p[c])).collect();
    let rates = rates(weights, settings.n_epochs.max(1));
    let k = neighbours.k;
    let placed: Vec<[f32; C]> = (0..neighbours.n_rows())
        .into_par_iter()
        .map(|cell| {
            let (near, span) = (neighbours.row(cell).0, cell * k..(cell + 1) * k);
            let sum: f32 = weights[span.clone()].iter().sum();
            let mut own = [0f32; C];
            for (&j, &w) in near.iter().zip(&weights[span.clone()]) {
                for c in 0..C {
                    own[c] += w / sum * all[j as usize][c];
                }
            }
            for epoch in 0..settings.n_epochs {
                let step = settings.step_size(epoch);
                let mut random = Draws::new(settings.seed, epoch, cell);
                for (&j, &rate) in near.iter().zip(&rates[span.clone()]) {
                    if due(rate, epoch) {
                        settings.pull(&mut own, &all[j as usize], step);
                        settings.push(&mut own, &all, &mut random, step);
                    }
                }
            }
            own
        })
        .collect();
    Dense::new(neighbours.n_rows(), C, placed.iter().flatten().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_is_close_enough() {
        for i in -60..60 {
            let x = 1.37f32.powi(i);
            for y in [0.7f32, 0.895, 1.0, 1.334] {
                let exact = f64::from(x).powf(f64::from(y));
                assert!((f64::from(power(x, y)) / exact - 1.0).abs() < 2e-5, "{x}^{y}: {} {exact}", power(x, y));
            }
        }
    }

    #[test]
    fn edges_are_due_as_often_as_they_are_heavy() {
        for (rate, times) in [(1.0f32, 200), (0.5, 100), (0.0, 0), (0.25, 50)] {
            assert_eq!((0..200).filter(|&e| due(rate, e)).count(), times);
        }
    }

    #[test]
    fn steps_follow_the_gradients() {
        let s =
            Settings { a: 1.5, b: 0.9, repulsion: 1.0, learning_rate: 1.0, negative_samples: 1, n_epochs: 1, seed: 0 };
        let (x, y, h) = ([0.7f64, -0.2], [1.1f64, 0.5], 1e-6);
        let phi = |p: [f64; 2]| {
            let d2 = (p[0] - y[0]).powi(2) + (p[1] - y[1]).powi(2);
            1.0 / (1.0 + 1.5 * d2.powf(0.9))
        };
        let gradient = |f: &dyn Fn([f64; 2]) -> f64| {
            [
                (f([x[0] + h, x[1]]) - f([x[0] - h, x[1]])) / (2.0 * h),
                (f([x[0], x[1] + h]) - f([x[0], x[1] - h])) / (2.0 * h),
            ]
        };
        let single = [[1.1f32, 0.5]];
        let (mut pulled, mut pushed) = ([0.7f32, -0.2], [0.7f32, -0.2]);
        s.pull(&mut pulled, &single[0], 1e-2);
        s.push(&mut pushed, &single, &mut Draws::new(0, 0, 0), 1e-2);
        let (up, away) = (gradient(&|p| phi(p).ln()), gradient(&|p| (1.0 - phi(p)).ln()));
        for c in 0..2 {
            assert!((f64::from(pulled[c]) - x[c] - 1e-2 * up[c]).abs() < 1e-5);
            // The 0.001 that keeps the push finite makes it a little smaller.
            assert!((f64::from(pushed[c]) - x[c] - 1e-2 * away[c]).abs() < 1e-4);
        }
    }
}
