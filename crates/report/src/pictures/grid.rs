//! Rows by columns with their names: what heat map, dot plot and confusion matrix share.

use crate::axis::{Area, TICK, titles};
use crate::scene::{Scene, Text, Weight};

/// The cells of a grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub area: Area,
    pub cell_w: f64,
    pub cell_h: f64,
}

impl Grid {
    /// Left top corner of a cell.
    pub fn corner(self, row: usize, column: usize) -> (f64, f64) {
        (self.area.x + column as f64 * self.cell_w, self.area.y + row as f64 * self.cell_h)
    }

    /// Middle of a cell.
    pub fn middle(self, row: usize, column: usize) -> (f64, f64) {
        let (x, y) = self.corner(row, column);
        (x + self.cell_w / 2.0, y + self.cell_h / 2.0)
    }
}

/// Bytes up to the first `_` of what all names begin with (`REACTOME_`); 0 where that would leave a name empty.
fn shared(names: &[String]) -> usize {
    let [first, rest @ ..] = names else { return 0 };
    if rest.is_empty() {
        return 0;
    }
    let common = |other: &String| first.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let length = rest.iter().map(common).min().unwrap_or(0);
    let end = first.as_bytes()[..length].iter().position(|&b| b == b'_').map_or(0, |at| at + 1);
    if names.iter().all(|n| n.len() > end) { end } else { 0 }
}

/// Writes the names of rows (left) and columns (below) and gives the cells. Column names are turned where they do not
/// fit side by side; where rows or columns are too thin for a name each, every second, third, … is named.
pub(super) fn grid(
    scene: &mut Scene,
    outer: Area,
    rows: &[String],
    columns: &[String],
    (row_title, column_title): (&str, &str),
) -> Grid {
    let title_left = if row_title.is_empty() { 0.0 } else { 19.0 };
    let title_below = if column_title.is_empty() { 0.0 } else { 18.0 };
    let most = outer.w * 0.55;
    // Where names must be cut, what all of them begin with goes first.
    let cut = if scene.widest(rows, TICK, Weight::Regular) > most { shared(rows) } else { 0 };
    let rows: Vec<&str> = rows.iter().map(|r| &r[cut..]).collect();
    let row_names = scene.widest(&rows, TICK, Weight::Regular).min(most);
    let mut left = title_left + row_names + 8.0;

    // Column names that must be cut lose what all of them begin with, too.
    let room = (outer.h * 0.45).min(240.0);
    let cut = if scene.widest(columns, TICK, Weight::Regular) > room { shared(columns) } else { 0 };
    let columns: Vec<&str> = columns.iter().map(|c| &c[cut..]).collect();
    let widest = scene.widest(&columns, TICK, Weight::Regular);
    let flat = widest + 8.0 <= (outer.w - left) / columns.len() as f64;
    let name_w = widest.min(room);
    let half = std::f64::consts::FRAC_1_SQRT_2;
    // Slanted names need more room between columns than upright ones.
    let slanted = !flat && (outer.w - left) / columns.len() as f64 >= 15.0;
    let below = match (flat, slanted) {
        (true, _) => 20.0,
        (_, true) => name_w * half + 14.0,
        _ => name_w + 10.0,
    };
    if slanted {
        // Turned names run out to the left of the first column.
        left = left.max(title_left + name_w * half - (outer.w - left) / columns.len() as f64 / 2.0 + 6.0);
    }
    let area = outer.inside(left, 2.0, 2.0, below + title_below);
    let g = Grid { area, cell_w: area.w / columns.len() as f64, cell_h: area.h / rows.len() as f64 };

    let font = TICK.min(g.cell_h * 0.95).max(8.5);
    for (i, name) in rows.iter().enumerate().step_by((font / g.cell_h).ceil().max(1.0) as usize) {
        let words = scene.fit(name, font, Weight::Regular, left - title_left - 8.0).into_owned();
        scene.text(Text::new(area.x - 6.0, g.middle(i, 0).1, words).size(font).end().centered());
    }
    let font = if flat { TICK } else { TICK.min(g.cell_w * 0.95).max(8.5) };
    let step = if flat { 1 } else { (font / g.cell_w).ceil().max(1.0) as usize };
    for (j, name) in columns.iter().enumerate().step_by(step) {
        let (x, y) = (g.middle(0, j).0, area.bottom());
        if flat {
            scene.text(Text::new(x, y + 14.0, *name).size(font).middle());
        } else if !slanted {
            let words = scene.fit(name, font, Weight::Regular, name_w).into_owned();
            scene.text(Text::new(x + font * 0.36, y + 6.0, words).size(font).end().turn(-90.0));
        } else {
            let words = scene.fit(name, font, Weight::Regular, name_w).into_owned();
            scene.text(Text::new(x + 4.0, y + 11.0, words).size(font).end().turn(-45.0));
        }
    }
    titles(scene, outer, area, column_title, row_title);
    g
}

#[cfg(test)]
mod tests {
    use super::shared;

    #[test]
    fn names_lose_what_they_share_but_not_themselves() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(shared(&names(&["REACTOME_HIV_LIFE", "REACTOME_HIV_CYCLE", "REACTOME_TCR"])), 9);
        assert_eq!(shared(&names(&["REACTOME_TCR", "HALLMARK_TCR"])), 0);
        assert_eq!(shared(&names(&["REACTOME_TCR"])), 0);
        assert_eq!(shared(&names(&["A_", "A_B"])), 0);
        assert_eq!(shared(&names(&["ä_x", "ä_y"])), 3);
    }
}
