//! IR → protobuf. Weights are not copied: their bytes are shared.

mod attr;
mod deferred;
mod form;
mod graph;
mod tensor;
mod types;

#[cfg(test)]
mod constant_tests;
#[cfg(test)]
mod tests;

use prost::Message;

pub(in crate::onnx) use tensor::tensor;

pub(in crate::onnx) use deferred::{Deferrals, Written};
use form::{Names, Target};
use types::entries;

use crate::ir::{Checked, Function, OpsetId, opset_of};
use crate::onnx::dialect::Captured;
use crate::onnx::error::OnnxError;
use crate::onnx::proto::{FunctionProto, ModelProto, OperatorSetIdProto};

/// The protobuf form of a model. Elements that are still to be computed have a stand-in; see [`Deferrals`].
pub(in crate::onnx) fn write(model: Checked<'_>) -> Result<Written, OnnxError> {
    Ok(Written { proto: message(model)?, deferred: Deferrals::of(&model) })
}

fn message(model: Checked<'_>) -> Result<ModelProto, OnnxError> {
    let meta = &model.meta;
    let names = Names::of(&model);
    let target = Target {
        opset: opset_of(&model.opsets, "").unwrap_or(1),
        names: &names,
        captured: &Captured::default(),
        body_initializers: meta.ir_version >= 4,
    };
    Ok(ModelProto {
        ir_version: (meta.ir_version != 0).then_some(meta.ir_version),
        opset_import: opsets(&model.opsets),
        producer_name: meta.producer_name.clone(),
        producer_version: meta.producer_version.clone(),
        domain: meta.domain.clone(),
        model_version: meta.model_version,
        doc_string: meta.doc.clone(),
        graph: Some(graph::main(&model.graph, meta.ir_version, target)?),
        metadata_props: entries(&meta.metadata),
        training_info: carried(&meta.training)?,
        functions: model.functions.iter().map(|f| function(f, target)).collect::<Result<_, _>>()?,
        configuration: carried(&meta.configuration)?,
    })
}

/// Messages that the IR carries as bytes.
fn carried<M: Message + Default>(encoded: &[bytes::Bytes]) -> Result<Vec<M>, OnnxError> {
    let decode = |bytes: &bytes::Bytes| {
        M::decode(bytes.clone()).map_err(|e| OnnxError::Malformed {
            place: "a message that is carried along".to_owned(),
            what: e.to_string(),
        })
    };
    encoded.iter().map(decode).collect()
}

fn opsets(opsets: &[OpsetId]) -> Vec<OperatorSetIdProto> {
    let import =
        |o: &OpsetId| OperatorSetIdProto { domain: Some(o.domain.clone()), version: Some(o.version) };
    opsets.iter().map(import).collect()
}

fn function(function: &Function, target: Target<'_>) -> Result<FunctionProto, OnnxError> {
    let target = Target { opset: opset_of(&function.opsets, "").unwrap_or(target.opset), ..target };
    let defaults = function.defaults.iter().map(|a| attr::attribute(a, None, target));
    let mut proto = FunctionProto {
        name: Some(function.op.name.to_string()),
        domain: Some(function.op.domain.to_string()),
        overload: Some(function.overload.clone()).filter(|o| !o.is_empty()),
        attribute: function.attributes.clone(),
        attribute_proto: defaults.collect::<Result<_, _>>()?,
        opset_import: opsets(&function.opsets),
        doc_string: function.doc.clone(),
        metadata_props: entries(&function.metadata),
        ..FunctionProto::default()
    };
    graph::function_body(&function.graph, &mut proto, target)?;
    Ok(proto)
}
