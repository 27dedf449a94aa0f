//! `scgraft report`: one HTML file about a run.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use scgraft::analysis::programs::DirectionMethod;
use scgraft::analysis::transfer::UNKNOWN;
use scgraft::cells::{Cells, Frame, Uns};
use scgraft::io::{TableOptions, read_table};
use scgraft::models::Model;
use scgraft::report::html::{CellMap, Citation, Fact, Program, Report as Page, RunInfo, Transfer, TransferredLabel};
use scgraft::report::{BayesFactors, Coloring, Heatmap};
use scgraft::{Embedding, pipeline, slots};

use super::direction::Direction;
use super::label_map::{LabelMap, Renamed};
use super::{Global, Output, encode, files, input, pictures, plot, remote};

const EXAMPLES: &str = "\
One file that needs no network: cells to zoom and colour, transferred labels, program tests, genes of programs, losses.

Examples:
  scgraft report mapped.h5ad -o report.html
  scgraft report mapped.h5ad --reference reference_out.h5ad --model mapped.scgraft --labels cell_type -o report.html
  scgraft report mapped.h5ad --metrics metrics.tsv --groups condition -o report.html";

/// Write an HTML report.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Report {
    /// A mapped query, annotated and tested
    pub mapped: PathBuf,
    /// The reference with its embedding: the query is placed in its picture
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// The model with the graft (`map --save-model`): adds the genes of programs
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Label column that was carried over [default: the first with `_pred`]
    #[arg(long, value_name = "COLUMN")]
    pub labels: Option<String>,
    /// Column of obs with the labels the cells came with [default: that of --labels]
    #[arg(long, value_name = "COLUMN")]
    pub truth: Option<String>,
    #[command(flatten)]
    pub label_map: LabelMap,
    #[command(flatten)]
    pub direction: Direction,
    /// Column of obs whose groups the programs are shown for, as a heat map [default: the transferred labels]
    #[arg(long, value_name = "COLUMN")]
    pub groups: Option<String>,
    /// The table of `evaluate --tsv`
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Programs the cells can be coloured by, besides the leading ones of the tests
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub color: Vec<String>,
    /// Title of the page
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// The page
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

impl Report {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        let inputs = [Some(&self.mapped), self.reference.as_ref(), self.metrics.as_ref()];
        let mut inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
        inputs.iter().try_for_each(|path| files::check_input(path))?;
        self.model.iter().try_for_each(|path| remote::check_input(path))?;
        inputs.extend(self.model.as_deref());
        files::check_output(&self.output, &inputs)?;
        let turned = |file: &Path| -> Result<_> {
            let (cells, e) = encode::stored(file, slots::LATENT)?;
            Ok((cells, self.direction.apply(e, file)?))
        };
        let (cells, query) = turned(&self.mapped)?;
        let reference = self.reference.as_ref().map(|r| turned(r)).transpose()?;
        let renamed = self.label_map.read()?;
        let model = self.model.as_ref().map(remote::model).transpose()?;
        let title = self.title.clone().unwrap_or_else(|| format!("{}, mapped", files::stem(&self.mapped)));
        let parts = Parts {
            cells: &cells,
            query: &query,
            reference: reference.as_ref().map(|(c, e)| (c, e)),
            model: model.as_ref(),
            label: self.labels.as_deref(),
            truth: self.truth.as_deref(),
            renamed: &renamed,
            rule: self.direction.method(),
            groups: self.groups.as_deref(),
            metrics: self.metrics.as_ref().map(|p| read_table(p, &TableOptions::default())).transpose()?,
            color: &self.color,
            seed: global.seed.unwrap_or(0),
        };
        scgraft::save::page(&self.output, &page(&title, &parts)?)?;
        out.line(format!("wrote {}", self.output.display()));
        out.put("files", files::shown(&[self.output]));
        Ok(())
    }
}

/// What a page is made of.
pub(crate) struct Parts<'a> {
    pub cells: &'a Cells,
    pub query: &'a Embedding,
    pub reference: Option<(&'a Cells, &'a Embedding)>,
    pub model: Option<&'a Model>,
    pub label: Option<&'a str>,
    pub truth: Option<&'a str>,
    /// What the query's own labels are called in the reference.
    pub renamed: &'a Renamed,
    /// How directions are read off the model's weights.
    pub rule: DirectionMethod,
    /// Column of obs whose groups the programs are shown for.
    pub groups: Option<&'a str>,
    /// The table of `evaluate`.
    pub metrics: Option<Frame>,
    pub color: &'a [String],
    pub seed: u64,
}

