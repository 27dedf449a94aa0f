//! Training and validation losses by epoch.

use serde::{Deserialize, Serialize};

use super::{Picture, high_enough, nullable, start};
use crate::ReportError;
use crate::axis::{Area, Axis, frame, heading, limits};
use crate::color::{BLUE, ORANGE, VERMILION};
use crate::density::quantile;
use crate::scene::{Paint, Scene, Shape, Size, Step, Stroke, Text, Weight};

/// One loss, or one term of it, by epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossCurve {
    /// Name: "total", "reconstruction", "KL".
    pub name: String,
    /// Value after each epoch on the training cells; NaN where it was not computed.
    #[serde(with = "nullable")]
    pub train: Vec<f64>,
    /// The same on the validation cells; empty when there are none.
    #[serde(with = "nullable", default)]
    pub validation: Vec<f64>,
}

/// The history of a fit. The first curve is drawn large, the others small below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Title.
    pub title: String,
    /// The curves; the total first.
    pub curves: Vec<LossCurve>,
    /// The epoch, counted from 1, whose weights were kept.
    #[serde(default)]
    pub best_epoch: Option<usize>,
}

impl Training {
    /// Number of epochs: the longest curve.
    pub fn epochs(&self) -> usize {
        self.curves.iter().map(|c| c.train.len().max(c.validation.len())).max().unwrap_or(0)
    }

    fn columns(&self, width: f64) -> usize {
        let terms = self.curves.len().saturating_sub(1);
        ((width / 145.0) as usize).clamp(1, 4).min(terms.max(1))
    }
}

const SMALL: f64 = 132.0;

impl Picture for Training {
    fn natural_size(&self) -> Size {
        let rows = self.curves.len().saturating_sub(1).div_ceil(self.columns(616.0));
        Size::new(640.0, 300.0 + rows as f64 * (SMALL + 10.0))
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        let Some((total, terms)) = self.curves.split_first() else {
            return Err(ReportError::Empty { what: "training curves".into(), hint: "pass at least one curve" });
        };
        if self.epochs() == 0 {
            return Err(ReportError::Empty { what: "training curves".into(), hint: "train for at least one epoch" });
        }
        if let Some(best) = self.best_epoch.filter(|b| *b == 0 || *b > self.epochs()) {
            return Err(ReportError::Value {
                what: "training curves, best epoch".into(),
                row: 0,
                value: best as f64,
                expected: "an epoch counted from 1, at most the number of epochs",
            });
        }
        let what = if self.title.is_empty() { "Training" } else { &self.title };
        let (mut scene, area) = start(what, size, Size::new(240.0, 180.0))?;
        let area = heading(&mut scene, area, &self.title);
        let area = self.key(&mut scene, area);

        let columns = self.columns(area.w);
        let rows = terms.len().div_ceil(columns);
        let small = if rows == 0 { 0.0 } else { (area.h * 0.6 / rows as f64).min(SMALL + 10.0) };
        let lacking = if rows == 0 { 0.0 } else { rows as f64 * (70.0 - small) / 0.6 };
        high_enough(&scene, size.height + lacking, || format!("training curves with {} terms", terms.len()))?;
        let large = Area { h: area.h - rows as f64 * small, ..area };
        self.panel(&mut scene, large, total, true);
        for (i, curve) in terms.iter().enumerate() {
            let w = area.w / columns as f64;
            let cell = Area {
                x: area.x + (i % columns) as f64 * w,
                y: large.bottom() + (i / columns) as f64 * small,
                w,
                h: small,
            };
            self.panel(&mut scene, cell.inside(0.0, 10.0, 4.0, 0.0), curve, false);
        }
        Ok(scene)
    }
}

impl Training {
    /// One line that says which colour is what.
    fn key(&self, scene: &mut Scene, area: Area) -> Area {
        let mut entries = vec![("training", BLUE)];
        if self.curves.iter().any(|c| !c.validation.is_empty()) {
            entries.push(("validation", ORANGE));
        }
        let mut x = area.x;
        for (name, color) in entries {
            scene.line((x, area.y + 6.0), (x + 18.0, area.y + 6.0), Stroke::new(color, 2.5));
            scene.text(Text::new(x + 24.0, area.y + 6.0, name).centered());
            x += 40.0 + scene.width_of(name, 11.0, Weight::Regular);
        }
        if let Some(best) = self.best_epoch {
            scene.line((x, area.y + 6.0), (x + 18.0, area.y + 6.0), Stroke::new(VERMILION, 1.5).dashed(4.0, 3.0));
            let words = format!("epoch {best} kept");
            let words = scene.fit(&words, 11.0, Weight::Regular, area.right() - x - 24.0).into_owned();
            scene.text(Text::new(x + 24.0, area.y + 6.0, words).centered());
        }
        area.inside(0.0, 20.0, 0.0, 0.0)
    }

