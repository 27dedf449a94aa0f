//! Labels and programs of a mapped query.

use scgraft_analysis::neighbours::{Neighbours, Search};
use scgraft_analysis::transfer::{
    LabelSets, LabelTransfer, Labelled, Novelty, NoveltyOptions, OutOfDistribution, TransferOptions, label_sets,
    novelty, out_of_distribution, transfer_labels,
};
use scgraft_cells::Coded;

pub use crate::embedding::program_weights;
pub use crate::query::{Mapped, QueryPlan, map_query, new_programs};
pub use crate::reference::{Genes, Reference, ReferencePlan, prepare_reference, train_reference};
use crate::{Embedding, Error};

/// The neighbours of a query in its reference, and those of the reference's cells among themselves.
#[derive(Clone, Debug)]
pub struct Near {
    /// Of each query cell among the reference cells.
    pub query: Neighbours,
    /// Of each reference cell among the others.
    pub reference: Neighbours,
    /// Share of the true neighbours that the search found.
    pub recall: f64,
}

/// Searches for the `k` nearest reference cells, in the dimensions of the reference (programs that only the query has
/// are left out).
///
/// # Errors
/// A dimension of the reference that the query lacks; of [`Search::between`] and [`Search::among`].
pub fn neighbours(reference: &Embedding, query: &Embedding, k: usize, search: &Search) -> Result<Near, Error> {
    let shared = shared(reference, query)?;
    let near = search.between(&reference.mean, &shared.mean, k)?;
    let usual = search.among(&reference.mean, k, false)?;
    Ok(Near { query: near.neighbours, reference: usual.neighbours, recall: near.recall.min(usual.recall) })
}

/// The query in the dimensions of the reference.
pub(crate) fn shared(reference: &Embedding, query: &Embedding) -> Result<Embedding, Error> {
    query.select(&reference.names).ok_or_else(|| {
        let missing = reference.names.iter().find(|n| !query.names.contains(n)).cloned().unwrap_or_default();
        Error::Slot {
            slot: "embedding of the query".into(),
            expected: format!("the {} dimensions of the reference", reference.names.len()),
            found: format!("{} dimensions, `{missing}` not among them", query.names.len()),
            remedy: "map the query onto this reference".into(),
        }
    })
}

/// Labels carried over to query cells.
#[derive(Clone, Debug)]
pub struct Annotation {
    /// One a label column.
    pub labels: Vec<LabelTransfer>,
    /// How far outside the reference each cell lies.
    pub distance: OutOfDistribution,
    /// For each label column, whether cells are of a type that the reference does not have; empty until
    /// [`find_new`] has looked.
    pub novelty: Vec<Novelty>,
    /// For each label column, the labels that a cell may have; empty unless asked for.
    pub sets: Vec<LabelSets>,
}

/// Carries labels of reference cells over to query cells by their nearest neighbours.
///
/// # Errors
/// Of [`transfer_labels`] and [`out_of_distribution`].
pub fn annotate(near: &Near, columns: &[(&str, &Coded)], options: &TransferOptions) -> Result<Annotation, Error> {
    Ok(Annotation {
        labels: transfer_labels(&near.query, columns, options)?,
        distance: out_of_distribution(&near.reference, &near.query)?,
        novelty: Vec::new(),
        sets: Vec::new(),
    })
}

/// Calls cells of types that the reference does not have unknown, and only those, in every label column.
///
/// `studies` are those of the reference's cells, `batches` the query's.
///
/// # Errors
/// Of [`novelty`]; a dimension of the reference that the query lacks.
pub fn find_new(
    annotation: &mut Annotation,
    (reference, studies): (&Embedding, (&str, &Coded)),
    columns: &[(&str, &Coded)],
    (query, batches): (&Embedding, (&str, &Coded)),
    options: &NoveltyOptions,
    search: &Search,
) -> Result<(), Error> {
    let shared = shared(reference, query)?;
    for (transfer, &labels) in annotation.labels.iter_mut().zip(columns) {
        let known = Labelled { x: &reference.mean, labels, studies };
        let found = novelty(&known, &shared.mean, batches, options, search)?;
        transfer.unknown.iter_mut().enumerate().for_each(|(i, unknown)| *unknown = found.is_new(i));
        annotation.novelty.push(found);
    }
    Ok(())
}

/// The labels that each cell may have, at a coverage.
///
/// # Errors
/// Of [`label_sets`]; a dimension of the reference that the query lacks.
pub fn find_sets(
    annotation: &mut Annotation,
    (reference, studies): (&Embedding, (&str, &Coded)),
    columns: &[(&str, &Coded)],
    query: &Embedding,
    coverage: f64,
    search: &Search,
) -> Result<(), Error> {
    let shared = shared(reference, query)?;
    for &labels in columns {
        let known = Labelled { x: &reference.mean, labels, studies };
        annotation.sets.push(label_sets(&known, &shared.mean, coverage, search)?);
    }
    Ok(())
}
