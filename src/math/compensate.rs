//! Rounding weights so that their errors cancel on the inputs that they are multiplied with.

use ndarray::Array2;
use rayon::prelude::*;

use super::linalg::inverse_factor;

/// Rounds the rows of a weight column by column, and makes up for the error of each column in those after it, so that
/// the error of the products, `(w − q)·H·(w − q)ᵀ`, is small (GPTQ, arXiv 2210.17323, after optimal brain surgeon).
///
/// `products` is `H`: the mean products of the inputs, by element of a row. `damping` is the share of its mean diagonal
/// that is added to it. `round` gives the number that stands for a number at a place of a row. A row for which plain rounding is
/// at least as good is rounded plainly. `None` where `H` has no factor.
pub fn round_rows(
    rows: &[Vec<f64>],
    products: &Array2<f64>,
    damping: f64,
    round: impl Fn(usize, usize, f64) -> f64 + Sync,
) -> Option<Vec<Vec<f64>>> {
    let n = products.nrows();
    let mut damped = products.clone();
    let mean = damped.diag().sum() / n.max(1) as f64;
    let added = (damping * mean).max(f64::MIN_POSITIVE);
    damped.diag_mut().mapv_inplace(|x| x + added);
    // Inputs with the most power first: their errors can be made up for by all others.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| products[[b, b]].total_cmp(&products[[a, a]]).then(a.cmp(&b)));
    let ordered = Array2::from_shape_fn((n, n), |(i, j)| damped[[order[i], order[j]]]);
    let factor = inverse_factor(&ordered)?;
    let one = |row: usize| {
        let mut left: Vec<f64> = order.iter().map(|&at| rows[row][at]).collect();
        let mut made = vec![0.0; n];
        for (at, &place) in order.iter().enumerate() {
            made[place] = round(row, place, left[at]);
            settle(&mut left, at, made[place], &factor);
        }
        let plain = rows[row].iter().enumerate().map(|(at, &x)| round(row, at, x)).collect();
        (made, plain)
    };
    Some(better(rows, products, one).0)
}

/// Gives a place of a row its final number; the places after it make up for the change as well as they can.
pub(super) fn settle(row: &mut [f64], at: usize, to: f64, factor: &Array2<f64>) {
    let error = (row[at] - to) / factor[[at, at]];
    row[at] = to;
    let line = factor.row(at);
    row[at + 1..].iter_mut().zip(line.iter().skip(at + 1)).for_each(|(x, u)| *x -= error * u);
}

/// Rows whose errors are computed by one product of matrices.
const TOGETHER: usize = 64;

/// The better of two ways to round every row, and its error. Only a few rows on each core are held in both.
pub(super) fn better(
    rows: &[Vec<f64>],
    products: &Array2<f64>,
    ways: impl Fn(usize) -> (Vec<f64>, Vec<f64>) + Sync,
) -> (Vec<Vec<f64>>, Vec<f64>) {
    let part = |(at, part): (usize, &[Vec<f64>])| {
        let first = at * TOGETHER;
        let (a, b): (Vec<_>, Vec<_>) = (first..first + part.len()).map(&ways).unzip();
        let errors = [&a, &b].map(|made| errors_of(part, made, products));
        let [of_a, of_b] = errors;
        let choose = |((a, of_a), (b, of_b)): ((Vec<f64>, f64), (Vec<f64>, f64))| {
            if of_a < of_b { (a, of_a) } else { (b, of_b) }
        };
        a.into_iter().zip(of_a).zip(b.into_iter().zip(of_b)).map(choose).collect::<Vec<_>>()
    };
    rows.par_chunks(TOGETHER).enumerate().flat_map_iter(part).unzip()
}

/// `(w − q)·H·(w − q)ᵀ` of every row: the mean squared error of its products.
fn errors_of(rows: &[Vec<f64>], rounded: &[Vec<f64>], products: &Array2<f64>) -> Vec<f64> {
    let gaps = Array2::from_shape_fn((rows.len(), products.nrows()), |(r, c)| rows[r][c] - rounded[r][c]);
    let moved = gaps.dot(products);
    gaps.outer_iter().zip(moved.outer_iter()).map(|(gap, moved)| gap.dot(&moved)).collect()
}

/// `(w − q)·H·(w − q)ᵀ`: the mean squared error of the products of one row.
pub fn error_of(row: &[f64], rounded: &[f64], products: &Array2<f64>) -> f64 {
    let gap: ndarray::Array1<f64> = row.iter().zip(rounded).map(|(a, b)| a - b).collect();
    gap.dot(&products.dot(&gap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cancel_on_equal_inputs() {
        // Three inputs that are always equal: only the sum of the weights matters.
        let products = Array2::from_elem((3, 3), 1.0);
        let rows = vec![vec![0.4, 0.4, 0.4]];
        let found = round_rows(&rows, &products, 1e-3, |_, _, x| x.round()).unwrap();
        assert!((found[0].iter().sum::<f64>() - 1.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn it_is_never_worse_than_plain_rounding_and_mostly_better() {
        let n = 24;
        let x = Array2::from_shape_fn((400, n), |(i, j)| {
            let shared = ((i * 37) % 19) as f64 - 9.0;
            shared + ((i * 13 + j * 29) % 11) as f64 - 5.0
        });
        let products = x.t().dot(&x) / 400.0;
        let rows: Vec<Vec<f64>> =
            (0..8).map(|r| (0..n).map(|c| ((r * 7 + c * 5) % 17) as f64 * 0.31 - 2.4).collect()).collect();
        let found = round_rows(&rows, &products, 0.01, |_, _, x| x.round()).unwrap();
        let mut gains = 0.0;
        for (row, made) in rows.iter().zip(&found) {
            let plain: Vec<f64> = row.iter().map(|x| x.round()).collect();
            let (a, b) = (error_of(row, &plain, &products), error_of(row, made, &products));
            assert!(b <= a, "{b} > {a}");
            assert!(made.iter().all(|x| x.fract() == 0.0));
            gains += a / b;
        }
        assert!(gains / 8.0 > 3.0, "{gains}");
    }
}
