//! Operators that make tensors from numbers.

use bytes::Bytes;

use super::Table;
use super::cells::Cells;
use super::index::Around;
use super::scalar::{Rounding, Scalar, encode, is_numeric, load, round_to};
use super::select::around;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{AttrValue, DType, IrError, TensorData};

pub(super) const TABLE: Table = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("EyeLike", eye_like),
    ("OneHot", one_hot),
    ("Range", range),
];

type Outputs = Result<Vec<TensorData>, EngineError>;

fn constant(call: &NodeCall<'_>) -> Outputs {
    let mut attrs = call.attrs.iter().filter(|a| a.name.starts_with("value") || a.name == "sparse_value");
    let (Some(attr), None) = (attrs.next(), attrs.next()) else {
        return Err(call.invalid("exactly one attribute must hold its value"));
    };
    let strings = |dims: &[u64], items: Vec<Bytes>| TensorData::strings(dims, items);
    let made: Result<TensorData, IrError> = match (attr.name.as_str(), &attr.value) {
        ("value", AttrValue::Tensor(t)) => t.with_dims(t.dims()).map_or_else(|| Ok(t.clone()), Ok),
        ("value_int", AttrValue::Int(x)) => Ok(TensorData::scalar(*x)),
        ("value_ints", AttrValue::Ints(x)) => Ok(TensorData::vector(x)),
        ("value_float", AttrValue::Float(x)) => Ok(TensorData::scalar(*x)),
        ("value_floats", AttrValue::Floats(x)) => Ok(TensorData::vector(x)),
        ("value_string", AttrValue::String(x)) => strings(&[], vec![x.clone()]),
        ("value_strings", AttrValue::Strings(x)) => strings(&[x.len() as u64], x.clone()),
        ("sparse_value", _) => return Err(call.unsupported("a sparse value")),
        (name, value) => {
            return Err(
                call.invalid(format_args!("attribute `{name}` must not be of kind {:?}", value.kind()))
            );
        }
    };
    let tensor = made.map_err(|e| call.invalid(e))?;
    call.sized(tensor.dtype(), tensor.dims())?;
    Ok(vec![tensor])
}

fn constant_of_shape(call: &NodeCall<'_>) -> Outputs {
    let dims = call.dims(&call.need_ints(0)?)?;
    let zero = TensorData::scalar(0f32);
    let value = match call.attrs.get("value") {
        None => &zero,
        Some(AttrValue::Tensor(value)) if value.len() == 1 => value,
        Some(_) => return Err(call.invalid("attribute `value` must be a tensor of one element")),
    };
    let elements = call.sized(value.dtype(), &dims)?;
    let (mut cells, one) = (Cells::new(value.dtype(), elements), Cells::of(value));
    (0..elements).for_each(|_| cells.push(&one, 0, 1));
    Ok(vec![cells.tensor(call, value.dtype(), &dims)?])
}

/// One element of a numeric type.
fn element<'a>(call: &NodeCall<'_>, dtype: DType, value: Scalar) -> Result<Cells<'a>, EngineError> {
    let code = encode(dtype, value, Rounding::default()).filter(|_| is_numeric(dtype));
    let code = code.ok_or_else(|| call.no_type(dtype))?;
    let mut cells = Cells::new(dtype, 1);
    cells.push_bytes(&code.to_le_bytes()[..dtype.bits().div_ceil(8) as usize]);
    Ok(cells)
}

fn eye_like(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let dtype = call.dtype_attr("dtype")?.unwrap_or(data.dtype());
    let k = i128::from(call.int_or("k", 0)?);
    let &[rows, columns] = data.dims() else {
        return Err(call.invalid(format_args!("{:?} is no matrix", data.dims())));
    };
    let elements = call.sized(dtype, data.dims())?;
    let (one, zero) = (element(call, dtype, Scalar::Int(1))?, element(call, dtype, Scalar::Int(0))?);
    let mut cells = Cells::new(dtype, elements);
    for row in 0..if elements == 0 { 0 } else { rows } {
        for column in 0..columns {
            let on = i128::from(row) + k == i128::from(column);
            cells.push(if on { &one } else { &zero }, 0, 1);
        }
    }
    Ok(vec![cells.tensor(call, dtype, data.dims())?])
}

/// The elements of a tensor of numbers.
fn numbers(call: &NodeCall<'_>, tensor: &TensorData) -> Result<Vec<Scalar>, EngineError> {
    if !is_numeric(tensor.dtype()) {
        return Err(call.invalid(format_args!("it needs numbers, not {}", tensor.dtype())));
    }
    let cells = Cells::of(tensor);
    Ok((0..cells.len()).map(|i| load(tensor.dtype(), cells.get(i))).collect())
}

