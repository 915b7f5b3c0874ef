//! Products of matrices of codes.

use super::super::index::Offsets;
use super::super::matmul::{Shapes, turned};
use super::{Codes, Outputs, Target, bias, in_pairs, multiply, scale, scales};
use crate::engine::arithmetic::Arithmetic;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, OpName, TensorData};

pub(super) fn matmul_integer(call: &NodeCall<'_>, arithmetic: Arithmetic) -> Outputs {
    let product = Product::of(call, (0, 1), (2, 3), arithmetic)?;
    call.sized(DType::Int32, &product.dims)?;
    Ok(vec![TensorData::from_slice(&product.dims, &product.sums()).map_err(|e| call.invalid(e))?])
}

pub(super) fn qlinear_matmul(call: &NodeCall<'_>, arithmetic: Arithmetic) -> Outputs {
    let product = Product::of(call, (0, 3), (2, 5), arithmetic)?;
    let target = Target::of(call, 7)?;
    call.sized(target.dtype, &product.dims)?;
    let (a, y) = (scale(call, 1)?, scale(call, 6)?);
    let factors: Vec<f32> = scales(call, 4, product.width)?.into_iter().map(|b| a * b / y).collect();
    product.requantized(call, &factors, target)
}

/// `MatMulIntegerToFloat(A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias)`.
pub(super) fn to_float(call: &NodeCall<'_>, arithmetic: Arithmetic) -> Outputs {
    let product = Product::of(call, (0, 1), (4, 5), arithmetic)?;
    let a = scale(call, 2)?;
    let factors: Vec<f32> = scales(call, 3, product.width)?.into_iter().map(|b| a * b).collect();
    let bias = if call.input(6).is_some() { Some(scales(call, 6, product.width)?) } else { None };
    product.floats(call, &factors, bias.as_deref())
}

/// `DynamicQuantizeMatMul(A, B, b_scale, b_zero_point, bias)`.
pub(super) fn dynamic_quantize_matmul(call: &NodeCall<'_>, arithmetic: Arithmetic) -> Outputs {
    let one = NodeCall {
        op: &OpName::onnx("DynamicQuantizeLinear"),
        inputs: &[Some(call.need(0)?)],
        outputs: &[true; 3],
        ..*call
    };
    let made = super::dynamic::dynamic_quantize(&one)?;
    let [codes, scale, zero] = made.as_slice() else {
        return Err(call.invalid("DynamicQuantizeLinear made other than three outputs"));
    };
    let inputs = [
        Some(codes),
        Some(call.need(1)?),
        Some(scale),
        Some(call.need(2)?),
        Some(zero),
        call.input(3),
        call.input(4),
    ];
    to_float(&NodeCall { inputs: &inputs, ..*call }, arithmetic)
}

/// `QGemm(A, a_scale, a_zero_point, B, b_scale, b_zero_point, C, y_scale, y_zero_point)`.
pub(super) fn qgemm(call: &NodeCall<'_>, arithmetic: Arithmetic) -> Outputs {
    let product = Product::of_gemm(call, arithmetic)?;
    let (a, alpha) = (scale(call, 1)?, call.float_or("alpha", 1.0)?);
    let mut factors: Vec<f32> = scales(call, 4, product.width)?.into_iter().map(|b| alpha * a * b).collect();
    let product = match bias(call, 6, product.width)? {
        Some(bias) => Product { bias, ..product },
        None => product,
    };
    if call.input(7).is_none() {
        return product.floats(call, &factors, None);
    }
    let y = scale(call, 7)?;
    factors.iter_mut().for_each(|f| *f /= y);
    product.requantized(call, &factors, Target::of(call, 8)?)
}

/// A product of (stacks of) matrices.
struct Product {
    dims: Vec<u64>,
    depth: usize,
    width: usize,
    /// Where the matrices of each product of a stack start.
    starts: Vec<(usize, usize)>,
    height: usize,
    a: Vec<i16>,
    b: Vec<i16>,
    /// Zero points by row and by column.
    zeros: (Vec<i16>, Vec<i16>),
    /// By column; nothing where it is zero.
    bias: Vec<i32>,
    pairs: bool,
}

impl Product {
    fn of(
        call: &NodeCall<'_>,
        (a, b): (usize, usize),
        zeros: (usize, usize),
        arithmetic: Arithmetic,
    ) -> Result<Self, EngineError> {
        let shapes = Shapes::new(call, call.need(a)?.dims(), call.need(b)?.dims())?;
        let (a, b) = (Codes::of(call, a)?, Codes::of(call, b)?);
        let starts = Offsets::new(&shapes.stack, &shapes.a, 0).zip(Offsets::new(&shapes.stack, &shapes.b, 0));
        let starts = starts.map(|(i, j)| (i * shapes.m * shapes.k, j * shapes.k * shapes.n)).collect();
        Ok(Self {
            zeros: (a.zeros(call, zeros.0, shapes.m)?, b.zeros(call, zeros.1, shapes.n)?),
            pairs: in_pairs(arithmetic, &a, &b),
            dims: shapes.out,
            depth: shapes.k,
            width: shapes.n,
            height: shapes.m,
            starts,
            a: a.items,
            b: b.items,
            bias: Vec::new(),
        })
    }

