//! Rows of a weight on grids of integers: codes and steps that keep the error of the products small.

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;

use super::compensate::{error_of, round_rows};

/// Times that codes and steps are improved in turn.
const ROUNDS: usize = 4;

/// Times that all codes of a row are looked at in one turn.
const SWEEPS: usize = 8;

/// The grids of a row, one for every block of its places: a number is `step · code`, with codes counted from the zero
/// point.
#[derive(Debug, Clone, PartialEq)]
pub struct RowGrid {
    /// The step of every block.
    pub steps: Vec<f64>,
    /// The smallest and the largest code of every block.
    pub bounds: Vec<(f64, f64)>,
}

impl RowGrid {
    /// The nearest code of a number in a block, ties to even.
    pub fn code(&self, block: usize, x: f64) -> f64 {
        let (low, high) = self.bounds[block];
        (x / self.steps[block]).round_ties_even().clamp(low, high)
    }

    /// The numbers that codes stand for.
    pub fn numbers(&self, codes: &[f64], blocks: &[usize]) -> Vec<f64> {
        codes.iter().zip(blocks).map(|(q, &block)| q * self.steps[block]).collect()
    }
}

/// What the rows of a weight are multiplied with, and how their places are split.
pub struct Problem<'p> {
    /// The block of every place of a row.
    pub blocks: &'p [usize],
    /// The mean products of the inputs, by place.
    pub products: &'p Array2<f64>,
    /// The share of the mean power of the inputs that is added to that of each: what the samples do not show.
    pub damping: f64,
}

/// Finds codes, and better steps where `fit` (which rounds a step to what can be stored) is given: starts with rounding
/// that makes up for its errors, then improves one code, or one step, at a time. A row for which plain rounding is at
/// least as good keeps that, and its steps.
pub fn fit_rows<F: Fn(f64) -> f64 + Sync>(
    rows: &[Vec<f64>],
    grids: &mut [RowGrid],
    problem: &Problem<'_>,
    fit: Option<&F>,
) -> Vec<Vec<f64>> {
    let Problem { blocks, products, damping } = *problem;
    let value = |row: usize, at: usize, x: f64| {
        let grid: &RowGrid = &grids[row];
        grid.code(blocks[at], x) * grid.steps[blocks[at]]
    };
    let start = round_rows(rows, products, damping, value);
    let mut damped = products.clone();
    let added = damping * products.diag().mean().unwrap_or(0.0);
    damped.diag_mut().mapv_inplace(|x| x + added);
    let one = |(at, (row, mut grid)): (usize, (&Vec<f64>, RowGrid))| {
        let plain: Vec<f64> = row.iter().zip(blocks).map(|(&x, &block)| grid.code(block, x)).collect();
        let start = start.as_ref().map_or(row, |start| &start[at]);
        let mut best = grid.clone();
        let mut codes: Vec<f64> = start.iter().zip(blocks).map(|(&x, &b)| grid.code(b, x)).collect();
        descend(row, &mut codes, (&best, blocks), &damped);
        for _ in 0..ROUNDS {
            let Some(fit) = fit else { break };
            refit(row, &codes, (&mut best, blocks), (&damped, fit));
            descend(row, &mut codes, (&best, blocks), &damped);
        }
        let cost = |grid: &RowGrid, codes: &[f64]| error_of(row, &grid.numbers(codes, blocks), &damped);
        if cost(&best, &codes) < cost(&grid, &plain) {
            grid = best;
            (codes, grid)
        } else {
            (plain, grid)
        }
    };
    let made: Vec<_> = rows.par_iter().zip(grids.to_vec()).enumerate().map(one).collect();
    let place = |((codes, grid), place): ((Vec<f64>, RowGrid), &mut RowGrid)| {
        *place = grid;
        codes
    };
    made.into_iter().zip(grids).map(place).collect()
}

/// What a row loses, and what each place could win: `w − q`, and its product with the moments.
fn losses(row: &[f64], numbers: &[f64], products: &Array2<f64>) -> Vec<f64> {
    let gap: Vec<f64> = row.iter().zip(numbers).map(|(w, q)| w - q).collect();
    products.dot(&ArrayView1::from(&gap)).to_vec()
}

/// Moves single codes to where the error of the row is smallest, until none moves.
fn descend(row: &[f64], codes: &mut [f64], (grid, blocks): (&RowGrid, &[usize]), products: &Array2<f64>) {
    let mut slope = losses(row, &grid.numbers(codes, blocks), products);
    for _ in 0..SWEEPS {
        let mut moved = false;
        for at in 0..row.len() {
            let power = products[[at, at]];
            if power <= 0.0 {
                continue;
            }
            let step = grid.steps[blocks[at]];
            let code = grid.code(blocks[at], codes[at] * step + slope[at] / power);
            let by = (code - codes[at]) * step;
            // The error falls by 2·by·slope − by²·power.
            if by == 0.0 || 2.0 * by * slope[at] - by * by * power <= 0.0 {
                continue;
            }
            codes[at] = code;
            moved = true;
            slope.iter_mut().zip(products.row(at)).for_each(|(s, h)| *s -= by * h);
        }
        if !moved {
            return;
        }
    }
}

