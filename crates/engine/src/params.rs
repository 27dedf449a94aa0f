//! The parameter table: every trainable number of a model, by name, with named axes.
//!
//! A tensor is stored by rows of its first axis. What may change in training is a set of row
//! ranges of that axis; gradients, optimiser state, weight decay and proximal steps touch those
//! rows only, so what is frozen stays the same to the bit. Surgery is one operation for every
//! model: grow what can grow ([`Param::grow`]), then [`Params::train_only_new`].
//!
//! A tensor is declared first: name, axes, how it starts. Its values are drawn ([`Params::draw`]) or given
//! ([`Param::put`]); what comes from a file is never drawn.

use std::ops::Range;

use scgraft_numeric::random::Key;

use crate::ops::Mask;
use crate::prox;

/// What an axis of a tensor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Axis {
    /// Genes of the model.
    Gene,
    /// Hidden units.
    Hidden,
    /// Latent dimensions.
    Latent,
    /// Gene programs, as rows of a decoder.
    Program,
    /// Stored weights of a masked decoder, ordered by program.
    Entry,
    /// Conditions (batches, studies).
    Condition,
    /// Cell-type labels.
    Label,
    /// Proteins.
    Protein,
    /// Cells (non-amortised models).
    Cell,
    /// Levels of a further categorical covariate, or continuous covariates.
    Covariate,
    /// An axis of length one.
    One,
}

impl Axis {
    /// The name used in model files.
    pub fn name(self) -> &'static str {
        match self {
            Axis::Gene => "gene",
            Axis::Hidden => "hidden",
            Axis::Latent => "latent",
            Axis::Program => "program",
            Axis::Entry => "entry",
            Axis::Condition => "condition",
            Axis::Label => "label",
            Axis::Protein => "protein",
            Axis::Cell => "cell",
            Axis::Covariate => "covariate",
            Axis::One => "one",
        }
    }
}

/// How a tensor's values are drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Uniform in ±1/√fan_in, as PyTorch's `Linear` does for weight and bias.
    FanIn(usize),
    /// The size of such a draw: uniform in 0 … 1/√fan_in.
    Positive(usize),
    /// The same for the members of each program, 0 for all other genes; for tensors [program × gene].
    PositiveMembers(usize, Mask),
    /// Normal with the given standard deviation.
    Normal(f32),
}

/// What a tensor is to its network, where training and surgery have to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing of the below.
    #[default]
    Inner,
    /// Of a first layer: it trains in surgery of granularity "first layers".
    FirstLayer,
    /// Of a first layer, and it multiplies the expression, [gene × hidden]. While it is frozen, its product with a cell's
    /// expression stays the same, and is computed once.
    ReadsExpression,
    /// No surgery trains it, whatever its granularity.
    Kept,
}

/// A handle to a tensor of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamId(pub(crate) u32);

/// One tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Dotted name, unique in its table.
    pub name: String,
    /// What each axis counts.
    pub axes: Vec<Axis>,
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Row after row of the first axis; empty until drawn or given.
    values: Vec<f32>,
    /// How values are drawn, and new rows.
    pub init: Init,
    /// What it is to its network.
    pub role: Role,
    /// Rows of the first axis that may change in training: sorted, disjoint.
    pub trainable: Vec<Range<usize>>,
    /// Rows added by the latest surgery.
    pub new_rows: Range<usize>,
    /// Whether these are running statistics: no weights, never trained, and changed by
    /// [`Params::apply_updates`] alone.
    pub statistic: bool,
}

impl Param {
    /// Number of rows (length of the first axis).
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// Number of values, drawn or not.
    pub fn n_values(&self) -> usize {
        self.shape.iter().fold(1, |n, &length| n.saturating_mul(length))
    }

    /// Its values, row after row of the first axis; empty until they are drawn or given.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Its values, to change.
    pub fn write(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Gives it values.
    ///
    /// # Panics
    /// When they are not as many as its shape calls for.
    pub fn put(&mut self, values: Vec<f32>) {
        assert_eq!(values.len(), self.n_values(), "values of `{}`", self.name);
        self.values = values;
    }

    /// Draws its values anew; the draw depends on `key` and the name only.
    pub fn draw(&mut self, key: Key) {
        let mut values = vec![0.0; self.n_values()];
        draw(&mut values, &self.init, key.fold(hash(&self.name)));
        self.values = values;
    }

    /// Makes it longer by `extra` rows, drawn anew.
    pub fn grow(&mut self, extra: usize, key: Key) {
        if extra == 0 {
            return;
        }
        let before = self.rows();
        let mut fresh = vec![0.0; extra * self.row_len()];
        draw(&mut fresh, &self.init, key.fold(hash(&self.name)));
        self.values.extend_from_slice(&fresh);
        self.shape[0] += extra;
        let start = if self.new_rows.is_empty() { before } else { self.new_rows.start };
        self.new_rows = start..before + extra;
    }

    /// Lets all of it change, save statistics.
    fn train_all(&mut self) {
        self.trainable = std::iter::once(0..self.rows()).filter(|r| !r.is_empty() && !self.statistic).collect();
    }

    /// Number of values in a row.
    pub fn row_len(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Whether any row may change.
    pub fn is_trainable(&self) -> bool {
        !self.trainable.is_empty()
    }

    /// The ranges of `values` that may change.
    pub fn trainable_spans(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let width = self.row_len();
        self.trainable.iter().map(move |r| r.start * width..r.end * width)
    }
}

/// All tensors of a model.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Params {
    list: Vec<Param>,
}

impl Params {
    /// An empty table.
    pub fn new() -> Self {
        Params::default()
    }

