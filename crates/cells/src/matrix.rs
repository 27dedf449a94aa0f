//! Matrices as the field stores them: sparse by row, or dense by row.

/// A sparse matrix in compressed-row form, `f32` values.
///
/// Row `i` holds the entries `indptr[i]..indptr[i + 1]` of `indices` (columns, strictly
/// increasing within a row) and `values`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Csr {
    /// Number of rows (cells, for an expression matrix).
    pub n_rows: usize,
    /// Number of columns (genes, for an expression matrix).
    pub n_cols: usize,
    /// Row starts, `n_rows + 1` of them.
    pub indptr: Vec<usize>,
    /// Column of each entry.
    pub indices: Vec<u32>,
    /// Value of each entry.
    pub values: Vec<f32>,
}

impl Csr {
    /// An empty matrix (all zeros) of the given shape.
    pub fn zeros(n_rows: usize, n_cols: usize) -> Self {
        Csr { n_rows, n_cols, indptr: vec![0; n_rows + 1], indices: Vec::new(), values: Vec::new() }
    }

    /// The columns and values of row `i`.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let span = self.indptr[i]..self.indptr[i + 1];
        (&self.indices[span.clone()], &self.values[span])
    }

    /// Number of stored entries.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }

    /// The sum of each row (for counts: the library size of each cell), added in `f64`.
    pub fn row_sums(&self) -> Vec<f32> {
        (0..self.n_rows).map(|i| self.row(i).1.iter().map(|&v| f64::from(v)).sum::<f64>() as f32).collect()
    }

    /// The rows named, in the order named.
    pub fn select_rows(&self, rows: &[usize]) -> Csr {
        let nnz = rows.iter().map(|&r| self.indptr[r + 1] - self.indptr[r]).sum();
        let mut out = Csr {
            n_rows: rows.len(),
            n_cols: self.n_cols,
            indptr: Vec::with_capacity(rows.len() + 1),
            indices: Vec::with_capacity(nnz),
            values: Vec::with_capacity(nnz),
        };
        out.indptr.push(0);
        for &r in rows {
            let (cols, vals) = self.row(r);
            out.indices.extend_from_slice(cols);
            out.values.extend_from_slice(vals);
            out.indptr.push(out.indices.len());
        }
        out
    }

    /// The columns named, in the order named; `None` gives an all-zero column.
    ///
    /// This is how genes are aligned: `sources[j]` is where gene `j` of the result stands here.
    pub fn select_columns(&self, sources: &[Option<usize>]) -> Csr {
        const ABSENT: u32 = u32::MAX;
        let mut target = vec![ABSENT; self.n_cols];
        for (j, source) in sources.iter().enumerate() {
            if let Some(s) = *source {
                target[s] = j as u32;
            }
        }
        let mut out = Csr {
            n_rows: self.n_rows,
            n_cols: sources.len(),
            indptr: Vec::with_capacity(self.n_rows + 1),
            indices: Vec::new(),
            values: Vec::new(),
        };
        out.indptr.push(0);
        let mut row: Vec<(u32, f32)> = Vec::new();
        for i in 0..self.n_rows {
            let (cols, vals) = self.row(i);
            row.clear();
            row.extend(
                cols.iter().zip(vals).map(|(&c, &v)| (target[c as usize], v)).filter(|&(c, v)| c != ABSENT && v != 0.0),
            );
            row.sort_unstable_by_key(|&(c, _)| c);
            out.indices.extend(row.iter().map(|&(c, _)| c));
            out.values.extend(row.iter().map(|&(_, v)| v));
            out.indptr.push(out.indices.len());
        }
        out
    }

    /// The transpose, entries sorted.
    pub fn transpose(&self) -> Csr {
        let mut indptr = vec![0usize; self.n_cols + 1];
        for &c in &self.indices {
            indptr[c as usize + 1] += 1;
        }
        for j in 0..self.n_cols {
            indptr[j + 1] += indptr[j];
        }
        let mut next = indptr.clone();
        let mut indices = vec![0u32; self.nnz()];
        let mut values = vec![0f32; self.nnz()];
        for i in 0..self.n_rows {
            let (cols, vals) = self.row(i);
            for (&c, &v) in cols.iter().zip(vals) {
                let at = next[c as usize];
                indices[at] = i as u32;
                values[at] = v;
                next[c as usize] += 1;
            }
        }
        Csr { n_rows: self.n_cols, n_cols: self.n_rows, indptr, indices, values }
    }

    /// The same matrix, stored densely.
    pub fn to_dense(&self) -> Dense {
        let mut out = Dense::zeros(self.n_rows, self.n_cols);
        for i in 0..self.n_rows {
            let (cols, vals) = self.row(i);
            let row = out.row_mut(i);
            for (&c, &v) in cols.iter().zip(vals) {
                row[c as usize] = v;
            }
        }
        out
    }
}

