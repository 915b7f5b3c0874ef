//! The directions of a symmetric matrix, by how much of it lies along each.

use faer::{Mat, Side};
use ndarray::Array2;

/// The eigenvalues of a symmetric matrix, the largest first, and its eigenvectors as columns in the same order, each with
/// the sign that makes its largest element positive. `None` where a number is not finite. Only the lower triangle is read.
pub fn eigen(a: &Array2<f64>) -> Option<(Vec<f64>, Array2<f64>)> {
    let n = a.nrows();
    if a.ncols() != n || !a.iter().all(|x| x.is_finite()) {
        return None;
    }
    if n == 0 {
        return Some((Vec::new(), Array2::zeros((0, 0))));
    }
    let found = Mat::from_fn(n, n, |i, j| a[[i, j]]).self_adjoint_eigen(Side::Lower).ok()?;
    let (values, vectors) = (found.S().column_vector(), found.U());
    // They come in ascending order.
    let at = |k: usize| n - 1 - k;
    let signs: Vec<f64> = (0..n)
        .map(|k| {
            let column = (0..n).map(|i| vectors[(i, at(k))]);
            let most = column.fold(0.0f64, |most, x| if x.abs() > most.abs() { x } else { most });
            if most < 0.0 { -1.0 } else { 1.0 }
        })
        .collect();
    let ordered = Array2::from_shape_fn((n, n), |(i, k)| signs[k] * vectors[(i, at(k))]);
    Some(((0..n).map(|k| values[at(k)]).collect(), ordered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_make_the_matrix_again() {
        for n in [1, 2, 5, 40] {
            let x = Array2::from_shape_fn((n + 3, n), |(i, j)| {
                ((i * 31 + j * 17 + i * j) % 23) as f64 / 7.0 - 1.5
            });
            let a = x.t().dot(&x);
            let (values, vectors) = eigen(&a).unwrap();
            assert!(values.windows(2).all(|pair| pair[0] >= pair[1]), "{values:?}");
            let scaled = Array2::from_shape_fn((n, n), |(i, k)| vectors[[i, k]] * values[k]);
            let gap =
                (scaled.dot(&vectors.t()) - &a).iter().fold(0.0f64, |most, gap: &f64| most.max(gap.abs()));
            assert!(gap < 1e-10 * a.diag().sum(), "{n}: {gap}");
            let gap = (vectors.t().dot(&vectors) - Array2::<f64>::eye(n)).mapv(f64::abs).sum();
            assert!(gap < 1e-9, "{n}: {gap}");
        }
    }

    #[test]
    fn the_sign_is_settled() {
        let (values, vectors) = eigen(&Array2::from_diag(&ndarray::arr1(&[1.0, 4.0]))).unwrap();
        assert_eq!(values, [4.0, 1.0]);
        assert_eq!(vectors, ndarray::arr2(&[[0.0, 1.0], [1.0, 0.0]]));
    }

    #[test]
    fn what_is_not_finite_or_not_square_has_none() {
        assert!(eigen(&Array2::from_elem((2, 2), f64::NAN)).is_none());
        assert!(eigen(&Array2::zeros((2, 3))).is_none());
        assert_eq!(eigen(&Array2::zeros((0, 0))).unwrap().0, [0.0; 0]);
    }
}
