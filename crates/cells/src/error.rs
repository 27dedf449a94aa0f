//! What can be wrong with the data: where, what was expected, what was found, what to do.

use crate::advice::{Hint, Setting, counted};
use crate::frame::missing_words_told;

/// Everything this crate refuses.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CellsError {
    /// A gene set has no name.
    #[error("gene set number {} has no name; give every set a name of its own", position + 1)]
    UnnamedGeneSet {
        /// Its position among the sets, from 0.
        position: usize,
    },
    /// Two gene sets have one name.
    #[error(
        "two gene sets are named `{name}` (numbers {} and {}); rename one, or leave one of the files out",
        first + 1,
        second + 1
    )]
    DuplicateProgram {
        /// The name.
        name: String,
        /// Position of the first, from 0.
        first: usize,
        /// Position of the second, from 0.
        second: usize,
    },
    /// No gene set is large enough over the genes of the data.
    #[error(
        "none of {n_sets} gene sets has {min_genes} or more genes of the data (the nearest: {best}). \
         The sets write genes as `{set_gene}`, the data as `{data_gene}`: if these are different kinds of names, \
         choose another gene column or another gene-set file; otherwise lower the minimum size{}",
        after_semicolon(hint)
    )]
    NoPrograms {
        /// How many sets were given.
        n_sets: usize,
        /// The fewest genes allowed.
        min_genes: usize,
        /// The set with the most genes found.
        best: String,
        /// A gene as the sets write it.
        set_gene: String,
        /// A gene as the data writes it.
        data_gene: String,
        /// What would find more of them; empty where nothing would.
        hint: Box<Hint>,
    },
    /// Gene sets that are named as genes are and hold what are no genes: columns that were read as lines.
    #[error(
        "{n} of {n_sets} gene sets have the name of a gene, such as `{name}`: the file seems to hold a set a column, or a \
         line a gene. Turn the table so that a line is a set, or end the name of a file with a set a column in .gmx"
    )]
    SetsInColumns {
        /// How many.
        n: usize,
        /// Of how many.
        n_sets: usize,
        /// One of them.
        name: String,
    },
    /// A gene name stands for more than one gene.
    #[error(
        "{slot}: {} more than once: {} (for example positions {} and {}); \
         make gene names unique, or name a column of `var` that is unique",
        counted(*n, "gene name occurs", "gene names occur"),
        shortened(names, *n),
        example.0,
        example.1
    )]
    DuplicateGenes {
        /// Where the names stand.
        slot: String,
        /// Some of the names.
        names: Vec<String>,
        /// How many names are repeated.
        n: usize,
        /// Two positions of the first of them, from 0.
        example: (usize, usize),
    },
    /// Genes without a name.
    #[error(
        "{slot}: {} no name (the first at position {first}); \
         name them, drop them, or name a column of `var` that is filled",
        counted(*n, "gene has", "genes have")
    )]
    EmptyGeneNames {
        /// Where the names stand.
        slot: String,
        /// How many.
        n: usize,
        /// Position of the first, from 0.
        first: usize,
    },
    /// The slot asked for is not there.
    #[error("the data has no {slot}; it has: {}{}", listed(available), after_semicolon(hint))]
    MissingSlot {
        /// What was asked for.
        slot: String,
        /// What there is.
        available: Vec<String>,
        /// Which of it would do; empty where nothing would.
        hint: Hint,
    },
    /// A matrix does not fit its tables.
    #[error("{slot} is {} × {}, but its tables name {} cells and {} genes", found.0, found.1, expected.0, expected.1)]
    Shape {
        /// Which matrix.
        slot: String,
        /// Rows and columns the tables call for.
        expected: (usize, usize),
        /// Rows and columns there are.
        found: (usize, usize),
    },
    /// There is no cell, or no gene.
    #[error("there are no {what} to work with")]
    Nothing {
        /// `cells` or `genes`.
        what: &'static str,
    },
    /// Expression that is not in memory could not be read.
    #[error("the expression could not be read: {what}")]
    Rows {
        /// What went wrong, and where.
        what: String,
    },
    /// A table has no such column.
    #[error("`{table}` has no column `{name}`; its columns, nearest name first: {}", listed(available))]
    MissingColumn {
        /// `obs`, `var`, `raw.var` or `obsm`.
        table: String,
        /// The column asked for.
        name: String,
        /// The columns there are, nearest name first.
        available: Vec<String>,
    },
    /// A column that must be filled is empty for some cells.
    #[error(
        "column `{column}` of `obs` is empty for {}: {}{}; fill them in, or drop these cells",
        counted(*n, "cell", "cells"),
        shortened(cells, *n),
        taken_as_missing(words)
    )]
    MissingValues {
        /// The column.
        column: String,
        /// Texts that count as missing, and in how many cells each stands.
        words: Vec<(String, usize)>,
        /// How many cells.
        n: usize,
        /// The first of them.
        cells: Vec<String>,
    },
    /// A continuous covariate holds something that is no number.
    #[error(
        "column `{column}` of `obs` holds no numbers (cell `{cell}`: `{value}`); use it as a categorical covariate"
    )]
    NotNumeric {
        /// The column.
        column: String,
        /// The first such cell.
        cell: String,
        /// What it holds.
        value: String,
    },
    /// Several columns joined would give one name to different conditions.
    #[error(
        "joined with `{separator}`, columns {columns:?} of `obs` give `{name}` to different conditions; rename the values"
    )]
    AmbiguousCondition {
        /// The columns.
        columns: Vec<String>,
        /// What stands between their values.
        separator: &'static str,
        /// The name that stands for two conditions.
        name: String,
    },
    /// A value that is not a number, or is infinite.
    #[error(
        "{slot} holds {value} at cell `{cell}`, gene `{gene}` ({}); replace or drop them",
        counted(*n, "such value", "such values")
    )]
    NotFinite {
        /// Which matrix.
        slot: String,
        /// The first such cell.
        cell: String,
        /// The first such gene.
        gene: String,
        /// The value.
        value: f32,
        /// How many.
        n: usize,
    },
    /// Nothing but zeros.
    #[error(
        "{slot} holds nothing but 0 in all {n_cells} cells and {n_genes} genes to work with{}",
        after_semicolon(remedy)
    )]
    AllZero {
        /// Which matrix.
        slot: String,
        /// How many cells.
        n_cells: usize,
        /// How many genes.
        n_genes: usize,
        /// What to do.
        remedy: Hint,
    },
    /// A protein that some cells of a condition have a count of and others have not.
    #[error(
        "{slot}: protein `{protein}` has no value in cell `{cell}` of condition `{condition}`, but in other cells of it; a \
         protein that was not measured has to be empty in all cells of a condition: fill it, or give these cells a \
         condition of their own"
    )]
    PartlyMeasured {
        /// Where.
        slot: String,
        /// The protein.
        protein: String,
        /// The condition.
        condition: String,
        /// The first such cell.
        cell: String,
    },
    /// Raw counts were needed.
    #[error(
        "{slot} must hold raw counts (whole numbers, none negative), but cell `{cell}`, gene `{gene}` has {value} \
         ({} among {n_stored} stored); {remedy}",
        counted(*n, "such value", "such values")
    )]
    NotCounts {
        /// Which matrix.
        slot: String,
        /// The first such cell.
        cell: String,
        /// The first such gene.
        gene: String,
        /// The value.
        value: f32,
        /// How many.
        n: usize,
        /// Among how many.
        n_stored: usize,
        /// What to do.
        remedy: Box<Hint>,
    },
    /// Too few genes of the model are in the data.
    #[error(
        "only {found} of the model's {n_model} genes ({:.1} %) are in the data; at least {:.0} % are required. \
         Missing: {}. {hint}",
        100.0 * *found as f64 / (*n_model).max(1) as f64,
        100.0 * required,
        shortened(missing, n_model - found)
    )]
    LowOverlap {
        /// Genes of the model that the data has.
        found: usize,
        /// Genes of the model.
        n_model: usize,
        /// The share required.
        required: f64,
        /// The genes missing.
        missing: Vec<String>,
        /// What to try.
        hint: Hint,
    },
    /// The covariates are not those the model was trained with.
    #[error("the model was trained with the {what} covariates {expected:?}, not {found:?}; name the same, or none")]
    CovariatesDiffer {
        /// `categorical` or `continuous`.
        what: &'static str,
        /// The model's.
        expected: Vec<String>,
        /// Those asked for.
        found: Vec<String>,
    },
    /// Labels that the model does not know.
    #[error(
        "column `{column}` of obs: {} labels that the model does not know: {}; it knows {}. Rename them, \
         empty them (an empty value means unlabelled), or leave the labels out",
        counted(*n, "cell has", "cells have"), names.join(", "), known.join(", ")
    )]
    UnknownLabels {
        /// The column.
        column: String,
        /// How many cells.
        n: usize,
        /// The labels, or some of them.
        names: Vec<String>,
        /// What the model knows.
        known: Vec<String>,
    },
    /// Too few cells or genes to rank genes by their variability.
    #[error(
        "batch `{batch}` ({}, {}) is too small to rank genes in; \
         leave its cells out, or take all genes, or those of a list",
        counted(*n_cells, "cell", "cells"),
        counted(*n_genes, "gene that varies", "genes that vary")
    )]
    TooSmallToRank {
        /// The batch.
        batch: String,
        /// Its cells.
        n_cells: usize,
        /// Genes that vary in it.
        n_genes: usize,
    },
    /// No name is of a pattern.
    #[error(
        "no program is named `{pattern}` (`*` stands for any text, `?` for any letter); nearest name first: {}",
        listed(nearest)
    )]
    NoSuchName {
        /// The pattern.
        pattern: String,
        /// The names, nearest first.
        nearest: Vec<String>,
    },
    /// A table of orthologs has no column with the names that are to be turned, or with those they are to become.
    #[error(
        "no column of the table of orthologs has names of {of} (such as `{example}`); its columns: {}",
        columns.join(", ")
    )]
    Orthologs {
        /// Whose names.
        of: &'static str,
        /// One of them.
        example: String,
        /// The columns, each with an example.
        columns: Vec<String>,
    },
    /// A table of orthologs does not say how well its pairs are supported.
    #[error(
        "the table of orthologs does not say how well its pairs are supported (a column of support, confidence or \
         identity), which the rule `best` goes by; take the rule one-to-one or all"
    )]
    NoOrthologSupport,
    /// Proteins that are written otherwise than the model writes them.
    #[error(
        "{slot} has none of the model's {n} proteins by name, but some of them written otherwise: {alike}; rename them"
    )]
    ProteinNames {
        /// Where.
        slot: String,
        /// How many the model has.
        n: usize,
        /// Which is which.
        alike: String,
    },
    /// A setting that has to be a share.
    #[error("expected a share from 0 to 1")]
    NoShare {
        /// The setting, with its value.
        setting: [Setting; 1],
    },
    /// An option is out of its range.
    #[error("{what} must be {expected}, not {found}")]
    Option {
        /// Which.
        what: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What was given.
        found: String,
    },
}

