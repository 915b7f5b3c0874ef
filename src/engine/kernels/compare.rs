//! Comparisons, logic, and what takes any number of tensors: Max, Mean, Min, Sum.

use std::cmp::Ordering;

use super::Kernel;
use super::numbers::{Numbers, spread, zip};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("And", |c| logic(c, |a, b| a && b)),
    ("Equal", equal),
    ("Greater", |c| compare(c, Ordering::is_gt)),
    ("GreaterOrEqual", |c| compare(c, Ordering::is_ge)),
    ("Less", |c| compare(c, Ordering::is_lt)),
    ("LessOrEqual", |c| compare(c, Ordering::is_le)),
    ("Max", |c| fold(c, |a, b| pick(a, b, a > b), i128::max)),
    ("Mean", mean),
    ("Min", |c| fold(c, |a, b| pick(a, b, a < b), i128::min)),
    ("Not", not),
    ("Or", |c| logic(c, |a, b| a || b)),
    ("Sum", |c| fold(c, |a, b| a + b, i128::wrapping_add)),
    ("Xor", |c| logic(c, |a, b| a != b)),
];

/// The first number where told, else the second; NaN where either is.
fn pick(a: f64, b: f64, first: bool) -> f64 {
    if first || a.is_nan() { a } else { b }
}

fn logic(call: &NodeCall<'_>, f: fn(bool, bool) -> bool) -> Outputs {
    let (a, b) = (call.need(0)?, call.need(1)?);
    let dims = call.broadcast_dims(&[a.dims(), b.dims()])?;
    call.sized(DType::Bool, &dims)?;
    let (x, y) = (call.bools(a)?, call.bools(b)?);
    Ok(vec![call.bool_tensor(&dims, &zip((&x, a.dims()), (&y, b.dims()), &dims, f))?])
}

fn not(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let items: Vec<bool> = call.bools(x)?.into_iter().map(|b| !b).collect();
    Ok(vec![call.bool_tensor(x.dims(), &items)?])
}

fn compare(call: &NodeCall<'_>, holds: fn(Ordering) -> bool) -> Outputs {
    let (a, b) = (call.need(0)?, call.need(1)?);
    let dtype = call.same_type(a, b)?;
    let dims = call.broadcast_dims(&[a.dims(), b.dims()])?;
    call.sized(DType::Bool, &dims)?;
    let items = match (call.numbers(a)?, call.numbers(b)?) {
        (Numbers::Real(x), Numbers::Real(y)) => {
            zip((&x, a.dims()), (&y, b.dims()), &dims, |p, q| p.partial_cmp(&q).is_some_and(holds))
        }
        (Numbers::Whole(x), Numbers::Whole(y)) => {
            zip((&x, a.dims()), (&y, b.dims()), &dims, |p, q| holds(p.cmp(&q)))
        }
        _ => return Err(call.no_type(dtype)),
    };
    Ok(vec![call.bool_tensor(&dims, &items)?])
}

fn equal(call: &NodeCall<'_>) -> Outputs {
    let (a, b) = (call.need(0)?, call.need(1)?);
    call.same_type(a, b)?;
    let dims = call.broadcast_dims(&[a.dims(), b.dims()])?;
    call.sized(DType::Bool, &dims)?;
    let items = match (a.string_items(), b.string_items()) {
        (Some(x), Some(y)) => zip((x, a.dims()), (y, b.dims()), &dims, |p, q| p == q),
        _ if a.dtype() == DType::Bool => {
            let (x, y) = (call.bools(a)?, call.bools(b)?);
            zip((&x, a.dims()), (&y, b.dims()), &dims, |p, q| p == q)
        }
        _ => return compare(call, Ordering::is_eq),
    };
    Ok(vec![call.bool_tensor(&dims, &items)?])
}

/// Folds all inputs, each broadcast to the dims of all of them.
fn fold(call: &NodeCall<'_>, real: fn(f64, f64) -> f64, whole: fn(i128, i128) -> i128) -> Outputs {
    let first = call.need(0)?;
    let dims = all_dims(call)?;
    call.sized(first.dtype(), &dims)?;
    let mut sum = match call.numbers(first)? {
        Numbers::Real(items) => Numbers::Real(spread(items, first.dims(), &dims)),
        Numbers::Whole(items) => Numbers::Whole(spread(items, first.dims(), &dims)),
    };
    for slot in 1..call.inputs.len() {
        let next = call.need(slot)?;
        call.same_type(first, next)?;
        sum = match (sum, call.numbers(next)?) {
            (Numbers::Real(a), Numbers::Real(b)) => {
                Numbers::Real(zip((&a, &dims), (&b, next.dims()), &dims, real))
            }
            (Numbers::Whole(a), Numbers::Whole(b)) => {
                Numbers::Whole(zip((&a, &dims), (&b, next.dims()), &dims, whole))
            }
            _ => return Err(call.no_type(next.dtype())),
        };
    }
    Ok(vec![call.number_tensor(first.dtype(), &dims, sum)?])
}

