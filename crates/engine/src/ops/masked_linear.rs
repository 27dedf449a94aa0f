//! The linear decoder of gene programs.  h = Σ_segments W z + L[s],  z: program × cell, h: gene × cell.
//!
//! A segment is a run of programs whose weights are stored alike: *masked* (only the weights of
//! member genes exist) or *dense* (every gene; soft membership and new programs). L holds a row of
//! genes for each condition: the decoder's part of an adaptor.

use rayon::prelude::*;
use scgraft_numeric::gemm::by_rows;
use scgraft_numeric::isa::kernel;

use crate::batch::{Codes, LANES};
use crate::lanes::{add_up, rows, rows_mut};
use crate::ops::lanes::{product, product_back, product_weights, start, sum_cells};
use crate::ops::relayout::rows_to_lanes;
use crate::params::ParamId;
use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

/// Which genes belong to which programs: the pattern of a masked segment's weights.
///
/// Weights are stored program after program, genes increasing within a program.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Mask {
    n_genes: usize,
    /// Gene of each entry.
    pub(crate) genes: Vec<u32>,
    /// First entry of each program, and past the last.
    pub(crate) program_starts: Vec<u32>,
    /// First of `gene_entries` of each gene, and past the last.
    gene_starts: Vec<u32>,
    /// (program, entry) pairs ordered by gene.
    gene_entries: Vec<(u32, u32)>,
}

impl Mask {
    /// From each program's member genes, which must be increasing and below `n_genes`.
    pub fn new(n_genes: usize, members: &[Vec<u32>]) -> Self {
        let mut program_starts = vec![0u32];
        let mut genes = Vec::new();
        let mut gene_starts = vec![0u32; n_genes + 1];
        for program in members {
            debug_assert!(program.windows(2).all(|w| w[0] < w[1]), "members in increasing order");
            genes.extend_from_slice(program);
            program_starts.push(genes.len() as u32);
            program.iter().for_each(|&g| gene_starts[g as usize + 1] += 1);
        }
        for g in 0..n_genes {
            gene_starts[g + 1] += gene_starts[g];
        }
        let mut next = gene_starts.clone();
        let mut gene_entries = vec![(0, 0); genes.len()];
        for (program, span) in program_starts.windows(2).enumerate() {
            for entry in span[0]..span[1] {
                let at = &mut next[genes[entry as usize] as usize];
                gene_entries[*at as usize] = (program as u32, entry);
                *at += 1;
            }
        }
        Mask { n_genes, genes, program_starts, gene_starts, gene_entries }
    }

    /// Number of programs.
    pub fn n_programs(&self) -> usize {
        self.program_starts.len() - 1
    }

    /// Number of stored weights.
    pub fn n_entries(&self) -> usize {
        self.genes.len()
    }

    /// The span of a program's weights.
    pub fn entries(&self, program: usize) -> std::ops::Range<usize> {
        self.program_starts[program] as usize..self.program_starts[program + 1] as usize
    }

    /// The member genes of a program, in the order of its weights.
    pub fn genes(&self, program: usize) -> &[u32] {
        &self.genes[self.entries(program)]
    }
}

/// A segment of the decoder.
#[derive(Clone, Copy, Debug)]
pub enum ProgramWeights<'a> {
    /// Weights of member genes only: a tensor of [`Mask::n_entries`] values.
    Masked(ParamId, &'a Mask),
    /// Weights of every gene: a tensor [program × gene].
    Dense(ParamId),
    /// So many programs that take no part.
    Absent(usize),
}

struct Decode<'a> {
    z: Var,
    h: Var,
    segments: Vec<ProgramWeights<'a>>,
    condition: Option<(ParamId, &'a Codes)>,
    /// z in blocks of lanes, [block × program × lane].
    blocks: Vec<f32>,
}

impl ProgramWeights<'_> {
    fn n_programs(&self, tape: &crate::params::Params) -> usize {
        match self {
            ProgramWeights::Masked(_, mask) => mask.n_programs(),
            ProgramWeights::Dense(w) => tape.get(*w).rows(),
            ProgramWeights::Absent(count) => *count,
        }
    }

    fn tensor(&self) -> Option<ParamId> {
        match *self {
            ProgramWeights::Masked(w, _) | ProgramWeights::Dense(w) => Some(w),
            ProgramWeights::Absent(_) => None,
        }
    }
}

