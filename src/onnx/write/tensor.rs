//! Tensors.

use crate::ir::{DType, Element, Encoding, SparseTensor, TensorData};
use crate::onnx::proto::{SparseTensorProto, TensorProto};
use crate::onnx::read::typed_field;

/// A tensor under its own name, if it has one. Bytes are shared with the IR, not copied; elements that are still to
/// be computed have a stand-in.
pub(in crate::onnx) fn tensor(data: &TensorData) -> TensorProto {
    let mut proto = TensorProto {
        dims: dims(data.dims()),
        data_type: Some(data.dtype().code()),
        ..TensorProto::default()
    };
    if let Some(label) = data.label() {
        proto.name.clone_from(&label.name);
        proto.doc_string.clone_from(&label.doc);
        proto.metadata_props = super::entries(&label.metadata);
    }
    if data.is_deferred() {
        proto.raw_data = data.stand_in().or_else(|| data.bytes()).cloned();
        return proto;
    }
    match (data.string_items(), data.bytes()) {
        (Some(items), _) => proto.string_data = items.to_vec(),
        (None, bytes) if data.encoding() == Encoding::Raw => proto.raw_data = bytes.cloned(),
        (None, bytes) => typed(data, bytes.map_or(&[], |b| b), &mut proto),
    }
    proto
}

/// A sparse tensor whose values have the given name, or their own.
pub(super) fn sparse(data: &SparseTensor, name: Option<&str>) -> SparseTensorProto {
    let mut values = tensor(&data.values);
    if let Some(name) = name {
        values.name = Some(name.to_owned());
    }
    SparseTensorProto { values: Some(values), indices: Some(tensor(&data.indices)), dims: dims(&data.dims) }
}

/// Sizes were read from signed numbers, or counted in memory: they fit.
fn dims(dims: &[u64]) -> Vec<i64> {
    dims.iter().map(|&d| d as i64).collect()
}

/// Fills the field of the element type from bytes laid out as `raw_data` has them.
fn typed(data: &TensorData, bytes: &[u8], proto: &mut TensorProto) {
    match typed_field(data.dtype()) {
        "float_data" => proto.float_data = elements::<f32>(bytes),
        "int64_data" => proto.int64_data = elements::<i64>(bytes),
        "double_data" => proto.double_data = elements::<f64>(bytes),
        "uint64_data" if data.dtype() == DType::Uint64 => proto.uint64_data = elements::<u64>(bytes),
        "uint64_data" => proto.uint64_data = elements::<u32>(bytes).into_iter().map(u64::from).collect(),
        _ => proto.int32_data = int32s(data.dtype(), data.len(), bytes),
    }
}

fn elements<T: Element>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(T::read).collect()
}

/// `int32_data`: an element each, save for elements of 2 or 4 bits, which stay packed in bytes.
fn int32s(dtype: DType, len: usize, bytes: &[u8]) -> Vec<i32> {
    match (dtype, dtype.bits()) {
        (DType::Int32, _) => elements::<i32>(bytes),
        (DType::Int16, _) => elements::<i16>(bytes).into_iter().map(i32::from).collect(),
        (DType::Int8, _) => elements::<i8>(bytes).into_iter().map(i32::from).collect(),
        (_, 16) => elements::<u16>(bytes).into_iter().map(i32::from).collect(),
        (_, 6) => (0..len).map(|at| bits6(bytes, at)).collect(),
        _ => bytes.iter().map(|&b| i32::from(b)).collect(),
    }
}

/// The six bits of one element, from the least significant bit up.
fn bits6(bytes: &[u8], at: usize) -> i32 {
    let byte = |at: usize| i32::from(bytes.get(at).copied().unwrap_or(0));
    let bit = at * 6;
    ((byte(bit / 8) | byte(bit / 8 + 1) << 8) >> (bit % 8)) & 63
}
