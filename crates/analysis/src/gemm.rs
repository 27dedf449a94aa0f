//! Dense products: faer's, by one thread, with the vector registers left as plain loops want them.

use faer::{Accum, MatMut, MatRef, Par};
use scgraft_engine::isa::leave_wide;

/// C = α A B, or C += α A B.
pub(crate) fn matmul<T: faer::traits::ComplexField>(
    c: MatMut<'_, T>,
    accum: Accum,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    alpha: T,
) {
    faer::linalg::matmul::matmul(c, accum, a, b, alpha, Par::Seq);
    leave_wide();
}
