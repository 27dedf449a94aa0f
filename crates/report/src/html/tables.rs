//! The parts of the page that are text and tables.

use maud::{Markup, html};

use super::content::{Fact, Program, Report, RunInfo, Transfer};
use crate::axis::number;
use crate::{BayesFactors, Metrics};

/// So many tests become columns of the table of programs.
const TEST_COLUMNS: usize = 4;
/// So many genes are named in the row of a program; the others show when it is opened.
const GENES_IN_ROW: usize = 4;

/// Names and values side by side.
pub(super) fn facts(facts: &[Fact]) -> Markup {
    html! {
        @if !facts.is_empty() {
            dl class="facts" { @for f in facts { div { dt { (f.name) } dd { (f.value) } } } }
        }
    }
}

/// A table that scrolls by itself when it is wider than the page, also by keyboard.
pub(super) fn scrolled(name: &str, table: &Markup) -> Markup {
    html! { div class="scroll" role="region" tabindex="0" aria-label=(name) { (table) } }
}

/// A heading that sorts its column.
pub(super) fn sortable(name: &str, kind: &str, tip: &str) -> Markup {
    let tip = Some(tip).filter(|t| !t.is_empty());
    html! { th scope="col" class=(kind) title=[tip] { button type="button" class="sort" { (name) } } }
}

/// A number cell; an empty one sorts last.
pub(super) fn numeric(value: Option<f64>, decimals: usize, strong: bool) -> Markup {
    let value = value.filter(|v| v.is_finite());
    html! {
        td class=(if strong { "num strong" } else { "num" }) data-v=[value] {
            @if let Some(v) = value { (number(v, decimals)) }
        }
    }
}

/// A long name that may break after an underscore.
pub(super) fn named(name: &str) -> Markup {
    html! { @for (at, part) in name.split('_').enumerate() { @if at > 0 { "_" wbr; } (part) } }
}

/// Per label: cells, those that are nearest to it but unknown, uncertainty of both as a bar.
pub(super) fn labels(transfer: &Transfer) -> Markup {
    let table = html! {
        table class="sorted" data-name="labels" {
            thead {
                tr {
                    (sortable(&transfer.label, "", ""))
                    (sortable("cells", "num", ""))
                    (sortable("nearest, but unknown", "num", "cells that are nearest to this label and were called unknown"))
                    (sortable("mean uncertainty", "num", ""))
                }
            }
            tbody {
                @for l in &transfer.labels {
                    @let uncertainty = l.uncertainty.clamp(0.0, 1.0);
                    tr {
                        th scope="row" { (l.name) }
                        (numeric(Some(l.cells.saturating_sub(l.unknown) as f64), 0, false))
                        (numeric(Some(l.unknown as f64), 0, false))
                        td class="num" data-v=(uncertainty) {
                            span class="meter" { i style={ "width:" (format!("{:.1}", 100.0 * uncertainty)) "%" } {} }
                            (format!("{uncertainty:.2}"))
                        }
                    }
                }
            }
        }
    };
    scrolled("Transferred labels", &table)
}

/// All programs: sortable, filterable, genes on request.
pub(super) fn programs(report: &Report) -> Markup {
    if report.programs.is_empty() {
        return Markup::default();
    }
    let tests: Vec<&BayesFactors> = report.tests.iter().take(TEST_COLUMNS).collect();
    // Active ones first, the strongest in the main test before the others.
    let strength = |p: &Program| {
        tests.first().and_then(|t| t.programs.iter().find(|f| f.name == p.name)).map_or(0.0, |f| f.log_bf.abs())
    };
    let mut ordered: Vec<(usize, &Program)> = report.programs.iter().enumerate().collect();
    ordered.sort_by(|(_, a), (_, b)| b.active.cmp(&a.active).then(strength(b).total_cmp(&strength(a))));
    let listed = report.programs.iter().filter(|p| p.n_genes > p.genes.len() as u64).map(|p| p.genes.len()).max();
    let table = html! {
        table class="sorted" id="program-table" data-name="programs" {
            thead {
                tr {
                    (sortable("program", "", ""))
                    @for test in &tests { (sortable(&test.title, "num test-column", "log Bayes factor")) }
                    (sortable(
                        "clear",
                        "num",
                        "scores are turned so that a higher one means that the heaviest genes are up; how clear that is: \
                         from 0 (as much up as down) to 1 (all one way)",
                    ))
                    (sortable("genes", "num", ""))
                    th scope="col" { "most important genes" }
                }
            }
            tbody { @for (i, p) in ordered { (program(i, p, &tests)) } }
        }
    };
    html! {
        p class="controls" {
            label {
                "Filter "
                input type="search" id="program-filter" placeholder="program or gene" autocomplete="off";
            }
            label { input type="checkbox" id="program-active" checked; " only active" }
            @if let Some(first) = tests.first() {
                label {
                    input type="checkbox" id="program-strong" data-threshold=(first.threshold);
                    " only |log BF| ≥ " (number(first.threshold, 1))
                }
            }
            span id="program-count" role="status" {}
        }
        p class="quiet" {
            @if !tests.is_empty() { "Numbers under a test are log Bayes factors. " }
            span class="gene" { "gene" } " in the gene set, " span class="gene added" { "gene" }
            " added by the model. Open a program to see its genes with their weights"
            @if let Some(n) = listed { " (the " (n) " heaviest)" }
            "."
        }
        (scrolled("Programs", &table))
        p class="controls" { button type="button" id="program-more" hidden {} }
    }
}

