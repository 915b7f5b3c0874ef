//! Symmetric sums of products, of which half is kept.

use ndarray::{Array2, ArrayView2, Axis, s};

/// Rows whose products are taken together.
pub(super) const CHUNK: usize = 256;

/// Rows of the sums that are taken together: what is left of the diagonal in them is done in vain.
const PANEL: usize = 256;

/// `Σ xᵀx` over rows of numbers: the upper triangle, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Symmetric {
    width: usize,
    items: Vec<f64>,
    /// Rows that are not in the sums yet: a product of few rows costs much for each.
    waiting: Vec<f32>,
}

impl Symmetric {
    /// Of rows of this width, none yet.
    pub fn new(width: usize) -> Self {
        Self { width, items: vec![0.0; width * (width + 1) / 2], waiting: Vec::new() }
    }

    /// Adds the products of some rows.
    pub fn add(&mut self, rows: &ArrayView2<'_, f32>) {
        for row in rows.outer_iter() {
            self.wait(row);
        }
    }

    fn wait<'r>(&mut self, row: impl IntoIterator<Item = &'r f32>) {
        self.waiting.extend(row);
        if self.waiting.len() >= CHUNK * self.width {
            self.settle();
        }
    }

    /// Takes the rows that wait into the sums, in f64: a variance can be a small part of a square.
    pub(super) fn settle(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(rows) = wide(&waiting, self.width) else { return };
        let mut rest = &mut self.items[..];
        for start in (0..self.width).step_by(PANEL) {
            let end = (start + PANEL).min(self.width);
            let products = rows.slice(s![.., start..end]).t().dot(&rows.slice(s![.., start..]));
            for (at, row) in products.axis_iter(Axis(0)).enumerate() {
                let (own, more) = rest.split_at_mut(self.width - start - at);
                own.iter_mut().zip(row.iter().skip(at)).for_each(|(a, &b)| *a += b);
                rest = more;
            }
        }
    }

    /// Adds the sums over other rows of the same width.
    pub fn join(&mut self, other: &Self) {
        self.items.iter_mut().zip(&other.items).for_each(|(a, b)| *a += b);
        for row in other.waiting.chunks_exact(self.width.max(1)) {
            self.wait(row);
        }
    }

    /// The whole matrix, divided by a number.
    pub fn divided(&self, by: f64) -> Array2<f64> {
        if !self.waiting.is_empty() {
            let mut settled = self.clone();
            settled.settle();
            return settled.divided(by);
        }
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

/// Rows of so many numbers in f64; `None` where there is none.
pub(super) fn wide(rows: &[f32], width: usize) -> Option<Array2<f64>> {
    let items: Vec<f64> = rows.iter().map(|&x| f64::from(x)).collect();
    let count = items.len().checked_div(width).filter(|&count| count > 0)?;
    Array2::from_shape_vec((count, width), items).ok()
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

    #[test]
    fn rows_wait_for_others_and_all_of_them_count() {
        let width = PANEL + 3;
        let rows = Array2::from_shape_fn((CHUNK + 7, width), |(i, j)| ((i * 5 + j * 3) % 7) as f32 - 2.0);
        let (mut whole, mut parts) = (Symmetric::new(width), Symmetric::new(width));
        whole.add(&rows.view());
        rows.axis_chunks_iter(Axis(0), 50).for_each(|part| parts.add(&part));
        assert_eq!(whole, parts);
        assert_eq!(whole.waiting.len(), 7 * width);
        assert_eq!(whole.divided(1.0), rows.t().dot(&rows).mapv(f64::from));
    }

    #[test]
    fn a_small_variance_beside_a_large_mean_is_not_lost() {
        let rows = Array2::from_shape_fn((200, 1), |(i, _)| 1.0 + if i % 2 == 0 { 1e-4 } else { -1e-4 });
        let mut sums = Symmetric::new(1);
        sums.add(&rows.view());
        let mean = rows.iter().map(|&x| f64::from(x)).sum::<f64>() / 200.0;
        let variance = sums.divided(200.0)[[0, 0]] - mean * mean;
        assert!((variance / 1e-8 - 1.0).abs() < 1e-2, "{variance}");
    }
}
