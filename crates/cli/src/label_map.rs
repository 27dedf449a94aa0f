//! Labels of two files that are not spelt alike: the option that maps them, and what is said of those without counterpart.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::cells::counted;
use scgraft::labels::{Match, Renamed};
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

/// Says which old names no cell has.
pub(crate) fn warn_unused<S: Display>(unused: &[S]) {
    let unused: Vec<String> = unused.iter().map(|old| format!("`{old}`")).collect();
    if !unused.is_empty() {
        tracing::warn!("--label-map: no cell of the query is labelled {}", unused.join(", "));
    }
}

/// Says how many cells count, and names the labels that are left out.
pub(crate) fn tell(found: &Match, what: &str, consequence: &str, out: &mut Output) -> Value {
    let (of, labelled) = (found.counted, found.labelled);
    if !found.without.is_empty() {
        out.line(format!("{what}: {of} of {labelled} labelled cells count; labels without counterpart{consequence}:"));
        for (name, n, nearest) in &found.without {
            let near: Vec<String> = nearest.iter().map(|n| format!("`{n}`")).collect();
            let near = if near.is_empty() { String::new() } else { format!("; nearest {}", near.join(", ")) };
            out.line(format!("  `{name}` ({}){near}", counted(*n, "cell", "cells")));
        }
        out.line("  where one is another name of the same: --label-map \"OLD=NEW\"");
    }
    let without = found.without.iter().map(|(l, n, near)| json!({"label": l, "cells": n, "nearest": near}));
    json!({"cells": of, "labelled": labelled, "without_counterpart": without.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

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