    fn panel(&self, scene: &mut Scene, area: Area, curve: &LossCurve, large: bool) {
        let area = if large {
            area
        } else {
            let name = scene.fit(&curve.name, 11.0, Weight::SemiBold, area.w).into_owned();
            scene.text(Text::new(area.x, area.y + 9.0, name).bold());
            area.inside(0.0, 14.0, 0.0, 0.0)
        };
        let (range, log) = loss_range(curve);
        let y_title = match (large, log) {
            (true, false) => curve.name.clone(),
            (true, true) => format!("{} (log scale)", curve.name),
            (false, _) => String::new(),
        };
        let epochs = self.epochs() as f64;
        let mut x = Axis::new(if epochs > 1.0 { (1.0, epochs) } else { (0.5, 1.5) }, if large { "epoch" } else { "" });
        x.whole = true;
        let mut y = Axis::new(range, y_title);
        y.log = log;
        let f = frame(scene, area, &x, &y);
        if let Some(best) = self.best_epoch {
            let at = f.x.at(best as f64);
            scene.line((at, f.area.y), (at, f.area.bottom()), Stroke::new(VERMILION, 1.2).dashed(4.0, 3.0));
        }
        for (values, color) in [(&curve.train, BLUE), (&curve.validation, ORANGE)] {
            let at = |i: usize| {
                let visible = values[i].is_finite() && !(log && values[i] <= 0.0);
                visible.then(|| (f.x.at(i as f64 + 1.0), f.y.at(values[i])))
            };
            let steps = clipped((0..values.len()).map(at), f.area.y, f.area.bottom());
            let stroke = Stroke::new(color, if large { 2.0 } else { 1.5 });
            if steps.len() > 1 {
                scene.path(steps, None, Some(stroke));
            } else if let Some((x, y)) = (0..values.len()).find_map(at) {
                let fill = Some(Paint::Fixed(color));
                scene.shapes.push(Shape::Circle { x, y, radius: 2.5, fill, stroke: None, tip: None });
            }
        }
    }
}

/// Limits of a curve, and whether to use a logarithmic axis. Where the first epochs are far above all others they run
/// out of the top, so that the rest can be read.
fn loss_range(curve: &LossCurve) -> ((f64, f64), bool) {
    let all = || curve.train.iter().chain(&curve.validation).copied().filter(|v| v.is_finite());
    let mut sorted: Vec<f64> = all().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let (lo, hi) = (quantile(&sorted, 0.0), quantile(&sorted, 1.0));
    if lo > 0.0 && hi / lo > 50.0 {
        return ((lo / 1.15, hi * 1.15), true);
    }
    let settled = |v: &[f64]| {
        let first = v.len().div_ceil(10).max(1).min(v.len());
        limits(v[first..].iter().copied(), 0.0)
    };
    let full = limits(all(), 0.05);
    if curve.train.len() < 20 {
        return (full, false);
    }
    let mut rest = settled(&curve.train);
    if curve.validation.len() > 1 {
        let other = settled(&curve.validation);
        rest = (rest.0.min(other.0), rest.1.max(other.1));
    }
    let span = rest.1 - rest.0;
    if full.1 - full.0 > 2.5 * span { ((rest.0 - 0.08 * span, rest.1 + 0.25 * span), false) } else { (full, false) }
}

/// A line through points, cut at the top and bottom of the plot; a gap where a point is missing.
fn clipped(points: impl Iterator<Item = Option<(f64, f64)>>, top: f64, bottom: f64) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut before: Option<(f64, f64)> = None;
    let mut pen: Option<(f64, f64)> = None;
    for point in points {
        if let (Some(a), Some(b)) = (before, point) {
            let (mut from, mut to) = (a, b);
            let cross = |y: f64| (a.0 + (b.0 - a.0) * (y - a.1) / (b.1 - a.1), y);
            let outside = (a.1 < top && b.1 < top) || (a.1 > bottom && b.1 > bottom);
            if !outside {
                for (end, other) in [(&mut from, a), (&mut to, b)] {
                    if other.1 < top {
                        *end = cross(top);
                    } else if other.1 > bottom {
                        *end = cross(bottom);
                    }
                }
                if pen != Some(from) {
                    steps.push(Step::Move(from.0, from.1));
                }
                steps.push(Step::Line(to.0, to.1));
                pen = Some(to);
            }
        }
        before = point;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_frame_and_broken_at_gaps() {
        let points = [Some((0.0, -10.0)), Some((10.0, 10.0)), None, Some((20.0, 5.0)), Some((30.0, 5.0))];
        let steps = clipped(points.into_iter(), 0.0, 100.0);
        let expected = [Step::Move(5.0, 0.0), Step::Line(10.0, 10.0), Step::Move(20.0, 5.0), Step::Line(30.0, 5.0)];
        assert_eq!(steps, expected);
    }

    #[test]
    fn the_first_epochs_do_not_flatten_the_rest() {
        let train: Vec<f64> = (0..100).map(|i| if i == 0 { 900.0 } else { 110.0 - f64::from(i) * 0.1 }).collect();
        let curve = LossCurve { name: "total".into(), train, validation: vec![] };
        let ((lo, hi), log) = loss_range(&curve);
        assert!(!log && hi < 150.0 && lo > 90.0, "{lo} {hi}");
    }
}
