//! Programs ranked by their log Bayes factor.

use serde::{Deserialize, Serialize};

use super::{Picture, rows_fit, start};
use crate::ReportError;
use crate::axis::{Area, Axis, Frame, Map, TICK, frame, heading, limits, number, ruled, titles};
use crate::color::{BLUE, VERMILION};
use crate::place::spread;
use crate::scene::{Paint, Scene, Size, Step, Stroke, Text, Weight};

/// |log Bayes factor| from which a program counts as enriched (Kass & Raftery 1995: p about 0.91).
pub const ENRICHED: f64 = 2.3;

/// One program of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramBayesFactor {
    /// Name of the program.
    pub name: String,
    /// ln p − ln(1 − p), p the probability that the score is higher in the group than in the comparison.
    pub log_bf: f64,
    /// Its standard error, where it was estimated from random pairs.
    #[serde(default)]
    pub se: Option<f64>,
}

/// A test of all programs between two groups of cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BayesFactors {
    /// Title.
    pub title: String,
    /// The group; positive factors mean a higher score here. May be empty.
    pub group: String,
    /// What it is compared with. May be empty.
    pub comparison: String,
    /// Within which cells; empty: within all.
    pub within: String,
    /// Cells of the group and of the comparison; 0 where it is not known.
    pub cells: [u64; 2],
    /// The programs, in any order.
    pub programs: Vec<ProgramBayesFactor>,
    /// Where the lines are drawn, [`ENRICHED`] by default.
    pub threshold: f64,
    /// At most so many programs are named, half of them on each side where both sides have as many.
    pub names: usize,
}

impl Default for BayesFactors {
    fn default() -> Self {
        BayesFactors {
            title: String::new(),
            group: String::new(),
            comparison: String::new(),
            within: String::new(),
            cells: [0; 2],
            programs: Vec::new(),
            threshold: ENRICHED,
            names: 20,
        }
    }
}

/// Up to so many programs each get a row with their name; more are drawn as a ranked curve.
const FEW: usize = 25;
/// So many programs are named on each side where fewer pass.
const RUNNERS_UP: usize = 4;
/// Height of a line of names.
const LINE: f64 = 13.5;

impl Picture for BayesFactors {
    fn natural_size(&self) -> Size {
        let n = self.programs.len();
        if n <= FEW { Size::new(600.0, 110.0 + 19.0 * n as f64) } else { Size::new(600.0, 460.0) }
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        if self.programs.is_empty() {
            return Err(ReportError::Empty { what: "Bayes factors".into(), hint: "pass at least one program" });
        }
        for (row, p) in self.programs.iter().enumerate() {
            if !p.log_bf.is_finite() {
                return Err(ReportError::Value {
                    what: format!("Bayes factors, program {:?}", p.name),
                    row,
                    value: p.log_bf,
                    expected: "a finite log Bayes factor",
                });
            }
        }
        let what = if self.title.is_empty() { "Bayes factors" } else { &self.title };
        let (mut scene, area) =
            start(what, size, Size::new(240.0, if self.programs.len() <= FEW { 110.0 } else { 200.0 }))?;
        let area = heading(&mut scene, area, &self.title);
        let area = self.key(&mut scene, area);

        let mut ranked: Vec<&ProgramBayesFactor> = self.programs.iter().collect();
        ranked.sort_by(|a, b| b.log_bf.total_cmp(&a.log_bf).then_with(|| a.name.cmp(&b.name)));
        if ranked.len() <= FEW {
            self.rows(&mut scene, area, &ranked)?;
            return Ok(scene);
        }
        let ends = ranked.iter().flat_map(|p| {
            let se = p.se.unwrap_or(0.0);
            [p.log_bf - se, p.log_bf + se]
        });
        let lines = [self.threshold * 1.25, -self.threshold * 1.25];
        let y = Axis::new(limits(ends.chain(lines), 0.05), "log Bayes factor");
        let n = ranked.len() as f64;
        let mut x = Axis::new((1.0 - 0.02 * n, n + 0.02 * n + 0.5), "rank of the program");
        x.whole = true;
        let f = frame(&mut scene, area, &x, &y);
        self.thresholds(&mut scene, &f);

        let radius = if ranked.len() > 150 { 2.2 } else { 3.0 };
        for (i, p) in ranked.iter().enumerate() {
            let at = (f.x.at(i as f64 + 1.0), f.y.at(p.log_bf));
            let paint = self.paint(p.log_bf);
            if let Some(se) = p.se {
                let (low, high) = (f.y.at(p.log_bf - se), f.y.at(p.log_bf + se));
                scene.line((at.0, low), (at.0, high), Stroke::new(paint, 1.0));
            }
            scene.circle(at.0, at.1, radius, paint);
            scene.tip(format!("{}: {}", p.name, number(p.log_bf, 2)));
        }
        self.write_names(&mut scene, &f, &ranked);
        Ok(scene)
    }
}

