//! Genes of another species: a table of orthologs turns the names of one into those of the other.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use crate::{CellsError, GeneNames, GeneSet};

/// Which pairs of a table of orthologs count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrthologRule {
    /// Pairs in which either gene has no other partner. Where the table gives the type of a pair, only pairs that it calls
    /// one-to-one are looked at.
    #[default]
    OneToOne,
    /// Pairs in which each gene is the other's best supported partner, and no second one is as good (reciprocal best).
    Best,
    /// Every pair. Counts of several genes that become one are summed; a gene that would become several has no place in a
    /// matrix and is left out. In gene sets every ortholog joins.
    All,
}

impl OrthologRule {
    /// Every rule with its name.
    pub const ALL: [(OrthologRule, &'static str); 3] =
        [(OrthologRule::OneToOne, "one-to-one"), (OrthologRule::Best, "best"), (OrthologRule::All, "all")];
}

impl FromStr for OrthologRule {
    type Err = CellsError;

    fn from_str(text: &str) -> Result<Self, CellsError> {
        let found = OrthologRule::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(rule, _)| rule).ok_or_else(|| CellsError::Option {
            what: "the rule for orthologs",
            expected: "one-to-one, best or all",
            found: text.to_owned(),
        })
    }
}

/// A table of orthologs: a pair of genes a row, each gene under one or several kinds of names.
///
/// Which column holds which species is told from the names that are to be turned, so a table serves both ways.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Orthologs {
    /// Columns of names, all of one length: what a column is called, and its entries, empty where there is none.
    pub columns: Vec<(String, Vec<String>)>,
    /// Whether a row is one-to-one, where the table says so.
    pub one_to_one: Option<Vec<bool>>,
    /// How well a row is supported, more is better, where the table says so.
    pub support: Option<Vec<f64>>,
    /// Which rows count.
    pub rule: OrthologRule,
    /// Whether names of which the table knows none are taken as they are: it was made for other cells, perhaps.
    pub optional: bool,
}

/// What became of names that were to be turned: of a query, the genes of the model; of gene sets, their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// Found through the table.
    pub turned: usize,
    /// Not in the table, and taken as they are written.
    pub as_written: usize,
    /// With orthologs on the other side, none of which the rule allows.
    pub ambiguous: usize,
    /// Without an ortholog on the other side.
    pub lost: usize,
    /// Of a query: its genes and those of the model that they became; `None` where a gene must not be matched by its name.
    pub pairs: Vec<(String, Option<String>)>,
}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} genes turned by orthologs, {} taken as written; {} have orthologs but none that the rule allows, {} have none here",
            self.turned, self.as_written, self.ambiguous, self.lost
        )
    }
}

/// A table for two lists of names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dictionary {
    /// What a name becomes; empty where the table has the name and the rule allows no partner.
    to: HashMap<String, Vec<String>>,
    /// Names that some pair of the table leads to, allowed or not.
    reached: HashSet<String>,
    /// Names that some pair leads from, to a name that is there.
    leads: HashSet<String>,
}

impl Dictionary {
    /// What a name becomes; `None` where the table does not have it.
    pub fn of(&self, name: &str) -> Option<&[String]> {
        self.to.get(name).map(Vec::as_slice)
    }

    /// Whether a pair of the table leads to this name from one that is there.
    pub fn reaches(&self, name: &str) -> bool {
        self.reached.contains(name)
    }
}

impl Orthologs {
    /// Gene sets named as `genes`, which `names` has been applied to. A gene that the table does not have stays as it is.
    ///
    /// # Errors
    /// A table without a column that has names of the sets, or of `genes`; [`OrthologRule::Best`] without support.
    pub fn of_sets(
        &self,
        sets: &[GeneSet],
        genes: &[String],
        names: &GeneNames,
    ) -> Result<(Vec<GeneSet>, Turned), CellsError> {
        let mut sets = names.of_sets(sets);
        let own: BTreeSet<String> = sets.iter().flat_map(|s| s.genes.iter().cloned()).collect();
        let own: Vec<String> = own.into_iter().collect();
        let dictionary = self.between(("the gene sets", &own), genes, names)?;
        let there: HashSet<&str> = genes.iter().map(String::as_str).collect();
        let mut told = Turned::default();
        for gene in &own {
            match dictionary.of(gene) {
                None => told.as_written += 1,
                Some(to) if to.iter().any(|g| there.contains(g.as_str())) => told.turned += 1,
                Some([]) if dictionary.leads.contains(gene) => told.ambiguous += 1,
                Some(_) => told.lost += 1,
            }
        }
        for set in &mut sets {
            let turned = |gene: String| dictionary.of(&gene).map(<[String]>::to_vec).unwrap_or_else(|| vec![gene]);
            set.genes = std::mem::take(&mut set.genes).into_iter().flat_map(turned).collect();
        }
        Ok((sets, told))
    }

