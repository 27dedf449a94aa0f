//! Writing an h5ad file in the encoding of anndata 0.8 and later.

use std::collections::BTreeMap;
use std::path::Path;

use scgraft_cells::{Array, Cells, Raw, counted};

use super::frame::write_frame;
use super::keep::{Kept, write_kept};
use super::matrix::{write_csr, write_dense, write_matrix};
use super::options::WriteOptions;
use super::uns::write_uns;
use super::{child, encoding};
use crate::atomic::AtomicFile;
use crate::error::{Error, Result};
use crate::hdf5::{self, NewFile, Writer};
use crate::store::Reader;

/// Numbers that are written at once.
pub(crate) const BLOCK: usize = 1 << 20;

/// Writes an `.h5ad` file that anndata 0.8 and later reads, whole or not at all.
///
/// Cells that [`read_h5ad`](crate::read_h5ad) read as a whole are written over a copy of their file: what did not change
/// stays as it stands there, with its types and packing, and so does what this program does not read. What cannot be kept
/// so is an error, unless [`WriteOptions::drop_unreadable`] asks for less.
///
/// Every other slot is written as it is in memory; sparse matrices as CSR, numbers of matrices as
/// `float32`; a column of texts of which some are missing becomes categorical, since anndata before 0.12 has
/// no other way to write a missing text. The file appears under its name only when it is complete ([`AtomicFile`]); large
/// matrices are written in blocks, so little memory is needed beyond that of `cells`.
///
/// # Errors
/// When the slots of `cells` do not fit together, a name holds a `/`, or the disk refuses; nothing is
/// left under the final name then.
///
/// # Example
/// ```no_run
/// use scgraft_io::{ReadOptions, WriteOptions, read_h5ad, write_h5ad};
/// let cells = read_h5ad("pbmc.h5ad", &ReadOptions::default())?;
/// write_h5ad("copy.h5ad", &cells, &WriteOptions::default())?;
/// # Ok::<(), scgraft_io::Error>(())
/// ```
pub fn write_h5ad(path: impl AsRef<Path>, cells: &Cells, options: &WriteOptions) -> Result<()> {
    let path = path.as_ref();
    check(path, cells)?;
    let file = AtomicFile::create(path)?;
    let temporary = file.temporary_path();
    if cells.origin.path.is_some() {
        match write_kept(temporary, path, cells, options).map_err(|e| file.name(e))? {
            Kept::Whole => {
                let r = hdf5::open_again(&temporary.into()).map_err(|e| file.name(e))?;
                let gone = |slot: &&String| !matches!(r.kind(slot), Ok(Some(_)));
                let lost: Vec<&str> = cells.origin.left_out.iter().filter(gone).map(String::as_str).collect();
                unkept(path, cells, &lost, LEAD_AWAY, options)?;
                drop(r);
                return file.commit();
            }
            Kept::Refused(reason) => {
                unkept(path, cells, &with_types(cells), &cannot_copy(&reason), options)?;
            }
            Kept::Not(reason) => {
                unkept_all(path, cells, &cannot_copy(&reason), options)?;
                tracing::warn!(
                    "{}: all slots are written anew, matrices as float32 and numbers of tables as float64 and int64: {reason}",
                    path.display()
                );
            }
        }
    } else {
        unkept_all(path, cells, FROM_BYTES, options)?;
    }
    let mut writer = NewFile::at(temporary, options.compression.filter(|&l| l > 0), BLOCK);
    write_anndata(&mut writer, cells).and_then(|()| writer.finish()).map_err(|e| file.name(e))?;
    file.commit()
}