    /// Declares a tensor, without values yet; all of it is trainable.
    ///
    /// # Panics
    /// When the name is taken: model code gives each tensor its own.
    pub fn declare(&mut self, name: &str, axes: &[(Axis, usize)], init: Init) -> ParamId {
        assert!(self.id(name).is_none(), "two tensors named `{name}`");
        self.list.push(Param {
            name: name.to_owned(),
            axes: axes.iter().map(|a| a.0).collect(),
            shape: axes.iter().map(|a| a.1).collect(),
            values: Vec::new(),
            init,
            role: Role::Inner,
            trainable: Vec::new(),
            new_rows: 0..0,
            statistic: false,
        });
        let id = ParamId(self.list.len() as u32 - 1);
        self.get_mut(id).train_all();
        id
    }

    /// Declares running statistics, all of them `start`; training never changes them by gradients.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn declare_statistic(&mut self, name: &str, axes: &[(Axis, usize)], start: f32) -> ParamId {
        let id = self.declare(name, axes, Init::Constant(start));
        let p = self.get_mut(id);
        p.statistic = true;
        p.trainable.clear();
        id
    }

    /// Declares a tensor and draws it.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn add(&mut self, name: &str, axes: &[(Axis, usize)], init: Init, key: Key) -> ParamId {
        let id = self.declare(name, axes, init);
        self.get_mut(id).draw(key);
        id
    }

    /// Draws every tensor. A draw depends on `key` and the tensor's name, not on what else there is.
    pub fn draw(&mut self, key: Key) {
        self.list.iter_mut().for_each(|p| p.draw(key));
    }

    /// Says what tensors are to their network.
    pub fn set_role(&mut self, role: Role, ids: impl IntoIterator<Item = ParamId>) {
        ids.into_iter().for_each(|id| self.get_mut(id).role = role);
    }

    /// The tensors that multiply the expression.
    pub fn reading_expression(&self) -> impl Iterator<Item = ParamId> {
        self.ids().filter(|&id| self.get(id).role == Role::ReadsExpression)
    }

    /// Writes the new values of running statistics that a training step left in
    /// [`Grads::updates`](crate::Grads::updates).
    pub fn apply_updates(&mut self, updates: &[(ParamId, Vec<f32>)]) {
        for (id, values) in updates {
            self.write(*id).copy_from_slice(values);
        }
    }

    /// The handle of the tensor of that name.
    pub fn id(&self, name: &str) -> Option<ParamId> {
        self.list.iter().position(|p| p.name == name).map(|i| ParamId(i as u32))
    }

    /// The tensor behind a handle.
    pub fn get(&self, id: ParamId) -> &Param {
        &self.list[id.0 as usize]
    }

    /// The tensor behind a handle, to change.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Param {
        &mut self.list[id.0 as usize]
    }

    /// The values of a tensor.
    pub fn values(&self, id: ParamId) -> &[f32] {
        &self.get(id).values
    }

    /// The values of a tensor, to change.
    pub fn write(&mut self, id: ParamId) -> &mut [f32] {
        self.get_mut(id).write()
    }

    /// Soft threshold on a tensor, the proximal operator of t · |w|:  w ← sign(w) · max(|w| − t, 0).
    pub fn soft_threshold(&mut self, id: ParamId, threshold: f32) {
        prox::soft_threshold(self.write(id), threshold);
    }

    /// Soft threshold on the weights of genes outside each program's gene set; the tensor is [program × gene].
    pub fn soft_threshold_outside(&mut self, id: ParamId, mask: &Mask, threshold: f32) {
        let genes = self.get(id).row_len();
        prox::soft_threshold_outside(self.write(id), mask, genes, threshold);
    }

    /// Group lasso on a span of a tensor's values, the proximal operator of t · ‖w‖₂:  w ← w · max(0, 1 − t/‖w‖₂).
    pub fn group_lasso(&mut self, id: ParamId, span: Range<usize>, threshold: f32) {
        prox::group_lasso(&mut self.write(id)[span], threshold);
    }

    /// All tensors, in the order they were declared.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.list.iter()
    }

    /// All tensors, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Param> {
        self.list.iter_mut()
    }

    /// All handles.
    pub fn ids(&self) -> impl Iterator<Item = ParamId> + use<> {
        (0..self.list.len() as u32).map(ParamId)
    }

    /// Number of values that may change in training.
    pub fn n_trainable(&self) -> usize {
        self.list.iter().flat_map(|p| p.trainable_spans()).map(|s| s.len()).sum()
    }

    /// Number of values, drawn or not.
    pub fn n_values(&self) -> usize {
        self.list.iter().fold(0, |n, p| n.saturating_add(p.n_values()))
    }

    /// Freezes everything and forgets which rows were new.
    pub fn freeze(&mut self) {
        for p in &mut self.list {
            p.trainable.clear();
            p.new_rows = 0..0;
        }
    }

    /// Lets the rows that the latest surgery added change, and nothing else.
    pub fn train_only_new(&mut self) {
        for p in &mut self.list {
            p.trainable.clear();
            if !p.new_rows.is_empty() && !p.statistic && p.role != Role::Kept {
                p.trainable.push(p.new_rows.clone());
            }
        }
    }

    /// Lets the tensors of first layers change as well.
    pub fn train_first_layers(&mut self) {
        let first = |p: &&mut Param| matches!(p.role, Role::FirstLayer | Role::ReadsExpression);
        self.list.iter_mut().filter(first).for_each(Param::train_all);
    }

    /// Lets every weight change but those that no surgery trains.
    pub fn train_all(&mut self) {
        self.list.iter_mut().filter(|p| p.role != Role::Kept).for_each(Param::train_all);
    }
}