    /// The table between two lists of names, of which `names` has been applied to both. Where both are of one column,
    /// nothing is turned.
    pub(crate) fn between(
        &self,
        (what, from): (&'static str, &[String]),
        to: &[String],
        names: &GeneNames,
    ) -> Result<Dictionary, CellsError> {
        let columns: Vec<Vec<String>> =
            self.columns.iter().map(|(_, column)| column.iter().map(|n| names.apply(n)).collect()).collect();
        let from_there: HashSet<&str> = from.iter().map(String::as_str).collect();
        let to_there: HashSet<&str> = to.iter().map(String::as_str).collect();
        let best = |there: &HashSet<&str>, what: &'static str, example: &[String]| {
            let of = |column: &Vec<String>| {
                column.iter().map(String::as_str).filter(|n| there.contains(n)).collect::<HashSet<_>>().len()
            };
            // Of columns that have as many, the first.
            let counts: Vec<usize> = columns.iter().map(of).collect();
            let most = counts.iter().copied().max().unwrap_or(0);
            counts.iter().position(|&n| n == most && n > 0).ok_or_else(|| CellsError::Orthologs {
                of: what,
                example: example.iter().find(|n| !n.is_empty()).cloned().unwrap_or_default(),
                columns: self.examples(),
            })
        };
        let found =
            best(&from_there, what, from).and_then(|a| Ok((a, best(&to_there, "the genes they are to become", to)?)));
        let (a, b) = match found {
            Err(_) if self.optional => (0, 0),
            found => found?,
        };
        if a == b {
            return Ok(Dictionary::default());
        }
        let row = |i: usize| (columns[a][i].as_str(), columns[b][i].as_str());
        let full = (0..columns[a].len()).filter(|&i| !row(i).0.is_empty() && !row(i).1.is_empty());
        let rows: Vec<usize> = full.collect();
        let mut out = Dictionary::default();
        out.to.extend(columns[a].iter().filter(|n| !n.is_empty()).map(|n| (n.clone(), Vec::new())));
        for &i in &rows {
            let (f, t) = row(i);
            if from_there.contains(f) {
                out.reached.insert(t.to_owned());
            }
            if to_there.contains(t) {
                out.leads.insert(f.to_owned());
            }
        }
        let mut allowed: Vec<(&str, &str)> = match self.rule {
            OrthologRule::OneToOne => {
                let typed = self.one_to_one.as_ref();
                let pairs: BTreeSet<_> =
                    rows.iter().filter(|&&i| typed.is_none_or(|t| t[i])).map(|&i| row(i)).collect();
                let (mut forth, mut back) = (HashMap::new(), HashMap::new());
                for (f, t) in &pairs {
                    *forth.entry(*f).or_insert(0) += 1;
                    *back.entry(*t).or_insert(0) += 1;
                }
                pairs.into_iter().filter(|(f, t)| forth[f] == 1 && back[t] == 1).collect()
            }
            OrthologRule::Best => {
                let support = self.support.as_ref().ok_or(CellsError::NoOrthologSupport)?;
                reciprocal_best(rows.iter().map(|&i| (row(i), support[i])))
            }
            OrthologRule::All => rows.iter().map(|&i| row(i)).collect(),
        };
        allowed.sort_unstable();
        allowed.dedup();
        for (f, t) in allowed {
            if let Some(list) = out.to.get_mut(f) {
                list.push(t.to_owned());
            }
        }
        Ok(out)
    }

    /// Every column with a name in it, for an error.
    fn examples(&self) -> Vec<String> {
        let example = |(name, column): &(String, Vec<String>)| {
            let first = column.iter().find(|n| !n.is_empty()).map_or("nothing", String::as_str);
            format!("`{name}` with `{first}`")
        };
        self.columns.iter().map(example).collect()
    }
}

