//! The page around the sections.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::content::Report;
use super::{answers, pack, sections, tables};
use crate::ReportError;
use crate::svg::font_faces;

const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("../../assets/map_data.js"),
    include_str!("../../assets/save.js"),
    include_str!("../../assets/map_draw.js"),
    include_str!("../../assets/map.js"),
    include_str!("../../assets/table.js"),
    include_str!("../../assets/page.js"),
    "})();"
);

/// Nothing may be loaded from anywhere; fonts and images are inside the page.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; font-src data:; img-src data:";

impl Report {
    /// The page as text.
    ///
    /// # Errors
    /// Parts that do not fit together ([`ReportError`] says which), or pictures that cannot be drawn.
    pub fn to_html(&self) -> Result<String, ReportError> {
        let parts: Vec<(&str, &str, Markup)> = [
            ("overview", "What the results say", Some(answers::overview(self))),
            ("cells", "Cells", sections::cells(self)?),
            ("tests", "Program tests", sections::tests(self)?),
            ("programs", "Programs", sections::programs(self)?),
            ("composition", "Composition", sections::compositions(self)?),
            ("transfer", "Label transfer", sections::transfer(self)?),
            ("metrics", "Metrics", sections::metrics(self)?),
            ("training", "Training", sections::training(self)?),
            ("methods", "Methods and settings", Some(tables::methods(&self.run))),
        ]
        .into_iter()
        .filter_map(|(id, title, part)| part.map(|part| (id, title, part)))
        .collect();
        self.page(&parts, false)
    }

    /// The map of the cells alone, as text: no other section, no navigation.
    ///
    /// # Errors
    /// No map; as [`Report::to_html`].
    pub fn map_to_html(&self) -> Result<String, ReportError> {
        let empty = || ReportError::Empty { what: "map of the cells".into(), hint: "pass an embedding" };
        let cells = sections::cells(self)?.ok_or_else(empty)?;
        self.page(&[("cells", "Cells", cells)], true)
    }

    fn page(&self, parts: &[(&str, &str, Markup)], alone: bool) -> Result<String, ReportError> {
        let title = if self.title.is_empty() { "scgraft report" } else { &self.title };
        let below: Vec<&str> =
            [&self.run.model, &self.run.date].into_iter().filter(|s| !s.is_empty()).map(String::as_str).collect();
        let data = pack::json(self)?;
        let version = env!("CARGO_PKG_VERSION");
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="generator" content={ "scgraft " (version) };
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href="data:,";
                    title { (title) }
                    style { (PreEscaped(font_faces())) "\n" (PreEscaped(STYLE)) }
                }
                body class=[alone.then_some("alone")] {
                    a class="skip" href="#main" { "Skip to the results" }
                    header {
                        div { h1 { (title) } p { (below.join(" · ")) } }
                        button type="button" id="theme" aria-pressed="false" { "Dark" }
                    }
                    @if !alone {
                        nav aria-label="Sections" {
                            ul { @for (id, title, _) in parts { li { a href={ "#" (id) } { (title) } } } }
                        }
                    }
                    main id="main" tabindex="-1" {
                        @for (id, title, part) in parts {
                            section id=(id) aria-label=(title) { @if !alone { h2 { (title) } } (part) }
                        }
                    }
                    @if !alone { footer { "Made with scgraft " (version) ". This file holds all its data and loads nothing." } }
                    script type="application/json" id="data" { (PreEscaped(data)) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        Ok(page.into_string())
    }
}
