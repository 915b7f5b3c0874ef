//! Weights on a grid: which codes, on which steps, and what that does to the mean of the results.

use ndarray::Array2;

use crate::prelude::saturation::{Codes, Overflows, conv_order, round_pairs, round_pairs_compensated};
use crate::prelude::*;

use super::codes::{Rows, nearest};
use super::moments::Inputs;

/// How weights are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Each to the nearest code.
    Nearest,
    /// One by one, each making up for the errors before it on the inputs that the samples show (GPTQ, arXiv 2210.17323).
    Compensated,
}

/// The share of the mean power of the inputs that keeps their moments invertible.
const DAMPING: f64 = 0.05;

/// How far the step of a row is widened where its pairs overflow: at the last of these none can.
const WIDER: [f64; 6] = [1.0, 1.15, 1.3, 1.5, 1.7, 127.0 / 64.0];

/// Codes of a weight by output channel.
pub(super) struct Rounded {
    /// The codes.
    pub codes: Vec<Vec<i32>>,
    /// The step of every row.
    pub steps: Vec<f32>,
    /// What rounding takes from the mean of every output channel, for the bias to give back; zeros where it is unknown.
    pub shifts: Vec<f64>,
    /// The pairs that would have overflowed 16 bits, had every weight gone to its nearest code.
    pub overflows: Option<Overflows>,
    /// The pairs that can overflow as the weights are rounded.
    pub left: Option<Overflows>,
    /// The most that the step of a row was widened for it.
    pub widened: f64,
}

impl Rounded {
    /// What the report says of pairs.
    pub fn pairs(&self) -> Option<PairReport> {
        let (before, left) = self.overflows.zip(self.left)?;
        let (pairs, before, after) = (before.pairs, before.overflowing, left.overflowing);
        Some(PairReport { pairs, before, after, widened: self.widened })
    }
}

/// What rows are rounded to.
pub(super) struct Steps {
    /// The step of every row.
    pub by_row: Vec<f32>,
    /// Whether rows may have other steps than each other.
    pub apart: bool,
    /// The smallest and the largest code.
    pub bounds: (i8, i8),
    /// The order in which the products of a row are added, where two neighbours of it must not overflow 16 bits.
    pub pairs: Option<Vec<usize>>,
}

/// The order in which integer kernels that add pairs in 16 bits add the products of a row; `None` where they are exact, as
/// they are for one channel in and out (see `docs/arithmetic.md`).
pub(super) fn pair_order((conv, group): (bool, usize), rows: &Rows) -> Option<Vec<usize>> {
    let width = rows.items.first()?.len();
    if !conv {
        return Some((0..width).collect());
    }
    let channels = rows.dims.get(1).map_or(1, |&d| d as usize).max(1);
    let alone = channels == 1 && rows.items.len() == group;
    (!alone).then(|| conv_order(channels, width / channels).collect())
}

/// What inputs of a group show: mean products, and the mean.
type Moment = (Array2<f64>, Vec<f64>);

/// What a row became: codes, the factor of its step, and its error.
type Row = (Vec<i32>, f64, f64);

impl Steps {
    /// The codes of every weight: the nearest, or where inputs were seen, those whose errors cancel on them. `centred`: the
    /// bias gives the mean back, so only deviations from it count. `factor` is what an element's input is divided by.
    pub fn round(
        &self,
        rows: &Rows,
        inputs: Option<(&Inputs, bool)>,
        factor: impl Fn(usize, usize) -> f64,
    ) -> Rounded {
        let groups = inputs.map_or(1, |(i, _)| i.groups()).max(1);
        let each = (rows.items.len() / groups).max(1);
        let mut made: Vec<Vec<Row>> = Vec::new();
        let mut means: Vec<Vec<f64>> = Vec::new();
        for (group, part) in rows.items.chunks(each).enumerate() {
            let first = group * each;
            let factors: Vec<f64> = (0..part[0].len()).map(|at| factor(first, at)).collect();
            let moment = inputs.map(|(inputs, centred)| inputs.of_group(group, &factors, centred));
            made.extend(self.group(part, first, moment.as_ref()));
            means.push(moment.map(|(_, mean)| mean).unwrap_or_default());
        }
        let chosen = self.choose(made);
        let mut rounded = Rounded {
            codes: Vec::new(),
            steps: Vec::new(),
            shifts: Vec::new(),
            overflows: self.pairs.as_ref().map(|order| self.overflows(rows, order)),
            left: self.pairs.as_ref().map(|_| Overflows::default()),
            widened: 1.0,
        };
        for (row, (codes, wider, _)) in chosen.into_iter().enumerate() {
            let step = (f64::from(self.by_row[row]) * wider) as f32;
            let lost = |((w, &q), m): ((&f64, &i32), &f64)| (w - f64::from(q) * f64::from(step)) * m;
            rounded.shifts.push(rows.items[row].iter().zip(&codes).zip(&means[row / each]).map(lost).sum());
            rounded.widened = rounded.widened.max(wider);
            if let Some((order, left)) = self.pairs.as_ref().zip(rounded.left.as_mut()) {
                let line: Vec<i8> = order.iter().map(|&at| codes[at] as i8).collect();
                *left = left.plus(Overflows::of([&line[..]], Codes::ALL));
            }
            rounded.codes.push(codes);
            rounded.steps.push(step);
        }
        rounded
    }

