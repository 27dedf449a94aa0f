//! Matrices that belong to someone else, read where they stand: only the columns that are wanted are copied.

use rayon::prelude::*;

use crate::Csr;

/// What is wrong with the arrays of a borrowed matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The starts of the rows (of a matrix by column: of the columns) are no starts.
    #[error(
        "the row pointers of the sparse matrix are broken: expected {expected} that never fall and end at the {stored} \
         stored entries, found {found}"
    )]
    Starts {
        /// How many there have to be.
        expected: usize,
        /// Stored entries.
        stored: usize,
        /// What there is.
        found: String,
    },
    /// An index that is outside the matrix.
    #[error("entry {entry} of the sparse matrix has the index {index}, outside 0 to {most}; rebuild the matrix")]
    Index {
        /// The entry.
        entry: usize,
        /// Its index.
        index: String,
        /// The largest index there can be.
        most: usize,
    },
}

/// A whole number that says where an entry stands.
pub trait Place: Copy + Send + Sync + std::fmt::Display {
    /// As a position; `None` where it is negative.
    fn place(self) -> Option<usize>;
}

/// A number that becomes an `f32`.
pub trait Number: Copy + Send + Sync {
    /// The nearest `f32`.
    fn number(self) -> f32;
}

macro_rules! places {
    ($($t:ty),*) => { $(impl Place for $t {
        fn place(self) -> Option<usize> {
            usize::try_from(self).ok()
        }
    })* };
}
places!(i32, i64, u32, u64);

macro_rules! numbers {
    ($($t:ty),*) => { $(impl Number for $t {
        #[allow(clippy::unnecessary_cast)]
        fn number(self) -> f32 {
            self as f32
        }
    })* };
}
numbers!(f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

impl Number for bool {
    fn number(self) -> f32 {
        f32::from(u8::from(self))
    }
}

/// A borrowed sparse matrix: by row (scipy's CSR), or by column (CSC).
#[derive(Clone, Debug)]
pub struct SparseView<'a, I, V> {
    /// Rows, or columns.
    starts: Vec<usize>,
    /// The largest number of the other axis, plus one.
    across: usize,
    indices: &'a [I],
    values: &'a [V],
}

impl<'a, I: Place, V: Number> SparseView<'a, I, V> {
    /// A matrix with `along` rows (CSC: columns) of `across` columns (CSC: rows).
    ///
    /// # Errors
    /// Starts that are not `along + 1` rising positions of entries; as many indices as values are needed.
    pub fn new(
        along: usize,
        across: usize,
        starts: &[impl Place],
        indices: &'a [I],
        values: &'a [V],
    ) -> Result<Self, ViewError> {
        let stored = values.len();
        let broken = |found: String| ViewError::Starts { expected: along + 1, stored, found };
        if starts.len() != along + 1 || indices.len() != stored {
            return Err(broken(format!("{} pointers, {} indices, {stored} values", starts.len(), indices.len())));
        }
        let mut out = Vec::with_capacity(along + 1);
        for &start in starts {
            match start.place() {
                Some(s) if s <= stored && s >= out.last().copied().unwrap_or(0) => out.push(s),
                _ => return Err(broken(start.to_string())),
            }
        }
        if out.first() != Some(&0) || out.last() != Some(&stored) {
            return Err(broken(format!("{:?} to {:?}", out.first().unwrap_or(&0), out.last().unwrap_or(&0))));
        }
        Ok(SparseView { starts: out, across, indices, values })
    }

