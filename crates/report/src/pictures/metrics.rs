//! Methods by metrics: circles for metrics, bars for the scores that sum them up.

use serde::{Deserialize, Serialize};

use super::{Picture, nullable, rows_fit, start};
use crate::ReportError;
use crate::axis::{heading, number};
use crate::color::{MISSING, Scale};
use crate::error::same_length;
use crate::scene::{Paint, Scene, Shape, Size, Stroke, Text, Weight};

/// What a metric is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricGroup {
    /// Biology kept.
    Bio,
    /// Batches mixed.
    Batch,
    /// A query on its reference.
    Query,
    /// A score over several metrics, drawn as a bar.
    Score,
    /// Seconds, drawn as a bar of the longest in the table; fewer are better.
    Time,
}

impl MetricGroup {
    /// Heading over the metrics of this kind.
    pub fn title(self) -> &'static str {
        match self {
            MetricGroup::Bio => "Bio conservation",
            MetricGroup::Batch => "Batch correction",
            MetricGroup::Query => "Query mapping",
            MetricGroup::Score => "Score",
            MetricGroup::Time => "Seconds",
        }
    }

    fn has_bars(self) -> bool {
        matches!(self, MetricGroup::Score | MetricGroup::Time)
    }

    pub(crate) fn scale(self) -> Scale {
        match self {
            MetricGroup::Bio => Scale::Blues,
            MetricGroup::Batch => Scale::Greens,
            MetricGroup::Query | MetricGroup::Time => Scale::Purples,
            MetricGroup::Score => Scale::Oranges,
        }
    }
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub group: MetricGroup,
}

/// Integration metrics of several embeddings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Title; may be empty.
    pub title: String,
    /// Names of the rows, in the order to draw: the best first.
    pub methods: Vec<String>,
    /// The columns; those of a group stand together.
    pub metrics: Vec<Metric>,
    /// Values from 0 to 1 (times in seconds), method after method; NaN where a metric was not computed.
    #[serde(with = "nullable")]
    pub values: Vec<f64>,
    /// Colours are ranks among the methods, the best darkest, and circles are as wide as values scaled from the least to
    /// the greatest of their metric (Lotfollahi et al. 2022, after Saelens et al. 2019); else colours are values.
    #[serde(default)]
    pub by_rank: bool,
}

impl Metrics {
    /// The values of a column that it has.
    fn column(&self, column: usize) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().skip(column).step_by(self.metrics.len()).copied().filter(|v| !v.is_nan())
    }

    /// The greatest value of a column, of times the least; `None` where it has no value, or a single row has nothing to
    /// be better than.
    pub(crate) fn best(&self, column: usize) -> Option<f64> {
        if self.methods.len() < 2 {
            return None;
        }
        match self.metrics[column].group {
            MetricGroup::Time => self.column(column).min_by(f64::total_cmp),
            _ => self.column(column).max_by(f64::total_cmp),
        }
    }

    /// How many of a column's values are not better than this one, as a share of the others: 1 of the best, 0 of the worst.
    fn rank(&self, column: usize, value: f64) -> f64 {
        let time = self.metrics[column].group == MetricGroup::Time;
        let better = self.column(column).filter(|v| if time { *v < value } else { *v > value }).count();
        1.0 - better as f64 / self.column(column).count().saturating_sub(1).max(1) as f64
    }

    /// A value of a column scaled from the least to the greatest; 1 where they are one.
    fn scaled(&self, column: usize, value: f64) -> f64 {
        let (lo, hi) = self.column(column).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        if hi > lo { (value - lo) / (hi - lo) } else { 1.0 }
    }

    /// The longest time of the table: all times have one scale.
    fn longest(&self) -> f64 {
        let times = (0..self.metrics.len()).filter(|&j| self.metrics[j].group == MetricGroup::Time);
        times.flat_map(|j| self.column(j)).fold(f64::MIN_POSITIVE, f64::max)
    }

    pub(crate) fn check(&self) -> Result<(), ReportError> {
        if self.methods.is_empty() || self.metrics.is_empty() {
            return Err(ReportError::Empty {
                what: "metric table".into(),
                hint: "pass at least one method and metric",
            });
        }
        let expected = self.methods.len() * self.metrics.len();
        same_length("metric table, values", "method and metric", expected, self.values.len())?;
        match self.values.iter().position(|v| v.is_infinite()) {
            None => Ok(()),
            Some(row) => Err(ReportError::Value {
                what: "metric table, values".into(),
                row,
                value: self.values[row],
                expected: "a number from 0 to 1, or NaN",
            }),
        }
    }
}

