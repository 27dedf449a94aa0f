//! Gene programs: named sets of genes, laid over the genes of a data set.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use scgraft_numeric::names::nearest_first;

use crate::{CellsError, Turned};

/// The fewest genes a program keeps in the expiMap paper ("more than 12", Lotfollahi et al. 2023, Methods).
pub const PAPER_MIN_GENES: usize = 13;

/// A named set of genes, as a GMT line holds it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GeneSet {
    /// The full name; never cut.
    pub name: String,
    /// What the file says about the set, often an address.
    pub description: Option<String>,
    /// Gene names in the file's order, as the file writes them.
    pub genes: Vec<String>,
}

/// How the genes of a set are matched with the genes of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum GeneCase {
    /// As written: `CD8A` is not `Cd8a`.
    Exact,
    /// Upper and lower case are the same: `CD8A` is `Cd8a`. Brings human sets to mouse data and
    /// mouse sets to human data by symbol. An exact match wins where two genes of the data differ in case only.
    #[default]
    Upper,
    /// The set's names are written the mouse way (first letter large, the rest small) and matched exactly.
    /// For data that holds both species; for mouse data alone, `Upper` finds more (`H2-Ab1`).
    Title,
}

/// What [`GenePrograms::new`] keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramOptions {
    /// How names are matched.
    pub case: GeneCase,
    /// The fewest genes of the data a program must hold, itself included. The default is the paper's,
    /// [`PAPER_MIN_GENES`]. (The `min_genes` of scArches is exclusive: its 12 is 13 here.)
    pub min_genes: usize,
    /// The most genes of the data a program may hold; no limit by default.
    pub max_genes: Option<usize>,
}

impl Default for ProgramOptions {
    fn default() -> Self {
        ProgramOptions { case: GeneCase::default(), min_genes: PAPER_MIN_GENES, max_genes: None }
    }
}

/// Why a gene set is not among the programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Fewer genes of the data than `min_genes`.
    TooFew {
        /// The fewest allowed.
        min_genes: usize,
    },
    /// More genes of the data than `max_genes`.
    TooMany {
        /// The most allowed.
        max_genes: usize,
    },
}

/// A gene set that did not become a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedProgram {
    /// Its name.
    pub name: String,
    /// Distinct genes in the set.
    pub n_genes: usize,
    /// Of these, genes that the data has.
    pub n_found: usize,
    /// Why it was dropped.
    pub reason: DropReason,
}

impl fmt::Display for DroppedProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {} of its {} genes are in the data, ", self.name, self.n_found, self.n_genes)?;
        match self.reason {
            DropReason::TooFew { min_genes } => write!(f, "fewer than {min_genes}"),
            DropReason::TooMany { max_genes } => write!(f, "more than {max_genes}"),
        }
    }
}

/// Gene programs over a list of genes: the binary matrix B (gene × program) of expiMap, by column.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GenePrograms {
    /// Full names, in the order the sets came.
    pub names: Vec<String>,
    /// What the files said about each program.
    pub descriptions: Vec<Option<String>>,
    /// The genes of each program: positions in `genes`, increasing.
    pub members: Vec<Vec<u32>>,
    /// The genes the positions refer to.
    pub genes: Vec<String>,
    /// The sets that were left out, and why.
    pub dropped: Vec<DroppedProgram>,
    /// What became of the genes of the sets, where they are of another species.
    pub turned: Option<Turned>,
}