/// The whole number that indices and sizes given as any number stand for; `None` where there is none.
fn whole(value: Scalar) -> Option<i64> {
    match value {
        Scalar::Int(x) => i64::try_from(x).ok(),
        Scalar::Float(x) => (x.abs() < 9e18).then_some(x as i64),
    }
}

fn one_hot(call: &NodeCall<'_>) -> Outputs {
    let (indices, depth, values) = (call.need(0)?, call.need(1)?, call.need(2)?);
    let depth = match numbers(call, depth)?[..] {
        [depth] => whole(depth).and_then(|d| u64::try_from(d).ok()),
        _ => None,
    };
    let depth = depth.ok_or_else(|| call.invalid("depth must be one size"))?;
    if values.dims() != [2] {
        return Err(call.invalid("values must hold the value for off and that for on"));
    }
    let axis = call.axis(call.int_or("axis", -1)?, indices.rank() + 1)?;
    let mut dims = indices.dims().to_vec();
    dims.insert(axis, depth);
    let elements = call.sized(values.dtype(), &dims)?;
    let (mut cells, source) = (Cells::new(values.dtype(), elements), Cells::of(values));
    (0..elements).for_each(|_| cells.push(&source, 0, 1));
    let Around { size, inner, .. } = around(call, &dims, axis)?;
    let on = |index: i64| if index < 0 { index.checked_add_unsigned(depth) } else { Some(index) };
    for (i, index) in numbers(call, indices)?.into_iter().enumerate() {
        let place = whole(index).and_then(on).and_then(|x| u64::try_from(x).ok()).filter(|&x| x < depth);
        if let Some(place) = place {
            cells.set((i / inner * size + place as usize) * inner + i % inner, &source, 1, 1);
        }
    }
    Ok(vec![cells.tensor(call, values.dtype(), &dims)?])
}

fn range(call: &NodeCall<'_>) -> Outputs {
    let (start, limit, delta) = (call.need(0)?, call.need(1)?, call.need(2)?);
    let dtype = call.same_type(start, limit)?;
    call.same_type(start, delta)?;
    let one = |tensor: &TensorData| match numbers(call, tensor)?[..] {
        [x] => Ok(x),
        _ => Err(call.invalid("start, limit and delta must be one number each")),
    };
    let (start, limit, delta) = (one(start)?, one(limit)?, one(delta)?);
    let len = match (start, limit, delta) {
        (_, _, Scalar::Int(0) | Scalar::Float(0.0)) => return Err(call.invalid("delta is 0")),
        (Scalar::Int(a), Scalar::Int(b), Scalar::Int(d)) => ((b - a + d - d.signum()) / d).max(0) as u64,
        (Scalar::Float(a), Scalar::Float(b), Scalar::Float(d)) => float_len(call, dtype, [a, b, d])?,
        _ => return Err(call.no_type(dtype)),
    };
    let elements = call.sized(dtype, &[len])?;
    let mut cells = Cells::new(dtype, elements);
    let width = dtype.bits().div_ceil(8) as usize;
    for i in 0..elements {
        let value = match (start, delta) {
            (Scalar::Int(a), Scalar::Int(d)) => Scalar::Int(a + i as i128 * d),
            (Scalar::Float(a), Scalar::Float(d)) => Scalar::Float(a + i as f64 * d),
            _ => return Err(call.no_type(dtype)),
        };
        let code = encode(dtype, value, Rounding::default()).ok_or_else(|| call.no_type(dtype))?;
        cells.push_bytes(&code.to_le_bytes()[..width]);
    }
    Ok(vec![cells.tensor(call, dtype, &[len])?])
}

/// How many numbers there are from `a` in steps of `d` up to `b`. Where the subtraction rounds, the count may depend
/// on the precision of an implementation, and there is no answer.
fn float_len(call: &NodeCall<'_>, dtype: DType, [a, b, d]: [f64; 3]) -> Result<u64, EngineError> {
    if [a, b, d].iter().any(|x| !x.is_finite()) {
        return Err(call.invalid("start, limit and delta must be finite"));
    }
    // A cast from float to integer saturates.
    let precise = ((b - a) / d).ceil() as u64;
    let single = |x: f64| round_to(DType::Float, x);
    let narrow = [single(b - a) / d, single(single(b - a) / d)].map(|n| n.ceil() as u64);
    if dtype != DType::Double && narrow != [precise; 2] {
        return Err(call.unsupported("the length of the result depends on the precision of the arithmetic"));
    }
    Ok(precise)
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
