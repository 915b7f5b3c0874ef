//! Pairs of weights whose products overflow 16 bits.
//!
//! x86 CPUs with AVX2 (or AVX-512) and without VNNI multiply u8 activations with s8 weights two at a time and add the two
//! products in a 16-bit integer that saturates (`vpmaddubsw`). A pair is positions `2i` and `2i + 1` of the reduction; the
//! last one of an odd row is alone and always fits. What is multiplied are codes: zero points are made up for afterwards.

use ndarray::Array2;

use super::compensate::better;
use super::linalg::inverse_factor;

const LOWEST: i32 = i16::MIN as i32;
const HIGHEST: i32 = i16::MAX as i32;

/// The codes that an activation takes, both ends included. The code of the zero point is among them: it is in the padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// The lowest.
    pub low: u8,
    /// The highest; not below `low`.
    pub high: u8,
}

impl Codes {
    /// Every code.
    pub const ALL: Self = Self { low: 0, high: u8::MAX };

    /// The least and the largest product with a weight.
    fn span(self, weight: i32) -> (i32, i32) {
        let (a, b) = (weight * i32::from(self.low), weight * i32::from(self.high));
        (a.min(b), a.max(b))
    }

    /// Whether the sum of two products fits 16 bits for any two activations.
    pub fn fit(self, first: i32, second: i32) -> bool {
        let ((a, b), (c, d)) = (self.span(first), self.span(second));
        a + c >= LOWEST && b + d <= HIGHEST
    }

    /// The largest weight whose products are all at most `bound`.
    fn largest(self, bound: i32) -> Option<i32> {
        let divisor = i32::from(if bound >= 0 { self.high } else { self.low });
        match (divisor, bound) {
            (0, 0..) => Some(i32::from(u8::MAX)),
            (0, _) => None,
            _ => Some(bound.div_euclid(divisor)),
        }
    }

    /// The second weights that fit beside a first one.
    fn partners(self, first: i32) -> Option<(i32, i32)> {
        let (least, most) = self.span(first);
        Some((-self.largest(least - LOWEST)?, self.largest(HIGHEST - most)?))
    }
}

/// The pairs of a row, by number, that some activations make overflow. The row is in the order of the reduction.
pub fn overflowing(row: &[i8], codes: Codes) -> impl Iterator<Item = usize> {
    let fits = move |pair: &[i8]| match pair {
        &[a, b] => codes.fit(a.into(), b.into()),
        _ => true,
    };
    row.chunks(2).enumerate().filter_map(move |(at, pair)| (!fits(pair)).then_some(at))
}

/// How many pairs of a weight can overflow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overflows {
    /// Pairs of two weights.
    pub pairs: u64,
    /// Those that some activations make overflow.
    pub overflowing: u64,
    /// Rows: output channels.
    pub rows: u64,
    /// Rows with such a pair.
    pub rows_hit: u64,
}

impl Overflows {
    /// Counts the pairs of rows that are in the order of the reduction.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a [i8]>, codes: Codes) -> Self {
        let one = |row: &[i8]| {
            let hits = overflowing(row, codes).count() as u64;
            Self { pairs: row.len() as u64 / 2, overflowing: hits, rows: 1, rows_hit: u64::from(hits > 0) }
        };
        rows.into_iter().fold(Self::default(), |all, row| all.plus(one(row)))
    }

    /// The sum of two counts.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            pairs: self.pairs + other.pairs,
            overflowing: self.overflowing + other.overflowing,
            rows: self.rows + other.rows,
            rows_hit: self.rows_hit + other.rows_hit,
        }
    }

    /// The share of pairs that can overflow.
    pub fn share(self) -> f64 {
        self.overflowing as f64 / self.pairs.max(1) as f64
    }
}

/// The order of the reduction of a convolution: for every position, the element of an output channel's `[channels, cells]`
/// weights. Channels run fastest, so that pairs are channels of one cell of the kernel, or with an odd number of channels
/// also the last channel of a cell and the first of the next.
pub fn conv_order(channels: usize, cells: usize) -> impl Iterator<Item = usize> + Clone {
    (0..channels * cells).map(move |at| at % channels * cells + at / channels)
}

/// The whole numbers nearest to weights (in steps of their scale) of which no pair overflows.
///
/// `limit` is the lowest and highest code. Every pair is the nearest one that fits: the squared error of the row is least.
pub fn round_pairs(row: &[f64], codes: Codes, limit: (i8, i8)) -> Vec<f64> {
    let mut made: Vec<f64> = row.iter().map(|&x| nearest(x, limit)).collect();
    for (pair, wanted) in made.chunks_mut(2).zip(row.chunks(2)) {
        if let (&mut [ref mut a, ref mut b], &[x, y]) = (pair, wanted) {
            let line = Line { x, y, slope: 0.0, weights: (1.0, 1.0) };
            (*a, *b) = line.nearest(codes, limit);
        }
    }
    made
}

