//! A query and its reference as one: what was asked of the cells of one file is asked of both.
//!
//! Cells of the reference stand first. [`ORIGIN`] says where a cell is from. A label that was carried over to the query as
//! `L_pred` stands in the reference as `L`: there the reference's cells have their own labels, so that a type is one group
//! across both files.

use std::collections::{BTreeSet, HashSet};

use scgraft_analysis::neighbours::Search;
use scgraft_analysis::transfer::UNKNOWN;
use scgraft_cells::{Array, Cells, Column, Dense, Frame, Slot, Uns};

use crate::annotate::Placed;
use crate::columns::{find, stacked, wrong};
use crate::embedding::shared;
use crate::gather::{GatherPlan, has, put_arrays, put_expression};
use crate::layout::Layout;
use crate::page::carried_over;
use crate::{Embedding, Error, slots};

/// `obs` of joined cells: [`REFERENCE`] or [`QUERY`].
pub const ORIGIN: &str = "scgraft_origin";
/// The cells of the reference.
pub const REFERENCE: &str = "reference";
/// The cells of the query.
pub const QUERY: &str = "query";
/// `obs` of cells that [`against_known`] chose: [`NOT_KNOWN`], or what they are compared with.
pub const KNOWLEDGE: &str = "scgraft_unknown";
/// Cells that the reference does not know.
pub const NOT_KNOWN: &str = "unknown";
/// Cells of the query that it knows.
pub const KNOWN: &str = "known";
/// Cells of the reference that lie nearest to those it does not know.
pub const NEAREST: &str = "nearest of the reference";

/// Endings of the columns of a query that hold what the reference has without the ending.
const CARRIED: [&str; 4] = ["_pred", "_best", "_majority", "_nested"];

/// What is compared with what, as a user says it of a query, alone or with its reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparing {
    /// Column of obs with the groups; `None`: where a cell is from.
    pub groups: Option<String>,
    /// The groups to test; none: all of them.
    pub group: Vec<String>,
    /// Groups they are compared with, [`REFERENCE`] all of its cells, [`REST`] all other cells; none: the rest, or the
    /// reference where no groups are named.
    pub versus: Vec<String>,
    /// Column of obs within each level of which groups are compared.
    pub within: Option<String>,
    /// Test the cells that the reference does not know instead, by this label column, or by the first that was carried over.
    pub unknown: Option<Option<String>>,
    /// Nearest cells of the reference that each unknown cell is compared with.
    pub k: usize,
}

/// All other cells.
pub const REST: &str = "rest";

/// What that comes to: a column, its levels, and the cells of it where they are not all.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The column of obs.
    pub groups: String,
    /// The levels to test; none: all.
    pub group: Vec<String>,
    /// The levels that they are compared with.
    pub versus: Vec<String>,
    /// The cells that are compared, with `groups` among their obs, and where they lie; `None`: all.
    pub some: Option<(Cells, Embedding)>,
}

impl Comparing {
    /// Which cells are compared, of the query or of `joined`; a reference that is asked for as a group becomes one.
    ///
    /// # Errors
    /// No labels that were carried over; of [`against_known`], [`Joined::reference_as_group`] and [`Joined::takes_part`].
    pub fn of(&self, query: &Placed<'_>, joined: Option<&mut Joined>, search: &Search) -> Result<Compared, Error> {
        if let Some(label) = &self.unknown {
            let label = label.clone().or_else(|| carried_over(query.cells));
            let label = label.ok_or_else(|| Error::NotAnnotated { cells: query.name.to_owned() })?;
            let joined = joined.as_deref();
            let (rows, column) = against_known(query, &label, joined, (self.k, search))?;
            let (all, embedding) = joined.map_or((query.cells, query.embedding), |j| (&j.cells, &j.embedding));
            let mut cells = all.select_cells(&rows);
            cells.obs.set(KNOWLEDGE, column);
            let other = if joined.is_some() { NEAREST } else { KNOWN };
            let [group, versus] = [NOT_KNOWN, other].map(|name| vec![name.to_owned()]);
            let some = Some((cells, embedding.select_cells(&rows)));
            return Ok(Compared { groups: KNOWLEDGE.to_owned(), group, versus, some });
        }
        let groups = self.groups.clone().unwrap_or_else(|| ORIGIN.to_owned());
        let word = if self.groups.is_none() { REFERENCE } else { REST };
        let versus = if self.versus.is_empty() { vec![word.to_owned()] } else { self.versus.clone() };
        if let Some(joined) = joined {
            if versus.iter().chain(&self.group).any(|name| name == REFERENCE) {
                joined.reference_as_group(query.name, &groups)?;
            }
            for column in [&groups].into_iter().chain(&self.within) {
                joined.takes_part(query.name, column)?;
            }
        }
        Ok(Compared { groups, group: self.group.clone(), versus, some: None })
    }
}

