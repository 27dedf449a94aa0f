//! Cells in the plane: a UMAP, or one latent program against another.

use std::borrow::Cow;

use super::coloring::{Key, Resolved};
use super::{ColorValues, Coloring, Picture, high_enough, start};
use crate::ReportError;
use crate::axis::{self, Area, Axis, Map, heading, limits};
use crate::error::same_length;
use crate::legend::{self, Bar};
use crate::place::{Ground, Label};
use crate::scene::{Dots, Paint, Scene, Shape, Size, Step, Stroke, Text, Weight};

/// How the axes of an [`Embedding`] are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Axes {
    /// Two short arrows, the same scale on both: distances count, numbers do not (UMAP, t-SNE).
    #[default]
    Arrows,
    /// Numbers on both axes, each with its own scale (latent programs, principal components).
    Numbers,
}

/// Cells in the plane, coloured by a category or a score.
#[derive(Clone, Debug)]
pub struct Embedding<'a> {
    /// Title; may be empty.
    pub title: &'a str,
    /// First coordinate, one a cell.
    pub x: &'a [f32],
    /// Second coordinate, one a cell.
    pub y: &'a [f32],
    /// Name of the first coordinate.
    pub x_title: &'a str,
    /// Name of the second coordinate.
    pub y_title: &'a str,
    /// How the axes are drawn.
    pub axes: Axes,
    /// What the cells are coloured by.
    pub color: &'a Coloring,
    /// Radius of a dot in px; `None` fits it to the number of cells.
    pub radius: Option<f64>,
    /// Whether category names are written onto the cells, where categories lie apart.
    pub names_on_cells: bool,
    /// So many cells, the first ones, are the reference's: grey below the others, whatever the colouring says of them.
    pub reference: usize,
}

impl<'a> Embedding<'a> {
    /// A UMAP, with category names on the cells.
    pub fn umap(title: &'a str, x: &'a [f32], y: &'a [f32], color: &'a Coloring) -> Embedding<'a> {
        let (x_title, y_title) = ("UMAP 1", "UMAP 2");
        let (axes, radius, names_on_cells, reference) = (Axes::Arrows, None, true, 0);
        Embedding { title, x, y, x_title, y_title, axes, color, radius, names_on_cells, reference }
    }

    /// The same with the first `n` cells as the reference's: grey, below the others.
    #[must_use]
    pub fn over_reference(self, n: usize) -> Embedding<'a> {
        Embedding { reference: n, ..self }
    }

    /// The latent score of one program against that of another; each is (name, one score a cell).
    pub fn programs(title: &'a str, x: (&'a str, &'a [f32]), y: (&'a str, &'a [f32]), color: &'a Coloring) -> Self {
        Embedding {
            title,
            x: x.1,
            y: y.1,
            x_title: x.0,
            y_title: y.0,
            axes: Axes::Numbers,
            color,
            radius: None,
            names_on_cells: false,
            reference: 0,
        }
    }

    fn check(&self) -> Result<(), ReportError> {
        if self.x.is_empty() {
            return Err(ReportError::Empty { what: "embedding".into(), hint: "pass at least one cell" });
        }
        same_length("embedding, y", "cell", self.x.len(), self.y.len())?;
        for (what, values) in [("embedding, x", self.x), ("embedding, y", self.y)] {
            if let Some(row) = values.iter().position(|v| !v.is_finite()) {
                return Err(ReportError::Value {
                    what: what.into(),
                    row,
                    value: values[row].into(),
                    expected: "a finite coordinate",
                });
            }
        }
        if self.reference > self.x.len() {
            let what = "embedding, reference cells".to_owned();
            return Err(ReportError::Empty { what, hint: "there are fewer cells than that" });
        }
        self.color.check("embedding", self.x.len())
    }

    /// The colouring of the query: reference cells have no value.
    fn of_query(&self) -> Cow<'a, Coloring> {
        if self.reference == 0 {
            return Cow::Borrowed(self.color);
        }
        let mut color = self.color.clone();
        match &mut color.values {
            ColorValues::Categories { codes, .. } => codes.iter_mut().take(self.reference).for_each(|c| *c = -1),
            ColorValues::Scores { values, .. } => values.iter_mut().take(self.reference).for_each(|v| *v = f32::NAN),
        }
        Cow::Owned(color)
    }
}

