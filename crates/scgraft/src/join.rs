//! A query and its reference as one: what was asked of the cells of one file is asked of both.
//!
//! Cells of the reference stand first. [`ORIGIN`] says where a cell is from. A label that was carried over to the query as
//! `L_pred` stands in the reference as `L`: there the reference's cells have their own labels, so that a type is one group
//! across both files.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use scgraft_analysis::neighbours::Search;
use scgraft_analysis::transfer::UNKNOWN;
use scgraft_cells::{Array, Cells, Column, Csr, Dense, Frame, Matrix, Raw, Uns};

use crate::annotate::Placed;
use crate::columns::{find, stacked, wrong};
use crate::embedding::shared;
use crate::joint::{Stacked, centred_apart, shared_names};
use crate::layout::Layout;
use crate::{Embedding, Error, slots};

/// `obs` of joined cells: [`REFERENCE`] or [`QUERY`].
pub const ORIGIN: &str = "scgraft_origin";
/// The cells of the reference.
pub const REFERENCE: &str = "reference";
/// The cells of the query.
pub const QUERY: &str = "query";
/// `obs` of cells that [`against_known`] chose: [`NOT_KNOWN`], or what they are compared with.
pub const KNOWLEDGE: &str = "scgraft_unknown";
/// Cells that the reference does not know.
pub const NOT_KNOWN: &str = "unknown";
/// Cells of the query that it knows.
pub const KNOWN: &str = "known";
/// Cells of the reference that lie nearest to those it does not know.
pub const NEAREST: &str = "nearest of the reference";

/// Endings of the columns of a query that hold what the reference has without the ending.
const CARRIED: [&str; 4] = ["_pred", "_best", "_majority", "_nested"];

/// The cells of a reference and of a query.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Both, the reference's first: `obs` with [`ORIGIN`], what both have of `X`, layers, `raw` and `obsm`, and the notes of
    /// the reference on what the dimensions mean.
    pub cells: Cells,
    /// Where they lie, in the dimensions of the reference.
    pub embedding: Embedding,
    /// Cells of the reference.
    pub n_reference: usize,
    /// Slots that both have and that were not joined, and why.
    pub left_out: Vec<(String, String)>,
}

/// Joins a query with its reference.
///
/// Columns of `obs` of both are kept, empty where a cell's file has none. Of the expression the genes that both have are
/// kept; a slot that holds counts in one and other values in the other is left out. So are pictures and components that were
/// made of each file by itself: their axes are not the same.
///
/// # Errors
/// A query that was mapped onto another model; a dimension of the reference that it lacks.
pub fn join(reference: &Placed<'_>, query: &Placed<'_>) -> Result<Joined, Error> {
    let embedding = embedding(reference, query)?;
    let (a, b) = (reference.cells, query.cells);
    let mut left_out = Vec::new();
    let mut cells = Cells::empty(obs(a, b), Frame::new(Vec::new()));
    put_expression(&mut cells, a, b, &mut left_out);
    put_arrays(&mut cells, a, b, &mut left_out);
    if let Some(Uns::Map(notes)) = a.uns.get(slots::NOTES) {
        let kept = notes.iter().filter(|(name, _)| *name != "tests" && !name.starts_with("umap "));
        cells.uns.insert(slots::NOTES.to_owned(), Uns::Map(kept.map(|(k, v)| (k.clone(), v.clone())).collect()));
    }
    cells.obsm.insert(slots::LATENT.to_owned(), Array::Dense(embedding.mean.clone()));
    if let Some(variance) = &embedding.variance {
        cells.obsm.insert(format!("{}{}", slots::LATENT, slots::VARIANCE), Array::Dense(variance.clone()));
    }
    match (slots::layout(a, slots::UMAP), slots::layout(b, slots::UMAP)) {
        (Some(a), Some(b)) if b.placed && a.coordinates.n_cols == b.coordinates.n_cols => {
            let layout = Layout { coordinates: below(&a.coordinates, &b.coordinates), scale: a.scale, placed: false };
            slots::put_layout(&mut cells, slots::UMAP, layout);
        }
        (Some(_), Some(_)) => left_out.push((
            format!("obsm[\"{}\"]", slots::UMAP),
            "the query's picture was not made in that of the reference".to_owned(),
        )),
        _ => {}
    }
    Ok(Joined { cells, embedding, n_reference: a.n_cells(), left_out })
}

