//! Quantization with scales per tensor, per axis and per block.

use super::Table;
use super::cells::Cells;
use super::index::{Offsets, strides};
use super::integer::nearest;
use super::scalar::{Rounding, Scalar, encode, load, range, round_to};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

pub(super) const TABLE: Table = &[
    ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", dynamic_quantize),
    ("QuantizeLinear", quantize),
];

type Outputs = Result<Vec<TensorData>, EngineError>;

/// For every element of `x`, the place of its scale (and zero point).
fn scale_places(call: &NodeCall<'_>, x: &TensorData, scale: &TensorData) -> Result<Vec<usize>, EngineError> {
    let (dims, block) = (x.dims(), call.int_or("block_size", 0)?);
    let wrong = || call.invalid(format_args!("scales {:?} do not fit {dims:?}", scale.dims()));
    if block == 0 && scale.len() == 1 && scale.rank() <= 1 {
        return Ok(vec![0; x.len()]);
    }
    let axis = call.axis(call.int_or("axis", 1)?, x.rank())?;
    if block == 0 {
        let mut steps = vec![0; dims.len()];
        steps[axis] = 1;
        let fits = scale.dims() == [dims[axis]];
        return if fits { Ok(Offsets::new(dims, &steps, 0).collect()) } else { Err(wrong()) };
    }
    let block = u64::try_from(block).map_err(|_| call.invalid(format_args!("block_size is {block}")))?;
    let fits = |k: usize| scale.dims()[k] == if k == axis { dims[k].div_ceil(block) } else { dims[k] };
    if scale.rank() != dims.len() || !(0..dims.len()).all(fits) {
        return Err(wrong());
    }
    let mut walk = super::index::Odometer::new(dims);
    let steps = strides(scale.dims());
    let mut places = Vec::with_capacity(x.len());
    while let Some(at) = walk.advance() {
        let place = |k: usize| if k == axis { at[k] / block } else { at[k] } as usize * steps[k];
        places.push((0..at.len()).map(place).sum());
    }
    Ok(places)
}

/// The zero points, of the dims of the scales; zero where they are absent.
fn zero_points(
    call: &NodeCall<'_>,
    scale: &TensorData,
    points: Option<&TensorData>,
) -> Result<Vec<Scalar>, EngineError> {
    let Some(points) = points else { return Ok(vec![Scalar::Int(0); scale.len()]) };
    // A scalar and a tensor of one element are both in use.
    if points.dims() != scale.dims() && (points.len(), scale.len()) != (1, 1) {
        let dims = (points.dims(), scale.dims());
        return Err(call.invalid(format_args!("zero points {:?} do not fit scales {:?}", dims.0, dims.1)));
    }
    let cells = Cells::of(points);
    let points: Vec<_> = (0..cells.len()).map(|i| load(points.dtype(), cells.get(i))).collect();
    if points.iter().any(|p| matches!(p, Scalar::Float(x) if *x != 0.0)) {
        return Err(call.unsupported("a zero point that is a float and not 0"));
    }
    Ok(points)
}

const QUANTIZED: &[DType] = &[
    DType::Uint8,
    DType::Int8,
    DType::Uint16,
    DType::Int16,
    DType::Uint4,
    DType::Int4,
    DType::Uint2,
    DType::Int2,
    DType::Float8e4m3fn,
    DType::Float8e4m3fnuz,
    DType::Float8e5m2,
    DType::Float8e5m2fnuz,
    DType::Float4e2m1,
    DType::Float6e2m3,
    DType::Float6e3m2,
];

const PRECISE: &[DType] = &[DType::Float, DType::Float16, DType::Bfloat16];

fn float(value: Scalar) -> f64 {
    match value {
        Scalar::Int(x) => x as f64,
        Scalar::Float(x) => x,
    }
}

