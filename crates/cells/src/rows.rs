//! Expression that need not lie in memory: rows are read as they are wanted.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use crate::{CellsError, Csr};

/// A matrix [cell × gene] whose rows can be read, wherever they are.
///
/// A row is as in [`Csr`]: columns rise, zeros are not stored. The same rows give the same values every time.
pub trait Rows: Debug + Send + Sync {
    /// Number of rows.
    fn n_rows(&self) -> usize;

    /// Number of columns.
    fn n_cols(&self) -> usize;

    /// Reads the rows named, in the order named, in place of what `into` held; its buffers are kept.
    ///
    /// # Errors
    /// When they cannot be read ([`CellsError::Rows`]).
    fn read(&self, rows: &[usize], into: &mut Csr) -> Result<(), CellsError>;

    /// All rows, in memory: borrowed where they are there already.
    ///
    /// # Errors
    /// As [`Rows::read`].
    fn whole(&self) -> Result<Cow<'_, Csr>, CellsError> {
        let mut all = Csr::default();
        self.read(&(0..self.n_rows()).collect::<Vec<_>>(), &mut all)?;
        Ok(Cow::Owned(all))
    }
}

impl Rows for Csr {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn n_cols(&self) -> usize {
        self.n_cols
    }

    fn read(&self, rows: &[usize], into: &mut Csr) -> Result<(), CellsError> {
        (into.n_rows, into.n_cols) = (rows.len(), self.n_cols);
        into.indptr.clear();
        into.indices.clear();
        into.values.clear();
        into.indptr.push(0);
        for &r in rows {
            let (columns, values) = self.row(r);
            into.indices.extend_from_slice(columns);
            into.values.extend_from_slice(values);
            into.indptr.push(into.values.len());
        }
        Ok(())
    }

    fn whole(&self) -> Result<Cow<'_, Csr>, CellsError> {
        Ok(Cow::Borrowed(self))
    }
}

/// Some rows of others, in an order of their own; nothing is copied until they are read.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) of: Arc<dyn Rows>,
    pub(crate) rows: Vec<usize>,
}

impl Rows for Selected {
    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn n_cols(&self) -> usize {
        self.of.n_cols()
    }

    fn read(&self, rows: &[usize], into: &mut Csr) -> Result<(), CellsError> {
        self.of.read(&rows.iter().map(|&r| self.rows[r]).collect::<Vec<_>>(), into)
    }
}

/// Rows read at a time where all of them are gone through.
const BLOCK: usize = 1024;

/// Goes through the rows named, in the order named: `look` is given the place of each among them, its columns and its
/// values.
///
/// # Errors
/// As [`Rows::read`].
pub fn for_rows(of: &dyn Rows, rows: &[usize], mut look: impl FnMut(usize, &[u32], &[f32])) -> Result<(), CellsError> {
    let mut buffer = Csr::default();
    for (block, rows) in rows.chunks(BLOCK).enumerate() {
        of.read(rows, &mut buffer)?;
        for i in 0..rows.len() {
            let (columns, values) = buffer.row(i);
            look(block * BLOCK + i, columns, values);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dense;

    #[test]
    fn a_selection_reads_as_the_rows_it_names() {
        let all = Arc::new(Dense::new(4, 3, vec![0., 1., 0., 2., 0., 3., 0., 0., 0., 4., 5., 6.]).to_csr());
        let once = Selected { of: all.clone(), rows: vec![3, 0, 1] };
        let twice = Selected { of: Arc::new(once), rows: vec![2, 0] };
        assert_eq!((twice.n_rows(), twice.n_cols()), (2, 3));
        assert_eq!(twice.whole().unwrap().into_owned(), all.select_rows(&[1, 3]));
        let mut buffer = all.select_rows(&[2, 2]);
        twice.read(&[1], &mut buffer).unwrap();
        assert_eq!(buffer, all.select_rows(&[3]));
        let mut seen = Vec::new();
        let many = vec![1; 2 * BLOCK + 1];
        for_rows(&*all, &many, |i, columns, values| seen.push((i, columns.len(), values[1]))).unwrap();
        assert_eq!((seen.len(), seen[2 * BLOCK]), (2 * BLOCK + 1, (2 * BLOCK, 2, 3.0)));
    }
}
