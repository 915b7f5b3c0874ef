//! Products of matrices: Gemm, `MatMul`, and with quantized elements; Det.

use super::Kernel;
use super::index::{Offsets, broadcast_strides, count};
use super::numbers::{Numbers, bounds, is_real, spread};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("Det", det),
    ("Gemm", gemm),
    ("MatMul", matmul),
    ("MatMulInteger", matmul_integer),
    ("QLinearMatMul", qlinear_matmul),
];

/// Numbers to add and multiply: `f64`, or 64-bit integers that wrap.
pub(super) trait Ring: Copy + 'static {
    /// The zero.
    const ZERO: Self;
    /// The one.
    const ONE: Self;
    /// The sum.
    fn plus(self, other: Self) -> Self;
    /// The product.
    fn times(self, other: Self) -> Self;
}

impl Ring for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    fn plus(self, other: f64) -> f64 {
        self + other
    }
    fn times(self, other: f64) -> f64 {
        self * other
    }
}

impl Ring for i64 {
    const ZERO: i64 = 0;
    const ONE: i64 = 1;
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    fn times(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
}

/// Adds `w` times a row to another.
pub(super) fn add_row<T: Ring>(to: &mut [T], row: &[T], w: T) {
    to.iter_mut().zip(row).for_each(|(t, &x)| *t = t.plus(w.times(x)));
}

/// How two tensors multiply as (stacks of) matrices.
pub(super) struct Shapes {
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
    /// Dims of the stack.
    pub(super) stack: Vec<u64>,
    /// Strides of either operand over the stack, in matrices.
    pub(super) a: Vec<isize>,
    pub(super) b: Vec<isize>,
    pub(super) out: Vec<u64>,
}

impl Shapes {
    pub(super) fn new(call: &NodeCall<'_>, a: &[u64], b: &[u64]) -> Result<Self, EngineError> {
        let wrong = || call.invalid(format_args!("{a:?} and {b:?} do not multiply"));
        let ([.., ak], [b_lead @ .., last]) = (a, b) else { return Err(wrong()) };
        let (m, a_stack) = match a {
            [stack @ .., m, _] => (Some(*m), stack),
            _ => (None, &[][..]),
        };
        let (bk, n, b_stack) = match b_lead {
            [stack @ .., k] => (*k, Some(*last), stack),
            [] => (*last, None, &[][..]),
        };
        if *ak != bk {
            return Err(wrong());
        }
        let stack = call.broadcast_dims(&[a_stack, b_stack])?;
        let strides = |own: &[u64]| broadcast_strides(own, &stack).ok_or_else(wrong);
        let out = stack.iter().copied().chain(m).chain(n).collect();
        let size = |d: Option<u64>| usize::try_from(d.unwrap_or(1)).map_err(|_| wrong());
        Ok(Self {
            m: size(m)?,
            k: size(Some(bk))?,
            n: size(n)?,
            a: strides(a_stack)?,
            b: strides(b_stack)?,
            stack,
            out,
        })
    }

