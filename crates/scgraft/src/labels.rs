//! Labels of two data sets that are not spelt alike: names are mapped, and what then has no counterpart is counted and named.

use std::collections::{BTreeMap, BTreeSet};

use scgraft_cells::Column;

/// What labels of a query are called in the reference: old names and their new ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Renamed(pub BTreeMap<String, String>);

impl Renamed {
    /// A column with the names of the reference; as it is where nothing is renamed.
    pub fn column(&self, column: &Column) -> Column {
        if self.0.is_empty() { column.clone() } else { Column::Text(self.texts(column)) }
    }

    /// The labels of a column with the names of the reference; `None` where a cell has none.
    pub fn texts(&self, column: &Column) -> Vec<Option<String>> {
        let new = |label: String| self.0.get(&label).cloned().unwrap_or(label);
        column.labels().into_iter().map(|label| label.map(new)).collect()
    }

    /// The old names that no cell has: a misspelt one would change nothing.
    pub fn unused(&self, column: &Column) -> Vec<&str> {
        let there: BTreeSet<String> = column.labels().into_iter().flatten().collect();
        self.0.keys().filter(|old| !there.contains(*old)).map(String::as_str).collect()
    }
}

/// How the labels of a query meet those that a reference or a model knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// Cells with a label that is known.
    pub counted: usize,
    /// Cells with a label.
    pub labelled: usize,
    /// The other labels, those of most cells first: name, cells, and the known names most like it.
    pub without: Vec<(String, usize, Vec<String>)>,
}

/// Names shown beside a label that has no counterpart.
const NEAREST: usize = 2;

impl Match {
    /// Compares labels, as the reference would call them, with the known ones.
    pub fn of<S: AsRef<str>>(labels: &[Option<String>], known: &[S]) -> Match {
        let known: Vec<&str> = known.iter().map(S::as_ref).collect();
        let mut cells: BTreeMap<&str, usize> = BTreeMap::new();
        labels.iter().flatten().for_each(|l| *cells.entry(l.as_str()).or_default() += 1);
        let labelled: usize = cells.values().sum();
        let mut without: Vec<(String, usize, Vec<String>)> = cells
            .into_iter()
            .filter(|(name, _)| !known.contains(name))
            .map(|(name, n)| (name.to_owned(), n, nearest(name, &known)))
            .collect();
        without.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let counted = labelled - without.iter().map(|w| w.1).sum::<usize>();
        Match { counted, labelled, without }
    }
}

/// The known names most like a label. Words count, those that begin alike (`Mono`, `Monocytes`) nearly as much as equal
/// ones, and for little the letters that a short name takes from a long one (`Mk`, `Megakaryocytes`).
fn nearest(name: &str, known: &[&str]) -> Vec<String> {
    let mut ranked: Vec<(f64, &str)> = known.iter().map(|k| (likeness(name, k), *k)).collect();
    ranked.retain(|r| r.0 > 0.0);
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    ranked.into_iter().take(NEAREST).map(|r| r.1.to_owned()).collect()
}

fn likeness(a: &str, b: &str) -> f64 {
    let words = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase();
        lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect()
    };
    let (a, b) = (words(a), words(b));
    let alike = |x: &str, y: &str| {
        let (short, long) = if x.len() <= y.len() { (x, y) } else { (y, x) };
        let mut rest = long.chars();
        if short == long {
            1.0
        } else if short.chars().count() > 1 && long.starts_with(short) && !short.ends_with(|c: char| c.is_ascii_digit())
        {
            0.8
        } else if short.chars().count() > 1
            && long.chars().next() == short.chars().next()
            && short.chars().all(|c| rest.any(|r| r == c))
        {
            0.3
        } else {
            0.0
        }
    };
    let best = |of: &[String], among: &[String]| -> f64 {
        of.iter().map(|x| among.iter().map(|y| alike(x, y)).fold(0f64, f64::max)).sum()
    };
    (best(&a, &b) + best(&b, &a)) / (a.len() + b.len()).max(1) as f64
}

