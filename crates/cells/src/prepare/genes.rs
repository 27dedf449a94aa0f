//! Aligning the genes of the data with the genes of the model: always by name, always reordered.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use scgraft_numeric::names::nearest_first;

use super::{Kind, PrepareOptions, PrepareReport, Warning, gene_names, values};
use crate::orthologs::Dictionary;
use crate::{Cells, CellsError, Column, Csr, Frame, Hint, Matrix, Setting, Turned, each_once};

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

/// Names without what is looked past: how a model trained on them calls its genes.
pub(super) fn plain(names: &[String], options: &PrepareOptions) -> Vec<String> {
    names.iter().map(|name| options.gene_names.apply(name)).collect()
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
    let repeated = each_once(repeated);
    Err(CellsError::DuplicateGenes {
        slot: slot.into(),
        n: repeated.len(),
        names: repeated.iter().take(SHOWN).map(|&n| n.to_owned()).collect(),
        example,
    })
}

/// Where each gene of the model stands in the data: nowhere, in a column, or in several whose counts are summed.
pub(super) fn align(
    genes: &[String],
    names: &[String],
    var: &Frame,
    slot: &str,
    cells: &Cells,
    options: &PrepareOptions,
    report: &mut PrepareReport,
) -> Result<Vec<Vec<usize>>, CellsError> {
    unique(genes, "the genes of the model")?;
    if let Some(first) = genes.iter().position(|g| g.trim().is_empty()) {
        let n = genes.iter().filter(|g| g.trim().is_empty()).count();
        return Err(CellsError::EmptyGeneNames { slot: "the genes of the model".into(), n, first });
    }
    // Genes are matched as written first, then past what is looked past.
    let keys: Vec<String> = genes.iter().map(|g| options.gene_names.apply(g)).collect();
    if !options.gene_names.is_empty() {
        unique(&keys, &format!("the genes of the model, their names matched by {}", options.gene_names))?;
    }
    let wanted: HashSet<&str> = keys.iter().map(String::as_str).collect();
    let as_written: HashSet<&str> = genes.iter().map(String::as_str).collect();
    let written = names;
    let own: Vec<String> = written.iter().map(|name| options.gene_names.apply(name)).collect();
    let dictionary = options.orthologs.as_ref().map(|o| o.between(("the data", &own), &keys, &options.gene_names));
    let dictionary = dictionary.transpose()?;
    // What a gene of the data becomes: itself where the table does not have it, nothing where no rule says what.
    let turn = |name: &String| match dictionary.as_ref().and_then(|d| d.of(name)) {
        None => Some((name.clone(), false)),
        Some(to) => {
            let mut there = to.iter().filter(|t| wanted.contains(t.as_str()));
            there.next().filter(|_| there.next().is_none()).map(|t| (t.clone(), true))
        }
    };
    let turned: Vec<Option<(String, bool)>> = own.iter().map(turn).collect();
    let mut position: HashMap<&str, Vec<usize>> = HashMap::with_capacity(genes.len());
    let by_table = |i: usize| turned[i].as_ref().is_some_and(|t| t.1);
    let exact = |i: usize| as_written.contains(written[i].as_str());
    // Of two names that become one, the one that is written as the model has it.
    let rank = |i: usize| (!by_table(i), exact(i));
    let mut used_twice = false;
    let mut useless: HashSet<&str> = HashSet::new();
    let mut others: HashSet<&str> = HashSet::new();
    for (i, name) in turned.iter().enumerate().filter_map(|(i, t)| t.as_ref().map(|(name, _)| (i, name.as_str()))) {
        if wanted.contains(name) {
            let there = position.entry(name).or_default();
            match there.first().map(|&before| rank(i).cmp(&rank(before))) {
                None => there.push(i),
                Some(Ordering::Greater) => *there = vec![i],
                Some(Ordering::Less) => {}
                Some(Ordering::Equal) => {
                    used_twice |= !by_table(i) || there.iter().any(|&before| own[before] == own[i]);
                    there.push(i);
                }
            }
        } else if name.trim().is_empty() || !others.insert(name) {
            useless.insert(name);
        }
    }
    if used_twice {
        let used = turned.iter().zip(&own).filter_map(|(t, own)| t.as_ref().map(|(name, by)| (name, by, own)));
        let used = used.filter(|(name, ..)| wanted.contains(name.as_str()));
        let used: Vec<String> = used.map(|(name, &by, own)| if by { own.clone() } else { name.clone() }).collect();
        unique(&used, slot)?;
    }
    if !useless.is_empty() {
        report.warnings.push(Warning::UnusedGeneNames { n: useless.len(), slot: slot.into() });
    }
    let sources: Vec<Vec<usize>> = keys.iter().map(|g| position.get(g.as_str()).cloned().unwrap_or_default()).collect();
    if options.kind == Kind::LogNormalised && sources.iter().any(|s| s.len() > 1) {
        return Err(CellsError::Option {
            what: "the rule for orthologs",
            expected: "one-to-one or best for log-normalised values, of which there are no sums",
            found: "all".into(),
        });
    }
    let missing: Vec<String> =
        genes.iter().zip(&sources).filter(|(_, s)| s.is_empty()).map(|(g, _)| g.clone()).collect();
    report.orthologs = dictionary.as_ref().map(|d| told(d, &keys, &sources, &own, &turned, &wanted));
    report.n_model_genes = genes.len();
    report.missing_genes = missing;
    let overlap = report.overlap();
    if !(0.0..=1.0).contains(&options.min_overlap) {
        return Err(CellsError::NoShare { setting: [Setting::to("min_overlap", options.min_overlap.to_string())] });
    }
    let none_found = report.missing_genes.len() == genes.len();
    let found = genes.len() - report.missing_genes.len();
    let ways_out = || hint(&as_written, written, var, found, cells, options, genes);
    if overlap < options.min_overlap || none_found {
        return Err(CellsError::LowOverlap {
            found,
            n_model: genes.len(),
            required: options.min_overlap,
            missing: report.missing_genes.iter().take(SHOWN).cloned().collect(),
            hint: ways_out().unwrap_or_else(|| {
                if !none_found {
                    let told = "The data lacks the others, however their names are written; to go on without them, accept \
                                this overlap";
                    return Hint::setting(told, Setting::of("min_overlap"));
                }
                let example = written.iter().find(|n| !n.is_empty()).map_or("", String::as_str);
                Hint::words(format!("The data writes genes as `{example}`: give genes the model's kind of names."))
            }),
        });
    }
    if overlap < PrepareOptions::GOOD_OVERLAP {
        report.warnings.push(Warning::MissingGenes {
            n: report.missing_genes.len(),
            n_model: genes.len(),
            names: report.missing_genes.iter().take(SHOWN).cloned().collect(),
            hint: ways_out().unwrap_or_default(),
        });
    }
    Ok(sources)
}

