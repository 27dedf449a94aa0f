//! What the settings of several models have in common: how they are read, and what they must be.

use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::ModelError;

/// Settings by name; those left out take their defaults.
///
/// # Errors
/// A name that the model has no setting of, or a value that does not fit.
pub fn parse<C: DeserializeOwned>(model: &'static str, config: &Value) -> Result<C, ModelError> {
    serde_json::from_value(config.clone())
        .map_err(|e| ModelError::setting(model, "settings", "known names with fitting values", e))
}

/// Settings or notes as they are shown: numbers of single precision are as short as they were given (0.7, not
/// 0.699999988079071), a count without an end (`u64::MAX`) is null.
#[must_use]
pub fn shown(value: &Value) -> Value {
    match value {
        Value::Array(all) => all.iter().map(shown).collect(),
        Value::Object(all) => all.iter().map(|(name, value)| (name.clone(), shown(value))).collect(),
        Value::Number(n) if n.as_u64() == Some(u64::MAX) => Value::Null,
        Value::Number(n) if n.is_f64() => {
            let wide = n.as_f64().unwrap_or_default();
            let short = (wide as f32).to_string().parse::<f64>();
            if f64::from(wide as f32) == wide { json!(short.unwrap_or(wide)) } else { value.clone() }
        }
        _ => value.clone(),
    }
}

/// What the published code of every model does: frozen batch norms take the query batch's statistics.
pub(crate) fn published_norm() -> Value {
    json!({ "frozen_norm_by_batch": true })
}

/// Sizes of hidden layers.
pub(crate) fn check_hidden(model: &'static str, what: &str, sizes: &[usize]) -> Result<(), ModelError> {
    if sizes.is_empty() || sizes.contains(&0) {
        let expected = "at least one layer, each of at least one unit";
        return Err(ModelError::setting(model, what, expected, format!("{sizes:?}")));
    }
    Ok(())
}

/// Number of latent dimensions.
pub(crate) fn check_latent(model: &'static str, latent: usize) -> Result<(), ModelError> {
    if latent == 0 {
        return Err(ModelError::setting(model, "latent", "at least one dimension", 0));
    }
    Ok(())
}

/// A dropout rate.
pub(crate) fn check_dropout(model: &'static str, rate: impl Into<f64> + Display + Copy) -> Result<(), ModelError> {
    if !(0.0..1.0).contains(&rate.into()) {
        return Err(ModelError::setting(model, "dropout", "at least 0 and below 1", rate));
    }
    Ok(())
}

/// A weight of a loss term.
pub(crate) fn check_weight(
    model: &'static str,
    what: &str,
    weight: impl Into<f64> + Display + Copy,
) -> Result<(), ModelError> {
    let value: f64 = weight.into();
    if !(value >= 0.0 && value.is_finite()) {
        return Err(ModelError::setting(model, what, "a number of at least 0", weight));
    }
    Ok(())
}

/// Settings of most models at their smallest.
pub(crate) fn small() -> Value {
    json!({ "hidden": [10, 8], "latent": 4, "dropout": 0.0 })
}

/// A model whose surgery changes no settings.
pub(crate) fn no_settings() -> Value {
    Value::Object(Map::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_was_given() {
        let given = json!({"a": 0.7, "b": [1e-5, 2.0], "n": 3, "pi": std::f64::consts::PI});
        let kept = json!({"a": 0.7_f32, "b": [1e-5_f32, 2.0_f32], "n": 3, "pi": std::f64::consts::PI});
        assert_ne!(kept, given);
        assert_eq!(shown(&kept), given);
        assert_eq!(shown(&json!(u64::MAX)), Value::Null);
    }
}
