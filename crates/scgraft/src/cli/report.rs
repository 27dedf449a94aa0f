//! `scgraft report`: one HTML file about a run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use scgraft::analysis::transfer::UNKNOWN;
use scgraft::cells::{Cells, Frame, Uns};
use scgraft::io::{TableOptions, read_table};
use scgraft::models::Model;
use scgraft::report::html::{CellMap, Citation, Fact, Program, Report as Page, RunInfo, Transfer, TransferredLabel};
use scgraft::report::{Coloring, Heatmap};
use scgraft::{Embedding, pipeline, slots};

use super::{Global, Output, encode, files, input, pictures, plot};

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
        let inputs = [Some(&self.mapped), self.reference.as_ref(), self.model.as_ref(), self.metrics.as_ref()];
        for path in inputs.into_iter().flatten() {
            files::check_input(path)?;
            files::check_output(&self.output, &[path])?;
        }
        let (cells, query) = encode::stored(&self.mapped, slots::LATENT)?;
        let reference = self.reference.as_ref().map(|r| encode::stored(r, slots::LATENT)).transpose()?;
        let model = self.model.as_ref().map(Model::load).transpose()?;
        let title = self.title.clone().unwrap_or_else(|| format!("{}, mapped", files::stem(&self.mapped)));
        let parts = Parts {
            cells: &cells,
            query: &query,
            reference: reference.as_ref().map(|(c, e)| (c, e)),
            model: model.as_ref(),
            label: self.labels.as_deref(),
            truth: self.truth.as_deref(),
            groups: self.groups.as_deref(),
            metrics: self.metrics.as_ref().map(|p| read_table(p, &TableOptions::default())).transpose()?,
            color: &self.color,
            seed: global.seed.unwrap_or(0),
        };
        page(&title, &parts)?.write(&self.output)?;
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
/// Genes of each program in the page.
const GENES: usize = 50;

/// Fills the page.
pub(crate) fn page(title: &str, parts: &Parts<'_>) -> Result<Page> {
    let tests: Vec<_> = slots::tests(parts.cells).iter().flat_map(|(_, t)| pictures::comparisons(t)).collect();
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
        transfer: label.as_deref().and_then(|l| transfer(parts.cells, l, parts.truth)),
        programs: parts.model.map(program_list).unwrap_or_default(),
        tests,
    })
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
fn transfer(cells: &Cells, label: &str, truth: Option<&str>) -> Option<Transfer> {
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
    let truth = truth.unwrap_or(label);
    Some(Transfer {
        label: label.to_owned(),
        method: "Labels of the nearest reference cells, weighted by distance; too uncertain ones are unknown.".into(),
        labels,
        confusion: pictures::confusion(cells, label, truth),
        reliability: pictures::reliability(cells, label, truth).ok().flatten(),
    })
}

fn program_list(model: &Model) -> Vec<Program> {
    let Some(weights) = pipeline::program_weights(model) else { return Vec::new() };
    let directions = scgraft::analysis::programs::directions(&weights, Default::default());
    let signs = directions.map(|d| d.sign).unwrap_or_default();
    let program = |(j, (segment, p)): (usize, (&scgraft::models::Segment, &scgraft::models::Program))| {
        let genes = plot::gene_weights(model, &weights, j, GENES);
        Program {
            name: p.name.clone(),
            kind: if segment.origin.is_some() { "new" } else { "annotated" }.into(),
            active: !genes.is_empty(),
            direction: signs.get(j).copied().unwrap_or(0),
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
    RunInfo {
        model: of("model").and_then(shown).unwrap_or_default(),
        seed,
        data: facts,
        settings: entries("settings"),
        versions: vec![Fact::new("scgraft", env!("CARGO_PKG_VERSION"))],
        citations: citations(),
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

fn citations() -> Vec<Citation> {
    [
        (
            "Lotfollahi M. et al. Biologically informed deep learning to query gene programs in single-cell atlases. \
             Nat Cell Biol 25, 337–350 (2023).",
            "10.1038/s41556-022-01072-x",
        ),
        (
            "Lotfollahi M. et al. Mapping single-cell data to reference atlases by transfer learning. \
             Nat Biotechnol 40, 121–130 (2022).",
            "10.1038/s41587-021-01001-7",
        ),
    ]
    .map(|(text, doi)| Citation { text: text.into(), doi: doi.into() })
    .into()
}
