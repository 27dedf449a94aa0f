//! Writing cells again that were read from a file: what did not change is copied as it stands there, types, packing and
//! all, and so is what this program does not understand.

use std::collections::BTreeMap;
use std::path::Path;

use scgraft_cells::{Array, Cells, Column, Csr, Dense, Frame, Matrix, Raw, Uns};

use super::frame::{Columns, frame_attrs, frame_names, read_frame, stored_names, write_column, write_frame};
use super::matrix::{read_matrix, write_csr, write_matrix};
use super::options::{Select, WriteOptions};
use super::read::{arrays, read_raw, squares, stamp};
use super::uns::{read_uns, write_uns};
use super::write::{BLOCK, OTHERS, write_array, write_raw};
use super::{child, encoding};
use crate::error::{Error, Result};
use crate::hdf5::{self, NewFile, Writer};
use crate::names::hdf5_names;
use crate::store::{Kind, Reader};

/// How the older file was taken over.
pub(crate) enum Kept {
    /// All of it that did not change.
    Whole,
    /// Not at all, and why: they are other cells than those of a file.
    Not(String),
    /// Not at all, and why, though the cells are those of the file.
    Refused(String),
}

/// Writes `cells` to `path`, the temporary name of `to`, over the file that they were read from.
pub(crate) fn write_kept(path: &Path, to: &Path, cells: &Cells, options: &WriteOptions) -> Result<Kept> {
    let Some(base) = &cells.origin.path else { return Ok(Kept::Not("cells that were not read from a file".into())) };
    if stamp(base).ok() != cells.origin.stamp {
        return Ok(Kept::Not("it is not there any more, or was changed since".into()));
    }
    let r = hdf5::open_again(&base.into())?;
    // First everything that is the same is kept; where a table is stored in a way that cannot be copied (references of
    // older versions), the tables are written anew and the rest is kept.
    let mut reason = String::new();
    for tables in [true, false] {
        let level = options.compression.filter(|&l| l > 0);
        let mut keep = Keep { w: NewFile::on(base, path, to, level, BLOCK), r: &r, cells };
        if !keep.all(tables)? {
            return Ok(Kept::Not(OTHERS.into()));
        }
        match keep.w.finish_update()? {
            None => return Ok(Kept::Whole),
            Some(why) => reason = why,
        }
    }
    Ok(Kept::Refused(reason))
}

struct Keep<'k, 'a, R: Reader> {
    w: NewFile<'a>,
    r: &'k R,
    cells: &'a Cells,
}

impl<'k, 'a, R: Reader> Keep<'k, 'a, R> {
    fn all(&mut self, keep_tables: bool) -> Result<bool> {
        let (r, cells) = (self.r, self.cells);
        let is_dataset = |at: &str| Ok::<bool, Error>(r.kind(at)? == Some(Kind::Dataset));
        let old = is_dataset("obs")? || is_dataset("var")?;
        let obs = read_frame(r, "obs", &Select::All, None)?;
        let var = read_frame(r, "var", &Select::All, None)?;
        if obs.index != cells.obs.index || var.index != cells.var.index {
            return Ok(false);
        }
        self.matrix("X", cells.x.as_ref())?;
        for (at, old_frame, frame) in [("obs", &obs, &cells.obs), ("var", &var, &cells.var)] {
            if old || !keep_tables || self.r.is_link(at) {
                self.replace(at)?;
                write_frame(&mut self.w, at, frame)?;
            } else {
                self.frame(at, old_frame, frame)?;
            }
        }
        self.slot("layers")?;
        for (name, layer) in &cells.layers {
            self.matrix(&child("layers", name)?, Some(layer))?;
        }
        self.gone("layers", |name| cells.layers.contains_key(name))?;
        for (slot, entries, n) in [("obsm", &cells.obsm, cells.n_cells()), ("varm", &cells.varm, cells.n_genes())] {
            self.arrays(slot, entries, n)?;
        }
        for (slot, entries, n) in [("obsp", &cells.obsp, cells.n_cells()), ("varp", &cells.varp, cells.n_genes())] {
            self.squares(slot, entries, n)?;
        }
        self.slot("uns")?;
        self.map("uns", &cells.uns, &mut 0)?;
        self.raw(keep_tables)?;
        Ok(true)
    }

    /// A folder of entries, where there is none yet.
    fn slot(&mut self, at: &str) -> Result<bool> {
        if self.r.kind(at)? == Some(Kind::Dataset) {
            // Before anndata 0.7: the entries are fields of one dataset.
            self.replace(at)?;
        } else if self.r.kind(at)?.is_some() {
            return Ok(true);
        }
        self.w.group(at, encoding("dict", "0.1.0"))?;
        Ok(false)
    }

