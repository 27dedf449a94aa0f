//! The report: one page about a mapped query, of what stands in its cells and what other steps computed.

use std::collections::HashMap;

use scgraft_analysis::programs::DirectionMethod;
use scgraft_analysis::transfer::UNKNOWN;
use scgraft_cells::{Cells, Column, Slot, Uns, distinct, each_once};
use scgraft_models::{Membership, Model};
use scgraft_report::color::Rgb;
use scgraft_report::html::{CellMap, Citation, Fact, Program, Report, RunInfo, Transfer, TransferredLabel};
use scgraft_report::{BayesFactors, ColorValues, Coloring, Heatmap, Metrics};

use crate::annotate::Placed;
use crate::programs::{ProgramSummary, programs};
use crate::shown::{Place, Shown};
use crate::{Embedding, Error, answers, columns, layout, pictures, slots};

/// How a page is made.
#[derive(Clone, Debug, Default)]
pub struct PagePlan {
    /// Its title.
    pub title: String,
    /// The label column that was carried over ([`carried_over`] finds one); `None` leaves the labels out.
    pub label: Option<String>,
    /// The labels that the cells came with, as the reference names them, and what they are called; `None` shows what was
    /// carried over without saying whether it is right.
    pub truth: Option<(String, Column)>,
    /// How directions are read off the model's weights.
    pub rule: DirectionMethod,
    /// Column of obs whose groups the programs are shown for; `None`: the labels carried over.
    pub groups: Option<String>,
    /// What cells can be coloured by, as [`Shown::place`] reads it, besides columns and the leading programs of the tests.
    pub color: Vec<String>,
    /// Genes that cells can be coloured by.
    pub genes: Vec<String>,
    /// Where their expression stands.
    pub slot: Slot,
    /// Column of var with their names; `None`: the row names.
    pub gene_column: Option<String>,
    /// Seed of the picture of the cells.
    pub seed: u64,
}

/// What a page is made of.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The query's cells, with what was carried over and tested in their slots.
    pub cells: &'a Cells,
    /// Where they lie.
    pub query: &'a Embedding,
    /// The reference's cells, and where they lie.
    pub reference: Option<(&'a Cells, &'a Embedding)>,
    /// The model with the graft: adds the genes of programs.
    pub model: Option<&'a Model>,
    /// How good the mapping is, as `pictures::metrics` draws it.
    pub metrics: Option<Metrics>,
}

/// Leading programs of each test that cells can be coloured by.
const LEADING: usize = 3;
/// Most programs that cells can be coloured by.
const MOST_COLORS: usize = 12;
/// Programs of each group in the heat map.
const PROGRAMS_OF_GROUP: usize = 3;
/// Genes of each program in the page; how many more there are is said.
const GENES: usize = 50;

/// The first label column that was carried over to cells.
pub fn carried_over(cells: &Cells) -> Option<String> {
    cells.obs.names().iter().find_map(|n| n.strip_suffix("_pred").map(str::to_owned))
}

/// The name of the test of cells that says most at first sight, which a page shows first.
pub fn main_test(cells: &Cells) -> Option<String> {
    Some(answers::tests(cells, None).into_iter().next()?.name)
}

