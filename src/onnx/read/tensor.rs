//! Tensors.

use bytes::Bytes;

use crate::ir::{DType, Encoding, IrError, SparseTensor, TensorData, TensorLabel};
use crate::onnx::error::{ExternalFault, TensorFault};
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::tensor_proto::DataLocation;
use crate::onnx::proto::{SparseTensorProto, TensorProto};
use crate::onnx::read::metadata;

/// Reads a tensor. Its name goes into the label, unless the caller took it.
pub(in crate::onnx) fn tensor(
    mut proto: TensorProto,
    files: &mut ExternalFiles,
) -> Result<TensorData, TensorFault> {
    if proto.segment.is_some() {
        return Err(TensorFault::Segment);
    }
    let code = proto.data_type.unwrap_or(0);
    let dtype = DType::from_code(code).ok_or(TensorFault::UnknownType { code })?;
    let dims = dims(&proto.dims)?;
    let label = TensorLabel {
        name: proto.name.take().filter(|n| !n.is_empty()),
        doc: proto.doc_string.take(),
        metadata: metadata(std::mem::take(&mut proto.metadata_props)),
    };
    let data = if proto.data_location == Some(DataLocation::External as i32) {
        external(dtype, &dims, &proto, files)?
    } else {
        stored(dtype, &dims, proto)?
    };
    Ok(data.with_label(label))
}

/// Reads a sparse tensor.
pub(super) fn sparse(
    proto: SparseTensorProto,
    files: &mut ExternalFiles,
) -> Result<SparseTensor, TensorFault> {
    let dims = dims(&proto.dims)?;
    Ok(SparseTensor {
        values: tensor(proto.values.unwrap_or_default(), files)?,
        indices: tensor(proto.indices.unwrap_or_default(), files)?,
        dims,
    })
}

fn dims(proto: &[i64]) -> Result<Vec<u64>, TensorFault> {
    proto.iter().map(|&dim| u64::try_from(dim).map_err(|_| TensorFault::NegativeDim { dim })).collect()
}

fn external(
    dtype: DType,
    dims: &[u64],
    proto: &TensorProto,
    files: &mut ExternalFiles,
) -> Result<TensorData, TensorFault> {
    if let Some((second, _)) = filled(proto).next() {
        return Err(TensorFault::TwoFields { first: "external_data", second });
    }
    if dtype == DType::String {
        let location = proto.external_data.iter().find(|e| e.key() == "location");
        let location = location.map_or_else(String::new, |e| e.value().to_owned());
        return Err(TensorFault::External { location, fault: ExternalFault::Strings });
    }
    let count = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let count = if dims.contains(&0) { Some(0) } else { count };
    let needed = count
        .and_then(|n| dtype.byte_len(n))
        .ok_or_else(|| IrError::Overflow { dtype, dims: dims.to_vec() })?;
    Ok(TensorData::new(dtype, dims, files.slice(&proto.external_data, needed)?)?)
}

/// The fields that hold elements, with how many.
fn filled(proto: &TensorProto) -> impl Iterator<Item = (&'static str, usize)> + use<> {
    [
        ("raw_data", proto.raw_data.as_ref().map_or(0, Bytes::len)),
        ("float_data", proto.float_data.len()),
        ("int32_data", proto.int32_data.len()),
        ("int64_data", proto.int64_data.len()),
        ("double_data", proto.double_data.len()),
        ("uint64_data", proto.uint64_data.len()),
        ("string_data", proto.string_data.len()),
    ]
    .into_iter()
    .filter(|(_, len)| *len > 0)
}

/// The field that holds the elements of a type, where it is not `raw_data`.
pub(in crate::onnx) fn typed_field(dtype: DType) -> &'static str {
    match dtype {
        DType::Float | DType::Complex64 => "float_data",
        DType::Int64 => "int64_data",
        DType::Double | DType::Complex128 => "double_data",
        DType::Uint32 | DType::Uint64 => "uint64_data",
        DType::String => "string_data",
        _ => "int32_data",
    }
}

