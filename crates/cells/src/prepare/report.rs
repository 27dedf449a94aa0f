//! What preparation found on the way.

use std::fmt;

use crate::Turned;
use crate::advice::{Hint, Setting, counted};
use crate::error::shortened;
use crate::frame::missing_words_told;

/// What was filled in, what is new, and what a user should know.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PrepareReport {
    /// Genes of the model that the data lacks; they are 0.
    pub missing_genes: Vec<String>,
    /// Genes of the model.
    pub n_model_genes: usize,
    /// What became of the model's genes, where a table of orthologs was used.
    pub orthologs: Option<Turned>,
    /// Conditions of these cells that the model knows.
    pub known_conditions: Vec<String>,
    /// Conditions of these cells that are new; for a reference, all.
    pub new_conditions: Vec<String>,
    /// Things that are allowed but seldom meant.
    pub warnings: Vec<Warning>,
}

impl PrepareReport {
    /// The share of the model's genes that the data has, 0 to 1.
    pub fn overlap(&self) -> f64 {
        let found = self.n_model_genes - self.missing_genes.len();
        found as f64 / self.n_model_genes.max(1) as f64
    }
}

/// Conditions of few cells that are told one by one.
const FEW_TOLD: usize = 3;

impl PrepareReport {
    /// The warnings in words, one line a kind: many conditions of few cells are one.
    ///
    /// With each the settings that would help.
    pub fn told(&self) -> Vec<(String, Vec<Setting>)> {
        let few: Vec<&str> = (self.warnings.iter())
            .filter_map(|w| if let Warning::FewCells { condition, .. } = w { Some(condition.as_str()) } else { None })
            .collect();
        let many = few.len() > FEW_TOLD;
        let one_by_one = |w: &&Warning| !(many && matches!(w, Warning::FewCells { .. }));
        let told = |w: &Warning| (w.to_string(), w.settings());
        let mut out: Vec<(String, Vec<Setting>)> = self.warnings.iter().filter(one_by_one).map(told).collect();
        if many {
            let told = format!(
                "{} conditions have only a few cells each: {}; what is learnt for them will be uncertain (is this the column \
                 of the batch?)",
                few.len(),
                shortened(&few, few.len())
            );
            out.push((told, Vec::new()));
        }
        out
    }
}

/// Something allowed but seldom meant. Names are those of the first few; `n` counts all.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Genes of the model that the data lacks.
    MissingGenes {
        /// How many.
        n: usize,
        /// Of how many genes of the model.
        n_model: usize,
        /// Some of them.
        names: Vec<String>,
        /// What would find more of them; empty where nothing would.
        hint: Hint,
    },
    /// Counts that are not whole.
    NotWhole {
        /// Which matrix.
        slot: String,
        /// How many values.
        n: usize,
        /// Of how many that are stored.
        n_stored: usize,
        /// Whether they were rounded.
        rounded: bool,
    },
    /// A label that often means that there is none.
    LooksUnlabelled {
        /// The column.
        column: String,
        /// The label.
        label: String,
        /// How many cells have it.
        n: usize,
    },
    /// Proteins of the data that the model does not know.
    ExtraProteins {
        /// How many.
        n: usize,
        /// Some of them.
        names: Vec<String>,
    },
    /// Cells without a count in any gene of the model.
    EmptyCells {
        /// How many.
        n: usize,
        /// Some of them.
        names: Vec<String>,
    },
    /// A condition with few cells.
    FewCells {
        /// The condition.
        condition: String,
        /// Its cells.
        n: usize,
    },
    /// Cell names that are not unique.
    DuplicateCells {
        /// How many names are repeated.
        n: usize,
        /// Some of them.
        names: Vec<String>,
    },
    /// Gene names of the data that are empty or repeated, none of which the model uses.
    UnusedGeneNames {
        /// How many.
        n: usize,
        /// Which matrix.
        slot: String,
    },
    /// Log-normalised values were asked for, but all values are whole numbers.
    LooksLikeCounts {
        /// Which matrix.
        slot: String,
        /// The largest value.
        max: f32,
    },
    /// Log-normalised values were asked for, but some are negative, as after scaling.
    Negative {
        /// Which matrix.
        slot: String,
        /// How many.
        n: usize,
        /// The smallest.
        min: f32,
    },
    /// Texts in a column that count as missing.
    MissingWords {
        /// The column.
        column: String,
        /// The texts, and in how many cells each stands.
        words: Vec<(String, usize)>,
    },
    /// Proteins of the model that the data lacks.
    MissingProteins {
        /// How many.
        n: usize,
        /// Some of them.
        names: Vec<String>,
        /// Which of them are written otherwise, in words; may be empty.
        alike: String,
        /// What would find them.
        hint: Hint,
    },
}

