//! Pictures of cells by the names of what they show: in the plane, by score, by group.

use std::collections::HashMap;

use scgraft_cells::{Dense, Frame, choose_names};
use scgraft_models::Model;
use scgraft_report::scene::{Scene, Size};
use scgraft_report::{ColorValues, Coloring, Embedding as Plane, Heatmap, Picture, Split, Violins};

use crate::columns::wrong;
use crate::join::ORIGIN;
use crate::programs::{ProgramSummary, programs};
use crate::relations::{Related, gene_overlaps, matrix_table, membership, score_correlations};
use crate::shown::{Place, Shown, Value};
use crate::{Embedding, Error, pictures};

/// A picture drawn at a size, or at what suits it.
///
/// # Errors
/// Of [`Picture::draw`].
pub fn drawn(picture: &impl Picture, size: Option<Size>) -> Result<Scene, Error> {
    Ok(picture.draw(size.unwrap_or_else(|| picture.natural_size()))?)
}

/// Cells in the plane ([`crate::layout::together`] lays them out), coloured by what `name` leads to. Unless
/// `color_reference`, the cells of the reference are grey.
///
/// # Errors
/// Of [`Shown::coloring`]; when no cell has a value.
pub fn umap(
    shown: &Shown<'_>,
    (below, above): (Option<&Dense>, &Dense),
    name: &str,
    color_reference: bool,
    size: Option<Size>,
) -> Result<Scene, Error> {
    let parts: Vec<&Dense> = below.into_iter().chain([above]).collect();
    let (x, y) = (pictures::coordinate(&parts, 0), pictures::coordinate(&parts, 1));
    let coloring = shown.coloring(name, !color_reference)?;
    check_values(shown, &coloring)?;
    let grey = if color_reference { 0 } else { shown.n_reference() };
    drawn(&Plane::umap(&coloring.name, &x, &y, &coloring).over_reference(grey), size)
}

/// One number of every cell against another, and how many cells lack one of them and are not drawn.
///
/// # Errors
/// Of [`Shown::value`] and [`Shown::coloring`]; when no cell has a value.
pub fn scores(
    shown: &Shown<'_>,
    [x, y]: [&str; 2],
    color: &str,
    color_reference: bool,
    size: Option<Size>,
) -> Result<(Scene, usize), Error> {
    let (x, y) = (value(shown, x)?, value(shown, y)?);
    let mut color = shown.coloring(color, !color_reference)?;
    let has_both = |&i: &usize| x.values[i].is_finite() && y.values[i].is_finite();
    let kept: Vec<usize> = (0..x.values.len()).filter(has_both).collect();
    let of = |values: &[f32]| kept.iter().map(|&i| values[i]).collect::<Vec<_>>();
    match &mut color.values {
        ColorValues::Categories { codes, .. } => *codes = kept.iter().map(|&i| codes[i]).collect(),
        ColorValues::Scores { values, .. } => *values = of(values),
    }
    check_values(shown, &color)?;
    let (across, up) = (of(&x.values), of(&y.values));
    let scene = drawn(&Plane::programs("", (&x.name, &across), (&y.name, &up), &color), size)?;
    Ok((scene, x.values.len() - kept.len()))
}

/// The distribution of what `name` leads to in groups of cells, split by another column; with a reference by where a cell is
/// from, unless told.
///
/// # Errors
/// Of [`Shown::value`] and [`Shown::groups`].
pub fn violin(
    shown: &Shown<'_>,
    name: &str,
    groups: &str,
    split: Option<&str>,
    size: Option<Size>,
) -> Result<Scene, Error> {
    let by_origin = shown.n_reference() > 0 && groups != ORIGIN;
    let split_by = split.or_else(|| by_origin.then_some(ORIGIN));
    let (codes, levels) = shown.groups(groups)?;
    let split = split_by.map(|name| shown.groups(name)).transpose()?;
    let Value { name: title, what, values, .. } = value(shown, name)?;
    let split = match (split_by, &split) {
        (Some(name), Some((codes, levels))) => Some(Split { name, codes, levels }),
        _ => None,
    };
    let (column, parts) = split.as_ref().map_or((groups, &levels[..]), |s| (s.name, s.levels));
    let colors = pictures::own_colors(column, parts.iter(), shown.cells(), HashMap::new());
    let (value, groups) = (what.as_str(), &levels[..]);
    let picture = Violins { title: &title, value, values: &values, codes: &codes, groups, split, colors: &colors };
    drawn(&picture, size)
}

/// Means in groups of cells, as colours, or as dots whose size is how often a cell of the group is higher than one outside.
/// Without names the `top` programs that tell each group apart best.
///
/// # Errors
/// Of [`Shown::value`], [`Shown::groups`] and [`pictures::grid`].
pub fn grid(
    shown: &Shown<'_>,
    names: &[String],
    (groups, split): (&str, Option<&str>),
    top: usize,
    dots: bool,
    size: Option<Size>,
) -> Result<Scene, Error> {
    let mut levels = shown.groups(groups)?;
    if let Some(split) = split {
        levels = crossed(&levels, &shown.groups(split)?);
    }
    let places = match names {
        [] => shown.programs(),
        names => names.iter().map(|name| shown.place(name)).collect::<Result<_, _>>()?,
    };
    let values = places.iter().map(|place| shown.value(place)).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<(String, Vec<f32>)> = places.iter().zip(&values).map(row).collect();
    let all = |is: fn(&Place) -> bool| places.iter().all(is);
    let what = match (all(|p| matches!(p, Place::Program(_))), all(|p| matches!(p, Place::Gene(_)))) {
        (true, _) => "Programs".to_owned(),
        (_, true) => format!("Genes ({})", values[0].what),
        _ => "Values".to_owned(),
    };
    let title = format!("{what} by {groups}");
    let mut picture = pictures::grid(title, (&levels.0, &levels.1), &rows, names.is_empty().then_some(top))?;
    if !all(|p| matches!(p, Place::Program(_))) {
        picture.colors.value = "mean, in sd".to_owned();
    }
    if dots { drawn(&picture, size) } else { drawn(&picture.colors, size) }
}

