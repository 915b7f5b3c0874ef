//! Operators that pick, for every axis on its own, which places of the input the output is made of.

use super::Table;
use super::cells::Cells;
use super::index::{Around, Odometer, strides};
use super::shape::redim;
use crate::engine::{EngineError, NodeCall};
use crate::ir::TensorData;

pub(super) const TABLE: Table = &[
    ("CenterCropPad", center_crop_pad),
    ("Compress", compress),
    ("Gather", gather),
    ("Pad", pad),
    ("Slice", slice),
    ("Split", split),
    ("Tile", tile),
];

type Outputs = Result<Vec<TensorData>, EngineError>;

/// In the table of an axis: nothing of the input, but the fill value.
const FILL: usize = usize::MAX;

/// The tensor whose element at `(i, j, …)` is the input's at `(tables[0][i], tables[1][j], …)`, or the fill value
/// where a table says so. The tables must fit the limit of the call.
fn pick(
    call: &NodeCall<'_>,
    data: &TensorData,
    tables: &[Vec<usize>],
    fill: &Cells<'_>,
) -> Result<TensorData, EngineError> {
    let dims: Vec<u64> = tables.iter().map(|t| t.len() as u64).collect();
    let elements = call.sized(data.dtype(), &dims)?;
    let (source, steps) = (Cells::of(data), strides(data.dims()));
    let mut cells = Cells::new(data.dtype(), elements);
    let whole = |k: &usize| {
        tables[*k].len() as u64 == data.dims()[*k] && tables[*k].iter().copied().eq(0..tables[*k].len())
    };
    let rank = tables.len() - (0..tables.len()).rev().take_while(whole).count();
    let run: usize = tables[rank..].iter().map(Vec::len).product();
    let Some((last, outer)) = tables[..rank].split_last() else {
        return redim(call, data, &dims);
    };
    let mut walk = Odometer::new(&dims[..rank - 1]);
    while let Some(at) = walk.advance() {
        let places = at.iter().zip(outer).map(|(&i, table)| table[i as usize]);
        let row =
            places.zip(&steps).try_fold(0, |sum, (place, step)| (place != FILL).then(|| sum + place * step));
        for &place in last {
            match row.filter(|_| place != FILL) {
                Some(row) => cells.push(&source, row + place * steps[rank - 1], run),
                None => (0..run).for_each(|_| cells.push(fill, 0, 1)),
            }
        }
    }
    cells.tensor(call, data.dtype(), &dims)
}

/// What the tables of one axis after the other are made from, once the output is known to have elements.
fn pick_axes(
    call: &NodeCall<'_>,
    data: &TensorData,
    dims: &[u64],
    fill: &Cells<'_>,
    table: impl Fn(usize) -> Vec<usize>,
) -> Result<TensorData, EngineError> {
    if call.sized(data.dtype(), dims)? == 0 {
        return Cells::new(data.dtype(), 0).tensor(call, data.dtype(), dims);
    }
    let tables: Vec<_> = (0..dims.len()).map(table).collect();
    pick(call, data, &tables, fill)
}

/// As [`pick_axes`], for a change of one axis.
fn pick_axis(
    call: &NodeCall<'_>,
    data: &TensorData,
    axis: usize,
    table: &[usize],
) -> Result<TensorData, EngineError> {
    let mut dims = data.dims().to_vec();
    dims[axis] = table.len() as u64;
    let of = |k: usize| if k == axis { table.to_vec() } else { (0..data.dims()[k] as usize).collect() };
    pick_axes(call, data, &dims, &Cells::zero(data.dtype()), of)
}

/// One axis of a slice: its first place, its step, and how many places it takes.
#[derive(Clone, Copy)]
struct Range {
    start: i128,
    step: i128,
    len: u64,
}

fn slice_range(start: i64, end: i64, step: i64, size: u64) -> Range {
    let (size, step) = (i128::from(size), i128::from(step));
    let wrap = |x: i64| if x < 0 { i128::from(x) + size } else { i128::from(x) };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let (start, end) = (wrap(start).clamp(low.max(0), high.max(0)), wrap(end).clamp(low, high));
    let len = if size == 0 { 0 } else { ((end - start + step - step.signum()) / step).max(0) };
    Range { start, step, len: len as u64 }
}

