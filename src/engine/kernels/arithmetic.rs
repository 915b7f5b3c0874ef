//! Arithmetic on two tensors, element by element, with broadcasting.

use super::Kernel;
use super::numbers::{Numbers, bounds, zip};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("Add", |c| both(c, |a, b| a + b, |a, b| Some(a.wrapping_add(b)))),
    ("BitShift", bit_shift),
    ("BitwiseAnd", |c| whole(c, |a, b| Some(a & b))),
    ("BitwiseNot", bitwise_not),
    ("BitwiseOr", |c| whole(c, |a, b| Some(a | b))),
    ("BitwiseXor", |c| whole(c, |a, b| Some(a ^ b))),
    ("Div", |c| both(c, |a, b| a / b, i128::checked_div)),
    ("Mod", modulo),
    ("Mul", |c| both(c, |a, b| a * b, |a, b| Some(a.wrapping_mul(b)))),
    ("PRelu", prelu),
    ("Pow", pow),
    ("Sub", |c| both(c, |a, b| a - b, |a, b| Some(a.wrapping_sub(b)))),
    ("SwiGLU", swiglu),
];

/// An operator on numbers of any one type. `None` from the integer side is a division by zero.
fn both(call: &NodeCall<'_>, real: fn(f64, f64) -> f64, int: fn(i128, i128) -> Option<i128>) -> Outputs {
    let (a, b) = (call.need(0)?, call.need(1)?);
    let dtype = call.same_type(a, b)?;
    let dims = call.broadcast_dims(&[a.dims(), b.dims()])?;
    call.sized(dtype, &dims)?;
    let out = match (call.numbers(a)?, call.numbers(b)?) {
        (Numbers::Real(x), Numbers::Real(y)) => {
            Numbers::Real(zip((&x, a.dims()), (&y, b.dims()), &dims, real))
        }
        (Numbers::Whole(x), Numbers::Whole(y)) => {
            let items = zip((&x, a.dims()), (&y, b.dims()), &dims, int);
            Numbers::Whole(items.into_iter().collect::<Option<_>>().ok_or_else(|| by_zero(call))?)
        }
        _ => return Err(call.no_type(dtype)),
    };
    Ok(vec![call.number_tensor(dtype, &dims, out)?])
}

fn by_zero(call: &NodeCall<'_>) -> EngineError {
    call.invalid("an integer is divided by zero, or zero raised to a negative power")
}

fn whole(call: &NodeCall<'_>, f: fn(i128, i128) -> Option<i128>) -> Outputs {
    let dtype = call.need(0)?.dtype();
    if super::numbers::is_real(dtype) {
        return Err(call.no_type(dtype));
    }
    both(call, |a, _| a, f)
}

fn bitwise_not(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    call.sized(x.dtype(), x.dims())?;
    Ok(vec![call.whole_tensor(x.dtype(), x.dims(), call.wholes(x)?.into_iter().map(|v| !v))?])
}

fn bit_shift(call: &NodeCall<'_>) -> Outputs {
    let (x, y) = (call.need(0)?, call.need(1)?);
    let dtype = call.same_type(x, y)?;
    let right = match call.str_or("direction", "")?.as_str() {
        "RIGHT" => true,
        "LEFT" => false,
        other => return Err(call.invalid(format_args!("direction `{other}` is neither LEFT nor RIGHT"))),
    };
    let dims = call.broadcast_dims(&[x.dims(), y.dims()])?;
    call.sized(dtype, &dims)?;
    let bits = i128::from(dtype.bits());
    let shift = |x: i128, y: i128| match (right, (0..bits).contains(&y)) {
        (true, true) => x >> y,
        (true, false) => -i128::from(x < 0),
        (false, true) => x << y,
        (false, false) => 0,
    };
    let (a, b) = (call.wholes(x)?, call.wholes(y)?);
    let items = zip((&a, x.dims()), (&b, y.dims()), &dims, shift);
    Ok(vec![call.whole_tensor(dtype, &dims, items)?])
}

fn modulo(call: &NodeCall<'_>) -> Outputs {
    match call.int_or("fmod", 0)? {
        0 => both(call, floor_mod, |a, b| {
            let r = a.checked_rem(b)?;
            Some(if r != 0 && (r < 0) != (b < 0) { r + b } else { r })
        }),
        1 => both(call, libm::fmod, i128::checked_rem),
        other => Err(call.invalid(format_args!("fmod is {other}, neither 0 nor 1"))),
    }
}

