//! What a user of the command line can do about an error of the library.

use scgraft::cells::CellsError;
use scgraft::models::ModelError;
use scgraft::{Error, io};

use super::input::nearest_first;

/// The options that help, as the end of a sentence; empty where the error says all there is to say.
pub(crate) fn remedy(error: &Error) -> String {
    let nearest = |name: &str, known: &[String]| {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        nearest_first(name, &known)
    };
    if let settings @ [_, ..] = error.settings() {
        return options(settings.iter().map(|s| (s.name, s.value.as_deref())));
    }
    if let Some(name) = error.refused().and_then(flag) {
        return options(std::iter::once((name, None)));
    }
    match error {
        Error::WhichCondition { columns, there, .. } => format!(
            "; give --condition COLUMN (there are: {}), or --condition-name NAME when all cells are one batch",
            nearest(columns.first().map_or("", String::as_str), there)
        ),
        Error::NoEmbedding { .. } => {
            "; make it with `scgraft map`, or `scgraft train --embed` for a reference".to_owned()
        }
        Error::NoDirection { programs: true, .. } => "; map the query (or embed the reference) again".to_owned(),
        Error::NoDirection { .. } => "; leave --direction out".to_owned(),
        Error::NotCounts { .. } => {
            "; choose the slot with counts (--layer, --raw), or say --log-normalised for log1p values".to_owned()
        }
        Error::NoCheckpoint { .. } => "; name another (--checkpoint)".to_owned(),
        Error::NoProgramSets => "; give the file that the model was trained with".to_owned(),
        Error::NoBatch { name, there, .. } => {
            format!(" to be the --query; nearest name first: {}", nearest(name, there))
        }
        Error::TwoDecompositions { .. } => {
            "; leave --before out (components of the counts of both files are made), or \
             put one embedding of all cells into both files"
                .to_owned()
        }
        Error::NoValue { name, known } => format!("; nearest name first: {}", nearest(name, known)),
        Error::ReferenceLacks { .. } => {
            "; compare with all of its cells (--versus reference), or leave --reference out".to_owned()
        }
        Error::OtherStart { .. } => "; leave --from out".to_owned(),
        Error::NotAnnotated { .. } => "; run `scgraft annotate` first".to_owned(),
        Error::OtherReference { .. } => "; map the query onto that model with `scgraft map`".to_owned(),
        Error::TwoScales { .. } => "; choose a slot that holds the same in both (--layer, --raw)".to_owned(),
        Error::Of { source, .. } => remedy(source),
        Error::NewConditions { .. } => ". Map these cells with `scgraft map`".to_owned(),
        Error::UnknownName { what, name, known, .. } => {
            format!("; its {what}s, nearest name first: {}", nearest(name, known))
        }
        Error::Io(io::Error::Unkept { .. }) => " (--drop-unreadable)".to_owned(),
        Error::Cells(error) if matches!(**error, CellsError::TooSmallToRank { .. }) => {
            " (--all-genes, or --genes-from FILE)".to_owned()
        }
        Error::Model(error) if matches!(**error, ModelError::Unread { .. }) => {
            " (`scgraft models` lists them)".to_owned()
        }
        Error::Model(error) if matches!(**error, ModelError::NoLibrarySize) => " (--own-library)".to_owned(),
        Error::Model(error) if matches!(**error, ModelError::NoAdaptor(_)) => {
            " (--surgery first-layers, --surgery all)".to_owned()
        }
        _ => String::new(),
    }
}

/// The option of a setting that errors call so, where it has one of another name or stands in no settings of a model.
fn flag(name: &str) -> Option<&str> {
    Some(match name {
        "recall" => "approximate",
        "effect size" => "delta",
        "false discovery rate" => "fdr",
        "false alarms" => "false_alarms",
        "unknown_above" => "unknown",
        "neighbours" => "k",
        "neighbours of kBET" => "kbet_k",
        "neighbours of LISI" => "lisi_k",
        "library size" => "library_size",
        "batch size" => "batch_size",
        "learning rate" => "learning_rate",
        "weight decay" => "weight_decay",
        "train fraction" => "train_fraction",
        "k" | "coverage" | "resolution" | "min_dist" | "spread" | "epochs" | "components" | "free" | "new_programs"
        | "samples" | "marginal" | "pseudocount" | "thinning" => name,
        _ => return None,
    })
}

/// Settings as options, in brackets.
pub(crate) fn options<'s>(settings: impl Iterator<Item = (&'s str, Option<&'s str>)>) -> String {
    let one = |(name, value): (&str, Option<&str>)| {
        let option = format!("--{}", name.replace('_', "-"));
        match value {
            None => option,
            Some(value) if value.contains(char::is_whitespace) => format!("{option} '{value}'"),
            Some(value) => format!("{option} {value}"),
        }
    };
    format!(" ({})", settings.map(one).collect::<Vec<_>>().join(" "))
}
