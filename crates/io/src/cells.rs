//! One door for every format.

use std::path::Path;

use scgraft_cells::Cells;

use crate::error::{Error, Result};
use crate::h5ad::{ReadOptions, Select, read_file};
use crate::h5mu::read_h5mu;
use crate::hdf5;
use crate::input::Input;
use crate::loom::read_loom;
use crate::sniff;
use crate::store::{self, Kind};
use crate::tenx;
use crate::zarr;

/// Reads cells from a file or folder of any known format, told from what it holds, not from its name:
///
/// - `.h5ad` and `.zarr`, as [`read_h5ad`](crate::read_h5ad) does;
/// - `.h5mu` (MuData): the expression modality, with the counts of the protein modality as a table in
///   `obsm["protein_expression"]`;
/// - 10x Genomics `.h5`, of Cell Ranger 2 or later; genes by symbol (repeated ones numbered as scanpy does)
///   with `gene_ids` in `var`, antibody counts in `obsm["protein_expression"]`;
/// - a folder with `matrix.mtx`, `barcodes.tsv` and `features.tsv` or `genes.tsv`, packed or not, or the
///   path of such a matrix itself;
/// - `.loom`.
///
/// `from` is a path or any other [`Input`]; a folder is only read where it is one. Of formats other than h5ad the whole file is read before `options` are applied.
///
/// # Errors
/// As [`read_h5ad`](crate::read_h5ad); also when the format is none of these.
///
/// # Example
/// ```no_run
/// use scgraft_io::{ReadOptions, read_cells};
/// let cells = read_cells("filtered_feature_bc_matrix", &ReadOptions::default())?;
/// # Ok::<(), scgraft_io::Error>(())
/// ```
pub fn read_cells(from: impl Into<Input>, options: &ReadOptions) -> Result<Cells> {
    let input = from.into();
    let path = input.name();
    if !input.file().is_some_and(zarr::is_store) {
        if input.file().is_some_and(Path::is_dir) {
            return narrow(path, tenx::read_folder(path)?, options);
        }
        if input.head(64)?.starts_with(b"%%MatrixMarket") || tenx::is_matrix(&input.file_name()) {
            if input.file().is_none() {
                return Err(unknown(path, "a matrix without the lists of barcodes and features beside it".to_owned()));
            }
            return narrow(path, tenx::read_folder(path)?, options);
        }
        if !hdf5::is_hdf5(&input)? {
            return Err(unknown(path, sniff::describe(&input)?));
        }
    }
    let r = &*store::open(&input)?;
    if r.kind("obs")?.is_some() && r.kind("var")?.is_some() && r.kind("mod")?.is_none() {
        return read_file(r, options);
    }
    if r.kind("mod")? == Some(Kind::Group) {
        let cells = read_h5mu(r, options)?;
        r.left_out().tell(path);
        return Ok(cells);
    }
    if r.kind("matrix")? == Some(Kind::Dataset) && r.kind("row_attrs")?.is_some() {
        return narrow(path, read_loom(r)?, options);
    }
    match tenx::find_h5(r)? {
        Some(group) => narrow(path, tenx::read_h5(r, &group)?, options),
        None => Err(unknown(path, format!("a file with {:?}", r.children("")?))),
    }
}

fn unknown(path: &Path, found: String) -> Error {
    Error::Format {
        path: path.to_owned(),
        expected: "cells (.h5ad, .zarr, .h5mu, 10x .h5, .loom, or a folder with matrix.mtx)",
        found,
    }
}

/// Leaves what `options` ask for.
fn narrow(path: &Path, mut cells: Cells, options: &ReadOptions) -> Result<Cells> {
    fn keep<T>(path: &Path, slot: &str, select: &Select, entries: &mut Vec<(String, T)>) -> Result<()> {
        let Select::Only(wanted) = select else {
            if *select == Select::Nothing {
                entries.clear();
            }
            return Ok(());
        };
        let names: Vec<String> = entries.iter().map(|(name, _)| name.clone()).collect();
        if let Some(missing) = wanted.iter().find(|w| !names.contains(w)) {
            return Err(Error::missing(path, format!("entry of `{slot}`"), missing, &names));
        }
        entries.retain(|(name, _)| wanted.contains(name));
        Ok(())
    }
    fn keep_map<T>(
        path: &Path,
        slot: &str,
        select: &Select,
        map: &mut std::collections::BTreeMap<String, T>,
    ) -> Result<()> {
        let mut entries = std::mem::take(map).into_iter().collect();
        keep(path, slot, select, &mut entries)?;
        *map = entries.into_iter().collect();
        Ok(())
    }
    if let Some(rows) = &options.rows {
        let n = cells.n_cells();
        if rows.start > rows.end || rows.end > n {
            let found = format!("rows {} to {}", rows.start, rows.end);
            return Err(Error::content(path, "obs", format!("a range within {n} rows"), found));
        }
        cells = cells.select_cells(&rows.clone().collect::<Vec<_>>());
    }
    if !options.x {
        cells.x = None;
    }
    keep(path, "obs", &options.obs, &mut cells.obs.columns)?;
    keep(path, "var", &options.var, &mut cells.var.columns)?;
    keep_map(path, "layers", &options.layers, &mut cells.layers)?;
    keep_map(path, "obsm", &options.obsm, &mut cells.obsm)?;
    keep_map(path, "varm", &options.varm, &mut cells.varm)?;
    Ok(cells)
}