/// Limits of a coordinate that a few cells far off do not widen: of the outermost 0.1 % on each side (one cell at least)
/// those that a gap of more than a twentieth of the rest keeps apart are left outside, and the limits stand a twentieth
/// beyond the others. A type of few cells stays inside: it has more cells than that.
pub(crate) fn robust_limits(values: &[f32]) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    if n < 20 {
        return limits(sorted.into_iter(), 0.0);
    }
    let most = n.div_ceil(1000);
    let margin = (sorted[n - 1 - most] - sorted[most]) / 20.0;
    // How many on a side are kept apart, by the gap nearest to the others.
    let outside = |gap: &dyn Fn(usize) -> f64| (1..=most).rev().find(|&k| gap(k) > margin).unwrap_or(0);
    let below = outside(&|k| sorted[k] - sorted[k - 1]);
    let above = outside(&|k| sorted[n - k] - sorted[n - k - 1]);
    let (lo, hi) = (sorted[below], sorted[n - 1 - above]);
    let (lo, hi) = (if below > 0 { lo - margin } else { lo }, if above > 0 { hi + margin } else { hi });
    limits([lo, hi].into_iter(), 0.0)
}

/// Cells in the plane within [`robust_limits`]: those outside stand at the edge. Also how many those are.
pub(crate) fn within_limits(x: &[f32], y: &[f32]) -> (Vec<f32>, Vec<f32>, usize) {
    let held = |v: &[f32]| -> Vec<f32> {
        let (lo, hi) = robust_limits(v);
        v.iter().map(|v| v.clamp(lo as f32, hi as f32)).collect()
    };
    let (a, b) = (held(x), held(y));
    let outside = (0..x.len()).filter(|&i| a[i] != x[i] || b[i] != y[i]).count();
    (a, b, outside)
}

/// What is said of cells at the edge.
pub(crate) fn outside_words(n: usize) -> String {
    match n {
        1 => "1 cell lies outside, at the edge".to_owned(),
        n => format!("{n} cells lie outside, at the edge"),
    }
}

impl Picture for Embedding<'_> {
    fn natural_size(&self) -> Size {
        match &self.color.values {
            // Up to 34 names in one column.
            ColorValues::Categories { levels, .. } => {
                Size::new(680.0, 480f64.max(70.0 + 16.0 * (levels.len().min(34) + 1) as f64))
            }
            ColorValues::Scores { .. } => Size::new(560.0, 480.0),
        }
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        self.check()?;
        let (x, y, outside) = within_limits(self.x, self.y);
        // A column that only the reference has is shown of the reference.
        let own = Embedding { reference: if self.query_has_values() { self.reference } else { 0 }, ..*self };
        let color = own.of_query();
        Embedding { x: &x, y: &y, color: &color, ..own }.draw_within(size, outside)
    }
}