    /// Leaves out the entries of a folder that the cells do not have any more.
    fn gone(&mut self, at: &str, there: impl Fn(&str) -> bool) -> Result<()> {
        if self.r.kind(at)? != Some(Kind::Group) {
            return Ok(());
        }
        for name in self.r.children(at)? {
            let entry = format!("{at}/{name}");
            if !there(&name) && !self.not_understood(&entry) {
                self.replace(&entry)?;
            }
        }
        Ok(())
    }

    /// Whether a slot, or something in it, could not be read.
    fn not_understood(&self, at: &str) -> bool {
        let inside = |slot: &String| slot.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.cells.origin.left_out.iter().any(inside)
    }

    fn replace(&mut self, at: &str) -> Result<()> {
        // What a link leads to stays where it is.
        if self.r.kind(at)?.is_some() {
            self.w.remove(at);
        }
        Ok(())
    }

    fn matrix(&mut self, at: &str, matrix: Option<&'a Matrix>) -> Result<()> {
        let there = self.r.kind(at)?.is_some() && !self.not_understood(at);
        match matrix {
            None if there && self.r.attrs(at)?.text("encoding-type") != Some("null") => self.replace(at)?,
            None => {}
            Some(matrix) => {
                if there && read_matrix(self.r, at, None).is_ok_and(|old| same_matrix(&old, matrix)) {
                    return Ok(());
                }
                self.replace(at)?;
                write_matrix(&mut self.w, at, matrix)?;
            }
        }
        Ok(())
    }

    fn arrays(&mut self, at: &str, entries: &'a BTreeMap<String, Array>, n: usize) -> Result<()> {
        let is_folder = self.slot(at)?;
        for (name, array) in entries {
            let entry = child(at, name)?;
            if is_folder && self.r.kind(&entry)?.is_some() {
                let old = arrays(self.r, at, &Select::only([name]), n, None);
                if old.is_ok_and(|old| old.get(name).is_some_and(|old| same_array(old, array))) {
                    continue;
                }
                self.replace(&entry)?;
            }
            write_array(&mut self.w, &entry, array)?;
        }
        self.gone(at, |name| entries.contains_key(name))
    }

    fn squares(&mut self, at: &str, entries: &'a BTreeMap<String, Csr>, n: usize) -> Result<()> {
        let is_folder = self.slot(at)?;
        for (name, matrix) in entries {
            let entry = child(at, name)?;
            if is_folder && self.r.kind(&entry)?.is_some() {
                let old = squares(self.r, at, &Select::only([name]), n, None);
                if old.is_ok_and(|old| old.get(name).is_some_and(|old| same_csr(old, matrix))) {
                    continue;
                }
                self.replace(&entry)?;
            }
            write_csr(&mut self.w, &entry, matrix)?;
        }
        self.gone(at, |name| entries.contains_key(name))
    }

    /// A table: the columns that changed are written, the others stay.
    fn frame(&mut self, at: &str, old: &Frame, frame: &'a Frame) -> Result<()> {
        let Columns { index, stored, names } = frame_names(self.r, at)?;
        let (_, plain) = stored_names(frame);
        let mut order: Vec<(String, String)> = Vec::new();
        for (stored, name) in stored.iter().zip(&names) {
            let entry = format!("{at}/{stored}");
            if frame.column(name).is_some() || self.not_understood(&entry) {
                order.push((stored.clone(), name.clone()));
            } else {
                self.replace(&entry)?;
            }
        }
        let mut changed = order.len() != stored.len();
        for ((name, column), plain) in frame.columns.iter().zip(plain) {
            let known = order.iter().find(|(_, n)| n == name).map(|(stored, _)| stored.clone());
            if known.is_some() && old.column(name).is_some_and(|old| same_column(old, column)) {
                continue;
            }
            let stored = match &known {
                Some(stored) => stored.clone(),
                None => {
                    // A new name gives way to those that are there.
                    let mut all: Vec<&str> = order.iter().map(|(stored, _)| stored.as_str()).collect();
                    match plain == index || all.contains(&plain.as_str()) {
                        true => {
                            all.extend([index.as_str(), plain.as_str()]);
                            hdf5_names(&all).pop().unwrap_or(plain)
                        }
                        false => plain,
                    }
                }
            };
            let entry = format!("{at}/{stored}");
            self.replace(&entry)?;
            // Codes of older versions have their categories elsewhere.
            self.replace(&format!("{at}/__categories/{stored}"))?;
            write_column(&mut self.w, &entry, column)?;
            if known.is_none() {
                order.push((stored, name.clone()));
                changed = true;
            }
        }
        if changed {
            let (stored, names): (Vec<String>, Vec<String>) = order.into_iter().unzip();
            let attrs = frame_attrs(at, &names, &index, &stored);
            self.w.group(at, attrs)?;
        }
        Ok(())
    }