impl Compared {
    /// A name for the test.
    pub fn name(&self, within: Option<&str>) -> String {
        let within = within.map(|w| format!(" within {w}")).unwrap_or_default();
        let groups = match self.groups.as_str() {
            ORIGIN => QUERY,
            KNOWLEDGE => NOT_KNOWN,
            column => column,
        };
        format!("{groups} versus {}{within}", self.versus.join(","))
    }
}

/// The cells of a reference and of a query.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Both, the reference's first: `obs` with [`ORIGIN`], what both have of `X`, layers, `raw` and `obsm`, and the notes of
    /// the reference on what the dimensions mean.
    pub cells: Cells,
    /// Where they lie, in the dimensions of the reference.
    pub embedding: Embedding,
    /// Cells of the reference.
    pub n_reference: usize,
    /// Slots that both have and that were not joined, and why.
    pub left_out: Vec<(String, String)>,
}

/// Joins a query with its reference.
///
/// Columns of `obs` of both are kept, empty where a cell's file has none. Of the expression the genes that both have are
/// kept; a slot that holds counts in one and other values in the other is left out. So are pictures and components that were
/// made of each file by itself: their axes are not the same.
///
/// # Errors
/// A query that was mapped onto another model; a dimension of the reference that it lacks.
pub fn join(reference: &Placed<'_>, query: &Placed<'_>) -> Result<Joined, Error> {
    let embedding = embedding(reference, query)?;
    let (a, b) = (reference.cells, query.cells);
    let (mut cells, mut left_out) = counts(a, b);
    let own = [slots::LATENT.to_owned(), format!("{}{}", slots::LATENT, slots::VARIANCE), slots::UMAP.to_owned()];
    put_arrays(&mut cells, &parts(a, b), &own, &mut left_out);
    if let Some(Uns::Map(notes)) = a.uns.get(slots::NOTES) {
        let kept = notes.iter().filter(|(name, _)| *name != "tests" && !name.starts_with("umap "));
        cells.uns.insert(slots::NOTES.to_owned(), Uns::Map(kept.map(|(k, v)| (k.clone(), v.clone())).collect()));
    }
    cells.obsm.insert(slots::LATENT.to_owned(), Array::Dense(embedding.mean.clone()));
    if let Some(variance) = &embedding.variance {
        cells.obsm.insert(format!("{}{}", slots::LATENT, slots::VARIANCE), Array::Dense(variance.clone()));
    }
    match (slots::layout(a, slots::UMAP), slots::layout(b, slots::UMAP)) {
        (Some(a), Some(b)) if b.placed && a.coordinates.n_cols == b.coordinates.n_cols => {
            let layout = Layout { coordinates: below(&a.coordinates, &b.coordinates), scale: a.scale, placed: false };
            slots::put_layout(&mut cells, slots::UMAP, layout);
        }
        (Some(_), Some(_)) => left_out.push((
            format!("obsm[\"{}\"]", slots::UMAP),
            "the query's picture was not made in that of the reference".to_owned(),
        )),
        _ => {}
    }
    Ok(Joined { cells, embedding, n_reference: a.n_cells(), left_out })
}

