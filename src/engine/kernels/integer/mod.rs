//! Operators on 8-bit codes in the arithmetic of a target: sums of products in 32 bits, or of pairs of products that
//! saturate at 16 bits, and one float32 factor to requantize by. What onnxruntime computes, bit for bit.

mod conv;
mod dynamic;
mod elementwise;
mod matmul;

use crate::engine::arithmetic::Arithmetic;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

/// The domain of onnxruntime's own operators.
pub(crate) const MICROSOFT: &str = "com.microsoft";

type Kernel = fn(&NodeCall<'_>, Arithmetic) -> Outputs;

/// The operators by domain and name.
const TABLE: &[(&str, &str, Kernel)] = &[
    ("", "DynamicQuantizeLinear", |call, _| dynamic::dynamic_quantize(call)),
    ("", "MatMulInteger", matmul::matmul_integer),
    ("", "QLinearConv", conv::qlinear_conv),
    ("", "QLinearMatMul", matmul::qlinear_matmul),
    (MICROSOFT, "DynamicQuantizeMatMul", matmul::dynamic_quantize_matmul),
    (MICROSOFT, "MatMulIntegerToFloat", matmul::to_float),
    (MICROSOFT, "QGemm", matmul::qgemm),
    (MICROSOFT, "QLinearAdd", |call, _| elementwise::binary(call, true)),
    (MICROSOFT, "QLinearAveragePool", |call, _| elementwise::unary(call, "AveragePool")),
    (MICROSOFT, "QLinearConcat", |call, _| elementwise::concat(call)),
    (MICROSOFT, "QLinearGlobalAveragePool", |call, _| elementwise::global_average(call)),
    (MICROSOFT, "QLinearLeakyRelu", |call, _| elementwise::unary(call, "LeakyRelu")),
    (MICROSOFT, "QLinearMul", |call, _| elementwise::binary(call, false)),
    (MICROSOFT, "QLinearSigmoid", |call, _| elementwise::unary(call, "Sigmoid")),
    (MICROSOFT, "QLinearSoftmax", |call, _| elementwise::softmax(call)),
];

/// Evaluates an operator on codes; `None` for any other.
pub(crate) fn eval(call: &NodeCall<'_>, arithmetic: Arithmetic) -> Option<Outputs> {
    let is =
        |(domain, name, _): &&(&str, &str, Kernel)| *domain == &*call.op.domain && *name == &*call.op.name;
    TABLE.iter().find(is).map(|(_, _, kernel)| kernel(call, arithmetic))
}

/// The elements of an 8-bit tensor.
struct Codes {
    items: Vec<i16>,
    signed: bool,
}

impl Codes {
    fn of(call: &NodeCall<'_>, slot: usize) -> Result<Self, EngineError> {
        let x = call.need(slot)?;
        let (Some(bytes), signed) = (x.bytes(), x.dtype() == DType::Int8) else {
            return Err(call.no_type(x.dtype()));
        };
        if !signed && x.dtype() != DType::Uint8 {
            return Err(call.no_type(x.dtype()));
        }
        let code = |&b: &u8| if signed { i16::from(b.cast_signed()) } else { i16::from(b) };
        Ok(Self { items: bytes.iter().map(code).collect(), signed })
    }

    /// Zero points in a slot: none counts as zero, one as many.
    fn zeros(&self, call: &NodeCall<'_>, slot: usize, count: usize) -> Result<Vec<i16>, EngineError> {
        if call.input(slot).is_none() {
            return Ok(vec![0; count]);
        }
        let zeros = Self::of(call, slot)?;
        let wrong = || call.invalid(format_args!("input {slot} does not fit as zero point"));
        if zeros.signed != self.signed {
            return Err(wrong());
        }
        match *zeros.items {
            [one] => Ok(vec![one; count]),
            _ if zeros.items.len() == count => Ok(zeros.items),
            _ => Err(wrong()),
        }
    }
}

/// Whether a product of such operands is summed in pairs. One zero point beyond the codes does not matter.
fn in_pairs(arithmetic: Arithmetic, first: &Codes, second: &Codes) -> bool {
    arithmetic == Arithmetic::Avx2Pairs && !first.signed && second.signed
}

/// Elements of a row of sums that are computed together, so that they stay near the processor.
const BLOCK: usize = 1024;

/// Adds the products of rows of `depth` codes with columns, which lie `[depth, width]`, to `[rows, width]` sums.
fn multiply(rows: &[i16], columns: &[i16], (depth, width): (usize, usize), pairs: bool, sums: &mut [i32]) {
    if depth == 0 || width == 0 {
        return;
    }
    let zeros = [0; BLOCK];
    for start in (0..width).step_by(BLOCK) {
        let size = BLOCK.min(width - start);
        let line = |k: usize| columns.get(k * width + start..).map_or(&zeros[..size], |rest| &rest[..size]);
        for (row, sums) in rows.chunks_exact(depth).zip(sums.chunks_exact_mut(width)) {
            let sums = &mut sums[start..start + size];
            for (at, pair) in row.chunks(2).enumerate() {
                let (&[first, second], k) =
                    (if let [a, b] = pair { &[*a, *b] } else { &[pair[0], 0] }, 2 * at);
                let (one, other) = (line(k), if k + 1 < depth { line(k + 1) } else { &zeros[..size] });
                if pairs {
                    add_saturated(sums, (first, one), (second, other));
                } else {
                    add(sums, (first, one), (second, other));
                }
            }
        }
    }
}

fn add(sums: &mut [i32], (a, xs): (i16, &[i16]), (b, ys): (i16, &[i16])) {
    for ((sum, &x), &y) in sums.iter_mut().zip(xs).zip(ys) {
        let pair = i32::from(a) * i32::from(x) + i32::from(b) * i32::from(y);
        *sum = sum.wrapping_add(pair);
    }
}

/// A product of u8 and s8 fits 16 bits; the sum of two does not have to.
fn add_saturated(sums: &mut [i32], (a, xs): (i16, &[i16]), (b, ys): (i16, &[i16])) {
    for ((sum, &x), &y) in sums.iter_mut().zip(xs).zip(ys) {
        let pair = a.wrapping_mul(x).saturating_add(b.wrapping_mul(y));
        *sum = sum.wrapping_add(i32::from(pair));
    }
}

/// Codes to round to.
#[derive(Clone, Copy)]
struct Target {
    dtype: DType,
    zero: i16,
    least: f32,
    most: f32,
}

impl Target {
    fn of(call: &NodeCall<'_>, slot: usize) -> Result<Self, EngineError> {
        let codes = Codes::of(call, slot)?;
        let &[zero] = codes.items.as_slice() else {
            return Err(call.unsupported("more than one zero point of the output"));
        };
        let (low, high) = if codes.signed { (-128, 127) } else { (0, 255) };
        let dtype = if codes.signed { DType::Int8 } else { DType::Uint8 };
        Ok(Self { dtype, zero, least: f32::from(low - zero), most: f32::from(high - zero) })
    }

    /// The code of a sum: saturated, and rounded half to even.
    fn code(self, sum: i32, scale: f32) -> u8 {
        let steps = nearest((sum as f32 * scale).clamp(self.least, self.most));
        // In the range of the type, whatever its sign: the low byte is the code.
        (steps as i16).wrapping_add(self.zero) as u8
    }

    /// The code of a number in steps of the scale, the zero point included.
    fn saturated(self, x: f32) -> u8 {
        let zero = f32::from(self.zero);
        nearest(x.clamp(self.least + zero, self.most + zero)) as i16 as u8
    }

    fn tensor(self, call: &NodeCall<'_>, dims: &[u64], codes: Vec<u8>) -> Outputs {
        Ok(vec![TensorData::new(self.dtype, dims, codes).map_err(|e| call.invalid(e))?])
    }
}

/// Rounds half to even; for numbers below 2²². (Without an instruction for it `round_ties_even` is a call.)
pub(crate) fn nearest(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT) - SHIFT
}

