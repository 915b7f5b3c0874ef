//! Operators between layers on codes.

use super::super::numbers::spread;
use super::{Codes, Outputs, Target, scale};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{Attrs, DType, OpName, TensorData};

/// Codes as they are in 32 bits, with their scale and zero point.
struct Operand {
    items: Vec<i16>,
    scale: f32,
    zero: i16,
}

impl Operand {
    /// From a slot, followed by its scale and zero point; repeated to fill `dims`.
    fn of(call: &NodeCall<'_>, slot: usize, dims: &[u64]) -> Result<Self, EngineError> {
        let codes = Codes::of(call, slot)?;
        let zero = codes.zeros(call, slot + 2, 1)?.first().copied().unwrap_or(0);
        let items = spread(codes.items, call.need(slot)?.dims(), dims);
        Ok(Self { items, scale: scale(call, slot + 1)?, zero })
    }
}

/// `QLinearAdd` and `QLinearMul`: `(A, a_scale, a_zero, B, b_scale, b_zero, c_scale, c_zero)`.
pub(super) fn binary(call: &NodeCall<'_>, adds: bool) -> Outputs {
    let dims = call.broadcast_dims(&[call.need(0)?.dims(), call.need(3)?.dims()])?;
    let target = Target::of(call, 7)?;
    call.sized(target.dtype, &dims)?;
    let (a, b, c) = (Operand::of(call, 0, &dims)?, Operand::of(call, 3, &dims)?, scale(call, 6)?);
    let pairs = a.items.iter().zip(&b.items);
    let codes = if adds {
        let (left, right) = (a.scale / c, b.scale / c);
        let fixed = f32::from(target.zero) - (left * f32::from(a.zero) + right * f32::from(b.zero));
        let sum = |(&x, &y): (&i16, &i16)| f32::from(x).mul_add(left, f32::from(y).mul_add(right, fixed));
        pairs.map(|pair| target.saturated(sum(pair))).collect()
    } else {
        let factor = a.scale * b.scale / c;
        let product = |(&x, &y): (&i16, &i16)| i32::from(x - a.zero) * i32::from(y - b.zero);
        // The zero point is added before rounding, so that it decides about ties.
        let steps = |pair| product(pair) as f32 * factor + f32::from(target.zero);
        pairs.map(|pair| target.saturated(steps(pair))).collect()
    };
    target.tensor(call, &dims, codes)
}

/// `QLinearSoftmax(X, x_scale, x_zero, y_scale, y_zero)`: with exponentials from a table, and only the whole part of the
/// reciprocal of the scale.
pub(super) fn softmax(call: &NodeCall<'_>) -> Outputs {
    let dims = call.need(0)?.dims();
    let axis = call.axis(call.int_or("axis", -1)?, dims.len())?;
    let (x, target) = (Operand::of(call, 0, dims)?, Target::of(call, 4)?);
    let steps = (1.0 / scale(call, 3)?).floor();
    let size = |dims: &[u64]| dims.iter().product::<u64>() as usize;
    let (depth, inner) = (size(&dims[axis..=axis]), size(&dims[axis + 1..]));
    if x.items.is_empty() {
        return target.tensor(call, dims, Vec::new());
    }
    let room = (f64::from(f32::MAX / depth as f32).ln() - 5.0).max(0.0);
    let step = f64::from(x.scale);
    let table: Vec<f32> = (0..256).map(|i| (room - f64::from(i) * step).exp() as f32).collect();
    let mut codes = vec![0; x.items.len()];
    for (from, to) in x.items.chunks(depth * inner).zip(codes.chunks_mut(depth * inner)) {
        for lane in 0..inner {
            let line = || from.iter().skip(lane).step_by(inner);
            let most = line().copied().max().unwrap_or(0);
            let power = |&code: &i16| table.get((most - code) as usize).copied().unwrap_or(0.0);
            let sum = line().map(power).fold(0.0f32, |sum, x| sum + x);
            for (code, to) in line().zip(to.iter_mut().skip(lane).step_by(inner)) {
                *to =
                    target.saturated((power(code) * steps / sum).round_ties_even() + f32::from(target.zero));
            }
        }
    }
    target.tensor(call, dims, codes)
}

/// `QLinearGlobalAveragePool(X, x_scale, x_zero, y_scale, y_zero)`: sums of planes, and one factor.
pub(super) fn global_average(call: &NodeCall<'_>) -> Outputs {
    if call.int_or("channels_last", 0)? != 0 {
        return Err(call.unsupported("channels_last"));
    }
    let dims = call.need(0)?.dims();
    let (x, target) = (Operand::of(call, 0, dims)?, Target::of(call, 4)?);
    let plane = dims.iter().skip(2).product::<u64>();
    if dims.len() < 3 || plane == 0 {
        return Err(call.invalid(format_args!("dims {dims:?} hold no planes")));
    }
    let factor = x.scale / (scale(call, 3)? * plane as f32);
    let sum = |plane: &[i16]| plane.iter().fold(0i32, |sum, code| sum.wrapping_add(i32::from(code - x.zero)));
    let codes = x.items.chunks_exact(plane as usize).map(|plane| target.code(sum(plane), factor)).collect();
    let out: Vec<u64> = dims.iter().take(2).copied().chain(std::iter::repeat_n(1, dims.len() - 2)).collect();
    target.tensor(call, &out, codes)
}

/// An operator of one quantized input, `(X, x_scale, x_zero, y_scale, y_zero)`, by that of the standard on floats.
pub(super) fn unary(call: &NodeCall<'_>, op: &str) -> Outputs {
    if call.int_or("channels_last", 0)? != 0 {
        return Err(call.unsupported("channels_last"));
    }
    let x = dequantized(call, 0)?;
    quantized(call, op, &[&x], 3)
}

/// `QLinearConcat(y_scale, y_zero, X1, x1_scale, x1_zero, …)`.
pub(super) fn concat(call: &NodeCall<'_>) -> Outputs {
    let parts: Vec<TensorData> =
        (2..call.inputs.len()).step_by(3).map(|slot| dequantized(call, slot)).collect::<Result<_, _>>()?;
    quantized(call, "Concat", &parts.iter().collect::<Vec<_>>(), 0)
}

/// One operator of the standard.
fn apply(
    call: &NodeCall<'_>,
    (op, attrs): (&str, &Attrs),
    inputs: &[Option<&TensorData>],
) -> Result<TensorData, EngineError> {
    let op = OpName::onnx(op);
    let made = super::super::eval(&NodeCall { op: &op, attrs, inputs, outputs: &[true], limit: call.limit })?;
    made.into_iter().next().ok_or_else(|| call.invalid("it made nothing"))
}

fn dequantized(call: &NodeCall<'_>, slot: usize) -> Result<TensorData, EngineError> {
    let inputs = [Some(call.need(slot)?), Some(call.need(slot + 1)?), call.input(slot + 2)];
    apply(call, ("DequantizeLinear", &Attrs::new()), &inputs)
}

fn quantized(call: &NodeCall<'_>, op: &str, inputs: &[&TensorData], slot: usize) -> Outputs {
    let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
    let made = apply(call, (op, call.attrs), &inputs)?;
    if made.dtype() != DType::Float {
        return Err(call.no_type(made.dtype()));
    }
    let inputs = [Some(&made), Some(call.need(slot)?), call.input(slot + 1)];
    Ok(vec![apply(call, ("QuantizeLinear", &Attrs::new()), &inputs)?])
}
