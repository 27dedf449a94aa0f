//! The first screen, and how labels are shared out.

use maud::{Markup, html};

use super::content::{Answers, Composition, Criterion, Difference, Leading, Light, OverDonors, Report, TypeShare};
use super::tables::{self, named, numeric, scrolled, sortable};
use crate::axis::number;

/// Types named with a bar of their own; the others together have one more.
const TYPES: usize = 9;
/// Groups whose composition stands on the page whole; of more it scrolls.
const GROUPS: usize = 16;

/// Four questions, four answers.
pub(super) fn overview(report: &Report) -> Markup {
    let Answers { difference, types, unknown, mapping, next } = &report.answers;
    html! {
        div class="answers" {
            @if let Some(d) = difference {
                div class="card wide-answer" id="answer-difference" { (differs(d)) }
            }
            @if let Some(worst) = mapping.iter().map(|c| c.light).max() {
                div class="card" id="answer-mapping" {
                    h3 { "How good is the mapping?" }
                    p class="verdict" { (lamp(worst)) b { (word(worst)) } }
                    ul class="criteria" { @for c in mapping { (criterion(c)) } }
                }
            }
            @if !types.is_empty() {
                div class="card" id="answer-types" {
                    h3 { "Which cells are they?" }
                    (shares(types))
                    @if !unknown.is_empty() { p class="quiet" { (unknown) } }
                }
            }
            @if !next.is_empty() {
                div class="card" id="answer-next" {
                    h3 { "What to look at next" }
                    ul {
                        @for n in next {
                            @let color = Some(n.color.as_str()).filter(|c| !c.is_empty());
                            li { a href={ "#" (n.section) } data-color=[color] { (tables::named(&n.text)) } }
                        }
                    }
                }
            }
        }
        @if !report.run.data.is_empty() {
            details class="data" { summary { "Data" } (tables::facts(&report.run.data)) }
        }
    }
}

fn differs(d: &Difference) -> Markup {
    let of =
        |name: &str, n: u64| if n > 0 { format!("{name} ({} cells)", number(n as f64, 0)) } else { name.to_owned() };
    let found = match (d.higher, d.lower) {
        (0, 0) => format!("No gene program differs clearly, of {} tested", d.tested),
        (up, down) => {
            let s = if up + down == 1 { "program differs" } else { "programs differ" };
            format!("{} gene {s}, of {} tested: {up} higher, {down} lower", up + down, d.tested)
        }
    };
    let most = d.programs.iter().map(|p| p.log_bf.abs()).fold(f64::MIN_POSITIVE, f64::max);
    html! {
        h3 { "What differs in " (of(&d.group, d.cells[0])) ", against " (of(&d.comparison, d.cells[1])) "?" }
        p class="lead" { (found) }
        @if !d.programs.is_empty() {
            p class="quiet heads" {
                span { @if d.higher + d.lower == 0 { "Furthest apart, though not clearly:" } } span { "log Bayes factor" }
            }
        }
        ul class="leading" { @for p in &d.programs { (leading(p, most)) } }
    }
}

fn leading(p: &Leading, most: f64) -> Markup {
    let higher = p.log_bf > 0.0;
    let genes = match p.genes {
        1.. => "genes up",
        0 => "direction of its genes not known",
        _ => "genes down",
    };
    html! {
        li class=(match (p.passes, higher) { (false, _) => "faint", (_, true) => "up", (_, false) => "down" }) {
            a href="#cells" data-color=(p.program) { (named(&p.program)) }
            span class="evidence" title={ "log Bayes factor " (number(p.log_bf, 2)) } {
                span class="strength" { i style={ "width:" (format!("{:.1}", 100.0 * p.log_bf.abs() / most)) "%" } {} }
                (number(p.log_bf, 1))
            }
            span class="said-so" {
                @if !p.passes { "not clearly " }
                b { (if higher { "▲ higher" } else { "▼ lower" }) }
                @if let Some([same, of]) = p.types { " in " (same) " of " (of) " types" }
                @if let Some(OverDonors { p, donors: [here, there] }) = p.donors {
                    " · " span title="adjusted p-value of the difference between the means of donors" {
                        "p " (number(p, if p < 0.01 { 4 } else { 2 })) " over " (here) " and " (there) " donors"
                    }
                }
                " · " (genes) @if !p.heaviest.is_empty() { ": " (p.heaviest.join(", ")) }
            }
        }
    }
}

