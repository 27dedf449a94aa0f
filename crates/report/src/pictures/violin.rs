//! A score by group, as violins.

use super::{Picture, rows_fit, start};
use crate::ReportError;
use crate::axis::{self, Area, Map, TICK, heading, limits, tick_labels, ticks};
use crate::color::{Rgb, category};
use crate::density::{density, quantile};
use crate::error::{same_length, valid_codes};
use crate::legend::{self, Entry};
use crate::scene::{Paint, Scene, Shape, Size, Step, Stroke, Text, Weight};

/// A second grouping that splits every group, such as the condition within cell types.
#[derive(Clone, Debug)]
pub struct Split<'a> {
    /// Its name, the title of the legend.
    pub name: &'a str,
    /// One code a cell, an index into `levels`; −1 leaves the cell out.
    pub codes: &'a [i32],
    /// The names.
    pub levels: &'a [String],
}

/// The distribution of a score in each group of cells: outline, quartiles (bar) and median (dot).
#[derive(Clone, Debug)]
pub struct Violins<'a> {
    /// Title; may be empty.
    pub title: &'a str,
    /// What the values are, the title of the axis.
    pub value: &'a str,
    /// One value a cell; NaN leaves the cell out.
    pub values: &'a [f32],
    /// One group a cell, an index into `groups`; −1 leaves the cell out.
    pub codes: &'a [i32],
    /// Names of the groups.
    pub groups: &'a [String],
    /// A second grouping, drawn side by side.
    pub split: Option<Split<'a>>,
    /// A colour for each part of the split, or without one for each group; where there are none, those of the palette.
    pub colors: &'a [Rgb],
}

/// One violin: its group, its part of the split, its sorted values.
struct Part {
    group: usize,
    part: usize,
    sorted: Vec<f64>,
}

impl Violins<'_> {
    fn parts(&self) -> usize {
        self.split.as_ref().map_or(1, |s| s.levels.len())
    }

    /// Groups side by side when there are few with short names, else one below the other.
    fn upright(&self) -> bool {
        self.groups.len() * self.parts() <= 24 && self.groups.iter().all(|g| g.chars().count() <= 12)
    }

    fn collect(&self) -> Result<Vec<Part>, ReportError> {
        same_length("violins, groups", "cell", self.values.len(), self.codes.len())?;
        valid_codes("violins, groups", self.codes, self.groups.len())?;
        if let Some(split) = &self.split {
            same_length("violins, split", "cell", self.values.len(), split.codes.len())?;
            valid_codes("violins, split", split.codes, split.levels.len())?;
        }
        let parts = self.parts();
        let mut sorted = vec![Vec::new(); self.groups.len() * parts];
        for (i, value) in self.values.iter().enumerate() {
            let part = self.split.as_ref().map_or(0, |s| s.codes[i]);
            if value.is_finite() && self.codes[i] >= 0 && part >= 0 {
                sorted[self.codes[i] as usize * parts + part as usize].push(f64::from(*value));
            }
        }
        if sorted.iter().all(Vec::is_empty) {
            let hint = "pass at least one cell with a group and a finite value";
            return Err(ReportError::Empty { what: "violins".into(), hint });
        }
        Ok(sorted
            .into_iter()
            .enumerate()
            .map(|(i, mut sorted)| {
                sorted.sort_unstable_by(f64::total_cmp);
                Part { group: i / parts, part: i % parts, sorted }
            })
            .collect())
    }
}

impl Picture for Violins<'_> {
    fn natural_size(&self) -> Size {
        let (groups, parts) = (self.groups.len() as f64, self.parts() as f64);
        if self.upright() {
            Size::new((120.0 + groups * (34.0 + 26.0 * parts)).clamp(320.0, 900.0), 340.0)
        } else {
            Size::new(600.0, 90.0 + groups * (12.0 + 16.0 * parts))
        }
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        let parts = self.collect()?;
        let what = if self.title.is_empty() { self.value } else { self.title };
        let (mut scene, area) = start(what, size, Size::new(220.0, 120.0))?;
        let mut area = heading(&mut scene, area, self.title);
        if let Some(split) = &self.split {
            let named = split.levels.iter().enumerate();
            let entries: Vec<Entry> = named.map(|(i, n)| Entry { name: n.clone(), color: self.color(i) }).collect();
            let plan = legend::below(&scene, &entries, "", area.w, area.h * 0.3);
            legend::draw(&mut scene, &plan, &entries, "", area.x, area.y);
            area = area.inside(0.0, plan.height + 6.0, 0.0, 0.0);
        }
        let (lo, hi) = limits(parts.iter().flat_map(|p| [p.sorted.first(), p.sorted.last()]).flatten().copied(), 0.04);

        let widest = scene.widest(self.groups, TICK, Weight::Regular);
        let upright = widest + 8.0 <= (area.w - 60.0) / self.groups.len() as f64;
        if upright {
            self.stand(&mut scene, area, &parts, (lo, hi))
        } else {
            self.lie(&mut scene, area, &parts, (lo, hi))?
        }
        Ok(scene)
    }
}

