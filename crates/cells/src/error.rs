//! What can be wrong with the data: where, what was expected, what was found, what to do.

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
         choose another gene column or another gene-set file; otherwise lower the minimum size"
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
    },
    /// A gene name stands for more than one gene.
    #[error(
        "{slot}: {n} gene name(s) occur more than once: {} (for example rows {} and {}); \
         make gene names unique or name a column of `var` that is unique",
        shortened(names),
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
        /// Two positions of the first of them.
        example: (usize, usize),
    },
}

/// At most five names, quoted, then how many more.
pub(crate) fn shortened<S: AsRef<str>>(names: &[S]) -> String {
    let mut out: Vec<String> = names.iter().take(5).map(|n| format!("`{}`", n.as_ref())).collect();
    if names.len() > out.len() {
        out.push(format!("and {} more", names.len() - out.len()));
    }
    out.join(", ")
}
