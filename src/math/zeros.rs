//! Which weights become zero, and how the others make up for them.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::compensate::settle;
use super::linalg::inverse_factor;

/// Columns whose zeros are chosen together, where they may be anywhere.
const BLOCK: usize = 16;

/// Where zeros go in a matrix of weights that has a row for every output channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// So many, anywhere.
    Count(usize),
    /// Of every `of` neighbours in a row `keep` stay. Neighbours lie within runs of `run` columns; the last ones of a run
    /// count as if zeros filled their group up.
    Pattern {
        /// Neighbours that stay.
        keep: usize,
        /// Neighbours of a group.
        of: usize,
        /// Columns of a run.
        run: usize,
    },
}

impl Zeros {
    /// The columns in parts whose zeros are chosen together.
    fn parts(self, columns: usize) -> Vec<Range<usize>> {
        let (run, step) = match self {
            Self::Count(_) => (columns, BLOCK),
            Self::Pattern { of, run, .. } => (run, of),
        };
        let starts = (0..columns).step_by(run.max(1));
        let part = |start: usize, end: usize| start..(start + step).min(end);
        starts
            .flat_map(|start| {
                let end = (start + run).min(columns);
                (start..end).step_by(step.max(1)).map(move |at| part(at, end))
            })
            .collect()
    }
}

/// The weights with zeros in the place of the smallest.
pub fn zero_least(weights: &Array2<f64>, zeros: Zeros) -> Array2<f64> {
    let mut made = weights.clone();
    let all = 0..weights.ncols();
    let parts = if let Zeros::Count(_) = zeros { vec![all] } else { zeros.parts(weights.ncols()) };
    for part in parts {
        let scores = weights.slice(s![.., part.clone()]).mapv(f64::abs);
        let chosen = match zeros {
            Zeros::Count(count) => least(&scores.view(), count),
            Zeros::Pattern { keep, .. } => least_of_rows(&scores.view(), keep),
        };
        chosen.into_iter().for_each(|(row, at)| made[[row, part.start + at]] = 0.0);
    }
    made
}

/// The weights with zeros where the other weights of a row make up for them best, column after column (`SparseGPT`, arXiv
/// 2301.00774, after optimal brain surgeon): with `UᵀU = H⁻¹` a zero in column `j` costs `w² / U_jj²`, and changes the
/// columns after it by `−w / U_jj · U_j`. `products` is `H`: the mean products of the inputs, by column.
///
/// Never worse on `H` than [`zero_least`], which is taken where it is better. `None` where `H` has no factor.
pub fn zero_compensated(
    weights: &Array2<f64>,
    products: &Array2<f64>,
    zeros: Zeros,
) -> Option<(Array2<f64>, f64)> {
    let factor = inverse_factor(products)?;
    let columns = weights.ncols();
    let mut made = weights.as_standard_layout().into_owned();
    let costs = |made: &Array2<f64>, part: Range<usize>| {
        let mut costs = made.slice(s![.., part.clone()]).to_owned();
        for mut row in costs.outer_iter_mut() {
            let diagonal = factor.diag().into_iter().skip(part.start);
            row.iter_mut().zip(diagonal).for_each(|(x, u)| *x = (*x / u).powi(2));
        }
        costs
    };
    // How many zeros each column gets is judged on all columns at once, where they are on those that are there by then.
    let mut quota = vec![0; columns];
    if let Zeros::Count(count) = zeros {
        let first = least(&costs(&made, 0..columns).view(), count);
        first.into_iter().for_each(|(_, column)| quota[column] += 1);
    }
    for part in zeros.parts(columns) {
        let costs = costs(&made, part.clone());
        let chosen = match zeros {
            Zeros::Count(_) => least(&costs.view(), quota[part.clone()].iter().sum()),
            Zeros::Pattern { keep, .. } => least_of_rows(&costs.view(), keep),
        };
        let mut of_rows = vec![Vec::new(); made.nrows()];
        chosen.into_iter().for_each(|(row, at)| of_rows[row].push(part.start + at));
        let rows = made.as_slice_mut()?.par_chunks_mut(columns.max(1));
        rows.zip(of_rows).for_each(|(row, mut places)| {
            places.sort_unstable();
            places.into_iter().for_each(|at| settle(row, at, 0.0, &factor));
        });
    }
    let plain = zero_least(weights, zeros);
    let (loss, of_plain) = (loss_of(weights, &made, products), loss_of(weights, &plain, products));
    Some(if of_plain <= loss { (plain, of_plain) } else { (made, loss) })
}

