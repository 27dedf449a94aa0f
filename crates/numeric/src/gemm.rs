//! Dense products: faer's kernels, with the vector registers left as plain loops want them.
//!
//! [`gemm`] cuts the result into blocks that depend on the shape alone, each computed by one thread, so that the bits do
//! not depend on the number of threads; [`matmul`] is one such block.

use faer::Par;
pub use faer::{Accum, Mat, MatMut, MatRef};

use crate::isa::leave_wide;

/// A matrix whose rows stand one after another.
pub fn by_rows<T>(values: &[T], rows: usize, cols: usize) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(values, rows, cols)
}

/// C = α A B, or C += α A B, by one thread.
pub fn matmul<T: faer::traits::ComplexField>(
    c: MatMut<'_, T>,
    accum: Accum,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    alpha: T,
) {
    faer::linalg::matmul::matmul(c, accum, a, b, alpha, Par::Seq);
    leave_wide();
}

/// C = A B, or C += A B; `c` holds C by rows, or with `transposed` the transpose of C by rows.
pub fn gemm(c: &mut [f32], transposed: bool, add: bool, a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
    let (m, n) = (a.nrows(), b.ncols());
    if m == 0 || n == 0 {
        return;
    }
    let dst = if transposed {
        MatMut::from_row_major_slice_mut(c, n, m).transpose_mut()
    } else {
        MatMut::from_row_major_slice_mut(c, m, n)
    };
    let accum = if add { Accum::Add } else { Accum::Replace };
    let work = 2 * m * n * a.ncols();
    let long = m.max(n);
    // A block is worth a task from about 2 MFLOP on; an even number shares well between two cores.
    let blocks = if work < 4_000_000 { 1 } else { (long / 128).next_multiple_of(2).clamp(2, 64) };
    let width = long.div_ceil(blocks).next_multiple_of(16);
    over_blocks(dst, accum, a, b, width);
}

fn over_blocks(c: MatMut<'_, f32>, accum: Accum, a: MatRef<'_, f32>, b: MatRef<'_, f32>, width: usize) {
    let (m, n) = (c.nrows(), c.ncols());
    let long = m.max(n);
    if long <= width {
        matmul(c, accum, a, b, 1.0);
        return;
    }
    let cut = long.div_ceil(width).div_ceil(2) * width;
    if n >= m {
        let (c0, c1) = c.split_at_col_mut(cut);
        let (b0, b1) = b.split_at_col(cut);
        rayon::join(|| over_blocks(c0, accum, a, b0, width), || over_blocks(c1, accum, a, b1, width));
    } else {
        let (c0, c1) = c.split_at_row_mut(cut);
        let (a0, a1) = a.split_at_row(cut);
        rayon::join(|| over_blocks(c0, accum, a0, b, width), || over_blocks(c1, accum, a1, b, width));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_loops_in_every_layout() {
        for (m, n, k) in [(3, 5, 7), (150, 564, 256), (1, 300, 2), (700, 9, 400)] {
            let a: Vec<f32> = (0..m * k).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| ((i * 53 % 97) as f32 - 48.0) / 48.0).collect();
            let mut want = vec![0f64; m * n];
            for i in 0..m {
                for j in 0..n {
                    want[i * n + j] = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
                }
            }
            let bt: Vec<f32> = (0..n * k).map(|i| b[(i % k) * n + i / k]).collect();
            let mut c = vec![1f32; m * n];
            gemm(&mut c, false, true, by_rows(&a, m, k), by_rows(&bt, n, k).transpose());
            let mut ct = vec![f32::NAN; m * n];
            gemm(&mut ct, true, false, by_rows(&a, m, k), by_rows(&b, k, n));
            for i in 0..m {
                for j in 0..n {
                    assert!((f64::from(c[i * n + j]) - 1.0 - want[i * n + j]).abs() < 1e-3);
                    assert!((f64::from(ct[j * m + i]) - want[i * n + j]).abs() < 1e-3);
                }
            }
        }
    }
}