fn all_dims(call: &NodeCall<'_>) -> Result<Vec<u64>, EngineError> {
    let shapes = (0..call.inputs.len()).map(|slot| Ok(call.need(slot)?.dims()));
    call.broadcast_dims(&shapes.collect::<Result<Vec<_>, EngineError>>()?)
}

fn mean(call: &NodeCall<'_>) -> Outputs {
    let first = call.need(0)?;
    let dims = all_dims(call)?;
    let len = call.sized(first.dtype(), &dims)?;
    let mut sum = vec![0.0; len];
    for slot in 0..call.inputs.len() {
        let (items, own) = call.real_input(slot)?;
        call.same_type(first, call.need(slot)?)?;
        sum = zip((&sum, &dims), (&items, own), &dims, |a, b| a + b);
    }
    let count = call.inputs.len() as f64;
    for x in &mut sum {
        *x /= count;
    }
    Ok(vec![call.real_tensor(first.dtype(), &dims, &sum)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, refused};
    use super::*;

    #[test]
    fn compares_with_nan_as_unordered() {
        let (a, b) = (f32s(&[4], &[1.0, 2.0, 3.0, f32::NAN]), f32s(&[1], &[2.0]));
        for (op, want) in [
            ("Equal", [0.0, 1.0, 0.0, 0.0]),
            ("Greater", [0.0, 0.0, 1.0, 0.0]),
            ("GreaterOrEqual", [0.0, 1.0, 1.0, 0.0]),
            ("Less", [1.0, 0.0, 0.0, 0.0]),
            ("LessOrEqual", [1.0, 1.0, 0.0, 0.0]),
        ] {
            check(op, &[], &[a.clone(), b.clone()], &[4], &want);
        }
        let big = |v: &[u64]| Some(TensorData::vector(v));
        check("Less", &[], &[big(&[1]), big(&[u64::MAX])], &[1], &[1.0]);
        let strings = |a: &'static str, b: &'static str| {
            Some(TensorData::strings(&[2], vec![a.into(), b.into()]).unwrap())
        };
        check("Equal", &[], &[strings("x", "y"), strings("x", "z")], &[2], &[1.0, 0.0]);
    }

    #[test]
    fn logic_is_a_table() {
        let bits = |v: [bool; 4]| Some(TensorData::vector(&v));
        let (a, b) = (bits([false, false, true, true]), bits([false, true, false, true]));
        check("And", &[], &[a.clone(), b.clone()], &[4], &[0.0, 0.0, 0.0, 1.0]);
        check("Or", &[], &[a.clone(), b.clone()], &[4], &[0.0, 1.0, 1.0, 1.0]);
        check("Xor", &[], &[a.clone(), b.clone()], &[4], &[0.0, 1.0, 1.0, 0.0]);
        check("Equal", &[], &[a.clone(), b], &[4], &[1.0, 0.0, 0.0, 1.0]);
        check("Not", &[], &[a], &[4], &[1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn any_number_of_tensors() {
        let all = [f32s(&[2, 1], &[1.0, 5.0]), f32s(&[1], &[3.0]), f32s(&[2], &[2.0, f32::NAN])];
        check("Max", &[], &all, &[2, 2], &[3.0, f64::NAN, 5.0, f64::NAN]);
        check("Min", &[], &all, &[2, 2], &[1.0, f64::NAN, 2.0, f64::NAN]);
        check("Sum", &[], &all[..2], &[2, 1], &[4.0, 8.0]);
        check("Mean", &[], &all[..2], &[2, 1], &[2.0, 4.0]);
        check("Max", &[], &[i64s(&[2], &[-1, 4]), i64s(&[], &[3])], &[2], &[3.0, 4.0]);
        refused("Max", &[], &[f32s(&[1], &[0.0]), None]);
    }
}