impl Embedding<'_> {
    /// Draws cells that all lie within the limits; `outside`: so many stand at the edge.
    fn draw_within(&self, size: Size, outside: usize) -> Result<Scene, ReportError> {
        let what = if self.title.is_empty() { &self.color.name } else { self.title };
        let (mut scene, area) = start(what, size, Size::new(180.0, 180.0))?;
        let mut resolved = self.color.resolve();
        if let (Key::Categories(entries), true) = (&mut resolved.key, self.reference > 0)
            && let Some(grey) = entries.last_mut()
        {
            grey.name = if self.query_lacks_values() { "reference, or missing" } else { "reference" }.to_owned();
        }
        // The name of a score is often too long for the colour bar; alone, it is the title.
        let as_title =
            (self.title.is_empty() || self.title == self.color.name) && matches!(resolved.key, Key::Scale { .. });
        let (title, of_key) =
            if as_title { (self.color.name.as_str(), "") } else { (self.title, self.color.name.as_str()) };
        let area = heading(&mut scene, area, title);
        let area = key(&mut scene, area, &resolved.key, of_key)?;
        let (x, y, inner) = self.axes(&mut scene, area);
        dots(&mut scene, self, &resolved, x, y, inner);
        if self.names_on_cells {
            names(&mut scene, self, x, y, inner);
        }
        let mut notes = Vec::new();
        if self.reference > 0 && matches!(resolved.key, Key::Scale { .. }) {
            notes.push("grey: reference".to_owned());
        }
        if outside > 0 {
            notes.push(outside_words(outside));
        }
        if !notes.is_empty() {
            // Below axes with numbers stand their titles.
            let foot = if self.axes == Axes::Numbers { inner } else { area }.bottom();
            let note = Text::new(inner.right(), foot - 4.0, notes.join("; ")).size(10.0).end();
            scene.text(note.paint(Paint::Muted).halo());
        }
        Ok(scene)
    }

    /// Whether a cell of the query has a value.
    fn query_has_values(&self) -> bool {
        match &self.color.values {
            ColorValues::Categories { codes, .. } => codes[self.reference..].iter().any(|c| *c >= 0),
            ColorValues::Scores { values, .. } => values[self.reference..].iter().any(|v| !v.is_nan()),
        }
    }

    /// Whether a cell of the query has no value.
    fn query_lacks_values(&self) -> bool {
        match &self.color.values {
            ColorValues::Categories { codes, .. } => codes[self.reference..].iter().any(|c| *c < 0),
            ColorValues::Scores { values, .. } => values[self.reference..].iter().any(|v| v.is_nan()),
        }
    }

    /// Draws the axes; gives the two maps and the area of the dots.
    fn axes(&self, scene: &mut Scene, area: Area) -> (Map, Map, Area) {
        let numbers = |v: &[f32]| limits(v.iter().map(|&v| f64::from(v)), 0.02);
        let ((x_lo, x_hi), (y_lo, y_hi)) = (numbers(self.x), numbers(self.y));
        if self.axes == Axes::Numbers {
            let x = Axis::new((x_lo, x_hi), self.x_title);
            let y = Axis::new((y_lo, y_hi), self.y_title);
            let frame = axis::frame(scene, area, &x, &y);
            return (frame.x, frame.y, frame.area);
        }
        let inner = area.inside(14.0, 0.0, 0.0, 14.0);
        let unit = (inner.w / (x_hi - x_lo)).min(inner.h / (y_hi - y_lo));
        let (dx, dy) = ((inner.w - (x_hi - x_lo) * unit) / 2.0, (inner.h - (y_hi - y_lo) * unit) / 2.0);
        let x = Map::new(x_lo, x_hi, inner.x + dx, inner.right() - dx);
        let y = Map::new(y_lo, y_hi, inner.bottom() - dy, inner.y + dy);

        let (left, bottom, length) = (area.x + 4.0, area.bottom() - 4.0, 52.0);
        let stroke = Some(Stroke::new(Paint::Ink, 1.2));
        scene.path(
            vec![Step::Move(left, bottom - length), Step::Line(left, bottom), Step::Line(left + length, bottom)],
            None,
            stroke,
        );
        for (tip, a, b) in [
            ((left, bottom - length - 3.0), (-3.0, 5.0), (3.0, 5.0)),
            ((left + length + 3.0, bottom), (-5.0, -3.0), (-5.0, 3.0)),
        ] {
            let head = vec![
                Step::Move(tip.0, tip.1),
                Step::Line(tip.0 + a.0, tip.1 + a.1),
                Step::Line(tip.0 + b.0, tip.1 + b.1),
                Step::Close,
            ];
            scene.path(head, Some(Paint::Ink), None);
        }
        let halo = |t: Text| t.size(10.0).halo();
        scene.text(halo(Text::new(left + 5.0, bottom - 5.0, self.x_title)));
        scene.text(halo(Text::new(left + 12.0, bottom - 18.0, self.y_title).turn(-90.0)));
        (x, y, inner)
    }
}

/// Draws the legend beside the cells, or below them where there is no room; gives the area left.
fn key(scene: &mut Scene, area: Area, key: &Key, title: &str) -> Result<Area, ReportError> {
    match key {
        Key::Scale { scale, lo, hi, beyond } => {
            let bar = Bar { scale: *scale, lo: *lo, hi: *hi, beyond: *beyond, title };
            let narrow = legend::bar_width(scene, &bar);
            let width = narrow.max(scene.width_of(title, 11.0, Weight::SemiBold).min(110.0).min(area.w * 0.3));
            let height = (area.h * 0.5).clamp(90.0, 190.0).min(area.h);
            let place = Area { x: area.right() - width, y: area.y, w: width, h: height };
            legend::color_bar(scene, &bar, place);
            Ok(area.inside(0.0, 0.0, width + 14.0, 0.0))
        }
        Key::Categories(entries) => {
            let plan = legend::below(scene, entries, title, area.w, area.h * 0.4);
            if let Some(beside) = legend::beside(scene, entries, title, area.w * 0.6, area.h) {
                // Wherever the cells get the larger square.
                let square = |w: f64, h: f64| w.min(h);
                let right = square(area.w - beside.width - 14.0, area.h);
                if right >= square(area.w, area.h - plan.height - 10.0) * 0.9 {
                    legend::draw(scene, &beside, entries, title, area.right() - beside.width, area.y);
                    return Ok(area.inside(0.0, 0.0, beside.width + 14.0, 0.0));
                }
            }
            let left = area.h - plan.height - 10.0;
            high_enough(scene, scene.size.height - left + 110.0, || format!("{title} with its legend"))?;
            legend::draw(scene, &plan, entries, title, area.x, area.y + left + 10.0);
            Ok(area.inside(0.0, 0.0, 0.0, plan.height + 10.0))
        }
    }
}