impl BayesFactors {
    fn paint(&self, log_bf: f64) -> Paint {
        if log_bf >= self.threshold {
            VERMILION.into()
        } else if log_bf <= -self.threshold {
            BLUE.into()
        } else {
            Paint::Muted
        }
    }

    /// One line that says which colour is higher where.
    fn key(&self, scene: &mut Scene, area: Area) -> Area {
        let mut x = area.x;
        for (group, color) in [(&self.group, VERMILION), (&self.comparison, BLUE)] {
            if !group.is_empty() {
                let words = format!("higher in {group}");
                let words = scene.fit(&words, 11.0, Weight::Regular, area.w / 2.0 - 24.0).into_owned();
                scene.circle(x + 4.0, area.y + 6.0, 4.0, color);
                let width = scene.width_of(&words, 11.0, Weight::Regular);
                scene.text(Text::new(x + 13.0, area.y + 6.0, words).centered());
                x += width + 30.0;
            }
        }
        if x > area.x { area.inside(0.0, 20.0, 0.0, 0.0) } else { area }
    }

    fn thresholds(&self, scene: &mut Scene, f: &Frame) {
        for value in [self.threshold, -self.threshold] {
            let at = f.y.at(value);
            scene.line((f.area.x, at), (f.area.right(), at), Stroke::new(Paint::Ink, 1.0).dashed(4.0, 3.0));
        }
    }

    /// Every program in a row of its own.
    fn rows(&self, scene: &mut Scene, area: Area, ranked: &[&ProgramBayesFactor]) -> Result<(), ReportError> {
        let names: Vec<&str> = ranked.iter().map(|p| p.name.as_str()).collect();
        let left = scene.widest(&names, TICK, Weight::Regular).min(area.w * 0.5) + 10.0;
        let inner = area.inside(left, 2.0, 10.0, 38.0);
        let row = inner.h / ranked.len() as f64;
        rows_fit(scene, (row, 11.0), ranked.len(), || format!("Bayes factors of {} programs", ranked.len()))?;
        let ends = ranked.iter().flat_map(|p| {
            let se = p.se.unwrap_or(0.0);
            [p.log_bf - se, p.log_bf + se]
        });
        let (lo, hi) = limits(ends.chain([self.threshold * 1.1, -self.threshold * 1.1]), 0.03);
        let x = Map::new(lo, hi, inner.x, inner.right());
        ruled(scene, inner, x, (lo, hi), 8.0);
        for value in [self.threshold, -self.threshold] {
            let v = x.at(value);
            scene.line((v, inner.y), (v, inner.bottom()), Stroke::new(Paint::Ink, 1.0).dashed(4.0, 3.0));
        }
        for (i, p) in ranked.iter().enumerate() {
            let y = inner.y + (i as f64 + 0.5) * row;
            let name = scene.fit(&p.name, TICK, Weight::Regular, left - 10.0).into_owned();
            scene.text(Text::new(inner.x - 8.0, y, name).size(TICK).end().centered());
            let (paint, v) = (self.paint(p.log_bf), x.at(p.log_bf));
            scene.line((x.at(0.0), y), (v, y), Stroke::new(paint, 1.5));
            if let Some(se) = p.se {
                scene.line((x.at(p.log_bf - se), y), (x.at(p.log_bf + se), y), Stroke::new(paint, 4.0));
            }
            scene.circle(v, y, 4.0, paint);
            scene.tip(format!("{}: {}", p.name, number(p.log_bf, 2)));
        }
        titles(scene, area, inner, "log Bayes factor", "");
        Ok(())
    }

