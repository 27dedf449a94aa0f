//! Systems of linear equations.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

use crate::isa::leave_wide;

/// A matrix that is not positive definite, or not of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPositive;

/// A⁻¹ B of a symmetric positive definite A, of which the lower triangle is read.
///
/// # Errors
/// When A is not.
pub fn solve_positive(a: &Mat<f64>, b: &Mat<f64>) -> Result<Mat<f64>, NotPositive> {
    let factor = a.llt(Side::Lower).map_err(|_| NotPositive);
    let x = factor.map(|factor| factor.solve(b));
    leave_wide();
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_what_is_positive_and_refuses_the_rest() {
        let a = Mat::from_fn(2, 2, |i, j| [[4.0, 1.0], [1.0, 3.0]][i][j]);
        let x = solve_positive(&a, &Mat::from_fn(2, 1, |i, _| [1.0, 2.0][i])).unwrap();
        assert!((x[(0, 0)] - 1.0 / 11.0).abs() < 1e-15 && (x[(1, 0)] - 7.0 / 11.0).abs() < 1e-15);
        let a = Mat::from_fn(2, 2, |i, j| [[1.0, 2.0], [2.0, 1.0]][i][j]);
        assert_eq!(solve_positive(&a, &Mat::zeros(2, 1)).map(|_| ()), Err(NotPositive));
        let a = Mat::from_fn(1, 1, |_, _| f64::NAN);
        assert_eq!(solve_positive(&a, &Mat::zeros(1, 1)).map(|_| ()), Err(NotPositive));
    }
}
