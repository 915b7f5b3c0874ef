//! Whole models in tract: the typed graph, not decluttered, because tract's own fusions would hide the mistakes of ours.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::pb;
use tract_onnx::prelude::{
    Framework, InferenceFact, InferenceModelExt, IntoRunnable, IntoTValue, TValue, TVec, TypedSimplePlan,
};
use tract_onnx::tract_hir::internal::anyhow;

use super::node::{ONNX, tensor_of};
use super::{allow, convert, failed, guarded, unsupported};
use crate::engine::{EngineError, Session};
use crate::ir::{DType, OpName, TensorData};

/// The most elements of an input that tract may be told beforehand.
const SMALL: usize = 64;

/// A graph that is ready to run, and what it was built for.
#[derive(Clone)]
struct Plan {
    keys: Vec<Key>,
    runnable: Arc<TypedSimplePlan>,
}

/// What a plan knows of an input.
#[derive(Clone)]
enum Key {
    /// Type and dims.
    Type(TensorType),
    /// Its very elements: it is a constant of the graph.
    Value(TensorData),
}

/// A model that tract has every operator of. Its graph is built for the dims of the first run, and again where they
/// change.
pub(crate) struct TractSession {
    proto: pb::ModelProto,
    inputs: Vec<String>,
    outputs: Vec<(String, Option<DType>)>,
    plan: Mutex<Option<Plan>>,
}

type TensorType = (DType, Vec<u64>);

impl TractSession {
    /// Reads an encoded model that defines these functions.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] with the names of all operators and types that tract lacks.
    pub(crate) fn read(bytes: &[u8], functions: &[OpName]) -> Result<Self, EngineError> {
        let mut proto = guarded(|| ONNX.proto_model_for_read(&mut &*bytes))?;
        let Some(graph) = &mut proto.graph else { return Err(EngineError::Invalid("no graph".to_owned())) };
        let mut lacks = BTreeSet::new();
        survey(graph, functions, &mut lacks);
        if !lacks.is_empty() {
            return Err(unsupported(format!(
                "it lacks {}",
                lacks.into_iter().collect::<Vec<_>>().join(", ")
            )));
        }
        mend(graph);
        let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs = graph.input.iter().filter(|i| !constants.contains(&*i.name));
        let inputs = inputs.map(|i| i.name.clone()).collect();
        let outputs = graph.output.iter().map(|o| (o.name.clone(), declared(o))).collect();
        Ok(Self { proto, inputs, outputs, plan: Mutex::new(None) })
    }

    /// The plan for these inputs.
    fn plan(&self, inputs: &[TensorData]) -> Result<Plan, EngineError> {
        let mut cached = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = cached.as_ref().filter(|plan| plan.serves(inputs)) {
            return Ok(plan.clone());
        }
        // Declared types of inner values help the inference, and clash with concrete dims in some models. Small
        // inputs can be what tract needs to know beforehand: shapes, axes, scales.
        let small = |input: &TensorData| input.rank() <= 1 && input.len() <= SMALL;
        let plan = self.build(inputs, false, |_| false).or_else(|first| {
            let again = self.build(inputs, true, |_| false);
            again.or_else(|_| self.build(inputs, true, small)).map_err(|_| first)
        })?;
        *cached = Some(plan.clone());
        Ok(plan)
    }

    /// Builds the graph for the dims of these inputs, with some of them as constants.
    fn build(
        &self,
        inputs: &[TensorData],
        ignore_value_info: bool,
        constant: impl Fn(&TensorData) -> bool,
    ) -> Result<Plan, EngineError> {
        let keys: Vec<Key> = inputs
            .iter()
            .map(|input| if constant(input) { Key::Value(input.clone()) } else { Key::Type(type_of(input)) })
            .collect();
        let mut proto = Cow::Borrowed(&self.proto);
        let mut facts = Vec::new();
        for (name, key) in self.inputs.iter().zip(&keys) {
            match key {
                Key::Type((dtype, dims)) => {
                    let dims: TVec<usize> = dims.iter().map(|&d| d as usize).collect();
                    facts.push((name, InferenceFact::dt_shape(convert::datum(*dtype)?, dims)));
                }
                Key::Value(tensor) => {
                    let constant = pb::TensorProto { name: name.clone(), ..tensor_of(tensor)? };
                    proto.to_mut().graph.get_or_insert_default().initializer.push(constant);
                }
            }
        }
        let runnable = guarded(|| {
            let onnx = ONNX.clone().with_ignore_value_info(ignore_value_info);
            let parsed = onnx.parse(&proto, None)?;
            if !parsed.unresolved_inputs.is_empty() {
                return Err(anyhow!("nothing produces {:?}", parsed.unresolved_inputs));
            }
            let mut model = parsed.model;
            for (name, fact) in facts {
                let outlet =
                    parsed.outlets_by_name.get(name).ok_or_else(|| anyhow!("input {name} is lost"))?;
                model.set_outlet_fact(*outlet, fact)?;
            }
            model.into_typed()?.into_runnable()
        });
        Ok(Plan { keys, runnable: runnable.map_err(limits)? })
    }
}

impl Plan {
    fn serves(&self, inputs: &[TensorData]) -> bool {
        inputs.len() == self.keys.len()
            && inputs.iter().zip(&self.keys).all(|(input, key)| match key {
                Key::Type(known) => *known == type_of(input),
                Key::Value(known) => known.same_data(input),
            })
    }
}

