//! Transferred against given labels: as a matrix and as flows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::grid::grid;
use super::{Picture, rows_fit, start};
use crate::ReportError;
use crate::axis::{Area, heading, number};
use crate::color::{Rgb, Scale, category};
use crate::error::same_length;
use crate::legend::{self, Bar};
use crate::scene::{Paint, Scene, Shape, Size, Step, Text, Weight};

/// How many cells of each given label got each transferred label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Title; may be empty.
    pub title: String,
    /// Labels the cells came with: the rows.
    pub given: Vec<String>,
    /// Labels transferred to them: the columns.
    pub transferred: Vec<String>,
    /// Number of cells, row after row.
    pub counts: Vec<u64>,
    /// Colours of labels in the picture of flows; the others have those of the palette.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub colors: BTreeMap<String, Rgb>,
}

/// The same table as flows from given (left) to transferred labels (right).
#[derive(Clone, Copy, Debug)]
pub struct Sankey<'a>(pub &'a Confusion);

impl Confusion {
    /// Counts pairs of labels; cells where either is missing (−1) are left out.
    ///
    /// # Errors
    /// Codes without a name, or different numbers of cells.
    pub fn from_codes(given: (&[i32], &[String]), transferred: (&[i32], &[String])) -> Result<Confusion, ReportError> {
        same_length("confusion, transferred", "cell", given.0.len(), transferred.0.len())?;
        crate::error::valid_codes("confusion, given", given.0, given.1.len())?;
        crate::error::valid_codes("confusion, transferred", transferred.0, transferred.1.len())?;
        let mut counts = vec![0; given.1.len() * transferred.1.len()];
        for (&a, &b) in given.0.iter().zip(transferred.0) {
            if a >= 0 && b >= 0 {
                counts[a as usize * transferred.1.len() + b as usize] += 1;
            }
        }
        let (given, transferred) = (given.1.to_vec(), transferred.1.to_vec());
        Ok(Confusion { given, transferred, counts, ..Confusion::default() })
    }

    fn check(&self) -> Result<(), ReportError> {
        same_length(
            "confusion, counts",
            "pair of labels",
            self.given.len() * self.transferred.len(),
            self.counts.len(),
        )?;
        if self.counts.iter().sum::<u64>() == 0 {
            return Err(ReportError::Empty { what: "confusion".into(), hint: "pass cells that have both labels" });
        }
        Ok(())
    }

    fn row(&self, i: usize) -> &[u64] {
        &self.counts[i * self.transferred.len()..(i + 1) * self.transferred.len()]
    }

    /// Rows and columns that have cells, ordered so that like stands beside like.
    ///
    /// Where most rows have a column of the same name, these rows come first, in their order, and columns follow the rows;
    /// else columns go from many cells to few, and rows follow the column that takes most of their cells. "unknown" is last.
    fn shown(&self) -> (Vec<usize>, Vec<usize>) {
        let total = |j: usize| (0..self.given.len()).map(|i| self.row(i)[j]).sum::<u64>();
        let mut rows: Vec<usize> = (0..self.given.len()).filter(|&i| self.row(i).iter().any(|&c| c > 0)).collect();
        let mut columns: Vec<usize> = (0..self.transferred.len()).filter(|&j| total(j) > 0).collect();
        let unknown = |j: usize| self.transferred[j].eq_ignore_ascii_case("unknown");
        let has_column = |i: usize| columns.iter().any(|&j| self.given[i] == self.transferred[j]);
        if 2 * rows.iter().filter(|&&i| has_column(i)).count() >= rows.len() {
            rows.sort_by_key(|&i| !has_column(i));
            let same = |j: usize| rows.iter().position(|&i| self.given[i] == self.transferred[j]);
            columns.sort_by_key(|&j| (unknown(j), same(j).unwrap_or(usize::MAX)));
            return (rows, columns);
        }
        columns.sort_by_key(|&j| (unknown(j), std::cmp::Reverse(total(j))));
        rows.sort_by_cached_key(|&i| {
            let cells = |k: &usize| self.row(i)[columns[*k]];
            let main = (0..columns.len()).rev().max_by_key(cells).unwrap_or(0);
            (main, std::cmp::Reverse(cells(&main)))
        });
        (rows, columns)
    }
}