    /// Multiplies; the size of the output has been checked.
    fn multiply<T: Ring>(&self, a: &[T], b: &[T]) -> Vec<T> {
        let size = self.m.saturating_mul(self.n);
        let mut out = vec![T::ZERO; count(&self.out).unwrap_or(0)];
        let starts = Offsets::new(&self.stack, &self.a, 0).zip(Offsets::new(&self.stack, &self.b, 0));
        for (to, (i, j)) in out.chunks_mut(size.max(1)).zip(starts) {
            let (a, b) = (&a[i * self.m * self.k..], &b[j * self.k * self.n..]);
            product(&a[..self.m * self.k], &b[..self.k * self.n], to, self.n);
        }
        out
    }
}

/// Adds the product of two row-major matrices to `out`, whose rows have `n` elements.
pub(super) fn product<T: Ring>(a: &[T], b: &[T], out: &mut [T], n: usize) {
    let rows = out.len().checked_div(n).unwrap_or(0);
    let k = a.len().checked_div(rows).unwrap_or(0);
    if k == 0 {
        return;
    }
    for (row, to) in a.chunks(k).zip(out.chunks_mut(n)) {
        row.iter().zip(b.chunks(n)).for_each(|(&w, from)| add_row(to, from, w));
    }
}

fn matmul(call: &NodeCall<'_>) -> Outputs {
    let (a, b) = (call.need(0)?, call.need(1)?);
    let dtype = call.same_type(a, b)?;
    let shapes = Shapes::new(call, a.dims(), b.dims())?;
    call.sized(dtype, &shapes.out)?;
    if is_real(dtype) {
        let out = shapes.multiply(&call.reals(a)?, &call.reals(b)?);
        return Ok(vec![call.real_tensor(dtype, &shapes.out, &out)?]);
    }
    let out = shapes.multiply(&call.wrapped(a)?, &call.wrapped(b)?);
    Ok(vec![call.whole_tensor(dtype, &shapes.out, out.into_iter().map(i128::from))?])
}

/// A matrix, and its dims, transposed if told.
pub(super) fn turned<T: Copy>(
    call: &NodeCall<'_>,
    items: Vec<T>,
    dims: &[u64],
    turn: bool,
) -> Result<(Vec<T>, [u64; 2]), EngineError> {
    let &[rows, columns] = dims else {
        return Err(call.invalid(format_args!("{dims:?} is not a matrix")));
    };
    if !turn || items.is_empty() {
        return Ok((items, if turn { [columns, rows] } else { [rows, columns] }));
    }
    let (r, c) = (rows as usize, columns as usize);
    let turned = (0..c).flat_map(|j| (0..r).map(move |i| i * c + j)).filter_map(|at| items.get(at).copied());
    Ok((turned.collect(), [columns, rows]))
}

fn gemm(call: &NodeCall<'_>) -> Outputs {
    let (a, b) = (call.need(0)?, call.need(1)?);
    let dtype = call.same_type(a, b)?;
    if is_real(dtype) {
        let (out, dims) = gemm_of(call, dtype, |t| call.reals(t), f64::from)?;
        return Ok(vec![call.real_tensor(dtype, &dims, &out)?]);
    }
    for name in ["alpha", "beta"] {
        let x = call.float_or(name, 1.0)?;
        if x.fract() != 0.0 || x.abs() >= 1e9 {
            return Err(call.unsupported(format_args!("{name} {x} on integers")));
        }
    }
    let (out, dims) = gemm_of(call, dtype, |t| call.wrapped(t), |x| x as i64)?;
    Ok(vec![call.whole_tensor(dtype, &dims, out.into_iter().map(i128::from))?])
}

fn gemm_of<T: Ring>(
    call: &NodeCall<'_>,
    dtype: DType,
    read: impl Fn(&TensorData) -> Result<Vec<T>, EngineError>,
    number: fn(f32) -> T,
) -> Result<(Vec<T>, [u64; 2]), EngineError> {
    let (a, b) = (call.need(0)?, call.need(1)?);
    let (x, [m, k]) = turned(call, read(a)?, a.dims(), call.flag("transA", false)?)?;
    let (y, [k2, n]) = turned(call, read(b)?, b.dims(), call.flag("transB", false)?)?;
    if k != k2 {
        return Err(call.invalid(format_args!("{:?} and {:?} do not multiply", a.dims(), b.dims())));
    }
    let mut out = vec![T::ZERO; call.sized(dtype, &[m, n])?];
    product(&x, &y, &mut out, n as usize);
    let alpha = number(call.float_or("alpha", 1.0)?);
    for v in &mut out {
        *v = v.times(alpha);
    }
    if let Some(c) = call.input(2) {
        if call.broadcast_dims(&[&[m, n], c.dims()])? != [m, n] {
            return Err(call.invalid(format_args!("C {:?} does not broadcast to [{m}, {n}]", c.dims())));
        }
        let beta = number(call.float_or("beta", 1.0)?);
        add_row(&mut out, &spread(read(c)?, c.dims(), &[m, n]), beta);
    }
    Ok((out, [m, n]))
}

/// A parameter of a quantized matrix, one for all or one a row (of the first operand) or column, over its dims.
fn parameter<T: Clone>(
    call: &NodeCall<'_>,
    items: Vec<T>,
    own: &[u64],
    dims: &[u64],
    rows: bool,
) -> Result<Vec<T>, EngineError> {
    let column = [own.first().copied().unwrap_or(1), 1];
    let own = match own {
        [1] => &[][..],
        [_] if rows && dims.len() > 1 => &column[..],
        own => own,
    };
    if call.broadcast_dims(&[dims, own])? != dims {
        return Err(call.invalid(format_args!("a parameter {own:?} does not fit {dims:?}")));
    }
    Ok(spread(items, own, dims))
}

/// The elements of a quantized operand, less its zero point.
fn centered(call: &NodeCall<'_>, slot: usize, zero: usize, rows: bool) -> Result<Vec<i64>, EngineError> {
    let x = call.need(slot)?;
    if !matches!(x.dtype(), DType::Int8 | DType::Uint8) {
        return Err(call.no_type(x.dtype()));
    }
    let mut items = call.wrapped(x)?;
    if let Some(zero) = call.input(zero) {
        call.same_type(x, zero)?;
        let zeros = parameter(call, call.wrapped(zero)?, zero.dims(), x.dims(), rows)?;
        items.iter_mut().zip(zeros).for_each(|(v, z)| *v -= z);
    }
    Ok(items)
}

fn matmul_integer(call: &NodeCall<'_>) -> Outputs {
    let shapes = Shapes::new(call, call.need(0)?.dims(), call.need(1)?.dims())?;
    call.sized(DType::Int32, &shapes.out)?;
    let out = shapes.multiply(&centered(call, 0, 2, true)?, &centered(call, 1, 3, false)?);
    Ok(vec![call.whole_tensor(DType::Int32, &shapes.out, out.into_iter().map(i128::from))?])
}

fn qlinear_matmul(call: &NodeCall<'_>) -> Outputs {
    let (a, b, zero) = (call.need(0)?, call.need(3)?, call.need(7)?);
    let shapes = Shapes::new(call, a.dims(), b.dims())?;
    call.sized(zero.dtype(), &shapes.out)?;
    let sums = shapes.multiply(&centered(call, 0, 2, true)?, &centered(call, 3, 5, false)?);
    let scale = |slot: usize, rows| {
        let (items, own) = call.real_input(slot)?;
        parameter(call, items, own, &shapes.out, rows)
    };
    let (sa, sb, sy) = (scale(1, true)?, scale(4, false)?, scale(6, true)?);
    let zeros = parameter(call, call.wholes(zero)?, zero.dims(), &shapes.out, true)?;
    let scales = sa.iter().zip(&sb).zip(&sy).map(|((a, b), y)| a * b / y);
    let items =
        sums.iter().zip(scales).zip(zeros).map(|((&s, f), z)| requantized(s as f64 * f, z, zero.dtype()));
    Ok(vec![call.whole_tensor(zero.dtype(), &shapes.out, items)?])
}

/// Rounds half to even, adds the zero point, and saturates.
pub(super) fn requantized(x: f64, zero: i128, dtype: DType) -> i128 {
    let (low, high) = bounds(dtype);
    (x.round_ties_even() as i128).saturating_add(zero).clamp(low, high)
}

fn det(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let (stack, size) = match x.dims() {
        [stack @ .., a, b] if a == b => (stack, *a as usize),
        dims => return Err(call.invalid(format_args!("{dims:?} has no square matrices"))),
    };
    let len = call.sized(x.dtype(), stack)?;
    let Numbers::Real(items) = call.numbers(x)? else { return Err(call.no_type(x.dtype())) };
    let mut out = vec![1.0; len];
    for (to, matrix) in out.iter_mut().zip(items.chunks(size.saturating_mul(size).max(1))) {
        *to = determinant(matrix.to_vec(), size);
    }
    Ok(vec![call.real_tensor(x.dtype(), stack, &out)?])
}

/// By elimination with partial pivoting.
fn determinant(mut a: Vec<f64>, n: usize) -> f64 {
    let mut det = 1.0;
    for k in 0..n {
        let pivot =
            (k..n).fold(k, |best, r| if a[r * n + k].abs() > a[best * n + k].abs() { r } else { best });
        if a[pivot * n + k] == 0.0 {
            return 0.0;
        }
        if pivot != k {
            (0..n).for_each(|c| a.swap(pivot * n + c, k * n + c));
            det = -det;
        }
        det *= a[k * n + k];
        for r in k + 1..n {
            let factor = a[r * n + k] / a[k * n + k];
            (k..n).for_each(|c| a[r * n + c] -= factor * a[k * n + c]);
        }
    }
    det
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, refused};
    use super::*;

