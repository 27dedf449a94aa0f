//! A reference that annotates by itself: its model brings the cells it was trained on, without their counts.

use scgraft_cells::{Array, Cells, Column, Frame, Uns};
use scgraft_models::{Model, ReferenceCells};

use crate::annotate::{Placed, learn};
use crate::columns::find;
use crate::reference::condition_columns;
use crate::{Embedding, Error, slots};

/// Puts where the cells of a reference lie into its model, with these columns of obs and those of its conditions.
///
/// `cells` have the embedding that `model` gave them, and may have a picture ([`slots::UMAP`]). Of each cell the model keeps
/// latent means and variances (on a grid of 1/64 of the prior's standard deviation), the picture and those columns: no
/// counts, no names of cells. Where counts are there, it keeps of each label's cells the mean expression of its genes, and how
/// far cells of one study lie from those of the others: what finding new types takes.
///
/// # Errors
/// An embedding that is not this model's; a column that is not there; of [`ReferenceCells::new`].
pub fn bundle(model: &mut Model, cells: &Cells, name: &str, columns: &[String]) -> Result<(), Error> {
    let embedding = slots::embedding(cells, slots::LATENT)
        .map_err(|e| Error::Of { cells: name.to_owned(), source: Box::new(e) })?;
    let of = slots::note(cells, "reference");
    if of.is_none_or(|of| !matches!(of, scgraft_cells::Uns::Text(hash) if *hash == model.reference_hash())) {
        return Err(Error::OtherModel { cells: name.to_owned() });
    }
    let added: usize = model.header.grafts.iter().map(|g| g.n_programs).sum();
    let names = model.latent_names();
    let own = &names[..names.len() - added];
    let embedding = embedding.select(own).ok_or_else(|| Error::OtherModel { cells: name.to_owned() })?;
    let mut obs = Frame::new(cells.obs.index.clone());
    for column in condition_columns(model).iter().chain(columns) {
        obs.set(column, find(cells, name, column)?.clone());
    }
    let picture = slots::layout(cells, slots::UMAP).map(|l| l.coordinates);
    let found = ReferenceCells::new(obs, &embedding.mean, embedding.variance.as_ref(), picture.as_ref());
    let mut found = found.map_err(|what| Error::Slot {
        slot: name.to_owned(),
        expected: "cells that a model can bring".into(),
        found: what,
        remedy: "repair or leave out what is named".into(),
    })?;
    let labels: Vec<String> = columns.iter().filter(|c| is_label(cells, c)).cloned().collect();
    let reference = Placed { name, cells, embedding: &embedding };
    found.learned = learn(&reference, &model.header.genes, &labels, &condition_columns(model))?;
    model.cells = Some(found);
    Ok(())
}

/// The cells that a model brings, as the file of a reference would have them: obs, the embedding and what it means, a
/// picture; no counts. `None` of a model that brings none.
///
/// # Errors
/// Of [`Embedding::from_posterior`].
pub fn unbundle(model: &Model) -> Result<Option<(Cells, Embedding)>, Error> {
    let Some(own) = &model.cells else { return Ok(None) };
    let mut cells = Cells::empty(own.obs.clone(), Frame::new(Vec::new()));
    let embedding = Embedding::from_posterior(model, own.mean.clone(), own.variance.clone())?;
    slots::put_embedding(&mut cells, model, &embedding, None);
    cells.varm.clear();
    if !own.learned.is_empty() {
        slots::put_note(&mut cells, slots::LEARNED, Uns::Text(own.learned.clone()));
    }
    if let Some(picture) = &own.picture {
        cells.obsm.insert(slots::UMAP.to_owned(), Array::Dense(picture.clone()));
    }
    Ok(Some((cells, embedding)))
}

fn is_label(cells: &Cells, column: &str) -> bool {
    matches!(cells.obs.column(column), Some(Column::Categorical { .. } | Column::Text(_)))
}
