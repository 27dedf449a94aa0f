//! Cells of several files as one: a reference that no one has joined beforehand.
//!
//! Genes are brought together by name. A slot that holds counts in one file and other values in another is left out, and so
//! are pictures and components that were made of each file by itself: their axes are not the same.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};

use scgraft_cells::{Array, Cells, Column, Csr, Dense, Frame, GeneNames, Matrix, Raw, Slot, each_once};

use crate::columns::stacked;
use crate::joint::centred_apart;
use crate::{Error, slots};

/// `obs` of gathered cells: the name of the file that a cell is from.
pub const FILE: &str = "scgraft_file";

/// Which genes the cells of several files have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GenesOf {
    /// Those that all files have.
    #[default]
    All,
    /// Those that any file has; a cell has 0 of a gene that its file lacks.
    Any,
}

/// How cells of several files are brought together.
#[derive(Clone, Debug, Default)]
pub struct GatherPlan {
    /// Which genes.
    pub genes: GenesOf,
    /// Column of var with their names, instead of the row names.
    pub gene_column: Option<String>,
    /// What is looked past in their names.
    pub gene_names: GeneNames,
}

/// Cells of several files.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// File after file: `obs` with [`FILE`], and what all have of `X`, layers, `raw` and `obsm`.
    pub cells: Cells,
    /// Genes of each file, and those of all together, of the main matrix.
    pub n_genes: (Vec<usize>, usize),
    /// Slots that all have and that were not brought together, and why.
    pub left_out: Vec<(String, String)>,
}

/// Puts the cells of named parts one below the other.
///
/// Columns of `obs` of all are kept, empty where a cell's file has none. Names of cells that stand in several files get the
/// file's name as an ending.
///
/// # Errors
/// No part, or two of one name; no gene that all have; a gene twice in one part; no such column of var.
pub fn gather(parts: &[(String, &Cells)], plan: &GatherPlan) -> Result<Gathered, Error> {
    let mut seen = HashSet::new();
    if let Some((name, _)) = parts.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        return Err(Error::Slot {
            slot: "names of the files".into(),
            expected: "each once".into(),
            found: format!("`{name}` twice"),
            remedy: "give each file a name of its own".into(),
        });
    }
    let all = HashSet::<&str>::from_iter(parts.iter().flat_map(|(_, c)| c.obs.index.iter().map(String::as_str)));
    let twice = all.len() < parts.iter().map(|(_, c)| c.n_cells()).sum();
    let named = parts.iter().flat_map(|(file, c)| {
        c.obs.index.iter().map(move |name| if twice { format!("{name}-{file}") } else { name.clone() })
    });
    let tables: Vec<&Frame> = parts.iter().map(|(_, c)| &c.obs).collect();
    let mut obs = below_each_other(&tables);
    obs.index = named.collect();
    let codes = parts.iter().zip(0..).flat_map(|((_, c), code)| std::iter::repeat_n(code, c.n_cells())).collect();
    let categories = parts.iter().map(|(name, _)| name.clone()).collect();
    obs.set(FILE, Column::Categorical { codes, categories, ordered: false });
    let mut cells = Cells::empty(obs, Frame::new(Vec::new()));
    let mut left_out = Vec::new();
    let borrowed: Vec<(&str, &Cells)> = parts.iter().map(|(name, c)| (name.as_str(), *c)).collect();
    let main = |c: &Cells| c.x.is_some() || !c.layers.is_empty();
    if borrowed.iter().all(|(_, c)| main(c)) {
        // Without genes of all files there is nothing to train on.
        places(&vars(&borrowed, |c| Some(&c.var)), plan)?;
    }
    put_expression(&mut cells, &borrowed, plan, &mut left_out);
    put_arrays(&mut cells, &borrowed, &[], &mut left_out);
    let n_genes = (parts.iter().map(|(_, c)| c.n_genes()).collect(), cells.n_genes());
    Ok(Gathered { cells, n_genes, left_out })
}

