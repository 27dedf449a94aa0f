//! Axes: ticks at round numbers, how they are written, and the frame of a plot.

use crate::scene::{Paint, Scene, Stroke, Text, Weight};

/// A rectangle of the picture, in px.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Area {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

impl Area {
    pub fn right(self) -> f64 {
        self.x + self.w
    }
    pub fn bottom(self) -> f64 {
        self.y + self.h
    }
    /// Without a margin on each side.
    pub fn inside(self, left: f64, top: f64, right: f64, bottom: f64) -> Area {
        Area { x: self.x + left, y: self.y + top, w: self.w - left - right, h: self.h - top - bottom }
    }
}

/// Values to px, straight or by logarithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    lo: f64,
    hi: f64,
    start: f64,
    end: f64,
    log: bool,
}

impl Map {
    /// `lo` goes to `start`, `hi` to `end`.
    pub fn new(lo: f64, hi: f64, start: f64, end: f64) -> Map {
        Map { lo, hi, start, end, log: false }
    }

    pub fn at(self, value: f64) -> f64 {
        let f = |v: f64| if self.log { v.log10() } else { v };
        self.start + (f(value) - f(self.lo)) / (f(self.hi) - f(self.lo)) * (self.end - self.start)
    }
}

/// Limits around values, widened by a share on each side; values all equal get half a unit (or a tenth) around them.
pub(crate) fn limits(values: impl Iterator<Item = f64>, widen: f64) -> (f64, f64) {
    let (lo, hi) =
        values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
    if lo > hi {
        return (0.0, 1.0);
    }
    let span = hi - lo;
    if span <= 0.0 {
        let half = (lo.abs() * 0.1).max(0.5);
        return (lo - half, hi + half);
    }
    (lo - span * widen, hi + span * widen)
}

/// Round numbers within lo..=hi, about `about` of them and at least three.
pub(crate) fn ticks(lo: f64, hi: f64, about: usize) -> Vec<f64> {
    let rough = (hi - lo) / about.max(2) as f64;
    if rough <= 0.0 || !rough.is_finite() {
        return vec![lo];
    }
    let power = 10f64.powf(rough.log10().floor());
    let with_step = |step: f64| -> Vec<f64> {
        let (first, last) = ((lo / step - 1e-9).ceil() as i64, (hi / step + 1e-9).floor() as i64);
        (first..=last).map(|i| i as f64 * step).collect()
    };
    let steps = [5.0, 2.0, 1.0, 0.5, 0.2].map(|m| with_step(m * power));
    let best = steps.into_iter().filter(|t| t.len() >= 3).min_by_key(|t| t.len().abs_diff(about.max(3)));
    best.unwrap_or_else(|| with_step(0.1 * power))
}

/// Powers of ten within lo..=hi; also their 2- and 5-fold when there are few.
fn log_ticks(lo: f64, hi: f64) -> Vec<f64> {
    let (a, b) = (lo.log10().floor() as i32, hi.log10().ceil() as i32);
    let pick = |factors: &[f64]| -> Vec<f64> {
        let all = (a..=b).flat_map(|e| factors.iter().map(move |f| f * 10f64.powi(e)));
        all.filter(|t| (lo * 0.999..=hi * 1.001).contains(t)).collect()
    };
    let tens = pick(&[1.0]);
    if tens.len() > 2 {
        return tens;
    }
    let more = pick(&[1.0, 2.0, 5.0]);
    if more.len() > 2 { more } else { ticks(lo, hi, 3) }
}

const SUPERSCRIPT: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

/// One number as readers write it: true minus, thousands apart, powers of ten for the very large and very small.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e7).contains(&size) {
        let exponent = size.log10().floor() as i32;
        let factor = format!("{:.1}", size / 10f64.powi(exponent));
        let sign = if value < 0.0 { "−" } else { "" };
        let minus = if exponent < 0 { "⁻" } else { "" };
        let digits: String =
            exponent.unsigned_abs().to_string().bytes().map(|b| SUPERSCRIPT[usize::from(b - b'0')]).collect();
        let factor = factor.strip_suffix(".0").unwrap_or(&factor);
        return if factor == "1" {
            format!("{sign}10{minus}{digits}")
        } else {
            format!("{sign}{factor}×10{minus}{digits}")
        };
    }
    let plain = format!("{size:.decimals$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(c);
    }
    let zero = plain.bytes().all(|b| b == b'0' || b == b'.');
    format!("{}{grouped}{rest}", if value < 0.0 && !zero { "−" } else { "" })
}

