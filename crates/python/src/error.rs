//! Errors of the library as Python's, in words of Python.

use pyo3::exceptions::{PyFileNotFoundError, PyKeyboardInterrupt, PyValueError};
use pyo3::{PyErr, create_exception};
use scgraft::Error;
use scgraft::io;

create_exception!(
    scgraft,
    ScgraftError,
    PyValueError,
    "Data, settings or a file that cannot be used; the message says where, what was expected, what was found, what to do."
);

/// How many names an error shows.
const SHOWN: usize = 12;

/// An error of the library. A file that is not there is a `FileNotFoundError`, a stop a `KeyboardInterrupt`, everything
/// else a `ScgraftError`.
pub fn raise(error: impl Into<Error>) -> PyErr {
    let error = error.into();
    if matches!(error, Error::Stopped) {
        return PyKeyboardInterrupt::new_err(error.to_string());
    }
    let words = spoken(&error.to_string()) + &remedy(&error);
    match missing(&error) {
        true => PyFileNotFoundError::new_err(words),
        false => ScgraftError::new_err(words),
    }
}

/// A `ScgraftError` of these words.
pub fn refuse(words: impl Into<String>) -> PyErr {
    ScgraftError::new_err(words.into())
}

/// Whether something below says that a file is not there.
fn missing(error: &Error) -> bool {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = at {
        let own = match e.downcast_ref::<io::Error>() {
            Some(io::Error::Io { source, .. }) => Some(source),
            _ => e.downcast_ref::<std::io::Error>(),
        };
        if own.is_some_and(|s| s.kind() == std::io::ErrorKind::NotFound) {
            return true;
        }
        at = e.source();
    }
    false
}

/// What a user of Python can do about it, as the end of a sentence.
fn remedy(error: &Error) -> String {
    let shown = |names: &[String]| {
        let some: Vec<String> = names.iter().take(SHOWN).map(|n| format!("{n:?}")).collect();
        match (names.is_empty(), names.len().saturating_sub(SHOWN)) {
            (true, _) => "none".to_owned(),
            (_, 0) => some.join(", "),
            (_, more) => format!("{} and {more} more", some.join(", ")),
        }
    };
    match error {
        Error::WhichCondition { there, .. } => format!(
            "; give batch_key=, a column of obs (there are: {}), or batch_name= when all cells are one batch",
            shown(there)
        ),
        Error::NoEmbedding { .. } => "; make it with scgraft.tl.map(adata, model) or model.to_adata(adata)".into(),
        Error::NoDirection { programs: true, .. } => "; map or embed the cells again".into(),
        Error::NoDirection { .. } => "; leave direction= out".into(),
        Error::NotCounts { .. } => {
            "; choose the slot with counts (layer=, use_raw=True), or give log_normalised=True for log1p values".into()
        }
        Error::NoProgramSets => "; give the gene sets that the model was trained with".into(),
        Error::NoBatch { there, .. } => format!(" to be the query; there are: {}", shown(there)),
        Error::TwoDecompositions { .. } => {
            "; leave before= out (components of the counts of both are made), or put one embedding of all cells into both"
                .into()
        }
        Error::Of { source, .. } => remedy(source),
        Error::NewConditions { .. } => "; map these cells with model.map(adata) or scgraft.tl.map(adata, model)".into(),
        Error::UnknownName { what, known, .. } => format!("; its {what}s: {}", shown(known)),
        _ => String::new(),
    }
}

/// Words of the command line, and Python's for them. A longer one stands before one that it begins with.
const WORDS: [(&str, &str); 22] = [
    (" (--fractions round rounds them)", ""),
    ("; counts that are corrected and not whole are taken with --fractions accept or round", ""),
    ("give --layer ", "give layer="),
    ("(--layer, --raw)", "(layer=, use_raw=True)"),
    ("say --log-normalised", "give log_normalised=True"),
    ("--layer ", "layer="),
    ("--raw", "use_raw=True"),
    ("--gene-column ", "gene_key="),
    ("--gene-column", "gene_key="),
    ("--min-overlap", "min_overlap="),
    ("--program-names", "program_names="),
    ("give --proteins ", "give protein_key="),
    ("--proteins ", "protein_key="),
    ("`scgraft map --new-programs`", "model.map(adata, new_programs=…)"),
    ("`scgraft map`, or `scgraft train --embed` for a reference", "scgraft.tl.map(adata, model)"),
    ("`scgraft map`", "model.map(adata)"),
    ("`map` or `train --embed` wrote", "scgraft.tl.map wrote"),
    ("`scgraft models` lists them", "scgraft.models() lists them"),
    ("`scgraft annotate`", "scgraft.tl.annotate"),
    ("`scgraft predict`", "model.predict"),
    ("--across", "across="),
    ("--set ", "settings "),
];

/// A message with Python's words in it.
pub fn spoken(message: &str) -> String {
    WORDS.iter().fold(message.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}
