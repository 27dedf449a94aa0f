//! Legends: named colours in as many columns as needed, and colour bars.

use crate::axis::{Area, TICK, tick_labels, ticks};
use crate::color::{Rgb, Scale};
use crate::scene::{Paint, Scene, Shape, Step, Stroke, Text, Weight};

/// A name and its colour.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub name: String,
    pub color: Rgb,
}

/// How a legend is laid out.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    rows: usize,
    columns: Vec<f64>,
    row_height: f64,
    font: f64,
    pub width: f64,
    pub height: f64,
}

const TITLE: f64 = 18.0;
const DOT: f64 = 14.0;
const GAP: f64 = 14.0;

/// Widths of the names in a type.
fn widths(scene: &Scene, entries: &[Entry], font: f64) -> Vec<f64> {
    entries.iter().map(|e| scene.width_of(&e.name, font, Weight::Regular)).collect()
}

/// Column widths for a number of rows, names no wider than `cap`.
fn columns(names: &[f64], rows: usize, cap: f64) -> Vec<f64> {
    names.chunks(rows.max(1)).map(|c| DOT + c.iter().copied().fold(0.0, f64::max).min(cap)).collect()
}

fn total(columns: &[f64]) -> f64 {
    columns.iter().sum::<f64>() + GAP * columns.len().saturating_sub(1) as f64
}

/// A legend beside the plot: as many rows as `height` holds. `None` when it would be wider than `width`.
pub(crate) fn beside(scene: &Scene, entries: &[Entry], title: &str, width: f64, height: f64) -> Option<Plan> {
    let top = if title.is_empty() { 0.0 } else { TITLE };
    for (font, row_height, cap) in [(11.0, 16.0, 200.0), (10.0, 13.5, 160.0), (9.5, 12.5, 110.0)] {
        let room = ((height - top) / row_height).floor().max(1.0) as usize;
        let needed = entries.len().div_ceil(room).max(1);
        let rows = entries.len().div_ceil(needed);
        let columns = columns(&widths(scene, entries, font), rows, cap);
        let wide = total(&columns).max(scene.width_of(title, 11.0, Weight::SemiBold).min(width));
        if wide <= width {
            let height = top + rows as f64 * row_height;
            return Some(Plan { rows, columns, row_height, font, width: wide, height });
        }
    }
    None
}

/// A legend below the plot: as many columns as `width` holds; where it would be higher than `height`, in smaller type,
/// and only then with names cut shorter.
pub(crate) fn below(scene: &Scene, entries: &[Entry], title: &str, width: f64, height: f64) -> Plan {
    let top = if title.is_empty() { 0.0 } else { TITLE };
    let mut plan = Plan { rows: entries.len(), columns: vec![width], row_height: 11.5, font: 9.0, width, height: 0.0 };
    let types = [(11.0, 16.0), (10.0, 14.0), (9.5, 12.5), (9.0, 11.5)]
        .map(|(font, row_height)| (font, row_height, widths(scene, entries, font)));
    let caps = [200.0, 150.0, 110.0, 76.0_f64].map(|cap| cap.min(width - DOT));
    for (cap, (font, row_height, names)) in caps.iter().flat_map(|&cap| types.iter().map(move |t| (cap, t))) {
        let fits = |rows: usize| total(&columns(names, rows, cap)) <= width;
        // The fewest rows that fit, by halves: a hundred thousand names are not laid out a hundred thousand times.
        let (mut rows, mut most) = (1, entries.len().max(1));
        while rows < most {
            let middle = rows.midpoint(most);
            if fits(middle) { most = middle } else { rows = middle + 1 }
        }
        let columns = columns(names, rows, cap);
        let (row_height, font) = (*row_height, *font);
        plan = Plan { rows, width: total(&columns), columns, row_height, font, height: top + rows as f64 * row_height };
        if plan.height <= height {
            break;
        }
    }
    plan
}

/// Draws a planned legend with its top left corner at (x, y).
pub(crate) fn draw(scene: &mut Scene, plan: &Plan, entries: &[Entry], title: &str, x: f64, y: f64) {
    let mut top = y;
    if !title.is_empty() {
        let words = scene.fit(title, 11.0, Weight::SemiBold, plan.width.max(60.0)).into_owned();
        scene.text(Text::new(x, y + 9.0, words).bold());
        top += TITLE;
    }
    let mut left = x;
    for (column, width) in entries.chunks(plan.rows.max(1)).zip(&plan.columns) {
        for (row, entry) in column.iter().enumerate() {
            let middle = top + (row as f64 + 0.5) * plan.row_height;
            let name = scene.fit(&entry.name, plan.font, Weight::Regular, width - DOT + 0.5).into_owned();
            scene.circle(left + 4.5, middle, 4.5, entry.color);
            scene.tip(&entry.name);
            scene.text(Text::new(left + DOT, middle, name).size(plan.font).centered());
        }
        left += width + GAP;
    }
}

