//! What 10x Genomics' Cell Ranger writes: an HDF5 file, or a folder with a Matrix Market file.

use std::path::{Path, PathBuf};

use scgraft_cells::{Array, Cells, Column, Csr, Frame, Matrix};

use crate::error::{Error, Result};
use crate::gzip::lines;
use crate::hdf5::{Kind, Reader, Values};
use crate::mtx::read_mtx;
use crate::names::make_unique;

const EXPRESSION: &str = "Gene Expression";
const PROTEIN: &str = "Antibody Capture";

/// Fields of a line that mean something: identifier, name, kind.
const FIELDS: usize = 3;

/// What is measured, one entry a feature.
struct Features {
    ids: Vec<String>,
    names: Vec<String>,
    /// Kinds of features; empty in files that hold genes only.
    kinds: Vec<String>,
    genomes: Vec<String>,
}

/// Reads the matrix of a Cell Ranger HDF5 file: `matrix` since version 3, a group by the name of the
/// genome before.
pub(crate) fn read_h5(r: &dyn Reader, group: &str) -> Result<Cells> {
    let at = |name: &str| format!("{group}/{name}");
    let shape = r.usizes(&at("shape"), None)?;
    let barcodes = texts(r, &at("barcodes"))?;
    let new = r.kind(&at("features"))?.is_some();
    let features = if new {
        let optional = |name: &str| -> Result<Vec<String>> {
            if r.kind(&at(name))?.is_some() { texts(r, &at(name)) } else { Ok(Vec::new()) }
        };
        Features {
            ids: texts(r, &at("features/id"))?,
            names: texts(r, &at("features/name"))?,
            kinds: optional("features/feature_type")?,
            genomes: optional("features/genome")?,
        }
    } else {
        let (ids, names) = (texts(r, &at("genes"))?, texts(r, &at("gene_names"))?);
        let genomes = vec![group.to_owned(); ids.len()];
        Features { ids, names, kinds: Vec::new(), genomes }
    };
    if shape != [features.names.len(), barcodes.len()] {
        let found = format!("{shape:?}");
        let expected = format!("{} features × {} barcodes", features.names.len(), barcodes.len());
        return Err(Error::content(r.path(), at("shape"), expected, found));
    }
    // Stored by barcode, which is by row for us.
    let counts = crate::h5ad::read_compressed(r, group, barcodes.len(), features.names.len(), None)?;
    assemble(r.path(), barcodes, features, counts)
}

fn texts(r: &dyn Reader, at: &str) -> Result<Vec<String>> {
    match r.values(at, None)? {
        Values::Text(texts) => Ok(texts),
        other => Err(Error::content(r.path(), at, "text", other.describe())),
    }
}

/// The group of a Cell Ranger file, when it is one.
pub(crate) fn find_h5(r: &dyn Reader) -> Result<Option<String>> {
    let mut found = Vec::new();
    for name in r.children("")? {
        if r.kind(&name)? == Some(Kind::Group) && r.kind(&format!("{name}/barcodes"))?.is_some() {
            found.push(name);
        }
    }
    if found.len() > 1 {
        let what = format!("{}: {}", found.len(), found.join(", "));
        return Err(Error::content(r.path(), "/", "counts of one genome; split the file", what));
    }
    Ok(found.pop())
}

/// Reads a folder with `matrix.mtx`, `barcodes.tsv` and `features.tsv` (or `genes.tsv`), packed or not, or
/// the same files with a common prefix, when `path` names the matrix itself.
pub(crate) fn read_folder(path: &Path) -> Result<Cells> {
    let (folder, prefix, matrix) = if path.is_dir() {
        let matrix = beside(path, "", &["matrix.mtx"])?;
        (path.to_owned(), String::new(), matrix)
    } else {
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let prefix = name.find("matrix.mtx").map_or(String::new(), |at| name[..at].to_owned());
        (path.parent().unwrap_or(Path::new("")).to_owned(), prefix, path.to_owned())
    };
    let barcodes_at = beside(&folder, &prefix, &["barcodes.tsv"])?;
    let features_at = beside(&folder, &prefix, &["features.tsv", "genes.tsv"])?;
    let barcodes = columns(&barcodes_at)?.into_iter().map(|mut row| row.swap_remove(0)).collect::<Vec<_>>();
    let rows = columns(&features_at)?;
    let field = |j: usize| rows.iter().map(|row| row.get(j).cloned()).collect::<Option<Vec<String>>>();
    let ids = field(0).unwrap_or_default();
    let features = Features {
        names: field(1).unwrap_or_else(|| ids.clone()),
        kinds: field(2).unwrap_or_default(),
        genomes: Vec::new(),
        ids,
    };
    // 10x writes features × barcodes; other programs also the other way round.
    let (n, g) = (barcodes.len(), features.names.len());
    let counts = read_mtx(&matrix, |rows, columns| {
        if (rows, columns) == (g, n) || (rows, columns) == (n, g) {
            return Ok(());
        }
        let expected = format!("{g} features × {n} barcodes, as the files beside it say");
        Err(Error::content(&matrix, "size", expected, format!("{rows} × {columns}")))
    })?;
    let counts = if (counts.n_rows, counts.n_cols) == (g, n) { counts.transpose() } else { counts };
    assemble(&matrix, barcodes, features, counts)
}

