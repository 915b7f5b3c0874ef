//! A matrix as a product of two thin ones, the best of their rank for inputs with given second moments.

use ndarray::{Array2, ArrayView2, Axis as Dim, s};

use crate::prelude::*;

/// What the samples show of the inputs of a layer.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The mean products of inputs, those of deviations from the mean where a bias can give the mean back.
    pub products: Array2<f64>,
    /// The mean of every input.
    pub mean: Vec<f64>,
}

/// `W` of `[outputs, inner·trailing]` as `last · first`, where `first` of `[rank, inner]` is applied to every trailing
/// position alike and `last` is of `[outputs, rank·trailing]`. Ordered by importance: the first so many rows of `first` are
/// the best of that rank.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// How much of the power of the answers each rank gives; where `trailing` is not 1, as far as positions do not correlate.
    pub energies: Vec<f64>,
    first: Array2<f64>,
    last: Array2<f64>,
    trailing: usize,
}

/// Power below this share of the largest is rounding.
const NOTHING: f64 = 1e-14;

impl Split {
    /// By the directions of the answers `W·H·Wᵀ`: `last` is orthonormal.
    pub fn of_answers(weights: &Array2<f64>, seen: Option<&Seen>) -> Option<Self> {
        let (energies, last) = spectrum::eigen(&power(weights, seen))?;
        let first = last.t().dot(weights);
        Some(Self { energies, first, last, trailing: 1 }.trimmed())
    }

    /// By the directions of the inputs, of which `trailing` positions are seen by the same `first`.
    pub fn of_inputs(weights: &Array2<f64>, seen: Option<&Seen>, trailing: usize) -> Option<Self> {
        let inner = weights.ncols() / trailing;
        let at = |b: usize| weights.slice(s![.., b..;trailing]);
        let mut gram: Array2<f64> = Array2::zeros((inner, inner));
        for b in 0..trailing {
            gram += &at(b).t().dot(&at(b));
        }
        // With `M = L·Lᵀ`, the moments of an input at any of its positions, the answers' power is that of `W·L`.
        let (root, inverse) = match seen {
            None => (Array2::eye(inner), Array2::eye(inner)),
            Some(seen) => {
                let mut moments: Array2<f64> = Array2::zeros((inner, inner));
                for b in 0..trailing {
                    moments += &seen.products.slice(s![b..;trailing, b..;trailing]);
                }
                let inverse = inverse_factor(&moments)?;
                (moments.dot(&inverse.t()), inverse)
            }
        };
        let (energies, turned) = spectrum::eigen(&root.t().dot(&gram).dot(&root))?;
        let (first, back) = (turned.t().dot(&inverse), root.dot(&turned));
        let mut last = Array2::zeros((weights.nrows(), inner * trailing));
        for b in 0..trailing {
            last.slice_mut(s![.., b..;trailing]).assign(&at(b).dot(&back));
        }
        Some(Self { energies, first, last, trailing }.trimmed())
    }

    /// Without ranks that give nothing.
    fn trimmed(mut self) -> Self {
        self.energies.iter_mut().for_each(|energy| *energy = energy.max(0.0));
        let least = NOTHING * self.energies.first().copied().unwrap_or(0.0);
        let rank = self.energies.iter().take_while(|&&energy| energy > least).count().max(1);
        self.energies.truncate(rank);
        let (first, last) = self.parts(rank);
        Self { first, last, ..self }
    }

    /// The highest rank that gives more than the one below it.
    pub fn rank(&self) -> usize {
        self.energies.len()
    }

    /// Both factors at a rank.
    pub fn parts(&self, rank: usize) -> (Array2<f64>, Array2<f64>) {
        let first = self.first.slice(s![..rank.min(self.first.nrows()), ..]).to_owned();
        let last = self.last.slice(s![.., ..(rank * self.trailing).min(self.last.ncols())]).to_owned();
        (first, last)
    }

    /// The share of the answers' power that a rank loses.
    pub fn lost(&self, rank: usize) -> f64 {
        let all: f64 = self.energies.iter().sum();
        self.energies.iter().skip(rank).sum::<f64>() / all.max(f64::MIN_POSITIVE)
    }
}

/// `last · first`, where `first` sees every trailing position alike.
pub(super) fn composed(first: &Array2<f64>, last: &Array2<f64>) -> Array2<f64> {
    let trailing = last.ncols() / first.nrows().max(1);
    let mut whole = Array2::zeros((last.nrows(), first.ncols() * trailing));
    for b in 0..trailing {
        whole.slice_mut(s![.., b..;trailing]).assign(&last.slice(s![.., b..;trailing]).dot(first));
    }
    whole
}