/// Fills the page.
///
/// # Errors
/// A column of groups that is not there or empty; a colour or gene that is not there; of [`layout::together`] and
/// [`pictures::grid`].
pub fn page(parts: &Parts<'_>, plan: &PagePlan) -> Result<Report, Error> {
    let tests = answers::ordered(parts.cells, plan.label.as_deref());
    let label_colors = plan.label.as_ref().map(|l| answers::label_colors(parts, l)).unwrap_or_default();
    let answers = answers::answers(parts, plan, &tests, &label_colors);
    // The leading programs: those of the first screen, then of each test in turn.
    let mut colors = Vec::new();
    colors.extend(answers.difference.iter().flat_map(|d| &d.programs).map(|p| p.program.clone()));
    for rank in 0..LEADING {
        colors.extend(tests.iter().filter_map(|t| t.programs.get(rank)).map(|p| p.name.clone()));
    }
    let mut colors = each_once(colors);
    colors.truncate(MOST_COLORS.saturating_sub(plan.color.len()));
    let fits =
        parts.reference.map(|(reference, _)| ("Reference", reference)).into_iter().chain([("Query", parts.cells)]);
    let curves = |(title, cells)| pictures::training(title, &slots::stored_history(cells), slots::kept_epoch(cells));
    let training = fits.filter_map(curves).collect();
    let of_model = parts.model.map(|m| programs(m, &[plan.rule])).transpose().ok().flatten().flatten();
    Ok(Report {
        title: plan.title.clone(),
        answers,
        run: run_info(parts),
        training,
        embeddings: vec![cell_map(parts, plan, (tests.first(), &label_colors), &colors, false)?],
        compositions: answers::compositions(parts, plan, tests.first(), &label_colors),
        heatmaps: heat_map(parts, plan)?.into_iter().collect(),
        metrics: parts.metrics.clone(),
        transfer: plan.label.as_deref().and_then(|label| transfer(parts.cells, label, plan.truth.as_ref())),
        programs: (of_model.iter().flatten())
            .map(|p| program(p, Some(parts.query.thinness(&p.name)).filter(|share| !share.is_nan())))
            .collect(),
        tests,
    })
}

/// A page with the map of the cells alone, coloured by the first of what was asked for; what else they can be coloured by is
/// as in [`page`].
///
/// # Errors
/// As [`page`].
pub fn map(parts: &Parts<'_>, plan: &PagePlan) -> Result<Report, Error> {
    let of_label = plan.label.as_ref().map(|l| answers::label_colors(parts, l)).unwrap_or_default();
    let tests = answers::ordered(parts.cells, plan.label.as_deref());
    let map = cell_map(parts, plan, (tests.first(), &of_label), &[], true)?;
    Ok(Report { title: plan.title.clone(), embeddings: vec![map], ..Report::default() })
}

/// Programs by the groups asked for, or by the transferred labels.
fn heat_map(parts: &Parts<'_>, plan: &PagePlan) -> Result<Option<Heatmap>, Error> {
    let Some(column) = plan.groups.clone().or_else(|| plan.label.as_ref().map(|l| format!("{l}_pred"))) else {
        return Ok(None);
    };
    if parts.query.direction.iter().all(|&d| d == 0) {
        // Dimensions that are not programs have nothing to say by name.
        return Ok(None);
    }
    let (groups, rows) = columns::coded(parts.cells, "the query", &column)?;
    let levels = parts.cells.obs.column(&column).map(answers::levels_of).unwrap_or_default();
    let place = |code: u32| levels.iter().position(|l| *l == groups.levels[code as usize]).map_or(-1, |at| at as i32);
    let places: Vec<i32> = (0..groups.levels.len() as u32).map(place).collect();
    let mut codes = vec![-1; parts.cells.n_cells()];
    rows.iter().zip(&groups.codes).for_each(|(&i, &code)| codes[i] = places[code as usize]);
    let programs = pictures::kept_programs(parts.query);
    let title = format!("Programs by {column}");
    Ok(Some(pictures::grid(title, (&codes, &levels), &programs, Some(PROGRAMS_OF_GROUP))?.colors))
}

