//! Expression that Python holds, read where it stands: only the genes that are wanted are copied.

use std::sync::Mutex;

use numpy::ndarray::ArrayView2;
use numpy::{Element, PyArray1, PyArray2, PyArrayDescrMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray};
use numpy::{PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use scgraft::cells::{Csr, Number, Place, SparseView};
use scgraft::train::with_threads;

use crate::error::{raise, refuse};

/// Cells × genes, gathered from one or several blocks of cells; numbers of genes are those of the whole table.
#[pyclass(frozen, module = "scgraft._native")]
pub struct Counts {
    wanted: Vec<bool>,
    threads: usize,
    rows: Mutex<Csr>,
}

/// Calls a function for the type of an array's elements.
macro_rules! by_number {
    (@try $any:ident, $dims:ident, $a:ident, $body:expr, $($t:ty),*) => {
        $(if $any.dtype().is_equiv_to(&<$t as Element>::get_dtype($any.py())) {
            let $a = $any.cast::<$dims<$t>>()?.try_readonly().map_err(|e| refuse(e.to_string()))?;
            return $body;
        })*
    };
    ($any:ident, $dims:ident, |$a:ident| $body:expr, $what:expr) => {{
        by_number!(@try $any, $dims, $a, $body, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64, bool);
        return Err(refuse(format!("{} has the type {}; expected numbers: astype(\"float32\")", $what, $any.dtype())));
    }};
}

/// Calls a function on the elements of an array of places.
macro_rules! by_place {
    ($any:ident, $what:expr, |$a:ident| $body:expr) => {
        if let Ok(array) = $any.cast::<PyArray1<i32>>() {
            let array = array.try_readonly().map_err(|e| refuse(e.to_string()))?;
            let $a = contiguous(&array, $what)?;
            $body
        } else if let Ok(array) = $any.cast::<PyArray1<i64>>() {
            let array = array.try_readonly().map_err(|e| refuse(e.to_string()))?;
            let $a = contiguous(&array, $what)?;
            $body
        } else {
            let (what, dtype) = ($what, $any.dtype());
            return Err(refuse(format!("{what} of the sparse matrix have the type {dtype}; expected int32 or int64")));
        }
    };
}

#[pymethods]
impl Counts {
    /// Room for the genes wanted: one truth value a gene. Blocks are read with so many threads (0: one a core).
    #[new]
    #[pyo3(signature = (wanted, threads = 0))]
    fn new(wanted: Vec<bool>, threads: usize) -> Self {
        let rows = Mutex::new(Csr::zeros(0, wanted.len()));
        Counts { wanted, threads, rows }
    }

    /// Cells gathered so far.
    #[getter]
    fn n_cells(&self) -> PyResult<usize> {
        Ok(self.rows()?.n_rows)
    }

    /// Entries stored.
    #[getter]
    fn n_stored(&self) -> PyResult<usize> {
        Ok(self.rows()?.nnz())
    }

    /// Reads the arrays of a sparse matrix by row (`by_row`) or by column, of so many cells.
    fn add_sparse(
        &self,
        n_cells: usize,
        by_row: bool,
        starts: &Bound<'_, PyUntypedArray>,
        indices: &Bound<'_, PyUntypedArray>,
        values: &Bound<'_, PyUntypedArray>,
    ) -> PyResult<()> {
        let py = values.py();
        let shape = if by_row { (n_cells, self.wanted.len()) } else { (self.wanted.len(), n_cells) };
        let starts: Vec<i64> = by_place!(starts, "indptr", |starts| wide(starts));
        by_place!(indices, "indices", |indices| by_number!(
            values,
            PyArray1,
            |v| self.add(py, by_row, shape, &starts, indices, contiguous(&v, "data")?),
            "data of the sparse matrix"
        ))
    }

    /// Reads a dense matrix, cells × genes, in any order of memory.
    fn add_dense(&self, values: &Bound<'_, PyUntypedArray>) -> PyResult<()> {
        let py = values.py();
        if values.shape().len() != 2 || values.shape()[1] != self.wanted.len() {
            return Err(refuse(format!(
                "a matrix of shape {:?}; expected cells × {} genes",
                values.shape(),
                self.wanted.len()
            )));
        }
        by_number!(values, PyArray2, |v| self.add_array(py, &v), "the matrix")
    }
}

fn wide<I: Copy + Into<i64>>(places: &[I]) -> Vec<i64> {
    places.iter().map(|&p| p.into()).collect()
}

fn contiguous<'a, T: Element>(array: &'a PyReadonlyArray1<'_, T>, name: &str) -> PyResult<&'a [T]> {
    array
        .as_slice()
        .map_err(|_| refuse(format!("{name} of the sparse matrix is not contiguous; copy the matrix first")))
}

impl Counts {
    fn rows(&self) -> PyResult<std::sync::MutexGuard<'_, Csr>> {
        self.rows.lock().map_err(|_| refuse("a block of cells could not be read; gather the counts again"))
    }

    /// The matrix; what was gathered is gone from here.
    pub fn take(&self) -> PyResult<Csr> {
        Ok(std::mem::take(&mut *self.rows()?))
    }

    fn append(&self, block: Csr) -> PyResult<()> {
        self.rows()?.append(block);
        Ok(())
    }

    fn add<I: Place, V: Number>(
        &self,
        py: Python<'_>,
        by_row: bool,
        (along, across): (usize, usize),
        starts: &[i64],
        indices: &[I],
        values: &[V],
    ) -> PyResult<()> {
        let read = || {
            let view = SparseView::new(along, across, starts, indices, values)?;
            if by_row { view.rows(&self.wanted) } else { view.columns(&self.wanted) }
        };
        let block = py.detach(|| with_threads(self.threads, read)).map_err(raise)?;
        self.append(block.map_err(|e| refuse(e.to_string()))?)
    }

    fn add_array<V: Element + Number>(&self, py: Python<'_>, values: &PyReadonlyArray2<'_, V>) -> PyResult<()> {
        let values: ArrayView2<'_, V> = values.as_array();
        let block = py.detach(|| {
            let mut out = Csr { n_cols: values.ncols(), n_rows: values.nrows(), ..Csr::zeros(0, 0) };
            for row in values.rows() {
                for ((j, v), _) in row.iter().enumerate().zip(&self.wanted).filter(|(_, w)| **w) {
                    let v = v.number();
                    if v != 0.0 {
                        out.indices.push(j as u32);
                        out.values.push(v);
                    }
                }
                out.indptr.push(out.indices.len());
            }
            out
        });
        self.append(block)
    }
}

/// Where the elements of an array are read: its address in memory, as `array.ctypes.data`, seen from here.
#[pyfunction]
pub fn address(values: &Bound<'_, PyUntypedArray>) -> PyResult<usize> {
    by_number!(values, PyArray1, |v| Ok(contiguous(&v, "the array")?.as_ptr() as usize), "the array")
}