/// How labels agree with given ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Share of the cells with the given label.
    pub accuracy: f64,
    /// The mean over given labels of the share of their cells that got them (balanced accuracy).
    pub by_type: f64,
    /// The mean over given labels of F1 = 2 TP / (2 TP + FP + FN); a wrong label counts as FP where it is given to a cell
    /// too.
    pub f1: f64,
}

impl Agreement {
    /// Of (given, carried over), one a cell; NaN without a cell.
    pub fn of(pairs: &[(usize, usize)]) -> Agreement {
        let mut counts: BTreeMap<usize, [usize; 3]> = BTreeMap::new();
        pairs.iter().for_each(|&(given, _)| _ = counts.entry(given).or_default());
        for &(given, got) in pairs {
            if given == got {
                counts.entry(given).or_default()[0] += 1;
                continue;
            }
            counts.entry(given).or_default()[2] += 1;
            if let Some(of) = counts.get_mut(&got) {
                of[1] += 1;
            }
        }
        let mean = |value: fn(&[usize; 3]) -> f64| counts.values().map(value).sum::<f64>() / counts.len() as f64;
        Agreement {
            accuracy: pairs.iter().filter(|p| p.0 == p.1).count() as f64 / pairs.len() as f64,
            by_type: mean(|&[right, _, lost]| right as f64 / (right + lost) as f64),
            f1: mean(|&[right, wrong, lost]| 2.0 * right as f64 / (2 * right + wrong + lost) as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] = ["B", "CD14+ Monocytes", "CD4 T", "CD8 T", "FCGR3A+ Monocytes", "Megakaryocytes"];

    #[test]
    fn the_nearest_name_is_what_a_reader_would_take() {
        for (name, expected) in
            [("CD14 Mono", "CD14+ Monocytes"), ("CD4 Naive T", "CD4 T"), ("B Activated", "B"), ("Mk", "Megakaryocytes")]
        {
            assert_eq!(nearest(name, &KNOWN)[0], expected, "{name}");
        }
        assert!(nearest("Eryth", &KNOWN).is_empty());
    }

    #[test]
    fn labels_without_counterpart_are_counted_and_named() {
        let labels: Vec<Option<String>> =
            ["B", "CD14 Mono", "CD14 Mono", "Eryth"].iter().map(|l| Some((*l).to_owned())).chain([None]).collect();
        let found = Match::of(&labels, &KNOWN);
        assert_eq!((found.counted, found.labelled), (1, 4));
        assert_eq!(found.without[0].0, "CD14 Mono");
        assert_eq!(found.without[0].1, 2);
        let map = [("CD14 Mono", "CD14+ Monocytes"), ("Eryth", "B"), ("Eryt", "B")];
        let renamed = Renamed(map.map(|(old, new)| (old.to_owned(), new.to_owned())).into());
        let column = Column::Text(labels);
        assert_eq!(Match::of(&renamed.texts(&column), &KNOWN), Match { counted: 4, labelled: 4, without: Vec::new() });
        assert_eq!(renamed.unused(&column), ["Eryt"]);
    }

    #[test]
    fn agreement_is_that_of_scikit_learn() {
        // accuracy_score, balanced_accuracy_score and f1_score(average="macro") of these pairs.
        let pairs = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (1, 0), (2, 2), (2, 1)];
        let found = Agreement::of(&pairs);
        assert!((found.accuracy - 0.625).abs() < 1e-12, "{found:?}");
        assert!((found.by_type - (2.0 / 3.0 + 2.0 / 3.0 + 0.5) / 3.0).abs() < 1e-12, "{found:?}");
        assert!((found.f1 - (2.0 / 3.0 + 4.0 / 7.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12, "{found:?}");
        assert!(Agreement::of(&[]).accuracy.is_nan());
    }
}