/// What a colour bar shows.
#[derive(Clone, Debug)]
pub(crate) struct Bar<'a> {
    pub scale: Scale,
    pub lo: f64,
    pub hi: f64,
    /// Whether values lie below `lo` and above `hi`; the bar's ends are then pointed.
    pub beyond: (bool, bool),
    pub title: &'a str,
}

const BAR_WIDTH: f64 = 11.0;

/// Width a vertical colour bar needs, its title not counted.
pub(crate) fn bar_width(scene: &Scene, bar: &Bar) -> f64 {
    let labels = tick_labels(&ticks(bar.lo, bar.hi, 4));
    BAR_WIDTH + 6.0 + scene.widest(&labels, TICK, Weight::Regular)
}

/// Draws a vertical colour bar, its title above it.
pub(crate) fn color_bar(scene: &mut Scene, bar: &Bar, area: Area) {
    let mut area = area;
    if !bar.title.is_empty() {
        let words = scene.fit(bar.title, 11.0, Weight::SemiBold, area.w.max(40.0)).into_owned();
        scene.text(Text::new(area.x, area.y + 9.0, words).bold());
        area = area.inside(0.0, TITLE + 4.0, 0.0, 4.0);
    }
    let (top, bottom) = (area.y, area.bottom());
    const STEPS: usize = 64;
    for i in 0..STEPS {
        let t = 1.0 - (i as f64 + 0.5) / STEPS as f64;
        let y = top + area.h * i as f64 / STEPS as f64;
        // A hair of overlap, or the joints show.
        let extra = if i + 1 < STEPS { 0.5 } else { 0.0 };
        scene.rect(area.x, y, BAR_WIDTH, area.h / STEPS as f64 + extra, bar.scale.at(t));
    }
    for (pointed, y, tip, t) in [(bar.beyond.1, top, top - 6.0, 1.0), (bar.beyond.0, bottom, bottom + 6.0, 0.0)] {
        if pointed {
            let steps = vec![
                Step::Move(area.x, y),
                Step::Line(area.x + BAR_WIDTH, y),
                Step::Line(area.x + BAR_WIDTH / 2.0, tip),
                Step::Close,
            ];
            scene.path(steps, Some(bar.scale.at(t).into()), None);
        }
    }
    let at = ticks(bar.lo, bar.hi, if area.h < 90.0 { 2 } else { 4 });
    for (tick, label) in at.iter().zip(tick_labels(&at)) {
        let y = bottom - (tick - bar.lo) / (bar.hi - bar.lo) * area.h;
        scene.line((area.x + BAR_WIDTH, y), (area.x + BAR_WIDTH + 3.0, y), Stroke::new(Paint::Muted, 1.0));
        scene.text(Text::new(area.x + BAR_WIDTH + 6.0, y, label).size(TICK).centered().paint(Paint::Muted));
    }
}

/// Draws circles of growing size in a column, each with its label; returns the height used.
pub(crate) fn sizes(scene: &mut Scene, title: &str, entries: &[(f64, String)], x: f64, y: f64, width: f64) -> f64 {
    let words = scene.fit(title, 11.0, Weight::SemiBold, width).into_owned();
    scene.text(Text::new(x, y + 9.0, words).bold());
    let largest = entries.iter().map(|e| e.0).fold(0.0, f64::max);
    let mut top = y + TITLE;
    for (radius, label) in entries {
        let row = (2.0 * radius + 5.0).max(15.0);
        scene.shapes.push(Shape::Circle {
            x: x + largest,
            y: top + row / 2.0,
            radius: *radius,
            fill: Some(Paint::Muted),
            stroke: None,
            tip: None,
        });
        let at = Text::new(x + 2.0 * largest + 8.0, top + row / 2.0, label).size(TICK).centered();
        scene.text(at.paint(Paint::Muted));
        top += row;
    }
    top - y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Size;

    fn entries(n: usize) -> Vec<Entry> {
        (0..n).map(|i| Entry { name: format!("type {i}"), color: Rgb(0, 0, 0) }).collect()
    }

    #[test]
    fn a_legend_below_has_as_few_rows_as_fit() {
        let scene = Scene::new(Size { width: 600.0, height: 400.0 }, "").unwrap();
        for n in [1, 2, 9, 40] {
            let plan = below(&scene, &entries(n), "", 500.0, 400.0);
            assert!(plan.width <= 500.0 && plan.rows * plan.columns.len() >= n, "{plan:?}");
            let fewer = |rows: usize| total(&columns(&widths(&scene, &entries(n), plan.font), rows, 200.0)) <= 500.0;
            assert!(plan.rows == 1 || !fewer(plan.rows - 1), "{plan:?}");
        }
        // Names without end are laid out at once.
        assert!(below(&scene, &entries(100_000), "", 500.0, 400.0).rows > 1000);
    }
}