    /// A dictionary: entries that changed are written, the others stay.
    fn map(&mut self, at: &str, map: &'a BTreeMap<String, Uns>, count: &mut usize) -> Result<()> {
        for (name, value) in map {
            let entry = child(at, name)?;
            let kind = self.r.kind(&entry)?;
            if let (Some(Kind::Group), Uns::Map(inner)) = (kind, value)
                && !self.r.is_link(&entry)
                && matches!(self.r.attrs(&entry)?.text("encoding-type"), None | Some("" | "dict"))
            {
                self.map(&entry, inner, count)?;
                continue;
            }
            if kind.is_some() {
                let old = read_uns(self.r, &entry, count);
                if old.is_ok_and(|old| old.is_some_and(|old| same_uns(&old, value))) {
                    continue;
                }
                self.replace(&entry)?;
            }
            write_uns(&mut self.w, &entry, value)?;
        }
        self.gone(at, |name| map.contains_key(name))
    }

    fn raw(&mut self, keep_tables: bool) -> Result<()> {
        let old = read_raw(self.r, "", self.cells.n_cells(), None)?;
        match (&old, &self.cells.raw) {
            (Some(old), Some(raw)) if keep_tables && same_raw(old, raw) => return Ok(()),
            (None, None) => return Ok(()),
            _ => {}
        }
        for at in ["raw", "raw.X", "raw.var", "raw.varm"] {
            self.replace(at)?;
        }
        if let Some(raw) = &self.cells.raw {
            write_raw(&mut self.w, raw)?;
        }
        Ok(())
    }
}

fn same_bits32(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn same_csr(a: &Csr, b: &Csr) -> bool {
    (a.n_rows, a.n_cols) == (b.n_rows, b.n_cols)
        && a.indptr == b.indptr
        && a.indices == b.indices
        && same_bits32(&a.values, &b.values)
}

fn same_dense(a: &Dense, b: &Dense) -> bool {
    (a.n_rows, a.n_cols) == (b.n_rows, b.n_cols) && same_bits32(&a.values, &b.values)
}

fn same_matrix(a: &Matrix, b: &Matrix) -> bool {
    match (a, b) {
        (Matrix::Sparse(a), Matrix::Sparse(b)) => same_csr(a, b),
        (Matrix::Dense(a), Matrix::Dense(b)) => same_dense(a, b),
        _ => false,
    }
}

fn same_column(a: &Column, b: &Column) -> bool {
    match (a, b) {
        (Column::Real(a), Column::Real(b)) => same_bits(a, b),
        (a, b) => a == b,
    }
}

fn same_columns(a: &[(String, Column)], b: &[(String, Column)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same_column(&a.1, &b.1))
}

fn same_frame(a: &Frame, b: &Frame) -> bool {
    a.index == b.index && a.index_name == b.index_name && same_columns(&a.columns, &b.columns)
}

fn same_array(a: &Array, b: &Array) -> bool {
    match (a, b) {
        (Array::Dense(a), Array::Dense(b)) => same_dense(a, b),
        (Array::Sparse(a), Array::Sparse(b)) => same_csr(a, b),
        (Array::Frame(a), Array::Frame(b)) => same_frame(a, b),
        _ => false,
    }
}

fn same_raw(a: &Raw, b: &Raw) -> bool {
    let arrays =
        a.varm.len() == b.varm.len() && a.varm.iter().zip(&b.varm).all(|((n, a), (m, b))| n == m && same_array(a, b));
    same_matrix(&a.x, &b.x) && same_frame(&a.var, &b.var) && arrays
}

fn same_uns(a: &Uns, b: &Uns) -> bool {
    match (a, b) {
        (Uns::Float(a), Uns::Float(b)) => a.to_bits() == b.to_bits(),
        (Uns::Floats(n, a), Uns::Floats(m, b)) => n == m && same_bits(a, b),
        (Uns::Frame(a), Uns::Frame(b)) => same_frame(a, b),
        (Uns::Sparse(a), Uns::Sparse(b)) => same_csr(a, b),
        (Uns::Column(a), Uns::Column(b)) => same_column(a, b),
        (Uns::Records(a), Uns::Records(b)) => same_columns(a, b),
        (a, b) => a == b,
    }
}
