//! An experiment: measures by setting, one point a run.

use super::{Picture, start};
use crate::ReportError;
use crate::axis::{Area, Map, TICK, heading, limits, number, tick_labels, ticks};
use crate::color::{BLUE, MISSING};
use crate::error::same_length;
use crate::scene::{Paint, Scene, Size, Step, Stroke, Text, Weight};

/// A measure of an experiment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measure {
    /// Its name.
    pub name: String,
    /// For each setting one value a run; NaN where there is none.
    pub values: Vec<Vec<f64>>,
}

/// Measures side by side, each over the settings of an experiment: runs as points, their mean as a bar, a standard deviation
/// to both sides as a whisker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trials {
    /// Title; may be empty.
    pub title: String,
    /// What was varied, said once below.
    pub vary: String,
    /// The settings, in the order to draw.
    pub settings: Vec<String>,
    /// Whether settings are amounts: their means are then joined by a line.
    pub joined: bool,
    /// The measures.
    pub measures: Vec<Measure>,
}

/// Most panels side by side, and the room of one.
const ACROSS: usize = 4;
const PANEL: (f64, f64) = (210.0, 178.0);
/// Slope of labels that do not fit side by side, in degrees.
const TURN: f64 = -40.0;

impl Trials {
    fn grid(&self) -> (usize, usize) {
        let across = self.measures.len().clamp(1, ACROSS);
        (across, self.measures.len().div_ceil(across))
    }

    fn check(&self) -> Result<(), ReportError> {
        let some = self.measures.iter().flat_map(|m| m.values.iter().flatten()).any(|v| v.is_finite());
        if self.settings.is_empty() || !some {
            return Err(ReportError::Empty {
                what: "experiment".into(),
                hint: "pass at least one setting and one measure with a value",
            });
        }
        for measure in &self.measures {
            same_length("experiment, values", "setting", self.settings.len(), measure.values.len())?;
        }
        Ok(())
    }

    fn panel(&self, scene: &mut Scene, area: Area, measure: &Measure) {
        let title = scene.fit(&measure.name, 11.5, Weight::SemiBold, area.w).into_owned();
        scene.text(Text::new(area.x, area.y + 11.0, title).size(11.5).bold());
        let stats: Vec<Option<(f64, f64)>> = measure.values.iter().map(|v| mean_and_sd(v)).collect();
        let whiskers = stats.iter().flatten().flat_map(|(mean, sd)| [mean - sd, mean + sd]);
        let (lo, hi) = limits(measure.values.iter().flatten().copied().chain(whiskers), 0.12);
        // What cannot be below 0 has no axis below 0.
        let lo = if measure.values.iter().flatten().any(|v| *v < 0.0) { lo } else { lo.max(0.0) };
        let at = ticks(lo, hi, (area.h / 48.0).clamp(2.0, 5.0) as usize);
        let labels = tick_labels(&at);
        let left = scene.widest(&labels, TICK, Weight::Regular) + 8.0;
        let n = self.settings.len() as f64;
        let widest = scene.widest(&self.settings, TICK, Weight::Regular);
        let straight = widest + 6.0 <= (area.w - left - 8.0) / n;
        let room = widest.min(area.h * 0.38);
        let foot = if straight { 18.0 } else { room * TURN.to_radians().sin().abs() + 14.0 };
        let inner = area.inside(left, 22.0, 8.0, foot);
        let y = Map::new(lo, hi, inner.bottom(), inner.y);
        for (tick, label) in at.iter().zip(labels) {
            let v = y.at(*tick);
            scene.line((inner.x, v), (inner.right(), v), Stroke::new(Paint::Grid, 1.0));
            scene.text(Text::new(inner.x - 6.0, v, label).size(TICK).end().centered().paint(Paint::Muted));
        }
        let band = inner.w / n;
        let x = |s: usize| inner.x + (s as f64 + 0.5) * band;
        for (s, setting) in self.settings.iter().enumerate() {
            let text = |words: &str| Text::new(x(s), inner.bottom() + 13.0, words).size(TICK);
            if straight {
                scene.text(text(setting).middle());
            } else {
                let words = scene.fit(setting, TICK, Weight::Regular, room).into_owned();
                scene.text(Text { x: x(s) + 4.0, ..text(&words).end().turn(TURN) });
            }
        }
        if self.joined {
            let mut steps = Vec::new();
            for (s, of) in stats.iter().enumerate() {
                let Some((mean, _)) = of else { continue };
                let (a, b) = (x(s), y.at(*mean));
                steps.push(if steps.is_empty() { Step::Move(a, b) } else { Step::Line(a, b) });
            }
            if steps.len() > 1 {
                scene.path(steps, None, Some(Stroke::new(BLUE.mix(MISSING, 0.4), 1.5)));
            }
        }
        for (s, of) in stats.iter().enumerate() {
            let Some((mean, sd)) = *of else {
                scene.text(Text::new(x(s), inner.bottom() - 4.0, "–").size(TICK).middle().paint(Paint::Muted));
                continue;
            };
            let half = (band * 0.28).clamp(3.0, 14.0);
            if sd > 0.0 {
                let ends = [mean - sd, mean + sd].map(|v| y.at(v).clamp(inner.y, inner.bottom()));
                scene.line((x(s), ends[0]), (x(s), ends[1]), Stroke::new(Paint::Muted, 1.2));
            }
            scene.line((x(s) - half, y.at(mean)), (x(s) + half, y.at(mean)), Stroke::new(Paint::Ink, 2.0));
            let runs: Vec<f64> = measure.values[s].iter().copied().filter(|v| v.is_finite()).collect();
            for (i, v) in runs.iter().enumerate() {
                let across = half * 0.7 * (2.0 * (i as f64 + 0.5) / runs.len() as f64 - 1.0);
                scene.circle(x(s) + across, y.at(*v), 3.0, BLUE);
                scene.tip(format!("{}, {}: {}", measure.name, self.settings[s], number(*v, 3)));
            }
        }
        scene.line((inner.x, inner.bottom()), (inner.right(), inner.bottom()), Stroke::new(Paint::Muted, 1.0));
    }
}