fn slice(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let (starts, ends) = (call.need_ints(1)?, call.need_ints(2)?);
    let axes = call.ints(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(call.invalid("starts, ends, axes and steps differ in length"));
    }
    if steps.contains(&0) {
        return Err(call.invalid("a step is 0"));
    }
    let whole = |&size: &u64| Range { start: 0, step: 1, len: size };
    let mut ranges: Vec<Range> = data.dims().iter().map(whole).collect();
    for (i, axis) in call.axes(&axes, data.rank())?.into_iter().enumerate() {
        ranges[axis] = slice_range(starts[i], ends[i], steps[i], data.dims()[axis]);
    }
    let dims: Vec<u64> = ranges.iter().map(|r| r.len).collect();
    let table = |k: usize| {
        let Range { start, step, len } = ranges[k];
        (0..i128::from(len)).map(|i| (start + i * step) as usize).collect()
    };
    Ok(vec![pick_axes(call, data, &dims, &Cells::zero(data.dtype()), table)?])
}

fn split(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let axis = call.axis(call.int_or("axis", 0)?, data.rank())?;
    let size = data.dims()[axis];
    let sizes = if let Some(sizes) = call.ints(1)? {
        call.dims(&sizes)?
    } else {
        let parts = call.int_attr("num_outputs")?.unwrap_or(call.outputs.len() as i64);
        if parts != call.outputs.len() as i64 || parts == 0 {
            return Err(call.invalid(format_args!("it has {} outputs, not {parts}", call.outputs.len())));
        }
        let part = size.div_ceil(parts as u64);
        (0..parts as u64).map(|i| size.saturating_sub(part * i).min(part)).collect()
    };
    if sizes.iter().try_fold(0u64, |sum, &s| sum.checked_add(s)) != Some(size) {
        return Err(call.invalid(format_args!("the parts {sizes:?} do not add up to {size}")));
    }
    let mut start = 0;
    let part = |size: u64| {
        let table: Vec<usize> = (start..start + size as usize).collect();
        start += size as usize;
        pick_axis(call, data, axis, &table)
    };
    // With no element at all the sizes are only numbers: no table of places may be made from them.
    if data.is_empty() {
        let empty = |&size: &u64| {
            let mut dims = data.dims().to_vec();
            dims[axis] = size;
            Cells::new(data.dtype(), 0).tensor(call, data.dtype(), &dims)
        };
        return sizes.iter().map(empty).collect();
    }
    sizes.into_iter().map(part).collect()
}

fn gather(call: &NodeCall<'_>) -> Outputs {
    let (data, indices) = (call.need(0)?, call.need(1)?);
    let axis = call.axis(call.int_or("axis", 0)?, data.rank())?;
    let size = data.dims()[axis];
    let places: Vec<usize> =
        call.need_ints(1)?.into_iter().map(|i| call.place(i, size)).collect::<Result<_, _>>()?;
    let dims = [&data.dims()[..axis], indices.dims(), &data.dims()[axis + 1..]].concat();
    call.sized(data.dtype(), &dims)?;
    let picked = pick_axis(call, data, axis, &places)?;
    Ok(vec![redim(call, &picked, &dims)?])
}

fn tile(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let repeats = call.dims(&call.need_ints(1)?)?;
    if repeats.len() != data.rank() {
        return Err(call.invalid(format_args!(
            "{} repeats for a tensor of rank {}",
            repeats.len(),
            data.rank()
        )));
    }
    let sizes = data.dims().iter().zip(&repeats).map(|(&size, &times)| size.saturating_mul(times));
    let dims: Vec<u64> = sizes.collect();
    let table = |k: usize| (0..dims[k] as usize).map(|i| i % data.dims()[k] as usize).collect();
    Ok(vec![pick_axes(call, data, &dims, &Cells::zero(data.dtype()), table)?])
}

fn compress(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let keep = call.need(1)?.to_vec::<bool>().ok_or_else(|| call.invalid("the condition must be boolean"))?;
    let (data, axis) = flat_or_axis(call, data)?;
    let data = &data;
    let places: Vec<usize> = keep.iter().enumerate().filter(|(_, keep)| **keep).map(|(i, _)| i).collect();
    if places.last().is_some_and(|&i| i as u64 >= data.dims()[axis]) {
        return Err(
            call.invalid(format_args!("the condition is longer than axis {axis} of {:?}", data.dims()))
        );
    }
    Ok(vec![pick_axis(call, data, axis, &places)?])
}

