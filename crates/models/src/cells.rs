//! The cells of a reference, as a model may carry them: where they lie and what they are called, without their counts.
//!
//! Latent means stand on a grid of 1/64 of the prior's standard deviation, far below the spread of any cell's posterior, so
//! that a cell takes tens of bytes. Logarithms of variances stand on a grid of 1/32, a picture on one of 1/256. Whole numbers
//! are written as zigzag varints, dimension by dimension, and deflated.

use std::io::{BufReader, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use scgraft_cells::{Column, Dense, Frame};
use serde::{Deserialize, Serialize};

/// Steps of a latent mean per standard deviation of the prior.
const MEAN: f32 = 64.0;
/// Steps of ln variance per unit.
const LN_VARIANCE: f32 = 32.0;
/// Steps of a picture's coordinate per unit.
const PICTURE: f32 = 256.0;
/// Deflate makes at most so many bytes of one.
const MOST: usize = 1032;

/// Where the cells of a reference lie, and what they are called.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceCells {
    /// Columns of obs that they bring: labels, studies, numbers. Cells have no names.
    pub obs: Frame,
    /// Latent means, cells × dimensions, on the grid.
    pub mean: Dense,
    /// Posterior variances, as `mean`.
    pub variance: Option<Dense>,
    /// A picture, cells × 2 or 3.
    pub picture: Option<Dense>,
    /// What was learned from their counts while they were there, as its owner writes it; empty for nothing.
    pub learned: String,
}

#[derive(Serialize, Deserialize)]
struct Shape {
    cells: usize,
    dimensions: usize,
    variance: bool,
    picture: usize,
    columns: Vec<Named>,
    #[serde(default)]
    learned: usize,
}

#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
    /// Of a column of labels; `None` for one of numbers.
    categories: Option<Vec<String>>,
}

impl ReferenceCells {
    /// Cells with values moved to the grid.
    ///
    /// # Errors
    /// Parts of different numbers of cells; a value that is not finite; a column of free text.
    pub fn new(
        obs: Frame,
        mean: &Dense,
        variance: Option<&Dense>,
        picture: Option<&Dense>,
    ) -> Result<ReferenceCells, String> {
        let n = mean.n_rows;
        let parts = [Some(mean), variance, picture];
        if parts.iter().flatten().any(|m| m.n_rows != n) || obs.columns.iter().any(|(_, c)| c.len() != n) {
            return Err(format!("its parts are not all of {n} cells"));
        }
        if variance.is_some_and(|v| v.n_cols != mean.n_cols) {
            return Err("means and variances are not of as many dimensions".into());
        }
        if parts.iter().flatten().any(|m| m.values.iter().any(|v| !v.is_finite())) {
            return Err("a value of its cells is not finite".into());
        }
        let columns = obs.columns.into_iter().map(|(name, column)| {
            let column = match column {
                Column::Categorical { codes, categories, .. } => {
                    Column::Categorical { codes, categories, ordered: false }
                }
                Column::Text(_) | Column::Boolean(_) => {
                    let texts = column.texts();
                    let filled: Vec<&str> = texts.iter().map(|t| t.as_deref().unwrap_or_default()).collect();
                    Column::categorical(&filled)
                }
                numbers => {
                    let number = |i: usize| numbers.number(i).map_or(f64::NAN, |v| f64::from(v as f32));
                    Column::Real((0..numbers.len()).map(number).collect())
                }
            };
            (name, column)
        });
        let mut out = Frame::new((0..n).map(|i| i.to_string()).collect());
        out.columns = columns.collect();
        Ok(ReferenceCells {
            obs: out,
            mean: on_grid(mean, MEAN),
            variance: variance.map(variance_on_grid),
            picture: picture.map(|p| on_grid(p, PICTURE)),
            learned: String::new(),
        })
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.mean.n_rows
    }