/// The float32 scales in a slot: one, or `count`.
fn scales(call: &NodeCall<'_>, slot: usize, count: usize) -> Result<Vec<f32>, EngineError> {
    let scale = call.need(slot)?;
    let items: Vec<f32> = scale.to_vec().ok_or_else(|| call.no_type(scale.dtype()))?;
    match *items {
        [one] => Ok(vec![one; count]),
        _ if items.len() == count => Ok(items),
        _ => Err(call.invalid(format_args!("{} scales for {count} channels", items.len()))),
    }
}

fn scale(call: &NodeCall<'_>, slot: usize) -> Result<f32, EngineError> {
    scales(call, slot, 1)?.pop().ok_or_else(|| call.invalid(format_args!("input {slot} holds no scale")))
}

/// The int32 bias in a slot, if it is there.
fn bias(call: &NodeCall<'_>, slot: usize, count: usize) -> Result<Option<Vec<i32>>, EngineError> {
    let Some(bias) = call.input(slot) else { return Ok(None) };
    let items: Vec<i32> = bias.to_vec().ok_or_else(|| call.no_type(bias.dtype()))?;
    if items.len() == count {
        return Ok(Some(items));
    }
    Err(call.invalid(format_args!("a bias of {} for {count} channels", items.len())))
}

#[cfg(test)]
mod tests;