fn draw(values: &mut [f32], init: &Init, key: Key) {
    match init {
        Init::Constant(c) => values.fill(*c),
        Init::FanIn(n) => key.fill_uniform(1.0 / ((*n).max(1) as f32).sqrt(), values),
        Init::Positive(n) => {
            draw(values, &Init::FanIn(*n), key);
            values.iter_mut().for_each(|v| *v = v.abs());
        }
        Init::PositiveMembers(n, mask) => {
            draw(values, &Init::Positive(*n), key);
            if mask.n_programs() > 0 {
                let genes = values.len() / mask.n_programs();
                prox::soft_threshold_outside(values, mask, genes, f32::INFINITY);
            }
        }
        Init::Normal(sd) => {
            key.fill_normal(values);
            values.iter_mut().for_each(|v| *v *= sd);
        }
    }
}

/// FNV-1a: a tensor's draw is named by its name.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Params {
        let mut p = Params::new();
        p.add("weight", &[(Axis::Hidden, 3), (Axis::Gene, 4)], Init::FanIn(4), Key::new(1));
        p.add("condition", &[(Axis::Condition, 2), (Axis::Hidden, 3)], Init::Normal(1.0), Key::new(1));
        p
    }

    #[test]
    fn growing_keeps_old_rows_and_trains_only_new_ones() {
        let (before, mut after) = (table(), table());
        after.freeze();
        let id = after.id("condition").unwrap();
        after.get_mut(id).grow(2, Key::new(5));
        after.train_only_new();
        assert_eq!(after.get(id).shape, [4, 3]);
        assert_eq!(after.values(id)[..6], before.values(id)[..]);
        assert_eq!(after.get(id).trainable, [2..4]);
        assert_eq!(after.n_trainable(), 6);
        assert_eq!(after.values(after.id("weight").unwrap()), before.values(before.id("weight").unwrap()));
    }

    #[test]
    fn roles_say_what_trains() {
        let mut p = table();
        let [weight, condition] = ["weight", "condition"].map(|name| p.id(name).unwrap());
        p.set_role(Role::ReadsExpression, [weight]);
        p.set_role(Role::Kept, [condition]);
        p.get_mut(condition).grow(1, Key::new(5));
        p.train_only_new();
        assert_eq!(p.n_trainable(), 0);
        p.train_first_layers();
        assert_eq!(p.n_trainable(), 12);
        p.train_all();
        assert_eq!((p.n_trainable(), p.reading_expression().collect::<Vec<_>>()), (12, vec![weight]));
    }

    #[test]
    fn what_is_declared_is_not_drawn() {
        let mut p = Params::new();
        let id = p.declare(
            "w",
            &[(Axis::Program, 2), (Axis::Gene, 3)],
            Init::PositiveMembers(2, Mask::new(3, &[vec![0], vec![1, 2]])),
        );
        assert_eq!((p.values(id).len(), p.n_values(), p.n_trainable()), (0, 6, 6));
        p.draw(Key::new(3));
        let inside: Vec<bool> = p.values(id).iter().map(|&w| w > 0.0).collect();
        assert_eq!(inside, [true, false, false, false, true, true]);
        p.soft_threshold_outside(id, &Mask::new(3, &[vec![0, 1, 2], vec![2]]), 1.0);
        p.group_lasso(id, 0..3, 1.0);
        p.soft_threshold(id, f32::INFINITY);
        assert_eq!(p.values(id), [0.0; 6]);
    }

    #[test]
    fn a_draw_depends_on_the_name_not_on_the_order() {
        let mut other = Params::new();
        other.add("condition", &[(Axis::Condition, 2), (Axis::Hidden, 3)], Init::Normal(1.0), Key::new(1));
        let t = table();
        assert_eq!(other.values(other.id("condition").unwrap()), t.values(t.id("condition").unwrap()));
    }
}
