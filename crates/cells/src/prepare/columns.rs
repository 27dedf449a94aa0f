//! Coding the columns of `obs`: condition, labels, covariates.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use scgraft_numeric::names::nearest_first;

use super::{CONDITION_SEPARATOR, ConditionSource, Known, Labels, PrepareOptions, PrepareReport, Warning};
use crate::{CellsError, Coded, Column, Frame, is_missing, means_unlabelled};

/// How many names a warning or an error carries.
const SHOWN: usize = 20;

/// The table of cells, and what the model knows of such tables.
pub(super) struct Context<'a> {
    pub(super) obs: &'a Frame,
    pub(super) known: &'a Known,
    pub(super) is_query: bool,
    /// A condition with fewer cells than this gives a warning.
    pub(super) few_cells: usize,
}

impl Context<'_> {
    /// The condition of each cell; what the model knows first.
    pub(super) fn condition(&self, source: &ConditionSource, report: &mut PrepareReport) -> Result<Coded, CellsError> {
        let values = match source {
            ConditionSource::Constant(name) => vec![name.clone(); self.obs.len()],
            ConditionSource::Columns(columns) => self.joined(columns)?,
        };
        let coded = code(&values, &self.known.conditions);
        let mut cells = vec![0usize; coded.levels.len()];
        for &c in &coded.codes {
            cells[c as usize] += 1;
        }
        let n_known = self.known.conditions.len();
        for (i, (level, &n)) in coded.levels.iter().zip(&cells).enumerate().filter(|(_, (_, n))| **n > 0) {
            let list = if i < n_known { &mut report.known_conditions } else { &mut report.new_conditions };
            list.push(level.clone());
            if n < self.few_cells {
                report.warnings.push(Warning::FewCells { condition: level.clone(), n });
            }
        }
        Ok(coded)
    }

    /// The values of several columns in one.
    fn joined(&self, columns: &[String]) -> Result<Vec<String>, CellsError> {
        let mut parts: Vec<Vec<String>> = Vec::with_capacity(columns.len());
        for name in columns {
            parts.push(self.filled(name)?);
        }
        if parts.is_empty() {
            return Err(CellsError::Option {
                what: "the condition",
                expected: "one or more columns of `obs`, or one name for all cells",
                found: "an empty list of columns".into(),
            });
        }
        let mut meaning: HashMap<String, Vec<&str>> = HashMap::new();
        let mut out = Vec::with_capacity(self.obs.len());
        for i in 0..self.obs.len() {
            let tuple: Vec<&str> = parts.iter().map(|p| p[i].as_str()).collect();
            let name = tuple.join(CONDITION_SEPARATOR);
            match meaning.get(&name) {
                Some(other) if *other != tuple => {
                    let columns = columns.to_vec();
                    return Err(CellsError::AmbiguousCondition { columns, separator: CONDITION_SEPARATOR, name });
                }
                Some(_) => {}
                None => {
                    meaning.insert(name.clone(), tuple);
                }
            }
            out.push(name);
        }
        Ok(out)
    }

    /// Cell labels, where the data or the model has any.
    pub(super) fn labels(
        &self,
        options: &PrepareOptions,
        report: &mut PrepareReport,
    ) -> Result<Option<Labels>, CellsError> {
        let Some(name) = &options.label else {
            // A query without labels, for a model with: every cell is unlabelled.
            return Ok((!self.known.labels.is_empty()).then(|| Labels {
                codes: vec![None; self.obs.len()],
                levels: self.known.labels.clone(),
                unlabelled: options.unlabelled.clone(),
            }));
        };
        let column = self.column(name)?;
        let given = |t: &String| Some(t) == options.unlabelled.as_ref();
        // What a model knows as a label is one.
        let missing = |t: &String| is_missing(t) && !self.known.labels.contains(t);
        let texts: Vec<Option<String>> =
            column.texts().into_iter().map(|t| t.filter(|t| !missing(t) && !given(t))).collect();
        let mut words = column.missing_words();
        words.retain(|(word, _)| missing(word) && !given(word) && !word.trim().is_empty());
        if !words.is_empty() {
            report.warnings.push(Warning::MissingWords { column: name.clone(), words });
        }
        if options.unlabelled.is_none() {
            for label in texts.iter().flatten().filter(|t| means_unlabelled(t)).collect::<BTreeSet<_>>() {
                if !self.known.labels.contains(label) {
                    let n = texts.iter().flatten().filter(|t| *t == label).count();
                    let (column, label) = (name.clone(), label.clone());
                    report.warnings.push(Warning::LooksUnlabelled { column, label, n });
                }
            }
        }
        let levels: Vec<String> = if self.known.labels.is_empty() {
            texts.iter().flatten().collect::<BTreeSet<_>>().into_iter().cloned().collect()
        } else {
            self.known.labels.clone()
        };
        let position = positions(&levels);
        let codes: Vec<Option<u32>> =
            texts.iter().map(|t| t.as_ref().and_then(|t| position.get(t.as_str()).copied())).collect();
        let unknown: Vec<&String> =
            texts.iter().zip(&codes).filter(|(_, c)| c.is_none()).filter_map(|(t, _)| t.as_ref()).collect();
        if !unknown.is_empty() {
            let n = unknown.len();
            let names = unknown.into_iter().collect::<BTreeSet<_>>().into_iter().take(SHOWN).cloned().collect();
            return Err(CellsError::UnknownLabels { column: name.clone(), n, names, known: levels });
        }
        Ok(Some(Labels { codes, levels, unlabelled: options.unlabelled.clone() }))
    }

    /// Categorical covariates; what the model knows first.
    pub(super) fn covariates(&self, asked: &[String]) -> Result<Vec<(String, Coded)>, CellsError> {
        let known: BTreeMap<&str, &[String]> =
            self.known.covariates.iter().map(|(n, levels)| (n.as_str(), levels.as_slice())).collect();
        let expected: Vec<String> = self.known.covariates.iter().map(|(n, _)| n.clone()).collect();
        let names = self.expected("categorical", &expected, asked)?;
        names
            .iter()
            .map(|name| {
                let values = self.filled(name)?;
                Ok((name.clone(), code(&values, known.get(name.as_str()).copied().unwrap_or_default())))
            })
            .collect()
    }

    /// Continuous covariates.
    pub(super) fn continuous(&self, asked: &[String]) -> Result<Vec<(String, Vec<f32>)>, CellsError> {
        let names = self.expected("continuous", &self.known.continuous, asked)?;
        names.iter().map(|name| Ok((name.clone(), self.numbers(name)?))).collect()
    }

    /// The covariates to take: those asked for, or the model's.
    fn expected<'n>(
        &self,
        what: &'static str,
        model: &'n [String],
        asked: &'n [String],
    ) -> Result<&'n [String], CellsError> {
        if !self.is_query {
            return Ok(asked);
        }
        if !asked.is_empty() && asked != model {
            return Err(CellsError::CovariatesDiffer { what, expected: model.to_vec(), found: asked.to_vec() });
        }
        Ok(model)
    }

    fn column(&self, name: &str) -> Result<&Column, CellsError> {
        self.obs.column(name).ok_or_else(|| CellsError::MissingColumn {
            table: "obs".into(),
            name: name.into(),
            available: nearest_first(name, &self.obs.names()),
        })
    }

    /// A column with a value for every cell.
    fn filled(&self, name: &str) -> Result<Vec<String>, CellsError> {
        let texts = self.column(name)?.texts();
        let known = &self.known;
        let is_known = |t: &String| known.conditions.contains(t) || known.covariates.iter().any(|c| c.1.contains(t));
        let is_empty = |t: &Option<String>| t.as_ref().is_none_or(|t| is_missing(t) && !is_known(t));
        let empty: Vec<usize> = (0..texts.len()).filter(|&i| is_empty(&texts[i])).collect();
        if !empty.is_empty() {
            return Err(self.missing(name, &empty));
        }
        Ok(texts.into_iter().flatten().collect())
    }

    /// A column with a finite number for every cell.
    fn numbers(&self, name: &str) -> Result<Vec<f32>, CellsError> {
        let column = self.column(name)?;
        let mut out = Vec::with_capacity(column.len());
        let mut empty = Vec::new();
        for i in 0..column.len() {
            match column.number(i).filter(|v| v.is_finite()) {
                Some(value) => out.push(value as f32),
                None => match column.text(i) {
                    Some(value) => {
                        let (column, cell) = (name.to_owned(), self.obs.index[i].clone());
                        return Err(CellsError::NotNumeric { column, cell, value });
                    }
                    None => empty.push(i),
                },
            }
        }
        if empty.is_empty() { Ok(out) } else { Err(self.missing(name, &empty)) }
    }

    fn missing(&self, column: &str, rows: &[usize]) -> CellsError {
        CellsError::MissingValues {
            column: column.into(),
            words: self.obs.column(column).map(Column::missing_words).unwrap_or_default(),
            n: rows.len(),
            cells: rows.iter().take(SHOWN).map(|&i| self.obs.index[i].clone()).collect(),
        }
    }
}

fn positions(levels: &[String]) -> HashMap<&str, u32> {
    levels.iter().map(String::as_str).zip(0u32..).collect()
}

/// Codes values: the known levels first, in their order, then the new ones, sorted.
fn code(values: &[String], known: &[String]) -> Coded {
    let mut levels = known.to_vec();
    {
        let position = positions(known);
        let new: BTreeSet<&String> = values.iter().filter(|v| !position.contains_key(v.as_str())).collect();
        levels.extend(new.into_iter().cloned());
    }
    let position = positions(&levels);
    let codes = values.iter().map(|v| position[v.as_str()]).collect();
    Coded { codes, levels }
}