    /// What the rows of a group may become: one choice for every factor of the step that was tried.
    fn group(&self, part: &[Vec<f64>], first: usize, moment: Option<&Moment>) -> Vec<Vec<Row>> {
        let Some(order) = &self.pairs else {
            return self
                .plain(part, first, moment)
                .into_iter()
                .map(|codes| vec![(codes, 1.0, 0.0)])
                .collect();
        };
        let (mut tried, mut lines) = (Vec::new(), Vec::new());
        for (at, row) in part.iter().enumerate() {
            let whole = |wider: f64| -> Vec<f64> {
                let step = f64::from(self.by_row[first + at]) * wider;
                order.iter().map(|&from| row[from] / step).collect()
            };
            let fits = self.count(&whole(1.0)).overflowing == 0 && self.apart;
            let few = if fits { &WIDER[..1] } else { &WIDER[..] };
            tried.extend(few.iter().map(|&wider| (at, wider)));
            lines.extend(few.iter().map(|&wider| whole(wider)));
        }
        // Damped, as what is rounded: clipped pairs are far off, where a few samples say nothing.
        let products = moment.map(|(p, _)| {
            let added = DAMPING * p.diag().mean().unwrap_or(0.0);
            let entry = |(i, j)| p[[order[i], order[j]]] + if i == j { added } else { 0.0 };
            Array2::from_shape_fn(p.raw_dim(), entry)
        });
        let found =
            products.as_ref().and_then(|p| round_pairs_compensated(&lines, p, 0.0, Codes::ALL, self.bounds));
        let (found, errors) = found.unwrap_or_else(|| {
            let found: Vec<_> = lines.iter().map(|l| round_pairs(l, Codes::ALL, self.bounds)).collect();
            let error = |(line, found): (&Vec<f64>, &Vec<f64>)| -> f64 {
                line.iter().zip(found).map(|(a, b)| (a - b).powi(2)).sum()
            };
            let errors = lines.iter().zip(&found).map(error).collect();
            (found, errors)
        });
        let mut made: Vec<Vec<Row>> = vec![Vec::new(); part.len()];
        for ((at, wider), (found, error)) in tried.into_iter().zip(found.into_iter().zip(errors)) {
            let step = f64::from(self.by_row[first + at]) * wider;
            let mut codes = vec![0; found.len()];
            order.iter().zip(&found).for_each(|(&to, &code)| codes[to] = code as i32);
            made[at].push((codes, wider, error * step * step));
        }
        made
    }

    /// Codes where sums are exact.
    fn plain(&self, part: &[Vec<f64>], first: usize, moment: Option<&Moment>) -> Vec<Vec<i32>> {
        let bounds = (i64::from(self.bounds.0), i64::from(self.bounds.1));
        let code = |row: usize, x: f64| nearest(x, self.by_row[first + row], bounds);
        let step = |row: usize| f64::from(self.by_row[first + row]);
        let found = moment.and_then(|(products, _)| {
            round_rows(part, products, DAMPING, |row, _, x| f64::from(code(row, x)) * step(row))
        });
        let made = |(row, items): (usize, &Vec<f64>)| match &found {
            Some(found) => found[row].iter().map(|x| (x / step(row)).round() as i32).collect(),
            None => items.iter().map(|&x| code(row, x)).collect(),
        };
        part.iter().enumerate().map(made).collect()
    }

    /// The choice with the least error for every row; for all rows alike where their steps have to be the same.
    fn choose(&self, made: Vec<Vec<Row>>) -> Vec<Row> {
        let least =
            |errors: &[f64]| errors.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |m| m.0);
        let count = made.iter().map(Vec::len).min().unwrap_or(0);
        let sums: Vec<f64> = (0..count).map(|at| made.iter().map(|row| row[at].2).sum()).collect();
        let shared = least(&sums);
        let one = |mut row: Vec<Row>| {
            let errors: Vec<f64> = row.iter().map(|(_, _, error)| *error).collect();
            row.swap_remove(if self.apart { least(&errors) } else { shared })
        };
        made.into_iter().map(one).collect()
    }

    /// The pairs of all rows at their nearest codes.
    fn overflows(&self, rows: &Rows, order: &[usize]) -> Overflows {
        let row = |(row, items): (usize, &Vec<f64>)| {
            let step = f64::from(self.by_row[row]);
            self.count(&order.iter().map(|&at| items[at] / step).collect::<Vec<_>>())
        };
        rows.items.iter().enumerate().map(row).fold(Overflows::default(), Overflows::plus)
    }

    fn count(&self, line: &[f64]) -> Overflows {
        let (low, high) = (f64::from(self.bounds.0), f64::from(self.bounds.1));
        let codes: Vec<i8> = line.iter().map(|x| x.round_ties_even().clamp(low, high) as i8).collect();
        Overflows::of([&codes[..]], Codes::ALL)
    }
}

#[cfg(test)]
#[path = "rounding_tests.rs"]
mod tests;
