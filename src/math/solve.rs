//! Equations with a symmetric positive definite matrix.

use faer::linalg::solvers::{DenseSolveCore, Llt, Solve};
use faer::{Mat, Side};
use ndarray::Array2;

/// `x` with `a·x = b`, for a symmetric positive definite `a`; `None` where it is not that.
pub fn solve(a: &Array2<f64>, b: &Array2<f64>) -> Option<Array2<f64>> {
    let right = Mat::from_fn(b.nrows(), b.ncols(), |i, j| b[[i, j]]);
    let x = factored(a)?.solve(&right);
    Some(Array2::from_shape_fn(b.dim(), |(i, j)| x[(i, j)]))
}

/// The inverse of a symmetric positive definite matrix; `None` where it is not that.
pub fn inverse(a: &Array2<f64>) -> Option<Array2<f64>> {
    let x = factored(a)?.inverse();
    Some(Array2::from_shape_fn(a.dim(), |(i, j)| x[(i, j)]))
}

fn factored(a: &Array2<f64>) -> Option<Llt<f64>> {
    if a.nrows() != a.ncols() || !a.iter().all(|x| x.is_finite()) {
        return None;
    }
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[[i, j]]).llt(Side::Lower).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::linalg::tests::sample;

    #[test]
    fn what_is_solved_is_a_solution() {
        for n in [1, 2, 65, 150] {
            let a = sample(n);
            let b = Array2::from_shape_fn((n, 3), |(i, j)| (i * 3 + j) as f64 - 7.0);
            let far = |found: Array2<f64>, wanted: &Array2<f64>| {
                (found - wanted).iter().fold(0.0, |most: f64, gap| most.max(gap.abs()))
            };
            assert!(far(a.dot(&solve(&a, &b).unwrap()), &b) < 1e-8 * n as f64, "{n}");
            assert!(far(a.dot(&inverse(&a).unwrap()), &Array2::eye(n)) < 1e-8, "{n}");
        }
        assert!(solve(&Array2::zeros((3, 3)), &Array2::zeros((3, 1))).is_none());
        assert!(inverse(&Array2::from_elem((2, 2), f64::NAN)).is_none());
    }
}
