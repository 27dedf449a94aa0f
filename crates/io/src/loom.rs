//! loom files: genes × cells, dense, with attributes of rows and columns
//! (<https://linnarssonlab.org/loompy/format/>).

use std::collections::BTreeMap;

use scgraft_cells::{Array, Cells, Column, Csr, Dense, Frame, Matrix, Steps};

use crate::error::{Error, Result};
use crate::names::make_unique;
use crate::store::{Kind, Reader, Values};

/// Numbers read at once.
const WINDOW: usize = 1 << 24;

/// Reads a loom file; its matrix and layers become sparse, cells × genes.
pub(crate) fn read_loom(r: &dyn Reader) -> Result<Cells> {
    let shape = r.info("matrix")?.shape;
    let [n_genes, n_cells] = shape[..] else {
        return Err(Error::content(r.path(), "matrix", "genes × cells", format!("shape {shape:?}")));
    };
    let (mut var, varm) = attributes(r, "row_attrs", n_genes, &["Gene", "var_names", "gene_names", "Accession"])?;
    let (obs, obsm) = attributes(r, "col_attrs", n_cells, &["CellID", "obs_names", "cell_names", "Barcode"])?;
    var.index = make_unique(r.path(), var.index);
    let mut cells = Cells::new(Matrix::Sparse(transposed(r, "matrix", n_genes, n_cells)?), obs, var);
    (cells.obsm, cells.varm) = (obsm, varm);
    if r.kind("layers")? == Some(Kind::Group) {
        for name in r.children("layers")? {
            let layer = transposed(r, &format!("layers/{name}"), n_genes, n_cells)?;
            cells.layers.insert(name, Matrix::Sparse(layer));
        }
    }
    for slot in ["row_graphs", "col_graphs"] {
        if r.kind(slot)? == Some(Kind::Group) && !r.children(slot)?.is_empty() {
            tracing::warn!(file = %r.path().display(), slot, "left out: graphs of a loom file");
        }
    }
    Ok(cells)
}

/// Reads a dense genes × cells matrix some genes at a time, so that only its non-zero entries are kept.
fn transposed(r: &dyn Reader, at: &str, n_genes: usize, n_cells: usize) -> Result<Csr> {
    let shape = r.info(at)?.shape;
    if shape != [n_genes, n_cells] {
        return Err(Error::content(r.path(), at, format!("{n_genes} genes × {n_cells} cells"), format!("{shape:?}")));
    }
    let step = (WINDOW / n_cells.max(1)).max(1);
    let mut by_gene = Csr { n_rows: n_genes, n_cols: n_cells, indptr: vec![0], ..Csr::default() };
    let steps = Steps::new("reading genes", n_genes);
    let mut start = 0;
    while start < n_genes {
        let end = n_genes.min(start + step);
        let part = Dense::new(end - start, n_cells, r.f32s(at, Some(start..end))?).to_csr();
        let before = by_gene.nnz();
        by_gene.indptr.extend(part.indptr[1..].iter().map(|p| p + before));
        by_gene.indices.extend(part.indices);
        by_gene.values.extend(part.values);
        start = end;
        steps.reach(end);
    }
    Ok(by_gene.transpose())
}

/// Attributes with one value a row become columns, those with several become arrays; one of `names` gives
/// the names of the rows.
fn attributes(r: &dyn Reader, at: &str, n: usize, names: &[&str]) -> Result<(Frame, BTreeMap<String, Array>)> {
    let all = if r.kind(at)? == Some(Kind::Group) { r.children(at)? } else { Vec::new() };
    let Some(index) = names.iter().find(|name| all.iter().any(|a| a == *name)) else {
        return Err(Error::missing(
            r.path(),
            format!("attribute in `{at}` with names of rows, such as"),
            names[0],
            &all,
        ));
    };
    let mut frame = Frame::default();
    let mut arrays = BTreeMap::new();
    for name in all {
        let slot = format!("{at}/{name}");
        let shape = r.info(&slot)?.shape;
        if shape.first() != Some(&n) {
            return Err(Error::content(r.path(), slot, format!("{n} values"), format!("shape {shape:?}")));
        }
        match (r.values(&slot, None)?, &shape[..]) {
            (Values::Text(v), [_]) if name == *index => frame.index = v,
            (Values::Int(v), [_]) if name == *index => frame.index = v.iter().map(i64::to_string).collect(),
            (Values::Text(v), [_]) => frame.columns.push((name, Column::Text(v.into_iter().map(Some).collect()))),
            (Values::Int(v), [_]) => frame.columns.push((name, Column::Integer(v.into_iter().map(Some).collect()))),
            (Values::Bool(v), [_]) => frame.columns.push((name, Column::Boolean(v.into_iter().map(Some).collect()))),
            (Values::Float(v), [_]) => frame.columns.push((name, Column::Real(v))),
            (Values::Float(_) | Values::Int(_), &[_, width]) => {
                arrays.insert(name, Array::Dense(Dense::new(n, width, r.f32s(&slot, None)?)));
            }
            (other, _) => {
                let what = other.describe();
                tracing::warn!(file = %r.path().display(), slot, "left out: an attribute of {what}, shape {shape:?}");
            }
        }
    }
    if frame.index.len() != n {
        return Err(Error::content(r.path(), format!("{at}/{index}"), "names of rows", "values of another kind"));
    }
    frame.index_name = Some((*index).to_owned());
    Ok((frame, arrays))
}