impl Picture for Confusion {
    fn natural_size(&self) -> Size {
        let cell = if self.given.len().max(self.transferred.len()) > 15 { 24.0 } else { 32.0 };
        Size::new(
            (300.0 + cell * self.transferred.len() as f64).clamp(420.0, 1100.0),
            (180.0 + cell * self.given.len() as f64).clamp(320.0, 1100.0),
        )
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        self.check()?;
        let what = if self.title.is_empty() { "Transferred against given labels" } else { &self.title };
        let (mut scene, area) = start(what, size, Size::new(240.0, 200.0))?;
        let area = heading(&mut scene, area, &self.title);
        let bar = Bar { scale: Scale::Blues, lo: 0.0, hi: 100.0, beyond: (false, false), title: "% of row" };
        let width = legend::bar_width(&scene, &bar).max(48.0);
        let place = Area { x: area.right() - width, y: area.y, w: width, h: (area.h * 0.5).min(150.0) };
        legend::color_bar(&mut scene, &bar, place);

        let (rows, columns) = self.shown();
        let row_names: Vec<String> = rows.iter().map(|&i| self.given[i].clone()).collect();
        let column_names: Vec<String> = columns.iter().map(|&j| self.transferred[j].clone()).collect();
        let totals: Vec<u64> = rows.iter().map(|&i| self.row(i).iter().sum()).collect();
        let total_names: Vec<String> = totals.iter().map(|&t| number(t as f64, 0)).collect();
        let with_totals = area.w >= 360.0;
        let totals_w = if with_totals { scene.widest(&total_names, 9.5, Weight::Regular).max(24.0) + 6.0 } else { 0.0 };
        let area = area.inside(0.0, if with_totals { 14.0 } else { 0.0 }, width + 14.0 + totals_w, 0.0);
        let g = grid(&mut scene, area, &row_names, &column_names, ("given", "transferred"));
        if with_totals {
            scene.text(Text::new(g.area.right() + 6.0, g.area.y - 5.0, "cells").size(9.5).paint(Paint::Muted));
        }
        let font = (g.cell_h * 0.42).min(g.cell_w * 0.38).min(10.5);
        for (r, &i) in rows.iter().enumerate() {
            for (c, &j) in columns.iter().enumerate() {
                let share = self.row(i)[j] as f64 / totals[r] as f64;
                let fill = Scale::Blues.at(share);
                let (x, y) = g.corner(r, c);
                scene.rect(x, y, g.cell_w - 1.0, g.cell_h - 1.0, fill);
                let percent = number(100.0 * share, 1);
                scene.tip(format!(
                    "{} → {}: {} of {} cells ({percent} %)",
                    self.given[i],
                    self.transferred[j],
                    self.row(i)[j],
                    totals[r]
                ));
                if share >= 0.005 && font >= 7.0 {
                    let (x, y) = g.middle(r, c);
                    let text = Text::new(x - 0.5, y - 0.5, number(100.0 * share, 0)).size(font);
                    scene.text(text.middle().centered().paint(fill.text_on()));
                }
            }
            if with_totals && g.cell_h >= 8.5 {
                let text = Text::new(g.area.right() + 6.0, g.middle(r, 0).1, &total_names[r]).size(9.5);
                scene.text(text.centered().paint(Paint::Muted));
            }
        }
        Ok(scene)
    }
}

/// Height of a line of labels in the flows, where there is room; the least that can be read; the size of letters in the
/// first.
const LINE: f64 = 13.0;
const LEAST_LINE: f64 = 8.5;
const FONT: f64 = 10.5;

/// How high a cell may be for blocks of so many cells to fit, each in a place at least a line high, with gaps.
///
/// The height that is used, Σ max(cells · unit, line) + gaps, rises with the unit: found by halving.
fn height_of_a_cell(sums: &[f64], height: f64, line: f64, gap: f64) -> f64 {
    let used = |unit: f64| {
        let places = sums.iter().map(|s| (s * unit + gap).max(line)).sum::<f64>();
        places - gap
    };
    let (mut low, mut high) = (0.0, height / sums.iter().sum::<f64>());
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if used(middle) <= height { low = middle } else { high = middle }
    }
    low
}

