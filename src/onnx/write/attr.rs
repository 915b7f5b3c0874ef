//! Attributes.

use super::form::Target;
use super::{graph, tensor, types};
use crate::ir::{Attr, AttrKind, AttrValue};
use crate::onnx::error::OnnxError;
use crate::onnx::proto::AttributeProto;

/// An attribute. `bodies` replaces the bodies of an as-read form by those of the node itself, which passes may have changed.
pub(super) fn attribute(
    attr: &Attr,
    bodies: Option<&AttrValue>,
    target: Target<'_>,
) -> Result<AttributeProto, OnnxError> {
    let value = bodies.unwrap_or(&attr.value);
    let mut proto = AttributeProto {
        name: Some(attr.name.clone()),
        doc_string: attr.doc.clone(),
        r#type: (value.kind() != AttrKind::Undefined).then_some(value.kind() as i32),
        ..AttributeProto::default()
    };
    match value {
        AttrValue::Float(x) => proto.f = Some(*x),
        AttrValue::Int(x) => proto.i = Some(*x),
        AttrValue::String(x) => proto.s = Some(x.to_vec()),
        AttrValue::Tensor(x) => proto.t = Some(tensor::tensor(x)),
        AttrValue::Graph(x) => proto.g = Some(graph::body(x, target)?),
        AttrValue::SparseTensor(x) => proto.sparse_tensor = Some(tensor::sparse(x, None)),
        AttrValue::Type(x) => proto.tp = Some(types::plain(x)),
        AttrValue::Floats(x) => proto.floats.clone_from(x),
        AttrValue::Ints(x) => proto.ints.clone_from(x),
        AttrValue::Strings(x) => proto.strings = x.iter().map(|s| s.to_vec()).collect(),
        AttrValue::Tensors(x) => proto.tensors = x.iter().map(tensor::tensor).collect(),
        AttrValue::Graphs(x) => {
            proto.graphs = x.iter().map(|g| graph::body(g, target)).collect::<Result<_, _>>()?;
        }
        AttrValue::SparseTensors(x) => {
            proto.sparse_tensors = x.iter().map(|t| tensor::sparse(t, None)).collect();
        }
        AttrValue::Types(x) => proto.type_protos = x.iter().map(types::plain).collect(),
        AttrValue::Ref { name, .. } => proto.ref_attr_name = Some(name.clone()),
    }
    Ok(proto)
}

/// The value to write for an attribute of an as-read form that holds bodies: that of the node as it is now.
pub(super) fn current<'a>(attr: &Attr, now: &'a crate::ir::Attrs) -> Option<&'a AttrValue> {
    let has_body = |value: &AttrValue| matches!(value, AttrValue::Graph(_) | AttrValue::Graphs(_));
    if has_body(&attr.value) { now.get(&attr.name).filter(|v| has_body(v)) } else { None }
}