    /// Names the strongest programs: high ones to the right of their dots, low ones to the left.
    fn write_names(&self, scene: &mut Scene, f: &Frame, ranked: &[&ProgramBayesFactor]) {
        let fits = ((f.area.h / LINE) as usize).saturating_sub(1);
        let most = self.names.min(2 * fits);
        let passing = |sign: f64| ranked.iter().filter(|p| p.log_bf * sign >= self.threshold).count();
        let positive = |sign: f64| ranked.iter().filter(|p| p.log_bf * sign > 0.0).count();
        // Where few pass, the runners-up are named too, in grey.
        let wanted = |sign: f64| passing(sign).max(positive(sign).min(RUNNERS_UP));
        let (mut high, mut low) = (wanted(1.0), wanted(-1.0));
        if high + low > most {
            let half = most / 2;
            (high, low) = if low < half {
                (most - low, low)
            } else if high < most - half {
                (high, most - high)
            } else {
                (most - half, half)
            };
        }
        // Names stay on the outer side of the dots that have none, or they would cover the dots in the middle: these go on
        // beside the names, on the right below them, on the left above.
        let n = ranked.len();
        let (first, last) = (f.area.y + LINE / 2.0, f.area.bottom() - LINE / 2.0);
        let end = |high: usize| ranked.get(high).map_or(last, |p| f.y.at(p.log_bf) - LINE * 0.8);
        let start = |low: usize| n.checked_sub(low + 1).map_or(first, |i| f.y.at(ranked[i].log_bf) + LINE * 0.8);
        let tall = |names: usize| names.saturating_sub(1) as f64 * LINE;
        while high > passing(1.0).min(3) && first + tall(high) > end(high) {
            high -= 1;
        }
        while low > passing(-1.0).min(3) && last - tall(low) < start(low) {
            low -= 1;
        }
        (high, low) = (high.min(fits), low.min(fits));

        let font = if f.area.w < 320.0 { 9.5 } else { 10.5 };
        // (ranks, x of the names, end of the line at the name)
        let right = f.x.at(high as f64) + 20.0;
        let left = f.x.at((n - low) as f64 + 1.0) - 20.0;
        for (ranks, at_x, to_left) in [(0..high, right, false), (n - low..n, left, true)] {
            let wanted: Vec<f64> = ranks.clone().map(|i| f.y.at(ranked[i].log_bf)).collect();
            // Rather beside the dots than out of the plot.
            let (lo, hi) = match to_left {
                false => (first, end(high).clamp(first + tall(high), last)),
                true => (start(low).clamp(first, last - tall(low)), last),
            };
            let placed = spread(&wanted, LINE, lo, hi);
            for ((i, from_y), y) in ranks.zip(wanted).zip(placed) {
                let room = if to_left { at_x - f.area.x } else { f.area.right() - at_x };
                let name = scene.fit(&ranked[i].name, font, Weight::Regular, room).into_owned();
                let from_x = f.x.at(i as f64 + 1.0);
                let side = if to_left { -1.0 } else { 1.0 };
                let line = vec![
                    Step::Move(from_x + 4.0 * side, from_y),
                    Step::Line(at_x - 8.0 * side, y),
                    Step::Line(at_x - 3.0 * side, y),
                ];
                scene.path(line, None, Some(Stroke::new(Paint::Muted, 0.6)));
                let text = Text::new(at_x, y, name).size(font).centered().halo();
                let text = if ranked[i].log_bf.abs() < self.threshold { text.paint(Paint::Muted) } else { text };
                scene.text(if to_left { text.end() } else { text });
            }
        }
    }
}
