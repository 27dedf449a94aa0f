//! The pictures, one file each.

mod bayes;
mod coloring;
mod confusion;
mod embedding;
mod genes;
mod grid;
mod heatmap;
mod metrics;
pub(crate) mod nullable;
mod reliability;
mod training;
mod trials;
mod violin;

pub use bayes::{BayesFactors, ENRICHED, ProgramBayesFactor};
pub use coloring::{ColorValues, Coloring};
pub use confusion::{Confusion, Sankey};
pub use embedding::{Axes, Embedding};
pub(crate) use embedding::{outside_words, within_limits};
pub use genes::{GeneBars, GeneWeight};
pub use heatmap::{DotPlot, Heatmap};
pub use metrics::{Metric, MetricGroup, Metrics};
pub use reliability::{Reliability, ReliabilityBin};
pub use training::{LossCurve, Training};
pub use trials::{Measure, Trials};
pub use violin::{Split, Violins};

use crate::ReportError;
use crate::axis::Area;
use crate::scene::{Scene, Size};

/// Something that can be drawn at any size.
pub trait Picture {
    /// The size at which it reads best.
    fn natural_size(&self) -> Size;

    /// Lays the picture out at a size in px.
    ///
    /// # Errors
    /// Input that does not fit together, nothing to draw, or a size too small ([`ReportError`] says which and where).
    fn draw(&self, size: Size) -> Result<Scene, ReportError>;
}

/// Margin around every picture.
const MARGIN: f64 = 12.0;

/// A scene and the area inside its margins, or an error when the size is below the least.
fn start(what: &str, size: Size, least: Size) -> Result<(Scene, Area), ReportError> {
    // Not `<`: a NaN size is refused too.
    if !(size.width >= least.width && size.height >= least.height) {
        return Err(ReportError::TooSmall {
            what: what.to_owned(),
            width: size.width,
            height: size.height,
            min_width: least.width,
            min_height: least.height,
        });
    }
    let area = Area { x: 0.0, y: 0.0, w: size.width, h: size.height }.inside(MARGIN, MARGIN, MARGIN, MARGIN);
    Ok((Scene::new(size, what)?, area))
}

/// Refuses a picture that needs more height than it has.
fn high_enough(scene: &Scene, needed: f64, what: impl FnOnce() -> String) -> Result<(), ReportError> {
    let Size { width, height } = scene.size;
    if needed > height {
        let (what, min_width, min_height) = (what(), width, needed.ceil());
        return Err(ReportError::TooSmall { what, width, height, min_width, min_height });
    }
    Ok(())
}

/// The same of a picture with `n` rows of so many px, where each needs `least`.
fn rows_fit(
    scene: &Scene,
    (row, least): (f64, f64),
    n: usize,
    what: impl FnOnce() -> String,
) -> Result<(), ReportError> {
    high_enough(scene, scene.size.height + (least - row) * n as f64, what)
}