/// Pairs in which either is the other's single best.
fn reciprocal_best<'a>(rows: impl Iterator<Item = ((&'a str, &'a str), f64)>) -> Vec<(&'a str, &'a str)> {
    // The best support of a pair, where it stands several times.
    let mut pairs: HashMap<(&str, &str), f64> = HashMap::new();
    for (pair, support) in rows.filter(|(_, s)| !s.is_nan()) {
        pairs.entry(pair).and_modify(|s| *s = s.max(support)).or_insert(support);
    }
    let best = |side: &dyn Fn(&(&'a str, &'a str)) -> &'a str| {
        let mut best: HashMap<&str, (f64, usize)> = HashMap::new();
        for (pair, &support) in &pairs {
            let (most, times) = best.entry(side(pair)).or_insert((f64::NEG_INFINITY, 0));
            match support.total_cmp(most) {
                std::cmp::Ordering::Greater => (*most, *times) = (support, 1),
                std::cmp::Ordering::Equal => *times += 1,
                std::cmp::Ordering::Less => {}
            }
        }
        best
    };
    let (forth, back) = (best(&|p| p.0), best(&|p| p.1));
    pairs.iter().filter(|&(p, &s)| forth[p.0] == (s, 1) && back[p.1] == (s, 1)).map(|(p, _)| *p).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    /// Human and mouse: one pair, one human gene with two mouse genes, two human genes with one, one without partner.
    fn table(rule: OrthologRule) -> Orthologs {
        let human = texts(&["CD8A", "CCL4", "CCL4", "HLA-A", "HLA-B", "IL8"]);
        let mouse = texts(&["Cd8a", "Ccl4", "Ccl4b", "H2-K1", "H2-K1", ""]);
        Orthologs {
            columns: vec![("human".into(), human), ("mouse".into(), mouse)],
            one_to_one: None,
            support: Some(vec![5.0, 4.0, 2.0, 3.0, 3.0, 0.0]),
            rule,
            optional: false,
        }
    }

    fn turned(rule: OrthologRule, gene: &str) -> Option<Vec<String>> {
        let mouse = texts(&["Cd8a", "Ccl4", "Ccl4b", "H2-K1", "Gfp"]);
        let human = texts(&["CD8A", "CCL4", "HLA-A", "HLA-B", "IL8", "GFP"]);
        let found = table(rule).between(("the data", &mouse), &human, &GeneNames::default()).unwrap();
        found.of(gene).map(<[String]>::to_vec)
    }

    #[test]
    fn rules_allow_what_they_say() {
        use OrthologRule::{All, Best, OneToOne};
        for rule in [OneToOne, Best, All] {
            assert_eq!(turned(rule, "Cd8a").unwrap(), ["CD8A"]);
            assert_eq!(turned(rule, "Gfp"), None, "not in the table");
        }
        let empty: [&str; 0] = [];
        // Of two mouse genes of CCL4 the better one is its partner; of two human genes of H2-K1 neither is better.
        assert_eq!(turned(OneToOne, "Ccl4").unwrap(), empty);
        assert_eq!(turned(Best, "Ccl4").unwrap(), ["CCL4"]);
        assert_eq!(turned(Best, "Ccl4b").unwrap(), empty);
        assert_eq!(turned(Best, "H2-K1").unwrap(), empty);
        assert_eq!(turned(All, "Ccl4b").unwrap(), ["CCL4"]);
        assert_eq!(turned(All, "H2-K1").unwrap(), ["HLA-A", "HLA-B"]);
    }

    #[test]
    fn types_of_the_table_come_before_its_counts() {
        // CCL4 has one partner of type one-to-one; the other row is of another type.
        let table = Orthologs {
            one_to_one: Some(vec![true, true, false, false, false, false]),
            ..table(OrthologRule::OneToOne)
        };
        let (mouse, human) = (texts(&["Ccl4", "Ccl4b"]), texts(&["CCL4"]));
        let found = table.between(("the data", &mouse), &human, &GeneNames::default()).unwrap();
        assert_eq!(found.of("Ccl4").unwrap(), ["CCL4"]);
        assert!(found.of("Ccl4b").unwrap().is_empty());
    }

    #[test]
    fn sets_are_turned_either_way_and_counted() {
        let set = |genes: &[&str]| vec![GeneSet { name: "s".into(), description: None, genes: texts(genes) }];
        let mouse = texts(&["Cd8a", "Ccl4", "Ccl4b", "H2-K1"]);
        let human = set(&["CD8A", "CCL4", "HLA-A", "IL8", "XYZ"]);
        let (sets, told) = table(OrthologRule::OneToOne).of_sets(&human, &mouse, &GeneNames::default()).unwrap();
        assert_eq!(sets[0].genes, ["Cd8a", "XYZ"]);
        assert_eq!((told.turned, told.as_written, told.ambiguous, told.lost), (1, 1, 2, 1));
        let (sets, told) = table(OrthologRule::All).of_sets(&human, &mouse, &GeneNames::default()).unwrap();
        assert_eq!(sets[0].genes, ["Cd8a", "Ccl4", "Ccl4b", "H2-K1", "XYZ"]);
        assert_eq!((told.turned, told.ambiguous), (3, 0));
        let of_mouse = set(&["Cd8a", "Ccl4"]);
        let back =
            table(OrthologRule::All).of_sets(&of_mouse, &texts(&["CD8A", "CCL4"]), &GeneNames::default()).unwrap();
        assert_eq!(back.0[0].genes, ["CD8A", "CCL4"]);
        // Sets of the data's own species stay as they are.
        let same = table(OrthologRule::OneToOne).of_sets(&of_mouse, &mouse, &GeneNames::default()).unwrap();
        assert_eq!(same.0, of_mouse);
    }

    #[test]
    fn a_table_of_other_names_is_refused() {
        let ids = texts(&["ENSMUSG00000053977"]);
        let error = table(OrthologRule::OneToOne).between(("the data", &ids), &texts(&["CD8A"]), &GeneNames::default());
        let message = error.unwrap_err().to_string();
        assert!(message.contains("the data") && message.contains("ENSMUSG00000053977"), "{message}");
        assert!(message.contains("`mouse` with `Cd8a`"), "{message}");
        let bare = Orthologs { support: None, ..table(OrthologRule::Best) };
        let found = bare.between(("the data", &texts(&["Cd8a"])), &texts(&["CD8A"]), &GeneNames::default());
        assert!(matches!(found, Err(CellsError::NoOrthologSupport)));
        assert!("most".parse::<OrthologRule>().is_err());
    }
}