impl Violins<'_> {
    /// Colour of a part of the split, or of a group without one.
    fn color(&self, i: usize) -> Rgb {
        self.colors.get(i).copied().unwrap_or_else(|| category(i))
    }

    fn color_of(&self, part: &Part) -> Rgb {
        self.color(if self.split.is_some() { part.part } else { part.group })
    }

    fn tip(&self, part: &Part) -> String {
        let split = self.split.as_ref().map(|s| format!(", {}", s.levels[part.part])).unwrap_or_default();
        let median = axis::number(quantile(&part.sorted, 0.5), 3);
        format!("{}{split}: {} cells, median {median}", self.groups[part.group], part.sorted.len())
    }

    /// Groups side by side.
    fn stand(&self, scene: &mut Scene, area: Area, parts: &[Part], (lo, hi): (f64, f64)) {
        let at = ticks(lo, hi, (area.h / 55.0).clamp(2.0, 7.0) as usize);
        let labels = tick_labels(&at);
        let left = scene.widest(&labels, TICK, Weight::Regular) + 27.0;
        let inner = area.inside(left, 4.0, 4.0, 20.0);
        let y = Map::new(lo, hi, inner.bottom(), inner.y);
        for (tick, label) in at.iter().zip(labels) {
            let v = y.at(*tick);
            scene.line((inner.x, v), (inner.right(), v), Stroke::new(Paint::Grid, 1.0));
            scene.text(Text::new(inner.x - 6.0, v, label).size(TICK).end().centered().paint(Paint::Muted));
        }
        axis::titles(scene, area, inner, "", self.value);
        let band = inner.w / self.groups.len() as f64;
        for (i, group) in self.groups.iter().enumerate() {
            let x = inner.x + (i as f64 + 0.5) * band;
            scene.text(Text::new(x, inner.bottom() + 15.0, group).size(TICK).middle());
        }
        let one = (band * 0.86 / self.parts() as f64).min(90.0);
        for part in parts {
            let offset = (part.part as f64 + 0.5 - self.parts() as f64 / 2.0) * one;
            let x = inner.x + (part.group as f64 + 0.5) * band + offset;
            violin(scene, part, self.color_of(part), &self.tip(part), one * 0.48, |along, across| {
                (x + across, y.at(along))
            });
        }
    }

    /// Groups one below the other.
    fn lie(&self, scene: &mut Scene, area: Area, parts: &[Part], (lo, hi): (f64, f64)) -> Result<(), ReportError> {
        let widest = scene.widest(self.groups, TICK, Weight::Regular);
        let left = widest.min(area.w * 0.42) + 10.0;
        let inner = area.inside(left, 2.0, 8.0, 38.0);
        let band = inner.h / self.groups.len() as f64;
        let n = self.groups.len();
        rows_fit(scene, (band, 9.0), n, || format!("violins of {n} groups"))?;
        let x = Map::new(lo, hi, inner.x, inner.right());
        axis::ruled(scene, inner, x, (lo, hi), 8.0);
        axis::titles(scene, area, inner, self.value, "");
        let font = if band < 12.0 { 9.0 } else { TICK };
        for (i, group) in self.groups.iter().enumerate() {
            let y = inner.y + (i as f64 + 0.5) * band;
            let name = scene.fit(group, font, Weight::Regular, left - 10.0).into_owned();
            scene.text(Text::new(inner.x - 8.0, y, name).size(font).end().centered());
        }
        let one = (band * 0.88 / self.parts() as f64).min(60.0);
        for part in parts {
            let offset = (part.part as f64 + 0.5 - self.parts() as f64 / 2.0) * one;
            let y = inner.y + (part.group as f64 + 0.5) * band + offset;
            violin(scene, part, self.color_of(part), &self.tip(part), one * 0.48, |along, across| {
                (x.at(along), y + across)
            });
        }
        Ok(())
    }
}

/// Draws one violin; `at` turns (value, px across) into a point of the picture.
fn violin(scene: &mut Scene, part: &Part, color: Rgb, tip: &str, half: f64, at: impl Fn(f64, f64) -> (f64, f64)) {
    let Some(outline) = density(&part.sorted, 96) else {
        for v in part.sorted.iter().take(50) {
            let (x, y) = at(*v, 0.0);
            scene.circle(x, y, 2.0, color);
            scene.tip(tip);
        }
        return;
    };
    let highest = outline.iter().map(|o| o.1).fold(0.0, f64::max);
    let side = |sign: f64| {
        let at = &at;
        outline.iter().map(move |(v, d)| at(*v, sign * half * d / highest))
    };
    let mut points: Vec<(f64, f64)> = side(1.0).collect();
    points.extend(side(-1.0).collect::<Vec<_>>().into_iter().rev());
    let mut steps: Vec<Step> = points.iter().map(|p| Step::Line(p.0, p.1)).collect();
    steps[0] = Step::Move(points[0].0, points[0].1);
    steps.push(Step::Close);
    scene.shapes.push(Shape::Path {
        steps,
        fill: Some(color.into()),
        fill_opacity: 0.55,
        stroke: Some(Stroke::new(color, 1.0)),
        tip: Some(tip.to_owned()),
    });
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|q| at(quantile(&part.sorted, q), 0.0));
    let wide = (half * 0.28).clamp(1.5, 5.0);
    scene.line(low, high, Stroke::new(Paint::Ink, wide));
    scene.circle(middle.0, middle.1, wide * 0.75, Rgb(255, 255, 255));
}