/// Leading programs of each test that cells can be coloured by.
const LEADING: usize = 3;
/// Most programs that cells can be coloured by.
const MOST_COLORS: usize = 12;
/// Programs of each group in the heat map.
const PROGRAMS_OF_GROUP: usize = 3;
/// Genes of each program in the page; how many more there are is said.
const GENES: usize = 50;

/// Fills the page.
pub(crate) fn page(title: &str, parts: &Parts<'_>) -> Result<Page> {
    let tests = by_turns(slots::tests(parts.cells).iter().map(|(_, t)| pictures::comparisons(t)).collect());
    let mut programs: Vec<String> = parts.color.to_vec();
    for test in &tests {
        programs.extend(test.programs.iter().take(LEADING).map(|p| p.name.clone()));
    }
    let mut seen = std::collections::HashSet::new();
    programs.retain(|p| seen.insert(p.clone()));
    programs.truncate(MOST_COLORS);
    let label = match parts.label {
        Some(label) => Some(label.to_owned()),
        None => parts.cells.obs.names().iter().find_map(|n| n.strip_suffix("_pred").map(str::to_owned)),
    };
    let history = pictures::stored_history(parts.cells);
    let mut training = Vec::new();
    if let Some((reference, _)) = parts.reference {
        training.extend(pictures::training("Reference", &pictures::stored_history(reference)));
    }
    training.extend(pictures::training("Query", &history));
    Ok(Page {
        title: title.to_owned(),
        run: run_info(parts),
        training,
        embeddings: vec![cell_map(parts, &programs)?],
        heatmaps: heat_map(parts, label.as_deref())?.into_iter().collect(),
        metrics: parts.metrics.as_ref().and_then(|t| pictures::metrics("", t)),
        transfer: label.as_deref().and_then(|l| transfer(parts, l)),
        programs: parts.model.map(|m| program_list(m, parts.rule)).unwrap_or_default(),
        tests,
    })
}

/// The comparisons of several tests, in turns: the first of each test, then the second of each, tests of few comparisons
/// first. What is shown of the first few then has something of every test: a condition's one comparison does not come after
/// those of a dozen cell types.
fn by_turns(mut tests: Vec<Vec<BayesFactors>>) -> Vec<BayesFactors> {
    tests.sort_by_key(Vec::len);
    let most = tests.iter().map(Vec::len).max().unwrap_or(0);
    let mut tests: Vec<_> = tests.into_iter().map(Vec::into_iter).collect();
    (0..most).flat_map(|_| tests.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect()
}

/// Programs by the groups asked for, or by the transferred labels.
fn heat_map(parts: &Parts<'_>, label: Option<&str>) -> Result<Option<Heatmap>> {
    let Some(column) = parts.groups.map(str::to_owned).or_else(|| label.map(|l| format!("{l}_pred"))) else {
        return Ok(None);
    };
    if parts.query.direction.iter().all(|&d| d == 0) {
        // Dimensions that are not programs have nothing to say by name.
        return Ok(None);
    }
    let (groups, rows) = input::coded(parts.cells, "the mapped file", &column)?;
    let e = if rows.len() == parts.cells.n_cells() { parts.query.clone() } else { parts.query.select_cells(&rows) };
    Ok(Some(plot::grid(&e, &column, &groups, &[], PROGRAMS_OF_GROUP)?.colors))
}

/// Reference and query in the plane.
fn cell_map(parts: &Parts<'_>, programs: &[String]) -> Result<CellMap> {
    let (below, above) = pictures::layout(parts.reference, (parts.cells, parts.query), parts.seed)?;
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
    let mut seen = std::collections::HashSet::new();
    for name in names.into_iter().filter(|n| seen.insert(*n)) {
        let mine = parts.cells.obs.column(name);
        let coloring =
            pictures::joined(name, &[(reference.and_then(|(c, _)| c.obs.column(name)), n_reference), (mine, n_query)]);
        let worth = match &coloring.values {
            scgraft::report::ColorValues::Categories { levels, .. } => (1..=100).contains(&levels.len()),
            scgraft::report::ColorValues::Scores { .. } => true,
        };
        if worth {
            colors.push(coloring);
        }
    }
    for name in programs {
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
    let cells = reference.map(|(c, _)| c.obs.index.clone()).unwrap_or_default();
    Ok(CellMap {
        name: if n_reference > 0 { "UMAP of reference and query" } else { "UMAP of the query" }.into(),
        axes: ["UMAP 1".into(), "UMAP 2".into()],
        x: pictures::coordinate(&both, 0),
        y: pictures::coordinate(&both, 1),
        cells: cells.into_iter().chain(parts.cells.obs.index.iter().cloned()).collect(),
        colors,
    })
}

/// The labels carried over, against those the query came with.
fn transfer(parts: &Parts<'_>, label: &str) -> Option<Transfer> {
    let (cells, truth) = (parts.cells, parts.truth.unwrap_or(label));
    let best = cells.obs.column(&format!("{label}_best"))?;
    let pred = cells.obs.column(&format!("{label}_pred"))?;
    let uncertainty = cells.obs.column(&format!("{label}_uncertainty"))?;
    let (best, pred_texts) = (best.texts(), pred.texts());
    let mut levels: Vec<String> = best.iter().flatten().cloned().collect();
    levels.sort_unstable();
    levels.dedup();
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
        method: "Labels of the nearest reference cells, weighted by distance; too uncertain ones are unknown.".into(),
        labels,
        confusion: pictures::confusion(cells, label, truth, parts.renamed),
        reliability: pictures::reliability(cells, label, truth, parts.renamed).ok().flatten(),
    })
}

