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
    let one = |(row, items): (usize, &Vec<f64>)| {
        let mut left: Vec<f64> = order.iter().map(|&at| items[at]).collect();
        let mut made = vec![0.0; n];
        for (at, &place) in order.iter().enumerate() {
            let rounded = round(row, place, left[at]);
            made[place] = rounded;
            let error = (left[at] - rounded) / factor[[at, at]];
            let line = factor.row(at);
            left[at + 1..].iter_mut().zip(line.iter().skip(at + 1)).for_each(|(x, u)| *x -= error * u);
        }
        let plain: Vec<f64> = items.iter().enumerate().map(|(at, &x)| round(row, at, x)).collect();
        (made, plain)
    };
    let (made, plain) = rows.par_iter().enumerate().map(one).unzip();
    Some(better(rows, (made, plain), products).0)
}

/// The better of two ways to round every row, and its error.
pub(super) fn better(
    rows: &[Vec<f64>],
    (first, second): (Vec<Vec<f64>>, Vec<Vec<f64>>),
    products: &Array2<f64>,
) -> (Vec<Vec<f64>>, Vec<f64>) {
    let errors = [&first, &second].map(|made| errors_of(rows, made, products));
    let [a, b] = errors;
    let choose = |((x, a), (y, b)): ((Vec<f64>, f64), (Vec<f64>, f64))| if a < b { (x, a) } else { (y, b) };
    first.into_iter().zip(a).zip(second.into_iter().zip(b)).map(choose).unzip()
}

/// Rows whose errors are computed by one product of matrices.
const TOGETHER: usize = 64;

/// `(w − q)·H·(w − q)ᵀ` of every row: the mean squared error of its products.
fn errors_of(rows: &[Vec<f64>], rounded: &[Vec<f64>], products: &Array2<f64>) -> Vec<f64> {
    let part = |(rows, rounded): (&[Vec<f64>], &[Vec<f64>])| -> Vec<f64> {
        let gaps = Array2::from_shape_fn((rows.len(), products.nrows()), |(r, c)| rows[r][c] - rounded[r][c]);
        let moved = gaps.dot(products);
        let error =
            |(gap, moved): (ndarray::ArrayView1<'_, f64>, ndarray::ArrayView1<'_, f64>)| gap.dot(&moved);
        gaps.outer_iter().zip(moved.outer_iter()).map(error).collect()
    };
    rows.par_chunks(TOGETHER).zip(rounded.par_chunks(TOGETHER)).flat_map_iter(part).collect()
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