    /// Of a matrix by row: the entries in the columns wanted, as rows of the same columns; zeros are left out, entries of one
    /// place are added up. `wanted` has one truth value a column.
    ///
    /// # Errors
    /// An index outside the matrix.
    pub fn rows(&self, wanted: &[bool]) -> Result<Csr, ViewError> {
        let n_rows = self.starts.len() - 1;
        let counts: Vec<usize> =
            (0..n_rows).into_par_iter().map(|i| self.count(i, wanted)).collect::<Result<_, ViewError>>()?;
        let mut out = Csr { n_rows, n_cols: self.across, ..Csr::zeros(0, 0) };
        out.indptr = Vec::with_capacity(n_rows + 1);
        let mut nnz = 0;
        out.indptr.push(0);
        for n in counts {
            nnz += n;
            out.indptr.push(nnz);
        }
        out.indices = vec![0; nnz];
        out.values = vec![0.0; nnz];
        let mut tasks = Vec::new();
        let (mut indices, mut values) = (&mut out.indices[..], &mut out.values[..]);
        for first in (0..n_rows).step_by(BLOCK) {
            let last = (first + BLOCK).min(n_rows);
            let n = out.indptr[last] - out.indptr[first];
            let (i, rest_i) = indices.split_at_mut(n);
            let (v, rest_v) = values.split_at_mut(n);
            (indices, values) = (rest_i, rest_v);
            tasks.push((first..last, i, v));
        }
        let starts = &out.indptr;
        tasks.into_par_iter().for_each(|(rows, indices, values)| {
            let mut row: Vec<(u32, f32)> = Vec::new();
            let base = starts[rows.start];
            for i in rows {
                self.row(i, wanted, &mut row);
                let span = starts[i] - base..starts[i + 1] - base;
                indices[span.clone()].iter_mut().zip(&row).for_each(|(o, r)| *o = r.0);
                values[span].iter_mut().zip(&row).for_each(|(o, r)| *o = r.1);
            }
        });
        Ok(out)
    }

    /// How many entries [`SparseView::row`] gives.
    fn count(&self, i: usize, wanted: &[bool]) -> Result<usize, ViewError> {
        let span = self.starts[i]..self.starts[i + 1];
        let (mut n, mut last, mut rising) = (0, None, true);
        for entry in span {
            let at = self.at(entry)?;
            rising &= last.is_none_or(|l| l < at);
            last = Some(at);
            n += usize::from(wanted[at] && self.values[entry].number() != 0.0);
        }
        if rising {
            return Ok(n);
        }
        let mut row = Vec::new();
        self.row(i, wanted, &mut row);
        Ok(row.len())
    }

    /// The wanted entries of row `i`, in order of their columns; indices are known to be inside.
    fn row(&self, i: usize, wanted: &[bool], out: &mut Vec<(u32, f32)>) {
        let span = self.starts[i]..self.starts[i + 1];
        out.clear();
        let entries = self.indices[span.clone()].iter().zip(&self.values[span]);
        out.extend(entries.filter_map(|(at, v)| {
            let (at, v) = (at.place()?, v.number());
            (wanted[at] && v != 0.0).then_some((at as u32, v))
        }));
        if !out.is_sorted_by(|a, b| a.0 < b.0) {
            out.sort_by_key(|e| e.0);
            out.dedup_by(|later, first| {
                let same = later.0 == first.0;
                first.1 += if same { later.1 } else { 0.0 };
                same
            });
        }
    }

    /// Of a matrix by column: as [`SparseView::rows`].
    ///
    /// # Errors
    /// An index outside the matrix.
    pub fn columns(&self, wanted: &[bool]) -> Result<Csr, ViewError> {
        let n_cols = self.starts.len() - 1;
        let n_rows = self.across;
        let kept: Vec<usize> = (0..n_cols).filter(|&j| wanted[j]).collect();
        let mut indptr = vec![0usize; n_rows + 1];
        for &j in &kept {
            for entry in self.starts[j]..self.starts[j + 1] {
                indptr[self.at(entry)? + 1] += 1;
            }
        }
        for i in 0..n_rows {
            indptr[i + 1] += indptr[i];
        }
        let nnz = indptr[n_rows];
        let mut next = indptr.clone();
        let (mut indices, mut values) = (vec![0u32; nnz], vec![0f32; nnz]);
        for &j in &kept {
            for entry in self.starts[j]..self.starts[j + 1] {
                let at = &mut next[self.at(entry)?];
                (indices[*at], values[*at]) = (j as u32, self.values[entry].number());
                *at += 1;
            }
        }
        // Zeros go, entries of one place are added up.
        let plain = SparseView { starts: indptr, across: n_cols, indices: &indices, values: &values };
        plain.rows(wanted)
    }

    fn at(&self, entry: usize) -> Result<usize, ViewError> {
        let index = self.indices[entry];
        let wrong = || ViewError::Index { entry, index: index.to_string(), most: self.across.saturating_sub(1) };
        index.place().filter(|&at| at < self.across).ok_or_else(wrong)
    }
}