fn quantize(call: &NodeCall<'_>) -> Outputs {
    let (x, scale, points) = (call.need(0)?, call.need(1)?, call.input(2));
    let (from, scales) = (x.dtype(), scale.dtype());
    let asked = call.dtype_attr("output_dtype")?;
    let to = points.map(TensorData::dtype).or(asked).unwrap_or(DType::Uint8);
    if asked.is_some_and(|asked| asked != to) {
        return Err(call.invalid(format_args!("output_dtype is not {to}, the type of the zero point")));
    }
    let precision = call.dtype_attr("precision")?.unwrap_or(scales);
    let precision = if precision == DType::Float8e8m0 { DType::Float } else { precision };
    let known = (PRECISE.contains(&from) || from == DType::Int32) && QUANTIZED.contains(&to);
    if !known || !(PRECISE.contains(&scales) || scales == DType::Float8e8m0) || !PRECISE.contains(&precision)
    {
        return Err(call.unsupported(format_args!("{from} to {to} with scales of {scales}")));
    }
    let elements = call.sized(to, x.dims())?;
    if let Some(codes) = common_codes(x, scale, points, (to, precision)) {
        return Ok(vec![TensorData::new(to, x.dims(), codes).map_err(|e| call.invalid(e))?]);
    }
    let places = scale_places(call, x, scale)?;
    let points = zero_points(call, scale, points)?;
    let (source, scale_cells) = (Cells::of(x), Cells::of(scale));
    let rounding = Rounding { saturate: call.flag("saturate", true)?, ..Rounding::default() };
    let width = to.bits().div_ceil(8) as usize;
    let mut cells = Cells::new(to, elements);
    for (i, &place) in places.iter().enumerate() {
        let value = float(load(from, source.get(i)));
        let divisor = float(load(scales, scale_cells.get(place)));
        let one = |precision| quantize_one(to, (value, divisor), points[place], precision, rounding);
        let code = one(precision);
        // Implementations divide in 32 bits whatever the type, or with 64 where integers and floats meet.
        let others = [DType::Float, if from == DType::Int32 { DType::Double } else { precision }];
        let Some(code) = code.filter(|_| others.iter().all(|&p| one(p) == code)) else {
            return Err(
                call.unsupported(format_args!("{value} by {divisor}: the precision of the division shows"))
            );
        };
        cells.push_bytes(&code.to_le_bytes()[..width]);
    }
    Ok(vec![cells.tensor(call, to, x.dims())?])
}

/// The one scale and zero point of 8-bit codes and floats.
fn common_grid(scale: &TensorData, points: Option<&TensorData>, codes: DType) -> Option<(f32, i16)> {
    let sole = |t: &TensorData| t.rank() == 0 && matches!(codes, DType::Uint8 | DType::Int8);
    let &[scale] = scale.to_vec::<f32>().filter(|_| sole(scale))?.as_slice() else { return None };
    let point = match points {
        Some(points) => points.to_i64s().filter(|_| sole(points) && points.dtype() == codes)?,
        None => vec![0],
    };
    (scale.is_normal() && scale > 0.0).then(|| Some((scale, *point.first()? as i16)))?
}

/// The most common case, many times as fast: float32 to 8 bits with one scale, without NaN.
fn common_codes(
    x: &TensorData,
    scale: &TensorData,
    points: Option<&TensorData>,
    (to, precision): (DType, DType),
) -> Option<Vec<u8>> {
    let (scale, point) = common_grid(scale, points, to).filter(|_| precision == DType::Float)?;
    let items: Vec<f32> = x.to_vec()?;
    let (low, high) = if to == DType::Int8 { (-128, 127) } else { (0, 255) };
    let (least, most) = (f32::from(low - point), f32::from(high - point));
    // Saturated before it is rounded: the ends are whole.
    let code = |x: &f32| (nearest((x / scale).clamp(least, most)) as i16 + point) as u8;
    items.iter().all(|x| !x.is_nan()).then(|| items.iter().map(code).collect())
}