/// Reference and query in the plane; `leading` are programs to colour by, `asked_first` says whether what was asked for opens it.
fn cell_map(
    parts: &Parts<'_>,
    plan: &PagePlan,
    (main, label_colors): (Option<&BayesFactors>, &HashMap<String, Rgb>),
    leading: &[String],
    asked_first: bool,
) -> Result<CellMap, Error> {
    let (below, above) = layout::together(parts.reference, (parts.cells, parts.query), plan.seed)?;
    // The reference is in the picture only where its dimensions are the query's.
    let reference = parts.reference.filter(|_| below.is_some());
    let both: Vec<_> = below.iter().chain([&above]).collect();
    let n_query = parts.cells.n_cells();
    let n_reference = reference.map_or(0, |(c, _)| c.n_cells());
    let mut colors = Vec::new();
    if n_reference > 0 {
        let codes = std::iter::repeat_n(0, n_reference).chain(std::iter::repeat_n(1, n_query)).collect();
        colors.push(Coloring::categories("data", codes, vec!["reference".into(), "query".into()]));
    }
    let mut names: Vec<&str> = reference.map(|(c, _)| c.obs.names()).unwrap_or_default();
    names.extend(parts.cells.obs.names());
    for name in each_once(names) {
        let mine = parts.cells.obs.column(name);
        let mut coloring =
            pictures::joined(name, &[(reference.and_then(|(c, _)| c.obs.column(name)), n_reference), (mine, n_query)]);
        let worth = match &coloring.values {
            ColorValues::Categories { levels, .. } => (1..=100).contains(&levels.len()),
            ColorValues::Scores { .. } => true,
        };
        let of_label = plan
            .label
            .as_ref()
            .is_some_and(|l| [l.clone(), format!("{l}_pred"), format!("{l}_best")].iter().any(|n| n == name));
        let known = if of_label { label_colors.clone() } else { HashMap::new() };
        coloring = pictures::in_own_colors(coloring, reference.map(|(c, _)| c).into_iter().chain([parts.cells]), known);
        if worth {
            colors.push(coloring);
        }
    }
    // First what is compared, then the labels.
    let first =
        [main.and_then(|t| answers::column_of(parts.cells, t)), plan.label.as_ref().map(|l| format!("{l}_pred"))];
    colors.sort_by_key(|c| first.iter().position(|f| f.as_ref() == Some(&c.name)).unwrap_or(first.len()));
    let genes = plan.genes.iter().map(|gene| Place::Gene(gene.clone()).to_string());
    let wanted: Vec<String> = plan.color.iter().cloned().chain(genes).collect();
    let mut asked = Vec::new();
    if !wanted.is_empty() {
        let side = |name, cells, embedding| Placed { name, cells, embedding };
        let below = reference.map(|(cells, e)| side("the reference", cells, e));
        let query = side("the query", parts.cells, parts.query);
        let shown = Shown::new(below, query, plan.slot.clone(), plan.gene_column.clone())?;
        for name in &wanted {
            let coloring = shown.coloring(name, false)?;
            asked.push(coloring.name.clone());
            if colors.iter().all(|c| c.name != coloring.name) {
                colors.push(coloring);
            }
        }
    }
    for name in leading.iter().filter(|name| !asked.contains(name)) {
        let Some(j) = parts.query.names.iter().position(|n| n == name) else { continue };
        let mut values = match reference {
            None => Vec::new(),
            Some((_, e)) => match e.names.iter().position(|n| n == name) {
                Some(i) => e.score(i),
                None => vec![f32::NAN; n_reference],
            },
        };
        values.extend(parts.query.score(j));
        colors.push(Coloring::signed_scores(name, values));
    }
    if asked_first {
        colors.sort_by_key(|c| asked.iter().position(|a| *a == c.name).unwrap_or(asked.len()));
    }
    let cells = reference.map(|(c, _)| c.obs.index.clone()).unwrap_or_default();
    Ok(CellMap {
        name: if n_reference > 0 { "UMAP of reference and query" } else { "UMAP of the query" }.into(),
        axes: ["UMAP 1".into(), "UMAP 2".into()],
        x: pictures::coordinate(&both, 0),
        y: pictures::coordinate(&both, 1),
        cells: cells.into_iter().chain(parts.cells.obs.index.iter().cloned()).collect(),
        colors,
        reference: n_reference,
    })
}

