//! Moving the cells: stochastic gradient steps along edges and away from random cells.

use rayon::prelude::*;
use scgraft_cells::{Csr, Dense, Steps};
use scgraft_numeric::math::power;
use scgraft_numeric::random::mix;

use super::C;
use crate::Neighbours;

/// Groups of cells that move in turn. Fixed: results must not depend on the machine.
const GROUPS: usize = 8;
/// Cells in a task.
const BLOCK: usize = 256;
/// Random cells whose push is computed at once.
const LANES: usize = 16;
/// Longest step along an axis, before the step size.
const LONGEST: f32 = 4.0;
/// Random cells pushed away for every edge pulled.
const NEGATIVE_SAMPLES: usize = 5;

/// What every step needs.
pub(super) struct Settings {
    a: f32,
    b: f32,
    /// The first step size; it falls linearly to 0.
    learning_rate: f32,
    n_epochs: usize,
    seed: u64,
}

impl Settings {
    pub fn new((a, b): (f64, f64), learning_rate: f32, n_epochs: usize, seed: u64) -> Self {
        Settings { a: a as f32, b: b as f32, learning_rate, n_epochs, seed }
    }

    fn step_size(&self, epoch: usize) -> f32 {
        self.learning_rate * (1.0 - epoch as f32 / self.n_epochs as f32)
    }

    /// Where a cell with these neighbours, of such weights, starts: where most of them are together.
    ///
    /// Neighbours in two islands have a mean between them, where no cell is and no step leads out. So the start is the mean
    /// around one of them, the one that the others lie closest to: Σⱼ wⱼ φ(dⱼ) yⱼ / Σⱼ wⱼ φ(dⱼ), φ(d) = 1 / (1 + a d^{2b}).
    fn start_of(&self, near: &[u32], weights: &[f32], all: &[[f32; C]]) -> [f32; C] {
        let like = |i: u32, j: u32| {
            let squared = squared_distance(&all[i as usize], &all[j as usize]);
            1.0 / (1.0 + self.a * if squared > 0.0 { power(squared, self.b) } else { 0.0 })
        };
        let together = |&i: &u32| near.iter().zip(weights).map(|(&j, w)| w * like(i, j)).sum::<f32>();
        let most =
            near.iter().map(|i| (together(i), *i)).reduce(|best, next| if next.0 > best.0 { next } else { best });
        let Some((sum, centre)) = most else { return [0.0; C] };
        let mut own = [0f32; C];
        for (&j, &w) in near.iter().zip(weights) {
            let share = w * like(centre, j) / sum;
            for (own, other) in own.iter_mut().zip(&all[j as usize]) {
                *own += share * other;
            }
        }
        own
    }

    /// Pulls `own` towards `other`: 2ab d^{2(b−1)} / (1 + a d^{2b}) along the difference.
    fn pull(&self, own: &mut [f32; C], other: &[f32; C], step: f32) {
        let squared = squared_distance(own, other);
        if squared > 0.0 {
            let power = power(squared, self.b);
            let strength = -2.0 * self.a * self.b * power / (squared * (self.a * power + 1.0));
            for c in 0..C {
                own[c] += (strength * (own[c] - other[c])).clamp(-LONGEST, LONGEST) * step;
            }
        }
    }