/// A dense matrix stored by row, `f32` values.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Dense {
    /// Number of rows.
    pub n_rows: usize,
    /// Number of columns.
    pub n_cols: usize,
    /// Values, row after row: `n_rows × n_cols` of them.
    pub values: Vec<f32>,
}

impl Dense {
    /// All zeros.
    pub fn zeros(n_rows: usize, n_cols: usize) -> Self {
        Dense { n_rows, n_cols, values: vec![0.0; n_rows * n_cols] }
    }

    /// Takes values laid out row after row.
    ///
    /// # Panics
    /// When there are not `n_rows × n_cols` values.
    pub fn new(n_rows: usize, n_cols: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), n_rows * n_cols, "a {n_rows} × {n_cols} matrix");
        Dense { n_rows, n_cols, values }
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.n_cols..(i + 1) * self.n_cols]
    }

    /// Row `i`, to write to.
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.values[i * self.n_cols..(i + 1) * self.n_cols]
    }

    /// Column `j`, copied.
    pub fn column(&self, j: usize) -> Vec<f32> {
        (0..self.n_rows).map(|i| self.row(i)[j]).collect()
    }

    /// The rows named, in the order named.
    pub fn select_rows(&self, rows: &[usize]) -> Dense {
        let mut values = Vec::with_capacity(rows.len() * self.n_cols);
        for &r in rows {
            values.extend_from_slice(self.row(r));
        }
        Dense { n_rows: rows.len(), n_cols: self.n_cols, values }
    }

    /// The same matrix without its zeros.
    pub fn to_csr(&self) -> Csr {
        let mut out = Csr { n_rows: self.n_rows, n_cols: self.n_cols, indptr: vec![0], ..Csr::default() };
        for i in 0..self.n_rows {
            for (j, &v) in self.row(i).iter().enumerate() {
                if v != 0.0 {
                    out.indices.push(j as u32);
                    out.values.push(v);
                }
            }
            out.indptr.push(out.indices.len());
        }
        out
    }
}

/// An expression matrix, cells × genes, in the form its file had.
#[derive(Clone, Debug, PartialEq)]
pub enum Matrix {
    /// Compressed rows.
    Sparse(Csr),
    /// Every entry.
    Dense(Dense),
}

impl Matrix {
    /// Number of rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Matrix::Sparse(m) => (m.n_rows, m.n_cols),
            Matrix::Dense(m) => (m.n_rows, m.n_cols),
        }
    }

    /// The rows named, in the order named.
    pub fn select_rows(&self, rows: &[usize]) -> Matrix {
        match self {
            Matrix::Sparse(m) => Matrix::Sparse(m.select_rows(rows)),
            Matrix::Dense(m) => Matrix::Dense(m.select_rows(rows)),
        }
    }

    /// As compressed rows (copied).
    pub fn to_csr(&self) -> Csr {
        match self {
            Matrix::Sparse(m) => m.clone(),
            Matrix::Dense(m) => m.to_csr(),
        }
    }

    /// The stored values (for a sparse matrix, zeros are not among them).
    pub fn stored(&self) -> &[f32] {
        match self {
            Matrix::Sparse(m) => &m.values,
            Matrix::Dense(m) => &m.values,
        }
    }
}