impl<'a> Tape<'a> {
    /// h = Σ W z + L[s], in lanes; `z` is [program × cell], segments cover its programs in order,
    /// `condition` is L, [condition × gene], with each cell's condition.
    pub fn decode_programs(
        &mut self,
        z: Var,
        n_genes: usize,
        segments: Vec<ProgramWeights<'a>>,
        condition: Option<(ParamId, &'a Codes)>,
    ) -> Var {
        let Shape { cells, features: programs, layout } = self.shape(z);
        debug_assert_eq!(layout, Layout::ByFeature);
        let mut blocks = self.buffer(Shape::lanes(programs, cells).len());
        rows_to_lanes(self.value(z), programs, cells, &mut blocks);
        let shape = Shape::lanes(n_genes, cells);
        let mut h = self.buffer(shape.len());
        let params = self.params();

        let masked: Vec<_> = with_first_program(&segments, params)
            .filter_map(|(first, s)| match s {
                ProgramWeights::Masked(w, mask) => Some((first, params.values(*w), *mask)),
                ProgramWeights::Dense(_) | ProgramWeights::Absent(_) => None,
            })
            .collect();
        start(n_genes, cells, None, condition.map(|(l, codes)| (params.values(l), codes)), &mut h);
        h.par_chunks_mut(n_genes * LANES).zip(blocks.par_chunks(programs * LANES)).for_each(|(h, z)| {
            for &(first, weights, mask) in &masked {
                masked_block(weights, mask, &z[first * LANES..], h);
            }
        });
        for (first, segment) in with_first_program(&segments, params) {
            if let ProgramWeights::Dense(w) = segment {
                let count = params.get(*w).rows();
                let z_rows = &self.value(z)[first * cells..(first + count) * cells];
                let weights = by_rows(params.values(*w), count, n_genes);
                product(&mut h, weights.transpose(), by_rows(z_rows, count, cells).transpose());
            }
        }

        let needs = self.needs(z)
            || segments.iter().filter_map(ProgramWeights::tensor).any(|w| self.trains(w))
            || condition.is_some_and(|(l, _)| self.trains(l));
        let h = self.push(shape, h, needs);
        if self.needs(h) {
            self.record(Decode { z, h, segments, condition, blocks });
        } else {
            self.recycle(blocks);
        }
        h
    }
}

fn with_first_program<'s, 'a>(
    segments: &'s [ProgramWeights<'a>],
    params: &'s crate::params::Params,
) -> impl Iterator<Item = (usize, &'s ProgramWeights<'a>)> {
    let mut first = 0;
    segments.iter().map(move |s| {
        let here = first;
        first += s.n_programs(params);
        (here, s)
    })
}

/// One program's share of the way back through a masked segment.
struct Task<'t> {
    program: usize,
    gz: Option<&'t mut [f32]>,
    gw: Option<&'t mut [f32]>,
}

impl Backward for Decode<'_> {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gh) = back.take(self.h) else { return };
        let Shape { cells, features: n_genes, .. } = back.shape(self.h);
        let programs = back.shape(self.z).features;
        let params = back.params;
        let z_needs = back.needs(self.z);
        let (mut gz, fresh) = if z_needs { back.take_or_fresh(self.z) } else { (Vec::new(), false) };
        if fresh {
            gz.fill(0.0);
        }
        for (first, segment) in with_first_program(&self.segments, params) {
            match *segment {
                ProgramWeights::Masked(w, mask) => {
                    let count = mask.n_programs();
                    let gw = back.trains(w).then(|| back.tensor(w));
                    let gz_rows = z_needs.then(|| &mut gz[first * cells..(first + count) * cells]);
                    let z = (&self.blocks[..], programs, first);
                    masked_backward(params.values(w), mask, z, &gh, n_genes, cells, gw, gz_rows);
                }
                ProgramWeights::Dense(w) => {
                    let count = params.get(w).rows();
                    if back.trains(w) {
                        let z_rows = &back.value(self.z)[first * cells..(first + count) * cells];
                        let (gw, fresh) = back.tensor_or_fresh(w);
                        let z = by_rows(z_rows, count, cells).transpose();
                        product_weights(gw, true, fresh, &gh, (0..n_genes, n_genes), z);
                    }
                    if z_needs {
                        let gz_rows = &mut gz[first * cells..(first + count) * cells];
                        let weights = by_rows(params.values(w), count, n_genes).transpose();
                        product_back(gz_rows, true, false, weights, &gh, cells);
                    }
                }
                ProgramWeights::Absent(_) => {}
            }
        }
        if z_needs {
            back.put(self.z, gz);
        }
        if let Some((l, codes)) = self.condition {
            sum_cells(l, codes, &gh, None, n_genes, back);
        }
        back.recycle(gh);
        back.recycle(self.blocks);
    }
}

