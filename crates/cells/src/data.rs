//! [`Cells`]: an annotated expression matrix, slot for slot what AnnData holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::{Column, Csr, Dense, Frame, Matrix};

/// An annotated expression matrix: cells × genes with tables about both.
///
/// The slots are AnnData's, so that a file read, worked on and written again keeps what it had.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// The main matrix, cells × genes. Raw counts, unless the user says otherwise.
    pub x: Option<Matrix>,
    /// One row a cell.
    pub obs: Frame,
    /// One row a gene.
    pub var: Frame,
    /// Other matrices of the same shape, by name.
    pub layers: BTreeMap<String, Matrix>,
    /// Per-cell arrays (embeddings, protein counts), by name.
    pub obsm: BTreeMap<String, Array>,
    /// Per-gene arrays (loadings, program weights), by name.
    pub varm: BTreeMap<String, Array>,
    /// Cell × cell matrices, by name.
    pub obsp: BTreeMap<String, Csr>,
    /// Gene × gene matrices, by name.
    pub varp: BTreeMap<String, Csr>,
    /// Everything else.
    pub uns: BTreeMap<String, Uns>,
    /// The matrix before genes were dropped, with its own `var`.
    pub raw: Option<Raw>,
    /// The file that all of this was read from, for what is not held here.
    pub origin: Origin,
}

/// Where cells came from, when a whole file was read: a writer takes from there what did not change since, as it stands,
/// and what this program does not understand.
///
/// It is no part of the data: two of them are always equal.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The file; `None` when cells were made, selected, or read in part.
    pub path: Option<PathBuf>,
    /// Its length in bytes and when it was last written, to tell whether it is still the same.
    pub stamp: Option<(u64, SystemTime)>,
    /// Slots that could not be read.
    pub left_out: Vec<String>,
    /// Slots that no writer can keep: links that lead nowhere or into other files.
    pub lost: Vec<String>,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Origin) -> bool {
        true
    }
}

/// `raw` of an AnnData file: a matrix with more genes than the main one.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    /// Cells × all genes.
    pub x: Matrix,
    /// One row a gene.
    pub var: Frame,
    /// Per-gene arrays.
    pub varm: BTreeMap<String, Array>,
}

/// A per-row array: a plain matrix, a sparse one, or a table with named columns.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// A plain matrix.
    Dense(Dense),
    /// A sparse matrix.
    Sparse(Csr),
    /// A table (pandas DataFrame): columns have names.
    Frame(Frame),
}

/// A value in `uns`.
#[derive(Clone, Debug, PartialEq)]
pub enum Uns {
    /// Python's `None`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// An array of whole numbers: shape and values in row order.
    Ints(Vec<usize>, Vec<i64>),
    /// An array of real numbers: shape and values in row order.
    Floats(Vec<usize>, Vec<f64>),
    /// An array of truth values.
    Bools(Vec<usize>, Vec<bool>),
    /// A table.
    Frame(Frame),
    /// A sparse matrix.
    Sparse(Csr),
    /// One column by itself: categories, or numbers of which some are missing.
    Column(Column),
    /// Records with named fields, all of one length (scanpy keeps ranked genes so: a field a group).
    Records(Vec<(String, Column)>),
    /// A dictionary.
    Map(BTreeMap<String, Uns>),
}

impl Cells {
    /// Cells with a matrix and two tables, nothing else.
    pub fn new(x: Matrix, obs: Frame, var: Frame) -> Self {
        Cells { x: Some(x), ..Cells::empty(obs, var) }
    }

    /// Cells without a matrix.
    pub fn empty(obs: Frame, var: Frame) -> Self {
        Cells {
            x: None,
            obs,
            var,
            layers: BTreeMap::new(),
            obsm: BTreeMap::new(),
            varm: BTreeMap::new(),
            obsp: BTreeMap::new(),
            varp: BTreeMap::new(),
            uns: BTreeMap::new(),
            raw: None,
            origin: Origin::default(),
        }
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.obs.len()
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        self.var.len()
    }

    /// The cells named, in the order named, with everything said about them.
    pub fn select_cells(&self, rows: &[usize]) -> Cells {
        let arrays = |m: &BTreeMap<String, Array>| m.iter().map(|(k, a)| (k.clone(), a.select_rows(rows))).collect();
        let square: Vec<Option<usize>> = rows.iter().map(|&r| Some(r)).collect();
        Cells {
            x: self.x.as_ref().map(|x| x.select_rows(rows)),
            obs: self.obs.select(rows),
            var: self.var.clone(),
            layers: self.layers.iter().map(|(k, m)| (k.clone(), m.select_rows(rows))).collect(),
            obsm: arrays(&self.obsm),
            varm: self.varm.clone(),
            obsp: self.obsp.iter().map(|(k, m)| (k.clone(), m.select_rows(rows).select_columns(&square))).collect(),
            varp: self.varp.clone(),
            uns: self.uns.clone(),
            raw: self.raw.as_ref().map(|r| Raw { x: r.x.select_rows(rows), var: r.var.clone(), varm: r.varm.clone() }),
            origin: Origin::default(),
        }
    }
}

impl Array {
    /// The rows named, in the order named.
    pub fn select_rows(&self, rows: &[usize]) -> Array {
        match self {
            Array::Dense(m) => Array::Dense(m.select_rows(rows)),
            Array::Sparse(m) => Array::Sparse(m.select_rows(rows)),
            Array::Frame(f) => Array::Frame(f.select(rows)),
        }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        match self {
            Array::Dense(m) => m.n_rows,
            Array::Sparse(m) => m.n_rows,
            Array::Frame(f) => f.len(),
        }
    }
}
