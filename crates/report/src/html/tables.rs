//! The parts of the page that are text and tables.

use super::model::{Fact, Program, Report, RunInfo, Transfer};
use super::sections::Section;
use crate::axis::number;
use crate::svg::escape;
use crate::{BayesFactors, Metrics};

/// So many tests become columns of the table of programs.
const TEST_COLUMNS: usize = 4;
/// So many genes are named in the row of a program; the others show when it is opened.
const GENES_IN_ROW: usize = 8;

/// Names and values side by side.
pub(super) fn facts(facts: &[Fact]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let rows: String =
        facts.iter().map(|f| format!("<div><dt>{}</dt><dd>{}</dd></div>", escape(&f.name), escape(&f.value))).collect();
    format!("<dl class=\"facts\">{rows}</dl>")
}

/// A table that scrolls by itself when it is wider than the page, also by keyboard.
fn scrolled(name: &str, table: &str) -> String {
    format!("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">{table}</div>", escape(name))
}

/// A heading that sorts its column.
fn sortable(name: &str, kind: &str, tip: &str) -> String {
    let tip = if tip.is_empty() { String::new() } else { format!(" title=\"{}\"", escape(tip)) };
    format!(
        "<th scope=\"col\" class=\"{kind}\"{tip}><button type=\"button\" class=\"sort\">{}</button></th>",
        escape(name)
    )
}

/// A number cell; an empty one sorts last.
fn numeric(value: Option<f64>, decimals: usize) -> String {
    match value.filter(|v| v.is_finite()) {
        None => "<td class=\"num\"></td>".to_owned(),
        Some(v) => format!("<td class=\"num\" data-v=\"{v}\">{}</td>", number(v, decimals)),
    }
}

/// Per label: cells, unknown share, uncertainty as a bar.
pub(super) fn labels(transfer: &Transfer) -> String {
    let rows: String = transfer
        .labels
        .iter()
        .map(|l| {
            let share = if l.cells > 0 { 100.0 * l.unknown as f64 / l.cells as f64 } else { f64::NAN };
            let share = numeric(Some(share), 1);
            let uncertainty = l.uncertainty.clamp(0.0, 1.0);
            format!(
                "<tr><th scope=\"row\">{}</th>{}{share}<td class=\"num\" data-v=\"{uncertainty}\"><span class=\"meter\">\
                 <i style=\"width:{:.1}%\"></i></span>{}</td></tr>",
                escape(&l.name),
                numeric(Some(l.cells as f64), 0),
                100.0 * uncertainty,
                number(uncertainty, 2)
            )
        })
        .collect();
    let head = [
        sortable(&transfer.label, "", ""),
        sortable("cells", "num", ""),
        sortable("% unknown", "num", "cells above the threshold of uncertainty"),
        sortable("mean uncertainty", "num", ""),
    ]
    .concat();
    let table = format!("<table class=\"sorted\"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>");
    scrolled("Transferred labels", &table)
}

/// All programs: sortable, filterable, genes on request.
pub(super) fn programs(report: &Report) -> String {
    if report.programs.is_empty() {
        return String::new();
    }
    let tests: Vec<&BayesFactors> = report.tests.iter().take(TEST_COLUMNS).collect();
    let mut head = sortable("program", "", "") + &sortable("kind", "", "") + &sortable("genes", "num", "");
    head += &sortable(
        "a higher score: genes",
        "",
        "whether a higher latent score means higher or lower expression of the genes, and how clear that is: from 0 (as \
         much up as down) to 1 (all one way)",
    );
    for (i, test) in tests.iter().enumerate() {
        let name = if tests.len() == 1 { "log BF".to_owned() } else { format!("log BF {}", i + 1) };
        head += &sortable(&name, "num", &test.title);
    }
    head += "<th scope=\"col\">most important genes</th>";

    let rows: String = report.programs.iter().enumerate().map(|(i, p)| program(i, p, &tests)).collect();
    let keys: String = if tests.len() > 1 {
        let each = tests.iter().enumerate().map(|(i, t)| format!("log BF {}: {}", i + 1, escape(&t.title)));
        format!("<p class=\"quiet\">{}</p>", each.collect::<Vec<_>>().join("; "))
    } else {
        String::new()
    };
    let strong = if tests.is_empty() {
        String::new()
    } else {
        let threshold = tests[0].threshold;
        format!(
            "<label><input type=\"checkbox\" id=\"program-strong\" data-threshold=\"{threshold}\"> only |log BF| ≥ {}</label>",
            number(threshold, 1)
        )
    };
    let listed = report.programs.iter().filter(|p| p.n_genes > p.genes.len() as u64).map(|p| p.genes.len()).max();
    let cut = listed.map_or_else(String::new, |n| format!(" (the {n} heaviest)"));
    format!(
        "<p class=\"controls\"><label>Filter <input type=\"search\" id=\"program-filter\" \
         placeholder=\"program or gene\" autocomplete=\"off\"></label>\
         <label><input type=\"checkbox\" id=\"program-active\"> only active</label>{strong}\
         <span id=\"program-count\" role=\"status\"></span></p>{keys}\
         <p class=\"quiet\"><span class=\"gene\">gene</span> in the gene set, <span class=\"gene added\">gene</span> added \
         by the model. Open a program to see its genes with their weights{cut}.</p>{}",
        scrolled(
            "Programs",
            &format!(
                "<table class=\"sorted\" id=\"program-table\"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            )
        )
    )
}

fn program(i: usize, p: &Program, tests: &[&BayesFactors]) -> String {
    let direction = match p.direction {
        1.. => format!("<td data-v=\"{0}\">▲ up {1}</td>", p.confidence, number(p.confidence, 2)),
        0 => "<td data-v=\"0\">–</td>".to_owned(),
        _ => format!("<td data-v=\"{0}\">▼ down {1}</td>", -p.confidence, number(p.confidence, 2)),
    };
    let factors: String = tests
        .iter()
        .map(|t| {
            let value = t.programs.iter().find(|f| f.name == p.name).map(|f| f.log_bf);
            let cell = numeric(value, 2);
            if value.is_some_and(|v| v.abs() >= t.threshold) { cell.replace("\"num\"", "\"num strong\"") } else { cell }
        })
        .collect();
    let genes: String = p
        .genes
        .iter()
        .take(GENES_IN_ROW)
        .map(|g| format!("<span class=\"gene{}\">{}</span> ", if g.added { " added" } else { "" }, escape(&g.name)))
        .collect();
    let n_genes = p.n_genes.max(p.genes.len() as u64);
    let more = n_genes.saturating_sub(GENES_IN_ROW as u64);
    let more = if more > 0 { format!("<span class=\"quiet\">+{more}</span>") } else { String::new() };
    format!(
        "<tr data-i=\"{i}\" data-active=\"{}\"><th scope=\"row\"><button type=\"button\" class=\"open\" \
         aria-expanded=\"false\">{}</button></th><td>{}{}</td>{}{direction}{factors}<td class=\"genes\">{genes}{more}</td></tr>",
        u8::from(p.active),
        // Long names may break after an underscore.
        escape(&p.name).replace('_', "_<wbr>"),
        escape(&p.kind),
        if p.active { "" } else { " <span class=\"quiet\">inactive</span>" },
        numeric(Some(n_genes as f64), 0),
    )
}

/// The numbers behind the metric picture.
pub(super) fn metrics(m: &Metrics) -> String {
    let head: String = m.metrics.iter().map(|c| sortable(&c.name, "num", c.group.title())).collect();
    let rows: String = m
        .methods
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let cells: String = (0..m.metrics.len())
                .map(|j| {
                    let value = m.values[i * m.metrics.len() + j];
                    let cell = numeric(Some(value), 4);
                    if m.best(j) == Some(value) { cell.replace("\"num\"", "\"num strong\"") } else { cell }
                })
                .collect();
            format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", escape(name))
        })
        .collect();
    let table = format!(
        "<table class=\"sorted\"><thead><tr>{}{head}</tr></thead><tbody>{rows}</tbody></table>",
        sortable("embedding", "", "")
    );
    format!("<details><summary>All numbers</summary>{}</details>", scrolled("Metrics", &table))
}

