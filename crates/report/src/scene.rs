//! What a picture is made of before it becomes SVG or PNG: shapes in px, y down, painted in order.

use std::borrow::Cow;
use std::path::Path;

use crate::ReportError;
use crate::color::Rgb;
use crate::font::Font;
pub use crate::font::Weight;

/// Width and height in px (1/96 inch).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Size {
    /// `width` × `height` px.
    pub const fn new(width: f64, height: f64) -> Size {
        Size { width, height }
    }
}

/// A colour by its role, so that a picture inside the report can follow a light or dark page, or a fixed colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Text and axes.
    Ink,
    /// Text of less weight.
    Muted,
    /// Grid lines and frames.
    Grid,
    /// The page.
    Paper,
    /// Always the same colour.
    Fixed(Rgb),
}

impl Paint {
    /// The colour on white paper.
    pub(crate) fn on_white(self) -> Rgb {
        match self {
            Paint::Ink => Rgb::hex(0x1F2430),
            Paint::Muted => Rgb::hex(0x5F6775),
            Paint::Grid => Rgb::hex(0xE3E6EA),
            Paint::Paper => Rgb::hex(0xFFFFFF),
            Paint::Fixed(rgb) => rgb,
        }
    }
}

impl From<Rgb> for Paint {
    fn from(rgb: Rgb) -> Paint {
        Paint::Fixed(rgb)
    }
}

/// How an outline is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    /// Colour.
    pub paint: Paint,
    /// Width in px.
    pub width: f64,
    /// Length of dashes and gaps; `None` is a full line.
    pub dash: Option<(f64, f64)>,
}

impl Stroke {
    /// A full line.
    pub fn new(paint: impl Into<Paint>, width: f64) -> Stroke {
        Stroke { paint: paint.into(), width, dash: None }
    }

    /// The same line, dashed.
    pub fn dashed(self, on: f64, off: f64) -> Stroke {
        Stroke { dash: Some((on, off)), ..self }
    }
}

/// Which point of a text lies at its x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its start.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// A line of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// Where the anchor is.
    pub x: f64,
    /// Where the baseline is.
    pub y: f64,
    /// What is written.
    pub text: String,
    /// Font size in px.
    pub size: f64,
    /// Weight.
    pub weight: Weight,
    /// Anchor.
    pub anchor: Anchor,
    /// Colour.
    pub paint: Paint,
    /// Rotation in degrees around (x, y), clockwise.
    pub turn: f64,
    /// Whether a rim in the colour of the paper keeps the text apart from what is below it.
    pub halo: bool,
}

/// Height of a capital letter, as a share of the font size.
const CAP: f64 = 0.727;

impl Text {
    /// Plain text, 11 px, starting at (x, baseline y).
    pub fn new(x: f64, y: f64, text: impl Into<String>) -> Text {
        Text {
            x,
            y,
            text: text.into(),
            size: 11.0,
            weight: Weight::Regular,
            anchor: Anchor::Start,
            paint: Paint::Ink,
            turn: 0.0,
            halo: false,
        }
    }

    /// Sets the font size; the baseline stays.
    pub fn size(self, size: f64) -> Text {
        Text { size, ..self }
    }

    /// Semi-bold.
    pub fn bold(self) -> Text {
        Text { weight: Weight::SemiBold, ..self }
    }

    /// Middle at x.
    pub fn middle(self) -> Text {
        Text { anchor: Anchor::Middle, ..self }
    }

    /// End at x.
    pub fn end(self) -> Text {
        Text { anchor: Anchor::End, ..self }
    }

    /// Sets the colour.
    pub fn paint(self, paint: impl Into<Paint>) -> Text {
        Text { paint: paint.into(), ..self }
    }

    /// Moves the baseline so that capitals are centred on the present y.
    pub fn centered(self) -> Text {
        Text { y: self.y + self.size * CAP / 2.0, ..self }
    }

    /// Turns the text, clockwise.
    pub fn turn(self, degrees: f64) -> Text {
        Text { turn: degrees, ..self }
    }

    /// Adds a rim in the colour of the paper.
    pub fn halo(self) -> Text {
        Text { halo: true, ..self }
    }
}

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Start anew here.
    Move(f64, f64),
    /// A straight line to here.
    Line(f64, f64),
    /// A cubic curve: two control points, then the end.
    Curve(f64, f64, f64, f64, f64, f64),
    /// Back to the start of this part.
    Close,
}

/// Many round dots, painted in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Dots {
    /// Positions in px.
    pub at: Vec<[f32; 2]>,
    /// One colour a dot, an index into `palette`.
    pub color: Vec<u16>,
    /// The colours.
    pub palette: Vec<Rgb>,
    /// Radius in px.
    pub radius: f64,
    /// Opacity, 0 to 1.
    pub alpha: f64,
}

