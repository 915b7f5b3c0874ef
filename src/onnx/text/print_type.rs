//! Types of values.

use super::names;
use crate::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use crate::onnx::proto::type_proto::{Opaque, Value};
use crate::onnx::proto::{TensorShapeProto, TypeProto, ValueInfoProto};

/// `None` where the grammar has no word for the type.
pub(super) fn type_text(ty: &TypeProto) -> Option<String> {
    Some(match ty.value.as_ref()? {
        Value::TensorType(tensor) => tensor_text(tensor.elem_type?, tensor.shape.as_ref())?,
        Value::SparseTensorType(tensor) => {
            format!("sparse_tensor({})", tensor_text(tensor.elem_type?, tensor.shape.as_ref())?)
        }
        Value::SequenceType(sequence) => format!("seq({})", type_text(sequence.elem_type.as_ref()?)?),
        Value::OptionalType(optional) => format!("optional({})", type_text(optional.elem_type.as_ref()?)?),
        Value::MapType(map) => {
            format!("map({}, {})", names::element_word(map.key_type?)?, type_text(map.value_type.as_ref()?)?)
        }
        Value::OpaqueType(opaque) => opaque_text(opaque)?,
    })
}

fn tensor_text(element: i32, shape: Option<&TensorShapeProto>) -> Option<String> {
    let element = names::element_word(element)?;
    Some(match shape {
        None => format!("{element}[]"),
        Some(shape) if shape.dim.is_empty() => element.to_owned(),
        Some(shape) => {
            let dims: Vec<String> = shape.dim.iter().map(dim_text).collect();
            format!("{element}[{}]", dims.join(","))
        }
    })
}

fn dim_text(dim: &Dimension) -> String {
    match &dim.value {
        None => "?".to_owned(),
        Some(dimension::Value::DimValue(value)) => value.to_string(),
        Some(dimension::Value::DimParam(symbol)) => names::id_or_quoted(symbol),
    }
}

fn opaque_text(opaque: &Opaque) -> Option<String> {
    let domain = opaque.domain.as_deref().unwrap_or_default();
    let name = opaque.name.as_deref().unwrap_or_default();
    let is_path = |path: &str| path.split('.').all(names::is_id);
    match (domain, name) {
        ("", "") => Some("opaque()".to_owned()),
        ("", name) if is_path(name) => Some(format!("opaque({name})")),
        (domain, name) if is_path(domain) && names::is_id(name) => Some(format!("opaque({domain}, {name})")),
        _ => None,
    }
}

/// A value with its type, where that can be said.
pub(super) fn value_text(value: &ValueInfoProto) -> String {
    typed_name(value.r#type.as_ref().and_then(type_text), value.name.as_deref().unwrap_or_default())
}

pub(super) fn typed_name(ty: Option<String>, name: &str) -> String {
    match ty {
        Some(ty) => format!("{ty} {}", names::name(name)),
        None => names::name(name),
    }
}
