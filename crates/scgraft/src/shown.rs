//! What pictures show of cells: columns of obs, scores of programs, genes, columns of obsm (proteins), by their names; of a
//! query alone or below its reference.

use std::collections::{HashMap, HashSet};

use scgraft_cells::{Array, Cells, Column, Dense, Frame, Matrix, Slot};
use scgraft_report::{ColorValues, Coloring};

use crate::annotate::Placed;
use crate::columns::{unknown, wrong};
use crate::gather::are_counts;
use crate::join::{self, REFERENCE};
use crate::normalised::TARGET;
use crate::{Error, pictures, slots};

/// Cells to draw: those of the reference, where there is one, then those of the query.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    parts: Vec<Placed<'a>>,
    /// `obs` of all of them; with a reference as [`join::obs`] makes it.
    pub obs: Frame,
    /// Where expression is read.
    pub slot: Slot,
    /// Column of var with the names of genes; `None`: the row names.
    pub gene_column: Option<String>,
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A column of obs: `obs/NAME`.
    Obs(String),
    /// A program: `program/NAME`.
    Program(String),
    /// A gene: `gene/NAME`.
    Gene(String),
    /// A column of an entry of obsm: `obsm/KEY:COLUMN`; of a matrix without names the columns count from 0.
    Obsm(String, String),
}

/// A number for every cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What the numbers are called: the name, of a gene also the scale.
    pub name: String,
    /// What they are: the title of an axis.
    pub what: String,
    /// One a cell; NaN where it has none.
    pub values: Vec<f32>,
    /// Whether the sign matters.
    pub signed: bool,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Obs(name) => write!(f, "obs/{name}"),
            Place::Program(name) => write!(f, "program/{name}"),
            Place::Gene(name) => write!(f, "gene/{name}"),
            Place::Obsm(key, name) => write!(f, "obsm/{key}:{name}"),
        }
    }
}

impl<'a> Shown<'a> {
    /// Cells to draw; `slot` and `gene_column` say where genes are found.
    ///
    /// # Errors
    /// A query that was mapped onto another model than the reference's; a dimension of the reference that it lacks.
    pub fn new(
        reference: Option<Placed<'a>>,
        query: Placed<'a>,
        slot: Slot,
        gene_column: Option<String>,
    ) -> Result<Self, Error> {
        let obs = match &reference {
            None => query.cells.obs.clone(),
            Some(reference) => {
                join::embedding(reference, &query)?;
                join::obs(reference.cells, query.cells)
            }
        };
        Ok(Shown { parts: reference.into_iter().chain([query]).collect(), obs, slot, gene_column })
    }