/// `Σ (w − q)·H·(w − q)ᵀ` over the rows.
pub fn loss_of(weights: &Array2<f64>, made: &Array2<f64>, products: &Array2<f64>) -> f64 {
    let gap = weights - made;
    (&gap * &gap.dot(products)).sum()
}

/// The places of the least scores.
fn least(scores: &ArrayView2<'_, f64>, count: usize) -> Vec<(usize, usize)> {
    let mut all: Vec<((usize, usize), f64)> = scores.indexed_iter().map(|(at, &x)| (at, x)).collect();
    if count < all.len() {
        all.select_nth_unstable_by(count, |a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        all.truncate(count);
    }
    all.into_iter().map(|(at, _)| at).collect()
}

/// The places of the least scores of every row: all but so many.
fn least_of_rows(scores: &ArrayView2<'_, f64>, keep: usize) -> Vec<(usize, usize)> {
    let count = scores.ncols().saturating_sub(keep);
    let row = |row: usize| {
        let of_row = least(&scores.slice(s![row..=row, ..]), count);
        of_row.into_iter().map(move |(_, at)| (row, at))
    };
    (0..scores.nrows()).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights, and the products of inputs that hang together.
    fn random(seed: u64, rows: usize, columns: usize) -> (Array2<f64>, Array2<f64>) {
        let mut state = seed;
        let mut number = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 23) - 1.0
        };
        let weights = Array2::from_shape_fn((rows, columns), &mut number);
        let mix = Array2::from_shape_fn((columns, columns), &mut number);
        let x = Array2::from_shape_fn((columns * 3, columns), &mut number).dot(&mix);
        (weights, x.t().dot(&x) / (columns * 3) as f64 + Array2::<f64>::eye(columns) * 1e-3)
    }

    fn count(of: &Array2<f64>) -> usize {
        of.iter().filter(|x| **x == 0.0).count()
    }

    #[test]
    fn there_are_as_many_zeros_as_asked_for_and_compensation_costs_less() {
        let mut gains = 0.0;
        for (seed, columns) in [(1, 5), (2, 40), (3, 128), (4, 129)] {
            let (weights, products) = random(seed, 6, columns);
            for share in [0.1, 0.5, 0.9] {
                let wanted = (share * weights.len() as f64) as usize;
                let (made, loss) = zero_compensated(&weights, &products, Zeros::Count(wanted)).unwrap();
                let plain = zero_least(&weights, Zeros::Count(wanted));
                assert_eq!((count(&made), count(&plain)), (wanted, wanted));
                assert!((loss - loss_of(&weights, &made, &products)).abs() <= 1e-9 * loss);
                let of_plain = loss_of(&weights, &plain, &products);
                assert!(loss <= of_plain, "{seed} {share}: {loss} {of_plain}");
                gains += of_plain / loss / 12.0;
            }
        }
        assert!(gains > 1.4, "{gains}");
    }

    #[test]
    fn a_pattern_holds_in_every_group_of_every_row() {
        let forms = [
            (1, (8, 3), (2, 4)),
            (2, (10, 2), (2, 4)),
            (3, (7, 4), (1, 4)),
            (4, (30, 1), (4, 8)),
            (5, (3, 3), (2, 4)),
        ];
        for (seed, (run, runs), (keep, of)) in forms {
            let (weights, products) = random(seed, 5, run * runs);
            let zeros = Zeros::Pattern { keep, of, run };
            let (made, _) = zero_compensated(&weights, &products, zeros).unwrap();
            for made in [made, zero_least(&weights, zeros)] {
                for row in made.outer_iter() {
                    for run in row.to_vec().chunks(run) {
                        for group in run.chunks(of) {
                            let left = group.iter().filter(|x| **x != 0.0).count();
                            assert_eq!(left, group.len().min(keep), "{group:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_zero_already_stays_so_at_no_cost() {
        let (weights, products) = random(7, 6, 150);
        let zeros = Zeros::Count(weights.len() / 2);
        let (made, _) = zero_compensated(&weights, &products, zeros).unwrap();
        assert_eq!(zero_compensated(&made, &products, zeros).unwrap(), (made, 0.0));
    }

    #[test]
    fn equal_inputs_share_what_a_zero_takes() {
        let weights = Array2::from_shape_vec((1, 2), vec![1.0, 2.0]).unwrap();
        let products = Array2::from_elem((2, 2), 1.0) + Array2::<f64>::eye(2) * 1e-9;
        let (made, _) = zero_compensated(&weights, &products, Zeros::Count(1)).unwrap();
        assert!(made[[0, 0]] == 0.0 && (made[[0, 1]] - 3.0).abs() < 1e-6, "{made}");
        assert!(zero_compensated(&weights, &Array2::zeros((2, 2)), Zeros::Count(1)).is_none());
    }
}
