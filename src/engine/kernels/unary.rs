//! Functions of one element.

use super::Kernel;
use super::numbers::{Numbers, is_real};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("Abs", |c| numeric(c, f64::abs, i128::abs)),
    ("Acos", |c| real(c, libm::acos)),
    // The formula of libm makes a number of what is far below its domain.
    ("Acosh", |c| real(c, |x| if x < 1.0 { f64::NAN } else { libm::acosh(x) })),
    ("Asin", |c| real(c, libm::asin)),
    ("Asinh", |c| real(c, libm::asinh)),
    ("Atan", |c| real(c, libm::atan)),
    ("Atanh", |c| real(c, libm::atanh)),
    ("Ceil", |c| real(c, f64::ceil)),
    ("Clip", clip),
    ("Cos", |c| real(c, libm::cos)),
    ("Cosh", |c| real(c, libm::cosh)),
    ("Dropout", dropout),
    ("Erf", |c| real(c, libm::erf)),
    ("Exp", |c| real(c, libm::exp)),
    ("Floor", |c| real(c, f64::floor)),
    ("IsInf", is_inf),
    ("IsNaN", is_nan),
    ("Log", |c| real(c, libm::log)),
    ("Neg", |c| numeric(c, |x| -x, |x| -x)),
    ("Reciprocal", |c| real(c, |x| 1.0 / x)),
    ("Round", |c| real(c, f64::round_ties_even)),
    ("Sign", |c| numeric(c, sign, i128::signum)),
    ("Sin", |c| real(c, libm::sin)),
    ("Sinh", |c| real(c, libm::sinh)),
    ("Sqrt", |c| real(c, f64::sqrt)),
    ("Tan", |c| real(c, libm::tan)),
    ("Tanh", |c| real(c, libm::tanh)),
];

/// A function of floating-point elements.
pub(super) fn real(call: &NodeCall<'_>, f: impl Fn(f64) -> f64) -> Outputs {
    let x = call.need(0)?;
    call.sized(x.dtype(), x.dims())?;
    let items: Vec<f64> = call.reals(x)?.into_iter().map(f).collect();
    Ok(vec![call.real_tensor(x.dtype(), x.dims(), &items)?])
}

/// A function of elements of any numeric type.
pub(super) fn numeric(
    call: &NodeCall<'_>,
    real: impl Fn(f64) -> f64,
    whole: impl Fn(i128) -> i128,
) -> Outputs {
    let x = call.need(0)?;
    call.sized(x.dtype(), x.dims())?;
    let items = match call.numbers(x)? {
        Numbers::Real(items) => Numbers::Real(items.into_iter().map(real).collect()),
        Numbers::Whole(items) => Numbers::Whole(items.into_iter().map(whole).collect()),
    };
    Ok(vec![call.number_tensor(x.dtype(), x.dims(), items)?])
}