/// A number of things as readers write it, thousands apart: `1,966`.
pub fn count(n: usize) -> String {
    number(n as f64, 0)
}

/// Ticks in words, all with as many decimals as the finest step needs.
pub(crate) fn tick_labels(ticks: &[f64]) -> Vec<String> {
    let step = ticks.windows(2).map(|w| (w[1] - w[0]).abs()).fold(f64::INFINITY, f64::min);
    let step = if step.is_finite() { step } else { ticks.first().map_or(1.0, |t| t.abs()) };
    let decimals = (0..6).find(|&d| {
        let unit = 10f64.powi(d);
        (step * unit - (step * unit).round()).abs() < 1e-6 * (step * unit).max(1.0)
    });
    ticks.iter().map(|&t| number(t, decimals.unwrap_or(6) as usize)).collect()
}

/// What one axis shows.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub lo: f64,
    pub hi: f64,
    pub title: String,
    pub log: bool,
    /// Only whole numbers as ticks (ranks, epochs, counts).
    pub whole: bool,
}

impl Axis {
    pub fn new((lo, hi): (f64, f64), title: impl Into<String>) -> Axis {
        Axis { lo, hi, title: title.into(), log: false, whole: false }
    }

    fn ticks(&self, about: usize) -> Vec<f64> {
        let mut at = if self.log { log_ticks(self.lo, self.hi) } else { ticks(self.lo, self.hi, about) };
        if self.whole {
            at.retain(|t| t.fract() == 0.0);
        }
        at
    }
}

/// A plot with two numeric axes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub area: Area,
    pub x: Map,
    pub y: Map,
}

/// Font size of ticks and of axis titles.
pub(crate) const TICK: f64 = 10.5;
pub(crate) const AXIS_TITLE: f64 = 11.5;

/// Draws grid, ticks and titles inside `outer` and gives the area that remains for the data.
pub(crate) fn frame(scene: &mut Scene, outer: Area, x: &Axis, y: &Axis) -> Frame {
    let about_y = (outer.h / 55.0).clamp(2.0, 7.0) as usize;
    let y_ticks = y.ticks(about_y);
    let y_labels = tick_labels(&y_ticks);
    let left = scene.widest(&y_labels, TICK, Weight::Regular) + 8.0 + if y.title.is_empty() { 0.0 } else { 19.0 };
    let bottom = 20.0 + if x.title.is_empty() { 0.0 } else { 18.0 };
    let area = outer.inside(left, 4.0, 8.0, bottom);
    let map_x = Map { lo: x.lo, hi: x.hi, start: area.x, end: area.right(), log: x.log };
    let map_y = Map { lo: y.lo, hi: y.hi, start: area.bottom(), end: area.y, log: y.log };

    for (tick, label) in y_ticks.iter().zip(&y_labels) {
        let at = map_y.at(*tick);
        scene.line((area.x, at), (area.right(), at), Stroke::new(Paint::Grid, 1.0));
        scene.text(Text::new(area.x - 6.0, at, label).size(TICK).end().centered().paint(Paint::Muted));
    }
    let about_x = (area.w / 70.0).clamp(2.0, 10.0) as usize;
    let mut x_ticks = x.ticks(about_x);
    let mut x_labels = tick_labels(&x_ticks);
    // Long labels need more room than guessed.
    while x_ticks.len() > 2
        && (scene.widest(&x_labels, TICK, Weight::Regular) + 8.0) * x_ticks.len() as f64 > area.w + 30.0
    {
        x_ticks = x_ticks.into_iter().step_by(2).collect();
        x_labels = tick_labels(&x_ticks);
    }
    for (tick, label) in x_ticks.iter().zip(&x_labels) {
        let at = map_x.at(*tick);
        scene.line((at, area.bottom()), (at, area.bottom() + 4.0), Stroke::new(Paint::Muted, 1.0));
        scene.text(Text::new(at, area.bottom() + 15.0, label).size(TICK).middle().paint(Paint::Muted));
    }
    scene.line((area.x, area.bottom()), (area.right(), area.bottom()), Stroke::new(Paint::Muted, 1.0));
    titles(scene, outer, area, &x.title, &y.title);
    Frame { area, x: map_x, y: map_y }
}

