//! Settings of models, by name.

use serde_json::Value;

/// Takes from `usual` every setting that `settings` do not have; null has none. Both are objects; anything else changes nothing.
pub fn complete(settings: &mut Value, usual: Value) {
    if settings.is_null() {
        *settings = Value::Object(serde_json::Map::new());
    }
    if let (Value::Object(own), Value::Object(usual)) = (settings, usual) {
        for (name, value) in usual {
            own.entry(name).or_insert(value);
        }
    }
}
