//! Attributes.

use super::PrintOptions;
use super::names;
use super::print_graph::graph_text;
use super::print_tensor::{attribute_float_text, sparse_text, tensor_text};
use super::print_type::type_text;
use crate::onnx::proto::AttributeProto;
use crate::onnx::proto::attribute_proto::AttributeType;

/// `None` where the grammar has no words for the value. A body is indented by `indent`.
pub(super) fn attribute_text(
    attribute: &AttributeProto,
    options: &PrintOptions,
    indent: usize,
) -> Option<String> {
    let name = names::id_or_quoted(attribute.name.as_deref().unwrap_or_default());
    let kind = kind_of(attribute);
    if let Some(reference) = attribute.ref_attr_name.as_deref().filter(|reference| !reference.is_empty()) {
        let kind = kind.map_or(String::new(), |kind| format!(": {}", names::kind_word(kind)));
        return Some(format!("{name}{kind} = @{}", names::id_or_quoted(reference)));
    }
    let kind = kind?;
    if names::single_of(kind).is_none() {
        return Some(format!("{name} = {}", single_text(attribute, kind, options, indent)?));
    }
    let items = items_text(attribute, kind, options, indent)?;
    if items.is_empty() {
        return Some(format!("{name}: {} = []", names::kind_word(kind)));
    }
    Some(format!("{name} = [{}]", items.join(", ")))
}

/// Whether the attribute is printed with line breaks in it.
pub(super) fn has_body(attribute: &AttributeProto) -> bool {
    attribute.g.is_some() || !attribute.graphs.is_empty()
}

/// The declared kind; files before IR 2 leave it out, then the field that is filled tells.
fn kind_of(attribute: &AttributeProto) -> Option<AttributeType> {
    let declared = attribute.r#type.and_then(|kind| AttributeType::try_from(kind).ok());
    if let Some(kind) = declared.filter(|kind| *kind != AttributeType::Undefined) {
        return Some(kind);
    }
    let filled = [
        (attribute.f.is_some(), AttributeType::Float),
        (attribute.i.is_some(), AttributeType::Int),
        (attribute.s.is_some(), AttributeType::String),
        (attribute.t.is_some(), AttributeType::Tensor),
        (attribute.g.is_some(), AttributeType::Graph),
        (attribute.sparse_tensor.is_some(), AttributeType::SparseTensor),
        (attribute.tp.is_some(), AttributeType::TypeProto),
        (!attribute.floats.is_empty(), AttributeType::Floats),
        (!attribute.ints.is_empty(), AttributeType::Ints),
        (!attribute.strings.is_empty(), AttributeType::Strings),
        (!attribute.tensors.is_empty(), AttributeType::Tensors),
        (!attribute.graphs.is_empty(), AttributeType::Graphs),
        (!attribute.sparse_tensors.is_empty(), AttributeType::SparseTensors),
        (!attribute.type_protos.is_empty(), AttributeType::TypeProtos),
    ];
    filled.into_iter().find(|(is_filled, _)| *is_filled).map(|(_, kind)| kind)
}

/// A field that is absent has its protobuf default.
fn single_text(
    attribute: &AttributeProto,
    kind: AttributeType,
    options: &PrintOptions,
    indent: usize,
) -> Option<String> {
    match kind {
        AttributeType::Float => Some(float_text(attribute.f.unwrap_or_default())),
        AttributeType::Int => Some(attribute.i.unwrap_or_default().to_string()),
        AttributeType::String => Some(bytes_text(attribute.s.as_deref().unwrap_or_default())),
        AttributeType::Tensor => tensor_text(attribute.t.as_ref()?, options),
        AttributeType::Graph => Some(graph_text(attribute.g.as_ref()?, options, indent)),
        AttributeType::SparseTensor => sparse_text(attribute.sparse_tensor.as_ref()?, options),
        AttributeType::TypeProto => type_text(attribute.tp.as_ref()?),
        _ => None,
    }
}

fn items_text(
    attribute: &AttributeProto,
    kind: AttributeType,
    options: &PrintOptions,
    indent: usize,
) -> Option<Vec<String>> {
    match kind {
        AttributeType::Floats => Some(attribute.floats.iter().map(|f| float_text(*f)).collect()),
        AttributeType::Ints => Some(attribute.ints.iter().map(i64::to_string).collect()),
        AttributeType::Strings => Some(attribute.strings.iter().map(|s| bytes_text(s)).collect()),
        AttributeType::Tensors => attribute.tensors.iter().map(|t| tensor_text(t, options)).collect(),
        AttributeType::Graphs => {
            Some(attribute.graphs.iter().map(|g| graph_text(g, options, indent)).collect())
        }
        AttributeType::SparseTensors => {
            attribute.sparse_tensors.iter().map(|t| sparse_text(t, options)).collect()
        }
        AttributeType::TypeProtos => attribute.type_protos.iter().map(type_text).collect(),
        _ => None,
    }
}

fn float_text(value: f32) -> String {
    attribute_float_text(value, value.is_nan(), value.is_sign_negative())
}

fn bytes_text(bytes: &[u8]) -> String {
    names::quoted(&String::from_utf8_lossy(bytes))
}