/// The upper ends of blocks, each in the middle of a place that holds its label, all together in the middle of the height.
fn places(sums: &[f64], unit: f64, line: f64, gap: f64, top: f64, height: f64) -> Vec<f64> {
    let place = |s: &f64| (s * unit + gap).max(line);
    let used = sums.iter().map(place).sum::<f64>() - gap;
    let mut y = top + (height - used).max(0.0) / 2.0 - gap / 2.0;
    sums.iter()
        .map(|s| {
            let block = y + (place(s) - s * unit) / 2.0;
            y += place(s);
            block
        })
        .collect()
}

impl Picture for Sankey<'_> {
    fn natural_size(&self) -> Size {
        let most = self.0.given.len().max(self.0.transferred.len()) as f64;
        Size::new(640.0, (110.0 + 24.0 * most).clamp(320.0, 1000.0))
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        let table = self.0;
        table.check()?;
        let what = if table.title.is_empty() { "From given to transferred labels" } else { &table.title };
        let (mut scene, area) = start(what, size, Size::new(240.0, 200.0))?;
        let area = heading(&mut scene, area, &table.title);
        scene.text(Text::new(area.x, area.y + 10.0, "given").bold());
        scene.text(Text::new(area.right(), area.y + 10.0, "transferred").bold().end());
        let area = area.inside(0.0, 20.0, 0.0, 2.0);

        let (rows, columns) = table.shown();
        let row_sum: Vec<f64> = rows.iter().map(|&i| table.row(i).iter().sum::<u64>() as f64).collect();
        let column_sum: Vec<f64> =
            columns.iter().map(|&j| rows.iter().map(|&i| table.row(i)[j]).sum::<u64>() as f64).collect();
        let most = rows.len().max(columns.len());
        let line = (area.h / most as f64).min(LINE);
        rows_fit(&scene, (line, LEAST_LINE), most, || format!("flows between {most} labels"))?;
        let font = FONT * line / LINE;
        let gap = (area.h * 0.25 / most as f64).min(6.0);
        // The side with the larger need for room says how high a cell is, on both.
        let unit = height_of_a_cell(&row_sum, area.h, line, gap).min(height_of_a_cell(&column_sum, area.h, line, gap));
        let tops = |sums: &[f64]| places(sums, unit, line, gap, area.y, area.h);
        let (row_top, column_top) = (tops(&row_sum), tops(&column_sum));

        // One colour a label, the same on both sides.
        let color_of = |name: &str, other: usize| {
            let of_palette = || category(table.given.iter().position(|g| g == name).unwrap_or(other));
            table.colors.get(name).copied().unwrap_or_else(of_palette)
        };
        // Counts are left to the tips where there is little room.
        let count = |sum: f64| if area.w < 420.0 { String::new() } else { format!(" ({})", number(sum, 0)) };
        let names = |which: &[usize], from: &[String], sums: &[f64]| -> Vec<String> {
            which.iter().zip(sums).map(|(&i, s)| format!("{}{}", from[i], count(*s))).collect()
        };
        let row_names = names(&rows, &table.given, &row_sum);
        let column_names = names(&columns, &table.transferred, &column_sum);
        let room = |names: &[String]| scene.widest(names, font, Weight::Regular).min(area.w * 0.34);
        let (left, right) = (room(&row_names) + 8.0, room(&column_names) + 8.0);
        const NODE: f64 = 9.0;
        let (x0, x1) = (area.x + left + NODE, area.right() - right - NODE);

        let (mut from, mut to) = (row_top.clone(), column_top.clone());
        for (r, &i) in rows.iter().enumerate() {
            for (c, &j) in columns.iter().enumerate() {
                let count = table.row(i)[j];
                if count == 0 {
                    continue;
                }
                let (h, middle) = (count as f64 * unit, (x0 + x1) / 2.0);
                let (a, b) = (from[r], to[c]);
                scene.shapes.push(Shape::Path {
                    steps: vec![
                        Step::Move(x0, a),
                        Step::Curve(middle, a, middle, b, x1, b),
                        Step::Line(x1, b + h),
                        Step::Curve(middle, b + h, middle, a + h, x0, a + h),
                        Step::Close,
                    ],
                    fill: Some(color_of(&table.given[i], i).into()),
                    fill_opacity: 0.5,
                    stroke: None,
                    tip: Some(format!("{} → {}: {count} cells", table.given[i], table.transferred[j])),
                });
                from[r] += h;
                to[c] += h;
            }
        }
        let sides = [(x0 - NODE, &row_top, &row_sum, true), (x1, &column_top, &column_sum, false)];
        for (x, top, sums, is_left) in sides {
            for k in 0..top.len() {
                let label = if is_left { &table.given[rows[k]] } else { &table.transferred[columns[k]] };
                let color = color_of(label, table.given.len() + k);
                scene.rect(x, top[k], NODE, (sums[k] * unit).max(1.0), color);
                scene.tip(format!("{label}: {} cells", number(sums[k], 0)));
                // The count is kept whole; the name gives way.
                let count = count(sums[k]);
                let room = if is_left { left } else { right } - 8.0 - scene.width_of(&count, font, Weight::Regular);
                let words = format!("{}{count}", scene.fit(label, font, Weight::Regular, room));
                let middle = top[k] + sums[k] * unit / 2.0;
                let text = Text::new(if is_left { x - 6.0 } else { x + NODE + 6.0 }, middle, words);
                let text = text.size(font).centered();
                scene.text(if is_left { text.end() } else { text });
            }
        }
        Ok(scene)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_the_rows() {
        let s = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let (given, transferred) = (s(&["B", "empty", "Eryth", "NK"]), s(&["NK", "unknown", "B", "never"]));
        let table = Confusion::from_codes((&[0, 0, 3, 3, 2, -1], &given), (&[2, 2, 0, 1, 0, 0], &transferred)).unwrap();
        assert_eq!(table.counts.iter().sum::<u64>(), 5);
        // The row without a column is last: those that have one are a diagonal.
        assert_eq!(table.shown(), (vec![0, 3, 2], vec![2, 0, 1]));
    }

    #[test]
    fn rows_of_other_names_follow_their_main_column() {
        let s = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let table = Confusion {
            given: s(&["CD4 Naive T", "B Activated", "CD4 Memory T"]),
            transferred: s(&["unknown", "B", "CD4 T"]),
            counts: vec![1, 0, 9, 2, 5, 0, 0, 1, 20],
            ..Confusion::default()
        };
        assert_eq!(table.shown(), (vec![2, 0, 1], vec![2, 1, 0]));
    }

    #[test]
    fn every_label_has_room_beside_its_own_block() {
        for n in [2, 12, 30] {
            // A few large blocks and many of one cell.
            let sums: Vec<f64> = (0..n).map(|i| if i % 7 == 0 { 500.0 } else { 1.0 }).collect();
            let (height, line, gap) = (500.0f64, LINE.min(500.0 / n as f64), 4.0);
            let unit = height_of_a_cell(&sums, height, line, gap);
            let tops = places(&sums, unit, line, gap, 10.0, height);
            let middles: Vec<f64> = tops.iter().zip(&sums).map(|(t, s)| t + s * unit / 2.0).collect();
            assert!(middles.windows(2).all(|w| w[1] - w[0] >= line - 1e-6), "{n}: {middles:?}");
            assert!(tops.windows(2).zip(&sums).all(|(t, s)| t[1] >= t[0] + s * unit), "{n}: blocks overlap");
            let end = tops[n - 1] + sums[n - 1] * unit;
            assert!(
                unit > 0.0 && tops[0] >= 10.0 - gap / 2.0 - 1e-6 && end <= 510.0 + gap / 2.0 + 1e-6,
                "{n}: {tops:?}"
            );
        }
    }

    #[test]
    fn flows_without_room_for_their_labels_say_how_much_they_need() {
        let names: Vec<String> = (0..60).map(|i| format!("type {i}")).collect();
        let codes: Vec<i32> = (0..60).collect();
        let table = Confusion::from_codes((&codes, &names), (&codes, &names)).unwrap();
        let Err(ReportError::TooSmall { min_height, .. }) = Sankey(&table).draw(Size::new(400.0, 300.0)) else {
            panic!("drawn")
        };
        assert!(Sankey(&table).draw(Size::new(400.0, min_height)).is_ok());
    }

    #[test]
    fn a_code_without_a_name_is_an_error() {
        let names = vec!["B".to_owned()];
        let error = Confusion::from_codes((&[0, 3], &names), (&[0, 0], &names)).unwrap_err();
        assert!(matches!(error, ReportError::Code { code: 3, row: 1, levels: 1, .. }), "{error}");
    }
}
