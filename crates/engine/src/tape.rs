//! The tape: a model's forward pass, remembered so that it can be walked backwards.
//!
//! An operation computes at once and, when something before it is trainable, leaves a note of how
//! to send gradients back. Buffers come from a [`Workspace`] and return to it, so that steps of
//! the same shape allocate no memory.

use std::collections::HashMap;

use rayon::prelude::*;
use scgraft_numeric::random::Key;

use crate::batch::LANES;
use crate::lanes::{lanes_from, scale_lanes};
use crate::params::{ParamId, Params};

/// How an activation lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Row per cell: [cell × feature]. Dense layers, norms.
    ByCell,
    /// Row per feature: [feature × cell]. Latent variables.
    ByFeature,
    /// Cells in blocks of [`LANES`], in a block a row per feature: [block × feature × lane].
    /// Likelihoods: a block stays in cache, and its lanes are a processor's vector lanes. Lanes
    /// past the last cell hold zeros or anything finite, and never count.
    Lanes,
}

/// An activation on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(pub(crate) u32);

/// Size and layout of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of cells.
    pub cells: usize,
    /// Number of features a cell.
    pub features: usize,
    /// Order in memory.
    pub layout: Layout,
}

impl Shape {
    /// [cell × feature]
    pub fn by_cell(cells: usize, features: usize) -> Self {
        Shape { cells, features, layout: Layout::ByCell }
    }

    /// [feature × cell]
    pub fn by_feature(features: usize, cells: usize) -> Self {
        Shape { cells, features, layout: Layout::ByFeature }
    }

    /// [block × feature × lane]
    pub fn lanes(features: usize, cells: usize) -> Self {
        Shape { cells, features, layout: Layout::Lanes }
    }