/// The remainder with the sign of the divisor.
fn floor_mod(a: f64, b: f64) -> f64 {
    let r = libm::fmod(a, b);
    match r {
        _ if r == 0.0 => r.abs().copysign(b),
        _ if (r < 0.0) != (b < 0.0) => r + b,
        _ => r,
    }
}

fn pow(call: &NodeCall<'_>) -> Outputs {
    let (x, y) = (call.need(0)?, call.need(1)?);
    let dims = call.broadcast_dims(&[x.dims(), y.dims()])?;
    call.sized(x.dtype(), &dims)?;
    let as_real = |v: &[i128]| v.iter().map(|&i| i as f64).collect::<Vec<_>>();
    let out = match (call.numbers(x)?, call.numbers(y)?) {
        (Numbers::Whole(a), Numbers::Whole(b)) => {
            let items = zip((&a, x.dims()), (&b, y.dims()), &dims, whole_pow);
            Numbers::Whole(items.into_iter().collect::<Option<_>>().ok_or_else(|| by_zero(call))?)
        }
        (Numbers::Whole(a), Numbers::Real(b)) => {
            let items = zip((&as_real(&a), x.dims()), (&b, y.dims()), &dims, libm::pow);
            Numbers::Whole(truncated(call, x.dtype(), &items)?)
        }
        (Numbers::Real(a), Numbers::Whole(b)) => {
            Numbers::Real(zip((&a, x.dims()), (&as_real(&b), y.dims()), &dims, libm::pow))
        }
        (Numbers::Real(a), Numbers::Real(b)) => {
            Numbers::Real(zip((&a, x.dims()), (&b, y.dims()), &dims, libm::pow))
        }
    };
    Ok(vec![call.number_tensor(x.dtype(), &dims, out)?])
}

