//! Whether the probabilities of transferred labels can be believed.

use serde::{Deserialize, Serialize};

use super::{Picture, start};
use crate::ReportError;
use crate::axis::{Area, Axis, frame, heading, number};
use crate::color::BLUE;
use crate::scene::{Paint, Scene, Size, Step, Stroke, Text};

/// Cells whose label was given a probability within one range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Mean probability, 0 to 1.
    pub confidence: f64,
    /// Share of labels that are right, 0 to 1.
    pub accuracy: f64,
    /// Number of cells.
    pub cells: u64,
}

/// Share of right labels against their stated probability; on the diagonal the two agree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Title; may be empty.
    pub title: String,
    /// The bins by rising confidence; empty bins may be left out.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error, the mean distance from the diagonal weighted by cells, if computed.
    #[serde(default)]
    pub ece: Option<f64>,
}

impl Picture for Reliability {
    fn natural_size(&self) -> Size {
        Size::new(420.0, 460.0)
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        let bins: Vec<&ReliabilityBin> = self.bins.iter().filter(|b| b.cells > 0).collect();
        if bins.is_empty() {
            return Err(ReportError::Empty { what: "reliability".into(), hint: "pass at least one bin with cells" });
        }
        for (row, bin) in bins.iter().enumerate() {
            for value in [bin.confidence, bin.accuracy] {
                if !(0.0..=1.0).contains(&value) {
                    let what = "reliability, bin".into();
                    return Err(ReportError::Value { what, row, value, expected: "a share from 0 to 1" });
                }
            }
        }
        let what = if self.title.is_empty() { "Reliability of transferred labels" } else { &self.title };
        let (mut scene, area) = start(what, size, Size::new(220.0, 240.0))?;
        let error = self.ece.map(|ece| format!("calibration error {}", number(ece, 3)));
        let words = [Some(&self.title).filter(|t| !t.is_empty()).cloned(), error];
        let area = heading(&mut scene, area, &words.into_iter().flatten().collect::<Vec<_>>().join(": "));
        let strip = (area.h * 0.22).min(90.0);
        let upper = area.inside(0.0, 0.0, 0.0, strip);
        let x = Axis::new((0.0, 1.0), "");
        let f = frame(&mut scene, upper, &x, &Axis::new((0.0, 1.0), "share that is right"));
        let diagonal = Stroke::new(Paint::Muted, 1.2).dashed(4.0, 3.0);
        scene.line((f.x.at(0.0), f.y.at(0.0)), (f.x.at(1.0), f.y.at(1.0)), diagonal);
        let at = |b: &ReliabilityBin| (f.x.at(b.confidence), f.y.at(b.accuracy));
        let mut line: Vec<Step> = bins.iter().map(|b| Step::Line(at(b).0, at(b).1)).collect();
        line[0] = Step::Move(at(bins[0]).0, at(bins[0]).1);
        scene.path(line, None, Some(Stroke::new(BLUE, 2.0)));
        for bin in &bins {
            scene.circle(at(bin).0, at(bin).1, 4.0, BLUE);
            scene.tip(format!(
                "stated {}, right {}: {} cells",
                number(bin.confidence, 2),
                number(bin.accuracy, 2),
                number(bin.cells as f64, 0)
            ));
        }

        // The histogram shares the x axis of the curve.
        let lower = Area { x: f.area.x, y: upper.bottom() + 4.0, w: f.area.w, h: strip - 22.0 };
        let most = bins.iter().map(|b| b.cells).max().unwrap_or(1) as f64;
        let width = (lower.w / self.bins.len().max(10) as f64 * 0.8).min(36.0);
        for bin in &bins {
            let h = lower.h * bin.cells as f64 / most;
            let left = (f.x.at(bin.confidence) - width / 2.0).clamp(lower.x, lower.right() - width);
            scene.rect(left, lower.bottom() - h, width, h.max(0.5), BLUE.mix(crate::color::MISSING, 0.4));
            scene.tip(format!("{} cells", number(bin.cells as f64, 0)));
        }
        scene.line((lower.x, lower.bottom()), (lower.right(), lower.bottom()), Stroke::new(Paint::Muted, 1.0));
        let middle = lower.y + lower.h / 2.0;
        scene.text(Text::new(upper.x + 11.0, middle, "cells").size(11.5).middle().turn(-90.0));
        scene.text(Text::new(lower.x + 2.0, lower.y + 8.0, number(most, 0)).size(9.5).paint(Paint::Muted));
        let words = Text::new(lower.x + lower.w / 2.0, area.bottom() - 3.0, "stated probability").size(11.5);
        scene.text(words.middle());
        Ok(scene)
    }
}
