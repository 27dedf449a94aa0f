//! A small columnar frame: what `obs` and `var` are.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::Hash;

/// How tables that went through other programs write that there is no value.
const MISSING: [&str; 14] =
    ["NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "NAN", "-nan", "NaT", "NA_character_", "None", "NULL"];

/// Whether a text says that there is no label: empty, blank, or `NA`, `N/A`, `n/a`, `#N/A`, `#NA`, `<NA>`, `NaN`, `nan`,
/// `-nan`, `NaT`, `NA_character_`, `None`, `NULL`.
///
/// CSV files and trips through R turn a missing value into one of these. `none` and `null` are labels: people name
/// treatments and genotypes so.
pub fn is_missing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || MISSING.contains(&text)
}

/// Whether a label is one that people give to cells without a label: `Unknown`, `not_assigned`, `-`.
pub fn means_unlabelled(label: &str) -> bool {
    const WORDS: [&str; 22] = [
        "unknown",
        "unk",
        "unassigned",
        "not assigned",
        "unlabelled",
        "unlabeled",
        "no label",
        "unannotated",
        "not annotated",
        "unclassified",
        "undefined",
        "undetermined",
        "not determined",
        "not available",
        "missing",
        "none",
        "null",
        "na",
        "nd",
        "?",
        "-",
        ".",
    ];
    let plain = label.trim().to_lowercase();
    // Of words, not of a mark alone.
    let words = if plain.len() > 1 { plain.replace(['_', '-', '.'], " ") } else { plain };
    WORDS.contains(&words.trim())
}

/// Words that count as missing with how often each stands there, for a message: `` `NA` (12), an empty text (3) ``.
pub fn missing_words_told(words: &[(String, usize)]) -> String {
    let told = words.iter().map(|(word, n)| match word.trim() {
        "" if word.is_empty() => format!("an empty text ({n})"),
        "" => format!("a blank text ({n})"),
        word => format!("`{word}` ({n})"),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// One column of a [`Frame`]. Missing values are `None`, code −1 or NaN.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Free text.
    Text(Vec<Option<String>>),
    /// Codes into `categories`; −1 is missing.
    Categorical {
        /// One code a row.
        codes: Vec<i32>,
        /// The distinct values, in the file's order.
        categories: Vec<String>,
        /// Whether the order of the categories means something.
        ordered: bool,
    },
    /// Real numbers; NaN is missing.
    Real(Vec<f64>),
    /// Whole numbers.
    Integer(Vec<Option<i64>>),
    /// Truth values.
    Boolean(Vec<Option<bool>>),
}

/// A column coded for a model: each row's level, by number.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Coded {
    /// One code a row, an index into `levels`.
    pub codes: Vec<u32>,
    /// The names of the levels.
    pub levels: Vec<String>,
}

impl Coded {
    /// A level for each text that there is, in the order of their names.
    pub fn of(texts: Vec<String>) -> Coded {
        let levels = distinct(texts.iter().cloned());
        let codes = texts.iter().map(|text| levels.partition_point(|l| l < text) as u32).collect();
        Coded { codes, levels }
    }

    /// The rows named, in the order named; every level stays.
    pub fn select(&self, rows: &[usize]) -> Coded {
        Coded { codes: rows.iter().map(|&row| self.codes[row]).collect(), levels: self.levels.clone() }
    }

    /// The rows of each level, ascending.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.levels.len()];
        self.codes.iter().enumerate().for_each(|(row, &code)| members[code as usize].push(row));
        members
    }
}

impl Column {
    /// Builds a categorical column; the categories are sorted, as pandas does.
    pub fn categorical<S: AsRef<str>>(values: &[S]) -> Column {
        Column::categories(&values.iter().map(Some).collect::<Vec<_>>())
    }