/// One thing to paint.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A rectangle with corners of a radius.
    Rect {
        /// Left.
        x: f64,
        /// Top.
        y: f64,
        /// Width.
        width: f64,
        /// Height.
        height: f64,
        /// Radius of the corners.
        radius: f64,
        /// Inside.
        fill: Option<Paint>,
        /// Outline.
        stroke: Option<Stroke>,
        /// Shown when pointed at (SVG).
        tip: Option<String>,
    },
    /// A circle.
    Circle {
        /// Centre.
        x: f64,
        /// Centre.
        y: f64,
        /// Radius.
        radius: f64,
        /// Inside.
        fill: Option<Paint>,
        /// Outline.
        stroke: Option<Stroke>,
        /// Shown when pointed at (SVG).
        tip: Option<String>,
    },
    /// Lines and curves.
    Path {
        /// The steps.
        steps: Vec<Step>,
        /// Inside.
        fill: Option<Paint>,
        /// Opacity of the inside.
        fill_opacity: f64,
        /// Outline.
        stroke: Option<Stroke>,
        /// Shown when pointed at (SVG).
        tip: Option<String>,
    },
    /// A line of text.
    Text(Text),
    /// Many dots.
    Dots(Dots),
}

/// A picture ready to be written.
#[derive(Clone)]
pub struct Scene {
    /// Size in px.
    pub size: Size,
    /// Read out by screen readers; the title of the SVG.
    pub title: String,
    /// What to paint, in order.
    pub shapes: Vec<Shape>,
    pub(crate) font: &'static Font,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").field("size", &self.size).field("title", &self.title).finish_non_exhaustive()
    }
}

impl Scene {
    /// An empty picture.
    ///
    /// # Errors
    /// [`ReportError::Font`] when the embedded font is broken.
    pub fn new(size: Size, title: impl Into<String>) -> Result<Scene, ReportError> {
        Ok(Scene { size, title: title.into(), shapes: Vec::new(), font: Font::get()? })
    }

    /// Adds text.
    pub fn text(&mut self, text: Text) {
        self.shapes.push(Shape::Text(text));
    }

    /// Adds a straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        self.path(vec![Step::Move(from.0, from.1), Step::Line(to.0, to.1)], None, Some(stroke));
    }

    /// Adds a path.
    pub fn path(&mut self, steps: Vec<Step>, fill: Option<Paint>, stroke: Option<Stroke>) {
        self.shapes.push(Shape::Path { steps, fill, fill_opacity: 1.0, stroke, tip: None });
    }

    /// Adds a filled rectangle.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, fill: impl Into<Paint>) {
        let fill = Some(fill.into());
        self.shapes.push(Shape::Rect { x, y, width, height, radius: 0.0, fill, stroke: None, tip: None });
    }

    /// Adds a filled circle.
    pub fn circle(&mut self, x: f64, y: f64, radius: f64, fill: impl Into<Paint>) {
        self.shapes.push(Shape::Circle { x, y, radius, fill: Some(fill.into()), stroke: None, tip: None });
    }

    /// Gives the shape added last a text that SVG readers show when it is pointed at.
    pub fn tip(&mut self, words: impl Into<String>) {
        if let Some(Shape::Rect { tip, .. } | Shape::Circle { tip, .. } | Shape::Path { tip, .. }) =
            self.shapes.last_mut()
        {
            *tip = Some(words.into());
        }
    }

    /// Width in px of a text.
    pub fn width_of(&self, text: &str, size: f64, weight: Weight) -> f64 {
        self.font.width(text, size, weight)
    }

    /// Width in px of the widest text.
    pub fn widest<S: AsRef<str>>(&self, texts: &[S], size: f64, weight: Weight) -> f64 {
        texts.iter().map(|t| self.width_of(t.as_ref(), size, weight)).fold(0.0, f64::max)
    }

    /// The text, shortened around an ellipsis to fit into `room` px.
    pub fn fit<'t>(&self, text: &'t str, size: f64, weight: Weight, room: f64) -> Cow<'t, str> {
        self.font.fit(text, size, weight, room)
    }
}

/// What a picture is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Shapes.
    Svg,
    /// Pixels.
    Png,
}

impl Format {
    /// What the ending of a file's name asks for.
    ///
    /// # Errors
    /// [`ReportError::Format`] for another ending.
    pub fn of(path: &Path) -> Result<Format, ReportError> {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        match ending.as_str() {
            "svg" => Ok(Format::Svg),
            "png" => Ok(Format::Png),
            _ => Err(ReportError::Format { path: path.to_path_buf() }),
        }
    }
}
