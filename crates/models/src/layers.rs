//! Blocks that several networks are made of: dense layers that conditions, covariates and labels enter.

use scgraft_engine::{Axis, BatchNorm, Init, Layout, Ops, ParamId, Params, Role, Shape, Var};
use serde::{Deserialize, Serialize};

use crate::{Batch, Header};

/// Normalisation of hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Over a cell's hidden units, without affine terms.
    Layer,
    /// Over the cells of a batch in training, by running statistics afterwards; with affine terms.
    Batch,
    /// None.
    None,
}

/// A linear layer without anything after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine {
    pub(crate) weight: ParamId,
    pub(crate) bias: ParamId,
}

impl Affine {
    /// `<name>.weight` [out × in] and `<name>.bias` [out], drawn as PyTorch's `Linear` draws them.
    pub(crate) fn new(p: &mut Params, name: &str, out: (Axis, usize), inputs: usize) -> Affine {
        Affine {
            weight: p.declare(&format!("{name}.weight"), &[out, (Axis::Hidden, inputs)], Init::FanIn(inputs)),
            bias: p.declare(&format!("{name}.bias"), &[out], Init::FanIn(inputs)),
        }
    }

    /// y = x Wᵀ + b
    pub(crate) fn apply(&self, t: &mut dyn Ops<'_>, x: Var, layout: Layout) -> Var {
        t.linear(x, self.weight, Some(self.bias), layout)
    }

    /// The same to genes, in lanes.
    pub(crate) fn genes(&self, t: &mut dyn Ops<'_>, x: Var) -> Var {
        t.linear_to_lanes(x, self.weight, Some(self.bias), None)
    }
}

/// A linear layer that the condition enters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByCondition {
    pub(crate) weight: ParamId,
    pub(crate) bias: Option<ParamId>,
    pub(crate) condition: ParamId,
}

impl ByCondition {
    /// `<name>.weight` [out × in], `<name>.bias` [out] where there is one, `<name>.condition` [condition × out].
    pub(crate) fn new(
        p: &mut Params,
        name: &str,
        (out, input): ((Axis, usize), (Axis, usize)),
        bias: bool,
        conditions: usize,
    ) -> ByCondition {
        let init = Init::FanIn(input.1 + conditions);
        ByCondition {
            weight: p.declare(&format!("{name}.weight"), &[out, input], init.clone()),
            bias: bias.then(|| p.declare(&format!("{name}.bias"), &[out], init.clone())),
            condition: p.declare(&format!("{name}.condition"), &[(Axis::Condition, conditions), out], init),
        }
    }

    /// y = x Wᵀ + b + L[s], [cell × out]
    pub(crate) fn apply<'a>(&self, t: &mut dyn Ops<'a>, batch: &'a Batch, x: Var) -> Var {
        let a = t.linear(x, self.weight, self.bias, Layout::ByCell);
        t.add_rows(a, self.condition, &batch.condition)
    }

    /// The same to genes, in lanes.
    pub(crate) fn genes<'a>(&self, t: &mut dyn Ops<'a>, batch: &'a Batch, x: Var) -> Var {
        t.linear_to_lanes(x, self.weight, self.bias, Some((self.condition, &batch.condition)))
    }
}

/// Which layers conditions and categorical covariates enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Inject {
    /// None.
    Nowhere,
    /// The first, with continuous covariates.
    First,
    /// All; continuous covariates the first.
    Every,
}

/// What a stack of layers is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackPlan<'p> {
    /// Tensors are named `<prefix>.<layer>.…`.
    pub(crate) prefix: &'p str,
    /// What the first layer reads: genes (sparse), or an activation.
    pub(crate) input: (Axis, usize),
    /// Hidden units of each layer.
    pub(crate) hidden: &'p [usize],
    pub(crate) norm: NormPlan,
    pub(crate) dropout: f32,
    pub(crate) inject: Inject,
    /// Whether every layer reads a one-hot label as well.
    pub(crate) labels: bool,
    /// How many proteins the first layer reads beside genes; 0 for none.
    pub(crate) proteins: usize,
    /// What the first layer's tensors are to the network.
    pub(crate) first: Role,
}

/// How hidden units are normalised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormPlan {
    pub(crate) kind: Norm,
    /// Of batch norm.
    pub(crate) epsilon: f32,
    /// Of batch norm.
    pub(crate) momentum: f32,
    /// Whether frozen batch norms use the batch's statistics in training.
    pub(crate) batch_when_frozen: bool,
}

/// What scvi-tools' batch norms add to variances.
pub(crate) const NORM_EPSILON: f32 = 1e-3;

impl NormPlan {
    /// As scvi-tools has it.
    pub(crate) fn scvi(kind: Norm, batch_when_frozen: bool) -> NormPlan {
        NormPlan { kind, epsilon: NORM_EPSILON, momentum: 0.01, batch_when_frozen }
    }

