//! A value for every row and column: programs by groups, as colours or as dots.

use serde::{Deserialize, Serialize};

use super::grid::grid;
use super::{Coloring, Picture, nullable, start};
use crate::ReportError;
use crate::axis::{Area, heading, number};
use crate::color::Scale;
use crate::error::same_length;
use crate::legend::{self, Bar};
use crate::scene::{Paint, Scene, Shape, Size, Stroke, Weight};

/// Values of rows (programs) in columns (groups).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heatmap {
    /// Title; may be empty.
    pub title: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The values, row after row; NaN is missing.
    #[serde(with = "nullable")]
    pub values: Vec<f64>,
    /// What the values are.
    pub value: String,
    /// Whether the sign of the values matters.
    pub diverging: bool,
}

/// As a heat map, with dots whose size is a share: of cells that express, of pairs that are higher.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DotPlot {
    /// Rows, columns and the values that give the colour.
    pub colors: Heatmap,
    /// A share from 0 to 1 for every value, row after row; NaN is missing.
    #[serde(with = "nullable")]
    pub shares: Vec<f64>,
    /// What the shares are.
    pub share: String,
}

impl Heatmap {
    fn check(&self) -> Result<(), ReportError> {
        if self.rows.is_empty() || self.columns.is_empty() {
            return Err(ReportError::Empty { what: "heat map".into(), hint: "pass at least one row and column" });
        }
        same_length("heat map, values", "row and column", self.rows.len() * self.columns.len(), self.values.len())
    }

    fn scale(&self) -> Bar<'_> {
        let values: Vec<f32> = self.values.iter().map(|v| *v as f32).collect();
        let (lo, hi, beyond) = Coloring::score_limits(&values, self.diverging);
        let scale = if self.diverging { Scale::Diverging } else { Scale::Viridis };
        Bar { scale, lo, hi, beyond, title: &self.value }
    }

    fn tip(&self, row: usize, column: usize) -> String {
        let value = self.values[row * self.columns.len() + column];
        let words = if value.is_nan() { "missing".to_owned() } else { number(value, 3) };
        format!("{}, {}: {words}", self.rows[row], self.columns[column])
    }

    /// Draws title and colour bar, as wide as `key` needs too; gives the area left for the cells, the colours and the place below the bar.
    fn begin(&self, size: Size, what: &str, key: &str) -> Result<(Scene, Area, Bar<'_>, Area), ReportError> {
        self.check()?;
        let title = if self.title.is_empty() { what } else { &self.title };
        let (mut scene, area) = start(title, size, Size::new(220.0, 160.0))?;
        let area = heading(&mut scene, area, &self.title);
        let bar = self.scale();
        let title_width = scene.widest(&[&self.value, key], 11.0, Weight::SemiBold).min(110.0).min(area.w * 0.27);
        let width = legend::bar_width(&scene, &bar).max(title_width);
        let place = Area { x: area.right() - width, y: area.y, w: width, h: (area.h * 0.45).clamp(80.0, 160.0) };
        legend::color_bar(&mut scene, &bar, place);
        let below = Area { y: place.bottom() + 18.0, ..place };
        Ok((scene, area.inside(0.0, 0.0, width + 14.0, 0.0), bar, below))
    }

    fn size(&self, cell: f64) -> Size {
        let longest = |names: &[String]| names.iter().map(|n| n.chars().count()).max().unwrap_or(0) as f64 * 7.0;
        let width = longest(&self.rows).min(420.0) + 130.0 + self.columns.len() as f64 * cell;
        // Room for turned names of columns below the cells.
        let below = longest(&self.columns).min(240.0);
        Size::new(width.clamp(410.0, 1100.0), (70.0 + below + self.rows.len() as f64 * cell).clamp(260.0, 2400.0))
    }
}

impl Picture for Heatmap {
    fn natural_size(&self) -> Size {
        self.size(22.0)
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        let (mut scene, area, bar, _) = self.begin(size, "Heat map", "")?;
        let g = grid(&mut scene, area, &self.rows, &self.columns, ("", ""));
        for row in 0..self.rows.len() {
            for column in 0..self.columns.len() {
                let t = (self.values[row * self.columns.len() + column] - bar.lo) / (bar.hi - bar.lo);
                let (x, y) = g.corner(row, column);
                let gap = if g.cell_w.min(g.cell_h) > 8.0 { 1.0 } else { 0.0 };
                scene.rect(x, y, g.cell_w - gap, g.cell_h - gap, bar.scale.at(t));
                scene.tip(self.tip(row, column));
            }
        }
        Ok(scene)
    }
}

impl Picture for DotPlot {
    fn natural_size(&self) -> Size {
        self.colors.size(24.0)
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        same_length("dot plot, shares", "row and column", self.colors.values.len(), self.shares.len())?;
        if let Some(row) = self.shares.iter().position(|s| !(s.is_nan() || (0.0..=1.0).contains(s))) {
            return Err(ReportError::Value {
                what: "dot plot, shares".into(),
                row,
                value: self.shares[row],
                expected: "a share from 0 to 1",
            });
        }
        let (mut scene, area, bar, below) = self.colors.begin(size, "Dot plot", &self.share)?;
        let g = grid(&mut scene, area, &self.colors.rows, &self.colors.columns, ("", ""));
        let largest = (g.cell_w.min(g.cell_h) * 0.47).min(13.0);
        for row in 0..self.colors.rows.len() {
            let y = g.middle(row, 0).1;
            scene.line((g.area.x, y), (g.area.right(), y), Stroke::new(Paint::Grid, 1.0));
        }
        for row in 0..self.colors.rows.len() {
            for column in 0..self.colors.columns.len() {
                let i = row * self.colors.columns.len() + column;
                if self.shares[i].is_nan() || self.shares[i] == 0.0 {
                    continue;
                }
                let (x, y) = g.middle(row, column);
                scene.shapes.push(Shape::Circle {
                    x,
                    y,
                    radius: largest * self.shares[i].sqrt(),
                    fill: Some(bar.scale.at((self.colors.values[i] - bar.lo) / (bar.hi - bar.lo)).into()),
                    stroke: Some(Stroke::new(Paint::Muted, 0.5)),
                    tip: Some(format!(
                        "{}; {}: {} %",
                        self.colors.tip(row, column),
                        self.share,
                        number(100.0 * self.shares[i], 0)
                    )),
                });
            }
        }
        if below.y + 90.0 < scene.size.height {
            let sizes = [0.1, 0.5, 1.0].map(|s: f64| (largest * s.sqrt(), format!("{} %", number(100.0 * s, 0))));
            legend::sizes(&mut scene, &self.share, &sizes, below.x, below.y, below.w);
        }
        Ok(scene)
    }
}