/// The labels carried over, against those the query came with.
fn transfer(cells: &Cells, label: &str, truth: Option<&(String, Column)>) -> Option<Transfer> {
    let best = cells.obs.column(&format!("{label}_best"))?;
    let pred = cells.obs.column(&format!("{label}_pred"))?;
    let uncertainty = cells.obs.column(&format!("{label}_uncertainty"))?;
    let (best, pred_texts) = (best.texts(), pred.texts());
    let levels = distinct(best.iter().flatten().cloned());
    let labels = levels.iter().map(|name| {
        let of: Vec<usize> = (0..best.len()).filter(|&i| best[i].as_ref() == Some(name)).collect();
        let sum: f64 = of.iter().filter_map(|&i| uncertainty.number(i)).sum();
        TransferredLabel {
            name: name.clone(),
            cells: of.len() as u64,
            unknown: of.iter().filter(|&&i| pred_texts[i].as_deref() == Some(UNKNOWN)).count() as u64,
            uncertainty: sum / of.len().max(1) as f64,
        }
    });
    let labels = labels.collect();
    Some(Transfer {
        label: label.to_owned(),
        method: match cells.obs.column(&format!("{label}_novelty")) {
            Some(_) => {
                "Labels of the nearest reference cells, weighted by distance; cells of types that the reference does \
                        not have are unknown."
                    .into()
            }
            None => {
                "Labels of the nearest reference cells, weighted by distance; too uncertain ones are unknown.".into()
            }
        },
        labels,
        confusion: truth.and_then(|(_, given)| pictures::confusion(cells, label, given)),
        reliability: truth.and_then(|(t, given)| pictures::reliability(cells, label, (t, given)).ok().flatten()),
    })
}

/// A program as all of the page shows it: turned, so that a higher score means that its genes are up.
fn program(of: &ProgramSummary, genes_found: Option<f64>) -> Program {
    let (direction, confidence) = of.directions.first().map_or((0, 0.0), |d| (d.1, d.2));
    let mut genes = pictures::gene_weights(of, GENES);
    if direction < 0 {
        genes.iter_mut().for_each(|g| g.weight = -g.weight);
    }
    let kind = match (&of.graft, of.membership) {
        (Some(_), _) => "new",
        (None, Membership::Free) => "free",
        (None, _) => "",
    };
    Program {
        name: of.name.clone(),
        kind: kind.into(),
        active: of.is_active(),
        confidence,
        genes_found,
        n_genes: of.genes.len() as u64,
        genes,
    }
}

/// What was run, from what the file says about itself.
fn run_info(parts: &Parts<'_>) -> RunInfo {
    let mut facts = vec![Fact::new("query cells", parts.cells.n_cells())];
    if let Some((reference, _)) = parts.reference {
        facts.push(Fact::new("reference cells", reference.n_cells()));
    }
    facts.push(Fact::new("dimensions", parts.query.names.len()));
    facts.push(Fact::new("of them active", parts.query.active.iter().filter(|a| **a).count()));
    let of = |key: &str| slots::note(parts.cells, key);
    let entries = |key: &str| match of(key) {
        Some(Uns::Map(map)) => map.iter().filter_map(|(k, v)| shown(v).map(|v| Fact::new(k.clone(), v))).collect(),
        _ => Vec::new(),
    };
    if let Some(Uns::Map(provenance)) = of("provenance") {
        facts.extend(provenance.iter().filter_map(|(key, value)| fact(key, value, parts.reference.is_some())));
    }
    let seed = match of("provenance") {
        Some(Uns::Map(p)) => ["query_training", "training"].iter().find_map(|k| match p.get(*k) {
            Some(Uns::Map(t)) => {
                t.get("seed").and_then(|s| if let Uns::Int(s) = s { u64::try_from(*s).ok() } else { None })
            }
            _ => None,
        }),
        _ => None,
    };
    let model = of("model").and_then(shown).unwrap_or_default();
    RunInfo {
        seed,
        data: facts,
        settings: entries("settings"),
        versions: vec![Fact::new("scgraft", env!("CARGO_PKG_VERSION"))],
        citations: citations(&model),
        model,
        ..RunInfo::default()
    }
}

