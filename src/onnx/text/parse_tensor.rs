//! Tensors and their data.

use bytes::Bytes;

use super::lex::{Cursor, Result, Token};
use super::names::{self, Storage};
use super::parse_model::parse_entries;
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::tensor_shape_proto::dimension;
use crate::onnx::proto::type_proto::Value;
use crate::onnx::proto::{TensorProto, TypeProto};

/// A tensor of the type that was read at `at`, with the data that comes next.
pub(super) fn parse_tensor(
    cursor: &mut Cursor<'_>,
    ty: &TypeProto,
    at: usize,
    name: Option<String>,
) -> Result<TensorProto> {
    let (element, dims) = concrete(ty).map_err(|message| cursor.error_at(at, message))?;
    let mut tensor = TensorProto { data_type: Some(element as i32), dims, name, ..TensorProto::default() };
    if cursor.eat('[')? {
        tensor.data_location = Some(DataLocation::External as i32);
        parse_entries(cursor, &mut tensor.external_data)?;
        return Ok(tensor);
    }
    let open = cursor.offset();
    if !cursor.eat('{')? {
        return Err(cursor.unexpected("the data of a tensor, `{` or `[`"));
    }
    if cursor.eat('}')? {
        return Ok(tensor);
    }
    parse_elements(cursor, &mut tensor, element)
        .and_then(|()| check_count(&mut tensor, element).map_err(|message| cursor.error_at(open, message)))?;
    Ok(tensor)
}

/// Element type and dims of a tensor type whose dims are all numbers.
fn concrete(ty: &TypeProto) -> std::result::Result<(DataType, Vec<i64>), String> {
    let Some(Value::TensorType(tensor)) = &ty.value else {
        return Err("expected a tensor type before data, found another type".to_owned());
    };
    let element = DataType::try_from(tensor.elem_type.unwrap_or_default()).unwrap_or_default();
    let Some(shape) = &tensor.shape else {
        return Err(
            "expected the dims of a tensor with data, found `[]`, which means an unknown rank".to_owned()
        );
    };
    let dims: Option<Vec<i64>> = shape
        .dim
        .iter()
        .map(|dim| match dim.value {
            Some(dimension::Value::DimValue(value)) if value >= 0 => Some(value),
            _ => None,
        })
        .collect();
    dims.map(|dims| (element, dims)).ok_or_else(|| {
        "expected dims that are numbers for a tensor with data, found an unknown one".to_owned()
    })
}

fn parse_elements(cursor: &mut Cursor<'_>, tensor: &mut TensorProto, element: DataType) -> Result<()> {
    let word = names::element_word(element as i32).unwrap_or("undefined");
    cursor.filled_list('}', |cursor| {
        match names::storage(element) {
            Some(Storage::Int32 { bits, signed }) => {
                tensor.int32_data.push(parse_int32(cursor, word, int_range(bits, signed))?);
            }
            Some(Storage::Bool) => tensor.int32_data.push(parse_int32(cursor, word, (0, 1))?),
            Some(Storage::Packed { .. }) => tensor.int32_data.push(parse_int32(cursor, word, (-128, 255))?),
            Some(Storage::Int64) => tensor.int64_data.push(cursor.int64("an integer")?),
            Some(Storage::Uint64 { bits }) => tensor.uint64_data.push(parse_uint64(cursor, bits)?),
            Some(Storage::Float { .. }) => tensor.float_data.push(cursor.float()?),
            Some(Storage::Double { .. }) => tensor.double_data.push(cursor.double()?),
            Some(Storage::String) => tensor.string_data.push(Bytes::from(cursor.string("a string")?)),
            None => return Err(cursor.unexpected("no data for this element type")),
        }
        Ok(())
    })
}

fn int_range(bits: u32, signed: bool) -> (i64, i64) {
    if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

fn parse_int32(cursor: &mut Cursor<'_>, word: &str, (low, high): (i64, i64)) -> Result<i32> {
    let Token::Int(digits) = *cursor.peek() else {
        return Err(cursor.unexpected(&format!("an integer, which is how {word} is written")));
    };
    let value: Option<i64> = digits.parse().ok().filter(|value| (low..=high).contains(value));
    let value =
        value.and_then(|value| i32::try_from(value).ok()).ok_or_else(|| cursor.overflow(digits, word))?;
    cursor.bump()?;
    Ok(value)
}

fn parse_uint64(cursor: &mut Cursor<'_>, bits: u32) -> Result<u64> {
    if let (32, Token::Int(digits)) = (bits, cursor.peek())
        && digits.parse::<u32>().is_err()
    {
        return Err(cursor.overflow(digits, "uint32"));
    }
    cursor.uint64("an integer")
}

/// Compares the number of values with the dims, and packs small elements that were written one by one.
fn check_count(tensor: &mut TensorProto, element: DataType) -> std::result::Result<(), String> {
    let count = tensor.dims.iter().try_fold(1u64, |count, dim| count.checked_mul(u64::try_from(*dim).ok()?));
    let Some(count) = count else {
        return Err("expected dims whose product fits uint64, found larger ones".to_owned());
    };
    let (found, expected) = match names::storage(element) {
        Some(Storage::Packed { bits, signed }) => return check_packed(tensor, count, bits, signed),
        Some(Storage::Int32 { .. } | Storage::Bool) => (tensor.int32_data.len(), Some(count)),
        Some(Storage::Int64) => (tensor.int64_data.len(), Some(count)),
        Some(Storage::Uint64 { .. }) => (tensor.uint64_data.len(), Some(count)),
        Some(Storage::Float { per_element }) => (tensor.float_data.len(), count.checked_mul(per_element)),
        Some(Storage::Double { per_element }) => (tensor.double_data.len(), count.checked_mul(per_element)),
        Some(Storage::String) => (tensor.string_data.len(), Some(count)),
        None => (0, Some(0)),
    };
    if expected == Some(found as u64) { Ok(()) } else { Err(miscounted(&[expected.unwrap_or(count)], found)) }
}

fn check_packed(
    tensor: &mut TensorProto,
    count: u64,
    bits: u32,
    signed: bool,
) -> std::result::Result<(), String> {
    let found = tensor.int32_data.len();
    let packed = names::packed_len(count, bits).unwrap_or(u64::MAX);
    if found as u64 == packed {
        return Ok(());
    }
    if found as u64 != count {
        return Err(miscounted(&[packed, count], found));
    }
    let (low, high) = int_range(bits, signed);
    if let Some(value) = tensor.int32_data.iter().find(|value| !(low..=high).contains(&i64::from(**value))) {
        return Err(format!("expected elements from {low} to {high}, found {value}"));
    }
    let mask = (1 << bits) - 1;
    let bytes = tensor.int32_data.chunks(8 / bits as usize);
    tensor.int32_data = bytes
        .map(|elements| elements.iter().rev().fold(0, |byte, element| byte << bits | (element & mask)))
        .collect();
    Ok(())
}

fn miscounted(expected: &[u64], found: usize) -> String {
    let expected: Vec<String> = expected.iter().map(u64::to_string).collect();
    format!("expected {} values for these dims, found {found}", expected.join(" or "))
}