/// Where the cells of both lie, in the dimensions of the reference.
///
/// # Errors
/// As [`join`].
pub fn embedding(reference: &Placed<'_>, query: &Placed<'_>) -> Result<Embedding, Error> {
    let model = |cells| slots::note(cells, "reference");
    if let (Some(a), Some(b)) = (model(reference.cells), model(query.cells))
        && a != b
    {
        return Err(Error::OtherReference { cells: [reference.name, query.name].map(str::to_owned) });
    }
    let (a, b) = (reference.embedding, shared(reference.embedding, query.embedding)?);
    let variance = a.variance.as_ref().zip(b.variance.as_ref()).map(|(a, b)| below(a, b));
    Ok(Embedding { mean: below(&a.mean, &b.mean), variance, ..a.clone() })
}

/// `obs` of both, with [`ORIGIN`]. Names of cells that both have get the origin as an ending.
pub fn obs(reference: &Cells, query: &Cells) -> Frame {
    let (a, b) = (&reference.obs, &query.obs);
    let names: HashSet<&str> = a.index.iter().map(String::as_str).collect();
    let twice = b.index.iter().any(|name| names.contains(name.as_str()));
    let ending = |origin: &str| if twice { format!("-{origin}") } else { String::new() };
    let named = |index: &[String], origin| -> Vec<String> {
        let ending = ending(origin);
        index.iter().map(|name| format!("{name}{ending}")).collect()
    };
    let index = [named(&a.index, REFERENCE), named(&b.index, QUERY)].concat();
    let mut out = Frame { index_name: a.index_name.clone(), ..Frame::new(index) };
    let codes = std::iter::repeat_n(0, a.len()).chain(std::iter::repeat_n(1, b.len())).collect();
    let categories = vec![REFERENCE.to_owned(), QUERY.to_owned()];
    out.set(ORIGIN, Column::Categorical { codes, categories, ordered: false });
    let mut seen: HashSet<&str> = HashSet::from([ORIGIN]);
    for name in a.names().into_iter().chain(b.names()).filter(|name| seen.insert(name)) {
        let own = CARRIED.iter().find_map(|ending| name.strip_suffix(ending)).and_then(|label| a.column(label));
        let of_reference = a.column(name).or(own.filter(|_| b.column(name).is_some()));
        out.set(name, stacked(&[(of_reference, a.len()), (b.column(name), b.len())]));
    }
    out
}

impl Joined {
    /// Makes the cells of the reference one group, [`REFERENCE`], in a column of `obs`, whatever they have there.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn reference_as_group(&mut self, name: &str, column: &str) -> Result<(), Error> {
        let mut texts = find(&self.cells, name, column)?.texts();
        texts[..self.n_reference].fill(Some(REFERENCE.to_owned()));
        self.cells.obs.set(column, Column::Text(texts));
        Ok(())
    }

    /// Refuses a column in which no cell of the reference has a value: it would take no part in what is compared.
    ///
    /// # Errors
    /// Then, or when there is no such column.
    pub fn takes_part(&self, name: &str, column: &str) -> Result<(), Error> {
        let values = find(&self.cells, name, column)?;
        if (0..self.n_reference).all(|i| values.label(i).is_none()) {
            return Err(Error::ReferenceLacks { column: column.to_owned() });
        }
        Ok(())
    }
}

