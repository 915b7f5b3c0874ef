//! The words of the grammar: element types, attribute kinds, identifiers.

use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::DataType;

const ELEMENTS: &[(&str, DataType)] = &[
    ("float", DataType::Float),
    ("uint8", DataType::Uint8),
    ("int8", DataType::Int8),
    ("uint16", DataType::Uint16),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("string", DataType::String),
    ("bool", DataType::Bool),
    ("float16", DataType::Float16),
    ("double", DataType::Double),
    ("uint32", DataType::Uint32),
    ("uint64", DataType::Uint64),
    ("complex64", DataType::Complex64),
    ("complex128", DataType::Complex128),
    ("bfloat16", DataType::Bfloat16),
    ("float8e4m3fn", DataType::Float8e4m3fn),
    ("float8e4m3fnuz", DataType::Float8e4m3fnuz),
    ("float8e5m2", DataType::Float8e5m2),
    ("float8e5m2fnuz", DataType::Float8e5m2fnuz),
    ("uint4", DataType::Uint4),
    ("int4", DataType::Int4),
    ("float4e2m1", DataType::Float4e2m1),
    ("float8e8m0", DataType::Float8e8m0),
    ("uint2", DataType::Uint2),
    ("int2", DataType::Int2),
    ("float6e2m3", DataType::Float6e2m3),
    ("float6e3m2", DataType::Float6e3m2),
];

const CONTAINERS: &[&str] = &["seq", "map", "optional", "sparse_tensor", "opaque"];

const KINDS: &[(&str, AttributeType)] = &[
    ("float", AttributeType::Float),
    ("int", AttributeType::Int),
    ("string", AttributeType::String),
    ("tensor", AttributeType::Tensor),
    ("graph", AttributeType::Graph),
    ("sparse_tensor", AttributeType::SparseTensor),
    ("type_proto", AttributeType::TypeProto),
    ("floats", AttributeType::Floats),
    ("ints", AttributeType::Ints),
    ("strings", AttributeType::Strings),
    ("tensors", AttributeType::Tensors),
    ("graphs", AttributeType::Graphs),
    ("sparse_tensors", AttributeType::SparseTensors),
    ("type_protos", AttributeType::TypeProtos),
];

/// Where the elements of a tensor live in the protobuf message, and what one number of the text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// One element a number, in `int32_data`; `bits` wide in `raw_data`.
    Int32 {
        bits: u32,
        signed: bool,
    },
    /// `Int32` of eight bits that are zero or one.
    Bool,
    /// One byte of several elements a number, in `int32_data`.
    Packed {
        bits: u32,
        signed: bool,
    },
    Int64,
    /// In `uint64_data`; `bits` wide in `raw_data`.
    Uint64 {
        bits: u32,
    },
    /// In `float_data`, `per_element` numbers each.
    Float {
        per_element: u64,
    },
    /// In `double_data`, `per_element` numbers each.
    Double {
        per_element: u64,
    },
    String,
}

pub(super) fn storage(element: DataType) -> Option<Storage> {
    Some(match element {
        DataType::Undefined => return None,
        DataType::Float => Storage::Float { per_element: 1 },
        DataType::Complex64 => Storage::Float { per_element: 2 },
        DataType::Double => Storage::Double { per_element: 1 },
        DataType::Complex128 => Storage::Double { per_element: 2 },
        DataType::Bool => Storage::Bool,
        DataType::Int8 => Storage::Int32 { bits: 8, signed: true },
        DataType::Int16 => Storage::Int32 { bits: 16, signed: true },
        DataType::Int32 => Storage::Int32 { bits: 32, signed: true },
        DataType::Uint8
        | DataType::Float8e4m3fn
        | DataType::Float8e4m3fnuz
        | DataType::Float8e5m2
        | DataType::Float8e5m2fnuz
        | DataType::Float8e8m0 => Storage::Int32 { bits: 8, signed: false },
        DataType::Uint16 | DataType::Float16 | DataType::Bfloat16 => {
            Storage::Int32 { bits: 16, signed: false }
        }
        DataType::Float6e2m3 | DataType::Float6e3m2 => Storage::Int32 { bits: 6, signed: false },
        DataType::Uint4 | DataType::Float4e2m1 => Storage::Packed { bits: 4, signed: false },
        DataType::Int4 => Storage::Packed { bits: 4, signed: true },
        DataType::Uint2 => Storage::Packed { bits: 2, signed: false },
        DataType::Int2 => Storage::Packed { bits: 2, signed: true },
        DataType::Int64 => Storage::Int64,
        DataType::Uint32 => Storage::Uint64 { bits: 32 },
        DataType::Uint64 => Storage::Uint64 { bits: 64 },
        DataType::String => Storage::String,
    })
}

/// The number of bytes that `count` elements of `bits` each take.
pub(super) fn packed_len(count: u64, bits: u32) -> Option<u64> {
    Some(count.checked_mul(u64::from(bits))?.div_ceil(8))
}

pub(super) fn element(word: &str) -> Option<DataType> {
    ELEMENTS.iter().find(|(name, _)| *name == word).map(|(_, element)| *element)
}

pub(super) fn element_word(element: i32) -> Option<&'static str> {
    ELEMENTS.iter().find(|(_, known)| *known as i32 == element).map(|(name, _)| *name)
}

pub(super) fn kind(word: &str) -> Option<AttributeType> {
    KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
}

pub(super) fn kind_word(kind: AttributeType) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("undefined", |(name, _)| *name)
}

/// The kind of the elements of a list kind.
pub(super) fn single_of(list: AttributeType) -> Option<AttributeType> {
    Some(match list {
        AttributeType::Floats => AttributeType::Float,
        AttributeType::Ints => AttributeType::Int,
        AttributeType::Strings => AttributeType::String,
        AttributeType::Tensors => AttributeType::Tensor,
        AttributeType::Graphs => AttributeType::Graph,
        AttributeType::SparseTensors => AttributeType::SparseTensor,
        AttributeType::TypeProtos => AttributeType::TypeProto,
        _ => return None,
    })
}

pub(super) fn is_type_word(word: &str) -> bool {
    CONTAINERS.contains(&word) || element(word).is_some()
}

/// `inf`, `infinity` and `nan` are numbers where a number may stand.
pub(super) fn is_float_word(word: &str) -> bool {
    ["inf", "infinity", "nan"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

pub(super) fn is_id(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn quoted(word: &str) -> String {
    let mut out = String::with_capacity(word.len() + 2);
    out.push('"');
    for letter in word.chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}

/// A name where a name is the only thing that can stand.
pub(super) fn id_or_quoted(word: &str) -> String {
    if is_id(word) { word.to_owned() } else { quoted(word) }
}

/// A name where a type or a number can stand as well.
pub(super) fn name(word: &str) -> String {
    if is_type_word(word) || is_float_word(word) { quoted(word) } else { id_or_quoted(word) }
}

/// Absent, if empty.
pub(super) fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