fn stored(dtype: DType, dims: &[u64], proto: TensorProto) -> Result<TensorData, TensorFault> {
    let mut fields = filled(&proto).map(|(field, _)| field);
    let (first, second) = (fields.next(), fields.next());
    if let (Some(first), Some(second)) = (first, second) {
        return Err(TensorFault::TwoFields { first, second });
    }
    match first {
        None if dtype == DType::String => Ok(TensorData::strings(dims, Vec::new())?),
        None => {
            let encoding = if proto.raw_data.is_some() { Encoding::Raw } else { Encoding::Typed };
            Ok(TensorData::new(dtype, dims, Bytes::new())?.with_encoding(encoding))
        }
        Some(field) if field == "raw_data" && dtype != DType::String => {
            Ok(TensorData::new(dtype, dims, proto.raw_data.unwrap_or_default())?)
        }
        Some(field) if field != typed_field(dtype) => Err(TensorFault::WrongField { dtype, field }),
        Some("string_data") => Ok(TensorData::strings(dims, proto.string_data)?),
        Some(_) => {
            let bytes = typed_bytes(dtype, dims, &proto)?;
            Ok(TensorData::new(dtype, dims, bytes)?.with_encoding(Encoding::Typed))
        }
    }
}

/// Lays out the elements of the typed field as `raw_data` does.
fn typed_bytes(dtype: DType, dims: &[u64], proto: &TensorProto) -> Result<Vec<u8>, TensorFault> {
    Ok(match typed_field(dtype) {
        "float_data" => proto.float_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        "int64_data" => proto.int64_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        "double_data" => proto.double_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        "uint64_data" if dtype == DType::Uint64 => {
            proto.uint64_data.iter().flat_map(|x| x.to_le_bytes()).collect()
        }
        "uint64_data" => {
            let narrow = |(at, &item): (usize, &u64)| {
                let item = u32::try_from(item).map_err(|_| (at, item.into()));
                item.map(u32::to_le_bytes)
            };
            let items: Result<Vec<_>, (usize, i128)> =
                proto.uint64_data.iter().enumerate().map(narrow).collect();
            let fault = |(at, item)| TensorFault::OutOfRange { dtype, field: "uint64_data", at, item };
            items.map_err(fault)?.concat()
        }
        _ if dtype == DType::Int32 => proto.int32_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        _ => narrow(dtype, dims, &proto.int32_data)?,
    })
}

/// The range of an `int32_data` element: one element of the type, or one byte of packed elements.
fn int32_range(dtype: DType) -> (i32, i32) {
    match dtype {
        DType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DType::Uint16 | DType::Float16 | DType::Bfloat16 => (0, u16::MAX.into()),
        DType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DType::Bool => (0, 1),
        DType::Float6e2m3 | DType::Float6e3m2 => (0, 63),
        _ => (0, u8::MAX.into()),
    }
}

fn narrow(dtype: DType, dims: &[u64], items: &[i32]) -> Result<Vec<u8>, TensorFault> {
    let (low, high) = int32_range(dtype);
    if let Some((at, &item)) = items.iter().enumerate().find(|(_, x)| **x < low || **x > high) {
        return Err(TensorFault::OutOfRange { dtype, field: "int32_data", at, item: item.into() });
    }
    Ok(match dtype.bits() {
        16 => items.iter().flat_map(|&x| (x as u16).to_le_bytes()).collect(),
        6 => {
            // The packed length does not tell three elements from four.
            let found = items.len() as u64;
            if dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d)) != Some(found) {
                let needed = dims.iter().fold(1, |n: u64, &d| n.saturating_mul(d));
                return Err(IrError::WrongLength { dtype, dims: dims.to_vec(), needed, found }.into());
            }
            pack6(items)
        }
        _ => items.iter().map(|&x| x as u8).collect(),
    })
}

/// Packs elements of six bits, four to three bytes, from the least significant bit up.
fn pack6(items: &[i32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(items.len().div_ceil(4) * 3);
    for group in items.chunks(4) {
        let word = group.iter().rev().fold(0u32, |word, &x| word << 6 | x as u32);
        let used = (group.len() * 6).div_ceil(8);
        bytes.extend_from_slice(word.to_le_bytes().get(..used).unwrap_or_default());
    }
    bytes
}

#[cfg(test)]
#[path = "tensor_tests.rs"]
mod tests;
