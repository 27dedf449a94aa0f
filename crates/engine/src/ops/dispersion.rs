//! Where the dispersion of a count likelihood comes from: θ = e^Θ.

use rayon::prelude::*;
use scgraft_numeric::isa::{Isa, kernel};
use scgraft_numeric::math;

use crate::batch::{Codes, LANES};
use crate::ops::counts::EPSILON;
use crate::ops::lanes::sum_cells;
use crate::params::ParamId;
use crate::tape::{Back, Layout, Tape, Var};

/// Θ of each gene and cell.
#[derive(Clone, Copy, Debug)]
pub enum Dispersion<'a> {
    /// A tensor [group × gene] with each cell's group: conditions, labels, or one group for all.
    Grouped(ParamId, &'a Codes),
    /// An activation [gene × cell] in lanes.
    PerCell(Var),
}

/// θ as the kernels read it.
pub(crate) enum Thetas<'t> {
    Grouped(Theta, &'t Codes),
    PerCell(&'t [f32]),
}

/// θ of one block of lanes.
#[expect(clippy::large_enum_variant, reason = "one stands on the stack while its block is computed")]
pub(crate) enum BlockThetas<'t> {
    Grouped {
        theta: &'t Theta,
        runs: Vec<(usize, usize, usize)>,
        /// Where the row of each lane's group begins.
        rows: [usize; LANES],
        n_genes: usize,
    },
    PerCell(&'t [f32]),
}

impl<'a> Dispersion<'a> {
    pub(crate) fn needs(self, tape: &Tape<'a>) -> bool {
        match self {
            Dispersion::Grouped(tensor, _) => tape.trains(tensor),
            Dispersion::PerCell(var) => tape.needs(var),
        }
    }

    pub(crate) fn thetas<'t>(self, tape: &'t Tape<'a>, n_genes: usize) -> Thetas<'t> {
        match self {
            Dispersion::Grouped(tensor, codes) => {
                Thetas::Grouped(Theta::new(tape.params().values(tensor), n_genes, codes), codes)
            }
            Dispersion::PerCell(var) => {
                debug_assert_eq!(tape.shape(var).layout, Layout::Lanes);
                Thetas::PerCell(tape.value(var))
            }
        }
    }

    /// Sends d loss/dΘ of each gene and cell, weighted by each cell's `gy`, to where Θ came from.
    pub(crate) fn backward(self, d: Vec<f32>, gy: &[f32], n_genes: usize, back: &mut Back<'_>) {
        match self {
            Dispersion::Grouped(tensor, codes) => {
                sum_cells(tensor, codes, &d, Some(gy), n_genes, back);
                back.recycle(d);
            }
            Dispersion::PerCell(var) => back.send_weighted(var, d, gy),
        }
    }
}

impl<'t> Thetas<'t> {
    pub(crate) fn block(&'t self, block: usize, n_genes: usize, cells: usize) -> BlockThetas<'t> {
        match self {
            Thetas::Grouped(theta, codes) => {
                let runs: Vec<_> = codes.runs_within(block * LANES, cells.min((block + 1) * LANES)).collect();
                let mut rows = [0; LANES];
                runs.iter().for_each(|&(from, to, code)| rows[from..to].fill(code * n_genes));
                BlockThetas::Grouped { theta, runs, rows, n_genes }
            }
            Thetas::PerCell(all) => BlockThetas::PerCell(&all[block * n_genes * LANES..(block + 1) * n_genes * LANES]),
        }
    }
}

impl BlockThetas<'_> {
    /// θ and 1/(θ + ε) of a gene's lanes.
    #[inline(always)]
    pub(crate) fn lanes<I: Isa>(&self, s: I, gene: usize, theta: &mut [f32; LANES], inverse: &mut [f32; LANES]) {
        match self {
            BlockThetas::Grouped { theta: table, runs, n_genes, .. } => {
                if let [(_, _, code)] = runs[..] {
                    *theta = [table.theta[code * n_genes + gene]; LANES];
                    *inverse = [table.inverse[code * n_genes + gene]; LANES];
                    return;
                }
                for &(from, to, code) in runs {
                    theta[from..to].fill(table.theta[code * n_genes + gene]);
                    inverse[from..to].fill(table.inverse[code * n_genes + gene]);
                }
            }
            BlockThetas::PerCell(all) => {
                let row = &all[gene * LANES..(gene + 1) * LANES];
                for l in 0..LANES {
                    theta[l] = math::exp(s, row[l]).max(1e-30);
                    inverse[l] = 1.0 / (theta[l] + EPSILON);
                }
            }
        }
    }

    /// θ, ln Γ(θ) and ψ(θ) of some genes and lanes; the arrays' ends past the last stay.
    #[inline(always)]
    pub(crate) fn gather<I: Isa, const N: usize>(
        &self,
        s: I,
        genes: &[u32],
        lanes: &[u8],
        theta: &mut [f32; N],
        gamma: &mut [(f64, f64); N],
    ) {
        match self {
            BlockThetas::Grouped { theta: table, rows, .. } => {
                for (i, (&g, &lane)) in genes.iter().zip(lanes).enumerate() {
                    let at = rows[lane as usize % LANES] + g as usize;
                    theta[i] = table.theta[at];
                    gamma[i] = table.gamma[at];
                }
            }
            BlockThetas::PerCell(all) => {
                for (i, (&g, &lane)) in genes.iter().zip(lanes).enumerate() {
                    theta[i] = all[g as usize * LANES + lane as usize % LANES];
                }
                for t in theta.iter_mut().take(genes.len()) {
                    *t = math::exp(s, *t).max(1e-30);
                }
                for i in 0..N {
                    gamma[i] = math::lgamma_digamma(s, f64::from(theta[i]));
                }
            }
        }
    }
}

/// What depends on a gene's dispersion alone, for each group in the batch.
pub(crate) struct Theta {
    /// θ, [group × gene]
    pub(crate) theta: Vec<f32>,
    /// 1/(θ + ε)
    pub(crate) inverse: Vec<f32>,
    /// ln Γ(θ), ψ(θ)
    pub(crate) gamma: Vec<(f64, f64)>,
}

impl Theta {
    /// Fills the rows of the groups that occur.
    pub(crate) fn new(log_theta: &[f32], n_genes: usize, codes: &Codes) -> Self {
        let n = log_theta.len();
        let mut table = Theta { theta: vec![1.0; n], inverse: vec![1.0; n], gamma: vec![(0.0, 0.0); n] };
        let mut present: Vec<u32> = codes.runs.iter().map(|r| r.2).collect();
        present.sort_unstable();
        present.dedup();
        for code in present {
            let row = code as usize * n_genes..(code as usize + 1) * n_genes;
            let chunks =
                table.theta[row.clone()].par_chunks_mut(512).zip(table.inverse[row.clone()].par_chunks_mut(512));
            chunks
                .zip(table.gamma[row.clone()].par_chunks_mut(512))
                .zip(log_theta[row].par_chunks(512))
                .for_each(|(((theta, inverse), gamma), log_theta)| theta_row(log_theta, theta, inverse, gamma));
        }
        table
    }
}

kernel! {
fn theta_row(s, log_theta: &[f32], theta: &mut [f32], inverse: &mut [f32], gamma: &mut [(f64, f64)]) {
    for (((&l, t), i), g) in log_theta.iter().zip(theta).zip(inverse).zip(gamma) {
        *t = math::exp(s, l).max(1e-30);
        *i = 1.0 / (*t + EPSILON);
        *g = math::lgamma_digamma(s, f64::from(*t));
    }
}
}