    /// As bytes.
    ///
    /// # Errors
    /// In words: a number that is too large.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let named = |(name, column): &(String, Column)| {
            let categories = match column {
                Column::Categorical { categories, .. } => Some(categories.clone()),
                _ => None,
            };
            Named { name: name.clone(), categories }
        };
        let shape = Shape {
            cells: self.n_cells(),
            dimensions: self.mean.n_cols,
            variance: self.variance.is_some(),
            picture: self.picture.as_ref().map_or(0, |p| p.n_cols),
            columns: self.obs.columns.iter().map(named).collect(),
            learned: self.learned.len(),
        };
        let text = serde_json::to_vec(&shape).map_err(|e| e.to_string())?;
        let mut plain = Vec::new();
        put_grid(&mut plain, &self.mean, |v| v * MEAN);
        if let Some(variance) = &self.variance {
            put_grid(&mut plain, variance, |v| v.ln() * LN_VARIANCE);
        }
        if let Some(picture) = &self.picture {
            put_grid(&mut plain, picture, |v| v * PICTURE);
        }
        for (_, column) in &self.obs.columns {
            match column {
                Column::Categorical { codes, .. } => codes.iter().for_each(|&c| put(&mut plain, i64::from(c))),
                other => (0..other.len())
                    .for_each(|i| plain.extend((other.number(i).unwrap_or(f64::NAN) as f32).to_le_bytes())),
            }
        }
        plain.extend(self.learned.as_bytes());
        let mut out = (text.len() as u64).to_le_bytes().to_vec();
        out.extend(text);
        let mut deflate = DeflateEncoder::new(out, Compression::best());
        deflate.write_all(&plain).and_then(|()| deflate.finish()).map_err(|e| e.to_string())
    }

    /// From bytes.
    ///
    /// # Errors
    /// In words: bytes that are none of ours.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<ReferenceCells, String> {
        let cut = || "its cells are cut short".to_owned();
        let (length, rest) = bytes.split_at_checked(8).ok_or_else(cut)?;
        let length = usize::try_from(u64::from_le_bytes(length.try_into().map_err(|_| cut())?)).map_err(|_| cut())?;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        let shape: Shape = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        let (n, d) = (shape.cells, shape.dimensions);
        // Every number is a byte or more before it was deflated.
        let per_cell = d
            .checked_mul(1 + usize::from(shape.variance))
            .and_then(|v| v.checked_add(shape.picture)?.checked_add(shape.columns.len()));
        let numbers = per_cell
            .and_then(|p| p.checked_mul(n)?.checked_add(shape.learned))
            .filter(|&v| v <= rest.len().saturating_mul(MOST));
        if numbers.is_none() || shape.picture > 3 {
            return Err("it says that it has more cells than its bytes can hold".into());
        }
        let mut from = Numbers(BufReader::new(DeflateDecoder::new(rest)).bytes());
        let mean = from.grid(n, d, |v| v / MEAN)?;
        let variance = if shape.variance { Some(from.grid(n, d, |v| (v / LN_VARIANCE).exp())?) } else { None };
        let picture = if shape.picture > 0 { Some(from.grid(n, shape.picture, |v| v / PICTURE)?) } else { None };
        let mut obs = Frame::new((0..n).map(|i| i.to_string()).collect());
        for Named { name, categories } in shape.columns {
            let column = match categories {
                Some(categories) => {
                    let known = -1..categories.len() as i64;
                    let code = |v: i64| known.contains(&v).then_some(v as i32);
                    let codes = (0..n).map(|_| code(from.whole()?).ok_or_else(|| "a label has no name".to_owned()));
                    Column::Categorical { codes: codes.collect::<Result<_, _>>()?, categories, ordered: false }
                }
                None => Column::Real((0..n).map(|_| from.real().map(f64::from)).collect::<Result<_, _>>()?),
            };
            obs.columns.push((name, column));
        }
        let learned = (0..shape.learned).map(|_| from.byte()).collect::<Result<Vec<u8>, _>>()?;
        let learned =
            String::from_utf8(learned).map_err(|_| "what was learned from its cells is no text".to_owned())?;
        if from.0.next().is_some() {
            return Err("there is more than its cells".into());
        }
        Ok(ReferenceCells { obs, mean, variance, picture, learned })
    }
}

/// Latent means as a model carries them, so that what is read off them is the same whether they come from a model or not.
pub fn mean_on_grid(mean: &Dense) -> Dense {
    on_grid(mean, MEAN)
}

/// Posterior variances as a model carries them.
pub fn variance_on_grid(variance: &Dense) -> Dense {
    let grid = |&v: &f32| ((v.max(f32::MIN_POSITIVE).ln() * LN_VARIANCE).round() / LN_VARIANCE).exp();
    Dense::new(variance.n_rows, variance.n_cols, variance.values.iter().map(grid).collect())
}

fn on_grid(x: &Dense, steps: f32) -> Dense {
    Dense::new(x.n_rows, x.n_cols, x.values.iter().map(|v| (v * steps).round() / steps).collect())
}

