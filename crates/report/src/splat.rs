//! Dots as pixels: the layer that lets a million cells be drawn.

use tiny_skia::{Pixmap, PremultipliedColorU8};

use crate::scene::Dots;

/// Paints the dots onto a pixmap, each dot over those before it. Positions are px times `scale` minus `origin`.
///
/// The share of a pixel that a dot covers is taken as clamp(r + ½ − d, 0, 1), d the distance of the pixel's centre
/// from the dot's; dots smaller than a pixel keep their area as opacity.
pub(crate) fn dots(pixels: &mut Pixmap, dots: &Dots, scale: f64, origin: (f64, f64)) {
    let radius = (dots.radius * scale) as f32;
    let drawn = radius.max(0.5);
    let alpha = dots.alpha as f32 * (radius / drawn).powi(2);
    let (width, height) = (pixels.width() as i32, pixels.height() as i32);
    let data = pixels.pixels_mut();
    for (at, &color) in dots.at.iter().zip(&dots.color) {
        let (cx, cy) = (at[0] * scale as f32 - origin.0 as f32, at[1] * scale as f32 - origin.1 as f32);
        let rgb = dots.palette[usize::from(color)];
        let reach = drawn + 0.5;
        let (x0, x1) = (((cx - reach).floor() as i32).max(0), ((cx + reach).ceil() as i32).min(width));
        let (y0, y1) = (((cy - reach).floor() as i32).max(0), ((cy + reach).ceil() as i32).min(height));
        for y in y0..y1 {
            let dy = y as f32 + 0.5 - cy;
            for x in x0..x1 {
                let dx = x as f32 + 0.5 - cx;
                let cover = alpha * (reach - (dx * dx + dy * dy).sqrt()).clamp(0.0, 1.0);
                if cover <= 0.0 {
                    continue;
                }
                let pixel = &mut data[(y * width + x) as usize];
                let over = |new: u8, old: u8| (f32::from(new) * cover + f32::from(old) * (1.0 - cover)).round() as u8;
                let a = over(255, pixel.alpha());
                let (r, g, b) = (over(rgb.0, pixel.red()), over(rgb.1, pixel.green()), over(rgb.2, pixel.blue()));
                if let Some(p) = PremultipliedColorU8::from_rgba(r.min(a), g.min(a), b.min(a), a) {
                    *pixel = p;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Rgb;

    /// Mean of the opacity sums over positions within a pixel.
    fn area(radius: f64, alpha: f64) -> f64 {
        let mut sum = 0.0;
        for i in 0..64 {
            let mut pixels = Pixmap::new(20, 20).unwrap();
            let at = vec![[10.0 + (i % 8) as f32 / 8.0, 10.0 + (i / 8) as f32 / 8.0]];
            let d = Dots { at, color: vec![0], palette: vec![Rgb(255, 0, 0)], radius, alpha };
            dots(&mut pixels, &d, 1.0, (0.0, 0.0));
            sum += pixels.pixels().iter().map(|p| f64::from(p.alpha()) / 255.0).sum::<f64>();
        }
        sum / 64.0
    }

    #[test]
    fn a_dot_covers_its_area() {
        // The soft rim adds π/12.
        for (radius, alpha, expected) in [(1.0, 1.0, 1.0), (4.0, 1.0, 16.0), (4.0, 0.5, 8.0)] {
            let (found, expected) = (area(radius, alpha), std::f64::consts::PI * (expected + alpha / 12.0));
            assert!((found / expected - 1.0).abs() < 0.02, "radius {radius}: {found} against {expected}");
        }
        let quarter = area(0.25, 1.0) / area(0.5, 1.0);
        assert!((quarter - 0.25).abs() < 0.01, "below a pixel, area becomes opacity: {quarter}");
    }

    #[test]
    fn later_dots_hide_earlier_ones() {
        let mut pixels = Pixmap::new(20, 20).unwrap();
        let d = Dots {
            at: vec![[10.0, 10.0]; 2],
            color: vec![0, 1],
            palette: vec![Rgb(255, 0, 0), Rgb(0, 0, 255)],
            radius: 3.0,
            alpha: 1.0,
        };
        dots(&mut pixels, &d, 1.0, (0.0, 0.0));
        let middle = pixels.pixel(10, 10).unwrap();
        assert_eq!((middle.red(), middle.blue(), middle.alpha()), (0, 255, 255));
    }
}