/// One element; `None` where the standard says nothing.
fn quantize_one(
    to: DType,
    (x, scale): (f64, f64),
    point: Scalar,
    precision: DType,
    r: Rounding,
) -> Option<u64> {
    let ratio = round_to(precision, round_to(precision, x) / round_to(precision, scale));
    if !to.is_int() {
        return encode(to, Scalar::Float(ratio), r);
    }
    let Scalar::Int(point) = point else { return None };
    let (low, high) = range(to);
    // The cast saturates, far beyond every integer type here.
    let steps = (!ratio.is_nan()).then(|| ratio.round_ties_even() as i64)?;
    encode(to, Scalar::Int((i128::from(steps) + point).clamp(low, high)), r)
}

fn dequantize(call: &NodeCall<'_>) -> Outputs {
    let (x, scale, points) = (call.need(0)?, call.need(1)?, call.input(2));
    let (from, scales) = (x.dtype(), scale.dtype());
    let to = call.dtype_attr("output_dtype")?.unwrap_or(scales);
    let known = QUANTIZED.contains(&from) || from == DType::Int32;
    if !known || !(PRECISE.contains(&scales) || scales == DType::Float8e8m0) || !PRECISE.contains(&to) {
        return Err(call.unsupported(format_args!("{from} to {to} with scales of {scales}")));
    }
    if let Some(points) = points {
        call.same_type(x, points)?;
    }
    let elements = call.sized(to, x.dims())?;
    if let (Some((scale, point)), Some(bytes), DType::Float) =
        (common_grid(scale, points, from), x.bytes(), to)
    {
        let code = |b: u8| if from == DType::Int8 { i16::from(b.cast_signed()) } else { i16::from(b) };
        let items: Vec<f32> = bytes.iter().map(|&b| f32::from(code(b) - point) * scale).collect();
        return Ok(vec![TensorData::from_slice(x.dims(), &items).map_err(|e| call.invalid(e))?]);
    }
    let places = scale_places(call, x, scale)?;
    let points = zero_points(call, scale, points)?;
    let (source, scale_cells) = (Cells::of(x), Cells::of(scale));
    let width = to.bits().div_ceil(8) as usize;
    let mut cells = Cells::new(to, elements);
    for (i, &place) in places.iter().enumerate() {
        let difference = match (load(from, source.get(i)), points[place]) {
            (Scalar::Int(x), Scalar::Int(point)) => (x - point) as f64,
            (value, _) => float(value),
        };
        // The difference is rounded first, to 32 bits: `int32` may not fit them.
        let product = round_to(DType::Float, difference) * float(load(scales, scale_cells.get(place)));
        let code = encode(to, Scalar::Float(product), Rounding::default()).ok_or_else(|| call.no_type(to))?;
        cells.push_bytes(&code.to_le_bytes()[..width]);
    }
    Ok(vec![cells.tensor(call, to, x.dims())?])
}

fn dynamic_quantize(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let items = x.to_vec::<f32>().ok_or_else(|| call.no_type(x.dtype()))?;
    call.sized(DType::Uint8, x.dims())?;
    if items.is_empty() || items.iter().any(|x| !x.is_finite()) {
        return Err(call.unsupported("an input without a finite range"));
    }
    let high = items.iter().copied().fold(0f32, f32::max);
    let low = items.iter().copied().fold(0f32, f32::min);
    let range = high - low;
    let scale = range / 255.0;
    // For zeros alone the implementations have different scales.
    if !range.is_finite() || scale == 0.0 {
        return Err(call.unsupported("a range without a finite scale"));
    }
    let point = (-low / scale).clamp(0.0, 255.0).round_ties_even();
    let quantized = items.iter().map(|x| ((x / scale).round_ties_even() + point).clamp(0.0, 255.0) as u8);
    let quantized: Vec<u8> = quantized.collect();
    let y = TensorData::from_slice(x.dims(), &quantized).map_err(|e| call.invalid(e))?;
    Ok(vec![y, TensorData::scalar(scale), TensorData::scalar(point as u8)])
}

#[cfg(test)]
#[path = "quantize_tests.rs"]
mod tests;