fn program_list(model: &Model, rule: DirectionMethod) -> Vec<Program> {
    let Some(weights) = pipeline::program_weights(model) else { return Vec::new() };
    let found = scgraft::analysis::programs::directions(&weights, rule).ok();
    let program = |(j, (segment, p)): (usize, (&scgraft::models::Segment, &scgraft::models::Program))| {
        let genes = plot::gene_weights(model, &weights, j, GENES);
        Program {
            name: p.name.clone(),
            kind: if segment.origin.is_some() { "new" } else { "annotated" }.into(),
            active: !genes.is_empty(),
            direction: found.as_ref().map_or(0, |d| d.sign[j]),
            confidence: found.as_ref().map_or(0.0, |d| d.confidence[j]),
            n_genes: (0..weights.n_rows).filter(|&g| weights.row(g)[j] != 0.0).count() as u64,
            genes,
        }
    };
    model.header.programs().enumerate().map(program).collect()
}

/// What was run, from what the file says about itself.
fn run_info(parts: &Parts<'_>) -> RunInfo {
    let mut facts = vec![Fact::new("query cells", parts.cells.n_cells())];
    if let Some((reference, _)) = parts.reference {
        facts.push(Fact::new("reference cells", reference.n_cells()));
    }
    facts.push(Fact::new("dimensions", parts.query.names.len()));
    facts.push(Fact::new("of them active", parts.query.active.iter().filter(|a| **a).count()));
    let notes = match parts.cells.uns.get(slots::NOTES) {
        Some(Uns::Map(notes)) => Some(notes),
        _ => None,
    };
    let of = |key: &str| notes.and_then(|n| n.get(key));
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
            return Some(Fact::new(format!("epoch kept, {whose}"), before + 1));
        }
        "query" => "file of the query",
        "reference" => "file of the reference",
        "programs" => "files of the programs",
        "missing_genes" => "genes the query lacks",
        "values" => "values taken from",
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
        Uns::Texts(t) => Some(t.join(", ")),
        Uns::Ints(_, v) => Some(v.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")),
        _ => None,
    }
}

/// The works behind the model that was used; none of a model that this version does not know.
fn citations(model: &str) -> Vec<Citation> {
    let cite = scgraft::models::find(model).map_or(&[][..], |entry| entry.cite);
    let citation = |work: &&str| {
        let (text, doi) = work.split_once(" doi:").unwrap_or((work, ""));
        Citation { text: text.to_owned(), doi: doi.to_owned() }
    };
    cite.iter().map(citation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_that_was_used_is_cited() {
        let first = |model: &str| citations(model).first().map(|c| (c.text.clone(), c.doi.clone()));
        let scvi = first("scvi").unwrap();
        assert!(scvi.0.ends_with("1053–1058 (2018).") && scvi.1 == "10.1038/s41592-018-0229-2", "{scvi:?}");
        assert!(citations("scvi").iter().all(|c| !c.text.contains("gene programs")), "expiMap was not used");
        assert!(first("expimap").unwrap().0.contains("query gene programs"));
        assert_eq!(first("another"), None);
    }

    #[test]
    fn every_test_is_among_the_first_comparisons() {
        let test = |name: &str, n: usize| -> Vec<BayesFactors> {
            (0..n).map(|i| BayesFactors { title: format!("{name} {i}"), ..BayesFactors::default() }).collect()
        };
        let order = by_turns(vec![test("type", 3), test("condition", 1), test("within", 2)]);
        let titles: Vec<&str> = order.iter().map(|t| t.title.as_str()).collect();
        assert_eq!(titles, ["condition 0", "within 0", "type 0", "within 1", "type 1", "type 2"]);
    }
}