    /// The same; what is missing has no category.
    pub fn categories<S: AsRef<str>>(values: &[Option<S>]) -> Column {
        let categories = distinct(values.iter().flatten().map(|v| v.as_ref().to_owned()));
        let code = |v: &S| categories.binary_search_by(|c| c.as_str().cmp(v.as_ref())).ok();
        let codes = values.iter().map(|v| v.as_ref().and_then(code).map_or(-1, |i| i as i32)).collect();
        Column::Categorical { codes, categories, ordered: false }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Column::Text(v) => v.len(),
            Column::Categorical { codes, .. } => codes.len(),
            Column::Real(v) => v.len(),
            Column::Integer(v) => v.len(),
            Column::Boolean(v) => v.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `i` as text; `None` where missing.
    pub fn text(&self, i: usize) -> Option<String> {
        match self {
            Column::Text(v) => v[i].clone(),
            Column::Categorical { codes, categories, .. } => {
                usize::try_from(codes[i]).ok().and_then(|c| categories.get(c).cloned())
            }
            Column::Real(v) => (!v[i].is_nan()).then(|| v[i].to_string()),
            Column::Integer(v) => v[i].map(|x| x.to_string()),
            Column::Boolean(v) => v[i].map(|x| if x { "True".to_owned() } else { "False".to_owned() }),
        }
    }

    /// Row `i` as a number, where the column has numbers.
    pub fn number(&self, i: usize) -> Option<f64> {
        match self {
            Column::Real(v) => (!v[i].is_nan()).then_some(v[i]),
            Column::Integer(v) => v[i].map(|x| x as f64),
            Column::Boolean(v) => v[i].map(|x| f64::from(u8::from(x))),
            Column::Text(_) | Column::Categorical { .. } => None,
        }
    }

    /// Every row as text; `None` where missing.
    pub fn texts(&self) -> Vec<Option<String>> {
        (0..self.len()).map(|i| self.text(i)).collect()
    }

    /// Row `i` as a label; `None` where missing, also where a text says so ([`is_missing`]).
    pub fn label(&self, i: usize) -> Option<String> {
        self.text(i).filter(|text| !is_missing(text))
    }

    /// Every row as a label; `None` where missing, also where a text says so ([`is_missing`]).
    pub fn labels(&self) -> Vec<Option<String>> {
        (0..self.len()).map(|i| self.label(i)).collect()
    }

    /// The distinct values of a column that has no numbers, each with how many rows have it: most rows first, of as many by
    /// name. Missing values are not among them ([`is_missing`]). `None` for a column of numbers.
    pub fn level_sizes(&self) -> Option<Vec<(String, usize)>> {
        if matches!(self, Column::Real(_) | Column::Integer(_)) {
            return None;
        }
        let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
        self.labels().into_iter().flatten().for_each(|label| *sizes.entry(label).or_default() += 1);
        let mut out: Vec<(String, usize)> = sizes.into_iter().collect();
        out.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        Some(out)
    }

    /// The texts that count as missing, and in how many rows each stands.
    pub fn missing_words(&self) -> Vec<(String, usize)> {
        let mut words: BTreeMap<String, usize> = BTreeMap::new();
        match self {
            Column::Text(v) => {
                for text in v.iter().flatten().filter(|text| is_missing(text)) {
                    *words.entry(text.clone()).or_default() += 1;
                }
            }
            Column::Categorical { codes, categories, .. } => {
                for (i, text) in categories.iter().enumerate().filter(|(_, text)| is_missing(text)) {
                    let n = codes.iter().filter(|&&c| c == i as i32).count();
                    if n > 0 {
                        *words.entry(text.clone()).or_default() += n;
                    }
                }
            }
            Column::Real(_) | Column::Integer(_) | Column::Boolean(_) => {}
        }
        words.into_iter().collect()
    }

    /// The rows named, in the order named. Categories are kept, also those without a row.
    pub fn select(&self, rows: &[usize]) -> Column {
        match self {
            Column::Text(v) => Column::Text(rows.iter().map(|&r| v[r].clone()).collect()),
            Column::Categorical { codes, categories, ordered } => Column::Categorical {
                codes: rows.iter().map(|&r| codes[r]).collect(),
                categories: categories.clone(),
                ordered: *ordered,
            },
            Column::Real(v) => Column::Real(rows.iter().map(|&r| v[r]).collect()),
            Column::Integer(v) => Column::Integer(rows.iter().map(|&r| v[r]).collect()),
            Column::Boolean(v) => Column::Boolean(rows.iter().map(|&r| v[r]).collect()),
        }
    }

    /// Codes the column: levels sorted by name, only those that occur. Texts that say so are missing ([`is_missing`]).
    ///
    /// # Errors
    /// The rows that are missing, when there are any.
    pub fn coded(&self) -> Result<Coded, Vec<usize>> {
        let texts = self.labels();
        let missing: Vec<usize> = (0..texts.len()).filter(|&i| texts[i].is_none()).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        Ok(Coded::of(texts.into_iter().flatten().collect()))
    }
}

/// Each of some texts once, sorted.
pub fn distinct(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    texts.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Each of some things once, in the order they first come.
pub fn each_once<T: Clone + Eq + Hash>(things: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    things.into_iter().filter(|thing| seen.insert(thing.clone())).collect()
}

/// A table with a name for every row: `obs` (rows are cells) or `var` (rows are genes).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Frame {
    /// Row names: cell barcodes, gene names.
    pub index: Vec<String>,
    /// The name of the index itself, when it has one.
    pub index_name: Option<String>,
    /// Columns in the file's order; every column has as many rows as `index`.
    pub columns: Vec<(String, Column)>,
}

impl Frame {
    /// A frame of row names only.
    pub fn new(index: Vec<String>) -> Self {
        Frame { index, index_name: None, columns: Vec::new() }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(n, _)| n == name).map(|(_, c)| c)
    }

