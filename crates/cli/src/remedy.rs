//! What a user of the command line can do about an error of the library.

use scgraft::Error;

use super::input::nearest_first;

/// The options that help, as the end of a sentence; empty where the error says all there is to say.
pub(crate) fn remedy(error: &Error) -> String {
    let nearest = |name: &str, known: &[String]| {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        nearest_first(name, &known)
    };
    match error {
        Error::WhichCondition { columns, there } => format!(
            "; give --condition COLUMN (there are: {}), or --condition-name NAME when all cells are one batch",
            nearest(columns.first().map_or("", String::as_str), there)
        ),
        Error::NewConditions { .. } => ". Map these cells with `scgraft map`".to_owned(),
        Error::UnknownName { name, known, .. } => format!("; the nearest names: {}", nearest(name, known)),
        _ => String::new(),
    }
}
