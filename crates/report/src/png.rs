//! A picture as pixels.

use tiny_skia::{FillRule, LineCap, LineJoin, Mask, PathBuilder, Pixmap, StrokeDash, Transform};

use crate::ReportError;
use crate::color::Rgb;
use crate::font::Font;
use crate::scene::{Anchor, Dots, Paint, Scene, Shape, Step, Stroke, Text};
use crate::splat;

/// Draws the scene on white and encodes it.
pub(crate) fn write(scene: &Scene, font: &Font, scale: f64) -> Result<Vec<u8>, ReportError> {
    let (width, height) = ((scene.size.width * scale).ceil() as u32, (scene.size.height * scale).ceil() as u32);
    let fail = |reason: String| ReportError::Pixels { width, height, reason };
    if !(scale > 0.0 && scale.is_finite()) || u64::from(width) * u64::from(height) > 400_000_000 {
        return Err(fail("at most 400 million pixels and a positive scale are possible".to_owned()));
    }
    let mut pixels = Pixmap::new(width, height).ok_or_else(|| fail("width and height must be positive".to_owned()))?;
    pixels.fill(tiny_skia::Color::WHITE);
    let transform = Transform::from_scale(scale as f32, scale as f32);
    for shape in &scene.shapes {
        match shape {
            Shape::Rect { x, y, width, height, radius, fill, stroke, .. } => {
                if let Some(path) = rounded(*x, *y, *width, *height, *radius) {
                    paint(&mut pixels, &path, *fill, 1.0, *stroke, transform);
                }
            }
            Shape::Circle { x, y, radius, fill, stroke, .. } => {
                if let Some(path) = PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32) {
                    paint(&mut pixels, &path, *fill, 1.0, *stroke, transform);
                }
            }
            Shape::Path { steps, fill, fill_opacity, stroke, .. } => {
                if let Some(path) = path(steps) {
                    paint(&mut pixels, &path, *fill, *fill_opacity, *stroke, transform);
                }
            }
            Shape::Text(t) => text(&mut pixels, font, t, transform),
            Shape::Dots(d) => splat::dots(&mut pixels, d, scale, (0.0, 0.0)),
        }
    }
    pixels.encode_png().map_err(|e| fail(e.to_string()))
}

/// Dots alone, on a transparent ground; the pixels cover `x, y, width, height` px of the picture.
pub(crate) fn layer(dots: &Dots, (x, y): (f64, f64), size: (f64, f64), scale: f64) -> Result<Vec<u8>, ReportError> {
    let (width, height) = ((size.0 * scale).round() as u32, (size.1 * scale).round() as u32);
    let fail = |reason: String| ReportError::Pixels { width, height, reason };
    let mut pixels = Pixmap::new(width, height).ok_or_else(|| fail("no such image can be made".to_owned()))?;
    splat::dots(&mut pixels, dots, scale, (x * scale, y * scale));
    pixels.encode_png().map_err(|e| fail(e.to_string()))
}

fn color(rgb: Rgb, opacity: f64) -> tiny_skia::Paint<'static> {
    let mut paint = tiny_skia::Paint { anti_alias: true, ..Default::default() };
    paint.set_color_rgba8(rgb.0, rgb.1, rgb.2, (opacity * 255.0).round() as u8);
    paint
}

fn paint(
    pixels: &mut Pixmap,
    path: &tiny_skia::Path,
    fill: Option<Paint>,
    opacity: f64,
    stroke: Option<Stroke>,
    transform: Transform,
) {
    const NO_MASK: Option<&Mask> = None;
    if let Some(fill) = fill {
        pixels.fill_path(path, &color(fill.on_white(), opacity), FillRule::Winding, transform, NO_MASK);
    }
    if let Some(stroke) = stroke {
        let style = tiny_skia::Stroke {
            width: stroke.width as f32,
            line_cap: LineCap::Butt,
            line_join: LineJoin::Round,
            dash: stroke.dash.and_then(|(on, off)| StrokeDash::new(vec![on as f32, off as f32], 0.0)),
            ..Default::default()
        };
        pixels.stroke_path(path, &color(stroke.paint.on_white(), 1.0), &style, transform, NO_MASK);
    }
}

fn text(pixels: &mut Pixmap, font: &Font, text: &Text, transform: Transform) {
    let mut pen = PathBuilder::new();
    font.outline(&text.text, text.size, text.weight, &mut pen);
    let Some(path) = pen.finish() else { return };
    let shift = match text.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => -font.width(&text.text, text.size, text.weight) / 2.0,
        Anchor::End => -font.width(&text.text, text.size, text.weight),
    };
    let placed = transform
        .pre_translate(text.x as f32, text.y as f32)
        .pre_rotate(text.turn as f32)
        .pre_translate(shift as f32, 0.0);
    if text.halo {
        let rim = Stroke::new(Paint::Paper, 3.0);
        paint(pixels, &path, None, 1.0, Some(rim), placed);
    }
    paint(pixels, &path, Some(text.paint), 1.0, None, placed);
}

fn path(steps: &[Step]) -> Option<tiny_skia::Path> {
    let mut pen = PathBuilder::new();
    for step in steps {
        match *step {
            Step::Move(x, y) => pen.move_to(x as f32, y as f32),
            Step::Line(x, y) => pen.line_to(x as f32, y as f32),
            Step::Curve(a, b, c, d, x, y) => {
                pen.cubic_to(a as f32, b as f32, c as f32, d as f32, x as f32, y as f32);
            }
            Step::Close => pen.close(),
        }
    }
    pen.finish()
}

/// Control points of a quarter circle, as a share of the radius.
const QUARTER: f64 = 0.552_284_75;

fn rounded(x: f64, y: f64, width: f64, height: f64, radius: f64) -> Option<tiny_skia::Path> {
    let r = radius.min(width / 2.0).min(height / 2.0);
    if r <= 0.0 {
        return tiny_skia::Rect::from_xywh(x as f32, y as f32, width as f32, height as f32).map(PathBuilder::from_rect);
    }
    let (right, bottom, k) = (x + width, y + height, r * (1.0 - QUARTER));
    path(&[
        Step::Move(x + r, y),
        Step::Line(right - r, y),
        Step::Curve(right - k, y, right, y + k, right, y + r),
        Step::Line(right, bottom - r),
        Step::Curve(right, bottom - k, right - k, bottom, right - r, bottom),
        Step::Line(x + r, bottom),
        Step::Curve(x + k, bottom, x, bottom - k, x, bottom - r),
        Step::Line(x, y + r),
        Step::Curve(x, y + k, x + k, y, x + r, y),
        Step::Close,
    ])
}
