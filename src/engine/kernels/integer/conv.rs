//! Convolutions of codes.

use super::super::conv::Layout;
use super::super::index::count;
use super::super::window::{large_dims, small_dims};
use super::{Codes, Outputs, Target, bias, in_pairs, multiply, scale, scales};
use crate::engine::arithmetic::Arithmetic;
use crate::engine::{EngineError, NodeCall};
use crate::math::saturation::conv_order;

/// Places of outputs that are computed together.
const PLACES: usize = 4096;

pub(super) fn qlinear_conv(call: &NodeCall<'_>, arithmetic: Arithmetic) -> Outputs {
    let layout = Layout::new(call, call.need(0)?.dims(), call.need(3)?.dims(), false)?;
    let target = Target::of(call, 7)?;
    call.sized(target.dtype, &layout.out)?;
    let channels = layout.group * layout.outputs;
    let (x, w) = (Codes::of(call, 0)?, Codes::of(call, 3)?);
    let zero = x.zeros(call, 2, 1)?.first().copied().unwrap_or(0);
    let zeros = w.zeros(call, 5, channels)?;
    // Convolutions of each channel by itself have a kernel of their own, in 16 × 16 bits.
    let alone = layout.inputs == 1 && layout.outputs == 1;
    let pairs = in_pairs(arithmetic, &x, &w) && !alone;
    let mut sums = Sums { layout: &layout, zero, zeros: &zeros, pairs }.of(call, &x.items, &w.items)?;
    let plane = count(&layout.out[2..]).unwrap_or(0).max(1);
    let bias = bias(call, 8, channels)?.unwrap_or_else(|| vec![0; channels]);
    let (x_scale, y_scale) = (scale(call, 1)?, scale(call, 6)?);
    let factors: Vec<f32> =
        scales(call, 4, channels)?.into_iter().map(|w_scale| x_scale * w_scale / y_scale).collect();
    let mut codes = Vec::with_capacity(sums.len());
    for (at, plane) in sums.chunks_mut(plane).enumerate() {
        let channel = at % channels;
        let code = |sum: &mut i32| target.code(sum.wrapping_add(bias[channel]), factors[channel]);
        codes.extend(plane.iter_mut().map(code));
    }
    target.tensor(call, &layout.out, codes)
}

/// What the sums of a convolution are made of.
struct Sums<'a> {
    layout: &'a Layout,
    zero: i16,
    zeros: &'a [i16],
    pairs: bool,
}

impl Sums<'_> {
    /// The sums of all outputs.
    fn of(&self, call: &NodeCall<'_>, x: &[i16], w: &[i16]) -> Result<Vec<i32>, EngineError> {
        let layout = self.layout;
        let mut sums = vec![0; count(&layout.out).unwrap_or(0)];
        let places = count(&small_dims(&layout.axes)).unwrap_or(0);
        if sums.is_empty() || x.is_empty() {
            return Ok(sums);
        }
        let images = (PLACES / places).clamp(1, layout.batch);
        let depth = layout.inputs * w.len() / (layout.inputs * layout.outputs * layout.group).max(1);
        let width = images * places;
        let size = depth.saturating_mul(width);
        if size as u64 > call.limit {
            return Err(EngineError::TooLarge { bytes: size as u64 * 2, limit: call.limit });
        }
        let rows = self.rows(w, depth);
        let mut columns = vec![0; size];
        let mut part = vec![0; layout.outputs * width];
        for first in (0..layout.batch).step_by(images) {
            let count = images.min(layout.batch - first);
            let width = count * places;
            for group in 0..layout.group {
                let columns = &mut columns[..depth * width];
                self.fill(columns, x, (first, count), group);
                let rows = &rows[group * layout.outputs * depth..][..layout.outputs * depth];
                let part = &mut part[..layout.outputs * width];
                part.fill(0);
                multiply(rows, columns, (depth, width), self.pairs, part);
                if self.pairs {
                    self.make_up(part, (rows, columns), (depth, width), group);
                }
                self.place(&mut sums, part, (first, count), group);
            }
        }
        Ok(sums)
    }

    /// The weights of every output channel in the order of the reduction; without their zero points, but in pairs.
    fn rows(&self, w: &[i16], depth: usize) -> Vec<i16> {
        let cells = depth / self.layout.inputs.max(1);
        let order = conv_order(self.layout.inputs, cells);
        let row = |(row, zero): (&[i16], &i16)| {
            let zero = if self.pairs { 0 } else { *zero };
            order.clone().map(|at| row[at] - zero).collect::<Vec<_>>()
        };
        w.chunks_exact(depth.max(1)).zip(self.zeros).flat_map(row).collect()
    }

    /// For every position of the reduction, what it meets at every place of some images.
    fn fill(&self, columns: &mut [i16], x: &[i16], (first, count): (usize, usize), group: usize) {
        let layout = self.layout;
        let (padding, shift) = if self.pairs { (self.zero, 0) } else { (0, self.zero) };
        columns.fill(padding);
        let (cells, step) = (layout.cells(), layout.step());
        let plane = super::super::index::count(&large_dims(&layout.axes)).unwrap_or(0);
        let places = super::super::index::count(&small_dims(&layout.axes)).unwrap_or(0);
        for (at, line) in columns.chunks_exact_mut(count * places).enumerate() {
            let (cell, channel) = (at / layout.inputs, at % layout.inputs);
            for (image, to) in line.chunks_exact_mut(places).enumerate() {
                let source = ((first + image) * layout.group + group) * layout.inputs + channel;
                let from = &x[source * plane..(source + 1) * plane];
                for run in &cells[cell] {
                    let to = to[run.small..run.small + run.len].iter_mut();
                    to.zip(from[run.large..].iter().step_by(step)).for_each(|(t, &x)| *t = x - shift);
                }
            }
        }
    }

    /// Takes the zero points out of sums of products of bare codes.
    fn make_up(
        &self,
        sums: &mut [i32],
        (rows, columns): (&[i16], &[i16]),
        (depth, width): (usize, usize),
        group: usize,
    ) {
        let zeros = &self.zeros[group * self.layout.outputs..][..self.layout.outputs];
        let mut totals = vec![0i32; width];
        if zeros.iter().any(|&z| z != 0) {
            for line in columns.chunks_exact(width) {
                totals.iter_mut().zip(line).for_each(|(t, &x)| *t += i32::from(x) - i32::from(self.zero));
            }
        }
        for ((sums, row), &zero) in sums.chunks_exact_mut(width).zip(rows.chunks_exact(depth)).zip(zeros) {
            let total: i32 = row.iter().map(|&w| i32::from(w)).sum();
            let fixed = total.wrapping_mul(self.zero.into());
            for (sum, &column) in sums.iter_mut().zip(&totals) {
                *sum = sum.wrapping_sub(fixed).wrapping_sub(column.wrapping_mul(zero.into()));
            }
        }
    }

    /// Puts the sums of a group of channels of some images where they belong.
    fn place(&self, sums: &mut [i32], part: &[i32], (first, count): (usize, usize), group: usize) {
        let layout = self.layout;
        let places = part.len() / (layout.outputs * count).max(1);
        for (channel, line) in part.chunks_exact(count * places).enumerate() {
            for (image, from) in line.chunks_exact(places).enumerate() {
                let at = ((first + image) * layout.group + group) * layout.outputs + channel;
                sums[at * places..(at + 1) * places].copy_from_slice(from);
            }
        }
    }
}