impl GenePrograms {
    /// Lays gene sets over `genes`.
    ///
    /// A gene that stands twice in a set counts once; a set with too few or too many genes of the data is
    /// left out and reported in [`GenePrograms::dropped`].
    ///
    /// # Errors
    /// A set without a name; two sets of one name; sets named as genes are, of what are no genes; a gene twice in `genes`;
    /// nothing left to work with.
    pub fn new(sets: &[GeneSet], genes: &[String], options: &ProgramOptions) -> Result<Self, CellsError> {
        check_names(sets)?;
        let lookup = GeneLookup::new(genes, options.case)?;
        check_lines(sets, &lookup)?;
        let mut out = GenePrograms { genes: genes.to_vec(), ..GenePrograms::default() };
        for set in sets {
            let distinct: HashSet<&str> = set.genes.iter().map(String::as_str).collect();
            let mut members: Vec<u32> = distinct.iter().filter_map(|g| lookup.find(g)).collect();
            members.sort_unstable();
            members.dedup();
            let reason = if members.len() < options.min_genes.max(1) {
                Some(DropReason::TooFew { min_genes: options.min_genes.max(1) })
            } else {
                options
                    .max_genes
                    .filter(|&most| members.len() > most)
                    .map(|max_genes| DropReason::TooMany { max_genes })
            };
            match reason {
                Some(reason) => out.dropped.push(DroppedProgram {
                    name: set.name.clone(),
                    n_genes: distinct.len(),
                    n_found: members.len(),
                    reason,
                }),
                None => {
                    out.names.push(set.name.clone());
                    out.descriptions.push(set.description.clone());
                    out.members.push(members);
                }
            }
        }
        if out.names.is_empty() {
            return Err(CellsError::NoPrograms {
                n_sets: sets.len(),
                min_genes: options.min_genes.max(1),
                best: out.dropped.iter().max_by_key(|d| d.n_found).map(ToString::to_string).unwrap_or_default(),
                set_gene: sets.iter().flat_map(|s| &s.genes).next().cloned().unwrap_or_default(),
                data_gene: genes.first().cloned().unwrap_or_default(),
                hint: Box::default(),
            });
        }
        Ok(out)
    }

    /// Number of programs.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no program.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The position of the program of that name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// The names of the genes of program `j`.
    pub fn gene_names(&self, j: usize) -> impl Iterator<Item = &str> {
        self.members[j].iter().map(|&g| self.genes[g as usize].as_str())
    }

    /// In how many programs each gene is.
    pub fn programs_per_gene(&self) -> Vec<u32> {
        let mut n = vec![0; self.genes.len()];
        for &g in self.members.iter().flatten() {
            n[g as usize] += 1;
        }
        n
    }

    /// Genes in at least one program, increasing: what the paper keeps before it chooses variable genes.
    pub fn genes_in_programs(&self) -> Vec<u32> {
        (0u32..).zip(self.programs_per_gene()).filter(|&(_, n)| n > 0).map(|(g, _)| g).collect()
    }
}

/// Whether a name is of a pattern, in which `*` stands for any text and `?` for any letter.
pub fn is_of_pattern(name: &str, pattern: &str) -> bool {
    let (name, pattern): (Vec<char>, Vec<char>) = (name.chars().collect(), pattern.chars().collect());
    // Where the text after the last `*` is being tried, and how much that `*` has taken.
    let (mut n, mut p, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (n, p) = (n + 1, p + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (n, p) = (taken + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Which of `names` are of one of the patterns `only` (of all where there are none) and of none of `exclude`.
///
/// # Errors
/// A pattern that no name is of; patterns that leave nothing.
pub fn choose_names(names: &[&str], only: &[String], exclude: &[String]) -> Result<Vec<bool>, CellsError> {
    let of = |name: &str, patterns: &[String]| patterns.iter().any(|p| is_of_pattern(name, p));
    if let Some(pattern) = only.iter().chain(exclude).find(|p| !names.iter().any(|n| is_of_pattern(n, p))) {
        return Err(CellsError::NoSuchName { pattern: pattern.clone(), nearest: nearest_first(pattern, names) });
    }
    let kept: Vec<bool> = names.iter().map(|n| (only.is_empty() || of(n, only)) && !of(n, exclude)).collect();
    match kept.contains(&true) || names.is_empty() {
        true => Ok(kept),
        false => Err(CellsError::Nothing { what: "programs that the patterns leave" }),
    }
}

/// Gene sets whose names are chosen as [`choose_names`] does.
///
/// # Errors
/// Of [`choose_names`].
pub fn choose_sets(sets: Vec<GeneSet>, only: &[String], exclude: &[String]) -> Result<Vec<GeneSet>, CellsError> {
    let names: Vec<&str> = sets.iter().map(|s| s.name.as_str()).collect();
    let kept = choose_names(&names, only, exclude)?;
    Ok(sets.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(set, _)| set).collect())
}

/// Refuses columns that were read as lines: most names are of genes (as regulons' are too), but the first line, which is then
/// that of the names and the widest, holds none, or no line does.
fn check_lines(sets: &[GeneSet], lookup: &GeneLookup) -> Result<(), CellsError> {
    let Some((first, rest)) = sets.split_first().filter(|(_, rest)| rest.len() > 1) else { return Ok(()) };
    let is_gene = |name: &String| lookup.find(name).is_some();
    let without = |set: &GeneSet| !set.genes.iter().any(is_gene);
    let is_heading =
        first.genes.len() > 1 && !is_gene(&first.name) && rest.iter().all(|set| set.genes.len() <= first.genes.len());
    if !without(first) || !(is_heading || rest.iter().all(without)) {
        return Ok(());
    }
    let named: Vec<&GeneSet> = sets.iter().filter(|set| is_gene(&set.name)).collect();
    match named.first() {
        Some(set) if 2 * named.len() > sets.len() => {
            Err(CellsError::SetsInColumns { n: named.len(), n_sets: sets.len(), name: set.name.clone() })
        }
        _ => Ok(()),
    }
}

fn check_names(sets: &[GeneSet]) -> Result<(), CellsError> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, set) in sets.iter().enumerate() {
        if set.name.trim().is_empty() {
            return Err(CellsError::UnnamedGeneSet { position: i });
        }
        if let Some(first) = seen.insert(&set.name, i) {
            return Err(CellsError::DuplicateProgram { name: set.name.clone(), first, second: i });
        }
    }
    Ok(())
}

/// Finds a set's gene in the data.
struct GeneLookup<'a> {
    exact: HashMap<&'a str, u32>,
    folded: HashMap<String, u32>,
    case: GeneCase,
}

