//! What to read, and how to write.

use std::ops::Range;

use scgraft_cells::Slot;

/// Which of the named things in a slot to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// Every one.
    #[default]
    All,
    /// None.
    Nothing,
    /// Those named; one that is missing is an error.
    Only(Vec<String>),
}

impl Select {
    /// Those named.
    pub fn only<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Select {
        Select::Only(names.into_iter().map(Into::into).collect())
    }
}

/// Which slots of a file to read. The default is all of them.
///
/// # Example
/// ```
/// use scgraft_io::{ReadOptions, Select};
/// // Counts and two columns of obs, nothing else.
/// let options = ReadOptions {
///     x: true,
///     obs: Select::only(["study", "cell_type"]),
///     ..ReadOptions::nothing()
/// };
/// assert_eq!(options.layers, Select::Nothing);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The main matrix.
    pub x: bool,
    /// Columns of `obs`; the names of the cells are always read.
    pub obs: Select,
    /// Columns of `var`; the names of the genes are always read.
    pub var: Select,
    /// Other matrices of the same shape.
    pub layers: Select,
    /// Arrays per cell.
    pub obsm: Select,
    /// Arrays per gene.
    pub varm: Select,
    /// Cell × cell matrices.
    pub obsp: Select,
    /// Gene × gene matrices.
    pub varp: Select,
    /// Top-level entries of `uns`.
    pub uns: Select,
    /// The matrix before genes were dropped.
    pub raw: bool,
    /// Only these cells, by row. Of a matrix stored by row (CSR or dense), only they are read from the disk.
    pub rows: Option<Range<usize>>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions::of(true, &Select::All)
    }
}

impl ReadOptions {
    fn of(matrices: bool, slots: &Select) -> Self {
        ReadOptions {
            x: matrices,
            obs: slots.clone(),
            var: slots.clone(),
            layers: slots.clone(),
            obsm: slots.clone(),
            varm: slots.clone(),
            obsp: slots.clone(),
            varp: slots.clone(),
            uns: slots.clone(),
            raw: matrices,
            rows: None,
        }
    }

    /// The names of cells and genes only: what to start from to read a few slots of a large file.
    pub fn nothing() -> Self {
        ReadOptions::of(false, &Select::Nothing)
    }

    /// The names of cells and genes, and the expression in a slot.
    pub fn expression(slot: &Slot) -> Self {
        match slot {
            Slot::X => ReadOptions { x: true, ..ReadOptions::nothing() },
            Slot::Raw => ReadOptions { raw: true, ..ReadOptions::nothing() },
            Slot::Layer(_) => ReadOptions { layers: Select::All, ..ReadOptions::nothing() },
        }
    }

    /// Everything but what is of pairs of cells or genes.
    pub fn without_pairs() -> Self {
        ReadOptions { obsp: Select::Nothing, varp: Select::Nothing, ..ReadOptions::default() }
    }

    /// `obs` and `var` with all their columns, no matrix.
    pub fn tables() -> Self {
        ReadOptions { obs: Select::All, var: Select::All, ..ReadOptions::nothing() }
    }
}

/// How to write a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Level of gzip compression, 1 (quick) to 9 (small); `None` for none.
    pub compression: Option<u32>,
    /// Whether slots of the input that cannot be kept are left out with a warning; otherwise they are an error.
    pub drop_unreadable: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions { compression: Some(4), drop_unreadable: false }
    }
}