/// A matrix, column after column, as whole numbers.
fn put_grid(out: &mut Vec<u8>, x: &Dense, scaled: impl Fn(f32) -> f32) {
    for j in 0..x.n_cols {
        (0..x.n_rows).for_each(|i| put(out, scaled(x.row(i)[j]).round() as i64));
    }
}

/// A whole number: zigzag, then seven bits a byte, the low ones first.
fn put(out: &mut Vec<u8>, v: i64) {
    let mut v = ((v << 1) ^ (v >> 63)) as u64;
    while v >= 128 {
        out.push(v as u8 | 128);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Reads what was put.
struct Numbers<R: Read>(std::io::Bytes<R>);

impl<R: Read> Numbers<R> {
    fn byte(&mut self) -> Result<u8, String> {
        self.0.next().and_then(Result::ok).ok_or_else(|| "its cells are cut short".to_owned())
    }

    fn whole(&mut self) -> Result<i64, String> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            v |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok((v >> 1) as i64 ^ -((v & 1) as i64));
            }
        }
        Err("a number of its cells is too long".into())
    }

    fn real(&mut self) -> Result<f32, String> {
        let mut bytes = [0; 4];
        for b in &mut bytes {
            *b = self.byte()?;
        }
        Ok(f32::from_le_bytes(bytes))
    }

    fn grid(&mut self, n: usize, d: usize, value: impl Fn(f32) -> f32) -> Result<Dense, String> {
        let mut out = Dense::zeros(n, d);
        for j in 0..d {
            for i in 0..n {
                out.row_mut(i)[j] = value(self.whole()? as f32);
            }
        }
        if out.values.iter().any(|v| !v.is_finite()) {
            return Err("a value of its cells is not finite".into());
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> ReferenceCells {
        let values = |steps: f32| (0..600).map(|i| ((i * 7919) % 1009) as f32 / steps - 3.0).collect();
        let mut obs = Frame::new(vec![String::new(); 100]);
        let names: Vec<String> = (0..100).map(|i| format!("type {}", i % 7)).collect();
        obs.set("cell_type", Column::categorical(&names));
        obs.set("depth", Column::Real((0..100).map(|i| if i == 3 { f64::NAN } else { f64::from(i) }).collect()));
        let variance = Dense::new(100, 6, (0..600).map(|i| 0.001 * (1 + i) as f32).collect());
        let picture = Dense::new(100, 2, (0..200).map(|i| i as f32 / 7.0).collect());
        let cells = ReferenceCells::new(obs, &Dense::new(100, 6, values(160.0)), Some(&variance), Some(&picture));
        ReferenceCells { learned: "a centroid".into(), ..cells.unwrap() }
    }

    #[test]
    fn what_is_on_the_grid_comes_back_to_the_bit() {
        let cells = cells();
        let bytes = cells.to_bytes().unwrap();
        let back = ReferenceCells::from_bytes(&bytes).unwrap();
        assert_eq!((&back.mean, &back.variance, &back.picture), (&cells.mean, &cells.variance, &cells.picture));
        assert_eq!(back.to_bytes().unwrap(), bytes);
        assert_eq!(back.learned, "a centroid");
        assert_eq!(back.obs.column("cell_type"), cells.obs.column("cell_type"));
        assert!(back.obs.column("depth").unwrap().number(3).is_none_or(f64::is_nan));
        // Twice on the grid is once.
        assert_eq!(mean_on_grid(&cells.mean), cells.mean);
        assert_eq!(variance_on_grid(cells.variance.as_ref().unwrap()), *cells.variance.as_ref().unwrap());
        assert!(bytes.len() < 100 * 30, "{}", bytes.len());
    }

    #[test]
    fn damaged_cells_are_refused_and_cost_no_memory() {
        let bytes = cells().to_bytes().unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let _ = ReferenceCells::from_bytes(&changed);
            assert!(ReferenceCells::from_bytes(&bytes[..at]).is_err());
        }
        let huge = br#"{"cells":1000000000,"dimensions":4000,"variance":false,"picture":0,"columns":[]}"#;
        let mut lie = (huge.len() as u64).to_le_bytes().to_vec();
        lie.extend(huge);
        lie.extend([0; 50]);
        assert!(ReferenceCells::from_bytes(&lie).unwrap_err().contains("more cells"));
    }
}
