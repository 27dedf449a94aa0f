//! Aligning the genes of the data with the genes of the model: always by name, always reordered.

use std::collections::{HashMap, HashSet};

use scgraft_numeric::names::nearest_first;

use super::{PrepareOptions, PrepareReport, Warning};
use crate::{CellsError, Csr, Frame, Matrix};

/// How many names a warning or an error carries.
const SHOWN: usize = 20;

/// The gene names of a table: its row names, or a column. `""` where a name is missing.
pub(super) fn names(var: &Frame, slot: &str, column: Option<&str>) -> Result<Vec<String>, CellsError> {
    let Some(name) = column else {
        return Ok(var.index.clone());
    };
    let column = var.column(name).ok_or_else(|| CellsError::MissingColumn {
        table: if slot.starts_with("raw") { "raw.var".into() } else { "var".into() },
        name: name.into(),
        available: nearest_first(name, &var.names()),
    })?;
    Ok(column.texts().into_iter().map(Option::unwrap_or_default).collect())
}

/// Every gene of the data, as the genes of a model.
pub(super) fn all(names: &[String], slot: &str) -> Result<Vec<String>, CellsError> {
    let empty: Vec<usize> = (0..names.len()).filter(|&i| names[i].trim().is_empty()).collect();
    if let Some(&first) = empty.first() {
        return Err(CellsError::EmptyGeneNames { slot: slot.into(), n: empty.len(), first });
    }
    unique(names, slot)?;
    Ok(names.to_vec())
}

/// Refuses names that stand for two genes.
fn unique(names: &[String], slot: &str) -> Result<(), CellsError> {
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(names.len());
    let mut repeated: Vec<&str> = Vec::new();
    let mut example = (0, 0);
    for (i, name) in names.iter().enumerate() {
        if let Some(&at) = first.get(name.as_str()) {
            if repeated.is_empty() {
                example = (at, i);
            }
            repeated.push(name);
        } else {
            first.insert(name, i);
        }
    }
    if repeated.is_empty() {
        return Ok(());
    }
    let mut seen = HashSet::new();
    repeated.retain(|name| seen.insert(*name));
    Err(CellsError::DuplicateGenes {
        slot: slot.into(),
        n: repeated.len(),
        names: repeated.iter().take(SHOWN).map(|&n| n.to_owned()).collect(),
        example,
    })
}

/// Where each gene of the model stands in the data.
pub(super) fn align(
    genes: &[String],
    names: &[String],
    var: &Frame,
    slot: &str,
    options: &PrepareOptions,
    report: &mut PrepareReport,
) -> Result<Vec<Option<usize>>, CellsError> {
    unique(genes, "the genes of the model")?;
    if let Some(first) = genes.iter().position(|g| g.trim().is_empty()) {
        let n = genes.iter().filter(|g| g.trim().is_empty()).count();
        return Err(CellsError::EmptyGeneNames { slot: "the genes of the model".into(), n, first });
    }
    let wanted: HashSet<&str> = genes.iter().map(String::as_str).collect();
    let mut position: HashMap<&str, usize> = HashMap::with_capacity(genes.len());
    let mut used_twice = false;
    let mut useless: HashSet<&str> = HashSet::new();
    let mut others: HashSet<&str> = HashSet::new();
    for (i, name) in names.iter().enumerate() {
        if wanted.contains(name.as_str()) {
            used_twice |= position.insert(name, i).is_some();
        } else if name.trim().is_empty() || !others.insert(name) {
            useless.insert(name);
        }
    }
    if used_twice {
        let used: Vec<String> = names.iter().filter(|n| wanted.contains(n.as_str())).cloned().collect();
        unique(&used, slot)?;
    }
    if !useless.is_empty() {
        report.warnings.push(Warning::UnusedGeneNames { n: useless.len(), slot: slot.into() });
    }
    let sources: Vec<Option<usize>> = genes.iter().map(|g| position.get(g.as_str()).copied()).collect();
    let missing: Vec<String> =
        genes.iter().zip(&sources).filter(|(_, s)| s.is_none()).map(|(g, _)| g.clone()).collect();
    report.n_model_genes = genes.len();
    report.n_data_genes = names.len();
    report.missing_genes = missing;
    let overlap = report.overlap();
    let none_found = report.missing_genes.len() == genes.len();
    if overlap < options.min_overlap || (none_found && options.min_overlap > 0.0) {
        return Err(CellsError::LowOverlap {
            found: genes.len() - report.missing_genes.len(),
            n_model: genes.len(),
            required: options.min_overlap,
            missing: report.missing_genes.iter().take(SHOWN).cloned().collect(),
            hint: hint(&wanted, names, var, genes.len() - report.missing_genes.len()),
        });
    }
    if overlap < PrepareOptions::GOOD_OVERLAP {
        report.warnings.push(Warning::MissingGenes {
            n: report.missing_genes.len(),
            n_model: genes.len(),
            names: report.missing_genes.iter().take(SHOWN).cloned().collect(),
        });
    }
    Ok(sources)
}

/// What would find more genes: another column of `var`, names without their version, another case.
fn hint(wanted: &HashSet<&str>, names: &[String], var: &Frame, found: usize) -> String {
    let count = |names: &mut dyn Iterator<Item = String>| {
        names.collect::<HashSet<String>>().iter().filter(|n| wanted.contains(n.as_str())).count()
    };
    let mut offers: Vec<(usize, String)> = Vec::new();
    let index = ("the row names of `var`".to_owned(), var.index.clone());
    let columns = var.columns.iter().map(|(name, column)| {
        (format!("column `{name}` of `var` (--gene-column {name})"), column.texts().into_iter().flatten().collect())
    });
    for (what, values) in std::iter::once(index).chain(columns) {
        offers.push((count(&mut values.iter().cloned()), format!("{what} would match {{}} of them")));
    }
    let unversioned = |n: &String| n.split('.').next().unwrap_or_default().to_owned();
    offers.push((
        count(&mut names.iter().map(unversioned)),
        "without the version after the dot, {} of them would match".into(),
    ));
    offers.push((
        count(&mut names.iter().map(|n| n.to_uppercase())),
        "in upper case {} of them would match (is this another species?)".into(),
    ));
    match offers.into_iter().rev().max_by_key(|(n, _)| *n) {
        Some((n, offer)) if n > found => format!("But {}.", offer.replace("{}", &n.to_string())),
        _ => {
            let example = names.iter().find(|n| !n.is_empty()).map_or("", String::as_str);
            format!(
                "The data writes genes as `{example}`: give genes the model's kind of names, or accept this overlap \
                 (--min-overlap)."
            )
        }
    }
}

/// The columns named, as compressed rows without zeros.
pub(super) fn take(matrix: &Matrix, sources: &[Option<usize>]) -> Csr {
    match matrix {
        Matrix::Sparse(m) => m.select_columns(sources),
        Matrix::Dense(m) => {
            let mut out = Csr { n_rows: m.n_rows, n_cols: sources.len(), indptr: vec![0], ..Csr::default() };
            for i in 0..m.n_rows {
                let row = m.row(i);
                for (j, source) in (0u32..).zip(sources) {
                    if let Some(value) = source.map(|s| row[s]).filter(|&v| v != 0.0) {
                        out.indices.push(j);
                        out.values.push(value);
                    }
                }
                out.indptr.push(out.indices.len());
            }
            out
        }
    }
}