#[allow(clippy::too_many_arguments)]
fn masked_backward(
    weights: &[f32],
    mask: &Mask,
    z: (&[f32], usize, usize),
    gh: &[f32],
    n_genes: usize,
    cells: usize,
    mut gw: Option<&mut [f32]>,
    gz: Option<&mut [f32]>,
) {
    let mut gz_rows = gz.map(|g| g.chunks_exact_mut(cells));
    let mut tasks = Vec::with_capacity(mask.n_programs());
    for program in 0..mask.n_programs() {
        let own = gw.take().map(|rest| rest.split_at_mut(mask.entries(program).len()));
        let mine = own.map(|(mine, rest)| {
            gw = Some(rest);
            mine
        });
        tasks.push(Task { program, gz: gz_rows.as_mut().and_then(Iterator::next), gw: mine });
    }
    let (blocks, programs, first) = z;
    tasks.par_chunks_mut(8).for_each(|chunk| {
        for task in chunk {
            let entries = mask.entries(task.program);
            let mut none: [f32; 0] = [];
            let gw = task.gw.as_deref_mut().unwrap_or(&mut none);
            let mut no_z: [f32; 0] = [];
            let gz = task.gz.as_deref_mut().unwrap_or(&mut no_z);
            let at = first + task.program;
            program_backward(
                &weights[entries.clone()],
                &mask.genes[entries],
                blocks,
                programs,
                at,
                gh,
                n_genes,
                cells,
                gw,
                gz,
            );
        }
    });
}

kernel! {
/// h[g, :] += Σ_entries w z[program, :] for a block of lanes.
fn masked_block(s, weights: &[f32], mask: &Mask, z: &[f32], h: &mut [f32]) {
    let z = rows(z);
    for (g, h) in rows_mut(h).iter_mut().enumerate() {
        let mut sum = *h;
        for &(program, entry) in &mask.gene_entries[mask.gene_starts[g] as usize..mask.gene_starts[g + 1] as usize] {
            let (w, z) = (weights[entry as usize], &z[program as usize]);
            for l in 0..LANES {
                sum[l] = s.fma(w, z[l], sum[l]);
            }
        }
        *h = sum;
    }
}
}

/// Blocks of cells whose share of a program's gradients is gathered together.
const TOGETHER: usize = 4;