/// `1 / (1 + exp(-x))`.
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn sign(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

fn clip(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    call.sized(x.dtype(), x.dims())?;
    for slot in 1..3 {
        if let Some(bound) = call.input(slot) {
            call.same_type(x, bound)?;
            call.scalar(slot)?;
        }
    }
    let items = match call.numbers(x)? {
        Numbers::Real(mut items) => {
            if let Some(low) = call.scalar(1)? {
                items.iter_mut().filter(|v| **v < low).for_each(|v| *v = low);
            }
            if let Some(high) = call.scalar(2)? {
                items.iter_mut().filter(|v| **v > high).for_each(|v| *v = high);
            }
            Numbers::Real(items)
        }
        Numbers::Whole(mut items) => {
            let bound = |slot| call.input(slot).map(|t| call.wholes(t)).transpose();
            if let Some(&[low]) = bound(1)?.as_deref() {
                for v in &mut items {
                    *v = (*v).max(low);
                }
            }
            if let Some(&[high]) = bound(2)?.as_deref() {
                for v in &mut items {
                    *v = (*v).min(high);
                }
            }
            Numbers::Whole(items)
        }
    };
    Ok(vec![call.number_tensor(x.dtype(), x.dims(), items)?])
}

/// Inference only, and training that drops nothing: what is dropped otherwise is random.
fn dropout(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let training = match call.input(2) {
        Some(mode) => call.bools(mode)?.first().copied().unwrap_or(false),
        None => false,
    };
    let ratio = call.scalar(1)?.unwrap_or(0.5);
    if training && ratio != 0.0 {
        return Err(call.unsupported("training mode, which is random"));
    }
    let len = call.sized(x.dtype(), x.dims())?;
    let same = x.with_dims(x.dims()).ok_or_else(|| call.invalid("its dims overflow"))?;
    let mut outputs = vec![same];
    if call.outputs.get(1) == Some(&true) {
        outputs.push(call.bool_tensor(x.dims(), &vec![true; len])?);
    }
    Ok(outputs)
}

fn is_inf(call: &NodeCall<'_>) -> Outputs {
    let (negative, positive) = (call.flag("detect_negative", true)?, call.flag("detect_positive", true)?);
    test(call, |x| x.is_infinite() && if x < 0.0 { negative } else { positive })
}

fn is_nan(call: &NodeCall<'_>) -> Outputs {
    test(call, f64::is_nan)
}

fn test(call: &NodeCall<'_>, f: impl Fn(f64) -> bool) -> Outputs {
    let x = call.need(0)?;
    call.sized(DType::Bool, x.dims())?;
    let items: Vec<bool> = match x.bytes() {
        Some(bytes) if !is_real(x.dtype()) => {
            let kind = |&b: &u8| special(x.dtype(), b).map(&f);
            bytes.iter().map(kind).collect::<Option<_>>().ok_or_else(|| call.no_type(x.dtype()))?
        }
        _ => call.reals(x)?.into_iter().map(f).collect(),
    };
    Ok(vec![call.bool_tensor(x.dims(), &items)?])
}

/// NaN or an infinity where an 8-bit float is one, else 0; `None` for another type.
fn special(dtype: DType, byte: u8) -> Option<f64> {
    let low = byte & 0x7f;
    let infinity = if byte >= 0x80 { f64::NEG_INFINITY } else { f64::INFINITY };
    Some(match dtype {
        DType::Float8e4m3fn if low == 0x7f => f64::NAN,
        DType::Float8e4m3fnuz | DType::Float8e5m2fnuz if byte == 0x80 => f64::NAN,
        DType::Float8e5m2 if low == 0x7c => infinity,
        DType::Float8e5m2 if low > 0x7c => f64::NAN,
        DType::Float8e4m3fn | DType::Float8e4m3fnuz | DType::Float8e5m2fnuz | DType::Float8e5m2 => 0.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, refused, run};
    use super::*;

    #[test]
    fn functions_of_one_element() {
        for (op, x, want) in [
            ("Abs", -1.5, 1.5),
            ("Acos", 0.5, std::f64::consts::FRAC_PI_3),
            ("Acosh", 2.0, 1.316_957_897),
            ("Asin", 0.5, std::f64::consts::FRAC_PI_6),
            ("Asinh", 1.0, 0.881_373_587),
            ("Atan", 1.0, std::f64::consts::FRAC_PI_4),
            ("Atanh", 0.5, 0.549_306_144),
            ("Ceil", -1.5, -1.0),
            ("Cos", 1.0, 0.540_302_306),
            ("Cosh", 1.0, 1.543_080_635),
            ("Erf", 0.5, 0.520_499_878),
            ("Exp", 1.0, std::f64::consts::E),
            ("Floor", -1.5, -2.0),
            ("Log", 2.0, std::f64::consts::LN_2),
            ("Neg", 2.5, -2.5),
            ("Reciprocal", 4.0, 0.25),
            ("Round", 2.5, 2.0),
            ("Round", -1.5, -2.0),
            ("Sign", -3.0, -1.0),
            ("Sign", 0.0, 0.0),
            ("Sin", 1.0, 0.841_470_985),
            ("Sinh", 1.0, 1.175_201_194),
            ("Sqrt", 2.0, std::f64::consts::SQRT_2),
            ("Tan", 1.0, 1.557_407_725),
            ("Tanh", 0.5, 0.462_117_157),
        ] {
            check(op, &[], &[f32s(&[1], &[x])], &[1], &[want]);
        }
        check("Acosh", &[], &[f32s(&[3], &[-1e9, -65504.0, 0.5])], &[3], &[f64::NAN; 3]);
        check("Abs", &[], &[i64s(&[1], &[i64::MIN])], &[1], &[i64::MIN as f64]);
        check("Neg", &[], &[i64s(&[2], &[3, -4])], &[2], &[-3.0, 4.0]);
    }

    #[test]
    fn clips_with_either_bound() {
        let x = || f32s(&[4], &[-2.0, 0.5, 3.0, f32::NAN]);
        check("Clip", &[], &[x(), f32s(&[], &[0.0]), f32s(&[], &[1.0])], &[4], &[0.0, 0.5, 1.0, f64::NAN]);
        check("Clip", &[], &[x(), None, f32s(&[], &[1.0])], &[4], &[-2.0, 0.5, 1.0, f64::NAN]);
        check("Clip", &[], &[x(), f32s(&[], &[2.0]), f32s(&[], &[1.0])], &[4], &[1.0, 1.0, 1.0, f64::NAN]);
        check("Clip", &[], &[i64s(&[2], &[5, -5]), i64s(&[], &[0])], &[2], &[5.0, 0.0]);
        refused("Clip", &[], &[x(), f32s(&[2], &[0.0, 1.0])]);
    }

    #[test]
    fn tells_what_is_not_a_number() {
        let x = || f32s(&[4], &[f32::NEG_INFINITY, f32::INFINITY, f32::NAN, 1.0]);
        check("IsInf", &[], &[x()], &[4], &[1.0, 1.0, 0.0, 0.0]);
        check("IsInf", &[("detect_negative", 0.into())], &[x()], &[4], &[0.0, 1.0, 0.0, 0.0]);
        check("IsInf", &[("detect_positive", 0.into())], &[x()], &[4], &[1.0, 0.0, 0.0, 0.0]);
        check("IsNaN", &[], &[x()], &[4], &[0.0, 0.0, 1.0, 0.0]);
        let small = Some(TensorData::new(DType::Float8e5m2, &[3], vec![0x7c, 0xfd, 0x3c]).unwrap());
        check("IsInf", &[], std::slice::from_ref(&small), &[3], &[1.0, 0.0, 0.0]);
        check("IsNaN", &[], &[small], &[3], &[0.0, 1.0, 0.0]);
    }

    #[test]
    fn dropout_is_the_identity_in_inference() {
        let x = || f32s(&[2], &[1.0, 2.0]);
        let outputs = run("Dropout", &[], &[x()], 2).unwrap();
        assert_eq!(outputs[0].to_vec::<f32>().unwrap(), [1.0, 2.0]);
        assert_eq!(outputs[1].to_vec::<bool>().unwrap(), [true, true]);
        let training = Some(TensorData::scalar(true));
        let answer = run("Dropout", &[], &[x(), None, training.clone()], 1);
        assert!(matches!(answer, Err(EngineError::Unsupported { .. })));
        check("Dropout", &[], &[x(), f32s(&[], &[0.0]), training], &[2], &[1.0, 2.0]);
    }
}