/// The cells of both, the reference's first, with `obs` and what both have of the expression; and the slots that were not
/// joined, with the reasons.
pub(crate) fn counts(a: &Cells, b: &Cells) -> (Cells, Vec<(String, String)>) {
    let mut left_out = Vec::new();
    let mut cells = Cells::empty(obs(a, b), Frame::new(Vec::new()));
    put_expression(&mut cells, &parts(a, b), &GatherPlan::default(), &mut left_out);
    (cells, left_out)
}

fn parts<'a>(reference: &'a Cells, query: &'a Cells) -> [(&'static str, &'a Cells); 2] {
    [("the reference", reference), ("the query", query)]
}

/// Where the cells of both lie, in the dimensions of the reference.
///
/// # Errors
/// As [`join`].
pub fn embedding(reference: &Placed<'_>, query: &Placed<'_>) -> Result<Embedding, Error> {
    let model = |cells| slots::note(cells, "reference");
    if let (Some(a), Some(b)) = (model(reference.cells), model(query.cells))
        && a != b
    {
        return Err(Error::OtherReference { cells: [reference.name, query.name].map(str::to_owned) });
    }
    let (a, b) = (reference.embedding, shared(reference.embedding, query.embedding)?);
    let variance = a.variance.as_ref().zip(b.variance.as_ref()).map(|(a, b)| below(a, b));
    // What the query lacks.
    Ok(Embedding { mean: below(&a.mean, &b.mean), variance, thin: b.thin, ..a.clone() })
}

/// `obs` of both, with [`ORIGIN`]. Names of cells that both have get the origin as an ending.
pub fn obs(reference: &Cells, query: &Cells) -> Frame {
    let (a, b) = (&reference.obs, &query.obs);
    let names: HashSet<&str> = a.index.iter().map(String::as_str).collect();
    let twice = b.index.iter().any(|name| names.contains(name.as_str()));
    let ending = |origin: &str| if twice { format!("-{origin}") } else { String::new() };
    let named = |index: &[String], origin| -> Vec<String> {
        let ending = ending(origin);
        index.iter().map(|name| format!("{name}{ending}")).collect()
    };
    let index = [named(&a.index, REFERENCE), named(&b.index, QUERY)].concat();
    let mut out = Frame { index_name: a.index_name.clone(), ..Frame::new(index) };
    let codes = std::iter::repeat_n(0, a.len()).chain(std::iter::repeat_n(1, b.len())).collect();
    let categories = vec![REFERENCE.to_owned(), QUERY.to_owned()];
    out.set(ORIGIN, Column::Categorical { codes, categories, ordered: false });
    let mut seen: HashSet<&str> = HashSet::from([ORIGIN]);
    for name in a.names().into_iter().chain(b.names()).filter(|name| seen.insert(name)) {
        let own = CARRIED.iter().find_map(|ending| name.strip_suffix(ending)).and_then(|label| a.column(label));
        let of_reference = a.column(name).or(own.filter(|_| b.column(name).is_some()));
        out.set(name, stacked(&[(of_reference, a.len()), (b.column(name), b.len())]));
    }
    out
}

impl Joined {
    /// Refuses cells without expression in a slot that is needed of both.
    ///
    /// # Errors
    /// Then, with the reason.
    pub fn has(&self, slot: &Slot) -> Result<(), Error> {
        has(&self.cells, &self.left_out, slot, "the expression of the query and of the reference")
    }

    /// Makes the cells of the reference one group, [`REFERENCE`], in a column of `obs`, whatever they have there.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn reference_as_group(&mut self, name: &str, column: &str) -> Result<(), Error> {
        let mut texts = find(&self.cells, name, column)?.texts();
        texts[..self.n_reference].fill(Some(REFERENCE.to_owned()));
        self.cells.obs.set(column, Column::Text(texts));
        Ok(())
    }

    /// Refuses a column in which no cell of the reference has a value: it would take no part in what is compared.
    ///
    /// # Errors
    /// Then, or when there is no such column.
    pub fn takes_part(&self, name: &str, column: &str) -> Result<(), Error> {
        let values = find(&self.cells, name, column)?;
        if (0..self.n_reference).all(|i| values.label(i).is_none()) {
            return Err(Error::ReferenceLacks { column: column.to_owned() });
        }
        Ok(())
    }
}

