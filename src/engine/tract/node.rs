//! One node on constants, through tract's operator registry.

use std::sync::LazyLock;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb;
use tract_onnx::prelude::{InferenceModel, IntoTValue, TValue, TractResult};
use tract_onnx::tract_hir::internal::{TVec, anyhow};

use super::{allow, convert, failed, guarded, unsupported};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{Attr, AttrValue, TensorData};

/// The opset whose forms a [`NodeCall`] holds.
const OPSET: i64 = 28;

pub(super) static ONNX: LazyLock<Onnx> = LazyLock::new(tract_onnx::onnx);

/// Evaluates one node whose operator tract is known to evaluate right.
///
/// # Errors
/// [`EngineError::Unsupported`] for an operator, a form or an element type that is not known to be right,
/// [`EngineError::Failed`] where tract fails, [`EngineError::TooLarge`].
pub(crate) fn eval(call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
    if !call.op.domain.is_empty() {
        return Err(unsupported(format!("operator {}", call.op)));
    }
    allow::check(call)?;
    eval_any(call)
}

/// Evaluates one node of the standard, whether tract is known to be right or not.
fn eval_any(call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
    let name = &*call.op.name;
    let Some(build) = ONNX.op_register.0.get(name) else {
        return Err(unsupported(format!("operator {}", call.op)));
    };
    let wanted = call.outputs.iter().rposition(|&read| read).map_or(0, |last| last + 1);
    let mut attribute = Vec::with_capacity(call.attrs.len());
    for attr in call.attrs.iter() {
        attribute.push(attribute_of(attr)?);
    }
    let inputs: TVec<TValue> = (call.inputs.iter().flatten())
        .map(|tensor| convert::to_tract(tensor).map(IntoTValue::into_tvalue))
        .collect::<Result<_, _>>()?;
    let slot = |i: usize, input: &Option<_>| input.map_or_else(String::new, |_: &TensorData| format!("i{i}"));
    let node = pb::NodeProto {
        input: call.inputs.iter().enumerate().map(|(i, input)| slot(i, input)).collect(),
        output: (0..wanted).map(|i| format!("o{i}")).collect(),
        name: "node".to_owned(),
        op_type: name.to_owned(),
        attribute,
        ..pb::NodeProto::default()
    };
    let answers = guarded(|| {
        let model = pb::ModelProto::default();
        let graph = pb::GraphProto::default();
        let context = ParsingContext {
            onnx_operator_set_version: OPSET,
            framework: &ONNX,
            model: &model,
            parent_graphs: vec![&graph],
            model_dir: None,
            template: InferenceModel::default(),
        };
        let (op, _): (_, Vec<String>) = build(&context, &node)?;
        op.eval_out_of_plan(inputs)?.ok_or_else(|| anyhow!("it is not a function of its inputs alone"))
    })?;
    if answers.len() < wanted {
        return Err(failed(&format!("{name} gave {} outputs, not {wanted}", answers.len())));
    }
    let bytes = answers.iter().map(|a| a.len() as u64 * a.datum_type().size_of() as u64).max().unwrap_or(0);
    if bytes > call.limit {
        return Err(EngineError::TooLarge { bytes, limit: call.limit });
    }
    answers
        .iter()
        .take(wanted)
        .map(|a| guarded(|| -> TractResult<_> { Ok(convert::from_tract(a)) })?)
        .collect()
}

fn attribute_of(attr: &Attr) -> Result<pb::AttributeProto, EngineError> {
    let mut proto = pb::AttributeProto {
        name: attr.name.clone(),
        r#type: attr.value.kind() as i32,
        ..pb::AttributeProto::default()
    };
    match &attr.value {
        AttrValue::Float(x) => proto.f = *x,
        AttrValue::Int(x) => proto.i = *x,
        AttrValue::String(x) => proto.s = x.to_vec(),
        AttrValue::Floats(x) => proto.floats.clone_from(x),
        AttrValue::Ints(x) => proto.ints.clone_from(x),
        AttrValue::Strings(x) => proto.strings = x.iter().map(|s| s.to_vec()).collect(),
        AttrValue::Tensor(x) => proto.t = Some(tensor_of(x)?),
        _ => return Err(unsupported(format!("attribute `{}` of its kind", attr.name))),
    }
    Ok(proto)
}

/// A tensor in tract's protobuf form.
pub(super) fn tensor_of(tensor: &TensorData) -> Result<pb::TensorProto, EngineError> {
    convert::datum(tensor.dtype())?;
    let (Some(bytes), Ok(dims)) =
        (tensor.bytes(), tensor.dims().iter().map(|&d| i64::try_from(d)).collect::<Result<Vec<_>, _>>())
    else {
        return Err(unsupported("attributes that hold strings"));
    };
    Ok(pb::TensorProto {
        dims,
        data_type: tensor.dtype().code(),
        raw_data: bytes.to_vec(),
        ..pb::TensorProto::default()
    })
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
