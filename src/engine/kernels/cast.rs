//! Operators that change the element type.

use bytes::Bytes;

use super::Table;
use super::cells::Cells;
use super::minifloat::ScaleRounding;
use super::scalar::{Rounding, Scalar, encode, is_numeric, load, range};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

pub(super) const TABLE: Table = &[("BitCast", bit_cast), ("Cast", cast), ("CastLike", cast_like)];

type Outputs = Result<Vec<TensorData>, EngineError>;

fn cast(call: &NodeCall<'_>) -> Outputs {
    let to = call.dtype_attr("to")?.ok_or_else(|| call.invalid("attribute `to` is absent"))?;
    cast_to(call, to)
}

fn cast_like(call: &NodeCall<'_>) -> Outputs {
    cast_to(call, call.need(1)?.dtype())
}

fn cast_to(call: &NodeCall<'_>, to: DType) -> Outputs {
    let data = call.need(0)?;
    let elements = call.sized(to, data.dims())?;
    let scale = match call.str_or("round_mode", "up")?.as_str() {
        "up" => ScaleRounding::Up,
        "down" => ScaleRounding::Down,
        "nearest" => ScaleRounding::Nearest,
        other => return Err(call.invalid(format_args!("round_mode `{other}` is unknown"))),
    };
    let rounding = Rounding { saturate: call.flag("saturate", true)?, scale };
    let from = data.dtype();
    if from == to {
        return Ok(vec![data.with_dims(data.dims()).ok_or_else(|| call.no_type(to))?]);
    }
    let complex = |dtype| dtype != DType::String && !is_numeric(dtype);
    if complex(from) || complex(to) {
        return Err(call.unsupported(format_args!("from {from} to {to}")));
    }
    let open = |what: &dyn std::fmt::Display| {
        call.unsupported(format_args!(
            "{what} as {to}: the standard leaves it open, or its implementations differ"
        ))
    };
    let source = Cells::of(data);
    if to == DType::String {
        let text = |i| {
            let value = load(from, source.get(i));
            text(from, value).map(Bytes::from).ok_or_else(|| open(&format_args!("{value:?}")))
        };
        let items = (0..elements).map(text).collect::<Result<_, _>>()?;
        return Ok(vec![TensorData::strings(data.dims(), items).map_err(|e| call.invalid(e))?]);
    }
    let width = to.bits().div_ceil(8) as usize;
    let mut cells = Cells::new(to, elements);
    for i in 0..elements {
        let code = if let Some(items) = data.string_items() {
            parse(to, &items[i], rounding).ok_or_else(|| open(&format_args!("{:?}", items[i])))?
        } else {
            let value = load(from, source.get(i));
            encode(to, value, rounding).ok_or_else(|| open(&format_args!("{value:?}")))?
        };
        cells.push_bytes(&code.to_le_bytes()[..width]);
    }
    Ok(vec![cells.tensor(call, to, data.dims())?])
}

/// A number as text. The standard asks for plain notation and says nothing about digits, so a float has a text only
/// where every sensible choice gives the same: a fraction of at most 8 digits, neither tiny nor huge.
fn text(from: DType, value: Scalar) -> Option<String> {
    let x = match value {
        // `1` or `True`.
        Scalar::Int(_) if from == DType::Bool => return None,
        Scalar::Int(x) => return Some(x.to_string()),
        Scalar::Float(x) => x,
    };
    let text = match from {
        DType::Float => (x as f32).to_string(),
        DType::Double => x.to_string(),
        _ => return None,
    };
    let digits = text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    let plain = x.is_finite() && x.fract() != 0.0 && digits <= 8 && x.abs() >= 1e-4;
    plain.then_some(text)
}

/// The code of the number that a text stands for; `None` where it is not one that every implementation reads alike.
fn parse(to: DType, text: &[u8], rounding: Rounding) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if to == DType::Bool {
        return None;
    }
    if to.is_int() {
        let x: i128 = text.parse().ok()?;
        let (low, high) = range(to);
        return encode(to, Scalar::Int(x), rounding).filter(|_| (low..=high).contains(&x));
    }
    let x = match to {
        DType::Float => text.parse::<f32>().ok()?.into(),
        _ => text.parse::<f64>().ok()?,
    };
    encode(to, Scalar::Float(x), rounding)
}

fn bit_cast(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let to = call.dtype_attr("to")?.ok_or_else(|| call.invalid("attribute `to` is absent"))?;
    let from = data.dtype();
    let bytes = data.bytes().filter(|_| to.bits() == from.bits());
    let bytes = bytes.ok_or_else(|| call.invalid(format_args!("{from} and {to} differ in width")))?;
    if to == DType::Bool && bytes.iter().any(|&b| b > 1) {
        return Err(call.unsupported("a boolean that is neither 0 nor 1"));
    }
    call.sized(to, data.dims())?;
    Ok(vec![TensorData::new(to, data.dims(), bytes.clone()).map_err(|e| call.invalid(e))?])
}

#[cfg(test)]
#[path = "cast_tests.rs"]
mod tests;
