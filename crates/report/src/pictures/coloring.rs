//! What cells are coloured by.

use serde::{Deserialize, Serialize};

use super::nullable;
use crate::ReportError;
use crate::axis::limits;
use crate::color::{MISSING, Rgb, Scale, category};
use crate::density::quantile;
use crate::error::{same_length, valid_codes};
use crate::legend::Entry;

/// A named column of cells to colour by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coloring {
    /// Name of the column: `cell_type`, a program.
    pub name: String,
    /// The column.
    pub values: ColorValues,
    /// What cells without a value are called in the legend; `None`: missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Colours of the categories, one each; empty: those of the palette.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub colors: Vec<Rgb>,
}

/// Categories or scores, one a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ColorValues {
    /// Names.
    Categories {
        /// One code a cell, an index into `levels`; −1 is missing.
        codes: Vec<i32>,
        /// The names.
        levels: Vec<String>,
    },
    /// Numbers.
    Scores {
        /// One value a cell; NaN is missing.
        #[serde(with = "nullable")]
        values: Vec<f32>,
        /// Whether the sign matters: blue below zero, vermilion above.
        diverging: bool,
    },
}

/// Share of a category's cells that have to lie in one piece of the plane for its name on the cells.
pub(crate) const APART: f64 = 0.5;

/// Colours of cells, resolved: an index into a palette each, the order to paint them in, and what the legend needs.
pub(crate) struct Resolved {
    pub color: Vec<u16>,
    pub palette: Vec<Rgb>,
    pub order: Vec<u32>,
    pub key: Key,
}

/// What the legend shows.
pub(crate) enum Key {
    Categories(Vec<Entry>),
    Scale { scale: Scale, lo: f64, hi: f64, beyond: (bool, bool) },
}

