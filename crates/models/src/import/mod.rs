//! Where our tensors are in the files of published packages: data, which importing and the golden tests both read.
//!
//! A layer of theirs is one matrix whose columns are the input, continuous covariates, a one-hot batch, one-hot
//! categorical covariates, and a one-hot label; ours are tensors of their own, those that grow by rows. A batch or
//! covariate of one level has no column there.

pub mod scarches;
pub mod scvi_tools;
pub mod to_scvi_tools;

use std::collections::BTreeMap;
use std::ops::Range;

use scgraft_engine::Param;

use crate::Model;

/// Where a tensor of ours is in a published model, and how it is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Theirs, as it is.
    Same(String),
    /// Their matrix, transposed.
    Transposed(String),
    /// Columns of their matrix: its rows cut down to them, or transposed.
    Columns {
        /// Their name.
        name: String,
        /// The columns, in order.
        columns: Vec<Range<usize>>,
        /// Whether each column becomes a row.
        transposed: bool,
    },
    /// One below the other; those that are not there are left out.
    Stacked(Vec<Source>),
    /// Entries of their matrix [gene × program]: the members of each program.
    Members {
        /// Their name.
        name: String,
        /// Genes of each program.
        members: Vec<Vec<u32>>,
    },
    /// They have none: this value, so many times.
    Constant(f32, usize),
}

/// A tensor of a published model: its shape and its values, row-major.
pub type Theirs<'t, T> = (&'t [usize], &'t [T]);

/// How many values of each of their tensors were read.
pub type Used = BTreeMap<String, usize>;

impl Source {
    /// The names of their tensors.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Source::Same(name)
            | Source::Transposed(name)
            | Source::Columns { name, .. }
            | Source::Members { name, .. } => vec![name],
            Source::Stacked(parts) => parts.iter().flat_map(Source::names).collect(),
            Source::Constant(..) => Vec::new(),
        }
    }

    /// Our values from theirs, which `of` gives by name; what was read is counted in `used`. `None` when a tensor is
    /// missing or smaller than what is to be read from it.
    pub fn read<'t, T: Copy + From<f32> + 't>(
        &self,
        of: &dyn Fn(&str) -> Option<Theirs<'t, T>>,
        used: &mut Used,
    ) -> Option<Vec<T>> {
        let matrix = |name: &str| {
            let (shape, values) = of(name)?;
            let &[rows, columns] = shape else { return None };
            (rows * columns == values.len()).then_some((rows, columns, values))
        };
        let (name, out) = match self {
            Source::Same(name) => (name, of(name)?.1.to_vec()),
            Source::Transposed(name) => {
                let (rows, columns, values) = matrix(name)?;
                (name, (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect())
            }
            Source::Columns { name, columns, transposed } => {
                let (rows, width, values) = matrix(name)?;
                if columns.iter().any(|c| c.end > width || c.start > c.end) {
                    return None;
                }
                let chosen = || columns.iter().cloned().flatten();
                let out = if *transposed {
                    chosen().flat_map(|c| (0..rows).map(move |r| values[r * width + c])).collect()
                } else {
                    (0..rows).flat_map(|r| chosen().map(move |c| values[r * width + c])).collect()
                };
                (name, out)
            }
            Source::Stacked(parts) => {
                let found: Vec<Vec<T>> = parts.iter().filter_map(|p| p.read(of, used)).collect();
                return if found.is_empty() { None } else { Some(found.concat()) };
            }
            Source::Members { name, members } => {
                let (rows, programs, values) = matrix(name)?;
                if programs != members.len() || members.iter().flatten().any(|&g| g as usize >= rows) {
                    return None;
                }
                let of_program = |(j, genes): (usize, &Vec<u32>)| {
                    genes.iter().map(|&g| values[g as usize * programs + j]).collect::<Vec<T>>()
                };
                // What is outside the gene sets is zero, and read as such.
                used.insert(name.clone(), values.len());
                return Some(members.iter().enumerate().flat_map(of_program).collect());
            }
            Source::Constant(value, n) => return Some(vec![T::from(*value); *n]),
        };
        *used.entry(name.clone()).or_default() += out.len();
        Some(out)
    }
}

fn same(name: impl Into<String>) -> Option<Source> {
    Some(Source::Same(name.into()))
}

fn transposed(name: impl Into<String>) -> Option<Source> {
    Some(Source::Transposed(name.into()))
}

/// Their name of a batch norm's tensor.
fn norm(what: &str) -> &str {
    match what {
        "mean" => "running_mean",
        "variance" => "running_var",
        affine => affine,
    }
}

/// A tensor of a model.
fn param<'m>(model: &'m Model, name: &str) -> Option<&'m Param> {
    model.params.id(name).map(|id| model.params.get(id))
}