/// A power that wraps; `None` for a negative power of zero. Any other negative power truncates to 0 or is of ±1.
fn whole_pow(base: i128, exponent: i128) -> Option<i128> {
    if exponent < 0 {
        return match base {
            0 => None,
            1 => Some(1),
            -1 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
            _ => Some(0),
        };
    }
    let (mut result, mut square, mut left) = (1i128, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    Some(result)
}

/// Numbers cut to integers; an error where the type has no such integer, which the standard leaves undefined.
pub(super) fn truncated(call: &NodeCall<'_>, dtype: DType, items: &[f64]) -> Result<Vec<i128>, EngineError> {
    let (low, high) = bounds(dtype);
    let one = |&x: &f64| {
        let cut = x.trunc();
        let fits = !cut.is_nan() && cut.abs() < 1e30 && (low..=high).contains(&(cut as i128));
        fits.then_some(cut as i128).ok_or_else(|| call.invalid(format_args!("{dtype} cannot hold {x}")))
    };
    items.iter().map(one).collect()
}

fn prelu(call: &NodeCall<'_>) -> Outputs {
    let (x, slope) = (call.need(0)?, call.need(1)?);
    if call.broadcast_dims(&[x.dims(), slope.dims()])? != x.dims() {
        return Err(call.invalid(format_args!(
            "slope {:?} does not broadcast to {:?}",
            slope.dims(),
            x.dims()
        )));
    }
    let whole = |a: i128, s: i128| Some(if a < 0 { a.wrapping_mul(s) } else { a });
    both(call, |a, s| if a < 0.0 { a * s } else { a }, whole)
}

fn swiglu(call: &NodeCall<'_>) -> Outputs {
    let ((a, a_dims), (b, b_dims)) = (call.real_input(0)?, call.real_input(1)?);
    let dtype = call.same_type(call.need(0)?, call.need(1)?)?;
    if a_dims != b_dims {
        return Err(call.invalid(format_args!("inputs {a_dims:?} and {b_dims:?} differ in shape")));
    }
    let alpha = f64::from(call.float_or("alpha", 1.0)?);
    let items = zip((&a, a_dims), (&b, b_dims), a_dims, |x, y| x * super::unary::sigmoid(alpha * x) * y);
    Ok(vec![call.real_tensor(dtype, a_dims, &items)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, first, i64s, refused, run};
    use super::*;
    use crate::ir::AttrValue;

    #[test]
    fn floats_broadcast() {
        let (a, b) = (f32s(&[2, 1], &[6.0, -7.0]), f32s(&[3], &[1.0, 2.0, -4.0]));
        for (op, want) in [
            ("Add", [7.0, 8.0, 2.0, -6.0, -5.0, -11.0]),
            ("Sub", [5.0, 4.0, 10.0, -8.0, -9.0, -3.0]),
            ("Mul", [6.0, 12.0, -24.0, -7.0, -14.0, 28.0]),
            ("Div", [6.0, 3.0, -1.5, -7.0, -3.5, 1.75]),
            ("Pow", [6.0, 36.0, 1.0 / 1296.0, -7.0, 49.0, 1.0 / 2401.0]),
            ("Mod", [0.0, 0.0, -2.0, 0.0, 1.0, -3.0]),
            ("PRelu", [6.0, 6.0, 6.0, -7.0, -14.0, 28.0]),
        ] {
            let a = if op == "PRelu" { f32s(&[2, 3], &[6.0, 6.0, 6.0, -7.0, -7.0, -7.0]) } else { a.clone() };
            check(op, &[], &[a, b.clone()], &[2, 3], &want);
        }
        check(
            "Mod",
            &[("fmod", 1.into())],
            &[f32s(&[2], &[-7.5, 7.5]), f32s(&[1], &[2.0])],
            &[2],
            &[-1.5, 1.5],
        );
        let negative_zero = first("Mod", &[], &[f32s(&[], &[0.0]), f32s(&[], &[-3.0])]).1;
        assert!(negative_zero[0].is_sign_negative());
        check("SwiGLU", &[], &[f32s(&[1], &[1.0]), f32s(&[1], &[2.0])], &[1], &[1.462_117_157]);
    }

    #[test]
    fn integers_wrap_and_truncate() {
        let (a, b) = (i64s(&[3], &[-7, 7, i64::MIN]), i64s(&[3], &[2, -2, -1]));
        for (op, want) in [
            ("Add", [-5, 5, i64::MAX]),
            ("Div", [-3, -3, i64::MIN]),
            ("Mod", [1, -1, 0]),
            ("Pow", [49, 0, 0]),
            ("BitwiseAnd", [0, 6, i64::MIN]),
            ("BitwiseOr", [-5, -1, -1]),
            ("BitwiseXor", [-5, -7, i64::MAX]),
        ] {
            let got = run(op, &[], &[a.clone(), b.clone()], 1).unwrap();
            assert_eq!(got[0].to_vec::<i64>().unwrap(), want, "{op}");
        }
        check("Mod", &[("fmod", 1.into())], &[a, b], &[3], &[-1.0, 1.0, 0.0]);
        let byte = |v: u8| Some(TensorData::vector(&[v]));
        check("Add", &[], &[byte(250), byte(10)], &[1], &[4.0]);
        check("BitwiseNot", &[], &[byte(0x0f)], &[1], &[240.0]);
        check("Pow", &[], &[i64s(&[2], &[2, 9]), f32s(&[2], &[3.0, 0.5])], &[2], &[8.0, 3.0]);
        for op in ["Div", "Mod"] {
            refused(op, &[], &[i64s(&[1], &[1]), i64s(&[1], &[0])]);
        }
        refused("Pow", &[], &[i64s(&[1], &[0]), i64s(&[1], &[-1])]);
        refused("Add", &[], &[i64s(&[2], &[1, 2]), i64s(&[3], &[1, 2, 3])]);
    }

    #[test]
    fn shifts_saturate_at_the_width() {
        let x = Some(TensorData::vector(&[-9i8, -9, 9, 9, 65]));
        let y = Some(TensorData::vector(&[1i8, 8, -1, 3, 1]));
        let direction = |d: &str| [("direction", AttrValue::from(d))];
        check("BitShift", &direction("RIGHT"), &[x.clone(), y.clone()], &[5], &[-5.0, -1.0, 0.0, 1.0, 32.0]);
        check(
            "BitShift",
            &direction("LEFT"),
            &[x.clone(), y.clone()],
            &[5],
            &[-18.0, 0.0, 0.0, 72.0, -126.0],
        );
        refused("BitShift", &direction("UP"), &[x, y]);
    }

    #[test]
    fn sizes_are_checked_before_anything_is_made() {
        let wide = |dims: &[u64]| Some(TensorData::from_slice(dims, &vec![1f32; 4096]).unwrap());
        let answer = run("Add", &[], &[wide(&[4096, 1]), wide(&[1, 4096])], 1);
        assert!(matches!(answer, Err(EngineError::TooLarge { .. })), "{answer:?}");
    }
}