/// The cells that a reference does not know (`<label>_pred` is unknown), and those they are compared with: rows of the query,
/// or of `joined`, and a column [`KNOWLEDGE`] of these.
///
/// Without a reference they are compared with the query's other cells: the same study, and every program of the query. With
/// one, with the `k` cells of the reference nearest to each of them: what sets them apart from the most alike that the
/// reference has.
///
/// # Errors
/// No such column; no cell that is unknown, or none that is known; of the search.
pub fn against_known(
    query: &Placed<'_>,
    label: &str,
    joined: Option<&Joined>,
    (k, search): (usize, &Search),
) -> Result<(Vec<usize>, Column), Error> {
    let column = format!("{label}_pred");
    let predicted = find(query.cells, query.name, &column)?.texts();
    let is_new = |text: &Option<String>| text.as_deref() == Some(UNKNOWN);
    let (new, known): (Vec<usize>, Vec<usize>) = (0..predicted.len()).partition(|&i| is_new(&predicted[i]));
    if new.is_empty() {
        return Err(wrong(query.name, &column, format!("says `{UNKNOWN}` of no cell: the reference knows them all")));
    }
    let (new, others, word) = match joined {
        None if known.is_empty() => {
            return Err(wrong(
                query.name,
                &column,
                format!("says `{UNKNOWN}` of every cell; compare with a reference"),
            ));
        }
        None => (new, known, KNOWN),
        Some(joined) => {
            let n = joined.n_reference;
            let mean = &joined.embedding.mean;
            let new: Vec<usize> = new.into_iter().map(|i| n + i).collect();
            let reference = mean.select_rows(&(0..n).collect::<Vec<_>>());
            let near = search.between(&reference, &mean.select_rows(&new), k.min(n))?.neighbours;
            let nearest: BTreeSet<usize> = near.indices.iter().map(|&i| i as usize).collect();
            (new, nearest.into_iter().collect(), NEAREST)
        }
    };
    let codes = std::iter::repeat_n(0, new.len()).chain(std::iter::repeat_n(1, others.len())).collect();
    let categories = vec![NOT_KNOWN.to_owned(), word.to_owned()];
    Ok(([new, others].concat(), Column::Categorical { codes, categories, ordered: false }))
}

/// One matrix below the other.
fn below(a: &Dense, b: &Dense) -> Dense {
    Dense::new(a.n_rows + b.n_rows, a.n_cols, [&a.values[..], &b.values].concat())
}

/// What both have of `X`, the layers and `raw`, over the genes that both have.
fn put_expression(to: &mut Cells, a: &Cells, b: &Cells, left_out: &mut Vec<(String, String)>) {
    let layers: Vec<&String> = a.layers.keys().filter(|name| b.layers.contains_key(*name)).collect();
    if a.x.is_some() && b.x.is_some() || !layers.is_empty() {
        match genes_of_both(&a.var, &b.var) {
            Err(reason) => left_out.push(("X and layers".to_owned(), reason)),
            Ok(genes) => {
                if let (Some(x), Some(y)) = (&a.x, &b.x) {
                    match both(x, y, &genes) {
                        Ok(x) => to.x = Some(Matrix::Sparse(x)),
                        Err(reason) => left_out.push(("X".to_owned(), reason)),
                    }
                }
                for name in layers {
                    match both(&a.layers[name], &b.layers[name], &genes) {
                        Ok(x) => _ = to.layers.insert(name.clone(), Matrix::Sparse(x)),
                        Err(reason) => left_out.push((format!("layers[\"{name}\"]"), reason)),
                    }
                }
                if to.x.is_some() || !to.layers.is_empty() {
                    to.var = a.var.select(&genes.iter().map(|g| g.0).collect::<Vec<_>>());
                }
            }
        }
    }
    if let (Some(x), Some(y)) = (&a.raw, &b.raw) {
        let found = genes_of_both(&x.var, &y.var).and_then(|genes| Ok((both(&x.x, &y.x, &genes)?, genes)));
        match found {
            Ok((values, genes)) => {
                let var = x.var.select(&genes.iter().map(|g| g.0).collect::<Vec<_>>());
                to.raw = Some(Raw { x: Matrix::Sparse(values), var, varm: BTreeMap::new() });
            }
            Err(reason) => left_out.push(("raw".to_owned(), reason)),
        }
    }
}

