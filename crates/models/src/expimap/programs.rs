//! The decoder's weights: segments of programs, what holds them down (equation 8), when new ones join.

use std::ops::Range;

use scgraft_engine::{Axis, Mask, ParamId, Params, ProgramWeights, Role};

use super::{Expimap, ExpimapConfig, start};
use crate::{Membership, Programs, Segment, Step};

/// Epochs between changes of the annealed L1 weight.
const ANNEAL_EVERY: usize = 5;

/// A segment of the decoder: its weights, its gene sets, how these bind.
#[derive(Debug)]
pub(super) struct SegmentWeights {
    weight: ParamId,
    mask: Mask,
    membership: Membership,
    of_reference: bool,
}

impl SegmentWeights {
    /// Declares the weights of a segment that stands behind so many programs.
    pub(super) fn new(
        p: &mut Params,
        config: &ExpimapConfig,
        segment: &Segment,
        before: usize,
        n_genes: usize,
    ) -> SegmentWeights {
        let (mask, count) = (segment.mask(n_genes), segment.programs.len());
        let axes: &[(Axis, usize)] = match segment.membership {
            Membership::Hard => &[(Axis::Entry, mask.n_entries())],
            Membership::Soft | Membership::Free => &[(Axis::Program, count), (Axis::Gene, n_genes)],
        };
        let weight = p.declare(&segment.tensor(), axes, start::of_segment(config, segment, before, n_genes));
        p.set_role(Role::FirstLayer, [weight]);
        SegmentWeights { weight, mask, membership: segment.membership, of_reference: segment.origin.is_none() }
    }

    /// The weights as the decoder takes them.
    pub(super) fn weights(&self) -> ProgramWeights<'_> {
        match self.membership {
            Membership::Hard => ProgramWeights::Masked(self.weight, &self.mask),
            Membership::Soft | Membership::Free => ProgramWeights::Dense(self.weight),
        }
    }

    /// Nothing in their place.
    pub(super) fn absent(&self) -> ProgramWeights<'_> {
        ProgramWeights::Absent(self.mask.n_programs())
    }

    /// Its number of free programs.
    pub(super) fn n_free(&self) -> usize {
        if self.membership == Membership::Free { self.mask.n_programs() } else { 0 }
    }

    /// The values of each of its programs, by program, and the rows of its tensor that they are.
    fn programs(&self, n_genes: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + '_ {
        (0..self.mask.n_programs()).map(move |j| match self.membership {
            Membership::Hard => (self.mask.entries(j), self.mask.entries(j)),
            Membership::Soft | Membership::Free => (j * n_genes..(j + 1) * n_genes, j..j + 1),
        })
    }
}

impl Expimap {
    /// The epoch from which programs are decoded. Those that the latest surgery added wait for the new conditions'
    /// baseline, which they would learn instead of variation.
    pub(super) fn joins(&self, segment: &SegmentWeights, params: &Params, epochs: usize) -> usize {
        if segment.of_reference || params.get(segment.weight).new_rows.is_empty() {
            return 0;
        }
        self.config.new_wait.min(epochs / 4)
    }

    /// Equation 8.
    pub(super) fn hold_down(&self, params: &mut Params, step: &Step) {
        let (rate, c) = (step.learning_rate, &self.config);
        for segment in &self.programs {
            let (id, joins) = (segment.weight, self.joins(segment, params, step.epochs));
            if !params.get(id).is_trainable() || step.epoch < joins {
                continue;
            }
            match segment.membership {
                Membership::Soft => params.soft_threshold_outside(id, &segment.mask, c.l1_weight * rate),
                Membership::Free => {
                    let factor = self.new_l1_factor(step.epoch - joins);
                    params.soft_threshold(id, c.new_l1_weight * rate * factor);
                }
                Membership::Hard => {}
            }
            if segment.of_reference {
                let weight = c.lasso_weight * if c.lasso_anneal { step.annealed } else { 1.0 };
                segment.programs(self.n_genes).for_each(|(span, _)| params.group_lasso(id, span, weight * rate));
            }
        }
    }

    /// The factor on the L1 weight of free programs: a staircase from 1/n to 1 over n epochs.
    fn new_l1_factor(&self, epoch: usize) -> f32 {
        let n = self.config.new_l1_anneal;
        if n == 0 {
            return 1.0;
        }
        // The change at the end of epoch e, a multiple of 5, acts from the next epoch on.
        let last_change = epoch.saturating_sub(1) / ANNEAL_EVERY * ANNEAL_EVERY;
        if last_change == 0 { 1.0 / n as f32 } else { (last_change as f32 / n as f32).min(1.0) }
    }
}

impl Programs for Expimap {
    fn weights(&self, params: &Params) -> Vec<f32> {
        let mut out = Vec::new();
        for segment in &self.programs {
            let values = params.values(segment.weight);
            if segment.membership != Membership::Hard {
                out.extend_from_slice(values);
                continue;
            }
            for (j, (span, _)) in segment.programs(self.n_genes).enumerate() {
                let first = out.len();
                out.resize(first + self.n_genes, 0.0);
                for (&g, &w) in segment.mask.genes(j).iter().zip(&values[span]) {
                    out[first + g as usize] = w;
                }
            }
        }
        out
    }

    /// What the reference pruned stays pruned, whatever else a query may change.
    fn pruned(&self, params: &Params) -> Vec<(ParamId, Range<usize>)> {
        let of_reference = self.programs.iter().filter(|s| s.of_reference);
        let zero = |id: ParamId, span: Range<usize>| params.values(id)[span].iter().all(|&w| w == 0.0);
        of_reference
            .flat_map(|s| s.programs(self.n_genes).map(|(span, rows)| (s.weight, span, rows)))
            .filter(|(id, span, _)| zero(*id, span.clone()))
            .map(|(id, _, rows)| (id, rows))
            .collect()
    }

    fn join(&self, params: &mut Params) {
        if self.config.new_wait > 0 {
            start::as_known(params.get_mut(self.decoder_condition));
        }
    }

    fn all_from(&self, params: &Params, epochs: usize) -> usize {
        self.programs.iter().map(|s| self.joins(s, params, epochs)).max().unwrap_or(0)
    }
}
