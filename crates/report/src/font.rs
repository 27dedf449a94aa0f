//! The embedded font: how wide a text is, and the outlines of its letters.
//!
//! Inter (SIL Open Font License 1.1, see `assets/fonts/LICENSE`), cut down to Latin, Greek and a few signs. Letters it
//! does not have are drawn as a box in PNG; SVG readers take them from another font.

use std::borrow::Cow;
use std::sync::LazyLock;

use ttf_parser::gpos::{PairAdjustment, PositioningSubtable};
use ttf_parser::{Face, GlyphId};

use crate::ReportError;

/// How heavy the letters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Plain text.
    Regular,
    /// Titles and emphasis.
    SemiBold,
}

/// Both faces as TrueType.
static FONT: LazyLock<Result<Font, String>> = LazyLock::new(|| {
    let face = |bytes: &'static [u8]| Face::parse(bytes, 0).map_err(|e| e.to_string());
    Ok(Font {
        regular: face(include_bytes!("../assets/fonts/inter-regular.ttf"))?,
        semibold: face(include_bytes!("../assets/fonts/inter-semibold.ttf"))?,
    })
});

/// The regular face as WOFF2, for SVG and HTML.
pub(crate) const REGULAR_WOFF2: &[u8] = include_bytes!("../assets/fonts/inter-regular.woff2");
/// The semi-bold face as WOFF2.
pub(crate) const SEMIBOLD_WOFF2: &[u8] = include_bytes!("../assets/fonts/inter-semibold.woff2");

/// The two faces.
pub(crate) struct Font {
    regular: Face<'static>,
    semibold: Face<'static>,
}

impl Font {
    /// The embedded font.
    pub fn get() -> Result<&'static Font, ReportError> {
        FONT.as_ref().map_err(|reason| ReportError::Font(reason.clone()))
    }

    fn face(&self, weight: Weight) -> &Face<'static> {
        match weight {
            Weight::Regular => &self.regular,
            Weight::SemiBold => &self.semibold,
        }
    }

    /// Glyphs of a text with their x offsets in font units, and the total advance.
    fn run(&self, text: &str, weight: Weight) -> (Vec<(GlyphId, i32)>, i32) {
        let face = self.face(weight);
        let mut glyphs: Vec<(GlyphId, i32)> = Vec::with_capacity(text.len());
        let mut x = 0;
        for c in text.chars() {
            let glyph = face.glyph_index(c).unwrap_or(GlyphId(0));
            if let Some(&(before, _)) = glyphs.last() {
                x += kerning(face, before, glyph);
            }
            glyphs.push((glyph, x));
            x += i32::from(face.glyph_hor_advance(glyph).unwrap_or(0));
        }
        (glyphs, x)
    }

    /// Width in px of `text` set at `size` px.
    pub fn width(&self, text: &str, size: f64, weight: Weight) -> f64 {
        f64::from(self.run(text, weight).1) * size / f64::from(self.face(weight).units_per_em())
    }

    /// The text, or its beginning and end around an ellipsis when it is wider than `room` px.
    pub fn fit<'t>(&self, text: &'t str, size: f64, weight: Weight, room: f64) -> Cow<'t, str> {
        if self.width(text, size, weight) <= room {
            return Cow::Borrowed(text);
        }
        let chars: Vec<char> = text.chars().collect();
        for keep in (1..chars.len()).rev() {
            // Program names differ both at the start and at the end.
            let head = (keep * 3).div_ceil(5);
            let short: String =
                chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - (keep - head)..]).collect();
            if self.width(&short, size, weight) <= room {
                return Cow::Owned(short);
            }
        }
        Cow::Borrowed("…")
    }

    /// Draws the outlines of `text` into `pen`; the baseline starts at (0, 0), y down, in px.
    pub fn outline(&self, text: &str, size: f64, weight: Weight, pen: &mut tiny_skia::PathBuilder) {
        let face = self.face(weight);
        let scale = size as f32 / f32::from(face.units_per_em());
        for (glyph, x) in self.run(text, weight).0 {
            face.outline_glyph(glyph, &mut Pen { path: pen, x: x as f32 * scale, scale });
        }
    }
}

/// Pair kerning of the GPOS table, in font units.
fn kerning(face: &Face, left: GlyphId, right: GlyphId) -> i32 {
    let Some(gpos) = face.tables().gpos else { return 0 };
    for lookup in gpos.lookups {
        for subtable in lookup.subtables.into_iter::<PositioningSubtable>() {
            let PositioningSubtable::Pair(pair) = subtable else { continue };
            let found = match pair {
                PairAdjustment::Format1 { coverage, sets } => {
                    coverage.get(left).and_then(|i| sets.get(i)).and_then(|set| set.get(right))
                }
                PairAdjustment::Format2 { coverage, classes, matrix } => {
                    coverage.get(left).and_then(|_| matrix.get((classes.0.get(left), classes.1.get(right))))
                }
            };
            if let Some((first, _)) = found {
                return i32::from(first.x_advance);
            }
        }
    }
    0
}

/// Turns outlines in font units, y up, into a path in px, y down.
struct Pen<'a> {
    path: &'a mut tiny_skia::PathBuilder,
    x: f32,
    scale: f32,
}

impl Pen<'_> {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, -y * self.scale)
    }
}

impl ttf_parser::OutlineBuilder for Pen<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }
    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_add_up_but_for_kerning() {
        let font = Font::get().unwrap();
        let w = |t: &str| font.width(t, 100.0, Weight::Regular);
        assert!(w("A") > 50.0 && w("A") < 80.0);
        assert!((w("HH") - 2.0 * w("H")).abs() < 1e-9);
        assert!(w("AV") < w("A") + w("V") - 1.0, "the pair A V is kerned");
        assert!(font.width("Bayes", 12.0, Weight::SemiBold) > font.width("Bayes", 12.0, Weight::Regular));
    }

    #[test]
    fn long_names_keep_both_ends() {
        let font = Font::get().unwrap();
        let name = "INTERFERON_ALPHA_BETA_SIGNALING";
        let short = font.fit(name, 11.0, Weight::Regular, 100.0);
        assert!(font.width(&short, 11.0, Weight::Regular) <= 100.0);
        assert!(short.starts_with("INTER") && short.contains('…') && short.ends_with('G'), "{short}");
        assert_eq!(font.fit(name, 11.0, Weight::Regular, 1000.0), name);
    }

    #[test]
    fn the_letters_of_the_field_are_there() {
        let font = Font::get().unwrap();
        for c in "aZ09αβγ−±×²≥≤–…µü".chars() {
            for weight in [Weight::Regular, Weight::SemiBold] {
                assert!(font.face(weight).glyph_index(c).is_some(), "{c}");
            }
        }
    }
}