fn program(i: usize, p: &Program, tests: &[&BayesFactors]) -> Markup {
    let n_genes = p.n_genes.max(p.genes.len() as u64);
    let more = n_genes.saturating_sub(GENES_IN_ROW as u64);
    html! {
        tr data-i=(i) data-active=(u8::from(p.active)) {
            th scope="row" {
                button type="button" class="open" aria-expanded="false" { (named(&p.name)) }
                @if !p.kind.is_empty() { " " span class="quiet" { (p.kind) } }
                @if !p.active { " " span class="quiet" { "inactive" } }
                @if let Some(share) = p.genes_found {
                    " " span class="quiet" title="its scores say little of the query" {
                        "only " (number(100.0 * share, 0)) " % of its genes in the query"
                    }
                }
            }
            @for t in tests {
                @let factor = t.programs.iter().find(|f| f.name == p.name).map(|f| f.log_bf);
                (numeric(factor, 2, factor.is_some_and(|v| v.abs() >= t.threshold)))
            }
            (numeric(Some(p.confidence), 2, false))
            (numeric(Some(n_genes as f64), 0, false))
            td class="genes" {
                @for g in p.genes.iter().take(GENES_IN_ROW) {
                    span class=(if g.added { "gene added" } else { "gene" }) { (g.name) } " "
                }
                @if more > 0 { span class="quiet" { "+" (more) } }
            }
        }
    }
}

/// The numbers behind the metric picture.
pub(super) fn metrics(m: &Metrics) -> Markup {
    let value = |i: usize, j: usize| Some(m.values[i * m.metrics.len() + j]);
    let table = html! {
        table class="sorted" data-name="metrics" {
            thead {
                tr {
                    (sortable("embedding", "", ""))
                    @for c in &m.metrics { (sortable(&c.name, "num", c.group.title())) }
                }
            }
            tbody {
                @for (i, name) in m.methods.iter().enumerate() {
                    tr {
                        th scope="row" { (name) }
                        @for j in 0..m.metrics.len() { (numeric(value(i, j), 4, m.best(j) == value(i, j))) }
                    }
                }
            }
        }
    };
    html! { details { summary { "All numbers" } (scrolled("Metrics", &table)) } }
}

/// Methods, citations, settings, versions.
pub(super) fn methods(run: &RunInfo) -> Markup {
    let mut settings = run.settings.clone();
    if let Some(seed) = run.seed {
        settings.insert(0, Fact::new("seed", seed));
    }
    html! {
        @for paragraph in &run.methods { p class="prose" { (paragraph) } }
        @if !run.citations.is_empty() {
            h3 { "Please cite" }
            ol class="prose" {
                @for c in &run.citations {
                    li {
                        (c.text)
                        @if !c.doi.is_empty() {
                            " " a href={ "https://doi.org/" (c.doi) } rel="noreferrer" { "doi:" (c.doi) }
                        }
                    }
                }
            }
        }
        @if !run.command.is_empty() {
            h3 { "Command" }
            (scrolled("Command", &html! { pre { (run.command) } }))
        }
        details {
            summary { "Settings and versions" }
            @for (title, list) in [("Settings", &settings), ("Versions", &run.versions)] {
                @if !list.is_empty() { h3 { (title) } (facts(list)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GeneWeight, ProgramBayesFactor};

    fn report() -> Report {
        let gene = |i: usize| GeneWeight { name: format!("G{i}"), weight: -1.0 / (i + 1) as f64, added: false };
        let named = |name: &str, log_bf: f64| ProgramBayesFactor { name: name.into(), log_bf, se: None };
        Report {
            programs: vec![Program {
                name: "LARGE".into(),
                active: true,
                confidence: 0.414,
                n_genes: 491,
                genes: (0..50).map(gene).collect(),
                ..Program::default()
            }],
            tests: vec![BayesFactors {
                title: "stimulated versus control".into(),
                programs: vec![named("WEAK", 1.0), named("SECOND", -2.4), named("FIRST", 5.6)],
                ..BayesFactors::default()
            }],
            ..Report::default()
        }
    }

    #[test]
    fn all_genes_of_a_program_are_counted_and_how_clearly_they_go_up_is_told() {
        let html = programs(&report()).into_string();
        for part in [">491<", "+487", ">0.41<", "its genes with their weights (the 50 heaviest)"] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn active_programs_come_first_and_columns_are_headed_by_their_test() {
        let mut report = report();
        let of = |name: &str, active| Program { name: name.into(), active, ..Program::default() };
        report.programs.extend([of("WEAK", true), of("FIRST", false), of("SECOND", true)]);
        let html = programs(&report).into_string();
        assert!(html.contains(">stimulated versus control</button>"), "{html}");
        let at = |row: usize| html.find(&format!("data-i=\"{row}\"")).unwrap();
        assert!(at(3) < at(1) && at(1) < at(0) && at(0) < at(2), "second, weak, untested, inactive: {html}");
    }
}
