//! Labels of two files that are not spelt alike: the option that maps them, and what is said of those without counterpart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::cells::Column;
use serde_json::{Value, json};

use super::Output;

/// Names of the query's labels in the reference.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LabelMap {
    /// What a label of the query is called in the reference: OLD=NEW, or a file of two columns (old name, new name; split
    /// by tabs, else by commas). May be given several times
    #[arg(long, value_name = "OLD=NEW|FILE")]
    pub label_map: Vec<String>,
}

/// Old names and their new ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Renamed(BTreeMap<String, String>);

impl LabelMap {
    /// Reads what was given.
    ///
    /// # Errors
    /// A file that is not there, a line that has not two columns, a name with two new names.
    pub fn read(&self) -> Result<Renamed> {
        let mut map = BTreeMap::new();
        let mut add = |old: &str, new: &str, place: &str| -> Result<()> {
            let (old, new) = (old.trim(), new.trim());
            if old.is_empty() || new.is_empty() {
                bail!("{place}: a name is empty; expected the old name and the new one");
            }
            match map.insert(old.to_owned(), new.to_owned()) {
                Some(other) if other != new => bail!("{place}: `{old}` becomes `{new}` here and `{other}` before"),
                _ => Ok(()),
            }
        };
        for given in &self.label_map {
            match given.split_once('=') {
                Some((old, new)) if !Path::new(given).is_file() => add(old, new, &format!("--label-map {given}"))?,
                _ => {
                    let text = std::fs::read_to_string(given)
                        .with_context(|| format!("--label-map {given}: neither OLD=NEW nor a file that can be read"))?;
                    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
                        let place = format!("{given}, line {}", i + 1);
                        let by = if line.contains('\t') { '\t' } else { ',' };
                        match line.split(by).collect::<Vec<_>>()[..] {
                            [old, new] => add(old, new, &place)?,
                            ref columns => bail!(
                                "{place}: {} columns; expected the old name and the new one, split by a tab",
                                columns.len()
                            ),
                        }
                    }
                }
            }
        }
        Ok(Renamed(map))
    }
}

impl Renamed {
    /// The names as the reference has them.
    pub fn apply(&self, labels: &mut [Option<String>]) {
        for label in labels.iter_mut().flatten() {
            if let Some(new) = self.0.get(label.as_str()) {
                new.clone_into(label);
            }
        }
    }

    /// A column with the names of the reference; as it is where nothing is renamed.
    pub fn column(&self, column: &Column) -> Column {
        if self.0.is_empty() { column.clone() } else { Column::Text(self.texts(column)) }
    }

    /// The labels of a column with the names of the reference.
    pub fn texts(&self, column: &Column) -> Vec<Option<String>> {
        let mut texts = column.texts();
        self.apply(&mut texts);
        texts
    }

    /// Says which old names no cell has: a misspelt one would change nothing.
    pub fn warn_unused(&self, labels: &[Option<String>]) {
        let there: BTreeSet<&str> = labels.iter().flatten().map(String::as_str).collect();
        let unused: Vec<String> =
            self.0.keys().filter(|old| !there.contains(old.as_str())).map(|old| format!("`{old}`")).collect();
        if !unused.is_empty() {
            tracing::warn!("--label-map: no cell of the query is labelled {}", unused.join(", "));
        }
    }
}

/// How the labels of a query meet those that a reference or a model knows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Match {
    /// Cells with a label that is known.
    pub counted: usize,
    /// Cells with a label.
    pub labelled: usize,
    /// The other labels: name, cells, and the names most like it.
    pub without: Vec<(String, usize, Vec<String>)>,
}

/// Names shown beside a label that has no counterpart.
const NEAREST: usize = 2;

impl Match {
    /// Compares labels, as the reference would call them, with the known ones.
    pub fn of(labels: &[Option<String>], known: &[&str]) -> Match {
        let mut cells: BTreeMap<&str, usize> = BTreeMap::new();
        labels.iter().flatten().for_each(|l| *cells.entry(l.as_str()).or_default() += 1);
        let labelled: usize = cells.values().sum();
        let mut without: Vec<(String, usize, Vec<String>)> = cells
            .into_iter()
            .filter(|(name, _)| !known.contains(name))
            .map(|(name, n)| (name.to_owned(), n, nearest(name, known)))
            .collect();
        without.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let counted = labelled - without.iter().map(|w| w.1).sum::<usize>();
        Match { counted, labelled, without }
    }

    /// Says how many cells count, and names the labels that are left out.
    pub fn tell(&self, what: &str, consequence: &str, out: &mut Output) -> Value {
        if !self.without.is_empty() {
            out.line(format!(
                "{what}: {} of {} labelled cells count; labels without counterpart{consequence}:",
                self.counted, self.labelled
            ));
            for (name, n, nearest) in &self.without {
                let near: Vec<String> = nearest.iter().map(|n| format!("`{n}`")).collect();
                let near = if near.is_empty() { String::new() } else { format!("; nearest {}", near.join(", ")) };
                out.line(format!("  `{name}` ({n} cells){near}"));
            }
            out.line("  where one is another name of the same: --label-map \"OLD=NEW\"");
        }
        let without = self.without.iter().map(|(l, n, near)| json!({"label": l, "cells": n, "nearest": near}));
        json!({"cells": self.counted, "labelled": self.labelled, "without_counterpart": without.collect::<Vec<_>>()})
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
        let map = LabelMap { label_map: vec!["CD14 Mono=CD14+ Monocytes".into(), "Eryth = B".into()] };
        let mut renamed = labels.clone();
        map.read().unwrap().apply(&mut renamed);
        assert_eq!(Match::of(&renamed, &KNOWN), Match { counted: 4, labelled: 4, without: Vec::new() });
    }

    #[test]
    fn a_map_that_makes_no_sense_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a=b.tsv");
        std::fs::write(&file, "CD14 Mono\tCD14+ Monocytes\n\nB Activated, late\tB\n").unwrap();
        let read = |given: &[&str]| LabelMap { label_map: given.iter().map(|g| (*g).to_owned()).collect() }.read();
        let path = file.display().to_string();
        assert_eq!(read(&[&path]).unwrap().0.len(), 2, "a file, whatever its name");
        for (given, words) in [
            (vec!["no such file"], vec!["no such file", "neither"]),
            (vec!["a=b", "a=c"], vec!["`a`", "`b`", "`c`"]),
            (vec!["=b"], vec!["empty"]),
        ] {
            let error = format!("{:#}", read(&given).unwrap_err());
            assert!(words.iter().all(|w| error.contains(w)), "{error}");
        }
        std::fs::write(&file, "one\ttwo\tthree\n").unwrap();
        let error = read(&[&path]).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("3 columns"), "{error}");
    }
}