/// How programs relate: a table, and the same as a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    /// The numbers.
    pub table: Frame,
    /// The picture.
    pub picture: Heatmap,
}

impl Relation {
    fn of(found: &Related, value: &str, diverging: bool) -> Relation {
        Relation { table: found.table(), picture: found.picture("", value, diverging) }
    }
}

/// Correlations of the scores of active programs. `patterns` choose among them (none: all); of these only what is in `among`,
/// where that is given.
///
/// # Errors
/// A pattern that no program fits; fewer than two programs; of [`score_correlations`].
pub fn correlation(embedding: &Embedding, patterns: &[String], among: Option<&[String]>) -> Result<Relation, Error> {
    let kept = embedding.names.iter().zip(&embedding.active).filter(|(_, active)| **active);
    let names = chosen(&kept.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), patterns, among)?;
    let some = embedding.select(&names).ok_or(Error::FewPrograms { found: 0 })?;
    Ok(Relation::of(&score_correlations(&some)?, "correlation", true))
}

/// The active programs of a model that are chosen as [`correlation`] chooses them.
fn chosen_programs(model: &Model, patterns: &[String], among: Option<&[String]>) -> Result<Vec<ProgramSummary>, Error> {
    let all = programs(model, &[])?;
    let all = all.ok_or(Error::NotPrograms { model: model.entry.name })?;
    let active: Vec<&str> = all.iter().filter(|p| p.is_active()).map(|p| p.name.as_str()).collect();
    let names = chosen(&active, patterns, among)?;
    Ok(all.into_iter().filter(|p| names.contains(&p.name)).collect())
}

/// Overlap (Jaccard) of the `top` heaviest genes of programs, all of them unless told.
///
/// # Errors
/// A model without programs; otherwise as [`correlation`].
pub fn overlap(
    model: &Model,
    patterns: &[String],
    among: Option<&[String]>,
    top: Option<usize>,
) -> Result<Relation, Error> {
    let programs = chosen_programs(model, patterns, among)?;
    let found = gene_overlaps(&programs.iter().collect::<Vec<_>>(), top.unwrap_or(usize::MAX));
    Ok(Relation::of(&found, "Jaccard index", false))
}

/// Which of their `top` heaviest genes (10 unless told) programs share: weights over the program's largest, gene by program.
///
/// # Errors
/// As [`overlap`].
pub fn members(
    model: &Model,
    patterns: &[String],
    among: Option<&[String]>,
    top: Option<usize>,
) -> Result<Relation, Error> {
    let programs = chosen_programs(model, patterns, among)?;
    let (genes, found) = membership(&programs.iter().collect::<Vec<_>>(), top.unwrap_or(10));
    let table = matrix_table("gene", &genes, &found.programs, &found.values);
    let value = "weight / largest".to_owned();
    let (columns, values) = (found.programs, found.values);
    Ok(Relation {
        table,
        picture: Heatmap { rows: genes, columns, values, value, diverging: true, title: String::new() },
    })
}

/// Names that are of the patterns and among those given.
fn chosen(all: &[&str], patterns: &[String], among: Option<&[String]>) -> Result<Vec<String>, Error> {
    let kept = choose_names(all, patterns, &[])?;
    let wanted = |n: &str| among.is_none_or(|some| some.iter().any(|p| p == n));
    let out: Vec<String> =
        all.iter().zip(kept).filter(|(n, k)| *k && wanted(n)).map(|(n, _)| (*n).to_owned()).collect();
    if out.len() < 2 { Err(Error::FewPrograms { found: out.len() }) } else { Ok(out) }
}

/// A row of a grid: genes by their name alone, as the title says what they are.
fn row((place, value): (&Place, &Value)) -> (String, Vec<f32>) {
    let name = if let Place::Gene(gene) = place { gene } else { &value.name };
    (name.clone(), value.values.clone())
}

/// Groups split by others: `B, query`; those that no cell is in are left out.
fn crossed(groups: &(Vec<i32>, Vec<String>), split: &(Vec<i32>, Vec<String>)) -> (Vec<i32>, Vec<String>) {
    let n = split.1.len() as i32;
    let both = groups.0.iter().zip(&split.0).map(|(&a, &b)| if a < 0 || b < 0 { -1 } else { a * n + b });
    let both: Vec<i32> = both.collect();
    let mut used: Vec<i32> = both.iter().copied().filter(|&code| code >= 0).collect();
    used.sort_unstable();
    used.dedup();
    let codes = both.iter().map(|code| used.binary_search(code).map_or(-1, |at| at as i32)).collect();
    let name = |code: &i32| format!("{}, {}", groups.1[(code / n) as usize], split.1[(code % n) as usize]);
    (codes, used.iter().map(name).collect())
}

fn value(shown: &Shown<'_>, name: &str) -> Result<Value, Error> {
    shown.value(&shown.place(name)?)
}

/// Refuses to draw every cell as one without a value.
fn check_values(shown: &Shown<'_>, coloring: &Coloring) -> Result<(), Error> {
    match coloring.is_empty() {
        true => Err(wrong(shown.name(), &coloring.name, "has no value in any cell")),
        false => Ok(()),
    }
}