/// Of the finite values; the standard deviation of one is 0.
fn mean_and_sd(values: &[f64]) -> Option<(f64, f64)> {
    let kept: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let n = kept.len() as f64;
    let mean = kept.iter().sum::<f64>() / n;
    let square = kept.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (!kept.is_empty()).then(|| (mean, (square / (n - 1.0).max(1.0)).sqrt()))
}

impl Picture for Trials {
    fn natural_size(&self) -> Size {
        let (across, down) = self.grid();
        let longest = self.settings.iter().map(|s| s.chars().count()).max().unwrap_or(0) as f64;
        let width = PANEL.0.max(self.settings.len() as f64 * 30.0 + 40.0).min(420.0);
        let heading = if self.title.is_empty() { 0.0 } else { 24.0 };
        Size::new(24.0 + across as f64 * width, 48.0 + heading + down as f64 * (PANEL.1 + (longest * 3.0).min(50.0)))
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        self.check()?;
        let (across, down) = self.grid();
        let what = if self.title.is_empty() { "Experiment" } else { &self.title };
        let least = Size::new(110.0 * across as f64, 50.0 + 110.0 * down as f64);
        let (mut scene, area) = start(what, size, least)?;
        let area = heading(&mut scene, area, &self.title);
        if !self.vary.is_empty() {
            let words = scene.fit(&self.vary, 11.5, Weight::Regular, area.w).into_owned();
            scene.text(Text::new(area.x + area.w / 2.0, area.bottom() - 2.0, words).size(11.5).middle());
        }
        let area = area.inside(0.0, 0.0, 0.0, 18.0);
        let (w, h) = (area.w / across as f64, area.h / down as f64);
        for (i, measure) in self.measures.iter().enumerate() {
            let corner = (area.x + (i % across) as f64 * w, area.y + (i / across) as f64 * h);
            let cell = Area { x: corner.0, y: corner.1, w, h };
            self.panel(&mut scene, cell.inside(0.0, 2.0, 10.0, 6.0), measure);
        }
        Ok(scene)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Trials {
        Trials {
            settings: vec!["0.5".into(), "1".into()],
            joined: true,
            measures: vec![Measure { name: "Overall".into(), values: vec![vec![0.5, 0.7], vec![f64::NAN, 0.8]] }],
            ..Trials::default()
        }
    }

    #[test]
    fn every_run_is_a_point_and_every_setting_has_its_mean() {
        let trials = example();
        let svg = trials.draw(trials.natural_size()).unwrap().to_svg().unwrap();
        for tip in ["Overall, 0.5: 0.500", "Overall, 0.5: 0.700", "Overall, 1: 0.800"] {
            assert!(svg.contains(tip), "{tip}: {svg}");
        }
        assert_eq!(svg.matches("Overall, ").count(), 3);
        assert_eq!(mean_and_sd(&[1.0, f64::NAN, 3.0]), Some((2.0, 2f64.sqrt())));
        assert_eq!(mean_and_sd(&[4.0]), Some((4.0, 0.0)));
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let none =
            Trials { measures: vec![Measure { name: "x".into(), values: vec![vec![f64::NAN]; 2] }], ..example() };
        assert!(matches!(none.draw(none.natural_size()), Err(ReportError::Empty { .. })));
    }
}