fn center_crop_pad(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let sizes = call.dims(&call.need_ints(1)?)?;
    let axes = match call.ints_attr("axes")? {
        Some(axes) => call.axes(&axes, data.rank())?,
        None => (0..data.rank()).collect(),
    };
    if axes.len() != sizes.len() {
        return Err(call.invalid(format_args!("{} sizes for {} axes", sizes.len(), axes.len())));
    }
    let mut dims = data.dims().to_vec();
    axes.iter().zip(&sizes).for_each(|(&k, &size)| dims[k] = size);
    let table = |k: usize| {
        let (old, new) = (data.dims()[k] as usize, dims[k] as usize);
        let (cut, lead) = (old.saturating_sub(new) / 2, new.saturating_sub(old) / 2);
        let place = |i: usize| i.checked_sub(lead).map(|i| i + cut).filter(|&i| i < old).unwrap_or(FILL);
        (0..new).map(place).collect()
    };
    Ok(vec![pick_axes(call, data, &dims, &Cells::zero(data.dtype()), table)?])
}

/// How the places beyond an axis are filled.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

impl Mode {
    /// The place of an axis of some size (not 0, but where it is constant) that stands `at` places from its first.
    fn place(self, at: i128, size: i128) -> usize {
        let inside = (0..size).contains(&at);
        (match self {
            _ if inside => at,
            Self::Constant => return FILL,
            Self::Edge => at.clamp(0, size - 1),
            Self::Wrap => at.rem_euclid(size),
            Self::Reflect if size == 1 => 0,
            Self::Reflect => {
                let period = 2 * (size - 1);
                let at = at.rem_euclid(period);
                at.min(period - at)
            }
        }) as usize
    }
}

fn pad(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let pads = call.need_ints(1)?;
    let mode = match call.str_or("mode", "constant")?.as_str() {
        "constant" => Mode::Constant,
        "reflect" => Mode::Reflect,
        "edge" => Mode::Edge,
        "wrap" => Mode::Wrap,
        other => return Err(call.invalid(format_args!("mode `{other}` is unknown"))),
    };
    let axes = match call.ints(3)? {
        Some(axes) => call.axes(&axes, data.rank())?,
        None => (0..data.rank()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(call.invalid(format_args!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let fill = match call.input(2).filter(|_| mode == Mode::Constant) {
        Some(value) if value.len() == 1 => {
            call.same_type(data, value)?;
            Cells::of(value)
        }
        Some(_) => return Err(call.invalid("the constant must be one element")),
        None => Cells::zero(data.dtype()),
    };
    let mut ends = vec![(0i64, 0i64); data.rank()];
    axes.iter().enumerate().for_each(|(i, &k)| ends[k] = (pads[i], pads[axes.len() + i]));
    let mut dims = Vec::with_capacity(data.rank());
    for (&(before, after), &size) in ends.iter().zip(data.dims()) {
        let left = i128::from(size) + i128::from(before.min(0)) + i128::from(after.min(0));
        let padded = left + i128::from(before.max(0)) + i128::from(after.max(0));
        if left < 0 || (left == 0 && padded > 0 && mode != Mode::Constant) {
            return Err(
                call.invalid(format_args!("pads {before} and {after} leave nothing of an axis of {size}"))
            );
        }
        dims.push(u64::try_from(padded).unwrap_or(u64::MAX));
    }
    let table = |k: usize| {
        let (before, after) = ends[k];
        let cut = before.min(0).unsigned_abs() as usize;
        let left = i128::from(data.dims()[k]) + i128::from(before.min(0)) + i128::from(after.min(0));
        let place = |i: u64| mode.place(i128::from(i) - i128::from(before.max(0)), left);
        (0..dims[k]).map(place).map(|p| if p == FILL { FILL } else { p + cut }).collect()
    };
    Ok(vec![pick_axes(call, data, &dims, &fill, table)?])
}

/// The axis of an attribute that may be absent, and the tensor that has it: without the attribute, one of rank 1.
pub(super) fn flat_or_axis(
    call: &NodeCall<'_>,
    data: &TensorData,
) -> Result<(TensorData, usize), EngineError> {
    match call.int_attr("axis")? {
        Some(axis) => Ok((data.clone(), call.axis(axis, data.rank())?)),
        None => Ok((redim(call, data, &[data.len() as u64])?, 0)),
    }
}

/// The dims around an axis, for the kernels that join tensors there.
pub(super) fn around(call: &NodeCall<'_>, dims: &[u64], axis: usize) -> Result<Around, EngineError> {
    Around::new(dims, axis).ok_or_else(|| call.invalid(format_args!("{dims:?} has no axis {axis}")))
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