fn dots(scene: &mut Scene, e: &Embedding, resolved: &Resolved, x: Map, y: Map, area: Area) {
    let n = e.x.len() as f64;
    let radius = e.radius.unwrap_or_else(|| (0.5 * (area.w * area.h * 0.35 / n).sqrt()).clamp(0.45, 3.2));
    let place = |i: u32| {
        let i = i as usize;
        [x.at(e.x[i].into()) as f32, y.at(e.y[i].into()) as f32]
    };
    scene.shapes.push(Shape::Dots(Dots {
        at: resolved.order.iter().map(|&i| place(i)).collect(),
        color: resolved.order.iter().map(|&i| resolved.color[i as usize]).collect(),
        palette: resolved.palette.clone(),
        radius,
        alpha: if n > 200_000.0 { 0.6 } else { 0.85 },
    }));
}

/// Writes the name of each category that lies apart where its cells are densest, or near by where it would hide a group.
fn names(scene: &mut Scene, e: &Embedding, x: Map, y: Map, area: Area) {
    let ColorValues::Categories { codes, levels } = &e.color.values else { return };
    let apart = e.color.lie_apart(e.x, e.y);
    let font = if levels.len() > 20 || area.w < 320.0 { 9.5 } else { 11.0 };
    let mut cells = vec![Vec::new(); levels.len()];
    for (i, &code) in codes.iter().enumerate().filter(|(_, code)| **code >= 0) {
        cells[code as usize].push((x.at(e.x[i].into()), y.at(e.y[i].into())));
    }
    let mut order: Vec<usize> = (0..levels.len()).filter(|&l| apart[l]).collect();
    order.sort_by_key(|&l| std::cmp::Reverse(cells[l].len()));
    let mut labels = Vec::new();
    let mut words = Vec::new();
    for level in order {
        let Some((x, y)) = middle(&densest(&cells[level], area)) else { continue };
        let short = scene.fit(&levels[level], font, Weight::SemiBold, (area.w * 0.45).min(150.0)).into_owned();
        let half_width = scene.width_of(&short, font, Weight::SemiBold) / 2.0 + 2.0;
        labels.push(Label { x, y, half_width, half_height: font * 0.62 });
        words.push(short);
    }
    let covered: f64 = labels.iter().map(|l| 4.0 * l.half_width * l.half_height).sum();
    if covered > 0.3 * area.w * area.h || area.w < 220.0 {
        // The names would hide the cells; the legend has them all.
        return;
    }
    let share = |of: &Vec<(f64, f64)>| 1.0 / of.len() as f64;
    let points = cells.iter().flat_map(|of| of.iter().map(move |p| (p.0, p.1, share(of))));
    let placed = Ground::new((area.x, area.y, area.right(), area.bottom()), points).place(&labels);
    for ((label, word), from) in placed.iter().zip(words).zip(&labels) {
        let Some(l) = label else { continue };
        // A name that had to go away from its cells is led back to them.
        let x = from.x.clamp(l.x - l.half_width, l.x + l.half_width);
        let y = from.y.clamp(l.y - l.half_height, l.y + l.half_height);
        if (x - from.x).hypot(y - from.y) > 2.6 * font {
            let line = vec![Step::Move(x, y), Step::Line(from.x, from.y)];
            scene.path(line, None, Some(Stroke::new(Paint::Ink, 0.8)));
        }
        scene.text(Text::new(l.x, l.y, word).size(font).bold().middle().centered().halo());
    }
}

/// The points in the fullest 3 × 3 cells of a 24 × 24 grid.
fn densest(at: &[(f64, f64)], area: Area) -> Vec<(f64, f64)> {
    const CELLS: usize = 24;
    let cell = |p: &(f64, f64)| {
        let one = |v: f64, from: f64, span: f64| (((v - from) / span * CELLS as f64).max(0.0) as usize).min(CELLS - 1);
        (one(p.0, area.x, area.w), one(p.1, area.y, area.h))
    };
    let mut count = vec![0usize; CELLS * CELLS];
    for p in at {
        let (i, j) = cell(p);
        count[j * CELLS + i] += 1;
    }
    let around = |v: usize| v.saturating_sub(1)..=(v + 1).min(CELLS - 1);
    let sum = |i: usize, j: usize| -> usize {
        around(j).flat_map(|b| around(i).map(move |a| b * CELLS + a)).map(|k| count[k]).sum()
    };
    let best = (0..CELLS * CELLS).max_by_key(|k| sum(k % CELLS, k / CELLS)).unwrap_or(0);
    let beside = |p: &&(f64, f64)| {
        let (i, j) = cell(p);
        i.abs_diff(best % CELLS) <= 1 && j.abs_diff(best / CELLS) <= 1
    };
    at.iter().filter(beside).copied().collect()
}