impl CellsError {
    /// The settings that would help; may be none.
    pub fn settings(&self) -> &[Setting] {
        match self {
            CellsError::NoShare { setting } => setting,
            CellsError::NoPrograms { hint, .. } | CellsError::NotCounts { remedy: hint, .. } => &hint.settings,
            CellsError::MissingSlot { hint, .. }
            | CellsError::LowOverlap { hint, .. }
            | CellsError::AllZero { remedy: hint, .. } => &hint.settings,
            _ => &[],
        }
    }
}

/// At most five of `n` names, quoted, then how many more there are.
pub fn shortened<S: AsRef<str>>(names: &[S], n: usize) -> String {
    let mut out: Vec<String> = names.iter().take(5).map(|n| format!("`{}`", n.as_ref())).collect();
    if n > out.len() {
        out.push(format!("and {} more", n - out.len()));
    }
    out.join(", ")
}

/// Says which texts count as missing, where there are any but empty ones.
fn taken_as_missing(words: &[(String, usize)]) -> String {
    let words: Vec<(String, usize)> = words.iter().filter(|(word, _)| !word.trim().is_empty()).cloned().collect();
    match words.is_empty() {
        true => String::new(),
        false => format!(" (these words count as missing: {})", missing_words_told(&words)),
    }
}

/// A hint after `; `, or nothing.
fn after_semicolon(hint: &Hint) -> String {
    if hint.is_empty() { String::new() } else { format!("; {hint}") }
}

/// Names that are listed; the nearest come first.
const LISTED: usize = 12;

/// Every name, quoted, of many the first; `none` where there is none.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    // A slot may have its name quoted already: layer `counts`.
    let quoted = |n: &String| if n.contains('`') { n.clone() } else { format!("`{n}`") };
    let mut out: Vec<String> = names.iter().take(LISTED).map(quoted).collect();
    if names.len() > LISTED {
        out.push(format!("and {} more", names.len() - LISTED));
    }
    out.join(", ")
}