/// The mean products of answers: `W·H·Wᵀ`.
fn power(weights: &Array2<f64>, seen: Option<&Seen>) -> Array2<f64> {
    match seen {
        None => weights.dot(&weights.t()),
        Some(seen) => weights.dot(&seen.products).dot(&weights.t()),
    }
}

/// The share of the answers' power that other weights get wrong.
pub(super) fn error(weights: &Array2<f64>, others: &Array2<f64>, seen: Option<&Seen>) -> f64 {
    let total = |weights: ArrayView2<'_, f64>| -> f64 {
        let pairs = |a: ArrayView2<'_, f64>| (&weights * &a).sum_axis(Dim(1)).sum();
        match seen {
            None => pairs(weights),
            Some(seen) => pairs(weights.dot(&seen.products).view()),
        }
    };
    let gap = weights - others;
    (total(gap.view()) / total(weights.view()).max(f64::MIN_POSITIVE)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(rows: usize, columns: usize, name: &str) -> Array2<f64> {
        let mut stream = Stream::new(7, name);
        Array2::from_shape_fn((rows, columns), |_| stream.normal())
    }

    fn seen(width: usize) -> Seen {
        let rows =
            numbers(3 * width, width, "rows") * &Array2::from_shape_fn((1, width), |(_, j)| 1.0 + j as f64);
        Seen { products: rows.t().dot(&rows), mean: vec![0.0; width] }
    }

    #[test]
    fn the_full_rank_is_the_matrix() {
        for (outputs, width) in [(5, 12), (12, 5), (6, 6)] {
            let (weights, seen) = (numbers(outputs, width, "w"), seen(width));
            for seen in [None, Some(&seen)] {
                for split in [Split::of_answers(&weights, seen), Split::of_inputs(&weights, seen, 1)] {
                    let split = split.unwrap();
                    assert_eq!(split.rank(), outputs.min(width));
                    let (first, last) = split.parts(split.rank());
                    assert!(error(&weights, &composed(&first, &last), seen) < 1e-18);
                    assert!(split.lost(split.rank()) == 0.0);
                }
            }
        }
        let weights = numbers(7, 12, "w");
        let split = Split::of_inputs(&weights, Some(&seen(12)), 3).unwrap();
        let (first, last) = split.parts(4);
        assert_eq!((first.dim(), last.dim()), ((4, 4), (7, 12)));
        assert!(error(&weights, &composed(&first, &last), None) < 1e-18);
    }

    #[test]
    fn the_spectrum_says_what_a_rank_loses() {
        let (weights, seen) = (numbers(8, 10, "w"), seen(10));
        for seen in [None, Some(&seen)] {
            for split in [Split::of_answers(&weights, seen), Split::of_inputs(&weights, seen, 1)] {
                let split = split.unwrap();
                for rank in 1..8 {
                    let (first, last) = split.parts(rank);
                    let found = error(&weights, &composed(&first, &last), seen);
                    assert!((found - split.lost(rank)).abs() < 1e-9, "{rank}: {found} {}", split.lost(rank));
                }
            }
        }
    }

    #[test]
    fn no_other_matrix_of_the_rank_is_nearer_for_these_inputs() {
        let (weights, seen) = (numbers(8, 10, "w"), seen(10));
        let plain = Split::of_answers(&weights, None).unwrap().parts(3);
        let weighted = Split::of_answers(&weights, Some(&seen)).unwrap().parts(3);
        let lost =
            |(first, last): &(Array2<f64>, Array2<f64>)| error(&weights, &composed(first, last), Some(&seen));
        assert!(lost(&weighted) < 0.9 * lost(&plain), "{} {}", lost(&weighted), lost(&plain));
    }

    #[test]
    fn inputs_count_at_every_position() {
        let weights = numbers(8, 8, "w");
        // Only the second of two positions is ever seen, and there one input more than the others.
        let power = |at: usize| [[1e-6; 4], [1.0, 1.0, 400.0, 1.0]][at % 2][at / 2];
        let products = Array2::from_diag(&(0..8).map(power).collect::<ndarray::Array1<f64>>());
        let seen = Seen { products, mean: vec![0.0; 8] };
        let lost = |known| {
            let (first, last) = Split::of_inputs(&weights, known, 2).unwrap().parts(1);
            error(&weights, &composed(&first, &last), Some(&seen))
        };
        assert!(lost(Some(&seen)) < 0.1 * lost(None), "{} {}", lost(Some(&seen)), lost(None));
    }
}