impl Gathered {
    /// Refuses cells without expression in a slot that is needed of all files.
    ///
    /// # Errors
    /// Then, with the reason.
    pub fn has(&self, slot: &Slot) -> Result<(), Error> {
        has(&self.cells, &self.left_out, slot, "expression in every file")
    }
}

/// Refuses cells that were brought together without a slot, with the reason.
pub(crate) fn has(
    cells: &Cells,
    left_out: &[(String, String)],
    slot: &Slot,
    expected: &'static str,
) -> Result<(), Error> {
    if Slot::all(cells).contains(slot) {
        return Ok(());
    }
    let why = left_out.iter().find(|(left, _)| left.contains(&slot.to_string()));
    Err(Error::Slot {
        slot: slot.to_string(),
        expected: expected.into(),
        found: why.map_or_else(|| "a file without".to_owned(), |(_, reason)| reason.clone()),
        remedy: "choose a slot in which all have the same kind of values".into(),
    })
}

/// Tables one below the other, with the columns of all.
fn below_each_other(tables: &[&Frame]) -> Frame {
    let index = tables.iter().flat_map(|t| t.index.iter().cloned()).collect();
    let index_name = tables.first().and_then(|t| t.index_name.clone());
    let mut out = Frame { index_name, ..Frame::new(index) };
    for name in each_once(tables.iter().flat_map(|t| t.names())) {
        out.set(name, stacked(&tables.iter().map(|t| (t.column(name), t.len())).collect::<Vec<_>>()));
    }
    out
}

/// The place of each gene in each part, in the order of the parts; a gene stands in the first part that has it.
pub(crate) type Places = Vec<Vec<Option<usize>>>;

/// The tables of genes of parts.
fn vars<'a>(parts: &[(&'a str, &'a Cells)], of: impl Fn(&'a Cells) -> Option<&'a Frame>) -> Vec<(&'a str, &'a Frame)> {
    parts.iter().filter_map(|(name, c)| Some((*name, of(c)?))).collect()
}

pub(crate) fn places(vars: &[(&str, &Frame)], plan: &GatherPlan) -> Result<Places, Error> {
    let mut genes: Vec<String> = Vec::new();
    let mut at: HashMap<String, usize> = HashMap::new();
    let mut found: Places = Vec::new();
    for (p, (part, var)) in vars.iter().enumerate() {
        let written = match &plan.gene_column {
            None => var.index.clone(),
            Some(name) => {
                let known = || var.names().into_iter().map(str::to_owned).collect();
                let column = var
                    .column(name)
                    .ok_or_else(|| crate::columns::unknown(format!("{part}: var"), "column", name, known()))?;
                column.texts().into_iter().map(Option::unwrap_or_default).collect()
            }
        };
        for (i, name) in written.iter().enumerate() {
            let name = plan.gene_names.apply(name);
            let gene = *at.entry(name.clone()).or_insert_with(|| {
                genes.push(name.clone());
                found.push(vec![None; vars.len()]);
                genes.len() - 1
            });
            if found[gene][p].replace(i).is_some() {
                return Err(Error::Slot {
                    slot: format!("gene names of {part}"),
                    expected: "each gene once".into(),
                    found: format!("`{name}` twice"),
                    remedy: "make the names unique, or choose another column of var".into(),
                });
            }
        }
    }
    if plan.genes == GenesOf::All {
        found.retain(|of| of.iter().all(Option::is_some));
    }
    if found.is_empty() {
        let first: Vec<&str> = vars.iter().filter_map(|(_, v)| v.index.first().map(String::as_str)).collect();
        return Err(Error::Slot {
            slot: "gene names of the files".into(),
            expected: "genes that all files have".into(),
            found: format!("none; the first are named {}", first.join(", ")),
            remedy: "name genes alike in all files, or choose a column of var that does".into(),
        });
    }
    Ok(found)
}

