//! Tensors and their data.

use std::fmt::{Debug, Display, Write};

use super::PrintOptions;
use super::names::{self, Storage};
use super::print_type::typed_name;
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::{SparseTensorProto, StringStringEntryProto, TensorProto};

/// An entry of the `< >` of a graph.
pub(super) struct Entry {
    pub(super) text: String,
    /// Without data, it is a declaration only.
    pub(super) has_data: bool,
}

pub(super) fn initializer_text(tensor: &TensorProto, options: &PrintOptions) -> Entry {
    let name = tensor.name.as_deref().unwrap_or_default();
    let ty = tensor_type_text(tensor);
    let data = if ty.is_some() { data_text(tensor, options) } else { None };
    let declaration = typed_name(ty, name);
    match data {
        Some(data) => Entry { text: format!("{declaration} = {data}"), has_data: true },
        None => Entry { text: declaration, has_data: false },
    }
}

/// A declaration: the grammar cannot give the data of a sparse initializer.
pub(super) fn sparse_initializer_text(tensor: &SparseTensorProto) -> Entry {
    let name = tensor.values.as_ref().and_then(|values| values.name.as_deref()).unwrap_or_default();
    Entry { text: typed_name(sparse_type_text(tensor), name), has_data: false }
}

/// The value of an attribute. `None` if the grammar has no word for the element type.
pub(super) fn tensor_text(tensor: &TensorProto, options: &PrintOptions) -> Option<String> {
    let mut out = tensor_type_text(tensor)?;
    if let Some(name) = tensor.name.as_deref().filter(|name| names::is_id(name)) {
        out.push(' ');
        out.push_str(name);
    }
    let data = data_text(tensor, options).unwrap_or_else(|| "{}".to_owned());
    out.push_str(if data.starts_with('[') { " = " } else { " " });
    out.push_str(&data);
    Some(out)
}

/// The value of an attribute: values, then indices.
pub(super) fn sparse_text(tensor: &SparseTensorProto, options: &PrintOptions) -> Option<String> {
    let values = tensor_text(tensor.values.as_ref()?, options)?;
    let indices = tensor_text(tensor.indices.as_ref()?, options)?;
    Some(format!("{} {{{values}, {indices}}}", sparse_type_text(tensor)?))
}

fn tensor_type_text(tensor: &TensorProto) -> Option<String> {
    dims_text(tensor.data_type?, &tensor.dims)
}

fn sparse_type_text(tensor: &SparseTensorProto) -> Option<String> {
    Some(format!("sparse_tensor({})", dims_text(tensor.values.as_ref()?.data_type?, &tensor.dims)?))
}

fn dims_text(element: i32, dims: &[i64]) -> Option<String> {
    let element = names::element_word(element)?;
    if dims.is_empty() {
        return Some(element.to_owned());
    }
    let dims: Vec<String> = dims.iter().map(i64::to_string).collect();
    Some(format!("{element}[{}]", dims.join(",")))
}

pub(super) fn entries_text(entries: &[StringStringEntryProto]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|entry| {
            let (key, value) = (entry.key.as_deref(), entry.value.as_deref());
            format!(
                "{}: {}",
                names::quoted(key.unwrap_or_default()),
                names::quoted(value.unwrap_or_default())
            )
        })
        .collect();
    format!("[{}]", entries.join(", "))
}

/// Elements in braces, or where external data are. `None` if there are too many, or not as many as the dims say.
fn data_text(tensor: &TensorProto, options: &PrintOptions) -> Option<String> {
    if tensor.data_location == Some(DataLocation::External as i32) {
        return (!tensor.external_data.is_empty()).then(|| entries_text(&tensor.external_data));
    }
    let count = tensor.dims.iter().try_fold(1usize, |n, dim| n.checked_mul(usize::try_from(*dim).ok()?))?;
    if count > options.max_elements || tensor.segment.is_some() {
        return None;
    }
    if count == 0 {
        return Some("{}".to_owned());
    }
    match names::storage(DataType::try_from(tensor.data_type?).ok()?)? {
        Storage::Int32 { bits, signed } => {
            braced(int32s(tensor, count, bits)?.iter().map(|bit_pattern| widen(*bit_pattern, bits, signed)))
        }
        Storage::Bool => braced(int32s(tensor, count, 8)?.iter().map(|byte| u8::from(*byte != 0))),
        Storage::Packed { bits, .. } => braced(packed(tensor, count, bits)?.iter()),
        Storage::Int64 => braced(numbers(tensor, &tensor.int64_data, count, i64::from_le_bytes)?.iter()),
        Storage::Uint64 { bits: 32 } if tensor.raw_data.is_some() => {
            braced(numbers(tensor, &[], count, u32::from_le_bytes)?.iter())
        }
        Storage::Uint64 { .. } => {
            braced(numbers(tensor, &tensor.uint64_data, count, u64::from_le_bytes)?.iter())
        }
        Storage::Float { per_element } => {
            let count = count.checked_mul(usize::try_from(per_element).ok()?)?;
            let values = numbers(tensor, &tensor.float_data, count, f32::from_le_bytes)?;
            braced(values.iter().map(|value| float_text(*value, value.is_nan(), value.is_sign_negative())))
        }
        Storage::Double { per_element } => {
            let count = count.checked_mul(usize::try_from(per_element).ok()?)?;
            let values = numbers(tensor, &tensor.double_data, count, f64::from_le_bytes)?;
            braced(values.iter().map(|value| float_text(*value, value.is_nan(), value.is_sign_negative())))
        }
        Storage::String if tensor.string_data.len() == count => {
            braced(tensor.string_data.iter().map(|text| names::quoted(&String::from_utf8_lossy(text))))
        }
        Storage::String => None,
    }
}