/// Lines across at the ticks of a horizontal axis, their numbers below.
pub(crate) fn ruled(scene: &mut Scene, area: Area, x: Map, (lo, hi): (f64, f64), most: f64) {
    let at = ticks(lo, hi, (area.w / 70.0).clamp(2.0, most) as usize);
    for (tick, label) in at.iter().zip(tick_labels(&at)) {
        let v = x.at(*tick);
        scene.line((v, area.y), (v, area.bottom()), Stroke::new(Paint::Grid, 1.0));
        scene.text(Text::new(v, area.bottom() + 14.0, label).size(TICK).middle().paint(Paint::Muted));
    }
}

/// The axis titles around an area.
pub(crate) fn titles(scene: &mut Scene, outer: Area, area: Area, x: &str, y: &str) {
    let middle = area.x + area.w / 2.0;
    if !x.is_empty() {
        let words = scene.fit(x, AXIS_TITLE, Weight::Regular, outer.w).into_owned();
        // A title wider than the plot would run out of the picture on one side.
        let half = scene.width_of(&words, AXIS_TITLE, Weight::Regular) / 2.0;
        let at = middle.min(outer.right() - half).max(outer.x + half);
        scene.text(Text::new(at, outer.bottom() - 4.0, words).size(AXIS_TITLE).middle());
    }
    if !y.is_empty() {
        let words = scene.fit(y, AXIS_TITLE, Weight::Regular, outer.h).into_owned();
        let half = scene.width_of(&words, AXIS_TITLE, Weight::Regular) / 2.0;
        let at = (area.y + area.h / 2.0).min(outer.bottom() - half).max(outer.y + half);
        scene.text(Text::new(outer.x + 11.0, at, words).size(AXIS_TITLE).middle().turn(-90.0));
    }
}

/// The title of a picture, top left; gives what is left below it.
pub(crate) fn heading(scene: &mut Scene, outer: Area, title: &str) -> Area {
    if title.is_empty() {
        return outer;
    }
    let words = scene.fit(title, 13.5, Weight::SemiBold, outer.w).into_owned();
    scene.text(Text::new(outer.x, outer.y + 12.0, words).size(13.5).bold());
    outer.inside(0.0, 24.0, 0.0, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(-3.2, 4.4, 4), [-2.0, 0.0, 2.0, 4.0]);
        assert_eq!(ticks(-1.1, 1.9, 2), [-1.0, 0.0, 1.0]);
        assert_eq!(ticks(2.0, 2.0, 4), [2.0]);
        assert_eq!(log_ticks(3.0, 2000.0), [10.0, 100.0, 1000.0]);
        assert_eq!(log_ticks(8.0, 60.0), [10.0, 20.0, 50.0]);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(tick_labels(&[-0.5, 0.0, 0.5]), ["−0.5", "0.0", "0.5"]);
        assert_eq!(tick_labels(&[0.0, 25_000.0]), ["0", "25,000"]);
        assert_eq!(number(2e8, 0), "2×10⁸");
        assert_eq!(number(-1e-6, 2), "−10⁻⁶");
        assert_eq!(number(-0.001, 1), "0.0");
    }

    #[test]
    fn equal_values_still_have_limits() {
        assert_eq!(limits([2.0, 2.0].into_iter(), 0.05), (1.5, 2.5));
        assert_eq!(limits([f64::NAN].into_iter(), 0.05), (0.0, 1.0));
    }
}