impl<'a> GeneLookup<'a> {
    fn new(genes: &'a [String], case: GeneCase) -> Result<Self, CellsError> {
        let mut exact = HashMap::with_capacity(genes.len());
        let mut folded = HashMap::new();
        for (i, gene) in (0u32..).zip(genes) {
            if let Some(first) = exact.insert(gene.as_str(), i) {
                return Err(CellsError::DuplicateGenes {
                    slot: "gene list".into(),
                    names: vec![gene.clone()],
                    n: 1,
                    example: (first as usize, i as usize),
                });
            }
            if case == GeneCase::Upper {
                folded.entry(gene.to_uppercase()).or_insert(i);
            }
        }
        Ok(GeneLookup { exact, folded, case })
    }

    fn find(&self, gene: &str) -> Option<u32> {
        match self.case {
            GeneCase::Exact => self.exact.get(gene).copied(),
            GeneCase::Upper => self.exact.get(gene).or_else(|| self.folded.get(&gene.to_uppercase())).copied(),
            GeneCase::Title => self.exact.get(title(gene).as_str()).copied(),
        }
    }
}

/// `CD8A` as mouse symbols are written: `Cd8a`.
fn title(gene: &str) -> String {
    let mut letters = gene.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, genes: &[&str]) -> GeneSet {
        GeneSet { name: name.into(), description: None, genes: genes.iter().map(|&g| g.into()).collect() }
    }

    fn genes(names: &[&str]) -> Vec<String> {
        names.iter().map(|&g| g.into()).collect()
    }

    fn any_size(case: GeneCase) -> ProgramOptions {
        ProgramOptions { case, min_genes: 1, max_genes: None }
    }

    #[test]
    fn members_are_sorted_positions_without_repeats() {
        let sets = [set("a", &["G3", "G1", "G3", "absent"])];
        let programs = GenePrograms::new(&sets, &genes(&["G0", "G1", "G2", "G3"]), &any_size(GeneCase::Exact)).unwrap();
        assert_eq!(programs.members, vec![vec![1, 3]]);
        assert_eq!(programs.genes_in_programs(), vec![1, 3]);
    }

    #[test]
    fn columns_that_were_read_as_lines_are_refused() {
        let data = genes(&["A", "B", "C", "D", "E", "F"]);
        let new = |sets: &[GeneSet]| GenePrograms::new(sets, &data, &any_size(GeneCase::Exact));
        // Three sets of two genes, a set a column, the names in the first line.
        let columns = [set("S1", &["S2", "S3"]), set("A", &["B", "C"]), set("D", &["E", "F"])];
        let error = new(&columns).unwrap_err();
        assert!(matches!(error, CellsError::SetsInColumns { n: 2, n_sets: 3, .. }), "{error}");
        // A table of 0 and 1 with a line a set.
        let table = [set("A", &["S1"]), set("B", &["S1", "S2"]), set("C", &["S2"])];
        assert!(matches!(new(&table), Err(CellsError::SetsInColumns { n: 3, .. })));
        // Regulons have the names of genes, too.
        let regulons = [set("A", &["X", "B"]), set("C", &["D", "E"]), set("F", &["A", "X"])];
        assert_eq!(new(&regulons).unwrap().len(), 3);
    }

    #[test]
    fn case_is_handled_as_asked() {
        let mouse = genes(&["Cd8a", "H2-Ab1", "CD8A"]);
        let found = |case, gene: &str| {
            GenePrograms::new(&[set("s", &[gene])], &mouse, &any_size(case)).map(|p| p.members[0].clone()).ok()
        };
        assert_eq!(found(GeneCase::Exact, "CD8A"), Some(vec![2]));
        assert_eq!(found(GeneCase::Upper, "CD8A"), Some(vec![2]), "an exact match wins");
        assert_eq!(found(GeneCase::Title, "CD8A"), Some(vec![0]));
        assert_eq!(found(GeneCase::Upper, "H2-AB1"), Some(vec![1]));
        assert_eq!(found(GeneCase::Exact, "H2-AB1"), None);
        assert_eq!(found(GeneCase::Title, "H2-AB1"), None);
    }

    #[test]
    fn sizes_are_inclusive_and_the_dropped_are_reported() {
        let sets = [set("one", &["A"]), set("two", &["A", "B"]), set("three", &["A", "B", "C"])];
        let options = ProgramOptions { case: GeneCase::Exact, min_genes: 2, max_genes: Some(2) };
        let programs = GenePrograms::new(&sets, &genes(&["A", "B", "C"]), &options).unwrap();
        assert_eq!(programs.names, ["two"]);
        assert_eq!(programs.dropped[0].reason, DropReason::TooFew { min_genes: 2 });
        assert_eq!(programs.dropped[1].to_string(), "`three`: 3 of its 3 genes are in the data, more than 2");
    }

    #[test]
    fn patterns_choose_names() {
        for (name, pattern, is) in [
            ("REACTOME_TCR", "REACTOME_*", true),
            ("REACTOME_TCR", "*TCR", true),
            ("REACTOME_TCR", "*T?R*", true),
            ("REACTOME_TCR", "TCR", false),
            ("REACTOME_TCR", "REACTOME_TC", false),
            ("a*b", "a*b", true),
            ("aXbXc", "a*b*c", true),
            ("aXbX", "a*b*c", false),
            ("", "*", true),
            ("", "?", false),
        ] {
            assert_eq!(is_of_pattern(name, pattern), is, "{name} {pattern}");
        }
        let texts = |p: &[&str]| p.iter().map(|&t| t.to_owned()).collect::<Vec<String>>();
        let sets = || vec![set("R_A", &["A"]), set("R_B", &["A"]), set("H_A", &["A"])];
        let chosen = |only: &[&str], exclude: &[&str]| {
            choose_sets(sets(), &texts(only), &texts(exclude))
                .map(|s| s.into_iter().map(|s| s.name).collect::<Vec<_>>())
        };
        assert_eq!(chosen(&[], &["R_*"]).unwrap(), ["H_A"]);
        assert_eq!(chosen(&["*_A"], &["H_*"]).unwrap(), ["R_A"]);
        assert_eq!(chosen(&[], &[]).unwrap().len(), 3);
        assert!(chosen(&[], &["X*"]).unwrap_err().to_string().contains("`X*`"));
        assert!(matches!(chosen(&["R_*"], &["R_*"]), Err(CellsError::Nothing { .. })));
    }

    #[test]
    fn long_names_stay_whole_and_apart() {
        let stem = "REACTOME_A_NAME_LONGER_THAN_THIRTY_CHARACTERS";
        let sets = [set(&format!("{stem}_1"), &["A"]), set(&format!("{stem}_2"), &["A"])];
        let programs = GenePrograms::new(&sets, &genes(&["A"]), &any_size(GeneCase::Exact)).unwrap();
        assert_eq!(programs.names[1], format!("{stem}_2"));
    }

    #[test]
    fn bad_sets_are_refused() {
        let data = genes(&["A"]);
        let with = |sets: &[GeneSet]| GenePrograms::new(sets, &data, &any_size(GeneCase::Exact)).unwrap_err();
        assert!(matches!(with(&[set("x", &["A"]), set("x", &["A"])]), CellsError::DuplicateProgram { .. }));
        assert!(matches!(with(&[set(" ", &["A"])]), CellsError::UnnamedGeneSet { position: 0 }));
        assert!(matches!(with(&[set("x", &["B"])]), CellsError::NoPrograms { .. }));
        let twice = GenePrograms::new(&[set("x", &["A"])], &genes(&["A", "A"]), &any_size(GeneCase::Exact));
        assert!(matches!(twice, Err(CellsError::DuplicateGenes { .. })));
    }
}