    /// Number of values stored.
    pub fn len(&self) -> usize {
        match self.layout {
            Layout::Lanes => self.cells.div_ceil(LANES) * LANES * self.features,
            Layout::ByCell | Layout::ByFeature => self.cells * self.features,
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Buffers kept from step to step.
#[derive(Debug, Default)]
pub struct Workspace {
    free: HashMap<usize, Vec<Vec<f32>>>,
    held: usize,
}

impl Workspace {
    /// An empty workspace.
    pub fn new() -> Self {
        Workspace::default()
    }

    /// Values in all buffers ever handed out, times four bytes.
    pub fn bytes(&self) -> usize {
        self.held * 4
    }

    /// A buffer of `len` values of any content.
    pub(crate) fn take(&mut self, len: usize) -> Vec<f32> {
        match self.free.get_mut(&len).and_then(Vec::pop) {
            Some(buffer) => buffer,
            None => {
                self.held += len;
                vec![0.0; len]
            }
        }
    }

    /// Gives a buffer back.
    pub(crate) fn give(&mut self, buffer: Vec<f32>) {
        if !buffer.is_empty() {
            self.free.entry(buffer.len()).or_default().push(buffer);
        }
    }
}

/// The gradient of each tensor's trainable part; zero elsewhere.
#[derive(Debug, Default)]
pub struct Grads {
    slots: Vec<Grad>,
    updates: Vec<(ParamId, Vec<f32>)>,
}

#[derive(Debug, Default)]
struct Grad {
    values: Vec<f32>,
    fresh: bool,
}

impl Grads {
    /// Zero gradients for a table.
    pub fn new(params: &Params) -> Self {
        let slots = params
            .iter()
            .map(|p| Grad { values: if p.is_trainable() { vec![0.0; p.n_values()] } else { Vec::new() }, fresh: true })
            .collect();
        Grads { slots, updates: Vec::new() }
    }

    /// The gradient of a tensor, of its full shape; empty when the tensor is frozen.
    pub fn get(&self, id: ParamId) -> &[f32] {
        &self.slots[id.0 as usize].values
    }

    /// The new values of running statistics that the latest pass computed, for
    /// [`Params::apply_updates`] after the step.
    pub fn updates(&self) -> &[(ParamId, Vec<f32>)] {
        &self.updates
    }

    /// Every gradient may be overwritten by its next writer.
    fn renew(&mut self) {
        self.slots.iter_mut().for_each(|s| s.fresh = true);
    }

    /// Zeroes those that nobody has written.
    fn settle(&mut self) {
        for s in self.slots.iter_mut().filter(|s| s.fresh) {
            s.values.fill(0.0);
        }
    }
}

/// The way back through one operation.
pub(crate) trait Backward: Send {
    /// Adds to the gradients of what the operation read, given that of what it made.
    fn backward(self: Box<Self>, back: &mut Back<'_>);
}

/// A forward pass in the making.
pub struct Tape<'a> {
    params: &'a Params,
    workspace: &'a mut Workspace,
    shapes: Vec<Shape>,
    values: Vec<Vec<f32>>,
    needs: Vec<bool>,
    nodes: Vec<Box<dyn Backward + 'a>>,
    updates: Vec<(ParamId, Vec<f32>)>,
    training: bool,
    drops: bool,
    noise: Noise,
    draws: u64,
}

/// Where random numbers come from.
#[derive(Clone, Debug)]
pub enum Noise {
    /// Drawn from a key.
    Key(Key),
    /// Given in advance, for each Gaussian sample in the order of the forward pass (parity tests).
    Given(Vec<Vec<f32>>),
    /// None: samples equal their means.
    Zero,
}

impl<'a> Tape<'a> {
    /// An empty tape. With `training`, dropout drops, batch statistics are the batch's, and
    /// operations remember the way back.
    pub fn new(params: &'a Params, workspace: &'a mut Workspace, noise: Noise, training: bool) -> Self {
        Tape {
            params,
            workspace,
            shapes: Vec::new(),
            values: Vec::new(),
            needs: Vec::new(),
            nodes: Vec::new(),
            updates: Vec::new(),
            training,
            drops: training,
            noise,
            draws: 0,
        }
    }

    /// The same pass without dropout, whatever the rates that networks ask for.
    pub fn without_dropout(mut self) -> Self {
        self.drops = false;
        self
    }

    /// The parameter table.
    pub fn params(&self) -> &'a Params {
        self.params
    }

    /// Whether this pass trains.
    pub fn training(&self) -> bool {
        self.training
    }

    /// Size and layout of an activation.
    pub fn shape(&self, v: Var) -> Shape {
        self.shapes[v.0 as usize]
    }

    /// The values of an activation.
    pub fn value(&self, v: Var) -> &[f32] {
        &self.values[v.0 as usize]
    }

    /// The single value of an activation of one value.
    pub fn scalar(&self, v: Var) -> f32 {
        self.value(v)[0]
    }

    /// Puts given values on the tape; no gradient flows into them.
    pub fn constant(&mut self, shape: Shape, values: &[f32]) -> Var {
        let mut buffer = self.buffer(shape.len());
        buffer.copy_from_slice(values);
        self.push(shape, buffer, false)
    }

    /// A buffer for an operation's result.
    pub(crate) fn buffer(&mut self, len: usize) -> Vec<f32> {
        self.workspace.take(len)
    }

    /// Takes the buffer of an activation that no other operation reads, to write the result in its place.
    pub(crate) fn consume(&mut self, v: Var) -> Vec<f32> {
        std::mem::take(&mut self.values[v.0 as usize])
    }

    /// Gives back a buffer that an operation used and no longer needs.
    pub(crate) fn recycle(&mut self, buffer: Vec<f32>) {
        self.workspace.give(buffer);
    }

    /// Puts an operation's result on the tape.
    pub(crate) fn push(&mut self, shape: Shape, values: Vec<f32>, needs: bool) -> Var {
        debug_assert_eq!(shape.len(), values.len());
        self.shapes.push(shape);
        self.values.push(values);
        self.needs.push(needs && self.training);
        Var(self.shapes.len() as u32 - 1)
    }

    /// Remembers the way back through an operation.
    pub(crate) fn record(&mut self, node: impl Backward + 'a) {
        self.nodes.push(Box::new(node));
    }

    /// Whether gradients are wanted for an activation.
    pub(crate) fn needs(&self, v: Var) -> bool {
        self.needs[v.0 as usize]
    }

    /// Whether gradients are wanted for a tensor.
    pub(crate) fn trains(&self, p: ParamId) -> bool {
        self.training && self.params.get(p).is_trainable()
    }

    /// The coming values of running statistics: those of an earlier use in this pass, or those of
    /// the table, to change.
    pub(crate) fn update(&mut self, p: ParamId) -> &mut [f32] {
        let at = match self.updates.iter().position(|u| u.0 == p) {
            Some(at) => at,
            None => {
                let now = self.params.values(p);
                let mut coming = self.workspace.take(now.len());
                coming.copy_from_slice(now);
                self.updates.push((p, coming));
                self.updates.len() - 1
            }
        };
        &mut self.updates[at].1
    }

    /// Fills `out` with the next Gaussian draw of this pass; false when samples equal their means.
    pub(crate) fn draw_normal(&mut self, out: &mut [f32]) -> bool {
        let draw = self.draws;
        self.draws += 1;
        match &self.noise {
            Noise::Key(key) => {
                key.fold(draw).fill_normal(out);
                true
            }
            Noise::Given(draws) => {
                out.copy_from_slice(&draws[draw as usize]);
                true
            }
            Noise::Zero => {
                out.fill(0.0);
                false
            }
        }
    }

    /// The key of the next dropout mask; `None` when nothing is dropped.
    pub(crate) fn dropout_key(&mut self) -> Option<Key> {
        match (&self.noise, self.drops) {
            (Noise::Key(key), true) => {
                self.draws += 1;
                Some(key.fold(self.draws - 1))
            }
            _ => None,
        }
    }

    /// Walks back from weighted one-value activations, Σ weight · value, and gives the gradient of
    /// every trainable tensor, and the new running statistics. The tape's buffers return to the
    /// workspace.
    pub fn backward(mut self, roots: &[(Var, f32)], grads: &mut Grads) {
        grads.renew();
        for (_, old) in std::mem::replace(&mut grads.updates, std::mem::take(&mut self.updates)) {
            self.workspace.give(old);
        }
        let mut back = Back {
            params: self.params,
            values: &self.values,
            shapes: &self.shapes,
            needs: &self.needs,
            grads: vec![Vec::new(); self.values.len()],
            unweighted: Vec::new(),
            tensors: grads,
            workspace: self.workspace,
        };
        for &(root, weight) in roots {
            if back.needs(root) {
                let mut g = back.take_or_zero(root);
                g.iter_mut().for_each(|v| *v += weight);
                back.put(root, g);
            }
        }
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            node.backward(&mut back);
        }
        for g in std::mem::take(&mut back.grads) {
            back.workspace.give(g);
        }
        grads.settle();
        self.finish();
    }

    /// Ends a pass without walking back; buffers return to the workspace, and no running statistics
    /// change.
    pub fn finish(self) {
        for v in self.values.into_iter().chain(self.updates.into_iter().map(|u| u.1)) {
            self.workspace.give(v);
        }
    }
}

/// What an operation sees on the way back.
pub(crate) struct Back<'t> {
    pub(crate) params: &'t Params,
    values: &'t [Vec<f32>],
    shapes: &'t [Shape],
    needs: &'t [bool],
    grads: Vec<Vec<f32>>,
    /// Gradients in lanes that are still to be multiplied by a weight of each cell.
    unweighted: Vec<(Var, Vec<f32>)>,
    tensors: &'t mut Grads,
    workspace: &'t mut Workspace,
}