    /// The files of cells, the reference first.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &'a Cells> {
        self.parts.iter().map(|p| p.cells)
    }

    /// Cells of the reference.
    pub fn n_reference(&self) -> usize {
        self.parts.iter().rev().skip(1).map(|p| p.cells.n_cells()).sum()
    }

    /// What errors call the query's cells.
    pub fn name(&self) -> &'a str {
        self.query().name
    }

    fn query(&self) -> &Placed<'a> {
        &self.parts[self.parts.len() - 1]
    }

    /// The gene names of a part.
    fn genes(&self, of: &Placed<'_>) -> Result<Vec<String>, Error> {
        let var = match (&self.slot, &of.cells.raw) {
            (Slot::Raw, Some(raw)) => &raw.var,
            (Slot::Raw, None) => return Ok(Vec::new()),
            _ => &of.cells.var,
        };
        match &self.gene_column {
            // The cells of a model have no genes at all.
            Some(_) if var.is_empty() => Ok(Vec::new()),
            Some(column) => {
                let there = || var.names().into_iter().map(str::to_owned).collect();
                let found = var.column(column);
                let named = found.ok_or_else(|| unknown("var", "column", column, there()))?;
                Ok(named.texts().into_iter().map(Option::unwrap_or_default).collect())
            }
            None => Ok(var.index.clone()),
        }
    }

    /// The columns of obsm of a part, as places: those of tables by name, of other matrices by number.
    fn tables(of: &Placed<'_>, with_numbered: bool) -> Vec<Place> {
        let columns = |(key, array): (&String, &Array)| -> Vec<Place> {
            let names = match (slots::table_names(of.cells, key), array) {
                (Some(names), _) => names,
                (None, Array::Dense(m)) if with_numbered => (0..m.n_cols).map(|j| j.to_string()).collect(),
                (None, Array::Sparse(m)) if with_numbered => (0..m.n_cols).map(|j| j.to_string()).collect(),
                _ => Vec::new(),
            };
            names.into_iter().map(|name| Place::Obsm(key.clone(), name)).collect()
        };
        of.cells.obsm.iter().flat_map(columns).collect()
    }

    /// All places that names can lead to.
    fn places(&self, with_numbered: bool) -> Result<Vec<Place>, Error> {
        let mut out: Vec<Place> = self.obs.names().into_iter().map(|n| Place::Obs(n.to_owned())).collect();
        let mut genes: HashSet<String> = HashSet::new();
        for part in &self.parts {
            let programs = part.embedding.names.iter().cloned().map(Place::Program);
            let more: Vec<Place> = programs.chain(Shown::tables(part, with_numbered)).collect();
            out.extend(more.into_iter().filter(|p| !out.contains(p)).collect::<Vec<_>>());
            genes.extend(self.genes(part)?);
        }
        out.extend(genes.into_iter().map(Place::Gene));
        Ok(out)
    }

    /// Where a name leads: one alone, or said in full (`gene/CD4`, `obsm/scgraft_proteins:CD4`).
    ///
    /// # Errors
    /// A name of nothing, or of several things; a column of var that is not there.
    pub fn place(&self, name: &str) -> Result<Place, Error> {
        let places = self.places(true)?;
        let plain = |place: &Place| match place {
            Place::Obs(n) | Place::Program(n) | Place::Gene(n) => n.clone(),
            Place::Obsm(_, n) => n.clone(),
        };
        if let Some(place) = places.iter().find(|p| p.to_string() == name) {
            return Ok(place.clone());
        }
        // Numbers of columns say nothing alone.
        let named = self.places(false)?;
        let found: Vec<Place> = named.iter().filter(|p| plain(p) == name).cloned().collect();
        match &found[..] {
            [one] => Ok(one.clone()),
            [] => {
                let known = scgraft_cells::distinct(named.iter().map(plain));
                Err(Error::NoValue { name: name.to_owned(), known })
            }
            several => Err(Error::Ambiguous {
                name: name.to_owned(),
                places: several.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// The numbers of a place.
    ///
    /// # Errors
    /// A column of obs without numbers; expression that is not in the slot of any part, or counts in one and not in the other.
    pub fn value(&self, place: &Place) -> Result<Value, Error> {
        let parts = |of: &dyn Fn(&Placed<'_>) -> Option<Vec<f32>>| -> Vec<f32> {
            let missing = |p: &Placed<'_>| vec![f32::NAN; p.cells.n_cells()];
            self.parts.iter().flat_map(|p| of(p).unwrap_or_else(|| missing(p))).collect()
        };
        let value =
            |name: &str, what: &str, values, signed| Value { name: name.into(), what: what.into(), values, signed };
        match place {
            Place::Obs(name) => {
                let of = self.query().name;
                let column = find_in(&self.obs, of, name)?;
                if !matches!(column, Column::Real(_) | Column::Integer(_)) {
                    return Err(wrong(of, name, "holds no numbers"));
                }
                let number = |i| column.number(i).map_or(f32::NAN, |v| v as f32);
                Ok(value(name, name, (0..column.len()).map(number).collect(), false))
            }
            Place::Program(name) => {
                let score =
                    |p: &Placed<'_>| p.embedding.names.iter().position(|n| n == name).map(|j| p.embedding.score(j));
                Ok(value(name, "latent score", parts(&score), true))
            }
            Place::Obsm(key, column) => {
                let values = parts(&|p| of_obsm(p.cells, key, column));
                Ok(value(column, key, values, false))
            }
            Place::Gene(gene) => self.gene(gene),
        }
    }

    /// A gene's expression: log1p of counts per 10,000 where the slot holds counts, else as it is.
    fn gene(&self, gene: &str) -> Result<Value, Error> {
        let mut found: Vec<Option<(bool, Vec<f32>)>> = Vec::new();
        for part in &self.parts {
            // A reference that a model brings has no expression.
            let at = self.genes(part)?.iter().position(|g| g == gene);
            let Some(at) = at.filter(|_| !Slot::all(part.cells).is_empty()) else {
                found.push(None);
                continue;
            };
            let (matrix, _, _) = self.slot.find(part.cells)?;
            let counts = are_counts(matrix);
            let scaled = |(value, total): (f32, f32)| {
                if counts && value > 0.0 { (TARGET * value / total).ln_1p() } else { value }
            };
            found.push(Some((counts, of_gene(matrix, at).map(scaled).collect())));
        }
        let mut kinds: Vec<bool> = found.iter().flatten().map(|f| f.0).collect();
        kinds.dedup();
        let slot = self.slot.to_string();
        let what = match kinds[..] {
            [true] => "log1p of counts per 10,000".to_owned(),
            [false] => format!("as in {slot}"),
            [] => {
                let (expected, found) = (format!("the expression of gene `{gene}`"), "none".to_owned());
                return Err(Error::Slot { slot, expected, found, remedy: "choose the slot that has it".into() });
            }
            _ => return Err(Error::TwoScales { slot, gene: gene.to_owned() }),
        };
        let sizes = self.parts.iter().map(|p| p.cells.n_cells());
        let values = found.into_iter().zip(sizes).flat_map(|(f, n)| f.map_or_else(|| vec![f32::NAN; n], |f| f.1));
        Ok(Value { name: format!("{gene}, {what}"), values: values.collect(), what, signed: false })
    }

    /// What cells are coloured by: a name's numbers, or the groups of a column of obs.
    ///
    /// Cells of the reference without a value are grey, and called so. `grey_reference` takes what it has from the others too.
    ///
    /// # Errors
    /// Of [`Shown::place`] and [`Shown::value`].
    pub fn coloring(&self, name: &str, grey_reference: bool) -> Result<Coloring, Error> {
        let place = self.place(name)?;
        let mut out = match &place {
            Place::Obs(column) => {
                let plain = pictures::coloring(column, find_in(&self.obs, self.query().name, column)?);
                pictures::in_own_colors(plain, self.cells(), HashMap::new())
            }
            other => {
                let Value { name, values, signed, .. } = self.value(other)?;
                if signed { Coloring::signed_scores(name, values) } else { Coloring::scores(name, values) }
            }
        };
        let n = self.n_reference();
        match &mut out.values {
            ColorValues::Categories { codes, .. } => {
                if grey_reference {
                    codes[..n].fill(-1);
                }
                let [below, above] = [&codes[..n], &codes[n..]].map(|part| part.iter().any(|&c| c < 0));
                if below {
                    out.missing = Some(if above { format!("{REFERENCE}, or missing") } else { REFERENCE.to_owned() });
                }
            }
            ColorValues::Scores { values, .. } if grey_reference => values[..n].fill(f32::NAN),
            ColorValues::Scores { .. } => {}
        }
        Ok(out)
    }

    /// The groups of a column of obs: a code for every cell, −1 where it has none, and their names. Cells of the reference
    /// without one are the group [`REFERENCE`].
    ///
    /// # Errors
    /// No such column, or one of numbers.
    pub fn groups(&self, name: &str) -> Result<(Vec<i32>, Vec<String>), Error> {
        let of = self.query().name;
        let ColorValues::Categories { mut codes, mut levels } =
            pictures::coloring(name, find_in(&self.obs, of, name)?).values
        else {
            return Err(Error::NotGroups { cells: of.to_owned(), name: name.to_owned() });
        };
        let without: Vec<usize> = (0..self.n_reference()).filter(|&i| codes[i] < 0).collect();
        if !without.is_empty() {
            let at = levels.iter().position(|l| l == REFERENCE).unwrap_or(levels.len());
            if at == levels.len() {
                levels.push(REFERENCE.to_owned());
            }
            without.into_iter().for_each(|i| codes[i] = at as i32);
        }
        Ok((codes, levels))
    }

    /// The scores of all programs that the fit kept, as far as every part has them.
    pub fn programs(&self) -> Vec<Place> {
        let e = self.parts[0].embedding;
        let kept = e.names.iter().zip(&e.active).filter(|(_, active)| **active);
        kept.map(|(name, _)| Place::Program(name.clone())).collect()
    }
}

/// A column of a table of cells that errors call `of`.
fn find_in<'f>(obs: &'f Frame, of: &str, name: &str) -> Result<&'f Column, Error> {
    let known = || obs.names().into_iter().map(str::to_owned).collect();
    obs.column(name).ok_or_else(|| unknown(format!("{of}: obs"), "column", name, known()))
}

/// Of every cell the value of a gene, and the sum over all genes.
fn of_gene(matrix: &Matrix, gene: usize) -> impl Iterator<Item = (f32, f32)> {
    (0..matrix.shape().0).map(move |i| match matrix {
        Matrix::Dense(m) => (m.row(i)[gene], m.row(i).iter().sum()),
        Matrix::Sparse(m) => {
            let (genes, values) = m.row(i);
            let at = genes.iter().position(|&g| g as usize == gene);
            (at.map_or(0.0, |at| values[at]), values.iter().sum())
        }
    })
}

/// A column of an entry of obsm; `None` where the cells have none.
fn of_obsm(cells: &Cells, key: &str, column: &str) -> Option<Vec<f32>> {
    let numbered = |m: &Dense| column.parse().ok().filter(|&j| j < m.n_cols).map(|j| m.column(j));
    match cells.obsm.get(key)? {
        Array::Dense(m) => numbered(m),
        Array::Sparse(m) => numbered(&m.to_dense()),
        Array::Frame(table) => {
            let at = slots::table_names(cells, key)?.iter().position(|n| n == column)?;
            let values = &table.columns[at].1;
            Some((0..values.len()).map(|i| values.number(i).map_or(f32::NAN, |v| v as f32)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Embedding;
    use scgraft_cells::Matrix;

    /// Two cells with these counts of `CD4` and of another gene, a program and a table of proteins that has a `CD4` too.
    fn cells(counts: [f32; 4]) -> (Cells, Embedding) {
        let mut obs = Frame::new(vec!["one".into(), "two".into()]);
        obs.set("depth", Column::Real(vec![1.0, 2.0]));
        let x = Matrix::Dense(Dense::new(2, 2, counts.to_vec()));
        let mut cells = Cells::new(x, obs, Frame::new(vec!["CD4".into(), "ISG15".into()]));
        let mut table = Frame::new(cells.obs.index.clone());
        table.set("CD4", Column::Real(vec![7.0, 8.0]));
        table.set("IgG", Column::Real(vec![0.0, 1.0]));
        cells.obsm.insert("proteins".into(), Array::Frame(table));
        cells.obsm.insert("pca".into(), Array::Dense(Dense::new(2, 2, vec![1.0, 2.0, 3.0, 4.0])));
        let e = Embedding {
            mean: Dense::new(2, 1, vec![0.5, -0.5]),
            variance: None,
            names: vec!["INTERFERON".into()],
            direction: vec![-1],
            confidence: vec![1.0],
            rules: Vec::new(),
            active: vec![true],
            thin: Vec::new(),
        };
        (cells, e)
    }

    fn placed<'a>(name: &'a str, (cells, embedding): &'a (Cells, Embedding)) -> Placed<'a> {
        Placed { name, cells, embedding }
    }

    fn alone(of: &(Cells, Embedding)) -> Shown<'_> {
        Shown::new(None, placed("q", of), Slot::X, None).unwrap()
    }

    #[test]
    fn a_name_leads_to_one_thing_or_is_said_in_full() {
        let of = cells([1.0, 3.0, 0.0, 5.0]);
        let shown = alone(&of);
        let numbers = |name: &str| shown.value(&shown.place(name).unwrap()).unwrap();
        assert_eq!(numbers("depth").values, [1.0, 2.0]);
        // The program's direction is down: scores are turned.
        assert_eq!((numbers("INTERFERON").values, numbers("INTERFERON").signed), (vec![-0.5, 0.5], true));
        assert_eq!(numbers("IgG").values, [0.0, 1.0]);
        assert_eq!(numbers("obsm/proteins:CD4").values, [7.0, 8.0]);
        assert_eq!(numbers("obsm/pca:1").values, [2.0, 4.0]);
        let error = shown.place("CD4").unwrap_err().to_string();
        assert!(error.contains("gene/CD4") && error.contains("obsm/proteins:CD4"), "{error}");
        for name in ["1", "CD5", "obsm/pca:2", "gene/IgG"] {
            assert!(matches!(shown.place(name), Err(Error::NoValue { .. })), "{name}");
        }
        // ln(1 + 10,000 / 4) of one count in four, where the values are counts.
        let gene = numbers("gene/CD4");
        assert!((gene.values[0] - 7.824_446).abs() < 1e-5 && gene.values[1] == 0.0, "{:?}", gene.values);
        assert_eq!(gene.name, "CD4, log1p of counts per 10,000");
        let of = cells([0.25, 3.0, 0.0, 5.0]);
        let shown = alone(&of);
        let gene = shown.value(&shown.place("gene/CD4").unwrap()).unwrap();
        assert_eq!((gene.values, gene.name), (vec![0.25, 0.0], "CD4, as in X".to_owned()));
    }

    #[test]
    fn the_reference_is_called_so_where_a_column_says_nothing_of_it() {
        let (mut reference, mut query) = (cells([1.0, 3.0, 0.0, 5.0]), cells([2.0, 2.0, 1.0, 0.0]));
        reference.0.obs.set("type", Column::categorical(&["A", "B"]));
        query.0.obs.set("type_pred", Column::categorical(&["B", "B"]));
        query.0.obs.set("condition", Column::categorical(&["ill", "ill"]));
        query.0.obsm.insert("dose".into(), Array::Dense(Dense::new(2, 1, vec![4.0, 5.0])));
        let shown = Shown::new(Some(placed("r", &reference)), placed("q", &query), Slot::X, None).unwrap();
        assert_eq!(shown.n_reference(), 2);
        assert_eq!(shown.groups("type_pred").unwrap(), (vec![0, 1, 1, 1], vec!["A".into(), "B".into()]));
        assert_eq!(shown.groups("condition").unwrap(), (vec![1, 1, 0, 0], vec!["ill".into(), REFERENCE.into()]));
        let color = |name: &str, grey| shown.coloring(name, grey).unwrap();
        let codes = |of: &Coloring| match &of.values {
            ColorValues::Categories { codes, .. } => codes.clone(),
            ColorValues::Scores { .. } => panic!("no categories"),
        };
        assert_eq!(
            (codes(&color("condition", false)), codes(&color("type_pred", true))),
            (vec![-1, -1, 0, 0], vec![-1, -1, 1, 1])
        );
        assert_eq!(color("condition", false).missing.as_deref(), Some(REFERENCE));
        let dose = shown.value(&shown.place("obsm/dose:0").unwrap()).unwrap().values;
        assert!(dose[0].is_nan() && dose[2..] == [4.0, 5.0]);
        assert!(matches!(shown.groups("depth"), Err(Error::NotGroups { .. })));

        // Counts here and other values there have no common scale; a reference without expression stays grey.
        let mut logged = reference.clone();
        logged.0.x = Some(Matrix::Dense(Dense::new(2, 2, vec![0.5; 4])));
        let shown = Shown::new(Some(placed("r", &logged)), placed("q", &query), Slot::X, None).unwrap();
        assert!(matches!(shown.value(&Place::Gene("ISG15".into())), Err(Error::TwoScales { .. })));
        (logged.0.x, logged.0.var) = (None, Frame::new(Vec::new()));
        let shown = Shown::new(Some(placed("r", &logged)), placed("q", &query), Slot::X, None).unwrap();
        let gene = shown.value(&Place::Gene("ISG15".into())).unwrap().values;
        assert!(gene[0].is_nan() && (gene[2] - 5001f32.ln()).abs() < 1e-5 && gene[3] == 0.0, "{gene:?}");
    }
}