    /// The tensors of a batch norm, `<name>.weight`, `.bias`, `.mean`, `.variance`; `None` for other kinds.
    pub(crate) fn add(&self, p: &mut Params, name: &str, axis: (Axis, usize)) -> Option<BatchNorm> {
        (self.kind == Norm::Batch).then(|| BatchNorm {
            weight: p.declare(&format!("{name}.weight"), &[axis], Init::Constant(1.0)),
            bias: p.declare(&format!("{name}.bias"), &[axis], Init::Constant(0.0)),
            mean: p.declare_statistic(&format!("{name}.mean"), &[axis], 0.0),
            variance: p.declare_statistic(&format!("{name}.variance"), &[axis], 1.0),
            epsilon: self.epsilon,
            momentum: self.momentum,
            batch_when_frozen: self.batch_when_frozen,
        })
    }
}

/// Layers of linear → norm → ReLU → dropout.
#[derive(Debug)]
pub(crate) struct Stack {
    layers: Vec<Layer>,
    /// Weights of the proteins that the first layer reads beside genes.
    proteins: Option<ParamId>,
    kind: Norm,
    dropout: f32,
}

#[derive(Debug)]
struct Layer {
    weight: ParamId,
    bias: ParamId,
    condition: Option<ParamId>,
    covariates: Vec<ParamId>,
    /// Weights of the continuous covariates and their number.
    continuous: Option<(ParamId, usize)>,
    label: Option<ParamId>,
    norm: Option<BatchNorm>,
}

impl Stack {
    /// Adds the tensors:
    ///
    /// | tensor | shape |
    /// |---|---|
    /// | `<prefix>.<i>.weight` | gene × hidden for genes, otherwise hidden × input |
    /// | `<prefix>.<i>.bias` | hidden |
    /// | `<prefix>.<i>.condition` | condition × hidden |
    /// | `<prefix>.<i>.covariate.<name>` | level × hidden |
    /// | `<prefix>.<i>.continuous` | hidden × covariate |
    /// | `<prefix>.<i>.label` | label × hidden |
    /// | `<prefix>.<i>.norm.…` | hidden |
    /// | `<prefix>.0.proteins` | hidden × protein |
    pub(crate) fn new(p: &mut Params, plan: &StackPlan<'_>, header: &Header) -> Stack {
        let mut input = plan.input;
        let mut layers = Vec::with_capacity(plan.hidden.len());
        for (i, &width) in plan.hidden.iter().enumerate() {
            let name = |what: &str| format!("{}.{i}.{what}", plan.prefix);
            let hidden = (Axis::Hidden, width);
            let enters = plan.inject == Inject::Every || (plan.inject == Inject::First && i == 0);
            let (mut fan_in, mut rows) = (input.1, Vec::new());
            if enters {
                rows.push((name("condition"), (Axis::Condition, header.conditions.len())));
                let covariate = |(n, levels): &(String, Vec<String>)| {
                    (name(&format!("covariate.{n}")), (Axis::Covariate, levels.len()))
                };
                rows.extend(header.covariates.iter().map(covariate));
            }
            let continuous = (enters && i == 0).then_some(header.continuous.len()).filter(|&n| n > 0);
            let labels = plan.labels.then_some(header.labels.len());
            fan_in += rows.iter().map(|r| r.1.1).sum::<usize>() + continuous.unwrap_or(0) + labels.unwrap_or(0);
            let init = || Init::FanIn(fan_in);
            let axes = if input.0 == Axis::Gene { [input, hidden] } else { [hidden, input] };
            let weight = p.declare(&name("weight"), &axes, init());
            let bias = p.declare(&name("bias"), &[hidden], init());
            let mut rows = rows.into_iter().map(|(name, axis)| p.declare(&name, &[axis, hidden], init()));
            let condition = if enters { rows.next() } else { None };
            let covariates = rows.collect();
            let continuous =
                continuous.map(|n| (p.declare(&name("continuous"), &[hidden, (Axis::Covariate, n)], init()), n));
            let label = labels.map(|n| p.declare(&name("label"), &[(Axis::Label, n), hidden], init()));
            let norm = plan.norm.add(p, &name("norm"), hidden);
            layers.push(Layer { weight, bias, condition, covariates, continuous, label, norm });
            input = hidden;
        }
        let proteins = (plan.proteins > 0).then(|| {
            let axes = [(Axis::Hidden, plan.hidden[0]), (Axis::Protein, plan.proteins)];
            let fan_in = plan.input.1 + plan.proteins + header.conditions.len();
            p.declare(&format!("{}.0.proteins", plan.prefix), &axes, Init::FanIn(fan_in))
        });
        let first = &layers[0];
        let norm = first.norm.iter().flat_map(|n| [n.weight, n.bias]);
        let rows = first.condition.iter().chain(&first.covariates).copied().chain(first.continuous.map(|c| c.0));
        p.set_role(plan.first, [first.weight, first.bias].into_iter().chain(rows).chain(norm).chain(proteins));
        if plan.input.0 == Axis::Gene {
            p.set_role(Role::ReadsExpression, [first.weight]);
        }
        Stack { layers, proteins, kind: plan.norm.kind, dropout: plan.dropout }
    }