/// One thing that training or mapping noted; `None` for what the report says elsewhere.
fn fact(key: &str, value: &Uns, with_reference: bool) -> Option<Fact> {
    let name = match key {
        "query_cells" | "scgraft" => return None,
        "cells" if with_reference => return None,
        "cells" => "reference cells",
        "best_epoch" | "query_best_epoch" => {
            let Uns::Int(before) = value else { return None };
            let whose = if key == "best_epoch" { "reference" } else { "query" };
            return Some(match before + 1 {
                0 => Fact::new(format!("state kept, {whose}"), "its start"),
                epoch => Fact::new(format!("epoch kept, {whose}"), epoch),
            });
        }
        "query" => "file of the query",
        "reference" => "file of the reference",
        "programs" => "files of the programs",
        "missing_genes" => "genes the query lacks",
        "values" => "values taken from",
        "dropped_programs" => "gene sets left out",
        other => &other.replace('_', " "),
    };
    shown(value).map(|v| Fact::new(name, v))
}

/// A plain value as text.
fn shown(value: &Uns) -> Option<String> {
    match value {
        Uns::Text(t) => Some(t.clone()),
        Uns::Int(i) => Some(i.to_string()),
        // Settings are f32: their shortest form, not that of the f64 they became.
        Uns::Float(f) => Some((*f as f32).to_string()),
        Uns::Bool(b) => Some(b.to_string()),
        Uns::Texts(t) => Some(few(t)),
        Uns::Ints(_, v) => Some(few(&v.iter().map(i64::to_string).collect::<Vec<_>>())),
        _ => None,
    }
}

/// The first of a list, and how many more there are.
fn few(list: &[String]) -> String {
    const FEW: usize = 6;
    match list.len().saturating_sub(FEW) {
        0 => list.join(", "),
        more => format!("{}, and {more} more", list[..FEW].join(", ")),
    }
}

/// The works behind the model that was used; none of a model that this version does not know.
fn citations(model: &str) -> Vec<Citation> {
    let cite = scgraft_models::find(model).map_or(&[][..], |entry| entry.cite);
    let citation = |work: &&str| {
        let (text, doi) = work.split_once(" doi:").unwrap_or((work, ""));
        Citation { text: text.to_owned(), doi: doi.to_owned() }
    };
    cite.iter().map(citation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::ProgramGene;

    #[test]
    fn a_program_shows_its_genes_as_its_turned_score_moves_them() {
        let gene = |weight, in_set| ProgramGene { name: "G".into(), weight, share: 1.0, in_set };
        let of = |sign, membership, in_set| {
            let summary = ProgramSummary {
                name: "P".into(),
                graft: None,
                membership,
                directions: vec![(DirectionMethod::Top, sign, 0.9)],
                set_size: 0,
                genes: vec![gene(-2.0, in_set)],
                entropy: 0.0,
                switched_off: None,
                stand_in: None,
                stands_for: Vec::new(),
            };
            let program = program(&summary, None);
            (program.kind, program.genes[0].weight, program.genes[0].added)
        };
        assert_eq!(of(-1, Membership::Hard, true), (String::new(), 2.0, false));
        assert_eq!(of(1, Membership::Free, false), ("free".into(), -2.0, true));
    }

    #[test]
    fn of_a_long_list_the_first_are_named() {
        let names: Vec<String> = (1..=402).map(|i| i.to_string()).collect();
        assert_eq!(few(&names[..6]), "1, 2, 3, 4, 5, 6");
        assert_eq!(few(&names), "1, 2, 3, 4, 5, 6, and 396 more");
    }

    #[test]
    fn the_model_that_was_used_is_cited() {
        let first = |model: &str| citations(model).first().map(|c| (c.text.clone(), c.doi.clone()));
        let scvi = first("scvi").unwrap();
        assert!(scvi.0.ends_with("1053–1058 (2018).") && scvi.1 == "10.1038/s41592-018-0229-2", "{scvi:?}");
        assert!(citations("scvi").iter().all(|c| !c.text.contains("gene programs")), "expiMap was not used");
        assert!(first("expimap").unwrap().0.contains("query gene programs"));
        assert_eq!(first("another"), None);
    }
}
