//! Grafting a query onto a reference.

use scgraft_cells::Prepared;
use scgraft_engine::Key;
use scgraft_models::{Adaptor, Granularity, Model, Surgery};

use crate::{FitReport, Progress, TrainConfig, TrainError, fit};

/// A query grafted onto its reference.
#[derive(Debug)]
pub struct Grafted {
    /// The reference with the graft.
    pub model: Model,
    /// The graft as an adaptor of the reference; `None` when shared layers were trained, or nothing was added.
    pub adaptor: Option<Adaptor>,
    /// How training went; `None` when the reference already knew every condition and nothing was added.
    pub report: Option<FitReport>,
}

/// Surgery on `reference` for what the query has that it does not know, and for the plan's new programs; then training of
/// what the plan's granularity allows.
///
/// A query whose conditions the reference already knows needs no training and gets none, unless the plan
/// adds programs or trains shared layers.
///
/// # Errors
/// As [`Model::surgery`] and [`fit`].
pub fn graft(
    reference: &Model,
    query: &Prepared,
    plan: Surgery,
    config: &TrainConfig,
    progress: &mut dyn Progress,
) -> Result<Grafted, TrainError> {
    let new = reference.newcomers(query);
    if new.is_empty() && plan.programs.is_none() && plan.granularity == Granularity::Adaptor {
        return Ok(Grafted { model: reference.duplicate()?, adaptor: None, report: None });
    }
    let hash = reference.reference_hash();
    let mut model = reference.surgery(&plan, &new, config.seed)?;
    let report = match sample(query, config).filter(|_| !reference.has_cells()) {
        Some(rows) => fit(&mut model, &query.select_cells(&rows), config, progress)?,
        None => fit(&mut model, query, config, progress)?,
    };
    let adaptor = match plan.granularity {
        Granularity::Adaptor => model.adaptors(&hash)?.into_iter().find(|a| a.origin.name == plan.name),
        Granularity::FirstLayers | Granularity::All => None,
    };
    Ok(Grafted { model, adaptor, report: Some(report) })
}

/// Key of the draw of the cells that a graft is fitted on.
const SAMPLE: u64 = 5;

/// The cells that a graft is fitted on: up to so many of each condition, in their order; `None` for all.
fn sample(query: &Prepared, config: &TrainConfig) -> Option<Vec<usize>> {
    let most = config.most_cells?;
    let mut rows = Vec::new();
    for code in 0..query.condition.levels.len() {
        let mut own: Vec<usize> = (0..query.n_cells()).filter(|&i| query.condition.codes[i] as usize == code).collect();
        Key::new(config.seed).fold(SAMPLE).fold(code as u64).shuffle(&mut own);
        own.truncate(most);
        rows.extend(own);
    }
    rows.sort_unstable();
    (rows.len() < query.n_cells()).then_some(rows)
}
