//! Errors of the library as Python's, in words of Python.

use pyo3::exceptions::{PyFileNotFoundError, PyKeyboardInterrupt, PyValueError};
use pyo3::{PyErr, create_exception};
use scgraft::Error;
use scgraft::io;
use scgraft::models::ModelError;

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
    let words = match error.refused().and_then(argument) {
        Some(argument) => refused(&error, argument),
        None => error.to_string() + &remedy(&error),
    };
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
    if let settings @ [_, ..] = error.settings() {
        return arguments(settings.iter().map(|s| (s.name, s.value.as_deref())));
    }
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
        Error::OtherStart { .. } => "; leave start= out".into(),
        Error::NotAnnotated { .. } => "; carry them over with scgraft.tl.annotate(adata, reference)".into(),
        Error::NoValue { name, known } => format!("; nearest name first: {}", scgraft::numeric::names::listed(name, &known.iter().map(String::as_str).collect::<Vec<_>>())),
        Error::ReferenceLacks { .. } => "; compare with all of its cells (versus=\"reference\"), or leave the reference out".into(),
        Error::OtherReference { .. } => "; map the query onto that model with scgraft.tl.map".into(),
        Error::TwoScales { .. } => "; choose a slot that holds the same in both (layer=, use_raw=True)".into(),
        Error::NoCheckpoint { .. } => "; name another (checkpoint=)".into(),
        Error::NoProgramSets => "; give the gene sets that the model was trained with".into(),
        Error::NoBatch { there, .. } => format!(" to be the query; there are: {}", shown(there)),
        Error::TwoDecompositions { .. } => {
            "; leave before= out (components of the counts of both are made), or put one embedding of all cells into both"
                .into()
        }
        Error::Of { source, .. } => remedy(source),
        Error::NewConditions { .. } => "; map these cells with model.map(adata) or scgraft.tl.map(adata, model)".into(),
        Error::UnknownName { what, known, .. } => format!("; its {what}s: {}", shown(known)),
        Error::Model(error) if matches!(**error, ModelError::Unread { .. }) => " (scgraft.models() lists them)".into(),
        _ => String::new(),
    }
}

/// The argument of a setting that errors call so.
fn argument(name: &str) -> Option<&'static str> {
    Some(match name {
        "k" | "neighbours" => "n_neighbors",
        "neighbours of kBET" => "kbet_neighbors",
        "neighbours of LISI" => "lisi_neighbors",
        "recall" => "approximate",
        "components" => "n_comps",
        "epochs" => "max_epochs",
        "free" => "n_free_programs",
        "new_programs" => "new_programs",
        "samples" => "n_samples",
        "marginal" => "n_marginal_samples",
        "effect size" => "delta",
        "false discovery rate" => "fdr",
        "false alarms" => "false_alarms",
        "unknown_above" => "unknown",
        "library size" => "library_size",
        "batch size" => "batch_size",
        "learning rate" => "lr",
        "weight decay" => "weight_decay",
        "train fraction" => "train_size",
        "samples per label" => "samples_per_label",
        "coverage" => "coverage",
        "resolution" => "resolution",
        "min_dist" => "min_dist",
        "spread" => "spread",
        "pseudocount" => "pseudocount",
        "thinning" => "thinning",
        _ => return None,
    })
}

/// An error about a setting, told of the argument.
fn refused(error: &Error, argument: &str) -> String {
    use scgraft::analysis::Error as Analysis;
    match error {
        Error::Analysis(Analysis::Parameter { value, expected, .. }) => {
            format!("{argument}={value}: expected {expected}")
        }
        Error::Analysis(Analysis::TooManyNeighbours { k, available }) => {
            format!("{argument}={k}: expected at most {available}, the cells to choose from")
        }
        Error::Beyond { value, most, .. } => format!("{argument}={value}: expected more than 0 and at most {most}"),
        other => format!("{other} ({argument}=)"),
    }
}

/// Settings as arguments, in brackets.
pub fn arguments<'s>(settings: impl Iterator<Item = (&'s str, Option<&'s str>)>) -> String {
    let one = |(name, value): (&str, Option<&str>)| {
        let name = match name {
            "raw" => return "use_raw=True".to_owned(),
            "gene_column" => "gene_key",
            "proteins" => "protein_key",
            "protein_names" => "protein_names_key",
            other => other,
        };
        value.map_or(format!("{name}="), |value| format!("{name}={value:?}"))
    };
    format!(" ({})", settings.map(one).collect::<Vec<_>>().join(", "))
}
