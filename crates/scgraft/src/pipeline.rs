//! The whole story on one screen: a reference is trained, a query is grafted onto it, labels are carried over, programs are
//! tested.
//!
//! Every step takes plain values and returns a new one; each is a function of its own module, with a plan that has more to
//! choose from. Reading and writing files is [`crate::io`]'s, where results stand in an AnnData file [`crate::slots`]'s.

use scgraft_cells::{Cells, ConditionSource, GeneSet};
use scgraft_models::Surgery;
use scgraft_train::Progress;

use crate::annotate::{AnnotatePlan, Annotation, Placed, annotate};
use crate::enrich::{EnrichPlan, Enrichment, enrich};
use crate::query::{Mapped, QueryPlan, map_query};
use crate::reference::{Reference, ReferencePlan, train_reference};
use crate::{Ask, Embedding, Error, goes_on, slots};

/// What is done on the way from an atlas to the programs that differ.
#[derive(Clone, Debug)]
pub struct StoryPlan {
    /// How the reference is trained; its seed is that of the mapping as well.
    pub reference: ReferencePlan,
    /// What the query adds to it.
    pub graft: Surgery,
    /// Where the query's condition (batch, study) is from.
    pub condition: ConditionSource,
    /// Epochs of the mapping; `None`: as the model needs for so many cells.
    pub query_epochs: Option<usize>,
    /// Which labels are carried over.
    pub annotate: AnnotatePlan,
    /// The tests of programs, each with the name it is stored under.
    pub tests: Vec<(String, EnrichPlan)>,
}

/// What was found.
#[derive(Debug)]
pub struct Story {
    /// The reference.
    pub reference: Reference,
    /// Where its cells lie.
    pub known: Embedding,
    /// The query on it.
    pub mapped: Mapped,
    /// The query's labels.
    pub annotation: Annotation,
    /// One for each test of the plan.
    pub tests: Vec<Enrichment>,
}

/// Watches a fit of so many epochs.
pub type Watch<'w> = dyn FnMut(&str, usize) -> Box<dyn Progress> + 'w;

/// Reads a query against an atlas. Both get what was found into their slots.
///
/// # Errors
/// Of [`train_reference`], [`map_query`], [`annotate()`] and [`enrich()`].
pub fn read_against(
    atlas: &mut Cells,
    query: &mut Cells,
    programs: &[GeneSet],
    plan: &StoryPlan,
    watch: &mut Watch<'_>,
    ask: &mut Ask<'_>,
) -> Result<Story, Error> {
    let fit = &plan.reference.train;
    let reference = train_reference(atlas, programs, None, &plan.reference, &mut *watch("training", fit.epochs))?;
    goes_on(ask)?;

    let model = &reference.model;
    let mut mapping = QueryPlan::by(model, plan.graft.clone(), plan.condition.clone(), query.n_cells());
    mapping.train.epochs = plan.query_epochs.unwrap_or(mapping.train.epochs);
    mapping.train.seed = fit.seed;
    let mapped = map_query(model, query, &mapping, &mut *watch("mapping", mapping.train.epochs))?;
    goes_on(ask)?;

    let known = Embedding::of(model, &reference.prepared)?;
    slots::put_embedding(atlas, model, &known, None);
    slots::put_embedding(query, &mapped.grafted.model, &mapped.embedding, None);

    let of = Placed { name: "reference", cells: atlas, embedding: &known };
    let to = Placed { name: "query", cells: query, embedding: &mapped.embedding };
    let annotation = annotate(&of, &to, &plan.annotate, ask)?;
    slots::put_annotation(query, &annotation);

    let mut tests = Vec::new();
    for (name, test) in &plan.tests {
        let found = enrich((query, "query"), &mapped.embedding, test, None, ask)?;
        slots::put_test(query, name, &found);
        tests.push(found);
    }
    Ok(Story { reference, known, mapped, annotation, tests })
}
