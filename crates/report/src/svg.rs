//! A picture as SVG text.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::font::{REGULAR_WOFF2, SEMIBOLD_WOFF2};
use crate::scene::{Anchor, Dots, Paint, Scene, Shape, Step, Stroke, Text, Weight};
use crate::{ReportError, png};

/// Above this many dots an embedded image replaces the vector dots.
const VECTOR_DOTS: usize = 50_000;
/// Pixels a px of that image.
const LAYER_SCALE: f64 = 3.0;
/// Dots whose order among each other is given up so that those of one colour share one element.
const BLOCK: usize = 1_000;

/// Where the SVG is going to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A file of its own.
    Alone,
    /// Inside an HTML page, whose colours and font it takes.
    Inline,
}

/// Escapes text for XML and HTML, in elements and in quoted attributes.
///
/// Characters that XML does not allow become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}');
            }
            _ => out.push(c),
        }
    }
    out
}

/// Two decimals, no trailing zeros.
fn n(value: f64) -> String {
    let mut s = format!("{value:.2}");
    while s.ends_with('0') {
        s.pop();
    }
    if s.ends_with('.') {
        s.pop();
    }
    if s == "-0" { "0".to_owned() } else { s }
}

/// `@font-face` rules with both faces embedded.
pub(crate) fn font_faces() -> String {
    let face = |weight: u32, bytes: &[u8]| {
        format!(
            "@font-face{{font-family:\"Inter\";font-weight:{weight};src:url(data:font/woff2;base64,{}) format(\"woff2\")}}",
            STANDARD.encode(bytes)
        )
    };
    format!("{}{}", face(400, REGULAR_WOFF2), face(600, SEMIBOLD_WOFF2))
}

/// The scene as SVG.
///
/// # Errors
/// [`ReportError::Pixels`] when an image of many dots cannot be made.
pub(crate) fn write(scene: &Scene, mode: Mode) -> Result<String, ReportError> {
    let mut out = String::new();
    let (w, h) = (n(scene.size.width), n(scene.size.height));
    let title = escape(&scene.title);
    let opening =
        format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\"");
    match mode {
        Mode::Alone => {
            out.push_str(&opening);
            out.push_str(" font-family=\"Inter, Helvetica, Arial, sans-serif\">");
            let _ = write!(out, "<title>{title}</title><style>{}</style>", font_faces());
            let _ = write!(out, "<rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>");
        }
        Mode::Inline => {
            let _ = write!(out, "{opening} role=\"img\" aria-label=\"{title}\">");
        }
    }
    for shape in &scene.shapes {
        element(&mut out, shape, mode)?;
    }
    out.push_str("</svg>");
    Ok(out)
}