/// What a table of orthologs did for the genes of the model.
fn told(
    dictionary: &Dictionary,
    keys: &[String],
    sources: &[Vec<usize>],
    own: &[String],
    turned: &[Option<(String, bool)>],
    wanted: &HashSet<&str>,
) -> Turned {
    let mut out = Turned::default();
    for (gene, from) in keys.iter().zip(sources) {
        let by_table = |i: &usize| turned[*i].as_ref().is_some_and(|t| t.1);
        match from.first().map(by_table) {
            Some(true) => out.turned += 1,
            Some(false) => out.as_written += 1,
            None if dictionary.reaches(gene) => out.ambiguous += 1,
            None => out.lost += 1,
        }
    }
    for (own, turned) in own.iter().zip(turned) {
        match turned {
            Some((to, true)) => out.pairs.push((own.clone(), Some(to.clone()))),
            // Their names alone would match.
            None if wanted.contains(own.as_str()) => out.pairs.push((own.clone(), None)),
            _ => {}
        }
    }
    out
}

/// What would find more of the genes of gene sets; empty where nothing would.
pub(super) fn way_out(wanted: &[String], cells: &Cells, options: &PrepareOptions) -> Hint {
    let Ok((_, var, slot)) = options.slot.find(cells) else { return Hint::default() };
    let Ok(written) = names(var, &slot, options.gene_column.as_deref()) else { return Hint::default() };
    let there: HashSet<String> = plain(&written, options).into_iter().collect();
    let found = wanted.iter().filter(|g| there.contains(&options.gene_names.apply(g))).count();
    let as_written: HashSet<&str> = wanted.iter().map(String::as_str).collect();
    hint(&as_written, &written, var, found, cells, options, wanted).unwrap_or_default()
}

