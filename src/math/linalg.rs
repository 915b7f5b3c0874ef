//! Symmetric matrices: second moments, and what has to be solved with them.

use ndarray::{Array2, ArrayView2, Axis, s};

use super::symmetric::Symmetric;

/// Columns that are eliminated together.
const BLOCK: usize = 64;

/// The second moments of rows of numbers: `Σ xᵀx`, and `Σ x`.
#[derive(Debug, Clone)]
pub struct Moments {
    /// `Σ xᵀx`.
    pub squares: Symmetric,
    /// `Σ x`.
    pub sums: Vec<f64>,
    /// Rows that were added.
    pub count: u64,
}

impl Moments {
    /// Of rows of this width, none yet.
    pub fn new(width: usize) -> Self {
        Self { squares: Symmetric::new(width), sums: vec![0.0; width], count: 0 }
    }

    /// Adds rows.
    pub fn add(&mut self, rows: &ArrayView2<'_, f32>) {
        self.squares.add(rows);
        for row in rows.outer_iter() {
            self.sums.iter_mut().zip(row).for_each(|(a, &b)| *a += f64::from(b));
        }
        self.count += rows.nrows() as u64;
    }

    /// The mean row.
    pub fn mean(&self) -> Vec<f64> {
        self.sums.iter().map(|s| s / self.count.max(1) as f64).collect()
    }

    /// Mean products; those of deviations from the mean, where `centred`.
    pub fn products(&self, centred: bool) -> Array2<f64> {
        let count = self.count.max(1) as f64;
        let mean = self.mean();
        let mut found = self.squares.divided(count);
        if centred {
            for (i, mut row) in found.outer_iter_mut().enumerate() {
                row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= mean[i] * m);
            }
        }
        found
    }
}

/// The lower triangle `L` with `L·Lᵀ = a`; `None` where `a` is not positive definite.
pub fn cholesky(mut a: Array2<f64>) -> Option<Array2<f64>> {
    let n = a.nrows();
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        for j in start..end {
            for k in start..j {
                let factor = a[[j, k]];
                for i in j..n {
                    a[[i, j]] -= a[[i, k]] * factor;
                }
            }
            let pivot = a[[j, j]];
            if pivot <= 0.0 || !pivot.is_finite() {
                return None;
            }
            let root = pivot.sqrt();
            for i in j..n {
                a[[i, j]] /= root;
            }
        }
        if end < n {
            let panel = a.slice(s![end.., start..end]).to_owned();
            let update = panel.dot(&panel.t());
            let mut rest = a.slice_mut(s![end.., end..]);
            rest -= &update;
        }
    }
    for i in 0..n {
        for j in i + 1..n {
            a[[i, j]] = 0.0;
        }
    }
    Some(a)
}

/// The inverse of a lower triangle.
pub fn invert_lower(l: &Array2<f64>) -> Array2<f64> {
    let n = l.nrows();
    let mut x: Array2<f64> = Array2::zeros((n, n));
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        // Rows start..end of the inverse: inverse of the diagonal block times (I − the rows before).
        let mut rows: Array2<f64> = Array2::zeros((end - start, n));
        for i in 0..end - start {
            rows[[i, start + i]] = 1.0;
        }
        if start > 0 {
            let before = l.slice(s![start..end, ..start]).dot(&x.slice(s![..start, ..]));
            rows -= &before;
        }
        for i in 0..end - start {
            for k in 0..i {
                let factor = l[[start + i, start + k]];
                let (done, mut rest) = rows.view_mut().split_at(Axis(0), i);
                rest.row_mut(0).scaled_add(-factor, &done.row(k));
            }
            let pivot = l[[start + i, start + i]];
            rows.row_mut(i).mapv_inplace(|v| v / pivot);
        }
        x.slice_mut(s![start..end, ..]).assign(&rows);
    }
    x
}

/// The upper triangle `U` with `UᵀU = a⁻¹`, for a symmetric positive definite `a`: row `j` says how an error in column
/// `j` is best made up for in the columns after it.
pub fn inverse_factor(a: &Array2<f64>) -> Option<Array2<f64>> {
    // With the order of rows and columns reversed, a = LLᵀ, so a⁻¹ = L⁻ᵀL⁻¹ and L⁻¹ is lower; reversed again it is upper.
    let reversed = a.slice(s![..;-1, ..;-1]).to_owned();
    let inverse = invert_lower(&cholesky(reversed)?);
    Some(inverse.slice(s![..;-1, ..;-1]).to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A symmetric positive definite matrix.
    pub(in crate::math) fn sample(n: usize) -> Array2<f64> {
        let x =
            Array2::from_shape_fn((2 * n, n), |(i, j)| ((i * 31 + j * 17 + i * j) % 23) as f64 / 7.0 - 1.5);
        x.t().dot(&x) + Array2::<f64>::eye(n)
    }

    #[test]
    fn factors_multiply_to_the_matrix_and_its_inverse() {
        for n in [1, 2, 63, 64, 65, 150] {
            let a = sample(n);
            let l = cholesky(a.clone()).unwrap();
            let gap = (l.dot(&l.t()) - &a).mapv(f64::abs).fold(0.0, |m: f64, &x| m.max(x));
            assert!(gap < 1e-9 * a.diag().sum(), "{n}: {gap}");
            let u = inverse_factor(&a).unwrap();
            let one = a.dot(&u.t().dot(&u));
            let gap = (one - Array2::<f64>::eye(n)).mapv(f64::abs).fold(0.0, |m: f64, &x| m.max(x));
            assert!(gap < 1e-8, "{n}: {gap}");
            assert!((1..n).all(|i| (0..i).all(|j| u[[i, j]] == 0.0)), "{n}: upper");
        }
    }

    #[test]
    fn what_is_not_positive_definite_has_no_factor() {
        assert!(cholesky(Array2::zeros((3, 3))).is_none());
        assert!(cholesky(Array2::from_elem((2, 2), f64::NAN)).is_none());
    }

    #[test]
    fn moments_do_not_depend_on_how_rows_come() {
        let rows = Array2::from_shape_fn((700, 3), |(i, j)| (i % 7) as f32 - j as f32);
        let (mut whole, mut parts) = (Moments::new(3), Moments::new(3));
        whole.add(&rows.view());
        rows.axis_chunks_iter(Axis(0), 100).for_each(|part| parts.add(&part));
        assert_eq!((&whole.squares, &whole.sums, whole.count), (&parts.squares, &parts.sums, 700));
        assert_eq!(whole.mean(), [3.0, 2.0, 1.0]);
        let centred = whole.products(true);
        assert!((centred[[0, 1]] - 4.0).abs() < 1e-9, "{centred}");
    }
}
