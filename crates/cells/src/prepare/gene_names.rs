//! Names of genes that differ by a trifle: which trifles are looked past, and what would match if they were.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use crate::{CellsError, GeneSet};

/// One difference that is looked past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameRule {
    /// Blanks and quotes around a name.
    Trim,
    /// What stands for a genome or a modality before a name: `GRCh38_`, `mm10___`, `rna:`.
    StripPrefix,
    /// Of an identifier and a symbol in one (`ENSG00000141510_TP53`), the symbol.
    Symbol,
    /// Of an identifier and a symbol in one, the identifier.
    Id,
    /// A version: a dot and a number at the end.
    StripVersion,
    /// What parts a name: `.` and `_` are as `-`. R writes `HLA.A` for `HLA-A`, Seurat `-` for `_`.
    Punctuation,
    /// Upper and lower case.
    Upper,
}

impl NameRule {
    /// Every rule, in the order in which they are applied.
    pub const ALL: [NameRule; 7] = [
        NameRule::Trim,
        NameRule::StripPrefix,
        NameRule::Symbol,
        NameRule::Id,
        NameRule::StripVersion,
        NameRule::Punctuation,
        NameRule::Upper,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            NameRule::Trim => "trim",
            NameRule::StripPrefix => "strip-prefix",
            NameRule::Symbol => "symbol",
            NameRule::Id => "id",
            NameRule::StripVersion => "strip-version",
            NameRule::Punctuation => "punctuation",
            NameRule::Upper => "upper",
        }
    }

    fn apply(self, name: &str) -> String {
        match self {
            NameRule::Trim => {
                let blank = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '\u{feff}' | '\u{200b}');
                // Bytes of Python as text: `b'CD8A'`.
                let bytes = name.strip_prefix("b'").and_then(|rest| rest.strip_suffix('\''));
                bytes.unwrap_or(name).trim_matches(blank).to_owned()
            }
            NameRule::StripPrefix => name[prefix_length(name)..].to_owned(),
            NameRule::Symbol => id_and_symbol(name).map_or(name, |(_, symbol)| symbol).to_owned(),
            NameRule::Id => id_and_symbol(name).map_or(name, |(id, _)| id).to_owned(),
            NameRule::StripVersion => match name.rsplit_once('.') {
                Some((head, version)) if !head.is_empty() && is_number(version) => head.to_owned(),
                _ => name.to_owned(),
            },
            NameRule::Punctuation => name.replace(['.', '_'], "-"),
            NameRule::Upper => name.to_uppercase(),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Bytes of what stands before a name for a genome or a modality, with what parts it from the name; 0 where nothing does.
fn prefix_length(name: &str) -> usize {
    const MODALITIES: [&str; 8] = ["rna", "gex", "gene", "genes", "adt", "human", "mouse", "gene_expression"];
    if let Some(at) = name.find(':').filter(|&at| at > 0 && at + 1 < name.len()) {
        let word = &name[..at];
        if is_genome(word) || MODALITIES.contains(&word.to_lowercase().as_str()) {
            return at + 1;
        }
    }
    for (at, _) in name.match_indices('_') {
        let rest = name[at..].trim_start_matches('_');
        let word = &name[..at];
        let several = name[at..].len() - rest.len() > 1;
        if rest.is_empty() {
            return 0;
        }
        if is_genome(word) || MODALITIES.contains(&word.to_lowercase().as_str()) || (several && at > 0) {
            return name.len() - rest.len();
        }
    }
    // Seurat writes every `_` as `-`, which genes have themselves: here the word is an assembly and nothing else.
    let word = name.split('-').next().unwrap_or_default();
    let rest = name[word.len()..].trim_start_matches('-');
    let number = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    if !rest.is_empty() && number.len() > 1 && is_number(number) && is_genome(word) {
        return name.len() - rest.len();
    }
    0
}

/// Whether a word names an assembly: `GRCh38`, `hg19`, `mm10`, `GRCm39-2024-A`, `refdata-gex-GRCh38-2020-A`.
fn is_genome(word: &str) -> bool {
    let word = word.to_lowercase();
    if matches!(word.as_str(), "homo_sapiens" | "mus_musculus" | "premrna") {
        return true;
    }
    word.split(['-', '.']).any(|part| {
        ["grch", "grcm", "grcz", "hg", "mm", "rn", "mratbn", "t2t"]
            .iter()
            .any(|stem| part.strip_prefix(stem).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
    })
}

/// An Ensembl identifier and the symbol beside it.
fn id_and_symbol(name: &str) -> Option<(&str, &str)> {
    const BETWEEN: [char; 9] = ['_', '|', ':', ';', ',', ' ', '-', '(', '['];
    let name = name.trim_end_matches([')', ']']);
    let (at, between) = name.char_indices().find(|(_, c)| BETWEEN.contains(c))?;
    let (head, rest) = (&name[..at], &name[at + between.len_utf8()..]);
    if is_ensembl(head) && !rest.is_empty() {
        return Some((head, rest.trim_start_matches(BETWEEN)));
    }
    let (at, between) = name.char_indices().rfind(|(_, c)| BETWEEN.contains(c))?;
    let (head, rest) = (&name[..at], &name[at + between.len_utf8()..]);
    (is_ensembl(rest) && !head.is_empty()).then_some((rest, head.trim_end_matches(BETWEEN)))
}

fn is_ensembl(text: &str) -> bool {
    let id = text.split('.').next().unwrap_or(text);
    let digits = id.trim_start_matches(|c: char| c.is_ascii_uppercase());
    id.starts_with("ENS") && digits.len() >= 6 && is_number(digits)
}

/// The differences that are looked past when genes are matched, in the data's names and in the model's alike.
///
/// ```
/// use scgraft_cells::GeneNames;
/// let names: GeneNames = "strip-version,upper".parse()?;
/// assert_eq!(names.apply("ENSMUSG00000064370.2"), "ENSMUSG00000064370");
/// assert_eq!(names.apply("Cd8a"), "CD8A");
/// # Ok::<(), scgraft_cells::CellsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GeneNames(Vec<NameRule>);

impl GeneNames {
    /// These rules; they are applied in the order of [`NameRule::ALL`].
    pub fn new(rules: impl IntoIterator<Item = NameRule>) -> Self {
        let mut rules: Vec<NameRule> = rules.into_iter().collect();
        rules.sort_unstable();
        rules.dedup();
        GeneNames(rules)
    }

    /// Whether names are taken as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gene sets whose genes are named without what is looked past.
    pub fn of_sets(&self, sets: &[GeneSet]) -> Vec<GeneSet> {
        let mut sets = sets.to_vec();
        if !self.is_empty() {
            sets.iter_mut().flat_map(|set| &mut set.genes).for_each(|gene| *gene = self.apply(gene));
        }
        sets
    }

    /// A name without what is looked past.
    pub fn apply(&self, name: &str) -> String {
        self.0.iter().fold(name.to_owned(), |name, rule| rule.apply(&name))
    }
}

impl fmt::Display for GeneNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|rule| rule.name()).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for GeneNames {
    type Err = CellsError;

    fn from_str(text: &str) -> Result<Self, CellsError> {
        let rules = text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(|word| {
            NameRule::ALL.into_iter().find(|rule| rule.name() == word).ok_or_else(|| CellsError::Option {
                what: "what is looked past in names of genes",
                expected: "some of trim, strip-prefix, symbol, id, strip-version, punctuation, upper, with commas between",
                found: word.to_owned(),
            })
        });
        Ok(GeneNames::new(rules.collect::<Result<Vec<_>, _>>()?))
    }
}

/// Most names of either side that are looked at: more than any species has genes.
const MOST: usize = 1 << 17;

/// The rules that would match the most of `wanted`, the fewest that do, and how many they match; of at most 2¹⁷ names.
///
/// Only distinct genes count: rules that make several names of the data one are of no use there.
pub(super) fn best(wanted: &HashSet<&str>, names: &[String]) -> Option<(GeneNames, usize)> {
    let names = &names[..names.len().min(MOST)];
    let mut found: Option<(GeneNames, usize)> = None;
    let n = NameRule::ALL.len();
    let mut choices: Vec<u32> = (1..1u32 << n).filter(|set| set.count_ones() <= 3).collect();
    choices.sort_by_key(|set| set.count_ones());
    for set in choices {
        let rules = GeneNames::new((0..n).filter(|i| set >> i & 1 == 1).map(|i| NameRule::ALL[i]));
        // An identifier or a symbol, not both.
        if rules.0.contains(&NameRule::Symbol) && rules.0.contains(&NameRule::Id) {
            continue;
        }
        let matched = matching(&rules, wanted, names);
        if found.as_ref().is_none_or(|(_, most)| matched > *most) {
            found = Some((rules, matched));
        }
    }
    found.filter(|(_, n)| *n > 0)
}

/// How many of `wanted` exactly one name of the data matches.
fn matching(rules: &GeneNames, wanted: &HashSet<&str>, names: &[String]) -> usize {
    let mut times: HashMap<String, usize> = HashMap::with_capacity(names.len());
    for name in names {
        *times.entry(rules.apply(name)).or_default() += 1;
    }
    wanted.iter().take(MOST).filter(|gene| times.get(&rules.apply(gene)) == Some(&1)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(rule: &str, name: &str) -> String {
        rule.parse::<GeneNames>().unwrap().apply(name)
    }

    #[test]
    fn trifles_are_taken_off() {
        for name in [
            "GRCh38_CD8A",
            "GRCh38______CD8A",
            "hg19_CD8A",
            "rna:CD8A",
            "GRCh38-2020-A_CD8A",
            "x__CD8A",
            "hg38-CD8A",
            "mm10---CD8A",
        ] {
            assert_eq!(apply("strip-prefix", name), "CD8A", "{name}");
        }
        for name in [
            "CD8A", "HLA-A", "HLA_A", "Y_RNA", "MT-CO1", "mm", "a:b", "mt:CoI", "_", "x__", "hg19_", "hg19-",
            "HG2-AS1", "MM-1",
        ] {
            assert_eq!(apply("strip-prefix", name), name);
        }
        assert_eq!(apply("strip-version", "ENSG00000141510.17"), "ENSG00000141510");
        assert_eq!(apply("strip-version", "RP11-34P13.7a"), "RP11-34P13.7a");
        assert_eq!(apply("trim", " \"CD8A\"\u{a0}"), "CD8A");
        assert_eq!((apply("trim", "b'CD8A'"), apply("trim", "b'")), ("CD8A".into(), "b".into()));
        assert_eq!(apply("punctuation", "HLA.DRB1_x"), "HLA-DRB1-x");
        for name in [
            "ENSG00000141510_TP53",
            "TP53|ENSG00000141510",
            "ENSG00000141510.17_TP53",
            "ENSG00000141510 - TP53",
            "TP53 (ENSG00000141510)",
            "ENSG00000141510 [TP53]",
        ] {
            assert_eq!(apply("symbol", name), "TP53", "{name}");
            assert_eq!(apply("id,strip-version", name), "ENSG00000141510", "{name}");
        }
        assert_eq!(apply("symbol", "HLA-A"), "HLA-A");
        assert_eq!(apply("trim,strip-prefix,strip-version,upper", " mm10___Cd8a.1 "), "CD8A");
        assert!("strip".parse::<GeneNames>().is_err());
        assert_eq!("upper,trim".parse::<GeneNames>().unwrap().to_string(), "trim,upper");
    }

    #[test]
    fn the_fewest_rules_that_match_the_most_are_found() {
        let wanted = HashSet::from(["ENSG00000000001.3", "ENSG00000000002", "ENSG00000000003"]);
        let names = ["ENSG00000000001", "GRCh38_ENSG00000000002.5", "x"].map(str::to_owned);
        let (rules, n) = best(&wanted, &names).unwrap();
        assert_eq!((rules.to_string().as_str(), n), ("strip-prefix,strip-version", 2));
        // Names that fall together match nothing.
        let twins = ["ENSG00000000001.1", "ENSG00000000001.2"].map(str::to_owned);
        assert_eq!(best(&wanted, &twins), None);
    }
}