/// The place of each shared gene in both tables, or why there is none.
fn genes_of_both(a: &Frame, b: &Frame) -> Result<Vec<(usize, usize)>, String> {
    let names = shared_names(&[a, b]).map_err(|e| e.to_string())?;
    let places = |of: &Frame| -> BTreeMap<String, usize> { of.index.iter().cloned().zip(0..).collect() };
    let (a, b) = (places(a), places(b));
    Ok(names.iter().map(|name| (a[name], b[name])).collect())
}

/// Values of both over the genes of both, or why they are not the same thing.
fn both(a: &Matrix, b: &Matrix, genes: &[(usize, usize)]) -> Result<Csr, String> {
    let kind = |m: &Matrix| if are_counts(m) { "counts" } else { "other values" };
    if kind(a) != kind(b) {
        return Err(format!("{} in the reference, {} in the query", kind(a), kind(b)));
    }
    let mut out = Stacked::default();
    out.add(&a.to_csr().select_columns(&genes.iter().map(|g| Some(g.0)).collect::<Vec<_>>()));
    out.add(&b.to_csr().select_columns(&genes.iter().map(|g| Some(g.1)).collect::<Vec<_>>()));
    Ok(out.matrix(genes.len()))
}

/// Whether all stored values are whole and none is negative.
pub(crate) fn are_counts(m: &Matrix) -> bool {
    m.stored().iter().all(|v| *v >= 0.0 && v.fract() == 0.0)
}

/// The entries of `obsm` that both have, but for the embedding itself and its picture.
fn put_arrays(to: &mut Cells, a: &Cells, b: &Cells, left_out: &mut Vec<(String, String)>) {
    let own = [slots::LATENT.to_owned(), format!("{}{}", slots::LATENT, slots::VARIANCE), slots::UMAP.to_owned()];
    for (key, x) in a.obsm.iter().filter(|(key, _)| !own.contains(key)) {
        let Some(y) = b.obsm.get(key) else { continue };
        match arrays(key, (a, x), (b, y)) {
            Ok(found) => _ = to.obsm.insert(key.clone(), found),
            Err(reason) => left_out.push((format!("obsm[\"{key}\"]"), reason)),
        }
    }
}

fn arrays(key: &str, (a, x): (&Cells, &Array), (b, y): (&Cells, &Array)) -> Result<Array, String> {
    if let (Array::Frame(x), Array::Frame(y)) = (x, y) {
        let mut out = Frame::new([&a.obs.index[..], &b.obs.index].concat());
        for (name, column) in &x.columns {
            if let Some(other) = y.column(name) {
                out.set(name, stacked(&[(Some(column), column.len()), (Some(other), other.len())]));
            }
        }
        return if out.columns.is_empty() { Err("no column is in both".to_owned()) } else { Ok(Array::Frame(out)) };
    }
    let dense = |of: &Array| match of {
        Array::Dense(m) => Some(m.clone()),
        Array::Sparse(m) => Some(m.to_dense()),
        Array::Frame(_) => None,
    };
    let (Some(x), Some(y)) = (dense(x), dense(y)) else { return Err("a matrix in one, a table in the other".into()) };
    if x.n_cols != y.n_cols {
        return Err(format!("{} columns in the reference, {} in the query", x.n_cols, y.n_cols));
    }
    let picture = ["umap", "tsne"].iter().any(|word| key.to_lowercase().contains(word));
    if picture && !slots::layout(b, key).is_some_and(|l| l.placed) {
        return Err("the query's picture was not made in that of the reference".to_owned());
    }
    if centred_apart(&x, &y) {
        return Err("each is centred on its own cells: two decompositions".to_owned());
    }
    Ok(Array::Dense(below(&x, &y)))
}