impl<'t> Back<'t> {
    /// The values of an activation.
    pub(crate) fn value(&self, v: Var) -> &'t [f32] {
        &self.values[v.0 as usize]
    }

    /// Size and layout of an activation.
    pub(crate) fn shape(&self, v: Var) -> Shape {
        self.shapes[v.0 as usize]
    }

    /// Whether gradients are wanted for an activation.
    pub(crate) fn needs(&self, v: Var) -> bool {
        self.needs[v.0 as usize]
    }

    /// Whether gradients are wanted for a tensor.
    pub(crate) fn trains(&self, p: ParamId) -> bool {
        self.params.get(p).is_trainable()
    }

    /// Takes the gradient that has gathered for an operation's own result; `None` when no later
    /// operation sent any. Hand it back with [`Back::recycle`].
    pub(crate) fn take(&mut self, v: Var) -> Option<Vec<f32>> {
        self.weight(v);
        let g = std::mem::take(&mut self.grads[v.0 as usize]);
        (!g.is_empty()).then_some(g)
    }

    /// As [`Back::take`], for an operation on lanes that can multiply by a weight of each cell as it goes: the weights are
    /// all that is missing.
    pub(crate) fn take_unweighted(&mut self, v: Var) -> Option<(Vec<f32>, Option<Vec<f32>>)> {
        let weights = self.unweighted.iter().position(|u| u.0 == v).map(|at| self.unweighted.swap_remove(at).1);
        self.take(v).map(|g| (g, weights))
    }

    /// Adds `g`, in lanes and to be multiplied by a weight of each cell, to the gradient of an operation's input, where one
    /// is wanted.
    pub(crate) fn send_weighted(&mut self, v: Var, g: Vec<f32>, weights: &[f32]) {
        if !self.needs(v) {
            return self.recycle(g);
        }
        self.weight(v);
        let mut own = std::mem::replace(&mut self.grads[v.0 as usize], g);
        self.unweighted.push((v, weights.to_vec()));
        if !own.is_empty() {
            self.weight(v);
            own.iter_mut().zip(&self.grads[v.0 as usize]).for_each(|(o, &g)| *o += g);
            let g = std::mem::replace(&mut self.grads[v.0 as usize], own);
            self.recycle(g);
        }
    }

    /// Multiplies a gradient by the weights that it waits for.
    fn weight(&mut self, v: Var) {
        if let Some(at) = self.unweighted.iter().position(|u| u.0 == v) {
            let (_, weights) = self.unweighted.swap_remove(at);
            let size = self.shapes[v.0 as usize].features * LANES;
            let blocks = self.grads[v.0 as usize].par_chunks_mut(size).enumerate();
            blocks.for_each(|(block, g)| scale_lanes(&lanes_from(&weights, block), g));
        }
    }

    /// Takes the gradient of an operation's input to add to it: zeros when nothing is there yet.
    /// Hand it back with [`Back::put`].
    pub(crate) fn take_or_zero(&mut self, v: Var) -> Vec<f32> {
        let (mut g, fresh) = self.take_or_fresh(v);
        if fresh {
            g.fill(0.0);
        }
        g
    }

    /// As [`Back::take_or_zero`], but a first writer gets a buffer of any content and `true`:
    /// it must overwrite every value.
    pub(crate) fn take_or_fresh(&mut self, v: Var) -> (Vec<f32>, bool) {
        self.weight(v);
        let g = std::mem::take(&mut self.grads[v.0 as usize]);
        if g.is_empty() { (self.workspace.take(self.shapes[v.0 as usize].len()), true) } else { (g, false) }
    }

    /// Puts the gradient of an input back.
    pub(crate) fn put(&mut self, v: Var, g: Vec<f32>) {
        self.grads[v.0 as usize] = g;
    }

    /// Adds a gradient that has the input's shape to what is there, and keeps its buffer or gives it back.
    pub(crate) fn give(&mut self, v: Var, g: Vec<f32>) {
        let own = &mut self.grads[v.0 as usize];
        if own.is_empty() {
            *own = g;
            return;
        }
        self.weight(v);
        self.grads[v.0 as usize].iter_mut().zip(&g).for_each(|(o, &g)| *o += g);
        self.recycle(g);
    }

    /// A buffer for an operation's own use.
    pub(crate) fn buffer(&mut self, len: usize) -> Vec<f32> {
        self.workspace.take(len)
    }

    /// Gives a buffer back to the workspace.
    pub(crate) fn recycle(&mut self, buffer: Vec<f32>) {
        self.workspace.give(buffer);
    }

    /// The gradient of a tensor to add to (all of its shape).
    pub(crate) fn tensor(&mut self, p: ParamId) -> &mut [f32] {
        let slot = &mut self.tensors.slots[p.0 as usize];
        if std::mem::take(&mut slot.fresh) {
            slot.values.fill(0.0);
        }
        &mut slot.values
    }

    /// As [`Back::tensor`], but a first writer gets any content and `true`: it must overwrite
    /// every value.
    pub(crate) fn tensor_or_fresh(&mut self, p: ParamId) -> (&mut [f32], bool) {
        let slot = &mut self.tensors.slots[p.0 as usize];
        let fresh = std::mem::take(&mut slot.fresh);
        (&mut slot.values, fresh)
    }
}