/// Methods, citations, settings, versions.
pub(super) fn methods(run: &RunInfo) -> Section {
    let mut html: String = run.methods.iter().map(|p| format!("<p class=\"prose\">{}</p>", escape(p))).collect();
    if !run.citations.is_empty() {
        html += "<h3>Please cite</h3><ol class=\"prose\">";
        for c in &run.citations {
            html += &format!("<li>{}", escape(&c.text));
            if !c.doi.is_empty() {
                let doi = escape(&c.doi);
                html += &format!(" <a href=\"https://doi.org/{doi}\" rel=\"noreferrer\">doi:{doi}</a>");
            }
            html += "</li>";
        }
        html += "</ol>";
    }
    if !run.command.is_empty() {
        html += &format!("<h3>Command</h3>{}", scrolled("Command", &format!("<pre>{}</pre>", escape(&run.command))));
    }
    let mut settings = run.settings.clone();
    if let Some(seed) = run.seed {
        settings.insert(0, Fact::new("seed", seed));
    }
    for (title, list) in [("Settings", &settings), ("Versions", &run.versions)] {
        if !list.is_empty() {
            html += &format!("<h3>{title}</h3>{}", facts(list));
        }
    }
    Section { id: "methods", title: "Methods and settings", html }
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
                direction: -1,
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
    fn all_genes_of_a_program_are_counted_and_its_sign_has_its_clearness() {
        let html = programs(&report());
        for part in [">491<", "+483", "▼ down 0.41", "its genes with their weights (the 50 heaviest)"] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn enriched_programs_are_named_the_strongest_first() {
        let html = super::super::sections::overview(&report()).html;
        let wanted = "programs enriched, stimulated versus control: FIRST higher, SECOND lower";
        assert!(html.contains(wanted) && !html.contains("WEAK"), "{html}");
    }
}
