//! Labels that a model has of its own.

use scgraft_cells::{Dense, Prepared};
use scgraft_models::Model;

use crate::Error;

/// Labels that a model gives to cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The labels that the model knows.
    pub levels: Vec<String>,
    /// The most probable label of each cell.
    pub label: Vec<u32>,
    /// 1 − its probability.
    pub uncertainty: Vec<f64>,
    /// Cells × labels.
    pub probabilities: Dense,
}

impl Prediction {
    /// The most probable label of each cell, by name.
    pub fn names(&self) -> Vec<&str> {
        self.label.iter().map(|&k| self.levels[k as usize].as_str()).collect()
    }
}

/// The labels that the model's own classifier gives; `None` for a model without.
///
/// # Errors
/// Of [`Model::label_probabilities`].
pub fn predict(model: &Model, data: &Prepared) -> Result<Option<Prediction>, Error> {
    let Some(probabilities) = model.label_probabilities(data)? else { return Ok(None) };
    let best = |i: usize| {
        let row = probabilities.row(i).iter().zip(0u32..);
        row.fold((f32::NEG_INFINITY, 0), |best, (&p, k)| if p > best.0 { (p, k) } else { best })
    };
    let (p, label): (Vec<f32>, Vec<u32>) = (0..probabilities.n_rows).map(best).unzip();
    let uncertainty = p.into_iter().map(|p| 1.0 - f64::from(p)).collect();
    Ok(Some(Prediction { levels: model.header.labels.clone(), label, uncertainty, probabilities }))
}