impl Warning {
    /// The settings that would help; may be none.
    pub fn settings(&self) -> Vec<Setting> {
        match self {
            Warning::MissingGenes { hint, .. } | Warning::MissingProteins { hint, .. } => hint.settings.clone(),
            Warning::NotWhole { rounded: false, .. } => vec![Setting::to("fractions", "round")],
            Warning::LooksUnlabelled { label, .. } => vec![Setting::to("unlabelled", label)],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::MissingGenes { n, n_model, names, hint } => {
                write!(
                    f,
                    "{n} of the model's {n_model} genes ({:.1} %) are not in the data and count as 0, as if no cell expressed them: {}",
                    100.0 * *n as f64 / (*n_model).max(1) as f64,
                    shortened(names, *n)
                )?;
                if hint.is_empty() { Ok(()) } else { write!(f, ". {hint}") }
            }
            Warning::NotWhole { slot, n, n_stored, rounded } => {
                write!(f, "{slot}: {n} of {n_stored} counts are not whole, as after a correction; ")?;
                f.write_str(match rounded {
                    true => "they are rounded",
                    false => "they are taken as they are (they can be rounded)",
                })
            }
            Warning::LooksUnlabelled { column, label, n } => write!(
                f,
                "column `{column}` of obs: the label `{label}` ({}) is taken for a cell type; if it means that a \
                 cell has none, say so",
                counted(*n, "cell", "cells")
            ),
            Warning::ExtraProteins { n, names } => {
                write!(
                    f,
                    "{} not used, as the model does not know of them: {}",
                    counted(*n, "protein of the data is", "proteins of the data are"),
                    shortened(names, *n)
                )
            }
            Warning::EmptyCells { n, names } => {
                write!(
                    f,
                    "{} no count in any gene of the model: {}; consider dropping them",
                    counted(*n, "cell has", "cells have"),
                    shortened(names, *n)
                )
            }
            Warning::FewCells { condition, n } => {
                let cells = counted(*n, "cell", "cells");
                write!(f, "condition `{condition}` has only {cells}; what is learnt for it will be uncertain")
            }
            Warning::DuplicateCells { n, names } => {
                let occur = counted(*n, "cell name occurs", "cell names occur");
                write!(f, "{occur} more than once: {}; results are by row", shortened(names, *n))
            }
            Warning::UnusedGeneNames { n, slot } => {
                let names = counted(*n, "gene name that is", "gene names that are");
                write!(f, "{slot} has {names} empty or repeated; the model uses none of them")
            }
            Warning::LooksLikeCounts { slot, max } => write!(
                f,
                "{slot} was to hold log-normalised values but holds whole numbers up to {max}: these look like raw \
                 counts; normalise them first, or use a model for counts"
            ),
            Warning::Negative { slot, n, min } => write!(
                f,
                "{slot} was to hold log-normalised values but {n} of them are negative (down to {min}), as after scaling"
            ),
            Warning::MissingWords { column, words } => {
                write!(f, "column `{column}` of obs: these words count as missing: {}", missing_words_told(words))
            }
            Warning::MissingProteins { n, names, alike, hint } => {
                let proteins = counted(*n, "protein of the model is", "proteins of the model are");
                write!(f, "{proteins} not in the data: {}", shortened(names, *n))?;
                if !alike.is_empty() {
                    write!(f, "; some are written otherwise there: {alike}; rename them")?;
                }
                if hint.is_empty() { Ok(()) } else { write!(f, ". {hint}") }
            }
        }
    }
}
