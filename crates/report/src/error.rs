//! What can go wrong when a picture or the report is made.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Two inputs that describe the same rows differ in length.
    #[error("{what}: expected {expected} values, found {found}; pass one value for each {unit}")]
    Length {
        /// Picture and field.
        what: String,
        /// Number of values that the other inputs have.
        expected: usize,
        /// Number of values given.
        found: usize,
        /// What a value belongs to: a cell, a program, an epoch.
        unit: &'static str,
    },
    /// Nothing to draw.
    #[error("{what}: nothing to draw; {hint}")]
    Empty {
        /// Picture and field.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A category code that has no name.
    #[error(
        "{what}: code {code} at position {row}, but there are {levels} levels; codes are −1 (missing) or 0 to {levels} − 1"
    )]
    Code {
        /// Picture and field.
        what: String,
        /// The code.
        code: i32,
        /// Where it was found.
        row: usize,
        /// Number of levels.
        levels: usize,
    },
    /// A number that cannot be drawn.
    #[error("{what}: {value} at position {row} cannot be drawn; expected {expected}")]
    Value {
        /// Picture and field.
        what: String,
        /// Where it was found.
        row: usize,
        /// The value.
        value: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// The picture does not fit.
    #[error("{what}: {width} × {height} px is too small; at least {min_width} × {min_height} px is needed")]
    TooSmall {
        /// The picture.
        what: String,
        /// Width asked for.
        width: f64,
        /// Height asked for.
        height: f64,
        /// Smallest width.
        min_width: f64,
        /// Smallest height.
        min_height: f64,
    },
    /// The file name says neither PNG nor SVG.
    #[error("{path}: cannot tell the picture format; end the name in .png or .svg")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The picture could not be turned into pixels.
    #[error("cannot make a picture of {width} × {height} pixels: {reason}")]
    Pixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The reason.
        reason: String,
    },
    /// The embedded font is unreadable: the build is broken.
    #[error("the embedded font cannot be read: {0}")]
    Font(String),
    /// The report's data could not be written as JSON.
    #[error("the report's data cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Refuses a slice of another length than expected.
pub(crate) fn same_length(what: &str, unit: &'static str, expected: usize, found: usize) -> Result<(), ReportError> {
    if expected == found { Ok(()) } else { Err(ReportError::Length { what: what.to_owned(), expected, found, unit }) }
}

/// Refuses codes outside −1..levels.
pub(crate) fn valid_codes(what: &str, codes: &[i32], levels: usize) -> Result<(), ReportError> {
    match codes.iter().position(|&c| c < -1 || c >= 0 && c as usize >= levels) {
        None => Ok(()),
        Some(row) => Err(ReportError::Code { what: what.to_owned(), code: codes[row], row, levels }),
    }
}