/// The file of one of these names in a folder, packed or not.
fn beside(folder: &Path, prefix: &str, names: &[&str]) -> Result<PathBuf> {
    let tried: Vec<PathBuf> = names
        .iter()
        .flat_map(|name| [folder.join(format!("{prefix}{name}")), folder.join(format!("{prefix}{name}.gz"))])
        .collect();
    if let Some(found) = tried.iter().find(|p| p.is_file()) {
        return Ok(found.clone());
    }
    let mut there: Vec<String> = std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
        .map_err(Error::io(folder, "read"))?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    there.sort_unstable();
    Err(Error::missing(folder, "file", &format!("{prefix}{}[.gz]", names[0]), &there))
}

fn columns(path: &Path) -> Result<Vec<Vec<String>>> {
    let mut out = Vec::new();
    lines(path, |_, line| {
        if !line.is_empty() {
            out.push(line.splitn(FIELDS + 1, '\t').take(FIELDS).map(str::to_owned).collect());
        }
        Ok(true)
    })?;
    Ok(out)
}

fn assemble(path: &Path, barcodes: Vec<String>, features: Features, counts: Csr) -> Result<Cells> {
    let Features { ids, names, kinds, genomes } = features;
    let n = names.len();
    for (what, list) in [("identifiers", &ids), ("kinds", &kinds), ("genomes", &genomes)] {
        if list.len() != n && !(list.is_empty() && what != "identifiers") {
            return Err(Error::content(path, "features", format!("{n} {what}"), list.len().to_string()));
        }
    }
    let of_kind = |kind: &str| -> Vec<usize> { (0..n).filter(|&j| kinds.get(j).is_none_or(|k| k == kind)).collect() };
    let genes = of_kind(EXPRESSION);
    let pick = |list: &[String]| -> Vec<String> { genes.iter().map(|&j| list[j].clone()).collect() };
    let mut var = Frame::new(make_unique(path, pick(&names)));
    var.set("gene_ids", Column::Text(pick(&ids).into_iter().map(Some).collect()));
    for (name, list) in [("feature_types", &kinds), ("genome", &genomes)] {
        if !list.is_empty() {
            var.set(name, Column::categorical(&pick(list)));
        }
    }
    let keep = |columns: &[usize]| counts.select_columns(&columns.iter().map(|&j| Some(j)).collect::<Vec<_>>());
    let mut cells = Cells::new(Matrix::Sparse(keep(&genes)), Frame::new(barcodes), var);
    if kinds.is_empty() {
        return Ok(cells);
    }
    let proteins = of_kind(PROTEIN);
    if !proteins.is_empty() {
        let labels = make_unique(path, proteins.iter().map(|&j| names[j].clone()).collect());
        let table = protein_table(&cells.obs, labels, &keep(&proteins));
        cells.obsm.insert(PROTEIN_SLOT.to_owned(), Array::Frame(table));
    }
    let left = n - genes.len() - proteins.len();
    if left > 0 {
        tracing::warn!(file = %path.display(), left, "left out: features that are neither genes nor antibodies");
    }
    Ok(cells)
}

/// The entry of `obsm` that protein counts of 10x and MuData files are read into.
pub const PROTEIN_SLOT: &str = "protein_expression";

/// Protein counts as a table, a column a protein.
pub(crate) fn protein_table(obs: &Frame, labels: Vec<String>, counts: &Csr) -> Frame {
    let dense = counts.to_dense();
    let mut table = Frame::new(obs.index.clone());
    for (j, label) in labels.into_iter().enumerate() {
        table.columns.push((label, Column::Real(dense.column(j).into_iter().map(f64::from).collect())));
    }
    table
}
