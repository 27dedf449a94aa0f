//! Numbers that may be missing, in JSON: NaN is written as null and read back as NaN.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Single or double precision.
pub(crate) trait Real: Copy + Serialize {
    const NAN: Self;
    fn is_finite(self) -> bool;
}

impl Real for f32 {
    const NAN: f32 = f32::NAN;
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Real for f64 {
    const NAN: f64 = f64::NAN;
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

pub(crate) fn serialize<T: Real, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(|v| v.is_finite().then_some(*v)))
}

pub(crate) fn deserialize<'de, T: Real + Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let values: Vec<Option<T>> = Vec::deserialize(from)?;
    Ok(values.into_iter().map(|v| v.unwrap_or(T::NAN)).collect())
}
