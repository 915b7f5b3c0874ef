//! Operators that add or multiply elements along an axis, or into an image.

use super::Table;
use super::cells::Cells;
use super::index::{Odometer, count, strides};
use super::scalar::{Rounding, Scalar, encode, is_numeric, load};
use super::select::around;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

pub(super) const TABLE: Table = &[("Col2Im", col2im), ("CumProd", cum_prod), ("CumSum", cum_sum)];

type Outputs = Result<Vec<TensorData>, EngineError>;

/// Sums and products in full width: integers modulo 2^128, floats with 53 bits.
fn add(a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => Scalar::Int(a.wrapping_add(b)),
        (Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(a + b),
        _ => b,
    }
}

fn mul(a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => Scalar::Int(a.wrapping_mul(b)),
        (Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(a * b),
        _ => b,
    }
}

fn number(dtype: DType, x: i32) -> Scalar {
    if dtype.is_int() { Scalar::Int(x.into()) } else { Scalar::Float(x.into()) }
}

fn bytes(call: &NodeCall<'_>, dtype: DType, value: Scalar) -> Result<[u8; 8], EngineError> {
    let code = encode(dtype, value, Rounding::default()).ok_or_else(|| call.no_type(dtype))?;
    Ok(code.to_le_bytes())
}

fn cum_sum(call: &NodeCall<'_>) -> Outputs {
    cumulate(call, 0, add)
}

fn cum_prod(call: &NodeCall<'_>) -> Outputs {
    cumulate(call, 1, mul)
}

fn cumulate(call: &NodeCall<'_>, neutral: i32, combine: fn(Scalar, Scalar) -> Scalar) -> Outputs {
    let data = call.need(0)?;
    let dtype = data.dtype();
    if !is_numeric(dtype) || dtype == DType::Bool {
        return Err(call.no_type(dtype));
    }
    let axis = call.int(1)?.ok_or_else(|| call.invalid("input 1 is absent"))?;
    let axis = call.axis(axis, data.rank())?;
    let (exclusive, reverse) = (call.flag("exclusive", false)?, call.flag("reverse", false)?);
    call.sized(dtype, data.dims())?;
    let lane = around(call, data.dims(), axis)?;
    let width = dtype.bits().div_ceil(8) as usize;
    let (source, mut cells) = (Cells::of(data), Cells::of(data));
    for start in lane.lanes().take(if data.is_empty() { 0 } else { usize::MAX }) {
        let mut sum = number(dtype, neutral);
        for i in 0..lane.size {
            let at = start + if reverse { lane.size - 1 - i } else { i } * lane.inner;
            let next = combine(sum, load(dtype, source.get(at)));
            cells.set_bytes(at, &bytes(call, dtype, if exclusive { sum } else { next })?[..width]);
            sum = next;
        }
    }
    Ok(vec![cells.tensor(call, dtype, data.dims())?])
}

/// One spatial axis of an image that is covered by blocks.
struct Window {
    image: i128,
    block: u64,
    places: u64,
    stride: i128,
    pad: i128,
    dilation: i128,
}

fn windows(call: &NodeCall<'_>) -> Result<Vec<Window>, EngineError> {
    let (image, block) = (call.dims(&call.need_ints(1)?)?, call.dims(&call.need_ints(2)?)?);
    let axes = image.len();
    let list = |name: &str, len: usize, default: i64| {
        let list = call.ints_attr(name)?.unwrap_or_else(|| vec![default; len]);
        let fits = list.len() == len && list.iter().all(|&x| x >= default && x <= i64::from(u32::MAX));
        if fits { Ok(list) } else { Err(call.invalid(format_args!("attribute `{name}` is {list:?}"))) }
    };
    let (strides, dilations) = (list("strides", axes, 1)?, list("dilations", axes, 1)?);
    let pads = list("pads", 2 * axes, 0)?;
    if block.len() != axes || block.contains(&0) || axes == 0 {
        return Err(call.invalid(format_args!("an image {image:?} has no blocks {block:?}")));
    }
    let window = |k: usize| {
        let (size, pad) = (i128::from(image[k]), i128::from(pads[k]));
        let (stride, dilation) = (i128::from(strides[k]), i128::from(dilations[k]));
        let room = size + pad + i128::from(pads[axes + k]) - dilation * i128::from(block[k] - 1) - 1;
        let places = if room < 0 { 0 } else { (room / stride + 1) as u64 };
        Window { image: size, block: block[k], places, stride, pad, dilation }
    };
    Ok((0..axes).map(window).collect())
}

fn col2im(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let dtype = data.dtype();
    if !is_numeric(dtype) || dtype == DType::Bool {
        return Err(call.no_type(dtype));
    }
    let windows = windows(call)?;
    let block: Vec<u64> = windows.iter().map(|w| w.block).collect();
    let places: Vec<u64> = windows.iter().map(|w| w.places).collect();
    let image: Vec<u64> = windows.iter().map(|w| w.image as u64).collect();
    let wrong =
        || call.invalid(format_args!("{:?} does not hold blocks {block:?} at {places:?}", data.dims()));
    let &[n, rows, columns] = data.dims() else { return Err(wrong()) };
    let per_channel = count(&block).map(|b| b as u64).filter(|&b| rows % b == 0).ok_or_else(wrong)?;
    if count(&places).map(|l| l as u64) != Some(columns) {
        return Err(wrong());
    }
    let dims = [&[n, rows / per_channel], &image[..]].concat();
    let elements = call.sized(dtype, &dims)?;
    let mut sums = vec![number(dtype, 0); if data.is_empty() { 0 } else { elements }];
    let (source, steps, pixels) = (Cells::of(data), strides(&image), count(&image).unwrap_or(0));
    for plane in 0..if data.is_empty() { 0 } else { (n * (rows / per_channel)) as usize } {
        let mut walk = Odometer::new(&[&block[..], &places].concat());
        let mut at = plane * (per_channel * columns) as usize;
        while let Some(place) = walk.advance() {
            let (offset, position) = place.split_at(block.len());
            let pixel = |(k, w): (usize, &Window)| {
                let x = i128::from(position[k]) * w.stride + i128::from(offset[k]) * w.dilation - w.pad;
                (0..w.image).contains(&x).then(|| x as usize * steps[k])
            };
            if let Some(pixel) = windows.iter().enumerate().map(pixel).sum::<Option<usize>>() {
                let sum = &mut sums[plane * pixels + pixel];
                *sum = add(*sum, load(dtype, source.get(at)));
            }
            at += 1;
        }
    }
    let mut cells = Cells::new(dtype, elements);
    let width = dtype.bits().div_ceil(8) as usize;
    for i in 0..elements {
        let sum = sums.get(i).copied().unwrap_or_else(|| number(dtype, 0));
        cells.push_bytes(&bytes(call, dtype, sum)?[..width]);
    }
    Ok(vec![cells.tensor(call, dtype, &dims)?])
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