/// What would find more genes: another column of `var`, names without some trifle, another slot.
fn hint(
    wanted: &HashSet<&str>,
    names: &[String],
    var: &Frame,
    found: usize,
    cells: &Cells,
    options: &PrepareOptions,
    genes: &[String],
) -> Option<Hint> {
    let count = |names: &[String]| {
        names.iter().map(String::as_str).collect::<HashSet<&str>>().iter().filter(|n| wanted.contains(*n)).count()
    };
    let mut offers: Vec<(usize, Hint)> = Vec::new();
    let columns = var.columns.iter().filter(|(_, c)| matches!(c, Column::Text(_) | Column::Categorical { .. }));
    let mut sources = vec![("the row names of `var`".to_owned(), Vec::new(), var.index.clone())];
    for (name, column) in columns {
        let texts = column.texts().into_iter().flatten().collect();
        sources.push((format!("column `{name}` of `var`"), vec![Setting::to("gene_column", name)], texts));
    }
    for (what, settings, texts) in &sources {
        let n = count(texts);
        offers.push((n, Hint { told: format!("{what} would match {n} of them"), settings: settings.clone() }));
    }
    if let Some(other) = values::counts_elsewhere(cells, &options.slot, Some((genes, options))) {
        offers.push((other.matched, other.hint));
    }
    if let Some((rules, n)) = gene_names::best(wanted, names) {
        let species = if rules.to_string() == "upper" {
            " (is this another species? Then a table of orthologs finds more)"
        } else {
            ""
        };
        let told = format!("names matched by {rules} would find {n} of them{species}");
        offers.push((n, Hint::setting(told, Setting::to("gene_names", rules.to_string()))));
    }
    if offers.iter().all(|(n, _)| *n <= found) {
        for (what, settings, texts) in sources.iter().skip(1) {
            if let Some((rules, n)) = gene_names::best(wanted, texts) {
                let told = format!("{what}, its names matched by {rules}, would find {n} of them");
                let both = [&settings[..], &[Setting::to("gene_names", rules.to_string())]].concat();
                offers.push((n, Hint { told, settings: both }));
            }
        }
    }
    // Of two that find as many, the first.
    let (n, offer) = offers.into_iter().rev().max_by_key(|(n, _)| *n)?;
    (n > found).then(|| Hint { told: format!("But {}.", offer.told), ..offer })
}

/// The columns named, as compressed rows without zeros; of several for one gene the sum.
pub(super) fn take(matrix: &Matrix, sources: &[Vec<usize>]) -> Csr {
    // A column of its own for every source first.
    let mut flat: Vec<Option<usize>> = Vec::with_capacity(sources.len());
    let mut gene: Vec<u32> = Vec::with_capacity(sources.len());
    for (j, from) in (0u32..).zip(sources) {
        let n = flat.len();
        flat.extend(from.iter().map(|&s| Some(s)));
        flat.resize(flat.len().max(n + 1), None);
        gene.resize(flat.len(), j);
    }
    let columns = columns(matrix, &flat);
    if flat.len() == sources.len() { columns } else { summed(&columns, &gene, sources.len()) }
}

/// Columns of one gene, which stand side by side, as one.
fn summed(columns: &Csr, gene: &[u32], n_genes: usize) -> Csr {
    let mut out = Csr { n_rows: columns.n_rows, n_cols: n_genes, indptr: vec![0], ..Csr::default() };
    for i in 0..columns.n_rows {
        let (at, values) = columns.row(i);
        let start = out.indices.len();
        for (&c, &value) in at.iter().zip(values) {
            let g = gene[c as usize];
            match out.values.last_mut() {
                Some(sum) if out.indices.len() > start && out.indices.last() == Some(&g) => *sum += value,
                _ => {
                    out.indices.push(g);
                    out.values.push(value);
                }
            }
        }
        out.indptr.push(out.indices.len());
    }
    out
}

fn columns(matrix: &Matrix, sources: &[Option<usize>]) -> Csr {
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
