//! A scene as a file: shapes or pixels.

use crate::scene::{Format, Scene};
use crate::{ReportError, png, svg};

impl Scene {
    /// SVG text, self-contained: the font is embedded and clouds of more than 50,000 dots become an embedded image.
    ///
    /// # Errors
    /// [`ReportError::Pixels`] when such an image cannot be made.
    pub fn to_svg(&self) -> Result<String, ReportError> {
        svg::write(self, svg::Mode::Alone)
    }

    /// SVG for the inside of an HTML page that defines the CSS variables `--ink`, `--muted`, `--grid`, `--paper`.
    pub(crate) fn to_inline_svg(&self) -> Result<String, ReportError> {
        svg::write(self, svg::Mode::Inline)
    }

    /// PNG bytes; `scale` pixels a px (2 for screens and slides, 3 or more for print).
    ///
    /// # Errors
    /// [`ReportError::Pixels`] when the picture is too large or the scale is not positive.
    pub fn to_png(&self, scale: f64) -> Result<Vec<u8>, ReportError> {
        png::write(self, self.font, scale)
    }

    /// The picture in a format; `scale` pixels a px in PNG.
    ///
    /// # Errors
    /// Of [`Scene::to_svg`] and [`Scene::to_png`].
    pub fn to_bytes(&self, format: Format, scale: f64) -> Result<Vec<u8>, ReportError> {
        match format {
            Format::Svg => Ok(self.to_svg()?.into_bytes()),
            Format::Png => self.to_png(scale),
        }
    }
}