/// The bytes of an `.h5ad` file, made in memory. All slots are written as they are in `cells`, none copied from where they
/// were read; otherwise as [`write_h5ad`]. `name` is for messages.
///
/// # Errors
/// As [`write_h5ad`]; also when the cells come from a file with slots that could not be read, unless
/// [`WriteOptions::drop_unreadable`] asks for less.
pub fn h5ad_bytes(name: impl AsRef<Path>, cells: &Cells, options: &WriteOptions) -> Result<Vec<u8>> {
    let name = name.as_ref();
    check(name, cells)?;
    unkept_all(name, cells, "a file that is made in memory copies none", options)?;
    let mut writer = NewFile::at(name, options.compression.filter(|&l| l > 0), BLOCK);
    write_anndata(&mut writer, cells)?;
    writer.into_bytes()
}

/// Why slots of what was read from bytes cannot be copied.
const FROM_BYTES: &str = "they were not read from a file that can be copied";

pub(crate) const OTHERS: &str = "its cells or genes are not those to write";
const LEAD_AWAY: &str = "they are links that lead nowhere or into other files";

fn cannot_copy(reason: &str) -> String {
    format!("the file they stand in cannot be copied: {reason}")
}

/// What is lost of a file that cannot be copied.
fn with_types(cells: &Cells) -> Vec<&str> {
    let unread = cells.origin.left_out.iter().map(String::as_str);
    unread.chain(["types and packing of all others"]).collect()
}

/// Whether [`write_h5ad`] would refuse cells that were read from a file because it cannot keep all of it, told before any
/// work is done on them. Where their cells or genes will be others than those of the file (`same` is false), nothing can be
/// copied, and every slot that could not be read is lost. Costs a walk through the file's structures, not through its
/// values. Of a file whose soft links or new layouts have to be put into other words, the structures are copied into the
/// folder of temporary files for it, up to 1 GiB of them; of more only links are looked at, and what else cannot be copied, the
/// writing tells.
///
/// # Errors
/// [`Error::Unkept`], with the file that was read as the one to be written.
pub fn can_keep(cells: &Cells, same: bool) -> Result<()> {
    let Some(base) = &cells.origin.path else { return Ok(()) };
    let options = WriteOptions::default();
    if !same {
        return unkept_all(base, cells, &cannot_copy(OTHERS), &options);
    }
    let lost: Vec<&str> = cells.origin.lost.iter().map(String::as_str).collect();
    unkept(base, cells, &lost, LEAD_AWAY, &options)?;
    // As `write_kept`: with the tables, or else without.
    let mut reason = None;
    for without in [&[][..], &["obs", "var", "raw", "raw.X", "raw.var", "raw.varm"]] {
        match hdf5::refuses_copy(base, without)? {
            None => return Ok(()),
            why => reason = reason.or(why),
        }
    }
    unkept(base, cells, &with_types(cells), &cannot_copy(&reason.unwrap_or_default()), &options)
}

/// As [`unkept`], of every slot that could not be read.
fn unkept_all(path: &Path, cells: &Cells, reason: &str, options: &WriteOptions) -> Result<()> {
    let lost: Vec<&str> = cells.origin.left_out.iter().map(String::as_str).collect();
    unkept(path, cells, &lost, reason, options)
}

/// Refuses to lose slots, or says which are lost where that was asked for.
fn unkept(path: &Path, cells: &Cells, lost: &[&str], reason: &str, options: &WriteOptions) -> Result<()> {
    const SHOWN: usize = 8;
    if lost.is_empty() {
        return Ok(());
    }
    let n = lost.len();
    let mut slots = lost.iter().take(SHOWN).map(|slot| format!("`{slot}`")).collect::<Vec<_>>().join(", ");
    if n > SHOWN {
        slots.push_str(&format!(" and {} more", n - SHOWN));
    }
    if options.drop_unreadable {
        let dropped = counted(n, "slot of the input is", "slots of the input are");
        tracing::warn!("{}: {dropped} dropped: {slots}; {reason}", path.display());
        return Ok(());
    }
    let input = cells.origin.path.clone().unwrap_or_else(|| "the input".into());
    Err(Error::Unkept { path: path.to_owned(), input, n, slots, reason: reason.to_owned() })
}

