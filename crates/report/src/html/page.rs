//! The page around the sections.

use super::model::Report;
use super::sections::{self, Section};
use super::{pack, tables};
use crate::ReportError;
use crate::svg::{escape, font_faces};

const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = concat!(
    include_str!("../../assets/map_data.js"),
    include_str!("../../assets/map_draw.js"),
    include_str!("../../assets/map.js"),
    include_str!("../../assets/table.js"),
    include_str!("../../assets/page.js")
);

/// Nothing may be loaded from anywhere; fonts and images are inside the page.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; font-src data:; img-src data:";

pub(super) fn write(report: &Report) -> Result<String, ReportError> {
    let parts: Vec<Section> = [
        Some(sections::overview(report)),
        sections::cells(report)?,
        sections::transfer(report)?,
        sections::tests(report)?,
        sections::programs(report)?,
        sections::metrics(report)?,
        sections::training(report)?,
        Some(tables::methods(&report.run)),
    ]
    .into_iter()
    .flatten()
    .collect();

    let title = if report.title.is_empty() { "scgraft report".to_owned() } else { escape(&report.title) };
    let below = [&report.run.model, &report.run.date].into_iter().filter(|s| !s.is_empty());
    let below: Vec<String> = below.map(|s| escape(s)).collect();
    let links: String =
        parts.iter().map(|s| format!("<li><a href=\"#{}\">{}</a></li>", s.id, escape(s.title))).collect();
    let body: String = parts
        .iter()
        .map(|s| {
            format!(
                "<section id=\"{0}\" aria-labelledby=\"{0}-h\"><h2 id=\"{0}-h\">{1}</h2>{2}</section>\n",
                s.id,
                escape(s.title),
                s.html
            )
        })
        .collect();
    let data = pack::json(report)?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"generator\" content=\"scgraft {version}\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>{fonts}\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the results</a>\n\
         <header><div><h1>{title}</h1><p>{below}</p></div>\
         <button type=\"button\" id=\"theme\" aria-pressed=\"false\">Dark</button></header>\n\
         <nav aria-label=\"Sections\"><ul>{links}</ul></nav>\n<main id=\"main\" tabindex=\"-1\">\n{body}</main>\n\
         <footer>Made with scgraft {version}. This file holds all its data and loads nothing.</footer>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>\n(() => {{\n\"use strict\";\n{SCRIPT}}})();\n</script>\n\
         </body>\n</html>\n",
        fonts = font_faces(),
        below = below.join(" · "),
    ))
}