fn type_of(tensor: &TensorData) -> TensorType {
    (tensor.dtype(), tensor.dims().to_vec())
}

/// Tells what tract has no way to do, which says nothing about the model, from what it takes for a fault of the model.
fn limits(error: EngineError) -> EngineError {
    const LIMITS: &[&str] =
        &["Building node", "Translating node", "not supported", "nsupported", "not implemented"];
    match error {
        EngineError::Failed { what, .. } if LIMITS.iter().any(|text| what.contains(text)) => {
            unsupported(what)
        }
        other => other,
    }
}

impl Session for TractSession {
    fn run(&self, inputs: &[TensorData]) -> Result<Vec<TensorData>, EngineError> {
        if inputs.len() != self.inputs.len() {
            let wanted = self.inputs.len();
            return Err(EngineError::Invalid(format!(
                "the model takes {wanted} inputs, not {}",
                inputs.len()
            )));
        }
        let plan = self.plan(inputs)?;
        let fed = inputs.iter().zip(&plan.keys).filter(|(_, key)| matches!(key, Key::Type(_)));
        let values: TVec<TValue> = fed
            .map(|(tensor, _)| convert::to_tract(tensor).map(IntoTValue::into_tvalue))
            .collect::<Result<_, _>>()?;
        let answers = guarded(|| plan.runnable.run(values)).map_err(limits)?;
        if answers.len() != self.outputs.len() {
            return Err(failed(&format!("it gave {} outputs, not {}", answers.len(), self.outputs.len())));
        }
        answers
            .iter()
            .zip(&self.outputs)
            .map(|(answer, (name, dtype))| output(answer, name, *dtype))
            .collect()
    }
}

/// An answer, in exactly the type that the model declares for it.
fn output(answer: &TValue, name: &str, dtype: Option<DType>) -> Result<TensorData, EngineError> {
    let answer = guarded(|| Ok(convert::from_tract(answer)))??;
    match dtype {
        Some(dtype) if dtype != answer.dtype() => Err(failed(&format!(
            "output `{name}` is declared as {dtype}, and came out as {}",
            answer.dtype()
        ))),
        _ => Ok(answer),
    }
}

fn declared(info: &pb::ValueInfoProto) -> Option<DType> {
    let Some(pb::type_proto::Value::TensorType(tensor)) = &info.r#type.as_ref()?.value else { return None };
    DType::from_code(tensor.elem_type)
}

/// Collects what the graph and its bodies need and tract lacks.
fn survey(graph: &pb::GraphProto, functions: &[OpName], lacks: &mut BTreeSet<String>) {
    for node in &graph.node {
        let op = OpName::new(&node.domain, &node.op_type);
        if functions.contains(&op) {
            lacks.insert(format!("the model's function {op}"));
        } else if !allow::runs(&op) || !ONNX.op_register.0.contains_key(&node.op_type) {
            lacks.insert(op.to_string());
        }
        for attr in &node.attribute {
            attr.g.iter().chain(&attr.graphs).for_each(|body| survey(body, functions, lacks));
            attr.t.iter().chain(&attr.tensors).for_each(|t| survey_type(t.data_type, lacks));
        }
    }
    graph.initializer.iter().for_each(|t| survey_type(t.data_type, lacks));
    if !graph.sparse_initializer.is_empty() {
        lacks.insert("sparse initializers".to_owned());
    }
}

fn survey_type(code: i32, lacks: &mut BTreeSet<String>) {
    match DType::from_code(code) {
        Some(dtype) if convert::datum(dtype).is_ok() => {}
        Some(dtype) => drop(lacks.insert(format!("element type {dtype}"))),
        None => drop(lacks.insert(format!("element type {code}"))),
    }
}

/// Says explicitly what tract would read otherwise than the standard means it.
fn mend(graph: &mut pb::GraphProto) {
    graph.initializer.iter_mut().for_each(mend_tensor);
    for node in &mut graph.node {
        if node.op_type == "ConstantOfShape" && node.attribute.iter().all(|a| a.name != "value") {
            // Without a value tract takes a zero of 64 bits, the standard one of 32.
            let zero = pb::TensorProto {
                dims: vec![1],
                data_type: DType::Float.code(),
                raw_data: vec![0; 4],
                ..pb::TensorProto::default()
            };
            node.attribute.push(pb::AttributeProto {
                name: "value".to_owned(),
                r#type: pb::attribute_proto::AttributeType::Tensor as i32,
                t: Some(zero),
                ..pb::AttributeProto::default()
            });
        }
        for attr in &mut node.attribute {
            attr.g.iter_mut().chain(&mut attr.graphs).for_each(mend);
            attr.t.iter_mut().chain(&mut attr.tensors).for_each(mend_tensor);
        }
    }
}

/// tract looks for unsigned integers of 32 and 64 bits in fields where the standard does not keep them.
fn mend_tensor(tensor: &mut pb::TensorProto) {
    let items = std::mem::take(&mut tensor.uint64_data);
    if tensor.data_type == DType::Uint32.code() {
        tensor.raw_data.extend(items.iter().flat_map(|&x| (x as u32).to_le_bytes()));
    } else if tensor.data_type == DType::Uint64.code() {
        tensor.raw_data.extend(items.iter().flat_map(|x| x.to_le_bytes()));
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