    /// The names of the columns, in order.
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|(n, _)| n.as_str()).collect()
    }

    /// Sets a column, replacing one of the same name.
    ///
    /// # Panics
    /// When the column has not one row for each row of the frame.
    pub fn set(&mut self, name: &str, column: Column) {
        assert_eq!(column.len(), self.len(), "column `{name}` against the rows of its frame");
        match self.columns.iter_mut().find(|(n, _)| n == name) {
            Some(slot) => slot.1 = column,
            None => self.columns.push((name.to_owned(), column)),
        }
    }

    /// The rows named, in the order named.
    pub fn select(&self, rows: &[usize]) -> Frame {
        Frame {
            index: rows.iter().map(|&r| self.index[r].clone()).collect(),
            index_name: self.index_name.clone(),
            columns: self.columns.iter().map(|(n, c)| (n.clone(), c.select(rows))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_say_missing_are_no_labels() {
        for text in ["", "  ", "NA", "nan", "NaN", " None ", "<NA>", "N/A", "n/a", "#N/A", "NULL", "NaT"] {
            assert!(is_missing(text), "{text:?}");
        }
        for text in ["none", "null", "naive", "NAT", "0", "Nan cells"] {
            assert!(!is_missing(text), "{text:?}");
        }
        let texts = ["a", "", "NA", "b", "NA"].map(|t| Some(t.to_owned()));
        let column = Column::Text(texts.to_vec());
        assert_eq!(column.coded(), Err(vec![1, 2, 4]));
        assert_eq!(column.missing_words(), [(String::new(), 1), ("NA".to_owned(), 2)]);
        assert_eq!(missing_words_told(&column.missing_words()), "an empty text (1), `NA` (2)");
        let coded = column.select(&[0, 3]).coded().unwrap();
        assert_eq!(coded.levels, ["a", "b"]);
        let sizes =
            |c: &Column| c.level_sizes().map(|s| s.into_iter().map(|(l, n)| format!("{l} {n}")).collect::<Vec<_>>());
        let levels = Column::categorical(&["b", "nan", "a", "c", "c", "b"]);
        assert_eq!(sizes(&levels).unwrap(), ["b 2", "c 2", "a 1"]);
        assert_eq!(sizes(&Column::Boolean(vec![Some(true), None])).unwrap(), ["True 1"]);
        assert_eq!(sizes(&Column::Integer(vec![Some(1)])), None);
        let column = Column::categorical(&["x", "nan"]);
        assert_eq!((column.label(0).as_deref(), column.label(1)), (Some("x"), None));
        assert_eq!(column.missing_words(), [("nan".to_owned(), 1)]);
    }
}