    #[test]
    fn matrices_of_all_ranks() {
        let a = f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let b = f32s(&[3, 1], &[1.0, 0.0, -1.0]);
        let v = f32s(&[3], &[1.0, 0.0, -1.0]);
        check("MatMul", &[], &[a.clone(), b.clone()], &[2, 1], &[-2.0, -2.0]);
        check("MatMul", &[], &[a.clone(), v.clone()], &[2], &[-2.0, -2.0]);
        check("MatMul", &[], &[v.clone(), b], &[1], &[2.0]);
        check("MatMul", &[], &[v.clone(), v.clone()], &[], &[2.0]);
        let stack = f32s(&[2, 1, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
        let want = [9.0, 12.0, 15.0, 19.0, 26.0, 33.0];
        check("MatMul", &[], &[stack, a.clone()], &[2, 1, 1, 3], &want);
        check("MatMul", &[], &[i64s(&[1, 2], &[i64::MAX, 1]), i64s(&[2], &[2, 3])], &[1], &[1.0]);
        check("MatMul", &[], &[f32s(&[2, 0], &[]), f32s(&[0, 1], &[])], &[2, 1], &[0.0, 0.0]);
        refused("MatMul", &[], &[a.clone(), a]);
        refused("MatMul", &[], &[f32s(&[], &[1.0]), v]);
    }

    #[test]
    fn gemm_scales_turns_and_adds() {
        let a = || f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let attrs = [("transB", 1.into()), ("alpha", 0.5f32.into()), ("beta", 2f32.into())];
        check("Gemm", &attrs, &[a(), a(), f32s(&[2], &[1.0, -1.0])], &[2, 2], &[9.0, 14.0, 18.0, 36.5]);
        let turn = [("transA", 1.into())];
        let want = [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0];
        check("Gemm", &turn, &[a(), a()], &[3, 3], &want);
        refused("Gemm", &[], &[a(), a()]);
        refused("Gemm", &turn, &[a(), a(), f32s(&[2, 2], &[0.0; 4])]);
    }

    #[test]
    fn quantized() {
        let a = Some(TensorData::from_slice(&[2, 2], &[11u8, 7, 3, 10]).unwrap());
        let b = Some(TensorData::from_slice(&[2, 1], &[1i8, -2]).unwrap());
        let zeros = Some(TensorData::vector(&[1u8, 2]));
        check("MatMulInteger", &[], &[a.clone(), b.clone(), zeros.clone()], &[2, 1], &[-2.0, -15.0]);
        let (s, z) = (|x| f32s(&[], &[x]), |x: u8| Some(TensorData::scalar(x)));
        let zb = Some(TensorData::scalar(0i8));
        let inputs = [a, s(0.5), zeros, b, s(1.0), zb, s(2.0), z(2)];
        // -2 / 4 rounds to 0, not to -1; -15 / 4 falls below the range.
        check("QLinearMatMul", &[], &inputs, &[2, 1], &[2.0, 0.0]);
    }

    #[test]
    fn determinants() {
        let x = f32s(&[2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 1.0, 0.0]);
        check("Det", &[], &[x], &[2], &[-2.0, -1.0]);
        check("Det", &[], &[f32s(&[2, 2], &[1.0, 2.0, 2.0, 4.0])], &[], &[0.0]);
        refused("Det", &[], &[f32s(&[1, 2], &[1.0, 2.0])]);
    }
}
