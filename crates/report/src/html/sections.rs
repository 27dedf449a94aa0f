//! The sections that hold pictures.

use maud::{Markup, PreEscaped, html};

use super::content::Report;
use super::{answers, tables};
use crate::axis::number;
use crate::scene::{Scene, Size};
use crate::{Picture, ReportError, Sankey};

/// So many tests stand side by side; of more, one shows at a time.
const TESTS_SHOWN: usize = 2;

/// Draws at a width, as high as it naturally is or as it has to be.
fn at_width(picture: &dyn Picture, width: f64) -> Result<Scene, ReportError> {
    let mut size = Size::new(width, picture.natural_size().height);
    for _ in 0..4 {
        match picture.draw(size) {
            Err(ReportError::TooSmall { min_height, .. }) if min_height > size.height => size.height = min_height + 1.0,
            other => return other,
        }
    }
    picture.draw(size)
}

/// A picture for narrow and one for wide places; the style sheet shows the one that fits.
fn figure(picture: &dyn Picture, wide: f64, caption: &str) -> Result<Markup, ReportError> {
    figure_at(picture, (NARROW, wide), caption)
}

/// What a narrow place has.
const NARROW: f64 = 326.0;

/// The same where a narrow place shows a part of a wider picture.
fn figure_at(picture: &dyn Picture, (narrow, wide): (f64, f64), caption: &str) -> Result<Markup, ReportError> {
    let narrow = at_width(picture, narrow)?.to_inline_svg()?;
    let wide = at_width(picture, wide)?.to_inline_svg()?;
    Ok(html! {
        figure {
            div class="narrow" { (PreEscaped(narrow)) }
            div class="wide" { (PreEscaped(wide)) }
            @if !caption.is_empty() { figcaption { (caption) } }
        }
    })
}

fn card(class: &str, inner: &Markup) -> Markup {
    html! { div class={ "card " (class) } { (inner) } }
}

/// The interactive map; without a script only its frame shows.
pub(super) fn cells(report: &Report) -> Result<Option<Markup>, ReportError> {
    if report.embeddings.is_empty() {
        return Ok(None);
    }
    report.embeddings.iter().try_for_each(|m| m.check())?;
    Ok(Some(PreEscaped(include_str!("../../assets/map.html").to_owned())))
}

pub(super) fn transfer(report: &Report) -> Result<Option<Markup>, ReportError> {
    let Some(transfer) = &report.transfer else { return Ok(None) };
    let (mut cards, mut more) = (Vec::new(), Vec::new());
    if let Some(confusion) = &transfer.confusion {
        let wide = confusion.natural_size().width.min(640.0);
        let caption = "Transferred against given labels, in % of the cells of each given label.";
        cards.push(figure(confusion, wide, caption)?);
        more.push(figure(&Sankey(confusion), 560.0, "From the given labels to the transferred ones.")?);
    }
    if !transfer.labels.is_empty() {
        cards.push(tables::labels(transfer));
    }
    if let Some(reliability) = &transfer.reliability {
        more.push(figure(reliability, 420.0, "How often a label is right, by its stated probability.")?);
    }
    let all = |cards: &[Markup]| html! { div class="cards" { @for inner in cards { (card("", inner)) } } };
    Ok(Some(html! {
        p { (transfer.method) }
        (all(&cards))
        @if !more.is_empty() { details { summary { "Flows and reliability" } (all(&more)) } }
    }))
}

/// How the labels are shared out among groups.
pub(super) fn compositions(report: &Report) -> Result<Option<Markup>, ReportError> {
    report.compositions.iter().try_for_each(|c| c.check())?;
    let some = !report.compositions.is_empty();
    Ok(some.then(|| html! { @for c in &report.compositions { (answers::composition(c)) } }))
}

pub(super) fn tests(report: &Report) -> Result<Option<Markup>, ReportError> {
    if report.tests.is_empty() {
        return Ok(None);
    }
    let threshold = number(report.tests[0].threshold, 1);
    let figures = report.tests.iter().map(|t| figure(t, 580.0, "")).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(html! {
        p {
            "Log Bayes factors of the programs: above +" (threshold) " the score is higher in the group, below −" (threshold)
            " in what it is compared with (dashed lines)."
        }
        // Many tests: one at a time; all of them on paper and without a script.
        @if report.tests.len() > TESTS_SHOWN {
            p class="controls" {
                label {
                    "Test "
                    select id="test" { @for (i, t) in report.tests.iter().enumerate() { option value=(i) { (t.title) } } }
                }
            }
        }
        div class="cards" id="tests-all" { @for inner in &figures { (card("test", inner)) } }
    }))
}

/// Programs by groups, and the table of the programs.
pub(super) fn programs(report: &Report) -> Result<Option<Markup>, ReportError> {
    if report.programs.is_empty() && report.heatmaps.is_empty() {
        return Ok(None);
    }
    let maps = report.heatmaps.iter().map(|map| figure(map, map.natural_size().width.min(1060.0), ""));
    let maps = maps.collect::<Result<Vec<_>, _>>()?;
    Ok(Some(html! {
        (tables::programs(report))
        @if !maps.is_empty() {
            details { summary { "Scores by group" } @for map in &maps { (card("full", map)) } }
        }
    }))
}

pub(super) fn metrics(report: &Report) -> Result<Option<Markup>, ReportError> {
    let Some(metrics) = &report.metrics else { return Ok(None) };
    let wide = metrics.natural_size().width.min(1060.0);
    let bold = if metrics.methods.len() > 1 { "; the best of each column is bold" } else { "" };
    // Names of columns stand upright beside each other.
    let narrow = NARROW.max(90.0 + 14.0 * metrics.metrics.len() as f64).min(wide);
    let picture = figure_at(metrics, (narrow, wide), &format!("Higher is better{bold}."))?;
    Ok(Some(html! { (card("full", &picture)) (tables::metrics(metrics)) }))
}

pub(super) fn training(report: &Report) -> Result<Option<Markup>, ReportError> {
    if report.training.is_empty() {
        return Ok(None);
    }
    let figures = report.training.iter().map(|t| figure(t, 580.0, "")).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(html! {
        details { summary { "Losses by epoch" } div class="cards" { @for inner in &figures { (card("", inner)) } } }
    }))
}