/// Rows a task when a matrix is read.
const BLOCK: usize = 1024;

impl Csr {
    /// Puts the rows of another matrix of the same columns below these.
    ///
    /// # Panics
    /// When the columns are not as many.
    pub fn append(&mut self, below: Csr) {
        assert_eq!(self.n_cols, below.n_cols, "columns of two matrices, one below the other");
        if self.n_rows == 0 {
            *self = below;
            return;
        }
        let stored = self.values.len();
        self.indptr.extend(below.indptr[1..].iter().map(|&p| stored + p));
        self.indices.extend(below.indices);
        self.values.extend(below.values);
        self.n_rows += below.n_rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dense;

    const STARTS: [i64; 4] = [0, 3, 3, 5];

    fn dense(m: &Csr) -> Vec<f32> {
        assert!((0..m.n_rows).all(|i| m.row(i).0.is_sorted_by(|a, b| a < b)));
        m.to_dense().values
    }

    #[test]
    fn rows_come_sorted_without_zeros_and_with_repeated_entries_added() {
        let (indices, values) = ([3i32, 0, 3, 1, 2], [1.0f64, 2.0, 4.0, 0.0, 7.0]);
        let view = SparseView::new(3, 4, &STARTS, &indices, &values).unwrap();
        let all = view.rows(&[true; 4]).unwrap();
        assert_eq!(dense(&all), [2.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7.0, 0.0]);
        assert_eq!(all.nnz(), 3);
        let some = view.rows(&[true, true, false, false]).unwrap();
        assert_eq!((some.n_cols, some.nnz(), some.row(0).0), (4, 1, &[0u32][..]));
    }

    #[test]
    fn a_matrix_by_column_gives_the_same_rows() {
        let plain = Dense::new(3, 4, (0..12).map(|i| (i % 5) as f32).collect()).to_csr();
        let turned = plain.transpose();
        let starts: Vec<i32> = turned.indptr.iter().map(|&p| p as i32).collect();
        let indices: Vec<i64> = turned.indices.iter().map(|&i| i64::from(i)).collect();
        let values: Vec<u16> = turned.values.iter().map(|&v| v as u16).collect();
        let view = SparseView::new(4, 3, &starts, &indices, &values).unwrap();
        assert_eq!(view.columns(&[true; 4]).unwrap(), plain);
        let wanted = [false, true, true, false];
        let by_row = SparseView::new(3, 4, &[0u64, 3, 6, 9][..0], &plain.indices, &plain.values);
        assert!(by_row.is_err());
        let starts: Vec<u64> = plain.indptr.iter().map(|&p| p as u64).collect();
        let by_row = SparseView::new(3, 4, &starts, &plain.indices, &plain.values).unwrap();
        assert_eq!(view.columns(&wanted).unwrap(), by_row.rows(&wanted).unwrap());
    }

    #[test]
    fn broken_arrays_are_refused() {
        let values = [1.0f32; 5];
        let new = |starts: &[i64], indices: &'static [i32]| SparseView::new(3, 4, starts, indices, &values);
        assert!(new(&[0, 3, 2, 5], &[0; 5]).is_err());
        assert!(new(&[0, 3, 3, 6], &[0; 5]).is_err());
        assert!(new(&[1, 3, 3, 5], &[0; 5]).is_err());
        assert!(new(&[0, 3, 3, 5], &[0; 4]).is_err());
        let outside = new(&STARTS, &[0, 4, 0, 0, 0]).unwrap().rows(&[true; 4]).unwrap_err();
        assert_eq!(outside, ViewError::Index { entry: 1, index: "4".into(), most: 3 });
        assert!(new(&STARTS, &[0, 1, -1, 0, 0]).unwrap().rows(&[true; 4]).is_err());
    }

    #[test]
    fn blocks_of_rows_make_one_matrix() {
        let whole = Dense::new(4, 3, (0..12).map(|i| (i % 4) as f32).collect()).to_csr();
        let mut joined = Csr::zeros(0, 3);
        for rows in [&[0usize, 1][..], &[2], &[3]] {
            joined.append(whole.select_rows(rows));
        }
        assert_eq!(joined, whole);
    }
}