fn element(out: &mut String, shape: &Shape, mode: Mode) -> Result<(), ReportError> {
    // Writing into a String cannot fail; `let _ =` drops a Result that is always Ok.
    match shape {
        Shape::Rect { x, y, width, height, radius, fill, stroke, tip } => {
            let _ =
                write!(out, "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"", n(*x), n(*y), n(*width), n(*height));
            if *radius > 0.0 {
                let _ = write!(out, " rx=\"{}\"", n(*radius));
            }
            paint(out, *fill, 1.0, *stroke, mode);
            close(out, "rect", tip.as_deref());
        }
        Shape::Circle { x, y, radius, fill, stroke, tip } => {
            let _ = write!(out, "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"", n(*x), n(*y), n(*radius));
            paint(out, *fill, 1.0, *stroke, mode);
            close(out, "circle", tip.as_deref());
        }
        Shape::Path { steps, fill, fill_opacity, stroke, tip } => {
            out.push_str("<path d=\"");
            for step in steps {
                let _ = match *step {
                    Step::Move(x, y) => write!(out, "M{} {}", n(x), n(y)),
                    Step::Line(x, y) => write!(out, "L{} {}", n(x), n(y)),
                    Step::Curve(a, b, c, d, x, y) => {
                        write!(out, "C{} {} {} {} {} {}", n(a), n(b), n(c), n(d), n(x), n(y))
                    }
                    Step::Close => write!(out, "Z"),
                };
            }
            out.push('"');
            paint(out, *fill, *fill_opacity, *stroke, mode);
            close(out, "path", tip.as_deref());
        }
        Shape::Text(text) => write_text(out, text, mode),
        Shape::Dots(dots) => write_dots(out, dots)?,
    }
    Ok(())
}

fn close(out: &mut String, name: &str, tip: Option<&str>) {
    let _ = match tip {
        None => write!(out, "/>"),
        Some(tip) => write!(out, "><title>{}</title></{name}>", escape(tip)),
    };
}

fn css(paint: Paint, mode: Mode) -> String {
    match (mode, paint) {
        (Mode::Alone, _) | (_, Paint::Fixed(_)) => paint.on_white().css(),
        (_, Paint::Ink) => "var(--ink)".to_owned(),
        (_, Paint::Muted) => "var(--muted)".to_owned(),
        (_, Paint::Grid) => "var(--grid)".to_owned(),
        (_, Paint::Paper) => "var(--paper)".to_owned(),
    }
}

fn paint(out: &mut String, fill: Option<Paint>, opacity: f64, stroke: Option<Stroke>, mode: Mode) {
    let _ = match fill {
        Some(fill) => write!(out, " fill=\"{}\"", css(fill, mode)),
        None => write!(out, " fill=\"none\""),
    };
    if opacity < 1.0 && fill.is_some() {
        let _ = write!(out, " fill-opacity=\"{}\"", n(opacity));
    }
    if let Some(stroke) = stroke {
        let _ = write!(
            out,
            " stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"",
            css(stroke.paint, mode),
            n(stroke.width)
        );
        if let Some((on, off)) = stroke.dash {
            let _ = write!(out, " stroke-dasharray=\"{} {}\"", n(on), n(off));
        }
    }
}

fn write_text(out: &mut String, text: &Text, mode: Mode) {
    let (x, y) = (n(text.x), n(text.y));
    let _ = write!(out, "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" fill=\"{}\"", n(text.size), css(text.paint, mode));
    if text.weight == Weight::SemiBold {
        out.push_str(" font-weight=\"600\"");
    }
    match text.anchor {
        Anchor::Start => {}
        Anchor::Middle => out.push_str(" text-anchor=\"middle\""),
        Anchor::End => out.push_str(" text-anchor=\"end\""),
    }
    if text.turn != 0.0 {
        let _ = write!(out, " transform=\"rotate({} {x} {y})\"", n(text.turn));
    }
    if text.halo {
        let rim = css(Paint::Paper, mode);
        let _ = write!(out, " stroke=\"{rim}\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"");
    }
    let _ = write!(out, ">{}</text>", escape(&text.text));
}

/// Few dots: a line of no length with round ends is a dot, the shortest way to say it. Many dots: an image.
fn write_dots(out: &mut String, dots: &Dots) -> Result<(), ReportError> {
    if dots.at.len() > VECTOR_DOTS {
        let rim = dots.radius + 1.0;
        let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        for at in &dots.at {
            for k in 0..2 {
                low[k] = low[k].min(at[k]);
                high[k] = high[k].max(at[k]);
            }
        }
        let (x, y) = (f64::from(low[0]) - rim, f64::from(low[1]) - rim);
        // Whole pixels, so that the image is not resampled off its place.
        let whole = |v: f64| (v * LAYER_SCALE).ceil() / LAYER_SCALE;
        let (w, h) = (whole(f64::from(high[0]) + rim - x), whole(f64::from(high[1]) + rim - y));
        let png = STANDARD.encode(png::layer(dots, (x, y), (w, h), LAYER_SCALE)?);
        let _ = write!(out, "<image x=\"{x:.4}\" y=\"{y:.4}\" width=\"{w:.4}\" height=\"{h:.4}\"");
        let _ = write!(out, " href=\"data:image/png;base64,{png}\"/>");
        return Ok(());
    }
    let _ = write!(
        out,
        "<g fill=\"none\" stroke-linecap=\"round\" stroke-width=\"{}\" stroke-opacity=\"{}\">",
        n(2.0 * dots.radius),
        n(dots.alpha)
    );
    let mut start = 0;
    while start < dots.at.len() {
        let end = (start + BLOCK).min(dots.at.len());
        let mut order: Vec<usize> = (start..end).collect();
        order.sort_by_key(|&i| dots.color[i]);
        for same in order.chunk_by(|&a, &b| dots.color[a] == dots.color[b]) {
            let _ = write!(out, "<path stroke=\"{}\" d=\"", dots.palette[usize::from(dots.color[same[0]])].css());
            for &i in same {
                let _ = write!(out, "M{} {}h0", n(f64::from(dots.at[i][0])), n(f64::from(dots.at[i][1])));
            }
            out.push_str("\"/>");
        }
        start = end;
    }
    out.push_str("</g>");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<b a=\"1\">&'\u{1}"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;\u{fffd}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([n(1.0), n(-0.001), n(10.50), n(2.346)], ["1", "0", "10.5", "2.35"]);
    }
}