/// Moves the step of each block to where the error of the row is smallest.
fn refit<F: Fn(f64) -> f64>(
    row: &[f64],
    codes: &[f64],
    (grid, blocks): (&mut RowGrid, &[usize]),
    (products, fit): (&Array2<f64>, &F),
) {
    let mut slope = losses(row, &grid.numbers(codes, blocks), products);
    for block in 0..grid.steps.len() {
        let held: Vec<f64> =
            codes.iter().zip(blocks).map(|(&q, &b)| if b == block { q } else { 0.0 }).collect();
        let moved = products.dot(&ArrayView1::from(&held));
        let power: f64 = held.iter().zip(&moved).map(|(q, h)| q * h).sum();
        let gain: f64 = held.iter().zip(&slope).map(|(q, s)| q * s).sum();
        let step = fit(grid.steps[block] + gain / power);
        let by = step - grid.steps[block];
        if power > 0.0 && step > 0.0 && 2.0 * by * gain - by * by * power > 0.0 {
            grid.steps[block] = step;
            slope.iter_mut().zip(&moved).for_each(|(s, h)| *s -= by * h);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs that share a part, and rows.
    fn sample(n: usize) -> (Array2<f64>, Vec<Vec<f64>>) {
        let x = Array2::from_shape_fn((400, n), |(i, j)| {
            ((i * 37) % 19) as f64 - 9.0 + ((i * 13 + j * 29) % 11) as f64 - 5.0
        });
        let rows = (0..8).map(|r| (0..n).map(|c| ((r * 7 + c * 5) % 17) as f64 * 0.31 - 2.4).collect());
        (x.t().dot(&x) / 400.0, rows.collect())
    }

    #[test]
    fn codes_and_steps_beat_rounding_that_only_looks_ahead() {
        let (products, rows) = sample(24);
        let blocks: Vec<usize> = (0..24).map(|at| at / 8).collect();
        let problem = Problem { blocks: &blocks, products: &products, damping: 0.01 };
        let grid = RowGrid { steps: vec![0.7; 3], bounds: vec![(-4.0, 3.0); 3] };
        let single = |x: f64| f64::from(x as f32);
        let mut kept = vec![grid.clone(); 8];
        let fixed = fit_rows::<fn(f64) -> f64>(&rows, &mut kept, &problem, None);
        assert!(kept.iter().all(|g| *g == grid), "no step moves unasked");
        let mut moved = kept.clone();
        let found = fit_rows(&rows, &mut moved, &problem, Some(&single));
        let ahead = round_rows(&rows, &products, 0.01, |_, _, x| grid.code(0, x) * 0.7).unwrap();
        let mut sums = [0.0; 3];
        for (at, row) in rows.iter().enumerate() {
            assert!(found[at].iter().all(|q| q.fract() == 0.0 && (-4.0..=3.0).contains(q)));
            assert!(
                moved[at].steps.iter().all(|&s| (single(s) - s).abs() < 1e-12 || (s - 0.7).abs() < 1e-12)
            );
            sums[0] += error_of(row, &ahead[at], &products);
            sums[1] += error_of(row, &grid.numbers(&fixed[at], &blocks), &products);
            sums[2] += error_of(row, &moved[at].numbers(&found[at], &blocks), &products);
        }
        assert!(sums[1] < 0.9 * sums[0] && sums[2] < 0.7 * sums[1], "{sums:?}");
    }

    #[test]
    fn a_code_moves_to_make_up_for_another_that_cannot() {
        // The first number is out of reach; the second input is the same, and takes over.
        let products = Array2::from_elem((2, 2), 1.0);
        let grid = RowGrid { steps: vec![1.0], bounds: vec![(-3.0, 3.0)] };
        let mut codes = vec![3.0, 0.0];
        descend(&[5.0, 0.0], &mut codes, (&grid, &[0, 0]), &products);
        assert_eq!(codes, [3.0, 2.0]);
    }

    #[test]
    fn a_step_moves_to_where_its_codes_fit() {
        let mut grid = RowGrid { steps: vec![1.0, 1.0], bounds: vec![(-8.0, 7.0); 2] };
        let products = Array2::eye(4);
        refit(&[2.2, 4.4, 3.0, 0.0], &[2.0, 4.0, 3.0, 0.0], (&mut grid, &[0, 0, 1, 1]), (&products, &|x| x));
        assert!((grid.steps[0] - 1.1).abs() < 1e-12 && (grid.steps[1] - 1.0).abs() < 1e-12, "{grid:?}");
    }

    #[test]
    fn inputs_that_are_never_there_leave_plain_rounding() {
        let grid = RowGrid { steps: vec![1.0], bounds: vec![(-8.0, 7.0)] };
        let products = Array2::zeros((2, 2));
        let problem = Problem { blocks: &[0, 0], products: &products, damping: 0.05 };
        let found = fit_rows(&[vec![1.4, -2.6]], &mut [grid], &problem, Some(&|x: f64| x));
        assert_eq!(found, [[1.0, -3.0]]);
    }
}
