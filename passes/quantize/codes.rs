//! Grids of integers, and weights on them.

use crate::prelude::*;

use super::seen::Inputs;

/// Where the integers of a quantized value lie: `x = (code − zero_point) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    /// The integer type.
    pub dtype: DType,
    /// The step.
    pub scale: f32,
    /// The code of zero.
    pub zero_point: i32,
}

impl Grid {
    /// The finest grid that holds a range and zero itself; with `symmetric` its zero point is in the middle.
    pub fn of((lo, hi): (f64, f64), dtype: DType, symmetric: bool) -> Self {
        let (low, high) = bounds(dtype);
        let (lo, hi) = (lo.min(0.0), hi.max(0.0));
        let (scale, zero) = if symmetric {
            let middle = (low + high + 1).div_euclid(2);
            (lo.abs().max(hi) / (high - middle) as f64, middle)
        } else {
            let scale = (hi - lo) / (high - low) as f64;
            let zero = if scale > 0.0 { (low as f64 - lo / scale).round_ties_even() as i64 } else { low };
            (scale, zero.clamp(low, high))
        };
        Self { dtype, scale: usable(scale), zero_point: zero as i32 }
    }

    /// The zero point as a tensor.
    pub fn zero(&self) -> TensorData {
        integers(self.dtype, &[], &[self.zero_point])
    }
}

/// A scale that can be divided by.
pub(super) fn usable(scale: f64) -> f32 {
    let scale = scale as f32;
    if scale.is_normal() && scale > 0.0 { scale } else { 1.0 }
}

/// The smallest and the largest code of an integer type.
pub(super) fn bounds(dtype: DType) -> (i64, i64) {
    let bits = dtype.bits();
    if dtype.is_signed_int() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// Codes as a tensor of 8-, 16- or 32-bit integers.
pub(super) fn integers(dtype: DType, dims: &[u64], codes: &[i32]) -> TensorData {
    let width = (dtype.bits() / 8) as usize;
    let bytes: Vec<u8> = codes.iter().flat_map(|c| c.to_le_bytes().into_iter().take(width)).collect();
    TensorData::new(dtype, dims, bytes).expect("one element of the type's width for each code")
}

/// A weight, seen as one row of numbers for every output channel.
pub(super) struct Rows {
    /// Its dims.
    pub dims: Vec<u64>,
    /// The axis of the output channels.
    pub axis: usize,
    /// Row by row, each in the order of the other axes.
    pub items: Vec<Vec<f64>>,
}

impl Rows {
    /// The rows of a float tensor.
    pub fn of(data: &TensorData, axis: usize) -> Option<Self> {
        let items = data.to_f64s()?;
        let dims = data.dims().to_vec();
        let count = *dims.get(axis)? as usize;
        let inner: usize = dims.get(axis + 1..)?.iter().product::<u64>() as usize;
        let mut rows = vec![Vec::with_capacity(items.len() / count.max(1)); count];
        for (at, &item) in items.iter().enumerate() {
            rows[at / inner % count].push(item);
        }
        Some(Self { dims, axis, items: rows })
    }

    /// The same weight for inputs that are divided by factors, with results that are divided by factors.
    pub fn scaled(&self, inputs: Inputs, input: Option<&[f64]>, output: Option<&[f64]>) -> Self {
        let factor =
            |factors: Option<&[f64]>, at: usize| factors.and_then(|f| f.get(at)).copied().unwrap_or(1.0);
        let rows = self.items.iter().enumerate().map(|(row, items)| {
            let by = factor(output, row);
            let item = |(at, x): (usize, &f64)| x * factor(input, inputs.channel(row, at)) / by;
            items.iter().enumerate().map(item).collect()
        });
        Self { dims: self.dims.clone(), axis: self.axis, items: rows.collect() }
    }

    /// The largest magnitude of every row.
    pub fn reaches(&self) -> Vec<f64> {
        self.items.iter().map(|row| row.iter().fold(0f64, |m, x| m.max(x.abs()))).collect()
    }

    /// What another weight of as many rows, of as many numbers each, has less. `None` for one of another shape.
    pub fn less(&self, other: &Self) -> Option<Self> {
        let fits = self.items.len() == other.items.len()
            && self.items.iter().zip(&other.items).all(|(a, b)| a.len() == b.len());
        let row = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a - b).collect();
        let items = self.items.iter().zip(&other.items).map(row);
        fits.then(|| Self { dims: self.dims.clone(), axis: self.axis, items: items.collect() })
    }

    /// The inverse of [`Rows::of`], for codes.
    pub fn scatter(&self, rows: &[Vec<i32>]) -> Vec<i32> {
        scatter(&self.dims, self.axis, rows)
    }
}

/// The elements of a tensor of these dims from its slices along an axis.
pub(super) fn scatter<T: Copy>(dims: &[u64], axis: usize, rows: &[Vec<T>]) -> Vec<T> {
    let inner: usize = dims[axis + 1..].iter().product::<u64>() as usize;
    let count = rows.len();
    let total: usize = rows.iter().map(Vec::len).sum();
    let mut next = vec![0; count];
    (0..total)
        .map(|at| {
            let row = at / inner % count;
            next[row] += 1;
            rows[row][next[row] - 1]
        })
        .collect()
}

/// The nearest code on a grid, ties to even.
pub(super) fn nearest(x: f64, scale: f32, (low, high): (i64, i64)) -> i32 {
    (x / f64::from(scale)).round_ties_even().clamp(low as f64, high as f64) as i32
}