/// A name as what no line is broken within.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split([' ', '_']).flat_map(|word| word.split_inclusive('-')).filter(|w| !w.is_empty())
}

/// Breaks a name into lines of at most `room` px, of whole words.
fn wrap(scene: &Scene, name: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words(name) {
        if let Some(last) = lines.last_mut() {
            let between = if last.ends_with('-') { "" } else { " " };
            let longer = format!("{last}{between}{word}");
            if scene.width_of(&longer, size, Weight::Regular) <= room {
                *last = longer;
                continue;
            }
        }
        lines.push(word.to_owned());
    }
    lines
}

impl Picture for Metrics {
    fn natural_size(&self) -> Size {
        let names = self.methods.iter().map(|m| m.chars().count()).max().unwrap_or(0) as f64 * 7.0;
        let width = names.min(220.0) + 50.0 + 64.0 * self.metrics.len() as f64;
        Size::new(width.clamp(360.0, 1400.0), 150.0 + 36.0 * self.methods.len() as f64)
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        self.check()?;
        let what = if self.title.is_empty() { "Metrics" } else { &self.title };
        let (mut scene, area) = start(what, size, Size::new(240.0, 140.0))?;
        let area = heading(&mut scene, area, &self.title);
        let left = scene.widest(&self.methods, 11.5, Weight::Regular).min(area.w * 0.3) + 10.0;
        let starts: Vec<usize> =
            (0..self.metrics.len()).filter(|&j| j == 0 || self.metrics[j].group != self.metrics[j - 1].group).collect();
        const GAP: f64 = 12.0;
        // A bar has its number beside it: its column is wider than one of circles.
        let wideness = |j: usize| if self.metrics[j].group.has_bars() { 1.8 } else { 1.0 };
        let units: f64 = (0..self.metrics.len()).map(wideness).sum();
        let column_w = (area.w - left - GAP * (starts.len() - 1) as f64) / units;
        let x_of = |j: usize| {
            let gaps = starts.iter().filter(|&&s| s <= j && s > 0).count() as f64;
            area.x + left + (0..j).map(wideness).sum::<f64>() * column_w + gaps * GAP
        };
        let width_of = |j: usize| wideness(j) * column_w;

        // Headings: the group, then the metrics; turned where a word is wider than its column.
        let fits = |word: &str| scene.width_of(word, 10.0, Weight::Regular) <= column_w - 4.0;
        let wide = self.metrics.iter().flat_map(|m| words(&m.name)).all(fits);
        let names: Vec<Vec<String>> = if wide {
            self.metrics.iter().map(|m| wrap(&scene, &m.name, 10.0, column_w - 4.0)).collect()
        } else {
            let room = (area.h - 30.0 - 20.0 * self.methods.len() as f64).clamp(92.0, 150.0);
            self.metrics.iter().map(|m| vec![scene.fit(&m.name, 9.5, Weight::Regular, room).into_owned()]).collect()
        };
        let head = if wide {
            12.0 * names.iter().map(Vec::len).max().unwrap_or(1) as f64 + 8.0
        } else {
            names.iter().map(|n| scene.width_of(&n[0], 9.5, Weight::Regular)).fold(0.0, f64::max) + 8.0
        };
        for (k, &s) in starts.iter().enumerate() {
            let end = starts.get(k + 1).copied().unwrap_or(self.metrics.len());
            let (x0, x1) = (x_of(s), x_of(end - 1) + width_of(end - 1));
            let group = self.metrics[s].group;
            let room = x1 - x0 + GAP - 4.0;
            let fits = scene.width_of(group.title(), 11.0, Weight::SemiBold) <= room;
            // "Bio", "Batch" where the columns are narrow.
            let words = if fits { group.title() } else { group.title().split(' ').next().unwrap_or_default() };
            let words = scene.fit(words, 11.0, Weight::SemiBold, room).into_owned();
            scene.text(Text::new((x0 + x1) / 2.0, area.y + 10.0, words).bold().middle());
            scene.rect(x0 + 2.0, area.y + 16.0, x1 - x0 - 4.0, 2.0, group.scale().at(0.75));
        }
        let top = area.y + 22.0 + head;
        for (j, lines) in names.iter().enumerate() {
            let x = x_of(j) + width_of(j) / 2.0;
            for (i, line) in lines.iter().enumerate() {
                let y = top - 8.0 - 12.0 * (lines.len() - 1 - i) as f64;
                if wide {
                    scene.text(Text::new(x, y, line).size(10.0).middle().paint(Paint::Muted));
                } else {
                    let text = Text::new(x + 3.5, top - 4.0, line).size(9.5).turn(-90.0);
                    scene.text(text.paint(Paint::Muted));
                }
            }
        }

        let row_h = (area.bottom() - top) / self.methods.len() as f64;
        let n = self.methods.len();
        rows_fit(&scene, (row_h, 10.0), n, || format!("metric table of {n} methods"))?;
        for (i, method) in self.methods.iter().enumerate() {
            let y = top + (i as f64 + 0.5) * row_h;
            scene.line((area.x, y - row_h / 2.0), (area.right(), y - row_h / 2.0), Stroke::new(Paint::Grid, 1.0));
            let font = 11.5f64.min(row_h * 0.9);
            let words = scene.fit(method, font, Weight::Regular, left - 10.0).into_owned();
            scene.text(Text::new(area.x, y, words).size(font).centered());
            for j in 0..self.metrics.len() {
                self.cell(&mut scene, (i, j), (x_of(j), y), (width_of(j), row_h));
            }
        }
        Ok(scene)
    }
}