/// Mixes the bits of a row number (splitmix64), for an order that does not depend on how cells are sorted.
fn mixed(row: usize) -> u64 {
    let mut z = (row as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Coloring {
    /// Categories from codes and names.
    pub fn categories(name: impl Into<String>, codes: Vec<i32>, levels: Vec<String>) -> Coloring {
        Coloring {
            name: name.into(),
            values: ColorValues::Categories { codes, levels },
            missing: None,
            colors: Vec::new(),
        }
    }

    /// Whether no cell has a value.
    pub fn is_empty(&self) -> bool {
        match &self.values {
            ColorValues::Categories { codes, .. } => codes.iter().all(|&code| code < 0),
            ColorValues::Scores { values, .. } => values.iter().all(|value| value.is_nan()),
        }
    }

    /// Scores without a natural middle.
    pub fn scores(name: impl Into<String>, values: Vec<f32>) -> Coloring {
        Coloring {
            name: name.into(),
            values: ColorValues::Scores { values, diverging: false },
            missing: None,
            colors: Vec::new(),
        }
    }

    /// Scores whose sign matters, such as latent programs.
    pub fn signed_scores(name: impl Into<String>, values: Vec<f32>) -> Coloring {
        Coloring {
            name: name.into(),
            values: ColorValues::Scores { values, diverging: true },
            missing: None,
            colors: Vec::new(),
        }
    }

    /// The same categories in colours of their own; as many as there are categories, or they are not taken.
    #[must_use]
    pub fn with_colors(mut self, colors: Vec<Rgb>) -> Coloring {
        if matches!(&self.values, ColorValues::Categories { levels, .. } if levels.len() == colors.len()) {
            self.colors = colors;
        }
        self
    }

    /// Colour of a category.
    pub fn color(&self, level: usize) -> Rgb {
        self.colors.get(level).copied().unwrap_or_else(|| category(level))
    }

    /// Whether a name on the cells says whose they are, for each category: at least [`APART`] of its cells lie in one piece of
    /// the plane, made of squares of a grid in which more than half of the cells are its own. Where that holds for no more
    /// than half of the categories, the groups are mixed, and none is named.
    pub(crate) fn lie_apart(&self, x: &[f32], y: &[f32]) -> Vec<bool> {
        let ColorValues::Categories { codes, levels } = &self.values else { return Vec::new() };
        let known: Vec<usize> = (0..codes.len()).filter(|&i| codes[i] >= 0).collect();
        // About eight cells a square, where they were spread evenly.
        let side = ((known.len() as f64 / 8.0).sqrt() as usize).clamp(6, 32);
        let place = |values: &[f32]| {
            let values = values.iter().map(|&v| f64::from(v));
            let (lo, hi) = values.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            let span = if hi > lo { hi - lo } else { 1.0 };
            values.map(|v| (((v - lo) / span * side as f64) as usize).min(side - 1)).collect::<Vec<_>>()
        };
        let (column, row) = (place(x), place(y));
        let mut counts = vec![0usize; side * side * levels.len()];
        known.iter().for_each(|&i| counts[(row[i] * side + column[i]) * levels.len() + codes[i] as usize] += 1);
        let square = |at: usize| &counts[at * levels.len()..(at + 1) * levels.len()];
        let mut sizes = vec![0usize; levels.len()];
        known.iter().for_each(|&i| sizes[codes[i] as usize] += 1);
        let mut largest = vec![0usize; levels.len()];
        let mut seen = vec![false; side * side];
        // The category that has more than half of a square; a square is in one piece at most.
        let owner = |at: usize| {
            let all: usize = square(at).iter().sum();
            square(at).iter().position(|&n| 2 * n > all)
        };
        for start in 0..side * side {
            let Some(level) = owner(start).filter(|_| !seen[start]) else { continue };
            let (mut piece, mut todo) = (0, vec![start]);
            seen[start] = true;
            while let Some(at) = todo.pop() {
                piece += square(at)[level];
                let (i, j) = (at % side, at / side);
                for (a, b) in (-1..=1).flat_map(|a: isize| (-1..=1).map(move |b: isize| (a, b))) {
                    let (Some(a), Some(b)) = (i.checked_add_signed(a), j.checked_add_signed(b)) else { continue };
                    if a < side && b < side && !seen[b * side + a] && owner(b * side + a) == Some(level) {
                        seen[b * side + a] = true;
                        todo.push(b * side + a);
                    }
                }
            }
            largest[level] = largest[level].max(piece);
        }
        let apart: Vec<bool> =
            (0..levels.len()).map(|l| sizes[l] > 0 && largest[l] as f64 >= APART * sizes[l] as f64).collect();
        let (n_apart, n) = (apart.iter().filter(|a| **a).count(), sizes.iter().filter(|s| **s > 0).count());
        if 2 * n_apart > n { apart } else { vec![false; levels.len()] }
    }

    /// Refuses another number of cells than `cells`, and codes without a name.
    pub(crate) fn check(&self, what: &str, cells: usize) -> Result<(), ReportError> {
        let what = format!("{what}, colour {:?}", self.name);
        match &self.values {
            ColorValues::Categories { codes, levels } => {
                same_length(&what, "cell", cells, codes.len())?;
                valid_codes(&what, codes, levels.len())
            }
            ColorValues::Scores { values, .. } => same_length(&what, "cell", cells, values.len()),
        }
    }

    /// Limits of the colour scale: the 0.5th and 99.5th percentile, so that a few cells do not take all the colour;
    /// symmetric around zero where the sign matters. Also whether values lie beyond.
    pub(crate) fn score_limits(values: &[f32], diverging: bool) -> (f64, f64, (bool, bool)) {
        let mut sorted: Vec<f64> = values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (least, most) = (quantile(&sorted, 0.0), quantile(&sorted, 1.0));
        let (mut lo, mut hi) = (quantile(&sorted, 0.005), quantile(&sorted, 0.995));
        if hi <= lo {
            (lo, hi) = (least, most);
        }
        if diverging {
            hi = lo.abs().max(hi.abs());
            lo = -hi;
        }
        if lo.is_nan() || hi <= lo {
            (lo, hi) = limits([lo, hi].into_iter(), 0.0);
        }
        let hair = (hi - lo) * 1e-6;
        (lo, hi, (least < lo - hair, most > hi + hair))
    }

    /// Missing cells are painted first; then categories in mixed order, scores from low to high (or mixed, where low
    /// values matter as much as high ones).
    pub(crate) fn resolve(&self) -> Resolved {
        match &self.values {
            ColorValues::Categories { codes, levels } => {
                let mut used = vec![false; levels.len()];
                for &c in codes.iter().filter(|c| **c >= 0) {
                    used[c as usize] = true;
                }
                let missing = levels.len() as u16;
                let color = codes.iter().map(|&c| if c < 0 { missing } else { c as u16 }).collect();
                let palette = (0..levels.len()).map(|i| self.color(i)).chain([MISSING]).collect();
                let mut order: Vec<u32> = (0..codes.len() as u32).collect();
                order.sort_by_cached_key(|&i| (codes[i as usize] >= 0, mixed(i as usize)));
                let named = levels.iter().enumerate().filter(|(i, _)| used[*i]);
                let mut entries: Vec<Entry> =
                    named.map(|(i, name)| Entry { name: name.clone(), color: self.color(i) }).collect();
                if codes.iter().any(|&c| c < 0) {
                    let name = self.missing.as_deref().unwrap_or("missing").to_owned();
                    entries.push(Entry { name, color: MISSING });
                }
                Resolved { color, palette, order, key: Key::Categories(entries) }
            }
            ColorValues::Scores { values, diverging } => {
                const SHADES: usize = 256;
                let scale = if *diverging { Scale::Diverging } else { Scale::Viridis };
                let (lo, hi, beyond) = Coloring::score_limits(values, *diverging);
                let shade = |v: f32| {
                    if v.is_nan() {
                        return SHADES as u16;
                    }
                    let t = ((f64::from(v) - lo) / (hi - lo)).clamp(0.0, 1.0);
                    (t * (SHADES - 1) as f64).round() as u16
                };
                let color: Vec<u16> = values.iter().map(|&v| shade(v)).collect();
                let palette = (0..SHADES).map(|i| scale.at(i as f64 / (SHADES - 1) as f64)).chain([MISSING]).collect();
                let mut order: Vec<u32> = (0..values.len() as u32).collect();
                order.sort_by_cached_key(|&i| {
                    let c = color[i as usize];
                    let height = if *diverging { 0 } else { c };
                    (usize::from(c) != SHADES, height, mixed(i as usize))
                });
                Resolved { color, palette, order, key: Key::Scale { scale, lo, hi, beyond } }
            }
        }
    }
}
