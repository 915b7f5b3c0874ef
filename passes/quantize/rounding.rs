//! Weights on a grid: which codes, and what that does to the mean of the results.

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

/// Codes of a weight by output channel.
pub(super) struct Rounded {
    /// The codes.
    pub codes: Vec<Vec<i32>>,
    /// What rounding takes from the mean of every output channel, for the bias to give back; zeros where it is unknown.
    pub shifts: Vec<f64>,
}

/// The steps and bounds that rows are rounded to: a step for every row and code.
pub(super) struct Steps<'s> {
    /// The step of every row.
    pub by_row: &'s [f32],
    /// The smallest and the largest code.
    pub bounds: (i64, i64),
}

impl Rounded {
    /// Every weight at its nearest code.
    pub fn nearest(rows: &Rows, steps: &Steps<'_>) -> Self {
        let row =
            |(row, items): (&Vec<f64>, &f32)| row.iter().map(|&x| nearest(x, *items, steps.bounds)).collect();
        let codes = rows.items.iter().zip(steps.by_row).map(row).collect();
        Self { codes, shifts: vec![0.0; rows.items.len()] }
    }

    /// Codes whose errors cancel on the inputs that were seen. `centred`: the bias gives the mean back, so only
    /// deviations from it count. `factor` is what an element's input is divided by.
    pub fn compensated(
        rows: &Rows,
        steps: &Steps<'_>,
        (inputs, centred): (&Inputs, bool),
        factor: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let mut made = Self::nearest(rows, steps);
        let each = (rows.items.len() / inputs.groups().max(1)).max(1);
        for (group, part) in rows.items.chunks(each).enumerate() {
            let first = group * each;
            let factors: Vec<f64> = (0..part[0].len()).map(|at| factor(first, at)).collect();
            let (products, mean) = inputs.of_group(group, &factors, centred);
            let step = |row: usize| f64::from(steps.by_row[first + row]);
            let value = |row: usize, _: usize, x: f64| {
                f64::from(nearest(x, steps.by_row[first + row], steps.bounds)) * step(row)
            };
            let found = round_rows(part, &products, DAMPING, value);
            for (at, row) in part.iter().enumerate() {
                if let Some(found) = &found {
                    made.codes[first + at] =
                        found[at].iter().map(|x| (x / step(at)).round() as i32).collect();
                }
                let codes = &made.codes[first + at];
                let lost = |((w, &q), m): ((&f64, &i32), &f64)| (w - f64::from(q) * step(at)) * m;
                made.shifts[first + at] = row.iter().zip(codes).zip(&mean).map(lost).sum();
            }
        }
        made
    }
}