/// The point nearest to the mean of points: a name stands on a cell, and not between cells.
fn middle(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let far = |p: &&(f64, f64)| (p.0 - x).hypot(p.1 - y);
    points.iter().min_by(|a, b| far(a).total_cmp(&far(b))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_cells_far_off_stand_at_the_edge() {
        let mut x: Vec<f32> = (0..200).map(|i| (i % 20) as f32).collect();
        let y = x.clone();
        assert_eq!(within_limits(&x, &y).2, 0, "without cells far off nothing is cut");
        x[7] = 1000.0;
        let (held, _, outside) = within_limits(&x, &y);
        assert_eq!(outside, 1);
        // The others span 0 to 19, with a twentieth more on that side.
        assert!((held[7] - 19.95).abs() < 1e-4, "{}", held[7]);
        // A type of few cells, as far off, is no such cell.
        x.extend([1000.0; 5]);
        let y = [&y[..], &[3.0; 5]].concat();
        assert_eq!(within_limits(&x, &y).2, 0);
    }

    #[test]
    fn a_name_stands_on_a_cell_of_the_fullest_place() {
        // Two cells on each side of nothing, and one far off.
        let points = [(100.0, 100.0), (102.0, 100.0), (112.0, 100.0), (114.0, 100.0), (400.0, 30.0)];
        let near = densest(&points, Area { x: 0.0, y: 0.0, w: 480.0, h: 480.0 });
        assert_eq!(near, points[..4]);
        assert!([(102.0, 100.0), (112.0, 100.0)].contains(&middle(&near).unwrap()));
        assert_eq!(middle(&[]), None);
    }

    #[test]
    fn mixed_groups_are_not_named_on_the_cells() {
        let x: Vec<f32> = (0..400).map(|i| (i % 20) as f32).collect();
        let y: Vec<f32> = (0..400).map(|i| (i / 20) as f32).collect();
        let levels = || vec!["a".to_owned(), "b".to_owned()];
        let halves = Coloring::categories("", (0..400).map(|i| i32::from(i % 20 > 9)).collect(), levels());
        assert_eq!(halves.lie_apart(&x, &y), [true, true]);
        // Ten cells at each place, every second of the other group.
        let at = |v: &[f32]| v.iter().flat_map(|&v| [v; 10]).collect::<Vec<f32>>();
        let mixed = Coloring::categories("", (0..4000).map(|i| i % 2).collect(), levels());
        assert_eq!(mixed.lie_apart(&at(&x), &at(&y)), [false, false]);
        // Two conditions that share each of four islands, half and half side by side: a name would stand on one of them.
        let island = |i: usize| ((i / 100 % 2) as f32 * 50.0, (i / 200) as f32 * 50.0);
        let place = |i: usize| (island(i).0 + (i % 10) as f32, island(i).1 + (i / 10 % 10) as f32);
        let (x, y): (Vec<f32>, Vec<f32>) = (0..400).map(place).unzip();
        let conditions = Coloring::categories("", (0..400).map(|i| i32::from(i % 10 > 4)).collect(), levels());
        assert_eq!(conditions.lie_apart(&x, &y), [false, false]);
        // The islands have names of their own, and one type that is everywhere has none.
        let codes = (0..400).map(|i| if i % 7 == 0 { 4 } else { i / 100 }).collect();
        let islands = Coloring::categories("", codes, ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec());
        assert_eq!(islands.lie_apart(&x, &y), [true, true, true, true, false]);
    }

    #[test]
    fn the_reference_is_grey_and_named_so() {
        let (x, y) = ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 0.0, 1.0]);
        let color = Coloring::categories("type", vec![0, 1, 1, 1], vec!["only below".into(), "both".into()]);
        let picture = Embedding::umap("", &x, &y, &color).over_reference(2);
        let svg = picture.draw(picture.natural_size()).unwrap().to_svg().unwrap();
        assert!(svg.contains(">reference</text>") && svg.contains(">both</text>"), "{svg}");
        assert!(!svg.contains("only below"), "a type that only the reference has is grey");
    }
}
