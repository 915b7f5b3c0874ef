//! Symmetric sums of products, of which half is kept.

use ndarray::{Array2, ArrayView2, Axis};

/// Rows whose products are summed in f32 before they are added in f64.
pub(super) const CHUNK: usize = 256;

/// `Σ xᵀx` over rows of numbers: the upper triangle, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Symmetric {
    width: usize,
    items: Vec<f64>,
}

impl Symmetric {
    /// Of rows of this width, none yet.
    pub fn new(width: usize) -> Self {
        Self { width, items: vec![0.0; width * (width + 1) / 2] }
    }

    /// Adds the products of some rows, which are summed in f32 first: a few hundred at most.
    pub fn add(&mut self, rows: &ArrayView2<'_, f32>) {
        let products = rows.t().dot(rows);
        let mut rest = &mut self.items[..];
        for (at, row) in products.axis_iter(Axis(0)).enumerate() {
            let (own, more) = rest.split_at_mut(self.width - at);
            own.iter_mut().zip(row.iter().skip(at)).for_each(|(a, &b)| *a += f64::from(b));
            rest = more;
        }
    }

    /// Adds the sums over other rows of the same width.
    pub fn join(&mut self, other: &Self) {
        self.items.iter_mut().zip(&other.items).for_each(|(a, b)| *a += b);
    }

    /// The whole matrix, divided by a number.
    pub fn divided(&self, by: f64) -> Array2<f64> {
        let mut whole = Array2::zeros((self.width, self.width));
        let mut items = self.items.iter();
        for i in 0..self.width {
            for (j, item) in (i..self.width).zip(&mut items) {
                whole[[i, j]] = item / by;
                whole[[j, i]] = item / by;
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_matrix_is_the_whole() {
        let rows = Array2::from_shape_fn((9, 4), |(i, j)| ((i * 5 + j * 3) % 7) as f32 - 2.0);
        let mut sums = Symmetric::new(4);
        sums.add(&rows.view());
        let mut twice = sums.clone();
        twice.join(&sums);
        let wanted = rows.t().dot(&rows).mapv(f64::from);
        assert_eq!(sums.divided(1.0), wanted);
        assert_eq!(twice.divided(2.0), wanted);
        assert_eq!(sums.items.len(), 10);
    }
}