/// As [`round_pairs`], with the least error of the products with inputs of the mean products `products` that rounding pair
/// by pair finds: the error of each is made up for in those after it (see [`round_rows`](super::compensate::round_rows)).
///
/// A row for which [`round_pairs`] is at least as good is rounded so. Also returns the error of every row. `None` where
/// `products` has no factor, or a row another length.
pub fn round_pairs_compensated(
    rows: &[Vec<f64>],
    products: &Array2<f64>,
    damping: f64,
    codes: Codes,
    limit: (i8, i8),
) -> Option<(Vec<Vec<f64>>, Vec<f64>)> {
    let n = products.nrows();
    if rows.iter().any(|row| row.len() != n) || products.ncols() != n {
        return None;
    }
    let added = (damping * products.diag().sum() / n.max(1) as f64).max(f64::MIN_POSITIVE);
    let order = pair_order(products);
    let damped = |i: usize, j: usize| products[[i, j]] + if i == j { added } else { 0.0 };
    let ordered = Array2::from_shape_fn((n, n), |(i, j)| damped(order[i], order[j]));
    let factor = inverse_factor(&ordered)?;
    let both = |row: usize| {
        let row = &rows[row];
        (compensated(row, &order, &factor, codes, limit), round_pairs(row, codes, limit))
    };
    Some(better(rows, products, both))
}

/// Pairs with the most power first, the two of a pair together; the one that is alone comes last.
fn pair_order(products: &Array2<f64>) -> Vec<usize> {
    let n = products.nrows();
    let power = |pair: usize| products[[2 * pair, 2 * pair]] + products[[2 * pair + 1, 2 * pair + 1]];
    let mut pairs: Vec<usize> = (0..n / 2).collect();
    pairs.sort_by(|&a, &b| power(b).total_cmp(&power(a)).then(a.cmp(&b)));
    pairs.into_iter().flat_map(|pair| [2 * pair, 2 * pair + 1]).chain((n % 2 == 1).then(|| n - 1)).collect()
}

fn compensated(
    row: &[f64],
    order: &[usize],
    factor: &Array2<f64>,
    codes: Codes,
    limit: (i8, i8),
) -> Vec<f64> {
    let n = row.len();
    let mut left: Vec<f64> = order.iter().map(|&at| row[at]).collect();
    let mut made = vec![0.0; n];
    let settle = |left: &mut [f64], at: usize, rounded: f64| {
        let error = (left[at] - rounded) / factor[[at, at]];
        let line = factor.row(at);
        left[at + 1..].iter_mut().zip(line.iter().skip(at + 1)).for_each(|(x, u)| *x -= error * u);
    };
    for at in (0..n).step_by(2) {
        if at + 1 == n {
            made[order[at]] = nearest(left[at], limit);
            break;
        }
        let (u, v) = (factor[[at, at]], factor[[at + 1, at + 1]]);
        let line = Line {
            x: left[at],
            y: left[at + 1],
            slope: factor[[at, at + 1]] / u,
            weights: (1.0 / (u * u), 1.0 / (v * v)),
        };
        let (a, b) = line.nearest(codes, limit);
        settle(&mut left, at, a);
        settle(&mut left, at + 1, b);
        (made[order[at]], made[order[at + 1]]) = (a, b);
    }
    made
}

fn nearest(x: f64, (low, high): (i8, i8)) -> f64 {
    x.round_ties_even().clamp(low.into(), high.into())
}

/// Two weights to round: an error of `e` in the first moves the second by `−slope·e`, and errors count by `weights`.
struct Line {
    x: f64,
    y: f64,
    slope: f64,
    weights: (f64, f64),
}

impl Line {
    fn second(&self, first: f64) -> f64 {
        self.y - self.slope * (self.x - first)
    }

    /// The whole numbers one after the other where they fit, else the best ones that do.
    fn nearest(&self, codes: Codes, limit: (i8, i8)) -> (f64, f64) {
        let first = nearest(self.x, limit);
        let second = nearest(self.second(first), limit);
        if codes.fit(first as i32, second as i32) {
            return (first, second);
        }
        let (low, high) = (i32::from(limit.0), i32::from(limit.1));
        let candidate = |first: i32| {
            let (least, most) = codes.partners(first)?;
            let (least, most) = (least.max(low), most.min(high));
            let wanted = self.second(first.into());
            let second =
                (least <= most).then(|| wanted.round_ties_even().clamp(least.into(), most.into()))?;
            let (e, f) = (self.x - f64::from(first), wanted - second);
            Some((self.weights.0 * e * e + self.weights.1 * f * f, second))
        };
        let near = nearest(self.x, limit) as i32;
        let mut best: Option<(f64, i32, f64)> = None;
        for away in 0..=high - low {
            // So far away the error of the first weight alone is larger.
            let least = self.weights.0 * (f64::from(away) - 0.5).max(0.0).powi(2);
            if best.is_some_and(|(cost, ..)| least > cost) {
                break;
            }
            for first in [near - away, near + away].into_iter().filter(|first| (low..=high).contains(first)) {
                let Some((cost, second)) = candidate(first) else { continue };
                if best.is_none_or(|(least, at, _)| cost.total_cmp(&least).then(first.cmp(&at)).is_lt()) {
                    best = Some((cost, first, second));
                }
            }
        }
        // Two zeros always fit; a limit without a zero may leave nothing.
        best.map_or((0.0, 0.0), |(_, first, second)| (first.into(), second))
    }
}

#[cfg(test)]
#[path = "saturation_tests.rs"]
mod tests;
