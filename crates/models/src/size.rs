//! Whether a model is of a size that its file, or a machine, can hold: asked before anything is built.

use serde_json::Value;

use crate::{Header, ModelError};

/// How many times the numbers of a file a model may have by its names and settings, and how many besides. The estimate
/// counts every pair of sizes, so that it is a multiple of the truth.
const LARGER: u64 = 32;
const BESIDES: u64 = 1 << 22;
/// Most numbers that a model is made with: 8 GiB.
const MOST: u64 = 1 << 31;
/// Settings that are sizes.
const SIZES: [&str; 3] = ["hidden", "decoder_hidden", "latent"];

/// About how many numbers a model of these names and settings has, rather too many than too few.
fn called_for(config: &Value, header: &Header) -> u64 {
    let size = |key: &str| match &config[key] {
        Value::Array(sizes) => sizes.iter().filter_map(Value::as_u64).fold(0u64, u64::saturating_add),
        value => value.as_u64().unwrap_or(0),
    };
    let sum = |sizes: &[u64]| sizes.iter().fold(0u64, |sum, &n| sum.saturating_add(n));
    let h = header;
    let programs = h.segments.iter().map(|s| s.programs.len() as u64).sum::<u64>();
    let hidden = SIZES.iter().map(|key| size(key)).fold(programs, u64::saturating_add);
    let levels: usize = h.covariates.iter().map(|c| c.1.len()).sum();
    let ends = [h.genes.len(), h.proteins.len(), h.conditions.len(), h.labels.len(), levels, h.continuous.len()];
    let inputs = sum(&ends.map(|n| n as u64)).saturating_add(hidden);
    let outputs = sum(&[hidden, (h.conditions.len() + h.labels.len()) as u64, 1]);
    let by_cell = (h.cells.len() as u64).saturating_mul(size("latent").max(1)).saturating_mul(2);
    inputs.saturating_mul(outputs).saturating_add(by_cell)
}

/// Whether a file of so many numbers can hold a model of these names and settings. Names and settings are as easily
/// written as large numbers.
///
/// # Errors
/// In words, when it cannot.
pub fn check_against(config: &Value, header: &Header, stored: usize) -> Result<(), String> {
    let called = called_for(config, header);
    if called > (stored as u64).saturating_mul(LARGER).saturating_add(BESIDES) {
        return Err(format!("its names and settings call for about {called} numbers, its tensors have {stored}"));
    }
    Ok(())
}

/// Whether a model of these names and settings is of a size that can be made.
pub(crate) fn check_most(model: &'static str, config: &Value, header: &Header) -> Result<(), ModelError> {
    let called = called_for(config, header);
    if called > MOST {
        let expected = format!("at most about {MOST} numbers in a model; choose smaller layers, or fewer genes");
        return Err(ModelError::setting(model, "the sizes of layers and names", &expected, format!("about {called}")));
    }
    Ok(())
}

/// Whether a model that calls for exactly so many numbers can be made.
pub(crate) fn check_declared(model: &'static str, n: usize) -> Result<(), ModelError> {
    if n as u64 > MOST {
        let expected = format!("at most {MOST} numbers in a model");
        return Err(ModelError::setting(model, "the sizes of layers and names", &expected, n));
    }
    Ok(())
}

/// Whether all values are numbers.
pub(crate) fn check_numbers<'t>(tensors: impl Iterator<Item = (&'t str, &'t [f32])>) -> Result<(), String> {
    for (name, values) in tensors {
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(format!("tensor `{name}` holds {} at {at}: expected finite numbers", values[at]));
        }
    }
    Ok(())
}
