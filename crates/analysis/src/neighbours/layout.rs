//! How rows lie for the scan: centred and scaled, in panels of as many rows as two vector registers hold, and beside them
//! the original values in the order of their numbers.

use rayon::prelude::*;
use scgraft_cells::Dense;

use crate::error::{Error, Result, check_k, check_matrix};

/// Rows of the reference in a panel, and in half of it: the widest vector register.
pub(super) const LANES: usize = 2 * WIDE;
pub(super) const WIDE: usize = 16;

/// Refuses a pair of matrices that cannot be searched, or not for `k` neighbours.
pub(super) fn check(reference: &Dense, query: &Dense, k: usize, exclude_self: bool) -> Result<()> {
    check_matrix("reference embedding", reference)?;
    check_matrix("query embedding", query)?;
    if query.n_cols != reference.n_cols {
        return Err(Error::Dimensions {
            what: "query embedding".to_owned(),
            expected: reference.n_cols,
            found: query.n_cols,
        });
    }
    check_k(k)?;
    let available = reference.n_rows - usize::from(exclude_self);
    if k > available {
        return Err(Error::TooManyNeighbours { k, available });
    }
    if reference.n_rows > u32::MAX as usize {
        return Err(Error::Parameter {
            name: "number of reference cells",
            value: reference.n_rows.to_string(),
            expected: "at most 4,294,967,295",
        });
    }
    Ok(())
}

/// A matrix centred on the reference's mean and scaled to at most unit norm, with room for one dimension more.
pub(super) struct Placed {
    /// `[n × width]`, row after row; the last of each row is 1, as a query's is.
    pub values: Vec<f32>,
    /// Square of each row's norm.
    pub squared: Vec<f32>,
    /// Dimensions and one.
    pub width: usize,
}

impl Placed {
    /// Row `i`, without the dimension that is added.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width - 1]
    }
}

/// Both matrices in the same coordinates.
///
/// Centring takes the largest part of the rounding error away; scaling keeps squares in range.
pub(super) fn place(reference: &Dense, query: &Dense) -> (Placed, Placed) {
    let d = reference.n_cols;
    let mut centre = vec![0f64; d];
    for row in reference.values.chunks_exact(d) {
        for (c, &v) in centre.iter_mut().zip(row) {
            *c += f64::from(v);
        }
    }
    centre.iter_mut().for_each(|c| *c /= reference.n_rows as f64);
    let squared = |row: &[f32]| row.iter().zip(&centre).map(|(&v, &c)| (f64::from(v) - c).powi(2)).sum::<f64>();
    let rows = reference.values.par_chunks_exact(d).chain(query.values.par_chunks_exact(d));
    let largest = rows.map(squared).reduce(|| 0.0, f64::max).sqrt();
    let scale = if largest > 0.0 { 1.0 / largest } else { 1.0 };
    let one = |matrix: &Dense| {
        let mut values = vec![1f32; matrix.n_rows * (d + 1)];
        let mut squared = vec![0f32; matrix.n_rows];
        values.par_chunks_mut(d + 1).zip(squared.par_iter_mut()).enumerate().for_each(|(i, (out, squared))| {
            let mut sum = 0f64;
            for ((o, &v), &c) in out.iter_mut().zip(matrix.row(i)).zip(&centre) {
                let x = (f64::from(v) - c) * scale;
                sum += x * x;
                *o = x as f32;
            }
            *squared = sum as f32;
        });
        Placed { values, squared, width: d + 1 }
    };
    (one(reference), one(query))
}

/// Rows of the reference in the order of their numbers: those of a list stand together.
pub(super) struct Numbered {
    /// Their original values, filled up with zeros to whole registers.
    pub values: Dense,
    /// Which row of the reference each is.
    pub rows: Vec<u32>,
}

impl Numbered {
    pub fn new(reference: &Dense, rows: Vec<u32>) -> Self {
        Numbered { values: padded(reference, rows.iter().map(|&row| row as usize)), rows }
    }
}

/// These rows, with zeros behind that take them to a multiple of eight columns.
pub(super) fn padded(matrix: &Dense, rows: impl ExactSizeIterator<Item = usize>) -> Dense {
    let mut out = Dense::zeros(rows.len(), matrix.n_cols.next_multiple_of(8));
    for (i, row) in rows.enumerate() {
        out.row_mut(i)[..matrix.n_cols].copy_from_slice(matrix.row(row));
    }
    out
}

/// Rows in panels: of each, dimension after dimension, the values of [`LANES`] rows.
#[derive(Default)]
pub(super) struct Panels {
    pub values: Vec<[[f32; WIDE]; 2]>,
    /// Largest norm in each panel.
    pub norms: Vec<f32>,
    /// Number of the first row; what fills up the last panel is never met.
    pub first: u32,
}

impl Panels {
    /// Of these rows, which are numbered from `first` on.
    pub fn new(reference: &Placed, rows: &[u32], first: u32) -> Self {
        let (n, d) = (rows.len().div_ceil(LANES), reference.width - 1);
        let mut values = vec![[[0f32; WIDE]; 2]; n * reference.width];
        let mut norms = vec![0f32; n];
        for (panel, (rows, norm)) in values.chunks_exact_mut(reference.width).zip(rows.chunks(LANES).zip(&mut norms)) {
            panel[d] = [[f32::NEG_INFINITY; WIDE]; 2];
            for (lane, &row) in rows.iter().enumerate() {
                for (dimension, &v) in panel.iter_mut().zip(reference.row(row as usize)) {
                    dimension.as_flattened_mut()[lane] = v;
                }
                panel[d].as_flattened_mut()[lane] = -0.5 * reference.squared[row as usize];
                *norm = norm.max(reference.squared[row as usize].sqrt());
            }
        }
        Panels { values, norms, first }
    }

    /// Number of rows, with what fills up the last panel.
    pub fn n_rows(&self) -> usize {
        self.norms.len() * LANES
    }
}