/// The cells that a reference does not know (`<label>_pred` is unknown), and those they are compared with: rows of the query,
/// or of `joined`, and a column [`KNOWLEDGE`] of these.
///
/// Without a reference they are compared with the query's other cells: the same study, and every program of the query. With
/// one, with the `k` cells of the reference nearest to each of them: what sets them apart from the most alike that the
/// reference has. (Chosen for being near, these lie a little nearer in every program than the others of their type.)
///
/// # Errors
/// No such column; no cell that is unknown, or none that is known; of the search.
pub fn against_known(
    query: &Placed<'_>,
    label: &str,
    joined: Option<&Joined>,
    (k, search): (usize, &Search),
) -> Result<(Vec<usize>, Column), Error> {
    let column = format!("{label}_pred");
    let predicted = find(query.cells, query.name, &column)?.texts();
    let is_new = |text: &Option<String>| text.as_deref() == Some(UNKNOWN);
    let (new, known): (Vec<usize>, Vec<usize>) = (0..predicted.len()).partition(|&i| is_new(&predicted[i]));
    if new.is_empty() {
        return Err(wrong(query.name, &column, format!("says `{UNKNOWN}` of no cell: the reference knows them all")));
    }
    let (new, others, word) = match joined {
        None if known.is_empty() => {
            return Err(wrong(
                query.name,
                &column,
                format!("says `{UNKNOWN}` of every cell; compare with a reference"),
            ));
        }
        None => (new, known, KNOWN),
        Some(joined) => {
            let n = joined.n_reference;
            let mean = &joined.embedding.mean;
            let new: Vec<usize> = new.into_iter().map(|i| n + i).collect();
            let reference = mean.select_rows(&(0..n).collect::<Vec<_>>());
            let near = search.between(&reference, &mean.select_rows(&new), k.min(n))?.neighbours;
            let nearest: BTreeSet<usize> = near.indices.iter().map(|&i| i as usize).collect();
            (new, nearest.into_iter().collect(), NEAREST)
        }
    };
    let codes = std::iter::repeat_n(0, new.len()).chain(std::iter::repeat_n(1, others.len())).collect();
    let categories = vec![NOT_KNOWN.to_owned(), word.to_owned()];
    Ok(([new, others].concat(), Column::Categorical { codes, categories, ordered: false }))
}