    /// The last layer of a batch's expression, and of its proteins [cell × protein] where the stack reads them:
    /// [cell × hidden].
    pub(crate) fn of_expression<'a>(&self, t: &mut dyn Ops<'a>, batch: &'a Batch, proteins: Option<Var>) -> Var {
        let first = &self.layers[0];
        let of_proteins = self.proteins.zip(proteins).map(|(weight, y)| t.linear(y, weight, None, Layout::ByCell));
        let a = t.sparse_linear(&batch.x, first.weight, Some(first.bias));
        let a = of_proteins.map_or(a, |more| t.add(a, more));
        self.after_first(t, batch, a)
    }

    /// The last layer of an activation, [cell × hidden]; [label · cell × hidden] for a stack that reads labels.
    pub(crate) fn of<'a>(&self, t: &mut dyn Ops<'a>, batch: &'a Batch, x: Var) -> Var {
        let first = &self.layers[0];
        let a = t.linear(x, first.weight, Some(first.bias), Layout::ByCell);
        self.after_first(t, batch, a)
    }

    fn after_first<'a>(&self, t: &mut dyn Ops<'a>, batch: &'a Batch, a: Var) -> Var {
        let mut h = self.after(t, batch, &self.layers[0], a);
        for layer in &self.layers[1..] {
            let a = t.linear(h, layer.weight, Some(layer.bias), Layout::ByCell);
            h = self.after(t, batch, layer, a);
        }
        h
    }

    /// What follows a layer's product.
    fn after<'a>(&self, t: &mut dyn Ops<'a>, batch: &'a Batch, layer: &Layer, mut a: Var) -> Var {
        if let Some(rows) = layer.condition {
            a = t.add_rows(a, rows, &batch.condition);
        }
        for (&rows, codes) in layer.covariates.iter().zip(&batch.covariates) {
            a = t.add_rows(a, rows, codes);
        }
        if let Some((weight, n)) = layer.continuous {
            let values = t.constant(Shape::by_cell(batch.n_cells(), n), &batch.continuous);
            let offset = t.linear(values, weight, None, Layout::ByCell);
            a = t.add(a, offset);
        }
        if let Some(rows) = layer.label {
            // A cell is laid out for every label once.
            let spread = t.shape(a).cells == batch.every_label.codes.len();
            a = if spread { t.add_rows(a, rows, &batch.every_label) } else { t.every_label(a, rows) };
        }
        activate(t, (layer.norm.as_ref(), self.kind), self.dropout, a)
    }
}

/// h = dropout(relu(norm(a))); batch norm where there is one, otherwise what the kind says.
pub(crate) fn activate(t: &mut dyn Ops<'_>, norm: (Option<&BatchNorm>, Norm), dropout: f32, a: Var) -> Var {
    match norm {
        (Some(norm), _) => {
            let a = t.batch_norm(a, norm);
            t.relu(a, dropout)
        }
        (None, Norm::Layer) => t.layer_norm_relu(a, dropout),
        (None, _) => t.relu(a, dropout),
    }
}

/// A stack, and the mean and log-variance of a normal distribution read off its last layer.
#[derive(Debug)]
pub(crate) struct Gaussian {
    stack: Stack,
    mean: Affine,
    log_variance: Affine,
}

impl Gaussian {
    /// Adds the stack's tensors, then `<prefix>.mean.…` and `<prefix>.log_variance.…`.
    pub(crate) fn new(p: &mut Params, plan: &StackPlan<'_>, out: (Axis, usize), header: &Header) -> Gaussian {
        let (prefix, last) = (plan.prefix, plan.hidden[plan.hidden.len() - 1]);
        Gaussian {
            stack: Stack::new(p, plan, header),
            mean: Affine::new(p, &format!("{prefix}.mean"), out, last),
            log_variance: Affine::new(p, &format!("{prefix}.log_variance"), out, last),
        }
    }

    /// Mean and log-variance, [out × cell], of a batch's expression, and of its proteins where the stack reads them.
    pub(crate) fn of_expression<'a>(&self, t: &mut dyn Ops<'a>, batch: &'a Batch, proteins: Option<Var>) -> (Var, Var) {
        let h = self.stack.of_expression(t, batch, proteins);
        self.of_last(t, h)
    }

    /// The same of an activation.
    pub(crate) fn of<'a>(&self, t: &mut dyn Ops<'a>, batch: &'a Batch, x: Var) -> (Var, Var) {
        let h = self.stack.of(t, batch, x);
        self.of_last(t, h)
    }

    fn of_last(&self, t: &mut dyn Ops<'_>, h: Var) -> (Var, Var) {
        (self.mean.apply(t, h, Layout::ByFeature), self.log_variance.apply(t, h, Layout::ByFeature))
    }
}
