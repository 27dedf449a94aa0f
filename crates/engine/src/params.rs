//! The parameter table: every trainable number of a model, by name, with named axes.
//!
//! A tensor is stored by rows of its first axis. What may change in training is a set of row
//! ranges of that axis; gradients, optimiser state, weight decay and proximal steps touch those
//! rows only, so what is frozen stays the same to the bit. Surgery is one operation for every
//! model: [`Params::grow`] an axis, then [`Params::train_only_new`].

use std::ops::Range;

use scgraft_numeric::random::Key;

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Uniform in ±1/√fan_in, as PyTorch's `Linear` does for weight and bias.
    FanIn(usize),
    /// Normal with the given standard deviation.
    Normal(f32),
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
    /// Values, row after row of the first axis.
    pub values: Vec<f32>,
    /// How values were drawn, and how new rows are.
    pub init: Init,
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

    /// Adds a tensor drawn according to `init`; all of it is trainable.
    ///
    /// The draw depends on `key` and the name only, not on what was added before.
    ///
    /// # Panics
    /// When the name is taken: model code gives each tensor its own.
    pub fn add(&mut self, name: &str, axes: &[(Axis, usize)], init: Init, key: Key) -> ParamId {
        assert!(self.id(name).is_none(), "two tensors named `{name}`");
        let shape: Vec<usize> = axes.iter().map(|a| a.1).collect();
        let mut values = vec![0.0; shape.iter().product()];
        draw(&mut values, init, key.fold(hash(name)));
        let rows = shape[0];
        self.list.push(Param {
            name: name.to_owned(),
            axes: axes.iter().map(|a| a.0).collect(),
            shape,
            values,
            init,
            trainable: std::iter::once(0..rows).filter(|r| !r.is_empty()).collect(),
            new_rows: 0..0,
            statistic: false,
        });
        ParamId(self.list.len() as u32 - 1)
    }

    /// Adds running statistics, all of them `start`; training never changes them by gradients.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn add_statistic(&mut self, name: &str, axes: &[(Axis, usize)], start: f32) -> ParamId {
        let id = self.add(name, axes, Init::Constant(start), Key::new(0));
        let p = self.get_mut(id);
        p.statistic = true;
        p.trainable.clear();
        id
    }

    /// Writes the new values of running statistics that a training step left in
    /// [`Grads::updates`](crate::Grads::updates).
    pub fn apply_updates(&mut self, updates: &[(ParamId, Vec<f32>)]) {
        for (id, values) in updates {
            self.get_mut(*id).values.copy_from_slice(values);
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

    /// All tensors, in the order they were added.
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

    /// Number of values.
    pub fn n_values(&self) -> usize {
        self.list.iter().map(|p| p.values.len()).sum()
    }

    /// Makes `axis` longer by `extra` rows, drawn anew, in every tensor that begins with it.
    pub fn grow(&mut self, axis: Axis, extra: usize, key: Key) {
        for p in self.list.iter_mut().filter(|p| p.axes[0] == axis) {
            grow_param(p, extra, key);
        }
    }

    /// Makes one tensor longer by `extra` rows, drawn anew.
    pub fn grow_one(&mut self, id: ParamId, extra: usize, key: Key) {
        grow_param(self.get_mut(id), extra, key);
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
            if !p.new_rows.is_empty() && !p.statistic {
                p.trainable.push(p.new_rows.clone());
            }
        }
    }

    /// Lets every weight change.
    pub fn train_all(&mut self) {
        for p in self.list.iter_mut().filter(|p| !p.statistic) {
            let rows = p.rows();
            p.trainable = std::iter::once(0..rows).filter(|r| !r.is_empty()).collect();
        }
    }
}

fn grow_param(p: &mut Param, extra: usize, key: Key) {
    if extra == 0 {
        return;
    }
    let before = p.rows();
    let mut fresh = vec![0.0; extra * p.row_len()];
    draw(&mut fresh, p.init, key.fold(hash(&p.name)));
    p.values.extend_from_slice(&fresh);
    p.shape[0] += extra;
    let start = if p.new_rows.is_empty() { before } else { p.new_rows.start };
    p.new_rows = start..before + extra;
}

fn draw(values: &mut [f32], init: Init, key: Key) {
    match init {
        Init::Constant(c) => values.fill(c),
        Init::FanIn(n) => key.fill_uniform(1.0 / (n.max(1) as f32).sqrt(), values),
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
        after.grow(Axis::Condition, 2, Key::new(5));
        after.train_only_new();
        let id = after.id("condition").unwrap();
        assert_eq!(after.get(id).shape, [4, 3]);
        assert_eq!(after.values(id)[..6], before.values(id)[..]);
        assert_eq!(after.get(id).trainable, [2..4]);
        assert_eq!(after.n_trainable(), 6);
        assert_eq!(after.values(after.id("weight").unwrap()), before.values(before.id("weight").unwrap()));
    }

    #[test]
    fn a_draw_depends_on_the_name_not_on_the_order() {
        let mut other = Params::new();
        other.add("condition", &[(Axis::Condition, 2), (Axis::Hidden, 3)], Init::Normal(1.0), Key::new(1));
        let t = table();
        assert_eq!(other.values(other.id("condition").unwrap()), t.values(t.id("condition").unwrap()));
    }
}