fn lamp(light: Light) -> Markup {
    let name = match light {
        Light::Good => "good",
        Light::Look => "look",
        Light::Doubt => "doubt",
    };
    html! { i class={ "lamp " (name) } role="img" aria-label=(word(light)) {} }
}

fn word(light: Light) -> &'static str {
    match light {
        Light::Good => "Good",
        Light::Look => "Good enough, with a caution",
        Light::Doubt => "Doubtful",
    }
}

fn criterion(c: &Criterion) -> Markup {
    html! { li title=(c.rule) { (lamp(c.light)) span { (c.found) span class="quiet" { " " (c.rule) } } } }
}

/// One bar a type, as long as its share of all cells.
fn shares(types: &[TypeShare]) -> Markup {
    let all = types.iter().map(|t| t.cells).sum::<u64>().max(1);
    let percent = |n: u64| 100.0 * n as f64 / all as f64;
    let cut = if types.len() > TYPES + 1 { TYPES } else { types.len() };
    let (shown, rest) = types.split_at(cut);
    let most = shown.iter().map(|t| t.cells).max().unwrap_or(0).max(rest.iter().map(|t| t.cells).sum()).max(1);
    let bar = |name: &str, cells: u64, color: Option<String>| {
        let color = color.unwrap_or_else(|| "var(--muted)".to_owned());
        let width = format!("{:.1}", 100.0 * cells as f64 / most as f64);
        html! {
            li title={ (number(cells as f64, 0)) " cells" } {
                span { (name) }
                span class="strength" { i style={ "width:" (width) "%;color:" (color) } {} }
                span class="num" { (number(percent(cells), 1)) " %" }
            }
        }
    };
    html! {
        ul class="shares" {
            @for t in shown { (bar(&t.name, t.cells, Some(t.color.css()))) }
            @if !rest.is_empty() {
                (bar(&format!("{} other types", rest.len()), rest.iter().map(|t| t.cells).sum(), None))
            }
        }
    }
}

/// Stacked bars, one a group, and the numbers behind them.
pub(super) fn composition(c: &Composition) -> Markup {
    let n = c.labels.len();
    let row = |g: usize| &c.cells[g * n..(g + 1) * n];
    let share = |cells: u64, of: u64| 100.0 * cells as f64 / of.max(1) as f64;
    let table = html! {
        table class="sorted" data-name={ "composition_by_" (c.by) } {
            thead { tr { (sortable(&c.by, "", "")) (sortable("cells", "num", "")) @for (l, _) in &c.labels { (sortable(l, "num", "")) } } }
            tbody {
                @for (g, name) in c.groups.iter().enumerate() {
                    tr {
                        th scope="row" { (name) }
                        (numeric(Some(row(g).iter().sum::<u64>() as f64), 0, false))
                        @for &cells in row(g) { (numeric(Some(cells as f64), 0, false)) }
                    }
                }
            }
        }
    };
    let bars = html! {
        @for (g, name) in c.groups.iter().enumerate() {
            @let of = row(g).iter().sum::<u64>();
            div class="stack" {
                span { (name) " " span class="quiet" { (number(of as f64, 0)) } }
                span class="parts" role="img" aria-label={ "shares of the types in " (name) } {
                    @for (&cells, (label, color)) in row(g).iter().zip(&c.labels) {
                        @if cells > 0 {
                            @let words = format!("{label}: {} cells, {} %", number(cells as f64, 0), number(share(cells, of), 1));
                            i style={ "flex-grow:" (cells) ";color:" (color.css()) } title=(words) {}
                        }
                    }
                }
            }
        }
    };
    html! {
        div class="card full composition" {
            h3 { "By " (c.by) }
            // Of many groups no more than a screen at once.
            (if c.groups.len() > GROUPS { scrolled(&format!("Shares of the types by {}", c.by), &bars) } else { bars })
            ul class="colors" {
                @for (label, color) in &c.labels { li { i style={ "color:" (color.css()) } {} (label) } }
            }
            details { summary { "Numbers of cells" } (scrolled(&format!("Composition by {}", c.by), &table)) }
        }
    }
}