/// The rows of the tables for genes at these places.
fn table_of(vars: &[(&str, &Frame)], places: &Places) -> Frame {
    let own = |p: usize| places.iter().filter(move |of| of.iter().position(Option::is_some) == Some(p));
    let tables: Vec<Frame> = vars
        .iter()
        .enumerate()
        .map(|(p, (_, var))| var.select(&own(p).filter_map(|of| of[p]).collect::<Vec<_>>()))
        .collect();
    below_each_other(&tables.iter().collect::<Vec<_>>())
}

/// What all parts have of `X`, the layers and `raw`, over the genes of the plan.
pub(crate) fn put_expression(
    to: &mut Cells,
    parts: &[(&str, &Cells)],
    plan: &GatherPlan,
    left_out: &mut Vec<(String, String)>,
) {
    let Some(((_, first), others)) = parts.split_first() else { return };
    let layers: Vec<&String> =
        first.layers.keys().filter(|name| others.iter().all(|(_, c)| c.layers.contains_key(*name))).collect();
    let x: Option<Vec<&Matrix>> = parts.iter().map(|(_, c)| c.x.as_ref()).collect();
    let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    if x.is_some() || !layers.is_empty() {
        let vars = vars(parts, |c| Some(&c.var));
        match places(&vars, plan) {
            Err(reason) => left_out.push(("X and layers".to_owned(), reason.to_string())),
            Ok(places) => {
                match x.map(|x| values(&x, &names, &places)) {
                    Some(Ok(x)) => to.x = Some(Matrix::Sparse(x)),
                    Some(Err(reason)) => left_out.push(("X".to_owned(), reason)),
                    None => {}
                }
                for name in layers {
                    let of: Vec<&Matrix> = parts.iter().map(|(_, c)| &c.layers[name]).collect();
                    match values(&of, &names, &places) {
                        Ok(x) => _ = to.layers.insert(name.clone(), Matrix::Sparse(x)),
                        Err(reason) => left_out.push((format!("layers[\"{name}\"]"), reason)),
                    }
                }
                if to.x.is_some() || !to.layers.is_empty() {
                    to.var = table_of(&vars, &places);
                }
            }
        }
    }
    let raw: Option<Vec<&Raw>> = parts.iter().map(|(_, c)| c.raw.as_ref()).collect();
    if let Some(raw) = raw {
        let vars = vars(parts, |c| c.raw.as_ref().map(|r| &r.var));
        let of: Vec<&Matrix> = raw.iter().map(|r| &r.x).collect();
        let found = places(&vars, plan).map_err(|e| e.to_string());
        match found.and_then(|places| Ok((values(&of, &names, &places)?, places))) {
            Ok((x, places)) => {
                let var = table_of(&vars, &places);
                to.raw = Some(Raw { x: Matrix::Sparse(x), var, varm: BTreeMap::new() });
            }
            Err(reason) => left_out.push(("raw".to_owned(), reason)),
        }
    }
}

/// Values of all parts over genes at these places, or why they are not the same thing.
fn values(of: &[&Matrix], names: &[&str], places: &Places) -> Result<Csr, String> {
    let kinds: Vec<bool> = of.iter().map(|m| are_counts(m)).collect();
    if let Some(other) = kinds.iter().position(|k| *k != kinds[0]) {
        let kind = |p: usize| format!("{} in {}", if kinds[p] { "counts" } else { "other values" }, names[p]);
        return Err(format!("{}, {}", kind(0), kind(other)));
    }
    Ok(below(of.iter().map(|m| m.to_csr()), places))
}

/// Values of parts one below the other, over genes at these places.
pub(crate) fn below(parts: impl Iterator<Item = impl Borrow<Csr>>, places: &Places) -> Csr {
    let mut out = Csr::zeros(0, places.len());
    for (p, x) in parts.enumerate() {
        out.append(x.borrow().select_columns(&places.iter().map(|of| of[p]).collect::<Vec<_>>()));
    }
    out
}

