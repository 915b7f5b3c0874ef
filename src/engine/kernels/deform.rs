//! `DeformConv`: a convolution whose kernel's cells are moved by offsets.

use super::Kernel;
use super::conv::Layout;
use super::index::{Odometer, count};
use super::matmul::product;
use super::sampling::linear_at;
use super::window::small_dims;
use crate::engine::{EngineError, NodeCall};
use crate::ir::TensorData;

pub(super) const TABLE: &[(&str, Kernel)] = &[("DeformConv", deform_conv)];

/// Offsets and mask by channel, cell and place.
struct Bends {
    offsets: Vec<f64>,
    mask: Option<Vec<f64>>,
    /// Channels that share offsets.
    share: usize,
    /// Sets of offsets in all.
    groups: usize,
    kernel: Vec<u64>,
    places: Vec<u64>,
    cells: usize,
    plane: usize,
}

impl Bends {
    fn new(call: &NodeCall<'_>, layout: &Layout) -> Result<Self, EngineError> {
        let (offsets, dims) = call.real_input(2)?;
        let groups = usize::try_from(call.int_or("offset_group", 1)?).ok().filter(|&g| g > 0);
        let groups = groups.ok_or_else(|| call.invalid("attribute `offset_group` must be positive"))?;
        let kernel: Vec<u64> = layout.axes.iter().map(|a| a.kernel as u64).collect();
        let places = small_dims(&layout.axes);
        let (cells, plane) = (count(&kernel).unwrap_or(0), count(&places).unwrap_or(0));
        let expect = |per_cell: usize| -> Vec<u64> {
            let all = groups.saturating_mul(cells).saturating_mul(per_cell);
            [layout.batch as u64, all as u64].into_iter().chain(places.iter().copied()).collect()
        };
        let mask = call.input(4);
        if dims != expect(kernel.len()) || mask.is_some_and(|m| m.dims() != expect(1)) {
            return Err(call.invalid(format_args!("offset {dims:?} or mask does not fit")));
        }
        let channels = layout.group * layout.inputs;
        if !channels.is_multiple_of(groups) || cells.checked_mul(plane).is_none_or(|n| n as u64 > call.limit)
        {
            return Err(call.invalid("its channels and groups, or its kernel, do not fit"));
        }
        let mask = mask.map(|m| call.reals(m)).transpose()?;
        Ok(Self { offsets, mask, share: channels / groups, groups, kernel, places, cells, plane })
    }

    /// What every cell meets in every place of one channel of an image.
    fn column(&self, layout: &Layout, from: &[f64], spatial: &[u64], set: usize) -> Vec<f64> {
        let rank = self.kernel.len();
        let mut column = Vec::with_capacity(self.cells * self.plane);
        let mut cells = Odometer::new(&self.kernel);
        while let Some(k) = cells.advance() {
            let mut places = Odometer::new(&self.places);
            while let Some(place) = places.advance() {
                let (cell, at) = (set * self.cells + column.len() / self.plane, column.len() % self.plane);
                let point = |d: usize| {
                    let axis = &layout.axes[d];
                    let base = place[d] as i64 * axis.stride + k[d] as i64 * axis.dilation - axis.pads.0;
                    base as f64 + self.offsets[(cell * rank + d) * self.plane + at]
                };
                let value = linear_at(from, spatial, &(0..rank).map(point).collect::<Vec<_>>());
                column.push(value * self.mask.as_ref().map_or(1.0, |m| m[cell * self.plane + at]));
            }
        }
        column
    }
}

fn deform_conv(call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
    let (x, w) = (call.need(0)?, call.need(1)?);
    let dtype = call.same_type(x, w)?;
    let layout = Layout::new(call, x.dims(), w.dims(), false)?;
    let len = call.sized(dtype, &layout.out)?;
    let bends = Bends::new(call, &layout)?;
    let (items, weight) = (call.reals(x)?, call.reals(w)?);
    let (spatial, mut out) = (&x.dims()[2..], vec![0.0; len]);
    let size = count(spatial).unwrap_or(0);
    let (channels, plane, cells) = (layout.group * layout.inputs, bends.plane, bends.cells);
    for (i, from) in items.chunks(size.max(1)).enumerate().take_while(|_| len > 0) {
        let (n, c) = (i / channels, i % channels);
        let column = bends.column(&layout, from, spatial, n * bends.groups + c / bends.share);
        let (group, input) = (c / layout.inputs, c % layout.inputs);
        for m in group * layout.outputs..(group + 1) * layout.outputs {
            let row = &weight[(m * layout.inputs + input) * cells..][..cells];
            let to = &mut out[(n * layout.group * layout.outputs + m) * plane..][..plane];
            product(row, &column, to, plane);
        }
    }
    if let Some(bias) = call.real_option(3)? {
        layout.bias(call, &mut out, &bias)?;
    }
    Ok(vec![call.real_tensor(dtype, &layout.out, &out)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, refused};

    #[test]
    fn cells_move_by_their_offsets() {
        let x = || f32s(&[1, 1, 3, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let w = || f32s(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let mut moved = [0.0; 32];
        // The first cell down by half in the first place, the last one left by one in the last.
        (moved[0], moved[31]) = (0.5, -1.0);
        let offset = || f32s(&[1, 8, 2, 2], &moved);
        check("DeformConv", &[], &[x(), w(), offset()], &[1, 1, 2, 2], &[28.5, 37.0, 57.0, 63.0]);
        let all = [x(), w(), offset(), f32s(&[1], &[1.0]), f32s(&[1, 4, 2, 2], &[0.5; 16])];
        check("DeformConv", &[], &all, &[1, 1, 2, 2], &[15.25, 19.5, 29.5, 32.5]);
        refused("DeformConv", &[], &[x(), w(), f32s(&[1, 4, 2, 2], &[0.0; 16])]);
    }
}