fn write_anndata<'a>(w: &mut impl Writer<'a>, cells: &'a Cells) -> Result<()> {
    w.group("", encoding("anndata", "0.1.0"))?;
    if let Some(x) = &cells.x {
        write_matrix(w, "X", x)?;
    }
    write_frame(w, "obs", &cells.obs)?;
    write_frame(w, "var", &cells.var)?;
    w.group("layers", encoding("dict", "0.1.0"))?;
    for (name, layer) in &cells.layers {
        write_matrix(w, &child("layers", name)?, layer)?;
    }
    write_arrays(w, "obsm", &cells.obsm)?;
    write_arrays(w, "varm", &cells.varm)?;
    for (slot, squares) in [("obsp", &cells.obsp), ("varp", &cells.varp)] {
        w.group(slot, encoding("dict", "0.1.0"))?;
        for (name, m) in squares {
            write_csr(w, &child(slot, name)?, m)?;
        }
    }
    w.group("uns", encoding("dict", "0.1.0"))?;
    for (name, value) in &cells.uns {
        write_uns(w, &child("uns", name)?, value)?;
    }
    cells.raw.as_ref().map_or(Ok(()), |raw| write_raw(w, raw))
}

pub(crate) fn write_raw<'a>(w: &mut impl Writer<'a>, raw: &'a Raw) -> Result<()> {
    w.group("raw", encoding("raw", "0.1.0"))?;
    write_matrix(w, "raw/X", &raw.x)?;
    write_frame(w, "raw/var", &raw.var)?;
    write_arrays(w, "raw/varm", &raw.varm)
}

fn write_arrays<'a>(w: &mut impl Writer<'a>, at: &str, arrays: &'a BTreeMap<String, Array>) -> Result<()> {
    w.group(at, encoding("dict", "0.1.0"))?;
    arrays.iter().try_for_each(|(name, array)| write_array(w, &child(at, name)?, array))
}

pub(crate) fn write_array<'a>(w: &mut impl Writer<'a>, at: &str, array: &'a Array) -> Result<()> {
    match array {
        Array::Dense(m) => write_dense(w, at, m),
        Array::Sparse(m) => write_csr(w, at, m),
        Array::Frame(f) => write_frame(w, at, f),
    }
}

/// Every slot has to have the rows and columns that `obs` and `var` say.
fn check(path: &Path, cells: &Cells) -> Result<()> {
    let (n, g) = (cells.n_cells(), cells.n_genes());
    let want = |slot: String, expected: (usize, usize), found: (usize, usize)| {
        if expected == found {
            return Ok(());
        }
        Err(Error::content(
            path,
            slot,
            format!("{} × {}", expected.0, expected.1),
            format!("{} × {}", found.0, found.1),
        ))
    };
    if let Some(x) = &cells.x {
        want("X".to_owned(), (n, g), x.shape())?;
    }
    for (name, layer) in &cells.layers {
        want(format!("layers/{name}"), (n, g), layer.shape())?;
    }
    for (slot, arrays, rows) in [("obsm", &cells.obsm, n), ("varm", &cells.varm, g)] {
        for (name, array) in arrays {
            want(format!("{slot}/{name}"), (rows, 0), (array.n_rows(), 0))?;
        }
    }
    for (slot, squares, rows) in [("obsp", &cells.obsp, n), ("varp", &cells.varp, g)] {
        for (name, m) in squares {
            want(format!("{slot}/{name}"), (rows, rows), (m.n_rows, m.n_cols))?;
        }
    }
    if let Some(raw) = &cells.raw {
        want("raw/X".to_owned(), (n, raw.var.len()), raw.x.shape())?;
        for (name, array) in &raw.varm {
            want(format!("raw/varm/{name}"), (raw.var.len(), 0), (array.n_rows(), 0))?;
        }
    }
    Ok(())
}