kernel! {
/// One program: gz += Σ_genes w gh[gene, :], gw = Σ_cells z gh[gene, :].
fn program_backward(
    s, weights: &[f32], genes: &[u32], blocks: &[f32], programs: usize, program: usize,
    gh: &[f32], n_genes: usize, cells: usize, gw: &mut [f32], gz: &mut [f32],
) {
    let (gh, blocks) = (rows(gh), rows(blocks));
    let n_blocks = cells.div_ceil(LANES);
    let mut first = 0;
    // Four blocks at a time, for which all sums are in registers; then one by one.
    while first < n_blocks {
        let together = if first + TOGETHER <= n_blocks { TOGETHER } else { 1 };
        let mut back = [[0f32; LANES]; TOGETHER];
        if together == TOGETHER {
            let mut z = [[0f32; LANES]; TOGETHER];
            for b in 0..TOGETHER {
                z[b] = blocks[(first + b) * programs + program];
            }
            if gw.is_empty() {
                for (&g, &w) in genes.iter().zip(weights) {
                    for b in 0..TOGETHER {
                        let gh = &gh[(first + b) * n_genes + g as usize];
                        for l in 0..LANES {
                            back[b][l] = s.fma(w, gh[l], back[b][l]);
                        }
                    }
                }
            }
            for ((gw, &g), &w) in gw.iter_mut().zip(genes).zip(weights) {
                let mut part = [0f32; LANES];
                for b in 0..TOGETHER {
                    let gh = &gh[(first + b) * n_genes + g as usize];
                    for l in 0..LANES {
                        back[b][l] = s.fma(w, gh[l], back[b][l]);
                        part[l] = s.fma(z[b][l], gh[l], part[l]);
                    }
                }
                *gw += add_up(&part);
            }
        } else {
            let z = blocks[first * programs + program];
            let back = &mut back[0];
            for (e, (&g, &w)) in genes.iter().zip(weights).enumerate() {
                let gh = &gh[first * n_genes + g as usize];
                let mut part = [0f32; LANES];
                for l in 0..LANES {
                    back[l] = s.fma(w, gh[l], back[l]);
                    part[l] = z[l] * gh[l];
                }
                if let Some(gw) = gw.get_mut(e) {
                    *gw += add_up(&part);
                }
            }
        }
        for (b, back) in back.iter().enumerate().take(together) {
            let from = (first + b) * LANES;
            let to = cells.min(from + LANES).min(gz.len());
            if from < to {
                gz[from..to].iter_mut().zip(back).for_each(|(o, &v)| *o += v);
            }
        }
        first += together;
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;
    use crate::params::Axis;

    /// 40 cells (so that a block is broken), 5 genes, 2 masked + 2 dense + 1 absent + 1 masked programs.
    fn check(train_first: bool) {
        let (cells, genes) = (40, 5);
        let masks = [Mask::new(genes, &[vec![0, 2, 3], vec![1, 2]]), Mask::new(genes, &[vec![4]])];
        let codes = Codes::new((0..cells as u32).map(|c| (c / 9) % 3).collect());
        let mut check = Check::new();
        let z = check.input("z", Shape::by_feature(6, cells));
        let w0 = check.param("w0", &[(Axis::Entry, 5)]);
        let w1 = check.param("w1", &[(Axis::Program, 2), (Axis::Gene, genes)]);
        let w2 = check.param("w2", &[(Axis::Entry, 1)]);
        let l = check.param("l", &[(Axis::Condition, 3), (Axis::Gene, genes)]);
        if !train_first {
            check.freeze(w0);
            check.train_rows(l, 2..3);
        }
        let (m, c) = (masks.clone(), codes.clone());
        check.twin(move |v| {
            let mut w = vec![0.0; 6 * genes]; // program × gene
            for (values, mask, first) in [(v.param(w0), &m[0], 0), (v.param(w2), &m[1], 5)] {
                for p in 0..mask.n_programs() {
                    for (e, &g) in mask.entries(p).zip(mask.genes(p)) {
                        w[(first + p) * genes + g as usize] = values[e];
                    }
                }
            }
            w[2 * genes..4 * genes].copy_from_slice(v.param(w1));
            let z = v.input(z);
            let mut h = vec![0.0; 64 * genes];
            for cell in 0..cells {
                for g in 0..genes {
                    let sum: f64 = (0..6).map(|p| w[p * genes + g] * z[p * cells + cell]).sum();
                    let offset = v.param(l)[c.codes[cell] as usize * genes + g];
                    h[(cell / LANES) * genes * LANES + g * LANES + cell % LANES] = sum + offset;
                }
            }
            h
        });
        check.run(|t, v| {
            let segments = vec![
                ProgramWeights::Masked(v.param(w0), &masks[0]),
                ProgramWeights::Dense(v.param(w1)),
                ProgramWeights::Absent(1),
                ProgramWeights::Masked(v.param(w2), &masks[1]),
            ];
            t.decode_programs(v.input(z), genes, segments, Some((v.param(l), &codes)))
        });
    }

    #[test]
    fn gradients_of_segments_and_conditions() {
        check(true);
        check(false);
    }
}
