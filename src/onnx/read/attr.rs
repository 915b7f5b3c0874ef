//! Attributes.

use bytes::Bytes;

use super::types::ReadType;
use super::{Reader, tensor};
use crate::ir::{Attr, AttrKind, AttrValue, SparseTensor, TensorData, ValueInfo, ValueType};
use crate::onnx::error::{OnnxError, TensorFault};
use crate::onnx::proto::{AttributeProto, SparseTensorProto, TensorProto, TypeProto};
use crate::onnx::warning::Warning;

/// What something belongs to, for messages.
type Place<'a> = &'a dyn Fn() -> String;

impl Reader {
    /// Reads an attribute of a node, or the default of a function's attribute.
    pub(super) fn attribute(
        &mut self,
        mut proto: AttributeProto,
        owner: Place<'_>,
    ) -> Result<Attr, OnnxError> {
        let name = proto.name.take().unwrap_or_default();
        let place = || format!("attribute `{name}` of {}", owner());
        let malformed = |what: String| OnnxError::Malformed { place: place(), what };
        if name.is_empty() {
            return Err(malformed("it has no name".to_owned()));
        }
        let doc = proto.doc_string.take().filter(|d| !d.is_empty());
        let code = proto.r#type.unwrap_or(0);
        let mut kind = kind_of(code).ok_or_else(|| malformed(format!("its type {code} is unknown")))?;
        if let Some(target) = proto.ref_attr_name.take().filter(|r| !r.is_empty()) {
            return Ok(Attr { name, value: AttrValue::Ref { name: target, kind }, doc });
        }
        if kind == AttrKind::Undefined {
            let found = filled(&proto).next();
            kind = found.ok_or_else(|| malformed("it has neither a type nor a value".to_owned()))?;
        }
        if filled(&proto).any(|k| k != kind) {
            let what = "a second value, of another type than the attribute,";
            self.warnings.push(Warning::Lost { what, place: place() });
        }
        let value = self.attr_value(kind, proto, &place)?;
        Ok(Attr { name, value, doc })
    }

    fn attr_value(
        &mut self,
        kind: AttrKind,
        proto: AttributeProto,
        place: Place<'_>,
    ) -> Result<AttrValue, OnnxError> {
        let missing = || OnnxError::Malformed { place: place(), what: "its value is missing".to_owned() };
        Ok(match kind {
            AttrKind::Undefined => return Err(missing()),
            AttrKind::Float => AttrValue::Float(proto.f.unwrap_or(0.0)),
            AttrKind::Int => AttrValue::Int(proto.i.unwrap_or(0)),
            AttrKind::String => AttrValue::String(proto.s.unwrap_or_default().into()),
            AttrKind::Tensor => AttrValue::Tensor(self.tensor(proto.t.ok_or_else(missing)?, place)?),
            AttrKind::Graph => AttrValue::Graph(Box::new(self.body(proto.g.ok_or_else(missing)?)?)),
            AttrKind::SparseTensor => {
                let sparse = self.sparse(proto.sparse_tensor.ok_or_else(missing)?, place)?;
                AttrValue::SparseTensor(Box::new(sparse))
            }
            AttrKind::Type => AttrValue::Type(self.ty(proto.tp.ok_or_else(missing)?, place)),
            AttrKind::Floats => AttrValue::Floats(proto.floats),
            AttrKind::Ints => AttrValue::Ints(proto.ints),
            AttrKind::Strings => AttrValue::Strings(proto.strings.into_iter().map(Bytes::from).collect()),
            AttrKind::Tensors => {
                let tensors = proto.tensors.into_iter().map(|t| self.tensor(t, place));
                AttrValue::Tensors(tensors.collect::<Result<_, _>>()?)
            }
            AttrKind::Graphs => {
                let graphs = proto.graphs.into_iter().map(|g| self.body(g));
                AttrValue::Graphs(graphs.collect::<Result<_, _>>()?)
            }
            AttrKind::SparseTensors => {
                let tensors = proto.sparse_tensors.into_iter().map(|t| self.sparse(t, place));
                AttrValue::SparseTensors(tensors.collect::<Result<_, _>>()?)
            }
            AttrKind::Types => {
                AttrValue::Types(proto.type_protos.into_iter().map(|t| self.ty(t, place)).collect())
            }
        })
    }

    fn tensor(&mut self, proto: TensorProto, place: Place<'_>) -> Result<TensorData, OnnxError> {
        tensor::tensor(proto, &mut self.files).map_err(|fault| at(place, fault))
    }

    fn sparse(&mut self, proto: SparseTensorProto, place: Place<'_>) -> Result<SparseTensor, OnnxError> {
        tensor::sparse(proto, &mut self.files).map_err(|fault| at(place, fault))
    }

    fn ty(&mut self, proto: TypeProto, place: Place<'_>) -> ValueType {
        let mut read = ReadType::of(proto);
        if read.info() != ValueInfo::default() {
            read.lost = Some("a denotation of its type");
        }
        if let Some(what) = read.lost {
            self.warnings.push(Warning::Lost { what, place: place() });
        }
        read.ty
    }
}

fn at(place: Place<'_>, fault: TensorFault) -> OnnxError {
    OnnxError::Tensor { place: place(), fault }
}

fn kind_of(code: i32) -> Option<AttrKind> {
    use AttrKind as Kind;
    Some(match code {
        0 => Kind::Undefined,
        1 => Kind::Float,
        2 => Kind::Int,
        3 => Kind::String,
        4 => Kind::Tensor,
        5 => Kind::Graph,
        6 => Kind::Floats,
        7 => Kind::Ints,
        8 => Kind::Strings,
        9 => Kind::Tensors,
        10 => Kind::Graphs,
        11 => Kind::SparseTensor,
        12 => Kind::SparseTensors,
        13 => Kind::Type,
        14 => Kind::Types,
        _ => return None,
    })
}

/// The kinds of value that are there. An attribute should have one.
fn filled(proto: &AttributeProto) -> impl Iterator<Item = AttrKind> {
    use AttrKind as Kind;
    [
        (Kind::Float, proto.f.is_some()),
        (Kind::Int, proto.i.is_some()),
        (Kind::String, proto.s.is_some()),
        (Kind::Tensor, proto.t.is_some()),
        (Kind::Graph, proto.g.is_some()),
        (Kind::SparseTensor, proto.sparse_tensor.is_some()),
        (Kind::Type, proto.tp.is_some()),
        (Kind::Floats, !proto.floats.is_empty()),
        (Kind::Ints, !proto.ints.is_empty()),
        (Kind::Strings, !proto.strings.is_empty()),
        (Kind::Tensors, !proto.tensors.is_empty()),
        (Kind::Graphs, !proto.graphs.is_empty()),
        (Kind::SparseTensors, !proto.sparse_tensors.is_empty()),
        (Kind::Types, !proto.type_protos.is_empty()),
    ]
    .into_iter()
    .filter_map(|(kind, there)| there.then_some(kind))
}