/// Whether all stored values are whole and none is negative.
pub(crate) fn are_counts(m: &Matrix) -> bool {
    m.stored().iter().all(|v| *v >= 0.0 && v.fract() == 0.0)
}

/// The entries of `obsm` that all parts have, but for those of the names `own`.
pub(crate) fn put_arrays(
    to: &mut Cells,
    parts: &[(&str, &Cells)],
    own: &[String],
    left_out: &mut Vec<(String, String)>,
) {
    let Some(((_, first), _)) = parts.split_first() else { return };
    for key in first.obsm.keys().filter(|key| !own.contains(key)) {
        let all: Option<Vec<&Array>> = parts.iter().map(|(_, c)| c.obsm.get(key)).collect();
        match all.map(|all| arrays(key, parts, &all)) {
            Some(Ok(found)) => _ = to.obsm.insert(key.clone(), found),
            Some(Err(reason)) => left_out.push((format!("obsm[\"{key}\"]"), reason)),
            None => {}
        }
    }
}

fn arrays(key: &str, parts: &[(&str, &Cells)], of: &[&Array]) -> Result<Array, String> {
    let frames: Option<Vec<&Frame>> = of.iter().map(|a| if let Array::Frame(f) = a { Some(f) } else { None }).collect();
    if let Some(frames) = frames {
        let mut out = below_each_other(&frames);
        out.index = parts.iter().flat_map(|(_, c)| c.obs.index.iter().cloned()).collect();
        out.columns.retain(|(name, _)| frames.iter().all(|f| f.column(name).is_some()));
        return if out.columns.is_empty() { Err("no column is in all".to_owned()) } else { Ok(Array::Frame(out)) };
    }
    let dense = |of: &&Array| match of {
        Array::Dense(m) => Some(m.clone()),
        Array::Sparse(m) => Some(m.to_dense()),
        Array::Frame(_) => None,
    };
    let all: Option<Vec<Dense>> = of.iter().map(dense).collect();
    let Some(all) = all else { return Err("a matrix in one, a table in another".into()) };
    if let Some(p) = all.iter().position(|m| m.n_cols != all[0].n_cols) {
        let columns = |p: usize| format!("{} columns in {}", all[p].n_cols, parts[p].0);
        return Err(format!("{}, {}", columns(0), columns(p)));
    }
    let picture = ["umap", "tsne"].iter().any(|word| key.to_lowercase().contains(word));
    let placed = |(_, c): &(&str, &Cells)| slots::layout(c, key).is_some_and(|l| l.placed);
    if let Some((name, _)) = parts[1..].iter().find(|part| picture && !placed(part)) {
        return Err(format!("the picture of {name} was not made in that of {}", parts[0].0));
    }
    if all.windows(2).any(|pair| centred_apart(&pair[0], &pair[1])) {
        return Err("each is centred on its own cells: decompositions of their own".to_owned());
    }
    let values = all.iter().flat_map(|m| m.values.iter().copied()).collect();
    Ok(Array::Dense(Dense::new(all.iter().map(|m| m.n_rows).sum(), all[0].n_cols, values)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file: counts of named genes, a row a cell, with one column of obs.
    fn file(genes: &[&str], rows: &[&[f32]], column: &str, values: &[&str]) -> Cells {
        let mut obs = Frame::new((0..rows.len()).map(|i| format!("c{i}")).collect());
        obs.set(column, Column::categorical(values));
        let var = Frame::new(genes.iter().map(|g| (*g).to_owned()).collect());
        Cells::new(Matrix::Dense(Dense::new(rows.len(), genes.len(), rows.concat())), obs, var)
    }

    fn three() -> [Cells; 3] {
        [
            file(&["A", "B", "C"], &[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]], "type", &["x", "y"]),
            file(&["C", "A", "D"], &[&[7.0, 8.0, 9.0]], "type", &["z"]),
            file(&["D", "C", "A"], &[&[1.0, 0.0, 2.0]], "donor", &["d"]),
        ]
    }

    fn named(cells: &[Cells]) -> Vec<(String, &Cells)> {
        cells.iter().enumerate().map(|(i, c)| (format!("f{i}"), c)).collect()
    }

    #[test]
    fn genes_that_all_files_have_or_any() {
        let files = three();
        let found = gather(&named(&files), &GatherPlan::default()).unwrap();
        let cells = &found.cells;
        assert_eq!((&cells.var.index[..], &found.n_genes), (&["A".to_owned(), "C".into()][..], &(vec![3, 3, 3], 2)));
        let x = cells.x.as_ref().unwrap().to_csr().to_dense();
        assert_eq!(x.values, [1.0, 3.0, 4.0, 6.0, 8.0, 7.0, 2.0, 0.0]);
        // Both columns are there, empty where a file has none; every file has a c0.
        let texts = |name: &str| cells.obs.column(name).unwrap().texts();
        assert_eq!(texts(FILE), ["f0", "f0", "f1", "f2"].map(|t| Some(t.to_owned())));
        assert_eq!(texts("type"), [Some("x".into()), Some("y".into()), Some("z".into()), None]);
        assert_eq!(texts("donor"), [None, None, None, Some("d".to_owned())]);
        assert_eq!(cells.obs.index, ["c0-f0", "c1-f0", "c0-f1", "c0-f2"]);

        let plan = GatherPlan { genes: GenesOf::Any, ..GatherPlan::default() };
        let cells = gather(&named(&files), &plan).unwrap().cells;
        assert_eq!(cells.var.index, ["A", "B", "C", "D"]);
        let x = cells.x.as_ref().unwrap().to_csr().to_dense();
        assert_eq!(
            (x.row(1), x.row(2), x.row(3)),
            (&[4.0, 5.0, 6.0, 0.0][..], &[8.0, 0.0, 7.0, 9.0][..], &[2.0, 0.0, 0.0, 1.0][..])
        );
    }

    #[test]
    fn names_in_a_column_and_what_is_looked_past() {
        let mut files = three();
        for cells in &mut files {
            let names: Vec<Option<String>> =
                cells.var.index.iter().map(|g| Some(format!("{}.1", g.to_lowercase()))).collect();
            cells.var.set("symbol", Column::Text(names));
        }
        files[1].var.index = ["1", "2", "3"].map(str::to_owned).to_vec();
        let gene_names = "strip-version,upper".parse().unwrap();
        let plan = GatherPlan { gene_column: Some("symbol".into()), gene_names, ..GatherPlan::default() };
        let cells = gather(&named(&files), &plan).unwrap().cells;
        assert_eq!(cells.var.column("symbol").unwrap().texts(), ["a.1", "c.1"].map(|t| Some(t.to_owned())));
        assert_eq!(cells.x.unwrap().to_csr().to_dense().row(2), [8.0, 7.0]);
    }

    #[test]
    fn what_cannot_be_brought_together_says_why() {
        let files = three();
        let error = |cells: &[Cells]| gather(&named(cells), &GatherPlan::default()).unwrap_err().to_string();
        let other = file(&["q"], &[&[1.0]], "type", &["x"]);
        assert!(error(&[files[0].clone(), other]).contains("A, q"));
        let twice = file(&["A", "A"], &[&[1.0, 2.0]], "type", &["x"]);
        assert!(
            error(&[files[0].clone(), twice]).contains("gene names of f1: expected each gene once, found `A` twice")
        );
        let same = [("f".to_owned(), &files[0]), ("f".to_owned(), &files[1])];
        assert!(gather(&same, &GatherPlan::default()).unwrap_err().to_string().contains("`f` twice"));
        let halves = file(&["A", "C"], &[&[0.5, 1.0]], "type", &["x"]);
        let found = gather(&named(&[files[0].clone(), halves]), &GatherPlan::default()).unwrap();
        let error = found.has(&Slot::X).unwrap_err().to_string();
        assert!(error.contains("counts in f0, other values in f1"), "{error}");
    }
}