impl Metrics {
    fn cell(&self, scene: &mut Scene, (i, j): (usize, usize), (left, y): (f64, f64), (w, h): (f64, f64)) {
        let value = self.values[i * self.metrics.len() + j];
        let metric = &self.metrics[j];
        let tip = |words: &str| format!("{}, {}: {words}", self.methods[i], metric.name);
        if value.is_nan() {
            scene.circle(left + w / 2.0, y, 2.0, MISSING);
            scene.tip(tip("not computed"));
            return;
        }
        let time = metric.group == MetricGroup::Time;
        let share = if time { value / self.longest() } else { value.clamp(0.0, 1.0) };
        let words = number(value, if time { 1 } else { 2 });
        let best = self.best(j) == Some(value);
        let fill = metric.group.scale().at(0.15 + 0.75 * if self.by_rank { self.rank(j, value) } else { share });
        let font = (w * 0.26).min(h * 0.36).min(10.5);
        let written = |x: f64| {
            let text = Text::new(x, y, words.as_str()).size(font).centered();
            if best { text.bold() } else { text }
        };
        if metric.group.has_bars() {
            // The value stands past the end of its bar, within the column.
            let shown = font >= 7.5;
            let room = if shown { scene.width_of(&words, font, Weight::SemiBold) + 4.0 } else { 0.0 };
            let (length, height) = (((w - 6.0 - room) * share).max(1.0), (h * 0.62).min(24.0));
            scene.shapes.push(Shape::Rect {
                x: left + 3.0,
                y: y - height / 2.0,
                width: length,
                height,
                radius: 2.0,
                fill: Some(fill.into()),
                stroke: None,
                tip: Some(tip(&words)),
            });
            if shown {
                scene.text(written(left + 6.0 + length));
            }
            return;
        }
        let radius = (w.min(h) * 0.46).min(17.0) * if self.by_rank { 0.4 + 0.6 * self.scaled(j, value) } else { 1.0 };
        scene.circle(left + w / 2.0, y, radius, fill);
        scene.tip(tip(&words));
        if font >= 7.5 && radius > 11.0 {
            scene.text(written(left + w / 2.0).middle().paint(fill.text_on()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_times() {
        let metric = |name: &str, group| Metric { name: name.into(), group };
        let table = Metrics {
            title: String::new(),
            methods: ["a", "b", "c"].map(str::to_owned).to_vec(),
            metrics: vec![metric("NMI", MetricGroup::Bio), metric("Query", MetricGroup::Time)],
            values: vec![0.2, 30.0, 0.8, 10.0, 0.8, f64::NAN],
            by_rank: true,
        };
        // The better of a metric is the greater, of a time the less; equals share the better rank.
        assert_eq!([0.2, 0.8].map(|v| table.rank(0, v)), [0.0, 1.0]);
        assert_eq!([30.0, 10.0].map(|v| table.rank(1, v)), [0.0, 1.0]);
        assert_eq!((table.best(0), table.best(1), table.longest()), (Some(0.8), Some(10.0), 30.0));
        assert!((table.scaled(0, 0.5) - 0.5).abs() < 1e-12 && table.scaled(1, 30.0) == 1.0);
        table.draw(table.natural_size()).unwrap();
    }
}