    fn of_gemm(call: &NodeCall<'_>, arithmetic: Arithmetic) -> Result<Self, EngineError> {
        let (a, b) = (Codes::of(call, 0)?, Codes::of(call, 3)?);
        let pairs = in_pairs(arithmetic, &a, &b);
        let (a_items, [m, k]) =
            turned(call, a.items.clone(), call.need(0)?.dims(), call.flag("transA", false)?)?;
        let (b_items, [k2, n]) =
            turned(call, b.items.clone(), call.need(3)?.dims(), call.flag("transB", false)?)?;
        if k != k2 {
            return Err(call.invalid(format_args!("matrices of {k} columns and {k2} rows do not multiply")));
        }
        call.sized(DType::Float, &[m, n])?;
        let (height, width) = (m as usize, n as usize);
        let zeros = (a.zeros(call, 2, height)?, b.zeros(call, 5, width)?);
        let (dims, depth) = (vec![m, n], k as usize);
        let (starts, bias) = (vec![(0, 0)], Vec::new());
        Ok(Self { dims, depth, width, starts, height, a: a_items, b: b_items, zeros, bias, pairs })
    }

    /// The sums, with the bias.
    fn sums(&self) -> Vec<i32> {
        let (depth, width, size) = (self.depth, self.width, self.height * self.width);
        let mut sums = vec![0; size * self.starts.len()];
        for (sums, &(a, b)) in sums.chunks_exact_mut(size.max(1)).zip(&self.starts) {
            let a = &self.a[a..a + self.height * depth];
            let b = &self.b[b..b + depth * width];
            if self.pairs {
                multiply(a, b, (depth, width), true, sums);
                self.make_up(sums, a, b);
            } else {
                let rows = a.chunks_exact(depth.max(1)).zip(&self.zeros.0);
                let a: Vec<i16> = rows.flat_map(|(row, z)| row.iter().map(move |x| x - z)).collect();
                let lines = b.chunks_exact(width.max(1));
                let b: Vec<i16> =
                    lines.flat_map(|l| l.iter().zip(&self.zeros.1).map(|(x, z)| x - z)).collect();
                multiply(&a, &b, (depth, width), false, sums);
            }
        }
        if !self.bias.is_empty() {
            for line in sums.chunks_exact_mut(width.max(1)) {
                line.iter_mut().zip(&self.bias).for_each(|(s, b)| *s = s.wrapping_add(*b));
            }
        }
        sums
    }

    /// Takes the zero points out of sums of products of bare codes.
    fn make_up(&self, sums: &mut [i32], a: &[i16], b: &[i16]) {
        let mut totals = vec![0i32; self.width];
        for line in b.chunks_exact(self.width.max(1)) {
            totals.iter_mut().zip(line).for_each(|(t, &x)| *t += i32::from(x));
        }
        let lines = sums.chunks_exact_mut(self.width.max(1));
        for (row, line) in lines.enumerate() {
            let zero = i32::from(self.zeros.0[row]);
            let codes = &a[row * self.depth..(row + 1) * self.depth];
            let total: i32 = codes.iter().map(|&x| i32::from(x) - zero).sum();
            for ((sum, column), &other) in line.iter_mut().zip(&totals).zip(&self.zeros.1) {
                let less = column.wrapping_mul(zero).wrapping_add(total.wrapping_mul(other.into()));
                *sum = sum.wrapping_sub(less);
            }
        }
    }

    fn requantized(&self, call: &NodeCall<'_>, factors: &[f32], target: Target) -> Outputs {
        let sums = self.sums();
        let lines = sums.chunks_exact(self.width.max(1));
        let codes = lines.flat_map(|line| line.iter().zip(factors).map(|(&s, &f)| target.code(s, f)));
        target.tensor(call, &self.dims, codes.collect())
    }

    fn floats(&self, call: &NodeCall<'_>, factors: &[f32], bias: Option<&[f32]>) -> Outputs {
        call.sized(DType::Float, &self.dims)?;
        let sums = self.sums();
        let mut items = Vec::with_capacity(sums.len());
        for line in sums.chunks_exact(self.width.max(1)) {
            let start = items.len();
            items.extend(line.iter().zip(factors).map(|(&s, f)| s as f32 * f));
            if let Some(bias) = bias {
                items[start..].iter_mut().zip(bias).for_each(|(x, b)| *x += b);
            }
        }
        Ok(vec![TensorData::from_slice(&self.dims, &items).map_err(|e| call.invalid(e))?])
    }
}