/// One matrix below the other.
pub(crate) fn below(a: &Dense, b: &Dense) -> Dense {
    Dense::new(a.n_rows + b.n_rows, a.n_cols, [&a.values[..], &b.values].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::{EnrichPlan, enrich};
    use crate::go_on;
    use scgraft_analysis::programs::{Comparison, ProgramTestOptions};
    use scgraft_cells::Matrix;
    use scgraft_numeric::random::Random;

    /// Cells at these means (with noise), with their labels in a column, and counts of these genes: cell i has i + 1 of the
    /// first, 10 (i + 1) of the second and so on.
    fn cells(of: &[(&str, [f32; 4], usize)], column: &str, genes: &[&str], seed: u64) -> (Cells, Embedding) {
        let mut random = Random::new(seed, 0);
        let labels: Vec<&str> = of.iter().flat_map(|(label, _, n)| std::iter::repeat_n(*label, *n)).collect();
        let n = labels.len();
        let means = of.iter().flat_map(|(_, mean, n)| std::iter::repeat_n(*mean, *n)).flatten();
        let mean: Vec<f32> = means.map(|m| m + 0.3 * random.normal() as f32).collect();
        let mut obs = Frame::new((0..n).map(|i| format!("cell{i}")).collect());
        obs.set(column, Column::categorical(&labels));
        let count = |i: usize, j: usize| ((i + 1) * 10usize.pow(j as u32)) as f32;
        let x = (0..n).flat_map(|i| (0..genes.len()).map(move |j| count(i, j))).collect();
        let var = Frame::new(genes.iter().map(|g| (*g).to_owned()).collect());
        let embedding = Embedding {
            mean: Dense::new(n, 4, mean),
            variance: Some(Dense::new(n, 4, vec![1.0; 4 * n])),
            names: ["P0", "P1", "P2", "P3"].map(str::to_owned).to_vec(),
            direction: vec![1; 4],
            confidence: vec![1.0; 4],
            rules: Vec::new(),
            active: vec![true; 4],
            thin: Vec::new(),
        };
        (Cells::new(Matrix::Dense(Dense::new(n, genes.len(), x)), obs, var), embedding)
    }

    /// A reference of two types, and a query that is shifted as a whole along P3 and has cells that are B but for P2.
    fn both_sides() -> [(Cells, Embedding); 2] {
        let reference = [("A", [2.0, 0.0, 0.0, 0.0], 60), ("B", [0.0, 2.0, 0.0, 0.0], 60)];
        let query =
            [("A", [2.0, 0.0, 0.0, -1.5], 30), ("B", [0.0, 2.0, 0.0, -1.5], 30), (UNKNOWN, [0.0, 2.0, 3.0, -1.5], 20)];
        let mut query = cells(&query, "type_pred", &["c", "x", "a"], 2);
        query.0.obs.set("dose", Column::Real((0..80).map(f64::from).collect()));
        [cells(&reference, "type", &["a", "b", "c"], 1), query]
    }

    fn placed<'a>(name: &'a str, (cells, embedding): &'a (Cells, Embedding)) -> Placed<'a> {
        Placed { name, cells, embedding }
    }

    #[test]
    fn a_query_below_its_reference() {
        let [a, b] = both_sides();
        let joined = join(&placed("a", &a), &placed("b", &b)).unwrap();
        let cells = &joined.cells;
        assert_eq!((joined.n_reference, cells.n_cells(), cells.n_genes()), (120, 200, 2));
        let text = |column: &str, i: usize| cells.obs.column(column).unwrap().text(i);
        assert_eq!([text(ORIGIN, 119), text(ORIGIN, 120)].map(Option::unwrap), [REFERENCE, QUERY]);
        // A label that was carried over: the reference has its own there.
        assert_eq!([0, 60, 120, 199].map(|i| text("type_pred", i).unwrap()), ["A", "B", "A", UNKNOWN]);
        assert_eq!((text("type", 0), text("type", 120)), (Some("A".into()), None));
        assert_eq!((text("dose", 0), text("dose", 125)), (None, Some("5".into())));
        // Both files have a cell0.
        assert_eq!([&cells.obs.index[0], &cells.obs.index[120]], ["cell0-reference", "cell0-query"]);
        // Genes by name: `a` is first in one file and last in the other.
        assert_eq!(cells.var.index, ["a", "c"]);
        let x = cells.x.as_ref().unwrap().to_csr().to_dense();
        assert_eq!((x.row(1), x.row(121)), (&[2.0, 200.0][..], &[200.0, 2.0][..]));
        assert_eq!(joined.embedding.mean.row(121), b.1.mean.row(1));
        assert!(joined.left_out.is_empty());
    }

    #[test]
    fn what_is_not_the_same_thing_is_left_out_or_refused() {
        let [mut a, mut b] = both_sides();
        let Some(Matrix::Dense(x)) = &mut b.0.x else { panic!() };
        x.values[0] = 0.5;
        for (of, placed) in [(&mut a.0, false), (&mut b.0, false)] {
            let n = of.n_cells();
            let coordinates = Dense::new(n, 2, (0..2 * n).map(|i| i as f32).collect());
            slots::put_layout(of, slots::UMAP, Layout { coordinates, scale: None, placed });
        }
        let joined = join(&placed("a", &a), &placed("b", &b)).unwrap();
        assert!(joined.cells.x.is_none() && !joined.cells.obsm.contains_key(slots::UMAP));
        let slots_left: Vec<&str> = joined.left_out.iter().map(|l| l.0.as_str()).collect();
        assert_eq!(slots_left, ["X", "obsm[\"X_scgraft_umap\"]"]);
        assert!(joined.left_out[0].1.contains("counts in the reference, other values in the query"));
        assert!(matches!(joined.takes_part("b", "dose"), Err(Error::ReferenceLacks { .. })));
        assert!(joined.takes_part("b", "type_pred").is_ok());

        for (of, hash) in [(&mut a.0, "one"), (&mut b.0, "another")] {
            slots::put_note(of, "reference", Uns::Text(hash.into()));
        }
        let error = join(&placed("a", &a), &placed("b", &b)).unwrap_err().to_string();
        assert!(error.contains("b: ") && error.contains("model of a"), "{error}");
        b.1.names[3] = "other".into();
        assert!(embedding(&placed("a", &a), &placed("b", &b)).is_err());
    }

    #[test]
    fn the_planted_program_tells_what_the_reference_does_not_know() {
        let [a, b] = both_sides();
        let (reference, query) = (placed("a", &a), placed("b", &b));
        let joined = join(&reference, &query).unwrap();
        let exact = (5, &Search::Exact);
        // By the query alone, and against the nearest cells of the reference, from which its shift sets them apart as well.
        for (joined, word, n) in [(None, KNOWN, 60), (Some(&joined), NEAREST, 0)] {
            let (rows, column) = against_known(&query, "type", joined, exact).unwrap();
            let (all, embedding) = joined.map_or((&b.0, &b.1), |j| (&j.cells, &j.embedding));
            let mut cells = all.select_cells(&rows);
            cells.obs.set(KNOWLEDGE, column);
            if joined.is_some() {
                let near: Vec<usize> = rows[20..].to_vec();
                assert!(near.iter().all(|i| (60..120).contains(i)), "all are of type B: {near:?}");
                assert!((5..=60).contains(&near.len()));
            } else {
                assert_eq!(rows.len() - 20, n);
            }
            let test = ProgramTestOptions {
                groups: Some(vec![NOT_KNOWN.into()]),
                comparison: Comparison::Groups(vec![word.into()]),
                min_cells: 5,
                ..ProgramTestOptions::default()
            };
            let plan = EnrichPlan { groups: KNOWLEDGE.into(), test, ..EnrichPlan::default() };
            let found = enrich((&cells, "b"), &embedding.select_cells(&rows), &plan, None, &mut go_on).unwrap();
            let first = &found.test.rows[0];
            assert_eq!((first.name.as_str(), first.enriched(), first.n_group), ("P2", true, 20));
            // Φ(3 / √2), with noise of sd 0.3 on either side: Φ(3 / √(2 + 0.18)) = 0.979, log odds 3.84. The nearest lie up to
            // two sd of the noise nearer: Φ(2.4 / √(2 + 0.18)) = 0.948, log odds 2.90.
            let least = if joined.is_some() { 2.9 - 0.2 } else { 3.84 - 0.5 };
            assert!((least..=3.84 + 0.5).contains(&first.log_bayes_factor), "{}", first.log_bayes_factor);
        }
        let mut known = b.clone();
        known.0.obs.set("type_pred", Column::categorical(&["A"; 80]));
        let error = against_known(&placed("b", &known), "type", None, exact).unwrap_err().to_string();
        assert!(error.contains("knows them all"), "{error}");
    }

    #[test]
    fn the_reference_as_one_group() {
        let [a, b] = both_sides();
        let mut joined = join(&placed("a", &a), &placed("b", &b)).unwrap();
        joined.reference_as_group("b", "type_pred").unwrap();
        let column = joined.cells.obs.column("type_pred").unwrap();
        assert!((0..120).all(|i| column.text(i).as_deref() == Some(REFERENCE)));
        assert_eq!(column.text(120).as_deref(), Some("A"));
    }
}
