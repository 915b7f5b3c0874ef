//! Types of values.

use crate::ir::{DType, Dim, Shape, UnknownDim, Value, ValueInfo, ValueType};
use crate::onnx::proto::{
    StringStringEntryProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

/// The declaration of a value.
pub(super) fn value_info(value: &Value) -> ValueInfoProto {
    let none = ValueInfo::default();
    let info = value.info.as_deref().unwrap_or(&none);
    let known = value.ty != ValueType::Unknown || info.denotation.is_some();
    ValueInfoProto {
        name: Some(value.name.clone()),
        r#type: known.then(|| TypeProto {
            denotation: info.denotation.clone(),
            value: value_type(&value.ty, &info.dim_denotations),
        }),
        doc_string: info.doc.clone(),
        metadata_props: super::entries(&info.metadata),
    }
}

/// A type without denotations.
pub(super) fn plain(ty: &ValueType) -> TypeProto {
    TypeProto { denotation: None, value: value_type(ty, &[]) }
}

fn value_type(ty: &ValueType, denotations: &[Option<String>]) -> Option<type_proto::Value> {
    use type_proto::Value;
    let code = |dtype: &Option<DType>| dtype.map(DType::code);
    let dims = |dims: &Option<Shape>| dims.as_ref().map(|dims| shape(dims, denotations));
    let item = |ty: &ValueType| (*ty != ValueType::Unknown).then(|| Box::new(plain(ty)));
    Some(match ty {
        ValueType::Unknown => return None,
        ValueType::Tensor { dtype, shape } => {
            Value::TensorType(type_proto::Tensor { elem_type: code(dtype), shape: dims(shape) })
        }
        ValueType::SparseTensor { dtype, shape } => {
            Value::SparseTensorType(type_proto::SparseTensor { elem_type: code(dtype), shape: dims(shape) })
        }
        ValueType::Sequence(ty) => {
            Value::SequenceType(Box::new(type_proto::Sequence { elem_type: item(ty) }))
        }
        ValueType::Optional(ty) => {
            Value::OptionalType(Box::new(type_proto::Optional { elem_type: item(ty) }))
        }
        ValueType::Map { key, value } => {
            Value::MapType(Box::new(type_proto::Map { key_type: code(key), value_type: item(value) }))
        }
        ValueType::Opaque { domain, name } => {
            Value::OpaqueType(type_proto::Opaque { domain: domain.clone(), name: name.clone() })
        }
    })
}

fn shape(dims: &[Dim], denotations: &[Option<String>]) -> TensorShapeProto {
    use tensor_shape_proto::Dimension;
    let dim = |(at, dim): (usize, &Dim)| Dimension {
        value: dim_value(dim),
        denotation: denotations.get(at).cloned().flatten(),
    };
    TensorShapeProto { dim: dims.iter().enumerate().map(dim).collect() }
}

fn dim_value(dim: &Dim) -> Option<tensor_shape_proto::dimension::Value> {
    use tensor_shape_proto::dimension::Value;
    match dim {
        Dim::Known(n) => i64::try_from(*n).ok().map(Value::DimValue),
        Dim::Symbol(text) | Dim::Unknown(Some(UnknownDim::Text(text))) => {
            Some(Value::DimParam(text.to_string()))
        }
        Dim::Unknown(Some(UnknownDim::Negative(n))) => Some(Value::DimValue(*n)),
        Dim::Unknown(None) => None,
    }
}

/// Key–value pairs.
pub(super) fn entries(metadata: &[(String, String)]) -> Vec<StringStringEntryProto> {
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    metadata.iter().map(entry).collect()
}
