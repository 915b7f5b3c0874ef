//! Least squares from sums: which weights give some answers to some inputs, and stay near to what they were.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use super::solve::solve;
use super::symmetric::{CHUNK, Symmetric, wide};

/// Sums over rows of inputs `x` and answers `y`.
#[derive(Debug, Clone)]
pub struct Regression {
    /// `Σ xᵀx`.
    xx: Symmetric,
    /// `Σ xᵀy`.
    xy: Array2<f64>,
    x: Vec<f64>,
    y: Vec<f64>,
    rows: u64,
    /// Rows of inputs and answers that are not in `xy` yet.
    waiting: (Vec<f32>, Vec<f32>),
}

/// Weights `[answers, inputs]`, and what is added to every answer.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The weights.
    pub weights: Array2<f64>,
    /// The bias; zeros where none was asked for.
    pub bias: Vec<f64>,
}

impl Regression {
    /// Of so many inputs and answers, without a row yet.
    pub fn new(inputs: usize, answers: usize) -> Self {
        Self {
            xx: Symmetric::new(inputs),
            xy: Array2::zeros((inputs, answers)),
            x: vec![0.0; inputs],
            y: vec![0.0; answers],
            rows: 0,
            waiting: (Vec::new(), Vec::new()),
        }
    }

    /// Adds rows: as many of inputs as of answers.
    pub fn add(&mut self, x: &ArrayView2<'_, f32>, y: &ArrayView2<'_, f32>) {
        self.xx.add(x);
        for (x, y) in x.outer_iter().zip(y.outer_iter()) {
            self.x.iter_mut().zip(x).for_each(|(a, &b)| *a += f64::from(b));
            self.y.iter_mut().zip(y).for_each(|(a, &b)| *a += f64::from(b));
            self.waiting.0.extend(x);
            self.waiting.1.extend(y);
            if self.waiting.0.len() >= CHUNK * self.x.len() {
                self.settle();
            }
        }
        self.rows += x.nrows().min(y.nrows()) as u64;
    }

    /// Takes the rows that wait into the sums.
    fn settle(&mut self) {
        self.xx.settle();
        let (x, y) = std::mem::take(&mut self.waiting);
        if let (Some(x), Some(y)) = (wide(&x, self.x.len()), wide(&y, self.y.len())) {
            general_mat_mul(1.0, &x.t(), &y, 1.0, &mut self.xy);
        }
    }

    /// How many rows were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The weights with the least `Σ |y − W·x − b|² + ridge · mean power of an input · |W − start|²`. Without `biased`, `b`
    /// is 0. `None` where the inputs leave them open: no row, or numbers that are not finite.
    pub fn solve(&mut self, start: &Array2<f64>, ridge: f64, biased: bool) -> Option<Fit> {
        self.settle();
        let rows = self.rows as f64;
        let (mean_x, mean_y): (Vec<f64>, Vec<f64>) = if biased {
            (self.x.iter().map(|x| x / rows).collect(), self.y.iter().map(|y| y / rows).collect())
        } else {
            (vec![0.0; self.x.len()], vec![0.0; self.y.len()])
        };
        let mut xx = self.xx.divided(rows);
        let mut xy = self.xy.mapv(|v| v / rows);
        for (i, mx) in mean_x.iter().enumerate() {
            xx.row_mut(i).iter_mut().zip(&mean_x).for_each(|(v, m)| *v -= mx * m);
            xy.row_mut(i).iter_mut().zip(&mean_y).for_each(|(v, m)| *v -= mx * m);
        }
        let gap = xy - xx.dot(&start.t());
        let power = xx.diag().sum() / xx.nrows().max(1) as f64;
        let added = (ridge * power).max(f64::MIN_POSITIVE);
        xx.diag_mut().mapv_inplace(|v| v + added);
        let weights = start + &solve(&xx, &gap)?.t();
        if !weights.iter().all(|w| w.is_finite()) {
            return None;
        }
        let passed =
            |row: usize| weights.slice(s![row, ..]).iter().zip(&mean_x).map(|(w, m)| w * m).sum::<f64>();
        let bias =
            mean_y.iter().enumerate().map(|(row, y)| if biased { y - passed(row) } else { 0.0 }).collect();
        Some(Fit { weights, bias })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(i: usize, j: usize) -> f32 {
        ((i * 31 + j * 17 + i * j * 7) % 23) as f32 / 7.0 - 1.5
    }

    #[test]
    fn what_made_the_answers_is_found_again() {
        let x = Array2::from_shape_fn((600, 4), |(i, j)| number(i, j));
        let truth = Array2::from_shape_fn((3, 4), |(i, j)| number(i + 5, j + 3));
        let y = x.dot(&truth.t()) + 0.5;
        let mut sums = Regression::new(4, 3);
        sums.add(&x.slice(s![..100, ..]), &y.slice(s![..100, ..]));
        sums.add(&x.slice(s![100.., ..]), &y.slice(s![100.., ..]));
        assert_eq!(sums.rows(), 600);
        let fit = sums.solve(&Array2::zeros((3, 4)), 1e-9, true).unwrap();
        for (found, wanted) in fit.weights.iter().zip(&truth) {
            assert!((found - f64::from(*wanted)).abs() < 1e-4, "{found} {wanted}");
        }
        assert!(fit.bias.iter().all(|b| (b - 0.5).abs() < 1e-4), "{:?}", fit.bias);
        let start = truth.mapv(f64::from);
        let held = sums.solve(&start, 1e9, true).unwrap();
        assert!(
            (&held.weights - &start).iter().all(|gap| gap.abs() < 1e-6),
            "a strong ridge holds the weights"
        );
    }

    #[test]
    fn columns_that_are_gone_are_made_up_for_by_those_that_say_the_same() {
        let x = Array2::from_shape_fn((300, 2), |(i, j)| number(i, j));
        let y = Array2::from_shape_fn((300, 1), |(i, _)| 2.0 * number(i, 0) + 3.0 * number(i, 0));
        let mut sums = Regression::new(1, 1);
        sums.add(&x.slice(s![.., ..1]), &y.view());
        let fit = sums.solve(&Array2::from_elem((1, 1), 2.0), 1e-9, false).unwrap();
        assert!((fit.weights[[0, 0]] - 5.0).abs() < 1e-4 && fit.bias == [0.0]);
    }

    #[test]
    fn nothing_seen_is_nothing_found() {
        assert!(Regression::new(2, 1).solve(&Array2::zeros((1, 2)), 1e-3, true).is_none());
        let mut sums = Regression::new(1, 1);
        let bad = Array2::from_elem((3, 1), f32::NAN);
        sums.add(&bad.view(), &bad.view());
        assert!(sums.solve(&Array2::zeros((1, 1)), 1e-3, true).is_none());
    }
}
