//! Where the dispersion of a count likelihood comes from: θ = e^Θ.

use crate::batch::{Codes, LANES};
use crate::isa::Isa;
use crate::math;
use crate::ops::link::lanes_from;
use crate::ops::nb::{EPSILON, Theta, dispersion_backward, scale_lanes};
use crate::params::ParamId;
use crate::tape::{Back, Layout, Tape, Var};

use rayon::prelude::*;

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
pub(crate) enum BlockThetas<'t> {
    Grouped { theta: &'t Theta, runs: Vec<(usize, usize, usize)>, n_genes: usize },
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
                if back.trains(tensor) {
                    dispersion_backward(tensor, codes, &d, gy, n_genes, gy.len(), back);
                }
                back.recycle(d);
            }
            Dispersion::PerCell(var) => send_lanes(var, d, gy, n_genes, back),
        }
    }
}

impl<'t> Thetas<'t> {
    pub(crate) fn block(&'t self, block: usize, n_genes: usize, cells: usize) -> BlockThetas<'t> {
        match self {
            Thetas::Grouped(theta, codes) => {
                let runs = codes.runs_within(block * LANES, cells.min((block + 1) * LANES)).collect();
                BlockThetas::Grouped { theta, runs, n_genes }
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
            BlockThetas::Grouped { theta: table, runs, n_genes } => {
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
            BlockThetas::Grouped { theta: table, runs, n_genes } => {
                for (i, (&g, &lane)) in genes.iter().zip(lanes).enumerate() {
                    let code = runs.iter().find(|r| (lane as usize) < r.1).map_or(0, |r| r.2);
                    let at = code * n_genes + g as usize;
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

/// Sends d loss/dv of each gene and cell, weighted by each cell's `gy`, to activation v in lanes.
pub(crate) fn send_lanes(var: Var, mut d: Vec<f32>, gy: &[f32], n_genes: usize, back: &mut Back<'_>) {
    if !back.needs(var) {
        back.recycle(d);
        return;
    }
    d.par_chunks_mut(n_genes * LANES).enumerate().for_each(|(block, d)| scale_lanes(&lanes_from(gy, block), d));
    let (mut g, fresh) = back.take_or_fresh(var);
    if fresh {
        back.recycle(g);
        back.put(var, d);
    } else {
        g.iter_mut().zip(&d).for_each(|(o, &v)| *o += v);
        back.put(var, g);
        back.recycle(d);
    }
}