fn braced(values: impl Iterator<Item = impl Display>) -> Option<String> {
    let mut out = String::from("{");
    for (index, value) in values.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(out, "{comma}{value}").ok()?;
    }
    out.push('}');
    Some(out)
}

/// The elements of `raw_data`, or of the typed field if there are no raw data.
fn numbers<T: Copy, const N: usize>(
    tensor: &TensorProto,
    typed: &[T],
    count: usize,
    read: fn([u8; N]) -> T,
) -> Option<Vec<T>> {
    let values = match &tensor.raw_data {
        Some(raw) if raw.len() == count.checked_mul(N)? => {
            let (elements, _) = raw.as_chunks::<N>();
            elements.iter().map(|element| read(*element)).collect()
        }
        Some(_) => return None,
        None => typed.to_vec(),
    };
    (values.len() == count).then_some(values)
}

/// The bit patterns of elements that are kept in `int32_data`.
fn int32s(tensor: &TensorProto, count: usize, bits: u32) -> Option<Vec<i32>> {
    match (&tensor.raw_data, bits) {
        (None, _) | (Some(_), 32) => numbers(tensor, &tensor.int32_data, count, i32::from_le_bytes),
        (Some(_), 16) => {
            let values = numbers(tensor, &[], count, u16::from_le_bytes)?;
            Some(values.into_iter().map(i32::from).collect())
        }
        (Some(_), 8) => {
            let values = numbers(tensor, &[], count, u8::from_le_bytes)?;
            Some(values.into_iter().map(i32::from).collect())
        }
        (Some(raw), bits) => {
            let is_whole = names::packed_len(count as u64, bits)? == raw.len() as u64;
            is_whole.then(|| (0..count).map(|index| bits_at(raw, index * bits as usize, bits)).collect())
        }
    }
}

/// The `bits` bits from bit `start` on, lowest bit first.
fn bits_at(raw: &[u8], start: usize, bits: u32) -> i32 {
    let byte = |at: usize| i32::from(raw.get(at).copied().unwrap_or_default());
    let window = byte(start / 8) | byte(start / 8 + 1) << 8;
    window >> (start % 8) & ((1 << bits) - 1)
}

/// The value of the lowest `bits` of a number.
fn widen(value: i32, bits: u32, signed: bool) -> i64 {
    let spare = 64 - bits;
    let top = i64::from(value) << spare;
    if signed { top >> spare } else { (top as u64 >> spare) as i64 }
}

/// Bytes of several elements each, as `int32_data` has them. Some producers fill it with one element a number.
fn packed(tensor: &TensorProto, count: usize, bits: u32) -> Option<Vec<u8>> {
    let len = usize::try_from(names::packed_len(count as u64, bits)?).ok()?;
    let mask = (1u8 << bits) - 1;
    let bytes: Vec<u8> = match &tensor.raw_data {
        Some(raw) => raw.to_vec(),
        None if tensor.int32_data.len() == len => tensor.int32_data.iter().map(|byte| *byte as u8).collect(),
        None if tensor.int32_data.len() == count => {
            let groups = tensor.int32_data.chunks(8 / bits as usize);
            groups
                .map(|group| group.iter().rev().fold(0, |byte, x| byte << bits | (*x as u8 & mask)))
                .collect()
        }
        None => return None,
    };
    (bytes.len() == len).then_some(bytes)
}

/// The shortest text that reads back as the same number; an integer has no point.
fn float_text(value: impl Debug, is_nan: bool, is_negative: bool) -> String {
    let mut text = attribute_float_text(value, is_nan, is_negative);
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    text
}

/// The same with a point or an exponent, without which the value of an attribute would be an integer.
pub(super) fn attribute_float_text(value: impl Debug, is_nan: bool, is_negative: bool) -> String {
    match (is_nan, is_negative) {
        (true, true) => "-nan".to_owned(),
        (true, false) => "nan".to_owned(),
        _ => format!("{value:?}"),
    }
}