    /// Pushes `own` away from `n` random cells: 2b / ((0.001 + d²)(1 + a d^{2b})) along the difference.
    ///
    /// Up to [`LANES`] pushes are computed from the same position.
    fn push(&self, own: &mut [f32; C], all: &[[f32; C]], n: usize, random: &mut Draws, step: f32) {
        let mut left = n;
        while left > 0 {
            let n = left.min(LANES);
            left -= n;
            let mut others = [[0f32; LANES]; C];
            for lane in 0..n {
                let other = &all[random.below(all.len())];
                for (row, (own, other)) in others.iter_mut().zip(own.iter().zip(other)) {
                    row[lane] = own - other;
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
                strength[lane] = 2.0 * self.b / ((0.001 + s) * (self.a * power(s, self.b) + 1.0));
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

fn squared_distance(a: &[f32; C], b: &[f32; C]) -> f32 {
    let mut sum = 0f32;
    for c in 0..C {
        sum += (a[c] - b[c]) * (a[c] - b[c]);
    }
    sum
}

/// One: the rate of an edge that is due in every epoch.
const ALWAYS: u64 = 1 << 32;

/// Whether an edge that is due in a share `rate` / [`ALWAYS`] of the epochs is due in this one.
fn due(rate: u64, epoch: usize) -> bool {
    (rate * (epoch as u64 + 1)) / ALWAYS > (rate * epoch as u64) / ALWAYS
}

/// Shares of the epochs in which edges are due: weight / largest; 0 for edges that would never be.
fn rates(weights: &[f32], n_epochs: usize) -> Vec<u64> {
    let largest = weights.iter().copied().fold(0f32, f32::max);
    let least = largest / n_epochs as f32;
    let share = |w: f32| f64::from(w) / f64::from(largest);
    weights.iter().map(|&w| if w < least { 0 } else { (share(w) * ALWAYS as f64).round() as u64 }).collect()
}

/// Optimises the positions `start` (n × C) of the cells of a symmetric graph.
pub(super) fn fit(graph: &Csr, start: Vec<f32>, settings: &Settings) -> Dense {
    let n = graph.n_rows;
    let rates = rates(&graph.values, settings.n_epochs);
    let mut at: Vec<[f32; C]> = start.chunks_exact(C).map(|p| std::array::from_fn(|c| p[c])).collect();
    let mut moved: Vec<[f32; C]> = vec![[0.0; C]; n.div_ceil(GROUPS)];
    let steps = Steps::new("laying cells out", settings.n_epochs);
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
                    let span = graph.indptr[cell]..graph.indptr[cell + 1];
                    let mut pulls = 0;
                    for (&j, &rate) in graph.indices[span.clone()].iter().zip(&rates[span]) {
                        if due(rate, epoch) {
                            // Each edge is in the graph in both directions and moves both its ends: twice the step.
                            settings.pull(&mut own, &all[j as usize], 2.0 * step);
                            pulls += 1;
                        }
                    }
                    settings.push(&mut own, all, pulls * NEGATIVE_SAMPLES, &mut random, step);
                    *new = own;
                }
            });
            for (i, new) in moved.iter().enumerate() {
                at[i * GROUPS + group] = *new;
            }
        }
        steps.done();
    }
    Dense::new(n, C, at.iter().flatten().copied().collect())
}

/// Places query cells among the fixed cells of `reference`; `weights` as `neighbours`, n × k.
pub(super) fn place(reference: &Dense, neighbours: &Neighbours, weights: &[f32], settings: &Settings) -> Dense {
    let all: Vec<[f32; C]> = reference.values.chunks_exact(C).map(|p| std::array::from_fn(|c| p[c])).collect();
    let rates = rates(weights, settings.n_epochs.max(1));
    let k = neighbours.k;
    let steps = Steps::new("placing cells", neighbours.n_rows());
    let placed: Vec<[f32; C]> = (0..neighbours.n_rows())
        .into_par_iter()
        .map(|cell| {
            let (near, span) = (neighbours.row(cell).0, cell * k..(cell + 1) * k);
            let mut own = settings.start_of(near, &weights[span.clone()], &all);
            for epoch in 0..settings.n_epochs {
                let step = settings.step_size(epoch);
                let mut random = Draws::new(settings.seed, epoch, cell);
                for (&j, &rate) in near.iter().zip(&rates[span.clone()]) {
                    if due(rate, epoch) {
                        settings.pull(&mut own, &all[j as usize], step);
                        settings.push(&mut own, &all, NEGATIVE_SAMPLES, &mut random, step);
                    }
                }
            }
            steps.done();
            own
        })
        .collect();
    Dense::new(neighbours.n_rows(), C, placed.iter().flatten().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_due_as_often_as_they_are_heavy() {
        for (rate, times) in [(ALWAYS, 200), (ALWAYS / 2, 100), (0, 0), (ALWAYS / 4, 50)] {
            assert_eq!((0..200).filter(|&e| due(rate, e)).count(), times);
        }
    }

    #[test]
    fn steps_follow_the_gradients() {
        let s = Settings { a: 1.5, b: 0.9, learning_rate: 1.0, n_epochs: 1, seed: 0 };
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
        s.push(&mut pushed, &single, 1, &mut Draws::new(0, 0, 0), 1e-2);
        let (up, away) = (gradient(&|p| phi(p).ln()), gradient(&|p| (1.0 - phi(p)).ln()));
        for c in 0..2 {
            assert!((f64::from(pulled[c]) - x[c] - 1e-2 * up[c]).abs() < 1e-5);
            // The 0.001 that keeps the push finite makes it a little smaller.
            assert!((f64::from(pushed[c]) - x[c] - 1e-2 * away[c]).abs() < 1e-4);
        }
    }
}
